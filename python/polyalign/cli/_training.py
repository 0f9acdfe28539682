"""What ``polyalign sft`` and ``polyalign hdpo`` do; imported once one of them runs, with torch and TRL."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import click
import datasets
import torch
import transformers
from accelerate import PartialState
from transformers.trainer_utils import get_last_checkpoint

from polyalign._io.manifests import check_fits
from polyalign._io.models import is_adapter, why_not
from polyalign._text.words import counted
from polyalign.cli import _early
from polyalign.cli import _options as options
from polyalign.cli._script import HDPOOptions, SFTOptions
from polyalign.critics import SupportCritic
from polyalign.critics._given import as_critic
from polyalign.generation import Sampling
from polyalign.trainers import HDPO, BucketSFT, BucketSFTConfig, EvaluationCallback, HDPOConfig
from polyalign.trainers._logs import printing
from polyalign.trainers._prepare.given import load
from polyalign.trainers._prepare.held_out import count_held_out, hold_out
from polyalign.trainers._processes import agreed
from polyalign.trainers._trl import (
    DatasetMixtureConfig,
    ModelConfig,
    ScriptArguments,
    TrlParser,
    create_model_from_path,
    get_dataset,
    get_peft_config,
    get_quantization_config,
)

__all__ = ["HDPOArguments", "SFTArguments", "make_parser", "train_hdpo", "train_sft"]


@dataclass
class SFTArguments(SFTOptions, ScriptArguments):
    """What ``polyalign sft`` takes beside the settings of the trainer and of the model."""


@dataclass
class HDPOArguments(HDPOOptions, SFTArguments):
    """What ``polyalign hdpo`` takes beside the settings of the trainer and of the model."""


def train_sft(arguments: Sequence[str]) -> None:
    """Run ``polyalign sft``."""
    script, args, model_args, mixture = parse("sft", arguments)
    with _console(args):
        with agreed():
            resume = _checkpoint(args)
            model = _model(model_args, args)
            train, evaluation, held = _data(script, mixture, args)
            counts = _counts(script)
        trainer = BucketSFT(
            args=args,
            train_dataset=train,
            eval_dataset=evaluation,
            bucket_counts=counts,
            **model,
        )
        if trainer.bucket_weights is not None:
            trainer.accelerator.print(trainer.bucket_weights)
        if trainer.drawing is not None:
            trainer.accelerator.print(trainer.drawing)
        _watch(trainer, script, script.eval_humans or held or script.dataset_name)
        _train(trainer, script, resume)


def train_hdpo(arguments: Sequence[str]) -> None:
    """Run ``polyalign hdpo``."""
    script, args, model_args, mixture = parse("hdpo", arguments)
    with _console(args):
        with agreed():
            resume = _checkpoint(args)
            reference = None if script.reference is None else options.load_reference(script.reference)
            critic, held_out = as_critic(script.critic), as_critic(script.held_out_critic)
            if critic is None and reference is not None:
                critic = SupportCritic(reference, support=options.band(script.support), min_count=script.min_count)
            for name in (script.dataset_name, *(each.path for each in mixture.datasets)):
                if name:
                    check_fits(name, reference, critic, held_out)
            model = _model(model_args, args)
            train, evaluation, _ = _data(script, mixture, args)
            ref_model, counts = _ref_model(script.ref_model, model_args, args), _counts(script)
        trainer = HDPO(
            ref_model=ref_model,
            args=args,
            train_dataset=train,
            eval_dataset=evaluation,
            reference=reference,
            critic=critic,
            held_out_critic=held_out,
            bucket_counts=counts,
            **model,
        )
        critics = {} if held_out is None else {"held_out": held_out}
        _watch(trainer, script, script.eval_humans, reference=reference, critics=critics)
        _train(trainer, script, resume)


# ------------------------------------------------------------------------------------------------------- the options


class _Parser(TrlParser):
    """TRL's parser, whose errors are usage errors of the command line."""

    def error(self, message: str) -> NoReturn:
        raise click.UsageError(message)


def make_parser(command: str) -> TrlParser:
    """Return the parser of a command, ``sft`` or ``hdpo``."""
    own = {"sft": (SFTArguments, BucketSFTConfig), "hdpo": (HDPOArguments, HDPOConfig)}[command]
    parser = _Parser((*own, ModelConfig, DatasetMixtureConfig), prog=f"polyalign {command}", allow_abbrev=False)
    # As everywhere in polyalign: bars are for terminals.
    parser.set_defaults(disable_tqdm=not sys.stderr.isatty())
    return parser


