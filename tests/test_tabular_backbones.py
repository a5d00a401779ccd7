"""Networks for tables against the packages of their authors (skipped where these are not installed), and what an
ensemble is to losses, heads and programs of several runs."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from imbalance_bench.data.base import Part
from imbalance_bench.engine import Engine
from imbalance_bench.engine.joint import Joint
from imbalance_bench.engine.loop import Training
from imbalance_bench.errors import BenchError
from imbalance_bench.running.models import Surroundings, packed, restored, state_of, unpacked
from tests.tasks import backbone, method, task, trainer

F64 = torch.float64
CATEGORIES = ((1, 4),)  # of five columns: one number, three of a category, one number
NONE = {"dropout": 0.0}
SMALL: dict[str, dict[str, Any]] = {
    "tabm": {"members": 3, "blocks": 2, "width": 6} | NONE,
    "ft_transformer": {"width": 6, "heads": 2, "attention_dropout": 0.0} | NONE,
    "tabular_resnet": {"width": 6, "residual_dropout": 0.0} | NONE,
    "realmlp": {"hidden": [6, 5], "embedding": 3, "frequencies": 4} | NONE,
}
TASKS = [replace(task(s, n, d=5), categories=CATEGORIES) for s, n in enumerate([(40, 9), (31, 6)])]


def built(label: str, classes: int = 3, head: str = "linear", **options: Any) -> torch.nn.Module:
    torch.manual_seed(0)
    return backbone(label, **options).build((5,), classes, head, CATEGORIES).double()


def rows(n: int = 7) -> torch.Tensor:
    x = torch.randn(n, 5, dtype=F64, generator=torch.Generator().manual_seed(1))
    x[:, 1:4] = torch.eye(3, dtype=F64)[torch.arange(n) % 3]
    return x


def close(a: torch.Tensor, b: torch.Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


# TabM


def test_tabm_is_that_of_its_authors():
    package = pytest.importorskip("tabm")
    ours, x = built("tabm", **SMALL["tabm"]), rows()
    theirs = package.TabM.make(
        n_num_features=2, cat_cardinalities=[3], d_out=3, n_blocks=2, d_block=6, dropout=0.0, k=3
    ).double()
    ordered = [0, 4, 1, 2, 3]  # numbers first
    for ours_, theirs_ in zip(ours.body, theirs.backbone.blocks):
        for name, value in theirs_[0].named_parameters():
            mine = getattr(ours_, name).detach()
            assert mine.min() >= -1 and mine.std() == pytest.approx(value.std().item(), abs=0.25)
            value.data.copy_(mine[:, ordered] if mine.shape[1:] == (5,) else mine)
    theirs.output.weight.data.copy_(ours.head.matrices)
    theirs.output.bias.data.copy_(ours.head.bias)
    members = theirs(x[:, [0, 4]], x[:, 1:4].argmax(1, keepdim=True))
    close(ours(x, "members").unflatten(0, (7, 3)), members)
    close(ours(x).softmax(-1), members.softmax(-1).mean(1))
    first = theirs.backbone.blocks[0][0]
    assert (first.r[:, 2:] == first.r[:, 2:3]).all() and set(first.r.unique().tolist()) == {-1, 1}


def test_logits_of_tabm_are_of_its_members_mean():
    x = rows()
    for classes, head in ((2, "linear"), (2, "full"), (4, "linear")):
        net = built("tabm", classes, head, **SMALL["tabm"]).eval()
        of_members = net(x, "members").unflatten(0, (7, 3))
        close(net(x).softmax(-1), of_members.softmax(-1).mean(1))
        assert head == "full" or classes > 2 or not net(x)[:, 0].any()
    for classes, head in ((3, "cosine"), (0, "linear")):
        net = built("tabm", classes, head, **SMALL["tabm"]).eval()
        close(net(x), net(x, "members").unflatten(0, (7, 3)).mean(1))


@pytest.mark.parametrize("label", ["cross_entropy", "balanced_softmax", "ldam"])
def test_each_member_is_trained_by_its_own_loss(label):
    """The loss and its gradient, beside a plain loop over members; rows of unlike number in a batch."""
    m, engine = method(label), Engine(trainer(precision="float64", batch_size=64), "cpu")
    training = Training(engine.stack(m, TASKS, backbone("tabm", **SMALL["tabm"])), m, TASKS, [engine.trainer] * 2)
    sets = [t.train for t in TASKS]
    seen: list[float] = []

    def objective(stack, batch, state):
        losses = m.batch_loss(stack, batch, state)
        for r in range(len(sets)):
            params = {name: p[r] for name, p in stack.params.items()}
            x, y = batch.x[r, : batch.sizes[r]], batch.y[r, : batch.sizes[r]]
            each = torch.func.functional_call(stack.module, params, (x, "members")).unflatten(0, (len(x), 3))
            counts = state.of_runs(slice(r, r + 1))
            alone = torch.stack([m.loss(each[None, :, i], y[None], counts).mean() for i in range(3)]).mean()
            close(losses[r], alone)
            seen.append(alone.item())
        return losses

    training.run(sets, 2, objective)
    assert len(seen) == 4 and all(map(np.isfinite, seen))


def fit(label: str, name: str, tasks: Any = TASKS, **options: Any) -> tuple[Engine, Any]:
    engine = Engine(trainer(**{"precision": "float64", "batch_size": 64, "epochs": 2} | options), "cpu")
    return engine, method(label).fit(tasks, backbone(name, **SMALL[name]), engine)


def test_runs_of_several_methods_share_a_program_of_ensembles():
    engine = Engine(trainer(precision="float64", batch_size=16, epochs=2), "cpu")
    methods = [method("cross_entropy"), method("balanced_softmax")]
    joint = Joint("linear", [(m, 1) for m in methods], [m.sampler for m in methods])
    together = engine.train(joint, TASKS, [t.train for t in TASKS], backbone("tabm", **SMALL["tabm"]))
    for m, t, classifier in zip(methods, TASKS, together):
        (alone,) = m.fit([t], backbone("tabm", **SMALL["tabm"]), engine)
        close(classifier.parameters["last"], alone.parameters["last"])


def test_methods_that_train_a_linear_head_apart_say_that_an_ensemble_has_none():
    for label in ("crt", "tau_norm"):
        with pytest.raises(BenchError, match=f"method={label} changes the last layer .*backbone=mlp"):
            fit(label, "tabm")
    _, (first, *_) = fit("class_balanced", "tabm", epochs=1)
    assert np.isfinite(first.scores(TASKS[0].valid.x)).all()


# FT-Transformer, ResNet


def test_the_ft_transformer_is_that_of_its_authors():
    package = pytest.importorskip("rtdl_revisiting_models")
    ours, x = built("ft_transformer", **SMALL["ft_transformer"]), rows()
    theirs = package.FTTransformer(
        n_cont_features=2, cat_cardinalities=[3], d_out=3, n_blocks=3, d_block=6, attention_n_heads=2,
        attention_dropout=0.0, ffn_d_hidden_multiplier=4 / 3, ffn_dropout=0.0, residual_dropout=0.0,
    ).double()  # fmt: skip
    tokens, state = ours.tokens, {}
    state["cls_embedding.weight"] = tokens.cls
    state |= {"cont_embeddings.weight": tokens.weight[[0, 4]], "cont_embeddings.bias": tokens.bias[:2]}
    state |= {"cat_embeddings.embeddings.0.weight": tokens.weight[1:4], "cat_embeddings.bias": tokens.bias[2:]}
    names = {
        "attention.W_q": "attention.q", "attention.W_k": "attention.k", "attention.W_v": "attention.v",
        "attention.W_out": "attention.out", "attention_normalization": "norm", "ffn_normalization": "inner_norm",
        "ffn.linear1": "inner", "ffn.linear2": "outer",
    }  # fmt: skip
    for i in range(3):
        for their, our in names.items():
            if i or our != "norm":
                of_layer = ours.blocks[i].get_submodule(our).state_dict()
                state |= {f"backbone.blocks.{i}.{their}.{name}": value for name, value in of_layer.items()}
    for their, our in (("normalization", ours.norm), ("linear", ours.head)):
        state |= {f"backbone.output.{their}.{name}": value for name, value in our.state_dict().items()}
    started = {name: value.clone() for name, value in theirs.state_dict().items()}
    theirs.load_state_dict(state)
    close(ours(x), theirs(x[:, [0, 4]], x[:, 1:4].argmax(1, keepdim=True)))
    for name, value in started.items():  # drawn from like distributions
        assert state[name].abs().max().item() == pytest.approx(value.abs().max().item(), rel=0.5, abs=1e-9), name
    decayed = {id(p) for p in theirs.make_parameter_groups()[0]["params"]}
    of_theirs = sum(p.numel() for p in theirs.parameters() if id(p) in decayed)
    assert of_theirs == sum(p.numel() for p in ours.parameters() if getattr(p, "decay", 1.0))


def test_a_category_that_no_training_row_has_is_its_bias():
    net, x = built("ft_transformer", **SMALL["ft_transformer"]), rows()
    x[:, 1:4] = 0
    close(net.tokens(x)[:, 3], net.tokens.bias[2].expand(7, -1))


@pytest.mark.parametrize("training", [True, False])
def test_the_tabular_resnet_is_that_of_its_authors(training):
    package = pytest.importorskip("rtdl_revisiting_models")
    torch.manual_seed(0)
    ours, x = backbone("tabular_resnet", **SMALL["tabular_resnet"]).build((5,), 3).double(), rows()
    theirs = package.ResNet(
        d_in=5, d_out=3, n_blocks=2, d_block=6, d_hidden_multiplier=2.0, dropout1=0.0, dropout2=0.0
    ).double()
    pairs = [(theirs.input_projection, ours.first), (theirs.output.linear, ours.head)]
    norms = [(theirs.output.normalization, ours.norm)]
    for their, our in zip(theirs.blocks, ours.blocks):
        pairs += [(their.linear1, our[1]), (their.linear2, our[4])]
        norms.append((their.normalization, our[0]))
    for their, our in [*pairs, *norms]:
        their.load_state_dict(our.state_dict(), strict=False)
    close(ours.train(training)(x), theirs.train(training)(x))
    for their, our in norms:
        close(our.running_mean, their.running_mean)
        close(our.running_var, their.running_var)


# RealMLP


def authors() -> Any:
    """Modules model and train of the RealMLP in pytabkit, without its package, which imports a framework."""
    found = importlib.util.find_spec("pytabkit")
    if found is None or not found.submodule_search_locations:
        pytest.skip("pytabkit is not installed")
    package = types.ModuleType("realmlp_of_its_authors")
    package.__path__ = [str(Path(found.submodule_search_locations[0]) / "models" / "realmlp")]
    sys.modules[package.__name__] = package
    return tuple(importlib.import_module(f"{package.__name__}.{name}") for name in ("model", "train"))


def test_realmlp_is_that_of_its_authors():
    """Scaling, clipping, categories of two, three and five columns, embeddings, layers; and which parameters learn and
    decay how fast."""
    model, train = authors()
    torch.manual_seed(0)
    sizes, blocks, n = (2, 3, 5), ((1, 3), (3, 6), (6, 11)), 50
    ours = backbone("realmlp", **SMALL["realmlp"] | {"one_hot": 3}).build((12,), 3, "linear", blocks)
    numbers = torch.randn(n, 2)
    numbers[:, 1] = (numbers[:, 1] > 1).float()  # its quartiles are equal
    kinds = torch.stack([torch.randint(size, (n,)) for size in sizes], 1)
    coded = [torch.nn.functional.one_hot(kinds[:, i], size).float() for i, size in enumerate(sizes)]
    x = torch.cat([numbers[:, :1], *coded, numbers[:, 1:]], 1)
    ours.start_from(x)
    config = model.RealMLPConfig.td_class(hidden_sizes=[6, 5], plr_hidden_1=4, plr_hidden_2=3, max_one_hot_cat_size=4)
    theirs = model.RealMLP(2, [size + 1 for size in sizes], 3, 1, config, True).eval()
    median, factor = train.compute_input_stats(theirs.input_features(numbers, kinds + 1), torch.arange(n)[None])
    torch.testing.assert_close(ours.median, median[0, 0])
    torch.testing.assert_close(ours.factor, factor[0, 0])
    ours.double().eval()
    theirs.double()
    theirs.x_median.copy_(ours.median)
    theirs.x_scale.copy_(ours.factor)
    layers, e = list(theirs.mlp), ours.embedding
    pairs = [(layers[0].scale, ours.scale), (layers[-2].weight, ours.head.weight.T), (layers[-1].bias, ours.head.bias)]
    pairs += [(theirs.plr_weight_1, e.w1), (theirs.plr_bias_1, e.b1), (theirs.plr_weight_2, e.w2)]
    pairs += [(theirs.plr_bias_2, e.b2), (theirs.cat_emb[:, 1:], ours.tables[0])]
    for i, (layer, activation) in enumerate(zip(ours.layers, ours.activations)):
        pairs += [(layers[1 + 4 * i].weight, layer.weight), (layers[2 + 4 * i].bias, layer.bias)]
        pairs += [(layers[3 + 4 * i].weight, activation.share)]
    for their, our in pairs:
        # Of what has an attribute: how fast it learns, times which it is a parameter here, but the last biases.
        rate = 1.0 if our is ours.head.bias else getattr(their, "lr_factor", 1.0)
        their.data.copy_(rate * our.detach().reshape(their.shape))
        if hasattr(their, "lr_factor"):
            assert getattr(our, "decay", 1.0) == pytest.approx(their.lr_factor * their.wd_factor)
    close(ours(x.double()), theirs(numbers.double()[None], kinds[None] + 1)[0])


def test_realmlp_starts_by_its_training_rows():
    """Outputs of each layer before its biases have standard deviation one, and no other row plays a part."""
    torch.manual_seed(0)
    net, x = backbone("realmlp", **SMALL["realmlp"]).build((5,), 3, "linear", CATEGORIES), rows(100).float()
    net.start_from(x)
    seen = []
    for layer in net.layers:
        layer.register_forward_hook(lambda layer, given, out: seen.append(out - 0.1 * layer.bias))
    logits = net.eval()(x)
    for out in [*seen, logits - net.head.bias]:
        torch.testing.assert_close(out.std(0, correction=0), torch.ones(out.shape[1]))
    _, (first, *_) = fit("cross_entropy", "realmlp", precision="float32", epochs=1)
    changed = replace(TASKS[0], valid=Part(TASKS[0].valid.x + 9, TASKS[0].valid.y, TASKS[0].valid.ids))
    _, (again, *_) = fit("cross_entropy", "realmlp", [changed, TASKS[1]], precision="float32", epochs=1)
    assert torch.equal(first.parameters["last"], again.parameters["last"])


# All of them


@pytest.mark.parametrize("name", ["tabm", "ft_transformer", "tabular_resnet", "realmlp"])
def test_training_is_that_of_torch_optim_and_a_model_is_kept(name):
    """Two runs by AdamW as a stack and one after the other, then a kept model with its categories."""
    options = {"optimiser": "adamw", "weight_decay": 0.1, "schedule": "coslog4", "lr": 0.01, "runs_together": 2}
    engine, stacked = fit("cross_entropy", name, **options)
    _, alone = fit("cross_entropy", name, **options, backend="sequential")
    for a, b in zip(stacked, alone):
        torch.testing.assert_close(a.parameters["last"], b.parameters["last"], rtol=0, atol=1e-9)
    facts, states = unpacked(packed({"run_0": state_of(stacked[0])}, {}))
    again = restored(states["run_0"], Surroundings(engine, backbone(name, **SMALL[name])))
    x = TASKS[0].valid.x
    assert np.array_equal(again.scores(x), stacked[0].scores(x))
    assert again.stack.module.state_dict().keys() == stacked[0].stack.module.state_dict().keys()
