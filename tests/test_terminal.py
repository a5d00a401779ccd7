"""What a person at a terminal sees, through a pseudo-terminal; a file has the same words and nothing else."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from imbalance_bench import terminal
from imbalance_bench.running.progress import Progress, following, report
from imbalance_bench.running.tally import VARIABLE, Tally
from imbalance_bench.sweep.ends import job_ended
from imbalance_bench.terminal import places_of
from tests.records import cell, write

pty = pytest.importorskip("pty")
ESCAPE = re.compile(r"\x1b\[[0-9;]*m")
SCRIPTS = Path(__file__).parent.parent / "scripts"


class Pty:
    """``stream``: a terminal of 100 columns to write to."""

    def __init__(self) -> None:
        self.master, self.slave = pty.openpty()
        self.stream = os.fdopen(os.dup(self.slave), "w", buffering=1, encoding="utf-8")

    def read(self) -> str:
        """What was written since the last look."""
        os.write(self.slave, b"\0")
        found = b""
        while not found.endswith(b"\0"):
            found += os.read(self.master, 100_000)
        return found[:-1].decode().replace("\r\n", "\n")


@pytest.fixture
def screen(monkeypatch) -> Iterator[Pty]:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("NO_COLOR", raising=False)
    opened = Pty()
    yield opened
    opened.stream.close()
    for end in (opened.master, opened.slave):
        os.close(end)


def colours(text: str) -> dict[str, str]:
    """Coloured piece → its codes."""
    return {piece: codes for codes, piece in re.findall(r"\x1b\[([0-9;]+)m(.*?)\x1b\[0m", text, re.S)}


LINES = "failed    oil/native/mlp/smote/0123\n          division by zero\n1 done, 1 failed, 0 declined"


def test_states_and_counts_have_colours_on_a_terminal_only(screen):
    terminal.tell(LINES, screen.stream)
    shown = screen.read()
    assert ESCAPE.sub("", shown) == LINES + "\n"
    assert colours(shown) == {"failed": "31", "1 done": "32", "1 failed": "31"}
    file = io.StringIO()
    terminal.tell(LINES, file)
    assert file.getvalue() == LINES + "\n"


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_colours_can_be_declined(screen, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    terminal.tell(LINES, screen.stream)
    terminal.tell_end("smote: failed: no", "smote", "failed", screen.stream)
    shown = screen.read()
    assert not re.search(r"\x1b\[[0-9;]*3\d", shown)
    assert ESCAPE.sub("", shown) == f"{LINES}\nsmote: failed: no\n"
    if name == "TERM":
        assert "\x1b" not in shown


@pytest.mark.parametrize(
    "said",
    [
        "12 failed attempts are allowed",
        "error: 3 missing columns",
        "the cell has 2 failed runs",
        "1 done with it, the rest follows",
    ],
)
def test_counts_that_are_no_summary_have_no_colours(said, screen):
    terminal.tell(said, screen.stream)
    assert not {"12 failed", "3 missing", "2 failed", "1 done"} & colours(screen.read()).keys()


@pytest.mark.parametrize(
    "said",
    [
        "2 of 3 cells: 1 done, 0 skipped (done before), 1 failed; 0:04; status.py shows why",
        "[3/3] 2 of 3 cells: 1 done, 1 failed",
        "1 done, 1 failed\n  1 outdated: train again",
    ],
)
def test_counts_of_a_summary_have_them(said, screen):
    terminal.tell(said, screen.stream)
    assert {"1 done": "32", "1 failed": "31"}.items() <= colours(screen.read()).items()


def test_without_a_stream_nothing_is_told(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    terminal.tell("done")


@pytest.mark.parametrize("text", ["abc", "中文 x", "e\u0301", "", "한국", "ａ"])
def test_places_are_those_of_the_terminal(text):
    assert places_of(text) == terminal._text(text).cell_len


def test_words_of_a_message_are_as_they_are(screen):
    said = "error: no [bold]markup[/] :smile: in {a: 1}, and a path /a/3 done/failed " + "long " * 40
    terminal.tell(said, screen.stream)
    shown = screen.read()
    assert ESCAPE.sub("", shown) == said + "\n" and colours(shown) == {"error:": "1;31"}


def sweep(folder: Path, names: list[str]) -> Tally:
    tally = Tally.start(folder, len(names), "status.py")
    for job, name in enumerate(names):
        tally.begin(job, name)
    return tally


def test_the_cells_of_a_sweep_stand_in_columns(screen, tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, "")
    monkeypatch.setattr(Tally, "current", None)
    names = ["smote ecoli native", "balanced_random_forest 中文 native", "focal ecoli native {a: 1}"]
    ends = [("done", "auc_pr 0.5"), ("skipped", "auc_pr 0.5  (done before)"), ("failed", "failed: a: b")]
    for shown_on in (screen.stream, io.StringIO()):
        tally = sweep(tmp_path, names)
        monkeypatch.setattr(sys, "stdout", shown_on)
        monkeypatch.setattr(sys, "stderr", shown_on)
        for job, (name, (status, said)) in enumerate(zip(names, ends)):
            job_ended(tally, job, status, 0.0, status == "failed", "", f"{name}: {said}")
        if shown_on is screen.stream:
            shown = screen.read()
            plain = ESCAPE.sub("", shown).splitlines()
            assert [places_of(line[: line.index(said)]) for line, (_, said) in zip(plain, ends)] == [56, 56, 56]
            assert colours(shown)["failed"] == "31" and colours(shown)[f"{names[0]}:"] == "1"
        else:
            assert shown_on.getvalue().splitlines() == [
                f"[{i}/3] {name}: {said}" for i, (name, (_, said)) in enumerate(zip(names, ends), 1)
            ]


def test_the_line_that_changes_is_as_wide_as_the_terminal(screen, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    time = iter(range(0, 1000, 3))
    with following(Progress("焦点 数据 native", [], screen.stream, lambda: next(time))):
        report("training", 1, 10)
        report("training", 2, 10)
        shown = screen.read()
    lines = ESCAPE.sub("", shown).split("\r")[1:]
    assert [places_of(line) for line in lines] == [39] * len(lines)
    assert lines[0].startswith("焦点 数据 native: training") and "焦点 数据 native" in colours(shown)


@pytest.mark.parametrize("on_a_terminal", [True, False])
def test_status_on_a_terminal_and_into_a_file(screen, tmp_path, on_a_terminal):
    write(tmp_path, cell("focal"), [0.5, 0.6])
    (write(tmp_path, cell("smote"), [0.5, 0.6]) / "record.json").write_text("{")
    words = [sys.executable, str(SCRIPTS / "status.py"), "--outputs", str(tmp_path)]
    done = subprocess.run(words, stdout=screen.slave if on_a_terminal else subprocess.PIPE, text=True, check=False)
    shown = screen.read() if on_a_terminal else done.stdout
    assert done.returncode == 1
    assert ESCAPE.sub("", shown).splitlines()[-1] == "1 damaged, 1 done"
    assert colours(shown) == ({"damaged": "31", "1 damaged": "31", "1 done": "32"} if on_a_terminal else {})
