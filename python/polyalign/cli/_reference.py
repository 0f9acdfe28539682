"""``polyalign reference``: build, merge, show, diff."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from polyalign._io import json_text
from polyalign._text.words import counted
from polyalign.cli import _options as options
from polyalign.cli._diff import diff
from polyalign.cli._exit import rejected, tally_exit_code
from polyalign.cli._help import OUTPUT, READING, REFERENCE, SETTINGS, command, option, write_as_it_is

if TYPE_CHECKING:
    from polyalign.buckets import BucketSchema
    from polyalign.reference import Reference

_MIN_COUNT = 20
_TABLE_ROWS = 40

_START = """
Start here:
  polyalign bucket corpus.jsonl --out bucketed/ --reference human.safetensors   both in one pass
  polyalign reference build bucketed/ --out human.safetensors
  polyalign reference show human.safetensors --html page.html
  polyalign score answers.jsonl --reference human.safetensors

polyalign reference COMMAND --help explains each command, with examples.
"""
_BUILD = """
Examples:
  polyalign reference build bucketed/ --out human.safetensors --source "support chats 2024"
  polyalign reference build answers.jsonl --bucket-field meta.bucket --out human.safetensors
  polyalign reference build bucketed/ --variant paper --out paper.safetensors
  polyalign reference build bucketed/ --lm HuggingFaceTB/SmolLM2-135M --out human.safetensors

