"""SetConv: classes as representatives that a convolution makes of sets of rows, learned by episodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from imbalance_bench.data.base import Part, Task
from imbalance_bench.engine.classifier import Classifier, Readout
from imbalance_bench.errors import BenchError
from imbalance_bench.methods.base import Method
from imbalance_bench.options import Count, Ge, OnlyWith, Positive
from imbalance_bench.registry import METHODS
from imbalance_bench.running.models import State, Surroundings, kept, restored, state_of
from imbalance_bench.seeds import ONE_AGAINST_REST, derived

if TYPE_CHECKING:
    import torch

    from imbalance_bench.engine import Engine, NetworkClassifier
    from imbalance_bench.engine.stack import Stack
    from imbalance_bench.methods.setconv.episodes import EpisodicTraining


@METHODS.register("setconv")
@dataclass(frozen=True)
class SetConv(Method):
    """Gao, Li, Lin, Aggarwal & Khan, "SetConv: A New Approach for Learning from Imbalanced Data", EMNLP 2020.

    The layer (Eqs. 2-4) is in ``network``, its training in ``episodes``. An episode has a support set of
    ``support`` rows at the imbalance ratio of the training rows (N2 = max(1, round(support · minority's share)), N1 =
    support - N2), whose two representatives v_maj, v_min are compared with one query a class: P(c | x) ∝ exp(x · v_c)
    (Eqs. 5-6), cross-entropy. The anchor Y is the mean of the minority's training rows. After training the
    representatives are made once of S_post, ``post_size`` training rows at the same ratio, or of all rows where there
    are fewer; test rows are sets of one.

    More than two classes (Section 3.4): a network a class, {y = c} against {y ≠ c}, the anchor from the smaller of the
    two. P(y = c | x) (Eq. 7) is what class c ranks rows by, and the highest one is the decision; scores are in
    proportion to P / (1 - P), so that they sum to one. Each network has its own best epoch.

    - Readings: ``hidden`` and ``output`` are layers that the authors' code has and Eq. 4 has not (conf/method/
      setconv/code.yaml); the anchor minus the sample, as printed; a query is not in its own support where its class has
      another row; dot products as they are, without scale or temperature. The MLP is one linear layer.
    - S_post is drawn from the run's own generator in an order of which a size takes the first rows, so that sizes in
      ``post_sizes`` differ in rows added, and not in the draw. "best" is the best epoch with S_post's representatives.
    - The step size and the scale of the features trade off: ``info`` has the mean norm of the training rows.
    - The network of ``backbone`` plays no part, nor do batch size, augmentation and backend of ``trainer``. Any
      features are one vector a row; images are divided by 255.
    """

    reads = "vectors"

    hidden: Annotated[Count | None, "null: none"]
    width: Count
    output: Annotated[Count | None, "null: none"]
    output_rate: Annotated[Positive, OnlyWith("output", otherwise=1.0)]
    support: Annotated[int, Ge(2)]
    episodes: Count
    post_size: Annotated[int, Ge(2)]
    post_sizes: Annotated[tuple[Annotated[int, Ge(2)], ...], "a row of each class"]

    def fit(self, tasks: Sequence[Task], backbone: Any, engine: Engine) -> list[Classifier]:
        from imbalance_bench.methods.setconv.episodes import EpisodicTraining
        from imbalance_bench.methods.setconv.network import SetConvNetwork

        sets = [engine.rows_of(task) for task in tasks]
        classes = [1] if tasks[0].classes == 2 else list(range(tasks[0].classes))
        each = [(task, rows, c) for task, rows in zip(tasks, sets) for c in classes]
        nets = [against_rest(*one) for one in each]
        stack = engine.stack(self, nets, SetConvNetwork(self.hidden, self.width, self.output))
        training = EpisodicTraining(
            stack, nets, [rows for _, rows, _ in each], engine.trainer, self.support, self.post_size, self.rates(stack)
        )
        training.run(self.episodes)
        networks = engine.classifiers(stack, training.monitor)
        for run, network in enumerate(networks):
            self.add_post_sizes(network, training, run)
        classifiers: list[Classifier] = []
        for i, (task, rows) in enumerate(zip(tasks, sets)):
            runs = range(i * len(classes), (i + 1) * len(classes))
            info = {
                "train_counts": task.counts.tolist(),
                "mean_norm": mean_norm(rows.x),
                "supports": [training.supports[r] for r in runs],
                "post_rows": [training.post_rows(r, self.post_size) for r in runs],
            }
            signs = [1 if smaller(rows.y, c) else -1 for c in classes]
            classifiers.append(AgainstRest([networks[r] for r in runs], signs, info))
        return classifiers

    def initialise(self, stack: Stack, tasks: Sequence[Task]) -> None:
        """The anchors: the mean of each network's rows of class 1."""
        for anchor, task in zip(stack.buffers["anchor"], tasks):
            anchor.copy_(mean_row(task.train.x[task.train.y == 1]))

    def rates(self, stack: Stack) -> list[tuple[slice, float]]:
        """Columns of the parameters, and what multiplies their learning rate."""
        if self.output is None:
            return [(slice(None), 1.0)]
        last = stack.params["head.weight"][0].numel()
        return [(slice(-last), 1.0), (slice(-last, None), self.output_rate)]

    def add_post_sizes(self, network: NetworkClassifier, training: EpisodicTraining, run: int) -> None:
        """A readout for each size: the last parameters with representatives of so many rows."""
        for size in [] if network.failure else self.post_sizes:
            flat = network.parameters["last"].clone()
            network.stack.views(flat[None])["representatives"][0] = training.representatives(run, size)
            network.parameters[f"post_{size}"] = flat
        network.readouts = tuple(network.parameters)


def smaller(labels: np.ndarray, c: int) -> bool:
    """Whether fewer rows are of class c than are not; as many count as fewer."""
    return 2 * int((labels == c).sum()) <= len(labels)


def against_rest(task: Task, rows: Part, c: int) -> Task:
    """Class c against the rest as a task of two classes, of which 1 has fewer of the training ``rows``."""
    if not 0 < int((rows.y == c).sum()) < len(rows):
        raise BenchError(
            f"method=setconv needs training rows of every class, and fold {task.fold} has "
            f"{np.bincount(rows.y, minlength=task.classes).tolist()}: choose a lower ratio"
        )
    one = smaller(rows.y, c)

    def relabelled(part: Part) -> Part:
        return Part(part.x, ((part.y == c) == one).astype(np.int64), part.ids)

    seed = task.seed if task.classes == 2 else derived(task.seed, ONE_AGAINST_REST, c)
    return replace(task, train=relabelled(rows), valid=relabelled(task.valid), classes=2, seed=seed)


def mean_row(x: np.ndarray) -> torch.Tensor:
    """The mean (d,) of rows (n, ...) as networks see them."""
    import torch

    from imbalance_bench.engine.stack import as_input

    return as_input(x, torch.empty(0, dtype=torch.float64)).mean(0).flatten()


def mean_norm(x: np.ndarray) -> float:
    """The mean Euclidean norm of rows (n, ...) as networks see them."""
    import torch

    from imbalance_bench.engine.stack import as_input

    norms = [as_input(part, torch.empty(0)).flatten(1).norm(dim=1) for part in torch.as_tensor(x).split(1024)]
    return round(float(torch.cat(norms).mean()), 4)


@kept("setconv")
class AgainstRest(Classifier):
    """One run: a network a class, or one of class 1 against class 0. ``signs``: 1 where the network's class 1 is its
    own class, -1 where it is the rest. An epoch's history is the mean over networks."""

    def __init__(self, networks: Sequence[NetworkClassifier], signs: Sequence[int], info: dict[str, Any]) -> None:
        failures = [n.failure for n in networks if n.failure]
        history = [
            {key: sum(one[key] for one in row) / len(row) for key in row[0] if all(key in one for one in row)}
            | {"epoch": row[0]["epoch"]}
            for row in zip(*(n.history for n in networks))
        ]
        readouts = tuple(i for i in networks[0].readouts if all(i in n.readouts for n in networks))
        super().__init__(info, history, failure=failures[0] if failures else None, readouts=readouts)
        self.networks, self.signs = networks, signs

    def log_odds(self, x: np.ndarray, readout: Readout) -> np.ndarray:
        """log P(y = c | x) - log P(y ≠ c | x) of each network's class, (n, networks)."""
        logits = [network.logits(x, readout).double().cpu().numpy() for network in self.networks]
        return np.stack([sign * (pair[:, 1] - pair[:, 0]) for pair, sign in zip(logits, self.signs)], 1)

    def scores(self, x: np.ndarray, readout: Readout = "last") -> np.ndarray:
        odds = self.log_odds(x, readout)
        if len(self.networks) == 1:
            return -np.logaddexp(0, np.concatenate([odds, -odds], 1))
        # P / (1 - P) ranks classes as P does, and does not become 1 for several of them where numbers are rounded.
        return odds - np.logaddexp.reduce(odds, axis=1, keepdims=True)

    def ranks(self, x: np.ndarray, readout: Readout = "last") -> np.ndarray | None:
        return None if len(self.networks) == 1 else self.log_odds(x, readout)

    def state(self) -> State:
        parts = {str(i): state_of(network) for i, network in enumerate(self.networks)}
        widths = self.networks[0].stack.module.widths
        return State({"signs": list(self.signs), "widths": widths}, parts=parts)

    @classmethod
    def restored(cls, state: State, around: Surroundings) -> AgainstRest:
        from imbalance_bench.methods.setconv.network import SetConvNetwork

        signs = state.facts["signs"]
        around = replace(around, backbone=SetConvNetwork(*state.facts["widths"]))
        return cls([restored(state.parts[str(i)], around) for i in range(len(signs))], signs, {})
