"""Types of options: what a key may be, declared where the key is, checked and described here.

An option is a field of a dataclass. Its annotation says its type and, where the type alone allows too much, its range,
with the markers of ``annotated_types`` (``Ge(1)``: at least 1, ``Gt``, ``Le``, ``Lt``, ``Interval``, ``Len``,
``MultipleOf``) or with a name below; a string says what the value is about::

    epochs: Count
    share: Annotated[Share, "of trainer.epochs"]
    alpha: Annotated[Fraction | None, "null: no weights"]
    betas: Annotated[tuple[BelowOne, ...], Len(2, 2)]
    momentum: Annotated[NonNegative, OnlyWith("optimiser", ("sgd",), otherwise=0.0)]

``registry.build`` checks each value (``coerce``); ``--help`` and docs/options.md show the same words (``describe``).
nan, what float32 does not hold, and whole numbers of more than 64 bits are values of no option.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Hashable, Mapping
from functools import cache
from types import MappingProxyType
from typing import Annotated, Any, cast

from annotated_types import BaseMetadata, Ge, GroupedMetadata, Gt, Interval, Le, Len, Lt, MaxLen, MinLen, MultipleOf

from imbalance_bench.errors import BenchError

__all__ = ["Ge", "Gt", "Interval", "Le", "Len", "Lt", "MinLen", "MultipleOf"]

Count = Annotated[int, Ge(1)]
Whole = Annotated[int, Ge(0)]
Seed = Annotated[int, Interval(ge=0, lt=2**32)]
Positive = Annotated[float, Gt(0)]
NonNegative = Annotated[float, Ge(0)]
Fraction = Annotated[float, Interval(ge=0, le=1)]
Share = Annotated[float, Interval(gt=0, lt=1)]
BelowOne = Annotated[float, Interval(ge=0, lt=1)]
Betas = Annotated[tuple[BelowOne, ...], Len(2, 2)]  # of Adam
Text = Annotated[str, MinLen(1)]

NOUNS = {
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    bool: ("true or false", "of true and false"),
    str: ("text", "texts"),
    dict: ("a mapping", "mappings"),
    type(None): ("null", "nulls"),
    Any: ("any value", "values"),
}


LARGEST = 3.4e38  # of float32, which networks compute in


@dataclasses.dataclass(frozen=True)
class OnlyWith(BaseMetadata):
    """Marks an option that plays a part only where another one, ``key``, is (of a list: has) one of ``values``; none
    given: where it is anything but null, false, 0 and empty. Elsewhere a value other than ``otherwise``, its default,
    changes nothing but a cell's id, which a warning says."""

    key: str
    values: tuple[Any, ...] = ()
    otherwise: Any = None

    def plays(self, value: Any) -> bool:
        """Whether the option plays a part where the other one has this value."""
        if not self.values:
            return bool(value)
        return bool(set(self.values) & set(value if isinstance(value, (tuple, list)) else (value,)))

    def __str__(self) -> str:
        return f"only with {self.key}" + (f"={' or '.join(map(str, self.values))}" if self.values else "")


def idle(component: Any, where: str) -> str:
    """Says which options of a component of ``where`` play no part and are not at their default; "" where none is."""
    values = {key: getattr(component, key) for key in hints(type(component))}
    marks = {
        key: mark
        for key, hint in hints(type(component)).items()
        for mark in getattr(hint, "__metadata__", ())
        if isinstance(mark, OnlyWith) and not mark.plays(values[mark.key]) and values[key] != mark.otherwise
    }
    if not marks:
        return ""
    others = {mark.key: f"{where}.{mark.key}={shown(values[mark.key])}" for mark in marks.values()}
    given = ", ".join(f"{where}.{key}={shown(values[key])} ({mark})" for key, mark in marks.items())
    default = " ".join(f"{where}.{key}={_bare(mark)}" for key, mark in marks.items())
    return (
        f"with {', '.join(others.values())}, {given} changes nothing but the cell's id: {default} is the cell that "
        "others have"
    )


