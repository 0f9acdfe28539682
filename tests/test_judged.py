"""What judges, detectors and people said, beside the metrics: the numbers, what does not fit, and every way to it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import roc_auc_score

from conftest import Cli, write_jsonl
from polyalign.evaluation import Evaluation
from polyalign.evaluation._beside import digest
from polyalign.evaluation._judged import _beyond
from polyalign.evaluation._statistics import Draws
from polyalign.evaluation._summaries import wilson
from polyalign.evaluation.detectors import detect_files, detection, joint_score
from polyalign.evaluation.human._build import RATINGS
from test_evaluation import BUCKETS, answers, people
from test_evaluation import told as told_all
from test_judges import NAMES, asked, hurry, replied, say, serve

__all__ = ["hurry", "serve"]  # fixtures of these tests, too

MODELS = ("one", "two")


@pytest.fixture(scope="module")
def humans() -> pa.Table:
    return people()


@pytest.fixture(scope="module")
def models(humans: pa.Table) -> dict[str, pa.Table]:
    return {name: answers(humans, seed=at) for at, name in enumerate(MODELS, 1)}


@pytest.fixture(scope="module")
def lines(models: dict[str, pa.Table]) -> list[dict[str, Any]]:
    """All kinds of judgements of 25 prompts of every bucket; people's of 6, by two of them."""
    random = np.random.default_rng(0)
    found: list[dict[str, Any]] = []
    for name, table in models.items():
        for row in table.to_pylist():
            bucket, number = row["id"].rsplit("-", 1)
            if int(number) >= 25:
                continue
            base = {"id": row["id"], "bucket": bucket, "answer": digest(row["response"])}
            total = float(random.integers(40, 90))
            found += [
                {**base, "source": name, "judge": "gpt-4", "totals": {"overall": total}, "scores": {"safety": 4}},
                {**base, "model": name, "against": "human", "judge": "gpt-4", "value": float(random.choice([0, 1]))},
                {**base, "model": name, "detector": "binoculars=/at/a,b", "score": float(random.integers(9)),
                 "human": float(random.integers(9)), "equal_length": {"score": 1.0, "human": 1.0}},
            ]  # fmt: skip
            if int(number) < 6:
                for rater in ("Ann", "Bo"):
                    rated = {**base, "source": name, "rater": rater}
                    found.append({**rated, "question": "natural", "value": float(random.integers(1, 6))})
                    found.append({**rated, "question": "choice", "value": float(name == "two")})
    return found


@pytest.fixture(scope="module")
def found(humans: pa.Table, models: dict[str, pa.Table], lines: list[dict[str, Any]]) -> Evaluation:
    return told(models, humans, judged=lines, draws=60)


def told(models: Any, humans: pa.Table, **settings: Any) -> Evaluation:
    return told_all(models, humans, **{"draws": 20, "page": False, **settings})


def of(lines: list[dict[str, Any]], model: str, bucket: str, kind: str) -> list[dict[str, Any]]:
    return [line for line in lines if kind in line and line["bucket"] == bucket
            and model in (line.get("source"), line.get("model"))]  # fmt: skip


