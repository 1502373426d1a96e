"""Engines: every job ends once, whatever becomes of the worker that does it, and no sample depends on the engine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import torch

from samplerhub import Engine, Experiment
from samplerhub.errors import Mismatch, WorkerLost
from samplerhub_engines.process import ProcessEngine
from samplerhub_engines.serial import SerialEngine
from samplerhub_grids.edm import EDMGrid
from samplerhub_models.exact import Exact
from samplerhub_priors.gaussian import GaussianPrior
from samplerhub_processes.edm import EDM
from samplerhub_samplers.deis import DEIS
from samplerhub_targets.mixture import Mixture


def square(folder: Path, job: tuple[str, int]) -> int:
    """Return the square of a number; or have something happen to the process."""
    what, number = job
    if what == "always":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "once" and not (folder / str(number)).exists():
        (folder / str(number)).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "exit":
        os._exit(3)
    if what == "fails":
        raise ValueError(f"no square of {number}")
    if what == "closure":
        raise type("Local", (Exception,), {})(number)
    if what == "long":
        (folder / f"{os.getpid()}.pid").touch()
        time.sleep(600)
    return number**2


JOBS = [("fine", 1), ("once", 2), ("fails", 3), ("always", 4), ("exit", 5), ("closure", 6), ("fine", 7), ("fine", 8)]


def test_a_lost_worker_costs_its_job_one_more_try_and_nothing_else(tmp_path: Path) -> None:
    outcomes = list(ProcessEngine(workers=2).map(partial(square, tmp_path), iter(JOBS)))
    assert sorted(outcome.job[1] for outcome in outcomes) == [1, 2, 3, 4, 5, 6, 7, 8]
    ended = {outcome.job[1]: outcome for outcome in outcomes}
    assert {n: ended[n].value for n in (1, 2, 7, 8)} == {1: 1, 2: 4, 7: 49, 8: 64}
    assert [ended[n].again for n in (1, 2, 3, 4)] == [0, 1, 0, 1]
    assert isinstance(ended[3].error, ValueError)
    assert "no square of 3" in str(ended[3].error)
    assert "test_engines.py" in ended[3].error.__notes__[0]  # where it went wrong is not lost on the way
    assert isinstance(ended[4].error, WorkerLost)
    assert "SIGKILL" in str(ended[4].error)
    assert "exit code 3" in str(ended[5].error)
    assert "Local" in str(ended[6].error)


def test_serial_ends_each_job_in_order(tmp_path: Path) -> None:
    jobs = [("fine", 3), ("fails", 1), ("fine", 2)]
    outcomes = list(SerialEngine().map(partial(square, tmp_path), jobs))
    assert [outcome.job for outcome in outcomes] == jobs
    assert [outcome.value for outcome in outcomes] == [9, None, 4]
    assert isinstance(outcomes[1].error, ValueError)


@pytest.mark.parametrize("engine", [SerialEngine(), ProcessEngine(workers=1)])
def test_a_job_is_taken_when_a_worker_is_free(engine: Engine, tmp_path: Path) -> None:
    taken = []

    def jobs() -> Iterator[tuple[str, int]]:
        for number in range(3):
            taken.append(number)
            yield ("fine", number)

    outcomes = engine.map(partial(square, tmp_path), jobs())
    assert taken == []
    for number in range(3):
        assert next(outcomes).value == number**2
        assert taken == list(range(number + 1))


def test_closing_stops_the_work(tmp_path: Path) -> None:
    outcomes = ProcessEngine(workers=2).map(partial(square, tmp_path), [("long", 0), ("fine", 1)])
    next(outcomes)
    while not list(tmp_path.glob("*.pid")):
        time.sleep(0.02)
    outcomes.close()  # type: ignore[attr-defined]
    (file,) = tmp_path.glob("*.pid")
    with pytest.raises(ProcessLookupError):
        os.kill(int(file.stem), 0)


def test_workers_end_with_the_process_that_began_them(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(f"""
        from functools import partial
        from pathlib import Path
        from samplerhub_engines.process import ProcessEngine
        from test_engines import square
        if __name__ == "__main__":
            list(ProcessEngine(workers=1).map(partial(square, Path({str(tmp_path)!r})), [("long", 0)]))
        """)
    )
    where = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    with subprocess.Popen([sys.executable, str(script)], env=where) as process:
        while not list(tmp_path.glob("*.pid")):
            assert process.poll() is None
            time.sleep(0.05)
        process.kill()
    (file,) = tmp_path.glob("*.pid")
    for _ in range(200):
        if _gone(int(file.stem)):
            break
        time.sleep(0.05)
    assert _gone(int(file.stem))


def _gone(pid: int) -> bool:
    """Say whether a process is no more; one that nobody has waited for counts as gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_what_cannot_be_sent_is_refused() -> None:
    with pytest.raises(Mismatch, match=r"cannot be sent to another process: .* use the engine 'serial'"):
        list(ProcessEngine().map(lambda job: job, [1]))


def test_no_sample_depends_on_the_engine() -> None:
    experiment = Experiment(
        process=EDM(),
        target=Mixture(),
        model=Exact(),
        sampler=DEIS(churn=0.3),
        grid=EDMGrid(),
        prior=GaussianPrior(),
        samples=1000,
        steps=5,
        block=300,
    )
    plain = experiment.run()
    for engine in (SerialEngine(), ProcessEngine(workers=2)):
        result = experiment.run(engine=engine)
        assert torch.equal(result.samples, plain.samples)
        assert result.nfe == plain.nfe
