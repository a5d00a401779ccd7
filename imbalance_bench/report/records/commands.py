"""Commands that go on from a record: with its data, options, plug-ins and folders, as far as the record tells them."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imbalance_bench.errors import command
from imbalance_bench.registry import GROUPS
from imbalance_bench.settings.config import PATHS
from imbalance_bench.settings.overrides import overrides_of, text_of
from imbalance_bench.settings.presets import read_yaml
from imbalance_bench.store import Record, Store

if TYPE_CHECKING:
    from imbalance_bench.report.records.collected import Source

OUTSIDE = ("cost", "calibration", "plugins")  # keys outside the groups, which numbers depend on


def command_on(
    verb: str,
    record: Record,
    store: Source,
    config_dir: Path | None = None,
    without: Collection[str] = (),
    groups: Sequence[str] = GROUPS,
    more: Sequence[str] = (),
    several: bool = False,
) -> tuple[str, dict[str, Any]]:
    """A command line for the cell of a record, and the configuration that it composes, but for ``more`` words.

    Args:
        config_dir: of the user's own options; None: that of the command which made the record, where it is there.
        without, groups: as of ``overrides_of``.
        several: ``more`` has several values of a word, a cell each.

    Raises:
        BenchError: an option of the record is in no folder that is known.
    """
    saved, config_dir = _saved(record), config_dir or _config_dir(record)
    words, config = overrides_of(_with_paths(record["config"], saved), config_dir, without, groups)
    said = saved | {key: record[key] for key in OUTSIDE if key in record}
    words += [f"{key}={text_of(said[key])}" for key in OUTSIDE if key in said and said[key] != config[key]]
    paths = {"data": saved.get("paths", {}).get("data")}
    if isinstance(store, Store):
        paths["outputs"] = str(store.runs.parent)
    for key, path in paths.items():
        if path and Path(path).absolute() != Path(config["paths"][key]).absolute() and Path(path).exists():
            words.append(f"paths.{key}={text_of(path)}")
    options = ["-m"] * several + (["--config-dir", str(config_dir)] if config_dir else [])
    return f"{command(verb)} {shlex.join([*options, *words, *more])}", config


def _saved(record: Record) -> dict[str, Any]:
    """The config.yaml beside a record; empty where there is none, as of collected records."""
    with suppress(OSError, ValueError):
        found = read_yaml(Path(record["path"]) / "config.yaml")
        return found if isinstance(found, dict) else {}
    return {}


def _config_dir(record: Record) -> Path | None:
    """The --config-dir of the command that made a record, where there is such a folder."""
    with suppress(ValueError):
        words = shlex.split(str(record["provenance"].get("command", "")))
        for word, after in zip(words, [*words[1:], ""]):
            name = after if word in ("--config-dir", "-cd") else word.partition("--config-dir=")[2]
            if name and Path(name).is_dir():
                return Path(name)
    return None


def _with_paths(config: Mapping[str, Any], saved: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration with whole paths, as config.yaml has them, where those that were given lead nowhere here."""
    whole = dict(config)
    for group, key in PATHS.items():
        path, other = config[group].get(key), saved.get(group, {}).get(key)
        if path and other and not Path(str(path)).expanduser().exists():
            whole[group] = config[group] | {key: other}
    return whole
