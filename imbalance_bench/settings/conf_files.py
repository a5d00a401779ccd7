"""The files of conf/ and of the user's own folders, as Hydra finds them: which options and keys there are, and what a
mistyped one may have meant."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imbalance_bench.errors import BenchError, command, suggestion

if TYPE_CHECKING:
    from hydra._internal.config_repository import CachingConfigRepository
    from hydra.core.config_loader import ConfigLoader
    from hydra.core.config_search_path import ConfigSearchPath
    from hydra.core.override_parser.types import Override

_HERE = Path(__file__).resolve().parents[1]
# Beside the package in a checkout, within it where it is installed.
CONF = next((place for place in (_HERE / "conf", _HERE.parent / "conf") if place.is_dir()), _HERE / "conf")
# Launchers that are plug-ins of Hydra, and what installs each: extras of this project, or a package.
PLUGINS = {
    "submitit_local": "-c constraints.txt -e '.[sweep]'",
    "submitit_slurm": "-c constraints.txt -e '.[sweep]'",
    "ray": "-c constraints.txt -e '.[ray]'",
    "joblib": "hydra-joblib-launcher",
}
SHOWN = 6  # options in a message
KINDS = {"Integer": "a whole number", "Float": "a number", "Boolean": "true or false"}  # as OmegaConf calls them


class ConfFiles:
    """The files that Hydra finds with a primary config and the overrides of a command; overrides of Hydra's own keys
    may add folders (hydra.searchpath)."""

    def __init__(self, loader: ConfigLoader, overrides: Sequence[str] = (), name: str = "config") -> None:
        self.loader, self.overrides, self.name = loader, list(overrides), name
        self._own = [o for o in self.overrides if o.startswith("hydra.searchpath=")]
        self._known: dict[str, list[str]] = {}

    @classmethod
    def of_command(cls) -> ConfFiles:
        """Those of scripts/train.py as it was called, which Hydra has forgotten when it raises an error."""
        from hydra._internal.config_loader_impl import ConfigLoaderImpl
        from hydra._internal.utils import create_config_search_path, get_args_parser

        given = get_args_parser().parse_args()
        places = create_config_search_path(given.config_path or str(CONF))
        if given.config_dir:
            _add(given.config_dir, places)
        return cls(ConfigLoaderImpl(places), given.overrides, given.config_name or "config")

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Within it, what Hydra and OmegaConf say against the overrides is a BenchError with ``explain``'s message."""
        from hydra.errors import HydraException
        from omegaconf.errors import OmegaConfBaseException

        try:
            yield
        except (HydraException, OmegaConfBaseException) as error:
            raise BenchError(self.explain(error)) from error

    def parsed(self, overrides: Sequence[str]) -> list[Override]:
        """Overrides as Hydra reads them; each option checked (``check``)."""
        from hydra.core.override_parser.overrides_parser import OverridesParser

        made = OverridesParser.create(config_loader=self.loader).parse_overrides(list(overrides))
        for override in made:
            self.check(override)
        return made

    def check(self, override: Override) -> None:
        """Raises BenchError for an option that no file of its group has, and for a glob that matches none: before a
        sweep composes anything, since its last cell may be the one that is mistyped."""
        if override.is_delete():
            return
        group = override.key_or_group
        swept = override.is_discrete_sweep()
        values = list(override.sweep_iterator()) if swept else [override.value()]
        known = self.options(group)
        if not values:
            pattern = (override.input_line or "").partition("=")[2]
            near = suggestion(re.sub(r"glob\(|[^\w/-]", "", pattern), known)
            raise BenchError(f"{group}={pattern} matches no option of {group}: {near}")
        for value in values if known else ():
            if value is None:
                raise BenchError(f"{group}=null chooses no option of {group}: {suggestion('', known)}")
            if isinstance(value, (str, int)) and str(value) not in known:
                raise BenchError(self._unknown_option(group, str(value)))

    def check_launcher(self, launcher: str, options: Iterable[str]) -> None:
        """Raises BenchError for an option that other launchers have. One that none has may be of its queue's."""
        for option in options:
            having = self._launchers_with(option)
            if having and launcher not in having:
                raise BenchError(self._not_of_launcher(option, launcher))

    def _launchers_with(self, option: str) -> list[str]:
        group = "hydra/launcher"
        return [name for name in self.options(group) if option in self._keys(f"{group}/{name}")]

    def _keys(self, path: str) -> list[str]:
        """The keys of one of the files."""
        loaded = self._places.load_config(path)
        return [str(key) for key in loaded.config] if loaded else []

    def _not_of_launcher(self, option: str, launcher: str) -> str:
        if not (having := self._launchers_with(option)):
            known = self._keys(f"hydra/launcher/{launcher}")
            return f"unknown key hydra.launcher.{option}: {suggestion(option, set(known) - {'_target_'})}"
        having.sort(key=lambda name: name != "processes")  # which needs nothing more
        verb = "add" if launcher == "basic" else "choose"
        others = f" (or {', '.join(having[1:])})" if having[1:] else ""
        return f"hydra/launcher={launcher} has no {option}: {verb} hydra/launcher={having[0]}{others}"

    def options(self, group: str) -> list[str]:
        """All options of a group, of whichever folder; those in a folder of the group are named folder/option."""
        if group not in self._known:
            self._known[group] = sorted(self._options(group))
        return self._known[group]

    def _options(self, group: str) -> Iterator[str]:
        from hydra.core.object_type import ObjectType

        yield from self._places.get_group_options(group, ObjectType.CONFIG)
        for folder in self._places.get_group_options(group, ObjectType.GROUP):
            yield from (f"{folder}/{option}" for option in self._options(f"{group}/{folder}"))

    @cached_property
    def _places(self) -> CachingConfigRepository:
        """What the loader's ``get_group_options`` makes at each call: a second for the folders of conf/method."""
        loader: Any = self.loader
        places: CachingConfigRepository = loader._parse_overrides_and_create_caching_repo(self.name, self._own)[1]
        return places

    def explain(self, error: BaseException) -> str:
        """The message of an error that Hydra raised for the overrides; for an unknown option or key, with
        the nearest names."""
        from hydra.errors import MissingConfigException, OverrideParseException

        text = str(error)
        if isinstance(error, OverrideParseException):
            return text + self._quoted(error.override)
        if isinstance(error, MissingConfigException):
            for override in self.overrides:
                group, _, option = override.lstrip("+").partition("=")
                if error.missing_cfg_file == f"{group}/{option}":
                    return self._unknown_option(group, option)
        if re.search(r"In 'paper/.+': Could not override '.+@paper", text):
            return f"{text}\n  a preset begins with the line `# @package _global_`"
        cause = str(error.__cause__ or "")
        if of_launcher := re.search(
            r"Could not override 'hydra\.launcher\.(\w+)|argument '(\w+)'\"\)\s+full_key: hydra\.launcher", text
        ):
            launcher = self._composed().hydra.runtime.choices["hydra/launcher"]
            return self._not_of_launcher(of_launcher[1] or of_launcher[2], launcher)
        if merging := re.fullmatch(r"Error merging override (.+)", text, re.S):
            kind = re.search(r"could not be converted to (\w+)", cause)
            if kind and kind[1] in KINDS:
                return f"{merging[1]} must be {KINDS[kind[1]]}"
            return f"{text}: {cause.partition(chr(10))[0]}"
        match = re.search(
            r"Key '(\w+)' (?:is not in struct|not in '\w+')\s+full_key: ([\w.]+)", f"{text} {error.__cause__ or ''}"
        )
        return self._unknown_key(match[1], match[2]) if match else text

    @staticmethod
    def _quoted(override: str) -> str:
        """Advice about an override that Hydra's grammar does not take, where quotes make it one that it takes: a name
        with an umlaut, say."""
        from hydra.core.override_parser.overrides_parser import OverridesParser
        from hydra.errors import HydraException

        key, _, value = override.partition("=")
        if not value:
            return ""
        start, names, end = re.fullmatch(r"(\[?)(.*?)(\]?)", value, re.S).groups()  # type: ignore[union-attr]
        quoted = f"{key}={start}{','.join(map(_in_quotes, names.split(',')))}{end}"
        try:
            OverridesParser.create().parse_overrides([quoted])
        except HydraException:
            return ""
        return f"\n  quotes within quotes keep it as it stands: {shlex.quote(quoted)}"

    def _unknown_option(self, group: str, option: str) -> str:
        paper, _, name = option.rpartition("/")
        if (group, name) == ("paper", "claims"):
            return (
                f"+paper={option} is not a grid of cells: name a table or a figure ({command('train')} --help lists "
                f"them); claims are tested by {command('report')} --paper {paper}"
            )
        if group == "hydra/launcher" and option in PLUGINS:
            return (
                f"{group}={option} is a plug-in that is not installed: pip install {PLUGINS[option]}; or use "
                f"{group}=processes, which needs none"
            )
        known = self.options(group)
        text = f"unknown {group}={option}: {suggestion(option, known)}"
        if group == "ratio" and (ratio := re.fullmatch(r"ir_(\d+(\.\d+)?)", option)):
            text += f" Any other ratio is an option's r: ratio=ir_20 ratio.r={ratio[1]}"
        if text.endswith(" more"):
            text += f" ({command('train')} --help lists all)"
        folder = next((e.path for e in self.loader.get_search_path().get_path() if e.provider == "command-line"), None)
        plugins = any(override.lstrip("+").startswith("plugins=") for override in self.overrides)
        strange = "known: " in text or not {option.partition("/")[0], ""} & {o.rpartition("/")[0] for o in known}
        if folder is not None and (plugins or strange):
            place = os.path.relpath(str(folder).removeprefix("file://"))
            return f"{text}\n  one of your own: there is no {place}/{group}/{option}.yaml"
        if plugins or strange:
            return f"{text}\n  one of your own is {group}/{option}.yaml in the folder that --config-dir names"
        return text

    def _unknown_key(self, key: str, full: str) -> str:
        group = full.rpartition(".")[0]
        option, keys = self._chosen(group)
        having = [o for o in self.options(group) if key in keys_of(group, o)] if option else []
        if having:
            some = ", ".join(having[:SHOWN]) + (f" and {len(having) - SHOWN} more" if len(having) > SHOWN else "")
            return f"unknown key {full}: {group}={option} has none; add {group}=<option>, one of {some}"
        return f"unknown key {full}: {suggestion(key, keys)}"

    def _chosen(self, group: str) -> tuple[str | None, list[str]]:
        """The option of a group, and its keys; for "": None, and the keys of the top level."""
        from omegaconf import OmegaConf

        cfg = self._composed()
        if not group:
            return None, [str(k) for k in cfg if k != "hydra"] + [f"paths.{k}" for k in cfg.get("paths") or {}]
        node = OmegaConf.select(cfg, group)
        keys = [str(k) for k in node if k not in ("name", "label", "search")] if OmegaConf.is_dict(node) else []
        return cfg.hydra.runtime.choices.get(group), keys

    def _composed(self) -> Any:
        """The configuration with the options that the overrides choose, and without their values."""
        from hydra.types import RunMode

        # What chooses options; other errors are reported once this is fixed.
        choices = []
        for override in self.overrides:
            key, _, value = override.partition("=")
            if value in self.options(key.lstrip("+")):
                choices.append(override)
        return self.loader.load_configuration(self.name, [*self._own, *choices], RunMode.RUN)


