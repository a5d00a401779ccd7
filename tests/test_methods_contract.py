"""What every method promises, over every option of conf/method × a binary table, images of several classes, as numbers
under an MLP and as bytes under a network with convolutions, and binary texts as token ids.

Every row is watched where it enters training: networks get theirs as ``Rows``, and what is no network by the functions
in ``ENTRANCES``. A method in which no row is seen fails.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache, wraps
from typing import Any

import numpy as np
import pytest
import torch

from imbalance_bench.data.base import Part, Task
from imbalance_bench.data.tasks import make_runs
from imbalance_bench.engine import Engine
from imbalance_bench.methods.base import Method
from imbalance_bench.registry import DATASETS, METHODS, PROTOCOLS, RATIOS
from imbalance_bench.running.models import Surroundings, packed, restored, state_of, unpacked
from imbalance_bench.settings.conf_files import content_of
from imbalance_bench.settings.config import label_of
from tests.tasks import (
    CONF,
    backbone,
    byte_image_task,
    image_task,
    option,
    option_of,
    options_of,
    require,
    task,
    trainer,
)
from tests.texts import MeanOfWords, text_task

LABELS = [label_of(option) for option in options_of("method")]
# Of the classifiers of other libraries, which one adapter serves, one sees every kind of rows.
ADAPTED = {label_of(o) for o in options_of("method") if content_of("method", o)["name"] == "estimator"}
TASKS = {"table": task, "images": image_task, "bytes": byte_image_task, "texts": text_task}

# Methods that train something of their own beside the backbone: less of it.
QUICK_GENERATOR = {
    "width": 8, "heads": 2, "layers": 1, "batch_size": 8, "pretrain_steps": 2, "epochs": 2, "epoch_steps": 1,
}  # fmt: skip
QUICK = {
    "cwgan": {
        "epochs": 2, "batch_size": 32, "ac_epochs": 2, "noise_dim": 5, "generator_hidden": [12, 8],
        "generator_tail": 6, "critic_hidden": [12, 8], "ac_hidden": [8, 8],
    },
    "mesa": {"random_steps": 10, "learned_steps": 10, "learners": 3, "hidden": 8, "batch_size": 16},
    "explicit_gradient": {"meta_epochs": 2},
    "iht": {"trees": 5},
    "self_paced_ensemble": {"members": 3},
    "setconv": {"episodes": 10, "support": 16, "post_sizes": [20]},
    "iml": {"iterations": 2, "steps": 5},
    "cag": QUICK_GENERATOR,
    "miso": {**QUICK_GENERATOR, "mine_steps": 1},
    # Two epochs leave nobody sure of anything: rules that take rows of the pool all the same.
    **dict.fromkeys(("self_paced", "context_data"), {"loss_threshold": 9.0}),
    **dict.fromkeys(("selectnet", "pool_random"), {"threshold": 0.01}),
}  # fmt: skip
# Of a key that is off by default: less where an option turns it on.
QUICK_WHERE_ON = {"fusion_steps": 2, "patience": 1}
# Of the options of an estimator.
QUICK_OPTIONS = dict.fromkeys(("n_estimators", "iterations", "max_iter"), 4)
ADABOOST = {"estimator": "sklearn.ensemble.AdaBoostClassifier", "options": {"n_estimators": 2}}
# Methods that draw nothing: equal rows, equal scores, whatever the seed.
SEEDLESS = {
    "logistic_regression", "logistic_regression_balanced", "iml", "linear_svm", "linear_svm_weighted", "k_nn",
    "gaussian_process", *(label for label in ADAPTED if label.startswith(("hist_", "lightgbm", "xgboost"))),
}  # fmt: skip
REGRESSION = {"squared_error", "squared_error_train_valid", "explicit_gradient_sine"}
DECLINED = {(label, made) for label in REGRESSION for made in TASKS} | {
    ("mesa", "images"), ("mesa", "bytes"),
    ("cwgan", "bytes"),
    ("weob2", "images"), ("weob2", "bytes"),
    ("smotenc", "images"), ("smotenc", "bytes"),  # nobody says which of their columns are categories
}  # fmt: skip


# Methods (by registered name; "label:" by option) that learn from the validation part, and what says that they may.
# Options with trainer.rows=train_valid train on it: controls that give a baseline the same rows.
LEARNS_FROM_VALIDATION = {
    "explicit_gradient": "Algorithm 1: made rows are moved by the gradient of the validation loss",
    "mesa": "the meta-sampler's reward is the gain in AUC-PR on the validation part (Section 3)",
    "label:tau_norm_selected": "tau is chosen on the validation part (Kang et al., 2020)",
    **{f"label:{label}": "stops by the validation loss" for label in ADAPTED if label.endswith("_early_stopping")},
}
IDLE = {"explicit_gradient_eta2_0": "the control whose made rows move by steps of length 0"}
# The same of the withdrawn rows: their features are an unlabelled pool, or their labels too are known, to oracles.
LEARNS_FROM_POOL = dict.fromkeys(
    ("self_paced", "context_data", "selectnet", "pool_random", "pool_all"),
    "rows of the pool are added under predicted labels (SelectNet, Algorithm 1)",
)
ORACLES = {
    "pool_oracle": "upper bound: all of the pool with its true labels",
    "potential": "upper bound: minority rows that the ratio withdrew are given back",
}
# Networks that learn what has been made of the rows, beside or in place of the rows themselves.
TRANSFORMED = {
    "cwgan": "columns scaled to [0, 1] for the GAN",
    "crt": "features of the trained network",
    "adasyn_features": "features of the trained network",
    "smote_features": "features of the trained network",
}
# Resamplers that look at what another has made.
CLEANED = {"smote_enn": "cleans what SMOTE made", "smote_tomek": "cleans what SMOTE made"}
# Rows that are learned under other labels than their own.
RELABELLED = {
    "setconv": "one class against the rest",
    "label:context_data_predicted_label": "Eq. 3 as printed: labelled rows too are added under predicted labels",
    "label:selectnet_predicted_label": "Eq. 3 as printed",
}


@dataclass
class Watch:
    """What entered training. ``parts``: rows with their ids; ``arrays``: features (n, ...) and labels (n,) that an
    estimator was given."""

    parts: list[Part] = field(default_factory=list)
    arrays: list[tuple[Any, Any]] = field(default_factory=list)

    def rows(self, sets: Any) -> None:
        self.parts += sets

    def estimator(self, x: Any, y: Any) -> None:
        x, y = (torch.as_tensor(a).cpu().numpy() for a in (x, y))
        self.arrays.append((x, y.reshape(len(y))))  # (n, 1) where a forest grows the tree


# module: function → what it is called with is told the watch.
ENTRANCES: dict[str, Callable[..., None]] = {
    "imbalance_bench.engine.batches:Rows.__init__": lambda w, _, sets, *a, **k: w.rows(sets),
    "imbalance_bench.methods.weob2:learn": lambda w, sets, *a: w.rows(sets),
    "imbalance_bench.methods.iml:IML.fit_one": lambda w, _, task, rows, *a: w.rows([rows]),
    "imbalance_bench.methods.logistic_regression:LogisticRegression.fit_one": lambda w, _, task, rows: w.rows([rows]),
    "imbalance_bench.methods.estimator:Estimator.fit_one": lambda w, _, task, rows: w.rows([rows]),
    "imbalance_bench.methods.shared.decisions:KNNDecision.__init__": lambda w, _, x, y, *a: w.estimator(x, y),
    "imbalance_bench.methods.shared.decisions:LogisticDecision.__init__": lambda w, _, x, y, *a: w.estimator(x, y),
    "imbalance_bench.methods.cs_dmlp:NearestMean.__init__": lambda w, _, x, y, *a: w.estimator(x, y),
    "imbalance_bench.methods.lmle:Clustering.__init__": lambda w, _, x, y, *a: w.estimator(x, y),
    "imbalance_bench.methods.miso.generator:Generator.__init__": lambda w, _, options, vocabulary, few, many, *a: (
        w.estimator(np.concatenate([few, many]), np.repeat([1, 0], [len(few), len(many)]))
    ),
    "imbalance_bench.methods.kmeans_smote:ClusterSampler.fit_resample": lambda w, _, x, y: w.estimator(x, y),
    "imblearn.base:SamplerMixin.fit_resample": lambda w, _, x, y, **k: w.estimator(x, y),
    "imbalance_bench.methods.self_paced_ensemble:SelfPacedEnsemble.fit_one": lambda w, _, task, rows: w.rows([rows]),
    "sklearn.tree:DecisionTreeClassifier.fit": lambda w, _, x, y, *a, **k: w.estimator(x, y),
}


@pytest.fixture
def watch(monkeypatch):
    """Watches until it is told to stop: ``monkeypatch.undo``."""
    seen = Watch()
    for place, tell in ENTRANCES.items():
        module, _, path = place.partition(":")
        *owners, name = path.split(".")
        owner = importlib.import_module(module)
        for part in owners:
            owner = getattr(owner, part)
        monkeypatch.setattr(owner, name, watched(getattr(owner, name), tell, seen))
    return seen


def watched(function: Callable[..., Any], tell: Callable[..., None], seen: Watch) -> Callable[..., Any]:
    @wraps(function)  # what looks at its signature sees that
    def call(*args: Any, **kwargs: Any) -> Any:
        tell(seen, *args, **kwargs)
        return function(*args, **kwargs)

    return call


@cache
def chosen(label: str) -> dict[str, Any]:
    """The options of a method, and which rows it has the trainer take."""
    beyond = content_of("method", option_of("method", label)).get("trainer", {})
    return {"method": option("method", label), "trainer": {"rows": beyond.get("rows", "train")}}


def quick(options: dict[str, Any]) -> dict[str, Any]:
    """The keys of a method with less to do, and of one inside it (``method.resampler``)."""
    inner = {key: quick(value) for key, value in options.items() if isinstance(value, dict) and "name" in value}
    less = {key: value for key, value in QUICK_WHERE_ON.items() if options.get(key)}
    if options["name"] == "estimator":
        given = options["options"]
        less["options"] = given | {key: few for key, few in QUICK_OPTIONS.items() if key in given}
        if options["estimator"].endswith("EasyEnsembleClassifier"):
            less["options"]["estimator"] = ADABOOST
    return options | inner | less | QUICK.get(options["name"], {})


def built(label: str) -> tuple[Method, Engine]:
    """A method as its option has it, and the engine with what the option asks of the trainer (rows=train_valid)."""
    require(chosen(label)["method"])
    settings = trainer(epochs=2, rows=chosen(label)["trainer"]["rows"])
    return METHODS.build(quick(chosen(label)["method"])), Engine(settings, "cpu")


def declines(label: str, made: str) -> bool:
    """Whether a method is to decline a task: as above, and where it computes with what the rows are not."""
    reads = METHODS.get(chosen(label)["method"]["name"]).reads
    return (label, made) in DECLINED or reads == ("vectors" if made == "texts" else "tokens")


def pair(made: str) -> list[Task]:
    """Two runs on the same rows with different seeds, as protocol.seeds=2 makes them. Each part has ids of its own."""
    first = TASKS[made](0)
    own = {
        name: replace(getattr(first, name), ids=getattr(first, name).ids + start)
        for name, start in {"train": 0, "valid": 1000, "withdrawn": 2000}.items()
    }
    first = replace(first, **own, categories=((2, 4),) if made == "table" else ())
    return [first, replace(first, seed=first.seed + 1, repeat=1)]


def listed(label: str, names: dict[str, str]) -> bool:
    """Whether a list of exceptions has an option, or its method."""
    return chosen(label)["method"]["name"] in names or f"label:{label}" in names


def may_learn_from(label: str) -> set[str]:
    """Of what a method may learn beside the training part: "valid", "pool" (its features), "pool_labels"."""
    may = {"pool", "pool_labels"} if listed(label, ORACLES) else set()
    if listed(label, LEARNS_FROM_POOL):
        may.add("pool")
    if listed(label, LEARNS_FROM_VALIDATION) or chosen(label)["trainer"]["rows"] == "train_valid":
        may.add("valid")
    return may


def changed(tasks: list[Task], made: str, what: set[str]) -> list[Task]:
    """The same runs where ``what`` may not be learned from holds something else: other rows, under other labels."""
    other = TASKS[made](7)

    def relabelled(part: Part, classes: int) -> Part:
        return replace(part, y=(part.y + 1) % classes)

    for name, part in (("valid", "valid"), ("pool", "withdrawn")):
        if name in what:
            rows = relabelled(getattr(other, part), other.classes)
            tasks = [replace(t, **{part: replace(rows, ids=getattr(t, part).ids)}) for t in tasks]
    if "pool_labels" in what and "pool" not in what:
        tasks = [replace(t, withdrawn=relabelled(t.withdrawn, t.classes)) for t in tasks]
    return tasks


def network(made: str) -> Any:
    """The smallest LeNet for images of 8 pixels, a mean of words for texts, else an MLP."""
    if made == "texts":
        return MeanOfWords()
    return backbone("lenet_small", kernel=2, conv=[3, 4], hidden=[12, 8]) if made == "bytes" else backbone()


def numbers(x: np.ndarray) -> np.ndarray:
    """What networks see of features."""
    return x / np.float32(255) if x.dtype == np.uint8 else x


def parts(t: Task) -> list[Part]:
    return [t.train, t.valid, t.withdrawn]


def contents(tasks: list[Task]) -> list[bytes]:
    return [array.tobytes() for t in tasks for p in parts(t) for array in (p.x, p.y, p.ids)]


def check_rows(seen: Watch, task: Task, label: str) -> None:
    """Rows learned under an id are the rows of that id; no other row of the data is learned under whatever id."""
    may = may_learn_from(label)
    allowed = [task.train] + [task.valid] * ("valid" in may)
    pool = [task.withdrawn] if "pool" in may else []
    content = {i: x.tobytes() for p in (*allowed, *pool) for i, x in zip(p.ids.tolist(), numbers(p.x))}
    labels = {i: y for p in allowed for i, y in zip(p.ids.tolist(), p.y.tolist())}
    if "pool_labels" in may:
        labels |= dict(zip(task.withdrawn.ids.tolist(), task.withdrawn.y.tolist()))
    forbidden = {x.tobytes() for p in parts(task) for i, x in zip(p.ids.tolist(), numbers(p.x)) if i not in content}
    as_they_are = 0
    for part in seen.parts:
        if not len(part.ids):  # of a network that learns the losses of another (SelectNet's f_s)
            assert listed(label, LEARNS_FROM_POOL)
            continue
        assert (part.ids >= -1).all()
        real = part.take(part.ids >= 0)
        assert set(real.ids.tolist()) <= set(content), "rows are learned that the method may not see"
        if not listed(label, RELABELLED):
            for i, y in zip(real.ids.tolist(), real.y.tolist()):
                assert labels.get(i, y) == y, f"row {i} is learned under another label"
        shaped = part.x.shape[1:] == task.train.x.shape[1:]
        own = [x.tobytes() for x in numbers(real.x)] if shaped else []
        if own == [content[i] for i in real.ids.tolist()]:
            as_they_are += 1
            assert part.x.dtype in (np.float32, task.train.x.dtype)
            assert not forbidden & {x.tobytes() for x in numbers(part.x)}, "made rows are rows that are withheld"
        else:
            assert listed(label, TRANSFORMED), "rows under an id are not the rows of that id"
    assert as_they_are or not seen.parts
    flat = {row(x): y for p in allowed for x, y in zip(numbers(p.x), p.y.tolist())}
    fitted = [part.y for part in (*seen.parts, task.train)]
    for x, y in seen.arrays:
        if listed(label, CLEANED):
            assert not forbidden & {row(a) for a in numbers(scaled(x, task))}
        elif not any(np.array_equal(y, known) for known in fitted):  # else: these rows, or features of them
            assert {(row(a), b) for a, b in zip(numbers(scaled(x, task)), y.tolist())} <= set(flat.items())


def row(x: np.ndarray) -> bytes:
    return x.astype(np.float32).tobytes()


def scaled(x: np.ndarray, task: Task) -> np.ndarray:
    """Rows as they are given to an estimator: those of images as bytes may have become numbers."""
    return x / np.float32(255) if task.train.x.dtype == np.uint8 and x.dtype != np.uint8 and x.max() > 1 else x


def last_scores(classifiers: list[Any], x: np.ndarray) -> list[np.ndarray]:
    """What each run says of ``x``, by all that it scores but the epoch that validation chose."""
    return [np.stack([c.scores(x, i) for i in c.readouts if i != "best"]) for c in classifiers]


def check_saved(classifiers: list[Any], backbone: Any, engine: Engine, x: np.ndarray) -> None:
    """What is made again of a model's files scores as what they were made of, to the last bit, and can be saved too."""
    states = {str(i): state_of(classifier) for i, classifier in enumerate(classifiers)}
    if any(state.estimators for state in states.values()) and not importlib.util.find_spec("skops"):
        return
    files = packed(states, {})
    around = Surroundings(engine, backbone)
    for classifier, state in zip(classifiers, unpacked(files)[1].values()):
        again = restored(state, around)
        assert again.readouts == classifier.readouts
        for readout in classifier.readouts:
            np.testing.assert_array_equal(again.scores(x, readout), classifier.scores(x, readout))
            np.testing.assert_equal(again.ranks(x, readout), classifier.ranks(x, readout))
        if not state.estimators:  # in whose file are addresses
            assert packed({"again": state_of(again)}, {}) == packed({"again": state_of(classifier)}, {})


