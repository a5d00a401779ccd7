"""What the README and the pages beside it name is there: options, methods, files."""

from __future__ import annotations

import re
import textwrap

import pytest

import imbalance_bench
from imbalance_bench.settings.conf_files import content_of
from imbalance_bench.settings.presets import labels_named
from tests.tasks import CONF

ROOT = CONF.parent
README = (ROOT / "README.md").read_text()


def test_the_commands_of_the_readme_name_options_that_exist():
    for group, options in re.findall(r"\b(method|dataset|ratio|paper)=([\w/,]+)", README):
        for option in options.split(","):
            assert (CONF / group / f"{option}.yaml").exists(), f"{group}={option}"


def test_the_table_of_methods_names_every_method_and_its_file():
    rows = re.findall(r"^\| `(\w+)` \| .+ \| \[[\w/.]+\]\(([\w/.]+)\) \|$", README, re.M)
    assert sorted(name for name, _ in rows) == sorted(path.stem for path in (CONF / "method").glob("*.yaml"))
    for name, file in rows:
        registered = {name, content_of("method", name)["name"]}  # iht is registered as the resampler of another
        assert any(f'METHODS.register("{r}")' in (ROOT / file).read_text() for r in registered), f"{name}: {file}"


def test_as_many_methods_are_said_as_there_are():
    (said,) = re.findall(r"(\d+) methods in all", README)
    assert int(said) == len(list((CONF / "method").glob("*.yaml")))
    (surveyed,) = re.findall(r"compares (\d+) methods on", README)
    assert int(surveyed) == len(labels_named("survey", "tabular")["method"])


PYTHON = re.search(r"^    import imbalance_bench as ib\n(?:    .*\n)+", README, re.M)


def test_the_python_of_the_readme_names_what_there_is():
    assert PYTHON
    compile(textwrap.dedent(PYTHON[0]), "README.md", "exec")
    assert {*re.findall(r"\bib\.(\w+)", PYTHON[0])} <= {*imbalance_bench.__all__}


@pytest.mark.slow
def test_the_python_of_the_readme_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(textwrap.dedent(PYTHON[0]), names)
    assert len(names["numbers"]) == 1 and names["model"].get_params()["method"] == "balanced_softmax"


@pytest.mark.parametrize("page", ["README.md", *sorted(path.name for path in (ROOT / "docs").glob("*.md"))])
def test_links_lead_to_files_that_there_are(page):
    path = ROOT / page if page == "README.md" else ROOT / "docs" / page
    for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text()):
        assert link.startswith("https://") or (path.parent / link).exists(), link


def test_every_path_of_the_design_exists():
    """Where to find what: a file that has moved is found here."""
    text = (ROOT / "docs" / "design.md").read_text()
    for name in re.findall(r"`([\w/.]+(?:\.py|/))`", text):
        assert any((folder / name).exists() for folder in (ROOT, ROOT / "imbalance_bench")), name
