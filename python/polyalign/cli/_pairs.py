"""``polyalign pairs``."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from polyalign.cli import _options as options
from polyalign.cli._exit import complain, tally_exit_code
from polyalign.cli._help import OUTPUT, READING, SCORES, command, option

if TYPE_CHECKING:
    from polyalign.pairs import Report
    from polyalign.pairs._select import Select

_TABLE_ROWS = 40
_EXAMPLES = """
Examples:
  polyalign pairs bucketed/ --samples samples.jsonl --reference human.safetensors --out pairs/
  polyalign pairs bucketed/ --samples a.jsonl --samples b.jsonl --response-field reply --out pairs/
  polyalign pairs bucketed/ --samples samples.jsonl --critic critic/ --out pairs/
  polyalign pairs bucketed/ --samples four-each.jsonl --critic critic/ --select furthest --out pairs/
  polyalign pairs preferences-bucketed/ --reference human.safetensors --out pairs/

Exit codes: 0 fine, 1 error, 2 usage, 3 part of the samples could not be read, 4 too many of them can't be used,
130 interrupted.
"""


def threshold_of(text: str) -> tuple[float, float]:
    """``"0.5,0.9"`` as two percentiles."""
    try:
        good, bad = map(float, text.split(","))
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is not two percentiles such as 0.5,0.9", param_hint="'--threshold'"
        ) from None
    return good, bad


@command(_EXAMPLES)
@click.argument("records", nargs=-1, required=True, metavar="RECORDS...")
@option("--out", "-o", "output", panel=OUTPUT, metavar="DIR", required=True, help="Folder to make.")
@options.overwrite("folder of pairs")
@option(
    "--samples",
    "-s",
    metavar="FILE",
    multiple=True,
    panel=READING,
    help="The model's samples, with the ids of the records: a file, a folder, a glob or -. Repeatable. Without them "
    "RECORDS are preferences. Their text is --response-field, else the first that is there of response, prediction, "
    "generated_text, output and completion.",
)
@option(
    "--reference",
    "-r",
    panel=SCORES,
    metavar="FILE",
    help="Score both responses of every pair with this human reference.",
)
@options.critic("Score them with this saved critic instead")
@option(
    "--select",
    panel=SCORES,
    type=click.Choice(["all", "first", "furthest", "divpo"]),
    default="all",
    help="Of several samples of a record: all make a pair each (the default); the first; the furthest from humans; or "
    "divpo, the least diverse bad one, beside the most diverse good one (or the human response).",
)
@option(
    "--threshold",
    panel=SCORES,
    metavar="GOOD,BAD",
    type=threshold_of,
    default="0.5,0.9",
    help="Of divpo: a sample is good up to the first percentile among humans, bad beyond the second. Default: 0.5,0.9.",
)
@options.support
@options.min_count
@options.records
@options.max_rejects("the samples, or preferences, can't be used. Those equal to the human response don't count")
@options.running
def pairs(
    records: tuple[str, ...],
    output: str,
    overwrite: bool,
    samples: tuple[str, ...],
    reference: str | None,
    critic: str | None,
    select: Select,
    threshold: tuple[float, float],
    support: tuple[float, float],
    min_count: int,
    max_rejects: float,
    threads: int | None,
    json: bool,
    **rest: Any,
) -> int:
    """Make preference pairs: human responses beside a model's, with their scores.

    RECORDS is a folder made by polyalign bucket, or Parquet with id, bucket, prompt and completion: the human
    responses. Each sample of --samples with the id of a record gives a pair: chosen is the human response, rejected
    the sample. Without --samples RECORDS are preferences, with bucket, prompt, chosen and rejected. The output is
    Parquet that load_dataset and the trainer HDPO take as it is. What can't be paired is counted, with the first
    places.
    """
    from polyalign.pairs import pair_files

    if reference is not None and critic is not None:
        raise click.UsageError("--reference and --critic both score the responses: leave one out")
    started = time.perf_counter()
    report = pair_files(
        records,
        output,
        samples=samples or None,
        reference=None if reference is None else options.load_reference(reference),
        critic=critic,
        select=select,
        threshold=threshold,
        support=support,
        min_count=min_count,
        **options.reading(rest),
        overwrite=overwrite,
        threads=threads,
        progress=True,
    )
    if json:
        click.echo(report.to_json())
    else:
        _print(report, time.perf_counter() - started)
    unsampled = report.skipped_by_kind.get("no_sample", 0)
    if unsampled > report.records / 2:
        complain(f"warning: {unsampled:,} of {report.records:,} records have no sample")
    return tally_exit_code(report.faults(), max_rejects)


def _print(report: Report, seconds: float) -> None:
    from polyalign._text import tables
    from polyalign.pairs._report import bucket_table, headline, selection_lines, skip_lines

    console = tables.console()
    console.print(headline(report), style="bold")
    console.print(f"{seconds:.1f} s, {report.rows / max(seconds, 1e-3):,.0f} rows/s")
    console.print(bucket_table(report, _TABLE_ROWS))
    for line in selection_lines(report):
        console.print(line, markup=False)
    for line in skip_lines(report):
        console.print(f"skipped: {line}", markup=False)
    console.print(f"written to {report.output}", markup=False)
