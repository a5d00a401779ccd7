"""Mutants of a function: its code with one operator, bound or sign changed, compiled and never written to a file."""

from __future__ import annotations

import ast
import copy
import importlib
import inspect
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

COMPARISONS: dict[type, tuple[type, ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
OPERATORS: dict[type, type] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
NAMES = {"min": "max", "argmin": "argmax", "amin": "amax", "minimum": "maximum", "any": "all", "floor": "ceil"}
NAMES |= {"zeros": "ones", "zeros_like": "ones_like"}
NAMES |= {other: name for name, other in NAMES.items()}


TOLD = "__told__"  # the global of a module that ``telling`` calls


@dataclass(frozen=True)
class Mutant:
    """``change``: "before → after", as Python writes the expression; ``code`` takes the place of the function's own."""

    line: int
    change: str
    code: CodeType


def function(where: str) -> FunctionType:
    """The function that ``module:Class.name`` names, below its decorators."""
    module, name = where.split(":")
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = inspect.getattr_static(found, part)
    found = getattr(found, "fget", None) or getattr(found, "__func__", found)
    found = inspect.unwrap(found)
    assert isinstance(found, FunctionType), f"{where} is {found!r}, which is no function"
    return found


def mutants(where: str) -> list[Mutant]:
    """All mutants of a function, in the order of its source; changes that read alike are numbered."""
    path = Path(function(where).__code__.co_filename)
    found = list(of_source(path.read_text(), where.split(":")[1], str(path)))
    alike = Counter(mutant.change for mutant in found)
    met: Counter[str] = Counter()
    for i, mutant in enumerate(found):
        met[mutant.change] += 1
        if alike[mutant.change] > 1:
            found[i] = replace(mutant, change=f"{mutant.change} ({met[mutant.change]} of {alike[mutant.change]})")
    return found


def telling(where: str) -> CodeType:
    """The code of a function that first hands its own name to ``TOLD``."""
    path, name = function(where).__code__.co_filename, where.split(":")[1]
    tree, found = _alone(Path(path).read_text(), name)
    found.body[:0] = ast.parse(f"{TOLD}({where!r})").body
    return _code(compile(ast.fix_missing_locations(tree), path, "exec", dont_inherit=True), name)


def _alone(source: str, name: str) -> tuple[ast.Module, Any]:
    """The module with one function and its imports alone, which is compiled sooner, and that function."""
    tree = ast.parse(source)
    found: Any = tree
    for part in name.split("."):
        inner = next(n for n in found.body if getattr(n, "name", None) == part)
        found.body = [n for n in found.body if n is inner or isinstance(n, ast.Import | ast.ImportFrom)]
        found = inner
    return tree, found


def of_source(source: str, name: str, path: str = "<source>") -> Iterator[Mutant]:
    """The mutants of the function ``name`` (``Class.method``) of a module's source."""
    tree, found = _alone(source, name)
    for node, field, at, changed in sorted(_places(found), key=lambda place: _line(place[0])):
        # A list keeps its element, a field its value, until the mutant is compiled: one tree serves all.
        holder = getattr(node, field) if at is not None else None
        before = holder[at] if holder is not None else getattr(node, field)
        around = isinstance(node, ast.expr | ast.keyword | ast.AugAssign)  # which of several equal constants it is
        shown = ast.unparse(node if around else before)
        _put(node, field, at, changed)
        after = ast.unparse(node if around else changed)
        code = _code(compile(ast.fix_missing_locations(tree), path, "exec", dont_inherit=True), name)
        _put(node, field, at, before)
        yield Mutant(getattr(before, "lineno", None) or _line(node), f"{shown} → {after}", code)


def _line(node: ast.AST) -> int:
    return next(n.lineno for n in ast.walk(node) if hasattr(n, "lineno"))


def _put(node: ast.AST, field: str, at: int | None, value: Any) -> None:
    if at is None:
        setattr(node, field, value)
    else:
        getattr(node, field)[at] = value


def _code(module: CodeType, name: str) -> CodeType:
    """The code of a function within that of its module."""
    code = module
    for part in name.split("."):
        code = next(c for c in code.co_consts if isinstance(c, CodeType) and c.co_name == part)
    return code


def _places(function: ast.FunctionDef) -> Iterator[tuple[Any, str, int | None, Any]]:
    """(node, field, place in a list, what stands there instead) of each mutant. The words of errors, annotations and
    docstrings are left alone: no number depends on them."""
    body = [s for s in function.body if not isinstance(s, ast.Raise) and not _is_text(s)]
    waiting: list[tuple[ast.AST, str, int | None]] = [
        (function, "body", i) for i, s in enumerate(function.body) if any(s is b for b in body)
    ]
    while waiting:
        parent, field, at = waiting.pop()
        node: Any = getattr(parent, field) if at is None else getattr(parent, field)[at]
        yield from _of_node(node, parent, field, at)
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "decorator_list"):
                continue
            for i, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
                if isinstance(child, ast.AST) and not isinstance(child, ast.Raise | ast.JoinedStr | ast.Assert):
                    waiting.append((node, name, i))


def _of_node(node: Any, parent: Any, field: str, at: int | None) -> Iterator[tuple[Any, str, int | None, Any]]:
    if isinstance(node, ast.Compare):
        for i, operator in enumerate(node.ops):
            yield from ((node, "ops", i, other()) for other in COMPARISONS[type(operator)])
    elif isinstance(node, ast.BinOp | ast.AugAssign) and type(node.op) in OPERATORS:
        if not any(_is_text(part) for part in ast.iter_child_nodes(node)):
            yield node, "op", None, OPERATORS[type(node.op)]()
    elif isinstance(node, ast.BoolOp):
        yield node, "op", None, ast.Or() if isinstance(node.op, ast.And) else ast.And()
    elif isinstance(node, ast.UnaryOp):
        yield parent, field, at, copy.copy(node.operand)
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float):
        yield parent, field, at, ast.Constant(_other(node.value), lineno=node.lineno, col_offset=node.col_offset)
    elif isinstance(node, ast.Name | ast.Attribute):
        name = "id" if isinstance(node, ast.Name) else "attr"
        if getattr(node, name) in NAMES and isinstance(node.ctx, ast.Load):
            yield node, name, None, NAMES[getattr(node, name)]
    test = getattr(node, "test", None)
    if isinstance(node, ast.If | ast.IfExp | ast.While) and not _has_mutants(test):
        yield node, "test", None, ast.UnaryOp(ast.Not(), test)
    if isinstance(node, ast.comprehension):
        for i, condition in enumerate(node.ifs):
            if not _has_mutants(condition):
                yield node, "ifs", i, ast.UnaryOp(ast.Not(), condition)


def _has_mutants(test: Any) -> bool:
    return isinstance(test, ast.Compare | ast.BoolOp | ast.UnaryOp)


def _other(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    return value + 1 if isinstance(value, int) else 2 * value or 1.0


def _is_text(node: ast.AST) -> bool:
    if isinstance(node, ast.Expr):
        node = node.value
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))
