"""Composing and starting the jobs of a sweep: as Hydra does it, in fewer compositions."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hydra._internal.callbacks import Callbacks
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobStatus, run_job, setup_globals
from hydra.errors import HydraException
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, OmegaConf

from imbalance_bench.settings.conf_files import CONF, hydra_started
from imbalance_bench.sweep.jobs import JobLoader, start_job

OF_COMMAND = ["trainer.epochs=3", "hydra.sweep.subdir=job"]


@pytest.fixture
def loader():
    with hydra_started():  # which knows of version_base
        setup_globals()
        yield ConfigLoaderImpl(create_config_search_path(str(CONF)))


def both(loader: ConfigLoaderImpl, jobs: Sequence[Sequence[str]], monkeypatch: Any) -> int:
    """Holds each job's configuration to Hydra's; how often it was composed."""
    master = loader.load_configuration("config", OF_COMMAND, RunMode.MULTIRUN)
    expected = [loader.load_sweep_config(master, list(job)) for job in jobs]
    composed: list[Any] = []
    load = ConfigLoaderImpl.load_configuration
    monkeypatch.setattr(
        ConfigLoaderImpl, "load_configuration", lambda *args, **named: composed.append(args) or load(*args, **named)
    )
    quick = JobLoader(loader)
    for job, hydras in zip(jobs, expected):
        ours = quick.load_sweep_config(master, list(job))
        assert OmegaConf.to_container(ours) == OmegaConf.to_container(hydras), job
        assert traits(ours) == traits(hydras), job
    monkeypatch.undo()
    return len(composed)


def traits(node: Any) -> Any:
    """The flags and types of a configuration and all within it."""
    own = ({k: v for k, v in (node._metadata.flags or {}).items() if v is not None}, node._metadata.ref_type)
    inner = node._content.items() if isinstance(node, DictConfig) and isinstance(node._content, dict) else ()
    assert all(child._get_parent() is node for _, child in inner)
    return own, node._metadata.object_type, {key: traits(child) for key, child in inner}


def test_jobs_that_differ_in_values_are_composed_once(loader, monkeypatch):
    values = [["method=focal", f"method.gamma={g}", f"trainer.lr={lr}"] for g, lr in product((0, 2.5), (1e-3, 0.1))]
    values += [["method=focal", "+method.own={a: 1}", "dataset={copies: together}", "~device", "seed=4"]]
    assert both(loader, values, monkeypatch) == 1


def test_jobs_take_their_nodes_from_one_composition_an_option(loader, monkeypatch):
    of_method = ("cross_entropy", "smote", "setconv", "cross_entropy/400")  # the last two have a part in the trainer
    jobs = [
        [f"dataset={data}", f"method={method}", f"ratio={ratio}"]
        for data, method, ratio in product(("ecoli", "oil"), of_method, ("native", "ir_200"))
    ]
    assert both(loader, jobs, monkeypatch) == 2 + 4 + 2 - 2 < len(jobs)


def test_options_that_have_a_part_in_one_node_are_composed_together(loader, monkeypatch):
    options = product(("focal", "cross_entropy/400"), ("adam", "setconv"))
    jobs = [[f"method={method}", f"trainer={trainer}"] for method, trainer in options]
    assert both(loader, jobs, monkeypatch) == len(jobs)


OWN = {
    "config.yaml": "defaults: [_self_, a: one, b: one, optional special: '${a}_${b}']",
    "a/one.yaml": "x: 1",
    "a/two.yaml": "x: 2",
    "b/one.yaml": "y: 1",
    "b/two.yaml": "# @package _global_\nb: {y: 2}\na: {x: 5}",
    "special/two_two.yaml": "z: 3",
}


@pytest.mark.parametrize("interpolated", [True, False])
def test_files_of_ones_own_may_depend_on_several_choices(tmp_path, loader, monkeypatch, interpolated):
    for name, text in OWN.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text if interpolated else text.replace(", optional special: '${a}_${b}'", ""))
    own = ConfigLoaderImpl(create_config_search_path(str(tmp_path)))
    monkeypatch.setattr("tests.test_jobs.OF_COMMAND", ["+c=1"])
    jobs = [[f"a={a}", f"b={b}"] for a, b in product(("one", "two"), repeat=2)]
    both(own, jobs, monkeypatch)
    master = own.load_configuration("config", [], RunMode.MULTIRUN)
    last = JobLoader(own).load_sweep_config(master, ["a=two", "b=two"])
    assert last.a.x == 5 and (last.get("special") == {"z": 3}) == interpolated


@pytest.mark.parametrize("job", [["method.nothing=1"], ["method=nothing"], ["seed=1,2"], ["method=["], ["nothing=1"]])
def test_what_hydra_refuses_is_refused_in_its_words(loader, job):
    master = loader.load_configuration("config", OF_COMMAND, RunMode.MULTIRUN)
    said = []
    for one in (loader, JobLoader(loader)):
        with pytest.raises(HydraException) as refused:
            one.load_sweep_config(master, [*job])
        said.append((type(refused.value), str(refused.value), str(refused.value.__cause__)))
    assert said[0] == said[1]


def test_hydras_own_keys_are_left_to_hydra(loader):
    master = loader.load_configuration("config", OF_COMMAND, RunMode.MULTIRUN)
    assert JobLoader(loader).load_sweep_config(master, ["hydra.job.chdir=true"]).hydra.job.chdir is True


# Starting


class Note:
    """What a callback of Hydra is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return lambda **_: self.told.append(name)


