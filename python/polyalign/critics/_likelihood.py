"""How likely a language model finds responses, for critics: known again by what it gives."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from polyalign.lm import GROUP, LanguageModel

if TYPE_CHECKING:
    import numpy.typing as npt

    from polyalign.critics import _saved

#: What of a response is looked at.
NAMES = GROUP
_PROBE = ("It rained, and 他们 went home at 7.", "What happened?")
#: Kinds of processors differ by less, models by more.
_ALIKE = 0.05


class Likelihood:
    """A causal language model that is asked about responses, with their prompts and without, and can be saved.

    Parameters
    ----------
    name : str
        A folder, or a name on the hub. No code of its repository is run.
    revision : str, optional
        Of the hub.
    dtype : str, default "auto"
    device : str, optional
        Default: a GPU, where there is one.
    prefix : {"chat", "paper", "plain"}, optional
        How a prompt stands before its response.
    """

    def __init__(
        self,
        name: str,
        *,
        revision: str | None = None,
        dtype: str = "auto",
        device: str | None = None,
        prefix: str | None = None,
        probe: npt.NDArray[np.float32] | None = None,
    ) -> None:
        self.name, self.revision, self.dtype, self.device, self.prefix = name, revision, dtype, device, prefix
        self._wanted = probe
        asked: Any = {"revision": revision, "prefix": prefix, "dtype": dtype, "device": device}
        self._model = LanguageModel(name, **asked)

    @classmethod
    def of(cls, given: Any) -> Likelihood:
        """Return one: itself, or of a language model, or of its name.

        Raises
        ------
        TypeError
            It is none of these.
        ValueError
            It is a language model that is asked otherwise than a saved critic can say.
        """
        if isinstance(given, Likelihood):
            return given
        if isinstance(given, (str, os.PathLike)):
            return cls(os.fspath(given))
        if not isinstance(given, LanguageModel):
            raise TypeError(
                f"likelihood is a {type(given).__name__}: give a polyalign.lm.LanguageModel, a folder or a name on the "
                "hub"
            )
        told = given.settings
        if told.pop("max_length") is not None:
            raise ValueError("a language model with a max_length of its own: a critic asks one with its whole context")
        found = cls(told.pop("model"), **told)
        found._model = given
        return found

    @property
    def told(self) -> dict[str, Any]:
        """What a saved critic says of it."""
        return {"name": self.name, "revision": self.revision, "dtype": self.dtype, "prefix": self.prefix}

    def __call__(self, texts: Sequence[str], prompts: Sequence[Any] | None) -> npt.NDArray[np.float64]:
        """Return a row a text, a column each of :data:`NAMES`; NaN: not defined.

        Raises
        ------
        OSError
            There is no such model.
        ValueError
            It is another than the one that a saved critic was made with.
        """
        if self._wanted is not None:
            if not np.allclose(self.probe, self._wanted, rtol=_ALIKE, atol=_ALIKE, equal_nan=True):
                raise ValueError(
                    f"the language model {self.name!r} is another than the one that the critic was made with: give "
                    "that one (its revision), or train anew"
                )
            self._wanted = None
        return self._measured(texts, prompts)

    @cached_property
    def probe(self) -> npt.NDArray[np.float32]:
        """What it gives of one response, by which it is known again."""
        found: npt.NDArray[np.float32] = self._measured([_PROBE[0]], [_PROBE[1]])[0].astype(np.float32)
        return found

    def _measured(self, texts: Sequence[str], prompts: Sequence[Any] | None) -> npt.NDArray[np.float64]:
        return self._model.measure(list(texts), prompts).astype(np.float64)

    def __repr__(self) -> str:
        return repr(self.name)


def from_saved(saved: _saved.Saved, told: Mapping[str, Any]) -> Likelihood:
    """Take what a saved critic says of its model; it is opened when it is asked.

    Raises
    ------
    ValueError
        It is damaged.
    """
    texts = {name: told.get(name) for name in ("name", "revision", "dtype", "prefix")}
    if not all(isinstance(value, str) for value in (texts["name"], texts["dtype"])) or not all(
        value is None or isinstance(value, str) for value in texts.values()
    ):
        raise ValueError(f"{saved.folder}: a language model that can't be: it is damaged; train anew")
    probe = saved.tensors.get("likelihood")
    if probe is None or probe.shape != (len(NAMES),) or probe.dtype != np.float32:
        raise ValueError(f"{saved.folder}: nothing to know its language model by: it is damaged; train anew")
    return Likelihood(
        str(texts["name"]),
        revision=texts["revision"],
        dtype=str(texts["dtype"]),
        prefix=texts["prefix"],
        probe=probe,
    )
