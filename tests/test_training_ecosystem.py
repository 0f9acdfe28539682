"""What a user of TRL has keeps working: models, adapters, precision, checkpoints, evaluation, loggers, launchers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl", reason="training needs polyalign[train]: pip install 'polyalign[train]'")

import torch
from peft import LoraConfig, PeftModel, PrefixTuningConfig, PromptTuningConfig, TaskType, get_peft_model
from transformers import AutoModelForCausalLM, TrainerCallback

import humans
import kinds
import tiny
from kinds import BOTH, BUCKET_SFT, HUMAN_DPO, Kind
from polyalign import Reference
from polyalign.trainers import HDPO, BucketSFT

LORA = LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"], task_type=TaskType.CAUSAL_LM)

both = pytest.mark.parametrize("kind", BOTH)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved model and its tokenizer."""
    return tiny.save(tmp_path_factory.mktemp("model"), tiny.model())


@pytest.fixture(scope="module")
def mixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save(tmp_path_factory.mktemp("mixture"), tiny.experts())


def loaded(folder: Path, **settings: Any) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, **settings)


# --------------------------------------------------------------------------------------------------------- models


@both
def test_a_model_by_path_trains_as_the_object(kind: Kind, folder: Path, tmp_path: Path) -> None:
    by_path, by_object = (kind.train(model, tmp_path) for model in (folder, loaded(folder)))
    assert by_path.processing_class.get_vocab() == tiny.tokenizer().get_vocab()
    assert kinds.losses(by_path) == kinds.losses(by_object)
    assert not kinds.changed(kinds.weights(by_path.model), kinds.weights(by_object.model))


@both
def test_model_init_kwargs(kind: Kind, folder: Path, tmp_path: Path) -> None:
    settings = {"dtype": "bfloat16", "attn_implementation": "eager"}
    trainer = kind.train(folder, tmp_path, model_init_kwargs=settings)
    assert trainer.model.dtype == torch.bfloat16
    assert trainer.model.config._attn_implementation == "eager"
    assert all(math.isfinite(loss) for loss in kinds.losses(trainer))


@both
def test_bf16_autocasts(kind: Kind, folder: Path, tmp_path: Path) -> None:
    exact, rounded = (kind.train(folder, tmp_path, bf16=bf16) for bf16 in (False, True))
    assert all(weight.dtype == torch.float32 for weight in rounded.model.parameters())
    assert kinds.losses(rounded) != kinds.losses(exact)
    assert kinds.losses(rounded)[0] == pytest.approx(kinds.losses(exact)[0], rel=0.05)


@pytest.mark.parametrize("adapter", [False, True])
@both
def test_gradient_checkpointing_changes_nothing_and_stays_on(
    kind: Kind, folder: Path, tmp_path: Path, adapter: bool
) -> None:
    seen: list[bool] = []
    more = {"peft_config": LORA} if adapter else {}

    class Watch(TrainerCallback):
        def on_step_end(self, *_: Any, model: Any = None, **__: Any) -> None:
            kind_of = "activation" if hasattr(model, "is_activation_checkpointing") else "gradient"
            seen.append(getattr(model, f"is_{kind_of}_checkpointing"))

    on, off = (
        kind.train(folder, tmp_path, given={"callbacks": [Watch()], **more}, gradient_checkpointing=given, max_steps=3)
        for given in (True, False)
    )
    # The second step samples, for which it is off.
    assert seen == [True] * 3 + [False] * 3
    assert "hdpo/online_score" in kinds.logged(on)[1] or kind is BUCKET_SFT
    assert kinds.losses(on) == pytest.approx(kinds.losses(off), rel=1e-5)


@both
def test_a_saved_model_loads(kind: Kind, folder: Path, tmp_path: Path) -> None:
    trainer = kind.train(folder, tmp_path)
    trainer.save_model(str(tmp_path / "saved"))
    again = kind.make(tmp_path / "saved", tmp_path)
    assert not kinds.changed(kinds.weights(trainer.model), kinds.weights(again.model))
    ids = again.processing_class("yes no the", return_tensors="pt")
    assert again.model.generate(**ids, max_new_tokens=2, do_sample=False).shape[0] == 1


# --------------------------------------------------------------------------------------------------------- experts


