"""Answers by transformers, in this process."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import GenerationConfig

from polyalign._io.models import evaluating, generating_by, is_adapter, quiet_off_terminal
from polyalign.generation import _local
from polyalign.generation._engine import Answer, Key, Request
from polyalign.generation._noise import greedy_processor
from polyalign.generation._prompts import Prompt
from polyalign.generation._settings import Form, Sampling

__all__ = ["TransformersEngine"]

#: Tokens that are looked at for a text that ends an answer, beyond as many as it has characters.
_MORE = 4


class TransformersEngine:
    """Answers by a causal language model of transformers.

    Parameters
    ----------
    model : str or PreTrainedModel
        A folder, an adapter's folder, a name on the hub, or a loaded model.
    tokenizer : PreTrainedTokenizerBase, optional
        Default: the model's, by its name.
    revision : str, optional
        Of the model on the hub.
    adapter : str, optional
        A PEFT adapter to put on the model.
    dtype : str, default "auto"
        ``"float32"``, ``"bfloat16"``, ``"float16"``; ``"auto"``: that of the checkpoint.
    device : str, optional
        As torch names it; ``"auto"`` spreads a model over several. Default: an accelerator if there is one, else the
        CPU.
    attention : str, optional
        ``"sdpa"``, ``"eager"``, ``"flash_attention_2"``, …. Default: transformers' choice.
    batch_tokens : int, default 16384
        At most so many tokens are computed together: rows, times the longest prompt and ``max_new_tokens``.
    template : str, optional
        A chat template in place of the tokenizer's.
    template_arguments : dict, optional
        Further arguments of the template, as ``{"enable_thinking": False}``.
    trust_remote_code : bool, default False
        Run code that comes with the model.

    Notes
    -----
    Prompts of like length are computed together, the longest first. Each answer draws from random numbers of its own,
    a hash of its seed, the step and the token, so that no answer depends on which others it is computed with, but for
    rounding: a padded batch gives logits that differ in their last bits, which now and then decides about a token.
    """

    name = "transformers"

    def __init__(
        self,
        model: Any,
        tokenizer: Any = None,
        *,
        revision: str | None = None,
        adapter: str | None = None,
        dtype: str = "auto",
        device: str | None = None,
        attention: str | None = None,
        batch_tokens: int = 16384,
        template: str | None = None,
        template_arguments: dict[str, Any] | None = None,
        trust_remote_code: bool = False,
    ) -> None:
        self._model = None if isinstance(model, str) else model
        self._name = (
            model if isinstance(model, str) else str(getattr(model, "name_or_path", "") or type(model).__name__)
        )
        self._revision, self._adapter, self._dtype, self._attention = revision, adapter, dtype, attention
        self._trusts, self.batch_tokens = trust_remote_code, batch_tokens
        base = self._base_of_adapter() if self._model is None else None
        if base is not None:
            self._adapter, self._name = model, base
        if self._model is None:
            config = _local.load_config(self._name, revision, trust_remote_code=trust_remote_code)
        else:
            config, device = self._model.config, str(self._model.device)
        if tokenizer is None:
            holder = self._adapter if base is not None and self._has_tokenizer(self._adapter) else self._name
            tokenizer = _local.load_tokenizer(str(holder), revision, trust_remote_code=trust_remote_code)
        self._device = device or _device()
        self._asked = _local.Asked(tokenizer, config, template=template, template_arguments=template_arguments)
        self._ends: list[int] = []

    def _base_of_adapter(self) -> str | None:
        """Return the model that a folder with an adapter alone names; `None`: it holds a model."""
        if not is_adapter(self._name):
            return None
        from peft import PeftConfig

        return str(PeftConfig.from_pretrained(self._name).base_model_name_or_path)

    @staticmethod
    def _has_tokenizer(folder: str | None) -> bool:
        return folder is not None and (Path(folder) / "tokenizer_config.json").is_file()

    # --------------------------------------------------------------------------------------------- the protocol

    def check(self) -> None:
        """Nothing more: the configuration and the tokenizer are loaded."""

    def form(self, given: Form | None) -> Form:
        """Return the form of prompts: chat where there is a template."""
        form = self._asked.form(given)
        if self._model is not None:
            config = self._model.generation_config
        else:
            config = _local.load_generation_config(self._name, self._revision)
        self._ends = self._asked.ends(config, form)
        return form

    def settings(self) -> dict[str, Any]:
        """Return what answers depend on."""
        return {
            "engine": self.name,
            "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
            "model": self._weights(),
            "adapter": None if self._adapter is None else _local.weights(self._adapter),
            "dtype": self._dtype,
            "device": torch.device(self._device).type if self._device != "auto" else "auto",
            "attention": self._attention,
            "batch_tokens": self.batch_tokens,
            **self._asked.told(),
        }

    def _weights(self) -> dict[str, Any]:
        if self._model is None:
            return _local.weights(self._name, self._asked.config)
        return {"name": Path(self._name).name, "sha256": _state_hash(self._model)}

    def prepare(self, prompt: Prompt, form: Form, sampling: Sampling, limit: int | None) -> Any:
        """Return a prompt's tokens."""
        return self._asked.ids(prompt, form, sampling, limit)

    def notes(self) -> list[str]:
        """Return what a user should know first."""
        return [] if self._ends else [_local.ENDLESS]

    def answers(
        self, requests: Sequence[Request], sampling: Sampling, stops: Sequence[str], done: Collection[Key]
    ) -> Iterator[list[Answer]]:
        """Give answers, batch by batch."""
        parts = [part for part in batches(requests, sampling, self.batch_tokens) if not _are(part, done)]
        if not parts:
            return
        model = self.loaded()
        with evaluating(model):
            for part in parts:
                yield self._in_memory(model, part, sampling, stops)

    # ---------------------------------------------------------------------------------------------- one batch

    def _in_memory(
        self, model: Any, requests: Sequence[Request], sampling: Sampling, stops: Sequence[str]
    ) -> list[Answer]:
        try:
            return self._batch(model, requests, sampling, stops)
        except torch.OutOfMemoryError:
            size = max(len(request.prompt) for request in requests) + sampling.max_new_tokens
            raise OSError(
                f"the device has no memory for {len(requests)} answers of {size:,} tokens at once: batch_tokens is "
                f"{self.batch_tokens:,}, try {self.batch_tokens // 2:,}"
            ) from None

    def _batch(self, model: Any, requests: Sequence[Request], sampling: Sampling, stops: Sequence[str]) -> list[Answer]:
        tokenizer, ends = self._asked.tokenizer, self._ends
        pad = next((token for token in (tokenizer.pad_token_id, *ends) if token is not None), 0)
        width = max(len(request.prompt) for request in requests)
        ids = torch.full((len(requests), width), pad, dtype=torch.int64)
        mask = torch.zeros_like(ids)
        for row, request in enumerate(requests):
            ids[row, width - len(request.prompt) :] = torch.from_numpy(request.prompt)
            mask[row, width - len(request.prompt) :] = 1
        config = GenerationConfig(
            do_sample=False,
            max_new_tokens=sampling.max_new_tokens,
            min_new_tokens=sampling.min_new_tokens or None,
            eos_token_id=ends or None,
            pad_token_id=pad,
        )
        device = model.get_input_embeddings().weight.device
        # Not in inference mode: what a model keeps of a call, such as gathered shards, may be trained on afterwards.
        with torch.no_grad(), generating_by(model, config):
            output = model.generate(
                input_ids=ids.to(device),
                attention_mask=mask.to(device),
                generation_config=config,
                logits_processor=_processors(sampling, [request.seed for request in requests], width),
                stopping_criteria=_stopping(tokenizer, stops, width),
                **_without_balance(model),
            )
        rows = output[:, width:].tolist()
        return [self._answer(request, row, stops) for request, row in zip(requests, rows, strict=True)]

    def _answer(self, request: Request, row: list[int], stops: Sequence[str]) -> Answer:
        tokens = next((at for at, token in enumerate(row) if token in self._ends), len(row))
        text = self._asked.tokenizer.decode(row[:tokens], skip_special_tokens=True)
        text, is_stopped = _local.cut_at(text, stops)
        finish = "stop" if tokens < len(row) or is_stopped else "length"
        if is_stopped:
            tokens = self._tokens_of(row[:tokens], text)
        return Answer(request.key, text.strip(), finish, tokens, len(request.prompt))

    def _tokens_of(self, row: list[int], text: str) -> int:
        """Return how many tokens an answer has that a text ends: what follows that text was computed for others."""
        decode = self._asked.tokenizer.decode
        low, high = 0, len(row)
        while low < high:
            middle = (low + high) // 2
            if len(decode(row[:middle], skip_special_tokens=True)) >= len(text):
                high = middle
            else:
                low = middle + 1
        return low

    # -------------------------------------------------------------------------------------------- the model

    @property
    def tokenizer(self) -> Any:
        """The model's tokenizer."""
        return self._asked.tokenizer

    def loaded(self) -> Any:
        """Return the model, loaded when it is first asked for."""
        if self._model is not None:
            return self._model
        spread = self._device == "auto"
        with quiet_off_terminal():
            model = transformers.AutoModelForCausalLM.from_pretrained(
                self._name,
                revision=self._revision,
                dtype=self._dtype,
                attn_implementation=self._attention,
                trust_remote_code=self._trusts,
                device_map="auto" if spread else None,
            )
        if self._adapter is not None:
            from peft import PeftModel

            model = PeftModel.from_pretrained(model, self._adapter)
        self._model = model if spread else model.to(self._device)
        return self._model


