"""Freed memory stays with the C allocator for the next step, which is worth a factor of two."""

from __future__ import annotations

import ctypes
import platform

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h


def keep_freed_memory() -> None:
    """Makes glibc keep freed blocks instead of handing them back to the kernel.

    Each step of a stack allocates and frees activations of some megabytes. Above its thresholds glibc maps such a
    block anew every time, and the kernel zeroes it page by page: half of the step's time for 16 runs of a small MLP.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, 1 << 30)
        libc.mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1)


def give_back_freed_memory() -> None:
    """Hands what is kept back to the kernel, as is needed now and then where each step has other shapes: blocks of
    one fit no other's, and what is kept grows to many times of what is in use."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)
