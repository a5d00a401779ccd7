"""The Hydra launcher whose cells are tasks of Ray."""

from __future__ import annotations

import atexit
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from imbalance_bench.errors import BenchError
from imbalance_bench.sweep.queues import Piece, Queue, Submitted, last_line

ALONE = ("max_calls", "max_retries", "retry_exceptions", "num_returns")  # of ``ray.remote``: what we say ourselves
WAIT = 10.0  # seconds for a cluster to answer


class Ray(Queue):
    """Tasks of Ray: of the cluster at ``ray.init.address``, or of one that is started here and ends with the sweep.
    ``ray.remote``: what each task needs."""

    name = "ray"

    def __init__(self, ray: Mapping[str, Mapping[str, Any]], cells_per_job: int | None) -> None:
        super().__init__(1, cells_per_job)
        self.init, self.remote = dict(ray["init"]), dict(ray["remote"])

    def setup(self, **parts: Any) -> None:
        super().setup(**parts)
        if given := [key for key in ALONE if key in self.remote]:
            key = given[0]
            raise BenchError(
                f"hydra.launcher.ray.remote.{key}={self.remote[key]}: a task is one process and is tried once (the "
                "cells after one that ended it go into another task): leave it out"
            )
        host, colon, port = str(self.init.get("address")).removeprefix("ray://").partition(":")
        if colon and port.isdecimal():  # Ray itself tries for minutes
            try:
                socket.create_connection((host, int(port)), timeout=WAIT).close()
            except OSError as error:
                raise self._no_cluster(error) from error

    def _no_cluster(self, error: Exception) -> BenchError:
        return BenchError(
            f"hydra/launcher=ray: there is no Ray at hydra.launcher.ray.init.address={self.init.get('address')} "
            f"({str(error).strip().partition(chr(10))[0]}): null starts one on this machine"
        )

    def submit(self, pieces: Sequence[Piece]) -> Sequence[Any]:
        import ray

        if not ray.is_initialized():
            handler = signal.getsignal(signal.SIGTERM)
            try:
                ray.init(**self.init)
            except ConnectionError as error:
                raise self._no_cluster(error) from error
            finally:
                signal.signal(signal.SIGTERM, handler)  # Ray has set its own
        task = ray.remote(max_calls=1, max_retries=0, **self.remote)(logged)
        return [(task.remote(piece), log_of(piece)) for piece in pieces]

    def over(self, handle: Any) -> str:
        import ray

        task, log = handle
        if not ray.wait([task], timeout=0)[0]:
            return ""
        try:
            ray.get(task)
            how = "done"
        except ray.exceptions.RayError as error:
            how = type(error).__name__
        return f"ended ({how}): {last_line(log)}"

    def cancel(self, jobs: Sequence[Submitted]) -> None:
        import ray

        for job in jobs:
            ray.cancel(job.handle[0])  # as Ctrl-C

    def kill(self, jobs: Sequence[Submitted]) -> None:
        import ray

        for job in jobs:
            ray.cancel(job.handle[0], force=True)
        if isinstance(sys.exception(), SystemExit):  # Ray's processes end with this one, sooner than it would end them
            atexit.unregister(ray.shutdown)


def log_of(piece: Piece) -> Path:
    return piece.entries.with_suffix(".log")


def logged(piece: Piece) -> None:
    """Runs a piece in a process that ends with it, and whose words go to a log."""
    with log_of(piece).open("ab") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    piece()
