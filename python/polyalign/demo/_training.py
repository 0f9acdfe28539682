"""The demo's training: a tiny model from scratch by SFT, BucketSFT and HDPO, and what each changes on new prompts."""

from __future__ import annotations

import logging
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from tqdm import tqdm
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, PrinterCallback, TrainerCallback
from transformers.utils import logging as transformers_logging

from polyalign import pairs
from polyalign.critics import SupportCritic, ask
from polyalign.demo._corpus import SPECIAL_TOKENS, is_held_out, write_lines
from polyalign.reference import Reference
from polyalign.trainers import HDPO, BucketSFT, BucketSFTConfig, HDPOConfig
from polyalign.trainers._logs import printing
from polyalign.trainers._trl import ignore_old_names
from polyalign.trainers.conditioning import condition, system_line

__all__ = ["Recipe", "Stage", "Trained", "train"]

_TEMPLATE = (
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}"
    "{% if message.role == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
_CONDITIONING = "{language} {family} {length}"
_LONGEST = 512
_GENERATED = 128


@dataclass(frozen=True)
class Recipe:
    """Sizes of the model and of its training: what a core of a laptop does in minutes."""

    hidden_size: int = 128
    layers: int = 4
    heads: int = 4
    batch: int = 16
    sft_epochs: float = 5
    sft_learning_rate: float = 2e-3
    hdpo_epochs: float = 1
    hdpo_learning_rate: float = 1e-3
    gamma: float = 0.5
    """Weight of the NLL in HDPO, without which so weak a model forgets more than it learns."""
    lambda_online: float = 10.0
    """Weight of the online term: high, since there are few steps."""
    online_every: int = 4
    online_prompts: int = 16
    max_length: int = 384
    max_new_tokens: int = 80
    temperature: float = 0.7
    """Of the answers that are measured, and of those that humans' are paired with."""
    answers: int = 4
    """Answers to each held-out prompt by a trained model."""
    most_rows: int | None = None
    """Of either split; for tests."""
    max_steps: int = -1
    """Of each training; for tests."""
    seed: int = 0


@dataclass(frozen=True)
class Stage:
    """A model after a training, on held-out prompts."""

    name: str
    answers: list[list[str]]
    """To each prompt."""
    distances: dict[str, float]
    """Mean support distance of the answers, by bucket."""
    mean_distance: float
    """Of all answers."""
    losses: dict[str, float]
    """Mean NLL of the humans' answers, in nats a token, by bucket."""


@dataclass(frozen=True)
class Trained:
    """What the trainings made."""

    stages: list[Stage]
    """Before any training, then after each."""
    humans: Stage
    """The humans' own held-out answers; its losses are a unigram model's."""
    rows: list[dict[str, Any]]
    """The held-out rows."""
    sizes: dict[str, tuple[int, int]]
    """Rows that train and rows that are held out, by bucket."""
    paths: dict[str, Path]


def train(bucketed: Path, tokenizer: Path, folder: Path, recipe: Recipe, say: Callable[[str], None] = print) -> Trained:
    """Train three models and compare their answers.

    Parameters
    ----------
    bucketed : Path
        The bucketed corpus.
    tokenizer : Path
        A ``tokenizer.json``.
    folder : Path
        Where models, pairs and answers go.
    recipe : Recipe
        The sizes.
    say : callable
        Takes a line of the story.
    """
    with _quiet():
        lab = _Lab(bucketed, tokenizer, folder, recipe, say)
        return lab.run()


