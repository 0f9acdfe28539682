"""Detectors of machine text, beside slow versions of them that take one text and one token at a time."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import roc_auc_score, roc_curve

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'polyalign[train]'")
pytest.importorskip("trl", reason="trl is not installed: pip install 'polyalign[train]'")

import tiny  # noqa: E402
from conftest import write_jsonl  # noqa: E402
from polyalign import cli  # noqa: E402
from polyalign.evaluation.detectors import (  # noqa: E402
    Binoculars,
    ClassifierDetector,
    Detector,
    FastDetectGPT,
    detect,
    detection,
    joint_score,
)
from polyalign.lm import LanguageModel  # noqa: E402

TEXTS = [
    "yes it is",
    "the big cat was very small",
    "tea",
    "no no no no no no no",
    "<think>we</think>do you like rain",
    "",
]
PROMPTS: list[Any] = ["is it", None, "a dog", [{"role": "user", "content": "do you like tea"}], "rain", "sun"]


@pytest.fixture(scope="module")
def two() -> list[LanguageModel]:
    words = tiny.tokenizer()
    return [LanguageModel(tiny.model(seed, dtype=torch.float64), words, batch_tokens=16) for seed in (0, 1)]


def slow_moments(model: Any, observer: Any, ids: list[int], start: int) -> list[tuple[float, float, float]]:
    """Token by token, from the definition."""
    found = []
    for at in range(max(1, start), len(ids)):
        ours, theirs = (
            each(torch.tensor([ids[:at]])).logits[0, -1].log_softmax(-1).tolist() for each in (model, observer)
        )
        mean = sum(math.exp(p) * q for p, q in zip(theirs, ours, strict=True))
        square = sum(math.exp(p) * q * q for p, q in zip(theirs, ours, strict=True))
        found.append((ours[ids[at]], mean, square - mean * mean))
    return found


def slow(models: list[LanguageModel], at: int, *, prompts: bool) -> list[tuple[float, float, float]]:
    words = tiny.tokenizer()
    text = TEXTS[at].split("</think>")[-1]
    answer = words(text, add_special_tokens=False)["input_ids"] if text else []
    begin: list[int] = []
    if prompts:
        if PROMPTS[at] is None:
            return []
        messages = PROMPTS[at] if isinstance(PROMPTS[at], list) else [{"role": "user", "content": PROMPTS[at]}]
        begin = words.apply_chat_template(messages, add_generation_prompt=True, tokenize=True, return_dict=False)
    model, observer = (each._model for each in models)
    with torch.no_grad():
        return slow_moments(model, observer, [*begin, *answer], len(begin)) if answer else []


@pytest.mark.parametrize("prompts", [False, True])
def test_fast_detect_gpt_is_that_of_single_tokens(two: list[LanguageModel], prompts: bool) -> None:
    one, other = two
    for detector, models in ((FastDetectGPT(one), [one, one]), (FastDetectGPT(one, other), [one, other])):
        found = detector.score(TEXTS, PROMPTS if prompts else None)
        for at, value in enumerate(found):
            moments = slow(models, at, prompts=prompts)
            if not moments:
                assert math.isnan(value)
                continue
            chosen, mean, variance = (math.fsum(column) for column in zip(*moments, strict=True))
            assert value == pytest.approx((chosen - mean) / math.sqrt(variance), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("prompts", [False, True])
def test_binoculars_is_that_of_single_tokens(two: list[LanguageModel], prompts: bool) -> None:
    observer, performer = two
    found = Binoculars(observer, performer).score(TEXTS, PROMPTS if prompts else None)
    for at, value in enumerate(found):
        moments = slow([performer, observer], at, prompts=prompts)
        if not moments:
            assert math.isnan(value)
            continue
        surprisal, cross = (-sum(column) / len(moments) for column in list(zip(*moments, strict=True))[:2])
        assert value == pytest.approx(-surprisal / cross, rel=1e-5)


def test_batches_change_nothing(two: list[LanguageModel]) -> None:
    words = tiny.tokenizer()
    alone, together = (
        FastDetectGPT(tiny.model(0, dtype=torch.float64), tokenizer=words, batch_tokens=size).score(TEXTS * 3)
        for size in (1, 4096)
    )
    np.testing.assert_allclose(alone, together, rtol=1e-5)
    np.testing.assert_allclose(alone, FastDetectGPT(two[0]).score(TEXTS * 3), rtol=1e-5)


def test_text_of_the_model_itself_is_about_nought_and_others_below() -> None:
    """Tokens drawn from a model have the curvature 0 on average, those it finds unlikely less."""
    model, words = tiny.model(0), tiny.tokenizer()
    torch.manual_seed(0)
    drawn = model.generate(
        torch.full((64, 1), 7), do_sample=True, max_new_tokens=24, min_new_tokens=24, top_k=0, temperature=1.0,
        pad_token_id=0,
    )  # fmt: skip
    texts = words.batch_decode(drawn, skip_special_tokens=True)
    random = np.random.default_rng(0)
    others = [" ".join(random.choice(tiny.WORDS, 24)) for _ in texts]
    detector = FastDetectGPT(model, tokenizer=words)
    assert detection(detector.score(others), detector.score(texts))["auroc"]["value"] > 0.9


def test_models_of_different_tokenizers_are_refused(two: list[LanguageModel]) -> None:
    other = LanguageModel(tiny.model(1), tiny.tokenizer([*tiny.WORDS, "more"]))
    with pytest.raises(ValueError, match="the two models have different tokenizers"):
        Binoculars(two[0], other).score(["yes it is"])
    short = LanguageModel(tiny.model(1), tiny.tokenizer(), max_length=4)
    with pytest.raises(ValueError, match="the observer's context is 4 tokens, and a text has 6: set max_length"):
        FastDetectGPT(two[0], short).score(["the big cat was very small"])


# ------------------------------------------------------------------------------------------------------ classifiers


def test_a_model_without_a_classifiers_head_is_none(tmp_path: Path) -> None:
    """Its head would be drawn at random, and what it says look like a finding."""
    classifier(["human", "machine"]).bert.save_pretrained(tmp_path)
    tiny.tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"no classifier: it has no weights .*classifier\.weight"):
        ClassifierDetector(tmp_path, label=1).score(TEXTS)


def test_a_folder_that_is_not_there_is_said_to_be_none() -> None:
    """Without the hub's words about the names that it has."""
    for detector in (ClassifierDetector("/nosuch"), FastDetectGPT("/nosuch")):
        with pytest.raises(OSError, match=r"^model /nosuch: no such folder$"):
            detector.score(["So it is."])


