"""Commands whose help groups the options and ends with examples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

OUTPUT, REFERENCE, SCORES, TOKENS = "Output", "Human reference", "Scores", "Tokens"
MODEL, SERVER, SAMPLING, PROMPTS = "Model", "Server", "Sampling", "Prompts"
BUCKETS, READING, GENERAL = "Buckets", "Reading records", "General"
_PANELS = (OUTPUT, MODEL, SERVER, SAMPLING, PROMPTS, REFERENCE, SCORES, TOKENS, BUCKETS, READING, GENERAL)
_WIDTH = 110

SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": _WIDTH}

_F = TypeVar("_F", bound=Callable[..., Any])


class _Option(click.Option):
    """An option that stands under a heading of its own."""

    def __init__(self, *arguments: Any, panel: str, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.panel = panel


class Command(click.Command):
    """A command whose options stand under headings, and whose epilog is shown as it is written."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options under their headings."""
        panels: dict[str, list[tuple[str, str]]] = {panel: [] for panel in _PANELS}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and not isinstance(parameter, click.Argument):
                panels[getattr(parameter, "panel", GENERAL)].append(record)
        for panel, records in panels.items():
            if records:
                with formatter.section(panel):
                    formatter.write_dl(records)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples without wrapping them."""
        write_as_it_is(self.epilog, formatter)


def write_as_it_is(text: str | None, formatter: click.HelpFormatter) -> None:
    """Write an epilog without wrapping it."""
    if text:
        formatter.write(f"\n{text.strip()}\n")


def command(epilog: str) -> Callable[[Callable[..., Any]], click.Command]:
    """Make a function a command; `epilog` holds its examples."""
    return click.command(cls=Command, epilog=epilog, context_settings=SETTINGS)


def option(*names: str, panel: str = GENERAL, **settings: Any) -> Callable[[_F], _F]:
    """Give a command an option under a heading."""
    return click.option(*names, cls=_Option, panel=panel, **settings)


def flag(name: str, what: str, panel: str = GENERAL) -> Callable[[_F], _F]:
    """Give a command a flag under a heading, off unless named."""
    return option(name, panel=panel, is_flag=True, help=what)
