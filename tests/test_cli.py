"""scripts/train.py and status.py as a user meets them: messages, exit status, progress, sweeps that are killed."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from imbalance_bench.errors import BenchError
from imbalance_bench.settings.conf_files import ConfFiles, hydra_started
from imbalance_bench.settings.config import from_omegaconf
from imbalance_bench.store import Store
from tests.cells import composed
from tests.commands import shared

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"
QUICK = ["trainer.epochs=2", "protocol.folds=2", "device=cpu"]
# Six cells, so that a kill after the first falls into the middle.
SWEEP = ["-m", *QUICK, "method=cross_entropy,smote,focal", "dataset=breast_cancer,wine"]


def call(folder: Path, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs a script in ``folder``, where its outputs go."""
    done = shared().call(folder, [str(SCRIPTS / script), *arguments])
    assert "Traceback" not in done.stdout + done.stderr
    return done


def failures(done: subprocess.CompletedProcess[str]) -> list[str]:
    """What was printed to stderr, without the line of each data set that says what was read."""
    return [line for line in done.stderr.splitlines() if not re.match(r"\w+: \d+ rows: ", line)]


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
        (["+paper=miso/claims"], "error: +paper=miso/claims is not a grid of cells: name a table or a figure "),
        (["+paper=explicit_gradient/tabel2"], "error: unknown paper=explicit_gradient/tabel2: did you mean "),
        (["trainer.epoch=3"], "error: unknown key trainer.epoch: did you mean epochs, "),
        (["method=focal", "method.gama=1"], "error: unknown key method.gama: did you mean gamma"),
        (["outputs=here"], "error: unknown key outputs: "),
        (["trainer.epochs=[1"], "error: "),
        (["dataset.target=größe"], "error: LexerNoViableAltException: dataset.target=größe"),
        (["dataset.path=x"], "error: unknown key dataset.path: dataset=breast_cancer has none; add dataset=<option>, "),
        (["-m", "method=glob(smotte*)"], "error: method=glob(smotte*) matches no option of method: did you mean smote"),
        (["-m", "method=focal,smote", "method.gamma=1,2"], "error: unknown key method.gamma: method=smote has none; "),
        (["-m", "hydra/launcher=proceses"], "error: unknown hydra/launcher=proceses: did you mean processes?"),
        pytest.param(
            ["-m", "hydra/launcher=ray"],
            "error: hydra/launcher=ray is a plug-in that is not installed: pip install -c constraints.txt -e '.[ray]'",
            marks=pytest.mark.skipif(find_spec("ray") is not None, reason="Ray is installed"),
        ),
        (["-m", "hydra.launcher.n_jobs=2"], "error: hydra/launcher=basic has no n_jobs: add hydra/launcher=processes"),
        (["-m", "+hydra.launcher.n_jobs=2"], "error: hydra/launcher=basic has no n_jobs: add hydra/launcher=processes"),
        (
            ["-m", "hydra/launcher=processes", "hydra.launcher.slots_per_gpu=3"],
            "error: hydra/launcher=processes has no slots_per_gpu: choose hydra/launcher=gpu",
        ),
        (
            ["-m", "hydra/launcher=processes", "hydra.launcher.n_job=3"],
            "error: unknown key hydra.launcher.n_job: did you mean n_jobs?",
        ),
        (["-m", "hydra.sweep.dri=3"], "error: unknown key hydra.sweep.dri: did you mean dir"),
        (
            ["-m", "hydra/launcher=processes", "hydra.launcher.n_jobs=abc"],
            "error: hydra.launcher.n_jobs=abc must be a whole number\n",
        ),
        (
            ["-m", "hydra/launcher=processes", "hydra.launcher.n_jobs=2.5"],
            "error: hydra.launcher.n_jobs=2.5 must be a whole number\n",
        ),
        (["-m", "method=focal,smote", "on_error=foo"], "error: on_error='foo' must be one of continue, stop\n"),
        (
            ["-m", "method=focal,smote", "checkpoint_minutes=-1"],
            "error: checkpoint_minutes=-1 must be a number, at least 0 (between",
        ),
        (["-m", "--cfg", "job"], "error: --multirun and --cfg do not go together: "),
        (["-m", "--info", "defaults"], "error: --multirun and --info do not go together: "),
        (["--multirun", "--run"], "error: --run and --multirun do not go together: "),
        (["-c", "job", "-i", "all"], "error: --cfg and --info do not go together: "),
        (["-m", "-sc", "install=bash"], "error: --multirun and --shell-completion do not go together: "),
        (["-sc"], "error: --shell-completion needs one of install=, uninstall=, query= with bash, fish or zsh"),
        (["-sc", "install=cmd"], "error: --shell-completion needs one of install=, uninstall=, query= with bash, fish"),
        (["--resolve"], "error: --resolve applies to --cfg only: add --cfg job, or leave it out"),
        (["-m", "--resolve"], "error: --resolve applies to --cfg only: add --cfg job, or leave it out"),
        (["--package", "trainer"], "error: --package applies to --cfg only: add --cfg job, or leave it out"),
        (
            ["--experimental-rerun", "x.pickle"],
            "error: --experimental-rerun reads a pickle, and there is none: -cp <folder of a cell> -cn config runs it",
        ),
    ],
)
def test_a_mistyped_override_is_one_message_with_the_nearest_names(tmp_path, arguments, message):
    done = call(tmp_path, "train.py", *arguments)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith(message), done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments, shown",
    [
        (["--cfg", "job", "--package", "method", "method=focal"], "gamma: 2"),
        (["--cfg", "job", "--resolve", "method=focal"], "gamma: 2"),
        (["--info", "defaults", "method=focal"], "method/focal"),
        (["-m", "--help", "method=focal"], "method.gamma=2"),
        (["-m", "--hydra-help", "method=focal"], "--multirun"),
        (["--hydra-help"], "--multirun"),
        (["-m", "--version"], "Hydra 1."),
        (["-sc", "install=bash"], "complete"),
    ],
)
def test_what_hydras_flags_show_is_shown(tmp_path, arguments, shown):
    done = call(tmp_path, "train.py", *arguments)
    assert (done.returncode, done.stderr) == (0, "") and shown in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "override, quoted",
    [
        ("dataset.target=gekündigt", "'dataset.target=\"gekündigt\"'"),
        ("dataset.drop=[id,größe]", '\'dataset.drop=["id","größe"]\''),
        ("dataset.path=a (1) b.csv", "'dataset.path=\"a (1) b.csv\"'"),
        ("trainer.epochs=[1", None),
        ("trainer.epochs", None),
        ("dataset.path=it's ü", None),
    ],
)
def test_a_name_that_is_beyond_the_grammar_is_told_with_its_quotes(override, quoted):
    """As the advice is typed, the override has the value that was meant."""
    with hydra_started() as loader:
        files = ConfFiles(loader)
    with pytest.raises(BenchError) as error, files.explained():
        files.parsed([override])
    advice = str(error.value).partition("keep it as it stands: ")[2]
    assert advice == (quoted or "")
    if quoted:
        (parsed,) = files.parsed(shlex.split(advice))
        meant = override.partition("=")[2]
        assert parsed.value() == (meant[1:-1].split(",") if meant.startswith("[") else meant)


