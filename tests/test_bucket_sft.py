"""BucketSFT: a step's gradient is that of the formula, however the batch is split."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("trl", reason="training needs polyalign[train]")

import torch
from datasets import Dataset
from trl import SFTConfig, SFTTrainer

import tiny
import training
from polyalign.trainers import BucketSFT, BucketSFTConfig
from polyalign.trainers._sampler import WeightedSampler
from polyalign.trainers.conditioning import system_line
from polyalign.weights import bucket_weights

SPLITS = [(4, 1), (2, 2), (1, 4)]
FREE = {"tau": 0.0, "min_count": 0, "max_weight": 1000.0}
NEVER = math.nan


@pytest.fixture(scope="module")
def data() -> Dataset:
    return tiny.responses(12)


@pytest.fixture(scope="module")
def weighted(data: Dataset) -> Dataset:
    return data.add_column("weight", [round(0.2 + 0.37 * (at * 7 % 11), 3) for at in range(len(data))])


def step(data: Any, tmp_path: Path, split: tuple[int, int] = (4, 1), steps: int = 1, **settings: Any):
    size, accumulation = split
    given = {"per_device_train_batch_size": size, "gradient_accumulation_steps": accumulation, "max_steps": steps}
    return training.train(
        BucketSFT,
        BucketSFTConfig,
        tmp_path,
        model=tiny.model(dtype=torch.float64),
        settings={**given, **FREE, **settings},
        train_dataset=data,
    )


def weights_of(rows: list[dict[str, Any]], dataset: Dataset) -> list[float]:
    """N / (|B| n_b), or the rows' own."""
    if "weight" in dataset.column_names:
        return [row["weight"] for row in rows]
    counts = {bucket: dataset["bucket"][:].count(bucket) for bucket in set(dataset["bucket"])}
    return [len(dataset) / (len(counts) * counts[row["bucket"]]) for row in rows]


def expected(
    dataset: Dataset, *, reduction: str = "example", variant: str = "default", dft: bool = False, count: int = 4
):
    """The gradient of the first global batch."""
    rows = training.rows(dataset, count)
    weights = torch.tensor(weights_of(rows, dataset), dtype=torch.float64)
    everyone = training.rows(dataset, len(dataset))
    lengths = [
        len(training.sequence(row["prompt"], row["completion"])[0])
        - training.sequence(row["prompt"], row["completion"])[1]
        for row in everyone
    ]
    all_weights = torch.tensor(weights_of(everyone, dataset), dtype=torch.float64)

    def loss(model: Any) -> torch.Tensor:
        logps = [training.token_logps(model, row["prompt"], row["completion"]) for row in rows]
        nlls = [-(logp * logp.exp().detach() if dft else logp) for logp in logps]
        if reduction == "token":
            tokens = torch.tensor(lengths, dtype=torch.float64)
            mean = (all_weights * tokens).sum() / tokens.sum()
            return (weights * torch.stack([nll.sum() for nll in nlls])).sum() / (mean * tokens[:count].sum())
        means = torch.stack([nll.mean() for nll in nlls])
        if variant == "paper":
            return (weights * means).sum() / weights.sum()
        return (weights / all_weights.mean() * means).sum() / count

    return training.gradient_of(tiny.model(dtype=torch.float64), loss)


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("own", [False, True])
def test_gradient(data: Dataset, weighted: Dataset, tmp_path: Path, split: tuple[int, int], own: bool) -> None:
    dataset = weighted if own else data
    trainer, (found,) = step(dataset, tmp_path, split)
    assert training.error(found, expected(dataset)) < 1e-5
    assert trainer.state.log_history[0]["loss"] > 0


@pytest.mark.parametrize("split", SPLITS)
def test_paper(weighted: Dataset, tmp_path: Path, split: tuple[int, int]) -> None:
    _, (found,) = step(weighted, tmp_path, split, variant="paper")
    assert training.error(found, expected(weighted, variant="paper")) < 1e-5


@pytest.mark.parametrize("split", SPLITS)
def test_by_token(data: Dataset, weighted: Dataset, tmp_path: Path, split: tuple[int, int]) -> None:
    _, (found,) = step(weighted, tmp_path, split, reduction="token")
    assert training.error(found, expected(weighted, reduction="token")) < 1e-5


