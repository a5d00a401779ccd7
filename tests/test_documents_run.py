"""Every command of the documents is run: by the test of its page or, slowly, here; or a table says why none runs it.
Here a page is walked from its top in one folder, with what it takes for granted in it, and trainings cut short. A
command that is added to a page is walked without being named."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from imbalance_bench.registry import SEARCH
from imbalance_bench.settings.presets import load_preset
from tests import (
    records,
    test_extend,
    test_predict,
    test_report_own_figures,
    test_reports_page,
    test_start_page,
    test_sweeps_page,
    test_tuning_page,
)
from tests.commands import shared
from tests.documents import PAGES, ROOT, Command, commands
from tests.test_documents import filled

DEMO = "python scripts/report.py --outputs outputs/demo "
RUN = {  # page → what the test of the page runs
    "README.md": test_predict.lines_of("README.md"),
    "docs/extend.md": [line for lines in test_extend.LINES.values() for line in lines],
    "docs/models.md": test_predict.lines_of("docs/models.md"),
    "docs/reports.md": [
        *(f"python scripts/report.py {words}" for words in test_reports_page.COMMANDS),
        *(DEMO + words for words in test_report_own_figures.COMMANDS),
    ],
    "docs/start.md": test_start_page.LINES,
    "docs/sweeps.md": test_sweeps_page.LINES,
    "docs/tuning.md": [*test_tuning_page.GRID, *test_tuning_page.SEARCH],
}
NOT_RUN = {  # what matches: why it is examined by tests/test_documents.py alone
    r"(train|search)\.py .*\+paper=": "hours of training; tests/test_presets.py composes the cells of every preset",
    r"dataset=mnist ": "an hour of images",
    r"backbone=xlnet": "weights of half a gigabyte",
    r"data\.py fetch": "downloads; tests/test_fetch.py",
    r"^(make|pip|git|cd|source|eval) ": "sets up, or calls what is run here; test_makefile.py, test_completion.py",
    r"^(tensorboard|mlflow|wandb) ": "another program",
    r"bench(_gpu)?\.py": "measures for minutes; small in tests/test_bench.py and test_bench_gpu.py",
    r"^python -m tests": "tests/test_faults.py, test_device.py and test_mutation.py",
    r"<(that|record) folder>|<study>": "a name that another command prints; tests/test_run.py, test_predict.py, "
    "test_tuning_page.py",
    r"\.\.\.$|--(from|metric)$": "stands for others",
    r"--from outputs/records/survey": "tests/test_committed.py makes these tables again",
}
DATA = {  # page → the published data that its commands name
    "README.md": ("ecoli", "oil", "abalone_19", "letter_img", "optical_digits", "satimage", "sms_spam"),
    "docs/classical.md": ("ecoli", "oil"),
    "docs/setconv.md": ("sms_spam",),
    "docs/texts.md": ("sms_spam",),
}
FEW = ("trainer.epochs=2", "device=cpu")
SHORT = (*FEW, "protocol.folds=2")
SHORTER = {  # what matches: more words that cut a training short
    r"method=explicit_gradient dataset=ecoli": (),  # a cell of the paper, which later lines collect
    r"search\.py .*backbone=lsa": (*FEW, f"{SEARCH}.trials=2", "backbone.dims=20", "protocol.folds=3"),
    r"search\.py .*dataset=ecoli,": (*FEW, f"{SEARCH}.trials=2"),  # --advise compares them with that cell: all folds
    r"search\.py": (*SHORT, f"{SEARCH}.trials=2"),
    r"backbone=tabm": (*SHORT, "backbone.members=2", "backbone.width=32"),
    r"smote,focal dataset=ecoli,": FEW,
    r"backbone=textcnn": (*SHORT, "backbone.length=32", "backbone.embedding=8", "backbone.filters=4"),
    r"backbone=lsa": (*SHORT, "backbone.dims=20"),
}


# Of papers' pages: whose records are taken to be there, some of them, of made-up numbers.
RECORDS = {
    "docs/classical.md": "survey/tabular",
    "docs/dos.md": "dos/table6",
    "docs/miso.md": "miso/table3_cpu dataset=ag_news_subset_world backbone=textcnn",
    "docs/presets.md": "dos/table6",
    "docs/reports.md": "explicit_gradient/table2",
    "docs/selectnet.md": "selectnet/table1",
    "docs/setconv.md": "setconv/figure7_open",
}


def left(page: str) -> list[Command]:
    """The commands of a page that are run here. The changelog's are those of other pages."""
    if page == "CHANGELOG.md":
        return []
    others = [c for c in commands(page) if c.text not in RUN.get(page, ())]
    return [c for c in others if not any(re.search(pattern, c.text) for pattern in NOT_RUN)]


