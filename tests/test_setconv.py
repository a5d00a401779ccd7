"""SetConv: the layer against its equations, episodes, post-training sets, one network a class, and what is recorded."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.linalg
import scipy.special
import torch
import torch.nn.functional as F
from sklearn.metrics import roc_auc_score

from imbalance_bench import metrics
from imbalance_bench.cells import run_cell
from imbalance_bench.engine import Engine
from imbalance_bench.engine.stack import Stack
from imbalance_bench.errors import BenchError
from imbalance_bench.methods.setconv.episodes import EpisodicTraining, drawn, shares, without_replacement
from imbalance_bench.methods.setconv.method import AgainstRest, against_rest
from imbalance_bench.methods.setconv.network import SetConvNetwork
from imbalance_bench.metrics.scoring import score_predictions
from imbalance_bench.report.records.records import readout_title
from imbalance_bench.rescore import rescore
from imbalance_bench.seeds import POST_TRAINING, derived
from imbalance_bench.store import CellFolder
from tests.cells import cell, composed
from tests.tasks import byte_image_task, method, task, trainer

PAPER, CODE = SetConvNetwork(None, 5, None), SetConvNetwork(6, 5, 4)
SMALL = {"width": 8, "support": 12, "episodes": 30, "post_size": 60}


def stack(network, d=7, runs=2):
    """Networks whose parameters and buffers are all random."""
    made = Stack.create(lambda: network.build((d,), 2), range(runs), torch.device("cpu"), torch.float64)
    with torch.no_grad():
        made.flat.normal_(generator=torch.Generator().manual_seed(0))
    return made


def samples(*shape, seed=1):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def fit(tasks, label="setconv", settings=None, **options):
    small = SMALL if label == "setconv" else SMALL | {"hidden": 10, "output": 6}
    settings = trainer(label.removesuffix("_0001"), **{"epochs": 2} | (settings or {}))
    return method(label, **small | options).fit(tasks, None, Engine(settings, "cpu"))


# The layer


def test_the_mean_of_the_samples_is_the_set_convolution_with_the_full_kernel():
    """Eq. 3 with the kernel of Eq. 4, built by an explicit Khatri-Rao product; and Eq. 2, as the sum that it is."""
    made, x = stack(PAPER, runs=1), samples(1, 9, 7)
    params = {name: p[0].detach().numpy() for name, p in (made.params | made.buffers).items()}
    mlp = (params["anchor"] - x[0].numpy()) @ params["g1.weight"].T + params["g1.bias"]  # (N, d_o)
    weights = scipy.special.softmax(params["g2"].T, axis=0)  # (d, d_o)
    kernel = scipy.linalg.khatri_rao(mlp, weights)  # (N d, d_o)
    stacked = x[0].numpy().reshape(1, -1) @ kernel / 9
    found = made(x, "embed").mean(1).detach().numpy()
    np.testing.assert_allclose(found, stacked, rtol=1e-12)
    summed = sum(x[0, i].numpy() @ kernel.reshape(9, 7, 5)[i] for i in range(9)) / 9
    np.testing.assert_allclose(found[0], summed, rtol=1e-12)


def test_the_network_of_the_authors_code():
    """A layer that samples and anchor share, the set convolution, a layer without bias on the set's mean."""
    made, x = stack(CODE, runs=1), samples(1, 9, 7)
    p = {name: p[0].detach() for name, p in (made.params | made.buffers).items()}
    inner, anchor = ((v @ p["body.weight"].T + p["body.bias"]).relu() for v in (x[0], p["anchor"]))
    z = ((anchor - inner) @ p["g1.weight"].T + p["g1.bias"]) * (inner @ p["g2"].softmax(1).T)
    expected = (z.mean(0) @ p["head.weight"].T).relu()
    found = made(made(x, "embed").mean(1, keepdim=True), "head")[0, 0]
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    singles = (z @ p["head.weight"].T).relu() @ p["representatives"].T
    torch.testing.assert_close(made.predict(made.flat[0].detach(), x[0]), singles, rtol=1e-12, atol=0)