@pytest.mark.parametrize("split", [(4, 1), (2, 2)])
@both
def test_experts_are_balanced_as_in_trl(kind: Kind, mixture: Path, tmp_path: Path, split: tuple[int, int]) -> None:
    size, steps = split
    settings = {
        "per_device_train_batch_size": size,
        "gradient_accumulation_steps": steps,
        "train_sampling_strategy": "sequential",
        "max_steps": 1,
        "max_grad_norm": 0.0,
    }
    ours, trls = kinds.Gradients(), kinds.Gradients()
    trainer = kind.train(mixture, tmp_path, given={"callbacks": [ours]}, **{**kind.plain, **settings})
    peer = kind.train_trl(mixture, tmp_path, given={"callbacks": [trls]}, **settings)
    assert trainer.aux_loss_enabled
    assert kinds.difference(ours.steps[0], trls.steps[0]) < 1e-5
    assert kinds.logged(trainer, "aux_loss")[0] == pytest.approx(kinds.logged(peer, "aux_loss")[0], rel=1e-5)
    assert kinds.losses(trainer) == pytest.approx(kinds.losses(peer), rel=1e-5)


def test_experts_are_sampled_from(mixture: Path, tmp_path: Path) -> None:
    trainer = HUMAN_DPO.train(mixture, tmp_path)
    assert [math.isfinite(entry["hdpo/online_score"]) for entry in kinds.logged(trainer)[1:]] == [True]


# -------------------------------------------------------------------------------------------------------- adapters


@both
def test_lora_trains_the_adapter_alone(kind: Kind, folder: Path, tmp_path: Path) -> None:
    trainer = kind.make(folder, tmp_path, given={"peft_config": LORA}, max_steps=4)
    before = kinds.weights(trainer.model)
    trainer.train()
    changed = kinds.changed(before, kinds.weights(trainer.model))
    assert changed and all("lora_" in name for name in changed)
    assert kind is BUCKET_SFT or "hdpo/online_score" in kinds.logged(trainer)[1]
    trainer.save_model(str(tmp_path / "adapter"))
    again = PeftModel.from_pretrained(loaded(folder), tmp_path / "adapter")
    ids = torch.tensor([[6, 7, 8]])
    torch.testing.assert_close(again(ids).logits, trainer.model.eval()(ids).logits)


@both
def test_a_peft_model_trains_on(kind: Kind, folder: Path, tmp_path: Path) -> None:
    trainer = kind.make(adapted(folder), tmp_path, max_steps=4)
    before = kinds.weights(trainer.model)
    trainer.train()
    changed = kinds.changed(before, kinds.weights(trainer.model))
    assert changed and all("lora_" in name and ".default." in name for name in changed)


def adapted(folder: Path) -> Any:
    """A model with an adapter that says something."""
    torch.manual_seed(1)
    model = get_peft_model(loaded(folder), LORA)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.3)
    return model


@pytest.mark.parametrize("precompute", [False, True])
@pytest.mark.parametrize("given", ["peft_config", "PeftModel", "PeftModel and ref_model"])
def test_the_reference_of_an_adapter_is_trls(folder: Path, tmp_path: Path, given: str, precompute: bool) -> None:
    settings = {"train_sampling_strategy": "sequential", "max_steps": 3, "precompute_ref_log_probs": precompute}
    found: list[Any] = []
    for train in (HUMAN_DPO.train, HUMAN_DPO.train_trl):
        more = HUMAN_DPO.plain if not found else {}
        gradients = kinds.Gradients()
        rest: dict[str, Any] = {"callbacks": [gradients]}
        if given == "peft_config":
            rest["peft_config"] = LORA
        if given == "PeftModel and ref_model":
            rest["ref_model"] = tiny.model(seed=5)
        model = loaded(folder) if given == "peft_config" else adapted(folder)
        trainer = train(model, tmp_path, given=rest, **{**more, **settings})
        found.append((kinds.logged(trainer, "loss", "rewards/chosen", "rewards/margins"), gradients.steps))
    for ours, trls in zip(*(logs for logs, _ in found), strict=True):
        assert ours == pytest.approx(trls, rel=1e-4, abs=1e-6)
    for ours, trls in zip(*(steps for _, steps in found), strict=True):
        assert kinds.difference(ours, trls) < 1e-4


PROMPTS = [
    pytest.param(PromptTuningConfig(task_type=TaskType.CAUSAL_LM, num_virtual_tokens=3), id="prompt"),
    pytest.param(PrefixTuningConfig(task_type=TaskType.CAUSAL_LM, num_virtual_tokens=3), id="prefix"),
]


