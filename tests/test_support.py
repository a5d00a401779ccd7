"""docs/methods.md: what each method supports, asked of the methods."""

from __future__ import annotations

import pytest

from imbalance_bench import support
from imbalance_bench.settings.conf_files import content_of
from tests.tasks import CONF

NAMES = sorted(path.stem for path in (CONF / "method").glob("*.yaml"))
PAGE = (CONF.parent / "docs" / "methods.md").read_text()


def rows() -> dict[str, list[str]]:
    lines = [line.split("|")[1:-1] for line in PAGE.splitlines() if line.startswith("| [")]
    return {cells[0].strip().partition("]")[0][1:]: [cell.strip() for cell in cells[1:]] for cells in lines}


def test_the_page_says_what_the_code_says():
    assert support.page() == PAGE, "run `make docs`"


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("cross_entropy", {"tables", "several", "images", "texts", "token ids"}),
        ("smote", {"tables", "several", "images", "texts"}),
        ("smotenc", {"tables", "several"}),
        ("mesa", {"tables", "images", "texts"}),
        ("miso", {"token ids"}),
        ("cwgan", {"tables", "several", "texts"}),
        ("squared_error", {"regression"}),
    ],
)
def test_a_method_takes_what_its_paper_is_about(name, kinds):
    assert {kind for kind, mark in zip(support.KINDS, rows()[name]) if mark == "yes"} == kinds


def test_what_a_method_learns_from_beside_its_training_rows():
    said = {name: cells[len(support.KINDS)] for name, cells in rows().items()}
    assert said["explicit_gradient"] == "validation rows"
    assert said["selectnet"] == said["potential"] == support.POOL
    assert said["smotenc"] == support.CATEGORIES
    assert not said["focal"]


def test_every_method_does_something_and_says_why_it_declines():
    for name in NAMES:
        answers = [support.built(name).declines(task) for task in support.tasks().values()]
        assert None in answers and all(answer is None or len(answer) > 9 for answer in answers), name


def test_an_adapted_estimator_has_the_keys_that_it_changes_and_what_is_searched():
    part = PAGE.partition("\n## random_forest\n")[2].partition("\n## ")[0]
    assert "An option of [estimator](#estimator)" in part
    assert "| `options` | `{n_estimators: 100}` |" in part
    assert all(f"| `{key}` |" in part for key in content_of("method", "random_forest")["search"])
    assert "`method=random_forest/weighted`" in part
