"""``polyalign human-eval build | analyse | questions``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from polyalign._io import json_text
from polyalign._io.output import publishing
from polyalign._text.words import counted
from polyalign.cli import _lines
from polyalign.cli import _options as options
from polyalign.cli._exit import complain, tally_exit_code
from polyalign.cli._help import OUTPUT, READING, SETTINGS, command, option

if TYPE_CHECKING:
    from polyalign.evaluation._beside import Per
    from polyalign.evaluation.human import Analysis
    from polyalign.evaluation.human._build import Tasks

_BUILD = """
Examples:
  polyalign human-eval build sft.jsonl hdpo.jsonl --join bucketed/ --out page.html
  polyalign human-eval build sft.jsonl ours=hdpo.jsonl --join bucketed/ --per length --count 10 --out page.html
  polyalign human-eval build hdpo.jsonl --join bucketed/ --languages zh --questions ours.yaml --out seite.html

Exit codes: 0 fine, 1 error, 2 usage, 3 part of the answers could not be read, 130 interrupted.
"""
_ANALYSE = """
Examples:
  polyalign human-eval analyse ratings-*.json --key page.key.json
  polyalign human-eval analyse ratings-Ann.json ratings-Bo.json --key page.key.json --json
"""
_QUESTIONS = """
Examples:
  polyalign human-eval questions > ours.yaml
"""


@click.group(name="human-eval", context_settings=SETTINGS)
def human_eval() -> None:
    """Ask people, blindly, how human a model's answers are."""


@command(_BUILD)
@click.argument("predictions", nargs=-1, required=True, metavar="PREDICTIONS...")
@option("--out", "-o", "output", panel=OUTPUT, metavar="PAGE", required=True, type=click.Path(path_type=Path),
        help="The page to make: one .html file that needs no network.")  # fmt: skip
@option("--key", panel=OUTPUT, metavar="FILE", type=click.Path(path_type=Path),
        help="Whose each answer is: keep it from raters. Default: beside the page, PAGE with .key.json.")  # fmt: skip
@options.overwrite("page and key")
@option("--join", panel=READING, metavar="DIR", required=True, multiple=True,
        help="The bucketed humans with the same ids: prompts, buckets, their own answers. Repeatable.")  # fmt: skip
@option("--per", type=click.Choice(["bucket", "length"]), default="bucket",
        help="Draw of every bucket (the default), or of every length of every language.")  # fmt: skip
@option("--count", metavar="N", type=click.IntRange(min=1), default=5, help="Prompts of each. Default: 5.")
@option("--tasks", type=click.Choice(["both", "ratings", "choices"]), default="both",
        help="Rate single answers, choose which of two a person wrote, or both (the default).")  # fmt: skip
@option("--languages", metavar="LIST", help="Only buckets of these languages, as en,zh.")
@option("--questions", metavar="FILE", type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="YAML or JSON with the wording; polyalign human-eval questions prints ours.")  # fmt: skip
@option("--seed", metavar="N", type=click.IntRange(min=0), default=0, help="Of the draw, order, sides. Default: 0.")
@options.records
@options.running
def build(
    predictions: tuple[str, ...],
    output: Path,
    key: Path | None,
    overwrite: bool,
    join: tuple[str, ...],
    per: Per,
    count: int,
    tasks: Tasks,
    languages: str | None,
    questions: Path | None,
    seed: int,
    threads: int | None,
    json: bool,
    **rest: Any,
) -> int:
    """Make a page on which people judge answers without knowing whose they are.

    PREDICTIONS are models' answers, a file each, with the ids of the humans of --join; NAME=FILE names one. Every
    prompt drawn has an answer of each model and of a human; each is rated by itself, and each model's beside the
    human's.
    """
    from polyalign._io.bucketed import Reading
    from polyalign.evaluation.human import build as build_study

    if output.suffix not in (".html", ".htm"):
        raise click.BadParameter(f"{str(output)!r} is not an .html file", param_hint="'--out'")
    key = key or output.with_suffix(".key.json")
    for path in (output, key):
        _lines.refuse_existing(path, overwrite=overwrite)
    study = build_study(
        predictions,
        list(join),
        per=per,
        count=count,
        tasks=tasks,
        languages=options.words(languages),
        seed=seed,
        questions=questions,
        reading=Reading(threads=threads, **options.reading(rest)),
    )
    # Of the two the key appears first: a page without one would be of no use.
    with publishing(output, overwrite=overwrite) as page, publishing(key, overwrite=overwrite) as hidden:
        Path(page.work).write_text(study.page, "utf-8")
        Path(hidden.work).write_text(study.key_json(), "utf-8")
    told = {**study.counts, "output": str(output), "key": str(key)}
    lines, unreadable = told.pop("lines"), told.pop("unreadable")
    if json:
        click.echo(json_text.indented(told))
    else:
        _print_built(told, per, count)
    for line in lines:
        complain(f"not used: {line}")
    return tally_exit_code({"unreadable": unreadable, "rejected": 0, "rows": 1}, 1.0)


