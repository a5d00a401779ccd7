"""A tiny file in the true format of each registered source, for tests: name of the source → what writes it."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import lzma
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from imbalance_bench.data.sources import adult, back_rotation, imdb, mnist, semeval, sms_spam, toutiao, zhang
from imbalance_bench.registry import DATASETS
from tests.tasks import option
from tests.test_fetch import archive

# Writes files under a folder → the source that reads them, and the file to damage.
Builder = Callable[[Path, pytest.MonkeyPatch], tuple[Any, Path]]
TINY: dict[str, Builder] = {}


def tiny(name: str) -> Callable[[Builder], Builder]:
    def add(builder: Builder) -> Builder:
        TINY[name] = builder
        return builder

    return add


def source(label: str, **options: Any) -> Any:
    return DATASETS.build(option("dataset", label) | options)


def put(folder: Path, files: dict[str, bytes]) -> Path:
    """The last of the files that it writes."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return path


# Formats


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def images(n: int, channels: int, size: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, channels, size, size), dtype=np.uint8)


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}i", 0, 8, array.ndim, *array.shape) + array.tobytes()


def amat(pixels: np.ndarray, labels: np.ndarray) -> bytes:
    return "".join(
        "   ".join(f"{v:.6f}" for v in row) + f" {label:.6e} \n" for row, label in zip(pixels.reshape(-1, 784), labels)
    ).encode()


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as out:
        for name, content in files.items():
            out.writestr(name, content)
    return buffer.getvalue()


def csv_file(rows: Any) -> bytes:
    out = io.StringIO()
    csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(rows)
    return out.getvalue().encode()


def json_lines(rows: Any, pack: Callable[[bytes], bytes] = lzma.compress) -> bytes:
    return pack("".join(json.dumps(row) + "\n" for row in rows).encode())


def jpeg_file(x: np.ndarray, y: np.ndarray, names: list[str]) -> bytes:
    content, offsets = b"", [0]
    for image in x:
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "JPEG", quality=75)
        content += buffer.getvalue()
        offsets.append(len(content))
    buffer = io.BytesIO()
    np.savez(
        buffer,
        jpeg=np.frombuffer(content, np.uint8),
        offsets=np.array(offsets, np.int32),
        labels=y.astype(np.uint8),
        class_names=np.array(names),
    )
    return buffer.getvalue()


def titles(codes: list[str]) -> str:
    return "".join(f"{i}_!_{code}_!_{toutiao.CODES[code]}_!_标题{i}，很好_!_词,语\n" for i, code in enumerate(codes))


def news(n: int, of: str = "news") -> bytes:
    return csv_file([(1 + i % 4, f"Title {i}", f'{of} "{i}"\\line two') for i in range(n)])


