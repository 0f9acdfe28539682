"""``polyalign reference diff``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from polyalign._io import json_text
from polyalign.cli import _options as options
from polyalign.cli._help import command, option

if TYPE_CHECKING:
    from polyalign.reference import Reference

_LISTED = 10
_EXAMPLES = """
Examples:
  polyalign reference diff human.safetensors model.safetensors
  polyalign reference diff human.safetensors model.safetensors --html page.html   all of it, in a browser
  polyalign reference diff 2023.safetensors 2024.safetensors --top 50 --json
"""


@command(_EXAMPLES)
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@option("--top", metavar="N", type=click.IntRange(min=1), default=20, help="How many differences. Default: 20.")
@option(
    "--min-count",
    metavar="N",
    type=click.IntRange(min=1),
    default=20,
    help="Leave out features with fewer values than this on either side. Default: 20.",
)
@options.html("Write all of it as a page, bucket by bucket.")
@options.threads
@options.json_
@options.debug
def diff(first: str, second: str, top: int, min_count: int, html: Path | None, threads: int | None, json: bool) -> None:
    """Say in which buckets and features two references differ most.

    W1/σ is the Wasserstein distance over A's standard deviation (no less than the feature's scale): how far a value
    moves on average. KS is the largest gap between the two shares of values below any point.
    """
    a, b = options.load_reference(first), options.load_reference(second)
    try:
        if html is not None:
            a.plot(html, against=b, names=_names(first, second), min_count=min_count, threads=threads)
            if not json:
                click.echo(f"written to {html}")
                return
        rows = _differences(a, b, threads)
    except ValueError as error:
        raise ValueError(f"{first} and {second}: {error}") from None
    counted = [row for row in rows if min(row["count"], row["other_count"]) >= min_count]
    counted.sort(key=lambda row: -row["wasserstein_scaled"])  # stable: then by bucket and feature
    there_a, there_b = set(a.buckets), set(b.buckets)
    found = {
        "a": {"file": first, "rows": a.rows, "buckets": len(a)},
        "b": {"file": second, "rows": b.rows, "buckets": len(b)},
        "common": sorted(there_a & there_b),
        "only_a": sorted(there_a - there_b),
        "only_b": sorted(there_b - there_a),
        "compared": len(counted),
        "left_out": len(rows) - len(counted),
        "mean_wasserstein_scaled": sum(row["wasserstein_scaled"] for row in counted) / len(counted)
        if counted
        else None,
        "differences": counted[:top],
    }
    if json:
        click.echo(json_text.indented(found))
    else:
        from polyalign.features import registry

        units = {feature.name: feature.unit for feature in registry(a._info["variant"])}
        _print(found, units, min_count)


def _names(*files: str) -> tuple[str, str]:
    """Return what two files are called on a page: their own names, if those tell them apart."""
    one, two = (file.rstrip("/").rpartition("/")[2].removesuffix(".safetensors") for file in files)
    return (one, two) if one and two and one != two else (files[0], files[1])


def _differences(a: Reference, b: Reference, threads: int | None) -> list[dict[str, Any]]:
    """Return the rows of `Reference.diff` with values on both sides, and the medians."""
    rows = _rows(a.diff(b, threads=threads))
    medians = [
        {(row["bucket"], row["feature"]): row["q50"] for row in _rows(of.describe(), "bucket", "feature", "q50")}
        for of in (a, b)
    ]
    for row in rows:
        row["median"], row["other_median"] = (of.get((row["bucket"], row["feature"])) for of in medians)
    return [row for row in rows if row["count"] and row["other_count"]]


def _rows(table: Any, *names: str) -> list[dict[str, Any]]:
    names = names or tuple(table.column_names)
    columns = [[value.as_py() for value in table[name]] for name in names]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def _print(found: dict[str, Any], units: dict[str, str], min_count: int) -> None:
    from polyalign._text import tables
    from polyalign.reference import _terminal

    console = tables.console()
    for side in "ab":
        of = found[side]
        line = f"{side.upper()}  {of['file']}: {of['rows']:,} humans in {of['buckets']:,} buckets"
        console.print(line, markup=False, style="bold")
    left_out = f"; {found['left_out']:,} left out for fewer than {min_count} values" if found["left_out"] else ""
    console.print(
        f"{len(found['common']):,} buckets in common, {found['compared']:,} features of them compared{left_out}"
    )
    for side in "ab":
        only = found[f"only_{side}"]
        if only:
            more = f" and {len(only) - _LISTED:,} more" if len(only) > _LISTED else ""
            console.print(f"only {side.upper()} has {', '.join(only[:_LISTED])}{more}", markup=False)
    if not found["differences"]:
        console.print("nothing to compare" if not found["compared"] else "no differences")
        return
    _terminal.difference_table(found["differences"], units, console)
    console.print(f"mean W1/σ of all that was compared: {found['mean_wasserstein_scaled']:.3f}")
