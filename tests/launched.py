"""Run by a launcher, a process for each rank: trains with both trainers and TRL's, and says what came out.

``launched.py MODEL OUTPUT``; rank 0 writes ``OUTPUT/told.json``: by trainer the collective operations of its optimizer
steps, and what it logged and a hash of every rank's weights. What `polyalign sft` says on each is in
``OUTPUT/said<rank>.txt``. The rest is what `test_two_ranks.work` writes.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import sys
from contextlib import redirect_stderr, redirect_stdout
from itertools import pairwise
from pathlib import Path
from typing import Any

import datasets
import torch
import torch.distributed as dist
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import TrainerCallback

import kinds
import test_two_ranks
import tiny
import training
from polyalign import cli

OFFLINE = {kinds.HUMAN_DPO.prefix: {"lambda_online": 0.0}}


class Collectives(TorchDispatchMode):
    """Counts the operations that processes do together."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func.namespace == "c10d"
        return func(*args, **(kwargs or {}))


class Steps(TrainerCallback):
    """Keeps how many collective operations there were by the end of every step."""

    def __init__(self, collectives: Collectives) -> None:
        self.collectives, self.counts = collectives, []

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.counts.append(self.collectives.count)


def weights_hash(model: Any) -> str:
    digest = hashlib.sha256()
    for weight in model.state_dict().values():
        digest.update(weight.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def told(trainer: Any) -> dict[str, Any]:
    hashes: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(hashes, weights_hash(trainer.accelerator.unwrap_model(trainer.model)))
    return {"logs": kinds.logged(trainer), "hashes": hashes}


def collectives(model: Path, output: Path) -> dict[str, list[int]]:
    """By trainer, the operations of every step but the first, in which gradients are laid out."""
    found = {}
    for kind in (kinds.BUCKET_SFT, kinds.HUMAN_DPO):
        for name, train in ((kind.prefix, kind.train), (f"trl {kind.prefix}", kind.train_trl)):
            # Unlogged, so that a step has its own operations alone.
            settings = {**test_two_ranks.LAUNCHED, "logging_steps": 100, **OFFLINE.get(name, {})}
            with Collectives() as counting:
                steps = Steps(counting)
                train(model, output, given={"callbacks": [steps]}, **settings)
            found[name] = [after - before for before, after in pairwise(steps.counts)][1:]
    return found


def losses(model: Path, output: Path) -> dict[str, Any]:
    """By trainer, what it logs, without and with samples."""
    runs = {kind.prefix: (kind, OFFLINE.get(kind.prefix, {})) for kind in (kinds.BUCKET_SFT, kinds.HUMAN_DPO)}
    runs["online"] = (kinds.HUMAN_DPO, {})
    runs["rebalanced"] = (kinds.BUCKET_SFT, {"train_sampling_strategy": "batch_rebalance"})
    return {
        name: told(kind.train(model, output, **{**test_two_ranks.LAUNCHED, **more}))
        for name, (kind, more) in runs.items()
    }


def command(model: Path, output: Path) -> None:
    """Train by the command line, as each process of `accelerate launch -m polyalign` does, which ends their talk."""
    rank = dist.get_rank()
    if rank == 0:
        tiny.responses().to_parquet(output / "responses.parquet")
    dist.barrier()
    said = io.StringIO()
    given = {"model_name_or_path": model, "dataset_name": output / "responses.parquet", "output_dir": output / "sft"}
    arguments = [str(each) for name, value in given.items() for each in (f"--{name}", value)]
    with redirect_stdout(said), redirect_stderr(said):
        code = cli.run(["sft", *arguments, *training.FAST.split()])
    (output / f"said{rank}.txt").write_text(f"{said.getvalue()}exit code {code}\n", encoding="utf-8")


def main(model: Path, output: Path) -> None:
    torch.set_num_threads(1)
    datasets.config.HF_DATASETS_CACHE = str(output / f"cache{os.environ['RANK']}")
    test_two_ranks.work(output)
    found = {"collectives": collectives(model, output), "losses": losses(model, output)}
    if dist.get_rank() == 0:
        (output / "told.json").write_text(json.dumps(found), encoding="utf-8")
    command(model, output)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
