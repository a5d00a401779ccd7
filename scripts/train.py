"""Trains one cell, or with -m a sweep of cells. `python scripts/train.py --help` lists the options."""

import sys

from imbalance_bench.__main__ import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
