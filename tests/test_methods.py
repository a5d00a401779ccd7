"""Methods one by one, against arithmetic and geometry that is written out here."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from imbalance_bench.data.base import Part, Task
from imbalance_bench.engine import Engine
from imbalance_bench.engine.loop import TrainState
from imbalance_bench.engine.losses import cross_entropy, log_prior
from imbalance_bench.errors import BenchError
from imbalance_bench.methods.base import resampling_info
from imbalance_bench.methods.shared.oversampling import OverSampler, target_counts
from imbalance_bench.metrics.scoring import selection_score
from tests.tasks import backbone, blobs, image_task, method, task, trainer

SMOTES = ["smote", "adasyn", "borderline_smote"]


def state(*counts: int, epoch: int = 0, epochs: int = 10) -> TrainState:
    return TrainState(torch.tensor([[list(counts)]], dtype=torch.float64), epoch, epochs)


def losses(m, logits, labels, s):
    """Losses of one run's samples for logits (n, C), labels (n,); as the engine asks, with a leading run axis."""
    out = m.loss(torch.tensor([logits], dtype=torch.float64), torch.tensor([labels]), s)
    assert out.shape == (1, len(labels))
    return out[0].tolist()


# Losses


def test_focal_loss_of_two_samples_by_hand():
    # Logits (0, ln 3): p_1 = 3/4, p_0 = 1/4. FL = -α_y (1 - p_y)^2 ln p_y with α_1 = 1/4, α_0 = 3/4.
    values = losses(method("focal"), [[0, math.log(3)]] * 2, [1, 0], state(90, 10))
    assert values[0] == pytest.approx(0.25 * (1 / 4) ** 2 * math.log(4 / 3), rel=1e-12)  # 0.004495
    assert values[1] == pytest.approx(0.75 * (3 / 4) ** 2 * math.log(4), rel=1e-12)  # 0.584843


def test_alpha_is_that_of_the_positive_class_of_two_even_where_it_is_the_larger():
    values = losses(method("focal", gamma=0.0, alpha=0.1), [[0, 0]] * 2, [1, 0], state(10, 90))
    assert values == pytest.approx([0.1 * math.log(2), 0.9 * math.log(2)], rel=1e-12)


def test_alpha_of_several_classes_weighs_all_but_the_largest():
    # Even logits: p = 1/3, so FL = α_y (2/3)^2 ln 3; class 0 is the largest.
    values = losses(method("focal"), [[1, 1, 1]] * 3, [0, 1, 2], state(50, 30, 20))
    assert values == pytest.approx([0.75 * 4 / 9 * math.log(3)] + 2 * [0.25 * 4 / 9 * math.log(3)])


def test_the_largest_class_is_that_of_each_run():
    # Even logits: ln 3 without focus; the largest classes are 0, 2 and 1.
    counts = torch.tensor([[[50, 30, 20]], [[3, 2, 9]], [[10, 40, 30]]], dtype=torch.float64)
    labels = torch.arange(3).expand(3, 3)
    values = method("focal", gamma=0.0).loss(
        torch.zeros(3, 3, 3, dtype=torch.float64), labels, TrainState(counts, 0, 1)
    )
    expected = [[0.75, 0.25, 0.25], [0.25, 0.25, 0.75], [0.25, 0.75, 0.25]]
    torch.testing.assert_close(values, math.log(3) * torch.tensor(expected, dtype=torch.float64))


logits = st.floats(-30, 30, allow_subnormal=False)  # the engine flushes these to zero


@given(st.lists(st.tuples(logits, logits, st.integers(0, 1)), min_size=1, max_size=5))
def test_focal_loss_without_focus_and_alpha_is_cross_entropy(samples):
    logits, labels = [[a, b] for a, b, _ in samples], [y for *_, y in samples]
    values = losses(method("focal", gamma=0.0, alpha=None), logits, labels, state(3, 1))
    plain = cross_entropy(torch.tensor(logits, dtype=torch.float64), torch.tensor(labels))
    assert values == pytest.approx(plain.tolist(), rel=1e-12)


