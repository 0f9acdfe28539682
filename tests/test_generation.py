"""Answers of models to the prompts of bucketed sets: what is asked, what is drawn, what is written."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
import types
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'polyalign[train]'")
pytest.importorskip("transformers", reason="transformers is not installed: pip install 'polyalign[train]'")

import tiny  # noqa: E402
from conftest import Cli, clean_environment, write_jsonl  # noqa: E402
from polyalign import Bucketer, BucketSchema, Reference, generation, pairs  # noqa: E402
from polyalign import cli as command_line  # noqa: E402
from polyalign.generation import (  # noqa: E402
    Prompting,
    Sampling,
    Selection,
    TransformersEngine,
    _noise,
    _prompts,
    _rows,
    generate,
    generate_file,
)
from polyalign.trainers.conditioning import condition, system_line  # noqa: E402

QA = "en|single|qa|short"
SHORT = Sampling(max_new_tokens=8)


def user(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def assistant(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def records(count: int = 12, **more: Any) -> pa.Table:
    made = tiny.responses(count, seed=3).to_list()
    return pa.Table.from_pylist(
        [{"id": f"r{at}", "group": f"g{at // 2}", **row, **more} for at, row in enumerate(made)]
    )


def table(*rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist([{"id": f"r{at}", "bucket": QA, **row} for at, row in enumerate(rows)])


def engine(dtype: torch.dtype = torch.float64, **given: Any) -> TransformersEngine:
    """In double precision, where padding changes no bit that counts."""
    settings = given.pop("model", {})
    return TransformersEngine(tiny.model(dtype=dtype, **settings), given.pop("tokenizer", tiny.tokenizer()), **given)


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save(tmp_path_factory.mktemp("model"), tiny.model())


@pytest.fixture
def bucketed(tmp_path: Path) -> Path:
    """A folder made by `polyalign bucket`, a third of it held out."""
    rows = [{**row, "source": "dolly"} for row in records(40).to_pylist()]
    corpus = write_jsonl(tmp_path / "corpus.jsonl", [{k: v for k, v in row.items() if k != "bucket"} for row in rows])
    Bucketer(BucketSchema(length_edges=(3, 5))).bucket_files(corpus, tmp_path / "bucketed", test_share=0.3)
    return tmp_path / "bucketed"


# ------------------------------------------------------------------------------------------------ noise


def hashed(seed: int, step: int, vocabulary: int) -> np.ndarray:
    """The noise of a step, from the same formulas in numpy's unsigned integers, one token after the other."""
    mask64, mask32 = 2**64 - 1, 2**32 - 1
    state = (seed + (step + 1) * 0x9E3779B97F4A7C15) & mask64
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & mask64
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & mask64
    state ^= state >> 31
    words = (state & mask32, state >> 32)

    def mix(word: int) -> int:
        word = ((word ^ (word >> 16)) * 0x85EBCA6B) & mask32
        word = ((word ^ (word >> 13)) * 0xC2B2AE35) & mask32
        return word ^ (word >> 16)

    found = []
    for token in range(vocabulary):
        word = mix((mix(token ^ words[0]) + words[1]) & mask32) & 0x7FFFFFFF
        found.append(-np.log(-np.log1p(-(word + 0.5) / 2**31)))
    return np.array(found)


def test_noise_is_that_of_the_formula():
    seeds = [0, 1, 2**63 + 12345, 2**64 - 1]
    for step in (0, 1, 700):
        found = _noise.add_noise(torch.zeros(4, 40), seeds, step).numpy()
        expected = np.stack([hashed(seed, step, 40) for seed in seeds])
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_draws_have_the_distribution_of_the_logits():
    logits = torch.tensor([3.0, 2.0, 1.0, 0.0, -1.0, -2.0, -6.0, -torch.inf])
    draws = 40_000
    seeds = [_rows.rank(0, f"r{at}", 0) for at in range(draws)]
    steps = [_noise.add_noise(logits.repeat(draws, 1), seeds, step).argmax(-1) for step in (0, 1)]
    expected = logits.softmax(-1).numpy()
    for drawn in steps:
        counts = np.bincount(drawn.numpy(), minlength=8)
        assert counts[7] == 0
        chi = ((counts - draws * expected)[:7] ** 2 / (draws * expected[:7])).sum()
        assert chi < 22.5  # 6 degrees of freedom, one in a thousand
    both = np.zeros((7, 7))
    np.add.at(both, (steps[0].numpy(), steps[1].numpy()), 1)
    joint = draws * np.outer(expected[:7], expected[:7])
    assert ((both - joint) ** 2 / joint)[joint > 5].sum() < 90  # steps know nothing of each other


def test_draws_from_a_vocabulary_are_as_surprising_as_they_should_be():
    logps = (3 * torch.randn(20_000, generator=torch.Generator().manual_seed(0))).log_softmax(-1)
    entropy = -float((logps.exp() * logps).sum())
    spread = math.sqrt(float((logps.exp() * logps**2).sum()) - entropy**2)
    seeds = [_rows.rank(0, f"r{at}", 0) for at in range(1000)]
    for step in (0, 300):
        parts = [_noise.add_noise(logps.repeat(100, 1), seeds[at : at + 100], step) for at in range(0, 1000, 100)]
        drawn = torch.cat([part.argmax(-1) for part in parts])
        assert abs(float(-logps[drawn].mean()) - entropy) < 3.5 * spread / math.sqrt(1000)
        assert len(set(drawn.tolist())) > 350