def parse(command: str, arguments: Sequence[str]) -> tuple[Any, Any, Any, Any]:
    """Read flags and the file of ``--config``.

    Raises
    ------
    click.UsageError
        An unknown option or key, or a value that it can't have.
    """
    arguments = _early.normal(arguments)
    parser = make_parser(command)
    known = {each.name for kind in parser.dataclass_types for each in dataclasses.fields(kind) if each.init}
    flags, in_file = list(arguments), set()
    if "--config" in flags:
        at = flags.index("--config")
        in_file = _early.config_keys(flags[at + 1], known)
        del flags[at : at + 2]
    namespace, unknown = parser.parse_known_args(flags)
    if unknown:
        raise click.UsageError(f"no such option: {unknown[0]}{_early.near(unknown[0], known)}")
    if not (namespace.model_name_or_path or "model_name_or_path" in in_file):
        raise click.UsageError("say which model to train: --model_name_or_path")
    if not (namespace.dataset_name or in_file & {"dataset_name", "datasets"}):
        raise click.UsageError("say what to train on: --dataset_name")
    try:
        script, args, model_args, mixture = parser.parse_args_and_config(arguments)
    except (ValueError, TypeError, ImportError) as error:
        raise click.UsageError(str(error)) from error
    if not 0 <= script.test_share < 1:
        raise click.UsageError(f"test_share is {script.test_share:g}: it must be at least 0 and below 1")
    if script.eval_humans_every < 0 or (script.eval_humans and not script.eval_humans_every):
        raise click.UsageError("eval_humans_every says every how many steps held-out prompts are answered: 1 or more")
    if script.dataset_name and mixture.datasets:
        raise click.UsageError("dataset_name and datasets both say what to train on: leave one out")
    return script, args, model_args, mixture


def _checkpoint(args: Any) -> str | None:
    """Return the checkpoint to go on from."""
    given = args.resume_from_checkpoint
    if given is None or str(given).lower() == "false":
        return None
    if str(given).lower() == "true":
        last: str | None = get_last_checkpoint(args.output_dir) if Path(args.output_dir).is_dir() else None
        if last is None:
            raise FileNotFoundError(f"resume_from_checkpoint: there is no checkpoint in {args.output_dir}")
        return last
    if not Path(given).is_dir():
        raise FileNotFoundError(f"resume_from_checkpoint: {given}: no such folder")
    return str(given)


# ---------------------------------------------------------------------------------------------------------- the data


def _data(script: Any, mixture: Any, args: Any) -> tuple[Any, Any, Any]:
    """Return what trains, what is evaluated, if anything, and what `test_share` holds out."""
    evaluates = args.eval_strategy != "no"
    if mixture.datasets:
        train = get_dataset(dataclasses.replace(mixture, test_split_size=None))["train"]
    else:
        train = _split(script, "train")
    if script.test_share:
        if mixture.test_split_size is not None:
            raise ValueError("test_share and test_split_size both say what is held out: leave one out")
        train, held_out, said = hold_out(train, script.test_share)
        PartialState().print(said)
        return train, held_out if evaluates else None, held_out
    if mixture.test_split_size is not None:
        if isinstance(train, datasets.IterableDataset):
            raise ValueError("test_split_size: a data set that streams can't be split; name a --dataset_test_split")
        size = mixture.test_split_size
        # The same rows on every process.
        parts = train.train_test_split(int(size) if size >= 1 else size, seed=args.seed)
        return parts["train"], parts["test"] if evaluates else None, None
    if evaluates and mixture.datasets:
        raise ValueError("eval_strategy: of datasets a part is evaluated that test_split_size says")
    evaluation = _split(script, "test") if evaluates else None
    if isinstance(evaluation, datasets.Dataset):
        PartialState().print(count_held_out(evaluation))
    return train, evaluation, None


def _split(script: Any, kind: str) -> Any:
    name, split = script.dataset_name, getattr(script, f"dataset_{kind}_split")
    try:
        return load(name, script.dataset_config, split, streaming=script.dataset_streaming)
    except (ValueError, KeyError) as error:
        if "split" not in str(error):
            raise
        hint = "; --test_share 0.05 holds out a part of those that train" if kind == "test" else ""
        raise ValueError(f"{name}: --dataset_{kind}_split {split}: {error}{hint}") from None


