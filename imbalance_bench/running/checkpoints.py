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
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from imbalance_bench.errors import BenchError
from imbalance_bench.running import kept, models
from imbalance_bench.terminal import interrupts

log = logging.getLogger("imbalance_bench")

NAME, ASIDE, LIST = "checkpoint", "checkpoint.aside", "checkpoint.json"
FORMAT = 1
WARM = 2.0  # seconds: a cell that is done sooner keeps nothing, and what it did until then is done again
LONG = 0.5  # seconds: turns that take longer are kept in memory too, since a signal may come in the middle of one
LARGE = 2**26  # bytes that are not
END = 60.0  # seconds since the last checkpoint after which there is one at the end, before the cell is scored


T = TypeVar("T")
Write = Callable[[Path, bytes | str], None]


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


class Loop:
    """``for i in Loop("training", 200, training): ...``: as ``range(200)``, and a cell that was killed goes on in it.

    ``keeps``: all objects (``kept``) that one turn leaves to the next, or to what comes after the loop; ``leaves``:
    those that what comes after needs, where that is less; ``settled``: it does not change them. ``inside``: the present
    turn was begun before: ``keeps`` hold what it had done by then, up to the inner ``Loop`` or the ``point`` that it
    stood at; there may be one such in a turn. A loop that ends early says so by ``stop`` (the present turn is the
    last): ``break`` and ``return`` would leave open whether it is through."""

    def __init__(
        self, name: str, turns: int, *keeps: Any, leaves: Sequence[Any] | None = None, settled: bool = False
    ) -> None:
        self.name, self.turns, self.keeps, self.settled = name, turns, keeps, settled
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
        self.off, self.warned, self.rested = False, False, 0.0
        self.stored: dict[str, Entry] = {}  # of an earlier process, and not come to again yet
        # Of loops that were; what gives it where nothing changes it; b"" once a file has it.
        self.through: dict[str, tuple[Entry, bytes | Callable[[], bytes]]] = {}
        self.open: list[Loop] = []
        self.between: Loop | None = None  # that which is between two turns: the others are within one
        self.scopes: list[tuple[str, Counter[str]]] = [("", Counter())]
        self.latest: dict[str, tuple[Entry, bytes]] = {}  # in memory, of turns that take long
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
        self.files, self.spent = found["files"], found["seconds"]
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
            self.point()
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
                self.through[loop.key] = entry, made = entry, content()
                self.heavy += len(made)
        self.open.pop()
        self.scopes.pop()

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """A part of the work, whose loops are counted by themselves; what is left of one that fails is forgotten."""
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

    def point(self) -> None:
        """All that is kept is whole here. As often as you like: nearly always it looks at the clock and is done."""
        now = self.now()
        before, self.passed = self.passed, now
        if now - self.begun < WARM or self.off:
            interrupts.heed()
        elif interrupts.asked is not None:
            interrupts.no_hurry()
            self.save()
            interrupts.heed()
        elif now - self.written >= self.every or self.heavy > LARGE:
            self.save()
        elif now - before >= LONG and now >= self.rested:
            self._remember(now)

    def _remember(self, now: float) -> None:
        """Where all loops are, in memory; so seldom that it costs a hundredth of the time."""
        try:
            self.latest = self.present()
        except models.NotKept as error:
            self._give_up(error)
        if sum(len(content) for _, content in self.latest.values()) > LARGE:
            self.latest, self.rested = {}, float("inf")
        self.passed = self.now()
        self.rested = max(self.rested, now + 100 * (self.passed - now))

    def _give_up(self, error: Exception) -> None:
        self.off = True
        log.warning("no more checkpoints of this cell: %s", error)

    def present(self) -> dict[str, tuple[Entry, bytes]]:
        """Where all loops are, those that are through among them."""
        found = {key: (entry, b"") for key, entry in self.stored.items()}
        for key, (entry, content) in self.through.items():
            found[key] = entry, content() if callable(content) else content
        for loop in self.open:
            entry = Entry(loop.key, loop.done, inside=loop is not self.between, through=False)
            found[loop.key] = entry, _content(self._own(loop, loop.keeps))
        return found

    def save(self) -> None:
        """A checkpoint of where all loops are. What cannot be written costs a warning."""
        try:
            self.write(self.present())
        except models.NotKept as error:
            self._give_up(error)
        except (OSError, BenchError) as error:
            if not self.warned:  # there may be room again later
                log.warning("no checkpoint could be written: %s", error)
            self.warned = True
        self.latest, self.heavy = {}, 0
        self.written = self.passed = self.now()

    def end(self) -> None:
        """All loops are through; what comes now may take long, too."""
        if any(callable(content) for _, content in self.through.values()):  # which may take long itself
            return
        if self.every < float("inf") and self.now() - self.written >= min(self.every, END):
            self.save()

    def interrupted(self) -> None:
        """By a signal, in the middle of a turn or between two loops."""
        with suppress(OSError, BenchError):
            states = self.latest if self.open else self.present()
            if any(content for _, content in states.values()):
                self.write(states)

    def write(self, states: Mapping[str, tuple[Entry, bytes]]) -> None:
        """A checkpoint that takes the place of the last one as a whole. Raises OSError and BenchError where the disk
        does not take it; the last one is there then."""
        entries, count = [], self.files
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for entry, content in states.values():
                if content:
                    count += 1
                    entry = replace(entry, file=f"{count}.safetensors", sum=_sum(content))
                    self.write_file(self.folder / entry.file, content)
                entries.append(entry)
            text = json.dumps(
                {
                    "format": FORMAT,
                    "of": self.of(),
                    "time": time.strftime("%Y-%m-%d %H:%M:%S"),
                    "seconds": self.spent + self.now() - self.begun,
                    "files": count,
                    "entries": [vars(entry) for entry in entries],
                }
            )
            self.write_file(self.folder / LIST, text)
        except (OSError, BenchError):
            for number in range(self.files, count):
                (self.folder / f"{number + 1}.safetensors").unlink(missing_ok=True)
            raise
        self.files = count
        for entry in entries:
            if entry.key in self.through:
                self.through[entry.key] = entry, b""
        named = {LIST, *(entry.file for entry in entries)}
        for path in self.folder.iterdir():
            if path.name not in named:
                path.unlink(missing_ok=True)


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


def _content(objects: Sequence[Any]) -> bytes:
    return kept.as_bytes(objects) if objects else b""


def _sum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