# ----------------------------------------------------------------------------------------------- answers


def oracle(model: Any, prompt: Any, seed: int, sampling: Sampling) -> list[int]:
    """Draw token by token, without a batch, a cache or anything of transformers' `generate`."""
    ids = tiny.tokenizer().apply_chat_template(prompt, add_generation_prompt=True, return_dict=False)
    drawn: list[int] = []
    while len(drawn) < sampling.max_new_tokens:
        logits = model(torch.tensor([[*ids, *drawn]])).logits[0, -1].detach().float().numpy()
        if len(drawn) < sampling.min_new_tokens:
            logits[1] = -np.inf
        if sampling.temperature:
            logits = logits / sampling.temperature
            if sampling.top_k:
                logits[logits < np.sort(logits)[-sampling.top_k]] = -np.inf
            if sampling.top_p < 1:
                order = np.argsort(-logits)
                shares = np.exp(logits[order] - logits.max()) / np.exp(logits - logits.max()).sum()
                kept = np.cumsum(shares) - shares < sampling.top_p
                logits[order[~kept]] = -np.inf
            logits = logits + hashed(seed, len(drawn), len(logits))
        drawn.append(int(logits.argmax()))
        if drawn[-1] == 1:
            break
    return drawn


SAMPLINGS = {
    "plain": Sampling(samples=2, max_new_tokens=12),
    "warm": Sampling(temperature=0.7, top_k=9, top_p=0.8, max_new_tokens=12, seed=5),
    "long": Sampling(min_new_tokens=3, max_new_tokens=40),
    "greedy": Sampling(temperature=0, max_new_tokens=12),
}


@pytest.mark.parametrize("name", SAMPLINGS)
def test_answers_are_those_of_a_loop_by_hand(name: str) -> None:
    sampling, data = SAMPLINGS[name], records(8)
    found = generate(data, engine(), sampling).rows
    model, words = tiny.model(dtype=torch.float64), tiny.tokenizer()
    expected = []
    for row in data.to_pylist():
        for sample in range(sampling.samples):
            drawn = oracle(model, row["prompt"], _rows.rank(sampling.seed, row["id"], sample), sampling)
            ended = drawn[-1] == 1
            text = words.decode(drawn[: len(drawn) - ended], skip_special_tokens=True).strip()
            told = (row["id"], row["bucket"], sample, text, "stop" if ended else "length", len(drawn) - ended)
            expected.append(told)
    names = ("id", "bucket", "sample", "response", "finish", "tokens")
    assert [tuple(line[name] for name in names) for line in found] == expected
    assert {line["finish"] for line in found} == {"stop", "length"} or name == "greedy"
    assert [line["prompt"] for line in found[:: sampling.samples]] == data["prompt"].to_pylist()


def test_what_is_computed_together_changes_nothing():
    one = generate(records(), engine(batch_tokens=1), SHORT)
    all_ = generate(records(), engine(batch_tokens=10**6), SHORT)
    texts = [[line["response"] for line in found.rows] for found in (one, all_)]
    assert texts[0] == texts[1]
    assert one.report.settings_hash != all_.report.settings_hash
    turned = generate(records().take(list(range(11, -1, -1))), engine(), SHORT).rows
    assert {line["id"]: line["response"] for line in turned} == dict(
        zip((line["id"] for line in one.rows), texts[0], strict=True)
    )
    fewer = generate(records(), engine(), SHORT, selection=Selection(limit=4)).rows
    assert {(line["id"], line["response"]) for line in fewer} <= {(line["id"], line["response"]) for line in one.rows}
    assert texts[0] != [
        line["response"] for line in generate(records(), engine(), Sampling(max_new_tokens=8, seed=1)).rows
    ]


def test_a_model_and_its_config_are_as_they_were():
    model = tiny.model().train()
    before = model.generation_config
    generate(records(2), TransformersEngine(model, tiny.tokenizer()), SHORT)
    assert model.training
    assert model.generation_config is before


def test_texts_that_end_an_answer_are_no_part_of_it():
    plain = generate(records(), engine(), Sampling(max_new_tokens=30)).rows
    stop = Counter(word for line in plain for word in line["response"].split()[1:-1]).most_common(1)[0][0]
    found = generate(records(), engine(), Sampling(max_new_tokens=30, stop=[stop])).rows
    ended = 0
    for before, after in zip(plain, found, strict=True):
        # `stop` may be in a longer word, where it ends the answer as well
        at = before["response"].find(stop)
        if at < 0:
            assert {**after, "settings": ""} == {**before, "settings": ""}
            continue
        ended += 1
        assert after["response"] == before["response"][:at].strip()
        assert after["finish"] == "stop"
        assert len(after["response"].split()) <= after["tokens"] < before["tokens"]
    assert ended > 3


