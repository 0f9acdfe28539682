"""``polyalign score``."""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from polyalign._io import json_text
from polyalign.cli import _options as options
from polyalign.cli._exit import complain, rejected, tally_exit_code
from polyalign.cli._help import OUTPUT, REFERENCE, SCORES, command, flag, option

if TYPE_CHECKING:
    from polyalign.reference import Reference

_TABLE_ROWS = 40
_EXAMPLES = """
Examples:
  polyalign score answers.jsonl --reference human.safetensors                       a table, bucket by bucket
  polyalign score answers.jsonl --reference human.safetensors --join bucketed/ --out scores.parquet
  polyalign score answers.jsonl -r human.safetensors --explain 3 --out - | jq 'select(.percentile > 0.95)'
  polyalign score answers.jsonl -r human.safetensors --critic critic/ --out scores.jsonl
  cat answers.jsonl | polyalign score - --reference human.safetensors --json

Exit codes: 0 fine, 1 error, 2 usage, 3 part of the input could not be read, 4 too many rejects, 130 interrupted.
"""


@command(_EXAMPLES)
@options.inputs
@option(
    "--out",
    "-o",
    "output",
    panel=OUTPUT,
    metavar="FILE",
    help="A line a response: scores.jsonl, scores.parquet, or - for JSON lines on standard output.",
)
@options.overwrite("file")
@option(
    "--explain",
    panel=OUTPUT,
    metavar="N",
    type=click.IntRange(min=0),
    default=0,
    help="Say in each line which features put the response outside, N at most.",
)
@option(
    "--reference",
    "-r",
    panel=REFERENCE,
    metavar="FILE",
    required=True,
    help="The human reference: a file, a folder with one, or a data set on the hub.",
)
@option(
    "--join",
    panel=SCORES,
    metavar="DIR",
    multiple=True,
    help="Take the buckets of the human answers with the same ids, from a folder made by polyalign bucket. Repeatable.",
)
@flag("--own-length", "Score against the bin of the response's own length, which hides verbosity.", SCORES)
@option("--tokenizer", "-t", panel=SCORES, metavar="NAME", help="For --own-length, where lengths are in tokens.")
@options.critic("Score the responses with this critic too")
@options.lm("Count the features of the language model that the reference was built with, in the columns critic", SCORES)
@options.support
@options.min_count
@options.bucket_field
@options.records
@options.language_field
@options.track_field
@options.family_field
@options.source_field
@options.limits
@options.running
def score(
    inputs: tuple[str, ...],
    output: str | None,
    overwrite: bool,
    explain: int,
    reference: str,
    join: tuple[str, ...],
    own_length: bool,
    tokenizer: str | None,
    critic: str | None,
    lm: str | None,
    support: tuple[float, float],
    min_count: int,
    bucket_field: str | None,
    limit: int | None,
    max_record_bytes: int,
    max_rejects: float,
    threads: int | None,
    json: bool,
    **rest: Any,
) -> int:
    """Measure how far responses are from the humans of their buckets.

    INPUT is a file, a folder, a quoted glob, a hub data set or - for standard input, with records of any shape that
    polyalign bucket reads, or of ids and responses alone (response, prediction, generated_text, output, completion).
    A response is scored against the bucket that its record names (bucket), else that of the human answer with the same
    id (--join), else its language, track and family over all lengths. Prints the means of every bucket; --out writes a
    line for every response.
    """
    if json and output == "-":
        raise click.UsageError("--json and --out - both print to standard output: give --out a file")
    if explain and output is None:
        raise click.BadParameter("what stands out is said in the lines of --out: give one", param_hint="'--explain'")
    started = time.perf_counter()
    humans = options.load_reference(reference)
    if lm is not None and critic is not None:
        raise click.UsageError("--lm and --critic are both a critic beside the distance: leave one out")
    report = _scoring(humans, critic, lm)(
        inputs,
        output,
        tokenizer=tokenizer,
        overwrite=overwrite,
        join=join,
        own_length=own_length,
        explain=explain,
        bucket_field=bucket_field,
        **options.reading(rest),
        support=support,
        min_count=min_count,
        limit=limit,
        max_record_bytes=max_record_bytes,
        threads=threads,
        progress=True,
    )
    warnings = _warnings(report, bool(join))
    if lm is None and humans.lm is not None:
        from polyalign.reference._lm import uncounted

        warnings.append(uncounted(humans.lm).replace("as lm=", "with --lm"))
    if json:
        click.echo(json_text.indented(report))
        for warning in warnings if join else ():
            complain(f"warning: {warning}")
    else:
        _print(report, warnings, output, time.perf_counter() - started)
    if not report["tally"]["rows"]:
        complain("warning: the input holds no records")
    return tally_exit_code(report["tally"], max_rejects)


