"""Shared by classifiers that stand behind any resampler."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any

from imbalance_bench.data.base import Part, Task
from imbalance_bench.errors import BenchError
from imbalance_bench.methods.base import Method
from imbalance_bench.registry import METHODS


@dataclass(frozen=True)
class Resampled(Method):
    """``resampler``: the keys of a method whose ``resample`` makes the training set first (null: none), such as
    ``+method@method.resampler=smote/balanced``."""

    resampler: Annotated[dict[str, Any] | None, "the keys of a method that resamples; null: none"]

    def __post_init__(self) -> None:
        if self.resampler is not None and type(self.resampling).resample in (Method.resample, Resampled.resample):
            raise BenchError(
                f"method.resampler.name={self.resampler['name']} leaves the training set as it is: choose a method "
                "that resamples, e.g. smote or iht (null: none)"
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

    def resample(self, task: Task, rows: Part) -> Part:
        try:
            return self.resampling.resample(task, rows)
        except BenchError as error:  # what it names as its own keys are keys of method.resampler
            text = str(error).replace("method.", "method.resampler.").replace("method=", "method.resampler.name=")
            raise BenchError(text) from error
