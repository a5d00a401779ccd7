"""Checkpoints: what is kept, when it is written, what is done with one that cannot be gone on from, and cells that are
stopped and go on. Each method's own state is seen by ``test_checkpoints_contract.py``."""

from __future__ import annotations

import errno
import json
import logging
import os
import signal
import time

import numpy as np
import pytest
import torch
from safetensors.numpy import save

from imbalance_bench.cells import Work, run_cell
from imbalance_bench.cells.programs import run_cells
from imbalance_bench.errors import BenchError
from imbalance_bench.running import checkpoints, kept, progress
from imbalance_bench.running.checkpoints import ASIDE, LIST, NAME, Checkpoints, Loop, going_on, part
from imbalance_bench.store import CellFolder, Store
from imbalance_bench.store.files import atomic_write
from imbalance_bench.terminal import interrupts
from tests.cells import cell
from tests.commands import shared
from tests.test_cli import QUICK, SCRIPTS


class Walk:
    """Sums of numbers that are drawn."""

    kept = ("rng", "sums", "place")

    def __init__(self, seed=0):
        self.rng, self.sums, self.place = np.random.default_rng(seed), [], np.zeros(2)
        self.turns = 0

    def step(self):
        self.turns += 1
        self.place = self.place + self.rng.normal(size=2)
        self.sums.append(float(self.place.sum()))


def clock(*times):
    """A clock that shows these times in turn, and the last one from then on."""
    left = list(times)
    return lambda: left.pop(0) if len(left) > 1 else left[0]


class Killed(BaseException):
    pass


class Signalled(Walk):
    """Gets SIGTERM in its fourth turn."""

    def step(self):
        if self.turns == 3:
            interrupts.stop(signal.SIGTERM)
        super().step()


def walked(folder, walk, stop_at=None, minutes=1.0, of="this", now=None, write=atomic_write):
    """Walks of two loops, one in each turn of an outer one, which are ended at the ``stop_at``-th turn."""

    def work():
        for _ in Loop("outer", 2, walk):
            for _ in Loop("inner", 3, walk):
                if walk.turns == stop_at:
                    raise Killed
                walk.step()
        return walk.sums

    # Every look at the clock is a minute after the last one.
    ticking = iter(range(0, 10**6, 61))
    now = now or (lambda: float(next(ticking)))
    return going_on(Checkpoints(folder, minutes, lambda: {"code": of}, write, now), work)


# What is kept


def test_a_state_is_put_back_into_other_objects_bit_for_bit():
    class Thing:
        kept = ("numbers", "deep", "arrays", "module", "drawn", "half", "flags")

        def __init__(self, seed):
            torch.manual_seed(seed)
            self.numbers = [float(seed) / 3, -np.inf, None, True, "text"]
            self.deep = {3: [(1, 2.5)], "a": {"b": np.float32(seed)}}
            self.arrays = [np.arange(seed + 3), np.array(seed), np.ones((0, 4), np.float32)]
            self.module = torch.nn.Linear(2, 2)
            self.drawn = [torch.Generator().manual_seed(seed), np.random.default_rng(seed)]
            self.half = torch.randn(3, 2).to(torch.float64).T
            self.flags = torch.tensor([True, False])
            self.deep |= {"columns": self.half} if seed else {}

    old, new = Thing(5), Thing(0)
    weight, half = new.module.weight, new.half
    kept.put_back(kept.as_bytes([old]), [new])
    assert new.numbers == old.numbers and all(new.deep[key] == old.deep[key] for key in (3, "a"))
    assert all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(new.arrays, old.arrays, strict=True))
    assert new.module.weight is weight and torch.equal(weight, old.module.weight)
    assert new.half is half and torch.equal(half, old.half)
    assert not new.deep["columns"].is_contiguous() and torch.equal(new.deep["columns"], old.half)
    assert torch.equal(new.flags, old.flags)
    assert torch.equal(*(torch.rand(3, generator=thing.drawn[0]) for thing in (old, new)))
    assert old.drawn[1].integers(100) == new.drawn[1].integers(100)


