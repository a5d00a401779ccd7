"""A sheet as Markdown, CSV and LaTeX."""

from __future__ import annotations

import re

from imbalance_bench.report.sheet import Item, Sheet, commented_csv, one_line


def markdown(sheet: Sheet) -> str:
    from tabulate import tabulate

    comments = (re.sub("--(?=!?>)", "-- ", one_line(line)) for line in sheet.provenance)
    parts = ["\n".join(f"<!-- {line} -->" for line in comments), f"## {_markdown_escape(sheet.title)}"]
    for block in sheet.blocks:
        if block.heading:
            parts.append(f"### {_markdown_escape(block.heading)}")
        header = [_markdown_escape(head) for head in block.header]
        rows = [[_markdown_item(item) for item in row] for row in block.rows + block.summary]
        align = ["left"] * block.keys + ["right"] * (len(block.header) - block.keys)
        parts.append(tabulate(rows, header, "pipe", colalign=align, disable_numparse=True))
    parts.append("\n".join(f"- {_markdown_escape(line)}" for line in sheet.notes))
    return "\n\n".join(parts) + "\n"


def _markdown_item(item: Item) -> str:
    text = _markdown_escape(item.text)
    return f"{f'**{text}**' if item.bold else text} {_markdown_escape(item.aside)}".strip()


def _markdown_escape(text: str) -> str:
    """Text that Markdown shows as it stands: no markup, link, entity, formula or cell border comes from data."""
    return re.sub(r"[\\`*<|~$]|(?<!\w)_|_(?!\w)|(?<=\])\(|&(?=#?\w+;)", r"\\\g<0>", one_line(text))


def tidy_csv(sheet: Sheet) -> str:
    """The tidy numbers under a header of ``#`` lines (``pandas.read_csv(..., comment="#")``)."""
    return commented_csv([sheet.title, *sheet.provenance, *sheet.notes], sheet.frame)


_TEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "−": "$-$", "≥": r"$\geq$", "≤": r"$\leq$",
    "Δ": r"$\Delta$", "×": r"$\times$", "–": "--", "†": r"\dag{}", "…": r"\ldots{}", "η": r"$\eta$", "θ": r"$\theta$",
    "χ": r"$\chi$", "²": r"$^2$", "γ": r"$\gamma$", "<": r"$<$", ">": r"$>$", "|": r"$|$", "→": r"$\rightarrow$",
}  # fmt: skip


def tex_escape(text: str) -> str:
    return re.sub("|".join(map(re.escape, _TEX)), lambda match: _TEX[match.group()], one_line(text))


def tex_line(text: str) -> str:
    """A line that may stand below one ended by two backslashes, which would read [ and * as their own."""
    return re.sub(r"^([\[*])", r"{\1}", text) + r" \\"


def latex(sheet: Sheet) -> str:
    """One ``table*`` a block, rules by booktabs, shrunk to the text width where it is wider (graphicx)."""
    lines = [f"% {one_line(line)}" for line in sheet.provenance]
    lines.append(r"% \usepackage{booktabs,graphicx}")
    for index, block in enumerate(sheet.blocks):
        caption = sheet.title + (f": {block.heading}" if block.heading else "")
        key = rf"p{{{0.9 / block.keys:.2f}\textwidth}}" if sheet.prose else "l"
        columns = key * block.keys + "r" * (len(block.header) - block.keys)
        lines += [
            r"\begin{table*}[t]",
            r"\centering\footnotesize",
            rf"\caption{{{tex_escape(caption)}}}",
            r"\resizebox{\ifdim\width>\textwidth\textwidth\else\width\fi}{!}{%",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            tex_line(" & ".join(map(tex_escape, block.header))),
            r"\midrule",
            *(_latex_row(row) for row in block.rows),
            *([r"\midrule", *(_latex_row(row) for row in block.summary)] if block.summary else []),
            r"\bottomrule",
            r"\end{tabular}}",
        ]
        if index == len(sheet.blocks) - 1:
            lines += [
                r"\begin{flushleft}\scriptsize",
                *(tex_line(tex_escape(note)) for note in sheet.notes),
                r"\end{flushleft}",
            ]
        lines += [r"\end{table*}", ""]
    return "\n".join(lines)


def _latex_row(row: list[Item]) -> str:
    return tex_line(" & ".join(map(_latex_item, row)))


def _latex_item(item: Item) -> str:
    text = tex_escape(item.text)
    if item.bold:
        text = rf"\textbf{{{text}}}"
    return text + (rf" {{\scriptsize {tex_escape(item.aside)}}}" if item.aside else "")