def test_numbers_are_those_of_the_lines(found: Evaluation, lines: list[dict[str, Any]]) -> None:
    detector = "detector_binoculars_a_b"
    for model in found.models:
        macro = []
        for bucket in BUCKETS:
            numbers = model.buckets[bucket]
            totals = [line["totals"]["overall"] for line in of(lines, model.name, bucket, "totals")]
            assert numbers["judge_gpt_4"].value == pytest.approx(np.mean(totals))
            assert numbers["judge_gpt_4"].low < numbers["judge_gpt_4"].value < numbers["judge_gpt_4"].high
            scored = of(lines, model.name, bucket, "detector")
            pairs = [(line["human"], line["score"]) for line in scored]
            area = roc_auc_score([0] * len(pairs) + [1] * len(pairs), [pair[side] for side in (0, 1) for pair in pairs])
            assert numbers[detector].value == pytest.approx(area)
            assert numbers[detector].floor == 0.5 and 0 < numbers[detector].p <= 1
            assert numbers[f"{detector}_equal_length"].value == 0.5
            ours, theirs = (sorted((pair[side] for pair in pairs), reverse=True) for side in (0, 1))
            for rate, most in ((5, 1), (10, 2)):
                beyond = numbers[f"{detector}_tpr_{rate}"]
                assert beyond.value == pytest.approx(np.mean([score > ours[most] for score in theirs]))
                assert beyond.floor == rate / 100 and 0 < beyond.p <= 1
                assert beyond.low <= beyond.value <= beyond.high and beyond.low < beyond.high
            assert numbers[f"{detector}_tpr_1"].value is None
            assert numbers["joint"].value == pytest.approx(joint_score(np.mean(totals) / 100, area))
            macro.append(numbers["joint"].value)
            rated = [line["value"] for line in of(lines, model.name, bucket, "rater") if line["question"] == "natural"]
            assert numbers["people_natural"].value == pytest.approx(np.mean(rated))
            picked = float(model.name == "two")
            assert numbers["people_picked"].value == picked
            # Six choices that are all alike say no more than six choices can.
            assert (numbers["people_picked"].low, numbers["people_picked"].high) == pytest.approx(wilson(picked, 6))
            likeness = min(1.0, 2 * picked)
            quality = (np.mean(rated) - 1) / 4
            expected = 2 * quality * likeness / (quality + likeness)
            assert numbers["joint_people"].value == pytest.approx(expected)
        assert model.overall["joint"].value == pytest.approx(np.mean(macro))
        assert model.overall["people_picked"].high - model.overall["people_picked"].low < 0.2
        assert model.judged["judge_gpt_4"] == dict.fromkeys(BUCKETS, 25)
        assert model.judged["people_natural"] == dict.fromkeys(BUCKETS, 6)
        needs = {"people_natural": 5, detector: 20, f"{detector}_tpr_10": 20, f"{detector}_tpr_1": 100}
        assert needs.items() <= model.needed.items()
    # None of them chose the first's; all the second's: as far apart as can be.
    differ = next(each for each in found.differences if (each.metric, each.bucket) == ("people_picked", None))
    assert differ.difference == 1.0 and differ.better == "two"


def test_what_a_detector_finds_beyond_the_humans_is_what_detection_says() -> None:
    """The share above a threshold, its resamples and its permutations, by the slow way."""
    random = np.random.default_rng(3)
    humans, model, groups = random.normal(size=300).round(1), random.normal(1, 1, 300).round(1), np.arange(300) // 2
    draws = Draws(150, 25, 0)
    for rate in (0.01, 0.05, 0.1):

        def slow(humans: Any, model: Any, rate: float = rate) -> Any:
            return pytest.approx(detection(humans, model)["tpr"][f"{rate:g}"]["value"], abs=1e-6)

        cell = _beyond(model, humans, groups, draws, rate=rate)
        assert cell.value == slow(humans, model)
        assert cell.rows.mean() == cell.value
        for found, times in zip(cell.draws, draws.times(groups).astype(int).T, strict=True):
            assert found == slow(np.repeat(humans, times), np.repeat(model, times))
        for found, swap in zip(cell.null, draws.swapped(groups).T, strict=True):
            assert found == slow(np.where(swap, model, humans), np.where(swap, humans, model))


def test_they_are_in_every_output(found: Evaluation) -> None:
    printed, markdown = str(found), found.to_markdown()
    for title in ("judge gpt-4", "AUROC binoculars a b"):
        assert title in printed and title in markdown
    assert "joint score" in markdown and "taken for human" in markdown
    table = found.to_arrow().to_pylist()
    macro = [row for row in table if (row["model"], row["bucket"], row["metric"]) == ("one", "macro", "joint")]
    assert macro[0]["value"] == pytest.approx(found.models[0].overall["joint"].value, rel=1e-5)
    assert json.loads(found.to_json())["models"][0]["judged"]["wins_gpt_4"][BUCKETS[0]] == 25