def test_the_modulator_of_focal_loss_is_differentiated():
    z = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    logits = torch.stack([torch.zeros_like(z), z])[None, None]
    method("focal", alpha=None).loss(logits, torch.tensor([[1]]), state(3, 1)).sum().backward()
    # d/dz of -(1-p)^γ ln p, p = σ(z): (1-p)^γ (γ p ln p - (1-p)) (Lin et al., 2017, appendix B).
    p = 1 / (1 + math.exp(-0.7))
    assert z.grad.item() == pytest.approx((1 - p) ** 2 * (2 * p * math.log(p) - (1 - p)), rel=1e-12)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_focal_loss_of_a_sample_that_is_sure_has_a_gradient(gamma):
    # At a margin of 20 single precision has p = 1 and -ln p = 0, where (1-p)^(γ-1) is infinite for γ < 1.
    logits = torch.tensor([[[0.0, 20.0], [0.0, 1.0]]], requires_grad=True)
    method("focal", gamma=gamma, alpha=None).loss(logits, torch.tensor([[1, 1]]), state(3, 1)).sum().backward()
    assert logits.grad[0, 0].tolist() == pytest.approx([0, 0], abs=1e-4)
    p = 1 / (1 + math.exp(-1))
    assert logits.grad[0, 1, 1].item() == pytest.approx((1 - p) ** gamma * (gamma * p * math.log(p) - (1 - p)))


def test_ldam_by_hand():
    # n = (16, 1): n^-1/4 = (1/2, 1), scaled to a largest margin of 1/2: (1/4, 1/2).
    # Cosines (0.5, 0.6), s = 30. Label 1: 30 (0.5, 0.1), so ln(1 + e^12); label 0: 30 (0.25, 0.6), so ln(1 + e^10.5).
    values = losses(method("ldam"), [[0.5, 0.6]] * 2, [1, 0], state(16, 1))
    assert values == pytest.approx([math.log1p(math.exp(12)), math.log1p(math.exp(10.5))], rel=1e-12)


def test_the_largest_margin_is_that_of_each_run():
    # n^-1/4: (1/2, 1) and (1/3, 1/2), each scaled to a largest margin of 1/2; no rows count as one.
    margins = method("ldam", max_margin=0.5).margins(torch.tensor([[[16, 0]], [[81, 16]]], dtype=torch.float64))
    torch.testing.assert_close(margins, torch.tensor([[[1 / 4, 1 / 2]], [[1 / 3, 1 / 2]]], dtype=torch.float64))


@given(st.lists(st.integers(1, 10**6), min_size=2, max_size=6), st.floats(0.1, 1))
def test_ldam_margins_fall_with_the_fourth_root_of_the_class_size(counts, largest):
    margins = method("ldam", max_margin=largest).margins(torch.tensor(counts, dtype=torch.float64))
    product = margins * torch.tensor(counts) ** 0.25
    torch.testing.assert_close(product, product[0].expand(len(counts)))
    assert margins.max().item() == pytest.approx(largest)
    assert margins.argmax() == torch.tensor(counts).argmin()


def test_deferred_weights_begin_at_their_epoch_and_are_by_hand():
    # β = 1/2, n = (2, 1): (1 - β) / (1 - β^n) = (2/3, 1), scaled to sum to 2: (4/5, 6/5).
    m = method("ldam", drw_from=0.8, drw_beta=0.5)
    plain = losses(method("ldam"), [[0.5, 0.6]] * 2, [0, 1], state(2, 1))
    assert losses(m, [[0.5, 0.6]] * 2, [0, 1], state(2, 1, epoch=7)) == plain
    weighted = losses(m, [[0.5, 0.6]] * 2, [0, 1], state(2, 1, epoch=8))
    assert weighted == pytest.approx([0.8 * plain[0], 1.2 * plain[1]], rel=1e-12)


