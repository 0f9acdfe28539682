"""``polyalign features``."""

from __future__ import annotations

from typing import Any

import click

from polyalign._io import json_text
from polyalign.cli import _options as options
from polyalign.cli._help import command, option

_EXAMPLES = """
Examples:
  polyalign features
  polyalign features --group readability
  polyalign features --json | jq -r '.[].name'
"""


@command(_EXAMPLES)
@option("--group", "-g", "groups", metavar="NAME", multiple=True, help="Only the features of this group. Repeatable.")
@option(
    "--variant",
    type=click.Choice(["default", "paper"]),
    default="default",
    help="paper: the features of the paper's published code.",
)
@options.json_
@options.debug
def features(groups: tuple[str, ...], variant: Any, json: bool) -> None:
    """List the features of references: what each is, unit, languages."""
    from polyalign.features import GROUPS, LM, registry

    known = registry(variant, groups=(*GROUPS, LM) if LM in groups else None)
    names = [*dict.fromkeys(feature.group for feature in known)]
    if variant == "default" and LM not in names:
        names.append(LM)
    for group in groups:
        if group not in names:
            raise click.BadParameter(f"{group!r} is not one of {', '.join(names)}", param_hint="'--group'")
    chosen = [feature for feature in known if not groups or feature.group in groups]
    if json:
        click.echo(json_text.indented([feature._asdict() for feature in chosen]))
        return
    from polyalign._text import tables

    console = tables.console()
    console.print(tables.feature_table(chosen, console.width))
