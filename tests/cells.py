"""Cells composed from conf/ as the command line composes them, for tests."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import hydra
import pytest
from hydra.core.global_hydra import GlobalHydra
from omegaconf import open_dict

from imbalance_bench.cells import run_cell
from imbalance_bench.data.base import Dataset
from imbalance_bench.registry import DATASETS
from imbalance_bench.settings.config import GROUPS, Config, Paths, from_omegaconf
from imbalance_bench.settings.presets import PlannedCell, load_preset
from tests import records
from tests.tasks import CONF, option_of


def composed(*overrides: str) -> Any:
    """The whole configuration under overrides such as method=smote, as Hydra hands it to a job: by the loader of a
    sweep's jobs, which composes each option once (tests/test_jobs.py)."""
    from imbalance_bench.settings.conf_files import hydra_started

    loader, first = _loader()
    with hydra_started():
        config = loader.load_sweep_config(first, list(overrides))
    with open_dict(config):
        del config["hydra"]
    return config


@cache
def _loader() -> tuple[Any, Any]:
    from hydra.types import RunMode

    from imbalance_bench.settings.conf_files import hydra_started
    from imbalance_bench.sweep.jobs import JobLoader

    with hydra_started() as loader:
        return JobLoader(loader), loader.load_configuration("config", [], RunMode.RUN)


def composed_by_hydra(*overrides: str) -> Any:
    """``composed``, by nothing but Hydra."""
    from hydra import compose, initialize_config_dir

    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("config", list(overrides))


@contextmanager
def composed_once() -> Iterator[None]:
    """Within it, Hydra composes nothing twice: grids of one paper are of the same options."""
    known: dict[tuple[str, ...], bytes] = {}
    compose = hydra.compose

    def once(name: str, overrides: list[str]) -> Any:
        places = [str(place.path) for place in GlobalHydra.instance().config_loader().get_search_path().get_path()]
        key = (name, *places, *overrides)
        if key not in known:
            known[key] = pickle.dumps(compose(name, overrides))
        return pickle.loads(known[key])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hydra, "compose", once)
        yield


def by_label(axis: str, *labels: str) -> str:
    """What chooses options of a group by their labels, method=dos/k3, or values of a key, dataset.train=10."""
    return f"{axis}={','.join(option_of(axis, x) if axis in GROUPS else x for x in labels)}"


def cell(outputs: Path, *overrides: str) -> Config:
    """A small cell on the CPU, two epochs long: what a test of the runner trains."""
    quick = [f"paths.outputs={outputs}", f"paths.data={outputs / 'data'}", "trainer.epochs=2", "device=cpu"]
    return from_omegaconf(composed(*quick, *overrides))


def check(
    cell: PlannedCell,
    smoke: Callable[[PlannedCell], dict[str, Any]],
    tiny: Callable[[str], Dataset],
    outputs: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Runs ``cell`` with the options ``smoke`` of it in place of its own, on what ``tiny`` makes for its data set."""
    source, made = type(DATASETS.build(cell.config["dataset"])), tiny(cell.labels["dataset"])
    monkeypatch.setattr(source, "load", lambda self, folder: made)
    paths = Paths(data=str(outputs), outputs=str(outputs))
    outcome = run_cell(Config(smoke(cell), {"name": "none", "label": "none"}, "cpu", "reuse", paths))
    assert outcome.status == "done", outcome.message
    assert not outcome.message


def one_a_method(paper: str, name: str, methods: list[str]) -> list[PlannedCell]:
    """A cell of each of these methods (empty: of all): the first with the smallest network."""
    grid = records.preset(paper, name)
    axes = records.axes_of(paper, name)
    found: dict[str, list[str]] = {}
    for labels in [one.labels for one in grid.cells]:
        if not methods or labels["method"] in methods:
            found.setdefault(labels["method"], [by_label(axis, labels[axis]) for axis in axes])
    return [load_preset(paper, name, overrides).cells[0] for overrides in found.values()]
