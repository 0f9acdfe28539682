"""Detectors that ask language models how surprising a text is beside what they would have said."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from polyalign.lm import LanguageModel

if TYPE_CHECKING:
    from polyalign.evaluation._arrays import Floats

__all__ = ["Binoculars", "FastDetectGPT"]


class FastDetectGPT:
    """Fast-DetectGPT: how much likelier a text is than what the observer would have drawn in its place.

    Parameters
    ----------
    model : LanguageModel, str, PathLike or PreTrainedModel
        What scores.
    observer : likewise, optional
        What draws; of the same tokenizer. Default: the model that scores.
    **settings
        As of :class:`polyalign.lm.LanguageModel`, of models that are opened here.

    Notes
    -----
    The analytic conditional curvature, Σ(log q(x_t) − μ_t)/√Σσ_t², μ_t and σ_t² the mean and the variance of log q over
    a token drawn from the observer. About 0 for text drawn from it.

    References
    ----------
    G. Bao et al., "Fast-DetectGPT: Efficient Zero-Shot Detection of Machine-Generated Text via Conditional Probability
    Curvature", ICLR 2024.
    """

    threshold: float | None = None
    """None: what a text is taken for depends on the models."""

    def __init__(self, model: Any, observer: Any = None, **settings: Any) -> None:
        self._model = _opened(model, settings)
        self._observer = None if observer is None else _opened(observer, settings)

    def score(self, texts: Any, prompts: Any = None) -> Floats:
        """Score texts.

        Parameters
        ----------
        texts, prompts
            As of :func:`polyalign.lm_features`; without prompts each text stands alone, as in the paper.

        Returns
        -------
        numpy.ndarray of float64, shape (n,)
            Higher: more likely a machine's. NaN where no token is scored, or none could have been another.
        """
        found = self._model.token_moments(texts, prompts, observer=self._observer)
        return np.array([_curvature(moments) for moments in found], dtype=np.float64)

    def __repr__(self) -> str:
        observer = "" if self._observer is None else f", observer={self._observer!r}"
        return f"FastDetectGPT({self._model!r}{observer})"


class Binoculars:
    """Binoculars: how surprising a text is to one model, beside how surprising another's tokens are to it.

    Parameters
    ----------
    observer : LanguageModel, str, PathLike or PreTrainedModel
        Whose next tokens the performer is asked about.
    performer : likewise
        What finds them, and the text's, more or less likely; of the same tokenizer, as its instruct version.
    threshold : float, optional
        Above it a text is taken for a machine's. The paper's for the Falcon-7B pair is -0.9015.
    **settings
        As of :class:`polyalign.lm.LanguageModel`, of models that are opened here.

    Notes
    -----
    The paper's is the ratio of the mean surprisal of the text to its cross-entropy under the two models, low for
    machines. Here its sign is turned, so that higher is more likely a machine's, as of every detector.

    References
    ----------
    A. Hans et al., "Spotting LLMs With Binoculars: Zero-Shot Detection of Machine-Generated Text", ICML 2024.
    """

    def __init__(self, observer: Any, performer: Any, *, threshold: float | None = None, **settings: Any) -> None:
        self._observer, self._performer = _opened(observer, settings), _opened(performer, settings)
        self.threshold = threshold

    def score(self, texts: Any, prompts: Any = None) -> Floats:
        """Score texts.

        Parameters
        ----------
        texts, prompts
            As of :class:`FastDetectGPT`.

        Returns
        -------
        numpy.ndarray of float64, shape (n,)
            Higher: more likely a machine's. NaN where no token is scored.
        """
        found = self._performer.token_moments(texts, prompts, observer=self._observer)
        return np.array([_ratio(moments) for moments in found], dtype=np.float64)

    def __repr__(self) -> str:
        return f"Binoculars({self._observer!r}, {self._performer!r})"


def _opened(model: Any, settings: dict[str, Any]) -> LanguageModel:
    return model if isinstance(model, LanguageModel) else LanguageModel(model, **settings)


def _curvature(moments: Floats) -> float:
    if not len(moments):
        return float("nan")
    log_probability, mean, variance = moments.sum(axis=0)
    return float((log_probability - mean) / np.sqrt(variance)) if variance > 0 else float("nan")


def _ratio(moments: Floats) -> float:
    if not len(moments):
        return float("nan")
    log_probability, mean, _ = moments.sum(axis=0)
    return -float(log_probability / mean) if mean < 0 else float("nan")
