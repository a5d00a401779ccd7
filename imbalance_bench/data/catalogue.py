"""`scripts/data.py list|fetch|verify [NAME...]`: which data sets there are, which lie here, and whether they are
what they should be."""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from imbalance_bench.arguments import ArgumentParser
from imbalance_bench.conf_files import CONF
from imbalance_bench.data.base import Dataset, Source
from imbalance_bench.data.fetch import check_sum, recorded
from imbalance_bench.data.sources import irt
from imbalance_bench.data.sources.adult import AdultSource
from imbalance_bench.data.sources.amazon import PRINTED as AMAZON
from imbalance_bench.data.sources.amazon import AmazonMultidomainSource, AmazonSource
from imbalance_bench.data.sources.back_rotation import BackRotationSource, GeneratedBackRotationSource
from imbalance_bench.data.sources.cifar10_jpeg import Cifar10JpegSource
from imbalance_bench.data.sources.imblearn import SETS, ImblearnSource
from imbalance_bench.data.sources.imdb import ImdbSource
from imbalance_bench.data.sources.mnist import MnistSource
from imbalance_bench.data.sources.opinrank import OpinRankSource
from imbalance_bench.data.sources.semeval import SemEvalSource
from imbalance_bench.data.sources.sklearn import SklearnSource
from imbalance_bench.data.sources.sms_spam import SmsSpamSource
from imbalance_bench.data.sources.torchvision import TorchvisionSource
from imbalance_bench.data.sources.toutiao import ToutiaoSource
from imbalance_bench.data.sources.zhang import AgNewsSource, YelpPolaritySource, YelpSentencesSource
from imbalance_bench.errors import BenchError, nearest
from imbalance_bench.registry import DATASETS

# Where a published table is wrong by itself: its number does not follow from its own counts.
KNOWN_MISPRINTS = {"webpage": "printed 33 is 34.45 by the set's own counts"}

# Images a class, training and test set together, in the order of the classes.
IMAGES: dict[str, tuple[Source, tuple[int, ...], tuple[int, ...] | None, str]] = {
    "mnist": (
        MnistSource(10_000),
        (1, 28, 28),
        (6903, 7877, 6990, 7141, 6824, 6313, 6876, 7293, 6825, 6958),
        "MNIST",
    ),
    "mnist_back_rotation": (BackRotationSource(1), (1, 28, 28), None, "LISA"),
    "mnist_back_rotation_generated": (
        GeneratedBackRotationSource(1, 0),
        (1, 28, 28),
        (6139, 6933, 6187, 6341, 6035, 5600, 6116, 6453, 6030, 6166),
        "made from MNIST",
    ),
    "svhn": (
        TorchvisionSource("svhn"),
        (3, 32, 32),
        (6692, 18_960, 14_734, 11_379, 9981, 9266, 7704, 7614, 6705, 6254),
        "Stanford",
    ),
    "cifar10": (TorchvisionSource("cifar10"), (3, 32, 32), (6000,) * 10, "Toronto"),
    "cifar10_jpeg": (Cifar10JpegSource(), (3, 32, 32), (6000,) * 10, "by hand (lossy)"),
    "cifar100": (TorchvisionSource("cifar100"), (3, 32, 32), (600,) * 100, "Toronto"),
    "stl10": (TorchvisionSource("stl10"), (3, 96, 96), (1300,) * 10, "Stanford"),
}
BACK_ROTATION_ROWS = 62_000

WHOLE = (None, None, 0)  # no class against the rest, no draw
BY_HAND = "by hand"
SEMEVAL = ["2013train", "2013dev", "2013test", "2015train", "2015test", "2016train", "2016dev", "2016test"]

