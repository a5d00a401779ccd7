"""Networks of token ids: parameter counts, padding that has no influence, runs together and alone, a small XLNet."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from imbalance_bench.backbones.network import Dropout
from imbalance_bench.data.base import Part, Task
from imbalance_bench.data.text.tokens import PAD
from imbalance_bench.engine import Engine
from imbalance_bench.engine.batches import Rows
from imbalance_bench.engine.stack import Stack
from imbalance_bench.errors import BenchError
from imbalance_bench.settings.identity import cell_id
from tests.cells import composed
from tests.tasks import backbone, method, trainer
from tests.texts import WORDS, save_xlnet

CPU, F64 = torch.device("cpu"), torch.float64
SMALL = {
    "textcnn": {"vocabulary": 40, "length": 12, "stop_words": False, "embedding": 6, "filters": 5},
    "textrnn": {"vocabulary": 40, "length": 12, "stop_words": False, "embedding": 6, "hidden": 4},
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    return save_xlnet(tmp_path_factory.mktemp("xlnet"))


@pytest.fixture(params=["textcnn", "textrnn", "xlnet"])
def net(request, saved):
    if request.param == "xlnet":
        return backbone("xlnet", model=str(saved), length=12)
    return backbone(request.param, **SMALL[request.param])


def ids_of(net, seed: int = 0, n: int = 30, longest: int = 12) -> np.ndarray:
    """Random rows of 1 to ``longest`` ids."""
    rng = np.random.default_rng(seed)
    pad = 5 if net.name == "xlnet" else PAD
    ids = rng.integers(6, 30, (n, 12), dtype=np.int32)
    ids[np.arange(12) >= rng.integers(1, longest + 1, n)[:, None]] = pad
    return ids


def text_task(net, seed: int = 0, n: int = 30, longest: int = 12) -> Task:
    rng = np.random.default_rng(seed)

    def part(n: int) -> Part:
        return Part(ids_of(net, seed, n, longest), rng.permutation(np.arange(n) % 3), np.arange(n))

    return Task(part(n), part(12), None, 3, "classification", 0, 0, 100 + seed, minority_classes=(2,))


def parameters(label: str, classes: int) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in backbone(label).build((128,), classes).parameters())


def test_as_many_parameters_as_counted_by_hand():
    words = 10_000 * 300
    assert parameters("textcnn", 4) == words + (3 + 4 + 5) * 300 * 100 + 3 * 100 + 300 * 4 + 4
    lstm = [4 * 128 * (d + 128 + 2) for d in (300, 256)]  # four gates, two biases each
    assert parameters("textrnn", 4) == words + 2 * sum(lstm) + 256 * 4 + 4
    assert parameters("textcnn", 2) == parameters("textcnn", 4) - 3 * 301  # two classes have one output


def test_textcnn_is_the_largest_dot_product_over_windows():
    """A text of two tokens under windows of three is filled up with zeros; padding makes no windows of its own."""
    torch.manual_seed(0)
    net = backbone("textcnn", **SMALL["textcnn"], widths=[3]).build((12,), 3).double().eval()
    vectors, (convolution,) = net.vectors.weight, net.convolutions
    for text in ([7, 9, 11, 8, 7], [4, 5], [6]):
        e = torch.cat([vectors[text], torch.zeros(max(0, 3 - len(text)), 6, dtype=F64)])
        windows = [e[i : i + 3] for i in range(len(e) - 2)]
        scores = torch.stack([torch.einsum("kd,fdk->f", w, convolution.weight) + convolution.bias for w in windows])
        x = torch.tensor([text + [PAD] * (12 - len(text))])
        torch.testing.assert_close(net(x, "embed")[0], scores.relu().amax(0), rtol=0, atol=1e-12)


def test_textrnn_is_torchs_bidirectional_lstm_of_packed_texts():
    torch.manual_seed(0)
    made = backbone("textrnn", **SMALL["textrnn"])
    net = made.build((12,), 3).double().eval()
    lstm = torch.nn.LSTM(6, 4, 2, batch_first=True, bidirectional=True).double()
    names = [n for n, _ in net.forwards[0].named_parameters()]
    for layer in range(2):
        for group, suffix in ((net.forwards, ""), (net.backwards, "_reverse")):
            for name in names:
                theirs = getattr(lstm, name.replace("l0", f"l{layer}") + suffix)
                theirs.data.copy_(dict(group[layer].named_parameters())[name])
    x = torch.as_tensor(ids_of(made))
    lengths = (x != PAD).sum(1)
    packed = torch.nn.utils.rnn.pack_padded_sequence(net.vectors(x), lengths, batch_first=True, enforce_sorted=False)
    _, (ends, _) = lstm(packed)
    torch.testing.assert_close(net(x, "embed"), torch.cat([ends[-2], ends[-1]], 1), rtol=0, atol=1e-12)


def test_predictions_in_chunks_of_like_length_come_back_in_order(net):
    stack = Stack.create(lambda: net.build((12,), 3), [0], CPU, F64)
    x = ids_of(net, n=150)
    flat = stack.flat[0].detach()
    whole = stack.predict(flat, x, "embed")
    assert whole.shape[0] == 150
    stack.module.eval()
    with torch.no_grad():
        plain = stack._run(stack.views(flat[None]), torch.as_tensor(x)[None], "embed")[0]
    torch.testing.assert_close(whole, plain, rtol=0, atol=1e-12)
    torch.testing.assert_close(stack.predict(flat, whole, "head"), stack.predict(flat, x), rtol=0, atol=1e-12)


def test_batches_are_as_wide_as_their_longest_text():
    ids = np.array([[3, 4, PAD, PAD], [5, PAD, PAD, PAD], [6, 7, 8, PAD]], np.int32)
    part = Part(ids, np.zeros(3, np.int64), np.arange(3))
    plans = [torch.tensor([[1, -1], [0, 1], [2, 0]]), torch.tensor([[1, -1], [1, -1]])]
    trimmed = list(Rows([part, part], CPU, F64, PAD).batches(plans))
    assert [b.x.shape for b in trimmed] == [(2, 1, 1), (2, 2, 2), (2, 2, 3)]
    assert trimmed[1].x.tolist() == [[[3, 4], [5, PAD]], [[5, PAD], [3, 4]]]  # the last: a pad row, weight 0
    assert [b.x.shape[2] for b in Rows([part], CPU, F64).batches(plans[:1])] == [4, 4, 4]


def fit(net, tasks, label: str = "cross_entropy", **options):
    settings = {"precision": "float64", "epochs": 2, "batch_size": 8, "lr": 1e-3} | options
    return method(label).fit(tasks, net, Engine(trainer("textcnn", **settings), "cpu"))


def test_runs_trained_together_are_those_trained_alone_and_those_of_torch_optim(net):
    """Sets of different size whose longest texts differ too, dropout included. XLNet's runs are trained alone always.
    Not by Adam: some of XLNet's gradients are zero but for rounding, of which Adam makes steps."""
    tasks = [text_task(net, 0), text_task(net, 1, n=21, longest=5)]
    descent = {"optimiser": "sgd", "lr": 0.1}
    joint = fit(net, tasks, **descent)
    for t, run in zip(tasks, joint):
        (alone,) = fit(net, [t], **descent)
        (oracle,) = fit(net, [t], **descent, backend="sequential")
        for other in (oracle,) if net.name == "xlnet" else (oracle, run):
            torch.testing.assert_close(other.parameters["last"], alone.parameters["last"], rtol=0, atol=1e-12)
            np.testing.assert_allclose(other.scores(t.valid.x), alone.scores(t.valid.x), rtol=0, atol=1e-12)