def test_deferred_weights_begin_at_their_epoch_however_the_product_is_rounded():
    """0.55 * 200 is a little above 110."""
    m = method("ldam", drw_from=0.55, drw_beta=0.5)
    before, at = (losses(m, [[0.5, 0.6]], [0], state(2, 1, epoch=epoch, epochs=200)) for epoch in (109, 110))
    assert at == pytest.approx([0.8 * before[0]], rel=1e-12)


@pytest.mark.parametrize("n", [(90, 15), (60, 20, 9)])
@pytest.mark.parametrize("backend", ["stacked", "sequential"])
def test_the_probabilities_of_ldam_are_those_that_it_trains(n, backend):
    """Softmax of s times the cosines of feature and class weights, on which validation looks as well."""
    t, x = task(0, n), task(1, n).train.x
    engine = Engine(trainer(epochs=4, precision="float64", backend=backend), "cpu")
    (classifier,) = method("ldam", scale=20.0).fit([t], backbone(), engine)
    for readout in ("last", "best"):
        weights = classifier.stack.views(classifier.parameters[readout][None])["head.weight"][0]
        h = classifier.features(x, readout)
        cosines = (h @ weights.T) / (h.norm(dim=1, keepdim=True) * weights.norm(dim=1))
        np.testing.assert_allclose(classifier.scores(x, readout), (20 * cosines).log_softmax(1), rtol=1e-9)
    looks = [row["valid_score"] for row in classifier.history]
    for readout, seen in (("last", looks[-1]), ("best", max(looks))):
        assert selection_score(t.valid.y, classifier.scores(t.valid.x, readout), t.kind) == pytest.approx(seen)


def test_in_training_ldam_has_the_cosines_themselves():
    stack = Engine(trainer(), "cpu").stack(method("ldam"), [task()], backbone())
    x = torch.as_tensor(task(1).train.x)
    cosines = stack(x[None])[0]
    assert cosines.abs().max() <= 1 + 1e-6
    torch.testing.assert_close(stack.predict(stack.flat[0].detach(), x), 30 * cosines.detach())
    torch.testing.assert_close(stack.twin().predict(stack.flat[0].detach(), x), 30 * cosines.detach())


def test_class_weights_by_hand():
    # n = (6, 3, 1): n / (C n_y) = 10/18, 10/9, 10/3. Even logits: cross-entropy ln 3.
    values = losses(method("class_weighted"), [[0, 0, 0]] * 3, [0, 1, 2], state(6, 3, 1))
    assert values == pytest.approx([10 / 18 * math.log(3), 10 / 9 * math.log(3), 10 / 3 * math.log(3)], rel=1e-12)


def test_a_class_without_rows_has_the_prior_of_one_row():
    shares = log_prior(torch.tensor([[6, 3, 1, 0]], dtype=torch.float64)).exp()
    assert shares[0].tolist() == pytest.approx([6 / 11, 3 / 11, 1 / 11, 1 / 11], rel=1e-12)


def test_losses_take_the_counts_of_the_set_that_is_trained_on():
    sets = [blobs([9, 3], 2, np.random.default_rng(0)), blobs([5, 2], 2, np.random.default_rng(0))]
    s = TrainState.of(sets, 2, 7, torch.zeros(1, dtype=torch.float64))
    assert s.counts.tolist() == [[[9, 3]], [[5, 2]]]
    values = method("class_weighted").loss(torch.zeros(2, 1, 2, dtype=torch.float64), torch.tensor([[1], [1]]), s)
    assert values[:, 0].tolist() == pytest.approx([12 / 6 * math.log(2), 7 / 4 * math.log(2)])


# Over-sampling


@given(st.lists(st.integers(1, 500), min_size=2, max_size=6))
def test_doubled_and_balanced_never_pass_the_majority(counts):
    labels = np.repeat(np.arange(len(counts)), counts)
    for amount, wanted in (("doubled", lambda n: min(2 * n, max(counts))), ("balanced", lambda n: max(counts))):
        targets = target_counts(labels, amount)
        assert [targets.get(c, n) for c, n in enumerate(counts)] == [wanted(n) for n in counts]
        assert all(targets[c] > counts[c] for c in targets)


