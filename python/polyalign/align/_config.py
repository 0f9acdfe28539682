"""What ``polyalign align`` is told: a YAML file, read with its lines, so that an error says where it is."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from polyalign._io import yaml_text
from polyalign.align import _tasks

__all__ = ["ASKED", "PREFERRED", "TRAINED", "Config", "Model", "example"]

Split = Literal["test", "validation"]

#: Models that are asked as they are, those that SFT trains, and those that DPO or HDPO trains.
ASKED, TRAINED, PREFERRED = (
    ("base", "prompt", "cot", "oracle"),
    ("sft", "bucket_sft"),
    ("dpo", "dpo_norm", "divpo", "hdpo"),
)
_STARTS = ("base", *TRAINED)
_LEAKS = " (leak control)"
#: What a section holds, and of which type.
_BUCKET = {
    "tokenizer": (str,),
    "languages": (list,),
    "default_language": (str,),
    "length_edges": (list, dict, str),
    "length_unit": (str,),
    "length_bins": (list,),
    "families": (dict,),
    "shape": (str,),
    "fields": (dict,),
    "turns": (str,),
    "limit": (int,),
    "test_share": (int, float),
    "validation_share": (int, float),
}
_GENERATE = {
    "samples": (int,),
    "temperature": (int, float),
    "top_p": (int, float),
    "top_k": (int,),
    "max_new_tokens": (int,),
    "seed": (int,),
    "prompts": (int,),
    "per_bucket": (int,),
    "max_prompt_tokens": (int,),
}
_EVALUATE = {
    "split": (str,),
    "prompts": (int,),
    "samples": (int,),
    "temperature": (int, float),
    "max_new_tokens": (int,),
    "draws": (int,),
    "min_count": (int,),
    "seed": (int,),
}
_ENGINE = {"dtype": (str,), "device": (str,), "batch_tokens": (int,)}
_SECTIONS: dict[str, Mapping[str, tuple[type, ...]] | None] = {
    "bucket": _BUCKET,
    "generate": _GENERATE,
    "evaluate": _EVALUATE,
    "engine": _ENGINE,
    "lm_eval": _tasks.KEYS,
    # Those of the trainers are looked at by them.
    "sft": None,
    "hdpo": None,
    "models": None,
}
_PLAIN = {
    "model": (str,),
    "corpus": (str, list),
    "bucketed": (str,),
    "out": (str,),
    "start": (str,),
    "critic": (str,),
    "critic_samples": (str,),
    "held_out": (str,),
    "held_out_critic": (str,),
    "encoder": (str,),
    "select": (str,),
    "rounds": (int,),
    "launch": (str,),
    "threads": (int,),
}
_OF_ASKED = ("model", "form", "few_shot", "conditioning", "think")
_OF_PREFERRED = ("select", "rounds")
#: What the stages say themselves to the trainers.
_OURS = (
    "model_name_or_path",
    "dataset_name",
    "datasets",
    "output_dir",
    "resume_from_checkpoint",
    "overwrite",
    "test_share",
    "critic",
    "held_out_critic",
    "reference",
)
_TYPES = {str: "a text", int: "a whole number", float: "a number", list: "a list", dict: "a mapping"}


@dataclass(frozen=True)
class Model:
    """One of the models that are compared."""

    name: str
    kind: str
    """One of those in `ASKED`, `TRAINED` and `PREFERRED`."""
    settings: Mapping[str, Any]

    @property
    def title(self) -> str:
        """What reports call it."""
        return self.name + (_LEAKS if self.kind == "oracle" else "")


@dataclass(frozen=True)
class Config:
    """Settings of the whole method; :meth:`read` makes it of a file."""

    file: str
    model: str
    out: Path
    models: tuple[Model, ...]
    corpus: tuple[str, ...] = ()
    bucketed: Path | None = None
    bucket: Mapping[str, Any] = field(default_factory=dict)
    sft: Mapping[str, Any] = field(default_factory=dict)
    hdpo: Mapping[str, Any] = field(default_factory=dict)
    generate: Mapping[str, Any] = field(default_factory=dict)
    evaluate: Mapping[str, Any] = field(default_factory=dict)
    engine: Mapping[str, Any] = field(default_factory=dict)
    lm_eval: Mapping[str, Any] = field(default_factory=dict)
    start: str = "bucket_sft"
    critic: str = "ensemble"
    critic_samples: str = "all"
    held_out: str = "embedding"
    held_out_critic: str | None = None
    encoder: str | None = None
    select: str = "furthest"
    rounds: int = 1
    launch: str | None = None
    threads: int | None = None

    @classmethod
    def read(cls, path: str | os.PathLike[str], *, out: str | os.PathLike[str] | None = None) -> Config:
        """Read a file; `out` says another folder than it does.

        Raises
        ------
        OSError
            It can't be read.
        ValueError
            It is no YAML, or a key or value can't be: the error names the file and the line.
        """
        file = Path(path)
        told, lines = yaml_text.load(file), _lines(file)
        if told is None:
            told = {}
        if not isinstance(told, dict):
            raise ValueError(f"{file}: must be a mapping of settings; polyalign align --init writes one")
        return _Reader(file, lines).config(told, out)

    def need(self) -> tuple[str, ...]:
        """Return the names of models that SFT trains: those that are compared, and that others begin with."""
        named = [model.name for model in self.models if model.kind in TRAINED]
        begins = any(model.kind in PREFERRED for model in self.models) and self.start in TRAINED
        return tuple(dict.fromkeys([*named, *([self.start] if begins else [])]))

    def of_sft(self, name: str) -> Model:
        """Return a model that SFT trains, by its name."""
        return next((model for model in self.models if model.name == name), Model(name, name, {}))

    @property
    def prefers(self) -> bool:
        """Whether a model learns from pairs."""
        return any(model.kind in PREFERRED for model in self.models)

    @property
    def split(self) -> Split:
        """Whose prompts the report is about."""
        return self.evaluate.get("split", "test")  # type: ignore[no-any-return]


def example() -> str:
    """Return a file of settings with comments, to begin with."""
    return (files("polyalign.align") / "align.yaml").read_text("utf-8")


class _Reader:
    """Makes settings of what a file says."""

    def __init__(self, file: Path, lines: Mapping[tuple[str, ...], int]) -> None:
        self.file, self.lines = file, lines

    def config(self, told: dict[str, Any], out: Any) -> Config:
        given = {str(key): value for key, value in told.items() if value is not None}
        self._known((), given, [*_PLAIN, *_SECTIONS])
        for key, value in given.items():
            self._typed((key,), value, _PLAIN.get(key, (dict,)))
        for name, members in _SECTIONS.items():
            if members is not None:
                self._section(name, given.get(name, {}), members)
                given[name] = {key: value for key, value in given.get(name, {}).items() if value is not None}
        for name in ("sft", "hdpo"):
            self._ours((name,), given.get(name, {}))
        models = tuple(self._model(str(name), value) for name, value in given.pop("models", {}).items())
        return self._checked(Config(**self._whole(given, out), models=models))

    def _whole(self, given: dict[str, Any], out: Any) -> dict[str, Any]:
        """Return the settings that stand at the top, as they are kept."""
        where = os.fspath(out) if out is not None else given.pop("out", None)
        for name, what in (("model", "which model to begin with"), ("out", "where to write")):
            if not (where if name == "out" else given.get(name)):
                raise ValueError(f"{self.file}: say {what}: {name}")
        given.pop("out", None)
        corpus = given.pop("corpus", [])
        if bool(corpus) == ("bucketed" in given):
            raise ValueError(f"{self.file}: say what people wrote: corpus, or a folder that is bucketed: bucketed")
        if "bucketed" in given:
            given["bucketed"] = Path(given["bucketed"])
        several = [corpus] if isinstance(corpus, str) else corpus
        return {**given, "file": str(self.file), "out": Path(where), "corpus": tuple(map(str, several))}

    def _checked(self, config: Config) -> Config:
        """Refuse what can't go together."""
        if not config.models:
            raise self._error(("models",), f"models names none; there are {', '.join((*ASKED, *TRAINED, *PREFERRED))}")
        if config.start not in _STARTS:
            raise self._error(("start",), f"start is {config.start!r}: it must be one of {', '.join(_STARTS)}")
        if config.split not in ("test", "validation"):
            raise self._error(("evaluate", "split"), f"split is {config.split!r}: it must be test or validation")
        if config.rounds < 1:
            raise self._error(("rounds",), f"rounds is {config.rounds}: it must be 1 or more")
        self._shares(config)
        for at in (("sft",), *(("models", model.name) for model in config.models if model.kind in TRAINED)):
            if "conditioning" in (config.sft if at == ("sft",) else config.of_sft(at[-1]).settings):
                raise self._error(
                    (*at, "conditioning"), "conditioning: the models would be asked without it: leave it out"
                )
        return config

    def _shares(self, config: Config) -> None:
        if config.bucketed is not None:
            if config.bucket:
                raise self._error(("bucket",), f"{config.bucketed} is bucketed: leave bucket out")
            if config.split == "validation":
                raise self._error(("evaluate", "split"), "a validation part is made of a corpus: give corpus")
            if config.sft.get("eval_strategy", "no") != "no":
                raise self._error(("sft", "eval_strategy"), "what is evaluated in training is the validation part, "
                                  "which is made of a corpus: give corpus")  # fmt: skip
            return
        test, validation = (config.bucket.get(name, default) for name, default in SHARES.items())
        for name, share, least in (("test_share", test, "above 0"), ("validation_share", validation, "0 or more")):
            if not (0 <= share < 1 and (share or least != "above 0")):
                raise self._error(("bucket", name), f"{name} is {share}: it must be {least}, and below 1")
        if test + validation >= 1:
            raise self._error(("bucket", "validation_share"), "nothing is left to train on: lower test_share")
        if config.split == "validation" and not validation:
            raise self._error(("evaluate", "split"), "split is validation, and validation_share is 0")
        if config.sft.get("eval_strategy", "no") != "no" and not validation:
            raise self._error(("sft", "eval_strategy"), "what is evaluated in training is the validation part, and "
                              "validation_share is 0")  # fmt: skip

    # -------------------------------------------------------------------------------------------- models

    def _model(self, name: str, value: Any) -> Model:
        """Read a line of the models."""
        at = ("models", name)
        if value is not None:
            self._typed(at, value, (dict,))
        settings = {str(key): each for key, each in (value or {}).items()}
        kind = settings.pop("like", name)
        known = (*ASKED, *TRAINED, *PREFERRED)
        if kind not in known:
            like = "" if kind != name else ", or says which it is like (like: hdpo)"
            raise self._error(at, f"no baseline is called {kind!r}{_near(kind, known)}; a model is one of "
                              f"{', '.join(known)}{like}")  # fmt: skip
        if re.fullmatch(r"[\w.+ -]*-round-\d+|\.*|(?![\w+]).*|.*[^\w.+ -].*", name):
            raise self._error(at, f"{name!r} is no name of a folder")
        if name in known and kind != name:
            raise self._error(at, f"{name} is like {kind!r}: give it a name of its own")
        if kind in ASKED:
            self._known(at, settings, _OF_ASKED)
        else:
            self._ours(at, settings)
        if kind in TRAINED:
            for key in _OF_PREFERRED:
                if key in settings:
                    raise self._error((*at, key), f"{key} is of models that learn from pairs, and {name} does not")
        return Model(name, kind, settings)

    # ------------------------------------------------------------------------------------- keys and values

    def _section(self, name: str, given: Mapping[str, Any], members: Mapping[str, tuple[type, ...]]) -> None:
        self._known((name,), given, members)
        for key, value in given.items():
            if value is not None:
                self._typed((name, key), value, members[key])

    def _ours(self, at: tuple[str, ...], settings: Mapping[str, Any]) -> None:
        for key in settings:
            if key in _OURS:
                raise self._error((*at, key), f"{key} is for the stages to say: leave it out")

    def _known(self, at: tuple[str, ...], given: Iterable[str], known: Iterable[str]) -> None:
        names = list(known)
        for key in given:
            if key not in names:
                where = f" in {'.'.join(at)}" if at else ""
                said = _near(str(key), names) or f"; known are {', '.join(sorted(names))}"
                raise self._error((*at, str(key)), f"unknown key {key!r}{where}{said}")

    def _typed(self, at: tuple[str, ...], value: Any, kinds: tuple[type, ...]) -> None:
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            said = " or ".join(_TYPES[kind] for kind in kinds)
            raise self._error(at, f"{'.'.join(at)} is {value!r}: it must be {said}")

    def _error(self, at: tuple[str, ...], said: str) -> ValueError:
        while at and at not in self.lines:
            at = at[:-1]
        where = f":{self.lines[at]}" if at else ""
        return ValueError(f"{self.file}{where}: {said}")


#: What is held out of a corpus unless it is said.
SHARES = {"test_share": 0.2, "validation_share": 0.0}


def _near(name: str, known: Iterable[str]) -> str:
    found = difflib.get_close_matches(name.lower().replace("-", "_"), list(known), 1)
    return f"; did you mean {found[0]}?" if found else ""


def _lines(file: Path) -> dict[tuple[str, ...], int]:
    """Return the line of every key, two deep, and refuse one that is there twice."""
    import yaml

    found: dict[tuple[str, ...], int] = {}

    def visit(node: Any, at: tuple[str, ...]) -> None:
        if not isinstance(node, yaml.MappingNode) or len(at) > 2:
            return
        for key, value in node.value:
            name = (*at, str(key.value))
            if name in found:
                raise ValueError(f"{file}:{key.start_mark.line + 1}: key {key.value!r} is there twice")
            found[name] = key.start_mark.line + 1
            visit(value, name)

    visit(yaml.compose(file.read_text("utf-8"), Loader=yaml.SafeLoader), ())
    return found
