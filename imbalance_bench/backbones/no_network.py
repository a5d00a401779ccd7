"""The backbone of methods that train no network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NoReturn

from imbalance_bench.backbones.base import Backbone
from imbalance_bench.errors import BenchError
from imbalance_bench.registry import BACKBONES


@BACKBONES.register("none")
@dataclass(frozen=True)
class NoNetwork(Backbone):
    """No network: for methods that train none, whose tables then name none."""

    maps: ClassVar[bool] = False  # nothing is shared by runs

    def build(self, shape: tuple[int, ...], classes: int, head: str = "linear") -> NoReturn:
        raise BenchError("backbone=none makes no network, and this method trains one: set backbone=mlp, or another")
