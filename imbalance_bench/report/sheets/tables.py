"""A paper's table from records: ours, the paper's number, the difference, and how much of the grid was run."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from imbalance_bench.errors import BenchError, suggestion
from imbalance_bench.registry import build
from imbalance_bench.report.published.printed import PrintedTable
from imbalance_bench.report.published.sides import Side
from imbalance_bench.report.records import comparable
from imbalance_bench.report.records import records as frames
from imbalance_bench.report.records.records import LOWER_IS_BETTER, CellState, NothingRun, readout_title
from imbalance_bench.report.sheet import Block, Footnotes, Item, Sheet, number
from imbalance_bench.report.sheets.counts import counts_of
from imbalance_bench.report.sheets.means import MeanRows
from imbalance_bench.report.sheets.scores import (
    AXES,
    FACTS,
    Score,
    class_title,
    mark_best,
    metric_title,
    recorded,
    relative,
    score,
    score_text,
)

if TYPE_CHECKING:
    import pandas as pd

    from imbalance_bench.report.records.collected import Source
    from imbalance_bench.settings.presets import Preset

FLAG = "†"  # beside a printed number of another data set


@dataclass(frozen=True)
class TableSpec:
    """The ``paper:`` node of a table's preset.

    ``published``: the file of printed numbers; ``published_as``: our labels → its names, by axis
    (``printed.PrintedTable``); ``rows`` and ``columns``: axes of ``AXES``; ``blocks``: an axis whose values get
    a grid each; ``class_group``: one, several, or by ratio label; ``sections``: title → {row: heading}, rows as in
    ``sides.Side``, the first holds what is compared, the others are set apart; ``only``: metrics that there are for
    some values of an axis → {axis: values}; ``lower``: metrics of which lower is better, beside errors; ``titles``:
    headings of labels, by axis; ``exchanged``: metric → the one whose printed numbers it may have been given on
    imbalanced data; ``stand_ins``: data sets beside which the numbers of another stand, → what that is; ``readings``:
    what a reader must know of the settings, a line each; ``counted``: a table of the data sets themselves
    (``sheets.counts``), without runs.
    """

    name: str
    table: str
    title: str
    metrics: list
    class_group: str | list | dict
    iterate: str
    rows: list
    columns: list
    sections: dict
    blocks: str | None = None
    published: str | None = None
    published_as: dict | None = None
    only: dict | None = None
    lower: list | None = None
    titles: dict | None = None
    exchanged: dict | None = None
    stand_ins: dict | None = None
    readings: list | None = None
    counted: bool = False

    def class_groups(self, ratio: str) -> list[str]:
        """The class groups shown of cells of a ratio; all there are where the ratio is none of the preset's."""
        if isinstance(self.class_group, str):
            return [self.class_group]
        if isinstance(self.class_group, list):
            return self.class_group
        every = list(dict.fromkeys(itertools.chain.from_iterable(self.class_group.values())))
        return self.class_group.get(ratio, every)

    def rows_of(self, labels: dict[str, str]) -> list[str]:
        """The rows that a cell has, e.g. method cnn → cnn, cnn@knn, cnn@lr; one of its own where none is declared."""
        method, backbone = labels["method"], labels["backbone"]
        named = [row for heads in self.sections.values() for row in heads if Side.of(row).method == method]
        return [row for row in named if Side.of(row).holds(backbone)] or [f"{method}/{backbone}" if named else method]

    @property
    def order(self) -> dict[str, list[str]]:
        """The order of what the preset lists itself, by axis."""
        return {"metric": self.metrics, "class_group": self.class_group if isinstance(self.class_group, list) else []}

    def has(self, metric: str, labels: dict[str, str]) -> bool:
        """Whether a metric is one of a cell; ``labels``: by axis."""
        return all(labels[axis] in values for axis, values in ((self.only or {}).get(metric) or {}).items())

    def heading(self, axis: str, value: str) -> str:
        title = (self.titles or {}).get(axis, {}).get(value)
        if title is None and axis in ("metric", "class_group"):
            return metric_title(value) if axis == "metric" else class_title(value)
        return value if title is None else title