def _counts(script: Any) -> dict[str, int] | None:
    """Return rows by bucket, as a manifest has them."""
    path = script.bucket_counts
    if path is None:
        path = script.dataset_name or ""
        if not (script.dataset_streaming and (Path(path) / "manifest.json").is_file()):
            return None
    file = Path(path) / "manifest.json" if Path(path).is_dir() else Path(path)
    try:
        found = json.loads(file.read_text("utf-8"))
        buckets = found.get("buckets", found)
        if isinstance(buckets, list):
            buckets = {each["bucket"]: _trains(each) for each in buckets}
        counts = {str(bucket): int(count) for bucket, count in buckets.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(f"{file}: neither a manifest of buckets nor a JSON object of counts by bucket") from None
    # A bucket of which all is held out trains nothing.
    counts = {bucket: count for bucket, count in counts.items() if count}
    if not counts:
        raise ValueError(f"{file}: it counts no bucket")
    return counts


def _trains(bucket: Mapping[str, Any]) -> int:
    """Return how many rows of a bucket train, as a manifest has it: rows without those held out, or pairs."""
    return int(bucket["rows"]) - int(bucket.get("held_out", 0)) if "rows" in bucket else int(bucket["pairs"])


# --------------------------------------------------------------------------------------------------------- the model


def _model(model_args: Any, args: Any) -> dict[str, Any]:
    """Return what the trainer is told of the model."""
    name, quantization = model_args.model_name_or_path, get_quantization_config(model_args)
    adapts = is_adapter(name)
    if model_args.use_peft or adapts:
        _require_peft()
    if not adapts:
        args.model_init_kwargs = kwargs = _init_kwargs(model_args, args)
        try:  # now, not once the data are read
            transformers.AutoConfig.from_pretrained(
                name, revision=kwargs["revision"], trust_remote_code=kwargs["trust_remote_code"]
            )
        except OSError as error:
            raise OSError(f"model {name}: {why_not(name, error)}") from error
        peft_config = get_peft_config(model_args)
        return {"model": name, "peft_config": peft_config, "quantization_config": quantization}
    if model_args.use_peft:
        raise ValueError(
            f"{name} holds an adapter, which is what trains on: leave use_peft out, or merge it into its model first"
        )
    from peft import AutoPeftModelForCausalLM

    kwargs = _init_kwargs(model_args, args)
    del kwargs["revision"]  # the adapter says which base model
    if quantization is not None:
        kwargs["quantization_config"] = quantization
    args.model_init_kwargs = None
    model = AutoPeftModelForCausalLM.from_pretrained(name, is_trainable=True, **kwargs)
    return {"model": model, "processing_class": transformers.AutoTokenizer.from_pretrained(name)}


def _init_kwargs(model_args: Any, args: Any) -> dict[str, Any]:
    """Return how a model is loaded."""
    return {
        "revision": model_args.model_revision,
        "trust_remote_code": args.trust_remote_code,
        "attn_implementation": model_args.attn_implementation,
        "dtype": model_args.dtype,
        **(args.model_init_kwargs or {}),
    }


def _ref_model(name: str | None, model_args: Any, args: Any) -> Any:
    if name is None:
        return None
    kwargs = _init_kwargs(model_args, args)
    if name != model_args.model_name_or_path:
        del kwargs["revision"]
    # The trainer puts it where the other one is.
    return create_model_from_path(name, device_map=None, **kwargs)


def _require_peft() -> None:
    if not transformers.utils.is_peft_available():
        raise ModuleNotFoundError("adapters need peft: pip install 'polyalign[peft]'", name="peft")


# ------------------------------------------------------------------------------------------------------ the training


def _watch(trainer: Any, script: Any, records: Any, **more: Any) -> None:
    """Have held-out prompts of records answered while the model trains, where that is asked for."""
    if not script.eval_humans_every:
        return
    if records is None or isinstance(records, datasets.IterableDataset):
        raise ValueError("eval_humans_every: say of what the held-out prompts are: --eval_humans FOLDER")
    sampling = Sampling(max_new_tokens=script.eval_humans_max_new_tokens)
    every, prompts = script.eval_humans_every, script.eval_humans_prompts
    with agreed():
        watch = EvaluationCallback(trainer, records, every=every, prompts=prompts, sampling=sampling, **more)
    trainer.add_callback(watch)


def _train(trainer: Any, script: Any, resume: str | None) -> None:
    """Train, save, and say what came of it."""
    args, started = trainer.args, time.perf_counter()
    if script.ignore_bias_buffers:  # as in TRL's script
        buffers = [name for name, buffer in trainer.model.named_buffers() if buffer.dtype == torch.bool]
        trainer.model._ddp_params_and_buffers_to_ignore = buffers
    output = trainer.train(resume_from_checkpoint=resume)
    trainer.save_model(args.output_dir)
    # A path on this machine says nothing to others.
    is_local = script.dataset_name is None or Path(script.dataset_name).exists()
    dataset_name = None if is_local else script.dataset_name
    trainer.create_model_card(dataset_name=dataset_name)
    steps, seconds = output.global_step, time.perf_counter() - started
    trainer.accelerator.print(
        f"{counted(steps, 'step')} in {seconds:,.0f} s, mean loss {output.training_loss:.4g}; "
        f"written to {args.output_dir}"
    )
    if args.push_to_hub:
        trainer.push_to_hub(dataset_name=dataset_name)
        trainer.accelerator.print(f"pushed to https://huggingface.co/{trainer.hub_model_id}")
    trainer.end()


@contextmanager
def _console(args: Any) -> Iterator[None]:
    """Print what is ours to say; bars to terminals only."""
    if args.disable_tqdm:
        datasets.disable_progress_bars()
        transformers.utils.logging.disable_progress_bar()
    with printing(is_main=args.process_index == 0):
        yield
