"""The cells of a preset, without training anything: what the report compares the store with. Imports no torch.

An option of one group never changes another group, but for methods that are trained in another way
(``method=cross_entropy/400`` sets trainer.epochs). So one composition an option is enough: a cell takes its dataset,
ratio, backbone, ... from the composition with that option, and everything else from that of its method; only what a
method changes is composed with each option.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from imbalance_bench.errors import BenchError, suggestion
from imbalance_bench.options import key_of
from imbalance_bench.plugins import import_plugins
from imbalance_bench.settings.conf_files import CONF, ConfFiles, content_of, hydra_started
from imbalance_bench.settings.config import label_of, labels_of, plain_of
from imbalance_bench.settings.identity import cell_id

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override


@dataclass(frozen=True)
class PlannedCell:
    """One cell of a grid: ``labels`` and ``config`` as in record.json, and its id."""

    labels: dict[str, str]
    config: dict[str, Any]
    id: str


@dataclass(frozen=True)
class Preset:
    """conf/paper/<paper>/<name>.yaml: ``paper`` is its ``paper:`` node, ``cells`` its grid."""

    paper: dict[str, Any]
    cells: list[PlannedCell]


def papers(own: Path | None = None) -> list[str]:
    """The papers that have presets, in conf/ or in the user's own folder."""
    return sorted({path.parent.name for place in _places(own) for path in place.glob("*/*.yaml")})


def presets(paper: str, kind: str = "", own: Path | None = None) -> list[str]:
    """The presets of a paper by name, e.g. table1; those that make a table, or a figure, where ``kind`` says so."""
    nodes = _nodes(paper, own)
    if not nodes:
        raise BenchError(f"unknown paper {paper}: {suggestion(paper, papers(own))}")
    return sorted(name for name, node in nodes.items() if not kind or kind in node)


def title_of(paper: str, own: Path | None = None) -> str:
    """Explicit Gradient, DOS: what the titles of a paper's tables begin with."""
    titles = [node["title"] for _, node in sorted(_nodes(paper, own).items()) if "table" in node and "title" in node]
    return str(titles[0]).partition(",")[0] if titles else paper


def node_of(paper: str, name: str, own: Path | None = None) -> dict[str, Any]:
    """The ``paper:`` node of a preset, ``cells`` too, read off its files: composing the grid takes seconds."""
    if own and (own / "paper" / paper / f"{name}.yaml").is_file():
        return dict(_nodes(paper, own)[name])
    return dict(content_of("paper", f"{paper}/{name}")["paper"])


def labels_named(paper: str, name: str, own: Path | None = None) -> dict[str, set[str]]:
    """Axis → the labels that a preset's cells have on it, as its files say: of its blocks or, where they name none, of
    its defaults; an axis that neither names is left out. Of data set, ratio and method: a method may choose the other
    groups itself."""
    blocks, chosen = _blocks(node_of(paper, name, own).get("cells")), _chosen(f"{paper}/{name}", own)
    found = {}
    for group in ("dataset", "ratio", "method"):
        named = [o for block in blocks for o in block.get(group, [])] or [f"{group}={chosen.get(group, '')}"]
        found[group] = {label_of(override.partition("=")[2]) for override in named}
    relabelled = {key.partition(".")[0] for block in blocks for key in block if key.endswith(".label")}
    return {group: labels for group, labels in found.items() if labels != {""} and group not in relabelled}


def _chosen(option: str, own: Path | None) -> dict[str, str]:
    """Group → the option that the defaults of a preset choose, or those of what it is based on."""
    path = next((p for place in reversed(_places(own)) if (p := place / f"{option}.yaml").is_file()), None)
    entries = (read_yaml(path) or {}).get("defaults", []) if path else []
    found: dict[str, str] = {}
    for entry in entries:
        if isinstance(entry, dict):
            found |= {key.split()[-1].strip("/"): str(value) for key, value in entry.items()}
        elif not entry.startswith(("_", "/")):
            found |= _chosen(entry, own)
    return found


def _places(own: Path | None) -> list[Path]:
    return [folder / "paper" for folder in (CONF, own) if folder]


