"""The demo's training: a model's answers before BucketSFT, after it, and after HDPO, beside people's."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from peft import LoraConfig, get_peft_model
from tqdm import tqdm
from transformers import AutoModelForCausalLM, AutoTokenizer, PrinterCallback, TrainerCallback
from transformers.utils import logging as transformers_logging

from polyalign import generation, pairs
from polyalign.buckets import Bucketer, BucketSchema
from polyalign.critics import EmbeddingCritic, HuggingFaceEncoder
from polyalign.critics._train import train as train_critic
from polyalign.demo import _chats
from polyalign.demo._corpus import EDGES, write_lines
from polyalign.demo._measure import Judges, Stage
from polyalign.demo._recipe import Recipe
from polyalign.evaluation import Evaluation, evaluate
from polyalign.trainers import HDPO, BucketSFT, BucketSFTConfig, HDPOConfig
from polyalign.trainers._logs import printing
from polyalign.trainers._trl import ignore_old_names

__all__ = ["Trained", "quiet", "train"]

_MICRO_BATCH = 4
#: Fewer answers than usual say something of a bucket: there are 72 in all.
_MIN_COUNT = 10


@dataclass(frozen=True)
class Trained:
    """What the trainings made."""

    rows: list[dict[str, Any]]
    """The held-out rows that were answered, a conversation each."""
    stages: list[Stage]
    """Before any training, after each, and people's own answers: the floor."""
    trained_against: str
    """What the critic of HDPO is."""
    held_out: str
    """What the one is that nothing trains against."""
    evaluation: Evaluation
    """The stages beside people, as `polyalign evaluate` tells it."""
    paths: dict[str, Path]


def train(model: Path, folder: Path, recipe: Recipe, say: Callable[[str], None] = print) -> Trained:
    """Train a model on people's replies by BucketSFT, then by HDPO, and measure its answers to held-out prompts.

    Parameters
    ----------
    model : Path
        The folder of a chat model.
    folder : Path
        Where adapters, critics, pairs and answers go.
    recipe : Recipe
    say : callable
        Takes a line of the story.
    """
    return _Lab(model, folder, recipe, say).run()