def batches(requests: Sequence[Request], sampling: Sampling, batch_tokens: int) -> list[list[Request]]:
    """Return requests in batches: those of like length together, the longest first.

    What does not fit in memory is seen at once, and the same requests are always computed together.
    """
    order = sorted(requests, key=lambda request: (-len(request.prompt), request.key))
    found: list[list[Request]] = []
    room = 0
    for request in order:
        if not room:
            room = max(1, batch_tokens // (len(request.prompt) + sampling.max_new_tokens))
            found.append([])
        found[-1].append(request)
        room -= 1
    return found


def _are(requests: Sequence[Request], done: Collection[Key]) -> bool:
    return all(request.key in done for request in requests)


def _processors(sampling: Sampling, seeds: Sequence[int], start: int) -> Any:
    """Return what turns logits into those whose largest is the draw."""
    from transformers import LogitsProcessorList, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    found = LogitsProcessorList()
    if sampling.temperature == 0:
        return found
    if sampling.temperature != 1:
        found.append(TemperatureLogitsWarper(float(sampling.temperature)))
    if sampling.top_k:
        found.append(TopKLogitsWarper(sampling.top_k))
    if sampling.top_p < 1:
        found.append(TopPLogitsWarper(sampling.top_p))
    found.append(greedy_processor(seeds, start))
    return found


def _stopping(tokenizer: Any, stops: Sequence[str], start: int) -> Any:
    """Return what stops an answer at a text; transformers' own can't read every tokenizer's vocabulary."""
    from transformers import StoppingCriteria, StoppingCriteriaList

    if not stops:
        return StoppingCriteriaList()
    window = max(map(len, stops)) + _MORE

    class AtText(StoppingCriteria):  # type: ignore[misc, unused-ignore]
        def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
            tails = tokenizer.batch_decode(input_ids[:, start:][:, -window:], skip_special_tokens=True)
            ended = [any(stop in tail for stop in stops) for tail in tails]
            return torch.tensor(ended, device=input_ids.device)

    return StoppingCriteriaList([AtText()])


def _device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _without_balance(model: Any) -> dict[str, bool]:
    """Return what keeps a mixture of experts from its balancing loss, whose mask has not the shape of cached tokens."""
    asks = getattr(model.config.get_text_config(), "output_router_logits", False)
    return {"output_router_logits": False} if asks else {}


def _state_hash(model: Any) -> str:
    """Return a hash of a loaded model's weights."""
    import hashlib

    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