def read_yaml(path: Path) -> Any:
    """A YAML file, by libyaml where PyYAML was built with it, many times faster."""
    import yaml

    return yaml.load(path.read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))


@cache
def _nodes(paper: str, own: Path | None) -> dict[str, dict[str, Any]]:
    """Preset → its ``paper:`` node as written; the user's own folder comes before conf/, as for Hydra."""
    import yaml

    found = {}
    for path in itertools.chain.from_iterable((place / paper).glob("*.yaml") for place in _places(own)):
        try:
            node = (read_yaml(path) or {}).get("paper")
        except (yaml.YAMLError, UnicodeDecodeError, AttributeError) as error:
            raise BenchError(f"{path} is not a preset in YAML: {' '.join(str(error).split())}") from error
        if isinstance(node, dict):
            found[path.stem] = node
    return found


def load_preset(paper: str, name: str, overrides: list[str], own: Path | None = None) -> Preset:
    """The preset and its grid, narrowed or changed by overrides such as dataset=ecoli,oil or trainer.epochs=50.

    ``own``: the user's folder of configurations (--config-dir).
    """
    if name not in presets(paper, own=own):
        raise BenchError(f"unknown preset {paper}/{name}: {suggestion(name, presets(paper, own=own))}")
    with hydra_started(own) as loader:
        files = ConfFiles(loader, [f"+paper={paper}/{name}", *overrides])
        with files.explained():
            return _grid(paper, name, files, overrides)


def _grid(paper: str, name: str, files: ConfFiles, overrides: list[str]) -> Preset:
    """``load_preset``, where Hydra has been started."""
    from hydra import compose
    from omegaconf import OmegaConf

    @cache
    def composed(*chosen: str) -> dict[str, Any]:
        container: Any = OmegaConf.to_container(compose("config", list(chosen)), resolve=True)
        return container

    preset = f"+paper={paper}/{name}"
    asked = files.parsed([preset, *overrides])
    of_paper = [o.input_line or "" for o in asked if o.key_or_group.partition(".")[0] == "paper"]
    jobs = jobs_of(composed(*of_paper)["paper"], asked)
    base = tuple(o for o in jobs[0] if all(o in job for job in jobs))
    start = composed(*base)
    import_plugins(start["plugins"])
    cells = []
    for job in jobs:
        # Keys of one group (dataset.train, dataset.synthetic) go together, since a cell takes a group whole.
        picked: dict[str, tuple[str, ...]] = {}
        for override in job:
            if override not in base:
                group = key_of(override).partition(".")[0]
                picked[group] = (*picked.get(group, ()), override)
        method = picked.pop("method", ())
        cfg = dict(composed(*base, *method))
        for group, option in picked.items():
            # a method that is trained in another way keeps that way under every trainer
            cfg[group] = composed(*base, *option, *(method if cfg[group] != start[group] else ()))[group]
        plain = plain_of(cfg)
        cells.append(PlannedCell(labels_of(plain), plain, cell_id(plain, start["plugins"])))
    return Preset({key: value for key, value in start["paper"].items() if key != "cells"}, cells)