def test_a_value_of_the_wrong_type_is_one_message(tmp_path):
    done = call(tmp_path, "train.py", *QUICK, "method=focal", "method.gamma=high")
    assert done.returncode == 1
    assert done.stderr.strip() == "focal breast_cancer native: failed: method.gamma='high' must be a number, at least 0"


def test_what_no_file_of_conf_can_know_is_said_before_anything_is_trained(tmp_path):
    for arguments, message in (
        (["~tracker"], "no tracker was chosen: add tracker=none"),
        (["plugins=my_method"], "plugins=my_method must be a list of modules: 'plugins=[my_method]'"),
    ):
        config = composed(*arguments)
        with pytest.raises(BenchError, match=re.escape(message)):
            from_omegaconf(config)


def test_an_outputs_folder_that_is_a_file_is_one_message(tmp_path):
    (tmp_path / "outputs").write_text("mine")
    for arguments in (QUICK, ["-m", *QUICK, "seed=1,2"]):
        done = call(tmp_path, "train.py", *arguments)
        assert done.returncode == 1
        assert "set paths.outputs=<another folder>" in done.stderr
    assert (tmp_path / "outputs").read_text() == "mine"


def test_a_saved_configuration_runs_again_by_its_relative_path(tmp_path):
    """One cell, a sweep, from another folder; what it cannot do is one message."""
    (tmp_path / "mine.csv").write_text("\n".join(["a,b,y", *(f"{i},{i % 7},{i % 3 % 2}" for i in range(60))]))
    own = ["dataset=csv", "dataset.path=mine.csv", "dataset.target=y"]
    wrong = call(tmp_path, "train.py", *QUICK, *own, "dataset.label=2024")
    assert wrong.returncode == 1 and "dataset.label=2024 is read as int, and a label is text" in wrong.stderr
    assert not (tmp_path / "outputs").exists()
    assert call(tmp_path, "train.py", *QUICK, *own, "dataset.label='2024'").returncode == 0
    (place,) = Store(tmp_path / "outputs").cells()
    folder = place.path.relative_to(tmp_path)
    (tmp_path / "below").mkdir()
    again = call(tmp_path / "below", "train.py", "-cp", f"../{folder}", "-cn", "config")
    assert "done before" in again.stdout
    swept = call(tmp_path, "train.py", "-m", "-cp", str(folder), "-cn", "config", "seed=1,2")
    assert swept.stdout.splitlines()[-1].startswith("2 of 2 cells: 2 done")
    for arguments, message in (
        (["-cp", str(folder), "-cn", "config", "method=focal"], "method=focal is not an option here"),
        (["-cp", "outputs/nowhere", "-cn", "config"], f"there is no folder {tmp_path / 'outputs/nowhere'}"),
    ):
        refused = call(tmp_path, "train.py", *arguments)
        assert refused.returncode == 1 and message in refused.stderr
    (place.path / "config.yaml").write_text("dataset: {")
    status = call(tmp_path, "status.py")
    assert status.returncode == 1 and "config.yaml is damaged" in status.stdout
    cut = call(tmp_path, "train.py", "-cp", str(folder), "-cn", "config")
    assert cut.returncode == 1 and "a file of the configuration is not YAML" in cut.stderr


