"""The experiment: which way of training makes a model answer as people do.

    python examples/experiment/experiment.py SETTINGS CORPUS OUT [--arms dpo both …] [--seeds 0 1 2] [--report]

SETTINGS is a file beside this one, as smollm2.yaml; CORPUS what `polyalign bucket` takes. Each stage is kept in OUT and
not done again, so that an interrupted run goes on. `--report` trains nothing, and says what came of what is there.
docs/experiment.md explains what is done and why.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import data
import pyarrow as pa
import pyarrow.parquet as pq
import results
import scratch
import torch
import train
from peft import PeftModel
from settings import Settings, read
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

import polyalign
from polyalign import critics, generation, pairs
from polyalign.critics._train import train as train_critic


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("settings", type=Path)
    parser.add_argument("corpus")
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", help="another folder or name than the settings have")
    parser.add_argument("--arms", nargs="+", metavar="ARM", help="those of arms.yaml; default: all but single terms")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--part", choices=["report", "valid"], default="report", help="valid: to choose settings by")
    parser.add_argument("--report", action="store_true", help="say what came of what is there; train nothing")
    given = parser.parse_args()
    settings = read(given.settings, given.model)
    arms = given.arms or MAIN
    for arm in arms:
        if arm not in settings.arms:
            raise SystemExit(f"no arm is called {arm!r}; there are {', '.join(settings.arms)}")
    experiment = Experiment(settings, given.corpus, given.out, given.part)
    if given.report:
        print(experiment.report(given.seeds))
        return
    for seed in given.seeds:
        for arm in arms:
            experiment.run(arm, seed)


#: Unless arms are named.
MAIN = (
    "sft", "bucket-sft-0", "bucket-sft-0.5", "sft-more",
    "dpo", "support", "ensemble", "distribution-1", "distribution-2", "both",
)  # fmt: skip


#: What `trains: more` takes of the preference arms' settings.
BUDGET = ("max_steps", "learning_rate")


class Experiment:
    """The stages, each kept in OUT under its name."""

    def __init__(self, settings: Settings, corpus: str, out: Path, part: str) -> None:
        self.settings, self.corpus, self.out, self.part = settings, corpus, out, part
        out.mkdir(parents=True, exist_ok=True)
        self.tables: dict[str, pa.Table] = {}

    def once(self, name: str, make: Callable[[Path], object], *, goes_on: bool = False) -> Path:
        """Return what a stage made, and make it first where it is not there: it appears whole or not at all.

        What an interrupted attempt left is taken away, but for what can go on from it.
        """
        path = self.out / name
        if not path.exists():
            started = time.perf_counter()
            partial = path.with_name(f"partial-{path.name}")
            if partial.is_dir() and not goes_on:
                shutil.rmtree(partial)
            path.parent.mkdir(parents=True, exist_ok=True)
            make(partial)
            partial.rename(path)
            print(f"{name}: {time.perf_counter() - started:.0f} s", flush=True)
        return path

    # ---------------------------------------------------------------------------------------------- data and model

    def bucketed(self) -> pa.Table:
        """Return all rows of the corpus."""
        schema = dict(self.settings.bucket)
        return data.read_rows(self.once("bucketed", lambda path: data.bucket(self.corpus, schema, path)))

    @cached_property
    def model(self) -> str:
        """What everything begins with."""
        settings = self.settings
        if settings.model:
            return settings.model
        return str(self.once("model", lambda path: scratch.make(
            data.of_part(self.bucketed(), "train"), settings.scratch, settings.chat_template or "", path
        ), goes_on=True))  # fmt: skip

    @cached_property
    def tokenizer(self) -> Any:
        """The model's, with a chat template."""
        tokenizer = AutoTokenizer.from_pretrained(self.model)
        tokenizer.chat_template = tokenizer.chat_template or self.settings.chat_template
        return tokenizer

    def rows(self, part: str) -> pa.Table:
        """Return the rows of a part that the model takes."""
        if part not in self.tables:
            settings = self.settings
            kept = self.once("rows.parquet", lambda path: pq.write_table(
                data.short(self.bucketed(), self.tokenizer, settings.largest, settings.max_length), path
            ))  # fmt: skip
            self.tables[part] = data.of_part(data.read_rows(kept), part)
        return self.tables[part]

    def reported(self) -> pa.Table:
        """Return the rows whose prompts are answered to be reported."""
        return data.even(self.rows(self.part), self.settings.answers, self.part)

    # ---------------------------------------------------------------------------------------------- what all share

    def start(self) -> Path:
        """Return what the preference arms start from."""
        return self.once("start", self._start)

    def _start(self, path: Path) -> None:
        settings = self.settings
        rows = data.even(self.rows("train"), settings.start["max_steps"] * settings.batch, "sft")
        trainer = train.sft(self.model, rows, settings.start, settings, tokenizer=self.tokenizer, path=path, seed=0)
        train.save_whole(trainer, self.tokenizer, path)

    def pairs(self) -> Path:
        """Return the pairs, with the critics that the preference arms need beside them."""
        start, settings = self.start(), self.settings
        samples = data.even(self.rows("train"), settings.samples, "samples")
        judged = data.even(self.rows("judge"), settings.judge_samples, "judge")
        self.once("samples.jsonl", lambda path: self._answer(start, samples, path))
        self.once("judge.jsonl", lambda path: self._answer(start, judged, path))
        self.once("reference.safetensors", lambda path: polyalign.Reference.from_arrow(self.rows("train")).save(path))
        self.once("ensemble", self._ensemble)
        self.once("judge", self._judge)
        return self.once("pairs.parquet", self._pairs)

    def _ensemble(self, path: Path) -> None:
        critic, told = train_critic("ensemble", self.rows("train"), samples=str(self.out / "samples.jsonl"))
        critic.save(path)
        (self.out / "ensemble.json").write_text(json.dumps(told, indent=1, default=str))

    def _judge(self, path: Path) -> None:
        """Train a critic of another kind on other rows and samples: a network on the untrained model's vectors."""
        samples = {line["id"]: line["response"] for line in data.read_lines(self.out / "judge.jsonl")}
        rows = [row for row in self.rows("judge").to_pylist() if row["id"] in samples]
        encoder = critics.HuggingFaceEncoder(str(self.once("encoder", self._encoder)), max_length=64)
        critic = critics.NeuralCritic.train(
            [data.reply(row) for row in rows],
            [row["bucket"] for row in rows],
            [samples[row["id"]] for row in rows],
            encoder,
            prompts=[row["prompt"] for row in rows],
            groups=[row["group"] for row in rows],
            epochs=self.settings.judge_epochs,
        )
        critic.save(path)

    def _encoder(self, path: Path) -> None:
        """Save the first layers of the untrained model: the judge reads many texts."""
        config = AutoConfig.from_pretrained(self.model)
        config.num_hidden_layers = min(self.settings.encoder_layers, config.num_hidden_layers)
        if getattr(config, "layer_types", None):
            config.layer_types = config.layer_types[: config.num_hidden_layers]
        model = AutoModelForCausalLM.from_pretrained(self.model, config=config, dtype=torch.float32)
        model.save_pretrained(path)
        self.tokenizer.save_pretrained(path)

    def _pairs(self, path: Path) -> None:
        reference = polyalign.Reference.load(self.out / "reference.safetensors")
        made = pairs.from_samples(self.rows("train"), str(self.out / "samples.jsonl"), reference=reference)
        columns = [name for name in made.table.column_names if not name.endswith("_score")]
        pq.write_table(made.table.select(columns), path)

    # ---------------------------------------------------------------------------------------------- the arms

    def run(self, arm: str, seed: int) -> None:
        """Train an arm, and have it and what it began with answer."""
        told = dict(self.settings.arms[arm])
        trains = told.pop("trains")
        given = {**(self.settings.preference if trains == "preference" else self.settings.sft), **told}
        if trains == "more":  # as many steps, and rows, as the preference arms
            given = {**told, **{name: value for name, value in self.settings.preference.items() if name in BUDGET}}
        self.remember("shared.json", self.settings.shared())
        self.remember(f"{arm}-{seed}/arm.json", {"trains": trains, **given})
        if trains == "sft":
            begins: str | Path = self.model
        else:
            begins = self.start()
            self.pairs()
        adapter = self.once(f"{arm}-{seed}/adapter", lambda path: self._train(trains, begins, given, path, seed))
        self.answer("base", self.model)
        if trains != "sft":
            self.answer("start", begins)
        self.answer(f"{arm}-{seed}", begins, adapter, seed)

    def remember(self, name: str, told: Mapping[str, Any]) -> None:
        """Keep what an arm, or what all of them share, is made with, and refuse to go on with other settings."""
        path = self.out / name
        if path.is_file():
            made = json.loads(path.read_text("utf-8"))
            for key in {**made, **told}:
                if made.get(key) != told.get(key):
                    raise SystemExit(
                        f"{path.parent}: {key} was {made.get(key)}, and is {told.get(key)} now: "
                        "take another folder, or for an arm another name"
                    )
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(told, indent=1) + "\n", "utf-8")

    def _train(self, trains: str, begins: str | Path, told: Mapping[str, Any], path: Path, seed: int) -> None:
        settings, tokenizer = self.settings, self.tokenizer
        if trains == "preference":
            rows = pq.read_table(self.out / "pairs.parquet")
            trainer = train.hdpo(self.start(), rows, told, settings, tokenizer=tokenizer, path=path, seed=seed)
        else:
            if trains == "more":
                rows = pq.read_table(self.out / "pairs.parquet", columns=["bucket", "prompt", "chosen"])
                rows = rows.rename_columns({"chosen": "completion"})
            else:
                rows = data.natural(self.rows("train"), told["max_steps"] * settings.batch, f"sft-{seed}")
            trainer = train.sft(begins, rows, told, settings, tokenizer=tokenizer, path=path, seed=seed)
        train.save_adapter(trainer, path)

    # ---------------------------------------------------------------------------------------------- what is measured

    def answer(self, name: str, model: str | Path, adapter: Path | None = None, seed: int = 0) -> None:
        """Have a model answer the part's prompts, and say how likely it finds people's answers."""
        asked = {"few_shot": 0, **self.settings.base} if name == "base" else {}
        rows = self._with_examples() if asked.get("few_shot") else self.reported()
        self.once(
            f"{name}/{self.part}.jsonl",
            lambda path: self._answer(model, rows, path, adapter=adapter, seed=seed, asked=asked),
        )
        self.once(f"{name}/{self.part}-nll.jsonl", lambda path: self._nll(model, adapter, path))

    def _with_examples(self) -> str:
        """Return a folder with the rows that are answered, and those that train, of which examples are shown."""

        def make(path: Path) -> None:
            path.mkdir()
            pq.write_table(self.rows("train"), path / "train-00000.parquet")
            pq.write_table(self.reported(), path / "test-00000.parquet")

        return str(self.once(f"{self.part}-rows", make))

    def _answer(
        self,
        model: str | Path,
        rows: Any,
        path: Path,
        *,
        adapter: Path | None = None,
        seed: int = 0,
        asked: Mapping[str, Any] | None = None,
    ) -> None:
        asked = asked or {}
        has_own_form = "form" in asked
        engine = generation.TransformersEngine(
            str(model),
            adapter=str(adapter) if adapter else None,
            dtype=self.settings.dtype,
            template=None if has_own_form else self.tokenizer.chat_template,
        )
        made = generation.generate(
            rows,
            engine,
            generation.Sampling(max_new_tokens=self.settings.max_new_tokens, seed=seed),
            prompting=generation.Prompting(**asked),
            selection=generation.Selection(split="test" if isinstance(rows, str) else "train"),
            progress=True,
        )
        data.write_lines(path, made.rows)

    def _nll(self, model: str | Path, adapter: Path | None, path: Path) -> None:
        """Measure the NLL a token of the human answers to the same prompts."""
        loaded = train.load(model, self.settings)
        if adapter is not None:
            loaded = PeftModel.from_pretrained(loaded, str(adapter))
        rows = self.reported()
        found = polyalign.lm_features(
            loaded, [data.reply(row) for row in rows.to_pylist()], rows["prompt"].to_pylist(), tokenizer=self.tokenizer
        )
        values = zip(rows["id"].to_pylist(), found["conditional_nll_mean"].to_pylist(), strict=True)
        data.write_lines(path, ({"id": name, "nll": value} for name, value in values))

    def report(self, seeds: Sequence[int]) -> str:
        """Say what came of what is there, of these seeds."""
        names: dict[str, dict[int, Path]] = {}
        for name in ("base", "start", *self.settings.arms):
            folders = (
                {-1: self.out / name}
                if name in ("base", "start")
                else {seed: self.out / f"{name}-{seed}" for seed in seeds}
            )
            found = {seed: folder for seed, folder in folders.items() if (folder / f"{self.part}.jsonl").is_file()}
            if found:
                names[name] = found
        if not names:
            raise SystemExit(f"{self.out}: no answers to report: run it without --report first")
        people = pa.concat_tables([self.rows(part) for part in data.PARTS])
        found_ = results.Results(self.out, self.part, names, people, self.rows("train"))
        found_.measure(self.settings.min_count, lambda line: print(line, file=sys.stderr, flush=True))
        return found_.write()


if __name__ == "__main__":
    main()
