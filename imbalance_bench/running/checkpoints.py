"""Long computations of a cell that go on where a process that was killed left them, to the same numbers, bit for bit.

What a cell computes follows from its seeds, so it is computed again from its start, but for what takes long: loops
(``Loop``) begin at the turn that they were at, and those that were through are put to their end. Outside a cell
(``keeping``) nothing is kept, and a ``Loop`` is ``range``.

A checkpoint is a folder beside the cell's record: files of states (``kept``) and ``checkpoint.json``, written last,
which names them with their sums, what was at which turn, and what it is a checkpoint of.
"""

from __future__ import annotations

import hashlib
import json
import logging
import multiprocessing
import os
import shutil
import signal
import stat
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from imbalance_bench.errors import BenchError
from imbalance_bench.running import kept, models
from imbalance_bench.terminal import interrupts

log = logging.getLogger("imbalance_bench")

NAME, ASIDE, LIST = "checkpoint", "checkpoint.aside", "checkpoint.json"
FORMAT = 1
WARM = 2.0  # seconds: a cell that is done sooner keeps nothing, and what it did until then is done again
LONG = 0.5  # seconds: turns that take longer are kept in memory too, since a signal may come in the middle of one
LARGE = 2**26  # bytes that are not
SHARE = 4  # a finished run is kept at once where it took so many times as long as keeping it does
APART = 2**24  # bytes from which on a checkpoint is written by a process of its own, which may outlive this one
OUTLIVES = 30  # seconds for which it does
LONGEST = 600  # seconds that it has at all
WRITING = "writing."  # begins the name of a file that is there meanwhile


T = TypeVar("T")
Write = Callable[[Path, bytes | str], None]
Content = bytes | kept.State


class Unusable(BenchError):
    """A checkpoint that cannot be gone on from."""


@dataclass(frozen=True)
class Entry:
    """Where a loop stood: ``done`` turns, whether another one was begun (``inside``), whether that was all."""

    key: str
    done: int
    inside: bool
    through: bool
    file: str = ""
    sum: str = ""


Made = tuple[int, str, list[Entry]]
"""The number of the last file of a checkpoint, its time, and where all loops were."""


class Loop:
    """``for i in Loop("training", 200, training): ...``: as ``range(200)``, and a cell that was killed goes on in it.

    ``keeps``: all objects (``kept``) that one turn leaves to the next, or to what comes after the loop; ``leaves``:
    those that what comes after needs, where that is less; ``settled``: it does not change them. ``inside``: the present
    turn was begun before: ``keeps`` hold what it had done by then, up to the inner ``Loop`` or the ``point`` that it
    stood at; there may be one such in a turn. A loop that ends early says so by ``stop`` (the present turn is the
    last): ``break`` and ``return`` would leave open whether it is through. ``runs``: each turn is a run of the cell,
    which is kept when it is through."""

    def __init__(
        self,
        name: str,
        turns: int,
        *keeps: Any,
        leaves: Sequence[Any] | None = None,
        settled: bool = False,
        runs: bool = False,
    ) -> None:
        self.name, self.turns, self.keeps, self.settled, self.runs = name, turns, keeps, settled, runs
        self.leaves = keeps if leaves is None else leaves
        self.key, self.done, self.inside = "", 0, False
        self._begun = False
        self._of = _CURRENT.get()

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        if self._begun:
            self.done += 1
            self.inside = False
        if self._of is not None:
            self._of.next_turn(self, first=not self._begun)
        self._begun = True
        if self.done >= self.turns:
            raise StopIteration
        return self.done

    def stop(self) -> None:
        """The present turn is the last."""
        self.turns = self.done + 1

    def point(self) -> None:
        """Within a turn: ``keeps`` are whole here, and ``inside`` a turn that is gone on with comes back to here."""
        if self._of is not None:
            self._of.point()


