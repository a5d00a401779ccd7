"""The exceptions that reach a user, whose messages say what is wrong, which value, which override to change; and words
that such messages are made of."""

import difflib
import shlex
import sys
import typing
from pathlib import Path

PROGRAM = "imbalance-bench"
MOST = 12  # names of a message
_SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"


class BenchError(Exception):
    """An error that a user can fix. Shown as one message without a traceback; the exit status is non-zero."""


class Declined(BenchError):
    """A method cannot do a cell (it is binary only, say). Tables print ``n/a`` with this reason."""


class NoNumbers(BenchError):
    """A trained run gives rows no finite scores; the message says which part of it, and what to do. That run has
    failed, and no other with it."""


class Pruned(Exception):
    """The other runs of a cell are not worth training; the message says why."""


def suggestion(name: str, known: typing.Iterable[str]) -> str:
    """Ends an "unknown name" message: the nearest known names, or the first of them when none is near."""
    known = sorted(known)
    if not known:
        return "there are none"
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if close:
        return f"did you mean {', '.join(close)}?"
    return f"known: {', '.join(known[:MOST])}" + (f" and {len(known) - MOST} more" if len(known) > MOST else "")


def command(verb: str) -> str:
    """How a user calls a verb: the installed program, a script in the checkout, a module from other folders."""
    if sys.argv[0].startswith(PROGRAM) or not _SCRIPTS.is_dir():
        return f"{PROGRAM} {verb}"
    return f"python scripts/{verb}.py" if Path.cwd() == _SCRIPTS.parent else f"python -m imbalance_bench {verb}"


def of_outputs(outputs: str | Path) -> str:
    """The words of a command for the folder of the runs, after a blank; "" for the one that is meant anyway."""
    return "" if str(outputs) == "outputs" else f" --outputs {shlex.quote(str(outputs))}"
