"""Messages name what the user of each interface knows: arguments in Python, flags on the command line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import polyalign
from conftest import ROOT, Cli
from polyalign import _core
from polyalign.critics import check_scores

ENGINE = ROOT / "rust" / "polyalign" / "src"


def test_every_flag_that_the_engine_names_has_its_argument() -> None:
    words = (ROOT / "rust" / "polyalign-python" / "src" / "words.rs").read_text("utf-8")
    known = re.findall(r'\("(--[a-z-]+)', words)
    code = "\n".join(
        line
        for path in [*ENGINE.rglob("*.rs"), *(ROOT / "python" / "polyalign").glob("_pair*.py")]
        for line in path.read_text("utf-8").splitlines()
        if not line.lstrip().startswith(("//", "#"))
    )
    named = set(re.findall(r"[ (](--[a-z][a-z-]+)", "\n".join(re.findall(r'"((?:[^"\\]|\\.)*)"', code))))
    assert "--overwrite" in named
    assert named <= set(known)


def test_python_names_arguments(tmp_path: Path, cli: Cli) -> None:
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text('{"prompt": "a", "completion": "b c"}\n')
    report = polyalign.Bucketer().bucket_files(corpus, tmp_path / "out")
    assert repr(report) == f"<Report {tmp_path / 'out'}: 1 row, 1 in 1 bucket, 0 rejected>"
    with pytest.raises(FileExistsError, match="overwrite=True replaces it") as raised:
        polyalign.Bucketer().bucket_files(corpus, tmp_path / "out")
    assert "--" not in str(raised.value)
    failed = cli("bucket", "corpus.jsonl", "--out", "out")
    assert failed.returncode == 1
    assert "--overwrite replaces it" in failed.stderr
    corpus.write_text('{"prompt": "a", "completion": "b c"}\n' * 200)
    report = polyalign.Bucketer().bucket_files(corpus, None)
    assert any('length_edges="auto" splits them evenly' in warning for warning in report.warnings)


def test_words_are_those_of_python_by_default() -> None:
    assert _core.in_words("give --keep-thinking") == "give keep_thinking=True"
    before = _core.name_flags(True)
    try:
        assert not before
        assert _core.in_words("give --keep-thinking") == "give --keep-thinking"
    finally:
        _core.name_flags(before)


def test_reprs_are_short_and_stable() -> None:
    reference = polyalign.Reference.from_arrow(polyalign.reference.example_table())
    weights = polyalign.weights.bucket_weights({"en|single|qa|short": 900, "en|single|qa|long": 100})
    explanation = reference.explain("As an AI, I can't!!!", "en|single|qa|short")
    diagnosis = check_scores([0.5, 1.0], ["en|single|qa|short"] * 2)
    assert repr(reference) == "<Reference: 48 humans in 2 buckets, 145 features>"
    assert re.fullmatch(r"<BucketWeights: 2 buckets, 0\.932 to 1\.61, tau=0\.75>", repr(weights))
    assert re.fullmatch(r"<Explanation en\|single\|qa\|short: distance \d\.\d{3}, \d+ named>", repr(explanation))
    assert repr(diagnosis) == "<Diagnosis of critic: 2 scores in 1 bucket>"
