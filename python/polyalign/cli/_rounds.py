"""``polyalign rounds``."""

from __future__ import annotations

import sys
import time
from contextlib import nullcontext, redirect_stdout
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from polyalign.cli import _early
from polyalign.cli import _options as options
from polyalign.cli._help import MODEL, OUTPUT, PROMPTS, SAMPLING, SCORES, command, option
from polyalign.cli._pairs import threshold_of

_KINDS = ("ensemble", "support", "lexical", "discriminative", "embedding", "neural")
_EXAMPLES = """
Examples:
  polyalign rounds bucketed/ --model out/sft --hdpo hdpo.yaml --out rounds/
  polyalign rounds bucketed/ --model out/sft --hdpo hdpo.yaml --rounds 3 --prompts 2000 -k 8 --out rounds/
  polyalign rounds bucketed/ --model out/sft --launch "accelerate launch --config_file ddp.yaml" --out rounds/

Exit codes: 0 fine, 1 error, 2 usage, 130 interrupted.
"""
_positive = click.IntRange(min=1)


@command(_EXAMPLES)
@click.argument("bucketed", metavar="BUCKETED", type=click.Path(exists=True, file_okay=False, path_type=Path))
@option("--out", "-o", "output", panel=OUTPUT, metavar="DIR", required=True, help="Folder to make, or to go on in.")
@options.overwrite("stage that was made of other things")
@option(
    "--model",
    "-m",
    panel=MODEL,
    metavar="NAME",
    required=True,
    help="What to begin with: a folder, or a name on the hub.",
)
@option("--rounds", "-n", panel=MODEL, metavar="N", type=_positive, default=2, help="How many rounds. Default: 2.")
@option(
    "--hdpo",
    panel=MODEL,
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="YAML of the training's settings, as polyalign hdpo --config takes it; not model, data, critics and output.",
)
@option(
    "--launch",
    panel=MODEL,
    metavar="COMMAND",
    help="What trains on several devices, as 'accelerate launch --config_file ddp.yaml'. Default: this process.",
)
@option(
    "--dtype",
    panel=MODEL,
    type=click.Choice(["auto", "float32", "bfloat16", "float16"]),
    help="Of the model that answers. Default: auto, that of the checkpoint.",
)
@option("--device", panel=MODEL, metavar="DEVICE", help="Of the model that answers. Default: an accelerator, else cpu.")
@option(
    "--batch-tokens",
    panel=MODEL,
    metavar="N",
    type=_positive,
    help="Compute so many tokens of answers together at most. Default: 16384.",
)
@option(
    "--samples",
    "-k",
    panel=SAMPLING,
    metavar="N",
    type=_positive,
    default=4,
    help="Answers to each prompt. Default: 4.",
)
@option(
    "--temperature",
    panel=SAMPLING,
    metavar="T",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    help="Default: 1, the model's own distribution.",
)
@option(
    "--max-new-tokens",
    panel=SAMPLING,
    metavar="N",
    type=_positive,
    default=512,
    help="The longest answer. Default: 512.",
)
@option(
    "--seed",
    panel=SAMPLING,
    metavar="N",
    type=click.IntRange(min=0),
    default=0,
    help="Each round draws by a seed of its own, made of this one. Default: 0.",
)
@option(
    "--prompts",
    panel=PROMPTS,
    metavar="N",
    type=_positive,
    help="Answer at most so many prompts a round, the same ones in each. Default: all that train.",
)
@option("--max-prompt-tokens", panel=PROMPTS, metavar="N", type=_positive, help="Leave out longer prompts.")
@option(
    "--evaluate",
    panel=PROMPTS,
    metavar="N",
    type=_positive,
    default=200,
    help="So many prompts, of those that bucket --test-share held out, are answered after each round. Default: 200.",
)
@option(
    "--select",
    panel=SCORES,
    type=click.Choice(["all", "first", "furthest", "divpo"]),
    default="furthest",
    help="Which answers are rejected responses, as of polyalign pairs. Default: furthest.",
)
@option(
    "--threshold",
    panel=SCORES,
    metavar="GOOD,BAD",
    type=threshold_of,
    default="0.5,0.9",
    help="Of divpo, as of polyalign pairs. Default: 0.5,0.9.",
)
@option(
    "--critic",
    panel=SCORES,
    type=click.Choice(_KINDS),
    default="ensemble",
    help="The kind that pairs are scored by, and that is trained against; made anew in each round. Default: ensemble.",
)
@option(
    "--critic-samples",
    panel=SCORES,
    type=click.Choice(["all", "last"]),
    default="all",
    help="It learns from the answers of all rounds so far (the default), or of the last one.",
)
@option(
    "--held-out",
    panel=SCORES,
    type=click.Choice(["embedding", "support", "lexical"]),
    default="embedding",
    help="The kind that nothing is trained against, made once, of humans alone. Default: embedding.",
)
@option("--held-out-critic", panel=SCORES, metavar="DIR", help="A saved critic in its place.")
@option(
    "--encoder",
    panel=SCORES,
    metavar="NAME",
    help="Of embedding and neural: a folder, or an encoder on the hub. Default: --model.",
)
@options.threads
@options.json_
@options.config
@options.debug
def rounds(
    bucketed: Path,
    output: str,
    overwrite: bool,
    model: str,
    dtype: str | None,
    device: str | None,
    batch_tokens: int | None,
    samples: int,
    temperature: float,
    max_new_tokens: int,
    seed: int,
    json: bool,
    **rest: Any,
) -> int:
    """Answer, train a critic, make pairs, train by HDPO; and again with the model that comes out.

    BUCKETED is a folder made by polyalign bucket, best with --test-share: the prompts it held out are answered after
    each round, and scored by a critic that nothing trains against. Each stage has a folder of its own; one that is done
    is not done again, so the same command goes on where it was, and one with more --rounds adds them.
    """
    _early.check_model("--model", model)
    for package in ("torch", "transformers", "trl"):
        if find_spec(package) is None:
            raise ModuleNotFoundError(f"rounds need {package}: pip install 'polyalign[train]'", name=package)
    from polyalign.generation import Sampling
    from polyalign.rounds import rounds as run
    from polyalign.rounds._report import lines

    engine = {"dtype": dtype, "device": device, "batch_tokens": batch_tokens}
    started = time.perf_counter()
    # A training prints what it does.
    with redirect_stdout(sys.stderr) if json else nullcontext():
        report = run(
            bucketed,
            model,
            output,
            sampling=Sampling(samples=samples, temperature=temperature, max_new_tokens=max_new_tokens, seed=seed),
            engine={name: value for name, value in engine.items() if value is not None},
            overwrite=overwrite,
            progress=True,
            say=click.echo,
            **rest,
        )
    if json:
        click.echo(report.to_json())
        return 0
    _print(lines(report), time.perf_counter() - started, report.output)
    return 0


def _print(parts: list[Any], seconds: float, output: str) -> None:
    from polyalign._text import tables

    console = tables.console()
    for part in parts:
        console.print(part, markup=False) if isinstance(part, str) else console.print(part)
    console.print(f"{seconds:,.0f} s; written to {output}", markup=False)
