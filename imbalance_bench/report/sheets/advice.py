"""Which method for these data: what the records of one data set say, in ten plain lines with their numbers."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from imbalance_bench.errors import BenchError
from imbalance_bench.metrics.scoring import without_validation
from imbalance_bench.options import flatten
from imbalance_bench.registry import GROUPS
from imbalance_bench.report.records import pairs, statistics, tuning
from imbalance_bench.report.records.commands import command_on
from imbalance_bench.report.records.failures import failed
from imbalance_bench.report.records.records import LOWER_IS_BETTER, Record, readout_title
from imbalance_bench.report.records.selection import OF_DATA
from imbalance_bench.report.records.statistics import ALPHA
from imbalance_bench.report.sheet import number
from imbalance_bench.report.sheets.scores import decimals
from imbalance_bench.report.sheets.tuned import Row, tuned_rows
from imbalance_bench.settings.conf_files import CONF, content_of
from imbalance_bench.settings.config import label_of
from imbalance_bench.settings.objective import has_better_side
from imbalance_bench.settings.overrides import searched

if TYPE_CHECKING:
    from pathlib import Path

    from imbalance_bench.report.records.collected import Source
    from imbalance_bench.report.records.pairs import Splits
    from imbalance_bench.report.records.records import Run

MORE = 10  # splits that are advised at least
DEFAULT = "cross_entropy"
STRONG = (
    "cross_entropy", "logistic_regression", "random_forest", "balanced_random_forest", "hist_gradient_boosting",
    "lightgbm", "easy_ensemble", "self_paced_ensemble", "smote", "focal", "balanced_softmax", "logit_adjustment",
)  # fmt: skip
EXTRA = ("lightgbm",)  # packages that an installation may lack


def advice(
    store: Source,
    filters: Sequence[str] = (),
    readout: str | None = None,
    metric: str | None = None,
    by: str | None = None,
    config_dir: Path | None = None,
) -> str:
    """Lines of text; the arguments as of ``tuned_table``, and the user's folder of configurations.

    Raises:
        BenchError: the records are of several data sets or settings, or no method has a number.
    """
    if metric and not has_better_side(metric):
        raise BenchError(f"no value of {metric} is better than another: --advise needs another --metric")
    found = tuned_rows(store, filters, readout or "last", metric, by)
    rows = [row for row in found.rows if row.score.mean is not None]
    places = list(dict.fromkeys((row.score.dataset, row.score.section) for row in rows))
    if not places:
        raise BenchError("no method has a number here: report.py --tuned says why")
    if len(places) > 1:
        several = "\n  ".join(f"{dataset}: {section}" for dataset, section in places[:6])
        raise BenchError(
            "--advise needs one data set in one setting: add dataset=..., ratio=..., protocol=...; there are\n  "
            f"{several}"
        )
    lower = rows[0].of[0] in LOWER_IS_BETTER
    rows.sort(key=lambda row: (row.score.mean or 0.0) * (1 if lower else -1))
    splits = _against_best(rows)
    kept = unbeaten(rows, splits)
    unmet = _without_a_record(store, filters, rows, found.records)
    missing = _untried(found.records, unmet)
    lines = [
        _what(rows, readout or "last"),
        _best(rows),
        *_beaten(rows, kept, splits),
        _cheapest(kept),
        _default(rows, lower),
        *_gained(rows, lower),
        _optimism(rows),
        _not_tuned(rows),
        _failed(unmet),
        _not_tried(missing),
        _next(rows, kept, missing, store, config_dir),
    ]
    return "\n".join(f"{place}. {line}" for place, line in enumerate(filter(None, lines), 1)) + "\n"


def _in_all(rows: Sequence[Row]) -> list[Run]:
    """The runs (fold, repeat) that all methods have a score of."""
    return [run for run in rows[0].by_run if all(run in row.by_run for row in rows[1:])]


def _against_best(rows: Sequence[Row]) -> dict[str, Splits]:
    """Method → the scores of the best, which is the first, and of it on the splits that all methods have; seeds of a
    split count by their mean (``pairs.by_split``)."""
    best, shared = rows[0], _in_all(rows)
    return {
        row.score.method: pairs.by_split(
            [{run: each.by_run[run] for run in shared} for each in (best, row)], (best.done[0], row.done[0])
        )
        for row in rows[1:]
    }


def _value(row: Row, value: float, signed: bool = False) -> str:
    return number(value, decimals(row.of[0]), signed=signed)


def _what(rows: Sequence[Row], readout: str) -> str:
    cells, runs = sum(len(row.records) for row in rows), len(_in_all(rows))
    return (
        f"{rows[0].score.dataset}, {rows[0].score.section}, {readout_title(readout)}: {_some(len(rows), 'method')} in "
        f"{_some(cells, 'cell')}, {_some(runs, 'run')} that all of them have; test scores, options chosen "
        "on validation rows."
    )


def _best(rows: Sequence[Row]) -> str:
    shown = ", ".join(f"{row.name} {_value(row, row.score.mean or 0.0)}" for row in rows[:5])
    return f"Best first: {shown}" + (f", and {len(rows) - 5} more." if len(rows) > 5 else ".")


def unbeaten(rows: Sequence[Row], splits: Mapping[str, Splits]) -> list[Row]:
    """The best method, and those that it does not beat beyond chance (Wilcoxon over splits, Holm)."""
    adjusted = statistics.holm([statistics.signed_rank(each.one - each.other) for each in splits.values()])
    beaten = {method for method, p in zip(splits, adjusted) if p < ALPHA}
    return [row for row in rows if row.score.method not in beaten]


def _beaten(rows: Sequence[Row], kept: Sequence[Row], splits: Mapping[str, Splits]) -> list[str]:
    """Says which methods are ``kept``, as ``unbeaten`` on these splits, and whether these could tell any apart."""
    if len(rows) == 1:
        return ["One method alone: nothing to compare it with."]
    names = ", ".join(row.score.method for row in kept)
    n = max(len(each.one) for each in splits.values())
    over = _some(n, "split" if any(each.averaged for each in splits.values()) else "run")
    lines = [f"Nobody beats beyond chance: {names} (Wilcoxon over {over}, Holm, p < {ALPHA:g})."]
    if (least := _least(n, len(rows))) >= ALPHA:
        lines.append(
            f"{over} cannot tell {len(rows)} methods apart, whatever their scores (p is "
            f"{f'{least:.2g} or more' if least < 1 else '1'}): run all of them on more, such as "
            f"{' '.join(more_splits(rows[0].done[0], len(rows)))}."
        )
    return lines


def _least(splits: int, methods: int) -> float:
    """The smallest p of Wilcoxon's test over so many splits, adjusted by Holm for so many methods."""
    return 2.0 ** (1 - splits) * (methods - 1)


