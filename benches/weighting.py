"""Which weighting of buckets serves the mean over buckets best: the evidence for `BucketSFTConfig`'s defaults.

    polyalign bucket CORPUS --group-field meta.group -o bucketed
    python benches/weighting.py bucketed --out weighting.json [--pretrained MODEL] [--only 'NAME;…']

Small language models are trained on a bucketed corpus with τ from 1 (plain) to 0 (every bucket alike), by weights in
the loss and by drawing rows, each with the defaults' back-off and cap; what counts is the mean over buckets of the mean
NLL of held-out responses. Groups are held out whole: 15% to choose by (the learning rate, of every way its own, with a
seed that is not reported), 30% to report. A seed is a split, a model and an order of rows. The loss is BucketSFT's.
With `--pretrained` the last layer of a model in a folder is trained too, on its frozen layers' states. Results are kept
as they come; a run that was broken off goes on where it was. One process, one thread.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import hashlib
import itertools
import json
import math
import statistics
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
import torch
from torch import nn

import harness
from harness import log
from polyalign.trainers._sampler import WeightedSampler
from polyalign.weights import bucket_weights

PROMPT, RESPONSE = 16, 24
VOCABULARY = 1024
BATCH, WARM_UP, CLIP = 8, 20, 1.0
HELD_OUT = {"validation": 0.15, "test": 0.30}
MOST_HELD_OUT = 50
"""Rows of a bucket that are measured, of either part."""
ENOUGH = 20
"""Held-out and training rows of a bucket that counts in the mean."""
FEWEST = 60
"""Rows of a bucket that are left, where only a part trains."""
PILOT = 1000
"""The seed by which learning rates are chosen."""
END, PAD = "<|end|>", "<|pad|>"
T95 = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36, 8: 2.31, 9: 2.26}


@dataclass(frozen=True)
class Study:
    """A corpus, a model, an optimizer."""

    name: str
    most_rows: int | None
    """Of a bucket that train; None: all."""
    model: dict[str, int] | None
    """Sizes; None: the pretrained one."""
    optimizer: str
    rates: tuple[float, ...]
    steps: tuple[int, ...]
    ways: tuple[Way, ...]
    seeds: int = 5
    language: str | None = None
    part: int = 1
    """One row of so many trains, but a few of each bucket: the corpus in small, of which there can be epochs."""
    pool: int | None = None
    """Rows of a bucket that there are at all, the same for every seed; None: all."""


class Way(NamedTuple):
    """A weighting."""

    tau: float
    by: str
    """weight: in the loss; sample: by drawing rows."""
    most: float = 10.0
    """The cap, `max_weight`."""


PLAIN = Way(1.0, "weight")
BY_WEIGHT = tuple(Way(tau, "weight") for tau in (0.75, 0.5, 0.25, 0.0))
BY_SAMPLE = tuple(Way(tau, "sample") for tau in (0.75, 0.5, 0.25, 0.0))
CAPPED = (Way(0.5, "sample", 3.0), Way(0.5, "sample", 2.0))
WAYS = (PLAIN, *BY_WEIGHT, *BY_SAMPLE, *CAPPED)
FEW = (PLAIN, Way(0.5, "weight"), Way(0.0, "weight"), Way(0.5, "sample"), Way(0.0, "sample"))
THREE = (PLAIN, Way(0.75, "sample"), Way(0.5, "sample"), *CAPPED)
SMALL = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
LARGE = {"hidden_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4}
STUDIES = (
    Study("small corpus, Adam", 1000, SMALL, "adam", (2e-3, 6e-3), (100, 400), WAYS),
    Study("whole corpus, Adam", None, SMALL, "adam", (2e-3, 6e-3), (100, 400), (*FEW, *BY_SAMPLE, *CAPPED)),
    Study("a third of the small corpus, four epochs", 500, SMALL, "adam", (2e-3,), (400, 1600), THREE, seeds=3),
    Study(
        "a twelfth of the whole corpus, three epochs",
        None,
        SMALL,
        "adam",
        (2e-3,),
        (800, 2400),
        (*THREE, Way(0.5, "weight")),
        2,
        part=12,
    ),
    Study("small corpus, SGD", 1000, SMALL, "sgd", (0.2, 0.6), (100, 400), THREE, seeds=3),
    Study("pretrained, its last layer", None, None, "adam", (1e-3,), (50, 200), THREE, 3, language="en", pool=300),
    Study("whole corpus, larger model", None, LARGE, "adam", (1e-3, 3e-3), (100, 400), THREE, seeds=2),
)


# ------------------------------------------------------------------------------------------- rows


class Row(NamedTuple):
    bucket: str
    group: str
    prompt: str
    response: str


@dataclass(frozen=True)
class Example:
    """Token ids: the end of a prompt, the beginning of a response."""

    bucket: str
    ids: list[int]
    prompt: int


def read(folder: Path) -> list[Row]:
    """Read what `polyalign bucket` wrote."""
    table = pq.read_table(folder / "data", columns=["bucket", "group", "prompt", "completion"])
    found = []
    for row in table.to_pylist():
        if row["group"] is None:
            raise SystemExit(f"{folder}: rows have no group: polyalign bucket --group-field says where it is")
        # What is cut off below is not encoded first.
        turns = [turn["content"][-8 * PROMPT :] for turn in row["prompt"][-2:]]
        response = row["completion"][-1]["content"][: 16 * RESPONSE]
        found.append(Row(row["bucket"], row["group"], "\n".join(turns) + "\n", response))
    return found


def part_of(group: str, seed: int) -> str:
    """Say whether a group trains or is held out, by a hash."""
    place = int.from_bytes(hashlib.sha256(f"{seed}/{group}".encode()).digest()[:4]) / 2**32
    for part, share in HELD_OUT.items():
        if place < share:
            return part
        place -= share
    return "train"


def pool_of(rows: Sequence[Row], study: Study) -> Sequence[Row]:
    """Return the rows that a study has at all, whose states a pretrained model computes once for all seeds."""
    if study.language is not None:
        rows = [row for row in rows if row.bucket.startswith(f"{study.language}|")]
    if study.pool is None:
        return rows
    counts: Counter[str] = Counter()
    found = []
    for at in np.random.default_rng([PILOT, 3]).permutation(len(rows)).tolist():
        counts[rows[at].bucket] += 1
        if counts[rows[at].bucket] <= study.pool:
            found.append(rows[at])
    return found


def split(rows: Sequence[Row], study: Study, seed: int) -> dict[str, list[Row]]:
    """Part rows; of a bucket at most as many as a study has, drawn at random."""
    rows = pool_of(rows, study)
    order = np.random.default_rng([seed, 1]).permutation(len(rows))
    found: dict[str, list[Row]] = defaultdict(list)
    counts: Counter[tuple[str, str]] = Counter()
    most = {"train": study.most_rows or len(rows), "validation": MOST_HELD_OUT, "test": MOST_HELD_OUT}
    for at in order.tolist():
        row = rows[at]
        part = part_of(row.group, seed)
        if counts[part, row.bucket] < most[part]:
            counts[part, row.bucket] += 1
            found[part].append(row)
    if study.part > 1:
        found["train"] = thinned(found["train"], study.part)
    return found


def thinned(rows: Sequence[Row], part: int) -> list[Row]:
    """Return a part of the rows of every bucket, but of few."""
    whole, counts = Counter(row.bucket for row in rows), Counter[str]()
    found = []
    for row in rows:
        counts[row.bucket] += 1
        if counts[row.bucket] <= max(whole[row.bucket] // part, FEWEST):
            found.append(row)
    return found


class Tokens:
    """A tokenizer that is trained on the rows that train, or a pretrained one's."""

    def __init__(self, rows: Sequence[Row], folder: Path | None) -> None:
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

        if folder is not None:
            self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
            self.end = json.loads((folder / "config.json").read_text("utf-8"))["eos_token_id"]
            return
        self.tokenizer = Tokenizer(models.BPE())
        self.tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        self.tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=VOCABULARY,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            special_tokens=[END, PAD],
            show_progress=False,
        )
        self.tokenizer.train_from_iterator(
            [text for row in rows[:5000] for text in (row.prompt, row.response)], trainer
        )
        self.end = self.tokenizer.token_to_id(END)

    def example(self, row: Row) -> Example:
        prompt, response = (self.tokenizer.encode(text, add_special_tokens=False).ids for text in row[2:])
        start = prompt[-PROMPT:] or [self.end]
        return Example(row.bucket, start + [*response, self.end][:RESPONSE], len(start))


