"""The contract of a method, and plain empirical risk minimisation, which the others vary by one hook each."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from imbalance_bench.data.base import Part, Task
from imbalance_bench.errors import BenchError
from imbalance_bench.running import progress

if TYPE_CHECKING:
    import torch

    from imbalance_bench.engine import Engine
    from imbalance_bench.engine.batches import Batch
    from imbalance_bench.engine.classifier import Classifier
    from imbalance_bench.engine.loop import TrainState
    from imbalance_bench.engine.stack import Stack

log = logging.getLogger("imbalance_bench")

Reads = Literal["any", "vectors", "tokens"]
"""The kind of rows that a method computes with: "vectors" of features, "tokens" (ids of words), or "any" that its
backbone reads."""


@dataclass(frozen=True)
class Method:
    """Empirical risk minimisation. A subclass overrides the hook that makes it what it is; each hook serves one run,
    but ``loss``, whose tensors may carry leading run axes that it need not know of, and ``batch_loss`` and
    ``initialise``, which see all runs. Methods of several stages override ``fit`` (``engine.begin``)."""

    name: ClassVar[str]  # set by the registry
    head: ClassVar[str] = "linear"  # the backbone's last layer: "linear", "full" or "cosine"
    reads: ClassVar[Reads] = "any"
    slices: ClassVar[tuple[str, ...]] = ()  # of test rows that it is to be scored on (``imbalance_bench.slices``)
    guided: ClassVar[bool] = False  # whether it learns from the validation part, beyond choosing by it
    stages: ClassVar[bool] = False  # whether it asks for the network's embedding and head apart
    graphed: ClassVar[bool] = (
        True  # whether its steps may be CUDA graphs (``engine.graph.Replayed`` says what that asks)
    )

    def declines(self, task: Task) -> str | None:
        """Why this method cannot do this task (then the table prints n/a), or None."""
        return "classification only" if task.kind == "regression" else self.unreadable(task)

    def unreadable(self, task: Task) -> str | None:
        """Why this method cannot compute with the rows of this task, or None: ``reads``, for ``declines``."""
        if self.reads == "vectors" and task.vocabulary is not None:
            return (
                "needs numeric features: nothing lies between two token ids. Set backbone=lsa, or another that makes "
                "vectors of texts"
            )
        if self.reads == "tokens" and task.vocabulary is None:
            return "needs texts as token ids: set backbone=textcnn, textrnn or xlnet"
        return None

    @property
    def held_out(self) -> tuple[str, str] | None:
        """Of a method that needs validation rows on which nothing is trained, beyond a choice of the epoch: the option
        that does, and what else to set (may be empty)."""
        return (f"method={self.name}", "") if self.guided else None

    def check_held_out(self, tasks: Sequence[Task], engine: Engine) -> None:
        """Raises BenchError where there are no such rows as ``held_out`` asks for."""
        if self.held_out is None:
            return
        without = [task.fold for task in tasks if not len(task.valid)]
        wrong = f"fold {without[0]} has none: set protocol.valid_fraction above 0" if without else ""
        if engine.trainer.rows != "train":
            wrong = f"trainer.rows={engine.trainer.rows} trains on them: set trainer.rows=train"
        if wrong:
            needs, otherwise = self.held_out
            raise BenchError(
                f"{needs} needs validation rows on which nothing is trained, and {wrong}"
                + (f", or {otherwise}" if otherwise else "")
            )

    @property
    def plain(self) -> bool:
        """Whether its training is that of this class up to ``loss`` and ``sampler``, on what ``training_sets`` gives:
        then its runs may share a program with runs of other such methods."""
        hooks = ("fit", "batch_loss", "initialise")
        return not self.stages and all(getattr(type(self), hook) is getattr(Method, hook) for hook in hooks)

    @property
    def logit_scale(self) -> float:
        """Factor of the logits in predictions, where ``loss`` does so itself."""
        return 1.0

    @property
    def own_loss(self) -> bool:
        """Whether its loss is another than the cross-entropy of this class."""
        return type(self).loss is not Method.loss

    def fit(self, tasks: Sequence[Task], backbone: Any, engine: Engine) -> list[Classifier]:
        """Trains one run a task, all together."""
        sets = self.training_sets(tasks, engine)
        return self.decided(engine.train(self, tasks, sets, backbone), tasks, sets)

    def training_sets(self, tasks: Sequence[Task], engine: Engine) -> list[Part]:
        """The rows that each task's run is trained on."""
        sets = [engine.rows_of(task) for task in tasks]
        self.check_all(tasks, sets)
        return [self._resampled(task, rows) for task, rows in zip(tasks, sets)]

    def check(self, task: Task, rows: Part) -> None:
        """Raises BenchError where a run's training rows are too few for the method's options."""

    def check_all(self, tasks: Sequence[Task], sets: Sequence[Part]) -> None:
        """``check`` for all runs before any is trained: the one with the smallest class first, so that what its error
        advises serves all of them."""
        fewest = [np.unique(rows.y, return_counts=True)[1].min(initial=len(rows)) for rows in sets]
        for run in np.argsort(fewest, kind="stable"):
            self.check(tasks[run], sets[run])

    def decided(
        self, classifiers: Sequence[Classifier], tasks: Sequence[Task], sets: Sequence[Part]
    ) -> list[Classifier]:
        """The runs trained on ``sets`` with this method's decision, and what was resampled in their records."""
        for classifier, task, rows in zip(classifiers, tasks, sets):
            classifier.info |= resampling_info(task, rows)
        return [self.posthoc(c, t) for c, t in zip(classifiers, tasks)]

    def resample(self, task: Task, rows: Part) -> Part:
        """The training set: ``rows`` (the task's training part) or what over- or under-sampling makes of it."""
        return rows

    def _resampled(self, task: Task, rows: Part) -> Part:
        """``resample``. Raises BenchError unless it gives rows such as it was given."""
        with progress.doing("resampling"):
            made = self.resample(task, rows)
        what = "a " + type(made).__name__
        if isinstance(made, Part):
            x, y, ids = (np.asarray(values) for values in (made.x, made.y, made.ids))
            what = f"x {x.shape}, y {y.shape} of {y.dtype}, ids {ids.shape}"
            one_a_row = x.shape == (len(y), *rows.x.shape[1:]) and y.shape == ids.shape == (len(y),)
            if len(y) and one_a_row and np.can_cast(y.dtype, rows.y.dtype):
                if task.kind == "regression" or (y.min() >= 0 and y.max() < task.classes):
                    return made
                what += f" from {y.min()} to {y.max()}"
        raise BenchError(
            f"resample of method={self.name} gives a Part: x (n, {', '.join(map(str, rows.x.shape[1:]))}), y (n,) of "
            f"{rows.y.dtype}, ids (n,) with -1 for rows that were made, n above 0"
            + (f", classes 0 to {task.classes - 1}" if task.classes else "")
            + f"; this one gave {what}"
        )

    def sampler(self, labels: torch.Tensor, batch_size: int, generator: torch.Generator) -> torch.Tensor:
        """One epoch's batches for labels (n,): row numbers (steps, batch), -1 where the last batch is short."""
        from imbalance_bench.engine.batches import shuffled

        return shuffled(len(labels), batch_size, generator)

    def loss(self, logits: torch.Tensor, labels: torch.Tensor, state: TrainState) -> torch.Tensor:
        """Loss of each sample (...) for logits (..., C), labels (...); ``state.counts`` (..., C) has the class counts
        of the training set in a shape that broadcasts against the logits."""
        from imbalance_bench.engine.losses import cross_entropy

        return cross_entropy(logits, labels)

    def batch_loss(self, stack: Stack, batch: Batch, state: TrainState) -> torch.Tensor:
        """The objective, one number per run (R,): the mean of ``loss`` over the batch. ``stack(x, stage)`` gives
        logits, embeddings or the head's logits of embeddings, ``stack.logits(x)`` the logits where nothing but the loss
        itself is differentiated, faster, ``batch.judged(stack)`` those of each member of an ensemble;
        ``state.generators`` are for what is drawn."""
        if not self.own_loss and stack.traits.loss_members == 1:
            return stack.mean_cross_entropy(batch.x, batch.y, batch.weight)
        logits, batch = batch.judged(stack)
        return batch.mean(self.loss(logits, batch.y, state))

    def phase(self, state: TrainState) -> Hashable:
        """The part of ``state.epoch`` in the loss: while it is the same, so are the steps; None: on nothing."""
        return None

    def change_fresh(self, params: Mapping[str, torch.Tensor], task: Task) -> None:
        """Changes the freshly initialised parameters of a run, in place."""

    def initialise(self, stack: Stack, tasks: Sequence[Task]) -> None:
        """Changes freshly initialised networks, in place."""
        stack.scale = self.logit_scale
        for run, task in enumerate(tasks):
            self.change_fresh(stack.of_run(run), task)

    def posthoc(self, classifier: Classifier, task: Task) -> Classifier:
        """The decision made of the trained network, e.g. logit adjustment."""
        return classifier


