"""The user's own modules: imported so that they register what they hold; errors in them name their lines."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from imbalance_bench.errors import BenchError


def import_plugins(modules: Any) -> None:
    """Imports the user's own modules (files beside the working directory count), so that they can register."""
    if not isinstance(modules, (list, tuple)) or not all(isinstance(module, str) for module in modules):
        some = modules if isinstance(modules, str) else "my_method"
        raise BenchError(f"plugins={modules} must be a list of modules: 'plugins=[{some}]', or [] for none")
    for module in modules:
        if module.endswith(".py"):
            raise BenchError(f"plugins=[{module}] is written without .py: plugins=[{module[:-3]}]")
        if str(Path.cwd()) not in sys.path:
            sys.path.insert(0, str(Path.cwd()))
        try:
            importlib.import_module(module)
        except Exception as error:
            if isinstance(error, ModuleNotFoundError) and error.name == module:
                raise BenchError(f"plugins=[{module}]: no {module}.py in {Path.cwd()}, nor is it installed") from error
            raise BenchError(f"plugins=[{module}] cannot be imported: {in_own_code(error, [module])}") from error


def look_beside_the_user(module: str) -> None:
    """Puts the working directory last on the path if a module's topmost package is found nowhere else."""
    if importlib.util.find_spec(module.partition(".")[0]) is None and str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))


def in_own_code(error: BaseException, modules: Sequence[str]) -> str:
    """An exception as one line that says where in the user's own modules it arose, if it did."""
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__}: {error}"  # which names file and line
    text = str(error) if isinstance(error, BenchError) else f"{type(error).__name__}: {error}"
    own = [
        (frame, line)
        for frame, line in traceback.walk_tb(error.__traceback__)
        if any(f"{frame.f_globals.get('__name__')}.".startswith(f"{module}.") for module in modules)
    ]
    if not own or isinstance(error, BenchError):
        return text
    frame, line = own[-1]
    return f"{text} (in your own code: {frame.f_code.co_filename}, line {line}, in {frame.f_code.co_name})"
