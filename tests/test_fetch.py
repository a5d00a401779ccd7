"""Downloads, from a server on this machine: held to their sums, whole or not at all, with errors that help."""

import errno
import hashlib
import io
import json
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest

from imbalance_bench.data import fetch
from imbalance_bench.data.fetch import fetch_archive, fetch_file, recorded
from imbalance_bench.data.sources.imblearn import SETS
from imbalance_bench.errors import BenchError
from imbalance_bench.registry import DATASETS
from tests.tasks import option

CONTENT = b"some data\n" * 1000
SUM = hashlib.sha256(CONTENT).hexdigest()


def get(folder, sha256=None):
    url = f"{fetch.SITES['uci']}/set/a.data"
    return fetch_file(url, folder, "set/a.data", f"sha256:{sha256}" if sha256 else None)


def left(folder):
    """Files in ``folder``, but for the lock."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file() and p.name != ".lock")


def test_a_download_is_kept_and_not_repeated(tmp_path, upstream):
    upstream.files["/set/a.data"] = CONTENT
    assert get(tmp_path, SUM).read_bytes() == CONTENT
    get(tmp_path, SUM)
    assert upstream.asked == ["/set/a.data"]
    assert recorded(tmp_path)["set/a.data"]["sha256"] == SUM
    assert left(tmp_path) == ["checksums.json", "set/a.data"]


def test_a_file_that_lies_there_is_not_touched(tmp_path, upstream):
    (tmp_path / "set").mkdir()
    (tmp_path / "set/a.data").write_bytes(b"put here by hand")
    assert get(tmp_path, SUM).read_bytes() == b"put here by hand"
    assert not upstream.asked and left(tmp_path) == ["set/a.data"]


def test_a_corrupt_download_names_both_sums_and_is_removed(tmp_path, upstream):
    upstream.files["/set/a.data"] = CONTENT[:-1] + b"?"
    found = hashlib.sha256(CONTENT[:-1] + b"?").hexdigest()
    with pytest.raises(BenchError) as error:
        get(tmp_path, SUM)
    assert SUM in str(error.value) and found in str(error.value) and "removed" in str(error.value)
    assert left(tmp_path) == []


def test_the_sum_met_first_is_held_to(tmp_path, upstream):
    upstream.files["/set/a.data"] = CONTENT
    get(tmp_path).unlink()
    upstream.files["/set/a.data"] = b"changed upstream"
    with pytest.raises(BenchError, match=SUM):
        get(tmp_path)
    assert left(tmp_path) == ["checksums.json"]
    upstream.files["/set/a.data"] = CONTENT
    assert get(tmp_path).read_bytes() == CONTENT


def test_a_connection_that_breaks_leaves_nothing(tmp_path, upstream):
    upstream.files["/set/a.data"] = CONTENT
    upstream.short.add("/set/a.data")
    with pytest.raises(BenchError, match="cannot download .*/set/a.data"):
        get(tmp_path)
    assert left(tmp_path) == []


def test_without_a_network_it_says_where_to_put_the_file(tmp_path, upstream, monkeypatch):
    monkeypatch.setitem(fetch.SITES, "uci", "http://127.0.0.1:9")  # nobody listens there
    with pytest.raises(BenchError) as error:
        get(tmp_path)
    place = str(tmp_path / "set/a.data")
    for words in ("http://127.0.0.1:9/set/a.data", "no connection", place, "IMBALANCE_BENCH_DATA"):
        assert words in str(error.value)


def test_a_file_that_is_gone_upstream(tmp_path, upstream):
    with pytest.raises(BenchError, match="404"):
        get(tmp_path)
    assert left(tmp_path) == []


@pytest.mark.parametrize(("number", "words"), [(errno.ENOSPC, "the disk is full"), (errno.EIO, os.strerror(errno.EIO))])
def test_a_full_disk(tmp_path, upstream, monkeypatch, number, words):
    upstream.files["/set/a.data"] = CONTENT
    monkeypatch.setattr("pooch.HTTPDownloader.__call__", lambda *_: (_ for _ in ()).throw(OSError(number, words)))
    with pytest.raises(BenchError, match=f"cannot write .*a.data: {words}; .*IMBALANCE_BENCH_DATA"):
        get(tmp_path)
    assert left(tmp_path) == []


def test_a_folder_that_cannot_be_made(tmp_path, upstream):
    (tmp_path / "file").write_text("")
    with pytest.raises(BenchError, match="cannot write .*IMBALANCE_BENCH_DATA"):
        get(tmp_path / "file/data")


def test_damaged_checksums(tmp_path):
    (tmp_path / "checksums.json").write_text("{")
    with pytest.raises(BenchError, match="checksums.json is damaged"):
        recorded(tmp_path)


# Archives


def npz(rows, features, positives):
    buffer = io.BytesIO()
    np.savez(buffer, data=np.zeros((rows, features)), label=np.where(np.arange(rows) < positives, 1, -1))
    return buffer.getvalue()


def archive(members):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def publish(upstream, content, md5=None):
    name = "benchmark-imbalanced-learn.tar.gz"
    upstream.files[f"/records/61452/files/{name}"] = content
    md5 = md5 or hashlib.md5(content).hexdigest()
    upstream.files["/api/records/61452"] = json.dumps({"files": [{"key": name, "checksum": f"md5:{md5}"}]}).encode()


ECOLI = npz(*SETS["ecoli"][1:])


def load(folder, label="ecoli"):
    return DATASETS.build(option("dataset", label)).load(folder)


def test_the_benchmark_archive(tmp_path, upstream):
    members = {"./x1data.npz": ECOLI, "x18data.npz": npz(*SETS["oil"][1:]), "../../evil.txt": b"", "README": b"hello"}
    publish(upstream, archive(members))
    assert load(tmp_path).y.sum() == 35
    assert load(tmp_path, "oil").y.sum() == 41
    assert len(upstream.asked) == 2  # the record and the archive, once
    files = ["imblearn_benchmark/zenodo/x18data.npz", "imblearn_benchmark/zenodo/x1data.npz"]
    assert left(tmp_path) == ["checksums.json", *files]
    assert not (tmp_path.parent / "evil.txt").exists()
    assert recorded(tmp_path)[files[1]]["sha256"] == hashlib.sha256(ECOLI).hexdigest()


def test_a_corrupt_archive_is_held_to_the_sum_of_its_record(tmp_path, upstream):
    content = archive({"x1data.npz": ECOLI})
    publish(upstream, content, md5="0" * 32)
    with pytest.raises(BenchError) as error:
        load(tmp_path)
    assert "0" * 32 in str(error.value) and hashlib.md5(content).hexdigest() in str(error.value)
    assert left(tmp_path) == []


def test_what_is_no_archive_leaves_nothing(tmp_path, upstream):
    publish(upstream, b"not an archive")
    with pytest.raises(BenchError, match="not a readable archive"):
        load(tmp_path)
    assert left(tmp_path) == []


def test_an_archive_cut_short_leaves_nothing(tmp_path, upstream):
    rng = np.random.default_rng(0)
    whole = archive({"x1data.npz": ECOLI, "x18data.npz": rng.bytes(50_000)})
    publish(upstream, whole[:-20_000])
    with pytest.raises(BenchError, match="not a readable archive"):
        load(tmp_path)
    assert left(tmp_path) == []


def test_an_archive_without_the_set(tmp_path, upstream):
    publish(upstream, archive({"x2data.npz": ECOLI}))
    with pytest.raises(BenchError, match="holds no x1data.npz"):
        load(tmp_path)


def test_sets_that_lie_there_are_not_overwritten(tmp_path, upstream):
    place = tmp_path / "imblearn_benchmark/zenodo"
    place.mkdir(parents=True)
    (place / "x18data.npz").write_bytes(mine := npz(*SETS["oil"][1:]))
    publish(upstream, archive({"x1data.npz": ECOLI, "x18data.npz": b"another"}))
    load(tmp_path)
    assert (place / "x18data.npz").read_bytes() == mine
    assert list(recorded(tmp_path)) == ["imblearn_benchmark/zenodo/x1data.npz"]


def test_a_set_that_changed_upstream_is_refused(tmp_path, upstream):
    publish(upstream, archive({"x1data.npz": ECOLI}))
    load(tmp_path)
    (tmp_path / "imblearn_benchmark/zenodo/x1data.npz").unlink()
    publish(upstream, archive({"x1data.npz": npz(336, 7, 34)}))
    with pytest.raises(BenchError, match=hashlib.sha256(ECOLI).hexdigest()):
        load(tmp_path)
    assert left(tmp_path) == ["checksums.json"]


def test_a_record_that_names_no_sum(tmp_path, upstream):
    publish(upstream, archive({"x1data.npz": ECOLI}))
    upstream.files["/api/records/61452"] = b'{"files": []}'
    with pytest.raises(BenchError, match="x1data.npz by hand"):
        fetch_archive("61452", "benchmark-imbalanced-learn.tar.gz", tmp_path, "z", ["x1data.npz"], "x1data.npz")
    assert left(tmp_path) == []


def test_adult_is_downloaded_from_its_address(tmp_path, upstream):
    upstream.files["/ml/machine-learning-databases/adult/adult.data"] = b"39, ?\n"
    with pytest.raises(BenchError, match="5b00264637dbfec36bdeaab5676b0b309ff9eb788d63554ca0a249491c86603d"):
        load(tmp_path, "adult")
    assert left(tmp_path) == []


def test_two_processes_download_once(tmp_path, upstream):
    from concurrent.futures import ThreadPoolExecutor

    upstream.files["/set/a.data"] = CONTENT
    with ThreadPoolExecutor(4) as pool:
        paths = list(pool.map(lambda _: get(tmp_path, SUM), range(4)))
    assert {p.read_bytes() for p in paths} == {CONTENT}
    assert upstream.asked == ["/set/a.data"]
    assert isinstance(paths[0], Path)
