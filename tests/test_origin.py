"""The code behind a result: what counts as it, and that a number is never taken for that of other code in silence."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from imbalance_bench import origin
from imbalance_bench.cells import Outcome, run_cell
from imbalance_bench.errors import BenchError
from imbalance_bench.registry import METHODS
from imbalance_bench.settings import identity
from imbalance_bench.settings.config import from_omegaconf
from tests.cells import cell, composed

METHOD = """\
from imbalance_bench.methods.base import Method
from imbalance_bench.registry import METHODS
from {helper} import SCALE

@METHODS.register("{name}")
class Mine(Method):
    pass
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory of a user's, whose modules no other test sees."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    METHODS.names()  # the package's own first
    monkeypatch.setattr(METHODS, "_classes", dict(METHODS._classes))
    yield tmp_path
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def test_a_method_is_made_of_what_it_imports_from_the_package():
    focal = origin.package_code(["imbalance_bench.methods.focal"])
    assert {f"imbalance_bench.{m}" for m in ("methods.focal", "methods.base", "engine.loop")} <= focal.keys()
    assert not {"imbalance_bench.methods.smote", "imbalance_bench.registry", "imbalance_bench.report"} & focal.keys()


def test_the_code_of_a_cell_has_its_method_data_backbone_protocol_and_the_engine():
    code = identity.code(from_omegaconf(composed("method=iht")).plain)
    parts = ("methods.iht", "data.sources.sklearn", "backbones.mlp", "data.splits", "data.tasks", "engine")
    assert {f"imbalance_bench.{part}" for part in parts} <= code.keys()
    assert origin.changed(code) == []
    assert origin.changed(code | {"imbalance_bench.engine": "0" * 12}) == ["imbalance_bench.engine"]
    assert origin.changed({"imbalance_bench.no_more": "0" * 12}) == ["imbalance_bench.no_more"]


def test_what_a_terminal_shows_is_no_code_of_a_result():
    code = identity.code(from_omegaconf(composed("method=focal")).plain)
    shown = ("terminal", "running.progress", "trackers", "data.summary", "settings.objective")
    assert not {f"imbalance_bench.{part}" for part in shown} & code.keys()
    assert origin.changed({f"imbalance_bench.{part}": "0" * 12 for part in shown}) == []  # as older records have them


def test_a_plugin_is_what_it_imports_from_its_folder_too(folder):
    (folder / "mine_a.py").write_text("import numpy\nimport imbalance_bench.methods\ndef f():\n    import mine_b\n")
    (folder / "mine_b.py").write_text("from mine_pack import part\n")
    (folder / "mine_pack").mkdir()
    (folder / "mine_pack/__init__.py").write_text("")
    (folder / "mine_pack/part.py").write_text("from . import other\n")
    (folder / "mine_pack/other.py").write_text("")
    (folder / "unused.py").write_text("")
    alone = {"mine_a", "mine_b", "mine_pack", "mine_pack.part", "mine_pack.other"}
    assert origin.plugin_code(["mine_a"]).keys() == alone
    (folder / "mine_pack/loaded_by_name.py").write_text("")
    assert origin.plugin_code(["mine_pack"]).keys() == {m for m in alone if "pack" in m} | {"mine_pack.loaded_by_name"}
    before = origin.plugin_code(["mine_a"])
    (folder / "mine_pack/other.py").write_text("# a change")
    after = origin.plugin_code(["mine_a"])
    assert [m for m in before if before[m] != after[m]] == ["mine_pack.other"]
    with pytest.raises(BenchError, match=r"plugins=\[nowhere\]: there is no such module"):
        origin.plugin_code(["nowhere"])


NESTED = """
import a
if x: import b
else: import c
for _ in x:
    while x:
        with x as y: import d
    else: import e
try: import f
except x: import g
else: import h
finally: import i
try: import j
except* x: import k
match x:
    case 1: import l
class C:
    async def f(self):
        async for _ in x:
            async with x: import m
"""


def test_an_import_counts_wherever_it_stands(folder):
    for name in "abcdefghijklm":
        (folder / f"{name}.py").write_text("")
    (folder / "nested.py").write_text(NESTED)
    assert "".join(sorted(origin.plugin_code(["nested"]).keys() - {"nested"})) == "abcdefghijklm"


def run(folder: Path, *overrides: str) -> Outcome:
    return run_cell(cell(folder / "outputs", "protocol.folds=2", *overrides))


