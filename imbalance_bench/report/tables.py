"""A paper's table from records: ours, the paper's number, the difference, and how much of the grid was run."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from imbalance_bench.errors import BenchError
from imbalance_bench.registry import build
from imbalance_bench.report import frame as frames
from imbalance_bench.report.frame import ITERATES, NothingRun, Outcome
from imbalance_bench.report.means import MeanRows
from imbalance_bench.report.printed import PrintedTable
from imbalance_bench.report.render import Block, Footnotes, Item, Sheet, mean_sd, number
from imbalance_bench.report.scores import AXES, Score, decimals, mark_best, metric_title, relative, score

if TYPE_CHECKING:
    import pandas as pd

    from imbalance_bench.grid import Preset
    from imbalance_bench.store import Store


@dataclass(frozen=True)
class TableSpec:
    """The ``paper:`` node of a table's preset.

    ``published``: the file of printed numbers; ``published_as``: our labels → its names, by axis; ``rows`` and
    ``columns``: axes of ``AXES``; ``sections``: title → {method label: heading}, the first holds what is compared, the
    others are set apart; ``restrict``: methods whose cells exist for some values of an axis only (they are not
    ranked); ``readings``: what a reader must know of the settings, a line each.
    """

    name: str
    table: str
    title: str
    metrics: list
    class_group: str
    iterate: str
    rows: list
    columns: list
    sections: dict
    published: str | None = None
    published_as: dict | None = None
    restrict: dict | None = None
    readings: list | None = None


def table(preset: Preset, store: Store, iterate: str | None = None, command: str = "") -> Sheet:
    """The table of a preset, from records alone.

    Args:
        preset: a grid whose ``paper`` node is a ``TableSpec``.
        iterate: ``last`` or ``best``; None: the preset's.
        command: what makes this file again, for its header.

    Raises:
        NothingRun: no cell was run.
        BenchError: two cells of one row were trained on different rows, or two cells have the same labels.
    """
    spec = build(TableSpec, preset.paper, "paper")
    iterate = iterate or spec.iterate
    refuse_equal_labels(preset.cells)
    results = frames.outcomes(preset.cells, store)
    records = frames.done(results)
    if not records:
        raise NothingRun(spec.name, spec.table)
    frames.refuse_mixed_rows(records)
    printed = PrintedTable(spec.name, spec.published, spec.published_as) if spec.published else None
    scores = _scores(spec, results, printed, iterate)
    compared = next(iter(spec.sections))
    footnotes = Footnotes()
    rows, columns = _axes(spec, scores)
    sections = _sections(spec, scores)
    blocks = [grid(name, heads, scores, rows, columns, iterate, footnotes) for name, heads in sections.items()]
    notes = [explain(scores, printed), *(spec.readings or [])]
    mean_rows = None
    if rows == ["dataset"] and columns == ["method"]:
        mean_rows = MeanRows(spec.metrics[0], spec.sections[compared], scores, spec.restrict or {}, printed)
        blocks = [replace(block, summary=mean_rows.rows(heads)) for block, heads in zip(blocks, sections.values())]
        notes += mean_rows.notes()
    notes += [coverage(results, printed), *footnotes.lines()]
    return Sheet(
        name=spec.table if iterate == spec.iterate else f"{spec.table}_{iterate}",
        title=f"{spec.title} ({ITERATES[iterate]})",
        blocks=[replace(block, heading=_heading(block.heading, compared)) for block in blocks],
        notes=notes,
        provenance=frames.provenance_lines(records, command),
        frame=_frame(scores, mean_rows),
    )


def refuse_equal_labels(cells: Iterable[Any]) -> None:
    """Raises BenchError when two cells would stand in one place of a table."""
    seen: dict[tuple[str, ...], Any] = {}
    for cell in cells:
        key = tuple(sorted(cell.labels.items()))
        other = seen.setdefault(key, cell)
        if other.id != cell.id:
            one, two = frames.flatten(other.config), frames.flatten(cell.config)
            differing = sorted(k for k in one.keys() | two.keys() if one.get(k) != two.get(k))
            raise BenchError(
                f"two cells of this table have the same labels and differ in {', '.join(differing)}: give one value "
                f"of it here, or compare them with scripts/report.py without --paper"
            )


def _scores(spec: TableSpec, results: Sequence[Outcome], printed: PrintedTable | None, iterate: str) -> list[Score]:
    values = frames.by_cell(frames.done(results))
    section_of = {m: section for section, heads in spec.sections.items() for m in heads}
    scores = []
    for result, metric in itertools.product(results, spec.metrics):
        labels = result.labels
        made = score(result, values, metric, spec.class_group, iterate, section_of.get(labels["method"], "other"))
        cell = printed.find(labels["method"], labels["dataset"], labels["ratio"], metric) if printed else None
        scores.append(replace(made, published=cell.text, published_sd=cell.sd) if cell else made)
    compared = next(iter(spec.sections))
    return mark_best(_differences(_relative_gaps(scores)), lambda s: s.place if s.section == compared else None)


def _relative_gaps(scores: list[Score]) -> list[Score]:
    """Fills Δ = 100 · (mean / mean of the reference - 1), of the means over runs as the paper has it."""
    means = {(s.method, s.place): s for s in scores}
    filled = []
    for s in scores:
        gap = relative(s.metric)
        if gap and s.state == "done":
            metric, reference = gap
            place = (*s.place[:-1], metric)
            own, other = means.get((s.method, place)), means.get((reference, place))
            if s.method == reference:
                s = replace(s, state="reference")
            elif own is None or own.mean is None or other is None or not other.mean:
                s = replace(s, state="n/a", reason=f"{reference} is not run, so there is no gap to it")
            else:
                s = replace(s, mean=100 * (own.mean / other.mean - 1), runs=own.runs, of=own.of, iterate=own.iterate)
        filled.append(s)
    return filled


def _differences(scores: list[Score]) -> list[Score]:
    return [
        replace(s, difference=s.mean - float(s.published)) if s.mean is not None and s.published else s for s in scores
    ]


def _axes(spec: TableSpec, scores: Sequence[Score]) -> tuple[list[str], list[str]]:
    """The axes down and across; an axis of several values that the preset places nowhere goes down."""
    for axis in (*spec.rows, *spec.columns):
        if axis not in AXES:
            raise BenchError(f"paper.rows and paper.columns hold {axis!r}: the axes are {', '.join(AXES)}")
    placed = {*spec.rows, *spec.columns}
    extra = [a for a in AXES if a not in placed and a != "method" and len({getattr(s, a) for s in scores}) > 1]
    return [*spec.rows, *extra], list(spec.columns)


def _sections(spec: TableSpec, scores: Sequence[Score]) -> dict[str, dict[str, str]]:
    """The sections that have cells in this grid; methods of no section (from an override) come last."""
    methods = list(dict.fromkeys(s.method for s in scores))
    named = {m for heads in spec.sections.values() for m in heads}
    sections = {**spec.sections, "other": {m: m for m in methods if m not in named}}
    present = {title: {m: h for m, h in heads.items() if m in methods} for title, heads in sections.items()}
    return {title: heads for title, heads in present.items() if heads}


def _heading(section: str, compared: str) -> str:
    if section == compared:
        return "Methods of the paper's table"
    return f"Set apart: {section.replace('_', ' ')}"


def grid(
    section: str,
    heads: dict[str, str],
    scores: Sequence[Score],
    rows: list[str],
    columns: list[str],
    iterate: str,
    footnotes: Footnotes,
) -> Block:
    """The scores of some methods (label → heading) laid out along axes of ``AXES``."""
    scores = [s for s in scores if s.method in heads]
    cells = {tuple(getattr(s, axis) for axis in (*rows, *columns)): s for s in scores}

    def values(axes: list[str]) -> list[tuple[str, ...]]:
        options = [list(heads) if a == "method" else list(dict.fromkeys(getattr(s, a) for s in scores)) for a in axes]
        return list(itertools.product(*options))

    def title(axis: str, value: str) -> str:
        return heads[value] if axis == "method" else metric_title(value) if axis == "metric" else value

    across = values(columns)
    body = []
    for down in values(rows):
        found = [cells.get((*down, *key)) for key in across]
        if any(found):
            names = [Item(title(axis, value)) for axis, value in zip(rows, down)]
            body.append(names + [item(found_score, iterate, footnotes) for found_score in found])
    header = [axis.replace("_", " ") for axis in rows] + [
        " ".join(title(axis, value) for axis, value in zip(columns, key)) for key in across
    ]
    return Block(section, header, len(rows), body)


def item(score: Score | None, iterate: str, footnotes: Footnotes) -> Item:
    """How one number is printed; a cell outside the grid is a dash."""
    if score is None:
        return Item("–", muted=True)
    aside = _aside(score.published, score.difference)
    if score.mean is None:
        words = {"declined": "n/a", "reference": "baseline", "started": "not finished"}
        return Item(footnotes.mark(words.get(score.state, score.state), score.reason), aside, muted=True)
    text = mean_sd(score.mean, score.sd, decimals(score.metric))
    if score.runs < score.of:
        text = footnotes.mark(text, f"over {score.runs} of {score.of} runs: the others diverged or are undefined")
    if score.iterate != iterate:
        text = footnotes.mark(text, f"{ITERATES[score.iterate]}: this method keeps no other")
    return Item(text, aside, bold=score.best)


def _aside(published: str, difference: float | None) -> str:
    """ "(0.64, +0.07)": the paper's value as printed, and ours minus it, to no fewer than two decimals (Δ: one)."""
    if not published:
        return ""
    if difference is None:
        return f"({published})"
    decimals = len(published.partition(".")[2])
    if abs(float(published)) <= 1:
        decimals = max(decimals, 2)
    return f"({published}, {number(difference, decimals, signed=True)})"


