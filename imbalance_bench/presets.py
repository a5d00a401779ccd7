"""The cells of a preset, without training anything: what report and status compare the store with. Imports no torch.

An option of one group never changes another group, but for methods that are trained in another way
(``method=cross_entropy/400`` sets trainer.epochs). So one composition an option is enough: a cell takes its dataset,
ratio, backbone, ... from the composition with that option, and everything else from that of its method; only what a
method changes is composed with each option.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cache
from typing import Any

from omegaconf import DictConfig

from imbalance_bench.conf_files import CONF, ConfFiles
from imbalance_bench.config import import_plugins, labels_of, plain_of
from imbalance_bench.errors import BenchError, nearest
from imbalance_bench.identity import cell_id


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


def presets(paper: str) -> list[str]:
    """The presets of a paper by name, e.g. table1."""
    folder = CONF / "paper" / paper
    if not folder.is_dir():
        raise BenchError(f"unknown paper {paper}: {nearest(paper, [p.name for p in (CONF / 'paper').iterdir()])}")
    return sorted(p.stem for p in folder.glob("*.yaml") if "# @package _global_" in p.read_text().splitlines()[0])


def load_preset(paper: str, name: str, overrides: list[str]) -> Preset:
    """The preset and its grid, narrowed or changed by overrides such as dataset=ecoli,oil or trainer.epochs=50."""
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    if name not in presets(paper):
        raise BenchError(f"unknown preset {paper}/{name}: {nearest(name, presets(paper))}")
    with initialize_config_dir(str(CONF), version_base="1.3"):
        files = ConfFiles(GlobalHydra.instance().config_loader(), [f"+paper={paper}/{name}", *overrides])
        try:
            return _grid(paper, name, files, overrides)
        except (HydraException, OmegaConfBaseException) as error:
            raise BenchError(files.explain(error)) from error


def _grid(paper: str, name: str, files: ConfFiles, overrides: list[str]) -> Preset:
    """``load_preset``, where Hydra has been started."""
    from hydra import compose
    from omegaconf import OmegaConf

    fixed = [f"+paper={paper}/{name}"]
    params = compose("config", fixed, return_hydra_config=True).hydra.sweeper.get("params") or {}
    axes: dict[str, list[str]] = {}
    for override in files.parsed([f"{k}={v}" for k, v in params.items()] + overrides):
        key = override.get_key_element()
        if override.is_discrete_sweep():
            axes[key] = [f"{key}={value}" for value in override.sweep_string_iterator()]
        else:
            axes[key] = [f"{key}={override.get_value_element_as_str()}"]
    single = [values[0] for values in axes.values() if len(values) == 1]
    # Keys of one group (dataset.train, dataset.synthetic) are one axis, since a cell takes a group whole.
    swept: dict[str, list[list[str]]] = {}
    for key, values in axes.items():
        if len(values) > 1:
            swept.setdefault(key.split(".")[0], []).append(values)
    base = [*fixed, *single]

    @cache
    def composed(*override: str) -> dict[str, Any]:
        container: Any = OmegaConf.to_container(compose("config", [*base, *override]), resolve=True)
        return container

    start = composed()
    import_plugins(start["plugins"])
    options = {group: list(itertools.product(*keys)) for group, keys in swept.items()}
    cells, reason = [], None
    for chosen in itertools.product(*options.values()):
        picked = dict(zip(options, chosen))
        method = picked.pop("method", ())
        cfg = dict(composed(*method))
        for group, option in picked.items():
            # a method that is trained in another way keeps that way under every trainer
            cfg[group] = composed(*option, *(method if cfg[group] != start[group] else ()))[group]
        plain = plain_of(cfg)
        labels = labels_of(plain)
        excluding = excluded(start.get("paper"), labels)
        if excluding:
            reason = reason or excluding
        else:
            cells.append(PlannedCell(labels, plain, cell_id(plain, start["plugins"])))
    if not cells:
        raise BenchError(f"no cell of {paper}/{name} is left: {reason}")
    return Preset(start["paper"], cells)


def labels_in(cfg: Any) -> dict[str, str]:
    """The options chosen in a composed configuration, whatever else is wrong with it."""
    from imbalance_bench.registry import GROUPS

    nodes = {group: cfg.get(group) for group in GROUPS}
    return {
        g: str(node.get("label", "?") if isinstance(node, (dict, DictConfig)) else node) for g, node in nodes.items()
    }


def check_paper(cfg: Any, option: str) -> None:
    """Raises BenchError where +paper=``option`` is no preset, such as a paper's claims."""
    paper = cfg.get("paper")
    if paper is not None and not {"table", "figure"} & set(paper if isinstance(paper, (dict, DictConfig)) else ()):
        raise BenchError(
            f"+paper={option} is not a grid of cells: name a table or a figure (scripts/train.py --help lists them); "
            f"claims are tested by scripts/report.py --paper {option.partition('/')[0]}"
        )


def excluded(paper: Any, labels: dict[str, str]) -> str | None:
    """Why a cell of a preset's product does not belong to its table or figure, or None.

    ``paper.matched``: group → option → {other group: the labels that go with it}; ``paper.restrict``: the same of
    methods.
    """
    if not paper:
        return None
    rules = {"restrict": {"method": paper.get("restrict")}, "matched": paper.get("matched") or {}}
    for key, groups in rules.items():
        for group, options in groups.items():
            for other, allowed in ((options or {}).get(labels[group]) or {}).items():
                if labels[other] not in allowed:
                    what = paper.get("table") or paper.get("figure")
                    only = f"{what} has {group}={labels[group]} with {other}={','.join(allowed)} only"
                    return f"{only} (paper.{key}=null runs all)"
    return None
