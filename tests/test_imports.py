"""Who imports whom: data go one way, and nothing downstream is imported upstream.

Read off the code, not run: imports within functions count, and so do those for type checking, since who names another's
types knows it.
"""

from __future__ import annotations

import ast
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import imbalance_bench

PACKAGE = Path(imbalance_bench.__file__).parent
SCRIPTS = PACKAGE.parent / "scripts"

# Packages whose modules stand on several floors: each of these modules is a room of its own.
OPEN = ("metrics", "running", "settings", "store", "terminal")
# Each room, which is a module or a package of the house, and those that it may import, from the ground up.
MAY = {
    "alike": "", "errors": "", "seeds": "", "rounding": "",
    "terminal": "", "terminal.completion": "", "terminal.interrupts": "",
    "terminal.arguments": "terminal.completion errors",
    "options": "errors", "registry": "errors options", "plugins": "errors", "origin": "errors",
    "neighbours": "errors", "pretrained": "errors",
    "metrics.curves": "alike", "metrics.thresholds": "alike", "metrics.probabilities": "alike",
    "metrics.calibration": "",
    "metrics": "alike errors metrics.curves metrics.probabilities plugins",
    "metrics.scoring": (
        "alike errors metrics metrics.calibration metrics.probabilities metrics.thresholds origin"
    ),
    "store.shape": "", "store.locks": "errors", "store.files": "errors",
    "store": "errors registry store.files store.locks store.shape",
    "store.index": "errors metrics.scoring origin store store.files store.shape",
    "running": "", "running.kept": "", "running.devices": "errors", "running.models": "errors running.kept",
    "running.checkpoints": "errors running.kept running.models terminal.interrupts",
    "running.tally": "terminal", "running.progress": "running.tally terminal",
    "settings": "", "settings.conf_files": "errors", "settings.objective": "errors",
    "settings.config": "errors metrics.thresholds options plugins registry settings.objective",
    "settings.identity": "metrics origin plugins pretrained registry settings.config store",
    "settings.overrides": "errors options registry settings.conf_files settings.config",
    "settings.presets": "errors options plugins registry settings.conf_files settings.config settings.identity",
    "settings.reference": "options plugins registry settings.conf_files settings.config",
    "settings.select": "errors settings.config",
    "card": "errors metrics.scoring settings.config",
    "rescore": (
        "card errors metrics metrics.calibration metrics.scoring metrics.thresholds plugins settings.select store "
        "store.index terminal terminal.arguments"
    ),
    "data": (
        "errors options plugins pretrained registry rounding running.devices running.models running.progress seeds "
        "settings.conf_files store.locks terminal terminal.arguments"
    ),
    "backbones": "data errors options pretrained registry",
    "engine": (
        "alike data errors metrics metrics.scoring running.checkpoints running.devices running.models running.progress "
        "seeds settings.config"
    ),
    "slices": "data engine errors",
    "trackers": "data errors options registry running.progress store.locks",
    "methods": (
        "backbones data engine errors metrics metrics.scoring neighbours options plugins registry rounding "
        "running.checkpoints running.models running.progress seeds settings.config settings.identity slices"
    ),
    "support": "data methods options registry settings.conf_files",
    "cells": (
        "card data engine errors metrics metrics.scoring options origin plugins registry running.checkpoints "
        "running.devices running.models running.progress running.tally settings.config settings.identity "
        "settings.objective slices store store.files terminal trackers"
    ),
    "predict": (
        "data engine errors metrics metrics.calibration metrics.scoring metrics.thresholds origin plugins pretrained "
        "registry running.models settings.config settings.identity store store.files terminal terminal.arguments"
    ),
    "report": (
        "data errors metrics metrics.calibration metrics.probabilities metrics.scoring metrics.thresholds options "
        "origin registry settings.conf_files settings.config settings.identity settings.objective settings.overrides "
        "settings.presets settings.select store store.files store.index terminal terminal.arguments"
    ),
    "status": (
        "errors report running.progress settings.conf_files settings.presets settings.select store store.index "
        "terminal terminal.arguments"
    ),
    "sweep": (
        "cells errors options registry running.progress running.tally settings.conf_files settings.config "
        "settings.presets settings.reference store store.files terminal terminal.interrupts"
    ),
    "search": (
        "cells errors metrics.scoring options origin registry report running.tally settings.conf_files settings.config "
        "settings.identity settings.objective settings.presets store store.files store.locks terminal "
        "terminal.arguments"
    ),
    "bench": (
        "cells data engine methods neighbours registry running.devices settings.conf_files settings.config "
        "settings.identity store store.index terminal.arguments"
    ),
    "train": "settings.conf_files sweep",
    "api": "cells errors predict report settings.conf_files settings.config store",
    "estimator": "api data engine errors options seeds",
    "__main__": "errors terminal.completion terminal.interrupts",
    "scripts": "__main__ bench errors terminal.interrupts",
}  # fmt: skip
# The same within report/.
REPORT = {
    "sheet": "",
    "records": "",
    "published": "",
    "sheets": "published records sheet",
    "writing": "sheet sheets",
    "style": "records sheet sheets",
    "glyphs": "",
    "diagrams": "records style",
    "figures": "diagrams glyphs published records sheet sheets style",
    "collect": "records",
    "arguments": "records sheets writing",
    "request": "arguments records sheet writing",
    "any_records": "arguments figures records request sheet sheets writing",
    "paper": "figures published records request sheet sheets writing",
    "pages": "any_records arguments paper published records request sheet sheets style",
    "cli": "any_records arguments pages paper records request",
}  # fmt: skip
FLOORS = 9  # with scripts/ on top