# ------------------------------------------------------------------------------------------- models


class Small(nn.Module):
    """A Llama from scratch."""

    def __init__(self, sizes: dict[str, int], vocabulary: int) -> None:
        from transformers import LlamaConfig, LlamaForCausalLM

        super().__init__()
        width = sizes["hidden_size"]
        config = LlamaConfig(
            vocab_size=vocabulary, intermediate_size=3 * width, max_position_embeddings=PROMPT + RESPONSE,
            tie_word_embeddings=True, **sizes,
        )  # fmt: skip
        self.llama = LlamaForCausalLM(config)
        self.width = width

    def states(self, examples: Sequence[Example]) -> torch.Tensor:
        """Return the last layer's states; causal attention needs no mask of what is padded on the right."""
        ids = nn.utils.rnn.pad_sequence([torch.tensor(example.ids) for example in examples], batch_first=True)
        return self.llama.model(input_ids=ids, use_cache=False).last_hidden_state

    def logits(self, states: torch.Tensor) -> torch.Tensor:
        return self.llama.lm_head(states)

    def targets(self, ids: torch.Tensor) -> torch.Tensor:
        return ids


class LastLayer(nn.Module):
    """The last layer of a pretrained model, on kept states of those before; its head has the rows' own tokens only."""

    def __init__(self, folder: Path, examples: Sequence[Example]) -> None:
        from transformers import AutoModelForCausalLM

        super().__init__()
        whole = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        used = sorted({token for example in examples for token in example.ids[example.prompt :]})
        self.places = torch.zeros(whole.config.vocab_size, dtype=torch.long)
        self.places[used] = torch.arange(len(used))
        self.head = whole.lm_head.weight.detach()[used].clone()
        self.rope = whole.model.rotary_emb
        self.layer, self.norm = whole.model.layers[-1], whole.model.norm
        self.kept = self.keep(whole, examples)

    @torch.no_grad()
    def keep(self, whole: Any, examples: Sequence[Example]) -> dict[tuple[int, ...], torch.Tensor]:
        whole.model.layers = whole.model.layers[:-1]
        whole.model.norm = nn.Identity()
        kept = {}
        order = sorted(examples, key=lambda example: len(example.ids))
        for start in range(0, len(order), 32):
            batch = order[start : start + 32]
            ids = nn.utils.rnn.pad_sequence([torch.tensor(example.ids) for example in batch], batch_first=True)
            states = whole.model(input_ids=ids, use_cache=False).last_hidden_state
            for example, row in zip(batch, states, strict=True):
                kept[tuple(example.ids)] = row[: len(example.ids)].clone()
            if start % 640 == 0:
                log(f"states of the frozen layers: {start:,} of {len(order):,} rows")
        return kept

    def states(self, examples: Sequence[Example]) -> torch.Tensor:
        states = nn.utils.rnn.pad_sequence([self.kept[tuple(example.ids)] for example in examples], batch_first=True)
        places = torch.arange(states.size(1))[None]
        out = self.layer(states, attention_mask=None, position_embeddings=self.rope(states, places))
        return self.norm(out[0] if isinstance(out, tuple) else out)

    def logits(self, states: torch.Tensor) -> torch.Tensor:
        return states @ self.head.T

    def targets(self, ids: torch.Tensor) -> torch.Tensor:
        return self.places[ids]

    def fresh(self) -> LastLayer:
        """Return a copy to train; what is frozen is shared."""
        made = copy.copy(self)
        made._modules = dict(self._modules)
        made.layer, made.norm = copy.deepcopy(self.layer), copy.deepcopy(self.norm)
        return made


