"""What part of a response counts is one rule, wherever responses are measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import polyalign
from conftest import Cli, write_jsonl
from humans import records
from polyalign import _core
from polyalign.critics import SupportCritic, ask

BUCKET = "en|single|qa|short"
ANSWER = "It is over there, on the table."
THOUGHT = "The user wants to know where the tea is. I should look for the table and the door, and say it."
SAME = {
    "plain": ANSWER,
    "reasoning": f"<think>{THOUGHT}</think>{ANSWER}",
    "spaced": f"\n<think>\n{THOUGHT}\n</think>\n\n{ANSWER}",
    "end alone": f"{THOUGHT}\n</think>\n\n{ANSWER}",
    "twice": f"<think>{THOUGHT}</think><think></think>{ANSWER}",
}
NOTHING = {
    "not ended": f"<think>{ANSWER}",
    "no answer": f"<think>{THOUGHT}</think>",
    "only an end": f"{THOUGHT}</think>\n",
}


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    return [{"prompt": "Where?", "completion": f"It is Paris, {n}.", "bucket": BUCKET} for n in range(30)]


@pytest.fixture(scope="module")
def reference(rows: list[dict[str, str]]) -> polyalign.Reference:
    return polyalign.Reference.from_arrow(pa.Table.from_pylist(rows))


@pytest.mark.parametrize("name", SAME)
def test_answers_measure_alike(reference: polyalign.Reference, name: str) -> None:
    text = SAME[name]
    assert _core.answers([text]) == [ANSWER]
    plain = reference.support_distance([ANSWER], [BUCKET])
    assert plain[0] > 0
    assert np.array_equal(reference.support_distance([text], [BUCKET]), plain)
    assert np.array_equal(SupportCritic(reference).score([text], [BUCKET]), plain)
    assert polyalign.rewards.support(reference)([text], bucket=[BUCKET]) == [-float(plain[0])]
    assert reference.score([text], [BUCKET])["distance"].to_pylist() == plain.tolist()
    assert reference.explain(text, BUCKET).distance == reference.explain(ANSWER, BUCKET).distance
    extract = polyalign.features.extract
    assert extract([text], "en", groups="length") == extract([ANSWER], "en", groups="length")
    assert extract([text], "en", groups="length", keep_thinking=True) != extract([ANSWER], "en", groups="length") or (
        text == ANSWER
    )
    assigned = polyalign.Bucketer().assign(pa.table({"prompt": ["Where?"], "completion": [text]}))
    assert assigned["length"].to_pylist() == [7]


@pytest.mark.parametrize("text", NOTHING.values(), ids=NOTHING)
def test_reasoning_alone_is_an_empty_answer(reference: polyalign.Reference, text: str) -> None:
    assert _core.answers([text]) == [""]
    assert SupportCritic(reference).score([text], [BUCKET]).tolist() == [5.0]
    assert polyalign.rewards.support(reference)([text], bucket=[BUCKET]) == [-5.0]
    assert reference.score([text], [BUCKET])["reason"].to_pylist() == ["the response is empty"]
    assigned = polyalign.Bucketer().assign(pa.table({"prompt": ["Where?"], "completion": [text]}))
    assert assigned["bucket"].to_pylist() == [None]


def test_who_speaks_of_the_tag_answers() -> None:
    texts = ["End it with `</think>`.", "Write <think>, then </think>.", 'It is "</think>" that ends it.']
    assert _core.answers(texts) == texts


@given(st.lists(st.sampled_from(["<think>", "</think>", "a", "想", " ", "\n", "`"])).map("".join))
def test_an_answer_is_its_own_answer(text: str) -> None:
    (once,) = _core.answers([text])
    assert text.endswith(once)
    assert _core.answers([once]) == [once]


def test_a_reference_that_keeps_reasoning_scores_with_it(rows: list[dict[str, str]], tmp_path: Path) -> None:
    thinking = [{**row, "completion": f"<think>{THOUGHT}</think>{row['completion']}"} for row in rows]
    table = pa.Table.from_pylist(thinking)
    kept = polyalign.Reference.from_arrow(table, keep_thinking=True)
    assert kept.keep_thinking
    kept.save(tmp_path / "kept.safetensors")
    assert polyalign.Reference.load(tmp_path / "kept.safetensors") == kept
    assert kept.support_distance([thinking[3]["completion"]], [BUCKET])[0] < 0.01
    assert kept.support_distance([rows[3]["completion"]], [BUCKET])[0] > 0.1
    assert ask(SupportCritic(kept), [thinking[3]["completion"]], [BUCKET])[0] < 0.01
    without = polyalign.Reference.from_arrow(table)
    assert without.support_distance([rows[3]["completion"]], [BUCKET])[0] < 0.01
    with pytest.raises(ValueError, match="different rules for reasoning don't merge: kept and left out"):
        kept.merge(without)
    write_jsonl(tmp_path / "answers.jsonl", thinking)
    report = kept.score_files(tmp_path / "answers.jsonl")
    assert report["buckets"][BUCKET]["mean_distance"] < 0.1
    assert without.score_files(tmp_path / "answers.jsonl")["buckets"][BUCKET]["mean_distance"] < 0.1


class Heard:
    """A critic that notes what it is asked."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def score(self, responses: Sequence[str], buckets: Sequence[str]) -> np.ndarray:
        self.texts += responses
        return np.arange(len(responses), dtype=np.float32)


def test_critics_hear_answers() -> None:
    critic = Heard()
    ask(critic, list(SAME.values()), [BUCKET] * len(SAME))
    assert critic.texts == [ANSWER] * len(SAME)


def test_pairs_are_of_answers(tmp_path: Path) -> None:
    humans = write_jsonl(tmp_path / "humans.jsonl", records()[:40])
    bucketed = tmp_path / "bucketed"
    polyalign.Bucketer().bucket_files(humans, bucketed)
    rows = pq.read_table(bucketed / "data").to_pylist()
    human = rows[0]["completion"][0]["content"]
    responses = [SAME["reasoning"], NOTHING["not ended"], f"<think>{THOUGHT}</think>{human}", ANSWER]
    samples = [{"id": rows[of]["id"], "response": text} for of, text in zip((1, 2, 0, 3), responses, strict=True)]
    critic = Heard()
    made = polyalign.pairs.from_samples(pq.read_table(bucketed / "data"), pa.Table.from_pylist(samples), critic=critic)
    assert made.report.skipped_by_kind["empty_rejected"] == 1
    assert made.report.skipped_by_kind["exact_match"] == 1
    assert made.report.pairs == 2
    assert critic.texts[-2:] == [ANSWER, ANSWER]
    # What the model wrote is what it is trained on.
    assert [row["rejected"][0]["content"] for row in made.table.to_pylist()] == [SAME["reasoning"], ANSWER]


def test_score_and_bucket_agree(cli: Cli, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "humans.jsonl", records()[:40])
    assert cli("bucket", "humans.jsonl", "--out", "b", "--reference", "r.safetensors").returncode == 0
    write_jsonl(
        tmp_path / "a.jsonl", [{"prompt": "Where?", "completion": text} for text in [*SAME.values(), *NOTHING.values()]]
    )
    assert cli("score", "a.jsonl", "--reference", "r.safetensors", "--out", "s.parquet").returncode == 0
    distances = pq.read_table(tmp_path / "s.parquet")["distance"].to_pylist()
    assert len(set(distances[: len(SAME)])) == 1
    assert distances[len(SAME) :] == [None] * len(NOTHING)
