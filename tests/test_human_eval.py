"""People's judgement: the page is blind and works in a browser, and its analysis agrees with slow oracles."""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import Cli, write_jsonl
from polyalign.evaluation._beside import named
from polyalign.evaluation._summaries import design_effect, wilson
from polyalign.evaluation.human import analyse, analyse_files, build, krippendorff_alpha, read_questions
from polyalign.evaluation.human._build import RATINGS
from polyalign.evaluation.human._questions import DEFAULT

HOSTILE = "</script><script>window.hit = 1</script> <!--style--> &amp; ü 你好\u202e"


def people(count: int = 12, models: tuple[str, ...] = ("tuned-model", "base-model")) -> tuple[Any, Any]:
    """Models that answer all prompts of humans in two buckets; with answers that name whose they are."""
    humans = [
        {
            "id": f"record-{at}",
            "bucket": ("en|single|qa|short", "zh|multi|qa|long")[at % 2],
            "prompt": [{"role": "user", "content": f"Q{at} {HOSTILE}"}],
            "completion": [{"role": "assistant", "content": f"H{at} {HOSTILE}"}],
        }
        for at in range(count)
    ]
    answers = {name: [{"id": row["id"], "response": f"M{name[0]}{at}"} for at, row in enumerate(humans)]
               for name in models}  # fmt: skip
    return answers, humans


def made(answers: Any, humans: Any, **settings: Any) -> Any:
    def table(rows: Any) -> pa.Table:
        return pa.table({name: [row.get(name) for row in rows] for name in {name: 0 for row in rows for name in row}})

    return build({name: table(rows) for name, rows in answers.items()}, table(humans), **settings)


def about(page: str) -> dict[str, Any]:
    text = page.split('<script type="application/json" id="about">')[1].split("</script>", maxsplit=1)[0]
    found: dict[str, Any] = json.loads(text)
    return found


# ------------------------------------------------------------------------------------------------------ the page


def test_a_page_does_not_say_whose_an_answer_is() -> None:
    study = made(*people(), count=3)
    for name in ("tuned-model", "base-model", "record-", "qa|", "human.safetensors", "source"):
        assert name not in study.page.split('id="about">')[1].split("</script>", maxsplit=1)[0]
    shown = about(study.page)["tasks"]
    assert [task["id"] for task in shown] == [str(at) for at in range(1, len(shown) + 1)]
    assert study.counts["ratings"] == 2 * 3 * 3 and study.counts["choices"] == 2 * 3 * 2
    for task in shown:
        hidden = study.key["tasks"][task["id"]]
        if "answer" in task:
            letter = {"human": "H", "tuned-model": "Mt", "base-model": "Mb"}[hidden["source"]]
            assert task["answer"].startswith(letter + hidden["record"].removeprefix("record-"))
        else:
            side = "ab".index(hidden["human"])
            assert task["answers"][side].startswith("H") and task["answers"][1 - side].startswith("M")
    sources = [study.key["tasks"][task["id"]].get("source") for task in shown if "answer" in task]
    assert sources != sorted(sources)
    kinds = ["answers" in task for task in shown]
    assert kinds == sorted(kinds)  # ratings first


def test_sides_and_what_is_drawn_depend_on_the_seed_alone() -> None:
    answers, humans = people(60)
    one, again, other = (made(answers, humans, count=10, seed=seed) for seed in (1, 1, 2))
    assert one == again
    assert one.page != other.page and one.key["page"] != other.key["page"]
    sides = Counter(task["human"] for task in one.key["tasks"].values() if "model" in task)
    assert sides["a"] > 8 and sides["b"] > 8
    records = [{task["record"] for task in study.key["tasks"].values()} for study in (one, other)]
    assert records[0] != records[1]
    # A prompt more or less changes nothing for the others' draw.
    assert {task["record"] for task in made(answers, humans, count=9, seed=1).key["tasks"].values()} < records[0]


