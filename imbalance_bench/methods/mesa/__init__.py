"""MESA: ``method`` and the soft actor-critic that trains its meta-sampler (``sac``)."""

from imbalance_bench.methods.mesa.method import Mesa

__all__ = ["Mesa"]
