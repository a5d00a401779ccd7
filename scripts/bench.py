"""Prints the speed of the engine beside the loops that people write: `make bench`."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="*", metavar="tabular|images|texts", help="what to measure (default: all)")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds; the median is shown (default 5)")
    arguments = parser.parse_args()
    if unknown := set(arguments.what) - {"tabular", "images", "texts"}:
        parser.error(f"unknown {', '.join(sorted(unknown))}: choose tabular, images or texts")
    return arguments


if __name__ == "__main__":
    arguments = parse()
    import torch

    from imbalance_bench.bench import images, tabular, texts
    from imbalance_bench.identity import provenance

    torch.set_num_threads(1)
    hardware = provenance()["hardware"]
    print(f"{hardware}, one thread, torch {torch.__version__}; medians of {arguments.rounds} interleaved rounds")
    for name, subject in (("tabular", tabular), ("images", images), ("texts", texts)):
        if not arguments.what or name in arguments.what:
            subject.main(arguments.rounds)
