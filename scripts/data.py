"""Lists, downloads and checks data sets. `python scripts/data.py list|fetch|verify [NAME...] [--data FOLDER]`"""

import sys

from imbalance_bench.data.catalogue import main

if __name__ == "__main__":
    sys.exit(main())
