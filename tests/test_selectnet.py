"""Rounds with an unlabelled pool: what each rule adds, Eq. 5 and its network, what is trained on and recorded."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from imbalance_bench.cells import run_cell
from imbalance_bench.data.base import Part, Task
from imbalance_bench.engine import Engine
from imbalance_bench.engine.batches import shuffled
from imbalance_bench.engine.loop import Training
from imbalance_bench.errors import BenchError
from imbalance_bench.methods import selectnet as module
from imbalance_bench.methods.pool_controls import PoolAll
from imbalance_bench.methods.selectnet import SelectionNetworks
from imbalance_bench.methods.shared.self_training import Predicted, extended, figure2
from tests.cells import cell
from tests.tasks import backbone, blobs, method, task, trainer

RULES = ["self_paced", "context_data", "selectnet", "pool_random", "pool_all", "pool_oracle"]


def pooled(seed: int = 0, n: tuple[int, ...] = (40, 25, 6, 9), minority: tuple[int, ...] = (2, 3)) -> Task:
    """A task whose pool is mostly of minority classes; the pool's ids start at 1000."""
    pool = blobs([30 if c in minority else 4 for c in range(len(n))], 4, np.random.default_rng(50 + seed))
    return replace(task(seed, n), withdrawn=replace(pool, ids=pool.ids + 1000), minority_classes=minority)


TASKS = [pooled(0), pooled(1, (30, 28, 8, 5))]


def engine(epochs: int = 6, **options) -> Engine:
    settings = {"precision": "float64", "epochs": epochs, "batch_size": 16, "lr": 0.05} | options
    return Engine(trainer("sgd", **settings), "cpu")


def fit(tasks, label, epochs=6, rounds=3, trainer={}, **options):  # noqa: B006
    return method(label, rounds=rounds, **options).fit(tasks, backbone(), engine(epochs, **trainer))


def rounds_of(classifier) -> list[dict[str, float]]:
    return [row for row in classifier.history if "round" in row]


class Watch:
    """Keeps what is trained on in each round, and for how many epochs."""

    def __init__(self, monkeypatch) -> None:
        self.sets: list[list[Part]] = []
        self.epochs: list[int] = []
        run = Training.run

        def watched(training, sets, epochs, *args, **kwargs):
            self.sets.append(list(sets))
            self.epochs.append(epochs)
            run(training, sets, epochs, *args, **kwargs)

        monkeypatch.setattr(Training, "run", watched)


# Rules on predictions made by hand: D has five samples, the pool three; 2 and 3 are the minority classes


PROBABILITIES = np.array([
    [0.05, 0.05, 0.80, 0.10],  # D 0: of class 2, rightly, loss 0.22
    [0.10, 0.05, 0.80, 0.05],  # D 1: of class 0, confused, loss 2.30, by the predicted label 0.22
    [0.10, 0.10, 0.45, 0.35],  # D 2: of class 2, rightly, loss 0.80
    [0.90, 0.05, 0.03, 0.02],  # D 3: of class 2, predicted 0
    [0.95, 0.02, 0.02, 0.01],  # D 4: of class 0, rightly
    [0.02, 0.02, 0.06, 0.90],  # U 5: predicted 3, loss 0.11
    [0.20, 0.20, 0.50, 0.10],  # U 6: predicted 2, loss 0.69
    [0.05, 0.85, 0.05, 0.05],  # U 7: predicted 1, loss 0.16
])  # fmt: skip
GIVEN, TRUTH = np.array([2, 0, 2, 2, 0]), np.array([3, 1, 2])
SEEN = Predicted(np.log(PROBABILITIES), GIVEN, (2, 3))
BY_HAND = replace(
    TASKS[0],
    train=Part(np.arange(5.0)[:, None], GIVEN, np.arange(10, 15)),
    withdrawn=Part(np.arange(5.0, 8.0)[:, None], TRUTH, np.arange(20, 23)),
)
ADDED = {
    "self_paced": [5],
    "context_data": [0, 5],
    "context_data_predicted_label": [0, 1, 5],
    "pool_all": [5, 6],
    "pool_oracle": [5, 6, 7],
}


