"""What the terms share: masks, and means over a global batch."""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch

Number: TypeAlias = "float | torch.Tensor"
Variant = Literal["default", "paper"]


def masked(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Put 0 where `mask` is false, whatever is there; ``torch.where`` would copy that 0 to the device, and wait."""
    return values.masked_fill(~mask, 0)


def over(total: torch.Tensor, count: Number) -> torch.Tensor:
    """Divide a sum by a count of the global batch, which may be a tensor of another dtype."""
    return (total / count).to(total.dtype)
