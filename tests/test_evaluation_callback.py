"""A held-out sample answered while a model trains: in our trainers and in TRL's, and the training is the same."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("trl", reason="training needs polyalign[train]: pip install 'polyalign[train]'")

import pyarrow as pa
import torch

import kinds
import tiny
from kinds import BOTH, Kind
from polyalign.generation import Sampling
from polyalign.trainers import EvaluationCallback

BUCKETS = ("en|single|qa|short", "en|multi|dialogue|short")
SAMPLING = Sampling(max_new_tokens=4)


def held_out(rows: int = 30) -> pa.Table:
    rng = random.Random(7)
    return pa.Table.from_pylist(
        [
            {
                "id": f"row {at}",
                "bucket": BUCKETS[at % 2],
                "prompt": [{"role": "user", "content": tiny.sentence(rng)}],
                "completion": [{"role": "assistant", "content": tiny.sentence(rng)}],
            }
            for at in range(rows)
        ]
    )


def watched(trainer: Any, **options: Any) -> EvaluationCallback:
    options = {"every": 2, "prompts": 6, "sampling": SAMPLING, **options}
    callback = EvaluationCallback(trainer, held_out(), **options)
    trainer.add_callback(callback)
    return callback


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved model that draws random numbers as it trains."""
    return tiny.save(tmp_path_factory.mktemp("model"), tiny.model(attention_dropout=0.5))


def told(trainer: Any) -> dict[int, dict[str, float]]:
    """By step, what was logged of the held-out sample."""
    return {
        entry["step"]: entry
        for entry in trainer.state.log_history
        if any(name.startswith("eval_humans/") for name in entry)
    }


def rest(trainer: Any) -> list[dict[str, Any]]:
    """What was logged of the training itself, but for times."""
    timed = ("runtime", "second", "share")
    return [
        {name: value for name, value in entry.items() if not any(word in name for word in timed)}
        for entry in trainer.state.log_history
        if not any(name.startswith("eval_humans/") for name in entry)
    ]


@pytest.mark.parametrize("make", ["make", "make_trl"])
@pytest.mark.parametrize("kind", BOTH)
def test_the_training_is_the_same_with_it(kind: Kind, make: str, folder: Path, tmp_path: Path) -> None:
    plain, seen = (getattr(kind, make)(folder, tmp_path / name, max_steps=3) for name in ("plain", "seen"))
    callback = watched(seen)
    modes: list[tuple[bool, bool]] = []
    run = callback._run

    def noted(*given: Any) -> None:
        before = seen.model.training, any(weight.grad is not None for weight in seen.model.parameters())
        run(*given)
        modes.append(before)
        assert before == (seen.model.training, any(weight.grad is not None for weight in seen.model.parameters()))

    callback._run = noted  # type: ignore[method-assign]
    for trainer in (plain, seen):
        torch.manual_seed(3)
        trainer.train()
    assert not kinds.changed(kinds.weights(plain.model), kinds.weights(seen.model))
    assert str(rest(plain)) == str(rest(seen))
    assert not told(plain) and list(told(seen)) == list(callback.evaluations) == [0, 2, 3] and len(modes) == 3
    first = told(seen)[0]
    assert {"eval_humans/coverage", "eval_humans/coverage_floor", "eval_humans/distinct_2"} <= {*first}
    assert all(type(value) in (int, float) for value in first.values())
    numbers = callback.evaluations[0].models[0]
    assert numbers.overall["coverage"].value == first["eval_humans/coverage"]
    assert {*numbers.buckets} == {*BUCKETS} and set(numbers.prompts.values()) == {6}


