"""References: read from the docstrings of all components, written as BibTeX, read back by somebody else's parser."""

from __future__ import annotations

import ast
import itertools
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from pybtex.database import BibliographyData, parse_string
from pybtex.plugin import find_plugin
from pylatexenc.latex2text import LatexNodes2Text

from samplerhub import ROLES, Registry
from samplerhub.citation import Cited, Reference, bibliography, bibtex, items, reference, software
from samplerhub.cli import main
from samplerhub.cli.listing import documentation
from samplerhub.errors import InvalidSetting

ROOT = Path(__file__).parent.parent
REGISTRY = Registry.discover({"SAMPLERHUB_PLUGINS": "samplerhub"})
COMPONENTS = [(role, one.entry.name) for role in ROLES for one in REGISTRY.entries(role)]


def texts(role: str, name: str) -> list[str]:
    return documentation(REGISTRY.load(role, name))[1]


def everything() -> list[Cited]:
    return bibliography((f"{role} {name}", reference(text)) for role, name in COMPONENTS for text in texts(role, name))


def parsed(text: str) -> BibliographyData:
    return parse_string(text, "bibtex")


def printed(data: BibliographyData, style: str = "plain") -> dict[str, str]:
    """Return what a bibliography would show of each entry."""
    backend = find_plugin("pybtex.backends", "plaintext")()
    formatted = find_plugin("pybtex.style.formatting", style)().format_bibliography(data)
    return {entry.key: entry.text.render(backend) for entry in formatted}


@pytest.mark.parametrize(("role", "name"), COMPONENTS, ids=map(" ".join, COMPONENTS))
def test_every_reference_of_a_component_is_a_complete_entry(role: str, name: str) -> None:
    for text in texts(role, name):
        work = reference(text)
        (entry,) = parsed(work.bibtex()).entries.values()
        assert entry.persons["author"]
        assert entry.fields["title"]
        assert entry.fields["year"] == str(work.year)
        assert {"eprint", "doi", "url", "journal", "howpublished"} & set(entry.fields)
        assert "howpublished" in entry.fields or {"journal", "volume"} <= set(entry.fields)


