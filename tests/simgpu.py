"""A GPU that is not there: a device "sim" whose tensors hold CPU memory, for tests on machines without a GPU.

``torch.device("sim")`` is a device of its own (PrivateUse1) to Python, autograd, vmap and double backward. Every
operation is computed on the CPU, so that values are the CPU's, and is held to what CUDA asks for: all tensors on one
device (scalars may be the host's), generators of the device, host memory for numpy, and, of the operations that
``torch.use_deterministic_algorithms`` lists as errors on CUDA, none. ``counting`` counts kernels, waits and copies.

What it cannot see:

- rounding of CUDA's kernels, TF32, bfloat16 (autocast has no rules for this device): numbers are the CPU's;
- which algorithm cuDNN or cuBLAS takes, hence whether two runs on a GPU give equal bits;
- the fused LSTM of cuDNN and fused attention: an LSTM is computed cell by cell, attention by products and a softmax;
- memory: how much there is, what is freed when, what runs out; pinned memory; a ``non_blocking`` copy counts as no
  wait, though CUDA may wait for one from memory that is not pinned;
- streams, races, graphs, ``torch.compile``, errors of kernels (an index out of range is an error at once);
- how long anything takes: kernels are counted, and CUDA may split or fuse some of them.
"""

from __future__ import annotations

import functools
import sys
from collections import Counter as Bag
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch.utils import backend_registration
from torch.utils._device import _device_constructors

NAME = "sim"
PACKAGE = "imbalance_bench"

# No kernel of its own: a view, memory, or a number that the host reads.
NO_KERNEL = {
    "_local_scalar_dense",
    "view", "as_strided", "expand", "permute", "transpose", "t", "select", "slice", "unsqueeze", "squeeze", "detach",
    "alias", "_unsafe_view", "_reshape_alias", "split", "split_with_sizes", "unbind", "diagonal", "unfold", "empty",
    "empty_strided", "empty_like", "new_empty", "new_empty_strided", "set_", "resize_", "lift_fresh", "detach_",
    "view_as_real", "real", "squeeze_", "unsqueeze_", "transpose_", "t_", "as_strided_", "lift", "_efficientzerotensor",
}  # fmt: skip
# CUDA's implementation makes the host wait for a size or a value.
WAITING = {
    "nonzero", "masked_select", "_local_scalar_dense", "_unique2", "unique_dim", "unique_consecutive",
    "repeat_interleave", "bincount", "equal", "is_nonzero", "_linalg_eigh",
}  # fmt: skip
INDEXED = {"index", "index_put_", "index_put", "_index_put_impl_", "_unsafe_index", "_unsafe_index_put"}
# Operations that take host tensors beside those of a device.
MIXED = INDEXED | {"copy_", "_copy_from", "_copy_from_and_resize", "_to_copy", "set_"}
# Those without a deterministic kernel on CUDA (torch.use_deterministic_algorithms); cumsum of floating point too.
NONDETERMINISTIC = {
    "put_", "histc", "kthvalue", "median", "nanmedian", "nll_loss2d_forward", "_adaptive_avg_pool2d_backward",
    "adaptive_max_pool2d_backward", "reflection_pad1d_backward", "reflection_pad2d_backward",
    "replication_pad1d_backward", "replication_pad2d_backward", "upsample_linear1d_backward",
    "upsample_bilinear2d_backward", "upsample_bicubic2d_backward", "grid_sampler_2d_backward",
    "_embedding_bag_dense_backward", "_ctc_loss_backward", "max_unpool2d", "max_pool3d_with_indices_backward",
}  # fmt: skip


class WouldFail(RuntimeError):
    """CUDA would raise."""


class Counter:
    """What was asked of the device while it counted."""

    def __init__(self) -> None:
        self.launches: Bag[str] = Bag()  # operations that run a kernel
        self.waits: Bag[str] = Bag()  # why the host waits for the device, and the line of the product that asks
        self.copies: Bag[str] = Bag()  # between host and device: "h2d", "d2h"

    @property
    def kernels(self) -> int:
        return self.launches.total()


_counters: list[Counter] = []


@contextmanager
def counting() -> Iterator[Counter]:
    """Counts what the device is asked for."""
    counter = Counter()
    _counters.append(counter)
    try:
        yield counter
    finally:
        _counters.remove(counter)


def _count(bag: str, what: str) -> None:
    for counter in _counters:
        key = f"{what} at {_line()}" if bag == "waits" else what
        getattr(counter, bag)[key] += 1


def _line() -> str:
    """The innermost line of the product on the stack."""
    frame = sys._getframe()
    while frame is not None:
        folder, found, file = frame.f_code.co_filename.rpartition(f"/{PACKAGE}/")
        if found:
            return f"{PACKAGE}/{file}:{frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]
    return "autograd"


