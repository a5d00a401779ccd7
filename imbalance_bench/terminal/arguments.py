"""The command lines of the scripts that train nothing."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from typing import Any

from imbalance_bench.errors import command
from imbalance_bench.terminal import completion

OPTIONS = {"paths.outputs": "--outputs", "paths.data": "--data"}


class ArgumentParser(argparse.ArgumentParser):
    """Tells who writes an override of scripts/train.py for a folder which option that is here, and a shell what may
    follow."""

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        completion.of_parser(self)  # which calls parse_known_args
        return super().parse_args(args, namespace)

    def parse_intermixed_args(self, args: Any = None, namespace: Any = None) -> Any:
        completion.of_parser(self)
        return super().parse_intermixed_args(args, namespace)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        for word in sys.argv[1:] if args is None else args:
            key, _, value = word.partition("=")
            option = OPTIONS.get(key.lstrip("+"))
            if option in self._option_string_actions:
                self.exit(1, f"error: {word} is for {command('train')}; here it is {option} {value}\n")
        return super().parse_known_args(args, namespace)


def plugins_of(words: Iterable[str]) -> tuple[list[str], list[str]]:
    """The words of a command line without plugins=[a,b], and the modules that it names."""
    others, modules = [], []
    for word in words:
        key, sign, value = word.partition("=")
        if sign and key == "plugins":
            modules = [name for each in value.strip("[]").split(",") if (name := each.strip())]
        else:
            others.append(word)
    return others, modules