def test_a_hundred_steps_of_textcnn_together_and_alone():
    net = backbone("textcnn", **SMALL["textcnn"])
    tasks = [text_task(net, s, n=40) for s in range(3)]
    for t, joint in zip(tasks, fit(net, tasks, epochs=20)):
        (alone,) = fit(net, [t], epochs=20)
        torch.testing.assert_close(alone.parameters["last"], joint.parameters["last"], rtol=0, atol=1e-12)


def test_no_gradient_reaches_the_padding_of_any_run():
    net = backbone("textcnn", **SMALL["textcnn"])
    stack = Stack.create(lambda: net.build((12,), 3), [0, 1], CPU, F64)
    stack.backward(stack(torch.as_tensor(np.stack([ids_of(net, 0), ids_of(net, 1)]))).square().sum())
    gradient = stack.grad.view(2, -1)[:, : stack.weights.shape[1]]
    vectors = stack.views(torch.cat([gradient, torch.zeros(2, 1)], 1))["vectors.weight"]
    assert (vectors[:, PAD] == 0).all()
    assert (vectors.abs().sum((1, 2)) > 0).all()


@pytest.mark.parametrize("label", ["crt", "balanced_softmax", "random_oversampling", "ldam", "balanced_batches"])
def test_methods_take_texts(net, label):
    task = text_task(net)
    (made,) = fit(net, [task], label)
    assert made.failure is None
    assert np.isfinite(made.scores(task.valid.x)).all()


def test_what_cannot_be_mapped_is_trained_one_run_at_a_time(net):
    assert Engine(trainer(), "cpu").together(net, text_task(net)) == 1
    asked = Engine(trainer(runs_together=3), "cpu").together(net, text_task(net))
    assert asked == (3 if net.name == "textcnn" else 1)