def _bare(mark: OnlyWith) -> str:
    """The default as a command line has it."""
    return shown(mark.otherwise).replace("'", "").replace(", ", ",")


class Wrong(Exception):
    """A value that is not what its annotation says; ``at``: where in it, e.g. ``[1]``."""

    def __init__(self, value: Any, at: str = "") -> None:
        self.value, self.at = value, at


def hints(cls: type) -> Mapping[str, Any]:
    """The annotations of a dataclass's options, in their order."""
    return _hints(cast(Hashable, cls))


@cache
def _hints(cls: Any) -> Mapping[str, Any]:
    known = typing.get_type_hints(cls, include_extras=True)
    return MappingProxyType({f.name: known[f.name] for f in dataclasses.fields(cls) if f.init})


def check(hint: Any, value: Any, key: str) -> Any:
    """``value`` as ``hint`` has it (a float for 1, a tuple for a list); BenchError names the key and what it may be."""
    try:
        return coerce(hint, value)
    except Wrong as wrong:
        large = isinstance(wrong.value, float) and not abs(wrong.value) <= LARGEST
        finite = ", and finite (in float32)" if large else ""
        where = f": {wrong.at} is {shown(wrong.value)}" if wrong.at else ""
        raise BenchError(f"{key}={shown(value)} must be {describe(hint)}{finite}{where}") from None


def coerce(hint: Any, given: Any) -> Any:
    """A value as its annotation has it (a float for 1, a tuple for a list).

    Raises:
        Wrong: the annotation does not allow it, or a part of it.
    """
    value = given
    base, limits, _ = _parts(hint)
    origin, args = typing.get_origin(base), typing.get_args(base)
    if base is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        value = _first_that_fits([a for a in args if a is not type(None)], value)
    elif origin is typing.Literal:
        if not any(value == a and type(value) is type(a) for a in args):
            raise Wrong(value)
    elif origin in (tuple, list):
        if not isinstance(value, (tuple, list)):
            raise Wrong(value)
        value = origin(_inside(args[0], v, f"[{i}]") for i, v in enumerate(value))
    elif origin is dict:
        if not isinstance(value, dict):
            raise Wrong(value)
        value = {_inside(args[0], k, f"key {k}"): _inside(args[1], v, f"[{k}]") for k, v in value.items()}
    else:
        value = _scalar(origin or base, value)
    if not all(_holds(limit, value) for limit in limits):
        raise Wrong(given)
    return value


def _first_that_fits(options: list[Any], value: Any) -> Any:
    """Of ``float | int``, 1 stays a whole number: the value's own type comes first."""
    options = sorted(options, key=lambda option: _parts(option)[0] is not type(value))
    for option in options[:-1]:
        try:
            return coerce(option, value)
        except Wrong:
            continue
    return coerce(options[-1], value)


def _inside(hint: Any, value: Any, at: str) -> Any:
    try:
        return coerce(hint, value)
    except Wrong as wrong:
        raise Wrong(wrong.value, at + wrong.at) from None


def _scalar(kind: Any, value: Any) -> Any:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if whole and not -(2**63) <= value < 2**63:
        raise Wrong(value)
    if kind is float and whole:
        value = float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise Wrong(value)
    if kind is float and not abs(value) <= LARGEST:  # nan too
        raise Wrong(value)
    return value


def _parts(hint: Any) -> tuple[Any, list[Any], list[str]]:
    """The type of an annotation, its limits and its notes."""
    if typing.get_origin(hint) is not Annotated:
        return hint, [], []
    limits: list[Any] = []
    notes = []
    for mark in hint.__metadata__:
        if isinstance(mark, (str, OnlyWith)):
            notes.append(str(mark))
        else:
            limits += list(mark) if isinstance(mark, GroupedMetadata) else [mark]
    return hint.__origin__, limits, notes


