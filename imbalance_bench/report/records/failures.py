"""Cells without numbers: those that failed, and those whose record is damaged or outdated."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

from imbalance_bench.errors import BenchError
from imbalance_bench.registry import GROUPS
from imbalance_bench.report.records.collected import Collection, Source
from imbalance_bench.report.records.records import Cell, named_cells
from imbalance_bench.settings.presets import read_yaml
from imbalance_bench.settings.select import select
from imbalance_bench.store import Damaged, Store, date_of, names_by_folder

CELL = re.compile("[0-9a-f]{12}")  # the name of a cell's folder, which is its id
FAILED = ("failed", "damaged", "outdated")


@dataclass(frozen=True)
class Failure:
    """``names``: labels and id, "" for a label that is not known; ``state``: one of ``FAILED``; ``reason``: in a line;
    ``trace``: the traceback of what failed; ``date``: as of records."""

    folder: Path
    names: dict[str, str]
    state: str
    reason: str
    trace: str
    date: str


def failures(source: Source, finished: Iterable[Path], damaged: Iterable[Damaged]) -> list[Failure]:
    """All of a source, whose ``finished`` cells have records that count, and ``damaged`` ones do not. A copy of another
    cell's folder is none."""
    found = []
    if isinstance(source, Collection):
        for one in source.cells():
            if error := one.error():
                found.append(Failure(one.path, one.names, "failed", error, "", one.texts["date"]))
        return found
    seen = {*finished, *(error.folder for error in damaged)}
    for cell in source.cells():
        if cell.path not in seen and (error := cell.error()) and not cell.locked():
            names, (reason, _, trace) = _names(source, cell.path), error.partition("\n")
            found.append(Failure(cell.path, names, "failed", reason, trace.strip(), cell.failed_at()))
    return found + of_damaged(source, damaged)


def failed(source: Source, filters: Sequence[str]) -> list[Failure]:
    """The failed cells of a source that match ``filters`` (as of ``select.select``); none where nothing does."""
    found, damaged = named_cells(source)
    lost = [one for one in failures(source, (cell.path for _, cell in found), damaged) if one.state == "failed"]
    cells: list[tuple[dict[str, str], Cell | Failure]] = [*found, *((one.names, one) for one in lost)]
    with suppress(BenchError):
        return [cell for _, cell in select(cells, filters, itemgetter(0)) if isinstance(cell, Failure)]
    return []


def of_damaged(source: Source, damaged: Iterable[Damaged]) -> list[Failure]:
    """The cells among those whose records do not count: copies of others have names of their own, or are doubles."""
    if not isinstance(source, Store):
        return []
    found = []
    for error in damaged:
        if error.state in FAILED and CELL.fullmatch(error.folder.name):
            date = date_of(error.folder / "record.json")
            found.append(Failure(error.folder, _names(source, error.folder), error.state, str(error), "", date))
    return found


def _names(store: Store, folder: Path) -> dict[str, str]:
    """Labels as its configuration says them or, of what earlier versions left, the folders that it lies in."""
    config = config_of(folder)
    labels = {group: str(config[group].get("label", "")) for group in GROUPS} if config else {}
    return dict.fromkeys(GROUPS, "") | names_by_folder(str(folder.relative_to(store.runs))) | labels


def config_of(folder: Path) -> dict[str, Any]:
    """The options of a cell, as its record or else its config.yaml has them; none where neither can be read."""
    import yaml

    with suppress(OSError, ValueError):
        record = json.loads((folder / "record.json").read_bytes())
        if isinstance(record, dict) and _whole(record.get("config")):
            return dict(record["config"])
    with suppress(OSError, ValueError, yaml.YAMLError):
        config = read_yaml(folder / "config.yaml")
        if _whole(config):
            return {key: config[key] for key in (*GROUPS, "seed")}
    return {}


def _whole(config: Any) -> bool:
    return isinstance(config, dict) and "seed" in config and all(isinstance(config.get(g), dict) for g in GROUPS)
