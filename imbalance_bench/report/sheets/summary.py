"""Tables of whatever was run: of any metrics, along any axes; by default data sets down and methods across."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from imbalance_bench.errors import command
from imbalance_bench.metrics import scoring
from imbalance_bench.report.records import records as frames
from imbalance_bench.report.records.records import LABELS, Head, readout_title
from imbalance_bench.report.records.selection import (
    OF_NUMBERS,
    Asked,
    Selection,
    data_notes,
    heads_of,
    natural,
    network_notes,
    of_data,
    selection,
    shown_labels,
    why_absent,
)
from imbalance_bench.report.sheet import Block, Footnotes, Item, Sheet
from imbalance_bench.report.sheets.failed import Failed
from imbalance_bench.report.sheets.means import MeanRows, dependence
from imbalance_bench.report.sheets.scores import Score, class_title, mark_best, metric_title
from imbalance_bench.report.sheets.tables import explain, item
from imbalance_bench.settings.identity import digest
from imbalance_bench.settings.objective import has_better_side
from imbalance_bench.store import Record, outputs_of

if TYPE_CHECKING:
    from imbalance_bench.report.records.collected import Source

OF_COST = ("cost", "cost_tuned", "threshold_cost")  # metrics that the cost of a missed positive is part of
LONGEST = 80  # characters of a sheet's name


def summary(
    store: Source,
    filters: Sequence[str] = (),
    readout: str | None = None,
    command: str = "",
    metric: str | None = None,
    group: str | None = None,
) -> Sheet:
    """One block for each setting (ratio, protocol, backbone, metric); records under one label that were run with
    other options have those options appended (``focal gamma=5``).

    Args:
        filters: as of ``select.select``, e.g. ``dataset=ecoli,oil`` or ``method=smote*``.
        readout: ``last`` (also for None) or ``best``.
        metric: any of the records, in place of the one that heads each row.
        group: of classes, in place of the headline's.

    Raises:
        BenchError: as of ``selection.selection``.
    """
    (sheet,) = summaries(selection(store, filters, Asked((metric,), (group,), readout or "last")), command)
    return sheet


def summaries(found: Selection, command: str = "") -> list[Sheet]:
    """A sheet for each metric asked for, or one where metrics are an axis. A block is of what its rows and columns do
    not say: setting, metric, class group."""
    metrics = found.asked.metrics
    cells = cells_of(found)
    if len(metrics) == 1 or "metric" in found.asked.placed:
        return [_sheet(found, cells, metrics, command)]
    return [_sheet(found, [c for c in cells if c.score.metric == m], (m,), command) for m in metrics]


@dataclass(frozen=True)
class Cell:
    """A number and where it stands: names along the axes of rows and of columns; what it is of, ``unit`` and
    ``candidate`` as of ``Selection``; ``options``: names along axes that are keys of the configuration."""

    score: Score
    setting: str
    row: tuple[str, ...]
    column: tuple[str, ...]
    unit: str
    candidate: str
    options: dict[str, str]


def _sheet(found: Selection, cells: Sequence[Cell], metrics: Sequence[str | None], command: str) -> Sheet:
    import pandas as pd

    asked, records = found.asked, found.records
    footnotes, failed = Footnotes(), Failed(found)
    placed = ["class_group"] if set(OF_NUMBERS) & set(asked.placed) else []
    blocks, notes = [], [explain([c.score for c in cells], placed=placed)]
    for section in dict.fromkeys(c.score.section for c in cells):
        block, more = _block(section, [c for c in cells if c.score.section == section], asked, footnotes, failed)
        blocks.append(block)
        notes += [f"{section}: {note}" for note in more]
    named = "method" in asked.columns and "backbone" not in asked.placed
    return Sheet(
        name=sheet_name("summary", asked, metrics),
        title=f"Summary ({readout_title(asked.readout)}{', validation rows' if asked.part == 'valid' else ''})",
        blocks=blocks,
        notes=[
            *notes,
            *(network_notes(records, found.places) if named else []),
            *(data_notes(records, found.places) if asked.rows == ("dataset",) else []),
            *found.notes,
            *(note for metric in metrics for note in metric_notes(records, metric)),
            *frames.code_notes(records),
            *frames.left_out(found.damaged),
            *footnotes.lines(),
        ],
        provenance=frames.provenance_lines(found.done, command),
        frame=pd.DataFrame([asdict(c.score) | c.options for c in cells]),
    )


def sheet_name(
    kind: str, asked: Asked, metrics: Sequence[str | None], more: Sequence[str | Literal[False] | None] = ()
) -> str:
    """The ``kind`` of a sheet, and what of it is not the default."""
    groups = ["each_class" if group == "class:*" else group for group in asked.groups]
    axes = [f"{'_'.join(asked.rows)}_by_{'_'.join(asked.columns)}"]
    default = (asked.rows, asked.columns) == (Asked.rows, Asked.columns)
    readout = None if asked.readout == Asked.readout else asked.readout
    part = None if asked.part == Asked.part else asked.part
    said = [*more, *metrics, *groups, readout, part, *([] if default else axes)]
    name = "_".join([kind, *(re.sub(r"[^\w.-]", "_", part) for part in said if part)])
    return name if len(name) <= LONGEST else f"{kind}_{digest(name)}"


def scores_in(sheet: Sheet) -> list[Score]:
    """The scores of a summary back from its tidy frame, for its picture."""
    frame = sheet.frame.astype(object).where(sheet.frame.notna(), None)
    return [Score(**row) for row in frame.to_dict("records")]


def metric_notes(records: Sequence[Record], metric: str | None) -> list[str]:
    """At which cost a metric of costs was computed, and whether in the same way in all records: by one cost; one of the
    user's own, by one code. Of a metric of probabilities, which methods have none."""
    if metric in (*scoring.OF_PROBABILITIES, "ece"):
        return _rank_notes([r for r in records if r["status"] == "done"], metric)
    costs = _costs(records)
    counted = ", ".join(f"{cost:g}" for cost in costs)
    if metric in OF_COST and len(costs) == 1:
        return [f"{metric}: a missed positive costs {counted} false alarms."]
    if metric in OF_COST and costs:
        return [
            f"{metric}: a missed positive costs {counted} false alarms in these records: `{command('rescore')} "
            f"--cost {costs[-1]:g}{outputs_of(records[0])}` counts it alike in all, without training."
        ]
    sources = [source for r in records if (source := r.get("own_metrics", {}).get(metric))]
    if len({digest(source) for source in sources}) < 2:
        return []
    modules = ",".join(sorted({source["module"] for source in sources}))
    return [
        f"{metric} was computed by different code in these records: `{command('rescore')} 'plugins=[{modules}]'"
        f"{outputs_of(records[0])}` computes it again, without training."
    ]


