"""The report: true to the figures, safe from what it shows, whole in one file, and usable in a browser."""

from __future__ import annotations

import base64
import importlib
import io
import itertools
import json
import math
import re
import shutil
import webbrowser
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.etree.ElementTree import Element

import html5lib
import numpy as np
import pytest
from distributions import command, write_distribution
from PIL import Image

from samplerhub import Registry
from samplerhub.cli import main
from samplerhub.cli.asking import Asked
from samplerhub.cli.planning import plan
from samplerhub.files import read_tensors
from samplerhub.manifest import MetricRecord
from samplerhub.report import LIMIT, References, page
from samplerhub.report.axis import fitting
from samplerhub.report.chart import chart
from samplerhub.report.plan import Line, Plan, Point
from samplerhub.report.words import figure, number, plus_minus, tick
from samplerhub.sweep import Cell, Kept, Skipped, Store, conduct, groups, ranking
from samplerhub.sweep.task import MANIFEST, Files, run
from samplerhub_engines.serial import SerialEngine

REGISTRY = Registry.discover({"SAMPLERHUB_PLUGINS": "samplerhub"})
ATTACK = (
    "\"'></title></style></svg></textarea><img src=x onerror=pwned=1>"
    "<script>window.pwned=1</script>&#60;{{7*7}}\x00\u202e"
)
SVG, HTML = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xhtml}"
Tree = Element
Sweeps = Callable[..., Store]


def cells(**options: str) -> Sequence[Cell]:
    """Return the runs that options ask for, as on the command line."""
    texts = {f"--{name.replace('_', '-')}": tuple(value.split()) for name, value in options.items()}
    return plan(Asked({"--target": ("mixture",), "--samples": ("300",), **texts}, {}), REGISTRY).cells


@pytest.fixture(scope="module")
def sweeps(tmp_path_factory: pytest.TempPathFactory) -> Sweeps:
    """Make real sweeps, each once."""
    made: dict[str, Store] = {}

    def make(name: str, **options: str) -> Store:
        if name not in made:
            store = Store.at(tmp_path_factory.mktemp("sweeps") / name)
            store.note(f"samplerhub sweep --out {name}", ())
            assert not conduct(cells(**options), store, SerialEngine()).failed
            made[name] = store
        return made[name]

    return make


