"""What arrays are called in annotations."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["Floats", "Indices", "Mask", "Singles"]

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.int64]