class _Lab:
    def __init__(self, model: Path, folder: Path, recipe: Recipe, say: Callable[[str], None]) -> None:
        self.folder, self.recipe, self.say = folder, recipe, say
        folder.mkdir(parents=True, exist_ok=True)
        self.name = model.resolve().name
        self.tokenizer = AutoTokenizer.from_pretrained(model)
        self.encoder = _Remembering(str(model))
        base = AutoModelForCausalLM.from_pretrained(model, dtype=_dtype())
        torch.manual_seed(recipe.seed)
        self.model = get_peft_model(base, self._lora())
        self.schema = BucketSchema(length_edges=EDGES, families={_chats.SOURCE: "dialogue"})
        self.parts = self._bucketed(model / "tokenizer.json")

    def _lora(self) -> LoraConfig:
        return LoraConfig(
            r=self.recipe.rank, lora_alpha=2 * self.recipe.rank, target_modules=["q_proj", "v_proj"],
            task_type="CAUSAL_LM",
        )  # fmt: skip

    def _bucketed(self, tokenizer: Path) -> dict[str, Any]:
        """Bucket the conversations; return the table of each part."""
        corpus, bucketed = self.folder / "chats.jsonl", self.folder / "bucketed"
        write_lines(corpus, _chats.records())
        Bucketer(self.schema, tokenizer).bucket_files(corpus, bucketed, overwrite=True)
        table = pq.read_table(bucketed / "data").select(["id", "bucket", "language", "prompt", "completion", "group"])
        part = [_chats.part_of(group) for group in table["group"].to_pylist()]
        return {name: table.filter(pa.array([name == its for its in part])) for name in ("train", "valid", "test")}

    def run(self) -> Trained:
        recipe = self.recipe
        train, valid, test = (self.parts[name] for name in ("train", "valid", "test"))
        people = {name: table["group"].combine_chunks().unique() for name, table in self.parts.items()}
        self.say(
            f"\nTraining: {self.name} on replies of people to people, {len(train):,} in {len(people['train']):,} "
            f"conversations.\nAnother {len(people['valid']):,} conversations are for the critic that nothing trains "
            f"against, and {len(people['test']):,} are held out: {recipe.answered} prompts of them are answered."
        )
        learnt = _chats.drawn(train.to_pylist(), recipe.steps * recipe.batch)
        sampled = _chats.drawn(train.to_pylist(), recipe.sampled, learnt)
        paired = _chats.drawn(train.to_pylist(), recipe.hdpo_steps * recipe.batch, [*learnt, *sampled])
        others = _chats.drawn(valid.to_pylist(), recipe.judged)
        self.held_out = _chats.drawn(test.to_pylist(), recipe.answered)

        answers = {self.name: self._answer(self.name, self.held_out)}
        self._fit("BucketSFT", self._bucket_sft(learnt))
        answers["BucketSFT"] = self._answer("BucketSFT", self.held_out)
        critic = self._critic(sampled)
        judge = self._judge(others)
        self._fit("HDPO", self._hdpo(self._pairs(paired, critic), critic, judge))
        answers["HDPO"] = self._answer("HDPO", self.held_out)
        answers["people"] = list(map(_reply, self.held_out))

        judges = Judges(critic, judge, self.encoder, list(map(_reply, others)))
        stages = [judges.measured(name, self.held_out, texts) for name, texts in answers.items()]
        write_lines(self.folder / "answers.jsonl", self._lines(stages))
        evaluation = self._evaluation(stages[:-1], critic)
        return Trained(
            self.held_out, stages, ", ".join(critic.critics), "distance in the space of the untrained model",
            evaluation,
            {
                "adapters": self.folder / "{bucket-sft,hdpo}",
                "reference": self.folder / "human.safetensors",
                "critic": self.folder / "critic",
                "held out": self.folder / "held-out-critic",
                "pairs": self.folder / "pairs.parquet",
                "answers": self.folder / "answers.jsonl",
                "report": self.folder / "report.html",
            },
        )  # fmt: skip

    def _answer(self, name: str, rows: list[Any]) -> list[str]:
        """Return the model's answer to each row's prompt."""
        found = self._samples(rows)
        self.say(f"{name}  answered {len(rows)} held-out prompts")
        return [found[row["id"]] for row in rows]

    def _samples(self, rows: list[Any]) -> dict[str, str]:
        recipe = self.recipe
        sampling = generation.Sampling(
            temperature=recipe.temperature, max_new_tokens=recipe.max_new_tokens, seed=recipe.seed
        )
        engine = generation.TransformersEngine(self.model, self.tokenizer)
        made = generation.generate(pa.Table.from_pylist(rows), engine, sampling, progress=True)
        return {line["id"]: line["response"] for line in made.rows}

    def _evaluation(self, stages: Sequence[Stage], critic: Any) -> Evaluation:
        """Hold the model's answers against people's, and write the report."""
        ids = [row["id"] for row in self.held_out]
        found = evaluate(
            {stage.name: pa.table({"id": ids, "response": stage.answers}) for stage in stages}, self.parts["test"],
            reference=self.folder / "human.safetensors", critics={"ensemble": critic}, seed=self.recipe.seed,
            min_count=_MIN_COUNT,
        )  # fmt: skip
        found.to_html(self.folder / "report.html", title=f"{self.name}, trained on people's replies")
        return found

    # ------------------------------------------------------------------------------------------------ training

    def _settings(self, name: str, steps: int, learning_rate: float) -> dict[str, Any]:
        micro_batch = min(_MICRO_BATCH, self.recipe.batch)
        return {
            "output_dir": str(self.folder / name),
            "max_steps": steps,
            "learning_rate": learning_rate,
            "lr_scheduler_type": "cosine",
            "warmup_steps": steps // 10,
            "per_device_train_batch_size": micro_batch,
            "gradient_accumulation_steps": self.recipe.batch // micro_batch,
            "train_sampling_strategy": "batch_rebalance",  # rows of one length side by side: less padding
            "max_length": self.recipe.max_length,
            "gradient_checkpointing": False,
            "bf16": False,
            "use_cpu": True,
            "logging_steps": max(1, steps // 5),
            "logging_first_step": True,
            "save_strategy": "no",
            "report_to": "none",
            "disable_tqdm": True,
            "seed": self.recipe.seed,
        }

    def _bucket_sft(self, rows: list[Any]) -> Any:
        settings = self._settings("bucket-sft", self.recipe.steps, self.recipe.learning_rate)
        return BucketSFT(
            self.model, BucketSFTConfig(**settings), train_dataset=datasets.Dataset(pa.Table.from_pylist(rows)),
            processing_class=self.tokenizer,
        )  # fmt: skip

    def _critic(self, rows: list[Any]) -> Any:
        """Train what HDPO trains against: on the rows that train, and the model's answers to some of their prompts."""
        samples = [{"id": name, "response": text} for name, text in self._samples(rows).items()]
        critic, _ = train_critic(
            "ensemble", self.parts["train"], samples=pa.Table.from_pylist(samples), max_humans=1000,
            seed=self.recipe.seed,
        )  # fmt: skip
        critic.save(self.folder / "critic", overwrite=True)
        critic.critics["support"].reference.save(self.folder / "human.safetensors")
        return critic

    def _judge(self, rows: list[Any]) -> Any:
        """Return the critic that nothing trains against, of other people's answers: how near theirs in meaning."""
        buckets = [row["bucket"] for row in rows]
        judge = EmbeddingCritic.train(list(map(_reply, rows)), buckets, self.encoder, schema=self.schema)
        judge.save(self.folder / "held-out-critic", overwrite=True)
        return judge

    def _pairs(self, rows: list[Any], critic: Any) -> Any:
        """Pair people's answers with the model's own."""
        samples = [{"id": name, "response": text} for name, text in self._samples(rows).items()]
        made = pairs.from_samples(pa.Table.from_pylist(rows), pa.Table.from_pylist(samples), critic=critic)
        pq.write_table(made.table, self.folder / "pairs.parquet")
        further = sum(bucket.pairs * (bucket.rejected_further or 0) for bucket in made.report.buckets)
        self.say(
            f"Pairs      {made.report.pairs:,} of a person's answer and the model's ({made.report.skipped:,} skipped); "
            f"the model's is further from humans in {further / made.report.pairs:.0%}"
        )
        # Without these: HDPO has scores of its own, from the median human on.
        return made.table.drop_columns(["chosen_score", "rejected_score"])

    def _hdpo(self, made: Any, critic: Any, judge: Any) -> Any:
        recipe = self.recipe
        args = HDPOConfig(
            gamma=recipe.gamma,
            online_every=recipe.online_every,
            online_prompts=recipe.online_prompts,
            num_online_samples=recipe.num_online_samples,
            max_new_tokens=recipe.max_new_tokens,
            **self._settings("hdpo", recipe.hdpo_steps, recipe.hdpo_learning_rate),
        )
        return HDPO(
            self.model, args=args, train_dataset=datasets.Dataset(made), processing_class=self.tokenizer,
            critic=critic, held_out_critic=judge,
        )  # fmt: skip

    def _fit(self, name: str, trainer: Any) -> None:
        """Train, save the adapter, and say what came of it."""
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(_Progress(name))
        started = time.perf_counter()
        trainer.train()
        trainer.save_model()
        # The loss of a step that samples has a term more, so HDPO's is no one line.
        said = {"hdpo/preference": "preference loss", "loss": "training loss"}
        history = trainer.state.log_history
        shown = next(metric for metric in said if any(metric in entry for entry in history))
        values = [entry[shown] for entry in history if shown in entry]
        self.say(
            f"{name:9}  {trainer.state.global_step:,} steps of {self.recipe.batch} rows in "
            f"{time.perf_counter() - started:.0f} s, {said[shown]} {values[0]:.2f} → {values[-1]:.2f}"
        )
        self.model = trainer.model

    def _lines(self, stages: Sequence[Stage]) -> Iterator[dict[str, Any]]:
        for stage in stages:
            for row, answer in zip(self.held_out, stage.answers, strict=True):
                told = {"id": f"{stage.name}/{row['id']}", "bucket": row["bucket"], "prompt": row["prompt"]}
                yield {**told, "completion": answer}


def _reply(row: Mapping[str, Any]) -> str:
    """Return what the person said."""
    text: str = row["completion"][-1]["content"]
    return text


def _dtype() -> torch.dtype:
    """Return bfloat16 where the processor has instructions for it: without them it is slower than float32."""
    can = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return torch.bfloat16 if can.get("avx512_bf16") or can.get("amx_bf16") else torch.float32


class _Remembering(HuggingFaceEncoder):
    """An encoder that reads no text twice."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._known: dict[str, tuple[Any, Any]] = {}

    def __call__(self, texts: Sequence[str]) -> tuple[Any, Any]:
        """Return a vector of each text, and whether it was cut."""
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        vectors, cut = super().__call__(new)
        self._known.update(zip(new, zip(vectors, cut, strict=True), strict=True))
        found = [self._known[text] for text in texts]
        known = np.array([vector for vector, _ in found], dtype=np.float32)
        return known.reshape(-1, vectors.shape[1]), np.array([cut for _, cut in found], dtype=bool)


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


@contextmanager
def quiet() -> Iterator[None]:
    """Leave out the bars of preparing a few rows, and a warning about names in TRL."""
    shown = datasets.is_progress_bar_enabled(), transformers_logging.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    transformers_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings(), printing():
            ignore_old_names()
            yield
    finally:
        for was_shown, enable in zip(
            shown, (datasets.enable_progress_bars, transformers_logging.enable_progress_bar), strict=True
        ):
            if was_shown:
                enable()
