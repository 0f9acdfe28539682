"""Critics as folders: numbers in safetensors, the rest in JSON; nothing in them is executed."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polyalign._io import json_text, manifests
from polyalign._io.output import publishing

if TYPE_CHECKING:
    import numpy.typing as npt

    from polyalign.buckets import BucketSchema
    from polyalign.critics._protocol import Critic

#: By kind, the module and the class that reads it, by `from_saved`.
_CLASSES = {
    "support": ("_support", "SupportCritic"),
    "lexical": ("_lexical", "LexicalCritic"),
    "discriminative": ("_discriminative", "DiscriminativeCritic"),
    "embedding": ("_embedding", "EmbeddingCritic"),
    "neural": ("_neural", "NeuralCritic"),
    "ensemble": ("_ensemble", "EnsembleCritic"),
}
_MANIFEST, _TENSORS = "manifest.json", "tensors.safetensors"
_VERSION = 1


@dataclass(frozen=True)
class Saved:
    """What a folder holds."""

    folder: Path
    kind: str
    """Which class reads it."""
    schema: BucketSchema
    """What its buckets are."""
    settings: dict[str, Any]
    """As the class wrote them."""
    tensors: dict[str, npt.NDArray[Any]]
    """By name."""

    def setting(self, name: str, *kinds: type) -> Any:
        """Return a setting; ``ValueError`` where it is missing or of another type."""
        value = self.settings.get(name)
        fits = isinstance(value, kinds) and not (isinstance(value, bool) and bool not in kinds)
        # Larger ones the engine can't take.
        too_large = isinstance(value, int) and abs(value) >= 2**63
        if name not in self.settings or not fits or too_large:
            wanted = " or ".join(kind.__name__ for kind in kinds)
            raise ValueError(f"{self.folder}: {_MANIFEST} has no {name!r} that is {wanted}: it is damaged; train anew")
        return value

    def tensor(self, name: str, dtype: npt.DTypeLike, shape: tuple[int | None, ...]) -> npt.NDArray[Any]:
        """Return a tensor; ``ValueError`` where it is missing, of another type or shape, or not finite."""
        import numpy as np

        found = self.tensors.get(name)
        if found is None:
            raise ValueError(f"{self.folder}: {_TENSORS} has no {name!r}: it is damaged; train anew")
        fits = len(found.shape) == len(shape) and all(
            want in (None, have) for want, have in zip(shape, found.shape, strict=True)
        )
        if found.dtype != np.dtype(dtype) or not fits:
            wanted = ", ".join("any" if size is None else str(size) for size in shape)
            raise ValueError(
                f"{self.folder}: {name!r} is {found.dtype}{list(found.shape)}, not {np.dtype(dtype)}[{wanted}]: "
                "it is damaged; train anew"
            )
        if found.dtype.kind == "f" and not np.isfinite(found).all():
            raise ValueError(f"{self.folder}: {name!r} holds numbers that are not finite: it is damaged; train anew")
        return found


def write(
    folder: str | os.PathLike[str],
    kind: str,
    schema: BucketSchema,
    settings: Mapping[str, Any],
    tensors: Mapping[str, npt.NDArray[Any]],
    *,
    overwrite: bool = False,
    parts: Mapping[str, Any] | None = None,
) -> None:
    """Write a critic; the folder appears whole or not at all. The same critic gives the same bytes.

    Parameters
    ----------
    folder : str or PathLike
    kind : str
    schema : BucketSchema
    settings : mapping
        What JSON can say, provenance among it.
    tensors : mapping from str to numpy.ndarray
    overwrite : bool, default False
        Replace a critic that is there.
    parts : mapping from str to object, optional
        By name, what is saved in a folder within: objects with ``save(folder)``.

    Raises
    ------
    FileExistsError
        Something is there that is not replaced.
    OSError
        It can't be written.
    """
    from polyalign import __version__

    with publishing(folder, "critic", overwrite=overwrite) as output:
        work = Path(output.work)
        work.mkdir()
        if tensors:
            _write_tensors(work / _TENSORS, tensors)
        for name, part in (parts or {}).items():
            part.save(work / name)
        told = {
            "format": manifests.CRITIC,
            "format_version": _VERSION,
            "polyalign_version": __version__,
            "kind": kind,
            "schema": json.loads(schema.to_json()),
            "settings": dict(settings),
            "files": [_listed(path, work) for path in sorted(work.rglob("*")) if path.is_file()],
        }
        (work / _MANIFEST).write_text(json_text.indented(told) + "\n", "utf-8", newline="\n")


def _write_tensors(path: Path, tensors: Mapping[str, npt.NDArray[Any]]) -> None:
    import numpy as np
    from safetensors.numpy import save

    path.write_bytes(save({name: np.ascontiguousarray(tensors[name]) for name in sorted(tensors)}))


def _listed(path: Path, folder: Path) -> dict[str, Any]:
    name = path.relative_to(folder).as_posix()
    return {"file": name, "bytes": path.stat().st_size, "sha256": manifests.sha256(path)}


def read(folder: str | os.PathLike[str], of: str | None = None) -> Saved:
    """Read a critic that :func:`write` has written, of one kind where that is named.

    Raises
    ------
    FileNotFoundError
        There is none.
    ValueError
        It is none, of another kind, of a newer version, or damaged: its files are not those that the manifest lists.
    """
    from polyalign.buckets import BucketSchema

    folder = Path(folder)
    try:
        told = json.loads((folder / _MANIFEST).read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(f"{folder}: no critic is there (a folder that polyalign critic train made)") from None
    except ValueError:
        raise ValueError(f"{folder / _MANIFEST}: not JSON; the critic is damaged: train anew") from None
    if not isinstance(told, dict) or told.get("format") != manifests.CRITIC:
        made = told.get("format") if isinstance(told, dict) else None
        raise ValueError(f"{folder}: not a critic{f' but {made}' if isinstance(made, str) else ''}")
    if told.get("format_version") != _VERSION:
        raise ValueError(
            f"{folder}: a critic of version {told.get('format_version')!r}, this polyalign reads {_VERSION}: "
            "install the polyalign that made it, or train anew"
        )
    kind, schema, settings, files = (told.get(name) for name in ("kind", "schema", "settings", "files"))
    if not (
        isinstance(kind, str)
        and isinstance(schema, dict)
        and isinstance(settings, dict)
        and isinstance(files, list)
        and all(map(_is_listed, files))
    ):
        raise ValueError(f"{folder / _MANIFEST}: not what a critic's says; it is damaged: train anew")
    if of not in (None, kind):
        raise ValueError(f"{folder}: a critic of the kind {kind!r}, not {of!r}: critics.load opens it")
    for listed in files:
        path = folder / listed["file"]
        if not path.is_file() or _listed(path, folder) != listed:
            raise ValueError(f"{path}: not the file that {_MANIFEST} lists; the critic is damaged: train anew")
    return Saved(folder, kind, BucketSchema.from_json(json.dumps(schema)), settings, _read_tensors(folder / _TENSORS))


def load(folder: str | os.PathLike[str]) -> Critic:
    """Load a critic of any kind that was saved.

    Parameters
    ----------
    folder : str or PathLike
        What ``polyalign critic train`` or a critic's ``save`` made. Nothing in it is executed.

    Returns
    -------
    Critic

    Raises
    ------
    FileNotFoundError
        There is none.
    ValueError
        It is none, of a newer version, or damaged.

    Examples
    --------
    >>> import tempfile
    >>> import polyalign as pa
    >>> critic = pa.critics.SupportCritic(pa.Reference.from_arrow(pa.reference.example_table()))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     critic.save(f"{folder}/critic")
    ...     load(f"{folder}/critic")
    SupportCritic(<Reference: 48 humans in 2 buckets, 145 features>)
    """
    saved = read(folder)
    if saved.kind not in _CLASSES:
        raise ValueError(f"{folder}: a critic of the kind {saved.kind!r}, which this polyalign does not know")
    module, name = _CLASSES[saved.kind]
    found: Critic = getattr(import_module(f"polyalign.critics.{module}"), name).from_saved(saved)
    return found


def _is_listed(listed: Any) -> bool:
    """Whether it names a file that lies within the folder."""
    if (
        not isinstance(listed, dict)
        or set(listed) != {"file", "bytes", "sha256"}
        or not isinstance(listed["file"], str)
    ):
        return False
    path = Path(listed["file"])
    return not path.is_absolute() and ".." not in path.parts


def _read_tensors(path: Path) -> dict[str, npt.NDArray[Any]]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    if not path.is_file():
        return {}
    try:
        return load(path.read_bytes())
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise ValueError(f"{path}: not a file of safetensors ({error}); the critic is damaged: train anew") from None
