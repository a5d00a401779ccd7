"""The part of the site (mkdocs.yml) that lies outside docs/: README.md is its first page, and what pages link to in the
repository (a table of results, a file of code or configuration, a folder) becomes a page or a file of it."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
LINK = re.compile(r"(\]\()([^)\s#]+)((?:#[^)\s]*)?\))")
FENCE = re.compile(r"^```.*?^```", re.M | re.S)
CODE = {".py": "python", ".yaml": "yaml", ".toml": "toml", ".cff": "yaml", "": "text"}


def place(path: str) -> str:
    """Where the site has a file or folder of the repository."""
    if path == "README.md":
        return "index.md"
    if posixpath.dirname(path) == "docs" and path.endswith(".md"):
        return posixpath.basename(path)
    if (ROOT / path).is_dir():
        return f"files/{path}/index.md"
    return f"files/{path}.md" if (ROOT / path).suffix in CODE else f"files/{path}"


def target(source: str, link: str) -> str | None:
    """The path in the repository that a link of ``source`` leads to; None where it leads out of it or nowhere."""
    path = posixpath.normpath(posixpath.join(posixpath.dirname(source), link))
    return path if "://" not in link and not path.startswith("..") and (ROOT / path).exists() else None


def content(path: str) -> str | None:
    """The page that stands for what a link leads to; None where it is a file to be copied."""
    file = ROOT / path
    if file.is_dir():
        names = sorted(child.name for child in file.iterdir() if child.suffix in (".md", ".csv", ".svg"))
        return "\n".join([f"# {path}", "", *(f"- [{name}]({posixpath.basename(path)}/{name})" for name in names)])
    if file.suffix == ".md":
        return file.read_text(encoding="utf-8")
    if file.suffix in CODE:
        return f"# {path}\n\n````{CODE[file.suffix]}\n{file.read_text(encoding='utf-8').rstrip()}\n````\n"
    return None


def moved(source: str, text: str) -> str:
    """The links of a page as they are on the site; those in blocks of code are no links."""

    def link(match: re.Match[str]) -> str:
        path = target(source, match[2])
        if path is None:
            return match[0]
        return match[1] + posixpath.relpath(place(path), posixpath.dirname(place(source))) + match[3]

    parts, end = [], 0
    for fence in FENCE.finditer(text):
        parts += [LINK.sub(link, text[end : fence.start()]), fence[0]]
        end = fence.end()
    return "".join([*parts, LINK.sub(link, text[end:])])


def on_files(files: Files, config: Any) -> Files:
    """Adds the README and, from page to page, what is linked to."""
    known: dict[str, None] = {"README.md": None}
    known |= dict.fromkeys(f"docs/{file.src_uri}" for file in files if file.src_uri.endswith(".md"))
    waiting = list(known)
    while waiting:
        source = waiting.pop()
        text = content(source)
        if text is None:
            files.append(File.generated(config, place(source), abs_src_path=str(ROOT / source)))
            continue
        if (here := files.get_file_from_path(place(source))) is not None:
            files.remove(here)
        files.append(File.generated(config, place(source), content=moved(source, text)))
        for match in LINK.finditer(FENCE.sub("", text)):
            path = target(source, match[2])
            if path is not None and path not in known:
                known[path] = None
                waiting.append(path)
    return files
