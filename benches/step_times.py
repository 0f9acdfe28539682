"""Step times of the trainers beside TRL's that they extend: BucketSFT and SFTTrainer, HDPO (offline) and DPOTrainer;
and of HDPO's distributional term beside its critic's.

In one process, on the same batches, in turns: each trainer makes one optimizer step, in an order that is drawn anew for
every step, while the others wait. A second trainer of TRL's shows what the same code differs by from itself. The ratio
is that of two times of the same step; its median has a bootstrap interval. On a GPU the peak of a step's memory is
measured too, above what lies there between steps.
"""

from __future__ import annotations

import random
import statistics
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import harness
from harness import Options, log

WARM_UP = 5
WORDS = 8000
BUCKETS = ("en|single|qa|short", "en|single|qa|medium", "en|multi|dialogue|short", "zh|single|qa|short")
SMALL = {"hidden_size": 384, "intermediate_size": 1024, "num_hidden_layers": 6, "num_attention_heads": 6}
LARGE = {"hidden_size": 1536, "intermediate_size": 6144, "num_hidden_layers": 16, "num_attention_heads": 12}
TRL, SAME, OURS = "trl", "trl again", "polyalign"


# ------------------------------------------------------------------------------------------- what trains


def settings(on_gpu: bool) -> dict[str, Any]:
    """Batches as large as the machine has work for."""
    return {
        "per_device_train_batch_size": 8 if on_gpu else 2,
        "gradient_accumulation_steps": 2,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
        "use_cpu": not on_gpu,
        "bf16": on_gpu,
        "gradient_checkpointing": False,
        "train_sampling_strategy": "sequential",
        "logging_steps": 10,
        "max_length": 512,
    }


def save_model(folder: Path, on_gpu: bool) -> int:
    """Save a random model and a tokenizer of numbered words; return its number of weights."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    vocabulary = {token: at for at, token in enumerate(["<pad>", "<eos>", *(f"w{at}" for at in range(WORDS - 2))])}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<eos>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", eos_token="<eos>").save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(vocab_size=WORDS, pad_token_id=0, eos_token_id=1, **(LARGE if on_gpu else SMALL))
    model = LlamaForCausalLM(config)
    model.save_pretrained(folder)
    return sum(weight.numel() for weight in model.parameters())


def rows(count: int, longest: int, *, pairs: bool) -> Any:
    """Exchanges of random words, their lengths spread as those of real ones are."""
    from datasets import Dataset

    rng = random.Random(0)

    def text() -> str:
        size = min(longest, max(2, round(rng.lognormvariate(3.2, 0.8))))
        return " ".join(f"w{rng.randrange(WORDS - 2)}" for _ in range(size))

    def row() -> dict[str, Any]:
        bucket = rng.choices(BUCKETS, (8, 4, 2, 1))[0]
        if not pairs:
            return {"bucket": bucket, "prompt": text() + " ", "completion": text()}
        scores = {name: round(rng.uniform(0, 2), 3) for name in ("chosen_score", "rejected_score")}
        return {"bucket": bucket, "prompt": text() + " ", "chosen": text(), "rejected": text(), **scores}

    return Dataset.from_list([row() for _ in range(count)])


def people(dataset: Any) -> Any:
    """A reference of what is preferred."""
    import pyarrow as pa

    import polyalign

    table = pa.table({"bucket": dataset["bucket"], "prompt": dataset["prompt"], "completion": dataset["chosen"]})
    return polyalign.Reference.from_arrow(table)


def trainers(what: str, folder: Path, steps: int, on_gpu: bool) -> dict[str, Any]:
    """The three that are compared, of one kind."""
    from transformers import PrinterCallback
    from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

    from polyalign.trainers import HDPO, BucketSFT, BucketSFTConfig, HDPOConfig

    given = settings(on_gpu)
    count = steps * given["per_device_train_batch_size"] * given["gradient_accumulation_steps"]
    dataset = rows(count, 400 if on_gpu else 80, pairs=what != "sft")
    if what == "online":
        online = {"online_every": 1, "max_new_tokens": 40}
        reference = people(dataset)
        critic, distribution = ({"reference": reference, **online, "online": by} for by in ("critic", "distribution"))
        classes = {TRL: (HDPO, HDPOConfig, critic), OURS: (HDPO, HDPOConfig, distribution)}
    elif what == "sft":
        classes = {TRL: (SFTTrainer, SFTConfig, {}), OURS: (BucketSFT, BucketSFTConfig, {})}
    else:
        classes = {TRL: (DPOTrainer, DPOConfig, {}), OURS: (HDPO, HDPOConfig, {"lambda_online": 0.0})}
    classes[SAME] = classes[TRL]
    made = {}
    for name, (trainer_class, config_class, more) in classes.items():
        own = {key: more[key] for key in more if key == "reference"}
        args = config_class(
            output_dir=str(folder / "out"),
            max_steps=steps,
            **given,
            **{key: more[key] for key in more if key not in own},
        )
        made[name] = trainer_class(str(folder), args=args, train_dataset=dataset, **own)
        made[name].remove_callback(PrinterCallback)
    return made


# ------------------------------------------------------------------------------------------- in turns


class Turn:
    """A trainer in a thread of its own, which makes a step when it is told to."""

    def __init__(self, trainer: Any) -> None:
        from transformers import TrainerCallback

        turn = self

        class Baton(TrainerCallback):
            def on_step_end(self, *_: Any, **__: Any) -> None:
                turn.finish()

        self.trainer = trainer
        self.on_gpu = trainer.accelerator.device.type == "cuda"
        self.seconds: list[float] = []
        self.peaks: list[int] = []
        self.go, self.done = threading.Semaphore(0), threading.Semaphore(0)
        self.error: BaseException | None = None
        trainer.add_callback(Baton())
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self) -> None:
        self.go.acquire()
        self.begin()
        try:
            self.trainer.train()
        except BaseException as error:
            self.error = error
        self.done.release()

    def begin(self) -> None:
        if self.on_gpu:
            import torch

            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            self.resident = torch.cuda.memory_allocated()
        self.start = time.perf_counter()

    def finish(self) -> None:
        if self.on_gpu:
            import torch

            torch.cuda.synchronize()
            self.peaks.append(torch.cuda.max_memory_allocated() - self.resident)
        self.seconds.append(time.perf_counter() - self.start)
        self.done.release()
        self.go.acquire()
        self.begin()

    def step(self) -> None:
        """Let it make a step, and wait for it."""
        self.go.release()
        self.done.acquire()
        if self.error is not None:
            raise self.error


def interleaved(made: dict[str, Any], steps: int) -> dict[str, Turn]:
    turns = {name: Turn(trainer) for name, trainer in made.items()}
    rng = random.Random(0)
    for at in range(steps):
        if at % 20 == 0:
            log(f"training: step {at} of {steps}")
        for name in rng.sample(list(turns), len(turns)):
            turns[name].step()
    for turn in turns.values():
        turn.step()  # the end of training
        turn.thread.join()
    return turns


# ------------------------------------------------------------------------------------------- numbers


def interval(ratios: Sequence[float], draws: int = 2000) -> tuple[float, float]:
    """The middle 95% of the medians of samples drawn anew."""
    rng = random.Random(0)
    medians = sorted(statistics.median(rng.choices(ratios, k=len(ratios))) for _ in range(draws))
    return medians[int(0.025 * draws)], medians[int(0.975 * draws) - 1]


def compared(turns: dict[str, Turn], name: str) -> dict[str, Any]:
    """One of them beside TRL's."""
    ratios = [ours / trls for ours, trls in zip(turns[name].seconds, turns[TRL].seconds, strict=True)][WARM_UP:]
    low, high = interval(ratios)
    found = {"ratio": statistics.median(ratios), "low": low, "high": high, "steps": len(ratios)}
    if turns[name].on_gpu:
        found["memory"] = max(turns[name].peaks) / max(turns[TRL].peaks)
    return found