@pytest.mark.parametrize("config", PROMPTS)
@both
def test_prompt_learning(kind: Kind, folder: Path, tmp_path: Path, config: Any) -> None:
    settings = {"train_sampling_strategy": "sequential", "gradient_checkpointing": False, "max_steps": 3}
    trainer = kind.make(folder, tmp_path, given={"peft_config": config}, **settings)
    before = kinds.weights(trainer.model)
    trainer.train()
    changed = kinds.changed(before, kinds.weights(trainer.model))
    assert changed and all("prompt_encoder" in name or "prompt_embeddings" in name for name in changed)
    plain = kind.train(folder, tmp_path, given={"peft_config": config}, **{**settings, **kind.plain})
    peer = kind.train_trl(folder, tmp_path, given={"peft_config": config}, **settings)
    assert kinds.losses(plain) == pytest.approx(kinds.losses(peer), rel=1e-4)


# --------------------------------------------------------------------------------------------------- checkpoints

RESUMED = [
    pytest.param(BUCKET_SFT, {}, id="sft"),
    pytest.param(BUCKET_SFT, {"balance": "weight"}, id="sft-weight"),
    pytest.param(BUCKET_SFT, {"train_sampling_strategy": "batch_rebalance"}, id="sft-batch_rebalance"),
    pytest.param(BUCKET_SFT, {"packing": True, "max_length": 64}, id="sft-packed"),
    pytest.param(HUMAN_DPO, {}, id="hdpo"),
    pytest.param(HUMAN_DPO, {"train_sampling_strategy": "batch_rebalance"}, id="hdpo-batch_rebalance"),
    pytest.param(HUMAN_DPO, {"precompute_ref_log_probs": True}, id="hdpo-precomputed"),
]


@pytest.mark.parametrize(("kind", "settings"), RESUMED)
def test_resuming_goes_on_as_if_nothing_had_been(
    kind: Kind, settings: dict[str, Any], folder: Path, tmp_path: Path
) -> None:
    # An epoch has six steps: the rest of the first and some of the next.
    settings = {**settings, "max_steps": 9, "save_strategy": "steps", "save_steps": 4}
    whole = kind.train(folder, tmp_path / "whole", **settings)
    again = kind.make(folder, tmp_path / "again", **settings)
    again.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-4"))
    assert len(kinds.losses(again)) == 9
    told = [set(entry) for entry in kinds.logged(whole)]
    assert [set(entry) for entry in kinds.logged(again)] == told
    changing = {"num_tokens", "hdpo/online_seconds", "hdpo/online_sampling_seconds"}
    for ours, expected in zip(kinds.logged(again), kinds.logged(whole), strict=True):
        assert {name: ours[name] for name in set(ours) - changing} == {
            name: expected[name] for name in set(expected) - changing
        }
    assert not kinds.changed(kinds.weights(again.model), kinds.weights(whole.model))


@both
def test_a_stream_resumes(kind: Kind, folder: Path, tmp_path: Path) -> None:
    stream, counts = streams(kind)
    given = {"bucket_counts": counts}
    settings = {"max_steps": 6, "save_strategy": "steps", "save_steps": 2}
    whole, again = (kind.make(folder, tmp_path / name, stream, given=given, **settings) for name in "ab")
    whole.train()
    again.train(resume_from_checkpoint=str(tmp_path / "a" / "checkpoint-2"))
    assert kinds.losses(again) == kinds.losses(whole)


def test_an_adapter_resumes(folder: Path, tmp_path: Path) -> None:
    settings = {"max_steps": 6, "save_strategy": "steps", "save_steps": 3}
    whole, again = (HUMAN_DPO.make(folder, tmp_path / name, given={"peft_config": LORA}, **settings) for name in "ab")
    whole.train()
    again.train(resume_from_checkpoint=str(tmp_path / "a" / "checkpoint-3"))
    assert kinds.losses(again) == kinds.losses(whole)


@both
def test_the_best_model_is_loaded_at_the_end(kind: Kind, folder: Path, tmp_path: Path) -> None:
    settings = {
        "max_steps": 3,
        "eval_strategy": "steps",
        "eval_steps": 1,
        "save_strategy": "best",
        "load_best_model_at_end": True,
        "metric_for_best_model": f"eval_{kind.prefix}/loss",
        "greater_is_better": False,
    }
    trainer = kind.make(folder, tmp_path, given={"eval_dataset": kind.data(12, seed=1)}, **settings)
    trainer.train()
    found = [entry[f"eval_{kind.prefix}/loss"] for entry in trainer.state.log_history if "eval_loss" in entry]
    assert len(found) == 3
    assert trainer.state.best_metric == min(found)
    assert trainer.evaluate()[f"eval_{kind.prefix}/loss"] == pytest.approx(min(found), rel=1e-6)


