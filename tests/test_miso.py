"""MISO: its parts against what they are defined as, and what its anchors are."""

from __future__ import annotations

import dataclasses
import math
import re
from functools import cache
from itertools import islice

import numpy as np
import pytest
import torch

from imbalance_bench.data.base import Part, Vocabulary
from imbalance_bench.engine import Engine
from imbalance_bench.errors import BenchError
from imbalance_bench.methods.miso import anchors
from imbalance_bench.methods.miso.difficult import difficult
from imbalance_bench.methods.miso.generator import ClassTexts, Generator
from imbalance_bench.methods.miso.networks import Discriminator, EncoderDecoders, SemanticFusion, Texts, entangled
from imbalance_bench.methods.miso.seq2seq import Memory
from imbalance_bench.methods.shared import token_ids
from tests.tasks import method, task, trainer
from tests.texts import LENGTH, SIZE, VOCABULARY, MeanOfWords, text_task

QUICK = {
    "width": 16, "heads": 2, "layers": 1, "batch_size": 8, "pretrain_steps": 20, "epochs": 2, "epoch_steps": 2,
}  # fmt: skip


def quick(label="miso", **options):
    extra = {} if label == "cag" else {"mine_steps": 2}
    return method(label, **QUICK | extra | options)


def fit(tasks, label="miso", **options):
    return quick(label, **options).fit(tasks, MeanOfWords(), Engine(trainer(epochs=2), "cpu"))


def generator(t, m, wanted=None, device="cpu"):
    own = t.train.y == 1
    wanted = int((~own).sum() - own.sum()) if wanted is None else wanted
    seed = np.random.SeedSequence([t.seed, 1])
    return Generator(m, t.vocabulary, t.train.x[own], t.train.x[~own], wanted, seed, Engine(trainer(), device))


def networks(fused=True):
    torch.manual_seed(0)
    return EncoderDecoders(VOCABULARY, LENGTH, 16, 2, 2, fused).double()


def some_texts(n=5):
    return ClassTexts(text_task().train.x[:n], VOCABULARY.pad, torch.device("cpu")).take(torch.arange(n))


# ---------------------------------------------------------------------------------------------------- semantic fusion


def test_fusion_is_the_formula_written_out():
    q, k = np.random.default_rng(0).normal(size=(2, 3, 2))
    tau = 2.5

    def softmax(a):
        return np.exp(a) / np.exp(a).sum(1, keepdims=True)

    expected = softmax(q @ k.T / math.sqrt(tau)) @ q @ softmax(q.T @ k / math.sqrt(tau))
    np.testing.assert_allclose(entangled(torch.as_tensor(q), torch.as_tensor(k), tau), expected)


