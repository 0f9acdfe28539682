"""``polyalign critic train | score | compare`` as a user runs them."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest

import polyalign as pa
from conftest import write_jsonl
from polyalign import cli
from polyalign.critics._train import _Parts, train
from test_discriminative import human, machine

pytest.importorskip("sklearn")

EN, ZH = "en|single|qa|short", "zh|single|qa|short"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bucketed corpus with a held-out part, a model's samples, and a critic of them."""
    folder = tmp_path_factory.mktemp("critics")
    rng = np.random.default_rng(0)
    languages = ["en" if at % 2 else "zh" for at in range(900)]
    rows = [
        {
            "id": f"r{at}",
            "prompt": f"What about {at}?" if language == "en" else f"{at}怎么样？",
            "completion": human(rng, EN if language == "en" else ZH),
            "language": language,
            "family": "qa",
        }
        for at, language in enumerate(languages)
    ]
    write_jsonl(folder / "corpus.jsonl", rows)
    made = [machine(rng, EN if language == "en" else ZH) for language in languages]
    samples = [{"id": f"r{at}", "response": text} for at, text in enumerate(made) if at % 3 == 0]
    write_jsonl(
        folder / "samples.jsonl", [*samples, {"id": "r0", "response": "Again."}, {"id": "x", "response": "Who?"}]
    )
    bucketer = pa.Bucketer(pa.BucketSchema(length_unit="words"))
    bucketer.bucket_files(str(folder / "corpus.jsonl"), str(folder / "bucketed"), test_share=0.3)
    return folder


@pytest.fixture(scope="module")
def trained(folder: Path) -> Path:
    arguments = [folder / "bucketed", "--samples", folder / "samples.jsonl", "--out", folder / "critic"]
    assert cli.run(["critic", "train", *map(str, arguments)]) == 0
    return folder / "critic"


def test_what_was_trained_is_an_ensemble_and_says_what_of(
    folder: Path, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    critic = pa.critics.load(trained)
    assert list(critic.critics) == ["support", "lexical", "discriminative"]  # type: ignore[attr-defined]
    manifest = json.loads((trained / "manifest.json").read_text())
    assert (
        manifest["kind"] == "ensemble"
        and pa.BucketSchema.from_json(json.dumps(manifest["schema"])).length_unit == "words"
    )
    again = ["critic", "train", str(folder / "bucketed"), "--samples", str(folder / "samples.jsonl"), "--json"]
    assert cli.run([*again, "--out", str(folder / "again")]) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told["rows"]) == {"with samples", "without", "calibration", "lexical"}
    assert any("further samples of the same id" in line for line in told["skipped"])
    assert any("the id of no record" in line for line in told["skipped"])
    files = [path.relative_to(trained) for path in sorted(trained.rglob("*")) if path.is_file()]
    assert all((trained / file).read_bytes() == (folder / "again" / file).read_bytes() for file in files)
    assert cli.run([*again, "--out", str(folder / "again")]) == 1
    assert "exists already; --overwrite replaces it" in capsys.readouterr().err


def test_lines_have_scores_and_percentiles(folder: Path, trained: Path) -> None:
    asked = [
        folder / "samples.jsonl",
        "--critic",
        trained,
        "--join",
        folder / "bucketed",
        "--out",
        folder / "scores.jsonl",
    ]
    assert cli.run(["critic", "score", *map(str, asked)]) == 0
    lines = [json.loads(line) for line in (folder / "scores.jsonl").read_text().splitlines()]
    assert len(lines) == 301  # of training and held-out rows alike, and not of x
    assert set(lines[0]) == {"id", "bucket", "score", "percentile"}
    assert np.mean([line["percentile"] for line in lines]) > 0.9
    people = [{"id": f"r{at}", "response": human(np.random.default_rng(at), EN)} for at in range(1, 400, 2)]
    write_jsonl(folder / "people.jsonl", people)
    asked[0], asked[-1] = folder / "people.jsonl", folder / "people-scores.jsonl"
    assert cli.run(["critic", "score", *map(str, asked)]) == 0
    lines = [json.loads(line) for line in (folder / "people-scores.jsonl").read_text().splitlines()]
    assert 0.3 < np.mean([line["percentile"] for line in lines]) < 0.7


