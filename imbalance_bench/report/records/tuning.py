"""Choosing among options by validation rows: of cells that differ in swept options only, each run takes its best.

The scores of test rows decide nothing here but what is shown as their optimism: what the same choice, made on the test
rows instead, would have printed.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from imbalance_bench.metrics.scoring import without_validation
from imbalance_bench.options import flatten, shown
from imbalance_bench.report.records.records import COLUMNS, LOWER_IS_BETTER, Head, Run, numbers, readout_met
from imbalance_bench.report.records.statistics import DECIMALS
from imbalance_bench.settings.identity import NOT_IDENTITY
from imbalance_bench.store import Record

SWEPT = ("method", "trainer", "backbone")  # whose options may be tuned
# ... but for these: cells that differ in one of them are not options of one another.
FIXED = {"name", "label", "model", "seed", "seeds", "precision"}
# Those that move no result are not looked at.
NEITHER = NOT_IDENTITY["trainer"] | {"batch_tokens"}


def fixed(record: Record) -> Record:
    """The record without what can be tuned: what is left tells apart cells that are not options of one another."""
    config = record["config"]
    parts = {part: {k: v for k, v in _flat(config[part]).items() if _last(k) in FIXED} for part in SWEPT}
    return record | {"config": config | parts}


def named_options(records: Sequence[Record]) -> dict[str, str]:
    """Id → the overrides in which it differs from the others ("without" where it has none of their keys), in the order
    of the options: by their values, in the order of the keys, null first, then numbers from the lowest, then text."""
    flat, differing = {r["id"]: tunable(r) for r in records}, swept(records)
    names = {i: " ".join(f"{k}={shown(o[k])}" for k in differing if k in o) for i, o in flat.items()}
    order = sorted(names, key=lambda i: [_ordered(flat[i].get(key)) for key in differing])
    return {i: names[i] or ("without" if differing else "") for i in order}


def swept(records: Sequence[Record]) -> list[str]:
    """The keys of overrides in which records differ."""
    flat = [tunable(record) for record in records]
    keys = dict.fromkeys(key for options in flat for key in options)
    return [key for key in keys if len({repr(options.get(key, ...)) for options in flat}) > 1]


def tunable(record: Record) -> dict[str, Any]:
    """The options that may be tuned, by the keys of their overrides."""
    options = _flat({part: record["config"][part] for part in SWEPT})
    return {key: value for key, value in options.items() if _last(key) not in FIXED | NEITHER}


def _flat(options: Any) -> dict[str, Any]:
    return flatten(options) if isinstance(options, dict) else {}


def _last(key: str) -> str:
    return key.rpartition(".")[2]


def _ordered(value: Any) -> tuple[int, float, list[Any]]:
    """A key that sorts the values of an option."""
    if value is None:
        return (0, 0.0, [])
    if isinstance(value, (bool, int, float)):
        return (1, float(value), [])
    text = value if isinstance(value, str) else json.dumps(value)
    parts = re.split(r"(\d+(?:\.\d+)?)", text)
    return (2, 0.0, [(i % 2, float(part) if i % 2 else part) for i, part in enumerate(parts)])


@dataclass(frozen=True)
class Option:
    """One of the cells that are chosen among: its name (overrides), and by run the validation score that it is chosen
    by, the same score of test rows, and the test score that is shown."""

    record: Record
    name: str
    valid: dict[Run, float]
    test: dict[Run, float]
    shown: dict[Run, float]


@dataclass(frozen=True)
class Tuned:
    """The choices of a method's runs. ``options``: those that were chosen among, in order; ``runs``: those that have
    scores; ``chosen``: each run's best on validation rows; ``on_test``: what it would have chosen on test rows;
    ``left_out``: (name of an option, why)."""

    options: list[Option]
    runs: list[Run]
    chosen: dict[Run, Option]
    on_test: dict[Run, Option]
    left_out: list[tuple[str, str]]

    @property
    def scores(self) -> list[float]:
        """The test score of each run, of the option that it chose on validation rows."""
        return [self.chosen[run].shown[run] for run in self.runs]

    @property
    def scores_on_test(self) -> list[float]:
        """... and of the option that it would have chosen on test rows."""
        return [self.on_test[run].shown[run] for run in self.runs]

    def best_alone(self, lower: bool) -> Option:
        """The one option whose mean over the runs' test rows is best: what a table of all options prints in bold."""
        means = {id(o): sum(o.shown[run] for run in self.runs) / len(self.runs) for o in self.options}
        return _first_best(self.options, {key: round(m, DECIMALS) for key, m in means.items()}, lower)


