"""Features of a causal language model, beside one response at a time."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'polyalign[train]'")
transformers = pytest.importorskip("transformers", reason="transformers is not installed")

import polyalign  # noqa: E402
import tiny  # noqa: E402
from polyalign import lm  # noqa: E402

CONTEXT = 24


def user(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def data(rows: int = 14) -> tuple[list[str], list[Any]]:
    made = tiny.responses(rows, seed=4).to_list()
    prompts = [row["prompt"] for row in made]
    prompts[3], prompts[5] = None, "yes no"
    texts = [row["completion"][0]["content"] for row in made]
    texts[1], texts[2], texts[6] = "", "yes", " ".join(tiny.WORDS[:20])
    texts[7] = " ".join(tiny.WORDS * 2)
    return texts, prompts


def words(*, begins: bool = True, template: bool = True) -> Any:
    made = tiny.tokenizer()
    if begins:
        made.bos_token = "<|system|>"
    if not template:
        made.chat_template = None
    return made


def model(**settings: Any) -> Any:
    return tiny.model(dtype=torch.float64, max_position_embeddings=CONTEXT, **settings)


@torch.no_grad()
def oracle(model: Any, words: Any, row: tuple[str, Any], limit: int, prefix: str = "chat") -> dict[str, float]:
    """One response at a time, from the whole matrix of logits, without padding."""
    text, prompt = row
    found: dict[str, float] = {}
    answer = words(text, add_special_tokens=False)["input_ids"]
    found["answer_tokens"] = len(answer)
    surprisals = {}
    for kind in ("unconditional", "conditional"):
        if kind == "conditional" and prompt is None:
            found |= {f"{kind}_{name}": math.nan for name in lm._MEASURES}
            continue
        messages = user(prompt) if isinstance(prompt, str) else prompt
        if kind == "unconditional":
            before = [words.bos_token_id] if words.bos_token_id is not None else []
        elif prefix == "chat":
            before = words.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
        else:
            before = words(
                {"paper": lm.paper_prefix, "plain": lm._plain}[prefix]([tuple(m.values()) for m in messages])
            )["input_ids"]
        ids, gone = [*before, *answer], 0
        while len(ids) > limit:
            ids, gone = ids[1:], gone + 1
        kept = len(answer) - max(0, gone - len(before))
        logps = model(torch.tensor([ids])).logits[0].log_softmax(-1) if ids else None
        values = [-float(logps[at - 1, ids[at]]) for at in range(max(1, len(ids) - kept), len(ids))]
        surprisals[kind] = values
        n, mean = len(values), float(np.mean(values)) if values else math.nan
        measured = [
            len(ids) - kept, n, n / len(answer) if answer else math.nan,
            -sum(values) if n else math.nan, -mean, sum(values) if n else math.nan, mean,
            math.exp(min(mean, 50)) if n else math.nan, mean / math.log(2),
            float(np.std(values)) if n else math.nan, min(values, default=math.nan), max(values, default=math.nan),
            gone > 0, min(gone, len(before)), max(0, gone - len(before)),
        ]  # fmt: skip
        found |= {f"{kind}_{name}": float(value) for name, value in zip(lm._MEASURES, measured, strict=True)}
    both = min(len(values) for values in surprisals.values()) if len(surprisals) == 2 else 0
    with_, without = (surprisals.get(kind, [])[-both:] for kind in ("conditional", "unconditional"))
    found["conditional_gain"] = sum(without) - sum(with_) if both else math.nan
    found["gain_per_token"] = found["conditional_gain"] / both if both else math.nan
    found["perplexity_ratio"] = (
        found["conditional_perplexity"] / found["unconditional_perplexity"] if both else math.nan
    )
    return found


def compare(table: pa.Table, expected: list[dict[str, float]]) -> None:
    assert tuple(table.column_names) == lm.COLUMNS == tuple(expected[0])
    for name in table.column_names:
        assert table[name].type == pa.float32()
        values = [row[name] for row in expected]
        np.testing.assert_allclose(table[name].to_numpy(), values, rtol=2e-5, atol=2e-5, err_msg=name)


@pytest.mark.parametrize("prefix", ["chat", "paper", "plain"])
@pytest.mark.parametrize("batch_tokens", [1, 60, 100_000])
@pytest.mark.parametrize("begins", [True, False], ids=["bos", "no-bos"])
def test_features_are_those_of_one_at_a_time(prefix: Any, batch_tokens: int, begins: bool) -> None:
    texts, prompts = data()
    net, tokens = model(), words(begins=begins)
    found = polyalign.lm_features(net, texts, prompts, tokenizer=tokens, prefix=prefix, batch_tokens=batch_tokens)
    expected = [oracle(net, tokens, row, CONTEXT, prefix) for row in zip(texts, prompts, strict=True)]
    compare(found, expected)
    assert max(row["conditional_dropped_answer_tokens"] for row in expected if row["conditional_truncated"] == 1) > 0
    assert any(
        row["conditional_dropped_prefix_tokens"] > 0 and not row["conditional_dropped_answer_tokens"]
        for row in expected
    )


def test_what_is_done_to_logits_counts() -> None:
    torch.manual_seed(0)
    config = transformers.Gemma2Config(
        **{**tiny.SIZES, "head_dim": 8, "final_logit_softcapping": 0.5, "max_position_embeddings": CONTEXT}
    )
    net = transformers.Gemma2ForCausalLM(config).double().eval()
    texts, prompts = data(9)
    tokens = words()
    found = polyalign.lm_features(net, texts, prompts, tokenizer=tokens)
    compare(found, [oracle(net, tokens, row, CONTEXT) for row in zip(texts, prompts, strict=True)])


def test_only_what_differs_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    batch = lm._Scorer._batch
    monkeypatch.setattr(lm._Scorer, "_batch", lambda self, keys: seen.extend(keys) or batch(self, keys))
    texts, prompts = ["yes no", "sun", "yes no", "yes no"], ["tea", "tea", "tea", None]
    found = polyalign.lm_features(model(), texts, prompts, tokenizer=words())
    assert len(seen) == 4  # two with the prompt, two without
    rows = found.to_pylist()
    assert rows[0] == rows[2] != rows[1]


@pytest.mark.parametrize("batch_tokens", [60, None])
def test_what_begins_alike_is_computed_once(monkeypatch: pytest.MonkeyPatch, batch_tokens: int | None) -> None:
    begun = []
    after = lm._Scorer._after
    monkeypatch.setattr(lm._Scorer, "_after", lambda self, *of: begun.append(len(of[1])) or after(self, *of))
    texts, prompts = data(24)
    net, tokens = tiny.model(dtype=torch.float64, max_position_embeddings=96), words()
    prompts = [" ".join(tiny.WORDS * (1 + at % 2)) if at % 6 else prompt for at, prompt in enumerate(prompts)]
    found = polyalign.lm_features(net, texts, prompts, tokenizer=tokens, batch_tokens=batch_tokens)
    assert len(begun) == 3 and begun[0] == 2  # two prompts, and the look at the first
    compare(found, [oracle(net, tokens, row, 96) for row in zip(texts, prompts, strict=True)])
    one = polyalign.lm_features(net, texts, prompts, tokenizer=tokens, batch_tokens=1)
    assert len(begun) == 3
    compare(one, found.to_pylist())


def test_a_model_that_keeps_nothing_of_beginnings(monkeypatch: pytest.MonkeyPatch) -> None:
    """One whose attention looks at a window."""
    config = transformers.MistralConfig(**{**tiny.SIZES, "sliding_window": 8, "max_position_embeddings": 96})
    net, tokens = transformers.MistralForCausalLM(config).double(), words()
    texts, prompts = [tiny.WORDS[at] + " sun" for at in range(8)], [" ".join(tiny.WORDS)] * 8
    found = polyalign.lm_features(net, texts, prompts, tokenizer=tokens)
    compare(found, [oracle(net, tokens, row, 96) for row in zip(texts, prompts, strict=True)])


def test_prompts_may_be_left_out_and_reasoning_does_not_count() -> None:
    net, tokens = model().train(), words(template=False)
    found = polyalign.lm_features(net, pa.array(["<think>yes</think>no sun", None]), tokenizer=tokens)
    plain = polyalign.lm_features(net, ["no sun", ""], [None, []], tokenizer=tokens)
    assert net.training
    for name in lm.COLUMNS:
        np.testing.assert_array_equal(found[name].to_numpy(), plain[name].to_numpy())
    assert np.isnan(found["conditional_gain"].to_numpy()).all()
    assert found["answer_tokens"].to_pylist() == [2, 0]
    assert polyalign.lm_features(net, [], tokenizer=tokens).num_rows == 0


def test_a_model_by_name(tmp_path: Path) -> None:
    folder = tiny.save(tmp_path, tiny.model())
    texts, prompts = data(8)
    found = polyalign.lm_features(str(folder), texts, prompts, max_length=9, device="cpu")
    expected = [oracle(tiny.model(), tiny.tokenizer(), row, 9) for row in zip(texts, prompts, strict=True)]
    compare(found, expected)


def test_adapters_of_peft() -> None:
    peft = pytest.importorskip("peft", reason="peft is not installed: pip install 'polyalign[peft]'")
    adapted = peft.get_peft_model(model(), peft.LoraConfig(target_modules=["q_proj"], r=2))
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_B" in name:
                weight.normal_()
    texts, prompts = data(8)
    found = polyalign.lm_features(adapted, texts, prompts, tokenizer=words())
    compare(found, [oracle(adapted.eval(), words(), row, CONTEXT) for row in zip(texts, prompts, strict=True)])


def test_bad_input() -> None:
    net, tokens = model(), words(template=False)
    for given, message in (
        ({"prompts": ["a", "b"]}, "1 texts and 2 prompts"),
        ({"prefix": "song"}, "prefix is 'song'"),
        ({"prefix": "chat"}, "the tokenizer has no chat template"),
        ({"max_length": 1}, "max_length is 1"),
    ):
        with pytest.raises(ValueError, match=message):
            polyalign.lm_features(net, ["yes"], tokenizer=tokens, **given)
    with torch.no_grad():
        net.model.norm.weight.fill_(torch.nan)
    with pytest.raises(ValueError, match=r"no numbers \(NaN\)"):
        polyalign.lm_features(net, ["yes"], tokenizer=tokens)
