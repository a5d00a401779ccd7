"""Downloads, from a server on this machine: held to their sums, whole or not at all, with errors that help."""

import errno
import gzip
import hashlib
import io
import json
import os
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest

from imbalance_bench.data import fetch
from imbalance_bench.data.fetch import cached, fetch_archive, fetch_file, recorded
from imbalance_bench.data.sources import back_rotation
from imbalance_bench.data.sources.imblearn import SETS
from imbalance_bench.errors import BenchError
from imbalance_bench.registry import DATASETS
from tests.tasks import option

CONTENT = b"some data\n" * 1000
SUM = hashlib.sha256(CONTENT).hexdigest()


def get(folder, sha256=None):
    url = f"{fetch.SITES['uci']}/set/a.data"
    return fetch_file(url, folder, "set/a.data", f"sha256:{sha256}" if sha256 else None, lambda _: None)


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


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"\xff\xfe",
        b"[]",
        b"null",
        b'{"set/a.data": null}',
        b'{"set/a.data": "0123"}',
        b'{"set/a.data": {"url": ""}}',
        b'{"set/a.data": {"sha256": null}}',
        b'{"set/a.data": {"sha256": "not hex"}}',
    ],
)
def test_damaged_checksums(tmp_path, upstream, content):
    upstream.files["/set/a.data"] = CONTENT
    (tmp_path / "checksums.json").write_bytes(content)
    with pytest.raises(BenchError, match="checksums.json is damaged .* remove it, and sums are recorded anew"):
        get(tmp_path)
    assert left(tmp_path) == ["checksums.json"]
    (tmp_path / "checksums.json").unlink()
    assert get(tmp_path).read_bytes() == CONTENT


PAGE = b"\n<!-- portal -->\n<!DOCTYPE html><html><body>Log in to the network</body></html>"


@pytest.mark.parametrize("page", [PAGE, b"<html>", b"  <HTML lang=en>"])
@pytest.mark.parametrize("sha256", [SUM, None])
def test_a_page_of_a_captive_portal_is_not_kept(tmp_path, upstream, page, sha256):
    upstream.files["/set/a.data"] = page
    with pytest.raises(BenchError, match="answered with a web page in place of a.data: a network that asks you to log"):
        get(tmp_path, sha256)
    assert left(tmp_path) == []
    upstream.files["/set/a.data"] = CONTENT
    assert get(tmp_path, sha256).read_bytes() == CONTENT


def test_without_a_pinned_sum_the_content_must_be_checked(tmp_path, upstream):
    with pytest.raises(ValueError, match="neither a pinned sum nor a check"):
        fetch_file("https://example.org/a", tmp_path, "a", None)


@pytest.mark.parametrize(
    ("label", "path", "content"),
    [
        ("amazon_books", "/reviews_Books_5.json.gz", b"\x1f\x8b no gzip"),
        ("amazon_books", "/reviews_Books_5.json.gz", gzip.compress(b'{"stars": 5}\n', mtime=0)),
        ("opinrank", "/kavgan/OpinRank/raw/master/OpinRankDatasetWithJudgments.zip", b"PK no zip"),
        ("toutiao", "/aceimnorstuvwxz/toutiao-text-classfication-dataset/raw/master/toutiao_cat_data.txt.zip", b"PK"),
    ],
)
def test_what_has_no_pinned_sum_is_opened_before_it_is_kept(tmp_path, upstream, label, path, content):
    upstream.files.update(dict.fromkeys((path, path.rpartition("/")[2]), content))
    with pytest.raises(BenchError, match="cut short, damaged or another file .*removed; try again"):
        load(tmp_path, label)
    assert left(tmp_path) == []


def test_plain_http_is_for_what_has_a_pinned_sum(tmp_path, upstream, monkeypatch):
    """127.0.0.1 counts as encrypted: what goes there passes no network. Here it does not."""
    upstream.files["/set/a.data"] = CONTENT
    monkeypatch.setattr(fetch, "HERE", ())
    with pytest.raises(BenchError) as error:
        get(tmp_path)
    for words in ("is not encrypted", "a.data", f"put it at {tmp_path / 'set/a.data'}"):
        assert words in str(error.value)
    assert left(tmp_path) == []
    assert get(tmp_path, SUM).read_bytes() == CONTENT


def test_the_sites_that_are_plain_http_have_pinned_sums():
    assert [name for name, url in fetch.SITES.items() if url.startswith("http://")] == ["lisa"]
    assert fetch.SUM.fullmatch(back_rotation.SUM)


@pytest.mark.parametrize("target", ["precious.txt", "missing.txt"])
def test_a_lock_file_that_is_a_link_is_not_opened(tmp_path, upstream, target):
    upstream.files["/set/a.data"] = CONTENT
    (tmp_path / "precious.txt").write_text("mine")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/.lock").symlink_to(tmp_path / target)
    with pytest.raises(BenchError, match="data/.lock is a link, and a lock file must not be one: remove it"):
        get(tmp_path / "data")
    assert (tmp_path / "precious.txt").read_text() == "mine" and not (tmp_path / "missing.txt").exists()
    (tmp_path / "data/.lock").unlink()
    assert get(tmp_path / "data").read_bytes() == CONTENT


def test_what_a_killed_process_left_is_cleared_and_not_written_through(tmp_path, upstream):
    upstream.files["/set/a.data"] = CONTENT
    (tmp_path / "set").mkdir()
    (tmp_path / "precious.txt").write_text("mine")
    (tmp_path / "set/.a.data.1234").write_text("half of it")
    (tmp_path / f"set/.a.data.{os.getpid()}").symlink_to(tmp_path / "precious.txt")
    (tmp_path / ".checksums.json.1234").write_text("{")
    get(tmp_path)
    assert left(tmp_path) == ["checksums.json", "precious.txt", "set/a.data"]
    assert (tmp_path / "precious.txt").read_text() == "mine"


def test_old_leftovers_of_a_cache_are_cleared(tmp_path):
    place = tmp_path / "cache"
    place.mkdir()
    for pid, age in ((1, 2 * fetch.STALE), (2, 0)):
        part = place / f".made.npz.{pid}"
        part.write_text("half of it")
        os.utime(part, (time.time() - age,) * 2)
    cached(tmp_path, "made", lambda: {"a": np.arange(3)})
    assert sorted(p.name for p in place.iterdir()) == [".made.npz.2", "made.npz"]  # another process may be at it


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


@pytest.mark.parametrize("checksum", [None, "crc32:0123abcd", "md5:", "d41d8cd98f00b204e9800998ecf8427e", 7])
def test_a_record_whose_sum_is_none(tmp_path, upstream, checksum):
    publish(upstream, archive({"x1data.npz": ECOLI}))
    files = [{"key": "benchmark-imbalanced-learn.tar.gz", "checksum": checksum}]
    upstream.files["/api/records/61452"] = json.dumps({"files": files}).encode()
    with pytest.raises(BenchError) as error:
        load(tmp_path)
    for words in ("states no sum of benchmark-imbalanced-learn.tar.gz", repr(checksum), "x1data.npz there by hand"):
        assert words in str(error.value)
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
