"""Sampling stops at the token that ends the trained responses: the trainers see to it, or say that it can't."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl", reason="training needs polyalign[train]")

import transformers

import polyalign.trainers._online as online_module
import tiny
import training
from polyalign.trainers import HDPO, BucketSFT, BucketSFTConfig, HDPOConfig
from polyalign.trainers._prepare.ends import ResponseEnds

END, TEXT_END = "<|im_end|>", "<|endoftext|>"
OWN_END = tiny.CHAT_TEMPLATE.replace(END, "{{ eos_token }}")
NO_END = tiny.CHAT_TEMPLATE.replace(END, "")
# As Qwen's, but for the mark of what the assistant says, which leaves the end out.
MASKED = tiny.CHAT_TEMPLATE.replace("{{ message.content }}", "{% generation %}{{ message.content }}{% endgeneration %}")
TRAINED = MASKED.replace("{% endgeneration %}<|im_end|>", "<|im_end|>{% endgeneration %}")
ONLINE = {"online_every": 1, "num_online_samples": 2, "max_new_tokens": 4}


@pytest.fixture(scope="module")
def parts() -> tuple[Any, Any]:
    tokenizer = tiny.chat_tokenizer()
    return tokenizer, tiny.chat_model(len(tokenizer))


def made(kind: str, parts: Any, folder: Path, template: str = tiny.CHAT_TEMPLATE, rows: Any = None, **settings: Any):
    """A trainer for a tokenizer that ends a text otherwise than its template ends a turn, as Qwen2.5's does."""
    tokenizer, model = parts
    tokenizer.eos_token, tokenizer.chat_template = TEXT_END, template
    model.generation_config.eos_token_id = model.config.eos_token_id = tokenizer.eos_token_id
    given = {**training.ARGUMENTS, "per_device_train_batch_size": 2, "max_steps": 1, **settings}
    if kind == "sft":
        rows = tiny.responses(6) if rows is None else rows
        return BucketSFT(model, BucketSFTConfig(str(folder), **given), train_dataset=rows, processing_class=tokenizer)
    rows = tiny.pairs(6) if rows is None else rows
    return HDPO(
        model,
        tiny.chat_model(len(tokenizer)),
        HDPOConfig(str(folder), **given),
        train_dataset=rows,
        processing_class=tokenizer,
        critic=tiny.Critic(),
    )


@pytest.mark.parametrize("kind", ["sft", "hdpo"])
def test_the_end_of_the_responses_is_taken(
    kind: str, parts: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[int]] = []
    right = online_module._generate

    def generate(model: Any, prompts: Any, tokenizer: Any, config: Any, *rest: Any) -> Any:
        asked.append(config.eos_token_id)
        return right(model, prompts, tokenizer, config, *rest)

    monkeypatch.setattr(online_module, "_generate", generate)
    trainer = made(kind, parts, tmp_path, **(ONLINE if kind == "hdpo" else {}))
    assert (
        "responses end in '<|im_end|>', at which sampling would not stop (but at '<|endoftext|>'): eos_token is now "
        "'<|im_end|>'"
    ) in caplog.text
    trainer.train()
    trainer.save_model()
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    ends = [tokenizer.convert_tokens_to_ids(name) for name in (END, TEXT_END)]
    assert tokenizer.eos_token == END
    assert model.generation_config.eos_token_id == ends
    if kind == "hdpo":
        assert asked == [sorted(ends)]


@pytest.mark.parametrize("kind", ["sft", "hdpo"])
@pytest.mark.parametrize("template", [tiny.CHAT_TEMPLATE, OWN_END])
def test_where_they_end_alike_nothing_is_said(
    kind: str, template: str, parts: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = {"eos_token": END} if template == tiny.CHAT_TEMPLATE else {}
    trainer = made(kind, parts, tmp_path, template, **settings)
    assert trainer._tokenizer.eos_token == (END if settings else TEXT_END)
    assert "sampl" not in caplog.text
    parts[1].generation_config.eos_token_id = None


@pytest.mark.parametrize(
    "case",
    [
        (tiny.CHAT_TEMPLATE, TEXT_END, "those that train end in '<|im_end|>': set eos_token to what ends a response"),
        (NO_END, None, "those that train end in no special token: the chat template should end them in eos_token"),
    ],
)
def test_samples_that_never_end_are_refused(
    case: tuple[str, str | None, str], parts: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    template, eos_token, told = case
    head = "a sampled response would never end: sampling stops at '<|endoftext|>', but "
    with pytest.raises(ValueError, match="a sampled response would never end") as caught:
        made("hdpo", parts, tmp_path, template, **ONLINE, eos_token=eos_token)
    assert str(caught.value) == f"{head}{told}; or lambda_online=0, which samples nothing"
    assert not caplog.text.count(head)
    # Where nothing is sampled, it is said.
    for kind, more in (("hdpo", {"lambda_online": 0.0}), ("sft", {})):
        caplog.clear()
        made(kind, parts, tmp_path, template, eos_token=eos_token, **more)
        assert f"{head}{told}" in caplog.text


def test_an_end_that_does_not_train(parts: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = tiny.responses(6).map(lambda row: {"messages": row["prompt"] + row["completion"]})
    rows = rows.remove_columns(["prompt", "completion"])
    settings = {"assistant_only_loss": True, "rows": rows, "eos_token": END}
    made("sft", parts, tmp_path, MASKED, **settings)
    assert "'<|im_end|>', which ends those in the data, does not train: put it between {% generation %}" in caplog.text
    caplog.clear()
    made("sft", parts, tmp_path, TRAINED, **settings)
    assert "does not train" not in caplog.text


def test_a_stream(parts: Any, tmp_path: Path) -> None:
    rows = tiny.responses(6).add_column("weight", [1.0] * 6).to_iterable_dataset()
    assert made("sft", parts, tmp_path, rows=rows)._tokenizer.eos_token == END


def test_an_unknown_end(parts: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"eos_token='<\|x\|>': the tokenizer has no such token"):
        made("hdpo", parts, tmp_path, eos_token="<|x|>")


def test_some_that_end_otherwise(parts: Any, caplog: pytest.LogCaptureFixture) -> None:
    tokenizer, model = parts
    tokenizer.eos_token = TEXT_END
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    ends = ResponseEnds()
    for text in ("Yes.<|endoftext|>", "Yes.<|im_end|>\n", "Yes.", "<|endoftext|>Yes."):
        ends.add(tokenizer(text)["input_ids"])
    ends.settle(model, tokenizer, given=None, samples=True)
    assert "3 of 4 responses (those looked at) do not end where sampling stops, at '<|endoftext|>'" in caplog.text
    assert tokenizer.eos_token == TEXT_END
