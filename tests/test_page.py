"""A reference to look at: the page is whole, safe and self-contained, its numbers are those given, and it works."""

from __future__ import annotations

import base64
import io
import json
import math
import re
import zlib
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from conftest import ROOT
from polyalign import features
from polyalign._text import tables
from polyalign.reference import _terminal
from polyalign.reference._histograms import QUANTILES, draw
from polyalign.reference._page import chinese_names, pair, render

Data = dict[str, Any]

HOSTILE = [
    "</script><script>window.hit = 1</script>",
    '"\'><img src=x onerror="window.hit = 2">',
    "<!--about--><!--numbers--><!-- & &lt; ]]>",
    "zh|single|问答|短",
    "a" * 300 + "|[red]b[/red]|\x1b[31m\u202e%7C",
    "\ud800 half",
    "",
]


def edges(values: np.ndarray) -> list[tuple[float, float]]:
    """The bins that values lie in: whole numbers to 128, sixteenths below 8, else 64 to an octave."""
    whole = bool(np.all(values == np.rint(values)))
    bins = []
    for value in values:
        if abs(value) < (128 if whole else 8):
            low = math.floor(value) if whole else math.floor(value * 16) / 16
            bins.append((low, low + (1 if whole else 1 / 16)))
        else:
            step = 2.0 ** (math.frexp(abs(value))[1] - 7)
            bins.append((math.floor(value / step) * step, math.floor(value / step) * step + step))
    return bins


def cell(values: list[float]) -> Data:
    """What the engine says of a feature with these values."""
    ordered = np.sort(np.array(values, np.float32).astype(float))
    count = len(ordered)
    counted: dict[tuple[float, float], int] = {}
    for bin_ in edges(ordered):
        counted[bin_] = counted.get(bin_, 0) + 1
    shares = {"min": 0, "q10": 0.1, "q25": 0.25, "q50": 0.5, "q75": 0.75, "q90": 0.9, "max": 1}
    quantiles = {name: float(ordered[max(0, math.ceil(share * count) - 1)]) for name, share in shares.items()}
    bins = [[low, high, humans] for (low, high), humans in counted.items()]
    return {"count": count, "mean": float(ordered.mean()), "std": float(ordered.std()), **quantiles, "bins": bins}


def feature(name: str, group: str = "length", unit: str = "words", scale: float = 1.0) -> Data:
    about = {"name": name, "group": group, "definition": f"What {name} is.", "unit": unit}
    return {**about, "languages": "all", "scale": scale}


def reference(buckets: dict[str, dict[str, list[float]]], features: list[Data]) -> Data:
    return {
        "title": "Humans & <others>",
        "labels": ["human"],
        "variant": "default",
        "registry": {"version": 1},
        "schema": {"axes": ["language", "track"], "length_unit": "words", "length_edges": [40, 120, 240]},
        "min_count": 3,
        "features": features,
        "buckets": [
            {
                "bucket": bucket,
                "parts": bucket.split("|")[:2],
                "rows": max((len(values) for values in given.values()), default=0),
                "backed_off": sum(len(values) < 3 for values in given.values()),
                "features": {name: cell(values) for name, values in given.items() if values},
            }
            for bucket, given in buckets.items()
        ],
    }


FEATURES = [
    feature("word_count"),
    feature("comma_count", "punctuation", "count"),
    feature("digit_share", "orthography", "share", 0.05),
    feature("unheard_of", "a new <group>", "<unit>"),
]


@pytest.fixture(scope="module")
def data() -> Data:
    """Two languages and buckets with hostile names."""
    random = np.random.default_rng(0)
    buckets = {
        "en|single": {
            "word_count": np.floor(random.lognormal(4, 1, 200)).tolist(),
            "comma_count": [0.0, 1.0, 1.0, 1.0],
            "digit_share": random.beta(1, 9, 150).tolist(),
            "unheard_of": random.normal(0, 40, 100).tolist(),
        },
        "zh|multi": {"word_count": np.floor(random.lognormal(2, 0.5, 90)).tolist(), "comma_count": [2.0] * 5},
    }
    for name in HOSTILE:
        buckets[name] = {"word_count": [3.0, 5.0], "comma_count": []}
    return reference(buckets, FEATURES)


