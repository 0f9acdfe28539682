"""Supervised fine-tuning in which every bucket has its say."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polyalign.trainers import losses
from polyalign.trainers._base import PAPER, BucketTrainer, card_table, refuse_sequence_parallelism
from polyalign.trainers._collate import ResponseCollator
from polyalign.trainers._logs import get_logger
from polyalign.trainers._prepare import preparing
from polyalign.trainers._prepare.columns import Condition, FitResponse, NoResponse, Spread
from polyalign.trainers._prepare.ends import ROWS
from polyalign.trainers._prepare.unfit import Unfit
from polyalign.trainers._processes import agreed, main_first
from polyalign.trainers._sampler import DrawnBatches, WeightedSampler
from polyalign.trainers._trl import SFTTrainer, pack_dataset
from polyalign.trainers.bucket_sft_config import BucketSFTConfig
from polyalign.weights import BucketWeights, bucket_weights, scale_to_mean_1

__all__ = ["BucketSFT"]

logger = get_logger(__name__)

#: The orders of rows in which they can be drawn.
_DRAWN = ("random", "batch_rebalance")


class BucketSFT(BucketTrainer, SFTTrainer):
    r"""Bucket-aware supervised fine-tuning: TRL's ``SFTTrainer`` with weights by bucket.

    L = (1/M) Σ ℓ_i over a global batch (every micro-batch, accumulation step and process), ℓ_i the mean NLL of example
    i's response tokens, M its examples, which are drawn by their buckets' weights. Where they can't be drawn, or
    ``balance="weight"``, L = (1/M) Σ (w_i/w̄)·ℓ_i, w̄ the mean weight of the rows that train. The expectation is the
    mean over buckets of their mean loss (``tau=0``), the mean over rows (1), or between them (0.75, the default),
    whatever the split of a batch.

    Parameters
    ----------
    model, args, data_collator, train_dataset, eval_dataset, processing_class, **kwargs
        ``SFTTrainer``'s. `args` is a :class:`BucketSFTConfig`. Data sets may be given as a folder, a file or a name on
        the hub, of which the split ``train`` is taken. They have a column ``bucket`` (``polyalign bucket`` and
        ``Bucketer.assign`` make it) beside ``prompt`` and ``completion``, or ``messages`` with ``assistant_only_loss``;
        a column ``weight`` wins over computed weights.
    bucket_counts : mapping of str to int or BucketWeights, optional
        Rows by bucket, of a data set that streams, or of a larger corpus than the one that trains.

    Attributes
    ----------
    bucket_weights : BucketWeights or None
        The weights, and a report of them; None where the data set brings its own.
    balance : {"sample", "weight"}
        How they are given: by how often rows are drawn, or in the loss.

    Raises
    ------
    ValueError
        Before the first step: a data set without buckets or without responses, weights that are not finite, negative
        or all zero, and whatever the objective is not defined for; the message names it.
    ImportError
        TRL is of an untested version.

    References
    ----------
    PolyAlign, arXiv:2606.13227, Bucket-Aware SFT.

    Examples
    --------
    >>> from polyalign.trainers import BucketSFT, BucketSFTConfig
    >>> args = BucketSFTConfig(output_dir="out/sft", num_train_epochs=1)  # doctest: +SKIP
    >>> bucketed = load_dataset("bucketed", split="train")  # doctest: +SKIP
    >>> trainer = BucketSFT("Qwen/Qwen2.5-1.5B", args, train_dataset=bucketed)  # doctest: +SKIP
    >>> trainer.train()  # doctest: +SKIP
    """

    _tag_names = ("trl", "sft", "polyalign", "bucket-sft")
    _name = "Bucket-Aware SFT"
    _paper = PAPER

    _extra_columns = (*ResponseCollator.columns, *ResponseCollator.packed_columns)
    _extra_inputs = (
        *("token_weight", "bucket", "weight", "response_tokens", "truncated", "row"),
        *("num_rows", "num_examples"),
    )
    _prefix = "sft"
    _bucket_metrics = ("loss", "weight", "truncated")
    _trl_metrics = ("entropy", "mean_token_accuracy", "num_tokens", "aux_loss")
    _hidden_metrics = ("weighted_loss",)

    def __init__(
        self,
        model: Any,
        args: BucketSFTConfig | None = None,
        data_collator: Any = None,
        train_dataset: Any = None,
        eval_dataset: Any = None,
        processing_class: Any = None,
        compute_loss_func: Any = None,
        *positional: Any,
        bucket_counts: Mapping[str, int] | BucketWeights | None = None,
        **kwargs: Any,
    ) -> None:
        with agreed():
            data = train_dataset, eval_dataset
            args, train_dataset, eval_dataset = self._begin(
                model, args, BucketSFTConfig, data, processing_class, bucket_counts
            )
            _refuse(args, compute_loss_func, kwargs)
            self.balance, self._why_weighed = _balance(args, train_dataset)
        self.bucket_weights: BucketWeights | None = None
        self._loss_shares: dict[str, float] = {}
        self._most = math.inf
        self._examples_per_row: float | None = None
        self._told_unseen = False
        self._init_trl(
            model, args, data_collator, train_dataset, eval_dataset, processing_class, None, *positional, **kwargs
        )
        self._end_init()
        refuse_sequence_parallelism("BucketSFT", self.accelerator)
        self._ends.settle(self.model, self._tokenizer, given=args.eos_token, samples=False)
        self.data_collator = ResponseCollator(
            self.data_collator,
            by_token=args.reduction == "token",
            weighted=self.balance == "weight",
            length_column=args.length_column_name,
            examples_per_row=self._examples_per_row,
        )
        if self.drawing is not None:
            logger.info(self.drawing)

    # --------------------------------------------------------------------------------------------------- data

    def _prepared_dataset(
        self,
        dataset: Any,
        columns: list[str],
        skips: preparing.Skips,
        processing_class: Any,
        args: Any,
        packing: bool,
        formatting_func: Any,
        dataset_name: str,
    ) -> Any:
        _check_columns(columns, args, dataset_name)
        num_proc = args.dataset_num_proc
        unfit = self._unfit(columns, args)
        with main_first():
            dataset = preparing.sift(dataset, preparing.no_bucket, ["bucket"], skips)
            if unfit is not None:
                dataset = preparing.sift(dataset, unfit, unfit.columns, skips)
            if unfit is not None and args.conditioning is not None:
                dataset = preparing.mapped(dataset, Condition(args.conditioning), num_proc, "Conditioning")
                dataset = preparing.sift(dataset, unfit, unfit.columns, skips)  # a template may take no system message
        skips.check()
        # TRL would truncate and drop without a word.
        untouched = copy.copy(args)
        untouched.max_length, untouched.shuffle_dataset = None, False
        prepared = processing_class, untouched, False, formatting_func, dataset_name
        dataset = self._prepared_by_trl(dataset, unfit, skips, *prepared)
        with main_first():
            dataset = preparing.mapped(dataset, FitResponse(args), num_proc, f"Truncating {dataset_name}")
            lost = NoResponse(args.max_length)
            dataset = preparing.sift_cut(dataset, args, skips, lost, lost, "rows")
            if dataset_name == "train" and not self._is_weighed:
                self._ends.add_labels(preparing.some_rows(dataset, ROWS, ["input_ids", "labels", "truncated"]))
                self._weigh(dataset, args, weighs="weight" in columns)
            dataset = self._attach(dataset, skips, weighs="weight" in columns)
            skips.say()
            if args.shuffle_dataset:
                dataset = dataset.shuffle(seed=args.seed)
            if packing:
                dataset = self._pack(dataset, args, dataset_name)
        return dataset

    def _unfit(self, columns: list[str], args: BucketSFTConfig) -> Unfit | None:
        """Return what finds rows that can't be rendered; None where they are rendered already."""
        if "input_ids" in columns:
            return None
        responses = ["completion"] if "completion" in columns else [_conversations(columns)]
        return Unfit(
            self._tokenizer,
            columns if "completion" in columns else [name for name in columns if name != "prompt"],
            responses,
            chat_template=self.chat_template,
            needs_mask=args.assistant_only_loss,
            without_template="--chat_template_path takes a .jinja file, or a model that has one",
        )

    def _weigh(self, dataset: Any, args: BucketSFTConfig, *, weighs: bool) -> None:
        """Find every bucket's weight, and the mean weight of the rows that train."""
        self._is_weighed = True
        by_token = args.reduction == "token"
        tally = preparing.Tally()
        if preparing.is_streaming(dataset):
            if self.balance == "sample":
                raise ValueError("the training data set streams: rows of a stream can't be drawn, use balance='weight'")
            if not weighs and self._counts_given is None:
                raise ValueError(
                    "the training data set streams: weights need bucket_counts (rows by bucket) or a column 'weight'"
                )
            if by_token and not weighs:
                raise ValueError(
                    "the training data set streams: reduction='token' needs a column 'weight', since the tokens of its "
                    "buckets are not known; reduction='example' does not"
                )
        else:
            tally.add_all(dataset, weighs=weighs)
        counts = self._counts_given or dict(tally.rows)
        self._counts = counts
        self._register(tally.rows or counts)
        if weighs:
            self._tell_own_weights()
            self._loss_shares = dict(tally.weighted_tokens if by_token else tally.weighted_rows)
            self.weight_mean = args.weight_mean or (tally.mean_weight(by_token=by_token) if tally.rows else 1.0)
            return
        given: dict[str, Any] = {
            "min_count": args.min_count,
            "tokens": self._tokens(tally, counts) if by_token else None,
            "schema": preparing.schema_of(next(iter(counts))),
            "variant": args.variant,
        }
        self.bucket_weights = bucket_weights(counts, tau=args.tau, max_weight=args.max_weight, **given)
        logger.info("%s", self.bucket_weights)
        self._warn_of_weights(args)
        # An evaluation's are those of the mean over buckets, which no weighting that trains is to change.
        self._loss_shares = bucket_weights(counts, tau=0, max_weight=math.inf, **given).loss_shares
        self.weight_mean = args.weight_mean or self._mean_weight(tally, by_token=by_token)
        self._most = math.inf if args.weight_mean else self.bucket_weights.max_weight

    def _warn_of_weights(self, args: BucketSFTConfig) -> None:
        """Say where rows could not be drawn, and where the weights that stand in make much noise."""
        weights = self.bucket_weights
        if weights is None or self.balance == "sample" or math.isclose(weights.largest[1], 1, rel_tol=1e-9):
            return  # all weights are 1 where the largest is
        if self._why_weighed:
            logger.warning(f"buckets are weighted in the loss, rows are not drawn: {self._why_weighed}")
        if weights.is_noisy:
            rows, effective = sum(weights.counts.values()), weights.effective_sample_size
            logger.warning(
                f"the weights leave an effective sample of {effective:,.0f} of {rows:,} rows: a larger tau (it is "
                f"{args.tau:g}) or a smaller max_weight ({args.max_weight:g}) makes less noise"
            )

    def _tokens(self, tally: preparing.Tally, counts: Mapping[str, int]) -> dict[str, int]:
        if set(counts) != set(tally.tokens):
            raise ValueError("reduction='token' counts the data set's own tokens: leave bucket_counts out")
        return dict(tally.tokens)

    def _mean_weight(self, tally: preparing.Tally, *, by_token: bool) -> float:
        assert self.bucket_weights is not None
        if not tally.rows:
            return self.bucket_weights.mean
        sizes = tally.tokens if by_token else tally.rows
        weights = {bucket: preparing.weight_of(self.bucket_weights, bucket) for bucket in sizes}
        weighed = {bucket: weight for bucket, weight in weights.items() if weight is not None}
        return 1 / scale_to_mean_1(weighed, sizes, self.bucket_weights.max_weight) if weighed else 1.0

    def _attach(self, dataset: Any, skips: preparing.Skips, *, weighs: bool) -> Any:
        """Give every row its bucket's number and its weight over w̄."""
        self._register_all(dataset)
        if weighs:  # those of a data set that trains are known to be right
            dataset = preparing.sift(dataset, preparing.bad_weight, ["weight"], skips)
        unseen = set(self._bucket_ids) - set(self._counts) - {preparing.OTHER}
        if unseen and self._loss_shares and not self._told_unseen:
            self._told_unseen = True
            logger.warning(
                f"no row of {', '.join(sorted(unseen)[:5])} trains: not part of eval_loss, but logged by bucket"
            )
        weights = None if weighs else self.bucket_weights
        mean = self.weight_mean
        attach = preparing.Attach(dict(self._bucket_ids), missing=mean, weights=weights, mean=mean, most=self._most)
        if not weighs and self.bucket_weights is not None:
            dataset = preparing.sift(dataset, attach.no_weight, ["bucket"], skips)
        return self._attached(dataset, attach)

    def _pack(self, dataset: Any, args: BucketSFTConfig, dataset_name: str) -> Any:
        """Pack rows, each token with its weight w_i/(w̄·T_i) (by token: w_i/w̄) and its bucket."""
        if args.max_length is None:
            raise ValueError("packing needs max_length, the length of a packed row")
        spread = preparing.mapped(dataset, Spread(args.reduction == "token"), args.dataset_num_proc, "Weighing tokens")
        columns = ["input_ids", "labels", *ResponseCollator.packed_columns]
        packed = pack_dataset(spread.select_columns(columns), args.max_length, args.packing_strategy)
        if dataset_name == "train" and not preparing.is_streaming(dataset):
            self._examples_per_row = len(dataset) / len(packed)
        return packed.shuffle(seed=args.seed) if args.shuffle_dataset else packed

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        if self.balance == "weight":
            return super()._get_train_sampler(train_dataset)
        dataset = self.train_dataset if train_dataset is None else train_dataset
        seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
        rows = WeightedSampler(_weights(dataset), seed)
        if self.args.train_sampling_strategy == "random":
            return rows
        return DrawnBatches(rows, super()._get_train_sampler(train_dataset))

    @property
    def drawing(self) -> str | None:
        """What drawing makes of an epoch, in a line; None where rows weigh in the loss."""
        if self.balance == "weight" or self.train_dataset is None:
            return None
        weights = _weights(self.train_dataset)
        times = weights / weights.mean()
        return (
            f"Rows are drawn by weight: an epoch of {len(times):,} draws has {np.minimum(times, 1).sum():,.0f} rows, "
            f"some up to {math.ceil(times.max())} times."
        )

    # --------------------------------------------------------------------------------------------------- loss

    def _shares(self, batches: list[dict[str, Any]]) -> dict[str, Tensor]:
        names = {"examples": "num_examples", "tokens": "response_tokens", "weight": "weight"}
        return {share: torch.cat([batch[name] for batch in batches]) for share, name in names.items()}

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Compute a micro-batch's share of the loss of its global batch; alone, as in evaluation, its own loss."""
        inputs, extra = self._split(inputs)
        inputs["use_cache"] = False
        if self.aux_loss_enabled:
            inputs["output_router_logits"] = True
        outputs = model(**inputs, fused_lm_head=True)
        weights = extra["token_weight"][:, 1:]
        # Prompt learning puts virtual tokens before the real ones.
        logps = outputs.log_probs[:, -weights.size(1) :]
        size = self._denominator(num_items_in_batch or self._shares([extra]))
        loss = losses.token_loss(logps, weights, size, dft=self.args.loss_type == "dft")
        if num_items_in_batch is not None:
            loss = loss * self._data_parallel_size  # gradients are averaged over processes
        if self.aux_loss_enabled:
            steps = self.current_gradient_accumulation_steps if num_items_in_batch is not None else 1
            loss = loss + self.router_aux_loss_coef * outputs.aux_loss / steps
        with torch.no_grad():
            self._gather(inputs, extra, outputs, logps)
            if return_outputs:
                rest = {name: value for name, value in inputs.items() if name != "labels"}
                return loss, model(**rest)
        return loss

    def _denominator(self, shares: Mapping[str, Tensor]) -> Tensor:
        if self.args.reduction == "token":
            return shares["tokens"].sum().clamp(min=1)
        if self.args.variant == "paper":
            return shares["weight"].sum().clamp(min=torch.finfo(torch.float32).tiny)
        return shares["examples"].sum()

    def _gather(self, inputs: Mapping[str, Any], extra: Mapping[str, Tensor], outputs: Any, logps: Tensor) -> None:
        """Add what is logged, without waiting for the device."""
        width, examples = logps.size(1), extra["bucket"].size(0)
        if "attention_mask" in inputs:
            num_tokens = inputs["attention_mask"].sum(dim=1)

            def by_example(values: Tensor) -> Tensor:
                return values[:, -width:].to(torch.float32).sum(dim=1)
        else:
            sequences = inputs["seq_idx"][0, 1:].long()
            bounds = inputs["cu_seq_lens_q"]
            num_tokens = bounds.diff()[:examples]

            def by_example(values: Tensor) -> Tensor:
                sums = torch.zeros(bounds.size(0) - 1, device=values.device)
                return sums.index_add(0, sequences, values[0, -width:].to(torch.float32))[:examples]

        tokens, weight = extra["response_tokens"], extra["weight"]
        by_token = self.args.reduction == "token"
        size = tokens if by_token else torch.ones_like(weight)
        per_token = -logps * logps.exp() if self.args.loss_type == "dft" else -logps
        loss = by_example(per_token) * (1 if by_token else 1 / tokens)
        sums = {
            "loss": loss,
            "weighted_loss": weight * loss,
            # Where rows are drawn by weight it is 1 in the loss.
            "weight": weight * self.weight_mean if self.balance == "weight" else weight,
            "truncated": extra["truncated"],
            "entropy": by_example(outputs.entropy),
            "mean_token_accuracy": by_example(outputs.is_top1),
            "num_tokens": num_tokens,
        }
        counts = {
            "loss": size,
            "weighted_loss": weight * size,
            "entropy": tokens,
            "mean_token_accuracy": tokens,
        }
        if self.aux_loss_enabled:
            sums["aux_loss"] = outputs.aux_loss.expand(examples) / examples
            counts["aux_loss"] = torch.full_like(weight, 1 / examples)
        table = self._table(self._mode, weight.device)
        table.add(extra["bucket"], sums, counts, self._kept(extra["row"], extra["num_rows"]))

    def _evaluation_loss(self, overall: Mapping[str, float], by_bucket: Mapping[str, Mapping[int, float]]) -> float:
        """Return the mean over buckets of their mean losses, each with its share."""
        means = {self._bucket_names[bucket]: mean for bucket, mean in by_bucket["loss"].items()}
        shares = {bucket: self._loss_shares.get(bucket, 0.0) for bucket in means}
        whole = sum(shares.values())
        if whole == 0:
            return float(overall["weighted_loss"])
        return sum(shares[bucket] * mean for bucket, mean in means.items()) / whole

    def _card(self) -> str:
        weights = self.bucket_weights
        how = "drawn by weight" if self.balance == "sample" else "weighted in the loss"
        lines = [
            "\n\n## Buckets\n",
            f"Trained with [polyalign](https://github.com/polyalign/polyalign): `BucketSFT`, buckets {how}, "
            f"`tau={self.args.tau}`, `reduction={self.args.reduction}`, `variant={self.args.variant}`.\n",
            card_table(self._counts, None if weights is None else weights.weight_of),
        ]
        return "\n".join(lines) + "\n"


