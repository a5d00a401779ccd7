"""Devices: which one computes, how exactly, and what a record says of it."""

from __future__ import annotations

import os
import subprocess
from typing import Any

import torch

from imbalance_bench.errors import BenchError


def choose_device(name: str) -> torch.device:
    """The device of ``device=auto|cpu|cuda``; auto is the GPU where there is one."""
    if name not in ("auto", "cpu", "cuda"):
        raise BenchError(f"device={name!r} must be one of auto, cpu, cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise BenchError("device=cuda, but torch sees no GPU here: use device=auto or device=cpu")
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", torch.cuda.current_device())


def set_arithmetic(device: torch.device, tf32: bool = False, deterministic: bool = True) -> None:
    """How this process computes on ``device`` from here on. ``tf32``: whether float32 products, convolutions and LSTMs
    of a GPU may round their inputs to 10 bits (TF32); torch's own default is yes for the latter two.
    ``deterministic``: whether a GPU's kernels give equal bits every time, which some pay for with speed. Kernels are
    never chosen by timing them, which chooses others from process to process."""
    backends: Any = torch.backends
    # The older switches too: torch.compile reads them, and raises where the newer ones alone were set.
    backends.cuda.matmul.allow_tf32 = tf32
    backends.cudnn.allow_tf32 = tf32
    for layer in (backends.cudnn.conv, backends.cudnn.rnn):
        layer.fp32_precision = "tf32" if tf32 else "ieee"
    backends.cudnn.benchmark = False
    backends.cudnn.deterministic = deterministic
    everywhere = deterministic and device.type != "cpu"  # a CPU computes in one order anyway
    if everywhere:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS starts
    # A kernel that has no deterministic form warns: a method must not fail for it.
    torch.use_deterministic_algorithms(everywhere, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def device_name(device: torch.device) -> str:
    """ "cpu", or e.g. "cuda:0 NVIDIA H200"."""
    return f"{device} {torch.cuda.get_device_name(device)}" if device.type == "cuda" else str(device)


def gpu_facts(device: torch.device) -> dict[str, Any]:
    """Facts for the record: the GPU, its libraries and its arithmetic; none for another device."""
    if device.type != "cuda":
        return {}
    backends: Any = torch.backends
    return {
        "gpu": {
            "name": torch.cuda.get_device_name(device),
            "driver": _driver(),
            "cuda": torch.version.cuda,
            "cudnn": backends.cudnn.version(),
            "torch": torch.__version__,  # with the build, e.g. 2.15.0+cu132
            "tf32": {
                "matmul": backends.cuda.matmul.allow_tf32,
                "convolution": backends.cudnn.conv.fp32_precision == "tf32",
                "rnn": backends.cudnn.rnn.fp32_precision == "tf32",
            },
            "deterministic": torch.are_deterministic_algorithms_enabled() and backends.cudnn.deterministic,
            "benchmark": backends.cudnn.benchmark,
        }
    }


def _driver() -> str | None:
    ask = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(ask, capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.partition("\n")[0].strip() or None
