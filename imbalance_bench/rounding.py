"""Whole numbers out of shares: 0.57 of 100 rows are 57, though 100 * 0.57 is 56.99999999999999 in binary."""

from __future__ import annotations

from typing import Any

import numpy as np

ULPS = 16  # more than a product, a quotient and a power are off together


def snapped(value: Any) -> Any:
    """``value`` (a number or an array, float64), or the half or whole number that it misses by rounding alone. To be
    floored, rounded or raised to a whole number."""
    value = np.asarray(value, np.float64)
    near = np.round(2 * value) / 2
    return np.where(np.abs(value - near) <= ULPS * np.spacing(np.abs(value)), near, value)[()]
