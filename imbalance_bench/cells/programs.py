"""Cells that share a program: their runs are trained together, and each cell has the numbers that it has alone.

They agree in data set, network, device and the kind of training (``key``); they may differ in ratio, protocol, seed,
resampling, sampler, loss and decision, and in the options of the trainer that are each run's own.
"""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, groupby
from typing import TYPE_CHECKING, Any, NamedTuple

from imbalance_bench.cells import Outcome, Work, checkpoints_of, logged
from imbalance_bench.cells.recipe import Prepared, data_of, fit_in_chunks, say_once
from imbalance_bench.errors import BenchError
from imbalance_bench.running import progress
from imbalance_bench.running.checkpoints import going_on
from imbalance_bench.running.tally import DeviceLost
from imbalance_bench.settings import identity
from imbalance_bench.settings.config import OF_ALL, Config

if TYPE_CHECKING:
    from imbalance_bench.data.base import Dataset, Part, Task
    from imbalance_bench.data.tasks import Run
    from imbalance_bench.engine.classifier import Classifier

log = logging.getLogger("imbalance_bench")

# The longest epoch of a program in terms of its shortest: a run that is through with its epoch waits for the others,
# and is computed all the same.
UNEVEN = 1.25
ROOM = 2**29  # bytes of training sets that are prepared ahead
AT_MOST = 1024  # runs of a program, whatever the device
AHEAD = 4  # programs whose cells are prepared at a time, so that those of like length find each other

Ended = list[tuple[int, Outcome | BenchError]]
"""How cells ended, by their place in the list of them; an error that there is no cell to record it in."""


def alone(config: Config) -> str:
    """Why a cell cannot share a program; "" where it can. Raises BenchError where an option is wrong."""
    method, backbone, trainer = (config.component(group) for group in ("method", "backbone", "trainer"))
    if not getattr(method, "plain", False):
        return f"method={config.labels['method']} has a training of its own"
    if not backbone.maps:
        return f"networks of backbone={config.labels['backbone']} are trained one at a time"
    if trainer.backend == "sequential":
        return "trainer.backend=sequential trains one run at a time"
    return ""


def key(config: Config) -> str:
    """Equal for cells that may share a program. Raises BenchError where an option is wrong."""
    trainer = {k: config.plain["trainer"].get(k) for k in OF_ALL}
    groups = {group: config.plain[group] for group in ("dataset", "backbone")}
    method = config.component("method")
    rest = [method.head, method.logit_scale, config.device, config.paths.data, list(config.plugins)]
    return identity.digest(groups | {"trainer": trainer, "rest": rest})


def groups(configs: Iterable[Config | None]) -> tuple[list[list[int]], list[str]]:
    """The places of cells that may share a program, each group at the place of its first; and why some are alone. So is
    what has a wrong option, or is None since it could not be composed, which its own training tells."""
    found: dict[str, list[int]] = {}
    reasons: dict[str, None] = {}
    for place, config in enumerate(configs):
        kind, reason = f"alone {place}", ""
        with suppress(BenchError):
            if config is not None and not (reason := alone(config)):
                kind = key(config)
        if reason:
            reasons[reason] = None
        found.setdefault(kind, []).append(place)
    return list(found.values()), list(reasons)


OUTCOMES: dict[int, Outcome | BenchError] = {}
"""How cells of a sweep ended that were trained in a program with others, by the number of their job."""


@dataclass(eq=False)
class Member:
    """A cell that is ready to be trained: its place in the list, its lock, the training sets of its runs, and how many
    runs a program with it has at most. ``error``: of one that cannot be recorded."""

    place: int
    work: Work
    cell: Prepared
    sets: Sequence[Part]
    most: int
    lock: ExitStack
    error: BenchError | None = None

    @property
    def outcome(self) -> Outcome | BenchError | None:
        """How the cell ended; None while it has not."""
        return self.error or self.work.outcome

    @property
    def tasks(self) -> list[Task]:
        """One a run of the cell."""
        return [run.task for run in self.cell.runs]

    def narrow(self) -> str:
        """Why no other cell has room beside this one."""
        cell = self.work.config.labels
        return (
            f"a program of backbone={cell['backbone']} on dataset={cell['dataset']} has at most {self.most} run(s) on "
            f"this device, a cell {len(self.sets)}"
        )

    @property
    def steps(self) -> int:
        """Of an epoch, about: some samplers draw more or fewer rows than there are."""
        return math.ceil(max(map(len, self.sets)) / self.cell.engine.trainer.batch_size)

    def end(self, train: bool) -> None:
        """Trains the cell alone, where that is left to do (``train``), and scores and records it."""
        try:
            if train:
                self.work.fit_alone(self.cell)
            self.work.finish(self.cell)
        except BenchError as error:
            self.error = error
        self.lock.close()


