"""``polyalign evaluate``."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from polyalign.cli import _options as options
from polyalign.cli._exit import ERROR, UNREADABLE, complain, tally_exit_code
from polyalign.cli._help import OUTPUT, REFERENCE, SCORES, command, option

if TYPE_CHECKING:
    from polyalign.evaluation import Evaluation, Finding

#: A condition of --fail-if came true.
_FAILED = 5
_EXAMPLES = """
Examples:
  polyalign evaluate samples.jsonl --join bucketed/
  polyalign evaluate sft.jsonl hdpo.jsonl --join bucketed/ --reference human.safetensors --html report.html
  polyalign evaluate sft=a/samples.jsonl hdpo=b/samples.jsonl --join bucketed/ --critic held-out/ --json
  polyalign evaluate sft.jsonl hdpo.jsonl --join bucketed/ --judged scores.jsonl --judged detected.jsonl --html r.html
  polyalign evaluate samples.jsonl --join bucketed/ --json > baseline.json
  polyalign evaluate samples.jsonl --join bucketed/ --fail-if 'mmd.macro > 0.02' --fail-if 'worse_than baseline.json'

Exit codes: 0 fine, 1 error or nothing could be judged, 2 usage, 3 part of a file could not be read, 4 too many answers
can't be used, 5 a condition of --fail-if came true, 130 interrupted.
"""


@command(_EXAMPLES)
@click.argument("predictions", nargs=-1, required=True, metavar="PREDICTIONS...")
@option(
    "--join",
    panel=REFERENCE,
    metavar="DIR",
    multiple=True,
    required=True,
    help="The humans' answers: a folder made by polyalign bucket. An answer belongs to the record with its id. "
    "Repeatable.",
)
@option(
    "--reference",
    "-r",
    panel=REFERENCE,
    metavar="FILE",
    help="The human reference that single answers are explained by. Default: one of the humans of --join.",
)
@option(
    "--critic",
    panel=SCORES,
    metavar="DIR",
    multiple=True,
    help="Ask this critic too: the folder that polyalign critic train made, or a reference. Repeatable.",
)
@option(
    "--encoder",
    panel=SCORES,
    metavar="MODEL",
    help="Embed texts with this, for MAUVE and for the report's maps: a folder, or an encoder on the hub, whose last "
    "hidden state is averaged. Default: there is neither.",
)
@option(
    "--judged",
    panel=SCORES,
    metavar="FILE",
    multiple=True,
    help="What judge score, judge pairs, detect --out or human-eval analyse --out wrote of these answers: beside the "
    "metrics, and in the joint score. Repeatable.",
)
@option(
    "--min-count",
    panel=SCORES,
    metavar="N",
    type=click.IntRange(min=5),
    default=20,
    help="A bucket with fewer answered prompts has no numbers. Default: 20.",
)
@option(
    "--draws",
    panel=SCORES,
    metavar="N",
    type=click.IntRange(min=20),
    default=200,
    help="Bootstrap resamples, permutations, and sets of humans. Default: 200.",
)
@option("--seed", panel=SCORES, metavar="N", type=int, default=0, help="Of what is drawn. Default: 0.")
@options.html("Write the report: one file, no network, in English and Chinese.")
@option(
    "--map",
    "maps",
    panel=OUTPUT,
    metavar="LIST",
    default="pca",
    help="How the report's map places answers: of pca, tsne and umap (which needs umap-learn). Default: pca.",
)
@option(
    "--markdown",
    panel=OUTPUT,
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    callback=options.output_file,
    help="Write tables.",
)
@option(
    "--fail-if",
    "conditions",
    panel=OUTPUT,
    metavar="EXPR",
    multiple=True,
    help="Exit with 5 where this is so: 'mmd.macro > 0.02', \"hcr['en|single|qa|short'] < 0.5\", "
    "'worse_than baseline.json' (what --json printed). Repeatable.",
)
@option(
    "--junit",
    panel=OUTPUT,
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    callback=options.output_file,
    help="Write what the conditions came to as JUnit XML.",
)
@options.records
@options.max_rejects("the answers can't be used")
@options.running
def evaluate(
    predictions: tuple[str, ...],
    join: tuple[str, ...],
    reference: str | None,
    critic: tuple[str, ...],
    encoder: str | None,
    judged: tuple[str, ...],
    min_count: int,
    draws: int,
    seed: int,
    html: Path | None,
    maps: str,
    markdown: Path | None,
    conditions: tuple[str, ...],
    junit: Path | None,
    max_rejects: float,
    threads: int | None,
    json: bool,
    **rest: Any,
) -> int:
    """Say how human models' answers are, bucket by bucket, and which model is better.

    PREDICTIONS is a file a model, as polyalign generate writes it: an id and a response, or records; NAME=FILE names
    the model. Each answer is held against the human's with the same id. Prints a verdict, what is worst and where, and
    a table; every number has an interval, and what as many humans get.
    """
    from polyalign.evaluation import Condition, check, evaluate
    from polyalign.evaluation._gate import foresee

    started = time.perf_counter()
    wanted = [_condition(text, Condition.parse) for text in conditions]
    if junit is not None and not wanted:
        raise click.UsageError("--junit says what the conditions of --fail-if came to: give one")
    foresee(wanted)
    evaluation = evaluate(
        _named(predictions),
        list(join) if len(join) > 1 else join[0],
        reference=reference,
        critics=list(critic),
        encoder=encoder,
        judged=list(judged),
        draws=draws,
        min_count=min_count,
        seed=seed,
        page=html is not None,
        maps=options.words(maps) or (),
        **options.reading(rest),
        threads=threads,
        progress=_say,
    )
    if html is not None:
        evaluation.to_html(html)
    if markdown is not None:
        _write(markdown, evaluation.to_markdown().encode())
    if json:
        click.echo(evaluation.to_json())
    else:
        _print(evaluation, html, time.perf_counter() - started)
    return _exit_code(evaluation, check(evaluation, wanted), junit, max_rejects)


def _condition(text: str, parse: Any) -> Any:
    try:
        return parse(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="'--fail-if'") from None


def _named(predictions: Sequence[str]) -> Any:
    """Return files by the names that they are given; ``NAME=FILE`` is one unless there is such a file."""
    if not any("=" in given and not Path(given).exists() for given in predictions):
        return list(predictions)
    from polyalign.evaluation._predictions import named_file

    found: dict[str, str] = {}
    for given in predictions:
        name, path = named_file(given)
        if name in found:
            raise click.UsageError(f"two models are called {name!r}")
        found[name] = path
    return found


def _say(what: str) -> None:
    """Say what is done next, on a terminal only."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{what} …", end="", file=sys.stderr, flush=True)
        if what == "done":
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _write(path: Path, data: bytes) -> None:
    from polyalign._io.output import publishing

    with publishing(path, overwrite=True) as output:
        output.write(data)


