"""``polyalign sft`` and ``polyalign hdpo``."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import click

from polyalign._io.extras import training_module
from polyalign.cli import _early
from polyalign.cli._help import SETTINGS, Command

_TRL = {
    "--config FILE": "YAML file of options by their names; flags override it.",
    "--model_name_or_path NAME": "The model: a folder (an adapter's, too, which then trains on) or a name on the hub.",
    "--dataset_name NAME": "What to train on: a folder of {made_by}, a data file, or a name on the hub.",
    "--dataset_train_split SPLIT": "Such as train, or train[:98%]. Default: train.",
    "--dataset_test_split SPLIT": "What --eval_strategy steps evaluates. Default: test.",
    "--test_split_size SHARE|N": "Evaluate this part of the rows, drawn at random, and train on the others.",
    "--dataset_streaming": "Read while training; needs --max_steps.",
    "--output_dir DIR": "Where checkpoints and the trained model go. Default: trainer_output.",
    "--resume_from_checkpoint true|DIR": "Go on from the last checkpoint of --output_dir, or from this one.",
    "--use_peft": "Train a LoRA adapter: --lora_r, --lora_alpha, --lora_target_modules, …",
    "--load_in_4bit": "Load the model quantised.",
    "--push_to_hub": "Upload the trained model.",
}
# TRL's, but for HDPO, where it is ours.
_EOS = [
    (
        "--eos_token TOKEN",
        "The token that ends a response. Default: the tokenizer's; where the responses all end in another, that.",
    )
]
_MORE = """
All options of TRL's {config} and ModelConfig (--learning_rate, --max_length, --per_device_train_batch_size,
--gradient_accumulation_steps, --bf16, --report_to, …) are taken as they are; --help-all lists them. Dashes may
stand for underscores in flags.
"""
_CODES = "Exit codes: 0 fine, 1 error, 2 usage, 130 interrupted."
_SFT_EXAMPLES = f"""
Examples:
  polyalign sft --model_name_or_path Qwen/Qwen2.5-1.5B --dataset_name bucketed/ --output_dir out/sft
  polyalign sft --config sft.yaml --tau 0.25 --resume_from_checkpoint true
  accelerate launch --config_file fsdp2.yaml -m polyalign sft --config sft.yaml
  torchrun --nproc_per_node 8 -m polyalign sft --config sft.yaml

{_CODES}
"""
_HDPO_EXAMPLES = f"""
Examples:
  polyalign hdpo --model_name_or_path out/sft --dataset_name pairs/ --reference human.safetensors --output_dir out/hdpo
  polyalign hdpo --config hdpo.yaml --lambda_online 0
  accelerate launch --config_file ddp.yaml -m polyalign hdpo --config hdpo.yaml

{_CODES}
"""


class _Script(Command):
    """A command that hands its arguments over as they are."""

    def __init__(self, *arguments: Any, config: str, **rest: Any) -> None:
        super().__init__(*arguments, **rest)
        self.config = config
        self.made_by = {"sft": "polyalign bucket", "hdpo": "polyalign pairs"}[self.name or ""]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep the arguments; show help."""
        if {"-h", "--help"} & set(args):
            click.echo(ctx.get_help())
            ctx.exit()
        if {"--help-all", "--help_all"} & set(args):
            click.echo(_training().make_parser(str(self.name)).format_help())
            ctx.exit()
        ctx.params["arguments"] = args
        return []

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """Return what follows the command's name."""
        return ["[--config FILE]", "[OPTIONS]"]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write our options, then those of TRL's that are used most."""
        with formatter.section("Model, data, output"):
            formatter.write_dl([(flag, what.format(made_by=self.made_by)) for flag, what in _TRL.items()])
        with formatter.section("Buckets and weights" if self.name == "sft" else "Weights, scores, samples"):
            formatter.write_dl([*(_EOS if self.name == "sft" else []), *self.own_options()])
        formatter.write(_MORE.format(config=self.config))
        with formatter.section("General"):
            formatter.write_dl(
                [
                    ("--help-all", "List all options, of TRL's and transformers' too."),
                    ("--debug", "Show a traceback on errors."),
                    ("-h, --help", "Show this message and exit."),
                ]
            )

    def own_options(self) -> Iterator[tuple[str, str]]:
        """Give the options that are ours, and what they are."""
        from polyalign.cli._script import HDPOOptions, SFTOptions
        from polyalign.trainers._settings import BucketSFTSettings, HDPOSettings

        declared = {"sft": (BucketSFTSettings, SFTOptions), "hdpo": (HDPOOptions, HDPOSettings)}
        for settings in declared[self.name or ""]:
            yield from map(_record, dataclasses.fields(settings))


def _record(field: dataclasses.Field[Any]) -> tuple[str, str]:
    text = field.metadata["help"]
    choices = f" {'|'.join(field.metadata['choices'])}" if "choices" in field.metadata else ""
    if field.default is not None and "Default:" not in text:
        text += f" Default: {field.default}."
    return f"--{field.name}{choices}", text


def _training() -> Any:
    return training_module("polyalign.cli._training")


@click.command(
    "sft",
    cls=_Script,
    epilog=_SFT_EXAMPLES,
    context_settings=SETTINGS,
    config="SFTConfig",
)
def sft(arguments: list[str]) -> None:
    """Fine-tune a model on human responses, every bucket with its say.

    TRL's supervised fine-tuning with weights by bucket (BucketSFT). The data have prompt, completion and bucket, as
    polyalign bucket writes them. Prints the weights before it trains.
    """
    _early.check("sft", arguments)
    _training().train_sft(arguments)


@click.command(
    "hdpo",
    cls=_Script,
    epilog=_HDPO_EXAMPLES,
    context_settings=SETTINGS,
    config="DPOConfig",
)
def hdpo(arguments: list[str]) -> None:
    """Train a model to prefer human responses, and towards the humans of every bucket.

    TRL's DPO with pairs weighted by bucket, the distance from humans as a regulariser, and responses that the model
    samples while it trains (HDPO). The data have prompt, chosen, rejected, bucket and, best, both scores, as polyalign
    pairs writes them.
    """
    _early.check("hdpo", arguments)
    _training().train_hdpo(arguments)
