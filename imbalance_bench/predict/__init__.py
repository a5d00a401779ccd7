"""Scores new rows with a saved model (``save=true``): probabilities, decisions, and metrics where classes are known."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from imbalance_bench.errors import BenchError
from imbalance_bench.metrics import scoring
from imbalance_bench.metrics.calibration import KINDS
from imbalance_bench.metrics.thresholds import OBJECTIVES, of_decisions
from imbalance_bench.predict.deciding import PLAIN, costs_of, decided
from imbalance_bench.store.files import atomic_write
from imbalance_bench.terminal import tell
from imbalance_bench.terminal.arguments import ArgumentParser

if TYPE_CHECKING:
    import pandas as pd

    from imbalance_bench.data.new_rows import NewRows
    from imbalance_bench.predict.deciding import Decided
    from imbalance_bench.predict.model import Model

SHOWN = {
    "positive": ("auc_pr", "auc_roc"),
    "macro": ("auc_pr", "auc_roc"),
    "all": ("log_loss", "ece"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; the exit status."""
    parser = ArgumentParser(prog="predict.py", description=" ".join((__doc__ or "").split()))
    parser.add_argument("record", type=Path, help="the folder of a record that was trained with save=true")
    parser.add_argument("rows", type=Path, help="a table or text file as in training, or a folder of images")
    parser.add_argument(
        "reading",
        nargs="*",
        metavar="dataset.KEY=VALUE",
        help="how to read the file, if it differs from the training file, e.g. dataset.separator=semicolon",
    )
    parser.add_argument("--output", type=Path, help="the CSV file to write (default: to the terminal)")
    parser.add_argument("--run", type=int, action="append", help="one run of the cell (default: the mean of all)")
    parser.add_argument(
        "--decide",
        choices=(*OBJECTIVES, PLAIN),
        help="decide at the threshold that is best for this on validation rows (default: f1 if there are any); "
        f"{PLAIN}: for the most probable class",
    )
    parser.add_argument(
        "--calibration", choices=KINDS, help="calibrate the probabilities on validation rows (default: none)"
    )
    parser.add_argument("--readout", default="last", help="last (default), best, or another readout of the method")
    parser.add_argument("--device", default="auto", help="auto (default), cpu, cuda, cuda:1")
    parser.add_argument("--data", default=os.environ.get("IMBALANCE_BENCH_DATA", "data"), help="paths.data")
    arguments = parser.parse_intermixed_args(argv)
    try:
        if arguments.output is not None:
            _check_place(arguments.output, arguments.rows)
        text, remarks = predicted(arguments)
        if arguments.output is None:
            print(text, end="")
        else:
            atomic_write(arguments.output, text, "--output=<another file>")
            remarks.append(f"written: {arguments.output}")
    except BenchError as error:
        tell(f"error: {error}", sys.stderr)
        return 1
    for remark in remarks:
        print(remark, file=sys.stderr)
    return 0


def predicted(arguments: Any) -> tuple[str, list[str]]:
    """The CSV text of the scores of new rows, and what to tell of them."""
    from imbalance_bench.data.new_rows import new_rows
    from imbalance_bench.predict.model import Model

    changes = dict(map(_change, arguments.reading))
    model = Model.load(arguments.record, arguments.run, arguments.data, arguments.device)
    rows = new_rows(arguments.rows, model.trained, next(iter(model.encoders.values())), changes)
    scores = model.scores(rows.x, arguments.readout)
    runs = ", ".join(map(str, model.runs))
    labels = model.record["labels"]
    averaged = f"the mean of {len(model.runs)} runs ({runs})" if len(model.runs) > 1 else f"run {runs}"
    told = [
        f"{labels['method']} on {labels['dataset']}: {len(rows.beside):,} rows scored by {averaged}",
        *model.remarks(),
        *rows.remarks,
        *_unseen(model, rows),
    ]
    if model.classes:
        made = decided(model.record, scores, arguments.readout, arguments.decide, arguments.calibration)
        counts = np.bincount(made.decisions, minlength=len(model.classes))
        each = ", ".join(f"{n:,} {name}" for n, name in zip(counts, model.classes))
        told.append(f"decisions by {made.how}: {each}")
        columns: dict[str, Any] = {f"p_{name}": made.probabilities[:, c] for c, name in enumerate(model.classes)}
        columns["decision"] = np.array(model.classes, object)[made.decisions]
        if scoring.ranks_only(model.record) and arguments.calibration is None:
            cure = "" if scoring.without_validation(model.record) else "; --calibration platt makes some of them"
            told.append(f"p_{model.classes[0]}, ... are made of a {scoring.RANKS}{cure}")
        if rows.labels is not None:
            told += _metrics(made, rows.labels, model)
    else:
        columns = {"prediction": np.mean([one[:, 0] for one in scores.values()], axis=0, dtype=np.float64)}
    return table(rows.beside, columns).to_csv(index_label="row", lineterminator="\n"), told


