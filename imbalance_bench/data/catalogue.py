"""`scripts/data.py list|fetch|verify [NAME...]`: which data sets there are, which lie here, and whether they are
what they should be."""

from __future__ import annotations

import argparse
import csv
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np

from imbalance_bench.data.base import Dataset, Source
from imbalance_bench.data.fetch import check_sum, recorded
from imbalance_bench.data.sources.adult import FILES as ADULT_FILES
from imbalance_bench.data.sources.adult import AdultSource
from imbalance_bench.data.sources.imblearn import SETS, ImblearnSource
from imbalance_bench.data.sources.sklearn import SklearnSource
from imbalance_bench.errors import BenchError
from imbalance_bench.registry import nearest

# Where a published table is wrong by itself: its number does not follow from its own counts.
KNOWN_MISPRINTS = {"webpage": "printed 33 is 34.45 by the set's own counts"}


@dataclass(frozen=True)
class Entry:
    """One data set. ``ratio``: majority/minority, of its largest and smallest class."""

    name: str
    source: Source
    rows: int
    features: int
    ratio: float
    origin: str

    def files(self, folder: Path) -> list[Path] | None:
        """Its files; none for what is built in; None where one is missing."""
        if isinstance(self.source, ImblearnSource):
            path = self.source.find(folder)
            return None if path is None else [path]
        if isinstance(self.source, AdultSource):
            paths = [folder / "adult" / name for name in ADULT_FILES]
            return paths if all(p.exists() for p in paths) else None
        return []


def entries() -> dict[str, Entry]:
    """Every data set by name, in the order of the published table."""
    found = [
        Entry(name, ImblearnSource(name, "minmax"), f.rows, f.features, (f.rows - f.positives) / f.positives, "Zenodo")
        for name, f in SETS.items()
    ]
    adult = AdultSource("whole_majority", "columns_14", None, 0)
    found.append(Entry("adult", adult, 45_222, 14, 34_014 / 11_208, "UCI"))
    for name in ("breast_cancer", "digits", "wine"):
        source = SklearnSource(name, None, "minmax")  # type: ignore[arg-type]
        found.append(Entry(name, source, *_facts(source.load(Path())), "scikit-learn (built in)"))
    return {e.name: e for e in found}


def _facts(data: Dataset) -> tuple[int, int, float]:
    counts = np.bincount(data.y)
    return len(data.y), data.x.shape[1], counts.max() / counts.min()


def listing(chosen: Sequence[Entry], folder: Path) -> list[str]:
    lines = [f"{'data set':<16}{'here':<6}{'rows':>8}{'features':>10}{'IR':>8}  from"]
    for e in chosen:
        here = "no" if e.files(folder) is None else "yes"
        lines.append(f"{e.name:<16}{here:<6}{e.rows:>8}{e.features:>10}{e.ratio:>8.2f}  {e.origin}")
    return lines


def verify(entry: Entry, folder: Path) -> str | None:
    """One line on what was checked: sums of the files, what they hold, and the published table; None where the set is
    not here. Raises BenchError where something differs."""
    paths = entry.files(folder)
    if paths is None:
        return None
    known = recorded(folder)
    summed = "no files" if not paths else "sum agrees"
    for path in paths:
        expected = ADULT_FILES.get(path.name) or known.get(str(path.relative_to(folder)), {}).get("sha256")
        if expected:
            remedy = f"{path} changed: remove it and run scripts/data.py fetch {entry.name}"
            check_sum(path, f"sha256:{expected}", remedy)
        else:
            summed = "no sum on record"
    found = _facts(entry.source.load(folder))
    if found[:2] != (entry.rows, entry.features) or abs(found[2] - entry.ratio) > 1e-9:
        raise BenchError(
            "found {} rows, {} features, IR {:.2f}, expected {}, {}, {:.2f}".format(
                *found, entry.rows, entry.features, entry.ratio
            )
        )
    return f"{found[0]} rows, {found[1]} features, IR {found[2]:.2f}; {summed}{_against_print(entry.name, *found)}"


def _against_print(name: str, rows: int, features: int, ratio: float) -> str:
    """How a set stands to Table 4 of the Explicit Gradient paper, which prints some ratios rounded to whole numbers."""
    path = resources.files("imbalance_bench") / "report/published/explicit_gradient/table_4.csv"
    with path.open() as file:  # type: ignore[call-arg]
        printed = {r["metric"]: r["value"] for r in csv.DictReader(file) if r["dataset"] == name}
    if not printed:
        return ""
    decimals = len(printed["imbalance_ratio"].partition(".")[2])
    agree = {
        "n_samples": rows == int(printed["n_samples"]),
        "n_features": features == int(printed["n_features"]),
        "imbalance_ratio": f"{ratio:.{decimals}f}" == printed["imbalance_ratio"] or name in KNOWN_MISPRINTS,
    }
    wrong = [f"{key} {printed[key]}" for key, same in agree.items() if not same]
    if wrong:
        raise BenchError(f"found {rows} rows, {features} features, IR {ratio:.2f}; the published table has {wrong}")
    misprint = KNOWN_MISPRINTS.get(name)
    return "; as published" + (f" ({misprint})" if misprint else "")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="data.py", description="Lists, downloads and checks data sets.")
    parser.add_argument("command", choices=["list", "fetch", "verify"])
    parser.add_argument("names", nargs="*", metavar="NAME", help="data sets; none: all")
    parser.add_argument(
        "--data",
        type=Path,
        default=Path(os.environ.get("IMBALANCE_BENCH_DATA", "data")),
        help="the folder they lie in (IMBALANCE_BENCH_DATA, else ./data)",
    )
    args = parser.parse_intermixed_args(argv)
    try:
        return _run(args.command, args.names, args.data)
    except BenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _run(command: str, names: list[str], folder: Path) -> int:
    known = entries()
    for name in names:
        if name not in known:
            raise BenchError(f"unknown data set {name!r}: {nearest(name, known)}")
    chosen = [known[n] for n in names] or list(known.values())
    if command == "list":
        print("\n".join(listing(chosen, folder)))
        return 0
    failed = 0
    for entry in chosen:
        if command == "fetch":
            entry.source.load(folder)
            print(f"{entry.name}: here")
            continue
        try:
            line = verify(entry, folder)
        except BenchError as error:
            failed += 1
            print(f"{entry.name}: WRONG: {error}")
            continue
        failed += line is None and bool(names)  # a set that nobody asked for may be absent
        print(f"{entry.name}: {line or 'absent'}")
    return 1 if failed else 0
