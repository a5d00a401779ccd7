"""How Hydra runs the cells of a sweep: which ones, in which order, and in which processes.

``Grid`` takes the place of Hydra's own sweeper, in every configuration; ``Processes`` is hydra/launcher=processes.
``register`` tells Hydra of both, and of what --help says of the options that are chosen.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus, run_job, setup_globals
from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from imbalance_bench import interrupts
from imbalance_bench.conf_files import ConfFiles
from imbalance_bench.errors import BenchError
from imbalance_bench.presets import check_paper, jobs_of
from imbalance_bench.tally import StopSweep, Tally, clock

Plugins.instance()  # reads Hydra's own plugins, which it would otherwise do after the next line and make other classes
from hydra._internal.core_plugins import basic_sweeper  # noqa: E402

MANY = 100  # combinations whose configurations take so long to compose that it is said, and from then on each
EVERY = 10.0  # seconds


class Grid(basic_sweeper.BasicSweeper):
    """The cells of a preset's blocks, or the product of what was asked for."""

    def split_arguments(self, overrides: Any, max_batch_size: int | None) -> list[list[list[str]]]:  # type: ignore[override]
        assert self.config is not None
        check_paper(self.config, self.config.hydra.runtime.choices.get("paper", ""))
        files = self._files([o.input_line for o in overrides])
        for override in overrides:
            files.check(override)
            if override.key_or_group == "paper" and override.is_sweep_override():
                raise BenchError(f"{override.input_line}: a sweep is of one preset; run one after the other")
        paper = OmegaConf.select(self.config, "paper")
        jobs = jobs_of(OmegaConf.to_container(paper, resolve=True) if paper else None, overrides)
        self._compose(self._covering(jobs, files))
        outputs = (self.config.get("paths") or {}).get("outputs", "outputs")
        status = "python scripts/status.py" + ("" if outputs == "outputs" else f" --outputs {outputs}")
        Tally.start(Path(self.config.hydra.sweep.dir), len(jobs), status)
        return list(self.split_overrides_to_chunks(jobs, max_batch_size))  # type: ignore[arg-type]

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Done already, before anything was written."""

    def _covering(self, jobs: Sequence[Sequence[str]], files: ConfFiles) -> list[Sequence[str]]:
        """Some of the jobs that have, among them, every option, and every key together with each option of its group:
        what is right in these is right in all, since options of one group know nothing of another's."""
        seen: set[tuple[str, str | None]] = set()
        covering: list[Sequence[str]] = []
        for job in jobs:
            named = dict(override.lstrip("+~").partition("=")[::2] for override in job)
            parts = {
                (key, value if files.options(key) else named.get(key.partition(".")[0])) for key, value in named.items()
            }
            if not covering or not parts <= seen:
                covering.append(job)
                seen |= parts
        return covering

    def _compose(self, jobs: Sequence[Sequence[str]]) -> None:
        """Composes these before the first cell is trained, so that the last one's mistake is known now."""
        assert self.hydra_context is not None and self.config is not None
        start = due = time.monotonic()
        for done, overrides in enumerate(jobs):
            if len(jobs) >= MANY and (now := time.monotonic()) >= due:
                left = f", {done} so far, {clock((now - start) / done * (len(jobs) - done))} left" if done else " first"
                print(f"{len(jobs)} combinations: their settings are checked{left}", file=sys.stderr, flush=True)
                due = now + EVERY
            try:
                self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides))
            except HydraException as error:
                raise BenchError(self._files(overrides).explain(error)) from error

    def _files(self, overrides: Sequence[str]) -> ConfFiles:
        assert self.hydra_context is not None and self.config is not None
        own = list(self.config.hydra.overrides.hydra)
        return ConfFiles(self.hydra_context.config_loader, [*own, *overrides], self.config.hydra.job.config_name)


@dataclass
class Worker:
    """A process, this end of its pipe, and the number of the job that it has (None: none)."""

    process: Any
    pipe: Connection
    job: int | None = None


