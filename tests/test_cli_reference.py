"""The commands of references and scores, run as a user runs them."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import polyalign
from conftest import Cli, clean_environment, write_jsonl
from test_cli import in_terminal, one_line

WORDS = {
    "en": "yes no well I think it was a good day for the old river and we walked home in rain with bread".split(),
    "zh": "是的 不 好 我 觉得 今天 天气 很 好 我们 一起 走 回家 下雨 了 河 边 面包 非常 好吃".split(),
}
ENDS = {"en": ".?!", "zh": "。？！"}


def record(number: int, language: str) -> dict[str, object]:
    """A question with a made-up human answer, another one for each number."""
    of = random.Random(f"{number} {language}")
    sentences = [
        (" " if language == "en" else "").join(of.choices(WORDS[language], k=of.randint(2, 9)))
        + of.choice(ENDS[language])
        for _ in range(of.randint(1, 4))
    ]
    question = {"en": "How was your day?", "zh": "今天过得怎么样？"}[language]
    return {
        "id": f"{language}{number}",
        "messages": [
            {"role": "user", "content": question},
            {"role": "assistant", "content": (" " if language == "en" else "").join(sentences)},
        ],
        "language": language,
        "family": "dialogue" if number % 3 else "qa",
    }


HUMANS = [record(number, language) for number in range(100) for language in ("en", "zh")]
ASSISTANT = {
    "en": "As an AI language model, I don't have days! However, here's what I can do:\n\n- **Listen**\n- **Help**",
    "zh": "作为一个人工智能语言模型，我没有“一天”的概念！不过，我可以：\n\n- **倾听**\n- **帮助**\n\n可以吗？",
}


@pytest.fixture
def humans(tmp_path: Path) -> Path:
    return write_jsonl(tmp_path / "humans.jsonl", HUMANS)


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    """An assistant's answers to some of the same questions, by the same ids."""
    rows = [
        {"id": human["id"], "language": human["language"], "family": human["family"], "prompt": "How was your day?",
         "completion": ASSISTANT[str(human["language"])]}
        for human in HUMANS[:20]
    ]  # fmt: skip
    return write_jsonl(tmp_path / "answers.jsonl", rows)


def fine(cli: Cli, *arguments: object, stdin: str | None = None) -> str:
    """Run a command that must go well and say nothing on standard error; return what it prints."""
    result = cli(*arguments, stdin=stdin)
    assert (result.returncode, result.stderr) == (0, ""), result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the buckets of the humans and their reference, made in one pass."""
    folder = tmp_path_factory.mktemp("made")
    write_jsonl(folder / "humans.jsonl", HUMANS)
    bucket = "bucket humans.jsonl -o bucketed --length-edges 10,25 --reference human.safetensors".split()
    subprocess.run(
        [sys.executable, "-m", "polyalign", *bucket],
        cwd=folder,
        env=clean_environment(),
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return folder


@pytest.fixture
def reference(made: Path, tmp_path: Path) -> Path:
    """The reference of the humans, beside them and their buckets."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path / "human.safetensors"


# Help


@pytest.mark.parametrize("command", [["build"], ["merge"], ["show"], ["diff"], []], ids=" ".join)
def test_reference_commands_teach(cli: Cli, command: list[str]) -> None:
    text = fine(cli, "reference", *command, "--help")
    assert f"polyalign reference {' '.join(command)}".strip() in text
    assert "Examples:" in text or "Start here:" in text


def test_score_has_the_documented_flags(cli: Cli) -> None:
    text = fine(cli, "score", "--help")
    flags = (
        "reference out join own-length tokenizer explain support min-count bucket-field json config threads max-rejects"
    )
    for flag in flags.split():
        assert f"--{flag} " in text


# Building


