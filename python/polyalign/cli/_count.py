"""``polyalign count``."""

from __future__ import annotations

import glob
import json as json_module
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from polyalign.cli import _options as options

if TYPE_CHECKING:
    from polyalign.buckets import Bucketer, Report
    from polyalign.tokens import TokenCounter

_RECORD_SUFFIXES = (".jsonl", ".ndjson", ".json", ".parquet", ".arrow", ".feather", ".ipc")
_LINES_PER_BATCH = 10_000

Kind = Literal["records", "text", "lines"]


@dataclass(frozen=True)
class _Row:
    """What one input holds."""

    file: str
    kind: Kind
    texts: int
    tokens: int
    rejected: int = 0


def count(
    inputs: Annotated[
        list[str],
        typer.Argument(
            help="Files of records or of plain text, folders, globs, hub data sets, or - for standard input.",
            metavar="INPUT...",
        ),
    ],
    tokenizer: options.Tokenizer = None,
    count: options.Count = "all",
    text: Annotated[bool, typer.Option("--text", help="Every file is one plain text, whatever its name.")] = False,
    lines: Annotated[
        bool, typer.Option("--lines", help="Every line is a text of its own, whatever the file's name.")
    ] = False,
    shape: options.Shape = None,
    prompt_field: options.PromptField = None,
    response_field: options.ResponseField = None,
    keep_thinking: options.KeepThinking = False,
    limit: Annotated[
        int | None,
        typer.Option("--limit", help="Count at most this many records or lines of each input.", min=1, metavar="N"),
    ] = None,
    threads: options.Threads = None,
    json: options.Json = False,
    config: options.Config = None,
    debug: options.Debug = False,
) -> int:
    """Count the tokens of texts or records, per input and in total.

    JSONL, JSON, Parquet and Arrow files (also .gz, .zst) are read as records, like [bold]polyalign bucket[/bold]
    reads them; any other file, and standard input, is one plain text. Counts are exactly those of the tokenizers
    library, without special tokens.

    [bold]Examples[/bold]

    polyalign count corpus.jsonl.zst --tokenizer Qwen/Qwen2.5-1.5B

    polyalign count *.txt --tokenizer tokenizer.json --json

    echo "Hello, world!" | polyalign count - --lines --tokenizer tokenizer.json
    """
    from polyalign.buckets import Bucketer, BucketSchema
    from polyalign.tokens import TokenCounter

    if tokenizer is None:
        raise typer.BadParameter("say which tokenizer counts", param_hint="--tokenizer")
    if text and lines:
        raise typer.BadParameter("give one of --text and --lines", param_hint="--lines")
    counter = TokenCounter(tokenizer)
    fields = {"prompt": prompt_field, "response": response_field}
    bucketer = Bucketer(
        BucketSchema(axes=["length"]),
        counter,
        count=count,  # type: ignore[arg-type]  # checked there
        shape=shape,  # type: ignore[arg-type]  # the engine checks it
        fields={name: path for name, path in fields.items() if path is not None},
        keep_thinking=keep_thinking,
    )
    forced: Kind | None = "text" if text else "lines" if lines else None
    rows = []
    code = 0
    for file in _files(inputs):
        kind = forced or _kind(file)
        if kind == "records":
            row, problem = _count_records(file, bucketer, limit, threads)
            code = max(code, problem)
        else:
            row = _count_texts(file, kind, counter, limit, threads)
        rows.append(row)
    _print(rows, as_json=json)
    return code


def _files(inputs: list[str]) -> Iterator[str]:
    """Patterns are expanded; folders and hub data sets stay one input each."""
    for name in inputs:
        matches = sorted(glob.glob(name, recursive=True)) if glob.has_magic(name) else []  # noqa: PTH207 (`**/x`, absolute)
        yield from matches or [name]


def _kind(file: str) -> Kind:
    path = Path(file)
    if file == "-" or (path.is_file() and not _holds_records(path)):
        return "text"
    return "records"


def _holds_records(path: Path) -> bool:
    name = path.name.removesuffix(".gz").removesuffix(".zst")
    return name.endswith(_RECORD_SUFFIXES)


def _count_records(file: str, bucketer: Bucketer, limit: int | None, threads: int | None) -> tuple[_Row, int]:
    report: Report = bucketer.bucket_files(file, None, limit=limit, threads=threads, progress=True)
    for problem in report.unreadable:
        _complain(f"{file}: unreadable from byte or row {problem['offset']:,} on: {problem['reason']}")
    if report.rejected:
        _complain(f"{file}: {report.rejected:,} of {report.rows:,} records can't be used; polyalign bucket lists them")
    tokens = (report.prompt_tokens or 0) + (report.completion_tokens or 0)
    return _Row(file, "records", report.bucketed, tokens, report.rejected), 3 if report.unreadable else 0


def _count_texts(file: str, kind: Kind, counter: TokenCounter, limit: int | None, threads: int | None) -> _Row:
    texts = tokens = 0
    for batch in _batches(_texts(file, kind), limit):
        counts = counter.count(batch, threads=threads)
        texts += len(counts)
        tokens += int(counts.sum(dtype="uint64"))
    return _Row(file, kind, texts, tokens)


def _texts(file: str, kind: Kind) -> Iterator[str]:
    with sys.stdin.buffer if file == "-" else Path(file).open("rb") as stream:
        pieces: Iterable[bytes] = [stream.read()] if kind == "text" else stream
        for number, piece in enumerate(pieces, start=1):
            try:
                text = piece.decode("utf-8")
            except UnicodeDecodeError as error:
                where = f"{file}:{number}" if kind == "lines" else file
                raise ValueError(f"{where}: not UTF-8 at byte {error.start:,}") from None
            yield text.removesuffix("\n").removesuffix("\r") if kind == "lines" else text


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


def _print(rows: list[_Row], *, as_json: bool) -> None:
    total = {
        "texts": sum(row.texts for row in rows),
        "tokens": sum(row.tokens for row in rows),
        "rejected": sum(row.rejected for row in rows),
    }
    if as_json:
        typer.echo(
            json_module.dumps({"files": [asdict(row) for row in rows], "total": total}, ensure_ascii=False, indent=2)
        )
        return
    from rich.table import Table

    from polyalign import _tables

    table = Table(header_style="bold", show_footer=len(rows) > 1)
    table.add_column("input", "total", overflow="fold")
    table.add_column("read as", "")
    table.add_column("texts", f"{total['texts']:,}", justify="right")
    table.add_column("tokens", f"{total['tokens']:,}", justify="right")
    for row in rows:
        table.add_row(row.file, row.kind, f"{row.texts:,}", f"{row.tokens:,}")
    _tables.console().print(table)


def _complain(line: str) -> None:
    print(f"polyalign: {line}", file=sys.stderr)
