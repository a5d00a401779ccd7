"""How a row of a table and a side of a claim are written."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

ANY = "*"


@dataclass(frozen=True)
class Side:
    """``label``, ``label/networks`` or either with ``@readout`` behind it: a method, where it matters with which
    backbones, where it matters by which readout. ``networks`` is one (``crt/xlnet``), several (``crt/textcnn|textrnn``)
    or all (``crt/*``); of more than one the best stands, by its mean in the place."""

    method: str
    networks: tuple[str, ...]
    readout: str

    @classmethod
    @cache
    def of(cls, text: str) -> Side:
        rest, _, readout = text.partition("@")
        method, _, networks = rest.partition("/")
        return cls(method, tuple(networks.split("|")) if networks else (), readout)

    def holds(self, backbone: str) -> bool:
        """Whether a number of this backbone may stand here; "" is a number of which none is named."""
        return not self.networks or ANY in self.networks or backbone in (*self.networks, "")

    @property
    def chooses(self) -> bool:
        """Whether it is the best of several networks."""
        return ANY in self.networks or len(self.networks) > 1
