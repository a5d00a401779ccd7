"""The table of methods whose options were tuned: each run's option is chosen on its validation rows.

Of cells that differ in swept options only (``records.tuning``) one row is made, "focal, tuned over 20"; beside it
stands what choosing on the test rows would have printed. The tidy numbers have what each run chose.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from imbalance_bench.errors import BenchError, command
from imbalance_bench.report.records import comparable, tuning
from imbalance_bench.report.records import records as frames
from imbalance_bench.report.records.records import LOWER_IS_BETTER, Head, Record, Run, readout_title
from imbalance_bench.report.records.selection import (
    Place,
    head_of,
    locate,
    natural,
    network_notes,
    newest,
    no_such_metric,
    shown_labels,
    some_records,
)
from imbalance_bench.report.records.tuning import Tuned
from imbalance_bench.report.sheet import Block, Footnotes, Item, Sheet, mean_sd, number
from imbalance_bench.report.sheets.means import MeanRows
from imbalance_bench.report.sheets.scores import Score, decimals, mark_best, metric_title, score_text
from imbalance_bench.report.sheets.summary import heading_of, metric_notes
from imbalance_bench.settings.identity import digest
from imbalance_bench.settings.objective import has_better_side

if TYPE_CHECKING:
    from imbalance_bench.report.records.collected import Source
    from imbalance_bench.store import Damaged

COLUMNS = ("chosen on validation", "chosen on test", "optimism", "best single option on test")


@dataclass(frozen=True)
class Row:
    """A method on a data set: its cells, what is shown of them and chosen by, and what its runs chose (None: there is
    one cell, or none that counts)."""

    score: Score
    records: list[Record]
    of: Head
    by: Head
    tuned: Tuned | None = None

    @property
    def done(self) -> list[Record]:
        return [record for record in self.records if record["status"] == "done"]

    @property
    def by_run(self) -> dict[Run, float]:
        """The test score of each run that has one."""
        if self.tuned is not None:
            return dict(zip(self.tuned.runs, self.tuned.scores))
        scores = tuning.scores_of(self.done[0], "test", self.of, self.score.iterate)
        return {run: score for run, score in scores.items() if np.isfinite(score)}

    @property
    def name(self) -> str:
        if self.tuned is None:
            return f"{self.score.method}, not tuned"
        chosen_among, cells = len(self.tuned.options), len(self.records)
        return f"{self.score.method}, tuned over {chosen_among}" + (f" of {cells}" if chosen_among < cells else "")


@dataclass(frozen=True)
class TunedRows:
    """The rows of the table, in their order, with the records behind them, why others do not count, and ``notes``."""

    rows: list[Row]
    records: list[Record]
    damaged: list[Damaged]
    notes: list[str]

    @property
    def several(self) -> list[Row]:
        """The rows of several cells."""
        return [row for row in self.rows if row.tuned is not None]


def tuned_rows(store: Source, filters: Sequence[str], readout: str, metric: str | None, by: str | None) -> TunedRows:
    """The rows of ``tuned_table``, which has the same arguments and errors."""
    records, damaged = some_records(store, filters)
    records, places, superseded = _placed(records)
    for asked in filter(None, (metric, by)):
        if not any(r["status"] == "done" and head_of(r, asked) for r in records):
            raise no_such_metric(records, asked)
    if (chosen_by := by or metric) and not has_better_side(chosen_by):
        headline = next(r["headline"]["metric"] for r in records if r["status"] == "done")
        raise BenchError(
            f"no value of {chosen_by} is better than another, so that no option is the best by it: choose by another "
            f"metric, such as --by {headline}"
        )
    groups: dict[tuple[str, str, str], list[Record]] = {}
    for record in records:
        groups.setdefault(places[record["id"]], []).append(record)
    made = {place: _row(place, mine, readout, metric, by) for place, mine in groups.items()}
    rows = [row for row in made.values() if row is not None]
    absent = [f"Left out, {_absent(place, groups[place], metric)}." for place, row in made.items() if row is None]
    several = [row for row in rows if row.tuned is not None]
    if several and not any(row.tuned.options for row in several if row.tuned):
        raise BenchError("\n  ".join(["no options can be chosen by validation rows:", *_left_out(several)]))
    rows.sort(key=lambda row: [natural(text) for text in (row.score.section, row.score.dataset, row.score.method)])
    best = mark_best(
        [row.score for row in rows], lambda s: (s.section, s.dataset) if has_better_side(s.metric) else None
    )
    rows = [replace(row, score=score) for row, score in zip(rows, best)]
    return TunedRows(rows, records, damaged, [*network_notes(records, places), *absent, *superseded])


def tuned_table(
    store: Source,
    filters: Sequence[str] = (),
    readout: str | None = None,
    command: str = "",
    metric: str | None = None,
    by: str | None = None,
) -> Sheet:
    """One row a method and data set: the mean of its runs' test scores, each of the option that is best on the run's
    validation rows.

    Args:
        filters, readout, metric: as of ``summary``; options are chosen by the same readout.
        by: the metric to choose by (None: the one that is shown).

    Raises:
        BenchError: as of ``summary``; or there are options, and none that validation rows can choose among.
    """
    import pandas as pd

    readout = readout or "last"
    found = tuned_rows(store, filters, readout, metric, by)
    rows, records, several = found.rows, found.records, found.several
    footnotes = Footnotes()
    blocks, notes = [], [_explain(rows, by)]
    for section in dict.fromkeys(row.score.section for row in rows):
        mine = [row for row in rows if row.score.section == section]
        means = MeanRows(
            mine[0].of[0], {m: m for m in dict.fromkeys(r.score.method for r in mine)}, [r.score for r in mine]
        )
        body = [_items(row, readout, footnotes) for row in mine]
        blocks.append(Block(section, ["data set", "method", *COLUMNS], 2, body, _mean_rows(means, mine)))
        notes += [f"{section}: {note}" for note in means.notes()]
    done = [r for r in records if r["status"] == "done"]
    return Sheet(
        name="_".join(filter(None, ("tuned", metric, by and f"by_{by}"))),
        title=f"Tuned on validation rows ({readout_title(readout)})",
        blocks=blocks,
        notes=[
            *notes,
            *(f"Left out, {note}." for note in _left_out(several)),
            *_of_training(several),
            *([] if several else [NOTHING_SWEPT]),
            *found.notes,
            *(note for shown in dict.fromkeys((metric, by)) for note in metric_notes(records, shown)),
            *frames.code_notes(records),
            *frames.left_out(found.damaged),
            *footnotes.lines(),
        ],
        provenance=frames.provenance_lines(done, command),
        frame=pd.DataFrame([line for row in rows for line in _lines(row, readout)]),
    )


NOTHING_SWEPT = (
    f"No method was run with several options: `{command('train')} -m method=focal method.gamma=1,2,5` and the like "
    "run some (docs/tuning.md)."
)


def _placed(records: list[Record]) -> tuple[list[Record], dict[str, Place], list[str]]:
    """The records that count, and where each stands with its options; notes on those that others take the place of."""
    places = locate([tuning.fixed(record) for record in records])
    comparable.refuse_mixed_rows(records, lambda r: places[r["id"]][:2])
    groups: dict[tuple[str, str, str], list[Record]] = {}
    for record in records:
        groups.setdefault(places[record["id"]], []).append(record)
    names = {i: name for mine in groups.values() for i, name in tuning.named_options(mine).items()}
    alone = {i: place._replace(column=f"{place.column} {names[i]}".strip()) for i, place in places.items()}
    kept, superseded = newest(records, alone)
    return kept, places, superseded


def _row(
    place: tuple[str, str, str], records: list[Record], readout: str, metric: str | None, by: str | None
) -> Row | None:
    """A row of the table; None where nothing of it has the metric."""
    setting, dataset, method = place
    done = [r for r in records if r["status"] == "done"]
    heads = [head for r in done if (head := head_of(r, metric))]
    if not heads:
        return None
    of = heads[0]
    chosen_by = next((head for r in done if (head := head_of(r, by or of[0]))), of)
    found, reason = None, ""
    if len(records) > 1:
        found = tuning.tuned(records, chosen_by, of, readout)
        values, runs = found.scores, max(len(r["runs"]) for r in done)
        reason = "; ".join(dict.fromkeys(why for _, why in found.left_out))
    else:
        values = [v for v in tuning.scores_of(done[0], "test", of, readout).values() if np.isfinite(v)]
        runs = len(done[0]["runs"])
        reason = f"{of[0]} by {readout_title(readout)} is in no run defined"
    labels: dict[str, Any] = shown_labels(done[0])
    score = Score(
        section=", ".join([heading_of(*of), setting]),
        **{axis: labels[axis] for axis in ("ratio", "backbone", "protocol", "trainer")},
        method=method,
        dataset=dataset,
        metric=of[0],
        class_group=of[1],
        iterate=tuning.met(found.options[0].record if found and found.options else done[0], readout),
        state="done" if values else "n/a",
        reason="" if values else reason,
        mean=float(np.mean(values)) if values else None,
        sd=float(np.std(values, ddof=1)) if len(values) > 1 else None,
        runs=len(values),
        of=runs,
        id="" if found else done[0]["id"],
    )
    return Row(score, records, of, chosen_by, found)


def _absent(place: tuple[str, str, str], records: Sequence[Record], metric: str | None) -> str:
    """Why a method has no row on a data set."""
    reasons = dict.fromkeys(r.get("reason") or f"{metric} is not in the record" for r in records)
    return f"{place[2]} on {place[1]}: {'; '.join(reasons)}"


def _items(row: Row, readout: str, footnotes: Footnotes) -> list[Item]:
    score, places = row.score, decimals(row.of[0])
    names = [Item(score.dataset), Item(row.name)]
    dash = Item("–", muted=True)
    if score.mean is None:
        return [*names, Item(footnotes.mark("n/a", score.reason), muted=True), dash, dash, dash]
    text = score_text(score, readout, footnotes)
    if row.tuned is None:
        return [*names, Item(text, bold=score.best), dash, dash, dash]
    on_test = row.tuned.scores_on_test
    sd = float(np.std(on_test, ddof=1)) if len(on_test) > 1 else None
    shown_alone = [Item(mean_sd(float(np.mean(on_test)), sd, places))]
    if not has_better_side(row.of[0]):
        return [*names, Item(text), *shown_alone, dash, dash]
    alone = row.tuned.best_alone(row.of[0] in LOWER_IS_BETTER)
    mean_alone = float(np.mean([alone.shown[run] for run in row.tuned.runs]))
    return [
        *names,
        Item(text, bold=score.best),
        *shown_alone,
        Item(number(_optimism(row), places, signed=True)),
        Item(number(mean_alone, places), f"({alone.name})" if alone.name else ""),
    ]


def _optimism(row: Row) -> float:
    """How much better the choice on test rows looks, of a metric of which lower is better too."""
    assert row.tuned is not None and row.score.mean is not None
    return float(np.mean(row.tuned.scores_on_test)) - row.score.mean


def _mean_rows(means: MeanRows, rows: Sequence[Row]) -> list[list[Item]]:
    """A row below the rule for each method: its mean over the data sets on which all methods have a number."""
    if len(means.sets) < 2:
        return []
    places, over = decimals(means.metric), f"mean ({len(means.sets)} of {len(means.datasets)} sets)"
    dash, found = Item("–", muted=True), []
    for method in means.ranked:
        values = means.ours.loc[means.sets, method]
        mean = Item(mean_sd(float(values.mean()), float(values.std(ddof=1)), places))
        mine = [r for r in rows if r.score.method == method and r.score.dataset in means.sets and r.tuned]
        aside = [dash, dash]
        if len(mine) == len(means.sets) and has_better_side(means.metric):
            optimism = float(np.mean([_optimism(row) for row in mine]))
            aside = [
                Item(number(float(values.mean()) + optimism, places)), Item(number(optimism, places, signed=True))
            ]  # fmt: skip
        found.append([Item(over), Item(method), mean, *aside, dash])
    return found


def _explain(rows: Sequence[Row], by: str | None) -> str:
    runs = sorted({row.score.runs for row in rows if row.score.mean is not None})
    named = " and ".join(dict.fromkeys(metric_title(row.by[0]) for row in rows if row.tuned)) or by or ""
    chosen = f" by {named}" if named else ""
    return (
        f"Mean ± sd (n - 1) over {' or '.join(map(str, runs))} runs of their scores on test rows. Each run has the "
        f"option that is best on its validation rows{chosen}, of equal ones the first (by their values: null, then "
        "numbers from the lowest, then text). Chosen on test: the same choice made on each run's test rows; optimism: "
        "how much that adds. Best single option on test: what a table of all options prints in bold. Bold: best of a "
        "data set."
    )


def _left_out(rows: Sequence[Row]) -> list[str]:
    """Notes on the options that were not chosen among, a line a row and reason."""
    lines = []
    for row in rows:
        reasons: dict[str, list[str]] = {}
        for name, why in row.tuned.left_out if row.tuned else ():
            reasons.setdefault(why, []).append(name)
        for why, names in reasons.items():
            some = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
            lines.append(f"{row.score.method} on {row.score.dataset}, {some}: {why}")
    return lines


def _of_training(rows: Sequence[Row]) -> list[str]:
    """Notes on methods that learned from validation rows in a way of their own, and on options of different code."""
    guided = dict.fromkeys(
        row.score.method
        for row in rows
        if any(r.get("validation") == "guided training" for r in row.records)
    )  # fmt: skip
    notes = [f"Their training used the validation rows, in its own way: {', '.join(guided)}."] if guided else []
    mixed = dict.fromkeys(
        f"{row.score.method} on {row.score.dataset}"
        for row in rows
        if len({digest(r.get("contents") or {}) for r in row.records}) > 1
    )
    if mixed:
        notes.append(
            f"Options of {', '.join(mixed)} were run with different plug-ins or weights: train the older ones again."
        )
    return notes


def _lines(row: Row, readout: str) -> list[dict[str, Any]]:
    """The tidy numbers: what each run chose, by which score, and what that gave."""
    score = row.score
    where = {
        "dataset": score.dataset, "method": score.method, "ratio": score.ratio, "backbone": score.backbone,
        "protocol": score.protocol, "trainer": score.trainer, "metric": row.of[0], "class_group": row.of[1],
        "iterate": score.iterate,
    }  # fmt: skip
    if row.tuned is None:
        values = tuning.scores_of(row.records[0], "test", row.of, readout) if score.state == "done" else {}
        return [
            {**where, "options": 1, "fold": fold, "repeat": repeat, "test": value, "id": score.id}
            for (fold, repeat), value in values.items()
        ]
    return [
        {
            **where, "options": len(row.tuned.options), "fold": run[0], "repeat": run[1], "test": chosen.shown[run],
            "id": chosen.record["id"], "option": chosen.name, "by": row.by[0], "valid": chosen.valid[run],
            "option_on_test": row.tuned.on_test[run].name, "test_on_test": row.tuned.on_test[run].shown[run],
        }
        for run, chosen in row.tuned.chosen.items()
    ]  # fmt: skip
