"""`critics.LexicalCritic`: equal to its slow oracle, the same bytes for any division, damaged files refused."""

from __future__ import annotations

import json
import math
import os
import pickle
import random
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import humans
from lexical_oracle import Oracle, Row
from polyalign import Bucketer, critics
from polyalign.critics import LexicalCritic

QA, MULTI, CHAT = "en|single|qa|short", "en|multi|qa|short", "en|single|chat|long"
ZH, JA = "zh|single|qa|short", "ja|single|qa|short"
BUCKETS = (QA, MULTI, CHAT, ZH, JA)

WORDS = ["i", "think", "so", "it", "is", "don't", "Maybe", "not", "abc", "zzz", "x1"]
MARKS = [".", ",", "!", "?"]
HAN = "我们都爱吃火锅今天过得怎么样去公园散步吧。，！"


def critic_of(rows: Sequence[Row], **given: Any) -> LexicalCritic:
    table = pa.table({"bucket": [row[0] for row in rows], "completion": [_answer(row[1]) for row in rows]})
    return LexicalCritic.from_arrow(table, **given)


def _answer(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def oracle_of(rows: Sequence[Row], critic: LexicalCritic, texts: Sequence[str] = ()) -> Oracle:
    """Count rows slowly. How Chinese is cut into words is the engine's to say, and is tested there."""
    chinese = {text for bucket, text in rows if bucket == ZH} | set(texts)
    return Oracle(rows, {text: _words(critic, text) for text in chinese})


def _words(critic: LexicalCritic, text: str) -> list[str]:
    # Of a corpus with Chinese; the tokens don't depend on what is counted.
    table = critic.surprisal(text, ZH)
    both = zip(table["token"].to_pylist(), table["is_character"].to_pylist(), strict=True)
    return [token.lower() for token, is_character in both if token is not None and not is_character]


english = st.lists(st.sampled_from(WORDS + MARKS), min_size=1, max_size=14).map(" ".join)
han = st.text(HAN, min_size=1, max_size=14)
row = st.one_of(st.tuples(st.sampled_from([QA, MULTI, CHAT]), english), st.tuples(st.sampled_from([ZH, JA]), han))


@settings(max_examples=60, deadline=None)
@given(st.lists(row, min_size=1, max_size=25), english, han)
def test_it_is_its_oracle(rows: list[Row], text: str, chinese: str) -> None:
    rows = [*rows, (ZH, "我们都爱吃火锅。")]  # so that Chinese is cut
    critic = critic_of(rows)
    oracle = oracle_of(rows, critic, [chinese])
    asked = [(bucket, chinese if bucket in (ZH, JA) else text) for bucket in (*BUCKETS, "en|single|story|medium")]
    asked += rows[:5]
    buckets, texts = [bucket for bucket, _ in asked], [text for _, text in asked]
    scores, values = critic.score(texts, buckets), critic.features(texts, buckets)
    for (bucket, said), score, found in zip(asked, scores, values, strict=True):
        expected = oracle.score(bucket, said)
        if math.isnan(expected):
            assert math.isnan(score)
            assert np.isnan(found).all()
            continue
        assert score == pytest.approx(expected, rel=1e-6)
        slow = oracle.features(bucket, said)
        for name, value in zip(critic.feature_names, found.tolist(), strict=True):
            assert value == pytest.approx(slow.get(name, math.nan), rel=2e-6, abs=2e-6, nan_ok=True), name
        table = critic.surprisal(said, bucket)
        steps = [step for tokens in oracle.tokens(bucket, said).values() for step in tokens]
        assert table["surprisal"].to_pylist() == pytest.approx([step[1] for step in steps], rel=1e-9)
        assert table["level"].to_pylist() == [step[3] for step in steps]
        assert table["order"].to_pylist() == [step[4] for step in steps]


@settings(max_examples=30, deadline=None)
@given(st.lists(row, min_size=2, max_size=20), st.integers(0, 19))
def test_to_leave_one_out_is_never_to_have_counted_it(rows: list[Row], at: int) -> None:
    rows = [*rows, *((bucket, "我们" if bucket in (ZH, JA) else "it is so .") for bucket in BUCKETS)]
    one, *others = rows[at % len(rows) :] + rows[: at % len(rows)]
    if one[0] not in {bucket for bucket, _ in others}:
        others.append((one[0], "so" if one[0].startswith("en") else "吧"))
        rows = [one, *others]
    critic = critic_of(rows)
    found = critic.score([one[1]], [one[0]], leave_one_out=True)
    assert found == pytest.approx([oracle_of(others, critic, [one[1]]).score(*one)], rel=1e-6)
    assert found == pytest.approx(critic_of(others).score([one[1]], [one[0]]), rel=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.lists(row, min_size=1, max_size=30), st.integers(1, 4), st.sampled_from([0, 2, 256]), st.randoms())
def test_parts_merge_to_the_same_bytes(rows: list[Row], parts: int, size: int, shuffle: random.Random) -> None:
    whole = critic_of(rows, sample_size=size, threads=2)
    shuffled = shuffle.sample(rows, len(rows))
    merged = [critic_of(shuffled[at::parts], sample_size=size) for at in range(min(parts, len(rows)))]
    first, *others = merged
    assert first.merge(*others).to_bytes() == whole.to_bytes()
    assert LexicalCritic.from_bytes(whole.to_bytes()).to_bytes() == whole.to_bytes()


# ------------------------------------------------------------------------------------------------------ what it tells


def corpus() -> list[Row]:
    """Make-believe humans, who put words in an order."""
    pick = random.Random(1)
    who, does = ["I", "we", "they", "you"], ["think", "know", "say", "hope"]
    what, end = ["it rains today", "this is so", "nobody came", "tea is ready"], [".", "!", ", really."]
    sentence = lambda: f"{pick.choice(who)} {pick.choice(does)} that {pick.choice(what)}{pick.choice(end)}"  # noqa: E731
    people, verbs, things = (
        ["我们", "他们", "老师", "孩子"],
        ["喜欢", "想要", "知道", "需要"],
        ["火锅", "公园", "音乐", "时间"],
    )
    chinese = lambda: f"{pick.choice(people)}都{pick.choice(verbs)}{pick.choice(things)}，{pick.choice(people)}也一样。"  # noqa: E731
    rows = [(bucket, f"{sentence()} {sentence()}") for bucket in (QA, MULTI) for _ in range(150)]
    return rows + [(ZH, chinese()) for _ in range(200)]


@pytest.fixture(scope="module")
def critic() -> LexicalCritic:
    return critic_of(corpus(), sources=["made up"])


def auroc(humans: np.ndarray, others: np.ndarray) -> float:
    return float((others[:, None] > humans).mean() + (others[:, None] == humans).mean() / 2)


@pytest.mark.parametrize("bucket", [QA, ZH])
def test_what_is_no_language_is_told(critic: LexicalCritic, bucket: str) -> None:
    pick = random.Random(2)
    spaced = bucket == QA
    answers = [text for of, text in corpus() if of == bucket][:60]
    parts = [answer.split() if spaced else list(answer) for answer in answers]
    letters = "abcdefghijklmnopqrstuvwxyz" if spaced else "龘靐齉爩麤灪龖厵纞虋"
    all_parts = [part for of in parts for part in of]
    join = " ".join if spaced else "".join
    attacks = {
        "letters": ["".join(pick.choice(letters) if c.isalpha() else c for c in answer) for answer in answers],
        "random": [join(pick.choice(all_parts) for _ in of) for of in parts],
        "shuffled": [join(pick.sample(of, len(of))) for of in parts],
        "cut": [join(of[:-2]) for of in parts],
    }
    human_scores = critic.score(answers, [bucket] * 60, leave_one_out=True)
    for name, texts in attacks.items():
        assert auroc(human_scores, critic.score(texts, [bucket] * 60)) > 0.95, name
    # What asks for single tokens alone would not pass.
    blind = critic.feature_names.index("word_surprisal_alone" if spaced else "character_surprisal_alone")
    found = [critic.features(texts, [bucket] * 60)[:, blind] for texts in (answers, attacks["shuffled"])]
    assert 0.3 < auroc(*found) < 0.7


def test_empty_answers_are_the_furthest_and_nobody_is_nan(critic: LexicalCritic) -> None:
    scores = critic.score(["", " \n", "Xqz wvb!", "Ja.", "Oui."], [QA, QA, QA, "nonsense", "fr|single|qa|short"])
    assert scores[:2].tolist() == [50.0, 50.0]
    assert 0 <= scores[2] < 50
    assert np.isnan(scores[3:]).all()
    assert np.isnan(critic.score(["", "So."], [None, "*|single|qa|short"])).all()
    assert critic.score([], []).shape == (0,)
    assert critic.features([], []).shape == (0, len(critic.feature_names))
    with pytest.raises(ValueError, match="2 texts and 1 buckets"):
        critic.score(["a", "b"], [QA])
    with pytest.raises(ValueError, match='target "nonsense" has 1 parts'):
        critic.surprisal("So.", "nonsense")


def test_percentiles_of_humans_are_uniform(critic: LexicalCritic) -> None:
    pick = random.Random(3)
    rows = [row for row in corpus() if row[0] == QA]
    found = critic.percentile([text for _, text in rows], [QA] * len(rows), leave_one_out=True)
    assert abs(float(found.mean()) - 0.5) < 0.05
    assert abs(float((found > 0.9).mean()) - 0.1) < 0.05
    shuffled = [" ".join(pick.sample(text.split(), len(text.split()))) for _, text in rows[:50]]
    assert (critic.percentile(shuffled, [QA] * 50) > 0.95).all()
    assert critic.percentile(["", "Oui."], [QA, "fr|single|qa|short"])[0] > 0.95
    assert critics.is_calibrated(critic)
    without = critic_of(corpus()[:60], sample_size=0)
    with pytest.raises(ValueError, match="nobody to calibrate with"):
        without.percentile(["So."], [QA])


def test_a_small_table_leaves_the_longest_out_first() -> None:
    rows = corpus()
    small = critic_of(rows, bits=10)
    assert small.is_full
    assert small.entries <= 2**10
    assert repr(small).endswith("n-grams, full>")
    halves = critic_of(rows[::2], bits=10).merge(critic_of(rows[1::2], bits=10))
    assert halves.to_bytes() == small.to_bytes()
    with pytest.raises(ValueError, match=r"more different words .* 2\^8 n-grams .*: give more bits"):
        critic_of(rows, bits=8)


# ------------------------------------------------------------------------------------------------------ what goes in


def test_files_folders_and_tables_count_alike(tmp_path: Path) -> None:
    records = tmp_path / "corpus.jsonl"
    records.write_text("".join(json.dumps(record) + "\n" for record in humans.records()))
    bucketer = Bucketer(humans.SCHEMA)
    bucketer.bucket_files(str(records), str(tmp_path / "bucketed"))
    table = bucketer.assign(pa.Table.from_pylist(list(humans.records())))
    of_folder = LexicalCritic.build(tmp_path / "bucketed", threads=2)
    of_table = LexicalCritic.from_arrow(table, schema=humans.SCHEMA)
    of_tables = LexicalCritic.build(iter([table.slice(0, 10), table.slice(10)]), schema=humans.SCHEMA)
    assert of_folder.to_bytes() == of_table.to_bytes() == of_tables.to_bytes()
    assert of_folder.rows == len(humans.records())
    assert LexicalCritic.build([str(tmp_path / "bucketed")], limit=5).rows == 5


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_counting_is_left_when_it_is_interrupted(tmp_path: Path) -> None:
    pipe = tmp_path / "corpus.jsonl"
    os.mkfifo(pipe)
    held = os.open(pipe, os.O_RDWR)  # so that reading waits for more
    try:
        os.write(held, (json.dumps({"prompt": "So?", "completion": "So.", "bucket": QA}) + "\n").encode())

        def stop(*_: int) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            LexicalCritic.build(pipe, progress=stop)
    finally:
        os.close(held)


def test_reasoning_is_left_out_unless_it_is_kept() -> None:
    rows = [(QA, f"<think>Does it?</think>Yes, it is {word}.") for word in ("so", "true", "late")] * 3
    critic = critic_of(rows)
    assert critic.to_bytes() == critic_of([(bucket, text.split(">")[-1]) for bucket, text in rows]).to_bytes()
    one, other = critic.score([rows[0][1], "Yes, it is so."], [QA] * 2)
    assert one == other
    kept = critic_of(rows, keep_thinking=True)
    assert kept.keep_thinking
    assert kept.score([rows[0][1]], [QA])[0] < kept.score(["Yes, it is so."], [QA])[0]
    with pytest.raises(ValueError, match="different rules for reasoning don't merge"):
        critic.merge(kept)


def test_what_can_not_be_used_is_said() -> None:
    with pytest.raises(ValueError, match="no humans to build lexical counts of: the input is empty"):
        LexicalCritic.build(iter([]))
    with pytest.warns(UserWarning, match="not counted: 1 for no_response"):
        critic_of([(QA, ""), (QA, "So.")])
    with pytest.raises(TypeError, match="table must be an Arrow table"):
        LexicalCritic.from_arrow([QA])
    for bits in (7, 29):
        with pytest.raises(ValueError, match=f"bits is {bits}: it must be 8 to 28"):
            critic_of([(QA, "So.")], bits=bits)
    with pytest.raises(ValueError, match="bits is -1"):
        critic_of([(QA, "So.")], bits=-1)
    with pytest.raises(ValueError, match="different bits don't merge: 22 and 12"):
        critic_of([(QA, "So.")]).merge(critic_of([(QA, "So.")], bits=12))
    with pytest.raises(TypeError, match="not with str"):
        critic_of([(QA, "So.")]).merge("counts")  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------------------- files


def test_it_is_saved_and_loaded(critic: LexicalCritic, tmp_path: Path) -> None:
    critic.save(tmp_path / "critic")
    for loaded in (LexicalCritic.load(tmp_path / "critic"), critics.load(tmp_path / "critic")):
        assert isinstance(loaded, LexicalCritic)
        assert loaded.to_bytes() == critic.to_bytes()
    assert pickle.loads(pickle.dumps(critic)).to_bytes() == critic.to_bytes()
    assert (loaded.sources, loaded.rows, loaded.bits) == (("made up",), 500, 22)
    assert loaded.schema == critic.schema
    with pytest.raises(FileExistsError):
        critic.save(tmp_path / "critic")
    critic.save(tmp_path / "critic", overwrite=True)
    critic.save(tmp_path / "again")
    assert (tmp_path / "again" / "manifest.json").read_bytes() == (tmp_path / "critic" / "manifest.json").read_bytes()
    (tmp_path / "again" / "counts.safetensors").write_bytes(critic.to_bytes()[:-1])
    with pytest.raises(ValueError, match="damaged: train anew"):
        LexicalCritic.load(tmp_path / "again")


def _changed(data: bytes, change: Any) -> bytes:
    (length,) = struct.unpack("<Q", data[:8])
    header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    new = change(header, body)
    body = new if isinstance(new, bytes) else body
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda header, _: header["count"].update(dtype="F32"), "tensor `count` is F32"),
        (lambda header, _: header["key"].update(dtype="F64"), "tensor `key` is F64"),
        (lambda header, _: header.pop("sample_text"), "no safetensors file, or a damaged one"),
        (lambda header, _: header["count"].update(shape=[2**62]), "no safetensors file, or a damaged one"),
        (lambda header, _: header.update(other=header.pop("rows")), "it has no tensor `rows`"),
        (lambda header, _: header.pop("__metadata__"), "another kind of file"),
        (lambda header, body: body[:-8], "no safetensors file, or a damaged one"),
        (lambda header, body: bytes(len(body)), "tensor"),
        (lambda header, body: b"\xff" * len(body), "tensor"),
    ],
)
def test_hostile_bytes_are_refused_in_one_line(change: Any, reason: str) -> None:
    data = critic_of([(QA, "So it is."), (ZH, "我们")]).to_bytes()
    with pytest.raises(ValueError, match=r"^lexical counts: ") as raised:
        LexicalCritic.from_bytes(_changed(data, change))
    assert reason in str(raised.value)
    assert "\n" not in str(raised.value)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_no_damage_goes_unnoticed(data: st.DataObject) -> None:
    whole = critic_of([(QA, "So it is."), (ZH, "我们")]).to_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    broken = whole[:at] + bytes([whole[at] ^ (1 << data.draw(st.integers(0, 7)))]) + whole[at + 1 :]
    try:
        found = LexicalCritic.from_bytes(broken)
    except ValueError as error:
        assert "\n" not in str(error)
    else:  # a blank of the header
        assert found.to_bytes() == whole


def test_damaged_folders_name_the_file(critic: LexicalCritic, tmp_path: Path) -> None:
    critics.SupportCritic(humans.reference()).save(tmp_path / "support")
    with pytest.raises(ValueError, match="a critic of the kind 'support', not 'lexical'"):
        LexicalCritic.load(tmp_path / "support")
    with pytest.raises(FileNotFoundError, match="no critic is there"):
        LexicalCritic.load(tmp_path / "nothing")
