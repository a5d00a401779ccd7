"""Text sources: files as upstream has them, as JSON lines, and the user's own; what they say of bad ones."""

import gzip
import hashlib
import lzma
from pathlib import Path

import numpy as np
import pytest

from imbalance_bench.data.sources import imdb, opinrank, sms_spam, toutiao, zhang
from imbalance_bench.data.splits import RowsToSplit
from imbalance_bench.errors import BenchError
from imbalance_bench.registry import PROTOCOLS, RATIOS
from tests.sources import csv_file, json_lines, news, source, titles, zipped
from tests.tasks import option
from tests.test_fetch import archive


def put(folder, place, content):
    path = folder / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def counts(data):
    return np.bincount(data.y, minlength=data.classes).tolist()


def same(one, other):
    assert one.x.tolist() == other.x.tolist() and one.y.tolist() == other.y.tolist()
    assert one.class_names == other.class_names and one.info == other.info
    assert (one.test_rows is None) == (other.test_rows is None)
    return True


# Those that are fetched: as upstream has them


MESSAGES = 'ham\tOk lar...\nspam\t"FREE entry\tin 2\nham\tHe said "no\nham\tI\'m £5\n'


@pytest.fixture
def sms(monkeypatch):
    content = zipped({"SMSSpamCollection": MESSAGES.encode(), "readme": b"..."})
    monkeypatch.setattr(sms_spam, "ROWS", 4)
    monkeypatch.setattr(sms_spam, "SUM", f"sha256:{hashlib.sha256(content).hexdigest()}")
    return content


def test_sms_spam_plain_and_packed(tmp_path, sms):
    put(tmp_path / "a", "sms_spam/SMSSpamCollection", MESSAGES)
    put(tmp_path / "b", "sms_spam/smsspamcollection.zip", sms)
    data = source("sms_spam").load(tmp_path / "a")
    assert same(data, source("sms_spam").load(tmp_path / "b"))
    assert data.x.tolist() == ["Ok lar...", '"FREE entry\tin 2', 'He said "no', "I'm £5"]
    assert data.x.dtype == object and data.x.shape == (4,)
    assert (data.modality, data.language, data.class_names) == ("text", "en", ("ham", "spam"))
    assert data.y.tolist() == [0, 1, 0, 0] and data.y.dtype == np.int64
    assert data.encode(data.x, np.arange(2)) is data.x


def test_sms_spam_is_fetched(tmp_path, sms, upstream):
    upstream.files["/ml/machine-learning-databases/00228/smsspamcollection.zip"] = sms
    assert counts(source("sms_spam").load(tmp_path)) == [3, 1]
    upstream.files.clear()
    assert counts(source("sms_spam").load(tmp_path)) == [3, 1]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (MESSAGES[: MESSAGES.rindex("ham")], "SMSSpamCollection has 3 texts, expected 4"),
        (MESSAGES.replace("ham\tI", "eggs\tI"), "SMSSpamCollection, line 4: .eggs"),
        (MESSAGES.encode().replace(b"\xc2", b""), "SMSSpamCollection is cut short, damaged or another file"),
    ],
)
def test_a_bad_sms_file(tmp_path, sms, content, words):
    put(tmp_path, "sms_spam/SMSSpamCollection", content)
    with pytest.raises(BenchError, match=words):
        source("sms_spam").load(tmp_path)


REVIEWS = {  # part, class, number → text
    ("test", "pos", 0): "Fine",
    ("test", "pos", 1): "Lovely",
    ("test", "neg", 0): "Dull",
    ("train", "pos", 10): "Très bien <br />",
    ("train", "pos", 2): "Good",
    ("train", "neg", 0): "Bad",
}


@pytest.fixture
def acl_imdb(monkeypatch):
    members = {f"aclImdb/{p}/{c}/{i}_7.txt": text.encode() for (p, c, i), text in REVIEWS.items()}
    others = ("train/unsup/0_0.txt", "train/urls_pos.txt", "README")
    content = archive(members | {f"aclImdb/{name}": b"no review" for name in others})
    monkeypatch.setattr(imdb, "ROWS", 3)
    monkeypatch.setattr(imdb, "SUM", f"sha256:{hashlib.sha256(content).hexdigest()}")
    return content


def test_imdb_as_stanford_has_it_and_as_json_lines(tmp_path, acl_imdb):
    put(tmp_path / "a", "imdb/aclImdb_v1.tar.gz", acl_imdb)
    for part in ("train", "test"):
        rows = [{"label": c, "id": i, "rating": 7, "text": t} for (p, c, i), t in REVIEWS.items() if p == part]
        put(tmp_path / "b", f"imdb/imdb_{part}.jsonl.xz", json_lines(rows))
    data = source("imdb").load(tmp_path / "a")
    assert same(data, source("imdb").load(tmp_path / "b"))
    assert data.x.tolist() == ["Bad", "Good", "Très bien <br />", "Dull", "Fine", "Lovely"]
    assert data.y.tolist() == [0, 1, 1, 0, 1, 1] and data.class_names == ("negative", "positive")
    assert data.test_rows.tolist() == [3, 4, 5]
    other = source("imdb", positive="negative").load(tmp_path / "a")
    assert other.y.tolist() == [1, 0, 0, 1, 0, 0] and other.class_names == ("positive", "negative")


