"""What an experiment is told: a file a model, and the arms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

ARMS = Path(__file__).with_name("arms.yaml")
TRAINS = ("sft", "more", "preference")


@dataclass(frozen=True)
class Settings:
    """One model's settings; files have what differs from these."""

    bucket: Mapping[str, Any]
    """Of `polyalign.BucketSchema`."""
    max_length: int
    """Tokens of prompt and response together; longer exchanges are left out."""
    max_new_tokens: int
    encoder_layers: int
    """So many layers of the untrained model are what the judge reads answers by."""
    start: Mapping[str, Any]
    """Of `BucketSFTConfig`, of what the preference arms start from."""
    sft: Mapping[str, Any]
    """Of `BucketSFTConfig`, of the SFT arms."""
    preference: Mapping[str, Any]
    """Of `HDPOConfig`, of the preference arms."""
    model: str = ""
    """A folder, or a name on the hub; where there is none, it is made from `scratch`."""
    scratch: Mapping[str, Any] = field(default_factory=dict)
    """What it is made from: see scratch.yaml."""
    chat_template: str | None = None
    """That of a tokenizer which has none."""
    base: Mapping[str, Any] = field(default_factory=dict)
    """Of `polyalign.generation.Prompting`, of the model as it is."""
    training: Mapping[str, Any] = field(default_factory=dict)
    """Of all of them."""
    lora: Mapping[str, Any] = field(
        default_factory=lambda: {"r": 16, "lora_alpha": 32, "target_modules": ["q_proj", "v_proj"]}
    )
    batch: int = 8
    """Rows, or pairs, of an optimizer step."""
    micro_batch: int = 4
    dtype: str = "bfloat16"
    largest: int = 20000
    """Of a bucket at most so many rows are looked at."""
    samples: int = 1200
    """Prompts of the part that trains which the start answers: what becomes pairs, and the critics' other side."""
    judge_samples: int = 700
    answers: int = 240
    """Prompts that are answered to be reported."""
    judge_epochs: int = 10
    min_count: int = 10
    """A bucket with fewer answers is not reported."""
    arms: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By name, the settings of each arm."""

    def shared(self) -> dict[str, Any]:
        """Return what all arms have in common, so that those of one folder can be compared."""
        own = ("model", "sft", "preference", "min_count", "arms")
        return {each.name: getattr(self, each.name) for each in fields(self) if each.name not in own}


def read(path: Path, model: str | None = None) -> Settings:
    """Read a model's settings, and the arms with what the file says otherwise of them."""
    told = yaml.safe_load(path.read_text("utf-8"))
    known = [each.name for each in fields(Settings)]
    for name in told:
        if name not in known:
            raise SystemExit(f"{path}: unknown setting {name!r}; known are {', '.join(known)}")
    told["arms"] = _arms(path, {**yaml.safe_load(ARMS.read_text("utf-8")), **told.get("arms", {})})
    settings = Settings(**{**told, "model": model or told.get("model", "")})
    if not (settings.model or settings.scratch):
        raise SystemExit(f"{path}: say which model to begin with: model, or scratch")
    return settings


def _arms(path: Path, told: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for name, arm in told.items():
        settings = dict(arm)
        like = settings.pop("like", None)
        if like is not None and like not in found:
            raise SystemExit(f"{path}: arm {name} is like {like!r}, and no arm before it is called so")
        found[name] = {**found.get(like, {}), **settings}
        if found[name].get("trains") not in TRAINS:
            raise SystemExit(f"{path}: arm {name}: trains must be one of {', '.join(TRAINS)}")
    return found
