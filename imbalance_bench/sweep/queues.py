"""Hydra launchers whose cells are jobs of a queue, on this machine or on others that share a file system with it.

A job takes several cells. It enters what becomes of them in a file of its own (several machines that append to one file
lose lines); the process that submits the jobs reads these files, prints each cell's line and keeps the sweep's tally.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from abc import abstractmethod
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import OmegaConf

from imbalance_bench.errors import BenchError
from imbalance_bench.running.tally import StopSweep, Tally, differing
from imbalance_bench.store.files import refusal
from imbalance_bench.sweep.ends import job_ended
from imbalance_bench.sweep.launchers import LAST, Processes, not_in_time
from imbalance_bench.terminal import interrupts

STATE = "state.pkl"  # what every job needs to compose and run its cells
STOP = "stop"  # exists once the sweep has ended: by on_error=stop, or by a signal
ONE = ("None", "1", "")
ARRAY = 1000  # jobs that SLURM takes in an array unless it is configured otherwise (MaxArraySize)


@dataclass
class Piece:
    """What a job of the queue runs: cells by their numbers. ``folder``: of the sweep's jobs; ``entries``: where it
    enters what becomes of its cells."""

    numbers: list[int]
    folder: Path
    entries: Path

    def __call__(self) -> None:
        """Runs the cells that have not ended in an earlier try."""
        interrupts.leave_to_parent(signal.SIGTERM, signal.SIGINT)
        try:
            self.process.write_text(str(os.getpid()))
            if not (self.folder / STOP).exists():
                self._run()
        finally:
            self.process.unlink(missing_ok=True)

    @property
    def process(self) -> Path:
        """Exists while the job is at work, with the number of its process."""
        return self.entries.with_suffix(".process")

    def _run(self) -> None:
        import cloudpickle

        with (self.folder / STATE).open("rb") as file:
            state = cloudpickle.load(file)
        os.chdir(state.pop("cwd"))
        Singleton.set_state(state.pop("singletons"))
        processes = Processes(1)
        vars(processes).update(state)
        Tally.current = tally = Tally(self.entries)
        tally.differing = differing(list(processes.overrides.values()))
        ended = {entry.get("job") for entry in tally.added() if "status" in entry}
        with queued_again():
            for _, returned in processes.work([number for number in self.numbers if number not in ended]):
                if returned is None or processes.lost or (self.folder / STOP).exists():
                    return
                _ = returned.return_value  # raises what the job raised

    def checkpoint(self) -> Any:
        """What submitit queues again when the job runs into its time limit, or makes room for another."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


@contextmanager
def queued_again() -> Iterator[None]:
    """Within it, the signal before a job's time limit ends the work as SIGTERM does elsewhere, at a safe point and with
    a checkpoint. Then submitit's handler queues the job again, or says why not, which is no failure of the cell's."""
    number = signal.SIGUSR2  # submitit's, unless told otherwise
    handler = signal.getsignal(number)
    if not callable(handler):  # no job of submitit's
        yield
        return
    reached = False

    def at_limit(*_: Any) -> None:
        nonlocal reached
        reached = True
        interrupts.stop(number)

    signal.signal(number, at_limit)
    try:
        yield
    except SystemExit:
        if reached:
            handler(number, None)  # does not return
        raise
    finally:
        signal.signal(number, handler)


@dataclass
class Submitted:
    """A piece in the queue, its handle there, and what its job has entered so far."""

    piece: Piece
    handle: Any
    tally: Tally
    begun: bool = False


