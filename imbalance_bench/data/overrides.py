"""Overrides of a data set in messages, so written that a shell and Hydra take them as they stand."""

from __future__ import annotations

import re


def override(key: str, *names: str) -> str:
    """``dataset.<key>=[<names>]`` as it is typed in a shell."""
    return _shell(f"dataset.{key}=[{','.join(map(_quoted, names))}]")


def assignment(key: str, value: str) -> str:
    """``dataset.<key>=<value>`` as it is typed in a shell."""
    return _shell(f"dataset.{key}={_quoted(value)}")


def _shell(argument: str) -> str:
    return "'" + argument.replace("'", "'\\''") + "'"


def _quoted(name: str) -> str:
    """A name as Hydra's grammar wants it: bare where that is safe."""
    if re.fullmatch(r"(?!(null|true|false|nan|inf)$)[A-Za-z_][\w.-]*", name, re.ASCII | re.IGNORECASE):
        return name
    escaped = re.sub(r'(\\*)"', r'\1\1\\"', name)
    trailing = len(escaped) - len(escaped.rstrip("\\"))
    return '"' + escaped + "\\" * trailing + '"'
