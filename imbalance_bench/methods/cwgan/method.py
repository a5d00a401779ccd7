"""cWGAN: the smaller classes are filled up with rows that a conditional Wasserstein GAN makes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from imbalance_bench.data.base import Part, Task
from imbalance_bench.engine.classifier import Classifier
from imbalance_bench.errors import BenchError
from imbalance_bench.methods.base import Method, resampling_info
from imbalance_bench.methods.shared.oversampling import Amount, target_counts
from imbalance_bench.methods.shared.parts import part_of
from imbalance_bench.options import Betas, Count, NonNegative, OnlyWith, Positive, Whole
from imbalance_bench.registry import METHODS

if TYPE_CHECKING:
    from imbalance_bench.engine import Engine


@METHODS.register("cwgan")
@dataclass(frozen=True)
class CWGAN(Method):
    """Conditional WGAN-GP over-sampling (Engelmann & Lessmann, "Conditional Wasserstein GAN-based oversampling of
    tabular data for imbalanced learning", 2020, arXiv 2008.09202), for numeric columns.

    A generator G(z, y) and a critic D(x, y), both conditioned on the class y, are trained on all rows of a run:

        min_D  E[D(G(z, y), y)] - E[D(x, y)] + λ E[(‖∇_x̂ D(x̂, y)‖₂ - 1)²]      (Gulrajani et al., 2017, Eq. 3)
        min_G  g + w |g| AC,   g = -E[D(G(z, y), y)]

    z is uniform on [0, 1]^``noise_dim``; λ = ``penalty_weight``; G moves at every ``critic_steps``-th batch. AC, the
    auxiliary classifier loss, is the cross-entropy of G(z, y) under a network that learned the real rows for
    ``ac_epochs`` epochs before and is fixed then; a sample adds at least ``ac_floor``, so that rows which are told
    apart well enough are not pushed further. Then the classes are filled up from G(·, y), and the backbone is trained
    on real and made rows by cross-entropy.

    Readings. The Explicit Gradient paper runs this method "with the authors' hyper-parameters" on numeric data: these
    are the settings of the authors' published example, with what serves categorical columns (softmax heads, embeddings,
    conditioning of numeric on categorical outputs) absent; the AC loss is part of the paper's method and on in that
    example, so it is on here (w = ``ac_weight``, 0: off). The authors fill up to balance; ``amount`` is by default the
    doubling that the Explicit Gradient paper gives all over-samplers. Columns are scaled to [0, 1] by the training rows
    for the GAN and scaled back afterwards (which changes nothing where the data are scaled so already); made rows are
    not clipped. Ours: more than two classes (a condition of C columns, an auxiliary softmax over C); the authors'
    method is binary.
    """

    reads = "vectors"

    amount: Amount
    epochs: Count
    batch_size: Count
    critic_steps: Count
    lr: Positive
    betas: Betas
    penalty_weight: NonNegative
    noise_dim: Count
    generator_hidden: tuple[Count, ...]
    generator_cross: Whole
    generator_tail: Annotated[Whole, "0: none"]
    critic_hidden: tuple[Count, ...]
    critic_cross: Whole
    input_noise: NonNegative
    ac_weight: Annotated[NonNegative, "0: off"]
    ac_floor: Annotated[NonNegative, OnlyWith("ac_weight", otherwise=0.3)]
    ac_epochs: Annotated[Whole, OnlyWith("ac_weight", otherwise=30)]
    ac_lr: Annotated[Positive, OnlyWith("ac_weight", otherwise=5e-4)]
    ac_hidden: Annotated[tuple[Count, ...], OnlyWith("ac_weight", otherwise=(64, 64))]
    ac_cross: Annotated[Whole, OnlyWith("ac_weight", otherwise=2)]

    def declines(self, task: Task) -> str | None:
        if task.train.x.dtype == np.uint8:
            return "made for vectors of scaled features, not for images"
        return super().declines(task)

    def fit(self, tasks: Sequence[Task], backbone: Any, engine: Engine) -> list[Classifier]:
        """The GANs of all runs are trained together, then the classifiers of all runs."""
        from imbalance_bench.methods.cwgan.gan import GANOptions, GANs

        parts = [engine.rows_of(task) for task in tasks]
        targets = [self.targets(task, part) for task, part in zip(tasks, parts)]
        scales = {id(part): UnitScale.of(part) for part in parts}
        scaled = {id(part): scales[id(part)].apply(part) for part in parts}
        gans = GANs(part_of(GANOptions, self), tasks, [scaled[id(part)] for part in parts], engine)
        gans.train()
        failures = gans.monitor.failures
        sets = []
        for r, part in enumerate(parts):
            made = [part]
            for label, wanted in {} if failures[r] else targets[r].items():
                n = wanted - int((part.y == label).sum())
                x = scales[id(part)].undo(gans.sample(r, label, n), part)
                if not np.isfinite(x).all():
                    failures[r] = "the GAN's last step made rows that are not finite: lower method.lr"
                    made = [part]
                    break
                made.append(Part(x, np.full(n, label), np.full(n, -1)))
            sets.append(made[0].join(*made[1:]))
        classifiers = engine.train(self, tasks, sets, backbone)
        for classifier, task, rows, failure, history in zip(classifiers, tasks, sets, failures, gans.monitor.history):
            classifier.failure = failure or classifier.failure
            classifier.info |= resampling_info(task, rows) | {"gan": history[-1]}
            names = [name for name in history[0] if name != "epoch"]
            classifier.artifacts |= {f"gan_{n}": np.array([h.get(n, np.nan) for h in history]) for n in names}
        return list(classifiers)

    def targets(self, task: Task, rows: Part) -> dict[int, int]:
        """Rows that each class shall have, class → count, for the classes that are filled up."""
        targets = target_counts(rows.y, self.amount)
        for label in targets:
            if (n := int((rows.y == label).sum())) < 2:
                raise BenchError(
                    f"method=cwgan needs at least 2 rows of each class that it fills up, and fold {task.fold} has {n} "
                    f"of class {label}: choose a lower ratio, or fewer protocol.folds"
                )
        return targets


@dataclass(frozen=True)
class UnitScale:
    """Columns to [0, 1]: (x - low) / span over flattened features; a constant column has span 1."""

    low: np.ndarray
    span: np.ndarray

    @classmethod
    def of(cls, part: Part) -> UnitScale:
        flat = part.x.reshape(len(part), -1)
        low, high = flat.min(0), flat.max(0)
        return cls(low, np.where(high > low, high - low, 1).astype(flat.dtype))

    def apply(self, part: Part) -> Part:
        """Rows with features (n, d) on the new scale."""
        return Part((part.x.reshape(len(part), -1) - self.low) / self.span, part.y, part.ids)

    def undo(self, x: np.ndarray, like: Part) -> np.ndarray:
        """Features (n, d) back on the scale, in the shape and of the type of ``like``."""
        return (x * self.span + self.low).astype(like.x.dtype).reshape(len(x), *like.x.shape[1:])
