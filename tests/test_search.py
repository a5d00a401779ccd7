"""Searches: spaces beside the defaults, and studies that go on as if nothing had happened. No cell is trained."""

from __future__ import annotations

import math
import os
import re
import shlex
import signal
import statistics
import sys
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from imbalance_bench.cells import Outcome
from imbalance_bench.errors import BenchError, Pruned
from imbalance_bench.metrics import METRICS
from imbalance_bench.registry import build
from imbalance_bench.search import cli
from imbalance_bench.search import study as studies
from imbalance_bench.search.best import _again, finish
from imbalance_bench.search.cli import main
from imbalance_bench.search.ledger import DATABASE
from imbalance_bench.search.sampling import optuna_here
from imbalance_bench.search.space import Range, space_of
from imbalance_bench.search.study import Study
from imbalance_bench.search.trials import Options, Trial
from imbalance_bench.settings.conf_files import ConfFiles, content_of, hydra_started, search_defaults
from imbalance_bench.settings.config import Config, from_omegaconf
from imbalance_bench.settings.identity import cell_id
from imbalance_bench.store import Store
from tests import records
from tests.cells import composed
from tests.tasks import options_of

# Spaces


content = cache(content_of)


def whole(method="focal", trainer="adam", backbone="mlp"):
    chosen = {"method": method, "trainer": trainer, "backbone": backbone}
    return {group: content(group, option) for group, option in chosen.items()}


@cache
def found(group, option):
    return space_of(whole(**{group: option}), {})


@pytest.mark.parametrize("group", ["method", "trainer", "backbone"])
def test_every_space_of_conf_is_of_options_and_of_values_that_they_take(group):
    spaces = {option: found(group, option) for option in options_of(group)}
    if group == "method":
        assert sum(any(key.startswith("method") for key in space) for space in spaces.values()) > 40
        own = {"method.c", "method.resampler.clusters", "method.resampler.k_neighbors"}
        assert set(spaces["kmeans_smote"]) == own  # of a component within too, and not of a trainer that plays no part
        assert spaces["focal"]["method.gamma"] == Range(0.5, 5, log=True)
        assert spaces["setconv"].keys() == {"trainer.lr", "trainer.weight_decay"}  # its network is its own
        assert "backbone.hidden" in spaces["focal"]
    if group == "backbone":
        tabular = {"mlp", "tabm", "ft_transformer", "tabular_resnet", "realmlp"}
        assert tabular == {o for o, space in spaces.items() if any(key.startswith("backbone") for key in space)}


def test_the_defaults_are_in_the_spaces():
    for of, option in [(group, name) for group in ("method", "backbone") for name in options_of(group)]:
        keys = content(of, option)
        for key, values in found(of, option).items():
            group, _, name = key.partition(".")
            if group == of and "/" not in option and name in keys:
                assert keys[name] in values, f"{option}: {name}={keys[name]} is not in {values}"


def test_keys_of_a_mapping_are_searched_too():
    """Those of another library's estimator, of which nothing is known here."""
    change = {"method.search.options.max_depth": {"low": 1, "high": 9}}
    space = space_of(whole("random_forest", "none", "none"), change)
    assert space["method.options.max_depth"] == Range(1, 9, whole=True)
    assert space["method.options.max_features"] == ["sqrt", 0.3, 1.0]
    assert not any(key.startswith("trainer") for key in space)
    with pytest.raises(BenchError, match="method has no such option"):
        space_of(whole("focal"), {"method.search.gamma.of": [1]})


def test_a_list_in_the_place_of_the_range_of_a_base():
    merged = {"low": 0.5, "high": 5, "log": True, "values": [1, 2]}
    assert space_of(whole("focal"), {"method.search.gamma": merged})["method.gamma"] == [1, 2]


def test_whole_numbers_where_the_option_is_one_and_short_ones_elsewhere():
    space = space_of(whole("smote"), {"method.search.k_neighbors": {"low": 1, "high": 9}})
    assert space["method.k_neighbors"] == Range(1, 9, whole=True)
    assert Range(0.5, 5).rounded(1.23456) == 1.23 and Range(0.5004, 5).rounded(0.50041) == 0.5004
    assert not space_of(whole("focal"), {"method.search.gamma": {"low": 1, "high": 5}})["method.gamma"].whole


