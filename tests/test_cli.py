"""scripts/train.py and status.py as a user meets them: messages, exit status, progress, sweeps that are killed."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from imbalance_bench.store import Store

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"
QUICK = ["trainer.epochs=2", "protocol.folds=2", "device=cpu"]
# Six cells, so that a kill after the first falls into the middle.
SWEEP = ["-m", *QUICK, "method=cross_entropy,smote,focal", "dataset=breast_cancer,wine"]


def command(script: str, *arguments: str) -> list[str]:
    return [sys.executable, str(SCRIPTS / script), *arguments]


def call(folder: Path, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs a script in ``folder``, where its outputs go."""
    done = subprocess.run(command(script, *arguments), cwd=folder, capture_output=True, text=True, timeout=300)
    assert "Traceback" not in done.stdout + done.stderr
    return done


def finished(folder: Path) -> dict[str, bytes]:
    """Every finished cell by its place, with its metrics."""
    cells = [c for c in Store(folder / "outputs").cells() if c.record() is not None]
    return {str(c.path.relative_to(folder)): (c.path / "metrics.csv").read_bytes() for c in cells}


# One message


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["method=smotte"], "error: unknown method=smotte: did you mean smote, "),
        (["-m", "dataset=wine,brest_cancer"], "error: unknown dataset=brest_cancer: did you mean breast_cancer, "),
        (["ratio=ir_5"], "error: unknown ratio=ir_5: did you mean ir_50"),
        (["+paper=explicit_gradient/tabel2"], "error: unknown paper=explicit_gradient/tabel2: did you mean "),
        (["trainer.epoch=3"], "error: unknown key trainer.epoch: did you mean epochs, "),
        (["method=focal", "method.gama=1"], "error: unknown key method.gama: did you mean gamma"),
        (["outputs=here"], "error: unknown key outputs: "),
        (["trainer.epochs=[1"], "error: "),
    ],
)
def test_a_mistyped_override_is_one_message_with_the_nearest_names(tmp_path, arguments, message):
    done = call(tmp_path, "train.py", *arguments)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith(message), done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_value_of_the_wrong_type_is_one_message(tmp_path):
    done = call(tmp_path, "train.py", *QUICK, "method=focal", "method.gamma=high")
    assert done.returncode == 1
    assert done.stderr.strip() == "focal breast_cancer native: failed: method.gamma='high' must be float, not str"


def test_an_outputs_folder_that_is_a_file_is_one_message(tmp_path):
    (tmp_path / "outputs").write_text("mine")
    for arguments in (QUICK, ["-m", *QUICK, "seed=1,2"]):
        done = call(tmp_path, "train.py", *arguments)
        assert done.returncode == 1
        assert "set paths.outputs=<another folder>" in done.stderr
    assert (tmp_path / "outputs").read_text() == "mine"


@pytest.mark.parametrize("script, arguments", [("train.py", ["--help"]), ("status.py", [])])
def test_looking_costs_no_torch(tmp_path, script, arguments):
    watch = (
        "import runpy, sys; path = sys.argv[1]; sys.argv = sys.argv[1:]\n"
        "try: runpy.run_path(path, run_name='__main__')\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'sklearn', 'imblearn', 'pandas', 'matplotlib'} & set(sys.modules)\n"
        "print('heavy:', sorted(heavy))"
    )
    done = subprocess.run(
        [sys.executable, "-c", watch, str(SCRIPTS / script), *arguments], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1] == "heavy: []", done.stderr
    if script == "train.py":
        for group in ("method:", "dataset:", "ratio:", "protocol:", "backbone:", "trainer:", "tracker:"):
            assert f"\n{group}" in done.stdout
        assert "explicit_gradient_retrain" in done.stdout


# Sweeps


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    folder = tmp_path_factory.mktemp("unbroken")
    return folder, call(folder, "train.py", *SWEEP)