OVERSAMPLERS = ["random_oversampling", *SMOTES]


@pytest.mark.parametrize("label", OVERSAMPLERS)
@pytest.mark.parametrize(
    "n, amount, wanted",
    [
        ((90, 15), "doubled", (90, 30)),
        ((90, 15), "balanced", (90, 90)),
        ((40, 25), "doubled", (40, 40)),  # twice 25 would be more than the majority
        ((30, 30), "doubled", (30, 30)),
        ((60, 20, 12), "doubled", (60, 40, 24)),
        ((60, 20, 12), "balanced", (60, 60, 60)),
    ],
)
def test_row_counts_after_over_sampling(label, n, amount, wanted):
    t = crowded(n)
    rows = method(label, amount=amount).resample(t, t.train)
    found = np.bincount(rows.y)
    if label == "adasyn":  # rounds for each row of a class
        assert (np.abs(found - wanted) <= np.array(n) / 2).all()
    else:
        assert found.tolist() == list(wanted)
    given, made = rows.take(np.arange(len(t.train))), rows.take(np.arange(len(t.train), len(rows)))
    for field in ("x", "y", "ids"):
        np.testing.assert_array_equal(getattr(given, field), getattr(t.train, field))
    assert (made.ids == -1).all()


@pytest.mark.parametrize("label", OVERSAMPLERS)
def test_over_sampling_draws_from_the_seed_of_the_run(label):
    t = crowded((60, 12))
    m = method(label)
    first = m.resample(t, t.train).x
    np.testing.assert_array_equal(first, m.resample(t, t.train).x)
    other = m.resample(replace(t, seed=t.seed + 1), t.train).x
    assert first.shape != other.shape or (first != other).any()


def test_over_sampling_takes_a_seed_of_any_size():
    """Samplers take 32 bits of it."""
    t = crowded((60, 12))
    m = method("random_oversampling", amount="balanced")
    made = {seed: m.resample(replace(t, seed=seed), t.train).x for seed in (5, 69, 2**32 + 5, 3 * 2**32 + 5)}
    np.testing.assert_array_equal(made[2**32 + 5], made[5])
    np.testing.assert_array_equal(made[3 * 2**32 + 5], made[5])
    assert (made[69] != made[5]).any()


@dataclass(frozen=True)
class Halfway(OverSampler):
    """Adds the mean of the two rows of class 1, in double precision."""

    def make(self, targets, seed):
        return self

    def fit_resample(self, x, y):
        self.seen.append(x.dtype)
        return np.concatenate([x, x[y == 1].mean(0, keepdims=True, dtype=np.float64)]), np.append(y, 1)


@pytest.mark.parametrize(
    ("reads", "given", "wanted", "seen"),
    [
        ("vectors", np.uint8, 2, np.float32),  # 1.5 is rounded to the next even byte
        ("any", np.uint8, 2, np.uint8),
        ("vectors", np.float32, 1.5, np.float32),
        ("any", np.float32, 1.5, np.float32),
    ],
)
def test_what_is_made_of_bytes_is_rounded_and_what_is_made_of_numbers_is_not(reads, given, wanted, seen, monkeypatch):
    monkeypatch.setattr(Halfway, "reads", reads)
    monkeypatch.setattr(Halfway, "seen", [], raising=False)
    x = np.array([9, 9, 9, 1, 2]).astype(given).reshape(5, 1, 1)
    rows = Halfway("doubled").resample(task(), Part(x, np.array([0, 0, 0, 1, 1]), np.arange(5)))
    assert rows.x.dtype == given and rows.x[:, 0, 0].tolist() == [9, 9, 9, 1, 2, wanted]
    assert rows.ids.tolist() == [0, 1, 2, 3, 4, -1] and Halfway.seen == [seen]


