"""Which methods differ: tests over data sets or over the runs on one, of any selection of records."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from imbalance_bench.errors import BenchError, suggestion
from imbalance_bench.report.records import pairs, statistics
from imbalance_bench.report.records import records as frames
from imbalance_bench.report.records.records import LOWER_IS_BETTER, Head, Run, readout_title
from imbalance_bench.report.records.selection import OF_NUMBERS, Selection, natural, of_data
from imbalance_bench.report.records.statistics import ALPHA
from imbalance_bench.report.sheet import Block, Item, Sheet, mean_sd, number
from imbalance_bench.report.sheets.means import MeanRows, dependence
from imbalance_bench.report.sheets.scores import decimals
from imbalance_bench.report.sheets.summary import Cell, cells_of, heading_of, metric_notes, sheet_name
from imbalance_bench.settings.objective import has_better_side

if TYPE_CHECKING:
    import pandas as pd

OVER_SETS = ("nemenyi", "wilcoxon", "bayes")
OVER_RUNS = ("corrected_t", "permutation")
TESTS = (*OVER_SETS, *OVER_RUNS)
ROPE = 0.01
MOST_PAIRS = 45  # that are printed: those of ten methods
FEW = 6  # pairs below which Wilcoxon's p cannot be below 0.05


@dataclass(frozen=True)
class AskedTest:
    """A test as asked for: ``name`` of ``TESTS`` or None (Wilcoxon over data sets, corrected_t over the runs on one);
    ``versus``: what others are compared with (None: all pairs); ``rope``: differences that do not matter in practice.
    """

    name: str | None = None
    versus: str | None = None
    rope: float = ROPE


@dataclass(frozen=True)
class Pair:
    """Two methods, the one and the other, over ``n`` data sets, splits or runs. ``difference``: mean of one - other and
    its 95 % interval; ``effect``: positive where the one is better; ``p`` and ``p_adjusted``, or ``posterior``: how
    likely the one is worse, the same within the rope, and better."""

    one: str
    other: str
    difference: float
    low: float
    high: float
    wins: int
    ties: int
    losses: int
    effect: float
    n: int
    p: float = math.nan
    p_adjusted: float = math.nan
    posterior: tuple[float, float, float] | None = None


def differences(found: Selection, test: AskedTest = AskedTest(), command: str = "") -> Sheet:
    """Blocks for each setting and metric, and by a test over runs for each data set: mean ranks and which are not told
    apart; pairs with their difference, effect size, p and n.

    Raises:
        BenchError: there is nothing to compare; ``versus`` is not among what is compared; a test over data sets, and
            there is one.
    """
    import pandas as pd

    if all(of_data(axis) or axis in OF_NUMBERS for axis in found.asked.placed):
        raise BenchError("nothing can be compared, since no axis shows methods: add method to --rows or --columns")
    groups: dict[tuple[str, Head], list[Cell]] = {}
    for cell in cells_of(found):
        groups.setdefault((cell.setting, (cell.score.metric, cell.score.class_group)), []).append(cell)
    blocks: list[Block] = []
    notes: dict[str, None] = {}
    lines: list[dict[str, Any]] = []
    refused: list[str] = []
    for (setting, head), cells in groups.items():
        section = ", ".join(filter(None, [heading_of(*head), setting]))
        try:
            if not has_better_side(head[0]):
                raise BenchError("no value of it is better than another: --test and --versus need another --metric")
            if _name(test, cells) in OVER_SETS:
                tested = _over_sets(section, head, cells, test)
            else:
                tested = _over_runs(found, section, head, cells, test)
        except BenchError as error:
            refused.append(f"{section}: {error}")
            continue
        blocks += tested.blocks
        notes |= dict.fromkeys(tested.notes)
        lines += [{"setting": setting, "metric": head[0], "class_group": head[1]} | line for line in tested.lines]
    if not lines:
        raise BenchError("\n  ".join(dict.fromkeys(refused)))
    asked = found.asked
    said = [test.name, test.versus and f"versus_{test.versus}", test.rope != ROPE and f"rope_{test.rope:g}"]
    return Sheet(
        name=sheet_name("tests", asked, asked.metrics, said),
        title=f"Which differ ({readout_title(asked.readout)}{', validation rows' if asked.part == 'valid' else ''})",
        blocks=blocks,
        notes=[
            *notes,
            *refused,
            *found.notes,
            *(note for metric in found.asked.metrics for note in metric_notes(found.records, metric)),
            *frames.code_notes(found.records),
            *frames.left_out(found.damaged),
        ],
        provenance=frames.provenance_lines(found.done, command),
        frame=pd.DataFrame(lines),
    )


@dataclass(frozen=True)
class _Tested:
    blocks: list[Block]
    notes: list[str]
    lines: list[dict[str, Any]]


def _name(test: AskedTest, cells: Sequence[Cell]) -> str:
    return test.name or ("wilcoxon" if len({c.unit for c in cells}) > 1 else "corrected_t")


def _over_sets(section: str, head: Head, cells: Sequence[Cell], test: AskedTest) -> _Tested:
    name, lower = _name(test, cells), head[0] in LOWER_IS_BETTER
    means = _means_over_sets(head[0], cells, name)
    scores = means.ours.loc[means.sets, means.ranked]
    ranks = means.mean_ranks(means.ours)
    _refuse_alone(list(ranks.index), test)
    asked = _pairs_of(list(ranks.sort_values(kind="stable").index), test.versus)
    values = {name: scores[name].to_numpy() for name in scores}
    intervals = pairs.bootstraps(np.array([values[a] - values[b] for a, b in asked]))
    described = [_pair(values[a], values[b], a, b, lower, of) for (a, b), of in zip(asked, intervals.tolist())]
    tested = _tested_over_sets(name, described, scores, test.rope, lower)
    notes = [f"{section}: {note}" for note in means.notes()]
    if dependent := dependence({c.unit: c.score.dataset for c in cells if c.unit in means.sets}):
        notes.append(f"{section}: {dependent}")
    notes.append(_explained_over_sets(name, len(means.ranked), len(means.sets), len(asked), test))
    if name == "wilcoxon" and len(means.sets) < FEW:
        smallest = 2.0 ** (1 - len(means.sets))
        notes.append(f"Of {len(means.sets)} data sets Wilcoxon's p is {smallest:.2g} at least, before it is adjusted.")
    alike = None if test.versus or name == "bayes" else tested
    ranked = _ranks_block(section, scores, ranks, alike, head)
    blocks, more = _with_pairs([ranked], section, tested, head, name)
    return _Tested(blocks, [*notes, *more], [_line(pair, name, "data sets") for pair in tested])


def _means_over_sets(metric: str, cells: Sequence[Cell], name: str) -> MeanRows:
    """The scores of what is compared by data set. Raises BenchError where there are too few for the test ``name``."""
    names = sorted({c.candidate for c in cells}, key=natural)
    _refuse_alone([name for name in names if any(c.score.mean is not None for c in cells if c.candidate == name)])
    scores = [replace(c.score, dataset=c.unit, method=c.candidate) for c in cells]
    means = MeanRows(metric, {n: n for n in names}, scores)
    if len(means.datasets) < 2:
        raise BenchError(
            f"--test {name} compares over data sets, and there is one, {means.datasets[0]}: --test "
            f"{OVER_RUNS[0]} and {OVER_RUNS[1]} compare over its runs"
        )
    if len(means.sets) < 2:
        has = means.ours.notna().sum().sort_values(kind="stable")
        rare = [f"{method} on {count}" for method, count in has[has < len(means.datasets)].items()]
        raise BenchError(
            f"{len(means.sets)} of {len(means.datasets)} data sets have a number of all that is compared: --test "
            f"{name} needs two; say which by method=..., or run what is missing ({', '.join(rare[:5])}"
            + (f" and {len(rare) - 5} more)" if len(rare) > 5 else ")")
        )
    return means


def _tested_over_sets(
    name: str, described: Sequence[Pair], scores: pd.DataFrame, rope: float, lower: bool
) -> list[Pair]:
    """The pairs with what a test of ``OVER_SETS`` says of them; ``scores``: data sets × methods."""
    if name == "nemenyi":
        table = pairs.pairwise(scores, "nemenyi")
        return [replace(p, p_adjusted=float(table.loc[p.one, p.other])) for p in described]
    gaps = [(scores[p.one] - scores[p.other]).to_numpy() for p in described]
    if name == "bayes":
        posteriors = [pairs.signed_rank_posterior(-gap if lower else gap, rope) for gap in gaps]
        return [replace(p, posterior=posterior) for p, posterior in zip(described, posteriors)]
    return _adjusted([replace(p, p=statistics.signed_rank(gap)) for p, gap in zip(described, gaps)])


def _over_runs(found: Selection, section: str, head: Head, cells: Sequence[Cell], test: AskedTest) -> _Tested:
    units = sorted({c.unit for c in cells}, key=natural)
    tested: list[_Tested] = []
    refused: list[str] = []
    for unit in units:
        mine = [c for c in cells if c.unit == unit and c.score.mean is not None]
        try:
            tested.append(_over_runs_on(unit, found, section, head, mine, test))
        except BenchError as error:
            refused.append(f"{unit}: {error}" if len(units) > 1 else str(error))
    if not tested:
        raise BenchError("; ".join(refused))
    blocks, notes, lines = (
        list(itertools.chain(*parts)) for parts in zip(*((t.blocks, t.notes, t.lines) for t in tested))
    )
    return _Tested(blocks, [*notes, *refused], lines)


def _over_runs_on(
    unit: str, found: Selection, section: str, head: Head, cells: Sequence[Cell], test: AskedTest
) -> _Tested:
    name, lower = _name(test, cells), head[0] in LOWER_IS_BETTER
    _refuse_alone([c.candidate for c in cells], test)
    section = ", ".join(filter(None, [section, unit]))
    scores = _by_run(found, cells, head)
    ranked = sorted(cells, key=lambda c: (1 if lower else -1) * (c.score.mean or 0.0))
    records = {record["id"]: record for record in found.done}
    of = {c.candidate: records[c.score.id] for c in cells}
    asked = _pairs_of([c.candidate for c in ranked], test.versus)
    splits = {(a, b): pairs.by_split((scores[a], scores[b]), (of[a], of[b])) for a, b in asked}
    split = {pair: each for pair, each in splits.items() if len(each.one)}
    if not split:
        names = ", ".join(sorted(scores)[:4])
        raise BenchError(f"there is no run that {names} all have: they were split differently, or have no score")
    if max(len(each.one) for each in split.values()) < 2:
        raise BenchError(
            f"--test {name} compares over runs, and no two methods have more than one in common (seeds that change no "
            "score are one): train them on more splits, such as protocol=repeated_holdout; of a data set with its own "
            "test rows, with more seeds (protocol.seeds=5)"
        )
    made = []
    for (a, b), each in split.items():
        gaps = each.one - each.other
        if name == "corrected_t":
            p, interval = pairs.corrected_t(gaps, each.share)
        else:
            p, interval = pairs.sign_flips(gaps), pairs.bootstrap(gaps)
        pair = _pair(each.one, each.other, a, b, lower, interval)
        made.append(replace(pair, p=p, effect=pairs.standardised(-gaps if lower else gaps)))
    made = _adjusted(made)
    blocks, notes = _with_pairs([_means_block(section, ranked, head)], section, made, head, name)
    told = [_explained_over_runs(name, list(split.values()), len(made)), *_lacking(scores, splits)]
    over = "splits" if any(each.averaged for each in split.values()) else "runs"
    lines = [{"data": unit} | _line(pair, name, over) for pair in made]
    return _Tested(blocks, [*(f"{section}: {note}" for note in told), *notes], lines)


def _refuse_alone(names: Sequence[str], test: AskedTest = AskedTest()) -> None:
    if len(names) < 2:
        what = f"there is only {names[0]}" if names else "nothing has a number"
        raise BenchError(f"nothing can be compared: {what}; run another method, or say which by method=...")
    if test.versus and test.versus not in names:
        raise BenchError(f"--versus {test.versus} is not among what is compared: {suggestion(test.versus, names)}")


def _pairs_of(order: Sequence[str], versus: str | None) -> list[tuple[str, str]]:
    if versus:
        return [(name, versus) for name in order if name != versus]
    return list(itertools.combinations(order, 2))


def _pair(a: np.ndarray, b: np.ndarray, one: str, other: str, lower: bool, interval: Sequence[float]) -> Pair:
    counted = statistics.paired_difference(a, b)
    gaps = a - b
    low, high = interval
    wins, losses = (counted.losses, counted.wins) if lower else (counted.wins, counted.losses)
    effect = pairs.rank_biserial(-gaps if lower else gaps)
    return Pair(one, other, counted.mean, low, high, wins, counted.ties, losses, effect, counted.pairs)


def _adjusted(found: Sequence[Pair]) -> list[Pair]:
    return [replace(pair, p_adjusted=float(p)) for pair, p in zip(found, statistics.holm([q.p for q in found]))]


def _by_run(found: Selection, cells: Sequence[Cell], head: Head) -> dict[str, dict[Run, float]]:
    """Method → run → its score, of the runs that have one."""
    names = {c.score.id: c.candidate for c in cells}
    runs = found.runs
    mine = runs[runs["id"].isin(names) & (runs["metric"] == head[0]) & (runs["class_group"] == head[1])]
    scores: dict[str, dict[Run, float]] = {c.candidate: {} for c in cells}
    for i, fold, repeat, value in mine[["id", "fold", "repeat", "value"]].itertuples(index=False):
        if math.isfinite(value):
            scores[names[i]][fold, repeat] = value
    return scores


def _lacking(scores: dict[str, dict[Run, float]], splits: dict[tuple[str, str], pairs.Splits]) -> Iterator[str]:
    """Notes on runs and pairs that are not tested."""
    every = set(itertools.chain(*scores.values()))
    if fewer := [f"{name} ({len(every - runs.keys())})" for name, runs in scores.items() if every - runs.keys()]:
        yield f"Of {len(every)} runs, left out of the pairs of what has no score in them: {', '.join(fewer)}."
    if none := [f"{one} and {other}" for (one, other), each in splits.items() if not len(each.one)]:
        yield f"Left out, without a run in common: {', '.join(none)}."


def _means_block(section: str, cells: Sequence[Cell], head: Head) -> Block:
    """Means over the runs that have a number, from the best."""
    rows = [
        [Item(c.candidate), Item(mean_sd(c.score.mean or 0.0, c.score.sd, decimals(head[0]))), Item(str(c.score.runs))]
        for c in cells
    ]
    return Block(f"{section}: means over runs", ["method", "mean", "runs"], 1, rows)


def _explained_over_sets(name: str, methods: int, sets: int, compared: int, test: AskedTest) -> str:
    difference = (
        "Difference: mean of the first minus the second over data sets, with its bootstrap interval (95 %, BCa); "
        "effect: rank-biserial correlation, above 0 where the first is better"
    )
    if name == "bayes":
        return (
            f"Bayesian signed-rank test over n = {sets} data sets: how likely the first is worse, the same within "
            f"±{test.rope:g}, or better. {difference}."
        )
    if name == "nemenyi":
        gap = statistics.critical_difference(methods, sets, ALPHA)
        return (
            f"Nemenyi's test of {methods} methods over n = {sets} data sets, which adjusts for all pairs: those whose "
            f"mean ranks are less than {gap:.2f} apart are not told apart (α = {ALPHA}). {difference}."
        )
    return (
        f"Wilcoxon's signed-rank test over n = {sets} data sets, two-sided, zeros split between the signs; "
        f"{_holm(compared)}. {difference}."
    )


def _explained_over_runs(name: str, splits: Sequence[pairs.Splits], compared: int) -> str:
    holm = f"{_holm(compared)}; effect: Cohen's d of the differences, above 0 where the first is better"
    counts = sorted({len(each.one) for each in splits})
    n = f"n = {' to '.join(map(str, dict.fromkeys((counts[0], counts[-1]))))}"
    averaged = any(each.averaged for each in splits)
    over = f"{n} {'splits' if averaged else 'runs'}"
    seeds = " A split counts by the mean of its runs, which have the same rows and differ in seeds." if averaged else ""
    if name == "permutation":
        return (
            f"permutation test over {over}: the signs of the differences are flipped; it takes them as independent, "
            f"and those that share training rows are not quite.{seeds} {holm}; interval: bootstrap (95 %, BCa)."
        )
    share = max(each.share for each in splits)
    if not share:
        return (
            f"Student's paired t-test over {over}, which have the same rows and differ in seeds alone: it "
            f"says nothing of other rows. {holm}; interval: of the test (95 %)."
        )
    return (
        f"Nadeau and Bengio's corrected t-test over {over} that share training rows: t = m / √((1/n + "
        f"n_test/n_train) s²), of the mean m and variance s² of the differences, with n_test/n_train = {share:.2f}. "
        f"{holm}; interval: of the test (95 %).{seeds}"
    )


def _holm(compared: int) -> str:
    return f"p adjusted by Holm for {compared} {'pair' if compared == 1 else 'pairs'}"


def _ranks_block(
    section: str, scores: pd.DataFrame, ranks: pd.Series, tested: Sequence[Pair] | None, head: Head
) -> Block:
    """Mean ranks from the best, means, and of all pairs ``tested`` the groups that the test does not tell apart."""
    import pandas as pd

    order = [str(name) for name in ranks.sort_values(kind="stable").index]
    header = ["method", "mean rank", "mean"]
    rows = [
        [
            Item(name),
            Item(number(float(ranks[name]), 2), bold=ranks[name] == ranks.min()),
            Item(mean_sd(float(scores[name].mean()), float(scores[name].std(ddof=1)), decimals(head[0]))),
        ]
        for name in order
    ]
    if tested:
        table = pd.DataFrame(1.0, order, order)
        for pair in tested:
            table.loc[pair.one, pair.other] = table.loc[pair.other, pair.one] = pair.p_adjusted
        groups = pairs.cliques(table, ranks, ALPHA)
        header.append("not told apart")
        for row, name in zip(rows, order):
            row.append(Item(" ".join(_letter(i) for i, group in enumerate(groups) if name in group)))
    return Block(f"{section}: mean ranks over {len(scores)} data sets", header, 1, rows)


def _letter(place: int) -> str:
    return chr(ord("a") + place % 26) + (str(place // 26) if place >= 26 else "")


def _with_pairs(
    blocks: list[Block], section: str, found: Sequence[Pair], head: Head, name: str
) -> tuple[list[Block], list[str]]:
    if len(found) > MOST_PAIRS:
        return blocks, [
            f"{section}: {len(found)} pairs, which --format csv has; --versus METHOD shows those of one method."
        ]
    columns = {
        "bayes": ["the first is worse", "the same", "better"], "nemenyi": ["p (Nemenyi)"],
        "wilcoxon": ["p (Wilcoxon)", "p (Holm)"], "corrected_t": ["p (t)", "p (Holm)"],
        "permutation": ["p (permutation)", "p (Holm)"],
    }[name]  # fmt: skip
    header = ["method", "against", "difference [95 %]", "wins / ties / losses", "effect", *columns, "n"]
    rows = [_items(pair, decimals(head[0]), name) for pair in found]
    return [*blocks, Block(f"{section}: pairs", header, 2, rows)], []


def _items(pair: Pair, places: int, name: str) -> list[Item]:
    interval = f" [{number(pair.low, places, True)}, {number(pair.high, places, True)}]"
    if pair.posterior:
        said = [Item(number(share, 3), bold=share > 1 - ALPHA) for share in pair.posterior]
    else:
        shown = [pair.p_adjusted] if name == "nemenyi" else [pair.p, pair.p_adjusted]
        said = [Item(_p(p), bold=place == len(shown) and p < ALPHA) for place, p in enumerate(shown, 1)]
    return [
        Item(pair.one),
        Item(pair.other),
        Item(number(pair.difference, places, True) + ("" if math.isnan(pair.low) else interval), value=pair.difference),
        Item(f"{pair.wins} / {pair.ties} / {pair.losses}"),
        Item("–" if math.isnan(pair.effect) else number(pair.effect, 2, True), value=pair.effect),
        *said,
        Item(str(pair.n)),
    ]


def _p(p: float) -> str:
    if math.isnan(p):
        return "–"
    return number(p) if p >= 0.001 else "<0.001"


def _line(pair: Pair, name: str, over: str) -> dict[str, Any]:
    """The tidy numbers of a pair."""
    line = {
        "method": pair.one, "against": pair.other, "difference": pair.difference, "low": pair.low, "high": pair.high,
        "wins": pair.wins, "ties": pair.ties, "losses": pair.losses, "effect": pair.effect, "test": name, "over": over,
        "n": pair.n,
    }  # fmt: skip
    if pair.posterior:
        return line | dict(zip(("worse", "same", "better"), pair.posterior))
    return line | {"p": pair.p, "p_adjusted": pair.p_adjusted}