@pytest.mark.parametrize("network", [PAPER, CODE])
def test_a_set_has_no_order_and_a_query_is_a_set_of_one(network):
    made, x = stack(network), samples(2, 9, 7)
    order = torch.randperm(9, generator=torch.Generator().manual_seed(2))
    sets = [made(made(v, "embed").mean(1, keepdim=True), "head") for v in (x, x[:, order])]
    torch.testing.assert_close(*sets, rtol=1e-12, atol=1e-14)
    together = made(x)
    for i in range(9):
        torch.testing.assert_close(made(x[:, i : i + 1]), together[:, i : i + 1], rtol=1e-12, atol=1e-14)


def test_a_network_starts_as_the_authors_code_does():
    made = CODE.build((1000,), 2)
    assert (made.g2 == 1).all()
    assert (made.g1.bias == 0).all() and (made.body.bias == 0).all()
    assert made.body.weight.abs().max().item() == pytest.approx((6 / 1000) ** 0.5, rel=0.01)
    assert made.head.bias is None


# Episodes


def labels(n1, n2):
    return torch.cat([torch.zeros(n1, dtype=torch.int64), torch.ones(n2, dtype=torch.int64)])


def test_shares_keep_the_ratio_and_a_row_of_the_minority():
    assert shares(64, labels(900, 100)) == (58, 6)
    assert shares(64, labels(994, 6)) == (63, 1)
    assert shares(64, labels(50, 50)) == (32, 32)
    assert shares(1000, labels(667, 333)) == (667, 333)


