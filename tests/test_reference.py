"""What an option takes, in words: after --help of a chosen option, and docs/options.md."""

from __future__ import annotations

from hydra import compose, initialize_config_dir

from imbalance_bench.settings.reference import keys_help, page
from imbalance_bench.sweep.grid import register
from tests.tasks import CONF


def helped(*overrides: str) -> str:
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return keys_help(compose("config", list(overrides), return_hydra_config=True))


def test_the_page_of_all_options_says_what_the_code_says():
    assert (CONF.parent / "docs" / "options.md").read_text() == page(), "run `make docs`"


def test_the_help_of_a_chosen_option_shows_what_its_keys_take():
    lines = helped("method=focal", "trainer.epochs=3").splitlines()
    assert "== What the keys of method=focal take ==" in lines
    assert "method.alpha=0.25  a number, at least 0 and at most 1, or null (null: no weights)" in lines
    assert "trainer.epochs=3             a whole number, at least 1" in lines
    assert not any(line.startswith("dataset.") for line in lines)  # was not named


def test_the_keys_of_a_component_within_another_are_shown():
    lines = helped("method=iht").splitlines()
    assert "method.resampler.trees=100  a whole number, at least 1" in lines


def test_without_an_option_the_help_says_how_to_ask_for_one():
    assert "method=focal --help" in helped()
    assert "method=focal --help" in helped("seed=1")
