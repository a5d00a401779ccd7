"""What the runs of a cell learned, as files beside its record: arrays as safetensors, facts as JSON, estimators of
scikit-learn's contract by skops. Never a pickle: reading a model runs no code of the file's.

A classifier, a decision or a fitted preprocessing says what it keeps by ``state``, and its class is found again by the
kind that it is registered under (``kept``).
"""

from __future__ import annotations

import importlib
import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np

from imbalance_bench.errors import BenchError
from imbalance_bench.running.kept import order_of

PACKAGE = __name__.partition(".")[0]

SCHEMA = 1  # raised when files of an earlier version can no longer be read
FACTS, ARRAYS, ESTIMATORS = FILES = "model.json", "model.safetensors", "model.skops"
# Packages whose classes an estimator may be made of; skops itself refuses all others.
LIBRARIES = ("sklearn", "imblearn", "numpy", "scipy", "lightgbm", "xgboost", "catboost")
CONTAINERS = ("collections.OrderedDict", "collections.defaultdict")  # LightGBM's

T = TypeVar("T", bound=type)


@dataclass(frozen=True)
class State:
    """All that is needed to make an object again. ``facts``: a JSON object; ``arrays``: numbers, also tensors;
    ``estimators``: fitted ones of scikit-learn's contract; ``parts``: states of objects within it; ``kind``: what its
    class is registered under, and ``module``: where that is, which ``state_of`` fills in."""

    facts: dict[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, Any] = field(default_factory=dict)
    estimators: Mapping[str, Any] = field(default_factory=dict)
    parts: Mapping[str, State] = field(default_factory=dict)
    kind: str = ""
    module: str = ""


@dataclass(frozen=True)
class Surroundings:
    """What an object needs to be made again besides its state. ``engine`` and ``backbone`` as in training;
    ``unfitted``: the preprocessing as it is before it is fitted, where it needs no fitting."""

    engine: Any = None
    backbone: Any = None
    unfitted: Any = None

    def tensors(self, state: State) -> dict[str, Any]:
        """The arrays of a state on the engine's device."""
        import torch

        return {name: torch.tensor(array).to(self.engine.device) for name, array in state.arrays.items()}


class NotKept(BenchError):
    """An object cannot be saved; the message says what is missing."""


KINDS: dict[str, Any] = {}


def kept(kind: str) -> Callable[[T], T]:
    """Registers a class whose objects have ``state() -> State``, and which makes them again by a class method
    ``restored(state, around: Surroundings)``. ``kind`` is what files call it."""

    def add(cls: T) -> T:
        KINDS[kind] = cls
        return cls

    return add


def state_of(thing: Any) -> State:
    """The state of an object. Raises NotKept where its class has none."""
    cls = type(thing)
    kind = next((name for name, known in KINDS.items() if known is cls), None)  # a subclass keeps more, perhaps
    if kind is None:
        raise NotKept(
            f"{cls.__module__}.{cls.__qualname__} does not say what to save: give it state(self) and "
            "restored(cls, state, around), under @kept(...) of imbalance_bench.running.models"
        )
    return replace(thing.state(), kind=kind, module=cls.__module__)


def restored(state: State, around: Surroundings) -> Any:
    """The object that a state is of. Raises BenchError where this version knows no such kind."""
    if state.kind not in KINDS and state.module.startswith(f"{PACKAGE}."):  # plug-ins are imported by their names
        with suppress(ImportError):
            importlib.import_module(state.module)
    if state.kind not in KINDS:
        raise BenchError(
            f"{FACTS} has a part of kind {state.kind!r}, which is unknown here: it was made by a plug-in that is not "
            "imported, or by another version of imbalance_bench"
        )
    return KINDS[state.kind].restored(state, around)