def nll(model: Any, examples: Sequence[Example]) -> torch.Tensor:
    """Return the mean NLL of the tokens of every response."""
    states = model.states(examples)
    rows = [torch.full((len(example.ids) - example.prompt,), at) for at, example in enumerate(examples)]
    places = [torch.arange(example.prompt - 1, len(example.ids) - 1) for example in examples]
    responses = [torch.tensor(example.ids[example.prompt :]) for example in examples]
    row = torch.cat(rows)
    logits = model.logits(states[row, torch.cat(places)])
    losses = nn.functional.cross_entropy(logits, model.targets(torch.cat(responses)), reduction="none")
    return torch.zeros(len(examples)).index_add(0, row, losses) / torch.bincount(row)


# ------------------------------------------------------------------------------------------- a run


@dataclass(frozen=True)
class Data:
    """A split."""

    train: list[Row]
    validation: list[Example]
    test: list[Example]
    tokens: Tokens

    @property
    def counts(self) -> dict[str, int]:
        return dict(Counter(row.bucket for row in self.train))

    def measured(self) -> list[str]:
        """Return the buckets that count in the mean."""
        found = set(self.counts)
        for part in (self.train, self.validation, self.test):
            counts = Counter(each.bucket for each in part)
            enough = ENOUGH if part is not self.validation else ENOUGH // 2
            found &= {bucket for bucket, count in counts.items() if count >= enough}
        return sorted(found)


