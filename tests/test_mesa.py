"""MESA: soft actor-critic's targets, the sampler's states, weights and subsets, and the ensemble."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from imbalance_bench import metrics
from imbalance_bench.engine import Engine
from imbalance_bench.errors import BenchError
from imbalance_bench.methods.mesa.method import Growth, error_histogram, gaussian
from imbalance_bench.methods.mesa.sac import SAC, Replay, Transitions
from tests.tasks import blobs, image_task, method, task, trainer

QUICK = {"random_steps": 30, "learned_steps": 30, "learners": 5}


def fit(tasks, **options):
    m = method("mesa", **QUICK | options)
    assert [m.declines(t) for t in tasks] == [None] * len(tasks)
    return m.fit(tasks, None, Engine(trainer(), "cpu"))


def sac(**options):
    return SAC(method("mesa", **options), 10, seed=3)


def average_precision(classifier, part):
    return metrics.average_precision(part.y == 1, metrics.ranking_scores(classifier.scores(part.x), 1))


def test_targets_bootstrap_where_the_episode_went_on_and_not_where_it_ended():
    """The released code has it the other way round."""
    agent = sac(gamma=0.9, alpha=0.1)
    # Constant functions: mean 0 and log sd 0 whatever the state; target critics of value 7 and 4.
    agent.actor.flat.zero_()
    agent.targets.flat.zero_()
    agent.targets.views(agent.targets.flat)["head.bias"].copy_(torch.tensor([[7.0], [4.0]]))
    noise = torch.Generator()
    noise.set_state(agent.generator.get_state())
    states = torch.rand(2, 10)
    batch = Transitions(states, torch.rand(2, 1), torch.tensor([[3.0], [3.0]]), states, torch.tensor([[1.0], [0.0]]))
    target = agent.target(batch)
    u = torch.randn(2, 1, generator=noise)[0].item()
    log_density = -0.5 * u**2 - 0.5 * math.log(2 * math.pi) - math.log(0.5 * (1 - math.tanh(u) ** 2))
    assert target[0].item() == pytest.approx(3 + 0.9 * (4 - 0.1 * log_density), rel=1e-5)
    assert target[1].item() == 3


def test_the_policy_gives_actions_in_the_unit_interval_and_their_density():
    agent = sac()
    action, log_density = agent.policy(torch.full((200_000, 10), 0.3))
    assert action.min() > 0 and action.max() < 1
    # Against the share of actions around the middle, a tenth of the interval.
    middle = (action - 0.5).abs() < 0.05
    assert log_density[middle].exp().mean().item() == pytest.approx(10 * middle.double().mean().item(), rel=0.02)
    # And over all of it, by importance sampling: E_π[1 / π] = 1.
    assert (-log_density).exp().mean().item() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("best", [0.8, 0.3])
def test_updates_learn_the_action_that_pays(best):
    """A one-step problem with reward -10 (a - best)²."""
    agent, rng = sac(hidden=16, lr=3e-3), np.random.default_rng(0)
    memory, state = Replay(1000, 10), np.ones(10, np.float32)
    for a in rng.random(500):
        memory.push(state, a, -10 * (a - best) ** 2, state, False)
    for _ in range(750):
        agent.update(memory.sample(64, rng))
    assert np.mean([agent.act(state) for _ in range(50)]) == pytest.approx(best, abs=0.15)


def test_targets_follow_slowly():
    agent, rng = sac(tau=0.25), np.random.default_rng(0)
    memory = method("mesa").prefilled(rng)
    before = agent.targets.flat.clone()
    agent.update(memory.sample(64, rng))
    torch.testing.assert_close(agent.targets.flat, 0.75 * before + 0.25 * agent.critics.flat)


def test_the_replay_memory_keeps_the_last_transitions():
    memory = Replay(4, 2)
    for i in range(6):
        memory.push(np.full(2, i), i / 10, i, np.full(2, i + 1), i % 2 == 0)
    batch = memory.sample(10, np.random.default_rng(0))
    order = batch.reward.flatten().argsort()
    assert len(memory) == 4
    assert batch.reward[order].flatten().tolist() == [2, 3, 4, 5]
    assert batch.state[order].tolist() == [[i, i] for i in (2, 3, 4, 5)]
    assert batch.more[order].flatten().tolist() == [1, 0, 1, 0]


def test_hand_made_transitions():
    memory = method("mesa").prefilled(np.random.default_rng(0))
    batch = memory.sample(1000, np.random.default_rng(1))
    assert len(memory) == 999
    assert batch.reward.unique().tolist() == [5]
    assert batch.more.unique().tolist() == [0]
    for action, highest in ((0.9, (4, 4)), (0.5, (2, 2)), (0.1, (0, 2))):
        mean = batch.state[(batch.action[:, 0] - action).abs() < 1e-6].mean(0)
        assert (mean[:5].argmax().item(), mean[5:].argmax().item()) == highest
        assert mean.sum().item() == pytest.approx(10 + 10 * 0.25, abs=0.2)  # noise of mean 0.25 a bin


def test_error_histogram():
    errors = np.array([0.0, 0.1, 0.19, 0.2, 0.5, 0.99, 1.0, 1.0])
    np.testing.assert_allclose(error_histogram(errors, 5), np.array([3, 1, 1, 0, 3]) * 5 / 8)


def test_gaussian_weights():
    weights = gaussian(np.array([0.5, 0.3, 0.9]), 0.5, 0.2)
    np.testing.assert_allclose(weights, [1, math.exp(-0.5), math.exp(-2)])


@pytest.mark.parametrize("train_ir,size", [(1.0, 15), (2.0, 30), (100.0, 90)])
def test_each_tree_learns_all_minority_rows_and_some_majority_rows(train_ir, size):
    growth = Growth(method("mesa", train_ir=train_ir), task(0, (90, 15)), np.random.default_rng(0))
    growth.start()
    rows = growth.draw(0.5)
    assert len(set(rows.tolist())) == len(rows) == growth.size == size
    assert growth.labels.sum() == 15 and len(growth.labels) == 15 + size
    growth.step(0.5)
    assert [int(tree.tree_.n_node_samples[0]) for tree in growth.trees] == [15 + size] * 2


def test_the_action_chooses_the_error_of_the_rows_drawn():
    growth = Growth(method("mesa"), task(0, (2000, 40)), np.random.default_rng(0))
    growth.start()
    growth.sums[0] = np.linspace(0, 1, 2000)  # errors of one tree
    drawn = {mu: growth.sums[0][growth.draw(mu)].mean() for mu in (0.1, 0.5, 0.9)}
    assert drawn[0.1] < 0.3 < drawn[0.5] < 0.7 < drawn[0.9]


def test_the_state_is_what_the_trees_say_of_the_majority():
    t = task(0, (90, 15))
    growth = Growth(method("mesa"), t, np.random.default_rng(0))
    growth.start()
    for mu in (0.2, 0.7):
        growth.step(mu)
    expected = []
    for part in (t.train, t.valid):
        p = np.mean([tree.predict_proba(part.x[part.y == 0])[:, 1] for tree in growth.trees], 0)
        expected += (np.histogram(p, 5, (0, 1))[0] / len(p) * 5).tolist()
    np.testing.assert_allclose(growth.state(), expected)
    assert growth.state()[:5].sum() == pytest.approx(5) and growth.state()[5:].sum() == pytest.approx(5)


def test_rewards_add_up_to_what_the_ensemble_gained():
    t = task(0, (90, 15))
    growth = Growth(method("mesa"), t, np.random.default_rng(0))
    growth.start()
    first = growth.score
    gained = sum(growth.step(0.5) for _ in range(4))
    p = np.mean([tree.predict_proba(t.valid.x)[:, 1] for tree in growth.trees], 0)
    assert growth.score == pytest.approx(metrics.average_precision(t.valid.y == 1, p))
    assert gained == pytest.approx(growth.score - first)


def test_it_beats_one_tree_on_a_random_subset():
    from sklearn.tree import DecisionTreeClassifier

    rng = np.random.default_rng(0)
    t = task(0, (600, 40))
    test = blobs([1500, 100], 4, rng)
    (classifier,) = fit([t], learners=10)
    minority = np.flatnonzero(t.train.y == 1)
    single = []
    for seed in range(5):
        majority = np.random.default_rng(seed).choice(np.flatnonzero(t.train.y == 0), len(minority), replace=False)
        rows = np.concatenate([minority, majority])
        tree = DecisionTreeClassifier(random_state=seed).fit(t.train.x[rows], t.train.y[rows])
        single.append(metrics.average_precision(test.y == 1, tree.predict_proba(test.x)[:, 1]))
    assert average_precision(classifier, test) > np.mean(single) + 0.1


def test_scores_are_log_probabilities_of_the_mean_over_trees():
    t = task(0)
    (classifier,) = fit([t])
    scores = classifier.scores(t.valid.x)
    assert classifier.readouts == ("last",) and len(classifier.trees) == 5
    assert np.isfinite(scores.astype(np.float32)).all()
    np.testing.assert_allclose(np.exp(scores).sum(1), 1, atol=1e-6)
    p = np.mean([tree.predict_proba(t.valid.x)[:, 1] for tree in classifier.trees], 0)
    np.testing.assert_allclose(np.exp(scores[:, 1]), p, atol=1e-9)
    assert classifier.info["fitted_counts"] == [15, 15]
    assert len(classifier.info["actions"]) == 4
    assert [h["epoch"] for h in classifier.history] == list(range(1, 16))  # 60 steps, 4 an episode


def test_a_run_depends_on_its_seed_alone():
    first, second = fit([task(0), task(1)])
    (again,) = fit([task(1)])
    (other,) = fit([dataclasses.replace(task(1), seed=5)])
    x = task(2).train.x
    assert np.array_equal(second.scores(x), again.scores(x))
    assert second.info == again.info and second.history == again.history
    assert second.info["actions"] != other.info["actions"] != first.info["actions"]


def test_several_classes_are_declined():
    assert "binary only" in method("mesa").declines(task(0, (30, 12, 8)))
    assert "binary only" in method("mesa").declines(image_task())


def test_a_validation_part_without_minority_is_an_error_that_names_the_way_out():
    t = task(0)
    for rows, said in (([0, 1], "both classes in the validation part"), ([], "validation rows .* fold 0 has none")):
        valid = t.valid.take(np.flatnonzero(t.valid.y == 0)[rows])
        with pytest.raises(BenchError, match=f"{said}.*protocol.valid_fraction"):
            fit([dataclasses.replace(t, valid=valid)])


def test_bad_options_are_errors():
    with pytest.raises(BenchError, match="method.learners=1 must be a whole number, at least 2"):
        method("mesa", learners=1)
    with pytest.raises(BenchError, match="method.sigma=0.0 must be a number, above 0"):
        method("mesa", sigma=0.0)
    with pytest.raises(BenchError, match="trainer.rows=train"):
        method("mesa").fit([task(0)], None, Engine(trainer(rows="train_valid"), "cpu"))
