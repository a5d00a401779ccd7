"""The same step many times: as a CUDA graph, which the host starts with one call however many kernels it has."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from typing import Any, ClassVar, Literal

import torch

from imbalance_bench.errors import BenchError
from imbalance_bench.running import devices

log = logging.getLogger("imbalance_bench")

Choice = Literal["auto", True, False]

WARM = 3  # calls before a capture, in which libraries set themselves up
ENOUGH = 50  # steps that a capture is worth


def capturable(device: torch.device) -> bool:
    return device.type == "cuda"


def check(choice: Choice, device: torch.device, reason: str | None = None) -> None:
    """An error where graphs are asked for by ``trainer.graph=true`` and there can be none: on this device, or for this
    reason."""
    if reason is None and not capturable(device):
        reason = f"the device is {device}, and only CUDA has graphs"
    if choice is True and reason is not None:
        raise BenchError(f"trainer.graph=true asks for steps as CUDA graphs, but {reason}: set trainer.graph=auto")


def wanted(choice: Choice, device: torch.device, steps: int) -> bool:
    """Whether ``trainer.graph`` = ``choice`` captures a training of so many steps on this device."""
    return capturable(device) and (choice is True or (choice == "auto" and steps >= ENOUGH))


class Replayed:
    """``step()`` taken again and again: where there are CUDA graphs, ``WARM`` times by calls and then, captured, by
    replays; elsewhere always by calls.

    What ``step`` may do, since a replay repeats its kernels on the same addresses and runs none of its Python:

    - It reads and changes tensors of the device in place, all of them there before its first call. What differs from
      step to step is read from such a tensor, e.g. a row of an epoch's plan, by a counter that lies on the device and
      that the step itself moves on. What it makes on the way is its own and gone after it.
    - Shapes are the same every time, and so are numbers of Python.
    - No copy from or to the host and nothing that waits for the device: no ``.item()``, ``.tolist()``, ``nonzero``, no
      mask or list as an index, no ``torch.tensor(...)`` of the device. Nothing drawn from a generator.

    Its result is what it leaves in those tensors; all steps so far are done when the device has caught up, so that the
    host reads them by an ordinary copy. ``pool``: memory that several graphs share which run in turn
    (``torch.cuda.graph_pool_handle``). ``required``: a step that cannot be captured is an error; else it is called
    from there on, with one warning a process.
    """

    captured: ClassVar[int] = 0  # steps captured by this process

    def __init__(
        self, step: Callable[[], None], device: torch.device, pool: Any = None, required: bool = False
    ) -> None:
        self.step, self.device, self.pool, self.required = step, device, pool, required
        self.called = 0
        self.graph: torch.cuda.CUDAGraph | None = None
        self.capturing = capturable(device)

    def run(self, n: int = 1) -> None:
        """``n`` steps."""
        for _ in range(n):
            if self.graph is None and self.capturing and self.called >= WARM:
                self._capture()
            if self.graph is not None:
                self.graph.replay()
            elif self.capturing:
                self._warm()
            else:
                self.step()

    def _warm(self) -> None:
        """A step on a stream of its own, as CUDA asks for before a capture."""
        stream, present = torch.cuda.Stream(), torch.cuda.current_stream()
        stream.wait_stream(present)
        with torch.cuda.stream(stream):
            self.step()
        present.wait_stream(stream)
        self.called += 1

    def _capture(self) -> None:
        graph = torch.cuda.CUDAGraph()
        try:
            # Records kernels and runs none. By thread: what others ask of the device does not end it.
            with torch.cuda.graph(graph, pool=self.pool, capture_error_mode="thread_local"):
                self.step()
        except RuntimeError as error:
            if devices.out_of_memory(error):  # a device that is lost fails in the step that is called instead
                raise
            self.capturing = False
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            if self.required:
                check(True, self.device, f"a step could not be captured ({reason})")
            _warn(reason)
        else:
            self.graph = graph
            Replayed.captured += 1


@cache
def _warn(reason: str) -> None:
    log.warning("a step could not be captured as a CUDA graph and is called instead, which is slower: %s", reason)