@cache
def imports() -> dict[str, set[str]]:
    """Module → the modules of the package that it imports; a name taken from a package's own file is that file."""
    files = {
        ".".join(("imbalance_bench", *p.relative_to(PACKAGE).with_suffix("").parts)): p for p in PACKAGE.rglob("*.py")
    }
    files = {name.removesuffix(".__init__"): path for name, path in files.items()}
    files |= {f"scripts.{p.stem}": p for p in SCRIPTS.glob("*.py")}
    found: dict[str, set[str]] = {}
    for module, path in files.items():
        named: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                named |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert not node.level, f"{module} imports by a relative name"
                whole = {f"{node.module}.{alias.name}" for alias in node.names}
                named |= {name if name in files else str(node.module) for name in whole}
        found[module] = {name for name in named if name in files} - {module}
    return found


def room_of(module: str, within: str = "imbalance_bench") -> str | None:
    """The room of a module: the part of its name after ``within``, and of those of ``OPEN`` two; scripts are one."""
    if module.startswith("scripts."):
        return "scripts" if within == "imbalance_bench" else None
    if not module.startswith(f"{within}."):
        return None
    parts = module.removeprefix(f"{within}.").split(".")
    return ".".join(parts[: 1 + (within == "imbalance_bench" and parts[0] in OPEN)])


def rooms(within: str = "imbalance_bench") -> dict[str, dict[str, str]]:
    """Room → {room that it imports: an import that shows it}."""
    found: dict[str, dict[str, str]] = {}
    for module, named in imports().items():
        if (mine := room_of(module, within)) is not None:
            others = found.setdefault(mine, {})
            for other in sorted(named):
                theirs = room_of(other, within)
                if theirs not in (None, mine):
                    others.setdefault(str(theirs), f"{module} imports {other}")
    return found


@pytest.mark.parametrize("within, may", [("imbalance_bench", MAY), ("imbalance_bench.report", REPORT)])
def test_a_room_imports_those_below_it(within, may):
    found = rooms(within)
    assert set(found) == set(may), "a new room: say in the table what it may import"
    for room, others in found.items():
        for other, example in others.items():
            assert other in may[room].split(), example


@pytest.mark.parametrize("may", [MAY, REPORT])
def test_the_table_itself_goes_one_way(may):
    """Each room stands above all that it may import, in at most so many floors."""
    floors: dict[str, int] = {}
    for room, below in may.items():
        assert set(below.split()) <= set(floors), f"{room} may import what stands above it"
        floors[room] = 1 + max((floors[other] for other in below.split()), default=0)
    assert max(floors.values()) <= FLOORS


def test_the_rooms_as_a_whole_go_one_way():
    """A reader may take a room as one thing: what is below it imports nothing of it, whichever module."""
    whole: dict[str, set[str]] = {}
    for room, below in MAY.items():
        mine = room.partition(".")[0]
        whole.setdefault(mine, set()).update({other.partition(".")[0] for other in below.split()} - {mine})
    assert_one_way(whole)


def test_no_two_modules_need_each_other():
    assert_one_way(imports())


def assert_one_way(graph: dict[str, set[str]]) -> None:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail("a circle: " + " → ".join(reversed(error.args[1])))
