"""``polyalign align``."""

from __future__ import annotations

import sys
import time
from contextlib import nullcontext, redirect_stdout
from importlib.util import find_spec
from pathlib import Path

import click

from polyalign.cli import _options as options
from polyalign.cli._help import OUTPUT, command, flag, option

_EXAMPLES = """
Examples:
  polyalign align --init align.yaml            write a file of settings, with comments
  polyalign align align.yaml --dry-run         the plan, with sizes; makes nothing
  polyalign align align.yaml                   do it, or go on where it was
  polyalign align align.yaml --out seed-1/

Exit codes: 0 fine, 1 error, 2 usage, 130 interrupted.
"""


@command(_EXAMPLES)
@click.argument("config", metavar="CONFIG", type=click.Path(dir_okay=False, path_type=Path))
@flag("--init", "Write settings with comments to CONFIG, and stop.", OUTPUT)
@flag("--dry-run", "Show the stages, what is done, and sizes; make nothing.", OUTPUT)
@option("--out", "-o", "output", panel=OUTPUT, metavar="DIR", help="The folder. Default: as CONFIG says.")
@options.overwrite("stage that was made of other things")
@options.json_
@options.debug
def align(config: Path, init: bool, dry_run: bool, output: str | None, overwrite: bool, json: bool) -> int:
    """Do the whole method by one file of settings, and report which model is the most human.

    Buckets a corpus, parts it by group in what trains, a validation and a test part, learns the human reference, trains
    BucketSFT, lets it answer, trains a critic, makes pairs, trains HDPO (and the baselines that CONFIG names), lets all
    of them answer the prompts that were held out, and holds their answers against the humans'. Each stage has a folder
    of its own; one that is done with the same inputs is not done again, so the same command goes on where it was.
    """
    if init:
        return _init(config)
    if not config.is_file():
        raise FileNotFoundError(f"{config}: no such file; polyalign align --init {config} writes one")
    from polyalign.align import Config

    told = Config.read(config, out=output)
    for package in ("torch", "transformers", "trl"):
        if find_spec(package) is None:
            raise ModuleNotFoundError(f"align needs {package}: pip install 'polyalign[train]'", name=package)
    from polyalign.align import align as run
    from polyalign.align import plan

    if dry_run:
        return _show(plan(told, overwrite=overwrite), json=json)
    started = time.perf_counter()
    # A training prints what it does.
    with redirect_stdout(sys.stderr) if json else nullcontext():
        outcome = run(told, overwrite=overwrite, progress=True, say=click.echo)
    if json:
        click.echo(outcome.to_json())
        return 0
    for line in outcome.verdicts:
        click.echo(line)
    click.echo(f"{time.perf_counter() - started:,.0f} s")
    click.echo(f"{outcome.verdict}; report: {outcome.report}")
    return 0


def _init(config: Path) -> int:
    from polyalign._io.output import publishing
    from polyalign.align import example

    with publishing(config, overwrite=False) as made:
        made.write(example().encode())
    click.echo(f"written to {config}; polyalign align {config} --dry-run shows the plan")
    return 0


def _show(stages: list, *, json: bool) -> int:  # type: ignore[type-arg]
    import dataclasses

    from polyalign._io import json_text
    from polyalign._text import tables
    from polyalign.align._report import plan_table

    if json:
        click.echo(json_text.indented([dataclasses.asdict(stage) for stage in stages]))
    else:
        tables.console().print(plan_table(stages))
    return 0