def test_imdb_is_fetched_and_read_once(tmp_path, acl_imdb, upstream, monkeypatch):
    upstream.files["/aclImdb_v1.tar.gz"] = acl_imdb
    data = source("imdb").load(tmp_path)
    monkeypatch.setattr(imdb, "_read", None)  # from here on what was kept must do
    assert same(data, source("imdb").load(tmp_path))
    assert upstream.asked == ["/aclImdb_v1.tar.gz"]


def test_a_corrupt_download_of_imdb(tmp_path, acl_imdb, upstream):
    upstream.files["/aclImdb_v1.tar.gz"] = acl_imdb[:-1] + b"?"
    with pytest.raises(BenchError, match=r"aclImdb_v1.tar.gz\S*: sha256 .* is not the expected .* removed"):
        source("imdb").load(tmp_path)
    assert not (tmp_path / "imdb/aclImdb_v1.tar.gz").exists()


def test_a_cut_imdb_archive(tmp_path, acl_imdb):
    put(tmp_path, "imdb/aclImdb_v1.tar.gz", acl_imdb[:200])
    with pytest.raises(BenchError, match="aclImdb_v1.tar.gz is cut short, damaged .* will be fetched again"):
        source("imdb").load(tmp_path)


def test_an_imdb_archive_that_lacks_reviews(tmp_path, acl_imdb, monkeypatch):
    monkeypatch.setattr(imdb, "ROWS", 25_000)
    put(tmp_path, "imdb/aclImdb_v1.tar.gz", acl_imdb)
    with pytest.raises(BenchError, match="aclImdb_v1.tar.gz has 3 texts, expected 25000"):
        source("imdb").load(tmp_path)


@pytest.fixture
def ag_news(tmp_path, monkeypatch):
    """A folder with 40 and 8 rows in AG's format."""
    monkeypatch.setattr(zhang, "AG_ROWS", {"train.csv": 40, "test.csv": 8})
    put(tmp_path, "ag_news/train.csv", news(40))
    put(tmp_path, "ag_news/test.csv", news(8, "test"))
    return tmp_path


def test_ag_news(ag_news):
    data = source("ag_news").load(ag_news)
    assert counts(data) == [12] * 4 and data.class_names == ("World", "Sports", "Business", "Sci/Tech")
    assert data.x[1] == 'Title 1 news "1" line two'
    assert data.test_rows.tolist() == list(range(40, 48)) and data.info == {}
    train = source("ag_news", part="train").load(ag_news)
    assert counts(train) == [10] * 4 and train.test_rows is None


def test_the_test_file_of_ag_news_alone(ag_news):
    (ag_news / "ag_news/train.csv").unlink()
    data = source("ag_news_test").load(ag_news)
    assert data.name == "ag_news_test" and counts(data) == [2] * 4 and data.test_rows is None
    assert "7,600" in data.info["stand_in"]


def test_the_subset_of_ag_news_has_the_official_test_rows(ag_news):
    (ag_news / "ag_news/train.csv").unlink()
    put(ag_news, "ag_news/train_subset.csv", csv_file([(2, "A title and a text"), (4, "More")]))
    data = source("ag_news_subset").load(ag_news)
    assert data.y[:3].tolist() == [1, 3, 0] and data.test_rows.tolist() == list(range(2, 10))
    assert data.name == "ag_news_subset" and "120,000" in data.info["stand_in"]


def test_one_class_of_ag_news_against_an_even_draw_of_the_others(ag_news):
    every = source("ag_news").load(ag_news)
    data = source("ag_news_sports", majority=18).load(ag_news)
    assert data.class_names == ("rest", "Sports") and counts(data) == [18, 12]
    drawn = data.x[data.y == 0].tolist()
    labels = dict(zip(every.x.tolist(), every.y.tolist()))
    assert np.bincount([labels[text] for text in drawn]).tolist() == [6, 0, 6, 6]
    assert data.x[data.test_rows].tolist() == [t for t in every.x[every.test_rows] if t in set(data.x)]
    other = source("ag_news_sports", majority=18, seed=1).load(ag_news)
    assert counts(other) == [18, 12] and set(other.x) != set(data.x)
    assert source("ag_news_sports", majority=18).load(ag_news).x.tolist() == data.x.tolist()


def test_ag_news_is_fetched_and_without_a_network_says_what_else_there_is(tmp_path, monkeypatch, upstream):
    place = "/mhjabreel/CharCnn_Keras/raw/master/data/ag_news_csv"
    monkeypatch.setattr(zhang, "AG_ROWS", {"train.csv": 40, "test.csv": 8})
    content = {"train.csv": news(40), "test.csv": news(8)}
    monkeypatch.setattr(zhang, "AG_SUMS", {name: hashlib.md5(c).hexdigest() for name, c in content.items()})
    with pytest.raises(BenchError, match="cannot download .*train.csv: .*dataset=ag_news_test needs test.csv alone"):
        source("ag_news").load(tmp_path)
    upstream.files |= {f"{place}/{name}": c for name, c in content.items()}
    assert counts(source("ag_news").load(tmp_path)) == [12] * 4


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (news(39), "train.csv has 39 texts, expected 40"),
        (news(39) + b'"5","a","b"\n', "train.csv, row 40: '5' and 2 texts, not a class 1 to 4"),
        (news(39) + b'"1"\n', "train.csv, row 40: '1' and 0 texts"),
        (news(39) + b'"1","\xff","b"\n', "train.csv is cut short, damaged or another file .*utf-8"),
    ],
)
def test_a_bad_file_of_ag_news(ag_news, content, words):
    put(ag_news, "ag_news/train.csv", content)
    with pytest.raises(BenchError, match=words):
        source("ag_news").load(ag_news)


