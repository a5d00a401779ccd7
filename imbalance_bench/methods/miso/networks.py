"""The networks of MISO: an encoder and two decoders, the fusion of semantics, and what tells written texts."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from imbalance_bench.data.base import Vocabulary
from imbalance_bench.methods.miso.seq2seq import Decoder, Encoder, Memory

ASK = 4  # words: with more of them, those that are written in vain cost more than the waits

Latent = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Latent that the minority's decoder writes from, (b, width), of sentence states Q and K (b, width)."""


class Texts(NamedTuple):
    """``ids`` (b, l), of which ``real`` (b, l) are no padding. ``soft`` (real words, V): Gumbel-softmax of the words
    that were drawn, through which gradients flow."""

    ids: torch.Tensor
    real: torch.Tensor
    soft: torch.Tensor | None = None

    def embedded(self, words: torch.Tensor) -> torch.Tensor:
        """Rows (b, l, d) of ``words`` (V, d) for the ids. Straight-through: the gradient of Σ_v soft_v words_v takes
        the place of the choice's, which has none."""
        hard = F.embedding(self.ids, words)
        if self.soft is None:
            return hard
        soft = (self.soft @ words.detach()).to(hard.dtype)
        return hard.index_put(self.real.nonzero(as_tuple=True), soft - soft.detach(), accumulate=True)

    def fixed(self) -> Texts:
        return Texts(self.ids, self.real)


def entangled(q: torch.Tensor, k: torch.Tensor, tau: float) -> torch.Tensor:
    """Q̄ = [softmax(Q Kᵀ / √τ) Q] softmax(Qᵀ K / √τ) of one head or of each, (..., b, d), for Q, K (..., b, d), whose
    rows are paired (Section 4.2). With τ → ∞ both softmaxes are uniform: every entry is the mean of Q."""
    across = (q @ k.mT / math.sqrt(tau)).softmax(-1)
    within = (q.mT @ k / math.sqrt(tau)).softmax(-1)
    return across @ q @ within


