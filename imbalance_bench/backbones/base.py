"""The facts that a backbone states of itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from imbalance_bench.registry import BACKBONES


@BACKBONES.base
class Backbone:
    """A dataclass registered in ``registry.BACKBONES``. It needs ``build(self, shape, classes, head)``, which gives the
    network for rows (n, *shape), an ordinary nn.Module; it need not inherit this class, and has its defaults then. What
    the network states itself: ``network.Network`` and ``engine.stack.Traits``."""

    name: ClassVar[str]

    # Whether torch.func.vmap can map its networks over runs; otherwise runs are trained one at a time.
    maps: ClassVar[bool] = True
    # Whether ``build`` takes ``categories`` too: the columns of each one-hot category, first and one past the last.
    categorical: ClassVar[bool] = False
    # (language, folder, device) → what makes numbers of texts: vectors (n, d), or token ids (n, L), and then the
    # encoder also has ``vocabulary(x, fit_rows)``: what the ids mean that ``__call__`` gives for the same arguments.
    # ``folder`` = ``paths.data`` has the cache of what is slow to make; ``device``: auto, cpu or cuda. None: it reads
    # numbers.
    text_encoder: ClassVar[Callable[..., Any] | None] = None
