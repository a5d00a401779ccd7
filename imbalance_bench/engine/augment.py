"""Random crops, shifts and flips of whole batches, on the device."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

CROP = 4  # pixels of zeros on each side
SHIFT = 0.2  # share of the image's height and width


def crop_flip(x: torch.Tensor, generators: Sequence[torch.Generator]) -> torch.Tensor:
    """He et al. (2016), Section 4.2: 4 pixels of zeros on each side, a random crop, a flip half of the time."""
    spans = (2 * CROP + 1,) * 2
    return _moved(F.pad(x, (CROP,) * 4), x.shape[-2:], spans, (0, 0), generators)


def shift_flip(x: torch.Tensor, generators: Sequence[torch.Generator]) -> torch.Tensor:
    """Keras's ``width_shift_range=0.2, height_shift_range=0.2, horizontal_flip=True``: whole-pixel shifts of up to a
    fifth; what comes in from outside repeats the border."""
    reach = [int(SHIFT * size) for size in x.shape[-2:]]
    return _moved(x, x.shape[-2:], [2 * r + 1 for r in reach], [-r for r in reach], generators)


def _moved(
    x: torch.Tensor,
    size: Sequence[int],
    spans: Sequence[int],
    lowest: Sequence[int],
    generators: Sequence[torch.Generator],
) -> torch.Tensor:
    """Images (R, B, C, H, W) cut to ``size`` at offsets drawn from ``lowest`` to ``lowest + span - 1`` for each, and
    mirrored half of the time; coordinates outside repeat the border. Run r draws from ``generators[r]``."""
    runs, batch, channels = x.shape[:3]
    drawn = [torch.stack([torch.randint(span, (batch,), generator=g) for span in (*spans, 2)]) for g in generators]
    top, left, mirror = torch.stack(drawn, 1).flatten(1).to(x.device)  # (3, R · B)
    rows = _coordinates(top + lowest[0], size[0], x.shape[-2])
    columns = _coordinates(left + lowest[1], size[1], x.shape[-1])
    columns = torch.where(mirror[:, None] == 1, columns.flip(1), columns)
    flat = x.flatten(0, 1)
    flat = flat.gather(2, rows[:, None, :, None].expand(-1, channels, -1, flat.shape[-1]))
    flat = flat.gather(3, columns[:, None, None, :].expand(-1, channels, size[0], -1))
    return flat.view(runs, batch, *flat.shape[1:])


def _coordinates(start: torch.Tensor, size: int, limit: int) -> torch.Tensor:
    return (start[:, None] + torch.arange(size, device=start.device)).clamp(0, limit - 1)


AUGMENTATIONS = {"crop_flip": crop_flip, "shift_flip": shift_flip}
