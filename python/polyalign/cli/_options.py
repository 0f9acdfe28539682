"""Options that several commands share, and how their text is read."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from polyalign.cli._config import load_config
from polyalign.cli._help import OUTPUT, READING, REFERENCE, SCORES, SERVER, TOKENS, flag, option

if TYPE_CHECKING:
    from polyalign.reference import Reference

_F = TypeVar("_F", bound=Callable[..., Any])

SHAPES = ("messages", "prompt_completion", "sharegpt", "alpaca", "polyalign", "preference")


def band(text: str) -> tuple[float, float]:
    """``"0.1,0.9"`` as two rising quantiles."""
    try:
        low, high = map(float, text.split(","))
    except ValueError:
        low, high = 1.0, 0.0
    if not 0 <= low < high <= 1:
        raise click.BadParameter(f"{text!r} is not two rising shares such as 0.1,0.9", param_hint="'--support'")
    return low, high


def byte_count(text: str) -> int:
    """``"67108864"``, ``"64MiB"`` or ``"1.5GB"`` as bytes."""
    units = {"": 1, "b": 1}
    for power, prefix in enumerate("kmgt", start=1):
        units |= {prefix: 1024**power, f"{prefix}ib": 1024**power, f"{prefix}b": 1000**power}
    digits = text.strip().lower().rstrip("abcdefghijklmnopqrstuvwxyz ")
    unit = text.strip().lower()[len(digits) :].strip()
    try:
        count = int(float(digits) * units[unit])
    except (ValueError, KeyError, OverflowError):
        raise click.BadParameter(f"{text!r} is not a size such as 64MiB") from None
    if count < 1:
        raise click.BadParameter("must be at least one byte")
    return count


inputs = click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
config = option(
    "--config",
    metavar="FILE",
    is_eager=True,
    callback=load_config,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    expose_value=False,
    help="YAML file of these options by their long names; flags override it.",
)
# Read by `polyalign.cli.run`, which sees the errors.
debug = option("--debug", is_flag=True, expose_value=False, help="Show a traceback on errors.")


def output_file(context: click.Context, parameter: click.Parameter, value: Path | None) -> Path | None:
    """Say that a file can't be written before the work that it is of."""
    if value is not None:
        from polyalign._io.output import check_file

        check_file(value)
    return value


def _page_path(context: click.Context, parameter: click.Parameter, value: Path | None) -> Path | None:
    if value is not None and value.suffix not in (".html", ".htm"):
        raise click.BadParameter(f"{str(value)!r} is not an .html file", context, parameter)
    return output_file(context, parameter, value)


def html(what: str) -> Callable[[_F], _F]:
    """Give a command ``--html``."""
    path = click.Path(dir_okay=False, path_type=Path)
    return option("--html", metavar="PAGE", type=path, callback=_page_path, help=what)


json_ = flag("--json", "Print JSON for machines instead of a table.")
threads = option(
    "--threads",
    metavar="N",
    type=click.IntRange(min=1),
    help="Worker threads. Default: POLYALIGN_NUM_THREADS, else every core.",
)


def tokenizer(*, required: bool) -> Callable[[_F], _F]:
    """Give a command the option `--tokenizer`."""
    without = "" if required else " Without it lengths are in words."
    what = f"tokenizer.json, tokenizer.model, a folder with one, or a model name on the hub.{without}"
    return option("--tokenizer", "-t", panel=TOKENS, metavar="NAME", required=required, help=what)


count = option(
    "--count",
    panel=TOKENS,
    type=click.Choice(["all", "completion"]),
    default="all",
    help="Count the tokens of whole conversations (all, the default) or of responses (completion).",
)
limit = option(
    "--limit", panel=READING, metavar="N", type=click.IntRange(min=1), help="Stop after this many rows of input."
)


def max_rejects(what: str) -> Callable[[_F], _F]:
    """Give a command ``--max-rejects``."""
    return option(
        "--max-rejects",
        panel=READING,
        metavar="SHARE",
        type=click.FloatRange(0, 1),
        default=0.01,
        help=f"Exit with 4 if more than this part of {what}. Default: 0.01.",
    )


