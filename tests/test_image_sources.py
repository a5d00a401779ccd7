"""Image sources: small files in their true formats, put in place or served on this machine, whole and damaged."""

import gzip
import hashlib
import io
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imbalance_bench.data import fetch
from imbalance_bench.data.fetch import cached, recorded
from imbalance_bench.data.sources import back_rotation, mnist
from imbalance_bench.data.tasks import make_runs
from imbalance_bench.errors import BenchError
from imbalance_bench.registry import PROTOCOLS, RATIOS
from tests.sources import amat, images, jpeg_file, md5, mnist_files, put, source, zipped
from tests.tasks import option
from tests.test_fetch import archive, left


def runs(data, ratio="native", protocol="official_trials", **options):
    options = {"trials": 2} | options if protocol == "official_trials" else options
    return make_runs(
        data, RATIOS.build(option("ratio", ratio)), PROTOCOLS.build(option("protocol", protocol) | options), 0
    )


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(home := tmp_path_factory.mktemp("cache")))
    return home


# MNIST


@pytest.fixture
def digits(monkeypatch):
    """Six training and two test images a digit, in MNIST's format: file name → content."""
    return mnist_files(monkeypatch)


def put_mnist(folder, digits, packed=True):
    put(folder, {f"MNIST/raw/{name}": part for name, part in digits.items() if name.endswith(".gz") == packed})


@pytest.mark.parametrize("packed", [True, False])
def test_mnist_as_it_lies_there(tmp_path, digits, packed):
    put_mnist(tmp_path, digits, packed)
    data = source("mnist", valid=10).load(tmp_path)
    assert data.modality == "image" and data.name == "mnist"
    assert (data.x == images(80, 1, 28)).all() and data.x.dtype == np.uint8
    assert data.y.tolist() == [i % 10 for i in range(80)]
    assert data.valid_rows.tolist() == list(range(50, 60))
    assert data.test_rows.tolist() == list(range(60, 80))
    task = runs(data)[0].task
    assert (len(task.train), len(task.valid)) == (50, 10)
    assert task.train.x.dtype == np.uint8 and (task.train.x == data.x[:50]).all()


def test_mnist_without_validation_rows(tmp_path, digits):
    put_mnist(tmp_path, digits)
    assert source("mnist", valid=0).load(tmp_path).valid_rows is None
    with pytest.raises(BenchError, match="dataset.valid=10000 leaves none of 60"):
        source("mnist").load(tmp_path)
    with pytest.raises(BenchError, match="dataset.valid=-1"):
        source("mnist", valid=-1)


def test_mnist_is_downloaded_once(tmp_path, digits, upstream, monkeypatch):
    from torchvision.datasets import MNIST

    monkeypatch.setattr(MNIST, "mirrors", [f"{fetch.SITES['uci']}/mnist/"])
    upstream.files |= {f"/mnist/{name}": part for name, part in digits.items() if name.endswith(".gz")}
    for _ in range(2):
        assert len(source("mnist", valid=10).load(tmp_path).y) == 80
    assert len(upstream.asked) == 4
    assert len(recorded(tmp_path)) == 4


def test_a_changed_download_of_mnist_is_not_kept(tmp_path, digits, upstream, monkeypatch):
    from torchvision.datasets import MNIST

    monkeypatch.setattr(MNIST, "mirrors", [f"{fetch.SITES['uci']}/mnist/"])
    upstream.files["/mnist/train-images-idx3-ubyte.gz"] = bad = gzip.compress(b"other")
    with pytest.raises(
        BenchError, match=f"train-images-idx3-ubyte.gz.*md5 {md5(bad)} is not the expected .* was removed"
    ):
        source("mnist").load(tmp_path)
    assert left(tmp_path) == []


@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "t10k-labels-idx1-ubyte.gz"])
@pytest.mark.parametrize("damage", ["cut", "other", "empty"])
def test_a_damaged_mnist_file_is_named(tmp_path, digits, name, damage):
    put_mnist(tmp_path, digits, packed=name.endswith(".gz"))
    path = tmp_path / "MNIST/raw" / name
    other = gzip.compress(b"other") if name.endswith(".gz") else b"other"
    path.write_bytes({"cut": path.read_bytes()[:-20], "other": other, "empty": b""}[damage])
    with pytest.raises(BenchError) as error:
        source("mnist", valid=10).load(tmp_path)
    assert str(path) in str(error.value) and "remove" in str(error.value)
    if damage == "other":
        assert md5(b"other") in str(error.value) and mnist.FILES[name.removesuffix(".gz")] in str(error.value)