def scores_of(record: Record, part: str, head: Head, readout: str) -> dict[Run, float]:
    """Run → a score of the record; "last" stands for "best" of what has no best epoch."""
    place = {name: COLUMNS.index(name) for name in ("fold", "repeat", "iterate", "class_group", "metric", "value")}
    found: dict[str, dict[Run, float]] = {}
    for row in numbers(record, part):
        if (row[place["metric"]], row[place["class_group"]]) == head:
            run = (row[place["fold"]], row[place["repeat"]])
            found.setdefault(row[place["iterate"]], {})[run] = row[place["value"]]
    return found.get(met(record, readout), {})


def met(record: Record, readout: str) -> str:
    """The readout that a record has where ``readout`` is asked for."""
    place = COLUMNS.index("iterate")
    return readout_met((row[place] for row in numbers(record)), readout)


def tuned(records: Sequence[Record], by: Head, of: Head, readout: str) -> Tuned:
    """Each run's choice among records that are options of one another.

    Args:
        by: the metric whose validation score chooses; the first of equal options is taken.
        of: the metric whose test score counts.

    An option counts where it has all runs that any has: one that lacks a run, since it diverged there, is left out, and
    so is one whose validation rows were trained on, or have no scores.
    """
    options, left_out = [], []
    names, by_id = named_options(records), {r["id"]: r for r in records}
    for i, name in names.items():
        record = by_id[i]
        valid = scores_of(record, "valid", by, readout) if record["status"] == "done" else {}
        if reason := why_not(record, valid, by):
            left_out.append((name, reason))
            continue
        test, counted = (scores_of(record, "test", head, readout) for head in (by, of))
        runs = [run for run in valid if all(math.isfinite(s.get(run, math.nan)) for s in (valid, test, counted))]
        options.append(Option(record, name, *({run: s[run] for run in runs} for s in (valid, test, counted))))
    runs = sorted({run for option in options for run in option.shown}, key=lambda run: (run[1], run[0]))
    for option in [o for o in options if len(o.shown) < len(runs)]:
        options.remove(option)
        left_out.append((option.name, _lacks(option, [run for run in runs if run not in option.shown])))
    lower = by[0] in LOWER_IS_BETTER
    if not options:
        return Tuned([], [], {}, {}, left_out)
    chosen, on_test = (
        {run: _first_best(options, {id(o): round(scores(o)[run], DECIMALS) for o in options}, lower) for run in runs}
        for scores in (lambda o: o.valid, lambda o: o.test)
    )
    return Tuned(options, runs, chosen, on_test, left_out)


def _first_best(options: Sequence[Option], score: dict[int, float], lower: bool) -> Option:
    return (min if lower else max)(options, key=lambda option: score[id(option)])


def why_not(record: Record, valid: dict[Run, float], by: Head, option: str = "--by ") -> str:
    """Why a record cannot be chosen by its validation rows; "" where it can. ``option``: what the metric is named by
    on the command line."""
    if record["status"] != "done":
        return f"{record['status']}: {record.get('reason') or ''}"
    if reason := without_validation(record):
        return reason
    if not valid:
        return f"{by[0]} is not among its validation scores: choose by another metric, such as {option}auc_pr"
    return ""


def _lacks(option: Option, runs: Sequence[Run]) -> str:
    failures = {(r["fold"], r["repeat"]): r["failure"] for r in option.record["runs"]}
    where = ", ".join(f"fold {fold} repeat {repeat}" for fold, repeat in runs[:3])
    more = f" and {len(runs) - 3} more" if len(runs) > 3 else ""
    return f"no score in {where}{more}" + (": diverged" if any(failures.get(run) for run in runs) else "")
