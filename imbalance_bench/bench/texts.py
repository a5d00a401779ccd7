"""Texts a second: TextCNN as people train it, and as this package does, alone, in turn and together; tokens a second
that MISO writes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from imbalance_bench.bench.compare import compare, counted, option, show, trainer
from imbalance_bench.data.base import Part, Task, Vocabulary
from imbalance_bench.data.text.tokens import BEGIN, END, PAD, SPECIAL
from imbalance_bench.engine import Engine
from imbalance_bench.methods.miso.networks import EncoderDecoders
from imbalance_bench.registry import BACKBONES, METHODS
from imbalance_bench.running.devices import choose_device

RUNS = 5
LENGTH = 128
WORDS, WRITTEN = 5_000, 40  # of SMS Spam: words that a generator chooses among, tokens of its longer messages
LENGTHS = {"messages": 16, "reviews": 300}  # mean tokens a text: SMS Spam without stop words; most reviews are cut


def setting(n: int, mean: int, seed: int) -> Task:
    """n texts of random ids of two classes, a tenth of the second, and as good as no validation part."""
    rng = np.random.default_rng(seed)

    def part(n: int) -> Part:
        sizes = rng.gamma(2, mean / 2, n).astype(int).clip(1, LENGTH)
        ids = rng.integers(len(SPECIAL), 10_000, (n, LENGTH), dtype=np.int32)
        ids[np.arange(LENGTH) >= sizes[:, None]] = PAD
        return Part(ids, (rng.random(n) < 0.1).astype(np.int64), np.arange(n))

    return Task(part(n), part(64), None, 2, "classification", 0, 0, seed, minority_classes=(1,))


class ConvolutionalTextCNN(nn.Module):
    """TextCNN as it is usually written, with the sizes of ours."""

    def __init__(self, vocabulary: int, embedding: int, widths: Sequence[int], filters: int, dropout: float) -> None:
        super().__init__()
        self.vectors = nn.Embedding(vocabulary, embedding, padding_idx=PAD)
        self.convolutions = nn.ModuleList(nn.Conv1d(embedding, filters, width) for width in widths)
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(filters * len(widths), 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.vectors(x).transpose(1, 2)
        return self.head(torch.cat([convolution(h).relu().amax(2) for convolution in self.convolutions], 1))


def loader_loop(task: Task, sizes: dict[str, Any], settings: Any, device: torch.device, trim: bool) -> None:
    """The loop as it is usually written: a DataLoader over lists of ids that are padded to 128 tokens, or (``trim``) to
    the longest text of the batch."""
    from torch.utils.data import DataLoader

    texts = [(row[row != PAD].tolist(), int(label)) for row, label in zip(task.train.x, task.train.y)]

    def collate(batch: list[tuple[list[int], int]]) -> tuple[torch.Tensor, torch.Tensor]:
        longest = max(5, *(len(ids) for ids, _ in batch)) if trim else LENGTH
        rows = [ids + [PAD] * (longest - len(ids)) for ids, _ in batch]
        return torch.tensor(rows), torch.tensor([label for _, label in batch])

    net = ConvolutionalTextCNN(**sizes).to(device)
    optimiser = torch.optim.Adam(net.parameters(), lr=settings.lr)
    for x, y in DataLoader(texts, settings.batch_size, shuffle=True, collate_fn=collate):  # type: ignore[arg-type]
        optimiser.zero_grad()
        loss = F.cross_entropy(net(x.to(device)), y.to(device))
        loss.backward()
        optimiser.step()
        loss.item()


def throughput(n: int, mean: int, device: torch.device, rounds: int) -> dict[str, float]:
    """Texts a second of one pass, all runs counted."""
    tasks = [setting(n, mean, seed) for seed in range(RUNS)]
    plain, options = trainer("textcnn", 1), option("backbone", "textcnn")
    sizes = {key: options[key] for key in ("vocabulary", "embedding", "widths", "filters", "dropout")}
    padded, trimmed = (partial(loader_loop, tasks[0], sizes, plain, device, trim) for trim in (False, True))
    engine, backbone, method = Engine(plain, device.type), BACKBONES.build(options), METHODS.get("cross_entropy")()

    def of(count: int, together: int) -> Callable[[], int]:
        def loop() -> None:
            for first in range(0, count, together):
                method.fit(tasks[first : first + together], backbone, engine)

        return counted(loop, n * count)

    return compare(
        {
            "(a) DataLoader, padded to 128": counted(padded, n),
            "(b) DataLoader, to the longest": counted(trimmed, n),
            "(c) ours, one run": of(1, 1),
            f"(d) ours, {RUNS} runs in turn": of(RUNS, 1),
            f"(e) ours, {RUNS} runs together": of(RUNS, RUNS),
        },
        rounds,
    )


def writer(device: torch.device) -> tuple[EncoderDecoders, torch.Tensor]:
    """MISO's networks at their sizes, and latent variables of 64 texts."""
    options = option("method", "miso")
    sizes = {key: options[key] for key in ("width", "heads", "layers")}
    vocabulary = Vocabulary(WORDS, PAD, BEGIN, END, lambda ids: [])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = EncoderDecoders(vocabulary, WRITTEN, **sizes, fused=False).to(device)
        return net, torch.randn(64, sizes["width"]).to(device)


def writing(device: torch.device, rounds: int) -> dict[str, float]:
    """Tokens a second that the minority's decoder of MISO writes, each with the likeliest next one: all words read anew
    for each token, and with their keys and values kept, in batches of one and of 64 texts."""
    net, latents = writer(device)

    @torch.no_grad()
    def anew(n: int) -> int:
        memory = net.unfolded(latents[:n])
        ids = torch.full((n, 1), BEGIN, device=device)
        for _ in range(WRITTEN):
            states = net.minority(net.placed(F.embedding(ids, net.words.weight)), memory)
            ids = torch.cat([ids, net.logits(states[:, -1]).argmax(-1, keepdim=True)], 1)
        return n * WRITTEN

    @torch.no_grad()
    def kept(n: int) -> int:
        return int(net.write(net.minority, net.unfolded(latents[:n]), WRITTEN)[0].real.sum())

    return compare(
        {
            "(a) all read anew, one text": partial(anew, 1),
            "(b) all read anew, 64 texts": partial(anew, 64),
            "(c) keys kept, one text": partial(kept, 1),
            "(d) keys kept, 64 texts": partial(kept, 64),
        },
        rounds,
    )


def main(rounds: int) -> None:
    """Prints the comparisons."""
    device = choose_device("auto")
    gpu = device.type == "cuda"
    n = 12_800 if gpu else 512
    print(f"Texts on {torch.cuda.get_device_name() if gpu else 'the CPU'}: texts a second, all runs counted")
    results = {f"{name}, {mean} tokens": throughput(n, mean, device, rounds) for name, mean in LENGTHS.items()}
    show(f"textcnn, batch 64, {n} texts a run and pass", results)
    show(f"MISO's decoder, {WRITTEN} tokens a text: tokens a second", {f"{WORDS} words": writing(device, rounds)})
