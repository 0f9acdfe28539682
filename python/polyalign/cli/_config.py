"""Options from a YAML file: the long names of the flags, which override it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from polyalign._io import yaml_text

if TYPE_CHECKING:
    import yaml

_NOT_IN_FILES = {"config", "help", "debug"}
_NULLS = {"", "~", "null", "Null", "NULL"}


def load_config(context: click.Context, parameter: click.Parameter, path: Path | None) -> Path | None:
    """Make a YAML file's values the defaults of the command (an eager option's callback)."""
    if path is None or context.resilient_parsing:
        return path
    parameters = {
        name: parameter
        for parameter in context.command.params
        if parameter.name not in _NOT_IN_FILES
        for name in _names(parameter)
    }
    defaults: dict[str, Any] = {}
    seen: set[str] = set()
    for key, value, line in read(path):
        known = parameters.get(key.replace("_", "-"))
        if known is None:
            raise ValueError(f"{path}:{line}: unknown key {key!r}; known are {', '.join(sorted(parameters))}")
        option = str(known.name)
        if option in seen:
            raise ValueError(f"{path}:{line}: key {key!r} is there twice")
        seen.add(option)
        many = getattr(known, "multiple", False) or known.nargs == -1
        if not _is_null(value):
            defaults[option] = _as_option(value, many=many)
    context.default_map = {**(context.default_map or {}), **defaults}
    return path


def _names(parameter: Any) -> list[str]:
    """Return what a file calls a parameter: the long names of an option, the name of an argument."""
    long = [flag.removeprefix("--") for flag in parameter.opts if flag.startswith("--")]
    return long or [parameter.name]


def read(path: Path) -> list[tuple[str, yaml.Node, int]]:
    """Top-level keys and values, each with its line."""
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
        yaml_text.check_size(path, text)
        root = yaml.compose(text, Loader=yaml.BaseLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise yaml_text.named(error, path) from None
    if root is None:
        return []
    if not isinstance(root, yaml.MappingNode):
        raise ValueError(f"{path}: must be a mapping of option names to values, such as `length-unit: words`")
    for key, _ in root.value:
        if not isinstance(key, yaml.ScalarNode):
            raise ValueError(f"{path}:{key.start_mark.line + 1}: a key must be the name of an option")
    return [(key.value, value, key.start_mark.line + 1) for key, value in root.value]


def _is_null(node: yaml.Node) -> bool:
    """Whether a key has no value: the option is then as if it were not there."""
    return getattr(node, "style", "") is None and node.value in _NULLS


def _as_option(node: yaml.Node, *, many: bool) -> Any:
    """Return a YAML value as the flag takes it: as text, so that the language `no` is no Boolean."""
    import yaml

    if isinstance(node, yaml.MappingNode):
        members = {str(key.value): _as_option(value, many=False) for key, value in node.value}
        return [f"{name}={member}" for name, member in members.items()] if many else json.dumps(members)
    if isinstance(node, yaml.SequenceNode):
        items = [str(_as_option(item, many=False)) for item in node.value]
        return items if many else ",".join(items)
    return [node.value] if many else node.value
