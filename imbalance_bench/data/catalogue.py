"""`scripts/data.py list|fetch|verify [NAME...]`: which data sets there are, which lie here, and whether they are
what they should be. They are the options of conf/dataset and of the user's own folder; what each holds says its source.
"""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from imbalance_bench.data.base import Facts, Source
from imbalance_bench.data.fetch import check_sum, recorded
from imbalance_bench.errors import BenchError, command, suggestion
from imbalance_bench.plugins import import_plugins
from imbalance_bench.registry import DATASETS
from imbalance_bench.running import progress
from imbalance_bench.settings.conf_files import CONF, content_of, hydra_started, own_folder
from imbalance_bench.terminal import tell
from imbalance_bench.terminal.arguments import ArgumentParser, plugins_of

# Where a published table is wrong by itself: its number does not follow from its own counts.
KNOWN_MISPRINTS = {"webpage": "printed 33 is 34.45 by the set's own counts"}


@dataclass(frozen=True)
class Entry:
    """One data set: an option, and the source that it describes."""

    name: str
    source: Source

    @property
    def facts(self) -> Facts | None:
        return self.source.facts()

    @property
    def origin(self) -> str:
        return self.facts.origin if self.facts else f"as dataset={self.name}"


def entries(own: Path | None = None) -> dict[str, Entry]:
    """Every published data set by name, tables first, texts last, one whose options are readings of it once; then
    those of the user's ``own`` folder (--config-dir)."""
    found: dict[tuple[str, Facts], Entry] = {}
    for option in options(CONF):
        plain = content_of("dataset", option)
        entry = None if "path" in plain else Entry(option, DATASETS.build(plain))
        if entry and entry.facts:
            found.setdefault((plain["name"], entry.facts), entry)
    published = sorted(found.values(), key=_place)
    theirs = [e for option in options(own) if (e := _own(option, own))] if own else []
    return {e.name: e for e in (*published, *theirs)}


def options(folder: Path) -> list[str]:
    """The options of dataset in a folder of configurations, by name."""
    home = folder / "dataset"
    return sorted(path.relative_to(home).with_suffix("").as_posix() for path in home.rglob("*.yaml"))


def _place(entry: Entry) -> tuple[int, int, str]:
    """Tables, images, texts; those of a collection in its order, then the others by name."""
    facts = entry.facts
    assert facts is not None
    kind = {1: 0, 3: 1, 0: 2}.get(len(facts.shape), 3)
    return kind, facts.place or sys.maxsize, entry.name


def _own(option: str, own: Path) -> Entry | None:
    """The data set of an option of the user's folder; None of one that is to be completed on the command line."""
    plain = _composed(option, own)
    if plain.get("name") not in DATASETS.names():
        raise BenchError(
            f"{own / 'dataset' / option}.yaml: no data set is called name={plain.get('name')}: name the module that "
            "registers it, plugins=[my_data]"
        )
    return None if _unnamed(plain) else Entry(option, DATASETS.build(plain))


def _unnamed(plain: dict[str, Any]) -> bool:
    """Whether an option is of files that are not named in it."""
    return "path" in plain and plain["path"] is None


def _composed(option: str, own: Path | None) -> dict[str, Any]:
    """The keys of dataset=``option``, as Hydra composes them."""
    from hydra import compose
    from omegaconf import OmegaConf

    with hydra_started(own):
        plain: Any = OmegaConf.to_container(compose("config", [f"dataset={option}"]).dataset, resolve=True)
    return plain


def entry_of(option: str, own: Path | None = None) -> Entry:
    """The data set of any option: many are a reading or a part of a set that ``entries`` has, and are known by their
    files alone."""
    known = options(CONF) + (options(own) if own else [])
    if option not in known:
        own_hint = "" if own else f"\n  one of your own is dataset/{option}.yaml in the folder that --config-dir names"
        near = suggestion(option, set(known))
        raise BenchError(f"unknown data set {option!r}: {near}{own_hint if 'known: ' in near else ''}")
    plain = _composed(option, own)
    if _unnamed(plain):
        raise BenchError(
            f"dataset={option} is data of your own: name them with dataset.path, there is nothing to fetch"
        )
    return Entry(option, DATASETS.build(plain))


