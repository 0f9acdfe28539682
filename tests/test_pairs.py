"""Pairs of human responses and samples: what is paired, what is not, and what is written."""

from __future__ import annotations

import gzip
import hashlib
import json
import math
import re
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import humans
import small_tokenizers
from conftest import Cli, write_jsonl
from polyalign import Bucketer, BucketSchema, Reference, critics, pairs
from polyalign._io import bucketed
from polyalign.pairs import _match

QA = "en|single|qa|short"


def user(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def assistant(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def record(identity: Any, completion: Any = "Human.", prompt: Any = "Why?", bucket: str | None = QA) -> dict[str, Any]:
    return {"id": identity, "bucket": bucket, "prompt": prompt, "completion": completion}


def table(*rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(rows))


class Lengths:
    """A critic: a response's length is its score; buckets in French can't be scored."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def score(self, responses: Sequence[str], buckets: Sequence[str]) -> npt.NDArray[np.float32]:
        self.asked += responses
        scores = [
            math.nan if bucket.startswith("fr") else len(text) for text, bucket in zip(responses, buckets, strict=True)
        ]
        return np.array(scores, dtype=np.float32)


def adds_up(report: pairs.Report) -> None:
    assert report.rows == report.pairs + report.skipped
    assert report.skipped == sum(report.skipped_by_kind.values())
    assert report.pairs == sum(bucket.pairs for bucket in report.buckets)
    assert {skip["kind"] for skip in report.first_skips} == set(report.skipped_by_kind)


# ------------------------------------------------------------------------------------------------- samples


def test_a_sample_and_its_record_are_a_pair() -> None:
    found, report = pairs.from_samples(table(record("a"), record("b")), table({"id": "b", "response": "Model."}))
    assert found.to_pylist() == [{"id": "b", "bucket": QA, "prompt": "Why?", "chosen": "Human.", "rejected": "Model."}]
    assert (report.records, report.samples, report.rows, report.skipped_by_kind) == (2, 1, 2, {"no_sample": 1})
    adds_up(report)


@pytest.mark.parametrize("sample", ["Model.", assistant("Model.")], ids=["text", "messages"])
@pytest.mark.parametrize("human", ["Human.", assistant("Human.")], ids=["text", "messages"])
@pytest.mark.parametrize("prompt", ["Why?", user("Why?")], ids=["text", "messages"])
def test_the_prompt_decides_the_form(prompt: Any, human: Any, sample: Any) -> None:
    (row,) = pairs.from_samples(table(record("a", human, prompt)), table({"id": "a", "response": sample}))[
        0
    ].to_pylist()
    if isinstance(prompt, str):
        assert (row["prompt"], row["chosen"], row["rejected"]) == ("Why?", "Human.", "Model.")
    else:
        assert (row["prompt"], row["chosen"], row["rejected"]) == (prompt, assistant("Human."), assistant("Model."))


def test_several_samples_give_several_pairs_in_the_order_of_records_and_samples() -> None:
    critic = Lengths()
    samples = table(*({"id": name, "response": text} for name, text in [("b", "1"), ("a", "22"), ("b", "333")]))
    found, report = pairs.from_samples(table(record("a"), record("b", "Other.")), samples, critic=critic)
    assert found["rejected"].to_pylist() == ["22", "1", "333"]
    assert found["chosen"].to_pylist() == ["Human.", "Other.", "Other."]
    assert found["rejected_score"].to_pylist() == [2, 1, 3]
    assert found["chosen_score"].type == found["rejected_score"].type == pa.float32()
    assert Counter(critic.asked) == Counter(["Human.", "Other.", "1", "22", "333"])  # a human response once
    assert report.critic == {"name": "Lengths"}
    (bucket,) = report.buckets
    assert (bucket.chosen_score, bucket.rejected_score, bucket.rejected_further) == (6, 2, 0)


FAULTS = {
    "unknown_id": (record("a"), {"id": "z", "response": "Model."}),
    "no_bucket": (record("a", bucket=None), {"id": "a", "response": "Model."}),
    "no_prompt": (record("a", prompt=""), {"id": "a", "response": "Model."}),
    "empty_chosen": (record("a", " \n"), {"id": "a", "response": "Model."}),
    "empty_rejected": (record("a"), {"id": "a", "response": "\u3000"}),
    "prompt_mismatch": (record("a"), {"id": "a", "response": "Model.", "prompt": "Who?"}),
    "reference_mismatch": (record("a"), {"id": "a", "response": "Model.", "reference": "Another."}),
    "exact_match": (record("a", "One two.\n\nThree."), {"id": "a", "response": " One  two.\r\n\r\n\r\nThree.\n"}),
    "no_score": (record("a", bucket="fr|single|qa|short"), {"id": "a", "response": "Model."}),
    "several_messages": (record("a", assistant("Hm.") + assistant("So.")), {"id": "a", "response": "Model."}),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_each_fault_is_counted_with_its_place(kind: str) -> None:
    faulty, sample = FAULTS[kind]
    completion = faulty["completion"]
    good = record("good", completion if isinstance(completion, str) and completion.strip() else "Human.")
    if isinstance(completion, list):
        good["completion"] = assistant("Human.")
    samples = table({"prompt": None, "reference": None, **sample}, {"id": "good", "response": "Model."})
    found, report = pairs.from_samples(table(faulty, good), samples, critic=Lengths())
    assert found["id"].to_pylist() == ["good"]
    assert report.skipped_by_kind == {kind: 1} | ({"no_sample": 1} if kind == "unknown_id" else {})
    (first,) = (skip for skip in report.first_skips if skip["kind"] == kind)
    assert (first["file"], first["row"], first["id"]) == ("samples", 0, sample["id"])
    assert first["reason"].startswith(_match.REASONS[kind])
    assert report.faults()["rejected"] == (kind not in ("exact_match", "no_sample"))
    assert f"skipped: 1 for {kind}, the first at samples, row 0 (id {sample['id']!r}): " in str(report)
    adds_up(report)


def test_what_agrees_is_no_mismatch() -> None:
    prompt = user("Why  is\nthat?")
    sample = {"id": "a", "response": "Model.", "prompt": "Why is that? ", "reference": "Human.\n"}
    found, _ = pairs.from_samples(table(record("a", "Human.", prompt)), table(sample))
    assert len(found) == 1


def test_ids_that_are_not_unique_among_records_pair_with_nothing() -> None:
    samples = table({"id": "a", "response": "Model."}, {"id": "b", "response": "Model."})
    found, report = pairs.from_samples(table(record("a"), record("b"), record("a", "Other.")), samples)
    assert found["id"].to_pylist() == ["b"]
    assert report.skipped_by_kind == {"duplicate_id": 3}  # two records, one sample
    adds_up(report)


def test_the_group_goes_along() -> None:
    records = table({**record("a"), "group": "talk 1"}, {**record("b"), "group": None})
    samples = table(*({"id": name, "response": text} for name in "ab" for text in ("One.", "Two.")))
    found, _ = pairs.from_samples(records, samples)
    assert found["group"].to_pylist() == ["talk 1", "talk 1", None, None]
    again, _ = pairs.from_preferences(found)
    assert again["group"].to_pylist() == found["group"].to_pylist()


def test_whole_numbers_are_ids_and_none_is_like_no_other() -> None:
    samples = table({"id": "7", "response": "Model."}, {"id": None, "response": "Model."})
    found, report = pairs.from_samples(table(record(7), record(None)), samples)
    assert found["id"].to_pylist() == ["7"]
    assert report.skipped_by_kind == {"no_sample": 1, "unknown_id": 1}


def test_only_the_first_places_are_kept() -> None:
    samples = table(*({"id": f"z{at}", "response": "Model."} for at in range(9)), {"id": "a", "response": "Model."})
    _, report = pairs.from_samples(table(record("a")), samples)
    assert report.skipped_by_kind == {"unknown_id": 9}
    assert [skip["row"] for skip in report.first_skips] == [0, 1, 2]


TEXTS = st.sampled_from(["", " ", "a", "a ", "a\r\nb", "a\n\n\nb", "a\n\nb", "a b", "  a  b", "\u3000", "人"])
IDS = st.sampled_from([*"abcdef", None])
RECORDS = st.fixed_dictionaries(
    {
        "id": IDS,
        "bucket": st.sampled_from([QA, "en|multi|qa|short", "fr|single|qa|short", None, ""]),
        "prompt": st.sampled_from(["", "Why?", "Who?"]),
        "completion": TEXTS,
    }
)
SAMPLES = st.fixed_dictionaries(
    {
        "id": IDS,
        "response": TEXTS,
        "prompt": st.sampled_from([None, "Why?", " Why?\n"]),
        "reference": st.one_of(st.none(), TEXTS),
    }
)


def paper_normalise(text: str) -> str:
    """The paper's rule, in expressions."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").strip()
    lines = [re.sub(r"\s+", " ", line).strip() for line in text.split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def oracle(records: list[dict[str, Any]], samples: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], Counter[str]]:
    """Pairs and skips, found the slow way."""
    times = Counter(row["id"] for row in records if row["id"] is not None)
    skipped: Counter[str] = Counter()
    found = []
    for sample in samples:
        if times[sample["id"]] != 1:
            skipped["duplicate_id" if times[sample["id"]] else "unknown_id"] += 1
    for row in records:
        own = [sample for sample in samples if sample["id"] == row["id"] and row["id"] is not None]
        if times[row["id"]] > 1:
            skipped["duplicate_id"] += 1
        elif not own:
            skipped["no_sample"] += 1
        else:
            for sample in own:
                if kind := fault(row, sample):
                    skipped[kind] += 1
                else:
                    found.append((row, sample))
    made = [
        {
            "id": row["id"],
            "bucket": row["bucket"],
            "prompt": row["prompt"],
            "chosen": row["completion"],
            "rejected": sample["response"],
            "chosen_score": len(row["completion"]),
            "rejected_score": len(sample["response"]),
        }
        for row, sample in found
    ]
    return made, skipped


def fault(row: dict[str, Any], sample: dict[str, Any]) -> str | None:
    human, model = row["completion"], sample["response"]
    checks = [
        ("no_bucket", not row["bucket"]),
        ("no_prompt", not row["prompt"]),
        ("empty_chosen", not human.strip()),
        ("empty_rejected", not model.strip()),
        ("prompt_mismatch", bool(sample["prompt"]) and sample["prompt"].split() != row["prompt"].split()),
        ("reference_mismatch", bool(sample["reference"]) and sample["reference"].split() != human.split()),
        ("exact_match", paper_normalise(human) == paper_normalise(model)),
        ("no_score", (row["bucket"] or "").startswith("fr")),
    ]
    return next((kind for kind, holds in checks if holds), None)


RECORD_SCHEMA = pa.schema({name: pa.string() for name in ("id", "bucket", "prompt", "completion")})
SAMPLE_SCHEMA = pa.schema({name: pa.string() for name in ("id", "response", "prompt", "reference")})


@settings(max_examples=200, deadline=None)
@given(st.lists(RECORDS, max_size=12), st.lists(SAMPLES, max_size=12), st.integers(1, 5))
def test_pairs_are_those_found_the_slow_way(
    records: list[dict[str, Any]], samples: list[dict[str, Any]], batch_rows: int
) -> None:
    wanted, skipped = oracle(records, samples)
    data = [pa.Table.from_pylist(rows, schema) for rows, schema in ((records, RECORD_SCHEMA), (samples, SAMPLE_SCHEMA))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bucketed, "_BATCH_ROWS", batch_rows)
        if not wanted:
            with pytest.raises(ValueError, match=r"^no pairs: "):
                pairs.from_samples(*data, critic=Lengths())
            return
        found, report = pairs.from_samples(*data, critic=Lengths())
    assert found.to_pylist() == wanted
    assert report.skipped_by_kind == dict(skipped)
    assert report.rows == len(samples) + sum(
        row["id"] is None or not any(sample["id"] == row["id"] for sample in samples) or other
        for row in records
        for other in [[row["id"] for row in records].count(row["id"]) > 1 and row["id"] is not None]
    )
    adds_up(report)


@settings(max_examples=300, deadline=None)
@given(st.text(st.sampled_from("ab \t\n\r\x1c\x85\xa0\u3000"), max_size=14))
def test_normalise_is_the_papers(text: str) -> None:
    assert _match.normalise(text) == paper_normalise(text)
    assert _match.is_same(text, f" {text}\n")


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(st.none(), st.lists(TEXTS, max_size=3)), max_size=8), st.data())
def test_messages_are_read_from_any_slice(rows: list[list[str] | None], data: st.DataObject) -> None:
    messages = [None if row is None else [part for text in row for part in assistant(text)] for row in rows]
    kind = pa.list_(pa.struct({"content": pa.string(), "role": pa.string(), "name": pa.string()}))
    start = data.draw(st.integers(0, len(rows)))
    column = pa.array(messages, kind)[start:]
    large = column.cast(pa.large_list(kind.value_type))
    for read in (column, large):
        found = bucketed.texts("completion", read)
        kept = rows[start:]
        assert found.text.to_pylist() == [row[0] if row and len(row) == 1 else None for row in kept]
        assert found.several.tolist() == [bool(row) and len(row) > 1 for row in kept]
        wanted = [[part for text in row or [] for part in assistant(text)] for row in kept]
        assert bucketed.prompts("prompt", read).to_pylist() == wanted


