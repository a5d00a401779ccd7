"""Launchers whose cells are jobs of a queue: submitit's processes here, and a SLURM that a few scripts play."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from imbalance_bench.errors import BenchError
from imbalance_bench.running.tally import Tally
from imbalance_bench.sweep import queues, ray_tasks
from imbalance_bench.sweep.queues import Piece, Submitted
from imbalance_bench.terminal import interrupts

# A command whose cells train nothing: ``word`` says what becomes of each. One that reaches its limit gets, in its first
# try, the signal that a queue sends before the time is over.
SCRIPT = """
import os, signal, sys, time
from pathlib import Path

import hydra

from imbalance_bench.terminal import interrupts
from imbalance_bench.sweep import queues
from imbalance_bench.sweep.grid import register
from imbalance_bench.running.tally import StopSweep, Tally

for kind in (queues.SubmititLocal, queues.SubmititSlurm):
    kind.look, kind.check = 0.1, 0.3


@hydra.main(version_base="1.3", config_path=".", config_name="config")
def main(cfg):
    tally, number = Tally.find(), hydra.core.hydra_config.HydraConfig.get().job.num
    tally.begin(number, cfg.word)
    with open(f"{number}.txt", "a") as file:
        file.write(f"{os.getpid()} ")
    if cfg.word == "sleeps":
        time.sleep(60)
    if cfg.word == "deaf":
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGINT])
        Path("deaf").touch()
        time.sleep(60)
    if cfg.word == "keeps":
        with interrupts.at_safe_points():  # as a cell of which a checkpoint takes a moment
            Path(f"{number}.begun").touch()
            while interrupts.asked is None:
                time.sleep(0.01)
            interrupts.no_hurry()
            time.sleep(0.8)
            Path(f"{number}.kept").touch()
            interrupts.heed()
    if cfg.word == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    if cfg.word == "reaches its limit" and len(Path(f"{number}.txt").read_text().split()) == 1:
        try:
            with interrupts.at_safe_points():  # as a cell that writes a checkpoint at one
                os.kill(os.getpid(), signal.SIGUSR2)
                time.sleep(0.3)
                Path(f"{number}.kept").touch()
                interrupts.heed()
        except Exception:  # as a cell that fails, and loses its checkpoint
            Path(f"{number}.kept").unlink(missing_ok=True)
        return
    failed = cfg.word == "fails"
    line = f"{cfg.word}: ended"
    print(tally.end(number, "failed" if failed else "done", 1.0, failed, line if failed else "", line) + line)
    if failed and cfg.on_error == "stop":
        raise StopSweep


if __name__ == "__main__":
    interrupts.install()
    interrupts.describe(lambda: "; ".join(Tally.current.at_work()))
register()
try:
    main()
except StopSweep:
    print("stopped")
print(Tally.current.summary())
sys.exit(Tally.current.failures > 0)
"""
CONFIG = """
word: fine
on_error: continue
hydra: {output_subdir: null, run: {dir: .}, sweep: {dir: sweep, subdir: "${hydra.job.num}"}}
defaults: [_self_, override hydra/job_logging: none, override hydra/hydra_logging: none]
"""
# What SLURM's commands do: a job, or each task of an array, is a process of this machine.
SLURM = {
    "sbatch": r"""
for script; do :; done
id=$((77 + $(ls "$FAKE" | grep -c ^script)))
cp "$script" "$FAKE/script$id"
last=$(sed -n 's/^#SBATCH --array=0-\([0-9]*\).*/\1/p' "$script")
if [ "$last" ]; then for task in $(seq 0 "$last"); do scontrol requeue ${id}_$task; done; else scontrol requeue $id; fi
echo Submitted batch job $id
""",
    "scontrol": r"""
export SLURM_JOB_ID=${2%_*}
case $2 in *_*) export SLURM_ARRAY_JOB_ID=$SLURM_JOB_ID SLURM_ARRAY_TASK_ID=${2#*_};; esac
setsid sh "$FAKE/script$SLURM_JOB_ID" >/dev/null 2>&1 </dev/null &
echo $! > "$FAKE/task$2"
""",
    "srun": r"""
while [ "${1#--}" != "$1" ]; do case $1 in
    --output) out=$2; shift 2;; --error) err=$2; shift 2;; *) shift;; esac; done
name() { echo "$1" | sed "s/%j/$SLURM_JOB_ID/g;s/%A/$SLURM_JOB_ID/g;s/%a/$SLURM_ARRAY_TASK_ID/g;s/%t/0/g"; }
exec "$@" >>"$(name "$out")" 2>>"$(name "$err")"
""",
    "sacct": r"""
