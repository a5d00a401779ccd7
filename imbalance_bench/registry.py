"""Name → class, filled by a decorator, and the one place where a YAML mapping becomes a typed object.

A registered class is a dataclass whose fields are the keys of its YAML file. Fields have no defaults: the YAML file is
the one home of a default, so that what a run used can be read in one place.
"""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from typing import Any, Literal, TypeVar

from imbalance_bench.errors import BenchError, suggestion
from imbalance_bench.options import check, hints, shown

T = TypeVar("T")

# Keys that came after ids had been given out, with the value at which they change nothing: there they are left out of
# the hash, so that earlier ids stay; and a configuration that was saved without them has them so.
NEUTRAL: dict[str, dict[str, Any]] = {
    "dataset": {
        **dict.fromkeys(("encoding", "separator", "decimal", "thousands", "group", "time")),
        "missing": [],
        "categorical": [],
    },
}

SEARCH = "search"  # beside the keys of an option: the values of each that scripts/search.py tries


class Registry:
    """One kind of component, e.g. ``Registry("method", "imbalance_bench.methods")``.

    The modules of ``package`` are imported at the first look-up, not before, so that commands that build nothing
    (``--help``, ``status``, ``report``) do not pay for torch.
    """

    def __init__(self, kind: str, package: str, shared: Mapping[str, Any] | None = None) -> None:
        """``shared``: keys that every option has and no class, unless it declares them, with what they may be."""
        self.kind = kind
        self.package = package
        self.shared = shared or {}
        self._base: type = object
        self._classes: dict[str, type] = {}
        self._loaded = False

    def register(self, name: str) -> Callable[[type[T]], type[T]]:
        """Decorates a class that options call by this ``name``, which becomes an attribute of it.

        Raises:
            BenchError: another class has the name.
        """

        def add(cls: type[T]) -> type[T]:
            known = self._classes.get(name)
            if known is not None and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
                raise BenchError(f"{self.kind} {name!r} is registered twice: {known.__module__} and {cls.__module__}")
            self._classes[name] = cls
            cls.name = name  # type: ignore[attr-defined]  # what error messages call it
            return cls

        return add

    def base(self, cls: type[T]) -> type[T]:
        """Decorates the class that says what those of this kind state, with defaults. A class that does not inherit it
        is given what it lacks."""
        self._base = cls
        return cls

    def registered(self) -> list[type]:
        """The classes so far; the package's own only once something was looked up."""
        return list(self._classes.values())

    def names(self) -> list[str]:
        """The names of all classes, sorted."""
        self._load()
        return sorted(self._classes)

    def get(self, name: str) -> type:
        """The class of a name; what it lacks of ``base``'s attributes it is given, at their defaults.

        Raises:
            BenchError: no class has the name.
        """
        self._load()
        if not isinstance(name, str) or name not in self._classes:
            raise BenchError(
                f"unknown {self.kind} name={shown(name)}: {suggestion(str(name), self._classes)}\n  one of your own is "
                f"registered by its module: plugins=[<module>], with @{self.kind.upper()}S.register({shown(name)}) "
                "above the class"
            )
        cls = self._classes[name]
        if not issubclass(cls, self._base):
            for key, default in vars(self._base).items():
                if not key.startswith("__") and not hasattr(cls, key):
                    setattr(cls, key, default)
        return cls

    def build(self, options: Any, where: str = "") -> Any:
        """The object that a YAML mapping describes: ``name`` chooses the class, the other keys are its fields.
        ``where``: the key that holds the mapping, if not the group's own (method.resampler)."""
        where = where or self.kind
        options = mapping(options, where)
        if "name" not in options:
            near = suggestion(str(options.get("label", "")), self.names())
            raise BenchError(f"{where} needs a name: {near}")
        cls = self.get(options.pop("name"))
        stated, typed = vars(cls), vars(cls).get("__annotations__", {})
        declared = any(key not in stated and "ClassVar" not in str(hint) for key, hint in typed.items())
        if "__dataclass_fields__" not in stated and (declared or not is_dataclass(cls)):
            register = f"@{self.kind.upper()}S.register"
            raise BenchError(f"{cls.__qualname__} is no dataclass: write @dataclass(frozen=True) below {register}(...)")
        own = {field.name for field in dataclasses.fields(cls)}
        later = {key: value for key, value in NEUTRAL.get(self.kind, {}).items() if key in own}
        for key in [key for key in self.shared if key in options and key not in own]:
            check(self.shared[key], options.pop(key), f"{where}.{key}")
        return build(cls, later | options, where)

    def _load(self) -> None:
        if self._loaded:
            return
        package = importlib.import_module(self.package)
        for module in pkgutil.iter_modules(getattr(package, "__path__", [])):
            importlib.import_module(f"{self.package}.{module.name}")
        self._loaded = True


def mapping(value: Any, where: str) -> dict[str, Any]:
    """A copy of what must be a mapping of keys."""
    if not isinstance(value, Mapping):
        raise BenchError(f"{where}={shown(value)} must be a mapping of keys; {where}.<key>=<value> changes one of them")
    return dict(value)


def build(cls: type[T], options: Mapping[str, Any], where: str) -> T:
    """A dataclass from a mapping; unknown and missing keys and values that ``options`` refuses are errors that name the
    override.

    ``label`` is for people (rows of tables, folders) and belongs to no class unless it declares it; ``search`` is for
    scripts/search.py and no class's.
    """
    fields = {f.name: f for f in dataclasses.fields(cls) if f.init}  # type: ignore[arg-type]
    options = {k: v for k, v in mapping(options, where).items() if k != SEARCH and (k != "label" or k in fields)}
    for key in options:
        if key not in fields:
            raise BenchError(f"unknown key {where}.{key}: {suggestion(str(key), fields)}")
    missing = [k for k, f in fields.items() if k not in options and f.default is dataclasses.MISSING]
    if missing:
        raise BenchError(
            f"missing key {where}.{missing[0]}: write it into the option's YAML file, or on the command line"
        )
    known = hints(cls)
    return cls(**{k: check(known[k], v, f"{where}.{k}") for k, v in options.items()})


METHODS = Registry("method", "imbalance_bench.methods")
DATASETS = Registry("dataset", "imbalance_bench.data.sources", shared={"copies": Literal["apart", "together"]})
BACKBONES = Registry("backbone", "imbalance_bench.backbones")
RATIOS = Registry("ratio", "imbalance_bench.data.ratio")
PROTOCOLS = Registry("protocol", "imbalance_bench.data.splits")
TRACKERS = Registry("tracker", "imbalance_bench.trackers")


# The groups that determine a result, in the order of a cell's name; each option has a label.
GROUPS = ("dataset", "ratio", "protocol", "backbone", "trainer", "method")
