"""Figures of any selection, from made-up records: their numbers against scikit-learn, that they can be read, and what
is said where the records do not carry one."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PathCollection
from scipy import stats
from sklearn import calibration as sk_calibration
from sklearn import metrics as sk

from imbalance_bench import metrics
from imbalance_bench.errors import BenchError
from imbalance_bench.metrics import calibration, probabilities, scoring
from imbalance_bench.report import arguments
from imbalance_bench.report.cli import main
from imbalance_bench.report.collect import main as collect
from imbalance_bench.report.figures import any_figure, confusion
from imbalance_bench.report.figures.any_figure import FIGURES, figure_of_records
from imbalance_bench.report.figures.ranking import LEVELS, step_precision, true_positive_rate
from imbalance_bench.report.figures.shown import MOST_LINES, MOST_PANELS, Wanted, name_of
from imbalance_bench.report.records.records import numbers
from imbalance_bench.report.records.selection import selection
from imbalance_bench.report.sheets.differences import AskedTest, differences
from imbalance_bench.report.style import COLUMN, SMALLEST
from imbalance_bench.store import NotCollected, Store
from tests.records import cell, decline, edit, write

ROOT = Path(__file__).parents[1]
RUNS, ROWS = 3, 60
HOSTILE = r'_<b>&"\frac$x^{2}$ 50% #1'


def predictions(seed, classes=2, shift=1.0, rows=ROWS, runs=RUNS):
    """Arrays of predictions.npz, test and validation rows; every class has rows in every run."""
    made = {}
    rng = np.random.default_rng(seed)
    data = np.random.default_rng(99)  # of the same labels whichever the method
    shares = [0.75, 0.25] if classes == 2 else [0.5] + [0.5 / (classes - 1)] * (classes - 1)
    for prefix in ("", scoring.VALID):
        each = [np.r_[np.arange(classes), data.choice(classes, rows - classes, p=shares)] for _ in range(runs)]
        label = np.concatenate(each)
        logits = (
            rng.normal(size=(len(label), classes)) + shift * np.eye(classes)[label] - 1.5 * (np.arange(classes) > 0)
        )
        scores = (logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)).astype(np.float32)
        made |= {f"{prefix}run": np.repeat(np.arange(runs), rows), f"{prefix}label": label,
                 f"{prefix}sample_id": np.arange(len(label)), f"{prefix}scores_last": scores}  # fmt: skip
    return made


def scored(outputs, made, seed=0, classes=2, names=None, history=None, validation="held out", **options):
    """A record whose numbers are those of its predictions."""
    arrays = predictions(seed, classes, **options)
    names = names or ["no", "yes", "maybe", "never"][:classes]
    minority = [[1]] * RUNS if classes == 2 else [list(range(2, classes))] * RUNS
    rows = scoring.score_predictions(arrays, [(r, 0) for r in range(RUNS)], names, "classification", minority,
                                     own={}, calibrations=["platt"])  # fmt: skip
    facts = {"classes": classes, "class_names": names}
    more = {"class_group": "positive"} if classes == 2 else {"class_group": "macro"}
    folder = write(
        outputs, made, [0.5] * RUNS, arrays=arrays, data=facts, history=history, validation=validation, **more
    )
    (folder / "metrics.csv").write_text(scoring.to_csv(rows))
    record = Store(outputs).cell(made.labels, made.id).record()
    edit(folder, runs=[run | {"minority_classes": minority[0]} for run in record["runs"]])
    return arrays


def mean_of(arrays, function, c=1):
    """Of each run's (labels of class c, scores of it)."""
    of_run = [arrays["run"] == run for run in range(RUNS)]
    ranked = [metrics.ranking_scores(arrays["scores_last"][mine], c) for mine in of_run]
    return np.mean([function(arrays["label"][mine] == c, scores) for mine, scores in zip(of_run, ranked)], axis=0)


@pytest.fixture
def drawn(monkeypatch):
    """Draws without making files of it: (figure, caption, values)."""
    monkeypatch.setattr(any_figure, "finished", lambda *made: made)

    def draw(kind, outputs, *filters, **wanted):
        figure, _, _, caption, _, values = figure_of_records(kind, Store(outputs), filters, Wanted(**wanted))
        return figure, caption, values

    return draw


# --- numbers


