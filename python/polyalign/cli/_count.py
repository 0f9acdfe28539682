"""``polyalign count``."""

from __future__ import annotations

import glob
import io
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import click

from polyalign._io import bucketed, json_text
from polyalign.cli import _options as options
from polyalign.cli._against import Comparison, compare
from polyalign.cli._exit import exit_code
from polyalign.cli._help import READING, TOKENS, command, flag

if TYPE_CHECKING:
    from polyalign.buckets import Bucketer, Report
    from polyalign.tokens import TokenCounter

_RECORD_SUFFIXES = (".jsonl", ".ndjson", ".json", ".parquet", ".arrow", ".feather", ".ipc")
_LINES_PER_BATCH = 10_000
_PACKED = {b"\x1f\x8b": "zcat", b"\x28\xb5\x2f\xfd": "zstdcat"}

_EXAMPLES = """
Examples:
  polyalign count corpus.jsonl.zst --tokenizer Qwen/Qwen2.5-1.5B
  polyalign count *.txt --tokenizer tokenizer.json --json
  cat corpus.jsonl | polyalign count - --tokenizer tokenizer.json
  echo "Hello, world!" | polyalign count - --lines --tokenizer tokenizer.json
  polyalign count corpus.jsonl --tokenizer tokenizer.json --bench --validate
"""

Kind = Literal["records", "text", "lines"]


@dataclass(frozen=True)
class _Row:
    """What one input holds."""

    file: str
    kind: Kind
    texts: int
    tokens: int
    rejected: int = 0


@command(_EXAMPLES)
@options.inputs
@options.tokenizer(required=True)
@options.count
@flag("--text", "Every input is one plain text, whatever its name.", READING)
@flag("--lines", "Every line is a text of its own, whatever the input's name.", READING)
@flag("--bench", "Also say how fast the texts are counted, here and by the installed library.", TOKENS)
@flag("--validate", "Also count every text by the installed library: exit with 1 if a count differs.", TOKENS)
@options.records
@options.keep_thinking
@options.limits
@options.running
def count(
    inputs: tuple[str, ...],
    tokenizer: str,
    count: Any,
    text: bool,
    lines: bool,
    bench: bool,
    validate: bool,
    keep_thinking: bool,
    limit: int | None,
    max_record_bytes: int,
    max_rejects: float,
    threads: int | None,
    json: bool,
    **rest: Any,
) -> int:
    """Count the tokens of texts or records, per input and in total.

    JSONL, JSON, Parquet and Arrow files (also .gz, .zst), folders, hub data sets and standard input (-) are read
    as records, as polyalign bucket reads them; a file of another name is one plain text. Counts are exactly those of
    the tokenizers library, without special tokens, or, of a tokenizer.model, of sentencepiece: --validate checks it.
    """
    from polyalign.buckets import Bucketer, BucketSchema
    from polyalign.tokens import TokenCounter

    if text and lines:
        raise click.UsageError("give one of --text and --lines")
    if (bench or validate) and "-" in inputs:
        raise click.UsageError("--bench and --validate read what is counted again: give files, not -")
    counter = TokenCounter(tokenizer)
    bucketer = Bucketer(
        BucketSchema(axes=["length"]),
        counter,
        count=count,
        keep_thinking=keep_thinking,
        **options.reading(rest),
    )
    forced: Kind | None = "text" if text else "lines" if lines else None
    bounds = {"max_record_bytes": max_record_bytes, "threads": threads}
    rows = []
    code = 0
    for file in _files(inputs):
        kind = forced or _kind(file)
        if kind == "records":
            report = _read_records(bucketer, file, limit=limit, **bounds)
            row = _records_row(file, report)
            code = _worse(code, exit_code(report, max_rejects))
        else:
            row = _count_texts(file, kind, counter, limit, threads)
        rows.append(row)
    comparison = None
    if bench or validate:
        batches = _all_texts(bucketer, _files(inputs), forced, completion=count == "completion", limit=limit, **bounds)
        comparison = compare(counter, batches, bench=bench, validate=validate)
    _print(rows, comparison, as_json=json)
    if comparison and comparison.wrong:
        raise ValueError(f"{comparison.wrong:,} texts are counted otherwise, the first {comparison.first_wrong}")
    return code


def _all_texts(
    bucketer: Bucketer, files: Iterable[str], forced: Kind | None, *, completion: bool, limit: int | None, **bounds: Any
) -> Iterator[list[str]]:
    """Every text that is counted, in lists; those of records are the contents of their messages."""
    for file in files:
        kind = forced or _kind(file)
        if kind != "records":
            yield from _batches(_texts(file, kind), limit)
            continue
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "read"
            bucketer.bucket_files(file, out, limit=limit, **bounds)
            yield from bucketed.contents(out, ["completion"] if completion else ["prompt", "completion"])


