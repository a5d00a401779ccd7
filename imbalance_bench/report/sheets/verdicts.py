"""The tested claims of a paper as a sheet: verdict, paired difference, interval, wins, and what decided."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imbalance_bench.report.records import records as frames
from imbalance_bench.report.records.records import Record
from imbalance_bench.report.sheet import Block, Item, Sheet, number
from imbalance_bench.report.sheets import claim, claims
from imbalance_bench.report.sheets.claims import ClaimResult
from imbalance_bench.report.sheets.judgement import NOT_RUN

if TYPE_CHECKING:
    from imbalance_bench.report.records.statistics import PairedDifference

HEADINGS = {"paper": "What the paper claims", "control": "Controls: what a gain may be ascribed to"}
HEADER = [
    "claim", "verdict", "decided by", "gain over each rival [95 % interval]", "won/tied/lost", "cells", "as printed"
]  # fmt: skip
NOTES = (
    "Gain over each rival: the method minus that rival, on average over cells (over the runs where there is one cell); "
    "positive is better, of losses and errors too. Won/tied/lost: the cells (the runs) in which it is above, level "
    "with and below the best of its rivals; claims.csv also has the gain over that one (best other), which is below "
    "zero for most methods where rivals are several. Readout: last epoch, unless the claim says otherwise. As printed: "
    "the verdict on the paper's own numbers.",
    "Undecided: an interval has both answers; each is at 95 % by itself, not widened for the number of them. Not run: "
    "missing cells could turn it, each cell has one run, or the schedule is not the paper's; decided by then says what "
    "was seen.",
)


def verdicts(path: Path, title: str, records: Sequence[Record], command: str) -> Sheet:
    """Every claim of a claims.yaml, tested on records and, where it can be, on the paper's own numbers.

    Args:
        path: the claims.yaml. title: the heading. records: the finished cells of the paper's tables.
    """
    declared = claims.read_claims(path)
    results = claims.evaluate_claims(declared, frames.tidy(records))
    printed = {r.claim.id: r for r in claims.evaluate_on_printed(declared, path)}
    sources = dict.fromkeys(r.claim.source for r in results)
    blocks = [
        Block(HEADINGS[source], HEADER, 4, [_row(r, printed[r.claim.id]) for r in results if r.claim.source == source])
        for source in sources
    ]
    provenance = frames.provenance_lines(records, command)
    return Sheet("claims", title, blocks, list(NOTES), provenance, _frame(results, printed), prose=True)


def _row(result: ClaimResult, printed: ClaimResult) -> list[Item]:
    decided = result.verdict != NOT_RUN
    gain = result.gain
    return [
        Item(f"{result.claim.text} ({result.claim.where})"),
        Item(result.verdict, bold=decided, muted=not decided),
        Item(result.detail),
        Item("; ".join(_gain(other, d) for other, d in result.versus.items()) + _over_runs(result)),
        Item(f"{gain.wins}/{gain.ties}/{gain.losses}" if gain else "–"),
        Item(f"{len(result.cells)} of {result.needed}"),
        Item(printed.verdict if printed.verdict != NOT_RUN else "–", muted=True),
    ]


def _gain(other: str, gain: PairedDifference) -> str:
    name = "" if other == claim.ZERO else f"{other} "
    mean = number(gain.mean, signed=True)
    if math.isnan(gain.low):
        return name + mean
    return f"{name}{mean} [{number(gain.low, signed=True)}, {number(gain.high, signed=True)}]"


def _over_runs(result: ClaimResult) -> str:
    if result.gain is None:
        return "–"
    return f", over {result.gain.pairs} runs" if len(result.cells) == 1 and result.gain.pairs > 1 else ""


def _frame(results: Sequence[ClaimResult], printed: dict[str, ClaimResult]) -> Any:
    """A line for each claim and side: against the best other of each cell, then against each of the others."""
    import pandas as pd

    rows = []
    for result in results:
        sides = {"best other": result.gain, **result.versus} if result.gain else {"best other": None}
        for against, gain in sides.items():
            rows.append(
                {
                    "id": result.claim.id,
                    "source": result.claim.source,
                    "text": result.claim.text,
                    "where": result.claim.where,
                    "verdict": result.verdict,
                    "verdict_on_printed": printed[result.claim.id].verdict,
                    "detail": result.detail,
                    "method": result.claim.method,
                    "against": against,
                    "cells": len(result.cells),
                    "needed": result.needed,
                }
                | ({f: getattr(gain, f) for f in ("mean", "low", "high", "wins", "ties", "losses")} if gain else {})
            )
    return pd.DataFrame(rows)
