"""What came of a study: the best options, in a file that train.py takes, and in words."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from statistics import fmean
from typing import Any

import numpy as np

from imbalance_bench.errors import command, of_outputs
from imbalance_bench.options import key_of
from imbalance_bench.registry import GROUPS
from imbalance_bench.search.study import Study
from imbalance_bench.search.trials import Trial
from imbalance_bench.settings.config import SAME_METHOD, STUDY
from imbalance_bench.store.files import atomic_write

BEST = "study/best.yaml"  # in the study's folder: an option of the group ``study``


def finish(study: Study, choices: Mapping[str, str]) -> str:
    """Writes the file of the best options, and says what was found. ``choices``: group → option of the command."""
    best, trials = study.best, study.trials
    if best is None:
        return f"{study.title}: none of {len(trials)} trials has a score; the last: {trials[-1].reason}"
    record = study.record(best)
    metric, group = study.head(best)
    test = study.scores(record, "test")
    spread = f" ± {float(np.std(test, ddof=1)):.4f}" if len(test) > 1 else ""
    atomic_write(study.folder / BEST, _yaml(study, best, choices, f"{metric} ({group})"))
    pruned = sum(trial.pruned for trial in trials)
    failed = sum(trial.value is None for trial in trials) - pruned
    place = of_outputs(study.config.paths.outputs)
    labels = study.config.labels
    lines = [
        f"{study.title}: best of {len(trials)} trials"
        + (f", {failed} of which failed" if failed else "")
        + (f", {pruned} of which were pruned" if pruned else "")
        + f": {best.name}",
        f"{metric} ({group}): {best.value:.4f} on validation, {fmean(test):.4f}{spread} on test ({record['path']})",
        f"again, here or on other data: {_again(study, best)}",
        f"each run with its own choice: {command('report')} --tuned{place} method={labels['method']} "
        f"dataset={labels['dataset']}",
        *study.doubts(),
    ]
    return "\n  ".join(lines)


def _again(study: Study, best: Trial) -> str:
    """The command that trains with the best options: what was found is not among its words, which beat the file."""
    rest, found = [], dict[str, Any]()
    for word in study.overrides:
        key = key_of(word)
        if key in GROUPS or any(key == of or key.startswith(f"{of}.") for of in best.values):
            continue
        rest.append(word)
        found |= {of: value for of, value in best.values.items() if of.startswith(f"{key}.")}  # of a whole mapping
    rest += [f"++{key}={json.dumps(value)}" for key, value in found.items()]
    rest += [f"hydra.searchpath=[file://{study.own.absolute()}]"] if study.own else []
    return f"{command('train')} {shlex.join(['--config-dir', str(study.folder), '+study=best', *rest])}"


def _yaml(study: Study, best: Trial, choices: Mapping[str, str], metric: str) -> str:
    """An option of the group ``study`` that puts the best options in the place of the defaults."""
    import yaml

    whole = study.cell(best.values).plain["method"]
    values: dict[str, Any] = {STUDY: {key: whole[key] for key in ("label", *SAME_METHOD) if key in whole}}
    for key, value in best.values.items():
        *groups, last = key.split(".")
        node = values
        for group in groups:
            node = node.setdefault(group, {})
        node[last] = value
    head = (
        f"# @package _global_\n# Trial {best.number} of {study.name}: {metric} {best.value:.4f} on validation.\n"
        f"# Again: {_again(study, best)}\n"
    )
    defaults = [{f"override /{group}": option} for group, option in choices.items()]
    return head + yaml.safe_dump({"defaults": defaults, **values}, sort_keys=False)