def test_noise_by_place_is_a_polynomial_of_the_place_in_32_bits(monkeypatch):
    seen = []
    monkeypatch.setattr(
        "imbalance_bench.backbones.network._kept", lambda units, key, p: seen.append(units) or units == units
    )
    Dropout(0.5, by_place=True)(torch.ones(3, 70, 300))
    i, j, k = np.ogrid[:3, :70, :300]
    expected = ((i * 0x01000193 + j) % 2**32 * 0x01000193 + k) % 2**32
    np.testing.assert_array_equal(seen[0].numpy().view(np.uint32), expected)


def test_noise_by_place_does_not_depend_on_the_length_of_a_batch():
    torch.manual_seed(0)
    layer, x = Dropout(0.5, by_place=True), torch.ones(30, 20, 40)
    key = layer.key.clone()
    whole = layer(x)
    layer.key.copy_(key)
    assert torch.equal(layer(x[:11, :7]), whole[:11, :7])
    kept = (whole > 0).float()
    assert kept.mean().item() == pytest.approx(0.5, abs=0.01)  # 24,000 draws: three standard errors
    for a, b in ((kept[1:], kept[:-1]), (kept[:, 1:], kept[:, :-1]), (kept[..., 1:], kept[..., :-1])):
        assert torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1].abs() < 0.02


# XLNet


def test_xlnet_reads_texts_with_its_own_tokenizer(saved, tmp_path):
    texts = np.array(["win cash now", "call me " * 20, "", "dad"], object)
    encode = backbone("xlnet", model=str(saved), length=6).text_encoder("en", tmp_path, "cpu")
    ids = encode(texts, np.arange(2))
    assert ids[0].tolist()[3:] == [4, 3, 5]  # <sep> <cls> <pad>
    assert ids[1].tolist()[4:] == [4, 3]  # a text that is cut has them too
    assert ids[2].tolist() == [4, 3, 5, 5, 5, 5]
    vocabulary = encode.vocabulary(texts, np.arange(2))
    assert vocabulary.decode(ids)[:3] == ["win cash now", "call me call me", ""]
    assert {k: vocabulary.info[k] for k in ("texts", "cut", "empty")} == {"texts": 4, "cut": 1, "empty": 1}
    assert (vocabulary.pad, vocabulary.begin, vocabulary.end) == (5, 1, 2)
    again = encode(texts, np.array([3]))
    assert encode(texts, np.array([0])) is again  # nothing is learned of the training texts


def test_special_tokens_in_a_text_are_text(saved, tmp_path):
    encode = backbone("xlnet", model=str(saved), length=40).text_encoder("en", tmp_path, "cpu")
    (ids,) = encode(np.array(["call <pad> me </s> now"], object), np.arange(1))
    text = ids[: (ids != 5).sum()].tolist()
    assert text[-2:] == [4, 3]
    assert not set(text[:-2]) & {1, 2, 3, 4, 5}
    call, me, now = (9 + WORDS.index(word) for word in ("call", "me", "now"))
    assert [i for i in text if i in (call, me, now)] == [call, me, now]


def test_texts_are_made_into_ids_once(saved, tmp_path, monkeypatch):
    encode = backbone("xlnet", model=str(saved), length=6).text_encoder("en", tmp_path, "cpu")
    made = []
    monkeypatch.setattr(encode, "_make", lambda rows, make=encode._make: made.append(rows) or make(rows))
    texts = np.array(["win cash now"], object)
    encode(texts, np.arange(1))
    encode.vocabulary(texts, np.arange(1))
    assert len(made) == 1


def test_xlnet_without_stop_words(saved, tmp_path):
    (tmp_path / "stopwords").mkdir()
    (tmp_path / "stopwords" / "nltk_english.txt").write_text("are\nyou\n")
    encode = backbone("xlnet", model=str(saved), stop_words=True).text_encoder("en", tmp_path, "cpu")
    texts = np.array(["Are you home now"], object)
    assert encode.vocabulary(texts, np.arange(1)).decode(encode(texts, np.arange(1))) == ["home now"]


def test_xlnet_starts_from_its_weights_with_a_head_of_each_run(saved):
    from transformers import XLNetModel

    net = backbone("xlnet", model=str(saved))
    stack = Stack.create(lambda: net.build((12,), 3), [0, 1], CPU, torch.float32)
    theirs = XLNetModel.from_pretrained(saved)
    for name, p in theirs.named_parameters():
        for r in range(2):
            assert torch.equal(stack.params[f"body.{name}"][r], p), name
    for name in ("head.weight", "summary.weight"):
        assert not torch.equal(stack.params[name][0], stack.params[name][1])
    # The sentence vector is the library's state of the last token, in the middle of a padded batch.
    x = torch.as_tensor(ids_of(net))
    real = x != 5
    last = real.sum(1) - 1
    kinds = torch.zeros_like(x).scatter(1, last[:, None], 2)
    with torch.no_grad():
        states = theirs.eval()(x, attention_mask=real.float(), token_type_ids=kinds).last_hidden_state
        expected = stack.module.summary(states[torch.arange(len(x)), last]).tanh()
    torch.testing.assert_close(stack.predict(stack.flat[0].detach(), x, "embed"), expected, rtol=0, atol=1e-5)


