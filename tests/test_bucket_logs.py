"""What is logged: the largest buckets by name, all of them in a file, and to the terminal what is overall."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl", reason="training needs polyalign[train]")

from transformers import ProgressCallback

import kinds
import tiny
import training
from kinds import BOTH, BUCKET_SFT, HUMAN_DPO, Kind

both = pytest.mark.parametrize("kind", BOTH)
MANY = tuple(f"en|single|f{at:02}|short" for at in range(6))


def rows(kind: Kind) -> Any:
    """Rows in six buckets, from 9 rows down to 1."""
    data = kind.data(36)
    sizes = (9, 8, 7, 6, 5, 1)
    named = [bucket for bucket, size in zip(MANY, sizes, strict=True) for _ in range(size)]
    return data.remove_columns("bucket").add_column("bucket", named)


def made(kind: Kind, folder: Path, **settings: Any) -> Any:
    given = {"critic": AnyBucket()} if kind is HUMAN_DPO else {}
    return kind.make(tiny.model(), folder, rows(kind), given=_with_reference(kind, given), **settings)


def _with_reference(kind: Kind, given: dict[str, Any]) -> dict[str, Any]:
    return {**given, "ref_model": tiny.model(1)} if kind is HUMAN_DPO else given


class AnyBucket(tiny.Critic):
    def score(self, responses: Any, buckets: Any) -> Any:
        return super().score(responses, [tiny.BUCKETS[0]] * len(buckets))


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "bucket_log.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@both
def test_the_largest_are_logged_by_name_and_all_are_in_the_file(kind: Kind, tmp_path: Path) -> None:
    settings = {
        "log_buckets": 2,
        "max_steps": 2,
        "per_device_train_batch_size": 18,
        "train_sampling_strategy": "random",
    }
    trainer = made(kind, tmp_path, **settings)
    trainer.train()
    trainer.evaluate(rows(kind).select(range(20, 36)))
    found = table(tmp_path)
    assert {(row["step"], row["split"]) for row in found} == {("1", "train"), ("2", "train"), ("2", "eval")}
    name = f"{kind.prefix}/loss"
    for log in (log for log in trainer.state.log_history if name in log or f"eval_{name}" in log):
        split, prefix = ("train", "") if name in log else ("eval", "eval_")
        mine = {row["bucket"]: row for row in found if (int(row["step"]), row["split"]) == (log["step"], split)}
        by_name = {key.removeprefix(f"{prefix}{name}/") for key in log if key.startswith(f"{prefix}{name}/")}
        # What was not seen is in neither.
        assert by_name == {"other", *({*MANY[:2]} & {*mine})}
        for bucket in by_name - {"other"}:
            assert log[f"{prefix}{name}/{bucket}"] == pytest.approx(float(mine[bucket]["loss"]), rel=1e-5)
        # Of the whole step each row is there once.
        if split == "train":
            assert set(mine) == set(MANY)
            sizes = dict(zip(MANY, (9, 8, 7, 6, 5, 1), strict=True))
            rest = {bucket: float(row["loss"]) for bucket, row in mine.items() if bucket not in MANY[:2]}
            pooled = sum(sizes[bucket] * loss for bucket, loss in rest.items()) / sum(sizes[each] for each in rest)
            assert log[f"{name}/other"] == pytest.approx(pooled, rel=1e-4)
    assert all(math.isfinite(float(row["loss"])) for row in found)


def test_all_or_none_by_name(tmp_path: Path) -> None:
    for count, expected in ((0, set()), (6, set(MANY)), (99, set(MANY))):
        settings = {"log_buckets": count, "max_steps": 1, "per_device_train_batch_size": 18}
        trainer = made(BUCKET_SFT, tmp_path, **settings)
        trainer.train()
        logged = {key.removeprefix("sft/loss/") for key in trainer.state.log_history[0] if key.startswith("sft/loss/")}
        assert logged == expected
        assert len(table(tmp_path)) == 6  # begun anew


def test_a_resumed_training_goes_on_in_the_file(tmp_path: Path) -> None:
    settings = {"max_steps": 5, "save_strategy": "steps", "save_steps": 3}
    made(BUCKET_SFT, tmp_path, **settings).train()
    whole = (tmp_path / "bucket_log.csv").read_bytes()
    # Killed in the midst of the fifth step's log.
    (tmp_path / "bucket_log.csv").write_bytes(whole[:-9])
    made(BUCKET_SFT, tmp_path, **settings).train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
    assert (tmp_path / "bucket_log.csv").read_bytes() == whole


@both
def test_the_terminal_shows_what_is_overall(kind: Kind, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = {**training.ARGUMENTS, **kind.settings, "max_steps": 1, "per_device_train_batch_size": 4}
    more = _with_reference(kind, {"critic": tiny.Critic()} if kind is HUMAN_DPO else {})
    for silent in (True, False):  # printed, or beside a bar
        trainer = kind.trainer(
            tiny.model(),
            args=kind.config(str(tmp_path), **{**given, "disable_tqdm": silent}),
            train_dataset=kind.data(8),
            processing_class=tiny.tokenizer(),
            **more,
        )
        trainer.train()
        out = capsys.readouterr().out
        assert f"'{kind.prefix}/loss'" in out
        assert f"'{kind.prefix}/loss/" not in out
    # A callback that is the user's own stays as it is.
    own = type("Own", (ProgressCallback,), {})()
    trainer = kind.make(tiny.model(), tmp_path, given={"callbacks": [own], **_with_reference(kind, {})})
    assert own in trainer.callback_handler.callbacks


def test_a_full_disk_stops_no_training(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "bucket_log.csv").mkdir()
    made(BUCKET_SFT, tmp_path, max_steps=1).train()
    assert "bucket_log.csv: buckets are not logged: " in caplog.text


def test_a_step_of_a_hundred_buckets_is_short(tmp_path: Path) -> None:
    many = [f"en|single|f{at:02}|short" for at in range(100)]
    data = kinds.HUMAN_DPO.data(200).remove_columns("bucket").add_column("bucket", many * 2)
    trainer = kinds.HUMAN_DPO.make(
        tiny.model(),
        tmp_path,
        data,
        given={"critic": AnyBucket(), "ref_model": tiny.model(1)},
        max_steps=1,
        per_device_train_batch_size=100,
        gradient_accumulation_steps=2,
        online_every=1,
    )
    trainer.train()
    log = trainer.state.log_history[0]
    assert len(log) < 480  # 2,038 by name
    assert len(table(tmp_path)) == 100
