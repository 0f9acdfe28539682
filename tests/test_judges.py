"""Language models as judges: a server that is slow, busy, fails and talks prose gives no made-up number."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import stats

from conftest import Cli, write_jsonl
from polyalign.evaluation.judges import agreement, pair_files, read_judged, read_rubric, sampling_of, score_files
from polyalign.evaluation.judges._ask import Unread, read_choice, read_scores, score_messages
from polyalign.evaluation.judges._asking import Asker, Cache
from polyalign.evaluation.judges._judge import spearman
from polyalign.evaluation.judges._rubric import DEFAULT
from polyalign.generation import OpenAIEngine
from test_generation_server import Handler, Server, hurry

__all__ = ["hurry"]  # a fixture of all tests here, too

RUBRIC = read_rubric()
NAMES = [dimension.id for dimension in RUBRIC.dimensions]
QA = "en|single|qa|short"


def replied(score: Any = 4, **more: Any) -> str:
    flags = {cap.id: False for cap in RUBRIC.caps}
    return json.dumps({"reason": "So.", "scores": dict.fromkeys(NAMES, score), "flags": flags, **more})


def say(handler: Handler, text: str, **usage: Any) -> None:
    counts = {"prompt_tokens": 100, "completion_tokens": 10, **usage}
    handler.say(200, {"choices": [{"message": {"content": text}, "finish_reason": "stop"}], "usage": counts})


def asked(body: dict[str, Any], part: str) -> str:
    """What stands in a part of the question."""
    text = body["messages"][1]["content"]
    return str(text.split(f"<<<{part}>>>\n")[1].split(f"\n<<<end of {part}>>>", maxsplit=1)[0])


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    servers = []

    def start(reply: Any) -> Server:
        servers.append(Server(reply))
        threading.Thread(target=servers[-1].serve_forever, args=(0.02,), daemon=True).start()
        return servers[-1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def engine(server: Server, **given: Any) -> OpenAIEngine:
    return OpenAIEngine("judge", base_url=server.url, **{"concurrency": 4, **given})


def people(count: int = 24) -> tuple[pa.Table, pa.Table]:
    """A model's answers, which grow, beside humans'."""
    humans = [
        {"id": f"r{at}", "bucket": QA, "prompt": f"Why {at}?", "completion": f"Human {at}."} for at in range(count)
    ]
    answers = [{"id": f"r{at}", "response": f"Model {at}." + " Indeed." * at} for at in range(count)]
    return pa.Table.from_pylist(answers), pa.Table.from_pylist(humans)


# ----------------------------------------------------------------------------------------------------- the rubric


def test_the_rubric_has_the_eight_dimensions_and_their_weights() -> None:
    weights = {dimension.id: dimension.weight for dimension in RUBRIC.dimensions}
    assert weights == {
        "task_success": 0.20, "factual_grounding": 0.15, "instruction_following": 0.15, "reference_alignment": 0.10,
        "conditional_appropriateness": 0.17, "response_shape": 0.08, "discourse_naturalness": 0.10, "safety": 0.05,
    }  # fmt: skip
    for of in RUBRIC.composites.values():
        assert sum(of.values()) == pytest.approx(1)
    assert set(RUBRIC.composites) == {
        "overall", "utility", "conditional_naturalness", "distribution_faithfulness"
    }  # fmt: skip
    scores = {name: 1.0 + at % 5 for at, name in enumerate(NAMES)}
    slow = sum(weights[name] * (scores[name] - 1) / 4 * 100 for name in NAMES)
    assert RUBRIC.totals(scores, {})["overall"] == pytest.approx(slow)
    best = dict.fromkeys(NAMES, 5.0)
    assert set(RUBRIC.totals(best, {}).values()) == {100}
    assert set(RUBRIC.totals(best, {"wrong_language": True, "contradicts_context": True}).values()) == {20}
    assert set(RUBRIC.totals(best, {"empty": True}).values()) == {0}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("dimensions: []", "dimensions must be a list of 1 to 20"),
        ("dimensions: [{id: A, text: b}]", "'A' is no id"),
        ("dimensions: [{id: a, text: b, weight: -1}]", r"dimensions\[0\].weight is -1"),
        ("dimensions: [{id: a, text: b, anchors: {6: x}}]", "anchors has 6: scores are 1 to 5"),
        ("dimensions: [{id: a, text: b}]\ncomposites: {x: {c: 1}}", "composites.x: no dimension 'c'"),
        ("dimensions: [{id: a, text: b}]\ncomposites: {x: {a: 0}}", "composites.x: all weights are 0"),
        ("dimensions: [{id: a, text: b}]\ncaps: [{id: a, text: b, most: 3}]", "two dimensions or caps have one id"),
        ("dimensions: [{id: a, text: b}]\ncaps: [{id: c, text: b, most: 300}]", "most is 300"),
        ("scale: 3", "unknown member 'scale'"),
    ],
)
def test_rubrics_that_are_none_are_refused(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "rubric.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=problem):
        read_rubric(path)


# ------------------------------------------------------------------------------------------------------- replies


def lines(form: str) -> str:
    return "\n".join(form.format(name, name.replace("_", " ").title()) for name in NAMES)


@pytest.mark.parametrize(
    "reply",
    [
        replied(),
        "<think>{}</think>\n" + replied(),
        f"Here it is:\n```json\n{replied()}\n```\nI hope this helps!",
        replied("4"),
        replied("4/5"),
        replied({"score": 4, "why": "x"}),
        json.dumps(dict.fromkeys(NAMES, 4)),
        f"First I thought {replied(2)} but {replied(4)}",
        f'The answer says {{"scores": 1}} and {{. {replied(4)}',
        lines("{0}: 4"),
        lines("- **{1}**: 4/5 as it is good"),
        lines("3. {0} - 4 out of 5"),
    ],
)
def test_replies_that_say_scores_are_read(reply: str) -> None:
    assert read_scores(RUBRIC, reply).scores == dict.fromkeys(NAMES, 4.0)


@pytest.mark.parametrize(
    ("reply", "missing"),
    [
        ("", "no scores in it: it is empty"),
        ("It is a fine answer, I would give it 4 of 5.", "no scores in it: 'It is a fine answer"),
        (replied(6), "'6', no score from 1 to 5"),
        (replied(0), "'0', no score"),
        (replied(None), "'None', no score"),
        (replied(True), "'True', no score"),
        (replied("high"), "'high', no score"),
        (replied("8/10"), "'8/10', no score"),
        (replied(float("nan")), "'nan', no score"),
        (replied().split(', "safety', maxsplit=1)[0].replace(":", "~"), "no scores in it"),
        (json.dumps({"scores": {"task_success": 4}}), "no score of factual_grounding, instruction_following"),
        (lines("{0}: 4").replace("safety: 4", "safety: 4\nsafety: 2"), "no score of safety"),
        (lines("{0}: 4 / 10"), "no scores in it"),
        (lines("{0}: 4.5/10"), "no scores in it"),
        (lines("{0}: 14"), "'14.0', no score"),
        (replied(flags={"empty": "perhaps"}), "empty is 'perhaps', neither true nor false"),
        ("[" * 100_000, "no scores in it"),
        ('{"a":' * 100_000, "no scores in it"),
    ],
)
def test_replies_that_do_not_are_not(reply: str, missing: str) -> None:
    with pytest.raises(Unread, match=missing.replace("(", r"\(")):
        read_scores(RUBRIC, reply)


@pytest.mark.parametrize(
    ("reply", "better"),
    [
        ('{"reason": "x", "better": "first"}', "first"),
        ('Well: {"better": "Answer B"}', "second"),
        ('{"better": "tie"}', "neither"),
        ("It is long.\n\nSecond", "second"),
        ("**First answer**", "first"),
        ("I can't say which is better, they are all so very good", None),
        ('{"better": "first or second"}', None),
        ("", None),
    ],
)
def test_choices_are_read(reply: str, better: str | None) -> None:
    if better is None:
        with pytest.raises(Unread, match="it does not say which"):
            read_choice(reply)
    else:
        assert read_choice(reply).better == better


def test_the_question_has_all_of_the_rubric_and_the_texts() -> None:
    system, user = score_messages(RUBRIC, [{"role": "user", "content": "Why?"}], "So.", "Thus.")
    for dimension in RUBRIC.dimensions:
        assert dimension.text in system["content"] and dimension.anchors[1] in system["content"]
    assert all(cap.text in system["content"] for cap in RUBRIC.caps)
    assert user["content"].index("user: Why?") < user["content"].index("So.") < user["content"].index("Thus.")


# -------------------------------------------------------------------------------------------------------- scoring


def test_scores_of_a_server_with_troubles(serve: Any, tmp_path: Path) -> None:
    """It is slow, busy, fails, talks prose once or always, is cut, refuses: all is counted, and asked for but once."""

    def reply(handler: Handler, body: dict[str, Any]) -> None:
        number = int(asked(body, "answer to judge").split()[1].rstrip("."))
        again = len(body["messages"]) > 2
        first = body["seen"] == 0
        if number == 0 and first:
            time.sleep(0.05)
            handler.say(429, {"error": {"message": "slowly"}}, Retry_After="0.1")
        elif number == 1 and first:
            handler.say(500, "oh")
        elif number == 2 and not again:
            say(handler, "A good answer. I'd say four.")
        elif number == 3:
            say(handler, "I can't judge my peers.")
        elif number == 4:
            choice = {"message": {"content": replied()[:50]}, "finish_reason": "length"}
            handler.say(200, {"choices": [choice]})
        elif number == 5:
            handler.say(400, {"error": {"message": "too long"}})
        else:
            say(handler, replied(2 if number % 2 else 4))

    server = serve(reply)
    cache = tmp_path / "replies.jsonl"
    found = score_files(engine(server), {"m": people()[0]}, people()[1], cache=cache, min_count=5)
    kinds = {line["id"]: line.get("unjudged", {}).get("kind") for line in found.lines}
    assert {name: kind for name, kind in kinds.items() if kind} == {"r3": "unread", "r4": "cut", "r5": "refused"}
    assert all("scores" not in line and "totals" not in line for line in found.lines if "unjudged" in line)
    told = found.summary["unjudged"]
    assert told["unread"] == {
        "count": 1, "first": "r3", "reason": "no scores in it: \"I can't judge my peers.\""
    }  # fmt: skip
    assert told["refused"]["reason"] == "400 too long"
    totals = [line["totals"]["overall"] for line in found.lines if "totals" in line]
    assert sorted(set(totals)) == [25, 75]
    model = found.summary["models"]["m"]
    assert model["totals"]["overall"]["mean"] == pytest.approx(np.mean(totals))
    assert (model["answers"], model["unjudged"]) == (20, 3) or (model["answers"], model["unjudged"]) == (20, 2)
    usage = found.summary["usage"]
    assert usage["requests"] == len(found.lines) + 2 and usage["kept"] == 0
    # What was replied is kept; what was refused is asked again.
    before = len(server.bodies)
    again = score_files(engine(server), {"m": people()[0]}, people()[1], cache=cache, min_count=5)
    assert again.lines == found.lines
    assert again.summary["usage"]["requests"] == len(server.bodies) - before == 1
    assert again.summary["usage"]["kept"] == len(found.lines) + 2 - 1


def test_a_run_that_was_cut_goes_on(serve: Any, tmp_path: Path) -> None:
    down = threading.Event()

    def reply(handler: Handler, body: dict[str, Any]) -> None:
        if len(server.bodies) > 9 or down.is_set():
            down.set()
            handler.say(401, {"error": "no more"})
        else:
            say(handler, replied())

    server, cache = serve(reply), tmp_path / "replies.jsonl"
    with pytest.raises(ConnectionError, match=r"401 no more; 9 replies kept in .*replies.jsonl: the same"):
        score_files(engine(server, concurrency=1), {"m": people()[0]}, people()[1], cache=cache, count=0)
    with cache.open("ab") as file:
        file.write(b'{"key": "torn')
    other = serve(lambda handler, body: say(handler, replied()))
    found = score_files(engine(other), {"m": people()[0]}, people()[1], cache=cache, count=0)
    assert found.summary["usage"]["kept"] == 9 and len(other.bodies) == 15
    whole = score_files(engine(other), {"m": people()[0]}, people()[1], count=0)
    assert whole.lines == found.lines and len(other.bodies) == 39
    (tmp_path / "other").write_text("mine\n")
    with pytest.raises(ValueError, match="not a file of a judge's replies"):
        Cache(tmp_path / "other")


def test_another_judge_rubric_or_sampling_is_asked_anew(serve: Any) -> None:
    server = serve(lambda handler, body: say(handler, replied()))
    cache = Cache()
    for at, asker in enumerate(
        [
            Asker(engine(server), cache, sampling_of()),
            Asker(engine(server), cache, sampling_of({"temperature": 0.5})),
            Asker(OpenAIEngine("other", base_url=server.url), cache, sampling_of()),
            Asker(OpenAIEngine("other", base_url=server.url, body={"top_k": 1}), cache, sampling_of()),
        ],
        1,
    ):
        for _ in range(2):
            asker.judge([[{"role": "user", "content": "?"}]] * 3, lambda reply: reply)
        assert len(server.bodies) == at
        assert (asker.usage.requests, asker.usage.kept) == (1, 3)


def test_empty_answers_are_what_the_cap_says_and_not_asked_about(serve: Any) -> None:
    server = serve(lambda handler, body: say(handler, replied()))
    answers, humans = people()
    rows = answers.to_pylist()
    rows[3]["response"] = "<think>Hm.</think>"
    found = score_files(engine(server), {"m": pa.Table.from_pylist(rows)}, humans, count=0, humans=True)
    line = next(line for line in found.lines if line["id"] == "r3" and line["source"] == "m")
    assert "scores" not in line and set(line["totals"].values()) == {0} and line["flags"]["empty"]
    assert len(server.bodies) == 47
    assert found.summary["models"]["m"]["flags"]["empty"]["mean"] == pytest.approx(1 / 24, abs=1e-6)
    assert found.summary["models"]["m"]["dimensions"]["safety"]["prompts"] == 23
    assert found.summary["models"]["human"]["totals"]["overall"]["mean"] == 75


def test_a_liking_for_length_is_seen(serve: Any) -> None:
    def reply(handler: Handler, body: dict[str, Any]) -> None:
        say(handler, replied(1 + 4 * len(asked(body, "answer to judge")) / 300))

    found = score_files(engine(serve(reply)), {"m": people()[0]}, people()[1], count=0)
    assert found.summary["length"]["m"]["spearman"] > 0.99
    found = score_files(engine(serve(lambda h, b: say(h, replied()))), {"m": people()[0]}, people()[1])
    assert found.summary["length"]["m"]["reason"] == "all lengths, or all totals, are the same"


def test_rank_correlation_is_scipys() -> None:
    random = np.random.default_rng(0)
    for _ in range(20):
        one, two = random.integers(0, 6, 30).astype(float), random.integers(0, 6, 30).astype(float)
        assert spearman(one, two) == pytest.approx(stats.spearmanr(one, two).statistic)
    assert math.isnan(spearman(np.ones(4), np.arange(4.0)))


# ---------------------------------------------------------------------------------------------------------- pairs


def chooses(rule: Callable[[str, str], str]) -> Any:
    def reply(handler: Handler, body: dict[str, Any]) -> None:
        better = rule(asked(body, "first answer"), asked(body, "second answer"))
        say(handler, json.dumps({"reason": "So.", "better": better}))

    return reply


def test_pairs_are_asked_in_both_orders_and_biases_show(serve: Any) -> None:
    def judged(rule: Callable[[str, str], str]) -> dict[str, Any]:
        found = pair_files(engine(serve(chooses(rule))), {"m": people()[0]}, people()[1], count=0)
        assert len(found.lines) == 24
        model: dict[str, Any] = found.summary["models"]["m"]
        return {name: model[name]["mean"] for name in ("wins", "consistent", "first", "longer")}

    assert judged(lambda one, two: "first") == {"wins": 0.5, "consistent": 0, "first": 1, "longer": None}
    likes = judged(lambda one, two: "first" if one.startswith("Model") else "second")
    assert likes == {"wins": 1, "consistent": 1, "first": 0.5, "longer": pytest.approx(22 / 22)}
    assert judged(lambda one, two: "neither") == {"wins": 0.5, "consistent": 1, "first": None, "longer": None}
    shorter = judged(lambda one, two: "first" if len(one) < len(two) else "second")
    assert shorter["longer"] == 0 and shorter["first"] == pytest.approx(0.5, abs=0.03)


def test_pairs_of_models_and_pairs_that_are_alike(serve: Any) -> None:
    server = serve(chooses(lambda one, two: "first" if "Indeed" in one else "second"))
    answers, humans = people()
    found = pair_files(engine(server), {"m": answers, "n": answers.slice(0, 23)}, humans, against="n", count=0)
    assert found.summary["alike"] == 23 and found.lines == []
    assert found.summary["models"]["m"]["wins"]["reason"] == "not enough (n=0, need 20)"
    with pytest.raises(ValueError, match="against is 'x': it must be one of human, m"):
        pair_files(engine(server), {"m": answers}, humans, against="x")


def test_a_pair_with_one_verdict_has_no_value(serve: Any) -> None:
    def reply(handler: Handler, body: dict[str, Any]) -> None:
        if asked(body, "first answer").startswith("Human 5."):
            say(handler, "Both have their merits, and I would not want to say.")
        else:
            say(handler, '{"better": "second"}')

    found = pair_files(engine(serve(reply)), {"m": people()[0]}, people()[1], count=0)
    line = next(line for line in found.lines if line["id"] == "r5")
    assert line["unjudged"]["kind"] == "unread" and "value" not in line
    assert found.summary["models"]["m"]["wins"]["prompts"] == 23
    assert found.summary["unjudged"]["unread"]["count"] == 1


# ------------------------------------------------------------------------------------------------------ agreement


def scored(judge: str, noise: float, count: int = 60, seed: int = 0) -> list[dict[str, Any]]:
    random, truth = np.random.default_rng(hash(judge) % 1000 + seed), np.random.default_rng(1)
    found = []
    for at in range(count):
        base = truth.integers(1, 6, len(NAMES))
        scores = {
            name: float(np.clip(np.rint(value + noise * random.normal()), 1, 5))
            for name, value in zip(NAMES, base, strict=True)
        }
        line = {"id": f"r{at}", "source": "m", "judge": judge, "scores": scores}
        found.append({**line, "totals": RUBRIC.totals(scores, {})})
    return found


def test_agreement_of_judges() -> None:
    from polyalign.evaluation.human import krippendorff_alpha

    one, two, other = scored("one", 0.0), scored("two", 0.3), scored("other", 5.0)
    found = agreement([one, two])
    values = [[line["scores"]["safety"] for line in lines] for lines in (one, two)]
    told = found["dimensions"]["safety"]
    assert told["alpha"] == pytest.approx(krippendorff_alpha(values, "interval"), abs=1e-6)
    assert told["low"] < told["alpha"] < told["high"] and told["answers"] == 60
    assert found["totals"]["overall"]["alpha"] > 0.8 > agreement([one, other])["totals"]["overall"]["alpha"]
    assert found["pairs"][0]["spearman"] > 0.8
    two[0].pop("scores")
    assert agreement([one, two])["dimensions"]["safety"]["answers"] == 59
    for judged, problem in (
        ([one], "one judge agrees with nobody"),
        ([one, one], "two files are of the judge 'one'"),
        ([[*one, one[0]], two], "is there twice"),
    ):
        with pytest.raises(ValueError, match=problem):
            agreement(judged)


# ------------------------------------------------------------------------------------------------------- commands


def test_commands(cli: Cli, serve: Any, tmp_path: Path) -> None:
    def reply(handler: Handler, body: dict[str, Any]) -> None:
        if "first answer" in body["messages"][1]["content"]:
            say(handler, '{"better": "first"}')
        else:
            say(handler, "Hm." if asked(body, "answer to judge").startswith("Model 7.") else replied())

    server = serve(reply)
    answers, humans = people()
    write_jsonl(tmp_path / "m.jsonl", answers.to_pylist())
    pq.write_table(humans, tmp_path / "humans.parquet")
    asked_ = ("m.jsonl", "--join", "humans.parquet", "--base-url", server.url, "--model", "judge", "--count", 0)
    done = cli("judge", "score", *asked_, "-o", "scores.jsonl", "--extra", '{"user": "me"}')
    assert done.returncode == 4, done.stderr
    assert "75.0 (75.0 to 75.0)" in done.stdout and "25 requests; 2,500 tokens asked, 250 replied" in done.stdout
    assert "not judged: 1 for unread, the first of r7: no scores in it: 'Hm.'" in done.stderr
    assert server.bodies[0]["user"] == "me" and server.bodies[0]["temperature"] == 0
    assert len(read_judged(tmp_path / "scores.jsonl")) == 24
    told = cli("judge", "score", *asked_, "-o", "scores.jsonl", "--extra", '{"user": "me"}', "--overwrite", "--json",
               "--max-rejects", 1)  # fmt: skip
    assert json.loads(told.stdout)["usage"]["requests"] == 0 and told.returncode == 0
    pairs = cli("judge", "pairs", *asked_, "-o", "pairs.jsonl", "--question", "Which?")
    assert pairs.returncode == 0, pairs.stderr
    assert "0.50 (0.50 to 0.50)" in pairs.stdout
    assert "The question: Which?" in server.bodies[-1]["messages"][0]["content"]
    lines_ = [{**line, "judge": "another"} for line in read_judged(tmp_path / "scores.jsonl")]
    write_jsonl(tmp_path / "other.jsonl", lines_)
    agreed = cli("judge", "agree", "scores.jsonl", "other.jsonl")
    assert agreed.returncode == 0 and "judge and another: overall differs by +0.0" in agreed.stdout, agreed.stderr
    assert cli("judge", "rubric").stdout == DEFAULT.read_text("utf-8")
    for arguments, problem in (
        (("judge", "score", *asked_, "-o", "scores.jsonl"), "scores.jsonl: exists already"),
        (("judge", "agree", "scores.jsonl"), "one judge agrees with nobody"),
        (("judge", "agree", "m.jsonl", "m.jsonl"), "m.jsonl:1: no line of scores of a judge"),
        (("judge", "pairs", *asked_[:3], "--model", "x", "-o", "y"), "needs the server's --base-url"),
    ):
        failed = cli(*arguments)
        assert failed.returncode in (1, 2) and problem in failed.stderr, failed.stderr