@pytest.mark.parametrize("script, arguments", [("train.py", ["--help"]), ("status.py", []), ("predict.py", ["--help"])])
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
        assert "\nmethod/explicit_gradient: eq1, eta2_0, retrain" in done.stdout


# Sweeps


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    folder = tmp_path_factory.mktemp("unbroken")
    return folder, call(folder, "train.py", *SWEEP)


def test_a_sweep_shows_progress_and_ends_with_a_summary(unbroken):
    folder, done = unbroken
    assert done.returncode == 0
    assert [line.partition(" rows: ")[0] for line in done.stderr.splitlines()] == ["breast_cancer: 569", "wine: 178"]
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
    def kill(pid: int) -> None:
        deadline = time.monotonic() + 240
        while not list(tmp_path.glob("outputs/runs/**/record.json")) and time.monotonic() < deadline:
            time.sleep(0.005)
        os.kill(pid, signal.SIGKILL)

    assert shared().call(tmp_path, [str(SCRIPTS / "train.py"), *SWEEP], meanwhile=kill).returncode == -signal.SIGKILL
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
    assert done.stdout.splitlines()[-1].endswith("python -m imbalance_bench status shows why")

    status = call(tmp_path, "status.py")
    assert status.returncode == 1
    lines = status.stdout.splitlines()
    assert len(lines) == 6
    assert re.fullmatch(r"failed    breast_cancer/ir_200/mlp/cross_entropy/[0-9a-f]{12}", lines[0])
    assert re.fullmatch(r" +.*choose a lower ratio.*", lines[1])
    assert lines[-2] == "2 done, 2 failed; few classes predicted in 2 (--all lists them)"
    assert lines[-1].endswith("`python -m imbalance_bench status --forget` removes what failed cells left")

    stopped = call(tmp_path, "train.py", *sweep, "on_error=stop")
    assert stopped.returncode == 1
    assert stopped.stderr.count("failed: ") == 1
    assert "native:" not in stopped.stdout
    assert stopped.stdout.startswith("1 of 4 cells: 0 done, 0 skipped (done before), 1 failed; ")


