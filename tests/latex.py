"""What breaks LaTeX, looked for without TeX and, where it is installed, by compiling."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from imbalance_bench.report.writing.latex import PACKAGES

COLUMN = r"(?:>\{(?:[^{}]|\{[^}]*\})*\})?p\{[^}]*\}|S\[[^]]*\]|[lr]"
RULES = r"\\(?:top|mid|bottom)rule|\\end(?:firsthead|head|lastfoot)|\\caption\{.*\} \\\\"
DOCUMENT = rf"""\documentclass{{article}}
\usepackage[T1]{{fontenc}}\usepackage[utf8]{{inputenc}}\usepackage{{textcomp}}\usepackage[margin=1in]{{geometry}}
{PACKAGES}
\begin{{document}}
%s
\end{{document}}
"""


def check_latex(content: str) -> None:
    """Asserts that a file of ``latex`` declares the columns that its rows have, closes what it opens, and has no sign
    of LaTeX's own that is not escaped."""
    text = "\n".join(line for line in content.splitlines() if not line.startswith("%"))
    assert not re.search(r"^[ \t]*[\[*]", text, re.M), "read as the argument of the two backslashes above"
    assert not re.search(r"(?<!\\)[_#^~%]", text.replace("$^2$", ""))
    assert not re.search(r"[^\x00-\xff‘’“”]", text), "a sign that T1 fonts have not got"
    assert r"\resizebox" not in text and text.count("$") % 2 == text.count(r"\$") % 2
    assert len(re.findall(r"(?<!\\)\{", text)) == len(re.findall(r"(?<!\\)\}", text))
    opened: list[str] = []
    for verb, name in re.findall(r"\\(begin|end)\{(.*?)\}", text):
        if verb == "begin":
            opened.append(name)
        else:
            assert opened.pop() == name
    assert not opened
    tables = re.findall(r"\\begin\{(tabular|longtable)\}\{([^\n]*)\}\n(.*?)\\end\{\1\}", text, re.S)
    assert len(tables) == text.count(r"\caption{")
    for _, spec, body in tables:
        assert re.fullmatch(rf"(?:{COLUMN}|@\{{\\,\}})+", spec), spec
        rows = [line for line in body.splitlines() if not re.fullmatch(RULES, line)]
        assert rows and all(row.endswith(r"\\") for row in rows)
        assert {_cells(row) for row in rows} == {len(re.findall(COLUMN, spec))}


def _cells(row: str) -> int:
    return len(re.findall(r"(?<!\\)&", row)) + 1 + row.count(r"\multicolumn{2}")


def compile_latex(files: Sequence[Path], folder: Path) -> None:
    """Asserts that pdflatex takes the files, and that no table is wider than its page."""
    packages = [f"{name}.sty" for name in re.findall(r"\w+", PACKAGES.partition("{")[2])]
    if not shutil.which("pdflatex") or subprocess.run(["kpsewhich", *packages], capture_output=True).returncode:
        pytest.skip(f"needs pdflatex with {', '.join(packages)}")
    for place, path in enumerate(files):
        shutil.copy(path, folder / f"part{place}.tex")
    inputs = "\n".join(rf"\input{{part{place}}}\clearpage" for place in range(len(files)))
    (folder / "all.tex").write_text(DOCUMENT % inputs)
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"], cwd=folder, capture_output=True
    )
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]
    log = (folder / "all.log").read_text(errors="replace")
    wide = [float(points) for points in re.findall(r"Overfull \\hbox \(([\d.]+)pt too wide\) in alignment", log)]
    assert max(wide, default=0) < 25
