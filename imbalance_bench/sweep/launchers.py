"""Hydra launchers: which process trains which cells of a sweep.

``Basic``: one after the other. ``Processes``: each takes the next cell. ``Together``: cells that can share a program
are one piece of work. ``Gpu``: a process for each slot of a GPU, which is all that it sees.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import takewhile
from multiprocessing.connection import Connection, wait
from typing import Any

from hydra.core.utils import JobReturn, JobStatus, setup_globals
from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict
from omegaconf.errors import OmegaConfBaseException

from imbalance_bench.errors import BenchError
from imbalance_bench.running import progress
from imbalance_bench.running.tally import DeviceLost, StopSweep, Tally
from imbalance_bench.settings.config import Config, cell_name, from_omegaconf
from imbalance_bench.settings.presets import labels_in
from imbalance_bench.sweep.ends import job_ended
from imbalance_bench.sweep.jobs import current, start_job, without_hydra
from imbalance_bench.terminal import interrupts

LAST = interrupts.GRACE + 0.7  # seconds that a process has to end when it is told to

Told = tuple[int, JobReturn | None]
"""The number of a job that has ended, and what Hydra is told of it (None: it stops the sweep)."""


@dataclass
class Worker:
    """A process, this end of its pipe, its place among the processes, and the jobs of its piece of work that have not
    ended; ``busy`` until it says that the piece is done; ``alone``: the piece is one job."""

    process: Any
    pipe: Connection
    place: int
    jobs: list[int] = field(default_factory=list)
    busy: bool = False
    alone: bool = False

    def take(self, jobs: Sequence[int]) -> None:
        self.jobs, self.busy, self.alone = list(jobs), True, len(jobs) == 1
        with suppress(OSError):  # it died just now, as is read next
            self.pipe.send(self.jobs)


class Processes(Launcher):
    """``n_jobs`` processes (-1: one a core), each taking the next piece of work: one cell. A process that is killed
    costs its cell; where it had several, they are taken up again one by one."""

    less = "hydra.launcher.n_jobs"  # the option that is to be lower where memory runs out
    lost = False  # whether this process can compute on its GPU no longer

    def __init__(self, n_jobs: int) -> None:
        self.n_jobs = n_jobs
        self.overrides: dict[int, list[str]] = {}

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config
        if self.n_jobs == 0 or self.n_jobs < -1:
            raise BenchError(f"hydra.launcher.n_jobs={self.n_jobs} must be 1 or more (-1: a process a core)")

    def places(self) -> int:
        """How many processes there may be."""
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return cores if self.n_jobs == -1 else self.n_jobs

    def pieces(self) -> Sequence[list[int]]:
        """The jobs, in the pieces that one process takes at a time: the longest first, lest one be left to the end."""
        tally, numbers = Tally.current, list(self.overrides)
        if tally and self.places() > 1:
            numbers.sort(key=tally.cost, reverse=True)
        return [[number] for number in numbers]

    def settle(self, place: int) -> None:
        """What a process does first, at its place."""

    def work(self, jobs: Sequence[int]) -> Iterator[Told]:
        """Runs a piece of work."""
        yield from ((number, self.run(number)) for number in jobs)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        self.overrides = {number: list(job) for number, job in enumerate(job_overrides, initial_job_idx)}
        waiting = deque(self.pieces())
        most = min(self.places(), len(waiting))
        workers: list[Worker] = []
        returns: dict[int, JobReturn] = {}
        stopped = False
        try:
            while waiting or any(w.busy for w in workers):
                workers = [w for w in workers if w.busy or w.process.is_alive()]
                while waiting and len(workers) < most:
                    workers.append(self._worker(workers))
                for worker in workers:
                    if not worker.busy and waiting:
                        worker.take(waiting.popleft())
                busy = {w.pipe: w for w in workers if w.busy}
                for pipe in wait(list(busy)):
                    worker = busy[pipe]  # type: ignore[index]
                    try:
                        told = worker.pipe.recv()
                    except (EOFError, OSError):
                        workers.remove(worker)
                        worker.process.join()
                        if worker.jobs and worker.alone:
                            told = (worker.jobs[0], self._lost(worker), None)
                        else:
                            waiting.extendleft([] if stopped else self._again(worker))
                            continue
                    if told is None:  # the piece is done
                        worker.busy = False
                        continue
                    number, returned, outcome = told
                    if Tally.current and outcome:  # the tally's file may not have taken it
                        Tally.current.hear(number, outcome)
                    worker.jobs.remove(number)
                    if returned is None:  # on_error=stop: what is running may end
                        stopped = True
                        waiting.clear()
                    else:
                        returns[number] = returned
        finally:
            late = end([worker.process for worker in workers])
            not_in_time(job for worker in workers if worker.process in late for job in worker.jobs)
        if stopped:
            raise StopSweep
        return [returns[job] for job in sorted(returns)]

    def _worker(self, others: Sequence[Worker]) -> Worker:
        context = multiprocessing.get_context("fork")  # takes Hydra's state along; nothing here has used a GPU
        mine, its = context.Pipe()
        inherited = [*(w.pipe for w in others), mine]
        place = min(set(range(len(others) + 1)) - {w.place for w in others})
        process = context.Process(target=self._work, args=(its, inherited, place))
        process.start()
        its.close()
        return Worker(process, mine, place)

    def _work(self, pipe: Connection, inherited: Sequence[Connection], place: int) -> None:
        """Runs in a worker until its parent ends, or it cannot go on; nobody else may hold the parent's end of the pipe
        open."""
        interrupts.leave_to_parent(signal.SIGTERM)
        for other in inherited:
            other.close()
        if self.places() > 1:
            os.environ[progress.SHARED] = "1"
        self.settle(place)
        while True:
            try:
                jobs = pipe.recv()
            except (EOFError, OSError):
                return
            try:
                for number, returned in self.work(jobs):
                    pipe.send((number, returned, Tally.current and Tally.current.ended.get(number)))
                    if returned is None:
                        break
                if self.lost:
                    return
                pipe.send(None)
            except (DeviceLost, ConnectionError):  # or the parent has been killed
                return

    def composed(self, number: int) -> DictConfig:
        """The configuration of a job, as Hydra's own launchers have it."""
        config = self.hydra_context.config_loader.load_sweep_config(self.config, self.overrides[number])
        with open_dict(config):
            config.hydra.job.id, config.hydra.job.num = f"{config.hydra.job.name}_{number}", number
        return config

    def named(self, number: int) -> str:
        """The name of a cell, also where its process has not come to say it."""
        tally = Tally.current
        assert tally is not None
        if not tally.begun(number):
            with suppress(BenchError, OmegaConfBaseException, HydraException):
                name = cell_name(labels_in(self.composed(number)))
                tally.begin(number, tally.named(name, self.overrides[number]))
        return tally.name(number)

    def start(self, number: int) -> JobReturn:
        """Runs a job as Hydra's own launchers do."""
        setup_globals()
        return start_job(self.hydra_context, self.task_function, self.composed(number))

    def run(self, number: int) -> JobReturn | None:
        """The same; None where the job stops the sweep."""
        try:
            return self.start(number)
        except StopSweep:
            return None
        except DeviceLost:
            self.lost = True
            return JobReturn(status=JobStatus.COMPLETED)

    def _lost(self, worker: Worker) -> JobReturn | None:
        """Says of a cell whose process was killed that it failed; None where that stops the sweep."""
        (job,) = worker.jobs
        why = ended_by(worker.process.exitcode)
        hint = "; for lack of memory?" if worker.process.exitcode == -signal.SIGKILL else ""
        if hint and self.places() != 1:
            hint += f" A lower {self.less} needs less"
        assert Tally.current is not None
        line = f"{self.named(job)}: failed: its process {why}{hint}"
        job_ended(Tally.current, job, "failed", 0.0, True, line, line)
        return None if self.config.get("on_error") == "stop" else JobReturn(status=JobStatus.COMPLETED)

    def _again(self, worker: Worker) -> list[list[int]]:
        """The jobs that a process which has ended leaves, as pieces of their own: whoever ended it ends itself only."""
        assert Tally.current is not None
        if begun := [job for job in worker.jobs if Tally.current.put_back(job)]:
            why = ended_by(worker.process.exitcode)
            told = f"the process that trained {len(begun)} cells together {why}: they are trained one by one"
            print(told, file=sys.stderr, flush=True)
        return [[job] for job in reversed(worker.jobs)]


