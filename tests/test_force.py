"""Sweeps under force: processes killed at any moment, a full disk, a folder that cannot be written."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from samplerhub.sweep import Store

ROOT = Path(__file__).parent.parent
SWEEP = [
    "sweep",
    "--target",
    "mixture",
    "--sampler",
    "deis,heun",
    "--nfe",
    "20,40",
    "--seeds",
    "6",
    "--metric",
    "energy",
]
RUNS = 24
SAMPLES = "20000"
"""So many that a run takes a while: there is something to kill."""


def command(out: Path, *options: str, samples: str = SAMPLES) -> list[str]:
    return [sys.executable, "-m", "samplerhub", *SWEEP, "-n", samples, "--out", str(out), *options]


@contextmanager
def begun(out: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """Begin a sweep, and see that it is no more at the end."""
    with subprocess.Popen(command(out, *options), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def finished(out: Path) -> dict[str, int]:
    """Return the finished runs, each with when its result was written."""
    store = Store(out)
    if not out.exists():
        return {}
    whole = [run.key for run in store.runs() if not isinstance(run, str)]
    return {key: (out / key / "result.json").stat().st_mtime_ns for key in whole}


def more_than(number: int, out: Path) -> bool:
    """Say whether more runs than that are finished."""
    return len(finished(out)) > number


def until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Wait for something, or for the end of the process."""
    for _ in range(3000):
        if condition() or process.poll() is not None:
            return
        time.sleep(0.02)
    raise AssertionError("it takes too long")


def children(pid: int) -> list[int]:
    """Return the processes that a process has begun, but for those that are no more."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = status.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if int(parent) == pid and state != "Z":
            found.append(int(status.parent.name))
    return found


def working(pid: int) -> list[int]:
    """Return the workers among the children of a sweep, without the process that looks after shared memory."""
    named = {child: Path(f"/proc/{child}/cmdline").read_bytes() for child in children(pid) if _alive(child)}
    return [child for child, line in named.items() if b"spawn_main" in line]


def _alive(pid: int) -> bool:
    return Path(f"/proc/{pid}/cmdline").exists()


def completed(out: Path, *options: str) -> dict[str, object]:
    """Run a sweep to its end, and return what it says of itself."""
    ended = subprocess.run(command(out, *options, "--json", "--quiet"), capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    facts: dict[str, object] = json.loads(ended.stdout)
    return facts


def test_the_main_process_killed_at_any_moment(tmp_path: Path) -> None:
    out, moments, before = tmp_path / "sweep", random.Random(7), dict[str, int]()
    for _ in range(2):
        with begun(out, "--engine.workers", "2") as process:
            until(partial(more_than, len(before), out), process)
            time.sleep(moments.uniform(0, 0.3))
            workers = working(process.pid)
            process.kill()
            process.wait()
        for worker in workers:
            for _ in range(250):
                if not _alive(worker) or Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                    break
                time.sleep(0.02)
            else:
                raise AssertionError("a worker goes on without the process that began it")
        now = finished(out)
        assert before.items() <= now.items()  # nothing that was finished is lost, or done again
        assert len(now) > len(before)
        before = now
    facts = completed(out)
    assert facts["before"] == len(before)
    assert facts["done"] == RUNS - len(before)
    assert len(finished(out)) == RUNS
    assert before.items() <= finished(out).items()
    assert not list(out.glob(".new-*"))


def test_workers_killed_at_any_moment(tmp_path: Path) -> None:
    out, moments, killed = tmp_path / "sweep", random.Random(3), 0
    with begun(out, "--engine.workers", "2") as process:
        for goal in (0, 5, 11):
            until(partial(more_than, goal, out), process)
            time.sleep(moments.uniform(0, 0.2))
            workers = working(process.pid)
            if workers:
                os.kill(min(workers), signal.SIGKILL)  # the oldest: no other is at a job that was begun anew
                killed += 1
        stdout, stderr = process.communicate(timeout=200)
    assert killed == 3
    assert process.returncode == 0, stderr
    assert f"{RUNS} runs: {RUNS} done" in stdout
    assert stderr.count("done anew") == 3
    assert len(finished(out)) == RUNS


def test_two_processes_on_one_folder(tmp_path: Path) -> None:
    out = tmp_path / "sweep"
    both = [
        subprocess.Popen(command(out, "--json", "--quiet", "--engine", "serial"), stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    facts = [json.loads(process.communicate(timeout=200)[0]) for process in both]
    assert sum(one["done"] for one in facts) == RUNS
    assert all(one["before"] + one["done"] + one["elsewhere"] == RUNS for one in facts)
    assert len(finished(out)) == RUNS


def test_an_interrupt_says_what_is_kept(tmp_path: Path) -> None:
    out = tmp_path / "sweep"
    with begun(out) as process:
        until(partial(more_than, 1, out), process)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    kept = len(finished(out))
    assert f"interrupted; {kept} of {RUNS} runs are kept, and the same command goes on" in stderr
    assert "Traceback" not in stderr


MOUNTS = shutil.which("unshare") is not None and (
    subprocess.run(["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True).returncode == 0
)


@pytest.mark.skipif(not MOUNTS, reason="a file system of our own cannot be mounted here (unshare -rm)")
@pytest.mark.parametrize(
    ("options", "message"), [("size=350k", "No space left on device"), ("ro", "Read-only file system")]
)
def test_a_disk_that_is_full_or_cannot_be_written(options: str, message: str, tmp_path: Path) -> None:
    out, copy = tmp_path / "sweep", tmp_path / "copy"
    out.mkdir()
    run = " ".join(command(out, "--engine", "serial", samples="5000"))
    script = f"mount -t tmpfs -o {options} none {out} && {{ {run}; code=$?; cp -r {out} {copy}; exit $code; }}"
    ended = subprocess.run(["unshare", "-rm", "sh", "-c", script], capture_output=True, text=True, timeout=200)
    assert ended.returncode == 2, ended.stderr
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr
    kept = finished(copy)
    assert len(kept) < RUNS
    assert not list(copy.glob(".new-*"))
    assert len(kept) == len(Store(copy).keys())  # none is half there
    if kept:
        shutil.rmtree(out)
        shutil.copytree(copy, out)
        again = command(out, "--json", "--quiet", samples="5000")
        ended = subprocess.run(again, capture_output=True, text=True, timeout=200)
        assert ended.returncode == 0, ended.stderr
        facts = json.loads(ended.stdout)
        assert (facts["before"], facts["done"]) == (len(kept), RUNS - len(kept))
