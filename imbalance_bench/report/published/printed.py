"""The numbers that papers printed: tidy CSV files that travel in the package (``published/<paper>/<table>.csv``)."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from typing import Any

from imbalance_bench.errors import BenchError, suggestion


@dataclass(frozen=True)
class Printed:
    """One printed number, kept as printed (``text``: "0.10", "" where the cell holds none) beside its value."""

    text: str
    sd: str
    note: str

    def __str__(self) -> str:
        return f"{self.text} ± {self.sd}" if self.sd else self.text


class PrintedTable:
    """A printed table, addressed by our labels.

    ``renamed`` maps our names to the file's where they differ, by axis: "method" (``sides.Side``), "dataset",
    "metric", "class_group" (``macro`` is the file's "all"), "ratio" and "backbone"; the last two together are the
    file's ``setting`` ("4 minors, ResNet20"; ``native`` is the empty one). A name that one of our labels claims
    is not given to another of the same spelling (Table 1's "random_oversampling" is our ``balanced_batches``). A method
    may stand for a printed row in some metrics only: ``{cnn@knn: {name: cnn_cl, metrics: [f1]}}``, in our names; a list
    of such mappings: for several rows. A data set may be one setting of the file's,
    ``{irt_nyc_4: {name: irt_nyc, setting: four classes}}``, and a metric that of one of its class groups,
    ``{n_minority: {name: n_instances, class_group: positive}}``.
    """

    def __init__(self, paper: str, table: str, renamed: dict[str, dict[str, Any]] | None = None) -> None:
        self.renamed = {axis: dict(names) for axis, names in (renamed or {}).items()}
        # Our rows → the file's, each with the metrics that it is the file's in; None: all.
        self.methods = {
            label: [(n["name"], n["metrics"]) if isinstance(n, dict) else (n, None) for n in _listed(names)]
            for label, names in self.renamed.pop("method", {}).items()
        }
        self.settings = self._apart("dataset", "setting")
        self.groups = self._apart("metric", "class_group")
        self.rows = read(paper, table)
        self._cells = {
            (r["row_method"], r["dataset"], r["setting"], r["class_group"], r["metric"]): Printed(
                r["value"], r["std"], r["note"]
            )
            for r in self.rows
        }
        self._places = {key[:3] for key, cell in self._cells.items() if cell.text and not _is_mean(key[1])}
        self._has_groups = any(r["class_group"] for r in self.rows)

    def find(
        self, method: str, dataset: str, ratio: str, metric: str, class_group: str = "", backbone: str = ""
    ) -> Printed | None:
        group = self.renamed.get("class_group", {}).get(class_group, "all" if class_group == "macro" else class_group)
        group = self.groups.get(metric, group)
        name = self.renamed.get("metric", {}).get(metric, metric)
        rest = (*self._place(dataset, ratio, backbone), group if self._has_groups else "", name)
        return next((cell for row in self._rows(method, metric) if (cell := self._cells.get((row, *rest)))), None)

    def _apart(self, axis: str, key: str) -> dict[str, str]:
        """Our labels of an axis whose name in the file is a mapping → what it has for ``key``; the name stays."""
        names = self.renamed.get(axis, {})
        found = {label: name[key] for label, name in names.items() if isinstance(name, dict)}
        names.update({label: names[label]["name"] for label in found})
        return found

    def places(self, method: str, dataset: str, ratio: str, backbone: str = "") -> set[tuple[str, str, str]]:
        """The paper's own names of this cell (row, data set, setting); none where it printed no number of it."""
        place = self._place(dataset, ratio, backbone)
        return self._places & {(row, *place) for row in self._rows(method)}

    def summary(self, method: str, metric: str) -> Printed | None:
        """A number of the printed mean rows (``metric``: the table's own, or mean_rank)."""
        rows = self._rows(method, metric)
        return next((c for k, c in self._cells.items() if k[0] in rows and _is_mean(k[1]) and k[4] == metric), None)

    def ours(self, class_group: str) -> Iterator[dict[str, str]]:
        """Every printed number once for each set of our names that stands for it: row, dataset, ratio, backbone,
        class_group, metric, value. ``class_group``: ours of a file that names none."""
        for r in self.rows:
            if not r["value"] or _is_mean(r["dataset"]):
                continue
            printed_groups = ["macro", "all"] if r["class_group"] == "all" else [r["class_group"] or class_group]
            places = [
                (dataset, *setting)
                for dataset in self._labels("dataset", r["dataset"])
                for setting in self._settings(r["setting"], dataset)
            ]
            names = itertools.product(
                self._methods(r["row_method"]),
                places,
                self._labels("class_group", r["class_group"], printed_groups),
                self._labels("metric", r["metric"]),
            )
            for row, (dataset, ratio, backbone), group, metric in names:
                of_group = self.groups.get(metric, r["class_group"]) == r["class_group"]
                if of_group and r["row_method"] in self._rows(row, metric):
                    where = {"row": row, "dataset": dataset, "ratio": ratio, "backbone": backbone}
                    yield where | {"class_group": group, "metric": metric, "value": r["value"]}

    def _labels(self, axis: str, name: str, otherwise: list[str] | None = None) -> list[str]:
        """Our labels that the file calls ``name``; its own name where no label claims it."""
        return [ours for ours, theirs in self.renamed.get(axis, {}).items() if theirs == name] or otherwise or [name]

    def _settings(self, setting: str, dataset: str) -> list[tuple[str, str]]:
        """Our (ratio, backbone) of a data set that the file calls ``setting``; backbone "" where the table has one for
        all; none where the data set is another setting."""
        if dataset in self.settings:
            return [("native", "")] if self.settings[dataset] == setting else []
        backbones = self.renamed.get("backbone") or {"": ""}
        found = [
            (ratio, backbone)
            for ratio, theirs in self.renamed.get("ratio", {}).items()
            for backbone, network in backbones.items()
            if ", ".join(filter(None, [theirs, network])) == setting
        ]
        return found or [(setting or "native", "")]

    @property
    def datasets(self) -> list[str]:
        """The data sets of the file, mean rows left out, by its own names and in its order."""
        return list(dict.fromkeys(row["dataset"] for row in self.rows if not _is_mean(row["dataset"])))

    @property
    def cells(self) -> int:
        """How many method × dataset × setting cells hold a number (mean rows left out)."""
        return len(self._places)

    def _place(self, dataset: str, ratio: str, backbone: str) -> tuple[str, str]:
        parts = [
            self.settings.get(dataset, ""),
            self.renamed.get("ratio", {}).get(ratio, "" if ratio == "native" else ratio),
            self.renamed.get("backbone", {}).get(backbone, ""),
        ]
        return self._name("dataset", dataset), ", ".join(filter(None, parts))

    def _rows(self, method: str, metric: str | None = None) -> list[str]:
        """The file's rows that one of ours stands for (in a metric); its own name where no label claims that."""
        if method in self.methods:
            return [row for row, metrics in self.methods[method] if not (metric and metrics) or metric in metrics]
        return [] if self._methods(method) != [method] else [method]

    def _methods(self, row: str) -> list[str]:
        """Our rows that stand for one of the file's; its own name where no label claims it."""
        return [label for label, rows in self.methods.items() if row in [name for name, _ in rows]] or [row]

    def _name(self, axis: str, label: str) -> str:
        names = self.renamed.get(axis, {})
        if label in names:
            return names[label]
        return "" if label in names.values() else label


def _listed(names: Any) -> list[Any]:
    return names if isinstance(names, list) else [names]


def _is_mean(dataset: str) -> bool:
    return dataset.startswith("mean_over_")


def read(paper: str, table: str) -> list[dict[str, Any]]:
    """The rows of one file (columns table, row_method, dataset, setting, class_group, metric, value, std, note)."""
    folder = resources.files("imbalance_bench.report.published")
    papers = [p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith("_")]
    if paper not in papers:
        raise BenchError(f"no published numbers of paper {paper!r}: {suggestion(paper, papers)}")
    known = tables(paper)
    if table not in known:
        raise BenchError(f"no published table {table!r} of paper {paper!r}: {suggestion(table, known)}")
    with (folder / paper / f"{table}.csv").open(encoding="utf-8") as file:  # type: ignore[call-arg]
        return list(csv.DictReader(file))


def tables(paper: str) -> list[str]:
    """The files of a paper."""
    folder = resources.files("imbalance_bench.report.published") / paper
    names = (path.name for path in folder.iterdir()) if folder.is_dir() else iter(())
    return sorted(name.removesuffix(".csv") for name in names if name.endswith(".csv"))
