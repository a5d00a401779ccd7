"""Figures from synthetic records: that they are drawn, what their captions say, and the numbers behind them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from imbalance_bench.errors import BenchError
from imbalance_bench.registry import build
from imbalance_bench.report.figures import DRAWINGS, SCHEMATICS, figure
from imbalance_bench.report.figures.curves import RECALLS, _curves
from imbalance_bench.report.figures.groups import grouped_bars
from imbalance_bench.report.figures.rounds import ADDED
from imbalance_bench.report.records.records import NothingRun, cell_states
from imbalance_bench.report.style import FigureSpec
from imbalance_bench.store import Store
from tests.records import FakePreset, cell, write

SINE = {
    "name": "sine",
    "train": 3,
    "valid": 2,
    "synthetic": 4,
    "grid": 21,
    "amplitude": 1.0,
    "frequency": 1.5,
    "phase": 0.0,
    "low": -5.0,
    "high": 5.0,
    "seed": 0,
}


def spec(draw, methods, **changes):
    return {
        "name": "explicit_gradient",
        "figure": draw,
        "draw": draw,
        "title": "A figure",
        "metric": "auc_pr",
        "class_group": "positive",
        "iterate": "last",
        "methods": methods,
        "caption": "What it shows.",
    } | changes


def check(drawing):
    assert drawing.png.startswith(b"\x89PNG")
    assert drawing.svg.lstrip().startswith(b"<?xml") and b"</svg>" in drawing.svg
    assert drawing.caption.startswith("What it shows.")
    return drawing


def scores(rng, n=50):
    labels = (rng.random(n) < 0.3).astype(np.int64)
    odds = rng.normal(size=n) + labels
    log_probs = np.stack([-np.logaddexp(0, odds), -np.logaddexp(0, -odds)], axis=1).astype(np.float32)
    return {"label": labels, "scores_last": log_probs}


def sine_cell(outputs, method, **options):
    made = cell(method, "sine", options={"dataset": SINE | options})
    settings = made.config["dataset"]
    own = settings["train"] + settings["valid"]
    x = np.linspace(-5, 5, settings["grid"])
    n = settings["synthetic"]
    write(
        outputs,
        made,
        {"mse": [0.25]},
        class_group="all",
        arrays={
            "run": np.zeros(len(x), np.int32),
            "sample_id": own + np.arange(len(x)),
            "label": np.sin(1.5 * x),
            "scores_last": (np.sin(1.5 * x) + 0.5)[:, None].astype(np.float32),
        },
        artifacts={
            "run0_synthetic_start_x": np.zeros((n, 1)),
            "run0_synthetic_end_x": np.ones((n, 1)),
            "run0_synthetic_y": np.linspace(-1, 1, n),
        },
    )
    return made


def test_sine_fit_states_both_errors(tmp_path):
    cells = [sine_cell(tmp_path, m) for m in ("ours", "baseline")]
    paper = spec("sine_fit", {"ours": "Ours", "baseline": "Baseline"})
    drawing = check(figure(FakePreset(paper, cells), Store(tmp_path)))
    assert "Baseline 0.250; Ours 0.250" in drawing.caption


def test_sine_fit_without_the_baseline_says_so(tmp_path):
    cells = [sine_cell(tmp_path, "ours"), cell("baseline", "sine")]
    paper = spec("sine_fit", {"ours": "Ours", "baseline": "Baseline"})
    drawing = check(figure(FakePreset(paper, cells), Store(tmp_path)))
    assert "1 of 2 cells were run; missing: baseline on sine native." in drawing.caption


def test_sine_grid(tmp_path):
    cells = [sine_cell(tmp_path, "ours", train=t, synthetic=s) for t in (3, 5) for s in (4, 8)]
    check(figure(FakePreset(spec("sine_grid", {"ours": "Ours"}), cells), Store(tmp_path)))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut", b"\xff"])
def test_a_figure_is_drawn_without_the_cell_whose_arrays_are_damaged(tmp_path, content):
    cells = [sine_cell(tmp_path, "ours", train=t, synthetic=4) for t in (3, 5)]
    folder = Store(tmp_path).cell(cells[0].labels, cells[0].id).path
    (folder / "artifacts.npz").write_bytes(content)
    drawing = figure(FakePreset(spec("sine_grid", {"ours": "Ours"}), cells), Store(tmp_path))
    assert "1 of 2 cells were run" in drawing.caption
    assert f"Left out, damaged: {folder / 'artifacts.npz'} is damaged" in drawing.caption


def test_precision_recall_is_the_highest_precision_at_recall_or_more(tmp_path):
    made = cell("ours", "adult", "ir_50")
    # ranked: positive, negative, positive, negative → precision 1, 1/2, 2/3, 1/2 at recall 1/2, 1/2, 1, 1
    odds = np.array([4.0, 3.0, 2.0, 1.0])
    arrays = {
        "run": np.zeros(4, np.int32),
        "sample_id": np.arange(4),
        "label": np.array([1, 0, 1, 0]),
        "scores_last": np.stack([-np.logaddexp(0, odds), -np.logaddexp(0, -odds)], axis=1).astype(np.float32),
    }
    write(tmp_path, made, [0.8], arrays=arrays)
    curves, share = _curves(Store(tmp_path).records()[0], "last")
    assert share == 0.5
    assert curves.shape == (1, len(RECALLS))
    np.testing.assert_allclose(curves[0][RECALLS <= 0.5], 1.0)
    np.testing.assert_allclose(curves[0][RECALLS > 0.5], 2 / 3)
    drawing = figure(FakePreset(spec("precision_recall", {"ours": "Ours"}), [made]), Store(tmp_path))
    assert "Mean over 1 runs" in check(drawing).caption


def test_precision_recall_refuses_several_classes(tmp_path):
    made = cell("ours", "digits")
    arrays = {"run": np.zeros(2, np.int32), "label": np.array([0, 2]), "scores_last": np.zeros((2, 3), np.float32)}
    write(tmp_path, made, [0.8], arrays=arrays)
    with pytest.raises(BenchError, match="needs two classes; dataset=digits has 3"):
        figure(FakePreset(spec("precision_recall", {"ours": "Ours"}), [made]), Store(tmp_path))


@pytest.fixture
def many(tmp_path):
    """Three methods on four data sets; on oil one of them is missing."""
    cells = [cell(m, d) for d in ("ecoli", "oil", "scene", "abalone") for m in ("ours", "smote", "focal")]
    for i, made in enumerate(cells):
        if made.labels["dataset"] != "oil" or made.labels["method"] != "focal":
            write(tmp_path, made, [0.9 - 0.1 * (i % 3), 0.9 - 0.1 * (i % 3)])
    return tmp_path, cells


METHODS = {"ours": "Ours", "smote": "SMOTE", "focal": "Focal"}


def test_performance_profile_beside_the_printed_one(many):
    outputs, cells = many
    plain = figure(FakePreset(spec("performance_profile", METHODS), cells), Store(outputs))
    assert "Friedman test of ours (3 methods, 3 sets)" in check(plain).caption
    beside = spec("performance_profile", METHODS, published=["table_2", "table_3"])
    assert len(figure(FakePreset(beside, cells), Store(outputs)).svg) > len(plain.svg)


def test_critical_difference(many):
    outputs, cells = many
    drawing = check(figure(FakePreset(spec("critical_difference", METHODS), cells), Store(outputs)))
    # q_0.05 of three methods is 2.343 (Demšar 2006, Table 5a): 2.343 · sqrt(3 · 4 / (6 · 3))
    assert "Nemenyi critical difference at α = 0.05: 1.91 ranks" in drawing.caption


def test_critical_difference_needs_enough(tmp_path):
    made = cell("ours")
    write(tmp_path, made, [0.5])
    with pytest.raises(NothingRun, match="too little of critical_difference"):
        figure(FakePreset(spec("critical_difference", METHODS), [made]), Store(tmp_path))


def test_convergence_draws_the_meta_phase(tmp_path):
    made = cell("explicit_gradient", "adult", "ir_50")
    history = [
        {"run": r, "epoch": e, "inner_loss": 1 / (1 + e), "outer_loss": 2 / (1 + e), "synthetic_move": e}
        for r in (0, 1)
        for e in range(3)
    ]
    before = {"run": 0, "epoch": -1, "inner_loss": "", "outer_loss": "", "synthetic_move": ""}
    write(tmp_path, made, [0.5, 0.5], history=[before, *history])
    drawing = figure(FakePreset(spec("convergence", {"explicit_gradient": "Ours"}), [made]), Store(tmp_path))
    assert "2 runs on adult 50:1" in check(drawing).caption


def test_convergence_of_another_method_is_refused(tmp_path):
    made = cell("smote")
    write(tmp_path, made, [0.5], history=[{"run": 0, "epoch": 1, "loss": 0.5}])
    with pytest.raises(BenchError, match="method=smote has no inner_loss"):
        figure(FakePreset(spec("convergence", {"smote": "SMOTE"}), [made]), Store(tmp_path))


HISTORY = [dict.fromkeys((*ADDED, "selection_precision"), 0.5) | {"run": 0, "epoch": 1, "round": 1}]
META = [{"run": 0, "epoch": 0, "inner_loss": 1.0, "outer_loss": 1.0, "synthetic_move": 0.0}]


@pytest.mark.parametrize(
    ("draw", "history", "one", "other", "message"),
    [
        ("added_samples", HISTORY, {"dataset": "cifar10"}, {"dataset": "jpeg"}, "dataset=cifar10 and dataset=jpeg"),
        ("added_samples", HISTORY, {"ratio": "ir_10"}, {"ratio": "ir_20"}, "place of this figure: give one ratio here"),
        ("added_samples", HISTORY, {}, {"options": {"method": {"tau": 2}}}, "same labels and differ in method.tau"),
        ("sine_fit", META, {"backbone": "mlp"}, {"backbone": "wide"}, "backbone=mlp and backbone=wide"),
        ("sine_grid", META, {"trainer": "adam"}, {"trainer": "sgd"}, "trainer=adam and trainer=sgd"),
        ("convergence", META, {"trainer": "adam"}, {"trainer": "sgd"}, "trainer=adam and trainer=sgd"),
        ("convergence", META, {}, {"method": "smote"}, "method=ours and method=smote"),
        ("precision_recall", META, {"trainer": "adam"}, {"trainer": "sgd"}, "trainer=adam and trainer=sgd"),
        ("performance_profile", META, {"ratio": "ir_10"}, {"ratio": "ir_20"}, "ratio=ir_10 and ratio=ir_20"),
        ("grouped_bars", META, {"backbone": "mlp"}, {"backbone": "wide"}, "backbone=mlp and backbone=wide"),
        ("over_iterates", META, {"backbone": "mlp"}, {"backbone": "wide"}, "backbone=mlp and backbone=wide"),
    ],
)
def test_cells_that_would_stand_in_one_place_of_a_figure_are_refused(tmp_path, draw, history, one, other, message):
    """None of them is shown in silence in place of the other."""
    sine = {"options": {"dataset": SINE}} if draw == "sine_grid" else {}
    cells = [cell(**{"method": "ours"} | sine | options) for options in (one, other)]
    for made in cells:
        write(tmp_path, made, [0.5], history=history, arrays=scores(np.random.default_rng(0)))
    paper = spec(draw, {"ours": "Ours", "smote": "SMOTE"}, iterates={"last": 1})
    with pytest.raises(BenchError, match=message):
        figure(FakePreset(paper, cells), Store(tmp_path))


@pytest.mark.parametrize("draw", ["grouped_bars", "over_iterates"])
def test_a_figure_compares_methods_that_bring_a_trainer_or_train_no_network(tmp_path, draw):
    brought = {"ours": {"trainer": "episodes"}, "smote": {}, "focal": {"backbone": "none", "trainer": "none"}}
    cells = [cell(method, **labels) for method, labels in brought.items()]
    for made in cells:
        write(tmp_path, made, [0.5])
    drawing = figure(FakePreset(spec(draw, METHODS, iterates={"last": 1}), cells), Store(tmp_path))
    assert all(name.encode() in drawing.svg for name in METHODS.values())


def test_the_same_records_give_the_same_bytes(many):
    outputs, cells = many
    preset = FakePreset(spec("performance_profile", METHODS), cells)
    one, two = figure(preset, Store(outputs)), figure(preset, Store(outputs))
    assert one.svg == two.svg
    assert one.png == two.png


def test_files_and_their_provenance(many, tmp_path):
    outputs, cells = many
    drawing = figure(FakePreset(spec("performance_profile", METHODS), cells), Store(outputs), command="make it")
    paths = drawing.write(tmp_path / "figures")
    assert [p.name for p in paths] == [f"performance_profile.{s}" for s in ("png", "svg", "txt")]
    assert all(p.stat().st_size for p in paths)
    assert "command: make it" in paths[2].read_text()


@pytest.mark.parametrize("draw", sorted(set(DRAWINGS) - set(SCHEMATICS)))
def test_nothing_run_says_the_command(draw, tmp_path):
    with pytest.raises(NothingRun, match=rf"train.py -m \+paper=explicit_gradient/{draw}"):
        figure(FakePreset(spec(draw, {"ours": "Ours"}), [cell("ours")]), Store(tmp_path))


def test_an_unknown_drawing_names_the_nearest(tmp_path):
    with pytest.raises(BenchError, match="did you mean convergence"):
        figure(FakePreset(spec("convergense", {})), Store(tmp_path))


def test_added_samples_by_round(tmp_path):
    """Two runs of two rounds of two epochs; the rows of a round's other epochs say nothing of it."""
    cells = [cell(m, "cifar10", "minor_cifar10") for m in ("selectnet", "pool_all")]
    for made in cells:
        history = [
            {"run": run, "epoch": 2 * r + e, "loss": 1.0}
            | dict.fromkeys((*ADDED, "selection_precision", "round"), float("nan"))
            | ({"round": r, "selection_precision": 0.5 + 0.1 * run} if e else {})
            | ({c: 10.0 * (i + 1) * r + run for i, c in enumerate(ADDED)} if e else {})
            for run in range(2)
            for r in (1, 2)
            for e in (0, 1)
        ]
        write(tmp_path, made, {"accuracy": [0.5, 0.6]}, class_group="all", history=history)
    paper = spec("added_samples", {"selectnet": "SelectNet", "pool_all": "all"}, name="selectnet")
    drawing = check(figure(FakePreset(paper, cells), Store(tmp_path)))
    assert "2 runs: lines are means, bands the range. In the last round most are labelled, confused (80)." in (
        drawing.caption
    )
    assert "epoch." not in drawing.caption.lower()