def jobs_of(paper: Any, overrides: Sequence[Override]) -> list[list[str]]:
    """The jobs of a sweep, each a list of overrides: the blocks of ``paper.cells``, narrowed and changed by the
    command's overrides.

    A block maps keys to values and stands for all their combinations; a cell that several blocks hold is run once. An
    override of a key that blocks name keeps those of its values that a block has; a value that is in no block takes the
    place of every block's. Every other override applies to all cells. The first key varies slowest, and the values of
    each come in the order in which the blocks name them.

    Raises:
        BenchError: the blocks are malformed, or have no cell that the overrides ask for.
    """
    blocks = _blocks((paper or {}).get("cells"))
    known: dict[str, list[str]] = {}
    for key, values in itertools.chain.from_iterable(block.items() for block in blocks):
        known[key] = list(dict.fromkeys([*known.get(key, []), *values]))
    asked: dict[str, list[str]] = {}
    for override in overrides:
        key = key_of(override.get_key_element())
        asked[key] = _values(override, key if key in known else override.get_key_element())
    narrowing = [key for key in asked if key in known]
    for place, key in enumerate(narrowing):
        own = [block.get(key, asked[key]) for block in blocks]
        kept = [[value for value in asked[key] if value in mine or value not in known[key]] for mine in own]
        if not any(kept):
            what = paper.get("table") or paper.get("figure") or "paper.cells"
            others = "".join(f"{_listed(k, asked[k])} with " for k in narrowing[:place])
            only = _listed(key, dict.fromkeys(itertools.chain.from_iterable(own)))
            raise BenchError(f"no cell is left: {what} has {others}{only} only (paper.cells=null runs what you name)")
        blocks = [block | {key: some} for block, some in zip(blocks, kept) if some]
    axes = known | asked
    order = {key: {value: place for place, value in enumerate(values)} for key, values in axes.items()}
    found: dict[tuple[str, ...], list[int]] = {}
    for block in blocks:
        for job in itertools.product(*(block.get(key) or asked.get(key) or [""] for key in axes)):
            found[job] = [order[key].get(value, -1) for key, value in zip(axes, job)]
    return [[override for override in job if override] for job in sorted(found, key=found.__getitem__)]


def _blocks(cells: Any) -> list[dict[str, list[str]]]:
    """``paper.cells`` as overrides by key; one empty block where a preset lists none."""
    if cells is None:
        return [{}]
    if not isinstance(cells, list) or not cells:
        raise BenchError("paper.cells is a list of blocks, such as [{dataset: [ecoli, oil], method: [focal, smote]}]")
    blocks: list[dict[str, list[str]]] = []
    for block in cells:
        if not isinstance(block, dict):
            raise BenchError(f"paper.cells: {block!r} is no block: write {{dataset: [ecoli, oil], method: [focal]}}")
        blocks.append({})
        for key, values in block.items():
            values = values if isinstance(values, list) else [values]
            if not values or any(isinstance(v, (dict, list)) for v in values):
                raise BenchError(f"paper.cells: {key}: {values!r} is no list of values, such as {key}: [a, b]")
            blocks[-1][str(key)] = [f"{key}={_text(value)}" for value in values]
    groups = list(dict.fromkeys(key for block in blocks for key in block if "." not in key))
    for place, block in enumerate(blocks, 1):
        if lacking := [key for key in groups if key not in block]:
            raise BenchError(f"paper.cells: block {place} names no {lacking[0]}, as others do: name it in every block")
    return blocks


def _text(value: Any) -> str:
    """A value as on the command line."""
    return str(value).lower() if isinstance(value, bool) else "null" if value is None else str(value)


def _values(override: Override, key: str) -> list[str]:
    """An override of one value for each of those that this one sweeps over."""
    if override.is_discrete_sweep():
        return [f"{key}={value}" for value in override.sweep_string_iterator()]
    if override.is_sweep_override():
        raise BenchError(f"{override.input_line}: a sweep takes values that can be listed, such as {key}=0.1,0.2")
    return [override.input_line or ""] if override.is_delete() else [f"{key}={override.get_value_element_as_str()}"]


def _listed(key: str, overrides: Iterable[str]) -> str:
    return f"{key}={','.join(override.partition('=')[2] for override in overrides)}"


def labels_in(cfg: Any) -> dict[str, str]:
    """The options chosen in a composed configuration, whatever else is wrong with it."""
    from imbalance_bench.registry import GROUPS

    nodes = {group: cfg.get(group) for group in GROUPS}
    return {
        g: str(node.get("label", "?") if isinstance(node, (dict, DictConfig)) else node) for g, node in nodes.items()
    }


def check_paper(cfg: Any, option: str) -> None:
    """Raises BenchError where the file of +paper=``option`` makes neither a table nor a figure."""
    paper = cfg.get("paper")
    if paper is not None and not {"table", "figure"} & set(paper if isinstance(paper, (dict, DictConfig)) else ()):
        raise BenchError(f"+paper={option} is not a preset: its paper: node names neither a table nor a figure")
