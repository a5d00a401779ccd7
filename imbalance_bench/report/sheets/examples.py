"""Generated texts beside their sources, from the artifacts of the runs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from imbalance_bench.registry import build
from imbalance_bench.report.records import records as frames
from imbalance_bench.report.records.records import CellState, NothingRun, Record
from imbalance_bench.report.sheet import Block, Item, Sheet, mean_sd
from imbalance_bench.report.sheets.scores import metric_title
from imbalance_bench.store import Damaged, arrays, has_file

if TYPE_CHECKING:
    from imbalance_bench.report.records.collected import Source
    from imbalance_bench.settings.presets import Preset

TEXTS = re.compile(r"run(\d+)_texts_class(\d+)")  # of artifacts: (n, 2) strings, source and what was made of it


@dataclass(frozen=True)
class ExamplesSpec:
    """The ``paper:`` node of a preset of examples.

    ``examples``: how many a cell, spread evenly over its runs and what they keep; ``width``: characters after which a
    text is cut; ``header``: what the source and the generated text are called; ``metrics``: facts of the generated
    texts (``records.tidy``, class group minority) for the heading of a cell; ``sections``, ``titles`` and
    ``readings`` as in ``tables.TableSpec``.
    """

    name: str
    table: str
    title: str
    examples: int
    width: int
    header: list
    metrics: list
    sections: dict
    titles: dict | None = None
    readings: list | None = None


def examples(preset: Preset, store: Source, command: str = "") -> Sheet:
    """The examples of a preset whose ``paper`` node is an ``ExamplesSpec``: a block a cell.

    Raises:
        NothingRun: no cell was run.
    """
    import pandas as pd

    spec = build(ExamplesSpec, preset.paper, "paper")
    results = frames.cell_states(preset.cells, store)
    records = frames.done(results)
    if not records:
        raise NothingRun(spec.name, spec.table, damaged=frames.damage_notes(results))
    values = frames.by_cell(records)
    blocks, rows, none = [], [], []
    for record in records:
        heading = _heading(spec, record)
        try:
            pairs = _pairs(record, spec.examples)
        except Damaged as error:
            results = frames.without(results, error)
            continue
        if not pairs:
            none.append(heading)
            continue
        numbers = _numbers(spec, values.get(record["id"]))
        block = Block(
            f"{heading}: {numbers}" if numbers else heading, spec.header, 2, [_row(p, spec.width) for p in pairs]
        )
        blocks.append(block)
        rows += [record["labels"] | {"iterate": "last", "source": source, "generated": made} for source, made in pairs]
    notes = [
        f"At most {spec.examples} examples a cell, evenly spaced over its runs and the pairs that they keep, none "
        f"chosen by hand; texts are decoded from the tokens that networks see, and cut after {spec.width} characters.",
        *(spec.readings or []),
    ]
    if none:
        notes.append(f"No generated text is kept of: {'; '.join(none)}.")
    if absent := [_name(spec, r) for r in results if r.state != "done"]:
        notes.append(f"Not run: {'; '.join(absent)}.")
    notes += frames.damage_notes(results)
    frame = pd.DataFrame(rows, columns=[*frames.LABELS, "iterate", "source", "generated"])
    provenance = frames.provenance_lines(records, command)
    return Sheet(spec.table, spec.title, blocks, notes, provenance, frame, prose=True)


def _pairs(record: Record, wanted: int) -> list[tuple[str, str]]:
    """(source, generated) of a cell; each run and class gives as many as the others, as far as it has them."""
    name = "artifacts.npz"
    kept = arrays(record, name) if has_file(record, name) else {}
    groups = [kept[name] for name in sorted(filter(TEXTS.fullmatch, kept), key=_run_and_class) if len(kept[name])]
    found = []
    for group, many in zip(groups, _shares(wanted, len(groups))):
        places = np.unique(np.linspace(0, len(group) - 1, many).astype(int))
        found += [(str(source), str(made)) for source, made in group[places]]
    return found


def _shares(wanted: int, groups: int) -> list[int]:
    return [wanted // groups + (i < wanted % groups) for i in range(groups)]


def _run_and_class(name: str) -> tuple[int, ...]:
    match = TEXTS.fullmatch(name)
    assert match
    return tuple(map(int, match.groups()))


def _row(pair: Sequence[str], width: int) -> list[Item]:
    source, made = (shortened(text, width) for text in pair)
    copied = " ".join(pair[0].split()) == " ".join(pair[1].split())
    return [Item(source), Item(made, "(a copy of its source)" if copied else "", muted=copied)]


def shortened(text: str, width: int) -> str:
    """One line of at most ``width`` characters and "…": whole words, where the text has blanks near its cut."""
    line = " ".join(text.split())
    if len(line) <= width:
        return line or "(empty)"
    cut = line[:width]
    head = cut.rpartition(" ")[0] if not line[width].isspace() else cut
    return f"{head if len(head) > width / 2 else cut} …"


def _numbers(spec: ExamplesSpec, values: frames.Values | None) -> str:
    """The heading's facts: "copies 0.012 ± 0.003, distinct-2 0.41 ± 0.02"."""
    found = [(metric, frames.average(values, metric, "minority", "last")) for metric in spec.metrics]
    return ", ".join(f"{metric_title(m)} {mean_sd(a['mean'], a['sd'])}" for m, a in found if a["mean"] is not None)


def _heading(spec: ExamplesSpec, record: Record) -> str:
    labels = record["labels"]
    heads = {row: head for section in spec.sections.values() for row, head in section.items()}
    titles = spec.titles or {}
    parts = [titles.get(axis, {}).get(labels[axis], labels[axis]) for axis in ("dataset", "ratio", "backbone")]
    return ", ".join(filter(None, [*parts, heads.get(labels["method"], labels["method"])]))


def _name(spec: ExamplesSpec, result: CellState) -> str:
    return _heading(spec, {"labels": result.labels})
