"""Cells that share a program have the numbers that they have alone, and fail alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from imbalance_bench.bench.compare import option
from imbalance_bench.cells import Outcome, programs, run_cell
from imbalance_bench.cells.programs import Member, SharedData, alone, begun, fit_together, key, run_cells
from imbalance_bench.cells.recipe import Prepared, fit, prepare
from imbalance_bench.data.base import Part, Task
from imbalance_bench.engine import Engine
from imbalance_bench.errors import BenchError
from imbalance_bench.methods.base import Method
from imbalance_bench.registry import METHODS
from imbalance_bench.running.tally import DeviceLost
from imbalance_bench.settings.config import Config, Paths
from imbalance_bench.settings.identity import cell_id
from imbalance_bench.store import Store
from tests.cells import cell

EXACT = ("trainer.precision=float64", "trainer.epochs=4", "protocol.folds=2")
SMALL = ("dataset=breast_cancer", "ratio=ir_20")


class Unwilling(Method):
    def declines(self, task: Task) -> str | None:
        return "has other plans"


class Poisoned(Method):
    """Its training rows are not numbers."""

    def resample(self, task: Task, rows: Part) -> Part:
        return Part(np.full_like(rows.x, np.nan), rows.y, rows.ids)


class Broken(Method):
    """Its resampling raises ``error``."""

    error: Exception = KeyError("a mistake in somebody's own method")

    def resample(self, task: Task, rows: Part) -> Part:
        raise self.error


class Loss(Method):
    """Its loss raises ``error``."""

    error: Exception = ValueError("a mistake in somebody's own loss")

    def loss(self, logits: Any, labels: Any, state: Any) -> Any:
        raise self.error


@pytest.fixture
def own(monkeypatch):
    METHODS.names()  # the package's own first
    for name, cls in (("unwilling", Unwilling), ("poisoned", Poisoned), ("broken", Broken), ("loss", Loss)):
        monkeypatch.setitem(METHODS._classes, name, cls)


def varied(config: Config, seed: int = 0, **groups: dict[str, Any]) -> Config:
    """The cell with other options: ``method={...}`` whole, of other groups those that are named."""
    plain = deepcopy(config.plain) | {"seed": seed}
    for group, options in groups.items():
        plain[group] = options if group == "method" else plain[group] | options
    return replace(config, plain=plain)


def members(configs: Sequence[Config]) -> list[Member]:
    data = SharedData()
    made = [begun(place, config, data, ExitStack()) for place, config in enumerate(configs)]
    assert all(isinstance(member, Member) for member in made), [m for m in made if not isinstance(m, Member)]
    return made


def trained_alone(config: Config) -> Prepared:
    prepared = prepare(config)
    fit(prepared)
    return prepared


def assert_same(config: Config, together: Prepared) -> None:
    """Scores, history and chosen epoch of each run, to ten digits."""
    expected = trained_alone(config)
    assert together.cells > 1 and len(together.classifiers) == len(expected.classifiers) > 0
    for run, mine, its in zip(expected.runs, expected.classifiers, together.classifiers, strict=True):
        assert its.failure == mine.failure
        assert its.info == mine.info
        assert len(its.history) == len(mine.history)
        for ours, theirs in zip(mine.history, its.history):
            assert theirs == pytest.approx(ours, rel=1e-10, abs=1e-10, nan_ok=True)
        for readout in () if mine.failure else mine.readouts:
            scores = [c.scores(run.test.x, readout) for c in (its, mine)]
            np.testing.assert_allclose(*scores, rtol=1e-10, atol=1e-10)


def test_plain_methods_of_table_2_have_the_numbers_that_they_have_alone(tmp_path):
    labels = ["cross_entropy"]
    for name in ("random_oversampling", "smote", "adasyn", "borderline_smote"):
        labels += [name, f"{name}/balanced"]
    base = cell(tmp_path, *EXACT, *SMALL)
    configs = [varied(base, method=option("method", label)) for label in labels]
    configs += [varied(c, trainer={"rows": "train_valid"}) for c in configs[:2]]  # cross_entropy/train_valid, ...
    assert len({key(config) for config in configs}) == 1 and not any(map(alone, configs))
    group = members(configs)
    assert fit_together(group)
    for member in group:
        assert_same(member.work.config, member.cell)


def test_a_grid_of_rates_and_options_has_the_numbers_that_it_has_alone(tmp_path, own):
    """Twelve rates, the last of a cell that diverges; losses, decays, batch sizes, seeds and ratios differ too."""
    base, native = (cell(tmp_path, *EXACT, "dataset=breast_cancer", ratio) for ratio in ("ratio=ir_20", "ratio=native"))
    configs = []
    for i, lr in enumerate([1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 2e-2, 3e-2, 0.1, 0.3, 1e-3]):
        trainer = {"lr": lr, "weight_decay": i % 2 * 1e-3, "batch_size": 32 * (1 + i % 2)}
        trainer |= {4: {"schedule": "cosine"}, 5: {"schedule": "inverse_time", "decay": 0.1}}.get(i, {})
        focal = {"name": "focal", "label": "focal", "gamma": float(i % 4), "alpha": None}
        poisoned = {"name": "poisoned", "label": "poisoned"}
        method = focal if i < 11 else poisoned
        configs.append(varied(base if i % 5 else native, seed=i % 3, method=method, trainer=trainer))
    group = members(configs)
    assert fit_together(group)
    for member in group:
        assert_same(member.work.config, member.cell)
    assert all(c.failure for c in group[-1].cell.classifiers)
    # Runs on the same rows have the same parts, which lie on the device once.
    assert len({id(rows) for member in group[:-1] for rows in member.sets}) == 2 * 2


def test_several_classes_samplers_and_losses(tmp_path):
    names = ["balanced_softmax", "balanced_batches", "class_weighted", "logit_adjustment", "random_undersampling"]
    base = cell(tmp_path, *EXACT, "dataset=wine")
    group = members([varied(base, method=option("method", name)) for name in names])
    assert fit_together(group)
    for member in group:
        assert_same(member.work.config, member.cell)


def test_methods_that_begin_or_predict_otherwise(tmp_path):
    """One sigmoid a class begins at its share; margins have cosines, and logits that are scaled in the loss."""
    base = cell(tmp_path, *EXACT, "dataset=wine")
    balanced, margins = option("method", "class_balanced"), option("method", "ldam")
    chosen = [balanced, balanced | {"objective": "focal"}, option("method", "focal")]
    ldam = [varied(base, method=margins | {"max_margin": m}) for m in (0.3, 0.5)]
    for configs in ([varied(base, method=method) for method in chosen], ldam):
        assert len({key(config) for config in configs}) == 1 and not any(map(alone, configs))
        group = members(configs)
        assert fit_together(group)
        for member in group:
            assert_same(member.work.config, member.cell)
    assert key(varied(base, method=margins | {"scale": 10.0})) != key(ldam[0]) != key(base)


# How cells end


def ended(
    configs: Sequence[Config], began: list[int] | None = None, most_runs: int | None = None
) -> list[Outcome | BenchError]:
    """How the cells ended, in their order. ``began``: is given the places of those that were begun, in their order."""

    def begin(place: int) -> Config:
        if began is not None:
            began.append(place)
        return configs[place]

    found = dict(one for some in run_cells(len(configs), begin, most_runs) for one in some)
    assert list(found) != [] and sorted(found) == list(range(len(configs)))
    return [found[place] for place in range(len(configs))]


QUICK = ("protocol.folds=2", "dataset=wine")


def test_cells_are_grouped_at_the_place_of_the_first(tmp_path):
    """A cell that cannot be composed (None) or that has a wrong option is alone, without a reason."""
    words = ["method=focal", "method=setconv", "method=cross_entropy"]
    focal, own, plain = (cell(tmp_path, *SMALL, word) for word in words)
    wrong = varied(focal, method=focal.plain["method"] | {"gamma": -1})
    found, reasons = programs.groups([focal, None, own, wrong, plain])
    assert found == [[0, 4], [1], [2], [3]] and reasons == ["method=setconv has a training of its own"]


def test_each_cell_ends_as_it_does_alone(tmp_path, own):
    """Done before, worked on elsewhere, declined, failing before, in and after the program, diverging, damaged."""
    names = ["cross_entropy", "focal", "class_weighted", "method.name=unwilling", "method.name=broken"]
    names += ["method.name=loss", "balanced_softmax", "random_oversampling"]
    configs = [cell(tmp_path, *QUICK, n if "=" in n else f"method={n}") for n in names]
    configs += [cell(tmp_path, *QUICK, "method=focal", f"method.gamma={g}", "trainer.lr=1e30") for g in (4, 5)]
    configs.append(replace(configs[6]))
    before = run_cell(configs[0])
    damaged = Store(tmp_path).cell(configs[2].labels, cell_id(configs[2].plain)).path
    damaged.mkdir(parents=True)
    (damaged / "record.json").write_text("{")
    began: list[int] = []
    with Store(tmp_path).cell(configs[1].labels, cell_id(configs[1].plain)).lock():
        outcomes = ended(configs, began)
    assert set(began) == set(range(len(configs)))
    assert isinstance(outcomes[2], BenchError) and "record.json is damaged" in str(outcomes[2])
    status = [o.status if isinstance(o, Outcome) else "" for o in outcomes]
    assert status == [
        "skipped",
        "busy",
        "",
        "declined",
        "failed",
        "failed",
        "done",
        "done",
        "failed",
        "failed",
        "skipped",
    ]
    assert outcomes[0].headline == before.headline
    assert outcomes[3].message == "has other plans"
    assert outcomes[4].message == 'KeyError: "a mistake in somebody\'s own method"'
    assert outcomes[5].message == "ValueError: a mistake in somebody's own loss"
    assert all(o.message.startswith("every run diverged; the first: train_loss is nan") for o in outcomes[8:10])
    for config, outcome in zip(configs, outcomes):
        assert not Store(tmp_path).cell(config.labels, cell_id(config.plain)).locked()
        if isinstance(outcome, Outcome) and outcome.status == "failed":
            assert (outcome.path / "error.txt").read_text().startswith(outcome.message)


def record_of(outcome: Outcome) -> dict[str, Any]:
    return json.loads((outcome.path / "record.json").read_text())


def test_a_cell_of_a_program_records_what_it_does_alone(tmp_path):
    chosen = [[f"method={name}"] for name in ("cross_entropy", "random_oversampling", "class_weighted")]
    outcomes = ended([cell(tmp_path / "together", *QUICK, *one) for one in chosen])
    seconds = 0.0
    for one, outcome in zip(chosen, outcomes):
        by_itself = run_cell(cell(tmp_path / "alone", *QUICK, *one))
        mine, alone = record_of(outcome), record_of(by_itself)
        assert (mine["cells_together"], mine["runs_together"], mine["halved_for_memory"]) == (3, 6, [])
        assert (alone["cells_together"], alone["runs_together"]) == (1, 2)
        changed = {"cells_together", "runs_together", "seconds", "provenance", "files", "sum"}
        assert {k for k in mine if mine[k] != alone[k]} <= changed | {"headline", "runs"}
        assert mine["headline"]["mean"] == pytest.approx(alone["headline"]["mean"], abs=1e-5)
        logs = [(path / "train.log").read_text().splitlines() for path in (outcome.path, by_itself.path)]
        assert len(logs[0]) == len(logs[1]) > 2
        seconds += mine["seconds"]
    assert seconds > 0


def test_runs_of_several_cells_are_halved_for_memory(tmp_path, monkeypatch):
    train = Engine.train

    def small(self, method, tasks, *rest):
        if len(tasks) > 3:
            raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")
        return train(self, method, tasks, *rest)

    monkeypatch.setattr(Engine, "train", small)
    for outcome in ended([cell(tmp_path, *QUICK, f"method={name}") for name in ("cross_entropy", "focal", "smote")]):
        record = record_of(outcome)
        assert (outcome.status, record["cells_together"], record["halved_for_memory"]) == ("done", 3, [6])
        assert record["runs_together"] == 3


def test_a_program_is_no_larger_than_asked_and_of_epochs_of_one_length(tmp_path, monkeypatch):
    sizes = []
    fit = programs.fit_together
    monkeypatch.setattr(programs, "fit_together", lambda members: sizes.append(len(members)) or fit(members))
    rates = [cell(tmp_path, *QUICK, f"trainer.lr={lr}") for lr in (1e-4, 2e-4, 3e-4, 4e-4, 5e-4)]
    ended(rates, most_runs=4)
    assert sizes == [2, 2]
    short, long = (
        [cell(tmp_path, *QUICK, "trainer.batch_size=2", f"method={m}") for m in pair]
        for pair in (("random_undersampling", "focal"), ("random_oversampling", "random_oversampling/balanced"))
    )
    group = members([*long, *short])
    lengths = [[member.steps for member in program] for program in programs.programs(group)]
    assert all(max(steps) <= programs.UNEVEN * min(steps) for steps in lengths)
    assert sum(map(len, lengths)) == 4 and len(lengths) > 1


@pytest.mark.parametrize("broken", [RuntimeError("CUDA error: device-side assert triggered")])
def test_a_gpu_that_is_lost_ends_the_process_and_blames_no_bystander(tmp_path, own, monkeypatch, broken):
    monkeypatch.setattr(Loss, "error", broken)
    configs = [cell(tmp_path, *QUICK, one) for one in ("method=focal", "method.name=loss", "method=cross_entropy")]
    with pytest.raises(DeviceLost):
        ended(configs)
    assert not any((c.path / name).exists() for c in Store(tmp_path).cells() for name in ("error.txt", "record.json"))
    told = []
    with pytest.raises(DeviceLost):
        told += [one for some in run_cells(1, configs[1:].__getitem__) for one in some]
    alone = run_cell(configs[1])
    assert (alone.status, alone.lost) == ("failed", True)
    # While it is prepared it is known whose fault it is.
    monkeypatch.setattr(Broken, "error", broken)
    told = []
    with pytest.raises(DeviceLost):
        for some in run_cells(4, [cell(tmp_path, *QUICK, "method.name=broken"), *configs].__getitem__):
            told += some
    assert [(place, outcome.lost) for place, outcome in told] == [(0, True)]


def test_who_shares_a_program(tmp_path):
    one = cell(tmp_path)

    def changed(**groups: dict[str, Any]) -> str:
        return key(varied(one, **groups))

    focal = option("method", "focal")
    for same in ("lr", "batch_size", "decay", "weight_decay", "gamma"):
        assert changed(trainer={same: 1}, method=focal, protocol={"folds": 3}, ratio={"seed": 1}) == key(one), same
    assert (
        changed(trainer={"rows": "train_valid", "schedule": "cosine"})
        == key(replace(one, cache="overwrite"))
        == key(one)
    )
    assert key(replace(one, paths=Paths(one.paths.data, "elsewhere"))) == key(one)
    others = [changed(trainer={k: v}) for k, v in {"epochs": 3, "precision": "float64", "optimiser": "sgd"}.items()]
    others += [changed(dataset={"copies": "together"}), changed(backbone={"hidden": [3]})]
    others += [changed(method=option("method", "ldam")), key(replace(one, paths=Paths("elsewhere", one.paths.outputs)))]
    others += [key(replace(one, device="cuda:1"))]
    assert len({key(one), *others}) == 1 + len(others)


def test_who_runs_alone(tmp_path):
    one = cell(tmp_path)
    for label in (
        "cross_entropy",
        "smote",
        "focal",
        "logit_adjustment",
        "random_undersampling",
        "balanced_batches",
        "ldam",
    ):
        assert alone(varied(one, method=option("method", label))) == "", label
    for label in ("explicit_gradient", "dice", "mixup", "crt", "tau_norm", "smote_features", "cs_dmlp"):
        reason = alone(varied(one, method=option("method", label) | {"label": label}))
        assert reason == f"method={label} has a training of its own"
    assert "sequential" in alone(varied(one, trainer={"backend": "sequential"}))
    assert "textrnn" in alone(cell(tmp_path, "backbone=textrnn"))
