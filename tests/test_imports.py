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

# Each room, which is a module or a package of the house, and those that it may import, from the ground up.
MAY = {
    "alike": "", "curves": "alike", "thresholds": "alike", "calibration": "",
    "errors": "", "kept": "", "seeds": "", "rounding": "", "interrupts": "", "terminal": "",
    "completion": "", "arguments": "completion errors",
    "tally": "terminal", "progress": "tally terminal",
    "options": "errors", "objective": "errors", "locks": "errors", "origin": "errors", "conf_files": "errors",
    "neighbours": "errors", "models": "errors kept", "devices": "errors", "pretrained": "errors", "plugins": "errors",
    "probabilities": "alike", "metrics": "alike curves errors plugins probabilities",
    "registry": "errors options", "scoring": "alike calibration errors metrics origin probabilities thresholds",
    "record_shape": "", "store": "errors locks record_shape registry",
    "checkpoints": "errors interrupts kept models",
    "config": "errors objective options plugins registry thresholds",
    "identity": "config metrics origin plugins pretrained registry store",
    "reference": "conf_files config options plugins registry",
    "select": "config errors",
    "index": "errors origin record_shape scoring store",
    "rescore": "arguments calibration errors index metrics plugins scoring select store terminal thresholds",
    "data": (
        "arguments conf_files devices errors locks models options plugins pretrained progress registry rounding seeds "
        "terminal"
    ),
    "backbones": "data errors options pretrained registry",
    "engine": "alike checkpoints config data devices errors metrics models progress scoring seeds",
    "slices": "data engine errors",
    "trackers": "data errors locks options progress registry",
    "presets": "conf_files config errors identity plugins registry",
    "methods": (
        "backbones checkpoints config data engine errors identity metrics models neighbours options plugins progress "
        "registry rounding scoring seeds slices"
    ),
    "support": "conf_files data methods options registry",
    "cells": (
        "checkpoints config data devices engine errors identity metrics models objective options origin plugins "
        "progress registry scoring slices store tally terminal trackers"
    ),
    "predict": (
        "arguments calibration config data engine errors identity metrics models origin plugins pretrained registry "
        "scoring store terminal thresholds"
    ),
    "report": (
        "arguments calibration conf_files config data errors identity index metrics objective options origin presets "
        "probabilities registry scoring select store terminal thresholds"
    ),
    "status": "arguments conf_files errors index presets progress report select store terminal",
    "sweep": "conf_files config errors interrupts presets progress reference registry cells store tally terminal",
    "search": (
        "arguments conf_files config errors identity locks objective options origin presets registry report cells "
        "store tally terminal"
    ),
    "bench": "arguments conf_files config data devices engine identity index methods neighbours registry cells store",
    "train": "conf_files sweep",
    "api": "cells conf_files config errors predict report store",
    "estimator": "api data engine errors options seeds",
    "__main__": "completion errors interrupts",
    "scripts": "__main__ bench errors interrupts",
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
    "own": "arguments figures records request sheet sheets writing",
    "paper": "figures published records request sheet sheets writing",
    "pages": "arguments own paper published records request sheet sheets style",
    "cli": "arguments own pages paper records request",
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
    """The room of a module: the part of its name after ``within``; scripts are one room."""
    if module.startswith("scripts."):
        return "scripts" if within == "imbalance_bench" else None
    inside = module.startswith(f"{within}.")
    return module.removeprefix(f"{within}.").partition(".")[0] if inside else None


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


def test_no_two_modules_need_each_other():
    try:
        TopologicalSorter(imports()).prepare()
    except CycleError as error:
        pytest.fail("a circle: " + " → ".join(reversed(error.args[1])))
