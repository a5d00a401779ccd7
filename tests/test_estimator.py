"""Classifiers of other libraries behind one adapter, against the libraries themselves."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from imblearn.ensemble import RUSBoostClassifier
from scipy.special import expit, logsumexp
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import LinearSVC

from imbalance_bench.card import card
from imbalance_bench.cells import run_cell
from imbalance_bench.data.base import Part
from imbalance_bench.engine import Engine
from imbalance_bench.errors import BenchError
from imbalance_bench.methods.shared.estimators import Recipe
from imbalance_bench.report.pages.cells import cell_page
from imbalance_bench.report.sheets.summary import summary
from imbalance_bench.settings.conf_files import content_of
from imbalance_bench.settings.config import NETWORKLESS, NETWORKS, from_omegaconf, labels_shown
from imbalance_bench.settings.identity import cell_id
from imbalance_bench.store import Store
from tests.cells import cell, composed
from tests.tasks import method, option, options_of, task, trainer

TREE = "sklearn.tree.DecisionTreeClassifier"
FOREST = "sklearn.ensemble.RandomForestClassifier"


def fitted(label: str, *tasks: Any, **options: Any) -> list[Any]:
    return method(label, **options).fit(list(tasks), None, Engine(trainer(), "cpu"))


def probabilities(classifier: Any, x: np.ndarray) -> np.ndarray:
    return np.exp(classifier.scores(x))


def doubles(x: np.ndarray) -> np.ndarray:
    return x.astype(np.float64)


@pytest.mark.parametrize("n", [(90, 15), (40, 20, 10)])
def test_an_estimator_is_the_librarys_own(n):
    t = task(n=n)
    (made,) = fitted("random_forest", t, options={"n_estimators": 7, "max_depth": 3})
    forest = RandomForestClassifier(7, max_depth=3, random_state=t.seed).fit(doubles(t.train.x), t.train.y)
    np.testing.assert_allclose(probabilities(made, t.valid.x), forest.predict_proba(t.valid.x), atol=1e-9)
    assert made.info["estimator"] == FOREST
    assert made.info["version"] == __import__("sklearn").__version__
    assert list(made.history[0]) == ["epoch", "train_loss", "valid_score"]


def test_balanced_weights_are_those_of_class_weight_balanced():
    t = task()
    (made,) = fitted("linear_svm_weighted", t)
    machine = LinearSVC(class_weight="balanced", random_state=t.seed).fit(doubles(t.train.x), t.train.y)
    odds = machine.decision_function(doubles(t.valid.x))
    np.testing.assert_allclose(probabilities(made, t.valid.x)[:, 1], expit(odds), atol=1e-6)


def test_a_decision_function_stands_where_there_are_no_probabilities_and_the_record_says_so():
    t = task(n=(40, 20, 10))
    (made,) = fitted("linear_svm", t)
    z = LinearSVC(random_state=t.seed).fit(doubles(t.train.x), t.train.y).decision_function(doubles(t.valid.x))
    np.testing.assert_allclose(made.scores(t.valid.x), z - logsumexp(z, axis=1, keepdims=True), atol=1e-6)
    assert "no probabilities" in made.info["scores"]


def test_boosting_stops_by_the_validation_part():
    t = task()
    (made,) = fitted("hist_gradient_boosting_early_stopping", t, patience=3)
    alone = HistGradientBoostingClassifier(max_iter=1000, early_stopping=True, n_iter_no_change=3, random_state=t.seed)
    alone.fit(doubles(t.train.x), t.train.y, X_val=doubles(t.valid.x), y_val=t.valid.y)
    assert made.info["rounds"] == alone.n_iter_ < 1000
    np.testing.assert_allclose(probabilities(made, t.valid.x), alone.predict_proba(t.valid.x), atol=1e-9)
    with pytest.raises(BenchError, match="fold 0 has none: set protocol.valid_fraction .* or method.patience=null"):
        fitted("hist_gradient_boosting_early_stopping", replace(t, valid=t.valid.take(np.array([], int))))
    stopping = method("hist_gradient_boosting_early_stopping", patience=3)
    with pytest.raises(BenchError, match="method.patience=3 needs .* set trainer.rows=train, or method.patience=null"):
        stopping.fit([t], None, Engine(trainer(rows="train_valid"), "cpu"))


@pytest.mark.parametrize("label", ["lightgbm", "xgboost", "catboost"])
def test_boosting_of_other_packages_stops_at_its_best_round(label):
    pytest.importorskip(label)
    t = task()
    known = method(f"{label}_early_stopping").options | {"learning_rate": 0.1}  # CatBoost's hangs on the rounds
    (made,) = fitted(f"{label}_early_stopping", t, patience=5, options=known)
    assert 0 < made.info["rounds"] < 1000
    if label == "catboost":  # whose rounds are others where it is given a validation part
        assert made.made[0].tree_count_ == made.made[0].best_iteration_ + 1 == made.info["rounds"]
        return
    rounds = {"n_estimators": made.info["rounds"]}
    (short,) = fitted(label, t, options=known | rounds)
    np.testing.assert_allclose(made.scores(t.valid.x), short.scores(t.valid.x), atol=1e-6)


def test_a_class_without_rows_and_a_class_alone_have_scores():
    t = task(n=(40, 20, 10))
    without = replace(t, train=t.train.take(t.train.y != 1))
    (made,) = fitted("k_nn", without)
    p = probabilities(made, t.valid.x)
    nearest = KNeighborsClassifier().fit(without.train.x, without.train.y).predict_proba(t.valid.x)
    np.testing.assert_allclose(p[:, [0, 2]], nearest, atol=1e-9)
    assert (p[:, 1] < 1e-9).all()
    (alone,) = fitted("k_nn", replace(t, train=t.train.take(t.train.y == 2)))
    assert (alone.scores(t.valid.x).argmax(1) == 2).all()


def test_any_resampler_may_come_first_and_its_errors_name_its_own_keys():
    t = task()
    smote = {"name": "smote", "amount": "balanced", "k_neighbors": 5}
    (made,) = fitted("k_nn", t, resampler=smote)
    assert made.info["fitted_counts"] == [90, 90]
    with pytest.raises(BenchError, match=r"method.resampler.name=smote needs .* set method.resampler.k_neighbors=14"):
        fitted("k_nn", t, resampler=smote | {"k_neighbors": 15})
    with pytest.raises(BenchError, match="method.resampler.name=estimator leaves the training set as it is"):
        method("k_nn", resampler={"name": "estimator"} | _keys("k_nn"))


@pytest.mark.parametrize("label", ["smote_features", "adasyn_features"])
@pytest.mark.parametrize("classifier", ["k_nn", "logistic_regression"])
def test_a_resampler_of_a_networks_features_is_none_of_rows(classifier, label):
    keys = {key: option("method", label)[key] for key in ("share", "amount", "k_neighbors")}
    with pytest.raises(BenchError, match=rf"method.resampler.name={label} does more than resample \(its own fit\)"):
        method(classifier, resampler={"name": label, **keys})


@pytest.mark.parametrize(
    ("resampler", "advised"),
    [
        ({"name": "smote", "amount": "balanced", "k_neighbors": 5}, "method.resampler.k_neighbors=2"),
        ({"name": "near_miss", "version": 1, "neighbours": 6}, "method.resampler.neighbours=3"),
        ({"name": "iht", "trees": 3, "folds": 6}, "method.resampler.folds=3"),
    ],
)
def test_what_a_resamplers_error_advises_serves_all_runs(resampler, advised):
    tasks = [task(0, (60, 5)), task(1, (60, 3), fold=1), task(2, (60, 5), fold=2)]
    with pytest.raises(BenchError, match=f"fold 1 has 3 of .*: set {advised}"):
        fitted("logistic_regression", *tasks, resampler=resampler)
    key, value = advised.removeprefix("method.resampler.").split("=")
    assert len(fitted("logistic_regression", *tasks, resampler=resampler | {key: int(value)})) == 3


def _keys(label: str) -> dict[str, Any]:
    made = method(label)
    return {key: getattr(made, key) for key in ("estimator", "options", "weights", "patience", "max_rows", "resampler")}


def test_an_option_may_be_an_estimator():
    inner = {"estimator": TREE, "options": {"max_depth": 1}}
    (made,) = fitted("balanced_bagging", task(), options={"n_estimators": 2, "estimator": inner})
    assert {bag.named_steps["classifier"].max_depth for bag in made.made[0].estimators_} == {1}
    with pytest.raises(BenchError, match=r"unknown option method.options.estimator.options.max_dept .* max_depth"):
        method("balanced_bagging", options={"estimator": {"estimator": TREE, "options": {"max_dept": 1}}})


class NoScores:
    """Says a class of each row and no more."""

    def fit(self, x: np.ndarray, y: np.ndarray) -> NoScores:
        return self

    def predict(self, x: np.ndarray) -> np.ndarray:
        return np.zeros(len(x), int)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"estimator": "RandomForestClassifier"}, "method.estimator=RandomForestClassifier is no import path"),
        ({"estimator": "sklearn.ensemble.RandomForest"}, "no class of sklearn.ensemble: did you mean RandomForest"),
        ({"estimator": "sklearn.ensemblee.RandomForest"}, "there is no module sklearn.ensemblee"),
        ({"estimator": "sklearn.base.clone"}, "no class of sklearn.base"),
        ({"estimator": "sklearn.preprocessing.StandardScaler"}, "is no classifier"),
        ({"estimator": "sklearn.linear_model.Ridge"}, "is no classifier"),
        ({"estimator": f"{__name__}.NoScores"}, "neither predict_proba nor decision_function"),
        ({"options": {"n_estimator": 5}}, "unknown option method.options.n_estimator .* did you mean n_estimators"),
        ({"options": {"n_estimators": 0}}, r"method.options of .*'n_estimators' parameter .* \[1, inf\)"),
        ({"options": {"n_estimators": "many"}}, "method.options of .*'n_estimators' parameter"),
        ({"options": {"random_state": 3}}, "method.options.random_state: .* set seed=<number>"),
        ({"estimator": "sklearn.neighbors.KNeighborsClassifier", "weights": "balanced"}, "takes no weights of rows"),
        ({"patience": 5}, "method.patience=5: fit of .* takes no validation part"),
    ],
)
def test_what_cannot_be_fitted_is_an_error_before_anything_is_trained(options, message):
    plain = {"estimator": FOREST, "options": {}}
    with pytest.raises(BenchError, match=message):
        method("estimator", **(plain | options))


def test_a_package_that_is_missing_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    with pytest.raises(BenchError, match=r"needs lightgbm, which is not installed: pip install -e '.\[boosting\]'"):
        Recipe("lightgbm.LGBMClassifier", {}).check()


def test_options_that_a_package_takes_besides_those_it_names_are_let_through():
    pytest.importorskip("lightgbm")
    Recipe("lightgbm.LGBMClassifier", {"scale_pos_weight": 9.0, "max_bin": 31}).check()
    with pytest.raises(BenchError, match="n_estimatorss .* did you mean n_estimators"):
        Recipe("lightgbm.LGBMClassifier", {"n_estimatorss": 9}).check()


LIGHTGBM, XGBOOST, CATBOOST = "lightgbm.LGBMClassifier", "xgboost.XGBClassifier", "catboost.CatBoostClassifier"
UNFIT: list[tuple[str, dict[str, Any], str]] = [
    (LIGHTGBM, {"foo": 3}, "unknown option method.options.foo of lightgbm"),
    (LIGHTGBM, {"max_features": 0.3}, "unknown option method.options.max_features .* did you mean"),
    (LIGHTGBM, {"num_leaves": "abc"}, "method.options of lightgbm.* num_leaves should be of type int, got .abc.$"),
    (LIGHTGBM, {"learning_rate": -1}, r"method.options of lightgbm.* Check failed: \(learning_rate\) > \(0.0\)$"),
    (LIGHTGBM, {"n_estimators": -3}, "method.options.n_estimators=-3 must be a whole number"),
    (LIGHTGBM, {"num_trees": 0}, "method.options.num_trees=0 must be a whole number"),
    (LIGHTGBM, {"seed": 3}, "method.options.seed: what is random in a run comes from its seed: set seed="),
    (LIGHTGBM, {"n_estimators": 100, "num_round": 9}, "num_round is another .* set method.options.n_estimators=9"),
    (XGBOOST, {"foo": 3}, "method.options of xgboost.XGBClassifier: foo is none of them, or plays no part"),
    (XGBOOST, {"max_dept": 3}, "unknown option method.options.max_dept .* did you mean max_depth"),
    (XGBOOST, {"max_depth": "abc"}, "method.options of xgboost.* max_depth expect int but value='abc'$"),
    (XGBOOST, {"max_bin": 0}, "method.options of xgboost.XGBClassifier: Check failed: .* greater than 2.$"),
    (XGBOOST, {"n_estimators": -3}, "method.options.n_estimators=-3 must be a whole number"),
    (XGBOOST, {"learning_rate": 0.1, "eta": 0.2}, "eta is another .* set method.options.learning_rate=0.2"),
    (CATBOOST, {"foo": 3}, "unknown option method.options.foo of catboost"),
    (CATBOOST, {"depth": "abc"}, 'method.options of catboost.CatBoostClassifier: Can.t parse parameter "depth"'),
    (CATBOOST, {"iterations": -3}, "method.options.iterations=-3 must be a whole number"),
    (
        CATBOOST,
        {"iterations": 1000, "n_estimators": 3},
        "method.options.n_estimators is another name of method.options.iterations, .* set method.options.iterations=3 ",
    ),
]


@pytest.mark.parametrize(("path", "options", "message"), UNFIT)
def test_options_of_boosting_that_its_library_would_ignore_or_find_in_fit_are_refused(path, options, message):
    pytest.importorskip(path.partition(".")[0])
    with pytest.raises(BenchError, match=message):
        Recipe(path, options).check()


FIT: list[tuple[str, dict[str, Any]]] = [
    (LIGHTGBM, {"monotone_constraints": [1, 0, -1, 0, 0, 1]}),
    (LIGHTGBM, {"monotone_constraints": "1,0,-1,0,0,1", "categorical_feature": "2,3"}),
    (LIGHTGBM, {"objective": "multiclass", "num_class": 5, "early_stopping_rounds": 3}),
    (LIGHTGBM, {"min_samples_leaf": 5, "colsample_bytree": 0.1, "n_jobs": 2, "is_unbalance": True}),
    (LIGHTGBM, {"device_type": "gpu"}),
    (XGBOOST, {"objective": "multi:softprob", "eta": 0.1, "early_stopping_rounds": 3}),
    (XGBOOST, {"booster": "dart", "rate_drop": 0.1, "tree_method": "hist"}),
    (XGBOOST, {"booster": "gblinear", "tree_method": "hist", "max_depth": 3}),
    (XGBOOST, {"monotone_constraints": "(1,0,-1,0,0)", "device": "cuda"}),
    (XGBOOST, {"n_estimators": None, "scale_pos_weight": 9.0, "missing": -1}),
    (CATBOOST, {"cat_features": [5], "use_best_model": True, "od_wait": 3, "allow_writing_files": False}),
    (CATBOOST, {"class_weights": [1, 2, 3, 4], "loss_function": "MultiClass", "allow_writing_files": False}),
    (CATBOOST, {"n_estimators": 3, "save_snapshot": True, "auto_class_weights": "Balanced"}),
]


@pytest.mark.parametrize(("path", "options"), FIT)
def test_options_of_boosting_that_hang_on_the_data_or_the_machine_are_left_to_fit(path, options, tmp_path, monkeypatch):
    pytest.importorskip(path.partition(".")[0])
    monkeypatch.chdir(tmp_path)
    Recipe(path, options).check()
    assert not list(tmp_path.iterdir())


def test_the_same_options_are_tried_once(monkeypatch):
    lightgbm = pytest.importorskip("lightgbm")
    fits: list[int] = []
    monkeypatch.setattr(lightgbm.LGBMClassifier, "fit", lambda self, x, y: fits.append(len(x)))
    for leaves in (17, 17, 19):
        Recipe(LIGHTGBM, {"num_leaves": leaves}).check()
    assert len(fits) == 2


def test_what_an_estimator_raises_is_an_error_that_names_it():
    t = task(n=(40, 3))
    with pytest.raises(BenchError, match="KNeighborsClassifier could not score rows: .*n_neighbors = 200"):
        fitted("k_nn", t, options={"n_neighbors": 200})
    few = {"name": "random_undersampling"}
    with pytest.raises(BenchError, match="fold 0: .* could not be fitted: .*covariance"):
        options = {"estimator": "sklearn.discriminant_analysis.QuadraticDiscriminantAnalysis", "options": {}}
        fitted("estimator", t, **options, resampler=few)


class Own:
    """An estimator of a user's own; ``gives``: what predict_proba makes of rows."""

    gives: Any = None

    def fit(self, x: np.ndarray, y: np.ndarray) -> Own:
        return self

    def predict_proba(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(type(self).gives(len(x)))


class OwnDecision:
    def fit(self, x: np.ndarray, y: np.ndarray) -> OwnDecision:
        return self

    def decision_function(self, x: np.ndarray) -> np.ndarray:
        return np.zeros((len(x), 3))


@pytest.mark.parametrize(
    ("gives", "message"),
    [
        (lambda n: np.full((n, 5), 0.2), r"predict_proba gave an array \(105, 5\) for 105 rows of 2 classes"),
        (lambda n: np.full(n, 0.2), r"predict_proba gave an array \(105,\) for 105 rows of 2 classes"),
        (lambda n: np.full((n - 1, 2), 0.5), r"predict_proba gave an array \(104, 2\) for 105 rows"),
        (lambda n: np.tile([1.5, -0.5], (n, 1)), r"predict_proba gave -0.5 in row 0 .* from 0 to 1"),
        (lambda n: [["a", "b"]] * n, "Own could not score rows: could not convert string"),
    ],
)
def test_an_estimator_of_the_users_own_that_gives_no_probabilities_is_named(gives, message, monkeypatch):
    monkeypatch.setattr(Own, "gives", staticmethod(gives))
    with pytest.raises(BenchError, match=message) as said:
        fitted("estimator", task(), estimator=f"{__name__}.Own")
    assert "Own" in str(said.value)


def test_a_decision_function_of_as_many_columns_as_there_are_classes():
    with pytest.raises(BenchError, match=r"OwnDecision.decision_function gave an array \(105, 3\) for 105 rows of 2"):
        fitted("estimator", task(), estimator=f"{__name__}.OwnDecision")


def test_a_run_whose_estimator_gives_no_numbers_has_failed_and_no_other(tmp_path, monkeypatch):
    """... whichever rows they are of; the message is not one about networks."""
    monkeypatch.setattr(Own, "gives", staticmethod(lambda n: np.full((n, 2), np.nan)))
    (lost,) = fitted("estimator", task(), estimator=f"{__name__}.Own")
    says = "Own.predict_proba gave nan in row 0"
    assert says in lost.failure and "trainer.lr" not in lost.failure
    outcome = run_cell(cell(tmp_path, "method=estimator", f"method.estimator={__name__}.Own", "protocol.folds=2"))
    assert outcome.status == "failed" and says in outcome.message and "trainer.lr" not in outcome.message
    of_test = iter([0.5, 0.5, 0.5, 0.5, np.nan, 0.5, 0.5, 0.5])  # training and validation rows of both runs come first
    monkeypatch.setattr(Own, "gives", staticmethod(lambda n: np.full((n, 2), next(of_test))))
    outcome = run_cell(cell(tmp_path, "method=estimator", f"method.estimator={__name__}.Own", "protocol.folds=2"))
    (record,) = Store(str(tmp_path)).records()
    assert [bool(run["failure"]) for run in record["runs"]] == [True, False]
    assert says in record["runs"][0]["failure"]


def stops_at_once() -> Any:
    """A task on which a stump of an under-sampled set is worse than chance: the rarer class is the middle of three."""
    rng = np.random.default_rng(0)
    x, y = rng.uniform(0, 3, (400, 1)).astype(np.float32), np.zeros(400, dtype=np.int64)
    y[np.flatnonzero((x[:, 0] > 1) & (x[:, 0] < 2))[::3]] = 1
    made = task(n=(90, 15))
    part = Part(x, y, np.arange(400))
    return replace(made, train=part, valid=part)


def test_boosting_that_cannot_start_says_what_does_and_that_works():
    t = stops_at_once()
    with pytest.raises(
        BenchError, match="fold 0: RUSBoostClassifier could not be fitted: .* worse than random"
    ) as said:
        fitted("rus_boost", t)
    path, depth = re.search(r"estimator: (\S+), options: {max_depth: (\d+)}", str(said.value)).groups()
    (made,) = fitted("rus_boost", t, options={"estimator": {"estimator": path, "options": {"max_depth": int(depth)}}})
    variant = re.search(r"method=rus_boost/(\w+)", str(said.value))[1]
    (same,) = fitted(f"rus_boost_{variant}", t)
    np.testing.assert_array_equal(made.scores(t.valid.x), same.scores(t.valid.x))


def test_boosting_that_ends_early_says_after_how_many_rounds():
    t = task(n=(90, 15))
    (made,) = fitted("rus_boost", t, options={"n_estimators": 500})
    library = RUSBoostClassifier(n_estimators=500, random_state=t.seed).fit(doubles(t.train.x), t.train.y)
    assert made.info["rounds"] == len(library.estimators_) < 500
    assert "rounds" not in fitted("rus_boost", t, options={"n_estimators": 1})[0].info


def test_too_many_rows_for_a_gaussian_process_are_declined():
    reason = method("gaussian_process", max_rows=50).declines(task())
    assert "105 training rows are more than method.max_rows=50" in reason
    assert method("gaussian_process").declines(task()) is None


def test_a_method_without_a_network_names_none_and_its_id_does_not_hang_on_one():
    def of(*overrides: str) -> tuple[str, str, str]:
        config = from_omegaconf(composed(*overrides))
        return config.labels["backbone"], config.labels["trainer"], cell_id(config.plain)

    assert of("method=k_nn")[:2] == of("method=random_forest/weighted")[:2] == ("none", "none")
    assert of("method=k_nn") == of("method=k_nn", "trainer.epochs=3")
    assert of("method=k_nn")[2] != of("method=k_nn", "trainer.rows=train_valid")[2]
    assert of("method=k_nn", "backbone=lsa")[0] == "lsa"  # makes vectors of texts
    assert of("method=cross_entropy")[:2] == ("mlp", "adam")


def test_a_table_has_them_beside_the_networks(tmp_path):
    """... and a method whose id hangs on the network chosen, and which trains none, names none there either."""
    names = ("cross_entropy", "k_nn", "logistic_regression")
    for name in names:
        assert run_cell(cell(tmp_path, f"method={name}")).status == "done"
    sheet = summary(Store(str(tmp_path)))
    (block,) = sheet.blocks
    assert list(sheet.frame["method"]) == list(names)
    none = "k_nn, logistic_regression"
    assert f"native, holdout_kfold, mlp: no network and no trainer of networks in {none}." in sheet.notes
    found = set(zip(sheet.frame["method"], sheet.frame["backbone"], sheet.frame["trainer"]))
    networks = ("mlp", "adam"), ("none", "none"), ("none", "none")
    assert found == {(name, *of) for name, of in zip(names, networks)}
    alone = summary(Store(str(tmp_path)), ["method=k_nn,logistic_regression"])
    assert [one.heading for one in alone.blocks] == [block.heading.replace("mlp", "none")]
    (record,) = [record for record in Store(str(tmp_path)).records() if record["labels"]["method"] == names[2]]
    assert all(word not in cell_page(record).partition("</dl>")[0] for word in ("mlp", "adam"))
    assert "network none, trainer none" in card(record, (record["path"] / "metrics.csv").read_text())


def test_methods_that_train_no_network_are_those_that_search_no_trainer():
    whole = [(option, content_of("method", option)) for option in options_of("method")]
    found = {of["name"] for _, of in whole if (of.get("search") or {}).get("trainer", ...) is None}
    assert found == set(NETWORKLESS)
    networks = {content_of("backbone", option)["name"] for option in options_of("backbone")}
    assert set(NETWORKS) <= networks
    labels = {"backbone": "lsa", "trainer": "adam"}
    plain = {"method": {"name": "logistic_regression"}, "backbone": {"name": "lsa"}}
    assert labels_shown(labels, plain) == {"backbone": "lsa", "trainer": "none"}  # which makes vectors of texts


def test_a_method_that_trains_a_network_needs_one(tmp_path):
    outcome = run_cell(cell(tmp_path, "method=cross_entropy", "backbone=none"))
    assert outcome.status == "failed"
    assert "backbone=none makes no network, and this method trains one: set backbone=mlp" in outcome.message