def table(
    preset: Preset,
    store: Source,
    readout: str | None = None,
    command: str = "",
    data: Path = Path("data"),
    plain: bool = False,
) -> Sheet:
    """The table of a preset, from records alone; one that is ``counted``, from the data sets under ``data``.

    Args:
        preset: a grid whose ``paper`` node is a ``TableSpec``.
        readout: ``last`` or ``best``; None: the preset's.
        command: what makes this file again, for its header.
        plain: without the printed values.

    Raises:
        NothingRun: no cell was run.
        BenchError: two cells of one row were trained on different rows, or two cells have the same labels.
    """
    spec = build(TableSpec, preset.paper, "paper")
    readout = readout or spec.iterate
    comparable.refuse_equal_labels(preset.cells)
    if spec.counted:
        results, values = counts_of(preset.cells, data)
        provenance = [f"command: {command.rpartition('; ')[2]}", "counted on loading: no run stands behind it"]
        records = []
    else:
        results = frames.cell_states(preset.cells, store)
        records = frames.done(results)
        if not records:
            raise NothingRun(spec.name, spec.table, damaged=frames.damage_notes(results))
        comparable.refuse_mixed_rows(records)
        values, provenance = frames.by_cell(records), frames.provenance_lines(records, command)
    published = None if plain else spec.published
    printed = PrintedTable(spec.name, published, spec.published_as) if published else None
    scores = _scores(spec, results, values, printed, readout)
    found = laid_out(spec, scores, readout, printed)
    notes = [*found.notes, *([] if spec.counted else _unknown_metrics(spec, values))]
    notes += [coverage(spec, results, printed), *frames.code_notes(records), *found.footnotes]
    return Sheet(
        name="_".join([spec.table, *([readout] if readout != spec.iterate else []), *(["plain"] if plain else [])]),
        title=spec.title if spec.counted else f"{spec.title} ({readout_title(readout)})",
        blocks=found.blocks,
        notes=notes,
        provenance=provenance,
        frame=_frame(found.scores, found.mean_rows),
    )


@dataclass(frozen=True)
class LaidOut:
    """The scores of a table as it is read; ``scores``: the best of each place marked."""

    scores: list[Score]
    blocks: list[Block]
    notes: list[str]
    footnotes: list[str]
    mean_rows: MeanRows | None


def laid_out(spec: TableSpec, scores: list[Score], readout: str, printed: PrintedTable | None) -> LaidOut:
    """The blocks of a table, and the notes that go with them, from a score for each of its cells, run or not."""
    compared = next(iter(spec.sections))
    rows, columns = _axes(spec, scores)
    sections = _sections(spec, scores)
    placed = [a for a in (spec.blocks, *rows, *columns) if a and a != "method"]
    scores = mark_best(
        scores, lambda s: tuple(getattr(s, a) for a in placed) if s.section == compared else None, spec.lower or ()
    )
    footnotes = Footnotes()
    notes = [explain(scores, printed, placed, spec.counted), *(spec.readings or [])]
    mean_rows = None
    if spec.blocks:
        blocks, left_out = _split(spec, scores, rows, columns, readout, footnotes)
        notes += left_out
    else:
        parts = [grid(n, heads, scores, rows, columns, readout, footnotes, spec) for n, heads in sections.items()]
        if rows == ["dataset"] and columns == ["method"]:
            mean_rows = MeanRows(spec.metrics[0], spec.sections[compared], scores, _partial(scores), printed)
            parts = [replace(block, summary=mean_rows.rows(heads)) for block, heads in zip(parts, sections.values())]
            notes += mean_rows.notes()
        blocks = [replace(block, heading="" if spec.counted else _heading(block.heading, compared)) for block in parts]
    return LaidOut(scores, blocks, notes + _flags(spec, scores), footnotes.lines(), mean_rows)


def _scores(
    spec: TableSpec,
    results: Sequence[CellState],
    values: dict[str, frames.Values],
    printed: PrintedTable | None,
    readout: str,
) -> list[Score]:
    section_of = {row: section for section, heads in spec.sections.items() for row in heads}
    scores = []
    for result in results:
        labels = result.labels
        groups = spec.class_groups(labels["ratio"])
        for row, group, metric in itertools.product(spec.rows_of(labels), groups, spec.metrics):
            if not spec.has(metric, labels | {"class_group": group}):
                continue
            made = score(result, values, metric, group, readout, section_of.get(row, "other"), row)
            made = _beside_printed(made, spec, printed) if printed else made
            if made.mean is not None or made.published or not spec.counted:  # a class that a data set has not got
                scores.append(made)
    return _differences(_relative_gaps(_best_networks(scores, spec.lower or ())))


