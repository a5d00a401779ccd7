"""The commands as functions, which the package offers by their names."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imbalance_bench.errors import BenchError
from imbalance_bench.settings.conf_files import hydra_started, own_folder
from imbalance_bench.store import CellFolder, Record, Store

if TYPE_CHECKING:
    import pandas as pd

    from imbalance_bench.predict.model import Model
    from imbalance_bench.settings.config import Config


def composed(*overrides: str, config_dir: str | Path | None = None) -> Config:
    """The configuration of one cell, of the same words that ``train`` takes."""
    from hydra import compose

    from imbalance_bench.settings.conf_files import ConfFiles
    from imbalance_bench.settings.config import from_omegaconf

    with hydra_started(own_folder(config_dir, "config_dir")) as loader:
        files = ConfFiles(loader, overrides)
        with files.explained():
            files.parsed(overrides)
            return from_omegaconf(compose("config", list(overrides)))


def run(*overrides: str, config_dir: str | Path | None = None) -> Record:
    """Trains one cell, unless it is done, and returns its record.

    Args:
        overrides: as on the command line, ``"method=focal", "dataset=ecoli", "method.gamma=5"``.
        config_dir: a folder of your own options.

    Returns:
        What record.json holds (labels, config, headline, runs, provenance), and its folder under "path".

    Raises:
        BenchError: an override is mistyped, ``config_dir`` is no folder, the cell failed, or another process trains it.

    >>> record = run("method=focal", "trainer.epochs=2", "device=cpu")
    >>> record["labels"]["dataset"], record["headline"]["metric"], len(record["runs"])
    ('breast_cancer', 'auc_pr', 4)
    """
    from imbalance_bench.cells import run_cell

    outcome = run_cell(composed(*overrides, config_dir=config_dir))
    record = CellFolder(outcome.path).record() if outcome.status in ("done", "skipped", "declined") else None
    if record is None:
        raise BenchError(outcome.line())
    return record


def records(*wanted: str, outputs: str | Path = "outputs") -> pd.DataFrame:
    """The numbers of finished cells, of test rows.

    Args:
        wanted: as for ``report``, ``"method=focal,ldam", "dataset=ecoli"``; nothing: all there are.
        outputs: the folder that holds runs/.

    Returns:
        One row a number: labels (method, dataset, ...), run, fold, repeat, iterate, class_group, metric, value.

    >>> record = run("method=focal", "trainer.epochs=2", "device=cpu")
    >>> numbers = records("method=focal").query("metric == 'auc_pr' and class_group == 'positive'")
    >>> numbers[["run", "iterate"]].drop_duplicates().groupby("iterate").size().to_dict()
    {'best': 4, 'last': 4}
    """
    from imbalance_bench.report.records.records import tidy
    from imbalance_bench.report.records.selection import some_records

    return tidy(some_records(Store(outputs), wanted)[0])


def compare(
    *wanted: str,
    metric: str | Sequence[str] | None = None,
    group: str | None = None,
    per_class: bool = False,
    readout: str = "last",
    part: str = "test",
    rows: str | Sequence[str] = "dataset",
    columns: str | Sequence[str] = "method",
    test: str | None = None,
    versus: str | None = None,
    rope: float | None = None,
    outputs: str | Path = "outputs",
) -> pd.DataFrame:
    """The numbers of a ``report`` of your own runs; its options have the names that they have there, without
    the dashes. Refuses to mix what is not comparable.

    Args:
        wanted, outputs: as of ``records``.
        metric: any of the records, or several; None: the one that heads each cell.
        group: of classes (positive, macro, minority, majority, <class>; None: the headline's); ``per_class``: each.
        readout: "last" or "best"; ``part``: "test" or "valid" rows.
        rows, columns: the axes, by which options are told apart: "dataset", "method", "protocol.folds", ...
        test: "nemenyi", "wilcoxon" or "bayes" over data sets, "corrected_t" or "permutation" over the runs on each;
            ``versus``: the method that the others are compared with; ``rope``: of "bayes".

    Returns:
        A row a cell and metric with mean, sd, runs and whether it is the best of its data set; of a test a row a pair
        of methods with the difference, its interval, wins, effect, p and n.

    Raises:
        BenchError: an argument is of a wrong kind; else as the command says it.

    >>> for method in ("cross_entropy", "focal"):
    ...     record = run(f"method={method}", "trainer.epochs=2", "device=cpu")
    >>> table = compare("dataset=breast_cancer", metric=["f1", "recall"], group="macro")
    >>> [sorted(set(table[name])) for name in ("method", "metric", "runs")]
    [['cross_entropy', 'focal'], ['f1', 'recall'], [4]]
    >>> pairs = compare("dataset=breast_cancer", metric="f1", versus="cross_entropy")
    >>> pairs[["method", "against", "test", "n"]].values.tolist()
    [['focal', 'cross_entropy', 'corrected_t', 4]]
    """
    from imbalance_bench.report.any_records import numbers
    from imbalance_bench.report.arguments import options_of

    said = {
        "metric": metric, "group": group, "per_class": per_class, "readout": readout, "part": part, "rows": rows,
        "columns": columns, "test": test, "versus": versus, "rope": rope, "outputs": str(outputs),
    }  # fmt: skip
    return numbers(options_of(wanted, **said))


def load_model(folder: str | Path, device: str = "auto") -> Model:
    """Loads the models of a cell that was trained with ``save=true``.

    Args:
        folder: that of its record, or a copy.

    Returns:
        ``scores(x)`` gives, by run, log-probabilities (n, C) of rows as the data set has them before any preprocessing:
        a table, an array, texts, images; ``classes`` are their names.

    Raises:
        BenchError: there is no model, it is damaged, or of another version.

    >>> record = run("method=focal", "trainer.epochs=2", "device=cpu", "save=true", "cache=overwrite")
    >>> from sklearn.datasets import load_breast_cancer
    >>> scores = load_model(record["path"]).scores(load_breast_cancer().data)
    >>> sorted(scores), scores[0].shape
    ([0, 1, 2, 3], (569, 2))
    """
    from imbalance_bench.predict.model import Model

    return Model.load(Path(folder), device=device)


def parts_of_training(overrides: tuple[str, ...], config_dir: str | Path | None = None) -> dict[str, Any]:
    """The objects that words such as ``method=focal`` describe, by group, the device, and the labels by group."""
    if config_dir is None and not any("hydra.searchpath" in word for word in overrides):
        return _of_the_package(overrides)
    # One's own files are read each time: they may have been edited since, or the working directory changed.
    return _parts(overrides, config_dir)


@cache  # a grid search fits the same many times
def _of_the_package(overrides: tuple[str, ...]) -> dict[str, Any]:
    return _parts(overrides)


def _parts(overrides: tuple[str, ...], config_dir: str | Path | None = None) -> dict[str, Any]:
    config = composed(*overrides, config_dir=config_dir)
    groups = ("method", "backbone", "trainer", "ratio")
    return {group: config.component(group) for group in groups} | {"device": config.device, "labels": config.labels}
