"""Lists, downloads and checks data sets. `python scripts/data.py list|fetch|verify [NAME...] [--data FOLDER]`"""

import sys

from imbalance_bench import interrupts

if __name__ == "__main__":
    interrupts.install()
    from imbalance_bench.data.catalogue import main

    sys.exit(main())
