"""The page of a cell without numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from imbalance_bench.report.pages.html import rendered
from imbalance_bench.report.pages.making import TableLink, again, options_grid
from imbalance_bench.report.records.failures import Failure, config_of
from imbalance_bench.report.records.records import LABELS

LAST = 40  # lines of its log that are shown


def failure_page(failure: Failure, places: Sequence[TableLink] = ()) -> str:
    """The page as text; ``places``: the tables that name the cell."""
    labels, config = failure.names, config_of(failure.folder)
    words = [] if failure.state == "failed" else ["cache=overwrite"]  # what has a record is else left as it is
    content: dict[str, Any] = {
        "title": f"{labels['method']} on {labels['dataset']}",
        "labels": [(axis, labels[axis]) for axis in LABELS if labels[axis]],
        "failure": failure,
        "collected": not failure.folder.is_dir(),
        "date": failure.date[:16].replace("T", " "),
        "log": _last_lines(failure.folder / "train.log"),
        "again": again(failure.folder, *words) if (failure.folder / "config.yaml").is_file() else "",
        "options": options_grid(config) if config else None,
        "places": places,
    }
    return rendered("failure.html.j2", content, ["tables.js"])


def _last_lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()[-LAST:]
    except OSError:
        return []
