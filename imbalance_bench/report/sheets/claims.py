"""Claims of a paper about its results, tested on records: the comparisons of published/<paper>/claims.yaml.

A claim compares one method with others over cells (data set × ratio, or those it lists). In a cell, the methods
are compared on the runs (fold, repeat) that all of them have, by their means over these runs. A side is a method
label, with networks or a readout behind it where they are not the claim's (``sides.Side``). Runs of a fold differ in
seeds and count by their mean; of one fold alone each counts.

Verdicts (``judgement``): *holds*, *does not hold*, *undecided* where a 95 % interval has both, *not run*. A cell is
judged by its interval over runs. One of a single run has none and counts as not run, as does a claim whose ``schedule``
is not the paper's; what was seen is said. On a partial grid, a claim about every cell is refuted by one cell, one about
most cells is decided as soon as the missing cells cannot change the majority, a test of ranks when they cannot change
its outcome; otherwise, and for the other statistics over cells (``higher_on_average``, ``mean_gain_between``,
``varies_least``), it is not run. Claims about a trend over ratios (``gain_grows``, ``declines_least``) are judged for
each data set (and network) that the cells name, and hold if they hold in every one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from imbalance_bench.errors import BenchError
from imbalance_bench.registry import build
from imbalance_bench.report.published import printed
from imbalance_bench.report.published.sides import ANY, Side
from imbalance_bench.report.records.records import LOWER_IS_BETTER, Run
from imbalance_bench.report.records.statistics import PairedDifference, difference
from imbalance_bench.report.sheets.claim import ZERO, CellComparison, Claim, place_name
from imbalance_bench.report.sheets.judgement import NOT_RUN, Verdict, judge
from imbalance_bench.report.sheets.scores import recorded
from imbalance_bench.settings.conf_files import CONF
from imbalance_bench.settings.presets import read_yaml

if TYPE_CHECKING:
    import pandas as pd

KEYS = ["method", "dataset", "ratio", "fold", "repeat", "iterate", "class_group", "metric"]
SETTINGS = ("backbone", "protocol", "trainer")  # of a record; "" where nothing is said of it, as by a printed table


Index = dict[tuple[str, str, str], list[dict[str, Any]]]  # (metric, dataset, ratio) → numbers, columns as names


@dataclass(frozen=True)
class ClaimResult:
    """A claim with its verdict.

    ``detail``: the numbers that decided, in a phrase. ``needed``: how many cells the claim speaks of; ``cells``:
    those that were run; ``missing``: "dataset ratio: sides without runs" for each of the others. ``gain``: over
    the best other of each cell, paired over cells, or over the runs of the only one; positive = better (for losses and
    errors too); None without cells. ``versus``: the same over each of ``against``; empty without cells.
    """

    claim: Claim
    verdict: Verdict
    detail: str
    needed: int
    cells: tuple[CellComparison, ...]
    missing: tuple[str, ...]
    gain: PairedDifference | None
    versus: dict[str, PairedDifference]


def read_claims(path: Path) -> list[dict[str, Any]]:
    """The claims declared in a claims.yaml, in order."""
    return _read(path)["claims"]


def presets_tested(path: Path) -> list[str]:
    """The presets whose records a claims.yaml is tested on (its key ``tested``); none named: the paper's tables."""
    return _read(path).get("tested", [])


