"""Models' answers held against humans': floors, faults, comparisons, bad input, the gate; fast metrics by slow ones."""

from __future__ import annotations

import gzip
import json
import math
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conftest import write_jsonl
from polyalign.cli import run
from polyalign.evaluation import Condition, Evaluation, check, evaluate, junit, metrics
from polyalign.evaluation._cells import Cell, _Bucket, cells
from polyalign.evaluation._evaluate import _difference, _pooled
from polyalign.evaluation._measures import MEASURES
from polyalign.evaluation._people import Columns, People, Side
from polyalign.evaluation._statistics import Draws, p_value
from polyalign.evaluation._verdict import difference_lines, lines
from polyalign.evaluation.metrics._diversity import Ngrams
from polyalign.evaluation.metrics._weighted import discrepancies, w1
from polyalign.generation._run import FORMAT, settings_hash

BUCKETS = ("en|single|qa|short", "en|single|dialogue|short", "zh|single|qa|short")
EN = "we they it you people did not see some of the old town and sea then went home late or stayed for long".split()
ZH = [*"我们昨天去看了海边的老房子，后来又回家吃饭说话睡觉也没有什么事情可做"]


def said(random: np.random.Generator, bucket: str) -> str:
    """An answer, as the humans of a bucket give it."""
    count = 4 + random.poisson(5)
    if bucket.startswith("zh"):
        return "".join(random.choice(ZH, count)) + random.choice(["。", "！", "吗？"])
    return " ".join(random.choice(EN, count)) + random.choice([".", ".", "!", "?"])


def people(each: int = 60, seed: int = 0, buckets: tuple[str, ...] = BUCKETS) -> pa.Table:
    random = np.random.default_rng(seed)
    rows = [
        {
            "id": f"{bucket}-{number}",
            "bucket": bucket,
            "group": f"{bucket}-{number // 2}",
            "prompt": [{"role": "user", "content": f"What of number {number}?"}],
            "completion": [{"role": "assistant", "content": said(random, bucket)}],
        }
        for bucket in buckets
        for number in range(each)
    ]
    return pa.Table.from_pylist(rows)


def answers(
    humans: pa.Table, seed: int = 1, spoil: Callable[[str, np.random.Generator], str] | None = None, share: float = 0.5
) -> pa.Table:
    """A model that answers as humans do, but for what is spoiled in the second bucket."""
    random = np.random.default_rng(seed)
    rows = []
    for row in humans.to_pylist():
        if int(row["id"].rsplit("-", 1)[1]) >= 40:  # humans with whom humans are compared
            continue
        text = said(random, row["bucket"])
        if spoil is not None and row["bucket"] == BUCKETS[1] and random.random() < share:
            text = spoil(text, random)
        rows.append({"id": row["id"], "response": text})
    return pa.Table.from_pylist(rows)


def told(models: Any, humans: pa.Table, **settings: Any) -> Evaluation:
    return evaluate(models, humans, **{"draws": 60, **settings})


@pytest.fixture(scope="module")
def humans() -> pa.Table:
    return people()


@pytest.fixture(scope="module")
def half(humans: pa.Table) -> Evaluation:
    return told({"half": answers(humans)}, humans)


# ---------------------------------------------------------------------------------------------------- floors


def test_other_humans_sit_on_the_floor(half: Evaluation) -> None:
    (model,) = half.models
    assert half.alerts == ()
    assert set(model.buckets) == set(BUCKETS)
    assert "like humans in all 3 buckets" in str(half)
    for measure in half.measures:
        number = model.overall[measure.name]
        if number.p is not None:
            assert number.p > 0.01, measure.name
            assert number.low is None or number.low <= number.value <= number.high, measure.name
    assert model.overall["hcr"].floor == pytest.approx(0.9, abs=0.05)
    for bucket, numbers in model.buckets.items():
        assert numbers["hcr"].low <= 0.9 <= numbers["hcr"].high, bucket
    assert model.overall["above"].floor == pytest.approx(0.1, abs=0.02)


def test_p_values_are_uniform_for_humans() -> None:
    random = np.random.default_rng(2)
    better = {measure.name: measure.better for measure in MEASURES}
    columns = Columns(np.full(6, 0.05), np.arange(6) == 5, 0)
    found: dict[str, list[float]] = {}
    for repeat in range(200):
        sides = tuple(
            Side(
                [said(random, "en") for _ in range(size)], random.lognormal(0, 0.5, (size, 6)), start + np.arange(size)
            )
            for size, start in ((30, 0), (30, 0), (60, 30))
        )
        rows = {"support": (sides[0].features[:, 1], sides[1].features[:, 1])}
        humans = People(sides[1], sides[2], "en", columns, Draws(90, 40, repeat))
        for name, cell in cells(sides[0], humans, rows):
            p = p_value(cell.test, cell.null, better[name])
            assert p is not None
            found.setdefault(name, []).append(p)
    # Kolmogorov and Smirnov's bound at p = .001. Shares of few answers take few values, and then p is large.
    bound, places = 1.95 / np.sqrt(200), np.arange(1, 201) / 200
    for name, ps in found.items():
        assert (places - np.sort(ps)).max() < bound, name
        if name in {"mmd", "bng", "interaction", "length_w1", "support", "self_bleu"}:
            assert np.abs(places - np.sort(ps)).max() < bound, name


