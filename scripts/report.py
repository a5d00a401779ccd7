"""Prints or writes tables, figures and pages from run records: `python scripts/report.py --help`."""

import sys

from imbalance_bench.__main__ import main

if __name__ == "__main__":
    sys.exit(main(["report", *sys.argv[1:]]))