@pytest.fixture
def yelp(monkeypatch):
    monkeypatch.setattr(zhang, "YELP_ROWS", {"train.csv": 3, "test.csv": 2})
    train = csv_file([("1", 'Awful.\\n\\nHe said \\"no\\"'), ("2", "Good"), ("1", "Bad")])
    content = archive(
        {
            "yelp_review_polarity_csv/test.csv": csv_file([("2", "Great"), ("1", "Cold")]),
            "yelp_review_polarity_csv/train.csv": train,
            "yelp_review_polarity_csv/readme.txt": b"",
        }
    )
    monkeypatch.setattr(zhang, "YELP_SUM", f"sha256:{hashlib.sha256(content).hexdigest()}")
    return content


def test_yelp_polarity(tmp_path, yelp, upstream):
    upstream.files["/yelp_review_polarity_csv.tgz"] = yelp
    data = source("yelp_polarity").load(tmp_path)
    assert data.x.tolist() == ['Awful.\n\nHe said "no"', "Good", "Bad", "Great", "Cold"]
    assert data.y.tolist() == [1, 0, 1, 0, 1] and data.class_names == ("positive", "negative")
    assert data.test_rows.tolist() == [3, 4]
    train = source("yelp_polarity_train", positive="positive").load(tmp_path)
    assert train.y.tolist() == [0, 1, 0] and train.test_rows is None
    (tmp_path / "yelp_polarity/yelp_review_polarity_csv.tgz").write_bytes(yelp[:200])
    with pytest.raises(BenchError, match="yelp_review_polarity_csv.tgz is cut short"):
        source("yelp_polarity").load(tmp_path)


def test_a_yelp_archive_without_its_training_file(tmp_path, yelp):
    place = "yelp_polarity/yelp_review_polarity_csv.tgz"
    put(tmp_path, place, archive({"yelp_review_polarity_csv/test.csv": csv_file([("2", "Great"), ("1", "Cold")])}))
    with pytest.raises(BenchError, match="train.csv has 0 texts, expected 3"):
        source("yelp_polarity").load(tmp_path)
    assert counts(source("yelp_polarity", part="test").load(tmp_path)) == [1, 1]


@pytest.mark.parametrize("form", ["txt", "zip", "fetched"])
def test_toutiao(tmp_path, monkeypatch, upstream, form):
    monkeypatch.setattr(toutiao, "ROWS", 4)
    content = titles(["100", "114", "116", "102"])
    packed = zipped({"toutiao_cat_data.txt": content.encode()})
    if form == "txt":
        put(tmp_path, "toutiao/toutiao_cat_data.txt", content)
    elif form == "zip":
        put(tmp_path, "toutiao/toutiao_cat_data.txt.zip", packed)
    else:
        upstream.files[f"/{toutiao.REPOSITORY}/raw/master/toutiao_cat_data.txt.zip"] = packed
    data = source("toutiao").load(tmp_path)
    assert (data.language, data.classes, data.info) == ("zh", 15, {})
    assert data.x.tolist() == [f"标题{i}，很好" for i in range(4)]
    assert [data.class_names[c] for c in data.y] == ["news_story", "stock", "news_game", "news_entertainment"]


def test_stock_titles_against_a_draw_of_the_rest(tmp_path):
    rows = titles(["114"] * 3 + ["100"] * 30 + ["101"] * 10)
    put(tmp_path, "toutiao/toutiao_cat_data_subset.txt.xz", lzma.compress(rows.encode()))
    data = source("toutiao_subset_stock", majority=8).load(tmp_path)
    assert data.name == "toutiao_subset" and "382,688" in data.info["stand_in"]
    assert counts(data) == [8, 3] and data.class_names == ("rest", "stock")
    with pytest.raises(BenchError, match="dataset.majority=8309: there are 40 texts of the classes that are not stock"):
        source("toutiao_subset_stock").load(tmp_path)
    with pytest.raises(
        BenchError, match="dataset.positive='news_stories' is not a class of toutiao_subset: did you mean"
    ):
        source("toutiao_subset", positive="news_stories").load(tmp_path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (titles(["100"] * 3), "toutiao_cat_data.txt has 3 texts, expected 4"),
        (titles(["100"] * 3) + "9_!_105_!_x_!_y\n", "toutiao_cat_data.txt, line 4: '9_!_105.* a code of 100, 101"),
        (titles(["100"] * 3) + "9_!_100\n", "toutiao_cat_data.txt, line 4"),
    ],
)
def test_a_bad_toutiao_file(tmp_path, monkeypatch, content, words):
    monkeypatch.setattr(toutiao, "ROWS", 4)
    put(tmp_path, "toutiao/toutiao_cat_data.txt", content)
    with pytest.raises(BenchError, match=words):
        source("toutiao").load(tmp_path)


