"""One study: a search space, a metric of validation rows, and trials that are ordinary cells.

Trials come in batches. What the k-th trial tries is a function of the study's seed, of k, and of the trials of the
batches before, and of nothing else: it is asked of a sampler made for that trial alone. So a study that was killed, or
that several processes work on, has the trials of one that was not; the lock of a cell says who trains it, and a trial
enters the study, in the order of the numbers, once its cell is done.

With ``pruner`` median the runs of a trial are trained one by one, and a trial is given up once the mean of its
validation scores is worse than the median of those of the trials of the batches before, over as many runs. It leaves no
record, but a file in the study's folder, so that it is not trained again. A trial whose cell was trained before is
given up by the same rule, so that what is tried next does not depend on what is stored already.
"""

from __future__ import annotations

import fcntl
import json
import math
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np

from imbalance_bench.config import Config, cell_name, from_omegaconf
from imbalance_bench.errors import BenchError, Pruned, command
from imbalance_bench.identity import cell_id, digest
from imbalance_bench.locks import lock_file
from imbalance_bench.objective import has_better_side
from imbalance_bench.options import Count, Seed, Text, shown
from imbalance_bench.registry import GROUPS
from imbalance_bench.report.records.records import LOWER_IS_BETTER, readout_met, readout_title
from imbalance_bench.report.records.selection import head_of
from imbalance_bench.report.records.tuning import scores_of, why_not
from imbalance_bench.search.cells import alone, means, trained
from imbalance_bench.search.space import Range, Space, space_of
from imbalance_bench.store import CellFolder, Record, Store, atomic_write
from imbalance_bench.terminal import tell

if TYPE_CHECKING:
    import optuna

    from imbalance_bench.cells import Outcome
    from imbalance_bench.cells.recipe import Prepared

Values = dict[str, Any]
"""Key of an override → its value."""

DATABASE, SAID, BEST, PRUNED = "optuna.db", "study.json", "study/best.yaml", "pruned"
BEFORE_PRUNING = 5  # trials that are done before any is given up
DIVERGED = "a run diverged"
OF_DATABASE = ("optuna", "sqlalchemy", "sqlite3", "alembic")  # whose errors are of the database


@dataclass(frozen=True)
class Options:
    """conf/search.yaml."""

    trials: Count
    batch: Count
    sampler: Literal["tpe", "random"]
    pruner: Literal["none", "median"]
    seed: Seed
    metric: Annotated[Text | None, "null: the one that heads the record"]
    readout: Text


@dataclass(frozen=True)
class Trial:
    """One that has ended: ``value`` of validation rows (None: it failed or was pruned, for ``reason``). ``steps``: the
    means over its first run, its first two, and so on, where there is a pruner."""

    number: int
    values: Values
    value: float | None
    id: str
    reason: str = ""
    steps: tuple[float, ...] = ()

    @property
    def pruned(self) -> bool:
        return self.value is None and bool(self.steps)

    @property
    def name(self) -> str:
        return " ".join(f"{key}={shown(value)}" for key, value in self.values.items()) or "the defaults"


