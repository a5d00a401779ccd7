"""What a paper says of its results, tested on records: the comparisons of conf/paper/<paper>/claims.yaml.

A claim compares one method with others over cells (data set × ratio, or those it lists). In a cell, the methods
are compared on the runs (fold, repeat) that all of them have, by their means over these runs. A side is a method
label, with networks or an iterate behind it where they are not the claim's (``sides.Side``).

Verdicts: *holds*, *does not hold*, *not run*. On a partial grid, a claim about every cell is refuted by one
cell, and one about most cells is decided as soon as the missing cells cannot change the majority; otherwise
it is not run. The statistics over cells (``higher_on_average``, ``mean_gain_between``, ``ranks_differ``,
``varies_least``) are judged once at least half of the cells were run. Claims about a trend over ratios (``gain_grows``,
``declines_least``) are judged for each data set (and network) that the cells name, and hold if they hold in every one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from imbalance_bench.errors import BenchError
from imbalance_bench.registry import build
from imbalance_bench.report import printed
from imbalance_bench.report.frame import LOWER_IS_BETTER, iterate_title
from imbalance_bench.report.scores import recorded
from imbalance_bench.report.sides import ANY, Side
from imbalance_bench.report.statistics import PairedDifference, friedman, paired_difference

if TYPE_CHECKING:
    import pandas as pd

Verdict = Literal["holds", "does not hold", "not run"]
HOLDS: Verdict = "holds"
DOES_NOT_HOLD: Verdict = "does not hold"
NOT_RUN: Verdict = "not run"

KEYS = ["method", "dataset", "ratio", "fold", "repeat", "iterate", "class_group", "metric"]
SETTINGS = ("backbone", "protocol", "trainer")  # of a record; "" where nothing is said of it, as by a printed table
ZERO = "0"
PLACE = ("dataset", "ratio", "backbone", "trainer", "class_group")
Index = dict[tuple[str, str, str], list[dict[str, Any]]]  # (metric, dataset, ratio) → numbers, columns as names


@dataclass(frozen=True)
class Claim:
    """One line of claims.yaml.

    ``where``: its place in the paper. ``source``: the paper's own claim, or a control that we run beside it.
    ``cells``: mappings of ``PLACE``, in place of ``datasets`` × ``ratios``. ``table``: the preset whose printed numbers
    it is tested on; null: all those that claims.yaml names. ``against``: where none is named the gain is over zero, and
    bounds are about the size of the number itself. ``statistic``:

    * ``best_on_all``: strictly better than every other in every cell;
    * ``best_on_most``: strictly better than every other in more than half of the cells;
    * ``gain_between``: in every cell, the gain over the best other lies in ``bounds`` = [low, high];
    * ``mean_gain_between``: the mean over the cells of the gain over the best other lies in ``bounds``;
    * ``higher_on_average``: for every other, the 95 % interval of the mean gain over the cells lies above 0;
    * ``ranks_differ``: p < 0.05 in Friedman's test, as Iman and Davenport correct it, over all the methods;
    * ``gain_grows``: the gain over the best other rises from each ratio to the next, in the order of the cells;
    * ``varies_least``: the sd over the cells is smaller than that of every other;
    * ``declines_least``: from the first ratio to the last, less is lost than by every other.
    """

    id: str
    text: str
    where: str
    source: Literal["paper", "control"]
    statistic: Literal[
        "best_on_all",
        "best_on_most",
        "gain_between",
        "mean_gain_between",
        "higher_on_average",
        "ranks_differ",
        "gain_grows",
        "declines_least",
        "varies_least",
    ]
    method: str
    against: tuple[str, ...]
    metric: str
    class_group: str
    iterate: str
    datasets: tuple[str, ...] = ()
    ratios: tuple[str, ...] = ()
    cells: tuple[dict, ...] = ()
    bounds: tuple[float, ...] | None = None
    table: str | None = None

    def __post_init__(self) -> None:
        sized = self.statistic in ("gain_between", "mean_gain_between")
        if not ((self.against or sized) and (self.cells or (self.datasets and self.ratios))):
            raise BenchError(
                f"claim {self.id!r}: against, and cells or datasets and ratios, need at least one entry each"
            )
        for cell in self.cells:
            if not {"dataset", "ratio"} <= cell.keys() <= set(PLACE):
                raise BenchError(f"claim {self.id!r}: cell {cell} needs dataset and ratio, and may have {PLACE[2:]}")
        for side in self.sides:
            try:
                iterate_title(Side.of(side).iterate or self.iterate)
            except BenchError as error:
                raise BenchError(
                    f"claim {self.id!r}: {side!r} must be a method label or label@iterate: {error}"
                ) from None
        if len(self.bounds or ()) != (2 if sized else 0):
            raise BenchError(f"claim {self.id!r}: bounds=[low, high] belongs to (mean_)gain_between, and only to them")

    @property
    def sides(self) -> tuple[str, ...]:
        return (self.method, *self.against)

    @property
    def others(self) -> tuple[str, ...]:
        return self.against or (ZERO,)

    @property
    def places(self) -> list[dict[str, str]]:
        """Every cell that the claim speaks of."""
        return list(self.cells) or [{"dataset": d, "ratio": r} for d in self.datasets for r in self.ratios]


@dataclass(frozen=True)
class CellComparison:
    """One cell in which every side was run.

    ``place``: of ``Claim.places``; ``values``: mean over the ``runs`` shared runs, by side; ``best_other``: the
    strongest of ``against``; ``gain``: over that one, paired over runs, positive = better.
    """

    place: dict[str, str]
    runs: int
    values: dict[str, float]
    best_other: str
    gain: PairedDifference

    @property
    def dataset(self) -> str:
        return self.place["dataset"]

    @property
    def name(self) -> str:
        return _name(self.place)


@dataclass(frozen=True)
class ClaimResult:
    """What became of a claim.

    ``detail``: the numbers that decided, in a phrase. ``needed``: how many cells the claim speaks of; ``cells``:
    those that were run; ``missing``: "dataset ratio: sides without runs" for each of the others. ``gain``: over
    the best other of each cell, paired over cells, positive = better (for losses and errors too); None without
    cells. ``versus``: the same over each of ``against``; empty without cells.
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
        paper = _read(path.with_name(f"{preset}.yaml"))["paper"]
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
            where = {"method": side.method, "iterate": side.iterate or "last", "metric": name, "value": value}
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
        results += evaluate_claims([claim], mine.drop(columns="table").drop_duplicates(ignore_index=True))
    return results


