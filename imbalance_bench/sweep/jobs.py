"""What Hydra does for each job of a sweep, at a tenth of the time: composing its configuration and starting it.

Both lean on Hydra's own code wherever something is out of the ordinary.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.utils import JobReturn, JobStatus, configure_log, run_job
from hydra.errors import ConfigCompositionException, HydraException
from hydra.types import HydraContext, RunMode, TaskFunction
from omegaconf import DictConfig, OmegaConf, flag_override, open_dict
from omegaconf.errors import OmegaConfBaseException

MOST = 1000  # compositions that are kept: 15 MB
DIR, SUBDIR = "hydra.sweep.dir", "hydra.sweep.subdir"


@dataclass
class Composed:
    """A configuration as Hydra composes it for the options of a job, before the job's values. ``files``: those that
    each of its nodes is made of, in their order; None where a defaults list depends on several choices."""

    pickled: bytes
    files: dict[str, tuple[tuple[str | None, str | None], ...]] | None

    def copy(self) -> DictConfig:
        """A configuration of one's own: several times as fast as by deepcopy."""
        config: DictConfig = pickle.loads(self.pickled)
        return config


class JobLoader(ConfigLoaderImpl):
    """Hydra's loader for the jobs of one sweep. Jobs that differ in values alone are composed once; of those that
    choose other options, each option is composed once, and a job takes its nodes from there."""

    def __init__(self, loader: ConfigLoaderImpl) -> None:
        vars(self).update(vars(loader))
        self._known: dict[tuple[str, ...], Composed] = {}
        self._first: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._groups: dict[str, bool] = {}
        self._files: dict[str, tuple[tuple[str | None, str | None], ...]] | None = None

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        overrides = [_parsed(line) for line in sweep_overrides]
        self.validate_sweep_overrides_legal(overrides, RunMode.RUN, from_shell=True)
        own = tuple(OmegaConf.to_container(master_config.hydra.overrides.hydra))  # type: ignore[arg-type]
        name = master_config.hydra.job.config_name
        if any(override.is_hydra_override() for override in overrides):
            return super().load_sweep_config(master_config, sweep_overrides)
        chosen: list[Override] = []
        values: list[Override] = []
        for override in overrides:
            (chosen if self._chooses(override, name, own) else values).append(override)
        config = self._composed(name, own, chosen)
        try:
            self._apply_overrides_to_config(values, config)
            job = config.hydra.job
            config.hydra.overrides.task = list(sweep_overrides)
            named = job.config.override_dirname
            job.override_dirname = get_overrides_dirname(overrides, named.exclude_keys, named.item_sep, named.kv_sep)
        except OmegaConfBaseException as error:
            raise ConfigCompositionException().with_traceback(error.__traceback__) from error
        OmegaConf.copy_cache(from_config=master_config, to_config=config)
        return config

    def _chooses(self, override: Override, name: str | None, own: Sequence[str]) -> bool:
        """Whether Hydra takes it for the choice of an option, not for a value."""
        group = override.key_or_group
        if group not in self._groups:
            _, repository = self._parse_overrides_and_create_caching_repo(name, list(own))
            self._groups[group] = repository.group_exists(group)
        return self._groups[group] and not isinstance(override.value(), dict)

    def _composed(self, name: str | None, own: tuple[str, ...], chosen: Sequence[Override]) -> DictConfig:
        """The configuration with these options."""
        lines = tuple(override.input_line or "" for override in chosen)
        if lines in self._known:
            return self._known[lines].copy()
        first = self._first.setdefault(tuple(override.get_key_element() for override in chosen), lines)
        other = [i for i, (line, before) in enumerate(zip(lines, first)) if line != before]
        if len(other) > 1:
            try:
                parts = [self._once(name, own, first[:i] + lines[i : i + 1] + first[i + 1 :]) for i in other]
                if (config := put_together(self._once(name, own, first), parts)) is not None:
                    return config
            except HydraException:  # which only these options together are free of
                pass
        return self._once(name, own, lines).copy()

    def _once(self, name: str | None, own: tuple[str, ...], lines: tuple[str, ...]) -> Composed:
        if lines not in self._known:
            config = self.load_configuration(name, [*own, *lines], RunMode.RUN)
            if len(self._known) >= MOST:
                del self._known[next(iter(self._known))]
            self._known[lines] = Composed(pickle.dumps(config), self._files)
        return self._known[lines]

    def _compose_config_from_defaults_list(self, defaults: Any, repo: Any) -> DictConfig:
        """Hydra's, which also keeps what each node is made of."""
        made_of: dict[str, list[tuple[str | None, str | None]]] = {}
        for default in defaults:
            config = self._load_single_config(default, repo).config
            for key in config.keys() if isinstance(config, DictConfig) else ():
                made_of.setdefault(str(key), []).append((default.config_path, default.package))
        lists = [loaded.defaults_list or () for loaded in repo.cache.values() if loaded is not None]
        depends = any("${" in str(value) for one in lists for entry in one for value in vars(entry).values())
        self._files = None if depends else {key: tuple(files) for key, files in made_of.items()}
        return super()._compose_config_from_defaults_list(defaults, repo)