def test_a_history_is_kept_as_numbers(tmp_path):
    """With its types, and a small part of the bytes."""

    class Thing:
        kept = ("history",)

        def __init__(self, rows):
            self.history = rows

    rows = [
        {"epoch": i, "loss": i / 3} | ({"valid_score": np.nan if i % 3 else -0.0} if i % 2 else {}) for i in range(99)
    ]
    content = kept.as_bytes([Thing(rows)])
    assert len(content) < 30 * len(rows)
    new = Thing([])
    known = new.history
    kept.put_back(content, [new])
    assert new.history is known and repr(new.history) == repr(rows)
    for odd in ({"epoch": 2**60}, {"epoch": True}, {3: 1.0}, {"word": "x"}, [1]):
        kept.put_back(kept.as_bytes([Thing([*rows, odd])]), [new])
        assert repr(new.history) == repr([*rows, odd])


@pytest.mark.parametrize("kind", ["each", "list", "other"])
def test_a_kind_of_state_that_is_none_is_refused(kind):
    content = save({}, {"state": json.dumps([{kind: [1]}])})
    with pytest.raises(ValueError, match=f"'{kind}' is no kind of state"):
        kept.put_back(content, [[0]])


def test_what_says_nothing_of_its_state_is_refused():
    with pytest.raises(TypeError, match="a object has nothing that says how it is kept"):
        kept.as_bytes([object()])


def test_outside_a_cell_a_loop_is_a_range():
    loop = Loop("any", 4)
    assert list(loop) == [0, 1, 2, 3]
    assert list(Loop("none", 0)) == []
    loop = Loop("any", 4)
    for turn in loop:
        if turn == 1:
            loop.stop()
    assert loop.done == 2


# Going on


@pytest.mark.parametrize("stop_at", [1, 2, 3, 4, 5])
def test_loops_go_on_where_they_stood(tmp_path, stop_at):
    unbroken = walked(tmp_path / "other", Walk())
    with pytest.raises(Killed):
        walked(tmp_path / NAME, Walk(), stop_at)
    walk = Walk()
    assert walked(tmp_path / NAME, walk) == unbroken
    assert walk.turns == 6 - stop_at


def test_what_is_short_writes_nothing(tmp_path):
    walked(tmp_path / NAME, Walk(), now=clock(0, checkpoints.WARM / 2), minutes=1e-9)
    assert not (tmp_path / NAME).exists()


def test_files_are_written_when_it_is_time_and_replace_each_other(tmp_path):
    def lists(minutes):
        written = []
        walked(tmp_path / NAME, Walk(), minutes=minutes, write=lambda path, _: written.append(path.name))
        return written.count(LIST)

    assert lists(0) == 0
    assert lists(1000) == 1  # before a cell is scored
    assert 1 < lists(3) < lists(1)
    with pytest.raises(Killed):
        walked(tmp_path / NAME, Walk(), 5)
    names = {entry["file"] for entry in json.loads((tmp_path / NAME / LIST).read_text())["entries"]}
    assert {path.name for path in (tmp_path / NAME).iterdir()} - {LIST} == names - {""}


@pytest.mark.parametrize("parts", [True, False])
def test_a_run_that_is_through_is_kept_at_once(tmp_path, parts):
    """Unless that takes longer than its share, or no checkpoints but at a signal are asked for."""

    def trained(folder, walk, minutes=100.0, stop_at=None, share=0.0):
        """How often a checkpoint was written. A step takes two seconds of the clock, a file ``share`` of a run."""
        seconds, lists = [0.0], []

        def step():
            if walk.turns == stop_at:
                raise Killed
            walk.step()
            seconds[0] += 2.0

        def work():
            if not parts:
                for _ in Loop("runs", 3, walk, settled=True, runs=True):
                    for _ in range(4):
                        step()
                return
            for run in range(3):
                with part(f"run {run + 1}"):
                    for _ in Loop("steps", 4, walk):
                        step()

        def write(path, content):
            seconds[0] += 8.0 * share / 2
            lists.extend([path] * (path.name == LIST))
            atomic_write(path, content)

        going_on(Checkpoints(folder, minutes, dict, write, lambda: seconds[0]), work)
        return len(lists)

    assert trained(tmp_path / "other", Walk()) == 3
    assert trained(tmp_path / "never", Walk(), minutes=0) == 0
    assert trained(tmp_path / "slow", Walk(), share=0.5) == 2
    with pytest.raises(Killed):
        trained(tmp_path / NAME, Walk(), stop_at=11)
    walk = Walk()
    trained(tmp_path / NAME, walk)
    assert walk.turns == 4


