"""SetConv: ``method``, the layer (``network``) and its training (``episodes``)."""

from imbalance_bench.methods.setconv.method import SetConv

__all__ = ["SetConv"]