def test_added_samples_need_a_method_that_adds_some(tmp_path):
    made = cell("cross_entropy")
    write(tmp_path, made, [0.5], history=[{"run": 0, "epoch": 0, "loss": 1.0}])
    with pytest.raises(BenchError, match="the history of method=cross_entropy does not say what was added"):
        figure(FakePreset(spec("added_samples", {"cross_entropy": "CE"}), [made]), Store(tmp_path))


@pytest.fixture
def texts(tmp_path):
    """Two methods on two data sets with two encoders; "focal" was run on one of them, with one."""
    cells = [
        cell(m, d, "ir_10", backbone=b) for b in ("minilm", "lsa") for d in ("sms", "imdb") for m in ("ours", "focal")
    ]
    for i, made in enumerate(cells):
        if made.labels["method"] == "ours" or made.labels["dataset"] == "sms" and made.labels["backbone"] == "lsa":
            more = {(f"post_{n}", "positive", "f1"): [n / 5000, n / 5000] for n in (100, 4000)}
            counts = [100, 10] if made.labels["dataset"] == "sms" else [126, 12]
            values = {"f1": [0.1 * i, 0.1 * i + 0.2], "recall": [0.5, 0.5]}
            write(tmp_path, made, values, more=more, data={"class_counts": counts})
    return tmp_path, cells