def test_the_token_that_ends_turns_ends_answers():
    words = tiny.chat_tokenizer()  # its end of sequence is another token than its template's
    asked = TransformersEngine(tiny.chat_model(len(words)), words)
    asked.form(None)
    end = words.convert_tokens_to_ids("<|im_end|>")
    assert end in asked._ends
    assert words.eos_token_id in asked._ends
    asked.form("dialogue")
    assert end not in asked._ends


def test_a_model_without_an_end_is_told_of(tmp_path: Path) -> None:
    words = tiny.tokenizer()
    words.eos_token = None
    words.chat_template = tiny.TEMPLATE.replace("{{ eos_token }}", "")
    said: list[str] = []
    asked = engine(tokenizer=words, model={"eos_token_id": None})
    report = generate_file(records(4), tmp_path / "s.jsonl", asked, SHORT, say=said.append)
    assert said == [generation._local.ENDLESS]
    assert (report.cut, report.samples) == (4, 4)
    assert "cut at 8 tokens: 4 samples (100.0%)" in str(report)


def test_a_broken_model_is_an_error():
    asked = engine()
    with torch.no_grad():
        asked._model.lm_head.weight.fill_(torch.nan)
    with pytest.raises(ValueError, match=r"no numbers \(NaN\): load it with another dtype"):
        generate(records(2), asked, SHORT)


def test_a_mixture_of_experts_answers():
    found = generate(records(3), TransformersEngine(tiny.experts(), tiny.tokenizer()), SHORT)
    assert found.report.samples == 3


