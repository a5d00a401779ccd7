"""Cells that failed, where a table of records has no number."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from imbalance_bench.registry import GROUPS
from imbalance_bench.report.records.collected import Collection
from imbalance_bench.report.records.failures import Failure, config_of, failures
from imbalance_bench.report.records.selection import Place, Selection, names_of, place_of
from imbalance_bench.settings.config import SHARED
from imbalance_bench.store import Record


class Failed:
    """Failures in the store of a selection; looked up at the first question."""

    def __init__(self, found: Selection) -> None:
        self.found = found

    def at(self, of_row: str, of_column: str) -> Failure | None:
        """The cell that failed in the row of one record and in the column of another (ids; of one setting)."""
        row, column = self._places[of_row], self._places[of_column]
        return self._failed.get(Place(row.setting, row.row, column.column))

    @cached_property
    def _places(self) -> dict[str, Place]:
        return self.found.places

    @cached_property
    def _failed(self) -> dict[Place, Failure]:
        """The newest by place: of those that agree with what stands there in every option."""
        records, asked = self.found.records, self.found.asked
        finished = [record["path"] for record in records]
        made = {}
        for failure in failures(self.found.store, finished, ()):
            of_file = isinstance(self.found.store, Collection)
            if (of_file or not (failure.folder / "record.json").exists()) and (like := _as_record(failure, records)):
                made[like["id"]] = (like, failure)
        # Names that tell apart all options in which any two differ, those that failed among them.
        names = names_of([*records, *(like for like, _ in made.values())], asked.rows, asked.columns)
        finer = {i: place_of(mine, asked.rows, asked.columns) for i, mine in names.items()}
        shown: list[dict[str, str]] = [
            {finer[i][part]: at[part] for i, at in self._places.items()} for part in range(3)
        ]
        found = {}
        for i, (_, failure) in sorted(made.items(), key=lambda one: one[1][1].date):
            if all(name in known for name, known in zip(finer[i], shown)):
                found[Place(*(known[name] for name, known in zip(finer[i], shown)))] = failure
        return found


def _as_record(failure: Failure, records: list[Record]) -> Record | None:
    """Names a cell that failed as its record would; an earlier version's, which kept no options, has those of the
    records that share its labels. None where these differ, or there are none."""
    labels = {group: failure.names[group] for group in GROUPS}
    config = config_of(failure.folder)
    if not config:
        alike = [r for r in records if r["labels"]["method"] == labels["method"]]
        parts = {}
        for group in GROUPS:
            pool = records if group in ("dataset", "ratio") else alike
            of = [r for r in pool if labels[group] in ("", r["labels"][group])]
            several = {repr(r["config"][group]): r for r in of}
            if len(several) != 1:
                return None
            (one,) = several.values()
            parts[group], labels[group] = one["config"][group], one["labels"][group]
        config = parts | {"seed": alike[0]["config"]["seed"]}
    of_data = next((r for r in records if _data(r["config"]) == _data(config)), {})
    return {"id": failure.names["id"], "labels": labels, "config": config, "contents": of_data.get("contents", {})}


def _data(config: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a data set as they compare: whole, and the path as it is spelled from anywhere."""
    options = SHARED["dataset"] | config["dataset"]
    return options | ({"path": str(Path(options["path"]).expanduser().absolute())} if options.get("path") else {})
