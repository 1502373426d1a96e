"""Jobs are given to the workers that are free, and begun again where one is lost."""

from __future__ import annotations

import pickle
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import cloudpickle

from samplerhub import Outcome
from samplerhub.errors import WorkerLost
from samplerhub_dask.cluster import Cluster
from samplerhub_dask.served import Served
from samplerhub_dask.team import Team

ONCE_MORE = 1
"""How often a job is begun again when its worker was lost."""


def outcomes(cluster: Cluster, served: Served, jobs: Iterable[Any]) -> Iterator[Outcome[Any, Any]]:
    """Yield the outcome of each job when it ends."""
    coming, lost = ((job, 0) for job in jobs), deque[tuple[Any, int]]()
    doing: dict[str, tuple[Any, int]] = {}
    more = True
    team = Team(cluster.client, cluster.name, served)
    try:
        while True:
            while team.free and (lost or more):
                given = lost.popleft() if lost else next(coming, None)
                if given is None:
                    more = False
                else:
                    worker = team.free[0]
                    doing[worker] = given
                    team.give(worker, cloudpickle.dumps(given[0]))
            if not (doing or lost or more):
                return
            ended = team.wait()
            if ended is None:
                continue
            job, again = doing.pop(ended.worker)
            if ended.value is not None:
                value, error = pickle.loads(ended.value)
                yield Outcome(job, value, error, again)
            elif ended.error is not None:
                yield Outcome(job, None, ended.error, again)
            elif again < ONCE_MORE:
                lost.append((job, again + 1))
            else:
                yield Outcome(job, None, WorkerLost(_message(cluster.end(ended.worker))), again)
    finally:
        team.leave()


def _message(end: str) -> str:
    return (
        f"the dask worker that did it was lost ({end}), and so was the one that tried it again; most often that is for "
        "want of memory: try fewer samples, a smaller --batch, or workers with more memory"
    )
