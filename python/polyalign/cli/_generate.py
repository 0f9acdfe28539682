"""``polyalign generate``."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from polyalign._io.extras import training_module
from polyalign.cli import _early
from polyalign.cli import _options as options
from polyalign.cli._exit import complain, tally_exit_code
from polyalign.cli._help import BUCKETS, MODEL, OUTPUT, PROMPTS, SAMPLING, command, flag, option

if TYPE_CHECKING:
    from polyalign.generation import Engine, Report

_TABLE_ROWS = 40
_EXAMPLES = """
Examples:
  polyalign generate bucketed/ --model out/sft --out samples.jsonl
  polyalign generate bucketed/ --model Qwen/Qwen2.5-1.5B-Instruct -k 4 --per-bucket 500 --out samples.jsonl
  polyalign generate bucketed/ --model Qwen/Qwen2.5-1.5B --few-shot 4 --form dialogue --out base.jsonl
  polyalign generate bucketed/ --model org/model --base-url http://localhost:8000/v1 --out samples.jsonl

Exit codes: 0 fine, 1 error, 2 usage, 4 too many prompts can't be answered, 130 interrupted.
"""
#: Which options an engine takes beside those that all do.
_OF_ENGINE = {
    "transformers": (
        "revision",
        "adapter",
        "dtype",
        "device",
        "attention",
        "batch_tokens",
        "template",
        "trust_remote_code",
    ),
    "vllm": ("revision", "adapter", "dtype", "template", "trust_remote_code", "extra"),
    "openai": ("base_url", "api_key_env", "concurrency", "retries", "timeout", "requests_per_minute", "extra"),
}
_FLAG_OF = {"template": "--chat-template"}


def _positive(kind: type = int, *, least: float = 1) -> Any:
    return click.IntRange(min=int(least)) if kind is int else click.FloatRange(min=least, min_open=least == 0)


_OUTPUT = options.together(
    option("--out", "-o", "output", panel=OUTPUT, metavar="FILE", required=True, help="File to make: samples.jsonl."),
    options.overwrite("file, and what an interrupted run with other settings left"),
)
_MODEL = options.together(
    option(
        "--model",
        "-m",
        panel=MODEL,
        metavar="NAME",
        required=True,
        help="A folder, an adapter's folder, a name on the hub, or what a server calls its model.",
    ),
    option(
        "--engine",
        panel=MODEL,
        type=click.Choice(list(_OF_ENGINE)),
        help="What answers. Default: openai with --base-url, else transformers.",
    ),
    option("--revision", panel=MODEL, metavar="REVISION", help="Of the model on the hub."),
    option("--adapter", panel=MODEL, metavar="DIR", help="A PEFT adapter to put on the model."),
    option(
        "--dtype",
        panel=MODEL,
        type=click.Choice(["auto", "float32", "bfloat16", "float16"]),
        help="Default: auto, that of the checkpoint.",
    ),
    option(
        "--device",
        panel=MODEL,
        metavar="DEVICE",
        help="As torch names it; auto spreads a model over several. Default: an accelerator if there is one, else cpu.",
    ),
    option(
        "--attention",
        panel=MODEL,
        metavar="NAME",
        help="sdpa, eager, flash_attention_2, …. Default: transformers' choice.",
    ),
    option(
        "--batch-tokens",
        panel=MODEL,
        metavar="N",
        type=_positive(),
        help="Compute so many tokens together at most: rows, times the longest prompt and --max-new-tokens. "
        "Default: 16384; more on a large device.",
    ),
    option(
        "--chat-template",
        "template",
        panel=MODEL,
        metavar="FILE",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="A chat template in place of the tokenizer's.",
    ),
    option(
        "--chat-template-kwargs",
        "template_arguments",
        panel=MODEL,
        metavar="JSON",
        callback=options.json_object,
        help="Arguments of the template, as '{\"enable_thinking\": false}'.",
    ),
    option("--trust-remote-code", panel=MODEL, is_flag=True, default=None, help="Run code that comes with the model."),
    option(
        "--extra",
        panel=MODEL,
        metavar="JSON",
        callback=options.json_object,
        help="More that vllm.LLM, or a request to a server, takes.",
    ),
)
_SAMPLING = options.together(
    option(
        "--samples",
        "-k",
        panel=SAMPLING,
        metavar="N",
        type=_positive(),
        default=1,
        help="Answers to each prompt. Default: 1.",
    ),
    option(
        "--temperature",
        panel=SAMPLING,
        metavar="T",
        type=click.FloatRange(min=0),
        default=1.0,
        help="0: the likeliest token, always. Default: 1, the model's own distribution.",
    ),
    option(
        "--top-p",
        panel=SAMPLING,
        metavar="P",
        type=click.FloatRange(0, 1, min_open=True),
        default=1.0,
        help="Draw from the likeliest tokens with this probability together. Default: 1.",
    ),
    option(
        "--top-k",
        panel=SAMPLING,
        metavar="N",
        type=_positive(least=0),
        default=0,
        help="Draw from so many likeliest tokens. Default: 0, all.",
    ),
    option(
        "--max-new-tokens",
        panel=SAMPLING,
        metavar="N",
        type=_positive(),
        default=512,
        help="The longest answer. Default: 512.",
    ),
    option(
        "--min-new-tokens",
        panel=SAMPLING,
        metavar="N",
        type=_positive(least=0),
        default=0,
        help="The shortest. Default: 0.",
    ),
    option("--stop", panel=SAMPLING, metavar="TEXT", multiple=True, help="A text at which an answer ends. Repeatable."),
    option(
        "--seed",
        panel=SAMPLING,
        metavar="N",
        type=_positive(least=0),
        default=0,
        help="Each answer has a seed of its own: of this, the id and its number. Default: 0.",
    ),
)
_PROMPTS = options.together(
    option(
        "--form",
        panel=PROMPTS,
        type=click.Choice(["chat", "dialogue", "plain"]),
        help="By the chat template; as text with User: and Assistant:; or the prompt's text alone. Default: chat "
        "where there is a template, else dialogue.",
    ),
    option(
        "--few-shot",
        panel=PROMPTS,
        metavar="N",
        type=_positive(least=0),
        help="Show so many records of the same bucket first, never of the row's own group. Default: 3 in a "
        "dialogue, else 0.",
    ),
    option(
        "--conditioning",
        panel=PROMPTS,
        metavar="TEXT",
        help="A system line with fields in braces, as sft and hdpo take it: '{family}, {length} answer'.",
    ),
    flag("--think", "Name the bucket and ask to think first; the answer is what follows.", PROMPTS),
)
_ROWS = options.together(
    option(
        "--split",
        panel=BUCKETS,
        type=click.Choice(["train", "test"]),
        default="train",
        help="test: the rows that polyalign bucket --test-share held out. Default: train.",
    ),
    option(
        "--buckets",
        "-b",
        panel=BUCKETS,
        metavar="ID",
        multiple=True,
        help="Answer these alone: ids, or patterns as 'en|*'. Repeatable.",
    ),
    option(
        "--per-bucket",
        panel=BUCKETS,
        metavar="N",
        type=_positive(),
        help="At most so many prompts of each bucket: the same ones always, spread over its rows.",
    ),
    option("--limit", panel=BUCKETS, metavar="N", type=_positive(), help="At most so many prompts in all, likewise."),
    option("--max-prompt-tokens", panel=BUCKETS, metavar="N", type=_positive(), help="Leave out longer prompts."),
)


@command(_EXAMPLES)
@click.argument("records", nargs=-1, required=True, metavar="RECORDS...")
@_OUTPUT
@_MODEL
@options.server
@_SAMPLING
@_PROMPTS
@_ROWS
@options.max_rejects("the prompts can't be answered; those over --max-prompt-tokens don't count")
@options.json_
@options.config
@options.debug
def generate(
    records: tuple[str, ...],
    output: str,
    overwrite: bool,
    max_rejects: float,
    json: bool,
    **rest: Any,
) -> int:
    """Answer the prompts of a bucketed set with a model.

    RECORDS is a folder made by polyalign bucket, or Parquet with id, bucket and prompt. The output has a JSON line for
    each answer, with id, bucket, sample, prompt, response, finish (stop, or length where it was cut) and tokens, as
    polyalign pairs and score read them; _FILE.json beside it says what it was made with. An interrupted run goes on
    where it was.
    """
    from polyalign.generation import Prompting, Sampling, Selection, generate_file

    def taken(kind: Any) -> Any:
        return kind(**{field.name: rest.pop(field.name) for field in dataclasses.fields(kind)})

    sampling, prompting, selection = map(taken, (Sampling, Prompting, Selection))
    if selection.max_prompt_tokens and (rest["base_url"] or rest["engine"] == "openai"):
        raise click.UsageError("--max-prompt-tokens: how many tokens a prompt has only the server knows: leave it out")
    engine = _engine(rest)
    started = time.perf_counter()
    report = generate_file(
        list(records),
        output,
        engine,
        sampling,
        prompting=prompting,
        selection=selection,
        overwrite=overwrite,
        progress=True,
        say=lambda line: complain(f"warning: {line}"),
    )
    if json:
        click.echo(report.to_json())
    else:
        _print(report, time.perf_counter() - started)
    for share, what in ((report.cut, "cut at --max-new-tokens"), (report.empty, "without text")):
        if share > report.samples / 2:
            complain(f"warning: {share:,} of {report.samples:,} samples are {what}")
    return tally_exit_code(report.faults(), max_rejects)


def _engine(given: dict[str, Any]) -> Callable[[], Engine]:
    """Return what makes the engine; what can't be is refused before torch is imported."""
    name = given.pop("engine") or ("openai" if given["base_url"] else "transformers")
    model, arguments = given.pop("model"), given.pop("template_arguments")
    taken = {key: value for key, value in given.items() if value is not None}
    for key in taken:
        if key not in _OF_ENGINE[name]:
            flag = _FLAG_OF.get(key, "--" + key.replace("_", "-"))
            engines = " and ".join(engine for engine, names in _OF_ENGINE.items() if key in names)
            raise click.UsageError(f"{flag} is of the engine {engines}, and this is {name}")
    if name == "openai":
        return _server(model, taken, arguments)
    _early.check_model("--model", model)
    if "adapter" in taken and not (Path(taken["adapter"]) / "adapter_config.json").is_file():
        raise FileNotFoundError(f"--adapter: {taken['adapter']}: no adapter: the folder has no adapter_config.json")
    if "template" in taken:
        taken["template"] = taken["template"].read_text("utf-8")
    if name == "vllm" and "extra" in taken:
        taken["options"] = taken.pop("extra")
    for package in ("transformers", *(("vllm",) if name == "vllm" else ("torch",))):
        if find_spec(package) is None:
            extra = "vllm" if package == "vllm" else "'polyalign[train]'"
            raise ModuleNotFoundError(f"the engine {name} needs {package}: pip install {extra}", name=package)

    def make() -> Engine:
        module = training_module(f"polyalign.generation._{name}", f"the engine {name}")
        _quiet()
        kind = module.TransformersEngine if name == "transformers" else module.VLLMEngine
        made: Engine = kind(model, template_arguments=arguments, **taken)
        return made

    return make


def _server(model: str, taken: dict[str, Any], arguments: Mapping[str, Any] | None) -> Callable[[], Engine]:
    from polyalign.generation import OpenAIEngine

    if "base_url" not in taken:
        raise click.UsageError("--engine openai needs the server's --base-url")
    body = {**taken.pop("extra", {}), **({"chat_template_kwargs": arguments} if arguments else {})}
    engine = OpenAIEngine(model, body=body, **taken)
    return lambda: engine


def _quiet() -> None:
    """Show transformers' bars on terminals alone."""
    import sys

    import transformers

    if not sys.stderr.isatty():
        transformers.utils.logging.disable_progress_bar()


def _print(report: Report, seconds: float) -> None:
    from polyalign._text import tables
    from polyalign.generation._report import bucket_table, headline, notices

    console = tables.console()
    console.print(headline(report), style="bold", markup=False)
    console.print(f"{seconds:.1f} s, {report.tokens:,} tokens")
    console.print(bucket_table(report, _TABLE_ROWS))
    for line in notices(report):
        console.print(line, markup=False)
    console.print(f"written to {report.output}", markup=False)