def test_a_download_that_is_no_archive_is_not_kept(tmp_path, upstream):
    for label, repository, name in (
        ("toutiao", toutiao.REPOSITORY, "toutiao_cat_data.txt.zip"),
        ("opinrank", "kavgan/OpinRank", "OpinRankDatasetWithJudgments.zip"),
    ):
        upstream.files[f"/{repository}/raw/master/{name}"] = b"no archive"
        with pytest.raises(BenchError, match=f"{name}.* is cut short, damaged .*removed"):
            source(label).load(tmp_path)
        assert not (tmp_path / label / name).exists()


CARS = """<DOCNO>2007_acura_rl</DOCNO>
<DOC>
<DATE>09/06/2008</DATE>
<AUTHOR>stuart</AUTHOR>
<TEXT>Handling is
great.</TEXT>
<FAVORITE>Seats</FAVORITE>
</DOC>
<DOC>
<DATE>09/07/2008</DATE>
<AUTHOR>jo</AUTHOR>
<TEXT></TEXT>
<FAVORITE></FAVORITE>
</DOC>
"""
BARE = "<DOCNO>2008_honda_accord</DOCNO>\n<DOC>\n\n\nStill pleased.\n\n</DOC>\n"
HOTEL = "\tFabulous\tWonderful.\t\nNov 18 2009 \tGreat\tChic caf\xe9.\t\nNov 17 2009 \tIn from the cold\t\t\nNov 16\n"


def test_opinrank_as_its_authors_have_it_and_as_json_lines(tmp_path):
    root = "OpinRankDatasetWithJudgments"
    members = {
        f"{root}/hotels/data/beijing.csv": b"doc_id,hotel_name\n",
        f"{root}/hotels/data/beijing/china_beijing_hotel_g": HOTEL.encode("latin-1"),
        f"{root}/hotels/judgments/beijing/x": b"1\t2\t3\n",
        f"{root}/cars/data/2008/2008_honda_accord": BARE.encode(),
        f"{root}/cars/data/2007/2007_acura_rl": CARS.encode(),
        "__MACOSX/cars/data/2007/._2007_acura_rl": b"\0",
    }
    put(tmp_path / "a", "opinrank/OpinRankDatasetWithJudgments.zip", zipped(members))
    lines = {
        "cars": ["Handling is\ngreat.", "", "Still pleased."],
        "hotels_part1": ["Wonderful.", "Chic café."],
        "hotels_part2": ["", " "],
        "hotels_part3": [],
    }
    for name, texts in lines.items():
        put(tmp_path / "b", f"opinrank/{name}.jsonl.xz", json_lines([{"text": t} for t in texts]))
    data = source("opinrank").load(tmp_path / "a")
    assert same(data, source("opinrank").load(tmp_path / "b"))
    assert data.x.tolist() == ["Handling is\ngreat.", "Still pleased.", "Wonderful.", "Chic café."]
    assert data.class_names == ("hotels", "cars") and data.y.tolist() == [1, 1, 0, 0]
    assert data.info["empty_texts_skipped"] == 3 and data.info["printed"] == opinrank.PRINTED


def test_an_opinrank_archive_of_another_kind(tmp_path):
    put(tmp_path, opinrank.ARCHIVE, zipped({"cars/data/2007/2007_acura_rl": CARS.encode()}))
    with pytest.raises(BenchError, match="OpinRankDatasetWithJudgments.zip holds no cars/data"):
        source("opinrank").load(tmp_path)


STARS = [5.0, 1.0, 3.0, 4.0, 2.0, 5.0, 5.0, 4.0, 5.0, 5.0]  # 7 positive, 2 negative
BOOKS = [{"reviewerID": f"A{i}", "overall": stars, "reviewText": f"Text {i}"} for i, stars in enumerate(STARS)]
BOOKS += [{"overall": 5.0, "reviewText": ""}, {"overall": 5.0}]


def amazon(folder, rows, **options):
    put(folder, "amazon/reviews_Books_5.json.gz", json_lines(rows, gzip.compress))
    return source("amazon_books", **options)


def test_amazon_reviews_are_sampled_by_class(tmp_path):
    data = amazon(tmp_path, BOOKS, sample=[4, 1]).load(tmp_path)
    assert data.class_names == ("positive", "negative") and counts(data) == [4, 1]
    assert data.info == {
        "printed": {"majority": 72_039, "minority": 7389},
        "pool": {"negative": 2, "positive": 7},
        "three_stars_left_out": 1,
        "empty_texts_skipped": 2,
    }
    numbers = [int(t.split()[1]) for t in data.x]
    assert numbers == sorted(numbers) and [STARS[n] < 3 for n in numbers] == (data.y == 1).tolist()
    again = amazon(tmp_path / "b", BOOKS, sample=[4, 1]).load(tmp_path / "b")
    assert again.x.tolist() == data.x.tolist()
    more = source("amazon_books", sample=[6, 2]).load(tmp_path)
    assert set(data.x) < set(more.x)  # of one seed a smaller draw lies within a larger one
    assert {tuple(source("amazon_books", sample=[4, 1], seed=s).load(tmp_path).x) for s in range(9)} != {tuple(data.x)}