def test_fusion_looks_at_everything_alike_when_tau_is_large_and_at_one_thing_when_it_is_small():
    q, k = torch.randn(2, 6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(entangled(q, k, 1e16), q.mean().expand(6, 4), atol=1e-7, rtol=0)
    across, within = (q @ k.T).argmax(1), (q.T @ k).argmax(1)
    one = torch.nn.functional.one_hot(within, 4).double()
    torch.testing.assert_close(entangled(q, k, 1e-8), q[across] @ one)


def test_each_head_fuses_its_share_alone():
    fusion = SemanticFusion(6, 2).double()
    fusion.units = torch.nn.Identity()
    q, k = torch.randn(2, 5, 6, dtype=torch.float64)
    by_hand = torch.cat([entangled(q[:, :3], k[:, :3], 3.0), entangled(q[:, 3:], k[:, 3:], 3.0)], 1)
    torch.testing.assert_close(fusion(q, k, 3.0), by_hand)


# ------------------------------------------------------------------------------------------------- reading and writing


def test_padding_changes_nothing():
    net, texts = networks(), some_texts()
    states, sentences = net.read(texts)
    for row, length in enumerate(texts.real.sum(1).tolist()):
        alone = Texts(texts.ids[row : row + 1, :length], texts.real[row : row + 1, :length])
        torch.testing.assert_close(net.read(alone)[1][0], sentences[row])
    together = net.predicted(net.majority, texts, Memory(states, texts.real))
    last = Texts(texts.ids[-1:, : texts.real[-1].sum()], texts.real[-1:, : texts.real[-1].sum()])
    alone = net.predicted(net.majority, last, Memory(net.read(last)[0], last.real))
    torch.testing.assert_close(together[-len(alone) :], alone)


@pytest.mark.parametrize("side", ["minority", "majority"])
def test_words_written_one_by_one_are_those_of_the_whole_text_read_at_once(side):
    net, texts = networks(), some_texts()
    states, q = net.read(texts)
    memory = net.unfolded(q) if side == "minority" else Memory(states, texts.real)
    decoder = getattr(net, side)
    written, noise = net.write(decoder, memory, LENGTH)
    assert noise is None
    logits = net.predicted(decoder, written, memory)
    first = written.real.cumsum(1)[written.real] == 1
    logits[first, VOCABULARY.end] = -torch.inf  # a text is never empty
    assert torch.equal(logits.argmax(-1), written.ids[written.real])

    written, noise = net.write(decoder, memory, LENGTH, torch.Generator().manual_seed(0))
    logits = net.predicted(decoder, written, memory) + noise
    logits[written.real.cumsum(1)[written.real] == 1, VOCABULARY.end] = -torch.inf
    assert torch.equal(logits.argmax(-1), written.ids[written.real])
    drawn = net.drawn(decoder, memory, LENGTH, torch.Generator().manual_seed(0))
    assert torch.equal(drawn.ids, written.ids)
    torch.testing.assert_close(drawn.soft.sum(-1), torch.ones(len(noise), dtype=torch.float64))


def test_written_texts_stop_at_their_end_and_have_a_word():
    net = networks()
    with torch.no_grad():
        net.words.weight[VOCABULARY.end] *= 20  # often the likeliest
        memory = net.unfolded(torch.randn(64, 16, dtype=torch.float64))
        for noise in (None, torch.Generator().manual_seed(0)):
            written, _ = net.write(net.minority, memory, LENGTH, noise)
            assert not torch.isin(written.ids[written.real], torch.tensor([VOCABULARY.pad, VOCABULARY.begin])).any()
            assert (written.ids[:, 0] != VOCABULARY.end).all()
            for ids, real in zip(written.ids.tolist(), written.real.tolist()):
                ends = [i for i, word in enumerate(ids) if word == VOCABULARY.end]
                assert sum(real) == (ends[0] + 1 if ends else len(ids))
                assert set(ids[sum(real) :]) <= {VOCABULARY.pad}
        assert (written.ids == VOCABULARY.end).any()


def test_given_texts_end_as_written_ones_do():
    x = torch.tensor([[7, 8, 9], [5, 0, 0]])
    ended = networks().ended(Texts(x, x > 0))
    assert ended.ids.tolist() == [[7, 8, 9, 2], [5, 2, 0, 0]]
    assert ended.real.tolist() == [[True] * 4, [True, True, False, False]]


def test_chosen_words_are_embedded_as_they_are_and_pass_the_gradient_of_their_probabilities():
    table = torch.randn(7, 3, dtype=torch.float64, requires_grad=True)
    logits = torch.randn(2, 4, 7, dtype=torch.float64, requires_grad=True)
    ids, real = logits.argmax(-1), torch.tensor([[True] * 4, [True, True, False, False]])
    towards = torch.randn(2, 4, 3, dtype=torch.float64)
    embedded = Texts(ids, real, logits[real].softmax(-1)).embedded(table)
    torch.testing.assert_close(embedded, table[ids])
    found = torch.autograd.grad((embedded * towards).sum(), [logits, table])
    soft = torch.autograd.grad((logits.softmax(-1) @ table.detach() * towards)[real].sum(), logits)
    hard = torch.autograd.grad((table[ids] * towards).sum(), table)
    torch.testing.assert_close(found, (*soft, *hard))


def test_words_are_drawn_as_often_as_they_are_likely():
    net = networks()
    with torch.no_grad():
        net.words.weight[10:] -= 30 * net.minority.norm.weight  # few words matter
        memory = net.unfolded(torch.zeros(4000, 16, dtype=torch.float64))
        start = net.placed(net.words.weight[VOCABULARY.begin].expand(4000, 1, 16))
        logits = net.logits(net.minority(start, memory))[0, 0]
        logits[VOCABULARY.end] = -torch.inf
        drawn = net.write(net.minority, memory, 1, torch.Generator().manual_seed(0))[0].ids[:, 0]
    np.testing.assert_allclose(drawn.bincount(minlength=SIZE) / 4000, logits.softmax(-1), atol=0.03)


# ------------------------------------------------------------------------------------------------------- the two games


def test_a_discriminator_that_knows_nothing_has_a_loss_of_2_log_2():
    critic = Discriminator(SIZE, 8)
    torch.nn.init.zeros_(critic.out.weight)
    torch.nn.init.zeros_(critic.out.bias)
    texts = some_texts()
    assert float(critic.loss(texts, texts).detach()) == pytest.approx(2 * math.log(2))
    assert float(critic.deceived(texts).detach()) == pytest.approx(-math.log(2))


def test_a_discriminator_learns_to_tell_texts_apart_and_ignores_padding():
    torch.manual_seed(0)
    critic = Discriminator(SIZE, 8)
    texts = some_texts(8)
    shuffled = Texts(torch.where(texts.real, 3 + (texts.ids + 5) % 30, 0), texts.real)
    optimiser = torch.optim.Adam(critic.parameters(), 1e-2)
    for _ in range(100):
        optimiser.zero_grad()
        loss = critic.loss(texts, shuffled)
        loss.backward()
        optimiser.step()
    assert float(loss.detach()) < 0.5
    other = Texts(texts.ids.masked_fill(~texts.real, 17), texts.real)
    torch.testing.assert_close(critic(texts), critic(other))


def test_who_is_moved_by_what():
    """Line 6 moves the discriminators, 7 encoder, decoders and fusion, 8 the MINEs; what stood for fusion stays."""
    g = generator(text_task(), quick(epochs=1, epoch_steps=1))
    g.pretrain()

    def parameters():
        parts = {"networks": g.networks} | {n: torch.nn.ModuleList(getattr(g, n)) for n in ("critics", "mines")}
        return {f"{part}.{n}": p.detach().clone() for part, m in parts.items() for n, p in m.named_parameters()}

    before = parameters()
    g.train(np.arange(12))
    stayed = [name for name, p in parameters().items() if torch.equal(p, before[name])]
    assert stayed
    assert all(name.startswith("networks.imitation") for name in stayed), stayed


class Recorder(torch.optim.SGD):
    """Keeps the gradients that it is given, and moves nothing."""

    def step(self, closure=None):
        self.seen = [p.grad.clone() for group in self.param_groups for p in group["params"] if p.grad is not None]


def test_each_part_descends_its_term_of_the_game():
    """One batch of lines 6 to 8 against Eqs. of Sections 4.2 and 5 written out: φ ascends the game, ψ and σ descend
    (1 - α) [I(K; Q̄) - I(Q; Q̄)] + α of it, ω ascend both bounds."""
    g = generator(text_task(), quick(layers=1))
    net, tau = g.networks.double(), 2.5
    for part in (*g.critics, *g.mines):
        part.double()
    few, many = next(g._pairs())
    parts = {"critics": g.critics, "networks": [net], "mines": g.mines}
    recorders = {name: Recorder([p for m in part for p in m.parameters()], 0.0) for name, part in parts.items()}
    noise = g.noise.get_state()
    with g.aside():
        g._iterate(few, many, tau, *recorders.values())
    g.noise.set_state(noise)

    (_, q), (states, k) = net.read(few), net.read(many)
    fused = net.latent(q, k, tau)
    memories = net.unfolded(fused), Memory(states, many.real)
    likely = []
    for critic, decoder, texts, memory in zip(g.critics, (net.minority, net.majority), (few, many), memories):
        written = net.drawn(decoder, memory, texts.ids.shape[1] + 1, g.noise)
        likely.append([torch.sigmoid(critic(x)) for x in (net.ended(texts), written.fixed(), written)])
    game = sum(given.log().mean() + (1 - made).log().mean() for given, made, _ in likely)

    def bounds(pairs):
        for mine, (x, y, order) in zip(g.mines, pairs):
            mine.average.fill_(-math.inf)
            yield mine(x, y).mean() - mine(x, y[order]).exp().mean().log()

    of_minority, of_majority = bounds(g._triples(q, fused, k))
    of_texts = sum((1 - made).log().mean() for *_, made in likely)
    down = {
        "critics": -game,
        "networks": (1 - 1 / tau) * (of_majority - of_minority) + of_texts / tau,
        "mines": -sum(bounds(g._triples(q, fused, k))),
    }
    for name, loss in down.items():
        ps = [p for m in parts[name] for p in m.parameters()]
        expected = [d for d in torch.autograd.grad(loss, ps, retain_graph=True, allow_unused=True) if d is not None]
        assert sum(float(d.abs().sum()) for d in expected) > 0
        torch.testing.assert_close(recorders[name].seen, expected, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("alpha,expected", [(None, (0.75, 0.25)), (0.5, (0.5, 0.5)), (1.0, (0.0, 1.0))])
def test_alpha(alpha, expected):
    assert method("miso", alpha=alpha).weights(4.0) == expected


# ----------------------------------------------------------------------------------------------------------- difficult


def test_difficult_texts_have_a_majority_text_among_their_nearest():
    minority = torch.tensor([[0.0], [0.1], [5.0], [9.0]])
    majority = torch.tensor([[5.1], [20.0], [21.0]])
    assert difficult(minority, [], majority, 1).tolist() == [False, False, True, True]
    assert difficult(minority, [], majority, 3).all()
    assert difficult(minority, [torch.tensor([[4.95], [8.9]])], majority, 1).tolist() == [False] * 4
    # A collapsed encoder: everything lies in one place, and is its own neighbour never.
    assert difficult(torch.zeros(9, 1), [], torch.zeros(9, 1), 3).shape == (9,)


# ------------------------------------------------------------------------------------------------------------- anchors


@pytest.mark.parametrize("label", ["miso", "cag", "miso_constant_tau", "miso_all_minority"])
def test_anchors_balance_the_classes_and_are_texts(label):
    t = text_task()
    (classifier,) = fit([t], label)
    made = classifier.artifacts["anchors_class1"]
    assert classifier.info["train_counts"] == [40, 12]
    assert classifier.info["fitted_counts"] == [40, 40]
    assert classifier.info["synthetic"] == {"rows": 28}
    assert made.shape == (28, LENGTH)
    assert made.dtype == np.int32
    real = made != VOCABULARY.pad
    assert (real.sum(1) >= 1).all()
    assert (np.diff(real.astype(int), axis=1) <= 0).all()  # padded on the right
    assert ((made[real] > VOCABULARY.end) & (made[real] < SIZE)).all()

    # Sources are rows of the minority, in turn.
    sources = classifier.artifacts["sources_class1"]
    assert set(sources.tolist()) <= set(t.train.ids[t.train.y == 1].tolist())
    times = np.unique(sources, return_counts=True)[1]
    assert times.max() - times.min() <= 1
    facts = classifier.info["generator"]["1"]
    assert len(times) == facts["sources"]
    if label == "miso_all_minority":
        assert facts["sources"] == 12
    elif 0 < facts["difficult_before"] < 1:
        assert facts["sources"] == round(12 * facts["difficult_before"])
    pairs = classifier.artifacts["texts_class1"]
    assert pairs.shape == (28, 2)
    assert pairs.dtype.kind == "U"
    assert pairs[:, 1].tolist() == VOCABULARY.decode(made)
    for name in ("difficult_before", "difficult_after", "copies", "near_copies", "distinct_1", "distinct_2"):
        assert 0 <= facts[name] <= 1
    for name in ("ended", "reconstruction_pretrained", "reconstruction_start", "reconstruction_final"):
        assert 0 <= facts[name] <= 1
    assert 0 <= classifier.info["difficult_classifier"]["1"] <= 1
    assert ("mi_minority" in facts) == (label != "cag")


def test_a_generator_is_trained_once_for_all_classifiers(tmp_path, monkeypatch):
    trained = []
    pretrain = Generator.pretrain
    monkeypatch.setattr(Generator, "pretrain", lambda self: (trained.append(self), pretrain(self)))
    engine = Engine(trainer(epochs=2), "cpu", tmp_path)
    ours, other = ([text_task(seed)] for seed in (0, 1))
    longer = Engine(trainer(epochs=3), "cpu", tmp_path)
    (first,), (second,) = (quick().fit(ours, MeanOfWords(), e) for e in (engine, longer))
    assert len(trained) == 1
    assert second.info["generator"] == first.info["generator"]
    same = {k for k in first.artifacts if np.array_equal(first.artifacts[k], second.artifacts[k])}
    assert {"anchors_class1", "sources_class1", "texts_class1", "generator_tau_class1"} <= same
    quick("miso_anchors_only").fit(ours, MeanOfWords(), engine)
    assert len(trained) == 1
    for label, options, tasks in (("miso", {}, other), ("miso", {"lr": 1e-3}, ours), ("cag", {}, ours)):
        quick(label, **options).fit(tasks, MeanOfWords(), engine)
    assert len(trained) == 4


def test_tau_falls_as_anchors_are_made_or_stays():
    (falling,), (constant,) = fit([text_task()], epochs=4), fit([text_task()], "miso_constant_tau", epochs=4)
    assert falling.artifacts["generator_anchors_class1"].tolist() == [7, 14, 21, 28]
    np.testing.assert_allclose(falling.artifacts["generator_tau_class1"], 40 / (12 + np.array([0, 7, 14, 21])))
    assert constant.artifacts["generator_anchors_class1"].tolist() == [0, 0, 0, 28]
    np.testing.assert_allclose(constant.artifacts["generator_tau_class1"], 40 / 12)


def test_a_source_that_comes_again_meets_another_majority_text():
    """Two sources for 28 anchors, by argmax: with fusion their latents differ each time."""
    g = generator(text_task(), quick())
    g.pretrain()
    seen = []
    unfolded = g.networks.unfolded
    g.networks.unfolded = lambda latent: seen.append(latent) or unfolded(latent)
    g.write(torch.tensor([0, 1]).repeat(14), 2.0)
    latents = torch.cat(seen)[:28]
    assert len(latents.unique(dim=0)) == 28


def test_each_class_of_several_is_filled_up():
    (classifier,) = fit([text_task(0, (30, 14, 9))])
    assert classifier.info["fitted_counts"] == [30, 30, 30]
    assert set(classifier.info["generator"]) == {"1", "2"}
    assert classifier.artifacts["anchors_class2"].shape == (21, LENGTH)


def test_anchors_can_stand_for_the_minority():
    m, t = quick("miso_anchors_only"), text_task()
    made = m.generate(t, t.train, m.wanted(t, t.train), Engine(trainer(), "cpu"))
    rows = m.training_set(t, t.train, made)
    assert np.bincount(rows.y).tolist() == [40, 28]
    assert (rows.ids[rows.y == 1] == -1).all()
    np.testing.assert_array_equal(np.sort(rows.ids[rows.y == 0]), np.sort(t.train.ids[t.train.y == 0]))


def test_a_run_is_the_same_whichever_runs_it_is_beside():
    tasks = [text_task(0), text_task(1, (30, 9)), text_task(2)]
    together = fit(tasks)
    for t, joint in zip(tasks[:2], together):
        torch.manual_seed(5)
        (alone,) = fit([t])
        assert alone.info == joint.info
        for name, array in alone.artifacts.items():
            np.testing.assert_array_equal(array, joint.artifacts[name])
        x = text_task(7).valid.x
        np.testing.assert_allclose(alone.scores(x), joint.scores(x), rtol=0, atol=1e-4)


def test_a_balanced_run_needs_no_generator():
    (classifier,) = fit([text_task(0, (20, 20))])
    assert classifier.info["fitted_counts"] == [20, 20]
    assert not classifier.artifacts


def test_a_generator_that_diverges_fails_its_run():
    (classifier,) = fit([text_task()], lr=1e30)
    assert "of the generator is" in classifier.failure
    assert classifier.info["fitted_counts"] == [40, 12]


def test_a_minority_that_is_the_largest_class_is_an_error():
    with pytest.raises(BenchError, match="class 1, which counts as one, is the largest of fold 0 .30 texts.: choose"):
        fit([text_task(0, (20, 30))])


def test_the_training_rows_stay_as_they_are():
    m, t = quick(), text_task()
    x, y = t.train.x.copy(), t.train.y.copy()
    made = m.generate(t, t.train, m.wanted(t, t.train), Engine(trainer(), "cpu"))
    rows = m.training_set(t, t.train, made)
    for given in (t.train, rows.take(slice(0, 52))):
        np.testing.assert_array_equal(given.x, x)
        np.testing.assert_array_equal(given.y, y)
    assert (rows.ids[:52] == t.train.ids).all()
    assert (rows.ids[52:] == -1).all()


def test_as_many_anchors_as_are_missing_whatever_was_kept_before(tmp_path):
    """Class 1 against the rest has the texts of class 1 among three, and misses more."""
    engine = Engine(trainer(epochs=1), "cpu", tmp_path)
    three = text_task(0, (30, 10, 20))
    two = dataclasses.replace(
        three, classes=2, minority_classes=(1,), train=dataclasses.replace(three.train, y=(three.train.y == 1) * 1)
    )
    three = dataclasses.replace(three, minority_classes=(1,))
    for t, anchors_of_1 in ((three, 20), (two, 40)):
        m = quick()
        made = m.generate(t, t.train, m.wanted(t, t.train), engine)
        assert len(made.by_class[1]) == anchors_of_1


def test_anchors_closed_as_a_pretrained_tokenizer_does_are_no_longer_than_the_texts():
    """Networks know no places beyond the longest text, though rows are wider."""
    t = text_task()
    short = dataclasses.replace(t.train, x=np.where(np.arange(LENGTH) < 5, t.train.x, VOCABULARY.pad))
    t = dataclasses.replace(t, train=short, vocabulary=dataclasses.replace(VOCABULARY, tail=(SIZE - 2, SIZE - 1)))
    m = quick()
    made = m.generate(t, t.train, m.wanted(t, t.train), Engine(trainer(), "cpu")).by_class[1]
    lengths = (made != VOCABULARY.pad).sum(1)
    assert lengths.max() <= 5
    assert all(row[n - 2 : n].tolist() == [SIZE - 2, SIZE - 1] for row, n in zip(made, lengths))


def test_products_in_bfloat16():
    (classifier,) = quick().fit([text_task()], MeanOfWords(), Engine(trainer(precision="bfloat16"), "cpu"))
    assert classifier.failure is None
    assert classifier.info["fitted_counts"] == [40, 40]
    (exact,) = fit([text_task()])
    assert classifier.info["generator"]["1"] != exact.info["generator"]["1"]


def test_one_text_is_an_error_before_anything_is_trained_and_a_table_is_declined(monkeypatch):
    monkeypatch.setattr(Generator, "pretrain", lambda self: pytest.fail("a generator was trained"))
    with pytest.raises(BenchError, match="at least 2 texts .* fold 0 has 1 of class 1"):
        fit([text_task(1), text_task(0, (20, 1))])
    assert method("miso").declines(task()) == "needs texts as token ids: set backbone=textcnn, textrnn or xlnet"
    with pytest.raises(BenchError, match="method.width=10 must be a multiple of method.heads=4"):
        method("cag", width=10, heads=4)


# --------------------------------------------------------------------------------------------- what the record says


def test_facts_of_anchors():
    given = np.array([[3, 4, 5, 6], [7, 8, 0, 0]])
    made = np.array([[3, 4, 5, 6], [6, 5, 4, 3], [7, 9, 0, 0], [7, 9, 0, 0]])
    facts = anchors.anchor_facts(made, given[[0, 0, 1, 1]], given, 0)
    assert facts["copies"] == 0.25
    assert facts["near_copies"] == 0.5  # another order is near
    assert facts["distinct_1"] == 6 / 12
    assert facts["distinct_2"] == 7 / 8
    assert facts["sources_distinct_2"] == 4 / 8
    assert facts["words_mean"] == 3
    assert anchors.warnings_of(facts) == []


def test_a_collapsed_generator_is_warned_of():
    given = np.random.default_rng(0).integers(3, 30, (50, 6))
    facts = anchors.anchor_facts(np.tile(given[0], (50, 1)), given, given, 0)
    (warning,) = anchors.warnings_of(facts)
    assert "the generator has collapsed: distinct-2 of its 50 anchors is 0.0200" in warning


# ------------------------------------------------------------------------------------------------------------ controls


def test_word_augmentation_leaves_out_and_swaps():
    t = text_task()
    m = method("word_augmentation")
    rows = m.resample(t, t.train)
    assert np.bincount(rows.y).tolist() == [40, 40]
    np.testing.assert_array_equal(rows.x[:52], t.train.x)
    own = [set(x.tolist()) for x in t.train.x[t.train.y == 1]]
    for x in rows.x[52:]:
        real = x != VOCABULARY.pad
        assert real[: real.sum()].all()
        assert real.any()
        assert any(set(x[real].tolist()) <= words for words in own)
    rng, text = np.random.default_rng(0), np.array([4, 5, 6, 7, 8, 0], np.int32)
    assert m.changed(text, [0], rng).dtype == np.int32
    keep = dataclasses.replace(m, delete=0.0)
    for _ in range(20):
        changed = keep.changed(text, [0], rng)
        assert (changed != text).sum() == 2
        assert sorted(changed) == sorted(text)
    assert (dataclasses.replace(m, delete=1.0).changed(text, [0], rng) > 0).sum() == 1


def test_a_share_of_swaps_that_is_whole_is_not_rounded_up():
    class Counting:
        swaps, random = 0, staticmethod(np.ones)

        def choice(self, n, size, replace):
            self.swaps += 1
            return np.arange(size)

    rng = Counting()
    method("word_augmentation", delete=0.0, swap=0.07).changed(np.arange(1, 101), [0], rng)
    assert rng.swaps == 7  # 0.07 * 100 is 7.000000000000001


def test_random_oversampling_balanced_draws_texts_again():
    t = text_task()
    rows = method("random_oversampling_balanced").resample(t, t.train)
    assert rows.x.dtype == np.int32
    assert np.bincount(rows.y).tolist() == [40, 40]
    own = {x.tobytes() for x in t.train.x[t.train.y == 1]}
    assert {x.tobytes() for x in rows.x[52:]} <= own


# ---------------------------------------------------------------------------------------------------- real texts


def corpus(texts, labels, length):
    """Token ids of lower-cased words, and what they mean."""
    split = [re.findall(r"\w+|[^\w\s]", text.lower())[:length] or ["?"] for text in texts]
    known = {word: i for i, word in enumerate(sorted({w for ws in split for w in ws}), 3)}
    x = np.zeros((len(split), length), np.int32)
    for row, text in zip(x, split):
        row[: len(text)] = [known[w] for w in text]
    named = ["<pad>", "<s>", "</s>", *known]
    vocabulary = Vocabulary(len(named), 0, 1, 2, lambda ids: [" ".join(named[i] for i in row if i > 2) for row in ids])
    t = text_task()
    return dataclasses.replace(t, train=Part(x, np.asarray(labels), np.arange(len(x))), vocabulary=vocabulary)


SMALL = {
    "width": 32, "heads": 4, "layers": 1, "pretrain_steps": 600, "pretrain_lr": 3e-3, "pretrain_until": 0.3,
}  # fmt: skip


@cache
def described():
    """Sentences of the descriptions of two of scikit-learn's data sets."""
    from sklearn.datasets import load_breast_cancer, load_wine

    texts, labels = [], []
    for label, load in enumerate((load_breast_cancer, load_wine)):
        found = re.split(r"(?<=[.:])\s+|\n\s*\n", load().DESCR)
        found = [s for s in found if len(re.findall(r"[a-z]{2,}", s)) >= 3]
        texts += found
        labels += [label] * len(found)
    return corpus(texts, labels, 12)


@pytest.mark.slow
def test_the_decoder_learns_in_bfloat16_too():
    engine = Engine(trainer(precision="bfloat16"), "cpu")
    g = generator(described(), method("cag", **SMALL))
    with engine.autocast():
        g.pretrain()
        assert g.accuracy() > 0.9
    assert g.accuracy() > 0.9  # what was learned are the exact weights


@pytest.mark.parametrize("reconstruction, right", [(0.0, 0.5), pytest.param(1.0, 0.99, marks=pytest.mark.slow)])
def test_cag_learns_to_write_what_it_reads_and_still_does_after_the_joint_iterations(reconstruction, right):
    """As printed it forgets: of six seeds 0.71 to 0.92 of the words are found, 1.0 with their cross-entropy."""
    few = {} if reconstruction else {"epochs": 2}  # of 5: as many as show that texts are new ones, and end
    t, m = described(), method("cag", **SMALL, **few, reconstruction=reconstruction)
    g = generator(t, m, wanted=60)
    assert g.accuracy() < 0.1
    g.pretrain()
    assert g.accuracy() > 0.9
    made, ended, source = g.train(np.arange(len(g.minority)))
    assert g.accuracy(g.tau) > right
    facts = anchors.anchor_facts(made, t.train.x[t.train.y == 1][source], t.train.x, t.vocabulary.pad)
    assert anchors.warnings_of(facts) == []
    assert facts["different"] > 0.5
    assert ended.mean() > 0.2  # many texts are as long as a text may be
    assert ((made != t.vocabulary.pad).sum(1)[~ended] == g.longest).all()


@pytest.mark.slow
def test_a_fusion_that_was_trained_writes_from_what_it_makes():
    m = method("miso", **SMALL, mine_steps=0, fusion_steps=300)
    cold, warm = (generator(described(), m) for _ in range(2))
    for g in (cold, warm):
        g.pretrain()
    m.prepare(warm)
    assert warm.accuracy(warm.tau) > cold.accuracy(cold.tau) + 0.1


def test_a_look_aside_changes_nothing_that_follows():
    g = generator(text_task(), quick())
    before = g.shuffling.get_state()
    with g.aside():
        g.accuracy(g.tau)
        g.write(torch.arange(5), g.tau)
    assert torch.equal(g.shuffling.get_state(), before)


@pytest.mark.slow
def test_spam_is_reconstructed(real_data):
    import csv

    import pandas as pd

    place = real_data("sms_spam") / "sms_spam" / "SMSSpamCollection"
    sms = pd.read_csv(place, sep="\t", names=["label", "text"], quoting=csv.QUOTE_NONE)
    t = corpus(sms.text, (sms.label == "spam").astype(int), 40)
    g = generator(t, method("miso", mine_steps=0))
    g.pretrain()
    assert g.accuracy() > 0.9


def test_rows_of_two_sides_are_paired_whatever_their_lengths():
    rng = np.random.default_rng(0)
    ids = np.full((640, 20), 0)
    for row, length in zip(ids, rng.integers(2, 20, 640)):
        row[:length] = rng.integers(3, 9, length)
    generator = torch.Generator().manual_seed(0)
    side = ClassTexts(ids, 0, torch.device("cpu"))
    pairs = zip(side.batches(32, generator), side.batches(32, generator))
    lengths = [np.stack([few.real.sum(1), many.real.sum(1)]) for few, many in islice(pairs, 20)]
    assert np.mean([abs(np.corrcoef(both)[0, 1]) for both in lengths]) < 0.3


def test_made_texts_close_as_a_pretrained_tokenizer_closes_texts():
    texts = np.array([[5, 6, 4, 7, 3, 0], [5, 6, 7, 8, 9, 5], [0, 0, 0, 0, 0, 0]], np.int32)
    assert token_ids.closed(texts, 0, (4, 3)).tolist() == [[5, 6, 7, 4, 3, 0], [5, 6, 7, 8, 4, 3], [4, 3, 0, 0, 0, 0]]
    assert token_ids.closed(texts, 0, ()) is texts


def test_a_task_without_minority_classes_says_so():
    t = dataclasses.replace(text_task(0), minority_classes=())
    with pytest.raises(BenchError, match="fills up minority classes, and fold 0 has none: choose a ratio"):
        method("miso").wanted(t, t.train)
