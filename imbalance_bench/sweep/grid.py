"""How Hydra runs the cells of a sweep: which ones, in which order, and in which processes.

``Grid`` takes the place of Hydra's own sweeper, in every configuration; launchers.py, queues.py and ray_tasks.py
have the launchers. ``register`` tells Hydra of them, and of what --help says of the options that are chosen.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf

from imbalance_bench.errors import BenchError, command, of_outputs
from imbalance_bench.options import key_of
from imbalance_bench.registry import TRACKERS
from imbalance_bench.running.tally import Tally, clock, differing
from imbalance_bench.settings.conf_files import ConfFiles
from imbalance_bench.settings.config import check_top_level
from imbalance_bench.settings.presets import check_paper, jobs_of
from imbalance_bench.sweep.costs import costs
from imbalance_bench.sweep.jobs import JobLoader
from imbalance_bench.sweep.launchers import Basic, Gpu, Processes, Together
from imbalance_bench.sweep.queues import SubmititLocal, SubmititSlurm
from imbalance_bench.sweep.ray_tasks import Ray

Plugins.instance()  # reads Hydra's own plugins, which it would otherwise do after the next line and make other classes
from hydra._internal.core_plugins import basic_sweeper  # noqa: E402

MANY = 100  # combinations whose configurations take so long to compose that it is said, and from then on each
EVERY = 10.0  # seconds


class Grid(basic_sweeper.BasicSweeper):
    """The cells of a preset's blocks, or the product of what was asked for."""

    def setup(self, *, hydra_context: HydraContext, config: DictConfig, **parts: Any) -> None:
        loader: Any = hydra_context.config_loader
        files = ConfFiles(loader, list(config.hydra.overrides.hydra), config.hydra.job.config_name)
        files.check_launcher(config.hydra.runtime.choices["hydra/launcher"], config.hydra.launcher)
        context = HydraContext(JobLoader(loader), hydra_context.callbacks)
        super().setup(hydra_context=context, config=config, **parts)

    def split_arguments(self, overrides: Any, max_batch_size: int | None) -> list[list[list[str]]]:  # type: ignore[override]
        assert self.config is not None
        check_paper(self.config, self.config.hydra.runtime.choices.get("paper", ""))
        files = self._files([o.input_line for o in overrides])
        for override in overrides:
            files.check(override)
            if override.key_or_group == "paper" and override.is_sweep_override():
                raise BenchError(f"{override.input_line}: a sweep is of one preset; run one after the other")
        paper = OmegaConf.select(self.config, "paper")
        if paper and OmegaConf.select(self.config, "hydra.sweeper.params"):
            raise BenchError(
                f"hydra.sweeper.params says what +paper={self.config.hydra.runtime.choices['paper']} runs, and the "
                "report does not read it: list the cells in paper.cells (docs/presets.md)"
            )
        jobs = jobs_of(OmegaConf.to_container(paper, resolve=True) if paper else None, overrides)
        self._compose(self._covering(jobs, files))
        if OmegaConf.select(self.config, "tracker.name") in TRACKERS.names():
            TRACKERS.build(OmegaConf.to_container(self.config.tracker, resolve=True))  # a missing package: said once
        outputs = (self.config.get("paths") or {}).get("outputs", "outputs")
        status = command("status") + of_outputs(outputs)
        known = costs(jobs, self.config.hydra.runtime.choices, Path(outputs)) if len(jobs) > 1 else []
        Tally.start(Path(self.config.hydra.sweep.dir), len(jobs), status, known, differing(jobs))
        return list(self.split_overrides_to_chunks(jobs, max_batch_size))  # type: ignore[arg-type]

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Done already, before anything was written."""

    def _covering(self, jobs: Sequence[Sequence[str]], files: ConfFiles) -> list[Sequence[str]]:
        """Some of the jobs that have, among them, every option, and every key together with each option of its group:
        what is right in these is right in all, since options of one group know nothing of another's."""
        seen: set[tuple[str, str | None]] = set()
        covering: list[Sequence[str]] = []
        for job in jobs:
            named = {key_of(override): override.partition("=")[2] for override in job}
            groups = {key: key.partition(".")[0] for key in named}
            parts = {
                (key, value if files.options(key) else named.get(groups[key]) if groups[key] != key else None)
                for key, value in named.items()
            }
            if not covering or not parts <= seen:
                covering.append(job)
                seen |= parts
        return covering

    def _compose(self, jobs: Sequence[Sequence[str]]) -> None:
        """Composes these before the first cell is trained, so that the last one's mistake is known now."""
        assert self.hydra_context is not None and self.config is not None
        start = due = time.monotonic()
        for done, overrides in enumerate(jobs):
            if len(jobs) >= MANY and (now := time.monotonic()) >= due:
                left = f", {done} so far, {clock((now - start) / done * (len(jobs) - done))} left" if done else " first"
                print(f"{len(jobs)} combinations: their settings are checked{left}", file=sys.stderr, flush=True)
                due = now + EVERY
            try:
                config = self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides))
            except HydraException as error:
                raise BenchError(self._files(overrides).explain(error)) from error
            check_top_level(config)

    def _files(self, overrides: Sequence[str]) -> ConfFiles:
        assert self.hydra_context is not None and self.config is not None
        own = list(self.config.hydra.overrides.hydra)
        return ConfFiles(self.hydra_context.config_loader, [*own, *overrides], self.config.hydra.job.config_name)


