"""Cross-entropy: no special treatment of imbalance; the baseline that every other row is read against."""

from __future__ import annotations

from imbalance_bench.methods.base import Method
from imbalance_bench.registry import METHODS


@METHODS.register("cross_entropy")
class CrossEntropy(Method):
    """Mean cross-entropy over C classes (Explicit Gradient paper, Section 5, baseline 1)."""
