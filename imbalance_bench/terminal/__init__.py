"""Lines for people: with colours and columns on a terminal, as they are in a file or a pipe.

``NO_COLOR`` and ``TERM=dumb`` leave the colours out. Only a terminal pays for rich.
"""

from __future__ import annotations

import sys
import unicodedata
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

# Of how a cell ended or stands.
STYLES = {
    "done": "green", "skipped": "green", "running": "cyan",
    **dict.fromkeys(("failed", "damaged"), "red"),
    **dict.fromkeys(("declined", "busy", "pruned", "started", "missing", "diverged", "stale", "outdated"), "yellow"),
}  # fmt: skip
# Of a line that begins so, and of the counts of a summary, which stand between commas.
PATTERNS = {
    r"(?m)^error:": "bold red", r"(?m)^warning:": "bold yellow", r"(?m)^\[\d+/\d+[^]\n]*\]": "cyan",
    **{
        pattern: style
        for state, style in STYLES.items()
        for pattern in (
            rf"(?m)^{state}(?=  )", rf"(?m)(?:^|(?<=, )|(?<=: )|(?<=  ))[1-9][\d,]* {state}(?=[,;:]|$| \()"
        )
    },
}  # fmt: skip
WIDEST = 60  # places of the column of names; a longer one juts out


def tell(line: str, stream: TextIO | None = None) -> None:
    """Prints a line, or several in one text, to ``stream`` (None: stdout)."""
    stream = stream or sys.stdout
    if stream is None:  # a process without one, such as pythonw's
        return
    if not stream.isatty():
        print(line, file=stream, flush=True)
        return
    text = _text(line)
    for pattern, style in PATTERNS.items():
        text.highlight_regex(pattern, style)
    _print(stream, text)


def tell_end(
    line: str, name: str, status: str, stream: TextIO, progress: str = "", total: int = 0, widest: int = 0
) -> None:
    """Prints the line of a cell that has ended, which begins with its ``name``, behind the ``progress`` of its sweep.

    Args:
        total: how many cells the sweep has, for the width of the progress on a terminal.
        widest: places of its longest name so far: on a terminal what follows a name is in one column.
    """
    if not stream.isatty():
        print(progress + line, file=stream, flush=True)
        return
    widths = len(f"[{total}/{total}, 0:00:00 left] ") if progress else 0
    text = _text(progress.ljust(widths))
    text.stylize("cyan")
    rest = line.removeprefix(f"{name}:")
    if rest == line:
        text.append(line)
    else:
        named = _text(f"{name}:")
        space = max(0, min(widest, WIDEST) + 1 - named.cell_len)
        named.stylize("bold")
        of_status = _text(" " * space + rest)
        if rest.startswith(f" {status}"):
            of_status.stylize(STYLES.get(status, ""), space + 1, space + 1 + len(status))
        if status == "skipped":
            of_status.stylize("dim")
        text.append_text(named).append_text(of_status)
    _print(stream, text)


def rewrite(stream: TextIO, line: str, name: str, width: int) -> int:
    """Writes a line over the last one on a terminal, cut to its width, its ``name`` bold.

    Args:
        width: what the last line took, as this function returned it.
    """
    console = _console(stream)
    text = _text(line)
    text.stylize("bold", 0, len(name))
    text.truncate(console.width - 1)
    shown = text.cell_len
    text.pad_right(max(0, width - shown))
    stream.write("\r")
    console.print(text, end="", soft_wrap=True)
    stream.flush()
    return shown


def clear_screen(stream: TextIO) -> None:
    """Does nothing but on a terminal that can."""
    if stream.isatty():
        _console(stream).clear()


def places_of(text: str) -> int:
    """How many places a text takes on a terminal: two for letters of Chinese and the like, none for what joins the
    letter before it."""
    return sum(0 if joins(letter) else 1 + (unicodedata.east_asian_width(letter) in "WF") for letter in text)


def joins(letter: str) -> bool:
    """Whether it is no sign of its own: joiners, variation selectors, accents."""
    return unicodedata.category(letter) in ("Mn", "Me", "Cf")


def _console(stream: TextIO) -> Console:
    from rich.console import Console

    return Console(file=stream, highlight=False, emoji=False, markup=False)


def _text(line: str) -> Text:
    from rich.text import Text

    return Text(line)


def _print(stream: TextIO, text: Text) -> None:
    _console(stream).print(text, soft_wrap=True)
    stream.flush()