def classifier(labels: list[str], seed: int = 0) -> Any:
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(seed)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = BertConfig(vocab_size=32, max_position_embeddings=12, initializer_range=1.0, pad_token_id=0, **sizes,
                        num_labels=len(labels), id2label=dict(enumerate(labels)))  # fmt: skip
    return BertForSequenceClassification(config).eval()


def test_a_classifier_is_asked_as_it_would_be_alone(tmp_path: Path) -> None:
    model, words = classifier(["human", "machine"]), tiny.tokenizer()
    detector = ClassifierDetector(model, words, batch_size=4)
    found = detector.score(TEXTS * 2)
    for text, value in zip(TEXTS * 2, found, strict=True):
        answer = text.split("</think>")[-1]
        if not answer:
            assert math.isnan(value)
            continue
        with torch.no_grad():
            logits = model(torch.tensor([words(answer)["input_ids"][:12]])).logits[0]
        assert value == pytest.approx(float(logits.double().softmax(-1)[1]), abs=1e-6)
    assert detector.truncated == 0
    detector.score([" ".join(["tea"] * 40)])
    assert detector.truncated == 1
    model.save_pretrained(tmp_path)
    words.save_pretrained(tmp_path)
    np.testing.assert_allclose(ClassifierDetector(tmp_path).score(TEXTS), found[: len(TEXTS)], atol=1e-6)
    assert isinstance(detector, Detector)


def test_the_label_of_machines_is_told_by_its_name_or_given() -> None:
    words = tiny.tokenizer()
    text = ["yes it is"]
    radar = classifier(["LABEL_0", "LABEL_1"])
    with pytest.raises(ValueError, match=r"can't be told from their names \(0 LABEL_0, 1 LABEL_1\): give label"):
        ClassifierDetector(radar, words)
    with pytest.raises(ValueError, match="label is 'x': the classifier's labels are 0 LABEL_0, 1 LABEL_1"):
        ClassifierDetector(radar, words, label="x")
    zero, one = (ClassifierDetector(radar, words, label=label).score(text)[0] for label in (0, "label_1"))
    assert zero == pytest.approx(1 - one)
    for labels, at in ((["Fake", "Real"], 0), (["human", "AI-generated"], 1)):
        assert ClassifierDetector(classifier(labels), words)._label == at
    single = classifier(["score"])
    assert ClassifierDetector(single, words, label=1).score(text)[0] == pytest.approx(
        1 - ClassifierDetector(single, words, label=0).score(text)[0]
    )


# -------------------------------------------------------------------------------------------------------- measures


