"""Computes metrics again from saved predictions. `python scripts/rescore.py [method=... dataset=... | ID ...]`"""

import sys

from imbalance_bench.__main__ import main

if __name__ == "__main__":
    sys.exit(main(["rescore", *sys.argv[1:]]))
