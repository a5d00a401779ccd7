"""The cells that are trials: trained together where they can share a program, or one by one where a pruner watches."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from imbalance_bench.errors import BenchError
from imbalance_bench.settings.config import Config

if TYPE_CHECKING:
    from imbalance_bench.cells import Outcome
    from imbalance_bench.cells.recipe import Watch


def means(scores: Sequence[float]) -> tuple[float, ...]:
    """Of the first score, of the first two, and so on."""
    return tuple(fmean(scores[: i + 1]) for i in range(len(scores)))


def alone(config: Config, watch: Watch | None) -> Outcome | BenchError:
    """How a cell ended that is trained by itself; ``watch``: sees its runs between one and the next."""
    from imbalance_bench.cells import run_cell

    try:
        return run_cell(config, watch)
    except BenchError as error:
        return error


def trained(configs: Sequence[Config]) -> list[Outcome | BenchError]:
    """How cells ended, in their order; those that can share a program are trained together."""
    from imbalance_bench.cells import programs

    ended: dict[int, Outcome | BenchError] = {}
    for places in programs.groups(configs)[0]:
        if len(places) > 1:
            for some in programs.run_cells(len(places), [configs[place] for place in places].__getitem__):
                ended |= {places[i]: outcome for i, outcome in some}
            continue
        ended[places[0]] = alone(configs[places[0]], None)
    return [ended[place] for place in range(len(configs))]
