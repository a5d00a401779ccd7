"""Trains one cell, or with -m a sweep of cells. `python scripts/train.py --help` lists the options."""

import os
import sys

from imbalance_bench import interrupts

if __name__ == "__main__":
    interrupts.install("the same command goes on from there (finished cells are skipped)")

# One thread a process: at these sizes threads cost more than they give, and a second process uses the second core.
# It must be set before numpy or torch load their BLAS.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import hydra
from omegaconf import DictConfig

from imbalance_bench.sweep import Sweep


def main() -> int:
    """Trains what the command line asks for; the exit status."""
    sweep = Sweep()

    @hydra.main(version_base="1.3", config_path="../conf", config_name="config")
    def cell(cfg: DictConfig) -> float | None:
        """Runs the cell that ``cfg`` describes; returns its headline metric, for a sweeper."""
        return sweep.job(cfg)

    return sweep.run(cell)


if __name__ == "__main__":
    sys.exit(main())