def test_rates_are_scikit_learns() -> None:
    random = np.random.default_rng(0)
    for _ in range(20):
        humans, machines = random.integers(0, 30, 200).astype(float), random.integers(5, 40, 90).astype(float)
        truth = np.r_[np.zeros(200), np.ones(90)]
        found = detection(humans, machines)
        assert found["auroc"]["value"] == pytest.approx(roc_auc_score(truth, np.r_[humans, machines]), abs=1e-6)
        false, true, _ = roc_curve(truth, np.r_[humans, machines], drop_intermediate=False)
        for rate in (0.01, 0.05, 0.10):
            told = found["tpr"][f"{rate:g}"]
            assert told["value"] == pytest.approx(true[false <= rate + 1e-12].max(), abs=1e-6)
            assert told["low"] <= told["value"] <= told["high"]


def test_rates_say_what_they_do_not_know() -> None:
    found = detection(np.arange(50.0), [math.nan, *range(40, 80)], threshold=45)
    assert found["tpr"]["0.01"]["reason"] == "not enough (n=50, need 100)"
    assert found["tpr"]["0.05"]["value"] == pytest.approx(0.8)  # above 47
    assert (found["humans"], found["machines"], found["unscored"]) == (50, 40, 1)
    assert found["detected"] == {"humans": 0.08, "machines": 0.85}
    few = detection([1.0], [2.0])
    assert few["auroc"]["reason"] == few["tpr"]["0.1"]["reason"] == "not enough (n=1, need 20)"
    assert few["detected"] is None
    same = detection(np.zeros(100), np.zeros(100))
    assert same["auroc"]["value"] == 0.5 and same["tpr"]["0.05"]["value"] == 0


class Words:
    threshold = 3.0

    def score(self, texts: Any, prompts: Any = None) -> Any:
        return np.array([float(len(text.split())) for text in texts])


def test_a_detector_of_length_knows_nothing_at_equal_length() -> None:
    humans, model = ["we like tea"] * 25, ["we like tea and rain and the sun"] * 25
    found = detect({"words": Words()}, humans, {"m": model}, ["en|single|qa|short"] * 25)["words"]["m"]
    assert found["whole"]["auroc"]["value"] == 1
    assert found["whole"]["detected"] == {"humans": 0, "machines": 1}
    assert found["equal_length"]["auroc"]["value"] == 0.5
    with pytest.raises(ValueError, match=r"lengths differ \(humans 25, buckets 1, m 25\)"):
        detect({"words": Words()}, humans, {"m": model}, ["en"])


def test_the_joint_score_is_a_harmonic_mean() -> None:
    assert joint_score(0.6, 0.5) == pytest.approx(2 * 0.6 / 1.6)
    assert joint_score(0.6, 0.3) == joint_score(0.6, 0.5)  # a machine taken for a human more than humans are is none
    assert joint_score(0.6, 1) == joint_score(0, 1) == 0
    with pytest.raises(ValueError, match="area is nan"):
        joint_score(0.5, math.nan)


# -------------------------------------------------------------------------------------------------------- the command


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    tiny.save(tmp_path / "lm", tiny.model(0))
    classifier(["human", "machine"]).save_pretrained(tmp_path / "bert")
    tiny.tokenizer().save_pretrained(tmp_path / "bert")
    random = np.random.default_rng(0)
    texts = [" ".join(random.choice(tiny.WORDS, 6)) for _ in range(50)]
    humans = [
        {"id": f"r{at}", "bucket": "en|single|qa|short", "prompt": "it", "completion": texts[at]} for at in range(25)
    ]
    pq.write_table(pa.Table.from_pylist(humans), tmp_path / "humans.parquet")
    answers = [{"id": f"r{at}", "response": texts[25 + at]} for at in range(25)]
    write_jsonl(tmp_path / "m.jsonl", [*answers, {"id": "nobody", "response": "x"}])
    command = ["detect", "m.jsonl", "--join", "humans.parquet", "--count", "0"]
    detectors = ["-d", "fast-detectgpt=lm", "-d", "binoculars=lm,lm", "-d", "classifier=bert"]
    assert cli.run([*command, *detectors]) == 0
    shown = capsys.readouterr()
    assert "25 prompts" in shown.out and "binoculars=lm,lm" in shown.out
    assert "not enough (n=25, need 100)" in shown.out
    assert "not used: 1 for unknown_id" in shown.err
    assert cli.run([*command, *detectors, "--json", "--with-prompts"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told["detectors"]["classifier=bert"]["m"]) == {"whole", "equal_length"}
    assert told["detectors"]["classifier=bert"]["m"]["whole"]["detected"] is not None
    for spec in ("binoculars=lm", "fast=lm", "classifier="):
        assert cli.run([*command, "-d", spec]) == 1
        assert f"detector '{spec}': give fast-detectgpt=MODEL" in capsys.readouterr().err
