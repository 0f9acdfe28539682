"""``polyalign show``."""

from __future__ import annotations

import json as json_module
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import click

from polyalign._io import json_text
from polyalign.cli import _options as options
from polyalign.cli._help import command, option

_TEXTS = ("prompt", "completion", "chosen", "rejected")
_IN_TITLE = ("id", "bucket", "length")


_EXAMPLES = """
Examples:
  polyalign show bucketed/                                               the buckets
  polyalign show bucketed/ --bucket 'zh|multi|dialogue|short' -n 5       five of its rows
  polyalign show bucketed/ --bucket 'en|single|qa|long' -n 100 --json | jq .completion
"""


@command(_EXAMPLES)
@click.argument("output", metavar="OUT", type=click.Path(path_type=Path))
@option("--bucket", "-b", metavar="ID", help="Id of the bucket to look into; without it, all buckets are listed.")
@option("--rows", "-n", metavar="N", type=click.IntRange(min=1), default=5, help="How many rows. Default: 5.")
@options.json_
@options.debug
def show(output: Path, bucket: str | None, rows: int, json: bool) -> None:
    """Look at the buckets of an output, or at the rows of one.

    OUT is a folder made by polyalign bucket.
    """
    manifest = _manifest(output)
    if bucket is None:
        _show_buckets(manifest, as_json=json)
        return
    _check_bucket(bucket, [known["bucket"] for known in manifest["buckets"]], output)
    found = _rows(output, bucket, rows)
    if json:
        for row in found:
            click.echo(json_text.one_line(row))
        return
    from polyalign._text import tables

    console = tables.console()
    for row in found:
        _show_row(console, row)


def _manifest(output: Path) -> dict[str, Any]:
    path = output / "manifest.json"
    if not path.is_file():
        if Path(f"{output}.partial").is_dir():
            raise FileNotFoundError(
                f"{output}: its run was interrupted; give the same bucket command again to finish it"
            )
        if not output.exists():
            raise FileNotFoundError(f"{output}: no such folder; polyalign bucket makes one with --out {output}")
        raise FileNotFoundError(f"{output}: not an output of polyalign bucket (it has no manifest.json)")
    try:
        manifest = json_module.loads(path.read_text(encoding="utf-8"))
        manifest["schema"], manifest["buckets"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not a manifest of polyalign bucket: {error!r}") from None
    return dict(manifest)


def _check_bucket(bucket: str, known: list[str], output: Path) -> None:
    if bucket in known:
        return
    close = get_close_matches(bucket, known, n=3, cutoff=0.3)
    hint = f"did you mean {' or '.join(map(repr, close))}?" if close else f"polyalign show {output} lists them"
    raise ValueError(f"{output}: has no bucket {bucket!r}; {hint}")


def _rows(output: Path, bucket: str, limit: int) -> list[dict[str, Any]]:
    from polyalign import _core

    table = _core.first_rows(str(output), bucket, limit)
    columns = {name: [value.as_py() for value in table[name]] for name in table.column_names}
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _show_buckets(manifest: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        click.echo(json_text.indented(manifest["buckets"]))
        return
    from polyalign._text import tables
    from polyalign.buckets import BucketSchema, BucketSummary
    from polyalign.buckets._report import bucket_table

    schema = BucketSchema.from_json(json_text.one_line(manifest["schema"]))
    rows = max(1, sum(members["rows"] for members in manifest["buckets"]))
    buckets = [
        BucketSummary(**{**members, "parts": tuple(members["parts"].values()), "share": members["rows"] / rows})
        for members in manifest["buckets"]
    ]
    has_tokens = any(bucket.completion_tokens is not None for bucket in buckets)
    unit = schema.length_unit or ("tokens" if has_tokens else "words")
    buckets.sort(key=lambda bucket: -bucket.rows)
    console = tables.console()
    console.print(bucket_table(buckets, unit, console.width))


def _show_row(console: Any, row: dict[str, Any]) -> None:
    from polyalign.cli._rows import print_row

    title = "  ".join(f"{name} {row[name]}" for name in _IN_TITLE if row.get(name) is not None)
    messages = [message for name in _TEXTS for message in _messages(name, row.get(name))]
    extra = row.get("extra")
    if extra is not None:
        messages.append(("extra", extra if isinstance(extra, str) else json_text.one_line(extra)))
    if not messages:  # written with --assignments-only, or from a table whose texts have names of their own
        messages = [(name, str(value)) for name, value in row.items() if name not in _IN_TITLE and value is not None]
    print_row(console, title, messages)


def _messages(name: str, value: Any) -> list[tuple[str, str]]:
    """Return a text column as (label, text): a message goes under its role, plain text under the column's name."""
    if value is None:
        return []
    if isinstance(value, str):
        return [(name, value)]
    if isinstance(value, list) and all(isinstance(item, dict) and {"role", "content"} <= item.keys() for item in value):
        suffix = f" ({name})" if name in ("chosen", "rejected") else ""
        return [(f"{message['role']}{suffix}", str(message["content"])) for message in value]
    return [(name, str(value))]
