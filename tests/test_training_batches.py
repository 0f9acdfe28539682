"""Length decides the micro-batch of an example, never the global batch that it is in, nor its part in the gradient."""

from __future__ import annotations

import itertools
from collections import Counter
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("trl", reason="training needs polyalign[train]: pip install 'polyalign[train]'")


import torch

import kinds
import tiny
from kinds import BOTH, BUCKET_SFT, HUMAN_DPO, Kind

both = pytest.mark.parametrize("kind", BOTH)
BATCH, ACCUMULATED, ROWS = 3, 3, 32
WHOLE = BATCH * ACCUMULATED
SETTINGS = {
    "per_device_train_batch_size": BATCH,
    "gradient_accumulation_steps": ACCUMULATED,
    "max_steps": -1,
    "num_train_epochs": 2,
    "max_grad_norm": 0.0,
    "learning_rate": 0.0,
    "weight_mean": 1.7,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save(tmp_path_factory.mktemp("model"), tiny.model())


@both
def test_deepspeed_rounds_the_models_inputs_alone(
    kind: Kind, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights, scores and the reference's log-probabilities of a batch stay as they are; as bfloat16 they would not."""
    settings = {"precompute_ref_log_probs": True} if kind is HUMAN_DPO else {}
    trainer = kind.make(folder, tmp_path, rows_of(kind), **settings)
    batch = {**next(iter(trainer.get_train_dataloader())), "pixels": torch.full((2,), 1.001)}
    trainer.is_deepspeed_enabled = True
    plugin = SimpleNamespace(hf_ds_config=SimpleNamespace(dtype=lambda: torch.bfloat16))
    monkeypatch.setattr(type(trainer.accelerator.state), "deepspeed_plugin", plugin)
    found = trainer._prepare_inputs(batch)
    assert found["pixels"].dtype == torch.bfloat16
    floats = {name for name, value in batch.items() if torch.is_tensor(value) and value.is_floating_point()}
    exact = floats - {"pixels"}
    expected = {"token_weight", "weight"}
    if kind is HUMAN_DPO:
        expected = {"weight", "chosen_score", "rejected_score", "ref_chosen_logps", "ref_rejected_logps"}
    assert exact >= expected
    assert all(found[name].dtype == batch[name].dtype and torch.equal(found[name], batch[name]) for name in exact)


@both
def test_ranks_of_one_tensor_parallel_group_count_once(kind: Kind, folder: Path, tmp_path: Path) -> None:
    """Of four processes in groups of two, that see two batches: sums are of two, and gradients averaged over two."""
    trainer = kind.make(folder, tmp_path, rows_of(kind), **SETTINGS)
    batches = list(itertools.islice(trainer.get_train_dataloader(), 4))
    parts = [batches[:2], batches[2:]]
    sums = [trainer.get_batch_samples(iter(part), 2, torch.device("cpu"))[1] for part in parts]

    class Ranks:
        num_processes, process_index = 4, 0

        def reduce(self, values: Any, how: str) -> Any:
            """Return the sum over the processes, of which each batch has two."""
            assert how == "sum"
            return 2 * sum(torch.stack([*part.values()]) for part in sums)

    trainer.accelerator, trainer.get_tp_size = Ranks(), lambda: 2
    _, found = trainer.get_batch_samples(iter(parts[0]), 2, torch.device("cpu"))
    for name, value in found.items():
        assert value == pytest.approx(float(sums[0][name] + sums[1][name])), name
    assert trainer._data_parallel_size == 2


def rows_of(kind: Kind) -> Any:
    """Rows of many lengths, each with its own prompt and weight."""
    rows = kind.data(ROWS, seed=4)
    prompts = [[{"role": "user", "content": " ".join(tiny.WORDS[at : at + 1 + at // 2])}] for at in range(ROWS)]
    rows = rows.remove_columns("prompt").add_column("prompt", prompts)
    return rows.add_column("weight", [0.3 + at * 7 % 11 / 4 for at in range(ROWS)])


def watched(
    kind: Kind, folder: Path, tmp_path: Path, strategy: str, **more: Any
) -> tuple[Any, list[list[Any]], list[Any]]:
    """Train; the micro-batches of every step, and its gradient."""
    steps, gradients = [], kinds.Gradients()
    offline = {"lambda_online": 0.0} if kind is HUMAN_DPO else {}
    settings = {**SETTINGS, **offline, "train_sampling_strategy": strategy, **more}
    trainer = kind.make(folder, tmp_path, rows_of(kind), given={"callbacks": [gradients]}, **settings)
    inner = trainer.get_batch_samples

    def taken(*args: Any) -> Any:
        batches, shares = inner(*args)
        steps.append(batches)
        return batches, shares

    trainer.get_batch_samples = taken
    trainer.train()
    return trainer, [step for step in steps if step], gradients.steps


def texts(batch: dict[str, Any]) -> list[tuple[int, ...]]:
    """The rows of a micro-batch, by their tokens."""
    pairs = len(batch["bucket"])
    return [tuple(row[row != 0].tolist()) for row in batch["input_ids"][:pairs]]


@both
@pytest.mark.parametrize("strategy", ["random", "group_by_length", "batch_rebalance"])
def test_global_batches_have_their_size(kind: Kind, folder: Path, tmp_path: Path, strategy: str) -> None:
    trainer, steps, _ = watched(kind, folder, tmp_path, strategy)
    assert trainer.args.length_column_name in trainer.train_dataset.column_names
    per_epoch = -(-ROWS // WHOLE)
    assert len(steps) == 2 * per_epoch
    epochs = [steps[:per_epoch], steps[per_epoch:]]
    for epoch in epochs:
        sizes = [sum(len(batch["bucket"]) for batch in step) for step in epoch]
        assert sizes == [WHOLE] * (per_epoch - 1) + [ROWS % WHOLE]
        seen = [row for step in epoch for batch in step for row in texts(batch)]
        assert len(seen) == len(set(seen)) == ROWS
    firsts = [{row for batch in epoch[0] for row in texts(batch)} for epoch in epochs]
    assert firsts[0] != firsts[1]


@pytest.mark.parametrize("strategy", ["random", "batch_rebalance"])
def test_drawn_rows_differ_from_epoch_to_epoch(folder: Path, tmp_path: Path, strategy: str) -> None:
    trainer, steps, _ = watched(BUCKET_SFT, folder, tmp_path, strategy, balance="sample")
    per_epoch = -(-ROWS // WHOLE)
    sizes = [sum(len(batch["bucket"]) for batch in step) for step in steps]
    assert sizes == 2 * ([WHOLE] * (per_epoch - 1) + [ROWS % WHOLE])
    drawn = [row for step in steps for batch in step for row in texts(batch)]
    # Each as often as it weighs, up or down to a whole number.
    prepared = trainer.train_dataset
    weights = {tuple(row["input_ids"]): row["weight"] / np.mean(prepared["weight"][:]) for row in prepared}
    for epoch in (drawn[:ROWS], drawn[ROWS:]):
        counts = Counter(epoch)
        assert all(abs(counts[row] - weight) < 1 for row, weight in weights.items())
    assert drawn[:ROWS] != drawn[ROWS:]
    if strategy == "batch_rebalance":
        assert len({len(batch["bucket"]) for step in steps for batch in step}) > 1
        for step in steps[: per_epoch - 1]:
            # Sorted by length, then cut: no micro-batch reaches into another.
            ends = sorted((max(map(len, texts(batch))), min(map(len, texts(batch)))) for batch in step)
            assert all(longest <= shortest for (longest, _), (_, shortest) in pairwise(ends))
    other, again, _ = watched(BUCKET_SFT, folder, tmp_path, strategy, balance="sample", seed=5)
    assert [row for step in again for batch in step for row in texts(batch)] != drawn
    assert len(trainer.train_dataset) == len(other.train_dataset) == ROWS


@both
def test_rebalanced_micro_batches_are_of_like_length(kind: Kind, folder: Path, tmp_path: Path) -> None:
    _, steps, _ = watched(kind, folder, tmp_path, "batch_rebalance")
    _, random_steps, _ = watched(kind, folder, tmp_path, "random")
    assert len({len(batch["bucket"]) for step in steps for batch in step}) > 1
    padding = [
        sum(int((batch["attention_mask"] == 0).sum()) for step in found for batch in step)
        for found in (steps, random_steps)
    ]
    assert padding[0] < padding[1]
    for step in steps[:-1]:
        longest = [max(map(len, texts(batch))) for batch in step]
        shortest = [min(map(len, texts(batch))) for batch in step]
        if kind is BUCKET_SFT:
            # Sorted, then cut: no micro-batch reaches into another.
            order = sorted(range(len(step)), key=lambda at: longest[at])
            assert all(longest[a] <= shortest[b] for a, b in pairwise(order))


@both
def test_the_gradient_is_that_of_the_rows_in_one_batch(kind: Kind, folder: Path, tmp_path: Path) -> None:
    trainer, steps, gradients = watched(kind, folder, tmp_path, "batch_rebalance")
    rows = rows_of(kind)
    names = ["input_ids"] if kind is BUCKET_SFT else ["prompt_ids", "chosen_ids"]
    prepared = [tuple(token for name in names for token in row[name]) for row in trainer.train_dataset]
    offline = {"lambda_online": 0.0} if kind is HUMAN_DPO else {}
    for step, gradient in zip(steps[:2], gradients, strict=False):
        chosen = [prepared.index(row) for batch in step for row in texts(batch)]
        whole = kinds.Gradients()
        settings = {**SETTINGS, **offline, "per_device_train_batch_size": WHOLE, "gradient_accumulation_steps": 1}
        settings |= {"train_sampling_strategy": "sequential", "max_steps": 1}
        kind.train(folder, tmp_path, rows.select(chosen), given={"callbacks": [whole]}, **settings)
        assert gradient.abs().max() > 0
        assert kinds.difference(gradient, whole.steps[0]) < 1e-5