echo 'JobID|State|NodeList'
for file in "$FAKE"/task*; do
    kill -0 "$(cat "$file")" 2>/dev/null && state=RUNNING || state=FAILED
    echo "${file##*task}|$state|here"
done
""",
    "scancel": r"""
for job; do for file in "$FAKE/task$job" "$FAKE/task${job}"_*; do
    [ -e "$file" ] && pkill -TERM -s "$(cat "$file")" -f submitit.core._submit; done; done
exit 0
""",
}


@pytest.fixture
def submitit() -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="hydra-submitit-launcher is not installed")


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "cells.py").write_text(SCRIPT)
    (tmp_path / "config.yaml").write_text(CONFIG)
    (tmp_path / "bin").mkdir()
    return tmp_path


def slurm(folder: Path, **commands: str) -> None:
    for name, text in (SLURM | commands).items():
        (folder / "bin" / name).write_text(f"#!/bin/sh\n{text}")
        (folder / "bin" / name).chmod(0o755)


def started(folder: Path, launcher: str, *words: str) -> subprocess.Popen[str]:
    own = {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "FAKE": str(folder / "bin"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "cells.py", "-m", f"hydra/launcher={launcher}", *words]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=folder, env=os.environ | own, stdout=pipe, stderr=pipe, text=True)


def sweep(folder: Path, launcher: str, *words: str) -> subprocess.CompletedProcess[str]:
    process = started(folder, launcher, *words)
    out, error = process.communicate(timeout=120)
    return subprocess.CompletedProcess(process.args, process.returncode, out, error)


def tries(folder: Path, number: int) -> int:
    path = folder / f"{number}.txt"
    return len(path.read_text().split()) if path.exists() else 0


LAUNCHERS = {"submitit_local": ["hydra.launcher.n_jobs=2"], "submitit_slurm": []}


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_jobs_of_a_queue_end_in_every_way(submitit, folder, launcher):
    """Killed: its cell failed, and the cell after it is trained by another job. At its limit: queued again, where the
    cell that it had ended is not trained again."""
    slurm(folder)
    words = "word=fine,reaches its limit,dies,afterwards"
    done = sweep(folder, launcher, words, "hydra.launcher.cells_per_job=2", *LAUNCHERS[launcher])
    assert done.returncode == 1, done.stderr
    *lines, last, _ = done.stdout.splitlines()
    assert sorted(line.partition("] ")[2] for line in lines) == [
        "afterwards: ended",
        "fine: ended",
        "reaches its limit: ended",
    ]
    assert last.startswith("4 of 4 cells: 3 done, 0 skipped (done before), 1 failed")
    assert [tries(folder, number) for number in range(4)] == [1, 2, 1, 1]
    told = done.stderr.splitlines()
    assert told[0].startswith(f"{launcher}: jobs for 4 cells: 2; their logs are in {folder}/sweep/jobs")
    (failed,) = [line for line in told if "dies: failed: its job " in line]
    log = Path(failed.partition("(log: ")[2].rstrip(")"))
    assert log.is_relative_to(folder / "sweep/jobs") and log.exists()
    assert len(told) == 2 and "Traceback" not in done.stderr
    assert (folder / "1.kept").exists()


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_job_at_its_last_limit_keeps_what_its_cell_has(submitit, folder, launcher):
    """It is queued no more, and that is no fault of the cell's, which the same command goes on with."""
    slurm(folder)
    own = ["hydra.launcher.timeout_min=1", "hydra.launcher.max_num_timeout=0"]
    done = sweep(folder, launcher, "word=reaches its limit,afterwards", "hydra.launcher.cells_per_job=2", *own)
    assert done.returncode == 1 and "2 cells: 1 done, 0 skipped (done before), 1 failed" in done.stdout
    (failed,) = [line for line in done.stderr.splitlines() if "reaches its limit: failed: its job " in line]
    assert "timed-out too many times" in failed
    assert [tries(folder, number) for number in range(2)] == [1, 1]
    assert (folder / "0.kept").exists()