def test_random_over_sampling_repeats_rows():
    t = image_task()
    rows = method("random_oversampling").resample(t, t.train)
    given = {(int(y), x.tobytes()) for x, y in zip(t.train.x, t.train.y)}
    assert {(int(y), x.tobytes()) for x, y in zip(rows.x, rows.y)} == given


def crowded(n: tuple[int, ...], seed: int = 0) -> Task:
    """A task whose classes overlap so much that each has rows in danger."""
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(len(n)), n)
    x = rng.normal(size=(len(y), 3)) + 0.3 * y[:, None]
    return replace(task(seed, n, 3), train=Part(x.astype(np.float32), y, np.arange(len(y))))


def segments(own: np.ndarray, k: int) -> list[tuple[int, int]]:
    """(row, neighbour) for each row and its k nearest others, by sorting all distances."""
    distances = np.linalg.norm(own[:, None] - own[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    return [(i, int(j)) for i in range(len(own)) for j in np.argsort(distances[i])[:k]]


def bases(points: np.ndarray, own: np.ndarray, pairs: list[tuple[int, int]]) -> list[set[int]]:
    """For each point the rows from which a segment to one of their neighbours goes through it."""
    found = []
    for p in points.astype(np.float64):
        through = set()
        for i, j in pairs:
            a, d = own[i], own[j] - own[i]
            share = np.clip((p - a) @ d / (d @ d), 0, 1)
            if np.linalg.norm(a + share * d - p) < 1e-5:
                through.add(i)
        found.append(through)
    return found


@pytest.mark.parametrize("label", SMOTES)
@pytest.mark.parametrize("k", [1, 3, 5])
def test_points_lie_on_segments_between_a_row_and_its_nearest_of_the_same_class(label, k):
    t = crowded((60, 14, 10))
    rows = method(label, k_neighbors=k).resample(t, t.train)
    made = rows.take(np.flatnonzero(rows.ids == -1))
    assert len(made) >= 12
    for c in (1, 2):
        own = t.train.x[t.train.y == c].astype(np.float64)
        assert all(bases(made.x[made.y == c], own, segments(own, k)))
    # New rows, not copies.
    assert not {x.tobytes() for x in made.x} & {x.tobytes() for x in t.train.x}


def danger(x: np.ndarray, y: np.ndarray, c: int, m: int) -> set[int]:
    """The rows of class c, counted within it, with at least half but not all of their m nearest rows foreign."""
    out = set()
    for i, row in enumerate(np.flatnonzero(y == c)):
        distances = np.linalg.norm(x - x[row], axis=1)
        distances[row] = np.inf
        foreign = (y[np.argsort(distances)[:m]] != c).sum()
        if m / 2 <= foreign < m:
            out.add(i)
    return out


def test_borderline_smote_starts_from_rows_in_danger():
    t = crowded((60, 20))
    rows = method("borderline_smote").resample(t, t.train)
    x, y = t.train.x.astype(np.float64), t.train.y
    own, endangered = x[y == 1], danger(x, y, 1, 10)
    assert 0 < len(endangered) < len(own)
    made = rows.x[rows.ids == -1]
    assert len(made) == 20
    assert all(start & endangered for start in bases(made, own, segments(own, 5)))


def apart(n: int = 12) -> Task:
    """Two classes so far from each other that no row has a foreign neighbour."""
    part = blobs([40, n], 3, np.random.default_rng(0))
    x = part.x + 100 * part.y[:, None].astype(np.float32)
    return replace(task(0, (40, n), 3), train=replace(part, x=x))


def test_borderline_smote_adds_nothing_where_nobody_is_in_danger():
    t = apart(20)  # more than m_neighbors = 10
    rows = method("borderline_smote").resample(t, t.train)
    np.testing.assert_array_equal(rows.ids, t.train.ids)
    assert resampling_info(t, rows)["fitted_counts"] == [40, 20]


def test_adasyn_makes_more_points_where_more_neighbours_are_foreign():
    # Ten minority rows close together far away, and two within the majority: all points start from those two.
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(size=(60, 3)), 50 + rng.normal(size=(10, 3)), rng.normal(size=(2, 3))])
    t = replace(task(), train=Part(x.astype(np.float32), np.repeat([0, 1], [60, 12]), np.arange(72)))
    rows = method("adasyn").resample(t, t.train)
    own = x[60:].astype(np.float32).astype(np.float64)
    assert all(start & {10, 11} for start in bases(rows.x[rows.ids == -1], own, segments(own, 5)))


