"""`scripts/data.py list|fetch|verify`."""

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from imbalance_bench.data import catalogue
from imbalance_bench.data.catalogue import Entry, entries, main
from imbalance_bench.data.sources import mnist
from imbalance_bench.data.sources.imblearn import SETS
from imbalance_bench.data.sources.mnist import MnistSource
from imbalance_bench.registry import DATASETS
from tests.sources import idx
from tests.test_fetch import ECOLI, archive, publish

SCRIPT = Path(__file__).parents[1] / "scripts/data.py"


def put(folder, name="ecoli", content=ECOLI):
    path = folder / f"imblearn_benchmark/zenodo/x{SETS[name].number}data.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def run(capsys, *args):
    code = main([str(a) for a in args])
    out, err = capsys.readouterr()
    return code, out, err


def test_list_says_what_lies_here(tmp_path, capsys):
    put(tmp_path)
    code, out, _ = run(capsys, "list", "--data", tmp_path)
    lines = {line.split()[0]: line.split()[1:] for line in out.splitlines()[1:]}
    assert code == 0
    assert lines["ecoli"] == ["yes", "336", "7", "2", "8.60", "Zenodo"]
    assert lines["protein_homo"][:5] == ["no", "145751", "74", "2", "111.46"]
    assert lines["breast_cancer"][:5] == ["yes", "569", "30", "2", "1.68"]
    assert lines["adult"][0] == "no"
    assert lines["mnist"] == ["no", "70000", "1x28x28", "10", "1.25", "MNIST"]
    assert lines["mnist_back_rotation"][:5] == ["no", "62000", "1x28x28", "10", "-"]
    assert lines["svhn"][:5] == ["no", "99289", "3x32x32", "10", "3.03"]
    assert lines["cifar100"][:5] == ["no", "60000", "3x32x32", "100", "1.00"]
    assert lines["stl10"][:3] == ["no", "13000", "3x96x96"]
    assert lines["sms_spam"] == ["no", "5574", "text", "2", "6.46", "UCI"]
    assert lines["irt_nyc_4"] == ["no", "1859", "text", "4", "32.13", "by", "hand"]
    assert lines["sine"] == ["yes", "211", "1", "0", "-", "a", "formula"]
    assert len(lines) == 75
    assert list(lines)[:30] == [*SETS, "adult", "breast_cancer", "digits"]


def test_fetch_then_verify(tmp_path, capsys, upstream):
    publish(upstream, archive({"x1data.npz": ECOLI}))
    assert run(capsys, "fetch", "ecoli", "--data", tmp_path)[0] == 0
    code, out, _ = run(capsys, "verify", "ecoli", "--data", tmp_path)
    assert (code, out) == (0, "ecoli: 336 rows, 7 features, IR 8.60; sum agrees; as published\n")


def test_a_set_put_there_by_hand_has_no_sum_on_record(tmp_path, capsys):
    put(tmp_path)
    code, out, _ = run(capsys, "verify", "--data", tmp_path)
    assert code == 0
    assert "ecoli: 336 rows, 7 features, IR 8.60; no sum on record; as published" in out
    assert "protein_homo: absent" in out and "adult: absent" in out
    assert "digits: 1797 rows, 64 features, IR 1.05; no files" in out


def test_a_set_that_was_asked_for_and_is_absent_is_an_error(tmp_path, capsys):
    assert run(capsys, "verify", "protein_homo", "--data", tmp_path)[:2] == (1, "protein_homo: absent\n")


def test_verify_finds_a_file_that_changed(tmp_path, capsys):
    path = put(tmp_path)
    name = "imblearn_benchmark/zenodo/x1data.npz"
    (tmp_path / "checksums.json").write_text(json.dumps({name: {"sha256": "0" * 64, "url": ""}}))
    code, out, _ = run(capsys, "verify", "--data", tmp_path)
    assert code == 1
    for words in ("ecoli: WRONG", "0" * 64, hashlib.sha256(ECOLI).hexdigest(), "remove it and run", str(path)):
        assert words in out


def test_verify_finds_wrong_content(tmp_path, capsys):
    put(tmp_path, "oil")
    code, out, _ = run(capsys, "verify", "oil", "--data", tmp_path)
    assert code == 1
    assert "oil: WRONG" in out and "found 336 rows" in out


def put_mnist(folder, monkeypatch, labels):
    """MNIST's files with 60 + 20 images, whatever they show, and ``labels`` (80,)."""
    y = np.asarray(labels, np.uint8)
    parts = (np.zeros((60, 28, 28), np.uint8), y[:60], np.zeros((20, 28, 28), np.uint8), y[60:])
    (folder / "MNIST/raw").mkdir(parents=True)
    for name, part in zip(mnist.FILES, parts):
        (folder / "MNIST/raw" / name).write_bytes(idx(part))
        monkeypatch.setitem(mnist.FILES, name, hashlib.md5(idx(part)).hexdigest())
    monkeypatch.setattr(mnist, "COUNTS", (8,) * 10)
    monkeypatch.setattr(catalogue, "entries", lambda own: {"mnist": Entry("mnist", MnistSource(10))})