def test_critics_stand_side_by_side(folder: Path, trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = [folder / "bucketed", "--samples", folder / "samples.jsonl", "--critic", trained, "--steps", 5]
    more = ["--critic", f"words={trained / 'lexical'}", "--html", folder / "page.html", "--json"]
    assert cli.run(["critic", "compare", *map(str, [*asked, *more])]) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told["critics"]) == {"critic", "words"}
    assert 50 < told["rows"] < 130  # those held out with a sample
    for name, least in (("samples", 0.93), ("letters_at_random", 0.95), ("random_words", 0.8), ("boilerplate", 0.9)):
        assert told["critics"]["critic"]["tests"][name]["all"]["value"] > least, name
    assert told["critics"]["words"]["tests"]["letters_at_random"]["all"]["value"] > 0.95
    assert "words_shuffled" in (folder / "page.html").read_text()
    assert cli.run(["critic", "compare", *map(str, asked)]) == 0
    assert "AUROC within buckets" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["support", "lexical", "discriminative"])
def test_each_kind_alone(folder: Path, kind: str) -> None:
    critic, told = train(kind, folder / "bucketed", samples=folder / "samples.jsonl")  # type: ignore[arg-type]
    texts = ["Well, the train is late again.", "Bkjq wtr xq oiprs vmnd klp."]
    scores = critic.score(texts, [EN, EN])
    assert scores[0] < scores[1]
    assert told["rows"]
    unused = [] if kind == "discriminative" else [f"the samples are not used: a {kind} critic is made of humans alone"]
    assert told["notes"] == unused


@pytest.mark.parametrize("kind", ["embedding", "neural"])
def test_kinds_with_an_encoder(folder: Path, kind: str) -> None:
    pytest.importorskip("torch")
    from test_neural_critic import Letters

    asked = {"samples": folder / "samples.jsonl", "encoder": Letters()}
    critic, told = train(kind, folder / "bucketed", **asked)  # type: ignore[arg-type]
    prompts = [[{"role": "user", "content": "What about 7?"}]] * 2
    scores = pa.critics.ask(
        critic, ["Well, the train is late again.", "Bkjq wtr xq oiprs vmnd klp."], [EN, EN], prompts
    )
    assert scores[0] < scores[1]
    assert told["rows"]
    assert bool(told["notes"]) == (kind == "embedding")
    with pytest.raises(ValueError, match="needs an encoder"):
        train(kind, folder / "bucketed", samples=folder / "samples.jsonl")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="has no encoder"):
        train("lexical", folder / "bucketed", encoder=Letters())


@pytest.mark.parametrize("kind", ["discriminative", "ensemble"])
def test_a_classifier_with_a_language_model(kind: str, folder: Path, tmp_path: Path, monkeypatch: Any) -> None:
    """It is asked by its name about each of the classifier's texts with its prompt, and saved by its name."""
    asked = []

    def measured(self: Any, texts: Any, prompts: Any) -> np.ndarray:
        assert len(prompts) == len(texts)
        asked.extend(texts)
        return np.array([[len(text)] * 7 for text in texts], dtype=np.float64)

    monkeypatch.setattr("polyalign.critics._likelihood.Likelihood._measured", measured)
    given = [folder / "bucketed", "--samples", folder / "samples.jsonl", "--max-humans", 70, "--lm", "some/model"]
    arguments = [*given, "--kind", kind, "--out", tmp_path / "critic"]
    assert cli.run(["critic", "train", *map(str, arguments)]) == 0
    critic: Any = pa.critics.load(tmp_path / "critic")
    classifier = critic.critics["discriminative"] if kind == "ensemble" else critic
    assert classifier.likelihood.told["name"] == "some/model" and classifier._fits and len(asked) > 500
    texts = ["Well, the train is late again.", machine(np.random.default_rng(0), EN)]
    human_score, machine_score = pa.critics.ask(critic, texts, [EN, EN], ["What about 7?"] * 2)
    assert human_score < machine_score