@contextmanager
def hydra_started(config_dir: Path | None = None) -> Iterator[ConfigLoader]:
    """Within it, hydra.compose() finds conf/ and, before it, the user's own folder, as scripts/train.py does."""
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    with initialize_config_dir(str(CONF), version_base="1.3"):
        loader: Any = GlobalHydra.instance().config_loader()
        if config_dir:
            _add(config_dir, loader.config_search_path)
            loader.repository.initialize_sources(loader.config_search_path)
        yield loader


def _add(config_dir: Path | str, places: ConfigSearchPath) -> None:
    """Puts the folder of --config-dir before conf/, where Hydra puts it."""
    from hydra.core.config_search_path import SearchPathQuery

    places.prepend("command-line", f"file://{Path(config_dir).absolute()}", SearchPathQuery(provider="schema"))


def own_folder(name: str | Path | None, said: str = "--config-dir") -> Path | None:
    """The folder of --config-dir, or of the argument ``said``."""
    if name is not None and not (isinstance(name, str | Path) and Path(name).is_dir()):
        raise BenchError(f"{said}={name} is no folder")
    return Path(name) if name else None


def search_defaults() -> dict[str, Any]:
    """The keys of scripts/search.py."""
    return _read(CONF / "search.yaml")


def _in_quotes(name: str) -> str:
    name = name.strip()
    return f'"{name}"' if name.isprintable() and not re.search(r"[\"'\\{}]", name) else name