def test_verify_counts_the_images_of_each_class(tmp_path, capsys, monkeypatch):
    put_mnist(tmp_path, monkeypatch, np.arange(80) % 10)
    code, out, _ = run(capsys, "verify", "mnist", "--data", tmp_path)
    assert (code, out) == (0, "mnist: 80 images of 1x28x28, 10 classes, IR 1.00; sum agrees\n")


def test_verify_finds_a_class_with_another_number_of_images(tmp_path, capsys, monkeypatch):
    put_mnist(tmp_path, monkeypatch, np.minimum(np.arange(80) % 10 + np.eye(80, dtype=int)[0], 9))
    code, out, _ = run(capsys, "verify", "mnist", "--data", tmp_path)
    assert code == 1
    assert "mnist: WRONG: found (7, 9, 8, 8, 8, 8, 8, 8, 8, 8) rows a class, expected (8, 8," in out


def test_verify_finds_a_cut_archive(tmp_path, capsys):
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(b"cut short")
    code, out, _ = run(capsys, "verify", "cifar10", "--data", tmp_path)
    assert code == 1
    for words in ("cifar10: WRONG", "c58f30108f718f92721af3b95e74349a", hashlib.md5(b"cut short").hexdigest()):
        assert words in out


def test_what_is_fetched_from_nowhere_stops_no_one(tmp_path, capsys, monkeypatch):
    kept = {name: e for name, e in entries().items() if name in ("wine", "cifar10_jpeg")}
    monkeypatch.setattr(catalogue, "entries", lambda own: kept)
    code, out, _ = run(capsys, "fetch", "--data", tmp_path)
    assert code == 0 and "cifar10_jpeg: cannot be downloaded" in out and "wine: here" in out
    code, _, err = run(capsys, "fetch", "cifar10_jpeg", "--data", tmp_path)
    assert code == 1 and "cifar10_jpeg_train.npz" in err


def test_verify_compares_with_the_published_table(tmp_path, capsys, monkeypatch):
    """Were our own table of facts wrong, the published one would tell."""
    put(tmp_path)
    monkeypatch.setitem(SETS, "ecoli", SETS["ecoli"]._replace(positives=30))
    path = put(tmp_path)
    label = np.where(np.arange(336) < 30, 1, -1)
    np.savez(path, data=np.zeros((336, 7)), label=label)
    code, out, _ = run(capsys, "verify", "ecoli", "--data", tmp_path)
    assert code == 1
    assert "IR 10.20; the published table has ['imbalance_ratio 8.6']" in out


def test_all_27_sets_agree_with_the_published_table_but_for_its_misprint():
    for name, entry in list(entries().items())[:27]:
        note = catalogue._against_print(name, entry.facts.rows, entry.facts.shape[0], entry.facts.ratio)
        assert note.startswith("; as published")
        assert ("34.45" in note) == (name == "webpage")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["verify", "ecolli"], "unknown data set 'ecolli': did you mean ecoli"),
        (["fetch", "wibble"], "unknown data set 'wibble'"),
    ],
)
def test_unknown_names(tmp_path, capsys, args, words):
    code, out, err = run(capsys, *args, "--data", tmp_path)
    assert code == 1 and out == "" and words in err


def test_shipped_options_are_known(tmp_path, capsys):
    options = ["ag_news_world", "adult_14", "adult_balanced_first", "sine", "semeval_10000", "mnist_back_rotation_x10"]
    code, out, _ = run(capsys, "list", *options, "--data", tmp_path)
    assert code == 0
    assert [line.split()[:2] for line in out.splitlines()[1:]] == [[o, "yes" if o == "sine" else "no"] for o in options]
    for label in ("csv", "texts", "image_folder"):
        code, _, err = run(capsys, "fetch", label, "--data", tmp_path)
        assert code == 1 and f"dataset={label} is data of your own" in err


def test_an_option_is_fetched_and_verified_as_it_is(tmp_path, capsys, upstream):
    assert run(capsys, "fetch", "sine", "digits_8", "--data", tmp_path)[:2] == (0, "sine: here\ndigits_8: here\n")
    code, out, _ = run(capsys, "verify", "digits_8", "sine", "--data", tmp_path)
    assert (code, out) == (
        0,
        "digits_8: 1797 rows, 64 features, IR 9.33; no files\nsine: 211 rows, 1 features; no files\n",
    )
    code, _, err = run(capsys, "fetch", "adult_14", "--data", tmp_path)
    assert code == 1 and "cannot download" in err and "adult.data" in err