def test_what_is_wrong_is_one_line(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_jsonl(tmp_path / "others.jsonl", [{"id": f"q{at}", "response": "So."} for at in range(30)])
    write_jsonl(tmp_path / "blank.jsonl", [{"id": f"r{at}", "response": " "} for at in range(30)])
    bucketed, out = str(folder / "bucketed"), str(tmp_path / "critic")
    for arguments, message in (
        (["--samples", str(tmp_path / "others.jsonl")], "0 samples of 30 with the id of a record"),
        (["--kind", "discriminative"], "give samples of one"),
        (["--samples", str(tmp_path / "missing.jsonl")], "missing.jsonl"),
        (["--samples", str(tmp_path / "blank.jsonl")], "30 empty samples, the first: blank.jsonl, row 0"),
        (["--kind", "support", "--encoder", "enc"], "has no encoder (--encoder): leave it out"),
    ):
        assert cli.run(["critic", "train", bucketed, "--out", out, *arguments]) == 1
        error = capsys.readouterr().err.strip().splitlines()[-1]
        assert message in error, error
        assert not Path(out).exists()
    assert cli.run(["critic", "score", bucketed, "--critic", bucketed, "--join", bucketed, "--out", out]) == 1
    assert "not a critic but polyalign buckets" in capsys.readouterr().err
    capsys.readouterr()
    assert cli.run(["critic", "train", bucketed, "--kind", "support", "--out", "-"]) == 2
    assert "a critic is a folder" in capsys.readouterr().err


def test_where_nothing_can_be_written_is_said_before_the_work(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polyalign.critics._train.train", lambda *given, **more: pytest.fail("it was trained"))
    asked = ["critic", "train", str(folder / "bucketed"), "--kind", "lexical", "--out"]
    assert cli.run([*asked, str(tmp_path / "no" / "critic")]) == 1
    assert "No such file or directory" in capsys.readouterr().err
    assert cli.run([*asked, str(folder / "bucketed"), "--overwrite"]) == 1
    assert "not an output of polyalign critic train" in capsys.readouterr().err


def test_what_is_not_scored_is_named_where_it_is(
    folder: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = ['{"id": "r1", "response": "So."}', "{", '{"id": "r3"}', '{"id": "q", "response": "Who?"}']
    (tmp_path / "mixed.jsonl").write_text("\n".join(lines))
    asked = [tmp_path / "mixed.jsonl", "--critic", trained / "lexical", "--join", folder / "bucketed", "--out", "-"]
    assert cli.run(["critic", "score", *map(str, asked)]) == 0
    told = capsys.readouterr()
    assert len(told.out.splitlines()) == 1
    for line in (
        "1 responses rejected (json), the first: mixed.jsonl:2: ",
        "1 responses rejected (no_response), the first: mixed.jsonl:3: there is no `response`",
        "1 responses with the id of no human response, the first: mixed.jsonl, row 3",
    ):
        assert f"polyalign: not used: {line}" in told.err


def test_a_critic_of_other_buckets_is_refused(
    folder: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = pa.Bucketer(pa.BucketSchema(length_unit="words", length_edges=(5, 10)))
    other.bucket_files(str(folder / "corpus.jsonl"), str(tmp_path / "other"), test_share=0.3)
    critic, samples, bucketed = map(str, (trained, folder / "samples.jsonl", tmp_path / "other"))
    score = ["score", samples, "--critic", critic, "--join", bucketed, "--out", str(tmp_path / "scores.jsonl")]
    for asked in (score, ["compare", bucketed, "--critic", critic, "--samples", samples]):
        assert cli.run(["critic", *asked]) == 1
        assert "bucketed with length_edges [5,10], the critic with" in capsys.readouterr().err
    assert not (tmp_path / "scores.jsonl").exists()


def test_samples_of_others_compare_nothing(
    folder: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_jsonl(tmp_path / "others.jsonl", [{"id": f"q{at}", "response": "So."} for at in range(30)])
    write_jsonl(tmp_path / "blank.jsonl", [{"id": f"r{at}", "response": " "} for at in range(30)])
    for name, why in (("others", "30 samples with the id of no record"), ("blank", "30 empty samples")):
        samples = str(tmp_path / f"{name}.jsonl")
        assert cli.run(["critic", "compare", str(folder / "bucketed"), "-c", str(trained), "--samples", samples]) == 1
        error = capsys.readouterr().err
        assert "no human responses to compare on with the id of a sample" in error and why in error


@pytest.mark.parametrize("dense", [False, True])
def test_a_group_is_for_one_thing(dense: bool) -> None:
    """One row of a group has a sample, and stands before or after the others."""
    groups = [f"g{at}" for at in range(300)]
    for order in ((False, True), (True, False)):
        parts = _Parts(100, whole=False, dense={EN} if dense else ())
        for sampled in order:
            for group in groups:
                row = {"response": "So.", "bucket": EN, "prompt": None, "group": group, "id": f"{group} {sampled}"}
                has = sampled and (dense or group > "g7")
                into = parts.keep(row, has)
                if into is not None:
                    into.add(row, "Sure." if has else None)
        learnt = {*parts["samples"].groups, *parts["without"].groups}
        held, rest = set(parts["held"].groups), set(filter(parts.is_rest, groups))
        assert all((learnt, held, rest, parts["samples"].groups))
        assert not (learnt & held or learnt & rest or held & rest)
        assert set(filter(parts.is_not_held, groups)) == set(groups) - held


def test_every_row_may_have_a_sample(folder: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    samples = [{"id": f"r{at}", "response": machine(rng, EN if at % 2 else ZH)} for at in range(900)]
    write_jsonl(tmp_path / "samples.jsonl", samples)
    critic, told = train("ensemble", folder / "bucketed", samples=tmp_path / "samples.jsonl")
    assert list(critic.critics) == ["support", "lexical", "discriminative"]
    assert min(told["rows"][name] for name in ("with samples", "calibration", "lexical")) > 40
    assert critic.score(["Well, the train is late again."], [EN]) < critic.score([machine(rng, EN)], [EN])


def test_every_row_of_one_bucket_may_have_a_sample(folder: Path, tmp_path: Path) -> None:
    """The lexical critic keeps people of it: with nobody, all of them are strangers."""
    rng = np.random.default_rng(1)
    samples = [{"id": f"r{at}", "response": machine(rng, EN)} for at in range(1, 900, 2)]
    write_jsonl(tmp_path / "samples.jsonl", samples)
    critic, told = train("ensemble", folder / "bucketed", samples=tmp_path / "samples.jsonl")
    assert told["rows"]["with samples"] < 0.5 * len(samples)
    people = [human(rng, EN) for _ in range(200)]
    assert critic.critics["lexical"].percentile(people, [EN] * 200).mean() < 0.6


def test_what_gives_no_percentiles_is_said_before_the_work(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def work(*given: object, **more: object) -> None:
        raise AssertionError("hours were spent")

    monkeypatch.setattr("polyalign.critics.DiscriminativeCritic.train", work)
    asked = {"samples": folder / "samples.jsonl"}
    none = pa.Reference.from_arrow(
        pa.reference.example_table(), sample_size=0, schema=pa.BucketSchema(length_unit="words")
    )
    with pytest.raises(ValueError, match="has no sampled humans"):
        train("ensemble", folder / "bucketed", reference=none, **asked)  # type: ignore[arg-type]
    monkeypatch.setattr("polyalign.critics._train._CALIBRATED", 0.01)
    with pytest.raises(ValueError, match="nobody to calibrate with: "):
        train("ensemble", folder / "bucketed", **asked)  # type: ignore[arg-type]


def test_an_interruption_says_what_is_there(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*given: object, **more: object) -> None:
        raise KeyboardInterrupt

    for name in ("_train.train", "_score.score_files", "_score.compare_files"):
        monkeypatch.setattr(f"polyalign.critics.{name}", interrupted)
    out, critic = ["--out", str(tmp_path / "out")], ["--critic", str(trained)]
    for arguments, hint in (
        (["train", "bucketed", *out], "; no critic was written"),
        (["score", "answers.jsonl", "--join", "bucketed", *critic, *out], "; no file was written"),
        (["compare", "bucketed", *critic], ""),
    ):
        assert cli.run(["critic", *arguments]) == 130
        assert capsys.readouterr().err == f"polyalign: interrupted{hint}\n"
    assert not list(tmp_path.iterdir())


def test_an_encoder_that_learns(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The second time it goes on from its checkpoint, where nothing is left to do; it needs no other folder."""
    pytest.importorskip("accelerate")
    import encoders

    encoder = encoders.bert(tmp_path / "bert")
    bucketed, samples = folder / "bucketed", folder / "samples.jsonl"
    given = [bucketed, "--samples", samples, "--kind", "neural", "--encoder", encoder, "--max-humans", 100]
    asked = ["critic", "train", *map(str, [*given, "--train-encoder", 1, "--checkpoint", tmp_path / "kept", "--out"])]
    assert cli.run([*asked, str(tmp_path / "one")]) == cli.run([*asked, str(tmp_path / "two")]) == 0
    assert "<NeuralCritic of" in capsys.readouterr().out
    assert (tmp_path / "one" / "manifest.json").read_bytes() == (tmp_path / "two" / "manifest.json").read_bytes()
    encoder.rename(tmp_path / "elsewhere")
    scores = pa.critics.ask(pa.critics.load(tmp_path / "one"), ["Well, no.", ""], [EN, EN], ["Is it?", "Why?"])
    assert not np.isnan(scores).any()
    for wrong in ("some", "0"):
        assert cli.run([*asked, str(tmp_path / "three"), "--train-encoder", wrong]) == 2
        assert f"--train-encoder is '{wrong}': a number of layers, or all" in capsys.readouterr().err
    alone = [
        "critic",
        "train",
        str(bucketed),
        "--kind",
        "lexical",
        "--checkpoint",
        "kept",
        "--out",
        str(tmp_path / "x"),
    ]
    assert cli.run(alone) == 1
    assert "has no encoder that learns" in capsys.readouterr().err


def test_samples_that_a_limit_cut_are_counted(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As `polyalign generate` says it, as a server does, and in a table."""
    samples = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()][:300]
    limits = {"finish": "length"}, {"finish_reason": "length"}, {"finish": "stop"}, {}
    rows = [{**sample, **limits[at % 4]} for at, sample in enumerate(samples)]
    write_jsonl(tmp_path / "samples.jsonl", rows)
    asked = [folder / "bucketed", "--samples", tmp_path / "samples.jsonl", "--out", tmp_path / "critic"]
    assert cli.run(["critic", "train", *map(str, asked), "--kind", "discriminative"]) == 0
    note = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("note:"))
    found = re.match(r"note: (\d+) of (\d+) samples end at a limit of tokens \(finish: length\)", note)
    assert found and int(found[1]) == pytest.approx(int(found[2]) / 2, abs=20)
    table = pyarrow.table({name: [row.get(name) for row in rows] for name in ("id", "response", "finish")})
    _, told = train("discriminative", folder / "bucketed", samples=table)
    assert re.match(r"\d+ of \d+ samples end at", told["notes"][0])


def test_training_shows_how_far_it_is(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bars: dict[str | None, tuple[int | None, list[int]]] = {}

    @contextmanager
    def bar(total: int | None, shown: bool, what: str | None = None) -> Iterator[Callable[[int], object]]:
        assert shown
        bars[what] = (total, [])
        yield bars[what][1].append

    for module in ("_train", "_discriminative"):
        monkeypatch.setattr(f"polyalign.critics.{module}.row_bar", bar)
    train("ensemble", folder / "bucketed", samples=folder / "samples.jsonl", progress=True)
    assert set(bars) == {"rows", "lexical", "reference", "n-grams", "features"}
    for what, (total, seen) in bars.items():
        assert total == sum(seen), what


def test_what_tells_nothing_is_a_fault(trained: Path) -> None:
    class Silent:
        """A critic that has no score for anybody."""

        def score(self, responses: list[str], buckets: list[str]) -> np.ndarray:
            return np.full(len(responses), np.nan, np.float32)

    lexical = pa.critics.load(trained / "lexical")
    found = pa.critics.compare({"silent": Silent(), "words": lexical}, ["So."] * 25, [EN] * 25)
    assert any(line.startswith("silent scores none of 25 human responses") for line in found.faults())
    assert str(found).splitlines()[-len(found.faults()) :] == found.faults()
    assert not any(line.startswith("words scores") for line in found.faults())
    one = pa.critics.compare({"words": lexical}, ["So."], [EN])
    assert one.faults()[0].startswith("1 human response to compare on: nothing is certain")


def test_a_comparison_shows_how_far_it_is(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bars: list[tuple[int | None, bool]] = []
    seen: list[int] = []

    @contextmanager
    def bar(total: int | None, shown: bool) -> Iterator[Callable[[int], object]]:
        bars.append((total, shown))
        yield seen.append

    monkeypatch.setattr("polyalign.critics._compare.row_bar", bar)
    critics = {name: pa.critics.load(trained / name) for name in ("support", "lexical")}
    texts = ["Well, the train is late again.", "I think that it will rain."] * 10
    pa.critics.compare(critics, texts, [EN] * 20, progress=True)
    assert bars == [(sum(seen), True)] and sum(seen) > 40


def test_a_torn_file_is_scored_as_far_as_it_goes(
    folder: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [json.dumps({"id": f"r{at}", "response": f"It is {at * 7919}."}) for at in range(400)]
    whole = gzip.compress("\n".join(rows).encode())
    (tmp_path / "torn.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    asked = [tmp_path / "torn.jsonl.gz", "--critic", trained / "lexical", "--join", folder / "bucketed", "--out", "-"]
    assert cli.run(["critic", "score", *map(str, asked)]) == 3
    told = capsys.readouterr()
    assert 0 < len(told.out.splitlines()) < 400
    assert "torn.jsonl.gz: unreadable from byte or row" in told.err