def test_precision_at_a_recall_is_the_step_whose_area_is_the_average_precision():
    rng = np.random.default_rng(0)
    for n, ties in ((9, False), (200, False), (200, True)):
        y, scores = rng.random(n) < 0.3, rng.normal(size=n)
        scores = scores.round(1) if ties else scores
        precision, recall, _ = sk.precision_recall_curve(y, scores)
        found = step_precision(y, scores)
        for level, value in zip(LEVELS[1:], found[1:]):
            reaching = np.flatnonzero(recall[:-1] >= level - 1e-12)
            assert value == precision[reaching[-1]], "the highest threshold that reaches the recall"
        assert np.trapezoid(found, LEVELS) == pytest.approx(sk.average_precision_score(y, scores), abs=0.01)
    exact = np.zeros(200, bool)
    exact[::2] = True  # 100 positives: every recall is one of the levels, and the area exact
    scores = rng.normal(size=200)
    steps = step_precision(exact, scores)
    assert steps[1:].mean() == pytest.approx(sk.average_precision_score(exact, scores))


def test_roc_curve_is_scikit_learns():
    rng = np.random.default_rng(1)
    y, scores = rng.random(300) < 0.2, rng.normal(size=300).round(1)
    fpr, tpr, _ = sk.roc_curve(y, scores, drop_intermediate=False)
    for ours, theirs in zip(metrics.roc_curve(y, scores), (fpr, tpr)):
        np.testing.assert_allclose(ours, theirs)
    assert np.trapezoid(true_positive_rate(y, scores), LEVELS) == pytest.approx(sk.roc_auc_score(y, scores), abs=0.005)
    assert np.isnan(true_positive_rate(np.zeros(3, bool), np.arange(3.0))).all()


def test_curves_are_means_over_runs_and_their_areas_those_of_the_record(tmp_path, drawn):
    arrays = {m: scored(tmp_path, cell(m), i) for i, m in enumerate(("ours", "focal"))}
    figure, caption, values = drawn("pr", tmp_path)
    assert "Positive class, mean over 3 runs; bands: one sd" in caption
    ours = values[values["method"] == "ours"]
    np.testing.assert_allclose(ours["precision"], mean_of(arrays["ours"], step_precision))
    area = mean_of(arrays["ours"], sk.average_precision_score)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert [label.rpartition("±")[0].strip() for label in labels[:2]][1] == f"ours {area:.3f}"
    shares = [
        line for line in figure.axes[0].get_lines() if len(set(line.get_ydata())) == 1 and len(line.get_ydata()) == 2
    ]
    assert shares[0].get_ydata()[0] == pytest.approx((arrays["ours"]["label"] == 1).mean())
    _, _, values = drawn("roc", tmp_path)
    focal = values[values["method"] == "focal"]
    np.testing.assert_allclose(focal["true-positive rate"], mean_of(arrays["focal"], true_positive_rate))
    assert np.trapezoid(focal["true-positive rate"], LEVELS) == pytest.approx(
        mean_of(arrays["focal"], sk.roc_auc_score), abs=0.01
    )
    assert "Minority" in drawn("pr", tmp_path, part="valid", group="minority")[1]


def test_curves_of_several_classes_are_of_the_minority_or_of_the_group_asked_for(tmp_path, drawn):
    arrays = scored(tmp_path, cell("ours"), classes=4)
    _, caption, values = drawn("pr", tmp_path)
    assert caption.startswith("Minority classes")
    each = [mean_of(arrays, step_precision, c) for c in (2, 3)]
    np.testing.assert_allclose(values["precision"], np.mean(each, axis=0))
    figure, caption, values = drawn("pr", tmp_path, group="class:maybe")
    np.testing.assert_allclose(values["precision"], each[0])
    assert f"{mean_of(arrays, sk.average_precision_score, 2):.3f}" in figure.legends[0].get_texts()[0].get_text()


def test_captions_say_of_which_classes_each_panel_is(tmp_path, drawn):
    scored(tmp_path, cell("ours"))
    scored(tmp_path, cell("ours", "digits"), classes=4)
    for kind in ("pr", "reliability"):
        assert drawn(kind, tmp_path)[1].startswith("Minority classes of digits; positive class of ecoli")


def test_reliability_is_scikit_learns_and_its_errors_those_of_the_record(tmp_path, drawn):
    arrays = scored(tmp_path, cell("ours"), shift=2.0)
    _, caption, values = drawn("reliability", tmp_path, calibration="platt")
    before, after = (values[values["stage"] == stage] for stage in ("as predicted", "platt"))
    p = np.exp(arrays["scores_last"][:, 1].astype(np.float64))
    observed, predicted = sk_calibration.calibration_curve(
        arrays["label"] == 1, p, n_bins=probabilities.BINS, strategy="quantile"
    )
    np.testing.assert_allclose(before["predicted"], predicted)
    np.testing.assert_allclose(before["observed"], observed)
    assert before["rows"].sum() == RUNS * ROWS and "12 to 12 rows each" in caption
    record = Store(tmp_path).records()[0]
    shown = pd.read_csv(record["path"] / "metrics.csv")
    shown = shown[(shown["part"] == "test") & (shown["iterate"] == "last")]

    def recorded(metric, group):
        return shown[(shown["metric"] == metric) & (shown["class_group"] == group)]["value"].mean()

    assert before["ece"].iloc[0] == pytest.approx(recorded("ece_mass", "positive"))
    _, _, values = drawn("reliability", tmp_path, group="all")
    of_all = values.groupby("stage", sort=False)["ece"].first()
    assert of_all.tolist() == pytest.approx([recorded(m, "all") for m in ("ece_mass", "ece_mass_platt")])
    of_valid = [[arrays[f"valid_{n}"][arrays["valid_run"] == r] for n in ("label", "scores_last")] for r in range(RUNS)]
    fitted = [calibration.fitted("platt", *rows) for rows in of_valid]
    p = [np.exp(fitted[r](arrays["scores_last"][arrays["run"] == r])[:, 1]) for r in range(RUNS)]
    assert (after["predicted"] * after["rows"]).sum() == pytest.approx(np.concatenate(p).sum())


