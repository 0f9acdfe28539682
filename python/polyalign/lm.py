"""How likely a causal language model finds responses: with what they answer, and without.

Examples
--------
>>> from polyalign.lm import COLUMNS
>>> len(COLUMNS), COLUMNS[-3:]
(34, ('conditional_gain', 'gain_per_token', 'perplexity_ratio'))
"""

from __future__ import annotations

import copy
import hashlib
import inspect
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from polyalign._io import responses as _responses
from polyalign._io.models import evaluating

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["COLUMNS", "GROUP", "LanguageModel", "lm_features"]

_KINDS = ("unconditional", "conditional")
_MEASURES = (
    "prefix_tokens",
    "scored_tokens",
    "coverage",
    "logprob_sum",
    "logprob_mean",
    "nll_sum",
    "nll_mean",
    "perplexity",
    "bits_per_token",
    "surprisal_std",
    "surprisal_min",
    "surprisal_max",
    "truncated",
    "dropped_prefix_tokens",
    "dropped_answer_tokens",
)
COLUMNS: tuple[str, ...] = (
    "answer_tokens",
    *(f"{kind}_{measure}" for kind in _KINDS for measure in _MEASURES),
    "conditional_gain",
    "gain_per_token",
    "perplexity_ratio",
)
"""The columns of :func:`lm_features`, in their order."""
GROUP: tuple[str, ...] = (
    *(f"{kind}_{measure}" for kind in _KINDS for measure in ("nll_mean", "surprisal_std", "surprisal_max")),
    "gain_per_token",
)
"""Those that say nothing of how long a response is: the group ``lm`` of references and critics."""

#: Above it a perplexity says nothing more.
_LARGEST_EXPONENT = 50.0
#: What is counted of responses.
_COUNTED = ("responses", "without a prompt", "with a prompt cut", "cut themselves", "without a token scored")
#: So many responses are remembered.
_KNOWN = 100_000
#: So many numbers of each weight, about, a model is known again by.
_WEIGHTS = 512
#: What a tokenizer makes of these.
_TOKENIZED = ("It rained, and they went home at 7:30.", "他们回家了。", "  def f(x):\n\treturn x**2")
#: A beginning is computed once for several sequences where that spares so many tokens.
_SPARED = 64
#: Tokens that are kept of beginnings together, on a CPU.
_KEPT = 4096
#: Rows of logits that are held at once: with 150,000 tokens, 300 MB.
_LOGIT_ROWS = 512
#: Likewise, where several of their size are.
_MOMENT_ROWS = 128
Prefix = Literal["chat", "paper", "plain"]
#: A sequence, and how many of its last tokens are scored.
_Key = tuple[tuple[int, ...], int]


def lm_features(
    model: Any,
    texts: Any,
    prompts: Any = None,
    *,
    tokenizer: Any = None,
    prefix: Prefix | None = None,
    max_length: int | None = None,
    batch_tokens: int | None = None,
    dtype: str = "auto",
    device: str | None = None,
) -> Any:
    """Measure how likely a causal language model finds responses.

    Parameters
    ----------
    model : str or PreTrainedModel
        A folder, a name on the hub, or a loaded model.
    texts : list of str, Arrow column or numpy array of strings, n in all
        The responses; message lists count as the text of their last message.
    prompts : list, optional
        What each answers: a text (the user's), a list of ``{"role", "content"}``, or ``None``.
    tokenizer : PreTrainedTokenizerBase, optional
        Default: the model's, by its name.
    prefix : {"chat", "paper", "plain"}, optional
        How a prompt stands before its response: by the chat template; in the blocks of the paper's code; or as its text
        and a blank line. Default: chat where there is a template, else plain.
    max_length : int, optional
        Tokens that the model sees at most, the last ones: the prompt's are dropped first. Default: its context.
    batch_tokens : int, optional
        At most so many are computed together, with padding. Default: 16384, and on a CPU 512, which stay in its cache.
        1: one response at a time, so that no value depends on what is beside it, not in its last digits either.
    dtype : str, default "auto"
        Of a model that is loaded here; ``"auto"``: that of the checkpoint.
    device : str, optional
        Of a model that is loaded here. Default: an accelerator if there is one, else the CPU.

    Returns
    -------
    pyarrow.Table
        A row a response, a float32 column each of :data:`COLUMNS`. NaN where there is nothing to measure: of responses
        without a token that is scored, and, in what depends on it, without a prompt.

    Raises
    ------
    ValueError
        Texts and prompts of different numbers, a form that is not known, or a model that gives no numbers.

    Notes
    -----
    Without a prompt a response follows the tokenizer's beginning of sequence; where there is none, its first token is
    not scored, and neither is the first that is left where others were dropped: ``coverage`` is the share that is.
    Surprisal is the negative natural logarithm of a token's probability; bits have base 2. ``conditional_gain`` is the
    log-probability with the prompt minus that without, of the tokens that are scored both times; ``gain_per_token`` the
    same by token. Of a response that is there twice, with the same prompt, the model sees one.
    """
    import numpy as np
    import pyarrow as pa

    scorer = _Scorer.of(
        model,
        tokenizer,
        prefix=prefix,
        max_length=max_length,
        batch_tokens=batch_tokens,
        dtype=dtype,
        device=device,
    )
    table = scorer.table(*_asked(texts, prompts))
    return pa.table({name: pa.array(table[:, at].astype(np.float32)) for at, name in enumerate(COLUMNS)})