Exit codes: 0 fine, 1 error, 2 usage, 3 part of the input could not be read, 4 too many rejects, 130 interrupted.
"""
_MERGE = """
Examples:
  polyalign reference merge monday.safetensors tuesday.safetensors --out week.safetensors
  polyalign reference merge parts/*.safetensors --out human.safetensors
"""
_SHOW = """
Examples:
  polyalign reference show human.safetensors                                the buckets
  polyalign reference show human.safetensors --feature word_count           one feature in all buckets
  polyalign reference show human.safetensors --bucket 'en|single|qa|short'  all features of one bucket
  polyalign reference show human.safetensors --html page.html               all of it, in a browser
"""


class _Group(click.Group):
    """The group: examples shown as they are written."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        write_as_it_is(_START, formatter)


@click.group(cls=_Group, invoke_without_command=True, context_settings=SETTINGS)
@click.pass_context
def reference(context: click.Context) -> None:
    """Build, merge, compare and look at human references.

    A reference is one file that says how each feature of a response is distributed among the humans of every bucket.
    It holds counts and feature values, no text.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


_output = option("--out", "-o", "output", panel=OUTPUT, metavar="FILE", required=True, help="The .safetensors to make.")
_overwrite = options.overwrite("file")


@command(_BUILD)
@options.inputs
@_output
@_overwrite
@options.source
@options.sample_size
@option(
    "--variant",
    panel=REFERENCE,
    type=click.Choice(["default", "paper"]),
    default="default",
    help="paper: the features of the paper's published code, exact quantiles, no back-off (for small corpora).",
)
@options.lm("Count, too, how likely a causal language model finds each response", REFERENCE)
@option(
    "--schema",
    panel=READING,
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="JSON of the BucketSchema that made the buckets of files. Bucketed folders say their own.",
)
@options.bucket_field
@options.records
@options.language_field
@options.keep_thinking
@options.limits
@options.running
def build(
    inputs: tuple[str, ...],
    output: str,
    overwrite: bool,
    sources: tuple[str, ...],
    sample_size: int,
    variant: Any,
    lm: str | None,
    schema: Path | None,
    bucket_field: str | None,
    keep_thinking: bool,
    limit: int | None,
    max_record_bytes: int,
    max_rejects: float,
    threads: int | None,
    json: bool,
    **rest: Any,
) -> int:
    """Build the human reference of a bucketed corpus.

    INPUT is a folder that polyalign bucket made, a file or folder whose records have a bucket, or - for standard
    input. It is read once. The same rows give the same bytes, in any order, from any number of files and threads.
    """
    from polyalign._io.output import publishing
    from polyalign.reference._reference import build_files, build_with_lm

    path = options.reference_output(output, "'--out'", overwrite=overwrite)
    started = time.perf_counter()
    common: dict[str, Any] = {
        "schema": None if schema is None else _schema(schema, inputs),
        "sources": sources,
        "variant": variant,
        "sample_size": sample_size,
        **options.reading(rest),
        "bucket_field": bucket_field,
        "keep_thinking": keep_thinking,
        "limit": limit,
        "threads": threads,
        "progress": True,
    }
    with publishing(path, overwrite=overwrite) as file:
        if lm is None:
            made, tally = build_files(inputs, max_record_bytes=max_record_bytes, **common)
        else:
            made, tally = build_with_lm(inputs, lm, **common)
        made._core.write_to(file)
    if json:
        click.echo(json_text.indented({"output": output, **summary(made), "tally": tally}))
    else:
        _print_built(made, tally, path, time.perf_counter() - started)
    return tally_exit_code(tally, max_rejects)


def _schema(path: Path, inputs: tuple[str, ...]) -> BucketSchema:
    from polyalign.buckets import BucketSchema

    for folder in inputs:
        if (Path(folder) / "manifest.json").is_file():
            raise click.BadParameter(f"{folder} says its own schema (manifest.json)", param_hint="'--schema'")
    try:
        return BucketSchema.from_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


@command(_MERGE)
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@_output
@_overwrite
@options.json_
@options.debug
def merge(files: tuple[str, ...], output: str, overwrite: bool, json: bool) -> None:
    """Add references up, in any order: the result is that of all rows together, byte for byte.

    They must have the same schema, tokenizer, variant and sample size.
    """
    from polyalign._io.output import publishing

    path = options.reference_output(output, "'--out'", overwrite=overwrite)
    _check_distinct(files)
    with publishing(path, overwrite=overwrite) as made:
        merged = options.load_reference(files[0])
        for file in files[1:]:
            other = options.load_reference(file)
            try:
                merged = merged.merge(other)
            except ValueError as error:
                raise ValueError(f"{files[0]} and {file}: {error}") from None
        merged._core.write_to(made)
    if json:
        click.echo(json_text.indented({"output": output, **summary(merged), "merged": list(files)}))
    else:
        _print_reference(merged, path)


def _check_distinct(files: tuple[str, ...]) -> None:
    """Refuse to count the humans of a file twice."""
    seen = set()
    for file in files:
        place = Path(file).resolve()
        if place in seen:
            raise ValueError(f"{file}: given twice, so that its humans would count double")
        seen.add(place)


@command(_SHOW)
@click.argument("file", metavar="FILE")
@option("--feature", "-f", metavar="NAME", help="Show one feature, in all buckets. polyalign features lists them.")
@option("--bucket", "-b", metavar="ID", help="Show one bucket, in all features.")
@options.html("Write all of it as a page.")
@option(
    "--rows",
    "-n",
    metavar="N",
    type=click.IntRange(min=1),
    help=f"How many buckets, the largest first. Default: {_TABLE_ROWS}.",
)
@options.json_
@options.debug
def show(file: str, feature: str | None, bucket: str | None, html: Path | None, rows: int | None, json: bool) -> None:
    """Look at a reference: its buckets, one feature in all of them, or all features of one.

    FILE is a .safetensors file, a folder with one, or a data set on the hub (OWNER/NAME).
    """
    shown = options.load_reference(file)
    if html is not None:
        shown.plot(html)
    if json:
        click.echo(json_text.indented(_json(shown, file, feature, bucket, rows)))
        return
    if html is None or feature or bucket:
        _print_tables(shown, feature, bucket, rows)
    if html is not None:
        click.echo(f"written to {html}")


def _page(shown: Reference, feature: str | None, bucket: str | None, rows: int | None) -> dict[str, Any]:
    """Return the description that tables are drawn from, with the buckets asked for, the largest first."""
    from polyalign.reference import _terminal

    data = shown._page()
    if bucket is not None:
        about = _terminal.named({known["bucket"]: known for known in data["buckets"]}, bucket, "bucket")
        if feature is not None:
            data["buckets"] = [about]
    elif rows is not None:
        data["buckets"] = sorted(data["buckets"], key=lambda known: -known["rows"])[:rows]
    return data


def _json(
    shown: Reference, file: str, feature: str | None, bucket: str | None, rows: int | None
) -> dict[str, Any] | list[dict[str, Any]]:
    if feature is None and bucket is None:
        found = summary(shown)
        found["buckets"] = sorted(found["buckets"], key=lambda known: -known["rows"])[:rows]
        return {"file": file, **found}
    from polyalign.reference import _terminal

    data = _page(shown, feature, bucket, rows)
    if feature is not None:
        _terminal.named({known["name"]: known for known in data["features"]}, feature, "feature")
    return [
        {"bucket": known["bucket"], "feature": name, **cell}
        for known in data["buckets"]
        if bucket in (None, known["bucket"])
        for name, cell in known["features"].items()
        if feature in (None, name) and cell["count"]
    ]


def _print_tables(shown: Reference, feature: str | None, bucket: str | None, rows: int | None) -> None:
    from polyalign._text import tables
    from polyalign.reference import _terminal

    console = tables.console()
    limit = rows or _TABLE_ROWS
    if feature is not None:
        _terminal.feature_table(_page(shown, feature, bucket, limit), feature, console)
    elif bucket is not None:
        _terminal.bucket_table(_page(shown, None, bucket, None), bucket, console)
    else:
        data = _page(shown, None, None, None)
        data["buckets"] = sorted(data["buckets"], key=lambda known: -known["rows"])
        _terminal.reference_table(data, console, limit=limit)
        console.print(_about(shown), markup=False)


def summary(of: Reference) -> dict[str, Any]:
    """Return what a reference says of itself, as plain data."""
    return {
        "rows": of.rows,
        "variant": of.variant,
        "schema": of._info["schema"],
        "tokenizer": of._info["tokenizer"],
        "sample_size": of._info["sample_size"],
        **({} if of.lm is None else {"lm": of.lm}),
        "sources": list(of.sources),
        "features": len(of.features),
        "buckets": [{"bucket": known["bucket"], "rows": known["rows"]} for known in of._info["buckets"]],
    }


def _about(of: Reference) -> str:
    """One line: what it is of, and which lengths its buckets have."""
    from polyalign.reference import _lm

    schema = of.schema
    edges = schema.length_edges
    bins = ", ".join(map(str, edges)) if isinstance(edges, tuple) else "by language"
    told = [f"{of.variant} variant, {len(of.features)} features", f"length edges {bins}"]
    if of.lm is not None:
        told.append(f"{_lm.COUNT} of them of the language model {_lm.named(of.lm)}")
    if of._info["tokenizer"]:
        told.append(f"tokenizer {of._info['tokenizer'][:12]}")
    if of.sources:
        told.append("from " + ", ".join(of.sources))
    return "; ".join(told)


def _print_built(made: Reference, tally: Mapping[str, Any], path: Path, seconds: float) -> None:
    from polyalign._text import tables
    from polyalign.reference._lm import said

    console = tables.console()
    size = f" ({tables.size(tally['bytes'])})" if "lm" not in tally else ""
    console.print(
        f"{tally['rows']:,} rows{size}: {tally['used']:,} humans in "
        f"{counted(len(made), 'bucket')}, {tally['rejected']:,} rejected",
        style="bold",
    )
    if "lm" in tally:
        console.print(f"{seconds:.1f} s, {tally['rows'] / max(seconds, 1e-3):,.1f} rows/s")
        for line in said(tally["lm"]):
            console.print(f"of the language model not all is known: {line}", markup=False)
    else:
        console.print(f"{seconds:.1f} s, {tables.size(int(tally['bytes'] / max(seconds, 1e-3)))}/s")
    for line in options.response_found(tally):
        console.print(line, markup=False)
    if tally["held_out"]:
        console.print(f"not counted: {tally['held_out']:,} rows that polyalign bucket --test-share held out")
    _print_buckets(made, console)
    for line in rejected(tally["rejected_by_kind"], tally["first_rejects"].values()):
        console.print(line, markup=False)
    console.print(f"written to {path} ({tables.size(path.stat().st_size)})", markup=False)


def _print_reference(made: Reference, path: Path) -> None:
    from polyalign._text import tables

    console = tables.console()
    console.print(f"{made.rows:,} humans in {counted(len(made), 'bucket')}", style="bold")
    _print_buckets(made, console)
    console.print(f"written to {path} ({tables.size(path.stat().st_size)})", markup=False)


def _print_buckets(made: Reference, console: Any) -> None:
    from polyalign._text import tables

    buckets = sorted(made._info["buckets"], key=lambda known: -known["rows"])
    console.print(tables.share_table({known["bucket"]: known["rows"] for known in buckets}, _TABLE_ROWS))
    few = [known["bucket"] for known in buckets if known["rows"] < _MIN_COUNT]
    if few and made.variant == "default":
        alone = sum(made.resolve(bucket).served_by is None for bucket in few)
        stand = "larger groups stand for them" if alone < len(few) else "nobody stands for them"
        if 0 < alone < len(few):
            stand += f", nobody for {alone:,}"
        console.print(f"{len(few):,} of {counted(len(made), 'bucket')} have fewer than {_MIN_COUNT} humans: {stand}")


for _command in (build, merge, show, diff):
    reference.add_command(_command)