# Texts a class, training and test set together, in the order of the classes.
TEXTS: dict[str, tuple[Source, tuple[int, ...], str]] = {
    "sms_spam": (SmsSpamSource("keep"), (4827, 747), "UCI"),
    "imdb": (ImdbSource(*WHOLE), (25_000, 25_000), "Stanford"),
    "ag_news": (AgNewsSource(*WHOLE, "whole"), (31_900,) * 4, "GitHub"),
    "ag_news_test": (AgNewsSource(*WHOLE, "test"), (1900,) * 4, "GitHub"),
    "ag_news_subset": (AgNewsSource(*WHOLE, "subset"), (6550, 4725, 4723, 6783), f"{BY_HAND} (a part)"),
    "yelp_polarity": (YelpPolaritySource(*WHOLE, "whole"), (299_000, 299_000), "fast.ai"),
    "yelp_sentences": (YelpSentencesSource(*WHOLE), (114_597, 75_556), f"{BY_HAND} (a stand-in)"),
    "toutiao": (
        ToutiaoSource(*WHOLE, "whole"),
        (
            6273,
            28_031,
            39_396,
            37_568,
            27_085,
            17_672,
            35_785,
            27_058,
            41_543,
            24_984,
            21_422,
            26_909,
            340,
            19_322,
            29_300,
        ),
        "GitHub",
    ),
    "toutiao_subset": (
        ToutiaoSource(*WHOLE, "subset"),
        (978, 3468, 6148, 5585, 4239, 2561, 5481, 3942, 6051, 3526, 3441, 3516, 59, 3063, 4529),
        f"{BY_HAND} (a part)",
    ),
    "opinrank": (OpinRankSource(), (228_991, 42_288), "GitHub"),
    **{
        f"amazon_{category}": (AmazonSource(category, list(counts), 0), counts, "SNAP")  # type: ignore[arg-type]
        for category, counts in AMAZON.items()
    },
    "amazon_multidomain": (AmazonMultidomainSource("books"), (1000, 1000), f"{BY_HAND} (a stand-in)"),
    "semeval": (SemEvalSource("negative_vs_rest", SEMEVAL, "drop"), (38_489, 7165), BY_HAND),
    **{
        f"irt_{city}{'_4' if classes == 4 else ''}": (irt.IrtSource(city, classes), counts, BY_HAND)  # type: ignore[arg-type]
        for city, tasks in irt.PRINTED.items()
        for classes, counts in tasks.items()
    },
}


@dataclass(frozen=True)
class Facts:
    """What a set holds. ``shape``: of one row, () of a text; ``counts``: rows a class, where they are known."""

    rows: int
    shape: tuple[int, ...]
    classes: int
    counts: tuple[int, ...] | None

    @property
    def ratio(self) -> float | None:
        """IR of the largest and the smallest class."""
        return max(self.counts) / min(self.counts) if self.counts else None

    @classmethod
    def of(cls, data: Dataset) -> Facts:
        counts = tuple(np.bincount(data.y, minlength=data.classes).tolist()) if data.classes else None
        return cls(len(data.y), tuple(data.x.shape[1:]), data.classes, counts)

    def __str__(self) -> str:
        ir = f", IR {self.ratio:.2f}" if self.ratio else ""
        if len(self.shape) == 1:
            return f"{self.rows} rows, {self.shape[0]} features{ir}"
        if not self.shape:
            return f"{self.rows} texts, {self.classes} classes{ir}"
        return f"{self.rows} images of {_shape(self.shape)}, {self.classes} classes{ir}"


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "text"


@dataclass(frozen=True)
class Entry:
    """One data set. ``facts``: what it holds, where that is written down; ``origin``: where it comes from."""

    name: str
    source: Source
    facts: Facts | None
    origin: str

    def files(self, folder: Path) -> list[Path] | None:
        """Its files; none for what is built in; None where one is missing."""
        find = getattr(self.source, "paths", None)
        return find(folder) if find else []


