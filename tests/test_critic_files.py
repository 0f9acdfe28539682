"""Critics as folders: what is written is read, what is damaged is refused, percentiles are those of the humans."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import polyalign as pa
from polyalign.critics import SupportCritic, load
from polyalign.critics._calibration import Calibration

BUCKET = "en|single|qa|short"
TEXTS = ["Yes, it does.", "About ten.", "!!!", "", "I would not know that, my dear, since nobody told me."]


@pytest.fixture
def critic() -> SupportCritic:
    return SupportCritic(pa.Reference.from_arrow(pa.reference.example_table()), support=(0.2, 0.8), min_count=5)


def test_what_is_saved_is_loaded(critic: SupportCritic, tmp_path: Path) -> None:
    critic.save(tmp_path / "one")
    critic.save(tmp_path / "two")
    again = load(tmp_path / "one")
    buckets = [BUCKET] * len(TEXTS)
    assert again.score(TEXTS, buckets).tobytes() == critic.score(TEXTS, buckets).tobytes()
    for name in ("manifest.json", "human.safetensors"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_what_is_there_is_not_replaced_unasked(critic: SupportCritic, tmp_path: Path) -> None:
    critic.save(tmp_path / "one")
    with pytest.raises(FileExistsError, match="exists already"):
        critic.save(tmp_path / "one")
    critic.save(tmp_path / "one", overwrite=True)
    (tmp_path / "one" / "mine.txt").write_text("x")
    with pytest.raises(FileExistsError, match=r"it holds mine\.txt besides"):
        critic.save(tmp_path / "one", overwrite=True)


def test_what_is_damaged_is_refused(critic: SupportCritic, tmp_path: Path) -> None:
    folder = tmp_path / "critic"
    critic.save(folder)
    manifest = folder / "manifest.json"
    whole = manifest.read_text()

    def refused(match: str) -> None:
        with pytest.raises(ValueError, match=match) as error:
            load(folder)
        assert "\n" not in str(error.value)

    for change, match in (
        ({"format": "polyalign pairs"}, "not a critic but polyalign pairs"),
        ({"format_version": 2}, "a critic of version 2"),
        ({"kind": "other"}, "kind 'other'"),
        ({"kind": 3}, "damaged"),
        ({"settings": []}, "damaged"),
        ({"settings": {}}, "no 'support'"),
        ({"settings": {"support": [0.1, 0.9], "min_count": True}}, "no 'min_count' that is int"),
        ({"settings": {"support": [0.1, 0.9], "min_count": 10**30}}, "no 'min_count' that is int"),
        ({"settings": {"support": [0.1, 0.9], "min_count": -1}}, "settings that can't be"),
        ({"settings": {"support": [0.1, 0.5, 0.9], "min_count": 1}}, "settings that can't be"),
        ({"settings": {"support": [0.1, "x"], "min_count": 1}}, "settings that can't be"),
        ({"files": [{"file": "../human.safetensors", "bytes": 1, "sha256": ""}]}, "damaged"),
        ({"files": 3}, "damaged"),
    ):
        manifest.write_text(json.dumps({**json.loads(whole), **change}))
        refused(match)
    manifest.write_text("{")
    refused("not JSON")
    manifest.write_text(whole)
    content = bytearray((folder / "human.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "human.safetensors").write_bytes(content)
    refused(r"human\.safetensors: not the file")
    with pytest.raises(FileNotFoundError, match="no critic is there"):
        load(tmp_path / "nothing")


def test_support_percentiles_are_the_references(critic: SupportCritic) -> None:
    buckets = [BUCKET] * len(TEXTS)
    found = critic.percentile([*TEXTS, "Oui."], [*buckets, "fr|single|qa|short"])
    known = critic.reference.score(TEXTS, buckets, support=(0.2, 0.8), min_count=5)["percentile"].to_pylist()
    assert found[0] == np.float32(known[0])
    assert found[TEXTS.index("")] == 1
    near, far = critic.percentile(["Xq!!! " * 3, "Xq!!! " * 300], [BUCKET] * 2)
    assert 1 - 1 / 257 <= near < far < 1
    assert np.isnan(found[-1])


def slow_percentile(humans: list[float], score: float) -> float:
    """The middle of the ranks of equal ones; between the humans a straight line."""

    def rank(value: float) -> float:
        below, equal = sum(h < value for h in humans), sum(h == value for h in humans)
        return (below + (equal + 1) / 2) / (len(humans) + 1)

    if score in humans:
        return rank(score)
    lower, upper = [h for h in humans if h < score], [h for h in humans if h > score]
    if not upper:
        spread = float(np.std(humans)) or max(humans) or 1.0
        return 1 - (1 - rank(max(humans))) / (1 + (score - max(humans)) / spread)
    low, low_rank = (max(lower), rank(max(lower))) if lower else (0.0, 0.0)
    return low_rank + (rank(min(upper)) - low_rank) * (score - low) / (min(upper) - low)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.floats(0, 8).map(lambda value: round(value, 1)), min_size=20, max_size=60),
    st.lists(st.floats(0, 20).map(lambda value: round(value, 2)), min_size=1, max_size=10),
)
def test_percentiles_are_the_slow_ones(humans: list[float], scores: list[float]) -> None:
    calibration = Calibration.fit(humans, [BUCKET] * len(humans))
    found = calibration.percentile(scores, [BUCKET] * len(scores))
    assert found.tolist() == pytest.approx([slow_percentile(humans, score) for score in scores], abs=1e-6)
    order = np.argsort(scores, kind="stable")
    assert (np.diff(found[order]) >= 0).all()


def test_small_buckets_back_off_and_languages_never_do() -> None:
    humans = {"en|single|qa|short": 30, "en|multi|qa|short": 10, "zh|single|qa|short": 19}
    buckets = [bucket for bucket, count in humans.items() for _ in range(count)]
    calibration = Calibration.fit(np.linspace(0, 1, len(buckets)), buckets)
    assert calibration.serving("en|single|qa|short") == "en|single|qa|short"
    assert calibration.serving("en|multi|qa|short") == "en|*|*|short"
    assert calibration.serving("en|multi|chat|long") == "en|*|*|*"
    assert calibration.serving("zh|single|qa|short") is None
    assert calibration.serving("nonsense") is None
    assert calibration.serving("en|single|qa|*") == "en|*|*|*"
    assert calibration.serving("en|*|*|short") == "en|*|*|short"
    assert calibration.serving("*|*|*|*") is None
    assert calibration.serving("zh|*|*|*") is None
    assert np.isnan(calibration.percentile([0.5], ["zh|single|qa|short"]))[0]
    with pytest.raises(ValueError, match="nobody to calibrate with"):
        Calibration.fit([0.1] * 3, ["en|single|qa|short"] * 3)


def test_many_humans_are_thinned_without_harm() -> None:
    humans = np.random.default_rng(0).gamma(2, size=20_000)
    calibration = Calibration.fit(humans, [BUCKET] * len(humans))
    again = Calibration.from_tensors(calibration.tensors(), calibration.axes, "critic")
    shares = again.percentile(np.quantile(humans, [0.01, 0.25, 0.5, 0.9, 0.99]), [BUCKET] * 5)
    assert shares.tolist() == pytest.approx([0.01, 0.25, 0.5, 0.9, 0.99], abs=2e-3)
    with pytest.raises(ValueError, match="critic: tensor 'calibration/x' is not a row of sorted scores"):
        Calibration.from_tensors({"calibration/x": np.array([2.0, 1.0])}, calibration.axes, "critic")