@pytest.mark.parametrize("label", ADDED)
def test_each_rule_adds_exactly_its_samples(label):
    assert np.flatnonzero(method(label).choose(SEEN)).tolist() == ADDED[label]


def test_the_threshold_is_a_field():
    assert np.flatnonzero(method("self_paced", loss_threshold=0.7).choose(SEEN)).tolist() == [5, 6]
    assert np.flatnonzero(method("context_data", loss_threshold=0.9).choose(SEEN)).tolist() == [0, 2, 5, 6]


def test_added_samples_keep_their_ids_and_carry_the_given_or_the_predicted_label():
    m = method("context_data_predicted_label")
    labels = m.labels(BY_HAND, SEEN)
    assert labels.tolist() == [*GIVEN, 3, 2, 1]
    rows = extended(BY_HAND.train, BY_HAND.train, BY_HAND, m.choose(SEEN), labels)
    assert rows.ids.tolist() == [10, 11, 12, 13, 14, 10, 11, 20]
    assert rows.y.tolist() == [*GIVEN, 2, 0, 3]
    assert rows.x[:, 0].tolist() == [0, 1, 2, 3, 4, 0, 1, 5]
    oracle = method("pool_oracle")
    rows = extended(BY_HAND.train, BY_HAND.train, BY_HAND, oracle.choose(SEEN), oracle.labels(BY_HAND, SEEN))
    assert rows.ids.tolist() == [*range(10, 15), 20, 21, 22]
    assert rows.y.tolist() == [*GIVEN, *TRUTH]
    as_printed = method("context_data_predicted_label", label_of="predicted")
    labels = as_printed.labels(BY_HAND, SEEN)
    rows = extended(BY_HAND.train, BY_HAND.train, BY_HAND, as_printed.choose(SEEN), labels)
    assert rows.y.tolist() == [*GIVEN, *SEEN.labels[[0, 1, 5]]]


def test_the_record_counts_the_four_kinds_of_figure_2():
    everything = SEEN.minor
    facts = figure2(BY_HAND, SEEN, everything, SEEN.labels)
    assert facts == {
        "added_labelled_minor": 2, "added_labelled_confused": 1,
        "added_unlabelled_minor": 1, "added_unlabelled_confused": 1, "selection_precision": 0.6,
    }  # fmt: skip
    assert figure2(BY_HAND, SEEN, everything & False, SEEN.labels) == {
        "added_labelled_minor": 0, "added_labelled_confused": 0,
        "added_unlabelled_minor": 0, "added_unlabelled_confused": 0,
    }  # fmt: skip
    oracle = figure2(
        BY_HAND, SEEN, np.arange(8) >= 5, np.array([*GIVEN, *TRUTH])
    )  # of the two majority and minority classes
    assert (oracle["added_unlabelled_minor"], oracle["added_unlabelled_confused"]) == (2, 0)
    assert oracle["selection_precision"] == 1


class GivenScores:
    """Selection networks that say what they are told to; what they are fitted on is kept."""

    def __init__(self, scores: list[float]) -> None:
        self.told = np.array(scores)

    def __call__(self, options, inputs, seeds, dtype):
        self.inputs = inputs
        return self

    def fit(self, data):
        self.data = data

    def scores(self, run, z):
        return self.told


def selected(monkeypatch, scores, label="selectnet", **options):
    networks = GivenScores(scores)
    monkeypatch.setattr(module, "SelectionNetworks", networks)
    choice = method(label, **options).rule([BY_HAND], engine())({0: SEEN})[0]
    return np.flatnonzero(choice.added).tolist(), networks, choice.facts


LOSSES = -np.log([0.8, 0.1, 0.45, 0.03, 0.95, 0.9, 0.5, 0.85])