def prepared(rows: Sequence[Row], study: Study, seed: int, folder: Path | None) -> Data:
    parts = split(rows, study, seed)
    tokens = Tokens(parts["train"], None if study.model else folder)
    validation, test = ([tokens.example(row) for row in parts[part]] for part in HELD_OUT)
    return Data(parts["train"], validation, test, tokens)


def batches(data: Data, way: Way, seed: int) -> Iterator[tuple[list[Example], torch.Tensor]]:
    """Yield batches and the weights of their rows, epoch by epoch: in random order, or drawn by BucketSFT's sampler."""
    weights = bucket_weights(data.counts, tau=way.tau, max_weight=way.most).weights
    weight = np.array([weights[row.bucket] for row in data.train])
    rng, sampler = np.random.default_rng([seed, 2]), WeightedSampler(weight, seed)
    for epoch in itertools.count():
        sampler.set_epoch(epoch)
        order = np.array(list(sampler)) if way.by == "sample" else rng.permutation(len(weight))
        for start in range(0, len(order) - BATCH + 1, BATCH):
            drawn = order[start : start + BATCH]
            used = np.ones(BATCH) if way.by == "sample" else weight[drawn]
            yield [data.tokens.example(data.train[at]) for at in drawn], torch.tensor(used, dtype=torch.float32)


@torch.no_grad()
def means(model: Any, examples: Sequence[Example]) -> dict[str, float]:
    """Return the mean over responses of their NLL, by bucket."""
    order = sorted(examples, key=lambda example: len(example.ids))
    found = defaultdict(list)
    for start in range(0, len(order), 64):
        batch = order[start : start + 64]
        for example, value in zip(batch, nll(model, batch).tolist(), strict=True):
            found[example.bucket].append(value)
    return {bucket: round(statistics.fmean(values), 4) for bucket, values in sorted(found.items())}


def optimizer_of(model: nn.Module, study: Study, rate: float) -> torch.optim.Optimizer:
    if study.optimizer == "sgd":
        return torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9, fused=True)
    return torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.0, fused=True)


