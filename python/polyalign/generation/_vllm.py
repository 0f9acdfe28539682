"""Answers by vLLM, in this process."""

from __future__ import annotations

import importlib
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from polyalign.generation import _local
from polyalign.generation._engine import Answer, Key, Request
from polyalign.generation._prompts import Prompt
from polyalign.generation._settings import Form, Sampling

__all__ = ["VLLMEngine"]

#: Requests that vLLM is given at a time: what is finished is noted after each part.
_PART = 1024


class VLLMEngine:
    """Answers by vLLM, which batches as it likes.

    Parameters
    ----------
    model : str
        A folder or a name on the hub.
    options : dict, optional
        Further arguments of ``vllm.LLM``, as ``{"tensor_parallel_size": 2}``.
    revision, adapter, dtype, template, template_arguments, trust_remote_code
        As of :class:`TransformersEngine`.

    Raises
    ------
    ModuleNotFoundError
        vLLM is not installed.

    Notes
    -----
    Each answer has a seed of its own. vLLM computes with whatever else is there, so that rounding may decide otherwise
    about a token from one run to another.
    """

    name = "vllm"

    def __init__(
        self,
        model: str,
        *,
        revision: str | None = None,
        adapter: str | None = None,
        dtype: str = "auto",
        template: str | None = None,
        template_arguments: dict[str, Any] | None = None,
        trust_remote_code: bool = False,
        options: dict[str, Any] | None = None,
    ) -> None:
        self._vllm = _module()
        self._name, self._revision, self._adapter, self._dtype = model, revision, adapter, dtype
        self._trusts, self._options = trust_remote_code, options or {}
        config = _local.load_config(model, revision, trust_remote_code=trust_remote_code)
        tokenizer = _local.load_tokenizer(model, revision, trust_remote_code=trust_remote_code)
        self._asked = _local.Asked(tokenizer, config, template=template, template_arguments=template_arguments)
        if "max_model_len" in self._options:
            self._asked.context = min(self._asked.context, int(self._options["max_model_len"]))
        self._ends: list[int] = []
        self._llm: Any = None

    def check(self) -> None:
        """Nothing more: the configuration and the tokenizer are loaded."""

    def form(self, given: Form | None) -> Form:
        """Return the form of prompts: chat where there is a template."""
        form = self._asked.form(given)
        self._ends = self._asked.ends(_local.load_generation_config(self._name, self._revision), form)
        return form

    def settings(self) -> dict[str, Any]:
        """Return what answers depend on."""
        return {
            "engine": self.name,
            "versions": {"vllm": self._vllm.__version__},
            "model": _local.weights(self._name, self._asked.config),
            "adapter": None if self._adapter is None else _local.weights(self._adapter),
            "dtype": self._dtype,
            "options": self._options,
            **self._asked.told(),
        }

    def notes(self) -> list[str]:
        """Return what a user should know first."""
        return [] if self._ends else [_local.ENDLESS]

    def prepare(self, prompt: Prompt, form: Form, sampling: Sampling, limit: int | None) -> Any:
        """Return a prompt's tokens."""
        return self._asked.ids(prompt, form, sampling, limit)

    def answers(
        self, requests: Sequence[Request], sampling: Sampling, stops: Sequence[str], done: Collection[Key]
    ) -> Iterator[list[Answer]]:
        """Give answers, a thousand at a time."""
        left = [request for request in requests if request.key not in done]
        if not left:
            return
        llm, adapter = self._loaded(), {}
        if self._adapter is not None:
            lora = importlib.import_module("vllm.lora.request").LoRARequest
            adapter = {"lora_request": lora("adapter", 1, self._adapter)}
        for start in range(0, len(left), _PART):
            part = left[start : start + _PART]
            outputs = llm.generate(
                [{"prompt_token_ids": request.prompt.tolist()} for request in part],
                [self._parameters(request, sampling, stops) for request in part],
                use_tqdm=False,
                **adapter,
            )
            yield [_answer(request, output) for request, output in zip(part, outputs, strict=True)]

    def _parameters(self, request: Request, sampling: Sampling, stops: Sequence[str]) -> Any:
        return self._vllm.SamplingParams(
            n=1,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k or -1,
            max_tokens=sampling.max_new_tokens,
            min_tokens=sampling.min_new_tokens,
            stop=list(stops) or None,
            stop_token_ids=self._ends,
            seed=request.seed >> 1,  # it takes 63 bits
        )

    def _loaded(self) -> Any:
        if self._llm is None:
            self._llm = self._vllm.LLM(
                **{
                    "model": self._name,
                    "revision": self._revision,
                    "dtype": self._dtype,
                    "trust_remote_code": self._trusts,
                    "enable_lora": self._adapter is not None,
                    # The model's own sampling settings would take the place of what is not said.
                    "generation_config": "vllm",
                    **self._options,
                }
            )
        return self._llm


def _answer(request: Request, output: Any) -> Answer:
    """Return what vLLM gave; of a text that ended at a token, that token is no part."""
    (found,) = output.outputs
    ended = found.finish_reason == "stop" and isinstance(found.stop_reason, int | None)
    tokens = len(found.token_ids) - (1 if ended and found.token_ids else 0)
    return Answer(request.key, found.text.strip(), str(found.finish_reason), tokens, len(request.prompt))


def _module() -> Any:
    try:
        return importlib.import_module("vllm")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"the engine vllm needs {error.name}: pip install vllm", name=error.name) from error