class _Lab:
    def __init__(
        self, bucketed: Path, tokenizer: Path, folder: Path, recipe: Recipe, say: Callable[[str], None]
    ) -> None:
        self.folder, self.recipe, self.say = folder, recipe, say
        folder.mkdir(parents=True, exist_ok=True)
        self.tokenizer = PreTrainedTokenizerFast(
            tokenizer_file=str(tokenizer),
            eos_token=SPECIAL_TOKENS[0],
            pad_token=SPECIAL_TOKENS[0],
            additional_special_tokens=list(SPECIAL_TOKENS[1:]),
            chat_template=_TEMPLATE,
            padding_side="left",
        )
        self.table, self.held_out = (self._rows(bucketed, held_out=held_out) for held_out in (False, True))
        self.reference = Reference.from_arrow(self.table)
        self.reference.save(folder / "human.safetensors")
        self.critic = SupportCritic(self.reference)
        self.rows = self.held_out.to_pylist()

    def _rows(self, bucketed: Path, *, held_out: bool) -> Any:
        """Return the rows of a split, with a system line that names each bucket."""
        table = pq.read_table(bucketed / "data")
        table = table.filter(pa.array([is_held_out(group) == held_out for group in table["group"].to_pylist()]))
        prompts = [
            condition(prompt, system_line(_CONDITIONING, bucket))
            for prompt, bucket in zip(table["prompt"].to_pylist(), table["bucket"].to_pylist(), strict=True)
        ]
        table = table.select(["id", "bucket", "language", "completion"])
        return table.append_column("prompt", [prompts]).slice(0, self.recipe.most_rows)

    def run(self) -> Trained:
        model = self._untrained()
        self.say(
            f"Training: a model of {model.num_parameters() / 1e6:.1f} M weights, from scratch, on {len(self.table):,} "
            f"rows.\nThe {len(self.rows):,} held-out rows share no question and no answer with them.\n"
        )
        stages = [self._measured("untrained", model, answers=1)]
        for name, tau in (("SFT", 1.0), ("BucketSFT", None)):
            model = self._untrained()
            self._fit(name, self._bucket_sft(model, name, tau))
            stages.append(self._measured(name, model))
        trainer = self._hdpo(self._pairs(model))
        self._fit("HDPO", trainer)
        stages.append(self._measured("HDPO", trainer.model))
        return Trained(stages, self._humans(), self.rows, self._sizes(), self._write(stages))

    def _untrained(self) -> Any:
        torch.manual_seed(self.recipe.seed)
        config = LlamaConfig(
            vocab_size=len(self.tokenizer),
            hidden_size=self.recipe.hidden_size,
            intermediate_size=3 * self.recipe.hidden_size,
            num_hidden_layers=self.recipe.layers,
            num_attention_heads=self.recipe.heads,
            num_key_value_heads=self.recipe.heads,
            max_position_embeddings=_LONGEST,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=self.tokenizer.eos_token_id,
            pad_token_id=self.tokenizer.pad_token_id,
        )
        return LlamaForCausalLM(config)

    # ------------------------------------------------------------------------------------------------ training

    def _settings(self, name: str, epochs: float, learning_rate: float) -> dict[str, Any]:
        micro_batch = max(1, self.recipe.batch // 2)
        return {
            "output_dir": str(self._model_folder(name)),
            "num_train_epochs": epochs,
            "max_steps": self.recipe.max_steps,
            "learning_rate": learning_rate,
            "lr_scheduler_type": "cosine",
            "warmup_steps": 20,
            "weight_decay": 0.1,
            "per_device_train_batch_size": micro_batch,
            "gradient_accumulation_steps": self.recipe.batch // micro_batch,
            "train_sampling_strategy": "batch_rebalance",  # rows of one length side by side: less padding
            "max_length": self.recipe.max_length,
            "gradient_checkpointing": False,
            "bf16": False,
            "use_cpu": True,
            "logging_steps": 10,
            "logging_first_step": True,
            "save_strategy": "no",
            "report_to": "none",
            "disable_tqdm": True,
            "seed": self.recipe.seed,
        }

    def _bucket_sft(self, model: Any, name: str, tau: float | None) -> Any:
        recipe = self.recipe
        settings = self._settings(name, recipe.sft_epochs, recipe.sft_learning_rate)
        return BucketSFT(
            model, BucketSFTConfig(tau=tau, **settings), train_dataset=datasets.Dataset(self.table),
            processing_class=self.tokenizer,
        )  # fmt: skip

    def _hdpo(self, pairs: Any) -> Any:
        recipe = self.recipe
        args = HDPOConfig(
            gamma=recipe.gamma,
            lambda_online=recipe.lambda_online,
            online_every=recipe.online_every,
            online_prompts=recipe.online_prompts,
            max_new_tokens=recipe.max_new_tokens,
            **self._settings("HDPO", recipe.hdpo_epochs, recipe.hdpo_learning_rate),
        )
        return HDPO(
            str(self._model_folder("BucketSFT")), args=args, train_dataset=datasets.Dataset(pairs),
            processing_class=self.tokenizer, reference=self.reference,
        )  # fmt: skip

    def _fit(self, name: str, trainer: Any) -> None:
        """Train, save the model, and say what came of it."""
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(_Progress(name))
        started = time.perf_counter()
        trainer.train()
        trainer.save_model()
        # The loss of a step that samples has a term more, so HDPO's is no one line.
        said = {"hdpo/online_score": "distance of its samples", "loss": "training loss"}
        history = trainer.state.log_history
        shown = next(metric for metric in said if any(metric in entry for entry in history))
        values = [entry[shown] for entry in history if shown in entry]
        self.say(
            f"{name:9}  {trainer.state.global_step:,} steps of {self.recipe.batch} rows in "
            f"{time.perf_counter() - started:.0f} s, {said[shown]} {values[0]:.2f} → {values[-1]:.2f}"
        )

    def _pairs(self, model: Any) -> Any:
        """Pair the human answers of the rows that train with the model's own."""
        answers = self._answer(model, self.table["prompt"].to_pylist(), 1)
        samples = {"id": self.table["id"].to_pylist(), "response": [answer for (answer,) in answers]}
        write_lines(self.folder / "samples.jsonl", pa.table(samples).to_pylist())
        made = pairs.from_samples(self.table, pa.table(samples), reference=self.reference)
        pq.write_table(made.table, self.folder / "pairs.parquet")
        further = sum(bucket.pairs * (bucket.rejected_further or 0) for bucket in made.report.buckets)
        self.say(
            f"Pairs      {made.report.pairs:,} of a human's answer and BucketSFT's ({made.report.skipped:,} skipped); "
            f"BucketSFT's is further from humans in {further / made.report.pairs:.0%}"
        )
        return made.table

    # ----------------------------------------------------------------------------------------------- measuring

    def _measured(self, name: str, model: Any, answers: int | None = None) -> Stage:
        prompts = [row["prompt"] for row in self.rows]
        found = self._answer(model, prompts, answers or self.recipe.answers)
        return self._stage(name, found, self._losses(model))

    def _stage(self, name: str, answers: list[list[str]], losses: Sequence[float]) -> Stage:
        rows = [row for row, found in zip(self.rows, answers, strict=True) for _ in found]
        buckets, prompts = [row["bucket"] for row in rows], [row["prompt"] for row in rows]
        distances = ask(self.critic, [answer for found in answers for answer in found], buckets, prompts).tolist()
        return Stage(
            name,
            answers,
            _means(buckets, distances),
            sum(distances) / len(distances),
            _means([row["bucket"] for row in self.rows], losses),
        )

    def _humans(self) -> Stage:
        answers = [[row["completion"][-1]["content"]] for row in self.rows]
        return self._stage("humans", answers, self._unigram_losses())

    @torch.no_grad()
    def _answer(self, model: Any, prompts: Sequence[Any], count: int) -> list[list[str]]:
        """Sample answers to each prompt."""
        recipe = self.recipe
        torch.manual_seed(recipe.seed)
        model.eval()
        ids = self.tokenizer.apply_chat_template(list(prompts), add_generation_prompt=True, return_dict=False)
        answers: list[list[str]] = [[] for _ in prompts]
        for places in _batches([len(tokens) for tokens in ids], max(1, _GENERATED // count)):
            batch = self.tokenizer.pad({"input_ids": [ids[place] for place in places]}, return_tensors="pt")
            output = model.generate(
                **batch, do_sample=True, temperature=recipe.temperature, top_k=0, top_p=1.0, num_return_sequences=count,
                max_new_tokens=recipe.max_new_tokens, pad_token_id=self.tokenizer.pad_token_id,
            )  # fmt: skip
            texts = self.tokenizer.batch_decode(output[:, batch["input_ids"].size(1) :], skip_special_tokens=True)
            for at, place in enumerate(places):
                answers[place] = texts[at * count : (at + 1) * count]
        return answers

    @torch.no_grad()
    def _losses(self, model: Any) -> list[float]:
        """Return the mean NLL of every held-out human answer's tokens."""
        model.eval()
        examples = [self._tokens(row) for row in self.rows]
        losses = [0.0] * len(examples)
        for places in _batches([len(prompt) + len(answer) for prompt, answer in examples], _GENERATED // 2):
            ids = [torch.tensor(examples[place][0] + examples[place][1]) for place in places]
            batch = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True)
            logps = model(input_ids=batch).logits[:, :-1].log_softmax(dim=-1)
            nll = -logps.gather(2, batch[:, 1:, None]).squeeze(2)
            for row, place in enumerate(places):
                prompt, answer = examples[place]
                losses[place] = float(nll[row, len(prompt) - 1 : len(prompt) + len(answer) - 1].mean())
        return losses

    def _unigram_losses(self) -> list[float]:
        """Return what :meth:`_losses` gives for the best model that knows nothing but how often tokens occur."""
        counts = Counter(token for row in self.table.to_pylist() for token in self._tokens(row)[1])
        logps = torch.tensor([counts[token] + 1.0 for token in range(len(self.tokenizer))])
        logps = (logps / logps.sum()).log()
        return [float(-logps[self._tokens(row)[1]].mean()) for row in self.rows]

    def _tokens(self, row: Mapping[str, Any]) -> tuple[list[int], list[int]]:
        """Return the prompt and the answer of a row, as they are trained on."""
        apply = self.tokenizer.apply_chat_template
        prompt = apply(row["prompt"], add_generation_prompt=True, return_dict=False)
        whole = apply([*row["prompt"], *row["completion"]], return_dict=False)[:_LONGEST]
        return prompt, whole[len(prompt) :]

    def _sizes(self) -> dict[str, tuple[int, int]]:
        trains = Counter(self.table["bucket"].to_pylist())
        tests = Counter(row["bucket"] for row in self.rows)
        return {bucket: (trains[bucket], tests[bucket]) for bucket in sorted(tests, key=lambda name: -trains[name])}

    # ------------------------------------------------------------------------------------------------- output

    def _model_folder(self, name: str) -> Path:
        return self.folder / {"SFT": "sft", "BucketSFT": "bucket-sft", "HDPO": "hdpo"}[name]

    def _write(self, stages: Sequence[Stage]) -> dict[str, Path]:
        """Write every held-out answer; return what was made."""
        write_lines(self.folder / "answers.jsonl", self._lines(stages))
        return {
            "models": self.folder / "{sft,bucket-sft,hdpo}",
            "pairs": self.folder / "pairs.parquet",
            "answers": self.folder / "answers.jsonl",
            "reference": self.folder / "human.safetensors",
        }

    def _lines(self, stages: Sequence[Stage]) -> Iterator[dict[str, Any]]:
        for stage in stages:
            for row, answers in zip(self.rows, stage.answers, strict=True):
                for number, answer in enumerate(answers):
                    told = {"id": f"{stage.name}/{row['id']}/{number}", "bucket": row["bucket"]}
                    yield {**told, "prompt": row["prompt"], "completion": answer}


def _means(names: Sequence[str], values: Sequence[float]) -> dict[str, float]:
    found = defaultdict(list)
    for name, value in zip(names, values, strict=True):
        found[name].append(value)
    return {name: sum(listed) / len(listed) for name, listed in found.items()}


def _batches(lengths: Sequence[int], size: int) -> Iterator[list[int]]:
    """Part places into batches of similar lengths."""
    order = sorted(range(len(lengths)), key=lambda place: lengths[place])
    for start in range(0, len(order), size):
        yield order[start : start + size]


class _Progress(TrainerCallback):
    """A bar of steps, on a terminal only."""

    def __init__(self, name: str) -> None:
        self.name = name

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.bar = tqdm(total=state.max_steps, desc=self.name, unit=" steps", leave=False, disable=None)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.bar.update()

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.bar.close()


def _is_news(record: logging.LogRecord) -> bool:
    return "the critic does not score these" not in record.getMessage()


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out the bars of preparing a few rows, that pairs have scores, and a warning about names in TRL."""
    logger = logging.getLogger(HDPO.__module__)
    logger.addFilter(_is_news)
    shown = datasets.is_progress_bar_enabled(), transformers_logging.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    transformers_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings(), printing():
            ignore_old_names()
            yield
    finally:
        logger.removeFilter(_is_news)
        for was_shown, enable in zip(
            shown, (datasets.enable_progress_bars, transformers_logging.enable_progress_bar), strict=True
        ):
            if was_shown:
                enable()