def _between_categories(x: np.ndarray, made: np.ndarray) -> float:
    """Share of the made rows that have a fraction in a column which is 0 or 1 in every given row."""
    if x.ndim != 2:
        return 0.0
    given = x[~made]
    binary = ((given == 0) | (given == 1)).all(axis=0)
    values = x[made][:, binary]
    return float(((values > 1e-6) & (values < 1 - 1e-6)).any(axis=1).mean()) if binary.any() else 0.0


def resampling_info(task: Task, rows: Part) -> dict[str, Any]:
    """Facts about resampling, so that a method that claims to be SMOTE can be checked: rows a class before and
    after, how many rows were made (id -1), and, of rows of numbers, how far each made row is from the nearest given row
    of its class, and the share of them that lie between two categories (``between_categories``)."""
    info: dict[str, Any] = {"train_counts": task.counts.tolist()}
    if task.kind == "regression":
        return info
    info["fitted_counts"] = np.bincount(rows.y, minlength=task.classes).tolist()
    made = rows.ids < 0
    if made.any() and task.vocabulary is not None:
        info["synthetic"] = {"rows": int(made.sum())}
    elif made.any():
        from sklearn.neighbors import NearestNeighbors

        distances = []
        for c in np.unique(rows.y[made]):
            flat = lambda x: x.reshape(len(x), -1).astype(np.float32)  # noqa: E731
            if not (given := ~made & (rows.y == c)).any():  # centroids stand in their place
                continue
            near = NearestNeighbors(n_neighbors=1).fit(flat(rows.x[given]))
            distances.append(near.kneighbors(flat(rows.x[made & (rows.y == c)]))[0][:, 0])
        info["synthetic"] = {"rows": int(made.sum())}
        if distances:
            d = np.concatenate(distances)
            info["synthetic"] |= {"distance_mean": float(d.mean()), "distance_max": float(d.max())}
        if share := _between_categories(rows.x, made):
            info["synthetic"]["between_categories"] = round(share, 4)
            log.info(
                "fold %d: %.0f %% of the made rows lie between two values of a 0/1 column, as one-hot categories are",
                *(task.fold, 100 * share),
            )
    return info
