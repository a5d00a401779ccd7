"""Lists, downloads and checks data sets. `python scripts/data.py list|fetch|verify [NAME...] [--data FOLDER]`"""

import sys

from imbalance_bench.__main__ import main

if __name__ == "__main__":
    sys.exit(main(["data", *sys.argv[1:]]))