class Elements(HTMLParser):
    """The elements of a page, and the texts of its scripts, as a parser of HTML sees them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, str] = {}
        self._open = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        if tag in ("script", "title", "style"):
            self._open = dict(attributes).get("id") or tag

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, text: str) -> None:
        if self._open:
            self.texts[self._open] = self.texts.get(self._open, "") + text


def test_page_has_the_reference_whatever_its_names(data: Data) -> None:
    page = render(data)
    elements = Elements(page)
    assert [attributes.get("id") for tag, attributes in elements.tags if tag == "script"] == ["about", "numbers", None]
    assert not [tag for tag, _ in elements.tags if tag in ("img", "link", "iframe", "object", "base")]
    about = json.loads(elements.texts["about"])
    assert [bucket["bucket"] for bucket in about["buckets"]] == ["en|single", "zh|multi", *HOSTILE]
    assert [bucket["rows"] for bucket in about["buckets"][:2]] == [200, 90]
    assert [one["name"] for one in about["features"]] == [one["name"] for one in FEATURES]
    assert about["title"] == elements.texts["title"] == data["title"]
    page.encode("utf-8")  # a lone surrogate is in it as an escape


def test_page_refers_to_nothing_outside_itself(data: Data) -> None:
    page = render(data)
    elements = Elements(page)
    for tag, attributes in elements.tags:
        assert not {"src", "href", "action", "data", "srcset", "poster"} & set(attributes), (tag, attributes)
    assert "default-src 'none'" in page
    script, style = elements.texts["script"], elements.texts["style"]
    assert not re.search(r"url\(|@import", style)
    assert not re.search(r"\bfetch\(|XMLHttpRequest|WebSocket|import\(|innerHTML|document\.write|\beval\(", script)
    assert re.findall(r"\w+://[^\"'`]+", script) == ["http://www.w3.org/2000/svg"]  # the name of a namespace


def numbers(page: str, about: Data) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """Counts, statistics and heights as the page's script reads them."""
    shape = (len(about["features"]), len(about["buckets"]))
    raw = zlib.decompress(base64.b64decode(Elements(page).texts["numbers"]))
    apart = shape[0] * shape[1] // 2 if about["sides"] else 0
    words = shape[0] * shape[1] * 12 + apart
    joined = np.frombuffer(raw[: 4 * words], np.uint8).reshape(4, words).T.copy()
    counts = joined.view("<u4").ravel()[: shape[0] * shape[1]].reshape(shape)
    statistics = joined.view("<f4").ravel()[shape[0] * shape[1] : words - apart].reshape(11, *shape)
    bars = [one["axis"]["bars"] for one in about["features"]]
    places = np.cumsum([0, *(count * shape[1] for count in bars)]) + 4 * words
    assert len(raw) == places[-1]
    heights = [np.frombuffer(raw[start:stop], np.uint8).reshape(shape[1], -1) / 255 for start, stop in pairwise(places)]
    return counts, statistics, heights


def test_numbers_of_the_page_are_those_given(data: Data) -> None:
    page = render(data)
    counts, statistics, heights = numbers(page, json.loads(Elements(page).texts["about"]))
    for row, about in enumerate(data["features"]):
        for column, bucket in enumerate(data["buckets"]):
            given = bucket["features"].get(about["name"])
            assert counts[row, column] == (given["count"] if given else 0)
            if not given:
                assert not heights[row][column].any()
                continue
            expected = [given[name] for name in ("mean", "std", *QUANTILES)]
            np.testing.assert_allclose(statistics[:9, row, column], expected, rtol=2**-16)
            assert heights[row][column].max() == 1
    comma = heights[1][0] * statistics[9, 1, 0]
    np.testing.assert_allclose(comma, [0.25, 0.75, 0], atol=0.75 / 255)


