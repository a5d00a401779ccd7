"""Every key of every option × values that are wrong for most of them: each is refused by a BenchError that names the
key, or it lies within what the field declares; and no other exception comes later, from a hash, a plan or a training.

A seeded sample by default; all of it under the ``slow`` marker.
"""

from __future__ import annotations

import copy
import dataclasses
import math
import operator
import random
import types
import typing
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import annotated_types
import pytest
from omegaconf import OmegaConf

from imbalance_bench.data.tasks import make_runs
from imbalance_bench.engine import Engine
from imbalance_bench.errors import BenchError
from imbalance_bench.options import hints
from imbalance_bench.registry import GROUPS, METHODS, build
from imbalance_bench.settings.config import REGISTRIES, Trainer, from_omegaconf, label_of, plain_of
from imbalance_bench.settings.identity import cell_id
from tests.cells import composed
from tests.tasks import option as alone
from tests.tasks import options_of, trainer
from tests.test_methods_contract import declines, network, pair, quick

VALUES = [
    math.nan, math.inf, -math.inf, -1, -0.5, 0, 0.5, 1, 1e38, 1e308, -1e308, 10**30, True, "text", "",
    [], [math.nan], [-1], ["text"], None, {}, {"a": 1},
]  # fmt: skip
OPTIONS = [(group, label_of(option)) for group in (*GROUPS, "tracker") for option in options_of(group)]


@cache
def option(group: str, label: str) -> dict[str, Any]:
    """The keys of an option; a tracker's refer to paths."""
    if group != "tracker":
        return alone(group, label)
    return OmegaConf.to_container(composed(f"tracker={label}"), resolve=True)["tracker"]


@dataclass(frozen=True)
class Case:
    """An option with one key (of a component within it: the path to the key) at another value."""

    group: str
    label: str
    key: tuple[str, ...]
    value: Any

    @property
    def options(self) -> dict[str, Any]:
        made = copy.deepcopy(option(self.group, self.label))
        within = made
        for key in self.key[:-1]:
            within = within[key]
        within[self.key[-1]] = copy.deepcopy(self.value)
        return made

    def __str__(self) -> str:
        return f"{self.group}={self.label} {self.group}.{'.'.join(self.key)}={self.value!r}"


