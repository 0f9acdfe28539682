"""Answers of a model to the prompts of a bucketed set: by transformers, by vLLM, or by a server.

Needs pyarrow: ``pip install 'polyalign[pairs]'``; an engine needs what it is named after.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from polyalign._io.extras import training_module
from polyalign.generation._engine import Answer, Engine, Request, Unfit
from polyalign.generation._report import BucketSamples, Report
from polyalign.generation._run import Samples, generate, generate_file, settings_of
from polyalign.generation._settings import Prompting, Sampling, Selection

if TYPE_CHECKING:
    from polyalign.generation._openai import OpenAIEngine as OpenAIEngine
    from polyalign.generation._transformers import TransformersEngine as TransformersEngine
    from polyalign.generation._vllm import VLLMEngine as VLLMEngine

_ENGINES = {"TransformersEngine": "_transformers", "VLLMEngine": "_vllm", "OpenAIEngine": "_openai"}

__all__ = [
    "Answer",
    "BucketSamples",
    "Engine",
    "OpenAIEngine",
    "Prompting",
    "Report",
    "Request",
    "Samples",
    "Sampling",
    "Selection",
    "TransformersEngine",
    "Unfit",
    "VLLMEngine",
    "generate",
    "generate_file",
    "settings_of",
]


def __getattr__(name: str) -> object:
    if name not in _ENGINES:
        raise AttributeError(f"module 'polyalign.generation' has no attribute {name!r}")
    module = training_module(f"polyalign.generation.{_ENGINES[name]}", f"the engine {_ENGINES[name].removeprefix('_')}")
    value = getattr(module, name)
    globals()[name] = value
    return value
