"""Detectors that were trained: sequence classifiers of transformers, as RADAR."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from polyalign import _core
from polyalign._io import responses
from polyalign._io.models import evaluating, quiet_off_terminal, why_not

if TYPE_CHECKING:
    from polyalign.evaluation._arrays import Floats

__all__ = ["ClassifierDetector"]

#: What labels of machine text are called.
_MACHINE = ("machine", "fake", "generated", "ai", "chatgpt", "llm")


class ClassifierDetector:
    """Any sequence classifier as a detector: the probability of its label for machine text.

    Parameters
    ----------
    model : str, PathLike or PreTrainedModel
        A folder, a name on the hub as ``"TrustSafeAI/RADAR-Vicuna-7B"``, or a loaded model. No code of its repository
        is run.
    tokenizer : PreTrainedTokenizerBase, optional
        Default: the model's, by its name.
    label : int or str, optional
        The label of machine text: its number or its name. Default: the one whose name says so; RADAR's labels have no
        such names, and its 0 is the machine.
    max_length : int, optional
        Tokens that are looked at, the first ones. Default: what the model takes, 512 at most.
    batch_size : int, default 16
    threshold : float, default 0.5
        Above it a text is taken for a machine's.

    Raises
    ------
    ValueError
        There is no such label, or the model has no classifier's weights.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any = None,
        *,
        label: int | str | None = None,
        max_length: int | None = None,
        batch_size: int = 16,
        threshold: float = 0.5,
    ) -> None:
        self._given, self._tokenizer = os.fspath(model) if isinstance(model, os.PathLike) else model, tokenizer
        self._label_given, self._max_length, self._batch_size = label, max_length, batch_size
        self.threshold: float | None = threshold
        self.truncated = 0
        """How many of the texts scored so far were cut."""
        if not isinstance(self._given, str):
            self._label  # noqa: B018 - what is wrong with the label is seen now

    @cached_property
    def _model(self) -> Any:
        if not isinstance(self._given, str):
            return self._given
        from transformers import AutoModelForSequenceClassification

        try:
            with quiet_off_terminal():
                model, loaded = AutoModelForSequenceClassification.from_pretrained(
                    self._given, output_loading_info=True
                )
        except (OSError, ValueError) as error:
            raise OSError(f"model {self._given}: {why_not(self._given, error)}") from None
        # What is missing was drawn at random, a whole head where it is no classifier.
        if loaded["missing_keys"]:
            missing = ", ".join(sorted(loaded["missing_keys"]))
            raise ValueError(f"model {self._given}: no classifier: it has no weights {missing}")
        return model

    @cached_property
    def _words(self) -> Any:
        from transformers import AutoTokenizer

        model = self._model  # what is wrong with that is said first
        words = self._tokenizer or AutoTokenizer.from_pretrained(
            self._given if isinstance(self._given, str) else model.name_or_path
        )
        if words.pad_token is None:
            words.pad_token = words.eos_token or words.unk_token
        if self._model.config.pad_token_id is None:  # it is looked for to find the last token
            self._model.config.pad_token_id = words.pad_token_id
        return words

    @cached_property
    def _label(self) -> int:
        names = {int(number): str(name) for number, name in self._model.config.id2label.items()}
        given = self._label_given
        if isinstance(given, int) and 0 <= given < max(2, len(names)):
            return given
        told = ", ".join(f"{number} {name}" for number, name in names.items())
        wanted = [given.lower()] if isinstance(given, str) else list(_MACHINE)
        found = [at for at, name in names.items() if any(word in wanted for word in _parts(name, exact=given))]
        if given is not None and not found:
            raise ValueError(f"label is {given!r}: the classifier's labels are {told}")
        if len(found) != 1:
            raise ValueError(f"which label is machine text can't be told from their names ({told}): give label")
        return found[0]

    @property
    def _limit(self) -> int:
        known = [self._max_length or 512, int(getattr(self._model.config, "max_position_embeddings", None) or 512)]
        pad = getattr(self._model.config, "pad_token_id", None) or 0
        if getattr(self._model.config, "model_type", "") in ("roberta", "xlm-roberta"):
            known[1] -= pad + 1  # their positions begin after it
        return max(1, min(known))

    def score(self, texts: Any, prompts: Any = None) -> Floats:
        """Score texts.

        Parameters
        ----------
        texts : list of str, Arrow column or numpy array of strings, n in all
            Without reasoning, which is taken off.
        prompts : optional
            Not looked at.

        Returns
        -------
        numpy.ndarray of float64, shape (n,)
            The probability of machine text. NaN for an empty text.
        """
        found = responses.texts("texts", texts)
        values = found.to_pylist() if hasattr(found, "to_pylist") else list(found)
        told = _core.answers([value or "" for value in values])
        scores = np.full(len(told), np.nan)
        words, limit = self._words, self._limit
        encoded = {
            at: words(text, truncation=True, max_length=limit)["input_ids"] for at, text in enumerate(told) if text
        }
        self.truncated += sum(
            len(ids) >= limit and len(words(told[at])["input_ids"]) > limit for at, ids in encoded.items()
        )
        order = sorted(encoded, key=lambda at: -len(encoded[at]))
        with evaluating(self._model):
            for start in range(0, len(order), self._batch_size):
                part = order[start : start + self._batch_size]
                scores[part] = self._batch([encoded[at] for at in part])
        return scores

    def _batch(self, ids: Sequence[Sequence[int]]) -> Floats:
        import torch

        device = next(self._model.parameters()).device
        batch = self._words.pad({"input_ids": list(ids)}, return_tensors="pt").to(device)
        with torch.inference_mode():
            logits = self._model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits.double()
        if logits.shape[-1] == 1:
            shares = torch.cat([1 - logits.sigmoid(), logits.sigmoid()], dim=-1)
        else:
            shares = logits.softmax(-1)
        return np.asarray(shares[:, self._label].cpu(), dtype=np.float64)

    def __repr__(self) -> str:
        name = self._given if isinstance(self._given, str) else type(self._given).__name__
        return f"ClassifierDetector({name!r})"


def _parts(name: str, exact: object) -> list[str]:
    """Return what a label's name consists of; of a name that is asked for the whole."""
    lower = name.lower()
    return [lower] if exact is not None else "".join(letter if letter.isalpha() else " " for letter in lower).split()
