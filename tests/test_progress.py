"""What a cell says while it trains."""

from __future__ import annotations

import io
import json
import os
from time import monotonic, sleep

import pytest

from imbalance_bench.data.fetch import Arriving
from imbalance_bench.engine import Engine
from imbalance_bench.running import progress
from imbalance_bench.running.progress import (
    NAME,
    PLAIN,
    SHARED,
    Progress,
    described,
    doing,
    following,
    read,
    report,
    within,
)
from tests.tasks import backbone, method, task, trainer


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


def lines(stream: io.StringIO) -> list[str]:
    return stream.getvalue().splitlines()


def test_a_file_gets_a_line_a_minute(time, tmp_path):
    out = io.StringIO()
    with following(Progress("focal ecoli native", [tmp_path / NAME], out, time)):
        for epoch in range(1, 201):
            time.now += 1
            report("training", epoch, 200, numbers={"loss": 1 / epoch, "valid_score": 0.5})
    assert len(lines(out)) == 3
    assert lines(out)[0] == (
        "focal ecoli native: training 60 of 200 epochs, loss 0.01667, valid_score 0.5, 1 epochs/s, 2:20 left"
    )


def test_a_terminal_has_one_line_that_changes_and_goes(time):
    out = Terminal()
    with following(Progress("focal ecoli native", [], out, time)):
        for epoch in range(1, 11):
            time.now += 0.5
            report("training", epoch, 10)
    shown = out.getvalue().split("\r")
    assert [s.split(":")[1].split(" of")[0].strip() for s in shown[1:-2]] == [
        "training 4",
        "training 6",
        "training 8",
        "training 10",
    ]
    assert "\n" not in out.getvalue()
    assert not shown[-2].strip() and not shown[-1]


def test_a_short_cell_says_nothing(time, tmp_path):
    out = Terminal()
    with following(Progress("short", [tmp_path / NAME], out, time)):
        for epoch in range(10):
            time.now += 0.1
            report("training", epoch, 10)
    assert not out.getvalue() and not list(tmp_path.iterdir())


def test_processes_that_share_a_terminal_write_lines(time, monkeypatch):
    monkeypatch.setenv(SHARED, "1")
    out = Terminal()
    with following(Progress("one of many", [], out, time)):
        for epoch in range(int(PLAIN) + 2):
            time.now += 1
            report("training", epoch, 100)
    assert "\r" not in out.getvalue() and len(lines(out)) == 1


def test_progress_json_is_what_status_reads(time, tmp_path):
    with following(Progress("cell", [tmp_path / NAME], io.StringIO(), time)):
        assert read(tmp_path) is None
        with within("run 2 of 5"):
            for epoch in range(1, 31):
                time.now += 1
                report("meta", epoch, 60, numbers={"loss": 2.0})
        state = json.loads((tmp_path / NAME).read_text())
        assert (state["stage"], state["total"], state["process"]) == ("meta", 60, os.getpid())
        assert state["pace"] == pytest.approx(1.0)
        assert state["left"] == pytest.approx(60 - state["done"])
        assert described(read(tmp_path)).startswith(f"run 2 of 5, meta {state['done']:g} of 60 epochs, loss 2, ")
    assert not (tmp_path / NAME).exists()


def test_within_an_epoch_the_numbers_of_the_last_one_stay(time):
    out = io.StringIO()
    with following(Progress("cell", [], out, time)):
        report("training", 1, 2000, numbers={"loss": 0.5})
        time.now = PLAIN
        report("training", 1.25, 2000)
    assert lines(out)[0].startswith("cell: training 1.2 of 2,000 epochs, loss 0.5, ")


def test_what_an_epoch_costs_is_said_until_the_next_stage(time, tmp_path):
    with following(Progress("cell", [tmp_path / NAME], io.StringIO(), time)):
        report("training", 0.5, 200, size="4 runs × 3 steps")
        time.now = 10
        report("training", 1, 200)
        assert described(read(tmp_path)).startswith("training 1 of 200 epochs of 4 runs × 3 steps, ")
        time.now = 20
        report("meta", 1, 200)
        assert described(read(tmp_path)) == "meta 1 of 200 epochs"


def test_each_stage_has_a_pace_of_its_own(time, tmp_path):
    with following(Progress("cell", [tmp_path / NAME], io.StringIO(), time)):
        for epoch in range(1, 11):
            time.now += 10
            report("generator", epoch, 10)
        for epoch in range(1, 11):
            time.now += 2
            report("training", epoch, 10)
        assert read(tmp_path)["pace"] == pytest.approx(0.5)


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"stage": 1}', '{"time": "x"}'])
def test_a_file_that_cannot_be_read_is_no_progress(content, tmp_path):
    (tmp_path / NAME).write_text(content)
    assert read(tmp_path) is None


def test_a_disk_that_is_full_costs_nothing_else(time, tmp_path):
    out = io.StringIO()
    with following(Progress("cell", [tmp_path / "gone" / NAME], out, time)):
        for epoch in range(1, 101):
            time.now += 1
            report("training", epoch)
    assert len(lines(out)) == 1 and "left" not in lines(out)[0]


