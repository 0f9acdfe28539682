"""Two processes, launched by accelerate, that talk by gloo: gradients, evaluations and resumptions are those of one."""

from __future__ import annotations

import json
import math
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl", reason="training needs polyalign[train]")

import torch
from safetensors.torch import load_file

import encoders
import kinds
import test_bucket_sft as sft
import test_evaluation_callback
import test_hdpo as hdpo
import test_hdpo_distribution as distribution
import test_neural_critic
import tiny
import training
from kinds import BUCKET_SFT, HUMAN_DPO, Kind
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

CRITICS = {"tuned": 1, "frozen": False}

#: Of the runs of `launched.py`, which are compared with TRL's and with one process's.
LAUNCHED = {"train_sampling_strategy": "sequential", "max_steps": 4, "logging_steps": 1, "save_strategy": "no"}

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


def work(folder: Path) -> None:
    """What each process does."""
    _errors(folder)
    _sft(folder)
    _hdpo(folder)
    _noise(folder)
    _resume(folder)
    _watched(folder)
    _critics(folder / f"critics{os.environ['RANK']}", folder)


def _watched(folder: Path) -> None:
    """Train both, with and without answers to held-out prompts; then the main process alone comes upon an error."""
    rank, told = int(os.environ["RANK"]), {}
    for kind in (BUCKET_SFT, HUMAN_DPO):
        plain, seen = (kind.make(folder / "model", folder / "out") for _ in range(2))
        callback = test_evaluation_callback.watched(seen)
        for trainer in (plain, seen):
            trainer.train()
        same = not kinds.changed(kinds.weights(plain.model), kinds.weights(seen.model))
        told[kind.prefix] = [same, test_evaluation_callback.told(seen), list(callback.evaluations)]
    callback = test_evaluation_callback.watched(seen, critics={"broken": BrokenCritic()})
    with pytest.raises(ValueError, match="the critic is broken"):
        callback.on_step_end(seen.args, seen.state, seen.control)
    (folder / f"watched{rank}.json").write_text(json.dumps(told))


class BrokenCritic:
    """Scores nothing."""

    def score(self, responses: Any, buckets: Any) -> Any:
        raise ValueError("the critic is broken")


def _critics(folder: Path, scratch: Path) -> None:
    """Train critics: with an encoder that learns, and with one that does not."""
    folder.mkdir()
    for name, learns in CRITICS.items():
        made = test_neural_critic.tuned(str(scratch / "encoder"), train_encoder=learns)
        made.save(folder / name)


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
        rows, given = distribution.PAIRS, {"reference": distribution.REFERENCE, **distribution.SETTINGS}
        training.save(folder, "hdpo distribution", hdpo.step(rows, folder / "out", (1, 2), **given)[1])
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
    model = tiny.save(tmp_path / "model", tiny.model())
    # Of --cpu it would make one process.
    flags = "--multi_gpu --num_processes 2 --num_machines 1 --mixed_precision no --dynamo_backend no"
    launcher = [sys.executable, "-m", "accelerate.commands.launch", *flags.split()]
    encoders.bert(tmp_path / "encoder")
    told = kinds.launched(launcher, model, tmp_path)
    _check_steps(tmp_path)
    _check_errors(tmp_path)
    _check_noise(tmp_path)
    _check_resumptions(tmp_path)
    _check_watched(tmp_path)
    _check_collectives(told["collectives"])
    _check_losses(told["losses"], model, tmp_path)
    _check_command(tmp_path)
    _check_critics(tmp_path)


def _check_steps(tmp_path: Path) -> None:
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
    # Samples are compared with those of the other process.
    found = training.load(tmp_path, "hdpo distribution")[0]
    assert training.error(found, hdpo.expected(distribution.PAIRS, online=distribution.surrogate)) < 1e-5
    trainer, _ = hdpo.step(PAIRS, tmp_path / "one", learning_rate=0.0)
    alone = trainer.evaluate(HELD_OUT_PAIRS)
    found = training.load(tmp_path, "hdpo evaluation")[0].tolist()
    assert found == pytest.approx([alone["eval_loss"], alone["eval_hdpo/regularizer"]], rel=1e-5)


def _check_errors(tmp_path: Path) -> None:
    errors = [json.loads((tmp_path / f"errors{rank}.json").read_text()) for rank in range(2)]
    for name, (_, line) in ALONE.items():
        assert [each[name] for each in errors] == [line, line]