def _balance(args: BucketSFTConfig, train_dataset: Any) -> tuple[str, str | None]:
    """Return how buckets get their weight; and where rows could not be drawn by themselves, why not."""
    if args.balance != "auto":
        return args.balance, None
    columns = [] if train_dataset is None else preparing.columns_of(train_dataset)
    reasons = {
        "the training data set streams": preparing.is_streaming(train_dataset),
        "packing=True fixes which rows are together": args.packing,
        f"train_sampling_strategy={args.train_sampling_strategy!r} has its own order": (
            args.train_sampling_strategy not in _DRAWN
        ),
        "the data set says what its rows weigh": "weight" in columns,
    }
    why = next((reason for reason, is_so in reasons.items() if is_so), None)
    return ("sample", None) if why is None else ("weight", why)


# ------------------------------------------------------------------------------------------------- what is refused


def _refuse(args: BucketSFTConfig, compute_loss_func: Any, kwargs: Mapping[str, Any]) -> None:
    """Raise a ValueError for what the objective is not defined for."""
    packs = args.packing or args.eval_packing
    formatting = kwargs.get("formatting_func") is not None
    refused = {
        "compute_loss_func": (compute_loss_func is not None, "the loss is BucketSFT's own"),
        "formatting_func": (formatting, "its text does not say where the response begins"),
        "label_smoothing_factor": (args.label_smoothing_factor > 0, "the loss is that of the response's own tokens"),
        "completion_only_loss=False": (args.completion_only_loss is False, "the loss is that of the response"),
        f"packing_strategy={args.packing_strategy!r}": (
            packs and args.packing_strategy != "bfd",
            "it cuts a response in pieces, whose weight and mean loss are then lost: 'bfd' keeps responses whole",
        ),
        "eval_packing=True": (bool(args.eval_packing) and not args.packing, "set packing=True as well"),
        "dataset_kwargs={'skip_prepare_dataset': True}": (
            bool((args.dataset_kwargs or {}).get("skip_prepare_dataset")),
            "rows are weighed while they are prepared; a data set with input_ids and labels is taken as it is",
        ),
        "balance='sample'": (
            args.balance == "sample" and (args.packing or args.train_sampling_strategy not in _DRAWN),
            f"rows are drawn one by one: without packing, and with train_sampling_strategy {' or '.join(_DRAWN)}",
        ),
    }
    for what, (is_so, reason) in refused.items():
        if is_so:
            raise ValueError(f"BucketSFT does not take {what}: {reason}")


def _weights(dataset: Any) -> Any:
    return dataset.with_format("numpy")["weight"][:]


def _conversations(columns: list[str]) -> str:
    return "messages" if "messages" in columns else "conversations"


def _check_columns(columns: list[str], args: BucketSFTConfig, dataset_name: str) -> None:
    if "bucket" not in columns:
        raise ValueError(
            f"the {dataset_name} data set has no column 'bucket' (but {', '.join(columns)}): polyalign bucket and "
            "Bucketer.assign make it"
        )
    masks = {"labels", "completion_mask", "assistant_masks"}
    if args.conditioning is not None and "input_ids" in columns:
        raise ValueError(f"conditioning: the {dataset_name} data set has input_ids, to which no line can be added")
    if "input_ids" in columns:
        has_response = bool(masks & set(columns))
        hint = "with input_ids it needs labels, -100 outside the response"
    elif "completion" in columns:
        has_response, hint = "prompt" in columns, "a completion needs its prompt"
    else:
        has_response = args.assistant_only_loss and bool({"messages", "conversations"} & set(columns))
        hint = "it needs prompt and completion, or messages and assistant_only_loss=True"
    if not has_response:
        raise ValueError(f"the {dataset_name} data set does not say which text is the response: {hint}")
