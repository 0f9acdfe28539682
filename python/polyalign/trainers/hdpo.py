"""Preference optimisation towards the humans of every bucket."""

from __future__ import annotations

import copy
import dataclasses
import os
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from datasets import Value
from torch import Tensor

from polyalign._io import responses
from polyalign._io.manifests import check_fits
from polyalign._text.words import counted
from polyalign.buckets import BucketSchema
from polyalign.buckets._ids import checked_parts
from polyalign.buckets._schema import axis_names
from polyalign.critics import Critic, SupportCritic, ask, check_scores
from polyalign.critics._given import as_critic, is_part, schema_of
from polyalign.trainers import losses
from polyalign.trainers._base import PAPER, BucketTrainer, card_table, refuse_sequence_parallelism
from polyalign.trainers._collate import PairCollator
from polyalign.trainers._logs import get_logger
from polyalign.trainers._online import Samples, noise, sample
from polyalign.trainers._prepare import preparing
from polyalign.trainers._prepare.columns import (
    SCORES,
    MeasurePairs,
    ScorePairs,
    UnfitPair,
    WeighPairs,
    empty_response,
    no_score,
)
from polyalign.trainers._prepare.ends import ROWS, set_end
from polyalign.trainers._prepare.given import as_reference
from polyalign.trainers._prepare.preparing import Skips
from polyalign.trainers._prepare.unfit import Unfit
from polyalign.trainers._processes import agreed, main_first
from polyalign.trainers._trl import DPOTrainer, extract_prompt
from polyalign.trainers.hdpo_config import HDPOConfig
from polyalign.weights import BucketWeights

__all__ = ["HDPO"]

logger = get_logger(__name__)

# What noise is for, beside the seed and the process.
_TRAINING, _TRIAL, _EVALUATION = range(3)
#: Pairs whose responses a critic is tried on.
_TRIED = 128
#: Optimizer steps with a trial: the optimizer takes its memory in the first.
_TRIALS = 2
_WITHOUT_TEMPLATE = "start from a model that has one (polyalign sft saves it), or put chat_template.jinja in its folder"


@dataclasses.dataclass(frozen=True)
class _Answers:
    """The model's responses to prompts of a micro-batch, and their scores [n]; of a trial they count for nothing."""

    samples: Samples
    scores: dict[str, Tensor]
    """Of each critic, by what they are logged as."""
    is_trial: bool


@dataclasses.dataclass(frozen=True)
class _Asked:
    """What the critics are told of the prompts that are answered: their buckets, and the prompts as the data has them.

    Not as they are trained on, which a chat template has spelled, with tools and default system lines.
    """

    buckets: list[str]
    prompts: list[Any]

    @classmethod
    def of(cls, batch: Mapping[str, Any], names: list[str], rows: list[int]) -> _Asked:
        return cls([names[row] for row in rows], [batch["prompt"][row] for row in rows])