def test_the_order_of_rows_changes_nothing(humans: pa.Table, half: Evaluation) -> None:
    random = np.random.default_rng(3)
    model = answers(humans)
    people_turned = humans.take(random.permutation(len(humans)))
    turned = told({"half": model.take(random.permutation(len(model)))}, people_turned)
    assert turned.to_json() == half.to_json()


# ---------------------------------------------------------------------------------------------------- faults

FAULTS: dict[str, tuple[Callable[[str, np.random.Generator], str], float, set[str]]] = {
    "empty": (lambda text, random: " ", 0.5, {"empty"}),
    "wrong_language": (lambda text, random: "我觉得我们应该先回家看看情况再说吧。", 0.5, {"wrong_language"}),
    "looping": (lambda text, random: "I think so too. " * 9, 0.5, {"looping", "length_w1"}),
    "long": (lambda text, random: " ".join([text, *(said(random, "en") for _ in range(3))]), 1.0, {"length_w1"}),
    "constant": (
        lambda text, random: "it is the old town then.",
        1.0,
        {"length_w1", "coverage", "self_bleu"},
    ),
    "shouting": (lambda text, random: text.upper() + "!!!", 1.0, {"coverage", "precision", "hcr", "mmd"}),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_in_one_bucket_is_the_first_alert(humans: pa.Table, kind: str) -> None:
    spoil, share, named = FAULTS[kind]
    found = told({"model": answers(humans, spoil=spoil, share=share)}, humans)
    first = found.alerts[0]
    assert (first.model, first.bucket) == ("model", BUCKETS[1])
    assert first.metric in named
    assert {alert.bucket for alert in found.alerts} == {BUCKETS[1]}
    assert "not like humans in 1 of 3 buckets" in str(found)
    assert f"{BUCKETS[1]}: {found.measure(first.metric).title}" in str(found)


def test_answers_to_other_prompts_are_told_from_answers_unlike_humans() -> None:
    random = np.random.default_rng(0)
    table = people(60, buckets=BUCKETS[:1]).to_pylist()
    for row in table:
        row["prompt"][0]["content"] = said(random, "en")
        row["completion"][0]["content"] = row["prompt"][0]["content"].lower()  # humans say it again
    said_by = [row["completion"][0]["content"] for row in table]
    model = [{"id": row["id"], "response": said_by[(at + 7) % 60]} for at, row in enumerate(table)]
    found = told({"shuffled": pa.Table.from_pylist(model)}, pa.Table.from_pylist(table))
    assert [alert.metric for alert in found.alerts] == ["interaction"]
    assert "like humans in the one bucket" in str(found)
    assert "answers relate to what was asked otherwise than humans' do" in str(found)


def test_turns_that_answer_something_else_are_told() -> None:
    random = np.random.default_rng(1)
    words = [f"w{number}" for number in range(60)]
    asked = [" ".join(random.choice(words, 8)) for _ in range(60)]

    def takes_up(text: str) -> str:
        return " ".join([*text.split()[:3], *random.choice(words, 4)])

    earlier = [{"role": "user", "content": "Well?"}, {"role": "assistant", "content": "Ask me."}]
    bucket = "en|multi|qa|short"
    table = [
        {
            "id": str(at),
            "bucket": bucket,
            "prompt": [*earlier, {"role": "user", "content": text}],
            "completion": [{"role": "assistant", "content": takes_up(text)}],
        }
        for at, text in enumerate(asked)
    ]
    said_by = [takes_up(text) for text in asked]
    models = {"listens": said_by, "strays": said_by[1:] + said_by[:1]}
    rows = {
        name: pa.Table.from_pylist([{"id": str(at), "response": text} for at, text in enumerate(texts)])
        for name, texts in models.items()
    }
    found = told(rows, pa.Table.from_pylist(table))
    listens, strays = (model.overall["tdm"] for model in found.models)
    people = [row["completion"][0]["content"] for row in table]
    for texts, number in ((said_by, listens), (models["strays"], strays)):
        alone = metrics.tdm(asked, texts, people, [bucket] * 60, "en")[bucket].value
        assert number.value == pytest.approx(alone, abs=1e-5)
    assert strays.high < listens.low <= listens.value <= listens.high
    assert strays.value < strays.floor
    assert (strays.p < 0.01, listens.p > 0.05) == (True, True)


def test_mauve_is_told_where_there_is_an_encoder() -> None:
    table = people(100, buckets=BUCKETS[:1])
    known = {word: place for place, word in enumerate(EN)}
    asked: list[str] = []

    def bags(texts: list[str]) -> Any:
        asked.extend(texts)
        found = np.zeros((len(texts), len(known) + 1), np.float32)
        for row, text in enumerate(texts):
            for word in text.lower().strip(".!?").split():
                found[row, known.get(word, len(known))] += 1
        return found

    random = np.random.default_rng(2)
    rows = [
        {"id": row["id"], "response": " ".join(random.choice(EN[:6], 4 + random.poisson(5)))}
        for row in table.to_pylist()
    ]
    other = people(100, seed=5, buckets=BUCKETS[:1]).to_pylist()
    like = [{"id": row["id"], "response": row["completion"][0]["content"]} for row in other]
    models = {"like": pa.Table.from_pylist(like), "narrow": pa.Table.from_pylist(rows)}
    found = told(models, table, encoder=bags)
    plain = told(models, table)
    one, two = (model.overall["mauve"] for model in found.models)
    assert one.low <= one.value <= one.high
    assert (one.p > 0.05, two.p < 0.05) == (True, True)
    assert two.high < one.low
    assert abs(one.value - one.floor) < 0.2
    assert len(asked) - 1 <= len(set(asked)) + 1, "a text is read twice"
    for model, without in zip(found.models, plain.models, strict=True):
        assert without.overall["mauve"].value is None
        f1, bng, nuf = (model.overall[name].value for name in ("f1", "bng", "nuf"))
        both = metrics.aggregate(f1, bng, model.overall["mauve"].value, nuf)
        assert model.overall["aggregate"].value == pytest.approx(both)
        assert without.overall["aggregate"].value == pytest.approx(
            metrics.aggregate(f1, bng, None, without.overall["nuf"].value)
        )


def test_a_narrow_table_says_what_it_leaves_out(half: Evaluation) -> None:
    def captions(width: int) -> list[str]:
        return [str(table.caption) for table in lines(half, width) if getattr(table, "caption", None)]

    assert captions(400) == []
    assert [caption.split(",")[0] for caption in captions(80)] == ["no room for coverage", "no room for HCR"]


# ----------------------------------------------------------------------------------------------- comparisons


def test_the_worse_of_two_models_is_told(humans: pa.Table) -> None:
    models = {"shouts": answers(humans, spoil=FAULTS["shouting"][0], share=1.0), "half": answers(humans, seed=4)}
    found = told(models, humans)
    (mmd,) = [each for each in found.differences if each.metric == "mmd" and each.bucket is None]
    assert (mmd.one, mmd.two, mmd.better) == ("shouts", "half", "half")
    assert mmd.difference < 0
    assert mmd.effect < -3
    assert mmd.low < mmd.difference < mmd.high < 0
    assert "half is more human than shouts" in str(found)
    of_bucket = {each.bucket: each.better for each in found.differences if each.metric == "mmd"}
    assert of_bucket == {None: "half", BUCKETS[0]: None, BUCKETS[1]: "half", BUCKETS[2]: None}


def test_a_comparison_reads_the_same_from_either_side(humans: pa.Table) -> None:
    other, spoilt = answers(humans), answers(humans, spoil=FAULTS["shouting"][0], share=1.0)
    first, second = told({"a": other, "b": spoilt}, humans), told({"b": spoilt, "a": other}, humans)
    (line,), (turned,) = difference_lines(first), difference_lines(second)
    assert line.split(";")[0] == turned.split(";")[0]
    assert line.startswith("a is more human than b (MMD² -")
    (same,) = difference_lines(told({"a": other, "b": other}, humans))
    assert same.startswith("neither a nor b is more human (MMD² of b +0.000, corrected p = 1.000); ")


def test_a_missing_package_is_asked_for_by_name(humans: pa.Table, monkeypatch: pytest.MonkeyPatch) -> None:
    model = answers(humans)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"holding answers against humans' needs pyarrow: pip install 'polyalign\["):
        told({"half": model}, humans)