@pytest.fixture(scope="module")
def plain(sweeps: Sweeps) -> Store:
    return sweeps(
        "plain",
        sampler="deis,euler,heun",
        nfe="4,8",
        churn="0,0.3",
        seed="0,1",
        metric="energy sliced-wasserstein",
        path="4",
    )


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Return 200 runs with eight figures: real ones of each sampler, and others made of them."""
    store = Store.at(tmp_path_factory.mktemp("sweeps") / "large")
    asked = cells(
        sampler="deis,euler,heun,ddim,unipc",
        nfe="4,6,8,10",
        churn="0,0.1,0.2,0.3,1",
        seed="0,1",
        samples="200",
        metric="energy mmd sliced-wasserstein fd kl-knn kid precision recall",
    )
    made: dict[str, Files] = {}
    for i, cell in enumerate(asked):
        files = made.setdefault(str(cell.axes["sampler"]), run(cell.config) if cell.axes["sampler"] not in made else {})
        manifest = json.loads(files[MANIFEST])
        manifest["settings"] |= {"seed": cell.config.seed, "steps": cell.steps}
        manifest["components"]["sampler"]["fields"]["churn"] = cell.axes["churn"]
        manifest["nfe"] = cell.nfe
        for estimate in manifest["estimates"].values():
            estimate["value"] = float(estimate["value"]) * (1 + math.sin(i) / 3) + 1e-3
        store.write(cell, {**files, MANIFEST: json.dumps(manifest).encode()})
    return store


def html(store: Store) -> str:
    return page(store, REGISTRY, lambda manifests: References())


def parsed(text: str) -> Tree:
    """Return the page; whatever is not well-formed is an error."""
    tree: Tree = html5lib.HTMLParser(strict=True).parse(text)
    return tree


def found(tree: Tree, tag: str, **attributes: str) -> list[Tree]:
    """Return the elements that have a tag and attributes, a class among others."""
    return [
        element
        for element in tree.iter()
        if str(element.tag).rpartition("}")[2] == tag
        and all(
            value in (element.get(name.rstrip("_")) or "").split() or value == element.get(name.rstrip("_"))
            for name, value in attributes.items()
        )
    ]


def words(element: Tree) -> str:
    return "".join(element.itertext())


def altered(store: Store, cell: Cell, change: Callable[[dict[str, Any]], None]) -> None:
    """Write a real run whose record was changed."""
    files: Files = run(cell.config)
    manifest = json.loads(files[MANIFEST])
    change(manifest)
    store.write(cell, {**files, MANIFEST: json.dumps(manifest).encode()})


def kept(store: Store) -> list[Kept]:
    return [run for run in store.runs() if isinstance(run, Kept)]


def test_figures_are_those_of_the_groups(plain: Store) -> None:
    tree = parsed(html(plain))
    together = groups(kept(plain))
    (table,) = found(tree, "table", class_="sortable")
    metrics = [name for name in together[0].figures]
    seen = 0
    for block in found(table, "tbody"):
        same = [group for group in together if number(group.budget) == block.get("data-b")]
        places = {name: {id(p.group): p for p in ranking(same, name)} for name in metrics}
        for row in block.findall(f"{HTML}tr")[1:]:
            sampler, (churn, *cells) = words(row[0]), [words(cell) for cell in row[1:]]
            (group,) = [g for g in same if g.axes["sampler"] == sampler and str(g.axes["churn"]) == churn]
            values = [cell for cell in row if cell.get("data-v") is not None]
            assert [float(str(cell.get("data-v"))) for cell in values] == [group.figures[m].value for m in metrics]
            for metric, cell in zip(metrics, values):
                shown = group.figures[metric]
                place = places[metric][id(group)]
                mark = "1" if place.rank == 1 else "tie" if place.tied else str(place.rank)
                assert words(cell) == plus_minus(shown.value, shown.stderr) + mark
            assert cells[-3:] == [number(group.nfe), f"{group.seconds:.2g}", "2"]
            seen += 1
        assert len(same) == len(block) - 1
    assert seen == len(together) == 12


def test_ties_are_marked(plain: Store) -> None:
    tied = [place for budget in (4, 8) for place in _ranked(plain, budget, "energy") if place.tied]
    tree = parsed(html(plain))
    marks = [words(mark) for mark in found(tree, "i", class_="mark")]
    both = [
        p for budget in (4, 8) for metric in ("energy", "sliced-wasserstein") for p in _ranked(plain, budget, metric)
    ]
    assert marks.count("tie") == sum(place.tied for place in both) >= len(tied)
    assert marks.count("tie") > 0
    assert marks.count("1") == 4


def _ranked(store: Store, budget: float, metric: str) -> list[Any]:
    return ranking([group for group in groups(kept(store)) if group.budget == budget], metric)


def test_charts_have_their_numbers_as_a_table_and_a_description(plain: Store) -> None:
    tree = parsed(html(plain))
    panels = [svg for svg in found(tree, "svg") if svg.get("viewBox") == "0 0 360 236"]
    titles = [words(found(svg, "title")[0]) for svg in panels]
    assert {"energy against NFE, churn 0", "energy against churn, nfe 8"} <= set(titles)
    for svg in panels:
        assert svg.get("role") == "img"
        ids = str(svg.get("aria-labelledby")).split()
        assert [found(svg, tag)[0].get("id") for tag in ("title", "desc")] == ids
        assert "deis from " in words(found(svg, "desc")[0])
    (group,) = [g for g in groups(kept(plain)) if g.axes == {**g.axes, "sampler": "heun", "nfe": 8, "churn": 0.3}]
    numbers = [words(cell) for table in found(tree, "details") for cell in found(table, "td")]
    assert plus_minus(group.figures["energy"].value, group.figures["energy"].stderr) in numbers
    ids = [element.get("id") for element in tree.iter() if element.get("id")]
    assert len(ids) == len(set(ids))


def test_two_hundred_runs_with_eight_figures_stay_small(large: Store) -> None:
    text = html(large)
    assert len(kept(large)) == 200
    assert len(text.encode()) < LIMIT
    tree = parsed(text)
    assert len(found(tree, "figure", class_="picture")) > 8
    assert len([cell for cell in found(tree, "td") if cell.get("data-v")]) == 800


def test_nothing_is_fetched(plain: Store) -> None:
    text = html(plain)
    tree = parsed(text)
    for element in tree.iter():
        for name, value in element.attrib.items():
            bare = name.rpartition("}")[2]
            assert not bare.startswith("on"), "an event handler"
            assert bare not in ("style", "srcset", "action", "poster", "data", "background")
            if bare in ("href", "src") and element.tag != f"{HTML}a":
                assert value.startswith(("#", "data:")), value
    (style,) = found(tree, "style")
    assert not re.search(r"@import|url\(|expression", words(style))
    (policy,) = [meta.get("content") for meta in found(tree, "meta") if meta.get("http-equiv")]
    assert str(policy).startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in str(policy)


def test_references_and_commands(plain: Store, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = tmp_path / "of all.html"
    assert main(["report", str(plain.folder), "--out", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"report": str(out), "bytes": out.stat().st_size}
    text = out.read_text()
    tree = parsed(text)
    assert "@misc{zhang-2023-fast" in words(found(tree, "section", id="references")[0])
    links = [str(a.get("href")) for a in found(tree, "a") if not str(a.get("href")).startswith("#")]
    assert "https://arxiv.org/abs/2206.00364" in links
    assert all(link.startswith("https://") for link in links)
    again = words(found(tree, "section", id="rerun")[0])
    assert "samplerhub sweep --out plain" in again
    manifest = re.search(r"samplerhub run --from (\S+json)", again)
    assert manifest
    assert Path(manifest[1]).exists()
    assert main(["report", str(plain.folder)]) == 0
    assert (plain.folder / "report.html").exists()


def test_one_run_and_one_figure(sweeps: Sweeps) -> None:
    tree = parsed(html(sweeps("one", sampler="deis", metric="energy")))
    assert "Nothing to draw" in words(tree)
    assert len([cell for cell in found(tree, "td") if cell.get("data-v")]) == 1


def test_no_figure_at_all(tmp_path: Path) -> None:
    store = Store.at(tmp_path / "none")
    for cell in cells(sampler="deis,heun", nfe="4,8"):
        altered(store, cell, lambda manifest: manifest.update(estimates={}, metrics={}))
    tree = parsed(html(store))
    assert not [cell for cell in found(tree, "td") if cell.get("data-v") is not None]
    assert [words(row[0]) for row in found(tree, "tr") if row.get("data-s")] == ["deis", "heun", "deis", "heun"]


def test_what_is_not_finite_is_said_and_not_drawn(tmp_path: Path) -> None:
    store = Store.at(tmp_path / "wild")
    wild = ["NaN", "Infinity", "-Infinity", 1e-300, 1e300, 0.5]
    for value, cell in zip(wild, cells(sampler="deis,euler,heun", nfe="4,8", metric="energy")):
        altered(store, cell, lambda manifest: manifest["estimates"]["energy"].update(value=value, stderr=None))  # noqa: B023
    for cell in cells(sampler="unipc", nfe="4,8", metric="energy"):
        altered(store, cell, lambda manifest: manifest.update(estimates={}))
    text = html(store)
    tree = parsed(text)
    shown = [str(cell.get("data-v")) for cell in found(tree, "td") if cell.get("data-v")]
    assert sorted(map(repr, map(float, shown))) == sorted(map(repr, map(float, wild)))
    paths = [str(path.get("d")) for path in found(tree, "path")]
    assert not [d for d in paths if re.search(r"nan|inf", d)]
    assert "Not finite, so not drawn" in text
    assert {"NaN", "∞", "−∞"} <= {words(cell).rstrip("123456tie") for cell in found(tree, "td")}


def test_other_targets_are_compared_apart(tmp_path: Path) -> None:
    store = Store.at(tmp_path / "two")
    asked = cells(target="mixture,moons", sampler="deis,heun", nfe="4,8", metric="energy")
    conduct(asked, store, SerialEngine())
    tree = parsed(html(store))
    assert [words(h) for h in found(tree, "h2", class_="board")] == ["target mixture", "target moons"]
    assert len(found(tree, "table", class_="sortable")) == 2
    assert [words(mark) for mark in found(tree, "i", class_="best")] == ["1"] * 4


def test_pictures_that_cannot_be_drawn_are_told(tmp_path: Path) -> None:
    store = Store.at(tmp_path / "lost")
    one, *others = cells(sampler="deis,heun,euler", metric="energy")
    altered(store, one, lambda manifest: None)
    for cell in others:
        altered(store, cell, lambda manifest: manifest["components"]["target"].update(name="gone"))
    (store.folder / one.key / "samples.safetensors").write_bytes(b"")
    text = html(store)
    said = " ".join(words(found(parsed(text), "section", id="pictures")[0]).split())
    assert "No picture of target mixture, sampler deis" in said
    assert "samples.safetensors was changed: its hash is another" in said
    sweep = Store.at(tmp_path / "gone")
    altered(sweep, one, lambda manifest: manifest["components"]["target"].update(name="gone"))
    text = html(sweep)
    assert "The target is not shown: no target named &#39;gone&#39;" in text
    assert len(found(parsed(text), "figure", class_="picture")) == 1


def test_a_picture_is_of_the_samples(tmp_path: Path) -> None:
    (cell,) = cells(sampler="deis", target="moons", metric="energy", samples="400")
    store = Store.at(tmp_path / "moons")
    conduct([cell], store, SerialEngine())
    (svg,) = [svg for svg in found(parsed(html(store)), "svg") if svg.get("viewBox") == "0 0 200 200"]
    samples = read_tensors(store.folder / cell.key / "samples.safetensors")[0]["samples"]
    (data,) = [str(image.get("href")) for image in found(svg, "image")]
    pixels = Image.open(io.BytesIO(base64.b64decode(data.partition(",")[2])))
    *colour, alpha = np.asarray(pixels).reshape(-1, 4).T
    assert 100 < np.count_nonzero(alpha) <= len(samples)
    assert [set(channel.tolist()) for channel in colour] == [{0}, {0x6B}, {0xA8}]


def test_a_browser_is_opened_where_that_is_wanted(
    plain: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    browser = tmp_path / "browser"
    browser.write_text(f"#!/bin/sh\necho $1 > {tmp_path}/opened\n")
    browser.chmod(0o755)
    monkeypatch.setenv("BROWSER", f"{browser} %s")
    importlib.reload(webbrowser)  # which reads the variable once
    assert main(["report", str(plain.folder), "--open"]) == 0
    assert (tmp_path / "opened").read_text().strip() == (plain.folder / "report.html").as_uri()
    assert capsys.readouterr().out.strip() == str(plain.folder / "report.html")


def test_what_failed_was_skipped_or_damaged_is_told(tmp_path: Path) -> None:
    store = Store.at(tmp_path / "some")
    one, other, third = cells(sampler="deis,heun,euler", metric="energy")
    altered(store, one, lambda manifest: None)
    store.fail(other, RuntimeError("the bus stopped"))
    altered(store, third, lambda manifest: None)
    store.note("samplerhub sweep", [Skipped({"sampler": "deis", "steps": 1}, "too few steps")])
    (store.folder / third.key / "result.json").write_text("{")
    said = words(found(parsed(html(store)), "section", id="rerun")[0])
    assert "sampler heun RuntimeError: the bus stopped" in re.sub(r"\s+", " ", said).replace(
        "target mixture, ", ""
    ).replace(", samples 300", "")
    assert "too few steps" in said
    assert "result.json is not JSON" in said


@pytest.fixture
def hostile(tmp_path: Path) -> Store:
    """Return a sweep in which every text that can be is an attack."""
    store = Store.at(tmp_path / f"hostile{ATTACK.replace('/', '').replace(chr(0), '')}"[:200])

    def attack(manifest: dict[str, Any]) -> None:
        for record in [*manifest["components"].values(), *manifest["metrics"].values()]:
            record["name"] = record["distribution"] = record["version"] = record["target"] = ATTACK
            record["fields"] = {ATTACK: ATTACK}
        manifest["environment"] = {ATTACK: ATTACK}
        manifest["settings"]["device"] = ATTACK
        energy = manifest["estimates"]["energy"]
        energy |= {"quantity": ATTACK, "curve_of": ATTACK, "details": {ATTACK: ATTACK}}
        manifest["estimates"] |= {ATTACK: energy, "bound": {**energy, "bounds": ATTACK, "curve_of": ""}}

    for cell in cells(sampler="deis,heun", nfe="4,8", churn="0,1", metric="energy", path="3"):
        odd = {ATTACK: f"{cell.axes['sampler']}{ATTACK}", "sampler": f"{cell.axes['sampler']}{ATTACK}"}
        altered(store, replace(cell, axes={**cell.axes, **odd, "\ud800": "\ud800"}), attack)
    (failing,) = cells(sampler="euler")
    store.fail(replace(failing, axes={ATTACK: ATTACK}), RuntimeError(ATTACK))
    store.note(f"samplerhub sweep {ATTACK}", [Skipped({ATTACK: ATTACK}, ATTACK)])
    (store.folder / "0123456789ab").mkdir()
    return store


def test_what_others_wrote_is_text(hostile: Store) -> None:
    text = html(hostile)
    tree = parsed(text)
    assert text.encode()
    assert ATTACK.rstrip("\x00\u202e") in words(tree)
    assert len(found(tree, "script")) == 1
    assert all(str(image.get("src")).startswith("data:") for image in found(tree, "img"))
    assert "49" not in words(found(tree, "h1")[0])
    assert not re.search("[\x00\u202e\ud800]", text)


def test_a_plugin_whose_summary_is_a_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evil = '<script>window.pwned=1</script>"><img src=x onerror=pwned=1>'
    source = (
        "from samplerhub.plugin import Entry, hookimpl\n"
        "@hookimpl\n"
        "def samplerhub_entries():\n"
        f"    return [Entry('sampler', 'evil', 'acme_evil_sampler:Evil', {evil!r})]\n"
    )
    write_distribution(tmp_path, "acme-evil", source)
    (tmp_path / "acme_evil_sampler.py").write_text(
        "from samplerhub_samplers.euler import Euler\n"
        "class Evil(Euler):\n"
        f'    r"""{evil[:-1]}> and more.\n\n'
        "    References:\n"
        f"        {evil.replace('=', '')} (Mallory<b>, 2024), example.org/'onmouseover'<script>\n"
        f'        {evil} no reference at all\n    """\n'
    )
    folder = str(tmp_path / "runs")
    options = ["--sampler", "evil,euler", "--nfe", "3,5", "--target", "mixture", "-n", "100", "--metric", "energy"]
    made = command(tmp_path, "sweep", *options, "--engine", "serial", "--out", folder)
    assert made.returncode == 0, made.stderr
    monkeypatch.syspath_prepend(str(tmp_path))
    assert main(["report", folder]) == 0
    text = (tmp_path / "runs" / "report.html").read_text()
    tree = parsed(text)
    assert evil in words(found(tree, "section", id="protocol")[0])
    assert "Mallory<b>" in words(found(tree, "section", id="references")[0])
    assert len(found(tree, "script")) == 1
    assert not found(tree, "img")
    assert not found(tree, "b", class_="evil")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: None, "cannot read the folder"),
        (lambda folder: folder.mkdir(), "has no finished run of a sweep: name the folder"),
        (lambda folder: folder.write_text("x"), "cannot read the folder"),
        (lambda folder: (folder / "0123456789ab").mkdir(parents=True), "and 1 that cannot be read"),
    ],
)
def test_no_sweep_is_one_message(
    make: Callable[[Path], object], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(tmp_path / "sweep")
    assert main(["report", str(tmp_path / "sweep")]) == 2
    captured = capsys.readouterr()
    assert message in " ".join(captured.err.split())
    assert "Traceback" not in captured.err
    assert captured.out == ""


@pytest.mark.parametrize("out", ["missing/report.html", "file/report.html", "folder"])
def test_a_file_that_cannot_be_written_is_one_message(
    plain: Store, out: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    assert main(["report", str(plain.folder), "--out", str(tmp_path / out)]) == 2
    assert "cannot write" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_axes_are_logarithmic_where_figures_span_more_than_a_decade() -> None:
    assert fitting([1, 11], 0, 100).logarithmic
    for values in ([1, 10], [0, 100], [-1, 100], [math.inf, 1], [], [3, 3], [5e-324, 5e-324]):
        axis = fitting(values, 0, 100)
        assert not axis.logarithmic
        assert all(0 <= axis.at(value) <= 100 for value in values)
    for values in ([1e-300, 1e300], [0.001, 1], [1, 11], [-5, 3], [0, 1e-9]):
        axis = fitting(values, 0, 100)
        ticks = axis.ticks()
        assert 2 <= len(ticks) <= 9
        assert all(0 <= at <= 100 for at, _ in ticks)
        assert len({label for _, label in ticks}) == len(ticks)


def test_what_is_not_above_zero_does_not_spoil_a_logarithmic_axis() -> None:
    points = tuple(Point(i, y, 0.01) for i, y in enumerate([100.0, 1.0, 0.5, -0.005]))
    drawn = chart(Plan("title", "NFE", "fd", {"": [Line("deis", 0, points)]}))
    assert drawn is not None
    assert drawn.logarithmic[1]
    assert drawn.notes == ("Not above zero, so drawn at the lower end: 1 figure.",)
    far = chart(Plan("title", "NFE", "fd", {"": [Line("deis", 0, (*points, Point(5, -50.0)))]}))
    assert far is not None
    assert not far.logarithmic[1]


def test_labels_at_the_right_do_not_touch() -> None:
    lines = [Line(f"s{i}", i, (Point(0, 1.0), Point(1, 1.0 + i * 1e-3))) for i in range(8)]
    drawn = chart(Plan("title", "NFE", "kl", {"": lines}))
    assert drawn is not None
    at = [float(height) for height, _, _ in drawn.panels[0].labels]
    assert all(b - a >= 12.9 for a, b in itertools.pairwise(at))


def test_one_sampler_has_a_colour_for_each_churn(sweeps: Sweeps) -> None:
    tree = parsed(html(sweeps("single", sampler="deis", nfe="4,8", churn="0,0.3", metric="energy")))
    chips = [words(chip) for chip in found(tree, "button", class_="chip")]
    assert chips == ["churn 0", "churn 0.3"]
    labels = [words(label) for label in found(tree, "text", class_="end")]
    assert set(labels[:2]) == set(chips)
    assert set(labels[2:]) == {"nfe 4", "nfe 8"}
    assert [words(row[0]) for row in found(tree, "tr") if row.get("data-s")].count("0.3") == 2


def test_many_samplers_are_told_apart_by_marks_and_dashes() -> None:
    lines = [Line(f"s{i}", i, (Point(0, 1.0), Point(1, 2.0 + i)), shape=i) for i in range(10)]
    drawn = chart(Plan("title", "NFE", "kl", {str(i): lines for i in range(9)}))
    assert drawn is not None
    assert drawn.panels[0].labels == ()
    assert [panel.title for panel in drawn.panels] == ["0", "2", "3", "5", "6", "8"]
    assert drawn.notes == ("3 panels more: their numbers are in the leaderboard.",)


def test_numbers_in_words() -> None:
    assert figure(0.01234, 0.00012) == ("0.01234", "0.00012")
    assert figure(12345.6, 78.9) == ("12346", "79")
    assert plus_minus(1.5e-9, 2e-11) == "1.500·10⁻⁹ ± 0.020·10⁻⁹"
    assert plus_minus(-0.5, None) == "−0.5"
    assert plus_minus(math.nan, 1.0) == "NaN"
    assert number(1.5e-9) == "1.5·10⁻⁹"
    assert [tick(v) for v in (0.0, 0.001, 1e-5, 2e6, -5e-7, 10.0)] == ["0", "0.001", "10⁻⁵", "2·10⁶", "−5·10⁻⁷", "10"]


def test_every_metric_has_a_curve_of_its_own(plain: Store) -> None:
    record = MetricRecord(value=1.0, stderr=None, curve_of="rate of the error")
    assert MetricRecord.model_validate_json(record.model_dump_json()).curve_of == "rate of the error"
    titles = [words(h) for h in found(parsed(html(plain)), "h4")]
    assert any(title.startswith("energy along the path") for title in titles)


CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
in_a_browser = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="needs Debian's packages chromium and chromium-driver"
)
FLAGS = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
--disable-component-update --disable-sync --disable-dev-shm-usage --hide-scrollbars"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Return a real browser without a window."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS.split(), f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
    yield driver
    driver.quit()


def open_page(browser: Any, store: Store, scheme: str = "light", width: int = 1280) -> Path:
    """Open the report of a sweep, as a reader with such a screen would."""
    file = store.folder / "report.html"
    file.write_text(html(store), encoding="utf-8")
    features = [
        {"name": "prefers-color-scheme", "value": scheme},
        {"name": "prefers-reduced-motion", "value": "reduce"},
    ]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    screen = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    for log in ("browser", "performance"):
        browser.get_log(log)
    browser.get(f"file://{quote(str(file.resolve()))}")
    return file


def requested(browser: Any) -> list[str]:
    """Return the addresses that the browser asked for."""
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [m["params"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    return [str(one["request"]["url"]) for one in sent if not one["request"]["url"].startswith("data:")]


def texts(browser: Any, script: str) -> Any:
    return browser.execute_script(f"return {script}")


SHOWN = (
    "[...document.querySelectorAll('table.sortable tbody')].map(body => [...body.rows].slice(1)"
    ".filter(row => row.offsetParent).map(row => row.cells[{}].{}))"
)


@in_a_browser
@pytest.mark.parametrize("which", ["plain", "hostile"])
def test_the_browser_has_nothing_to_say_and_asks_for_nothing(
    which: str, browser: Any, request: pytest.FixtureRequest
) -> None:
    file = open_page(browser, request.getfixturevalue(which))
    assert texts(browser, "document.readyState") == "complete"
    assert browser.get_log("browser") == []
    assert requested(browser) == [f"file://{quote(str(file.resolve()))}"]
    assert texts(browser, "window.pwned") is None
    assert texts(browser, "document.documentElement.classList.contains('js-on')")
    drawn = texts(browser, "[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    assert drawn


@in_a_browser
def test_the_policy_stops_what_does_not_belong_there(plain: Store, browser: Any) -> None:
    open_page(browser, plain)
    browser.execute_script(
        "const s = document.createElement('script'); s.textContent = 'window.pwned = 1'; document.body.append(s);"
        "const i = new Image(); i.src = 'https://example.org/x.png'; document.body.append(i);"
    )
    assert texts(browser, "window.pwned") is None
    assert len([entry for entry in browser.get_log("browser") if "Content Security Policy" in entry["message"]]) >= 2


@in_a_browser
def test_a_click_sorts_within_each_block(plain: Store, browser: Any) -> None:
    open_page(browser, plain)
    heads = browser.find_elements("css selector", "table.sortable thead button")
    names = [head.text for head in heads]
    column = names.index("sliced-wasserstein")
    first = texts(browser, SHOWN.format(column, "dataset.v"))
    heads[column].click()
    rising = [[float(value) for value in block] for block in texts(browser, SHOWN.format(column, "dataset.v"))]
    assert rising == [sorted(float(value) for value in block) for block in first]
    assert heads[column].find_element("xpath", "..").get_attribute("aria-sort") == "ascending"
    heads[column].click()
    falling = [[float(value) for value in block] for block in texts(browser, SHOWN.format(column, "dataset.v"))]
    assert falling == [block[::-1] for block in rising]
    heads[0].click()
    assert texts(browser, SHOWN.format(0, "textContent")) == [["deis", "deis", "euler", "euler", "heun", "heun"]] * 2
    assert [len(block) for block in first] == [6, 6]


@in_a_browser
def test_rows_and_lines_are_filtered(plain: Store, browser: Any) -> None:
    open_page(browser, plain)
    find = browser.find_element("id", "find")
    find.send_keys("churn 0, heun")
    assert texts(browser, SHOWN.format(0, "textContent")) == [["heun"], ["heun"]]
    assert texts(browser, SHOWN.format(1, "textContent")) == [["0"], ["0"]]
    assert browser.find_element("css selector", ".shown").text == "2 of 12 rows"
    find.clear()
    find.send_keys("nothing like it")
    assert texts(browser, SHOWN.format(0, "textContent")) == [[], []]
    find.clear()
    find.send_keys(" ")
    browser.find_element("css selector", "#budget option:nth-child(3)").click()
    assert [len(block) for block in texts(browser, SHOWN.format(0, "textContent"))] == [0, 6]
    browser.find_element("css selector", ".chip").click()
    assert set(texts(browser, SHOWN.format(0, "textContent"))[1]) == {"euler", "heun"}
    visible = "[...document.querySelectorAll('[data-s=\"{}\"] .line')].some(line => line.getBoundingClientRect().width)"
    assert [texts(browser, visible.format(i)) for i in range(3)] == [False, True, True]
    assert browser.get_log("browser") == []


@in_a_browser
@pytest.mark.parametrize("which", ["plain", "hostile", "large"])
def test_a_phone_scrolls_only_down(which: str, browser: Any, request: pytest.FixtureRequest) -> None:
    for width in (320, 390):
        open_page(browser, request.getfixturevalue(which), width=width)
        assert texts(browser, "document.documentElement.scrollWidth") <= width
        assert texts(browser, "window.innerWidth") == width


def luminance(colour: str) -> float:
    channels = [float(c) / 255 for c in re.findall(r"[\d.]+", colour)[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@in_a_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everything_can_be_read_by_day_and_by_night(scheme: str, plain: Store, browser: Any) -> None:
    open_page(browser, plain, scheme)
    card = texts(browser, "getComputedStyle(document.querySelector('.chart')).backgroundColor")
    assert (luminance(card) > 0.5) == (scheme == "light")
    looked_at: Mapping[str, str] = texts(
        browser,
        """Object.fromEntries([['ink', 'h1', 'color'], ['soft', '.lead', 'color'], ['tick', '.tick text', 'fill'],
        ['link', 'nav a', 'color'], ['label', 'text.end', 'fill'], ['best', '.ink', 'color']].map(
        ([name, selector, what]) => [name, getComputedStyle(document.querySelector(selector))[what]]))""",
    )
    colours = texts(
        browser,
        "[...Array(8).keys()].map(i => {const e = document.createElement('i'); e.className = `ink s${i}`;"
        "document.body.append(e); return getComputedStyle(e).color})",
    )
    for name, colour in [*looked_at.items(), *((f"colour {i}", c) for i, c in enumerate(colours))]:
        light, dark = sorted([luminance(colour), luminance(card)], reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, f"{name} {colour} on {card}"
