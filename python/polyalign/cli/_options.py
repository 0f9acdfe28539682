"""Options that several commands share, and how their text is read."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from polyalign.cli._config import load_config

READING = "Reading records"

Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="YAML file of these options by their long names; flags override it.",
        metavar="FILE",
        is_eager=True,
        callback=load_config,
        exists=True,
        dir_okay=False,
    ),
]
Debug = Annotated[bool, typer.Option("--debug", help="Show a traceback on errors.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines instead of a table.")]
Threads = Annotated[
    int | None,
    typer.Option(
        "--threads",
        envvar="POLYALIGN_NUM_THREADS",
        min=1,
        help="Worker threads. Default: every core.",
        metavar="N",
    ),
]
Tokenizer = Annotated[
    str | None,
    typer.Option(
        "--tokenizer",
        "-t",
        help="tokenizer.json, a folder with one, or a model name on the hub. Without it lengths are in words.",
        metavar="NAME",
    ),
]
Count = Annotated[
    str, typer.Option("--count", help="Count tokens of whole conversations ([b]all[/b]) or of responses "
                      "([b]completion[/b]).", metavar="all|completion")
]  # fmt: skip
Shape = Annotated[
    str | None,
    typer.Option(
        "--shape",
        help="How records hold prompt and response: messages, prompt_completion, sharegpt, alpaca, polyalign or "
        "preference. Default: decided from the first 100 records.",
        rich_help_panel=READING,
    ),
]


def _field(flag: str, what: str) -> Any:
    return typer.Option(flag, help=what, metavar="PATH", rich_help_panel=READING)


PromptField = Annotated[str | None, _field("--prompt-field", "Dotted path of the prompt (text or messages).")]
ResponseField = Annotated[str | None, _field("--response-field", "Dotted path of the response.")]
LanguageField = Annotated[str | None, _field("--language-field", "Default: language, then lang.")]
TrackField = Annotated[str | None, _field("--track-field", "Default: track.")]
FamilyField = Annotated[str | None, _field("--family-field", "Default: family.")]
SourceField = Annotated[str | None, _field("--source-field", "Default: source, then dataset.")]
GroupField = Annotated[str | None, _field("--group-field", "Conversation or paragraph. Default: group.")]
IdField = Annotated[str | None, _field("--id-field", "Default: id; where missing, file:row.")]
KeepThinking = Annotated[
    bool,
    typer.Option(
        "--keep-thinking",
        help="Count a leading <think>…</think> as part of the response.",
        rich_help_panel=READING,
    ),
]


def words(text: str | None) -> list[str] | None:
    """``"en, zh"`` as ``["en", "zh"]``."""
    return None if text is None else [word.strip() for word in text.split(",") if word.strip()]


def pairs(items: Iterable[str], flag: str, form: str) -> dict[str, str]:
    """``["a=x", "b=y,c=z"]`` as a mapping."""
    result = {}
    for item in (part for text in items for part in text.split(",")):
        name, equals, value = item.partition("=")
        if not (name.strip() and equals and value.strip()):
            raise typer.BadParameter(f"{item!r} is not of the form {form}", param_hint=flag)
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
        raise typer.BadParameter(f"{text!r} is not {form}", param_hint="--length-edges") from None


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def byte_count(text: str, flag: str) -> int:
    """``"67108864"``, ``"64MiB"`` or ``"1.5GB"`` as bytes."""
    units = {"": 1, "b": 1}
    for power, prefix in enumerate("kmgt", start=1):
        units |= {prefix: 1024**power, f"{prefix}ib": 1024**power, f"{prefix}b": 1000**power}
    digits = text.strip().lower().rstrip("abcdefghijklmnopqrstuvwxyz ")
    unit = text.strip().lower()[len(digits) :].strip()
    try:
        count = int(float(digits) * units[unit])
    except (ValueError, KeyError, OverflowError):
        raise typer.BadParameter(f"{text!r} is not a size such as 64MiB", param_hint=flag) from None
    if count < 1:
        raise typer.BadParameter("must be at least one byte", param_hint=flag)
    return count
