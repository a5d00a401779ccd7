"""The package as functions, and a method as a classifier of scikit-learn's."""

from __future__ import annotations

import doctest
import pickle

import numpy as np
import pytest
from sklearn.datasets import make_classification
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

import imbalance_bench
from imbalance_bench import BenchError, ImbalanceClassifier, api, estimator
from imbalance_bench.registry import METHODS
from imbalance_bench.report.cli import main
from tests import records

QUICK = ("trainer.epochs=12", "trainer.lr=1e-2", "trainer.batch_size=64")


def small(**options):
    return ImbalanceClassifier(**{"overrides": QUICK, "device": "cpu"} | options)


@pytest.fixture(scope="module")
def rare():
    """Rows of two classes, the first of which is the rarer, and named last."""
    x, y = make_classification(300, 6, weights=[0.9], random_state=0, class_sep=2.0)
    return x, np.where(y == 1, "a rare one", "other")


def test_the_names_of_the_package():
    assert set(imbalance_bench.__all__) <= set(dir(imbalance_bench))
    assert all(callable(getattr(imbalance_bench, name)) for name in imbalance_bench.__all__)
    with pytest.raises(AttributeError, match="no attribute 'runs'"):
        imbalance_bench.runs  # noqa: B018


@pytest.mark.parametrize("module", [api, estimator])
def test_the_examples_run_as_they_stand(module, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {name: getattr(imbalance_bench, name) for name in imbalance_bench.__all__}
    found = doctest.testmod(module, extraglobs=names)
    assert found.attempted > 2
    assert not found.failed


def test_a_cell_that_fails_is_an_error(tmp_path):
    with pytest.raises(BenchError, match="did you mean focal"):
        imbalance_bench.run("method=focall")
    with pytest.raises(BenchError, match="method.gamma=-1 must be"):
        imbalance_bench.run("method=focal", "method.gamma=-1", f"paths.outputs={tmp_path}")


def test_compare_has_the_words_and_the_messages_of_the_command(tmp_path, capsys):
    for dataset, of in (("ecoli", 0.4), ("oil", 0.6)):
        for i, method in enumerate(("smote", "focal")):
            records.write(tmp_path, records.cell(method, dataset), {"f1": [of + i / 10], "g_mean": [of]})
    table = imbalance_bench.compare(metric=["f1", "g_mean"], outputs=tmp_path)
    assert len(table) == 8 and set(table["metric"]) == {"f1", "g_mean"}
    assert table.query("metric == 'f1' and best")["method"].tolist() == ["focal", "focal"]
    crossed = imbalance_bench.compare(
        metric="f1,g_mean", rows="method", columns=("dataset", "metric"), outputs=tmp_path
    )
    assert len(crossed) == 8
    for words, count in (({"test": "wilcoxon"}, 1), ({"versus": "smote"}, 1), ({"test": "bayes", "rope": 0.05}, 1)):
        assert len(imbalance_bench.compare(metric="f1", outputs=tmp_path, **words)) == count
    for words in ({"metric": "f2"}, {"versus": "smot"}, {"rope": 0.1}, {"group": "rare", "per_class": True},
                  {"group": "macr"}, {"rows": "method"}, {"readout": "bets"}, {"columns": "methd"}):  # fmt: skip
        with pytest.raises(BenchError) as error:
            imbalance_bench.compare(outputs=tmp_path, **words)
        flags = [
            f"--{name.replace('_', '-')}" + ("" if value is True else f"={value}") for name, value in words.items()
        ]
        assert main(["--outputs", str(tmp_path), *flags]) == 1
        assert capsys.readouterr().err == f"error: {error.value}\n"
    for words, says in (
        ({"test": "wilcox"}, "--test wilcox: did you mean wilcoxon"),
        ({"part": "train"}, "--part train"),
    ):
        with pytest.raises(BenchError, match=says):
            imbalance_bench.compare(outputs=tmp_path, **words)


@pytest.mark.slow
def test_scikit_learns_own_checks():
    check_estimator(small(), on_skip=None)


def test_some_of_scikit_learns_own_checks():
    from sklearn.utils import estimator_checks as checks

    for check in (
        checks.check_estimators_nan_inf,
        checks.check_estimators_overwrite_params,
        checks.check_estimators_pickle,
        checks.check_fit2d_1sample,
        checks.check_classifiers_one_label,
        checks.check_n_features_in_after_fitting,
    ):
        check("ImbalanceClassifier", small())


@pytest.mark.parametrize("method", ["cross_entropy", "smote", "random_forest"])
def test_the_rarer_class_is_the_positive_one_and_names_come_back(method, rare):
    x, y = rare
    model = small(method=method).fit(x, y)
    assert list(model.classes_) == ["a rare one", "other"]
    assert model.score(x, y) > 0.9
    assert model.predict_proba(x)[y == "a rare one", 0].mean() > model.predict_proba(x)[y == "other", 0].mean() + 0.3


def test_in_a_pipeline_under_a_grid_search(rare):
    x, y = rare
    grid = {"imbalanceclassifier__method": ["cross_entropy", "balanced_softmax"]}
    search = GridSearchCV(make_pipeline(StandardScaler(), small(scale="none")), grid, cv=2, scoring="balanced_accuracy")
    assert search.fit(x, y).best_score_ > 0.8


def test_a_model_is_pickled(rare):
    x, y = rare
    model = small().fit(x, y)
    assert (pickle.loads(pickle.dumps(model)).predict_proba(x) == model.predict_proba(x)).all()


def test_what_a_method_cannot_do(rare):
    x, y = rare
    with pytest.raises(BenchError, match="needs texts as token ids"):
        small(method="word_augmentation").fit(x, y)
    with pytest.raises(BenchError, match="readout='best': method=random_forest has last"):
        small(method="random_forest", readout="best").fit(x, y)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"scale": "robust"}, "scale='robust' must be one of minmax, zscore, none"),
        ({"valid": 1.5}, "valid=1.5 must be a number, at least 0 and below 1"),
        ({"valid": -3}, "valid=-3 must be"),
        ({"valid": "a"}, "valid='a' must be"),
        ({"random_state": -1}, "random_state=-1 must be a whole number, at least 0"),
        ({"random_state": "one"}, "random_state='one' must be .*, None or a numpy.random.RandomState"),
        ({"random_state": np.random.default_rng(0)}, "random_state=.* must be .*, None or a numpy.random.RandomState"),
        ({"method": None}, "method=None must be text"),
        ({"overrides": None}, r"overrides=None must be .* \(e.g. \("),
        ({"overrides": ("",)}, "overrides: '' plays no part"),
        ({"config_dir": "nowhere"}, "config_dir=nowhere is no folder"),
        ({"config_dir": 3}, "config_dir=3 is no folder"),
        ({"readout": "Best"}, "readout='Best': a method has last, best"),
        ({"readout": "best", "valid": 0.0}, "readout=best needs validation rows .* set valid=0.2"),
        ({"backbone": "textcnn"}, "backbone=textcnn reads texts, and X has numbers: set backbone=mlp"),
        ({"overrides": "trainer.epochs=1"}, r"overrides='trainer.epochs=1' must be .* \(e.g. \("),
        ({"overrides": ("seed=3",)}, "overrides: seed=3 plays no part .*: set random_state"),
        ({"overrides": ("dataset=ecoli",)}, "dataset=ecoli plays no part .*: X and y are the data"),
        ({"overrides": ("protocol.folds=9",)}, "protocol.folds=9 plays no part"),
        ({"overrides": ("+study=best",)}, r"\+study=best plays no part .* none of method, backbone, trainer"),
        ({"overrides": ("cost=3",)}, "cost=3 plays no part"),
        ({"overrides": ("ratio=ir_50",)}, "^ratio=ir_50 takes rows out"),
        ({"method": "mesa", "valid": 0.0}, "method=mesa needs validation rows on which nothing is trained"),
        ({"method": "tau_norm/selected", "valid": 0.0}, "method.tau=null needs validation rows"),
        ({"method": "hist_gradient_boosting/early_stopping", "valid": 0}, "method.patience=.* needs validation rows"),
    ],
)
def test_what_cannot_be_or_plays_no_part_is_an_error_before_anything_is_trained(wrong, said, rare, monkeypatch):
    monkeypatch.setattr("imbalance_bench.methods.base.Method.fit", lambda *_: pytest.fail("trained"))
    with pytest.raises(BenchError, match=said):
        ImbalanceClassifier(**{"device": "cpu"} | wrong).fit(*rare)