def test_bucket_makes_the_reference_that_build_makes_of_its_output(cli: Cli, reference: Path, tmp_path: Path) -> None:
    told = fine(cli, "reference", "build", "bucketed", "--out", "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == reference.read_bytes()
    for text in ("200 rows", "200 humans in", "0 rejected", "en|single|dialogue|", "written to again.safetensors"):
        assert text in told


def test_bucket_says_where_the_reference_is(cli: Cli, humans: Path, tmp_path: Path) -> None:
    bucket = ("bucket", humans, "--length-edges", "10,25", "--assignments-only", "--reference", "human.safetensors")
    assert "human.safetensors" in fine(cli, *bucket, "--out", "a", "--source", "made up", "--sample-size", "8")
    made = polyalign.Reference.load(tmp_path / "human.safetensors")
    assert (made.rows, made.sources, made._info["sample_size"]) == (200, ("made up",), 8)
    refused = cli(*bucket, "--out", "b")
    assert refused.returncode == 1
    assert one_line(refused.stderr) == "human.safetensors: exists already; --overwrite replaces it"
    assert not (tmp_path / "b").exists()
    report = json.loads(fine(cli, *bucket, "--out", "a", "--overwrite", "--json"))
    assert report["reference"] == "human.safetensors"
    dry = json.loads(fine(cli, *bucket, "--dry-run", "--json"))
    assert dry["reference"] is None


def test_others_may_read_a_reference_as_any_other_file(reference: Path, humans: Path) -> None:
    assert reference.stat().st_mode == humans.stat().st_mode


@pytest.mark.parametrize("threads", [1, 3])
def test_any_number_of_threads_gives_the_same_bytes(cli: Cli, reference: Path, tmp_path: Path, threads: int) -> None:
    made = tmp_path / "made.safetensors"
    fine(cli, "reference", "build", "bucketed", "-o", made, "--threads", threads)
    assert made.read_bytes() == reference.read_bytes()


def test_build_from_files_and_standard_input(cli: Cli, reference: Path, tmp_path: Path) -> None:
    import polyalign as pa

    schema = tmp_path / "schema.json"
    schema.write_text(pa.BucketSchema(length_edges=(10, 25), length_unit="words").to_json())
    rows = pq.read_table(tmp_path / "bucketed" / "data").to_pylist()
    lines = [{"prompt": row["prompt"], "completion": row["completion"], "in": {"b": row["bucket"]}} for row in rows]
    file = write_jsonl(tmp_path / "lines.jsonl", lines)
    build = (
        "reference",
        "build",
        "--bucket-field",
        "in.b",
        "--schema",
        schema,
        "--overwrite",
        "-o",
        "made.safetensors",
    )
    for source, stdin in ((file, None), ("-", file.read_text("utf-8"))):
        told = json.loads(fine(cli, *build, source, "--json", stdin=stdin))
        assert told["tally"]["used"] == told["rows"] == 200
        assert (tmp_path / "made.safetensors").read_bytes() == reference.read_bytes()


def test_build_json(cli: Cli, reference: Path) -> None:
    told = json.loads(
        fine(cli, "reference", "build", "bucketed", "-o", "b.safetensors", "--json", "--source", "z", "--source", "a")
    )
    assert told["output"] == "b.safetensors"
    assert told["sources"] == ["a", "z"]
    assert told["variant"] == "default"
    assert told["features"] == len(polyalign.features.registry())
    assert sum(bucket["rows"] for bucket in told["buckets"]) == told["rows"] == 200
    assert told["schema"]["length_edges"] == [10, 25]
    tally = told["tally"]
    assert (tally["rows"], tally["used"], tally["rejected"], tally["unreadable"]) == (200, 200, 0, [])


def test_build_of_the_papers_variant_and_a_limit(cli: Cli, reference: Path, tmp_path: Path) -> None:
    fine(cli, "reference", "build", "bucketed", "-o", "p.safetensors", "--variant", "paper", "--limit", "50")
    made = polyalign.Reference.load(tmp_path / "p.safetensors")
    assert (made.variant, made.rows) == ("paper", 50)


def test_settings_from_yaml(cli: Cli, reference: Path, tmp_path: Path) -> None:
    (tmp_path / "build.yaml").write_text("inputs: [bucketed]\nout: y.safetensors\nsource: [one, two]\nsample-size: 4\n")
    fine(cli, "reference", "build", "--config", "build.yaml")
    assert polyalign.Reference.load(tmp_path / "y.safetensors").sources == ("one", "two")
    (tmp_path / "score.yaml").write_text("inputs: humans.jsonl\nreference: y.safetensors\nlimit: 7\njson: true\n")
    assert json.loads(fine(cli, "score", "--config", "score.yaml"))["tally"]["rows"] == 7


def test_rows_without_a_bucket_are_rejected_and_counted(cli: Cli, reference: Path, tmp_path: Path) -> None:
    lines = [{"prompt": "a", "completion": "Yes.", "bucket": "en|single|qa|short"}] * 9
    write_jsonl(tmp_path / "some.jsonl", [*lines, {"prompt": "a", "completion": "b"}])
    result = cli("reference", "build", "some.jsonl", "-o", "some.safetensors")
    assert result.returncode == 4
    assert "1 of 10 rows rejected (10.0%), more than --max-rejects 0.01" in one_line(result.stderr)
    assert "rejected: 1 for bucket, the first at some.jsonl:10: the record has no bucket" in result.stdout
    assert "1 of 1 bucket have fewer than 20 humans" in result.stdout
    assert polyalign.Reference.load(tmp_path / "some.safetensors").rows == 9
    assert cli("reference", "build", "some.jsonl", "-o", "x.safetensors", "--max-rejects", "0.1").returncode == 0


def test_build_of_an_unreadable_file_exits_with_3(cli: Cli, tmp_path: Path) -> None:
    line = json.dumps({"prompt": "a", "completion": "Yes.", "bucket": "en|single|qa|short"})
    (tmp_path / "cut.json").write_text(f"[{line},{line[:20]}")
    result = cli("reference", "build", "cut.json", "-o", "cut.safetensors")
    assert result.returncode == 3
    assert "cut.json: unreadable" in one_line(result.stderr)
    assert polyalign.Reference.load(tmp_path / "cut.safetensors").rows == 1


# Merging and comparing


def test_halves_merge_to_the_whole(cli: Cli, reference: Path, tmp_path: Path) -> None:
    for half, rows in (("one", HUMANS[:77]), ("two", HUMANS[77:])):
        write_jsonl(tmp_path / f"{half}.jsonl", rows)
        fine(
            cli, "bucket", f"{half}.jsonl", "-o", half, "--length-edges", "10,25", "--reference", f"{half}.safetensors"
        )
    told = fine(cli, "reference", "merge", "two.safetensors", "one.safetensors", "--out", "both.safetensors")
    assert "200 humans in" in told
    assert (tmp_path / "both.safetensors").read_bytes() == reference.read_bytes()
    merge = ("reference", "merge", "one.safetensors", "--out", "both.safetensors")
    assert cli(*merge).returncode == 1
    assert json.loads(fine(cli, *merge, "--overwrite", "--json"))["merged"] == ["one.safetensors"]


def test_what_does_not_merge_is_named(cli: Cli, reference: Path, humans: Path, tmp_path: Path) -> None:
    fine(
        cli,
        "bucket",
        humans,
        "-o",
        "other",
        "--length-edges",
        "9",
        "--length-bins",
        "a,b",
        "--reference",
        "o.safetensors",
    )
    for command in (["merge", reference, "o.safetensors", "-o", "x.safetensors"], ["diff", reference, "o.safetensors"]):
        result = cli("reference", *command)
        assert result.returncode == 1
        assert one_line(result.stderr).startswith(f"{reference} and o.safetensors: references of different schemas")
    twice = cli("reference", "merge", reference, reference, "-o", "x.safetensors")
    assert twice.returncode == 1
    assert "given twice" in one_line(twice.stderr)
    assert not (tmp_path / "x.safetensors").exists()


@pytest.fixture
def assistant(cli: Cli, reference: Path, answers: Path, tmp_path: Path) -> Path:
    """A reference of the assistant's answers."""
    fine(cli, "bucket", answers, "-o", "said", "--length-edges", "10,25", "--reference", "assistant.safetensors")
    return tmp_path / "assistant.safetensors"


def test_diff_names_what_differs_most(cli: Cli, reference: Path, assistant: Path) -> None:
    found = json.loads(
        fine(cli, "reference", "diff", reference, assistant, "--json", "--min-count", "1", "--top", "5000")
    )
    assert found["a"]["rows"] == 200
    assert found["b"]["rows"] == 20
    assert found["common"]
    assert {bucket.rpartition("|")[2] for bucket in found["common"] + found["only_b"]} <= {"medium", "long"}
    assert found["compared"] == len(found["differences"]) > 0
    scaled = [row["wasserstein_scaled"] for row in found["differences"]]
    assert scaled == sorted(scaled, reverse=True)
    first = found["differences"][0]
    of = polyalign.Reference.load(reference)
    assert first["median"] == of.quantile(first["bucket"], first["feature"], 0.5, min_count=1)
    assert first["median"] != first["other_median"]
    shown = fine(cli, "reference", "diff", reference, assistant, "--min-count", "1", "--top", "3")
    for row in found["differences"][:3]:
        assert row["feature"] in shown
    assert found["differences"][40]["feature"] not in shown


def test_diff_writes_a_page(cli: Cli, reference: Path, assistant: Path, tmp_path: Path) -> None:
    said = fine(cli, "reference", "diff", reference, assistant, "--html", "diff.html", "--min-count", "1")
    assert said == "written to diff.html\n"
    page = (tmp_path / "diff.html").read_text("utf-8")
    assert '"names":["human","assistant"]' in page
    assert '"min_count":1,' in page
    found = json.loads(fine(cli, "reference", "diff", reference, assistant, "--html", "again.html", "--json"))
    assert found["common"]
    assert (tmp_path / "again.html").is_file()
    fine(
        cli,
        "bucket",
        "humans.jsonl",
        "-o",
        "x",
        "--length-edges",
        "9",
        "--length-bins",
        "a,b",
        "--reference",
        "o.safetensors",
    )
    result = cli("reference", "diff", reference, "o.safetensors", "--html", "no.html")
    assert result.returncode == 1
    assert one_line(result.stderr).startswith(f"{reference} and o.safetensors: references of different schemas")
    assert not (tmp_path / "no.html").exists()


def test_diff_of_few_humans_or_none(cli: Cli, reference: Path, assistant: Path) -> None:
    shown = fine(cli, "reference", "diff", reference, assistant)
    assert "left out for fewer than 20 values" in shown
    assert "only A has" in shown
    same = json.loads(fine(cli, "reference", "diff", reference, reference, "--json"))
    assert same["mean_wasserstein_scaled"] == 0
    assert same["only_a"] == same["only_b"] == []


# Looking


def test_show_lists_buckets_features_and_histograms(cli: Cli, reference: Path) -> None:
    buckets = json.loads(fine(cli, "reference", "show", reference, "--json"))["buckets"]
    assert [bucket["rows"] for bucket in buckets] == sorted((bucket["rows"] for bucket in buckets), reverse=True)
    shown = fine(cli, "reference", "show", reference)
    for bucket in buckets:
        assert bucket["bucket"] in shown
    assert "200 human responses" in shown
    assert "145 features; length edges 10, 25" in shown
    few = fine(cli, "reference", "show", reference, "-n", "2")
    assert [bucket["bucket"] in few for bucket in buckets] == [True, True] + [False] * (len(buckets) - 2)
    assert f"{len(buckets) - 2} more buckets" in few
    assert "█" in fine(cli, "reference", "show", reference, "--feature", "word_count")
    one = fine(cli, "reference", "show", reference, "--bucket", buckets[0]["bucket"])
    for feature in ("word_count", "comma_count"):
        assert feature in one
    both = fine(cli, "reference", "show", reference, "--bucket", buckets[0]["bucket"], "--feature", "word_count")
    assert buckets[0]["bucket"] in both
    assert buckets[1]["bucket"] not in both


def test_show_json_has_the_numbers(cli: Cli, reference: Path) -> None:
    of = polyalign.Reference.load(reference)
    bucket = of.buckets[0]
    cells = json.loads(fine(cli, "reference", "show", reference, "-b", bucket, "-f", "word_count", "--json"))
    (cell,) = cells
    assert (cell["bucket"], cell["feature"], cell["count"]) == (bucket, "word_count", of.count(bucket))
    assert cell["q50"] == of.quantile(bucket, "word_count", 0.5, min_count=1)
    assert sum(count for _, _, count in cell["bins"]) == cell["count"]
    everywhere = json.loads(fine(cli, "reference", "show", reference, "-f", "word_count", "--json"))
    assert [cell["bucket"] for cell in everywhere] == list(of.buckets)
    features = json.loads(fine(cli, "reference", "show", reference, "-b", bucket, "--json"))
    assert {cell["bucket"] for cell in features} == {bucket}
    assert {"word_count", "comma_count"} <= {cell["feature"] for cell in features}


def test_show_writes_a_page(cli: Cli, reference: Path, tmp_path: Path) -> None:
    assert fine(cli, "reference", "show", reference, "--html", "page.html") == "written to page.html\n"
    page = (tmp_path / "page.html").read_text("utf-8")
    assert page.startswith("<!doctype html>")
    assert "en|single|dialogue|" in page


@pytest.mark.parametrize("columns", [60, 100])
def test_tables_fit_a_terminal(reference: Path, answers: Path, columns: int) -> None:
    from rich.cells import cell_len
    from rich.text import Text

    of = polyalign.Reference.load(reference)
    for command in (
        ["reference", "show", reference],
        ["reference", "show", reference, "--feature", "word_count"],
        ["reference", "diff", reference, reference],
        ["score", answers, "-r", reference],
    ):
        lines = [Text.from_ansi(line).plain for line in in_terminal(*command, columns=columns).splitlines()]
        assert max(cell_len(line.rstrip()) for line in lines) <= columns
        if "diff" not in command:
            for bucket in {f"{known.rpartition('|')[0]}|" for known in of.buckets}:
                assert any(bucket in line for line in lines), command


# Scoring


def test_score_prints_a_table(cli: Cli, reference: Path, answers: Path) -> None:
    told = fine(cli, "score", answers, "--reference", reference)
    for text in (
        "20 rows",
        "20 scored",
        "en|single|dialogue|*",
        "zh|single|qa|*",
        "distance",
        "percentile",
        "served by",
        "all",
    ):
        assert text in told
    assert "humans: percentile 50%, beyond 95% 5%" in told


def test_humans_are_like_humans_and_assistants_are_not(cli: Cli, reference: Path, answers: Path) -> None:
    def scores(*arguments: object) -> dict[str, Any]:
        return dict(
            json.loads(fine(cli, "score", *arguments, "-r", reference, "--join", "bucketed", "--json"))["buckets"]
        )

    human, assistant = scores("humans.jsonl"), scores(answers)
    for bucket, score in human.items():
        if score["served_by"] == bucket:  # not by others beside them
            assert score["mean_percentile"] == pytest.approx(0.5, abs=0.02), bucket
    for bucket, score in assistant.items():
        assert score["mean_distance"] > 3 * human[bucket]["mean_distance"], bucket
        assert score["beyond_95"] == 1


def test_ids_that_match_no_human_answer_are_said(cli: Cli, reference: Path, tmp_path: Path) -> None:
    rows = [
        {"id": HUMANS[0]["id"], "prompt": "How was your day?", "completion": ASSISTANT["en"]},
        {"id": "not there", "prompt": "How was your day?", "completion": ASSISTANT["en"]},
    ]
    stranger = write_jsonl(tmp_path / "stranger.jsonl", rows)
    result = cli("score", stranger, "-r", reference, "--join", "bucketed", "--json")
    assert result.returncode == 0
    assert "1 of 2 responses name no bucket and join no human answer" in one_line(result.stderr)
    fine(cli, "score", write_jsonl(tmp_path / "known.jsonl", rows[:1]), "-r", reference, "--join", "bucketed")


def test_scoring_nothing_is_said(cli: Cli, reference: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").touch()
    result = cli("score", "empty.jsonl", "-r", reference)
    assert result.returncode == 0
    assert "the input holds no records" in one_line(result.stderr)


def test_a_language_of_few_humans_has_nobody(cli: Cli, tmp_path: Path) -> None:
    few = [{"prompt": "Hm?", "completion": f"Well, {place}.", "bucket": "en|single|qa|short"} for place in range(3)]
    many = [{"prompt": "嗯？", "completion": f"好的{place}。", "bucket": "zh|single|qa|short"} for place in range(30)]
    write_jsonl(tmp_path / "few.jsonl", few)
    told = fine(cli, "reference", "build", "few.jsonl", "-o", "few.safetensors")
    assert "1 of 1 bucket have fewer than 20 humans: nobody stands for them" in told
    lone = {"prompt": "嗯？", "completion": "好的。", "bucket": "zh|multi|qa|short"}
    write_jsonl(tmp_path / "both.jsonl", [*few, *many, lone])
    told = fine(cli, "reference", "build", "both.jsonl", "-o", "both.safetensors")
    assert "2 of 3 buckets have fewer than 20 humans: larger groups stand for them, nobody for 1" in told


def test_score_json_adds_up(cli: Cli, reference: Path, answers: Path) -> None:
    report = json.loads(fine(cli, "score", answers, "-r", reference, "--json"))
    assert report["tally"]["rows"] == report["tally"]["used"] == report["scored"] + report["unscored"] == 20
    assert sum(bucket["rows"] for bucket in report["buckets"].values()) == 20
    assert set(next(iter(report["buckets"].values()))) == {
        "served_by", "rows", "scored", "mean_distance", "mean_percentile", "beyond_95", "energy", "energy_floor"
    }  # fmt: skip


def test_lines_are_the_scores_of_python(cli: Cli, reference: Path, answers: Path, tmp_path: Path) -> None:
    fine(cli, "score", answers, "-r", reference, "--join", "bucketed", "--out", "scores.jsonl", "--explain", "2")
    lines = [json.loads(line) for line in (tmp_path / "scores.jsonl").read_text("utf-8").splitlines()]
    assert [line["id"] for line in lines] == [human["id"] for human in HUMANS[:20]]
    rows = pq.read_table(tmp_path / "bucketed" / "data").to_pylist()
    buckets = {row["id"]: row["bucket"] for row in rows}
    assert [line["bucket"] for line in lines] == [buckets[line["id"]] for line in lines]
    records = [json.loads(line) for line in answers.read_text("utf-8").splitlines()]
    distances = polyalign.Reference.load(reference).support_distance(
        [record["completion"] for record in records],
        [line["bucket"] for line in lines],
        prompts=[record["prompt"] for record in records],
    )
    assert [line["distance"] for line in lines] == pytest.approx(distances.tolist(), rel=1e-6)
    assert all(len(line["outside"]) == 2 for line in lines)


def test_parquet_holds_what_the_lines_hold(cli: Cli, reference: Path, answers: Path, tmp_path: Path) -> None:
    score = ("score", answers, "-r", reference, "--explain", "1")
    assert "written to scores.parquet" in fine(cli, *score, "-o", "scores.parquet")
    printed = cli(*score, "-o", "-")
    assert printed.returncode == 0
    assert "20 scored" in printed.stderr
    lines = [json.loads(line) for line in printed.stdout.splitlines()]
    for line, row in zip(lines, pq.read_table(tmp_path / "scores.parquet").to_pylist(), strict=True):
        assert row == {
            **line,
            "distance": pytest.approx(line["distance"]),
            "percentile": pytest.approx(line["percentile"]),
        }


@pytest.mark.parametrize("name", ["scores.jsonl", "scores.parquet"])
def test_scores_do_not_depend_on_threads(cli: Cli, reference: Path, humans: Path, tmp_path: Path, name: str) -> None:
    made = []
    for threads in (1, 3):
        fine(cli, "score", humans, "-r", reference, "-o", name, "--overwrite", "--threads", threads)
        made.append((tmp_path / name).read_bytes())
    assert made[0] == made[1]


def test_score_of_standard_input_and_own_length(cli: Cli, reference: Path, humans: Path) -> None:
    stdin = humans.read_text("utf-8")
    report = json.loads(fine(cli, "score", "-", "-r", reference, "--own-length", "--json", stdin=stdin))
    assert set(report["buckets"]) == set(polyalign.Reference.load(reference).buckets)
    joined = json.loads(fine(cli, "score", "-", "-r", reference, "--join", "bucketed", "--json", stdin=stdin))
    assert joined["buckets"] == report["buckets"]  # they are the very humans


def test_score_with_other_bands_and_fewer_humans(cli: Cli, reference: Path, answers: Path) -> None:
    def mean(*flags: object) -> float:
        buckets = json.loads(fine(cli, "score", answers, "-r", reference, "--json", *flags))["buckets"]
        return float(buckets["en|single|dialogue|*"]["mean_distance"])

    assert mean("--support", "0.25,0.75") > mean() > mean("--support", "0.01,0.99")
    served = json.loads(fine(cli, "score", answers, "-r", reference, "--json", "--min-count", "50"))["buckets"]
    assert served["en|single|qa|*"]["served_by"] == "en|single|*|*"


def test_what_has_no_score_is_said(cli: Cli, reference: Path, tmp_path: Path) -> None:
    rows = [
        {"prompt": "a", "completion": "Oui, bien sûr.", "bucket": "fr|single|qa|short"},
        {"prompt": "a", "completion": "Yes.", "bucket": "en|single|qa|tiny"},
        {"prompt": "a", "completion": "Yes.", "bucket": "en|qa"},
        {"x": 1},
        {"prompt": "a", "completion": "Yes.", "bucket": "en|single|qa|short"},
    ]
    write_jsonl(tmp_path / "odd.jsonl", rows)
    result = cli("score", "odd.jsonl", "-r", reference, "-o", "odd.scores.jsonl")
    assert result.returncode == 4
    assert "1 of 5 rows rejected" in one_line(result.stderr)
    assert "1 scored, 3 without a score, 1 rejected" in result.stdout
    assert "without a score: 1 (no_humans): no humans in `fr|*|*|*`" in result.stdout
    assert "nobody" in result.stdout
    lines = [json.loads(line) for line in (tmp_path / "odd.scores.jsonl").read_text("utf-8").splitlines()]
    assert [line["distance"] is None for line in lines] == [True] * 4 + [False]
    assert all(line["reason"] for line in lines[:4])


def test_a_reference_of_nobody_asked_for_is_refused(cli: Cli, reference: Path, tmp_path: Path) -> None:
    rows = [{"prompt": "a", "completion": "Yes.", "bucket": "en|qa"}, {"x": 1}]
    result = cli("score", write_jsonl(tmp_path / "odd.jsonl", rows), "-r", reference, "-o", "odd.scores.jsonl")
    assert result.returncode == 1
    assert 'the reference has humans for none of 1 responses: target "en|qa" has 2 parts' in one_line(result.stderr)
    assert not (tmp_path / "odd.scores.jsonl").exists()


@pytest.mark.parametrize(
    "option", [["--length-edges", "5,9,20"], ["--length-unit", "characters"], ["--axes", "language,length"]]
)
def test_buckets_of_another_schema_are_refused(
    cli: Cli, reference: Path, answers: Path, humans: Path, option: list[str]
) -> None:
    assert cli("bucket", humans, "--out", "others", *option).returncode == 0
    for arguments in ((answers, "--join", "others"), ("others",)):
        result = cli("score", *arguments, "-r", reference)
        assert result.returncode == 1, result.stdout
        assert "others: bucketed with" in one_line(result.stderr)
        assert "bucket the records alike" in result.stderr


def test_guessed_buckets_are_said_above_the_table(cli: Cli, reference: Path, answers: Path, tmp_path: Path) -> None:
    shown = fine(cli, "score", answers, "-r", reference)
    warning = shown.index("warning: 20 of 20 responses name no bucket: compared with all lengths")
    assert warning < shown.index("percentile")
    assert "--join BUCKETED" in shown
    assert "name no bucket" not in fine(cli, "score", answers, "-r", reference, "--join", "bucketed")
    write_jsonl(tmp_path / "bare.jsonl", [{"completion": "Yes.", "bucket": "en|single|qa|short"}] * 3)
    assert "warning: 3 of 3 responses have no prompt" in fine(cli, "score", "bare.jsonl", "-r", reference)


def test_a_pipe_may_close(reference: Path, humans: Path) -> None:
    humans.write_text(humans.read_text("utf-8") * 40, "utf-8")
    score = f"{sys.executable} -m polyalign score humans.jsonl -r human.safetensors --out - | head -1"
    shell = subprocess.run(
        ["bash", "-c", score],
        cwd=reference.parent,
        capture_output=True,
        text=True,
        env=clean_environment(),
        check=False,
    )
    assert json.loads(shell.stdout)["id"] == "en0"
    assert "Traceback" not in shell.stderr
    assert "Broken" not in shell.stderr


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["reference", "build", "-", "-o", "out.safetensors"], "interrupted; no reference was written"),
        (["score", "-", "-r", "human.safetensors", "-o", "out.jsonl"], "interrupted; no file was written"),
    ],
    ids=["build", "score"],
)
def test_interruption_leaves_nothing(reference: Path, tmp_path: Path, command: list[str], said: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "polyalign", *command],
        stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=clean_environment(),
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stderr is not None
    process.stdin.write(json.dumps(HUMANS[0]) + "\n")
    process.stdin.flush()
    time.sleep(1.5)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    assert one_line(process.stderr.read()) == said
    assert not list(tmp_path.glob("out*"))


