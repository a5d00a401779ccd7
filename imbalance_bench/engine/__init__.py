"""The engine: trains a list of runs of one architecture as one program, on the CPU or a GPU."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from weakref import ref

import numpy as np
import torch
from torch import nn

from imbalance_bench.data.base import Part, Task
from imbalance_bench.data.fetch import cached
from imbalance_bench.engine import graph
from imbalance_bench.engine.classifier import Classifier, Readout
from imbalance_bench.engine.loop import Trainable, Training
from imbalance_bench.engine.memory import keep_freed_memory
from imbalance_bench.engine.monitor import Monitor
from imbalance_bench.engine.stack import Stack, Traits
from imbalance_bench.errors import BenchError
from imbalance_bench.running import devices
from imbalance_bench.running.models import NotKept, State, Surroundings, kept
from imbalance_bench.settings.config import Trainer

CACHE = 2**23  # bytes: where a step of more runs takes longer than in proportion
COPIED = 2**28  # bytes of validation parts, one a run, that are copied to be scored in one pass on a CPU

# The type of the parameters; bfloat16 and tf32 are for convolutions and products only.
PRECISIONS = {"float64": torch.float64} | dict.fromkeys(("float32", "tf32", "bfloat16"), torch.float32)


Categories = Sequence[Sequence[int]]
"""``Task.categories``."""


def built(
    backbone: Any, shape: tuple[int, ...], classes: int, head: str = "linear", categories: Categories = ()
) -> nn.Module:
    """The network of a backbone. Raises BenchError where ``build`` is not what it must be."""
    more = (tuple(map(tuple, categories)),) if getattr(backbone, "categorical", False) else ()
    takes = "shape, classes, head" + ", categories" * len(more)
    asked = f"backbone={getattr(backbone, 'name', type(backbone).__name__)} needs build(self, {takes})"
    try:
        inspect.signature(backbone.build).bind(shape, classes, head, *more)
    except (AttributeError, TypeError) as error:
        raise BenchError(f"{asked}, which gives an nn.Module for rows of a shape: {error}") from error
    module = backbone.build(shape, classes, head, *more)
    if not isinstance(module, nn.Module):
        raise BenchError(f"{asked} that gives an nn.Module; this one gives a {type(module).__name__}")
    return module


@kept("network")
class NetworkClassifier(Classifier):
    """One run of a stack, at its last and at its best-on-validation parameters."""

    def __init__(self, stack: Stack, last: torch.Tensor, best: torch.Tensor | None, **kwargs: Any) -> None:
        super().__init__(readouts=("last",) if best is None else ("last", "best"), **kwargs)
        self.stack = stack
        self.parameters = {"last": last} | ({} if best is None else {"best": best})

    def logits(self, x: np.ndarray, readout: Readout = "last") -> torch.Tensor:
        """Outputs of the network (n, C) for rows ``x`` (n, ...)."""
        return self.stack.predict(self.parameters[readout], x)

    def features(self, x: np.ndarray, readout: Readout = "last") -> torch.Tensor:
        """The embedding f (n, d) of rows ``x`` (n, ...)."""
        return self.stack.predict(self.parameters[readout], x, "embed")

    def scores(self, x: np.ndarray, readout: Readout = "last") -> np.ndarray:
        logits = self.logits(x, readout)
        return (logits.log_softmax(-1) if logits.shape[-1] > 1 else logits).cpu().numpy()

    def state(self) -> State:
        """The parameters at each readout; the network is built again by the backbone of the cell."""
        if self.stack.built_for is None:
            raise NotKept("a network that Engine.stack did not build cannot be built again")
        shape, classes, head, categories = self.stack.built_for
        facts = {"shape": list(shape), "classes": classes, "head": head, "scale": self.stack.scale}
        facts |= {"categories": [list(columns) for columns in categories]} if categories else {}
        return State(facts | {"readouts": list(self.parameters)}, dict(self.parameters))

    @classmethod
    def restored(cls, state: State, around: Surroundings) -> NetworkClassifier:
        facts, engine = state.facts, around.engine
        built_for = tuple(facts["shape"]), facts["classes"], facts["head"], facts.get("categories", ())
        stack = engine.empty_stack(around.backbone, *built_for)
        stack.scale = facts["scale"]
        given = {name: torch.tensor(state.arrays[name]) for name in facts["readouts"]}
        for flat in given.values():
            if flat.shape != stack.flat.shape[1:] or flat.dtype != stack.flat.dtype:
                raise BenchError(
                    f"the model has {len(flat)} parameters of {flat.dtype}, and its backbone builds a network of "
                    f"{stack.flat.shape[1]} of {stack.flat.dtype}: it was made by another version of that code"
                )
        parameters = {name: flat.to(engine.device) for name, flat in given.items()}
        made = cls(stack, parameters.pop("last"), None)
        made.parameters |= parameters
        made.readouts = tuple(facts["readouts"])
        return made


class Engine:
    """Trains networks for a method: the trainer's settings, a device, a precision; ``folder``: where what cells share
    is kept (``data.fetch.cached``)."""

    def __init__(self, trainer: Trainer, device: str = "auto", folder: Path | None = None) -> None:
        keep_freed_memory()
        # Gradients of a fitted network sink below 1e-38, where arithmetic is many times slower: call them zero.
        torch.set_flush_denormal(True)
        self.trainer = trainer
        self.device = devices.choose_device(device)
        devices.set_arithmetic(self.device, trainer.precision == "tf32", trainer.deterministic)
        graph.check(trainer.graph, self.device)
        self.dtype = PRECISIONS[trainer.precision]
        self.folder = folder
        # By the id()s of a training and a validation part: these, to know them by, and both together.
        self._joined: dict[tuple[int, int], tuple[ref[Part], ...]] = {}

    @property
    def arithmetic(self) -> torch.dtype:
        """Number format of products."""
        return torch.bfloat16 if self.trainer.precision == "bfloat16" else self.dtype

    def autocast(self) -> torch.autocast:
        """Autocast context for networks outside a stack, by ``trainer.precision``."""
        on = self.arithmetic == torch.bfloat16
        # Rounded weights would be kept until the context ends, however often an optimiser moves the exact ones.
        return torch.autocast(self.device.type, torch.bfloat16, enabled=on, cache_enabled=False)

    def cached(self, name: str, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """Arrays that are slow to make and of use to other cells; all that they depend on must be part of ``name``."""
        return make() if self.folder is None else cached(self.folder, name, make)

    def rows_of(self, task: Task) -> Part:
        """The rows that a method learns from: trainer.rows = train, or train_valid (then nothing is left to select
        an epoch with, so the best epoch is chosen on rows that were trained on). Tasks of the same parts have the same
        rows, which then lie on the device once."""
        if self.trainer.rows == "train":
            return task.train
        key = id(task.train), id(task.valid)
        train, valid, joined = (one() for one in self._joined.get(key, [lambda: None] * 3))
        if joined is None or train is not task.train or valid is not task.valid:
            joined = task.train.join(task.valid)
            self._joined[key] = ref(task.train), ref(task.valid), ref(joined)
        return joined

    def stack(self, method: Trainable, tasks: Sequence[Task], backbone: Any) -> Stack:
        """Freshly initialised copies of the backbone, one a task, from the tasks' seeds."""
        self.check_compile()
        shape, classes, categories = tasks[0].train.x.shape[1:], tasks[0].classes, tasks[0].categories
        seeds, rows = [t.seed for t in tasks], [t.train.x for t in tasks]
        stack = self._stack(backbone, shape, classes, method.head, categories, seeds, rows)
        if method.stages:
            stack.check_staged()
        method.initialise(stack, tasks)
        return stack

    def empty_stack(
        self, backbone: Any, shape: tuple[int, ...], classes: int, head: str, categories: Categories = ()
    ) -> Stack:
        """A stack of one network, whose parameters are to be given to it."""
        return self._stack(backbone, shape, classes, head, categories, [0])

    def _stack(
        self,
        backbone: Any,
        shape: tuple[int, ...],
        classes: int,
        head: str,
        categories: Categories,
        seeds: Sequence[int],
        rows: Sequence[Any] | None = None,
    ) -> Stack:
        stack = Stack.create(
            lambda: built(backbone, shape, classes, head, categories),
            seeds,
            self.device,
            self.dtype,
            rows,
            autocast=torch.bfloat16 if self.arithmetic == torch.bfloat16 else None,
            channels_last=self.trainer.channels_last,
            compiled=self.trainer.compile,
        )
        stack.outputs = classes or 1
        stack.built_for = shape, classes, head, categories if getattr(backbone, "categorical", False) else ()
        return stack

    def check_compile(self) -> None:
        """An error where compiled networks do not pay. Measured: the step of the MLP (one run, four), which loses its
        gradient by hand, and of LeNet on one core of a CPU: 1.4, 1.2 and 1.4 times as long, after 30 to 160 s."""
        if self.trainer.compile and self.device.type == "cpu":
            raise BenchError(
                "trainer.compile=true does not pay on a CPU: after minutes of compilation a step takes longer, 1.2 to "
                "1.4 times where it was measured: set trainer.compile=false"
            )

    def check_uncompiled(self, method: Trainable) -> None:
        """For methods that differentiate a gradient: an error where networks are compiled."""
        if self.trainer.compile:
            raise BenchError(
                f"method={method.name} differentiates twice, which torch.compile does not: set trainer.compile=false"
            )

    def begin(
        self, method: Trainable, tasks: Sequence[Task], backbone: Any, trainer: Trainer | None = None
    ) -> Training:
        """Fresh networks, ready for training in as many stages as the method has; ``trainer``: of all runs, in place of
        the engine's."""
        if self.trainer.backend == "sequential":
            raise BenchError(
                f"method={method.name} is more than one plain training, which is all that trainer.backend=sequential "
                "does: set trainer.backend=stacked"
            )
        return Training(self.stack(method, tasks, backbone), method, tasks, [trainer or self.trainer] * len(tasks))

    def together(self, backbone: Any, task: Task) -> int | None:
        """How many runs to train as one program (None: all of a cell): what trainer.runs_together says; where it leaves
        that open, one on a CPU for convolutions, which are slower stacked, and all on a GPU, which is idle with one.
        What cannot be mapped over runs (``maps`` of the backbone) is trained one run at a time always."""
        if not backbone.maps:
            return 1
        if self.trainer.runs_together is not None:
            return self.trainer.runs_together
        if self.device.type != "cpu":
            return None
        with torch.device("meta"):
            module = built(backbone, task.train.x.shape[1:], task.classes, categories=task.categories)
        return None if Traits.of(module).batched else 1

    def most_runs(self, backbone: Any, task: Task) -> int | None:
        """How many runs of several cells to train as one program (None: as the memory holds): on a CPU as many as
        ``CACHE`` bytes hold the parameters, gradients, moments and activations of."""
        if self.device.type != "cpu":
            return None
        with torch.device("meta"):
            module = built(backbone, task.train.x.shape[1:], task.classes, categories=task.categories)
        tensors = list(module.parameters())
        parameters = sum(p.numel() for p in tensors)
        width = task.train.x[0].size + 3 * sum(len(p) for p in tensors if p.dim() > 1)  # outputs, activated, gradients
        run = 4 * parameters + self.trainer.batch_size * width * Traits.of(module).row_vectors
        return max(1, CACHE // (run * self.dtype.itemsize))

    def train(
        self,
        method: Trainable,
        tasks: Sequence[Task],
        sets: Sequence[Part],
        backbone: Any,
        trainers: Sequence[Trainer] | None = None,
    ) -> list[NetworkClassifier]:
        """Trains one copy of the backbone a task on its set; the heart of ``Method.fit``. ``trainers``: one a run, of
        runs of several cells."""
        if self.trainer.backend == "sequential":
            from imbalance_bench.engine.sequential import train_sequential

            if self.trainer.precision == "bfloat16":
                raise BenchError(
                    "trainer.backend=sequential does not compute in bfloat16: set trainer.precision=float32"
                )
            graph.check(self.trainer.graph, self.device, "trainer.backend=sequential has none")
            stack = self.stack(method, tasks, backbone)
            return self.classifiers(stack, train_sequential(stack, method, tasks, sets, self.trainer))
        of_runs = trainers or [self.trainer] * len(tasks)
        training = Training(self.stack(method, tasks, backbone), method, tasks, of_runs)
        copied = sum(task.valid.x.nbytes for task in tasks)
        training.monitor.at_once = trainers is not None and bool(training.stack.traits.batched) and copied < COPIED
        training.run(sets, self.trainer.epochs, ends=True)
        return self.classifiers(training.stack, training.monitor)

    def classifiers(self, stack: Stack, monitor: Monitor) -> list[NetworkClassifier]:
        """One classifier a run; of those whose last step came to nothing a failed one."""
        monitor.check()
        return [
            NetworkClassifier(
                stack,
                stack.flat[r].detach().clone(),
                monitor.best[r].clone() if np.isfinite(monitor.best_score[r]) else None,
                history=monitor.history[r],
                failure=monitor.failures[r],
            )
            for r in range(len(stack))
        ]