class Queue(Processes):
    """``cells_per_job`` (None: what makes at most ``most_jobs`` jobs). A job that ends early costs the cell that it was
    at; the cells after that are submitted again."""

    name = ""  # of the launcher
    look = 0.2  # seconds between two looks at what the jobs have entered
    check = 0.2  # seconds between two looks for jobs that have ended

    def __init__(self, n_jobs: int, cells_per_job: int | None) -> None:
        super().__init__(n_jobs)
        self.cells_per_job = cells_per_job
        self.left: set[int] = set()
        self.stopped = False

    @property
    def most_jobs(self) -> int:
        """How many jobs are worth their start, or may be queued."""
        return ARRAY

    @abstractmethod
    def submit(self, pieces: Sequence[Piece]) -> Sequence[Any]:
        """Puts pieces into the queue; a handle of each."""

    @abstractmethod
    def over(self, handle: Any) -> str:
        """How a job has ended, and where more is said about it; "" while it has not."""

    @abstractmethod
    def cancel(self, jobs: Sequence[Submitted]) -> None:
        """Tells these jobs to end; what they train may keep a checkpoint."""

    def kill(self, jobs: Sequence[Submitted]) -> None:
        """Ends those that did not end by themselves; where it does nothing, the queue does."""

    def setup(self, **parts: Any) -> None:
        super().setup(**parts)
        if self.cells_per_job is not None and self.cells_per_job < 1:
            raise BenchError(
                f"hydra.launcher.cells_per_job={self.cells_per_job} must be 1 or more (null: as many as keep the jobs "
                "few)"
            )

    def room(self) -> int:
        """How many jobs may be submitted and not over."""
        return ARRAY

    def pieces(self) -> Sequence[list[int]]:
        numbers = list(self.overrides)
        each = self.cells_per_job or -(-len(numbers) // self.most_jobs)
        return [numbers[start : start + each] for start in range(0, len(numbers), each)]

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        self.overrides = {number: list(job) for number, job in enumerate(job_overrides, initial_job_idx)}
        self.left = set(self.overrides)
        logs = Path(self.config.hydra.sweep.dir).absolute() / "jobs"
        logs.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix="cells_", dir=logs))  # a sweep there before may have jobs that still run
        self._save(folder)
        waiting = deque(self.pieces())
        told = f"{self.name}: jobs for {len(self.overrides)} cells: {len(waiting)}; their logs are in {logs}"
        print(told, file=sys.stderr, flush=True)
        queued: list[Submitted] = []
        count, due = 0, 0.0
        try:
            while waiting or queued:
                new: list[Piece] = []
                while waiting and len(queued) + len(new) < self.room():
                    new.append(Piece(waiting.popleft(), folder, folder / f"{count}.jsonl"))
                    new[-1].entries.touch()  # here: a machine may take a file for missing long after another made it
                    count += 1
                if new:
                    queued += [Submitted(p, h, Tally(p.entries)) for p, h in zip(new, self.submit(new), strict=True)]
                time.sleep(self.look)
                ends = {}
                if time.monotonic() >= due:  # before its entries are read, which are then its last ones
                    due = time.monotonic() + self.check
                    ends = {i: how for i, job in enumerate(queued) if (how := self.over(job.handle))}
                for i, job in enumerate(queued):
                    self._relay(job)
                    if i in ends:
                        waiting.extendleft(self._leaves(job, ends[i]))
                queued = [job for i, job in enumerate(queued) if i not in ends and self._unfinished(job)]
                if self.stopped and not (folder / STOP).exists():  # cells that are being trained may end
                    (folder / STOP).touch()
                    self.cancel([job for job in queued if not job.begun])
                    queued = [job for job in queued if job.begun]
                if self.stopped:
                    waiting.clear()
        finally:
            if queued:
                self._end(queued, folder)
        if self.stopped:
            raise StopSweep
        return [JobReturn(status=JobStatus.COMPLETED) for _ in self.overrides]

    def _end(self, jobs: Sequence[Submitted], folder: Path) -> None:
        """Ends jobs with this command; those that are at work have a moment to keep what they have."""
        with suppress(OSError):
            (folder / STOP).touch()  # for those that begin just now
        self.cancel(jobs)
        until = time.monotonic() + LAST
        while (late := [job for job in jobs if job.piece.process.exists()]) and time.monotonic() < until:
            time.sleep(0.02)
        self.kill(late)
        for job in late:
            job.piece.process.unlink(missing_ok=True)
        not_in_time(number for job in late for number in job.piece.numbers)

    def _save(self, folder: Path) -> None:
        import cloudpickle

        parts = ("hydra_context", "task_function", "config", "overrides")
        state = {"cwd": str(Path.cwd()), "singletons": Singleton.get_state(), **{p: getattr(self, p) for p in parts}}
        (folder / STATE).write_bytes(cloudpickle.dumps(state))

    def _unfinished(self, job: Submitted) -> bool:
        return any(number in self.left for number in job.piece.numbers)

    def _relay(self, job: Submitted) -> None:
        """Takes what a job has entered over into the sweep's tally, and prints it."""
        for entry in job.tally.added():
            job.begun = True
            number = entry.get("job")
            if number not in self.left:  # which its first try had ended
                continue
            with suppress(KeyError):  # scribbled: the cell counts as one that its job has not ended
                if "name" in entry:
                    self._tally.begin(number, entry["name"])
                else:
                    self._told(number, entry)

    def _told(self, number: int, entry: Mapping[str, Any]) -> None:
        parts = [entry[key] for key in ("status", "seconds", "failed", "unrecorded", "line")]
        failed = entry["status"] == "failed"
        self.left.remove(number)
        job_ended(self._tally, number, *parts)
        self.stopped |= failed and self.config.get("on_error") == "stop"

    def _leaves(self, job: Submitted, how: str) -> list[list[int]]:
        """Says what the end of a job has cost; the pieces that are to be submitted again."""
        left = [number for number in job.piece.numbers if number in self.left]
        at = [number for number in left if number in self._tally.running]
        lost = at or (left if len(left) == len(job.piece.numbers) else [])  # all, where it could not even begin
        if not self.stopped:
            for number in lost:
                line = f"{self.named(number)}: failed: its job {how}"
                entry = {"status": "failed", "seconds": 0.0, "failed": True, "unrecorded": line, "line": line}
                self._told(number, entry)
        again = [number for number in left if number not in lost]
        return [again] if again and not self.stopped else []

    @property
    def _tally(self) -> Tally:
        assert Tally.current is not None
        return Tally.current


