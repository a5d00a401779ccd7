"""The source code behind a result: which files a component is made of, and what they hold. Imports none of them."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

from imbalance_bench.errors import BenchError

PACKAGE = __name__.partition(".")[0]
ROOT = Path(__file__).resolve().parent.parent

INSTALLED = {"site-packages", "dist-packages"}

# Modules that check, name, fetch, store and say, and packages whose own file is a docstring; no number depends on them.
NO_RESULT = {
    f"{PACKAGE}.{name}"
    for name in (
        *("errors", "registry", "options", "origin", "plugins", "data.fetch", "data.summary", "trackers"),
        *("settings", "settings.config", "settings.identity", "settings.objective"),
        *("store", "store.files", "store.locks", "store.shape", "running", "running.progress", "running.tally"),
        *("terminal", "terminal.arguments", "terminal.completion", "terminal.interrupts"),
    )
}


def package_code(modules: Iterable[str]) -> dict[str, str]:
    """Module → 12 hex digits of its file: of those of these (imported) modules that are the package's, and of all that
    any of them imports from it."""
    roots: list[str] = []
    for name in modules:
        path = None if _ours(name) else getattr(sys.modules[name], "__file__", None)
        roots += _imports(name, Path(path), Path(path).stat().st_mtime_ns) if path else [name]
    files = _behind(filter(_ours, roots), ROOT, _ours)
    return {name: _sum(path) for name, path in sorted(files.items()) if name not in NO_RESULT}


def plugin_code(plugins: Iterable[str]) -> dict[str, str]:
    """The same of a user's own modules and of what they import from the folder that each lies in; a package is taken
    whole.

    Raises:
        BenchError: there is no such module, or it is not a Python file.
    """
    found: dict[str, Path] = {}
    for name in plugins:
        try:
            spec = importlib.util.find_spec(name)
        except (ImportError, ValueError):
            spec = None
        if spec is None or not spec.origin or not Path(spec.origin).is_file():
            raise BenchError(f"plugins=[{name}]: there is no such module in {Path.cwd()} or among what is installed")
        path = Path(spec.origin).resolve()
        root = path.parents[name.count(".") + (path.name == "__init__.py")]
        inside = path.parent.rglob("*.py") if path.name == "__init__.py" else []
        top = name.partition(".")[0] if INSTALLED & set(root.parts) else None

        def counts(other: str, top: str | None = top) -> bool:
            return not _ours(other) and top in (None, other.partition(".")[0])

        found |= _behind([name, *(_module(file, root) for file in inside)], root, counts)
    return {name: _sum(path) for name, path in sorted(found.items())}


def of_the_user(module: str) -> bool:
    """Whether a module is a file of the user's own: there is one, and it is neither the package's nor installed. Asks
    for its topmost package only, so that nothing is imported."""
    top = module.partition(".")[0]
    if _ours(top) or top in sys.stdlib_module_names or top == "__main__":  # a script's own class: no file to import
        return False
    spec = importlib.util.find_spec(top)
    places = [spec.origin, *(spec.submodule_search_locations or [])] if spec else []
    return any(place and not INSTALLED & set(Path(place).parts) for place in places)


def changed(code: Mapping[str, str]) -> list[str]:
    """The modules of the package (as ``package_code`` gave them once) whose files are other ones now. Of records of
    older versions too, which list modules that count no longer."""
    now = {name: _file(name, ROOT) for name in code if name not in NO_RESULT}
    return [name for name, path in now.items() if path is None or _sum(path) != code[name]]


def named(modules: Iterable[str], most: int = 4) -> str:
    """Modules of the package as the files that a reader knows: engine/loop.py, methods/focal.py and 3 more."""
    paths = [_file(name, ROOT) or ROOT / f"{name.replace('.', '/')}.py" for name in modules]
    files = [path.relative_to(ROOT / PACKAGE).as_posix() for path in paths]
    return ", ".join(files[:most]) + (f" and {len(files) - most} more" if len(files) > most else "")


def _ours(module: str) -> bool:
    return module.partition(".")[0] == PACKAGE


def _behind(modules: Iterable[str], root: Path, counts: Callable[[str], bool]) -> dict[str, Path]:
    """The modules, and all that they import, wherever in their text, from files below ``root``; module → file. Only
    modules that ``counts`` admits."""
    found: dict[str, Path] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        path = _file(name, root) if name not in found and counts(name) else None
        if path is not None:
            found[name] = path
            parents = [name.rpartition(".")[0]] if "." in name else []
            waiting += [*parents, *_imports(name, path, path.stat().st_mtime_ns)]
    return found


@cache
def _imports(name: str, path: Path, _: int) -> tuple[str, ...]:
    """The names that a file imports, of modules and of what may be one."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):  # it cannot be imported either, which is said there
        return ()
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    return tuple(imported for node in _statements(tree) for imported in _imported(node, package))


def _statements(tree: ast.AST) -> Iterator[ast.AST]:
    """Those of a module, wherever in it; imports are statements, and expressions are nine tenths of a tree."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        for part in ("body", "orelse", "finalbody", "handlers", "cases"):
            waiting += getattr(node, part, ())


def _imported(node: ast.AST, package: str) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
        source = ".".join([*above, *([node.module] if node.module else [])])
        yield source
        yield from (f"{source}.{alias.name}" if source else alias.name for alias in node.names)


def _file(module: str, root: Path) -> Path | None:
    place = root.joinpath(*module.split("."))
    for path in (place / "__init__.py", place.with_name(f"{place.name}.py")):
        if module and path.is_file():
            return path
    return None


def _module(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _sum(path: Path) -> str:
    return _sum_of(path, path.stat().st_mtime_ns)


@cache
def _sum_of(path: Path, _: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]
