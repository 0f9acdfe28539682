"""What the trainers are given: by name or as objects, rows that no template can render, and what is none of these."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl", reason="training needs polyalign[train]")

import datasets
from datasets import Dataset, DatasetDict

import polyalign
import tiny
import training
from kinds import BOTH, BUCKET_SFT, HUMAN_DPO, Kind

both = pytest.mark.parametrize("kind", BOTH)
ALTERNATES = (
    "{% for message in messages %}{% if message['role'] != 'system' and "
    "(message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}"
    "{% if 'dog' in message['content'] %}{{ raise_exception('no dogs') }}{% endif %}{% endfor %}" + tiny.TEMPLATE
)
USER = {"role": "user", "content": "tea"}
ANSWER = {"role": "assistant", "content": "no tea"}


def made(kind: Kind, folder: Path, rows: Any, template: str = tiny.TEMPLATE, **more: Any) -> Any:
    """A trainer; `more` goes to it, but for `settings`."""
    tokenizer = tiny.tokenizer()
    tokenizer.chat_template = template
    settings = {**training.ARGUMENTS, **kind.settings, "per_device_train_batch_size": 2, "max_steps": 1}
    if kind is HUMAN_DPO:
        more = {"ref_model": tiny.model(1), **({} if "reference" in more else {"critic": tiny.Critic()}), **more}
    args = kind.config(str(folder), **{**settings, **more.pop("settings", {})})
    return kind.trainer(tiny.model(), args=args, train_dataset=rows, processing_class=tokenizer, **more)


def with_rows(kind: Kind, count: int, *others: tuple[list[Any], list[Any]]) -> Dataset:
    """Rows without dogs, and others: a prompt and a response."""
    rows = [row for row in kind.data(60) if "dog" not in str(row)][:count]
    name = "completion" if kind is BUCKET_SFT else "chosen"
    return Dataset.from_list([*rows, *({**rows[0], "prompt": prompt, name: response} for prompt, response in others)])


# ------------------------------------------------------------------------------------------------------ unfit rows


@both
def test_rows_that_no_template_renders_are_skipped(
    kind: Kind, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = with_rows(
        kind,
        4,
        ([], [ANSWER]),
        ([USER, USER], [ANSWER]),
        ([USER, ANSWER, USER, USER], [ANSWER]),
        ([{"role": "system", "content": "tea"}], [ANSWER]),
        ([{"role": "user", "content": "tea dog"}], [ANSWER]),
        ([{"role": "user", "content": None}], [ANSWER]),
        ([USER], []),
    )
    trainer = made(kind, tmp_path, rows, ALTERNATES)
    assert len(trainer.train_dataset) == 4
    name = "completion" if kind is BUCKET_SFT else "chosen"
    for told in (
        "7 of 11 rows of the train data set do not train: ",
        "2: no turn of a user before the response (first: row 4)",
        "2: the chat template refuses it: roles must alternate (first: row 5)",
        "1: the chat template refuses it: no dogs (row 8)",
        "1: its prompt is no text and no list of messages with role and content (row 9)",
        f"1: no {name} (row 10)",
    ):
        assert told in caplog.text
    trainer.train()


@both
def test_so_are_those_of_a_stream(kind: Kind, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = with_rows(kind, 4, ([], [ANSWER]), ([USER, USER], [ANSWER])).add_column("weight", [1.0] * 6)
    trainer = made(kind, tmp_path, rows.to_iterable_dataset(), ALTERNATES)
    assert len(list(trainer.train_dataset)) == 4
    assert "rows of the train stream are skipped: no turn of a user before the response" in caplog.text
    assert "rows of the train stream are skipped: the chat template refuses it: roles must alternate" in caplog.text


@both
def test_none_that_can_be_rendered_is_one_line(kind: Kind, tmp_path: Path) -> None:
    rows = with_rows(kind, 1, ([], [ANSWER])).select([1])
    with pytest.raises(ValueError, match=r"^1 of 1 rows of the train data set do not train: 1: no turn of a user"):
        made(kind, tmp_path, rows)


def test_conversations_without_the_assistant(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Of one whose tokens are none of the assistant's, TRL stops the training."""
    good = [USER, ANSWER]
    conversations = [good, [USER], good, [ANSWER, USER], [USER, {"role": "assistant", "content": ""}], []]
    # The mark leaves the end out, so that a blank answer has no token.
    template = tiny.TEMPLATE.replace("{{ eos_token }}{% endgeneration %}", "{% endgeneration %}{{ eos_token }}")
    rows = Dataset.from_list([{"bucket": tiny.BUCKETS[0], "messages": each} for each in conversations])
    trainer = made(BUCKET_SFT, tmp_path, rows, template, settings={"assistant_only_loss": True})
    assert len(trainer.train_dataset) == 2
    for told in (
        "1: no turn of the assistant in messages (row 1)",
        "1: no turn of a user before the response (row 3)",
        "1: the chat template marks none of its tokens as the assistant's ({% generation %}) (row 4)",
        "1: no messages (row 5)",
    ):
        assert told in caplog.text