@pytest.mark.real_data
def test_real_mnist(real_data):
    data = source("mnist").load(real_data("mnist"))
    task = runs(data, trials=1)[0].task
    assert (len(task.train), len(task.valid), len(data.test_rows)) == (50_000, 10_000, 10_000)
    assert np.bincount(data.y[:60_000]).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]


# MNIST-back-rotation: the upstream archive


@pytest.fixture
def small_back_rotation(monkeypatch):
    """12 training and 20 test images: the archive and what it holds."""
    monkeypatch.setattr(back_rotation, "TRAIN", 12)
    monkeypatch.setattr(back_rotation, "TEST", 20)
    monkeypatch.setattr(back_rotation, "SUM", None)
    train, test = back_rotation.MEMBERS
    monkeypatch.setattr(back_rotation, "MEMBERS", {train: 12, test: 20})
    x, y = images(32, 1, 28), np.arange(32) % 10
    files = {train: amat(x[:12] / 255, y[:12]), test: amat(x[12:] / 255, y[12:])}
    return zipped(files), files, x, y


def test_back_rotation_is_downloaded_parsed_once_and_its_sum_recorded(
    tmp_path, upstream, small_back_rotation, monkeypatch
):
    content, _, x, y = small_back_rotation
    upstream.files["/mnist_rotation_back_image_new.zip"] = content
    for _ in range(2):
        data = source("mnist_back_rotation").load(tmp_path)
        monkeypatch.setattr(back_rotation, "_parse", None)  # the second time it is not called
        assert (data.x == x).all() and (data.y == y).all()
        assert data.test_rows.tolist() == list(range(12, 32))
        assert data.name == "mnist_back_rotation" and data.info == {}
    assert len(upstream.asked) == 1
    (known,) = recorded(tmp_path).values()
    assert known["sha256"] == hashlib.sha256(content).hexdigest()
    assert [p.parent.name for p in tmp_path.rglob("*.npz")] == ["cache"]


def test_a_changed_or_cut_back_rotation_archive_is_not_kept(tmp_path, upstream, small_back_rotation):
    content, files, _, _ = small_back_rotation
    upstream.files["/mnist_rotation_back_image_new.zip"] = content[:-1000]
    with pytest.raises(BenchError, match="cut short or damaged .* was removed; try again"):
        source("mnist_back_rotation").load(tmp_path)
    assert left(tmp_path) == []
    upstream.files["/mnist_rotation_back_image_new.zip"] = content
    source("mnist_back_rotation").load(tmp_path)
    (tmp_path / back_rotation.PLACE).unlink()
    upstream.files["/mnist_rotation_back_image_new.zip"] = zipped(files | {"more": b""})
    with pytest.raises(BenchError, match=hashlib.sha256(content).hexdigest()):
        source("mnist_back_rotation").load(tmp_path)


def test_a_back_rotation_archive_that_changed_since_its_download_is_refused(tmp_path, upstream, small_back_rotation):
    content, files, _, _ = small_back_rotation
    upstream.files["/mnist_rotation_back_image_new.zip"] = content
    source("mnist_back_rotation").load(tmp_path)
    other = zipped(files | {"more": b""})
    put(tmp_path, {back_rotation.PLACE: other})
    with pytest.raises(BenchError) as error:
        source("mnist_back_rotation").load(tmp_path)
    path = tmp_path / back_rotation.PLACE
    for words in (hashlib.sha256(content).hexdigest(), hashlib.sha256(other).hexdigest(), f"remove {path}"):
        assert words in str(error.value)
    (tmp_path / fetch.CHECKSUMS).unlink()  # put there by hand: no sum is known
    source("mnist_back_rotation").load(tmp_path)


def test_without_a_network_it_names_the_stand_in(tmp_path, upstream):
    with pytest.raises(BenchError, match="cannot download .*404.* dataset=mnist_back_rotation_generated"):
        source("mnist_back_rotation").load(tmp_path)


def test_bad_back_rotation_archives_that_lie_there(tmp_path, small_back_rotation):
    content, files, x, y = small_back_rotation
    train, test = files
    for bad, words in (
        (content[:-1000], "cut short or damaged"),
        (b"", "cut short or damaged"),
        (zipped({train: files[train]}), f"holds no {test}"),
        (zipped(files | {test: files[train]}), f"{test} in .* has 12 rows of 785 numbers, expected 20 of 785"),
        (zipped(files | {train: amat(x[:12] / 255, y[:12] + 5)}), "the last a digit"),
        (zipped(files | {train: b"some words\n"}), "cut short or damaged"),
    ):
        put(tmp_path, {back_rotation.PLACE: bad})
        with pytest.raises(BenchError, match=words) as error:
            source("mnist_back_rotation").load(tmp_path)
        assert f"remove {tmp_path / back_rotation.PLACE}" in str(error.value)
    assert not list(tmp_path.rglob("*.npz"))