def overwrite(what: str) -> Callable[[_F], _F]:
    """Give a command ``--overwrite``."""
    return flag("--overwrite", f"Replace an existing {what}.", OUTPUT)


keep_thinking = flag("--keep-thinking", "Count reasoning as part of the response.", READING)


def field(name: str, what: str) -> Callable[[_F], _F]:
    """Give a command an option that names a field of the records."""
    return option(name, panel=READING, metavar="PATH", help=what)


language_field = field("--language-field", "Default: language, then lang.")
track_field = field("--track-field", "Default: track.")
family_field = field("--family-field", "Default: family.")
source_field = field("--source-field", "Default: source, then dataset.")
group_field = field(
    "--group-field",
    "Conversation or paragraph. Default: the first of group, meta.group, conversation_id, … (docs/files.md).",
)
bucket_field = field("--bucket-field", "Default: bucket.")
support = option(
    "--support",
    panel=SCORES,
    metavar="LOW,HIGH",
    type=band,
    default="0.1,0.9",
    help="The quantiles between which humans are inside. Default: 0.1,0.9.",
)
min_count = option(
    "--min-count",
    panel=SCORES,
    metavar="N",
    type=click.IntRange(min=1),
    default=20,
    help="A bucket with fewer humans is served by a larger group. Default: 20.",
)


def critic(what: str) -> Callable[[_F], _F]:
    """Give a command ``--critic``."""
    return option(
        "--critic",
        panel=SCORES,
        metavar="DIR",
        help=f"{what}: the folder that polyalign critic train made, or a reference.",
    )


def lm(what: str, panel: str) -> Callable[[_F], _F]:
    """Give a command ``--lm``."""
    return option("--lm", panel=panel, metavar="MODEL", help=f"{what}: a folder or a name on the hub. Needs torch.")


max_record_bytes = option(
    "--max-record-bytes",
    panel=READING,
    metavar="SIZE",
    type=byte_count,
    default="256MiB",
    help="Larger records are rejected without being held. Default: 256MiB.",
)
source = option(
    "--source",
    "sources",
    panel=REFERENCE,
    metavar="LABEL",
    multiple=True,
    help="Where the rows are from, in your words; it travels with the reference. Repeatable.",
)
sample_size = option(
    "--sample-size",
    panel=REFERENCE,
    metavar="N",
    type=click.IntRange(0, 1 << 16),
    default=256,
    help="Rows of feature values kept per bucket, which percentiles are calibrated with. Default: 256.",
)


def together(*options: Callable[[_F], _F]) -> Callable[[_F], _F]:
    """Several options as one decorator; help shows them in this order."""

    def decorate(function: _F) -> _F:
        for each in reversed(options):
            function = each(function)
        return function

    return decorate


def json_object(context: click.Context, parameter: click.Parameter, value: str | None) -> dict[str, Any] | None:
    if value is None:
        return None
    try:
        found = json.loads(value)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise click.BadParameter(f"{value!r} is not a JSON object", context, parameter)
    return found


