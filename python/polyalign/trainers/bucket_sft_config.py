"""The settings of :class:`~polyalign.trainers.BucketSFT`."""

from __future__ import annotations

from dataclasses import dataclass

from polyalign.trainers._settings import (
    BALANCES,
    REDUCTIONS,
    VARIANTS,
    BucketSFTSettings,
    bf16_explained,
    check_choice,
    check_number,
)
from polyalign.trainers._trl import SFTConfig
from polyalign.weights import DEFAULT_TAU

__all__ = ["BucketSFTConfig"]


@dataclass
class BucketSFTConfig(BucketSFTSettings, SFTConfig):
    r"""
    Settings of [`BucketSFT`]: TRL's [`~trl.SFTConfig`] and what follows.

    Parameters
    ----------
    tau : float, default 0.75
        Buckets are weighted by ``n_b ** (tau - 1)``, n_b the rows of the bucket: 0 gives every bucket the same say, 1
        is plain SFT. The default of ``variant="paper"``, and all that it has, is 0.
    reduction : {"example", "token"}, default "example"
        Whether an example counts by the mean loss of its response tokens, or each response token counts alike, as in
        TRL.
    balance : {"auto", "sample", "weight"}, default "auto"
        How buckets get their weight: ``"sample"`` draws their rows so often (of n rows n an epoch, each its weight, up
        or down to a whole number; all weigh 1 in the loss), ``"weight"`` weighs rows in the loss. ``"auto"`` draws
        where that can be done: with ``train_sampling_strategy`` ``"random"`` or ``"batch_rebalance"``, without packing,
        not from a stream; it weighs where rows have a column ``weight``, and for ``variant="paper"``.
    min_count : int, default 20
        A bucket with fewer rows is weighted as its nearest ancestor that has them.
    max_weight : float, default 10.0
        The most that an example counts, relative to plain SFT's; from 1, which is plain SFT.
    weight_mean : float, optional
        The mean weight w̄ that weights are divided by. Default: that of the rows that train; 1 where they stream and
        bring their own weights.
    conditioning : str, optional
        A system line for every prompt, with the bucket's parts, ``{language}``, ``{track}``, ``{family}`` and
        ``{length}``, or any column of texts, as ``{style_bucket}``, filled in: see
        [`~polyalign.trainers.conditioning.system_line`].
    log_buckets : int, default 20
        So many buckets, the largest, are logged by name, the others together as ``other``. All of them are in
        ``bucket_log.csv`` in the output folder.
    variant : {"default", "paper"}, default "default"
        ``"paper"`` weights by N / (\|B\| n_b) without minimum or cap, and divides a batch's weighted loss by the
        batch's weights.

    Raises
    ------
    ValueError
        A setting out of its range, or one that contradicts another; the message names it.

    Examples
    --------
    >>> from polyalign.trainers import BucketSFTConfig
    >>> BucketSFTConfig(output_dir="out", bf16=False).tau
    0.75
    """

    def __post_init__(self) -> None:
        with bf16_explained():
            super().__post_init__()
        check_choice("reduction", self.reduction, REDUCTIONS)
        check_choice("balance", self.balance, BALANCES)
        check_choice("variant", self.variant, VARIANTS)
        if self.tau is None:
            self.tau = 0.0 if self.variant == "paper" else DEFAULT_TAU
        check_number("tau", self.tau, 0, 1)
        check_number("min_count", self.min_count, 0)
        check_number("log_buckets", self.log_buckets, 0)
        check_number("max_weight", self.max_weight, 1)
        check_number("weight_mean", self.weight_mean, above=0)
        if self.variant == "paper":
            if (self.tau, self.reduction, self.balance == "sample") != (0, "example", False):
                raise ValueError("variant='paper' has tau=0, reduction='example' and balance='weight'")
            self.balance = "weight"