def test_what_does_not_fit_is_counted(
    humans: pa.Table, models: dict[str, pa.Table], lines: list[dict[str, Any]]
) -> None:
    score = next(line for line in lines if "totals" in line)
    unanswered = next(row["id"] for row in humans.to_pylist() if row["id"].endswith("-50"))
    more = [
        {**score, "id": "nobody"},
        {**score, "id": unanswered},
        {**score, "source": "three"},
        dict(score),
        {**score, "judge": "other", "answer": digest("Another answer.")},
        {**score, "judge": "other", "unjudged": {"kind": "unread", "reason": "no scores in it: 'Hm.'"}},
        {**score, "source": "human", "answer": digest("Not what the human said.")},
    ]
    for line in more[5:6]:
        del line["totals"], line["scores"]
    one, two = told(models, humans, judged=[lines + more]).models
    kinds = {skip["kind"]: skip["count"] for skip in one.skipped}
    assert kinds == {
        "judged_unknown_id": 2, "judged_twice": 1, "judged_other_answer": 1, "unjudged": 1
    }  # fmt: skip
    assert two.skipped == []
    assert "judge these answers" in str([skip["reason"] for skip in one.skipped])
    assert "unread: no scores in it: 'Hm.'" in str([skip["reason"] for skip in one.skipped])
    assert one.notices == two.notices == ["no answer is judged by other"]
    warnings = told(models, humans, judged=[lines, more]).warnings
    assert warnings[0].startswith("1 judgement of three (1), whom no file is named after: the models are one, two")
    assert warnings[1].startswith(
        "1 judgement of humans' answers left out (judged_other_answer), the first at judged 2"
    )


def test_too_few_are_no_number(humans: pa.Table, models: dict[str, pa.Table], lines: list[dict[str, Any]]) -> None:
    few = [line for line in lines if int(line["id"].rsplit("-", 1)[1]) < 4]
    (one,) = told({"one": models["one"]}, humans, judged=few).models
    for name in ("judge_gpt_4", "wins_gpt_4", "people_natural", "joint"):
        assert one.overall[name].value is None, name
    assert "gpt-4: no bucket has 20 judged prompts (the most: 4), so that there is no number" in one.notices
    assert "polyalign human-eval: no bucket has 5 judged prompts (the most: 4)" in str(one.notices)


def test_two_models_are_compared_on_what_is_judged_of_both(
    humans: pa.Table, models: dict[str, pa.Table], lines: list[dict[str, Any]]
) -> None:
    """One judge scored the second model's first prompts alone, which are the easy ones."""
    scores = [dict(line) for line in lines if "totals" in line]
    for line in scores:
        line["totals"] = {"overall": 90.0 if int(line["id"].rsplit("-", 1)[1]) < 20 else 10.0}
    fewer = [line for line in scores if line["source"] == "one" or line["totals"]["overall"] == 90.0]
    found = told(models, humans, judged=fewer)
    assert found.models[0].overall["judge_gpt_4"].value < found.models[1].overall["judge_gpt_4"].value
    differ = next(each for each in found.differences if (each.metric, each.bucket) == ("judge_gpt_4", None))
    assert differ.difference == 0.0 and differ.better is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "f.jsonl:1: not a line of JSON"),
        ("[]", "f.jsonl:1: not an object of JSON"),
        ('{"id": "a", "response": "b"}', "f.jsonl:1: no line of polyalign judge"),
        ('{"id": "a", "source": "m", "judge": "j", "totals": {"overall": "high"}}', "'high' is no number"),
        ("", "f.jsonl: no judgements in it"),
    ],
)
def test_other_files_are_refused(
    tmp_path: Path, humans: pa.Table, models: dict[str, pa.Table], text: str, problem: str
) -> None:
    path = tmp_path / "f.jsonl"
    path.write_text(text, "utf-8")
    with pytest.raises(ValueError, match=problem):
        told(models, humans, judged=path)


