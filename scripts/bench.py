"""Prints the speed of the engine beside the loops that people write: `make bench`."""

import sys

from imbalance_bench.__main__ import main

if __name__ == "__main__":
    sys.exit(main(["bench", *sys.argv[1:]]))
