"""``polyalign critic train | score | compare``."""

from __future__ import annotations

import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from polyalign import _core
from polyalign._io import json_text
from polyalign._io.output import publishing
from polyalign.cli import _options as options
from polyalign.cli._exit import complain, tally_exit_code
from polyalign.cli._help import OUTPUT, READING, REFERENCE, SCORES, SETTINGS, command, option

_F = TypeVar("_F", bound=Callable[..., Any])
_KINDS = ("support", "lexical", "discriminative", "embedding", "neural", "ensemble")
_TRAIN = """
Examples:
  polyalign critic train bucketed/ --samples samples.jsonl --out critic/     support, lexical and discriminative in one
  polyalign critic train bucketed/ --kind lexical --out lexical/             no samples needed
  polyalign critic train bucketed/ --samples samples.jsonl --reference human.safetensors --out critic/
  polyalign critic train bucketed/ --samples samples.jsonl --kind neural --encoder encoder/ --out neural/
  polyalign critic train bucketed/ --kind support --lm HuggingFaceTB/SmolLM2-135M --out support/
"""
_SCORE = """
Examples:
  polyalign critic score answers.jsonl --critic critic/ --join bucketed/ --out scores.jsonl
  polyalign critic score answers.jsonl --critic critic/ --join bucketed/ --out - | jq 'select(.percentile > 0.95)'
"""
_COMPARE = """
Examples:
  polyalign critic compare held-out/ --critic support/ --critic critic/ --samples samples.jsonl
  polyalign critic compare held-out/ --critic critic/ --samples samples.jsonl --steps 500 --html critics.html
"""


@click.group(context_settings=SETTINGS)
def critic() -> None:
    """Train critics, score with them, and see what they can be fooled with."""


_records = click.argument("records", nargs=-1, required=True, metavar="RECORDS...")
_seed = option("--seed", metavar="N", type=click.IntRange(min=0), default=0, help="Default: 0.")


def _samples(*, what: str) -> Callable[[_F], _F]:
    return option(
        "--samples",
        "-s",
        metavar="FILE",
        multiple=True,
        panel=READING,
        help=f"A model's responses, with the ids of the records: {what} Repeatable.",
    )


@contextmanager
def _one_line_warnings() -> Iterator[None]:
    """Say warnings as the command line does."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        shown = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if category is UserWarning:
                told = " ".join(str(message).split()).replace("give it as lm=", "give it with --lm")
                complain(f"warning: {told}")
            else:
                shown(message, category, *where, **more)

        warnings.showwarning = show
        yield


@command(_TRAIN)
@_records
@option("--out", "-o", "output", panel=OUTPUT, metavar="DIR", required=True, help="Folder to make.")
@options.overwrite("critic")
@option(
    "--kind",
    type=click.Choice(_KINDS),
    default="ensemble",
    help="ensemble (the default): as far out as the furthest of support, lexical and, with samples, discriminative.",
)
@_samples(what="what discriminative learns the machine by.")
@option(
    "--reference",
    "-r",
    panel=REFERENCE,
    metavar="FILE",
    help="The human reference. Default: built of all rows but those that calibrate.",
)
@option(
    "--encoder",
    panel=REFERENCE,
    metavar="NAME",
    help="A folder, or an encoder on the hub, whose last hidden state is averaged. embedding and neural need one; "
    "discriminative and ensemble take one.",
)
@options.lm(
    "Of support: the features of this causal language model count, those of --reference or else of every row, which it "
    "reads. Of discriminative and ensemble: the classifier has them, and it reads some ten texts for each of its rows",
    REFERENCE,
)
@option(
    "--train-encoder",
    panel=REFERENCE,
    metavar="LAYERS",
    help="Of neural: the encoder learns too, so many of its last layers, or all. Default: it is as it is.",
)
@option(
    "--checkpoint",
    panel=OUTPUT,
    metavar="DIR",
    help="Of neural: a folder in which the training is kept; the same command goes on from there.",
)
@option(
    "--max-humans",
    panel=READING,
    metavar="N",
    type=click.IntRange(min=20),
    default=20_000,
    help="At most so many rows with a sample train the classifier, and 5,000 without. Default: 20000.",
)
@_seed
@options.config
@options.threads
@options.json_
@options.debug
def train(
    records: tuple[str, ...],
    output: str,
    overwrite: bool,
    kind: str,
    samples: tuple[str, ...],
    reference: str | None,
    encoder: str | None,
    lm: str | None,
    train_encoder: str | None,
    checkpoint: str | None,
    max_humans: int,
    seed: int,
    threads: int | None,
    json: bool,
) -> int:
    """Train a critic: what tells human responses from a model's, and from gibberish.

    RECORDS is a folder made by polyalign bucket, or Parquet with id, bucket, prompt and completion. Rows of one group
    are trained on or calibrated with, never both. The critic is a folder that --critic of pairs, hdpo and score takes.
    """
    from polyalign.critics._train import train as train_critic

    started = time.perf_counter()
    layers = _layers(train_encoder)
    is_first = os.environ.get("RANK", "0") == "0"  # of the processes of accelerate launch
    if output == "-":
        raise click.UsageError("--out is -: a critic is a folder; name one")
    if is_first:
        _check_free(output, overwrite)
    with _one_line_warnings():
        made, told = train_critic(
            kind,  # type: ignore[arg-type]
            list(records),
            samples=list(samples) or None,
            reference=None if reference is None else options.load_reference(reference),
            encoder=encoder,
            lm=lm,
            train_encoder=layers,
            checkpoint=checkpoint,
            max_humans=max_humans,
            seed=seed,
            threads=threads,
            progress=is_first,
        )
    if not is_first:
        return 0
    made.save(output, overwrite=overwrite)
    if json:
        click.echo(json_text.indented({"kind": kind, **told, "output": output}))
        return 0
    click.echo(f"{made!r}")
    click.echo("rows: " + ", ".join(f"{count:,} {use}" for use, count in told["rows"].items()))
    for line in told["skipped"]:
        click.echo(f"not used: {line}")
    for line in told["notes"]:
        click.echo(f"note: {line}")
    click.echo(f"{time.perf_counter() - started:.1f} s; written to {output}")
    return 0


def _check_free(output: str, overwrite: bool) -> None:
    """Say what can't be written before the work."""
    if not overwrite and Path(output).exists() and any(Path(output).iterdir() if Path(output).is_dir() else [1]):
        raise FileExistsError(f"{output}: exists already; --overwrite replaces it")
    _core.Output(output, "critic", overwrite).release()