def test_xlnet_is_known_by_its_content(saved, tmp_path):
    def id_of(folder: Path) -> str:
        return cell_id(composed_plain("backbone=xlnet", f"backbone.model={folder}"))

    shutil.copytree(saved, tmp_path / "a")
    assert id_of(saved) == id_of(tmp_path / "a")
    config = json.loads((tmp_path / "a" / "config.json").read_text())
    (tmp_path / "a" / "config.json").write_text(json.dumps(config | {"dropout": 0.2}))
    assert id_of(saved) != id_of(tmp_path / "a")


def composed_plain(*overrides: str):
    from imbalance_bench.settings.config import from_omegaconf

    return from_omegaconf(composed(*overrides)).plain


def test_what_is_no_xlnet_says_so(saved, tmp_path):
    def broken(name: str, **changes) -> str:
        folder = tmp_path / name
        shutil.copytree(saved, folder)
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | changes))
        return str(folder)

    def encoder_of(model: str):
        return backbone("xlnet", model=model).text_encoder("en", tmp_path, "cpu")

    with pytest.raises(BenchError, match="needs an xlnet"):
        encoder_of(broken("bert", model_type="bert"))
    with pytest.raises(BenchError, match="its tokenizer .* padding 5.* is not that of its network"):
        encoder_of(broken("padding", pad_token_id=4))
    mute = Path(broken("mute"))
    settings = json.loads((mute / "tokenizer_config.json").read_text())
    (mute / "tokenizer_config.json").write_text(json.dumps(settings | {"bos_token": None, "eos_token": None}))
    with pytest.raises(BenchError, match="its tokenizer has no bos_token, eos_token"):
        encoder_of(str(mute))
    plain = Path(broken("plain"))
    tokens = json.loads((plain / "tokenizer.json").read_text())
    (plain / "tokenizer.json").write_text(json.dumps(tokens | {"post_processor": None}))
    (plain / "tokenizer_config.json").write_text(
        json.dumps(settings | {"tokenizer_class": "PreTrainedTokenizerFast", "backend": "tokenizers"})
    )
    with pytest.raises(BenchError, match="its tokenizer does not end texts with <sep> and <cls>"):
        encoder_of(str(plain))
    with pytest.raises(BenchError, match="lacks 17 of the network's weights"):
        backbone("xlnet", model=broken("deeper", n_layer=3)).build((12,), 2)
    bare = Path(broken("bare"))
    (bare / "model.safetensors").unlink()
    with pytest.raises(BenchError, match="has no weights"):
        encoder_of(str(bare))
    with pytest.raises(BenchError, match="neither a folder nor a name on the hub"):
        encoder_of(str(tmp_path / "nowhere"))


def test_a_hub_that_cannot_be_reached(monkeypatch, tmp_path):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(BenchError, match="backbone.model to a local folder that holds"):
        backbone("xlnet").text_encoder("en", tmp_path, "cpu")


def test_two_seeds_differ(net):
    task = text_task(net)
    first, second = fit(net, [task, replace(task, seed=7)])
    assert (first.scores(task.valid.x) != second.scores(task.valid.x)).any()


def test_anchors_for_xlnet_are_texts_as_its_tokenizer_makes_them(saved, tmp_path):
    """Of its own tokens; longest texts on both sides, so that a closed anchor is at its limit."""
    net = backbone("xlnet", model=str(saved), length=20)
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], [24, 9])
    texts = np.array([" ".join(rng.choice(WORDS[4 * (1 - c) : 9 - 4 * c], 6)) for c in y], object)
    encode = net.text_encoder("en", tmp_path, "cpu")
    x, rows = encode(texts, np.arange(33)), np.arange(33)
    train = Part(x, y, rows)
    vocabulary = encode.vocabulary(texts, rows)
    t = Task(train, train, None, 2, "classification", 0, 0, 0, minority_classes=(1,), vocabulary=vocabulary)
    small = {"width": 16, "heads": 2, "layers": 1, "batch_size": 8, "pretrain_steps": 10, "epochs": 2, "epoch_steps": 2}
    m = method("miso", **small, mine_steps=2, fusion_steps=2)
    (classifier,) = m.fit([t], net, Engine(trainer(epochs=1, batch_size=16), "cpu"))
    assert classifier.failure is None
    made = classifier.artifacts["anchors_class1"]
    assert made.shape == (15, 20)
    for row, n in zip(made, (made != vocabulary.pad).sum(1)):
        assert row[n - 2 : n].tolist() == [4, 3]
        assert not set(row[: n - 2].tolist()) & {3, 4, 5}
