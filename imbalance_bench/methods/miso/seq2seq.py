"""A small Transformer (Vaswani et al., 2017; layers normalised before they act) that reads texts and writes texts."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

KeysValues = tuple[torch.Tensor, torch.Tensor]
"""Keys and values of an attention, each (b, heads, m, width / heads)."""


class Attention(nn.Module):
    """Multi-head attention of ``width``."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key_value = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def keys(self, memory: torch.Tensor) -> KeysValues:
        """Of what is attended to, (b, m, width)."""
        key, value = self.key_value(memory).chunk(2, -1)
        return self._split(key), self._split(value)

    def forward(
        self, x: torch.Tensor, keys: KeysValues, real: torch.Tensor | None = None, causal: bool = False
    ) -> torch.Tensor:
        """(b, l, width) for queries x (b, l, width). ``real`` (b, m): which of what is attended to is not padding."""
        mask = None if real is None else real[:, None, None]
        attended = F.scaled_dot_product_attention(self._split(self.query(x)), *keys, attn_mask=mask, is_causal=causal)
        return self.out(attended.transpose(1, 2).flatten(2))

    def _split(self, x: torch.Tensor) -> torch.Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class Layer(nn.Module):
    """Attention to the text itself, attention to a memory (``crossed``), four times ``width`` units."""

    def __init__(self, width: int, heads: int, crossed: bool) -> None:
        super().__init__()
        self.itself = Attention(width, heads)
        self.memory = Attention(width, heads) if crossed else None
        self.units = nn.Sequential(nn.Linear(width, 4 * width), nn.ReLU(), nn.Linear(4 * width, width))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3 if crossed else 2))

    def forward(
        self,
        x: torch.Tensor,
        real: torch.Tensor | None = None,
        memory: tuple[KeysValues, torch.Tensor | None] | None = None,
        past: list[KeysValues] | None = None,
    ) -> torch.Tensor:
        """(b, l, width). ``real`` (b, l): no padding (None: the text is written from left to right). ``memory``: its
        keys and which of it is real. ``past``: keys of the words before, to which those of the next one, ``x``, are
        added."""
        h = self.norms[0](x)
        keys = self.itself.keys(h)
        if past is not None:
            keys = keys if not past else tuple(torch.cat(pair, 2) for pair in zip(past.pop(), keys))  # type: ignore[assignment]
            past.append(keys)
        x = x + self.itself(h, keys, real, causal=real is None and past is None)
        if self.memory is not None and memory is not None:
            x = x + self.memory(self.norms[1](x), *memory)
        return x + self.units(self.norms[-1](x))


class Encoder(nn.Module):
    """States (b, l, width) of embedded words (b, l, width), of which ``real`` (b, l) are no padding."""

    def __init__(self, width: int, heads: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(width, heads, crossed=False) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, x: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = layer(x, real)
        return self.norm(x)


class Memory(NamedTuple):
    """The memory that a text is written from: ``states`` (b, m, width), of which ``real`` (b, m) count (None: all)."""

    states: torch.Tensor
    real: torch.Tensor | None = None


class Decoder(nn.Module):
    """The state (b, l, width) from which each next word is chosen, given embedded words (b, l, width) and a memory."""

    def __init__(self, width: int, heads: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(width, heads, crossed=True) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, x: torch.Tensor, memory: Memory) -> torch.Tensor:
        """All words at once, which are known (teacher forcing)."""
        for layer, remembered in zip(self.layers, self.remembered(memory)):
            x = layer(x, memory=remembered)
        return self.norm(x)

    def remembered(self, memory: Memory) -> list[tuple[KeysValues, torch.Tensor | None]]:
        """Keys of a memory for each layer."""
        attentions: list[Attention] = [layer.memory for layer in self.layers]  # type: ignore[misc]
        return [(attention.keys(memory.states), memory.real) for attention in attentions]

    def writer(self, memory: Memory) -> Writer:
        """For words that come one by one."""
        return Writer(self, memory)


class Writer:
    """A text being written: each layer's keys of the memory and of the words so far are computed once."""

    def __init__(self, decoder: Decoder, memory: Memory) -> None:
        self.decoder = decoder
        self.memory = decoder.remembered(memory)
        self.past: list[list[KeysValues]] = [[] for _ in decoder.layers]

    def next(self, x: torch.Tensor) -> torch.Tensor:
        """The state (b, width) after the embedded word (b, width)."""
        x = x[:, None]
        for layer, memory, past in zip(self.decoder.layers, self.memory, self.past):
            x = layer(x, memory=memory, past=past)
        return self.decoder.norm(x)[:, 0]
