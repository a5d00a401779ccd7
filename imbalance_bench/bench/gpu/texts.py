"""Texts, embeddings and neighbours: what the papers' larger cells are made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from imbalance_bench.bench import texts
from imbalance_bench.bench.compare import trainer
from imbalance_bench.bench.gpu import made
from imbalance_bench.bench.gpu.facts import product
from imbalance_bench.bench.gpu.sections import Setting, speeds
from imbalance_bench.bench.gpu.steps import graphs, training

BERT = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}
TINY = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}


def textcnn(setting: Setting) -> dict[str, Any]:
    """Texts a second of five runs, all counted."""
    runs, n = setting.sized(5, 2), setting.sized(6400, 64)
    found: dict[str, Any] = {}
    for kind, mean in texts.LENGTHS.items():
        tasks = [made.words(n, mean, s) for s in range(runs)]
        rivals = {
            f"{name}, {runs} runs": training(
                tasks, made.backbone("textcnn"), trainer("textcnn", 10**6, graph=graph), setting, 1
            )
            for name, graph in graphs(setting).items()
        }
        found[f"{kind}, {mean} tokens"] = speeds(rivals, setting)
    return {"texts a second": found}


def neighbours(setting: Setting) -> dict[str, Any]:
    """Rows a second whose neighbours in their own class DOS finds: ten classes of 5,000 embeddings."""
    from imbalance_bench.neighbours import k_nearest

    n, classes = setting.sized(5000, 100), 10
    v = torch.rand(classes, n, 120, device=setting.device)

    def all_classes() -> int:
        for of_class in v:
            k_nearest(of_class, of_class, 5, own=True)
        return n * classes

    return {"rows a second": speeds({"k_nearest, k = 5": all_classes}, setting)}


def written(setting: Setting) -> dict[str, Any]:
    """Words a second of MISO's decoder."""
    net, latents = texts.writer(setting.device)

    @torch.no_grad()
    def write() -> int:
        return int(net.write(net.minority, net.unfolded(latents), texts.WRITTEN)[0].real.sum())

    return {"words a second": speeds({"64 texts at once": write}, setting)}


def encoder(setting: Setting, precision: str, length: int) -> tuple[Callable[[], int], float]:
    """A pass of BERT with random weights over texts of one length, and the FLOPs of a text."""
    from transformers import BertConfig, BertModel

    from imbalance_bench.data.text.vectors import TransformerEncoder

    sizes = TINY if setting.quick else BERT
    torch.manual_seed(0)
    network: Any = BertModel(BertConfig(**sizes))  # type: ignore[arg-type]
    network = network.to(setting.device).eval()
    rows = np.random.default_rng(0).integers(1000, 20_000, (setting.sized(256, 4), length)).tolist()
    of = TransformerEncoder("", "mean", True, length, 0, precision, "", "", None)  # type: ignore[arg-type]
    wide, layers, inner = (sizes[k] for k in ("hidden_size", "num_hidden_layers", "intermediate_size"))
    per_token = 2 * layers * (4 * wide**2 + 2 * wide * inner + 2 * length * wide)

    def encode() -> int:
        return len(of._through(network, rows, 0))

    return encode, float(per_token * length)


def bert(setting: Setting) -> dict[str, Any]:
    """Texts a second, and the share of the peak of a matrix product that this is."""
    found: dict[str, Any] = {}
    for precision, kind in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        peak = product(setting, kind)
        for length in (32, 128)[: setting.sized(2, 1)]:
            encode, flops = encoder(setting, precision, length)
            speed = speeds({"texts a second": encode}, setting)["texts a second"]
            share = speed * flops / 1e12 / peak if speed else None
            found[f"{precision}, {length} tokens"] = {"texts a second": speed, "share of the peak of a product": share}
    return found


def everything(setting: Setting) -> dict[str, Any]:
    parts = (textcnn, neighbours, written, bert)
    return {part.__name__: part(setting) for part in parts}