@pytest.mark.parametrize(
    "changes, says",
    [
        ({"method.search.gamma": [1, "high"]}, "method.search.gamma='high' must be a number, at least 0"),
        ({"method.search.gama": [1]}, "method.search.gama: method has no such option: did you mean gamma"),
        ({"method.search.gamma": []}, "must be a list of values"),
        ({"method.search.gamma": 3}, "must be a list of values"),
        ({"method.search.gamma": {"low": 1}}, "must be a list of values"),
        ({"method.search.gamma": {"low": 5, "high": 1}}, "must be numbers with low < high"),
        ({"method.search.gamma": {"low": 0, "high": 1, "log": True}}, "must be numbers with 0 < low < high"),
        ({"method.search": [1, 2]}, "must be a mapping of keys"),
        (
            dict.fromkeys(("method.search", "trainer.search", "backbone.search")),
            "nothing to search: method=focal has no search: keys",
        ),
    ],
)
def test_a_space_that_is_none(changes, says):
    with pytest.raises(BenchError, match=says):
        space_of(whole("focal"), changes)


# Studies


def fake(configs, fail=(), die=None, busy=(), lower=False, **more):
    """``trained`` without training: cells whose validation score is a function of gamma, and whose test score is
    another. ``die``: the cell at which the process is killed."""
    ended = []
    for place, config in enumerate(configs):
        plain = config.plain
        made = records.FakeCell(config.labels, plain, cell_id(plain))
        gamma, path = plain["method"]["gamma"], Store(config.paths.outputs).cell(config.labels, made.id).path
        if die is not None and len(list(Store(config.paths.outputs).runs.glob("*/*/*/*/*"))) >= die:
            os.kill(os.getpid(), signal.SIGKILL)
        if gamma in fail:
            ended.append(Outcome("failed", config.labels, path, message="needs more rows"))
        elif place in busy:
            ended.append(Outcome("busy", config.labels, path))
        else:
            if not path.exists():
                score = -abs(math.log(gamma / 2)) * (-1 if lower else 1)
                metric = "mse" if lower else "auc_pr"
                group = "all" if lower else "positive"
                values = {metric: [gamma, gamma + 1]}
                records.write(
                    config.paths.outputs, made, values, class_group=group, **{"valid": {metric: [score, score]}} | more
                )
            ended.append(Outcome("done", config.labels, path))
    return ended


def a_study(outputs, trials=4, batch=4, space=None, words=("method=focal",), **more):
    pytest.importorskip("optuna")
    cfg = composed("method=focal", "device=cpu", f"paths.outputs={outputs}", *words)
    options = build(Options, search_defaults() | {"trials": trials, "batch": batch, **more}, "search")
    return Study(cfg, options, space or {}, words)


def search(monkeypatch, outputs, how=fake, **more):
    monkeypatch.setattr(studies, "trained", how)
    made = a_study(outputs, **more)
    made.open()
    while made.advance() != "done":
        pass
    return made


def tried(study):
    return [(trial.number, trial.values, trial.value) for trial in study.trials]


def test_a_study_that_is_killed_goes_on_with_the_trials_that_it_would_have_had(tmp_path, monkeypatch):
    undisturbed = search(monkeypatch, tmp_path / "a", trials=14, batch=4)
    assert [trial.number for trial in undisturbed.trials] == list(range(14))
    assert undisturbed.trials[0].values["method.gamma"] == 2.0  # the defaults
    assert len({trial.name for trial in undisturbed.trials}) == 14
    if not (child := os.fork()):
        search(monkeypatch, tmp_path / "b", partial(fake, die=6), trials=14, batch=4)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    seen = a_study(tmp_path / "b", trials=14, batch=4)
    seen.open()
    assert len(seen.trials) == 4  # the second batch had begun
    resumed = search(monkeypatch, tmp_path / "b", trials=14, batch=4)
    assert tried(resumed) == tried(undisturbed)
    other = a_study(tmp_path / "a", trials=14, batch=4, seed=1)
    assert other.name != undisturbed.name and other.proposed(1, []) != undisturbed.trials[1].values


def test_a_study_killed_while_its_database_was_made_goes_on(tmp_path, monkeypatch):
    optuna = pytest.importorskip("optuna")
    made = a_study(tmp_path)
    made.open()
    optuna.storages.RDBStorage(f"sqlite:///{made.folder / DATABASE}")  # tables, and no study in them
    assert len(search(monkeypatch, tmp_path).trials) == 4


