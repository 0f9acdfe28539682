"""The report of an evaluation: whole, safe, self-contained, small, and every control of it works in a browser."""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import polyalign
from polyalign.align import _tasks
from polyalign.evaluation import Evaluation, _verdict
from polyalign.evaluation._measures import MEASURES
from polyalign.evaluation._report import render
from polyalign.evaluation._texts import FORMULAS, TEXTS, Said
from polyalign.reference._histograms import QUANTILES
from test_evaluation import BUCKETS, FAULTS, answers, people, told
from test_page import Elements

HOSTILE = '</script><img src=x onerror="window.hit = 1"> <b>\''


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    humans = people()
    rows = answers(humans, spoil=FAULTS["wrong_language"][0]).to_pylist()
    rows[3]["response"] = HOSTILE
    several = [row for row in rows for _ in range(2)] + [{"id": "nobody", "response": "Hm."}, rows[0]]
    judged = [
        {"id": row["id"], "source": HOSTILE, "judge": HOSTILE, "totals": {"overall": at, "utility": at}, "scores": {}}
        for at, row in enumerate(rows[:40])
    ]
    judged += [
        {"id": row["id"], "model": name, "detector": "eye", "score": at % 7, "human": at % 5}
        for at, row in enumerate(rows[:40])
        for name in (HOSTILE, "half")
    ]
    models = {HOSTILE: pa.Table.from_pylist(several), "half": answers(humans, seed=4).slice(1)}
    more = [{**judged[0], "source": "x"}, {**judged[0], "id": "y"}]
    found = told(models, humans, judged=[*judged, *more], maps=["tsne", "umap"], encoder=letters)
    scores = {HOSTILE: {"quiz": {"acc": [0.5, 0.01, True], "bits": [0.9, None, False]}},
              "half": {"quiz": {"acc": [0.4, 0.01, True]}}}  # fmt: skip
    return dataclasses.replace(found, details={**found.details, "tasks": _tasks.table(HOSTILE, scores)})


def letters(texts: list[str]) -> Any:
    """An encoder that counts letters, and knows Chinese from English by that."""
    return np.array([[text.count(letter) for letter in "aeiouthsn的我"] for text in texts], np.float32) + 0.01


def test_maps_are_the_same_for_any_order_and_tell_what_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    humans = people()
    spoilt = answers(humans, spoil=FAULTS["wrong_language"][0], share=1.0)
    monkeypatch.setitem(sys.modules, "umap", None)
    one, two = (
        told({"m": table}, humans, draws=20, maps=["tsne", "umap"], encoder=letters)
        for table in (spoilt, spoilt.take(np.random.default_rng(0).permutation(len(spoilt))))
    )
    assert one.warnings == two.warnings == ("the map by UMAP needs umap-learn: pip install umap-learn",)
    maps = one.details["maps"]
    kinds = [("features", "pca"), ("features", "tsne"), ("encoder", "pca"), ("encoder", "tsne")]
    assert [(each["space"], each["method"]) for each in maps] == kinds
    for each, again in zip(maps, two.details["maps"], strict=True):
        if each["method"] == "tsne":
            assert each["grids"] == again["grids"]
        assert each.get("points", 240) == 240 and sum(map(sum, each["grids"])) == 240
        # Two thirds of the answers are like humans', a third in another language.
        people_, model = (np.array(grid) for grid in each["grids"])
        assert np.minimum(people_, model).sum() < 120
    with pytest.raises(ValueError, match="no map 'sne': there are pca, tsne, umap"):
        told({"m": spoilt}, humans, maps="sne")


def test_umap_places_what_is_alike_together() -> None:
    pytest.importorskip("umap", reason="umap-learn is not installed")
    from polyalign.evaluation._maps import _umap

    random = np.random.default_rng(0)
    rows = np.concatenate([random.normal(0, 1, (40, 8)), random.normal(9, 1, (40, 8))])
    one, two = _umap(rows, 3), _umap(rows, 3)
    assert (one == two).all()
    centres = one[:40].mean(axis=0), one[40:].mean(axis=0)
    within, between = (np.linalg.norm(one[:40] - centre, axis=1).mean() for centre in centres)
    assert within < between / 2


