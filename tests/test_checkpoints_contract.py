"""Every method goes on from a checkpoint to the numbers that it has without one, bit for bit.

A fit is stopped at its first, at a middle and at its last point, each time gone on with by fresh objects from what lies
on the disk.
"""

from __future__ import annotations

import numpy as np
import pytest
from omegaconf import OmegaConf

from imbalance_bench import checkpoints
from imbalance_bench.checkpoints import Checkpoints, keeping
from imbalance_bench.config import label_of
from imbalance_bench.methods import weob2
from imbalance_bench.registry import METHODS
from imbalance_bench.store import atomic_write
from tests.tasks import CONF, options_of
from tests.test_methods_contract import TASKS, built, declines, network, pair

# Methods with a training of their own, one of each way; all others are seen by ``make test-slow``.
QUICK = (
    "cross_entropy", "crt", "cwgan", "dos", "explicit_gradient", "iml", "lmle", "mesa", "meta_weight_net", "miso",
    "selectnet", "setconv", "weob2",
)  # fmt: skip
# Fits of a second or less a run, by libraries that show nothing of their state.
AT_ONCE = {"logistic_regression"}


class Stop(BaseException):
    """As a signal ends a process."""


class Stopping(Checkpoints):
    """Written at the ``at``-th point only, where the work stops."""

    def __init__(self, folder, at=0):
        super().__init__(folder, 0, lambda: {"cell": "this"}, atomic_write, lambda: 0.0)
        self.at, self.points = at, 0

    def point(self):
        self.points += 1
        if self.points == self.at:
            self.write(self.present())
            raise Stop


def one_of_each() -> dict[str, str]:
    """Registered name → an option of it."""
    found: dict[str, str] = {}
    for option in sorted(options_of("method"), key=lambda option: option.count("/")):
        name = OmegaConf.load(CONF / "method" / f"{option}.yaml").get("name")
        if name not in found or option == name:
            found[name] = label_of(option)
    assert set(METHODS.names()) <= set(found)
    return {name: found[name] for name in METHODS.names() if name not in AT_ONCE}


def results(label, made, of):
    """The scores of what a method makes, and the rest of it."""
    method, engine = built(label)
    with keeping(of):
        classifiers = method.fit(pair(made), network(made), engine)
    x = TASKS[made](5).valid.x
    scores = [c.scores(x, readout) for c in classifiers for readout in c.readouts]
    return scores, [(c.history, c.info, c.failure, c.readouts) for c in classifiers]


@pytest.mark.parametrize(
    "label",
    [
        pytest.param(label, id=name, marks=() if name in QUICK else pytest.mark.slow)
        for name, label in one_of_each().items()
    ],
)
def test_a_method_goes_on_where_it_stood(label, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "WARM", 0.0)
    monkeypatch.setattr(weob2, "CHUNK", 16)
    made = next((made for made in TASKS if not declines(label, made)), None)
    if made is None:
        pytest.skip("for regression")
    whole = Stopping(tmp_path / "none")
    scores, others = results(label, made, whole)
    taken = 0
    for at in sorted({1, whole.points // 2, whole.points - 1}):
        stopped = Stopping(tmp_path / "checkpoint", at - taken)
        with pytest.raises(Stop):
            results(label, made, stopped)
        taken = at
    last = Stopping(tmp_path / "checkpoint")
    again, rest = results(label, made, last)
    assert last.points == whole.points - taken < whole.points
    assert all(np.array_equal(a, b) for a, b in zip(scores, again, strict=True))
    assert rest == others