def _print_built(told: dict[str, Any], per: str, count: int) -> None:
    what = "bucket" if per == "bucket" else "length"
    prompts, groups = counted(told["prompts"], "prompt"), counted(told["groups"], what)
    click.echo(
        f"{told['ratings']:,} answers to rate and {told['choices']:,} pairs to choose from: {prompts} of {groups}"
    )
    if told["few"]:
        least = min(told["few"], key=told["few"].__getitem__)
        few = counted(len(told["few"]), f"{what} has", f"{what}s have")
        click.echo(f"{few} fewer than {count} prompts, the fewest {least} with {told['few'][least]}")
    if told["alike"] and told["choices"]:
        click.echo(f"{told['alike']:,} pairs are left out: both answers are the same")
    click.echo(f"page: {told['output']}\nkey, which raters must not see: {told['key']}")


@command(_ANALYSE)
@click.argument("ratings", nargs=-1, required=True, metavar="RATINGS...")
@option("--key", metavar="FILE", required=True, help="The key that build wrote.")
@option("--out", "-o", "output", panel=OUTPUT, metavar="FILE", type=click.Path(path_type=Path),
        help="JSON lines, a value of a rater each: evaluate --judged takes them.")  # fmt: skip
@options.overwrite("file")
@option("--min-count", metavar="N", type=click.IntRange(min=1), default=5,
        help="With fewer prompts their number is given in place of a mean. Default: 5.")  # fmt: skip
@option("--seed", metavar="N", type=click.IntRange(min=0), default=0, help="Of the intervals' draws. Default: 0.")
@options.json_
@options.debug
def analyse(
    ratings: tuple[str, ...], key: str, output: Path | None, overwrite: bool, min_count: int, seed: int, json: bool
) -> int:
    """Say what people found: means, how often a model's answer was taken for a person's, and agreement.

    RATINGS are files that the page exported, one a rater.
    """
    from polyalign.evaluation.human import analyse_files

    _lines.refuse_existing(output, overwrite=overwrite)
    found = analyse_files(ratings, key, min_count=min_count, seed=seed)
    if output is not None:
        _lines.write(output, found.lines, overwrite=overwrite)
    if json:
        click.echo(found.to_json())
    else:
        _print_analysis(found)
        if output is not None:
            click.echo(f"written to {output}")
    for problem in found.problems:
        complain(f"not used: {problem}")
    return 0


def _print_analysis(found: Analysis) -> None:
    from polyalign._text import tables

    console = tables.console()
    for rater in found.raters:
        right = "" if rater["right"] is None else f", {rater['right']:.0%} of the choices right"
        console.print(
            f"{rater['name']}: {rater['ratings']:,} of {rater['ratings_asked']:,} answers rated, "
            f"{rater['choices']:,} of {rater['choices_asked']:,} pairs chosen from{right}",
            markup=False,
        )
    questions = list(next(iter(found.models.values()))["ratings"])
    columns = {
        "source": list(found.models),
        **{name: [_cell(of["ratings"][name]) for of in found.models.values()] for name in questions},
        "taken for human": [
            _cell(of["picked"], percent=True) if "picked" in of else "" for of in found.models.values()
        ],
    }
    console.print(tables.columns_table(columns, ("source",)))
    console.print("1 to 5, with 95% intervals; half of a model's answers are taken for human where nobody can tell")
    agreed = {
        "agreement": list(found.agreement),
        "units": [f"{next(iter(of.values()))['units']:,}" for of in found.agreement.values()],
        "alpha": [_cell(next(iter(of.values())), name="alpha") for of in found.agreement.values()],
        "of": [next(iter(of)) for of in found.agreement.values()],
    }
    console.print(tables.columns_table(agreed, ("agreement", "of")))


def _cell(value: dict[str, Any], *, name: str = "mean", percent: bool = False) -> str:
    """Return a value with its interval, or why there is none."""
    if value[name] is None:
        return str(value["reason"])
    numbers = [value[name], *(value[end] for end in ("low", "high") if value[end] is not None)]
    said = [f"{number:.0%}" if percent else f"{number:.2f}" for number in numbers]
    return said[0] if len(said) == 1 else f"{said[0]} ({said[1]} to {said[2]})"


@command(_QUESTIONS)
@options.debug
def questions() -> int:
    """Print our wording of the questions, to make one's own of it for build --questions."""
    from polyalign.evaluation.human._questions import DEFAULT

    click.echo(DEFAULT.read_text("utf-8"), nl=False)
    return 0


for _command in (build, analyse, questions):
    human_eval.add_command(_command)