def test_empty_references_have_a_page() -> None:
    assert render(reference({}, FEATURES)).startswith("<!doctype html>")
    assert render(reference({"en|single": {}}, [])).startswith("<!doctype html>")
    assert render(reference({"en|single": {"word_count": []}}, FEATURES)).startswith("<!doctype html>")


def test_a_page_of_many_buckets_is_small() -> None:
    random = np.random.default_rng(1)
    features = [feature(f"feature_{place}", scale=0.05) for place in range(20)]
    cells = [cell(random.lognormal(0, 1, 200).tolist()) for _ in range(60)]
    many = reference({f"b|{place}": {} for place in range(60)}, features)
    for place, bucket in enumerate(many["buckets"]):
        bucket["features"] = {one["name"]: cells[(place + shift) % 60] for shift, one in enumerate(features)}
    # 500 buckets of 145 features are then below 5 MB, however little they have in common.
    assert len(render(many)) - len(render(reference({}, []))) < 60 * 20 * 70


def overlap(low: float, high: float, start: float, stop: float) -> float:
    return max(0.0, min(high, stop) - max(low, start)) / (high - low)


numbers_of_a_kind = st.one_of(
    st.lists(st.integers(0, 30).map(float), min_size=1, max_size=30),
    st.lists(st.integers(0, 5000).map(float), min_size=1, max_size=30),
    st.lists(st.integers(-300, 100000).map(float), min_size=1, max_size=30),
    st.lists(st.floats(0, 1, width=32), min_size=1, max_size=30),
    st.lists(st.floats(-1000, 20000, width=32), min_size=1, max_size=30),
    st.lists(st.sampled_from([0.0, 1.0]), min_size=1, max_size=9),
)


@settings(deadline=None, max_examples=150)
@given(st.lists(numbers_of_a_kind, min_size=1, max_size=4), st.sampled_from([1.0, 0.05]), st.integers(5, 60))
def test_bars_have_their_parts_of_the_bins(buckets: list[list[float]], scale: float, most: int) -> None:
    cells = [cell(values) for values in buckets]
    drawn = draw(scale, cells, most)
    axis, ends = drawn.axis, drawn.axis.bar_edges()
    assert len(ends) == axis.bars + 1 <= most + 1
    assert np.all(np.diff(ends) > 0)
    widths = np.diff(ends) / np.diff(ends).mean()
    shares = drawn.heights * widths
    np.testing.assert_allclose(shares.sum(axis=1) + drawn.beyond, 1, atol=1e-9)
    half = 0.5 if axis.whole else 0.0
    for row, one in enumerate(cells):
        for bar, (start, stop) in enumerate(pairwise(ends)):
            expected = 0.0
            for low, high, humans in one["bins"]:
                # The outermost bins end where the values do.
                first = max(low, one["min"])
                last = min(high, one["max"] + 1) if axis.whole else min(high, np.nextafter(one["max"], np.inf))
                left, right = axis.positions(np.array([first - half, last - half])).tolist()
                if right - left < 1e-9 * (axis.high - axis.low):
                    is_here = start <= left < stop or (left == stop == ends[-1])
                    expected += humans * is_here
                else:
                    expected += humans * overlap(left, right, start, stop)
            assert shares[row, bar] == pytest.approx(expected / one["count"], abs=1e-7)
    # The middle 80% of no bucket is off the axis.
    low, high = axis.positions(np.array([[one["q10"], one["q90"]] for one in cells])).T
    assert low.min() >= axis.low - 1e-9 * abs(axis.low)
    assert high.max() <= axis.high + 1e-9 * abs(axis.high)


def test_axes_are_logarithmic_where_values_span_decades() -> None:
    assert draw(1.0, [cell([1.0, 5.0, 20.0, 400.0, 5000.0])], 48).axis.log
    assert not draw(1.0, [cell([0.0, 1.0, 2.0, 5.0])], 48).axis.log
    assert not draw(0.05, [cell([0.0, 0.2, 1.0])], 48).axis.log