def test_what_cannot_be_asked_is_counted() -> None:
    answers, humans = people(10)
    tuned, base = answers.values()
    tuned[0]["response"] = "<think>Hm.</think> "
    tuned[7]["response"] = humans[7]["completion"][0]["content"]
    tuned += [{"id": "nobody", "response": "x"}, {"id": None, "response": "x"}]
    base[1]["prompt"] = "Another?"
    base[3]["reference"] = "Another."
    del base[2]
    base += [base[5], {"id": "record-9", "response": "x"}]
    humans.append(humans[8])
    found = made(answers, humans, count=5).counts
    assert found["left_out"] == {
        "empty_answer": 1,
        "duplicate_id": 2,
        "unknown_id": 2,
        "further_answer": 2,
        "not_all_answered": 4,
        "prompt_mismatch": 1,
        "reference_mismatch": 1,
    }
    assert "1 for empty_answer: the answer is empty; the first: tuned-model: record-0" in found["lines"]
    assert found["few"] == {"en|single|qa|short": 2, "zh|multi|qa|long": 3}
    assert (found["prompts"], found["alike"], found["choices"]) == (5, 1, 9)
    study = made(answers, humans, per="length", tasks="choices", languages=["zh"])
    assert study.key["tasks"]["1"]["group"] == "zh|long"
    with pytest.raises(ValueError, match="no prompt is in fr: the languages are en, zh"):
        made(answers, humans, languages=["fr"])
    with pytest.raises(ValueError, match="no answer fits a human one: 1 for unknown_id"):
        made({"a": [{"id": "x", "response": "y"}]}, humans)


def test_models_are_named(tmp_path: Path) -> None:
    (tmp_path / "a=b.jsonl").touch()
    assert named([f"{tmp_path}/a=b.jsonl", "c=d.jsonl"]) == {"a=b": f"{tmp_path}/a=b.jsonl", "c": "d.jsonl"}
    with pytest.raises(ValueError, match=r"two models are 'a': name it, as in NAME=x/a.jsonl"):
        named(["a.jsonl", "x/a.jsonl"])
    with pytest.raises(ValueError, match="the humans are called so 'human'"):
        named(["human.jsonl"])


def test_questions_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "questions.yaml"
    path.write_text("title: Ours\nquestions:\n- {id: kind, text: {zh: 友好吗？}, low: 'no', high: 'yes'}\n", "utf-8")
    found = read_questions(path)
    assert found.title == {"en": "Ours", "zh": "Ours"}
    assert [question.text for question in found.questions] == [{"en": "友好吗？", "zh": "友好吗？"}]
    assert found.choice == read_questions().choice
    assert read_questions(DEFAULT) == read_questions()
    (tmp_path / "q.json").write_text(json.dumps(found.to_dict()), "utf-8")
    assert read_questions(tmp_path / "q.json") == found


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: [", "questions.yaml:1:5: not YAML|questions.yaml:2:1: not YAML"),
        ("- a", "must have members"),
        ("scale: 7", "unknown member 'scale'"),
        ("questions: []", "a list of one to 9"),
        ("questions: [{id: a, text: b, low: c}]", r"questions\[0\] has no high"),
        ("questions: [{id: choice, text: b, low: c, high: d}]", "id is 'choice'"),
        ("questions: [{id: a, text: b, low: yes, high: d}]", r"questions\[0\].low must be a text"),
        (
            "questions: [{id: a, text: b, low: c, high: d}, {id: a, text: b, low: c, high: d}]",
            "two questions have one id",
        ),
        ("title: {fr: Bonjour}", "title must be a text, or one for each of en, zh"),
        ("title: '" + "x" * 5000 + "'", "at most 4,000 characters"),
        ("a: &a [1]\n" * 3 + "b: " + "[" * 40 + "]" * 40, "nested more than 16 deep"),
    ],
)
def test_questions_that_are_none_are_refused(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "questions.yaml"
    path.write_text(text, "utf-8")
    with pytest.raises(ValueError, match=problem):
        read_questions(path)


# --------------------------------------------------------------------------------------------------- agreement


def slow_alpha(ratings: np.ndarray, level: str) -> float:
    """By definition: over all pairs of ratings."""
    units = [column[~np.isnan(column)].tolist() for column in ratings.T]
    units = [unit for unit in units if len(unit) > 1]
    values = [value for unit in units for value in unit]
    if not values:
        return math.nan

    def apart(one: float, two: float) -> float:
        if level == "nominal":
            return float(one != two)
        if level == "interval":
            return (one - two) ** 2
        low, high = min(one, two), max(one, two)
        between = sum(low <= value <= high for value in values)
        return (between - (values.count(low) + values.count(high)) / 2) ** 2 if low != high else 0.0

    observed = sum(
        sum(apart(one, two) for one, two in itertools.permutations(unit, 2)) / (len(unit) - 1) for unit in units
    ) / len(values)
    expected = sum(apart(one, two) for one, two in itertools.permutations(values, 2)) / len(values) / (len(values) - 1)
    return 1 - observed / expected if expected else math.nan


def test_alpha_is_the_published_one() -> None:
    """The example of Krippendorff's "Computing Krippendorff's Alpha-Reliability" (2011), section C and D."""
    n = math.nan
    ratings = [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, n, n, n],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, n, 3],
        [n, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, n],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, n],
    ]
    assert round(krippendorff_alpha(ratings, "nominal"), 3) == 0.743
    assert round(krippendorff_alpha(ratings, "ordinal"), 3) == 0.815
    assert round(krippendorff_alpha(ratings, "interval"), 3) == 0.849