@pytest.mark.parametrize("kind", [pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())], ids=str)
def test_texts_of_any_kind_are_read(kind: pa.DataType) -> None:
    rows = table(record("a"), record("b"))
    columns = {name: rows[name].combine_chunks() for name in rows.column_names}
    columns["completion"] = (
        columns["completion"].dictionary_encode() if pa.types.is_dictionary(kind) else columns["completion"].cast(kind)
    )
    found, _ = pairs.from_samples(pa.table(columns), table({"id": "b", "response": "Model."}))
    assert found["chosen"].to_pylist() == ["Human."]


def test_tables_of_other_packages() -> None:
    import datasets
    import polars

    rows, samples = [record("a"), record("b")], [{"id": "b", "response": "Model."}]
    wanted, _ = pairs.from_samples(table(*rows), table(*samples))
    assert pairs.from_samples(polars.DataFrame(rows), polars.DataFrame(samples)).table == wanted
    data = datasets.Dataset.from_list(rows)
    assert pairs.from_samples(data, datasets.Dataset.from_list(samples)).table == wanted
    assert pairs.from_samples(data.to_iterable_dataset(), table(*samples)).table == wanted
    with pytest.raises(TypeError, match="records is a DatasetDict: give one of its members: train"):
        pairs.from_samples(datasets.DatasetDict(train=data), table(*samples))
    assert datasets.Dataset(wanted)[0]["rejected"] == "Model."