def measure(options: Options) -> dict[str, Any]:
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    on_gpu = torch.cuda.is_available()
    steps = WARM_UP + (10 if options.quick else 120)
    found: dict[str, Any] = {"device": torch.cuda.get_device_name() if on_gpu else "CPU", "threads": options.threads}
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found["weights"] = save_model(folder, on_gpu)
        for what in ("sft", "hdpo", "online"):
            turns = interleaved(trainers(what, folder, steps, on_gpu), steps)
            found[what] = {
                "seconds": statistics.median(turns[TRL].seconds[WARM_UP:]),
                **{name: compared(turns, name) for name in (SAME, OURS)},
            }
            if on_gpu:
                found[what]["memory"] = max(turns[TRL].peaks)
    return found


def render(results: dict[str, Any]) -> str:
    device = results["device"] if results["device"] != "CPU" else f"CPU, {results['threads']} threads"
    header = [f"{device}, {results['weights'] / 1e6:.0f} M weights", "TRL, a step", "TRL ÷ itself", "polyalign ÷ TRL"]
    cells = {"sft": "BucketSFT beside SFTTrainer", "hdpo": "HDPO, offline beside DPOTrainer"}
    online = ["HDPO, both online", "critic's term, a step", "critic's ÷ itself", "distributional ÷ critic's"]
    tables = [_table(header, results, cells)]
    if "online" in results:
        tables.append(_table(online, results, {"online": "the distributional term beside the critic's"}))
    return "\n\n".join(tables)


def _table(header: list[str], results: dict[str, Any], cells: dict[str, str]) -> str:
    has_memory = "memory" in results["sft"]
    if has_memory:
        header = [*header, "peak of its step", header[-1]]
    rows = []
    for what, label in cells.items():
        of = results[what]
        row = [label, f"{of['seconds'] * 1e3:.0f} ms"]
        row += [f"{of[name]['ratio']:.3f} ({of[name]['low']:.3f}–{of[name]['high']:.3f})" for name in (SAME, OURS)]
        if has_memory:
            row += [f"{of['memory'] / 2**30:.2f} GiB", f"{of[OURS]['memory']:.3f}"]
        rows.append(row)
    return harness.table(header, rows)


if __name__ == "__main__":
    harness.main(measure, render, __doc__ or "")