@settings(max_examples=60)
@given(
    st.integers(1, 4).flatmap(
        lambda raters: st.lists(
            st.lists(st.sampled_from([1.0, 2.0, 3.0, 4.0, 5.0, math.nan]), min_size=raters, max_size=raters),
            min_size=1, max_size=7,
        )
    )
)  # fmt: skip
def test_alpha_is_that_of_all_pairs(units: list[list[float]]) -> None:
    ratings = np.array(units).T
    for level in ("nominal", "ordinal", "interval"):
        np.testing.assert_allclose(krippendorff_alpha(ratings, level), slow_alpha(ratings, level), atol=1e-12)


def test_alpha_refuses_what_it_cannot_read() -> None:
    with pytest.raises(ValueError, match="level is 'ratio'"):
        krippendorff_alpha([[1, 2], [2, 1]], "ratio")
    with pytest.raises(ValueError, match="1 dimensions"):
        krippendorff_alpha([1, 2])


# ---------------------------------------------------------------------------------------------------- analysis


def rated(study: Any, raters: int = 3, *, fooled: float = 0.5, seed: int = 0) -> dict[str, Any]:
    """Ratings of people who find humans a point better, and agree but for some noise."""
    random = np.random.default_rng(seed)
    better = {"human": 4, "tuned-model": 3, "base-model": 2}
    found: dict[str, Any] = {}
    for rater in range(raters):
        said: dict[str, Any] = {}
        for task, hidden in study.key["tasks"].items():
            if "source" in hidden:
                value = better[hidden["source"]] + int(random.integers(-1, 2))
                said[task] = dict.fromkeys(study.key["questions"], value)
            else:
                wrong = random.random() < fooled
                said[task] = {"choice": "ab"[("ab".index(hidden["human"]) + wrong) % 2]}
        found[f"rater {rater}"] = said
    return found


def test_means_are_those_of_the_ratings() -> None:
    study = made(*people(40), count=20)
    ratings = rated(study)
    found = analyse(ratings, study.key)
    for source in ("human", "tuned-model", "base-model"):
        values = [
            said[task]["natural"]
            for said in ratings.values()
            for task, hidden in study.key["tasks"].items()
            if hidden.get("source") == source
        ]
        told = found.models[source]["ratings"]["natural"]
        assert told["mean"] == pytest.approx(np.mean(values), abs=1e-6)
        assert told["low"] < told["mean"] < told["high"]
        assert (told["prompts"], told["judgements"]) == (40, 120)
    assert found.models["base-model"]["beyond_human"]["natural"]["high"] < -1.5
    assert 0.3 < found.models["tuned-model"]["picked"]["mean"] < 0.7
    assert set(found.languages) == {"en", "zh"} and set(found.groups) == {"en|single|qa|short", "zh|multi|qa|long"}
    assert found.agreement["natural"]["ordinal"]["units"] == 120
    assert found.agreement["natural"]["interval"]["alpha"] == pytest.approx(
        krippendorff_alpha(
            [[said[str(at)]["natural"] for at in range(1, 121)] for said in ratings.values()], "interval"
        ),
        abs=1e-6,
    )
    assert found.raters[0]["ratings"] == found.raters[0]["ratings_asked"] == 120
    assert found.problems == []
    assert json.loads(found.to_json()) == found.to_dict()


def test_intervals_hold_what_is_true_as_often_as_they_say() -> None:
    """Prompts differ in how easily people are fooled by them: judgements of one prompt are no independent ones."""
    random, hits = np.random.default_rng(0), 0
    for _ in range(300):
        easy = random.beta(2, 2, size=40)
        counts = np.full(40, 4.0)
        sums = random.binomial(4, easy).astype(float)
        share = sums.sum() / counts.sum()
        low, high = wilson(share, counts.sum() / design_effect(sums, counts))
        hits += low <= 0.5 <= high
    assert 0.91 <= hits / 300 <= 0.98
    assert design_effect(np.array([1.0, 0.0, 1.0, 0.0]), np.ones(4)) == pytest.approx(4 / 3)
    assert design_effect(np.full(5, 3.0), np.full(5, 3.0)) == 3
    low, high = wilson(0.0, 20)
    assert low == 0 and 0.1 < high < 0.2


