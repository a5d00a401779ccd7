"""Shared by methods that train a network, and then a fresh head over its frozen body."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

from imbalance_bench.data.base import Part, Task
from imbalance_bench.engine.classifier import Classifier
from imbalance_bench.errors import BenchError
from imbalance_bench.methods.base import Method, resampling_info
from imbalance_bench.options import Share
from imbalance_bench.seeds import SECOND_STAGE, derived

if TYPE_CHECKING:
    import torch

    from imbalance_bench.engine import Engine
    from imbalance_bench.engine.batches import Batch
    from imbalance_bench.engine.loop import Training, TrainState
    from imbalance_bench.engine.stack import Stack


@dataclass(frozen=True)
class TwoStages(Method):
    """Plain training; then a fresh head is trained, while the body stays as it is. A subclass says on what
    (``second_sets``) and in which batches (``second_sampler``).

    The last ``share`` of ``trainer.epochs`` is the second stage (each stage has one epoch at least), so that there are
    as many passes as other methods make. Each stage goes through the learning rate's schedule from its start, the
    second without warm-up. "best" is the second stage's best epoch.

    In the second stage the body is that of evaluation: statistics of batch normalisation and dropout rest.
    """

    stages = True

    share: Annotated[Share, "of trainer.epochs"]

    @abstractmethod
    def second_sets(self, body: Training, sets: Sequence[Part]) -> Sequence[Part] | None:
        """The training sets of the heads: rows of features (n, d) made of the training sets, one set a run. None: the
        training sets themselves, whose features the body computes batch by batch, after augmentation."""

    def second_sampler(self, labels: torch.Tensor, batch_size: int, generator: torch.Generator) -> torch.Tensor:
        """As ``sampler``, for the second stage."""
        return self.sampler(labels, batch_size, generator)

    def fit(self, tasks: Sequence[Task], backbone: Any, engine: Engine) -> list[Classifier]:
        epochs = engine.trainer.epochs
        second = min(max(1, round(self.share * epochs)), epochs - 1)
        if not second:
            raise BenchError(f"method={self.name} trains in two stages: trainer.epochs={epochs} must be at least 2")
        sets = [engine.rows_of(t) for t in tasks]
        self.check_all(tasks, sets)
        stage = replace(engine.trainer, epochs=epochs - second)
        body = engine.begin(self, tasks, backbone, stage)
        body.run(sets, stage.epochs)
        body.monitor.check()
        seconds = self.second_sets(body, sets)
        heads = self.heads(body, backbone, engine, second, seconds is None)
        objective = self.over(body.stack) if seconds is None else None
        heads.run(seconds or sets, second, objective, self.second_sampler, phase="classifier training")
        self.put_on(heads, body)
        classifiers = engine.classifiers(body.stack, body.monitor)
        for classifier, task, rows in zip(classifiers, heads.tasks, seconds or sets):
            classifier.info |= resampling_info(task, rows) | {"stage_epochs": [stage.epochs, second]}
        return list(classifiers)

    def heads(self, body: Training, backbone: Any, engine: Engine, epochs: int, augmented: bool) -> Training:
        """The second stage: networks that are nothing but a head, for features (n, d)."""
        from imbalance_bench.backbones.mlp import MLP
        from imbalance_bench.engine.loop import Training
        from imbalance_bench.engine.stack import Stack
        from imbalance_bench.methods.shared.heads import head_of

        tasks = [replace(t, seed=derived(t.seed, SECOND_STAGE)) for t in body.tasks]
        # Initialised as the backbone initialises its head, and decayed as it is there.
        like = engine.stack(self, tasks, backbone)
        fresh = head_of(like.params, self.name)
        decays = {name: getattr(p, "decay", None) for name, p in like.module.named_parameters()}
        classes, d = tasks[0].classes, fresh[0].shape[-1]

        def head() -> MLP:
            made = MLP(d, (), "relu", classes, self.head)
            for name, parameter in made.named_parameters():
                if (decay := decays[name]) is not None:
                    parameter.decay = decay  # type: ignore[attr-defined]
            return made

        stack = Stack.create(head, [t.seed for t in tasks], engine.device, engine.dtype)
        for mine, drawn in zip(head_of(stack.params, self.name), fresh):
            mine.data.copy_(drawn)
        tasks = [replace(t, valid=embedded(body, r, t.valid), vocabulary=None) for r, t in enumerate(tasks)]
        trainer = replace(engine.trainer, epochs=epochs, warmup_epochs=0)
        trainer = trainer if augmented else replace(trainer, augment="none")
        heads = Training(stack, self, tasks, [trainer] * len(tasks))
        heads.monitor.failures = list(body.monitor.failures)
        return heads

    def over(self, body: Stack) -> Any:
        """The loss of heads on what the body makes of a batch of images."""

        def loss(heads: Stack, batch: Batch, state: TrainState) -> torch.Tensor:
            return batch.mean(self.loss(heads(body.predict_all(batch.x, "embed")), batch.y, state))

        return loss

    def put_on(self, heads: Training, body: Training) -> None:
        """Puts the heads onto the bodies, and what was watched of them after what was watched before."""
        stack, monitor = body.stack, body.monitor
        monitor.best.copy_(stack.flat.detach())
        for whole, of_heads in ((stack.flat.detach(), heads.stack.flat.detach()), (monitor.best, heads.monitor.best)):
            views = stack.views(whole)
            for name, trained in heads.stack.views(of_heads).items():
                views[name].copy_(trained)
        monitor.best_score, monitor.failures = heads.monitor.best_score, heads.monitor.failures
        for before, after in zip(monitor.history, heads.monitor.history):
            before += [{**row, "epoch": row["epoch"] + body.epoch} for row in after]


def embedded(body: Training, run: int, rows: Part) -> Part:
    """Rows with the features (n, d) that a run's network has for them, as in evaluation."""
    if not len(rows):
        return rows
    features = body.stack.predict(body.stack.flat[run].detach(), rows.x, "embed")
    return Part(features.cpu().numpy(), rows.y, rows.ids)