def packed(states: Mapping[str, State], facts: Mapping[str, Any]) -> dict[str, bytes | str]:
    """The files of a model by name: ``states``, and ``facts`` of the whole (JSON).

    Raises:
        NotKept: an estimator is made of what skops does not save, or of classes that would be refused on loading.
    """
    from safetensors.numpy import save

    arrays: dict[str, np.ndarray] = {}
    estimators: dict[str, Any] = {}

    def described(name: str, state: State) -> dict[str, Any]:
        """The JSON of a state, whose arrays are put among all others under its name."""
        columns = []  # arrays that lie in memory column by column
        for key, value in state.arrays.items():
            array = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
            if order_of(array) == "F":
                columns.append(key)
            arrays[f"{name}/{key}"] = np.asarray(array, order="C")
        estimators.update({f"{name}/{key}": value for key, value in state.estimators.items()})
        return {
            "kind": state.kind,
            "module": state.module,
            "facts": state.facts,
            "arrays": list(state.arrays),
            "columns": columns,
            "estimators": list(state.estimators),
            "parts": {key: described(f"{name}/{key}", part) for key, part in state.parts.items()},
        }

    tree = {name: described(name, state) for name, state in states.items()}
    files: dict[str, bytes | str] = {
        FACTS: json.dumps({**facts, "states": tree}, indent=1) + "\n",
        ARRAYS: save(arrays),
    }
    return files | ({ESTIMATORS: _dumped(estimators)} if estimators else {})


def unpacked(files: Mapping[str, bytes | str]) -> tuple[dict[str, Any], dict[str, State]]:
    """The facts of the whole, and the states by name, that ``packed`` made files of.

    Raises:
        BenchError: the estimators are made of classes that are not known.
        ValueError, KeyError, TypeError: these are no such files.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    whole = json.loads(files[FACTS])
    try:
        arrays = load(files[ARRAYS])  # type: ignore[arg-type]
    except SafetensorError as error:
        raise ValueError(str(error)) from error
    estimators = _loaded(files[ESTIMATORS]) if ESTIMATORS in files else {}  # type: ignore[arg-type]
    return whole, {name: _state(name, tree, arrays, estimators) for name, tree in whole.pop("states").items()}


def _state(name: str, tree: Any, arrays: Mapping[str, np.ndarray], estimators: Mapping[str, Any]) -> State:
    return State(
        tree["facts"],
        {
            key: np.asarray(arrays[f"{name}/{key}"], order="F" if key in tree["columns"] else "C")
            for key in tree["arrays"]
        },
        {key: estimators[f"{name}/{key}"] for key in tree["estimators"]},
        {key: _state(f"{name}/{key}", part, arrays, estimators) for key, part in tree["parts"].items()},
        tree["kind"],
        tree["module"],
    )


def _skops() -> Any:
    try:
        import skops.io
    except ImportError as error:
        raise NotKept("estimators are saved by skops, which is not installed: pip install skops") from error
    return skops.io


def _dumped(estimators: dict[str, Any]) -> bytes:
    io = _skops()
    try:
        content: bytes = io.dumps(estimators)
    except Exception as error:  # whatever the code of an estimator raises
        raise NotKept(f"an estimator cannot be saved by skops ({type(error).__name__}: {error})") from error
    if unknown := list(_unknown(io.get_untrusted_types(data=content))):
        raise NotKept(f"an estimator is made of {', '.join(unknown)}, which no model is read with")
    return content


def _loaded(content: bytes) -> dict[str, Any]:
    io = _skops()
    found = io.get_untrusted_types(data=content)
    if unknown := list(_unknown(found)):
        raise BenchError(
            f"{ESTIMATORS} asks for {', '.join(unknown)}, and only classes of {', '.join(LIBRARIES)} are made of a "
            "file: it is not read"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of another version of scikit-learn: predict.py says it in a line
        estimators: dict[str, Any] = io.loads(content, trusted=found)
    return estimators


def _unknown(names: list[str]) -> Iterator[str]:
    """Those of the names of types that are neither classes of ``LIBRARIES`` nor containers."""
    for name in sorted(set(names) - set(CONTAINERS)):
        module, _, attribute = name.rpartition(".")
        known = module.partition(".")[0] in LIBRARIES
        try:
            known = known and isinstance(getattr(importlib.import_module(module), attribute), type)
        except (ImportError, AttributeError, ValueError):
            known = False
        if not known:
            yield name
