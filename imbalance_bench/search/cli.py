"""scripts/search.py: a study for each combination of the command line, one batch after the other."""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from imbalance_bench.errors import BenchError
from imbalance_bench.options import key_of
from imbalance_bench.registry import GROUPS, build
from imbalance_bench.running.tally import DeviceLost
from imbalance_bench.search.best import finish
from imbalance_bench.search.study import Study
from imbalance_bench.search.trials import Options
from imbalance_bench.settings.conf_files import ConfFiles, hydra_started, own_folder, search_defaults
from imbalance_bench.settings.presets import jobs_of
from imbalance_bench.terminal import tell
from imbalance_bench.terminal.arguments import ArgumentParser

DESCRIPTION = """\
Searches for good options. The search: keys of the method, its trainer and its backbone (conf/) say what is tried;
validation rows decide what is best. Trials are ordinary cells under outputs/runs; studies are under outputs/studies.

  search.py method=focal dataset=ecoli                       40 trials
  search.py method=focal dataset=ecoli search.trials=100     ... continues to 100
  search.py -m method=focal,smote dataset=ecoli,oil          four studies, one per combination
  search.py method=focal 'method.search.gamma=[1,2,5]' method.search.alpha=null     another space
  search.py method=focal 'trainer.search.epochs=[50,100,200]'                       ... and a wider one
"""
# A change of a search space: Hydra would not put a list in the place of a range.
SPACE = re.compile(r"(method|trainer|backbone)(\.\w+)*?\.search(\.[\w.]+)?")
WAIT = 1.0  # seconds between two looks at what other processes train


def parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    made = ArgumentParser("search.py", description=DESCRIPTION, formatter_class=argparse.RawTextHelpFormatter)
    made.add_argument("-m", "--multirun", action="store_true", help="a study for each combination of the values given")
    made.add_argument("--config-dir", metavar="FOLDER", help="options of your own, as for train.py")
    made.add_argument(
        "overrides", nargs="*", metavar="key=value", help="as for train.py, and the keys of conf/search.yaml"
    )
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 1 where a study ended with an error (the others went on)."""
    given = parser().parse_intermixed_args(arguments)
    try:
        own = own_folder(given.config_dir)
        with hydra_started(own) as loader:
            files = ConfFiles(loader, given.overrides)
            with files.explained():
                studies = _studies(files, given.overrides, given.multirun, own)
    except BenchError as error:
        tell(f"error: {error}", sys.stderr)
        return 1
    return _search(studies)


def _studies(
    files: ConfFiles, words: Sequence[str], several: bool, own: Path | None
) -> list[tuple[Study, dict[str, str]]]:
    """Each study with the options chosen in its groups."""
    from hydra import compose
    from omegaconf import OmegaConf, open_dict

    asked, settings, space = [], search_defaults(), {}
    for word in words:
        if key_of(word).startswith("hydra"):
            raise BenchError(f"{word}: search.py trains in this process; start it again elsewhere for a second one")
    for override in files.parsed(words):
        key = key_of(override.get_key_element())
        if override.is_sweep_override() and not several:
            raise BenchError(f"{override.input_line} has several values: -m makes a study of each")
        if SPACE.fullmatch(key):
            space[key] = override.value()
        elif key.startswith("search."):
            settings[key.removeprefix("search.")] = override.value()
        else:
            asked.append(override)
    options = build(Options, settings, "search")
    preset = [o.input_line or "" for o in asked if o.key_or_group.partition(".")[0] == "paper"]
    if preset and not several:
        raise BenchError(f"{preset[0]} has many cells: -m makes a study of each")
    paper: Any = OmegaConf.to_container(compose("config", preset).get("paper", {}), resolve=True) if preset else None
    studies = []
    for job in jobs_of(paper, asked):
        cfg: Any = compose("config", job, return_hydra_config=True)
        choices = {group: cfg.hydra.runtime.choices[group] for group in GROUPS}
        with open_dict(cfg):
            del cfg["hydra"]
        studies.append((Study(cfg, options, space, job, own), choices))
    return studies


def _search(studies: Sequence[tuple[Study, dict[str, str]]]) -> int:
    waiting, failed, busy = deque(studies), False, 0
    opened: set[int] = set()
    while waiting:
        study, choices = waiting[0]
        try:
            if id(study) not in opened:
                opened.add(id(study))
                print(f"{study.title}: {study.open()}", flush=True)
            state = study.advance()
            if state == "done":
                print(finish(study, choices), flush=True)
        except BenchError as error:
            tell(f"error: {study.title}: {error}", sys.stderr)
            failed, state = True, "done"
        except DeviceLost:
            tell("error: this process can compute on its GPU no longer; the same command goes on", sys.stderr)
            return 1
        busy = busy + 1 if state == "busy" else 0
        if state == "done":
            waiting.popleft()
        elif state == "busy":
            waiting.rotate(-1)
            if busy >= len(waiting):
                time.sleep(WAIT)
    return int(failed)