@pytest.mark.parametrize("value", [0.0, 1.0, 7.0, 60.0, 5000.0, 0.4, -3.0])
@pytest.mark.parametrize(("scale", "most"), [(1.0, 48), (1.0, 6), (0.05, 48), (5.0, 8)])
def test_one_value_everywhere_is_a_spike_with_room_beside_it(value: float, scale: float, most: int) -> None:
    drawn = draw(scale, [cell([value] * 30), cell([value])], most)
    axis = drawn.axis
    shares = drawn.heights * (np.diff(axis.bar_edges()) / np.diff(axis.bar_edges()).mean())
    assert 5 <= axis.bars <= most
    assert (shares > 0).sum(axis=1).tolist() == [1, 1]
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert value < 0 or axis.low >= -0.5  # no negative numbers for what has none
    if scale < 1 and 0 <= value <= 1:
        assert (axis.low, axis.high) == (0, 1)


def test_a_share_of_all_or_nothing_is_drawn_at_its_ends() -> None:
    cells = [{**cell([0.0] * 3 + [1.0]), "bins": [[0.0, 1 / 256, 3], [1.0, 1.0, 1]]}]
    drawn = draw(0.05, cells, 48)
    assert not drawn.axis.whole
    assert np.flatnonzero(drawn.heights[0]).tolist() == [0, 47]


def test_open_bins_end_where_the_values_do() -> None:
    given = {**cell([1.0, 2.0, 3.0, 4.0]), "bins": [[1.0, 2.0, 1], [2.0, None, 3]]}
    drawn = draw(1.0, [given], 48)
    assert drawn.beyond.tolist() == [0]
    np.testing.assert_allclose(drawn.heights, [[0.25] * 4])


@pytest.fixture
def both() -> Data:
    """A human reference and a model's, as a page compares them."""
    human = {
        "en|tiny": {"word_count": [1.0]},
        "en|small": {"word_count": [9.0, 10.0, 11.0, 12.0], "comma_count": [0.0] * 4},
        "en|large": {
            "word_count": [float(count) for count in range(60)],
            "comma_count": [0.0, 1.0] * 30,
            "digit_share": [0.0] * 60,
            "unheard_of": [0.5] * 2,
        },
        "</script>|human": {"word_count": [3.0] * 5},
    }
    model = {
        "en|model": {"word_count": [5.0]},
        "en|large": {
            "word_count": [float(40 + count) for count in range(50)],
            "comma_count": [7.0] * 50,
            "unheard_of": [0.7] * 9,
        },
        "en|small": {"word_count": [9.0, 10.0, 11.0], "comma_count": [0.0] * 3},
        "en|tiny": {"word_count": [2.0] * 900},
    }
    apart = {
        ("en|large", "word_count"): 1.5,
        ("en|large", "comma_count"): 6.5,
        ("en|large", "unheard_of"): 9.0,
        ("en|small", "word_count"): 0.5,
        ("en|small", "comma_count"): 0.0,
        ("en|tiny", "word_count"): 1.0,
    }
    return pair(reference(human, FEATURES), reference(model, FEATURES), apart, ("human & <co>", "model"))


def test_a_page_of_two_has_both_sides_and_what_only_one_has(both: Data) -> None:
    page = render(both)
    about = json.loads(Elements(page).texts["about"])
    assert [bucket["bucket"] for bucket in about["buckets"]] == ["en|tiny", "en|small", "en|large"] * 2
    assert [bucket["rows"] for bucket in about["buckets"]] == [1, 4, 60, 900, 3, 50]
    assert about["sides"] == {
        "names": ["human & <co>", "model"],
        "rows": [70, 954],
        "only": [[{"bucket": "</script>|human", "rows": 5}], [{"bucket": "en|model", "rows": 1}]],
    }
    assert both["differences"] == [[1.0, 0.5, 1.5], [0.0, 0.0, 6.5], [0.0, 0.0, 0.0], [0.0, 0.0, 9.0]]
    counts, statistics, _ = numbers(page, about)
    assert counts.tolist() == [[1, 4, 60, 900, 3, 50], [0, 4, 60, 0, 3, 50], [0, 0, 60, 0, 0, 0], [0, 0, 2, 0, 0, 9]]
    assert statistics[5, 1].tolist() == [0, 0, 0, 0, 0, 7]  # the medians of comma_count
    nothing = pair(reference({"en": {}}, FEATURES), reference({"zh": {}}, FEATURES), {}, ("a", "b"))
    assert '"only":[[{"bucket":"en","rows":0}],[{"bucket":"zh","rows":0}]]' in render(nothing)