def test_a_sweep_shows_progress_and_ends_with_a_summary(unbroken):
    folder, done = unbroken
    assert done.returncode == 0
    assert done.stderr == ""
    *jobs, summary = done.stdout.splitlines()
    assert len(jobs) == 6
    for i, line in enumerate(jobs, 1):
        left = r", \d+:\d\d left" if i < 6 else ""
        name, figures = r"(cross_entropy|smote|focal) (breast_cancer|wine) native", r"auc_pr 0\.\d+ ± 0\.\d+"
        assert re.fullmatch(rf"\[{i}/6{left}\] {name}: {figures}  2 runs in [\d.]+ s, .*", line), line
    assert re.fullmatch(r"6 of 6 cells: 6 done, 0 skipped \(done before\), 0 failed; \d+:\d\d", summary)
    assert len(finished(folder)) == 6
    assert sorted(p.name for p in folder.iterdir()) == ["outputs"]


def test_a_killed_sweep_goes_on_where_it_was_and_ends_as_an_unbroken_one(tmp_path, unbroken):
    process = subprocess.Popen(
        command("train.py", *SWEEP), cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 240
    while not list(tmp_path.glob("outputs/runs/**/record.json")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()

    before = finished(tmp_path)
    assert 1 <= len(before) < 6
    for cell in Store(tmp_path / "outputs").cells():
        if cell.record() is None:
            assert cell.state() == "started"  # its lock went with its process
    stamps = {p: p.stat().st_mtime_ns for place in before for p in (tmp_path / place).iterdir()}

    done = call(tmp_path, "train.py", *SWEEP)
    assert done.returncode == 0
    assert done.stdout.count("(done before: ") == len(before)
    assert f"{6 - len(before)} done, {len(before)} skipped (done before), 0 failed" in done.stdout.splitlines()[-1]
    assert {p: p.stat().st_mtime_ns for p in stamps if p.name != ".lock"} == {
        p: stamp for p, stamp in stamps.items() if p.name != ".lock"
    }
    assert finished(tmp_path) == finished(unbroken[0])


def test_a_cell_that_fails_does_not_stop_the_others_and_status_says_why(tmp_path):
    """breast_cancer at 200:1 has one malignant row left."""
    sweep = ["-m", *QUICK, "ratio=ir_200,native", "method=cross_entropy,focal"]
    done = call(tmp_path, "train.py", *sweep)
    assert done.returncode == 1
    assert re.findall(r"^\[(\d)/4.*(native): auc_pr", done.stdout, re.M) == [("3", "native"), ("4", "native")]
    assert re.findall(r"^\[(\d)/4.*(ir_200): failed: .*choose a lower ratio", done.stderr, re.M) == [
        ("1", "ir_200"),
        ("2", "ir_200"),
    ]
    assert done.stdout.splitlines()[-1].startswith("4 of 4 cells: 2 done, 0 skipped (done before), 2 failed; ")
    assert done.stdout.splitlines()[-1].endswith("python scripts/status.py shows why")

    status = call(tmp_path, "status.py")
    assert status.returncode == 1
    lines = status.stdout.splitlines()
    assert len(lines) == 5
    assert re.fullmatch(r"failed    breast_cancer/ir_200/mlp/cross_entropy/[0-9a-f]{12}", lines[0])
    assert re.fullmatch(r" +.*choose a lower ratio.*", lines[1])
    assert lines[-1] == "2 done, 2 failed; collapsed runs in 2 (--all lists them)"

    stopped = call(tmp_path, "train.py", *sweep, "on_error=stop")
    assert stopped.returncode == 1
    assert stopped.stderr.count("failed: ") == 1
    assert "native" not in stopped.stdout


def test_status_without_cells_and_with_a_process_at_work(tmp_path):
    empty = call(tmp_path, "status.py")
    assert (empty.returncode, empty.stdout.strip()) == (0, "no cells yet: run scripts/train.py")
    labels = {"dataset": "oil", "ratio": "native", "backbone": "mlp", "method": "smote"}
    cell = Store(tmp_path / "outputs").cell(labels, "0123456789ab")
    with cell.lock():
        busy = call(tmp_path, "status.py")
        assert (busy.returncode, busy.stdout.splitlines()) == (
            0,
            ["running   oil/native/mlp/smote/0123456789ab", "1 running"],
        )
    left = call(tmp_path, "status.py")
    assert (left.returncode, left.stdout.splitlines()[-1]) == (1, "1 started")
    (cell.path / "record.json").write_text("{")
    damaged = call(tmp_path, "status.py")
    assert (damaged.returncode, damaged.stdout.splitlines()[-1]) == (1, "1 damaged")
    assert "delete its folder and run again" in damaged.stdout