def test_too_little_is_said_to_be(tmp_path: Path) -> None:
    study = made(*people(4), count=2)
    found = analyse(rated(study, 1), study.key).to_dict()
    assert found["models"]["human"]["ratings"]["natural"]["reason"] == "not enough (n=4, need 5)"
    assert found["models"]["tuned-model"]["picked"]["mean"] is None
    assert found["agreement"]["natural"]["ordinal"]["reason"] == "no answer was judged by two raters"
    same = {rater: {task: {"natural": 3} for task in study.key["tasks"]} for rater in "ab"}
    told = analyse(same, study.key)
    assert "all judgements are one value" in told.agreement["natural"]["ordinal"]["reason"]
    assert told.problems == ["16 values that the page does not give, the first: a, task 13, natural: 3"]


def test_values_that_the_page_does_not_give_are_counted() -> None:
    study = made(*people(), count=3)
    first = next(task for task, hidden in study.key["tasks"].items() if "source" in hidden)
    last = next(task for task, hidden in study.key["tasks"].items() if "model" in hidden)
    found = analyse(
        {"a": {first: {"natural": 6, "fitting": True, "helpful": 4, "x": 1}, last: {"choice": "c"}, "999": {"x": 1}}},
        study.key,
    )
    assert found.problems == [
        f"4 values that the page does not give, the first: a, task {first}, natural: 6",
        "1 value of no task of the page, the first: a, task 999",
    ]
    assert found.raters[0]["ratings"] == 0


def test_files_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    study, other = made(*people()), made(*people(), seed=1)
    key = tmp_path / "key.json"
    key.write_text(study.key_json(), "utf-8")

    def file(name: str, **told: Any) -> Path:
        path = tmp_path / name
        given = {"format": RATINGS, "page": study.key["page"], "rater": "a", "ratings": {}}
        path.write_text(json.dumps({**given, **told}), "utf-8")
        return path

    one = file("a.json")
    assert analyse_files([one], key).raters[0]["choices"] == 0
    for files, problem in (
        ([one, file("b.json")], "b.json: ratings of 'a' are there already"),
        ([file("c.json", page=other.key["page"])], "c.json: ratings of the page"),
        ([file("d.json", rater=None)], "d.json: no rater"),
        ([key], "key.json: not ratings that the page exported"),
    ):
        with pytest.raises(ValueError, match=problem):
            analyse_files(files, key)
    with pytest.raises(ValueError, match="not a key"):
        analyse_files([one], one)
    task = next(iter(study.key["tasks"]))
    for cut in ({"tasks": None}, {"models": "b"}, {"tasks": {**study.key["tasks"], task: {"record": "r"}}}):
        (tmp_path / "cut.json").write_text(json.dumps({**study.key, **cut}), "utf-8")
        with pytest.raises(ValueError, match=r"cut.json: the key is not whole"):
            analyse_files([one], tmp_path / "cut.json")
    (tmp_path / "e.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match="not JSON"):
        analyse_files([tmp_path / "e.json"], key)
    with pytest.raises(FileNotFoundError):
        analyse_files([tmp_path / "none.json"], key)


def test_commands(cli: Cli, tmp_path: Path) -> None:
    answers, humans = people(24)
    pq.write_table(pa.Table.from_pylist(humans), tmp_path / "humans.parquet")
    for name, rows in answers.items():
        write_jsonl(tmp_path / f"{name}.jsonl", [*rows, {"id": "nobody", "response": "x"}])
    command = ("human-eval", "build", "tuned-model.jsonl", "b=base-model.jsonl", "--join", "humans.parquet", "-o")
    done = cli(*command, "page.html", "--count", 6)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "36 answers to rate and 24 pairs to choose from: 12 prompts of 2 buckets",
        "page: page.html",
        "key, which raters must not see: page.key.json",
    ]
    assert "not used: 2 for unknown_id: no record has the answer's id; the first: tuned-model: tuned-" in done.stderr
    key = json.loads((tmp_path / "page.key.json").read_text("utf-8"))
    assert key["models"] == ["tuned-model", "b"]
    again = cli(*command, "page.html")
    assert again.returncode == 1 and "page.html: exists already; --overwrite replaces it" in again.stderr
    assert cli(*command, "page.txt").returncode == 2
    told = json.loads(cli(*command, "other.html", "--key", "hidden.json", "--json", "--tasks", "choices").stdout)
    assert told["ratings"] == 0 and told["key"] == "hidden.json" and (tmp_path / "hidden.json").is_file()
    for rater in ("Ann", "Bo [b]"):
        said = {
            task: {"choice": "a"} if "model" in about else dict.fromkeys(key["questions"], 4)
            for task, about in key["tasks"].items()
        }
        ratings = {"format": RATINGS, "page": key["page"], "rater": rater, "ratings": said}
        (tmp_path / f"ratings-{rater[:2]}.json").write_text(json.dumps(ratings))
    found = cli("human-eval", "analyse", "ratings-An.json", "ratings-Bo.json", "--key", "page.key.json")
    assert found.returncode == 0, found.stderr
    assert "Bo [b]: 36 of 36 answers rated, 24 of 24 pairs chosen from" in found.stdout
    assert "4.00 (4.00 to 4.00)" in found.stdout
    shown = json.loads(cli("human-eval", "analyse", "ratings-An.json", "--key", "page.key.json", "--json").stdout)
    assert shown["models"]["b"]["picked"]["prompts"] == 12
    cli("human-eval", "questions")
    assert cli("human-eval", "questions").stdout == DEFAULT.read_text("utf-8")


