"""The engine dask: with real schedulers and workers, which are killed while they work."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from samplerhub_dask.engine import DaskEngine

from samplerhub import Experiment, Outcome
from samplerhub.errors import InvalidSetting, Mismatch, WorkerLost
from samplerhub.testing import check_engine
from samplerhub_engines.serial import SerialEngine
from samplerhub_grids.edm import EDMGrid
from samplerhub_models.exact import Exact
from samplerhub_priors.gaussian import GaussianPrior
from samplerhub_processes.edm import EDM
from samplerhub_samplers.deis import DEIS
from samplerhub_targets.mixture import Mixture

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parent), "OMP_WAIT_POLICY": "passive"}


def work(folder: Path, job: tuple[str, int]) -> int:
    """Return the square of a number; or have something happen to the process."""
    what, number = job
    with (folder / f"{number}.begun").open("a") as file:
        file.write(f"{os.getpid()}\n")
    if what == "once" and len(begun(folder, number)) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "always":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "exit":
        os._exit(3)
    if what == "fails":
        raise ValueError(f"no square of {number}")
    if what == "closure":
        raise type("Local", (Exception,), {})(number)
    if what == "slow":
        time.sleep(0.3)
    if what == "long":
        time.sleep(600)
    if what == "threads":
        return torch.get_num_threads()
    return number**2


def begun(folder: Path, number: int) -> list[int]:
    """Return the processes that have begun a job."""
    file = folder / f"{number}.begun"
    return [int(line) for line in file.read_text().split()] if file.exists() else []


def until(true: Callable[[], Any], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def gone(pid: int) -> bool:
    """Say whether a process is no more; one that nobody has waited for counts as gone."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@contextmanager