CASES = [(x, made) for x in LABELS for made in TASKS if x not in ADAPTED - {"random_forest"} or made == "table"]


@pytest.mark.parametrize("label, made", CASES)
def test_contract(label, made, watch, monkeypatch):
    method, engine = built(label)
    tasks = pair(made)
    reasons = [method.declines(t) for t in tasks]
    if declines(label, made):
        assert all(isinstance(reason, str) and reason for reason in reasons)
        return
    assert reasons == [None, None]
    before = contents(tasks)
    classifiers = method.fit(tasks, network(made), engine)
    monkeypatch.undo()
    assert contents(tasks) == before
    assert watch.parts or watch.arrays, "no row was seen: say in ENTRANCES where rows enter the training"
    check_rows(watch, tasks[0], label)

    x = TASKS[made](5).valid.x
    test = x.tobytes()
    for t, classifier in zip(tasks, classifiers):
        assert classifier.failure is None
        assert classifier.readouts[0] == "last"
        for readout in classifier.readouts:
            scores = classifier.scores(x, readout)
            assert scores.shape == (len(x), t.classes)
            assert np.isfinite(scores).all()
            np.testing.assert_allclose(np.exp(scores.astype(np.float64)).sum(1), 1, rtol=1e-5)
            # A row is scored by itself, whichever rows are scored with it.
            np.testing.assert_allclose(classifier.scores(x[:3], readout), scores[:3], rtol=1e-3, atol=1e-4)
        assert classifier.history
        assert [row["epoch"] for row in classifier.history] == list(range(1, len(classifier.history) + 1))
        assert classifier.info["train_counts"] == t.counts.tolist()
    assert x.tobytes() == test
    assert contents(tasks) == before
    check_saved(classifiers, network(made), built(label)[1], x)

    # Equal seeds, equal bits, whatever the state of the process's own generators and whatever the parts hold that may
    # not be learned from; another seed, other scores.
    def again(what: set[str]) -> list[np.ndarray]:
        return last_scores(method.fit(changed(pair(made), made, what), network(made), built(label)[1]), x)

    torch.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002
    first, second = last_scores(classifiers, x)
    may = may_learn_from(label)
    same = again({"valid", "pool", "pool_labels"} - may)
    np.testing.assert_array_equal(first, same[0])
    np.testing.assert_array_equal(second, same[1])
    assert (first != second).any() == (label not in SEEDLESS)
    if made == "table" and label not in IDLE:  # what is said to be learned from is
        for what in may:
            assert (again({what})[0] != first).any(), f"{label} does not learn from {what}: it is to be no exception"


