"""Every command of the documents: its words are those that there are, and a test runs it or a table says why none
does. A command that is added to a page is examined here without being named."""

from __future__ import annotations

import argparse
import importlib.util
import re
import shlex
import tomllib
from fnmatch import fnmatchcase
from functools import cache
from importlib import import_module
from typing import Any

import pytest
import yaml
from hydra._internal.utils import get_args_parser

from imbalance_bench.__main__ import VERBS
from imbalance_bench.errors import BenchError
from imbalance_bench.options import check
from imbalance_bench.registry import SEARCH, build
from imbalance_bench.report.arguments import check as check_report
from imbalance_bench.search.study import Options
from imbalance_bench.settings.conf_files import CONF, ConfFiles, hydra_started, search_defaults
from imbalance_bench.settings.config import REGISTRIES, TOP_LEVEL, Trainer, label_of
from imbalance_bench.settings.presets import jobs_of, node_of, presets
from imbalance_bench.sweep.grid import LAUNCHERS
from imbalance_bench.terminal.arguments import ArgumentParser
from tests.documents import PAGES, ROOT, Command, commands, overrides
from tests.tasks import option, options_of

COMMANDS = [command for page in PAGES for command in commands(page)]
# What a reader puts in the place of these.
PLACES = {
    "<one of texts>": "sms_spam",
    "<group>=<option>": "method=focal",
    "method=<name>": "method=focal",
    "dataset=...": "dataset=ecoli",
    "dataset=mine": "dataset=breast_cancer",
    "<record folder>": "folder",
    "<that folder>": "folder",
    "<study>": "folder",
    "dataset.positive=<class>": "dataset.positive=one",
    "dataset.majority=<n>": "dataset.majority=100",
    "mean|cls": "cls",
    "<module>.<class>": "sklearn.tree.DecisionTreeClassifier",
}
# Names that a reader gives: of options of their own, and of data sets in folders.
OWN = {"customers", "tumours", "mine", "bearings", "residual", "mean_of_words", "poly1", "two_phase", "A", "B", "..."}
GROUPS = (*REGISTRIES, "trainer")


def filled(text: str) -> str:
    for place, value in PLACES.items():
        text = text.replace(place, value)
    return text


@cache
def files() -> ConfFiles:
    with hydra_started() as loader:
        return ConfFiles(loader)


@cache
def defaults() -> dict[str, str]:
    """Group → the option that is taken where none is chosen."""
    listed = yaml.safe_load((CONF / "config.yaml").read_text())["defaults"]
    return {group: name for entry in listed if isinstance(entry, dict) for group, name in entry.items()}


def takes(words: list[str], several: bool = True, in_a_sentence: bool = False) -> None:
    """Asserts that train.py takes these overrides: each option is there, each key is one of the options chosen
    (``in_a_sentence``: of some option), and each value is one that the key takes."""
    of_hydra = dict(word.split("=", 1) for word in words if word.startswith("hydra"))
    assert of_hydra.get("hydra/launcher", "ray") in {*LAUNCHERS, "ray", "submitit_local", "submitit_slurm"}
    own = {word.partition("=")[0] for word in words if names_own(word)}
    others = [word for word in words if not word.startswith("hydra") and not {*re.split(r"[.=]", word)[:1]} & own]
    asked = files().parsed(others)
    assert several or not any(override.is_sweep_override() for override in asked), "-m trains each of several values"
    values: dict[str, list[Any]] = {}
    for override in asked:
        swept = override.is_sweep_override()
        values[override.key_or_group] = list(override.sweep_iterator()) if swept else [override.value()]
    if paper := values.get("paper"):
        jobs_of(node_of(*paper[0].split("/")), [o for o in asked if o.key_or_group != "paper"])
    for key, given in values.items():
        group, _, rest = key.partition(".")
        if group in TOP_LEVEL:
            for value in given:
                check(TOP_LEVEL[group], value, group)
        elif group == SEARCH:
            build(Options, search_defaults() | {rest: given[0]}, SEARCH)
        elif group in GROUPS and rest and not rest.startswith(SEARCH):
            anywhere = in_a_sentence and group not in values
            chosen = options_of(group) if anywhere else values.get(group, [defaults()[group]])
            enough = any if in_a_sentence else all
            assert all(enough(has(group, str(o), rest, value) for o in chosen) for value in given), f"{key} is no key"
        else:
            assert group in (*GROUPS, "paper", "paths") or "@" in key, f"{key} is no key"


def names_own(word: str) -> bool:
    """Whether a word chooses something of the reader's own, which is nowhere here."""
    group, _, value = word.lstrip("+").partition("=")
    return group in ("study", "plugins") or bool({*value.split(",")} & OWN) or value.startswith("mine/")


