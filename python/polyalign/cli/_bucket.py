"""``polyalign bucket``."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from polyalign.cli import _options as options
from polyalign.cli._exit import complain, exit_code, rejected
from polyalign.cli._help import BUCKETS, OUTPUT, READING, REFERENCE, command, flag, option

if TYPE_CHECKING:
    from polyalign.buckets import BucketSchema, Report

_TABLE_ROWS = 40
_EXAMPLE_CHARACTERS = 300
_EXAMPLES = """
Examples:
  polyalign bucket corpus.jsonl --limit 1000 --dry-run            what is in it? (writes nothing)
  polyalign bucket 'corpus/*.jsonl.zst' --tokenizer Qwen/Qwen2.5-1.5B --languages en,zh --out bucketed/
  polyalign bucket chats/ --shape sharegpt --length-unit words --length-edges auto --out bucketed/
  polyalign bucket corpus.jsonl --languages en,zh --out bucketed/ --reference human.safetensors
  zcat big.jsonl.gz | polyalign bucket - --tokenizer tokenizer.json --assignments-only --out lengths/

Exit codes: 0 fine, 1 error, 2 usage, 3 part of the input could not be read, 4 too many rejects, 130 interrupted.
"""

_schema_options = options.together(
    option(
        "--length-edges",
        panel=BUCKETS,
        metavar="N,N,…|auto",
        default="40,120,240",
        help="Upper ends of the length bins, inclusive, or auto: quartiles per language. Default: 40,120,240.",
    ),
    option(
        "--length-unit",
        panel=BUCKETS,
        metavar="UNIT",
        type=click.Choice(["tokens", "words", "words-paper", "characters"]),
        help="tokens, words, words-paper or characters. Default: tokens with a tokenizer, else words.",
    ),
    option(
        "--length-bins",
        panel=BUCKETS,
        metavar="NAME,…",
        help="Names of the length bins, one more than edges. Default: short,medium,long,xlong.",
    ),
    option(
        "--languages",
        panel=BUCKETS,
        metavar="CODE,…",
        help="The languages there may be, such as en,zh. Default: any.",
    ),
    option(
        "--default-language",
        panel=BUCKETS,
        metavar="CODE",
        default="und",
        help="For records of which nothing tells the language. Default: und.",
    ),
    option(
        "--family-map",
        panel=BUCKETS,
        metavar="SOURCE=FAMILY",
        multiple=True,
        help="Family of a source, for records that name none. Repeatable.",
    ),
    option(
        "--axes",
        panel=BUCKETS,
        metavar="AXIS,…",
        default="language,track,family,length",
        help="The axes, in the order of an id's parts. Default: language,track,family,length.",
    ),
    option(
        "--axis",
        panel=BUCKETS,
        metavar="NAME=COLUMN",
        multiple=True,
        help="One more axis, from a column of the records. Repeatable.",
    ),
)

_reading_options = options.together(
    options.records,
    options.language_field,
    options.track_field,
    options.family_field,
    options.source_field,
    options.group_field,
    option(
        "--turns",
        panel=READING,
        type=click.Choice(["last", "all"]),
        default="last",
        help="Rows of a conversation: its last reply (last, the default), or every reply with its history (all).",
    ),
    options.keep_thinking,
    options.limits,
)

_reference_options = options.together(
    option(
        "--reference",
        panel=REFERENCE,
        metavar="FILE",
        help="Make the human reference of what is bucketed too, in the same pass: a .safetensors file.",
    ),
    options.source,
    options.sample_size,
)

_output_options = options.together(
    option(
        "--out",
        "-o",
        "output",
        panel=OUTPUT,
        metavar="DIR",
        help="Folder to make.",
    ),
    flag("--dry-run", "Show shape, fields, buckets and three rows; write nothing.", OUTPUT),
    options.overwrite("output"),
    flag("--assignments-only", "Write no texts, only ids, buckets and lengths.", OUTPUT),
    option("--partition-by", panel=OUTPUT, metavar="AXIS,…", help="Hive-style folders by these axes."),
    option(
        "--test-share",
        panel=OUTPUT,
        metavar="SHARE",
        type=click.FloatRange(0, 1, max_open=True),
        default=0.0,
        help="Hold out this share of the groups, else prompts, as test-*.parquet: load_dataset gives two splits. A "
        "--reference is made of the others.",
    ),
    option(
        "--chunk-bytes",
        panel=OUTPUT,
        metavar="SIZE",
        type=options.byte_count,
        default="64MiB",
        help="Decompressed input per output file. Default: 64MiB.",
    ),
)


@command(_EXAMPLES)
@options.inputs
@_output_options
@_reference_options
@options.tokenizer(required=False)
@options.count
@_schema_options
@_reading_options
@options.running
def bucket(
    inputs: tuple[str, ...],
    output: str | None,
    tokenizer: str | None,
    count: Any,
    turns: Any,
    keep_thinking: bool,
    limit: int | None,
    max_record_bytes: int,
    max_rejects: float,
    dry_run: bool,
    overwrite: bool,
    assignments_only: bool,
    partition_by: str | None,
    test_share: float,
    chunk_bytes: int,
    reference: str | None,
    sources: tuple[str, ...],
    sample_size: int,
    threads: int | None,
    json: bool,
    **rest: Any,
) -> int:
    """Sort a corpus into buckets: language, track, family, length.

    INPUT is a file, a folder, a quoted glob, a hub data set (OWNER/NAME) or - for standard input: JSONL, JSON
    arrays (also .gz and .zst), Parquet, Arrow or datasets folders. The output is Parquet that load_dataset and
    TRL's SFTTrainer take as it is. What can't be used goes to DIR/rejects.jsonl with file, line, byte offset and
    reason. Interrupt it as you like: the same command goes on where it was.
    """
    from polyalign.buckets import Bucketer

    if output is None and not dry_run:
        raise click.BadParameter("say where to write, or --dry-run to look without writing", param_hint="'--out'")
    if reference is not None:
        options.reference_output(reference, "'--reference'", overwrite=overwrite or dry_run)
    elif sources:
        raise click.BadParameter("labels the reference: give --reference too", param_hint="'--source'")
    bucketer = Bucketer(
        _schema(rest),
        tokenizer,
        count=count,
        keep_thinking=keep_thinking,
        **options.reading(rest),
    )
    started = time.perf_counter()
    report = bucketer.bucket_files(
        inputs,
        None if dry_run else output,
        overwrite=overwrite,
        turns=turns,
        assignments_only=assignments_only,
        partition_by=options.words(partition_by) or [],
        test_share=test_share,
        limit=limit,
        chunk_bytes=chunk_bytes,
        max_record_bytes=max_record_bytes,
        threads=threads,
        progress=True,
        reference=reference,
        sources=sources,
        sample_size=sample_size,
    )
    if json:
        click.echo(report.to_json())
    else:
        _print(report, time.perf_counter() - started)
    for warning in report.warnings:
        complain(f"warning: {warning}")
    return exit_code(report, max_rejects)


def _schema(given: dict[str, Any]) -> BucketSchema:
    from polyalign.buckets import BucketSchema

    axes = options.pairs(given["axis"], "--axis", "NAME=COLUMN")
    members = {
        "length_edges": options.edges(given["length_edges"]),
        "length_unit": given["length_unit"],
        "length_bins": options.words(given["length_bins"]),
        "languages": options.words(given["languages"]),
        "default_language": given["default_language"],
        "families": options.pairs(given["family_map"], "--family-map", "SOURCE=FAMILY"),
        "axes": [*(options.words(given["axes"]) or []), *({"name": name, "column": axes[name]} for name in axes)],
    }
    try:
        return BucketSchema(**members)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def _print(report: Report, seconds: float) -> None:
    from polyalign._text import tables
    from polyalign._text.words import counted
    from polyalign.buckets._report import bucket_table, headline, length_unit

    console = tables.console()
    console.print(headline(report), style="bold")
    console.print(f"{seconds:.1f} s, {tables.size(int(report.bytes / max(seconds, 1e-3)))}/s")
    for line in _reading(report):
        console.print(line, markup=False)
    if report.output is None:
        _print_examples(report, console)
    if report.buckets:
        console.print(bucket_table(report.buckets, length_unit(report), console.width, _TABLE_ROWS))
    for line in rejected(report.rejected_by_kind, report.first_rejects):
        console.print(line, markup=False)
    for skipped in report.skipped:
        console.print(f"passed over: {skipped['file']}: {skipped['reason']}", markup=False)
    if report.resumed_from:
        console.print(f"continued after {counted(report.resumed_from, 'shard')} of an interrupted run")
    if report.output is not None:
        console.print(f"written to {report.output}", markup=False)
    if report.reference is not None:
        console.print(f"human reference: {report.reference}", markup=False)


def _reading(report: Report) -> list[str]:
    """Say how the records were read, and what of them stands there twice or is held out, a line each."""
    from polyalign._text.reading import held_out_lines, reading_lines, repeated_lines

    given = {name: path for name, path in report.fields.items() if path and name not in ("shape", "keep_extra")}
    fields = ", ".join(f"{name}: {_path(path)}" for name, path in given.items())
    shape = f"shape: {report.shape or 'given by fields'}" + (f" ({fields})" if fields else "")
    return [
        shape,
        *reading_lines(report.reading),
        *repeated_lines(report.repeated, report.bucketed),
        *held_out_lines(report.held_out),
    ]


def _path(path: Any) -> str:
    if isinstance(path, dict):
        return " ".join(f"{name}={role}" for name, role in path.items())
    return path if isinstance(path, str) else "yes" if path is True else " ".join(path)


def _print_examples(report: Report, console: Any) -> None:
    from polyalign.cli._rows import print_row

    for example in report.examples:
        messages = [tuple(message) for message in [*example["prompt"], example["completion"]]]
        title = f"{example['id']}  {example['bucket']}  length {example['length']:,}"
        print_row(console, title, messages, longest=_EXAMPLE_CHARACTERS)