# --------------------------------------------------------------------------------------------------- files


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with records, bucketed, their reference, and a sample of each."""
    folder = tmp_path_factory.mktemp("pairs")
    records = humans.records()
    report = Bucketer(humans.SCHEMA).bucket_files(
        write_jsonl(folder / "records.jsonl", records), folder / "bucketed", reference=folder / "human.safetensors"
    )
    assert report.bucketed == len(records)
    texts = [row["completion"][0]["content"] for row in records]
    samples = [{"id": row["id"], "response": texts[at - 1]} for at, row in enumerate(records)]
    write_jsonl(folder / "samples.jsonl", samples)
    return folder


def test_files_give_what_tables_give(corpus: Path, tmp_path: Path) -> None:
    bucketed = pq.read_table(corpus / "bucketed" / "data")
    samples = [json.loads(line) for line in (corpus / "samples.jsonl").read_text("utf-8").splitlines()]
    reference = Reference.load(corpus / "human.safetensors")
    wanted, _ = pairs.from_samples(bucketed, table(*samples), reference=reference)
    found, report = pairs.from_samples(corpus / "bucketed", corpus / "samples.jsonl", reference=reference)
    assert found == wanted
    assert report.schema == humans.SCHEMA
    pq.write_table(table(*samples), tmp_path / "samples.parquet")
    again = pairs.from_samples(str(corpus / "bucketed"), [tmp_path / "samples.parquet"], reference=reference)
    assert again.table == wanted
    adds_up(report)


def test_scores_are_the_support_distances(corpus: Path) -> None:
    reference = Reference.load(corpus / "human.safetensors")
    found, report = pairs.from_samples(corpus / "bucketed", corpus / "samples.jsonl", reference=reference)
    for side in ("chosen", "rejected"):
        wanted = reference.support_distance(found[side], found["bucket"], prompts=found["prompt"], warn=False)
        np.testing.assert_array_equal(found[f"{side}_score"].to_numpy(), wanted)
        blind = reference.support_distance(found[side], found["bucket"], warn=False)
        assert (wanted != blind).any()
    assert report.skipped_by_kind["no_score"] == sum(row["language"] == "fr" for row in humans.records())
    assert any("fr|single|qa|short" in skip["reason"] for skip in report.first_skips)
    bucket = report.buckets[0]
    rows = found.filter(pa.compute.equal(found["bucket"], bucket.bucket))
    chosen, rejected = (rows[f"{side}_score"].to_numpy().astype(float) for side in ("chosen", "rejected"))
    assert (bucket.pairs, bucket.chosen_score) == (len(rows), pytest.approx(chosen.mean()))
    assert bucket.rejected_further == pytest.approx((rejected > chosen).mean())


@pytest.mark.parametrize("name", bucketed.RESPONSE_FIELDS)
def test_the_response_is_found_by_its_name(corpus: Path, tmp_path: Path, name: str) -> None:
    # Beside a model's text, `completion` is the human's.
    human = {} if name == "completion" else {"completion": humans.records()[0]["completion"]}
    samples = [{"id": humans.records()[0]["id"], **human, name: "Model."}]
    for source in (table(*samples), write_jsonl(tmp_path / "samples.jsonl", samples)):
        found, _ = pairs.from_samples(corpus / "bucketed", source)
        assert found["rejected"].to_pylist() == [assistant("Model.")]


def test_fields_and_messages(corpus: Path, tmp_path: Path) -> None:
    row = humans.records()[0]
    named = write_jsonl(tmp_path / "a.jsonl", [{"key": row["id"], "meta": {"text": "Model."}}])
    found, _ = pairs.from_samples(corpus / "bucketed", named, fields={"id": "key", "response": "meta.text"})
    assert found["rejected"].to_pylist() == [assistant("Model.")]
    whole = write_jsonl(tmp_path / "b.jsonl", [{"id": row["id"], "messages": [*row["prompt"], *assistant("Model.")]}])
    assert pairs.from_samples(corpus / "bucketed", whole).table == found
    renamed = table({"key": row["id"], "text": "Model."})
    assert pairs.from_samples(corpus / "bucketed", renamed, fields={"id": "key", "response": "text"}).table == found


def test_what_is_held_out_makes_no_pairs(tmp_path: Path) -> None:
    rows = [{"id": f"h{at}", "prompt": f"Q{at}?", "completion": "Human."} for at in range(40)]
    Bucketer().bucket_files(write_jsonl(tmp_path / "rows.jsonl", rows), tmp_path / "apart", test_share=0.5)
    train, test = (
        pq.read_table(tmp_path / "apart" / "data" / f"{split}-00000.parquet")["id"].to_pylist()
        for split in ("train", "test")
    )
    assert len(train) + len(test) == 40
    samples = table(*({"id": row["id"], "response": "Model."} for row in rows))
    found, report = pairs.from_samples(tmp_path / "apart", samples)
    assert found["id"].to_pylist() == train
    assert report.skipped_by_kind == {"unknown_id": len(test)}


def test_labels_of_samples_have_no_say(corpus: Path, tmp_path: Path) -> None:
    labels = {"language": 5, "track": "weird", "family": "a|b", "source": [1], "group": 1.5, "bucket": "x"}
    source = write_jsonl(tmp_path / "samples.jsonl", [{"id": "h0", "response": "Model.", **labels}])
    found, _ = pairs.from_samples(corpus / "bucketed", source)
    assert found["rejected"].to_pylist() == [assistant("Model.")]


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        ({"response": None}, "for no_response, the first at samples.jsonl:1 .id 'h0'.: `response` is null"),
        ({"response": 5}, "for type, the first at samples.jsonl:1 .id 'h0'.: `response` is a number"),
        ({"response": "Model.", "prompt": 5}, "for type, the first at samples.jsonl:1 .id 'h0'.: `prompt` is a number"),
        ({"text": "Model."}, "fields seen: id, text; .* name the fields with fields=.*response"),
    ],
)
def test_why_no_sample_can_be_read(corpus: Path, tmp_path: Path, sample: dict[str, Any], message: str) -> None:
    source = write_jsonl(tmp_path / "samples.jsonl", [{"id": "h0", **sample}] * 3)
    with pytest.raises(ValueError, match=message):
        pairs.from_samples(corpus / "bucketed", source)


def test_predictions_in_the_papers_form(tmp_path: Path) -> None:
    rows = [{"id": f"p{at}", "question": "Why?", "human_answer": f"Human {at}."} for at in range(3)]
    Bucketer().bucket_files(write_jsonl(tmp_path / "records.jsonl", rows), tmp_path / "bucketed")
    predicted = [{**row, "prediction": "Model."} for row in rows]
    predicted[1]["question"], predicted[2]["human_answer"] = "Who?", "Another."
    found, report = pairs.from_samples(tmp_path / "bucketed", write_jsonl(tmp_path / "predicted.jsonl", predicted))
    assert found["id"].to_pylist() == ["p0"]
    assert report.skipped_by_kind == {"prompt_mismatch": 1, "reference_mismatch": 1}


def test_samples_that_cannot_be_read_are_counted(corpus: Path, tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    good = [json.dumps({"id": row["id"], "response": "Model."}) for row in humans.records()[:2]]
    path.write_text("\n".join([good[0], "no JSON", '{"id": "h2"}', good[1], '{"response": "Model."}']))
    found, report = pairs.from_samples(corpus / "bucketed", path)
    assert len(found) == 2
    assert report.samples == 5
    assert {kind: report.skipped_by_kind[kind] for kind in ("json", "no_response", "unknown_id")} == dict.fromkeys(
        ("json", "no_response", "unknown_id"), 1
    )
    assert any(skip["kind"] == "json" and skip["line"] == 2 for skip in report.first_skips)
    adds_up(report)


# --------------------------------------------------------------------------------------------- preferences


def test_preferences_keep_their_order_and_columns() -> None:
    rows = [
        {
            "bucket": QA,
            "prompt": "Why?",
            "chosen": "So.",
            "rejected": "No.",
            "weight": 2.0,
            "pair_type": 1,
            "chosen_score": 0.5,
        },
        {
            "bucket": QA,
            "prompt": "Why?",
            "chosen": "So.",
            "rejected": "So.",
            "weight": 1.0,
            "pair_type": 0,
            "chosen_score": 0.5,
        },
        {
            "bucket": QA,
            "prompt": "Who?",
            "chosen": "Me.",
            "rejected": "You.",
            "weight": 3.0,
            "pair_type": 0,
            "chosen_score": 0.25,
        },
    ]
    found, report = pairs.from_preferences(table(*rows))
    assert found["id"].to_pylist() == ["0", "2"]
    assert found["weight"].to_pylist() == [2.0, 3.0]
    assert found["pair_type"].to_pylist() == [1, 0]
    assert found["chosen_score"].to_pylist() == [0.5, 0.25]
    assert (report.records, report.samples, report.skipped_by_kind) == (3, None, {"exact_match": 1})
    scored, _ = pairs.from_preferences(table(*rows), critic=Lengths())
    assert scored["chosen_score"].to_pylist() == [3, 3]  # asked anew
    assert scored["weight"].to_pylist() == [2.0, 3.0]
    adds_up(report)


def test_bucketed_preferences(tmp_path: Path) -> None:
    rows = [{"id": f"p{at}", "prompt": "Why?", "chosen": f"So {at}.", "rejected": "No."} for at in range(3)]
    whole = {"chosen": user("Why?") + assistant("So."), "rejected": user("Why?") + assistant("No.")}
    source = write_jsonl(tmp_path / "preferences.jsonl", [*rows, {"id": "p3", **whole}])
    Bucketer().bucket_files(source, tmp_path / "bucketed")
    found, report = pairs.from_preferences(tmp_path / "bucketed")
    assert found["id"].to_pylist() == ["p0", "p1", "p2", "p3"]
    assert found["prompt"].to_pylist() == [user("Why?")] * 4
    assert found["chosen"].to_pylist()[3] == assistant("So.")
    assert report.skipped == 0
    again, _ = pairs.from_preferences(found)
    assert again == found


def test_a_rejected_answer_to_another_prompt_makes_no_pair(tmp_path: Path) -> None:
    asked = [{"role": "user", "content": "What is a good tea?"}, *assistant("Mint."), *user("Why is that?")]
    rows = [
        {
            "id": "same",
            "chosen": [*asked, *assistant("No caffeine.")],
            "rejected": [*asked, *assistant("Do not know.")],
        },
        {
            "id": "other",
            "chosen": [*asked, *assistant("No caffeine.")],
            "rejected": [asked[0], *assistant("Petrol."), *user("How do I light it?"), *assistant("With a match.")],
        },
        {"id": "shorter", "chosen": [*asked, *assistant("No caffeine.")], "rejected": [asked[0], *assistant("None.")]},
    ]
    report = Bucketer().bucket_files(write_jsonl(tmp_path / "preferences.jsonl", rows), tmp_path / "bucketed")
    assert report.bucketed == 3
    assert any("answers another prompt than the chosen one in 2 records" in warning for warning in report.warnings)
    made = pairs.from_preferences(tmp_path / "bucketed")
    assert made.table["id"].to_pylist() == ["same"]
    assert made.report.skipped_by_kind == {"prompt_mismatch": 2}
    adds_up(made.report)


# -------------------------------------------------------------------------------------------------- output


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def made(corpus: Path, tmp_path: Path) -> Path:
    pairs.pair_files(
        corpus / "bucketed",
        tmp_path / "pairs",
        samples=corpus / "samples.jsonl",
        reference=corpus / "human.safetensors",
    )
    return tmp_path / "pairs"


def test_the_output_is_what_memory_has(corpus: Path, made: Path) -> None:
    import datasets

    wanted, report = pairs.from_samples(
        corpus / "bucketed", corpus / "samples.jsonl", reference=corpus / "human.safetensors"
    )
    assert pq.read_table(made / "data").to_pylist() == wanted.to_pylist()
    loaded = datasets.load_dataset(str(made), cache_dir=str(made.parent / "cache"))["train"]
    assert loaded.to_list() == wanted.to_pylist()
    manifest = json.loads((made / "manifest.json").read_text("utf-8"))
    told = json.loads(report.to_json())
    assert {name: manifest[name] for name in told if name != "output"} == {
        name: value for name, value in told.items() if name != "output"
    }
    assert sum(shard["rows"] for shard in manifest["shards"]) == report.pairs


@pytest.mark.parametrize("threads", [1, 3])
def test_the_same_input_gives_the_same_bytes(corpus: Path, made: Path, threads: int) -> None:
    pairs.pair_files(
        [corpus / "bucketed"],
        made.parent / "again",
        samples=[corpus / "samples.jsonl"],
        reference=Reference.load(corpus / "human.safetensors"),
        threads=threads,
    )
    assert files(made.parent / "again") == files(made)


def test_shards_are_bounded(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("_SHARD_BYTES", 1), ("_GROUP_ROWS", 100)):
        monkeypatch.setattr("polyalign.pairs._write." + name, value)
    monkeypatch.setattr(bucketed, "_BATCH_ROWS", 60)
    report = pairs.pair_files(corpus / "bucketed", tmp_path / "pairs", samples=corpus / "samples.jsonl")
    shards = sorted((tmp_path / "pairs" / "data").iterdir())
    assert len(shards) > 2
    rows = [pq.read_metadata(shard).num_rows for shard in shards]
    assert min(rows[:-1]) >= 100
    assert sum(rows) == report.pairs
    wanted, _ = pairs.from_samples(corpus / "bucketed", corpus / "samples.jsonl")
    assert pa.concat_tables(map(pq.read_table, shards)).to_pylist() == wanted.to_pylist()


@pytest.mark.slow
@pytest.mark.parametrize("conversational", [True, False])
def test_hdpo_trains_on_pairs(made: Path, tmp_path: Path, conversational: bool) -> None:
    for package in ("torch", "trl"):
        pytest.importorskip(package, reason=f"{package} is not installed: pip install 'polyalign[train]'")
    import datasets

    import tiny
    from polyalign.trainers import HDPO, HDPOConfig

    table = pq.read_table(made / "data").slice(0, 16)
    if not conversational:
        rows = [
            {**row, **{name: row[name][-1]["content"] for name in ("prompt", "chosen", "rejected")}}
            for row in table.to_pylist()
        ]
        table, _ = pairs.from_preferences(pa.Table.from_pylist(rows))
        assert table["chosen_score"].to_pylist() == [row["chosen_score"] for row in rows]
    config = HDPOConfig(
        str(tmp_path / "trained"),
        max_steps=2,
        per_device_train_batch_size=4,
        max_length=64,
        lambda_online=0.0,
        logging_steps=1,
        **tiny.QUIET,
    )
    data = datasets.Dataset(table)
    # No critic: the scores are there.
    trainer = HDPO(tiny.model(), tiny.model(), config, train_dataset=data, processing_class=tiny.tokenizer())
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(losses) == 2
    assert all(map(math.isfinite, losses))


def test_pairs_are_preferences_too(made: Path) -> None:
    """Pairs can be scored anew."""
    found, _ = pairs.from_preferences(made, critic=Lengths())
    assert found["rejected_score"][0].as_py() == len(found["rejected"][0][0]["content"].as_py())


def test_the_critic_is_told_what_was_asked(corpus: Path) -> None:
    """Of records and samples once for a human response, and of preferences; texts and messages as they are."""
    critic = humans.Listener()
    found, _ = pairs.from_samples(corpus / "bucketed", corpus / "samples.jsonl", critic=critic)
    prompts = {row["id"]: row["prompt"] for row in humans.records()}
    wanted = [
        (row[side][0]["content"], row["bucket"], prompts[row["id"]])
        for side in ("chosen", "rejected")
        for row in found.to_pylist()
    ]
    assert sorted(map(repr, critic.heard)) == sorted(map(repr, wanted))

    critic = humans.Listener()
    rows = [record("a", prompt="Why?"), record("b", prompt="When?")]
    samples = [{"id": "b", "response": "Then."}, {"id": "a", "response": "So."}, {"id": "b", "response": "Now."}]
    pairs.from_samples(table(*rows), table(*samples), critic=critic)
    heard = [("Human.", "Why?"), ("Human.", "When?"), ("So.", "Why?"), ("Then.", "When?"), ("Now.", "When?")]
    assert critic.heard == [(response, QA, prompt) for response, prompt in heard]

    critic = humans.Listener()
    preferences = {"bucket": QA, "prompt": assistant("Hm?"), "chosen": assistant("Yes."), "rejected": assistant("No.")}
    pairs.from_preferences(table({**preferences, "tools": "[]"}), critic=critic)
    assert critic.heard == [("Yes.", QA, assistant("Hm?")), ("No.", QA, assistant("Hm?"))]


def test_a_saved_critic_scores(corpus: Path, tmp_path: Path) -> None:
    """By its folder, and a reference by its file: the report names it by what it is, not by where it lies."""
    reference = Reference.load(corpus / "human.safetensors")
    critics.SupportCritic(reference).save(tmp_path / "critic")
    arguments: dict[str, Any] = {"samples": corpus / "samples.jsonl"}
    wanted = pairs.pair_files(corpus / "bucketed", tmp_path / "a", reference=reference, **arguments)
    found = pairs.pair_files(corpus / "bucketed", tmp_path / "b", critic=str(tmp_path / "critic"), **arguments)
    assert pq.read_table(tmp_path / "a" / "data") == pq.read_table(tmp_path / "b" / "data")
    assert found.buckets == wanted.buckets
    listing = hashlib.sha256((tmp_path / "critic" / "manifest.json").read_bytes()).hexdigest()
    assert found.critic == {"name": "SupportCritic", "manifest": listing}
    again = pairs.from_samples(corpus / "bucketed", critic=corpus / "human.safetensors", **arguments)
    assert again.table == pq.read_table(tmp_path / "a" / "data")
    with pytest.raises(FileNotFoundError):
        pairs.from_samples(corpus / "bucketed", critic=tmp_path / "none" / "critic", **arguments)


def test_a_critic_of_another_schema_is_refused(corpus: Path) -> None:
    critic = humans.Listener()
    critic.schema = BucketSchema(length_unit="words", length_edges=(5, 9))  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match=r"bucketed with length_edges \[8,20,60\], the critic with \[5,9\]"):
        pairs.from_samples(corpus / "bucketed", corpus / "samples.jsonl", critic=critic)
    critic.schema = humans.SCHEMA  # type: ignore[attr-defined]
    pairs.from_samples(corpus / "bucketed", corpus / "samples.jsonl", critic=critic)


class Broken:
    def __init__(self, scores: Any) -> None:
        self.scores = scores

    def score(self, responses: Sequence[str], buckets: Sequence[str]) -> Any:
        return self.scores(len(responses)) if callable(self.scores) else self.scores


@pytest.mark.parametrize(
    ("critic", "message"),
    [
        (Broken(lambda n: -np.arange(n, dtype=np.float32)), "Broken: score 1 .*scores are 0 or above"),
        (Broken(lambda n: np.ones(n, dtype=np.float32)), "Broken has collapsed"),
        (Broken([1.0]), r"Broken gave scores of shape \[1\] for 7\d\d responses"),
        (Broken(lambda n: np.full(n, np.nan, dtype=np.float32)), "no pairs: .* for no_score"),
    ],
)
def test_scores_that_cannot_be_are_errors_and_leave_nothing(
    corpus: Path, tmp_path: Path, critic: Broken, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        pairs.pair_files(corpus / "bucketed", tmp_path / "pairs", samples=corpus / "samples.jsonl", critic=critic)
    assert list(tmp_path.iterdir()) == []


def test_an_output_is_replaced_only_if_it_is_one(corpus: Path, made: Path) -> None:
    arguments: dict[str, Any] = {"samples": corpus / "samples.jsonl"}
    before = files(made)
    with pytest.raises(FileExistsError, match="exists already; overwrite=True replaces it"):
        pairs.pair_files(corpus / "bucketed", made, **arguments)
    assert files(made) == before
    pairs.pair_files(corpus / "bucketed", made, overwrite=True, **arguments)
    assert "chosen_score" not in pq.read_table(made / "data").column_names
    other = made.parent / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("My only copy.")
    with pytest.raises(FileExistsError, match=r"not an output of polyalign pairs .*, so it is not replaced"):
        pairs.pair_files(corpus / "bucketed", other, overwrite=True, **arguments)
    (made.parent / "new.partial").mkdir()
    (made.parent / "new.partial" / "journal.jsonl").touch()
    with pytest.raises(FileExistsError, match="interrupted polyalign bucket"):
        pairs.pair_files(corpus / "bucketed", made.parent / "new", **arguments)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        pairs.pair_files(corpus / "bucketed", made / "no" / "such", **arguments)
    assert sorted(path.name for path in made.parent.iterdir()) == ["new.partial", "other", "pairs"]


# -------------------------------------------------------------------------------------------------- errors


def test_buckets_of_another_schema_are_refused(corpus: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    Bucketer(BucketSchema(length_unit="words", length_edges=(5, 9))).bucket_files(corpus / "records.jsonl", other)
    arguments: dict[str, Any] = {"samples": corpus / "samples.jsonl", "reference": corpus / "human.safetensors"}
    with pytest.raises(ValueError, match=r"bucketed with length_edges \[5,9\], the reference with \[8,20,60\]"):
        pairs.pair_files(other, tmp_path / "pairs", **arguments)
    with pytest.raises(ValueError, match="bucketed by different schemas"):
        pairs.pair_files([other, corpus / "bucketed"], tmp_path / "pairs", **arguments)


def test_buckets_of_another_tokenizer_are_refused(corpus: Path, tmp_path: Path) -> None:
    schema = BucketSchema(length_unit="tokens", length_edges=(5, 9))
    folders = {}
    for name, tokenizer in (("own", small_tokenizers.build("gpt2")), ("other", small_tokenizers.build("unigram"))):
        folders[name] = tmp_path / name
        Bucketer(schema, tokenizer).bucket_files(
            corpus / "records.jsonl", folders[name], reference=tmp_path / f"{name}.safetensors"
        )
    arguments: dict[str, Any] = {"samples": corpus / "samples.jsonl", "reference": tmp_path / "own.safetensors"}
    report = pairs.pair_files(folders["own"], tmp_path / "pairs", **arguments)
    told = json.loads((tmp_path / "pairs" / "manifest.json").read_text("utf-8"))["tokenizer"]
    assert told == {"sha256": report.tokenizer} == {"sha256": Reference.load(arguments["reference"]).tokenizer}
    with pytest.raises(ValueError, match=r"other: bucketed by the tokenizer with SHA-256 \w+, the reference by that"):
        pairs.pair_files(folders["other"], tmp_path / "wrong", **arguments)
    with pytest.raises(ValueError, match="bucketed by different schemas"):
        pairs.pair_files(list(folders.values()), tmp_path / "wrong", samples=corpus / "samples.jsonl")


def test_errors_say_what_to_do(corpus: Path, tmp_path: Path) -> None:
    rows, samples = table(record("a")), table({"id": "a", "response": "Model."})
    reference = Reference.load(corpus / "human.safetensors")
    with pytest.raises(ValueError, match="a reference or a critic, not both"):
        pairs.from_samples(rows, samples, reference=reference, critic=Lengths())
    with pytest.raises(TypeError, match="critic is an object with score"):
        pairs.from_samples(rows, samples, critic=len)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"the records have no column 'bucket' .*polyalign bucket makes it"):
        pairs.from_samples(rows.drop_columns("bucket"), samples)
    with pytest.raises(ValueError, match="the samples have none of the columns response, prediction"):
        pairs.from_samples(rows, samples.rename_columns(["id", "text"]))
    with pytest.raises(ValueError, match="the samples have no column 'id'"):
        pairs.from_samples(rows, samples.drop_columns("id"))
    with pytest.raises(ValueError, match="column 'completion' holds int64: it must hold texts"):
        pairs.from_samples(table(record("a", 5)), samples)
    with pytest.raises(ValueError, match="the samples have ids of type double"):
        pairs.from_samples(rows, table({"id": 0.5, "response": "Model."}))
    for wrong in (5, b"bytes", [rows], iter([])):
        with pytest.raises(TypeError, match=f"records is {type(wrong).__name__}: give a folder"):
            pairs.from_samples(wrong, samples)
    with pytest.raises(ValueError, match="samples is an empty list"):
        pairs.from_samples(rows, [])
    with pytest.raises(ValueError, match="no pairs: there are no samples"):
        pairs.from_samples(rows, samples.slice(0, 0))
    with pytest.raises(ValueError, match="no pairs: there are no records"):
        pairs.from_samples(rows.slice(0, 0), samples)
    with pytest.raises(ValueError, match="the records are preferences"):
        pairs.from_samples(rows.rename_columns(["id", "bucket", "prompt", "chosen"]), samples)
    with pytest.raises(ValueError, match="no Parquet in it; polyalign bucket makes such a folder"):
        pairs.from_samples(tmp_path, samples)
    Bucketer().bucket_files(corpus / "records.jsonl", tmp_path / "lengths", assignments_only=True)
    with pytest.raises(ValueError, match="written without texts"):
        pairs.from_samples(tmp_path / "lengths", samples)


def test_a_missing_package_is_asked_for_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, samples = table(record("a")), table({"id": "a", "response": "Model."})
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"pairs need pyarrow: pip install 'polyalign\[pairs\]'"):
        pairs.from_samples(rows, samples)


# ------------------------------------------------------------------------------------------- command line


def test_the_command(cli: Cli, corpus: Path, tmp_path: Path) -> None:
    command = ["pairs", corpus / "bucketed", "--samples", corpus / "samples.jsonl", "--out", "pairs"]
    result = cli(*command, "--reference", corpus / "human.safetensors", "--max-rejects", "1")
    assert result.returncode == 0, result.stderr
    rows = len(humans.records())
    for text in (f"{rows} records and {rows} samples: ", "rejected further", "en|single|qa|", "written to pairs"):
        assert text in result.stdout
    assert "skipped: 5 for no_score, the first at samples.jsonl, row " in result.stdout
    assert result.stderr == ""
    assert (tmp_path / "pairs" / "manifest.json").is_file()
    told = json.loads(cli(*command, "--overwrite", "--json").stdout)
    assert told["rows"] == told["pairs"] + told["skipped"] == rows
    assert told["critic"] is None
    again = cli("pairs", "pairs", "-r", corpus / "human.safetensors", "-o", "scored", "--max-rejects", "1", "--json")
    assert json.loads(again.stdout)["samples"] is None


def test_the_command_takes_a_critic(cli: Cli, corpus: Path, tmp_path: Path) -> None:
    reference = corpus / "human.safetensors"
    critics.SupportCritic(Reference.load(reference)).save(tmp_path / "critic")
    given = ("pairs", corpus / "bucketed", "--samples", corpus / "samples.jsonl", "--max-rejects", "1")
    for name, option in (("a", ("--critic", "critic")), ("b", ("--reference", reference))):
        result = cli(*given, *option, "--out", name)
        assert result.returncode == 0, result.stderr
        assert "mean scores by SupportCritic" in result.stdout
    assert pq.read_table(tmp_path / "a" / "data") == pq.read_table(tmp_path / "b" / "data")
    both = cli(*given, "--critic", "critic", "--reference", reference, "--out", "no")
    assert (both.returncode, both.stderr.count("\n")) == (2, 1)
    assert "--reference and --critic both score the responses: leave one out" in both.stderr
    none = cli(*given, "--critic", "nothing", "--out", "no")
    assert (none.returncode, none.stderr.count("\n")) == (1, 1)


def test_the_command_takes_a_configuration(cli: Cli, corpus: Path, tmp_path: Path) -> None:
    given = {"records": [str(corpus / "bucketed")], "samples": [str(corpus / "samples.jsonl")], "out": "pairs"}
    (tmp_path / "pairs.yaml").write_text(json.dumps(given))
    result = cli("pairs", "--config", "pairs.yaml")
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "pairs" / "data").is_dir()


def test_exit_codes(cli: Cli, corpus: Path, tmp_path: Path) -> None:
    command = ["pairs", corpus / "bucketed", "--out", "pairs", "--overwrite", "--samples"]
    ids = [row["id"] for row in humans.records()]
    unsampled = write_jsonl(tmp_path / "few.jsonl", [{"id": name, "response": "Model."} for name in ids[:5]])
    result = cli(*command, unsampled)
    assert result.returncode == 0  # it is no fault that most were not sampled, but it is said
    assert result.stderr == f"polyalign: warning: {len(ids) - 5} of {len(ids)} records have no sample\n"
    wrong = write_jsonl(tmp_path / "wrong.jsonl", [{"id": name, "response": "Model."} for name in [*ids, "z", *"abcd"]])
    result = cli(*command, wrong)
    assert result.returncode == 4
    assert f"5 of {len(ids) + 5} rows rejected" in result.stderr
    cut = tmp_path / "cut.jsonl.gz"
    cut.write_bytes(gzip.compress((corpus / "samples.jsonl").read_bytes())[:-2000])
    result = cli(*command, cut, "--max-rejects", "1")
    assert result.returncode == 3
    assert "cut.jsonl.gz: unreadable from byte" in result.stderr
    for arguments, code, message in (
        (["pairs", corpus / "bucketed"], 2, "--out"),
        (["pairs", corpus / "bucketed", "--out", "x", "--support", "2,1"], 2, "--support"),
        (["pairs", corpus / "bucketed", "--out", "x"], 1, "no column 'chosen'"),
        (["pairs", corpus / "bucketed", "-o", "x", "-s", wrong, "-r", "nope.safetensors"], 1, "nope.safetensors"),
    ):
        result = cli(*arguments)
        assert (result.returncode, result.stdout) == (code, ""), result.stderr
        (line,) = result.stderr.splitlines()
        assert message in line
    assert not (tmp_path / "x").exists()


def test_samples_from_standard_input(cli: Cli, corpus: Path, tmp_path: Path) -> None:
    result = cli(
        *("pairs", corpus / "bucketed", "--samples", "-", "--out", "pairs", "--json"),
        stdin=(corpus / "samples.jsonl").read_text("utf-8"),
    )
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["samples"] == len(humans.records())