def test_status_without_cells_and_with_a_process_at_work(tmp_path):
    empty = call(tmp_path, "status.py")
    assert (empty.returncode, empty.stdout.strip()) == (0, "no cells yet: run python -m imbalance_bench train")
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


# Signals, processes that die, folders elsewhere

OWN = """
import os, signal, time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from imbalance_bench.methods.base import Method
from imbalance_bench.registry import METHODS


@METHODS.register("own")
@dataclass(frozen=True)
class Own(Method):
    what: str

    def resample(self, task, rows):
        Path(f"began_{self.what}").touch()
        if self.what == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.what == "waits":
            time.sleep(60)
        if self.what == "loses":
            raise RuntimeError("CUDA error: device-side assert triggered")
        return rows[:, 0] + self.what
"""


@pytest.fixture
def own(tmp_path):
    """A folder with a method of its own, for the options after which its name stands."""
    (tmp_path / "my_method.py").write_text(OWN)
    (tmp_path / "my_conf/method").mkdir(parents=True)
    for what in ("dies", "waits", "fails", "loses"):
        (tmp_path / f"my_conf/method/{what}.yaml").write_text(f"{{name: own, label: {what}, what: {what}}}")
    return tmp_path


def stopped(folder: Path, number: signal.Signals, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs train.py until its first cell waits, and sends it a signal."""

    def send(pid: int) -> None:
        deadline = time.monotonic() + 120
        while not (folder / "began_waits").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        os.kill(pid, number)

    own = [*arguments, "plugins=[my_method]", "--config-dir", "my_conf"]
    return shared().call(folder, [str(SCRIPTS / "train.py"), *own], meanwhile=send)


@pytest.mark.parametrize(
    "number, status, launcher",
    [
        (signal.SIGINT, 130, "basic"),
        (signal.SIGTERM, 143, "processes"),
        (signal.SIGHUP, 129, "basic"),
        pytest.param(signal.SIGINT, 130, "together", marks=pytest.mark.slow),
    ],
)
def test_a_signal_ends_a_sweep_with_one_line(own, number, status, launcher):
    sweep = ["-m", *QUICK, "method=waits,focal", f"hydra/launcher={launcher}", "hydra.launcher.n_jobs=1"]
    done = stopped(own, number, *(sweep[:-1] if launcher == "basic" else sweep))
    word = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated", signal.SIGHUP: "hung up"}[number]
    told = [line.removesuffix("; this cell from its start") for line in failures(done)]  # one of two seconds and more
    assert (done.returncode, done.stdout, told) == (
        status,
        "",
        [
            f"{word} while training waits breast_cancer native: the same command goes on from there (finished cells "
            "are skipped)"
        ],
    )
    assert not Store(own / "outputs").cells()[0].locked()  # nobody works on it any more


def test_a_command_that_is_told_to_end_does_not_take_its_modules_apart(tmp_path):
    """Which takes seconds with torch among them. What was printed and what was registered to be done at the end is."""
    (tmp_path / "heavy.py").write_text("class Slow:\n    def __del__(self):\n        print('apart')\n\nslow = Slow()\n")
    code = (
        "import atexit, os, signal, imbalance_bench.terminal.interrupts as i; i.install(); import heavy\n"
        "atexit.register(print, 'at exit')\n{}"
    )
    for end, status, said in (("", 0, "at exit\napart\n"), ("os.kill(os.getpid(), signal.SIGTERM)", 143, "at exit\n")):
        done = subprocess.run([sys.executable, "-c", code.format(end)], cwd=tmp_path, capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (status, said)


@pytest.mark.parametrize("script", ["report", "collect", "status", "data", "rescore", "bench"])
def test_every_script_says_that_it_was_interrupted(tmp_path, script):
    interrupted = (
        "import runpy, signal, sys, os, builtins\n"
        "import imbalance_bench.terminal.interrupts as i; install = i.install\n"
        "def then(*a): install(*a); os.kill(os.getpid(), signal.SIGINT)\n"
        "i.install = then; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", interrupted, str(SCRIPTS / f"{script}.py")], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "interrupted: start it again with the same command\n"


def test_a_sweep_goes_on_without_a_worker_that_was_killed(own):
    """Its tally stands in one place wherever each job's folder lies, and no job leaves the folder of the command."""
    done = call(
        own,
        *("train.py", "-m", *QUICK, "method=dies,fails,cross_entropy,focal", "plugins=[my_method]"),
        *("hydra/launcher=processes", "hydra.launcher.n_jobs=1", "hydra.job.chdir=true"),
        *("hydra.sweep.dir=elsewhere/${method.label}", "--config-dir", "my_conf", "dataset=breast_cancer"),
    )
    assert done.returncode == 1
    died, failed = failures(done)
    assert died.startswith("[1/4] dies breast_cancer native: failed: its process was killed (SIGKILL); for lack of")
    assert failed.startswith("[2/4] fails breast_cancer native: failed: TypeError: ")
    assert re.search(r" \(in your own code: .*/my_method.py, line \d+, in resample\)$", failed)
    third, fourth, summary, unrecorded = done.stdout.splitlines()
    assert third.startswith("[3/4, ") and fourth.startswith("[4/4] focal")
    assert summary.startswith("4 of 4 cells: 2 done, 0 skipped (done before), 2 failed; ")
    assert summary.endswith("; python -m imbalance_bench status shows why")
    assert unrecorded == f"  {died.removeprefix('[1/4] ')}"
    assert len(finished(own)) == 2


@pytest.mark.slow
def test_cells_are_trained_together_and_fail_alone(own):
    """The first process is killed by one of them; a program of those that are left goes on, one by one."""
    sweep = ["-m", *QUICK, "plugins=[my_method]", "--config-dir", "my_conf", "hydra/launcher=together"]
    first = call(own, "train.py", *sweep, "method=cross_entropy,fails,mixup,focal")
    assert first.returncode == 1
    runs_alone, failed = failures(first)
    assert runs_alone == "runs alone: method=mixup has a training of its own"
    assert "fails breast_cancer native: failed: TypeError: " in failed
    *lines, summary = first.stdout.splitlines()
    assert [line.partition("] ")[2].split()[0] for line in lines] == ["cross_entropy", "focal", "mixup"]
    assert summary.startswith("4 of 4 cells: 3 done, 0 skipped (done before), 1 failed; ")
    together = {r["labels"]["method"]: r["cells_together"] for r in Store(own / "outputs").records()}
    assert together == {"cross_entropy": 2, "focal": 2, "mixup": 1}
    second = call(own, "train.py", *sweep, "method=cross_entropy,class_weighted,dies,mixup")
    assert second.returncode == 1
    _, again, died = failures(second)
    assert again == "the process that trained 2 cells together was killed (SIGKILL): they are trained one by one"
    assert "dies breast_cancer native: failed: its process was killed (SIGKILL)" in died
    assert "4 of 4 cells: 1 done, 2 skipped (done before), 1 failed; " in second.stdout


def test_a_gpu_that_is_lost_ends_a_process_and_not_the_sweep_of_others(own):
    sweep = ["-m", *QUICK, "plugins=[my_method]", "--config-dir", "my_conf", "method=loses,cross_entropy"]
    first = call(own, "train.py", *sweep)
    failed, ends = failures(first)
    assert (first.returncode, "failed: RuntimeError: CUDA error: device-side assert" in failed) == (1, True)
    assert ends.startswith("error: this process can compute on its GPU no longer, and ends; the same command goes on")
    assert first.stdout.startswith("1 of 2 cells: 0 done, 0 skipped (done before), 1 failed; ")
    assert len(finished(own)) == 0
    second = call(own, "train.py", *sweep, "hydra/launcher=processes", "hydra.launcher.n_jobs=1")
    assert second.returncode == 1
    assert "2 of 2 cells: 1 done, 0 skipped (done before), 1 failed; " in second.stdout


@pytest.mark.parametrize("script", ["report.py", "collect.py", "status.py", "rescore.py", "data.py"])
def test_an_override_for_a_folder_is_told_which_option_it_is_here(tmp_path, script):
    key = "data" if script == "data.py" else "outputs"
    done = call(tmp_path, script, *(["list"] if script == "data.py" else []), f"paths.{key}=here")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"error: paths.{key}=here is for python -m imbalance_bench train; here it is --{key} here\n"
