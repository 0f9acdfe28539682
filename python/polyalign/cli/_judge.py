"""``polyalign judge score | pairs | agree | rubric``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from polyalign._io import json_text
from polyalign._text.words import counted
from polyalign.cli import _lines
from polyalign.cli import _options as options
from polyalign.cli._exit import complain, tally_exit_code
from polyalign.cli._help import MODEL, OUTPUT, READING, SAMPLING, SETTINGS, command, flag, option

if TYPE_CHECKING:
    from polyalign.evaluation.judges import Judged

_F = TypeVar("_F", bound=Callable[..., Any])
_SERVER = ("base_url", "api_key_env", "concurrency", "retries", "timeout", "requests_per_minute")
_SHARES = {"same in both orders": "consistent", "first chosen": "first", "longer chosen": "longer"}
_SCORE = """
Examples:
  polyalign judge score hdpo.jsonl --join bucketed/ --base-url http://localhost:8000/v1 --model judge -o scores.jsonl
  polyalign judge score sft.jsonl hdpo.jsonl --join bucketed/ --base-url https://… --model judge --rubric ours.yaml \\
      --humans --cache replies.jsonl -o scores.jsonl

Exit codes: 0 fine, 1 error, 2 usage, 3 part of the answers could not be read, 4 too many could not be judged,
130 interrupted.
"""
_PAIRS = """
Examples:
  polyalign judge pairs hdpo.jsonl --join bucketed/ --base-url http://localhost:8000/v1 --model judge -o pairs.jsonl
  polyalign judge pairs sft.jsonl hdpo.jsonl --join bucketed/ --against sft --base-url https://… --model j -o p.jsonl
"""
_AGREE = """
Examples:
  polyalign judge agree one.jsonl other.jsonl
"""
_RUBRIC = """
Examples:
  polyalign judge rubric > ours.yaml
