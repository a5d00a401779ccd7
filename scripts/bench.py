"""Prints the speed of the engine beside the loops that people write: `make bench`."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds; the median is shown (default 5)")
    return parser.parse_args()


if __name__ == "__main__":
    arguments = parse()
    from imbalance_bench.bench import main

    main(arguments.rounds)
