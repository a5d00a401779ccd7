"""The command lines of the scripts that train nothing."""

from __future__ import annotations

import argparse
import sys
from typing import Any

OPTIONS = {"paths.outputs": "--outputs", "paths.data": "--data"}


class ArgumentParser(argparse.ArgumentParser):
    """Tells who writes an override of scripts/train.py for a folder which option that is here."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        for word in sys.argv[1:] if args is None else args:
            key, _, value = word.partition("=")
            option = OPTIONS.get(key.lstrip("+"))
            if option in self._option_string_actions:
                self.exit(1, f"error: {word} is for scripts/train.py; here it is {option} {value}\n")
        return super().parse_known_args(args, namespace)