# ---------------------------------------------------------------------------------------------------- evaluation


@both
def test_evaluation_of_sets_given_then_and_there(kind: Kind, folder: Path, tmp_path: Path) -> None:
    one, other = kind.data(13, seed=1), kind.data(11, seed=2)
    trainer = kind.make(folder, tmp_path, given={"eval_dataset": {"one": one, "other": other}})
    known = trainer.evaluate()
    assert {"eval_one_loss", "eval_other_loss", f"eval_one_{kind.prefix}/loss"} <= set(known)
    given = trainer.evaluate({"one": one, "other": other})
    alone = trainer.evaluate(one)
    named = trainer.evaluate("one")
    prepared = trainer.evaluate(trainer.eval_dataset["one"])
    predicted = trainer.predict(trainer.eval_dataset["one"]).metrics
    for name in ("loss", f"{kind.prefix}/loss", f"{kind.prefix}/weight"):
        assert given[f"eval_one_{name}"] == known[f"eval_one_{name}"] == alone[f"eval_{name}"]
        assert named[f"eval_{name}"] == prepared[f"eval_{name}"] == predicted[f"test_{name}"] == alone[f"eval_{name}"]
        assert given[f"eval_other_{name}"] == known[f"eval_other_{name}"]
    assert known["eval_one_loss"] != known["eval_other_loss"]


@both
def test_an_epoch_is_logged_after_its_evaluation(kind: Kind, folder: Path, tmp_path: Path) -> None:
    settings = {"logging_strategy": "epoch", "eval_strategy": "steps", "eval_steps": 6, "max_steps": 12}
    trainer = kind.train(folder, tmp_path, given={"eval_dataset": kind.data(6, seed=1)}, **settings)
    assert [f"{kind.prefix}/loss" in entry for entry in kinds.logged(trainer)] == [True, True]


@both
def test_a_part_of_a_prepared_set_is_evaluated(kind: Kind, folder: Path, tmp_path: Path) -> None:
    rows = kind.data(12, seed=1)
    trainer = kind.make(folder, tmp_path, given={"eval_dataset": rows})
    part = trainer.evaluate(trainer.eval_dataset.select(range(5)))
    assert part["eval_loss"] == pytest.approx(trainer.evaluate(rows.select(range(5)))["eval_loss"], rel=1e-6)


@both
def test_evaluation_of_streams(kind: Kind, folder: Path, tmp_path: Path) -> None:
    rows = kind.data(13, seed=1)
    trainer = kind.make(folder, tmp_path, given={"eval_dataset": {"one": rows.to_iterable_dataset()}})
    expected = trainer.evaluate(rows)["eval_loss"]
    assert trainer.evaluate()["eval_one_loss"] == pytest.approx(expected, rel=1e-6)
    assert trainer.evaluate(rows.to_iterable_dataset())["eval_loss"] == pytest.approx(expected, rel=1e-6)
    given = trainer.evaluate({"two": rows.to_iterable_dataset()})
    assert given["eval_two_loss"] == pytest.approx(expected, rel=1e-6)


@both
def test_metrics_of_the_users_own(kind: Kind, folder: Path, tmp_path: Path) -> None:
    seen = []

    def metrics(prediction: Any) -> dict[str, float]:
        logits, labels = prediction.predictions, prediction.label_ids
        seen.append((logits.shape, labels.shape))
        return {"largest": float(logits.max())}

    rows = kind.data(7, seed=1)
    trainer = kind.make(folder, tmp_path, given={"compute_metrics": metrics, "eval_dataset": rows})
    found = trainer.evaluate()
    assert trainer.evaluate()["eval_loss"] == found["eval_loss"]
    peer = kind.train_trl(folder, tmp_path, given={"compute_metrics": metrics, "eval_dataset": rows}, max_steps=0)
    assert peer.evaluate()["eval_largest"] == pytest.approx(found["eval_largest"], rel=1e-5)
    assert seen[0] == seen[-1]
    trainer.compute_metrics = None
    assert trainer.evaluate()["eval_loss"] == pytest.approx(found["eval_loss"], rel=1e-6)


# ---------------------------------------------------------------------------------------------------------- data