def test_page_is_whole_and_refers_to_nothing_outside_itself(evaluation: Evaluation) -> None:
    page = render(evaluation)
    elements = Elements(page)
    ids = [attributes.get("id") for tag, attributes in elements.tags if tag == "script"]
    assert ids == ["about", "numbers", "evaluation", None]
    assert elements.texts["title"] == json.loads(elements.texts["about"])["title"] == f"{HOSTILE} · half"
    for tag, attributes in elements.tags:
        assert not {"src", "href", "action", "srcset"} & set(attributes), (tag, attributes)
    assert not [tag for tag, _ in elements.tags if tag in ("img", "link", "iframe", "base")]
    script = elements.texts["script"]
    assert not re.search(r"\bfetch\(|XMLHttpRequest|WebSocket|import\(|innerHTML|document\.write|\beval\(", script)
    assert re.findall(r"\w+://[^\"'`]+", script) == ["http://www.w3.org/2000/svg"]


def test_distributions_are_those_that_references_of_either_side_have() -> None:
    humans = people()
    rows = answers(humans, spoil=FAULTS["wrong_language"][0]).to_pylist()
    rows[3]["response"] = " "
    shown = told({"m": pa.Table.from_pylist([row for row in rows for _ in range(2)])}, humans).details["histograms"]
    of = {row["id"]: row for row in humans.to_pylist()}
    said = [{**of[row["id"]], "completion": row["response"]} for row in rows if row["response"].strip()]
    assert len(shown["features"]) == shown["all_features"] > 100
    for side, table in zip(shown["sides"], (humans, pa.Table.from_pylist(said)), strict=True):
        page = polyalign.Reference.from_arrow(table.select(["prompt", "completion", "bucket"]))._page()
        assert shown["features"] == page["features"]
        assert [bucket["bucket"] for bucket in side] == sorted(BUCKETS)
        by_name = {bucket["bucket"]: bucket for bucket in page["buckets"]}
        for bucket in side:
            expected = by_name[bucket["bucket"]]
            assert (bucket["rows"], bucket["features"].keys()) == (expected["rows"], expected["features"].keys())
            for name, cell in bucket["features"].items():
                other = expected["features"][name]
                assert (cell["count"], np.sum(cell["bins"], axis=0)[2]) == (other["count"], other["count"])
                for value in (*QUANTILES, "mean", "std"):  # a bin is a sixty-fourth wide
                    assert cell[value] == pytest.approx(other[value], rel=1 / 60, abs=1e-9), (name, value)


def test_both_languages_have_the_same_texts() -> None:
    from polyalign.evaluation import _report

    script = Path(_report.__file__).with_name("_report.js").read_text("utf-8")
    english, chinese = (re.findall(r"(?:^|[{,] )(\w+):", part, re.MULTILINE)
                        for part in re.split(r"\n  zh: \{", script.split("const about")[0]))  # fmt: skip
    part = script.split("\n  },\n  zh: {")[0]
    while (flat := re.sub(r"\{[^{}]*\}", "", part)) != part:
        part = flat
    keys = re.findall(r"(?:^ *|, )(\w+):", part.split("en: {")[1], re.MULTILINE)
    assert len(keys) > 80
    assert len(set(keys)) == len(keys), "a later text would take the place of an earlier one"
    assert sorted(set(english) - {"en"}) == sorted(set(chinese))


def test_page_of_many_buckets_and_models_is_small(evaluation: Evaluation) -> None:
    random = np.random.default_rng(0)

    def moved(number: Any) -> Any:
        values = {name: None if value is None else value * random.uniform(0.5, 1.5)
                  for name, value in number.to_dict().items()}  # fmt: skip
        return dataclasses.replace(number, **values)

    names = [f"en|single|family {at}|short" for at in range(200)]
    numbers = list(evaluation.models[0].buckets.values())
    models = tuple(
        dataclasses.replace(
            evaluation.models[0],
            name=f"model {at}",
            buckets={name: {metric: moved(each) for metric, each in numbers[at % 3].items()} for name in names},
        )
        for at in range(4)
    )
    grids = random.integers(0, 4, (5, 28 * 28)).tolist()
    maps = [{"space": space, "method": method, "size": 28, "grids": grids}
            for space in ("features", "encoder") for method in ("pca", "tsne", "umap")]  # fmt: skip
    many = dataclasses.replace(evaluation, models=models, humans=dict.fromkeys(names, 50), details={"maps": maps})
    # Histograms and texts have a budget of their own, whatever the number of buckets: 2 MB of the 3 MB.
    assert len(render(many)) < 1_000_000


