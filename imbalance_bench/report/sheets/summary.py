"""The table over whatever was run, when no paper is named: data sets down, methods across."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from imbalance_bench import scoring
from imbalance_bench.errors import BenchError, command, suggestion
from imbalance_bench.identity import digest
from imbalance_bench.report.records import comparable
from imbalance_bench.report.records import records as frames
from imbalance_bench.report.records.records import COLUMNS, Record, readout_title
from imbalance_bench.report.sheet import Footnotes, Sheet
from imbalance_bench.report.sheets.means import MeanRows
from imbalance_bench.report.sheets.scores import Score, mark_best, metric_title
from imbalance_bench.report.sheets.tables import explain, grid

if TYPE_CHECKING:
    from imbalance_bench.report.records.collected import Source
    from imbalance_bench.store import Damaged

DATA = "data"  # beside the parts of a config: what the user's own data held


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


def surveyed(
    store: Source, filters: Sequence[str], note: Callable[[Record], object] | None = None
) -> tuple[list[Record], list[Damaged]]:
    """The records that match ``filters``, and why others do not count; ``note`` as of ``records.survey``. Raises
    BenchError where there is none."""
    records, damaged = frames.survey(store, filters, note)
    if not records:
        raise BenchError(
            f"no records under {store.runs}{f' that match {chr(32).join(filters)}' if filters else ''}: run "
            f"`{command('train')}` or `make demo` first, or point --outputs at the folder that has them"
            + "".join(f"\n  {note}" for note in frames.left_out(damaged))
        )
    return records, damaged


def scores_of(sheet: Sheet) -> list[Score]:
    """The scores of a summary back from its tidy frame, for its picture."""
    frame = sheet.frame.astype(object).where(sheet.frame.notna(), None)
    return [Score(**row) for row in frame.to_dict("records")]


def no_such_metric(records: Sequence[Record], metric: str | None, group: str | None = None) -> BenchError:
    """The error where no record has a metric, or not of a class group; names the nearest that some have."""
    copies = (dict(record) for record in records if record["status"] == "done")  # numbers stay in what they are read of
    heads = [head for record in copies for head in _named_numbers(record)]
    known = {name for name, _ in heads}
    if metric is None or metric in known:
        groups = {of for name, of in heads if metric in (None, name)}
        what = f"{metric} of the class group" if metric else "the headline of the class group"
        return BenchError(f"no record has {what} {group}: {suggestion(group or '', groups)}")
    done = [record for record in records if record["status"] == "done"]
    if reason := next(filter(None, (scoring.why_absent(record, metric) for record in done)), ""):
        return BenchError(f"no record has the metric {metric}: {reason}")
    return BenchError(
        f"no record has the metric {metric}: {suggestion(metric, known)}\n  one of your own: `"
        f"{command('rescore')} 'plugins=[<its module>]'` computes it for every cell, without training"
    )


Place = tuple[str, str, str]


def locate(records: Sequence[Record]) -> dict[str, Place]:
    """Record id → (setting, row, column): labels, with the options appended that tell equal labels apart. A method
    that trains no network stands beside those of the network, where its ratio and protocol have one."""
    ratios, protocols, networks = (_named(records, g, (g,), lambda r: "") for g in ("ratio", "protocol", "backbone"))
    beside: dict[tuple[str, str], set[str]] = {}
    for i in (r["id"] for r in records if not _networkless(r)):
        beside.setdefault((ratios[i], protocols[i]), set()).add(networks[i])
    for i in (r["id"] for r in records if _networkless(r)):
        if len(others := beside.get((ratios[i], protocols[i]), set())) == 1:
            (networks[i],) = others
    settings = [ratios, protocols, networks]
    group = {r["id"]: ", ".join(names[r["id"]] for names in settings) for r in records}
    rows = _named(records, "dataset", ("dataset", DATA), lambda r: group[r["id"]])
    columns = _named(records, "method", ("method", "trainer", "seed"), lambda r: group[r["id"]])
    return {i: (group[i], rows[i], columns[i]) for i in group}


def _networkless(record: Record) -> bool:
    return bool(record["config"]["backbone"].get("name") == "none")


def network_notes(records: Sequence[Record], places: dict[str, Place]) -> list[str]:
    """Which methods of a setting that names a network train none."""
    found: dict[str, dict[str, None]] = {}
    for record in records:
        setting, _, column = places[record["id"]]
        if _networkless(record) and not setting.endswith(f", {record['labels']['backbone']}"):
            found.setdefault(setting, {})[column] = None
    return [
        f"{setting}: no network and no trainer of networks in {', '.join(sorted(columns, key=natural))}."
        for setting, columns in found.items()
    ]


def _named(
    records: Sequence[Record], group: str, parts: tuple[str, ...], within: Callable[[Record], str]
) -> dict[str, str]:
    """Record id → its label of ``group``, with those options of the config's ``parts`` appended in which the records
    of that label (and of equal ``within``) differ."""
    pools: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        pools.setdefault((within(record), record["labels"][group]), []).append(record)
    names = {}
    for (_, label), pool in pools.items():
        flat = {r["id"]: comparable.flatten({part: _options(r, part) for part in parts}) for r in pool}
        keys = dict.fromkeys(k for options in flat.values() for k in options)
        differing = [k for k in keys if len({repr(options.get(k)) for options in flat.values()}) > 1]
        for i, options in flat.items():
            names[i] = " ".join([label, *(f"{k.removeprefix(f'{group}.')}={options.get(k)}" for k in differing)])
    return names


def _options(record: Record, part: str) -> Any:
    """A part of a record's config; of ``DATA`` what tells versions of the user's own data apart."""
    if part != DATA:
        return record["config"][part]
    own = record.get("contents", {}).get("fingerprint")
    return digest(own)[:6] if own else "not recorded" if "path" in record["config"]["dataset"] else ""


def data_notes(records: Sequence[Record], places: dict[str, Place]) -> list[str]:
    """Which row is of the newest data, where a data set of the user's own was run in several versions."""
    versions: dict[tuple[str, ...], dict[str, Record]] = {}
    for record in sorted(records, key=frames.date):
        setting, row, _ = places[record["id"]]
        if _options(record, DATA):
            path = str(record["config"]["dataset"].get("path"))
            versions.setdefault((setting, record["labels"]["dataset"], path), {})[row] = record
    return [
        f"dataset={label} was run on several versions of its data, a row each; the newest is "
        f"{max(rows, key=lambda row: frames.date(rows[row]))!r}."
        for (_, label, _), rows in versions.items()
        if len({_options(r, DATA) for r in rows.values()}) > 1
    ]


