"""Prints or writes tables, figures and pages from run records: `python scripts/report.py --help`."""

import sys

from imbalance_bench import interrupts

if __name__ == "__main__":
    interrupts.install()
    from imbalance_bench.report.cli import main

    sys.exit(main())