def test_dft(weighted: Dataset, tmp_path: Path) -> None:
    _, (found,) = step(weighted, tmp_path, (2, 2), loss_type="dft")
    assert training.error(found, expected(weighted, dft=True)) < 1e-5


@pytest.mark.parametrize("split", SPLITS)
def test_padding_free(weighted: Dataset, tmp_path: Path, split: tuple[int, int]) -> None:
    _, (found,) = step(weighted, tmp_path, split, padding_free=True, max_length=None)
    assert training.error(found, expected(weighted)) < 1e-5


def test_packing(weighted: Dataset, tmp_path: Path) -> None:
    """M is the mean number of examples of a global batch, and each example keeps its weight and mean loss."""
    packed = {"packing": True, "max_length": 30}
    trainer, (found,) = step(weighted, tmp_path, (1, 2), **packed)
    rows = training.rows(weighted, len(weighted))
    weights = torch.tensor(weights_of(rows, weighted), dtype=torch.float64)
    row_of = {tuple(training.sequence(row["prompt"], row["completion"])[0].tolist()): at for at, row in enumerate(rows)}
    assert len(trainer.train_dataset) < len(weighted) / 2
    examples = []
    for pack in training.rows(trainer.train_dataset, 2):
        ends = torch.tensor(pack["seq_lengths"]).cumsum(0).tolist()
        examples += [
            row_of[tuple(pack["input_ids"][end - n : end])] for end, n in zip(ends, pack["seq_lengths"], strict=True)
        ]
    mean_examples = 2 * len(weighted) / len(trainer.train_dataset)
    assert len(examples) != mean_examples

    def loss(model: Any) -> torch.Tensor:
        nll = [-training.token_logps(model, rows[at]["prompt"], rows[at]["completion"]).mean() for at in examples]
        return (weights[examples] / weights.mean() * torch.stack(nll)).sum() / mean_examples

    assert training.error(found, training.gradient_of(tiny.model(dtype=torch.float64), loss)) < 1e-5
    _, (same,) = step(weighted, tmp_path, (2, 1), **packed)
    assert training.error(same, found) < 1e-6


def test_packing_is_unbiased(weighted: Dataset, tmp_path: Path) -> None:
    """Over all packs, the mean of the batches' gradients is that of the whole data set."""
    packed = {"packing": True, "max_length": 40, "learning_rate": 0.0}
    packs = len(step(weighted, tmp_path, (1, 1), **packed)[0].train_dataset)
    _, gradients = step(weighted, tmp_path, (1, 1), steps=packs, **packed)
    whole = expected(weighted, count=len(weighted))
    assert training.error(torch.stack(gradients).mean(dim=0), whole) < 1e-5


# ------------------------------------------------------------------------------------------------------- defects


def normalised_by_micro_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """The published code's: each micro-batch is divided by its own weights, which cancel in one of one row."""
    right = BucketSFT.compute_loss

    def wrong(self: Any, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None) -> Any:
        inputs["token_weight"] = inputs["token_weight"] / inputs["weight"].mean()
        return right(self, model, inputs, return_outputs, None) / self.args.gradient_accumulation_steps

    monkeypatch.setattr(BucketSFT, "compute_loss", wrong)


def without_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    right = BucketSFT.compute_loss

    def wrong(self: Any, model: Any, inputs: Any, *rest: Any, **named: Any) -> Any:
        inputs["token_weight"] = inputs["token_weight"] / inputs["weight"][:, None].clamp(min=1e-9)
        return right(self, model, inputs, *rest, **named)

    monkeypatch.setattr(BucketSFT, "compute_loss", wrong)


def divided_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BucketSFT, "loss_is_scaled_for_ga", False)


def doubled(monkeypatch: pytest.MonkeyPatch) -> None:
    right = BucketSFT._denominator
    monkeypatch.setattr(BucketSFT, "_denominator", lambda self, shares: right(self, shares) / 2)


def by_the_batchs_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BucketSFT, "_denominator", lambda self, shares: shares["weight"].sum())


@pytest.mark.parametrize(
    "defect", [normalised_by_micro_batch, without_weights, divided_twice, doubled, by_the_batchs_mean]
)
def test_a_defect_is_seen(weighted: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, defect: Any) -> None:
    defect(monkeypatch)
    _, (found,) = step(weighted, tmp_path, (1, 4))
    assert training.error(found, expected(weighted)) > 1e-2


