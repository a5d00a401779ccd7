"""Devices: which one computes, how exactly, and what a record says of it."""

from __future__ import annotations

import os
import re
import subprocess
from typing import Any

import torch

from imbalance_bench.errors import BenchError


def choose_device(name: str) -> torch.device:
    """The device of ``device=auto|cpu|cuda|cuda:<number>``; auto is the GPU where there is one. A GPU that is named by
    its number is the current one of the process from here on."""
    kind, _, number = name.partition(":")
    if name not in ("auto", "cpu", "cuda") and not (kind == "cuda" and number.isdecimal()):
        raise BenchError(f"device={name!r} must be one of auto, cpu, cuda, or cuda:<number> for one GPU of several")
    if kind == "cuda" and not torch.cuda.is_available():
        raise BenchError(f"device={name}, but torch sees no GPU here: use device=auto or device=cpu")
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    if number:
        if int(number) >= (count := torch.cuda.device_count()):
            there = ", ".join(f"cuda:{n}" for n in range(count))
            seen = "one GPU" if count == 1 else f"{count} GPUs"
            raise BenchError(f"device={name}, but torch sees {seen} here: use device={there} or device=auto")
        torch.cuda.set_device(int(number))
    return torch.device("cuda", torch.cuda.current_device())


# What cuBLAS and cuDNN say where the device has no memory left for them; torch makes no OutOfMemoryError of it.
ALLOCATION_FAILED = re.compile(
    r"CU(BLAS|DNN|SOLVER|SPARSE)_STATUS_(INTERNAL_ERROR_)?\w*ALLOC\w*FAILED|CUDA error: out of memory"
)


def out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that the device's memory is used up."""
    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and bool(ALLOCATION_FAILED.search(str(error)))
    )


def lost(error: BaseException) -> bool:
    """Whether an exception says that this process can compute on its GPU no longer: after an error within a kernel (a
    failed assertion, an illegal address) every later call fails too."""
    told = isinstance(error, torch.AcceleratorError) or (isinstance(error, RuntimeError) and "CUDA error" in str(error))
    return told and not out_of_memory(error)


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
    if everywhere != torch.are_deterministic_algorithms_enabled():  # the call imports torch's compiler, for seconds
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