def test_a_share_of_all_amazon_reviews(tmp_path):
    rows = [{"overall": 5.0 if i % 8 else 1.0, "reviewText": f"{i}"} for i in range(4000)]
    data = amazon(tmp_path, rows, sample=0.1).load(tmp_path)
    assert abs(counts(data)[0] - 350) < 60 and abs(counts(data)[1] - 50) < 25
    assert counts(source("amazon_books", sample=1.0).load(tmp_path)) == [3500, 500]


def test_amazon_is_fetched_or_read_unpacked(tmp_path, upstream):
    upstream.files["/reviews_Books_5.json.gz"] = json_lines(BOOKS, gzip.compress)
    fetched = source("amazon_books", sample=[4, 1]).load(tmp_path / "a")
    put(tmp_path / "b", "amazon/reviews_Books_5.json", json_lines(BOOKS, bytes))
    assert same(fetched, source("amazon_books", sample=[4, 1]).load(tmp_path / "b"))


@pytest.mark.parametrize("sample", [[4], [0, 1], 0.0, 1.5, [4, 1, 1]])
def test_a_bad_sample(sample):
    with pytest.raises(BenchError, match="dataset.sample="):
        source("amazon_books", sample=sample)


def test_bad_amazon_files(tmp_path):
    with pytest.raises(BenchError, match=r"sample=\[4, 3\] asks for 3 negative reviews, and .*5.json.gz has 2"):
        amazon(tmp_path, BOOKS, sample=[4, 3]).load(tmp_path)
    path = put(tmp_path, "amazon/reviews_Books_5.json.gz", json_lines(BOOKS, gzip.compress)[:-20])
    with pytest.raises(BenchError, match="reviews_Books_5.json.gz is cut short"):
        source("amazon_books").load(tmp_path)
    path.write_bytes(gzip.compress(b'{"overall": 5.0, "reviewText": "a"}\n{"overall": 5.0, \n'))
    with pytest.raises(BenchError, match="reviews_Books_5.json.gz .*line 2"):
        source("amazon_books").load(tmp_path)
    path.write_bytes(gzip.compress(b'{"stars": 5.0}\n'))
    with pytest.raises(BenchError, match="reviews_Books_5.json.gz .*overall"):
        source("amazon_books").load(tmp_path)


# Those that cannot be downloaded


def test_yelp_sentences(tmp_path):
    put(tmp_path, zhang.SENTENCES[0], lzma.compress(b'0\tok never again .\n1\tgood " food .\n'))
    put(tmp_path, zhang.SENTENCES[1], lzma.compress("1\tla crème .\n".encode()))
    data = source("yelp_sentences").load(tmp_path)
    assert data.x.tolist() == ["ok never again .", 'good " food .', "la crème ."]
    assert data.y.tolist() == [1, 0, 0] and "not the reviews of Yelp Polarity" in data.info["stand_in"]
    put(tmp_path, zhang.SENTENCES[1], lzma.compress(b"?\tno\n"))
    with pytest.raises(BenchError, match="yelp_sentences_test.tsv.xz is cut short, damaged or another file"):
        source("yelp_sentences").load(tmp_path)


def test_amazon_multidomain(tmp_path):
    rows = [{"domain": d, "label": s, "text": f"{d} {s}"} for d in ("books", "dvd") for s in ("positive", "negative")]
    put(tmp_path, "amazon_multidomain_sentiment/reviews.jsonl.xz", json_lines(rows))
    data = source("amazon_multidomain", domain="dvd").load(tmp_path)
    assert data.x.tolist() == ["dvd positive", "dvd negative"] and data.y.tolist() == [0, 1]
    assert data.class_names == ("positive", "negative") and "2007" in data.info["stand_in"]
    with pytest.raises(BenchError, match="has not both classes of dataset.domain=kitchen"):
        source("amazon_multidomain", domain="kitchen").load(tmp_path)


def tweets(folder, **options):
    """Two parts in the organisers' format, with everything that is wrong with some of them."""
    put(
        folder,
        "semeval2017_task4a/train/twitter-2013dev-A.tsv",
        '1\tnegative\tTheo\\u002c it\\u2019s "bad\n2\tneutral\tTwo\n3\tpositive\tNot Available\n4\tpositive\tFour\t\n',
    )
    put(
        folder,
        "semeval2017_task4a/GOLD/twitter-2016test-A.txt",
        "4\tpositive\tFour\n2\tnegative\tTwo\n\n5\tnegativ\tFive\n6\tneutral\n7\tneutral\tSeven\n",
    )
    return source("semeval", parts=["2013dev", "2016test"], **options)


def test_semeval(tmp_path):
    data = tweets(tmp_path).load(tmp_path)
    assert data.x.tolist() == ['Theo, it’s "bad', "Two", "Four", "Seven"]
    assert data.class_names == ("rest", "negative") and data.y.tolist() == [1, 0, 0, 0]
    assert data.info == {
        "printed": (39_123, 7273),
        "duplicates": 2,
        "duplicates_of_another_sentiment": 1,
        "broken_lines": 2,
        "tweets_gone": 1,
    }
    kept = tweets(tmp_path, duplicates="keep").load(tmp_path)
    assert kept.x.tolist()[3:] == ["Four", "Two", "Seven"] and counts(kept) == [4, 2]