def keys(options: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    for key, value in options.items():
        if key != "label":
            yield (key,)
            if isinstance(value, dict) and "name" in value:
                yield from ((key, *inner) for inner in keys(value))


def cases(options: list[tuple[str, str]]) -> list[Case]:
    return [Case(*one, key, value) for one in options for key in keys(option(*one)) for value in VALUES]


def one_a_class() -> list[tuple[str, str]]:
    """The first option of each registered component."""
    first: dict[tuple[str, str], tuple[str, str]] = {}
    for group, label in OPTIONS:
        first.setdefault((group, option(group, label).get("name", group)), (group, label))
    return list(first.values())


def make(case: Case) -> Any:
    return (
        build(Trainer, case.options, "trainer")
        if case.group == "trainer"
        else REGISTRIES[case.group].build(case.options)
    )


@dataclass
class Findings:
    """What came of the cases: how many of each outcome, and those that are wrong."""

    count: Counter = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def attempt(self, case: object, action: typing.Callable[[], Any]) -> Any:
        """What ``action`` returns; None where it is refused."""
        self.count["tried"] += 1
        try:
            made = action()
        except BenchError:
            self.count["refused"] += 1
            return None
        except Exception as error:
            self.count["exceptions"] += 1
            self.wrong.append(f"{case}: {type(error).__name__}: {error}")
            print(self.wrong[-1], flush=True)
            return None
        self.count["accepted"] += 1
        return made

    def judge(self, case: Case, made: Any) -> None:
        if (
            len(case.key) == 1
            and case.key[0] in hints(type(made))
            and not fits(hints(type(made))[case.key[0]], getattr(made, case.key[0]))
        ):
            self.count["silent acceptances"] += 1
            self.wrong.append(f"{case} is accepted")

    def report(self) -> None:
        counts = {"tried": 0, "refused": 0, "accepted": 0, "exceptions": 0, "silent acceptances": 0} | self.count
        print("\n" + ", ".join(f"{name} {n}" for name, n in counts.items()))
        assert not self.wrong, "\n".join(self.wrong)


LIMITS = {"ge": operator.ge, "gt": operator.gt, "le": operator.le, "lt": operator.lt}


def fits(hint: Any, value: Any) -> bool:
    """Whether a field's value is what its annotation says: the judge, which shares no code with ``options``."""
    limits: list[Any] = []
    if typing.get_origin(hint) is Annotated:
        for mark in hint.__metadata__:
            limits += [mark] if isinstance(mark, (str, annotated_types.BaseMetadata)) else list(mark)
        hint = hint.__origin__
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(fits(Annotated[(arg, *limits)] if limits else arg, value) for arg in args)
    if hint is Any:  # of a user's own table: a class may be called nan
        return True
    if hint is type(None) or value is None:
        return value is None and hint is type(None)
    if origin is typing.Literal:
        right = value in args and type(value) in {type(a) for a in args}
    elif origin in (list, tuple):
        right = isinstance(value, origin) and all(fits(args[0], v) for v in value)
    elif origin is dict:
        right = isinstance(value, dict) and all(fits(args[0], k) and fits(args[1], v) for k, v in value.items())
    else:
        right = type(value) is hint
    finite = not isinstance(value, float) or math.isfinite(value)
    for mark in limits:
        for name, holds in LIMITS.items():
            right = right and (not hasattr(mark, name) or holds(value, getattr(mark, name)))
        right = right and len(value) >= mark.min_length if hasattr(mark, "min_length") else right
        right = right and len(value) <= mark.max_length if getattr(mark, "max_length", None) is not None else right
    return right and finite


def sample(many: list[Any], n: int) -> list[Any]:
    return random.Random(0).sample(many, min(n, len(many)))


# What is built and planned


def build_all(chosen: list[Case]) -> None:
    found = Findings()
    plain = plain_of(OmegaConf.to_container(composed(), resolve=True))
    for case in chosen:
        made = found.attempt(case, lambda case=case: make(case))
        if made is not None:
            found.judge(case, made)
        if case.group != "tracker":
            changed = plain | {case.group: {"label": case.label} | case.options}
            found.attempt(f"id of {case}", lambda changed=changed: cell_id(changed))  # is asked for before it is built
        if made is not None and case.group in ("ratio", "protocol"):
            parts = {g: REGISTRIES[g].build(plain[g]) for g in ("ratio", "protocol")} | {case.group: made}
            found.attempt(
                f"split by {case}", lambda parts=parts: make_runs(wine(), parts["ratio"], parts["protocol"], 0)
            )
    found.report()


@cache
def wine() -> Any:
    return REGISTRIES["dataset"].build(option("dataset", "wine")).load(Path("nowhere"))


def test_a_sample_of_wrong_values_is_refused_or_within_its_range():
    build_all(sample(cases(one_a_class()), 150))


@pytest.mark.slow
def test_every_wrong_value_of_every_option_is_refused_or_within_its_range():
    build_all(cases(OPTIONS))


# What is trained


def fit_all(chosen: list[Case]) -> None:
    found = Findings()
    for case in chosen:
        label = case.label if case.group == "method" else "cross_entropy"
        made = next((made for made in ("table", "texts", "images") if not declines(label, made)), None)
        if made is not None:
            found.attempt(f"fit of {case}", lambda case=case, made=made: fit(case, made))
    found.report()


def fit(case: Case, made: str) -> None:
    """Trains two runs on a made-up task, with less to do but for the key in question."""
    settings: Any = trainer(epochs=2)
    method = METHODS.build(option("method", "cross_entropy"))
    if case.group == "trainer":
        settings = make(dataclasses.replace(case, value=case.value))
    else:
        method = METHODS.build(quick(case.options) | {case.key[0]: case.options[case.key[0]]})
    tasks = pair(made)
    if any(method.declines(t) for t in tasks):
        return
    for classifier in method.fit(tasks, network(made), Engine(settings, "cpu")):
        if not classifier.failure:
            for readout in classifier.readouts:
                classifier.scores(tasks[0].valid.x, readout)


def accepted(groups: tuple[str, ...], options: list[tuple[str, str]]) -> list[Case]:
    """The cases that a build accepts."""
    made = []
    for case in cases([one for one in options if one[0] in groups]):
        if case.key == ("compile",):
            continue  # half a minute each, and a matter of whether there is a compiler
        try:
            make(case)
        except BenchError:
            continue
        made.append(case)
    return made


def test_a_sample_of_unusual_values_trains_or_says_why_not():
    fit_all(sample(accepted(("method", "trainer"), one_a_class()), 8))


@pytest.mark.slow
def test_every_unusual_value_trains_or_says_why_not():
    fit_all(accepted(("method", "trainer"), one_a_class()))


# The keys outside the groups


def test_wrong_values_outside_the_groups_are_refused():
    found, right = Findings(), []
    whole = OmegaConf.to_container(composed(), resolve=True)
    for key in (*whole, "paths.data", "paths.outputs"):
        for value in VALUES:
            if key in (*GROUPS, "tracker") and isinstance(value, dict):
                continue  # its keys are looked at where it is built
            changed = copy.deepcopy(whole)
            within, _, last = key.rpartition(".")
            (changed[within] if within else changed)[last] = copy.deepcopy(value)
            case = f"{key}={value!r}"
            if found.attempt(case, lambda changed=changed: from_omegaconf(OmegaConf.create(changed))) is not None:
                right.append(case)
    found.report()
    assert right == [
        "seed=0", "seed=1", "device='text'", "cost=0.5", "cost=1", "checkpoint_minutes=0",
        "checkpoint_minutes=0.5", "checkpoint_minutes=1", "checkpoint_minutes=1e+38", "calibration=[]", "save=True",
        "slices=[]", "slices=['text']", "plugins=[]", "paths.data='text'", "paths.outputs='text'",
    ]  # fmt: skip


def test_every_number_declares_its_range():
    """A number without one takes any: none is left so by oversight."""
    free = []
    for group, registry in (*REGISTRIES.items(), ("trainer", None)):
        for cls in [registry.get(name) for name in registry.names()] if registry else [Trainer]:
            for key, declared in typing.get_type_hints(cls, include_extras=True).items():
                if key in {f.name for f in dataclasses.fields(cls)} and bare(declared):
                    free.append(f"{group} {cls.__name__}.{key}")
    assert not free


def bare(hint: Any) -> bool:
    """Whether an annotation has an int or a float in it without a limit."""
    if typing.get_origin(hint) is Annotated:
        limited = any(not isinstance(mark, str) for mark in hint.__metadata__)
        return not (limited and hint.__origin__ in (int, float)) and bare(hint.__origin__)
    return hint in (int, float) or any(
        bare(arg) for arg in typing.get_args(hint) if typing.get_origin(hint) is not typing.Literal
    )