class Length:
    """A critic."""

    def score(self, responses: list[str], buckets: list[str]) -> np.ndarray:
        return np.array([len(text) for text in responses], dtype=np.float32)


def test_critics_are_asked_about_no_more_than_answers_and_what_they_are_held_against(humans: pa.Table) -> None:
    asked: list[str] = []

    class Keeps(Length):
        def score(self, responses: list[str], buckets: list[str]) -> np.ndarray:
            asked.extend(responses)
            return super().score(responses, buckets)

    model = answers(humans)
    told({"half": model}, humans, critics={"keeps": Keeps()})
    assert len(asked) == 2 * len(model) < len(humans) + len(model)


def test_what_is_looked_at_beside_does_not_weaken_the_verdict(humans: pa.Table) -> None:
    """What is more human is one question for two models, three for three, however many metrics there are."""
    models = {"a": answers(humans), "b": answers(humans, spoil=FAULTS["shouting"][0], share=0.4)}

    def p(critics: dict[str, Any], models: dict[str, pa.Table] = models) -> float:
        found = told(models, humans, critics=critics).differences
        return next(each.p for each in found if (each.metric, each.bucket) == ("mmd", None))

    alone = p({})
    assert 0 < alone < 0.5
    assert p({name: Length() for name in "abcdef"}) == alone
    assert alone < p({}, {**models, "c": answers(humans, seed=7)}) <= 3 * alone + 1e-9


def test_an_effect_has_the_sign_of_its_difference() -> None:
    """Over all buckets each counts alike, however many prompts it has."""
    (em,) = [measure for measure in MEASURES if measure.name == "em"]
    few, many = np.array([-1.0, -0.8]), np.array([0.1] * 9 + [0.2])

    def side(*rows: np.ndarray) -> Cell | None:
        buckets = {
            str(at): {"em": Cell(of.mean(), math.nan, np.full(9, of.mean()), 0.0, math.nan, np.zeros(0), of)}
            for at, of in enumerate(rows)
        }
        return _pooled(em, buckets)

    found = _difference(("a", "b"), em, None, side(0 * few, 0 * many), side(few, many))
    assert found is not None
    assert found.difference == pytest.approx((-0.9 + 0.11) / 2)
    assert found.effect is not None
    assert found.effect < 0