def keys_of(group: str, option: str) -> set[str]:
    """The keys of an option of conf/ and of what it is based on."""
    return set(content_of(group, option)) - {"name", "label", "search", group}


def content_of(group: str, option: str) -> dict[str, Any]:
    """What the file of an option of conf/ says, and those that it is based on; a base that is put elsewhere is a
    component within this one."""
    path = CONF / group / f"{option}.yaml"
    content = _read(path) if path.exists() else {}
    content |= content.get(group) or {}  # options that set more than their own group
    found: dict[str, Any] = {}
    for base, _, place in (b.partition("@") for b in content.get("defaults", []) if isinstance(b, str)):
        if base[0] not in "_/":
            within = content_of(group, base)
            found |= within if place in ("", group) else {place: within}
    return _merged(found, {key: value for key, value in content.items() if key != "defaults"})


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """``base`` with the keys of ``over``, those of nodes too, as Hydra merges them."""
    both = {key: _merged(base[key], value) for key, value in over.items() if _nodes(base.get(key), value)}
    return base | over | both


def _nodes(one: Any, two: Any) -> bool:
    return isinstance(one, dict) and isinstance(two, dict)


def _read(path: Path) -> dict[str, Any]:
    """A YAML file as Hydra reads it: 1e-3 is a number, which PyYAML alone takes for text."""
    import yaml

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
        pass

    exponent = re.compile(r"[-+]?\d[\d_]*(\.[\d_]*)?[eE][-+]?\d+")
    Loader.add_implicit_resolver("tag:yaml.org,2002:float", exponent, list("-+0123456789"))
    return yaml.load(path.read_text(), Loader) or {}