def more_splits(record: Record, methods: int) -> list[str]:
    """Overrides that make more splits than a record has, enough to tell so many methods apart; with a label of their
    own, so that ``protocol=<label>`` selects what was run on them. Where the data set brings the test rows, more
    trials of training on them."""
    options = record["config"]["protocol"]
    enough = next(n for n in itertools.count(MORE) if _least(n, methods) < ALPHA)
    name, key = {
        "past_future": ("past_future", "folds"), "official_test": ("official_test", "seeds"),
        "official_trials": ("official_trials", "trials"),
    }.get(options.get("name"), ("repeated_holdout", "repeats"))  # fmt: skip
    now = options.get(key, 0) if options.get("name") == name else 0
    number = enough if enough > now else 2 * now
    if name == "repeated_holdout" and (now, number) == (0, MORE):  # as conf/ has it
        return ["protocol=repeated_holdout"]
    words = [f"protocol={name}", f"protocol.{key}={number}"]
    if name == "past_future":  # as many rows are tested on
        words.append(f"protocol.test_fraction={options['test_fraction'] * now / number:.2g}")
    return [*words, f"protocol.label={name}_{number}"]


def _seconds(row: Row) -> float:
    """Mean time of one run of one option."""
    return float(np.mean([record["seconds"] / max(1, len(record["runs"])) for record in row.done]))


def _cheapest(kept: Sequence[Row]) -> str:
    by_cost = sorted(kept, key=_seconds)
    first, dearest = by_cost[0], by_cost[-1]
    beside = f"; the dearest, {dearest.score.method}, {_seconds(dearest):.2g} s" if first is not dearest else ""
    return f"Cheapest of these: {first.score.method}, {_seconds(first):.2g} s a run{beside}."


def _default(rows: Sequence[Row], lower: bool) -> str:
    best = rows[0]
    mine = next((row for row in rows if row.score.method == DEFAULT), None)
    if mine is None:
        return f"How far the default is behind is not known: {DEFAULT} was not run."
    if mine is best:
        return f"The default, {DEFAULT}, is the best."
    splits = pairs.by_split((best.by_run, mine.by_run), (best.done[0], mine.done[0]))
    behind = (splits.other - splits.one) if lower else (splits.one - splits.other)
    gain = statistics.difference(behind)
    _, (low, high) = pairs.corrected_t(behind, splits.share)
    known = ""
    if np.isfinite(low):
        corrected = ", corrected for shared training rows" if splits.share else ""
        known = f"95 % interval {_value(best, low, True)} to {_value(best, high, True)}{corrected}; "
    return (
        f"The default, {DEFAULT}, is {_value(best, gain.mean)} behind {best.score.method} ({known}better in "
        f"{_some(gain.wins, 'split' if splits.averaged else 'run')}, worse in {gain.losses})."
    )