def process(*arguments: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run Python with arguments, and end it with its children."""
    with subprocess.Popen([sys.executable, *arguments], env=ENVIRONMENT | environment) as started:
        try:
            yield started
        finally:
            for child in psutil.Process(started.pid).children(recursive=True) if not gone(started.pid) else ():
                child.kill()
            started.kill()


@contextmanager
def scheduler(folder: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Start a scheduler of its own process; yield its address."""
    file = folder / "scheduler.json"
    command = ["-m", "dask", "scheduler", "--host", "127.0.0.1", "--port", "0", "--dashboard-address", "127.0.0.1:0"]
    with process(*command, "--scheduler-file", str(file)) as started:
        until(lambda: file.exists() and file.read_text().rstrip().endswith("}"))
        yield json.loads(file.read_text())["address"], started


def worker(address: str, threads: int = 1, **environment: str) -> Any:
    """Start a worker of its own process."""
    return process("-m", "dask", "worker", address, "--no-nanny", "--nthreads", str(threads), **environment)


JOBS = [("fine", 1), ("once", 2), ("fails", 3), ("always", 4), ("exit", 5), ("closure", 6), ("fine", 7), ("fine", 8)]


def test_it_is_an_engine() -> None:
    assert check_engine(DaskEngine(workers=2))


def test_a_lost_worker_costs_its_job_one_more_try_and_nothing_else(tmp_path: Path) -> None:
    outcomes = list(DaskEngine(workers=2).map(partial(work, tmp_path), iter(JOBS)))
    assert sorted(outcome.job[1] for outcome in outcomes) == [1, 2, 3, 4, 5, 6, 7, 8]
    ended = {outcome.job[1]: outcome for outcome in outcomes}
    assert {n: ended[n].value for n in (1, 2, 7, 8)} == {1: 1, 2: 4, 7: 49, 8: 64}
    assert [ended[n].again for n in range(1, 9)] == [0, 1, 0, 1, 1, 0, 0, 0]
    assert [len(begun(tmp_path, n)) for n in range(1, 9)] == [1, 2, 1, 2, 2, 1, 1, 1]
    assert isinstance(ended[3].error, ValueError)
    assert "no square of 3" in str(ended[3].error)
    assert "test_dask.py" in ended[3].error.__notes__[0]  # where it went wrong is not lost on the way
    assert isinstance(ended[4].error, WorkerLost)
    assert "SIGKILL" in str(ended[4].error)
    assert "exit code 3" in str(ended[5].error)
    assert "Local" in str(ended[6].error)


def test_what_is_taken_is_begun(tmp_path: Path) -> None:
    taken = []

    def jobs() -> Iterator[tuple[str, int]]:
        for number in range(6):
            taken.append(number)
            yield ("fine", number)

    outcomes = DaskEngine(workers=2).map(partial(work, tmp_path), jobs())
    assert taken == []
    for number in range(6):
        assert next(outcomes).value is not None
        assert len(taken) <= number + 2
    assert next(outcomes, None) is None


def test_closing_stops_the_work_at_once_and_leaves_no_process(tmp_path: Path) -> None:
    outcomes = DaskEngine(workers=2).map(partial(work, tmp_path), [("long", 0), ("fine", 1)])
    next(outcomes)
    until(lambda: begun(tmp_path, 0))
    before = time.monotonic()
    outcomes.close()  # type: ignore[attr-defined]
    assert time.monotonic() - before < 4
    until(lambda: gone(begun(tmp_path, 0)[0]), 1)
    assert not [child for child in psutil.Process().children(recursive=True) if "spawn_main" in str(child.cmdline())]


def test_nothing_listens_beyond_this_machine_and_the_environment_is_left_alone(tmp_path: Path) -> None:
    environment = dict(os.environ)
    outcomes = DaskEngine(workers=1).map(partial(work, tmp_path), [("fine", 0), ("fine", 1)])
    next(outcomes)
    family = [psutil.Process(), *psutil.Process().children(recursive=True)]
    listening = [c.laddr for one in family for c in one.net_connections("inet") if c.status == psutil.CONN_LISTEN]
    assert listening
    assert {at.ip for at in listening} == {"127.0.0.1"}
    assert 8787 not in {at.port for at in listening}
    list(outcomes)
    assert {name for name in os.environ if "THREADS" in name or "MALLOC" in name} <= {*environment}


SCRIPT = """
import sys
from functools import partial
from pathlib import Path
from samplerhub_dask.engine import DaskEngine
from test_dask import work
if __name__ == "__main__":
    list(DaskEngine(workers=2).map(partial(work, Path(sys.argv[1])), [("long", 0), ("long", 1)]))
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_workers_end_with_the_process_that_began_them(tmp_path: Path, how: signal.Signals) -> None:
    (tmp_path / "script.py").write_text(textwrap.dedent(SCRIPT))
    with process(str(tmp_path / "script.py"), str(tmp_path)) as main:
        until(lambda: begun(tmp_path, 0) and begun(tmp_path, 1))
        family = psutil.Process(main.pid).children(recursive=True)
        main.send_signal(how)
        until(lambda: all(gone(one.pid) for one in family), 15)
        until(lambda: gone(main.pid), 15)


def test_ctrl_c_in_a_terminal_is_one_line_and_the_sweep_goes_on(tmp_path: Path) -> None:
    out = tmp_path / "sweep"
    command = [sys.executable, "-m", "samplerhub", "sweep", "--target", "mixture", "-n", "20000", "--nfe", "20,40"]
    command += ["--seeds", "8", "--engine", "dask", "--engine.workers", "2", "--out", str(out)]
    with subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.PIPE, start_new_session=True) as started:
        until(lambda: len(list(out.glob("*/result.json"))) >= 2)
        os.killpg(started.pid, signal.SIGINT)
        _, said = started.communicate(timeout=20)
    assert started.returncode == 130
    assert "Traceback" not in said.decode()
    assert "interrupted" in said.decode()
    finished = {file: file.stat().st_mtime_ns for file in out.glob("*/result.json")}
    again = subprocess.run([*command, "--json"], env=ENVIRONMENT, capture_output=True, timeout=120, check=True)
    facts = json.loads(again.stdout)
    assert facts["before"] == len(finished)
    assert facts["before"] + facts["done"] == facts["total"] == 16
    assert all(file.stat().st_mtime_ns == when for file, when in finished.items())


def experiment() -> Experiment:
    return Experiment(
        process=EDM(),
        target=Mixture(),
        model=Exact(),
        sampler=DEIS(churn=0.3),
        grid=EDMGrid(),
        prior=GaussianPrior(),
        samples=50_000,
        steps=10,
        block=5_000,
    )


@pytest.mark.parametrize("threads", [1, 2])
def test_no_sample_depends_on_the_engine(threads: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        plain = experiment().run()
        for engine in (SerialEngine(), DaskEngine(workers=2)):
            result = experiment().run(engine=engine)
            assert torch.equal(result.samples, plain.samples)
            assert result.nfe == plain.nfe
    finally:
        torch.set_num_threads(before)


def test_a_running_scheduler_and_its_workers_are_used_and_left_running(tmp_path: Path) -> None:
    with scheduler(tmp_path) as (address, started), worker(address) as first, worker(address, threads=3) as second:
        engine = DaskEngine(address=address)
        plain = experiment().run()
        assert torch.equal(experiment().run(engine=engine).samples, plain.samples)
        outcomes = list(engine.map(partial(work, tmp_path), [("threads", n) for n in range(8)]))
        assert {outcome.value for outcome in outcomes} == {1, 3}  # a job at a time, with the threads of the worker
        assert {pid for n in range(8) for pid in begun(tmp_path, n)} == {first.pid, second.pid}
        fixed = DaskEngine(address=address, threads=2).map(partial(work, tmp_path), [("threads", n) for n in range(4)])
        assert {outcome.value for outcome in fixed} == {2}
        assert not [one for one in (started, first, second) if one.poll() is not None]


def test_workers_killed_at_random_moments_cost_nothing_but_time(tmp_path: Path) -> None:
    """Six kills among three workers and those that take their places; no job is done for good twice."""
    rng, kills = random.Random(0), 6
    jobs = [("slow", number) for number in range(40)]
    with scheduler(tmp_path) as (address, _), ExitStack() as stack:
        team = [stack.enter_context(worker(address)) for _ in range(3)]

        def disturb() -> None:
            until(lambda: begun(tmp_path, 2))
            for _ in range(kills):
                time.sleep(rng.uniform(0.1, 1.0))
                victim = team.pop(0)
                victim.kill()
                team.append(stack.enter_context(worker(address)))

        thread = threading.Thread(target=disturb)
        thread.start()
        outcomes = list(DaskEngine(address=address).map(partial(work, tmp_path), jobs))
        thread.join()
    assert sorted(outcome.job for outcome in outcomes) == sorted(jobs)
    values: list[Outcome[Any, Any]] = [outcome for outcome in outcomes if outcome.value is not None]
    assert all(outcome.value == outcome.job[1] ** 2 for outcome in values)
    assert all(isinstance(outcome.error, WorkerLost) for outcome in outcomes if outcome.value is None)
    assert len(values) >= len(jobs) - kills // 2
    assert sum(outcome.again for outcome in outcomes) > 0
    assert all(len(begun(tmp_path, number)) <= 2 for _, number in jobs)


def test_a_sweep_does_every_run_once_while_workers_are_killed(tmp_path: Path) -> None:
    out = tmp_path / "sweep"
    command = [sys.executable, "-m", "samplerhub", "sweep", "--target", "mixture", "-n", "20000", "--nfe", "10,20"]
    command += ["--seeds", "8", "--engine", "dask", "--out", str(out), "--json"]
    with scheduler(tmp_path) as (address, _), ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(worker(address))
        victim = stack.enter_context(worker(address))
        command += ["--engine.address", address]
        with subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as started:
            until(lambda: list(out.glob("*/result.json")))
            victim.kill()
            told, said = started.communicate(timeout=120)
    assert started.returncode == 0, said.decode()
    facts = json.loads(told)
    assert facts["done"] == facts["total"] == 16
    assert facts["failed"] == []
    serial = [part for part in command if part not in ("--engine.address", address)]
    serial[serial.index("dask")], serial[serial.index(str(out))] = "serial", str(tmp_path / "serial")
    subprocess.run(serial, env=ENVIRONMENT, check=True, capture_output=True, timeout=120)
    for file in out.glob("*/samples.safetensors"):
        assert file.read_bytes() == (tmp_path / "serial" / file.parent.name / file.name).read_bytes()


def test_a_worker_that_comes_later_is_waited_for_and_used(tmp_path: Path) -> None:
    with scheduler(tmp_path) as (address, _), ExitStack() as stack:
        late = threading.Timer(7, lambda: stack.enter_context(worker(address)))
        late.start()
        with pytest.warns(UserWarning, match="has no workers: waiting for one"):
            (outcome,) = DaskEngine(address=address).map(partial(work, tmp_path), [("fine", 5)])
        late.join()
    assert outcome.value == 25


def test_a_scheduler_that_is_lost_ends_it_with_a_message(tmp_path: Path) -> None:
    with scheduler(tmp_path) as (address, started), worker(address):
        outcomes = DaskEngine(address=address).map(partial(work, tmp_path), [("fine", 0), ("long", 1)])
        assert next(outcomes).value == 0
        killed = []

        def kill() -> None:
            until(lambda: begun(tmp_path, 1))
            started.kill()
            killed.append(time.monotonic())

        threading.Thread(target=kill).start()
        with pytest.raises(WorkerLost, match=f"connection to the scheduler {address} is lost"):
            next(outcomes)
        assert time.monotonic() - killed[0] < 5


def test_no_scheduler_is_one_message_and_soon(tmp_path: Path) -> None:
    with socket.socket() as bound:  # bound, and nobody listens
        bound.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{bound.getsockname()[1]}"
        before = time.monotonic()
        with pytest.raises(InvalidSetting, match=f"address '{address}': no dask scheduler .*refused"):
            next(DaskEngine(address=address).map(abs, [1]))
        assert time.monotonic() - before < 2
    command = ["-m", "samplerhub", "run", "-n", "10", "--engine", "dask", "--engine.address", address]
    command += ["--out", str(tmp_path / "out")]
    ended = subprocess.run([sys.executable, *command], env=ENVIRONMENT, capture_output=True, timeout=60)
    assert ended.returncode == 2
    assert ended.stderr.decode().count("\n") == 1
    assert ended.stderr.decode().startswith("error: address 'tcp://127.0.0.1:")


def test_something_else_at_the_address_is_one_message() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        engine = DaskEngine(address=f"tcp://127.0.0.1:{other.getsockname()[1]}")
        with pytest.raises(InvalidSetting, match=r"no dask scheduler can be reached there \(timed out\)"):
            next(engine.map(abs, [1]))


def bare(folder: Path) -> Path:
    """Return a folder with everything that is installed but samplerhub."""
    folder.mkdir()
    for entry in Path(torch.__file__).parent.parent.iterdir():
        if "samplerhub" not in entry.name and entry.suffix != ".pth":
            (folder / entry.name).symlink_to(entry)
    return folder


def test_workers_without_samplerhub_are_one_message(tmp_path: Path) -> None:
    with scheduler(tmp_path) as (address, _), ExitStack() as stack:
        where = str(bare(tmp_path / "bare"))
        command = ["-S", "-m", "dask", "worker", address, "--no-nanny", "--nthreads", "1"]
        for _ in range(2):
            stack.enter_context(process(*command, PYTHONPATH=where))
        time.sleep(4)
        with pytest.raises(Mismatch, match=r"No module named 'samplerhub.*tcp:.*, tcp:.*; install there") as caught:
            list(DaskEngine(address=address).map(partial(work, tmp_path), [("fine", 1)]))
        assert str(caught.value).count("No module named") == 1
        stack.enter_context(worker(address))
        time.sleep(4)
        with pytest.warns(UserWarning, match="they are not used"):
            outcomes = list(DaskEngine(address=address).map(partial(work, tmp_path), [("fine", n) for n in range(4)]))
    assert sorted(outcome.value for outcome in outcomes) == [0, 1, 4, 9]


def test_other_versions_are_named(tmp_path: Path) -> None:
    other = tmp_path / "other" / "torch-0.9.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 0.9\n")
    with scheduler(tmp_path) as (address, _):
        where = f"{other.parent}{os.pathsep}{ENVIRONMENT['PYTHONPATH']}"
        with worker(address, PYTHONPATH=where), pytest.warns(UserWarning, match=r"differ.*: torch 0\.9 \(here 2\."):
            (outcome,) = DaskEngine(address=address).map(partial(work, tmp_path), [("fine", 3)])
    assert outcome.value == 9


def test_what_cannot_be_sent_is_refused() -> None:
    with pytest.raises(Mismatch, match=r"cannot be sent to another process: .* use the engine 'serial'"):
        next(DaskEngine().map(partial(lambda lock, job: job, threading.Lock()), [1]))


def test_options_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="workers and memory are of workers started here"):
        DaskEngine(address="tcp://127.0.0.1:8786", workers=2, memory="1GiB")
