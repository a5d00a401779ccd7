"""ARFF files of Weka and .dat files of KEEL: a header that declares each column, then rows parted by commas."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from imbalance_bench.errors import BenchError

if TYPE_CHECKING:
    import pandas as pd

GAPS = ("?", "<null>")  # of ARFF, of KEEL
NUMBERS = ("numeric", "real", "integer")
FIELD = re.compile(r"""\s*(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)"|((?![\s'"])[^,]*?))\s*(,|$)""")
NAME = r"""('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[^\s{]+)"""


class Declared(NamedTuple):
    """A table and what its header says of it: ``nominal``: columns that are categories, whatever they look like;
    ``output``: the class, where the header names it (KEEL does)."""

    table: pd.DataFrame
    nominal: list[str]
    output: str | None


def is_arff(text: str) -> bool:
    return bool(re.match(r"(\s*(%.*)?\n)*\s*@relation\b", text, re.IGNORECASE))


def read_arff(text: str, path: Path) -> Declared:
    """Raises BenchError where the header or a row cannot be understood."""
    import pandas as pd

    kinds: dict[str, str | list[str]] = {}
    listed: dict[str, list[str]] = {}
    lines = enumerate(text.splitlines(), 1)
    for number, line in lines:
        word, _, rest = line.strip().replace("\t", " ").partition(" ")
        match word.lower():
            case "@attribute":
                name, kind = _attribute(rest.strip(), f"{path}, line {number}")
                if name in kinds:
                    raise BenchError(f"{path}, line {number}: two columns are called {name!r}: rename one in the file")
                kinds[name] = kind
            case "@inputs" | "@input" | "@outputs" | "@output":
                listed[word.lower()[1:].rstrip("s")] = [_bare(n) for n in rest.split(",")]
            case "@data":
                break
            case other if other and other[0] not in "%" and other != "@relation":
                raise BenchError(f"{path}, line {number}: {word!r} is not a line of an ARFF header")
    else:
        raise BenchError(f"{path} has no @data line: it is cut short or no ARFF file")
    if not kinds:
        raise BenchError(f"{path} declares no column (@attribute)")
    rows = [_row(line, kinds, f"{path}, line {n}") for n, line in lines if line.strip() and line.strip()[0] != "%"]
    table = pd.DataFrame(rows, columns=list(kinds), dtype=object)
    for name, kind in kinds.items():
        if kind in NUMBERS:
            table[name] = table[name].astype(np.float64)
    unlisted = [n for n in kinds if listed and n not in sum(listed.values(), [])]
    outputs = listed.get("output", [])
    nominal = [n for n, kind in kinds.items() if isinstance(kind, list) and n not in unlisted]
    return Declared(table.drop(columns=unlisted), nominal, outputs[0] if len(outputs) == 1 else None)


def _attribute(rest: str, where: str) -> tuple[str, str | list[str]]:
    """Name and kind of a column: a word, or the values of a nominal one."""
    found = re.fullmatch(rf"{NAME}\s*(.+)", rest)
    if not found:
        raise BenchError(f"{where}: an @attribute needs a name and a type")
    name, kind = _bare(found.group(1)), found.group(2).strip()
    if kind.startswith("{") and kind.endswith("}"):
        return name, [v for v in _fields(kind[1:-1], where) if v is not None]
    word = re.split(r"[\s\[]", kind, maxsplit=1)[0].lower()
    if word not in (*NUMBERS, "string", "date"):
        raise BenchError(f"{where}: columns of type {kind!r} are not read (numeric, nominal, string and date are)")
    return name, word


def _row(line: str, kinds: dict[str, str | list[str]], where: str) -> list[str | float | None]:
    if line.lstrip().startswith("{"):
        raise BenchError(f"{where}: rows of sparse ARFF are not read: write it dense (Weka's SparseToNonSparse)")
    values = _fields(line, where)
    if len(values) != len(kinds):
        raise BenchError(f"{where}: {len(values)} fields where the header declares {len(kinds)} columns")
    row: list[str | float | None] = []
    for value, (name, kind) in zip(values, kinds.items()):
        if value is not None and kind in NUMBERS:
            try:
                row.append(float(value.replace("_", "no number")))
            except ValueError as error:
                raise BenchError(f"{where}: {value!r} in the numeric column {name!r}") from error
        else:
            if isinstance(kind, list) and value is not None and value not in kind:
                raise BenchError(f"{where}: {value!r} is none of the values that column {name!r} declares")
            row.append(value)
    return row


def _fields(line: str, where: str) -> list[str | None]:
    """The values between commas; None for a gap that no quotes enclose."""
    values: list[str | None] = []
    position = 0
    while True:
        found = FIELD.match(line, position)
        if not found:
            raise BenchError(f"{where}: a quotation mark that does not close, or text after one")
        single, double, plain, end = found.groups()
        if plain is not None:
            values.append(None if plain in (*GAPS, "") else plain)
        else:
            values.append(re.sub(r"\\(.)", r"\1", single if single is not None else double))
        position = found.end()
        if not end:
            return values


def _bare(name: str) -> str:
    name = name.strip()
    if len(name) > 1 and name[0] == name[-1] and name[0] in "'\"":
        return re.sub(r"\\(.)", r"\1", name[1:-1])
    return name
