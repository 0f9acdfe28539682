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
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import data
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import train
from peft import PeftModel
from settings import Settings, read
from transformers import AutoModelForCausalLM, AutoTokenizer

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
    for seed in given.seeds:
        for arm in arms:
            experiment.run(arm, seed)


#: Unless arms are named.
MAIN = (
    "sft", "bucket-sft-0", "bucket-sft-0.5", "sft-more",
    "dpo", "support", "ensemble", "distribution-1", "distribution-2", "both",
)  # fmt: skip


class Experiment:
    """The stages, each kept in OUT under its name."""

    def __init__(self, settings: Settings, corpus: str, out: Path, part: str) -> None:
        self.settings, self.corpus, self.out, self.part = settings, corpus, out, part
        out.mkdir(parents=True, exist_ok=True)
        self.tokenizer = AutoTokenizer.from_pretrained(settings.model)
        self.tables: dict[str, pa.Table] = {}

    def once(self, name: str, make: Callable[[Path], object]) -> Path:
        """Return what a stage made, and make it first where it is not there: it appears whole or not at all."""
        path = self.out / name
        if not path.exists():
            started = time.perf_counter()
            partial = path.with_name(f"partial-{path.name}")
            if partial.is_dir():
                shutil.rmtree(partial)
            path.parent.mkdir(parents=True, exist_ok=True)
            make(partial)
            partial.rename(path)
            print(f"{name}: {time.perf_counter() - started:.0f} s", flush=True)
        return path

    # ---------------------------------------------------------------------------------------------- data

    def rows(self, part: str) -> pa.Table:
        """Return the rows of a part that the model takes."""
        if part not in self.tables:
            settings = self.settings
            bucketed = self.once("bucketed", lambda path: data.bucket(self.corpus, dict(settings.bucket), path))
            kept = self.once("rows.parquet", lambda path: pq.write_table(
                data.short(data.read_rows(bucketed), self.tokenizer, settings.largest, settings.max_length), path
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
        trainer = train.sft(settings.model, rows, settings.start, settings, tokenizer=self.tokenizer, path=path, seed=0)
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
        layers = self.settings.encoder_layers
        model = AutoModelForCausalLM.from_pretrained(self.settings.model, dtype=torch.float32, num_hidden_layers=layers)
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
        if trains == "sft":
            begins: str | Path = self.settings.model
        else:
            begins = self.start()
            self.pairs()
        given = {**(self.settings.preference if trains == "preference" else self.settings.sft), **told}
        if trains == "more":  # as many steps, and rows, as the preference arms
            given = {**told, "max_steps": self.settings.preference["max_steps"]}
        self.remember(f"{arm}-{seed}", {"trains": trains, **given})
        adapter = self.once(f"{arm}-{seed}/adapter", lambda path: self._train(trains, begins, given, path, seed))
        self.answer("base", self.settings.model)
        if trains != "sft":
            self.answer("start", begins)
        self.answer(f"{arm}-{seed}", begins, adapter, seed)

    def remember(self, name: str, told: Mapping[str, Any]) -> None:
        """Keep what an arm is made with, and refuse to go on with another's."""
        path = self.out / name / "arm.json"
        if path.is_file():
            made = json.loads(path.read_text("utf-8"))
            for key in {**made, **told}:
                if made.get(key) != told.get(key):
                    raise SystemExit(
                        f"{path.parent}: {key} was {made.get(key)}, and is {told.get(key)} now: "
                        "give the arm another name, or take another folder"
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
        rows = self.reported()
        self.once(f"{name}/{self.part}.jsonl", lambda path: self._answer(model, rows, path, adapter, seed))
        self.once(f"{name}/{self.part}-nll.jsonl", lambda path: self._nll(model, adapter, path))

    def _answer(
        self, model: str | Path, rows: pa.Table, path: Path, adapter: Path | None = None, seed: int = 0
    ) -> None:
        engine = generation.TransformersEngine(
            str(model), adapter=str(adapter) if adapter else None, dtype=self.settings.dtype
        )
        sampling = generation.Sampling(max_new_tokens=self.settings.max_new_tokens, seed=seed)
        data.write_lines(path, generation.generate(rows, engine, sampling, progress=True).rows)

    def _nll(self, model: str | Path, adapter: Path | None, path: Path) -> None:
        """Measure the NLL a token of every human answer of the part."""
        loaded = train.load(model, self.settings)
        if adapter is not None:
            loaded = PeftModel.from_pretrained(loaded, str(adapter))
        rows = self.reported()
        found = polyalign.lm_features(
            loaded, [data.reply(row) for row in rows.to_pylist()], rows["prompt"].to_pylist(), tokenizer=self.tokenizer
        )
        values = zip(rows["id"].to_pylist(), found["conditional_nll_mean"].to_pylist(), strict=True)
        data.write_lines(path, ({"id": name, "nll": value} for name, value in values))


if __name__ == "__main__":
    main()