def _rank_notes(records: Sequence[Record], metric: str) -> list[str]:
    methods = dict.fromkeys(r["labels"]["method"] for r in records if scoring.ranks_only(r))
    if not methods:
        return []
    calibrated = f"{'ece_mass' if metric == 'ece' else metric}_platt"
    absent = next(filter(None, (why_absent(r, calibrated, records) for r in records if scoring.ranks_only(r))), "")
    how = f" ({absent})" if all(calibrated not in dict(heads_of(r)) for r in records) else ""
    cure = f"; --metric {calibrated} is of calibrated ones{how}"
    return [f"{metric} of {', '.join(sorted(methods, key=natural))}: the scores are a {scoring.RANKS}{cure}."]


def _costs(records: Sequence[Record]) -> list[float]:
    """The costs of a missed positive that records were scored with."""
    return sorted({r["cost"] for r in records if "cost" in r})


def cells_of(found: Selection) -> list[Cell]:
    """One a record and metric that is asked of it, in the order of the axes; the best of the same data marked."""
    numbers: dict[tuple[str, str, str], list[tuple[str, float]]] = {}
    for i, metric, group, readout, value in found.runs[["id", "metric", "class_group", "iterate", "value"]].itertuples(
        index=False
    ):
        numbers.setdefault((i, metric, group), []).append((readout, value))
    places, asked = found.places, found.asked
    cells = []
    for record in found.records:
        i = record["id"]
        names = found.names[i]
        for head in found.heads[i]:
            score = _score(found, record, head, places[i].setting, numbers.get((i, *head), []))
            named = names | {"metric": _metric_name(head, asked), "class": class_title(head[1])}
            row, column = (tuple(named[axis] for axis in axes) for axes in (asked.rows, asked.columns))
            options = {axis: names[axis] for axis in asked.placed if axis not in (*LABELS, *OF_NUMBERS)}
            cells.append(Cell(score, places[i].setting, row, column, found.unit_of(i), found.candidate_of(i), options))
    given = list(dict.fromkeys((c.score.metric, c.score.class_group) for c in cells))
    cells.sort(key=lambda c: (natural(c.score.section), *map(natural, (c.unit, c.candidate))))
    if set(OF_NUMBERS) & set(asked.placed):  # as asked for, not as they are spelled
        cells.sort(key=lambda c: given.index((c.score.metric, c.score.class_group)))
    data = {c.score.id: found.data_of(c.score.id) for c in cells}
    several_costs = len(_costs(found.records)) > 1

    def comparable(metric: str) -> bool:
        return has_better_side(metric) and not (several_costs and metric in OF_COST)

    best = mark_best(
        [c.score for c in cells],
        lambda s: (s.section, data[s.id], s.metric, s.class_group) if comparable(s.metric) else None,
    )
    return [replace(cell, score=score) for cell, score in zip(cells, best)]


