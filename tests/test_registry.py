"""Plugins are found through real distributions on the path; a broken one costs a line and nothing else."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from distributions import HOOK, entries, write_distribution

from samplerhub.errors import BrokenPlugin, UnknownComponent
from samplerhub.plugin import ROLES, Entry
from samplerhub.registry import PluginRecord, Registered, Registry

BROKEN = {
    "import-error": ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
    "hook-raises": (HOOK + "raise RuntimeError('no luck')", "RuntimeError: no luck"),
    "half": (entries("'grid', 'half', 'half:C', 'H.'", "'samplr', 'x', 'm:C', 'X.'"), "did you mean 'sampler'?"),
}
"""Some; test_isolation.py has them all."""

Install = Callable[[str, str], None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    monkeypatch.syspath_prepend(str(tmp_path))
    return lambda name, source: write_distribution(tmp_path, name, source)


def test_bundled_components_come_through_the_public_door() -> None:
    registry = Registry.discover({})
    assert {plugin.distribution for plugin in registry.plugins} >= {"samplerhub"}
    deis = registry.find("sampler", "deis")
    assert (deis.distribution, deis.entry.target) == ("samplerhub", "samplerhub_samplers.deis:DEIS")
    assert registry.load("sampler", "deis").__name__ == "DEIS"


def test_every_bundled_component_loads_and_says_what_its_docstring_says() -> None:
    from samplerhub import summary

    registry = Registry.discover({"SAMPLERHUB_PLUGINS": "samplerhub"})
    for role in ROLES:
        for registered in registry.entries(role):
            component = registry.load(role, registered.entry.name)
            assert registered.entry.summary == summary(component)
            assert all(field.description for field in component.model_fields.values()), component


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_plugin_is_a_record(name: str, install: Install) -> None:
    source, message = BROKEN[name]
    install(f"broken-{name}", f"print('spoils the output')\n{source}")
    install("fine", entries("'sampler', 'fine', 'fine:Fine', 'Fine.'"))
    registry = Registry.discover({})
    (record,) = (plugin for plugin in registry.plugins if plugin.name == f"broken-{name}")
    assert (record.distribution, record.version) == (f"broken-{name}", "1.0")
    assert record.error is not None
    assert message in record.error
    assert registry.find("sampler", "fine").distribution == "fine"
    assert registry.find("sampler", "deis").distribution == "samplerhub"
    with pytest.raises(UnknownComponent, match=f"'heun'.*plugins that failed.*broken-{name}"):
        registry.find("sampler", "huen")
    with pytest.raises(BrokenPlugin, match=f"broken-{name} 1.0"):
        Registry.discover({"SAMPLERHUB_STRICT": "1", "SAMPLERHUB_PLUGINS": f"broken-{name}"})


@pytest.mark.parametrize("bad", ["'nothing', 'bad', 'm:C', 'B.'", "'sampler', 'good', 'm:D', 'Again.'"])
def test_what_is_fine_in_a_half_broken_plugin_is_offered(bad: str, install: Install) -> None:
    install("half", entries("'sampler', 'good', 'm:C', 'G.'", bad))
    registry = Registry.discover({})
    assert registry.find("sampler", "good").entry.target == "m:C"
    assert next(plugin.error for plugin in registry.plugins if plugin.name == "half")


@pytest.mark.parametrize(
    ("target", "source", "message"),
    [
        ("late:Missing", "", "late 1.0.*AttributeError"),
        ("late_gone:C", "", "ModuleNotFoundError"),
        ("late:number", "number = 3", "is not a samplerhub.Component but 3"),
        ("late:Plain", "class Plain: pass", "is not a samplerhub.Component"),
    ],
)
def test_a_component_that_cannot_be_loaded_says_whose_it_is(
    target: str, source: str, message: str, install: Install
) -> None:
    install("late", entries(f"'sampler', 'late', '{target}', 'L.'") + source)
    sys.modules.pop("late", None)
    with pytest.raises(BrokenPlugin, match=message):
        Registry.discover({}).load("sampler", "late")


def test_a_name_offered_twice_needs_its_plugin(install: Install) -> None:
    install("acme-plugin", entries("'sampler', 'deis', 'acme:DEIS', 'Another.'"))
    registry = Registry.discover({})
    with pytest.raises(UnknownComponent, match="write acme-plugin:deis or samplerhub:deis"):
        registry.find("sampler", "deis")
    assert registry.find("sampler", "acme-plugin:deis").entry.target == "acme:DEIS"
    assert registry.find("sampler", "samplers:deis").distribution == "samplerhub"


def test_a_name_is_spelled_as_short_as_it_can_be(install: Install) -> None:
    install("acme-names", entries("'sampler', 'deis', 'acme:DEIS', 'Another.'", "'sampler', 'own', 'm:C', 'O.'"))
    registry = Registry.discover({})
    spelled = {registry.spelled(one) for one in registry.entries("sampler")}
    assert {"own", "heun", "acme-names:deis", "samplerhub:deis"} <= spelled
    assert all(registry.spelled(registry.find("sampler", name)) == name for name in spelled)
    assert registry.find("sampler", "deis", prefer=[None, "acme-names", "samplerhub"]).entry.target == "acme:DEIS"
    with pytest.raises(UnknownComponent, match="is offered by 2 plugins"):
        registry.find("sampler", "deis", prefer=["someone-else"])


def test_an_alias_takes_no_name_away(install: Install) -> None:
    install("acme-alias", entries("'grid', 'own', 'acme:Own', 'O.', aliases=('edm', 'other')"))
    install("acme-other", entries("'grid', 'another', 'acme:Another', 'A.', aliases=('other',)"))
    registry = Registry.discover({})
    assert registry.find("grid", "edm").distribution == "samplerhub"
    assert registry.find("grid", "acme-alias:edm").entry.target == "acme:Own"
    notes = {plugin.name: plugin.note for plugin in registry.plugins}
    assert notes["acme-alias"] == "offers names that another plugin offers too: write own"
    assert notes["acme-other"] == "offers names that another plugin offers too: write another"
    assert notes["grids"] is None
    with pytest.raises(UnknownComponent, match="write another or own"):
        registry.find("grid", "other")


def test_two_plugins_of_one_distribution_are_told_apart() -> None:
    def record(plugin: str) -> PluginRecord:
        return PluginRecord(plugin, "acme", "1", (Registered(Entry("grid", "x", "m:C", "X."), plugin, "acme", "1"),))

    registry = Registry((record("one"), record("two")))
    with pytest.raises(UnknownComponent, match="write one:x or two:x"):
        registry.find("grid", "acme:x")


def test_the_default_of_samplerhub_comes_first(install: Install) -> None:
    default = "'m:C', 'D.', default=True"
    install("pushy", entries(f"'sampler', 'pushy', {default}", f"'trainer', 'a', {default}"))
    install("pushier", entries(f"'trainer', 'b', {default}"))
    assert Registry.discover({}).default("sampler").entry.name == "deis"
    with pytest.raises(UnknownComponent, match="choose one with --trainer: a, b"):
        Registry.discover({"SAMPLERHUB_PLUGINS": "pushy,pushier"}).default("trainer")
    with pytest.raises(UnknownComponent, match="no grid is the default"):
        Registry().default("grid")


def test_the_environment_leaves_out(install: Install) -> None:
    install("other-one", entries("'sampler', 'other', 'json:C', 'O.'"))
    registry = Registry.discover({"SAMPLERHUB_PLUGINS": "Other.One,samplers", "SAMPLERHUB_DISABLE": "samplers,nobody"})
    assert [(plugin.name, bool(plugin.components), plugin.error is None) for plugin in registry.plugins] == [
        ("other-one", True, True), ("samplers", False, True), ("nobody", False, False),
    ]  # fmt: skip


def test_the_environment_limits_what_is_loaded(install: Install) -> None:
    install("other", entries("'sampler', 'other', 'json:C', 'O.'"))
    registry = Registry.discover({"SAMPLERHUB_PLUGINS": "other, samplers, missing"})
    assert [(plugin.name, plugin.error is None) for plugin in registry.plugins] == [
        ("other", True), ("samplers", True), ("missing", False),
    ]  # fmt: skip


@pytest.mark.parametrize(("role", "name", "message"), [
    ("sampler", "huen", "no sampler named 'huen'; did you mean 'heun'\\? known: "),
    ("sampler", "qqq", "no sampler named 'qqq'; known: "),
    ("samplr", "deis", "no role named 'samplr'; did you mean 'sampler'\\? known: "),
    ("foo", "deis", "no role named 'foo'; known: process, "),
])  # fmt: skip
def test_an_unknown_name_is_answered_with_the_known_ones(role: str, name: str, message: str) -> None:
    with pytest.raises(UnknownComponent, match=message):
        Registry.discover({}).find(role, name)