class SimTensor(torch.Tensor):
    """``raw``: the CPU tensor that holds the numbers."""

    raw: torch.Tensor

    @staticmethod
    def __new__(cls, raw: torch.Tensor) -> SimTensor:
        with torch.inference_mode(False):  # a view of an ordinary tensor is one in inference mode, too
            out = torch.Tensor._make_wrapper_subclass(
                cls,
                raw.shape,
                strides=raw.stride(),
                storage_offset=raw.storage_offset(),
                dtype=raw.dtype,
                layout=raw.layout,
                device=torch.device(NAME, 0),
                requires_grad=False,
            )
        out.raw = raw
        return out

    def __repr__(self) -> str:  # type: ignore[override]
        return f"sim({self.raw!r})"

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def __getitem__(self, index: Any) -> Any:
        return super().__getitem__(_index(index))

    def __setitem__(self, index: Any, value: Any) -> None:
        super().__setitem__(_index(index), value)

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if torch.is_inference_mode_enabled():  # operations that are made of others arrive whole
            made = op.decompose(*args, **kwargs)
            if made is not NotImplemented:
                return made
        return _computed(op, *args, **kwargs)


def _index(index: Any) -> Any:
    """Lists and arrays in an index as tensors, which CUDA copies to the device and waits for."""
    if isinstance(index, tuple):
        return tuple(_index(i) for i in index)
    return torch.tensor(index).to(NAME) if isinstance(index, (list, np.ndarray)) else index


def _raw(x: Any) -> Any:
    return x.raw if isinstance(x, SimTensor) else x


def _tensors(x: Any) -> list[torch.Tensor]:
    """Those in lists, tuples and dicts; as ``_mapped`` written out, as torch's trees take half of the time."""
    if isinstance(x, torch.Tensor):
        return [x]
    if isinstance(x, dict):
        x = x.values()
    elif not isinstance(x, (list, tuple)):
        return []
    return [tensor for inner in x for tensor in _tensors(inner)]


def _mapped(function: Callable[[Any], Any], x: Any) -> Any:
    if isinstance(x, (list, tuple)):
        return type(x)(_mapped(function, inner) for inner in x)
    if isinstance(x, dict):
        return {key: _mapped(function, inner) for key, inner in x.items()}
    return function(x)


def _computed(op: Any, *args: Any, **kwargs: Any) -> Any:
    """What every operation on the device goes through."""
    name = op._schema.name.split("::")[1]
    tensors = _tensors((args, kwargs))
    _check(op, name, tensors, args, kwargs)
    if name in ("_copy_from", "copy_"):
        source, to = (args[0], args[1]) if name == "_copy_from" else (args[1], args[0])
        _count_copy(source, to, args[2] if len(args) > 2 else kwargs.get("non_blocking", False))
        _raw(to).copy_(_raw(source))
        return to
    if name == "_to_copy":
        return _moved(args[0], **kwargs)
    if name in INDEXED:
        indices = [i for i in args[1] if i is not None]
        if any(i.dtype in (torch.bool, torch.uint8) for i in indices):
            _count("waits", "size of a mask")
        if not all(isinstance(i, SimTensor) for i in indices):
            _count("waits", "copy of an index")
    elif name in WAITING:
        _count("waits", name)
    if name not in NO_KERNEL:
        _count("launches", name)
    if kwargs.get("device") is not None:
        kwargs["device"] = torch.device("cpu")
    kwargs.pop("pin_memory", None)
    made = INSTEAD.get(name, op)(*_mapped(_raw, args), **_mapped(_raw, kwargs))
    # In place, and with out=, the same object comes back.
    known = {id(a.raw): a for a in tensors if isinstance(a, SimTensor)}

    def back(x: Any) -> Any:
        return (known[id(x)] if id(x) in known else SimTensor(x)) if isinstance(x, torch.Tensor) else x

    return _mapped(back, made)


