"""Completion of the command ``imbalance-bench`` in a shell: verbs and their options by argcomplete, which the shell's
side is of too (``eval "$(register-python-argcomplete imbalance-bench)"``), and what ``train`` takes by Hydra."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
from collections.abc import Callable, Sequence

ASKED = "_ARGCOMPLETE"  # set by the shell's side: at which word the command begins
REPLY = 8  # the file descriptor that it reads candidates from


def of_parser(parser: argparse.ArgumentParser) -> None:
    """Answers and leaves, where the shell asks what may follow; else returns at once."""
    if ASKED in os.environ:
        import argcomplete

        argcomplete.autocomplete(parser)


def verb(verbs: Sequence[str]) -> str | None:
    """The verb whose words the shell asks about, which its own parser answers; None where it does not ask. What is
    asked about the verb itself is answered here."""
    if ASKED not in os.environ:
        return None
    said = os.environ["COMP_LINE"][: int(os.environ["COMP_POINT"])].split(" ")
    if len(said) < 3 or said[1] not in verbs:
        parser = argparse.ArgumentParser()
        parser.add_argument("verb", choices=verbs)
        of_parser(parser)
    os.environ[ASKED] = "2"  # the command of the parser begins at its verb
    return said[1]


def of_hydra(train: Callable[[], int]) -> int:
    """Answers by Hydra, which prints its candidates in a line."""
    os.environ["COMP_LINE"] = os.environ["COMP_LINE"].partition(" ")[2]  # the verb is the command that Hydra knows
    sys.argv = ["train", "-sc", "query=bash"]
    with contextlib.redirect_stdout(io.StringIO()) as printed, contextlib.suppress(SystemExit):
        train()
    with os.fdopen(REPLY, "w") as reply:
        reply.write(os.environ.get("_ARGCOMPLETE_IFS", "\013").join(printed.getvalue().split()))
    return 0
