"""Shared by classifiers that stand behind any resampler."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any

from imbalance_bench.data.base import Part, Task
from imbalance_bench.errors import BenchError
from imbalance_bench.methods.base import Method
from imbalance_bench.registry import METHODS

# Hooks of a method that say how a network is trained and decides: a resampler's would not be heard.
BESIDE = ("fit", "sampler", "loss", "batch_loss", "change_fresh", "initialise", "posthoc", "decided")


@dataclass(frozen=True)
class Resampled(Method):
    """``resampler``: the keys of a method whose ``resample`` makes the training set first (null: none), such as
    ``+method@method.resampler=smote/balanced``."""

    resampler: Annotated[dict[str, Any] | None, "the keys of a method that resamples; null: none"]

    def __post_init__(self) -> None:
        if self.resampler is None:
            return
        other = type(self.resampling)
        wrong = ""
        if other.resample in (Method.resample, Resampled.resample):
            wrong = "leaves the training set as it is"
        elif own := [hook for hook in BESIDE if getattr(other, hook) is not getattr(Method, hook)]:
            wrong = f"does more than resample (its own {', '.join(own)}), which would be left out"
        if wrong:
            raise BenchError(
                f"method.resampler.name={other.name} {wrong}: choose a method that resamples rows, e.g. smote or iht "
                "(null: none)"
            )

    @cached_property
    def resampling(self) -> Method:
        """The method whose ``resample`` makes the training set."""
        if self.resampler is None:
            return Method()
        made: Method = METHODS.build(self.resampler, "method.resampler")
        return made

    def declines(self, task: Task) -> str | None:
        return super().declines(task) or self.resampling.declines(task)

    def check(self, task: Task, rows: Part) -> None:
        with own_keys():
            self.resampling.check(task, rows)

    def resample(self, task: Task, rows: Part) -> Part:
        with own_keys():
            return self.resampling.resample(task, rows)


@contextmanager
def own_keys() -> Iterator[None]:
    """Errors within that name keys of a method name those of ``method.resampler``."""
    try:
        yield
    except BenchError as error:
        text = str(error).replace("method.", "method.resampler.").replace("method=", "method.resampler.name=")
        raise BenchError(text) from error