def test_selectnet_fits_f_s_on_the_samples_predicted_minor_and_adds_those_above_beta(monkeypatch):
    minor = [0, 1, 2, 5, 6]
    added, networks, facts = selected(monkeypatch, [0.5, 0.7, 0.9, 0.6, 0.61], penalty=0.4)
    assert added == [1, 2, 6]
    assert networks.inputs == 5
    z, excess = networks.data[0]
    np.testing.assert_allclose(z, np.column_stack([PROBABILITIES, LOSSES])[minor])
    np.testing.assert_allclose(excess, LOSSES[minor] - 0.4)
    assert facts["selection_loss"] == pytest.approx(np.mean(np.array([0.5, 0.7, 0.9, 0.6, 0.61]) * excess))
    assert selected(monkeypatch, [0.5, 0.7, 0.9, 0.6, 0.61], threshold=0.8)[0] == [2]


def test_the_other_readings_of_selectnet(monkeypatch):
    minor = [0, 1, 2, 5, 6]
    _, networks, _ = selected(monkeypatch, [0] * 5, "selectnet_predicted_label")
    by_predicted = -np.log([0.8, 0.8, 0.45, 0.9, 0.5])
    np.testing.assert_allclose(networks.data[0][0][:, 4], by_predicted)
    np.testing.assert_allclose(networks.data[0][1], by_predicted - 0.6)

    _, networks, _ = selected(monkeypatch, [0] * 5, "selectnet_no_loss")
    assert networks.inputs == 4
    np.testing.assert_allclose(networks.data[0][0], PROBABILITIES[minor])
    np.testing.assert_allclose(networks.data[0][1], LOSSES[minor] - 0.6)

    added, networks, _ = selected(monkeypatch, [1, 0, 0, 1, 1, 0, 1, 1], "selectnet_all_images")
    np.testing.assert_allclose(networks.data[0][1], LOSSES - 0.6)
    assert added == [0, 6]  # fitted on all, chosen among those predicted minor


def test_at_random_among_the_unlabelled_samples_predicted_minor(monkeypatch):
    """SelectNet takes sample 1 of D and one of the pool's two candidates, 5 and 6."""
    monkeypatch.setattr(module, "SelectionNetworks", GivenScores([0, 1, 0, 1, 0]))
    drawn = []
    for seed in range(20):
        rule = method("pool_random").rule([replace(BY_HAND, seed=seed)], engine())
        drawn.append([np.flatnonzero(rule({0: SEEN})[0].added).tolist() for _ in range(2)])
    found = {tuple(added) for rounds in drawn for added in rounds}
    assert found == {(1, 5), (1, 6)}
    assert any(first != second for first, second in drawn)  # drawn anew in each round


# Eq. 5 and the network of f_s


def networks_of(inputs: int, seeds=(1,), **options) -> SelectionNetworks:
    return SelectionNetworks(method("selectnet", **options), inputs, list(seeds), torch.float64)


def test_given_the_loss_eq_5_is_solved_by_the_threshold_rule():
    rng = np.random.default_rng(0)
    losses = np.concatenate([rng.uniform(0, 0.4, 150), rng.uniform(0.8, 1.2, 150)])
    networks = networks_of(1, lr=0.02, epochs=30)
    networks.fit({0: (losses[:, None], losses - 0.6)})
    scores = networks.scores(0, losses[:, None])
    np.testing.assert_array_equal(scores > 0.6, losses < 0.6)
    least = np.minimum(losses - 0.6, 0).mean()  # of Eq. 5 over all f_s between 0 and 1
    assert least <= (scores * (losses - 0.6)).mean() < 0.95 * least