@pytest.mark.parametrize(
    ("task", "names", "y"),
    [
        ("positive_vs_rest", ("rest", "positive"), [0, 0, 1, 0]),
        ("negative_vs_positive", ("positive", "negative"), [1, 0]),
        ("three", ("negative", "neutral", "positive"), [0, 1, 2, 1]),
    ],
)
def test_tasks_of_semeval(tmp_path, task, names, y):
    data = tweets(tmp_path, task=task).load(tmp_path)
    assert data.class_names == names and data.y.tolist() == y


def test_bad_parts_of_semeval(tmp_path):
    with pytest.raises(BenchError, match="dataset.parts: '2016tests' is none: did you mean 2016test"):
        source("semeval", parts=["2016tests"])
    with pytest.raises(BenchError, match="must name one part or more, each once"):
        source("semeval", parts=["2016test", "2016test"])
    tweets(tmp_path)
    with pytest.raises(BenchError, match=r"needs twitter-2013train-A.tsv \(or .txt\) in .*semeval2017_task4a"):
        source("semeval").load(tmp_path)


def incidents(labels, separator=","):
    return f"text{separator}label\n" + "".join(f"Tweet {i}{separator}{label}\n" for i, label in enumerate(labels))


def test_irt_of_two_and_of_four_classes_from_one_file(tmp_path, capsys):
    labels = ["crash"] * 3 + ["fire"] * 2 + ["shooting"] + ["not_incident_related"] * 9
    put(tmp_path, "irt/nyc.csv", incidents(labels))
    four = source("irt_nyc_4").load(tmp_path)
    assert four.name == "irt_nyc" and counts(four) == [9, 3, 2, 1]
    assert four.class_names == ("not_incident_related", "crash", "fire", "shooting")
    two = source("irt_nyc").load(tmp_path)
    assert two.class_names == ("not_incident_related", "incident_related") and counts(two) == [9, 6]
    assert two.info["printed"] == {"not_incident_related": 1446, "incident_related": 413}
    assert two.info["as_printed"] is False
    assert "'incident_related': 6}; SetConv prints {'not_incident_related': 1446" in capsys.readouterr().err


def test_irt_of_a_file_a_task_with_the_printed_counts(tmp_path, capsys):
    labels = ["not_incident_related"] * 721 + ["incident_related"] * 361
    put(tmp_path, "irt/memphis_2.tsv", incidents(labels, "\t"))
    data = source("irt_memphis").load(tmp_path)
    assert data.info["as_printed"] is True and capsys.readouterr().err == ""
    with pytest.raises(BenchError, match=r"needs .*irt/memphis.csv \(or .tsv\).* ask the authors"):
        source("irt_memphis_4").load(tmp_path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (incidents(["crash", "fires"]), r"nyc.csv, row 1 \(from 0\): label 'fires': did you mean fire"),
        (incidents(["crash", ""]), r"nyc.csv, row 1 \(from 0\): label nan"),
        (incidents(["crash", "fire"]), "nyc.csv has no not_incident_related tweet"),
        ("tweet,label\na,crash\n", "nyc.csv has no column 'text'"),
    ],
)
def test_a_bad_irt_file(tmp_path, content, words):
    put(tmp_path, "irt/nyc.csv", content)
    with pytest.raises(BenchError, match=words):
        source("irt_nyc_4").load(tmp_path)


@pytest.mark.parametrize(
    "label", ["ag_news_subset", "amazon_multidomain", "irt_nyc", "semeval", "toutiao_subset", "yelp_sentences"]
)
def test_what_is_fetched_from_nowhere_says_what_to_put_where(tmp_path, label, upstream):
    put(tmp_path, "ag_news/test.csv", b"")
    with pytest.raises(BenchError, match=f"dataset={label} needs .*{tmp_path}.*docs/datasets.md"):
        source(label).load(tmp_path)
    assert not upstream.asked


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"majority": 10}, "dataset.majority=10 draws .* set dataset.positive="),
        ({"majority": 0, "positive": "stock"}, "dataset.majority=0"),
        ({"seed": -1}, "dataset.seed=-1"),
    ],
)
def test_bad_choices(options, words):
    with pytest.raises(BenchError, match=words):
        source("toutiao", **options)


@pytest.mark.parametrize(
    ("before", "ratio", "after"),
    [
        ([25_000, 25_000], "ir_100", [25_000, 250]),
        ([25_000, 25_000], "ir_20", [25_000, 1250]),
        ([280_000, 280_000], "ir_100", [280_000, 2800]),
        ([280_000, 280_000], "ir_20", [280_000, 14_000]),
        ([30_000, 31_900], "ir_100", [30_000, 300]),
        ([30_000, 31_900], "ir_20", [30_000, 1500]),
        ([8309, 340], "ir_122", [8309, 68]),
    ],
)
def test_the_ratios_give_the_counts_that_miso_prints(before, ratio, after):
    """Table 2: IMDB, Yelp Polarity, AG News at 1 % and 5 %, Toutiao; thinned before the split, the test part too."""
    spec = RATIOS.build(option("ratio", ratio))
    assert spec.apply_to == "all"
    assert spec.keep_counts(np.array(before), spec.seed).tolist() == after


# The user's own texts

MAILS = [('Win, "now"', "spam"), ("Hello\nyou", "ham"), ("NA", "ham"), ("Grüße", "ham")]


def own(path, **options):
    return source("texts", **({"path": str(path), "text": "body", "target": "kind"} | options))