class Processes(Launcher):
    """``n_jobs`` processes (-1: one a core), each taking the next cell. One that is killed costs its cell."""

    def __init__(self, n_jobs: int) -> None:
        self.n_jobs = n_jobs

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config
        if self.n_jobs == 0 or self.n_jobs < -1:
            raise BenchError(f"hydra.launcher.n_jobs={self.n_jobs} must be 1 or more (-1: a process a core)")

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        waiting = deque(enumerate(job_overrides, initial_job_idx))
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        most = min(cores if self.n_jobs == -1 else self.n_jobs, len(waiting))
        workers: list[Worker] = []
        returns: dict[int, JobReturn] = {}
        stopped = False
        try:
            while waiting or any(w.job is not None for w in workers):
                workers = [w for w in workers if w.job is not None or w.process.is_alive()]
                while waiting and len(workers) < most:
                    workers.append(self._worker(workers))
                for worker in workers:
                    if worker.job is None and waiting:
                        worker.job, overrides = waiting.popleft()
                        with suppress(OSError):  # it died just now: read so below
                            worker.pipe.send((worker.job, list(overrides)))
                busy = {w.pipe: w for w in workers if w.job is not None}
                for pipe in wait(list(busy)):
                    worker = busy[pipe]  # type: ignore[index]
                    assert worker.job is not None
                    try:
                        returned = worker.pipe.recv()
                    except (EOFError, OSError):
                        workers.remove(worker)
                        returned = self._lost(worker)
                    if returned is None:  # on_error=stop: what is running may end
                        stopped = True
                        waiting.clear()
                    else:
                        returns[worker.job] = returned
                    worker.job = None
        finally:
            for worker in workers:
                worker.process.terminate()
        if stopped:
            raise StopSweep
        return [returns[job] for job in sorted(returns)]

    def _worker(self, others: Sequence[Worker]) -> Worker:
        context = multiprocessing.get_context("fork")  # takes Hydra's state along; nothing here has used a GPU
        mine, its = context.Pipe()
        inherited = [*(w.pipe for w in others), mine]
        process = context.Process(target=self._work, args=(its, inherited))
        process.start()
        its.close()
        return Worker(process, mine)

    def _work(self, pipe: Connection, inherited: Sequence[Connection]) -> None:
        """Runs in a worker until its parent ends; nobody else may hold the parent's end of the pipe open."""
        interrupts.leave_to_parent()
        for other in inherited:
            other.close()
        while True:
            try:
                job = pipe.recv()
            except (EOFError, OSError):
                return
            pipe.send(self._run(*job))

    def _run(self, number: int, overrides: list[str]) -> JobReturn | None:
        """Runs a job as Hydra's own launchers do; None where it stops the sweep."""
        setup_globals()
        config = self.hydra_context.config_loader.load_sweep_config(self.config, overrides)
        config.hydra.job.id, config.hydra.job.num = f"{config.hydra.job.name}_{number}", number
        HydraConfig.instance().set_config(config)
        try:
            done = run_job(
                hydra_context=self.hydra_context,
                task_function=self.task_function,
                config=config,
                job_dir_key="hydra.sweep.dir",
                job_subdir_key="hydra.sweep.subdir",
            )
        except StopSweep:
            return None
        return done

    def _lost(self, worker: Worker) -> JobReturn | None:
        """Says of a cell whose process was killed that it failed; None where that stops the sweep."""
        worker.process.join()
        code = worker.process.exitcode
        why = f"was killed ({signal.Signals(-code).name})" if code < 0 else f"ended with exit status {code}"
        hint = "; for lack of memory?" if code == -signal.SIGKILL else ""
        if hint and self.n_jobs != 1:
            hint += " A lower hydra.launcher.n_jobs needs less"
        assert worker.job is not None and Tally.current is not None
        line = f"{Tally.current.name(worker.job)}: failed: its process {why}{hint}"
        print(Tally.current.end(worker.job, "failed", 0.0, True, line) + line, file=sys.stderr, flush=True)
        return None if self.config.get("on_error") == "stop" else JobReturn(status=JobStatus.COMPLETED)


@dataclass
class GridConf(basic_sweeper.BasicSweeperConf):
    _target_: str = f"{basic_sweeper.__name__}.Grid"


@dataclass
class ProcessesConf:
    _target_: str = f"{basic_sweeper.__name__}.Processes"
    n_jobs: int = -1


def register() -> None:
    """Tells Hydra of the sweeper and the launcher, which it takes from modules of its own name only, and of what --help
    adds."""
    for plugin in (Grid, Processes):
        plugin.__module__ = basic_sweeper.__name__
        setattr(basic_sweeper, plugin.__name__, plugin)
        Plugins.instance().register(plugin)
    store = ConfigStore.instance().store
    store(group="hydra/sweeper", name="basic", node=GridConf, provider="imbalance_bench")
    store(group="hydra/launcher", name="processes", node=ProcessesConf, provider="imbalance_bench")
    OmegaConf.register_new_resolver("keys_of_options", _keys_of_options, replace=True)


def _keys_of_options(*, _root_: DictConfig) -> str:
    from imbalance_bench.reference import keys_help

    return keys_help(_root_)
