"""Text files of rows: unpacked, decoded and parsed, with what a parser lets pass in silence turned into errors."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import re
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imbalance_bench.data.overrides import override
from imbalance_bench.errors import BenchError

if TYPE_CHECKING:
    import pandas as pd

Unpack = Callable[[bytes], bytes]
PACKED: dict[str, tuple[re.Pattern[bytes], Unpack]] = {  # how the content of such a file begins, and what unpacks it
    ".gz": (re.compile(rb"\x1f\x8b"), gzip.decompress),
    ".bz2": (re.compile(rb"BZh[1-9]1AY&SY"), bz2.decompress),
    ".xz": (re.compile(rb"\xfd7zXZ\x00"), lzma.decompress),
}
NO_TEXT = {
    b"\xd0\xcf\x11\xe0": "a spreadsheet",
    b"%PDF": "a PDF file",
    b"\x89PNG": "an image",
    b"\xff\xd8\xff": "an image",
}
SEPARATORS = {"tab": "\t", "comma": ",", "semicolon": ";", "pipe": "|", "space": " "}
TABBED = (".tsv", ".tab")


def unpacked(content: bytes, path: Path) -> tuple[bytes, Path]:
    """The content of the file ``path`` without its packing (.gz, .bz2, .xz, .zip), and what the file is called then."""
    for suffix, (magic, unpack) in PACKED.items():
        if path.suffix.lower() == suffix or magic.match(content):
            try:
                content = unpack(content)
            except (OSError, EOFError, lzma.LZMAError, zlib.error, ValueError) as error:
                raise BenchError(
                    f"{path} cannot be unpacked ({error}): it is cut short, damaged or not a {suffix} file"
                ) from error
            path = path.with_suffix("") if path.suffix.lower() == suffix else path
            break
    if content[257:262] == b"ustar":
        raise BenchError(f"{path} is a tar archive: unpack it and set dataset.path to the file in it")
    if content[:4] == b"PK\x03\x04" or path.suffix.lower() == ".zip":
        return _from_zip(content, path)
    return content, path


def _from_zip(content: bytes, path: Path) -> tuple[bytes, Path]:
    """The one file in a zip archive."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = [n for n in archive.namelist() if not re.search(r"/$|(^|/)(\.|__MACOSX/)", n)]
            if "[Content_Types].xml" in names or "mimetype" in names:
                raise BenchError(f"{path} is a spreadsheet: save it as CSV and set dataset.path to that file")
            if len(names) != 1:
                found = ", ".join(names[:5]) or "none"
                raise BenchError(f"{path} holds {len(names)} files ({found}): unpack it and set dataset.path to one")
            return archive.read(names[0]), Path(names[0])
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, zlib.error, EOFError) as error:
        # RuntimeError: it has a password
        raise BenchError(f"{path} cannot be unpacked ({error}): unpack it by other means") from error


def decoded(content: bytes, path: Path, encoding: str) -> str:
    """``content`` as text, without a byte order mark."""
    if kind := next((kind for magic, kind in NO_TEXT.items() if content.startswith(magic)), None):
        raise BenchError(f"{path} is {kind}, not text: save it as CSV and set dataset.path to that file")
    likely = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "latin-1 (western), gbk (Chinese)"
    try:
        text = content.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise BenchError(
            f"{path}, line {line}: byte {content[error.start]:#04x} (number {error.start + 1} of the file) is not "
            f"{encoding}: set dataset.encoding, e.g. {likely}"
        ) from error
    except UnicodeError as error:
        raise BenchError(f"{path} is not {encoding} ({error}): set dataset.encoding, e.g. utf-8") from error
    except (LookupError, ValueError) as error:  # a name with a NUL is a ValueError
        raise BenchError(f"dataset.encoding={encoding!r} is unknown: utf-8, latin-1, gbk, ...") from error
    if not isinstance(text, str):
        raise BenchError(f"dataset.encoding={encoding} does not make text: utf-8, latin-1, gbk, ...")
    if "\0" in text:
        raise BenchError(
            f"{path}, line {text[: text.index(chr(0))].count(chr(10)) + 1} holds a NUL character: it is damaged, no "
            "text, or in another encoding, e.g. dataset.encoding=utf-16-le"
        )
    return text


def separator_of(given: str, path: Path) -> str:
    """The separator that ``dataset.separator`` means, tabs in every usual spelling; the default of a .tsv file is a
    tab."""
    if path.suffix.lower() in TABBED and given in (",", ""):
        return "\t"
    spelled = SEPARATORS.get(given.lower(), re.sub(r"^\\+t$", "\t", given))
    if len(spelled) != 1 and spelled != r"\s+":
        raise BenchError(
            f"dataset.separator={given!r} must be one character, one of {', '.join(SEPARATORS)}, or '\\s+' (any blanks)"
        )
    if spelled in "\"'\r\n" or spelled.isalnum():
        raise BenchError(f"dataset.separator={given!r} cannot be told from the fields: use another character")
    return spelled