def test_f_s_is_8_4_1_of_relu_and_a_sigmoid_trained_by_adam():
    networks = networks_of(3, epochs=2)
    flat = networks.stack.flat[0].detach().clone()
    plain = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 1), nn.Sigmoid())
    plain = plain.double()
    torch.nn.utils.vector_to_parameters(
        torch.cat([networks.stack.params[k][0].detach().flatten() for k in (
            "body.0.weight", "body.0.bias", "body.1.weight", "body.1.bias", "head.weight", "head.bias"
        )]),
        plain.parameters(),
    )  # fmt: skip
    assert len(flat) == sum(p.numel() for p in plain.parameters()) == 3 * 8 + 8 + 8 * 4 + 4 + 4 + 1
    rng = np.random.default_rng(0)
    z, excess = rng.normal(size=(70, 3)), rng.normal(size=70)
    generator = torch.Generator()
    generator.set_state(networks.generators[0].get_state())
    networks.fit({0: (z, excess)})
    x, y = torch.tensor(z), torch.tensor(excess)
    moments = [[torch.zeros_like(p), torch.zeros_like(p)] for p in plain.parameters()]
    for step, rows in enumerate([rows for _ in range(2) for rows in shuffled(70, 32, generator)], 1):
        rows = rows[rows >= 0]
        loss = (plain(x[rows])[:, 0] * y[rows]).mean()
        for p, m, g in zip(plain.parameters(), moments, torch.autograd.grad(loss, list(plain.parameters()))):
            m[:] = 0.9 * m[0] + 0.1 * g, 0.999 * m[1] + 0.001 * g**2
            p.data -= 1e-3 * m[0] / (1 - 0.9**step) / ((m[1] / (1 - 0.999**step)).sqrt() + 1e-8)
    np.testing.assert_allclose(networks.scores(0, z), plain(x)[:, 0].detach().numpy(), rtol=0, atol=1e-12)
    assert (networks.stack.flat[0] != flat).any()


def test_f_s_starts_as_the_released_code_starts_it_from_the_run_s_seed():
    networks = networks_of(200, seeds=[1, 2, 1])
    first = networks.stack.params["body.0.weight"]
    assert first.std().item() == pytest.approx(0.05, rel=0.1)
    bound = (6 / (8 + 4)) ** 0.5
    assert networks.stack.params["body.1.weight"].abs().max() <= bound
    assert all((p == 0).all() for name, p in networks.stack.params.items() if name.endswith("bias"))
    assert torch.equal(first[0], first[2])
    assert not torch.equal(first[0], first[1])


def test_f_s_is_kept_from_round_to_round():
    rng = np.random.default_rng(0)
    data = {0: (rng.normal(size=(40, 2)), rng.normal(size=40))}
    twice, once = networks_of(2, epochs=2), networks_of(2, epochs=4)
    twice.fit(data)
    twice.fit(data)
    once.fit(data)
    assert torch.equal(twice.stack.flat, once.stack.flat)


def test_f_s_of_a_run_does_not_depend_on_the_runs_beside_it():
    rng = np.random.default_rng(0)
    data = {r: (rng.normal(size=(n, 2)), rng.normal(size=n)) for r, n in ((0, 70), (1, 33))}
    together = networks_of(2, seeds=[1, 2, 3])
    together.fit(data)  # the third has no samples
    for r, seed in ((0, 1), (1, 2)):
        alone = networks_of(2, seeds=[seed])
        alone.fit({0: data[r]})
        np.testing.assert_allclose(together.stack.flat[r].detach(), alone.stack.flat[0].detach(), rtol=0, atol=1e-12)
    assert torch.equal(together.stack.flat[2], networks_of(2, seeds=[3]).stack.flat[0])
    assert len(together.scores(2, np.zeros((0, 2)))) == 0


# Rounds


@pytest.mark.parametrize("label", [*RULES, "selectnet_no_loss", "context_data_predicted_label"])
def test_two_runs_together_are_each_alone(label):
    together = fit(TASKS, label)
    for t, joint in zip(TASKS, together):
        (alone,) = fit([t], label)
        torch.testing.assert_close(joint.parameters["last"], alone.parameters["last"], rtol=0, atol=1e-12)
        for a, b in zip(joint.history, alone.history):
            assert a == pytest.approx(b, abs=1e-12)


