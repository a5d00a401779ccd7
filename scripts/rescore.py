"""Computes metrics again from saved predictions. `python scripts/rescore.py [method=... dataset=... | ID
...]`"""

import sys

from imbalance_bench import interrupts

if __name__ == "__main__":
    interrupts.install()
    from imbalance_bench.rescore import main

    sys.exit(main())