# Features


def test_features_lists_the_registry(cli: Cli) -> None:
    known = polyalign.features.registry()
    assert json.loads(fine(cli, "features", "--json")) == json.loads(
        json.dumps([feature._asdict() for feature in known])
    )
    shown = fine(cli, "features", "--group", "readability", "--group", "sentiment")
    for feature in known:
        assert (f" {feature.name} " in f" {shown}") == (feature.group in ("readability", "sentiment"))
    assert "char_count" in fine(cli, "features", "--variant", "paper")


# Errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["reference", "nope"], "No such command"),
        (["reference", "build", "bucketed"], "'--out'"),
        (["reference", "build", "bucketed", "-o", "x.bin"], "'x.bin' is not a .safetensors file"),
        (["reference", "build", "bucketed", "-o", "x.safetensors", "--schema", "humans.jsonl"], "says its own schema"),
        (["reference", "build", "bucketed", "-o", "x.safetensors", "--sample-size", "-1"], "--sample-size"),
        (["reference", "merge", "-o", "x.safetensors"], "FILE"),
        (["reference", "show", "human.safetensors", "--html", "x.pdf"], "'x.pdf' is not an .html file"),
        (["reference", "diff", "human.safetensors", "human.safetensors", "--html", "x"], "'x' is not an .html file"),
        (["bucket", "humans.jsonl", "-o", "x", "--source", "s"], "give --reference too"),
        (["bucket", "humans.jsonl", "-o", "x", "--reference", "r"], "'r' is not a .safetensors file"),
        (["score", "humans.jsonl"], "--reference"),
        (["score", "humans.jsonl", "-r", "human.safetensors", "--support", "0.9,0.1"], "not two rising shares"),
        (["score", "humans.jsonl", "-r", "human.safetensors", "--support", "0.5"], "not two rising shares"),
        (["score", "humans.jsonl", "-r", "human.safetensors", "--explain", "2"], "the lines of --out"),
        (["score", "humans.jsonl", "-r", "human.safetensors", "--json", "-o", "-"], "give --out a file"),
        (["features", "--group", "x"], "'x' is not one of length, structure"),
    ],
)
def test_usage_errors_exit_with_2(cli: Cli, reference: Path, arguments: list[str], message: str) -> None:
    result = cli(*arguments)
    assert result.returncode == 2, result.stderr
    assert message in one_line(result.stderr)
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["reference", "show", "nope.safetensors"], "nope.safetensors: no such file"),
        (["reference", "show", "humans.jsonl"], "humans.jsonl: it is no safetensors file"),
        (["reference", "show", "cut.safetensors"], "cut.safetensors: it is no safetensors file, or a damaged one"),
        (["reference", "show", "old.safetensors"], "old.safetensors: its features are those of registry version 0"),
        (["reference", "show", "bucketed"], "bucketed: a folder without human.safetensors"),
        (["reference", "show", "some/reference"], "HF_HUB_OFFLINE"),
        (["reference", "show", "human.safetensors", "--feature", "word_cout"], "did you mean 'word_count'"),
        (["reference", "show", "human.safetensors", "--bucket", "en|single|qa|shrot", "--json"], "did you mean"),
        (["reference", "build", "humans.jsonl", "-o", "x.safetensors"], "polyalign bucket"),
        (["reference", "build", "nope", "-o", "x.safetensors"], "nope"),
        (["reference", "build", "bucketed", "-o", "nope/x.safetensors"], "a file in a folder that exists"),
        (["reference", "build", "bucketed", "-o", "human.safetensors"], "--overwrite"),
        (["reference", "merge", "human.safetensors", "cut.safetensors", "-o", "x.safetensors"], "cut.safetensors"),
        (["score", "nope.jsonl", "-r", "human.safetensors"], "nope.jsonl"),
        (["score", "humans.jsonl", "-r", "human.safetensors", "-o", "x.csv"], "name a .jsonl or .parquet file"),
        (["score", "humans.jsonl", "-r", "human.safetensors", "-o", "humans.jsonl"], "--overwrite"),
        (["score", "humans.jsonl", "-r", "human.safetensors", "-o", "nope/x.jsonl"], "there is no folder nope"),
        (["reference", "show", "human.safetensors", "--html", "nope/x.html"], "there is no folder nope"),
        (["score", "humans.jsonl", "-r", "human.safetensors", "--join", "humans.jsonl"], "polyalign bucket"),
    ],
)
def test_errors_are_one_line_and_exit_with_1(cli: Cli, reference: Path, arguments: list[str], message: str) -> None:
    data = reference.read_bytes()
    reference.with_name("cut.safetensors").write_bytes(data[: len(data) // 2])
    old = data.replace(b'\\"registry_version\\":2', b'\\"registry_version\\":0')
    assert old != data
    reference.with_name("old.safetensors").write_bytes(old)
    result = cli(*arguments)
    assert result.returncode == 1, result.stderr
    assert message in one_line(result.stderr)
    assert result.stdout == ""
    assert not reference.with_name("x.safetensors").exists()
    assert reference.read_bytes() == data
