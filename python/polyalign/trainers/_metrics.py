"""What is logged: sums and counts per bucket, kept on the device until they are asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

__all__ = ["BucketTable"]


class BucketTable:
    """Sums and counts of values by bucket and metric, on one device; adding to it never waits for the device.

    Parameters
    ----------
    names : sequence of str
        The metrics.
    num_buckets : int
        Bucket ids are below it.
    device : torch.device
        Where the values are.

    Examples
    --------
    >>> table = BucketTable(["loss"], 2, torch.device("cpu"))
    >>> table.add(torch.tensor([1, 1]), {"loss": torch.tensor([1.0, 2.0])})
    >>> table.means(table.totals())
    ({'loss': 1.5}, {'loss': {1: 1.5}})
    """

    def __init__(self, names: Sequence[str], num_buckets: int, device: torch.device) -> None:
        self.names = tuple(names)
        self._places = {name: at for at, name in enumerate(self.names)}
        # MPS has no float64.
        dtype = torch.float32 if device.type == "mps" else torch.float64
        self._table = torch.zeros(num_buckets, len(self.names), 2, dtype=dtype, device=device)

    def add(
        self,
        buckets: Tensor,
        sums: Mapping[str, Tensor],
        counts: Mapping[str, Tensor] | None = None,
        keep: Tensor | None = None,
    ) -> None:
        """Add one value (or a sum and its count) an example, shapes [n]; NaN is no value.

        `keep` is 1 for the examples that count, 0 for others.
        """
        counts = counts or {}
        one = torch.ones(len(buckets), device=buckets.device)
        values = torch.stack([value.detach().to(self._table.dtype) for value in sums.values()], dim=1)
        weights = torch.stack([counts.get(name, one).detach().to(values.dtype) for name in sums], dim=1)
        weights = weights * ~values.isnan()
        rows = torch.stack((values.nan_to_num(0.0), weights), dim=2)
        if keep is not None:
            rows = rows * keep.to(rows.dtype)[:, None, None]
        # A product, not index_add: the same sums on every run, also on a GPU.
        belongs = torch.arange(len(self._table), device=buckets.device)[:, None] == buckets[None, :]
        added = torch.einsum("bn,nmk->bmk", belongs.to(rows.dtype), rows)
        for at, name in enumerate(sums):
            self._table[:, self._places[name]] += added[:, at]

    def totals(self, accelerator: object | None = None) -> Tensor:
        """Return the sums and counts over all processes, on the CPU, shape [buckets, metrics, 2]; begin anew.

        Every process must call it.
        """
        table = self._table if accelerator is None else accelerator.reduce(self._table, "sum")  # type: ignore[attr-defined]
        totals: Tensor = table.to("cpu", torch.float64)
        self._table = torch.zeros_like(self._table)
        return totals

    def means(self, totals: Tensor) -> tuple[dict[str, float], dict[str, dict[int, float]]]:
        """Return each metric's mean, overall and by bucket id; what was not seen is left out."""
        overall, by_bucket = {}, {}
        for at, name in enumerate(self.names):
            values, counts = totals[:, at, 0], totals[:, at, 1]
            if float(counts.sum()) > 0:
                overall[name] = float(values.sum() / counts.sum())
                seen = counts.nonzero().flatten().tolist()
                by_bucket[name] = {bucket: float(values[bucket] / counts[bucket]) for bucket in seen}
        return overall, by_bucket
