"""The benchmarks' corpus generator, and the tables that the documents quote."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from tokenizers import Tokenizer

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY / "benches"))

import families  # noqa: E402
import features  # noqa: E402
import features_worker  # noqa: E402
import generate  # noqa: E402
import harness  # noqa: E402
import padding  # noqa: E402
import references  # noqa: E402
import report  # noqa: E402
import step_times  # noqa: E402
import vocabularies  # noqa: E402

SHARED = Path(os.environ.get("POLYALIGN_SHARED", REPOSITORY.parent / "shared"))
QWEN = SHARED / "tokenizers" / "qwen2.5.tokenizer.json"


@pytest.fixture(scope="module")
def corpus() -> bytes:
    return b"".join(generate.generate(3e5, seed=0, jobs=1))


@pytest.fixture(scope="module")
def records(corpus: bytes) -> list[dict]:
    return [json.loads(line) for line in corpus.decode().splitlines()]


class TestGenerate:
    def test_every_line_is_a_record_that_ends_with_an_answer(self, corpus, records):
        assert corpus.endswith(b"}\n")
        for record in records:
            assert set(record) == {"language", "family", "messages"}
            roles = [message["role"] for message in record["messages"]]
            assert roles == ["user", "assistant"] * (len(roles) // 2)
            assert all(message["content"].strip() for message in record["messages"])

    def test_records_are_a_kilobyte_and_half_of_each_language(self, corpus, records):
        assert 900 < len(corpus) / len(records) < 1100
        sizes = {"en": 0, "zh": 0}
        for line, record in zip(corpus.splitlines(), records, strict=True):
            sizes[record["language"]] += len(line)
        assert 0.45 < sizes["en"] / sum(sizes.values()) < 0.55
        assert {record["family"] for record in records} == {"assistant", "qa", "dialogue"}

    def test_the_language_is_the_one_stated(self, records):
        for record in records:
            text = "".join(message["content"] for message in record["messages"])
            han = sum("\u4e00" <= character <= "\u9fff" for character in text)
            assert (han > len(text) / 3) == (record["language"] == "zh")

    def test_the_number_of_processes_changes_nothing(self):
        size = 2.5 * generate.CHUNK_RECORDS * generate.TOKENS_PER_RECORD
        alone = b"".join(generate.generate(size, seed=3, jobs=1))
        assert b"".join(generate.generate(size, seed=3, jobs=2)) == alone

    def test_seeds_differ(self, corpus):
        assert b"".join(generate.generate(3e5, seed=1, jobs=1)) != corpus

    def test_new_words_keep_appearing(self, records):
        words = [
            word
            for record in records
            if record["language"] == "en"
            for message in record["messages"]
            for word in message["content"].lower().split()
        ]
        half, whole = set(words[: len(words) // 2]), set(words)
        assert len(whole) > 1.3 * len(half)

    def test_the_command_writes_the_same(self, corpus, tmp_path):
        out = tmp_path / "corpus.jsonl"
        script = REPOSITORY / "benches" / "generate.py"
        subprocess.run([sys.executable, script, "--tokens", "3e5", "--out", out], check=True)
        assert out.read_bytes() == corpus

    @pytest.mark.shared
    def test_it_has_the_tokens_asked_for_at_four_and_a_half_bytes_each(self, corpus, records):
        if not QWEN.exists():
            pytest.skip(f"no tokenizer at {QWEN}")
        tokenizers = pytest.importorskip("tokenizers")
        tokenizer = tokenizers.Tokenizer.from_file(str(QWEN))
        texts = [message["content"] for record in records for message in record["messages"]]
        tokens = sum(len(e) for e in tokenizer.encode_batch_fast(texts, add_special_tokens=False))
        # The sample is small: a few parts in a hundred either way.
        assert tokens >= 0.97 * 3e5
        assert len(corpus) / tokens <= 4.5 * 1.02


class TestReport:
    @pytest.mark.parametrize("path", report.DOCUMENTS, ids=lambda path: path.name)
    def test_documents_have_places_for_the_tables(self, path):
        names = report.names_in(path.read_text(encoding="utf-8"))
        if path.name == "tokenizers.md":
            assert names == ["families"]
            return
        assert {"counting", "pipeline", "headline", "distances"} <= set(names)
        short = path.name == "README.md"
        assert {f"{name}_short" if short else name for name in ("features", "references")} <= set(names)

    def test_every_kept_table_has_a_place(self):
        results = report.load()
        if not results:
            pytest.skip("no results are kept yet: benches/run.py --update")
        places = {name for path in report.DOCUMENTS for name in report.names_in(path.read_text(encoding="utf-8"))}
        assert set(report.tables(results)) == places

    @pytest.mark.parametrize("path", report.DOCUMENTS, ids=lambda path: path.name)
    def test_documents_quote_the_kept_results(self, path):
        results = report.load()
        if not results:
            pytest.skip("no results are kept yet: benches/run.py --update")
        text = path.read_text(encoding="utf-8")
        assert report.fill(text, results) == text

    def test_a_table_goes_between_its_markers(self):
        text = "a\n<!-- bench:x -->\nold\n<!-- /bench:x -->\nb"
        assert report.put(text, "x", "new") == "a\n<!-- bench:x -->\nnew\n<!-- /bench:x -->\nb"

    def test_a_marker_without_its_partner_is_an_error(self):
        with pytest.raises(ValueError, match="pair up"):
            report.names_in("<!-- bench:x -->")


class TestVocabularies:
    def test_no_text_is_both_trained_on_and_tested(self, tmp_path, corpus):
        path = tmp_path / "corpus.jsonl"
        path.write_bytes(corpus)
        first = lambda record: (*record.earlier, record.answer)[0]  # noqa: E731
        halves = [{first(r) for r in harness.chosen(path, "en", training)} for training in (True, False)]
        assert min(map(len, halves)) > 10
        assert not halves[0] & halves[1]
        both = harness.chosen(path, "en", True) + harness.chosen(path, "en", False)
        assert sorted(both) == sorted(harness.chosen(path, "en", None))

    def test_documents_hold_all_utterances(self):
        utterances = [f"sentence {i} of a document" for i in range(2000)]
        documents = families.joined(utterances)
        assert "\n".join(documents).split("\n") == utterances
        assert all(families.DOCUMENT <= len(document) <= families.DOCUMENT + 30 for document in documents[:-1])

    def test_every_family_can_be_trained(self):
        for family in families.FAMILIES:
            configuration = vocabularies.CONFIGURATIONS[family.configuration]
            tokenizer = Tokenizer.from_str(json.dumps(configuration))
            assert tokenizer.get_vocab_size() <= 1

    def test_a_peer_that_refuses_a_file_has_a_dash(self):
        peer = {"mb_s": {"en": 120.0, "zh": 9.96, "documents": 200.0}, "wrong": 0}
        family = {
            "models": "A",
            "source": "trained",
            "engine": "byte-level BPE (gpt2)",
            "texts": 5,
            "peers": {"polyalign": peer, families.REFERENCE: peer | {"wrong": 2}},
            "failed": {"gigatoken 0.10": "no"},
        }
        row = families.row_of(family)
        assert row[:5] == ["A", "`gpt2`", "trained", "**120 / 10.0 / 200**", "120 / 10.0 / 200 (2 wrong)"]
        assert row[5:] == ["–"] * 3


class TestFeatures:
    @pytest.fixture
    def part(self, tmp_path: Path) -> Path:
        path = tmp_path / "part.json"
        path.write_text(json.dumps([[f"{i}是", "?"] for i in range(100, 160)]), encoding="utf-8")
        return path

    @pytest.fixture
    def state(self) -> features_worker.State:
        state = features_worker.State("")
        self.seen: list[str] = []
        state.tasks = {
            "each": features_worker.each(self.seen.append),
            "at once": features_worker.Task(lambda texts, prompts: self.seen.extend(zip(texts, prompts, strict=True))),
        }
        return state

    def test_a_task_without_a_budget_left_stops_after_a_step(self, state, part):
        texts, size, _ = state.time("each", str(part), budget=0.0)
        assert self.seen == [f"{i}是" for i in range(100, 100 + features_worker.STEP)]
        assert (texts, size) == (features_worker.STEP, 6 * features_worker.STEP)

    def test_a_task_with_budget_measures_every_text_once(self, state, part):
        assert state.time("each", str(part), budget=1e9)[:2] == (60, 360)
        assert self.seen == [f"{i}是" for i in range(100, 160)]

    def test_a_task_that_takes_many_gets_all_at_once_with_prompts(self, state, part):
        assert state.time("at once", str(part), budget=0.0)[:2] == (60, 360)
        assert self.seen == [(f"{i}是", "?") for i in range(100, 160)]

    def test_rounds_take_texts_of_their_own(self, tmp_path):
        pairs = [(f"text {i}", "prompt") for i in range(100)]
        options = harness.Options(None, tmp_path, quick=True, rounds=3, threads=1)
        parts = [json.loads(path.read_text()) for path in features.write_parts(pairs, tmp_path, "texts", options)]
        assert len(parts) == 4
        assert sorted(text for part in parts for text, _ in part) == sorted(text for text, _ in pairs)

    def test_a_peer_that_could_not_be_installed_is_not_measured(self):
        results = json.loads(json.dumps(report.load().get("features")))
        if results is None:
            pytest.skip("no results are kept yet: benches/run.py --update")
        for rates in results["rates"].values():
            rates.pop("textstat: readability", None)
        lines = [line for line in features.render(results).splitlines() if "textstat" in line]
        assert lines
        assert all("not measured" in line for line in lines)


class TestReferences:
    def test_every_command_has_a_label(self, tmp_path):
        (tmp_path / "qwen2.5.tokenizer.json").touch()
        options = harness.Options(None, tmp_path, quick=True, rounds=1, threads=2)
        commands = references.commands(options, tmp_path / "corpus.jsonl", tmp_path)
        assert list(commands) == list(references.LABELS)

    def test_a_command_that_lost_rows_is_an_error(self):
        references.check_rows("bucket", {"bucketed": 5, "rejected": 0}, 5)
        with pytest.raises(SystemExit, match="score used 4 of 5 rows"):
            references.check_rows("score", {"tally": {"used": 4}}, 5)

    def test_a_reference_is_compared_with_the_same_command_without(self):
        runs = {
            "bucket": {"seconds": 2.0, "cpu_seconds": 3.0},
            "bucket --reference": {"seconds": 3.0, "cpu_seconds": 6.0},
            "score": {"seconds": 1.0, "cpu_seconds": 1.0},
        }
        assert references.ratio({"commands": runs}, "bucket --reference") == "1.50× (2.00×)"
        assert references.ratio({"commands": runs}, "score") == ""


class TestPadding:
    @pytest.mark.parametrize("strategy", padding.STRATEGIES)
    def test_every_step_has_its_rows_and_none_comes_twice(self, strategy):
        pytest.importorskip("transformers", reason="the samplers are transformers': pip install 'polyalign[train]'")
        lengths = [1 + at * 37 % 101 for at in range(101)]
        found = list(padding.steps(strategy, lengths, (2, 3, 4)))
        assert [sum(map(len, step)) for step in found] == [24] * 4
        assert [len(step) for step in found] == [12] * 4
        seen = [size for step in found for batch in step for size in batch]
        assert len(set(seen)) == len(seen)

    def test_padding_is_what_is_not_filled(self, monkeypatch):
        monkeypatch.setattr(padding, "steps", lambda *_: iter([[[3, 1], [2, 2]], [[4, 4], [1, 3]]]))
        found = padding.measure_one("random", [], (2, 2, 1))
        assert found["padding"] == pytest.approx(1 - 20 / 24)
        assert (found["largest"], found["rows"]) == (8, 4)


class TestTraining:
    def test_the_interval_holds_the_median_and_narrows(self):
        few, many = [0.9, 1.0, 1.1] * 3, [0.9, 1.0, 1.1] * 300
        (low, high), (lower, higher) = step_times.interval(many), step_times.interval(few)
        assert lower <= low <= 1.0 <= high <= higher
        assert step_times.interval([1.25] * 9) == (1.25, 1.25)

    def test_ratios_are_of_the_same_step_and_leave_out_the_first(self):
        class Turn:
            on_gpu = False

            def __init__(self, seconds):
                self.seconds = [100.0] * step_times.WARM_UP + seconds

        turns = {step_times.TRL: Turn([1.0, 2.0, 4.0]), step_times.OURS: Turn([2.0, 4.0, 8.0])}
        found = step_times.compared(turns, step_times.OURS)
        assert found == {"ratio": 2.0, "low": 2.0, "high": 2.0, "steps": 3}


class TestWeighting:
    @pytest.fixture(scope="class")
    def weighting(self):
        pytest.importorskip("torch", reason="it trains: pip install 'polyalign[train]'")
        import weighting

        return weighting

    @pytest.fixture(scope="class")
    def rows(self, weighting):
        sizes = {"en|single|qa|short": 300, "zh|single|qa|short": 60}
        texts = [(bucket, at) for bucket, size in sizes.items() for at in range(size)]
        return [weighting.Row(bucket, f"{bucket}{at // 3}", f"what is {at}?\n", f"it is {at}") for bucket, at in texts]

    def study(self, weighting, **changed):
        study = weighting.Study(
            "tiny", 200, {**weighting.SMALL, "hidden_size": 16}, "adam", (0.01,), (1, 2), weighting.FEW
        )
        return weighting.dataclasses.replace(study, **changed)

    def test_groups_are_held_out_whole_and_buckets_have_at_most_so_many_rows(self, weighting, rows):
        parts = weighting.split(rows, self.study(weighting), seed=1)
        groups = {part: {row.group for row in found} for part, found in parts.items()}
        assert set(groups) == {"train", "validation", "test"}
        assert not groups["train"] & (groups["validation"] | groups["test"])
        assert not groups["validation"] & groups["test"]
        few = weighting.split(rows, self.study(weighting, most_rows=20), seed=1)["train"]
        assert [row.bucket for row in few].count("en|single|qa|short") == 20

    def test_a_corpus_in_small_keeps_a_few_rows_of_each_bucket(self, weighting, rows):
        whole, part, pool = (
            Counter(row.bucket for row in weighting.split(rows, self.study(weighting, **changed), seed=1)["train"])
            for changed in ({"most_rows": None}, {"most_rows": None, "part": 2}, {"most_rows": None, "pool": 30})
        )
        few = weighting.FEWEST
        assert whole["en|single|qa|short"] > 2 * few > few >= whole["zh|single|qa|short"]
        assert part["en|single|qa|short"] == whole["en|single|qa|short"] // 2
        assert part["zh|single|qa|short"] == whole["zh|single|qa|short"]
        assert 0 < max(pool.values()) <= 30

    def test_nll_is_that_of_each_responses_own_tokens(self, weighting, rows):
        import torch

        study = self.study(weighting)
        data = weighting.prepared(rows, study, 0, None)
        model = weighting.Small(study.model, data.tokens.tokenizer.get_vocab_size())
        some = [data.tokens.example(row) for row in data.train[:5]]
        found = weighting.nll(model, some).tolist()
        for example, value in zip(some, found, strict=True):
            ids = torch.tensor(example.ids)
            logps = model.llama(input_ids=ids[None]).logits[0, :-1].log_softmax(dim=-1)
            expected = -logps.gather(1, ids[1:, None])[example.prompt - 1 :].mean()
            assert value == pytest.approx(float(expected), rel=1e-4)
            assert ids[-1] == data.tokens.end

    def test_weights_or_draws_give_buckets_their_shares(self, weighting, rows):
        data = weighting.prepared(rows, self.study(weighting), 0, None)
        expected = weighting.bucket_weights(data.counts, tau=0.5)
        steps = len(data.train) // weighting.BATCH
        weighed, drawn = (
            list(weighting.itertools.islice(weighting.batches(data, weighting.Way(0.5, by), 0), 20 * steps))
            for by in ("weight", "sample")
        )
        for batch, weight in weighed[:steps]:
            assert weight.tolist() == pytest.approx([expected.weights[example.bucket] for example in batch])
        assert all((weight == 1).all() for _, weight in drawn)
        buckets = [example.bucket for batch, _ in drawn for example in batch]
        for bucket, share in expected.loss_shares.items():
            assert buckets.count(bucket) / len(buckets) == pytest.approx(share, abs=0.05)

    def test_it_goes_on_where_it_was_and_says_how_far_from_plain(self, weighting, rows, tmp_path, monkeypatch):
        study = self.study(weighting, ways=weighting.FEW[:2])
        monkeypatch.setattr(weighting, "STUDIES", (study,))
        path = tmp_path / "weighting.json"
        for seeds in ((weighting.PILOT, 0), (0, 1)):
            results = weighting.Results(path, {"machine": "this"})
            for seed in seeds:
                weighting.measure(study, rows, seed, weighting.Pretrained(None), results)
        assert len(results.runs) == 2 * 3
        assert json.loads(path.read_text())["runs"] == results.runs
        before = path.stat().st_mtime_ns
        weighting.measure(study, rows, 1, weighting.Pretrained(None), weighting.Results(path, {}))
        assert path.stat().st_mtime_ns == before
        lines = weighting.render(results, rare=False).splitlines()
        assert [line.split("|")[1:4] for line in lines[2:]] == [[" tiny ", f" {at} ", " 2 "] for at in (1, 2, "best")]
        assert all("±" in line for line in lines[2:])

    @pytest.mark.parametrize("rare", [False, True])
    def test_the_page_has_the_table_of_the_results(self, weighting, rare):
        results = weighting.Results(REPOSITORY / "benches" / "weighting.json", {})
        assert weighting.render(results, rare=rare) in (REPOSITORY / "docs" / "weights.md").read_text("utf-8")

    def test_a_cell_is_the_difference_seed_by_seed(self, weighting):
        assert weighting.cell({0: 1.5, 1: 2.5}, {0: 1.0, 1: 2.0}) == "+0.500 ±0.000"
        assert weighting.cell({0: 1.0, 1: 2.2}, {0: 1.0, 1: 2.0}) == "+0.100 ±1.271"
        assert weighting.cell({0: 0.5}, {0: 1.0, 1: 2.0}) == "-0.500"
        assert weighting.cell({}, {0: 1.0}) == ""


class TestGeneration:
    def test_answers_the_same_requests_both_ways(self) -> None:
        pytest.importorskip("transformers", reason="transformers is not installed: pip install 'polyalign[train]'")
        import pyarrow as pa

        import generation
        import tiny
        from polyalign.generation import Sampling, Selection, TransformersEngine

        rows = [{"id": f"r{at}", **row} for at, row in enumerate(tiny.responses(12).to_list())]
        engine = TransformersEngine(tiny.model(), tiny.tokenizer(), batch_tokens=60)
        sampling = Sampling(max_new_tokens=6, min_new_tokens=6)
        found = generation.measure(engine, pa.Table.from_pylist(rows), sampling, Selection(limit=10), turns=2)
        assert sum(found["batches"]) == found["requests"] == 10
        assert len(found["batches"]) > 1
        assert found["ratio"] > 0
        assert [len(times) for times in found["seconds"].values()] == [2, 2]


class TestLmFeatures:
    def test_both_ways_see_the_same(self) -> None:
        pytest.importorskip("transformers", reason="transformers is not installed: pip install 'polyalign[train]'")
        import lm_features
        import tiny
        from polyalign.generation import TransformersEngine

        rows = tiny.responses(9).to_list()
        words = tiny.tokenizer()
        words.bos_token = "<|system|>"
        texts = [row["completion"][0]["content"] for row in rows]
        engine = TransformersEngine(tiny.model(), words)
        found = lm_features.measure(engine, texts, [row["prompt"] for row in rows], batch_tokens=60)
        assert found["responses"] == 9
        assert found["largest_difference"] < 1e-3
        assert found["ratio"] > 0
