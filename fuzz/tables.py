"""Damaged tables and packed files, in forked processes with a memory bound: no input ends the process.

    python fuzz/tables.py [CASES] [SEED] [FORMAT ...]

Every case is a well-formed input with a few bytes changed, most of them where lengths stand. It must be read, or be
refused in one line; a signal, a panic, an internal error, a message of several lines, memory beyond the bound or a
minute without an end is a finding: its bytes are written to `findings/` and its number is printed.
"""

from __future__ import annotations

import gzip
import io
import json
import logging
import os
import random
import resource
import signal
import struct
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
from arro3.core import Table as OtherTable
from tokenizers import Tokenizer, models, pre_tokenizers

import polyalign
from polyalign.distances import energy_distance
from polyalign.features import extract
from polyalign.reference import Reference, example_table

# Beyond what the process has when it forks: 1 GiB is what a small file may unpack to.
MEMORY = 2 << 30
SECONDS = 60
# Cases of one process.
BATCH = 50
_MEMORY_DISK = "/dev/shm" if Path("/dev/shm").is_dir() else None

Case = bytes
Check = Callable[[Case, Path], bool]


# ------------------------------------------------------------------------------------------------- well-formed inputs


def rows(count: int) -> list[dict[str, Any]]:
    """Return records with every kind of value that a reader of tables meets."""
    long = "a longer answer that a view keeps aside " * 3
    return [
        {
            "id": f"r{at}",
            "prompt": [{"role": "user", "content": f"Question {at}, 你好?"}],
            "completion": None if at % 7 == 6 else f"Answer {at}. {long if at % 2 else 'é'}",
            "language": ["en", "zh", None][at % 3],
            "score": at / 3,
            "flags": [True, None, False][: at % 4],
            "bucket": "en|single|qa|short",
        }
        for at in range(count)
    ]


def tables() -> list[pa.Table]:
    """Return small tables of the same records in different layouts."""
    plain = pa.Table.from_pylist(rows(12))
    views = plain.select(["prompt", "completion", "language"])
    views = views.set_column(1, "completion", views["completion"].cast(pa.string_view()))
    labels = plain.select(["completion", "language", "bucket"])
    labels = labels.set_column(1, "language", labels["language"].combine_chunks().dictionary_encode())
    labels = labels.add_column(0, "prompt", pa.array(["p"] * 12, pa.large_string()).dictionary_encode())
    odd = plain.select(["completion"]).append_column("prompt", pa.array(["q"] * 12))
    odd = odd.append_column("map", pa.array([[("k", 1)]] * 12, pa.map_(pa.string(), pa.int64())))
    odd = odd.append_column("when", pa.array([1] * 12, pa.timestamp("s", "Europe/Paris")))
    odd = odd.append_column("day", pa.array([1] * 12, pa.date64())).append_column(
        "at", pa.array([1] * 12, pa.time32("s"))
    )
    odd = odd.append_column("runs", pa.RunEndEncodedArray.from_arrays([5, 12], ["a", "b"]))
    odd = odd.append_column("seen", pa.array([[1, None]] * 12, pa.list_view(pa.int16())))
    odd = odd.append_column("bits", pa.array([b"0123456789abcdef"] * 12, pa.binary_view()))
    odd = odd.append_column("vector", pa.array([[1.0, 2.0]] * 12, pa.list_(pa.float32(), 2)))
    odd = odd.append_column("none", pa.nulls(12)).append_column("raw", pa.array([b"\xff"] * 12))
    return [plain, views, labels, odd]


def arrow(new: Callable[..., Any]) -> Callable[[], list[Case]]:
    """Return what makes IPC data by one of pyarrow's writers, plain and packed."""

    def seeds() -> list[Case]:
        made = []
        for table in tables():
            for codec in (None, "lz4", "zstd"):
                sink = io.BytesIO()
                with new(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression=codec)) as writer:
                    writer.write_table(table, max_chunksize=5)
                made.append(sink.getvalue())
        return made

    return seeds


def parquet_files() -> list[Case]:
    """Return Parquet of all codecs and encodings."""
    seeds = []
    for whole in tables():
        table = whole.drop_columns([name for name in ("runs", "seen", "bits") if name in whole.column_names])
        for codec, version in (
            ("none", "1.0"),
            ("snappy", "2.0"),
            ("zstd", "1.0"),
            ("gzip", "2.0"),
            ("lz4", "1.0"),
            ("brotli", "2.0"),
        ):
            sink = io.BytesIO()
            pq.write_table(table, sink, compression=codec, data_page_version=version, row_group_size=6)
            seeds.append(sink.getvalue())
    return seeds


