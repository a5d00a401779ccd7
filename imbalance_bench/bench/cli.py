"""Prints the speed of the engine beside the loops that people write: `make bench`."""

from __future__ import annotations

import argparse
import importlib

from imbalance_bench.settings.identity import provenance
from imbalance_bench.terminal.arguments import ArgumentParser

SECTIONS = {  # name → module of imbalance_bench.bench and what prints it
    "plain": "tabular.plain",
    "meta": "tabular.meta",
    "runner": "tabular.runner",
    "command": "command.main",
    "images": "images.main",
    "convolutions": "convolutions.main",
    "episodes": "episodes.main",
    "texts": "texts.main",
    "sweeps": "sweeps.main",
    "long": "sweeps.long",
    "scale": "scale.main",
}


def parse() -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="*", metavar="|".join(SECTIONS), help="what to measure (default: all)")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds; the median is shown (default 5)")
    parser.add_argument("--images", type=int, help="how many LeNet and Deep Over-sampling train on (MNIST: 50000)")
    parser.add_argument(
        "--records", type=int, default=10_000, help="of scale: up to so many (default 10000; 100000: hours, 6 GB)"
    )
    parser.add_argument("--cells", type=int, default=2000, help="of long: cells of the sweep (default 2000)")
    arguments = parser.parse_args()
    if unknown := set(arguments.what) - set(SECTIONS):
        parser.error(f"unknown {', '.join(sorted(unknown))}: choose from {', '.join(SECTIONS)}")
    return arguments


def main() -> int:
    """Prints the sections that the command line asks for."""
    arguments = parse()
    import torch

    torch.set_num_threads(1)
    hardware = provenance()["hardware"]
    print(f"{hardware}, one thread, torch {torch.__version__}; medians of {arguments.rounds} interleaved rounds")
    for name, place in SECTIONS.items():
        if not arguments.what or name in arguments.what:
            module, _, printer = place.partition(".")
            sizes = {
                "images": {"images": arguments.images},
                "scale": {"records": arguments.records},
                "long": {"cells": arguments.cells},
            }.get(name, {})
            getattr(importlib.import_module(f"imbalance_bench.bench.{module}"), printer)(arguments.rounds, **sizes)
    return 0