def copy_of(part: Part, ids: Any) -> Part:
    return replace(part, ids=np.broadcast_to(ids, len(part)))


@pytest.mark.parametrize(
    "leak, message",
    [
        (lambda t: t.train.join(t.valid), "may not see"),
        (lambda t: t.train.join(t.withdrawn), "may not see"),
        (lambda t: t.train.join(copy_of(t.valid, -1)), "withheld"),
        (lambda t: replace(t.train, ids=t.train.ids[::-1]), "another label|not the rows of that id"),
        (lambda t: replace(t.train, y=1 - t.train.y), "another label"),
        (lambda t: replace(t.train, x=t.train.x + 1), "not the rows of that id"),
    ],
)
def test_the_contract_sees_rows_that_do_not_belong(leak, message):
    (task, _) = pair("table")
    check_rows(Watch([task.train]), task, "cross_entropy")
    with pytest.raises(AssertionError, match=message):
        check_rows(Watch([leak(task)]), task, "cross_entropy")


def test_the_contract_sees_rows_that_an_estimator_is_not_to_have():
    (task, _) = pair("table")
    check_rows(Watch(arrays=[(task.train.x[:5], task.train.y[:5])]), task, "mesa")
    with pytest.raises(AssertionError):
        check_rows(Watch(arrays=[(task.withdrawn.x, task.withdrawn.y)]), task, "mesa")