def _best_networks(scores: list[Score], lower: Sequence[str]) -> list[Score]:
    """Keeps one network of each row that is the best of several, in each place: that of the best mean of the first
    metric and class group. ``lower`` as in ``TableSpec``."""
    choices: dict[tuple[str, ...], dict[str, Score]] = {}

    def place(s: Score) -> tuple[str, ...]:
        return (s.method, s.dataset, s.ratio, s.protocol)

    for s in scores:
        if Side.of(s.method).chooses:
            choices.setdefault(place(s), {}).setdefault(s.id, s)

    def worth(s: Score) -> tuple[bool, float, bool]:
        sign = -1 if s.metric in lower or recorded(s.metric)[0] in LOWER_IS_BETTER else 1
        return s.mean is not None, sign * s.mean if s.mean is not None else 0.0, s.state != "not run"

    kept = {where: max(cells.values(), key=worth) for where, cells in choices.items()}
    made = []
    for s in scores:
        best = kept.get(place(s))
        if best is None:
            made.append(s)
        elif s.id == best.id:
            run = [c.backbone for c in choices[place(s)].values() if c.mean is not None]
            made.append(replace(s, chosen=f"best of {', '.join(run)}: {s.backbone}") if len(run) > 1 else s)
    return made


def _beside_printed(s: Score, spec: TableSpec, printed: PrintedTable) -> Score:
    """The paper's number, and on imbalanced data that of the metric it may have exchanged with this one."""
    cell = printed.find(s.method, s.dataset, s.ratio, s.metric, s.class_group, s.backbone)
    if cell is None:
        return s
    other = (spec.exchanged or {}).get(s.metric)
    twin = printed.find(s.method, s.dataset, s.ratio, other, s.class_group, s.backbone) if other else None
    exchanged = twin.text if twin and twin.text != cell.text and s.ratio != "native" else ""
    stand_in = s.dataset in (spec.stand_ins or {})
    return replace(s, published=cell.text, published_sd=cell.sd, exchanged=exchanged, stand_in=stand_in)


def _relative_gaps(scores: list[Score]) -> list[Score]:
    """Fills Δ = 100 · (mean / mean of the reference - 1), of the means over runs as the paper has it."""

    def place(s: Score, metric: str) -> tuple[str, ...]:
        return (s.dataset, s.ratio, s.backbone, s.protocol, s.class_group, metric)

    means = {(s.method, place(s, s.metric)): s for s in scores}
    filled = []
    for s in scores:
        gap = relative(s.metric)
        if gap and s.state == "done":
            metric, reference = gap
            own, other = means.get((s.method, place(s, metric))), means.get((reference, place(s, metric)))
            if s.method == reference:
                s = replace(s, state="reference")
            elif own is None or own.mean is None or other is None or not other.mean:
                s = replace(s, state="n/a", reason=f"{reference} is not run, so there is no gap to it")
            else:
                s = replace(s, mean=100 * (own.mean / other.mean - 1), runs=own.runs, of=own.of, iterate=own.iterate)
        filled.append(s)
    return filled


def _differences(scores: list[Score]) -> list[Score]:
    """Ours minus the printed value; no difference to the value of another data set."""
    return [
        replace(s, difference=s.mean - float(s.published))
        if s.mean is not None and s.published and not s.stand_in
        else s
        for s in scores
    ]


def _axes(spec: TableSpec, scores: Sequence[Score]) -> tuple[list[str], list[str]]:
    """The axes down and across; an axis that tells numbers apart and that the preset places nowhere goes down (one
    that goes with another, as a trainer may go with a data set, does not)."""
    placed = [*spec.rows, *spec.columns, *([spec.blocks] if spec.blocks else [])]
    for axis in placed:
        if axis not in AXES:
            raise BenchError(f"paper.rows, columns and blocks hold {axis!r}: the axes are {', '.join(AXES)}")

    def places(axes: list[str]) -> int:
        return len({tuple(getattr(s, a) for a in axes) for s in scores})

    extra: list[str] = []
    for axis in AXES:
        known = [*placed, *extra, "method"]
        if axis not in known and places([*known, axis]) > places(known):
            extra.append(axis)
    return [*spec.rows, *extra], list(spec.columns)


