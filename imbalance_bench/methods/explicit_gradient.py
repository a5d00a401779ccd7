"""Explicit Gradient: synthetic minority rows, moved by the gradient of the validation loss through a training step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from imbalance_bench.data.base import Part, Task
from imbalance_bench.engine.classifier import Classifier
from imbalance_bench.errors import BenchError
from imbalance_bench.methods.base import Method
from imbalance_bench.options import Count, Fraction, NonNegative, Positive
from imbalance_bench.registry import METHODS
from imbalance_bench.running.checkpoints import Loop

if TYPE_CHECKING:
    import torch

    from imbalance_bench.engine import Engine, NetworkClassifier
    from imbalance_bench.engine.batches import Batch, Layout, Rows
    from imbalance_bench.engine.fixed import Kind
    from imbalance_bench.engine.loop import TrainState
    from imbalance_bench.engine.stack import Stack

PerSample = Callable[["torch.Tensor", "torch.Tensor"], "torch.Tensor"]
"""The loss of each sample (...) of logits (..., C) and labels (...)."""


@METHODS.register("explicit_gradient")
@dataclass(frozen=True)
class ExplicitGradient(Method):
    """Algorithm 1 of Yasinnik et al., "Imbalanced Classification via Explicit Gradient Learning From Augmented Data".

    1. θ₀: the backbone trained on D_train (``trainer.epochs`` epochs).
    2. X_synth: a copy of every training row of a class other than the largest with C_θ₀(x)_y ≤ ``c`` (binary: of the
       minority rows; c = 1 takes all).
    3. For ``meta_epochs`` passes over D_train, with minibatches X₁, X₂, X_synth of D_train, D_valid, D_synth:
       step 1, θ' = θ - η₁ ∇_θ L(X₁ ∪ X_synth | θ); step 2, X_synth ← X_synth - η₂ ∇_{X_synth} L(X₂ | θ'); θ ← θ'.

    L is the mean loss over a batch. The validation part is learned from, which no baseline does: see the controls
    ``*_train_valid``. ``eta2`` = 0 leaves the copies where they are: plain over-sampling.

    The paper tries no batch normalisation and no dropout. Here networks are in both steps as in training: X₁ ∪ X_synth
    is one batch with statistics of its own, X₂ another, and running statistics follow the batches of step 1.

    Readings: ``step1`` = algorithm1 (X₁ ∪ X_synth) or eq1 (X_synth alone, Eq. 1); ``final`` = iterate (θ at the end)
    or retrain (a fresh network trained on D_train ∪ X_synth). ``objective`` = squared_error serves the sine regression
    of Section 4, whose start points come with the data.
    """

    reads = "vectors"
    guided = True

    eta1: Positive
    eta2: NonNegative
    c: Fraction
    meta_epochs: Count
    valid_batch: Count
    synthetic_batch: Count
    step1: Literal["algorithm1", "eq1"]
    final: Literal["iterate", "retrain"]
    objective: Literal["cross_entropy", "squared_error"]

    def declines(self, task: Task) -> str | None:
        if (task.kind == "regression") != (self.objective == "squared_error"):
            return f"method.objective={self.objective} does not fit a {task.kind} task"
        return self.unreadable(task)

    def loss(self, logits: torch.Tensor, labels: torch.Tensor, state: TrainState) -> torch.Tensor:
        from imbalance_bench.engine import losses

        return getattr(losses, self.objective)(logits, labels)

    def fit(self, tasks: Sequence[Task], backbone: Any, engine: Engine) -> list[Classifier]:
        engine.check_uncompiled(self)
        self.check_held_out(tasks, engine)
        if engine.trainer.augment != "none":
            raise BenchError(
                f"explicit_gradient moves copies of rows as they are, which trainer.augment={engine.trainer.augment} "
                "would change in each step: set trainer.augment=none"
            )
        pretrained = engine.train(self, tasks, [t.train for t in tasks], backbone)
        starts = [self.start(task, classifier) for task, classifier in zip(tasks, pretrained)]
        ends, classifiers = self.adapt(tasks, starts, pretrained, engine)
        if self.final == "retrain":
            sets = [numbers(t.train).join(end) for t, end in zip(tasks, ends)]
            retrained = engine.train(self, tasks, sets, backbone)
            for new, old in zip(retrained, classifiers):
                new.history, new.failure = old.history + _after(old.history, new.history), old.failure or new.failure
            classifiers = retrained
        for classifier, task, start, end in zip(classifiers, tasks, starts, ends):
            moved = np.linalg.norm((end.x - start.x).reshape(len(start), -1), axis=1)
            classifier.info |= {
                "train_counts": task.counts.tolist(),
                "synthetic": {"rows": len(start), "moved_mean": float(moved.mean()), "moved_max": float(moved.max())},
            }
            if task.kind == "regression":
                classifier.artifacts = {
                    "synthetic_start_x": start.x,
                    "synthetic_end_x": end.x,
                    "synthetic_y": start.y,
                }
        return list(classifiers)

    def start(self, task: Task, classifier: NetworkClassifier) -> Part:
        """D_synth before it moves."""
        if task.synthetic is not None:
            x, y = task.synthetic
            return Part(x, y, np.full(len(x), -1))
        rows = np.flatnonzero(task.train.y != task.majority)
        if self.c < 1 and not classifier.failure:
            confidence = classifier.scores(task.train.x[rows])[np.arange(len(rows)), task.train.y[rows]]
            rows = rows[np.exp(confidence) <= self.c]
            if not len(rows):
                raise BenchError(
                    f"no minority row of fold {task.fold} has confidence ≤ method.c={self.c}: raise it (1 takes all)"
                )
        part = numbers(task.train.take(rows))
        return Part(part.x, part.y, np.full(len(rows), -1))

    def adapt(
        self, tasks: Sequence[Task], starts: Sequence[Part], pretrained: Sequence[NetworkClassifier], engine: Engine
    ) -> tuple[list[Part], list[NetworkClassifier]]:
        """Step 3: D_synth after it moved, and the classifiers at the end (and at the best epoch of this phase: an epoch
        before it would be cross-entropy's)."""
        import torch

        from imbalance_bench.engine import graph
        from imbalance_bench.engine.batches import Rows, shuffled
        from imbalance_bench.engine.fixed import Graphs
        from imbalance_bench.engine.monitor import Monitor

        stack = pretrained[0].stack
        twin = stack.twin()
        monitor = Monitor(stack, tasks)
        monitor.failures = [c.failure for c in pretrained]
        device, dtype = stack.flat.device, stack.flat.dtype
        train = Rows([t.train for t in tasks], device, dtype)
        valid = Rows([t.valid for t in tasks], device, dtype)
        # Distinct parts: each run moves its own copies, in place, in the store.
        synthetic = Rows([Part(p.x.copy(), p.y, p.ids) for p in starts], device, dtype)
        at_start = synthetic.x.clone()
        generators = [torch.Generator().manual_seed(t.seed + 1) for t in tasks]
        sources = (train, valid, synthetic)
        step = partial(self.meta_losses, stack, twin, synthetic.x)
        fixed: FixedMeta | None = None
        for epoch in Loop("meta", self.meta_epochs, stack, twin, monitor, synthetic, generators):
            if not monitor.alive:
                continue
            plans = [shuffled(len(y), engine.trainer.batch_size, g) for y, g in zip(train.labels, generators)]
            lengths = [len(p) for p in plans]
            valid_plans = [self.valid_plan(y, t, n, g) for y, t, n, g in zip(valid.labels, tasks, lengths, generators)]
            synthetic_plans = [
                cycled(len(y), self.synthetic_batch, n, g) for y, n, g in zip(synthetic.labels, lengths, generators)
            ]
            layouts = [s.layout(p) for s, p in zip(sources, (plans, valid_plans, synthetic_plans))]
            asked = self.graphed and graph.wanted(engine.trainer.graph, device, self.meta_epochs * max(lengths))
            if fixed is None and asked:
                fixed = FixedMeta(step, sources, layouts, len(self.losses))
                graphs = Graphs(fixed, device, required=engine.trainer.graph is True)
            if fixed is not None:
                graphs.run(fixed.begin(layouts))
                losses = [list(of_step) for of_step in fixed.losses]
            else:
                losses = [step(*batches) for batches in zip(*(s.laid_out(one) for s, one in zip(sources, layouts)))]
            steps = [(active, dict(zip(self.losses, of_step))) for active, of_step in zip(layouts[0].active, losses)]
            monitor.close("meta", epoch, self.meta_epochs, steps, engine.trainer.validate_every)
            moved = (synthetic.x - at_start).flatten(1).norm(dim=1).cpu()  # of all runs, once an epoch
            for r in monitor.alive:
                mine = moved[synthetic.offsets[r] :][: len(starts[r])]
                monitor.history[r][-1]["synthetic_move"] = float(mine.mean())
        classifiers = engine.classifiers(stack, monitor)
        for new, old in zip(classifiers, pretrained):
            new.history = old.history + _after(old.history, new.history)
        moved_x = synthetic.x.cpu().numpy()
        ends = [Part(moved_x[o : o + len(p)].astype(p.x.dtype), p.y, p.ids) for o, p in zip(synthetic.offsets, starts)]
        return ends, classifiers

    def meta_losses(
        self, stack: Stack, twin: Stack, synthetic: torch.Tensor, x1: Batch, x2: Batch, xs: Batch
    ) -> list[torch.Tensor]:
        """Steps 1 and 2 of Algorithm 1 on X₁, X₂ and X_synth: θ changes, and the rows of ``synthetic`` that X_synth
        are. Returns the ``losses``, (R,) each."""
        weights = step_weights(x1, xs, joint=self.step1 == "algorithm1")
        inner, outer, gradient = meta_step(stack, twin, self.per_sample, x1, x2, xs, weights, self.eta1, self.eta2)
        stack.weights.copy_(twin.weights)
        if outer is None or gradient is None:
            return [inner]
        # Pads have no weight, hence no gradient: adding theirs to the run's first row changes nothing.
        synthetic.index_add_(0, xs.rows.reshape(-1), gradient.flatten(0, 1), alpha=-self.eta2)
        return [inner, outer]

    @property
    def losses(self) -> tuple[str, ...]:
        """Result of a meta step: without step 2 no loss of it."""
        return ("inner_loss", "outer_loss") if self.eta2 else ("inner_loss",)

    @property
    def per_sample(self) -> PerSample:
        """``loss``; a subclass may have its own."""
        from imbalance_bench.engine import losses

        own = type(self).loss is not ExplicitGradient.loss
        found: PerSample = partial(self.loss, state=None) if own else getattr(losses, self.objective)  # type: ignore[arg-type]
        return found

    def valid_plan(self, labels: torch.Tensor, task: Task, steps: int, generator: torch.Generator) -> torch.Tensor:
        """X₂: all of D_valid where it is small, else ``valid_batch`` rows in its class shares, at least one a class."""
        import torch

        from imbalance_bench.engine.batches import stratified

        if len(labels) <= self.valid_batch:
            return torch.arange(len(labels)).expand(steps, -1)
        if task.kind == "regression":
            return cycled(len(labels), self.valid_batch, steps, generator)
        counts = torch.bincount(labels, minlength=task.classes)
        sizes = {c: max(1, round(self.valid_batch * int(n) / len(labels))) for c, n in enumerate(counts) if n}
        largest = int(counts.argmax())
        sizes[largest] += self.valid_batch - sum(sizes.values())
        if sizes[largest] < 1:
            raise BenchError(
                f"method.valid_batch={self.valid_batch} has no room for a row of each of {len(sizes)} classes: set "
                f"method.valid_batch={len(sizes)} or more"
            )
        return stratified(labels, sizes, steps, generator)


class FixedMeta:
    """A meta step over buffers that stay where they are, for ``engine.fixed.Graphs``: ``step`` gives ``k`` losses (R,)
    of a batch of each of the ``sources`` (X₁, X₂, X_synth). Which batches, a counter says; every epoch has as many as
    ``layouts``, of as many rows."""

    def __init__(
        self, step: Callable[..., list[torch.Tensor]], sources: Sequence[Rows], layouts: Sequence[Layout], k: int
    ) -> None:
        import torch

        from imbalance_bench.engine.fixed import FixedPlan

        self.step = step
        self.plans = [FixedPlan(*of_source) for of_source in zip(sources, layouts)]
        steps, runs = layouts[0].sizes.shape
        self.losses = sources[0].like.new_zeros(steps, k, runs)
        self.counter = torch.zeros(1, dtype=torch.int64, device=self.losses.device)

    def begin(self, layouts: Sequence[Layout]) -> list[tuple[Kind, ...]]:
        """Another epoch, whose losses overwrite those of the last; the kinds of its steps."""
        from imbalance_bench.engine.fixed import kinds_of

        for plan, layout in zip(self.plans, layouts):
            plan.put(layout)
        self.counter.zero_()
        return list(zip(*(kinds_of(layout, plan.rows) for plan, layout in zip(self.plans, layouts))))

    def __call__(self, kinds: Sequence[Kind]) -> None:
        import torch

        losses = self.step(*(plan.batch(self.counter, kind)[0] for plan, kind in zip(self.plans, kinds)))
        self.losses.index_copy_(0, self.counter, torch.stack(losses)[None])
        self.counter.add_(1)


class StepWeights(NamedTuple):
    """Weights of the samples in the loss of step 1, (R, B₁) and (R, B_s); a run's weights sum to one. ``active``
    (R, 1): 0 for runs that are inactive in this step, else 1; None where all have a full batch X₁. Without X₁ (Eq. 1)
    ``real`` is None."""

    real: torch.Tensor | None
    synthetic: torch.Tensor
    active: torch.Tensor | None


def step_weights(x1: Any, xs: Any, joint: bool) -> StepWeights:
    """One mean over X₁ ∪ X_synth (``joint``), or over X_synth alone."""
    import torch

    def rows(batch: Any) -> torch.Tensor:
        return torch.ones_like(batch.y, dtype=batch.x.dtype) if batch.weight is None else (batch.weight > 0).to(batch.x)

    one, synthetic = rows(x1), rows(xs)
    active = None if x1.weight is None else one.amax(1, keepdim=True)
    total = synthetic.sum(1, keepdim=True) + (one.sum(1, keepdim=True) if joint else 0)
    total = total.clamp(min=1)
    return StepWeights(one / total if joint else None, synthetic / total, active)


class Inner(NamedTuple):
    """L₁ (R,), ∇_θ L₁ by name, and v → ∂/∂X_synth ⟨∇_θ L₁(X_synth | θ), v⟩ (R, B_s, ...) for v by name."""

    loss: torch.Tensor
    gradients: Mapping[str, torch.Tensor]
    mixed: Callable[[Mapping[str, torch.Tensor]], torch.Tensor]


def meta_step(
    stack: Stack,
    twin: Stack,
    per_sample: PerSample,
    x1: Any,
    x2: Any,
    xs: Any,
    weights: StepWeights,
    eta1: float,
    eta2: float,
) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
    """Steps 1 and 2 of Algorithm 1 for R runs at once.

    ``twin`` receives θ' = θ - η₁ ∇_θ L₁(θ). Returns L₁ (R,), L₂(θ') (R,) and ∂L₂/∂X_synth (R, B_s, ...); the last two
    are None for ``eta2`` = 0.

    θ' depends on X_synth only through its own term of ∇_θ L₁, so with v = ∇_θ' L₂ the chain rule gives
    ∂L₂/∂X_synth = -η₁ ∂/∂X_synth ⟨∇_θ L₁(X_synth | θ), v⟩: exact, and neither X₁ nor X₂ is differentiated twice
    (X₁ is under batch statistics: its own term depends on X_synth through them).
    """
    import torch

    inner = by_hand(stack, per_sample, x1, xs, weights, bool(eta2))
    if inner is None:
        inner = by_autograd(stack, per_sample, x1, xs, weights, bool(eta2))
    with torch.no_grad():
        rate = eta1 if weights.active is None else eta1 * weights.active
        step = torch.cat([inner.gradients[name].reshape(len(stack), -1) for name in stack.params], 1)
        torch.sub(stack.weights, step.mul_(rate), out=twin.weights)
    if not eta2:
        return inner.loss, None, None
    with twin.attending(sizes_of(twin, (x1, xs, x2), weights.active)[-1]):
        outer = x2.mean(per_sample(twin.logits(x2.x), x2.y))
        twin.backward(outer)
    mixed = inner.mixed(twin.gradients())
    if weights.active is not None:
        mixed = mixed * weights.active.view(-1, *[1] * (mixed.dim() - 1))
    return inner.loss, outer.detach(), -eta1 * mixed


class Weighed(NamedTuple):
    """Rows (R, B, ...), labels (R, B) and the weights (R, B) of their losses; ``sizes`` (R,): how many rows each run
    really has, its first ones (None: all)."""

    x: torch.Tensor
    y: torch.Tensor
    weight: torch.Tensor
    sizes: torch.Tensor | None

    def loss(self, stack: Stack, per_sample: PerSample) -> torch.Tensor:
        """The weighted sum of each run (R,)."""
        with stack.attending(self.sizes):
            return (per_sample(stack(self.x), self.y) * self.weight).sum(1)

    def join(self, other: Weighed) -> Weighed:
        """Both as one batch, in which each run's rows are its first ones again."""
        import torch

        x, y, weight = (torch.cat(pair, 1) for pair in zip(self[:3], other[:3]))
        if self.sizes is None or other.sizes is None:
            return Weighed(x, y, weight, None)
        ours, sizes = self.sizes[:, None], (self.sizes + other.sizes)[:, None]
        place = torch.arange(y.shape[1], device=y.device).expand(y.shape)
        rows = torch.where(place < ours, place, place - ours + self.y.shape[1])
        rows = torch.where(place < sizes, rows, 0)  # pads: a row of the run
        begins = torch.arange(len(y), device=y.device)[:, None] * y.shape[1]
        flat = (rows + begins).flatten()
        x, y, weight = (t.flatten(0, 1).index_select(0, flat).view(t.shape) for t in (x, y, weight))
        return Weighed(x, y, weight * (place < sizes), sizes.squeeze(1))


def sizes_of(stack: Stack, batches: Sequence[Any], active: torch.Tensor | None) -> list[torch.Tensor | None]:
    """How many rows each run really has (R,) in each of the batches of a step, none where it is not ``active`` (R, 1).
    None where networks have no state that it matters to, or all batches are full."""
    import torch

    if not stack.buffers or all(batch.weight is None for batch in batches):
        return [None] * len(batches)
    found: list[torch.Tensor | None] = []
    for batch in batches:
        real = torch.ones_like(batch.y) if batch.weight is None else batch.weight > 0
        found.append((real if active is None else real * (active > 0)).sum(1))
    return found


def by_autograd(stack: Stack, per_sample: PerSample, x1: Any, xs: Any, weights: StepWeights, twice: bool) -> Inner:
    """Step 1 with autograd's derivatives; ``twice``: ``mixed`` will be asked for. X₁ has a pass of its own, which is
    not differentiated twice, unless layers look across rows (``Traits.ragged``): then it depends on X_synth too."""
    import torch

    parameters = list(stack.params.values())
    moving = xs.x.detach().requires_grad_(twice)
    sizes = sizes_of(stack, (x1, xs), weights.active)
    with_synthetic, apart = Weighed(moving, xs.y, weights.synthetic, sizes[1]), None
    if weights.real is not None:
        apart = Weighed(x1.x, x1.y, weights.real, sizes[0])
        if stack.traits.ragged:
            with_synthetic, apart = apart.join(with_synthetic), None
    loss = with_synthetic.loss(stack, per_sample)
    of_synthetic = torch.autograd.grad(loss.sum(), parameters, create_graph=twice)
    gradients = list(of_synthetic)
    if apart is not None:
        real = apart.loss(stack, per_sample)
        gradients = [a + b for a, b in zip(gradients, torch.autograd.grad(real.sum(), parameters))]
        loss = loss + real

    def mixed(along: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return torch.autograd.grad(of_synthetic, moving, [along[name] for name in stack.params])[0]

    return Inner(loss.detach(), dict(zip(stack.params, gradients)), mixed)


def by_hand(stack: Stack, per_sample: PerSample, x1: Any, xs: Any, weights: StepWeights, twice: bool) -> Inner | None:
    """Step 1 with the network's own derivatives; None where it has none. They are those of ``backbones.by_hand.Pass``:
    ∇_θ L₁ by one pass over X₁ and X_synth together, and ``mixed`` by one pass forward, of what v changes, and one back.
    With respect to the network's outputs the cross-entropy has its own, another loss autograd's."""
    import torch

    from imbalance_bench.engine.losses import CrossEntropy, cross_entropy

    x, y, of_rows, first = xs.x, xs.y, weights.synthetic, 0
    if weights.real is not None:
        pairs = ((x1.x, xs.x), (x1.y, xs.y), (weights.real, weights.synthetic))
        (x, y, of_rows), first = (torch.cat(pair, 1) for pair in pairs), x1.x.shape[1]
    made = stack.passed(x)
    if made is None or made.cosine:
        return None
    if per_sample is cross_entropy:
        known, k = CrossEntropy(made.logits(made.outputs), y, of_rows), made.outputs.shape[-1]
        loss, of_outputs = known.loss, known.gradient[..., -k:]  # of two classes one: the first logit is 0

        def curvature(change: torch.Tensor) -> torch.Tensor:
            return known.curvature(made.logits(change), first)[..., -k:]

    else:
        outputs = made.outputs.requires_grad_()
        loss = (per_sample(made.logits(outputs), y) * of_rows).sum(1)
        (of_outputs,) = torch.autograd.grad(loss.sum(), outputs, create_graph=twice)
        of_synthetic = of_outputs[:, first:]

        def curvature(change: torch.Tensor) -> torch.Tensor:
            if not of_synthetic.requires_grad:  # of a loss that is linear in the outputs
                return torch.zeros_like(change)
            return torch.autograd.grad(of_synthetic, outputs, change)[0][:, first:]

    def mixed(along: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return made.mixed(along, curvature, first).view(xs.x.shape)

    return Inner(loss.detach(), made.gradients(of_outputs.detach()), mixed)


def cycled(n: int, batch_size: int, steps: int, generator: torch.Generator) -> torch.Tensor:
    """(steps, batch) row numbers of ``n`` rows in shuffled passes; no row twice in a batch."""
    import torch

    from imbalance_bench.engine.batches import shuffled

    if n <= batch_size:
        return torch.arange(n).expand(steps, -1)
    passes = -(-steps // -(-n // batch_size))
    return torch.cat([shuffled(n, batch_size, generator) for _ in range(passes)])[:steps]


def numbers(part: Part) -> Part:
    """Images of bytes as networks see them, floats in [0, 1], which can be moved."""
    return Part(part.x / np.float32(255), part.y, part.ids) if part.x.dtype == np.uint8 else part


def _after(first: list[dict[str, float]], then: list[dict[str, float]]) -> list[dict[str, float]]:
    """Epochs of a later phase, numbered on from those before it."""
    last = int(first[-1]["epoch"]) if first else 0
    return [{**row, "epoch": row["epoch"] + last} for row in then]