# --- The page in a browser.


class Page:
    """A page as a rater uses it."""

    def __init__(self, browser: Any, path: Path) -> None:
        self.browser, self.path = browser, path

    def open(self, state: str = "lang=en&theme=light") -> Page:
        self.browser.get("about:blank")
        self.browser.get(f"{self.path.as_uri()}#{state}")
        self.wait("document.querySelector('main') !== null")
        return self

    def wait(self, script: str) -> None:
        from selenium.webdriver.support.ui import WebDriverWait

        WebDriverWait(self.browser, 20).until(lambda page: page.execute_script(f"return {script}"))

    def find(self, selector: str) -> Any:
        return self.browser.find_element("css selector", selector)

    def click(self, selector: str) -> None:
        self.browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", self.find(selector))
        self.find(selector).click()

    def press(self, *keys: str) -> None:
        for key in keys:
            self.find("body").send_keys(key)

    def text(self, selector: str) -> str:
        return str(self.find(selector).text)

    def begin(self, name: str) -> None:
        self.find("#name").clear()
        self.find("#name").send_keys(name)
        self.click("#start")

    def order(self) -> list[str]:
        found = []
        while self.browser.find_elements("css selector", "main[data-task]"):
            found.append(self.find("main").get_attribute("data-task"))
            self.click("#next")
        return found

    def check(self) -> None:
        assert self.browser.get_log("browser") == []
        assert self.browser.execute_script("return window.hit") is None


@pytest.fixture
def study() -> Any:
    return made(*people(4), count=1)


@pytest.fixture
def page(browser: Any, study: Any, tmp_path: Path) -> Iterator[Page]:
    (tmp_path / "page.html").write_text(study.page, "utf-8")
    found = Page(browser, tmp_path / "page.html").open()
    browser.execute_script("localStorage.clear()")
    yield found.open()
    found.check()


def exported(browser: Any, name: str) -> Path:
    from selenium.webdriver.support.ui import WebDriverWait

    path: Path = browser.downloads / name
    WebDriverWait(browser, 20).until(lambda _: path.is_file())
    return path


