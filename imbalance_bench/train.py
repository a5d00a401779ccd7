"""Trains one cell, or with -m a sweep of cells. ``--help`` lists the options."""

from __future__ import annotations

import hydra
from omegaconf import DictConfig

from imbalance_bench.settings.conf_files import CONF
from imbalance_bench.sweep import Sweep


def main() -> int:
    """Trains what the command line asks for; the exit status."""
    sweep = Sweep()

    @hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
    def cell(cfg: DictConfig) -> float | None:
        """Runs the cell that ``cfg`` describes; returns its objective, for a sweeper."""
        return sweep.job(cfg)

    return sweep.run(cell)
