"""Shell completion: in the words of each shell's protocol, in real shells, and against what components really have."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Literal, get_args, get_origin

import pytest

from samplerhub import ROLES, Registry
from samplerhub.cli.fields import described
from samplerhub.cli.source import fields
from samplerhub.component import Part, held

REGISTRY = Registry.discover({"SAMPLERHUB_PLUGINS": "samplerhub"})
COMPONENTS = [(role, one.entry.name) for role in ROLES for one in REGISTRY.entries(role)]
PROGRAM = """
import atexit, sys
atexit.register(lambda: sys.stderr.write("heavy" if {"torch", "numpy", "matplotlib"} & set(sys.modules) else ""))
from samplerhub.cli import main
sys.exit(main([]))
"""


HERE = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
"""Where the command is found, whether or not its environment is activated."""


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PATH": HERE, "SAMPLERHUB_PLUGINS": "samplerhub", **more}


def completed(shell: str, *words: str, cwd: Path | None = None) -> list[str]:
    """Return what a shell is told when the last word is completed; nothing heavy may have been imported."""
    line = " ".join(["samplerhub", *words])
    asked = {
        "bash": {"COMP_WORDS": "\n".join(["samplerhub", *words]), "COMP_CWORD": str(len(words))},
        "zsh": {"_TYPER_COMPLETE_ARGS": line},
        "fish": {"_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
    }[shell]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=environment(**asked, _SAMPLERHUB_COMPLETE=f"complete_{shell}"),
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    if shell == "zsh":
        return re.findall(r'^(?:_arguments \'\*: :\(\()?"([^"]*)"', done.stdout, re.M)
    return [line.partition("\t")[0] for line in done.stdout.splitlines() if line]


CASES = [
    (["sh"], ["show"]),
    (["run", "--sampl"], ["--samples", "--sampler"]),
    (["run", "--sampler", "dei"], ["deis"]),
    (["run", "--grid", "log-s"], ["log-snr"]),
    (["list", "sa"], ["sampler"]),
    (["show", "sa"], ["sampler"]),
    (["check", "sampler", "dei"], ["deis"]),
    (["show", "sampler", "deis", "--ord"], ["--order"]),
    (["run", "--sampler", "deis", "--ord"], ["--order"]),
    (["run", "--ord"], []),
    (["run", "--sampler", "deis", "--sampler.o"], ["--sampler.order"]),
    (["run", "--sampler", "deis", "--churn-history", "s"], ["splice"]),
    (["run", "--model", "perturbed", "--model.base", "gui"], ["guided"]),
    (["run", "--model", "perturbed", "--base", "guided", "--model.base.we"], ["--model.base.weight"]),
    (["run", "--metric", "kl", "--metric", "mmd", "--metric.mmd.b"], ["--metric.mmd.bandwidth"]),
    (["budget", "--sampler", "deis", "--order", "2", "--vari"], ["--variable"]),
    (["train", "--trainer", "den"], ["denoising"]),
    (["new-plugin", "mine", "--role", "met"], ["metric"]),
]  # fmt: skip


@pytest.mark.parametrize(("words", "expected"), CASES, ids=lambda value: " ".join(value))
def test_bash(words: list[str], expected: list[str]) -> None:
    assert sorted(completed("bash", *words)) == sorted(expected)


@pytest.mark.parametrize("shell", ["zsh", "fish"])
@pytest.mark.parametrize(("words", "expected"), CASES[2:16:5], ids=lambda value: " ".join(value))
def test_other_shells(shell: str, words: list[str], expected: list[str]) -> None:
    assert sorted(completed(shell, *words)) == expected


def test_an_explanation_stands_in_one_line() -> None:
    """Else a shell would take its second line for another completion."""
    for words in (
        ["run", "--"],
        ["run", "--sampler", ""],
        ["run", "--sampler", "deis", "--sampler."],
        ["show", ""],
        [""],
    ):
        assert set(completed("fish", *words)) == set(completed("bash", *words))


def test_all_names_of_a_role_are_there() -> None:
    names = {one.entry.name for one in REGISTRY.entries("sampler")}
    aliases = {alias for one in REGISTRY.entries("sampler") for alias in one.entry.aliases}
    assert set(completed("bash", "run", "--sampler", "")) == names | aliases


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["run", "--sampler", "=", "dei"], ["deis"]),
        (["run", "--sampler", "=", "deis", "--ord"], ["--order"]),
        (["run", "--sampler", "samplerhub", ":", "deis", "--ord"], ["--order"]),
        (["run", "--sampler", "'dei"], ["deis"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_words_that_bash_takes_apart(words: list[str], expected: list[str]) -> None:
    assert completed("bash", *words) == expected


def test_components_of_an_experiment_file_have_their_fields(tmp_path: Path) -> None:
    (tmp_path / "it.toml").write_text('sampler = "deis"\n[grid]\nname = "edm"\n')
    assert completed("bash", "run", "it.toml", "--expo", cwd=tmp_path) == ["--exponent"]
    assert completed("bash", "run", "it.toml", "--ord", cwd=tmp_path) == ["--order"]
    assert completed("bash", "run", "it.toml", "--sampler", "euler", "--ord", cwd=tmp_path) == []
    (tmp_path / "it.toml").write_text("sampler = [")
    assert completed("bash", "run", "it.toml", "--sampl", cwd=tmp_path) != []


@pytest.mark.parametrize(("role", "name"), COMPONENTS, ids=map(" ".join, COMPONENTS))
def test_the_source_says_what_the_component_has(role: str, name: str) -> None:
    component = REGISTRY.load(role, name)
    said = {field.name: field for field in fields(REGISTRY.find(role, name).entry.target)}
    assert said.keys() == component.model_fields.keys()
    assert {one.name: one.part for one in said.values() if one.part} == {
        field: mark.role for field, mark in held(component, Part).items()
    }
    assert {one.name: one.help for one in said.values()} == {
        field: text.help for field, text in described(component).items()
    }
    for field, info in component.model_fields.items():
        if get_origin(info.annotation) is Literal:
            assert said[field].choices == tuple(map(str, get_args(info.annotation)))


def test_what_is_not_written_in_the_source_is_not_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "strange.py").write_text(
        "from samplerhub import Component\n"
        "raise SystemExit('must not be run')\n"
        "class Base(Component):\n    a: int = 1\n    c: int = 2\n"
        "class Plain(Base):\n    b: 'int' = 1\n    _hidden: int = 0\n"
        "Made = type('Made', (Base,), {})\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert [field.name for field in fields("strange:Plain")] == ["b", "a", "c"]
    assert fields("strange:Made") == ()
    assert fields("strange:Missing") == ()
    assert fields("nowhere.at.all:Thing") == ()
    assert "strange" not in sys.modules


@pytest.mark.parametrize("strict", ["", "1"])
def test_plugins_that_hang_or_fail_hold_nobody_up(strict: str, tmp_path: Path) -> None:
    from distributions import write_distribution

    write_distribution(tmp_path, "bad", "import no_such_module")
    if not strict:
        write_distribution(tmp_path, "hanging", "import time; time.sleep(60)")
    asked = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)]),
        "SAMPLERHUB_STRICT": strict,
        "COMP_WORDS": "samplerhub run --grid nosuch --sampler dei",
        "COMP_CWORD": "5",
        "_SAMPLERHUB_COMPLETE": "complete_bash",
    }
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=asked, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "deis\n", "")
    assert time.monotonic() - began < 10


def script(shell: str) -> str:
    asked = environment(_SAMPLERHUB_COMPLETE=f"source_{shell}")
    command = str(Path(sys.executable).with_name("samplerhub"))
    return subprocess.run([command], env=asked, capture_output=True, text=True, check=True).stdout


def available(shell: str) -> str:
    found = shutil.which(shell)
    if found is None:
        pytest.skip(f"{shell} is not installed")
    return found


def typed(command: list[str], prepare: str, keys: str, expected: str, tmp_path: Path) -> str:
    """Type into a shell that has a terminal, and return what stands there once it has what is expected."""
    child, terminal = pty.fork()
    if child == 0:
        os.environ.update(environment(HOME=str(tmp_path), TERM="dumb", PS1="$ ", COLUMNS="200"))
        os.execv(command[0], command)
    shown = ""

    def read_until(text: str) -> None:
        nonlocal shown
        end = time.monotonic() + 60
        while text not in shown and time.monotonic() < end:
            if select.select([terminal], [], [], 0.2)[0]:
                try:
                    shown += os.read(terminal, 4096).decode(errors="replace")
                except OSError:
                    break

    try:
        os.write(terminal, f"{prepare}; echo re''ady\n".encode())
        read_until("ready")
        shown = ""
        os.write(terminal, keys.encode())
        read_until(expected)
        return shown
    finally:
        os.close(terminal)
        os.kill(child, 9)
        os.waitpid(child, 0)


def test_bash_completes_at_a_terminal(tmp_path: Path) -> None:
    (tmp_path / "it.sh").write_text(script("bash"))
    shell = [available("bash"), "--norc", "--noprofile", "-i"]
    line = "samplerhub run --sampler dei\t --ord\t"
    assert "deis  --order " in typed(shell, f"source {tmp_path}/it.sh", line, "--order ", tmp_path)


def test_zsh_completes_at_a_terminal(tmp_path: Path) -> None:
    (tmp_path / "it.zsh").write_text(script("zsh"))
    shell = [available("zsh"), "-f", "-i"]
    prepare = f"autoload -Uz compinit; compinit -u -D; source {tmp_path}/it.zsh"
    assert "deis" in typed(shell, prepare, "samplerhub run --sampler dei\t", "deis", tmp_path)


def test_fish_completes(tmp_path: Path) -> None:
    (tmp_path / "it.fish").write_text(script("fish"))
    found = subprocess.run(
        [available("fish"), "-N", "-c", f"source {tmp_path}/it.fish; complete -C 'samplerhub run --sampler dei'"],
        env=environment(HOME=str(tmp_path)),
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout
    assert found.startswith("deis\t")


INSTALLED = {
    "bash": ".bash_completions/samplerhub.sh",
    "zsh": ".zfunc/_samplerhub",
    "fish": ".config/fish/completions/samplerhub.fish",
}


@pytest.mark.parametrize(("shell", "file"), INSTALLED.items(), ids=INSTALLED)
def test_install_completion(shell: str, file: str, tmp_path: Path) -> None:
    command = [available(shell), "-c", "samplerhub --install-completion; true"]
    done = subprocess.run(command, env=environment(HOME=str(tmp_path)), capture_output=True, text=True, timeout=60)
    assert f"{shell} completion installed" in done.stdout
    assert (tmp_path / file).read_text().strip() == script(shell).strip()
