"""How the networks of MISO are trained and write texts; the methods miso and cag are made of it."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from imbalance_bench.data.base import Vocabulary
from imbalance_bench.engine.memory import give_back_freed_memory
from imbalance_bench.errors import BenchError
from imbalance_bench.methods.miso.mine import MINE
from imbalance_bench.methods.miso.networks import Discriminator, EncoderDecoders, Latent, Texts
from imbalance_bench.methods.miso.seq2seq import Memory
from imbalance_bench.running import progress
from imbalance_bench.running.checkpoints import Loop

if TYPE_CHECKING:
    from imbalance_bench.engine import Engine

log = logging.getLogger("imbalance_bench")

LOOK = 50  # steps of pre-training whose mean loss is looked at
BUCKETS = 4  # batches whose rows are sorted by length together
AT_ONCE = 512  # texts read at a time where no gradient is taken


class Diverged(BenchError):
    """A loss of the generator is not finite."""


@dataclass(frozen=True)
class GeneratorOptions:
    """The options of the method that its generator takes; ``CAG`` and ``MISO`` say what they mean. ``weights``: τ →
    those of the MI loss and of the adversarial losses; ``fused``: whether there are fusion and MI loss at all."""

    fused: bool
    weights: Callable[[float], tuple[float, float]]
    batch_size: int
    lr: float
    width: int
    heads: int
    layers: int
    pretrain_lr: float
    pretrain_steps: int
    pretrain_until: float
    epochs: int
    epoch_steps: int
    reconstruction: float
    schedule: Literal["each_epoch", "at_end"]
    mine_steps: int = 0


class ClassTexts:
    """The texts of one side on the device: ``x`` (n, L) padded on the right with ``pad``."""

    def __init__(self, x: np.ndarray, pad: int, device: torch.device) -> None:
        self.lengths = torch.as_tensor((x != pad).sum(1)).clamp(min=1)
        self.ids = torch.as_tensor(x).to(device)

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: torch.Tensor) -> Texts:
        """Rows (b,), cut to the longest of them."""
        lengths = self.lengths[rows]
        ids = self.ids[rows.to(self.ids.device), : int(lengths.max())]
        return Texts(ids, torch.arange(ids.shape[1], device=ids.device) < lengths.to(ids.device)[:, None])

    def batches(self, size: int, generator: torch.Generator) -> Batches:
        """Full batches without end."""
        return Batches(self, size, generator)


class Batches:
    """Full batches of texts without end, in shuffled passes, each of texts of about one length."""

    kept = ("left",)  # the generator is somebody else's too

    def __init__(self, texts: ClassTexts, size: int, generator: torch.Generator) -> None:
        self.texts, self.size, self.generator = texts, size, generator
        self.left: list[list[int]] = []  # of the present pass

    def __iter__(self) -> Iterator[Texts]:
        return self

    def __next__(self) -> Texts:
        if not self.left:
            self.left = self._pass()
        rows = torch.tensor(self.left.pop(0))
        # In any order: rows of two sides are paired, and length must not say with which.
        return self.texts.take(rows[torch.randperm(self.size, generator=self.generator)])

    def _pass(self) -> list[list[int]]:
        texts, size = self.texts, self.size
        order = torch.randperm(len(texts), generator=self.generator)[: len(texts) // size * size]
        pools = order.split(BUCKETS * size)
        batches = torch.cat([pool[texts.lengths[pool].argsort(stable=True)] for pool in pools]).view(-1, size)
        of_pass: list[list[int]] = batches[torch.randperm(len(batches), generator=self.generator)].tolist()
        return of_pass


class Pairs:
    """Batches of both sides, whose rows are paired at random."""

    kept = ("sides",)

    def __init__(self, *sides: Batches) -> None:
        self.sides = list(sides)

    def __iter__(self) -> Iterator[tuple[Texts, Texts]]:
        return self

    def __next__(self) -> tuple[Texts, Texts]:
        few, many = (next(side) for side in self.sides)
        return few, many


class Generator:
    """Algorithm 1 with ``options``, in one run, on the texts of one minority class (n+, L) and those
    of the others (n-, L). ``wanted``: anchors t that balance the two. Everything is drawn from ``seed``.

    ``history``: a dict an epoch: tau, discriminator losses, bounds of MI (nats), anchors so far.
    """

    kept = ("networks", "critics", "mines", "shuffling", "noise", "history")

    def __init__(
        self,
        options: GeneratorOptions,
        vocabulary: Vocabulary,
        minority: np.ndarray,
        majority: np.ndarray,
        wanted: int,
        seed: np.random.SeedSequence,
        engine: Engine,
    ) -> None:
        self.options, self.wanted, self.device = options, wanted, engine.device
        # The networks know the words of these texts only: choosing among all of a large vocabulary is what takes long.
        special = [vocabulary.pad, vocabulary.begin, vocabulary.end]
        self.known = np.unique(np.concatenate([special, minority.ravel(), majority.ravel()]))
        self.pad, begin, end = np.searchsorted(self.known, special).tolist()
        vocabulary = replace(vocabulary, size=len(self.known), pad=self.pad, begin=begin, end=end)
        self.minority, self.majority = self.side(minority), self.side(majority)
        self.size = min(options.batch_size, len(self.minority), len(self.majority))
        # Places beyond the longest text are learned by none, so nothing is written there.
        self.width, self.longest = minority.shape[1], int(self.minority.lengths.max())
        length = max(self.longest, int(self.majority.lengths.max()))
        first, second, third = (int(s) >> 1 for s in seed.generate_state(3, np.uint64))
        width = options.width
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(first)
            self.networks = EncoderDecoders(vocabulary, length, width, options.heads, options.layers, options.fused).to(
                engine.device, engine.dtype
            )
            self.critics = [Discriminator(vocabulary.size, width).to(engine.device, engine.dtype) for _ in range(2)]
            share = width // options.heads
            mines = 2 if options.fused else 0
            self.mines = [MINE(share, share, width).to(engine.device, engine.dtype) for _ in range(mines)]
        self.shuffling = torch.Generator().manual_seed(second)
        # Too many numbers to be drawn on the CPU and sent: those of a device are its own.
        self.noise = torch.Generator(engine.device).manual_seed(third)
        self.history: list[dict[str, float]] = []
        self.steps = 0
        self.tau = (len(self.minority) + wanted) / len(self.minority)  # before any anchor is made

    def side(self, x: np.ndarray) -> ClassTexts:
        """Texts (n, L) in ids of the networks."""
        return ClassTexts(np.searchsorted(self.known, x), self.pad, self.device)

    def pretrain(self) -> None:
        """Lines 1 and 2: encoder and decoders learn to write what they read, the minority's from Q̃; lines 3 and 4: the
        MINEs learn Q, Q̃ and K. ``steps``: how many the former took."""
        net, o = self.networks, self.options
        self.steps = self._learn_words(o.pretrain_steps, net.imitated)
        if self.mines:
            self._learn_bounds(o.mine_steps, o.lr, net.imitated)

    def fuse(self, steps: int) -> None:
        """Not in Algorithm 1: encoder, decoders and the fusion learn to write from Q̄ itself, then the MINEs learn Q, Q̄
        and K, as many steps, all at the rate of pre-training; before the joint iterations, which find it untrained."""
        fusion = partial(self.networks.latent, tau=self.tau)
        self._learn_words(steps, fusion)
        self._learn_bounds(steps, self.options.pretrain_lr, fusion)

    def _learn_words(self, steps: int, latent: Latent) -> int:
        """Reconstruction on both sides, the minority's from ``latent`` of Q and K, until it settles; how many steps."""
        net = self.networks
        optimiser = _adam([net], self.options.pretrain_lr)
        losses: list[torch.Tensor] = []
        pairs = self._pairs()
        loop = Loop("pre-training", steps, self, optimiser, pairs, losses)
        for _ in loop:
            few, many = next(pairs)
            (_, q), (states, k) = net.read(few), net.read(many)
            of_few = net.reconstruction(net.minority, few, net.unfolded(latent(q, k)))
            of_many = net.reconstruction(net.majority, many, Memory(states, many.real))
            _descend(optimiser, of_few + of_many)
            losses.append(of_few.detach())
            progress.report("pre-training", len(losses), steps, "steps")
            if len(losses) % LOOK == 0 and self._settled(losses[-LOOK:]):
                loop.stop()
        self._settled(losses[-LOOK:])
        give_back_freed_memory()
        return len(losses)

    def _learn_bounds(self, steps: int, lr: float, latent: Latent) -> None:
        """The MINEs on Q, K and ``latent`` of both."""
        optimiser = _adam(self.mines, lr)
        pairs = self._pairs()
        for _ in Loop("bounds", steps, self, optimiser, pairs):
            few, many = next(pairs)
            with torch.no_grad():
                q, k = (self.networks.read(texts)[1] for texts in (few, many))
                fused = latent(q, k)
            _descend(optimiser, -self._ascents(q, fused, k))

    def pretrained(self) -> dict[str, np.ndarray]:
        """All that ``pretrain`` leaves, for ``load``."""
        self.pretrain()
        weights = {name: value.cpu().numpy() for name, value in self._modules().state_dict().items()}
        return weights | {"steps": np.array(self.steps), "shuffling": self.shuffling.get_state().numpy()}

    def load(self, arrays: dict[str, np.ndarray]) -> None:
        """Goes on where ``pretrained`` ended."""
        weights = {name: torch.as_tensor(value) for name, value in arrays.items()}
        self.steps = int(weights.pop("steps"))
        self.shuffling.set_state(weights.pop("shuffling"))
        self._modules().load_state_dict(weights)

    def _modules(self) -> nn.ModuleDict:
        """The pre-trained modules."""
        return nn.ModuleDict({"networks": self.networks, "mines": nn.ModuleList(self.mines)})

    def train(self, sources: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Lines 5 to 12: anchors (t, L) made from minority rows ``sources``, which are reused in turn,
        which of them end before the longest text does (t,), and which row each was made from, (t,)."""
        o, rows = self.options, torch.as_tensor(sources)
        passes = -(-self.wanted // len(rows))
        order = torch.cat([torch.randperm(len(rows), generator=self.shuffling) for _ in range(passes)])
        order = rows[order[: self.wanted]]
        of_critics = _adam(self.critics, o.lr)
        of_networks = _adam([self.networks], o.lr)
        of_mines = _adam(self.mines, o.lr) if self.mines else None
        made: list[tuple[np.ndarray, np.ndarray]] = []
        seconds = 0.0
        keeps = [self, of_critics, of_networks, *([of_mines] if of_mines else []), made]
        for epoch in Loop("generator", o.epochs, *keeps):
            done = sum(len(anchors) for anchors, _ in made)
            tau = (len(self.minority) + self.wanted) / (len(self.minority) + done)
            pairs, steps = self._pairs(), list[dict[str, torch.Tensor]]()
            for _ in Loop("iterations", o.epoch_steps, pairs, steps):
                steps.append(self._iterate(*next(pairs), tau, of_critics, of_networks, of_mines))
            facts = {name: float(torch.stack([s[name] for s in steps]).mean()) for name in steps[0]}
            if bad := [name for name, value in facts.items() if not math.isfinite(value)]:
                raise Diverged(
                    f"{bad[0]} of the generator is {facts[bad[0]]} in its epoch {epoch + 1}: lower method.lr"
                )
            if not all(p.isfinite().all() for p in self.networks.parameters()):
                raise Diverged(f"the generator's weights are not finite after its epoch {epoch + 1}: lower method.lr")
            last = epoch + 1 == o.epochs
            until = self.wanted * (epoch + 1) // o.epochs if o.schedule == "each_epoch" or last else done
            start = time.perf_counter()
            if until > done:
                made.append(self.write(order[done:until], tau))
            seconds += time.perf_counter() - start
            give_back_freed_memory()
            self.history.append({"epoch": epoch + 1, "tau": tau, **facts, "anchors": until})
            progress.report("generator", epoch + 1, o.epochs, numbers={**facts, "anchors": until})
        anchors, ended = (np.concatenate(parts) for parts in zip(*made))
        tokens = int((anchors != self.known[self.pad]).sum())
        log.info("%d anchors, %d tokens, %.0f tokens/s", len(anchors), tokens, tokens / max(seconds, 1e-9))
        return anchors, ended, order.numpy()

    @torch.no_grad()
    def states(self, x: np.ndarray) -> torch.Tensor:
        """Sentence states (n, width) of texts (n, L)."""
        side = self.side(x)
        order = side.lengths.argsort(stable=True)
        states = torch.cat([self.networks.read(side.take(rows))[1] for rows in order.split(AT_ONCE)])
        return torch.empty_like(states).index_copy_(0, order.to(states.device), states)

    @torch.no_grad()
    def accuracy(self, tau: float | None = None) -> float:
        """Share of the words that the decoder finds, given those before, from Q̃ (from Q̄, given τ), in as many batches
        of minority texts as hold each text about once."""
        net, right = self.networks, []
        for few, many in islice(self._pairs(), -(-len(self.minority) // self.size)):
            q, k = (net.read(texts)[1] for texts in (few, many))
            latent = net.imitated(q, k) if tau is None else net.latent(q, k, tau)
            ended = net.ended(few)
            logits = net.predicted(net.minority, ended, net.unfolded(latent))
            right.append(logits.argmax(-1) == ended.ids[ended.real])
        return float(torch.cat(right).double().mean())

    @contextmanager
    def aside(self) -> Iterator[None]:
        """For a look at the networks: what is drawn meanwhile is drawn again afterwards."""
        state = self.shuffling.get_state()
        try:
            yield
        finally:
            self.shuffling.set_state(state)

    def _pairs(self) -> Pairs:
        return Pairs(*(side.batches(self.size, self.shuffling) for side in (self.minority, self.majority)))

    def _settled(self, losses: list[torch.Tensor]) -> bool:
        mean = float(torch.stack(losses).mean())
        if not math.isfinite(mean):
            raise Diverged(f"the reconstruction loss of the generator is {mean}: lower method.pretrain_lr")
        return mean < self.options.pretrain_until

    def _iterate(
        self,
        few: Texts,
        many: Texts,
        tau: float,
        of_critics: torch.optim.Optimizer,
        of_networks: torch.optim.Optimizer,
        of_mines: torch.optim.Optimizer | None,
    ) -> dict[str, torch.Tensor]:
        """Lines 6 to 8 on one batch."""
        net = self.networks
        (_, q), (states, k) = net.read(few), net.read(many)
        fused = net.latent(q, k, tau)
        sides = (net.minority, few, net.unfolded(fused)), (net.majority, many, Memory(states, many.real))
        pairs = [
            (net.ended(texts), net.drawn(decoder, memory, texts.ids.shape[1] + 1, self.noise))
            for decoder, texts, memory in sides
        ]
        of_few, of_many = (critic.loss(*pair) for critic, pair in zip(self.critics, pairs))
        _descend(of_critics, of_few + of_many)
        facts = {"critic_minority": of_few.detach(), "critic_majority": of_many.detach()}

        of_writing = torch.stack([c.deceived(written) for c, (_, written) in zip(self.critics, pairs)]).sum()
        if self.options.reconstruction:
            of_words = torch.stack([net.reconstruction(*side) for side in sides]).sum()
            of_writing = of_writing + self.options.reconstruction * of_words
            facts["reconstruction"] = of_words.detach()
        of_mi, of_texts = self.options.weights(tau)
        loss = of_texts * of_writing
        if of_mines is not None:
            to_minority, to_majority = (m.bound(*p) for m, p in zip(self.mines, self._triples(q, fused, k)))
            loss = loss + of_mi * (to_majority - to_minority)
            facts |= {"mi_minority": to_minority.detach(), "mi_majority": to_majority.detach()}
        _descend(of_networks, loss)
        if of_mines is not None:
            _descend(of_mines, -self._ascents(q.detach(), fused.detach(), k.detach()))
        return facts

    def _triples(
        self, q: torch.Tensor, fused: torch.Tensor, k: torch.Tensor
    ) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        """(Q, Q̄) and (K, Q̄) of each text and head, (b·h, d/h), and the order that takes Q̄ from another text, of the
        same head, for the product of the marginals."""
        heads = torch.arange(self.options.heads)
        pairs = []
        for other in (q, k):
            order = torch.randperm(len(q), generator=self.shuffling)[:, None] * len(heads) + heads
            x, y = (states.unflatten(1, (len(heads), -1)).flatten(0, 1) for states in (other, fused))
            pairs.append((x, y, order.flatten().to(x.device)))
        return pairs

    def _ascents(self, q: torch.Tensor, fused: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
        """The objective that both MINEs ascend."""
        return torch.stack([m.ascent(*p) for m, p in zip(self.mines, self._triples(q, fused, k))]).sum()

    @torch.no_grad()
    def write(self, rows: torch.Tensor, tau: float) -> tuple[np.ndarray, np.ndarray]:
        """An anchor (n, L) from each minority row (n,), beside majority rows that are drawn anew, and which of them
        have an end (n,). Fusion looks across a batch, in which equal rows get equal latents: so no batch has two of
        ``rows`` that are equal; minority rows, drawn anew, fill it up."""
        net, latents, anchors, ended = self.networks, [], [], []
        for chosen in _without_repeats(rows, self.size):
            others = torch.randint(len(self.minority), (self.size - len(chosen),), generator=self.shuffling)
            beside = torch.randint(len(self.majority), (self.size,), generator=self.shuffling)
            q, k = net.read(self.minority.take(torch.cat([chosen, others])))[1], net.read(self.majority.take(beside))[1]
            latents.append(net.latent(q, k, tau)[: len(chosen)])
        for latent in torch.cat(latents).split(AT_ONCE):
            ids = net.write(net.minority, net.unfolded(latent), self.longest)[0].ids
            ended.append((ids == net.end).any(1).cpu().numpy())
            ids = F.pad(ids.masked_fill(ids == net.end, net.pad), (0, self.width - ids.shape[1]), value=net.pad)
            anchors.append(self.known[ids.cpu().numpy()])
        return np.concatenate(anchors).astype(np.int32), np.concatenate(ended)


def _without_repeats(rows: torch.Tensor, size: int) -> Iterator[torch.Tensor]:
    """``rows`` in their order, at most ``size`` at a time and none twice; two rows may hold the same text."""
    chosen: list[int] = []
    for row in rows.tolist():
        if len(chosen) == size or row in chosen:
            yield torch.tensor(chosen)
            chosen = []
        chosen.append(row)
    if chosen:
        yield torch.tensor(chosen)


def _adam(modules: Sequence[nn.Module], lr: float) -> torch.optim.Adam:
    return torch.optim.Adam([p for module in modules for p in module.parameters()], lr)


def _descend(optimiser: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
