"""Preference optimisation towards the humans of every bucket."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor

from polyalign.critics import Critic, SupportCritic
from polyalign.critics._floor import no_floor
from polyalign.critics._given import as_critic, is_part
from polyalign.distribution import DistributionTerm, Over
from polyalign.trainers import losses
from polyalign.trainers._answering import Answering
from polyalign.trainers._base import PAPER, card_table, refuse_sequence_parallelism
from polyalign.trainers._collate import PairCollator
from polyalign.trainers._distribution import METRICS, DistributionScores
from polyalign.trainers._logs import get_logger
from polyalign.trainers._prepare.columns import SCORES
from polyalign.trainers._prepare.ends import set_end
from polyalign.trainers._prepare.given import as_reference
from polyalign.trainers._prepare.pairs import PairPreparation
from polyalign.trainers._processes import agreed
from polyalign.trainers._trl import DPOTrainer
from polyalign.trainers._variety import VARIETY
from polyalign.trainers.hdpo_config import HDPOConfig
from polyalign.weights import BucketWeights

__all__ = ["HDPO"]

logger = get_logger(__name__)


class HDPO(PairPreparation, Answering, DPOTrainer):
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
        ``chosen_score`` and ``rejected_score`` win over what would be computed; ``pair_type`` is a number or a name.
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
        *("online_entropy", *VARIETY),
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
        self._tell_no_floor(args)
        if args.critic_weight > 0 and self.critic is None:
            raise ValueError("lambda_online > 0 scores samples: give a reference or a critic, or set it to 0")
        with agreed():
            self._distribution = self._distribution_of(args)
        if self.held_out_critic is not None and not (args.samples or args.eval_online_prompts):
            raise ValueError(
                "held_out_critic scores samples, and none are drawn: set lambda_online or eval_online_prompts, and "
                "train for at least online_every steps"
            )
        self._begin_answering()
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
        if self._distribution is not None:
            with agreed():
                self._distribution.check(self._counts)
        self.data_collator = PairCollator(self.data_collator, args.length_column_name)

    def _tell_no_floor(self, args: HDPOConfig) -> None:
        """Say which critics' scores are as they are."""
        for name, critic in (("critic", self.critic), ("held_out_critic", self.held_out_critic)):
            reason = None if critic is None or args.critic_floor is None else no_floor(critic)
            if reason:
                logger.warning(f"{name}: {reason}, so its scores are as it gives them, without a floor at the humans")

    def _held_out(self, critic: Any, given: Any) -> Critic | None:
        """Return the critic that nothing trains against; a ValueError where it is the one that training lowers."""
        found = as_critic(given, "held_out_critic")
        if found is None:
            return None
        names = [os.path.realpath(each) for each in (critic, given) if isinstance(each, (str, os.PathLike))]
        is_within = len(names) > 1 and (names[0] == names[1] or names[1].startswith(names[0] + os.sep))
        if is_within or is_part(found, self.critic):
            raise ValueError(
                f"held_out_critic is the critic that trains, or a part of it, {found!r}: it would only say what "
                "training lowers; give one of another kind"
            )
        self._bucket_metrics = (*self._bucket_metrics, "online_held_out_score", "online_held_out_unscored")
        return found

    def _distribution_of(self, args: HDPOConfig) -> DistributionScores | None:
        """Return what scores samples by the distributional term, if it trains."""
        if args.distribution_weight == 0:
            return None
        if self.reference is None:
            raise ValueError(
                f"online={args.online!r} compares samples with a reference's humans: give one, or set online='critic'"
            )
        term = DistributionTerm(
            self.reference, over=cast("Over", args.distribution_over), features=args.distribution_features or None
        )
        self._bucket_metrics = (*self._bucket_metrics, *METRICS)
        return DistributionScores(term, args.distribution_pool)

    def _save_rng_state(self, output_dir: str) -> None:
        super()._save_rng_state(output_dir)
        if self._distribution is not None and self.accelerator.is_main_process:
            self._distribution.save(output_dir)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if self._distribution is not None and checkpoint is not None:
            self._distribution.load(checkpoint)

    # --------------------------------------------------------------------------------------------------- loss

    def _shares(self, batches: list[dict[str, Any]]) -> dict[str, Tensor]:
        weights = torch.cat([batch["weight"] for batch in batches])
        shares = {"pairs": torch.ones_like(weights), "weight": weights}
        if "sft" in self.loss_types:
            shares["weighted_tokens"] = torch.cat([batch["weight"] * _chosen_lengths(batch) for batch in batches])
        return shares

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

    def _evaluation_loss(self, overall: Mapping[str, float], by_bucket: Mapping[str, Mapping[int, float]]) -> float:
        """Return the offline objective over the whole set."""
        preference = overall["weighted_preference"]
        preference /= overall["weight"] if self.args.variant == "paper" else self.weight_mean
        loss = preference + self.args.lambda_offline * overall.get("regularizer", 0.0)
        loss += self.args.gamma * overall["nll"] + self._sft_weight * overall.get("weighted_nll", 0.0)
        return loss + self.router_aux_loss_coef * overall.get("aux_loss", 0.0)

    def _judges(self) -> list[str]:
        """Return the card's lines on critics."""
        if self.critic is None:
            told = ["- Critic: none"]
        else:
            counted = {"median": "counted from the median human of each bucket", "none": "as percentiles"}
            floor = None if no_floor(self.critic) else self.args.critic_floor
            scores = counted.get(floor or "", "as it gives them")
            told = [f"- Critic: `{self.critic!r}`; its scores {scores}"]
        if self.held_out_critic is not None:
            told.append(f"- Held-out critic: `{self.held_out_critic!r}`")
        elif self.critic is not None:
            told.append(
                "- Held-out critic: none. Nothing independent of the critic above has judged this model: that it "
                "scores better there does not show that its answers are closer to humans"
            )
        return told

    def _card(self) -> str:
        args = self.args
        reference = "none" if self.reference is None else repr(self.reference)
        lines = [
            "\n\n## Buckets, reference and critic\n",
            "Trained with [polyalign](https://github.com/polyalign/polyalign): `HDPO`, "
            f"`lambda_offline={args.lambda_offline}`, `margin={args.margin}`, `online={args.online}`, "
            f"`lambda_online={args.lambda_online}`, `lambda_distribution={args.lambda_distribution}`, "
            f"`gamma={args.gamma}`, `variant={args.variant}`.\n",
            f"- Human reference: `{reference}`",
            *self._judges(),
            "",
            card_table(self._counts, None),
        ]
        return "\n".join(lines) + "\n"


def _chosen_lengths(batch: Mapping[str, Tensor]) -> Tensor:
    return batch["completion_mask"][:, 1:].chunk(2)[0].sum(dim=1)