def test_all_that_judges_detectors_and_people_write_is_read(cli: Cli, serve: Any, tmp_path: Path) -> None:
    def reply(handler: Any, body: dict[str, Any]) -> None:
        if "first answer" in body["messages"][1]["content"]:
            return say(handler, '{"better": "first"}')
        return say(handler, "Hm." if len(asked(body, "answer to judge")) % 9 == 0 else replied())

    humans = people(each=24, buckets=BUCKETS[:1])
    write_jsonl(tmp_path / "m.jsonl", answers(humans).to_pylist())
    pq.write_table(humans, tmp_path / "humans.parquet")
    judge = ("m.jsonl", "--join", "humans.parquet", "--base-url", serve(reply).url, "--model", "j", "--count", 0)
    assert cli("judge", "score", *judge, "-o", "scores.jsonl", "--humans", "--max-rejects", 1).returncode == 0
    assert cli("judge", "pairs", *judge, "-o", "pairs.jsonl").returncode == 0

    class Commas:
        threshold = None

        def score(self, texts: Any, prompts: Any = None) -> Any:
            return np.array([text.count("e") if text else math.nan for text in texts], float)

    paths = str(tmp_path / "m.jsonl"), str(tmp_path / "humans.parquet")
    write_jsonl(tmp_path / "found.jsonl", detect_files({"e": Commas()}, paths[:1], paths[1])["scores"])

    page = ("human-eval", "build", "m.jsonl", "--join", "humans.parquet", "--count", 6, "-o", "page.html")
    assert cli(*page).returncode == 0
    key = json.loads((tmp_path / "page.key.json").read_text("utf-8"))
    said = {task: {"choice": "a"} if "model" in about else dict.fromkeys(key["questions"], 4)
            for task, about in key["tasks"].items()}  # fmt: skip
    ratings = {"format": RATINGS, "page": key["page"], "rater": "Ann", "ratings": said}
    (tmp_path / "ratings.json").write_text(json.dumps(ratings), "utf-8")
    analysed = ("human-eval", "analyse", "ratings.json", "--key", "page.key.json", "-o", "people.jsonl")
    done = cli(*analysed)
    assert done.returncode == 0 and "written to people.jsonl" in done.stdout
    assert "people.jsonl: exists already; --overwrite replaces it" in cli(*analysed).stderr

    files = ("scores.jsonl", "pairs.jsonl", "found.jsonl", "people.jsonl")
    given = [argument for file in files for argument in ("--judged", file)]
    run = cli("evaluate", "m.jsonl", "--join", "humans.parquet", *given, "--draws", 20, "--min-count", 10, "--json")
    assert run.returncode == 0, run.stderr
    (model,) = json.loads(run.stdout)["models"]
    numbers = model["buckets"][BUCKETS[0]]
    assert numbers["judge_j"]["value"] == numbers["judge_j"]["floor"] == 75.0
    assert {numbers[f"judge_j_{name}"]["value"] for name in NAMES} == {4.0}
    assert numbers["wins_j"]["value"] == numbers["wins_j"]["floor"] == 0.5
    assert 0 < numbers["detector_e"]["value"] < 1 and 0 < numbers["joint"]["value"] < 1
    assert numbers["people_natural"]["value"] == numbers["people_natural"]["floor"] == 4.0
    assert 0 <= numbers["people_picked"]["value"] <= 1 and numbers["joint_people"]["value"] is not None
    assert model["judged"]["people_natural"] == {BUCKETS[0]: 6}
    assert [skip["kind"] for skip in model["skipped"]] == ["unjudged"]