def _scoring(reference: Reference, critic: str | None, lm: str | None) -> Callable[..., dict[str, Any]]:
    """Return what scores files: the reference, or beside it a critic or a language model."""
    if critic is None and lm is None:
        return reference.score_files
    from polyalign.scoring import score_files

    return functools.partial(score_files, reference, critic, lm=lm)


def _warnings(report: Mapping[str, Any], joined: bool) -> list[str]:
    """Say which numbers mean less than they seem."""
    rows, warnings = report["tally"]["used"], []
    guessed, without_prompt = report["told_by"]["record"], report["without_prompt"]
    if guessed:
        neither = "name no bucket and join no human answer" if joined else "name no bucket"
        mend = "do their ids match those of --join?" if joined else "--join BUCKETED scores each against its own humans"
        warnings.append(
            f"{guessed:,} of {rows:,} responses {neither}: compared with all lengths of the language, track and family "
            f"that they say or seem to have; {mend}"
        )
    if without_prompt:
        warnings.append(
            f"{without_prompt:,} of {rows:,} responses have no prompt: what compares a response with it does not count"
        )
    unscored = report["critic"]["unscored"] if "critic" in report else 0
    if unscored:
        warnings.append(
            f"{unscored:,} of {report['tally']['rows']:,} rows have no score of {report['critic']['name']}: they can't "
            "be read, or it knows no humans of their bucket"
        )
    return warnings


def _print(report: Mapping[str, Any], warnings: Sequence[str], output: str | None, seconds: float) -> None:
    """Print the table; beside lines on standard output, to standard error."""
    from polyalign._text import tables

    console = tables.console(sys.stderr if output == "-" else None)
    tally = report["tally"]
    console.print(
        f"{tally['rows']:,} rows ({tables.size(tally['bytes'])}): {report['scored']:,} scored, "
        f"{report['unscored']:,} without a score, {tally['rejected']:,} rejected",
        style="bold",
    )
    console.print(f"{seconds:.1f} s, {tally['rows'] / max(seconds, 1e-3):,.0f} rows/s")
    for line in options.response_found(tally):
        console.print(line, markup=False)
    for warning in warnings:
        console.print(f"warning: {warning}", style="yellow", markup=False)
    if "critic" in report:
        told = report["critic"]
        percentile = (
            f", mean percentile {tables.number(told['mean_percentile'], '.0%')}" if "mean_percentile" in told else ""
        )
        console.print(
            f"{told['name']}: {told['scored']:,} scored, mean {tables.number(told['mean'], '.3f')}{percentile}"
        )
    if report["buckets"]:
        console.print(tables.score_table(report["buckets"], console.width, _TABLE_ROWS))
    for kind, rows in sorted(report["unscored_by_reason"].items(), key=lambda item: -item[1]):
        console.print(f"without a score: {rows:,} ({kind}): {report['unscored_examples'][kind]}", markup=False)
    for line in rejected(tally["rejected_by_kind"], tally["first_rejects"].values()):
        console.print(line, markup=False)
    if output not in (None, "-"):
        console.print(f"written to {output}", markup=False)
