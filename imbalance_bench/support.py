"""What each method can do, asked of the methods themselves: docs/methods.md
(``python -m imbalance_bench.support > docs/methods.md``)."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from imbalance_bench.data.base import Kind, Part, Task, Vocabulary
from imbalance_bench.methods.base import Method
from imbalance_bench.options import describe, hints, shown
from imbalance_bench.registry import METHODS, SEARCH
from imbalance_bench.settings.conf_files import CONF, content_of

HEAD = """# Methods, and what each supports

Written by `make docs`: each method is asked whether it declines a small task of each kind. A test keeps the page true.
What every key takes is in [options.md](options.md); how to add a method, in [extend.md](extend.md).

- **tables, several, images, texts, token ids, regression**: tables of two classes, of several classes, images, texts
  as vectors (`backbone=lsa`, `minilm`, ...) and as token ids (`backbone=textcnn`, `textrnn`, `xlnet`), a number to
  predict.
- **learns from**: what the method looks at beside its training rows. Methods that learn from validation rows are to be
  compared with baselines that have them too (`trainer.rows=train_valid`).
- **together**: its cells train in one program with cells of other such methods (`hydra/launcher=together`).
"""
KINDS = ("tables", "several", "images", "texts", "token ids", "regression")
POOL = "rows that the ratio takes out"
CATEGORIES = "columns that are named as categories"


def tasks() -> dict[str, Task]:
    """A task of each of ``KINDS``, with all that a method may ask for."""
    vectors = np.zeros((8, 4), dtype=np.float32)
    two = replace(_task(vectors, 2), categories=((0, 2),))
    ids = np.ones((8, 5), dtype=np.int32)
    words = Vocabulary(size=9, pad=0, begin=1, end=2, decode=lambda rows: [""] * len(rows))
    made = (
        two,
        replace(_task(vectors, 3), categories=((0, 2),)),
        _task(np.zeros((8, 1, 8, 8), dtype=np.uint8), 2),
        _task(vectors, 2),
        replace(_task(ids, 2), vocabulary=words),
        _task(vectors, 0, "regression"),
    )
    return dict(zip(KINDS, made))


def _task(x: np.ndarray, classes: int, kind: Kind = "classification") -> Task:
    y = np.arange(len(x)) % classes if classes else np.zeros(len(x))
    part = Part(x, y, np.arange(len(x)))
    rare = tuple(range(1, classes))
    return Task(part, part, part, classes, kind, fold=0, repeat=0, seed=0, minority_classes=rare)


def needs(method: Method, task: Task) -> list[str]:
    """What a task that the method takes must have: what it declines the same task without."""
    without = {POOL: replace(task, withdrawn=None), CATEGORIES: replace(task, categories=())}
    return [what for what, poorer in without.items() if method.declines(poorer)]


def page() -> str:
    """docs/methods.md."""
    names = sorted(path.stem for path in (CONF / "method").glob("*.yaml"))
    rows = ["| " + " | ".join(["method", *KINDS, "learns from", "together"]) + " |", "| --- " * (len(KINDS) + 3) + "|"]
    return "\n".join([HEAD, *rows, *map(_row, names), "", *map(_section, names)])


def built(name: str) -> Method:
    """A method as its option has it. What an adapter declines does not depend on its estimator, whose package may be
    missing here: one of scikit-learn's stands for each."""
    content = content_of("method", name)
    stand_in = {"estimator": "sklearn.tree.DecisionTreeClassifier", "options": {}}
    method: Method = METHODS.build(content | stand_in if content["name"] == "estimator" else content)
    return method


def _row(name: str) -> str:
    method, made = built(name), tasks()
    takes = {kind: method.declines(task) is None for kind, task in made.items()}
    first = next(task for kind, task in made.items() if takes[kind])
    from_ = [*(["validation rows"] if method.guided else []), *needs(method, first)]
    marks = ["yes" if takes[kind] else "" for kind in KINDS]
    return "| " + " | ".join([f"[{name}](#{name})", *marks, ", ".join(from_), "yes" if method.plain else ""]) + " |"


def _section(name: str) -> str:
    """One method: what it is, its file, its keys with default and search space, its variants. An option of another
    method (random_forest of estimator) has the keys that it changes."""
    content = content_of("method", name)
    registered = content["name"]
    cls = METHODS.get(registered)
    file = f"../{Path(inspect.getfile(cls)).relative_to(CONF.parent)}"
    said = first_comment(name).rstrip(".")
    links = f"[{Path(file).name}]({file}), [{name}.yaml](../conf/method/{name}.yaml)"
    parts = [f"## {name}\n\n{said}: {links}\n"]
    if registered == name:
        parts.append(inspect.cleandoc(cls.__doc__ or "").replace("``", "`") + "\n")
        keys = list(hints(cls))
    else:
        parts.append(f"An option of [{registered}](#{registered}), which has all its keys; those that it changes:\n")
        keys = list(_changed(content, content_of("method", registered)))
    parts.append(_keys(cls, keys, content))
    variants = sorted(path.stem for path in (CONF / "method" / name).glob("*.yaml"))
    parts += [f"- `method={name}/{variant}`: {_variant(name, variant)}" for variant in variants]
    return "\n".join([*parts, ""]) if variants else "\n".join(parts)


def _changed(content: dict[str, Any], base: dict[str, Any]) -> dict[str, Any]:
    named = {"name", "label", SEARCH, *METHODS.shared}
    return {key: value for key, value in content.items() if key not in named and base.get(key, ...) != value}


def _variant(name: str, variant: str) -> str:
    """What it is, by its comment, else by the keys that it changes."""
    changed = _changed(content_of("method", f"{name}/{variant}"), content_of("method", name))
    keys = ", ".join(f"{key}={_short(value)}" for key, value in changed.items())
    return first_comment(f"{name}/{variant}") or f"`{keys}`"


def _keys(cls: type, keys: Sequence[str], content: dict[str, Any]) -> str:
    known = hints(cls)
    searched = {key: space for key, space in (content.get(SEARCH) or {}).items() if space is not None}
    shown_keys = list(dict.fromkeys([*keys, *searched]))  # of an estimator's options, of a resampler: searched alone
    if not shown_keys:
        return "No keys.\n"
    rows = ["| key | default | takes | search |", "|---|---|---|---|"]
    for key in shown_keys:
        default = f"`{_short(content[key])}`" if key in content else ""
        space = f"`{_space(searched[key])}`" if key in searched else ""
        rows.append(f"| `{key}` | {default} | {describe(known[key]) if key in known else ''} | {space} |")
    return "\n".join([*rows, ""])


def _short(value: Any) -> str:
    if isinstance(value, dict):  # a component within another has a label and a space of its own, which are no keys
        value = {key: part for key, part in value.items() if key not in ("label", SEARCH)}
    return value if isinstance(value, str) else shown(value)


def _space(space: Any) -> str:
    """A list as it is; a range as {low: 1, high: 9}."""
    if isinstance(space, dict):
        return "{" + ", ".join(f"{key}: {shown(value)}" for key, value in space.items()) + "}"
    return shown(space)


def first_comment(option: str) -> str:
    """The comment that an option of conf/method opens with, as one sentence."""
    lines: Sequence[str] = (CONF / "method" / f"{option}.yaml").read_text().splitlines()
    said = []
    for line in lines[lines[0].startswith("# @package") :]:  # Hydra's
        if not line.startswith("#"):
            break
        said.append(line.lstrip("# "))
    return re.sub(r"\|", r"\\|", " ".join(said))


if __name__ == "__main__":
    print(page(), end="")