def _sections(spec: TableSpec, scores: Sequence[Score]) -> dict[str, dict[str, str]]:
    """The sections that have cells in this grid; methods of no section (from an override) come last."""
    methods = list(dict.fromkeys(s.method for s in scores))
    named = {m for heads in spec.sections.values() for m in heads}
    sections = {**spec.sections, "other": {m: m for m in methods if m not in named}}
    present = {title: {m: h for m, h in heads.items() if m in methods} for title, heads in sections.items()}
    return {title: heads for title, heads in present.items() if heads}


def _partial(scores: Sequence[Score]) -> set[str]:
    """Methods that a table has on some of its data sets only, and that are therefore not ranked."""
    pairs = {(s.method, s.dataset) for s in scores}
    methods, datasets = ({pair[i] for pair in pairs} for i in (0, 1))
    return {method for method in methods if any((method, dataset) not in pairs for dataset in datasets)}


def _heading(section: str, compared: str) -> str:
    if section == compared:
        return "Methods of the paper's table"
    return f"Set apart: {section.replace('_', ' ')}"


def _split(
    spec: TableSpec,
    scores: Sequence[Score],
    rows: list[str],
    columns: list[str],
    readout: str,
    footnotes: Footnotes,
) -> tuple[list[Block], list[str]]:
    """A grid for each value of ``spec.blocks`` and section of which anything was run, and notes on the others."""
    assert spec.blocks
    compared = next(iter(spec.sections))
    blocks, unrun = [], []
    for value in dict.fromkeys(getattr(s, spec.blocks) for s in scores):
        here = [s for s in scores if getattr(s, spec.blocks) == value]
        title = spec.heading(spec.blocks, value)
        for section, heads in _sections(spec, here).items():
            name = title if section == compared else f"{title}, set apart: {section.replace('_', ' ')}"
            if any(s.state != "not run" for s in here if s.method in heads):
                block = grid(section, heads, here, rows, columns, readout, footnotes, spec)
                blocks.append(replace(block, heading=name))
            elif all(s.state == "not run" for s in here):
                unrun.append(title)
                break
            else:
                unrun.append(name)
    return blocks, [f"Nothing was run of: {'; '.join(unrun)}."] if unrun else []


def grid(
    section: str,
    heads: dict[str, str],
    scores: Sequence[Score],
    rows: list[str],
    columns: list[str],
    readout: str,
    footnotes: Footnotes,
    spec: TableSpec | None = None,
) -> Block:
    """The scores of some methods (row → heading) laid out along axes of ``AXES``; rows and columns without any cell
    are left out."""
    scores = [s for s in scores if s.method in heads]
    cells = {tuple(getattr(s, axis) for axis in (*rows, *columns)): s for s in scores}

    def values(axes: list[str]) -> list[tuple[str, ...]]:
        declared = {"method": list(heads)} | (spec.order if spec else {})
        options = [declared.get(a) or list(dict.fromkeys(getattr(s, a) for s in scores)) for a in axes]
        taken = {tuple(getattr(s, a) for a in axes) for s in scores}
        return [key for key in itertools.product(*options) if key in taken]

    def title(axis: str, value: str) -> str:
        if axis == "method":
            return heads[value]
        return spec.heading(axis, value) if spec else metric_title(value) if axis == "metric" else value

    across = values(columns)
    body = []
    for down in values(rows):
        names = [Item(title(axis, value)) for axis, value in zip(rows, down)]
        body.append(names + [item(cells.get((*down, *key)), readout, footnotes) for key in across])
    words = {"class_group": "classes"}
    header = [words.get(axis, axis) for axis in rows] + [
        " ".join(filter(None, (title(axis, value) for axis, value in zip(columns, key)))) for key in across
    ]
    return Block(section, header, len(rows), body)


def item(score: Score | None, readout: str, footnotes: Footnotes) -> Item:
    """How one number is printed; a cell outside the grid is a dash."""
    if score is None:
        return Item("–", muted=True)
    aside = _aside(score)
    if score.mean is None:
        words = {"declined": "n/a", "reference": "baseline"}
        text = footnotes.mark(words.get(score.state, score.state), score.reason)
        return Item(text, aside, muted=True, cell=score.id)
    text = score_text(score, Side.of(score.method).readout or readout, footnotes)
    return Item(text, aside, score.best, value=score.mean, spreads=score.spreads, cell=score.id)