def test_adasyn_without_a_foreign_neighbour_is_smote_and_says_so(caplog):
    t = apart()
    with caplog.at_level(logging.INFO, "imbalance_bench"):
        rows = method("adasyn").resample(t, t.train)
    assert "fold 0: ADASYN's densities are undefined here, so SMOTE made the rows" in caplog.text
    np.testing.assert_array_equal(rows.x, method("smote").resample(t, t.train).x)


@pytest.mark.parametrize("label", SMOTES)
def test_too_few_rows_for_the_neighbours_is_an_error_that_names_the_override(label):
    with pytest.raises(BenchError) as error:
        t = task(0, (40, 5))
        method(label).resample(t, t.train)
    name = method(label).name
    assert f"method={name} needs at least k_neighbors+1 = 6 rows of each class that it fills up" in str(error.value)
    assert "fold 0 has 5 of class 1: set method.k_neighbors=4" in str(error.value)
    rows = method(label, k_neighbors=4).resample(t, t.train)
    assert set(np.bincount(rows.y)[:1]) == {40}


def test_one_row_has_no_neighbour_whatever_their_number():
    t = task(0, (40, 1))
    with pytest.raises(BenchError, match="fold 0 has 1 of class 1: choose a lower ratio"):
        method("smote", k_neighbors=1).resample(t, t.train)


def test_what_the_error_suggests_serves_every_fold():
    tasks = [task(0, (40, 5)), task(1, (40, 3), fold=1), task(2, (40, 5))]
    with pytest.raises(BenchError, match="fold 1 has 3 of class 1: set method.k_neighbors=2,"):
        method("smote").fit(tasks, backbone(), Engine(trainer(epochs=1), "cpu"))


def test_an_over_sampler_with_nonsense_options_is_an_error_that_names_it():
    t = task()
    with pytest.raises(BenchError, match="method.k_neighbors=-3 must be a whole number, at least 1"):
        method("smote", k_neighbors=-3).resample(t, t.train)


# Under-sampling and batches


@pytest.mark.parametrize("n", [(90, 15), (50, 20, 8), (10, 10)])
def test_random_under_sampling_cuts_every_class_to_the_smallest(n):
    t = task(0, n)
    rows = method("random_undersampling").resample(t, t.train)
    assert np.bincount(rows.y).tolist() == [min(n)] * len(n)
    assert len(set(rows.ids.tolist())) == len(rows)
    at = {i: k for k, i in enumerate(t.train.ids.tolist())}
    np.testing.assert_array_equal(rows.x, t.train.x[[at[i] for i in rows.ids.tolist()]])
    smallest = np.flatnonzero(np.bincount(t.train.y) == min(n))
    for c in smallest:
        assert set(rows.ids[rows.y == c]) == set(t.train.ids[t.train.y == c])
    other = method("random_undersampling").resample(replace(t, seed=t.seed + 1), t.train)
    assert min(n) == max(n) or set(other.ids.tolist()) != set(rows.ids.tolist())


@pytest.mark.parametrize(
    "n, size, wanted", [((90, 6), 16, [8, 8]), ((90, 6, 3), 16, [6, 5, 5]), ((90, 0, 6), 8, [4, 0, 4])]
)
def test_balanced_batches_hold_as_many_rows_of_each_class(n, size, wanted):
    labels = torch.as_tensor(np.random.default_rng(0).permutation(np.repeat(np.arange(len(n)), n)))
    plan = method("balanced_batches").sampler(labels, size, torch.Generator().manual_seed(0))
    assert plan.shape == (math.ceil(sum(n) / size), size)
    for batch in plan:
        assert torch.bincount(labels[batch], minlength=len(n)).tolist() == wanted
    for c, count in enumerate(n):  # the rows of a class come equally often
        uses = torch.bincount(plan.flatten(), minlength=len(labels))[labels == c]
        assert count == 0 or uses.max() - uses.min() <= 1