# ---------------------------------------------------------------------------------------------------- TRL's own


@pytest.mark.parametrize("split", [(4, 1), (2, 2)])
def test_plain_by_token_is_trls(data: Dataset, tmp_path: Path, split: tuple[int, int]) -> None:
    """With equal weights by token, losses and weights after some steps are those of SFTTrainer."""
    size, accumulation = split
    settings = {
        "per_device_train_batch_size": size,
        "gradient_accumulation_steps": accumulation,
        "max_steps": 3,
        "learning_rate": 0.1,
    }
    plain, _ = training.train(
        SFTTrainer, SFTConfig, tmp_path, model=tiny.model(), settings=settings, train_dataset=data
    )
    ours, _ = training.train(
        BucketSFT,
        BucketSFTConfig,
        tmp_path,
        model=tiny.model(),
        settings={**settings, "tau": 1.0, "reduction": "token"},
        train_dataset=data,
    )
    for a, b in zip(plain.model.parameters(), ours.model.parameters(), strict=True):
        torch.testing.assert_close(a, b)
    theirs, found = plain.state.log_history, ours.state.log_history
    for old, new in zip(theirs[:-1], found[:-1], strict=True):
        # TRL averages the micro-batches' entropies and accuracies; ours are means over tokens.
        means = ("entropy", "mean_token_accuracy") if accumulation == 1 else ()
        for name in ("loss", "grad_norm", "num_tokens", *means):
            assert new[name] == pytest.approx(old[name], rel=1e-4, abs=1e-6), name


# ---------------------------------------------------------------------------------------------------- evaluation


@pytest.mark.parametrize(("size", "tau"), [(1, 0.0), (3, 0.5), (16, 1.0)])
def test_evaluation_loss(data: Dataset, tmp_path: Path, size: int, tau: float) -> None:
    """It is the macro mean over the whole set, for any batch size and weighting; the plain mean is beside it."""
    held_out = tiny.responses(13, seed=5)
    trainer, _ = step(data, tmp_path, learning_rate=0.0, per_device_eval_batch_size=size, tau=tau)
    found = trainer.evaluate(held_out)
    model = tiny.model(dtype=torch.float64)
    with torch.no_grad():
        nll = [-training.token_logps(model, row["prompt"], row["completion"]).mean().item() for row in held_out]
    by_bucket: dict[str, list[float]] = {}
    for row, loss in zip(held_out, nll, strict=True):
        by_bucket.setdefault(row["bucket"], []).append(loss)
    means = {bucket: sum(losses) / len(losses) for bucket, losses in by_bucket.items()}
    assert found["eval_loss"] == pytest.approx(sum(means.values()) / len(means), rel=1e-5)
    assert found["eval_sft/loss"] == pytest.approx(sum(nll) / len(nll), rel=1e-5)
    for bucket, mean in means.items():
        assert found[f"eval_sft/loss/{bucket}"] == pytest.approx(mean, rel=1e-5)


def test_evaluation_has_the_shares_of_training(weighted: Dataset, tmp_path: Path) -> None:
    trainer, _ = step(weighted, tmp_path, learning_rate=0.0)
    held_out = tiny.responses(13, seed=5).add_column("weight", [1.0] * 13)
    found = trainer.evaluate(held_out)
    shares: dict[str, float] = {}
    for row in weighted:
        shares[row["bucket"]] = shares.get(row["bucket"], 0) + row["weight"]
    means = {name.rsplit("/", 1)[1]: value for name, value in found.items() if name.startswith("eval_sft/loss/")}
    whole = sum(shares[bucket] for bucket in means)
    assert found["eval_loss"] == pytest.approx(sum(shares[b] * mean for b, mean in means.items()) / whole, rel=1e-6)


# ----------------------------------------------------------------------------------------------------------- logs