def _check(op: Any, name: str, tensors: list[torch.Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    host = [a for a in tensors if not isinstance(a, SimTensor)]
    if len(host) < len(tensors) and name not in MIXED and any(a.dim() for a in host):
        raise WouldFail(f"{op}: expected all tensors on one device, but found {NAME} and cpu, at {_line()}")
    if name in INDEXED and not isinstance(args[0], SimTensor):
        raise WouldFail(f"{op}: a host tensor cannot be indexed by one of {NAME}, at {_line()}")
    generator = kwargs.get("generator")
    if generator is not None and generator._cdata not in _generators:
        raise WouldFail(f"{op}: expected a generator of {NAME}, got one of {generator.device}, at {_line()}")
    if name in NONDETERMINISTIC or (name == "cumsum" and args[0].is_floating_point()):
        raise WouldFail(f"{op}: has no deterministic kernel on CUDA, at {_line()}")


def _count_copy(source: torch.Tensor, to: torch.Tensor | None, non_blocking: bool) -> None:
    """``to``: None for a new host tensor."""
    here, there = isinstance(source, SimTensor), isinstance(to, SimTensor)
    if here and there:
        _count("launches", "copy")
    elif there:
        _count("copies", "h2d")
        if not non_blocking:
            _count("waits", "copy to the device")
    else:
        _count("copies", "d2h")
        _count("waits", "copy to the host")


def _moved(x: torch.Tensor, *, device: Any = None, non_blocking: bool = False, **kwargs: Any) -> torch.Tensor:
    kwargs.pop("pin_memory", None)
    made = torch.ops.aten._to_copy.default(_raw(x), **kwargs)
    if device is not None and torch.device(device).type != NAME:
        _count_copy(x, None, non_blocking)
        return made
    made = SimTensor(made)
    _count_copy(x, made, non_blocking)
    return made


def _lstm_cell(
    inputs: torch.Tensor,
    hidden: torch.Tensor,
    cell: torch.Tensor,
    input_bias: torch.Tensor | None = None,
    hidden_bias: torch.Tensor | None = None,
) -> tuple[torch.Tensor, ...]:
    """The kernel of one step of an LSTM, which only devices have: new hidden state and cell, and the gates (n, 4h)."""
    gates = sum((b for b in (input_bias, hidden_bias) if b is not None), inputs + hidden)
    i, f, g, o = gates.chunk(4, 1)
    i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
    new = f * cell + i * g
    return o * new.tanh(), new, torch.cat([i, f, g, o], 1)


def _lstm_cell_backward(
    of_hidden: torch.Tensor | None,
    of_new: torch.Tensor | None,
    cell: torch.Tensor,
    new: torch.Tensor,
    gates: torch.Tensor,
    has_bias: bool,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    i, f, g, o = gates.chunk(4, 1)
    zero = torch.zeros_like(new)
    of_hidden, of_new = (zero if a is None else a for a in (of_hidden, of_new))
    tanh = new.tanh()
    through = of_hidden * o * (1 - tanh**2) + of_new
    parts = (
        through * g * i * (1 - i),
        through * cell * f * (1 - f),
        through * i * (1 - g**2),
        of_hidden * tanh * o * (1 - o),
    )
    of_gates = torch.cat(parts, 1)
    return of_gates, through * f, of_gates.sum(0) if has_bias else torch.empty(0)


# What the CPU has no kernel of.
INSTEAD = {
    "_thnn_fused_lstm_cell": _lstm_cell,
    "_thnn_fused_lstm_cell_backward_impl": _lstm_cell_backward,
}


class _Module(backend_registration._DummyBackendModule):  # type: ignore[misc]
    """What ``torch.sim`` is."""

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16]

    def _lazy_init(self) -> None:
        pass


def _is_sim(device: Any) -> bool:
    return device is not None and torch.device(device).type == NAME


_generator, _tensor, _as_tensor = torch.Generator, torch.tensor, torch.as_tensor


# Those of the device, by what is left of them once an operation is called; kept, so that no other gets that address.
_generators: dict[int, torch.Generator] = {}


class SimGenerator(_generator):
    """In place of ``torch.Generator``, which cannot make one of the device."""

    def __new__(cls, device: Any = "cpu") -> torch.Generator:
        if not _is_sim(device):
            return _generator(device)
        made = _generator()
        _generators[made._cdata] = made
        return made


def _make_tensor(data: Any, *, device: Any = None, **options: Any) -> torch.Tensor:
    return _tensor(data, **options).to(device) if _is_sim(device) else _tensor(data, device=device, **options)


def _make_as_tensor(data: Any, dtype: Any = None, device: Any = None) -> torch.Tensor:
    if isinstance(data, torch.Tensor) or not _is_sim(device):
        return _as_tensor(data, dtype=dtype, device=device)
    return _as_tensor(data, dtype=dtype).to(device)


@functools.cache
def register() -> tuple[torch.library.Library, ...]:
    """Makes the device known to torch, which then cannot forget it; before the first backward pass of the process, in
    which autograd counts the devices there are. What comes back must not be freed."""
    backend_registration._setup_privateuseone_for_python_backend(NAME, backend_module=_Module())
    every, aten = torch.library.Library("_", "IMPL"), torch.library.Library("aten", "IMPL")
    every.fallback(_computed, "PrivateUse1")
    # Kernels that resize what they are given, which a wrapped tensor cannot be: made whole instead.
    for name, overloads in SIZED.items():
        for overload in overloads:
            op = getattr(getattr(torch.ops.aten, name), overload)
            aten.impl(op, functools.partial(_computed, op), "PrivateUse1")
    return every, aten


SIZED = {
    "arange": ("default", "start", "start_step"),
    "eye": ("default", "m"),
    "linspace": ("default",),
    "randperm": ("default", "generator"),
}


@contextmanager
def installed() -> Iterator[None]:
    """The device "sim", and those functions that torch computes out of a backend's sight."""
    register()
    _device_constructors()  # torch keeps this list from its first use: not with what stands in for a function here
    with (
        mock.patch.object(torch, "Generator", SimGenerator),
        mock.patch.object(torch, "tensor", _make_tensor),
        mock.patch.object(torch, "as_tensor", _make_as_tensor),
    ):
        yield
