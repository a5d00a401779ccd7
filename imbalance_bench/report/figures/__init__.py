"""Figures from records alone: ``figure`` draws a preset's, ``bars`` the summary's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from imbalance_bench.errors import BenchError, suggestion
from imbalance_bench.registry import build
from imbalance_bench.report.diagrams.dos import overloading, two_outputs
from imbalance_bench.report.diagrams.miso import overlap, semantic_oversampling
from imbalance_bench.report.diagrams.selectnet import decision_boundaries
from imbalance_bench.report.diagrams.setconv import (
    anchor_relations,
    computation_graph,
    confusion_matrix,
    episodes,
    text_encoder,
)
from imbalance_bench.report.figures.comparison import critical_difference, performance_profile
from imbalance_bench.report.figures.curves import convergence, precision_recall
from imbalance_bench.report.figures.groups import grouped_bars, over_iterates
from imbalance_bench.report.figures.overview import bars
from imbalance_bench.report.figures.rounds import added_samples
from imbalance_bench.report.figures.sine import sine_fit, sine_grid
from imbalance_bench.report.records import comparable
from imbalance_bench.report.records import records as frames
from imbalance_bench.report.records.records import CellState, NothingRun, readout_title
from imbalance_bench.report.sheet import Drawing
from imbalance_bench.report.style import FigureSpec, finished, styled
from imbalance_bench.store import Damaged

if TYPE_CHECKING:
    from imbalance_bench.report.records.collected import Source
    from imbalance_bench.settings.presets import Preset

__all__ = ["DRAWINGS", "bars", "figure"]

# Each takes the states of a preset's cells and returns a ``Drawn``, or its first two parts.
Draw = Callable[[FigureSpec, Sequence[CellState], str], tuple[Any, ...]]
OF_RECORDS = (
    *(sine_fit, sine_grid, precision_recall, performance_profile, critical_difference, convergence, added_samples),
    *(grouped_bars, over_iterates),
)
DIAGRAMS = (
    *(two_outputs, overloading, decision_boundaries),
    *(episodes, anchor_relations, computation_graph, text_encoder, confusion_matrix),
    *(overlap, semantic_oversampling),
)
DRAWINGS: dict[str, Draw] = {f.__name__: f for f in (*OF_RECORDS, *DIAGRAMS)}
SCHEMATICS = tuple(f.__name__ for f in DIAGRAMS)  # no run stands behind them
# What they show has no one readout: it happened before there was one, or they show several.
NO_READOUT = ("convergence", "added_samples", "over_iterates")


def figure(preset: Preset, store: Source, readout: str | None = None, command: str = "") -> Drawing:
    """The figure of a preset, from records alone.

    Raises:
        NothingRun: no cell was run.
        BenchError: the preset names no known drawing; its records do not hold what the drawing needs.
    """
    spec = build(FigureSpec, preset.paper, "paper")
    if spec.draw not in DRAWINGS:
        raise BenchError(f"paper.draw={spec.draw!r} is not a drawing: {suggestion(spec.draw, DRAWINGS)}")
    results = frames.cell_states(preset.cells, store)
    if spec.draw in SCHEMATICS:
        drawn, caption, _ = styled(lambda: DRAWINGS[spec.draw](spec, results, spec.iterate))
        source = [f"command: {command.rpartition('; ')[2]}", "a diagram: no run stands behind it"]
        return finished(drawn, spec.figure, spec.title, f"{spec.caption} {caption}", source)
    readout = readout or spec.iterate
    drawn, caption, values, results = _drawn(spec, results, readout)
    records = frames.done(results)
    absent = [r.labels for r in results if r.state != "done"]
    missing = [f"{labels['method']} on {labels['dataset']} {labels['ratio']}" for labels in absent]
    lines = [spec.caption, caption, f"{readout_title(readout).capitalize()}." if spec.draw not in NO_READOUT else ""]
    if missing:
        shown = ", ".join(missing[:6]) + (f" and {len(missing) - 6} more" if len(missing) > 6 else "")
        lines.append(f"{len(records)} of {len(results)} cells were run; missing: {shown}.")
    lines += [*frames.code_notes(records), *frames.damage_notes(results)]
    caption = " ".join(line for line in lines if line)
    name = spec.figure if readout == spec.iterate else f"{spec.figure}_{readout}"
    return finished(drawn, name, spec.title, caption, frames.provenance_lines(records, command), values)


def _drawn(spec: FigureSpec, results: list[CellState], readout: str) -> tuple[Any, str, Any, list[CellState]]:
    """The result of a drawing, and the cells that it shows: without the cells of which it finds a file damaged."""
    records = frames.done(results)
    if not records:
        raise NothingRun(spec.name, spec.figure, damaged=frames.damage_notes(results))
    # A figure may sweep keys of the data set itself (Appendix A: numbers of points): those panels share no rows.
    comparable.refuse_mixed_rows(records, lambda r: (comparable.same_data(r), str(r["config"]["dataset"])))
    try:
        return *styled(lambda: DRAWINGS[spec.draw](spec, results, readout)), results
    except Damaged as error:
        return _drawn(spec, frames.without(results, error), readout)