def test_what_a_librarys_estimator_is_left_to_do_is_the_first_trial(tmp_path):
    """Its cell is that of the method as it stands, not one that names the same options."""
    pytest.importorskip("optuna")
    cfg = composed("method=random_forest", "device=cpu", f"paths.outputs={tmp_path}")
    made = Study(cfg, build(Options, search_defaults(), "search"))
    assert made.space.keys() == {"method.options.max_features", "method.options.min_samples_leaf"}
    assert made.proposed(0, []) == {}
    assert cell_id(made.cell({}).plain) == cell_id(made.config.plain)
    made.open()
    first = Trial(0, {}, 0.5, made.name)
    assert first.name == "the defaults"
    assert made.proposed(1, [first]).keys() == made.space.keys()
    with made.ledger.locked():
        made.ledger.begin("maximize")
        made.ledger.add(first)
        made.ledger.read()
    assert made.trials == [first]


RUNS = 4


def scores_of_runs(gamma, runs=RUNS):
    """Validation scores: folds differ more than options do."""
    return [-abs(math.log(gamma / 2)) + fold for fold in range(runs)]


def fake_alone(config, watch, trained=None, die=None):
    """``alone`` without training, whose runs are seen one by one."""
    plain = config.plain
    made = records.FakeCell(config.labels, plain, cell_id(plain))
    path = Store(config.paths.outputs).cell(config.labels, made.id).path
    if path.exists():
        return Outcome("skipped", config.labels, path)
    assert plain["trainer"]["runs_together"] == 1
    trained = [] if trained is None else trained
    trained.append(made.id)
    if die == len(trained):
        os.kill(os.getpid(), signal.SIGKILL)
    gamma = plain["method"]["gamma"]
    for runs in range(1, RUNS):
        if watch:
            try:
                watch(SimpleNamespace(runs=range(RUNS)), [gamma] * runs)
            except Pruned as reason:
                return Outcome("pruned", config.labels, path, message=str(reason))
    values = {"auc_pr": scores_of_runs(gamma)}
    records.write(config.paths.outputs, made, values, class_group="positive", valid=values)
    return Outcome("done", config.labels, path)


def pruned_search(monkeypatch, outputs, trials=20, **more):
    monkeypatch.setattr(studies, "alone", partial(fake_alone, **more))
    monkeypatch.setattr(Study, "_scores_of_runs", lambda self, cell, seen, head: scores_of_runs(seen[0], len(seen)))
    space = {"trainer.search": None, "backbone.search": None, "method.search.alpha": None}
    made = a_study(outputs, trials=trials, batch=5, pruner="median", space=space)
    made.open()
    while made.advance() != "done":
        pass
    return made


def test_a_trial_below_the_median_of_as_many_runs_is_pruned_and_leaves_no_record(tmp_path, monkeypatch):
    trained = []
    made = pruned_search(monkeypatch, tmp_path / "a", trained=trained)
    pruned = [trial for trial in made.trials if trial.pruned]
    assert 2 <= len(pruned) <= 12 and all(trial.number >= 5 for trial in pruned)
    cells = {path.name for path in Store(tmp_path / "a").runs.glob("*/*/*/*/*")}
    assert len(cells) == 20 - len(pruned) and not cells & {trial.id for trial in pruned}
    for trial in pruned:
        earlier = [t for t in made.trials[: trial.number - trial.number % 5] if len(t.steps) >= len(trial.steps)]
        assert trial.steps[-1] < statistics.median(t.steps[len(trial.steps) - 1] for t in earlier)
        assert f"after {len(trial.steps)} of 4 runs" in trial.reason and "below the median" in trial.reason
    assert made.best.value == max(t.value for t in made.trials if t.value is not None)
    assert f"{len(pruned)} of which were pruned" in finish(made, {"method": "focal"})
    (made.folder / "optuna.db").unlink()  # made again, without training anything again
    again = pruned_search(monkeypatch, tmp_path / "a", trained=(more := []))
    assert tried(again) == tried(made) and not more and len(trained) == 20
    if not (child := os.fork()):
        pruned_search(monkeypatch, tmp_path / "b", trained=[], die=13)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert tried(pruned_search(monkeypatch, tmp_path / "b")) == tried(made)
    assert a_study(tmp_path).name == a_study(tmp_path, pruner="none").name != a_study(tmp_path, pruner="median").name
    first = made.trials[:10]
    for trial in first:  # of a study whose cells are there, those that are pruned too
        config = made.cell(trial.values)
        fake_alone(replace(config, paths=replace(config.paths, outputs=str(tmp_path / "c"))), None)
    judged = pruned_search(monkeypatch, tmp_path / "c", trials=10, trained=(more := []))
    assert judged.trials == first and any(trial.pruned for trial in first) and not more
    assert {path.name for path in Store(tmp_path / "c").runs.glob("*/*/*/*/*")} == {trial.id for trial in first}