# ... its stand-in


@pytest.fixture
def small_stand_in(tmp_path, digits, monkeypatch):
    """A stand-in of 20 training and 40 test images, from 60 and 20 digits."""
    monkeypatch.setattr(back_rotation, "TRAIN", 20)
    monkeypatch.setattr(back_rotation, "TEST", 40)
    put_mnist(tmp_path, digits)
    return tmp_path


def test_no_digit_is_in_both_parts_of_the_stand_in(small_stand_in, monkeypatch):
    monkeypatch.setattr(back_rotation, "rotated", lambda x, angles: x.astype(np.float32))
    monkeypatch.setattr(back_rotation, "_patches", lambda n, rng: np.zeros((n, 28, 28), np.float32))
    (train_x, train_y), (test_x, test_y) = mnist.read(small_stand_in)
    known = {x.tobytes(): int(y) for x, y in zip(np.concatenate([train_x, test_x]), np.concatenate([train_y, test_y]))}
    data = source("mnist_back_rotation_generated").load(small_stand_in)
    assert data.x.shape == (60, 1, 28, 28)
    assert [known[x.tobytes()] for x in data.x] == data.y.tolist()
    assert len({x.tobytes() for x in data.x}) == 60
    own = {x.tobytes() for x in train_x}
    assert all(x.tobytes() in own for x in data.x[:20])
    assert {x.tobytes() for x in test_x} <= {x.tobytes() for x in data.x[data.test_rows]}


def test_the_stand_in_says_that_it_is_one_and_is_made_once(small_stand_in, monkeypatch):
    data = source("mnist_back_rotation_generated").load(small_stand_in)
    assert data.name == "mnist_back_rotation_generated"
    assert data.info["generated"] is True and "photographs" in data.info["recipe"]
    assert data.info["pixels_sha256"] == hashlib.sha256(data.x.tobytes()).hexdigest()[:16]
    other = source("mnist_back_rotation_generated", seed=1).load(small_stand_in)
    monkeypatch.setattr(back_rotation, "generate", None)
    again = source("mnist_back_rotation_generated").load(small_stand_in)
    assert (again.x == data.x).all() and (again.x != other.x).any()
    with pytest.raises(BenchError, match="dataset.seed=-1"):
        source("mnist_back_rotation_generated", seed=-1)


def test_the_stand_in_is_the_same_wherever_it_is_made(small_stand_in):
    first = source("mnist_back_rotation_generated").load(small_stand_in)
    shutil.rmtree(small_stand_in / "cache")
    assert (source("mnist_back_rotation_generated").load(small_stand_in).x == first.x).all()


def test_the_stand_in_has_white_digits_over_textured_grey(monkeypatch):
    monkeypatch.setattr(back_rotation, "TRAIN", 300)
    monkeypatch.setattr(back_rotation, "TEST", 300)
    blank, ink = np.zeros((300, 1, 28, 28), np.uint8), np.full((300, 1, 28, 28), 255, np.uint8)
    x = back_rotation.generate((blank, np.zeros(300)), (ink, np.ones(300)), seed=0)["x"]
    assert (x[300:] == 255).all()  # all ink: white over any background
    assert x[:300].std(axis=(1, 2)).min() > 0.0999 * 255  # no ink: the background, textured everywhere
    assert 0.2 < x[:300].mean() / 255 < 0.7


def test_rotation_by_right_angles_moves_pixels_and_changes_none():
    x = images(3, 1, 28)[:, 0]
    for quarters in range(5):
        turned = back_rotation.rotated(x, np.full(3, quarters * np.pi / 2))
        sides = [np.rot90(x, k, axes=(1, 2)) for k in (quarters, -quarters)]
        assert min(np.abs(turned - side).max() for side in sides) < 1e-2
    one, all_three = back_rotation.rotated(x[:1], np.array([1.0])), back_rotation.rotated(x, np.array([1.0, 2, 3]))
    assert (one[0] == all_three[0]).all()