def test_rounds_are_trained_on_the_labelled_set_and_what_was_added_to_it(monkeypatch):
    watch = Watch(monkeypatch)
    made = fit(TASKS, "selectnet", penalty=1.5, threshold=0.4)
    assert watch.epochs == [2, 2, 2]
    for r, t in enumerate(TASKS):
        sets = [round_sets[r] for round_sets in watch.sets]
        assert [len(s) for s in sets] == [row["fitted_rows"] for row in rounds_of(made[r])]
        assert np.bincount(sets[0].y).tolist() == [t.counts.max()] * 4
        assert set(sets[0].ids) <= set(t.train.ids)
        for rows, row in zip(sets[1:], rounds_of(made[r])[1:]):
            np.testing.assert_array_equal(rows.ids[: len(t.train)], t.train.ids)
            np.testing.assert_array_equal(rows.y[: len(t.train)], t.train.y)
            added = rows.take(np.arange(len(t.train), len(rows)))
            assert len(added) > 0
            again, pool = added.take(added.ids < 1000), added.take(added.ids >= 1000)
            assert set(pool.y.tolist()) <= {2, 3}
            assert len(set(added.ids.tolist())) == len(added)  # no sample twice, nothing of earlier rounds
            labels = dict(zip(t.train.ids, t.train.y))
            assert [labels[i] for i in again.ids] == again.y.tolist()
            truth = dict(zip(t.withdrawn.ids, t.withdrawn.y))
            right = sum(truth[i] == y for i, y in zip(pool.ids, pool.y))
            assert row["added_labelled_minor"] + row["added_labelled_confused"] == len(again)
            assert row["added_unlabelled_minor"] == right
            assert row["added_unlabelled_confused"] == len(pool) - right
            assert row["selection_precision"] == pytest.approx((row["added_labelled_minor"] + right) / len(added))
            assert np.isfinite(row["selection_loss"])
        info = made[r].info
        assert info["train_counts"] == t.counts.tolist()
        assert info["start_counts"] == [t.counts.max()] * 4
        assert info["fitted_counts"] == np.bincount(sets[-1].y, minlength=4).tolist()
        assert (info["pool_rows"], info["rounds"]) == (68, 3)


def test_the_oracle_trains_on_the_whole_pool_with_its_true_labels(monkeypatch):
    watch = Watch(monkeypatch)
    (made,) = fit(TASKS[:1], "pool_oracle")
    for (rows,) in watch.sets[1:]:
        whole = TASKS[0].train.join(TASKS[0].withdrawn)
        np.testing.assert_array_equal(rows.ids, whole.ids)
        np.testing.assert_array_equal(rows.y, whole.y)
    assert rounds_of(made)[-1]["added_unlabelled_minor"] == 60
    assert rounds_of(made)[-1]["selection_precision"] == 1


def test_each_label_of_the_history_stands_at_the_end_of_its_round():
    (made,) = fit(TASKS[:1], "selectnet")
    assert [row["epoch"] for row in made.history] == [1, 2, 3, 4, 5, 6]
    assert [(row["epoch"], row["round"]) for row in rounds_of(made)] == [(2, 1), (4, 2), (6, 3)]
    assert "added_unlabelled_minor" not in rounds_of(made)[0]


@pytest.mark.parametrize("label", RULES)
def test_one_round_is_plain_training_on_the_over_sampled_set(label):
    (plain,) = method("random_oversampling_balanced").fit(TASKS[:1], backbone(), engine(3))
    (made,) = fit(TASKS[:1], label, epochs=3, rounds=1)
    assert torch.equal(plain.parameters["last"], made.parameters["last"])
    assert plain.info["fitted_counts"] == made.info["fitted_counts"]


def test_fewer_epochs_than_rounds_are_rounds_of_one_epoch():
    (made,) = fit(TASKS[:1], "pool_all", epochs=2, rounds=20)
    assert [(row["epoch"], row["round"]) for row in rounds_of(made)] == [(1, 1), (2, 2)]


def test_a_round_begins_where_the_last_one_ended():
    """Nothing is added below a loss of 0: then all rounds but the first are training on D, one after the other."""
    (made,) = fit(TASKS[:1], "self_paced", loss_threshold=0.0, trainer={"schedule": "cosine"})
    e = engine(6, schedule="cosine")
    m = method("self_paced")
    training = e.begin(m, TASKS[:1], backbone())
    training.run([m.start(TASKS[0], TASKS[0].train)], 2)
    training.run([TASKS[0].train], 4)
    assert torch.equal(made.parameters["last"], training.stack.flat[0])
    assert "selection_precision" not in made.history[-1]
    assert made.history[-1]["fitted_rows"] == len(TASKS[0].train)