class Basic(Processes):
    """One cell after the other, in this process."""

    def __init__(self) -> None:
        super().__init__(1)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        self.overrides = {number: list(job) for number, job in enumerate(job_overrides, initial_job_idx)}
        return [self.start(number) for number in self.overrides]


def end(processes: Sequence[Any]) -> list[Any]:
    """Ends these, which have a moment to keep what they have; those that had to be killed."""
    for process in processes:
        process.terminate()
    until = time.monotonic() + LAST
    while time.monotonic() < until and any(process.is_alive() for process in processes):
        time.sleep(0.01)
    late = [process for process in processes if process.is_alive()]  # in a call of a library that no signal interrupts
    for process in late:
        process.kill()
        process.join()
    return late


def not_in_time(jobs: Iterable[int]) -> None:
    """The last line of the command tells of cells that could keep nothing at a signal."""
    running = Tally.current.running if Tally.current else {}
    if names := [running[job] for job in jobs if job in running]:
        interrupts.add(f"from the last checkpoint, for want of time: {'; '.join(names)}")


def ended_by(code: int) -> str:
    """How a process ended, by its exit status."""
    if not code:
        return "lost its GPU"
    return f"was killed ({signal.Signals(-code).name})" if code < 0 else f"ended with exit status {code}"


class Together(Processes):
    """Cells that agree in what a program shares are trained together, in ``n_jobs`` processes; others one after the
    other. ``most_runs``: of a program (None: as many as the device is fast with)."""

    def __init__(self, n_jobs: int, most_runs: int | None) -> None:
        super().__init__(n_jobs)
        self.most_runs = most_runs
        self.known: dict[int, DictConfig] = {}

    def setup(self, **parts: Any) -> None:
        super().setup(**parts)
        if self.most_runs is not None and self.most_runs < 1:
            raise BenchError(
                f"hydra.launcher.most_runs={self.most_runs} must be 1 or more (null: as many as the device is fast "
                "with)"
            )

    def pieces(self) -> Sequence[list[int]]:
        """Cells of one program's kind, at the place of the first; where there are fewer kinds than processes, divided
        among these."""
        from imbalance_bench.cells.programs import groups

        numbers = list(self.overrides)
        found, reasons = groups(map(self.tried, numbers))
        if reasons:
            print(f"runs alone: {'; '.join(reasons)}", file=sys.stderr, flush=True)
        parts = self.places() if len(found) < self.places() else 1
        divided = (_part([numbers[place] for place in group], i, parts) for group in found for i in range(parts))
        return [part for part in divided if part]

    def tried(self, number: int) -> Config | None:
        """The cell of a job; None where it cannot be composed, which the job tells."""
        try:
            return cell_of(self.composed(number))
        except (BenchError, OmegaConfBaseException, HydraException):
            return None

    def composed(self, number: int) -> DictConfig:
        return self.known.pop(number) if number in self.known else super().composed(number)

    def work(self, jobs: Sequence[int]) -> Iterator[Told]:
        if len(jobs) == 1:
            yield from super().work(jobs)
            return
        from imbalance_bench.cells.programs import OUTCOMES, run_cells

        tally = Tally.find()

        def cell(place: int) -> Config:
            number = jobs[place]
            self.known[number] = super(Together, self).composed(number)  # until it is run
            config = cell_of(self.known[number])
            if tally:
                tally.begin(number, tally.named(cell_name(config.labels), self.overrides[number]))
            return config

        for ended in run_cells(len(jobs), cell, self.most_runs):
            OUTCOMES.update((jobs[place], outcome) for place, outcome in ended)
            yield from [(jobs[place], self.run(jobs[place])) for place, _ in ended]