def test_a_method_of_ones_own_that_was_edited_is_trained_again(folder):
    (folder / "own_method.py").write_text(METHOD.format(helper="own_helper", name="own_method"))
    (folder / "own_helper.py").write_text("SCALE = 1.0\n")
    own = ["plugins=[own_method]", "method.name=own_method", "method.label=mine"]
    first = run(folder, *own)
    assert (first.status, run(folder, *own).status) == ("done", "skipped")
    record = json.loads((first.path / "record.json").read_text())
    assert record["contents"]["plugins"].keys() == {"own_method", "own_helper"}
    assert "imbalance_bench.methods.base" in record["code"]
    (folder / "own_helper.py").write_text("SCALE = 2.0\n")
    second = run(folder, *own)
    assert second.status == "done" and second.path != first.path


ESTIMATOR = """
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression
from own_helper import SCALE

class Mine(ClassifierMixin, BaseEstimator):
    def fit(self, x, y):
        self.made_ = LogisticRegression().fit(SCALE * x, y)
        self.classes_ = self.made_.classes_
        return self

    def predict_proba(self, x):
        return self.made_.predict_proba(x)

    def predict(self, x):
        return self.made_.predict(x)
"""


@pytest.mark.parametrize("within", [False, True])
def test_an_estimator_of_ones_own_in_the_working_directory_is_trained_again_when_edited(folder, monkeypatch, within):
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place != str(folder)])
    (folder / "own_estimator.py").write_text(ESTIMATOR)
    (folder / "own_helper.py").write_text("SCALE = 1.0\n")
    own = ["method=estimator", "method.estimator=own_estimator.Mine"]
    if within:
        member = "estimator:own_estimator.Mine,options:{}"
        own = ["method=balanced_bagging", f"+method.options.estimator={{{member}}}"]
    first = run(folder, *own)
    assert (first.status, run(folder, *own).status) == ("done", "skipped")
    record = json.loads((first.path / "record.json").read_text())
    assert record["contents"]["plugins"].keys() == {"own_estimator", "own_helper"}
    (folder / "own_helper.py").write_text("SCALE = -1.0\n")
    second = run(folder, *own)
    assert second.status == "done" and second.path != first.path


def test_an_estimator_of_the_script_that_runs_is_no_module_to_look_for():
    plain = from_omegaconf(composed("method=estimator", "method.estimator=__main__.Mine")).plain
    assert "plugins" not in identity.contents(plain)


def test_estimators_that_are_installed_are_no_code_of_ones_own(folder):
    for overrides in (["method=random_forest"], ["method=easy_ensemble"]):
        assert "plugins" not in identity.contents(from_omegaconf(composed(*overrides)).plain)


def test_a_skip_says_that_the_code_changed_since(tmp_path):
    first = run(tmp_path)
    assert run(tmp_path).note == ""
    path = first.path / "record.json"
    record = {key: value for key, value in json.loads(path.read_text()).items() if key != "sum"}
    changed = {"imbalance_bench.methods.cross_entropy": "0" * 12, "imbalance_bench.engine": "1" * 12}
    path.write_text(json.dumps(record | {"code": record["code"] | changed}))
    again = run(tmp_path)
    assert (again.status, again.message) == ("skipped", "")  # no failure
    said = "made by other code (engine/__init__.py, methods/cross_entropy.py changed since): cache=overwrite trains it"
    assert said in again.line()
    assert run(tmp_path, "cache=overwrite").status == "done"
    assert run(tmp_path).note == ""
    path.write_text(json.dumps({k: v for k, v in record.items() if k != "code"}))  # as earlier versions wrote them
    assert "does not name the code that made it: cache=overwrite trains it again" in run(tmp_path).line()


def test_data_that_change_during_the_training_are_no_result(folder, monkeypatch):
    table = folder / "table.csv"
    rows = [f"{i},{i % 7},{'yes' if i % 4 == 0 else 'no'}" for i in range(60)]
    table.write_text("\n".join(["a,b,y", *rows]))
    own = ["dataset=csv", f"dataset.path={table}", "dataset.target=y"]
    load = identity.DATASETS.get("csv").load

    def edited(self, where):
        made = load(self, where)
        table.write_text(table.read_text() + "\n9,9,no")
        return made

    monkeypatch.setattr(identity.DATASETS.get("csv"), "load", edited)
    failed = run(folder, *own)
    assert failed.status == "failed" and "changed while it was trained" in failed.message


def test_files_in_no_commit_are_not_clean(monkeypatch):
    answers = {"describe": "abc1234", "status": ""}

    def git(command, **_):
        return type("Done", (), {"stdout": answers[command[1]] + "\n"})

    monkeypatch.setattr(identity.subprocess, "run", git)
    assert identity._git() == "abc1234"
    answers["status"] = "?? imbalance_bench/methods/mine.py"
    assert identity._git() == "abc1234-dirty"