class HDPO(BucketTrainer, DPOTrainer):
    r"""Human-distribution preference optimisation: TRL's ``DPOTrainer``, regularised by a critic.

    L = (1/M) Σ [(w_i/w̄)·DPO_i + λ R_i + γ NLL_i] + λ_online·E_{y~π}[s(y, b)] over a global batch of M pairs:
    R_i = p_i s(y⁺, b) + (1−p_i) s(y⁻, b), p_i = σ(κ·margin), s the critic's distance from the humans of the pair's
    bucket. Every ``online_every`` steps the model answers the batch's prompts, and the last term has the gradient of
    the expected score (score-function estimator with a leave-one-out baseline).

    Parameters
    ----------
    model, ref_model, args, data_collator, train_dataset, eval_dataset, processing_class, **kwargs
        ``DPOTrainer``'s; `ref_model` is what DPO regularises towards. `args` is an :class:`HDPOConfig`. Data sets may
        be given as a folder, a file or a name on the hub, of which the split ``train`` is taken. They have a column
        ``bucket`` beside ``prompt``, ``chosen`` and ``rejected`` (``polyalign pairs`` makes them); columns ``weight``,
        ``chosen_score`` and ``rejected_score`` win over what would be computed; ``pair_type`` is a number.
    reference : Reference or str, optional
        The human reference, or a file, a folder or a data set of the hub that has it.
    critic : Critic or str, optional
        What scores responses: ``score(responses, buckets)``, lower is closer to humans; or the folder of a saved one;
        or the name of a reference: the support distance from it. One that has ``uses_prompts = True`` is given
        ``prompts=`` too: the data set's. Default: ``SupportCritic(reference)``. It may be left out where no term needs
        it: the data set has its scores, and ``lambda_online=0``.
    held_out_critic : Critic or str, optional
        One that nothing trains against, best of another kind: it scores the samples too, for the logs alone
        (``online_held_out_score``). Where that stands still while ``online_score`` falls, the model learns to please
        its critic.
    bucket_counts : mapping of str to int or BucketWeights, optional
        Rows by bucket, of a data set that streams, or of a larger corpus than the one that trains.

    Raises
    ------
    ValueError
        Before the first step: a data set without buckets, scores or weights that are no numbers, a reference of another
        schema, a prompt and ``max_new_tokens`` beyond the model, a loss that is not defined for pairs; the message
        names it.
    ImportError
        TRL is of an untested version.

    References
    ----------
    PolyAlign, arXiv:2606.13227, HDPO; Rafailov et al., arXiv:2305.18290, DPO; Ahmadian et al., arXiv:2402.14740, the
    baseline.

    Examples
    --------
    >>> from polyalign.trainers import HDPO, HDPOConfig
    >>> args = HDPOConfig(output_dir="out/hdpo")  # doctest: +SKIP
    >>> trainer = HDPO("out/sft", args=args, train_dataset=pairs, reference=reference)  # doctest: +SKIP
    >>> trainer.train()  # doctest: +SKIP
    """

    _tag_names = ("trl", "dpo", "polyalign", "hdpo")
    _name = "HDPO"
    _paper = PAPER

    _extra_columns = PairCollator.columns
    _extra_inputs = (
        "bucket",
        *PairCollator.told,
        *PairCollator.numbers,
        "row",
        "num_rows",
        "online",
        "online_rows",
        "online_share",
    )
    _exact_inputs = ("ref_chosen_logps", "ref_rejected_logps")
    _prefix = "hdpo"
    _bucket_metrics: tuple[str, ...] = (
        *("loss", "preference", "regularizer", "nll", "margin", "p", "p(1-p)", "weight", *SCORES, "truncated"),
        *("online_score", "online_length", "online_truncated", "online_unscored"),
    )
    _trl_metrics = (
        *("entropy", "num_tokens", "mean_token_accuracy", "logits/chosen", "logits/rejected", "logps/chosen"),
        *("logps/rejected", "rewards/chosen", "rewards/rejected", "rewards/accuracies", "rewards/margins", "aux_loss"),
    )
    _hidden_metrics = ("weighted_preference", "weighted_nll")

    def __init__(
        self,
        model: Any,
        ref_model: Any = None,
        args: HDPOConfig | None = None,
        data_collator: Any = None,
        train_dataset: Any = None,
        eval_dataset: Any = None,
        processing_class: Any = None,
        *positional: Any,
        reference: Any = None,
        critic: Any = None,
        held_out_critic: Any = None,
        bucket_counts: Mapping[str, int] | BucketWeights | None = None,
        **kwargs: Any,
    ) -> None:
        with agreed():
            data = train_dataset, eval_dataset
            self.reference, self.critic = as_reference(reference), as_critic(critic)
            if self.critic is None and self.reference is not None:
                self.critic = SupportCritic(self.reference)
            self.held_out_critic = self._held_out(critic, held_out_critic)
            for given in data:
                self._check_fits(given)
            args, train_dataset, eval_dataset = self._begin(
                model, args, HDPOConfig, data, processing_class, bucket_counts
            )
            self._check_schema(train_dataset)
        if args.lambda_online > 0 and self.critic is None:
            raise ValueError("lambda_online > 0 scores samples: give a reference or a critic, or set it to 0")
        if self.held_out_critic is not None and not (args.samples or args.eval_online_prompts):
            raise ValueError(
                "held_out_critic scores samples, and none are drawn: set lambda_online or eval_online_prompts, and "
                "train for at least online_every steps"
            )
        self._weigher: WeighPairs | None = None
        self._longest_prompt = 0
        self._online_costs: dict[str, float] = {}
        self._cost: _Cost
        self._trials = 0
        self._init_trl(
            model, ref_model, args, data_collator, train_dataset, eval_dataset, processing_class, *positional, **kwargs
        )
        self._end_init()
        refuse_sequence_parallelism("HDPO", self.accelerator)
        if args.eos_token is not None:
            set_end(self.model, self._tokenizer, args.eos_token)
        self._ends.settle(self.model, self._tokenizer, given=args.eos_token, samples=args.samples)
        self._check_room()
        self._refuse_reentrant()
        self.data_collator = PairCollator(self.data_collator, args.length_column_name)

    def _held_out(self, critic: Any, given: Any) -> Critic | None:
        """Return the critic that nothing trains against; a ValueError where it is the one that training lowers."""
        found = as_critic(given, "held_out_critic")
        if found is None:
            return None
        names = [os.path.realpath(each) for each in (critic, given) if isinstance(each, (str, os.PathLike))]
        if is_part(found, self.critic) or (len(names) > 1 and names[0] == names[1]):
            raise ValueError(
                f"held_out_critic is the critic that trains, or a part of it, {found!r}: it would only say what "
                "training lowers; give one of another kind"
            )
        self._bucket_metrics = (*self._bucket_metrics, "online_held_out_score", "online_held_out_unscored")
        return found

    def _check_room(self) -> None:
        """Raise a ValueError where the model has no room for the longest prompt and its response, and is to answer."""
        positions, needed = self._positions, self._longest_prompt + self.args.max_new_tokens
        if self.args.samples and positions is not None and needed > positions:
            raise ValueError(
                f"max_new_tokens={self.args.max_new_tokens} and the longest prompt, {self._longest_prompt} tokens, are "
                f"beyond the model's {positions} positions: lower max_new_tokens or max_length"
            )

    @property
    def _positions(self) -> int | None:
        """How many tokens the model has room for, where its configuration says so."""
        positions: int | None = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        return positions

    def _refuse_reentrant(self) -> None:
        """Raise a ValueError where a parameter's gradient would be ready twice in a backward pass."""
        reentrant = self.args.gradient_checkpointing and (self.args.gradient_checkpointing_kwargs or {}).get(
            "use_reentrant"
        )
        if reentrant and self.args.lambda_online > 0 and self.accelerator.num_processes > 1:
            raise ValueError(
                "lambda_online > 0 on several processes does not work with reentrant activation checkpointing, which "
                "TRL insists on for adapters under ZeRO-3: set activation_checkpointing=False, or use ZeRO-2 or FSDP "
                "(there use_reentrant can be False), or lambda_online=0"
            )

    # --------------------------------------------------------------------------------------------------- data

    def _prepared_dataset(
        self,
        dataset: Any,
        columns: list[str],
        skips: Skips,
        processing_class: Any,
        args: Any,
        dataset_name: str,
    ) -> Any:
        _check_columns(columns, dataset_name)
        weighs, num_proc = "weight" in columns, args.dataset_num_proc
        if args.eos_token is not None:  # with which TRL ends texts
            set_end(None, self._tokenizer, args.eos_token)
        responses = ("chosen", "rejected")
        unfit = Unfit(self._tokenizer, columns, responses, without_template=_WITHOUT_TEMPLATE)
        with main_first():
            dataset = preparing.sift(dataset, preparing.no_bucket, ["bucket"], skips)
            dataset = preparing.sift(dataset, unfit, unfit.columns, skips)
            skips.check()
            if "prompt" not in columns:
                dataset = preparing.mapped(dataset, extract_prompt, num_proc, "Extracting prompts of")
                unfit = Unfit(self._tokenizer, [*columns, "prompt"], responses, without_template=_WITHOUT_TEMPLATE)
                dataset = preparing.sift(dataset, unfit, unfit.columns, skips)
            dataset = preparing.sift(dataset, empty_response, ["chosen", "rejected"], skips)
            skips.check()
            self._check_schema(dataset)
            dataset = self._score(dataset, args, columns, dataset_name, skips)
            if dataset_name == "train" and not self._is_weighed:
                self._try_critics(dataset, args, columns)
        skips.check()
        # TRL would drop without a word.
        untouched = copy.copy(args)
        untouched.max_length = None
        dataset = self._prepared_by_trl(dataset, unfit, skips, processing_class, untouched, dataset_name)
        with main_first():
            measure = MeasurePairs(args)
            dataset = preparing.extended(dataset, measure, measure.columns, measure.types)
            lost = UnfitPair(args)
            dataset = preparing.sift_cut(dataset, args, skips, lost, lost.by_length, "pairs")
            if dataset_name == "train" and not self._is_weighed:
                for row in preparing.some_rows(dataset, ROWS, ["chosen_ids"]):
                    self._ends.add(row["chosen_ids"])
                self._count(dataset, args, weighs=weighs)
            self._register_all(dataset)
            if weighs:  # those of a data set that trains are known to be right
                dataset = preparing.sift(dataset, preparing.bad_weight, ["weight"], skips)
            elif self._weigher is not None:
                dataset = preparing.extended(
                    dataset, self._weigher, self._weigher.columns, {"weight": Value("float64")}
                )
            skips.say()
            if dataset_name == "train" and not self._is_weighed:
                self._weigh(dataset, args)
            # The critic asks for the names of a stream's buckets.
            attach = preparing.Attach(
                dict(self._bucket_ids), missing=self.weight_mean, names=preparing.is_streaming(dataset)
            )
            return self._attached(dataset, attach)

    @property
    def _humans(self) -> list[Any]:
        """What buckets are looked up in: the reference, and the critics' own, or the critics themselves."""
        found = [self.reference, *(getattr(each, "reference", each) for each in (self.critic, self.held_out_critic))]
        return [each for each in found if each is not None]

    def _check_fits(self, data: Any) -> None:
        """Raise a ValueError for a folder, by its name, whose buckets a reference or critic means otherwise."""
        for each in data.values() if isinstance(data, Mapping) else [data]:
            if isinstance(each, (str, os.PathLike)):
                check_fits(each, *self._humans)

    def _check_schema(self, dataset: Any) -> None:
        """Raise a ValueError for a bucket that is none under a reference's schema, or a critic's."""
        if dataset is None or not self._humans or self._is_prepared(dataset):
            return
        if preparing.is_streaming(dataset):
            buckets = set(self._counts_given or {})
        else:
            buckets = preparing.buckets_of(dataset) if "bucket" in dataset.column_names else set()
        for bucket in sorted(bucket for bucket in buckets if isinstance(bucket, str) and bucket):
            for each in self._humans:
                is_reference, schema = hasattr(each, "resolve"), schema_of(each)
                try:
                    if is_reference:
                        each.resolve(bucket)
                    elif schema is not None:
                        checked_parts(bucket, axis_names(schema))
                except ValueError as error:
                    what = "reference" if is_reference else f"critic {type(each).__name__}"
                    raise ValueError(f"the data set and the {what} are of different schemas: {error}") from None

    def _score(self, dataset: Any, args: HDPOConfig, columns: list[str], dataset_name: str, skips: Skips) -> Any:
        """Give every pair its scores, where a term needs them."""
        needed = args.lambda_offline > 0 or (args.beta_w > 0 and "weight" not in columns)
        missing = [name for name in SCORES if name not in columns]
        given = [name for name in SCORES if name in columns]
        if given and self.critic is not None:
            logger.warning(f"the {dataset_name} data set has {' and '.join(given)}: the critic does not score these")
        if not needed:
            return dataset
        if missing:
            if self.critic is None:
                raise ValueError(
                    f"the {dataset_name} data set has no column {missing[0]!r}: give a reference or a critic, or set "
                    "lambda_offline=0 and beta_w=0"
                )
            dataset = _batched(dataset, ScorePairs(self.critic, missing), None, f"Scoring {dataset_name}")
        if not preparing.is_streaming(dataset):
            found = [_arrays(dataset, name) for name in (*SCORES, "bucket")]
            scores, buckets = np.concatenate(found[:2]), np.concatenate([found[2], found[2]])
            check_scores(scores, buckets.tolist(), name="critic" if missing else f"columns {' and '.join(SCORES)}")
        return preparing.sift(dataset, no_score, [*SCORES, "bucket"], skips)

    def _try_critics(self, dataset: Any, args: HDPOConfig, columns: list[str]) -> None:
        """Ask the critics that will score samples about some responses: what can't be right is seen before training.

        Where all responses of the data set are scored, the critic has been asked.
        """
        scores = {*SCORES}
        is_known = (
            not preparing.is_streaming(dataset)
            and not scores <= {*columns}
            and scores <= {*preparing.columns_of(dataset)}
        )
        tried = {
            "critic": self.critic if args.samples and not is_known else None,
            "held_out_critic": self.held_out_critic,
        }
        for name, critic in tried.items():
            if critic is not None:
                _try_critic(dataset, critic, name)

    def _count(self, dataset: Any, args: HDPOConfig, *, weighs: bool) -> None:
        """Find how rare every bucket is."""
        tally = preparing.Tally()
        if not preparing.is_streaming(dataset):
            tally.add_all(dataset, weighs=weighs)
            longest = int(_arrays(dataset, "prompt_tokens").max())
            self._longest_prompt = longest if args.max_length is None else min(longest, args.max_length)
        elif not weighs and self._counts_given is None:
            raise ValueError(
                "the training data set streams: its weights need bucket_counts (rows by bucket) or a column 'weight'"
            )
        self._counts = self._counts_given or dict(tally.rows)
        self._register(tally.rows or self._counts)
        if self._counts:
            self._weigher = WeighPairs(self._counts, args, self._schema())
        if weighs:
            self._tell_own_weights()

    def _schema(self) -> BucketSchema | None:
        return preparing.schema_of(next(iter(self._counts))) if self.reference is None else self.reference.schema

    def _weigh(self, dataset: Any, args: HDPOConfig) -> None:
        """Find the mean weight of the pairs that train."""
        self._is_weighed = True
        weights = None if preparing.is_streaming(dataset) else _arrays(dataset, "weight")
        self.weight_mean = args.weight_mean or (1.0 if weights is None else float(weights.mean()))
        sorts = [loss_type for loss_type in args.loss_type if loss_type.startswith("aot")]
        if sorts and (weights is None or weights.min() != weights.max()):
            raise ValueError(
                f"loss_type {sorts[0]!r} sorts the pairs of a batch, so that no value is a pair's to weigh: it needs "
                "equal weights (alpha=0, beta_w=0, gamma_l=0, eta=0, or a column 'weight' of ones)"
            )

    # --------------------------------------------------------------------------------------------------- loss

    def _shares(self, batches: list[dict[str, Any]]) -> dict[str, Tensor]:
        weights = torch.cat([batch["weight"] for batch in batches])
        shares = {"pairs": torch.ones_like(weights), "weight": weights}
        if "sft" in self.loss_types:
            shares["weighted_tokens"] = torch.cat([batch["weight"] * _chosen_lengths(batch) for batch in batches])
        return shares

    def _step_shares(self, batches: list[dict[str, Any]]) -> dict[str, Tensor]:
        is_due = self._next_sampling == self.state.global_step
        if is_due or self._needs_trial():
            self._choose_prompts(batches)
            self._answer(batches, is_trial=not is_due)
        return self._shares(batches)

    @property
    def _next_sampling(self) -> int | None:
        """The steps that will have been made when the next sampling step begins; None where none comes."""
        every = self.args.online_every
        step = (self.state.global_step // every + 1) * every - 1
        return step if self.args.lambda_online > 0 and step < self.state.max_steps else None

    def _needs_trial(self) -> bool:
        """Say whether to find out, before the first sampling step, whether one of the largest fits in memory."""
        self._trials += 1
        return self._trials <= _TRIALS and self._next_sampling is not None

    def _choose_prompts(self, batches: list[dict[str, Any]]) -> None:
        """Tell the micro-batches of a sampling step which of their prompts are answered, and what each counts for.

        Of every micro-batch as many, drawn at random; where there are fewer than micro-batches, one of each of some.
        Micro-batches may hold rows of like length and differ in size, so a prompt counts for those it stands for: then
        the sum over the global batch is that of all prompts, on average. On all processes the same ones answer any.
        """
        sizes = [len(batch["bucket"]) for batch in batches]
        if self.args.online_prompts is None:
            quotas = sizes
        else:
            most = max(1, self.args.online_prompts // self._data_parallel_size)
            quotas = [most // len(batches)] * len(batches)
            for at in self._draw(len(batches), most % len(batches), 0):
                quotas[at] += 1
        answering = sum(quota > 0 for quota in quotas)
        for at, (batch, quota, size) in enumerate(zip(batches, quotas, sizes, strict=True)):
            rows = self._draw(size, min(quota, size), 1 + at, self._data_parallel_rank)
            batch["online_rows"] = sorted(rows)
            batch["online_share"] = size / max(len(rows), 1) * len(batches) / answering

    def _draw(self, among: int, count: int, *what: int) -> list[int]:
        """Draw numbers below `among`, the same whenever the step is made."""
        draws = np.random.default_rng([self.args.seed, self.state.global_step, *what])
        return list(map(int, draws.permutation(among)[:count]))

    def compute_ref_log_probs(self, model: Any, inputs: Mapping[str, Any]) -> Any:
        """Compute log-probabilities under the reference model, as TRL does."""
        return super().compute_ref_log_probs(model, self._split(inputs)[0])

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Compute a micro-batch's share of the loss of its global batch; alone, as in evaluation, its own loss."""
        inputs, extra = self._split(inputs)
        shares = num_items_in_batch or self._shares([{**inputs, **extra}])
        # First, while no activations of the pairs are held, nor shards of the model between forward and backward.
        online = self._online_loss(model, extra, shares) if "online" in extra else 0.0
        model_inputs = {name: value for name, value in inputs.items() if name in ("input_ids", "attention_mask")}
        if self.aux_loss_enabled:
            model_inputs["output_router_logits"] = True
        mask = inputs["completion_mask"][:, 1:]
        labels = inputs["input_ids"].masked_fill(inputs["completion_mask"] == 0, -100)
        outputs = model(**model_inputs, use_cache=False, labels=labels, fused_lm_head=True)
        # Prompt learning puts virtual tokens before the real ones.
        token_logps = outputs.log_probs[:, -mask.size(1) :]
        pairs = self._pair_logps(token_logps, inputs)
        values = self._terms(token_logps, mask, pairs, extra, outputs)

        loss = self._offline_loss(values, token_logps, mask, extra, shares) + online
        if num_items_in_batch is not None:
            loss = loss * self._data_parallel_size  # gradients are averaged over processes
        if self.aux_loss_enabled:
            steps = self.current_gradient_accumulation_steps if num_items_in_batch is not None else 1
            loss = loss + self.router_aux_loss_coef * outputs.aux_loss / steps
        with torch.no_grad():
            self._gather(inputs, extra, outputs, token_logps, pairs, values)
            if return_outputs:
                return loss, model(**model_inputs, use_cache=False)
        return loss

    def _pair_logps(self, token_logps: Tensor, inputs: Mapping[str, Any]) -> losses.PairLogps:
        mask = inputs["completion_mask"]
        chosen, rejected = losses.response_logps(token_logps, mask[:, 1:], self.ld_alpha).chunk(2)
        if self.precompute_ref_logps:
            ref_chosen, ref_rejected = inputs["ref_chosen_logps"], inputs["ref_rejected_logps"]
        else:
            ref_chosen, ref_rejected = self.compute_ref_log_probs(self.ref_model or self.model, inputs)
        return losses.PairLogps(chosen, rejected, ref_chosen, ref_rejected, *mask.sum(dim=1).chunk(2))

    def _terms(
        self, token_logps: Tensor, mask: Tensor, pairs: losses.PairLogps, extra: Mapping[str, Tensor], outputs: Any
    ) -> dict[str, Tensor]:
        """Compute every pair's preference loss, margin, R and NLL, shapes [n]."""
        args = self.args
        settings = {
            "beta": self.beta,
            "label_smoothing": self.label_smoothing,
            "f_divergence_type": self.f_divergence_type,
            "f_alpha_divergence_coef": self.f_alpha_divergence_coef,
            "discopop_tau": args.discopop_tau,
        }
        preference = torch.zeros_like(pairs.chosen)
        for loss_type, loss_weight in zip(self.loss_types, self.loss_weights, strict=True):
            if loss_type != "sft":
                preference = preference + loss_weight * losses.preference_loss(pairs, loss_type, **settings)
        policy = torch.ones_like(preference)
        if self.use_weighting:
            policy = losses.wpo_weights(token_logps, outputs.log_sum_sq_probs[:, -mask.size(1) :], mask)
        sums = pairs
        if args.margin.startswith("policy") and self.ld_alpha is not None:
            chosen, rejected = losses.response_logps(token_logps, mask).chunk(2)
            sums = dataclasses.replace(pairs, chosen=chosen, rejected=rejected)
        values = {
            "preference": preference * policy,
            "policy_weight": policy,
            "margin": losses.margin(args.margin, sums),
            "nll": losses.mean_nll(*(tensor.chunk(2)[0] for tensor in (token_logps, mask))),
        }
        if args.lambda_offline > 0:
            chosen_scores, rejected_scores = (extra[name].to(preference.dtype) for name in SCORES)
            values["regularizer"] = losses.regularizer(values["margin"], chosen_scores, rejected_scores, args.kappa)
        return values

    def _offline_loss(
        self,
        values: Mapping[str, Tensor],
        token_logps: Tensor,
        mask: Tensor,
        extra: Mapping[str, Tensor],
        shares: Mapping[str, Tensor],
    ) -> Tensor:
        loss = losses.hdpo_loss(
            values["preference"],
            extra["weight"],
            values.get("regularizer"),
            values["nll"] if self.args.gamma > 0 else None,
            lambda_offline=self.args.lambda_offline,
            gamma=self.args.gamma,
            mean_weight=self.weight_mean,
            num_pairs=shares["pairs"].sum(),
            weight_sum=shares["weight"].sum().clamp(min=torch.finfo(torch.float32).tiny),
            variant=self.args.variant,
        )
        if "sft" in self.loss_types:
            chosen_logps, chosen_mask = (tensor.chunk(2)[0] for tensor in (token_logps, mask))
            weights = extra["weight"] * values["policy_weight"]
            sft = losses.sft_loss(
                chosen_logps, chosen_mask, weights, weighted_tokens=shares["weighted_tokens"].sum().clamp(min=1e-30)
            )
            loss = loss + self._sft_weight * sft
        return loss

    @property
    def _sft_weight(self) -> float:
        return sum(w for name, w in zip(self.loss_types, self.loss_weights, strict=True) if name == "sft")

    # ------------------------------------------------------------------------------------------------- online

    def _answer(self, batches: list[dict[str, Any]], *, is_trial: bool) -> None:
        """Answer the prompts that were chosen of all micro-batches at once, and score what comes."""
        many = self.args.num_online_samples
        prompts = [prompt for batch in batches for prompt in _prompts(batch, batch["online_rows"])]
        asked = [_Asked.of(batch, self._names(batch), batch["online_rows"]) for batch in batches]
        if is_trial and self._longest_prompt:
            prompts = [(prompt * self._longest_prompt)[: self._longest_prompt] for prompt in prompts]
        self._cost = _Cost(self.accelerator.device)
        what = _TRIAL if is_trial else _TRAINING
        samples = self._sampled(prompts, (self.state.global_step, what), fill=is_trial)
        scores = self._scored(samples, asked)
        if not is_trial:
            self._cost.add_to(self._online_costs, times=1.0, sampling_seconds=self._cost.seconds())
        start = 0
        for batch in batches:
            stop = start + many * len(batch["online_rows"])
            if stop > start:
                own = {name: values[start:stop] for name, values in scores.items()}
                batch["online"] = _Answers(samples.of(start, stop), own, is_trial)
            start = stop

    def _sampled(self, prompts: list[list[int]], seed: tuple[int, ...], *, fill: bool = False) -> Samples:
        args = self.args
        room = min(args.max_new_tokens, self._room(prompts))
        if room < args.max_new_tokens:  # of a stream, whose longest prompt was not known
            logger.warning_once(
                "a prompt and max_new_tokens are beyond the model's positions: its responses are shorter"
            )
        seed = (args.seed, *seed, self._data_parallel_rank)
        try:
            return sample(
                self.model_wrapped, self.accelerator, prompts, self._tokenizer, args, room, seed=seed, fill=fill
            )
        except torch.OutOfMemoryError as error:
            raise torch.OutOfMemoryError(
                f"{args.num_online_samples} responses of {room} tokens to each of {len(prompts)} prompts of up to "
                f"{max(map(len, prompts)):,} tokens do not fit in memory: lower online_batch_size "
                f"({args.online_batch_size}), how many are generated at once, or max_new_tokens; or set "
                f"lambda_online=0. {error}"
            ) from error

    def _names(self, batch: Mapping[str, Any]) -> list[str]:
        """Return the buckets of a batch's pairs."""
        return batch.get("bucket_name") or [self._bucket_names[bucket] for bucket in batch["bucket"].tolist()]

    def _online_loss(self, model: Any, extra: Mapping[str, Any], shares: Mapping[str, Tensor]) -> Tensor:
        """Return the micro-batch's share of a loss that has the gradient of the expected score."""
        args, answers, device = self.args, extra["online"], extra["bucket"].device
        batch = answers.samples.batch(self._tokenizer.pad_token_id, device, args.pad_to_multiple_of)

        def log_probs() -> Tensor:
            found: Tensor = model(**batch, use_cache=False, fused_lm_head=True).log_probs.sum(dim=1)
            return found

        if answers.is_trial:
            with noise(device, (args.seed, self.state.global_step, _TRIAL)):  # dropout's
                return 0.0 * log_probs().sum()
        start, scores = time.perf_counter(), answers.scores["online_score"].to(device)
        by_prompt = (len(extra["online_rows"]), args.num_online_samples)
        num_prompts = shares["pairs"].sum()
        logps = log_probs().view(by_prompt)
        surrogate = losses.online_surrogate(scores.view(by_prompt), logps, num_prompts=num_prompts)
        # Its value means nothing: what is reported is the mean score.
        score = scores.nan_to_num(0.0).sum() / (args.num_online_samples * num_prompts)
        self._cost.add_to(self._online_costs, seconds=time.perf_counter() - start)
        rows = extra["bucket"][extra["online_rows"]]
        self._add_answers("train", rows, answers.samples, answers.scores)
        return args.lambda_online * extra["online_share"] * (surrogate - surrogate.detach() + score)

    def _add_answers(
        self, mode: str, buckets: Tensor, samples: Samples, scores: Mapping[str, Tensor], keep: Tensor | None = None
    ) -> None:
        """Add what is logged of responses to prompts of some buckets."""
        device, many = buckets.device, self.args.num_online_samples
        scores = {name: values.to(device) for name, values in scores.items()}
        values = {
            **scores,
            **{name.replace("_score", "_unscored"): values.isnan().float() for name, values in scores.items()},
            "online_length": torch.tensor([float(len(response)) for response in samples.responses], device=device),
            "online_truncated": torch.tensor([float(cut) for cut in samples.cut], device=device),
        }
        self._table(mode, device).add(buckets.repeat_interleave(many), values, keep=keep)

    def _after_evaluation(self, dataset: Any) -> None:
        """Answer the same prompts at every evaluation, with the same noise, and score what comes."""
        count, size, rank = self.args.eval_online_prompts, self._data_parallel_size, self._data_parallel_rank
        if not count or (self.critic is None and self.held_out_critic is None):
            return
        rows = _some_rows(dataset, count, self.args.seed)
        mine = rows[rank::size]
        # On all processes alike: one that has no row answers one that does not count.
        batch = self.data_collator(mine or rows[:1])
        places = list(range(len(batch["bucket"])))
        samples = self._sampled(_prompts(batch, places), (0, _EVALUATION))
        scores = self._scored(samples, [_Asked.of(batch, self._names(batch), places)])
        buckets = batch["bucket"].to(self.accelerator.device)
        keep = torch.full((len(samples.responses),), bool(mine), device=buckets.device)
        self._add_answers("eval", buckets, samples, scores, keep)

    def _room(self, prompts: list[list[int]]) -> int:
        positions = self._positions
        return self.args.max_new_tokens if positions is None else max(1, positions - max(map(len, prompts)))

    def _scored(self, samples: Samples, asked: list[_Asked]) -> dict[str, Tensor]:
        """Return each critic's scores of responses to prompts, by what they are logged as."""
        texts = self._tokenizer.batch_decode(samples.responses, skip_special_tokens=True)
        many = range(self.args.num_online_samples)
        buckets = [name for part in asked for name in part.buckets for _ in many]
        prompts = [prompt for part in asked for prompt in part.prompts for _ in many]
        critics = {"online_score": self.critic, "online_held_out_score": self.held_out_critic}
        return {
            name: torch.from_numpy(ask(critic, texts, buckets, prompts).copy())
            for name, critic in critics.items()
            if critic is not None
        }

    # ------------------------------------------------------------------------------------------------ logging

    def _gather(
        self,
        inputs: Mapping[str, Any],
        extra: Mapping[str, Tensor],
        outputs: Any,
        token_logps: Tensor,
        pairs: losses.PairLogps,
        values: Mapping[str, Tensor],
    ) -> None:
        """Add what is logged, without waiting for the device."""
        args, width = self.args, token_logps.size(1)
        mask = inputs["completion_mask"][:, 1:].bool()
        chosen_mask, rejected_mask = mask.chunk(2)
        lengths, rejected_lengths = chosen_mask.sum(dim=1), rejected_mask.sum(dim=1)
        weight, preference, nll = extra["weight"], values["preference"], values["nll"]
        regularizer = values.get("regularizer", torch.zeros_like(nll))
        p = torch.sigmoid(args.kappa * values["margin"])

        def halves(tensor: Tensor) -> tuple[Tensor, Tensor]:
            chosen, rejected = (tensor[:, -width:].to(torch.float32) * mask).chunk(2)
            return chosen.sum(dim=1), rejected.sum(dim=1)

        rewards = [self.beta * ratios for ratios in (pairs.chosen_logratios, pairs.rejected_logratios)]
        sums = {
            "loss": weight / self.weight_mean * preference + args.lambda_offline * regularizer + args.gamma * nll,
            "preference": preference,
            "weighted_preference": weight * preference,
            "nll": nll,
            "margin": values["margin"],
            "p": p,
            "p(1-p)": p * (1 - p),
            "weight": weight,
            "truncated": extra["truncated"],
            "entropy": sum(halves(outputs.entropy)),
            "num_tokens": sum(inputs["attention_mask"].sum(dim=1).chunk(2)),
            "mean_token_accuracy": halves(outputs.is_top1)[0],
            "rewards/chosen": rewards[0],
            "rewards/rejected": rewards[1],
            "rewards/accuracies": (rewards[0] > rewards[1]).float(),
            "rewards/margins": rewards[0] - rewards[1],
            "logps/chosen": pairs.chosen,
            "logps/rejected": pairs.rejected,
        }
        sums["logits/chosen"], sums["logits/rejected"] = halves(outputs.mean_logits)
        counts = {
            "entropy": lengths + rejected_lengths,
            "mean_token_accuracy": lengths,
            "logits/chosen": lengths,
            "logits/rejected": rejected_lengths,
        }
        sums.update({name: extra[name] for name in SCORES if name in extra})
        if "regularizer" in values:
            sums["regularizer"] = regularizer
        if "sft" in self.loss_types:
            sums["weighted_nll"] = weight * values["policy_weight"] * nll * lengths
            counts["weighted_nll"] = weight * lengths
        if self.aux_loss_enabled:
            sums["aux_loss"] = outputs.aux_loss.expand(len(weight)) / len(weight)
            counts["aux_loss"] = torch.full_like(weight, 1 / len(weight))
        table = self._table(self._mode, weight.device)
        table.add(extra["bucket"], sums, counts, self._kept(extra["row"], extra["num_rows"]))

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log, with what was gathered since the last time; every process calls it."""
        if self._online_costs and "loss" in logs:
            costs, self._online_costs = self._online_costs, {}
            times = costs.pop("times")
            costs["seconds"] += costs["sampling_seconds"]
            for name, value in costs.items():
                logs[f"hdpo/online_{name}"] = value / times if name.endswith("seconds") else value
        super().log(logs, start_time)

    def _evaluation_loss(self, overall: Mapping[str, float], by_bucket: Mapping[str, Mapping[int, float]]) -> float:
        """Return the offline objective over the whole set."""
        preference = overall["weighted_preference"]
        preference /= overall["weight"] if self.args.variant == "paper" else self.weight_mean
        loss = preference + self.args.lambda_offline * overall.get("regularizer", 0.0)
        loss += self.args.gamma * overall["nll"] + self._sft_weight * overall.get("weighted_nll", 0.0)
        return loss + self.router_aux_loss_coef * overall.get("aux_loss", 0.0)

    def _card(self) -> str:
        args = self.args
        reference = "none" if self.reference is None else repr(self.reference)
        lines = [
            "\n\n## Buckets, reference and critic\n",
            "Trained with [polyalign](https://github.com/polyalign/polyalign): `HDPO`, "
            f"`lambda_offline={args.lambda_offline}`, `margin={args.margin}`, `lambda_online={args.lambda_online}`, "
            f"`gamma={args.gamma}`, `variant={args.variant}`.\n",
            f"- Human reference: `{reference}`",
            f"- Critic: `{self.critic!r}`\n",
            *([] if self.held_out_critic is None else [f"- Held-out critic: `{self.held_out_critic!r}`\n"]),
            card_table(self._counts, None),
        ]
        return "\n".join(lines) + "\n"


class _Cost:
    """What sampling and scoring cost this process, apart from the rest of a step."""

    def __init__(self, device: torch.device) -> None:
        self.device = device if device.type == "cuda" else None
        if self.device:
            torch.cuda.reset_peak_memory_stats(self.device)
        self.start = time.perf_counter()

    def seconds(self) -> float:
        return time.perf_counter() - self.start

    def add_to(self, costs: dict[str, float], **new: float) -> None:
        for name, value in new.items():
            costs[name] = costs.get(name, 0.0) + value
        if self.device:
            peak = torch.cuda.max_memory_allocated(self.device) / 2**30
            costs["memory_gb"] = max(costs.get("memory_gb", 0.0), peak)


def _some_rows(dataset: Any, count: int, seed: int) -> list[dict[str, Any]]:
    """Return rows of a data set, always the same; of a stream the first."""
    # A stream's share of a process stands for the stream.
    dataset = dataset if hasattr(dataset, "__getitem__") else getattr(dataset, "dataset", dataset)
    if preparing.is_streaming(dataset):
        return list(dataset.take(count))
    chosen = np.random.default_rng(seed).permutation(len(dataset))[:count]
    return [dataset[at] for at in sorted(chosen.tolist())]


def _chosen_lengths(batch: Mapping[str, Tensor]) -> Tensor:
    return batch["completion_mask"][:, 1:].chunk(2)[0].sum(dim=1)


def _prompts(inputs: Mapping[str, Tensor], rows: list[int]) -> list[list[int]]:
    """Return the token ids of prompts of a batch."""
    ids, mask, attention = (inputs[name][rows] for name in ("input_ids", "completion_mask", "attention_mask"))
    is_prompt = attention.bool() & (mask.cumsum(dim=1) == 0)
    return [row[kept].tolist() for row, kept in zip(ids.cpu(), is_prompt.cpu(), strict=True)]


def _try_critic(dataset: Any, critic: Critic, name: str) -> None:
    """Ask a critic about some responses of a data set; say how many it has no score for.

    Raises
    ------
    ValueError
        Scores that can't be, or that tell nothing.
    """
    rows = preparing.some_rows(dataset, _TRIED, ["bucket", "prompt", "chosen", "rejected"])
    texts = [text for side in ("chosen", "rejected") for text in responses.texts(side, [row[side] for row in rows])]
    buckets, prompts = ([row[column] for row in rows] * 2 for column in ("bucket", "prompt"))
    scores = ask(critic, texts, buckets, prompts)
    found = check_scores(scores, buckets, responses=texts, name=name)
    if found.overall.missing:
        bucket = buckets[int(np.flatnonzero(np.isnan(scores))[0])]
        logger.warning(
            f"{name}: no score for {found.overall.missing:,} of {counted(len(texts), 'response')} tried, the first in "
            f"bucket {bucket}: samples without a score count for nothing"
        )


def _check_columns(columns: list[str], dataset_name: str) -> None:
    for name in ("bucket", "chosen", "rejected"):
        if name not in columns:
            raise ValueError(
                f"the {dataset_name} data set has no column {name!r} (but {', '.join(columns)}): polyalign pairs makes "
                "preference data with buckets"
            )


def _arrays(dataset: Any, column: str) -> Any:
    return np.concatenate([np.asarray(batch[column]) for batch in preparing.batches(dataset, [column])])


def _batched(dataset: Any, function: Any, num_proc: int | None, desc: str) -> Any:
    if preparing.is_streaming(dataset):
        return dataset.map(function, batched=True)
    return dataset.map(function, batched=True, num_proc=num_proc, desc=f"{desc} dataset")
