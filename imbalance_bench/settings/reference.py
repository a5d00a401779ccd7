"""Describes what each option takes: after ``--help`` of a chosen option, and as docs/options.md
(``python -m imbalance_bench.settings.reference > docs/options.md``)."""

from __future__ import annotations

import inspect
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from imbalance_bench.options import describe, hints, key_of, shown
from imbalance_bench.plugins import import_plugins
from imbalance_bench.registry import GROUPS
from imbalance_bench.settings.conf_files import CONF, content_of
from imbalance_bench.settings.config import REGISTRIES, TOP_LEVEL, Trainer

SHOWN = (*GROUPS, "tracker")
HEAD = """# What every option takes

Written by `make docs` from the declarations in the code; a test keeps it true. `<group>=<option>` chooses an option,
`<group>.<key>=<value>` changes one of its keys. Defaults are in `conf/<group>/<option>.yaml`, with what each key means;
`python scripts/train.py <group>=<option> --help` shows them together. nan, numbers that float32 does not hold, and
whole numbers of more than 64 bits are values of no key.
"""


def keys_help(cfg: DictConfig) -> str:
    """The keys of the groups that the command line names, each with its value and what it takes."""
    asked = {re.split("[.@]", key_of(override))[0] for override in cfg.hydra.overrides.task}
    if not asked & set(SHOWN):
        return "What the keys of an option take: add it, e.g. method=focal --help; of all options: docs/options.md\n"
    plain: Any = OmegaConf.to_container(
        OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"]), resolve=True
    )
    import_plugins(plain.get("plugins", []))
    lines = []
    for group in SHOWN:
        if group in asked and isinstance(plain.get(group), dict):
            taken = dict(_keys(group, group, plain[group]))
            width = max(map(len, taken), default=0)
            lines += [
                f"== What the keys of {group}={plain[group].get('label') or plain[group].get('name')} take ==",
                "",
            ]
            lines += [f"{key.ljust(width)}  {words}" for key, words in taken.items()] or ["It has no keys."]
            lines.append("")
    return "\n".join(lines)


def _keys(group: str, where: str, options: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Each key with its value, and what it takes; those of a component within another (method.resampler) after it."""
    cls = Trainer if group == "trainer" else REGISTRIES[group].get(options.get("name"))  # type: ignore[arg-type]
    for key, hint in hints(cls).items():
        value = options.get(key)
        if isinstance(value, dict) and "name" in value:
            yield f"{where}.{key}.name={value['name']}", describe(hint)
            yield from _keys(group, f"{where}.{key}", value)
        else:
            yield f"{where}.{key}={value if isinstance(value, str) else shown(value)}", describe(hint)


def page() -> str:
    """docs/options.md."""
    parts = [HEAD, "## Keys outside the groups\n", _table({k: describe(h) for k, h in TOP_LEVEL.items()})]
    for group in SHOWN:
        parts.append(f"## {group}\n")
        classes = {"trainer": Trainer} if group == "trainer" else {n: REGISTRIES[group].get(n) for n in _names(group)}
        options = defaultdict(list)
        for path in sorted((CONF / group).rglob("*.yaml"), key=lambda file: file.with_suffix("")):
            label = str(path.relative_to(CONF / group))[:-5]
            options[content_of(group, label).get("name", group)].append(label)
        for name, cls in classes.items():
            first = inspect.cleandoc(cls.__doc__ or "").partition("\n\n")[0].replace("\n", " ")
            parts.append(f"### {group}: {name}\n\n{first}\n\nOptions: {', '.join(options[name])}\n")
            keys = {f"{group}.{key}": describe(hint) for key, hint in hints(cls).items()}
            parts.append(_table(keys) if keys else "No keys.\n")
    return "\n".join(parts)


def _names(group: str) -> list[str]:
    """Those of this package: a user's own modules may have registered others."""
    registry = REGISTRIES[group]
    return [name for name in registry.names() if registry.get(name).__module__.startswith("imbalance_bench.")]


def _table(rows: Mapping[str, str]) -> str:
    return "\n".join(["| key | takes |", "|---|---|", *(f"| `{key}` | {words} |" for key, words in rows.items()), ""])


if __name__ == "__main__":
    print(page(), end="")