def test_nothing_is_said_in_one_language_alone(evaluation: Evaluation) -> None:
    fields, han = re.compile(r"\{(\w+)"), re.compile("[\u4e00-\u9fff]")
    same = {"detector", "source_judge", "source_detect", "source_people", "source_joint", "count", "line", "judge_part",
            "tpr"}  # fmt: skip
    for key, (english, chinese) in TEXTS.items():
        assert set(fields.findall(english)) >= set(fields.findall(chinese)), key
        assert han.search(re.sub(r"\{\w+\}", "", chinese)) or key in same, key
        assert not han.search(english), key
    assert set(FORMULAS) == {measure.name for measure in MEASURES}
    lines = _verdict.told(evaluation)
    assert len(lines) >= 4
    for line in lines:
        assert isinstance(line, Said) and han.search(line.chinese), line


# --- The page in a browser.


@pytest.fixture
def opened(browser: Any, evaluation: Evaluation, tmp_path: Path) -> Iterator[Any]:
    from selenium.webdriver.support.ui import WebDriverWait

    path = tmp_path / "report.html"
    evaluation.to_html(path)
    browser.set_window_size(1280, 900)
    browser.get("about:blank")
    browser.get(f"{path.as_uri()}#lang=en&theme=light")
    WebDriverWait(browser, 20).until(lambda page: page.find_elements("css selector", "main"))
    yield browser
    assert browser.get_log("browser") == []
    assert browser.execute_script("return window.hit") is None


def all_of(browser: Any, selector: str) -> list[Any]:
    return list(browser.find_elements("css selector", selector))


def text_of(browser: Any, selector: str = "main") -> str:
    return str(browser.find_element("css selector", selector).text)


def test_the_verdict_comes_first_and_alerts_lead_to_their_bucket(opened: Any) -> None:
    verdicts = [item.text for item in all_of(opened, ".verdict li")]
    assert verdicts[0].startswith(f"{HOSTILE}: not like humans in 1 of 3 buckets")
    assert verdicts[1].startswith("half: like humans in all 3 buckets")
    assert "more human" in verdicts[2]
    first = text_of(opened, ".alerts li")
    assert BUCKETS[1] in first
    assert "wrong language" in first
    all_of(opened, ".alerts li button")[0].click()
    assert text_of(opened, "h2") == BUCKETS[1]
    main = text_of(opened)
    for expected in ("Utility", "Faithfulness", "Faults", "asked:", "model's answer", "why:"):
        assert expected in main
    assert "我觉得" in main


def test_every_control_works(opened: Any) -> None:
    saved = "window.saved = []; HTMLAnchorElement.prototype.click = function () { window.saved.push(this.download) }"
    opened.execute_script(saved)
    seen = set()
    for view in ("overview", "table", "bucket", "features", "phrases", "answers", "method"):
        opened.find_element("id", f"tab-{view}").click()
        for at in range(len(all_of(opened, "main select"))):
            options = all_of(opened, "main select")[at].find_elements("css selector", "option")
            for option in range(min(3, len(options))):
                all_of(opened, "main select")[at].find_elements("css selector", "option")[option].click()
        for at in range(len(all_of(opened, "main th button[data-sort]"))):
            all_of(opened, "main th button[data-sort]")[at].click()
        for at in range(len(all_of(opened, "main .choices button")[:2])):
            all_of(opened, "main .choices button")[at].click()
        for button in all_of(opened, "main button.data"):
            opened.execute_script("arguments[0].click()", button)
        for search in all_of(opened, "main input[type=search]"):
            if search.is_displayed():
                search.send_keys("zh")
                search.clear()
                search.send_keys(" ")
        seen.add(text_of(opened)[:2000])
    assert len(seen) == 7
    names = set(opened.execute_script("return window.saved"))
    assert {"alerts.csv", "means.csv", "frontier.csv", "map.csv", "buckets.csv", "answers.csv", "settings.csv"} <= names
    assert "evaluation.json" in names
    opened.find_element("id", "lang").click()
    assert "公式" in text_of(opened)
    opened.find_element("id", "theme").click()
    assert opened.execute_script("return document.documentElement.dataset.theme") == "dark"