def test_a_small_rotation_interpolates_and_keeps_the_edge():
    x = np.tile(np.arange(28, dtype=np.uint8) * 9, (1, 28, 1))  # brighter to the right
    turned = back_rotation.rotated(x, np.array([0.1]))
    centre = np.arange(28) - 13.5
    expected = 9 * (13.5 + np.cos(0.1) * centre[None] - np.sin(0.1) * centre[:, None])
    inside = (expected > 0) & (expected < 9 * 27)
    np.testing.assert_allclose(turned[0][inside], expected[inside], atol=0.01)
    assert turned.min() == 0 and turned.max() == 9 * 27
    np.testing.assert_allclose(back_rotation.rotated(np.full((1, 28, 28), 77, np.uint8), np.array([0.7])), 77, 1e-5)


def test_copies_are_mirrored_and_rotated():
    x = images(5, 1, 28)[:, 0]
    four = back_rotation.enlarged(x, 4).reshape(4, 5, 28, 28)
    for found, expected in zip(four, (x, x[:, ::-1, ::-1], x[:, :, ::-1], x[:, ::-1, :])):
        assert (found == expected).all()
    ten = back_rotation.enlarged(x, 10).reshape(10, 5, 28, 28)
    assert (ten[0] == x).all() and (ten[5] == x[:, :, ::-1]).all()
    np.testing.assert_allclose(ten[1], back_rotation.rotated(x, np.full(5, np.deg2rad(72))), atol=0.5)
    assert len({copy.tobytes() for copy in ten}) == 10


def test_ten_copies_enlarge_the_training_part_alone(small_stand_in, monkeypatch):
    one = source("mnist_back_rotation_generated").load(small_stand_in)
    ten = source("mnist_back_rotation_generated_x10").load(small_stand_in)
    assert ten.info["copies"] == 10 and ten.info["generated"] is True
    assert len(ten.y) == 200 + 40
    assert (ten.x[ten.test_rows] == one.x[one.test_rows]).all()
    assert (ten.y[ten.test_rows] == one.y[one.test_rows]).all()
    assert ten.y[:200].reshape(10, 20).tolist() == [one.y[:20].tolist()] * 10
    assert (ten.x[:20] == one.x[:20]).all()
    monkeypatch.setattr(back_rotation, "enlarged", None)
    assert (source("mnist_back_rotation_generated_x10").load(small_stand_in).x == ten.x).all()


def test_copies_of_an_image_are_in_one_part(small_stand_in):
    ten = source("mnist_back_rotation_generated_x10").load(small_stand_in)
    assert (ten.y == ten.y[np.unique(ten.groups, return_index=True)[1][ten.groups]]).all()
    assert np.bincount(ten.groups).tolist() == [10] * 20 + [1] * 40
    few = replace(ten, y=ten.y % 2, class_names=("even", "odd"))  # no class of so few images that a part has none
    assert len(runs(few)[0].task.train) == 200
    for protocol in ("holdout_kfold", "official_test"):
        task = runs(few, protocol=protocol)[0].task
        assert len(task.valid) and not set(few.groups[task.train.ids]) & set(few.groups[task.valid.ids])
    one = source("mnist_back_rotation_generated").load(small_stand_in)
    assert one.groups is None


@pytest.mark.parametrize("copies", [0, 3, -2])
def test_bad_copies(copies):
    with pytest.raises(BenchError, match=f"dataset.copies={copies} must be .*1 or an even number"):
        source("mnist_back_rotation", copies=copies)


@pytest.mark.real_data
@pytest.mark.slow
def test_the_real_stand_in(real_data):
    data = source("mnist_back_rotation_generated").load(real_data("mnist"))
    made = runs(data, "four_random_90", trials=3)
    assert (len(data.y), len(made[0].test)) == (62_000, 50_000)
    assert all(r.test is made[0].test for r in made)
    assert np.bincount(data.y).min() > 5000


# What is kept


def test_made_arrays_are_kept_and_remade_when_damaged(tmp_path):
    calls = []

    def make():
        calls.append(1)
        return {"x": np.arange(5)}

    for _ in range(2):
        assert cached(tmp_path, "a-1", make)["x"].tolist() == [0, 1, 2, 3, 4]
    assert len(calls) == 1
    (tmp_path / "cache/a-1.npz").write_bytes((tmp_path / "cache/a-1.npz").read_bytes()[:-30])
    assert cached(tmp_path, "a-1", make)["x"].tolist() == [0, 1, 2, 3, 4]
    assert len(calls) == 2
    cached(tmp_path, "a-1", make)
    assert len(calls) == 2
    assert left(tmp_path) == ["cache/a-1.npz"]


