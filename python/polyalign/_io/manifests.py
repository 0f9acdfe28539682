"""What a folder that ``polyalign bucket`` or ``polyalign pairs`` made says of itself."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from polyalign.buckets import BucketSchema

__all__ = ["BUCKETS", "CRITIC", "PAIRS", "Manifest", "check_fits", "read", "sha256"]

BUCKETS, PAIRS, CRITIC = "polyalign buckets", "polyalign pairs", "polyalign critic"


@dataclass(frozen=True)
class Manifest:
    """How rows were bucketed."""

    folder: Path
    schema: BucketSchema | None
    """``None``: that is not known."""
    tokenizer: str | None
    """The SHA-256 of what counted lengths; ``None``: they are in words or characters, or that is not known."""
    settings: dict[str, Any]
    """What else was set."""

    def check_fits(self, humans: Any) -> None:
        """Refuse to compare the rows with a reference, or by a critic, of other buckets.

        A critic of one's own may not say which it has.

        Raises
        ------
        ValueError
            Ids mean something else there.
        """
        of = getattr(humans, "reference", humans)
        what = "reference" if hasattr(of, "support_distance") else "critic"
        schema: BucketSchema | None = getattr(of, "schema", None)
        if self.schema is None or schema is None:
            return
        try:
            self.schema.check_fits(schema)
        except ValueError as error:
            # The engine knows references alone.
            raise ValueError(f"{self.folder}: {str(error).replace('the reference', f'the {what}')}") from None
        theirs = getattr(of, "tokenizer", None)
        if not isinstance(theirs, str):  # that of a critic may be something else
            return
        if self.schema.length_unit == "tokens" and self.tokenizer not in {None, theirs}:
            raise ValueError(
                f"{self.folder}: bucketed by the tokenizer with SHA-256 {self.tokenizer}, the {what} by that with "
                f"{theirs}: bucket the records alike, or build the {what} of the same corpus"
            )


def read(folder: Path) -> Manifest | None:
    """Return what a folder says of itself; ``None`` where it is none of ours."""
    from polyalign.buckets import BucketSchema

    try:
        told = json.loads((folder / "manifest.json").read_text("utf-8"))
    except (ValueError, FileNotFoundError, NotADirectoryError):
        return None
    if not isinstance(told, dict) or told.get("format") not in {BUCKETS, PAIRS}:
        return None
    schema, tokenizer = told.get("schema"), told.get("tokenizer")
    return Manifest(
        folder,
        None if schema is None else BucketSchema.from_json(json.dumps(schema)),
        None if tokenizer is None else tokenizer["sha256"],
        told.get("settings", {}),
    )


def check_fits(folder: str | os.PathLike[str], *humans: Any) -> None:
    """Refuse a data set, by its name, whose buckets one of some references and critics means otherwise."""
    made = read(Path(folder))
    for each in humans:
        if made is not None and each is not None:
            made.check_fits(each)


def sha256(path: Path) -> str:
    """Return the checksum of a file, as manifests list it."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
