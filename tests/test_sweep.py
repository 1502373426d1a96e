"""A sweep does each run once, keeps it whole, and goes on with what is missing."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from samplerhub.assembly import assemble
from samplerhub.config import Choice, RunConfig, read_manifest
from samplerhub.errors import InvalidSetting, NotFinite, UnusableFile
from samplerhub.files import read_tensors
from samplerhub.registry import Registry
from samplerhub.sweep import Cell, Kept, Skipped, Store, conduct, groups
from samplerhub.sweep.store import Noted
from samplerhub_engines.serial import SerialEngine

REGISTRY = Registry.discover()


def config(sampler: str = "heun", metrics: tuple[str, ...] = ("kl",), **settings: Any) -> RunConfig:
    components = {"target": Choice(name="gaussian"), "sampler": Choice(name=sampler)}
    return RunConfig(
        components=components,
        metrics=tuple(Choice(name=name) for name in metrics),
        **{"samples": 100, "steps": 4, **settings},
    )


def cell(sampler: str = "heun", **settings: Any) -> Cell:
    return Cell.of(config(sampler, **settings), {"sampler": sampler, **settings}, REGISTRY)


def cells(count: int = 4) -> list[Cell]:
    return [cell().at(seed) for seed in range(count)]


def broken() -> Cell:
    """Return a run that fails while it samples."""
    parts = {"base": Choice(name="exact")}
    model = Choice(name="perturbed", fields={"unit": "score", "scale": 1e30}, parts=parts)
    failing = config(metrics=())
    failing = failing.model_copy(update={"components": {**failing.components, "model": model}})
    return Cell.of(failing, {"sampler": "heun"}, REGISTRY)


class Counting(SerialEngine):
    """Counts the jobs that begin."""

    begun: list[str] = []

    def map(self, task: Callable[[Any], Any], jobs: Any) -> Iterator[Any]:
        def counted() -> Iterator[Any]:
            for job in jobs:
                self.begun.append(job.key)
                yield job

        return super().map(task, counted())


# --- the name of a run ------------------------------------------------------------------------------------------------


def test_a_default_that_is_given_is_the_same_run() -> None:
    plain = config("deis")
    given = plain.over(RunConfig(components={"sampler": Choice(name="deis", fields={"churn": 0.0})}, seed=0))
    other = plain.over(RunConfig(components={"sampler": Choice(name="deis", fields={"churn": 0.1})}))
    given = RunConfig(components={"sampler": Choice(name="deis", fields={"churn": 0.0})}, seed=0).over(plain)
    other = RunConfig(components={"sampler": Choice(name="deis", fields={"churn": 0.1})}).over(plain)
    keys = [Cell.of(one, {}, REGISTRY).key for one in (plain, given, other)]
    assert keys[0] == keys[1] != keys[2]


def test_whatever_may_change_a_figure_changes_the_name() -> None:
    same = [cell(), cell(batch=7)]
    others = [
        cell("ddim"),
        cell(steps=5),
        cell(samples=101),
        cell(dtype="float64"),
        cell(metrics=()),
        cell(rho_max=9.0),
    ]
    others += [cell().at(1), cell(path=3), cell(block=50)]
    assert len({one.key for one in same}) == 1
    assert len({one.key for one in (*same, *others)}) == 1 + len(others)


def test_a_file_counts_with_its_contents(tmp_path: Path) -> None:
    file = tmp_path / "data.npy"
    keys = []
    for seed in range(2):
        np.save(file, np.random.default_rng(seed).normal(size=(50, 2)))
        target = {"target": Choice(name="array", fields={"file": str(file)}), "model": Choice(name="empirical")}
        keys.append(Cell.of(RunConfig(components=target, steps=3, samples=10), {}, REGISTRY).key)
    assert keys[0] != keys[1]


def test_a_file_counts_wherever_it_is(tmp_path: Path) -> None:
    keys, kept = [], []
    for name in ("a.npy", "b.npy"):
        np.save(tmp_path / name, np.random.default_rng(0).normal(size=(50, 2)))
        target = {"target": Choice(name="array", fields={"file": str(tmp_path / name)})}
        one = Cell.of(RunConfig(components={**target, "model": Choice(name="empirical")}, samples=10), {}, REGISTRY)
        store = Store.at(tmp_path / name.partition(".")[0])
        conduct([one], store, SerialEngine())
        keys.append(one.key)
        kept.append(store.read(one.key))
    assert keys[0] == keys[1]
    assert (kept[0].same, kept[0].problem) == (kept[1].same, kept[1].problem)


@pytest.mark.parametrize("said", [{"dtype": "float32"}, {"block": 8192}, {"device": "cpu"}])
def test_what_a_run_has_by_default_is_the_same_run_where_it_is_said(said: dict[str, Any]) -> None:
    assert cell(**said).key == cell().key


def test_the_order_of_metrics_is_nothing_but_which_is_called_what(tmp_path: Path) -> None:
    assert cell(metrics=("kl", "energy")).key == cell(metrics=("energy", "kl")).key
    ways = [Choice(name="kl", fields={"direction": way}) for way in ("forward", "reverse")]
    both = [config().model_copy(update={"metrics": tuple(one)}) for one in (ways, ways[::-1])]
    first, second = (Cell.of(one, {}, REGISTRY) for one in both)
    assert first.key != second.key  # kl and kl-2 are others
    store = Store.at(tmp_path)
    conduct([first, second], store, SerialEngine())
    kept = [store.read(one.key) for one in (first, second)]
    assert kept[0].manifest.estimates["kl"].value == kept[1].manifest.estimates["kl-2"].value
    assert [len(group.runs) for group in groups(kept)] == [1, 1]


def test_another_seed_is_what_asking_for_it_gives() -> None:
    assert cell().at(5).key == cell(seed=5).key


def test_a_cell_knows_what_it_spends(tmp_path: Path) -> None:
    store, one = Store.at(tmp_path), cell("heun", steps=None, nfe=9)
    assert (one.steps, one.nfe) == (4, 8)
    conduct([one], store, SerialEngine())
    assert store.read(one.key).manifest.nfe == 8


# --- what is kept -----------------------------------------------------------------------------------------------------


def test_a_run_is_kept_as_the_run_command_would_make_it(tmp_path: Path) -> None:
    store, one = Store.at(tmp_path), cell(seed=3)
    assert conduct([one], store, SerialEngine()).done == 1
    alone = assemble(one.config, REGISTRY).run()
    kept = store.read(one.key)
    assert kept.manifest.estimates["kl"].value == alone.metrics["kl"].value
    samples, _ = read_tensors(kept.folder / "samples.safetensors")
    assert (samples["samples"] == alone.samples).all()
    again = RunConfig.from_manifest(read_manifest(kept.folder / "manifest.json"), REGISTRY)
    assert (assemble(again, REGISTRY).run().samples == alone.samples).all()


def test_only_what_is_missing_is_run(tmp_path: Path) -> None:
    store, engine = Store.at(tmp_path), Counting()
    engine.begun.clear()
    first = conduct(cells(3), store, engine)
    assert (first.total, first.before, first.done, first.left) == (3, 0, 3, 0)
    more = conduct(cells(5), store, engine)
    assert (more.total, more.before, more.done) == (5, 3, 2)
    assert engine.begun == [one.key for one in cells(5)]


def test_a_run_that_fails_ends_no_other_and_is_tried_again(tmp_path: Path) -> None:
    store, bad = Store.at(tmp_path), broken()
    for _ in range(2):
        ended = conduct([bad, *cells(2)], store, SerialEngine())
        ((failed, error),) = ended.failed
        assert failed is bad
        assert isinstance(error, NotFinite)
        assert ended.left == 0
        (told,) = store.failures()
        assert (told.key, told.axes) == (bad.key, {"sampler": "heun"})
        assert "not finite" in told.error
    assert ended.before == 2


@pytest.mark.parametrize("notes", [["Traceback: in another process"], []])
def test_a_bug_keeps_its_traceback(tmp_path: Path, notes: list[str]) -> None:
    class Buggy(SerialEngine):
        def map(self, task: Any, jobs: Any) -> Iterator[Any]:
            def fails(job: Any) -> None:
                error = ZeroDivisionError("a bug")
                for note in notes:
                    error.add_note(note)
                raise error

            return super().map(fails, jobs)

    store = Store.at(tmp_path)
    conduct(cells(1), store, Buggy())
    (told,) = store.failures()
    assert told.error == "ZeroDivisionError: a bug"
    assert "Traceback" in told.traceback
    assert (notes[0] == told.traceback) if notes else ("in fails" in told.traceback)
    conduct(cells(1), store, SerialEngine())
    assert store.failures() == []


def flip(file: Path) -> None:
    """Change one digit of the result."""
    text = file.read_text()
    at = text.index('"value": ') + len('"value": ') + 2
    digit = next(i for i in range(at, len(text)) if text[i].isdigit())
    file.write_text(text[:digit] + str((int(text[digit]) + 1) % 10) + text[digit + 1 :])


DAMAGE: dict[str, Callable[[Path], None]] = {
    "truncated": lambda file: file.write_bytes(file.read_bytes()[:-20]),
    "empty": lambda file: file.write_bytes(b""),
    "garbage": lambda file: file.write_bytes(os.urandom(500)),
    "digit": flip,
    "missing": lambda file: file.unlink(),
    "other": lambda file: file.write_text("[]"),
    "list": lambda file: file.write_text('{"sha256": "0", "result": {}}'),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_result_that_is_not_whole_is_made_again_and_said(damage: Callable[[Path], None], tmp_path: Path) -> None:
    store, all_of_them = Store.at(tmp_path), cells(2)
    conduct(all_of_them, store, SerialEngine())
    bad, good = all_of_them
    before = (store.folder / good.key / "result.json").stat().st_mtime_ns
    truth = store.read(bad.key).manifest.estimates["kl"].value
    damage(store.folder / bad.key / "result.json")
    assert not store.has(bad.key)
    assert [isinstance(run, str) for run in store.runs()].count(True) == 1
    ended = conduct(all_of_them, store, SerialEngine())
    assert (ended.before, ended.done, ended.again) == (1, 1, [bad])
    assert store.read(bad.key).manifest.estimates["kl"].value == truth
    assert (store.folder / good.key / "result.json").stat().st_mtime_ns == before


def test_what_a_killed_process_left_is_removed_unless_another_is_at_it(tmp_path: Path) -> None:
    store = Store.at(tmp_path)
    left, busy = (store.folder / f".new-{key}-0123abcd" for key in ("0" * 12, "1" * 12))
    for folder in (left, busy):
        folder.mkdir()
        (folder / "samples.safetensors").touch()
    claim = store.claim("1" * 12)
    assert claim is not None
    Store.at(tmp_path)
    assert not left.exists()
    assert busy.exists()
    claim.release()
    Store.at(tmp_path)
    assert not busy.exists()


def test_the_clock_decides_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store.at(tmp_path)
    conduct(cells(2), store, SerialEngine())
    for i, key in enumerate(store.keys()):
        when = (0, 2**33)[i]  # 1970, and the year 2242
        os.utime(store.folder / key / "result.json", (when, when))
    jumps = iter([2e9, 0.0, 1e9, -5.0] * 1000)
    monkeypatch.setattr(time, "time", lambda: next(jumps))
    ended = conduct(cells(4), store, SerialEngine())
    assert (ended.before, ended.done) == (2, 2)
    assert len([run for run in store.runs() if not isinstance(run, str)]) == 4


def test_two_at_a_time_share_the_runs(tmp_path: Path) -> None:
    engine, ended = Counting(), []
    engine.begun.clear()
    threads = [
        threading.Thread(target=lambda: ended.append(conduct(cells(8), Store.at(tmp_path), engine))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(engine.begun) == sorted(one.key for one in cells(8))
    assert sum(one.done for one in ended) == 8
    assert all(one.left == 0 for one in ended)


def test_what_another_process_began_and_gave_up_is_done(tmp_path: Path) -> None:
    store = Store.at(tmp_path)
    claim = store.claim(cells(1)[0].key)
    assert claim is not None
    threading.Timer(0.3, claim.release).start()
    ended = conduct(cells(2), Store.at(tmp_path), SerialEngine())
    assert (ended.done, ended.left) == (2, 0)


def test_a_name_that_gains_an_axis_has_it_in_its_earlier_runs_too(tmp_path: Path) -> None:
    store = Store.at(tmp_path)
    one = cell()
    conduct([one], store, SerialEngine())
    wider = Cell.of(config(), {"sampler": "heun", "churn": 0}, REGISTRY)
    assert wider.key == one.key
    assert conduct([wider], store, SerialEngine()).before == 1
    assert store.read(one.key).axes == {"sampler": "heun", "churn": 0}


@pytest.mark.parametrize("name", ["samples.safetensors", "manifest.json"])
@pytest.mark.parametrize("how", ["truncated", "empty", "missing"])
def test_a_run_whose_other_files_are_not_whole_is_made_again(how: str, name: str, tmp_path: Path) -> None:
    store, all_of_them = Store.at(tmp_path), cells(2)
    conduct(all_of_them, store, SerialEngine())
    DAMAGE[how](store.folder / all_of_them[0].key / name)
    ended = conduct(all_of_them, store, SerialEngine())
    assert (ended.before, ended.done, ended.again) == (1, 1, all_of_them[:1])
    assert conduct(all_of_them, store, SerialEngine()).before == 2


def test_samples_of_the_same_size_are_told_apart_by_their_hash(tmp_path: Path) -> None:
    store, one = Store.at(tmp_path), cell()
    conduct([one], store, SerialEngine())
    (fresh,) = store.runs()
    (indexed,) = store.runs()
    file = store.folder / one.key / "samples.safetensors"
    for run in (fresh, indexed):
        assert isinstance(run, Kept)
        assert run.file("samples.safetensors") == file
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    for run in (fresh, indexed):
        assert isinstance(run, Kept)
        with pytest.raises(UnusableFile, match=r"samples\.safetensors was changed"):
            run.file("samples.safetensors")


def test_a_result_without_what_is_written_today_is_read(tmp_path: Path) -> None:
    store = Store.at(tmp_path)
    one = cell("heun", steps=None, nfe=9)
    conduct([one], store, SerialEngine())
    file = store.folder / one.key / "result.json"
    result = json.loads(file.read_text())["result"]
    old = {"axes": result["axes"], "manifest": result["manifest"]}
    del old["manifest"]["rho"]
    digest = hashlib.sha256(json.dumps(old, sort_keys=True).encode()).hexdigest()
    file.write_text(json.dumps({"sha256": digest, "result": old}))
    assert store.has(one.key, {"churn": 0})
    kept = store.read(one.key)
    assert (kept.budget, kept.rho, kept.files) == (9, None, {})
    assert kept.axes["churn"] == 0


@pytest.mark.parametrize("text", ['{"key": "0', "[]", ""])
def test_the_record_of_a_failure_that_is_not_whole_hides_no_other(text: str, tmp_path: Path) -> None:
    store, bad = Store.at(tmp_path), broken()
    conduct([bad], store, SerialEngine())
    (tmp_path / "failed" / "0123456789ab.json").write_text(text)
    found = {one.key: one.error for one in store.failures()}
    assert found.keys() == {bad.key, "0123456789ab"}
    assert "0123456789ab.json" in found["0123456789ab"]


@pytest.mark.parametrize("skipped", ['{"reason": "x"}', '{"axes": {}}', "3", '{"axes": 1, "reason": "x"}'])
def test_what_was_skipped_is_told_as_far_as_it_is_whole(skipped: str, tmp_path: Path) -> None:
    (tmp_path / "sweep.json").write_text(
        f'{{"commands": ["a"], "skipped": [{skipped}, {{"axes": {{}}, "reason": "y"}}]}}'
    )
    assert Store(tmp_path).noted() == Noted(("a",), (Skipped({}, "y"),))


def test_commands_and_what_was_skipped_are_kept(tmp_path: Path) -> None:
    store = Store.at(tmp_path)
    store.note("samplerhub sweep a", [Skipped({"nfe": 1}, "too few")])
    store.note("samplerhub sweep b", [Skipped({"nfe": 1}, "too few")])
    store.note("samplerhub sweep a", [])
    noted = Store(tmp_path).noted()
    assert noted.commands == ("samplerhub sweep b", "samplerhub sweep a")
    assert noted.skipped == (Skipped({"nfe": 1}, "too few"),)
    (tmp_path / "sweep.json").write_text("{")
    assert Store(tmp_path).noted().commands == ()


def test_a_store_that_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UnusableFile, match="cannot write to the folder"):
        Store.at(tmp_path / "file" / "sweep")
    with pytest.raises(UnusableFile, match="cannot read the folder"):
        Store(tmp_path / "nowhere").keys()


def test_what_is_no_run_is_refused_before_anything(tmp_path: Path) -> None:
    with pytest.raises(InvalidSetting, match="nfe = 1"):
        cell("heun", steps=None, nfe=1)
    assert json.loads("[]") == list(tmp_path.iterdir())
