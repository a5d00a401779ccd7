"""Input shapes that the networks for images accept."""

from __future__ import annotations

from imbalance_bench.errors import BenchError


def image_shape(shape: tuple[int, ...], backbone: str, smallest: int = 1) -> tuple[int, int, int]:
    """(channels, H, W) of images that ``backbone`` can take, of ``smallest`` pixels a side at least."""
    if len(shape) != 3:
        raise BenchError(
            f"backbone={backbone} takes images (channels, height, width), but the rows of this dataset have the shape "
            f"{shape}: choose dataset=<one of images> or backbone=mlp"
        )
    if min(shape[1:]) < smallest:
        raise BenchError(
            f"backbone={backbone} needs images of at least {smallest} x {smallest} pixels, but those of this dataset "
            f"have {shape[1]} x {shape[2]}: choose another dataset, or a backbone for smaller images (resnet20, mlp)"
        )
    channels, height, width = shape
    return channels, height, width