def _gained(rows: Sequence[Row], lower: bool) -> list[str]:
    """Says what tuning gained over the options as they stand in conf/, of the methods of which these were run."""
    gains = []
    for row in rows:
        if row.tuned is None:
            continue
        keys = tuning.swept(row.done)
        record = next((r for r in row.done if _as_it_stands(r, keys)), None)
        if record is None:
            continue
        mine = tuning.scores_of(record, "test", row.of, row.score.iterate)
        runs = [run for run in row.tuned.runs if np.isfinite(mine.get(run, np.nan))]
        if runs:
            gain = float(np.mean([row.by_run[run] - mine[run] for run in runs]))
            gains.append(f"{row.score.method} {_value(row, gain, True)}")
    return [f"Tuning gained over the defaults: {', '.join(gains)}" + (" (lower is better)." if lower else ".")] * bool(
        gains
    )


def _as_it_stands(record: Record, keys: Sequence[str]) -> bool:
    """Whether a cell has the values of these keys that conf/ has."""
    config = tuning.tunable(record)
    whole: dict[str, Any] = {}
    for group in tuning.SWEPT:
        whole |= flatten(_content(group, record["labels"][group]), f"{group}.")
    return all(config.get(key) == whole.get(key) for key in keys)


@cache
def _content(group: str, label: str) -> dict[str, Any]:
    """The file of an option by its label; empty where conf/ has none."""
    return next((content_of(group, option) for option in _options(group) if label_of(option) == label), {})


@cache
def _options(group: str) -> list[str]:
    return sorted(str(path.relative_to(CONF / group))[:-5] for path in (CONF / group).rglob("*.yaml"))


def _optimism(rows: Sequence[Row]) -> str:
    tuned = [row for row in rows if row.tuned is not None]
    if not tuned:
        return ""
    added = ", ".join(
        f"{row.score.method} {_value(row, float(np.mean(row.tuned.scores_on_test)) - (row.score.mean or 0.0), True)}"
        for row in tuned
        if row.tuned
    )
    return f"Choosing on the test rows would have added, falsely: {added}."


def _not_tuned(rows: Sequence[Row]) -> str:
    names = [row.score.method for row in rows if row.tuned is None]
    return f"Not tuned, so perhaps better than shown: {_few(names)}." if names else ""


def _without_a_record(
    store: Source, filters: Sequence[str], rows: Sequence[Row], records: Sequence[Record]
) -> list[str]:
    """The methods that only failed on the data set of ``rows``, sorted."""
    names = [one.names for one in failed(store, filters) if one.names["dataset"] == rows[0].score.dataset]
    return sorted({each["method"] for each in names} - {record["labels"]["method"] for record in records} - {""})


def _failed(methods: Sequence[str]) -> str:
    return f"Failed: {_few(methods)}." if methods else ""


def _untried(records: Sequence[Record], unmet: Sequence[str]) -> list[str]:
    """The methods of conf/ that have no record here, variants left out."""
    tried = {record["labels"]["method"] for record in records} | {*unmet}
    return [option for option in _options("method") if "/" not in option and option not in tried]


def _not_tried(missing: Sequence[str]) -> str:
    strong = [name for name in STRONG if name in missing]
    return f"Not tried: {len(missing)} methods" + (f", strong ones among them: {', '.join(strong)}." if strong else ".")


def _next(
    rows: Sequence[Row], kept: Sequence[Row], missing: Sequence[str], store: Source, config_dir: Path | None
) -> str:
    """The next command: tuning one that nobody beats, else more splits for those, else strong methods ``missing``."""
    unknown: list[str] = []
    for row in (row for row in kept if row.tuned is None and not without_validation(row.done[0])):
        try:
            line, config = command_on("search", row.done[0], store, config_dir)
        except BenchError as error:
            unknown.append(f"Next: tune {row.score.method} (docs/tuning.md), of whose options {error}.")
            continue
        if searched(config):
            return f"Next: {line} (docs/tuning.md)."
    if unknown:
        return unknown[0]
    best, strong = kept[0], [name for name in STRONG if name in missing and name not in EXTRA][:3]
    try:
        if len(kept) > 1:
            words, groups = more_splits(best.done[0], len(rows)), [group for group in GROUPS if group != "protocol"]
            swept = tuning.swept(best.done)
            line, config = command_on("train", best.done[0], store, config_dir, swept, groups, words)
            if best.tuned is not None and searched(config):
                line = command_on("search", best.done[0], store, config_dir, swept, groups, words)[0]
            others = _few([row.score.method for row in kept[1:]])
            return f"Next, more splits: {line}; likewise {others}."
        if strong:
            words = [f"method={','.join(strong)}"]
            line, _ = command_on("train", best.done[0], store, config_dir, (), OF_DATA, words, several=len(strong) > 1)
            return f"Next: {line}."
    except BenchError as error:
        return f"Next: more splits, and the methods that were not tried; {error}."
    return ""


def _some(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
