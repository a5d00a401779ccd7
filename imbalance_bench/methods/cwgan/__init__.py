"""cWGAN: ``method`` and the networks that it samples from (``gan``)."""

from imbalance_bench.methods.cwgan.method import CWGAN

__all__ = ["CWGAN"]