"""


@click.group(context_settings=SETTINGS)
def judge() -> None:
    """Let a language model judge answers, and see how far to believe it."""


_asked = options.together(
    click.argument("predictions", nargs=-1, required=True, metavar="PREDICTIONS..."),
    option("--out", "-o", "output", panel=OUTPUT, metavar="FILE", required=True, type=click.Path(path_type=Path),
           help="JSON lines, a judgement each: evaluate --judged takes them."),
    options.overwrite("file"),
    option("--cache", panel=OUTPUT, metavar="FILE",
           help="Where replies are kept: the same run goes on from there. Default: FILE with .replies.jsonl."),
    option("--model", panel=MODEL, metavar="NAME", required=True, help="The judge, as the server names it."),
    option("--name", panel=MODEL, metavar="NAME", help="What the judge is called in the output. Default: --model."),
    options.server,
    option("--temperature", panel=SAMPLING, metavar="T", type=click.FloatRange(min=0), default=0.0, help="Default: 0."),
    option("--max-new-tokens", panel=SAMPLING, metavar="N", type=click.IntRange(min=1), default=1024,
           help="The longest reply. Default: 1024."),
    option("--extra", panel=SAMPLING, metavar="JSON", callback=options.json_object,
           help="Further members of each request, as '{\"response_format\": {\"type\": \"json_object\"}}'."),
    option("--join", panel=READING, metavar="DIR", required=True, multiple=True,
           help="The bucketed humans with the same ids. Repeatable."),
    option("--count", metavar="N", type=click.IntRange(min=0), default=20,
           help="So many prompts of every bucket, drawn by the seed; 0: all. Default: 20."),
    option("--min-count", metavar="N", type=click.IntRange(min=1), default=20,
           help="With fewer prompts their number is given in place of a mean. Default: 20."),
    option("--seed", metavar="N", type=click.IntRange(min=0), default=0, help="Default: 0."),
    options.records,
    options.max_rejects("the judgements could not be had"),
    options.running,
)  # fmt: skip


@command(_SCORE)
@_asked
@option(
    "--rubric",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False),
    help="YAML or JSON; polyalign judge rubric prints ours.",
)
@flag("--humans", "Score the humans' answers too.")
def score(rubric: str | None, humans: bool, **given: Any) -> int:
    """Score answers by a rubric, with a language model as the judge.

    PREDICTIONS are models' answers, a file each, with the ids of the humans of --join; NAME=FILE names one. The judge
    sees the conversation, the human's answer and the answer to judge. A reply that can't be read is asked for once
    more, then counted: no number is made of it.
    """
    from polyalign.evaluation.judges import score_files

    return _run(given, score_files, _print_scores, rubric=rubric, humans=humans)


@command(_PAIRS)
@_asked
@option("--against", metavar="NAME", default="human", help="Whose answer each model's stands beside. Default: human.")
@option("--question", metavar="TEXT", help="What is asked. Default: which is more likely to be a person's.")
def pairs(against: str, question: str | None, **given: Any) -> int:
    """Let a judge choose between two answers, each pair in both orders.

    A model wins a pair where its answer is chosen in both orders, and half of it where the order decides. What is
    chosen for its place, and for its length, is printed beside.
    """
    from polyalign.evaluation.judges import CRITERION, pair_files

    return _run(given, pair_files, _print_pairs, against=against, criterion=question or CRITERION)


def _run(
    given: Mapping[str, Any], judge_files: Callable[..., Judged], show: Callable[[Judged], None], **settings: Any
) -> int:
    from polyalign._io.bucketed import Reading
    from polyalign.evaluation.judges import sampling_of
    from polyalign.generation import OpenAIEngine

    output: Path = given["output"]
    if given["base_url"] is None:
        raise click.UsageError("a judge needs the server's --base-url")
    _lines.refuse_existing(output, overwrite=given["overwrite"])
    taken = {name: given[name] for name in _SERVER if given[name] is not None}
    engine = OpenAIEngine(given["model"], body=given["extra"], **taken)
    judged = judge_files(
        engine,
        given["predictions"],
        list(given["join"]),
        judge=given["name"],
        count=given["count"],
        cache=given["cache"] or output.with_suffix(".replies.jsonl"),
        sampling=sampling_of({"temperature": given["temperature"], "max_new_tokens": given["max_new_tokens"]}),
        min_count=given["min_count"],
        seed=given["seed"],
        reading=Reading(threads=given["threads"], **options.reading(given)),
        progress=True,
        **settings,
    )
    _lines.write(output, judged.lines, overwrite=given["overwrite"])
    told = judged.summary
    lines, unreadable = told.pop("lines"), told.pop("unreadable")
    if given["json"]:
        click.echo(json_text.indented({**told, "output": str(output)}))
    else:
        show(judged)
        click.echo(f"written to {output}")
    for line in lines:
        complain(f"not used: {line}")
    for kind, what in told["unjudged"].items():
        complain(f"not judged: {what['count']:,} for {kind}, the first of {what['first']}: {what['reason']}")
    rejected = sum(what["count"] for what in told["unjudged"].values())
    tally = {"unreadable": unreadable, "rejected": rejected, "rows": len(judged.lines)}
    return tally_exit_code(tally, given["max_rejects"])


def _print_scores(judged: Judged) -> None:
    from polyalign._text import tables

    told, console = judged.summary, tables.console()
    models = told["models"]
    names = list(next(iter(models.values()))["totals"])
    columns = {
        "source": list(models),
        "answers": [f"{of['answers']:,}" for of in models.values()],
        **{name: [_cell(of["totals"][name]) for of in models.values()] for name in names},
        "with length": [_cell(of, "spearman", 2) for of in told["length"].values()],
    }
    console.print(tables.columns_table(columns, ("source",)))
    console.print("totals from 0 to 100, with 95% intervals; with length: the rank correlation of overall and length")
    flags = {f"{source}: {name}": of["mean"] for source, each in models.items() for name, of in each["flags"].items()}
    raised = [f"{name} {share:.0%}" for name, share in flags.items() if share]
    if raised:
        console.print("flags: " + ", ".join(raised), markup=False)
    console.print(_spent(told["usage"]))


def _print_pairs(judged: Judged) -> None:
    from polyalign._text import tables

    told, console = judged.summary, tables.console()
    models = told["models"]
    columns = {
        "model": list(models),
        "pairs": [f"{of['pairs']:,}" for of in models.values()],
        f"wins against {told['against']}": [_cell(of["wins"], places=2) for of in models.values()],
        **{name: [_cell(of[key], places=2) for of in models.values()] for name, key in _SHARES.items()},
        "is longer": ["" if of["is_longer"] is None else f"{of['is_longer']:.2f}" for of in models.values()],
    }
    console.print(tables.columns_table(columns, ("model",)))
    console.print("shares, with 95% intervals; first chosen is .5 without a bias of position")
    if told["alike"]:
        console.print(f"{counted(told['alike'], 'pair')} of equal answers left out")
    console.print(_spent(told["usage"]))


def _spent(usage: Mapping[str, int]) -> str:
    kept = f", {usage['kept']:,} replies were there" if usage["kept"] else ""
    unknown = f" ({usage['uncounted']:,} not counted by the server)" if usage["uncounted"] else ""
    return (
        f"{counted(usage['requests'], 'request')}{kept}; {usage['prompt_tokens']:,} tokens asked, "
        f"{usage['completion_tokens']:,} replied{unknown}"
    )


def _cell(value: Mapping[str, Any], name: str = "mean", places: int = 1) -> str:
    if value[name] is None:
        return str(value["reason"])
    return f"{value[name]:.{places}f} ({value['low']:.{places}f} to {value['high']:.{places}f})"


@command(_AGREE)
@click.argument("scores", nargs=-1, required=True, metavar="SCORES...")
@option("--seed", metavar="N", type=click.IntRange(min=0), default=0, help="Of the intervals' draws. Default: 0.")
@options.json_
@options.debug
def agree(scores: tuple[str, ...], seed: int, json: bool) -> int:
    """Say how far judges agree: Krippendorff's alpha by dimension and total.

    SCORES are files that judge score wrote of the same answers, a judge each.
    """
    from polyalign._text import tables
    from polyalign.evaluation.judges import agreement, read_judged

    found = agreement([read_judged(path) for path in scores], seed=seed)
    if json:
        click.echo(json_text.indented(found))
        return 0
    console = tables.console()
    values = {**found["dimensions"], **{f"{name} (total)": of for name, of in found["totals"].items()}}
    columns = {
        "dimension": list(values),
        "answers": [f"{of['answers']:,}" for of in values.values()],
        "alpha": [_cell(of, "alpha", 2) for of in values.values()],
    }
    console.print(tables.columns_table(columns, ("dimension",)))
    for two in found["pairs"]:
        said = two.get("reason") or f"overall differs by {two['difference']:+.1f}, rank correlation {_plain(two)}"
        console.print(f"{' and '.join(two['judges'])}: {said}", markup=False)
    return 0


def _plain(two: Mapping[str, Any]) -> str:
    return "not defined" if two["spearman"] is None else f"{two['spearman']:.2f}"


@command(_RUBRIC)
@options.debug
def rubric() -> int:
    """Print our rubric, to make one's own of it for score --rubric."""
    from polyalign.evaluation.judges._rubric import DEFAULT

    click.echo(DEFAULT.read_text("utf-8"), nl=False)
    return 0


for _command in (score, pairs, agree, rubric):
    judge.add_command(_command)