# Options of jobs that would run the cells of each several times, as submitit, sbatch and srun call them.
REPEATING = ("nodes", "tasks_per_node", "ntasks", "array", *(f"ntasks_per_{part}" for part in ("node", "gpu", "core")))


def repeating(parameters: Mapping[str, Any]) -> list[str]:
    """Those of submitit's parameters that make more of a job than one task, as they stand in a command."""
    given = [(name, value, f"{name}={value}") for name, value in parameters.items()]
    more = (parameters.get("additional_parameters") or {}).items()
    given += [(name, value, f"additional_parameters.{name}={value}") for name, value in more]
    for argument in parameters.get("srun_args") or ():
        name, _, value = argument.partition("=")
        short = re.fullmatch(r"-[nN](\d*)", argument)
        given.append(("ntasks" if short else name.lstrip("-"), short[1] if short else value, f"srun_args={argument}"))
    found = [said for name, value, said in given if name.replace("-", "_") in REPEATING and str(value) not in ONE]
    return [f"hydra.launcher.{said}" for said in found]


class Submitit(Queue):
    """Jobs of submitit. ``parameters``: as hydra-submitit-launcher has them."""

    cluster = ""

    def __init__(
        self,
        cells_per_job: int | None,
        submitit_folder: str,
        n_jobs: int = 1,
        max_num_timeout: int | None = None,
        **parameters: Any,
    ) -> None:
        super().__init__(n_jobs, cells_per_job)
        self.submitit_folder, self.parameters = submitit_folder, parameters
        self.tries = {} if max_num_timeout is None else {f"{self.cluster}_max_num_timeout": max_num_timeout}

    def setup(self, **parts: Any) -> None:
        super().setup(**parts)
        if (limit := self.parameters["timeout_min"]) < 1:
            raise BenchError(f"hydra.launcher.timeout_min={limit} must be 1 or more (minutes that a job may take)")
        if more := repeating(self.parameters):
            raise BenchError(
                f"{', '.join(more)}: each task of a job would train the same cells: leave that out. "
                "hydra.launcher.cells_per_job says how many cells a job takes, cpus_per_task how many cores it has"
            )

    def submit(self, pieces: Sequence[Piece]) -> Sequence[Any]:
        import submitit

        executor = submitit.AutoExecutor(str(Path(self.submitit_folder).absolute()), self.cluster, **self.tries)
        general = submitit.AutoExecutor._typed_parameters()
        plain = {k: OmegaConf.to_container(v) if OmegaConf.is_config(v) else v for k, v in self.parameters.items()}
        try:
            executor.update_parameters(**{k if k in general else f"{self.cluster}_{k}": v for k, v in plain.items()})
        except NameError as error:
            raise BenchError(f"hydra/launcher={self.name}: {str(error).partition(chr(10))[0]}") from error
        with executor.batch():
            return [executor.submit(piece) for piece in pieces]

    def over(self, handle: Any) -> str:
        if not handle.done():
            return ""
        return f"{handle.job_id} ended ({handle.state.lower()}): {last_line(handle.paths.stderr)}"