def table(rows=MAILS):
    return csv_file([("kind", "body"), *((kind, body) for body, kind in rows)])


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".csv.xz", ".jsonl", ".jsonl.gz", ".jsonl.xz", ".CSV"])
def test_own_texts(tmp_path, suffix):
    pack = {".gz": gzip.compress, ".xz": lzma.compress}.get(Path(suffix).suffix, bytes)
    rows = [{"body": body, "kind": kind} for body, kind in MAILS]
    path = put(tmp_path, f"mails{suffix}", json_lines(rows, pack) if "jsonl" in suffix else pack(table()))
    data = own(path).load(Path("unused"))
    assert data.x.tolist() == [body for body, _ in MAILS] and data.x.dtype == object
    assert data.y.tolist() == [1, 0, 0, 0] and data.class_names == ("ham", "spam")
    assert (data.name, data.modality, data.language, data.info) == ("mails", "text", "en", {})


def test_own_tsv_has_no_quotes(tmp_path):
    path = put(tmp_path, "t.tsv", '\ufeffbody\tkind\n"Oh\t1\nhe said "no"\t0\n说\t0\n')
    data = own(path, language="zh").load(Path())
    assert data.x.tolist() == ['"Oh', 'he said "no"', "说"] and data.language == "zh"
    assert data.class_names == ("0", "1") and data.y.tolist() == [1, 0, 0]


def test_own_texts_in_another_encoding(tmp_path):
    path = put(tmp_path, "t.csv", "body,kind\na,x\n你好,y\n".encode("gbk"))
    with pytest.raises(
        BenchError, match=r"t.csv, line 3: byte 0xc4 \(number 15 of the file\) is not utf-8: .*encoding"
    ):
        own(path).load(Path())
    assert own(path, encoding="gbk").load(Path()).x.tolist() == ["a", "你好"]
    with pytest.raises(BenchError, match="dataset.encoding='klingon' is unknown"):
        own(path, encoding="klingon").load(Path())


def test_one_class_of_own_texts_against_the_rest(tmp_path):
    path = put(tmp_path, "t.jsonl", json_lines([{"body": "t", "kind": i % 12} for i in range(24)], bytes))
    assert own(path).load(Path()).class_names == tuple(map(str, range(12)))
    data = own(path, positive=3).load(Path())
    assert data.class_names == ("rest", "3") and counts(data) == [22, 2]


def test_rows_without_a_text(tmp_path):
    rows = [("a", "x"), ("", "x"), (" \n", "y"), ("b", "y")]
    path = put(tmp_path, "t.csv", table(rows))
    with pytest.raises(BenchError, match=r"2 of 4 rows of .*t.csv have no text \(rows 1, 2, from 0\).*drop_empty=true"):
        own(path).load(Path())
    data = own(path, drop_empty=True).load(Path())
    assert data.x.tolist() == ["a", "b"] and data.info == {"empty_texts_skipped": 2}
    with pytest.raises(BenchError, match=r"rows 0, 1, 2, 3, 4, ..., from 0"):
        own(put(tmp_path, "u.csv", table([("", "x")] * 6 + [("a", "y")]))).load(Path())
    with pytest.raises(BenchError, match="no row of .*u.csv has a text"):
        own(put(tmp_path, "u.csv", table([("", "x")] * 6)), drop_empty=True).load(Path())


def test_own_texts_are_known_by_their_content(tmp_path):
    one, copy = (put(tmp_path, name, table()) for name in ("a.csv", "b.csv"))
    other = put(tmp_path, "c.csv", table(MAILS[1:]))
    assert own(one).fingerprint() == own(copy).fingerprint() != own(other).fingerprint()


