"""Measures the engine on a GPU, in at most eight minutes: `make bench-gpu`. Needs neither Hydra nor any data."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

import argparse
from pathlib import Path

from imbalance_bench.errors import BenchError
from imbalance_bench.terminal import interrupts

SECTIONS = ("facts", "agreement", "plain", "meta", "lenet", "resnet", "tables", "texts", "setconv")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="*", metavar="|".join(SECTIONS), help="sections to run (default: all)")
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds; medians are shown (default 3)")
    parser.add_argument("--device", default="cuda", help="cuda (default), cuda:1, cpu")
    parser.add_argument("--quick", action="store_true", help="the smallest sizes, on the CPU: does it run?")
    parser.add_argument("--out", type=Path, help="write the numbers to this JSON file, section by section")
    arguments = parser.parse_args()
    if unknown := set(arguments.what) - set(SECTIONS):
        parser.error(f"unknown {', '.join(sorted(unknown))}: choose from {', '.join(SECTIONS)}")
    if arguments.rounds < 1:
        parser.error(f"--rounds {arguments.rounds} must be at least 1")
    if arguments.out and not arguments.out.absolute().parent.is_dir():
        parser.error(f"--out {arguments.out}: there is no folder {arguments.out.absolute().parent}")
    return arguments


if __name__ == "__main__":
    interrupts.install("the sections that were finished stand in --out")
    arguments = parse()
    import torch

    from imbalance_bench.bench.gpu.main import main

    torch.set_num_threads(1)
    device, rounds = ("cpu", 1) if arguments.quick else (arguments.device, arguments.rounds)
    try:
        main(arguments.what or SECTIONS, device, rounds, arguments.quick, arguments.out)
    except BenchError as error:
        raise SystemExit(f"error: {error}") from error
