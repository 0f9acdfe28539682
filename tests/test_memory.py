"""Memory and descriptors are bounded by bytes held, whatever the input: each case in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from conftest import clean_environment

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")

_BEFORE = """
import json, sys
import polyalign as pa

folder = sys.argv[1]

def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))

def reset():
    with open("/proc/self/clear_refs", "w") as refs:
        refs.write("5")
    return peak()

"""


def grown(folder: Path, script: str, *more: object) -> float:
    """MiB by which the peak grows while the script's `run()` runs."""
    code = f"{_BEFORE}{textwrap.dedent(script)}\nbefore = reset()\nrun()\nprint(peak() - before)"
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder), *map(str, more)],
        capture_output=True,
        text=True,
        env=clean_environment(POLYALIGN_NUM_THREADS="2"),
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return float(done.stdout.splitlines()[-1])


def test_millions_of_empty_records(tmp_path: Path) -> None:
    """12 MB of lines, a few hundred bytes on disk: each line is a reject."""
    script = """
        import gzip
        path = folder + "/in.jsonl.gz"
        with gzip.open(path, "wb", compresslevel=1) as file:
            for _ in range(40):
                file.write(b"{}\\n" * 100_000)
        bucketer = pa.Bucketer(pa.BucketSchema(length_unit="words"), shape="prompt_completion")
        def run():
            assert bucketer.bucket_files(path, None).rejected == 4_000_000
    """
    # How many blocks are under way depends on what else runs: 93 to 152 were seen on a busy machine.
    assert grown(tmp_path, script) < 200


def test_texts_in_the_place_of_labels(tmp_path: Path) -> None:
    script = """
        path = folder + "/in.jsonl"
        with open(path, "w") as file:
            for at in range(40):
                record = {"prompt": "a", "completion": "It is so.", "family": "qa", "topic": f"{at} " + "x" * (1 << 20)}
                file.write(json.dumps(record) + "\\n")
        axes = ["language", "track", "family", "length", {"name": "topic", "column": "topic"}]
        bucketer = pa.Bucketer(pa.BucketSchema(length_unit="words", axes=axes))
        def run():
            report = bucketer.bucket_files(path, folder + "/out")
            assert report.rejected == 40 and "more than the 1024 of a label" in report.first_rejects[0]['reason']
    """
    assert grown(tmp_path, script) < 200


@pytest.mark.parametrize("writer", ["pyarrow", "polars"])
def test_one_long_string_in_a_dictionary(tmp_path: Path, writer: str) -> None:
    """900 MiB decoded, a few kilobytes on disk."""
    script = """
        import polars, pyarrow, pyarrow.parquet
        text = "It is so. " * 100_000
        path = folder + "/in.parquet"
        columns = {"prompt": ["a"] * 900, "completion": [text] * 900}
        if sys.argv[2] == "polars":
            polars.DataFrame(columns).write_parquet(path, statistics=False)
        else:
            pyarrow.parquet.write_table(pyarrow.table(columns), path, dictionary_pagesize_limit=1 << 30)
        del columns
        bucketer = pa.Bucketer(pa.BucketSchema(length_unit="characters"))
        def run():
            assert bucketer.bucket_files(path, None).bucketed == 900
    """
    assert grown(tmp_path, script, writer) < 400


def test_one_long_word(tmp_path: Path, tokenizer_file: Path) -> None:
    """Counted in windows, and what it needed is given back."""
    script = """
        import random
        counter = pa.TokenCounter(sys.argv[2])
        word = "".join(random.Random(0).choices("abcdefghijklmnopqrstuvwxyz", k=8_000_000))
        def run():
            assert counter.count(word) > 1_000_000
    """
    assert grown(tmp_path, script, tokenizer_file) < 30


