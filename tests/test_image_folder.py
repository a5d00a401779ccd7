"""The user's own images: which files of a folder count, which are left out and said, and pixels of more than 8 bits."""

import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imbalance_bench.data.together import remarks
from imbalance_bench.errors import BenchError
from tests.test_image_sources import own, picture, runs


@pytest.fixture
def pets(tmp_path):
    for name, n in (("cat", 5), ("dog", 8)):
        for i in range(n):
            picture(tmp_path / f"pets/{name}/{i}.png", 10 * i + n)
    return tmp_path / "pets"


def counts(folder, **options):
    data = own(folder, **options).load(Path())
    return dict(zip(data.class_names, np.bincount(data.y).tolist()))


@pytest.mark.parametrize("ending", [".jfif", ".JPE", ".dib", ".pnm", ".pbm", ".jp2", ".tga"])
def test_other_usual_endings_are_images(pets, ending):
    picture(pets / "extra.ppm", 7)
    kind = {".jfif": "JPEG", ".JPE": "JPEG", ".pnm": "PPM", ".pbm": "PPM"}.get(ending)
    with Image.open(pets / "extra.ppm") as image:
        (image.convert("1") if ending == ".pbm" else image).save(pets / f"cat/new{ending}", kind)
    assert counts(pets) == {"cat": 6, "dog": 8}


def test_hidden_folders_and_files_do_not_count_at_any_depth(pets):
    before = own(pets).fingerprint()
    hidden = ("cat/.ipynb_checkpoints", "cat/more/.thumbs/deep", "dog/__MACOSX", "__MACOSX/cat", ".git/objects")
    for place in (*hidden, "cat"):
        picture(pets / place / ("._0.png" if place == "cat" else "0-checkpoint.png"), 3)
    assert counts(pets) == {"cat": 5, "dog": 8}
    assert own(pets).fingerprint() == before


def test_files_that_are_no_images_are_counted_and_said(pets):
    for name in ("a.heic", "b.HEIC", "notes", "c.txt"):
        (pets / "cat" / name).write_text("")
    (pets / "cat/gone.png").symlink_to(pets / "nowhere.png")
    data = own(pets).load(Path())
    said = "2 files .heic, 1 file without an ending, 1 file .png, 1 file .txt in the folders of the classes, no images"
    assert sorted(data.info["left_out"].split(", ")) == sorted(said.split(", "))
    made = runs(data, protocol="repeated_holdout", repeats=2)
    assert data.info["left_out"] in remarks(data, type("P", (), {"in_time": False, "name": "p"})(), made)


def test_a_class_of_other_files_says_what_is_there(pets):
    (pets / "bird").mkdir()
    for i in range(3):
        (pets / f"bird/{i}.heic").write_text("")
    with pytest.raises(BenchError, match=r"bird holds no image \(.*\) and 3 files .heic: every class needs"):
        own(pets).load(Path())


def test_links_are_followed_and_loops_are_not(pets, tmp_path):
    shutil.move(pets / "cat", tmp_path / "elsewhere")
    (pets / "cat").symlink_to(tmp_path / "elsewhere")  # the folder of a class
    for i in range(3):
        picture(tmp_path / f"more/{i}.png", 200 + i)
    (pets / "cat/more").symlink_to(tmp_path / "more")  # one inside it
    (pets / "dog/linked.png").symlink_to(tmp_path / "more/0.png")  # a file
    (tmp_path / "elsewhere/loop").symlink_to(pets / "cat")
    (tmp_path / "elsewhere/more again").symlink_to(tmp_path / "more")
    assert counts(pets) == {"cat": 8, "dog": 9}
    assert own(pets).fingerprint()["sha256"]


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_16(colour, channels):
    rows = b"".join(b"\0" + b"\1\2" * channels * 4 for _ in range(4))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 16, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def tiff_16():
    """4 x 4 pixels of three channels of 16 bits, one strip."""
    tags = [(256, 3, 4), (257, 3, 4), (258, 3, 16), (259, 3, 1), (262, 3, 2), (273, 4, 200), (277, 3, 3), (278, 3, 4)]
    tags = [*tags, (279, 4, 96)]
    entries = b"".join(
        struct.pack("<HHII", tag, kind, 3 if tag == 258 else 1, 180 if tag == 258 else value)
        for tag, kind, value in tags
    )
    head = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + b"\0" * 4
    return (head.ljust(180, b"\0") + struct.pack("<HHH", 16, 16, 16)).ljust(200, b"\0") + b"\1\2" * 48


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("grey.png", png_16(0, 1)),
        ("colour.png", png_16(2, 3)),
        ("grey_alpha.png", png_16(4, 2)),
        ("colour_alpha.png", png_16(6, 4)),
        ("colour.ppm", b"P6 4 4 65535\n" + b"\1\2" * 48),
        ("colour.tif", tiff_16()),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_of_16_bits_are_errors_that_name_the_file(pets, name, content, channels):
    (pets / "cat" / name).write_bytes(content)
    with pytest.raises(BenchError, match=f"{name} has pixels of more than 8 bits"):
        own(pets, channels=channels, size=[4, 4]).load(Path())


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV"])
def test_pixels_of_8_bits_and_fewer_are_read(pets, mode):
    kind = "tiff" if mode in ("CMYK", "YCbCr", "HSV") else "png"
    Image.new("RGB", (8, 6), (200, 0, 0)).convert(mode if mode != "HSV" else "RGB").save(pets / f"cat/new.{kind}")
    assert counts(pets) == {"cat": 6, "dog": 8}
