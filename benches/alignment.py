"""What each term of HDPO does to a real model, judged by what was never trained on.

    python benches/alignment.py CORPUS MODEL OUT [--arms dpo ensemble …] [--seeds 0 1 2] [--steps 40] [--report]

CORPUS is what `polyalign bucket` takes, MODEL a folder or a name on the hub. Groups are parted by their hash, once and
for all: half trains models and critics, a quarter the judges, a quarter is what the table is of; `--part valid` takes
another part for the table, to choose settings by. Every arm starts from one model (BucketSFT of MODEL) and the same
pairs. Each stage is kept in OUT and not done again, so that an interrupted run goes on; `--report` prints the table of
what is there.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from peft import AutoPeftModelForCausalLM, LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer, PrinterCallback

import polyalign
from polyalign import _core, critics, generation, pairs
from polyalign.critics._train import train as train_critic
from polyalign.distribution import DistributionTerm
from polyalign.trainers import HDPO, BucketSFT, BucketSFTConfig, HDPOConfig

#: Two halves of the features by their groups: what one arm trains on judges the other.
HALVES = (
    ["length", "orthography", "readability", "sentiment"],
    ["structure", "lexical", "punctuation", "function", "interaction"],
)
OFF = {"lambda_offline": 0.0, "lambda_online": 0.0, "beta_w": 0.0}
BOTH = {"online": "both"}
#: By arm: which critic, and settings of HDPO beside what all have.
ARMS: dict[str, tuple[str | None, dict[str, Any]]] = {
    "dpo": (None, {**OFF, "gamma": 0.0}),
    "support": ("support", {}),
    "ensemble": ("ensemble", {}),
    "distribution-1": (None, {**OFF, "online": "distribution", "distribution_features": HALVES[0]}),
    "distribution-2": (None, {**OFF, "online": "distribution", "distribution_features": HALVES[1]}),
    "both": ("ensemble", BOTH),
}
COLUMNS = ["id", "bucket", "language", "prompt", "completion", "group"]
MAX_LENGTH, NEW_TOKENS = 128, 72
MICRO_BATCH, BATCH = 4, 8
#: Of the judge's encoder.
LAYERS = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus")
    parser.add_argument("model")
    parser.add_argument("out", type=Path)
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=list(ARMS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=40, help="steps of HDPO, of 8 pairs")
    parser.add_argument("--sft-steps", type=int, default=30)
    parser.add_argument("--learning-rate", type=float, default=5e-5, help="of HDPO")
    parser.add_argument("--weight", type=float, default=1.0, help="of the online terms, λ_online and λ_distribution")
    parser.add_argument("--online-every", type=int, default=2)
    parser.add_argument("--answers", type=int, default=400, help="prompts that are answered for the table")
    parser.add_argument("--part", choices=["report", "valid"], default="report")
    parser.add_argument("--report", action="store_true", help="print the table of what is there")
    given = parser.parse_args()
    lab = Lab(given)
    if not given.report:
        lab.prepare()
        for seed in given.seeds:
            for arm in given.arms:
                lab.run(arm, seed)
    print(lab.table())


def part_of(group: str) -> str:
    share = int.from_bytes(hashlib.sha256(group.encode()).digest()[:8], "little") / 2**64
    return "train" if share < 0.5 else "judge" if share < 0.7 else "valid" if share < 0.8 else "report"


class Lab:
    """The stages, each kept in a folder."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.given = given
        self.out: Path = given.out
        self.out.mkdir(parents=True, exist_ok=True)
        self.tokenizer = AutoTokenizer.from_pretrained(given.model)
        self.tables: dict[str, pa.Table] = {}

    # ---------------------------------------------------------------------------------------------- data

    def rows(self, part: str) -> pa.Table:
        """The rows of a part whose prompt and response have 128 tokens at most."""
        if not self.tables:
            folder = self.out / "bucketed"
            if not folder.is_dir():
                schema = polyalign.BucketSchema(length_unit="words", languages=["en"])
                polyalign.Bucketer(schema).bucket_files(self.given.corpus, str(folder))
            kept = self.out / "rows.parquet"
            if not kept.is_file():
                _write(kept, self._short(pq.read_table(folder / "data", columns=COLUMNS)))
            table = pq.read_table(kept)
            parts = np.array([part_of(group) for group in table["group"].to_pylist()])
            self.tables = {name: table.filter(pa.array(parts == name)) for name in np.unique(parts)}
        return self.tables[part]

    def _short(self, table: pa.Table) -> pa.Table:
        """Of the largest buckets a sample, so that small ones count."""
        table = table.take(_drawn(table["bucket"].to_pylist(), table["id"].to_pylist(), 20000))
        texts = self.tokenizer.apply_chat_template(
            [[*row["prompt"], {"role": "assistant", "content": row["completion"][-1]["content"]}]
             for row in table.select(["prompt", "completion"]).to_pylist()],
            tokenize=False,
        )  # fmt: skip
        lengths = np.array([len(ids) for ids in self.tokenizer(texts, add_special_tokens=False)["input_ids"]])
        return table.filter(pa.array(lengths <= MAX_LENGTH))

    def some(self, part: str, count: int, salt: str) -> pa.Table:
        """So many rows of a part, as many of each bucket as there are or as it takes."""
        table = self.rows(part)
        buckets, names = table["bucket"].to_pylist(), [salt + name for name in table["id"].to_pylist()]
        sizes = sorted(Counter(buckets).values())
        each = next((each for each in range(1, count) if sum(min(each, size) for size in sizes) >= count), count)
        return table.take(_drawn(buckets, names, each)[:count])

    # ---------------------------------------------------------------------------------------------- stages

    def prepare(self) -> None:
        """What all arms start from."""
        start = self.once("start", self._sft)
        self.once("samples.jsonl", lambda path: self._answer(start, self.some("train", 1200, "samples"), path))
        self.once("judge.jsonl", lambda path: self._answer(start, self.some("judge", 700, "judge"), path))
        self.once("reference.safetensors", lambda path: self._reference("train").save(path))
        self.once("ensemble", self._ensemble)
        self.once("judge", self._judge)
        self.once("pairs.parquet", self._pairs)
        self.evaluate("base", self.given.model)
        self.evaluate("start", start)

    def once(self, name: str, make: Callable[[Path], object]) -> Path:
        path = self.out / name
        if not path.exists():
            started = time.perf_counter()
            partial = path.with_name(f"partial-{path.name}")
            path.parent.mkdir(parents=True, exist_ok=True)
            make(partial)
            partial.rename(path)
            print(f"{name}: {time.perf_counter() - started:.0f} s", flush=True)
        return path

    def _sft(self, path: Path) -> None:
        steps = self.given.sft_steps
        rows = self.some("train", steps * BATCH, "sft")
        args = BucketSFTConfig(**self._settings(path, steps, 1e-4, 0))
        trainer = BucketSFT(
            self._load(self.given.model), args, train_dataset=datasets.Dataset(rows), processing_class=self.tokenizer,
            peft_config=_lora(),
        )  # fmt: skip
        _fit(trainer)
        merged = trainer.model.merge_and_unload()
        merged.save_pretrained(path)
        self.tokenizer.save_pretrained(path)

    def _load(self, model: str | Path) -> Any:
        return AutoModelForCausalLM.from_pretrained(model, dtype=torch.bfloat16)

    def _settings(self, path: Path, steps: int, learning_rate: float, seed: int) -> dict[str, Any]:
        return {
            "output_dir": str(path),
            "max_steps": steps,
            "learning_rate": learning_rate,
            "lr_scheduler_type": "cosine",
            "warmup_steps": steps // 10,
            "per_device_train_batch_size": MICRO_BATCH,
            "gradient_accumulation_steps": BATCH // MICRO_BATCH,
            "train_sampling_strategy": "batch_rebalance",
            "max_length": MAX_LENGTH,
            "gradient_checkpointing": False,
            "bf16": False,
            "use_cpu": not torch.cuda.is_available(),
            "logging_steps": 2,
            "save_strategy": "no",
            "report_to": "none",
            "disable_tqdm": True,
            "seed": seed,
        }

    def _answer(self, model: Any, rows: pa.Table, path: Path, adapter: Path | None = None, seed: int = 0) -> None:
        engine = generation.TransformersEngine(str(model), adapter=str(adapter) if adapter else None, dtype="bfloat16")
        sampling = generation.Sampling(max_new_tokens=NEW_TOKENS, seed=seed)
        _lines(path, generation.generate(rows, engine, sampling, progress=True).rows)

    def _reference(self, part: str) -> Any:
        return polyalign.Reference.from_arrow(self.rows(part))

    def reference(self) -> Any:
        return polyalign.Reference.load(self.out / "reference.safetensors")

    def _ensemble(self, path: Path) -> None:
        critic, told = train_critic("ensemble", self.rows("train"), samples=str(self.out / "samples.jsonl"))
        critic.save(path)
        (path.parent / "ensemble.json").write_text(json.dumps(told, indent=1, default=str))

    def _encoder(self, path: Path) -> None:
        """The first layers of the untrained model: the judge reads many texts."""
        model = AutoModelForCausalLM.from_pretrained(self.given.model, dtype=torch.float32, num_hidden_layers=LAYERS)
        model.save_pretrained(path)
        self.tokenizer.save_pretrained(path)

    def _judge(self, path: Path) -> None:
        """A critic of another kind, of other rows and samples: a network on the vectors of the untrained model."""
        samples = {line["id"]: line["response"] for line in _read(self.out / "judge.jsonl")}
        rows = self.rows("judge").to_pylist()
        rows = [row for row in rows if row["id"] in samples]
        critic = critics.NeuralCritic.train(
            [_reply(row) for row in rows],
            [row["bucket"] for row in rows],
            [samples[row["id"]] for row in rows],
            critics.HuggingFaceEncoder(str(self.once("encoder", self._encoder)), max_length=64),
            prompts=[row["prompt"] for row in rows],
            groups=[row["group"] for row in rows],
            epochs=10,
        )
        critic.save(path)

    def _pairs(self, path: Path) -> None:
        made = pairs.from_samples(self.rows("train"), str(self.out / "samples.jsonl"), reference=self.reference())
        columns = [name for name in made.table.column_names if not name.endswith("_score")]
        pq.write_table(made.table.select(columns), path)

    def run(self, arm: str, seed: int) -> None:
        adapter = self.once(f"{arm}-{seed}/adapter", lambda path: self._hdpo(arm, seed, path))
        self.evaluate(f"{arm}-{seed}", self.out / "start", adapter)

    def _hdpo(self, arm: str, seed: int, path: Path) -> None:
        given = self.given
        critic, settings = ARMS[arm]
        weights = {"lambda_online": given.weight, "lambda_distribution": given.weight, "gamma": 0.05}
        args = HDPOConfig(
            **{
                **self._settings(path, given.steps, given.learning_rate, seed),
                **weights,
                "online_every": given.online_every,
                "max_new_tokens": NEW_TOKENS,
                **settings,
            }
        )
        judge = critics.load(self.out / "judge") if args.is_online else None
        trainer = HDPO(
            self._load(self.out / "start"),
            args=args,
            train_dataset=datasets.Dataset(pq.read_table(self.out / "pairs.parquet")),
            processing_class=self.tokenizer,
            peft_config=_lora(),
            reference=self.reference() if arm != "dpo" else None,
            critic=str(self.out / "ensemble") if critic == "ensemble" else None,
            held_out_critic=judge,
        )
        _fit(trainer)
        trainer.save_model(str(path))
        _lines(path.parent / "log.jsonl", trainer.state.log_history)

    # ---------------------------------------------------------------------------------------------- the table

    def evaluate(self, name: str, model: str | Path, adapter: Path | None = None) -> None:
        part = self.given.part
        rows = self.some(part, self.given.answers, part)
        seed = int(name.rpartition("-")[2]) if adapter else 0
        answers = self.once(f"{name}/{part}.jsonl", lambda path: self._answer(model, rows, path, adapter, seed))
        self.once(f"{name}/{part}.json", lambda path: path.write_text(json.dumps(self._measured(answers, rows))))
        self.once(f"{name}/{part}-nll.json", lambda path: path.write_text(json.dumps(self._nll(model, adapter, rows))))

    def _nll(self, model: str | Path, adapter: Path | None, rows: pa.Table) -> float:
        """The mean over human answers of their NLL a token."""
        kind = AutoPeftModelForCausalLM if adapter else AutoModelForCausalLM
        loaded = kind.from_pretrained(adapter or model, dtype=torch.bfloat16)
        humans = [_reply(row) for row in rows.to_pylist()]
        found = polyalign.lm_features(loaded, humans, rows["prompt"].to_pylist(), tokenizer=self.tokenizer)
        return float(np.nanmean(found["conditional_nll_mean"].to_numpy(zero_copy_only=False)))

    def _measured(self, answers: Path, rows: pa.Table) -> dict[str, Any]:
        said = {line["id"]: line["response"] for line in _read(answers)}
        rows = [row for row in rows.to_pylist() if row["id"] in said]
        return self.measured([said[row["id"]] for row in rows], rows)

    def measured(self, texts: list[str], rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Everything of a set of answers that the table is made of, an entry an answer where it can be."""
        buckets, prompts = [row["bucket"] for row in rows], [row["prompt"] for row in rows]
        reference = self.reference()
        judge: Any = critics.load(self.out / "judge")
        ensemble: Any = critics.load(self.out / "ensemble")
        found = {
            "held_out": judge.percentile(texts, buckets, prompts),
            "ensemble": ensemble.percentile(texts, buckets, prompts),
            "lexical": ensemble.critics["lexical"].percentile(texts, buckets),
        }
        energies = {
            f"energy-{at + 1}": _energy(DistributionTerm(reference, features=half), texts, buckets, prompts)
            for at, half in enumerate(HALVES)
        }
        words = list(_core.cut_words(texts, ["en"] * len(texts)))
        return {
            "groups": [row["group"] for row in rows],
            "buckets": buckets,
            "texts": texts,
            **{name: np.nan_to_num(values, nan=1.0).tolist() for name, values in found.items()},
            **energies,
            "w1": self._w1(texts, rows, reference),
            "words": [len(each) for each in words],
            "distinct_2": _distinct_2(words),
            "length_entropy": _entropy([min(12, int(2 * math.log2(1 + len(each)))) for each in words]),
        }

    def _w1(self, texts: list[str], rows: list[dict[str, Any]], reference: Any) -> dict[str, float]:
        """The mean W1/σ over features of each half, over buckets by their answers."""
        table = pa.table(
            {"bucket": [row["bucket"] for row in rows], "prompt": [row["prompt"] for row in rows], "completion": texts}
        )
        group_of = {feature.name: feature.group for feature in polyalign.features.registry()}
        told = pa.table(reference.diff(polyalign.Reference.from_arrow(table))).to_pylist()
        counts = Counter(row["bucket"] for row in rows)
        found = {}
        for at, half in enumerate(HALVES):
            by = defaultdict(list)
            for row in told:
                value = row["wasserstein_scaled"]
                if group_of[row["feature"]] in half and not math.isnan(value) and row["bucket"] in counts:
                    by[row["bucket"]].append(value)
            total = sum(counts[bucket] for bucket in by)
            found[str(at + 1)] = sum(counts[bucket] * statistics.fmean(values) for bucket, values in by.items()) / total
        return found

    def table(self) -> str:
        part = self.given.part
        self.once(f"humans/{part}.json", lambda path: path.write_text(json.dumps(self._floor())))
        found: dict[str, list[Path]] = defaultdict(list)
        for path in sorted(self.out.glob(f"*/{part}.json")):
            arm, _, seed = path.parent.name.rpartition("-")
            found[arm if seed.isdigit() else path.parent.name].append(path)
        rows = [(name, found[name]) for name in ["humans", "base", "start", *ARMS] if name in found]
        return "\n".join([HEAD, *(_line(name, paths, part) for name, paths in rows)])

    def _floor(self) -> dict[str, Any]:
        """What the humans' own answers get."""
        rows = self.some(self.given.part, self.given.answers, self.given.part).to_pylist()
        return self.measured([_reply(row) for row in rows], rows)


HEAD = (
    "| arm | seeds | held-out critic | ensemble | E² 1 | E² 2 | W1/σ 1 | W1/σ 2 | beyond 95% (lexical) | distinct-2 | "
    "length entropy | words | NLL of humans |\n|" + "---|" * 13
)


def _line(name: str, paths: list[Path], part: str) -> str:
    found = [json.loads(path.read_text()) for path in paths]
    nll = [_number(path.with_name(f"{part}-nll.json")) for path in paths]
    cells = [
        name,
        str(len(found)),
        _interval(found, "held_out", float),
        _interval(found, "ensemble", float),
        *(_mean([each[metric] for each in found]) for metric in ("energy-1", "energy-2")),
        *(_mean([each["w1"][half] for each in found]) for half in "12"),
        _interval(found, "lexical", lambda value: float(value > 0.95)),
        *(_mean([each[metric] for each in found]) for metric in ("distinct_2", "length_entropy")),
        f"{statistics.fmean(statistics.median(each['words']) for each in found):.0f}",
        _mean(nll),
    ]
    return f"| {' | '.join(cells)} |"


def _mean(values: Sequence[float]) -> str:
    if any(math.isnan(value) for value in values):
        return ""
    spread = f" ±{statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.3f}{spread}"


def _interval(found: list[dict[str, Any]], metric: str, of: Callable[[float], float]) -> str:
    """The mean over answers and seeds, and 95% of bootstraps of groups and seeds."""
    rng = np.random.default_rng(0)
    by = [_by_group(each["groups"], [of(value) for value in each[metric]]) for each in found]
    means = []
    for _ in range(1000):
        drawn = [by[at] for at in rng.integers(len(by), size=len(by))]
        groups = rng.integers(len(by[0][0]), size=len(by[0][0]))
        means.append(np.mean([sums[groups].sum() / counts[groups].sum() for sums, counts in drawn]))
    low, high = np.quantile(means, [0.025, 0.975])
    return f"{np.mean([sums.sum() / counts.sum() for sums, counts in by]):.3f} [{low:.3f}, {high:.3f}]"


def _by_group(groups: list[str], values: list[float]) -> tuple[Any, Any]:
    names = {name: at for at, name in enumerate(dict.fromkeys(sorted(groups)))}
    places = [names[group] for group in groups]
    return np.bincount(places, values, len(names)), np.bincount(places, minlength=len(names))


def _energy(term: DistributionTerm, texts: list[str], buckets: list[str], prompts: list[Any]) -> float:
    """E², the mean over answers of their bucket's."""
    found = [each for each in term.energy(texts, buckets, prompts).values() if not math.isnan(each.energy)]
    return sum(each.samples * each.energy for each in found) / sum(each.samples for each in found)


def _distinct_2(words: Iterable[list[str]]) -> float:
    every = [pair for each in words for pair in pairwise(each)]
    return len(set(every)) / max(1, len(every))


def _entropy(values: Sequence[int]) -> float:
    shares = np.array(list(Counter(values).values())) / len(values)
    return float(-(shares * np.log2(shares)).sum())


def _fit(trainer: Any) -> None:
    trainer.remove_callback(PrinterCallback)
    trainer.train()


def _lora() -> LoraConfig:
    return LoraConfig(r=16, lora_alpha=32, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")


def _reply(row: dict[str, Any]) -> str:
    return str(row["completion"][-1]["content"])


def _drawn(buckets: list[str], names: list[str], each: int) -> list[int]:
    """The places of so many rows of each bucket, in the order of a hash."""
    order = sorted(range(len(names)), key=lambda at: hashlib.sha256(names[at].encode()).digest())
    taken: Counter[str] = Counter()
    places = []
    for at in order:
        taken[buckets[at]] += 1
        if taken[buckets[at]] <= each:
            places.append(at)
    return places


def _write(path: Path, table: pa.Table) -> None:
    pq.write_table(table, path.with_suffix(".partial"))
    path.with_suffix(".partial").rename(path)


def _lines(path: Path, rows: Iterable[Any]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in rows), "utf-8")


def _read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def _number(path: Path) -> float:
    return float(json.loads(path.read_text())) if path.is_file() else math.nan


if __name__ == "__main__":
    main()
