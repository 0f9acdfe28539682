"""HTML pages that need nothing else: no network, no other file."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping


def filled(template: str, parts: Mapping[str, str]) -> str:
    """Return a template with its places, ``<!--name-->``, filled; what is filled in is not looked through.

    Examples
    --------
    >>> filled("<p><!--a--></p>", {"a": "<!--b-->", "b": "x"})
    '<p><!--b--></p>'
    """
    return re.sub(r"<!--(\w+)-->", lambda place: parts[place[1]], template)


def embedded(value: object) -> str:
    r"""Return JSON that no HTML parser reads as markup: ASCII, without ``<``, ``>`` and ``&``.

    Examples
    --------
    >>> embedded({"a": "</script>"})
    '{"a":"\\u003c/script\\u003e"}'
    """
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return re.sub("[<>&]", lambda mark: f"\\u{ord(mark[0]):04x}", text)


def escaped(text: str) -> str:
    """Return a text as ASCII that HTML shows as it is.

    Examples
    --------
    >>> escaped("问 & 答")
    '&#38382; &amp; &#31572;'
    """
    return html.escape(text).encode("ascii", "xmlcharrefreplace").decode()