@pytest.mark.parametrize("alone", [False, True], ids=["on-a-model", "as-a-model"])
def test_adapters(alone: bool, model_folder: Path, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft", reason="peft is not installed: pip install 'polyalign[peft]'")
    adapted = peft.get_peft_model(tiny.model(), peft.LoraConfig(target_modules=["q_proj", "v_proj"], r=4))
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_B" in name:
                weight.normal_()
    adapted.peft_config["default"].base_model_name_or_path = str(model_folder)
    adapted.save_pretrained(tmp_path / "adapter")
    expected = generate(records(), TransformersEngine(adapted.merge_and_unload(), tiny.tokenizer()), SHORT).rows
    given = (
        {"model": str(tmp_path / "adapter")}
        if alone
        else {
            "model": str(model_folder),
            "adapter": str(tmp_path / "adapter"),
        }
    )
    found = generate(records(), TransformersEngine(**given), SHORT)
    assert [line["response"] for line in found.rows] == [line["response"] for line in expected]
    base = generate(records(), TransformersEngine(str(model_folder)), SHORT)
    assert [line["response"] for line in found.rows] != [line["response"] for line in base.rows]
    assert found.report.settings["adapter"]["sha256"] != base.report.settings["model"]["sha256"]
    assert found.report.settings["model"] == base.report.settings["model"]
    for name in ("training_args.bin", "optimizer.pt"):  # what a trainer leaves there says nothing of the weights
        (tmp_path / "adapter" / name).write_bytes(b"where it was trained")
    assert generate(records(), TransformersEngine(**given), SHORT).report.settings == found.report.settings


# ------------------------------------------------------------------------------------------------- prompts


class Parrot:
    """Answers with what it was asked, or as it is told."""

    name = "parrot"

    def __init__(self, answer: Callable[[Any], str] = str, form: str = "chat", context: int = 10**9) -> None:
        self.answer, self._form, self.context = answer, form, context
        self.asked: list[Any] = []
        self.checked = 0

    def check(self) -> None:
        self.checked += 1

    def form(self, given: Any) -> Any:
        return given or self._form

    def settings(self) -> dict[str, Any]:
        return {"engine": self.name}

    def notes(self) -> list[str]:
        return []

    def prepare(self, prompt: Any, form: str, sampling: Sampling, limit: int | None) -> Any:
        text = _prompts.as_dialogue(prompt.messages)
        if len(text) > self.context:
            raise generation.Unfit("too_long", "it does not fit")
        self.asked.append(prompt)
        return prompt

    def answers(self, requests: Sequence[Any], sampling: Sampling, stops: Sequence[str], done: Any) -> Any:
        for request in requests:
            if request.key not in done:
                yield [generation.Answer(request.key, self.answer(request.prompt), tokens=1)]


def asked(data: pa.Table, parrot: Parrot | None = None, **settings: Any) -> list[Any]:
    parrot = parrot or Parrot()
    generate(data, parrot, prompting=Prompting(**settings))
    return parrot.asked


def test_conditioning_is_that_of_the_trainers():
    rows = records(4, style="terse").to_pylist()
    template = "{family}, {length}, {style}"
    found = asked(pa.Table.from_pylist(rows), conditioning=template)
    lines = [system_line(template, row["bucket"], row) for row in rows]
    assert [prompt.messages for prompt in found] == [
        condition(row["prompt"], line) for row, line in zip(rows, lines, strict=True)
    ]
    with pytest.raises(ValueError, match="no part of 'en"):
        asked(table({"prompt": "Why?"}), conditioning="{colour}")


def test_think_names_the_bucket_and_takes_what_follows(bucketed: Path) -> None:
    told = iter(["<think>who? short.</think>\n\nYes.", "Plainly.", "<think>and on"])
    parrot = Parrot(lambda prompt: next(told))
    found = generate(bucketed, parrot, prompting=Prompting(think=True), selection=Selection(limit=3))
    system = parrot.asked[0].messages[0]
    assert system["role"] == "system"
    bucket = found.rows[0]["bucket"]
    assert _prompts.situation(bucket, _rows.Source(bucketed, "train").schema) in system["content"]
    assert [(line["response"], line.get("thinking")) for line in found.rows] == [
        ("Yes.", "<think>who? short.</think>"),
        ("Plainly.", None),
        ("", "<think>and on"),
    ]
    assert (found.report.unthought, found.report.empty) == (1, 1)
    assert "without the reasoning that was asked for: 1 samples" in str(found.report)


def test_situations_say_how_long_answers_are():
    schema = BucketSchema(
        length_edges={"zh": [10], "default": [20]}, length_bins=["brief", "full"], length_unit="words"
    )
    assert _prompts.situation("zh|single|qa|full", schema).endswith("length full (more than 10 words)")
    assert _prompts.situation("en|single|qa|brief", schema).endswith("length brief (at most 20 words)")
    middle = BucketSchema(length_unit="tokens")
    assert _prompts.situation("en|single|qa|medium", middle).endswith("length medium (41 to 120 tokens)")
    assert _prompts.situation(QA, None) == "language en, track single, family qa, length short"


def test_examples_are_of_the_bucket_and_never_of_the_row_or_its_group():
    data = records(60)
    rows = {row["id"]: row for row in data.to_pylist()}
    by_prompt = {json.dumps(row["prompt"]): row for row in rows.values()}
    assert len(by_prompt) > 50
    parrot = Parrot()
    report = generate(data, parrot, prompting=Prompting(few_shot=2)).report
    few = 0
    for row, prompt in zip(rows.values(), parrot.asked, strict=True):
        *shown, last = prompt.messages
        assert [last] == row["prompt"]
        few += len(shown) < 4
        for question, answer in zip(shown[::2], shown[1::2], strict=True):
            example = by_prompt[json.dumps([question])]
            assert example["bucket"] == row["bucket"]
            assert example["group"] != row["group"]
            assert answer["role"] == "assistant"
    assert report.fewer_examples == few < 60
    turned = asked(data.take(list(range(59, -1, -1))), few_shot=2)
    assert turned[::-1] == parrot.asked


def test_examples_that_do_not_fit_are_left_out():
    data = records(30)
    size = max(len(_prompts.as_dialogue(row["prompt"])) for row in data.to_pylist())
    parrot = Parrot(context=size)
    found = generate(data, parrot, prompting=Prompting(few_shot=3))
    assert found.report.samples == 30
    assert found.report.fewer_examples > 20
    assert all(len(_prompts.as_dialogue(prompt.messages)) <= size for prompt in parrot.asked)


def test_a_model_without_a_template_continues_a_dialogue():
    words = tiny.tokenizer()
    words.chat_template = None
    base = engine(tokenizer=words)
    found = generate(records(), base, SHORT)
    assert found.report.settings["prompting"]["form"] == "dialogue"
    assert found.report.settings["prompting"]["few_shot"] == 3
    with pytest.raises(ValueError, match="no chat template: give one, or form='dialogue'"):
        generate(records(), base, SHORT, prompting=Prompting(form="chat"))
    with pytest.raises(ValueError, match="think asks by a system message"):
        generate(records(), base, SHORT, prompting=Prompting(think=True))


def test_forms_of_text():
    messages = [{"role": "system", "content": "Be kind."}, *user("Hi"), *assistant("Hello. "), *user("Why?")]
    assert _prompts.as_dialogue(messages) == "System: Be kind.\nUser: Hi\nAssistant: Hello.\nUser: Why?\nAssistant:"
    assert _prompts.as_plain(user("Why?")) == "Why?"
    words = tiny.tokenizer()
    plain = TransformersEngine(tiny.model(), words).prepare(_prompts.Prompt(user("yes no"), None), "plain", SHORT, None)
    assert plain.tolist() == words("yes no")["input_ids"]


@pytest.mark.parametrize("where", ["column", "json", "extra"])
def test_tools_reach_the_template(where: str) -> None:
    tools = [{"type": "function", "function": {"name": "rain"}}]
    columns = {
        "column": {"tools": tools},
        "json": {"tools": json.dumps(tools)},
        "extra": {"extra": json.dumps({"tools": tools})},
    }
    words = tiny.tokenizer()
    words.chat_template = "{% for tool in tools or [] %}{{ tool.function.name }} {% endfor %}" + tiny.TEMPLATE
    data = table({"prompt": user("yes"), **columns[where]})
    (line,) = generate(data, engine(tokenizer=words), SHORT).rows
    without = table({"prompt": user("yes")})
    assert line["prompt_tokens"] == generate(without, engine(tokenizer=words), SHORT).rows[0]["prompt_tokens"] + 1


def test_arguments_reach_the_template():
    words = tiny.tokenizer()
    words.chat_template = "{% if loud %}big {% endif %}" + tiny.TEMPLATE
    found = [
        generate(table({"prompt": "yes"}), engine(tokenizer=words, template_arguments=given), SHORT).rows[0]
        for given in ({}, {"loud": True})
    ]
    assert found[1]["prompt_tokens"] == found[0]["prompt_tokens"] + 1
    other = engine(template="{{ messages[0].content }}")
    assert generate(table({"prompt": "yes no"}), other, SHORT).rows[0]["prompt_tokens"] == 2


# --------------------------------------------------------------------------------------------------- rows


def test_what_can_not_be_asked_is_counted_with_its_place():
    strict = tiny.TEMPLATE + "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    data = table(
        {"prompt": user("yes")},
        {"prompt": user(" ")},
        {"prompt": []},
        {"prompt": user("yes " * 200)},
        {"prompt": user("yes"), "id": "r0"},
        {"prompt": user("no"), "bucket": None},
        {"prompt": user("no"), "id": None},
        {"prompt": [{"role": "system", "content": "yes"}, *user("no")]},
    )
    found = generate(data, engine(template=strict), SHORT)
    assert [line["id"] for line in found.rows] == ["r0"]
    assert found.report.skipped_by_kind == {
        "no_prompt": 2,
        "too_long": 1,
        "duplicate_id": 1,
        "no_bucket": 1,
        "no_id": 1,
        "template": 1,
    }
    assert found.report.faults() == {"rows": 8, "rejected": 7, "unreadable": ()}
    (long,) = (skip for skip in found.report.first_skips if skip["kind"] == "too_long")
    assert (long["file"], long["row"], long["id"]) == ("records", 3, "r3")
    assert long["reason"] == "the prompt has 202 tokens: with max_new_tokens 8 that is more than the model's 128"
    with pytest.raises(ValueError, match=r"no prompt to answer: 1 for no_prompt, the first at records, row 0"):
        generate(table({"prompt": ""}), engine(), SHORT)