def test_arguments_of_numpy_are_those_of_python(rare):
    """As a parameter grid made of arrays gives them; of 300 rows 60 are held out, and not 61."""
    plain = small(valid=0.2, scale="zscore", random_state=3)
    made = small(valid=np.float32(0.2), scale=np.array(["zscore"])[0], random_state=np.uint8(3))
    x, y = rare
    expected = plain.fit(x, y).predict_proba(x)
    np.testing.assert_array_equal(made.fit(x, y).predict_proba(x), expected)


def test_without_rows_to_hold_out_there_is_no_validation_part_and_a_warning_says_so(rare):
    x, y = rare
    few = np.r_[np.flatnonzero(y == "a rare one")[:1], np.flatnonzero(y == "other")[:20]]
    with pytest.warns(UserWarning, match="21 rows of 2 classes, 1 of one, are too few to hold some out"):
        model = small(overrides=("trainer.epochs=1",)).fit(x[few], y[few])
    assert "valid_score" not in model.classifier_.history[0]
    with pytest.warns(UserWarning), pytest.raises(BenchError, match="readout=best needs validation rows"):
        small(readout="best").fit(x[few], y[few])
    with pytest.warns(UserWarning), pytest.raises(BenchError, match="method=explicit_gradient needs validation rows"):
        small(method="explicit_gradient").fit(x[few], y[few])