def printed_values(path: Path) -> pd.DataFrame:
    """The numbers that the paper printed, in the form of ``evaluate_claims``, and the ``table`` (preset) they stand in:
    one run a cell, with "" where the paper does not name a setting.

    ``printed`` in claims.yaml names the presets; how they name what the file holds (``paper.published_as``) is read
    backwards, so that a number stands for each of our labels that a table shows it beside. A claim that fails on these
    numbers fails on the paper's own.
    """
    import pandas as pd

    content = _read(path)
    rows = []
    for preset in content["printed"]:
        paper = _read(CONF / "paper" / content["paper"] / f"{preset}.yaml")["paper"]
        table = printed.PrintedTable(content["paper"], paper["published"], paper.get("published_as"))
        group = paper["class_group"] if isinstance(paper["class_group"], str) else ""
        for ours in table.ours(group):
            metric = ours.pop("metric")
            groups = (paper.get("only") or {}).get(metric, {}).get("class_group", [ours["class_group"]])
            if ours["class_group"] not in groups:
                continue
            name, scale = recorded(metric)
            side = Side.of(ours.pop("row"))
            value = float(ours.pop("value")) / scale
            where = {"method": side.method, "iterate": side.readout or "last", "metric": name, "value": value}
            where |= {"fold": 0, "repeat": 0, "protocol": "", "trainer": "", "table": preset}
            networks = [n for n in side.networks if n != ANY] or [ours["backbone"]]
            rows += [ours | where | {"backbone": network} for network in networks]
    return pd.DataFrame(rows)


def evaluate_on_printed(claims: Iterable[Mapping[str, Any]], path: Path) -> list[ClaimResult]:
    """The same claims tested on the paper's own numbers; ``path``: claims.yaml."""
    values = printed_values(path)
    results = []
    for claim in claims:
        mine = values[values.table == claim["table"]] if claim.get("table") else values
        # the paper's own method stands in several tables, with the same numbers
        results += evaluate_claims([claim], mine.drop(columns="table").drop_duplicates(ignore_index=True), exact=True)
    return results


def evaluate_claims(
    claims: Iterable[Mapping[str, Any]], values: pd.DataFrame, exact: bool = False
) -> list[ClaimResult]:
    """Tests declared claims.

    Args:
        claims: as in claims.yaml, the keys of ``Claim``.
        values: one row a number, columns ``KEYS``, value and, where they tell records apart, ``SETTINGS``
            (``records.tidy``; more columns do no harm). Undefined values (nan) count as not run.
        exact: the numbers stand for themselves, one a cell, without an interval.

    Raises:
        BenchError: a key is unknown or missing, two claims share an id, or a number occurs twice (two records
            with equal labels and different settings: the caller must choose).
    """
    parsed = [build(Claim, claim, f"claim {claim.get('id', '?')}") for claim in claims]
    ids = [claim.id for claim in parsed]
    if twice := {i for i in ids if ids.count(i) > 1}:
        raise BenchError(f"claims.yaml declares {', '.join(sorted(twice))} twice")
    known = values.dropna(subset="value")
    known = known.assign(**{setting: "" for setting in SETTINGS if setting not in known})
    doubled = known[known.duplicated([*KEYS, *SETTINGS])]
    if len(doubled):
        what = ", ".join(f"{k}={doubled.iloc[0][k]}" for k in KEYS)
        raise BenchError(f"two records give {what}: select the cells of one preset, or delete one of the two")
    index: Index = {}
    for row in known[known.metric.isin({claim.metric for claim in parsed})].to_dict("records"):
        index.setdefault((row["metric"], row["dataset"], row["ratio"]), []).append(row)
    return [_evaluate(claim, index, exact) for claim in parsed]