def _asked(
    texts: Any, prompts: Any, *, keep_thinking: bool = False
) -> tuple[list[str], list[list[tuple[str, str]] | None]]:
    """Return texts, without reasoning unless it counts, and what each answers."""
    from polyalign import _core

    found = _responses.texts("texts", texts)
    values = found.to_pylist() if hasattr(found, "to_pylist") else list(found)
    told = [value or "" for value in values]
    answers = told if keep_thinking else _core.answers(told)
    asked = _responses.prompts(prompts)
    if asked is None:
        asked = [None] * len(answers)
    if len(asked) != len(answers):
        raise ValueError(f"{len(answers)} texts and {len(asked)} prompts: give one for each, or None")
    return answers, asked


class LanguageModel:
    """A causal language model as a meter of responses: the features of the group ``lm``.

    References are built with one, and score with the same: it is known again by its weights and its tokenizer.

    Parameters
    ----------
    model : str, PathLike or PreTrainedModel
        A folder, a name on the hub, or a loaded model. It is loaded when it is first asked; no code of its repository
        is run.
    tokenizer : PreTrainedTokenizerBase, optional
        Default: the model's, by its name.
    revision : str, optional
        Of the hub.
    prefix, max_length, batch_tokens, dtype, device
        As of :func:`lm_features`.

    Examples
    --------
    >>> LanguageModel("HuggingFaceTB/SmolLM2-135M", dtype="bfloat16")
    LanguageModel('HuggingFaceTB/SmolLM2-135M')
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any = None,
        *,
        revision: str | None = None,
        prefix: Prefix | None = None,
        max_length: int | None = None,
        batch_tokens: int | None = None,
        dtype: str = "auto",
        device: str | None = None,
    ) -> None:
        self._model = os.fspath(model) if isinstance(model, os.PathLike) else model
        self._tokenizer, self.revision = tokenizer, revision
        self._prefix, self._max_length = prefix, max_length
        self._how: dict[str, Any] = {"batch_tokens": batch_tokens, "dtype": dtype, "device": device}
        self._known: dict[bytes, tuple[npt.NDArray[np.float32], tuple[bool, ...]]] = {}
        self.counts = dict.fromkeys(_COUNTED, 0)
        """Of the responses asked about so far, how many there were, had no prompt, had their prompt cut or were cut
        themselves, or have no token that is scored: what of the group is not defined of each is NaN, and a cut prompt's
        last tokens are what the model saw."""

    @property
    def name(self) -> str:
        """Its folder, or its name on the hub."""
        return (
            self._model if isinstance(self._model, str) else str(self._model.name_or_path or type(self._model).__name__)
        )

    @cached_property
    def _scorer(self) -> _Scorer:
        asked = {"prefix": self._prefix, "max_length": self._max_length, **self._how}
        return _Scorer.of(self._model, self._tokenizer, revision=self.revision, **asked)

    @property
    def settings(self) -> dict[str, Any]:
        """What it is made of again: `LanguageModel(**settings)`."""
        return {
            "model": self.name,
            "revision": self.revision,
            "prefix": self._prefix,
            "max_length": self._max_length,
            "dtype": self._how["dtype"],
        }

    @cached_property
    def told(self) -> dict[str, Any]:
        """What a reference says of it: its name (of a folder the last part), how it is asked, and its fingerprint."""
        return {
            "name": Path(self.name).resolve().name if Path(self.name).is_dir() else self.name,
            "revision": self.revision,
            "prefix": self._scorer.prefix,
            "max_length": self._scorer.limit,
            "fingerprint": self.fingerprint,
        }

    @cached_property
    def fingerprint(self) -> str:
        """A hash of some numbers of every weight and of the tokenizer: the same on every device and of every dtype."""
        return self._scorer.fingerprint()

    def measure(self, texts: Any, prompts: Any = None, *, keep_thinking: bool = False) -> npt.NDArray[np.float32]:
        """Measure responses.

        Parameters
        ----------
        texts, prompts
            As of :func:`lm_features`.
        keep_thinking : bool, default False
            Whether reasoning counts as part of a response.

        Returns
        -------
        numpy.ndarray of float32, shape (n, 7)
            A column each of :data:`GROUP`. NaN where it is not defined: without a token that is scored, without a
            prompt, and where the context has no room for the response itself.

        Raises
        ------
        OSError, ValueError
            There is no such model; as of :func:`lm_features`.
        """
        import numpy as np

        rows = list(zip(*_asked(texts, prompts, keep_thinking=keep_thinking), strict=True))
        keys = [hashlib.blake2b(repr(row).encode("utf-8", "surrogatepass"), digest_size=16).digest() for row in rows]
        # Critics ask about the same responses again, for percentiles and in every epoch.
        new = {key: row for key, row in zip(keys, rows, strict=True) if key not in self._known}
        if len(self._known) + len(new) > _KNOWN:
            self._known, new = {}, dict(zip(keys, rows, strict=True))
        self._known.update(zip(new, self._measured(list(new.values())), strict=True))
        measured = [self._known[key] for key in keys]
        for name, *which in zip(_COUNTED, *(counted for _, counted in measured), strict=True):
            self.counts[name] += sum(which)
        return np.array([values for values, _ in measured], dtype=np.float32).reshape(-1, len(GROUP))

    def _measured(
        self, rows: Sequence[tuple[str, list[tuple[str, str]] | None]]
    ) -> list[tuple[npt.NDArray[np.float32], tuple[bool, ...]]]:
        """Return the values of responses, and whether each is what is counted."""
        import numpy as np

        if not rows:
            return []
        table = self._scorer.table(*zip(*rows, strict=True))
        of = {name: table[:, at] for at, name in enumerate(COLUMNS)}
        cut = np.logical_or(*(of[f"{kind}_dropped_answer_tokens"] > 0 for kind in _KINDS))
        counted = (
            np.ones(len(table), dtype=bool),
            np.isnan(of["conditional_scored_tokens"]),
            of["conditional_dropped_prefix_tokens"] > 0,
            cut,
            ~(of["unconditional_scored_tokens"] > 0) & ~(of["conditional_scored_tokens"] > 0),
        )
        found = np.column_stack([of[name] for name in GROUP]).astype(np.float32)
        # Rounding may leave a sure token a little below 0.
        np.maximum(found[:, :-1], 0, out=found[:, :-1])
        found[cut] = np.nan
        return list(zip(found, zip(*(which.tolist() for which in counted), strict=True), strict=True))

    def token_moments(
        self, texts: Any, prompts: Any = None, *, observer: LanguageModel | None = None
    ) -> list[npt.NDArray[np.float64]]:
        """Measure how likely each token is beside those that might have stood there.

        Parameters
        ----------
        texts, prompts
            As of :func:`lm_features`; without prompts a response stands alone.
        observer : LanguageModel, optional
            Whose distribution over the next token others are drawn from; it must have the same tokenizer. Default: this
            model.

        Returns
        -------
        list of numpy.ndarray of float64, shape (tokens, 3)
            Of each token that is scored: its log-probability by this model, and the mean and the variance of the
            log-probability by this model of a token drawn from the observer.

        Raises
        ------
        OSError, ValueError
            There is no such model; tokenizers that differ; as of :func:`lm_features`.
        """
        answers, asked = _asked(texts, prompts)
        kind = "unconditional" if prompts is None else "conditional"
        scorer = self._scorer
        sequences = [scorer.sequence(text, prompt, kind) for text, prompt in zip(answers, asked, strict=True)]
        return scorer.moments(sequences, scorer if observer is None else observer._scorer)

    def __repr__(self) -> str:
        return f"LanguageModel({self.name!r})"


# ------------------------------------------------------------------------------------------------- sequences


@dataclass(frozen=True)
class _Sequence:
    """What a model sees of a response; `None` in its place: nothing to see, as there is no prompt."""

    ids: tuple[int, ...]
    answer: int
    """How many of the last tokens are the response's."""
    dropped_prefix: int
    dropped_answer: int

    @property
    def scored(self) -> int:
        """How many tokens have one before them."""
        return min(self.answer, max(0, len(self.ids) - 1))


