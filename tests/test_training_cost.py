"""What the trainers cost beside TRL's, in counts: forwards, backwards, collective operations, waits for the device."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl", reason="training needs polyalign[train]: pip install 'polyalign[train]'")

import torch
from torch.utils._python_dispatch import TorchDispatchMode

import tiny
from kinds import BOTH, HUMAN_DPO, Kind

both = pytest.mark.parametrize("kind", BOTH)
STEPS = {"max_steps": 3, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 2, "logging_steps": 100}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save(tmp_path_factory.mktemp("model"), tiny.model())


class Waits(TorchDispatchMode):
    """Counts, by package, what makes the host wait for a GPU: reading a value, and results whose size is a value."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        by_mask = name == "index" and any(at is not None and at.dtype == torch.bool for at in args[1])
        if by_mask or name in {"_local_scalar_dense", "nonzero", "masked_select", "repeat_interleave", "_unique2"}:
            self.counts[asking_package()] += 1
        return func(*args, **(kwargs or {}))


def asking_package() -> str:
    """The package, of those of training, whose code is running."""
    frame = sys._getframe(1)
    while frame is not None:
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if package in {"polyalign", "trl", "transformers", "accelerate"}:
            return package
        frame = frame.f_back
    return "other"


@contextmanager
def counting(trainer: Any) -> Iterator[Counter[str]]:
    """Count what the micro-batches of a training do."""
    counts: Counter[str] = Counter()
    waits, patch = Waits(), pytest.MonkeyPatch()
    step = trainer.training_step

    def count(holder: Any, name: str, what: str) -> None:
        inner = getattr(holder, name)

        def counted(*args: Any, **kwargs: Any) -> Any:
            counts[what] += 1
            return inner(*args, **kwargs)

        patch.setattr(holder, name, counted)

    def watched(*args: Any, **kwargs: Any) -> Any:
        counts["micro-batches"] += 1
        with waits, pytest.MonkeyPatch.context() as reading:
            # On a CPU these read values without a word to PyTorch's dispatcher.
            for name in ("tolist", "cpu", "numpy"):
                inner = getattr(torch.Tensor, name)
                reading.setattr(torch.Tensor, name, lambda self, *_, inner=inner: read(inner, self))
            return step(*args, **kwargs)

    def read(inner: Any, tensor: torch.Tensor) -> Any:
        waits.counts[asking_package()] += 1
        return inner(tensor)

    count(trainer.accelerator, "backward", "backwards")
    count(trainer.model, "generate", "generates")
    for name in ("gather", "gather_for_metrics", "reduce"):
        count(trainer.accelerator, name, "gathers")
    patch.setattr(trainer, "training_step", watched)
    models = {"policy": trainer.model, "reference": getattr(trainer, "ref_model", None)}
    hooks = [
        model.register_forward_pre_hook(lambda *_, of=of: counts.update({f"{of} forwards": 1}))
        for of, model in models.items()
        if model is not None
    ]
    try:
        yield counts
    finally:
        counts.update({f"waits of {package}": number for package, number in waits.counts.items()})
        counts["waits"] = waits.counts.total()
        patch.undo()
        for hook in hooks:
            hook.remove()


def counted(trainer: Any) -> Counter[str]:
    with counting(trainer) as counts:
        trainer.train()
    return counts


def made(kind: Kind, folder: Path, tmp_path: Path, rows: Any = None, **settings: Any) -> Any:
    return kind.make(folder, tmp_path, rows, **{**STEPS, **settings})


@both
def test_an_offline_step_costs_no_more_than_trls(kind: Kind, folder: Path, tmp_path: Path) -> None:
    critic = tiny.Critic()
    offline = {"lambda_online": 0.0} if kind is HUMAN_DPO else {}
    given = {"critic": critic} if kind is HUMAN_DPO else {}
    ours = counted(made(kind, folder, tmp_path, given=given, **offline))
    trls = counted(kind.make_trl(folder, tmp_path, **STEPS))
    assert ours["micro-batches"] == trls["micro-batches"] == 6
    for name in ("policy forwards", "reference forwards", "backwards"):
        assert ours[name] == trls[name] == (6 if name != "reference forwards" or kind is HUMAN_DPO else 0)
    # The model's own forward, which both have, waits for its mask.
    assert ours["waits of polyalign"] == ours["waits of trl"] == 0 < trls["waits of trl"]
    assert ours["waits"] < trls["waits"]
    assert ours["generates"] == 0
    # One for each optimizer step; TRL's grow with the micro-batches.
    assert ours["gathers"] == 3 < trls["gathers"]
    assert critic.calls == []


def test_a_sampling_step_adds_a_generation_and_a_forward(folder: Path, tmp_path: Path) -> None:
    critic = tiny.Critic()
    settings = {"online_every": 3, "num_online_samples": 3, "max_new_tokens": 1, "gradient_checkpointing": False}
    trainer = made(HUMAN_DPO, folder, tmp_path, given={"critic": critic}, **settings)
    with counting(trainer) as counts:
        trainer.train()
    # Steps 1 and 2 sample on trial, step 3 in earnest: each generates once for its two micro-batches (a forward for the
    # one token), and each micro-batch sees its samples once more.
    assert counts["micro-batches"] == counts["backwards"] == 6
    assert counts["generates"] == 3
    assert counts["policy forwards"] == 6 + 3 + 6
    assert counts["reference forwards"] == 6
    # It is tried first, on both responses of every pair.
    assert [len(call) for call in critic.calls[1:]] == [2 * 2 * 3] * 3


def test_scores_are_asked_once_before_training(folder: Path, tmp_path: Path) -> None:
    critic = tiny.Critic()
    rows = tiny.pairs(24, scored=False)
    trainer = made(HUMAN_DPO, folder, tmp_path, rows, given={"critic": critic}, lambda_online=0.0)
    asked = [response for call in critic.calls for response in call]
    texts = [row[name][0]["content"] for name in ("chosen", "rejected") for row in rows]
    assert asked == texts
    trainer.train()
    assert sum(map(len, critic.calls)) == len(texts)