def test_a_random_state_of_none_draws_and_a_generator_repeats_itself(rare):
    x, y = rare
    one, again, other = (
        small(overrides=("trainer.epochs=1",), random_state=state).fit(x, y).predict_proba(x)
        for state in (np.random.RandomState(5), np.random.RandomState(5), None)
    )
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)


def test_options_of_a_folder_and_methods_of_a_module_of_ones_own(tmp_path, monkeypatch, rare):
    (tmp_path / "conf" / "method").mkdir(parents=True)
    (tmp_path / "conf" / "method" / "twice.yaml").write_text("name: twice_as_much\nlabel: twice\ntimes: 2.0\n")
    (tmp_path / "twice_as_much.py").write_text(
        "from dataclasses import dataclass\n"
        "from imbalance_bench.methods.base import Method\n"
        "from imbalance_bench.registry import METHODS\n\n\n"
        "@METHODS.register('twice_as_much')\n"
        "@dataclass(frozen=True)\n"
        "class Twice(Method):\n"
        "    times: float\n\n"
        "    def loss(self, logits, labels, state):\n"
        "        return self.times * super().loss(logits, labels, state)\n"
    )
    monkeypatch.chdir(tmp_path)
    METHODS.names()  # the package's own first
    monkeypatch.setattr(METHODS, "_classes", dict(METHODS._classes))
    overrides = ("plugins=[twice_as_much]", "trainer.epochs=1")
    model = small(method="twice", overrides=overrides, config_dir=tmp_path / "conf").fit(*rare)
    plain = small(overrides=("trainer.epochs=1",)).fit(*rare)
    assert model.classifier_.history[0]["train_loss"] > 1.5 * plain.classifier_.history[0]["train_loss"]


@pytest.mark.parametrize("named_by", ["config_dir", "hydra.searchpath", "a folder from elsewhere"])
def test_an_option_that_was_edited_between_two_fits_is_read_anew(named_by, tmp_path, monkeypatch, rare):
    monkeypatch.chdir(tmp_path)
    losses = []
    for gamma in (0.0, 5.0):
        place = tmp_path / (f"at_{gamma}" if named_by == "a folder from elsewhere" else ".")
        (place / "conf" / "method").mkdir(parents=True, exist_ok=True)
        (place / "conf" / "method" / "mine.yaml").write_text(f"defaults: [focal, _self_]\ngamma: {gamma}\n")
        monkeypatch.chdir(place)
        words = (f"hydra.searchpath=[file://{place}/conf]",) if named_by == "hydra.searchpath" else ()
        folder = None if words else "conf"
        model = small(method="mine", overrides=("trainer.epochs=1", *words), config_dir=folder).fit(*rare)
        losses.append(model.classifier_.history[0]["train_loss"])
    assert losses[0] > 2 * losses[1]


def test_a_folder_of_options_that_is_none_is_an_error(tmp_path):
    with pytest.raises(BenchError, match="config_dir=.*nowhere is no folder"):
        api.composed("method=focal", config_dir=tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"metric": 3}, "metric=3 must be text, or a list of texts"),
        ({"metric": ["f1", None]}, r"metric=.* must be text, or a list of texts"),
        ({"rows": {"dataset": 1}}, "rows=.* must be text"),
        ({"group": ["macro"]}, "group=.* must be text"),
        ({"per_class": "yes"}, "per_class='yes' must be True or False"),
        ({"readout": 5}, "readout=5 must be text"),
        ({"part": True}, "part=True must be text"),
        ({"test": 1}, "test=1 must be text"),
        ({"versus": 1.5}, "versus=1.5 must be text"),
        ({"test": "bayes", "rope": "x"}, "rope='x' must be a number"),
        ({"test": "t"}, "unknown --test t"),
    ],
)
def test_an_argument_of_compare_that_is_of_a_wrong_kind_is_an_error(wrong, said, tmp_path):
    records.write(tmp_path, records.cell("focal"), [0.5, 0.6])
    with pytest.raises(BenchError, match=said):
        api.compare(**wrong, outputs=tmp_path)


def test_words_of_compare_are_texts(tmp_path):
    with pytest.raises(BenchError, match="3 must be text, such as dataset=ecoli"):
        api.compare(3, outputs=tmp_path)