def streams(kind: Kind) -> tuple[Any, dict[str, int]]:
    rows = kind.data(24)
    counts: dict[str, int] = {}
    for bucket in rows["bucket"]:
        counts[bucket] = counts.get(bucket, 0) + 1
    return rows.to_iterable_dataset(), counts


@both
def test_a_stream_with_counts_trains_as_the_rows_in_order(kind: Kind, folder: Path, tmp_path: Path) -> None:
    stream, counts = streams(kind)
    settings = {"max_steps": 3, "train_sampling_strategy": "sequential"}
    streamed = kind.train(folder, tmp_path, stream, given={"bucket_counts": counts}, weight_mean=1.25, **settings)
    stored = kind.train(folder, tmp_path, weight_mean=1.25, **settings)
    assert kinds.losses(streamed) == pytest.approx(kinds.losses(stored), rel=1e-6)


@both
def test_a_stream_with_weights(kind: Kind, folder: Path, tmp_path: Path) -> None:
    rows = kind.data(24)
    heavy = rows.add_column("weight", [0.5 + at % 3 for at in range(24)])
    even = rows.add_column("weight", [1.0] * 24)
    found = []
    for given in (heavy, even):
        trainer = kind.train(folder, tmp_path, given.to_iterable_dataset(), max_steps=3)
        found.append(kinds.losses(trainer))
    assert found[0] != found[1]
    assert all(math.isfinite(loss) for losses in found for loss in losses)


@pytest.mark.parametrize("streaming", [False, True])
@both
def test_an_evaluation_may_have_no_weights(kind: Kind, folder: Path, tmp_path: Path, streaming: bool) -> None:
    rows = kind.data(24).add_column("weight", [0.5 + at % 3 for at in range(24)])
    given = rows.to_iterable_dataset() if streaming else rows
    trainer = kind.train(folder, tmp_path, given, given={"eval_dataset": kind.data(9, seed=1)})
    found = trainer.evaluate()
    assert math.isfinite(found["eval_loss"])
    assert math.isfinite(found[f"eval_{kind.prefix}/weight"])


