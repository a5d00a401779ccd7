"""What is kept of a study in its folder: what it is of, and its trials in Optuna's SQLite database, which any number of
processes read and enter trials into."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imbalance_bench.errors import BenchError
from imbalance_bench.search.sampling import Direction, Sampling, optuna_here
from imbalance_bench.search.trials import Trial
from imbalance_bench.store.files import atomic_write
from imbalance_bench.store.locks import lock_file

if TYPE_CHECKING:
    import optuna

DATABASE, SAID = "optuna.db", "study.json"
OF_DATABASE = ("optuna", "sqlalchemy", "sqlite3", "alembic")  # whose errors are of the database


class Ledger:
    """Of a study in ``folder``; ``said``: what it is of, as JSON. ``trials``: those that have ended, as last read."""

    def __init__(self, folder: Path, said: dict[str, Any], sampling: Sampling) -> None:
        self.folder, self.said, self.sampling = folder, said, sampling
        self.trials: list[Trial] = []
        self._study: optuna.Study | None = None

    @property
    def direction(self) -> Direction:
        """Which values are better, once that is known."""
        return "minimize" if self._study is not None and self._study.direction.name == "MINIMIZE" else "maximize"

    def open(self) -> str:
        """Makes the folder where there is none; says which others of the same method and data there are, "" where it is
        an old one.

        Raises:
            BenchError: the folder holds a study of something else.
        """
        with self.locked():
            path, text = self.folder / SAID, json.dumps(self.said, indent=1) + "\n"
            if not path.exists():
                atomic_write(path, text)
                prefix = self.folder.name.rpartition("-")[0]
                others = sorted(p.parent.name for p in self.folder.parent.glob(f"{prefix}-*/{SAID}") if p != path)
                other = f"; of another space, metric or configuration: {', '.join(others[:3])}" if others else ""
                return f"a new study, {self.folder}{other}"
            if path.read_text() != text:
                raise BenchError(
                    f"{path} says that the study is of another space or metric than its name: delete {self.folder}, or "
                    "put back what it said"
                )
            self.read()
        return ""

    @contextmanager
    def locked(self) -> Iterator[None]:
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

    def read(self) -> None:
        """``trials`` as they are in the database; within ``locked``."""
        if self._study is None and (self.folder / DATABASE).exists():
            self._study = self._opened()
        self.trials = [self.sampling.trial(frozen) for frozen in self._study.get_trials()] if self._study else []

    @property
    def begun(self) -> bool:
        """Whether it is known yet which values are better."""
        return self._study is not None

    def begin(self, direction: Direction) -> None:
        """Makes the database; within ``locked``."""
        self._study = self._opened(direction)

    def add(self, trial: Trial) -> None:
        """Enters a trial, the next one; within ``locked``."""
        assert self._study is not None
        self._study.add_trial(self.sampling.frozen(trial))
        self.trials.append(trial)

    def _opened(self, direction: Direction | None = None) -> optuna.Study | None:
        """Optuna's study, made where there is none yet and ``direction`` says what is best; None where it does not."""
        optuna = optuna_here()
        storage = optuna.storages.RDBStorage(f"sqlite:///{self.folder / DATABASE}")
        name = self.folder.name
        if direction is None:
            try:
                return optuna.load_study(study_name=name, storage=storage)
            except KeyError:  # its process was killed between making the tables and the study
                return None
        return optuna.create_study(study_name=name, storage=storage, direction=direction, load_if_exists=True)
