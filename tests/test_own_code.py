"""Methods and backbones of a user's own that are wrong: the message says what is asked, before hours are spent."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import nn

from imbalance_bench.backbones.base import Backbone
from imbalance_bench.backbones.network import Network
from imbalance_bench.cells import logged
from imbalance_bench.engine import Engine
from imbalance_bench.errors import BenchError
from imbalance_bench.methods.base import Method
from imbalance_bench.plugins import in_own_code
from tests.tasks import backbone, task, trainer

TASKS = [task(0), task(1)]


def fit(method, net=None, tasks=TASKS, **options):
    method.__class__.name = "own"
    return method.fit(tasks, net or backbone(), Engine(trainer(epochs=1, **options), "cpu"))


def with_hook(hook, function):
    return type("Own", (Method,), {hook: function})()


@pytest.mark.parametrize(
    "hook, function, message",
    [
        (
            "loss",
            lambda self, z, y, state: z.mean(),
            r"one value a sample: logits .*, not their mean .* gave float32 \(\)",
        ),
        (
            "loss",
            lambda self, z, y, state: z,
            r"one value a sample: .* for labels \(2, \d+\) this one gave float32 \(2, ",
        ),
        ("loss", lambda self, z, y, state: 0.5, "one value a sample: .* this one gave a float"),
        ("batch_loss", lambda self, stack, b, state: stack(b.x).mean(), r"one number a run, \(2,\), and not \(\)"),
        ("batch_loss", lambda self, stack, b, state: 0.5, r"one number a run, \(2,\), and not a float"),
        ("sampler", lambda self, y, size, g: torch.arange(len(y)), r"int64 \(steps, batch\), .* gave int64 \("),
        ("sampler", lambda self, y, size, g: torch.full((1, 4), len(y)), r"of (\d+) rows .* from \1 to \1"),
        ("sampler", lambda self, y, size, g: [[0, 1]], "gave a list"),
        ("resample", lambda self, t, rows: rows.x, r"resample of method=own gives a Part: .* gave a ndarray"),
        (
            "resample",
            lambda self, t, rows: replace(rows, y=rows.y[:-1]),
            r"gives a Part: x \(n, \d+\), y \(n,\) of int64",
        ),
        ("resample", lambda self, t, rows: replace(rows, y=rows.y + 1), "classes 0 to 1; this one gave .* from 1 to 2"),
        ("resample", lambda self, t, rows: rows.take(np.arange(0)), "n above 0"),
    ],
)
def test_a_wrong_hook_is_told_what_is_asked_of_it(hook, function, message):
    with pytest.raises(BenchError, match=message):
        fit(with_hook(hook, function))


class Wide(nn.Module):
    def __init__(self, features, outputs):
        super().__init__()
        self.body = nn.Linear(features, outputs)

    def forward(self, x):
        return self.body(x)


class Narrow(Network):
    def __init__(self, classes, head):
        super().__init__(7, classes, head)

    def embed(self, x):
        return x


def built_by(function):
    return dataclass(type("Own", (Backbone,), {"build": function, "name": "own"}))()


@pytest.mark.parametrize(
    "build, message",
    [
        (
            lambda self, shape, classes: Wide(shape[0], 2),
            r"backbone=own needs build\(self, shape, classes, head\), .*too many",
        ),
        (lambda self, shape, classes, head: None, "gives an nn.Module; this one gives a NoneType"),
        (lambda self, shape, classes, head: Wide(shape[0], 1), r"Wide gives \(\d+, 1\) for \d+ rows and 2 classes"),
        (lambda self, shape, classes, head: Wide(shape[0], 3), r"Wide gives \(\d+, 3\) for \d+ rows and 2 classes"),
        (lambda self, shape, classes, head: Narrow(classes, head), r"Narrow.embed gives \d+ features .* made for 7"),
    ],
)
def test_a_wrong_backbone_is_told_what_is_asked_of_it(build, message):
    with pytest.raises(BenchError, match=message):
        fit(with_hook("posthoc", Method.posthoc), built_by(build))


def test_an_ordinary_module_is_a_backbone():
    (one, two) = fit(
        with_hook("posthoc", Method.posthoc), built_by(lambda self, shape, classes, head: Wide(shape[0], 2))
    )
    assert one.scores(TASKS[0].valid.x).shape == (len(TASKS[0].valid), 2) and not two.failure


def test_an_exception_names_the_line_of_the_users_code():
    with pytest.raises(ZeroDivisionError) as raised:
        fit(with_hook("loss", lambda self, z, y, state: z / (1 // 0)))
    assert in_own_code(raised.value, ["elsewhere"]).startswith("ZeroDivisionError: ")
    assert "own code" not in in_own_code(raised.value, ["elsewhere"])
    assert "(in your own code: " + __file__ in in_own_code(raised.value, [__name__])


class Short(Method):
    name = "own"

    def resample(self, task):
        return task.train


def test_a_hook_that_takes_other_arguments_is_told_which(tmp_path):
    """The call fails before the first line of the user's code, so that no frame is of it."""
    with pytest.raises(TypeError) as raised:
        fit(Short())
    message = in_own_code(raised.value, [__name__])
    line = Short.resample.__code__.co_firstlineno
    assert message == (
        "TypeError: Short.resample() takes 2 positional arguments but 3 were given (in your own code: "
        f"{__file__}, line {line}; it must be def resample(self, task: Task, rows: Part) -> Part)"
    )
    assert in_own_code(raised.value, ["elsewhere"]).endswith("were given")
    with pytest.raises(TypeError) as raised:
        Short().resample(1, 2)
    assert in_own_code(raised.value, [__name__]).endswith(
        "in test_a_hook_that_takes_other_arguments_is_told_which)"  # the wrong call is the user's own
    )
    with pytest.raises(TypeError) as raised:
        len(1)
    assert in_own_code(raised.value, ["elsewhere"]) == "TypeError: object of type 'int' has no len()"


def test_a_warning_is_told_at_once_and_kept(capsys):
    lines = []
    with logged(lines):
        logging.getLogger("imbalance_bench").warning("the generator has %s", "collapsed")
        logging.getLogger("imbalance_bench").info("fine")
    assert capsys.readouterr().err == "warning: the generator has collapsed\n"
    assert [line.split(" ", 2)[2] for line in lines] == ["the generator has collapsed", "fine"]