def test_a_part_that_fails_leaves_nothing(tmp_path):
    walk = Walk()

    def work():
        with pytest.raises(BenchError), part("too large"):
            for _ in Loop("steps", 3, walk):
                walk.step()
                raise BenchError("out of memory")
        with part("half"):
            for _ in Loop("steps", 2, walk):
                walk.step()
        return walk.sums

    assert len(going_on(Checkpoints(tmp_path / NAME, 0, dict, atomic_write, lambda: 0.0), work)) == 3


@pytest.mark.parametrize(
    "harm, said",
    [
        (lambda folder: (folder / LIST).write_text("{"), "is damaged"),
        (lambda folder: (folder / LIST).write_text('{"format": 99}'), "has format 99, and this code writes 1"),
        (lambda folder: (folder / LIST).write_text('{"format": 1}'), "is damaged ('of')"),
        (lambda folder: next(folder.glob("*.safetensors")).write_bytes(b"\0" * 99), "is not what was written"),
        (lambda folder: next(folder.glob("*.safetensors")).unlink(), "is damaged ([Errno 2]"),
        (None, "is one of other code"),
    ],
)
def test_one_that_cannot_be_gone_on_from_is_set_aside(tmp_path, harm, said, caplog):
    unbroken = walked(tmp_path / "other", Walk())
    with pytest.raises(Killed):
        walked(tmp_path / NAME, Walk(), 4)
    if harm is not None:
        harm(tmp_path / NAME)
    walk = Walk()
    with caplog.at_level(logging.WARNING):
        assert walked(tmp_path / NAME, walk, of="other" if harm is None else "this") == unbroken
    assert walk.turns == 6
    (record,) = caplog.records
    assert (
        said in record.getMessage() and f"set aside as {ASIDE}, and the cell trained from its start" in record.message
    )
    assert (tmp_path / ASIDE / LIST).exists()


def test_a_state_of_other_objects_is_set_aside_too(tmp_path, caplog):
    with pytest.raises(Killed):
        walked(tmp_path / NAME, Walk(), 4)

    class Other(Walk):
        kept = ("rng", "sums", "place")
        rng = property(lambda self: 1, lambda self, value: None)

    with caplog.at_level(logging.WARNING):
        walk = Other()
        walk.step = lambda: walk.sums.append(len(walk.sums))
        assert walked(tmp_path / NAME, walk) == list(range(6))
    assert "cannot be gone on from (outer#0: " in caplog.text


def test_a_disk_that_takes_no_checkpoint_costs_a_warning(tmp_path, caplog):
    def full(path, content):
        raise BenchError(f"cannot write {path}: the disk is full")

    unbroken = walked(tmp_path / "other", Walk())
    with caplog.at_level(logging.WARNING):
        assert walked(tmp_path / NAME, Walk(), write=full) == unbroken
    assert len(caplog.records) == 1 and "no checkpoint could be written: cannot write" in caplog.text
    assert not list((tmp_path / NAME).iterdir())


# Signals