def entries() -> dict[str, Entry]:
    """Every data set by name, in the order of the published table; then images; texts last."""
    found = [
        Entry(
            name,
            ImblearnSource(name, "minmax"),
            Facts(f.rows, (f.features,), 2, (f.rows - f.positives, f.positives)),
            "Zenodo",
        )
        for name, f in SETS.items()
    ]
    adult = AdultSource("whole_majority", "columns_14", None, 0)
    found.append(Entry("adult", adult, Facts(45_222, (14,), 2, (34_014, 11_208)), "UCI"))
    for name in ("breast_cancer", "digits", "wine"):
        source = SklearnSource(name, None, "minmax")  # type: ignore[arg-type]
        found.append(Entry(name, source, Facts.of(source.load(Path())), "scikit-learn (built in)"))
    for name, (images, shape, counts, origin) in IMAGES.items():
        rows, classes = (sum(counts), len(counts)) if counts else (BACK_ROTATION_ROWS, 10)
        found.append(Entry(name, images, Facts(rows, shape, classes, counts), origin))
    for name, (texts, counts, origin) in TEXTS.items():
        found.append(Entry(name, texts, Facts(sum(counts), (), len(counts), counts), origin))
    return {e.name: e for e in found}


def entry_of(option: str) -> Entry:
    """The data set of any option of conf/dataset: many are a reading or a part of a set that ``entries`` has, and are
    known by their files alone."""
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    options = sorted(path.stem for path in (CONF / "dataset").glob("*.yaml"))
    if option not in options:
        raise BenchError(f"unknown data set {option!r}: {nearest(option, {*options, *entries()})}")
    with initialize_config_dir(str(CONF), version_base="1.3"):
        plain: Any = OmegaConf.to_container(compose(f"dataset/{option}").dataset, resolve=True)
    if "path" in plain:
        raise BenchError(
            f"dataset={option} is data of your own: name them with dataset.path, there is nothing to fetch"
        )
    return Entry(option, DATASETS.build(plain), None, f"as dataset={option}")


def listing(chosen: Sequence[Entry], folder: Path) -> list[str]:
    width = max(16, *(len(e.name) + 2 for e in chosen))
    lines = [f"{'data set':<{width}}{'here':<6}{'rows':>8}{'features':>10}{'classes':>9}{'IR':>8}  from"]
    for e in chosen:
        here = "no" if e.files(folder) is None else "yes"
        f = e.facts
        ratio = f"{f.ratio:.2f}" if f and f.ratio else "-"
        rows, shape, classes = (f.rows, _shape(f.shape), f.classes) if f else ("-", "-", "-")
        lines.append(f"{e.name:<{width}}{here:<6}{rows:>8}{shape:>10}{classes:>9}{ratio:>8}  {e.origin}")
    return lines


def verify(entry: Entry, folder: Path) -> str | None:
    """One line on what was checked: sums of the files, rows of each class, and the published table; None where the set
    is not here. Raises BenchError where something differs."""
    paths = entry.files(folder)
    if paths is None:
        return None
    known = recorded(folder)
    pinned = entry.source.sums() if hasattr(entry.source, "sums") else {}
    held = isinstance(entry.source, (MnistSource, GeneratedBackRotationSource))  # to the sums of what they unpack to
    summed = "no files" if not paths else "sum agrees"
    for path in paths:
        expected = pinned.get(path.name)
        if not expected and (first := known.get(str(path.relative_to(folder)))):
            expected = f"sha256:{first['sha256']}"
        if expected:
            check_sum(path, expected, f"{path} changed: remove it and run scripts/data.py fetch {entry.name}")
        elif not held:
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
    parser = ArgumentParser(prog="data.py", description="Lists, downloads and checks data sets.")
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
    chosen = [known.get(n) or entry_of(n) for n in names] or list(known.values())
    if command == "list":
        print("\n".join(listing(chosen, folder)))
        return 0
    failed = 0
    for entry in chosen:
        if command == "fetch":
            if not names and entry.files(folder) is None and getattr(entry.source, "by_hand", False):
                print(f"{entry.name}: cannot be downloaded; place the files by hand (docs/datasets.md)")
                continue
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
