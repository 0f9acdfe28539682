"""`EmbeddingCritic`: its scores are those of the formulas, its sample that of all rows however they are parted."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import humans
from polyalign import BucketSchema, critics
from polyalign.buckets import _ids
from polyalign.critics import EmbeddingCritic, HuggingFaceEncoder, SupportSample, load

QA = "en|single|qa|short"
METRICS = ("knn", "energy", "mahalanobis")
LETTERS = "aeioucdnrst"


def encode(texts: list[str]) -> npt.NDArray[np.float32]:
    """How often letters are there, beside the length."""
    rows = [[1.0, len(text) ** 0.5, *(text.count(letter) for letter in LETTERS)] for text in texts]
    return np.array(rows, dtype=np.float32)


@pytest.fixture(scope="module")
def rows() -> tuple[list[str], list[str], list[Any]]:
    table = humans.table()
    texts = [messages[0]["content"] for messages in table["completion"].to_pylist()]
    return texts, table["bucket"].to_pylist(), table["prompt"].to_pylist()


def critic(rows: Any, metric: Any = "knn", **settings: Any) -> EmbeddingCritic:
    texts, buckets, prompts = rows
    given = {"schema": humans.SCHEMA, "prompts": prompts, "sample_size": 32, **settings}
    return EmbeddingCritic.train(texts, buckets, encode, metric=metric, **given)


# -------------------------------------------------------------------------------------------------- the slow oracle


class Oracle:
    """The definitions, a response at a time, over plain lists."""

    def __init__(self, rows: Any, metric: str, *, k: int = 10, min_count: int = 20, sample_size: int = 32) -> None:
        texts, buckets, prompts = rows
        self.metric, self.k, self.min_count = metric, k, min_count
        drawn = sorted(
            (critics._sample._hash([(m["role"], m["content"]) for m in prompt], text), text, bucket)  # type: ignore[attr-defined]
            for text, bucket, prompt in zip(texts, buckets, prompts, strict=True)
            if text.strip()
        )
        self.levels: dict[str, list[tuple[int, str, str]]] = {}
        for row in drawn:
            for level in _ids.targets(row[2]):
                self.levels.setdefault(level, []).append(row)
        self.levels = {level: found[:sample_size] for level, found in self.levels.items() if len(found) >= min_count}
        self.leaves = {bucket: [row for row in drawn if row[2] == bucket] for bucket in set(buckets)}

    def serving(self, bucket: str) -> str | None:
        return next((level for level in _ids.targets(bucket) if level in self.levels), None)

    def distance(self, text: str, others: Sequence[str]) -> float:
        x, y = unit([text])[0], unit(others)
        apart = np.sqrt(((y - x) ** 2).sum(axis=1))
        if self.metric != "mahalanobis" and apart.min() < 1e-3:  # its own
            y = np.delete(y, apart.argmin(), axis=0)
            apart = np.delete(apart, apart.argmin())
        if self.metric == "knn":
            return float(np.sort(apart)[: min(self.k, len(y))].mean())
        if self.metric == "energy":
            among = np.sqrt(((y[:, None] - y[None]) ** 2).sum(axis=2)).mean()
            return max(0.0, float(2 * apart.mean() - among))
        sklearn = pytest.importorskip("sklearn.covariance")
        precision = sklearn.LedoitWolf(assume_centered=False).fit(y).get_precision()
        return float(np.sqrt((x - y.mean(axis=0)) @ precision @ (x - y.mean(axis=0))))

    def score(self, text: str, bucket: str) -> float:
        level = self.serving(bucket)
        return float("nan") if level is None else self.distance(text, [row[1] for row in self.levels[level]])

    def left_out(self) -> dict[str, list[float]]:
        """By bucket, each of its humans by who serves it."""
        found: dict[str, list[float]] = {}
        for bucket, leaves in self.leaves.items():
            level = self.serving(bucket)
            if level is None:
                continue
            for row in leaves:
                scored = self.distance(row[1], [other[1] for other in self.levels[level]])
                found.setdefault(bucket, []).append(scored)
        return found


def unit(texts: Sequence[str]) -> npt.NDArray[np.float64]:
    vectors = encode(list(texts)).astype(np.float64)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32).astype(np.float64)


@pytest.mark.parametrize("metric", METRICS)
def test_scores_are_the_definitions(rows: Any, metric: str) -> None:
    made, oracle = critic(rows, metric), Oracle(rows, metric)
    buckets = sorted({*rows[1], "fr|single|qa|short", "de|single|qa|short", "zh|multi|story|medium"})
    assert {made.serving(bucket) == bucket for bucket in buckets} == {True, False}
    for bucket in buckets:
        assert made.serving(bucket) == oracle.serving(bucket)
        texts = ["We think so.", "因为今天很好。", "ssss nnnn", rows[0][0]]
        found = made.score(texts, [bucket] * 4)
        assert (found.dtype, found.shape) == (np.float32, (4,))
        np.testing.assert_allclose(found, [oracle.score(text, bucket) for text in texts], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("metric", METRICS[:2])
def test_humans_calibrate_with_the_others(rows: Any, metric: str) -> None:
    made, oracle = critic(rows, metric, k=5), Oracle(rows, metric, k=5)
    left_out = oracle.left_out()
    assert len(left_out) > 3
    for bucket, scores in left_out.items():
        if len(scores) >= 20:
            np.testing.assert_allclose(made.calibration.humans[bucket], np.sort(scores), rtol=1e-3, atol=1e-5)
    middle = sorted(left_out[QA])[len(left_out[QA]) // 2]
    assert made.calibration.percentile([middle], [QA])[0] == pytest.approx(0.5, abs=0.05)


def test_covariances_are_of_others(rows: Any) -> None:
    """Each human that stands for its bucket is measured by nine tenths of them, in which it is not."""
    made, oracle = critic(rows, "mahalanobis"), Oracle(rows, "mahalanobis")
    stand = [text for _, text, _ in oracle.levels[QA]]
    found = [
        oracle.distance(text, [other for place, other in enumerate(stand) if place % 10 != at % 10])
        for at, text in enumerate(stand)
    ]
    found += [oracle.distance(text, stand) for _, text, _ in oracle.leaves[QA][len(stand) :]]
    np.testing.assert_allclose(made.calibration.humans[QA], np.sort(found), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("metric", METRICS)
def test_percentiles_part_humans_from_gibberish(rows: Any, metric: str) -> None:
    made = critic(rows, metric, sample_size=64)
    kept = {text for _, text in made_sample(rows, 64).rows[QA]}
    texts = [text for text, bucket in zip(rows[0], rows[1], strict=True) if bucket == QA and text not in kept]
    own = made.percentile(texts, [QA] * len(texts))
    far = made.percentile(["uuuuuuuuuuuuu", "zzzzzzzz", "", "  \n"], [QA] * 4)
    assert 0.35 < own.mean() < 0.65
    assert far.min() > 0.9
    assert np.isnan(made.percentile(["We think so."] * 2, ["de|single|qa|short", "nonsense"])).all()


def test_to_repeat_a_human_is_no_way_to_be_nearest(rows: Any) -> None:
    """As a reward it must not pay for one answer of a human to everything."""
    for metric in METRICS[:2]:
        made = critic(rows, metric)
        sampled = [text for _, text in made_sample(rows, 32).rows[QA]]
        found = made.percentile(sampled, [QA] * len(sampled))
        assert 0.3 < np.mean(found) < 0.7
        assert made.score(sampled, [QA] * len(sampled)).min() > 0


def made_sample(rows: Any, size: int) -> SupportSample:
    sample = SupportSample(size)
    sample.add(*rows)
    return sample


def test_saying_nothing_is_the_furthest(rows: Any) -> None:
    for metric in METRICS:
        blank, far, thought = critics.ask(critic(rows, metric), ["", "zzzzzz", "<think>So?"], [QA] * 3)
        assert blank == thought
        assert blank >= far
    assert not EmbeddingCritic.uses_prompts
    assert critic(rows).score([], []).shape == (0,)


# ------------------------------------------------------------------------------------------------------- the sample


def test_a_sample_is_the_same_however_its_rows_are_parted(rows: Any, tmp_path: Path) -> None:
    texts, buckets, prompts = rows
    whole = SupportSample(24)
    whole.add(texts, buckets, prompts)
    order = list(range(len(texts)))
    for seed in range(3):
        random.Random(seed).shuffle(order)
        parts = []
        for start in range(0, len(order), 90):
            places = order[start : start + 90]
            parts.append(SupportSample(24))
            parts[-1].add([texts[at] for at in places], [buckets[at] for at in places], [prompts[at] for at in places])
        merged = parts[0].merge(*parts[:0:-1])
        assert (merged.rows, merged.counts) == (whole.rows, whole.counts)
        for name, sample in (("one", whole), (f"two{seed}", merged)):
            EmbeddingCritic.of_sample(sample, encode, schema=humans.SCHEMA, sample_size=20).save(
                tmp_path / name, overwrite=True
            )
        for file in ("manifest.json", "tensors.safetensors"):
            assert (tmp_path / "one" / file).read_bytes() == (tmp_path / f"two{seed}" / file).read_bytes()
    assert {len(kept) for kept in whole.rows.values()} <= set(range(1, 25))
    assert sum(whole.counts.values()) == len(texts)


def test_what_stands_for_nobody_is_left_out() -> None:
    sample = SupportSample(4)
    sample.add(["Yes.", "<think>No.</think>", " ", "Yes.", "<think>Hm.</think>No."], [QA, QA, QA, None, QA])
    assert [text for _, text in sample.rows[QA]] in (["Yes.", "No."], ["No.", "Yes."])
    thinking = SupportSample(4, keep_thinking=True)
    thinking.add(["<think>No.</think>"], [QA])
    assert thinking.counts == {QA: 1}
    with pytest.raises(ValueError, match="samples of size 4 and 4, keep_thinking False and True"):
        sample.merge(thinking)
    with pytest.raises(ValueError, match="2 responses and 1 buckets: give one for each"):
        sample.add(["a", "b"], [QA])
    with pytest.raises(ValueError, match="1 response and 2 prompts: give one for each"):
        sample.add(["a"], [QA], ["a", "b"])
    with pytest.raises(ValueError, match="size is 0"):
        SupportSample(0)
    # Rows that are equal count as often as they are there.
    sample = SupportSample(4)
    sample.add(["Yes."] * 9, [QA] * 9)
    assert [text for _, text in sample.rows[QA]] == ["Yes."] * 4
    assert repr(sample) == "<SupportSample: 4 of 9 humans in 1 bucket>"


# ------------------------------------------------------------------------------------------------------------ files


@pytest.mark.parametrize("metric", METRICS)
def test_what_is_saved_is_loaded(rows: Any, tmp_path: Path, metric: str) -> None:
    made = critic(rows, metric)
    made.save(tmp_path / "critic")
    texts, buckets = [*rows[0][:50], ""], [*rows[1][:50], QA]
    again = EmbeddingCritic.load(tmp_path / "critic", encoder=encode)
    assert again.score(texts, buckets).tobytes() == made.score(texts, buckets).tobytes()
    assert again.percentile(texts, buckets).tobytes() == made.percentile(texts, buckets).tobytes()
    assert (again.schema, again.metric, again.provenance) == (made.schema, metric, made.provenance)
    again.save(tmp_path / "again")
    for file in ("manifest.json", "tensors.safetensors"):
        assert (tmp_path / "critic" / file).read_bytes() == (tmp_path / "again" / file).read_bytes()
    # A function is not saved.
    without = load(tmp_path / "critic")
    assert "encoder encode" in repr(without)
    with pytest.raises(ValueError, match=r"the critic's encoder is a function, encode, which is not saved: "):
        without.score(["a"], [QA])
    with pytest.raises(ValueError, match="is another than the one that the critic was made with"):
        EmbeddingCritic.load(tmp_path / "critic", encoder=lambda texts: encode(texts)[:, ::-1]).score(["a"], [QA])
    with pytest.raises(ValueError, match="is another than the one that the critic was made with"):
        EmbeddingCritic.load(tmp_path / "critic", encoder=lambda texts: encode(texts)[:, :4]).score(["a"], [QA])


def test_what_is_damaged_is_refused(rows: Any, tmp_path: Path) -> None:
    from polyalign.critics import _saved

    made = critic(rows)
    made.save(tmp_path / "critic")
    whole = _saved.read(tmp_path / "critic")
    sizes, vectors = whole.settings["sizes"], whole.tensors["vectors"]
    first = next(iter(sizes))
    changes: list[tuple[dict[str, Any], dict[str, Any], str]] = [
        ({"metric": "cosine"}, {}, "settings that can't be"),
        ({"metric": 3}, {}, "no 'metric' that is str"),
        ({"k": 0}, {}, "settings that can't be"),
        ({"k": True}, {}, "no 'k' that is int"),
        ({"min_count": -1}, {}, "settings that can't be"),
        ({"sizes": {**sizes, first: 0}}, {}, "buckets that can't be"),
        ({"sizes": {**sizes, first: sizes[first] + 1}}, {}, r"'vectors' is float32\["),
        ({"sizes": {**sizes, "zz|*|qa|short": 1}}, {}, "buckets that can't be"),
        ({"sizes": dict(reversed(sizes.items()))}, {}, "buckets that can't be"),
        ({"sizes": {}}, {}, r"'vectors' is float32\["),
        ({}, {"vectors": vectors * 2}, "vectors that are not of length 1"),
        ({}, {"vectors": vectors * np.float32(np.nan)}, "not finite"),
        ({}, {"vectors": vectors.astype(np.float64)}, "'vectors' is float64"),
        ({}, {"vectors": None}, "has no 'vectors'"),
        ({}, {"hashes": whole.tensors["hashes"][:-1]}, "'hashes' is uint64"),
        ({}, {"probe": whole.tensors["probe"][:-1]}, "'probe' is float32"),
        ({"encoder": {"name": 3}}, {}, "an encoder that can't be"),
        ({"encoder": {"name": "x", "revision": 1}}, {}, "an encoder that can't be"),
        ({"encoder": []}, {}, "no 'encoder' that is dict"),
        ({"provenance": 3}, {}, "no 'provenance' that is dict"),
    ]
    for settings, tensors, message in changes:
        given = {name: value for name, value in {**whole.tensors, **tensors}.items() if value is not None}
        _saved.write(tmp_path / "bad", "embedding", whole.schema, {**whole.settings, **settings}, given, overwrite=True)
        with pytest.raises(ValueError, match=message) as error:
            load(tmp_path / "bad")
        assert "\n" not in str(error.value)
    _saved.write(tmp_path / "bad", "support", whole.schema, {}, {}, overwrite=True)
    with pytest.raises(ValueError, match="a critic of the kind 'support', not 'embedding'"):
        EmbeddingCritic.load(tmp_path / "bad")


def test_what_is_wrong_is_said_when_it_is_made(rows: Any) -> None:
    def zeros(texts: list[str]) -> Any:
        return np.zeros((len(texts), 3), dtype=np.float32)

    for given, settings, error, message in (
        (encode, {"metric": "cosine"}, ValueError, "metric is 'cosine': it is one of 'knn', 'energy', 'mahalanobis'"),
        (encode, {"k": 0}, ValueError, "k is 0: it must be at least 1"),
        (encode, {"min_count": 1}, ValueError, "min_count is 1: it must be at least 3"),
        (encode, {"min_count": 500, "sample_size": 600}, ValueError, "nobody to calibrate with"),
        (encode, {"min_count": 500}, ValueError, "sample_size is 256: it must be at least 500"),
        (encode, {"schema": BucketSchema(axes=["language"])}, ValueError, "has 4 parts, not one for each of language"),
        (zeros, {}, ValueError, "gave no vector, or one of zeros, of "),
        (lambda texts: [1.0], {}, ValueError, r"gave float64\[1\] for .* texts: float32 \[texts, dimension\] is due"),
        (lambda texts: [[3]] * len(texts), {}, ValueError, r"gave int64\["),
        (3, {}, TypeError, "encoder is a folder, a name on the hub or a function of texts, not int"),
    ):
        with pytest.raises(error, match=message):
            EmbeddingCritic.train(*rows[:2], given, **{"schema": humans.SCHEMA, **settings})
    with pytest.raises(ValueError, match="there are no human responses"):
        EmbeddingCritic.train(["", " "], [QA, QA], encode)
    with pytest.raises(ValueError, match="2 responses and 1 bucket"):
        critic(rows).score(["a", "b"], [QA])


# ---------------------------------------------------------------------------------------------- pretrained encoders


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("torch", reason="encoders need torch")
    import encoders

    return encoders.bert(tmp_path_factory.mktemp("encoder") / "bert")


SHORT = [f"No, {number} is it." for number in range(40)]


def test_vectors_are_means_over_tokens(encoder: Path) -> None:
    """One by one, without padding, the same; what is longer than the encoder reads is cut, and counted."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    texts = [*SHORT[:9], "a", "x " * 100, ""]
    found, cut = HuggingFaceEncoder(str(encoder), batch_size=4)(texts)
    assert cut.tolist() == [False] * 10 + [True, False]
    model, tokenizer = AutoModel.from_pretrained(encoder).eval(), AutoTokenizer.from_pretrained(encoder)
    for text, vector in zip(texts, found, strict=True):
        ids = tokenizer(text, return_tensors="pt", truncation=True, max_length=32)
        with torch.no_grad():
            wanted = model(**ids).last_hidden_state[0].mean(dim=0)
        np.testing.assert_allclose(vector, wanted.numpy(), rtol=1e-4, atol=1e-5)
    assert HuggingFaceEncoder(str(encoder))([])[0].shape == (0, 16)