GROUPED = {"metric": "f1", "metrics": ["f1", "recall"], "across": "backbone", "titles": {"dataset": {"sms": "SMS"}}}


def test_bars_are_grouped_by_data_set_with_its_imbalance_ratio(texts):
    outputs, cells = texts
    paper = spec("grouped_bars", {"ours": "Ours", "focal": "Focal"}, **GROUPED)
    drawing = check(figure(FakePreset(paper, cells), Store(outputs)))
    assert "The value in brackets is the imbalance ratio. Means over 2 runs; whiskers: one sd. Last epoch." in (
        drawing.caption
    )
    assert "5 of 8 cells were run; missing: focal on sms ir_10" in drawing.caption
    values = drawing.values.set_index(["metric", "backbone", "dataset", "method"])
    assert len(values) == 16
    assert values.loc[("f1", "lsa", "sms", "ours"), ["mean", "sd", "state"]].tolist() == pytest.approx(
        [0.5, 0.2 / np.sqrt(2), "done"]
    )
    assert values.loc[("f1", "minilm", "sms", "focal"), "state"] == "not run"


def test_the_axes_of_grouped_bars(texts):
    """What stands where: a row a metric, a column an encoder; bars as high as the means."""
    outputs, cells = texts
    made = build(FigureSpec, spec("grouped_bars", {"ours": "Ours", "focal": "Focal"}, **GROUPED), "paper")
    drawn = grouped_bars(made, cell_states(cells, Store(outputs)), "last").figure
    axes = np.array(drawn.axes).reshape(2, 2)
    assert [a.get_title() for a in axes[0]] == ["minilm", "lsa"]
    assert [a.get_ylabel() for a in axes[:, 0]] == ["F1", "recall"]
    assert [t.get_text() for t in axes[1, 0].get_xticklabels()] == ["SMS\n(10.0)", "imdb\n(10.5)"]
    heights = [bar.get_height() for bars in axes[0, 1].containers if hasattr(bars, "patches") for bar in bars]
    assert heights == pytest.approx([0.5, 0.7, 0.6])  # ours on both data sets, focal on SMS


