"""R copies of one backbone as one program: every parameter carries a leading run axis."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn

from imbalance_bench.engine.losses import cross_entropy
from imbalance_bench.errors import BenchError

Params = dict[str, torch.Tensor]

TEXTS = 32  # texts that a network reads at once on a CPU: each token is some hundred numbers


def as_input(x: Any, like: torch.Tensor) -> torch.Tensor:
    """Rows ``x`` as a network takes them: floats on the device of ``like``; images of bytes as numbers in [0, 1]; token
    ids as they are."""
    x = stored(x, like)
    return x.to(like.dtype).div_(255) if x.dtype == torch.uint8 else x


def stored(x: Any, like: torch.Tensor) -> torch.Tensor:
    """Rows ``x`` as they lie on the device of ``like``: bytes and token ids as they are, other numbers in its type."""
    x = torch.as_tensor(x)
    return x.to(like) if x.is_floating_point() else x.to(like.device, non_blocking=True)


def lengths(x: torch.Tensor, pad: int) -> torch.Tensor:
    """Tokens of each row of ids (n, L), (n,); at least 1."""
    return (x != pad).sum(1).clamp_(min=1)


class Pass(Protocol):
    """A pass of R networks forward whose derivatives are written by hand; ``backbones.by_hand`` has one. ``mixed``, for
    methods that differentiate a gradient, is not there where the head is ``cosine``."""

    outputs: torch.Tensor
    cosine: bool

    def logits(self, outputs: torch.Tensor) -> torch.Tensor: ...

    def gradients(self, of_outputs: torch.Tensor) -> Params: ...

    def mixed(
        self, along: Mapping[str, torch.Tensor], curvature: Callable[[torch.Tensor], torch.Tensor], first: int = 0
    ) -> torch.Tensor: ...


@dataclass(frozen=True)
class Traits:
    """Facts that a network states beside ``forward``; an ordinary nn.Module states nothing, and has the defaults.

    ``batched``: forward of R networks at once, (parameters (R, ...), inputs (R, n, ...)[, stage]). ``passed``: the same
    for logits, (parameters, inputs) → ``Pass`` or None. ``pad``: the id that fills rows of token ids up. ``staged``: it
    can be asked for its embedding and its head apart. ``ragged``: the layers that look across the rows of a batch,
    whose attribute of this name is set where not all of them are real.
    ``loss_members``: of an ensemble, how many logits it gives a row at the stage "members", (n · members, C), row by
    row, of which each has a loss of its own. ``row_vectors``: how many vectors a row is within the network, tokens or
    copies for members.
    ``settled``: the layers whose running statistics may be updated all at once (``BatchNorm.settle``).
    """

    batched: Callable[..., torch.Tensor] | None = None
    passed: Callable[[Params, torch.Tensor], Pass | None] | None = None
    pad: int | None = None
    staged: bool = False
    loss_members: int = 1
    row_vectors: int = 1
    ragged: tuple[Any, ...] = ()
    settled: tuple[Any, ...] = ()

    @classmethod
    def of(cls, module: nn.Module) -> Traits:
        batched, passed, pad = (getattr(module, trait, None) for trait in ("batched", "passed", "pad"))
        staged = "stage" in inspect.signature(batched or module.forward).parameters
        modules: list[Any] = list(module.modules())
        ragged, settled = (tuple(m for m in modules if hasattr(m, name)) for name in ("ragged", "settle"))
        members, vectors = (getattr(module, trait, 1) for trait in ("loss_members", "row_vectors"))
        settled = settled if settled and settled[0].alike(settled) else ()
        return cls(batched, passed, pad, staged, members, vectors, ragged, settled)


class Stack:
    """Parameters of R runs of one architecture, initialised each from its own seed.

    ``flat`` (R, P + S) holds every parameter and then every buffer (running statistics). ``params`` are views of the
    former, name → (R, *shape), leaves that require gradients; ``backward`` writes those into ``grad`` (R, P), and
    optimisers change ``weights`` (R, P). ``buffers`` are views of the latter. A module with a method ``batched(params,
    x, stage)`` runs all R at once through it; another module is mapped over runs by ``torch.func.vmap``, or called
    plainly when R = 1.

    ``autocast``: the type that convolutions and products are computed in (None: that of the parameters);
    ``channels_last``: layout of images and filters; ``compiled``: through ``torch.compile``.

    ``scale``: what ``predict`` multiplies logits by; a method whose loss does so itself sets it (LDAM).
    """

    kept = ("flat",)
    scale = 1.0
    outputs: int | None = None  # logits a row, where that is known
    # What ``build`` of a backbone was given: shape, classes, head, and the columns of categories where it takes them.
    built_for: tuple[tuple[int, ...], int, str, Sequence[Sequence[int]]] | None = None

    def __init__(
        self,
        module: nn.Module,
        flat: torch.Tensor,
        autocast: torch.dtype | None = None,
        channels_last: bool = False,
        compiled: bool = False,
    ) -> None:
        self.module = module
        self.flat = flat
        self.options: dict[str, Any] = {"autocast": autocast, "channels_last": channels_last, "compiled": compiled}
        self.autocast, self.channels_last = autocast, channels_last
        size = sum(p.numel() for p in module.parameters())
        self.weights = flat[:, :size]
        self.grad = torch.zeros(len(flat), size, dtype=flat.dtype, device=flat.device)
        # Layers change buffers in place. `.data` keeps that from counting as a change of everything else that lies in
        # the same storage, which autograd guards.
        self._shapes = {name: t.shape for name, t in _tensors(module).items()}
        named = {n: t for n, t in _tensors(module).items() if not isinstance(t, nn.Parameter)}
        self.buffers = {n: v.data for n, v in self.views(flat).items() if n in named}
        self.params = {n: v for n, v in self.views(flat).items() if n not in self.buffers}
        for p in self.params.values():
            p.requires_grad_()
        self._compiled = torch.compile(self._without_effects) if compiled else None
        self.traits = Traits.of(module)
        # The columns of the state that hold numbers of rows (see ``attending``) and running statistics.
        kinds = [kind for name, b in named.items() for kind in [name.rpartition(".")[2]] * b.numel()]
        self._rows = torch.tensor([kind == "rows" for kind in kinds]).to(flat.device)
        averages = [size + i for i, kind in enumerate(kinds) if kind in ("running_mean", "running_var")]
        self._averages = flat.data[:, averages[0] : averages[-1] + 1] if self.traits.settled else None
        # What waits for ``backward``: a leaf of the loss, and how its gradient goes on by hand to the parameters.
        self._leaves: list[tuple[torch.Tensor, Callable[[torch.Tensor], Params]]] = []

    @classmethod
    def create(
        cls,
        build: Callable[[], nn.Module],
        seeds: Sequence[int],
        device: torch.device,
        dtype: torch.dtype,
        rows: Sequence[Any] | None = None,
        **options: Any,
    ) -> Stack:
        """R fresh copies of what ``build`` makes, each initialised from its own seed, and by the training ``rows``
        (n, ...) of its run where it has a method ``start_from(x)``."""
        modules = []
        for seed in seeds:
            # The global generator is what nn.init draws from: fork it, so that a run's start depends on its seed only.
            with torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed(seed)  # torch.manual_seed asks for GPUs, a millisecond each time
                modules.append(module := build())
                if rows is not None and (start := getattr(module, "start_from", None)) is not None:
                    start(as_input(rows[len(modules) - 1], next(module.parameters())))
        tensors = [_tensors(module) for module in modules]
        size = sum(t.numel() for t in tensors[0].values())
        stack = cls(modules[0], torch.zeros(len(modules), size, device=device, dtype=dtype), **options)
        with torch.no_grad():
            for name, view in stack.views(stack.flat).items():
                view.copy_(torch.stack([of_run[name].detach() for of_run in tensors]))
        # Only now: `.to` moves a module in place, away from those that it is stacked with.
        stack.module.to(device, dtype)
        return stack

    def twin(self) -> Stack:
        """A second buffer of parameters for the same networks, e.g. for a step that looks ahead."""
        twin = Stack(self.module, self.flat.detach().clone(), **self.options)
        twin.scale = self.scale
        return twin

    def __len__(self) -> int:
        return self.flat.shape[0]

    def of_run(self, run: int) -> Params:
        """The parameters of a run, which change with what is written into these."""
        return {name: view[run].detach() for name, view in self.params.items()}

    @property
    def pad(self) -> int | None:
        """The id that fills rows of token ids up, where the networks read such (``Network.pad``)."""
        return self.traits.pad

    def views(self, flat: torch.Tensor) -> Params:
        """The parameters and buffers, name → (R, *shape), that lie in rows (R, P + S); of rows (R, P) the former."""
        views, start = {}, 0
        for name, shape in self._shapes.items():
            if start == flat.shape[1]:
                break
            piece = flat[:, start : (start := start + shape.numel())]
            if self._filters(shape):
                out, inputs, height, width = shape
                views[name] = piece.view(len(flat), out, height, width, inputs).permute(0, 1, 4, 2, 3)
            else:
                views[name] = piece.view(len(flat), *shape)
        return views

    def forward(self, params: Params, x: torch.Tensor, stage: str = "logits") -> torch.Tensor:
        """Outputs (R, B, ...) for inputs (R, B, ...) under parameters with a leading run axis, as in training.
        ``stage``: "logits" | "embed" | "head" (see ``Network``), "members" (see ``Traits``)."""
        self._mode(True)
        return self._run(self.buffers | params, x, stage)

    def __call__(self, x: torch.Tensor, stage: str = "logits") -> torch.Tensor:
        return self.forward(self.params, x, stage)

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        """``self(x)`` for a loss that is given to ``backward``, and not differentiated otherwise: with derivatives by
        hand where the network has them."""
        made = self.passed(x) if torch.is_grad_enabled() else None
        if made is None:
            return self(x)
        self._leaves.append((made.outputs.requires_grad_(), made.gradients))
        logits = made.logits(made.outputs)
        self._check_outputs(logits, x)
        return logits

    def mean_cross_entropy(self, x: torch.Tensor, labels: torch.Tensor, weight: torch.Tensor | None) -> torch.Tensor:
        """The mean cross-entropy of each run (R,), as ``logits`` for a loss that is given to ``backward``: its
        derivative by hand too. ``weight`` (R, n): of the rows, with sum one a run; None: equal."""
        made = self.passed(x) if torch.is_grad_enabled() else None
        if made is None:
            losses = cross_entropy(self(x), labels)
            return losses.mean(1) if weight is None else (losses * weight).sum(1)
        with torch.no_grad():
            logits = made.logits(made.outputs)
            self._check_outputs(logits, x)
            log_p, of_label = logits.log_softmax(-1), labels[..., None]
            losses = log_p.gather(-1, of_label).squeeze(-1).neg_()
            share = x.shape[1] if weight is None else 1
            mean = (losses if weight is None else losses * weight).sum(1) / share
            # Softmax, less one for the label, each row times its weight: of the outputs that there are.
            of_logits = log_p.exp_().scatter_(-1, of_label, -1, reduce="add")
            of_outputs = of_logits[..., -made.outputs.shape[-1] :]
            if weight is not None:
                of_outputs = of_outputs * weight[..., None]
        self._leaves.append((mean.requires_grad_(), lambda g: made.gradients(of_outputs * (g / share)[:, None, None])))
        return mean

    def passed(self, x: torch.Tensor) -> Pass | None:
        """``self(x)`` as a pass with derivatives by hand; None where there is none."""
        if self.traits.passed is None or self.autocast is not None or self._compiled is not None:
            return None
        self._mode(True)
        return self.traits.passed(self.params, x)

    @contextmanager
    def attending(self, sizes: Sequence[int] | torch.Tensor | None) -> Iterator[None]:
        """A step in which run r has ``sizes[r]`` real rows, its first ones (None: all are). Layers that look across
        rows leave the others out, and the buffers of a run without rows stay as they are."""
        if sizes is None or not self.buffers:
            yield
            return
        state = self.flat.data[:, self.weights.shape[1] :]
        rows = (sizes if isinstance(sizes, torch.Tensor) else torch.tensor(sizes)).to(state, non_blocking=True)[:, None]
        before = state.clone()
        for layer in self.traits.ragged:
            layer.ragged = True
        state.copy_(torch.where(self._rows, rows, state))
        try:
            yield
        finally:
            for layer in self.traits.ragged:
                layer.ragged = False
        state.copy_(torch.where((rows > 0) & ~self._rows, state, before))

    def backward(self, loss: torch.Tensor) -> None:
        """Writes the gradient of a loss, or of the sum of the runs' (R,), into ``grad``: no run sees another's."""
        leaves, self._leaves = self._leaves, []
        ones = torch.ones_like(loss)
        gradients: dict[str, torch.Tensor | None] = {}
        if len(leaves) == 1 and leaves[0][0] is loss:
            gradients |= leaves[0][1](ones)
        else:
            inputs = [*(leaf for leaf, _ in leaves), *self.params.values()]
            found = torch.autograd.grad(loss, inputs, ones, allow_unused=True)
            gradients |= zip(self.params, found[len(leaves) :])
            for (_, by_hand), of_leaf in zip(leaves, found):
                if of_leaf is not None:
                    for name, more in by_hand(of_leaf).items():
                        known = gradients[name]
                        gradients[name] = more if known is None else known + more
        filled = (torch.zeros_like(p) if (g := gradients[name]) is None else g for name, p in self.params.items())
        # One copy; .backward() would clear the buffer and then add to it.
        torch.cat([self._row(g) for g in filled], 1, out=self.grad)

    def forget(self) -> None:
        """Drops what waits for ``backward``, of a loss that is not to come."""
        self._leaves = []

    def gradients(self) -> Params:
        """The gradients that ``backward`` wrote, name → (R, *shape)."""
        return self.views(self.grad)

    @torch.no_grad()
    def predict(self, flat_row: torch.Tensor, x: Any, stage: str = "logits") -> torch.Tensor:
        """Outputs (n, ...) of one run with parameters and buffers (P + S,) on rows ``x`` (n, ...), as in evaluation,
        in chunks that fit the cache; of texts, in chunks of like length."""
        x = torch.as_tensor(x)
        if not len(x):
            raise ValueError("no rows to predict")
        chunk = self.rows_at_once(x, stage)
        if self.pad is None or stage == "head":
            return self.evaluate(flat_row[None], (part[None] for part in x.split(chunk)), stage)[0]
        longest, order = lengths(x, self.pad).sort(stable=True)
        ends = longest[chunk - 1 :: chunk].tolist() + longest[-1:].tolist()
        parts = (x[rows, :end][None] for rows, end in zip(order.split(chunk), ends))
        outputs = self.evaluate(flat_row[None], parts, stage)[0]
        return torch.empty_like(outputs).index_copy_(0, order.to(outputs.device), outputs)

    def predict_all(self, x: torch.Tensor, stage: str = "logits") -> torch.Tensor:
        """Outputs (R, n, ...) of all runs as they are now on rows (R, n, ...), as ``predict``. On a CPU run by run:
        stacked convolutions are slower there."""
        flat = self.flat.detach()
        if flat.device.type == "cpu":
            return torch.stack([self.predict(of_run, rows, stage) for of_run, rows in zip(flat, x)])
        return self.evaluate(flat, x.split(self.rows_at_once(x[0], stage, len(flat)), 1), stage)

    @torch.no_grad()
    def evaluate(self, flat: torch.Tensor, parts: Iterable[torch.Tensor], stage: str = "logits") -> torch.Tensor:
        """Outputs (R, n, ...) of runs with parameters and buffers (R, P + S), as in evaluation, on rows that come in
        parts (R, m, ...). Not to be written into: of a network without hidden layers, "embed" of one part may be the
        memory of the given rows."""
        self._mode(False)
        state = self.views(flat)
        found = [self._run(state, as_input(part, self.flat), stage) for part in parts]
        outputs = found[0] if len(found) == 1 else torch.cat(found, 1)
        return outputs if stage == "embed" or self.scale == 1 else self.scale * outputs

    def rows_at_once(self, x: torch.Tensor, stage: str = "logits", runs: int = 1) -> int:
        """How many of the rows ``x`` (n, ...) of each run to evaluate at a time."""
        texts = self.pad is not None and stage != "head"
        rows = TEXTS if texts else max(128, min(8192, 2**18 // x[0].numel()) // self.traits.row_vectors)
        return max(8, rows * (1 if self.flat.device.type == "cpu" else 16) // runs)

    def check_staged(self) -> None:
        """An error where the networks know no stages but "logits", as an ordinary module does not."""
        if not self.traits.staged:
            raise BenchError(
                f"the network {type(self.module).__name__} gives logits only, and the method asks for its embedding "
                "and its head apart: choose a backbone that is an imbalance_bench.backbones.network.Network"
            )

    def _run(self, state: Params, x: torch.Tensor, stage: str) -> torch.Tensor:
        if stage != "logits":
            self.check_staged()
        if self.channels_last and x.dim() == 5:
            x = x.flatten(0, 1).contiguous(memory_format=torch.channels_last).unflatten(0, x.shape[:2])
        if self.autocast is None:
            out = self._call(state, x, stage)
        else:
            with torch.autocast(self.flat.device.type, self.autocast):
                out = self._call(state, x, stage).to(self.flat.dtype)
        if stage == "logits":
            self._check_outputs(out, x)
        return out

    def _check_outputs(self, logits: torch.Tensor, x: torch.Tensor) -> None:
        if self.outputs is not None and logits.shape != (*x.shape[:2], self.outputs):
            name, rows = type(self.module).__name__, x.shape[1]
            raise BenchError(
                f"{name} gives {tuple(logits.shape[1:])} for {rows} rows and {self.outputs} classes: a network gives "
                f"logits (rows, classes), {(rows, self.outputs)} (regression: one)"
            )

    def _call(self, state: Params, x: torch.Tensor, stage: str) -> torch.Tensor:
        if self._compiled is None:
            return self._functional(state, x, stage)
        buffers = {n: v for n, v in state.items() if n in self.buffers}
        outputs, changed = self._compiled({n: v for n, v in state.items() if n not in buffers}, buffers, x, stage)
        if self.module.training:
            for name, buffer in changed.items():
                buffers[name].copy_(buffer)
        return outputs

    def _without_effects(
        self, params: Params, buffers: Params, x: torch.Tensor, stage: str
    ) -> tuple[torch.Tensor, Params]:
        """Outputs, and the buffers as layers change them: a compiled program may not change those that it is given,
        which share their storage with the parameters."""
        buffers = {n: b.clone() for n, b in buffers.items()}
        return self._functional(buffers | params, x, stage), buffers

    def _functional(self, state: Params, x: torch.Tensor, stage: str) -> torch.Tensor:
        # A module without stages serves as long as only logits are needed.
        extra = () if stage == "logits" else (stage,)
        if self.traits.batched is not None:
            return self.traits.batched(state, x, *extra)
        # Only this stack's own running statistics lie side by side.
        layers = self.traits.settled if self.module.training and self._own(state) else ()

        def one(state: Params, x: torch.Tensor) -> tuple[torch.Tensor, list[tuple[torch.Tensor, torch.Tensor]]]:
            outputs = torch.func.functional_call(self.module, state, (x, *extra))
            return outputs, [layer.seen for layer in layers]

        for layer in layers:
            layer.deferred = True
        if len(x) == 1:
            # Not v[0], whose gradient is a tensor of zeros that is copied into.
            outputs, seen = one({n: v.squeeze(0) for n, v in state.items()}, x.squeeze(0))
            outputs, seen = outputs[None], [(mean[None], spread[None]) for mean, spread in seen]
        else:
            outputs, seen = torch.func.vmap(one, randomness="error")(state, x)
        for layer in layers:
            layer.deferred = False
        if layers:
            layers[0].settle(layers, seen, self._averages)
        return outputs

    def _own(self, state: Params) -> bool:
        return all(state[name] is buffer for name, buffer in self.buffers.items())

    def _mode(self, training: bool) -> None:
        if self.module.training is not training:
            self.module.train(training)

    def _filters(self, shape: torch.Size) -> bool:
        return self.channels_last and len(shape) == 4

    def _row(self, gradient: torch.Tensor) -> torch.Tensor:
        """A gradient (R, *shape) in the order of ``flat``."""
        if self._filters(gradient.shape[1:]):
            gradient = gradient.permute(0, 1, 3, 4, 2)
        return gradient.flatten(1)


def _tensors(module: nn.Module) -> Params:
    """Parameters, then buffers: those of one kind side by side, e.g. the running means of all layers."""
    buffers = sorted(module.named_buffers(), key=lambda named: named[0].rpartition(".")[2])
    return dict(module.named_parameters()) | dict(buffers)
