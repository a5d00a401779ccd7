"""Which process trains which cells, and what becomes of them when it ends; without Hydra's command line."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import OmegaConf

from imbalance_bench.errors import BenchError
from imbalance_bench.running.tally import VARIABLE, DeviceLost, StopSweep, Tally
from imbalance_bench.sweep import launchers
from imbalance_bench.sweep.launchers import Gpu, Processes, Together, gpus
from imbalance_bench.terminal import interrupts


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Iterator[Path]:
    """Where jobs leave notes; with a tally."""
    monkeypatch.setattr(Tally, "current", None)
    monkeypatch.delenv(VARIABLE, raising=False)
    Tally.start(tmp_path, 10, "status.py")
    yield tmp_path
    os.environ.pop(VARIABLE, None)


class Noted:
    """Jobs that write down what they see: where, on which GPU, in which process. The words of a job say what becomes of
    it."""

    folder: Path
    config = OmegaConf.create({"on_error": "continue"})

    def run(self, number: int) -> JobReturn | None:
        Tally.current.begin(number, f"job{number}")
        seen = f"{os.environ.get('CUDA_VISIBLE_DEVICES')} {os.getpid()}"
        with (self.folder / f"{number}.txt").open("a") as file:
            file.write(f"{seen}\n")
        word = self.overrides[number][0]
        if word == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        Tally.current.end(number, "done", 1.0, False)
        if word == "stops":
            return None
        self.lost = word == "loses its GPU"
        return JobReturn(status=JobStatus.COMPLETED)


def launched(launcher: Processes, words: Sequence[str]) -> list[list[str]]:
    """The GPUs and processes that each job saw."""
    launcher.launch([[word] for word in words], 0)
    return [(launcher.folder / f"{n}.txt").read_text().split() for n in range(len(words))]


def slots(folder: Path, names: list[str], each: int) -> Gpu:
    launcher = type("Slots", (Noted, Gpu), {"folder": folder})(each)
    launcher.slots = names * each
    return launcher


def test_each_job_sees_the_gpu_of_its_slot(folder):
    seen = launched(slots(folder, ["GPU-a", "GPU-b"], 2), ["fine"] * 8)
    by_process = {process: gpu for gpu, process in seen}
    assert len(by_process) <= 4 and set(by_process.values()) <= {"GPU-a", "GPU-b"}
    assert "CUDA_VISIBLE_DEVICES" not in os.environ or os.environ["CUDA_VISIBLE_DEVICES"] not in ("GPU-a", "GPU-b")


@pytest.mark.parametrize("end", ["dies", "loses its GPU"])
def test_a_slot_is_given_back_however_its_process_ends(folder, end, capsys):
    """One slot: what comes after must be another process on the same GPU."""
    seen = launched(slots(folder, ["GPU-a"], 1), ["fine", end, "fine", "fine"])
    assert {gpu for gpu, _ in seen} == {"GPU-a"}
    processes = [process for _, process in seen]
    assert processes[0] == processes[1] != processes[2] == processes[3]
    told = capsys.readouterr().err
    assert ("job1: failed: its process was killed (SIGKILL)" in told) == (end == "dies")
    assert Tally.current.summary().startswith(f"4 of 10 cells: {3 if end == 'dies' else 4} done")


def test_an_outcome_that_the_tally_did_not_take_counts(folder):
    """Its file is gone, or the disk full: a process says by its pipe what became of its job."""
    Tally.current.path.unlink()
    launched(type("N", (Noted, Processes), {"folder": folder})(2), ["fine"] * 5)
    assert Tally.current.summary().startswith("5 of 10 cells: 5 done")


class Pieces(Noted, Together):
    """Jobs in pieces as ``lengths`` says; a piece runs its jobs one after the other, all begun at the start."""

    lengths: tuple[int, ...] = ()

    def pieces(self) -> list[list[int]]:
        numbers = iter(self.overrides)
        return [[next(numbers) for _ in range(n)] for n in self.lengths]

    def work(self, jobs):
        for job in jobs:
            Tally.current.begin(job, f"job{job}")
        if len(jobs) > 1 and any(self.overrides[job] == ["loses all"] for job in jobs):
            raise DeviceLost
        yield from Processes.work(self, jobs)


@pytest.mark.parametrize("word, why", [("dies", "was killed (SIGKILL)"), ("loses all", "lost its GPU")])
def test_cells_whose_common_process_ends_are_trained_one_by_one(folder, capsys, word, why):
    launcher = type("P", (Pieces,), {"folder": folder, "lengths": (4, 2)})(1, None)
    launched(launcher, ["fine", word, "fine", "fine", "fine", "fine"])
    told = capsys.readouterr().err
    left = 3 if word == "dies" else 4
    assert f"the process that trained {left} cells together {why}: they are trained one by one" in told
    failed = 1 if word == "dies" else 0
    assert told.count("failed") == failed
    assert Tally.current.summary().startswith(
        f"6 of 10 cells: {6 - failed} done, 0 skipped (done before), {failed} fail"
    )
    assert Tally.current.at_work() == []


@pytest.mark.parametrize("lengths", [(1, 1, 1, 1), (3, 1)])
def test_a_failure_that_stops_the_sweep_leaves_the_jobs_after_it(folder, lengths):
    launcher = type("P", (Pieces,), {"folder": folder, "lengths": lengths})(1, None)
    with pytest.raises(StopSweep):
        launched(launcher, ["fine", "stops", "fine", "fine"])
    assert sorted(path.name for path in folder.glob("*.txt")) == ["0.txt", "1.txt"]


class Keeping(Processes):
    """Jobs that, told to end, keep something first; "deaf" ones are told in a call that hears nothing."""

    folder: Path
    config = OmegaConf.create({"on_error": "continue"})

    def run(self, number: int) -> JobReturn | None:
        if self.overrides[number] == ["deaf"]:
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        with interrupts.at_safe_points():
            (self.folder / f"{number}.begun").touch()
            while interrupts.asked is None:
                time.sleep(0.01)
            interrupts.no_hurry()
            (self.folder / f"{number}.kept").touch()
            interrupts.heed()
        return None


def test_processes_that_are_ended_keep_what_they_have(folder, monkeypatch):
    def interrupted(pipes):
        while len(list(folder.glob("*.begun"))) < 2:
            time.sleep(0.01)
        raise SystemExit(143)

    monkeypatch.setattr(launchers, "wait", interrupted)
    monkeypatch.setattr(launchers, "LAST", 0.5)
    launcher = type("K", (Keeping,), {"folder": folder})(2)
    with pytest.raises(SystemExit):
        launcher.launch([["hears"], ["deaf"]], 0)
    assert [path.name for path in folder.glob("*.kept")] == ["0.kept"]
    assert not multiprocessing.active_children()


def test_a_process_whose_parent_was_killed_ends_with_its_job(folder, capfd):
    """And says nothing."""
    launcher = type("N", (Noted, Processes), {"folder": folder})(1)
    launcher.overrides = {0: ["fine"], 1: ["fine"]}
    worker = launcher._worker([])
    worker.take([0])
    worker.pipe.close()
    worker.process.join(60)
    assert worker.process.exitcode == 0 and not capfd.readouterr().err
    assert [path.name for path in folder.glob("*.txt")] == ["0.txt"]


def test_a_group_is_divided_among_the_processes():
    for n, parts in ((7, 2), (3, 4), (8, 3)):
        pieces = [launchers._part(list(range(n)), i, parts) for i in range(parts)]
        assert sum(pieces, []) == list(range(n))
        assert max(map(len, pieces)) - min(map(len, pieces)) <= 1


@pytest.mark.parametrize(
    "visible, found", [("0,1", ["0", "1"]), ("GPU-ab, GPU-c", ["GPU-ab", "GPU-c"]), ("", []), ("2,-1,3", ["2"])]
)
def test_gpus_are_those_that_the_environment_leaves(monkeypatch, visible, found):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert gpus() == found


def test_gpus_are_those_that_the_driver_names(tmp_path, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\nprintf 'GPU-1\\nGPU-2\\n'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert gpus() == ["GPU-1", "GPU-2"]
    tool.write_text("#!/bin/sh\nexit 9\n")
    assert gpus() == []


PARTS = {"hydra_context": None, "task_function": None, "config": None}


@pytest.mark.parametrize(
    "launcher, message",
    [
        (Gpu(0), r"hydra.launcher.slots_per_gpu=0 must be 1 or more"),
        (Gpu(1), r"hydra/launcher=gpu: there is no GPU here .*: use hydra/launcher=processes"),
        (Processes(0), r"hydra.launcher.n_jobs=0 must be 1 or more"),
        (Together(-2, None), r"hydra.launcher.n_jobs=-2 must be 1 or more"),
        (Together(1, 0), r"hydra.launcher.most_runs=0 must be 1 or more"),
    ],
)
def test_a_launcher_that_cannot(launcher, message, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(BenchError, match=message):
        launcher.setup(**PARTS)


def test_the_process_that_deals_out_the_cells_needs_no_torch():
    """A process that is forked must find CUDA_VISIBLE_DEVICES before torch looks."""
    code = (
        "import sys; import imbalance_bench.sweep.grid, imbalance_bench.cells.programs; print('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
