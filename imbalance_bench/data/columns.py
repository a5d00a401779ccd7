"""Columns of a user's table: which of them are numbers, and remarks on them for the user.

Nothing is guessed in silence: a column whose values are mostly numbers, or would be with another decimal mark, is an
error that says how to read it. ``dataset.decimal``, ``thousands``, ``missing`` and ``categorical`` are the answers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from imbalance_bench.data.overrides import assignment, override
from imbalance_bench.errors import BenchError

if TYPE_CHECKING:
    import pandas as pd

BLANKS = " \u00a0\u202f"  # between the thousands of a number: a space, a no-break one, a narrow one
UNITS = r"[$€£¥₹%()]"  # (5) is an accountant's -5
FEW = 20  # rows: of fewer nothing is said
MANY = 20  # numbers with letters after them, 5kg, are a column of numbers when there are more than this
IDENTIFIER = re.compile(r"^Unnamed: \d+$|(?:^|[_ .-])(?i:id|index|key|number)$|[a-z]I[Dd]$")
DATE = re.compile(
    r"(\d{4}-\d{1,2}-\d{1,2}|\d{4}/\d{1,2}/\d{1,2}|\d{1,2}([./-])\d{1,2}\2\d{4})"
    r"([ T]\d{1,2}:\d{2}(:\d{2}([.,]\d+)?)?( ?[AaPp][Mm])?( ?(Z|UTC|[+-]\d{2}:?\d{2}))?)?"
)
STRAYS = 5  # so many different words among numbers may be names of a gap


@dataclass(frozen=True)
class NumberFormat:
    """How numbers are written: the decimal mark, the mark between thousands (" ": blanks of any kind), and, for
    messages, a mark around them."""

    decimal: str = "."
    thousands: str | None = None
    unit: str = ""

    def _pattern(self) -> re.Pattern[str]:
        digits = r"\d+"
        if self.thousands:
            mark = f"[{BLANKS}]" if self.thousands == " " else re.escape(self.thousands)
            digits = rf"(?:[1-9]\d{{0,2}}(?:{mark}\d{{3}})+|\d+)"
        point = re.escape(self.decimal)
        number = rf"(?:{digits}(?:{point}\d*)?|{point}\d+)(?:[eE][-+]?\d+)?|inf(?:inity)?"
        before, after = (rf"(?:{self.unit}\s?)?", rf"(?:\s?{self.unit})?") if self.unit else ("", "")
        return re.compile(
            rf"{before}[-+]?{before}(?:{number}){after}".replace("[-+]", "[-+\u2212]"), re.ASCII | re.IGNORECASE
        )

    def fits(self, words: Iterable[str]) -> np.ndarray:
        pattern = self._pattern()
        return np.array([bool(pattern.fullmatch(w)) for w in words], bool)

    def number(self, word: str) -> float:
        if self.thousands:
            word = re.sub(f"[{BLANKS}]" if self.thousands == " " else re.escape(self.thousands), "", word)
        return float(word.replace(self.decimal, ".").replace("\u2212", "-"))  # typographers' minus

    def keys(self, given: NumberFormat) -> list[str]:
        """The overrides that turn ``given`` into this format."""
        pairs = [(k, getattr(self, k)) for k in ("decimal", "thousands") if getattr(self, k) != getattr(given, k)]
        return [f"dataset.{k}=null" if v is None else assignment(k, v) for k, v in pairs]


COMMA, GROUPED = NumberFormat(","), NumberFormat(".", ",")  # 51,330 may be either
FORMATS = (
    *(NumberFormat(), COMMA, GROUPED, NumberFormat(",", "."), NumberFormat(".", " "), NumberFormat(",", " ")),
    *(NumberFormat(".", "'"), NumberFormat(".", "_"), NumberFormat(".", None, UNITS), NumberFormat(",", None, UNITS)),
    *(NumberFormat(".", ",", UNITS), NumberFormat(",", ".", UNITS)),
)


def numeric_columns(table: pd.DataFrame, given: NumberFormat, categorical: Sequence[str], path: Any) -> pd.DataFrame:
    """``table`` with the columns that hold numbers as numbers, and those of ``categorical`` as words. Raises BenchError
    where a column is mostly numbers, or of a kind that is neither number nor category."""
    import pandas as pd

    found, problems = {}, []
    for name in table.columns:
        column = table[name]
        if name in categorical:
            found[name] = words_of(column)
            continue
        column = _plain(column, path)
        words = column.dropna()
        if _holds_objects(column) and all(isinstance(w, str) for w in words):  # not true and false with gaps, say
            words = words.str.strip()
            kinds = words.unique()
            if len(words) and given.fits(kinds).all():
                column = column.str.strip().map({w: given.number(w) for w in kinds}).astype(np.float64)
            elif len(words) and all(DATE.fullmatch(word) for word in kinds):
                as_words = f"; to read it as a category, {override('categorical', str(name))}"
                raise BenchError(_dates(str(name), kinds[0], path) + as_words)
            elif problem := Problem.of(str(name), words, given):
                problems.append(problem)
        found[name] = column
    if problems:
        raise BenchError(f"dataset.path={path}: {_advice(problems, given)}")
    return pd.DataFrame(found, index=table.index)


def numbers_of(column: pd.Series, given: NumberFormat, path: Any) -> pd.Series:
    """A column of new rows that held numbers in training. Raises BenchError where a value is none."""
    column = _plain(column, path)
    if not _holds_objects(column):
        return column
    words = column.map(lambda word: word.strip() if isinstance(word, str) else word)
    strings = words[words.map(lambda word: isinstance(word, str)).astype(bool)]
    strays = strings[~given.fits(strings)]
    if len(strays):
        problem = Problem.of(str(column.name), strings, given)
        if problem is not None and not problem.form.unit and (keys := problem.form.keys(given)):
            keys += [override("missing", *problem.strays)] if 0 < len(problem.strays) <= STRAYS else []
            or_else = f", or {' '.join(GROUPED.keys(given))} where the comma parts thousands" if problem.either else ""
            raise BenchError(f"{path}: {problem}. Read them so by {' '.join(keys)}{or_else}")
        first = str(strays.iloc[0])
        raise BenchError(
            f"{path}: column {str(column.name)!r} holds numbers in the training data, and here {first!r} and the like "
            f"in {len(strays)} of {len(column)} rows, the first is row {strays.index[0]} (from 0): fix them, or read "
            f"them as gaps by {override('missing', *map(str, strays.unique()[:STRAYS]))}"
        )
    return words.map(lambda word: given.number(word) if isinstance(word, str) else word).astype(np.float64)


def _holds_objects(column: pd.Series) -> bool:
    import pandas as pd

    return column.dtype == object or pd.api.types.is_string_dtype(column)


def words_of(column: pd.Series) -> pd.Series:
    """Whole numbers without the .0 that a gap in their column gives them."""
    import pandas as pd

    if pd.api.types.is_float_dtype(column) and (column.dropna() % 1 == 0).all():
        column = column.astype("Int64")
    return column.astype(object).where(column.notna(), None).map(str, na_action="ignore")


def _plain(column: pd.Series, path: Any) -> pd.Series:
    """Durations as seconds, decimal numbers as floats. Raises BenchError for values that no feature is made of."""
    import datetime
    from decimal import Decimal

    import pandas as pd

    if pd.api.types.is_timedelta64_dtype(column):
        return column.dt.total_seconds()
    values = column.dropna()
    if pd.api.types.is_datetime64_any_dtype(column) or isinstance(column.dtype, pd.PeriodDtype):
        kinds: set[type] = {datetime.datetime}
    else:
        kinds = set(map(type, values)) if column.dtype == object else set()
    if kinds and all(issubclass(k, (Decimal, int, float, np.number)) and k is not bool for k in kinds):
        return column.astype(object).where(column.notna(), np.nan).astype(np.float64)
    for kind in kinds:
        if issubclass(kind, datetime.timedelta):
            return pd.to_timedelta(column).dt.total_seconds()
        if issubclass(kind, (datetime.date, datetime.time)):
            raise BenchError(_dates(str(column.name), values.iloc[0], path))
        if not issubclass(kind, (str, bool, np.bool_, Decimal, int, float, np.number)):
            raise BenchError(
                f"dataset.path={path}: column {column.name!r} holds values of type {kind.__name__}, which are neither "
                f"numbers nor categories: leave it out with {override('drop', str(column.name))}"
            )
    return column


def _dates(name: str, example: Any, path: Any) -> str:
    ordered = "" if re.match(r"\d{4}-", str(example)) else " (written as 2024-12-31)"
    return (
        f"dataset.path={path}: column {name!r} holds dates or times ({example}), which are neither numbers nor "
        f"categories: leave it out with {override('drop', name)}, put what matters of it (a year, an age in days) into "
        f"a column of numbers, or split by it{ordered} with protocol=past_future and {assignment('time', name)}"
    )


@dataclass(frozen=True)
class Problem:
    """A column of words, ``rows`` of whose ``total`` values are numbers written in ``form``; ``strays``: the other
    values → rows."""

    column: str
    rows: int
    total: int
    example: str
    form: NumberFormat
    strays: dict[str, int]
    marked: bool  # ``form`` is not the one given
    either: bool  # the comma may be between thousands or before decimals

    @classmethod
    def of(cls, name: str, words: pd.Series, given: NumberFormat) -> Problem | None:
        """None where half of the words or fewer are numbers, in whatever format."""
        counts = words.value_counts()
        rows = counts.to_numpy()
        fits = {form: form.fits(counts.index) for form in (given, *FORMATS, *_with_units(counts.index))}
        best = max(fits, key=lambda form: rows[fits[form]].sum())  # the first of equals
        most = int(rows[fits[best]].sum())
        if most * 2 <= len(words):
            return None
        odd = fits[best] & ~fits[given]
        example = str(counts.index[odd if odd.any() else fits[best]][0])
        either = best == COMMA and rows[fits[GROUPED]].sum() == most
        strays = {str(w): int(n) for w, n in counts[~fits[best]].items()}
        return cls(name, most, len(words), example, best, strays, best != given, either)

    def __str__(self) -> str:
        text = f"column {self.column!r}: {self.rows:,} of {self.total:,} values are numbers"
        text += f" written as {self.example!r}" if self.marked else ""
        some = [f"{w!r} in {n} row{'s' * (n > 1)}" for w, n in list(self.strays.items())[:3]]
        return text + (f"; {', '.join(some)}{' ...' * (len(self.strays) > 3)}" if some else "")


def _with_units(words: Sequence[str]) -> list[NumberFormat]:
    """Numbers with letters after them, the same in all; only for many different ones: 1st, 2nd are categories."""
    found = [m for w in words if (m := re.fullmatch(r"[-+]?[\d.,]*\d\s?([A-Za-z°]{1,8})", w))]
    units = {m.group(1) for m in found}
    return [NumberFormat(".", None, re.escape(units.pop()))] if len(units) == 1 and len(found) > MANY else []


def _advice(problems: Sequence[Problem], given: NumberFormat) -> str:
    """The error message, with overrides that read all these columns at once where such exist."""
    names = [p.column for p in problems]
    it, category = ("it", "a category") if len(names) == 1 else ("them", "categories")
    as_words = f"to read {it} as {category}, {override('categorical', *names)}"
    text = "; ".join(map(str, problems[:5])) + (f"; and {len(problems) - 5} more columns" if len(problems) > 5 else "")
    forms = {p.form for p in problems if p.marked and not p.either} or {problems[0].form}
    strays = sorted({w for p in problems for w in p.strays})
    if all(p.column in p.strays for p in problems):
        return f"{text}. The header line comes again among the rows: take it out of the file"
    numbers = any(f.fits(strays).any() for f in FORMATS)  # these are no names of a gap
    if len(forms) > 1 or any(f.unit for f in forms) or len(strays) > STRAYS or numbers:
        fix = "Write all numbers alike" if numbers else "Take what is not a number out of the file"
        fix = "Take the marks out of the file" if any(f.unit for f in forms) else fix
        return f"{text}. {fix}; {as_words}; to leave {it} out, {override('drop', *names)}"
    form = next(iter(forms))
    keys = form.keys(given) + ([override("missing", *strays)] if strays else [])
    read = f"To read {it} as numbers{' with gaps' if strays else ''}, {' '.join(keys)}"
    if form == COMMA and all(p.either for p in problems):
        other = GROUPED.keys(given) + keys[len(form.keys(given)) :]
        read += f" ({problems[0].example} = {form.number(problems[0].example):g}) or {' '.join(other)} "
        read += f"({GROUPED.number(problems[0].example):g})"
    return f"{text}. {read}; {as_words}"


def remarks(table: pd.DataFrame, y: np.ndarray, target: str) -> list[str]:
    """Facts about the feature columns to know before believing a number."""
    found = []
    first = ~table.duplicated().to_numpy()  # copies of a row say nothing new of how a column and the class go together
    for name in table.columns:
        if text := _remark(table[name], y, target, first):
            found.append(f"column {str(name)!r} {text}: if it should not be a feature, {override('drop', str(name))}")
    return found


def _remark(column: pd.Series, y: np.ndarray, target: str, first: np.ndarray) -> str | None:
    import pandas as pd

    n, kinds = len(column), column.nunique()
    if not kinds:
        return "is empty"
    numeric = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
    if n >= FEW and kinds == n:
        if not numeric:
            return "is different in every row, as an identifier or a text is"
        if (column % 1 == 0).all():
            if column.max() - column.min() == n - 1:
                return "numbers the rows"
            if IDENTIFIER.search(str(column.name)):
                return "is a different whole number in every row, as an identifier is"
    elif n >= FEW and not numeric and kinds > n / 2:
        return f"has {kinds} different values in {n} rows, as an identifier or a text has"
    if n >= FEW and kinds > 1 and _decides(column[first], y[first], numeric):
        return f"decides {target} alone, as a copy of it or a value known only afterwards does"
    return None


def _decides(column: pd.Series, y: np.ndarray, numeric: bool) -> bool:
    """Whether each class has values of its own: the same for all rows of a value, or an interval of numbers a class."""
    import pandas as pd

    codes, kinds = pd.factorize(column, use_na_sentinel=False)  # a gap is a value like another
    classes = int(y.max()) + 1
    if len(np.unique(codes * classes + y)) > len(kinds):
        return False
    if len(kinds) * 2 <= len(column):
        return True
    if not numeric or column.isna().any():  # words and gaps have no order
        return False
    ordered = y[np.argsort(column.to_numpy())]
    return bool((ordered[1:] != ordered[:-1]).sum() == classes - 1)