@pytest.mark.slow
def test_a_cell_goes_on_where_it_stood_at_the_limit(submitit, tmp_path):
    """A training that takes longer than its job may: half a minute, since submitit gives its processes a notice of the
    other half."""
    script = Path(__file__).parents[1] / "scripts/train.py"
    cell = ["method=cross_entropy", "trainer.epochs=40000", "protocol.folds=2", "device=cpu"]
    limit = ["hydra/launcher=submitit_local", "hydra.launcher.timeout_min=1", "hydra.launcher.max_num_timeout=20"]
    found = {}
    for name, own in {"whole": [], "limited": limit}.items():
        command = [sys.executable, str(script), "-m", *cell, *own, f"paths.outputs={tmp_path / name}"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stdout + done.stderr
        (record,) = (tmp_path / name).rglob("record.json")
        found[name] = [
            (record.parent / file).read_bytes() for file in ("metrics.csv", "predictions.npz", "history.csv")
        ]
    assert found["limited"] == found["whole"]
    assert "goes on from the checkpoint" in record.with_name("train.log").read_text()


def test_a_failure_that_stops_the_sweep_leaves_the_jobs_that_are_queued(submitit, folder):
    words = "word=fine,fails,later,last"
    done = sweep(folder, "submitit_local", words, "on_error=stop", "hydra.launcher.n_jobs=1")
    assert (done.returncode, done.stdout.splitlines()[1]) == (1, "stopped")
    assert [tries(folder, number) for number in range(4)] == [1, 1, 0, 0]
    again = sweep(folder, "submitit_local", "word=fine")  # in the folder of the sweep that was stopped
    assert (again.returncode, tries(folder, 0)) == (0, 2)


def test_tasks_of_ray_end_in_every_way(folder):
    """On a cluster of this machine."""
    pytest.importorskip("hydra_plugins.hydra_ray_launcher", reason="hydra-ray-launcher is not installed")
    own = ["hydra.launcher.cells_per_job=2", "+hydra.launcher.ray.init.num_cpus=1"]
    done = sweep(folder, "ray", "word=fine,fails,dies,afterwards", *own)
    assert done.returncode == 1, done.stderr
    *lines, last, _, _ = [line for line in done.stdout.splitlines() if "(raylet)" not in line]
    assert sorted(line.partition("] ")[2] for line in lines) == ["afterwards: ended", "fine: ended"]
    assert last.startswith("4 of 4 cells: 2 done, 0 skipped (done before), 2 failed")
    assert [tries(folder, number) for number in range(4)] == [1, 1, 1, 1]
    _, fails, dies = done.stderr.splitlines()
    assert fails.endswith("] fails: ended")
    assert "] dies: failed: its job ended (WorkerCrashedError): " in dies


def test_jobs_end_with_the_command_that_submitted_them(submitit, folder):
    process = started(folder, "submitit_local", "word=sleeps")
    until(lambda: tries(folder, 0))
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 143 and "Traceback" not in error
    job = Path("/proc", (folder / "0.txt").read_text().strip())
    until(lambda: not job.exists())


@pytest.mark.parametrize("launcher, number", [("submitit_local", signal.SIGINT), ("submitit_slurm", signal.SIGTERM)])
def test_jobs_keep_what_they_have_before_the_command_ends(submitit, folder, launcher, number):
    slurm(folder)
    process = started(folder, launcher, "word=keeps")
    until(lambda: (folder / "0.begun").exists() and heard_of(folder, "keeps"))
    process.send_signal(number)
    _, error = process.communicate(timeout=60)
    assert (folder / "0.kept").exists()
    assert process.returncode == 128 + number
    word = "interrupted" if number == signal.SIGINT else "terminated"
    assert error.splitlines()[1:] == [f"{word} while keeps: {interrupts.AGAIN}"]
    (log,) = (folder / "sweep/jobs").rglob("*_log.err")
    assert "Traceback" not in log.read_text()


def test_a_job_that_is_told_to_end_keeps_what_it_has(submitit, folder):
    """By whoever else: its queue, an administrator."""
    process = started(folder, "submitit_local", "word=keeps")
    until((folder / "0.begun").exists)
    os.kill(int((folder / "0.txt").read_text()), signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 1 and (folder / "0.kept").exists()


def test_a_job_that_hears_nothing_is_killed_and_named(submitit, folder):
    process = started(folder, "submitit_local", "word=deaf")
    until(lambda: (folder / "deaf").exists() and heard_of(folder, "deaf"))
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate(timeout=60)
    told = f"terminated while deaf: {interrupts.AGAIN}; from the last checkpoint, for want of time: deaf"
    assert error.splitlines()[1:] == [told]
    job = Path("/proc", (folder / "0.txt").read_text().strip())
    until(lambda: not job.exists())


def test_tasks_of_ray_are_told_before_they_are_killed(monkeypatch, tmp_path):
    said = []
    fake = types.SimpleNamespace(cancel=lambda task, force=False: said.append((task, force)), shutdown=None)
    monkeypatch.setitem(sys.modules, "ray", fake)
    monkeypatch.setattr(queues, "LAST", 0.1)
    jobs = [Submitted(Piece([i], tmp_path, tmp_path / f"{i}.jsonl"), (i, None), Tally(tmp_path)) for i in range(2)]
    jobs[1].piece.process.write_text("1")  # at work
    ray_tasks.Ray({"init": {}, "remote": {}}, None)._end(jobs, tmp_path)
    assert said == [(0, False), (1, False), (1, True)]


def heard_of(folder: Path, name: str) -> bool:
    """Whether the command knows that a cell is at work."""
    return any(f'"{name}"' in path.read_text() for path in (folder / "sweep").glob("outcomes*.jsonl"))


def until(holds: Callable[[], Any]) -> None:
    for _ in range(300):
        if holds():
            return
        time.sleep(0.1)
    raise AssertionError("it did not come to that")


def test_a_parameter_that_submitit_has_not_is_named(submitit, tmp_path):
    launcher = queues.SubmititLocal(**LOCAL | {"submitit_folder": str(tmp_path / "%j"), "signal_delay_s": 35})
    with pytest.raises(BenchError, match="^hydra/launcher=submitit_local: .* 'signal_delay_s' for executor 'local'"):
        launcher.submit([queues.Piece([0], tmp_path, tmp_path / "0.jsonl")])


@pytest.mark.parametrize(
    "kind, own, named",
    [
        (queues.SubmititLocal, {"tasks_per_node": 2}, ["tasks_per_node=2"]),
        (queues.SubmititSlurm, {"nodes": 2, "tasks_per_node": 4}, ["nodes=2", "tasks_per_node=4"]),
        (queues.SubmititSlurm, {"ntasks_per_node": 2, "nodes": 1}, ["ntasks_per_node=2"]),
        (queues.SubmititSlurm, {"additional_parameters": {"ntasks-per-node": 2, "mail-type": "END", "array": "0-3"}},
         ["additional_parameters.ntasks-per-node=2", "additional_parameters.array=0-3"]),
        (queues.SubmititSlurm, {"srun_args": ["-n2", "--nodes=3", "--ntasks=1", "--mpi=none"]},
         ["srun_args=-n2", "srun_args=--nodes=3"]),
    ],
)  # fmt: skip
def test_options_that_would_run_a_cell_twice_are_refused(kind, own, named, tmp_path):
    """In one message, before anything is submitted."""
    with pytest.raises(BenchError) as error:
        kind(**LOCAL | own).setup(hydra_context=None, task_function=None, config=None)
    first, _, advice = str(error.value).partition(": ")
    assert first == ", ".join(f"hydra.launcher.{one}" for one in named)
    assert "cells_per_job" in advice


def test_options_that_would_run_a_task_of_ray_twice_are_refused():
    launcher = ray_tasks.Ray({"init": {"address": None}, "remote": {"num_cpus": 1, "max_retries": 3}}, None)
    with pytest.raises(BenchError, match="^hydra.launcher.ray.remote.max_retries=3: "):
        launcher.setup(hydra_context=None, task_function=None, config=None)


def test_an_option_that_another_launcher_has_is_named_with_it(submitit, folder):
    done = sweep(folder, "submitit_local", "word=fine", "+hydra.launcher.array_parallelism=3")
    assert done.returncode == 1
    message = "hydra/launcher=submitit_local has no array_parallelism: choose hydra/launcher=submitit_slurm"
    assert message in done.stderr.splitlines()[-1]
    assert not (folder / "sweep").exists()


def test_what_slurm_is_asked_for(submitit, folder):
    """As sbatch reads it; then it takes no job."""
    refuses = 'for script; do :; done; cp "$script" "$FAKE/script"; echo "sbatch: error: no partition" >&2; exit 1'
    slurm(folder, sbatch=refuses)
    own = ["hydra.launcher.partition=short", "hydra.launcher.timeout_min=90", "hydra.launcher.array_parallelism=3"]
    done = sweep(folder, "submitit_slurm", "word=1,2,3,4,5", *own)
    said = (
        "hydra/launcher=submitit_slurm: SLURM took no jobs (sbatch: error: no partition): see hydra.launcher.partition"
    )
    assert done.returncode == 1 and said in done.stderr
    script = (folder / "bin/script").read_text().splitlines()
    flags = dict(line.removeprefix("#SBATCH --").split("=", 1) for line in script if line.startswith("#SBATCH --"))
    wanted = {"array": "0-4%3", "partition": "short", "time": "90", "cpus-per-task": "1", "signal": "USR2@120"}
    assert {key: flags[key] for key in wanted} == wanted
    assert "export OMP_NUM_THREADS=1" in script


LOCAL = {"cells_per_job": None, "submitit_folder": "jobs/%j", "timeout_min": 60}


@pytest.mark.parametrize(
    "kind, own, message",
    [
        (queues.SubmititLocal, {"n_jobs": 0}, "hydra.launcher.n_jobs=0 must be 1 or more"),
        (queues.SubmititLocal, {"cells_per_job": 0}, "hydra.launcher.cells_per_job=0 must be 1 or more"),
        (queues.SubmititSlurm, {"timeout_min": 0}, "hydra.launcher.timeout_min=0 must be 1 or more"),
        (
            queues.SubmititSlurm,
            {},
            r"there is no SLURM here \(no sbatch, srun, .*\): .* or use hydra/launcher=processes",
        ),
    ],
)
def test_a_queue_that_cannot(kind, own, message, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BenchError, match=message):
        kind(**{**LOCAL, **own}).setup(hydra_context=None, task_function=None, config=None)


def test_a_ray_cluster_that_does_not_answer():
    with socket.socket() as taken:  # a port where nobody listens
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        launcher = ray_tasks.Ray({"init": {"address": address}, "remote": {}}, None)
        with pytest.raises(BenchError, match=f"no Ray at hydra.launcher.ray.init.address={address} .*refused.*: null"):
            launcher.setup(hydra_context=None, task_function=None, config=None)


def test_cells_are_divided_among_few_jobs():
    def sizes(launcher: queues.Queue, cells: int) -> list[int]:
        launcher.overrides = {number: [] for number in range(cells)}
        pieces = launcher.pieces()
        assert sum(pieces, []) == list(range(cells))
        return [len(piece) for piece in pieces]

    assert sizes(queues.SubmititLocal(**LOCAL, n_jobs=2), 16) == [1] * 16
    assert sizes(queues.SubmititLocal(**LOCAL, n_jobs=2), 33) == [3] * 11
    assert sizes(queues.SubmititSlurm(**LOCAL), 10_000) == [10] * 1000
    assert sizes(queues.SubmititSlurm(**LOCAL | {"cells_per_job": 4}), 10) == [4, 4, 2]


def test_a_scribbled_entry_costs_no_more_than_itself(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Tally, "current", None)
    monkeypatch.setenv("IMBALANCE_BENCH_TALLY", "")
    Tally.start(tmp_path, 2, "status.py")
    entries = tmp_path / "0.jsonl"
    whole = {"job": 1, "status": "done", "seconds": 1.0, "failed": False, "unrecorded": "", "line": "focal: done"}
    entries.write_text(f'{{"job": 0, "status": "done"}}\n[1]\nnot JSON\n{json.dumps(whole)}\n{{"job": 0, "na')
    launcher = queues.SubmititLocal(**LOCAL)
    launcher.left, launcher.config = {0, 1}, {}
    launcher._relay(queues.Submitted(queues.Piece([0, 1], tmp_path, entries), None, Tally(entries)))
    assert capsys.readouterr().out.endswith("] focal: done\n")
    assert launcher.left == {0}


def test_cells_of_a_job_that_could_write_nothing_are_named_with_the_reason(tmp_path, monkeypatch, capsys):
    """The disk is full: its entries and its log are empty."""
    monkeypatch.setattr(Tally, "current", None)
    monkeypatch.setenv("IMBALANCE_BENCH_TALLY", "")
    launcher = queues.SubmititLocal(**LOCAL)
    launcher.left, launcher.config = {0, 1}, {}
    launcher.overrides = {0: ["method=focal", "seed=1"], 1: ["method=focal", "seed=2"]}
    Tally.start(tmp_path, 2, "status.py", differing=["seed"])
    groups = {"dataset": {"label": "wine"}, "ratio": {"label": "native"}, "method": {"label": "focal"}}
    monkeypatch.setattr(launcher, "composed", lambda number: OmegaConf.create(groups))
    log = tmp_path / "0.err"
    log.touch()
    assert queues.last_line(log) == f"it said nothing (log: {log})"

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    job = queues.Submitted(queues.Piece([0, 1], tmp_path, tmp_path / "0.jsonl"), None, Tally(tmp_path / "0.jsonl"))
    assert launcher._leaves(job, f"7 ended (finished): {queues.last_line(log)}") == []
    first, second = capsys.readouterr().err.splitlines()
    why = f"failed: its job 7 ended (finished): the disk is full (log: {log})"
    assert first == f"[1/2] focal wine native seed=1: {why}"
    assert second == f"[2/2] focal wine native seed=2: {why}"