def cell_of(config: DictConfig) -> Config:
    """The cell of a job."""
    with current(config):
        return from_omegaconf(without_hydra(config))


def _part(group: Sequence[int], i: int, parts: int) -> list[int]:
    """The i-th of ``parts`` pieces of a group, of equal length but for one."""
    return list(group[len(group) * i // parts : len(group) * (i + 1) // parts])


class Gpu(Processes):
    """``slots_per_gpu`` processes a GPU, each taking the next cell and seeing its GPU alone."""

    less = "hydra.launcher.slots_per_gpu"

    def __init__(self, slots_per_gpu: int) -> None:
        super().__init__(-1)
        self.slots_per_gpu = slots_per_gpu
        self.slots: list[str] = []

    def setup(self, **parts: Any) -> None:
        super().setup(**parts)
        if self.slots_per_gpu < 1:
            raise BenchError(f"hydra.launcher.slots_per_gpu={self.slots_per_gpu} must be 1 or more")
        self.slots = gpus() * self.slots_per_gpu  # one on each, then the second ones
        if not self.slots:
            raise BenchError(
                "hydra/launcher=gpu: there is no GPU here (nvidia-smi and CUDA_VISIBLE_DEVICES name none): use "
                "hydra/launcher=processes"
            )

    def places(self) -> int:
        return len(self.slots)

    def settle(self, place: int) -> None:
        os.environ["CUDA_VISIBLE_DEVICES"] = self.slots[place]  # torch has not been imported here: it reads it once


def gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        named = [name.strip() for name in chosen.split(",")]
        return list(takewhile(lambda name: name not in ("", "-1"), named))  # CUDA reads no further either
    try:
        ask = ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"]
        answer = subprocess.run(ask, capture_output=True, text=True, timeout=30, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in answer.splitlines() if line.strip()]
