"""Judges a claim: the answers of its cells, by their intervals, and the verdict that follows from them.

A statement about one cell ("a is above b") is answered by its 95 % interval: yes (all of it is), no (none of it is), or
open (it has both). Each interval stands for itself: it is not widened for the number of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from imbalance_bench.report.records.statistics import (
    ALPHA,
    PairedDifference,
    difference,
    friedman,
    varies_less,
)

if TYPE_CHECKING:
    import pandas as pd

    from imbalance_bench.report.sheets.claim import CellComparison, Claim

Verdict = Literal["holds", "does not hold", "undecided", "not run"]
HOLDS: Verdict = "holds"
DOES_NOT_HOLD: Verdict = "does not hold"
UNDECIDED: Verdict = "undecided"
NOT_RUN: Verdict = "not run"
VERDICTS: tuple[Verdict, ...] = (HOLDS, DOES_NOT_HOLD, UNDECIDED, NOT_RUN)
Answer = bool | None  # None: the interval has both

_DECIMALS = 9  # bounds are met in spite of rounding


def above_zero(gain: PairedDifference) -> Answer:
    return within(gain, 10.0**-_DECIMALS, math.inf)


def within(gain: PairedDifference, low: float, high: float) -> Answer:
    """Whether a gain lies in [low, high]; of a single pair, which has no interval, nothing is known."""
    if math.isnan(gain.low):
        return None
    bottom, top = round(gain.low, _DECIMALS), round(gain.high, _DECIMALS)
    if low <= bottom and top <= high:
        return True
    return False if top < low or bottom > high else None


def every(answers: Sequence[Answer]) -> Answer:
    """Whether all are yes: no as soon as one is."""
    return False if False in answers else None if None in answers else True


def judge(
    claim: Claim,
    cells: Sequence[CellComparison],
    table: pd.DataFrame,
    gain: PairedDifference,
    versus: dict[str, PairedDifference],
    sign: float,
    exact: bool = False,
) -> tuple[Verdict, str]:
    """The verdict and the sentence behind it.

    ``cells``: those that were run; ``table``: the same × sides, ``sign`` times their values, so that higher is better;
    ``gain`` and ``versus`` as in ``ClaimResult``; ``exact`` as in ``difference``.
    """
    run, missing = len(cells), len(claim.places) - len(cells)
    of = f"{run} cell{'s' if run > 1 else ''}" + (f" run, of {run + missing}" if missing else "")
    if claim.statistic in ("best_on_all", "best_on_most"):
        answers = [every([above_zero(d) for d in cell.versus(exact).values()]) for cell in cells]
        wins = sum(cell.gain.mean > 10.0**-_DECIMALS for cell in cells)
        rule = _on_all if claim.statistic == "best_on_all" else _on_most
        detail = f"strictly best in {wins} of {of}"
        return rule(answers, missing), detail + _by_intervals(cells, answers, "best", "not best")
    if claim.statistic == "gain_between":
        assert claim.bounds
        low, high = claim.bounds
        answers = [within(cell.versus(exact)[cell.best_other], low, high) for cell in cells]
        gains = [round(cell.gain.mean, _DECIMALS) for cell in cells]
        inside = sum(low <= g <= high for g in gains)
        listed = ", ".join(f"{g:+.3f} on {cell.name}" for g, cell in zip(gains, cells))
        detail = f"gains {listed}; in [{low:g}, {high:g}]: {inside} of {of}"
        return _on_all(answers, missing), detail + _by_intervals(cells, answers, "inside", "outside")
    if claim.statistic in ("gain_grows", "declines_least"):
        return _trend(claim, cells, sign, exact)
    if claim.statistic == "ranks_differ":
        return _ranks(table, missing, of)
    if claim.statistic == "varies_least":
        if run < 2:
            return NOT_RUN, f"one cell does not vary: {of}"
        spread = table.std(ddof=1).round(_DECIMALS)
        other = min(claim.against, key=lambda side: spread[side])
        detail = f"sd {spread[claim.method]:.3f}, that of {other} {spread[other]:.3f}, over {of}"
        values = {side: table[side].to_numpy() for side in claim.sides}
        answers = [
            bool(spread[claim.method] < spread[side]) if exact else varies_less(values[claim.method], values[side])
            for side in claim.against
        ]
        return _of_all_cells(every(answers), missing), detail
    if claim.statistic == "mean_gain_between":
        assert claim.bounds
        low, high = claim.bounds
        detail = f"mean gain {_interval(gain)} on {of}; asked for: [{low:g}, {high:g}]"
        return _of_all_cells(within(gain, low, high), missing), detail
    hardest = min(versus, key=lambda other: (versus[other].low, versus[other].mean))
    answer = every([above_zero(d) for d in versus.values()])
    return _of_all_cells(answer, missing), f"mean gain {_interval(versus[hardest])} over {hardest} on {of}"


def _interval(gain: PairedDifference) -> str:
    return f"{gain.mean:+.4f}" + ("" if math.isnan(gain.low) else f" [{gain.low:+.4f}, {gain.high:+.4f}]")


def _by_intervals(cells: Sequence[CellComparison], answers: Sequence[Answer], yes: str, no: str) -> str:
    """How many answers the intervals give; nothing where they give all of them, or there are none."""
    if None not in answers or all(cell.runs < 2 for cell in cells):
        return ""
    return f"; by their intervals {answers.count(True)} {yes}, {answers.count(False)} {no}, {answers.count(None)} open"


def _on_all(answers: Sequence[Answer], missing: int) -> Verdict:
    """A claim about every cell: one refutes it."""
    answer = every(answers)
    return DOES_NOT_HOLD if answer is False else _of_all_cells(answer, missing)


def _on_most(answers: Sequence[Answer], missing: int) -> Verdict:
    """A claim about more than half of the cells: decided, or left undecided, once the others cannot turn it."""
    needed, yes, no = len(answers) + missing, answers.count(True), answers.count(False)
    if 2 * yes > needed:
        return HOLDS
    if 2 * (needed - no) <= needed:
        return DOES_NOT_HOLD
    could_turn = 2 * (yes + missing) > needed or 2 * (needed - no - missing) <= needed
    return NOT_RUN if could_turn else UNDECIDED


def _of_all_cells(answer: Answer, missing: int) -> Verdict:
    """A statement that every cell has a part in: none as long as one is missing."""
    if missing:
        return NOT_RUN
    return UNDECIDED if answer is None else HOLDS if answer else DOES_NOT_HOLD


def _ranks(table: pd.DataFrame, missing: int, of: str) -> tuple[Verdict, str]:
    """Whether Friedman's test finds the sides to differ, whatever the missing cells have: those that rank the sides as
    the others do in the mean make them differ most, one that ranks them the other way round makes them differ least."""
    import pandas as pd

    test = friedman(table)
    if np.isnan(test.p):
        return NOT_RUN, f"nothing to rank: {of}"
    by = f"F({test.dof[0]}, {test.dof[1]}) = {test.f:.2f}, " if test.method == "F" else f"{test.method} "
    detail = f"{by}p = {test.p:.2g}, over {of}"
    order = table.rank(axis=1).mean().rank(method="first")

    def with_rest(row: pd.Series) -> float:
        return friedman(pd.concat([table, *[row.to_frame().T] * missing], ignore_index=True)).p

    if with_rest(order) >= ALPHA:
        return DOES_NOT_HOLD, detail
    if missing <= 1 and with_rest(-order) < ALPHA:
        return HOLDS, detail
    return NOT_RUN, detail


def _trend(claim: Claim, cells: Sequence[CellComparison], sign: float, exact: bool) -> tuple[Verdict, str]:
    """A claim about how something changes over the ratios of each data set: it holds if it does on every one."""

    def series(place: dict[str, str]) -> tuple[str, ...]:
        return tuple(value for key, value in place.items() if key != "ratio")

    def rises(first: CellComparison, last: CellComparison, one: str, other: str) -> Answer:
        """Whether the gain over a side is larger in the last cell (there over ``other``), by the runs of both."""
        before, after = first.gains[one], last.gains[other]
        return above_zero(difference([after[run] - before[run] for run in before if run in after], exact))

    needed: dict[tuple[str, ...], list[dict[str, str]]] = {}
    for place in claim.places:
        needed.setdefault(series(place), []).append(place)
    answers: list[Answer] = []
    missing, parts = 0, []
    for key, places in needed.items():
        ratios = [place["ratio"] for place in places]
        run = {cell.place["ratio"]: cell for cell in cells if series(cell.place) == key}
        name = " ".join(value for k, value in places[0].items() if k not in ("ratio", "trainer"))
        if claim.statistic == "gain_grows":
            here = [run[r] for r in ratios if r in run]
            answers += [rises(a, b, a.best_other, b.best_other) for a, b in zip(here, here[1:])]
            missing += len(ratios) - len(here)
            parts += [f"{name} {', '.join(f'{c.gain.mean + 0.0:+.3f}' for c in here)}"] if here else []
        elif ratios[0] in run and ratios[-1] in run:
            first, last = run[ratios[0]], run[ratios[-1]]
            answers += [rises(first, last, side, side) for side in claim.against]
            lost = {side: round(sign * (first.values[side] - last.values[side]), _DECIMALS) for side in claim.sides}
            other = min(claim.against, key=lambda side: lost[side])
            parts.append(f"{name} loses {lost[claim.method]:.3f}, {other} {lost[other]:.3f}")
        else:
            missing += 1
    detail = "; ".join(parts) or "no series has its ends"
    return _on_all(answers, missing), detail + _by_intervals(cells, answers, "rising", "not rising")