def test_long_prompts_are_left_out_when_asked():
    data = table({"prompt": user("yes")}, {"prompt": user("yes no yes no")})
    found = generate(data, engine(), SHORT, selection=Selection(max_prompt_tokens=4))
    assert found.report.skipped_by_kind == {"over_max_prompt_tokens": 1}
    assert found.report.faults()["rejected"] == 0


def chosen(data: pa.Table, **selection: Any) -> list[str]:
    return [line["id"] for line in generate(data, Parrot(), selection=Selection(**selection)).rows]


def test_rows_are_chosen_alike_always():
    data = records(60)
    buckets = dict(zip(data["id"].to_pylist(), data["bucket"].to_pylist(), strict=True))
    whole = data["id"].to_pylist()
    few, more = chosen(data, per_bucket=2), chosen(data, per_bucket=5)
    assert set(few) < set(more)
    assert Counter(buckets[name] for name in few) == dict.fromkeys(set(buckets.values()), 2)
    assert few == [name for name in whole if name in few]  # in the order of the records
    assert few != [name for name in whole if sum(buckets[n] == buckets[name] for n in whole[: whole.index(name)]) < 2]
    assert set(chosen(data, limit=3)) < set(chosen(data, limit=9))
    assert chosen(data, buckets=["zh|*"]) == [name for name in whole if buckets[name].startswith("zh")]
    assert chosen(data, buckets=[QA, "en|multi*"], limit=1000) == [
        name for name in whole if buckets[name].startswith("en|") and "medium" not in buckets[name]
    ]
    with pytest.raises(ValueError, match=r"no bucket is 'en\|single\|qa\|shorts'; did you mean en\|single\|qa\|short"):
        chosen(data, buckets=["en|single|qa|shorts"])


def test_splits_of_a_bucketed_folder(bucketed: Path, tmp_path: Path) -> None:
    parts = {
        split: chosen(bucketed, split=split)  # type: ignore[arg-type]
        for split in ("train", "test")
    }
    for split, names in parts.items():
        files = sorted((bucketed / "data").glob(f"{split}-*.parquet"))
        assert names == [name for file in files for name in pq.read_table(file)["id"].to_pylist()]
    assert len(parts["test"]) > 3
    # Examples are of those that train, for both.
    parrot = Parrot()
    generate(bucketed, parrot, prompting=Prompting(few_shot=2), selection=Selection(split="test"))
    held_out = {
        json.dumps(row["prompt"]) for row in pq.read_table(next((bucketed / "data").glob("test-*"))).to_pylist()
    }
    shown = [message for prompt in parrot.asked for message in prompt.messages[:-1] if message["role"] == "user"]
    assert shown
    assert not {json.dumps([message]) for message in shown} <= held_out
    write_jsonl(tmp_path / "all.jsonl", [{"prompt": "Why?", "completion": "So."}])
    Bucketer().bucket_files(tmp_path / "all.jsonl", tmp_path / "whole")
    with pytest.raises(ValueError, match="nothing in it is held out; polyalign bucket --test-share does that"):
        chosen(tmp_path / "whole", split="test")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "given", "what"),
    [
        (Sampling, {"samples": 0}, "samples is 0: it must be 1 or more"),
        (Sampling, {"temperature": -1.0}, "temperature is -1.0"),
        (Sampling, {"top_p": 0.0}, "top_p is 0.0"),
        (Sampling, {"min_new_tokens": 9, "max_new_tokens": 8}, "min_new_tokens 9 is more than max_new_tokens 8"),
        (Sampling, {"temperature": 0, "samples": 2}, "temperature 0 gives the same answer 2 times"),
        (Sampling, {"stop": [""]}, "stop is an empty text"),
        (Prompting, {"form": "song"}, "form is 'song'"),
        (Prompting, {"few_shot": -1}, "few_shot is -1"),
        (Prompting, {"conditioning": "kind"}, "it names fields in braces"),
        (Prompting, {"think": True, "few_shot": 2}, "think asks by a system message"),
        (Prompting, {"form": "plain", "few_shot": 2}, "form='plain' is the prompt's text alone"),
        (Selection, {"split": "dev"}, "split is 'dev'"),
        (Selection, {"limit": 0}, "limit is 0"),
    ],
)
def test_settings_that_can_not_be(kind: Any, given: dict[str, Any], what: str) -> None:
    with pytest.raises(ValueError) as found:
        kind(**given)
    assert str(found.value).startswith(what) or what in str(found.value)