def test_what_is_run_elsewhere_and_what_is_not_run_stands_in_a_page():
    for page, lines in RUN.items():
        assert {*lines} <= {command.text for command in commands(page)}, page
    everything = [command.text for page in PAGES for command in commands(page)]
    for pattern in NOT_RUN:
        assert any(re.search(pattern, text) for text in everything), pattern
    assert any(len(left(page)) > 3 for page in PAGES)


def taken_for_granted(page: str, folder: Path) -> None:
    """What the pages say a reader has (tables, mails, stop words, folders of images), and the files of the page."""
    for path, text in test_extend.BLOCK.findall((ROOT / page).read_text()):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    stopped = folder / "data/stopwords/nltk_english.txt"
    stopped.parent.mkdir(parents=True)
    stopped.write_text("at")
    rng = np.random.default_rng(0)
    n, late = 1200, np.arange(1200) % 8 == 0
    table = {"age": rng.integers(18, 80, n), "city": rng.choice(["Oslo", "Rome"], n), "spent": rng.normal(late)}
    pd.DataFrame(table | {"churned": np.where(late, "yes", "no")}).to_csv(folder / "customers.csv", index=False)
    pd.DataFrame(table).head(9).to_csv(folder / "new.csv", index=False)
    words = [rng.choice(["win", "prize", "now"] if spam else ["see", "you", "at", "six"], 6) for spam in late]
    mails = {"kind": np.where(late, "spam", "ham"), "body": [f"{' '.join(some)} {k}" for k, some in enumerate(words)]}
    pd.DataFrame(mails).head(160).to_csv(folder / "mails.csv", index=False)
    for name in ("pets", "photos"):
        for kind, many in {"cat": 20, "dog": 30}.items():
            (folder / name / kind).mkdir(parents=True)
            for k in range(many):
                pixels = rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / name / kind / f"{k}.png")


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if left(page)])
def test_the_commands_of_a_page_work(page, tmp_path, real_data):
    if page in DATA:
        real_data(*DATA[page])
    taken_for_granted(page, tmp_path)
    if page in RECORDS:
        preset, *overrides = RECORDS[page].split()
        for k, planned in enumerate(load_preset(*preset.split("/"), overrides).cells[:20]):
            values = list(np.random.default_rng(k).uniform(0.3, 0.9, 4))
            records.write(tmp_path / "outputs", planned, {"auc_pr": values, "f1": values})
    if page == "docs/presets.md":
        for dataset in ("ecoli", "oil"):
            records.write(
                tmp_path / "outputs", records.cell("smote", dataset), {"auc_pr": [0.5, 0.6], "f1": [0.4, 0.5]}
            )
    shell = shared({key: v for key, v in os.environ.items() if key != "IMBALANCE_BENCH_DATA" or page in DATA})
    first = "python scripts/train.py -m method=cross_entropy,smote,focal ratio=ir_20"
    for command in [Command(page, first), *left(page)]:
        for one in Command(page, filled(command.text)).each():
            called(shell, tmp_path, one)


def called(shell, folder: Path, command: Command) -> None:
    words = [f for word in command.arguments for f in (map(str, folder.glob(word)) if word.endswith("/*") else [word])]
    if command.verb in ("train", "search") and "--help" not in words:
        words += next((more for pattern, more in SHORTER.items() if re.search(pattern, command.text)), SHORT)
    done = shell.call(folder, [str(ROOT / "scripts" / f"{command.verb}.py"), *words])
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
