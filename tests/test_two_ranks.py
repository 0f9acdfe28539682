"""Two processes that talk by gloo: gradients, evaluations and resumptions are those of one."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl", reason="training needs polyalign[train]")

import torch

import test_bucket_sft as sft
import test_hdpo as hdpo
import tiny
import training
from polyalign.trainers import BucketSFT, BucketSFTConfig

# Starting two processes takes longer than what they do: all of it is one test.

RESPONSES = tiny.responses(12).add_column("weight", [round(0.2 + 0.37 * (at * 7 % 11), 3) for at in range(12)])
PAIRS = tiny.pairs(12).add_column("weight", [round(0.3 + 0.23 * (at * 5 % 11), 3) for at in range(12)])
HELD_OUT = tiny.responses(7, seed=3).add_column("weight", [1.0] * 7)
HELD_OUT_PAIRS = tiny.pairs(7, seed=3).add_column("weight", [1.5] * 7)
# As many rows as fill the batches: a stream's repeated rows count.
STREAMED = tiny.responses(8, seed=3).add_column("weight", [1.0] * 8)

SFT_STEPS = [
    ("2x1", (2, 1), {}),
    ("1x2", (1, 2), {}),
    ("token", (1, 2), {"reduction": "token"}),
    ("paper", (1, 2), {"variant": "paper"}),
]
HDPO_STEPS = [
    *((f"2x1 {margin}", (2, 1), {"margin": margin}, {"margin": margin}) for margin in hdpo.MARGINS),
    ("1x2", (1, 2), {}, {}),
    ("paper", (1, 2), {"variant": "paper"}, {"variant": "paper"}),
    ("online", (1, 2), hdpo.ONLINE_SETTINGS, {"online": hdpo.surrogate}),
]
RESUMED = {
    "sample": {"balance": "sample", "train_sampling_strategy": "random"},
    "batch_rebalance": {"balance": "sample", "train_sampling_strategy": "batch_rebalance"},
    "random": {"balance": "weight", "train_sampling_strategy": "random"},
}


#: What one process comes upon alone, and the line that ends both.
ALONE = {
    "file": (0, "FileNotFoundError: none.parquet: no such file or folder"),
    "model": (1, "ValueError: the model of process 1 is broken"),
    "template": (
        0,
        "ValueError: 12 of 12 rows of the train data set do not train: 12: the chat template refuses it: no (first: "
        "row 0)",
    ),
    "critic": (0, "ValueError: the critic of process 0 is broken"),
    "tokens": (0, "ZeroDivisionError: the tokenizer of process 0 is broken"),
}


def _work(folder: Path) -> None:
    _errors(folder)
    _sft(folder)
    _hdpo(folder)
    _noise(folder)
    _resume(folder)


def _sft(folder: Path) -> None:
    for name, split, settings in SFT_STEPS:
        training.save(folder, f"sft {name}", sft.step(RESPONSES, folder / "out", split, **settings)[1])
    trainer, _ = sft.step(RESPONSES, folder / "out", (2, 1), packing=True, max_length=40)
    losses = [trainer.evaluate(HELD_OUT)[name] for name in ("eval_loss", "eval_sft/loss")]
    training.save(folder, "sft evaluation", [torch.tensor(losses)])
    trainer, _ = sft.step(RESPONSES, folder / "out", (2, 1), learning_rate=0.0, per_device_eval_batch_size=2)
    both = [trainer.evaluate(given)["eval_loss"] for given in (STREAMED, STREAMED.to_iterable_dataset())]
    training.save(folder, "sft stream", [torch.tensor(both)])


def _hdpo(folder: Path) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        hdpo.fixed(monkeypatch)
        for name, split, settings, _ in HDPO_STEPS:
            given = {**settings, "critic": hdpo.Words()} if "lambda_online" in settings else settings
            training.save(folder, f"hdpo {name}", hdpo.step(PAIRS, folder / "out", split, **given)[1])
    trainer, _ = hdpo.step(PAIRS, folder / "out", (2, 1), learning_rate=0.0)
    found = trainer.evaluate(HELD_OUT_PAIRS)
    training.save(folder, "hdpo evaluation", [torch.tensor([found["eval_loss"], found["eval_hdpo/regularizer"]])])


def _errors(folder: Path) -> None:
    rank, rows, told = int(os.environ["RANK"]), tiny.pairs(12, scored=False), {}

    def fail(error: Exception) -> Any:
        def inner(*_: Any, **__: Any) -> Any:
            raise error

        return inner

    for name, (alone, *_) in ALONE.items():
        given: Any = rows
        with pytest.MonkeyPatch.context() as monkeypatch:
            if rank == alone and name == "file":
                given = "none.parquet"
            elif rank == alone and name == "model":
                monkeypatch.setattr(
                    "trl.trainer.dpo_trainer.set_seed", fail(ValueError(f"the model of process {rank} is broken"))
                )
            elif rank == alone and name == "template":
                monkeypatch.setattr(tiny, "TEMPLATE", "{{ raise_exception('no') }}")
            elif rank == alone and name == "critic":
                monkeypatch.setattr(hdpo.Words, "score", fail(ValueError(f"the critic of process {rank} is broken")))
            elif rank == alone:
                broken = fail(ZeroDivisionError(f"the tokenizer of process {rank} is broken"))
                monkeypatch.setattr("trl.trainer.dpo_trainer._tokenize", broken)
            with pytest.raises(Exception) as caught:
                hdpo.step(given, folder / "out", critic=hdpo.Words())
        told[name] = f"{type(caught.value).__name__}: {caught.value}"
    (folder / f"errors{rank}.json").write_text(json.dumps(told))


def _noise(folder: Path) -> None:
    """Keep what each process is told to draw."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        asked = hdpo.Patched(monkeypatch).asked
        settings = {**hdpo.ONLINE_SETTINGS, "online_batch_size": 3}
        trainer, _ = hdpo.step(PAIRS, folder / "out", (1, 2), critic=hdpo.Words(), eval_online_prompts=3, **settings)
        trainer.evaluate(HELD_OUT_PAIRS)
    (folder / f"asked{os.environ['RANK']}.json").write_text(json.dumps(asked))


