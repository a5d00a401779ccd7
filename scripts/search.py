"""Searches good options by their scores on validation rows: `python scripts/search.py --help`."""

import sys

from imbalance_bench.__main__ import main

if __name__ == "__main__":
    sys.exit(main(["search", *sys.argv[1:]]))