def test_reliability_of_what_cannot_be_calibrated_says_why(tmp_path, drawn):
    scored(tmp_path, cell("ours"), validation="trained on")
    figure, caption, values = drawn("reliability", tmp_path)
    assert len(figure.axes) == 1 and set(values["stage"]) == {"as predicted"}
    assert "ours is not calibrated: its validation rows were trained on: set trainer.rows=train." in caption


HISTORY = [
    {"run": r, "epoch": e, "train_loss": (r + 1) / e, "valid_score": [0.2, 0.6, 0.4, 0.5][e - 1] + 0.1 * r}
    for r in range(RUNS)
    for e in range(1, 5)
]


def test_training_curves_are_means_by_epoch_and_the_chosen_epoch_is_marked(tmp_path, drawn):
    write(tmp_path, cell("ours"), [0.5] * RUNS, best=[0.5] * RUNS, history=HISTORY)
    write(
        tmp_path, cell("trees"), [0.5] * RUNS, history=[{"run": r, "epoch": 1, "train_loss": 1.0} for r in range(RUNS)]
    )
    figure, caption, values = drawn("curve", tmp_path)
    loss = values[values["quantity"] == "train_loss"].set_index("epoch")
    assert loss["mean"].tolist() == pytest.approx([2, 1, 2 / 3, 0.5])
    assert loss.loc[1, "sd"] == pytest.approx(1.0)
    losses, scores = ([c for c in axis.collections if isinstance(c, PathCollection)] for axis in figure.axes)
    np.testing.assert_allclose(scores[0].get_offsets()[0], [2, 0.7])
    assert not losses
    assert "Without a history of epochs: trees." in caption