def test_fewer_long_texts_are_read_at_once(tmp_path: Path) -> None:
    """What attention needs of a batch is bounded, whatever the texts' lengths."""
    tiny = pytest.importorskip("tiny", reason="trl is not installed: pip install 'polyalign[train]'")
    tokenizer = tiny.chat_tokenizer()
    tokenizer.save_pretrained(tmp_path)
    tiny.chat_model(len(tokenizer)).save_pretrained(tmp_path)
    given = HuggingFaceEncoder(str(tmp_path))
    read: list[Any] = []
    given.model.register_forward_pre_hook(
        lambda _model, _, named: read.append(named["input_ids"].shape), with_kwargs=True
    )
    given(["yes"] * 100 + ["word " * 300] * 30)
    assert max(texts * tokens for texts, tokens in read) <= 4096
    assert max(texts for texts, _ in read) == 64


def test_a_critic_names_its_encoder(encoder: Path, tmp_path: Path) -> None:
    made = EmbeddingCritic.train(SHORT, [QA] * 40, str(encoder))
    scores = critics.ask(made, [*SHORT[:3], "zzzzzzzz qqqq", ""], [QA] * 5)
    assert scores[:3].max() < scores[3] < scores[4] == 2
    made.save(tmp_path / "critic")
    told = json.loads((tmp_path / "critic" / "manifest.json").read_text())["settings"]["encoder"]
    assert told == {"name": str(encoder), "revision": None, "max_length": None}
    again = load(tmp_path / "critic")
    assert critics.ask(again, SHORT[:3], [QA] * 3).tolist() == pytest.approx(scores[:3].tolist(), abs=1e-5)
    assert repr(again) == f"<EmbeddingCritic: knn, 40 humans in 1 bucket, encoder {str(encoder)!r}>"
    again.score(["y" * 90, "y"], [QA] * 2)
    assert again.truncated == 1
    # The same folder may hold another encoder later.
    encoder.rename(encoder.with_name("gone"))
    try:
        with pytest.raises(
            ValueError, match=r"critic: its encoder '.*bert' can't be opened: .*encoder=….* takes another"
        ):
            load(tmp_path / "critic")
        moved = EmbeddingCritic.load(tmp_path / "critic", encoder=str(encoder.with_name("gone")))
        assert critics.ask(moved, SHORT[:3], [QA] * 3).tolist() == pytest.approx(scores[:3].tolist(), abs=1e-5)
    finally:
        encoder.with_name("gone").rename(encoder)


def test_what_an_encoder_cuts_is_said(encoder: Path) -> None:
    long = ["w" * (40 + number) for number in range(40)]
    with pytest.raises(ValueError, match="reads 32 tokens, and all 40 responses are longer: it would compare their"):
        EmbeddingCritic.train(long, [QA] * 40, str(encoder))
    with pytest.warns(UserWarning, match="reads 32 tokens: of 1 of 41 responses it sees the beginning alone"):
        made = EmbeddingCritic.train([*SHORT, long[0]], [QA] * 41, str(encoder))
    assert made.provenance == {"humans": {QA: 41}, "truncated": 1}
    with pytest.raises(ValueError, match=r"it reads 2 tokens, which leaves no room for text"):
        HuggingFaceEncoder(str(encoder), max_length=2)
    with pytest.raises(ValueError, match="reads 3 tokens, and all 40 responses are longer"):
        EmbeddingCritic.train(SHORT, [QA] * 40, HuggingFaceEncoder(str(encoder), max_length=3))
    with pytest.raises(OSError, match="nothing"):
        EmbeddingCritic.train(SHORT, [QA] * 40, "./nothing")
