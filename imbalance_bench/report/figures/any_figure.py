"""Figures of any selection of records: ``figure_of_records`` draws those of ``FIGURES``."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import TYPE_CHECKING, Any

from imbalance_bench.errors import BenchError
from imbalance_bench.metrics.scoring import TUNED_ON, without_validation
from imbalance_bench.report.figures.confusion import confusion, refuse_many_matrices
from imbalance_bench.report.figures.overall import critical_difference, profile
from imbalance_bench.report.figures.paired import bars, scatter, two_metrics
from imbalance_bench.report.figures.ranking import precision_recall, roc
from imbalance_bench.report.figures.reliability import reliability
from imbalance_bench.report.figures.shown import Shown, Wanted, refuse_too_many
from imbalance_bench.report.figures.training import curve
from imbalance_bench.report.glyphs import drawn_with, letters_for
from imbalance_bench.report.records import records as frames
from imbalance_bench.report.records.records import Head, Record, Run, readout_title
from imbalance_bench.report.records.selection import (
    OF_NUMBERS,
    head_of,
    names_of,
    natural,
    newest,
    no_such_metric,
    of_data,
    place_of,
    refuse_mixed,
    some_records,
)
from imbalance_bench.report.records.tuning import scores_of
from imbalance_bench.report.sheet import Drawing
from imbalance_bench.report.style import NARROW, Drawn, finished, styled
from imbalance_bench.settings.objective import has_better_side
from imbalance_bench.store import Damaged, file_of

if TYPE_CHECKING:
    from imbalance_bench.report.records.collected import Source


@dataclass(frozen=True)
class Figure:
    """``draw``; ``title``; ``takes``: the fields of ``Wanted`` that say something of it, which may name ``most``
    metrics; ``file``: what it needs beside numbers; ``metric``: the one that it always shows; ``check``: refuses what
    is too much for it."""

    draw: Callable[[Sequence[Shown], Wanted], Drawn]
    title: str
    takes: str
    file: str = ""
    metric: str | None = None
    check: Callable[[Sequence[Shown]], None] | None = None
    most: int = 1

    @property
    def scored(self) -> bool:
        """It is of a metric."""
        return bool(self.metric) or "metrics" in self.takes


COMPARES = ("cd", "profile", "bars", "scatter")  # what is shown in a panel, with each other
AXES = ("rows", "columns")  # which every figure takes
OF_ROWS = "group readout part"
OF_SCORES = f"metrics {OF_ROWS}"
PREDICTIONS = "predictions.npz"  # of classes, and not of a regression
FIGURES = {
    "pr": Figure(precision_recall, "Precision-recall curves", OF_ROWS, PREDICTIONS, "auc_pr", refuse_too_many),
    "roc": Figure(roc, "ROC curves", OF_ROWS, PREDICTIONS, "auc_roc", refuse_too_many),
    "reliability": Figure(
        reliability, "Reliability", f"{OF_ROWS} calibration", PREDICTIONS, "ece_mass", refuse_too_many
    ),
    "curve": Figure(curve, "Training", "", "history.csv"),
    "cd": Figure(critical_difference, "Mean ranks", f"{OF_SCORES} test"),
    "profile": Figure(profile, "Performance profile", OF_SCORES),
    "bars": Figure(bars, "Paired differences", f"{OF_SCORES} versus"),
    "scatter": Figure(scatter, "Over data sets", f"{OF_SCORES} versus", most=2),
    "confusion": Figure(confusion, "Confusion matrices", OF_ROWS, PREDICTIONS, check=refuse_many_matrices),
}


def figure_of_records(kind: str, source: Source, filters: Sequence[str], wanted: Wanted, command: str = "") -> Drawing:
    """A figure of the records that match ``filters``, as of ``select.select``.

    Raises:
        BenchError: there is no such figure or no record, it takes no such word, or the records do not hold what it
            shows.
        NotCollected: they were collected, and it needs their predictions or history.
    """
    figure = FIGURES[kind]
    _check(kind, wanted)
    metrics = wanted.metrics or (figure.metric,)
    selections = [_selected(kind, source, filters, wanted, metric) for metric in metrics]
    draw = figure.draw if len(selections) == 1 else partial(two_metrics, others=selections[1][0])
    if figure.check:
        figure.check(selections[0][0])
    said_of = dict.fromkeys(note for _, of_one in selections for note in of_one)
    whole = _whole(figure.file, selections[0][0], list(said_of))
    letters = letters_for(_names(selections))
    with drawn_with(letters):
        (drawn, caption, values), shown, notes = _drawn(lambda shown: draw(shown, wanted), *whole, letters.style)
    records = [one.record for one in shown]
    said = [value for field in fields(Wanted) if (value := getattr(wanted, field.name)) != field.default]
    words = [kind, *(word for value in said for word in ([value] if isinstance(value, str) else value))]
    name = "_".join(re.sub(r"[^\w.-]", "_", word) for word in words)
    told = [f"{readout_title(wanted.readout).capitalize()}."] if "readout" in figure.takes else []
    caption = " ".join(filter(None, [caption, letters.note, *told, *notes, *frames.code_notes(records)]))
    return finished(drawn, name, figure.title, caption, frames.provenance_lines(records, command), values)


def _names(selections: Sequence[tuple[list[Shown], list[str]]]) -> Iterator[str]:
    """Every text from data that a figure may show."""
    for one in itertools.chain(*(shown for shown, _ in selections)):
        yield from (one.setting, one.panel, one.method, *one.head, *one.record["data"].get("class_names", ()))


def _whole(file: str, shown: list[Shown], notes: list[str]) -> tuple[list[Shown], list[str]]:
    """The cells shown, without those whose file is missing or damaged. Raises Damaged where it is that of all."""
    damaged: list[Damaged] = []
    for one in shown if file else []:
        try:
            file_of(one.record, file)
        except Damaged as error:
            damaged.append(error)
    if len(damaged) == len(shown):
        raise damaged[0]
    broken = {error.folder for error in damaged}
    return [one for one in shown if one.record["path"] not in broken], [*notes, *frames.left_out(damaged)]


def _drawn(
    draw: Callable[[Sequence[Shown]], Drawn], shown: list[Shown], notes: list[str], style: dict[str, Any]
) -> tuple[Drawn, list[Shown], list[str]]:
    """The result of a drawing, and what it shows: without the cells whose file is found damaged as it is read."""
    try:
        return styled(lambda: draw(shown), NARROW | style), shown, notes
    except Damaged as error:
        left = [one for one in shown if one.record["path"] != error.folder]
        if len(left) in (0, len(shown)):
            raise
        return _drawn(draw, left, [*notes, *frames.left_out([error])], style)


def _check(kind: str, wanted: Wanted) -> None:
    """Raises BenchError where a word was given that the figure has no use for."""
    words = {"metrics": "metric"}
    takes = [*FIGURES[kind].takes.split(), *AXES]
    if numbers := {*wanted.rows, *wanted.columns} & {*OF_NUMBERS}:
        raise BenchError(f"a figure shows one number per cell: leave {numbers.pop()} out of --rows and --columns")
    for field in fields(Wanted):
        if getattr(wanted, field.name) != field.default and field.name not in takes:
            known = ", ".join(f"--{words.get(name, name)}" for name in takes)
            word = words.get(field.name, field.name)
            raise BenchError(f"--{word} does not apply to --figure {kind}: leave it out (it takes {known})")
    if len(wanted.metrics) == 1 and not has_better_side(wanted.metrics[0]):
        raise BenchError(
            f"--figure {kind} shows which is better, and no value of {wanted.metrics[0]} is: choose another --metric"
        )
    if len(wanted.metrics) > FIGURES[kind].most:
        raise BenchError(
            f"--figure {kind} shows {FIGURES[kind].most} of --metric {','.join(wanted.metrics)} at a time: give one"
            if FIGURES[kind].most == 1
            else f"--figure {kind} has two axes, and --metric {','.join(wanted.metrics)} names {len(wanted.metrics)}"
        )


def _selected(
    kind: str, source: Source, filters: Sequence[str], wanted: Wanted, metric: str | None
) -> tuple[list[Shown], list[str]]:
    """The cells that are shown, in order, and notes on the others."""
    figure = FIGURES[kind]
    found: dict[str, tuple[Head, dict[Run, float]]] = {}

    def note(record: Record) -> None:
        group = wanted.group or (_rare(record) if figure.metric else None)
        if head := head_of(record, metric, group if figure.scored else None, wanted.part):
            found[record["id"]] = head, scores_of(record, wanted.part, head, wanted.readout)

    records, damaged = some_records(source, filters, note)
    names = names_of(records, wanted.rows, wanted.columns)
    rows, columns = _sides(kind, wanted)
    places = {i: place_of(mine, rows, columns) for i, mine in names.items()}
    records, superseded = newest(records, places)
    refuse_mixed(records, names, (*rows, *columns))
    done = [record for record in records if record["status"] == "done"]
    if not done:
        reasons = "; ".join(f"{r['labels']['method']}: {r.get('reason') or r['status']}" for r in records)
        raise BenchError(f"none of these cells has a result ({reasons})")
    if figure.file == PREDICTIONS and all(record["kind"] == "regression" for record in done):
        raise BenchError(
            f"--figure {kind} needs classes, and these records are of a regression: --figure curve takes them"
        )
    if not found:
        raise no_such_metric(records, metric, wanted.group, wanted.part)
    absent: dict[str, list[str]] = {}
    shown = []
    parts = _differing([places[record["id"]][0] for record in done])
    for record in done:
        setting, row, column = places[record["id"]]
        panel = ", ".join(filter(None, [row, *parts[setting]]))
        if reason := _absent(kind, record, wanted, metric, found.get(record["id"])):
            absent.setdefault(reason, []).append(f"{column} on {panel}")
        else:
            head, scores = found[record["id"]]
            shown.append(Shown(record, setting, panel, column, head, scores))
    notes = [f"Left out, {reason}: {', '.join(cells)}." for reason, cells in absent.items()]
    if not shown:
        raise BenchError(f"nothing to draw: {' '.join(notes)[0].lower()}{' '.join(notes)[1:]}")
    shown.sort(key=lambda one: (natural(one.panel), natural(one.method)))
    return shown, [*notes, *superseded, *frames.left_out(damaged)]


def _sides(kind: str, wanted: Wanted) -> tuple[Sequence[str], Sequence[str]]:
    """The axes that tell panels apart, and what is shown in each. What is compared is on the same data, of which the
    axes that say so are panels, wherever they were asked for."""
    if kind not in COMPARES:
        return wanted.rows, wanted.columns
    data = [axis for axis in wanted.columns if of_data(axis)]
    if others := [axis for axis in wanted.columns if not of_data(axis)]:
        return (*wanted.rows, *data), others
    if not (others := [axis for axis in wanted.rows if not of_data(axis)]):
        raise BenchError("nothing can be compared, since no axis shows methods: add method to --rows or --columns")
    return (*(axis for axis in wanted.rows if of_data(axis)), *data), others


def _rare(record: Record) -> str:
    """The class group that is the rare one."""
    if record["kind"] == "regression" or record["data"]["classes"] == 2:
        return "positive"
    return "minority" if any(run.get("minority_classes") for run in record["runs"]) else "macro"


def _absent(
    kind: str, record: Record, wanted: Wanted, metric: str | None, found: tuple[Head, dict[Run, float]] | None
) -> str:
    """Why a record is not shown; "" where it is."""
    figure = FIGURES[kind]
    if figure.file == PREDICTIONS and record["kind"] == "regression":
        return "a regression"
    if wanted.part == "valid" and record.get("validation") not in TUNED_ON:
        return without_validation(record)
    if found is None:
        return f"without {metric or 'the metric of its headline'} of {wanted.group or 'its classes'}"
    if figure.scored:
        (name, group), scores = found
        if not any(score == score for score in scores.values()):
            return f"without {name} ({group}) by {readout_title(wanted.readout)}"
    return ""


def _differing(settings: Sequence[str]) -> dict[str, list[str]]:
    """Setting → the parts in which settings differ: "ir_20" of "ir_20, kfold, mlp"."""
    parts = {setting: setting.split(", ") for setting in settings}
    if len({len(of) for of in parts.values()}) > 1:
        return {setting: [setting] for setting in parts}
    differ = [len(set(column)) > 1 for column in zip(*parts.values())]
    return {setting: [part for part, differs in zip(of, differ) if differs] for setting, of in parts.items()}