def _read(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = read_yaml(path)
        return found
    except FileNotFoundError as error:
        raise BenchError(f"no claims are declared at {path}") from error


def _evaluate(claim: Claim, index: Index, exact: bool) -> ClaimResult:
    sign = -1.0 if claim.lower or claim.metric in LOWER_IS_BETTER else 1.0
    cells, missing = [], []
    for place in claim.places:
        cell = _compare(claim, index, place, sign)
        if isinstance(cell, CellComparison):
            cells.append(cell)
        else:
            missing.append(f"{place_name(place)}: {cell}")
    return conclude(claim, cells, missing, sign, exact)


def conclude(
    claim: Claim, cells: list[CellComparison], missing: list[str], sign: float = 1.0, exact: bool = False
) -> ClaimResult:
    """The claim judged on the cells in which every side was run."""
    import pandas as pd

    needed = len(claim.places)
    if not cells:
        nothing = f"none of {needed} cells has every method"
        return ClaimResult(claim, NOT_RUN, nothing, needed, (), tuple(missing), None, {})
    repeated = cells if exact else [cell for cell in cells if cell.runs > 1]
    single = [f"{cell.name}: one run" for cell in cells if cell not in repeated]
    judged = repeated or cells
    table = sign * pd.DataFrame([cell.values for cell in judged])
    gains = {other: table[claim.method] - table[other] for other in claim.others}
    if len(judged) > 1 or exact:
        gain = difference(pd.DataFrame(gains).min(axis=1), exact)
        versus = {other: difference(gains[other], exact) for other in claim.others}
    else:
        gain, versus = judged[0].gain, judged[0].versus()
    verdict, detail = judge(claim, judged, table, gain, versus, sign, exact)
    reasons = [] if exact else [claim.schedule, "" if repeated else "one run a cell"]
    if any(reasons):
        verdict, detail = NOT_RUN, f"{', '.join(filter(None, reasons))}; seen: {detail}"
    return ClaimResult(claim, verdict, detail, needed, tuple(judged), (*missing, *single), gain, versus)


def _compare(claim: Claim, index: Index, place: dict[str, str], sign: float) -> CellComparison | str:
    """The comparison in one cell, or which sides lack runs."""
    wanted = {"class_group": claim.class_group} | {k: v for k, v in place.items() if k not in ("dataset", "ratio")}
    here = [
        row
        for row in index.get((claim.metric, place["dataset"], place["ratio"]), [])
        if all(row[key] == value or (key in SETTINGS and row[key] == "") for key, value in wanted.items())
    ]
    columns: dict[str, dict[tuple[int, int], float]] = {}
    # What has no best epoch stands with its last, as in tables, beside a method that has one.
    selects = any(row["method"] == Side.of(claim.method).method and row["iterate"] == "best" for row in here)
    for side in claim.sides:
        rows = _rows_of(Side.of(side), here, claim.iterate, sign)
        if not rows and selects:
            rows = _rows_of(Side.of(side), here, "last", sign)
        columns[side] = {(row["fold"], row["repeat"]): row["value"] for row in rows}
        if len(columns[side]) < len(rows):
            values = {setting: sorted({row[setting] for row in rows}) for setting in SETTINGS}
            several = ", ".join(f"{setting} {' and '.join(v)}" for setting, v in values.items() if len(v) > 1)
            raise BenchError(
                f"claim {claim.id!r}: {side} on {place_name(place)} was run with {several}: say which by cells"
            )
    if absent := [side for side, column in columns.items() if not column]:
        return ", ".join(absent)
    if not claim.against:
        columns[ZERO] = dict.fromkeys(columns[claim.method], 0.0)
    shared = sorted(set.intersection(*(set(column) for column in columns.values())))
    if not shared:
        return "no run that all sides share"
    means = {side: float(np.mean([column[run] for run in shared])) for side, column in columns.items()}
    mine = columns[claim.method]
    groups: dict[Run, list[Run]] = {}
    alone = len({fold for fold, _ in shared}) == 1
    for run in shared:
        groups.setdefault(run if alone else (run[0], 0), []).append(run)
    gains = {
        side: {
            group: sign * float(np.mean([mine[run] - columns[side][run] for run in runs]))
            for group, runs in groups.items()
        }
        for side in claim.others
    }
    best = max(claim.others, key=lambda side: sign * means[side])
    return CellComparison(place, means, gains, best)


def _rows_of(side: Side, here: list[dict[str, Any]], readout: str, sign: float) -> list[dict[str, Any]]:
    """The numbers of a side among those of a place; of several networks it chooses from, those of the best mean."""
    rows = [
        row
        for row in here
        if row["method"] == side.method and row["iterate"] == (side.readout or readout) and side.holds(row["backbone"])
    ]
    if not side.chooses or not rows:
        return rows
    networks: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        networks.setdefault(row["backbone"], []).append(row)
    return max(networks.values(), key=lambda some: sign * float(np.mean([row["value"] for row in some])))