class SemanticFusion(nn.Module):
    """SFM, S_σ: ``entangled`` of each head's share of the sentence states, and a feed-forward layer. Q, K (b, width) →
    Q̄ (b, width)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.units = units(width, width)

    def forward(self, q: torch.Tensor, k: torch.Tensor, tau: float) -> torch.Tensor:
        q, k = (s.unflatten(1, (self.heads, -1)).transpose(0, 1) for s in (q, k))
        return self.units(entangled(q, k, tau).transpose(0, 1).flatten(1))


def units(inputs: int, width: int) -> nn.Sequential:
    """A feed-forward layer, on the scale of sentence states."""
    return nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width), nn.LayerNorm(width))


class Discriminator(nn.Module):
    """D_φ: the log-odds (b,) that texts are given ones and not written ones; one hidden layer, of ``width`` units on
    each three words in a row, whose mean over the text decides."""

    def __init__(self, vocabulary: int, width: int) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary, width)
        self.hidden = nn.Conv1d(width, width, 3, padding=1)
        self.out = nn.Linear(width, 1)

    def forward(self, texts: Texts) -> torch.Tensor:
        real = texts.real[..., None]
        h = self.hidden((texts.embedded(self.words.weight) * real).mT).relu().mT
        return self.out((h * real).sum(1) / real.sum(1)).squeeze(1)

    def loss(self, given: Texts, written: Texts) -> torch.Tensor:
        """The loss of φ: -E[log D(x)] - E[log(1 - D(E(x)))]; 2 log 2 where D knows nothing."""
        return F.softplus(-self(given)).mean() + F.softplus(self(written.fixed())).mean()

    def deceived(self, written: Texts) -> torch.Tensor:
        """The loss of ψ: E[log(1 - D(E(x)))]."""
        return -F.softplus(self(written)).mean()


class EncoderDecoders(nn.Module):
    """One encoder, which both sides share, and two decoders: the majority's, which writes from the encoder's states of
    the words, and the minority's, which writes from a latent variable (b, width) unfolded to ``heads`` states.

    A word is looked up in one table by the encoder, by the decoders and where they choose the next word. Sentence
    states, Q and K, are means over the words. ``length``: tokens of the longest text.
    """

    barred: torch.Tensor

    def __init__(self, vocabulary: Vocabulary, length: int, width: int, heads: int, layers: int, fused: bool) -> None:
        super().__init__()
        self.length, self.heads = length, heads
        self.pad, self.begin, self.end = vocabulary.pad, vocabulary.begin, vocabulary.end
        self.words = nn.Embedding(vocabulary.size, width)
        nn.init.normal_(self.words.weight, std=width**-0.5)
        self.places = nn.Parameter(0.1 * torch.randn(length + 1, width))
        self.encoder = Encoder(width, heads, layers)
        self.sentence = nn.LayerNorm(width)
        self.minority, self.majority = (Decoder(width, heads, layers) for _ in range(2))
        self.unfold = nn.Linear(width, heads * width)
        self.fusion = SemanticFusion(width, heads) if fused else None
        self.imitation = units(2 * width, width) if fused else None
        barred = torch.zeros(vocabulary.size)
        barred[[self.pad, self.begin]] = -torch.inf
        self.register_buffer("barred", barred)

    def read(self, texts: Texts) -> tuple[torch.Tensor, torch.Tensor]:
        """States of words (b, l, width) and of sentences (b, width)."""
        states = self.encoder(self.placed(texts.embedded(self.words.weight)), texts.real)
        real = texts.real[..., None]
        return states, self.sentence((states * real).sum(1) / real.sum(1))

    def imitated(self, q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
        """Q̃ (b, width), which stands for the fusion while that is frozen; Q where nothing is fused."""
        return q if self.imitation is None else self.imitation(torch.cat([k, q], 1))

    def latent(self, q: torch.Tensor, k: torch.Tensor, tau: float) -> torch.Tensor:
        """Q̄ (b, width); Q where nothing is fused."""
        return q if self.fusion is None else self.fusion(q, k, tau)

    def unfolded(self, latent: torch.Tensor) -> Memory:
        """The states that the minority's decoder attends to."""
        return Memory(self.unfold(latent).unflatten(1, (self.heads, -1)))

    def predicted(self, decoder: Decoder, texts: Texts, memory: Memory) -> torch.Tensor:
        """Logits (real words, V) of each word of ``texts`` given those before it."""
        told = F.pad(texts.ids[:, :-1], (1, 0), value=self.begin)
        states = decoder(self.placed(F.embedding(told, self.words.weight)), memory)
        return self.logits(states[texts.real])

    def reconstruction(self, decoder: Decoder, texts: Texts, memory: Memory) -> torch.Tensor:
        """Mean cross-entropy of the words of given texts, the end included, given those before."""
        ended = self.ended(texts)
        return F.cross_entropy(self.predicted(decoder, ended, memory), ended.ids[ended.real])

    def ended(self, texts: Texts) -> Texts:
        """Given texts with the end that written ones have."""
        ids = F.pad(texts.ids.masked_fill(~texts.real, self.pad), (0, 1), value=self.pad)
        return Texts(ids.scatter(1, texts.real.sum(1, keepdim=True), self.end), F.pad(texts.real, (1, 0), value=True))

    def logits(self, states: torch.Tensor) -> torch.Tensor:
        """Of the next word, (..., V); it is never the padding or the begin."""
        return states @ self.words.weight.T + self.barred

    @torch.no_grad()
    def write(
        self, decoder: Decoder, memory: Memory, steps: int, generator: torch.Generator | None = None
    ) -> tuple[Texts, torch.Tensor | None]:
        """Texts of at most ``steps`` words, the end included, each word given those before it: the likeliest one, or
        one drawn by adding Gumbel noise of ``generator`` to the logits; and that noise (real words, V). A text has at
        least one word before its end. A GPU is asked at every ``ASK``-th word only whether all texts have ended: what
        was written beyond that is left out, and what was drawn for it is drawn again."""
        ids = torch.full((len(memory.states),), self.begin, device=self.barred.device)
        going = torch.ones_like(ids, dtype=torch.bool)
        writer, words, real, noises, states = decoder.writer(memory), [], [], [], []
        ask = 1 if ids.device.type == "cpu" else ASK
        for place in range(steps):
            embedded = self.placed(F.embedding(ids, self.words.weight)[:, None], place)
            logits = self.logits(writer.next(embedded[:, 0]))
            if generator is not None:
                uniform = torch.rand(logits.shape, generator=generator, dtype=logits.dtype, device=logits.device)
                noises.append(uniform.clamp_(min=1e-30).log_().neg_().log_().neg_())
                logits += noises[-1]
            if not place:
                logits[:, self.end] = -torch.inf
            ids = logits.argmax(-1).masked_fill(~going, self.pad)
            words.append(ids)
            real.append(going)
            going = going & (ids != self.end)
            if generator is not None and ask > 1:
                states.append(generator.get_state())
            if (place + 1) % ask == 0 and not going.any():
                break
        written = len(words)
        if ask > 1:
            written = int(torch.stack(real).any(1).sum())  # words before which some text went on
        texts = Texts(torch.stack(words[:written], 1), torch.stack(real[:written], 1))
        if generator is None:
            return texts, None
        if states:
            generator.set_state(states[written - 1])
        noise = torch.stack(noises[:written], 1)
        noises.clear()  # as large as all that is made of a batch
        return texts, noise[texts.real]

    def drawn(self, decoder: Decoder, memory: Memory, steps: int, generator: torch.Generator) -> Texts:
        """Texts as the decoder draws them, that pass gradients on to it: Gumbel-softmax at temperature 1 of each word,
        in which the words before it are constants, so that all are computed at once."""
        texts, noise = self.write(decoder, memory, steps, generator)
        assert noise is not None
        return texts._replace(soft=(self.predicted(decoder, texts, memory) + noise).softmax(-1))

    def placed(self, embedded: torch.Tensor, first: int = 0) -> torch.Tensor:
        """Embedded words (b, l, width) with their positions, the first of which is ``first``."""
        places = self.places[first : first + embedded.shape[1]]
        return embedded * embedded.shape[-1] ** 0.5 + places