def _files(inputs: Iterable[str]) -> Iterator[str]:
    """Patterns are expanded; folders and hub data sets stay one input each."""
    for name in inputs:
        yield from (_matches(name) if glob.has_magic(name) else []) or [name]


def _matches(pattern: str) -> list[str]:
    """Return what a pattern matches, in order; `**` goes through no links to folders, which may lead back."""
    if "**" not in pattern:
        return sorted(glob.glob(pattern))  # noqa: PTH207 (absolute patterns, hidden files)
    path = Path(pattern)
    root = Path(path.anchor)
    matches = root.glob(str(path.relative_to(root)))
    return sorted(str(match) for match in matches if not any(map(_is_hidden, set(match.parts) - set(path.parts))))


def _is_hidden(part: str) -> bool:
    return part.startswith(".")


def _kind(file: str) -> Kind:
    path = Path(file)
    return "text" if path.is_file() and not _holds_records(path) else "records"


def _holds_records(path: Path) -> bool:
    name = path.name.removesuffix(".gz").removesuffix(".zst")
    return name.endswith(_RECORD_SUFFIXES)


def _read_records(bucketer: Bucketer, file: str, **given: Any) -> Report:
    try:
        return bucketer.bucket_files(file, None, progress=True, **given)
    except ValueError as error:
        if file != "-":
            raise
        raise ValueError(f"{error}; --text or --lines counts plain text") from None


def _records_row(file: str, report: Report) -> _Row:
    tokens = (report.prompt_tokens or 0) + (report.completion_tokens or 0)
    return _Row(file, "records", report.bucketed, tokens, report.rejected)


def _worse(code: int, other: int) -> int:
    """Return the exit code of two inputs: what could not be read matters more than what was rejected."""
    return min(filter(None, (code, other)), default=0)


def _count_texts(file: str, kind: Kind, counter: TokenCounter, limit: int | None, threads: int | None) -> _Row:
    texts = tokens = 0
    for batch in _batches(_texts(file, kind), limit):
        texts += len(batch)
        if len(batch) == 1:  # without numpy, which takes longer to import than most texts to count
            tokens += counter.count(batch[0], threads=threads)
        else:
            tokens += int(counter.count(batch, threads=threads).sum(dtype="uint64"))
    return _Row(file, kind, texts, tokens)


def _texts(file: str, kind: Kind) -> Iterator[str]:
    with cast("io.BufferedReader", sys.stdin.buffer) if file == "-" else Path(file).open("rb") as stream:
        _check_unpacked(file, stream.peek(4))
        pieces: Iterable[bytes] = [stream.read()] if kind == "text" else stream
        for number, piece in enumerate(pieces, start=1):
            try:
                text = piece.decode("utf-8")
            except UnicodeDecodeError as error:
                where = f"{file}:{number}" if kind == "lines" else file
                raise ValueError(f"{where}: not UTF-8 at byte {error.start:,}") from None
            yield text.removesuffix("\n").removesuffix("\r") if kind == "lines" else text


def _check_unpacked(file: str, head: bytes) -> None:
    """Refuse packed text, with the command that unpacks it."""
    for magic, unpack in _PACKED.items():
        if head.startswith(magic):
            raise ValueError(f"{file}: packed text is not read: {unpack} {file} | polyalign count - --text")


def _batches(texts: Iterator[str], limit: int | None) -> Iterator[list[str]]:
    batch: list[str] = []
    for number, text in enumerate(texts):
        if number == limit:
            break
        batch.append(text)
        if len(batch) == _LINES_PER_BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _print(rows: list[_Row], comparison: Comparison | None, *, as_json: bool) -> None:
    total = {
        "texts": sum(row.texts for row in rows),
        "tokens": sum(row.tokens for row in rows),
        "rejected": sum(row.rejected for row in rows),
    }
    if as_json:
        compared = {"comparison": comparison.as_json()} if comparison else {}
        click.echo(json_text.indented({"files": [asdict(row) for row in rows], "total": total, **compared}))
        return
    from rich import box
    from rich.table import Table

    from polyalign._text import tables

    table = Table(header_style="bold", show_footer=len(rows) > 1, box=box.SIMPLE_HEAD)
    table.add_column("input", "total", overflow="fold")
    table.add_column("read as", "")
    table.add_column("texts", f"{total['texts']:,}", justify="right")
    table.add_column("tokens", f"{total['tokens']:,}", justify="right")
    for row in rows:
        table.add_row(row.file, row.kind, f"{row.texts:,}", f"{row.tokens:,}")
    tables.console().print(table)
    if comparison:
        click.echo(comparison.say())
