"""What models on this machine have in common: prompts by the tokenizer's template, and where answers end."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from polyalign._io import manifests
from polyalign._io.models import why_not
from polyalign.generation._engine import Unfit
from polyalign.generation._prompts import Prompt, as_dialogue, as_plain
from polyalign.generation._settings import Form, Sampling

__all__ = [
    "ENDLESS",
    "Asked",
    "context_of",
    "cut_at",
    "load_config",
    "load_generation_config",
    "load_tokenizer",
    "weights",
]

ENDLESS = "neither the model nor the tokenizer says which token ends an answer: each is cut at max_new_tokens"

_UNLIMITED = 1 << 30
_WEIGHTS = (".safetensors", ".bin", ".gguf", ".pt")
#: What trainers leave beside them, which no answer depends on.
_OF_TRAINERS = {"training_args.bin", "optimizer.pt", "optimizer.bin", "scheduler.pt", "scheduler.bin", "scaler.pt"}
_MARK = "polyalign7answer"

Ids = npt.NDArray[np.int32]


class Asked:
    """Turns prompts into tokens."""

    def __init__(
        self, tokenizer: Any, config: Any, *, template: str | None, template_arguments: dict[str, Any] | None
    ) -> None:
        self.tokenizer, self.config = tokenizer, config
        if template is not None:
            tokenizer.chat_template = template
        self.template_arguments = template_arguments or {}
        self.context = context_of(tokenizer, config)

    def form(self, given: Form | None) -> Form:
        """Return the form of prompts."""
        has_template = bool(self.tokenizer.chat_template)
        if given == "chat" and not has_template:
            raise ValueError("the tokenizer has no chat template: give one, or form='dialogue'")
        return given or ("chat" if has_template else "dialogue")

    def ids(self, prompt: Prompt, form: Form, sampling: Sampling, limit: int | None) -> Ids:
        """Return the tokens of a prompt; `Unfit` if it can't be asked."""
        ids = np.asarray(self._encoded(prompt, form), dtype=np.int32)
        if limit is not None and len(ids) > limit:
            raise Unfit("over_max_prompt_tokens", f"the prompt has {len(ids):,} tokens, above max_prompt_tokens")
        if not len(ids):
            raise Unfit("no_prompt", "the prompt has no tokens")
        if len(ids) + sampling.max_new_tokens > self.context:
            raise Unfit(
                "too_long",
                f"the prompt has {len(ids):,} tokens: with max_new_tokens {sampling.max_new_tokens:,} that is more "
                f"than the model's {self.context:,}",
            )
        return ids

    def _encoded(self, prompt: Prompt, form: Form) -> Sequence[int]:
        if form != "chat":
            text = as_dialogue(prompt.messages) if form == "dialogue" else as_plain(prompt.messages)
            return self.tokenizer(text)["input_ids"]  # type: ignore[no-any-return]
        from jinja2 import TemplateError

        try:
            return self.tokenizer.apply_chat_template(  # type: ignore[no-any-return]
                prompt.messages,
                tools=prompt.tools,
                add_generation_prompt=True,
                tokenize=True,
                return_dict=False,
                **self.template_arguments,
            )
        except (TemplateError, TypeError, KeyError, ValueError) as error:
            raise Unfit("template", f"the chat template refuses the prompt: {' '.join(str(error).split())}") from None

    def ends(self, generation_config: Any, form: Form) -> list[int]:
        """Return the tokens that end an answer: the model's, the tokenizer's, and the one that the template ends in."""
        given = [getattr(generation_config, "eos_token_id", None), getattr(self.config, "eos_token_id", None)]
        listed = [token for each in given for token in (each if isinstance(each, (list, tuple)) else [each])]
        turn = self._turn_end() if form == "chat" else None
        return sorted({int(token) for token in (*listed, self.tokenizer.eos_token_id, turn) if token is not None})

    def _turn_end(self) -> int | None:
        """Return the special token that follows what the assistant says."""
        messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": _MARK}]
        try:
            text = self.tokenizer.apply_chat_template(messages, tokenize=False, **self.template_arguments)
        except Exception:  # a template may raise anything at a conversation that it does not like
            return None
        tail = self.tokenizer(text[text.rfind(_MARK) + len(_MARK) :], add_special_tokens=False)["input_ids"]
        added = self.tokenizer.added_tokens_decoder
        special = {token for token, what in added.items() if what.special} | set(self.tokenizer.all_special_ids)
        return next((token for token in tail if token in special), None)

    def told(self) -> dict[str, Any]:
        """Return what prompts depend on."""
        template = self.tokenizer.chat_template
        sha = None if not template else hashlib.sha256(str(template).encode()).hexdigest()
        return {"chat_template": sha, "chat_template_arguments": self.template_arguments}


def context_of(tokenizer: Any, config: Any) -> int:
    """Return how many tokens a model takes, prompt and answer."""
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    known = [getattr(text, "max_position_embeddings", None), getattr(tokenizer, "model_max_length", None)]
    return min([int(limit) for limit in known if limit and 0 < limit < _UNLIMITED], default=_UNLIMITED)


def cut_at(text: str, stops: Sequence[str]) -> tuple[str, bool]:
    """Return a text up to the first of the texts that end it, and whether one does."""
    places = [place for stop in stops if (place := text.find(stop)) >= 0]
    return (text[: min(places)], True) if places else (text, False)


def load_tokenizer(name: str, revision: str | None, *, trust_remote_code: bool) -> Any:
    """Load a tokenizer of a folder or of the hub."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(name, revision=revision, trust_remote_code=trust_remote_code)
    except (OSError, ValueError) as error:
        raise OSError(f"model {name}: no tokenizer: {_first_line(error)}") from None


def load_config(name: str, revision: str | None, *, trust_remote_code: bool) -> Any:
    """Load the configuration of a model of a folder or of the hub."""
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(name, revision=revision, trust_remote_code=trust_remote_code)
    except (OSError, ValueError) as error:
        raise OSError(f"model {name}: {why_not(name, OSError(_first_line(error)))}") from None


def load_generation_config(name: str, revision: str | None) -> Any:
    """Load how a model generates; `None`: it does not say."""
    from transformers import GenerationConfig

    try:
        return GenerationConfig.from_pretrained(name, revision=revision)
    except OSError:
        return None


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def weights(name: str, config: Any = None) -> dict[str, Any]:
    """Return which weights a name stands for: the commit of the hub, or a hash of a folder's files."""
    folder = Path(name)
    if not folder.is_dir():
        return {"name": name, "commit": getattr(config, "_commit_hash", None)}
    files = sorted(file for file in folder.iterdir() if file.suffix in _WEIGHTS and file.name not in _OF_TRAINERS)
    with ThreadPoolExecutor() as pool:
        hashes = list(pool.map(manifests.sha256, files))
    whole = hashlib.sha256("".join(f"{f.name} {h}\n" for f, h in zip(files, hashes, strict=True)).encode())
    return {"name": folder.resolve().name, "sha256": whole.hexdigest()}