@both
def test_an_evaluations_bad_weights_are_left_out(
    kind: Kind, folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = kind.data(24).add_column("weight", [1.0] * 24)
    bad = kind.data(5, seed=1).add_column("weight", [1.0, math.nan, None, -1.0, 1.0])
    trainer = kind.train(folder, tmp_path, rows, given={"eval_dataset": bad})
    assert "3 of 5 rows of the eval data set do not train: 2: its weight is not finite (first: row 1)" in caplog.text
    assert "1: its weight is negative (row 3)" in caplog.text
    assert math.isfinite(trainer.evaluate()["eval_loss"])


def test_the_critic_is_asked_by_a_streams_own_buckets(folder: Path, tmp_path: Path) -> None:
    rows = HUMAN_DPO.data(24)
    asked = set()

    class Critic(tiny.Critic):
        def score(self, responses: Any, buckets: Any) -> Any:
            asked.update(buckets)
            return super().score(responses, buckets)

    settings = {"max_steps": 6, "online_every": 1}
    counted = {"en|single|qa|short": 30}
    stream = rows.add_column("weight", [1.0] * 24).to_iterable_dataset()
    HUMAN_DPO.train(folder, tmp_path, stream, given={"bucket_counts": counted, "critic": Critic()}, **settings)
    assert asked == set(rows["bucket"])


WAYS = [
    pytest.param({"remove_unused_columns": False}, id="unused columns"),
    pytest.param({"dataloader_num_workers": 1}, id="a worker loads"),
    pytest.param({"dataset_num_proc": 2}, id="two processes prepare"),
    pytest.param({"include_num_input_tokens_seen": True}, id="tokens seen"),
    pytest.param({"pad_to_multiple_of": 8}, id="padding"),
    pytest.param({"torch_empty_cache_steps": 1}, id="cache"),
    pytest.param({"average_tokens_across_devices": False}, id="no average"),
]


@pytest.mark.parametrize("settings", WAYS)
@both
def test_settings_that_do_not_change_the_losses(
    kind: Kind, settings: dict[str, Any], folder: Path, tmp_path: Path
) -> None:
    # Without samples: a worker draws from the same generator.
    offline = {"lambda_online": 0.0} if kind is HUMAN_DPO else {}
    rows = kind.data(24).add_column("note", ["unused"] * 24)
    plain, other = (kind.train(folder, tmp_path, rows, **offline, **given) for given in ({}, settings))
    assert kinds.losses(other) == pytest.approx(kinds.losses(plain), rel=1e-5)


# -------------------------------------------------------------------------------------------------------- loggers


class Board(TrainerCallback):
    """Keeps what a logger as W&B is sent."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    def on_log(self, *_: Any, logs: Any = None, **__: Any) -> None:
        self.sent.append(dict(logs))


@both
def test_loggers_get_every_buckets_numbers(kind: Kind, folder: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board, rows = Board(), kind.data(12, seed=1)
    settings = {"report_to": "tensorboard", "eval_strategy": "steps", "eval_steps": 2}
    kind.train(folder, tmp_path, given={"callbacks": [board], "eval_dataset": rows}, **settings)
    evaluated = next(logs for logs in board.sent if "eval_loss" in logs)
    for logs, prefix in ((board.sent[0], ""), (evaluated, "eval_")):
        by_bucket = {name for name in logs if name.startswith(f"{prefix}{kind.prefix}/loss/")}
        assert by_bucket and {name.rsplit("/", 1)[1] for name in by_bucket} <= set(tiny.BUCKETS)
        assert all(type(value) in (int, float) for value in logs.values())
    assert {name.rsplit("/", 1)[1] for name in evaluated if name.startswith(f"eval_{kind.prefix}/loss/")} == set(
        rows["bucket"]
    )
    events = next(tmp_path.rglob("events.out.tfevents*"))
    read = EventAccumulator(str(events.parent))
    read.Reload()
    tags = set(read.Tags()["scalars"])
    assert {f"train/{name}" for name in board.sent[0] if name.startswith(kind.prefix)} <= tags
    assert {
        f"eval/{name.removeprefix('eval_')}" for name in evaluated if name.startswith(f"eval_{kind.prefix}")
    } <= tags


@pytest.fixture(scope="module")
def reference() -> Reference:
    return humans.reference()


@both
def test_the_model_card_says_what_trained_it(kind: Kind, folder: Path, tmp_path: Path, reference: Reference) -> None:
    given = {"reference": reference, "critic": None} if kind is HUMAN_DPO else {}
    trainer = kind.train(folder, tmp_path, given=given, save_strategy="steps", save_steps=1)
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    # Every checkpoint writes it anew.
    assert card.count("## Buckets") == 1
    assert card.count("polyalign/polyalign") == 1
    for bucket, rows in trainer._counts.items():
        assert f"| `{bucket.replace('|', chr(92) + '|')}` | {rows} |" in card
    assert "2606.13227" in card and ("bucket-sft" in card or "hdpo" in card)
    if kind is HUMAN_DPO:
        assert f"Human reference: `{reference!r}`" in card
        assert "Critic: `SupportCritic(" in card
        assert HDPO._name in card
    else:
        assert f"tau={trainer.args.tau}" in card
        assert BucketSFT._name in card


# ------------------------------------------------------------------------------------------- DPO's reference model


def test_precomputed_references_change_nothing(folder: Path, tmp_path: Path) -> None:
    rows = HUMAN_DPO.data(9, seed=1)
    found = []
    for precompute in (False, True):
        settings = {"train_sampling_strategy": "sequential", "lambda_online": 0.0, "max_steps": 3}
        settings["precompute_ref_log_probs"] = precompute
        trainer = HUMAN_DPO.train(folder, tmp_path, given={"eval_dataset": rows}, **settings)
        found.append([*kinds.losses(trainer), trainer.evaluate()["eval_loss"]])
        assert (trainer.ref_model is None) == precompute
    assert found[0] == pytest.approx(found[1], rel=1e-6)


def test_the_reference_model_follows(folder: Path, tmp_path: Path) -> None:
    settings = {"sync_ref_model": True, "ref_model_mixup_alpha": 1.0, "ref_model_sync_steps": 2}
    trainer = HUMAN_DPO.train(folder, tmp_path, max_steps=3, logging_steps=1, **settings)
    rewards = [entry["rewards/chosen"] for entry in kinds.logged(trainer)]
    # The policy is the reference before the first step, and again after the second.
    assert rewards[0] == 0 != rewards[1] and rewards[2] == 0


def test_a_reference_model_of_ones_own(folder: Path, tmp_path: Path) -> None:
    own, other = (HUMAN_DPO.train(folder, tmp_path, given={"ref_model": model}) for model in (None, tiny.model(seed=3)))
    assert kinds.losses(own)[0] != kinds.losses(other)[0]
    assert not kinds.changed(kinds.weights(tiny.model(seed=3)), kinds.weights(other.ref_model))
