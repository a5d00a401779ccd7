"""What surrounds cells on the command line: progress and summary of a sweep, exit status, errors for people.

A sweep's jobs may run in other processes (joblib, SLURM), so its tally is a file, ``<sweep dir>/outcomes.jsonl``: first
{"total": n}, then a line a job.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from imbalance_bench.errors import BenchError
from imbalance_bench.registry import nearest

CONF = Path(__file__).resolve().parent.parent / "conf"


class Sweep:
    """The jobs of one command. ``job`` runs in whichever process the launcher chose, ``end`` in the first one."""

    def __init__(self) -> None:
        self.failed = False

    def job(self, cfg: DictConfig) -> float | None:
        """Runs one cell, prints its line, and returns its headline (None when there is none)."""
        from imbalance_bench.config import GROUPS, from_omegaconf
        from imbalance_bench.run import Outcome, run_cell

        hydra = HydraConfig.get()
        labels = {g: cfg[g].get("label", "?") for g in GROUPS if g in cfg}
        reason = excluded(cfg.get("paper"), labels)
        if reason and hydra.mode == RunMode.MULTIRUN:
            return None  # no cell of this sweep: not counted either
        try:
            config = from_omegaconf(cfg)
            outcome = Outcome("declined", labels, Path(), message=reason) if reason else run_cell(config)
        except (BenchError, OmegaConfBaseException) as error:  # before there is a cell to record it in
            outcome = Outcome("failed", labels, Path(), message=explain(error))
        failed = outcome.status == "failed" or bool(outcome.headline and outcome.message)
        progress = ""
        if hydra.mode == RunMode.MULTIRUN:
            progress = Tally(Path(hydra.sweep.dir)).add(outcome.status, outcome.seconds, failed)
        elif failed:
            self.failed = True
        print(progress + outcome.line(), file=sys.stderr if outcome.status == "failed" else sys.stdout, flush=True)
        if outcome.status == "failed" and cfg.on_error == "stop":
            raise SystemExit(1)
        return outcome.headline["mean"] if outcome.headline else None

    def end(self) -> int:
        """Prints the summary of a sweep; the exit status of the command."""
        if Tally.current is not None:
            print(Tally.current.summary(), flush=True)
            return int(Tally.current.failures > 0)
        return int(self.failed)


class Tally:
    """The outcomes of a sweep so far."""

    current: Tally | None = None  # the sweep that this process started

    def __init__(self, folder: Path) -> None:
        self.path = folder / "outcomes.jsonl"

    def start(self, total: int, none: str = "") -> None:
        """``none``: why there is no job at all."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps({"total": total, "none": none, "time": time.time()}) + "\n")
        Tally.current = self

    def _lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.path.read_text().splitlines()]

    @property
    def failures(self) -> int:
        return sum(line["failed"] for line in self._lines()[1:])

    def add(self, status: str, seconds: float, failed: bool) -> str:
        """Enters a job and returns the progress that precedes its line, e.g. ``[3/26, 0:40 left] ``."""
        with self.path.open("a") as file:  # one short write: lines of several processes do not mix
            file.write(json.dumps({"status": status, "seconds": seconds, "failed": failed}) + "\n")
        head, *jobs = self._lines()
        trained = [j for j in jobs if j["seconds"]]
        if not trained or len(jobs) >= head["total"]:
            return f"[{len(jobs)}/{head['total']}] "
        # Jobs that were done before cost nothing: the pace is that of the trained ones, over all processes.
        pace = (time.time() - head["time"]) / len(trained)
        return f"[{len(jobs)}/{head['total']}, {clock(pace * (head['total'] - len(jobs)))} left] "

    def summary(self) -> str:
        head, *jobs = self._lines()
        if head["none"]:
            return f"no cells: {head['none']}"
        count = Counter(j["status"] for j in jobs)
        parts = [f"{count.pop('done', 0)} done", f"{count.pop('skipped', 0)} skipped (done before)"]
        parts += [f"{n} {status}" for status, n in sorted({"failed": 0, **count}.items())]
        text = f"{len(jobs)} of {head['total']} cells: {', '.join(parts)}; {clock(time.time() - head['time'])}"
        return text + ("; python scripts/status.py shows why" if self.failures else "")


