"""IML: iterative metric learning, and a local decision among neighbours of each class."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from imbalance_bench.data.base import Part, Task
from imbalance_bench.engine.classifier import Classifier
from imbalance_bench.methods.base import Method, resampling_info
from imbalance_bench.options import Count, Fraction
from imbalance_bench.registry import METHODS
from imbalance_bench.running import progress
from imbalance_bench.running.checkpoints import Loop
from imbalance_bench.running.models import State, Surroundings, kept

if TYPE_CHECKING:
    import torch

    from imbalance_bench.engine import Engine

GROWTH, SHRINKAGE = 1.01, 0.5
"""Factors of the step size after a step of LMNN that lowered the loss, and after one that did not."""
TOLERANCE = 1e-4
"""LMNN stops at a relative gain below this, and once the step size has shrunk by it."""


@METHODS.register("iml")
@dataclass(frozen=True)
class IML(Method):
    """IML (Wang et al., "Iterative Metric Learning for Imbalance Data Classification", IJCAI 2018).

    Up to ``iterations`` metrics are learned by LMNN (Weinberger & Saul, 2009), each on the rows as the ones before have
    mapped them: z = L x with L from the identity on, minimising over rows i, their ``targets`` nearest rows j of the
    same class and all rows l of others

        (1 - μ) Σ_ij ‖z_i - z_j‖² + μ Σ_ijl max(0, 1 + ‖z_i - z_j‖² - ‖z_i - z_l‖²),   μ = ``mu``,

    by ``steps`` steps of gradient descent, which grow while the loss falls and are taken back and halved when it rises.
    For a test row, the ``neighbours`` nearest training rows of each class are selected in the first metric, in the
    second, and so on, until the selections of two metrics in a row have a Jaccard overlap of ``overlap`` or the metrics
    are used up. The last selection, which is balanced, decides.

    What is ours. The classifier on the selection is not fixed by the paper, and one fitted for each test row is slow:
    here p_c ∝ the mean of exp(-‖z - z_s‖²) over the selected rows s of class c, in which LMNN's margin of 1 is a factor
    of e. Vectors are centred, those of more than ``pca`` entries projected on as many principal components, and all
    scaled by one number so that a target is at a mean squared distance of 1: the margin is then one of the data's own
    scale. Metrics are learned from at most ``max_rows`` rows, an equal part of them a class at most; neighbours are
    selected from all rows.
    """

    reads = "vectors"

    pca: Annotated[Count | None, "null: none"]
    targets: Count
    mu: Fraction
    iterations: Count
    steps: Count
    neighbours: Count
    overlap: Fraction
    max_rows: Count

    def fit(self, tasks: Sequence[Task], backbone: Any, engine: Engine) -> list[Classifier]:
        return [self.fit_one(task, engine.rows_of(task), engine) for task in tasks]

    def fit_one(self, task: Task, rows: Part, engine: Engine) -> Classifier:
        """The metrics of one run, a row of history each."""
        import torch

        from imbalance_bench.methods.shared.vectors import VectorClassifier, flat_vectors, valid_score

        x = torch.from_numpy(flat_vectors(rows.x)).to(engine.device, engine.dtype)
        labels = torch.from_numpy(rows.y).to(engine.device)
        centre = x.mean(0)
        basis = principal_components(x - centre, self.pca)
        few = torch.from_numpy(capped(rows.y, self.max_rows // task.classes, task.seed)).to(engine.device)
        mapped, y = (x[few] - centre) @ basis.T, labels[few]
        pulls = (mapped[:, None] - mapped[target_neighbours(mapped, y, self.targets)[0]]).square().sum(-1)
        scale = pulls[pulls > 0].mean().rsqrt() if (pulls > 0).any() else 1.0
        mapped, basis = mapped * scale, basis * scale
        maps: list[torch.Tensor] = []
        history: list[dict[str, float]] = []
        for t in Loop("metrics", self.iterations, mapped, maps, history):
            step, loss = lmnn(mapped, y, self.targets, self.mu, self.steps)
            mapped.copy_(mapped @ step.T)
            maps.append(step @ maps[-1] if maps else step)
            history.append({"epoch": t + 1, "train_loss": loss})
            numbers = {"train_loss": loss}
            runs = partial(_of_one, task, numbers)
            progress.report("metric learning", t + 1, self.iterations, "iterations", numbers, runs)
        decision = LocalDecision(centre, basis, maps, x, labels, task.classes, self.neighbours, self.overlap)
        info = resampling_info(task, rows) | {"metric_rows": len(few)}
        classifier = VectorClassifier(decision, info=info, history=history)
        history[-1] |= valid_score(classifier, task)
        return classifier


def _of_one(task: Task, numbers: Mapping[str, float]) -> list[tuple[Task, Mapping[str, float]]]:
    return [(task, numbers)]


def capped(labels: np.ndarray, most: int, seed: int) -> np.ndarray:
    """Row numbers, in order, of at most ``most`` (and 2) rows of each class, drawn where it has more."""
    rng = np.random.default_rng(seed)
    kept = []
    for c in np.unique(labels):
        rows = np.flatnonzero(labels == c)
        kept.append(rows if len(rows) <= max(most, 2) else rng.choice(rows, max(most, 2), replace=False))
    return np.sort(np.concatenate(kept))


def principal_components(centred: torch.Tensor, most: int | None) -> torch.Tensor:
    """The ``most`` leading principal axes (most, d) of centred rows (n, d); the identity where d is not above it."""
    import torch

    d = centred.shape[1]
    if most is None or d <= most:
        return torch.eye(d, dtype=centred.dtype, device=centred.device)
    wide = centred.double()
    return torch.linalg.eigh(wide.T @ wide).eigenvectors[:, -most:].T.to(centred)


def target_neighbours(x: torch.Tensor, labels: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The k nearest other rows of its class for each row of (n, d): which (n, k), and whether there is one (n, k): a
    class of fewer than k + 1 rows has fewer, and the row itself stands for what it lacks."""
    import torch

    from imbalance_bench.neighbours import k_nearest

    found = torch.arange(len(x), device=x.device)[:, None].repeat(1, k)
    real = torch.zeros_like(found, dtype=torch.bool)
    for c in labels.unique().tolist():
        rows = torch.nonzero(labels == c).squeeze(1)
        some = min(k, len(rows) - 1)
        if some:
            found[rows, :some] = rows[k_nearest(x[rows], x[rows], some, own=True)[1]]
            real[rows, :some] = True
    return found, real