def test_humans_are_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Evaluation by evaluation, and the numbers are those of all by themselves."""
    from polyalign.evaluation import _work, evaluate

    people = {row["completion"][0]["content"] for row in held_out().to_pylist()}
    asked: list[list[str]] = []
    extracted: list[int] = []

    class Counting(tiny.Critic):
        def score(self, responses: Any, buckets: Any) -> Any:
            asked.append([text for text in responses if text in people])
            return super().score(responses, buckets)

    extract = _work.extract

    def counted(texts: Any, *given: Any, **more: Any) -> Any:
        extracted.append(sum(text in people for text in texts))
        return extract(texts, *given, **more)

    monkeypatch.setattr(_work, "extract", counted)
    trainer = kinds.BUCKET_SFT.make(tiny.model(), tmp_path, max_steps=2)
    callback = watched(trainer, every=1, critics={"words": Counting()})
    tables: list[Any] = []
    kept = callback._evaluation

    def noted(answers: Any) -> Any:
        tables.append([{name: each[name] for name in ("id", "sample", "response", "finish")} for each in answers])
        return kept(answers)

    callback._evaluation = noted  # type: ignore[method-assign]
    trainer.train()
    assert len(tables) == 3
    assert sum(map(bool, asked)) == 1 and len(next(filter(None, asked))) == 12  # two buckets of six prompts
    assert sum(map(bool, extracted)) == 1
    alone = evaluate(
        {"model": pa.Table.from_pylist(tables[2])}, callback.humans, reference=callback.reference,
        critics={"words": tiny.Critic()}, pool=200, min_count=6, page=False,
    )  # fmt: skip
    assert alone.to_json() == callback.evaluations[2].to_json()


def test_it_works_in_grpo(folder: Path, tmp_path: Path) -> None:
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    rows = Dataset.from_list([{"prompt": row["prompt"]} for row in held_out(8).to_pylist()])
    config = GRPOConfig(
        str(tmp_path), max_steps=2, per_device_train_batch_size=4, num_generations=2, max_completion_length=4,
        **tiny.QUIET,
    )  # fmt: skip

    def reward(completions: list[Any], **_: Any) -> list[float]:
        return [float(len(str(each))) for each in completions]

    trainer = GRPOTrainer(str(folder), reward_funcs=reward, args=config, train_dataset=rows)
    callback = watched(trainer)
    trainer.train()
    assert list(told(trainer)) == list(callback.evaluations) == [0, 2]


def test_trackers_get_a_table_of_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    sent: list[dict[str, Any]] = []
    fake = SimpleNamespace(run=object(), log=sent.append, Table=lambda columns, data: (columns, data))
    monkeypatch.setitem(sys.modules, "wandb", fake)
    kind = kinds.BUCKET_SFT
    trainer = kind.make(tiny.model(), tmp_path, max_steps=1, report_to="tensorboard")
    watched(trainer, shown=3, critics={"words": tiny.Critic()})
    trainer.args.report_to = ["tensorboard", "wandb"]
    trainer.train()
    (columns, rows), step = sent[0]["eval/humans/answers"], sent[0]["train/global_step"]
    assert columns == ["step", "bucket", "prompt", "answer", "human"] and step == 0 and len(sent) == 2
    people = {row["prompt"][0]["content"]: row["completion"][0]["content"] for row in held_out().to_pylist()}
    assert len(rows) == 3 and {row[1] for row in rows} == {*BUCKETS}
    assert all(people[prompt] == human for _, _, prompt, _, human in rows)
    assert [row[:3] for row in rows] == [[0, *row[1:3]] for row in sent[1]["eval/humans/answers"][1]]
    read = EventAccumulator(str(next(tmp_path.rglob("events.out.tfevents*")).parent))
    read.Reload()
    tags = read.Tags()
    assert {"eval/humans/coverage", "eval/humans/critic_words"} <= {*tags["scalars"]}
    assert "eval/humans/answers/text_summary" in tags["tensors"]
    text = read.Tensors("eval/humans/answers/text_summary")[0].tensor_proto.string_val[0].decode()
    assert text.startswith("| step | bucket | prompt | answer | human |\n| --- |") and rows[0][4] in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every": 0}, "every is 0: it must be 1 or more"),
        ({"prompts": 4}, "prompts is 4: it must be 5 or more"),
        ({"prompts": 16}, "no bucket of the records has 16 prompts, the largest has 15: give more records"),
        ({"critics": [None]}, "a critic is None"),
    ],
)
def test_what_is_refused(options: dict[str, Any], message: str) -> None:
    trainer = SimpleNamespace(args=SimpleNamespace())
    with pytest.raises((ValueError, TypeError), match=message):
        watched(trainer, **options)


def test_records_without_answers_are_refused() -> None:
    with pytest.raises(ValueError, match="completion"):
        EvaluationCallback(SimpleNamespace(args=SimpleNamespace()), held_out().drop_columns(["completion"]))
