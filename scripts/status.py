"""Lists the cells that were started: how many are done, declined, running, failed, and why those failed."""

from imbalance_bench import interrupts
from imbalance_bench.status import main

if __name__ == "__main__":
    interrupts.install()
    raise SystemExit(main())