def test_too_few_humans_for_a_rate_are_said_in_the_place_of_a_number(opened: Any) -> None:
    opened.execute_script(f"location.hash = 'lang=en&view=bucket&bucket={BUCKETS[0]}'")
    rows = [row.text for row in all_of(opened, "main tr") if row.text.startswith("TPR at")]
    assert len(rows) == 3
    assert "not enough (n=39, need 100)" in rows[0]
    assert "not enough" not in rows[1] + rows[2] and "n=39 prompts" in rows[1]
    opened.find_element("id", "tab-table").click()
    opened.execute_script("location.hash = 'lang=zh&view=table&metric=detector_eye_tpr_1'")
    assert "不足（n=39，需要 100）" in text_of(opened)


def test_answers_are_shown_a_dozen_at_a_time(opened: Any) -> None:
    opened.find_element("id", "tab-answers").click()
    assert len(all_of(opened, ".answer-card")) == 12
    more = all_of(opened, "main button.plain")[-1]
    assert more.text == "more (6 are left)"
    more.click()
    assert len(all_of(opened, ".answer-card")) == 18
    assert "are left" not in text_of(opened)


def test_what_a_task_costs_is_in_colour(opened: Any) -> None:
    (cost,) = all_of(opened, "td .interval.worse")
    assert cost.text == "-0.100"
    style = "return [getComputedStyle(arguments[0]).color, getComputedStyle(document.querySelector('b.worse')).color]"
    own, bad = opened.execute_script(style, cost)
    assert own == bad


def test_a_formula_is_one_click_away(opened: Any) -> None:
    all_of(opened, "main th button.metric")[2].click()
    assert "marked" in str(all_of(opened, ".method .marked")[0].get_attribute("class"))
    assert "Gaussian kernel" in text_of(opened, ".method .marked")


#: What has no Chinese: names of metrics and of files, and the button for English.
NAMES = {*"""F1 ROUGE-L EM MMD BNG HCR TDM NUF MAUVE BLEU-4 Self-BLEU distinct-1 distinct-2 TF-IDF AUROC CSV JSON Holm
TPR FPR eye lm-eval PCA t-SNE SNE UMAP q10 q25 q75 q90 polyalign generate
Markdown VADER ASCII LIX RIX SMOG ARI English Wasserstein-1
""".split()}  # fmt: skip


def test_nothing_is_left_in_english(opened: Any) -> None:
    """Whatever is no user's text, name or code is in Chinese, in every view."""
    opened.find_element("id", "lang").click()
    for view in ("overview", "table", "bucket", "features", "phrases", "answers", "method"):
        opened.find_element("id", f"tab-{view}").click()
        found = opened.execute_script("""
            const texts = [], kept = "bdi, code, cite";
            const walk = document.createTreeWalker(document.getElementById("page"), NodeFilter.SHOW_TEXT);
            while (walk.nextNode()) {
                if (!walk.currentNode.parentElement.closest(kept)) texts.push(walk.currentNode.data);
            }
            for (const each of document.querySelectorAll("#page [title], #page [placeholder], #page [aria-label]"))
                if (!each.closest(kept)) for (const name of ["title", "placeholder", "aria-label"])
                    if (each.hasAttribute(name)) texts.push(each.getAttribute(name));
            return texts""")
        said = [re.sub("|".join(map(re.escape, (HOSTILE, *BUCKETS, "half"))), "", text) for text in found]
        left = {text: set(re.findall("[A-Za-z][A-Za-z0-9-]{2,}", text)) - NAMES for text in said}
        assert not {text: words for text, words in left.items() if words}, view


@pytest.mark.parametrize("width", [390, 800, 1440])
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_nothing_is_wider_than_the_window(opened: Any, width: int, lang: str) -> None:
    opened.set_window_size(width, 900)
    opened.execute_script(f"location.hash = 'lang={lang}'")
    for view in ("overview", "table", "bucket", "features", "phrases", "answers", "method"):
        opened.find_element("id", f"tab-{view}").click()
        assert opened.execute_script("return document.documentElement.scrollWidth <= innerWidth"), view