def _resume(folder: Path) -> None:
    # An epoch has three steps.
    given = {"save_strategy": "steps", "save_steps": 4, "logging_steps": 1, "learning_rate": 0.1}
    for name, settings in RESUMED.items():
        losses = []
        for resume in (False, True):
            args = {**training.ARGUMENTS, **given, **settings, "per_device_train_batch_size": 2, "max_steps": 6}
            trainer = BucketSFT(
                tiny.model(),
                BucketSFTConfig(output_dir=str(folder / name), **args),
                train_dataset=tiny.responses(12),
                processing_class=tiny.tokenizer(),
            )
            trainer.train(resume_from_checkpoint=str(folder / name / "checkpoint-4") if resume else None)
            losses.append([entry["loss"] for entry in trainer.state.log_history if "loss" in entry])
        training.save(folder, f"resumed {name}", [torch.tensor(found) for found in losses])


@pytest.mark.slow
def test_two_ranks(tmp_path: Path) -> None:
    training.on_two_ranks(_work, tmp_path)

    for name, _, settings in SFT_STEPS:
        found = training.load(tmp_path, f"sft {name}")[0]
        assert training.error(found, sft.expected(RESPONSES, **settings)) < 1e-5, name
    trainer, _ = sft.step(RESPONSES, tmp_path / "one", (4, 1), packing=True, max_length=40)
    alone = trainer.evaluate(HELD_OUT)
    found = training.load(tmp_path, "sft evaluation")[0].tolist()
    assert found == pytest.approx([alone["eval_loss"], alone["eval_sft/loss"]], rel=1e-4)
    stored, streamed = training.load(tmp_path, "sft stream")[0].tolist()
    assert streamed == pytest.approx(stored, rel=1e-6)

    for name, _, _, told in HDPO_STEPS:
        found = training.load(tmp_path, f"hdpo {name}")[0]
        assert training.error(found, hdpo.expected(PAIRS, **told)) < 1e-5, name
    trainer, _ = hdpo.step(PAIRS, tmp_path / "one", learning_rate=0.0)
    alone = trainer.evaluate(HELD_OUT_PAIRS)
    found = training.load(tmp_path, "hdpo evaluation")[0].tolist()
    assert found == pytest.approx([alone["eval_loss"], alone["eval_hdpo/regularizer"]], rel=1e-5)

    errors = [json.loads((tmp_path / f"errors{rank}.json").read_text()) for rank in range(2)]
    for name, (_, line) in ALONE.items():
        assert [each[name] for each in errors] == [line, line]

    # Two prompts a process, one at a time, in a step; of three in an evaluation one process has two.
    asked = [json.loads((tmp_path / f"asked{rank}.json").read_text()) for rank in range(2)]
    assert [len(each) for each in asked] == [4, 4]
    seeds = [{seed for seed, *_ in each} for each in asked]
    assert [len(each) for each in seeds] == [2, 2]
    assert not seeds[0] & seeds[1]

    for name in RESUMED:
        whole, again = training.load(tmp_path, f"resumed {name}")
        assert len(whole) == 6
        assert torch.equal(whole, again), name
