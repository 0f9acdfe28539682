"""Numbers from users: numpy, torch, Arrow and lists, as contiguous numpy arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from polyalign import _core

_CPU = 1  # DLPack's kDLCPU
_EXACT = 2**53  # whole numbers below it are doubles


def floats(name: str, value: Any) -> npt.NDArray[Any]:
    """Return `value` as an array of float32 or float64, contiguous, copied only where it must be.

    Types that float32 holds become float32, others float64, if that loses nothing.
    """
    array = _array(name, value)
    kind, size = array.dtype.kind, array.dtype.itemsize
    if kind in "fiub" and size <= 8:
        single = size <= 4 if kind == "f" else size <= 2
        if kind in "iu" and size == 8:
            _check_exact(name, array)
        return np.asarray(array, dtype=np.float32 if single else np.float64, order="C")
    hint = f": use {name}.astype('float64')" if kind in "fO" else ""
    raise TypeError(f"{name} must hold numbers, not {array.dtype}{hint}")


def doubles(name: str, value: Any) -> npt.NDArray[np.float64]:
    """Return `value` as an array of float64."""
    return floats(name, value).astype(np.float64, copy=False)


def singles(name: str, value: Any) -> npt.NDArray[np.float32]:
    """Return `value` as an array of float32; an error where that would change a number."""
    array = floats(name, value)
    if array.dtype == np.float32:
        return array
    with np.errstate(over="ignore"):
        narrow = array.astype(np.float32)
    changed = (narrow != array) & ~np.isnan(array)
    if changed.any():
        where, number = first(name, array, changed)
        raise ValueError(f"{where} is {number}, which float32 can't hold: use {name}.astype('float32')")
    return narrow


def integers(name: str, value: Any) -> npt.NDArray[np.int64]:
    """Return `value` as an array of int64."""
    array = _array(name, value)
    if array.size == 0:
        array = array.astype(np.int64)
    if array.dtype.kind == "f" and (array == np.floor(array)).all() and (np.abs(array) < _EXACT).all():
        array = array.astype(np.int64)
    if array.dtype.kind not in "iu" or (array.dtype == np.uint64 and (array > np.iinfo(np.int64).max).any()):
        raise TypeError(f"{name} must hold whole numbers, not {array.dtype}")
    return np.asarray(array, dtype=np.int64, order="C")


def check_shape(name: str, array: npt.NDArray[Any], *shapes: str) -> None:
    """Raise an error unless the array has as many axes as one of the shapes, ``"n, features"`` or the like."""
    if array.ndim not in [len(shape.split(",")) for shape in shapes]:
        wanted = " or ".join(f"[{shape}]" for shape in shapes)
        raise ValueError(f"{name} has shape {list(array.shape)}: it must be {wanted}")


def _array(name: str, value: Any) -> npt.NDArray[Any]:
    if isinstance(value, np.ndarray):
        return value
    # pandas gives numpy what it has; its Arrow interface needs pyarrow.
    if not type(value).__module__.startswith("pandas"):
        column = _core.arrow_floats(name, value)
        if column is not None:
            return column
    if hasattr(value, "__dlpack__"):
        return _from_dlpack(name, value)
    try:
        return np.asarray(value)
    except ValueError:
        raise ValueError(f"{name} must be rectangular: its rows have different lengths") from None


def _from_dlpack(name: str, value: Any) -> npt.NDArray[Any]:
    """Return a view of a tensor's memory."""
    if getattr(value, "requires_grad", False):
        raise TypeError(f"{name} requires grad: distances have no gradient, use {name}.detach().cpu()")
    try:
        if value.__dlpack_device__()[0] != _CPU:
            raise TypeError(f"{name} is not in the CPU's memory: use {name}.detach().cpu()")
        return np.from_dlpack(value)
    except (BufferError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise TypeError(f"{name} can't be read as a numpy array, use {name}.float(): {reason}") from None


def _check_exact(name: str, array: npt.NDArray[Any]) -> None:
    large = (array >= _EXACT) | (array <= -_EXACT)
    if large.any():
        where, number = first(name, array, large)
        raise ValueError(f"{where} is {number}, past 2^53 float64 skips whole numbers: use {name}.astype('float64')")


def first(name: str, array: npt.NDArray[Any], where: npt.NDArray[np.bool_]) -> tuple[str, Any]:
    """Return the first place where something holds, in words, and the number there."""
    place = tuple(int(at) for at in np.unravel_index(np.flatnonzero(where)[0], array.shape))
    return f"{name}[{', '.join(map(str, place))}]" if place else name, array[place].item()
