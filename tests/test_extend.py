"""The recipes of docs/extend.md, run as they stand: the files that the page shows, then its commands."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.commands import Commands, shared
from tests.tasks import CONF

ROOT = CONF.parent
PAGE = (ROOT / "docs/extend.md").read_text()
RECIPES = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.S | re.M))
FILES = dict(re.findall(r"^\| \[(.+?)\]\(#.+?\) \| (.+?) \|$", PAGE, re.M))
BLOCK = re.compile(r"`([\w/]+\.(?:py|yaml))`[^\n`]*:\n\n```\w+\n(.*?)```", re.S)
LINES = {name: "".join(re.findall(r"```bash\n(.*?)```", text, re.S)).splitlines() for name, text in RECIPES.items()}
# What each recipe's commands print in the end.
SHOWN = {
    "A loss": ["poly1 epsilon=2", "cross_entropy"],
    "A method of several stages": ["two_phase breast_cancer ir_20: auc_pr", "2 cells: 2 done"],
    "A data set": ["bearings: 400 rows, 6 features, IR 9.00", "smote bearings native: auc_pr"],
    "A network": ["crt breast_cancer native backbone=residual: auc_pr", "4 cells: 4 done"],
    "A metric": [
        "added positive recall_in_top_tenth",
        "recall in top tenth (positive), ir_20",
        "focal breast_cancer ir",
    ],
    "A table": ["8 of 8 cells of this grid run", "tables/mine/report.html"],
}


@pytest.fixture
def shell() -> Commands:
    return shared({key: value for key, value in os.environ.items() if key != "IMBALANCE_BENCH_DATA"})


def test_each_recipe_is_run():
    assert list(RECIPES) == [*SHOWN, "Into the package"]


def written(folder: Path, *names: str) -> dict[str, str]:
    """The files of these recipes, as the reader writes them."""
    files = {path: text for name in names for path, text in BLOCK.findall(RECIPES[name])}
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return files


def called(shell: Commands, folder: Path, line: str) -> subprocess.CompletedProcess[str]:
    """A command of the page; what trains is cut short."""
    script, *words = shlex.split(line.removeprefix("python "))
    if script == "scripts/train.py" and "+paper" not in line:
        words += ["trainer.epochs=2", "protocol.folds=2", "device=cpu"]
    return shell.call(folder, [str(ROOT / script) if script.startswith("scripts/") else script, *words])


@pytest.mark.parametrize("name", SHOWN)
def test_a_recipe_works_as_it_is_printed(tmp_path, shell, name):
    files = written(tmp_path, name)
    assert re.findall(r"`(.+?)`", FILES[name]) == [path for path in files if path != "make_bearings.py"]
    printed = ""
    for line in LINES[name]:
        done = called(shell, tmp_path, line)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        printed += done.stdout
    for text in SHOWN[name]:
        assert text in printed, printed


LOSS = "scripts/train.py --config-dir my_conf plugins=[my_loss] method=poly1"
STAGES = "scripts/train.py --config-dir my_conf plugins=[my_stages] method=two_phase"
SOURCE = "scripts/train.py --config-dir my_conf plugins=[my_source] dataset=bearings"
TABLE = "my_conf/paper/mine/table1.yaml"
OWN = "one of your own"


@pytest.mark.parametrize(
    "recipe, file, old, new, line, message",
    [
        ("A loss", "my_loss.py", '@METHODS.register("poly1")\n', "", LOSS, f"unknown method name='poly1': .*\\n  {OWN} "
         r"is registered by its module: plugins=\[<module>\], with @METHODS.register\('poly1'\) above the class"),
        ("A loss", "my_loss.py", "@dataclass(frozen=True)\n", "", LOSS, r"Poly1 is no dataclass: write @data"),
        ("A loss", "my_conf/method/poly1.yaml", "", None, LOSS, f"{OWN}: there is no my_conf/method/poly1.yaml"),
        ("A loss", "my_conf/method/poly1.yaml", "name: poly1\n", "", LOSS, "method needs a name: did you mean poly1"),
        ("A loss", "my_conf/method/poly1.yaml", "name: poly1", "name: poly", LOSS, "name='poly': did you mean poly1, "),
        ("A loss", "my_conf/method/poly1.yaml", "epsilon: 1.0", "", LOSS, "missing key method.epsilon: write it into"),
        ("A loss", "", "", "", "scripts/train.py plugins=[my_loss] method=poly1",
         f"{OWN} is method/poly1.yaml in the folder that --config-dir names"),
        ("A loss", "", "", "", LOSS.replace("my_loss", "my_loss.py"), r"without .py: plugins=\[my_loss\]"),
        ("A method of several stages", "my_stages.py", "return engine.cl", "engine.cl", STAGES,
         r"fit of method=two_phase gives a list of classifiers, one a task \(2\), .* gave a NoneType"),
        ("A data set", "my_source.py", ".astype(np.int64)", "", SOURCE, r"bearings: y is an array \(n,\) .* not bool"),
        ("A data set", "my_source.py", "np.int64)", "np.int64) + 1", SOURCE, "y is from 1 to 2, and 2 class_names"),
        ("A data set", "my_source.py", "ArrayEncoder(self.scale)", "None", SOURCE, "encode makes float32 rows"),
        ("A data set", "my_source.py", '"bearings", x, y,', '"bearings", x, y[1:],', SOURCE, "x has 400 rows and y"),
        ("A data set", "my_source.py", "names = ", "return x, y #", SOURCE, "load of dataset=bearings .* gave a tuple"),
        ("A data set", "", "", "", "scripts/data.py verify bearings plugins=[my_source]", f"{OWN} is dataset/bear"),
        ("A metric", "my_metric.py", "@metric", "# ", "scripts/rescore.py plugins=[my_metric]", "registers no metric"),
        ("A table", "", "", "", "scripts/train.py -m +paper=mine/table1", f"{OWN} is paper/mine/table1.yaml"),
        ("A table", "", "", "", "scripts/report.py --paper mine --table 1", f"{OWN} is paper/mine in the"),
        ("A table", "", "", "", "scripts/report.py --paper mine --table 1 --config-dir my_conf",
         r"python -m imbalance_bench train -m --config-dir my_conf \+paper=mine/table1"),
        ("A table", TABLE, "# @package _global_\n", "", "scripts/train.py -m --config-dir my_conf +paper=mine/table1",
         "a preset begins with the line `# @package _global_`"),
        ("A table", TABLE, "paper:\n", "hydra: {sweeper: {params: {seed: '0,1'}}}\npaper:\n",
         "scripts/train.py -m --config-dir my_conf +paper=mine/table1", "hydra.sweeper.params .* list the cells"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_remedy(tmp_path, shell, recipe, file, old, new, line, message):
    for path, text in written(tmp_path, recipe).items():
        if path == file:
            assert old in text
            (tmp_path / path).unlink() if new is None else (tmp_path / path).write_text(text.replace(old, new, 1))
    if "train.py" in line and recipe == "A data set":
        called(shell, tmp_path, "make_bearings.py")
    done = called(shell, tmp_path, line)
    assert done.returncode == 1 and re.search(message, done.stderr, re.S), done.stderr
    assert "Traceback" not in done.stderr


def test_a_preset_without_m_says_that_it_is_one_cell(tmp_path, shell):
    written(tmp_path, "A table")
    done = called(shell, tmp_path, "scripts/train.py --config-dir my_conf +paper=mine/table1 trainer.epochs=1")
    assert done.returncode == 0 and "one cell: the cells that +paper=mine/table1 lists are run by -m" in done.stderr
    path = tmp_path / TABLE
    path.write_text(path.read_text().replace("[auc_pr, f1]", "[auc_pr, f11]").replace("epochs: 20", "epochs: 1"))
    done = called(shell, tmp_path, "scripts/report.py --config-dir my_conf --paper mine --table 1")
    assert "f11 is in no record: did you mean f1?" in done.stdout