def lmnn(x: torch.Tensor, labels: torch.Tensor, k: int, mu: float, steps: int) -> tuple[torch.Tensor, float]:
    """One metric: the map L (d, d) after gradient descent on the mean over rows (n, d) of LMNN's loss, and its loss."""
    import torch

    targets, real = target_neighbours(x, labels, k)
    apart = by_class(labels)

    def at(where: torch.Tensor) -> tuple[float, torch.Tensor]:
        loss, gradient = lmnn_loss(x @ where.T, apart, targets, real, mu)
        return float(loss) / len(x), gradient.T @ x / len(x)

    now = Descent(torch.eye(x.shape[1], dtype=x.dtype, device=x.device), at)
    first = now.rate
    loop = Loop("metric", steps, now)
    for _ in loop:
        moved = now.map - now.rate * now.gradient
        loss, gradient = at(moved)
        if not loss < now.loss:
            now.rate *= SHRINKAGE
            if now.rate < TOLERANCE * first:
                loop.stop()
            continue
        if now.loss - loss < TOLERANCE * loss:
            loop.stop()
        now.map, now.loss, now.gradient, now.rate = moved, loss, gradient, now.rate * GROWTH
    return now.map, now.loss


class Descent:
    """Where a descent on LMNN's loss is: its map, the loss ``at`` it and the gradient there, and how far it steps."""

    kept = ("map", "loss", "gradient", "rate")

    def __init__(self, start: torch.Tensor, at: Callable[[torch.Tensor], tuple[float, torch.Tensor]]) -> None:
        self.map = start
        self.loss, self.gradient = at(start)
        # The first step tried is as long as a tenth of the map.
        self.rate = 0.1 * float(start.norm() / self.gradient.norm().clamp(min=1e-12))


Apart = Sequence[tuple[Sequence["torch.Tensor"], "torch.Tensor"]]
"""Of each class its rows, in chunks, and the rows of all others: their numbers."""


