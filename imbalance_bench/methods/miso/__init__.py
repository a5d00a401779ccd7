"""MISO and its control CAG: the methods (``method``), how their generator learns and writes (``generator``), its
networks (``networks``, ``seq2seq``, ``mine``), and what is measured of what it wrote (``anchors``)."""

from imbalance_bench.methods.miso.method import CAG, MISO

__all__ = ["CAG", "MISO"]