def trained(data: Data, model: Any, study: Study, way: Way, rate: float, *, seed: int) -> dict[str, Any]:
    """Train, and measure held-out rows after each of the study's numbers of steps."""
    optimizer = optimizer_of(model, study, rate)
    found = {}
    for step, (batch, weight) in enumerate(batches(data, way, seed), 1):
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, step / WARM_UP)
        loss = (weight * nll(model, batch)).mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        if step in study.steps:
            found[str(step)] = {part: means(model, getattr(data, part)) for part in ("validation", "test")}
        if step == max(study.steps):
            return found
    raise AssertionError


# ------------------------------------------------------------------------------------------- all of them


class Results:
    """What was measured, kept in a file."""

    def __init__(self, path: Path, about: dict[str, Any]) -> None:
        self.path = path
        self.runs: dict[str, dict[str, Any]] = {}
        self.about = about
        if path.is_file():
            self.runs = json.loads(path.read_text("utf-8"))["runs"]

    def add(self, key: str, run: dict[str, Any]) -> None:
        self.runs[key] = run
        partial = self.path.with_name(f"{self.path.name}.partial")
        partial.write_text(json.dumps({**self.about, "runs": self.runs}) + "\n", encoding="utf-8")
        partial.replace(self.path)


def key_of(study: Study, way: Way, rate: float, seed: int) -> str:
    by = way.by if way.most == PLAIN.most else f"{way.by} {way.most:g}"
    return f"{study.name}/{way.tau:g}/{by}/{rate:g}/{seed}"


def macro(values: dict[str, float], buckets: Sequence[str]) -> float:
    return statistics.fmean(values[bucket] for bucket in buckets)


class Pretrained:
    """The model of a folder, with the states of all rows that a study has: computed once for all its seeds."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.made: dict[str, LastLayer] = {}

    def of(self, study: Study, rows: Sequence[Row]) -> LastLayer | None:
        """Return a study's; None where its models are from scratch."""
        if study.model is not None:
            return None
        assert self.folder is not None
        if study.name not in self.made:
            tokens = Tokens([], self.folder)
            self.made[study.name] = LastLayer(self.folder, [tokens.example(row) for row in pool_of(rows, study)])
        return self.made[study.name]


def measure(study: Study, rows: Sequence[Row], seed: int, pretrained: Pretrained, results: Results) -> None:
    """Train, on one seed's split, every way of a study that is not among the results."""
    data = None
    for way in study.ways:
        for rate in study.rates if seed == PILOT else (best_rate(study, way, results),):
            key = key_of(study, way, rate, seed)
            if key in results.runs:
                continue
            data = data or prepared(rows, study, seed, pretrained.folder)
            base = pretrained.of(study, rows)
            started = time.perf_counter()
            torch.manual_seed(seed)
            model = base.fresh() if base else Small(study.model or {}, data.tokens.tokenizer.get_vocab_size())
            steps = trained(data, model, study, way, rate, seed=seed)
            results.add(key, {"steps": steps, "measured": data.measured(), "rows": data.counts})
            last = macro(steps[str(max(study.steps))]["validation"], data.measured())
            log(f"{key}: {time.perf_counter() - started:.0f} s, validation {last:.3f}")


def best_rate(study: Study, way: Way, results: Results) -> float:
    """Return the learning rate with the least mean over buckets of the validation part, after any number of steps."""

    def least(rate: float) -> float:
        run = results.runs[key_of(study, way, rate, PILOT)]
        return min(macro(step["validation"], run["measured"]) for step in run["steps"].values())

    return study.rates[0] if len(study.rates) == 1 else min(study.rates, key=least)


# ------------------------------------------------------------------------------------------- the table


def is_chosen(study: Study, way: Way, results: Results) -> bool:
    """Whether a way's learning rate can be told."""
    pilots = [key_of(study, way, rate, PILOT) for rate in study.rates]
    return way in study.ways and (len(pilots) == 1 or all(key in results.runs for key in pilots))