def test_a_folder_that_is_not_for_writing_is_left_alone(tmp_path, own_cache):
    (folder := tmp_path / "shared").mkdir(mode=0o555)
    cached(folder, "a-1", lambda: {"x": np.arange(5)})
    assert list(folder.iterdir()) == []
    assert [str(p.relative_to(own_cache)) for p in own_cache.rglob("*.npz")] == ["imbalance_bench/a-1.npz"]
    assert cached(folder, "a-1", None)["x"].tolist() == [0, 1, 2, 3, 4]


def test_where_nothing_can_be_written_arrays_are_made_each_time(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    for _ in range(2):
        assert cached(tmp_path / "file/data", "a-1", lambda: {"x": np.arange(5)})["x"].sum() == 10


# CIFAR-10 as JPEG


@pytest.fixture
def small_jpeg(tmp_path):
    x = np.repeat(np.arange(30, dtype=np.uint8)[:, None, None, None] * 8, 3, axis=3).repeat(32, 1).repeat(32, 2)
    x[..., 2] = 0
    names = [f"kind {i}" for i in range(10)]
    for part, rows in (("train", slice(20)), ("test", slice(20, 30))):
        put(tmp_path, {f"cifar10_jpeg/cifar10_jpeg_{part}.npz": jpeg_file(x[rows], np.arange(30)[rows] % 10, names)})
    return tmp_path, x


def test_cifar10_jpeg(small_jpeg, monkeypatch):
    folder, x = small_jpeg
    for _ in range(2):
        data = source("cifar10_jpeg").load(folder)
        monkeypatch.setattr(Image, "open", None)  # decoded once
        assert data.x.shape == (30, 3, 32, 32) and data.x.dtype == np.uint8
        assert np.abs(data.x.astype(int) - x.transpose(0, 3, 1, 2)).max() < 16
        assert data.y.tolist() == [i % 10 for i in range(30)]
        assert data.test_rows.tolist() == list(range(20, 30))
        assert data.class_names[3] == "kind 3"
        assert data.name == "cifar10_jpeg" and "not CIFAR-10" in data.info["lossy"]


def test_cifar10_jpeg_that_is_not_there(tmp_path):
    with pytest.raises(BenchError, match="needs cifar10_jpeg_train.npz and .* cannot be downloaded.*image_folder"):
        source("cifar10_jpeg").load(tmp_path)


def test_cifar10_jpeg_with_a_damaged_image(small_jpeg):
    folder, _ = small_jpeg
    path = folder / "cifar10_jpeg/cifar10_jpeg_test.npz"
    with np.load(path) as file:
        arrays = dict(file)
    arrays["jpeg"] = np.zeros_like(arrays["jpeg"])
    np.savez(path, **arrays)
    with pytest.raises(BenchError, match="cifar10_jpeg_test.npz is cut short or damaged"):
        source("cifar10_jpeg").load(folder)


@pytest.mark.real_data
@pytest.mark.slow
def test_real_cifar10_jpeg(real_data):
    data = source("cifar10_jpeg").load(real_data("cifar10_jpeg"))
    task = runs(data, "minor_cifar10")[0].task
    assert task.counts.tolist() == [50, 4500, 50, 4500, 4500, 4500, 50, 50, 4500, 4500]
    assert task.minority_classes == (0, 2, 6, 7)
    assert len(task.withdrawn) == 22_800


# SVHN, CIFAR, STL-10: the files that torchvision knows, on a server of our own


def served(upstream, names, content):
    """Addresses on this machine for files, which are published there."""
    upstream.files |= {f"/{name}": part for name, part in zip(names, content)}
    return [f"{fetch.SITES['uci']}/{name}" for name in names]


@pytest.fixture
def svhn(upstream, monkeypatch):
    from scipy.io import savemat
    from torchvision.datasets import SVHN

    x, y = images(30, 3, 32), np.arange(30) % 10
    files = {}
    for part, rows in (("train", slice(20)), ("test", slice(20, 30))):
        buffer = io.BytesIO()
        label = np.where(y[rows] == 0, 10, y[rows])[:, None].astype(np.uint8)
        savemat(buffer, {"X": x[rows].transpose(2, 3, 1, 0), "y": label}, do_compression=True)
        files[f"{part}_32x32.mat"] = buffer.getvalue()
    urls = served(upstream, files, files.values())
    known = {n.partition("_")[0]: [url, n, md5(c)] for url, (n, c) in zip(urls, files.items())}
    monkeypatch.setattr(SVHN, "split_list", known)
    return "svhn", files, x, y, tuple("0123456789")


def cifar(upstream, monkeypatch, known, label, folder, batches, names_key):
    x, y = images(30, 3, 32), np.arange(30) % 10
    names = [f"kind {i}" for i in range(10)]
    key = "labels" if label == "cifar10" else "fine_labels"
    rows = np.array_split(np.arange(20), len(batches) - 2) + [np.arange(20, 30)]
    held = {
        name: pickle.dumps({"data": x[r].reshape(len(r), -1), key: y[r].tolist(), "coarse_labels": [0] * len(r)})
        for name, r in zip(batches, rows)
    }
    held[batches[-1]] = pickle.dumps({names_key: names})
    content = archive({f"{folder}/{name}": part for name, part in held.items()})
    (url,) = served(upstream, [known.filename], [content])
    monkeypatch.setattr(known, "url", url)
    monkeypatch.setattr(known, "tgz_md5", md5(content))
    monkeypatch.setattr(known, "train_list", [[n, md5(held[n])] for n in batches[:-2]])
    monkeypatch.setattr(known, "test_list", [[batches[-2], md5(held[batches[-2]])]])
    monkeypatch.setattr(known, "meta", {"filename": batches[-1], "key": names_key, "md5": md5(held[batches[-1]])})
    files = {known.filename: content} | {f"{folder}/{name}": part for name, part in held.items()}
    return label, files, x, y, tuple(names)


@pytest.fixture
def cifar10(upstream, monkeypatch):
    from torchvision.datasets import CIFAR10

    batches = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta"]
    return cifar(upstream, monkeypatch, CIFAR10, "cifar10", "cifar-10-batches-py", batches, "label_names")


@pytest.fixture
def cifar100(upstream, monkeypatch):
    from torchvision.datasets import CIFAR100

    batches = ["train", "test", "meta"]
    return cifar(upstream, monkeypatch, CIFAR100, "cifar100", "cifar-100-python", batches, "fine_label_names")


@pytest.fixture
def stl10(upstream, monkeypatch):
    from torchvision.datasets import STL10

    x, y = images(30, 3, 96), np.arange(30) % 10
    held = {}
    for part, rows in (("train", slice(20)), ("test", slice(20, 30))):
        held[f"{part}_X.bin"] = x[rows].transpose(0, 1, 3, 2).tobytes()
        held[f"{part}_y.bin"] = (y[rows] + 1).astype(np.uint8).tobytes()
    content = archive({f"stl10_binary/{n}": c for n, c in {"unlabeled_X.bin": b"many more", **held}.items()})
    (url,) = served(upstream, [STL10.filename], [content])
    monkeypatch.setattr(STL10, "url", url)
    monkeypatch.setattr(STL10, "tgz_md5", md5(content))
    for name in ("train", "test"):
        lists = [[n, md5(held[n])] for n in held if n.startswith(name)]
        monkeypatch.setattr(STL10, f"{name}_list", lists + ([["unlabeled_X.bin", "0" * 32]] if name == "train" else []))
    files = {STL10.filename: content} | {f"stl10_binary/{n}": c for n, c in held.items()}
    kinds = ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")
    return "stl10", files, x, y, kinds


@pytest.fixture(params=["svhn", "cifar10", "cifar100", "stl10"])
def known_set(request):
    return request.getfixturevalue(request.param)


def check(data, label, x, y, names):
    assert data.name == label and data.modality == "image"
    assert data.x.dtype == np.uint8 and (data.x == x).all()
    assert data.y.dtype == np.int64 and (data.y == y).all()
    assert data.class_names == names
    assert data.test_rows.tolist() == list(range(20, 30)) and data.valid_rows is None
    assert len(runs(data)[0].task.train) == 20


def test_known_sets_are_downloaded_once(tmp_path, upstream, known_set):
    label, files, x, y, names = known_set
    packed = [name for name in files if "/" not in name]
    for _ in range(2):
        check(source(label).load(tmp_path), label, x, y, names)
    assert sorted(upstream.asked) == sorted(f"/{name}" for name in packed)
    assert sorted(recorded(tmp_path)) == sorted(packed)


def test_known_sets_that_lie_there_unpacked(tmp_path, upstream, known_set):
    label, files, x, y, names = known_set
    put(tmp_path, {name: c for name, c in files.items() if label == "svhn" or "/" in name})
    check(source(label).load(tmp_path), label, x, y, names)
    assert not upstream.asked


def test_known_sets_that_arrive_changed_or_cut_are_not_kept(tmp_path, upstream, known_set):
    label, files, *_ = known_set
    name, content = next(iter(files.items()))
    upstream.files[f"/{name}"] = content[:-5]
    with pytest.raises(
        BenchError, match=f"{name}.*md5 {md5(content[:-5])} is not the expected {md5(content)}.*removed"
    ):
        source(label).load(tmp_path)
    upstream.files[f"/{name}"] = content
    upstream.short.add(f"/{name}")
    with pytest.raises(BenchError, match=f"cannot download .*{name}"):
        source(label).load(tmp_path)
    assert left(tmp_path) == []


@pytest.mark.parametrize("unpacked", [False, True])
def test_damaged_files_of_known_sets_are_named(tmp_path, upstream, known_set, unpacked):
    label, files, *_ = known_set
    chosen = {n: c for n, c in files.items() if label == "svhn" or ("/" in n) == unpacked}
    put(tmp_path, chosen)
    name, content = list(chosen.items())[-1]
    put(tmp_path, {name: content[:-5]})
    with pytest.raises(BenchError) as error:
        source(label).load(tmp_path)
    for words in (str(tmp_path / name), md5(content), md5(content[:-5]), "cut short", "remove"):
        assert words in str(error.value)
    assert not upstream.asked


def test_an_archive_that_lacks_a_file(tmp_path, cifar10, monkeypatch):
    from torchvision.datasets import CIFAR10

    monkeypatch.setattr(CIFAR10, "tgz_md5", md5(other := archive({"cifar-10-batches-py/data_batch_1": b""})))
    put(tmp_path, {CIFAR10.filename: other})
    with pytest.raises(BenchError, match="cifar-10-python.tar.gz holds no data_batch_2"):
        source("cifar10").load(tmp_path)


def test_a_pickle_whose_sum_is_wrong_is_not_opened(tmp_path, cifar10):
    _, files, *_ = cifar10

    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "opened",))

    put(tmp_path, {n: c for n, c in files.items() if "/" in n})
    put(tmp_path, {"cifar-10-batches-py/test_batch": pickle.dumps(Evil())})
    with pytest.raises(BenchError, match="test_batch: md5"):
        source("cifar10").load(tmp_path)
    assert not (tmp_path / "opened").exists()


