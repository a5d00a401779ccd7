"""Trains one cell, or with -m a sweep of cells. `python scripts/train.py --help` lists the options."""

import os

# One thread a process: at these sizes threads cost more than they give, and a second process uses the second core.
# It must be set before numpy or torch load their BLAS.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import sys

import hydra
from omegaconf import DictConfig

from imbalance_bench.sweep import Sweep, friendly_errors


@hydra.main(version_base="1.3", config_path="../conf", config_name="config")
def main(cfg: DictConfig) -> float | None:
    """Runs the cell that ``cfg`` describes; returns its headline metric, for a sweeper."""
    return SWEEP.job(cfg)


if __name__ == "__main__":
    SWEEP = Sweep()
    with friendly_errors():
        main()
    sys.exit(SWEEP.end())
