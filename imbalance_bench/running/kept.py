"""The state of objects as bytes, and back into them: safetensors for numbers, JSON for the rest; never a pickle.

An object says what of it is kept by ``kept``, the names of attributes: numbers, texts, bytes, None, lists and dicts,
arrays, tensors, generators of random numbers, modules and optimisers of torch, and objects that say so themselves.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

MANY = 16  # of so many rows and more of numbers, such as a history, the numbers are kept as arrays
EXACT = 2**53  # whole numbers up to here are floats as well


class State:
    """The state of several objects, as references to their arrays where these lie in memory as they are written: for
    ``as_bytes`` before any of them changes."""

    def __init__(self, objects: Sequence[Any]) -> None:
        self.arrays: dict[str, np.ndarray] = {}
        self.rest = [_taken(one, self.arrays) for one in objects]

    @property
    def size(self) -> int:
        """Bytes of its arrays."""
        return sum(array.nbytes for array in self.arrays.values())

    def as_bytes(self) -> bytes:
        """The content of a file, for ``put_back``."""
        from safetensors.numpy import save

        return save(self.arrays, {"state": json.dumps(self.rest)})


def as_bytes(objects: Sequence[Any]) -> bytes:
    """The state of several objects."""
    return State(objects).as_bytes()


def put_back(content: bytes, objects: Sequence[Any]) -> None:
    """Brings objects to the state that ``as_bytes`` wrote of such ones: in place, tensors on the device where they are.

    Raises ValueError where the content is of other objects, or no such content."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        size = int.from_bytes(content[:8], "little")
        state = json.loads(json.loads(content[8 : 8 + size])["__metadata__"]["state"])
        arrays = load(content)
        if len(state) != len(objects):
            raise ValueError(f"{len(state)} objects and not {len(objects)}")
        puts = _Puts(arrays)
        for one, of_one in zip(objects, state):
            puts.put(one, of_one)
    except (SafetensorError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _taken(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    """The JSON of a value; what are arrays goes into ``arrays``. Anything but a scalar or a list is {kind: content}."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.generic):
        return _taken(value.item(), arrays)
    if isinstance(value, list):
        table = _table(value, arrays) if len(value) >= MANY else None
        return table or [_taken(one, arrays) for one in value]
    if isinstance(value, tuple):
        return {"tuple": [_taken(one, arrays) for one in value]}
    if isinstance(value, dict):
        return {"dict": [[_taken(key, arrays), _taken(one, arrays)] for key, one in value.items()]}
    if isinstance(value, bytes):
        return {"bytes": _named(np.frombuffer(value, np.uint8), arrays)}
    if isinstance(value, np.ndarray):
        return {"array": _named(value, arrays)}
    if isinstance(value, np.random.Generator):
        return {"numpy": value.bit_generator.state}
    if (names := getattr(value, "kept", None)) is not None:
        return {"object": {name: _taken(getattr(value, name), arrays) for name in names}}
    torch = sys.modules["torch"]  # whoever has anything else to keep has imported it
    if isinstance(value, torch.Tensor):
        kind = "tensor" if value.device.type == "cpu" else "on_device"
        return {kind: _named(value.detach().cpu().numpy(), arrays)}
    if hasattr(value, "get_state"):  # a generator of random numbers
        return {"torch": _named(value.get_state().numpy(), arrays)}
    if isinstance(value, (torch.nn.Module, torch.optim.Optimizer)):
        return {"loaded": _taken(dict(value.state_dict()), arrays)}
    raise TypeError(f"a {type(value).__name__} has nothing that says how it is kept")


def _table(rows: list[Any], arrays: dict[str, np.ndarray]) -> dict[str, Any] | None:
    """Dicts from names to numbers, each of one of a few kinds: by its keys and the types of its values. None where
    there is anything else among them: as JSON the rows of a long training take seconds."""
    kinds: dict[tuple[tuple[Any, ...], tuple[type, ...]], int] = {}
    of_rows: list[int] = []
    numbers: list[float] = []
    for row in rows:
        if type(row) is not dict:
            return None
        values = tuple(row.values())
        of_rows.append(kinds.setdefault((tuple(row), tuple(map(type, values))), len(kinds)))
        numbers += values
        if len(kinds) > MANY:
            return None
    types = {kind for _, of_values in kinds for kind in of_values}
    if types - {int, float} or any(type(key) is not str for keys, _ in kinds for key in keys):
        return None
    if int in types and any(type(number) is int and abs(number) > EXACT for number in numbers):
        return None
    described = [[list(keys), [kind is int for kind in of_values]] for keys, of_values in kinds]
    content = np.array(numbers, np.float64)
    return {"table": [described, _named(np.array(of_rows, np.uint8), arrays), _named(content, arrays)]}


def order_of(array: np.ndarray) -> Literal["C", "F"]:
    """In which order an array lies in memory, "F": column by column, which safetensors does not keep. Products of an
    array in another order have other last digits."""
    return "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"


def _named(array: np.ndarray, arrays: dict[str, np.ndarray]) -> list[str]:
    """Under which name an array is written, and its order."""
    name = str(len(arrays))
    arrays[name] = array if array.flags.c_contiguous else np.array(array, order="C")
    return [name, order_of(array)]


class _Puts:
    """Puts a state into objects. ``device``: where tensors lie that are not on the CPU, known from those met before."""

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        self.arrays = arrays
        self.device: Any = "cuda"
        self.kinds: dict[str, Callable[[Any, Any], Any]] = {
            "tuple": self._tuple,
            "dict": self._dict,
            "table": self._table,
            "bytes": self._bytes,
            "array": self._array,
            "numpy": self._numpy,
            "object": self._object,
            "torch": self._torch,
            "loaded": self._loaded,
            "tensor": self._tensor,
            "on_device": self._on_device,
        }

    def put(self, current: Any, state: Any) -> Any:
        """``current`` in the state that was taken of it; a new value where it cannot be changed in place."""
        if isinstance(state, list):
            return self._list(current, self._each(current, state))
        if isinstance(state, dict):
            ((kind, content),) = state.items()
            if kind not in self.kinds:
                raise ValueError(f"{kind!r} is no kind of state")
            return self.kinds[kind](current, content)
        return state

    def _each(self, current: Any, state: Sequence[Any]) -> list[Any]:
        known = list(current)[: len(state)] if isinstance(current, (list, tuple)) else []
        known += [None] * (len(state) - len(known))
        return [self.put(one, of_one) for one, of_one in zip(known, state)]

    def _tuple(self, current: Any, content: Any) -> Any:
        return tuple(self._each(current, content))

    def _dict(self, current: Any, content: Any) -> Any:
        known = current if isinstance(current, dict) else {}
        pairs = [(self.put(None, key), value) for key, value in content]
        made = {key: self.put(known.get(key), value) for key, value in pairs}
        if not isinstance(current, dict):
            return made
        current.clear()
        current.update(made)
        return current

    def _table(self, current: Any, content: Any) -> Any:
        kinds, of_rows, numbers = content
        left = iter(self.arrays[numbers[0]].tolist())
        rows = []
        for kind in self.arrays[of_rows[0]].tolist():
            keys, whole = kinds[kind]
            rows.append({key: int(next(left)) if is_int else next(left) for key, is_int in zip(keys, whole)})
        return self._list(current, rows)

    def _list(self, current: Any, new: list[Any]) -> Any:
        if not isinstance(current, list):
            return new
        current[:] = new
        return current

    def _array(self, _: Any, content: Any) -> Any:
        name, order = content
        return np.array(self.arrays[name], order=order)

    def _bytes(self, _: Any, content: Any) -> Any:
        return self._array(None, content).tobytes()

    def _numpy(self, current: Any, content: Any) -> Any:
        current.bit_generator.state = content
        return current

    def _object(self, current: Any, content: Any) -> Any:
        for name, state in content.items():
            before = getattr(current, name)
            if (after := self.put(before, state)) is not before:
                setattr(current, name, after)
        return current

    def _torch(self, current: Any, content: Any) -> Any:
        import torch

        current.set_state(torch.from_numpy(self._array(None, content)))
        return current

    def _loaded(self, current: Any, content: Any) -> Any:
        for parameter in current.parameters() if hasattr(current, "parameters") else ():
            if parameter.device.type != "cpu":
                self.device = parameter.device
        current.load_state_dict(self.put(None, content))
        return current

    def _tensor(self, current: Any, content: Any, on_device: bool = False) -> Any:
        import torch

        tensor = torch.from_numpy(self._array(None, content))
        if isinstance(current, torch.Tensor) and current.device.type != "cpu":
            self.device = current.device
        if isinstance(current, torch.Tensor) and current.shape == tensor.shape and current.dtype == tensor.dtype:
            current.data.copy_(tensor)
            return current
        return tensor.to(self.device) if on_device else tensor

    def _on_device(self, current: Any, content: Any) -> Any:
        return self._tensor(current, content, on_device=True)
