"""How much of what papers print is run, and how near it is: ``status.py --papers``, and the overview of the pages."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from statistics import median

from imbalance_bench.report.pages.committed import of_paper, stored
from imbalance_bench.report.published import printed
from imbalance_bench.report.records.failures import FAILED
from imbalance_bench.report.sheets.scores import Score
from imbalance_bench.settings.presets import presets, title_of

HEADER = (
    "paper", "tables: printed", "with a preset", "run", "figures: printed", "with a preset", "drawn",
    "numbers: printed", "run", "within the spread",
)  # fmt: skip
EXPLAINED = (
    "Run: the number stands beside ours in a file of outputs/tables, and not for a stand-in of its data; of a table, "
    "any of its numbers, its examples, or the drawing of a definition. Drawn: the figure, or a table of what it shows, "
    "is stored, of other data too. Within the spread: no further from the printed mean than the standard deviation "
    "printed with it or, where none is printed, ours over runs; or than rounding."
)


@dataclass(frozen=True)
class PrintedItem:
    """A table or figure that a paper prints; ``presets``: those that make it, or what can be made of it."""

    paper: str
    item: str
    kind: str
    title: str
    presets: tuple[str, ...]


def printed_items() -> list[PrintedItem]:
    """All of all papers, from ``published/index.csv``."""
    text = (resources.files("imbalance_bench.report.published") / "index.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines())
    return [PrintedItem(r["paper"], r["item"], r["kind"], r["title"], tuple(r["presets"].split())) for r in rows]


def within(score: Score) -> bool:
    """Whether a score that has a difference is as near to the printed value as the spread is wide, or as it is
    rounded."""
    assert score.difference is not None
    decimals = len(score.published.partition(".")[2])
    if abs(score.difference) <= 0.5 * 10.0**-decimals + 1e-9:
        return True
    return score.spreads is not None and abs(score.spreads) <= 1


@dataclass(frozen=True)
class Coverage:
    """Counts of a table: its ``cells``, how many are ``run``, and how many ``failed`` or have a record that does not
    count; its numbers that the paper prints too (``printed``), those of them that are run (``compared``), those that
    are ``within`` the spread, ``above`` and ``below`` the printed value; the ``median`` difference in spreads, None
    without any."""

    cells: int
    run: int
    failed: int
    printed: int
    compared: int
    within: int
    above: int
    below: int
    median: float | None

    @classmethod
    def of(cls, scores: Iterable[Score]) -> Coverage:
        scores = list(scores)
        differing = [s for s in scores if s.difference is not None]
        sizes = [s.spreads for s in differing if s.spreads is not None]
        return cls(
            cells=len({s.id for s in scores}),
            run=len({s.id for s in scores if s.mean is not None}),
            failed=len({s.id for s in scores if s.state in FAILED}),
            printed=sum(bool(s.published) and not s.stand_in for s in scores),
            compared=len(differing),
            within=sum(map(within, differing)),
            above=sum((s.difference or 0) > 0 for s in differing),
            below=sum((s.difference or 0) < 0 for s in differing),
            median=median(sizes) if sizes else None,
        )


def paper_row(paper: str, outputs: Path) -> list[str]:
    """A paper's row below ``HEADER``, from the tables and figures that are stored under an outputs folder."""
    items = [item for item in printed_items() if item.paper == paper]
    files = of_paper(outputs / "tables" / paper, presets(paper, "table"))
    counts: dict[str, list[int]] = {}
    scores: list[Score] = []
    for kind in ("table", "figure"):
        mine = [item for item in items if item.kind == kind]
        counts[kind] = [len(mine), sum(bool(item.presets) for item in mine), 0]
        for item in mine:
            of_item = [s for name in item.presets if name in files for s in stored(files[name]).scores]
            drawn = any((outputs / "figures" / paper / f"{name}.svg").is_file() for name in item.presets)
            counts[kind][2] += drawn or any(_shown(s, kind) for s in of_item) or _examples(item, files)
            scores += [s for s in _once(of_item) if s.difference is not None]
    numbers = sum(map(bool, (row["value"] for item in items for row in _rows(item))))
    said = [*counts["table"], *counts["figure"], numbers, len(scores), sum(map(within, scores))]
    return [title_of(paper), *map(str, said)]


def _shown(score: Score, kind: str) -> bool:
    """Whether a score that is run shows something of a printed table, or figure."""
    return score.mean is not None and (kind == "figure" or (bool(score.published) and not score.stand_in))


def _examples(item: PrintedItem, files: dict[str, Path]) -> bool:
    """Whether a table of texts is stored, which has no scores."""
    return any("generated" in stored(files[name]).header for name in item.presets if name in files)


def _once(scores: Iterable[Score]) -> list[Score]:
    """One score a printed number, where several presets have it: the first that is run."""
    found: dict[tuple[str, ...], Score] = {}
    for s in scores:
        key = (s.method, s.dataset, s.ratio, s.backbone, s.class_group, s.metric, s.published)
        if key not in found or found[key].difference is None:
            found[key] = s
    return list(found.values())


def _rows(item: PrintedItem) -> list[dict[str, str]]:
    """The printed numbers of a table, without its mean rows."""
    name = item.item.lower().replace(" ", "_")
    if item.kind != "table" or name not in printed.tables(item.paper):
        return []
    return [row for row in printed.read(item.paper, name) if not row["dataset"].startswith("mean_over_")]


def papers_table(outputs: Path) -> str:
    """The rows of all papers that print something, in Markdown."""
    papers = list(dict.fromkeys(item.paper for item in printed_items()))
    rows = [HEADER, ["---", *["---:"] * (len(HEADER) - 1)], *(paper_row(paper, outputs) for paper in sorted(papers))]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)