@lru_cache(maxsize=4096)
def _parsed(line: str) -> Override:
    (override,) = OverridesParser.create().parse_overrides([line])
    return override


def put_together(first: Composed, parts: Sequence[Composed]) -> DictConfig | None:
    """The configuration of all the options in which each of ``parts`` differs from ``first``. Hydra merges files node
    by node, so a node that one of these options alone has a part in is the same without the others. None where two have
    a part in one node, or in the choice of one group."""
    config = first.copy()
    before = dict(config.hydra.runtime.choices)
    choices = dict(before)
    taken: set[str] = set()
    for part in parts:
        if first.files is None or part.files is None:
            return None
        other = part.copy()
        chosen = dict(other.hydra.runtime.choices)
        nodes = {key for key in first.files | part.files if first.files.get(key) != part.files.get(key)}
        groups = {key for key in before | chosen if before.get(key, ...) != chosen.get(key, ...)}
        mine = nodes | {f"choice of {group}" for group in groups}
        if "hydra" in nodes or taken & mine:
            return None
        taken |= mine
        with flag_override(config, ["struct", "no_deepcopy_set_nodes"], [False, True]):
            for key in nodes:
                config.pop(key, None)
                if key in part.files:
                    config[key] = other._get_node(key)
        choices = {key: value for key, value in choices.items() if key not in groups}
        choices |= {key: value for key, value in chosen.items() if key in groups}
    with open_dict(config.hydra):
        config.hydra.runtime.choices = choices
    return config


def start_job(context: HydraContext, task: TaskFunction, config: DictConfig) -> JobReturn:
    """Hydra's ``run_job``, without the copies of the configuration that a job needs only where something else looks at
    it; and what it returns has none, lest a long sweep keep them all."""
    hydra = config.hydra
    if context.callbacks.callbacks or hydra.output_subdir is not None or hydra.job.chdir or hydra.job.env_set:
        returned = run_job(
            hydra_context=context, task_function=task, config=config, job_dir_key=DIR, job_subdir_key=SUBDIR
        )
        returned.cfg = returned.hydra_cfg = None
        return returned
    with current(config):
        folder = Path(str(OmegaConf.select(config, DIR)), str(OmegaConf.select(config, SUBDIR))).absolute()
        with open_dict(hydra.runtime):
            hydra.runtime.output_dir = str(folder)
        own = without_hydra(config)
        OmegaConf.set_readonly(hydra, True)
        folder.mkdir(parents=True, exist_ok=True)
        configure_log(hydra.job_logging, hydra.verbose)
        overrides: Any = OmegaConf.to_container(hydra.overrides.task)
        returned = JobReturn(overrides=overrides, working_dir=str(Path.cwd()))
        try:
            returned.return_value = task(own)
            returned.status = JobStatus.COMPLETED
        except Exception as error:
            returned.return_value = error
            returned.status = JobStatus.FAILED
        return returned


@contextmanager
def current(config: DictConfig) -> Iterator[None]:
    """Within it, this is the configuration that ``HydraConfig`` and interpolations of the form ${hydra:...} mean."""
    instance = HydraConfig.instance()
    before, instance.cfg = instance.cfg, config  # type: ignore[assignment]
    try:
        yield
    finally:
        instance.cfg = before


def without_hydra(config: DictConfig) -> DictConfig:
    """A job's configuration as its function gets it. Its nodes are not copied: a job has its own."""
    own = OmegaConf.create({})
    with flag_override(own, "no_deepcopy_set_nodes", True):
        for key in config:
            if key != "hydra":
                own[key] = config._get_node(key)
    OmegaConf.set_struct(own, OmegaConf.is_struct(config))
    return own
