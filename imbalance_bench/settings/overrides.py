"""The overrides of a command line that compose a configuration again: those of a record, for the commands that reports
advise."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from imbalance_bench.errors import BenchError, suggestion
from imbalance_bench.options import key_of
from imbalance_bench.registry import GROUPS, SEARCH
from imbalance_bench.settings.conf_files import ConfFiles, hydra_started
from imbalance_bench.settings.config import label_of, plain_of

PLAIN = re.compile(r"[A-Za-z_./][\w./-]*", re.ASCII)  # text that needs no quotes
OTHER = ("null", "true", "false", "nan", "inf")  # ... but for these, which are read as something else
FREE = 2  # levels below which an option's keys are its own: those of a mapping such as method.options


def overrides_of(
    plain: Mapping[str, Any],
    config_dir: Path | None = None,
    without: Collection[str] = (),
    groups: Sequence[str] = GROUPS,
) -> tuple[list[str], dict[str, Any]]:
    """The overrides that make ``plain`` (as of ``Config.plain``), and the configuration that they compose.

    Args:
        config_dir: the user's folder of options.
        without: keys that stay as the options have them.
        groups: those that are set; others stay as they are by default.

    Raises:
        BenchError: no option of a group, in conf/ or ``config_dir``, makes such a component.
    """
    from hydra import compose
    from omegaconf import OmegaConf

    def composed(words: Sequence[str]) -> dict[str, Any]:
        made: Any = OmegaConf.to_container(compose("config", list(words)), resolve=True)
        return made

    with hydra_started(config_dir) as loader:
        files = ConfFiles(loader)
        with files.explained():
            main = [group for group in ("method", "dataset") if group in groups]
            words = [f"{group}={_option(files, group, plain[group])}" for group in main]
            first = composed(words)
            for group in groups:
                if group not in main and first[group]["label"] != plain[group]["label"]:
                    words.append(f"{group}={_option(files, group, plain[group])}")
            found = composed(words)
            here = plain_of({group: found[group] for group in (*GROUPS, "seed")})
            wanted = {group: plain[group] for group in groups}
            changes = [change for change in _changes(here, wanted) if key_of(change) not in without]
            if plain["seed"] != here["seed"]:
                changes.append(f"seed={plain['seed']}")
            return [*words, *changes], composed([*words, *changes])


def text_of(value: Any) -> str:
    """A value as Hydra reads it on a command line."""
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{key}:{text_of(one)}' for key, one in value.items())}}}"
    if isinstance(value, (list, tuple)):
        return f"[{','.join(map(text_of, value))}]"
    if isinstance(value, str):
        return value if PLAIN.fullmatch(value) and value.lower() not in OTHER else _quoted(value)
    return json.dumps(value)


def _quoted(value: str) -> str:
    escaped = value.replace('"', '\\"').replace("${", "\\${")
    return f'"{escaped}"'


def _option(files: ConfFiles, group: str, options: Mapping[str, Any]) -> str:
    """The option of the label; else one of the component, whose keys are then set one by one."""
    known, name = files.options(group), options.get("name")
    labelled = [option for option in known if label_of(option) == options.get("label")]
    if found := labelled or [option for option in known if option == name]:
        return found[0]
    label = str(options.get("label"))
    raise BenchError(f"no option of {group} makes {label}: {suggestion(label, known)}")


def _changes(here: Mapping[str, Any], wanted: Mapping[str, Any], at: tuple[str, ...] = ()) -> Iterator[str]:
    """Overrides that turn the one configuration into the other. What a record lacks was added since, at the value that
    changes nothing; but of a mapping of the user's own."""
    for key, value in wanted.items():
        where = ".".join((*at, key))
        if key not in here:
            yield f"++{where}={text_of(value)}"
        elif isinstance(here[key], dict) and isinstance(value, dict):
            yield from _changes(here[key], value, (*at, key))
        elif here[key] != value:
            yield f"{where}={text_of(value)}"
    if len(at) >= FREE:
        yield from (f"~{'.'.join((*at, key))}" for key in here if key not in wanted)


def searched(config: Mapping[str, Any]) -> bool:
    """Whether the options of a composed configuration have a search space, as scripts/search.py takes it."""
    own = config["method"].get(SEARCH) or {}
    trains, networks = (own.get(group, ...) is not None for group in ("trainer", "backbone"))
    parts = [config["method"], *(value for value in config["method"].values() if isinstance(value, dict))]
    parts += [config["trainer"]] * trains + [config["backbone"]] * (trains and networks)
    return any(value is not None for part in parts for value in (part.get(SEARCH) or {}).values())
