"""``polyalign bucket``."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from polyalign.cli import _options as options

if TYPE_CHECKING:
    from polyalign.buckets import Report

_UNREADABLE, _TOO_MANY_REJECTS = 3, 4
_BUCKETS = "Buckets"
_OUTPUT = "Output"
_TABLE_ROWS = 40
_EXAMPLE_CHARACTERS = 300


def bucket(
    inputs: Annotated[
        list[str],
        typer.Argument(
            help="Files, folders, globs, hub data sets (OWNER/NAME), or - for standard input.",
            metavar="INPUT...",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder to make.", metavar="DIR", rich_help_panel=_OUTPUT),
    ] = None,
    tokenizer: options.Tokenizer = None,
    count: options.Count = "all",
    length_edges: Annotated[
        str,
        typer.Option(
            "--length-edges",
            help="Upper ends of the length bins, or [b]auto[/b]: quartiles per language.",
            metavar="N,N,…|auto",
            rich_help_panel=_BUCKETS,
        ),
    ] = "40,120,240",
    length_unit: Annotated[
        str | None,
        typer.Option(
            "--length-unit",
            help="tokens, words, words-paper or characters. Default: tokens with a tokenizer, else words.",
            rich_help_panel=_BUCKETS,
            metavar="UNIT",
        ),
    ] = None,
    length_bins: Annotated[
        str | None,
        typer.Option(
            "--length-bins",
            help="Names of the length bins, one more than edges.",
            metavar="NAME,…",
            rich_help_panel=_BUCKETS,
        ),
    ] = None,
    languages: Annotated[
        str | None,
        typer.Option(
            "--languages",
            help="The languages there may be, such as en,zh. Default: any.",
            metavar="CODE,…",
            rich_help_panel=_BUCKETS,
        ),
    ] = None,
    default_language: Annotated[
        str,
        typer.Option(
            "--default-language",
            help="For records of which nothing tells the language.",
            metavar="CODE",
            rich_help_panel=_BUCKETS,
        ),
    ] = "und",
    family_map: Annotated[
        list[str] | None,
        typer.Option(
            "--family-map",
            help="Family of a source, for records that name none. Repeatable.",
            metavar="SOURCE=FAMILY",
            rich_help_panel=_BUCKETS,
        ),
    ] = None,
    axes: Annotated[
        str,
        typer.Option(
            "--axes",
            help="The axes, in the order of an id's parts.",
            metavar="AXIS,…",
            rich_help_panel=_BUCKETS,
        ),
    ] = "language,track,family,length",
    axis: Annotated[
        list[str] | None,
        typer.Option(
            "--axis",
            help="One more axis, from a column of the records. Repeatable.",
            metavar="NAME=COLUMN",
            rich_help_panel=_BUCKETS,
        ),
    ] = None,
    shape: options.Shape = None,
    prompt_field: options.PromptField = None,
    response_field: options.ResponseField = None,
    language_field: options.LanguageField = None,
    track_field: options.TrackField = None,
    family_field: options.FamilyField = None,
    source_field: options.SourceField = None,
    group_field: options.GroupField = None,
    id_field: options.IdField = None,
    keep_thinking: options.KeepThinking = False,
    max_record_bytes: Annotated[
        str,
        typer.Option(
            "--max-record-bytes",
            help="Larger records are rejected without being held.",
            metavar="SIZE",
            rich_help_panel=options.READING,
        ),
    ] = "256MiB",
    max_rejects: Annotated[
        float,
        typer.Option(
            "--max-rejects",
            help="Exit with 4 if more than this part of the rows is rejected.",
            min=0.0,
            max=1.0,
            metavar="SHARE",
            rich_help_panel=options.READING,
        ),
    ] = 0.01,
    limit: Annotated[
        int | None,
        typer.Option("--limit", help="Stop after this many rows.", min=1, metavar="N", rich_help_panel=options.READING),
    ] = None,
    assignments_only: Annotated[
        bool,
        typer.Option(
            "--assignments-only",
            help="Write no texts, only ids, buckets and lengths.",
            rich_help_panel=_OUTPUT,
        ),
    ] = False,
    partition_by: Annotated[
        str | None,
        typer.Option(
            "--partition-by",
            help="Hive-style folders by these axes.",
            metavar="AXIS,…",
            rich_help_panel=_OUTPUT,
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing output.", rich_help_panel=_OUTPUT)
    ] = False,
    chunk_bytes: Annotated[
        str,
        typer.Option(
            "--chunk-bytes",
            help="Decompressed input per output file.",
            metavar="SIZE",
            rich_help_panel=_OUTPUT,
        ),
    ] = "64MiB",
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Show shape, fields, buckets and three rows; write nothing.",
            rich_help_panel=_OUTPUT,
        ),
    ] = False,
    threads: options.Threads = None,
    json: options.Json = False,
    config: options.Config = None,
    debug: options.Debug = False,
) -> int:
    """Sort a corpus into buckets by language, track, family and length.

    Reads JSONL, JSON arrays (also .gz and .zst), Parquet, Arrow and datasets folders; writes Parquet that
    load_dataset and TRL's SFTTrainer take as it is. What can't be used goes to OUT/rejects.jsonl with file, line,
    byte offset and reason. Interrupt it as you like: the same command goes on where it was.

    [bold]Examples[/bold]

    polyalign bucket corpus.jsonl --limit 1000 --dry-run

    polyalign bucket 'corpus/*.jsonl.zst' --tokenizer Qwen/Qwen2.5-1.5B --languages en,zh --out bucketed/

    polyalign bucket chats/ --shape sharegpt --length-unit words --length-edges auto --out bucketed/

    zcat big.jsonl.gz | polyalign bucket - --tokenizer tokenizer.json --assignments-only --out lengths/

    [bold]Exit codes[/bold]: 0 fine, 1 error, 2 usage, 3 part of the input could not be read, 4 too many rejects,
    130 interrupted.
    """
    from polyalign.buckets import Bucketer, BucketSchema

    if output is None and not dry_run:
        raise typer.BadParameter("say where to write, or --dry-run to look without writing", param_hint="--out")
    extra_axes = options.pairs(axis or [], "--axis", "NAME=COLUMN")
    schema = BucketSchema(
        length_edges=options.edges(length_edges),
        length_unit=length_unit,  # type: ignore[arg-type]  # the engine checks it
        length_bins=options.words(length_bins),
        languages=options.words(languages),
        default_language=default_language,
        families=options.pairs(family_map or [], "--family-map", "SOURCE=FAMILY"),
        axes=[
            *(options.words(axes) or []),
            *({"name": name, "column": extra_axes[name]} for name in extra_axes),
        ],
    )
    fields = {
        "prompt": prompt_field,
        "response": response_field,
        "language": language_field,
        "track": track_field,
        "family": family_field,
        "source": source_field,
        "group": group_field,
        "id": id_field,
    }
    bucketer = Bucketer(
        schema,
        tokenizer,
        count=count,  # type: ignore[arg-type]  # checked there
        shape=shape,  # type: ignore[arg-type]  # the engine checks it
        fields={name: path for name, path in fields.items() if path is not None},
        keep_thinking=keep_thinking,
    )
    started = time.perf_counter()
    report = bucketer.bucket_files(
        inputs,
        None if dry_run else output,
        overwrite=overwrite,
        assignments_only=assignments_only,
        partition_by=options.words(partition_by) or [],
        limit=limit,
        chunk_bytes=options.byte_count(chunk_bytes, "--chunk-bytes"),
        max_record_bytes=options.byte_count(max_record_bytes, "--max-record-bytes"),
        threads=threads,
        progress=True,
    )
    if json:
        typer.echo(report.to_json())
    else:
        _print(report, time.perf_counter() - started)
    return _exit_code(report, max_rejects)


def _print(report: Report, seconds: float) -> None:
    from polyalign import _tables

    console = _tables.console()
    console.print(_tables.headline(report), style="bold")
    console.print(f"{seconds:.1f} s, {_tables.size(int(report.bytes / max(seconds, 1e-3)))}/s")
    if report.output is None:
        _print_examples(report, console)
    if report.buckets:
        console.print(_tables.bucket_table(report.buckets, _tables.length_unit(report), _TABLE_ROWS))
    for kind, rows in report.rejected_by_kind.items():
        console.print(f"rejected: {rows:,} for {kind}")
    for skipped in report.skipped:
        console.print(f"passed over: {skipped['file']}: {skipped['reason']}", markup=False)
    if report.resumed_from:
        console.print(f"continued after {report.resumed_from:,} shards of an interrupted run")
    if report.output is not None:
        console.print(f"written to {report.output}", markup=False)


def _print_examples(report: Report, console: Any) -> None:
    from polyalign.cli._rows import print_row

    given = {name: path for name, path in report.fields.items() if path and name not in ("shape", "keep_extra")}
    fields = ", ".join(f"{name}: {path if isinstance(path, str) else ' '.join(path)}" for name, path in given.items())
    console.print(f"shape: {report.shape or 'given by fields'}" + (f" ({fields})" if fields else ""), markup=False)
    for example in report.examples:
        messages = [tuple(message) for message in [*example["prompt"], example["completion"]]]
        title = f"{example['id']}  {example['bucket']}  length {example['length']:,}"
        print_row(console, title, messages, longest=_EXAMPLE_CHARACTERS)


def _exit_code(report: Report, max_rejects: float) -> int:
    for warning in report.warnings:
        _complain(f"warning: {warning}")
    for file in report.unreadable:
        _complain(f"{file['file']}: unreadable from byte or row {file['offset']:,} on: {file['reason']}")
    if report.unreadable:
        return _UNREADABLE
    if report.rejected_share > max_rejects:
        where = "" if report.output is None else f"; see {Path(report.output) / 'rejects.jsonl'}"
        _complain(
            f"{report.rejected:,} of {report.rows:,} rows rejected ({report.rejected_share:.1%}), "
            f"more than --max-rejects {max_rejects:g}{where}"
        )
        return _TOO_MANY_REJECTS
    return 0


def _complain(line: str) -> None:
    print(f"polyalign: {line}", file=sys.stderr)