def listing(chosen: Sequence[Entry], folder: Path) -> list[str]:
    width = max(16, *(len(e.name) + 2 for e in chosen))
    lines = [f"{'data set':<{width}}{'here':<6}{'rows':>8}{'features':>10}{'classes':>9}{'IR':>8}  from"]
    for e in chosen:
        here = "no" if e.source.paths(folder) is None else "yes"
        f = e.facts
        ratio = f"{f.ratio:.2f}" if f and f.ratio else "-"
        rows, shape, classes = (f.rows, "x".join(map(str, f.shape)) or "text", f.classes) if f else ("-", "-", "-")
        lines.append(f"{e.name:<{width}}{here:<6}{rows:>8}{shape:>10}{classes:>9}{ratio:>8}  {e.origin}")
    return lines


def verify(entry: Entry, folder: Path) -> str | None:
    """One line on what was checked: sums of the files, rows of each class, and the published table; None where the set
    is not here. Raises BenchError where something differs."""
    paths = entry.source.paths(folder)
    if paths is None:
        return None
    known = recorded(folder)
    pinned = entry.source.sums()
    summed = "no files" if not paths else "sum agrees"
    for path in paths:
        expected = pinned.get(path.name)
        if not expected and (first := known.get(os.path.relpath(path, folder))):
            expected = f"sha256:{first['sha256']}"
        if expected:
            check_sum(path, expected, f"{path} changed: remove it and run {command('data')} fetch {entry.name}")
        elif not entry.source.holds_to_sums:
            summed = "no sum on record"
    found, facts = Facts.of(entry.source.load(folder)), entry.facts
    if facts and (found.rows, found.shape, found.classes) != (facts.rows, facts.shape, facts.classes):
        raise BenchError(f"found {found}, expected {facts}")
    if facts and facts.counts and found.counts != facts.counts:
        raise BenchError(f"found {found.counts} rows a class, expected {facts.counts}")
    printed = _against_print(entry.name, found.rows, found.shape[0], found.ratio or 0) if found.shape else ""
    return f"{found}; {summed}{printed}"


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
    """The command line; the exit status."""
    parser = ArgumentParser(prog="data.py", description="Lists, downloads and checks data sets.")
    parser.add_argument("command", choices=["list", "fetch", "verify"], help="list, download or check data sets")
    parser.add_argument("names", nargs="*", metavar="NAME", help="data sets (default: all)")
    parser.add_argument(
        "--data",
        type=Path,
        default=Path(os.environ.get("IMBALANCE_BENCH_DATA", "data")),
        help="the data folder (IMBALANCE_BENCH_DATA, else ./data)",
    )
    parser.add_argument(
        "--config-dir",
        metavar="FOLDER",
        help="your own options (dataset/*.yaml); plugins=[my_data] names your code",
    )
    args = parser.parse_intermixed_args(argv)
    try:
        names, plugins = plugins_of(args.names)
        import_plugins(plugins)
        return _run(args.command, names, args.data, own_folder(args.config_dir))
    except BenchError as error:
        tell(f"error: {error}", sys.stderr)
        return 1


def _run(command: str, names: list[str], folder: Path, own: Path | None) -> int:
    known = entries(own)
    chosen = [known.get(n) or entry_of(n, own) for n in names] or list(known.values())
    if command == "list":
        print("\n".join(listing(chosen, folder)))
        return 0
    failed = 0
    for entry in chosen:
        if command == "fetch":
            if not names and entry.source.paths(folder) is None and entry.source.by_hand:
                print(f"{entry.name}: cannot be downloaded; place the files by hand (docs/datasets.md)")
                continue
            with progress.following(progress.Progress(f"fetching {entry.name}")):
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
