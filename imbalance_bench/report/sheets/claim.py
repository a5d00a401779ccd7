"""A claim as a paper's claims.yaml declares it, and one cell that it speaks of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from imbalance_bench.errors import BenchError
from imbalance_bench.report.published.sides import Side
from imbalance_bench.report.records.records import Run, readout_title
from imbalance_bench.report.records.statistics import PairedDifference, difference

ZERO = "0"
PLACE = ("dataset", "ratio", "backbone", "trainer", "class_group")


@dataclass(frozen=True)
class Claim:
    """One line of claims.yaml.

    ``where``: its place in the paper. ``source``: the paper's own claim, or a control that we run beside it.
    ``cells``: mappings of ``PLACE``, in place of ``datasets`` × ``ratios``. ``table``: the preset whose printed numbers
    it is tested on; null: all those that claims.yaml names. ``against``: where none is named the gain is over zero, and
    bounds are about the size of the number itself. ``schedule``: in what the training of its cells is not the paper's.
    ``lower``: whether lower is better of its metric, as it is of errors anyway.
    ``statistic``:

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
    schedule: str = ""
    lower: bool = False

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
                readout_title(Side.of(side).readout or self.iterate)
            except BenchError as error:
                raise BenchError(
                    f"claim {self.id!r}: {side!r} must be a method label or label@readout: {error}"
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

    ``place``: of ``Claim.places``; ``values``: mean over the shared runs, by side; ``gains``: over each of ``against``,
    by run, several seeds of a fold by their mean, positive = better; ``best_other``: the strongest of them.
    """

    place: dict[str, str]
    values: dict[str, float]
    gains: dict[str, dict[Run, float]]
    best_other: str

    @property
    def runs(self) -> int:
        return len(self.gains[self.best_other])

    @property
    def gain(self) -> PairedDifference:
        """Over the best other, paired over runs."""
        return self.versus()[self.best_other]

    def versus(self, exact: bool = False) -> dict[str, PairedDifference]:
        """The same over each of the others; ``exact`` as in ``statistics.difference``."""
        return {side: difference(list(gains.values()), exact) for side, gains in self.gains.items()}

    @property
    def dataset(self) -> str:
        return self.place["dataset"]

    @property
    def name(self) -> str:
        return place_name(self.place)


def place_name(place: Mapping[str, str]) -> str:
    """A cell for people; the trainer is what the claim's text says."""
    return " ".join(value for key, value in place.items() if value and key != "trainer")