def explain(scores: Sequence[Score], printed: PrintedTable | None = None) -> str:
    """How to read the numbers: over how many runs, of which classes, in which setting."""

    def distinct(field: str) -> str:
        return ", ".join(dict.fromkeys(getattr(s, field) for s in scores))

    runs = sorted({s.of for s in scores if s.mean is not None})
    over = f" over {' or '.join(map(str, runs))} runs a cell" if runs else ""
    theirs = "; in brackets the paper's printed value, and ours minus it" if printed else ""
    settings = "; ".join(f"{axis} {distinct(axis)}" for axis in ("ratio", "protocol", "backbone"))
    which = "of the paper's methods" if printed else "of a row"
    return (
        f"Ours: mean ± sd (n - 1){over}, class group {distinct('class_group')}{theirs}. Settings: {settings}. "
        f"Bold: best {which}, as rounded here."
    )


def coverage(results: Sequence[Outcome], printed: PrintedTable | None) -> str:
    """ "148 of 162 cells run (162 printed); 3 n/a, 11 not run"."""
    counts: dict[str, int] = {}
    for result in results:
        counts[result.state] = counts.get(result.state, 0) + 1
    words = {"declined": "n/a", "started": "not finished"}
    rest = ", ".join(f"{n} {words.get(state, state)}" for state, n in counts.items() if state != "done")
    text = f"{counts.get('done', 0)} of {len(results)} cells of this grid run"
    if printed:
        text += f"; the paper prints {printed.cells}"
        ours = sum(_is_printed(result, printed) for result in results if result.state == "done")
        text += f", of which {ours} are run"
    return text + (f" (the rest: {rest})." if rest else ".")


def _is_printed(result: Outcome, printed: PrintedTable) -> bool:
    labels = result.labels
    return printed.holds(labels["method"], labels["dataset"], labels["ratio"])


def _frame(scores: Sequence[Score], mean_rows: MeanRows | None) -> pd.DataFrame:
    import pandas as pd

    frame = pd.DataFrame([asdict(s) for s in scores])
    extra = mean_rows.frame_rows() if mean_rows else []
    return pd.concat([frame, pd.DataFrame(extra)], ignore_index=True) if extra else frame