def table(beside: pd.DataFrame, made: dict[str, Any]) -> pd.DataFrame:
    """The columns of the file that are no features, then what was ``made``. Those of the file that have the name of one
    of these are put behind "given_"."""
    import pandas as pd

    kept = beside.rename(columns=lambda name: f"given_{name}" if name in made or name == "row" else name)
    return pd.concat([kept, pd.DataFrame(made, index=kept.index)], axis=1)


def _unseen(model: Model, rows: NewRows) -> list[str]:
    """Counts of categories that no training row had, of whichever run."""
    from imbalance_bench.data.encode import FittedTable

    tables = [fitted for fitted in model.encoders.values() if isinstance(fitted, FittedTable)]
    found = [fitted.unseen(rows.x) for fitted in tables]
    said = []
    for column in found[0] if found else ():
        strange = np.all([one[column] for one in found], axis=0)
        if strange.any():
            values = rows.x[column][strange].astype(object).fillna("(missing)").value_counts()
            some = ", ".join(f"{value!r} in {n}" for value, n in values.head(3).items())
            more = f" and {len(values) - 3} more" if len(values) > 3 else ""
            rows_have = "1 row has" if strange.sum() == 1 else f"{strange.sum():,} rows have"
            said.append(f"{column}: {rows_have} a category that was not seen in training ({some}{more})")
    return said


def _metrics(made: Decided, labels: np.ndarray, model: Model) -> list[str]:
    """The metrics of the rows whose class is known: of the probabilities, and of the decisions. Where a class has no
    row among them, none that is over the classes."""
    from imbalance_bench import metrics

    known = labels >= 0
    labels = labels[known]
    with np.errstate(divide="ignore"):
        values = metrics.evaluate(labels, np.log(made.probabilities[known]), model.classes, own={})
    found = {(row["class_group"], row["metric"]): row["value"] for row in values}
    absent = [name for k, name in enumerate(model.classes) if not (labels == k).any()]
    without = f" (none of class {', '.join(absent)}: what is over the classes is left out)" if absent else ""
    said = [f"metrics of {len(labels):,} rows with a class{without}:"]
    for group in ["all"] if absent else list(SHOWN):
        if shown := [f"{name} {found[group, name]:.4f}" for name in SHOWN[group] if (group, name) in found]:
            said.append(f"  {group}: {', '.join(shown)}")
    tuned = of_decisions(labels, made.decisions[known], costs_of(model.record, min(model.runs)))
    if absent:
        tuned = {"cost": tuned["cost"]}
    said.append("  decisions: " + ", ".join(f"{name} {value:.4f}" for name, value in tuned.items()))
    return said


def _change(word: str) -> tuple[str, Any]:
    """A key of reading and its value."""
    import yaml

    key, sign, value = word.partition("=")
    if not sign or not key.startswith("dataset."):
        raise BenchError(f"{word}: beside the record and the rows only dataset.<key>=<value> is understood")
    try:
        return key.removeprefix("dataset."), value if len(value) == 1 and not value.isalnum() else yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise BenchError(f"{word} cannot be read: {' '.join(str(error).split())}") from error


def _check_place(output: Path, rows: Path) -> None:
    """Raises BenchError where scores cannot be written: before they are made."""
    if output.is_dir():
        raise BenchError(f"--output {output} is a folder: name a file in it")
    if output.resolve() == rows.resolve():
        raise BenchError(f"--output {output} is the file of the rows: choose another name")
    if not output.absolute().parent.is_dir():
        raise BenchError(f"--output {output}: there is no folder {output.absolute().parent}")