def test_every_feature_has_a_chinese_name() -> None:
    registry = ROOT / "rust/polyalign/src/features/registry.rs"
    if not registry.is_file():
        pytest.skip(f"no sources of the engine: {registry.name} is not there")
    text = registry.read_text("utf-8")
    table = text.split("features! {", 1)[1]
    names = chinese_names()
    features = re.findall(r'^ {8}(\w+) \w+ \w+ "', table, re.MULTILINE)
    assert len(features) > 100
    assert set(names["features"]) == set(features)
    assert len(set(names["features"].values())) == len(features)
    assert set(names["definitions"]) == set(features)
    assert set(names["groups"]) == {group.lower() for group in re.findall(r"^ {4}(\w+) \{$", table, re.MULTILINE)}
    assert set(names["units"]) >= set(re.findall(r'=> \{ \("([^"]+)", ', text))
    languages = (registry.parent / "language.rs").read_text("utf-8").split("impl Languages", 1)[1]
    assert set(names["languages"]) >= set(re.findall(r'Self::\w+ => "([\w, ]+)"', languages))


# --- The terminal.


def shown(data: Data, width: int, what: str = "reference", *names: str) -> str:
    out = io.StringIO()
    console = Console(file=out, width=width, highlight=False, color_system=None)
    table = {
        "reference": _terminal.reference_table,
        "feature": _terminal.feature_table,
        "bucket": _terminal.bucket_table,
    }[what]
    table(data, *names, console)
    return out.getvalue()


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_tables_fit_the_terminal(data: Data, width: int) -> None:
    for text in (
        shown(data, width),
        shown(data, width, "feature", "word_count"),
        shown(data, width, "bucket", "en|single"),
    ):
        assert max(map(cell_len, text.splitlines())) <= width
        assert "\x1b" not in text


def test_halves_go_up_as_on_the_page() -> None:
    values = (252.5, 148.5, -1000.5, 7.0, 0.5)
    assert [_terminal._digits(value) for value in values] == ["253", "149", "-1,000", "7", "0.5"]


@pytest.mark.parametrize("width", [60, 80, 200])
def test_definitions_of_features_are_shown_at_any_width(width: int) -> None:
    out = io.StringIO()
    console = Console(file=out, width=width, highlight=False, color_system=None)
    console.print(tables.feature_table(features.registry(), width))
    assert max(map(cell_len, out.getvalue().splitlines())) <= width
    assert "Standard deviation of the" in out.getvalue()
    assert ("school years" in out.getvalue(), "with known words" in out.getvalue()) == (width > 60, width > 80)


def test_tables_say_what_the_reference_has(data: Data) -> None:
    text = shown(data, 200)
    median = data["buckets"][0]["features"]["word_count"]["q50"]
    assert re.search(rf"en\|single +200 +0 +{median:.0f} \(", text)
    assert "[red]b[/red]" in text.replace("\n", "")
    assert "b[/red]|�[31m�%7C" in re.sub(r"\s+", "", text)
    text = shown(data, 120, "feature", "comma_count")
    assert re.search(r"en\|single +4 +1 +0–1 +0–1 +▃+█+ +\n", text)
    assert f"{len(HOSTILE)} buckets without humans" in text
    text = shown(data, 120, "bucket", "en|single")
    assert re.search(r"punctuation +\n +comma_count +4 +1 ", text)
    assert re.search(r"digit_share +150 +\d[.\d]*% ", text)
    assert "no humans" in shown(reference({"en": {}}, FEATURES), 80, "feature", "word_count")