def test_training_curves_without_an_epoch_that_was_chosen_or_validation_rows(tmp_path, drawn):
    plain = [{key: value for key, value in row.items() if key != "valid_score"} for row in HISTORY]
    write(tmp_path, cell("ours"), [0.5] * RUNS, history=[row | {"outer_loss": 0.1} for row in plain])
    figure, caption, values = drawn("curve", tmp_path)
    assert len(figure.axes) == 1 and "Dots" not in caption
    assert set(values["quantity"]) == {"train_loss", "outer_loss"} and "Thin lines" in caption


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Three methods on six data sets, two runs each, fitted at once; oil lacks one."""
    outputs = tmp_path_factory.mktemp("many")
    at_once = [{"run": run, "epoch": 1, "train_loss": 0.5} for run in range(2)]
    rng = np.random.default_rng(5)
    for d in ("ecoli", "oil", "scene", "abalone", "yeast", "wine"):
        for i, m in enumerate(("cross_entropy", "smote", "focal")):
            if (d, m) != ("oil", "focal"):
                values = np.clip(rng.normal(0.4 + 0.2 * i, 0.02, 2), 0, 1).tolist()
                write(outputs, cell(m, d), {"auc_pr": values, "log_loss": [1 - v for v in values]}, history=at_once)
    return outputs


@pytest.mark.parametrize("test", ["nemenyi", "wilcoxon"])
def test_critical_difference_says_its_test_and_its_n(many, drawn, test):
    _, caption, values = drawn("cd", many, test=test)
    assert values["method"].tolist() == ["focal", "smote", "cross_entropy"]
    assert values["mean_rank"].tolist() == [1, 2, 3]
    assert "Mean ranks of 3 methods on 5 data sets" in caption
    assert "Left out, since a method has no number there: oil." in caption
    if test == "nemenyi":  # q_0.05 of three is 2.343: neighbours are within 2.343 √(12 / 30), the ends are not
        assert "critical difference 1.48 ranks at α = 0.05" in caption
        assert values[["group_1", "group_2"]].to_numpy().tolist() == [[True, False], [True, True], [False, True]]
    else:  # five data sets cannot give p below 2 / 32
        assert "Wilcoxon's signed-rank tests of all pairs" in caption
        assert values["group_1"].all() and "group_2" not in values


def test_a_profile_where_lower_is_better_is_of_the_best_over_the_score(many, drawn):
    _, caption, values = drawn("profile", many, metrics=("log_loss",))
    table = pd.DataFrame({
        m: {r["labels"]["dataset"]: np.mean([v for *_, name, v, _ in numbers(r) if name == "log_loss"])
            for r in Store(many).records() if r["labels"]["method"] == m} for m in ("cross_entropy", "smote", "focal")
    }).dropna()  # fmt: skip
    reached = table.min(axis=1).to_numpy()[:, None] / table
    for theta in (0.3, 0.5, 1.0):
        row = values.iloc[(values["theta"] - theta).abs().argmin()]
        assert row[list(table)].tolist() == pytest.approx((reached >= row["theta"] - 1e-9).mean().tolist())
    assert "lower is better" in caption and "5 data sets" in caption


def test_bars_are_paired_differences_with_corrected_intervals(many, drawn):
    figure, caption, values = drawn("bars", many)
    row = values[(values["panel"] == "wine") & (values["method"] == "focal")].iloc[0]
    by = {r["labels"]["method"]: r for r in Store(many).records() if r["labels"]["dataset"] == "wine"}
    runs = {m: [v for *_, name, v, _ in numbers(r) if name == "auc_pr"] for m, r in by.items()}
    difference = np.subtract(runs["focal"], runs["cross_entropy"])
    half = stats.t.ppf(0.975, 1) * np.sqrt((1 / 2 + 10 / 90) * difference.var(ddof=1))  # n_test 10, n_train 90
    assert [row["difference"], row["low"], row["high"]] == pytest.approx(
        [difference.mean(), difference.mean() - half, difference.mean() + half]
    )
    overall = values[values["panel"] == "mean over 5 data sets"].set_index("method")
    assert "Left out of a mean over data sets, without all 2 methods: oil." in caption
    for method in ("smote", "focal"):
        of = (values["method"] == method) & ~values["panel"].isin(["oil", "mean over 5 data sets"])
        each = values[of]["difference"]
        low, high = stats.t.interval(0.95, 4, each.mean(), stats.sem(each))
        assert overall.loc[method, ["pairs", "low", "high"]].tolist() == pytest.approx([5, low, high])
    assert len(figure.axes) == 8 and "Nadeau and Bengio" in caption  # six, the mean, and one that is not drawn
    versus = drawn("bars", many, versus="smote")[2]
    assert set(versus["method"]) == {"cross_entropy", "focal"} and set(versus["baseline"]) == {"smote"}


def test_bars_take_runs_that_differ_in_seeds_as_the_table_does(tmp_path, drawn):
    rng = np.random.default_rng(0)
    for m in ("cross_entropy", "smote"):
        write(tmp_path, cell(m), rng.normal(0.5, 0.05, 6).tolist())
    for splits in (3, 6):
        for m in ("cross_entropy", "smote"):
            made = Store(tmp_path).cell(cell(m).labels, cell(m).id)
            runs = made.record()["runs"]
            of = [f"{r['run'] // 2 if splits == 3 else 0}" for r in runs]
            edit(made.path, runs=[r | {"subset_hash": rows, "test_hash": rows} for r, rows in zip(runs, of)])
        _, caption, values = drawn("bars", tmp_path)
        table = differences(selection(Store(tmp_path)), AskedTest(versus="cross_entropy")).frame
        columns = ["difference", "low", "high"]
        np.testing.assert_allclose(values[columns], table[columns])
        assert values["pairs"].tolist() == table["n"].tolist() == [splits]
        assert ("differ in seeds, count by their mean" in caption) == (splits == 3)


def test_many_data_sets_are_one_panel_of_bars(tmp_path, drawn):
    for i in range(MOST_PANELS + 1):
        for j, m in enumerate(("cross_entropy", "smote")):
            write(tmp_path, cell(m, f"set{i}"), [0.5 + 0.1 * j, 0.6 + 0.01 * i * j])
    figure, _, values = drawn("bars", tmp_path)
    assert len(figure.axes) == 1
    assert len(values) == MOST_PANELS + 2


def test_a_scatter_counts_who_is_better(many, drawn):
    for metric, side in (("auc_pr", "smote"), ("log_loss", "cross_entropy")):
        figure, caption, values = drawn("scatter", many, "method=smote,cross_entropy", metrics=(metric,))
        assert len(values) == 6 and f"{side} is better above the diagonal" in caption
        assert "signed-rank test: p = 0.031, n = 6)" in caption  # 2 / 2⁶
        texts = {text.get_text() for text in figure.axes[0].texts}
        assert {"smote better: 6", "cross_entropy better: 0"} <= texts


def test_a_scatter_of_two_metrics_that_no_cell_has_both(tmp_path, drawn):
    write(tmp_path, cell("a"), {"f1": [0.5]})
    write(tmp_path, cell("b"), {"auc_pr": [0.5]})
    with pytest.raises(BenchError, match="no cell has both f1 and auc_pr"):
        drawn("scatter", tmp_path, metrics=("f1", "auc_pr"))
    write(tmp_path, cell("c"), {"f1": [0.5], "auc_pr": [0.6]})
    _, caption, values = drawn("scatter", tmp_path, metrics=("f1", "auc_pr"))
    assert values["method"].tolist() == ["c"]
    assert "Left out, without f1 of its classes: b on ecoli." in caption
    assert "Left out, without auc_pr of its classes: a on ecoli." in caption


def test_a_scatter_of_two_metrics(many, drawn):
    _, _, values = drawn("scatter", many, metrics=("auc_pr", "log_loss"))
    assert len(values) == 17
    np.testing.assert_allclose(values["auc_pr (positive)"] + values["log_loss (positive)"], 1)


def test_confusion_is_scikit_learns_mean_over_runs(tmp_path, drawn):
    arrays = scored(tmp_path, cell("ours"), classes=4)
    _, _, values = drawn("confusion", tmp_path)
    each = [
        sk.confusion_matrix(arrays["label"][mine], arrays["scores_last"][mine].argmax(axis=1), labels=range(4))
        for mine in (arrays["run"] == run for run in range(RUNS))
    ]
    np.testing.assert_allclose(values["count"].to_numpy().reshape(4, 4), np.mean(each, axis=0))
    shares = np.mean([m / m.sum(axis=1, keepdims=True) for m in each], axis=0)
    np.testing.assert_allclose(values["row_share"].to_numpy().reshape(4, 4), shares)
    _, _, values = drawn("confusion", tmp_path, group="class:yes")
    assert values["label"].unique().tolist() == ["yes", "the other 3"]
    assert values["count"].sum() == pytest.approx(ROWS)
    assert values["count"].iloc[0] == pytest.approx(np.mean(each, axis=0)[1, 1])


# --- legibility


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """Two data sets, several methods with long names and names that are markup, classes too."""
    outputs = tmp_path_factory.mktemp("hostile")
    methods = [HOSTILE, "hist_gradient_boosting_weighted_by_class", "_underscored", "cross_entropy"]
    history = [row | {"train_loss": 10.0 ** -row["epoch"]} for row in HISTORY]
    for d in ("ecoli", f"a_long_name_of_a_data_set {HOSTILE}"):
        for i, m in enumerate(methods):
            scored(outputs, cell(m, d), i, names=[HOSTILE, "majority_of_all_the_rows"], history=history)
    return outputs


@pytest.mark.parametrize("kind", [k if k == "bars" else pytest.param(k, marks=pytest.mark.slow) for k in FIGURES])
def test_a_figure_fits_a_column_and_its_letters_can_be_read(hostile, drawn, kind):
    """At 3.3 inches, which a phone of 390 px shows at 118 px an inch: nothing is smaller, cut off or covered."""
    filters = {"scatter": ["method=cross_entropy,_und*"]}.get(kind, [])
    figure, _, _ = drawn(kind, hostile, *filters)
    assert figure.get_figwidth() == COLUMN
    figure.draw_without_rendering()
    panels = [axis for axis in figure.axes if axis.get_visible()]
    legends = [*figure.legends, *(axis.get_legend() for axis in panels)]
    ticks = {(axis.get_title(), side): shown_ticks(side) for axis in panels for side in (axis.xaxis, axis.yaxis)}
    texts = [text for legend in legends if legend for text in legend.get_texts()]
    texts += [text for axis in panels for text in (axis.title, axis.xaxis.label, axis.yaxis.label, *axis.texts)]
    texts += [text for labels in ticks.values() for text in labels] + ([figure._supxlabel] if figure._supxlabel else [])
    boxes = [(text, text.get_window_extent()) for text in texts if text.get_text()]
    assert len(boxes) > 6
    for text, box in boxes:
        assert text.get_fontsize() >= SMALLEST, text
        assert box.x0 > -1 and box.x1 < figure.bbox.width + 1, f"{text} is cut off"
        assert box.y0 > -1 and box.y1 < figure.bbox.height + 1, f"{text} is cut off"
    for where, labels in ticks.items():
        boxes = sorted((label.get_window_extent() for label in labels), key=lambda box: (box.x0, box.y0))
        assert not any(one.overlaps(two) for one, two in zip(boxes, boxes[1:])), where
    assert all(axis.get_window_extent().width > 0.6 * figure.dpi for axis in panels), "room for the lines"


def shown_ticks(side):
    """The labels of the ticks that lie within an axis."""
    low, high = sorted(side.get_view_interval())
    found = [tick.label1 for tick in side.get_major_ticks() if low - 1e-9 <= tick.get_loc() <= high + 1e-9]
    return [label for label in found if label.get_text() and label.get_visible()]


def test_names_are_broken_where_they_can_be_and_never_hidden():
    assert name_of("hist_gradient_boosting_weighted", 24) == "hist_gradient_boosting_\nweighted"
    assert name_of("x" * 50, 20) == "\n".join(["x" * 20, "x" * 20, "x" * 10])
    assert name_of("a b\nc", 20) == "a b c"
    assert name_of("_x") == " _x"  # matplotlib leaves out of a legend what begins with _
    assert name_of("") == " "


# --- the command, its files and messages


def report(capsys, outputs, *words):
    status = main(["--outputs", str(outputs), *words])
    out, err = capsys.readouterr()
    return status, out, err


def test_the_command_stores_both_formats_the_caption_and_the_values(hostile, capsys):
    words = ["dataset=ecoli", "--group", "minority", "--columns", "method,backbone"]
    status, out, _ = report(capsys, hostile, "--figure", "pr", *words)
    assert status == 0
    png, svg, text, values = map(Path, out.split("\n")[:4])
    assert png.match("figures/summary/pr_minority_method_backbone,dataset=ecoli.png")
    texts = text.read_text()
    command = next(line for line in texts.splitlines() if line.startswith("command: "))
    assert re.search(r"report.* --figure pr .*--group minority.* dataset=ecoli", command)
    assert "versions:" in texts and "no skill: the share of positives" in texts
    ElementTree.parse(svg)
    first = png.read_bytes()
    assert first.startswith(b"\x89PNG") and int.from_bytes(first[16:20]) == round(COLUMN * 300)
    assert f"{HOSTILE}, mlp" in pd.read_csv(values, comment="#")["method"].unique()


PAGE = ROOT / "docs" / "reports.md"
COMMANDS = re.findall(r"^    python scripts/report.py --outputs outputs/demo (--figure .*)$", PAGE.read_text(), re.M)


def test_the_page_has_a_command_and_a_small_picture_of_each_figure():
    assert sorted(command.split()[1] for command in COMMANDS) == sorted(FIGURES)
    pictures = sorted((PAGE.parent / "figures").iterdir())
    assert [path.stem for path in pictures] == sorted(FIGURES)
    assert sum(path.stat().st_size for path in pictures) < 500_000
    for path in pictures:
        assert f"(figures/{path.name})" in PAGE.read_text()


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_the_commands_of_the_page_draw(tmp_path, capsys, command):
    """On records of the demo's methods and data sets that nothing was trained for."""
    for d in ("breast_cancer", "digits_8"):
        for i, m in enumerate(("cross_entropy", "random_oversampling", "smote", "focal", "ldam", "explicit_gradient")):
            scored(tmp_path, cell(m, d, "ir_20"), i, history=HISTORY)
    status, out, error = report(capsys, tmp_path, *command.split())
    assert status == 0 and out.splitlines()[0].endswith(".png"), error


