"""Pretrained models of the transformers library: where they lie, what identifies them, and how they are loaded.

No code of a model's repository is run. torch and transformers are imported where a model is loaded, not before.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
from functools import cache
from pathlib import Path
from typing import Any

from imbalance_bench.errors import BenchError

WEIGHTS = re.compile(r"(model|pytorch_model)(-\d+-of-\d+)?\.(safetensors|bin)")
HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


def locate(model: str) -> Path | str:
    """The folder of a model, or its name on the hub. ``model``: a folder as ``save_pretrained`` writes it, a name on
    the hub ("google-bert/bert-base-uncased"), or "package:<name>", a Python package that carries a folder ``model``.

    Raises BenchError where the folder is incomplete or the package is not installed.
    """
    if model.startswith("package:"):
        name = model.removeprefix("package:")
        try:
            spec = importlib.util.find_spec(name)
        except (ImportError, ValueError):
            spec = None
        if spec is None or not spec.submodule_search_locations:
            raise BenchError(
                f"backbone.model={model}: the package {name} is not installed: pip install {name.replace('_', '-')} "
                "(an extra of this project: pip install -e '.[minilm]')"
            )
        folder = Path(spec.submodule_search_locations[0]) / "model"
        if not folder.is_dir():
            raise BenchError(f"backbone.model={model}: the package {name} carries no folder named model")
    elif Path(model).is_dir():
        folder = Path(model)
    elif HUB_NAME.fullmatch(model) and not model.startswith("."):
        return model
    else:
        raise BenchError(f"backbone.model={model} is neither a folder nor a name on the hub (owner/name)")
    names = [p.name for p in folder.iterdir()]
    if "config.json" not in names:
        raise BenchError(f"backbone.model={model}: {folder} has no config.json: is it a folder of save_pretrained?")
    if not any(map(WEIGHTS.fullmatch, names)):
        raise BenchError(
            f"backbone.model={model}: {folder} has no weights (model.safetensors or pytorch_model.bin): copy them there"
        )
    return folder


def fingerprint(model: str) -> str:
    """The identity of a model: its name on the hub, or the hash of the content of its folder, wherever that is."""
    found = locate(model)
    if isinstance(found, str):
        return found
    files = sorted(p for p in found.iterdir() if p.is_file())
    return _content(tuple((str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in files))


@cache
def _content(files: tuple[tuple[str, int, int], ...]) -> str:
    """16 hex digits of files; sizes and times are for the cache, which makes a sweep read a model once."""
    digest = hashlib.sha256()
    for name, size, _ in files:
        path = Path(name)
        if not (WEIGHTS.fullmatch(path.name) or path.suffix in (".json", ".txt", ".model")):
            continue  # read-me files and weights for other libraries
        digest.update(f"{path.name}:{size}:".encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]


def load(model: str, part: str, **options: Any) -> Any:
    """``part`` ("AutoModel", "AutoTokenizer", ...) of a pretrained model, from a folder, a package or the hub.

    Raises BenchError where transformers is not installed, the hub cannot be reached, or the files are damaged.
    """
    place = locate(model)
    try:
        import transformers
    except ImportError as error:
        raise BenchError(
            f"backbone.model={model} needs the transformers library: pip install -e '.[transformers]'"
        ) from error
    from huggingface_hub.utils import logging as hub

    quiet = transformers.utils.logging
    level, bars, hub_level = quiet.get_verbosity(), quiet.is_progress_bar_enabled(), hub.get_verbosity()
    quiet.set_verbosity_error()  # heads that a checkpoint has and a body has not are no news
    quiet.disable_progress_bar()
    hub.set_verbosity_error()
    try:
        return _from_pretrained(getattr(transformers, part), place, **options)
    except Exception as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        if isinstance(place, Path):
            raise BenchError(f"backbone.model={model}: {place} cannot be loaded ({part}): {reason}") from error
        raise BenchError(
            f"backbone.model={model} cannot be downloaded from the hub ({reason}): without a network, set "
            "backbone.model to a local folder that holds config.json, the tokeniser's files and model.safetensors"
        ) from error
    finally:
        quiet.set_verbosity(level)
        hub.set_verbosity(hub_level)
        if bars:
            quiet.enable_progress_bar()


def _from_pretrained(part: Any, place: Path | str, **options: Any) -> Any:
    """Loads the local copy, and asks the hub only where there is none: an unreachable hub takes a minute to fail."""
    try:
        return part.from_pretrained(str(place), trust_remote_code=False, local_files_only=True, **options)
    except OSError:
        if isinstance(place, Path):
            raise
        return part.from_pretrained(place, trust_remote_code=False, **options)