def newest(records: Sequence[Record], places: dict[str, Place]) -> tuple[list[Record], list[str]]:
    """Of records in one place, whose labels and options are the same and whose plug-ins or weights were changed, the
    newest; and a note on the others."""
    here: dict[Place, list[Record]] = {}
    for record in sorted(records, key=frames.date):
        here.setdefault(places[record["id"]], []).append(record)
    notes = [
        f"{column} on {row}: the newest of {len(found)} records with the same options, whose plug-ins, weights or data "
        f"differ; left out {', '.join(str(r['path']) for r in found[:-1])}."
        for (_, row, column), found in here.items()
        if len(found) > 1
    ]
    kept = {found[-1]["id"] for found in here.values()}
    return [record for record in records if record["id"] in kept], notes


Head = tuple[str, str]  # the metric of a row, and of which class group
Shown = tuple[Head, dict[str, Any]]  # the head of a record, and ``records.average`` of it


def head_of(record: Record, metric: str | None, group: str | None = None) -> Head | None:
    """The headline of a record; or ``metric``, of the same class group, or else of all classes, or of the first that
    has it; or of ``group``. None where none has."""
    head = record["headline"]
    if metric is None and group is None:
        return head["metric"], head["class_group"]
    metric = metric or head["metric"]
    groups = [of for name, of in _named_numbers(record) if name == metric]
    if group is not None:
        return (metric, group) if group in groups else None
    return (metric, next(g for g in (head["class_group"], "all", "macro", *groups) if g in groups)) if groups else None


def _named_numbers(record: Record) -> dict[Head, None]:
    """Metric and class group of each number of a record, in their order."""
    name, group = COLUMNS.index("metric"), COLUMNS.index("class_group")
    return dict.fromkeys((row[name], row[group]) for row in frames.numbers(record))


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
            absent = all(name != metric for name, _ in _named_numbers(record))
            why = f": {reason}" if absent and (reason := scoring.why_absent(record, metric)) else ""
            made = replace(made, state="n/a", reason=f"{what} is not in the record, or in no run defined{why}")
        scores.append(made)
    scores.sort(key=lambda s: (natural(s.section), natural(s.dataset), natural(s.method)))
    return mark_best(scores, lambda s: None if s.metric.startswith("threshold_") else (s.section, s.dataset))


def heading_of(metric: str, class_group: str) -> str:
    return f"{metric_title(metric)} ({class_group})" if class_group not in ("", "all") else metric_title(metric)


def natural(text: str) -> list[Any]:
    """A key that sorts ir_50 before ir_100."""
    return [(part.isdigit(), int(part) if part.isdigit() else part) for part in re.split(r"(\d+)", text)]
