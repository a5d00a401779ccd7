"""Batches of texts: which rows come together."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from imbalance_bench.engine.batches import POOL, bucketed, class_aware, shuffled


def longest(plan: torch.Tensor, lengths: torch.Tensor) -> int:
    """Columns of all batches together."""
    return int((lengths[plan.clamp(min=0)] * (plan >= 0)).amax(1).sum())


@given(st.integers(1, 400), st.integers(1, 9), st.integers(1, 4), st.integers(0, 2**31))
def test_bucketed_batches_have_the_same_rows_an_epoch_and_the_same_classes_a_batch(n, size, classes, seed):
    rng = np.random.default_rng(seed)
    lengths = torch.as_tensor(rng.integers(1, 50, n))
    labels = torch.as_tensor(rng.integers(0, classes, n))
    for sampler in (lambda y, b, g: shuffled(len(y), b, g), class_aware):
        plan = sampler(labels, size, torch.Generator().manual_seed(seed))
        given_plan = plan.clone()
        changed = bucketed(plan, lengths, labels)
        assert torch.equal(plan, given_plan)
        assert torch.equal(changed < 0, plan < 0)
        for before, after in zip(plan.split(POOL), changed.split(POOL)):
            assert torch.equal(before.flatten().sort().values, after.flatten().sort().values)
        for before, after in zip(plan, changed):
            assert torch.equal(labels[before[before >= 0]], labels[after[after >= 0]])


def test_bucketed_batches_have_texts_of_about_one_length():
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(1, 100, (2048,), generator=generator)
    labels = (torch.rand(2048, generator=generator) < 0.1).long()
    plan = shuffled(2048, 32, generator)
    least = int(lengths.sort().values.view(-1, 32).amax(1).sum())
    before, after = longest(plan, lengths), longest(bucketed(plan, lengths, labels), lengths)
    assert before > 1.9 * least
    assert after < 1.25 * least
    # Of two runs the same batches are short: one length serves both.
    other = bucketed(shuffled(2048, 32, generator), lengths, labels)
    short = [lengths[p].amax(1) < 50 for p in (bucketed(plan, lengths, labels), other)]
    assert (short[0] == short[1]).double().mean() > 0.85
