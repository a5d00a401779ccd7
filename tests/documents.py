"""The commands that the pages show, in blocks of code and between backquotes in a sentence; and the overrides there."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, replace
from functools import cache

from imbalance_bench.__main__ import VERBS
from tests.tasks import CONF

ROOT = CONF.parent
DOCS = sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", *DOCS)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
INDENTED = re.compile(r"(?:^ {4,}\S.*\n)+", re.M)
SPAN = re.compile(r"(?<!`)`([^`]+)`(?!`)")
TYPED = re.compile(r"(?:python|imbalance-bench|make|pip|git|source|eval|tensorboard|mlflow|wandb) ")
SAID = re.compile(rf"(?:{TYPED.pattern[:-1]}|(?:scripts/)?(?:{'|'.join(VERBS)})\.py) ")  # in a sentence
OVERRIDE = re.compile(r"[+~]?[a-z][\w/.@]*=.+")


@dataclass(frozen=True)
class Command:
    """One command of a page as one types it: continued lines joined, without its comment."""

    page: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}: {self.text}"

    @property
    def words(self) -> list[str]:
        return shlex.split(self.text)

    @property
    def verb(self) -> str:
        """The verb of imbalance-bench that it is, by whichever of its names; "" for other programs."""
        first, *others = self.words
        name = others[0] if first in ("python", "imbalance-bench") and others else first
        name = name.removeprefix("scripts/").removesuffix(".py")
        return name if name in VERBS else ""

    @property
    def arguments(self) -> list[str]:
        """The words after the verb."""
        return self.words[2 if self.words[0] in ("python", "imbalance-bench") else 1 :]

    def each(self) -> list[Command]:
        """A command for each of the alternatives of a word such as pr|roc."""
        choice = re.search(r"(?<= )\w+(?:\|\w+)+$", self.text)
        names = choice[0].split("|") if choice else []
        return [replace(self, text=self.text.replace(choice[0], name)) for name in names] if choice else [self]


@cache
def commands(page: str) -> tuple[Command, ...]:
    """Those of a page in their order, each once."""
    text = (ROOT / page).read_text()
    found: dict[int, str] = {}
    for fence in FENCE.finditer(text):
        if fence[1] in ("", "bash"):
            found |= _lines(fence[2], fence.start(2), every=fence[1] == "bash")
    text = FENCE.sub(lambda fence: " " * len(fence[0]), text)
    for block in INDENTED.finditer(text):
        found |= _lines(block[0], block.start(), every=False)
    found |= {place: words for place, words in _spans(text).items() if SAID.match(words)}
    return tuple(dict.fromkeys(Command(page, found[place]) for place in sorted(found)))


@cache
def overrides(page: str) -> tuple[str, ...]:
    """What a sentence or a table of a page says to add to train.py, such as `ratio=ir_20 method=focal`."""
    text = FENCE.sub("", (ROOT / page).read_text())
    spans = [words.replace("\\|", "|") for words in _spans(text).values() if "=" in words]  # a bar in a table
    return tuple(dict.fromkeys(words for words in spans if all(map(OVERRIDE.fullmatch, _split(words)))))


def _lines(block: str, start: int, every: bool) -> dict[int, str]:
    """Place → command of each line of a block; ``every``: whatever it begins with."""
    found, place = {}, start
    for line in block.replace("\\\n", "\0\0").splitlines(keepends=True):
        words = " ".join(re.sub(r"(^|\s)#( |$).*", "", line.replace("\0", " ")).split())
        if words and (every or TYPED.match(f"{words} ")):
            found |= {place + number: part for number, part in enumerate(words.split(" && "))}
        place += len(line)
    return found


def _split(words: str) -> list[str]:
    try:
        return shlex.split(words)
    except ValueError:  # an apostrophe
        return [""]


def _spans(text: str) -> dict[int, str]:
    return {span.start(): " ".join(span[1].split()) for span in SPAN.finditer(text)}
