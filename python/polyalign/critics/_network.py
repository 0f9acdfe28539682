"""The network of the neural critic: what it is made of, the bucket it is told, and what it computes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from polyalign.buckets import _ids

if TYPE_CHECKING:
    import numpy.typing as npt

BUCKET, HIDDEN = 64, 256
TENSORS = ("parts", "hidden.weight", "hidden.bias", "out.weight", "out.bias")


def shapes(parts: int, width: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of its tensors, for so many parts of buckets and vectors of such a width."""
    # One part more stands for those that were never seen.
    return dict(
        zip(TENSORS, ((parts + 1, BUCKET), (HIDDEN, width + BUCKET), (HIDDEN,), (1, HIDDEN), (1,)), strict=True)
    )


def parts_of(bucket: str) -> list[str]:
    """Return the parts of a bucket, each with the number of its axis."""
    return [f"{axis}|{part}" for axis, part in enumerate(_ids.split(bucket))]


def shares(buckets: Sequence[str], parts: Sequence[str]) -> npt.NDArray[np.float32]:
    """Return how much each part is of each bucket, shape [n, parts + 1]: a bucket is the mean of its parts."""
    places = {part: at for at, part in enumerate(parts)}
    found = np.zeros((len(buckets), len(parts) + 1), dtype=np.float32)
    rows: dict[str, list[int]] = {}
    for row, bucket in enumerate(buckets):
        rows.setdefault(bucket, []).append(row)
    for bucket, of in rows.items():
        own = parts_of(bucket)
        for part in own:
            found[of, places.get(part, len(parts))] += 1 / len(own)
    return found


def forward(
    network: Mapping[str, npt.NDArray[np.float32]],
    vectors: npt.NDArray[np.float32],
    buckets: npt.NDArray[np.float32],
) -> npt.NDArray[np.float32]:
    """Return a score of each row of vectors and shares of parts, 0 or above, shape [n]."""
    whole = np.concatenate([vectors, buckets @ network["parts"]], axis=1)
    hidden = _gelu(whole @ network["hidden.weight"].T + network["hidden.bias"])
    margins = hidden @ network["out.weight"].T + network["out.bias"]
    found: npt.NDArray[np.float32] = np.logaddexp(np.float32(0), margins[:, 0]).astype(np.float32)
    return found


def _gelu(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    from math import erf

    found: npt.NDArray[np.float32] = values * 0.5 * (1 + np.vectorize(erf, otypes=[np.float32])(values / np.sqrt(2)))
    return found.astype(np.float32, copy=False)