def sections() -> Iterator[tuple[str, str]]:
    """Yield each reference in the docstrings of all plugins here, components' or not, installed or not."""
    for file in sorted((ROOT / "plugins").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
                _, _, section = (ast.get_docstring(node) or "").partition("\nReferences:\n")
                for text in items(section):
                    yield str(file.relative_to(ROOT / "plugins")), text


def test_every_reference_of_the_plugins_here_can_be_read_and_they_agree() -> None:
    """Also of those that need a library which is not installed."""
    works: dict[str, set[tuple[object, ...]]] = {}
    folders = set()
    for file, text in sections():
        work = reference(text)
        works.setdefault(work.identity, set()).add((work.title, work.authors, work.year))
        folders.add(file.partition("/")[0])
    assert {"samplerhub_samplers", "samplerhub-peers"} <= folders
    assert {identity: said for identity, said in works.items() if len(said) > 1} == {}


WHOLE = {
    "2206.00927": "DPM-Solver: A Fast ODE Solver for Diffusion Probabilistic Model Sampling in Around 10 Steps",
    "2211.01095": "DPM-Solver++: Fast Solver for Guided Sampling of Diffusion Probabilistic Models",
    "1706.08500": "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium",
    "10.1080/03610918908812806": (
        "A Stochastic Estimator of the Trace of the Influence Matrix for Laplacian Smoothing Splines"
    ),
    "10.1007/978-3-540-78862-1": "Solving Ordinary Differential Equations I: Nonstiff Problems",
}


def test_long_titles_are_whole() -> None:
    titles = {work.identity: work.title for _, text in sections() for work in [reference(text)]}
    assert {identity: titles[identity] for identity in WHOLE} == WHOLE


def test_an_independent_parser_reads_back_what_was_written() -> None:
    works = everything()
    assert len(works) > 80
    data = parsed(bibtex(works, "0.1.0"))
    assert list(data.entries) == ["samplerhub", *(cited.key for cited in works)]
    latex = LatexNodes2Text()
    for cited in works:
        entry, work = data.entries[cited.key], cited.reference
        assert latex.latex_to_text(entry.fields["title"]) == work.title
        names = tuple(latex.latex_to_text(" ".join(person.last_names)) for person in entry.persons["author"])
        assert names == work.authors
        assert entry.fields.get("doi", "") == work.doi
        assert entry.fields.get("eprint", "") == work.arxiv


def test_a_style_that_writes_small_letters_keeps_the_capitals_of_titles() -> None:
    works = everything()
    shown = printed(parsed(bibtex(works, "0.1.0")))
    for cited in works:
        assert cited.reference.title in re.sub(r"\s+", " ", shown[cited.key])
    assert "DPM-Solver++: Fast Solver" in shown["lu-2022-dpmsolverpp"]


def test_without_braces_that_style_takes_the_capitals_away() -> None:
    """Else the test above could not fail."""
    text = reference("DPM-Solver: A Fast ODE Solver (Lu et al., 2022), arXiv:2206.00927").bibtex()
    plain = re.sub(r"(title .*= \{)(.*)(\},)", lambda m: m[1] + re.sub(r"[{}]", "", m[2]) + m[3], text)
    assert "ODE" not in printed(parsed(plain))["lu-2022-dpmsolver"]
    assert "ODE" in printed(parsed(text))["lu-2022-dpmsolver"]


def test_mentions_of_a_work_agree_on_it() -> None:
    mentions = [reference(text) for role, name in COMPONENTS for text in texts(role, name)]
    for identity, group in itertools.groupby(sorted(mentions, key=lambda m: m.identity), lambda m: m.identity):
        assert len({(work.title, work.authors, work.year) for work in group}) == 1, identity


def test_keys_are_stable_and_all_different() -> None:
    keys = [cited.key for cited in everything()]
    assert len(set(keys)) == len(keys)
    assert all(re.fullmatch(r"[a-z0-9]+-\d{4}-[a-z0-9]+", key) for key in keys)
    assert {
        "karras-2022-elucidating",
        "lu-2022-dpmsolver",
        "lu-2022-dpmsolverpp",
        "kynkaanniemi-2019-improved",
        "gretton-2012-kernel",
        "hairer-1993-solving",
    } <= set(keys)


def test_two_works_with_one_key_are_told_apart() -> None:
    one = reference("Fast Samplers (Doe, 2020), arXiv:2001.00001")
    other = reference("Fast Grids (Doe, 2020), arXiv:2001.00002")
    assert [cited.key for cited in bibliography([("a", one), ("b", other)])] == [
        "doe-2020-fast-200100001",
        "doe-2020-fast-200100002",
    ]


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("扩散模型 (田中, 2020), arXiv:2001.00001", "2020-200100001"),
        ("扩散模型 (Doe, 2020), doi:10.1000/xyz.1", "doe-2020-101000xyz1"),
        ("Fast 扩散模型 (田中, 2020), arXiv:2001.00001", "2020-fast"),
        ("On the A (Doe, 2020), arXiv:2001.00001v2", "doe-2020-200100001"),
        ("On the A (Doe, 2020), example.org/a", "doe-2020-httpsexampleorga"),
    ],
)
def test_a_title_without_a_word_for_the_key(text: str, key: str) -> None:
    work = reference(text)
    assert work.key == key
    (entry,) = parsed(work.bibtex()).entries.values()
    assert LatexNodes2Text().latex_to_text(entry.fields["title"]) == work.title


def test_works_in_other_letters_are_told_apart() -> None:
    """Where they have a venue alone, the title is all that tells them apart."""
    one, other = (reference(f"{title} (田中, 2020), JMLR 13, 1-9") for title in ("扩散模型", "快速采样"))
    keys = [cited.key for cited in bibliography([("a", one), ("b", other)])]
    assert len(set(keys)) == 2
    assert all(re.fullmatch(r"2020-[0-9a-f]{8}", key) for key in keys)


@pytest.mark.parametrize(
    ("authors", "names"),
    [
        ("Sabour, Fidler and Kreis", ("Sabour", "Fidler", "Kreis")),
        ("Sabour, Fidler, and Kreis", ("Sabour", "Fidler", "Kreis")),
        ("Liu & Rubin", ("Liu", "Rubin")),
        ("Liu and Rubin", ("Liu", "Rubin")),
        ("Lin et al.", ("Lin", "others")),
        ("Lin, Liu, et al.", ("Lin", "Liu", "others")),
        ("van den Band, Anders", ("van den Band", "Anders")),
    ],
)
def test_authors(authors: str, names: tuple[str, ...]) -> None:
    work = reference(f"Fast Samplers ({authors}, 2020), arXiv:2001.00001")
    assert work.authors == names
    (entry,) = parsed(work.bibtex()).entries.values()
    assert len(entry.persons["author"]) == len(names)


def test_the_same_work_is_merged() -> None:
    one = reference("Fast Samplers (Doe, 2020), arXiv:2001.00001v2, Table 1")
    other = reference("Fast Samplers (Doe et al., 2020), arXiv:2001.00001, eq. 3")
    (cited,) = bibliography([("sampler a", one), ("sampler b", other), ("sampler a", other)])
    assert cited.users == ["sampler a", "sampler b"]