class Study:
    """``cfg``: the composed configuration that trials change; ``space``: changes of its search space, by key;
    ``overrides`` and ``own``: of the command and its --config-dir, for what it prints."""

    def __init__(
        self,
        cfg: Any,
        options: Options,
        space: Mapping[str, Any] | None = None,
        overrides: Sequence[str] = (),
        own: Path | None = None,
    ) -> None:
        from omegaconf import OmegaConf

        readout_title(options.readout)
        if options.metric and not has_better_side(options.metric):
            raise BenchError(f"search.metric={options.metric}: no value of it is better than another: choose another")
        self.cfg, self.options, self.overrides, self.own = cfg, options, list(overrides), own
        self.config: Config = from_omegaconf(cfg)
        whole: Any = OmegaConf.to_container(cfg, resolve=True)
        self.space: Space = space_of(whole, space or {})
        if self.config.plain["trainer"].get("rows") == "train_valid":
            raise BenchError("trials are chosen by validation rows, which are trained on: set trainer.rows=train")
        base = cell_id(self.config.plain, self.config.plugins)
        asked = {k: getattr(options, k) for k in ("batch", "sampler", "seed", "metric", "readout")}
        if options.pruner != "none":
            asked["pruner"] = options.pruner
        self.said = {"base": base, "space": _plain(self.space), **asked}
        if options.pruner != "none" and self.config.cache == "overwrite":
            raise BenchError(
                f"search.pruner={options.pruner} and cache=overwrite: a trial that is given up would keep the record "
                "of before; set cache=reuse, or search.pruner=none to train all again"
            )
        labels = self.config.labels
        parts = [re.sub(r"[^\w.-]", "_", labels[group]) for group in ("method", "dataset")]
        self.name = "-".join([*parts, digest(self.said)])
        self.folder = Path(self.config.paths.outputs) / "studies" / self.name
        self.trials: list[Trial] = []
        self._study: optuna.Study | None = None

    @property
    def title(self) -> str:
        return cell_name(self.config.labels)

    # Its state on the disk

    def open(self) -> str:
        """Makes the study's folder where there is none; says which it is, and how far.

        Raises:
            BenchError: the folder holds a study of something else.
        """
        with self._locked():
            path = self.folder / SAID
            if not path.exists():
                atomic_write(path, json.dumps(self.said, indent=1) + "\n")
                prefix = self.name.rpartition("-")[0]
                others = sorted(p.parent.name for p in self.folder.parent.glob(f"{prefix}-*/{SAID}") if p != path)
                other = f"; of another space, metric or configuration: {', '.join(others[:3])}" if others else ""
                return f"a new study, {self.folder}{other}"
            if path.read_text() != json.dumps(self.said, indent=1) + "\n":
                raise BenchError(
                    f"{path} says that the study is of another space or metric than its name: delete {self.folder}, or "
                    "put back what it said"
                )
            self._read()
        return f"study {self.folder}, {len(self.trials)} of {self.options.trials} trials done"

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Within it, this process alone reads and writes the study.

        Raises:
            BenchError: its folder cannot be written, or its database is none.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            file = lock_file(self.folder / ".lock")
        except OSError as error:
            raise BenchError(f"cannot write {self.folder} ({error.strerror}): set paths.outputs=<another>") from error
        with file:
            fcntl.flock(file, fcntl.LOCK_EX)
            try:
                yield
            except Exception as error:
                if type(error).__module__.partition(".")[0] not in OF_DATABASE:
                    raise
                what = str(error).partition("\n")[0]
                raise BenchError(
                    f"{self.folder / DATABASE} cannot be used ({what}): delete it, and the same command makes it again "
                    "of the trials' records"
                ) from error

    def _read(self) -> None:
        """``trials`` as they are in the database."""
        if self._study is None and (self.folder / DATABASE).exists():
            self._study = self._opened()
        self.trials = [self._trial(frozen) for frozen in self._study.get_trials()] if self._study else []

    def _opened(self, direction: str | None = None) -> optuna.Study | None:
        """Optuna's study, made where there is none yet and ``direction`` says what is best; None where it does not."""
        optuna = _optuna()
        storage = optuna.storages.RDBStorage(f"sqlite:///{self.folder / DATABASE}")
        if direction is None:
            try:
                return optuna.load_study(study_name=self.name, storage=storage)
            except KeyError:  # its process was killed between making the tables and the study
                return None
        return optuna.create_study(study_name=self.name, storage=storage, direction=direction, load_if_exists=True)

    def _trial(self, frozen: optuna.trial.FrozenTrial) -> Trial:
        values = {key: self._value(key, frozen.params[key]) for key in self.space if key in frozen.params}
        attributes = frozen.user_attrs
        steps = tuple(value for _, value in sorted(frozen.intermediate_values.items()))
        return Trial(frozen.number, values, frozen.value, attributes["id"], attributes["reason"], steps)

    # What is tried

    def proposed(self, number: int, history: Sequence[Trial]) -> Values:
        """What a trial tries, by those of the batches before it; the first trial tries the defaults."""
        optuna = _optuna()
        distributions = {key: _distribution(values) for key, values in self.space.items()}
        if number == 0 and (defaults := self._defaults()) is not None:
            return defaults
        seed = int(np.random.SeedSequence([self.options.seed, number]).generate_state(1)[0])
        samplers = {"tpe": optuna.samplers.TPESampler, "random": optuna.samplers.RandomSampler}
        study = optuna.create_study(sampler=samplers[self.options.sampler](seed=seed), direction=self._direction())
        told = [trial for trial in history if trial.value is not None or trial.pruned]
        study.add_trials([self._frozen(trial, distributions) for trial in told])
        params = study.ask(distributions).params
        return {key: self._value(key, params[key]) for key in self.space}

    def _defaults(self) -> Values | None:
        """The options as they stand, without those of another library's estimator that are left to it; None where one
        is not in the space."""
        from omegaconf import OmegaConf

        whole = OmegaConf.to_container(self.cfg, resolve=True)
        values = {}
        for key, allowed in self.space.items():
            value: Any = whole
            for part in key.split("."):
                value = value.get(part, ...) if isinstance(value, dict) else ...
            if value is ...:
                continue
            if value not in allowed:
                return None
            values[key] = value if isinstance(allowed, Range) else allowed[allowed.index(value)]
        return values

    def _frozen(self, trial: Trial, distributions: Mapping[str, Any]) -> optuna.trial.FrozenTrial:
        optuna = _optuna()
        states = optuna.trial.TrialState
        state = states.PRUNED if trial.pruned else states.FAIL if trial.value is None else states.COMPLETE
        return optuna.trial.create_trial(
            state=state,
            value=trial.value,
            intermediate_values=dict(enumerate(trial.steps, 1)),
            params={key: _param(self.space[key], value) for key, value in trial.values.items()},
            distributions={key: distributions[key] for key in trial.values},
            user_attrs={"id": trial.id, "reason": trial.reason},
        )

    def _value(self, key: str, param: Any) -> Any:
        """The value of an option from Optuna's parameter."""
        allowed = self.space[key]
        if isinstance(allowed, Range):
            return allowed.rounded(param)
        return next(value for value in allowed if _choice(value) == param and type(_choice(value)) is type(param))

    def _direction(self) -> str:
        return "minimize" if self._study and self._study.direction.name == "MINIMIZE" else "maximize"

    # Trials as cells

    def cell(self, values: Values) -> Config:
        """The cell of a trial, as its overrides give it on the command line."""
        from omegaconf import OmegaConf

        cfg = self.cfg.copy()
        for key, value in values.items():
            OmegaConf.update(cfg, key, value, force_add=True)
        if self.options.pruner != "none":
            OmegaConf.update(cfg, "trainer.runs_together", 1)  # no part of the cell's identity
        return from_omegaconf(cfg)

    def advance(self) -> Literal["done", "more", "busy"]:
        """Trains a batch of trials and enters them. "busy": another process trains those that are next."""
        with self._locked():
            self._read()
        options, begun = self.options, len(self.trials)
        if begun >= options.trials:
            return "done"
        first = begun - begun % options.batch
        numbers = range(begun, min(first + options.batch, options.trials))
        proposals = [self.proposed(number, self.trials[:first]) for number in numbers]
        cells = [self.cell(values) for values in proposals]
        if options.pruner == "none":
            ended = trained(cells)
        else:
            ended = [self._watched(cell, self.trials[:first]) for cell in cells]
        found = [self._ended(*parts) for parts in zip(numbers, proposals, ended)]
        if begun == 0 and all(trial is not None and trial.value is None for trial in found):
            raise BenchError(f"no trial gave a score; the first: {found[0].reason if found[0] else ''}")
        return self._enter(found)

    def _watched(self, config: Config, before: Sequence[Trial]) -> Outcome | BenchError:
        """How a cell ended that is trained run by run, and given up where the pruner says so."""
        from imbalance_bench.cells import Outcome

        folder = Store(config.paths.outputs).cell(config.labels, cell_id(config.plain, config.plugins))
        id = folder.path.name
        if (said := self._given_up(id)) is not None:
            if folder.path.exists() and folder.record() is None:  # its process was killed before it was removed
                with folder.lock() as mine:
                    if mine:
                        folder.forget()
            return Outcome("pruned", config.labels, folder.path, message=said["reason"])
        done = [trial for trial in before if trial.value is not None]
        if len(done) < BEFORE_PRUNING or id in (trial.id for trial in done):
            return alone(config, None)

        def judge(steps: Sequence[float], runs: int) -> None:
            """Gives the cell up after its first runs of ``runs``, where their means are worse."""
            if not self.worse(steps, before):
                return
            side = "above" if self.head(done[0])[0] in LOWER_IS_BETTER else "below"
            after = f"after {len(steps)} of {runs} runs"
            reason = f"{after}: {steps[-1]:.4f} on validation, {side} the median of the trials before"
            place = self.folder / PRUNED / f"{id}.json"
            place.parent.mkdir(exist_ok=True)
            atomic_write(place, json.dumps({"reason": reason, "steps": steps}) + "\n")
            raise Pruned(reason)

        def watch(cell: Prepared, classifiers: Sequence[Any]) -> None:
            steps = means(self._scores_of_runs(cell, classifiers, self.head(done[0])))
            if len(steps) == len(classifiers):
                judge(steps, len(cell.runs))

        outcome = alone(config, watch)
        if isinstance(outcome, Outcome) and outcome.status == "skipped":  # trained before, where nobody watched
            record = CellFolder(outcome.path).record()
            assert record is not None
            scores = scores_of(record, "valid", self.head(done[0]), self.options.readout)
            in_order = (scores.get((run["fold"], run["repeat"]), math.nan) for run in record["runs"])
            steps = means(list(takewhile(math.isfinite, in_order)))
            try:
                for seen in range(1, min(len(steps) + 1, len(record["runs"]))):
                    judge(steps[:seen], len(record["runs"]))
            except Pruned as reason:
                return Outcome("pruned", config.labels, outcome.path, message=str(reason))
        return outcome

    def _scores_of_runs(self, cell: Prepared, classifiers: Sequence[Any], head: tuple[str, str]) -> list[float]:
        from imbalance_bench.cells.recipe import validation_rows

        rows = validation_rows(cell, classifiers)
        if not rows:  # all diverged
            return []
        readout = readout_met((row["iterate"] for row in rows), self.options.readout)
        key = (*head, readout)
        values = [row["value"] for row in rows if (row["metric"], row["class_group"], row["iterate"]) == key]
        return [value for value in values if np.isfinite(value)]

    def worse(self, steps: Sequence[float], before: Sequence[Trial]) -> bool:
        """Whether a trial with these means over its first runs is to be given up: Optuna's MedianPruner."""
        optuna = _optuna()
        distributions = {key: _distribution(values) for key, values in self.space.items()}
        pruner = optuna.pruners.MedianPruner(n_startup_trials=BEFORE_PRUNING)
        study = optuna.create_study(pruner=pruner, direction=self._direction())
        study.add_trials([self._frozen(trial, distributions) for trial in before if trial.steps])
        trial = study.ask()
        trial.report(steps[-1], len(steps))  # the last alone: over as many runs as those of the others
        return bool(trial.should_prune())

    def _given_up(self, id: str) -> dict[str, Any] | None:
        """What is kept of a trial that was pruned."""
        place = self.folder / PRUNED / f"{id}.json"
        said: dict[str, Any] | None = json.loads(place.read_text()) if place.exists() else None
        return said

    def _enter(self, found: Sequence[Trial | None]) -> Literal["more", "busy"]:
        """Enters trials up to the first that another process is still training (None)."""
        with self._locked():
            self._read()
            if self._study is None:
                scored = next((trial for trial in found if trial is not None and trial.value is not None), None)
                if scored is None:  # nobody knows yet which metric it is
                    return "busy"
                lower = self.head(scored)[0] in LOWER_IS_BETTER
                self._study = self._opened("minimize" if lower else "maximize")
            for trial in found:
                if trial is None:
                    return "busy"
                if trial.number < len(self.trials):  # another process has entered it
                    continue
                distributions = {key: _distribution(values) for key, values in self.space.items()}
                self._study.add_trial(self._frozen(trial, distributions))
                self.trials.append(trial)
                tell(f"[{trial.number + 1}/{self.options.trials}] {self.title} {self._line(trial)}")
        return "more"

    def _ended(self, number: int, values: Values, outcome: Outcome | BenchError) -> Trial | None:
        """A trial by how its cell ended; None while another process works on it."""
        if isinstance(outcome, BenchError):
            return Trial(number, values, None, "", str(outcome))
        if outcome.status == "busy":
            return None
        place = outcome.path.name
        if outcome.status == "declined":
            raise BenchError(f"{self.title}: declined: {outcome.message}")
        if outcome.status == "failed":
            return Trial(number, values, None, place, outcome.message)
        if outcome.status == "pruned" and (said := self._given_up(place)):
            return Trial(number, values, None, place, outcome.message, tuple(said["steps"]))
        record = CellFolder(outcome.path).record()
        assert record is not None
        if any(run["failure"] for run in record["runs"]):
            return Trial(number, values, None, place, DIVERGED)
        scores = self.scores(record)
        steps = () if self.options.pruner == "none" else means(scores)
        reason = "" if scores else "no score is defined"
        return Trial(number, values, fmean(scores) if scores else None, place, reason, steps)

    def scores(self, record: Record, part: str = "valid") -> list[float]:
        """The metric of each run of a record, of one of its parts.

        Raises:
            BenchError: the record has none of validation rows.
        """
        head = self._head(record)
        scores = scores_of(record, part, head, self.options.readout)
        if part == "valid" and (reason := why_not(record, scores, head)):
            raise BenchError(f"{self.title} ({record['path']}): {reason}".replace("--by ", "search.metric="))
        return [score for score in scores.values() if np.isfinite(score)]

    def _head(self, record: Record) -> tuple[str, str]:
        head = head_of(record, self.options.metric)
        if head is None:
            raise BenchError(f"search.metric={self.options.metric} is not in {record['path']}: choose another")
        return head

    def head(self, trial: Trial) -> tuple[str, str]:
        """Metric and class group that trials are compared by."""
        return self._head(self.record(trial))

    def record(self, trial: Trial) -> Record:
        """The record of a trial's cell."""
        config = self.cell(trial.values)
        record = Store(config.paths.outputs).cell(config.labels, trial.id).record() if trial.id else None
        if record is None:
            raise BenchError(f"the record of trial {trial.number} ({trial.name}) is gone: the same command trains it")
        return record

    # What came of it

    @property
    def best(self) -> Trial | None:
        """The trial of the best validation score, the first of equal ones; None where all failed."""
        scored = [trial for trial in self.trials if trial.value is not None]
        choose = min if self._direction() == "minimize" else max
        return choose(scored, key=lambda trial: trial.value or 0.0) if scored else None

    def _line(self, trial: Trial) -> str:
        if trial.value is None:
            return f"{trial.name}: {'pruned' if trial.pruned else 'failed:'} {trial.reason}"
        return f"{trial.name}: {trial.value:.4f} on validation"

    def finish(self, choices: Mapping[str, str]) -> str:
        """Writes the file of the best options, and says what was found. ``choices``: group → option of the command."""
        best = self.best
        if best is None:
            return f"{self.title}: none of {len(self.trials)} trials has a score; the last: {self.trials[-1].reason}"
        record = self.record(best)
        metric, group = self._head(record)
        test = self.scores(record, "test")
        spread = f" ± {float(np.std(test, ddof=1)):.4f}" if len(test) > 1 else ""
        path = self.folder / BEST
        atomic_write(path, self._best_yaml(best, choices, f"{metric} ({group})"))
        pruned = sum(trial.pruned for trial in self.trials)
        failed = sum(trial.value is None for trial in self.trials) - pruned
        outputs = self.config.paths.outputs
        place = "" if outputs == "outputs" else f" --outputs {outputs}"
        labels = self.config.labels
        lines = [
            f"{self.title}: best of {len(self.trials)} trials"
            + (f", {failed} of which failed" if failed else "")
            + (f", {pruned} of which were pruned" if pruned else "")
            + f": {best.name}",
            f"{metric} ({group}): {best.value:.4f} on validation, {fmean(test):.4f}{spread} on test ({record['path']})",
            f"again, here or on other data: {self._again()}",
            f"each run with its own choice: {command('report')} --tuned{place} method={labels['method']} "
            f"dataset={labels['dataset']}",
        ]
        return "\n  ".join(lines)

    def _again(self) -> str:
        """The command that trains with the best options."""
        rest = [o for o in self.overrides if o.partition("=")[0] not in GROUPS]
        rest += [f"hydra.searchpath=[file://{self.own.absolute()}]"] if self.own else []
        return f"{command('train')} {shlex.join(['--config-dir', str(self.folder), '+study=best', *rest])}"

    def _best_yaml(self, best: Trial, choices: Mapping[str, str], metric: str) -> str:
        """An option of the group ``study`` that puts the best options in the place of the defaults."""
        import yaml

        values: dict[str, Any] = {}
        for key, value in best.values.items():
            *groups, last = key.split(".")
            node = values
            for group in groups:
                node = node.setdefault(group, {})
            node[last] = value
        head = (
            f"# @package _global_\n# Trial {best.number} of {self.name}: {metric} {best.value:.4f} on validation.\n"
            f"# Again: {self._again()}\n"
        )
        defaults = [{f"override /{group}": option} for group, option in choices.items()]
        return head + yaml.safe_dump({"defaults": defaults, **values}, sort_keys=False)


def _distribution(values: Range | list[Any]) -> Any:
    """Optuna's, of the values of a key."""
    d = _optuna().distributions
    if not isinstance(values, Range):
        return d.CategoricalDistribution([_choice(value) for value in values])
    if values.whole:
        return d.IntDistribution(int(values.low), int(values.high), log=values.log)
    return d.FloatDistribution(float(values.low), float(values.high), log=values.log)


def _choice(value: Any) -> Any:
    """A value of a list as Optuna takes it: lists are none of its types."""
    return shown(value) if isinstance(value, (list, dict)) else value


def _param(allowed: Range | list[Any], value: Any) -> Any:
    return value if isinstance(allowed, Range) else _choice(value)


def _plain(space: Space) -> dict[str, Any]:
    return {key: vars(values) if isinstance(values, Range) else values for key, values in space.items()}


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise BenchError(
            f"{command('search')} needs Optuna: pip install -c constraints.txt -e '.[search]'; a grid needs nothing: "
            "train.py -m method.gamma=1,2,5, then report.py --tuned"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