# The user's own images


def picture(path, shade, size=(6, 8), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new(mode, (size[1], size[0]), shade if mode == "L" else (shade, 0, 255 - shade))
    image.save(path)


@pytest.fixture
def pets(tmp_path):
    for i in range(8):
        picture(tmp_path / f"pets/dog/{i}.png", 10 + i)
    for i in range(5):
        picture(tmp_path / f"pets/cat/{i}.PNG", 100 + i)
    for i in range(6):
        picture(tmp_path / f"pets/bird/more/{i}.png", 200 + i)
    (tmp_path / "pets/readme.txt").write_text("")
    (tmp_path / "pets/cat/notes.txt").write_text("")
    return tmp_path / "pets"


def own(path, **options):
    return source("image_folder", path=str(path), **options)


def test_own_images(pets):
    data = own(pets).load(Path("unused"))
    assert data.name == "pets" and data.class_names == ("bird", "cat", "dog")
    assert data.x.shape == (19, 3, 6, 8) and data.x.dtype == np.uint8
    assert data.y.tolist() == [0] * 6 + [1] * 5 + [2] * 8
    assert data.x[:, 0, 0, 0].tolist() == [*range(200, 206), *range(100, 105), *range(10, 18)]
    assert (data.x[:, 0] + data.x[:, 2] == 255).all()
    assert data.test_rows is None
    made = runs(data, protocol="repeated_holdout", repeats=2)
    assert [r.task.train.x.shape[1:] for r in made] == [(3, 6, 8)] * 2


def test_own_images_resized_and_grey(pets):
    data = own(pets, size=[4, 5], channels=1).load(Path())
    assert data.x.shape == (19, 1, 4, 5)
    assert (data.x[0] == data.x[0, 0, 0, 0]).all()


def test_own_images_in_parts(tmp_path, pets):
    for part, n in (("train", 4), ("valid", 2), ("test", 3)):
        for c in ("cat", "dog"):
            for i in range(n):
                picture(tmp_path / "split" / part / c / f"{i}.png", i, mode="L")
    data = own(tmp_path / "split").load(Path())
    assert (len(data.y), data.valid_rows.tolist(), data.test_rows.tolist()) == (18, [*range(8, 12)], [*range(12, 18)])
    run = runs(data)[0]
    assert [len(p) for p in (run.task.train, run.task.valid, run.test)] == [8, 4, 6]


def test_of_two_classes_the_rarer_one_is_positive(pets):
    shutil.rmtree(pets / "dog")
    data = own(pets).load(Path())
    assert data.class_names == ("bird", "cat") and data.y.sum() == 5
    for i in range(5, 9):
        picture(pets / f"cat/{i}.png", i)
    assert own(pets).load(Path()).class_names == ("cat", "bird")


def test_a_photograph_is_turned_upright(pets):
    image = Image.new("RGB", (6, 8))
    image.putpixel((0, 0), (255, 255, 255))
    tags = Image.Exif()
    tags[0x0112] = 6  # to be turned clockwise
    image.save(pets / "cat/turned.png", exif=tags)
    data = own(pets).load(Path())
    turned = data.x[[i for i in range(len(data.y)) if data.x[i].sum() == 3 * 255]]
    assert turned.shape == (1, 3, 6, 8) and turned[0, 0, 0, 7] == 255


def test_own_images_are_known_by_their_content(tmp_path, pets):
    first = own(pets).fingerprint()
    copy = Path(shutil.copytree(pets, tmp_path / "elsewhere"))
    assert own(copy).fingerprint() == first
    picture(copy / "cat/0.PNG", 7)
    assert own(copy).fingerprint() != first
    picture(copy / "cat/0.PNG", 100)
    assert own(copy).fingerprint() == first
    (copy / "cat/0.PNG").rename(copy / "dog/0a.png")
    assert own(copy).fingerprint() != first


def broken(pets, kind):
    path = pets / "cat/2.PNG"
    if kind == "cut":
        path.write_bytes(path.read_bytes()[:-30])
    elif kind == "words":
        path.write_text("no image")
    elif kind == "empty class":
        (pets / "fish").mkdir()
    elif kind == "one class":
        shutil.rmtree(pets / "dog"), shutil.rmtree(pets / "bird")
    elif kind == "another size":
        picture(path, 1, (9, 9))
    elif kind == "16 bits":
        Image.fromarray(np.zeros((6, 8), np.uint16)).save(path)
    elif kind == "no folders":
        shutil.rmtree(pets)
        picture(pets / "1.png", 1)
    elif kind == "absent":
        shutil.rmtree(pets)
    elif kind in ("test alone", "val"):
        for c in list(pets.iterdir()):
            c.unlink() if c.is_file() else shutil.rmtree(c)
        for part in ("train", "val", "test") if kind == "val" else ("train", "valid"):
            picture(pets / part / "cat/1.png", 1)
    elif kind == "class missing in a part":
        shutil.move(pets, pets.parent / "all")
        shutil.copytree(pets.parent / "all", pets / "train")
        shutil.copytree(pets.parent / "all/cat", pets / "test/cat")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("cut", "cat/2.PNG cannot be read as an image .*fix or remove it"),
        ("words", "cat/2.PNG cannot be read as an image .*fix or remove it"),
        ("empty class", "pets/fish holds no image .*or remove the class"),
        ("one class", "one class only .'cat'.: nothing to tell apart"),
        ("another size", r"differ in size: 6 x 8 .* and 9 x 9 .*2.PNG.: set 'dataset.size=\[height, width\]'"),
        ("16 bits", "2.PNG has pixels of more than 8 bits: save it with 8 bits a channel"),
        ("no folders", "pets holds no folders: dataset.path=.* must hold one folder a class"),
        ("absent", "dataset.path=.*pets cannot be read: No such file"),
        ("test alone", "holds train, valid: a folder of parts holds train and test, perhaps valid, and nothing else$"),
        ("val", "and nothing else; 'val': did you mean valid"),
        ("class missing in a part", "pets/test/bird holds no image .*every class needs some in every part"),
    ],
)
def test_bad_folders_say_what_to_change(pets, kind, words):
    broken(pets, kind)
    with pytest.raises(BenchError, match=words):
        own(pets).load(Path())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"path": None}, "needs a folder with one folder a class: dataset.path="),
        ({"channels": 4}, "dataset.channels=4 must be one of 1, 3 .1: grey, 3: colour"),
        ({"size": [32]}, r"dataset.size=\[32\] must be a list of 2 .*\[height, width\]"),
        ({"size": [0, 5]}, "dataset.size="),
    ],
)
def test_bad_options(options, words):
    with pytest.raises(BenchError, match=words):
        source("image_folder", **options).load(Path())
