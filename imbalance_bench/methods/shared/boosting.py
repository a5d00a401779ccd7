"""The options of LightGBM, XGBoost and CatBoost: which there are, which are one by two names, and a trial fit that
finds what these libraries would say, or not say, in the middle of a sweep only."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

import numpy as np

from imbalance_bench.errors import suggestion
from imbalance_bench.options import Count, check

ROUNDS = {"lightgbm": "n_estimators", "xgboost": "n_estimators", "catboost": "iterations"}
"""The libraries, and what they call the number of rounds."""

# Options that are one: XGBoost's documentation of its parameters, and catboost.core._process_synonyms_groups.
NAMES = {
    "xgboost": (
        ("learning_rate", "eta"),
        ("gamma", "min_split_loss"),
        ("reg_lambda", "lambda"),
        ("reg_alpha", "alpha"),
        ("random_state", "seed"),
        ("n_jobs", "nthread"),
    ),
    "catboost": (
        ("iterations", "n_estimators", "num_boost_round", "num_trees"),
        ("learning_rate", "eta"),
        ("border_count", "max_bin"),
        ("depth", "max_depth"),
        ("rsm", "colsample_bylevel"),
        ("l2_leaf_reg", "reg_lambda"),
        ("od_wait", "early_stopping_rounds"),
        ("loss_function", "objective"),
        ("custom_metric", "custom_loss"),
        ("max_leaves", "num_leaves"),
        ("min_data_in_leaf", "min_child_samples"),
    ),
}

# Left out of a trial fit: what asks for the columns or classes of the data, for validation rows, threads or files.
NOT_TRIED = re.compile(
    "categorical_feature|cat_feature|feature_contri|feature_penalty|feature_weights|feature_types|by_feature|_column|"
    "constraint|num_class|classes_count|early_stopping|od_|use_best_model|n_jobs|thread|file|snapshot|_dir|model_"
)
ELSEWHERE = re.compile("device|task_type|machine|tree_learner")  # where options ask for this, nothing is tried
ROWS = 200  # of a trial fit
QUOTED = re.compile(r'"(\w+)"')
_refused: dict[str, str] = {}  # what came of trial fits: the same options are built many times


def names_of_one(package: str) -> list[tuple[str, ...]]:
    """The options of a library that have several names, and, of LightGBM, all others too."""
    if package == "lightgbm":
        from lightgbm.basic import _ConfigAliases  # dumped by the library; nothing public says them

        return [tuple(sorted({name, *others})) for name, others in _ConfigAliases._get_all_param_aliases().items()]
    return list(NAMES.get(package, ()))


def check_rounds(package: str, options: Mapping[str, Any], where: str) -> None:
    """Raises BenchError where the number of rounds is none: XGBoost makes no tree of -3."""
    for name in rounds_in(package, options):
        check(Count | None, options[name], f"{where}.options.{name}")


def rounds_in(package: str, options: Mapping[str, Any]) -> list[str]:
    """The names among the options by which they set the number of rounds."""
    groups = [{ROUNDS[package]}, *map(set, names_of_one(package))]
    return [name for name in options if any({name, ROUNDS[package]} <= group for group in groups)]


def refused(package: str, options: Mapping[str, Any], make: Callable[[dict[str, Any]], Any], known: set[str]) -> str:
    """Why an estimator of these libraries cannot be fitted with its options; "" where it can. They look at values in
    ``fit`` alone, and XGBoost takes any name: one round is fitted to two classes, and where that fails to three.

    Args:
        make: the estimator of some options.
        known: names that its constructor says, which may play no part with the others.
    """
    if any(ELSEWHERE.search(name) and str(value).lower() != "cpu" for name, value in options.items()):
        return ""
    # Lists and mappings, as texts too, are about columns, classes or metrics.
    plain = {k: v for k, v in options.items() if not isinstance(v, (list, dict)) and not re.search("[,(]", str(v))}
    tried = {k: v for k, v in plain.items() if not NOT_TRIED.search(k)}
    tried |= dict.fromkeys(rounds_in(package, tried) or [ROUNDS[package]], 1)
    quiet: dict[str, dict[str, Any]] = {"xgboost": {"verbosity": 1}, "catboost": {"allow_writing_files": False}}
    tried |= quiet.get(package, {})
    key = repr((package, tried))
    if key not in _refused:
        found = _failure(package, 2, tried, make, known)
        _refused[key] = found and _failure(package, 3, tried, make, known) and found
    return _refused[key]


def _failure(
    package: str, classes: int, tried: dict[str, Any], make: Callable[[dict[str, Any]], Any], known: set[str]
) -> str:
    rng = np.random.default_rng(0)
    y = np.arange(ROWS) % classes
    x = rng.normal(size=(ROWS, 4)) + y[:, None]
    with warnings.catch_warnings(record=True) as caught, ExitStack() as stack:
        warnings.simplefilter("always")
        if package == "xgboost":
            import xgboost

            stack.enter_context(xgboost.config_context())  # which a fit would leave as verbose as it is here
        try:
            make(tried).fit(x, y)
        except Exception as error:  # of whichever kind the library has
            return said(error)
    unused = [name for one in caught if "are not used" in str(one.message) for name in QUOTED.findall(str(one.message))]
    strange = [name for name in unused if name in tried and name not in known]
    if not strange:
        return ""
    return f"{strange[0]} is none of them, or plays no part with the others: {suggestion(strange[0], known)}"


def said(error: Exception) -> str:
    """The message of a library, without the place in its source and the stack that these three put into it."""
    text = str(error).partition("\nStack trace:")[0]
    text = re.sub(r"^(\[[\d:]+\] )?\S+\.(h|cc|cpp):\d+: |\s+at \S+\.cpp, line \d+ ?\.", "", text)
    return " ".join(text.split())
