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

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from imbalance_bench import origin
from imbalance_bench.errors import BenchError, Pruned, suggestion
from imbalance_bench.metrics import scoring
from imbalance_bench.options import key_of
from imbalance_bench.registry import SEARCH
from imbalance_bench.report.records.records import LOWER_IS_BETTER, readout_met, readout_title
from imbalance_bench.report.records.selection import head_of
from imbalance_bench.report.records.tuning import scores_of, why_not
from imbalance_bench.search.cells import alone, means, trained
from imbalance_bench.search.ledger import DATABASE, Ledger
from imbalance_bench.search.sampling import BEFORE_PRUNING, Sampling
from imbalance_bench.search.space import Range, Space, key_of_space, space_of
from imbalance_bench.search.trials import Options, Trial, Values
from imbalance_bench.settings.config import Config, cell_name, from_omegaconf
from imbalance_bench.settings.identity import cell_id, digest
from imbalance_bench.settings.objective import has_better_side
from imbalance_bench.store import CellFolder, Record, Store
from imbalance_bench.store.files import atomic_write
from imbalance_bench.terminal import tell

if TYPE_CHECKING:
    from imbalance_bench.cells import Outcome
    from imbalance_bench.cells.recipe import Prepared

PRUNED = "pruned"  # folder of a study: a file of each trial that was given up
DIVERGED = "a run diverged"


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
        self.cfg, self.options, self.overrides, self.own = cfg, options, list(overrides), own
        self.config: Config = from_omegaconf(cfg)
        _check_metric(options.metric)  # now that plug-ins have registered theirs
        whole: Any = OmegaConf.to_container(cfg, resolve=True)
        self.space: Space = space_of(whole, space or {})
        if self.config.plain["trainer"].get("rows") == "train_valid":
            raise BenchError("trials are chosen by validation rows, which are trained on: set trainer.rows=train")
        base = cell_id(self.config.plain, self.config.plugins)
        asked = {k: getattr(options, k) for k in ("batch", "sampler", "seed", "metric", "readout")}
        if options.pruner != "none":
            asked["pruner"] = options.pruner
        said = {"base": base, "space": _plain(self.space), **asked}
        if options.pruner != "none" and self.config.cache == "overwrite":
            raise BenchError(
                f"search.pruner={options.pruner} and cache=overwrite: a trial that is given up would keep the record "
                "of before; set cache=reuse, or search.pruner=none to train all again"
            )
        labels = self.config.labels
        parts = [re.sub(r"[^\w.-]", "_", labels[group]) for group in ("method", "dataset")]
        self.name = "-".join([*parts, digest(said)])
        self.folder = Path(self.config.paths.outputs) / "studies" / self.name
        self.sampling = Sampling(self.space, options)
        self.ledger = Ledger(self.folder, said, self.sampling)
        self.noted: set[str] = set()  # of cells that were done before

    def _check_space(self) -> None:
        """Raises BenchError for keys of a mapping in the space (method.options.<key>) that the component refuses, by
        name or by value: what they may be, it alone knows."""
        for key, allowed in self.space.items():
            where = key_of_space(self.cfg, key)
            if "." not in where.rpartition(f".{SEARCH}.")[2]:
                continue
            group = key.partition(".")[0]
            self.config.component(group)  # what is wrong besides is not of the space
            for value in [allowed.low, allowed.high] if isinstance(allowed, Range) else allowed:
                try:
                    self.cell({key: value}).component(group)
                except BenchError as error:
                    raise BenchError(f"{where}: {error}") from error

    @property
    def title(self) -> str:
        return cell_name(self.config.labels)

    @property
    def trials(self) -> list[Trial]:
        """Those that have ended."""
        return self.ledger.trials

    def open(self) -> str:
        """Makes the study's folder where there is none; says which it is, and how far. Raises as ``_check_space``,
        before there is a folder, and as ``Ledger.open``."""
        self._check_space()
        new = self.ledger.open()
        head = new or f"study {self.folder}, {len(self.trials)} of {self.options.trials} trials done"
        doubts = self.doubts() if len(self.trials) < self.options.trials else ()  # else they are told at its end
        return "\n  ".join([head, *self._given(), *doubts])

    def _given(self) -> Iterator[str]:
        """What becomes of options of the command line that are searched."""
        keys, defaults = {key_of(word) for word in self.overrides}, self._defaults()
        for key in self.space:
            if key in keys:
                which = "the first trial's" if defaults is not None else "no trial's, since it is not in the space"
                yield f"{key} is searched: the value given is {which}; {key_of_space(self.cfg, key)}=null keeps it"

    def proposed(self, number: int, history: Sequence[Trial]) -> Values:
        """What a trial tries, by those of the batches before it; the first trial tries the defaults."""
        if number == 0 and (defaults := self._defaults()) is not None:
            return defaults
        return self.sampling.proposed(number, history, self.ledger.direction)

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
        with self.ledger.locked():
            self.ledger.read()
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
        self._note(ended)
        found = [self._ended(*parts) for parts in zip(numbers, proposals, ended)]
        if begun == 0 and all(trial is not None and trial.value is None for trial in found):
            raise BenchError(f"no trial gave a score; the first: {found[0].reason if found[0] else ''}")
        return self._enter(found)

    def _note(self, ended: Sequence[Outcome | BenchError]) -> None:
        """Tells what there is to know of cells that were done before, once a study."""
        for outcome in ended:
            if not isinstance(outcome, BenchError) and outcome.status == "skipped" and outcome.note:
                if outcome.note not in self.noted:
                    tell(f"{self.title}: a trial was done before ({outcome.path}{outcome.note})")
                self.noted.add(outcome.note)

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

        def watch(cell: Prepared, classifiers: Sequence[Any]) -> None:
            steps = means(self._scores_of_runs(cell, classifiers, self.head(done[0])))
            if len(steps) == len(classifiers):
                self._judge(id, steps, len(cell.runs), before)

        outcome = alone(config, watch)
        if isinstance(outcome, Outcome) and outcome.status == "skipped":  # trained before, where nobody watched
            return self._judged_afterwards(outcome, self.head(done[0]), before)
        return outcome

    def _judge(self, id: str, steps: Sequence[float], runs: int, before: Sequence[Trial]) -> None:
        """Gives a cell up after its first runs of ``runs``, where their means ``steps`` are worse: raises Pruned."""
        if not self.sampling.worse(steps, before, self.ledger.direction):
            return
        side = "above" if self.ledger.direction == "minimize" else "below"
        after = f"after {len(steps)} of {runs} runs"
        reason = f"{after}: {steps[-1]:.4f} on validation, {side} the median of the trials before"
        place = self.folder / PRUNED / f"{id}.json"
        place.parent.mkdir(exist_ok=True)
        atomic_write(place, json.dumps({"reason": reason, "steps": steps}) + "\n")
        raise Pruned(reason)

    def _judged_afterwards(self, outcome: Outcome, head: tuple[str, str], before: Sequence[Trial]) -> Outcome:
        """How a cell that has its record would have ended under the pruner."""
        from imbalance_bench.cells import Outcome

        record = CellFolder(outcome.path).record()
        assert record is not None
        scores = scores_of(record, "valid", head, self.options.readout)
        in_order = (scores.get((run["fold"], run["repeat"]), math.nan) for run in record["runs"])
        steps, runs = means(list(takewhile(math.isfinite, in_order))), len(record["runs"])
        try:
            for seen in range(1, min(len(steps) + 1, runs)):
                self._judge(outcome.path.name, steps[:seen], runs, before)
        except Pruned as reason:
            return Outcome("pruned", outcome.labels, outcome.path, message=str(reason))
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

    def _given_up(self, id: str) -> dict[str, Any] | None:
        """What is kept of a trial that was pruned."""
        place = self.folder / PRUNED / f"{id}.json"
        said: dict[str, Any] | None = json.loads(place.read_text()) if place.exists() else None
        return said

    def _enter(self, found: Sequence[Trial | None]) -> Literal["more", "busy"]:
        """Enters trials up to the first that another process is still training (None)."""
        with self.ledger.locked():
            self.ledger.read()
            if not self.ledger.begun:
                scored = next((trial for trial in found if trial is not None and trial.value is not None), None)
                if scored is None:  # nobody knows yet which metric it is
                    return "busy"
                lower = self.head(scored)[0] in LOWER_IS_BETTER
                self.ledger.begin("minimize" if lower else "maximize")
            for trial in found:
                if trial is None:
                    return "busy"
                if trial.number < len(self.trials):  # another process has entered it
                    continue
                self.ledger.add(trial)
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
        if part == "valid" and (reason := why_not(record, scores, head, "search.metric=")):
            raise BenchError(f"{self.title} ({record['path']}): {reason}")
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
        record = self.find_record(trial)
        if record is None:
            raise BenchError(
                f"the record of trial {trial.number} ({trial.name}) is gone: after `rm {self.folder / DATABASE}` the "
                "same command trains it"
            )
        return record

    def find_record(self, trial: Trial) -> Record | None:
        """The record of a trial's cell; None where it is gone, or there was none."""
        config = self.cell(trial.values)
        return Store(config.paths.outputs).cell(config.labels, trial.id).record() if trial.id else None

    def doubts(self) -> Iterator[str]:
        """What speaks against comparing the trials: records of other code, or other records than were entered."""
        codes: dict[str, int] = {}
        moved: list[str] = []
        for entered, trial in zip(self.trials, self.trials_now()):
            record = self.find_record(trial) if trial.value is not None else None
            if record is None:
                continue
            if changed := origin.named(origin.changed(record.get("code", {}))):
                codes[changed] = codes.get(changed, 0) + 1
            if not math.isclose(trial.value or 0.0, entered.value or 0.0, rel_tol=1e-9, abs_tol=1e-12):
                moved.append(f"trial {trial.number} {entered.value:.4f}, now {trial.value:.4f}")
        database = self.folder / DATABASE
        for changed, number in codes.items():
            yield (
                f"note: {number} of {len(self.trials)} trials were made by other code ({changed} changed since); after "
                f"`rm {database}` the same command with cache=overwrite trains them again"
            )
        if moved:
            several = "; ".join(moved[:3]) + (f" and {len(moved) - 3} more" if len(moved) > 3 else "")
            yield (
                f"note: trials were trained or scored again since they were entered ({several}), and others were "
                f"proposed by what they had; after `rm {database}` the same command makes the study anew of the records"
            )

    def trials_now(self) -> list[Trial]:
        """The trials, with the values that their records have now."""
        return [trial if trial.value is None else self._now(trial) for trial in self.trials]

    def _now(self, trial: Trial) -> Trial:
        record = self.find_record(trial)
        scores = self.scores(record) if record else []
        return replace(trial, value=fmean(scores)) if scores else trial

    @property
    def best(self) -> Trial | None:
        """The trial of the best validation score, as the records have it now, the first of equal ones; None where all
        failed."""
        scored = [trial for trial in self.trials_now() if trial.value is not None]
        choose = min if self.ledger.direction == "minimize" else max
        return choose(scored, key=lambda trial: trial.value or 0.0) if scored else None

    def _line(self, trial: Trial) -> str:
        if trial.value is None:
            return f"{trial.name}: {'pruned' if trial.pruned else 'failed:'} {trial.reason}"
        return f"{trial.name}: {trial.value:.4f} on validation"


def _check_metric(metric: str | None) -> None:
    """Raises BenchError for one that trials cannot be chosen by; None: that which heads the record."""
    if metric is None:
        return
    asked, name = f"search.metric={metric}", metric.rpartition("/")[2]
    if not has_better_side(name):
        raise BenchError(f"{asked}: no value of it is better than another: choose another")
    if name not in (known := scoring.of_validation()):
        raise BenchError(f"{asked} is no metric of validation rows: {suggestion(name, known)}")
    if name != metric:
        raise BenchError(f"{asked}: trials are chosen by validation rows: set search.metric={name}")


def _plain(space: Space) -> dict[str, Any]:
    return {key: vars(values) if isinstance(values, Range) else values for key, values in space.items()}
