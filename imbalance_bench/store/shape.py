"""The keys of a record that every reader relies on, with their types: of any, of one that is done, and of its runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

SHAPE: dict[str, Any] = {
    "schema": int, "id": str, "status": str, "labels": dict, "config": dict, "seconds": (int, float),
    "provenance": dict,
}  # fmt: skip
SHAPE_DONE: dict[str, Any] = {"kind": str, "data": dict, "headline": dict, "runs": list}
SHAPE_DATA: dict[str, Any] = {"classes": int, "class_names": list, "features": int}
SHAPE_HEADLINE: dict[str, Any] = {
    "metric": str, "class_group": str, "iterate": str, "mean": (int, float), "sd": (int, float)
}  # fmt: skip
SHAPE_RUN: dict[str, Any] = {
    "run": int, "fold": int, "repeat": int, "failure": (str, type(None)), "subset_hash": str, "test_hash": str,
    "n_train": int, "n_test": int,
}  # fmt: skip


def lacking(record: Any, groups: Sequence[str]) -> str:
    """The first key that a record must have and has not, or whose value is of another type; "" where all are there.
    ``groups``: those that it has a label and options of."""
    if not isinstance(record, dict):
        return "object"
    parts: list[tuple[str, Any, dict[str, Any]]] = [
        ("", record, SHAPE),
        ("labels.", record.get("labels"), dict.fromkeys(groups, object)),
        ("config.", record.get("config"), dict.fromkeys(groups, dict)),
    ]
    if record.get("status") != "declined":
        parts += [
            ("", record, SHAPE_DONE),
            ("data.", record.get("data"), SHAPE_DATA),
            ("headline.", record.get("headline"), SHAPE_HEADLINE),
        ]
        runs = record.get("runs")
        parts += [(f"runs.{i}.", run, SHAPE_RUN) for i, run in enumerate(runs if isinstance(runs, list) else [])]
    for where, value, shape in parts:
        for key, expected in shape.items():
            if not isinstance(value, dict) or key not in value or not isinstance(value[key], expected):
                return f"{where}{key}"
    if record["status"] not in ("done", "declined"):
        return "status"
    return next((key for key in ("files", "code", "contents") if not isinstance(record.get(key, {}), dict)), "")
