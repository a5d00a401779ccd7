"""Experiments on learning from imbalanced classes: see README.md for the command line. The names below are the same as
functions; each is imported when it is asked for."""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"
__all__ = ["BenchError", "ImbalanceClassifier", "compare", "load_model", "records", "run"]

_PLACES = {"BenchError": "errors", "ImbalanceClassifier": "estimator"} | dict.fromkeys(
    ("compare", "load_model", "records", "run"), "api"
)


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
