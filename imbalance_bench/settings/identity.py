"""Identity of a result, a hash of what determines it; and its provenance."""

from __future__ import annotations

import hashlib
import json
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from imbalance_bench import metrics, origin
from imbalance_bench.plugins import look_beside_the_user
from imbalance_bench.pretrained import fingerprint
from imbalance_bench.registry import DATASETS, GROUPS, NEUTRAL
from imbalance_bench.settings.config import REGISTRIES
from imbalance_bench.store import SCHEMA

# Keys that move no result beyond rounding, or that say where and not what.
NOT_IDENTITY = {
    "trainer": {"backend", "runs_together", "channels_last", "compile", "deterministic", "graph"},
    "dataset": {"path"},
    "backbone": {"model", "batch_tokens"},
}


def cell_id(plain: dict[str, Any], plugins: Sequence[str] = ()) -> str:
    """12 hex digits of what determines a cell's result: not its labels, paths, device, tracker or order of keys."""
    content: dict[str, Any] = {"schema": SCHEMA, "seed": plain["seed"]}
    for group in GROUPS:
        neutral = NEUTRAL.get(group, {})
        skip = {"label"} | NOT_IDENTITY.get(group, set()) | {k for k, v in neutral.items() if plain[group].get(k) == v}
        content[group] = {k: _unlabelled(v) for k, v in plain[group].items() if k not in skip}
    if plain["backbone"].get("name") == "none":  # no network is trained: of the trainer this alone plays a part
        content["trainer"] = {"rows": plain["trainer"].get("rows")}
    return digest(content | contents(plain, plugins))


def contents(plain: dict[str, Any], plugins: Sequence[str] = ()) -> dict[str, Any]:
    """Content that determines a result besides the values of options: the user's own files, model weights, plug-ins,
    and the modules of estimators of the user's own."""
    found: dict[str, Any] = {}
    plugins = [plugin for plugin in plugins if not _only_scores(plugin)]
    if "path" in plain["dataset"] or plugins:  # a plug-in's data set may have any key
        found["fingerprint"] = DATASETS.build(plain["dataset"]).fingerprint()
    model = plain["backbone"].get("model")
    if isinstance(model, str) and model:  # anything else is refused when the backbone is built
        found["weights"] = fingerprint(model)
    own = [module for module in _estimators(plain["method"]) if _of_the_user(module)]
    if plugins or own:
        found["plugins"] = origin.plugin_code([*plugins, *own])
    return found


def _estimators(options: Mapping[str, Any]) -> Iterator[str]:
    """The modules of the estimators that a method's options, or those of a component within it, name."""
    for key, value in options.items():
        if isinstance(value, Mapping):
            yield from _estimators(value)
        elif key == "estimator" and isinstance(value, str) and "." in value:
            yield value.rpartition(".")[0]


def _of_the_user(module: str) -> bool:
    look_beside_the_user(module)
    return origin.of_the_user(module)


def _only_scores(plugin: str) -> bool:
    """Whether a plug-in (imported) has metrics and no component, in itself and in what it imports of the user's own: it
    scores results and determines none."""
    own = {function.__module__ for function in metrics.METRICS.values()}
    if not own:
        return False
    behind = origin.plugin_code([plugin]).keys()
    components = {cls.__module__ for registry in REGISTRIES.values() for cls in registry.registered()}
    return not behind.isdisjoint(own) and behind.isdisjoint(components)


def code(plain: dict[str, Any]) -> dict[str, str]:
    """Module → hash of its file, for the modules of the package that the components of a cell and the engine use."""
    modules = {"imbalance_bench.engine", "imbalance_bench.data.tasks"}
    for group, registry in REGISTRIES.items():
        options = plain.get(group, {})  # the tracker, which has no part in a result, is not in it
        parts = [options, *(value for value in options.values() if isinstance(value, dict))]
        modules |= {registry.get(part["name"]).__module__ for part in parts if part.get("name") in registry.names()}
    return dict(_package_code(tuple(sorted(modules))))


@cache
def _package_code(modules: tuple[str, ...]) -> dict[str, str]:
    """As it was when this process first asked: what is edited later is not what it has imported."""
    return origin.package_code(modules)


def _unlabelled(value: Any) -> Any:
    """A component within another (method.resampler) without its label; other values as they are."""
    if isinstance(value, dict) and "name" in value:
        return {k: v for k, v in value.items() if k != "label"}
    return value


def digest(content: Any) -> str:
    """12 hex digits of a JSON value; 1 and 1.0 count as equal, since YAML writers do not tell them apart."""
    text = json.dumps(_numbers(content), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _numbers(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_numbers(v) for v in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


@cache
def provenance() -> dict[str, Any]:
    """Versions, git state and machine of this process."""
    packages: dict[str, str | None] = {}
    for name in ("torch", "numpy", "scikit-learn", "imbalanced-learn", "hydra-core", "imbalance_bench"):
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            packages[name] = None
    return {
        "python": platform.python_version(),
        "packages": packages,
        "git": _git(),
        "hardware": _processor(),
        "platform": f"{platform.system()} {platform.machine()}",
        "command": f"{Path(sys.argv[0]).name} {shlex.join(sys.argv[1:])}".rstrip(),
    }


def now() -> str:
    """The time as records have it: ISO 8601 in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _git() -> str | None:
    """The commit, "-dirty" where files differ from it or are in no commit."""

    def said(*command: str) -> str:
        here = Path(__file__).parent
        done = subprocess.run(["git", *command], cwd=here, capture_output=True, text=True, timeout=5, check=True)
        return done.stdout.strip()

    try:
        head = said("describe", "--always")
        return f"{head}-dirty" if said("status", "--porcelain") else head
    except (OSError, subprocess.SubprocessError):
        return None


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