def mnist_files(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Six training and two test images a digit, in MNIST's format: file name → content, plain and packed."""
    from torchvision.datasets import MNIST

    x, y = images(80, 1, 28)[:, 0], np.arange(80, dtype=np.uint8) % 10
    content = {name: idx(part) for name, part in zip(mnist.FILES, (x[:60], y[:60], x[60:], y[60:]))}
    packed = {f"{name}.gz": gzip.compress(part) for name, part in content.items()}
    for name, part in content.items():
        monkeypatch.setitem(mnist.FILES, name, md5(part))
    monkeypatch.setattr(MNIST, "resources", [(name, md5(part)) for name, part in packed.items()])
    return content | packed


ROW = "39, {work}, 77516, {school}, 13, Never-married, Sales, Husband, White, Male, 2174, 0, 40, United-States, {y}\n"


def adult_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files in Adult's format: 60 and 20 rows, of which 10 and 2 lack a value; a quarter earns more."""

    def rows(n: int, gaps: int, stop: str) -> str:
        return "".join(
            ROW.format(
                work="?" if i < gaps else ("Private", "State-gov")[i % 2],
                school=("Bachelors", "11th", "Masters")[i % 3],
                y=(">50K" if i % 4 == 0 else "<=50K") + stop,
            )
            for i in range(n)
        )

    monkeypatch.setattr(adult, "ROWS", {"adult.data": 60, "adult.test": 20})
    test = "|1x3 Cross validator\n" + rows(20, 2, ".") + "\n"
    return put(folder, {"adult/adult.test": test.encode(), "adult/adult.data": (rows(60, 10, "") + "\n").encode()})


# The sources


@tiny("adult")
def _adult(folder, monkeypatch):
    path = adult_files(folder, monkeypatch)
    return source("adult_14"), path


@tiny("imblearn")
def _imblearn(folder, monkeypatch):
    buffer = io.BytesIO()
    x = np.random.default_rng(0).normal(size=(336, 7))
    np.savez_compressed(buffer, data=x, label=np.where(np.arange(336) < 35, 1, -1))
    return source("ecoli"), put(folder, {"zenodo/x1data.npz": buffer.getvalue()})


@tiny("subset")
def _subset(folder, monkeypatch):
    _, path = _imblearn(folder, monkeypatch)
    of = option("dataset", "ecoli")
    return DATASETS.build({"name": "subset", "of": of, "keep": {0: 50}, "seed": 0}), path


@tiny("sine")
def _sine(folder, monkeypatch):
    return source("sine"), folder


@tiny("sklearn")
def _sklearn(folder, monkeypatch):
    return source("wine"), folder


@tiny("csv")
def _csv(folder, monkeypatch):
    rows = csv_file([("age", "city", "ill"), *((i, "ab"[i % 2], int(i < 4)) for i in range(20))])
    path = put(folder, {"own.csv.gz": gzip.compress(rows, mtime=0)})
    return source("csv", path=str(path), target="ill"), path


@tiny("texts")
def _texts(folder, monkeypatch):
    path = put(
        folder, {"own.csv.xz": lzma.compress(csv_file([("body", "kind"), ("Win", "x"), ("Hi", "y"), ("Ho", "y")]))}
    )
    return source("texts", path=str(path), text="body", target="kind"), path


@tiny("image_folder")
def _image_folder(folder, monkeypatch):
    for i in range(6):
        buffer = io.BytesIO()
        Image.fromarray(images(1, 3, 16, i)[0].transpose(1, 2, 0)).save(buffer, "PNG")
        path = put(folder, {f"pets/{'cat' if i < 4 else 'dog'}/{i}.png": buffer.getvalue()})
    return source("image_folder", path=str(folder / "pets")), path


@tiny("mnist")
def _mnist(folder, monkeypatch):
    files = {f"MNIST/raw/{n}": c for n, c in mnist_files(monkeypatch).items() if n.endswith(".gz")}
    return source("mnist", valid=10), put(folder, files)


@tiny("mnist_back_rotation")
def _back_rotation(folder, monkeypatch):
    for name, value in {"TRAIN": 12, "TEST": 20, "SUM": None}.items():
        monkeypatch.setattr(back_rotation, name, value)
    train, test = back_rotation.MEMBERS
    monkeypatch.setattr(back_rotation, "MEMBERS", {train: 12, test: 20})
    x, y = images(32, 1, 28), np.arange(32) % 10
    content = zipped({train: amat(x[:12] / 255, y[:12]), test: amat(x[12:] / 255, y[12:])})
    return source("mnist_back_rotation"), put(folder, {back_rotation.PLACE: content})


@tiny("mnist_back_rotation_generated")
def _generated(folder, monkeypatch):
    monkeypatch.setattr(back_rotation, "TRAIN", 20)
    monkeypatch.setattr(back_rotation, "TEST", 40)
    _, path = _mnist(folder, monkeypatch)
    return source("mnist_back_rotation_generated"), path


@tiny("cifar10_jpeg")
def _cifar10_jpeg(folder, monkeypatch):
    x, names = images(30, 3, 32).transpose(0, 2, 3, 1), [f"kind {i}" for i in range(10)]
    parts = {"train": slice(20), "test": slice(20, 30)}
    files = {
        f"cifar10_jpeg/cifar10_jpeg_{part}.npz": jpeg_file(x[rows], np.arange(30)[rows] % 10, names)
        for part, rows in parts.items()
    }
    return source("cifar10_jpeg"), put(folder, files)


@tiny("torchvision")
def _torchvision(folder, monkeypatch):
    from scipy.io import savemat
    from torchvision.datasets import SVHN

    x, y, files = images(30, 3, 32), np.arange(30) % 10, {}
    for part, rows in (("train", slice(20)), ("test", slice(20, 30))):
        buffer = io.BytesIO()
        label = np.where(y[rows] == 0, 10, y[rows])[:, None].astype(np.uint8)
        savemat(buffer, {"X": x[rows].transpose(2, 3, 1, 0), "y": label}, do_compression=True)
        files[f"{part}_32x32.mat"] = buffer.getvalue()
    known = {n.partition("_")[0]: ["", n, md5(content)] for n, content in files.items()}
    monkeypatch.setattr(SVHN, "split_list", known)
    return source("svhn"), put(folder, files)


@tiny("sms_spam")
def _sms_spam(folder, monkeypatch):
    content = zipped({"SMSSpamCollection": b"ham\tOk lar...\nspam\tFREE entry\nham\tI'm\nham\tAt home\n"})
    monkeypatch.setattr(sms_spam, "ROWS", 4)
    return source("sms_spam"), put(folder, {sms_spam.ARCHIVE: content})


@tiny("imdb")
def _imdb(folder, monkeypatch):
    monkeypatch.setattr(imdb, "ROWS", 2)
    reviews = {f"aclImdb/{p}/{c}/0_7.txt": f"{p} {c}".encode() for p in ("train", "test") for c in ("neg", "pos")}
    return source("imdb"), put(folder, {imdb.ARCHIVE: archive(reviews)})


@tiny("ag_news")
def _ag_news(folder, monkeypatch):
    monkeypatch.setattr(zhang, "AG_ROWS", {"train.csv": 40, "test.csv": 8})
    return source("ag_news"), put(folder, {"ag_news/test.csv": news(8, "test"), "ag_news/train.csv": news(40)})


@tiny("yelp_polarity")
def _yelp_polarity(folder, monkeypatch):
    monkeypatch.setattr(zhang, "YELP_ROWS", {"train.csv": 3, "test.csv": 2})
    rows = {"train": [("1", "Awful"), ("2", "Good"), ("1", "Bad")], "test": [("2", "Great"), ("1", "Cold")]}
    members = {f"yelp_review_polarity_csv/{part}.csv": csv_file(texts) for part, texts in rows.items()}
    return source("yelp_polarity"), put(folder, {zhang.YELP: archive(members)})


@tiny("yelp_sentences")
def _yelp_sentences(folder, monkeypatch):
    lines = (b"0\tok never again .\n1\tgood food .\n", b"1\tla creme .\n")
    return source("yelp_sentences"), put(folder, {p: lzma.compress(c) for p, c in zip(zhang.SENTENCES, lines)})


@tiny("toutiao")
def _toutiao(folder, monkeypatch):
    monkeypatch.setattr(toutiao, "ROWS", 4)
    content = zipped({toutiao.MEMBER: titles(["100", "114", "116", "102"]).encode()})
    return source("toutiao"), put(folder, {toutiao.ARCHIVE: content})


@tiny("opinrank")
def _opinrank(folder, monkeypatch):
    members = {
        "cars/data/2007/2007_acura_rl": b"<DOC><TEXT>Handling is great.</TEXT></DOC>\n",
        "hotels/data/beijing/china_beijing_g": b"Nov 18 2009\tFabulous\tWonderful.\nNov 17 2009\tGreat\tNice.\n",
    }
    return source("opinrank"), put(folder, {"opinrank/OpinRankDatasetWithJudgments.zip": zipped(members)})


@tiny("amazon")
def _amazon(folder, monkeypatch):
    rows = [{"overall": 1.0 if i % 5 == 0 else 5.0, "reviewText": f"Text {i}"} for i in range(20)]
    path = put(folder, {"amazon/reviews_Books_5.json.gz": json_lines(rows, gzip.compress)})
    return source("amazon_books", sample=[8, 2]), path


@tiny("amazon_multidomain")
def _amazon_multidomain(folder, monkeypatch):
    rows = [{"domain": "books", "label": s, "text": f"books {s}"} for s in ("positive", "negative")]
    return source("amazon_multidomain"), put(
        folder, {"amazon_multidomain_sentiment/reviews.jsonl.xz": json_lines(rows)}
    )


@tiny("semeval")
def _semeval(folder, monkeypatch):
    content = b"1\tnegative\tBad\n2\tneutral\tTwo\n4\tpositive\tFour\n"
    made = source("semeval")
    return made, put(folder, {f"{semeval.FOLDER}/twitter-{part}-A.tsv": content for part in made.parts})


@tiny("irt")
def _irt(folder, monkeypatch):
    labels = ["crash", "fire", "not_incident_related", "not_incident_related"]
    rows = "text,label\n" + "".join(f"Tweet {i},{label}\n" for i, label in enumerate(labels))
    return source("irt_nyc"), put(folder, {"irt/nyc.csv": rows.encode()})