@pytest.mark.parametrize("label", [rule for rule in RULES if rule != "pool_oracle"])
def test_the_pool_s_labels_reach_nothing_but_the_record(label):
    poisoned = replace(TASKS[0], withdrawn=replace(TASKS[0].withdrawn, y=np.zeros_like(TASKS[0].withdrawn.y)))
    options = {"threshold": 0.3, "penalty": 1.5} if label in ("selectnet", "pool_random") else {}
    (clean,), (other,) = fit(TASKS[:1], label, **options), fit([poisoned], label, **options)
    assert torch.equal(clean.parameters["last"], other.parameters["last"])
    assert clean.info == other.info
    record = {"added_unlabelled_minor", "added_unlabelled_confused", "selection_precision"}
    for a, b in zip(clean.history, other.history):
        assert {k: v for k, v in a.items() if k not in record} == {k: v for k, v in b.items() if k not in record}
    assert clean.history[-1]["added_unlabelled_minor"] > 0
    assert other.history[-1]["added_unlabelled_minor"] == 0


def test_as_many_at_random_as_selectnet_takes(monkeypatch):
    watch = Watch(monkeypatch)
    (ours,), (drawn,) = (fit(TASKS[:1], label, rounds=2) for label in ("selectnet", "pool_random"))
    (everything,) = fit(TASKS[:1], "pool_all", rounds=2)
    for key in ("fitted_rows", "selection_loss"):
        assert rounds_of(ours)[1][key] == rounds_of(drawn)[1][key]
    ours, drawn, everything = (set(sets[0].ids.tolist()) for sets in watch.sets[1::2])
    assert len(drawn) == len(ours)
    assert {i for i in drawn if i >= 1000} <= everything


def test_the_start_of_the_released_code_adds_copies(monkeypatch):
    watch = Watch(monkeypatch)
    fit(TASKS[:1], "selectnet_start_20x", start_copies=3)
    rows = watch.sets[0][0]
    assert np.bincount(rows.y).tolist() == [40, 25, 4 * 6, 4 * 9]
    assert set(rows.ids.tolist()) == set(TASKS[0].train.ids.tolist())
    assert method("selectnet_start_20x").start_copies == 20


def test_later_rounds_may_begin_with_the_over_sampled_set(monkeypatch):
    watch = Watch(monkeypatch)
    fit(TASKS[:1], "pool_all", start_always=True)
    first, second, _ = (sets[0].ids for sets in watch.sets)
    np.testing.assert_array_equal(second[: len(first)], first)
    assert min(second[len(first) :]) >= 1000


def test_what_was_added_stays_where_rounds_accumulate(monkeypatch):
    watch = Watch(monkeypatch)
    chosen = iter([[5, 6], [7]])  # of D's 80 and then the pool

    def choose(self, predicted):
        return np.isin(np.arange(len(predicted.labels)), 80 + np.array(next(chosen)))

    monkeypatch.setattr(PoolAll, "choose", choose)
    (made,) = fit(TASKS[:1], "pool_all", accumulate=True)
    assert [set(sets[0].ids[80:]) for sets in watch.sets[1:]] == [{1005, 1006}, {1005, 1006, 1007}]
    assert rounds_of(made)[2]["fitted_rows"] == 83


def test_f_s_begins_anew_in_each_round_where_it_is_told_to(monkeypatch):
    created = []
    start = SelectionNetworks.__init__

    def watched(self, *args):
        created.append(self)
        start(self, *args)

    monkeypatch.setattr(SelectionNetworks, "__init__", watched)
    fit(TASKS[:1], "selectnet")
    assert len(created) == 1
    created.clear()
    fit(TASKS[:1], "selectnet", restart=True)
    assert len(created) == 1 + 2  # the second and the third round