def clock(seconds: float) -> str:
    minutes, seconds = divmod(int(round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


class CountJobs(Callback):
    """Hydra callback: counts the jobs of a sweep before the first one starts."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        from hydra.core.global_hydra import GlobalHydra
        from hydra.core.override_parser.overrides_parser import OverridesParser

        from imbalance_bench.config import GROUPS

        params = config.hydra.sweeper.get("params") or {}
        parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
        values: dict[str, list[str]] = {}
        given = [f"{k}={v}" for k, v in params.items()] + list(config.hydra.overrides.task)
        for override in parser.parse_overrides(given):
            sweep = override.is_discrete_sweep()
            values[override.get_key_element()] = list(override.sweep_string_iterator()) if sweep else ["one"]
        fixed = {g: config[g].get("label", "?") for g in GROUPS if g in config}
        swept = [[(key, value) for value in many] for key, many in values.items() if len(many) > 1]
        reasons = [excluded(config.get("paper"), fixed | dict(chosen)) for chosen in itertools.product(*swept)]
        total = reasons.count(None)
        Tally(Path(config.hydra.sweep.dir)).start(total, "" if total else str(reasons[0]))


def excluded(paper: Any, labels: dict[str, str]) -> str | None:
    """Why a cell of a preset's product does not belong to its table or figure, or None.

    ``paper.matched``: group → option → {other group: the labels that go with it}; ``paper.restrict``: the same of
    methods.
    """
    if not paper:
        return None
    rules = {"restrict": {"method": paper.get("restrict")}, "matched": paper.get("matched") or {}}
    for key, groups in rules.items():
        for group, options in groups.items():
            for other, allowed in ((options or {}).get(labels[group]) or {}).items():
                if labels[other] not in allowed:
                    what = paper.get("table") or paper.get("figure")
                    only = f"{what} has {group}={labels[group]} with {other}={','.join(allowed)} only"
                    return f"{only} (paper.{key}=null runs all)"
    return None


@contextmanager
def friendly_errors() -> Iterator[None]:
    """Turns what a user can mend into one message and exit status 1; other exceptions keep their traceback."""
    from hydra.errors import HydraException

    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # Hydra then raises instead of printing, and we print
    try:
        check_options(sys.argv[1:])
        yield
    except (BenchError, HydraException, OmegaConfBaseException) as error:
        print(f"error: {explain(error)}", file=sys.stderr)
        sys.exit(1)
    except OSError as error:  # Hydra could not make the sweep's folder
        what = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
        print(f"error: {what}; set paths.outputs=<another folder>", file=sys.stderr)
        sys.exit(1)


def check_options(arguments: list[str]) -> None:
    """Unknown options of a config group, e.g. method=smotte, with the nearest names; before Hydra composes anything,
    so that a sweep does not stop at its last job."""
    folders = [CONF] + [Path(v) for a, v in zip(arguments, arguments[1:]) if a in ("--config-dir", "-cd")]
    folders += [Path(a.split("=", 1)[1]) for a in arguments if a.startswith("--config-dir=")]
    for argument in arguments:
        match = re.fullmatch(r"\+?([a-z]+(?:/[a-z]+)?)=([\w,./-]+)", argument)
        if not match:
            continue
        group, options = match.groups()
        known = [str(p.relative_to(f / group))[:-5] for f in folders for p in (f / group).rglob("*.yaml")]
        for option in options.split(",") if known else []:
            if option not in known and group != "hydra/launcher":
                raise BenchError(f"unknown {group}={option}: {nearest(option, known)}")


def explain(error: BaseException) -> str:
    """The message of an error; for a key that no config has, the nearest keys of its group."""
    text = str(error)
    match = re.search(r"Key '(\w+)' is not in struct\s+full_key: ([\w.]+)", f"{text} {error.__cause__ or ''}")
    if not match:
        return text
    key, full = match.groups()
    group = full.rpartition(".")[0]
    return f"unknown key {full}: {nearest(key, keys_of(group, chosen(group, sys.argv[1:])))}"


def chosen(group: str, arguments: list[str]) -> str | None:
    """The option of a group that the command line names, if it names one and not several."""
    match = re.search(rf"(?:^|\s)\+?{group}=([\w./-]+)(?:\s|$)", " ".join(arguments)) if group else None
    return match.group(1) if match else None


def keys_of(group: str, option: str | None = None) -> set[str]:
    """The keys of a group's option and of what it is based on; of all its options where none is named; of the top
    level for ""."""
    import yaml

    def read(name: str) -> dict[str, Any]:
        content = yaml.safe_load((CONF / group / f"{name}.yaml").read_text()) or {}
        content |= content.get(group) or {}  # options that set more than their own group
        bases = [b for b in content.get("defaults", []) if isinstance(b, str) and b != "_self_" and b[0] != "/"]
        return {k: v for base in bases for k, v in read(base.partition("@")[0]).items()} | content

    if not group:
        return set(yaml.safe_load((CONF / "config.yaml").read_text())) | {p.name for p in CONF.iterdir() if p.is_dir()}
    known = [p.stem for p in (CONF / group).glob("*.yaml")]
    names = [option] if option in known else known
    return {key for name in names for key in read(str(name))} - {"defaults", "name", "label", group}