# ------------------------------------------------------------------------------------------------ the file


class Interrupted(TransformersEngine):
    """Is interrupted after some batches."""

    after = 2

    def _batch(self, *given: Any) -> Any:
        if self.after == 0:
            raise KeyboardInterrupt
        self.after -= 1
        return super()._batch(*given)


def interrupted(after: int) -> TransformersEngine:
    made = Interrupted(tiny.model(), tiny.tokenizer(), batch_tokens=60)
    made.after = after
    return made


def whole_engine() -> TransformersEngine:
    return TransformersEngine(tiny.model(), tiny.tokenizer(), batch_tokens=60)


def test_an_interrupted_run_goes_on_and_ends_with_the_same_bytes(tmp_path: Path) -> None:
    sampling, data = Sampling(samples=2, max_new_tokens=8), records()
    expected = generate_file(data, tmp_path / "whole.jsonl", whole_engine(), sampling)
    out, left = tmp_path / "s.jsonl", tmp_path / "s.jsonl.unfinished"
    for after in (2, 1):
        with pytest.raises(KeyboardInterrupt):
            generate_file(data, out, interrupted(after), sampling)
        assert not out.exists()
    noted = left.read_bytes()
    left.write_bytes(noted + noted.splitlines(keepends=True)[-1][:-9])  # a kill tears the last line
    report = generate_file(data, out, whole_engine(), sampling)
    assert out.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert (tmp_path / "_s.jsonl.json").read_bytes() == (tmp_path / "_whole.jsonl.json").read_bytes()
    assert report.resumed == len(noted.splitlines()) - 1 > 4
    assert expected.resumed == 0
    assert not left.exists()
    assert {path.name for path in tmp_path.iterdir()} == {
        "s.jsonl",
        "_s.jsonl.json",
        "whole.jsonl",
        "_whole.jsonl.json",
    }


def test_what_is_computed_together_stays_together_when_a_run_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    together: list[list[Any]] = []
    batch = TransformersEngine._batch

    def noting(self: TransformersEngine, model: Any, requests: Any, *rest: Any) -> Any:
        together.append([request.key for request in requests])
        return batch(self, model, requests, *rest)

    monkeypatch.setattr(TransformersEngine, "_batch", noting)
    job = generation._run._Job(records(), whole_engine(), SHORT, None, None)
    list(job.engine.answers(job.requests, SHORT, (), {}))
    whole = list(together)
    assert len(whole) > 2
    together.clear()
    done = dict.fromkeys([*whole[0], whole[1][0]])
    answered = [answer.key for found in job.engine.answers(job.requests, SHORT, (), done) for answer in found]
    assert together == whole[1:]
    assert answered == [key for part in whole[1:] for key in part]


def test_an_unfinished_run_of_other_settings_is_refused(tmp_path: Path) -> None:
    out, left = tmp_path / "s.jsonl", tmp_path / "s.jsonl.unfinished"
    with pytest.raises(KeyboardInterrupt):
        generate_file(records(), out, interrupted(1), SHORT)
    noted = left.read_bytes()
    other = Sampling(max_new_tokens=8, temperature=0.5)
    with pytest.raises(ValueError, match=r"begun with other settings: sampling.temperature was 1.0, and is 0.5; give"):
        generate_file(records(), out, whole_engine(), other)
    with pytest.raises(ValueError, match=r"prompts_sha256 was"):
        generate_file(records(10), out, whole_engine(), SHORT)
    assert left.read_bytes() == noted
    assert generate_file(records(), out, whole_engine(), other, overwrite=True).resumed == 0
    assert not left.exists()
    left.write_text("a letter\n")
    with pytest.raises(FileExistsError, match="not what an unfinished run leaves: move it away"):
        generate_file(records(), out, whole_engine(), other, overwrite=True)


def test_nothing_is_replaced_unless_asked(tmp_path: Path) -> None:
    out = tmp_path / "s.jsonl"
    out.write_text("mine")
    parrot = Parrot()
    with pytest.raises(FileExistsError, match="exists already"):
        generate_file(records(), out, parrot)
    assert (out.read_text(), parrot.asked) == ("mine", [])
    generate_file(records(), out, parrot, overwrite=True)
    assert len(out.read_text().splitlines()) == 12
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        generate_file(records(), tmp_path / "none" / "s.jsonl", parrot)


