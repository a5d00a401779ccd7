"""The machine: what it is, what it moves and multiplies a second, and what a launch costs."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

from imbalance_bench.bench.compare import synchronise
from imbalance_bench.bench.gpu.sections import Setting
from imbalance_bench.running.devices import device_name, gpu_facts
from imbalance_bench.settings.identity import provenance

LAUNCHES = 1000


def seconds(work: Callable[[], Any], times: int) -> float:
    """Of one call, after one that does not count."""
    work()
    synchronise()
    start = time.perf_counter()
    for _ in range(times):
        work()
    synchronise()
    return (time.perf_counter() - start) / times


def bandwidth(setting: Setting) -> float:
    """GB/s of a copy, read and written."""
    a = torch.empty(setting.sized(2**28, 2**16), device=setting.device)
    b = torch.empty_like(a)
    return 2 * a.numel() * a.element_size() / seconds(lambda: b.copy_(a), setting.sized(20, 2)) / 1e9


def product(setting: Setting, dtype: torch.dtype, tf32: bool = False) -> float:
    """TFLOP/s of a square matrix product."""
    n = setting.sized(8192, 128)
    a = torch.randn(n, n, device=setting.device).to(dtype)
    allowed = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = tf32
    try:
        return 2 * n**3 / seconds(lambda: a @ a, setting.sized(10, 2)) / 1e12
    finally:
        torch.backends.cuda.matmul.allow_tf32 = allowed


def launch(setting: Setting) -> dict[str, float | None]:
    """Microseconds of one tiny kernel: called from Python, and as one of a thousand nodes of a graph."""
    x = torch.zeros(1, device=setting.device)
    times = setting.sized(LAUNCHES, 10)

    def eager() -> None:
        for _ in range(times):
            x.add_(1)

    found: dict[str, float | None] = {"eager": 1e6 * seconds(eager, 3) / times, "in a graph": None}
    if setting.gpu:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            eager()
        found["in a graph"] = 1e6 * seconds(graph.replay, 3) / times
    return found


def facts(setting: Setting) -> dict[str, Any]:
    """Names, versions and flags; peaks; the cost of a launch."""
    machine = provenance()
    return {
        "device": device_name(setting.device),
        **gpu_facts(setting.device),
        "host": machine["hardware"],
        "python": machine["python"],
        "packages": machine["packages"],
        "commit": machine["git"],
        "copy, GB/s": bandwidth(setting),
        "product, TFLOP/s": {
            "float32": product(setting, torch.float32),
            "tf32": product(setting, torch.float32, tf32=True),
            "bfloat16": product(setting, torch.bfloat16),
        },
        "launch, microseconds": launch(setting),
    }
