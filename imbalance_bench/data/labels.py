"""Class indices out of a column of labels, and one class against the others."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from imbalance_bench.errors import BenchError, suggestion

if TYPE_CHECKING:
    import pandas as pd

MAX_CLASSES = 50  # a target with more is a number to predict, or an identifier


def class_indices(target: pd.Series, positive: Any) -> tuple[np.ndarray, tuple[str, ...]]:
    """Class indices (n,) and class names of the column that ``dataset.target`` names; see ``against_rest``. Raises
    BenchError where a row has no class, or where there are too few or too many."""
    import pandas as pd

    column = target.name
    missing = target.isna() | target.map(lambda value: isinstance(value, str) and not value.strip()).astype(bool)
    if missing.any():
        raise BenchError(
            f"dataset.target={column}: {int(missing.sum())} of {len(target)} rows have no class, the "
            f"first is row {target.index[missing][0]} (from 0): fill or remove them"
        )
    for row, value in target.items():
        if not pd.api.types.is_hashable(value):
            raise BenchError(f"dataset.target={column}: row {row} (from 0) is a {type(value).__name__}, not a class")
    target = target.map(lambda value: value.strip() if isinstance(value, str) else value)
    codes, values = pd.factorize(target, sort=True)
    if values.dtype.kind == "f" and (values == np.floor(values)).all():
        values = values.astype(np.int64)  # 0.0 and 1.0 are called 0 and 1
    names = tuple(str(v) for v in values)
    if len(set(names)) < len(names):
        alike = next(n for n in names if names.count(n) > 1)
        raise BenchError(
            f"dataset.target={column} has different values that are both written {alike!r}, a number and a word, say: "
            "write them alike"
        )
    _check_alike(names, np.bincount(codes), str(column))
    if len(names) < 2:
        raise BenchError(f"dataset.target={column} has one class only ({names[0]!r}): nothing to tell apart")
    if len(names) > MAX_CLASSES and positive is None:
        raise BenchError(
            f"dataset.target={column} has {len(names)} different values (at most {MAX_CLASSES}): is it a "
            "class? Choose another dataset.target, or one value against the rest with dataset.positive=<value>"
        )
    return against_rest(codes.astype(np.int64), names, positive, f"value of {column}")


def known_indices(target: pd.Series, names: tuple[str, ...], positive: Any) -> tuple[np.ndarray, dict[str, int]]:
    """Class indices (n,) of new rows among the classes ``names`` that ``class_indices`` gave, -1 of those without; and
    the values that are none of them, with their rows."""
    words = target.map(_word).fillna("")
    indices = words.map({name: i for i, name in enumerate(names)}).fillna(-1).to_numpy(np.int64)
    if positive is not None and names[0] == "rest":
        indices = np.where((indices < 0) & (words != "").to_numpy(), 0, indices)
    strange = words[(indices < 0) & (words != "").to_numpy()]
    return indices, {str(word): int(n) for word, n in strange.value_counts().items()}


def _word(value: Any) -> Any:
    """A class as ``class_indices`` names it: 1.0 is called 1."""
    import pandas as pd

    if pd.isna(value):
        return None
    return str(int(value) if isinstance(value, float) and value == np.floor(value) else value).strip()


def _check_alike(names: tuple[str, ...], counts: np.ndarray, column: str) -> None:
    """Raises BenchError where two names are the same word to a reader: but for blanks and case, or the same number."""
    seen: dict[Any, int] = {}
    for code, name in enumerate(names):
        key: Any = " ".join(name.split()).casefold()
        if re.fullmatch(r"[-+]?\d+(\.\d*)?", key, re.ASCII):
            key = float(key)
        if key in seen:
            first = seen[key]
            raise BenchError(
                f"dataset.target={column}: {names[first]!r} ({counts[first]} rows) and {name!r} ({counts[code]} rows) "
                "would be two classes, and differ in case, blanks or digits only: write them alike in the file (or, if "
                "they are two, as different words)"
            )
        seen[key] = code


def against_rest(
    codes: np.ndarray, names: tuple[str, ...], positive: Any, what: str = "class"
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Class indices (n,) and names, of classes ``codes`` (n,) called ``names``: where ``positive`` is one of them it is
    class 1 and all others are class 0. Where it is None the rarer of two is class 1, and several stay as they are."""
    if positive is None:
        if len(names) == 2 and (codes == 0).sum() < (codes == 1).sum():
            return 1 - codes, (names[1], names[0])
        return codes, names
    wanted = str(positive).strip()
    if isinstance(positive, bool) and wanted not in names:
        wanted = wanted.lower()  # YAML reads true and True alike, a file of texts does not
    if wanted not in names:
        raise BenchError(f"dataset.positive={positive!r} is not a {what}: {suggestion(wanted, names)}")
    chosen = names.index(wanted)
    other = names[1 - chosen] if len(names) == 2 else "rest"
    return (codes == chosen).astype(np.int64), (other, names[chosen])