COWS = """
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from imbalance_bench.data.base import Dataset, Facts, Source
from imbalance_bench.data.encode import ArrayEncoder
from imbalance_bench.registry import DATASETS


@DATASETS.register("{name}")
@dataclass(frozen=True)
class {cls}:
    few: int

    def load(self, folder):
        x = np.loadtxt(folder / "cows.txt")
        y = (np.arange(len(x)) < self.few).astype(np.int64)
        return Dataset("cows", x, y, ("healthy", "ill"), ArrayEncoder("none"))
{more}"""
STATED = """
    def paths(self, folder):
        return [folder / "cows.txt"] if (folder / "cows.txt").exists() else None

    def facts(self):
        return Facts.counted((20, 4), "our farm", (3,))
"""


@pytest.fixture
def farm(tmp_path, monkeypatch):
    """Two sources of a user's own in a folder: one states all that it can, the other, which inherits nothing, loads."""
    (tmp_path / "my_cows.py").write_text(COWS.format(name="cows", cls="Cows(Source)", more=STATED))
    (tmp_path / "my_goats.py").write_text(COWS.format(name="goats", cls="Goats", more=""))
    home = tmp_path / "conf/dataset"
    home.mkdir(parents=True)
    for name in ("cows", "goats"):
        (home / f"{name}.yaml").write_text(f"name: {name}\nlabel: {name}\nfew: 4\n")
    (home / "herd.yaml").write_text(f"defaults: [csv, _self_]\nlabel: herd\npath: {tmp_path}/herd.csv\ntarget: ill\n")
    (tmp_path / "herd.csv").write_text("weight,ill\n" + "".join(f"{i},{int(i < 3)}\n" for i in range(9)))
    np.savetxt(tmp_path / "cows.txt", np.zeros((24, 3)))
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in ("cows", "goats"):
        DATASETS._classes.pop(name, None)
        sys.modules.pop(f"my_{name}", None)


def test_a_source_of_ones_own_is_listed_and_verified(farm, capsys):
    own = ["--data", farm, "--config-dir", "conf", "plugins=[my_cows,my_goats]"]
    code, out, err = run(capsys, "list", *own)
    assert (code, err) == (0, "")
    cows, goats, herd = out.splitlines()[-3:]
    assert cows.split() == ["cows", "yes", "24", "3", "2", "5.00", "our", "farm"]
    assert goats.split() == ["goats", "yes", "-", "-", "-", "-", "as", "dataset=goats"]
    assert herd.split() == ["herd", "yes", "-", "-", "-", "-", "as", "dataset=herd"]
    code, out, _ = run(capsys, "verify", "cows", "goats", "herd", *own)
    assert code == 0
    assert out.splitlines() == [
        "cows: 24 rows, 3 features, IR 5.00; no sum on record",
        "goats: 24 rows, 3 features, IR 5.00; no files",
        "herd: 9 rows, 1 features, IR 2.00; no sum on record",
    ]
    np.savetxt(farm / "cows.txt", np.zeros((25, 3)))
    assert "cows: WRONG: found 25 rows" in run(capsys, "verify", "cows", *own)[1]
    (farm / "cows.txt").unlink()
    assert run(capsys, "verify", "cows", *own)[:2] == (1, "cows: absent\n")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--config-dir", "conf"], "dataset/cows.yaml: no data set is called name=cows: .* plugins=.my_data."),
        (["--config-dir", "confg"], "--config-dir=confg is no folder"),
        (["--config-dir", "conf", "plugins=[my_cow]"], r"plugins=\[my_cow\]: no my_cow.py in"),
        (
            ["--config-dir", "conf", "plugins=[my_cows,my_goats]", "herds"],
            "unknown data set 'herds': did you mean herd",
        ),
    ],
)
def test_what_is_wrong_with_ones_own_is_told(farm, capsys, args, words):
    code, out, err = run(capsys, "list", *args, "--data", farm)
    assert (code, out) == (1, "") and re.search(words, err)


def test_no_network(tmp_path, capsys, upstream):
    code, _, err = run(capsys, "fetch", "--data", tmp_path)
    assert code == 1
    assert "error: cannot download" in err and "docs/datasets.md" in err


def test_the_script_takes_its_folder_from_the_environment(tmp_path):
    put(tmp_path)
    env = {"IMBALANCE_BENCH_DATA": str(tmp_path), "PATH": ""}
    done = subprocess.run([sys.executable, SCRIPT, "list", "ecoli"], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "ecoli           yes" in done.stdout


@pytest.mark.real_data
def test_verify_real_data(real_data, capsys):
    folder = real_data("ecoli", "webpage")
    made = ("cifar10_jpeg", "mnist_back_rotation_generated", "imdb", "opinrank")  # seconds each, to read or to make
    here = [e.name for e in entries().values() if e.source.paths(folder) is not None and e.name not in made]
    code, out, _ = run(capsys, "verify", *here, "--data", folder)
    assert code == 0
    assert "WRONG" not in out
    assert "webpage: 34780 rows, 300 features, IR 34.45" in out
    assert "mnist" not in here or "mnist: 70000 images of 1x28x28, 10 classes, IR 1.25; sum agrees" in out