class Checkpoints:
    """Of one cell, or of several that are trained together: in ``folder``, every ``minutes`` (0: at a signal only).
    ``of``: what they are checkpoints of, by name, as JSON: to go on from one, all of it must be the same. ``write``
    writes a file whole or not at all."""

    def __init__(
        self,
        folder: Path,
        minutes: float,
        of: Callable[[], Mapping[str, Any]],
        write: Write,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folder, self.every, self.of = folder, 60 * minutes or float("inf"), of
        self.write_file, self.now = write, now
        self.begin()

    def begin(self) -> None:
        """Nothing is kept yet."""
        self.begun = self.written = self.passed = self.now()
        self.off, self.warned, self.rested, self.took = False, False, 0.0, 0.0
        self.ended = False  # by a signal, for which all was kept that could be
        self.kept_at = ""  # the time of the last one
        self.stored: dict[str, Entry] = {}  # of an earlier process, and not come to again yet
        # Of loops that were; what gives it where nothing changes it; b"" once a file has it.
        self.through: dict[str, tuple[Entry, bytes | Callable[[], Content]]] = {}
        self.open: list[Loop] = []
        self.between: Loop | None = None  # that which is between two turns: the others are within one
        self.scopes: list[tuple[str, Counter[str]]] = [("", Counter())]
        self.latest: dict[str, tuple[Entry, Content]] = {}  # in memory, of turns that take long
        self.heavy = 0  # bytes of loops that are through in memory
        self.files, self.spent = 0, 0.0

    def read(self) -> None:
        """Reads what an earlier process left; sets aside what cannot be gone on from."""
        self.begin()
        try:
            content = (self.folder / LIST).read_bytes()
        except OSError:  # there is none
            self.remove()
            return
        try:
            found = json.loads(content)
            reason = self._other(found)
            entries = [] if reason else [Entry(**entry) for entry in found["entries"]]
            for entry in entries:
                if entry.file and _sum((self.folder / entry.file).read_bytes()) != entry.sum:
                    raise ValueError(f"{entry.file} is not what was written")
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            reason = f"is damaged ({error})"
        if reason:
            self.set_aside(reason)
            return
        self.stored = {entry.key: entry for entry in entries}
        self.files, self.spent, self.kept_at = found["files"], found["seconds"], found["time"]
        log.info("goes on from the checkpoint of %s", found["time"])

    def remove(self) -> None:
        """Nothing of it is left."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _other(self, found: Mapping[str, Any]) -> str:
        """Of what else the checkpoint is; "" where it is one of this."""
        if found["format"] != FORMAT:
            return f"has format {found['format']}, and this code writes {FORMAT}"
        of = json.loads(json.dumps(self.of()))
        other = sorted(key for key in {*of, *found["of"]} if of.get(key) != found["of"].get(key))
        return f"is one of other {' and '.join(other)}" if other else ""

    def set_aside(self, reason: str) -> None:
        """Moves the checkpoint out of the way, and says so."""
        aside = self.folder.with_name(ASIDE)
        shutil.rmtree(aside, ignore_errors=True)
        with suppress(OSError):
            self.folder.rename(aside)
        log.warning("%s %s: it is set aside as %s, and the cell trained from its start", self.folder, reason, ASIDE)

    def next_turn(self, loop: Loop, first: bool) -> None:
        """A loop has begun, or a turn of it ended."""
        if first:
            prefix, counts = self.scopes[-1]
            loop.key = f"{prefix}{loop.name}#{counts[loop.name]}"
            counts[loop.name] += 1
            self.open.append(loop)
            self.scopes.append(("", Counter()))
            self._restore(loop)
        else:
            self._back_to(loop)
            self._forget(loop)
        if loop.done < loop.turns:
            self.scopes[-1] = (f"{loop.key}[{loop.done}]/", Counter())
        else:
            self._leave(loop)
        if not first:
            self.between = loop
            self.point(loop.runs)
            self.between = None

    def _back_to(self, loop: Loop) -> None:
        """Loops within a turn that ended by an exception are open no longer."""
        while self.open[-1] is not loop:
            self.open.pop()
            self.scopes.pop()

    def _restore(self, loop: Loop) -> None:
        entry = self.stored.pop(loop.key, None)
        if entry is None:
            return
        if entry.file:
            keeps = self._own(loop, loop.leaves if entry.through else loop.keeps)
            try:
                kept.put_back((self.folder / entry.file).read_bytes(), keeps)
            except (OSError, ValueError) as error:
                raise Unusable(f"cannot be gone on from ({loop.key}: {error})") from error
        loop.done, loop.inside = entry.done, entry.inside
        if entry.through:
            loop.turns = loop.done
            self.through[loop.key] = (entry, b"")

    def _own(self, loop: Loop, objects: Sequence[Any]) -> list[Any]:
        """Those of a loop that no loop around it keeps."""
        around = self.open[: self.open.index(loop)]
        known = {id(one) for other in around for one in other.keeps}
        return [one for one in objects if id(one) not in known]

    def _forget(self, loop: Loop) -> None:
        """What was within a turn that has ended."""
        for known in (self.through, self.stored):
            for key in [key for key in known if key.startswith(f"{loop.key}[")]:
                del known[key]

    def _leave(self, loop: Loop) -> None:
        """A loop is through. What follows it may change its objects, so they are kept as they are now."""
        inner = self.open[0] is not loop
        if loop.key not in self.through and (inner or (loop.done and self.now() - self.begun >= WARM)):
            entry = Entry(loop.key, loop.done, inside=False, through=True)
            content = partial(_content, self._own(loop, loop.leaves))
            if loop.settled:
                self.through[loop.key] = entry, content
            else:
                made = _bytes(content())
                self.through[loop.key] = entry, made
                self.heavy += len(made)
        self.open.pop()
        self.scopes.pop()

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """A part of the work, whose loops are counted by themselves; what is left of one that fails is forgotten. What
        is through before it is kept, where it took long."""
        if any(content for _, content in self.through.values()) and self._worth_it(self.now()):
            self.save()
        open_, scopes = len(self.open), len(self.scopes)
        prefix, _ = self.scopes[-1]
        self.scopes.append((f"{prefix}{name}/", Counter()))
        try:
            yield
        except Exception:
            for key in [key for key in self.through if key.startswith(f"{prefix}{name}/")]:
                del self.through[key]
            raise
        finally:
            del self.open[open_:], self.scopes[scopes:]

    def point(self, run: bool = False) -> None:
        """All that is kept is whole here. As often as you like: nearly always it looks at the clock and is done.
        ``run``: a run of the cell is through."""
        now = self.now()
        before, self.passed = self.passed, now
        if now - self.begun < WARM or self.off:
            interrupts.heed()
        elif interrupts.asked is not None or self.heavy > LARGE or self._due(now, run):
            self.save()
        elif now - before >= LONG and now >= self.rested:
            self._remember(now)

    def _due(self, now: float, run: bool) -> bool:
        return now - self.written >= self.every or (run and self._worth_it(now))

    def _worth_it(self, now: float) -> bool:
        """Whether what was done since the last checkpoint took longer than another one does, and than a moment."""
        return self.every < float("inf") and not self.off and now - self.written >= max(WARM, SHARE * self.took)

    def _remember(self, now: float) -> None:
        """Where all loops are, in memory; so seldom that it costs a hundredth of the time."""
        try:
            self.latest = {key: (entry, _bytes(content)) for key, (entry, content) in self.present().items()}
        except models.NotKept as error:
            self._give_up(error)
        if sum(_size(content) for _, content in self.latest.values()) > LARGE:
            self.latest, self.rested = {}, float("inf")
        self.passed = self.now()
        self.rested = max(self.rested, now + 100 * (self.passed - now))

    def _give_up(self, error: Exception) -> None:
        self.off = True
        log.warning("no more checkpoints of this cell: %s", error)

    def present(self) -> dict[str, tuple[Entry, Content]]:
        """Where all loops are, those that are through among them."""
        found: dict[str, tuple[Entry, Content]] = {key: (entry, b"") for key, entry in self.stored.items()}
        for key, (entry, content) in self.through.items():
            found[key] = entry, content() if callable(content) else content
        for loop in self.open:
            entry = Entry(loop.key, loop.done, inside=loop is not self.between, through=False)
            found[loop.key] = entry, _content(self._own(loop, loop.keeps))
        return found

    def save(self) -> None:
        """A checkpoint of where all loops are; then a signal that came before or meanwhile is heeded. What cannot be
        written costs a warning."""
        start = self.now()
        with interrupts.unhurried():
            try:
                self.write(self.present())
            except models.NotKept as error:
                self._give_up(error)
            except (OSError, BenchError) as error:
                if not self.warned:  # there may be room again later
                    log.warning("no checkpoint could be written: %s", error)
                self.warned = True
            else:
                self.ended = interrupts.asked is not None
        self.latest, self.heavy = {}, 0
        self.written = self.passed = self.now()
        self.took = self.written - start
        interrupts.heed()

    def end(self) -> None:
        """All loops are through; what comes now may take long, too."""
        if any(callable(content) for _, content in self.through.values()):  # which may take long itself
            return
        if self._worth_it(self.now()):
            self.save()

    def interrupted(self) -> None:
        """By a signal, in the middle of a turn or between two loops."""
        if self.ended:
            return
        with suppress(OSError, BenchError):
            states = self.latest if self.open else self.present()
            if any(content for _, content in states.values()):
                self.write(states)
                return
        if self.now() - self.begun >= WARM:
            point = f"its checkpoint of {self.kept_at}" if self.kept_at else "its start"
            interrupts.add(f"this cell from {point}")

    def write(self, states: Mapping[str, tuple[Entry, Content]]) -> None:
        """A checkpoint that takes the place of the last one as a whole. Raises OSError and BenchError where the disk
        does not take it; the last one is there then."""
        large = sum(_size(content) for _, content in states.values()) >= APART
        # After a signal a small one, too: on a slow disk it may take longer than this process has.
        apart = large or interrupts.asked is not None
        made = self._written_apart(states) if apart else self._written(states)
        if made is None:
            return
        self.files, self.kept_at, entries = made
        for entry in entries:
            if entry.key in self.through:
                self.through[entry.key] = entry, b""

    def _written(self, states: Mapping[str, tuple[Entry, Content]]) -> Made:
        """Writes the files. Returns the number of the last one, the time, and where all loops are."""
        entries, count, at = [], self.files, time.strftime("%Y-%m-%d %H:%M:%S")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for entry, content in states.values():
                if content:
                    count += 1
                    text = _bytes(content)
                    entry = replace(entry, file=f"{count}.safetensors", sum=_sum(text))
                    self.write_file(self.folder / entry.file, text)
                entries.append(entry)
            found = {
                "format": FORMAT,
                "of": self.of(),
                "time": at,
                "seconds": self.spent + self.now() - self.begun,
                "files": count,
                "entries": [vars(entry) for entry in entries],
            }
            self.write_file(self.folder / LIST, json.dumps(found))
        except (OSError, BenchError):
            for number in range(self.files, count):
                (self.folder / f"{number + 1}.safetensors").unlink(missing_ok=True)
            raise
        named = {LIST, *(entry.file for entry in entries)}
        for path in self.folder.iterdir():
            if path.name not in named:
                path.unlink(missing_ok=True)
        return count, at, entries

    def _written_apart(self, states: Mapping[str, tuple[Entry, Content]]) -> Made | None:
        """The same by a process of its own, which has the state as it is now and the lock of the cell, and goes on
        where this one has to end; None then. Where there can be no other process, by this one."""
        self.folder.mkdir(parents=True, exist_ok=True)
        marker = self.folder / f"{WRITING}{os.getpid()}"
        marker.touch()
        mine, its = multiprocessing.Pipe(duplex=False)
        ends = {*interrupts.WORDS, signal.SIGUSR1, signal.SIGUSR2}
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, ends)
        try:
            child = os.fork()
            if not child:
                self._write_and_end(its, states, ends, marker)
        except OSError:  # no memory for it, or too many processes
            mine.close()
            marker.unlink(missing_ok=True)
            return self._written(states)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            its.close()
        try:
            while not mine.poll(0.02):
                if interrupts.overdue() and not interrupts.LAST_OF_ALL:
                    os.kill(child, signal.SIGUSR1)
                    interrupts.add("a checkpoint is still being written, which it waits for")
                    return None
            found: Made | str = mine.recv()
        except EOFError:
            found = "the process that wrote it was killed"
        finally:
            mine.close()
        os.waitpid(child, 0)
        marker.unlink(missing_ok=True)
        if isinstance(found, str):
            raise BenchError(found)
        return found

    def _write_and_end(
        self, pipe: Any, states: Mapping[str, tuple[Entry, Content]], ends: Iterable[int], marker: Path
    ) -> NoReturn:
        """In the process that writes: whoever waits for it may end before."""
        try:
            for number in ends:
                signal.signal(number, signal.SIG_IGN)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.signal(signal.SIGUSR1, lambda *_: signal.alarm(OUTLIVES))
            signal.alarm(LONGEST)  # on a disk that hangs, where nobody is left to say so
            signal.pthread_sigmask(signal.SIG_UNBLOCK, ends)
            nothing = os.open(os.devnull, os.O_RDWR)
            for stream in range(3):  # a pipe that the command writes to ends with the command
                os.dup2(nothing, stream)
            _close_pipes(but=pipe.fileno())
            try:
                found: Made | str = self._written(states)
            except (OSError, BenchError) as error:
                found = str(error)
                marker.unlink(missing_ok=True)
            pipe.send(found)
        finally:
            os._exit(0)


def _close_pipes(but: int) -> None:
    """Closes the pipes and sockets of a process that was forked: who reads at their other ends is to learn when the
    process that it came from has ended. The lock of the cell is a file, and stays."""
    for number in [int(path.name) for path in Path("/dev/fd").iterdir()]:
        with suppress(OSError):  # that of the listing itself, which is closed by now
            kind = os.fstat(number).st_mode
            if number > 2 and number != but and (stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind)):
                os.close(number)


def forget_writers(folder: Path) -> None:
    """Removes what processes left that were killed while they wrote a checkpoint of the cell in ``folder``. For whoever
    has the lock of the cell, which they had."""
    for marker in (folder / NAME).glob(f"{WRITING}*"):
        marker.unlink(missing_ok=True)


def wait_until_written(folder: Path, locked: Callable[[], bool]) -> None:
    """Where the process that worked last on the cell in ``folder`` has ended, and left one that writes its checkpoint
    and holds the lock: until that is done."""
    seen, until = -float("inf"), time.monotonic() + OUTLIVES
    while (writing := any((folder / NAME).glob(f"{WRITING}*"))) or time.monotonic() < seen + 1.0:  # it has yet to end
        if not locked() or time.monotonic() >= until:
            return
        if writing:
            seen = time.monotonic()
        time.sleep(0.02)


_CURRENT: ContextVar[Checkpoints | None] = ContextVar("checkpoints", default=None)


def going_on(checkpoints: Checkpoints, work: Callable[[], T]) -> T:
    """The result of ``work``, whose loops go on from these checkpoints and write them."""
    try:
        with keeping(checkpoints):
            return work()
    except Unusable as error:
        checkpoints.set_aside(str(error))
        with keeping(checkpoints):
            return work()


@contextmanager
def keeping(checkpoints: Checkpoints) -> Iterator[None]:
    """Within it, loops go on from these checkpoints and write them; a signal is heeded between two turns."""
    checkpoints.read()
    checkpoints.of()  # takes a third of a second the first time, for which a signal leaves no room
    token = _CURRENT.set(checkpoints)
    try:
        with interrupts.at_safe_points():
            yield
            checkpoints.end()
    except (SystemExit, KeyboardInterrupt):
        interrupts.no_hurry()
        checkpoints.interrupted()
        raise
    finally:
        _CURRENT.reset(token)


@contextmanager
def part(name: str) -> Iterator[None]:
    """A part of a cell's work, e.g. one of its runs, whose loops are told apart by it."""
    checkpoints = _CURRENT.get()
    if checkpoints is None:
        yield
        return
    with checkpoints.part(name):
        yield


def remove(folder: Path) -> None:
    """Removes the checkpoints of the cell in ``folder``, and those that were set aside."""
    for name in (NAME, ASIDE):
        shutil.rmtree(folder / name, ignore_errors=True)


def _content(objects: Sequence[Any]) -> Content:
    return kept.State(objects) if objects else b""


def _bytes(content: Content) -> bytes:
    return content if isinstance(content, bytes) else content.as_bytes()


def _size(content: Content) -> int:
    return len(content) if isinstance(content, bytes) else content.size


def _sum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