@pytest.mark.parametrize(
    ("name", "content", "options", "words"),
    [
        ("t.csv", None, {}, "t.csv cannot be read: No such file"),
        ("t.csv", table(), {"path": None}, "dataset=texts needs a file: dataset.path="),
        ("t.csv", table(), {"text": None}, "dataset=texts needs dataset.text=<column>: one of kind, body"),
        ("t.csv", table(), {"text": "bodi"}, "dataset.text: .*t.csv has no column 'bodi': did you mean body"),
        ("t.csv", table(), {"target": "label"}, "dataset.target: .*t.csv has no column 'label'"),
        ("t.csv", table(), {"text": "kind"}, "dataset.text=kind is the class too"),
        ("t.txt", table(), {}, "t.txt must be one of .csv, .tsv, .tab, .jsonl"),
        ("t.csv", b"", {}, "t.csv is empty"),
        ("t.csv", b"body,kind\n", {}, "t.csv is empty: it has a header and no rows"),
        ("t.csv", b"body,kind\na,b\nc,d,e\n", {}, "t.csv cannot be read as a table .* line 3"),
        (
            "t.csv",
            b"body,kind\na,b,c\n",
            {},
            r"rows have more fields \(3\) than the header line has names \(2\), a name is",
        ),
        ("t.csv", b'body,kind\n"a,b\n', {}, "t.csv cannot be read as a table"),
        ("t.csv", table([("a", "x"), ("b", ""), ("c", "y")]), {}, "1 of 3 rows have no class, the first is row 1"),
        ("t.csv", table([("a", "x"), ("b", "x")]), {}, "dataset.target=kind has one class only"),
        ("t.csv", table([("a", str(i)) for i in range(51)]), {}, "kind has 51 different values .* dataset.positive"),
        ("t.csv", table(), {"positive": "eggs"}, "dataset.positive='eggs' is not a value of kind: .*ham"),
        ("t.csv.gz", gzip.compress(table(), mtime=0)[:-12], {}, "t.csv.gz cannot be unpacked"),
        ("t.csv.xz", b"no archive", {}, "t.csv.xz cannot be unpacked"),
        ("t.jsonl", b'{"body": "a", "kind": 1}\n{"body"\n', {}, "t.jsonl, line 2 is not JSON"),
        ("t.jsonl", b'{"body": "a", "kind": 1}\n[1]\n', {}, "t.jsonl, line 2 is list, not an object"),
        (
            "t.jsonl",
            b'{"body": "a", "kind": 1}\n{"body": "b", "kind": [1]}\n',
            {},
            "row 1 .from 0. is a list, not a class",
        ),
        ("t.jsonl", b'{"body": null, "kind": 1}\n{"body": 3, "kind": 1}\n', {}, "row 1 .from 0. of .* is not text"),
        (
            "t.jsonl",
            b'{"body": "", "kind": 1}\n{"body": "a", "kind": 1}\n{"body": "b"}\n',
            {"drop_empty": True},
            "1 of 2 rows have no class, the first is row 2",
        ),
        ("t.csv", b"body,kind\na,x\nb, \n", {}, "1 of 2 rows have no class, the first is row 1"),
        (
            "t.csv",
            b"body,kind\na--,x\nb,y\n",
            {"encoding": "punycode"},
            "t.csv is not punycode",
        ),
        ("t.jsonl", b'{"body": "a", "kind": 1}\n{"body": "b"}\n', {}, "1 of 2 rows have no class, the first is row 1"),
        (
            "t.jsonl",
            b'{"body": "a", "kind": 1}\n{"body": 2, "kind": 2}\n',
            {},
            "row 1 .from 0. of .*t.jsonl is not text",
        ),
        ("t.jsonl", b"\n", {}, "t.jsonl is empty"),
        ("t.jsonl", b'{"body": "a", "kind": 1, "kind": 2}\n', {}, "line 1 is not JSON .two values are called 'kind'"),
        ("t.csv", b"body,kind,kind\na,x,x\n", {}, "two columns are called 'kind', .* rename one in the file$"),
        ("t.csv", b"body;kind\na;x\n", {}, "has one column only, .* set dataset.separator=semicolon"),
        ("t.tsv", b"body,kind\na,x\n", {}, "in a .tsv file fields are parted by tabs; rename it to .csv"),
        ("t.csv", b"body,kind\na,yes \nb,Yes\nc,no\n", {}, "'Yes' .1 rows. and 'yes' .1 rows. would be two classes"),
        ("t.csv", b"kind,body\nx,a\ny\n", {"drop_empty": True}, "line 3: 1 fields where the header line has 2"),
    ],
)
def test_bad_texts_say_what_to_change(tmp_path, name, content, options, words):
    if content is not None:
        put(tmp_path, name, content)
    with pytest.raises(BenchError, match=words):
        own(**({"path": tmp_path / name} | options)).load(Path()) if "path" not in options else source(
            "texts", **options
        ).load(Path())


def test_a_class_of_one_text_is_found_by_the_split(tmp_path):
    data = own(put(tmp_path, "t.csv", table([(f"text {i}", "x") for i in range(30)] + [("one", "y")]))).load(Path())
    with pytest.raises(BenchError, match="class.*1"):
        PROTOCOLS.build(option("protocol", "stratified_kfold")).splits(RowsToSplit(data.y, data.class_names))


# Real data


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("sms_spam", [4827, 747]),
        ("ag_news_test", [1900] * 4),
        ("ag_news_subset", [6550, 4725, 4723, 6783]),
        ("yelp_sentences", [114_597, 75_556]),
        ("toutiao_subset", [978, 3468, 6148, 5585, 4239, 2561, 5481, 3942, 6051, 3526, 3441, 3516, 59, 3063, 4529]),
        ("amazon_multidomain", [1000, 1000]),
        ("semeval", [38_489, 7165]),
    ],
)
def test_real_texts(real_data, label, expected):
    data = source(label).load(real_data(label))
    assert counts(data) == expected
    assert all(isinstance(text, str) and text.strip() for text in data.x)


@pytest.mark.real_data
def test_real_imdb(real_data):
    data = source("imdb").load(real_data("imdb"))
    assert counts(data) == [25_000, 25_000] and np.bincount(data.y[data.test_rows]).tolist() == [12_500, 12_500]
    rows = RATIOS.build(option("ratio", "ir_100")).indices(data.y, 0)
    assert np.bincount(data.y[rows]).tolist() == [25_000, 250]


@pytest.mark.real_data
def test_real_opinrank(real_data):
    data = source("opinrank").load(real_data("opinrank"))
    assert counts(data) == [228_991, 42_288] and data.info["empty_texts_skipped"] == 26_411


@pytest.mark.real_data
def test_real_semeval_beside_the_counts_that_setconv_prints(real_data):
    data = source("semeval_printed").load(real_data("semeval"))
    assert counts(data) == [39_122, 7273]
    assert data.info["duplicates"] == 741