def seen_by(function: Any, loader: ConfigLoaderImpl, folder: Path, *overrides: str, notes: Sequence[Note] = ()) -> Any:
    """What the function of a job sees, and what Hydra is told of it."""
    callbacks = Callbacks()
    callbacks.callbacks = list(notes)
    own = [f"paths.outputs={folder}", "hydra.sweep.dir=${paths.outputs}/s", "method.label=a${hydra:job.num}"]
    config = loader.load_configuration("config", [*own, *overrides], RunMode.RUN)
    config.hydra.job.id, config.hydra.job.num = "train_7", 7
    seen: list[Any] = []

    def task(cfg: DictConfig) -> float:
        hydra = HydraConfig.get()
        seen.append((OmegaConf.to_container(cfg, resolve=True), OmegaConf.is_struct(cfg), Path.cwd()))
        seen.append((OmegaConf.to_container(hydra), OmegaConf.is_readonly(hydra)))
        return 1 / cfg.seed

    before = HydraConfig.instance().cfg
    returned = function(HydraContext(loader, callbacks), task, config)
    assert HydraConfig.instance().cfg is before
    return seen, returned.status, str(returned._return_value), list(returned.overrides), returned.working_dir


def hydras(context: HydraContext, task: Any, config: DictConfig) -> Any:
    names = {"job_dir_key": "hydra.sweep.dir", "job_subdir_key": "hydra.sweep.subdir"}
    return run_job(hydra_context=context, task_function=task, config=config, **names)


@pytest.mark.parametrize("overrides", [["seed=2"], ["seed=0"], ["seed=2", "hydra.job.chdir=true"]])
def test_a_job_sees_what_hydra_shows_it(loader, tmp_path, overrides):
    ours, theirs = (seen_by(function, loader, tmp_path, *overrides) for function in (start_job, hydras))
    assert ours == theirs and ours[0][0][0]["method"]["label"] == "a7"
    assert ours[1] == (JobStatus.FAILED if "seed=0" in overrides else JobStatus.COMPLETED)
    assert (tmp_path / "s/7").is_dir()


def test_callbacks_and_saved_configurations_are_hydras(loader, tmp_path):
    note = Note()
    seen_by(start_job, loader, tmp_path, "seed=2", "hydra.output_subdir=.hydra", notes=[note])
    assert note.told == ["on_job_start", "on_job_end"]
    assert (tmp_path / "s/7/.hydra/config.yaml").exists()


def test_what_is_told_of_a_job_holds_no_configuration(loader, tmp_path):
    """Of 10,000 jobs they would fill the memory."""
    for extra in ([], ["hydra.output_subdir=.hydra"]):
        config = loader.load_configuration("config", [f"paths.outputs={tmp_path}", *extra], RunMode.RUN)
        config.hydra.job.num = 1
        returned = start_job(HydraContext(loader, Callbacks()), lambda cfg: 1.0, config)
        assert returned.cfg is None and returned.hydra_cfg is None and returned.return_value == 1.0