def test_a_name_that_is_not_there_is_said_with_one_that_is(data: Data) -> None:
    with pytest.raises(ValueError, match="no feature 'word_cuont' in the reference; did you mean 'word_count'"):
        shown(data, 80, "feature", "word_cuont")
    with pytest.raises(ValueError, match="no bucket 'qq' in the reference"):
        shown(data, 80, "bucket", "qq")


# --- The page in a browser.


@pytest.fixture
def opening(browser: Any, tmp_path: Path) -> Any:
    """What opens a page of some data; the console must have stayed silent at the end."""
    from selenium.webdriver.support.ui import WebDriverWait

    def open_(data: Data, state: str = "lang=en&theme=light") -> Any:
        path = tmp_path / "page.html"
        path.write_text(render(data), "utf-8")
        browser.get("about:blank")
        browser.get(f"{path.as_uri()}#{state}")
        WebDriverWait(browser, 20).until(lambda page: page.find_elements("css selector", "main"))
        return browser

    yield open_
    assert browser.get_log("browser") == []
    assert browser.execute_script("return window.hit") is None


@pytest.fixture
def opened(opening: Any, data: Data) -> Any:
    """The page, drawn."""
    return opening(data)


def wait_for(browser: Any, script: str) -> None:
    """Wait until a script returns something true."""
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser, 20).until(lambda page: page.execute_script(f"return {script}"))


def find(browser: Any, selector: str) -> Any:
    return browser.find_element("css selector", selector)


def texts(browser: Any, selector: str) -> list[str]:
    script = "return [...document.querySelectorAll(arguments[0])].map((element) => element.textContent.toWellFormed())"
    return list(browser.execute_script(script, selector))


def pick(browser: Any, text: str) -> None:
    choices = browser.find_elements("css selector", ".choices button")
    next(button for button in choices if button.text.startswith(text)).click()


def test_page_shows_hostile_names_as_text(opened: Any) -> None:
    names = ["en|single", "zh|multi", *(name.replace("\ud800", "\ufffd") or "∅" for name in HOSTILE)]
    drawn = [name.replace("\ud800", "\ufffd") for name in texts(opened, "td.bucket bdi")]
    assert drawn == names
    assert texts(opened, "h1") == ["Humans & <others>"]
    for view in ("feature", "bucket", "compare"):
        find(opened, f"#tab-{view}").click()
        assert HOSTILE[0] in texts(opened, "main")[0]
        assert opened.execute_script("return document.documentElement.scrollWidth <= innerWidth")


def test_page_switches_feature_bucket_and_language(opened: Any) -> None:
    find(opened, "#tab-feature").click()
    assert texts(opened, "h2") == ["word_count"]
    assert len(texts(opened, ".card")) == 2 + len(HOSTILE)
    find(opened, ".picker input").send_keys("逗号")
    assert texts(opened, ".choices code") == ["comma_count"]
    pick(opened, "comma_count")
    assert texts(opened, "h2") == ["comma_count"]
    assert len(texts(opened, ".card")) == 2
    find(opened, "#lang").click()
    assert texts(opened, "h2") == ["comma_count 逗号数（含顿号）"]
    assert opened.execute_script("return document.documentElement.lang") == "zh-CN"
    find(opened, "#tab-bucket").click()
    pick(opened, "zh|multi")
    assert texts(opened, "h2") == ["zh|multi"]
    assert texts(opened, "main section h3") == ["长度", "标点"]
    find(opened, "#tab-compare").click()
    assert len(texts(opened, ".card")) == 2
    assert opened.find_elements("css selector", ".outline")
    address = opened.current_url
    opened.get("about:blank")
    opened.get(address)  # the address leads back to what was seen
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(opened, 20).until(lambda page: page.find_elements("css selector", ".card"))
    assert texts(opened, "[aria-selected=true]") == ["两桶对比"]


def test_page_says_the_values_under_the_pointer(opened: Any) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    wait_for(opened, "document.querySelector('th .ticks span')")  # the axis above the histograms
    find(opened, "#tab-feature").click()
    pick(opened, "comma_count")
    ActionChains(opened).move_to_element(find(opened, ".card .plot")).perform()
    tip = dict(zip(texts(opened, "#tip dt"), texts(opened, "#tip dd"), strict=True))
    assert tip["humans"] == "4"
    assert tip["median"] == "1"
    assert tip["1"] == "75%"  # the bar in the middle