def _aside(score: Score) -> str:
    """ "(0.64, +0.07)": the paper's value as printed, and ours minus it, to no fewer than two decimals (Δ: one);
    "(0.64†)": its value of another data set; behind a semicolon the same of the value that it may have exchanged."""
    if not score.published:
        return ""

    def beside(printed: str) -> str:
        if score.mean is None or score.difference is None:
            return printed + (FLAG if score.stand_in else "")
        places = len(printed.partition(".")[2])
        if abs(float(printed)) <= 1:
            places = max(places, 2)
        return f"{printed}, {number(score.mean - float(printed), places, signed=True)}"

    exchanged = f"; exchanged {beside(score.exchanged)}" if score.exchanged else ""
    return f"({beside(score.published)}{exchanged})"


def _flags(spec: TableSpec, scores: Sequence[Score]) -> list[str]:
    """Explains the flag of each data set that stands in for another."""
    flagged = dict.fromkeys(s.dataset for s in scores if s.stand_in)
    return [f"{FLAG} {spec.heading('dataset', d)}: {(spec.stand_ins or {})[d]}" for d in flagged]


def explain(
    scores: Sequence[Score], printed: PrintedTable | None = None, placed: Sequence[str] = (), counted: bool = False
) -> str:
    """How to read the numbers: over how many runs, of which classes, in which setting. ``placed``: axes of the table,
    which says their values itself; ``counted`` as in ``TableSpec``."""

    def listed(field: str) -> str:
        return ", ".join(dict.fromkeys(getattr(s, field) for s in scores))

    runs = sorted({s.of for s in scores if s.mean is not None and s.of})
    over = f" over {' or '.join(map(str, runs))} {'run' if runs == [1] else 'runs'} a cell" if runs else ""
    theirs = "; in brackets the paper's printed value, and ours minus it" if printed else ""
    if counted:
        return f"Ours: counted on loading, before any split (ratio {listed('ratio')}){theirs}."
    settings = "; ".join(f"{axis} {listed(axis)}" for axis in ("ratio", "protocol", "backbone", "trainer"))
    classes = "" if "class_group" in placed else f", class group {listed('class_group')}"
    which = "of the paper's methods" if printed else "on the same data"
    return f"Ours: mean ± sd (n - 1){over}{classes}{theirs}. Settings: {settings}. Bold: best {which}, as rounded here."


def coverage(spec: TableSpec, results: Sequence[CellState], printed: PrintedTable | None) -> str:
    """ "148 of 162 cells run (162 printed); 3 n/a, 11 not run"."""
    counts: dict[str, int] = {}
    for result in results:
        counts[result.in_words] = counts.get(result.in_words, 0) + 1
    rest = ", ".join(f"{n} {'n/a' if state == 'declined' else state}" for state, n in counts.items() if state != "done")
    what = "data sets are here" if spec.counted else "cells of this grid run"
    text = f"{counts.get('done', 0)} of {len(results)} {what}"
    if printed and not spec.counted:
        ours = {
            place for result in results if result.state == "done" for place in _printed_places(spec, result, printed)
        }
        text += f"; the paper prints {printed.cells}, of which {len(ours)} are run"
    return text + (f" (the rest: {rest})." if rest else ".")


def _printed_places(spec: TableSpec, result: CellState, printed: PrintedTable) -> set[tuple[str, str, str]]:
    """The paper's cells that this one of ours reproduces; none where its data set stands in for another."""
    labels = result.labels
    if labels["dataset"] in (spec.stand_ins or {}):
        return set()
    where = (labels["dataset"], labels["ratio"], labels["backbone"])
    return {place for row in spec.rows_of(labels) for place in printed.places(row, *where)}


def _unknown_metrics(spec: TableSpec, values: dict[str, frames.Values]) -> list[str]:
    """Names the metrics that no record has, beside the nearest that some have."""
    known = {metric for numbers in values.values() for _, _, metric in numbers}
    asked = {metric: recorded(metric)[0] for metric in spec.metrics if not relative(metric) and metric not in FACTS}
    return [
        f"{metric} is in no record: {suggestion(name, known)}" for metric, name in asked.items() if name not in known
    ]


def _frame(scores: Sequence[Score], mean_rows: MeanRows | None) -> pd.DataFrame:
    import pandas as pd

    frame = pd.DataFrame([asdict(s) for s in scores])
    extra = mean_rows.frame_rows() if mean_rows else []
    return pd.concat([frame, pd.DataFrame(extra)], ignore_index=True) if extra else frame