def test_a_run_that_diverges_ends_alone():
    broken = replace(TASKS[1], train=replace(TASKS[1].train, x=TASKS[1].train.x * np.float32(1e30)))
    good, bad = fit([TASKS[0], broken], "selectnet", trainer={"precision": "float32"})
    (alone,) = fit(TASKS[:1], "selectnet", trainer={"precision": "float32"})
    assert bad.failure
    assert good.failure is None
    assert [row.get("fitted_rows") for row in good.history] == [row.get("fitted_rows") for row in alone.history]
    (bad,) = fit([broken], "selectnet", trainer={"precision": "float32"})
    assert bad.failure


def test_images_of_bytes_stay_bytes(monkeypatch):
    watch = Watch(monkeypatch)
    flat = pooled(3)

    def images(part: Part) -> Part:
        return replace(part, x=np.clip(128 + 40 * part.x.reshape(-1, 1, 2, 2), 0, 255).astype(np.uint8))

    made = replace(flat, train=images(flat.train), valid=images(flat.valid), withdrawn=images(flat.withdrawn))
    (classifier,) = fit([made], "pool_all")
    assert all(sets[0].x.dtype == np.uint8 for sets in watch.sets)
    assert len(watch.sets[-1][0]) > len(made.train)
    assert np.isfinite(classifier.scores(made.valid.x)).all()


@pytest.mark.parametrize("label", RULES)
def test_two_classes(label):
    (made,) = fit([pooled(0, (60, 12), (1,))], label)
    assert made.failure is None
    assert made.history[-1]["round"] == 3


# Bad input


def test_no_pool_or_no_minority_is_declined_with_what_to_choose():
    m = method("selectnet")
    assert "ratio=minor_cifar10" in m.declines(replace(TASKS[0], withdrawn=None))
    assert "no class is one" in m.declines(replace(TASKS[0], minority_classes=()))
    assert m.declines(replace(TASKS[0], kind="regression")) == "classification only"
    assert m.declines(TASKS[0]) is None


def test_epochs_that_do_not_divide_name_both_keys():
    with pytest.raises(BenchError, match=r"trainer.epochs=7 .* method.rounds=3: .* trainer.epochs=9 or"):
        fit(TASKS[:1], "self_paced", epochs=7)


@pytest.mark.parametrize(
    "label, options",
    [
        ("self_paced", {"rounds": 0}),
        ("pool_all", {"start_copies": -1}),
        ("selectnet", {"threshold": 1.0}),
        ("selectnet", {"hidden": []}),
        ("selectnet", {"epochs": 0}),
        ("pool_random", {"batch_size": 0}),
        ("pool_random", {"lr": 0.0}),
    ],
)
def test_options_out_of_range_are_named(label, options):
    with pytest.raises(BenchError, match=f"method.{next(iter(options))}="):
        method(label, **options)


def test_a_cell_and_what_its_history_says(tmp_path):
    chosen = [
        "dataset=digits",
        "ratio=digits_0456",
        "protocol=stratified_kfold",
        "protocol.folds=2",
        "method=selectnet",
    ]
    outcome = run_cell(cell(tmp_path, *chosen, "trainer.epochs=4", "method.rounds=2"))
    assert outcome.status == "done", outcome.message
    history = pd.read_csv(outcome.path / "history.csv").dropna(subset=["round"])
    assert history[["run", "epoch", "round"]].to_numpy().tolist() == [[0, 2, 1], [0, 4, 2], [1, 2, 1], [1, 4, 2]]
    assert history[history["round"] == 1].filter(like="added_").isna().all(axis=None)
    train = [run["n_train"] for run in json.loads((outcome.path / "record.json").read_text())["runs"]]
    second = history[history["round"] == 2]
    assert (second.filter(like="added_").sum(axis=1) + train == second["fitted_rows"]).all()
    chosen[1] = "ratio=native"
    outcome = run_cell(cell(tmp_path, *chosen, "trainer.epochs=4", "method.rounds=2"))
    assert outcome.status == "declined"
    assert "unlabelled pool" in outcome.message