@pytest.mark.parametrize(
    "metric, says",
    [
        ("threshold_f1", "search.metric=threshold_f1: no value of it is better than another"),
        ("auc_prr", "search.metric=auc_prr is no metric of validation rows: did you mean auc_pr"),
        ("brier_platt", "search.metric=brier_platt is no metric of validation rows: did you mean brier"),
        ("test/auc_pr", "search.metric=test/auc_pr: trials are chosen by validation rows: set search.metric=auc_pr"),
        ("test/auc_prr", "search.metric=test/auc_prr is no metric of validation rows: did you mean auc_pr"),
    ],
)
def test_a_metric_that_no_trial_is_best_by_is_refused_before_there_is_a_study(metric, says, tmp_path):
    with pytest.raises(BenchError, match=says):
        a_study(tmp_path, metric=metric)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("metric", ["g_mean_tuned", "cost", "mse", "share_found"])
def test_every_metric_of_validation_rows_may_be_searched_by_the_users_own_too(metric, tmp_path, monkeypatch):
    monkeypatch.setitem(METRICS, "share_found", lambda positive, predicted, scores: 0.0)
    assert a_study(tmp_path, metric=metric).options.metric == metric


@pytest.mark.parametrize(
    "changes, says",
    [
        (
            {"method.search.options.n_neighbours": [3]},
            "method.search.options.n_neighbours: unknown option method.options.n_neighbours .* mean n_neighbors",
        ),
        ({"method.search.options.n_neighbors": ["abc", 3]}, "method.search.options.n_neighbors: .* Got 'abc' instead"),
        (
            {"method.search.options.n_neighbors": {"low": 0, "high": 9}},
            "method.search.options.n_neighbors: .* Got 0 instead",
        ),
    ],
)
def test_the_options_of_an_estimator_in_a_space_are_its_own_and_checked_before_a_trial(changes, says, tmp_path):
    with pytest.raises(BenchError, match=says):
        a_study(tmp_path, space=changes, words=("method=k_nn",)).open()
    assert not list(tmp_path.iterdir())


def test_a_pruner_and_cache_overwrite_are_refused(tmp_path):
    pytest.importorskip("optuna")
    cfg = composed("method=focal", "device=cpu", "cache=overwrite", f"paths.outputs={tmp_path}")
    with pytest.raises(BenchError, match="search.pruner=median and cache=overwrite: .* set cache=reuse"):
        Study(cfg, build(Options, search_defaults() | {"pruner": "median"}, "search"))
    Study(cfg, build(Options, search_defaults(), "search"))


def test_what_another_process_trains_is_waited_for_and_nothing_enters_twice(tmp_path, monkeypatch):
    monkeypatch.setattr(studies, "trained", partial(fake, busy=[1]))
    one, two = (a_study(tmp_path / "a", trials=4, batch=4) for _ in range(2))
    one.open(), two.open()
    assert one.advance() == "busy" and len(one.trials) == 1
    monkeypatch.setattr(studies, "trained", fake)
    assert two.advance() == "more" and two.advance() == "done"
    assert one.advance() == "done"
    assert tried(one) == tried(two) == tried(search(monkeypatch, tmp_path / "b", trials=4, batch=4))
    assert one._enter(list(two.trials)) == "more" and len(one.trials) == 4


def test_the_best_is_that_of_validation_rows_and_its_file_makes_its_cell(tmp_path, monkeypatch):
    made = search(monkeypatch, tmp_path / "a")
    best = max(made.trials, key=lambda trial: trial.value)
    assert made.best == best and best.value == -abs(math.log(best.values["method.gamma"] / 2))
    choices = {"dataset": "breast_cancer", "method": "focal"}
    said = finish(made, choices)
    assert f"{best.value:.4f} on validation" in said and "+study=best" in said and "report.py --tuned" in said
    text = (made.folder / "study/best.yaml").read_text()
    assert text.startswith("# @package _global_\n") and "- override /method: focal" in text
    assert f"gamma: {best.values['method.gamma']}" in text
    assert "hydra.searchpath" not in said
    made.own = tmp_path  # whose options the command finds, too
    assert f"hydra.searchpath=[file://{tmp_path}]" in finish(made, choices)
    assert made.record(best)["id"] == best.id == cell_id(made.cell(best.values).plain)