def test_a_model_is_no_better_than_itself(humans: pa.Table) -> None:
    found = told({"one": answers(humans), "two": answers(humans)}, humans)
    assert all(each.difference == 0 and each.better is None for each in found.differences)


def test_two_models_are_compared_on_prompts_that_both_answer(humans: pa.Table) -> None:
    model = answers(humans)
    found = told({"all": model, "some": model.slice(0, 75)}, humans)  # of the second bucket 35
    assert {each.bucket for each in found.differences} == {None, BUCKETS[0], BUCKETS[1]}
    assert all(each.difference == 0 for each in found.differences if each.metric == "f1")
    assert any("different prompts" in line for line in found.warnings)


# ------------------------------------------------------------------------------------------------- bad input


def test_what_does_not_fit_is_counted_and_explained(humans: pa.Table) -> None:
    rows = answers(humans).to_pylist()
    rows[0]["prompt"] = "Something else?"
    rows[1]["reference"] = "Another human's answer."
    rows += [{"id": "nobody", "response": "Hm."}, {"id": rows[5]["id"], "response": "Twice."}]
    rows[3]["response"] = ""
    rows[4]["finish"], rows[6]["settings"], rows[7]["settings"] = "length", "a1", "b2"
    found = told({"model": pa.Table.from_pylist([dict.fromkeys(("prompt", "reference", "finish", "settings")) | row
                                                 for row in rows])}, humans)  # fmt: skip
    (model,) = found.models
    kinds = {skip["kind"]: skip["count"] for skip in model.skipped}
    assert kinds == {"prompt_mismatch": 1, "reference_mismatch": 1, "unknown_id": 1}
    assert model.counts == {"answers": 122, "compared": 119, "prompts": 118, "humans": 180, "empty": 1, "cut": 1}
    assert model.per_prompt == {1: 117, 2: 1}
    text = str(found)
    assert "different numbers of answers: 1 (117 prompts), 2 (1 prompt)" in text
    assert "answers of several settings in one file: a1 (1), b2 (1), – (120)" in text
    assert "1 of 119 answers (0.8%) are empty" in text
    assert "left out: 1 for unknown_id" in text


def test_settings_beside_a_file_that_are_of_none_of_its_answers_are_not_shown(humans: pa.Table, files: Path) -> None:
    settings = {"sampling": {"temperature": 1.0}}
    (files / "_half.jsonl.json").write_text(json.dumps({"format": FORMAT, "settings": settings}))
    rows = answers(humans).to_pylist()
    write_jsonl(files / "half.jsonl", [{**row, "settings": settings_hash(settings)} for row in rows])
    (model,) = told("half.jsonl", humans).models
    assert model.settings == settings and model.notices == []
    write_jsonl(files / "half.jsonl", [{**row, "settings": "another"} for row in rows])
    (model,) = told("half.jsonl", humans).models
    assert model.settings is None
    assert model.notices == [
        "the settings that stand beside the file are of none of its answers, and are not shown: the file was replaced"
    ]


def test_few_answers_give_no_number(humans: pa.Table) -> None:
    found = told({"model": answers(humans).slice(0, 47)}, humans)  # of the second bucket 7
    (model,) = found.models
    assert model.not_enough == {
        BUCKETS[1]: "not enough (n=7, need 20)",
        BUCKETS[2]: "not enough (n=0, need 20)",
    }
    assert set(model.buckets) == {BUCKETS[0]}
    assert f"not judged: {BUCKETS[1]}: not enough (n=7, need 20)" in str(found)
    assert (model.counts["compared"], model.counts["prompts"]) == (47, 40)
    alone = told({"model": answers(humans).slice(0, 1)}, humans)
    assert alone.models[0].overall["mmd"].value is None
    assert str(alone).startswith("model: nothing can be said: not enough (n=1, need 20)")
    assert "prompts  " not in str(alone)  # no table of nothing
    assert json.loads(alone.to_json())["models"][0]["overall"]["mmd"] is None


def test_few_groups_give_no_number(files: Path, humans: pa.Table, capsys: pytest.CaptureFixture[str]) -> None:
    """Drawn again as wholes, four are no sample: intervals would have no width, and any difference would be sure."""
    rows = [{**row, "group": str(at % 4)} for at, row in enumerate(humans.to_pylist())]
    grouped = pa.Table.from_pylist(rows)
    pq.write_table(grouped, files / "humans.parquet")
    found = told({"half": answers(humans), "other": answers(humans, seed=5)}, grouped)
    assert set(found.models[0].not_enough.values()) == {"not enough groups (n=4, need 5)"}
    assert found.differences == () and found.models[0].buckets == {}
    assert run(["evaluate", "half.jsonl", *COMMAND]) == 1
    assert "not enough groups (n=4, need 5); answer prompts of more conversations" in capsys.readouterr().err