def lines() -> Case:
    """Return records as lines."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows(40)).encode()


def gzips() -> list[Case]:
    """Return lines in one member and in two."""
    return [gzip.compress(lines()), gzip.compress(lines()[:999]) + gzip.compress(lines()[999:])]


def zstds() -> list[Case]:
    """Return lines in one frame and in two."""
    codec = pa.Codec("zstd")
    pack = lambda data: codec.compress(data, asbytes=True)  # noqa: E731
    return [pack(lines()), pack(lines()[:999]) + pack(lines()[999:])]


# ------------------------------------------------------------------------------------------------------------ changes

_SMALL = (0, 1, 2, 7, 255, -1, -2, -8)
_LENGTHS = (*_SMALL, *((1 << bits) - down for bits in (16, 20, 31, 32, 33, 40, 62) for down in (0, 1)))
_BYTES = (b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xff\xff\xff\xff", b"\x80", b"\x00", b"ARROW1", b"PAR1")


def change(seeds: list[Case], dice: random.Random) -> Case:
    """Return a seed with a few changes."""
    case = bytearray(dice.choice(seeds))
    for _ in range(1 + dice.randrange(3) + (dice.randrange(20) if dice.random() < 0.1 else 0)):
        at = dice.randrange(len(case) + 1)
        how = dice.randrange(10)
        if how < 3:  # a length, where lengths are aligned
            size, form = dice.choice([(8, "<q"), (4, "<i"), (2, "<h")])
            at -= at % (size if dice.random() < 0.8 else 1)
            mask = (1 << (8 * size - 1)) - 1
            number = dice.choice(_LENGTHS)
            case[at : at + size] = struct.pack(form, number if number < 0 else number & mask)
        elif how < 5 and at < len(case):
            case[at] ^= 1 << dice.randrange(8)
        elif how < 6 and at < len(case):
            case[at] = dice.randrange(256)
        elif how < 7:
            piece = dice.choice(_BYTES)
            case[at : at + len(piece)] = piece
        elif how < 8:
            del case[at : at + dice.randrange(16)]
        elif how < 9:
            case[at:at] = case[at : at + dice.randrange(64)]
        else:
            del case[at:]
    return bytes(case)


# ------------------------------------------------------------------------------------------------------------- checks

_bucketer = polyalign.Bucketer(polyalign.BucketSchema(length_edges=[5, 20]))
_reference = Reference.from_arrow(example_table())


def bucketed(suffix: str) -> Check:
    """Return a check that buckets a file, and writes what it can."""

    def check(case: Case, folder: Path) -> bool:
        file = folder / f"case{suffix}"
        file.write_bytes(case)
        report = _bucketer.bucket_files(file, folder / "out", threads=1, overwrite=True)
        assert report.rows == report.bucketed + report.rejected
        return report.bucketed > 0

    return check


def handed_on(case: Case, _: Path) -> bool:
    """Give all that pyarrow makes of a file to everything that takes tables and columns."""
    try:
        table = pa.ipc.open_file(pa.py_buffer(case)).read_all()
    except pa.ArrowException:  # what pyarrow does not read is not handed on
        return False
    taken = 0
    for data in (table, *_others(table)):
        taken += _tried(lambda data=data: _bucketer.assign(data, threads=1))
        taken += _tried(lambda data=data: Reference.from_arrow(data))
    for column in table.columns:
        for _, use in columns():
            taken += _tried(lambda use=use, column=column: use(column))
    return taken > 0


def _others(table: pa.Table) -> Iterator[OtherTable]:
    """Yield the table as another library has it, if it is sound and that library takes it.

    Others than pyarrow don't say how long their buffers are, so that what is cut off can't be seen.
    """
    try:
        table.validate()
        other = OtherTable.from_arrow(table)
    except KeyboardInterrupt:
        raise
    except BaseException:  # a panic there is no Exception
        return
    yield other


def columns() -> Iterator[tuple[str, Callable[[Any], Any]]]:
    """Yield everything that takes a column."""
    yield "count", _counter().count
    yield "features", lambda column: extract(column, "en", threads=1)
    yield "prompts", lambda column: extract(["one"] * len(column), "en", prompts=column, threads=1)
    yield "distance", lambda column: _reference.support_distance(column, "en|single|qa|short", threads=1)
    yield "floats", lambda column: energy_distance(column, [1.0, 2.0])


_counters: list[Any] = []


def _counter() -> Any:
    if not _counters:
        tokenizer = Tokenizer(models.BPE({"a": 0, "b": 1}, []))
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        _counters.append(polyalign.TokenCounter(tokenizer))
    return _counters[0]


def _tried(use: Callable[[], Any]) -> int:
    try:
        use()
    except (ValueError, TypeError, OSError) as error:
        _one_line(error)
        return 0
    return 1


def _one_line(error: Exception) -> None:
    if "\n" in str(error) or "internal error" in str(error) or not str(error):
        raise AssertionError(f"not one line: {error!r}")


FORMATS: dict[str, tuple[Callable[[], list[Case]], Check]] = {
    "arrow": (arrow(pa.ipc.new_file), bucketed(".arrow")),
    "arrows": (arrow(pa.ipc.new_stream), bucketed(".arrows")),
    "parquet": (parquet_files, bucketed(".parquet")),
    "gz": (gzips, bucketed(".jsonl.gz")),
    "zst": (zstds, bucketed(".jsonl.zst")),
    "pycapsule": (arrow(pa.ipc.new_file), handed_on),
}


# -------------------------------------------------------------------------------------------------------------- runs


def run(name: str, cases: int, seed: int) -> tuple[int, list[tuple[int, str]]]:
    """Return how many cases were taken, and the findings: numbers of cases and what became of them."""
    make, check = FORMATS[name]
    seeds = make()
    taken, findings, number = 0, [], 0
    while number < cases:
        end = min(cases, number + BATCH)
        number, more, finding = _forked(check, [_case(seeds, seed, at) for at in range(number, end)], number)
        taken += more
        if finding:
            findings.append((number - 1, finding))
            path = Path("findings") / f"{name}-{seed}-{number - 1}"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(_case(seeds, seed, number - 1))
    return taken, findings


def _case(seeds: list[Case], seed: int, number: int) -> Case:
    return change(seeds, random.Random(f"{seed}/{number}"))


def _forked(check: Check, cases: list[Case], first: int) -> tuple[int, int, str]:
    """Check cases in a process of its own, until one is a finding; return the number after the last, and so on."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _bounded()
        warnings.simplefilter("ignore")
        logging.disable()
        with tempfile.TemporaryDirectory(dir=_MEMORY_DISK) as folder:
            for case in cases:
                os.write(writer, b"s")
                outcome = _outcome(check, case, Path(folder))
                os.write(writer, outcome)
                if outcome.startswith(b"!"):
                    break
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        told = pipe.read()
    _, status = os.waitpid(child, 0)
    states, _, finding = told.partition(b"!")
    number = first + states.count(b"s")
    if not finding and status:
        finding = f"ended by signal {os.WTERMSIG(status)}".encode() if os.WIFSIGNALED(status) else b"exited"
    return number, states.count(b"+"), finding.decode("utf-8", "replace")


def _outcome(check: Check, case: Case, folder: Path) -> bytes:
    signal.alarm(SECONDS)
    try:
        try:
            taken = check(case, folder)
        except (ValueError, TypeError, OSError) as error:
            _one_line(error)
            taken = False
    except BaseException as error:  # a panic is no Exception
        return f"!{type(error).__name__}: {error}".encode("utf-8", "replace")[:2000]
    signal.alarm(0)
    return b"+" if taken else b"-"


def _bounded() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    bound = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (bound, bound))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main(arguments: list[str]) -> int:
    """Run all formats, or those that are named."""
    numbers = [int(argument) for argument in arguments if argument.isdecimal()]
    names = [argument for argument in arguments if not argument.isdecimal()] or list(FORMATS)
    cases, seed = [*numbers, *(10_000, 0)[len(numbers) :]]
    found = 0
    for name in names:
        taken, findings = run(name, cases, seed)
        found += len(findings)
        print(f"{name}: {cases} cases of seed {seed}: {taken} taken, {len(findings)} findings", flush=True)
        for number, finding in findings:
            print(f"  {number}: {finding}", flush=True)
    return min(found, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