def _score(found: Selection, record: Record, head: Head, setting: str, numbers: Sequence[tuple[str, float]]) -> Score:
    """The mean over the runs of a record, or why there is none; ``numbers``: the readout and the value of each run."""
    metric, class_group = head
    asked, names = found.asked, found.names[record["id"]]
    readout = numbers[0][0] if numbers else asked.readout
    shown = frames.average(
        {(readout, class_group, metric): [value for _, value in numbers]}, metric, class_group, readout
    )
    labels: dict[str, Any] = {
        axis: names[axis] if axis in asked.placed else shown_labels(record)[axis]
        for axis in ("ratio", "backbone", "protocol", "trainer")
    }
    made = Score(
        section=", ".join(filter(None, [_heading(head, asked), setting])),
        **labels,
        method=names["method"],
        dataset=names["dataset"],
        metric=metric,
        class_group=class_group,
        state=record["status"],
        reason=record.get("reason") or "",
        of=len(record.get("runs", [])),
        few_classes=scoring.few_classes(record) if asked.part == "test" else "",
        id=record["id"],
        **shown,
    )
    if made.state == "done" and made.mean is None:
        return replace(made, state="n/a", reason=_why_none(record, head, found))
    return made


def _why_none(record: Record, head: Head, found: Selection) -> str:
    (metric, class_group), asked = head, found.asked
    if asked.part == "valid" and (reason := scoring.without_validation(record)):
        return reason
    of = f" of class group {class_group}" if class_group else ""
    absent = all(name != metric for name, _ in heads_of(record, asked.part))
    why = f": {reason}" if absent and (reason := why_absent(record, metric, found.done)) else ""
    return f"{metric}{of} by {readout_title(asked.readout)} is not in the record, or in no run defined{why}"


def _heading(head: Head, asked: Asked) -> str:
    """The metric and class group, as far as the axes do not say them."""
    if "metric" in asked.placed:
        return ""
    return metric_title(head[0]) if "class" in asked.placed else heading_of(*head)


def _metric_name(head: Head, asked: Asked) -> str:
    return metric_title(head[0]) if "class" in asked.placed else heading_of(*head)


def heading_of(metric: str, class_group: str) -> str:
    return f"{metric_title(metric)} ({class_group})" if class_group not in ("", "all") else metric_title(metric)