def test_the_file_says_what_it_was_made_with(tmp_path: Path, model_folder: Path) -> None:
    out = tmp_path / "s.jsonl"
    report = generate_file(records(), out, TransformersEngine(str(model_folder), device="cpu"), SHORT)
    settings = generation.settings_of(out)
    assert settings == report.settings
    assert settings["model"]["name"] == model_folder.name
    assert len(settings["model"]["sha256"]) == 64
    assert settings["sampling"]["max_new_tokens"] == 8
    assert {json.loads(line)["settings"] for line in out.read_text().splitlines()} == {report.settings_hash}
    assert str(tmp_path) not in (tmp_path / "_s.jsonl.json").read_text()
    assert generation.settings_of(tmp_path / "other.jsonl") is None
    (tmp_path / "_s.jsonl.json").write_text("[]")
    with pytest.raises(ValueError, match="does not say what samples were made with"):
        generation.settings_of(out)


def test_what_is_written_is_read_as_it_is(bucketed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "answers"
    folder.mkdir()
    report = generate_file(bucketed, folder / "s.jsonl", engine(), Sampling(samples=2, max_new_tokens=8))
    reference = Reference.build(bucketed)
    for samples in (folder / "s.jsonl", folder):  # the settings beside it are passed over
        found = pairs.from_samples(bucketed, samples).report
        assert found.samples == report.samples == 2 * found.records
        assert set(found.skipped_by_kind) <= {"empty_rejected", "exact_match"}
        scored = reference.score_files([str(samples)], tmp_path / "scores.jsonl", overwrite=True, min_count=1)
        assert scored["tally"]["rows"] == report.samples
        assert scored["without_prompt"] == 0
        assert scored["told_by"]["record"] == 0
    lines = [json.loads(line) for line in (folder / "s.jsonl").read_text().splitlines()]
    scores = [json.loads(line) for line in (tmp_path / "scores.jsonl").read_text().splitlines()]
    assert [(line["id"], line["bucket"]) for line in scores] == [(line["id"], line["bucket"]) for line in lines]


# ------------------------------------------------------------------------------------------------- vLLM


class LoRARequest:
    def __init__(self, *given: Any) -> None:
        self.given = given


class FakeLLM:
    """Stands for vLLM: answers with its prompt's tokens, and keeps what it was given."""

    made: list[FakeLLM] = []  # noqa: RUF012

    def __init__(self, **given: Any) -> None:
        self.given, self.calls = given, []  # type: ignore[var-annotated]
        FakeLLM.made.append(self)

    def generate(self, prompts: Any, parameters: Any, **more: Any) -> Any:
        self.calls.append((prompts, parameters, more))
        for prompt in prompts:
            ids = prompt["prompt_token_ids"]
            ended = len(ids) % 2 == 0
            completion = types.SimpleNamespace(
                text=" yes ",
                token_ids=[6, 1] if ended else [6],
                finish_reason="stop" if ended else "length",
                stop_reason=None,
            )
            yield types.SimpleNamespace(outputs=[completion])


@pytest.fixture
def vllm(monkeypatch: pytest.MonkeyPatch) -> type[FakeLLM]:
    module: Any = types.ModuleType("vllm")
    module.LLM, module.SamplingParams, module.__version__ = FakeLLM, types.SimpleNamespace, "0.0"
    lora: Any = types.ModuleType("vllm.lora.request")
    lora.LoRARequest = LoRARequest
    monkeypatch.setitem(sys.modules, "vllm", module)
    monkeypatch.setitem(sys.modules, "vllm.lora", types.ModuleType("vllm.lora"))
    monkeypatch.setitem(sys.modules, "vllm.lora.request", lora)
    monkeypatch.setattr(FakeLLM, "made", [])
    return FakeLLM


def test_vllm_is_given_tokens_and_a_seed_for_each(vllm: type[FakeLLM], model_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "adapter").mkdir()
    made = generation.VLLMEngine(
        str(model_folder), adapter=str(tmp_path / "adapter"), options={"tensor_parallel_size": 2, "max_model_len": 64}
    )
    sampling = Sampling(samples=2, top_k=5, temperature=0.5, max_new_tokens=8, min_new_tokens=1, stop=["."])
    found = generate(records(), made, sampling)
    (llm,) = vllm.made
    assert llm.given["model"] == str(model_folder)
    assert (llm.given["tensor_parallel_size"], llm.given["enable_lora"]) == (2, True)
    ((prompts, parameters, more),) = llm.calls
    expected = generate(records(), TransformersEngine(str(model_folder)), SHORT).rows
    assert [len(prompt["prompt_token_ids"]) for prompt in prompts[::2]] == [line["prompt_tokens"] for line in expected]
    assert len({each.seed for each in parameters}) == 24
    assert max(each.seed for each in parameters) < 2**63
    (one, *_) = parameters
    assert (one.temperature, one.top_k, one.max_tokens, one.min_tokens, one.stop, one.stop_token_ids) == (
        0.5,
        5,
        8,
        1,
        ["."],
        [1],
    )
    assert more["lora_request"].given[-1] == str(tmp_path / "adapter")
    told = Counter((line["finish"], line["tokens"], line["response"]) for line in found.rows)
    assert set(told) == {("stop", 1, "yes"), ("length", 1, "yes")}
    assert found.report.settings["versions"] == {"vllm": "0.0"}


def test_vllm_goes_on_with_what_is_left(
    vllm: type[FakeLLM], model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generation._vllm, "_PART", 5)
    original = FakeLLM.generate

    def breaks(self: FakeLLM, *given: Any, **more: Any) -> Any:
        if len(self.calls) == 1:
            raise KeyboardInterrupt
        return list(original(self, *given, **more))

    monkeypatch.setattr(FakeLLM, "generate", breaks)
    with pytest.raises(KeyboardInterrupt):
        generate_file(records(), tmp_path / "s.jsonl", generation.VLLMEngine(str(model_folder)), SHORT)
    monkeypatch.setattr(FakeLLM, "generate", original)
    report = generate_file(records(), tmp_path / "s.jsonl", generation.VLLMEngine(str(model_folder)), SHORT)
    assert (report.samples, report.resumed) == (12, 5)
    assert [len(prompts) for prompts, *_ in vllm.made[-1].calls] == [5, 2]


def test_vllm_that_is_not_there_is_said(model_folder: Path) -> None:
    with pytest.raises(ModuleNotFoundError, match="the engine vllm needs vllm: pip install vllm"):
        generation.VLLMEngine(str(model_folder))


# ---------------------------------------------------------------------------------------------- command line


def test_command_line(
    cli: Cli, bucketed: Path, model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments: list[object] = [
        "generate",
        bucketed,
        "--model",
        model_folder,
        "-k",
        2,
        "--max-new-tokens",
        8,
        "--out",
        "s.jsonl",
    ]
    found = cli(*arguments)
    assert found.returncode == 0, found.stderr
    assert "written to s.jsonl" in found.stdout
    assert re.fullmatch(r"polyalign: warning: \d+ of \d+ samples are cut at --max-new-tokens\n", found.stderr)
    # Here, where torch is loaded.
    assert command_line.run([*map(str, arguments[:-1]), str(tmp_path / "s.jsonl"), "--overwrite", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["settings"]["sampling"]["samples"] == 2
    assert cli(*arguments).stderr == "polyalign: s.jsonl: exists already; --overwrite replaces it\n"
    paired = cli("pairs", bucketed, "--samples", "s.jsonl", "--out", "pairs", "--max-rejects", 1)
    assert paired.returncode == 0, paired.stderr


REFUSED = {
    "no-model": (["--model", "./none"], 1, "--model: ./none: no such folder"),
    "no-config": (["--model", "."], 1, "--model: .: no model: the folder has no config.json"),
    "adapter": (
        ["--model", "org/m", "--adapter", "a"],
        1,
        "--adapter: a: no adapter: the folder has no adapter_config.json",
    ),
    "server": (["--model", "m", "--engine", "openai"], 2, "--engine openai needs the server's --base-url"),
    "url": (["--model", "m", "--base-url", "localhost:8000"], 1, "base_url 'localhost:8000' is no address"),
    "secret": (["--model", "m", "--base-url", "http://me:pw@host/v1"], 1, "base_url holds a password"),
    "key": (["--model", "m", "--base-url", "http://h/v1", "--api-key-env", "NONE"], 1, "no variable NONE"),
    "engine": (
        ["--model", "org/m", "--base-url", "http://h/v1", "--dtype", "float16"],
        2,
        "--dtype is of the engine transformers and vllm, and this is openai",
    ),
    "timeout": (
        ["--model", "org/m", "--timeout", "3"],
        2,
        "--timeout is of the engine openai, and this is transformers",
    ),
    "vllm": (["--model", "org/m", "--engine", "vllm"], 1, "the engine vllm needs vllm: pip install vllm"),
    "json": (["--model", "org/m", "--chat-template-kwargs", "[]"], 2, "'[]' is not a JSON object"),
    "limit": (
        ["--model", "m", "--base-url", "http://h/v1", "--max-prompt-tokens", "9"],
        2,
        "--max-prompt-tokens: how many",
    ),
    "greedy": (["--model", "org/m", "-k", "2", "--temperature", "0"], 1, "temperature 0 gives the same answer 2 times"),
    "records": (["--model", "org/m"], 1, "no such file or folder"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_can_not_be_meant_is_refused_before_torch(name: str, tmp_path: Path) -> None:
    arguments, code, message = REFUSED[name]
    records = "gone" if name == "records" else "bucketed"
    if name != "records":
        (tmp_path / "bucketed").mkdir()
        pq.write_table(table({"prompt": "Why?"}), tmp_path / "bucketed" / "a.parquet")
    script = (
        "import sys; from polyalign import cli; code = cli.run(sys.argv[1:]); "
        "print('torch' in sys.modules, file=sys.stderr); sys.exit(code)"
    )
    found = subprocess.run(
        [sys.executable, "-c", script, "generate", records, "--out", "s.jsonl", *arguments],
        cwd=tmp_path, capture_output=True, text=True, check=False, env=clean_environment(),
    )  # fmt: skip
    line, loaded = found.stderr.splitlines()
    assert message in line
    assert (found.returncode, loaded) == (code, "False")
    assert not list(tmp_path.glob("s.jsonl*"))