@pytest.fixture
def handlers():
    """Those of signals, and no signal asked for, as before."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)}
    yield
    interrupts.asked = None
    interrupts.no_hurry()
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_signal_is_heeded_between_two_turns_with_all_that_was_done(tmp_path, handlers):
    unbroken = walked(tmp_path / "other", Walk())

    with pytest.raises(SystemExit, match="143"):
        walked(tmp_path / NAME, Signalled(), minutes=0)
    interrupts.asked = None
    walk = Walk()
    assert walked(tmp_path / NAME, walk) == unbroken
    assert walk.turns == 2


def test_a_signal_within_a_long_turn_keeps_the_turns_before(tmp_path, handlers):
    unbroken = walked(tmp_path / "other", Walk())

    class Signalled(Walk):
        def step(self):
            if self.turns == 3:
                raise SystemExit(143)  # as after ``interrupts.GRACE``
            super().step()

    walk = Signalled()
    with pytest.raises(SystemExit):
        walked(tmp_path / NAME, walk, minutes=0, now=lambda: 60.0 * walk.turns)
    walk = Walk()
    assert walked(tmp_path / NAME, walk) == unbroken
    assert walk.turns == 3


def test_a_signal_while_one_is_written_ends_nothing_until_it_is(tmp_path, handlers, monkeypatch, caplog):
    """One that was due: the write takes longer than a signal waits."""
    monkeypatch.setattr(interrupts, "GRACE", 0.05)
    unbroken = walked(tmp_path / "other", Walk())

    def slow(path, content):
        if interrupts.asked is None:
            interrupts.stop(signal.SIGTERM)
        time.sleep(0.1)
        atomic_write(path, content)

    walk = Walk()
    with pytest.raises(SystemExit, match="143"):
        walked(tmp_path / NAME, walk, write=slow)
    interrupts.asked, done = None, walk.turns
    walk = Walk()
    assert walked(tmp_path / NAME, walk) == unbroken
    assert done and walk.turns == 6 - done
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_large_one_is_written_by_a_process_that_outlives_this_one(tmp_path, handlers, monkeypatch):
    monkeypatch.setattr(interrupts, "GRACE", 0.1)
    monkeypatch.setattr(checkpoints, "APART", 1)
    unbroken = walked(tmp_path / "other", Walk())
    ended = tmp_path / "ended"

    def slow(path, content):
        while not ended.exists():
            time.sleep(0.01)
        atomic_write(path, content)

    cell = CellFolder(tmp_path)
    with pytest.raises(SystemExit, match="143"), cell.lock():
        walked(tmp_path / NAME, Signalled(), minutes=0, write=slow)
    assert cell.locked() and not (tmp_path / NAME / LIST).exists()
    ended.touch()
    checkpoints.wait_until_written(tmp_path, cell.locked)
    assert not cell.locked()
    interrupts.asked = None
    walk = Walk()
    assert walked(tmp_path / NAME, walk) == unbroken
    assert walk.turns == 2


@pytest.mark.parametrize("fault", ["full", "killed"])
def test_one_that_another_process_could_not_write_costs_a_warning(tmp_path, monkeypatch, caplog, fault):
    monkeypatch.setattr(checkpoints, "APART", 1)
    me = os.getpid()

    def write(path, content):
        assert os.getpid() != me
        if fault == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        raise BenchError(f"cannot write {path}: the disk is full")

    unbroken = walked(tmp_path / "other", Walk())
    with caplog.at_level(logging.WARNING):
        assert walked(tmp_path / NAME, Walk(), write=write) == unbroken
    (record,) = caplog.records
    why = {"full": "cannot write ", "killed": "the process that wrote it was killed"}[fault]
    assert f"no checkpoint could be written: {why}" in record.message
    assert not list((tmp_path / NAME).iterdir())


def test_after_a_signal_a_small_one_outlives_the_process_too(tmp_path, handlers, monkeypatch):
    monkeypatch.setattr(interrupts, "GRACE", 0.1)
    me = os.getpid()

    def write(path, content):
        assert os.getpid() != me
        atomic_write(path, content)

    with pytest.raises(SystemExit, match="143"):
        walked(tmp_path / NAME, Signalled(), minutes=0, write=write)
    assert (tmp_path / NAME / LIST).exists()


def test_without_a_process_to_spare_this_one_writes_and_hears_signals_as_before(tmp_path, monkeypatch):
    def none():
        raise OSError(errno.ENOMEM, "no memory")

    monkeypatch.setattr(checkpoints, "APART", 1)
    monkeypatch.setattr(os, "fork", none)
    heard = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    written = []

    def write(path, content):
        written.append(path.name)
        atomic_write(path, content)

    walked(tmp_path / NAME, Walk(), write=write)
    assert LIST in written and signal.pthread_sigmask(signal.SIG_BLOCK, []) == heard
    assert not list((tmp_path / NAME).glob(f"{checkpoints.WRITING}*"))


def test_who_has_the_cell_removes_the_sign_of_a_writer_that_was_killed(tmp_path):
    (tmp_path / NAME).mkdir()
    (tmp_path / NAME / f"{checkpoints.WRITING}1").touch()
    checkpoints.forget_writers(tmp_path)
    assert not list((tmp_path / NAME).iterdir())


def test_a_signal_whose_checkpoint_cannot_be_written_says_where_the_cell_goes_on(tmp_path, handlers, monkeypatch):
    said = []
    monkeypatch.setattr(interrupts, "add", said.append)

    def full(path, content):
        raise BenchError(f"cannot write {path}: the disk is full")

    with pytest.raises(SystemExit, match="143"):
        walked(tmp_path / NAME, Signalled(), minutes=0, write=full)
    assert said == ["this cell from its start"]


def test_elsewhere_a_signal_ends_the_process_at_once(handlers):
    with pytest.raises(SystemExit, match="130"):
        interrupts.stop(signal.SIGINT)


# Cells


class Points:
    """Counts the points that cells come to, and stops at one of them."""

    def __init__(self, monkeypatch):
        self.seen, self.stop_at = 0, None
        monkeypatch.setattr(checkpoints, "WARM", 0.0)
        monkeypatch.setattr(Checkpoints, "point", lambda of, run=False: self.at(of))

    def at(self, of):
        self.seen += 1
        if self.seen == self.stop_at:
            of.save()
            raise Killed


@pytest.fixture
def points(monkeypatch):
    return Points(monkeypatch)


def numbers(outcome):
    return [(outcome.path / name).read_bytes() for name in ("metrics.csv", "history.csv")]


FOLDS = ["protocol.folds=3", "trainer.runs_together=1", "method=focal"]


def test_a_finished_fold_is_never_trained_again(tmp_path, points):
    unbroken = run_cell(cell(tmp_path / "other", *FOLDS))
    assert unbroken.status == "done" and not (unbroken.path / NAME).exists()
    each, rest = divmod(points.seen, 3)
    assert not rest
    points.seen, points.stop_at = 0, 2 * each + 1  # in the third
    with pytest.raises(Killed):
        run_cell(cell(tmp_path, *FOLDS))
    (folder,) = tmp_path.glob(f"runs/*/*/*/*/*/{NAME}")
    points.seen, points.stop_at = 0, None
    outcome = run_cell(cell(tmp_path, *FOLDS))
    assert points.seen == each - 1
    assert numbers(outcome) == numbers(unbroken)
    assert not folder.exists()


def test_training_a_cell_anew_begins_without_its_checkpoint(tmp_path, points):
    points.stop_at = 3
    with pytest.raises(Killed):
        run_cell(cell(tmp_path))
    points.seen, points.stop_at = 0, None
    run_cell(cell(tmp_path, "cache=overwrite"))
    again, points.seen = points.seen, 0
    run_cell(cell(tmp_path / "other"))
    assert again == points.seen


@pytest.mark.parametrize("error, left", [(BenchError("wrong"), False), (OSError("no disk"), True)])
def test_a_cell_that_fails_begins_anew_unless_the_machine_was_at_fault(tmp_path, points, monkeypatch, error, left):
    points.stop_at = 3
    with pytest.raises(Killed):
        run_cell(cell(tmp_path))
    points.stop_at = None

    def fit(*_):
        raise error

    monkeypatch.setattr("imbalance_bench.cells.fit", fit)
    assert run_cell(cell(tmp_path)).status == "failed"
    assert bool(list(tmp_path.glob(f"runs/*/*/*/*/*/{NAME}"))) == left


def test_cells_of_a_program_go_on_together(tmp_path, points):
    def outcomes(folder):
        configs = [cell(folder, f"method={method}", "protocol.folds=2") for method in ("focal", "cross_entropy")]
        return [outcome for ended in run_cells(2, configs.__getitem__) for _, outcome in ended]

    unbroken = outcomes(tmp_path / "other")
    whole, points.seen = points.seen, 0
    points.stop_at = whole // 2
    with pytest.raises(Killed):
        outcomes(tmp_path)
    points.seen, points.stop_at = 0, None
    again = outcomes(tmp_path)
    assert points.seen == whole - whole // 2
    assert list(map(numbers, again)) == list(map(numbers, unbroken))
    assert not list(tmp_path.glob(f"runs/*/*/*/*/*/{NAME}*"))


# A process that is killed

DIES = """
import os, signal, time
from dataclasses import dataclass
from pathlib import Path
from imbalance_bench.methods.base import Method
from imbalance_bench.registry import METHODS