def test_kinds_and_words_of_the_command_line_are_those_that_are_drawn():
    assert tuple(FIGURES) == arguments.KINDS
    known = {name for figure in FIGURES.values() for name in figure.takes.split()} | {*any_figure.AXES}
    assert known == set(Wanted.__dataclass_fields__)


@pytest.mark.parametrize(
    "words, message",
    [
        ("--figure prr", "unknown --figure prr: did you mean pr?"),
        ("--figure pr --metric f1", "--metric does not apply to --figure pr: leave it out .it takes --group, "),
        ("--figure curve --group minority", "--group does not apply to --figure curve"),
        ("--figure cd --metric auc_pr,log_loss", "--figure cd shows 1 of --metric auc_pr,log_loss at a time: give one"),
        ("--figure scatter --metric f1,auc_pr,mcc", "--figure scatter has two axes"),
        ("--figure cd --metric auc_p", "no record has the metric auc_p: did you mean auc_pr"),
        ("--figure cd method=smote,focal", "3 methods or more, and there are 2 .*--figure scatter shows two"),
        ("--figure cd dataset=ecoli", "all 3 methods, and 1 of 1 has: train on more data sets"),
        ("--figure cd dataset=ecoli,oil", r"all 3 methods, and 1 of 2 has: leave out methods, or .* \(focal on 1\)"),
        ("--figure profile dataset=ecoli", "needs two data sets"),
        ("--figure scatter", "two methods, and there are 3: choose two, such as method=cross_entropy,focal"),
        ("--figure scatter method=focal", "two methods .there is only focal.: choose method=A,B, or give two metrics"),
        ("--figure bars method=focal", "one method, focal, has none to be compared with"),
        ("--figure bars --versus smot", "--versus smot is not among the methods shown: did you mean smote?"),
        ("--figure curve", "has a history of several epochs.*such as method=cross_entropy"),
        ("--figure cd --readout knn", "nothing to draw: left out, without auc_pr .positive. by k-nearest"),
        ("--figure cd --part valid", "nothing to draw: left out, its record has no validation scores"),
        ("--tuned --figure cd", "--tuned is a table: leave out --figure"),
        ("--calibration platt", "--calibration platt applies to --figure reliability only"),
        ("--figure cd --test bayes", "--figure cd joins what --test nemenyi or wilcoxon does not tell apart; bayes"),
        ("--figure cd --columns method,metric", "a figure shows one number per cell: leave metric out"),
        ("--figure bars --metric threshold_f1", "shows which is better, and no value of threshold_f1 is"),
        ("--figure bars --per-class", "--per-class is a table: leave out --figure"),
    ],
)  # fmt: skip
def test_a_figure_that_the_records_do_not_carry_says_what_to_add(many, capsys, words, message):
    status, _, error = report(capsys, many, *words.split())
    assert status == 1
    assert re.search(message, error), error