def test_exceptions_name_methods_that_exist():
    names = {*LEARNS_FROM_VALIDATION, *LEARNS_FROM_POOL, *ORACLES, *TRANSFORMED, *RELABELLED, *CLEANED, *QUICK}
    known = {*METHODS.names(), *(f"label:{label}" for label in LABELS)}
    assert names <= known
    assert set(IDLE) <= set(LABELS)


@pytest.mark.parametrize("label", LABELS)
def test_a_regression_task_is_fitted_or_declined_with_a_reason(label):
    sine = DATASETS.build(option("dataset", "sine")).load(CONF)
    native, official = RATIOS.build(option("ratio", "native")), PROTOCOLS.build(option("protocol", "official_test"))
    (run,) = make_runs(sine, native, official, 0)
    method, engine = built(label)
    reason = method.declines(run.task)
    if label not in REGRESSION:
        assert isinstance(reason, str)
        assert reason
        return
    assert reason is None
    before = [a.tobytes() for p in (run.task.train, run.task.valid) for a in (p.x, p.y)]
    (classifier,) = method.fit([run.task], backbone("mlp_sine"), engine)
    assert before == [a.tobytes() for p in (run.task.train, run.task.valid) for a in (p.x, p.y)]
    assert classifier.failure is None
    check_saved([classifier], backbone("mlp_sine"), built(label)[1], run.test.x)
    predictions = classifier.scores(run.test.x)
    assert predictions.shape == (201, 1)
    assert np.isfinite(predictions).all()


def test_every_registered_method_has_an_option_of_its_name():
    assert set(METHODS.names()) <= set(LABELS)
