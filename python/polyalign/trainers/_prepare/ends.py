"""In which token responses end, and whether sampling stops there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from polyalign.trainers._logs import get_logger

__all__ = ["ResponseEnds", "set_end", "stop_tokens"]

logger = get_logger(__name__)

#: Rows that are looked at; and, of each, tokens at its end.
ROWS, TOKENS = 500, 16


def stop_tokens(model: Any, tokenizer: Any) -> list[int]:
    """Return the tokens at which sampling stops: the generation config's, and the tokenizer's end of sequence."""
    given = model.generation_config.eos_token_id
    listed = given if isinstance(given, list) else [given]
    return sorted({token for token in (*listed, tokenizer.eos_token_id) if token is not None})


def set_end(model: Any, tokenizer: Any, token: str) -> None:
    """Make a token the end of sequence; generation stops there, and where it did.

    Raises
    ------
    ValueError
        The tokenizer does not have it.
    """
    if token not in tokenizer.get_vocab():
        raise ValueError(f"eos_token={token!r}: the tokenizer has no such token")
    tokenizer.eos_token = token
    if model is not None:
        end = tokenizer.eos_token_id
        model.config.get_text_config().eos_token_id = end
        others = [stop for stop in stop_tokens(model, tokenizer) if stop != end]
        model.generation_config.eos_token_id = [end, *others]


class ResponseEnds:
    """The last tokens of some responses that train."""

    def __init__(self) -> None:
        self.trained: list[list[int]] = []
        self.after: list[list[int]] = []

    def add_labels(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Look at rows with ``input_ids`` and ``labels``; one that was truncated says nothing."""
        for row in rows:
            if not row["truncated"]:
                places = [at for at, label in enumerate(row["labels"]) if label != -100]
                ids, stop = row["input_ids"], places[-1] + 1
                self.add([ids[at] for at in places], ids[stop : stop + TOKENS])

    def add(self, response: Sequence[int], after: Sequence[int] = ()) -> None:
        """Look at the tokens of a response, and at those that follow and do not train."""
        self.trained.append(list(response[-TOKENS:]))
        self.after.append(list(after))

    def settle(self, model: Any, tokenizer: Any, *, given: str | None, samples: bool) -> None:
        """Make the token that ends the responses the end of sequence, where it is one and none was given.

        Parameters
        ----------
        model, tokenizer
            Those that train.
        given : str or None
            The end of sequence that the settings name.
        samples : bool
            Whether responses are sampled while the model trains.

        Raises
        ------
        ValueError
            Responses are sampled, and none would end.
        """
        stops = stop_tokens(model, tokenizer)
        special = {token for token, added in tokenizer.added_tokens_decoder.items() if added.special}
        marks = {*special, *tokenizer.all_special_ids, *stops}
        ends = Counter(_end(tail, marks, tokenizer) for tail in self.trained)
        stopping = sum(count for end, count in ends.items() if end in stops)
        if stopping == ends.total():
            return
        if stopping:
            rest, named = ends.total() - stopping, _named(stops, tokenizer)
            logger.warning(
                f"{rest:,} of {ends.total():,} responses (those looked at) do not end where sampling stops, at {named}"
            )
            return
        (end, count), *_ = ends.most_common()
        if given is None and end is not None and count == ends.total():
            token = tokenizer.convert_ids_to_tokens(end)
            logger.warning(
                f"responses end in {token!r}, at which sampling would not stop (but at {_named(stops, tokenizer)}): "
                f"eos_token is now {token!r}"
            )
            set_end(model, tokenizer, token)
            return
        told = self._told(ends, stops, marks, tokenizer)
        if samples:
            raise ValueError(f"{told}; or lambda_online=0, which samples nothing")
        logger.warning(told)

    def _told(self, ends: Counter[int | None], stops: list[int], marks: set[int], tokenizer: Any) -> str:
        head = f"a sampled response would never end: sampling stops at {_named(stops, tokenizer)}, but "
        found = [end for end in ends if end is not None]
        if found:
            return f"{head}those that train end in {_named(found, tokenizer)}: set eos_token to what ends a response"
        cut = {end for tail in self.after if (end := _begin(tail, marks, tokenizer)) is not None}
        if cut:
            return (
                f"{head}{_named(sorted(cut), tokenizer)}, which ends those in the data, does not train: put it between "
                "{% generation %} and {% endgeneration %} in the chat template, or into the labels"
            )
        return f"{head}those that train end in no special token: the chat template should end them in eos_token"


def _end(ids: list[int], marks: set[int], tokenizer: Any) -> int | None:
    """Return the special token with which ids end; whitespace may follow it."""
    at = next((at for at in reversed(range(len(ids))) if ids[at] in marks), None)
    if at is None or tokenizer.decode(ids[at + 1 :]).strip():
        return None
    return ids[at]


def _begin(ids: list[int], marks: set[int], tokenizer: Any) -> int | None:
    """Return the special token with which ids begin; whitespace may precede it."""
    at = next((at for at, token in enumerate(ids) if token in marks), None)
    if at is None or tokenizer.decode(ids[:at]).strip():
        return None
    return ids[at]


def _named(tokens: Sequence[int], tokenizer: Any) -> str:
    return " and ".join(map(repr, tokenizer.convert_ids_to_tokens(list(tokens)))) or "no token"
