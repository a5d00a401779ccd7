"""The table over whatever was run, when no paper is named: data sets down, methods across."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from imbalance_bench import scoring
from imbalance_bench.errors import command
from imbalance_bench.identity import digest
from imbalance_bench.report.records import comparable
from imbalance_bench.report.records import records as frames
from imbalance_bench.report.records.records import readout_title
from imbalance_bench.report.records.selection import (
    Head,
    Place,
    data_notes,
    head_of,
    heads_of,
    locate,
    natural,
    network_notes,
    newest,
    no_such_metric,
    surveyed,
)
from imbalance_bench.report.sheet import Footnotes, Sheet
from imbalance_bench.report.sheets.means import MeanRows
from imbalance_bench.report.sheets.scores import Score, mark_best, metric_title
from imbalance_bench.report.sheets.tables import explain, grid
from imbalance_bench.store import Record

if TYPE_CHECKING:
    from imbalance_bench.report.records.collected import Source


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
        BenchError: there is no record, or none has the metric; a filter names no label; cells of one row were trained
            on different rows.
    """
    import pandas as pd

    readout = readout or "last"
    shown: dict[str, Shown] = {}

    def note(record: Record) -> None:
        if head := head_of(record, metric, group):
            shown[record["id"]] = head, frames.average(frames.values_of(record), *head, readout)

    records, damaged = surveyed(store, filters, note)
    places = locate(records)
    records, superseded = newest(records, places)
    comparable.refuse_mixed_rows(records, lambda r: places[r["id"]][:2])
    shown = {r["id"]: shown[r["id"]] for r in records if r["id"] in shown}
    if (metric or group) and not shown:
        raise no_such_metric(records, metric, group)
    scores = _scores(records, places, readout, shown, metric or "")
    footnotes = Footnotes()
    blocks, notes = [], [explain(scores)]
    for heading in dict.fromkeys(s.section for s in scores):
        mine = [s for s in scores if s.section == heading]
        heads = {m: m for m in sorted({s.method for s in mine}, key=natural)}
        block = grid(heading, heads, mine, ["dataset"], ["method"], readout, footnotes)
        mean_rows = MeanRows(mine[0].metric, heads, mine)
        blocks.append(replace(block, summary=mean_rows.rows(heads)))
        notes += [f"{heading}: {note}" for note in mean_rows.notes()]
    return Sheet(
        name="_".join(["summary", *(re.sub(r"[^\w.-]", "_", part) for part in (metric, group) if part)]),
        title=f"Summary ({readout_title(readout)})",
        blocks=blocks,
        notes=[
            *notes,
            *network_notes(records, places),
            *data_notes(records, places),
            *superseded,
            *_metric_notes(records, metric),
            *frames.code_notes(records),
            *frames.left_out(damaged),
            *footnotes.lines(),
        ],
        provenance=frames.provenance_lines([r for r in records if r["status"] == "done"], command),
        frame=pd.DataFrame([asdict(s) for s in scores]),
    )


def scores_of(sheet: Sheet) -> list[Score]:
    """The scores of a summary back from its tidy frame, for its picture."""
    frame = sheet.frame.astype(object).where(sheet.frame.notna(), None)
    return [Score(**row) for row in frame.to_dict("records")]


Shown = tuple[Head, dict[str, Any]]  # the head of a record, and ``records.average`` of it


def _metric_notes(records: Sequence[Record], metric: str | None) -> list[str]:
    """Whether a metric was computed in the same way in all records: of one cost; one of the user's own, by one code."""
    costs = sorted({r["cost"] for r in records if "cost" in r})
    if metric in ("cost", "cost_tuned", "threshold_cost") and len(costs) > 1:
        counted = ", ".join(f"{cost:g}" for cost in costs)
        return [
            f"{metric}: a missed positive costs {counted} false alarms in these records: `{command('rescore')} "
            f"--cost {costs[-1]:g}` counts it alike in all, without training."
        ]
    sources = [source for r in records if (source := r.get("own_metrics", {}).get(metric))]
    if len({digest(source) for source in sources}) < 2:
        return []
    modules = ",".join(sorted({source["module"] for source in sources}))
    return [
        f"{metric} was computed by different code in these records: `{command('rescore')} 'plugins=[{modules}]'` "
        "computes it again, without training."
    ]


def _scores(
    records: Sequence[Record], places: dict[str, Place], readout: str, shown: dict[str, Shown], asked: str
) -> list[Score]:
    """One score a record, of the metric that heads its row; ``section`` is the setting."""
    heads = {places[i][:2]: head for i, (head, _) in shown.items()}
    scores = []
    for record in records:
        group, row, column = places[record["id"]]
        # a row of which nothing was run but a declined cell stands with the other rows of its setting
        head = heads.get((group, row)) or next((h for (g, _), h in heads.items() if g == group), None)
        metric, class_group = head or (asked, "")
        own, found = shown.get(record["id"], (None, {}))
        if own != (metric, class_group):
            values = frames.values_of(record) if record["status"] == "done" else None
            found = frames.average(values, metric, class_group, readout)
        made = Score(
            section=", ".join(filter(None, [heading_of(metric, class_group), group])),
            **{axis: record["labels"][axis] for axis in ("ratio", "backbone", "protocol", "trainer")},
            method=column,
            dataset=row,
            metric=metric,
            class_group=class_group,
            state=record["status"],
            reason=record.get("reason") or "",
            of=len(record.get("runs", [])),
            few_classes=scoring.few_classes(record),
            id=record["id"],
            **found,
        )
        if made.state == "done" and made.mean is None:
            of = f" of class group {class_group}" if class_group else ""
            what = f"{metric}{of} by {readout_title(readout)}"
            absent = all(name != metric for name, _ in heads_of(record))
            why = f": {reason}" if absent and (reason := scoring.why_absent(record, metric)) else ""
            made = replace(made, state="n/a", reason=f"{what} is not in the record, or in no run defined{why}")
        scores.append(made)
    scores.sort(key=lambda s: (natural(s.section), natural(s.dataset), natural(s.method)))
    return mark_best(scores, lambda s: None if s.metric.startswith("threshold_") else (s.section, s.dataset))


def heading_of(metric: str, class_group: str) -> str:
    return f"{metric_title(metric)} ({class_group})" if class_group not in ("", "all") else metric_title(metric)