def evaluate_claims(claims: Iterable[Mapping[str, Any]], values: pd.DataFrame) -> list[ClaimResult]:
    """Tests declared claims.

    Args:
        claims: as in claims.yaml, the keys of ``Claim``.
        values: one row a number, columns ``KEYS``, value and, where they tell records apart, ``SETTINGS``
            (``report.frame.tidy``; more columns do no harm). Undefined values (nan) count as not run.

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
    return [_evaluate(claim, index) for claim in parsed]


def _read(path: Path) -> dict[str, Any]:
    import yaml

    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BenchError(f"no claims are declared at {path}") from error


def _evaluate(claim: Claim, index: Index) -> ClaimResult:
    import pandas as pd

    sign = -1.0 if claim.metric in LOWER_IS_BETTER else 1.0
    cells, missing = [], []
    for place in claim.places:
        cell = _compare(claim, index, place, sign)
        if isinstance(cell, CellComparison):
            cells.append(cell)
        else:
            missing.append(f"{_name(place)}: {cell}")
    if not cells:
        nothing = f"none of {len(claim.places)} cells has every method"
        return ClaimResult(claim, NOT_RUN, nothing, len(claim.places), (), tuple(missing), None, {})
    table = sign * pd.DataFrame([cell.values for cell in cells])
    gain = paired_difference(table[claim.method], table[list(claim.others)].max(axis=1))
    versus = {other: paired_difference(table[claim.method], table[other]) for other in claim.others}
    verdict, detail = _judge(claim, cells, table, gain, versus)
    return ClaimResult(claim, verdict, detail, len(claim.places), tuple(cells), tuple(missing), gain, versus)


def _compare(claim: Claim, index: Index, place: dict[str, str], sign: float) -> CellComparison | str:
    """The comparison in one cell, or which sides lack runs."""
    wanted = {"class_group": claim.class_group} | {k: v for k, v in place.items() if k not in ("dataset", "ratio")}
    here = [
        row
        for row in index.get((claim.metric, place["dataset"], place["ratio"]), [])
        if all(row[key] == value or (key in SETTINGS and row[key] == "") for key, value in wanted.items())
    ]
    columns: dict[str, dict[tuple[int, int], float]] = {}
    # What has no best iterate stands with its last, as in tables, beside a method that has one.
    selects = any(row["method"] == Side.of(claim.method).method and row["iterate"] == "best" for row in here)
    for side in claim.sides:
        rows = _rows_of(Side.of(side), here, claim.iterate, sign)
        if not rows and selects:
            rows = _rows_of(Side.of(side), here, "last", sign)
        columns[side] = {(row["fold"], row["repeat"]): row["value"] for row in rows}
        if len(columns[side]) < len(rows):
            values = {setting: sorted({row[setting] for row in rows}) for setting in SETTINGS}
            several = ", ".join(f"{setting} {' and '.join(v)}" for setting, v in values.items() if len(v) > 1)
            raise BenchError(f"claim {claim.id!r}: {side} on {_name(place)} was run with {several}: say which by cells")
    if absent := [side for side, column in columns.items() if not column]:
        return ", ".join(absent)
    if not claim.against:
        columns[ZERO] = dict.fromkeys(columns[claim.method], 0.0)
    shared = sorted(set.intersection(*(set(column) for column in columns.values())))
    if not shared:
        return "no run that all sides share"
    runs = {side: np.array([column[run] for run in shared]) for side, column in columns.items()}
    means = {side: float(values.mean()) for side, values in runs.items()}
    best = max(claim.others, key=lambda side: sign * means[side])
    gain = paired_difference(sign * runs[claim.method], sign * runs[best])
    return CellComparison(place, len(shared), means, best, gain)


def _rows_of(side: Side, here: list[dict[str, Any]], iterate: str, sign: float) -> list[dict[str, Any]]:
    """The numbers of a side among those of a place; of several networks it chooses from, those of the best mean."""
    rows = [
        row
        for row in here
        if row["method"] == side.method and row["iterate"] == (side.iterate or iterate) and side.holds(row["backbone"])
    ]
    if not side.chooses or not rows:
        return rows
    networks: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        networks.setdefault(row["backbone"], []).append(row)
    return max(networks.values(), key=lambda some: sign * float(np.mean([row["value"] for row in some])))


def _judge(
    claim: Claim,
    cells: list[CellComparison],
    table: pd.DataFrame,
    gain: PairedDifference,
    versus: dict[str, PairedDifference],
) -> tuple[Verdict, str]:
    """The verdict and the sentence behind it. ``table``: run cells × sides, higher = better."""
    needed, run = len(claim.places), len(cells)
    of = f"{run} cells" if run == needed else f"{run} cells run, of {needed}"
    if claim.statistic == "best_on_all":
        return _on_all(gain.wins, run, needed), f"strictly best in {gain.wins} of {of}"
    if claim.statistic == "best_on_most":
        return _on_most(gain.wins, run, needed), f"strictly best in {gain.wins} of {of}"
    if claim.statistic == "gain_between":
        assert claim.bounds
        low, high = claim.bounds
        gains = [round(cell.gain.mean, 9) for cell in cells]  # bounds are met in spite of rounding
        within = sum(low <= g <= high for g in gains)
        listed = ", ".join(f"{g:+.3f} on {cell.name}" for g, cell in zip(gains, cells))
        return _on_all(within, run, needed), f"{listed}; in [{low:g}, {high:g}]: {within} of {of}"
    if claim.statistic in ("gain_grows", "declines_least"):
        return _trend(claim, cells, -1.0 if claim.metric in LOWER_IS_BETTER else 1.0)
    if 2 * run < needed:
        return NOT_RUN, f"{of}: fewer than half"
    if claim.statistic == "mean_gain_between":
        assert claim.bounds
        low, high = claim.bounds
        mean = round(gain.mean, 9)
        detail = f"mean gain {mean:+.4f} on {of}; in [{low:g}, {high:g}]: {'yes' if low <= mean <= high else 'no'}"
        return (HOLDS if low <= mean <= high else DOES_NOT_HOLD), detail
    if claim.statistic == "ranks_differ":
        test = friedman(table)
        if np.isnan(test.p):
            return NOT_RUN, f"nothing to rank: {of}"
        detail = f"F({test.dof[0]}, {test.dof[1]}) = {test.f:.2f}, p = {test.p:.2g}, over {of}"
        return (HOLDS if test.p < 0.05 else DOES_NOT_HOLD), detail
    if claim.statistic == "varies_least":
        if run < 2:
            return NOT_RUN, f"one cell does not vary: {of}"
        spread = table.std(ddof=1).round(9)
        other = min(claim.against, key=lambda side: spread[side])
        detail = f"sd {spread[claim.method]:.3f}, that of {other} {spread[other]:.3f}, over {of}"
        return (HOLDS if spread[claim.method] < spread[other] else DOES_NOT_HOLD), detail
    hardest = min(versus, key=lambda other: (versus[other].low, versus[other].mean))
    d = versus[hardest]
    detail = f"mean gain {d.mean:+.4f} [{d.low:+.4f}, {d.high:+.4f}] over {hardest} on {of}"
    if np.isnan(d.low):
        return NOT_RUN, f"mean gain {d.mean:+.4f} over {hardest} on {of}: one cell gives no interval"
    return (HOLDS if d.low > 0 else DOES_NOT_HOLD), detail


def _name(place: Mapping[str, str]) -> str:
    """A cell for people; the trainer is what the claim's text says."""
    return " ".join(value for key, value in place.items() if value and key != "trainer")


