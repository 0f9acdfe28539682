"""``polyalign detect``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from polyalign._io import json_text
from polyalign.cli import _lines
from polyalign.cli import _options as options
from polyalign.cli._exit import complain, tally_exit_code
from polyalign.cli._help import MODEL, OUTPUT, READING, command, option

_EXAMPLES = """
Examples:
  polyalign detect sft.jsonl hdpo.jsonl --join bucketed/ --detector fast-detectgpt=Qwen/Qwen2.5-1.5B
  polyalign detect hdpo.jsonl --join bucketed/ --detector classifier=TrustSafeAI/RADAR-Vicuna-7B,0 \\
      --detector binoculars=Qwen/Qwen2.5-1.5B,Qwen/Qwen2.5-1.5B-Instruct --count 0 --json

Exit codes: 0 fine, 1 error, 2 usage, 3 part of the answers could not be read, 130 interrupted.
"""


@command(_EXAMPLES)
@click.argument("predictions", nargs=-1, required=True, metavar="PREDICTIONS...")
@option(
    "--detector",
    "-d",
    "specs",
    panel=MODEL,
    metavar="KIND=MODEL",
    required=True,
    multiple=True,
    help="fast-detectgpt=MODEL[,OBSERVER], binoculars=OBSERVER,PERFORMER or classifier=MODEL[,LABEL]. Repeatable.",
)
@option(
    "--out",
    "-o",
    "output",
    panel=OUTPUT,
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="JSON lines, a score an answer: evaluate --judged takes them.",
)
@options.overwrite("file")
@option("--max-length", panel=MODEL, metavar="N", type=click.IntRange(min=2), help="Tokens of a text looked at.")
@option(
    "--join",
    panel=READING,
    metavar="DIR",
    required=True,
    multiple=True,
    help="The bucketed humans with the same ids. Repeatable.",
)
@option(
    "--count",
    metavar="N",
    type=click.IntRange(min=0),
    default=20,
    help="So many prompts of every bucket, drawn by the seed; 0: all. Default: 20.",
)
@option("--with-prompts", is_flag=True, help="Show detectors what was answered; in the papers texts stand alone.")
@option(
    "--min-count",
    metavar="N",
    type=click.IntRange(min=1),
    default=20,
    help="With fewer texts their number is given in place of a value. Default: 20.",
)
@option("--seed", metavar="N", type=click.IntRange(min=0), default=0, help="Default: 0.")
@options.records
@options.running
def detect(
    predictions: tuple[str, ...],
    specs: tuple[str, ...],
    output: Path | None,
    overwrite: bool,
    max_length: int | None,
    join: tuple[str, ...],
    count: int,
    with_prompts: bool,
    min_count: int,
    seed: int,
    threads: int | None,
    json: bool,
    **rest: Any,
) -> int:
    """Say how well detectors of machine text tell models' answers from humans'.

    PREDICTIONS are models' answers, a file each, with the ids of the humans of --join; NAME=FILE names one. The less an
    answer can be told from the human's to the same prompt, the nearer the AUROC to .5.
    """
    from polyalign._io.bucketed import Reading
    from polyalign._io.extras import training_module

    _lines.refuse_existing(output, overwrite=overwrite)
    for package in ("torch", "transformers"):
        training_module(package, "a detector")
    files = training_module("polyalign.evaluation.detectors", "a detector")
    told = files.detect_files(
        {spec: files.open_detector(spec, max_length=max_length) for spec in specs},
        predictions,
        list(join),
        count=count,
        with_prompts=with_prompts,
        min_count=min_count,
        seed=seed,
        reading=Reading(threads=threads, **options.reading(rest)),
    )
    lines, unreadable, scores = (told.pop(name) for name in ("lines", "unreadable", "scores"))
    if output is not None:
        _lines.write(output, scores, overwrite=overwrite)
    if json:
        click.echo(json_text.indented(told))
    else:
        _print(told)
        if output is not None:
            click.echo(f"written to {output}")
    for line in lines:
        complain(f"not used: {line}")
    return tally_exit_code({"unreadable": unreadable, "rejected": 0, "rows": 1}, 1.0)


def _print(told: dict[str, Any]) -> None:
    from polyalign._text import tables

    rows = [
        (spec, model, form.replace("_", " "), found)
        for spec, models in told["detectors"].items()
        for model, forms in models.items()
        for form, found in forms.items()
    ]
    columns = {
        "detector": [spec for spec, *_ in rows],
        "model": [model for _, model, *_ in rows],
        "texts": [form for *_, form, _ in rows],
        "AUROC": [_cell(found["auroc"]) for *_, found in rows],
        **{f"TPR at {rate} FPR": [_cell(found["tpr"][rate]) for *_, found in rows] for rate in rows[0][3]["tpr"]},
        "unscored": [f"{found['unscored']:,}" for *_, found in rows],
    }
    console = tables.console()
    console.print(tables.columns_table(columns, ("detector", "model", "texts")))
    console.print(f"{told['prompts']:,} prompts; 95% intervals; .5 where a model's answers can't be told from humans'")


def _cell(value: dict[str, Any]) -> str:
    if value["value"] is None:
        return str(value["reason"])
    return f"{value['value']:.2f} ({value['low']:.2f} to {value['high']:.2f})"