@pytest.mark.parametrize("counts", [(90, 15), (300, 2), (12, 12), (7, 3)])
def test_a_query_is_outside_its_support_and_both_are_of_their_class(counts):
    y = labels(*counts)[torch.randperm(sum(counts), generator=torch.Generator().manual_seed(3))]
    plan = drawn(y, 20, 200, torch.Generator().manual_seed(0))
    majority, minority = shares(20, y)
    assert plan.shape == (200, 22)
    assert (y[plan] == torch.tensor([0] * majority + [1] * minority + [0, 1])).all()
    for sets, query, n in (
        (plan[:, :majority], plan[:, 20], counts[0]),
        (plan[:, majority:20], plan[:, 21], counts[1]),
    ):
        assert not (sets == query[:, None]).any()
        uses = [row.bincount(minlength=len(y))[row.unique()] for row in sets]
        most, least = (max(int(u.max()) for u in uses), min(int(u.min()) for u in uses))
        assert most == -(-sets.shape[1] // (n - 1)) and most - least <= 1
        assert len(query.unique()) > 0.4 * min(n, 200)


def test_the_only_row_of_a_class_is_support_and_query():
    plan = drawn(labels(50, 1), 20, 5, torch.Generator().manual_seed(0))
    assert (plan[:, 19] == 50).all() and (plan[:, 21] == 50).all()


def test_subsets_are_drawn_alike():
    chosen = without_replacement(5, 3, 20_000, torch.Generator().manual_seed(0)).sort(1).values
    subsets, counts = chosen.unique(dim=0, return_counts=True)
    assert len(subsets) == 10
    assert (counts / 2000 - 1).abs().max() < 0.1


# Training


def training(tasks, settings, label="setconv", **options):
    """As ``fit`` sets it up: its networks stay at hand."""
    m = method(label, **SMALL | ({} if label == "setconv" else {"hidden": 10, "output": 6}) | options)
    nets = [against_rest(t, t.train, 1) for t in tasks]
    made = Engine(settings, "cpu").stack(m, nets, SetConvNetwork(m.hidden, m.width, m.output))
    return EpisodicTraining(made, nets, [t.train for t in tasks], settings, m.support, m.post_size, m.rates(made))


@pytest.mark.parametrize("network", [PAPER, CODE])
def test_gradients_are_those_of_finite_differences(network):
    made = stack(network, d=4)
    x, means = samples(2, 8, 4), torch.full((2, 2, 6), 0.0, dtype=torch.float64)
    means[:, 0, :4], means[:, 1, 4:] = 1 / 4, 1 / 2
    names = list(made.params)

    def loss(*values):
        params = dict(zip(names, values))
        z = made.forward(params, x, "embed")
        h = made.forward(params, torch.cat([means @ z[:, :6], z[:, 6:]], 1), "head")
        return (h[:, 2:] @ h[:, :2].mT).log_softmax(-1).diagonal(dim1=1, dim2=2).mean(1)

    assert torch.autograd.gradcheck(loss, tuple(made.params.values()))


@pytest.mark.parametrize("label", ["setconv", "setconv_code"])
def test_a_hundred_steps_are_those_of_torch_optim_one_run_at_a_time(label):
    """A plain network that builds the kernel, torch.optim.Adam with a group a rate, a cosine from step to step."""
    settings = trainer(label, epochs=2, precision="float64")
    tasks = [task(0, (90, 15), 5), task(1, (60, 24), 5)]
    ours = training(tasks, settings, label)
    starts = [ours.stack.flat[r].detach().clone() for r in range(2)]
    ours.run(50)
    for run, (one, start) in enumerate(zip(tasks, starts)):
        names = list(ours.stack.params)
        p = {n: v[0].clone().requires_grad_() for n, v in ours.stack.views(start[None]).items() if n in names}
        anchor = ours.stack.buffers["anchor"][run]
        head = [p["head.weight"]] if "head.weight" in p else []
        groups = [{"params": [v for n, v in p.items() if n != "head.weight"]}]
        groups += [{"params": head, "lr": 10 * settings.lr}] if head else []
        adam = torch.optim.Adam(groups, lr=settings.lr, betas=settings.betas, weight_decay=settings.weight_decay)
        cosine = torch.optim.lr_scheduler.CosineAnnealingLR(adam, 100) if settings.schedule == "cosine" else None

        def represent(rows, p=p, anchor=anchor, head=head):
            inner, point = rows, anchor
            if head:
                inner, point = ((v @ p["body.weight"].T + p["body.bias"]).relu() for v in (rows, anchor))
            kernel = torch.einsum(
                "no,od->ndo", F.linear(point - inner, p["g1.weight"], p["g1.bias"]), p["g2"].softmax(1)
            )
            h = torch.einsum("ndo,nd->o", kernel, inner) / len(rows)
            return (h @ head[0].T).relu() if head else h

        x, generator = torch.as_tensor(one.train.x).double(), torch.Generator().manual_seed(one.seed)
        y = torch.as_tensor(one.train.y)
        majority = shares(12, y)[0]
        for _ in range(2):
            for plan in drawn(y, 12, 50, generator):
                sets = torch.stack([represent(x[plan[:majority]]), represent(x[plan[majority:12]])])
                queries = torch.stack([represent(x[plan[i : i + 1]]) for i in (12, 13)])
                adam.zero_grad()
                F.cross_entropy(queries @ sets.T, torch.tensor([0, 1])).backward()
                adam.step()
                if cosine:
                    cosine.step()
        for name, value in p.items():
            torch.testing.assert_close(ours.stack.params[name][run], value, rtol=1e-8, atol=1e-9)


def test_a_run_does_not_depend_on_those_beside_it():
    settings = trainer("setconv", epochs=2, precision="float64")
    tasks = [task(0, (90, 15), 5), task(1, (60, 24), 5), task(2, (200, 9), 5)]
    together = training(tasks, settings)
    together.run(50)
    for run, one in enumerate(tasks):
        alone = training([one], settings)
        alone.run(50)
        torch.testing.assert_close(alone.stack.flat[0], together.stack.flat[run], rtol=1e-12, atol=1e-12)
        assert [h["epoch"] for h in together.monitor.history[run]] == [1, 2]


@pytest.mark.parametrize("label", ["setconv", "setconv_code"])
def test_it_learns_what_can_be_told_apart(label):
    def apart(part):
        return replace(part, x=part.x + 1.5 * part.y[:, None].astype(np.float32))

    made = task(0, (180, 15), 6)
    (found,) = fit([replace(made, train=apart(made.train), valid=apart(made.valid))], label, episodes=200)
    test = apart(task(1, (400, 40), 6).train)
    scores = found.scores(test.x)
    assert metrics.average_precision(test.y == 1, metrics.ranking_scores(scores, 1)) > 0.9  # by chance: 0.09
    assert found.history[-1]["train_loss"] < min(0.3, found.history[0]["train_loss"])
    assert 0 < found.history[-1]["valid_score"] <= 1


def test_a_run_that_diverges_says_where_and_ends_alone():
    far = task(1, (60, 24), 4)
    far = replace(far, train=replace(far.train, x=far.train.x * np.float32(1e30)))
    good, bad = fit([task(0), far], post_sizes=[20])
    assert good.failure is None and good.readouts == ("last", "best", "post_20")
    assert bad.failure.startswith("train_loss is nan at training epoch 1 step 1")
    assert len(bad.history) == 1 and len(good.history) == 2
    (alone,) = fit([task(0)], post_sizes=[20])
    np.testing.assert_allclose(alone.scores(far.valid.x), good.scores(far.valid.x), rtol=1e-4, atol=1e-5)


# The anchor, and the sets after training


def test_the_anchor_is_the_mean_of_the_training_minority():
    first = task(0)
    other = replace(first, valid=first.train.take(np.arange(30)), withdrawn=None)
    of = [training([t], trainer("setconv")).stack.buffers["anchor"][0].numpy() for t in (first, other)]
    np.testing.assert_allclose(of[0], first.train.x[first.train.y == 1].mean(0), rtol=1e-5)
    np.testing.assert_array_equal(*of)
    images = byte_image_task(0, (30, 14))
    anchor = training([images], trainer("setconv")).stack.buffers["anchor"][0].numpy()
    np.testing.assert_allclose(anchor, images.train.x[images.train.y == 1].mean(0).ravel() / 255, rtol=1e-5)
    # Of two classes of which the positive one is larger, the other is the minority.
    turned = replace(first, train=replace(first.train, y=1 - first.train.y))
    np.testing.assert_array_equal(training([turned], trainer("setconv")).stack.buffers["anchor"][0].numpy(), of[0])


def test_the_post_training_set_keeps_the_ratio_and_larger_ones_hold_smaller_ones():
    made = training([task(0, (90, 15))], trainer("setconv", epochs=1))
    y = made.labels[0]
    assert [made.post_rows(0, size) for size in (14, 50, 105, 1000)] == [(12, 2), (43, 7), (90, 15), (90, 15)]
    for c, order in enumerate(made.orders[0]):
        assert order.sort().values.tolist() == torch.nonzero(y == c).flatten().tolist()
        assert order.tolist() != order.sort().values.tolist()
    x = made.rows.x
    sets = [x[order[:n]] for order, n in zip(made.orders[0], (12, 2))]
    expected = torch.stack([made.stack.predict(made.stack.flat[0].detach(), s, "embed").mean(0) for s in sets])
    torch.testing.assert_close(made.representatives(0, 14), expected)
    again = training([task(0, (90, 15))], trainer("setconv", epochs=1))
    assert all(torch.equal(a, b) for a, b in zip(made.orders[0], again.orders[0]))


def test_sizes_of_the_post_training_set_are_readouts_of_one_trained_run():
    x = task(5).valid.x
    (found,) = fit([task(0)], post_sizes=[20, 60, 5000], post_size=60)
    assert found.readouts == ("last", "best", "post_20", "post_60", "post_5000")
    np.testing.assert_array_equal(found.scores(x, "post_60"), found.scores(x))
    assert (found.scores(x, "post_20") != found.scores(x)).any()
    assert found.info["post_rows"] == [(51, 9)] and found.info["supports"] == [(10, 2)]
    (plain,) = fit([task(0)], post_size=60)
    np.testing.assert_array_equal(plain.scores(x), found.scores(x))
    (larger,) = fit([task(0)], post_size=5000)
    np.testing.assert_array_equal(larger.scores(x), found.scores(x, "post_5000"))


def test_the_scale_of_the_features_is_recorded():
    (found,) = fit([task(0)])
    assert found.info["mean_norm"] == pytest.approx(np.linalg.norm(task(0).train.x, axis=1).mean(), abs=1e-3)


# More than two classes


def test_two_classes_are_one_against_rest():
    """The networks of the two classes, from one seed, are the same network with the classes exchanged."""
    binary = task(0)
    first, second = (against_rest(binary, binary.train, c) for c in (0, 1))
    np.testing.assert_array_equal(first.train.y, second.train.y)
    np.testing.assert_array_equal(second.train.y, binary.train.y)
    (found,) = fit([binary])
    odds = found.log_odds(binary.valid.x, "last")[:, 0]
    np.testing.assert_allclose(found.scores(binary.valid.x)[:, 1], -np.logaddexp(0, -odds), rtol=1e-6)
    turned = [replace(p, y=1 - p.y) for p in (binary.train, binary.valid)]
    (other,) = fit([replace(binary, train=turned[0], valid=turned[1])])
    np.testing.assert_array_equal(other.scores(binary.valid.x)[:, ::-1], found.scores(binary.valid.x))


def test_each_class_has_a_network_against_the_rest():
    made = task(0, (90, 20, 12), 6)
    (found,) = fit([made], episodes=100)
    assert len(found.networks) == 3 and found.signs == [-1, 1, 1]  # the rest is the smaller side of class 0
    x, y = task(0, (200, 40, 40), 6).train.x, task(0, (200, 40, 40), 6).train.y
    scores, ranks = found.scores(x), found.ranks(x)
    for c, network in enumerate(found.networks):
        pair = network.logits(x).double().log_softmax(1).numpy()
        own = pair[:, 1] if found.signs[c] == 1 else pair[:, 0]  # P(y = c | x), Eq. 7
        np.testing.assert_allclose(-np.logaddexp(0, -ranks[:, c]), own, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(scores.argmax(1), ranks.argmax(1))
    assert np.mean(scores.argmax(1) == y) > 0.7
    rows = {(r["class_group"], r["metric"]): r["value"] for r in metrics.evaluate(y, scores, "abc", ranks=ranks)}
    assert rows["class:c", "auc_pr"] == metrics.average_precision(y == 2, ranks[:, 2])
    assert fit([replace(made, classes=2, train=made.train.take(np.flatnonzero(made.train.y < 2)))])[0].ranks(x) is None


def test_networks_of_the_classes_of_several_runs_are_those_of_each_run():
    tasks = [task(s, (40, 12, 20), 4) for s in (0, 1)]
    x = task(5, (40, 12, 20), 4).valid.x
    for one, together in zip(tasks, fit(tasks)):
        (alone,) = fit([one])
        np.testing.assert_allclose(alone.ranks(x), together.ranks(x), rtol=1e-3, atol=1e-4)
        assert alone.signs == together.signs


def test_a_class_without_training_rows_is_named():
    made = task(0, (90, 20, 12))
    with pytest.raises(BenchError, match=r"every class, and fold 0 has \[90, 20, 0\]: choose a lower ratio"):
        fit([replace(made, train=made.train.take(np.flatnonzero(made.train.y < 2)))])


@pytest.mark.parametrize(
    "options, message",
    [
        ({"support": 1}, "method.support=1 must be a whole number, at least 2"),
        (
            {"post_sizes": [100, 1]},
            r"method.post_sizes=\[100, 1\] must be .* each at least 2 \(a row of each class\)",
        ),
    ],
)
def test_options_that_make_no_sense(options, message):
    with pytest.raises(BenchError, match=message):
        method("setconv", **options)


def test_the_method_brings_its_trainer_which_the_command_line_changes():
    def settings(*overrides):
        made = composed(*overrides).trainer
        return made.label, made.epochs, made.lr, list(made.betas), made.schedule, made.weight_decay

    betas = [0.9, 0.999]
    assert settings("method=setconv") == ("setconv", 20, 0.01, betas, "constant", 0.0)
    assert settings("method=setconv", "trainer=sgd", "trainer.epochs=3")[:3] == ("setconv", 3, 0.01)
    assert settings("method=setconv/code") == ("setconv_code", 20, 0.001, betas, "cosine", 5e-4)
    assert settings("method=setconv/lr_0001") == ("setconv", 20, 0.001, betas, "constant", 0.0)


# What is recorded


def test_a_cell_records_sizes_and_ranks_and_is_scored_again_to_the_same(tmp_path):
    quick = ["trainer.epochs=1", "method.episodes=10", "method.post_sizes=[20]", "protocol.folds=2"]
    outcome = run_cell(cell(tmp_path, "method=setconv", "dataset=wine", "ratio=native", *quick))
    assert outcome.status == "done", outcome.message
    with np.load(outcome.path / "predictions.npz", allow_pickle=False) as file:
        saved = dict(file)
    assert {"scores_last", "ranks_last", "scores_best", "ranks_best", "scores_post_20", "ranks_post_20"} < set(saved)
    text = (outcome.path / "metrics.csv").read_text()
    assert ",post_20,test,macro,auc_pr," in text
    assert not rescore(CellFolder(outcome.path))
    # Areas follow the ranks, decisions and calibration the log-probabilities.
    turned = saved | {"ranks_last": -saved["ranks_last"]}
    names, splits = ["a", "b", "c"], [(0, 0), (1, 0)]
    rows = [score_predictions(arrays, splits, names, "classification") for arrays in (saved, turned)]
    differ = {a["metric"] for a, b in zip(*rows) if a["iterate"] == "last" and a["value"] != b["value"] == b["value"]}
    assert differ == {"auc_pr", "auc_roc"}
    own = [
        r["value"] for r in rows[1] if (r["iterate"], r["class_group"], r["metric"]) == ("last", "class:b", "auc_roc")
    ]
    first = saved["run"] == 0
    expected = roc_auc_score(saved["label"][first] == 1, -saved["ranks_last"][first, 1])
    assert own[0] == pytest.approx(expected)


def test_reports_know_sizes_of_the_post_training_set():
    assert readout_title("post_300") == "last epoch, representatives of 300 rows"
    for name in ("post_", "post_03", "post_x", "posts"):
        with pytest.raises(
            BenchError, match=f"unknown readout '{name}': known are last, best, knn, lr and post_<rows>"
        ):
            readout_title(name)


def test_networks_of_classes_and_the_post_training_set_draw_for_themselves():
    """torch's generators look at the low 32 bits of a seed only, so seeds must differ there."""
    t = task(0, (40, 20, 12))
    seeds = {against_rest(t, t.train, c).seed % 2**32 for c in range(3)} | {t.seed % 2**32}
    assert len(seeds) == 4
    first = [torch.rand(3, generator=torch.Generator().manual_seed(s)).tolist() for s in seeds]
    assert len({tuple(f) for f in first}) == 4
    assert derived(t.seed, POST_TRAINING) not in seeds


def test_the_decision_among_classes_that_are_all_as_good_as_certain_is_the_likeliest():
    class Net:
        failure, history, readouts = None, [], ("last",)

        def __init__(self, odds):
            self.odds = torch.tensor([[0.0, o] for o in odds])

        def logits(self, x, readout):
            return self.odds

    scores = AgainstRest([Net([18, 20]), Net([25, 40]), Net([-5, 30])], [1, 1, 1], {}).scores(np.zeros((2, 1)))
    assert scores.astype(np.float32).argmax(1).tolist() == [1, 1]
    np.testing.assert_allclose(np.exp(scores).sum(1), 1)