@pytest.mark.parametrize(("rows", "shown"), [(0.3333, "0.3"), (24, "24"), (5.667, "5.7"), (1234.5, "1234"), (0, "0"),
                                             (99.7, "100"), (45678, "46e3")])  # fmt: skip
def test_counts_of_a_confusion_matrix_fit_its_squares(rows, shown):
    assert confusion._count(rows) == shown


def test_records_without_predictions_or_of_a_regression_say_so(many, tmp_path_factory, drawn):
    with pytest.raises(BenchError, match="predictions.npz is missing: train the cell again"):
        drawn("pr", many)
    other = tmp_path_factory.mktemp("regression")
    write(other, cell("squared_error", "sine"), {"mse": [0.1]}, class_group="all", kind="regression")
    with pytest.raises(BenchError, match="--figure pr needs classes, and these records are of a regression"):
        drawn("pr", other)
    with pytest.raises(BenchError, match="--figure confusion needs classes, and these records are of a regression"):
        drawn("confusion", other)
    decline(other, cell("mesa", "ecoli"), "two classes only")
    with pytest.raises(BenchError, match="none of these cells has a result .mesa: two classes only"):
        drawn("bars", other, "method=mesa")


def test_what_lies_apart_is_not_drawn_together(tmp_path, drawn):
    for ratio in ("ir_10", "ir_20"):
        for d in ("ecoli", "oil"):
            for m in ("a", "b", "c"):
                write(tmp_path, cell(m, d, ratio), [0.5])
    with pytest.raises(BenchError, match="of 2 settings .*choose one, such as ratio=ir_20"):
        drawn("cd", tmp_path)
    assert drawn("cd", tmp_path, "ratio=ir_20")[2]["datasets"].tolist() == [2] * 3
    with pytest.raises(BenchError, match="of 2 settings .*choose one, such as ratio=ir_20"):
        drawn("bars", tmp_path, "dataset=oil")
    _, caption, values = drawn("bars", tmp_path, "dataset=oil", rows=("dataset", "ratio"))
    assert set(values["panel"]) == {"oil, ir_10", "oil, ir_20", "mean over 2 data sets"}
    for told in (caption, drawn("cd", tmp_path, rows=("dataset", "ratio"))[1]):
        assert "Several of these are of one data set, and not independent" in told
    write(tmp_path, cell("a", "digits", "ir_20"), [0.5], class_group="macro")
    with pytest.raises(BenchError, match="auc_pr of macro on digits and auc_pr of positive on .* cannot share an axis"):
        drawn("cd", tmp_path, "ratio=ir_20")