def _holds(limit: Any, value: Any) -> bool:
    match limit:
        case Ge():
            return value >= limit.ge
        case Gt():
            return value > limit.gt
        case Le():
            return value <= limit.le
        case Lt():
            return value < limit.lt
        case MultipleOf():
            return value % limit.multiple_of == 0
        case MinLen():
            return len(value) >= limit.min_length
        case MaxLen():
            return len(value) <= limit.max_length
    raise TypeError(f"{limit} is not a limit that options know")


# Words


def describe(hint: Any) -> str:
    """Describes the values that an option may have, e.g. "a whole number, at least 1, or null (null: all)"."""
    base, limits, notes = _parts(hint)
    origin, args = typing.get_origin(base), typing.get_args(base)
    if origin in (typing.Union, types.UnionType):
        several = [describe(a) for a in args]
        comma = ", " if any("," in text for text in several) else " "
        text = f"{comma}or ".join(several)
    elif origin is typing.Literal:
        text = f"one of {', '.join(shown(a).strip(chr(39)) for a in args)}"
    elif origin in (tuple, list):
        text = _list(args[0], limits)
    elif origin is dict:
        text = f"a mapping {{{describe(args[0])}: {describe(args[1])}}}"
    else:
        text = ", ".join(filter(None, (NOUNS[origin or base][0], _range(limits))))
    return text + "".join(f" ({note})" for note in notes)


def _list(element: Any, limits: list[Any]) -> str:
    least = max([m.min_length for m in limits if isinstance(m, MinLen)], default=0)
    most = min([m.max_length for m in limits if isinstance(m, MaxLen)], default=None)
    if least == most:
        return f"a list of {least} {_plural(element)}"
    sizes = {0: "", 1: "one or more "}.get(least, f"at least {least} ")
    return f"a list of {sizes}{_plural(element)}" + ("" if most is None else f", at most {most}")


def _plural(hint: Any) -> str:
    base, limits, notes = _parts(hint)
    noun = NOUNS.get(typing.get_origin(base) or base)
    if noun is None:  # a choice, or one type of several
        return f"values, each {describe(hint)}"
    limit = _range(limits)
    return noun[1] + (f", each {limit}" if limit else "") + "".join(f" ({note})" for note in notes)


def _range(limits: list[Any]) -> str:
    low = [f"at least {m.ge}" if isinstance(m, Ge) else f"above {m.gt}" for m in limits if isinstance(m, (Ge, Gt))]
    high = [
        f"at most {m.le}" if isinstance(m, Le) else f"below {_power(m.lt)}" for m in limits if isinstance(m, (Le, Lt))
    ]
    other = [f"a multiple of {m.multiple_of}" for m in limits if isinstance(m, MultipleOf)]
    other += ["not empty" for m in limits if isinstance(m, MinLen)]
    return " and ".join(low + high + other)


def _power(number: Any) -> str:
    large = isinstance(number, int) and number > 2**16 and number.bit_count() == 1
    return f"2^{number.bit_length() - 1}" if large else str(number)


def shown(value: Any) -> str:
    """A value as a person writes it in YAML, cut where it is long."""
    text = written(value)
    return text if len(text) <= 100 else text[:99] + "…"


def written(value: Any) -> str:
    """A value as a person writes it in YAML."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(written, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{k}: {written(v)}' for k, v in value.items())}}}"
    if isinstance(value, int) and abs(value) >= 10**20:
        return f"{value:.0e}" if abs(value) < 10**300 else "a number of more than 300 digits"
    return repr(value)


def key_of(override: str) -> str:
    """The key that a word of the command line sets or removes: "+method.gamma=2" → "method.gamma"."""
    return override.lstrip("+~").partition("=")[0]


def flatten(options: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Nested options by their dotted keys: {"method": {"gamma": 2}} → {"method.gamma": 2}."""
    flat: dict[str, Any] = {}
    for key, value in options.items():
        flat |= flatten(value, f"{above}{key}.") if isinstance(value, Mapping) else {f"{above}{key}": value}
    return flat
