"""How likely a language model finds responses, for critics: loaded once, known again by what it gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from polyalign._io.extras import training_module

if TYPE_CHECKING:
    import numpy.typing as npt

    from polyalign.critics import _saved

#: What of :data:`polyalign.lm.COLUMNS` does not say how long a response is.
NAMES = (
    "unconditional_nll_mean",
    "unconditional_surprisal_std",
    "unconditional_surprisal_max",
    "conditional_nll_mean",
    "conditional_surprisal_std",
    "conditional_surprisal_max",
    "gain_per_token",
    "perplexity_ratio",
)
_PROBE = ("It rained, and 他们 went home at 7.", "What happened?")
#: Kinds of processors differ by less, models by more.
_ALIKE = 0.05


class Likelihood:
    """A causal language model as a meter of responses, with their prompts and without (:func:`polyalign.lm_features`).

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
        from polyalign.lm import lm_features

        model, tokenizer = self._loaded
        prefix: Any = self.prefix
        table = lm_features(model, list(texts), prompts, tokenizer=tokenizer, prefix=prefix)
        return np.column_stack([table[name].to_numpy().astype(np.float64) for name in NAMES])

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        transformers, torch = training_module("transformers"), training_module("torch")
        tokenizer = transformers.AutoTokenizer.from_pretrained(self.name, revision=self.revision)
        model = transformers.AutoModelForCausalLM.from_pretrained(self.name, revision=self.revision, dtype=self.dtype)
        device = self.device or ("cuda" if torch.cuda.is_available() else "cpu")
        return model.eval().to(device), tokenizer

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