def last_line(log: Path) -> str:
    """The last thing that a job said, and where."""
    with suppress(OSError):
        lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
        return f"{lines[-1] if lines else refusal(log.parent) or 'it said nothing'} (log: {log})"
    return f"it left no log {log}"


class SubmititLocal(Submitit):
    """At most ``n_jobs`` jobs at a time (-1: one a core), each a process of this machine."""

    name, cluster = "submitit_local", "local"

    @property
    def most_jobs(self) -> int:
        return 8 * self.places()

    def room(self) -> int:
        return self.places()

    def submit(self, pieces: Sequence[Piece]) -> Sequence[Any]:
        with apart(pieces[0].folder / "controllers.log"):
            return super().submit(pieces)

    def cancel(self, jobs: Sequence[Submitted]) -> None:
        for job in jobs:
            with suppress(OSError):
                os.kill(int(job.handle.job_id), signal.SIGTERM)  # its controller, which passes it on to the job

    def kill(self, jobs: Sequence[Submitted]) -> None:
        for job in jobs:
            with suppress(OSError, ValueError):
                os.kill(int(job.piece.process.read_text()), signal.SIGKILL)


class SubmititSlurm(Submitit):
    """Arrays of jobs of SLURM, all in the queue at once."""

    name, cluster = "submitit_slurm", "slurm"
    look, check = 2.0, 10.0

    def setup(self, **parts: Any) -> None:
        super().setup(**parts)
        if missing := [tool for tool in ("sbatch", "srun", "sacct", "scancel") if shutil.which(tool) is None]:
            raise BenchError(
                f"hydra/launcher=submitit_slurm: there is no SLURM here (no {', '.join(missing)}): start this where "
                "sbatch works, or use hydra/launcher=processes"
            )

    def submit(self, pieces: Sequence[Piece]) -> Sequence[Any]:
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        try:
            return super().submit(pieces)
        except (FailedJobError, FailedSubmissionError) as error:
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            said = next((line for line in lines if line.startswith("sbatch: ")), lines[0] if lines else "")
            raise BenchError(
                f"hydra/launcher=submitit_slurm: SLURM took no jobs ({said}): see hydra.launcher.partition, account, "
                "timeout_min, cells_per_job; or use hydra/launcher=processes"
            ) from error

    def cancel(self, jobs: Sequence[Submitted]) -> None:
        if jobs:  # SIGTERM, and half a minute later SIGKILL
            subprocess.run(["scancel", *(job.handle.job_id for job in jobs)], capture_output=True)


@contextmanager
def apart(errors: Path) -> Iterator[None]:
    """Processes that are started within write their errors to a file, and signals that reach all processes of a
    terminal, Ctrl-C among them, pass them by: this process ends them, and gives them the time that they need."""
    kept = os.dup(2)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
    try:
        with errors.open("ab") as file:
            os.dup2(file.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