def test_page_works_by_keyboard(opened: Any) -> None:
    from selenium.webdriver.common.keys import Keys

    find(opened, "body").send_keys("2")
    assert texts(opened, "[aria-selected=true]") == ["One feature"]
    find(opened, "body").send_keys("/")
    opened.switch_to.active_element.send_keys("digit", Keys.ARROW_DOWN)
    opened.switch_to.active_element.send_keys(Keys.ENTER)
    assert texts(opened, "h2") == ["digit_share"]
    find(opened, "#tab-feature").send_keys(Keys.ARROW_RIGHT)
    assert texts(opened, "[aria-selected=true]") == ["One bucket"]
    assert opened.switch_to.active_element.text == "One bucket"


def test_overview_sorts_and_searches(opened: Any) -> None:
    find(opened, "button[data-sort=rows]").click()
    assert texts(opened, "td.bucket bdi")[:2] == ["en|single", "zh|multi"]
    find(opened, "button[data-sort=rows]").click()
    assert texts(opened, "td.bucket bdi")[-1] == "en|single"
    find(opened, "main input[type=search]").send_keys("ZH mul")
    assert texts(opened, "td.bucket bdi") == ["zh|multi"]


def test_every_view_of_everything_is_drawn(opened: Any) -> None:
    for view in ("feature", "bucket", "compare", "buckets"):
        find(opened, f"#tab-{view}").click()
        for place in range(len(texts(opened, ".choices button")) or 1):
            opened.execute_script("document.querySelectorAll('.choices button')[arguments[0]]?.click()", place)
            opened.execute_script("dispatchEvent(new Event('beforeprint'))")
            drawn = opened.execute_script("return document.querySelector('main').outerHTML.toWellFormed()")
            assert not re.search(r"NaN|undefined|Infinity|\[object", drawn), (view, place)


def test_page_opens_on_the_largest_buckets(opening: Any) -> None:
    sizes = {"a|one": 1, "b|some": 20, "c|most": 60, "d|few": 3}
    buckets = {bucket: {"word_count": [4.0] * size} for bucket, size in sizes.items()}
    page = opening(reference(buckets, FEATURES))
    assert texts(page, "td.bucket bdi") == ["c|most", "b|some", "d|few", "a|one"]
    find(page, "#tab-feature").click()
    assert texts(page, ".card bdi") == ["c|most", "b|some", "d|few", "a|one"]
    find(page, "#tab-bucket").click()
    assert texts(page, "h2") == ["c|most"]
    find(page, "#tab-compare").click()
    assert texts(page, "option:checked")[:2] == ["c|most", "b|some"]
    pick_bucket = page.find_elements("css selector", "select[data-key=bucket] option")
    next(option for option in pick_bucket if option.text == "b|some").click()
    assert texts(page, "option:checked")[:2] == ["b|some", "c|most"]


# The labels of axes that touch another one, or leave their box.
_COLLISIONS = """
return [...document.querySelectorAll(".ticks")].flatMap((axis) => {
  const box = axis.getBoundingClientRect(), labels = [...axis.children].map((label) => label.getBoundingClientRect());
  return labels.filter((label, at) => label.left < box.left - 1 || label.right > box.right + 1
    || (at && label.left < labels[at - 1].right + 2)).map(() => axis.textContent);
})
"""


