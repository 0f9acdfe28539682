"""The metrics as the paper's code computes them, on the reference data's predictions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from polyalign import features
from polyalign.evaluation import metrics

pytestmark = pytest.mark.shared


class Golden(NamedTuple):
    rows: list[dict[str, Any]]
    expected: dict[str, Any]
    bands: dict[str, Any]
    sides: Mapping[str, Any]
    by_bucket: Mapping[str, list[int]]


def normalise(text: str) -> str:
    lines = [" ".join(line.split()) for line in text.replace("\r\n", "\n").replace("\r", "\n").strip().split("\n")]
    kept = [line for at, line in enumerate(lines) if line or (at and lines[at - 1])]
    return "\n".join(kept).strip()


@pytest.fixture(scope="module")
def golden(shared: Path) -> Golden:
    folder = shared / "golden"
    rows = [json.loads(line) for line in (folder / "eval" / "predictions.jsonl").read_text("utf-8").splitlines()]
    expected = json.loads((folder / "eval" / "metrics.json").read_text("utf-8"))
    bands = json.loads((folder / "bucket_references.json").read_text("utf-8"))
    by_bucket: dict[str, list[int]] = {}
    for at, row in enumerate(rows):
        by_bucket.setdefault(row["bucket_id"], []).append(at)
    texts = {
        "human": [row["reference_output"] for row in rows],
        "model": [normalise(row["prediction"]) for row in rows],
    }
    sides = {side: measure(of, expected["features"]) for side, of in texts.items()}
    return Golden(rows, expected, bands, sides, {of: at for of, at in by_bucket.items() if len(at) >= 20})


def measure(texts: list[str], names: list[str]) -> Any:
    table = features.extract(texts, "en", variant="paper")
    # Kept in single precision; the paper's are rounded.
    return np.stack([np.round(np.asarray(table[name]).astype(np.float64), 6) for name in names], axis=1)


def test_utility(golden):
    said, human = ([row[key] for row in golden.rows] for key in ("prediction", "reference_output"))
    found = metrics.utility(said, human, variant="paper")
    names = {"em_raw": "raw_em", "em": "qa_em", "f1": "qa_f1", "rouge_l": "rouge_l_f1"}
    sets = [(list(range(len(said))), golden.expected["utility"]["overall"])]
    sets += [(golden.by_bucket[of["bucket_id"]], of) for of in golden.expected["utility"]["by_bucket"]]
    for rows, expected in sets:
        for name, theirs in names.items():
            assert getattr(found, name)[rows].mean() == pytest.approx(expected[theirs], abs=1e-9)


def test_diversity(golden):
    columns = {"human": "reference_output", "generated": "prediction"}
    sets = [(list(range(len(golden.rows))), golden.expected["diversity"]["overall"])]
    sets += [(golden.by_bucket[of["bucket_id"]], of) for of in golden.expected["diversity"]["by_bucket"]]
    for rows, expected in sets:
        for side, column in columns.items():
            texts = [golden.rows[row][column] for row in rows]
            for n in (1, 2, 3):
                found = metrics.distinct(texts, n=n, variant="paper")
                assert found == pytest.approx(expected[side][f"distinct_{n}"], abs=1e-9)


def test_bng(golden):
    expected = golden.expected["bng"]
    found = {}
    for of in expected["by_bucket"]:
        rows = golden.by_bucket[of["bucket_id"]]
        sides = (golden.sides[side][rows] for side in ("model", "human"))
        found[of["bucket_id"]] = metrics.bng(*sides, variant="paper").value
        assert found[of["bucket_id"]] == pytest.approx(of["bng"], abs=1e-9), of["bucket_id"]
    assert metrics.macro(found) == pytest.approx(expected["overall_macro"], abs=1e-9)
    weights = {bucket: len(rows) for bucket, rows in golden.by_bucket.items()}
    assert metrics.macro(found, weights) == pytest.approx(expected["overall_weighted"], abs=1e-9)


def test_hcr(golden):
    expected = golden.expected["hcr"]
    found, inside = {}, []
    for of in expected["by_bucket"]:
        bands = golden.bands[of["bucket_id"]][expected["support_region"]]
        low, high = ([bands[name][end] for name in golden.expected["features"]] for end in ("low", "high"))
        result = metrics.hcr_paper(golden.sides["model"][golden.by_bucket[of["bucket_id"]]], low, high)
        assert result.value == pytest.approx(of["hcr"], abs=1e-9), of["bucket_id"]
        assert result.feature_rate == pytest.approx(of["mean_feature_inside_rate"], abs=1e-9)
        found[of["bucket_id"]] = result.value
        inside += result.inside.tolist()
    assert metrics.macro(found) == pytest.approx(expected["overall_macro"], abs=1e-9)
    assert np.mean(inside) == pytest.approx(expected["overall_weighted"], abs=1e-9)


def test_tdm(golden):
    rows = [row for row in golden.rows if row["track"] == "multi"]
    columns = ([row[key] for row in rows] for key in ("question", "prediction", "reference_output", "bucket_id"))
    found = metrics.tdm(*columns, variant="paper")
    expected = golden.expected["tdm"]
    names = {
        "value": "tdm",
        "length_ratio": "length_ratio_similarity",
        "lexical": "lexical_accommodation_similarity",
        "semantic": "semantic_coupling_similarity",
        "transition": "latent_transition_similarity",
    }
    for of in expected["by_bucket"]:
        for name, theirs in names.items():
            assert getattr(found[of["bucket_id"]], name) == pytest.approx(of[theirs], abs=1e-6), (of, name)
    assert metrics.macro({bucket: of.value for bucket, of in found.items()}) == pytest.approx(
        expected["overall_macro"], abs=1e-6
    )