# Potential


def test_potential_doubles_the_minority_with_withdrawn_rows():
    t = task(0, (90, 15))
    t = replace(t, withdrawn=replace(t.withdrawn, ids=t.withdrawn.ids + 1000))
    rows = method("potential").resample(t, t.train)
    assert np.bincount(rows.y).tolist() == [90, 30]
    added = rows.take(np.arange(len(t.train), len(rows)))
    at = {i: k for k, i in enumerate(t.withdrawn.ids.tolist())}
    np.testing.assert_array_equal(added.x, t.withdrawn.x[[at[i] for i in added.ids.tolist()]])
    assert len(set(added.ids.tolist())) == 15
    assert (added.y == 1).all()
    np.testing.assert_array_equal(rows.ids[: len(t.train)], t.train.ids)


def test_potential_takes_all_that_were_withdrawn_where_these_are_fewer():
    t = task(0, (90, 30))  # 20 withdrawn
    assert np.bincount(method("potential").resample(t, t.train).y).tolist() == [90, 50]


def test_potential_leaves_withdrawn_majority_rows_alone():
    t = task(0, (90, 15))
    t = replace(t, withdrawn=replace(t.withdrawn, y=np.arange(20) % 2))
    assert np.bincount(method("potential").resample(t, t.train).y).tolist() == [90, 25]


def test_potential_declines_where_nothing_was_withdrawn():
    t = task()
    none = replace(t, withdrawn=None)
    majority_only = replace(t, withdrawn=replace(t.withdrawn, y=np.zeros(20, int)))
    for case in (none, majority_only):
        assert "ratio=ir_50" in method("potential").declines(case)
    assert method("potential").declines(t) is None


# What the record says


def info(label: str, t: Task, rows: str = "train", **options) -> dict:
    engine = Engine(trainer(epochs=1, rows=rows), "cpu")
    return method(label, **options).fit([t], backbone(), engine)[0].info


def test_the_record_shows_what_resampling_did():
    t = crowded((90, 15))
    assert info("cross_entropy", t) == {"train_counts": [90, 15], "fitted_counts": [90, 15]}
    assert info("random_undersampling", t) == {"train_counts": [90, 15], "fitted_counts": [15, 15]}
    copied = info("random_oversampling", t)
    assert copied["fitted_counts"] == [90, 30]
    assert copied["synthetic"] == {"rows": 15, "distance_mean": 0, "distance_max": 0}
    moved = info("smote", t)
    assert moved["fitted_counts"] == [90, 30]
    # As far as the nearest minority row, here by all distances; at most half of the longest segment.
    rows = method("smote").resample(t, t.train)
    own = t.train.x[t.train.y == 1].astype(np.float64)
    nearest = np.linalg.norm(rows.x[rows.ids == -1][:, None] - own[None], axis=2).min(1)
    expected = {"rows": 15, "distance_mean": nearest.mean(), "distance_max": nearest.max()}
    assert moved["synthetic"] == pytest.approx(expected, rel=1e-5)
    longest = max(np.linalg.norm(own[i] - own[j]) for i, j in segments(own, 5))
    assert 0 < moved["synthetic"]["distance_max"] <= longest / 2 + 1e-6


def test_copies_of_validation_rows_that_were_learned_from_have_not_moved():
    copied = info("random_oversampling", crowded((90, 15)), rows="train_valid")
    assert copied["fitted_counts"] == [120, 40]
    assert copied["synthetic"] == {"rows": 20, "distance_mean": 0, "distance_max": 0}
