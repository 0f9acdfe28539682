"""Answering prompts of the data with the model that trains, for the online term and at evaluations."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from polyalign.buckets import BucketSchema
from polyalign.critics import Critic
from polyalign.trainers import losses
from polyalign.trainers._base import BucketTrainer
from polyalign.trainers._distribution import DistributionScores
from polyalign.trainers._logs import get_logger
from polyalign.trainers._online import Samples, calls, noise, sample
from polyalign.trainers._prepare import preparing
from polyalign.trainers._variety import Logged, variety
from polyalign.trainers._watch import warnings
from polyalign.weights import language_of

__all__ = ["Answering"]

logger = get_logger(__name__)

# What noise is for, beside the seed and the process.
_TRAINING, _TRIAL, _EVALUATION = range(3)
#: Optimizer steps with a trial: the optimizer takes its memory in the first.
_TRIALS = 2


@dataclasses.dataclass(frozen=True)
class _Answers:
    """The model's responses to prompts of a micro-batch, and their scores [n]; of a trial they count for nothing."""

    samples: Samples
    scores: dict[str, Tensor]
    """Of each critic, by what they are logged as."""
    together: Logged
    """What they are as a set, among those of the step: how varied, and how distributed."""
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


class Answering(BucketTrainer):
    """A trainer whose model answers prompts of its batches, and is told how far the answers are from humans."""

    critic: Critic | None
    held_out_critic: Critic | None
    _distribution: DistributionScores | None

    if TYPE_CHECKING:
        model_wrapped: Any
        _tokenizer: Any
        _longest_prompt: int

        def _schema(self) -> BucketSchema | None: ...

        def compute_loss_context_manager(self) -> Any: ...

    def _begin_answering(self) -> None:
        """Set what TRL's __init__ finds."""
        self._online_costs: dict[str, float] = {}
        self._cost: _Cost
        self._trials = 0

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
        if reentrant and self.args.is_online and self.accelerator.num_processes > 1:
            raise ValueError(
                "lambda_online > 0 on several processes does not work with reentrant activation checkpointing, which "
                "TRL insists on for adapters under ZeRO-3: set activation_checkpointing=False, or use ZeRO-2 or FSDP "
                "(there use_reentrant can be False), or lambda_online=0 and online='critic'"
            )

    # ------------------------------------------------------------------------------------------- when, and what

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
        return step if self.args.is_online and step < self.state.max_steps else None

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

    # ------------------------------------------------------------------------------------------------ answers

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
        scores, together = self._scored(samples, asked), Logged()
        if not is_trial:
            together = self._varied(samples, asked) | self._distributed(samples, asked, keep=True)
            self._cost.add_to(self._online_costs, times=1.0, sampling_seconds=self._cost.seconds())
        start = 0
        for batch in batches:
            stop = start + many * len(batch["online_rows"])
            if stop > start:
                own = {name: values[start:stop] for name, values in scores.items()}
                batch["online"] = _Answers(samples.of(start, stop), own, together.of(start, stop), is_trial)
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

        def forward() -> Any:
            return model(**batch, use_cache=False, fused_lm_head=True)

        if answers.is_trial:
            with noise(device, (args.seed, self.state.global_step, _TRIAL)):  # dropout's
                return 0.0 * forward().log_probs.sum()
        start = time.perf_counter()
        by_prompt = (len(extra["online_rows"]), args.num_online_samples)
        num_prompts = shares["pairs"].sum()
        outputs = forward()
        logps = outputs.log_probs.sum(dim=1).view(by_prompt)
        loss = torch.zeros((), device=device)
        for weight, scores, reported in self._online_scores(answers):
            of_prompts = scores.to(device).view(by_prompt)
            surrogate = losses.online_surrogate(of_prompts, logps, num_prompts=num_prompts)
            # Its value means nothing: what is reported is the mean score, or E².
            value = reported.to(device).nan_to_num(0.0).sum() / (args.num_online_samples * num_prompts)
            loss = loss + weight * (surrogate - surrogate.detach() + value)
        self._cost.add_to(self._online_costs, seconds=time.perf_counter() - start)
        rows = extra["bucket"][extra["online_rows"]]
        together = answers.together | _entropy(outputs, batch)
        self._add_answers("train", rows, answers.samples, answers.scores, together)
        return extra["online_share"] * loss

    def _online_scores(self, answers: _Answers) -> Iterator[tuple[float, Tensor, Tensor]]:
        """Give the weight of each term that trains, the scores whose expectation falls, and what is reported."""
        if self.args.critic_weight > 0:
            scores = answers.scores["online_score"]
            yield self.args.critic_weight, scores, scores
        if self.args.distribution_weight > 0:
            told = answers.together.sums
            yield self.args.distribution_weight, told["online_distribution_score"], told["online_distribution"]

    def _add_answers(
        self,
        mode: str,
        buckets: Tensor,
        samples: Samples,
        scores: Mapping[str, Tensor],
        together: Logged,
        keep: Tensor | None = None,
    ) -> None:
        """Add what is logged of responses to prompts of some buckets."""
        device, many = buckets.device, self.args.num_online_samples
        scores = {name: values.to(device) for name, values in scores.items()}
        values = {
            **scores,
            **{name: values.to(device) for name, values in together.sums.items()},
            **{name.replace("_score", "_unscored"): values.isnan().float() for name, values in scores.items()},
            "online_length": torch.tensor([float(len(response)) for response in samples.responses], device=device),
            "online_truncated": torch.tensor([float(cut) for cut in samples.cut], device=device),
        }
        counts = {name: values.to(device) for name, values in together.counts.items()}
        self._table(mode, device).add(buckets.repeat_interleave(many), values, counts, keep)

    def _after_evaluation(self, dataset: Any) -> None:
        """Answer the same prompts at every evaluation, with the same noise, and score what comes."""
        count, size, rank = self.args.eval_online_prompts, self._data_parallel_size, self._data_parallel_rank
        if not count or (self.critic is None and self.held_out_critic is None and self._distribution is None):
            return
        rows = _some_rows(dataset, count, self.args.seed)
        mine = rows[rank::size]
        # On all processes alike: one that has no row answers one that does not count.
        batch = self.data_collator(mine or rows[:1])
        places = list(range(len(batch["bucket"])))
        samples = self._sampled(_prompts(batch, places), (0, _EVALUATION))
        asked = [_Asked.of(batch, self._names(batch), places)]
        scores = self._scored(samples, asked)
        together = self._varied(samples, asked) | self._entropies(samples)
        if mine:
            together |= self._distributed(samples, asked, keep=False)
        else:
            self._distributed(samples.of(0, 0), [], keep=False)
        buckets = batch["bucket"].to(self.accelerator.device)
        keep = torch.full((len(samples.responses),), bool(mine), device=buckets.device)
        self._add_answers("eval", buckets, samples, scores, together, keep)

    def _entropies(self, samples: Samples) -> Logged:
        """Return the entropy of the model where it chose the tokens of its responses; every process calls it."""
        args, device, count = self.args, self.accelerator.device, len(samples.responses)
        # Those of like length together.
        order = sorted(range(count), key=lambda at: -len(samples.prompts[at]) - len(samples.responses[at]))
        found: list[Logged] = [Logged()] * count
        with torch.no_grad(), self.compute_loss_context_manager():
            for part in np.array_split(order, calls(self.accelerator, count, args.per_device_eval_batch_size)):
                # Sharded models go in step: a process that has no more goes over one again.
                rows = part.tolist() or order[-1:]
                own = samples.those(rows)
                batch = own.batch(self._tokenizer.pad_token_id, device, args.pad_to_multiple_of)
                told = _entropy(self.model_wrapped(**batch, use_cache=False, fused_lm_head=True), batch)
                for at, row in enumerate(rows):
                    found[row] = told.of(at, at + 1)
        return Logged(
            *(
                {"online_entropy": torch.cat([getattr(each, name)["online_entropy"] for each in found])}
                for name in ("sums", "counts")
            )
        )

    def _room(self, prompts: list[list[int]]) -> int:
        positions = self._positions
        return self.args.max_new_tokens if positions is None else max(1, positions - max(map(len, prompts)))

    def _told(self, samples: Samples, asked: list[_Asked]) -> tuple[list[str], list[str], list[Any]]:
        """Return the texts of responses, their buckets and prompts."""
        texts = self._tokenizer.batch_decode(samples.responses, skip_special_tokens=True)
        many = range(self.args.num_online_samples)
        buckets = [name for part in asked for name in part.buckets for _ in many]
        prompts = [prompt for part in asked for prompt in part.prompts for _ in many]
        return texts, buckets, prompts

    def _varied(self, samples: Samples, asked: list[_Asked]) -> Logged:
        """Return how varied responses to prompts are."""
        texts, buckets, _ = self._told(samples, asked)
        return variety(texts, buckets, [_language(bucket, self._schema()) for bucket in buckets])

    def _distributed(self, samples: Samples, asked: list[_Asked], *, keep: bool) -> Logged:
        """Return what the distributional term says of responses to prompts; every process calls it."""
        if self._distribution is None:
            return Logged()
        texts, buckets, prompts = self._told(samples, asked)
        where = {"rank": self._data_parallel_rank, "processes": self.accelerator.num_processes}
        return Logged(self._distribution.score(texts, buckets, prompts, **where, keep=keep))

    def _scored(self, samples: Samples, asked: list[_Asked]) -> dict[str, Tensor]:
        """Return each critic's scores of responses to prompts, by what they are logged as."""
        told, asks = self._told(samples, asked), self.args.scored_by
        critics = {"online_score": self.critic, "online_held_out_score": self.held_out_critic}
        return {
            name: torch.from_numpy(asks(critic, *told).copy()) for name, critic in critics.items() if critic is not None
        }

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log, with what was gathered since the last time; every process calls it."""
        if self._online_costs and "loss" in logs:
            costs, self._online_costs = self._online_costs, {}
            times = costs.pop("times")
            costs["seconds"] += costs["sampling_seconds"]
            for name, value in costs.items():
                logs[f"hdpo/online_{name}"] = value / times if name.endswith("seconds") else value
        super().log(logs, start_time)
        for name in [name for name in logs if name.endswith(f"{self._prefix}/online_distinct_2")]:
            for warning in warnings(self.state.log_history, name.removesuffix("online_distinct_2")):
                logger.warning(warning)


def _entropy(outputs: Any, batch: Mapping[str, Tensor]) -> Logged:
    """Return the entropies of the next token over a batch's responses, their sum and number each, in nats."""
    tokens = (batch["labels"][:, 1:] != -100).sum(dim=1)
    return Logged({"online_entropy": outputs.entropy.detach().float().sum(dim=1)}, {"online_entropy": tokens})


def _language(bucket: str, schema: BucketSchema | None) -> str:
    try:
        return language_of(bucket, schema)
    except ValueError:  # a bucket of other axes, which no reference is asked about
        return "und"


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


def _prompts(inputs: Mapping[str, Tensor], rows: list[int]) -> list[list[int]]:
    """Return the token ids of prompts of a batch."""
    ids, mask, attention = (inputs[name][rows] for name in ("input_ids", "completion_mask", "attention_mask"))
    is_prompt = attention.bool() & (mask.cumsum(dim=1) == 0)
    return [row[kept].tolist() for row, kept in zip(ids.cpu(), is_prompt.cpu(), strict=True)]
