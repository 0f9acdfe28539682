"""References with the features of a language model: beside those without, and beside a slow oracle."""

from __future__ import annotations

import itertools
import json
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'polyalign[train]'")
pytest.importorskip("trl")

import polyalign  # noqa: E402
import tiny  # noqa: E402
from polyalign import Reference, cli, features  # noqa: E402
from polyalign.critics import EnsembleCritic, SupportCritic, load  # noqa: E402
from polyalign.lm import GROUP, LanguageModel, lm_features  # noqa: E402
from test_reference_hostile import joined, parts  # noqa: E402

EN, ZH = "en|single|qa|short", "zh|single|qa|short"
CONTEXT = 24


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model by its folder; its context is too short for some of the rows."""
    made = tiny.model(max_position_embeddings=CONTEXT)
    return tiny.save(tmp_path_factory.mktemp("lm") / "tiny", made)


@pytest.fixture(scope="module")
def rows() -> pa.Table:
    """Sixty human responses: some without a prompt, one empty, one longer than the context, some prompts as well."""
    made = tiny.responses(60, seed=3, buckets=(EN, ZH)).to_list()
    made[3]["prompt"] = made[7]["prompt"] = None
    made[5]["completion"] = [{"role": "assistant", "content": ""}]
    made[6]["completion"] = [{"role": "assistant", "content": " ".join(tiny.WORDS)}]
    made[8]["prompt"] = [{"role": "user", "content": " ".join(tiny.WORDS)}]
    return pa.Table.from_pylist(made, tiny.responses(1).data.table.schema)


@pytest.fixture(scope="module")
def built(rows: pa.Table, folder: Path) -> Reference:
    with pytest.warns(UserWarning, match="the language model not all"):
        return Reference.build(rows, lm=LanguageModel(folder, batch_tokens=1))


def printed(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> str:
    """Run a command; return what it prints, in one line."""
    assert cli.run([str(argument) for argument in arguments]) == code
    return " ".join("".join(capsys.readouterr()).split())


def texts(rows: pa.Table) -> list[str]:
    return [row[0]["content"] for row in rows["completion"].to_pylist()]


def test_the_group_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    group = features.registry(groups=["lm"])
    assert tuple(feature.name for feature in group) == GROUP
    assert {feature.group for feature in group} == {"lm"} and {feature.languages for feature in group} == {"all"}
    assert "lm" not in {feature.group for feature in features.registry()}
    assert features.registry(groups=[*features.GROUPS, "lm"]) == [*features.registry(), *group]
    with pytest.raises(ValueError, match="'lm' takes a language model"):
        features.extract(["x"], "en", groups=["lm"])
    with pytest.raises(ValueError, match="'nope' is not one of"):
        features.registry(groups=["nope"])
    told = printed(capsys, "features", "--group", "lm", "--json")
    assert [feature["name"] for feature in json.loads(told)] == list(GROUP)


def test_the_group_is_of_the_columns(rows: pa.Table, folder: Path) -> None:
    model = LanguageModel(folder)
    found = model.measure(texts(rows), rows["prompt"])
    columns = lm_features(str(folder), texts(rows), rows["prompt"])
    cut = np.zeros(len(rows), dtype=bool)
    for kind in ("unconditional", "conditional"):
        cut |= columns[f"{kind}_dropped_answer_tokens"].to_numpy() > 0
    assert cut.tolist() == [at == 6 for at in range(len(rows))]
    for at, name in enumerate(GROUP):
        values = columns[name].to_numpy()
        expected = np.where(cut, np.nan, values if name == "gain_per_token" else np.maximum(values, 0))
        assert found[:, at].tobytes() == expected.astype(np.float32).tobytes(), name
    assert model.counts == {
        "responses": 60,
        "without a prompt": 2,
        "with a prompt cut": 2,
        "cut themselves": 1,
        "without a token scored": 1,
    }
    again = model.measure([*texts(rows)[:10], "yes no"], [*rows["prompt"].to_pylist()[:10], None])
    assert again[:10].tobytes() == found[:10].tobytes() and model.counts["responses"] == 71
    assert model.measure([]).shape == (0, len(GROUP))


def test_reasoning_counts_where_it_is_kept(folder: Path) -> None:
    model, text = LanguageModel(folder), "<think>yes no</think>tea cat"
    bare, kept = model.measure([text]), model.measure([text], keep_thinking=True)
    assert bare.tobytes() == model.measure(["tea cat"]).tobytes() != kept.tobytes()


def test_a_reference_has_the_values(built: Reference, rows: pa.Table, folder: Path) -> None:
    plain = Reference.from_arrow(rows.filter(pa.array([bool(text) for text in texts(rows)])))
    assert built.features == plain.features + GROUP and built.rows == plain.rows == 59 and plain.lm is None
    described, others = (pa.table(made.describe()).to_pylist() for made in (built, plain))
    assert repr([row for row in described if row["feature"] not in GROUP]) == repr(others)
    values = LanguageModel(folder, batch_tokens=1).measure(texts(rows), rows["prompt"])
    buckets = np.array(rows["bucket"].to_pylist())
    buckets[5] = ""
    for row in described:
        if row["feature"] in GROUP:
            own = values[buckets == row["bucket"], GROUP.index(row["feature"])]
            own = own[~np.isnan(own)]
            assert row["count"] == len(own) > 10
            kept = np.round(own.astype(np.float64) * 2**20) / 2**20
            assert [row["mean"], row["min"], row["max"]] == pytest.approx([kept.mean(), kept.min(), kept.max()])
            assert row["std"] == pytest.approx(kept.std())
    assert built.lm is not None and built.lm["name"] == "tiny"
    assert built.lm["max_length"] == CONTEXT and built.lm["prefix"] == "chat" and len(built.lm["fingerprint"]) == 64
    assert "152 features, 7 of them of the language model tiny" in repr(built)


def test_it_comes_back(built: Reference, tmp_path: Path) -> None:
    built.save(tmp_path / "human.safetensors")
    again = Reference.load(tmp_path / "human.safetensors")
    assert again == built and again.lm == built.lm and again.to_bytes() == built.to_bytes()
    assert pickle.loads(pickle.dumps(built)) == built
    built.plot(tmp_path / "page.html")
    assert "gain_per_token" in (tmp_path / "page.html").read_text()


@pytest.mark.filterwarnings("ignore:of the language model", "ignore:not counted")
@settings(max_examples=8, deadline=None)
@given(cuts=st.lists(st.integers(1, 59), min_size=1, max_size=3, unique=True), seed=st.integers(0, 9))
def test_parts_merge_to_the_bytes_of_the_whole(
    built: Reference, rows: pa.Table, folder: Path, cuts: list[int], seed: int
) -> None:
    """A response at a time, so that what is beside it does not move its last digits."""
    model = LanguageModel(folder, batch_tokens=1)
    mixed = rows.take(pa.array(np.random.default_rng(seed).permutation(len(rows))))
    bounds = [0, *sorted(cuts), len(rows)]
    made = [
        Reference.build(mixed.slice(start, end - start), lm=model)
        for start, end in itertools.pairwise(bounds)
        if any(texts(mixed.slice(start, end - start)))
    ]
    assert made[-1].merge(*made[:-1]).to_bytes() == built.to_bytes()


def test_references_of_other_models_do_not_merge(built: Reference, rows: pa.Table, folder: Path) -> None:
    some = rows.slice(10, 30)
    with pytest.raises(ValueError, match=r"different language models don't merge: .*tiny.* and none"):
        built.merge(Reference.from_arrow(some))
    other = Reference.build(some, lm=LanguageModel(folder, prefix="plain"))
    with pytest.raises(ValueError, match="different language models"):
        built.merge(other)
    for unlike, shared in ((other, 145), (Reference.from_arrow(some), 145), (Reference.build(some, lm=folder), 152)):
        assert {len(pa.table(of).column("bucket")) for of in (built.diff(unlike), unlike.diff(built))} == {2 * shared}


def oracle(reference: Reference, bucket: str, values: dict[str, float]) -> float:
    """The definition, read off the page."""
    described = pa.table(reference.describe()).to_pylist()
    of = {row["feature"]: row for row in described if row["bucket"] == bucket}
    scales = {feature.name: feature.scale for feature in features.registry(groups=[*features.GROUPS, "lm"])}
    counted = []
    for name, value in values.items():
        if of[name]["count"] >= 20 and not math.isnan(value):
            low, high = of[name]["q10"], of[name]["q90"]
            out = max(low - value, value - high, 0.0)
            counted.append(min(5.0, out / max(high - low, of[name]["std"], scales[name])))
    return sum(counted) / len(counted)


def test_distances_are_their_definition(built: Reference, folder: Path) -> None:
    model = LanguageModel(folder, batch_tokens=1)
    asked = ["yes no tea", "rain rain rain rain", "Well!", "the sun is big", " ".join(tiny.WORDS)]
    prompts = ["cat", None, "do you like tea", "really", "no"]
    found = built.support_distance(asked, EN, prompts=prompts, lm=model)
    table = pa.table(features.extract(asked, "en", prompts))
    values = model.measure(asked, prompts)
    for at, distance in enumerate(found):
        row = {name: float(table[name][at].as_py()) for name in table.column_names}
        row |= {name: float(values[at, number]) for number, name in enumerate(GROUP)}
        assert distance == pytest.approx(oracle(built, EN, row), rel=1e-5), asked[at]
    scored = pa.table(built.score(asked, EN, prompts=prompts, lm=model))
    assert scored["distance"].to_numpy().tobytes() == found.tobytes()
    percentiles = scored["percentile"].to_numpy()
    assert ((percentiles >= 0) & (percentiles <= 1)).all()
    explained = built.explain(asked[1], EN, lm=model, most=200)
    assert explained.distance == pytest.approx(float(built.support_distance(asked[1:2], EN, lm=model)[0]))
    assert {outside.feature for outside in explained.outside} & {*GROUP}


@pytest.mark.filterwarnings("ignore:the reference has features")
def test_without_the_model_its_features_count_for_nobody(built: Reference, rows: pa.Table) -> None:
    plain = Reference.from_arrow(rows.filter(pa.array([bool(text) for text in texts(rows)])))
    asked, prompts = ["yes no tea", "Well!", "", "the sun"], ["cat", None, "x", "do"]
    for target in (EN, ZH, "en|single|qa|*"):
        one, other = (pa.table(made.score(asked, target, prompts=prompts)) for made in (built, plain))
        assert repr(one.to_pylist()) == repr(other.to_pylist())
        assert built.explain(asked[1], target, most=200) == plain.explain(asked[1], target, most=200)
    for measure in (built.support_distance, built.score):
        with pytest.warns(UserWarning, match="language model tiny, which don't count here: give it as lm="):
            measure(asked[:2], EN)


def test_another_model_is_refused(built: Reference, rows: pa.Table, folder: Path, tmp_path: Path) -> None:
    other = tiny.save(tmp_path / "tiny", tiny.model(seed=1, max_position_embeddings=CONTEXT))
    asked: tuple[list[str], str] = (["yes no"], EN)
    for measure in (built.support_distance, built.score, lambda x, y, lm: built.explain(x[0], y, lm=lm)):
        with pytest.raises(ValueError, match="is another than the one that the reference was built with, tiny"):
            measure(*asked, lm=other)
    with pytest.raises(ValueError, match="asked with prefix='plain', the reference was built with 'chat'"):
        built.score(*asked, lm=LanguageModel(folder, prefix="plain"))
    with pytest.raises(ValueError, match="asked with max_length=20, the reference was built with 24"):
        built.score(*asked, lm=LanguageModel(folder, max_length=20))
    with pytest.raises(ValueError, match="has no features of a language model"):
        Reference.from_arrow(rows.slice(10, 30)).score(*asked, lm=folder)
    with pytest.raises(TypeError, match="lm is a int"):
        built.score(*asked, lm=3)
    words = tiny.tokenizer([*tiny.WORDS[1:], tiny.WORDS[0]])
    assert LanguageModel(tiny.model(), words).fingerprint != LanguageModel(tiny.model(), tiny.tokenizer()).fingerprint
    same = LanguageModel(folder, dtype="bfloat16")
    assert same.told == built.lm and built.score(*asked, lm=same).num_rows == 1


def test_what_can_not_be_built(rows: pa.Table, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="variant 'paper' has no features of a language model"):
        Reference.build(rows, lm=folder, variant="paper")
    with pytest.raises(ValueError, match="lm does not go with fields"):
        Reference.build(rows, lm=folder, fields={"response": "x"})
    with pytest.raises(ValueError, match="no column 'bucket'"):
        Reference.build(rows.drop_columns(["bucket"]), lm=folder)
    with pytest.raises(OSError, match="nowhere"):
        Reference.build(rows, lm=tmp_path / "nowhere")
    with pytest.raises(ValueError, match="no humans to build a reference of"):
        Reference.build(rows.slice(5, 1), lm=folder)


def change(data: bytes, **changes: Any) -> bytes:
    """The file with other words in its metadata."""
    header, body = parts(data)
    told = json.loads(header["__metadata__"]["polyalign"])
    told.update(changes)
    header["__metadata__"]["polyalign"] = json.dumps({key: value for key, value in told.items() if value is not ...})
    return joined(header, body)


def test_files_that_are_damaged(built: Reference) -> None:
    data, lm = built.to_bytes(), dict(built.lm or {})
    wrong: list[tuple[Any, str]] = [
        (..., "registry version"),
        ("tiny", "its `lm` is no language model"),
        ({}, "its `lm` is no language model"),
        ({**lm, "more": 1}, "its `lm` is no language model"),
        ({**lm, "max_length": -1}, "its `lm` is no language model"),
        ({**lm, "max_length": 1}, "can't have been asked so"),
        ({**lm, "prefix": "none"}, "can't have been asked so"),
        ({**lm, "name": ""}, "name or revision is empty, or too long"),
        ({**lm, "revision": "x" * 5000}, "name or revision is empty, or too long"),
        ({**lm, "fingerprint": "X" * 64}, "fingerprint is not 64 hexadecimal digits"),
        ({**lm, "name": "other"}, "it is damaged"),
    ]
    for changed, reason in wrong:
        with pytest.raises(ValueError, match=reason):
            Reference.from_bytes(change(data, lm=changed))
    with pytest.raises(ValueError, match="the paper's variant has no features of a language model"):
        Reference.from_bytes(change(data, variant="paper"))
    plain = Reference.from_arrow(polyalign.reference.example_table()).to_bytes()
    with pytest.raises(ValueError, match="registry version"):
        Reference.from_bytes(change(plain, lm=lm))


def test_a_critic_counts_them(built: Reference, folder: Path, tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="don't count here"):
        blind = SupportCritic(built)
    critic = SupportCritic(built, lm=folder)
    asked, prompts = ["yes no tea", "rain rain rain", "", "sun"], ["cat", "no", "x", None]
    found = critic.score(asked, [EN, EN, EN, "fr|single|qa|short"], prompts)
    expected = built.support_distance(asked[:2], EN, prompts=prompts[:2], lm=folder)
    assert found[:2].tobytes() == expected.tobytes() and found[2] == 5 and np.isnan(found[3])
    assert (found[:2] != blind.score(asked[:2], [EN, EN], prompts[:2])).any()
    critic.save(tmp_path / "critic")
    again = load(tmp_path / "critic")
    assert isinstance(again, SupportCritic)
    assert again.score(asked[:2], [EN, EN], prompts[:2]).tobytes() == found[:2].tobytes()
    assert again.percentile(asked, [EN] * 4, prompts).tobytes() == critic.percentile(asked, [EN] * 4, prompts).tobytes()
    manifest = tmp_path / "critic" / "manifest.json"
    told = json.loads(manifest.read_text())
    for wrong in (3, {}, {**told["settings"]["lm"], "model": 3}, {**told["settings"]["lm"], "more": 1}):
        manifest.write_text(json.dumps({**told, "settings": {**told["settings"], "lm": wrong}}))
        with pytest.raises(ValueError, match="a language model that can't be"):
            load(tmp_path / "critic")


@pytest.mark.filterwarnings("ignore:the reference has features")
def test_critics_of_an_ensemble_ask_each_in_its_way(built: Reference, folder: Path) -> None:
    critics = {"blind": SupportCritic(built), "with": SupportCritic(built, lm=folder), "again": SupportCritic(built)}
    asked, prompts = ["yes no tea", "rain rain rain", "sun", "a big dog"], ["cat", "no", "x", None]
    found = EnsembleCritic(critics).percentiles(asked, [EN] * 4, prompts)
    for name, critic in critics.items():
        assert found[name].tobytes() == critic.percentile(asked, [EN] * 4, prompts).tobytes(), name
    assert found["with"].tobytes() != found["blind"].tobytes()


@pytest.mark.filterwarnings("ignore:the reference has features")
def test_the_commands(rows: pa.Table, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pq.write_table(rows, tmp_path / "rows.parquet")
    file, model = tmp_path / "human.safetensors", ("--lm", folder)
    build = ("reference", "build", tmp_path / "rows.parquet", "--out", file, "--max-rejects", "0.1")
    told = printed(capsys, *build, *model)
    for line in ("59 humans in 2 buckets, 1 rejected", "not all is known: 2 of 60 without a prompt", "cut themselves"):
        assert line in told
    assert "7 of them of the language model tiny" in printed(capsys, "reference", "show", file)
    assert "gain_per_token" in printed(capsys, "reference", "show", file, "-b", EN)
    assert "variant 'paper' has no features" in printed(
        capsys, *build, *model, "--overwrite", "--variant", "paper", code=1
    )
    lines = [{"id": str(at), "bucket": EN, "prompt": "cat", "response": "yes no tea"} for at in range(3)]
    (tmp_path / "answers.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    score = ("score", tmp_path / "answers.jsonl", "-r", file, "--out", tmp_path / "scores.jsonl", "--overwrite")
    assert "which don't count here: give it with --lm" in printed(capsys, *score)
    assert "don't count" not in printed(capsys, *score, *model)
    first = json.loads((tmp_path / "scores.jsonl").read_text().splitlines()[0])
    expected = float(Reference.load(file).support_distance(["yes no tea"], EN, prompts=["cat"], lm=folder)[0])
    assert first["critic"] == pytest.approx(expected, abs=1e-6) and first["critic"] != first["distance"]
    assert "leave one out" in printed(capsys, *score, *model, "--critic", file, code=2)


@pytest.mark.filterwarnings("ignore:of the language model not all")
def test_a_critic_is_trained_with_one(
    rows: pa.Table, built: Reference, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = rows.append_column("id", pa.array([str(at) for at in range(len(rows))]))
    pq.write_table(records, tmp_path / "rows.parquet")
    built.save(tmp_path / "human.safetensors")
    train = ("critic", "train", tmp_path / "rows.parquet", "--kind", "support", "--overwrite")
    given = ("--reference", tmp_path / "human.safetensors")
    asked, prompts = ["yes no tea", "rain rain rain"], ["cat", "no"]
    expected = pytest.approx(SupportCritic(built, lm=folder).score(asked, [EN, EN], prompts), rel=1e-4)
    for name, more in (("own", ()), ("given", given)):
        told = printed(capsys, *train, *more, "--lm", folder, "--out", tmp_path / name)
        assert "rows: 59 reference" in told and "don't count" not in told
        assert load(tmp_path / name).score(asked, [EN, EN], prompts) == expected  # type: ignore[call-arg]
    told = printed(capsys, *train, *given, "--out", tmp_path / "blind")
    assert "which don't count here: give it with --lm" in told
    assert load(tmp_path / "blind").score(asked, [EN, EN], prompts) != expected  # type: ignore[call-arg]

    other = tiny.save(tmp_path / "other", tiny.model(max_position_embeddings=CONTEXT, hidden_size=32))
    Reference.from_arrow(rows.slice(10)).save(tmp_path / "plain.safetensors")
    out = ("--out", tmp_path / "none")
    for arguments, reason in (
        ((*train, *given, "--lm", other), "is another than the one that the reference was built with"),
        ((*train, "--reference", tmp_path / "plain.safetensors", "--lm", folder), "has no features of a language"),
        ((*train, "--kind", "lexical", "--lm", folder), "asks no language model (--lm): leave it out"),
        ((*train, "--kind", "ensemble", "--lm", folder), "the classifier asks the language model (--lm): give samples"),
    ):
        assert reason in printed(capsys, *arguments, *out, code=1)
    assert not (tmp_path / "none").exists()


def test_a_classifier_is_given_one_as_it_is(folder: Path) -> None:
    from polyalign.critics._likelihood import Likelihood

    model = LanguageModel(folder, prefix="plain")
    found = Likelihood.of(model)
    assert Likelihood.of(found) is found and found.told == {
        "name": str(folder),
        "revision": None,
        "dtype": "auto",
        "prefix": "plain",
    }
    asked = ["yes no tea", "rain"], ["cat", None]
    assert found(*asked).tobytes() == model.measure(*asked).astype(np.float64).tobytes()
    assert Likelihood.of(folder).told["name"] == str(folder)
    with pytest.raises(ValueError, match="a max_length of its own"):
        Likelihood.of(LanguageModel(folder, max_length=20))
    with pytest.raises(TypeError, match="likelihood is a int"):
        Likelihood.of(3)


@pytest.mark.filterwarnings("ignore:the reference has features")
def test_files_are_scored_with_one(built: Reference, folder: Path, tmp_path: Path) -> None:
    lines = [{"id": str(at), "bucket": EN, "prompt": "cat", "response": "yes no tea"} for at in range(3)]
    (tmp_path / "answers.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    asked = (str(tmp_path / "answers.jsonl"), tmp_path / "scores.jsonl")
    report = polyalign.scoring.score_files(built, None, *asked, lm=folder, support=(0.2, 0.8))
    critic = SupportCritic(built, lm=folder, support=(0.2, 0.8))
    expected = float(critic.score(["yes no tea"], [EN], ["cat"])[0])
    assert report["critic"]["scored"] == 3 and report["critic"]["mean"] == pytest.approx(expected)
    with pytest.raises(ValueError, match="both a critic beside the distance"):
        polyalign.scoring.score_files(built, critic, *asked, lm=folder, overwrite=True)
    with pytest.raises(TypeError, match="critic is None"):
        polyalign.scoring.score_files(built, None, *asked, overwrite=True)
    with pytest.raises(ValueError, match="is another than the one"):
        other = tiny.save(tmp_path / "other", tiny.model(max_position_embeddings=CONTEXT, hidden_size=32))
        polyalign.scoring.score_files(built, None, *asked, lm=other, overwrite=True)