#: How a server that speaks OpenAI's protocol is asked.
server = together(
    option(
        "--base-url",
        panel=SERVER,
        metavar="URL",
        help="Of any server that speaks OpenAI's protocol, as http://localhost:8000/v1.",
    ),
    option(
        "--api-key-env",
        panel=SERVER,
        metavar="NAME",
        help="The environment's variable with the key. Default: OPENAI_API_KEY, where it is set.",
    ),
    option(
        "--concurrency",
        panel=SERVER,
        metavar="N",
        type=click.IntRange(min=1),
        help="Requests under way at once. Default: 16.",
    ),
    option(
        "--retries",
        panel=SERVER,
        metavar="N",
        type=click.IntRange(min=0),
        help="How often a request is tried again. Default: 6.",
    ),
    option(
        "--timeout",
        panel=SERVER,
        metavar="SECONDS",
        type=click.FloatRange(min=0, min_open=True),
        help="How long an answer may take. Default: 600.",
    ),
    option(
        "--requests-per-minute",
        panel=SERVER,
        metavar="N",
        type=click.FloatRange(min=0, min_open=True),
        help="Ask no more often.",
    ),
)
#: How much is read, and what of it may be rejected.
limits = together(limit, max_record_bytes, max_rejects("the rows is rejected"))
#: How a job over files runs, and what it prints.
running = together(threads, json_, config, debug)
#: How prompt and response are found in a record: the same in every command that reads records.
records = together(
    option(
        "--shape",
        panel=READING,
        metavar="SHAPE",
        type=click.Choice(SHAPES),
        help=f"How records hold prompt and response: {', '.join(SHAPES)}. Default: decided from the first 100 records.",
    ),
    field("--messages-field", "Dotted path of the whole conversation (a list of messages)."),
    field("--prompt-field", "Dotted path of the prompt (text or messages)."),
    field("--response-field", "Dotted path of the response; of a preference, the chosen one."),
    field("--rejected-field", "Dotted path of a preference's rejected response. Default: rejected."),
    field("--system-field", "System message of a conversation without one. Default: system, system_prompt."),
    option(
        "--role",
        "roles",
        panel=READING,
        metavar="NAME=ROLE",
        multiple=True,
        help="What a role that is not known stands for: user, assistant, system or tool. Repeatable.",
    ),
    field("--id-field", "Default: id; where missing, file:row."),
)


def reading(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the options `records`, and others ``--…-field``, say, as `Bucketer` and its like take it.

    ``--bucket-field`` is an argument of its own.
    """
    paths = {name.removesuffix("_field"): path for name, path in given.items() if name.endswith("_field")}
    return {
        "shape": given["shape"],
        "fields": {name: path for name, path in paths.items() if path is not None},
        "roles": pairs(given["roles"], "--role", "NAME=ROLE"),
    }


def reference_output(name: str, flag: str, *, overwrite: bool) -> Path:
    """Return where a reference can be written; refused before work starts if it can't."""
    path = Path(name)
    if path.suffix != ".safetensors":
        raise click.BadParameter(f"{name!r} is not a .safetensors file", param_hint=flag)
    if path.is_dir() or not path.parent.is_dir():
        raise OSError(f"{name}: a reference is a file in a folder that exists")
    if path.exists() and not overwrite:
        raise FileExistsError(f"{name}: exists already; --overwrite replaces it")
    return path


def load_reference(name: str) -> Reference:
    """Read a reference: a file, a folder with one, or a data set on the hub."""
    from polyalign.reference import Reference

    return Reference.from_pretrained(name)


def words(text: str | None) -> list[str] | None:
    """``"en, zh"`` as ``["en", "zh"]``."""
    return None if text is None else [word.strip() for word in text.split(",") if word.strip()]


def pairs(items: Iterable[str], flag: str, form: str) -> dict[str, str]:
    """``["a=x", "b=y,c=z"]`` as a mapping."""
    result = {}
    for item in (part for text in items for part in text.split(",")):
        name, equals, value = item.partition("=")
        if not (name.strip() and equals and value.strip()):
            raise click.BadParameter(f"{item!r} is not of the form {form}", param_hint=flag)
        result[name.strip()] = value.strip()
    return result


def edges(text: str) -> Any:
    """``"40,120,240"``, ``"auto"``, or a JSON object of lists by language, as `BucketSchema` takes them."""
    if text.strip() == "auto":
        return "auto"
    try:
        if text.lstrip().startswith("{"):
            by_language = json.loads(text)
            return {name: value if isinstance(value, list) else _numbers(value) for name, value in by_language.items()}
        return _numbers(text)
    except ValueError:
        form = "whole numbers such as 40,120,240, or auto"
        raise click.BadParameter(f"{text!r} is not {form}", param_hint="--length-edges") from None


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def response_found(tally: Mapping[str, Any]) -> list[str]:
    """Say in which field the responses were found by its name, if they were."""
    field = tally.get("response_field")
    return [f"responses read from {field} (--response-field names another)"] if field else []