def test_the_command_of_the_best_trains_the_best_whatever_was_given(tmp_path, monkeypatch):
    """Words of a command line beat the file: those that give another value of what was searched are left out."""
    words = ["method=focal", "trainer.epochs=7", "method.gamma=3"]
    made = a_study(tmp_path, words=words)
    monkeypatch.setattr(studies, "trained", fake)
    said = made.open()
    assert "method.gamma is searched: the value given is the first trial's; method.search.gamma=null keeps it" in said
    assert "epochs" not in said
    while made.advance() != "done":
        pass
    again = re.search(r"again, .*?: .*?train\S* (.*)", finish(made, {"dataset": "breast_cancer", "method": "focal"}))
    _, folder, *rest = shlex.split(again[1])
    with hydra_started(Path(folder)):
        from hydra import compose

        cfg = compose("config", ["dataset=breast_cancer", "device=cpu", f"paths.outputs={tmp_path}", *rest])
    config = from_omegaconf(cfg)
    assert cell_id(config.plain) == made.best.id
    assert config.plain["trainer"]["epochs"] == 7 and config.plain["method"]["gamma"] != 3


def test_the_options_found_for_one_method_are_no_others(tmp_path, monkeypatch):
    """... though each of them may be an option of the other too; a variant of the same method takes them."""
    made = search(monkeypatch, tmp_path, trials=2)
    finish(made, {"method": "focal"})
    with hydra_started(made.folder):
        from hydra import compose

        for method in ("dice", "cross_entropy"):
            with pytest.raises(BenchError, match=f"found for method=focal, .* method={method}: leave out one of them"):
                from_omegaconf(compose("config", ["+study=best", f"method={method}", "device=cpu"]))
        config = from_omegaconf(compose("config", ["+study=best", "method.label=tuned_focal", "device=cpu"]))
    assert config.plain["method"]["gamma"] == made.best.values["method.gamma"] and "study" not in config.plain


def test_a_whole_mapping_that_was_given_is_kept_but_for_what_was_found(tmp_path):
    words = ["+method.options={max_depth: 3, seed: 1}", "~method.c", "method.cc=1"]
    study = SimpleNamespace(overrides=words, folder=tmp_path, own=None)
    best = Trial(0, {"method.options.max_depth": 9, "method.c": None}, 0.5, "id")
    rest = shlex.split(_again(study, best).partition("+study=best ")[2])
    assert rest == [words[0], words[2], "++method.options.max_depth=9"]


def test_a_value_outside_of_the_space_is_no_trials(tmp_path):
    made = a_study(tmp_path, words=["method.gamma=30"])
    assert "method.gamma is searched: the value given is no trial's, since it is not in the space" in made.open()


CODE = {"imbalance_bench.engine.losses": "0" * 12}


def test_that_trials_were_made_by_other_code_is_said(tmp_path, monkeypatch, capsys):
    def done_before(configs, **more):
        note = "; made by other code (engine/losses.py changed since): cache=overwrite trains it again"
        for outcome in (ended := fake(configs, **more)):
            records.edit(outcome.path, code=CODE)
        return [replace(outcome, status="skipped", note=note) for outcome in ended]

    made = search(monkeypatch, tmp_path, done_before, trials=8, batch=4)
    assert capsys.readouterr().out.count("made by other code (engine/losses.py") == 1
    said = finish(made, {})
    assert "note: 8 of 8 trials were made by other code (engine/losses.py changed since)" in said
    assert f"rm {made.folder}/optuna.db" in said
    assert "8 of 8 trials were made by other code" not in a_study(tmp_path, trials=8).open()  # its end says so
    assert "8 of 8 trials were made by other code" in a_study(tmp_path, trials=12).open()


def test_the_best_is_that_of_the_records_as_they_are(tmp_path, monkeypatch):
    """One that was trained again since stands with what it has now, and that the study has another number is said."""
    made = search(monkeypatch, tmp_path, trials=4, batch=4)
    worst = min(made.trials, key=lambda trial: trial.value)
    assert "trained or scored again" not in finish(made, {})
    path = made.record(worst)["path"] / "metrics.csv"
    path.write_text(path.read_text().replace(str(worst.value), "0.5"))
    assert made.best.number == worst.number and made.best.value == 0.5
    said = finish(made, {})
    assert ": 0.5000 on validation" in said
    assert f"trained or scored again since they were entered (trial {worst.number} {worst.value:.4f}, now 0.5" in said