@pytest.mark.parametrize("language", ["en", "zh"])
def test_labels_of_axes_stay_apart_on_a_phone(opening: Any, data: Data, language: str) -> None:
    wide = {"word_count": [1.0, 90.0, 4000.0, 9e6], "unheard_of": [-0.00125, 0.00125], "digit_share": [0.0005, 0.9]}
    page = opening({**data, "buckets": reference({"en|wide": wide}, FEATURES)["buckets"] + data["buckets"]})
    phone = {"width": 360, "height": 4000, "deviceScaleFactor": 2, "mobile": True}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    try:
        for view in ("feature", "bucket", "compare", "buckets"):
            for feature in ("word_count", "unheard_of", "digit_share"):
                state = f"lang={language}&theme=light&view={view}&feature={feature}&bucket=en%7Cwide&other=en%7Csingle"
                page.execute_script("location.hash = arguments[0]", state)
                wait_for(page, f"document.querySelector('[aria-selected=true]').id === 'tab-{view}'")
                wait_for(page, "document.querySelectorAll('.ticks span').length > 1")
                assert page.execute_script(_COLLISIONS) == [], (view, feature)
                assert page.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_only_what_is_near_the_window_is_drawn_until_it_is_printed(opening: Any) -> None:
    cells = {f"b|{place}": {"word_count": [1.0, 2.0, float(place)]} for place in range(98)}
    page = opening(reference(cells, FEATURES))
    find(page, "#tab-feature").click()
    wait_for(page, "document.querySelector('.card svg')")
    assert len(texts(page, ".card")) == 98
    assert len(texts(page, ".card svg")) < 60
    page.execute_script("scrollTo(0, document.documentElement.scrollHeight)")
    wait_for(page, "document.querySelector('.card:last-child svg')")
    page.execute_cdp_cmd("Page.printToPDF", {})
    assert len(texts(page, ".card svg")) == 98
    assert page.execute_script("return document.querySelectorAll('.card .ticks:empty').length") == 0


def test_page_of_two_opens_where_the_largest_common_bucket_differs_most(opening: Any, both: Data) -> None:
    page = opening(both)
    assert texts(page, "[aria-selected=true]") == ["One bucket"]
    assert texts(page, "h2") == ["en|large"]
    assert texts(page, ".card code") == ["comma_count", "word_count", "unheard_of"]  # the last has too few values
    assert texts(page, ".card .head .number") == ["W1/σ 6.50", "W1/σ 1.50", "W1/σ 9.00"]
    wait_for(page, "document.querySelector('.card .outline') && document.querySelector('.card .bars.a')")
    assert texts(page, "section .legend bdi") == ["human & <co>", "model"]
    assert texts(page, "section h3") == ["Only human & <co> has values of"]
    assert texts(page, ".only code") == ["digit_share"]
    pick(page, "en|small")
    assert texts(page, "h2") == ["en|small"]
    assert texts(page, ".card code") == ["word_count", "comma_count"]


def test_page_of_two_lists_all_buckets_and_what_only_one_has(opening: Any, both: Data) -> None:
    page = opening(both, "lang=zh&theme=light")
    find(page, "#tab-buckets").click()
    # By the mean over features with enough values on both sides: 4 of large, .25 of small, none of tiny.
    assert texts(page, "td.bucket bdi") == ["en|large", "en|small", "en|tiny"]
    assert texts(page, "tbody td:nth-child(4)") == ["4.00", "0.25", "–"]
    assert texts(page, "tbody tr:first-child td.most code") == ["comma_count", "word_count"]
    assert texts(page, "main h3") == ["1 个桶 仅 human & <co> 有", "1 个桶 仅 model 有"]
    assert texts(page, ".only bdi") == ["</script>|human", "en|model"]
    find(page, "button[data-sort=others]").click()
    assert texts(page, "td.bucket bdi") == ["en|tiny", "en|large", "en|small"]
    find(page, "td.bucket button").click()
    assert texts(page, "h2") == ["en|tiny"]
    find(page, "#tab-feature").click()
    assert texts(page, "h2") == ["word_count 词数"]
    assert texts(page, ".card bdi") == ["en|large", "en|small", "en|tiny"]


def test_page_of_two_without_common_buckets_says_so(opening: Any) -> None:
    one, two = ({name: {"word_count": [1.0, 2.0]}} for name in ("en|human", "en|model"))
    page = opening(pair(reference(one, FEATURES), reference(two, FEATURES), {}, ("human", "model")))
    assert texts(page, "main .none") == ["The two have no bucket in common."]
    assert texts(page, ".only bdi") == ["en|human", "en|model"]