def _check_watched(tmp_path: Path) -> None:
    """Both log what the main process found, and train as without."""
    main, other = (json.loads((tmp_path / f"watched{rank}.json").read_text()) for rank in range(2))
    for kind in (BUCKET_SFT, HUMAN_DPO):
        same, logged, steps = main[kind.prefix]
        assert same and [*logged] == ["0", "2"] and steps == [0, 2]
        assert other[kind.prefix] == [True, logged, []]


def _check_noise(tmp_path: Path) -> None:
    # Two prompts a process, one at a time, in a step; of three in an evaluation one process has two.
    asked = [json.loads((tmp_path / f"asked{rank}.json").read_text()) for rank in range(2)]
    assert [len(each) for each in asked] == [4, 4]
    seeds = [{seed for seed, *_ in each} for each in asked]
    assert [len(each) for each in seeds] == [2, 2]
    assert not seeds[0] & seeds[1]


def _check_resumptions(tmp_path: Path) -> None:
    for name in RESUMED:
        whole, again = training.load(tmp_path, f"resumed {name}")
        assert len(whole) == 6
        assert torch.equal(whole, again), name


def _check_critics(tmp_path: Path) -> None:
    """Both processes end with the same critic, and with one process's but for how sums are rounded."""
    _critics(tmp_path / "alone", tmp_path)
    for name in CRITICS:
        one, two, alone = (tmp_path / folder / name for folder in ("critics0", "critics1", "alone"))
        # An encoder is saved by the first process; its probe is in the tensors.
        tensors = [test_neural_critic.told(folder)["tensors.safetensors"] for folder in (one, two)]
        assert tensors[0] == tensors[1]
        for path in alone.rglob("*.safetensors"):
            wanted, found = load_file(path), load_file(one / path.relative_to(alone))
            for tensor in wanted:
                if not tensor.startswith(("trained", "calibration")):
                    torch.testing.assert_close(found[tensor], wanted[tensor], rtol=1e-3, atol=1e-4)


def _check_collectives(found: dict[str, list[int]]) -> None:
    """One collective more than TRL at most."""
    for kind in ("sft", "hdpo"):
        ours, trls = found[kind], found[f"trl {kind}"]
        assert len(ours) == len(trls) == 2
        for our, trl in zip(ours, trls, strict=True):
            # TRL's grow with the micro-batches. Gradients and buffers make the others.
            assert 0 < our <= trl + 1
        assert len(set(ours)) == 1


def _check_losses(found: dict[str, Any], model: Path, folder: Path) -> None:
    """Two processes log what one would."""
    # The same rows in a process's first micro-batch as in both processes', or in twice as many micro-batches.
    wide = {"per_device_train_batch_size": 4}
    runs: dict[str, tuple[Kind, dict[str, Any]]] = {
        "sft": (BUCKET_SFT, wide),
        "hdpo": (HUMAN_DPO, {**wide, "lambda_online": 0.0}),
        "rebalanced": (BUCKET_SFT, {"gradient_accumulation_steps": 4, "train_sampling_strategy": "batch_rebalance"}),
    }
    for name, (kind, settings) in runs.items():
        alone = kind.train(model, folder, **{**LAUNCHED, **settings})
        logs, hashes = found[name]["logs"], found[name]["hashes"]
        assert len(hashes) == 2 and len(set(hashes)) == 1
        assert [set(entry) for entry in logs] == [set(entry) for entry in kinds.logged(alone)]
        for ours, expected in zip(logs, kinds.logged(alone), strict=True):
            assert ours == pytest.approx(expected, rel=1e-4, abs=1e-6)
    online = found["online"]
    assert len(set(online["hashes"])) == 1
    # Two ranks of two micro-batches of two prompts.
    assert ["hdpo/online_score" in entry for entry in online["logs"]] == [False, True, False, True]
    assert all(math.isfinite(entry["loss"]) for entry in online["logs"])


def _check_command(folder: Path) -> None:
    """Weights and summary are printed once; rows and steps are shared."""
    first, second = ((folder / f"said{rank}.txt").read_text("utf-8") for rank in range(2))
    assert first.endswith("exit code 0\n"), first
    assert second == "exit code 0\n"
    assert "FutureWarning" not in first
    assert first.count("Bucket weights of 4 buckets") == 1
    assert first.count("2 steps in ") == 1
    assert len(re.findall(r"'loss': '([\d.]+)'", first)) == 2
    # Two steps of twice two of the rows.
    assert f"'epoch': '{8 / 96:.4g}'" in first
    assert (folder / "sft" / "model.safetensors").is_file()
