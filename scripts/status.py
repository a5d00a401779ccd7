"""Lists the cells that were started: how many are done, declined, running, failed, and why those failed."""

import sys

from imbalance_bench.__main__ import main

if __name__ == "__main__":
    sys.exit(main(["status", *sys.argv[1:]]))
