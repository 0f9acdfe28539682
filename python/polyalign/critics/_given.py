"""Critics as users give them: objects, saved ones by their folder, references."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polyalign.critics._saved import load
from polyalign.critics._support import SupportCritic

if TYPE_CHECKING:
    from polyalign.buckets import BucketSchema
    from polyalign.critics._protocol import Critic


def as_critic(given: Any, name: str = "critic") -> Critic | None:
    """Return a critic: itself, a saved one by its folder, or the support distance from a reference, which may be named.

    Parameters
    ----------
    given : Critic, Reference, str, PathLike or None
    name : str, default "critic"
        What messages call it.

    Raises
    ------
    TypeError
        It is none.
    FileNotFoundError, ValueError
        There is none of that name, or it is damaged.
    """
    from polyalign.reference import Reference

    if isinstance(given, (str, os.PathLike)):
        if (Path(given) / "manifest.json").is_file():
            return load(given)
        given = Reference.from_pretrained(given)
    if hasattr(given, "support_distance"):
        return SupportCritic(given)
    if given is not None and not callable(getattr(given, "score", None)):
        raise TypeError(
            f"{name} is an object with score(responses, buckets), a saved critic's folder or a reference's file, "
            f"not {type(given).__name__}"
        )
    found: Critic | None = given
    return found


def schema_of(critic: Any) -> BucketSchema | None:
    """Return the schema of a critic's buckets; ``None``: it does not say."""
    found: BucketSchema | None = getattr(critic, "schema", None)
    return getattr(getattr(critic, "reference", None), "schema", None) if found is None else found


def is_part(one: Any, of: Any) -> bool:
    """Whether a critic can only say what another does: it is that one, or in its ensemble, or both are one distance."""
    members = getattr(of, "critics", None)
    if isinstance(members, Mapping) and any(is_part(one, member) for member in members.values()):
        return True
    if isinstance(one, SupportCritic) and isinstance(of, SupportCritic):
        return one is of or one.reference == of.reference
    return one is of