def tested(study: Study, way: Way, step: str, results: Results, *, rare: bool) -> dict[int, float]:
    """Return the mean over buckets of the test part by seed: of all that are measured, or the rarer half of them."""
    found: dict[int, float] = {}
    if not is_chosen(study, way, results):
        return found
    rate = best_rate(study, way, results)
    for seed in range(len(T95) + 1):
        run = results.runs.get(key_of(study, way, rate, seed))
        if run is None:
            continue
        at = step
        if step == "best":
            at = min(run["steps"], key=lambda name: macro(run["steps"][name]["validation"], run["measured"]))
        buckets = sorted(run["measured"], key=lambda bucket: run["rows"][bucket])
        found[seed] = macro(run["steps"][at]["test"], buckets[: len(buckets) // 2] if rare else buckets)
    return found


def cell(values: dict[int, float], plain: dict[int, float]) -> str:
    """Say how far from plain SFT, seed by seed, with a 95% interval."""
    differences = [value - plain[seed] for seed, value in values.items() if seed in plain]
    if not differences:
        return ""
    mean = statistics.fmean(differences)
    if len(differences) < 2:
        return f"{mean:+.3f}"
    half = T95[len(differences) - 1] * statistics.stdev(differences) / math.sqrt(len(differences))
    return f"{mean:+.3f} ±{half:.3f}"


def name_of(way: Way) -> str:
    return f"{way.tau:g} by {way.by}" + ("" if way.most == PLAIN.most else f", at most {way.most:g}")


def render(results: Results, *, rare: bool) -> str:
    """Return a table: plain SFT's mean NLL of buckets, and how far from it every other way is."""
    lines = []
    for study in STUDIES:
        for step in (*map(str, study.steps), "best"):
            plain = tested(study, PLAIN, step, results, rare=rare)
            if not plain:
                continue
            found = [cell(tested(study, way, step, results, rare=rare), plain) for way in WAYS[1:]]
            lines.append([study.name, step, str(len(plain)), f"{statistics.fmean(plain.values()):.3f}", *found])
    return harness.table(["study", "steps", "seeds", "τ = 1", *map(name_of, WAYS[1:])], lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bucketed", type=Path, help="a folder that polyalign bucket wrote, its rows in groups")
    parser.add_argument("--out", type=Path, default=Path("weighting.json"), help="results, kept (default: %(default)s)")
    parser.add_argument("--pretrained", type=Path, metavar="MODEL", help="a folder with a Llama, as SmolLM2")
    parser.add_argument("--only", default="", metavar="NAME;…", help="studies whose names begin so, parted by ;")
    parser.add_argument("--quick", action="store_true", help="a few steps: to see that it runs")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    results = Results(arguments.out, {"machine": harness.machine(), "command": " ".join(sys.argv[1:])})
    rows = read(arguments.bucketed)
    names = tuple(name.strip() for name in arguments.only.split(";"))
    studies = [study for study in STUDIES if study.name.startswith(names) and (study.model or arguments.pretrained)]
    if arguments.quick:
        studies = [dataclasses.replace(study, steps=(2, 4), rates=study.rates[:1], seeds=1) for study in studies]
    pretrained = Pretrained(arguments.pretrained)
    # What is asked first is answered first: all seeds of a few ways, then the ways between them.
    for ways, study in itertools.product((FEW, WAYS), studies):
        some = dataclasses.replace(study, ways=tuple(way for way in study.ways if way in ways))
        for seed in (*([PILOT] if len(study.rates) > 1 else []), *range(study.seeds)):
            measure(some, rows, seed, pretrained, results)
    for title, rare in (("Mean of buckets", False), ("Mean of the rarer half of buckets", True)):
        print(f"\n{title}, held-out NLL in nats a token: plain SFT's, and the difference from it\n")
        print(render(results, rare=rare))


if __name__ == "__main__":
    main()