def test_a_rater_answers_by_the_keyboard_exports_and_is_analysed(page: Page, study: Any, tmp_path: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    page.begin("Ann Lee")
    assert page.text("#at") == "1 of 10"
    assert HOSTILE[:20] in page.text(".said .what")
    while page.browser.find_elements("css selector", ".asked"):
        task = page.find("main").get_attribute("data-task")
        source = study.key["tasks"][task]["source"]
        page.press(*("5" if source == "human" else "2" for _ in range(5)), Keys.ENTER)
    assert len(page.browser.find_elements("css selector", ".two .answer")) == 2
    while page.browser.find_elements("css selector", "main[data-task]"):
        task = page.find("main").get_attribute("data-task")
        page.press("12"["ab".index(study.key["tasks"][task]["human"])], Keys.ENTER)
    assert page.text("#end h2") == "All is answered. Thank you!"
    page.press("e")
    path = exported(page.browser, "ratings-Ann-Lee.json")
    (tmp_path / "key.json").write_text(study.key_json(), "utf-8")
    found = analyse_files([path], tmp_path / "key.json", min_count=1)
    assert found.raters == [
        {"name": "Ann Lee", "ratings": 6, "ratings_asked": 6, "choices": 4, "choices_asked": 4, "right": 1.0}
    ]
    assert found.models["human"]["ratings"]["length"]["mean"] == 5
    assert found.models["base-model"]["picked"]["mean"] == 0
    path.unlink()


def test_what_is_done_is_kept_and_each_rater_has_an_order(page: Page) -> None:
    from selenium.webdriver.common.keys import Keys

    page.begin("a")
    first = page.find("main").get_attribute("data-task")
    page.press("3", "4", Keys.ARROW_UP, Keys.ARROW_UP, "1", Keys.ARROW_RIGHT, Keys.ARROW_LEFT)
    pressed = 'button[aria-pressed="true"]'
    page.open()
    assert page.find("#name").get_attribute("value") == "a"
    assert page.text("#start") == "Go on"
    page.click("#start")
    assert page.find("main").get_attribute("data-task") == first
    marks = page.browser.find_elements("css selector", pressed)
    assert [mark.get_attribute("data-value") for mark in marks] == ["1", "4"]
    mine = page.order()
    page.click("#other")
    page.begin("b")
    theirs = page.order()
    assert sorted(mine, key=int) == sorted(theirs, key=int) == [str(at) for at in range(1, 11)]
    assert mine != theirs and sorted(mine[:6], key=int) == [str(at) for at in range(1, 7)]
    page.click("#other")
    page.begin("a")
    page.click("#back")
    page.click('[data-question="length"][data-value="2"]') if page.browser.find_elements(
        "css selector", ".asked"
    ) else None
    assert "Kept in this browser." in page.text("main")


def test_ratings_travel_to_another_browser(page: Page, study: Any, tmp_path: Path) -> None:
    page.begin("c")
    page.press("4", "4", "4", "4", "4")
    page.click("#save")
    path = exported(page.browser, "ratings-c.json")
    told = json.loads(path.read_text("utf-8"))
    assert told["format"] == RATINGS and len(told["ratings"]) == 1 and told["rater"] == "c"
    told["ratings"] |= {"999": {"natural": 1}, "1": {"natural": 9, "fitting": 2}}
    (tmp_path / "moved.json").write_text(json.dumps(told))
    (tmp_path / "other.json").write_text(json.dumps({**told, "page": "x"}))
    (tmp_path / "none.json").write_text("{")
    page.browser.execute_script("localStorage.clear()")
    page.open()
    for name, said in (("none", "This is no file of ratings."), ("other", "These ratings are of another page.")):
        page.find("#file").send_keys(str(tmp_path / f"{name}.json"))
        page.wait(f"document.getElementById('told').textContent === {said!r}")
    page.find("#file").send_keys(str(tmp_path / "moved.json"))
    page.wait("document.getElementById('told').textContent.startsWith('c: ')")
    kept = page.browser.execute_script(f"return localStorage.getItem('polyalign|{study.key['page']}|rater c')")
    ratings = json.loads(kept)["ratings"]
    assert "999" not in ratings and ratings["1"] == {"fitting": 2}
    path.unlink()


@pytest.mark.parametrize("width", [390, 1280])
def test_both_languages_and_widths(page: Page, width: int, tmp_path: Path) -> None:
    page.browser.set_window_size(width, 900)
    page.open("lang=zh&theme=dark")
    assert page.text("h1") == "这些回答读起来如何？"
    page.begin("d")
    assert page.text("#at") == "第 1 / 10 项"
    wide = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    assert page.browser.execute_script(f"return {wide}")
    page.click("#lang")
    assert page.text("#open") == "Next unanswered"
    page.click("#theme")
    assert page.find("html").get_attribute("data-theme") == "light"
    for _ in range(6):
        page.press("3", "3", "3", "3", "3")
        page.click("#open")
    assert page.browser.execute_script(f"return {wide}")
    page.click('[data-side="b"]')
    assert page.find('[data-side="b"]').get_attribute("aria-pressed") == "true"
    page.browser.set_window_size(1280, 900)


def test_a_browser_that_keeps_nothing_says_so(page: Page) -> None:
    page.browser.execute_script("Storage.prototype.setItem = () => { throw new Error('full'); }")
    page.begin("e")
    page.press("1")
    assert "This browser keeps nothing" in page.text("main")
    page.open()
