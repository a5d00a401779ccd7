"""The command ``imbalance-bench``: ``imbalance-bench train -m method=focal,ldam dataset=ecoli``. Each verb is a module
with a ``main``, imported when it is asked for; scripts/<verb>.py is the same command in a checkout."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Sequence

from imbalance_bench.errors import PROGRAM, suggestion
from imbalance_bench.terminal import completion, interrupts

VERBS = {  # verb: (module, what it does, how to go on after an interrupt)
    "train": (
        "imbalance_bench.train",
        "train one cell, or with -m a sweep of cells",
        "the same command goes on from there (finished cells are skipped)",
    ),
    "report": ("imbalance_bench.report.cli", "tables, figures and pages of what was run", interrupts.AGAIN),
    "collect": (
        "imbalance_bench.report.collect",
        "gather records in one file, which report can read",
        interrupts.AGAIN,
    ),
    "status": ("imbalance_bench.status", "what is done, running or missing; what failed, and why", interrupts.AGAIN),
    "rescore": ("imbalance_bench.rescore", "recompute metrics from saved predictions", interrupts.AGAIN),
    "search": (
        "imbalance_bench.search.cli",
        "search for options that are good on validation rows, with Optuna",
        "the same command goes on from there (trials that are done stay)",
    ),
    "predict": ("imbalance_bench.predict", "score new rows with a saved model", interrupts.AGAIN),
    "data": ("imbalance_bench.data.catalogue", "list, download and check data sets", interrupts.AGAIN),
    "bench": (
        "imbalance_bench.bench.cli",
        "the speed of the engine beside the loops people usually write",
        interrupts.AGAIN,
    ),
}
HELP = ("-h", "--help", "help")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a verb with the words after it; its exit status."""
    if arguments is None and (completed := completion.verb(list(VERBS))):
        command = importlib.import_module(VERBS[completed][0]).main
        return completion.of_hydra(command) if completed == "train" else int(command())
    verb, *rest = [*(sys.argv[1:] if arguments is None else arguments)] or ["help"]
    if verb == "--version":
        from imbalance_bench import __version__

        print(__version__)
        return 0
    if verb not in VERBS:
        asked = verb in HELP
        print(usage() if asked else f"error: {unknown(verb)}", file=sys.stdout if asked else sys.stderr)
        return 0 if asked else 2
    module, _, resume = VERBS[verb]
    interrupts.install("cache=overwrite begins all of it anew" if "cache=overwrite" in rest else resume)
    # One thread a process: at these sizes threads cost more than they give, and a second process uses the second core.
    # It must be set before numpy or torch load their BLAS.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if arguments is None:  # a script keeps the name that it was called by
        sys.argv = [f"{PROGRAM} {verb}", *rest]
    try:
        status = int(importlib.import_module(module).main())
        sys.stdout.flush()
    except BrokenPipeError:  # the reader (head, less) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 128 + signal.SIGPIPE
    finally:
        interrupts.tell()
    return status


def usage() -> str:
    """What --help prints."""
    verbs = "\n".join(f"  {verb:9s} {what}" for verb, (_, what, _) in VERBS.items())
    return f"usage: {PROGRAM} VERB ...\n\n{verbs}\n\n{PROGRAM} VERB --help says what a verb takes."


def unknown(verb: str) -> str:
    """The message about a word that is no verb."""
    return f"{PROGRAM} {verb}: {suggestion(verb, list(VERBS))}"


if __name__ == "__main__":
    sys.exit(main())
