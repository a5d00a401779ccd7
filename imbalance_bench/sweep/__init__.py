"""The command line around cells: progress and summary of a sweep, exit status, errors for people."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from imbalance_bench import terminal
from imbalance_bench.errors import BenchError
from imbalance_bench.options import key_of
from imbalance_bench.running.tally import DeviceLost, StopSweep, Tally
from imbalance_bench.settings.conf_files import ConfFiles
from imbalance_bench.settings.config import cell_name
from imbalance_bench.settings.presets import check_paper, labels_in
from imbalance_bench.sweep.ends import job_ended, stream_of
from imbalance_bench.terminal import interrupts

LISTED = ("Grid", "Basic", "BasicSweeper")  # sweepers that choose nothing
COMPLETION, SHELLS = ("install", "uninstall", "query"), ("bash", "fish", "zsh")
SHOWN = 3  # cells that are named, of many that are trained together
LOST = (
    "error: this process can compute on its GPU no longer, and ends; the same command goes on from there "
    "(hydra/launcher=gpu does so by itself)"
)


class Sweep:
    """The jobs of one command. ``job`` runs in whichever process the launcher chose, the rest in the first one."""

    def __init__(self) -> None:
        self.failed = False
        self.running = ""

    def run(self, main: Callable[[], Any]) -> int:
        """Calls Hydra's ``main``; prints the summary of a sweep. The exit status of the command."""
        interrupts.describe(self.doing)
        with friendly_errors():
            from imbalance_bench.sweep.grid import register

            register()
            options_first()
            unheard = 0
            try:
                main()
                unheard = Tally.current.unheard() if Tally.current else 0
            except StopSweep:
                pass
            except DeviceLost:
                terminal.tell(LOST, sys.stderr)
        if Tally.current is None:
            return int(self.failed)
        terminal.tell(Tally.current.summary(unheard))
        return int(Tally.current.failures + unheard > 0)

    def doing(self) -> str:
        """Names what is running, for the message after an interrupt."""
        names = Tally.current.at_work() if Tally.current else [self.running] if self.running else []
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        return f"training {'; '.join(names[:SHOWN])}{more}" if names else ""

    def job(self, cfg: DictConfig) -> float | None:
        """Runs one cell, prints its line, and returns its objective to a sweeper that asks for one (Hydra's own and
        ours run what was listed).

        Raises:
            BenchError: it asks, and the cell has none.
        """
        from imbalance_bench.cells import Outcome, objective_of, run_cell
        from imbalance_bench.cells.programs import OUTCOMES
        from imbalance_bench.settings.config import from_omegaconf

        hydra = HydraConfig.get()
        os.chdir(hydra.runtime.cwd)  # whence relative paths count, also where hydra.job.chdir=true has moved away
        labels = labels_in(cfg)
        tally = Tally.find() if hydra.mode == RunMode.MULTIRUN else None
        name = cell_name(labels)
        self.running = tally.named(name, hydra.overrides.task) if tally else name
        trained = OUTCOMES.pop(hydra.job.num, None) if tally else None  # in a program with others
        if tally and trained is None:
            tally.begin(hydra.job.num, self.running)
        unrecorded = ""
        try:
            preset = hydra.runtime.choices.get("paper", "")
            check_paper(cfg, preset)
            if tally is None and (cfg.get("paper") or {}).get("cells"):
                print(f"one cell: the cells that +paper={preset} lists are run by -m", file=sys.stderr, flush=True)
            if isinstance(trained, BenchError):
                raise trained
            outcome = trained or run_cell(from_omegaconf(cfg))
        except (BenchError, OmegaConfBaseException) as error:  # before there is a cell to record it in
            outcome = Outcome("failed", labels, Path(), message=str(error))
            unrecorded = outcome.line(self.running)
        failed = outcome.status == "failed" or bool(outcome.headline and outcome.message)
        self.failed |= failed
        line = outcome.line(self.running)
        if tally:
            job_ended(tally, hydra.job.num, outcome.status, outcome.seconds, failed, unrecorded, line)
        else:
            terminal.tell_end(line, self.running, outcome.status, stream_of(outcome.status))
        if outcome.status == "failed" and cfg.get("on_error") == "stop":
            raise StopSweep
        if outcome.lost:
            raise DeviceLost
        asks = hydra.mode == RunMode.MULTIRUN and hydra.sweeper["_target_"].rpartition(".")[2] not in LISTED
        return objective_of(from_omegaconf(cfg), outcome) if asks else None


@contextmanager
def friendly_errors() -> Iterator[None]:
    """Turns what a user can fix into one message and exit status 1; other exceptions keep their traceback."""
    from hydra.errors import HydraException
    from yaml import YAMLError

    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # Hydra then raises instead of printing, and we print
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        terminal.tell(f"error: {ConfFiles.of_command().explain(error)}", sys.stderr)
        sys.exit(1)
    except BenchError as error:
        terminal.tell(f"error: {error}", sys.stderr)
        sys.exit(1)
    except (YAMLError, UnicodeDecodeError) as error:
        terminal.tell(f"error: a file of the configuration is not YAML: {' '.join(str(error).split())}", sys.stderr)
        sys.exit(1)
    except BrokenPipeError:
        raise
    except OSError as error:  # Hydra could not make the sweep's folder
        what = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
        terminal.tell(f"error: {what}; set paths.outputs=<another folder>", sys.stderr)
        sys.exit(1)


def options_first() -> None:
    """Moves options such as --config-dir before the overrides: Hydra reads none that stand between them. A relative
    --config-path counts from the working directory, which Hydra would take from scripts/."""
    from hydra._internal.utils import get_args_parser

    given = get_args_parser().parse_intermixed_args()
    check_flags(given)
    options = list(sys.argv[1:])
    for override in given.overrides:
        options.remove(override)
    if given.hydra_help:  # is Hydra's, whose defaults have none of our groups
        given.overrides = [override for override in given.overrides if key_of(override).startswith("hydra")]
    if given.config_path and "://" not in given.config_path:
        folder = Path(given.config_path).expanduser().absolute()
        if not folder.is_dir():
            raise BenchError(f"--config-path {given.config_path}: there is no folder {folder}")
        options += ["--config-path", str(folder)]
    sys.argv[1:] = [*options, *given.overrides]


def check_flags(given: Any) -> None:
    """Raises BenchError for flags of Hydra's that Hydra itself answers with a traceback, or passes over."""
    if given.help or given.hydra_help:  # whatever else is asked for
        return
    commands = ("run", "multirun", "cfg", "info", "shell_completion")
    asked = [f"--{name.replace('_', '-')}" for name in commands if getattr(given, name)]
    if len(asked) > 1:
        raise BenchError(
            f"{' and '.join(asked)} do not go together: a command trains one cell, or several (--multirun), or shows "
            "the settings of one (--cfg, --info): leave all but one out"
        )
    for name in ("resolve", "package"):
        if getattr(given, name) and not given.cfg:
            raise BenchError(f"--{name} applies to --cfg only: add --cfg job, or leave it out")
    if given.experimental_rerun:
        raise BenchError(
            "--experimental-rerun reads a pickle, and there is none: -cp <folder of a cell> -cn config runs it again"
        )
    if given.shell_completion:
        words = [override for override in given.overrides if override.partition("=")[0] in COMPLETION]
        if len(words) != 1 or words[0].partition("=")[2] not in SHELLS:
            raise BenchError(
                f"--shell-completion needs one of {', '.join(f'{word}=' for word in COMPLETION)} with bash, fish or "
                "zsh, as in --shell-completion install=bash"
            )