def paper_prefix(messages: Sequence[tuple[str, str]]) -> str:
    r"""Return a prompt as the paper's code writes it before a response.

    Examples
    --------
    >>> paper_prefix([("user", "Hi"), ("assistant", "Hello"), ("user", "Why?")])
    'Dialogue History:\nUser: Hi\nAssistant: Hello\n\nCurrent User Message:\nWhy?\n\nAssistant Response:\n'
    """
    context = [content for role, content in messages if role == "system"]
    turns = [(role, content) for role, content in messages if role != "system"]
    *history, (_, last) = turns or [("user", "")]
    blocks = []
    if context:
        blocks.append("Context:\n" + "\n".join(context))
    if history:
        lines = [f"{'User' if role == 'user' else 'Assistant'}: {content}" for role, content in history]
        blocks.append("Dialogue History:\n" + "\n".join(lines))
    return "\n\n".join([*blocks, f"Current User Message:\n{last}", "Assistant Response:\n"])


class _Scorer:
    """A model with its tokenizer."""

    def __init__(
        self, model: Any, tokenizer: Any, prefix: Prefix, max_length: int | None, batch_tokens: int | None
    ) -> None:
        from polyalign.generation._local import context_of

        self._model, self._tokenizer, self.prefix = model, tokenizer, prefix
        self.limit = min(max_length or context_of(tokenizer, model.config), context_of(tokenizer, model.config))
        self._batch_tokens = batch_tokens or (512 if model.device.type == "cpu" else 16384)
        begin = tokenizer.bos_token_id
        self._begin: list[int] = [] if begin is None else [begin]

    @classmethod
    def of(
        cls,
        model: Any,
        tokenizer: Any,
        *,
        prefix: Prefix | None,
        max_length: int | None,
        batch_tokens: int | None,
        dtype: str,
        device: str | None,
        revision: str | None = None,
    ) -> _Scorer:
        """Load what is given by name."""
        from polyalign._io.extras import training_module

        transformers = training_module("polyalign.generation._transformers", "a language model")

        if prefix not in (None, "chat", "paper", "plain"):
            raise ValueError(f"prefix is {prefix!r}: it must be 'chat', 'paper' or 'plain'")
        if max_length is not None and max_length < 2:
            raise ValueError(f"max_length is {max_length}: it must be 2 or more")
        engine = transformers.TransformersEngine(model, tokenizer, revision=revision, dtype=dtype, device=device)
        loaded, words = engine.loaded(), engine.tokenizer
        if prefix == "chat" and not words.chat_template:
            raise ValueError("prefix='chat': the tokenizer has no chat template: give another prefix")
        return cls(loaded, words, prefix or ("chat" if words.chat_template else "plain"), max_length, batch_tokens)

    def table(self, answers: Sequence[str], asked: Sequence[list[tuple[str, str]] | None]) -> npt.NDArray[np.float64]:
        """Return a row a response, a column each of :data:`COLUMNS`."""
        import numpy as np

        rows = list(zip(answers, asked, strict=True))
        sequences = {kind: [self.sequence(text, prompt, kind) for text, prompt in rows] for kind in _KINDS}
        surprisals = {kind: self.surprisals(sequences[kind]) for kind in _KINDS}
        table = np.full((len(answers), len(COLUMNS)), np.nan)
        for at in range(len(answers)):
            table[at] = _row([(sequences[kind][at], surprisals[kind][at]) for kind in _KINDS])
        return table

    def fingerprint(self) -> str:
        """Return what the model and its tokenizer are known again by."""
        import torch

        words = self._tokenizer
        digest = hashlib.sha256()
        for name, tensor in sorted(self._model.state_dict().items()):
            digest.update(f"{name} {tuple(tensor.shape)}\n".encode())
            some = tensor.detach().flatten()[:: max(1, tensor.numel() // _WEIGHTS)]
            digest.update(some.to("cpu", torch.bfloat16).view(torch.int16).numpy().tobytes())
        for token, number in sorted(words.get_vocab().items()):
            digest.update(f"{number} {token}\n".encode("utf-8", "surrogatepass"))
        digest.update(f"{words.chat_template}\n{self._begin}\n".encode())
        digest.update(str([words(text, add_special_tokens=False)["input_ids"] for text in _TOKENIZED]).encode())
        return digest.hexdigest()

    def sequence(self, text: str, prompt: list[tuple[str, str]] | None, kind: str) -> _Sequence | None:
        """Return what the model sees: the last tokens, where there are too many."""
        if kind == "conditional" and not prompt:
            return None
        answer: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"] if text else []
        before = self._begin if kind == "unconditional" else self._before(prompt or [])
        over = max(0, len(before) + len(answer) - self.limit)
        ids = tuple([*before, *answer][over:])
        dropped = min(over, len(before))
        return _Sequence(ids, len(answer) - (over - dropped), dropped, over - dropped)

    def _before(self, prompt: list[tuple[str, str]]) -> list[int]:
        if self.prefix == "chat":
            messages = [{"role": role, "content": content} for role, content in prompt]
            return list(
                self._tokenizer.apply_chat_template(
                    messages, add_generation_prompt=True, tokenize=True, return_dict=False
                )
            )
        text = paper_prefix(prompt) if self.prefix == "paper" else _plain(prompt)
        return list(self._tokenizer(text)["input_ids"])

    # ------------------------------------------------------------------------------------------- the model

    def surprisals(self, sequences: Sequence[_Sequence | None]) -> list[npt.NDArray[np.float64] | None]:
        """Return the surprisal of each token that is scored; what sequences have alike is computed once."""
        different = {(each.ids, each.scored): None for each in sequences if each is not None and each.scored}
        order = sorted(different, key=lambda key: (-len(key[0]), key))
        found: dict[Any, npt.NDArray[np.float64]] = {}
        with evaluating(self._model):
            for begin, keys in _with_equal_beginnings(order):
                if self._shares(begin, keys):
                    found.update(zip(keys, self._after(begin, keys), strict=True))
            for part in _parts([key for key in order if key not in found], self._batch_tokens):
                found.update(zip(part, self._batch(part), strict=True))
        return [None if each is None else found.get((each.ids, each.scored), _nothing()) for each in sequences]

    def _batch(self, keys: Sequence[_Key]) -> list[npt.NDArray[np.float64]]:
        """Return the surprisals of some sequences, padded on the right: what is padding comes after all that counts."""
        import torch

        ids, mask = _padded([key[0] for key in keys])
        rows = [row for row, (_, scored) in enumerate(keys) for _ in range(scored)]
        places = [place for sequence, scored in keys for place in range(len(sequence) - scored, len(sequence))]
        row, place = torch.tensor(rows), torch.tensor(places)
        with torch.inference_mode():
            logits = self._logits_of(ids.to(self._device), mask.to(self._device))
            return self._of_logits(logits, row, place - 1, ids[row, place], keys)

    @property
    def _device(self) -> Any:
        return self._model.get_input_embeddings().weight.device

    def _of_logits(
        self, logits: Any, row: Any, place: Any, targets: Any, keys: Sequence[_Key]
    ) -> list[npt.NDArray[np.float64]]:
        """Return the surprisals of tokens by the logits before them, parted into those of each sequence."""
        import torch

        surprisal = torch.empty(len(row), dtype=torch.float64)
        for start in range(0, len(row), _LOGIT_ROWS):
            part = slice(start, start + _LOGIT_ROWS)
            scores = logits(row[part].to(self._device), place[part].to(self._device)).float()
            chosen = scores.gather(1, targets[part].to(self._device)[:, None])[:, 0]
            surprisal[part] = (scores.logsumexp(-1) - chosen).double().cpu()
        if not bool(torch.isfinite(surprisal).all()):
            raise ValueError("the model gives no numbers (NaN): load it with another dtype, such as float32")
        return [each.numpy() for each in surprisal.split([scored for _, scored in keys])]

    def moments(self, sequences: Sequence[_Sequence | None], observer: _Scorer) -> list[npt.NDArray[np.float64]]:
        """Return the moments of each token that is scored; what sequences have alike is computed once."""
        if observer is not self and observer._tokenizer.get_vocab() != self._tokenizer.get_vocab():
            raise ValueError("the two models have different tokenizers: give two of one family")
        limit = min(self.limit, observer.limit)
        if over := [each for each in sequences if each is not None and len(each.ids) > limit]:
            raise ValueError(
                f"the observer's context is {limit} tokens, and a text has {len(over[0].ids)}: set max_length"
            )
        different = {(each.ids, each.scored): None for each in sequences if each is not None and each.scored}
        order = sorted(different, key=lambda key: (-len(key[0]), key))
        found: dict[Any, npt.NDArray[np.float64]] = {}
        with evaluating(self._model), evaluating(observer._model):
            for part in _parts(order, self._batch_tokens):
                found.update(zip(part, self._batch_moments(part, observer), strict=True))
        nothing = _nothing().reshape(0, 3)
        return [nothing if each is None else found.get((each.ids, each.scored), nothing) for each in sequences]

    def _batch_moments(self, keys: Sequence[_Key], observer: _Scorer) -> list[npt.NDArray[np.float64]]:
        import torch

        ids, mask = _padded([key[0] for key in keys])
        row = torch.tensor([row for row, (_, scored) in enumerate(keys) for _ in range(scored)])
        place = torch.tensor([at for sequence, scored in keys for at in range(len(sequence) - scored, len(sequence))])
        found = torch.empty((len(row), 3), dtype=torch.float64)
        with torch.inference_mode():
            scorers = [self] if observer is self else [self, observer]
            logits = [each._logits_of(ids.to(each._device), mask.to(each._device)) for each in scorers]
            for start in range(0, len(row), _MOMENT_ROWS):
                part = slice(start, start + _MOMENT_ROWS)
                taken = [
                    of(row[part].to(each._device), place[part].to(each._device) - 1).float().to(self._device)
                    for each, of in zip(scorers, logits, strict=True)
                ]
                width = min(each.shape[-1] for each in taken)  # what is beyond pads it
                ours, theirs = (taken[at][:, :width].log_softmax(-1) for at in (0, -1))
                shares = theirs.exp()
                mean = torch.where(shares > 0, shares * ours, 0).sum(-1)
                variance = torch.where(shares > 0, shares * (ours - mean[:, None]).square(), 0).sum(-1)
                chosen = ours.gather(1, ids[row[part], place[part]].to(self._device)[:, None])[:, 0]
                found[part] = torch.stack([chosen, mean, variance], dim=1).double().cpu()
        if not bool(torch.isfinite(found).all()):
            raise ValueError("a model gives no numbers (NaN): load it with another dtype, such as float32")
        return [each.numpy() for each in found.split([scored for _, scored in keys])]

    # ------------------------------------------------------------------------------- what begins alike, once

    def _shares(self, begin: tuple[int, ...], keys: Sequence[_Key]) -> bool:
        """Whether what a model keeps of a beginning may stand for it: looked at once, on two sequences."""
        import numpy as np
        import torch

        if self._batch_tokens == 1:  # one at a time, whatever is beside it
            return False
        if not hasattr(self, "_can_share"):
            two = keys[:2]
            try:
                shared, whole = self._after(begin, two), self._batch(two)
                apart = np.abs(np.concatenate(shared) - np.concatenate(whole)).mean()
                self._can_share = bool(apart < (1e-3 if self._model.dtype in (torch.float32, torch.float64) else 0.1))
            except (AttributeError, TypeError, RuntimeError):
                self._can_share = False
        return self._can_share

    def _after(self, begin: tuple[int, ...], keys: Sequence[_Key]) -> list[npt.NDArray[np.float64]]:
        """Return the surprisals of sequences that begin alike, the beginning computed once."""
        import torch

        with torch.inference_mode():
            whole = torch.tensor([begin], device=self._device)
            if not self._is_plain(whole, torch.ones_like(whole)):
                raise TypeError("something is done to the logits")
            made = self._body()(input_ids=whole, use_cache=True)
            cache = getattr(made, self._cache)
            kinds = {type(layer).__name__ for layer in cache.layers}
            if kinds != {"DynamicLayer"}:
                raise TypeError(f"a cache of {kinds}")
            last = made.last_hidden_state[:, -1:]
            return [one for part in _parts_after(len(begin), keys, self._batch_tokens)
                    for one in self._part_after(begin, cache, last, part)]  # fmt: skip

    @cached_property
    def _cache(self) -> str:
        """What transformers calls what is kept: from 5.24 on, cache."""
        return "cache" if "cache" in inspect.signature(self._body().forward).parameters else "past_key_values"

    def _part_after(
        self, begin: tuple[int, ...], cache: Any, last: Any, keys: Sequence[_Key]
    ) -> list[npt.NDArray[np.float64]]:
        import torch

        rests = [ids[len(begin) :] for ids, _ in keys]
        # The last token is not looked at: nothing comes after it.
        ids, mask = _padded([rest[:-1] for rest in rests])
        hidden = last.expand(len(keys), -1, -1)
        if ids.shape[1]:
            own = copy.deepcopy(cache)
            own.batch_repeat_interleave(len(keys))
            seen = torch.cat([torch.ones((len(keys), len(begin)), dtype=torch.int64), mask], dim=1)
            after = self._body()(
                input_ids=ids.to(self._device),
                attention_mask=seen.to(self._device),
                use_cache=True,
                **{self._cache: own},
            )
            hidden = torch.cat([hidden, after.last_hidden_state], dim=1)
        row = torch.tensor([row for row, rest in enumerate(rests) for _ in rest])
        place = torch.tensor([at for rest in rests for at in range(len(rest))])
        targets = torch.tensor([token for rest in rests for token in rest])
        head = self._model.get_output_embeddings()
        return self._of_logits(lambda row, place: head(hidden[row, place]), row, place, targets, keys)

    # -------------------------------------------------------------------------------------------- its logits

    def _logits_of(self, ids: Any, mask: Any) -> Any:
        """Return what gives the logits [m, vocabulary] at m places: those of the responses alone are computed."""
        head = self._model.get_output_embeddings()
        if head is None or not self._is_plain(ids, mask):
            whole = self._model(input_ids=ids, attention_mask=mask, use_cache=False).logits
            return lambda row, place: whole[row, place]
        hidden = self._body()(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
        return lambda row, place: head(hidden[row, place])

    def _body(self) -> Any:
        model = self._model.get_base_model() if hasattr(self._model, "get_base_model") else self._model
        return model.base_model

    def _is_plain(self, ids: Any, mask: Any) -> bool:
        """Whether logits are the head's, and nothing is done to them: looked at once, on a few tokens."""
        import torch

        if not hasattr(self, "_plain_head"):
            few, seen = ids[:1, :8], mask[:1, :8]
            whole = self._model(input_ids=few, attention_mask=seen, use_cache=False).logits
            try:
                hidden = self._body()(input_ids=few, attention_mask=seen, use_cache=False).last_hidden_state
                again = self._model.get_output_embeddings()(hidden)
                self._plain_head = again.shape == whole.shape and bool(torch.equal(again, whole))
            except (AttributeError, TypeError, RuntimeError):
                self._plain_head = False
        return self._plain_head


def _plain(prompt: Sequence[tuple[str, str]]) -> str:
    return "\n\n".join([*(content for _, content in prompt), ""])


def _padded(sequences: Sequence[tuple[int, ...]]) -> tuple[Any, Any]:
    """Return sequences padded on the right, and which tokens are theirs."""
    import torch

    width = max(map(len, sequences))
    ids = torch.zeros((len(sequences), width), dtype=torch.int64)
    mask = torch.zeros_like(ids)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = torch.tensor(sequence, dtype=torch.int64)
        mask[row, : len(sequence)] = 1
    return ids, mask


def _with_equal_beginnings(order: Sequence[_Key]) -> Iterator[tuple[tuple[int, ...], list[_Key]]]:
    """Give what comes before the tokens that are scored, where that spares enough, with the sequences that have it."""
    groups: dict[tuple[int, ...], list[_Key]] = {}
    for ids, scored in order:
        groups.setdefault(ids[: len(ids) - scored], []).append((ids, scored))
    for begin, keys in groups.items():
        if len(begin) * (len(keys) - 1) >= _SPARED:
            yield begin, keys


def _parts_after(begin: int, keys: Sequence[_Key], batch_tokens: int) -> Iterator[list[_Key]]:
    """Give sequences that begin alike, the longest first, in batches that are bounded with what is kept of them."""
    start = 0
    while start < len(keys):
        rest = len(keys[start][0]) - begin
        many = max(1, min(batch_tokens // rest, max(_KEPT, batch_tokens) // len(keys[start][0])))
        yield list(keys[start : start + many])
        start += many


def _parts(order: Sequence[Any], batch_tokens: int) -> Iterator[list[Any]]:
    """Give sequences, the longest first, in batches of so many tokens with their padding."""
    start = 0
    while start < len(order):
        many = max(1, batch_tokens // len(order[start][0]))
        yield list(order[start : start + many])
        start += many


# -------------------------------------------------------------------------------------------------- measures


def _nothing() -> npt.NDArray[np.float64]:
    import numpy as np

    return np.zeros(0)


def _row(kinds: Sequence[tuple[_Sequence | None, npt.NDArray[np.float64] | None]]) -> list[float]:
    """Return the columns of a response."""
    (alone, _), (conditional, _) = kinds
    assert alone is not None
    measured = [_measures(sequence, surprisal) for sequence, surprisal in kinds]
    without, with_ = (dict(zip(_MEASURES, values, strict=True)) for values in measured)
    gain, scored = math.nan, 0
    if conditional is not None and conditional.scored and alone.scored:
        # The tokens that both score: without a beginning of sequence the first is scored with a prompt alone.
        scored = min(conditional.scored, alone.scored)
        sums = [float(surprisal[-scored:].sum()) for _, surprisal in kinds if surprisal is not None]
        gain = sums[0] - sums[1]
    ratio = math.exp(max(-_LARGEST_EXPONENT, min(_LARGEST_EXPONENT, with_["nll_mean"] - without["nll_mean"])))
    return [
        alone.answer + alone.dropped_answer,
        *measured[0],
        *measured[1],
        gain,
        gain / scored if scored else math.nan,
        ratio if scored else math.nan,
    ]


def _measures(sequence: _Sequence | None, surprisal: npt.NDArray[np.float64] | None) -> list[float]:
    if sequence is None or surprisal is None:
        return [math.nan] * len(_MEASURES)
    total, scored = sequence.answer + sequence.dropped_answer, len(surprisal)
    counts = [len(sequence.ids) - sequence.answer, scored, scored / total if total else math.nan]
    dropped = [sequence.dropped_prefix, sequence.dropped_answer]
    cut = [float(any(dropped)), *map(float, dropped)]
    if not scored:
        return [*counts, *[math.nan] * 9, *cut]
    nll, mean = float(surprisal.sum()), float(surprisal.mean())
    spread = [float(surprisal.std()), float(surprisal.min()), float(surprisal.max())]
    return [
        *counts,
        *(-nll, -mean, nll, mean),
        *(math.exp(min(mean, _LARGEST_EXPONENT)), mean / math.log(2)),
        *spread,
        *cut,
    ]