def test_other_axes_than_data_sets_and_methods(tmp_path, drawn):
    for i, backbone in enumerate(("mlp", "wide")):
        for d in ("ecoli", "oil"):
            for m in ("a", "b"):
                write(tmp_path, cell(m, d, backbone=backbone), [0.5 + 0.1 * i, 0.6 + 0.1 * i])
    _, _, values = drawn("cd", tmp_path, columns=("method", "backbone"))
    assert values["method"].tolist() == ["a, wide", "b, wide", "a, mlp", "b, mlp"]
    _, _, values = drawn("bars", tmp_path, rows=("dataset", "method"), columns=("backbone",), versus="mlp")
    assert set(values["panel"]) == {"ecoli, a", "ecoli, b", "oil, a", "oil, b", "mean over 4 data sets"}
    np.testing.assert_allclose(values["difference"], 0.1)


def test_an_axis_that_says_which_data_stands_where_it_can_be_compared(tmp_path, drawn):
    """Five folds and ten are of different rows: a figure that compares has them as data sets of their own, whichever
    way they were asked for, and one that shows draws them side by side."""
    for folds in (5, 10):
        for d in ("ecoli", "oil"):
            for i, m in enumerate(("a", "b", "c")):
                made = cell(m, d, options={"protocol": {"folds": folds}})
                scored(tmp_path, made, i)
                edit(Store(tmp_path).cell(made.labels, made.id).path, runs=[
                    {**run, "subset_hash": f"{folds}s{run['run']}", "test_hash": f"{folds}t{run['run']}"}
                    for run in Store(tmp_path).cell(made.labels, made.id).record()["runs"]
                ])  # fmt: skip
    panels = {f"{d}, {folds}" for d in ("ecoli", "oil") for folds in (5, 10)}
    for rows, columns in (
        (("dataset",), ("method", "protocol.folds")),
        (("dataset", "protocol.folds"), ("method",)),
        (("method",), ("dataset", "protocol.folds")),
    ):
        _, caption, values = drawn("cd", tmp_path, rows=rows, columns=columns)
        assert values[["method", "datasets"]].values.tolist() == [[m, 4] for m in values["method"]]
        assert set(values["method"]) == {"a", "b", "c"} and "and not independent" in caption
        values = drawn("bars", tmp_path, rows=rows, columns=columns, versus="a")[2]
        assert set(values["panel"]) == {*panels, "mean over 4 data sets"}
    lines = drawn("pr", tmp_path, "dataset=ecoli", "method=a,b", columns=("method", "protocol.folds"))[2]
    assert set(lines["method"]) == {"a, 5", "a, 10", "b, 5", "b, 10"}
    with pytest.raises(BenchError, match="no axis shows methods: add method to --rows or --columns"):
        drawn("scatter", tmp_path, "method=a", columns=("protocol.folds",))