def test_whole_conversations_in_chosen(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    other = {"role": "assistant", "content": "tea tea"}
    pairs = [([USER, ANSWER], [USER, other]), ([ANSWER], [other]), ([USER, ANSWER], [USER])]
    rows = Dataset.from_list(
        [{"bucket": tiny.BUCKETS[0], "chosen": chosen, "rejected": rejected} for chosen, rejected in pairs * 2]
    )
    trainer = made(HUMAN_DPO, tmp_path, rows)
    assert len(trainer.train_dataset) == 2
    assert "2: no turn of a user before the response (first: row 1)" in caplog.text
    assert "2: no turn of the assistant in rejected (first: row 2)" in caplog.text


def test_a_system_line_that_the_template_refuses(tmp_path: Path) -> None:
    template = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}" + tiny.TEMPLATE
    with pytest.raises(ValueError, match=r"4 of 4 rows .* the chat template refuses it: no system"):
        made(BUCKET_SFT, tmp_path, with_rows(BUCKET_SFT, 4), template, settings={"conditioning": "{language}"})


# ----------------------------------------------------------------------------------------------------- by name


@both
@pytest.mark.parametrize("form", ["folder", "rows.jsonl", "rows.parquet", "saved"])
def test_data_by_name(kind: Kind, form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    rows, path = kind.data(8), tmp_path / form
    if form == "folder":  # as polyalign bucket writes it
        (path / "data").mkdir(parents=True)
        (path / "manifest.json").write_text("{}")
        rows.to_parquet(path / "data" / "part-0.parquet")
    elif form == "saved":
        rows.save_to_disk(path)
    else:
        getattr(rows, "to_json" if form.endswith("jsonl") else "to_parquet")(path)
    trainer = made(
        kind,
        tmp_path / "out",
        path,
        eval_dataset=str(path),
        settings={"eval_online_prompts": 0} if kind is HUMAN_DPO else {},
    )
    assert len(trainer.train_dataset) == len(trainer.eval_dataset) == 8


@both
def test_what_is_no_data_set(kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = kind.data(4)
    for given, error, told in (
        (list(rows), TypeError, "train_dataset is a list: give a Dataset"),
        (rows.to_pandas(), TypeError, "train_dataset is a DataFrame: give a Dataset"),
        (DatasetDict(test=rows), TypeError, "train_dataset has splits, test: give one of them, as data['test']"),
        (rows.select([]), ValueError, "train_dataset has no rows"),
        (tmp_path / "none.jsonl", FileNotFoundError, f"{tmp_path}/none.jsonl: no such file or folder"),
        ("none.parquet", FileNotFoundError, "none.parquet: no such file or folder"),
        (rows.with_transform(lambda batch: batch), ValueError, "the train data set is read through with_transform"),
    ):
        with pytest.raises(error) as caught:
            made(kind, tmp_path, given)
        assert str(caught.value).startswith(told)
        assert "\n" not in str(caught.value)
    with pytest.raises(TypeError, match="eval_dataset is a list: give a Dataset"):
        made(kind, tmp_path, rows, eval_dataset=list(rows))


def test_references_and_critics_by_name(tmp_path: Path) -> None:
    reference = polyalign.Reference.from_arrow(polyalign.reference.example_table())
    path = tmp_path / "human.safetensors"
    reference.save(path)
    rows = HUMAN_DPO.data(8).remove_columns("bucket").add_column("bucket", [reference.buckets[0]] * 8)
    for given in (str(path), path, tmp_path, reference):
        trainer = made(HUMAN_DPO, tmp_path, rows, reference=given)
        assert trainer.reference.buckets == reference.buckets
        assert repr(trainer.critic).startswith("SupportCritic(")
        trainer = made(HUMAN_DPO, tmp_path, rows, critic=given)
        assert trainer.reference is None
        assert repr(trainer.critic).startswith("SupportCritic(")
    for name in ("reference", "critic"):
        with pytest.raises(FileNotFoundError, match=r"none.safetensors: no such file; polyalign reference build"):
            made(HUMAN_DPO, tmp_path, rows, **{name: "none.safetensors"})
    with pytest.raises(TypeError, match="reference is a Reference, or its file's name, not dict"):
        made(HUMAN_DPO, tmp_path, rows, reference={})
    with pytest.raises(TypeError, match=r"critic is an object with score\(responses, buckets\), .*, not dict"):
        made(HUMAN_DPO, tmp_path, rows, critic={})
