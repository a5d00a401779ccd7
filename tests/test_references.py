"""Names in docstrings and comments: ``module.name`` is there, so that what is moved or renamed leaves none behind."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import imbalance_bench

ROOT = Path(imbalance_bench.__file__).parents[1]
REFERENCE = re.compile(r"``([a-z_]\w*(?:\.\w+)+)(?:\([^`]*\))?``")
# Overrides, which begin like modules of ours; a file, another package's module, an attribute of an object, and a name
# that is imported as it is asked for.
KEYS = {"method", "dataset", "ratio", "backbone", "protocol", "trainer", "paper", "search", "paths"}
OTHERS = {"adult.test", "sklearn.datasets", "generator.grad", "imbalance_bench.BenchError"}
FILES = ("js", "csv", "py", "html", "json", "npz", "yaml", "md")


def names_in(path: Path) -> set[str]:
    """All that a module defines or assigns, within classes and functions too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            found.add(node.id if isinstance(node, ast.Name) else node.attr)
    return found


def test_names_in_docstrings_are_there():
    files = sorted((ROOT / "imbalance_bench").rglob("*.py"))
    modules: dict[str, set[str]] = {}  # by each tail of a module's name, since docstrings leave the packages out
    for path in files:
        parts = path.relative_to(ROOT).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        for start in range(len(parts)):
            known = modules.setdefault(".".join(parts[start:]), set())
            known |= names_in(path) | {each.stem for each in path.parent.iterdir() if path.stem == "__init__"}
    stale = []
    for path in [*files, *sorted((ROOT / "tests").glob("*.py"))]:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            for reference in REFERENCE.findall(line):
                parts = reference.split(".")
                if parts[0] not in modules or parts[0] in KEYS or reference in OTHERS or parts[-1] in FILES:
                    continue
                end = max(n for n in range(1, len(parts) + 1) if ".".join(parts[:n]) in modules)
                if end < len(parts) and parts[end] not in modules[".".join(parts[:end])]:
                    stale.append(f"{path.relative_to(ROOT)}:{number} {reference}")
    assert not stale, "\n".join(stale)