def test_of_an_error_the_lowest_is_best(tmp_path, monkeypatch):
    made = search(monkeypatch, tmp_path, partial(fake, lower=True), trials=4, batch=4)
    assert made.best.value == min(trial.value for trial in made.trials)
    assert made.ledger.direction == "minimize"


def test_a_trial_that_fails_counts_and_is_not_the_best(tmp_path, monkeypatch):
    space = {
        "method.search.gamma": [1, 2],
        "method.search.alpha": None,
        "trainer.search": None,
        "backbone.search": None,
    }
    made = search(monkeypatch, tmp_path / "a", partial(fake, fail=[2.0]), space=space, trials=8, batch=4)
    failed = [trial for trial in made.trials if trial.value is None]
    assert 0 < len(failed) < 8 and made.best.values == {"method.gamma": 1}
    assert {trial.reason for trial in failed} == {"needs more rows"}
    assert f"{len(failed)} of which failed" in finish(made, {})
    with pytest.raises(BenchError, match="no trial gave a score; the first: needs more rows"):
        search(monkeypatch, tmp_path / "b", partial(fake, fail=[1, 2]), space=space)


@pytest.mark.parametrize(
    "more, remedy",
    [
        ({"valid": None}, "cache=overwrite"),
        ({"valid": None, "validation": "none"}, "protocol.valid_fraction"),
    ],
)
def test_without_validation_scores_nothing_is_searched(tmp_path, monkeypatch, more, remedy):
    with pytest.raises(BenchError, match=remedy):
        search(monkeypatch, tmp_path, partial(fake, **more))


def test_a_study_of_something_else_in_its_place_is_refused(tmp_path, monkeypatch):
    made = search(monkeypatch, tmp_path, trials=2)
    (made.folder / "study.json").write_text("{}\n")
    with pytest.raises(BenchError, match="is of another space or metric than its name: delete"):
        made.open()
    other = a_study(tmp_path, space={"method.search.alpha": None})
    assert "of another space, metric or configuration: focal-breast_cancer-" in other.open()


def test_a_damaged_database_is_named_and_made_again_of_the_records(tmp_path, monkeypatch):
    made = search(monkeypatch, tmp_path, trials=4)
    (made.folder / "optuna.db").write_bytes(b"nothing" * 999)
    with pytest.raises(BenchError, match="optuna.db cannot be used .*: delete it"):
        search(monkeypatch, tmp_path, trials=4)
    (made.folder / "optuna.db").unlink()
    assert tried(search(monkeypatch, tmp_path, trials=4)) == tried(made)


def test_the_command_line_says_what_is_wrong(tmp_path, capsys, monkeypatch):
    for words, says in (
        (["method=focal,smote"], "-m makes a study of each"),
        (["hydra/launcher=processes"], "start it again elsewhere"),
        (["search.trails=3"], "did you mean trials"),
        (["+paper=survey/tabular"], "-m makes a study of each"),
        (["trainer.rows=train_valid"], "set trainer.rows=train"),
    ):
        assert main([*words, f"paths.outputs={tmp_path}"]) == 1
        assert says in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(BenchError, match=r"pip install -c constraints.txt -e '.\[search\]'"):
        optuna_here()


def test_a_preset_is_a_study_of_each_of_its_cells(tmp_path):
    pytest.importorskip("optuna")
    words = ["+paper=survey/tabular", "dataset=oil,ecoli", "method=k_nn,smote/balanced", f"paths.outputs={tmp_path}"]
    with hydra_started(None) as loader:
        files = ConfFiles(loader, words)
        found = cli._studies(files, words, True, None)
    assert [study.title for study, _ in found] == [
        f"{method} {data} native" for data in ("oil", "ecoli") for method in ("k_nn", "smote_balanced")
    ]


def test_the_space_is_no_part_of_a_cell():
    config = from_omegaconf(composed("method=kmeans_smote"))
    assert isinstance(config, Config)
    assert "search" not in config.plain["method"] and "search" not in config.plain["trainer"]
    assert "search" not in config.plain["method"]["resampler"]
    assert config.component("method").resampling is not None