def parse(
    text: str, path: Path, separator: str, options: dict[str, Any], quoting: int = csv.QUOTE_MINIMAL
) -> pd.DataFrame:
    """The table with a header line that ``text`` is; ``options`` of ``pandas.read_csv``. Raises BenchError where a row
    has more or fewer fields than the header. A second column ``y`` is called ``y.1`` (see ``unique``)."""
    import pandas as pd

    if head := re.match(r"\s*<(!doctype|html|\?xml)", text, re.IGNORECASE):
        raise BenchError(
            f"{path} is a page of markup ({head.group().strip()} ...), not a table: download the file again"
        )
    if re.match(r"\s*(\[\s*)?\{\s*\"", text):
        raise BenchError(f"{path} is JSON, not a table with a header line: write it as CSV or Parquet")
    options = {"sep": separator, "quoting": quoting, "low_memory": False, **options}
    try:
        as_words = {"dtype": str, "keep_default_na": False, "na_values": []}
        first = options | as_words | {"header": None, "nrows": 1, "usecols": None}
        names = pd.read_csv(_stream(text), **first)
        header = [str(n) for n in names.iloc[0]]
        _check_separator(header, path, separator)
        table = pd.read_csv(_stream(text), **options)
    except pd.errors.EmptyDataError as error:
        raise BenchError(f"{path} is empty") from error
    except ValueError as error:  # parser errors are among these
        raise BenchError(
            f"{path} cannot be read as a table with a header line and fields parted by {separator!r} "
            f"({str(error).strip()})"
        ) from error
    if not isinstance(table.index, pd.RangeIndex):
        if re.match(r"#|sep=", header[0]):
            raise BenchError(f"{path}: the first line, {header[0]!r}, is not a header line: take it out of the file")
        fields = len(header) + table.index.nlevels
        last = table.iloc[:, -1]
        why = f"every row ends in {separator!r}" if last.isna().all() else "a name is missing there"
        raise BenchError(
            f"{path}: rows have more fields ({fields}) than the header line has names ({len(header)}), {why}: take the "
            "surplus field out of the rows, or add a name to the end of the header line"
        )
    table.columns = table.columns.map(str).str.strip()
    table.attrs["header"] = header
    if len(table) and len(header) > 1 and len(separator) == 1 and table.iloc[:, -1].isna().any():
        _check_short_rows(text, path, header, separator, quoting)
    return table


def unique(table: pd.DataFrame, path: Path | str, dropped: Sequence[str] | None = None) -> None:
    """Raises BenchError where two columns of a table of ``parse`` have one name, unless the second is ``dropped``;
    None: columns cannot be left out."""
    seen: dict[str, int] = {}
    columns = list(table.columns)
    for place, (name, column) in enumerate(zip(table.attrs["header"], table.columns)):
        name = name.strip()
        alone = columns.count(column) == 1  # else the name says both of them: "y" and "y "
        if name in seen and name and not (alone and column in (dropped or ())):
            or_drop = (
                "" if dropped is None or not alone else f", or leave the second out with {override('drop', column)}"
            )
            raise BenchError(
                f"{path}: two columns are called {name!r}, number {seen[name] + 1} and number {place + 1}: rename one "
                f"in the file{or_drop}"
            )
        seen.setdefault(name, place)


def _stream(text: str) -> io.StringIO:
    return io.StringIO(text, newline="")


def _check_separator(header: Sequence[str], path: Path, separator: str) -> None:
    """A header of one column is read with the wrong separator: a table has two at least."""
    if len(header) > 1:
        return
    for other in ("\t", ";", ",", "|"):
        if other != separator and other in header[0]:
            if path.suffix.lower() in TABBED:
                remedy = f"in a {path.suffix} file fields are parted by tabs; rename it to .csv"
            else:
                word = next(k for k, v in SEPARATORS.items() if v == other)
                remedy = f"its fields seem to be parted by {other!r}: set dataset.separator={word}"
            raise BenchError(f"{path} has one column only, {header[0]!r}, when parted by {separator!r}: {remedy}")


def _check_short_rows(text: str, path: Path, header: Sequence[str], separator: str, quoting: int) -> None:
    """pandas fills rows with fewer fields than the header with gaps."""
    reader = csv.reader(_stream(text), delimiter=separator, quoting=quoting, skipinitialspace=True)  # type: ignore[arg-type]
    try:
        for row in reader:
            if 0 < len(row) < len(header) and (len(row) > 1 or row[0].strip()):
                raise BenchError(
                    f"{path}, line {reader.line_num}: {len(row)} fields where the header line has {len(header)}: a "
                    "separator is missing there, or the line is not a row; fix it in the file"
                )
    except csv.Error:  # a field of more than 128 KiB: pandas has read it, and this check is not for such files
        return