@pytest.mark.parametrize(
    ("text", "work"),
    [
        (
            "A 3(2) pair (Bogacki and Shampine, 1989), doi:10.1016/0893-9659(89)90079-7",
            Reference("A 3(2) pair", ("Bogacki", "Shampine"), 1989, doi="10.1016/0893-9659(89)90079-7"),
        ),
        (
            "One, Two and Three (Ho, Jain and Abbeel, 2020), arXiv:2006.11239, eq. 12, app. C",
            Reference("One, Two and Three", ("Ho", "Jain", "Abbeel"), 2020, "2006.11239", where="eq. 12, app. C"),
        ),
        (
            "Integrators (Hochbruck, 2010), Acta Numerica 19, doi:10.1017/S0962492910000048",
            Reference("Integrators", ("Hochbruck",), 2010, doi="10.1017/S0962492910000048", venue="Acta Numerica 19"),
        ),
        (
            "A Kernel Test (Gretton et al., 2012), JMLR 13, 723-773, sec. 2",
            Reference("A Kernel Test", ("Gretton", "others"), 2012, venue="JMLR 13", pages="723-773", where="sec. 2"),
        ),
        (
            "k-diffusion (Crowson, 2022), github.com/crowsonkb/k-diffusion, euler",
            Reference("k-diffusion", ("Crowson",), 2022, url="https://github.com/crowsonkb/k-diffusion", where="euler"),
        ),
    ],
    ids=lambda value: value[:12] if isinstance(value, str) else "",
)  # fmt: skip
def test_forms(text: str, work: Reference) -> None:
    assert reference(text) == work


@pytest.mark.parametrize(
    "text",
    [
        "Fast Samplers, arXiv:2001.00001",
        "Fast Samplers (Doe, 2020)",
        "Fast Samplers (Doe, 2020), eq. 3",
        "Fast Samplers (2020), arXiv:2001.00001",
        "arXiv:2001.00001",
    ],
)
def test_what_is_no_reference_is_refused_with_the_form_that_is(text: str) -> None:
    with pytest.raises(InvalidSetting, match=re.escape(repr(text)) + ".*Title .Authors, Year., arXiv:NNNN.NNNNN"):
        reference(text)


def test_characters_that_latex_reads_otherwise() -> None:
    text = "Müller & 100% of_Größe #1 (de la Cruz and Łoś, 2020), doi:10.1162/NECO_a_00142"
    written = reference(text).bibtex()
    assert written.startswith("@misc{delacruz-2020-muller,")
    assert r"author        = {{de la Cruz} and {\L}o{\'s}}" in written
    assert r"title         = {M{\"u}ller {\&} 100{\%} {of{\_}Gr{\"o}{\ss}e} {\#}1}" in written
    assert "doi           = {10.1162/NECO_a_00142}" in written
    (entry,) = parsed(written).entries.values()
    assert [person.last_names for person in entry.persons["author"]] == [["{de la Cruz}"], [r"{\L}o{\'s}"]]


def test_further_lines_of_a_reference_are_indented() -> None:
    section = "    One (A, 2020),\n        arXiv:2001.00001\n\n    Two (B, 2020), arXiv:2001.00002,\n        eq. 3"
    assert items(section) == ["One (A, 2020), arXiv:2001.00001", "Two (B, 2020), arXiv:2001.00002, eq. 3"]


RUN = ["run", "--target", "mixture", "--model", "guided", "--sampler", "dpm-solver-pp", "--grid", "edm", "-n", "64"]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    monkeypatch.setenv("SAMPLERHUB_PLUGINS", "samplerhub")
    folder = tmp_path / "a run"
    assert main([*RUN, "--steps", "2", "--metric", "mmd", "--quiet", "--out", str(folder)]) == 0
    capsys.readouterr()
    return folder