def test_lines_over_readouts_of_the_same_runs(texts):
    outputs, cells = texts
    ours = [c for c in cells if c.labels["method"] == "ours"]
    places = {"iterates": {"post_100": 100, "last": 1000, "post_4000": 4000}, "x_title": "rows"}
    paper = spec("over_iterates", {"ours": "Ours"}, **GROUPED | places | {"metrics": ["f1"]})
    drawing = check(figure(FakePreset(paper, ours), Store(outputs)))
    assert "Last epoch" not in drawing.caption
    lines = drawing.values.set_index(["backbone", "dataset", "iterate"])["mean"]
    assert lines.sort_index()["minilm", "imdb"].to_dict() == pytest.approx(
        {"post_100": 0.02, "last": 0.3, "post_4000": 0.8}
    )


def test_values_are_stored_beside_the_figure(texts, tmp_path):
    outputs, cells = texts
    paper = spec("grouped_bars", {"ours": "Ours", "focal": "Focal"}, **GROUPED)
    drawing = figure(FakePreset(paper, cells), Store(outputs), command="make it")
    paths = drawing.write(tmp_path / "figures")
    assert [p.suffix for p in paths] == [".png", ".svg", ".txt", ".csv"]
    assert "# command: make it" in paths[3].read_text()
    pd.testing.assert_frame_equal(pd.read_csv(paths[3], comment="#"), drawing.values, check_dtype=False)


@pytest.mark.parametrize("draw", SCHEMATICS)
def test_diagrams_need_no_run_and_say_so(draw, tmp_path):
    encoder = {"model": "a/bert", "pooling": "cls", "normalise": False, "max_length": 512}
    layer = {"support": 64, "post_size": 1000, "episodes": 1000, "hidden": 512, "width": 256, "output": 128}
    options = {
        "backbone": {"conv": [6, 16], "hidden": [400, 120], "kernel": 5, **encoder},
        "method": {"k_minority": 5, **layer, "neighbours": 5, "layers": 2, "heads": 8, "batch_size": 64},
    }
    paper = spec(draw, {"dos": "DOS"}, name="dos")
    drawing = figure(
        FakePreset(paper, [cell("dos", "mnist", options=options)]), Store(tmp_path), command="train; report"
    )
    assert check(drawing).provenance == ["command: report", "a diagram: no run stands behind it"]