@pytest.mark.parametrize("prompted", [False, True], ids=["alone", "prompted"])
@pytest.mark.parametrize(
    ("language", "kind"),
    [
        ("en", "distinct words"),
        ("en", "one word"),
        ("en", "letters"),
        ("en", "lines"),
        ("en", "one long word"),
        ("en", "emoji"),
        ("en", "marks"),
        ("en", "GOOD "),
        ("zh", "clauses"),
        ("zh", "no clauses"),
        ("zh", "one long word"),
    ],
)
def test_features_of_a_long_text(tmp_path: Path, language: str, kind: str, prompted: bool) -> None:
    """At most 8 bytes for each of the text's, its prompt's among them."""
    if prompted and kind not in {"distinct words", "letters", "no clauses"}:
        pytest.skip("the words of the others are few")
    script = """
        import random
        _, _, language, kind, prompted = sys.argv
        bytes, source = 8 << 20, random.Random(0)
        han = "".join(chr(0x4E00 + source.randrange(3000)) for _ in range(50_000))
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"
        def word(number):
            return "".join(digits[number // 36**place % 36] for place in range(5))
        text = {
            "distinct words": lambda: " ".join(word(at * 22_801_763) for at in range(bytes // 6)),
            "letters": lambda: " ".join(source.choices(digits, k=bytes // 2)),
            "lines": lambda: "a\\n" * (bytes // 2),
            "one long word": lambda: "".join(source.choices(digits, k=1000)) * (bytes // 1000),
            "emoji": lambda: "\U0001f600\U0001f389" * (bytes // 8),
            "marks": lambda: "!?. " * (bytes // 4),
            "clauses": lambda: "".join(han[at % 49_000 :][:30] + "，" for at in range(0, bytes // 3, 31)),
            "no clauses": lambda: han * (bytes // 150_000),
        }.get(kind, lambda: kind * (bytes // len(kind)))()
        size = len(text.encode())
        prompts = [[{"role": "user", "content": text}]] if prompted == "True" else None
        size += size * (prompts is not None)
        pa.features.extract(["It is so. 是的。"], language)
        before = reset()
        pa.features.extract([text], language, prompts=prompts)
        print("default", (peak() - before) * 2**20 / size)
        before = reset()
        pa.features.extract([text], language, variant="paper")
        print("paper", (peak() - before) * 2**20 / size)
    """
    done = subprocess.run(
        [sys.executable, "-c", _BEFORE + textwrap.dedent(script), str(tmp_path), language, kind, str(prompted)],
        capture_output=True,
        text=True,
        # What is given back is given to the system.
        env=clean_environment(
            POLYALIGN_NUM_THREADS="1", MALLOC_MMAP_THRESHOLD_="262144", MALLOC_TRIM_THRESHOLD_="262144"
        ),
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    times = {name: float(value) for name, value in map(str.split, done.stdout.splitlines())}
    assert max(times.values()) <= 8, times


def test_reasons_that_hold_the_records_words(tmp_path: Path) -> None:
    script = """
        sys.path.insert(0, sys.argv[2])
        from humans import SCHEMA, records
        bucketer = pa.Bucketer(SCHEMA)
        corpus, path = folder + "/corpus.jsonl", folder + "/in.jsonl"
        with open(corpus, "w") as file:
            file.writelines(json.dumps(record) + "\\n" for record in records())
        bucketer.bucket_files(corpus, folder + "/out")
        reference = pa.Reference.build(folder + "/out")
        with open(path, "w") as file:
            for at in range(24_000):
                bucket = f"nonsense {at} {'x' * 100}" if at % 2 else f"en|single|made-up {at}|short"
                file.write(json.dumps({"prompt": "a", "completion": "Yes.", "bucket": bucket}) + "\\n")
        def run():
            report = reference.score_files(path)
            assert len(json.dumps(report)) < 2_500_000
            assert report["unscored_by_reason"]["bucket"] == 12_000
            assert len(report["buckets"]) == 10_001
            assert sum(bucket["rows"] for bucket in report["buckets"].values()) == 12_000
    """
    assert grown(tmp_path, script, Path(__file__).parent) < 300


def test_thousands_of_folders_with_few_descriptors(tmp_path: Path) -> None:
    script = """
        import resource
        path = folder + "/in.jsonl"
        with open(path, "w") as file:
            for at in range(2_000):
                record = {"prompt": "a", "completion": "It is so.", "language": "en", "family": f"f{at % 1000}"}
                file.write(json.dumps(record) + "\\n")
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
        bucketer = pa.Bucketer(pa.BucketSchema(length_unit="words"))
        def run():
            report = bucketer.bucket_files(path, folder + "/out", partition_by=["family"])
            assert report.bucketed == 2_000 and report.shards == 1_000
    """
    assert grown(tmp_path, script) < 250
