"""The model beside a record, made again: what scores rows as its runs did when they were trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from imbalance_bench import origin
from imbalance_bench.data.new_rows import Trained
from imbalance_bench.errors import BenchError, command
from imbalance_bench.plugins import import_plugins
from imbalance_bench.pretrained import fingerprint
from imbalance_bench.running import models
from imbalance_bench.running.models import State, Surroundings, restored, unpacked
from imbalance_bench.settings.config import Config, Paths
from imbalance_bench.store import CellFolder, Damaged, Record, file_of, remedy


@dataclass(frozen=True)
class Run:
    """A run of the cell: ``classifier``, and the preprocessing ``encoder`` (its name) that it was trained behind."""

    classifier: Any
    encoder: str


@dataclass(frozen=True)
class Model:
    """The runs that are kept, by their number in the record; ``encoders``: fitted preprocessing by name."""

    record: Record
    facts: dict[str, Any]
    trained: Trained
    runs: dict[int, Run]
    encoders: dict[str, Any]

    @classmethod
    def load(cls, folder: Path, runs: Sequence[int] | None = None, data: str = "data", device: str = "auto") -> Model:
        """The model in the folder of a record, which may have been copied. ``runs``: only these; None: all.

        Raises:
            BenchError: there is none, it is of another version, or it holds types that are not known.
            Damaged: a file is not what the run wrote.
        """
        from imbalance_bench.engine import Engine

        record = record_in(folder)
        facts, states = read(record)
        import_plugins(facts["plugins"])
        encoders = {int(run): name for run, name in facts["encoders"].items()}
        if max(encoders, default=-1) >= (n := len(record["runs"])):  # edited, sum and all, or of before there were sums
            of_model = f"the model has runs {', '.join(map(str, sorted(encoders)))}, and it has {n} run{'s'[: n != 1]}"
            raise Damaged(record["path"] / "record.json", f"is damaged ({of_model})", remedy(record, "model.json"))
        wanted = sorted(encoders) if runs is None else list(dict.fromkeys(runs))
        if unknown := [run for run in wanted if run not in encoders]:
            kept = ", ".join(map(str, sorted(encoders)))
            diverged = " (it diverged)" if 0 <= unknown[0] < len(record["runs"]) else ""
            raise BenchError(f"--run {unknown[0]}: the model has runs {kept}{diverged}")
        config = Config(record["config"], {}, device, "reuse", Paths(data, ""), tuple(facts["plugins"]))
        check_weights(record)
        backbone, source = config.component("backbone"), config.component("dataset")
        trained = Trained(source, facts["modality"], tuple(facts["shape"]), tuple(record["data"]["class_names"]))
        unfitted: Any = None
        if trained.modality == "image":
            from imbalance_bench.data.encode import RawPixels

            unfitted = RawPixels()
        elif trained.modality == "text" and any(state.kind == "unfitted" for state in states.values()):
            unfitted = backbone.text_encoder(facts["language"], Path(data), device)
        # What makes training fast is of no use here, or not to be had on this device.
        trainer = replace(config.component("trainer"), compile=False, graph="auto")
        around = Surroundings(Engine(trainer, device), backbone, unfitted)
        return cls(
            record,
            facts,
            trained,
            {run: Run(restored(states[f"run{run}"], around), encoders[run]) for run in wanted},
            {name: restored(states[name], around) for name in dict.fromkeys(encoders[run] for run in wanted)},
        )

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Their names, in the order of the columns of scores; none of a regression."""
        return self.trained.class_names

    def encoded(self, x: Any) -> dict[str, np.ndarray]:
        """Rows as each preprocessing makes them."""
        made = {name: fitted(x) for name, fitted in self.encoders.items()}
        for one in made.values():
            if one.dtype.kind == "f" and (bad := ~np.isfinite(one.reshape(len(one), -1)).all(axis=1)).any():
                raise BenchError(
                    f"{int(bad.sum())} rows have numbers that are too large, the first is row {bad.argmax()} (from 0)"
                )
        return made

    def scores(self, x: Any, readout: str = "last") -> dict[int, np.ndarray]:
        """Run → log-probabilities (n, C) of new rows as the source reads them, in float32 as predictions.npz has them;
        regression: predictions (n, 1)."""
        made = self.encoded(x)
        for number, run in self.runs.items():
            if readout not in run.classifier.readouts:
                known = ", ".join(run.classifier.readouts)
                raise BenchError(f"--readout {readout}: run {number} has {known}")
        return {
            number: run.classifier.scores(made[run.encoder], readout).astype(np.float32)
            for number, run in self.runs.items()
        }

    def remarks(self) -> list[str]:
        """What may make scores differ from those of the record."""
        from imbalance_bench.settings.identity import provenance

        then, now = self.record["provenance"].get("packages", {}), provenance()["packages"]
        others = [f"{name} {then[name]} (here {now[name]})" for name in now if name in then and then[name] != now[name]]
        said = [f"made with {', '.join(others)}: scores may differ"] if others else []
        if modules := origin.changed(self.record.get("code", {})):
            said.append(f"made by other code ({origin.named(modules)} changed since): scores may differ")
        plugins = self.facts["plugins"]
        if plugins and origin.plugin_code(plugins) != self.record.get("contents", {}).get("plugins"):
            said.append(f"made by other code of the plug-ins {', '.join(plugins)}: scores may differ")
        return said


def record_in(folder: Path) -> Record:
    """The record in a folder, which may have been copied. Raises BenchError where there is none that is done."""
    if not folder.is_dir():
        raise BenchError(f"{folder}: there is no such folder; give that of a record, outputs/runs/.../<id>")
    record = CellFolder(folder).record(anywhere=True)
    if record is None:
        raise BenchError(f"{folder} holds no record.json: give the folder of a finished cell, outputs/runs/.../<id>")
    if record["status"] != "done":
        raise BenchError(f"{folder} is of a cell that was {record['status']}: {record.get('reason', '')}")
    return record


def check_weights(record: Record) -> None:
    """Raises BenchError where the pretrained network of the cell is another one here."""
    model, weights = record["config"]["backbone"].get("model"), record.get("contents", {}).get("weights")
    if isinstance(model, str) and weights is not None and fingerprint(model) != weights:
        raise BenchError(
            f"backbone.model={model} has other weights than in training: put those of training there, or train again"
        )


def read(record: Record) -> tuple[dict[str, Any], dict[str, State]]:
    """The facts and states of the model beside a record; raises as ``Model.load``."""
    path = record["path"]
    if "model" not in record:
        raise BenchError(
            f"{path} holds no model, it was trained without save=true: train it again with save=true cache=overwrite "
            f"({command('train')} -cp {path} -cn config save=true cache=overwrite)"
        )
    if record["model"]["schema"] != models.SCHEMA:
        made = record["provenance"].get("packages", {}).get("imbalance_bench")
        raise BenchError(
            f"{path} has a model of schema {record['model']['schema']}, and this version of imbalance_bench reads "
            f"{models.SCHEMA}: use the version that made it ({made}), or train it again with save=true cache=overwrite"
        )
    files = {name: file_of(record, name) for name in models.FILES if name in record["files"]}
    try:
        return unpacked(files)
    except (ValueError, KeyError, TypeError) as error:
        raise Damaged(path / models.FACTS, f"is damaged ({error})", remedy(record, models.FACTS)) from error