def by_class(labels: torch.Tensor) -> Apart:
    """Rows with labels (n,) class by class; once for all steps, since a device is waited for in each such search."""
    import torch

    found = []
    for c in labels.unique().tolist():
        foreign = torch.nonzero(labels != c).squeeze(1)
        found.append((torch.nonzero(labels == c).squeeze(1).split(max(1, 2**22 // max(1, len(foreign)))), foreign))
    return found


def lmnn_loss(
    z: torch.Tensor, apart: Apart, targets: torch.Tensor, real: torch.Tensor, mu: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """LMNN's loss, summed, of mapped rows z (n, d), ``apart`` by class, with targets (n, k) and whether there are such
    (n, k); and its gradient by z. Rows of a class are processed in chunks, each against all rows of other classes."""
    import torch

    loss, gradient = z.new_zeros(()), torch.zeros_like(z)
    lengths = z.square().sum(1)
    differences = z[:, None] - z.index_select(0, targets.flatten()).unflatten(0, targets.shape)
    pulls = differences.square().sum(-1)
    weights = torch.full_like(pulls, 1 - mu)  # of a target's squared distance in the loss
    reach = torch.where(real, 1 + pulls, -torch.inf)  # what a row of another class must be away
    for own, foreign in apart:
        there = z[foreign]
        for rows in own:
            squared = torch.addmm(lengths[rows, None] + lengths[foreign], z[rows], there.T, alpha=-2)
            pushes = torch.zeros_like(squared)  # how many targets a row of another class is too near for
            for j in range(targets.shape[1]):
                hinges = (reach[rows, j, None] - squared).clamp_(min=0)
                active = hinges.sign()
                loss += mu * hinges.sum()
                weights[rows, j] += mu * active.sum(1)
                pushes += active
            gradient[rows] -= 2 * mu * (pushes.sum(1, keepdim=True) * z[rows] - pushes @ there)
            gradient[foreign] -= 2 * mu * (pushes.sum(0)[:, None] * there - pushes.T @ z[rows])
    drawn = 2 * weights[:, :, None] * differences
    gradient += drawn.sum(1)
    gradient.index_add_(0, targets.flatten(), drawn.flatten(0, 1), alpha=-1)
    return loss + (1 - mu) * pulls.sum(), gradient


@kept("local_metrics")
class LocalDecision:
    """IML's decision: ``k`` nearest rows of each class in metric after metric, until few change; see ``IML``.

    Rows x (n, d) with ``labels`` (n,) are seen less ``centre`` (d,), through ``basis`` (d', d) and ``maps`` (d', d').
    """

    def __init__(
        self,
        centre: torch.Tensor,
        basis: torch.Tensor,
        maps: Sequence[torch.Tensor],
        x: torch.Tensor,
        labels: torch.Tensor,
        classes: int,
        k: int,
        overlap: float,
    ) -> None:
        import torch

        self.centre, self.basis, self.maps = centre, basis, maps
        self.classes, self.k, self.overlap = classes, k, overlap
        self.known = labels.unique().tolist()
        z = self.project(x)
        self.rows = [torch.nonzero(labels == c).squeeze(1) for c in self.known]
        self.keys = [z[rows] for rows in self.rows]

    def project(self, x: torch.Tensor) -> torch.Tensor:
        return (x.to(self.centre) - self.centre) @ self.basis.T

    def log_probs(self, features: torch.Tensor) -> np.ndarray:
        """Log-probabilities (n, C) of vectors (n, d)."""
        import torch

        from imbalance_bench.methods.shared.decisions import LEAST

        z = self.project(features)
        logs = torch.full((len(z), self.classes), float(np.log(LEAST)), dtype=torch.double, device=z.device)
        known = torch.tensor(self.known, device=z.device)
        going, before = torch.arange(len(z), device=z.device), None
        for metric in self.maps:
            kernels, selected = self.select(z[going], metric)
            logs[going[:, None], known] = kernels.log_softmax(1)
            if before is not None:
                still = jaccard(selected, before) < self.overlap
                going, selected = going[still], selected[still]
            before = selected
            if not len(going):
                break
        return logs.cpu().numpy()

    def select(self, z: torch.Tensor, metric: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """For rows (n, d'): the log of each known class's kernel mean (n, known), and the selected rows (n, some)."""
        import torch

        from imbalance_bench.neighbours import k_nearest

        kernels, selected = [], []
        for rows, keys in zip(self.rows, self.keys):
            distances, found = k_nearest(z @ metric.T, keys @ metric.T, min(self.k, len(keys)))
            kernels.append((-distances.double().square()).logsumexp(1) - np.log(distances.shape[1]))
            selected.append(rows[found])
        return torch.stack(kernels, 1), torch.cat(selected, 1)

    def state(self) -> State:
        facts = {"classes": self.classes, "k": self.k, "overlap": self.overlap, "known": self.known}
        arrays = {"centre": self.centre, "basis": self.basis}
        for name in ("maps", "rows", "keys"):
            arrays |= {f"{name}_{i}": tensor for i, tensor in enumerate(getattr(self, name))}
        return State(facts | {"metrics": len(self.maps)}, arrays)

    @classmethod
    def restored(cls, state: State, around: Surroundings) -> LocalDecision:
        made, tensors, facts = cls.__new__(cls), around.tensors(state), state.facts
        made.centre, made.basis = tensors["centre"], tensors["basis"]
        made.classes, made.k, made.overlap, made.known = (facts[n] for n in ("classes", "k", "overlap", "known"))
        made.maps = [tensors[f"maps_{i}"] for i in range(facts["metrics"])]
        made.rows, made.keys = ([tensors[f"{n}_{i}"] for i in range(len(made.known))] for n in ("rows", "keys"))
        return made


def jaccard(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """|A ∩ B| / |A ∪ B| of each row's sets (n, m), whose members are distinct, (n,)."""
    import torch

    both = torch.cat([a, b], 1).sort(1).values
    common = (both[:, 1:] == both[:, :-1]).sum(1)
    return common / (2 * a.shape[1] - common)