def _block(
    section: str, cells: Sequence[Cell], asked: Asked, footnotes: Footnotes, failed: Failed
) -> tuple[Block, list[str]]:
    """The grid of a section, its mean rows or columns, and notes on them."""
    numbers = {(c.row, c.column): c.score for c in cells}
    row_of, column_of = ({getattr(c, axes): c.score.id for c in cells} for axes in ("row", "column"))

    def printed(row: tuple[str, ...], column: tuple[str, ...]) -> Item:
        score = numbers.get((row, column))
        if score is None and (failure := failed.at(row_of[row], column_of[column])):
            return Item(footnotes.mark("failed", failure.reason), muted=True, cell=failure.names["id"])
        return item(score, asked.readout, footnotes)

    down = _ordered([c.row for c in cells], asked.rows)
    across = _ordered([c.column for c in cells], asked.columns)
    header = [*asked.rows, *(", ".join(key) for key in across)]
    body = [[*map(Item, key), *(printed(key, other) for other in across)] for key in down]
    block = Block(section, header, len(asked.rows), body)
    if _over_data(asked.rows, asked.columns):
        rows, notes = _means(cells, {c.column: c for c in cells}, across)
        space = [Item("")] * (len(asked.rows) - 1)
        return replace(block, summary=[[row[0], *space, *row[1:]] for row in rows]), notes
    if _over_data(asked.columns, asked.rows):
        rows, notes = _means(cells, {c.row: c for c in cells}, down)
        body = [[*line, *(row[place] for row in rows)] for place, line in enumerate(body, 1)]
        return replace(block, header=[*header, *(row[0].text for row in rows)], rows=body), notes
    return block, []


def _over_data(axes: Sequence[str], others: Sequence[str]) -> bool:
    """Whether there is a mean along ``axes``: they are data sets, and ``others`` what is compared on them."""
    return "dataset" in axes and all(map(of_data, axes)) and not any(map(of_data, others))


def _ordered(keys: Sequence[tuple[str, ...]], axes: Sequence[str]) -> list[tuple[str, ...]]:
    """The keys along axes in their order: of metrics and classes the one given, of others by name."""
    given = [list(dict.fromkeys(names)) for names in zip(*keys)]

    def order(key: tuple[str, ...]) -> list[Any]:
        return [
            known.index(name) if axis in OF_NUMBERS else natural(name) for axis, name, known in zip(axes, key, given)
        ]

    return sorted(dict.fromkeys(keys), key=order)


def _means(
    cells: Sequence[Cell], of: dict[tuple[str, ...], Cell], keys: Sequence[tuple[str, ...]]
) -> tuple[list[list[Item]], list[str]]:
    """Means and mean ranks over data sets, a name and an item for each key, and notes; ``of``: a cell of each key, for
    its metric and what is compared. None where metrics are of different data sets."""
    tables: list[list[list[Item]]] = []
    notes: list[str] = []
    places: dict[tuple[Head, str], tuple[int, int]] = {}
    for head in dict.fromkeys((c.score.metric, c.score.class_group) for c in cells):
        mine = [c for c in cells if (c.score.metric, c.score.class_group) == head]
        names = [of[key].candidate for key in keys if (of[key].score.metric, of[key].score.class_group) == head]
        heads = {name: name for name in sorted(set(names), key=natural)}
        means = MeanRows(head[0], heads, [replace(c.score, dataset=c.unit, method=c.candidate) for c in mine])
        places |= {(head, name): (len(tables), place) for place, name in enumerate(heads, 1)}
        tables.append(means.rows(heads))
        notes += means.notes()
    if len({tuple(row[0].text for row in rows) for rows in tables}) > 1:
        return [], []
    found = [places[(of[key].score.metric, of[key].score.class_group), of[key].candidate] for key in keys]
    rows = [[row[0], *(tables[table][line][place] for table, place in found)] for line, row in enumerate(tables[0])]
    if notes and (dependent := dependence({c.unit: c.score.dataset for c in cells})):
        notes.append(dependent)
    return rows, notes if len(tables) == 1 else []
