"""Rows for people to read."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from polyalign._text.words import shortened

if TYPE_CHECKING:
    from rich.console import Console

_LONGEST = 1200
_DISTURBING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def print_row(console: Console, title: str, messages: Iterable[tuple[str, str]], longest: int = _LONGEST) -> None:
    """Print a conversation, each message under its role, wrapped by display width and cut when long."""
    from rich.rule import Rule
    from rich.text import Text

    console.print(Rule(Text(title, style="bold"), align="left", characters="─"))
    for role, content in messages:
        console.print(Text(role, style="cyan"))
        # Wide characters wrap by the columns they take; control characters can't disturb the terminal.
        console.print(Text(_printable(_shortened(content, longest))), soft_wrap=False)


def _shortened(text: str, longest: int) -> str:
    more = f" ({len(text) - longest:,} more characters)" if len(text) > longest else ""
    return shortened(text, longest) + more


def _printable(text: str) -> str:
    """Show control and bidirectional override characters, which could rewrite the screen, as escapes."""
    return _DISTURBING.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