def test_logs_by_bucket(data: Dataset, tmp_path: Path) -> None:
    trainer, _ = step(data, tmp_path, (2, 2), steps=2, learning_rate=0.0)
    rows, model = training.rows(data, 8), tiny.model(dtype=torch.float64)
    for at, logged in enumerate(trainer.state.log_history[:2]):
        batch = rows[4 * at : 4 * at + 4]
        seen = {row["bucket"] for row in batch}
        assert {name.rsplit("/", 1)[1] for name in logged if name.startswith("sft/loss/")} == seen
        for bucket in seen:
            nll = [
                -training.token_logps(model, row["prompt"], row["completion"]).mean().item()
                for row in batch
                if row["bucket"] == bucket
            ]
            assert logged[f"sft/loss/{bucket}"] == pytest.approx(sum(nll) / len(nll), rel=1e-5)
            assert logged[f"sft/weight/{bucket}"] == pytest.approx(trainer.bucket_weights.weights[bucket])
            assert logged[f"sft/truncated/{bucket}"] == 0


def test_truncation_is_logged_and_counted(data: Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    lengths = [len(training.sequence(row["prompt"], row["completion"])[0]) for row in data]
    starts = [training.sequence(row["prompt"], row["completion"])[1] for row in data]
    limit = sorted(starts)[-2]
    dropped = sum(start >= limit for start in starts)
    assert dropped
    trainer, _ = step(data, tmp_path, (12, 1), max_length=limit)
    assert len(trainer.train_dataset) == len(data) - dropped
    assert f"{dropped} of 12 rows of the train data set do not train: {dropped}: the prompt fills" in caplog.text
    cut = sum(start < limit < length for start, length in zip(starts, lengths, strict=True))
    assert trainer.state.log_history[0]["sft/truncated"] == pytest.approx(cut / (len(data) - dropped))
    counted = sum(trainer.bucket_weights.counts.values())
    assert counted == len(data) - dropped


# -------------------------------------------------------------------------------------------------------- sampling


def test_balance_by_sampling(tmp_path: Path) -> None:
    """All buckets are drawn alike, weights in the loss are 1, and epochs differ."""
    data = tiny.responses(400)
    settings = {"balance": "sample", "train_sampling_strategy": "random", "weight_mean": 2.0}
    trainer, gradients = step(data, tmp_path, (2, 1), steps=2, **settings)
    sampler = trainer._get_train_sampler()
    drawn = [list(sampler), list(sampler)]
    assert drawn[0] == drawn[1]
    sampler.set_epoch(1)
    assert list(sampler) != drawn[0]
    buckets = [data[at]["bucket"] for at in drawn[0]]
    shares = {bucket: buckets.count(bucket) / len(buckets) for bucket in set(data["bucket"])}
    assert len(shares) == 4
    assert trainer.state.log_history[0]["sft/weight"] == 1
    assert all(0.17 < share < 0.33 for share in shares.values())
    first = [data[at] for at in drawn[0][:2]]

    def loss(model: Any) -> torch.Tensor:
        return torch.stack(
            [-training.token_logps(model, row["prompt"], row["completion"]).mean() for row in first]
        ).mean()

    assert training.error(gradients[0], training.gradient_of(tiny.model(dtype=torch.float64), loss)) < 1e-5


@pytest.mark.parametrize("weights", [[1.0] * 10, [0.3] * 50 + [0.9] * 20 + [4.5] * 7, [0.0] * 3 + [1e-3] * 40 + [2.0]])
def test_rows_are_drawn_as_often_as_they_weigh_but_for_a_part_of_a_draw(weights: list[float]) -> None:
    times = np.array(weights) / np.mean(weights)
    sampler = WeightedSampler(weights, seed=3)
    orders, found = [], np.zeros(len(weights))
    for epoch in range(300):
        sampler.set_epoch(epoch)
        orders.append(list(sampler))
        counts = np.bincount(orders[-1], minlength=len(weights))
        found += counts / 300
        assert counts.sum() == len(weights) == len(sampler)
        assert (np.abs(counts - times) < 1).all()
        for weight in set(weights):  # so buckets have their share in every epoch
            alike = np.array(weights) == weight
            assert abs(counts[alike].sum() - times[alike].sum()) < 1 + 1e-9
    assert orders[0] != sorted(orders[0]) and orders[0] != orders[1]
    # Over epochs all rows of a weight come alike.
    np.testing.assert_allclose(found, times, atol=4 * np.sqrt(0.25 / 300))


GROUPED = "train_sampling_strategy='group_by_length' has its own order"
BY_ITSELF = [
    ({"train_sampling_strategy": "random"}, "sample", None),
    ({"train_sampling_strategy": "batch_rebalance"}, "sample", None),
    ({"train_sampling_strategy": "random", "reduction": "token"}, "sample", None),
    ({"train_sampling_strategy": "random", "variant": "paper"}, "weight", None),
    ({"train_sampling_strategy": "random", "balance": "weight"}, "weight", None),
    ({"train_sampling_strategy": "sequential"}, "weight", "train_sampling_strategy='sequential' has its own order"),
    ({"train_sampling_strategy": "group_by_length"}, "weight", GROUPED),
    ({"packing": True, "max_length": 40}, "weight", "packing=True fixes which rows are together"),
    ({"train_sampling_strategy": "sequential", "tau": 1.0}, "weight", None),
]


@pytest.mark.parametrize(("settings", "balance", "told"), BY_ITSELF)
def test_rows_are_drawn_where_they_can_be(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, settings: dict[str, Any], balance: str, told: str | None
) -> None:
    uneven = tiny.responses(12, buckets=("en|single|qa|short", "fr|single|qa|short", "en|single|qa|short"))
    args = BucketSFTConfig(output_dir=str(tmp_path), bf16=False, use_cpu=True, min_count=0, **settings)
    trainer = BucketSFT(tiny.model(), args, train_dataset=uneven, processing_class=tiny.tokenizer())
    assert trainer.balance == balance
    said = [record.getMessage() for record in caplog.records if "rows are not drawn" in record.getMessage()]
    assert said == ([] if told is None else [f"buckets are weighted in the loss, rows are not drawn: {told}"])
    batch = next(iter(trainer.get_train_dataloader()))
    assert (trainer.drawing is None) == (balance == "weight")
    if balance == "sample":
        assert set(batch["weight"].tolist()) == {1}
        assert re.fullmatch(
            r"Rows are drawn by weight: an epoch of 12 draws has 1[0-2] rows, some up to 2 times\.",
            trainer.drawing or "",
        )
    elif settings.get("tau") != 1:
        assert set(batch["weight"].tolist()) != {1}


def test_weights_of_their_own_and_streams_are_not_drawn(
    data: Dataset, weighted: Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    args = BucketSFTConfig(output_dir=str(tmp_path), bf16=False, use_cpu=True, max_steps=2)
    given = {"processing_class": tiny.tokenizer()}
    assert BucketSFT(tiny.model(), args, train_dataset=weighted, **given).balance == "weight"
    assert "rows are not drawn" not in caplog.text  # that they weigh is what was asked for
    counts = {bucket: 1000 * (at + 1) for at, bucket in enumerate(sorted(set(data["bucket"])))}
    stream = BucketSFT(tiny.model(), args, train_dataset=data.to_iterable_dataset(), bucket_counts=counts, **given)
    assert stream.balance == "weight"
    assert "rows are not drawn: the training data set streams" in caplog.text
    # Counts of a larger corpus say how rare a bucket is, here as there.
    drawn = BucketSFT(tiny.model(), args, train_dataset=data, bucket_counts=counts, **given)
    assert drawn.balance == "sample"
    weights = drawn.train_dataset.with_format("numpy")["weight"][:]
    expected = [bucket_weights(counts).weights[bucket] for bucket in data["bucket"]]
    np.testing.assert_allclose(weights, np.array(expected) / np.mean(expected))


def test_the_noise_of_weights_is_said_where_they_weigh(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rare = tiny.responses(40, buckets=("en|single|qa|short",) * 4 + ("fr|single|qa|short",))
    assert rare["bucket"][:].count("fr|single|qa|short") == 4
    for balance, told in (("weight", True), ("sample", False)):
        caplog.clear()
        args = BucketSFTConfig(
            output_dir=str(tmp_path), bf16=False, use_cpu=True, min_count=0, tau=0, max_weight=100, balance=balance
        )
        BucketSFT(tiny.model(), args, train_dataset=rare, processing_class=tiny.tokenizer())
        assert ("the weights leave an effective sample of" in caplog.text) is told


# ------------------------------------------------------------------------------------------------------- streaming


def test_streaming_with_counts(data: Dataset, tmp_path: Path) -> None:
    counts = {bucket: data["bucket"][:].count(bucket) for bucket in set(data["bucket"])}
    trainer, (found,) = training.train(
        BucketSFT,
        BucketSFTConfig,
        tmp_path,
        model=tiny.model(dtype=torch.float64),
        settings={"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2, "max_steps": 1, **FREE},
        train_dataset=data.to_iterable_dataset(),
        bucket_counts=counts,
    )
    assert training.error(found, expected(data)) < 1e-5
    assert any(name.startswith("sft/loss/en|") for name in trainer.state.log_history[0])


def test_streaming_with_weights(weighted: Dataset, tmp_path: Path) -> None:
    mean = sum(weighted["weight"][:]) / len(weighted)
    _, (found,) = step(weighted.to_iterable_dataset(), tmp_path, (2, 2), weight_mean=mean)
    assert training.error(found, expected(weighted)) < 1e-5


def test_streaming_needs_one_of_them(data: Dataset, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"streams: rows of a stream can't be drawn, use balance='weight'"):
        step(data.to_iterable_dataset(), tmp_path, balance="sample", train_sampling_strategy="random")
    with pytest.raises(ValueError, match=r"streams: weights need bucket_counts .* or a column 'weight'"):
        step(data.to_iterable_dataset(), tmp_path)


# ---------------------------------------------------------------------------------------------------- conditioning


def test_conditioning(data: Dataset, tmp_path: Path) -> None:
    trainer, _ = step(data, tmp_path, conditioning="{family} {length}")
    row = trainer.train_dataset[0]
    parts = data[0]["bucket"].split("|")
    assert row["prompt"][0] == {"role": "system", "content": f"{parts[2]} {parts[3]}"}
    assert tiny.tokenizer().convert_ids_to_tokens(row["input_ids"][0]) == "<|system|>"
    with pytest.raises(ValueError, match=r"\{style\} is no part of .* and no column of texts"):
        step(data, tmp_path, conditioning="{style}")
    # Which part is the family is not known of three.
    assert system_line("{language}", "en|qa|short") == "en"
    with pytest.raises(ValueError, match=r"\{family\} is no part of 'en\|qa\|short' and no column of texts"):
        step(tiny.responses(8, buckets=("en|qa|short",)), tmp_path, conditioning="{family}")
    tokens = {"input_ids": [[3, 6, 4, 7, 1]] * 4, "labels": [[-100, -100, -100, 7, 1]] * 4}
    ready = Dataset.from_dict({**tokens, "bucket": data["bucket"][:4]})
    with pytest.raises(ValueError, match="conditioning: the train data set has input_ids"):
        step(ready, tmp_path, conditioning="{family}")


# -------------------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"packing": True, "packing_strategy": "wrapped"}, "packing_strategy='wrapped'"),
        ({"packing": True, "packing_strategy": "bfd_split"}, "packing_strategy='bfd_split'"),
        ({"label_smoothing_factor": 0.1}, "label_smoothing_factor"),
        ({"completion_only_loss": False}, "completion_only_loss=False"),
        ({"eval_packing": True}, "eval_packing=True"),
        ({"dataset_kwargs": {"skip_prepare_dataset": True}}, "skip_prepare_dataset"),
        ({"balance": "sample", "packing": True}, "balance='sample'"),
        ({"balance": "sample", "train_sampling_strategy": "group_by_length"}, "balance='sample'"),
    ],
)
def test_refused(data: Dataset, tmp_path: Path, settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match="BucketSFT does not take") as error:
        step(data, tmp_path, **settings)
    assert told in str(error.value)


def test_refused_functions(data: Dataset, tmp_path: Path) -> None:
    args = BucketSFTConfig(output_dir=str(tmp_path), bf16=False, use_cpu=True)
    for name in ("compute_loss_func", "formatting_func"):
        with pytest.raises(ValueError, match=f"BucketSFT does not take {name}: "):
            BucketSFT(tiny.model(), args, train_dataset=data, processing_class=tiny.tokenizer(), **{name: str})


def test_context_parallelism_is_refused() -> None:
    from types import SimpleNamespace

    from polyalign.trainers._base import refuse_sequence_parallelism

    for split in ("cp_enabled", "sp_enabled"):
        config = SimpleNamespace(**{"cp_enabled": False, "sp_enabled": False, split: True})
        with pytest.raises(ValueError, match="context or sequence parallelism"):
            refuse_sequence_parallelism("BucketSFT", SimpleNamespace(parallelism_config=config))


def test_vision_is_refused(data: Dataset, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"trains on text, but the data set has a column 'images'"):
        step(data.add_column("images", [[]] * len(data)), tmp_path)


def test_untested_trl() -> None:
    from polyalign.trainers._trl import check_trl

    for version in ("1.15.2", "1.17.0", "2.0"):
        with pytest.raises(ImportError, match=rf"trl {version}: .* pip install 'trl>=1.16,<1.17'"):
            check_trl(version)


@pytest.mark.parametrize(
    ("name", "value"),
    [("tau", 1.5), ("tau", NEVER), ("reduction", "sum"), ("balance", "x"), ("max_weight", 0.5), ("min_count", -1)],
)
def test_settings(tmp_path: Path, name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"^{name}="):
        BucketSFTConfig(output_dir=str(tmp_path), bf16=False, **{name: value})


# ----------------------------------------------------------------------------------------------------- bad input


def test_no_buckets(data: Dataset, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the train data set has no column 'bucket'"):
        step(data.remove_columns("bucket"), tmp_path)
    with pytest.raises(ValueError, match="column 'bucket' holds 3: a bucket's id is text"):
        step(data.remove_columns("bucket").add_column("bucket", [3] * len(data)), tmp_path)


def test_the_buckets_that_are_cut_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    long, cut = "A long question, to be cut with its answer", "A long answer, to be cut"
    exchanges = [
        *[("Q", "A", "en|single|qa|short")] * 2,
        *[("Q", cut, "en|single|qa|long")] * 3,
        *[(long, "A", f"{language}|single|qa|long") for language in ("en", "fr")],
    ]
    rows = [
        {
            "prompt": [{"role": "user", "content": prompt}],
            "completion": [{"role": "assistant", "content": response}],
            "bucket": bucket,
        }
        for prompt, response, bucket in exchanges * 2
    ]
    step(Dataset.from_list(rows), tmp_path, (2, 1), max_length=10)
    told = (
        "max_length=10 cuts the end of 10 of 14 rows of the train data set, of which 4 do not train: "
        "en|single|qa|long 8 of 8 (2), fr|single|qa|long 2 of 2 (2)\n"
    )
    assert told in caplog.text
    caplog.clear()
    step(Dataset.from_list(rows), tmp_path, (2, 1), max_length=10, truncation_mode="keep_end")
    assert (
        "max_length=10 cuts the start of 10 of 14 rows of the train data set: en|single|qa|long 8 of 8," in caplog.text
    )
    caplog.clear()
    step(Dataset.from_list(rows), tmp_path, (2, 1), max_length=500)
    assert "max_length" not in caplog.text


def test_rows_without_bucket(data: Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    buckets = [None, *data["bucket"][1:]]
    trainer, _ = step(data.remove_columns("bucket").add_column("bucket", buckets), tmp_path)
    assert len(trainer.train_dataset) == len(data) - 1
    assert "1 of 12 rows of the train data set do not train: 1: no bucket" in caplog.text


def test_rows_that_have_no_weight_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Of counts given, or in an evaluation: rows of a language that was not counted."""
    rows = tiny.responses(24)
    foreign = rows["bucket"][:].count("zh|single|qa|short")
    counts = {bucket: 30 for bucket in tiny.BUCKETS if bucket.startswith("en")}

    def trained(counted: dict[str, int]) -> Any:
        given = {"per_device_train_batch_size": 4, "max_steps": 1}
        return training.train(
            BucketSFT,
            BucketSFTConfig,
            tmp_path,
            model=tiny.model(),
            settings=given,
            train_dataset=rows,
            bucket_counts=counted,
        )[0]

    trainer = trained(counts)
    assert len(trainer.train_dataset) == len(rows) - foreign < len(rows)
    assert f"{foreign} of 24 rows of the train data set do not train: {foreign}: no row of the language" in caplog.text
    trainer.evaluate(tiny.responses(6, buckets=("en|single|qa|short", "fr|single|qa|short")))
    assert "rows of the eval data set do not train" in caplog.text
    with pytest.raises(ValueError, match="24 of 24 rows of the train data set do not train"):
        trained({"fr|single|qa|short": 30})


@pytest.mark.parametrize("weight", [math.nan, math.inf, -1.0])
def test_bad_weights(weighted: Dataset, tmp_path: Path, weight: float) -> None:
    weights = [*weighted["weight"][:5], weight, *weighted["weight"][6:]]
    with pytest.raises(ValueError, match="column 'weight', row 5 of those that train"):
        step(weighted.remove_columns("weight").add_column("weight", weights), tmp_path)


def test_weights_all_zero(weighted: Dataset, tmp_path: Path) -> None:
    zeros = weighted.remove_columns("weight").add_column("weight", [0.0] * len(weighted))
    with pytest.raises(ValueError, match="all weights are 0"):
        step(zeros, tmp_path)


def test_no_response(data: Dataset, tmp_path: Path) -> None:
    texts = Dataset.from_dict({"text": ["yes no"] * 4, "bucket": data["bucket"][:4]})
    messages = Dataset.from_dict(
        {
            "messages": [[*row["prompt"], *row["completion"]] for row in data],
            "bucket": data["bucket"][:],
        }
    )
    for dataset in (texts, messages, data.remove_columns("prompt")):
        with pytest.raises(ValueError, match="does not say which text is the response"):
            step(dataset, tmp_path)
    _, (found,) = step(messages, tmp_path, assistant_only_loss=True)
    assert training.error(found, expected(data)) < 1e-5


def test_everything_too_long(data: Dataset, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match="12 of 12 rows of the train data set do not train: 12: the prompt fills max_length=2"
    ):
        step(data, tmp_path, max_length=2)


def test_own_weights_are_told(weighted: Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    step(weighted, tmp_path)
    assert "the data set has a column 'weight': weights are not computed" in caplog.text


def test_small_buckets_and_cap(tmp_path: Path) -> None:
    """The weights are those of polyalign.weights, counted on the rows that train."""
    data = tiny.responses(80)
    trainer, _ = step(data, tmp_path, min_count=10, max_weight=1.5, tau=0.25)
    counts = {bucket: data["bucket"][:].count(bucket) for bucket in set(data["bucket"])}
    weights = bucket_weights(counts, tau=0.25, min_count=10, max_weight=1.5)
    assert trainer.bucket_weights.weights == weights.weights
    assert trainer.weight_mean == pytest.approx(weights.mean)


SKEWED = {bucket: 10**at for at, bucket in enumerate(tiny.BUCKETS, 2)}


@pytest.mark.parametrize(("reduction", "counts"), [("example", None), ("example", SKEWED), ("token", None)])
def test_no_row_that_trains_counts_more_than_max_weight(
    tmp_path: Path, reduction: str, counts: dict[str, int] | None
) -> None:
    """Relative to plain SFT: the mean over the rows (or tokens) that train is 1, also where others were counted."""
    data = tiny.responses(60)
    rare = [at for at in range(60) if data[at]["bucket"] == tiny.BUCKETS[0]][1:]
    data = data.select([at for at in range(60) if at not in rare])
    settings = {"tau": 0.0, "min_count": 0, "max_weight": 2.5, "reduction": reduction, "max_steps": 1}
    trainer, _ = training.train(
        BucketSFT, BucketSFTConfig, tmp_path, model=tiny.model(), settings=settings, train_dataset=data,
        bucket_counts=counts,
    )  # fmt: skip
    weights = np.array(trainer.train_dataset["weight"][:])
    sizes = np.array(trainer.train_dataset["response_tokens"][:]) if reduction == "token" else np.ones(len(weights))
    assert weights.max() <= 2.5
    assert (weights * sizes).sum() / sizes.sum() == pytest.approx(1)


def test_defaults(tmp_path: Path) -> None:
    assert BucketSFTConfig(output_dir=str(tmp_path), bf16=False).tau == 0.75
    assert BucketSFTConfig(output_dir=str(tmp_path), bf16=False, variant="paper").tau == 0


@pytest.mark.parametrize(("tau", "is_said"), [(0.0, True), (1.0, False)])
def test_a_small_effective_sample_is_told(
    tmp_path: Path, tau: float, is_said: bool, caplog: pytest.LogCaptureFixture
) -> None:
    common = [row for row in tiny.responses(400) if row["bucket"] == tiny.BUCKETS[0]][:90]
    data = Dataset.from_list([*common, {**common[0], "bucket": tiny.BUCKETS[1]}])
    trainer, _ = step(data, tmp_path, tau=tau)
    effective = trainer.bucket_weights.effective_sample_size
    told = f"the weights leave an effective sample of {effective:,.0f} of 91 rows: a larger tau (it is 0)"
    assert (told in caplog.text) == is_said == (2 * effective < 91)
