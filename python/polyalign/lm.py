"""How likely a causal language model finds responses: with what they answer, and without.

Examples
--------
>>> from polyalign.lm import COLUMNS
>>> len(COLUMNS), COLUMNS[-3:]
(34, ('conditional_gain', 'gain_per_token', 'perplexity_ratio'))
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from polyalign._io import responses as _responses
from polyalign._io.models import evaluating

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["COLUMNS", "lm_features"]

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

#: Above it a perplexity says nothing more.
_LARGEST_EXPONENT = 50.0
#: Rows of logits that are held at once: with 150,000 tokens, 300 MB.
_LOGIT_ROWS = 512
Prefix = Literal["chat", "paper", "plain"]


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

    answers = _answers(texts)
    asked = _responses.prompts(prompts)
    if asked is None:
        asked = [None] * len(answers)
    if len(asked) != len(answers):
        raise ValueError(f"{len(answers)} texts and {len(asked)} prompts: give one for each, or None")
    scorer = _Scorer.of(
        model,
        tokenizer,
        prefix=prefix,
        max_length=max_length,
        batch_tokens=batch_tokens,
        dtype=dtype,
        device=device,
    )
    sequences = {kind: [scorer.sequence(text, prompt, kind) for text, prompt in zip(answers, asked, strict=True)]
                 for kind in _KINDS}  # fmt: skip
    surprisals = {kind: scorer.surprisals(sequences[kind]) for kind in _KINDS}
    table = np.full((len(answers), len(COLUMNS)), np.nan)
    for at in range(len(answers)):
        table[at] = _row([(sequences[kind][at], surprisals[kind][at]) for kind in _KINDS])
    return pa.table({name: pa.array(table[:, at].astype(np.float32)) for at, name in enumerate(COLUMNS)})


def _answers(texts: Any) -> list[str]:
    from polyalign import _core

    found = _responses.texts("texts", texts)
    values = found.to_pylist() if hasattr(found, "to_pylist") else list(found)
    return _core.answers([value or "" for value in values])


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

        self._model, self._tokenizer, self._prefix = model, tokenizer, prefix
        self._limit = min(max_length or context_of(tokenizer, model.config), context_of(tokenizer, model.config))
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
    ) -> _Scorer:
        """Load what is given by name."""
        from polyalign.generation import TransformersEngine

        if prefix not in (None, "chat", "paper", "plain"):
            raise ValueError(f"prefix is {prefix!r}: it must be 'chat', 'paper' or 'plain'")
        if max_length is not None and max_length < 2:
            raise ValueError(f"max_length is {max_length}: it must be 2 or more")
        engine = TransformersEngine(model, tokenizer, dtype=dtype, device=device)
        loaded, words = engine.loaded(), engine.tokenizer
        if prefix == "chat" and not words.chat_template:
            raise ValueError("prefix='chat': the tokenizer has no chat template: give another prefix")
        return cls(loaded, words, prefix or ("chat" if words.chat_template else "plain"), max_length, batch_tokens)

    def sequence(self, text: str, prompt: list[tuple[str, str]] | None, kind: str) -> _Sequence | None:
        """Return what the model sees: the last tokens, where there are too many."""
        if kind == "conditional" and not prompt:
            return None
        answer: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"] if text else []
        before = self._begin if kind == "unconditional" else self._before(prompt or [])
        over = max(0, len(before) + len(answer) - self._limit)
        ids = tuple([*before, *answer][over:])
        dropped = min(over, len(before))
        return _Sequence(ids, len(answer) - (over - dropped), dropped, over - dropped)

    def _before(self, prompt: list[tuple[str, str]]) -> list[int]:
        if self._prefix == "chat":
            messages = [{"role": role, "content": content} for role, content in prompt]
            return list(
                self._tokenizer.apply_chat_template(
                    messages, add_generation_prompt=True, tokenize=True, return_dict=False
                )
            )
        text = paper_prefix(prompt) if self._prefix == "paper" else _plain(prompt)
        return list(self._tokenizer(text)["input_ids"])

    # ------------------------------------------------------------------------------------------- the model

    def surprisals(self, sequences: Sequence[_Sequence | None]) -> list[npt.NDArray[np.float64] | None]:
        """Return the surprisal of each token that is scored; of equal sequences computed once."""
        different = {(each.ids, each.scored): None for each in sequences if each is not None and each.scored}
        order = sorted(different, key=lambda key: (-len(key[0]), key))
        found: dict[Any, npt.NDArray[np.float64]] = {}
        with evaluating(self._model):
            for part in _parts(order, self._batch_tokens):
                found.update(zip(part, self._batch(part), strict=True))
        return [None if each is None else found.get((each.ids, each.scored), _nothing()) for each in sequences]

    def _batch(self, keys: Sequence[tuple[tuple[int, ...], int]]) -> list[npt.NDArray[np.float64]]:
        """Return the surprisals of some sequences, padded on the right: what is padding comes after all that counts."""
        import torch

        device = self._model.get_input_embeddings().weight.device
        width = max(len(ids) for ids, _ in keys)
        ids = torch.zeros((len(keys), width), dtype=torch.int64)
        mask = torch.zeros_like(ids)
        rows: list[int] = []
        places: list[int] = []
        for row, (sequence, scored) in enumerate(keys):
            ids[row, : len(sequence)] = torch.tensor(sequence)
            mask[row, : len(sequence)] = 1
            rows += [row] * scored
            places += range(len(sequence) - scored, len(sequence))
        row, place = torch.tensor(rows), torch.tensor(places)
        with torch.inference_mode():
            logits = self._logits_of(ids.to(device), mask.to(device))
            surprisal = torch.empty(len(rows), dtype=torch.float64)
            for start in range(0, len(rows), _LOGIT_ROWS):
                part = slice(start, start + _LOGIT_ROWS)
                scores = logits(row[part].to(device), place[part].to(device) - 1).float()
                target = ids[row[part], place[part]].to(device)
                chosen = scores.gather(1, target[:, None])[:, 0]
                surprisal[part] = (scores.logsumexp(-1) - chosen).double().cpu()
        if not bool(torch.isfinite(surprisal).all()):
            raise ValueError("the model gives no numbers (NaN): load it with another dtype, such as float32")
        return [each.numpy() for each in surprisal.split([scored for _, scored in keys])]

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