def _layers(given: str | None) -> bool | int:
    """Return what of an encoder learns."""
    if given is None or given == "all":
        return given is not None
    if not given.isdecimal() or not int(given):
        raise click.UsageError(f"--train-encoder is {given!r}: a number of layers, or all")
    return int(given)


@command(_SCORE)
@_records
@option("--out", "-o", "output", panel=OUTPUT, metavar="FILE", required=True, help="JSON lines; - for standard output.")
@options.overwrite("file")
@option("--critic", "-c", panel=SCORES, metavar="DIR", required=True, help="The critic, as critic train made it.")
@option(
    "--join",
    panel=SCORES,
    metavar="DIR",
    required=True,
    multiple=True,
    help="The bucketed humans with the same ids: their buckets, and the prompts. Repeatable.",
)
@options.json_
@options.threads
@options.debug
def score(
    records: tuple[str, ...],
    output: str,
    overwrite: bool,
    critic: str,
    join: tuple[str, ...],
    json: bool,
    threads: int | None,
) -> int:
    """Score responses with a critic: lines with id, bucket, score and percentile.

    RECORDS are a model's responses with the ids of the humans of --join, as polyalign score reads them. A percentile is
    read as "further out than this share of the bucket's humans"; null where there is no score.
    """
    from polyalign import critics
    from polyalign.critics._score import score_files

    asked = critics.load(critic)
    if output == "-":
        told = score_files(asked, list(records), list(join), sys.stdout, threads=threads)
    else:
        with publishing(output, overwrite=overwrite) as made, Path(made.work).open("w", encoding="utf-8") as file:
            told = score_files(asked, list(records), list(join), file, threads=threads)
    if json and output != "-":
        click.echo(json_text.indented(told))
        return _exit_code(told)
    complain(
        f"{told['rows']:,} responses: {told['scored']:,} scored, {told['unscored']:,} without a score, "
        f"{told['unmatched']:,} with the id of no human response"
    )
    for line in told["skipped"]:
        complain(f"not used: {line}")
    return _exit_code(told)


def _exit_code(told: dict[str, Any]) -> int:
    """Say which files could not be read to their end; return the exit code that it makes."""
    return tally_exit_code({**told, "rejected": 0}, 1.0)


@command(_COMPARE)
@_records
@option(
    "--critic",
    "-c",
    "folders",
    panel=SCORES,
    metavar="DIR",
    required=True,
    multiple=True,
    help="A critic, as critic train made it. Repeatable. NAME=DIR names it.",
)
@_samples(what="the first test.")
@option("--older", metavar="FILE", multiple=True, panel=READING, help="Another model's, which no critic has seen.")
@option(
    "--steps",
    metavar="N",
    type=click.IntRange(min=0),
    default=0,
    help="Steps of gibberish towards each critic, in buckets of 20 humans. Default: 0.",
)
@option(
    "--limit",
    panel=READING,
    metavar="N",
    type=click.IntRange(min=1),
    default=2000,
    help="Humans at most. Default: 2000.",
)
@option(
    "--split",
    panel=READING,
    type=click.Choice(["test", "train"]),
    help="Which rows of a bucketed folder. Default: what bucket --test-share held out, where it did, else all.",
)
@options.html("Write a page with every bucket.")
@options.overwrite("page")
@_seed
@options.json_
@options.debug
def compare(
    records: tuple[str, ...],
    folders: tuple[str, ...],
    samples: tuple[str, ...],
    older: tuple[str, ...],
    steps: int,
    limit: int,
    split: str | None,
    html: Path | None,
    overwrite: bool,
    seed: int,
    json: bool,
) -> int:
    """Compare critics: what they tell from humans, what fools them, how they are calibrated.

    RECORDS are human responses that no critic was trained on: a folder made by polyalign bucket, or Parquet with id,
    bucket, prompt and completion. Of those with samples, and else of all, --limit are taken by the hash of their group.
    """
    from polyalign import critics
    from polyalign.critics._score import compare_files

    asked = {}
    for folder in folders:
        name, _, path = folder.rpartition("=")
        asked[name or Path(path).name] = critics.load(path)
    if len(asked) < len(folders):
        raise click.UsageError("two critics have the same name: give them others, NAME=DIR")
    found, skipped = compare_files(
        asked,
        list(records),
        list(samples) or None,
        list(older) or None,
        split=split,
        steps=steps,
        limit=limit,
        seed=seed,
        progress=True,
    )
    if html is not None:
        found.to_html(html, overwrite=overwrite)
    click.echo(json_text.indented(found.to_dict()) if json else str(found))
    for line in skipped:
        complain(f"not used: {line}")
    return 0


for _command in (train, score, compare):
    critic.add_command(_command)