def output(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main([str(argument) for argument in arguments]) == 0
    return capsys.readouterr().out


def test_a_run_cites_exactly_what_it_used(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    used = {
        "process edm", "target mixture", "model guided", "model exact", "model gaussian", "sampler dpm-solver-pp",
        "grid edm", "prior gaussian", "features identity", "metric mmd",
    }  # fmt: skip
    facts = json.loads(output(capsys, "cite", run, "--json"))
    cited = {user for entry in facts["entries"] for user in entry["components"]}
    assert cited | set(facts["without_references"]) == used
    assert facts["without_references"] == ["features identity"]
    assert facts["problems"] == []
    expected = bibliography((user, reference(text)) for user in used for text in texts(*user.split()))
    assert {entry["key"] for entry in facts["entries"]} == {work.key for work in expected}
    assert {"lu-2022-dpmsolverpp", "ho-2022-classifierfree"} < {work.key for work in expected}
    assert "lu-2022-dpmsolver" not in {work.key for work in expected}


def test_a_folder_and_its_manifest_are_the_same_run(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = output(capsys, "cite", run)
    assert text == output(capsys, "cite", run / "manifest.json")
    assert text.rstrip("\n") == json.loads(output(capsys, "cite", run, "--json"))["bibtex"]
    data = parsed(text)
    assert "samplerhub" in data.entries
    assert "gretton-2012-kernel" in data.entries


SWEEP = "sweep --target mixture --sampler ddim,deis --grid edm,exponential --steps 2 -n 16 --metric mmd --quiet"


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    """A sweep of four runs."""
    monkeypatch.setenv("SAMPLERHUB_PLUGINS", "samplerhub")
    folder = tmp_path / "a sweep"
    assert main([*SWEEP.split(), "--out", str(folder)]) == 0
    capsys.readouterr()
    return folder


def test_a_sweep_cites_what_any_of_its_runs_used(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [file.parent for file in sorted(sweep.glob("*/manifest.json"))]
    assert len(runs) == 4
    single = [json.loads(output(capsys, "cite", run, "--json")) for run in runs]
    together = json.loads(output(capsys, "cite", sweep, "--json"))
    users = [{user for entry in facts["entries"] for user in entry["components"]} for facts in (*single, together)]
    assert {"sampler ddim", "sampler deis", "grid edm", "grid exponential"} <= users[-1]
    assert users[-1] == set.union(*users[:-1])
    assert all(users[-1] > one for one in users[:-1])
    keys = [entry["key"] for entry in together["entries"]]
    assert len(keys) == len(set(keys))
    assert set(keys) == {entry["key"] for facts in single for entry in facts["entries"]}
    assert together["problems"] == []
    assert set(parsed(output(capsys, "cite", sweep)).entries) == {"samplerhub", *keys}


def test_a_run_of_a_sweep_that_cannot_be_read_is_named(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = output(capsys, "cite", sweep)
    first, *others = sorted(sweep.glob("*/result.json"))
    first.write_text("{}")
    assert main(["cite", str(sweep)]) == 0
    captured = capsys.readouterr()
    assert captured.err.count("warning: ") == 1
    assert f"{first.parent.name}/result.json is not the result of a run" in re.sub(r"\s*\n\s*", "", captured.err)
    assert set(parsed(captured.out).entries) == set(parsed(whole).entries)
    for file in others:
        file.write_text("{}")
    assert main(["cite", str(sweep)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "none of its runs can be read" in captured.err


def test_a_sweep_without_a_finished_run_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "sweep.json").write_text('{"commands": [], "skipped": []}')
    assert main(["cite", str(tmp_path)]) == 2
    assert "has no finished run" in capsys.readouterr().err


def test_what_is_not_known_is_said(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = run / "manifest.json"
    facts = json.loads(manifest.read_text())
    facts["components"]["grid"]["name"] = None
    facts["components"]["sampler"] |= {"name": "gone", "distribution": "acme", "version": "1.2"}
    manifest.write_text(json.dumps(facts))
    assert main(["cite", str(run)]) == 0
    captured = capsys.readouterr()
    assert "grid samplerhub_grids.edm:EDMGrid was made in Python and has no name" in captured.err
    assert "sampler gone is not here (acme 1.2)" in captured.err
    assert set(parsed(captured.out).entries) >= {"samplerhub", "gretton-2012-kernel"}


@pytest.mark.parametrize("what", ["nowhere", "."])
def test_what_is_no_run_is_an_error(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["cite", what]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"error: {what} ")
    assert "manifest" in captured.err


def test_samplerhub_is_cited_as_its_own_files_say() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    (entry,) = parsed(software(project["version"])).entries.values()
    assert citation["version"] == project["version"]
    assert citation["license"] == project["license"]
    assert citation["abstract"] == project["description"]
    licence = re.search(r"Copyright \(c\) (\d{4}) (.*)", (ROOT / "LICENSE").read_text())
    assert licence
    assert entry.fields["year"] == licence[1]
    assert [one["name"] for one in citation["authors"]] == [licence[2]]
    assert [person.last_names for person in entry.persons["author"]] == [[f"{{{licence[2]}}}"]]
    assert LatexNodes2Text().latex_to_text(entry.fields["title"]) == citation["title"]
    assert project["version"] in entry.fields["howpublished"]
