"""Gathers records and their numbers in one file: `python scripts/collect.py --help`."""

import sys

from imbalance_bench.__main__ import main

if __name__ == "__main__":
    sys.exit(main(["collect", *sys.argv[1:]]))
