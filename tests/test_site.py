"""docs/ as a site: links lead to pages of it, and it asks nothing of a network."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from tests.tasks import CONF

ROOT = CONF.parent


@pytest.mark.slow
def test_the_site_builds_strictly_and_is_read_without_a_network(tmp_path):
    pytest.importorskip("material")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(tmp_path)]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    front = (tmp_path / "index.html").read_text()
    assert "imbalance_bench" in front and 'href="files/outputs/tables/explicit_gradient/table2.html"' in front
    for page in tmp_path.rglob("*.html"):
        fetched = re.findall(r'<(?:link|script|img)[^>]*?(?:href|src)="?(https?:[^" >]+)', page.read_text())
        assert not [address for address in fetched if "rel" not in address], (page, fetched)


@pytest.mark.slow
def test_a_dead_link_is_an_error(tmp_path):
    pytest.importorskip("material")
    for name in ("mkdocs.yml", "README.md"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    docs = tmp_path / "docs"
    docs.mkdir()
    for path in (ROOT / "docs").iterdir():
        if path.is_file():
            (docs / path.name).write_bytes(path.read_bytes())
    with (docs / "gpu.md").open("a") as page:
        page.write("\n[gone](nowhere.md)\n")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(tmp_path / "site")],
        cwd=tmp_path, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode != 0 and "nowhere.md" in done.stdout + done.stderr