def begun(
    place: int, config: Config, data: SharedData, lock: ExitStack, most_runs: int | None = None
) -> Member | Outcome | BenchError:
    """The cell, locked and prepared; or how it ended before it was trained."""
    try:
        work = Work(config)
        lock.enter_context(work.held())
        cell = work.prepare(data)
        sets = None if cell is None else work.do(partial(training_sets, cell))
        most = None if cell is None else work.do(partial(most_of, cell, most_runs))
    except BenchError as error:
        lock.close()
        return error
    if cell is not None and sets is not None and most is not None:
        return Member(place, work, cell, sets, most, lock)
    lock.close()
    assert work.outcome is not None
    return work.outcome


def training_sets(cell: Prepared) -> list[Part]:
    """What each run of the cell is trained on."""
    made: list[Part] = cell.method.training_sets([run.task for run in cell.runs], cell.engine)
    return made


class OneRun(NamedTuple):
    """A run of a cell and the rows that it is trained on."""

    cell: Prepared
    task: Task
    rows: Part


class SharedData:
    """``data_of`` for cells of one data set and backbone: it is read once, and runs on the same rows have the same
    parts, which then lie on the device once."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[Dataset, list[Run]]] = {}

    def __call__(self, config: Config, backbone: Any) -> tuple[Dataset, list[Run]]:
        from imbalance_bench.data.tasks import run_seed

        split = identity.digest([config.plain["ratio"], config.plain["protocol"]])
        if split not in self._known:
            read = next(iter(self._known.values()))[0] if self._known else None
            self._known[split] = data_of(config, backbone, read)
        dataset, runs = self._known[split]
        seeds = [run_seed(config.plain["seed"], run.task.fold, run.task.repeat) for run in runs]
        return dataset, [replace(run, task=replace(run.task, seed=seed)) for run, seed in zip(runs, seeds)]


def run_cells(count: int, cell: Callable[[int], Config], most_runs: int | None = None) -> Iterator[Ended]:
    """Trains, scores and records ``count`` cells of one ``key`` as ``run_cell`` does each of them; yields those that
    have ended. A cell that fails takes no other with it. ``cell``: gives that of a place when it is begun.
    ``most_runs``: in one program (None: as many as the device is fast with, ``Engine.most_runs``).

    Raises DeviceLost where the GPU is lost: cells that have not ended were not at fault, or nobody knows.
    """
    data, waiting = SharedData(), deque(range(count))
    while waiting:
        with ExitStack() as locks:
            members: list[Member] = []
            twice: list[int] = []  # cells that are among these already
            while waiting and not _full(members):
                place = waiting.popleft()
                member = begun(place, cell(place), data, locks.enter_context(ExitStack()), most_runs)
                if isinstance(member, Member):
                    members.append(member)
                    if member.most < 2 * len(member.sets):
                        say_once(f"runs alone: {member.narrow()}")
                elif isinstance(member, Outcome) and member.path in [m.work.folder.path for m in members]:
                    twice.append(place)
                else:
                    yield [(place, member)]
                    if isinstance(member, Outcome) and member.lost:
                        raise DeviceLost
            while members:  # those of a program are let go when it has ended: they hold their networks
                program = programs(members)[0]
                members = [member for member in members if member not in program]
                together = len(program) > 1 and fit_together(program)
                for place, member in enumerate(program):
                    member.end(train=not together)
                    if isinstance(member.outcome, Outcome) and member.outcome.lost:
                        yield _ended(program[: place + 1])
                        raise DeviceLost
                yield _ended(program)
        waiting.extendleft(reversed(twice))


def _ended(members: Sequence[Member]) -> Ended:
    return [(member.place, member.outcome) for member in members if member.outcome is not None]


def most_of(cell: Prepared, most_runs: int | None) -> int:
    """How many runs a program with this cell has at most."""
    engine, task = cell.engine, cell.runs[0].task
    limits = (engine.together(cell.backbone, task), most_runs or engine.most_runs(cell.backbone, task), AT_MOST)
    return min(limit for limit in limits if limit is not None)


def _full(members: Sequence[Member]) -> bool:
    """Whether these are to be trained before more cells are prepared."""
    if not members:
        return False
    sets = {id(part): part.x.nbytes for member in members for part in member.sets}
    runs = sum(len(member.sets) for member in members)
    return runs >= AHEAD * members[0].most or sum(sets.values()) >= ROOM


def programs(members: Sequence[Member]) -> list[list[Member]]:
    """The cells in groups, each a program: of epochs of about one length, as many as it may have."""
    found: list[list[Member]] = []
    for member in sorted(members, key=lambda member: member.steps):
        if found and member.steps <= UNEVEN * found[-1][0].steps:
            runs = sum(len(m.sets) for m in (*found[-1], member))
            if runs <= found[-1][0].most:
                found[-1].append(member)
                continue
        found.append([member])
    return found


def fit_together(members: Sequence[Member]) -> bool:
    """Trains the runs of several cells as one program. False where that failed, for whatever reason one of them has."""
    from imbalance_bench.engine.graph import Replayed
    from imbalance_bench.running import devices

    objectives: list[Any] = []  # equal ones side by side, in one call
    runs: list[list[OneRun]] = []
    for member in members:
        cell = member.cell
        if (objective := _objective(cell.method)) not in objectives:
            objectives.append(objective)
            runs.append([])
        alike = runs[objectives.index(objective)]
        alike += [OneRun(cell, run.task, rows) for run, rows in zip(cell.runs, member.sets)]
    ordered = list(chain.from_iterable(runs))
    shared = progress.Progress(
        f"{len(members)} cells together",
        [path for member in members for path in member.work.progress.paths],
        listeners=[listener for member in members for listener in member.work.listeners_among],
    )
    of_program = checkpoints_of([member.work for member in members])
    start, captured = time.perf_counter(), Replayed.captured
    try:
        with progress.following(shared), logged(*(member.work.log for member in members)):
            made, sizes = going_on(of_program, lambda: fit_in_chunks(_fit, ordered, len(ordered)))
    except Exception as error:
        if devices.lost(error):
            raise DeviceLost from error
        log.warning("%d cells are trained one by one, since together: %s", len(members), error)
        of_program.remove()
        return False
    each = (of_program.spent + time.perf_counter() - start) / len(ordered)
    for member in members:
        cell = member.cell
        own = [classifier for run, classifier in zip(ordered, made) if run.cell is cell]
        member.work.seconds += each * len(own)
        cell.sizes, cell.cells = sizes, len(members)
        cell.graphed = Replayed.captured > captured
        cell.classifiers = member.work.do(partial(cell.method.decided, own, member.tasks, member.sets)) or ()
    return True


def _objective(method: Any) -> Any:
    """Equal for methods whose loss is the same."""
    return method if method.own_loss else None


def _fit(runs: Sequence[OneRun]) -> Sequence[Classifier]:
    from imbalance_bench.engine.joint import Joint

    cell = runs[0].cell
    methods = [run.cell.method for run in runs]
    alike = [list(group) for _, group in groupby(methods, _objective)]
    objectives = [(group[0], len(group)) for group in alike]
    same = [_objective(method) for method, _ in objectives] == [None]
    joint = Joint(cell.method.head, objectives, [method.sampler for method in methods], cross_entropy=same)
    trainers = [run.cell.engine.trainer for run in runs]
    return cell.engine.train(joint, [r.task for r in runs], [r.rows for r in runs], cell.backbone, trainers)
