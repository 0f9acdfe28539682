"""Which rows can't be rendered for a model, said before TRL meets them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from polyalign import _core

__all__ = ["Unfit"]

# Whose turns are no question.
_NO_QUESTION = {"system", "developer", "assistant"}
_EXTRA = ("tools", "chat_template_kwargs")


class Unfit:
    """Says why the chat template can't render a row, or what a row lacks.

    What a template refuses is the order of roles and the kinds of contents, so conversations that are alike in these
    are rendered once; with `exact`, each one is.

    Parameters
    ----------
    tokenizer : PreTrainedTokenizerBase
        It renders.
    columns : sequence of str
        The data set's.
    responses : sequence of str
        The columns with responses to ``prompt``, or with whole conversations where there is none.
    chat_template : str, optional
        Default: the tokenizer's.
    needs_mask : bool, default False
        Whether the template must say which tokens are the assistant's.
    without_template : str
        What to do where there is no template, and the rows are conversations.
    """

    def __init__(
        self,
        tokenizer: Any,
        columns: Sequence[str],
        responses: Sequence[str],
        *,
        chat_template: str | None = None,
        needs_mask: bool = False,
        without_template: str,
    ) -> None:
        self.without_template = without_template
        self.tokenizer, self.chat_template, self.needs_mask = tokenizer, chat_template, needs_mask
        self.responses = [name for name in responses if name in columns]
        self.has_prompt = "prompt" in columns
        self.extra = [name for name in _EXTRA if name in columns]
        self.columns = [*(["prompt"] if self.has_prompt else []), *self.responses, *self.extra]
        self.exact = False
        self._known: dict[Any, str | None] = {}

    def __call__(self, row: Mapping[str, Any]) -> str | None:
        """Return the reason, if there is one.

        Raises
        ------
        ValueError
            The row is a conversation, and there is no template.
        """
        prompt = row["prompt"] if self.has_prompt else []
        if self.has_prompt and isinstance(prompt, str):
            missing = [name for name in self.responses if not isinstance(row[name], str)]
            return f"no {missing[0]}" if missing else None
        prompt = _messages(prompt)
        if prompt is None:
            return "its prompt is no text and no list of messages with role and content"
        for name in self.responses:
            response = _messages(row[name])
            if response is None and not (isinstance(row[name], str) and not self.has_prompt):
                return f"its {name} is no list of messages with role and content"
            if response is not None and (reason := self._why(prompt, response, name, row)):
                return reason
        return None

    def _why(self, prompt: list[Any], response: list[Any], name: str, row: Mapping[str, Any]) -> str | None:
        if not response:
            return f"no {name}"
        before = prompt
        if not self.has_prompt:
            last = max((at for at, each in enumerate(response) if each["role"] == "assistant"), default=None)
            if last is None:
                return f"no turn of the assistant in {name}"
            before = response[:last]
        if all(message["role"] in _NO_QUESTION for message in before):
            return "no turn of a user before the response"
        extra = {each: row[each] for each in self.extra if row[each] is not None}
        shape = [_shape(prompt), _shape(response), json.dumps(extra, sort_keys=True, default=str)]
        key = tuple(shape) if not self.exact else None
        if key not in self._known or key is None:
            self._known[key] = self._refusal(prompt, [*prompt, *response], extra)
        return self._known[key]

    def _refusal(self, prompt: list[Any], whole: list[Any], extra: Mapping[str, Any]) -> str | None:
        """Render, and say what the template says against it."""
        if self.tokenizer.chat_template is None and self.chat_template is None:
            raise ValueError(
                _core.in_words(f"the tokenizer has no chat template, which conversations need: {self.without_template}")
            )
        tools = extra.get("tools")
        given = {
            "chat_template": self.chat_template,
            "tools": json.loads(tools) if isinstance(tools, str) else tools,
            **extra.get("chat_template_kwargs", {}),
        }
        try:
            if self.has_prompt:
                self.tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True, **given)
            if not self.needs_mask:
                self.tokenizer.apply_chat_template(whole, tokenize=False, **given)
                return None
            found = self.tokenizer.apply_chat_template(
                whole, tokenize=True, return_dict=True, return_assistant_tokens_mask=True, **given
            )
        except Exception as error:  # whatever a template comes upon
            return f"the chat template refuses it: {' '.join(str(error).split()) or type(error).__name__}"
        if 1 in found["assistant_masks"]:
            return None
        return "the chat template marks none of its tokens as the assistant's ({% generation %})"


def _messages(value: Any) -> list[dict[str, Any]] | None:
    """Return messages with role and content, as TRL renames them; None where a value is none."""
    if not isinstance(value, (list, tuple)):
        return None
    found = []
    for message in value:
        if not isinstance(message, Mapping):
            return None
        made = {name: each for name, each in message.items() if each is not None or name == "content"}
        for name, new in (("from", "role"), ("value", "content")):
            if made.get(name) is not None:
                made[new] = made.pop(name)
        content = made.get("content")
        if not isinstance(made.get("role"), str) or not isinstance(content, (str, list, type(None))):
            return None
        if content is None and not made.get("tool_calls"):
            return None
        found.append(made)
    return found


def _shape(messages: Sequence[Mapping[str, Any]]) -> tuple[Any, ...]:
    """Return what a template may object to."""
    return tuple(
        (each["role"], type(each.get("content")).__name__, bool(each.get("content")), tuple(sorted(each)))
        for each in messages
    )