@dataclass
class GridConf(basic_sweeper.BasicSweeperConf):
    _target_: str = f"{basic_sweeper.__name__}.Grid"


@dataclass
class BasicConf:
    _target_: str = f"{basic_sweeper.__name__}.Basic"


@dataclass
class ProcessesConf:
    _target_: str = f"{basic_sweeper.__name__}.Processes"
    n_jobs: int = -1


@dataclass
class TogetherConf:
    _target_: str = f"{basic_sweeper.__name__}.Together"
    n_jobs: int = 1
    most_runs: int | None = None


@dataclass
class GpuConf:
    _target_: str = f"{basic_sweeper.__name__}.Gpu"
    slots_per_gpu: int = 1


LAUNCHERS: dict[str, Any] = {
    "basic": BasicConf,
    "processes": ProcessesConf,
    "together": TogetherConf,
    "gpu": GpuConf,
}

with suppress(ImportError):  # a launcher that is not installed is not among the options
    from hydra_plugins.hydra_submitit_launcher.config import LocalQueueConf, SlurmQueueConf

    @dataclass
    class SubmititLocalConf(LocalQueueConf):
        _target_: str = f"{basic_sweeper.__name__}.SubmititLocal"
        submitit_folder: str = "${hydra.sweep.dir}/jobs/%j"
        n_jobs: int = -1
        cells_per_job: int | None = None
        timeout_min: int = 7 * 24 * 60
        max_num_timeout: int | None = None

    @dataclass
    class SubmititSlurmConf(SlurmQueueConf):
        _target_: str = f"{basic_sweeper.__name__}.SubmititSlurm"
        submitit_folder: str = "${hydra.sweep.dir}/jobs/%j"
        cells_per_job: int | None = None
        timeout_min: int = 4 * 60
        max_num_timeout: int = 5
        cpus_per_task: int | None = 1
        array_parallelism: int = 100
        setup: list[str] | None = field(default_factory=lambda: ["export OMP_NUM_THREADS=${oc.env:OMP_NUM_THREADS,1}"])

    LAUNCHERS |= {"submitit_local": SubmititLocalConf, "submitit_slurm": SubmititSlurmConf}

with suppress(ImportError):
    from hydra_plugins.hydra_ray_launcher._config import RayConf

    @dataclass
    class OwnRayConf(RayConf):
        init: dict[str, Any] = field(
            default_factory=lambda: {"address": None, "log_to_driver": False, "logging_level": "error"}
        )
        remote: dict[str, Any] = field(default_factory=lambda: {"num_cpus": 1})

    @dataclass
    class RayLauncherConf:
        _target_: str = f"{basic_sweeper.__name__}.Ray"
        ray: OwnRayConf = field(default_factory=OwnRayConf)
        cells_per_job: int | None = None

    LAUNCHERS["ray"] = RayLauncherConf


def register() -> None:
    """Tells Hydra of the sweeper and the launchers, which it takes from modules of its own name only, and of what
    --help adds."""
    for plugin in (Grid, Basic, Processes, Together, Gpu, SubmititLocal, SubmititSlurm, Ray):
        plugin.__module__ = basic_sweeper.__name__
        setattr(basic_sweeper, plugin.__name__, plugin)
        Plugins.instance().register(plugin)
    store = ConfigStore.instance().store
    store(group="hydra/sweeper", name="basic", node=GridConf, provider="imbalance_bench")
    for name, node in LAUNCHERS.items():
        store(group="hydra/launcher", name=name, node=node, provider="imbalance_bench")
    OmegaConf.register_new_resolver("keys_of_options", _keys_of_options, replace=True)


def _keys_of_options(*, _root_: DictConfig) -> str:
    from imbalance_bench.settings.reference import keys_help

    return keys_help(_root_)