def _print(evaluation: Evaluation, html: Path | None, seconds: float) -> None:
    from polyalign._text import tables
    from polyalign.evaluation._verdict import lines

    console = tables.console()
    for line in lines(evaluation, console.width):
        console.print(line)
    where = "" if html is None else f"; report: {html}"
    console.print(f"{seconds:.1f} s{where}", markup=False)


def _exit_code(evaluation: Evaluation, findings: Sequence[Finding], junit: Path | None, max_rejects: float) -> int:
    if junit is not None:
        from polyalign.evaluation import junit as as_junit

        _write(junit, as_junit(findings))
    for finding in findings:
        complain(f"{'failed' if finding.failed else 'passed'}: {finding.line}")
    codes = [_FAILED] if any(finding.failed for finding in findings) else []
    for model in evaluation.models:
        left_out = model.counts["answers"] - model.counts["compared"]
        tally = {"rows": model.counts["answers"], "rejected": left_out, "unreadable": model.unreadable}
        codes.append(tally_exit_code(tally, max_rejects))
    if not any(model.buckets for model in evaluation.models):
        complain(_nothing(evaluation))
        codes.append(ERROR)
    # A failed condition says the most; then a file that is not whole.
    return next((code for code in (_FAILED, UNREADABLE, ERROR) if code in codes), max(codes))


def _nothing(evaluation: Evaluation) -> str:
    """Say why there is no number, and what to do."""
    most, bucket = max((count, bucket) for model in evaluation.models for bucket, count in model.prompts.items())
    need = evaluation.settings["min_count"]
    if most >= need:
        why = next(model.not_enough[bucket] for model in evaluation.models if bucket in model.not_enough)
        return f"nothing could be judged: {bucket}: {why}; answer prompts of more conversations or documents"
    return (
        f"nothing could be judged: no bucket has {need} answered prompts (the most: {most} in {bucket}); "
        f"answer more prompts, or lower --min-count (5 at the least)"
    )
