"""Random crops, shifts and flips of whole batches, on the device."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F

from imbalance_bench.data.base import Task
from imbalance_bench.engine.batches import Batch
from imbalance_bench.errors import BenchError

CROP = 4  # pixels of zeros on each side
SHIFT = 0.2  # share of the image's height and width


def crop_flip(batch: Batch, generators: Sequence[torch.Generator]) -> Batch:
    """He et al. (2016), Section 4.2: 4 pixels of zeros on each side, a random crop, a flip half of the time."""
    return _moved(batch, F.pad(batch.x, (CROP,) * 4), [2 * CROP + 1] * 2, [0, 0], generators)


def shift_flip(batch: Batch, generators: Sequence[torch.Generator]) -> Batch:
    """Keras's ``width_shift_range=0.2, height_shift_range=0.2, horizontal_flip=True``: whole-pixel shifts of up to a
    fifth; what comes in from outside repeats the border."""
    reach = [int(SHIFT * size) for size in batch.x.shape[-2:]]
    return _moved(batch, batch.x, [2 * r + 1 for r in reach], [-r for r in reach], generators)


def _moved(
    batch: Batch, x: torch.Tensor, spans: list[int], lowest: list[int], generators: Sequence[torch.Generator]
) -> Batch:
    """The batch with images cut from ``x`` (R, B, C, H', W') at offsets drawn from ``lowest`` to ``lowest + span - 1``
    for each, and mirrored half of the time; coordinates outside repeat the border."""
    channels, *size = batch.x.shape[2:]
    drawn = batch.draw(
        generators, lambda n, g: torch.stack([torch.randint(m, (n,), generator=g) for m in (*spans, 2)], 1)
    )
    top, left, mirror = drawn.flatten(0, 1).T
    rows = _coordinates(top + lowest[0], size[0], x.shape[-2])
    columns = _coordinates(left + lowest[1], size[1], x.shape[-1])
    columns = torch.where(mirror[:, None] == 1, columns.flip(1), columns)
    flat = x.flatten(0, 1)
    flat = flat.gather(2, rows[:, None, :, None].expand(-1, channels, -1, flat.shape[-1]))
    flat = flat.gather(3, columns[:, None, None, :].expand(-1, channels, size[0], -1))
    return batch._replace(x=flat.view(batch.x.shape))


def _coordinates(start: torch.Tensor, size: int, limit: int) -> torch.Tensor:
    return (start[:, None] + torch.arange(size, device=start.device)).clamp(0, limit - 1)


Augmentation = Callable[[Batch, Sequence[torch.Generator]], Batch]

AUGMENTATIONS: dict[str, Augmentation] = {"crop_flip": crop_flip, "shift_flip": shift_flip}


def augmentation(name: str, tasks: Sequence[Task]) -> Augmentation | None:
    """The augmentation that ``trainer.augment`` names, for the rows of these tasks; None for "none"."""
    shape = tasks[0].train.x.shape[1:]
    if name != "none" and len(shape) != 3:
        raise BenchError(
            f"trainer.augment={name} moves images (channels, height, width), and a row here has the shape {shape}: "
            "set trainer.augment=none"
        )
    return AUGMENTATIONS.get(name)
