"""The user's own modules: imported so that they register what they hold; errors in them name their lines."""

from __future__ import annotations

import importlib.util
import inspect
import re
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from imbalance_bench.errors import BenchError

PACKAGE = __name__.partition(".")[0]


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
    top = module.partition(".")[0]
    if top not in sys.modules and importlib.util.find_spec(top) is None and str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))


def in_own_code(error: BaseException, modules: Sequence[str]) -> str:
    """An exception as one line that says where in the user's own modules it arose, if it did."""
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__}: {error}"  # which names file and line
    text = str(error) if isinstance(error, BenchError) else f"{type(error).__name__}: {error}"
    frames = list(traceback.walk_tb(error.__traceback__))
    own = [
        (frame, line)
        for frame, line in frames
        if any(f"{frame.f_globals.get('__name__')}.".startswith(f"{module}.") for module in modules)
    ]
    if isinstance(error, TypeError) and own[-1:] != frames[-1:] and (refused := _refused(str(error), modules)):
        return text + refused
    if not own or isinstance(error, BenchError):
        return text
    frame, line = own[-1]
    return f"{text} (in your own code: {frame.f_code.co_filename}, line {line}, in {frame.f_code.co_name})"


def _refused(message: str, modules: Sequence[str]) -> str:
    """Of a call that failed before the first line of the user's function, since it takes other arguments: where that
    stands, and how the package's class that it overrides has it; "" where the message is of something else."""
    qualified = re.match(r"([\w.<>]+)\(\) (takes|missing|got)", message)
    *classes, name = qualified[1].split(".") if qualified else [""]
    for module in [m for n, m in sys.modules.items() if any(f"{n}.".startswith(f"{own}.") for own in modules)]:
        scope: Any = module
        for part in classes:
            scope = getattr(scope, part, None)
        function = inspect.unwrap(vars(scope).get(name)) if hasattr(scope, "__dict__") and name in vars(scope) else None
        if not inspect.isfunction(function) or function.__module__ != module.__name__:
            continue
        place = f" (in your own code: {function.__code__.co_filename}, line {function.__code__.co_firstlineno}"
        bases = scope.__mro__[1:] if inspect.isclass(scope) else ()
        asked = next((vars(c)[name] for c in bases if c.__module__.startswith(f"{PACKAGE}.") and name in vars(c)), None)
        signature = str(inspect.signature(asked)).replace("'", "") if callable(asked) else ""
        return f"{place}; it must be def {name}{signature})" if signature else f"{place})"
    return ""