def test_too_much_for_one_figure_names_what_to_choose(tmp_path, drawn):
    for i in range(MOST_PANELS + 1):
        write(tmp_path, cell("ours", f"set{i:02}"), {"auc_pr": [0.5], "auc_roc": [0.5]})
    with pytest.raises(BenchError, match=r"13 panels.* at most 12: choose some, such as dataset=set00,set01,.*set11$"):
        drawn("pr", tmp_path)
    with pytest.raises(BenchError, match="13 matrices"):
        drawn("confusion", tmp_path)
    for i in range(MOST_LINES):
        write(tmp_path, cell(f"m{i}", "set00"), {"auc_pr": [0.5], "auc_roc": [0.6 + 0.01 * i]})
    with pytest.raises(BenchError, match="9 methods in one panel, and at most 8 .*the best, method=m7,m6,.*m0$"):
        drawn("roc", tmp_path, "dataset=set00")


def test_many_classes_are_refused_with_a_way_out(tmp_path, drawn):
    made = cell("ours")
    arrays = {"run": np.zeros(40, np.int32), "label": np.arange(40), "scores_last": np.log(np.full((40, 40), 1 / 40))}
    folder = write(
        tmp_path, made, [0.5], arrays=arrays, data={"classes": 40, "class_names": [str(i) for i in range(40)]}
    )
    record = Store(tmp_path).records()[0]
    edit(folder, runs=[run | {"minority_classes": [38, 39]} for run in record["runs"]])
    with pytest.raises(
        BenchError, match="40 classes would make cells of less than 0.1 inches: choose some by --group minority"
    ):
        drawn("confusion", tmp_path)
    values = drawn("confusion", tmp_path, group="class:7")[2]
    assert values["label"].unique().tolist() == ["7", "the other 39"]


def test_a_damaged_file_leaves_its_cell_out(tmp_path, drawn):
    for i, m in enumerate(("ours", "focal")):
        scored(tmp_path, cell(m), i)
    path = Store(tmp_path).cell(cell("focal").labels, cell("focal").id).path / "predictions.npz"
    path.write_bytes(b"PK\x03\x04 cut")
    _, caption, values = drawn("pr", tmp_path)
    assert set(values["method"]) == {"ours"} and f"Left out, damaged: {path} is damaged" in caption


def test_of_collected_records_what_needs_numbers_only_is_drawn(tmp_path, capsys):
    outputs, file = tmp_path / "runs", tmp_path / "runs" / "records" / "mine.parquet"
    for i, m in enumerate(("ours", "focal")):
        scored(outputs, cell(m), i)
    assert collect(["--outputs", str(outputs), "--name", "mine"]) == 0
    capsys.readouterr()
    status, out, _ = report(capsys, tmp_path / "out", "--from", str(file), "--figure", "bars")
    assert status == 0 and "bars.png" in out
    for kind in ("pr", "curve"):
        status, _, error = report(capsys, tmp_path / "out", "--from", str(file), "--figure", kind)
        assert status == 1 and "holds numbers only: leave out --from where the runs are" in error
    assert issubclass(NotCollected, BenchError)
