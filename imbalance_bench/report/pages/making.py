"""How a cell was made, as its page says it: its options, the command, and the tables that show it."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imbalance_bench.errors import command
from imbalance_bench.options import flatten
from imbalance_bench.report.pages.html import Grid, td
from imbalance_bench.store import OUTPUTS


@dataclass(frozen=True)
class TableLink:
    """A table that shows a cell: its title, a link to it from the cell's page, and the readings of its preset."""

    title: str
    link: str
    readings: tuple[str, ...] = ()


def options_grid(config: dict[str, Any]) -> Grid:
    """All options of a cell, a row each."""
    options = sorted(flatten(config).items())
    return Grid(["option", "value"], [[td(key), td(_text(value))] for key, value in options], texts=(1,))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def again(folder: Path, *words: str) -> str:
    """The command that trains the cell of a run folder, from where the report was made; ``words``: more of it."""
    outputs = str(folder.parents[5])
    place = [f"paths.outputs={outputs}"] if outputs != OUTPUTS else []
    return f"{command('train')} {shlex.join(['-cp', str(folder), '-cn', 'config', *words, *place])}"
