"""A sheet as LaTeX: rules by booktabs, numbers in columns of siunitx; what is wide turns or goes on in another table,
what is long goes on over pages."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from imbalance_bench.report.sheet import Block, Item, Sheet, one_line

PACKAGES = r"\usepackage{booktabs,longtable,pdflscape,siunitx}"
SETUP = (
    r"\footnotesize\setlength{\tabcolsep}{3pt}\setlength{\belowcaptionskip}{4pt}"
    r"\sisetup{separate-uncertainty,retain-zero-uncertainty,retain-explicit-plus,detect-weight,mode=text}"
)
PORTRAIT, LANDSCAPE = 460.0, 630.0  # points: a page's text, with margins of an inch
LINES = 42  # rows of a table that fits an upright page
LETTER, SMALLER, BETWEEN = 4.4, 0.87, 6.0  # points: of 8 point type a letter; how much less \scriptsize is; of a column
SHORT = 15  # rows of a wide table that is broken rather than turned
WIDEST = 170.0  # points of a name, which is broken above
HEAD = 18  # letters of a heading, which is broken above

_TEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "−": "$-$", "≥": r"$\geq$", "≤": r"$\leq$",
    "Δ": r"$\Delta$", "×": r"$\times$", "–": "--", "†": r"\dag{}", "…": r"\ldots{}", "η": r"$\eta$", "θ": r"$\theta$",
    "χ": r"$\chi$", "²": r"$^2$", "γ": r"$\gamma$", "<": r"$<$", ">": r"$>$", "|": r"$|$", "→": r"$\rightarrow$",
    "α": r"$\alpha$", "√": r"$\surd$", "·": r"$\cdot$",
}  # fmt: skip
_NUMBER = re.compile(r"([+-]?)(\d+)(?:\.(\d+))?(?: ± (\d+)(?:\.(\d+))?)?((?: \[\d+\])*)")
_WORD = re.compile(r"([^\d±]*?)((?: ?\[\d+\])*)")


def tex_escape(text: str) -> str:
    """Text that LaTeX shows as it stands; the sign of a number is a minus, at which no line breaks."""
    shown = re.sub("|".join(map(re.escape, _TEX)), lambda match: _TEX[match.group()], one_line(text))
    return re.sub(r"(?<![\w.})])-(?=\d)", "$-$", shown)


def tex_line(text: str) -> str:
    """A line that may stand below one ended by two backslashes, which would read [ and * as their own."""
    return re.sub(r"^([\[*])", r"{\1}", text) + r" \\"


def latex(sheet: Sheet) -> str:
    lines = [f"% {one_line(line)}" for line in sheet.provenance]
    lines.append(f"% {PACKAGES}")
    tables: list[list[str]] = []
    for block in sheet.blocks:
        caption = sheet.title + (f": {block.heading}" if block.heading else "")
        tables += _tables(caption, _columns(block, sheet.prose), len(block.rows), bool(block.summary))
    notes = [r"\begin{flushleft}\scriptsize", *(tex_line(tex_escape(note)) for note in sheet.notes), r"\end{flushleft}"]
    if tables and sheet.notes:
        tables[-1][-1:-1] = notes  # in the environment of the last table
    return "\n".join([*lines, *("\n".join([*table, ""]) for table in tables)])


@dataclass(frozen=True)
class _Column:
    """``spec``: as of tabular; ``cells``: of the heading and of each row, the two of a number and what is beside it
    with & between; ``key``: it names the row; ``width`` in points."""

    spec: str
    cells: list[str]
    key: bool
    width: float


def _columns(block: Block, prose: bool) -> list[_Column]:
    rows = [*block.rows, *block.summary]
    columns = [(head, [row[place] for row in rows]) for place, head in enumerate(block.header)]
    others = [_numbers(*column) or _texts(*column) for column in columns[block.keys :]]
    keys = columns[: block.keys]
    names = [_names(*column) for column in keys]
    if prose:  # sentences share what the others leave of a turned page
        longest = [max(len(head), *(len(i.text) for i in items)) for head, items in keys]
        room = LANDSCAPE - 1 - sum(column.width for column in others)
        room -= sum(BETWEEN if n > HEAD else name.width for n, name in zip(longest, names))
        means = [min(sum(len(i.text) for i in items) / len(items), 80) if items else 1 for _, items in keys]
        shared = sum(mean for mean, n in zip(means, longest) if n > HEAD)
        names = [
            _names(*column, room * mean / shared) if n > HEAD else name
            for column, mean, n, name in zip(keys, means, longest, names)
        ]
    return [*names, *others]


def _names(head: str, items: Sequence[Item], room: float = 0.0) -> _Column:
    """A column that names rows; ``room``: its width where its texts are to be broken into lines (0: they may stand)."""
    cells = [tex_escape(head), *map(_text, items)]
    width = LETTER * max(len(text) for text in (head, *(item.text for item in items)))
    if room or width > WIDEST:
        width = room or WIDEST
        cells = [cell.replace(r"\_", r"\_\allowbreak{}") for cell in cells]
        return _Column(rf">{{\raggedright\arraybackslash}}p{{{width:.0f}pt}}", cells, True, width + BETWEEN)
    return _Column("l", cells, True, width + BETWEEN)


def _numbers(head: str, items: Sequence[Item]) -> _Column | None:
    """A column of siunitx, and one for footnote marks and what stands aside; None where there is another text."""
    found = [_NUMBER.fullmatch(item.text) for item in items]
    words = [None if number else _WORD.fullmatch(item.text) for number, item in zip(found, items)]
    if not any(found) or not all(number or word for number, word in zip(found, words)):
        return None
    sign, whole, decimals, spread = "", 1, 0, 0
    cells, beside = [], []
    for item, number, word in zip(items, found, words):
        if number:
            plus, digits, after, sd, sd_after, marks = number.groups("")
            sign, whole, decimals = sign or plus and "+", max(whole, len(digits)), max(decimals, len(after))
            spread = max(spread, len((sd + sd_after).lstrip("0") or "0") if sd else 0)
            text = f"{plus}{digits}{'.' + after if after else ''}"
            text += f" +- {sd}{'.' + sd_after if sd_after else ''}" if sd else ""
            cells.append((r"\bfseries " if item.bold else "") + text)
        else:
            assert word
            text, marks = word.groups()
            cells.append(f"{{{tex_escape(text)}}}" if text else "")
        beside.append(" ".join(filter(None, [tex_escape(marks.strip()), tex_escape(item.aside)])))
    form = f"{sign}{whole}.{decimals}" + (f"({spread})" if spread else "")
    letters = whole + decimals + 1 + bool(sign) + (decimals + 5 if spread else 0)
    width = max(LETTER * letters, *(LETTER * len(cell) for cell in cells if cell.startswith("{")), 0.0)
    heading, head_width = _heading(head)
    spec = f"S[table-format={form}]"
    if not any(beside):
        return _Column(spec, [f"{{{heading}}}", *cells], False, max(width, head_width) + BETWEEN)
    width += 2 + SMALLER * LETTER * max(map(len, beside))
    small = [rf"{{\scriptsize {text}}}" if text else "" for text in beside]
    rows = [f"{cell} & {text}".rstrip() for cell, text in zip(cells, small)]
    heading = rf"\multicolumn{{2}}{{c}}{{{heading}}}"
    return _Column(rf"{spec}@{{\,}}l", [heading, *rows], False, max(width, head_width) + BETWEEN)


def _texts(head: str, items: Sequence[Item]) -> _Column:
    heading, width = _heading(head)
    letters = max((len(item.text) + SMALLER * (len(item.aside) + bool(item.aside)) for item in items), default=0)
    return _Column("r", [heading, *map(_text, items)], False, max(width, LETTER * letters) + BETWEEN)


def _heading(head: str) -> tuple[str, float]:
    """A heading on as many lines as it needs, broken at spaces and behind underscores, and its width."""
    lines = [""]
    for word in re.findall(r"[^ _]+_*|_+| ", head):
        if lines[-1] and len(lines[-1]) + len(word) > HEAD and word != " ":
            lines.append("")
        lines[-1] += word
    lines = [line.strip() for line in lines]
    text = r" \\ ".join(map(tex_escape, lines))
    return rf"\shortstack{{{text}}}" if len(lines) > 1 else text, LETTER * max(map(len, lines))


def _text(item: Item) -> str:
    text = tex_escape(item.text)
    if item.bold:
        text = rf"\textbf{{{text}}}"
    return text + (rf" {{\scriptsize {tex_escape(item.aside)}}}" if item.aside else "")


def _tables(caption: str, columns: Sequence[_Column], rows: int, summary: bool) -> list[list[str]]:
    """The tables of a block: one, or as many as its columns need."""
    wide = sum(column.width for column in columns) > PORTRAIT
    upright = _parts(columns, PORTRAIT)
    turned = wide and (rows > SHORT or len(upright) > 3 or any(sum(c.width for c in p) > PORTRAIT for p in upright))
    parts = _parts(columns, LANDSCAPE) if turned else upright
    made = []
    for number, part in enumerate(parts, 1):
        said = caption + (f" (part {number} of {len(parts)})" if len(parts) > 1 else "")
        made.append(_table(said, part, rows, summary, turned))
    return made


def _parts(columns: Sequence[_Column], width: float) -> list[list[_Column]]:
    """The columns in as few groups of about one width as fit a page of ``width``, the names of the rows in each."""
    keys = [column for column in columns if column.key]
    others = columns[len(keys) :]
    most = width - sum(column.width for column in keys)
    count = len(_filled(others, most))
    even = sum(column.width for column in others) / max(count, 1)
    tried = (even + (most - even) * step / 10 for step in range(11) if even < most)
    parts = next((found for room in tried if len(found := _filled(others, room)) == count), _filled(others, most))
    return [[*keys, *part] for part in parts]


def _filled(columns: Sequence[_Column], room: float) -> list[list[_Column]]:
    parts: list[list[_Column]] = [[]]
    for column in columns:
        if parts[-1] and sum(c.width for c in parts[-1]) + column.width > room:
            parts.append([])
        parts[-1].append(column)
    return parts


def _table(caption: str, columns: Sequence[_Column], rows: int, summary: bool, turned: bool) -> list[str]:
    head, *body = (tex_line(" & ".join(cells)) for cells in zip(*(column.cells for column in columns)))
    if summary:
        body.insert(rows, r"\midrule")
    spec = "".join(column.spec for column in columns)
    title, above = rf"\caption{{{tex_escape(caption)}}}", [r"\toprule", head, r"\midrule"]
    if len(body) <= LINES and not turned:
        table = [
            rf"\begin{{tabular}}{{{spec}}}",
            *above,
            *body,
            r"\bottomrule",
            r"\end{tabular}",
        ]
        return [r"\begin{table*}[t]", rf"\centering{SETUP}", title, *table, r"\end{table*}"]
    table = [
        r"\setlength{\LTcapwidth}{\linewidth}", rf"\begin{{longtable}}{{{spec}}}",
        rf"{title} \\", *above, r"\endfirsthead", *above, r"\endhead", r"\bottomrule", r"\endlastfoot",
        *body,
        r"\end{longtable}",
    ]  # fmt: skip
    inside = [r"\begingroup", SETUP, *table, r"\endgroup"]
    return [r"\begin{landscape}", *inside, r"\end{landscape}"] if turned else inside