def test_reports_outside_a_cell_go_nowhere(capsys):
    report("training", 1, 2)
    with within("run 1 of 2"):
        report("training", 2, 2)
    progress.clear()
    assert capsys.readouterr() == ("", "")


def reported(monkeypatch, work) -> list[tuple[str, float, float, str]]:
    """What is reported while ``work`` is done in a cell."""
    found = []
    monkeypatch.setattr(Progress, "report", lambda self, stage, *rest: found.append((stage, *rest[:3])))
    with following(Progress("cell")):
        work()
    return found


@pytest.mark.parametrize(
    ("label", "options", "last"),
    [
        ("cross_entropy", {}, ("training", 2, 2, "epochs")),
        ("explicit_gradient", {"meta_epochs": 3}, ("meta", 3, 3, "epochs")),
        ("dos", {"decisions": []}, ("over-sampled training", 2, 2, "epochs")),
        ("setconv", {"episodes": 2, "support": 4}, ("training", 2, 2, "epochs")),
        ("weob2", {"members": 2}, ("stream", 0, 105, "rows")),
        ("iml", {"iterations": 2, "steps": 2}, ("metric learning", 2, 2, "iterations")),
        ("mesa", {"random_steps": 3, "learned_steps": 2}, ("meta-sampler", 4, 5, "steps")),
    ],
)
def test_every_family_says_how_far_it_is(label, options, last, monkeypatch):
    engine = Engine(trainer(epochs=2), "cpu")
    stages = reported(monkeypatch, lambda: method(label, **options).fit([task()], backbone(), engine))
    assert last in [tuple(stage) for stage in stages]


def test_a_generative_method_says_how_far_its_generator_is(monkeypatch):
    engine = Engine(trainer(epochs=1), "cpu")
    fit = method("cwgan", epochs=2, ac_epochs=1).fit
    stages = reported(monkeypatch, lambda: fit([task()], backbone(), engine))
    assert list(dict.fromkeys(stage[0] for stage in stages)) == ["GAN", "training"]


def test_a_download_says_how_much_has_arrived(monkeypatch):
    arriving = Arriving()
    arriving.total = 3_000_000
    stages = reported(monkeypatch, lambda: [arriving.update(1_500_000), arriving.reset(), arriving.update(3_000_000)])
    assert stages == [("downloading", 1.5, 3.0, "MB"), ("downloading", 3.0, 3.0, "MB")]


def test_a_call_that_takes_long_is_told_meanwhile(time, tmp_path):
    out = io.StringIO()
    with following(Progress("iht adult", [tmp_path / NAME], out, time)) as cell:
        report("fitting", 1, 4, "runs")
        with doing("resampling"):
            time.now = 3.0
            cell.tick()
            assert described(read(tmp_path)) == "resampling for 0:03"
            time.now = PLAIN
            cell.tick()
            assert described(read(tmp_path)) == "resampling for 1:00"
        time.now += 9.0
        cell.tick()
        assert described(read(tmp_path)).startswith("fitting 1 of 4 runs")
    assert lines(out) == ["iht adult: resampling for 1:00"]


def test_a_thread_sees_to_that(monkeypatch, tmp_path):
    monkeypatch.setattr(progress, "WARM", 0.0)
    monkeypatch.setattr(progress, "TICK", 0.01)
    monkeypatch.setattr(progress, "WRITE", 0.0)
    with following(Progress("cell", [tmp_path / NAME], io.StringIO())), doing("scoring"):
        (tmp_path / NAME).unlink()
        until = monotonic() + 60
        while read(tmp_path) is None and monotonic() < until:
            sleep(0.01)
        assert read(tmp_path)["stage"] == "scoring"
    sleep(0.05)
    assert not (tmp_path / NAME).exists()


def test_a_number_is_asked_for_by_the_thread_of_the_training_only(time, tmp_path):
    def numbers():
        assert time.now < 5
        return {"loss": 0.5}

    with following(Progress("cell", [tmp_path / NAME], io.StringIO(), time)) as cell:
        time.now = 4.0
        report("training", 1, 9, numbers=numbers)
        time.now = 9.0
        cell.tick()
        assert read(tmp_path)["seconds"] == 9.0 and read(tmp_path)["numbers"] == {"loss": 0.5}


def test_the_time_left_counts_the_runs_that_are_to_come(time, tmp_path):
    with following(Progress("cell", [tmp_path / NAME], io.StringIO(), time)):
        for run in range(3):
            with within(f"run {run + 1} of 4", (run, 1, 4)):
                for epoch in range(11):
                    report("training", epoch, 20)
                    time.now += 1
                report("training", 11, 20)
                left = read(tmp_path)["left"]
                assert left == pytest.approx(9 + 20 * (3 - run), abs=2)
                time.now += 9
                report("training", 20, 20)
        with within("run 4 of 4", (3, 1, 4)):
            time.now += 5
            report("fitting", 0, unit="")
            assert read(tmp_path)["left"] == pytest.approx(15)