def test_a_model_that_says_nothing_is_as_far_off_as_can_be(humans: pa.Table) -> None:
    rows = answers(humans).to_pylist()
    every = [{**row, "response": " " if at % 4 == 0 else row["response"]} for at, row in enumerate(rows)]
    silent, often, rest = told(
        {
            "silent": pa.Table.from_pylist([{**row, "response": ""} for row in rows]),
            "often": pa.Table.from_pylist(every),
            "rest": pa.Table.from_pylist([row for row in every if row["response"].strip()]),
        },
        humans,
    ).models
    for bucket in BUCKETS:
        for name in ("bng", "interaction"):
            number = silent.buckets[bucket][name]
            assert number.value == 2.0, name
            assert 0.02 < number.floor < 0.3, name
            assert number.p < 0.01, name
            # Of a quarter that is empty, and the others as they are.
            apart = often.buckets[bucket][name].value - (0.25 * 2 + 0.75 * rest.buckets[bucket][name].value)
            assert abs(apart) < 0.05, name
    assert silent.overall["aggregate"].value == 0.0 < often.overall["nuf"].value < rest.overall["nuf"].value


def test_nothing_that_fits_is_an_error(humans: pa.Table) -> None:
    stranger = pa.table({"id": ["a", "b"], "response": ["Yes.", "No."]})
    with pytest.raises(
        ValueError, match=r"model: no answer fits a human one: 2 for unknown_id: no record has the answer's id"
    ):
        told({"model": stranger}, humans)
    nothing = {"some": answers(humans), "none": answers(humans).slice(0, 0)}
    with pytest.raises(ValueError, match="none: no answer fits a human one: there are no answers"):
        told(nothing, humans)
    with pytest.raises(ValueError, match="predictions is empty"):
        told({}, humans)
    twice = pa.concat_tables([humans, humans])
    with pytest.raises(ValueError, match="120 for duplicate_id"):
        told({"model": answers(humans)}, twice)
    with pytest.raises(ValueError, match="draws is 3"):
        told({"model": answers(humans)}, humans, draws=3)


def test_several_answers_to_a_prompt_count_once(humans: pa.Table) -> None:
    rows = [row | {"response": f"{row['response']} {n}"} for row in answers(humans).to_pylist() for n in range(3)]
    (model,) = told({"three": pa.Table.from_pylist(rows)}, humans).models
    assert (model.counts["compared"], model.counts["prompts"]) == (360, 120)
    assert model.per_prompt == {3: 120}
    numbers = model.buckets[BUCKETS[0]]
    assert model.prompts[BUCKETS[0]] == 40
    assert 0 < numbers["prompt_distinct_2"].value < 1
    assert numbers["prompt_same"].value == 0
    assert numbers["prompt_self_bleu"].low <= numbers["prompt_self_bleu"].value


def test_several_answers_stand_beside_as_many_humans_of_the_prompt() -> None:
    rows = people(buckets=BUCKETS[:1]).to_pylist()
    for at, row in enumerate(rows):  # three humans a prompt, but for the last twenty, who are alone
        row["prompt"] = [{"role": "user", "content": f"What of {at // 3 if at < 40 else at}?"}]
        row["group"] = None
    humans = pa.Table.from_pylist(rows)
    same = [{"id": row["id"], "response": "It is so."} for row in rows for _ in range(2)]
    said_of = [row["completion"][0]["content"] for row in rows]
    others = [{"id": row["id"], "response": said_of[at - by]} for at, row in enumerate(rows) for by in (1, 2)]
    found = told({"same": pa.Table.from_pylist(same), "others": pa.Table.from_pylist(others)}, humans, encoder=lengths)
    for name in ("prompt_distinct_2", "prompt_self_bleu", "prompt_same", "prompt_embedding"):
        one, two = (model.overall[name] for model in found.models)
        assert one.floor == two.floor is not None, name
        assert one.p < 0.01 < two.p, name
        assert abs(two.value - two.floor) < abs(one.value - one.floor) / 2, name
    assert found.models[0].overall["prompt_same"].value == 1
    assert found.models[0].overall["prompt_embedding"].value == pytest.approx(0, abs=1e-6)


def lengths(texts: list[str]) -> Any:
    """An encoder of how often words are said."""
    return np.array([[text.split().count(word) for word in EN] for text in texts], np.float32) + 0.01


def test_critics_are_asked(humans: pa.Table) -> None:
    class Length:
        def score(self, responses: Any, buckets: Any) -> Any:
            return np.array([len(text) if "it" in text else np.nan for text in responses], np.float32)

    found = told({"model": answers(humans)}, humans, critics={"Letter count": Length()})
    number = found.models[0].overall["critic_letter_count"]
    assert number.value > 5
    assert number.floor > 5
    assert any("without a score of letter_count" in line for line in found.models[0].notices)
    with pytest.raises(TypeError, match="critic"):
        told({"model": answers(humans)}, humans, critics=[3])


# --------------------------------------------------------------------------------------------------- oracles