@METHODS.register("dies")
@dataclass(frozen=True)
class Dies(Method):
    def sampler(self, labels, batch_size, generator):
        with open("asked", "a") as file:
            file.write(".")
        if not Path("died").exists():
            asked = len(Path("asked").read_text())
            if asked == 5:
                time.sleep(2.2)  # what is short keeps nothing
            if asked == 11:
                Path("died").touch()
                os.kill(os.getpid(), int(Path("number").read_text()))
        return super().sampler(labels, batch_size, generator)
"""


@pytest.mark.parametrize(
    "number, status, minutes, left",
    [
        (signal.SIGKILL, -9, 1e-9, 5),
        pytest.param(signal.SIGTERM, 143, 0, 4, marks=pytest.mark.slow),
    ],  # a signal is heeded after the step that it came in
)
def test_after_a_kill_the_same_command_goes_on_to_the_same_numbers(tmp_path, number, status, minutes, left):
    (tmp_path / "my_method.py").write_text(DIES)
    (tmp_path / "my_conf/method").mkdir(parents=True)
    (tmp_path / "my_conf/method/dies.yaml").write_text("{name: dies, label: dies}")
    options = ["method=dies", "plugins=[my_method]", "--config-dir", "my_conf", *QUICK]
    command = [str(SCRIPTS / "train.py"), *options, "trainer.epochs=10", f"checkpoint_minutes={minutes}"]

    def asked(*more):
        """The exit status, and for how many epochs the two runs asked for batches."""
        done = shared().call(tmp_path, [*command, *more])
        calls = len((tmp_path / "asked").read_text())
        (tmp_path / "asked").unlink()
        assert "Traceback" not in done.stderr
        return done.returncode, calls / 2

    (tmp_path / "number").write_text(str(int(number)))
    assert asked() == (status, 6 if number == signal.SIGTERM else 5.5)
    assert asked() == (0, left)
    assert asked("paths.outputs=unbroken") == (0, 10)
    (folder,) = Store(tmp_path / "outputs").cells()
    (unbroken,) = Store(tmp_path / "unbroken").cells()
    for name in ("metrics.csv", "history.csv"):
        assert (folder.path / name).read_bytes() == (unbroken.path / name).read_bytes()
    assert "goes on from the checkpoint of" in (folder.path / "train.log").read_text()
    assert not (folder.path / NAME).exists()


def test_what_a_process_that_was_killed_has_reported_goes_with_the_lock(tmp_path):
    work = Work(cell(tmp_path))
    work.folder.path.mkdir(parents=True)
    told = work.folder.path / progress.NAME
    told.write_text("{}")
    with work.folder.lock(), work.held():
        assert told.exists()
    with work.held():
        assert not told.exists()
