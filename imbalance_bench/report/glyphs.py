"""Letters that matplotlib's own font has not: drawn by another font that is installed, or else by a number in their
place, which the caption explains."""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from imbalance_bench.terminal import joins, places_of, tell

BASE = "DejaVu Sans"
# Of several fonts that have a letter, those first; of the others the first by name.
PREFERRED = ("noto sans cjk", "source han sans", "wenquanyi", "microsoft yahei", "pingfang", "noto sans", "symbola")
NO_LETTERS = "last resort"  # a font of boxes
PACKAGES = {"CJK": "fonts-noto-cjk", "HIRAGANA": "fonts-noto-cjk", "KATAKANA": "fonts-noto-cjk",
            "HANGUL": "fonts-noto-cjk", "FULLWIDTH": "fonts-noto-cjk", "BOPOMOFO": "fonts-noto-cjk"}  # fmt: skip


@dataclass
class Letters:
    """``families``: the fonts of a figure, none where its own has all; ``lacking``: the letters that none has;
    ``numbers``: what is shown as a number → that."""

    families: list[str] = field(default_factory=list)
    lacking: frozenset[str] = frozenset()
    numbers: dict[str, int] = field(default_factory=dict)

    @property
    def style(self) -> dict[str, Any]:
        """For matplotlib."""
        return {"font.family": [BASE, *self.families]} if self.families else {}

    def readable(self, text: str) -> str:
        if self.lacking.isdisjoint(text):
            return text
        pieces = re.split(f"([{''.join(map(re.escape, sorted(self.lacking)))}]+)", text)
        return "".join(self._number(piece) if place % 2 else piece for place, piece in enumerate(pieces))

    def _number(self, piece: str) -> str:
        if all(map(joins, piece)):
            return ""
        return f"[{self.numbers.setdefault(piece, len(self.numbers) + 1)}]"

    @property
    def note(self) -> str:
        """For a caption."""
        told = ", ".join(f"[{number}] {piece}" for piece, number in self.numbers.items())
        return f"Letters that no font here has: {told}." if told else ""


_CURRENT: ContextVar[Letters | None] = ContextVar("letters", default=None)


@contextmanager
def drawn_with(letters: Letters) -> Iterator[None]:
    """Within it ``readable`` is that of ``letters``."""
    token = _CURRENT.set(letters)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def readable(text: str) -> str:
    """A text from data as a figure can show it."""
    letters = _CURRENT.get()
    return letters.readable(text) if letters else text


def has_wide(text: str) -> bool:
    """Whether it has letters as wide as two."""
    return any(places_of(letter) == 2 for letter in text)


def letters_for(texts: Iterable[str]) -> Letters:
    """The fonts that show these texts. Says once, on stderr, what no font has, and what to install."""
    lacking = {letter for text in texts for letter in text if not letter.isascii()} - own_letters()
    families = []
    if lacking:
        for path in installed():
            if found := lacking & letters_of(path):
                families.append(_added(path))
                lacking -= found
            if not lacking:
                break
    if signs := sorted(letter for letter in lacking if not joins(letter)):
        _say("".join(signs))
    return Letters(families, frozenset(lacking))


@cache
def own_letters() -> frozenset[str]:
    """Letters of the figures' own font, bold too."""
    from matplotlib.font_manager import FontProperties, findfont

    fonts = [FontProperties(family=[BASE], weight=weight) for weight in ("normal", "bold")]
    return frozenset.intersection(*(letters_of(findfont(font)) for font in fonts))


@cache
def letters_of(path: str) -> frozenset[str]:
    """Letters of a font's file; none where it is of pictures only, or cannot be read."""
    from matplotlib.ft2font import FT2Font

    with suppress(OSError, RuntimeError, ValueError):
        font = FT2Font(path)
        if font.scalable and NO_LETTERS not in font.family_name.lower():
            return frozenset(map(chr, font.get_charmap()))
    return frozenset()


@cache
def installed() -> list[str]:
    """Files of fonts, also of those installed since matplotlib made its list."""
    from matplotlib.font_manager import findSystemFonts, fontManager

    names = {font.fname: font.name for font in fontManager.ttflist if font.style == "normal"}
    names = {path: "" for path in findSystemFonts() if path not in {f.fname for f in fontManager.ttflist}} | names

    def order(path: str) -> tuple[int, str, int, str]:
        name = (names[path] or re.sub(r"[-_]", " ", path.rpartition("/")[2])).lower()
        place = next((i for i, start in enumerate(PREFERRED) if start in name.replace("notosans", "noto sans ")), 99)
        return place, name, "bold" in path.lower(), path

    return sorted(names, key=order)


def _added(path: str) -> str:
    """The family of a font, which matplotlib knows from now on."""
    from matplotlib.font_manager import fontManager
    from matplotlib.ft2font import FT2Font

    if path not in {font.fname for font in fontManager.ttflist}:
        fontManager.addfont(path)
    return str(FT2Font(path).family_name)


@cache
def _say(letters: str) -> None:
    scripts = {unicodedata.name(letter, "").split(" ")[0].split("-")[0] for letter in letters}
    packages = sorted({PACKAGES.get(script, "fonts-noto-core fonts-symbola") for script in scripts})
    some = letters[:8] + ("…" if len(letters) > 8 else "")
    tell(
        f"note: no font on this machine has the letters {some}: numbers stand for them, which the figure's caption "
        f"explains; install one that has them (Debian: apt install {' '.join(packages)}) and draw it again",
        sys.stderr,
    )