@pytest.fixture
def bucket() -> _Bucket:
    random = np.random.default_rng(7)
    sides = tuple(
        Side([said(random, "en") for _ in range(size)], random.normal(shift, 1, (size, 5)), np.arange(size) // 2)
        for size, shift in ((24, 0.4), (24, 0.0), (30, 0.0))
    )
    columns = Columns(np.full(5, 0.1), np.zeros(5, bool), 0)
    return _Bucket(sides[0], People(sides[1], sides[2], "en", columns, Draws(15, 20, 0)))


def test_distances_are_those_of_the_metrics(bucket: _Bucket) -> None:
    scale = bucket.people.scale
    given = scale.centre, scale.spread
    rows, humans = bucket.model.features, bucket.people.humans.features
    slow = metrics.mmd(rows, humans, standardise=given, bandwidth=bucket.people.width)
    assert bucket.mmd().value == pytest.approx(slow.value, abs=1e-6)
    standard = [(side - given[0]) / given[1] for side in (rows, humans)]
    shares = metrics.coverage(*standard, standardise=False).model
    beyond = metrics.tails(rows, bucket.people.all.features)
    means = {name: cell.value for name, cell in bucket.means(bucket.rows())}
    for name, of in beyond._asdict().items():
        assert means[name] == pytest.approx(np.mean(of))
    assert means["hcr"] == pytest.approx(metrics.hcr(rows, bucket.people.all.features).value)
    assert means["self_bleu"] == pytest.approx(metrics.self_bleu(bucket.model.texts, "en"))
    near = dict(bucket.near())
    assert (near["precision"].value, near["coverage"].value) == (shares.precision, shares.coverage)
    # The spread is that of all humans that are known, not of those compared alone.
    gaps = [metrics.length_gap(a, b).w1 for a, b in zip(rows.T, humans.T, strict=True)]
    both = np.concatenate([rows, humans]).std(axis=0)
    assert bucket.bng().value == pytest.approx(np.mean(gaps / np.maximum(scale.spread, both)), rel=1e-5)


def test_resampled_distances_are_those_of_rows_repeated(bucket: _Bucket) -> None:
    random = np.random.default_rng(0)
    union = bucket.union
    values = np.round(union.features, 1)
    values[random.random(values.shape) < 0.1] = np.nan
    one, two = random.poisson(1.0, (2, len(union), 4)).astype(np.float32)
    spread = np.array([1.0, 2.0, 0.5, 1.0, 1.0])
    fast = w1(values, one, two) / spread[:, None]
    kernel = np.exp(-bucket.people.squared(union) / 9)
    np.fill_diagonal(kernel, 0.0)
    found = discrepancies(kernel.astype(np.float32), one, two)
    for draw in range(4):
        a, b = (np.repeat(np.arange(len(union)), side[:, draw].astype(int)) for side in (one, two))
        gaps = [metrics.length_gap(values[a, at], values[b, at]).w1 / spread[at] for at in range(5)]
        assert fast[:, draw] == pytest.approx(gaps, rel=1e-4)

        def mean(x: Any, y: Any) -> float:
            pairs = [(i, j) for i in x for j in y if i != j]
            return float(np.mean([kernel[i, j] for i, j in pairs]))

        slow = mean(a, a) + mean(b, b) - 2 * mean(a, b)
        assert found[draw] == pytest.approx(slow, abs=1e-5)


def test_distinct_is_that_of_the_metrics() -> None:
    texts = ["so it is so it is", "it is so", "no", "", "so it went on and on"]
    some = np.array([True, True, False, True, True])
    kept = [text for text, one in zip(texts, some, strict=True) if one]
    for n in (1, 2, 3, 4):
        grams = Ngrams(texts, "und", n)
        for at in (3, grams.total(some)):
            assert grams.distinct(some, at) == pytest.approx(metrics.distinct(kept, "und", n, at=at))
    assert math.isnan(Ngrams(["", "no"], "und", 2).distinct(np.ones(2, bool), 1))


# ------------------------------------------------------------------------------------------------ what it says


def test_forms_say_the_same(half: Evaluation) -> None:
    table = half.to_arrow()
    assert table.column_names == ["model", "bucket", "metric", "value", "low", "high", "floor", "p"]
    (row,) = [row for row in table.to_pylist() if row["bucket"] == "macro" and row["metric"] == "hcr"]
    assert row["value"] == json.loads(half.to_json())["models"][0]["overall"]["hcr"]["value"]
    markdown = half.to_markdown()
    assert markdown.startswith("**half: like humans in all 3 buckets")
    assert "| model | prompts | F1 |" in markdown
    assert r"en\|single\|qa\|short" in markdown
    axes = half.models[0].axes
    assert list(axes) == ["language", "track", "family", "length"]
    assert set(axes["language"]) == {"en", "zh"}
    assert axes["language"]["zh"]["mmd"] == half.models[0].buckets[BUCKETS[2]]["mmd"]


def test_weighted_means_are_by_humans() -> None:
    table = pa.concat_tables([people(60, buckets=BUCKETS[:1]), people(180, buckets=BUCKETS[1:2])])
    (model,) = told({"model": answers(table)}, table).models
    values = [model.buckets[bucket]["f1"].value for bucket in BUCKETS[:2]]
    assert model.overall["f1"].value == pytest.approx(np.mean(values))
    assert model.weighted["f1"].value == pytest.approx((values[0] + 3 * values[1]) / 4)


# ------------------------------------------------------------------------------------------------ the command


@pytest.fixture
def files(tmp_path: Path, humans: pa.Table, monkeypatch: pytest.MonkeyPatch) -> Path:
    pq.write_table(humans, tmp_path / "humans.parquet")
    write_jsonl(tmp_path / "half.jsonl", answers(humans).to_pylist())
    write_jsonl(tmp_path / "shouts.jsonl", answers(humans, spoil=FAULTS["shouting"][0], share=1.0).to_pylist())
    monkeypatch.chdir(tmp_path)
    return tmp_path


COMMAND = ["--join", "humans.parquet", "--draws", "40"]


def test_json_has_the_form_that_is_promised(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["evaluate", "half.jsonl", "loud=shouts.jsonl", *COMMAND, "--critic", "critic", "--json"]) == 1
    capsys.readouterr()
    assert run(["evaluate", "half.jsonl", "loud=shouts.jsonl", *COMMAND, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [model["name"] for model in found["models"]] == ["half", "loud"]
    for model in found["models"]:
        assert set(model["buckets"]) == set(BUCKETS)
        for numbers in (model["overall"], *model["buckets"].values()):
            assert {"mmd", "hcr", "bng", "coverage", "precision", "f1", "rouge_l", "em"} <= set(numbers)
            assert all(re.fullmatch(r"[a-z0-9_]+", name) for name in numbers)
            assert set(numbers["mmd"]) == {"value", "low", "high", "floor", "p"}
            assert numbers["mauve"] is None


def test_where_nothing_could_be_judged_the_exit_code_says_so(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few = (files / "half.jsonl").read_text("utf-8").splitlines()[:7]
    (files / "few.jsonl").write_text("\n".join(few), "utf-8")
    assert run(["evaluate", "few.jsonl", *COMMAND]) == 1
    told = capsys.readouterr()
    assert "few: nothing can be said: not enough (n=7, need 20)" in told.out
    assert told.err == (
        f"polyalign: nothing could be judged: no bucket has 20 answered prompts (the most: 7 in {BUCKETS[0]}); "
        "answer more prompts, or lower --min-count (5 at the least)\n"
    )
    assert run(["evaluate", "few.jsonl", "half.jsonl", *COMMAND]) == 0


def test_the_gate(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    passing = ["--fail-if", "mmd.macro > 0.5", "--fail-if", f"hcr['{BUCKETS[0]}'].low < 0.1"]
    assert run(["evaluate", "half.jsonl", *COMMAND, *passing, "--junit", "found.xml"]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("polyalign: passed: half: mmd.macro is ")
    failing = ["--fail-if", "coverage.worst < 0.5", "--fail-if", "f1 > 0.99"]
    assert run(["evaluate", "half.jsonl", "shouts.jsonl", *COMMAND, *failing, "--junit", "found.xml"]) == 5
    err = capsys.readouterr().err
    assert f"polyalign: failed: shouts: coverage.worst, {BUCKETS[1]}, is " in err
    suite = ElementTree.parse(files / "found.xml").getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("4", "1")


def test_a_baseline_that_this_one_may_not_be_worse_than(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["evaluate", "half.jsonl", *COMMAND, "--json"]) == 0
    (files / "baseline.json").write_text(capsys.readouterr().out)
    assert run(["evaluate", "half.jsonl", *COMMAND, "--fail-if", "worse_than baseline.json"]) == 0
    assert run(["evaluate", "half=shouts.jsonl", *COMMAND, "--fail-if", "worse_than baseline.json"]) == 5
    assert f"mmd of {BUCKETS[1]}" in capsys.readouterr().err
    (files / "baseline.json").write_text("{}")
    assert run(["evaluate", "half.jsonl", *COMMAND, "--fail-if", "worse_than baseline.json"]) == 1
    assert "baseline.json: not what this version of polyalign evaluate --json prints" in capsys.readouterr().err


def test_a_bucket_that_only_the_baseline_has_is_no_pass(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["evaluate", "half.jsonl", *COMMAND, "--json"]) == 0
    (files / "baseline.json").write_text(capsys.readouterr().out)
    lines = (files / "half.jsonl").read_text("utf-8").splitlines()
    write_jsonl(files / "part.jsonl", [row for row in map(json.loads, lines) if BUCKETS[0] not in row["id"]])
    assert run(["evaluate", "part.jsonl", *COMMAND, "--fail-if", "worse_than baseline.json"]) == 5
    assert capsys.readouterr().err == (
        "polyalign: failed: part: baseline.json has numbers that can't be told any more: "
        f"{BUCKETS[0]} (not enough (n=0, need 20)); means over buckets are not compared, as they are of other buckets\n"
    )
    # The other way round nothing is lost, and means over more buckets say nothing of those over fewer.
    assert run(["evaluate", "part.jsonl", *COMMAND, "--json"]) == 0
    (files / "baseline.json").write_text(capsys.readouterr().out)
    assert run(["evaluate", "half.jsonl", *COMMAND, "--fail-if", "worse_than baseline.json"]) == 0
    assert "not worse than baseline.json; means over buckets are not compared" in capsys.readouterr().err


def test_a_metric_that_only_the_baseline_has_is_no_pass(half: Evaluation, tmp_path: Path) -> None:
    told = half.to_dict()
    told["models"][0]["overall"]["mauve"] = told["models"][0]["overall"]["hcr"]
    told["humans"][BUCKETS[0]] += 1
    (tmp_path / "baseline.json").write_text(json.dumps(told))
    (finding,) = check(half, [Condition.parse(f"worse_than {tmp_path / 'baseline.json'}")])
    assert finding.failed
    assert finding.line.endswith("has numbers that can't be told any more: mauve; its humans are others")


@pytest.mark.parametrize(
    ("at", "what"),
    [
        (("format",), "polyalign evaluation 9"),
        (("models",), []),
        (("models", 0, "overall"), None),
        (("models", 0, "overall", "mmd"), 3),
        (("models", 0, "overall", "mmd", "value"), "high"),
        (("models", 0, "buckets"), [1]),
        (("humans",), 3),
    ],
)
def test_a_baseline_of_another_form_is_refused_in_a_line(
    half: Evaluation, tmp_path: Path, at: tuple[Any, ...], what: Any
) -> None:
    told = half.to_dict()
    place = told
    for key in at[:-1]:
        place = place[key]
    place[at[-1]] = what
    (tmp_path / "baseline.json").write_text(json.dumps(told))
    with pytest.raises(ValueError, match="not what this version of polyalign evaluate --json prints: make it anew"):
        check(half, [Condition.parse(f"worse_than {tmp_path / 'baseline.json'}")])


def test_a_metric_that_is_none_is_told_before_anything_is_read(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["evaluate", "absent.jsonl", *COMMAND, "--fail-if", "mnd > 1"]) == 1
    assert "'mnd > 1': no metric 'mnd'; there are f1, " in capsys.readouterr().err
    # A critic's is known when it was asked; what was found is printed nevertheless.
    assert run(["evaluate", "half.jsonl", *COMMAND, "--json", "--fail-if", "critic_none > 1"]) == 1
    told = capsys.readouterr()
    assert "no metric 'critic_none'" in told.err
    assert json.loads(told.out)["models"]


@pytest.mark.parametrize("option", ["--html", "--markdown", "--junit"])
def test_what_cannot_be_written_is_told_before_anything_is_read(
    option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    given = ["evaluate", "absent.jsonl", *COMMAND, option, "none/found.html", "--fail-if", "f1 > 0"]
    assert run(given) == 1
    assert capsys.readouterr().err == "polyalign: none/found.html: there is no folder none to write it to\n"
    assert list(tmp_path.iterdir()) == []


def test_a_baseline_that_is_none_is_told_before_anything_is_read(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["evaluate", "absent.jsonl", *COMMAND, "--fail-if", "worse_than none.json"]) == 1
    assert capsys.readouterr().err == "polyalign: none.json: No such file or directory\n"


@pytest.mark.parametrize("text", ["mmd", "mmd >", "mmd = 3", "mmd.mean > 1", "worse_than", "mmd > 1 2", "mmd > ."])
def test_conditions_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="is no condition"):
        Condition.parse(text)


def test_what_can_not_be_told_fails_the_gate(humans: pa.Table, half: Evaluation) -> None:
    few = told({"few": answers(humans).slice(0, 47)}, humans)
    (finding,) = check(few, [Condition.parse(f"mmd['{BUCKETS[1]}'] > 0.1")])
    assert finding.failed
    assert "not enough (n=7, need 20)" in finding.line
    with pytest.raises(ValueError, match="no metric 'mnd'; there are f1"):
        check(half, [Condition.parse("mnd > 1")])
    with pytest.raises(ValueError, match=r"no bucket 'en\|single\|qa\|shrt'; did you mean 'en\|single\|qa\|short'\?"):
        check(half, [Condition.parse("mmd['en|single|qa|shrt'] > 1")])
    assert b"\\x00" not in junit([finding])


def test_a_file_that_is_cut_off_is_told(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = gzip.compress((files / "half.jsonl").read_bytes(), mtime=0)
    (files / "torn.jsonl.gz").write_bytes(whole[: -len(whole) // 8])
    torn = ["evaluate", "torn.jsonl.gz", "half.jsonl", *COMMAND, "--json"]
    assert run(torn) == 3
    captured = capsys.readouterr()
    assert "torn.jsonl.gz: unreadable from byte" in captured.err
    assert [len(model["unreadable"]) for model in json.loads(captured.out)["models"]] == [1, 0]
    assert run([*torn, "--fail-if", "f1 > 0"]) == 5
    assert "torn.jsonl.gz: unreadable from byte" in capsys.readouterr().err


def test_too_many_answers_that_fit_nothing_are_told(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (files / "half.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"id": "nobody", "response": "Hm."}\n' * 9)
    assert run(["evaluate", "half.jsonl", *COMMAND]) == 4
    captured = capsys.readouterr()
    assert "left out: 9 for unknown_id, the first at half.jsonl, row 120" in captured.out
    assert "9 of 129 rows rejected" in captured.err
    assert run(["evaluate", "half.jsonl", *COMMAND, "--max-rejects", "0.1", "--markdown", "found.md"]) == 0
    assert "unknown\\_id" in (files / "found.md").read_text()