def has(group: str, name: str, key: str, value: Any) -> bool:
    """Whether an option of a group has the key and takes the value."""
    first, *below = key.split(".")
    known = option(group, label_of(name))
    if first not in known and first != "label":
        return False
    if not below and group != "tracker":  # whose options lead to paths, and ask for packages
        made = known | {key: value}
        try:
            build(Trainer, made, group) if group == "trainer" else REGISTRIES[group].build(made)
        except BenchError as error:
            return "is not installed" in str(error)
    return True


class Parsed(Exception):
    """Carries what a verb made of its words, in place of doing it."""


def parsed(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asserts that a verb other than train takes the words of a command."""
    module, words = import_module(VERBS[command.verb][0]), command.arguments
    for name in ("parse_args", "parse_intermixed_args"):

        def parse(self: Any, args: Any = None, namespace: Any = None, name: str = name) -> None:
            if len(words) == 1 and words[0] in self._option_string_actions:  # named without its value
                raise Parsed(None)
            raise Parsed(getattr(argparse.ArgumentParser, name)(self, words, namespace))

        monkeypatch.setattr(ArgumentParser, name, parse)
    with pytest.raises(Parsed) as found:
        module.main()
    given = found.value.args[0]
    if given is None:
        return
    if command.verb == "search":
        takes(given.overrides, given.multirun)
    elif command.verb == "report":
        check_report(given)
        if given.paper and given.paper not in OWN:
            for kind in ("table", "figure"):
                name = getattr(given, kind)
                assert not name or {name, f"{kind}{name}"} & {*presets(given.paper, kind)}, f"no {kind} {name}"
    narrowing = [] if command.verb == "search" else [*getattr(given, "overrides", ())]
    for word in [*narrowing, *getattr(given, "wanted", ()), *getattr(given, "names", ())]:
        selects(word)


def selects(word: str) -> None:
    """Asserts that a word such as method=smote,foc*, or the name of a data set, selects something that there is."""
    group, sign, values = word.lstrip("+").partition("=")
    if group == "paper":
        takes([word])
        return
    for value in values.split(",") if sign else [word]:
        known = {*map(label_of, options_of(group if sign else "dataset"))} | OWN
        assert sign and group == "plugins" or any(fnmatchcase(name, value) for name in known), f"{word}: no {value}"


EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
TARGETS = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M))
VARIABLES = set(re.findall(r"^(\w+) \?=", (ROOT / "Makefile").read_text(), re.M)) | {"FUNCTIONS"}


def known(command: Command) -> None:
    """Asserts that what other programs are asked for is there."""
    program, *words = command.words
    if program == "make":
        given = dict(word.split("=", 1) for word in words if "=" in word)
        assert {word for word in words if "=" not in word} <= TARGETS and {*given} <= VARIABLES
        if "reproduce" in words:
            paper, name = given["PAPER"], f"table{given['TABLE']}"
            takes([f"+paper={paper}/{name}", *shlex.split(given.get("ARGS", ""))])
    elif program == "pip":
        extras = re.findall(r"\.\[([\w,]+)\]", command.text)
        assert {name for some in extras for name in some.split(",")} <= {*EXTRAS}
    elif program == "python" and words[0] == "-m":
        assert importlib.util.find_spec(words[1]), words[1]
    elif program == "python" and words[0] == "-c":
        compile(words[1], "-c", "exec")
    elif program == "python":
        assert (ROOT / words[0]).exists() or f"`{words[0]}`" in (ROOT / command.page).read_text()
    else:
        assert program in ("git", "cd", "source", "eval", "tensorboard", "mlflow", "wandb", "imbalance-bench")


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_the_words_of_a_command_are_those_that_there_are(command, monkeypatch):
    """Nothing is run: options and keys are looked up and values checked, command lines are parsed."""
    for each in Command(command.page, filled(command.text)).each():
        if each.verb == "train" and each.arguments != ["..."]:
            given = get_args_parser().parse_intermixed_args(each.arguments)
            takes(given.overrides, given.multirun)
        elif each.verb and each.arguments and each.arguments != ["..."]:
            parsed(each, monkeypatch)
        else:
            known(each)


# Words in the shape of an override that are none of train.py.
OF_OTHERS = {"class_weight=balanced", "amount=balanced", "dataset=set_1 ratio=ir_1"}


@pytest.mark.parametrize("page", PAGES)
def test_the_overrides_that_a_page_names_are_taken(page):
    for words in overrides(page):
        if words not in OF_OTHERS:
            takes(shlex.split(filled(words)), in_a_sentence=True)