def _trend(claim: Claim, cells: list[CellComparison], sign: float) -> tuple[Verdict, str]:
    """A claim about how something changes over the ratios of each data set."""

    def series(place: dict[str, str]) -> tuple[str, ...]:
        return tuple(value for key, value in place.items() if key != "ratio")

    needed: dict[tuple[str, ...], list[dict[str, str]]] = {}
    for place in claim.places:
        needed.setdefault(series(place), []).append(place)
    good, refuted, parts = 0, False, []
    for key, places in needed.items():
        ratios = [place["ratio"] for place in places]
        run = {cell.place["ratio"]: cell for cell in cells if series(cell.place) == key}
        name = _name(needed[key][0] | {"ratio": ""})
        if claim.statistic == "gain_grows":
            gains = [round(run[r].gain.mean, 9) for r in ratios if r in run]
            rising = all(a < b for a, b in zip(gains, gains[1:]))
            good += rising and len(gains) == len(ratios)
            refuted |= not rising
            parts += [f"{name} {', '.join(f'{g:+.3f}' for g in gains)}"] if gains else []
        elif ratios[0] in run and ratios[-1] in run:
            first, last = run[ratios[0]].values, run[ratios[-1]].values
            lost = {side: round(sign * (first[side] - last[side]), 9) for side in claim.sides}
            other = min(claim.against, key=lambda side: lost[side])
            least = lost[claim.method] < lost[other]
            good += least
            refuted |= not least
            parts.append(f"{name} loses {lost[claim.method]:.3f}, {other} {lost[other]:.3f}")
    detail = "; ".join(parts) or "no series has its ends"
    return DOES_NOT_HOLD if refuted else HOLDS if good == len(needed) else NOT_RUN, detail


def _on_all(good: int, run: int, needed: int) -> Verdict:
    if good < run:
        return DOES_NOT_HOLD
    return HOLDS if run == needed else NOT_RUN


def _on_most(good: int, run: int, needed: int) -> Verdict:
    if 2 * good > needed:
        return HOLDS
    return DOES_NOT_HOLD if 2 * (good + needed - run) <= needed else NOT_RUN
