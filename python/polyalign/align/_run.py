"""The whole method, stage by stage; or what its stages would be."""

from __future__ import annotations

import dataclasses
import glob
import json
import math
import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, get_args

from polyalign._io import manifests
from polyalign._io.extras import training_module
from polyalign._io.output import alone, check_run
from polyalign._io.stages import Planned, Stage, Stages
from polyalign._text.words import counted
from polyalign.align import _tasks
from polyalign.align._config import PREFERRED, SHARES, TRAINED, Config, Model
from polyalign.align._parts import ANSWER, part_files
from polyalign.align._report import Outcome, PlannedStage, verdict
from polyalign.buckets import Bucketer, BucketSchema, Report
from polyalign.buckets._schema import axis_names
from polyalign.cli import _early
from polyalign.critics import _saved
from polyalign.critics._calibration import MIN_COUNT as CALIBRATING
from polyalign.generation import Prompting, Sampling, Selection
from polyalign.pairs._select import Select
from polyalign.pairs._select import Selection as PairSelection
from polyalign.rounds import _run as rounds

__all__ = ["align", "plan"]

Path_ = str | os.PathLike[str]
#: Of BucketSchema, in the section `bucket`.
_SCHEMA = ("languages", "default_language", "length_edges", "length_unit", "length_bins", "families")
_SAMPLING = ("samples", "temperature", "top_p", "top_k", "max_new_tokens", "seed")
_SELECTION = ("per_bucket", "max_prompt_tokens")
#: What makes HDPO plain DPO: no further term, and all pairs weighing alike.
_PLAIN_DPO = {
    **dict.fromkeys(("lambda_offline", "lambda_online", "gamma", "alpha", "beta_w", "gamma_l", "eta"), 0.0),
    "online": "critic",
    "weight_min": 1.0,
    "weight_max": 1.0,
}
#: As Tülu 3 (arXiv:2411.15124) has it: per token β must be larger than of sums.
_NORM = {"loss_type": ["sigmoid_norm"], "beta": 5.0}
_OF_KIND: dict[str, dict[str, Any]] = {
    "sft": {"tau": 1.0},
    "bucket_sft": {},
    "dpo": _PLAIN_DPO,
    "dpo_norm": {**_PLAIN_DPO, **_NORM},
    "divpo": _PLAIN_DPO,
    "hdpo": {},
}
#: What the model is called that everything begins with, where tasks are compared.
_BASE = "base"
_TOLD = "Answer as a person does in this situation: "
_SHOWN = "A person has answered what follows. Answer as they did.\n\nTheir answer: {" + ANSWER + "}"


def align(
    config: Config | Path_,
    *,
    out: Path_ | None = None,
    overwrite: bool = False,
    engine: Any = None,
    progress: bool = False,
    say: Callable[[str], object] = lambda line: None,
) -> Outcome:
    """Do the whole method: bucket, part, learn the reference, train, answer, criticise, pair, train, evaluate.

    Each stage has a folder of its own in `out`, with what it was made of in ``stage.json``. One that is done with the
    same inputs and settings is not done again: the same call goes on where an interrupted one was.

    Parameters
    ----------
    config : Config, str or PathLike
        The settings, or the YAML file that has them.
    out : str or PathLike, optional
        The folder to make, or to go on in. Default: as the file says.
    overwrite : bool, default False
        Make anew what is there of other inputs or settings.
    engine : callable, optional
        Makes the engine that answers of a model's name. Default: transformers, with the settings ``engine``.
    progress : bool, default False
        Show progress bars where standard error is a terminal.
    say : callable, optional
        Told a line at each stage.

    Returns
    -------
    Outcome
        The verdict, and where the report is.

    Raises
    ------
    OSError, ValueError, ImportError
        What can't be is said before the first stage; what a stage raises; a stage of other inputs or settings; another
        run in the same folder.
    """
    told = _as_config(config, out)
    checked = _check(told)
    check_run(told.out)
    told.out.mkdir(exist_ok=True)
    work = _Align(told, checked, Stages(told.out, overwrite=overwrite, say=say), engine=engine, progress=progress)
    with alone(told.out):
        outcome = work.run()
    if outcome is None:
        raise AssertionError("stages that are made have an outcome")
    return outcome


def plan(config: Config | Path_, *, out: Path_ | None = None, overwrite: bool = False) -> list[PlannedStage]:
    """Return the stages that :func:`align` would do, with what they work on; makes nothing.

    What can't be is said as there. A corpus that is not bucketed yet is read, to count its rows.

    Parameters
    ----------
    config, out, overwrite
        As of :func:`align`.
    """
    told = _as_config(config, out)
    checked = _check(told)
    planned = Planned(told.out, overwrite=overwrite)
    work = _Align(told, checked, planned, engine=None, progress=False)
    work.run()
    return [PlannedStage(name, state, work.sizes.get(name, "")) for name, state in planned.found.items()]


def _as_config(config: Config | Path_, out: Path_ | None) -> Config:
    if isinstance(config, Config):
        return config if out is None else dataclasses.replace(config, out=Path(out))
    return Config.read(config, out=out)


# ------------------------------------------------------------------------------------------- what can't be


@dataclasses.dataclass(frozen=True)
class _Checked:
    """What is known before anything is made."""

    inputs: tuple[str, ...]
    """Files of the corpus."""
    schema: BucketSchema | None
    """`None`: the manifest of the bucketed folder does not say."""
    sampling: Sampling
    steps: Mapping[str, Callable[[int], int]]
    """By a trained model's name, steps by rows."""


def _check(config: Config) -> _Checked:
    """Refuse what can't be made, before the hours are spent."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ValueError("align runs in one process: start it without a launcher, and name it (launch)")
    inputs, schema = _people(config)
    for name in dict.fromkeys((config.model, *(model.settings.get("model", config.model) for model in config.models))):
        _early.check_model(f"{config.file}: model", name)
    held_out = config.held_out_critic
    rounds.check_critics((config.critic, config.held_out), config.critic_samples, held_out)  # type: ignore[arg-type]
    if held_out is not None:
        manifests.Manifest(Path(config.file), schema, None, {}).check_fits(_saved.read(held_out))
    _tasks.check(config.file, config.lm_eval)
    _check_enough(config)
    sampling = Sampling(**{"samples": 4, **_taken(config.generate, _SAMPLING)})
    Selection(limit=config.generate.get("prompts"), **_taken(config.generate, _SELECTION))
    _evaluated_sampling(config, sampling)
    for model in config.models:
        _check_pairs(config, model, sampling)
    steps = {}
    for model in (*map(config.of_sft, config.need()), *(each for each in config.models if each.kind in PREFERRED)):
        command: Any = "sft" if model.kind in TRAINED else "hdpo"
        try:
            args = rounds.check_settings(command, _settings(config, model), config.model, Path("data"))
        except ValueError as error:
            raise ValueError(f"{config.file}: {model.name}: {error}") from None
        steps[model.name] = _steps(args)
    _check_asked(config, schema)
    _check_held_out(config)  # last: to bucket anew takes long, and all else is known by then
    return _Checked(inputs, schema, sampling, steps)


def _people(config: Config) -> tuple[tuple[str, ...], BucketSchema | None]:
    """Return the files of the corpus, and what makes buckets."""
    if config.bucketed is not None:
        made = manifests.read(config.bucketed)
        if made is None or made.settings.get("assignments_only"):
            raise ValueError(f"{config.bucketed}: not a folder that polyalign bucket made, with its texts")
        return (), made.schema
    from polyalign._io.sources import local_inputs

    found: list[str] = []
    for name in local_inputs(list(config.corpus)):
        if name == "-":
            raise ValueError(f"{config.file}: corpus is read again by whoever goes on with a run: name files")
        path = Path(name)
        several = [str(file) for file in sorted(path.rglob("*")) if file.is_file()] if path.is_dir() else [name]
        several = several if path.exists() else sorted(glob.glob(name, recursive=True))  # noqa: PTH207 - from the root too
        if not several:
            raise FileNotFoundError(f"{config.file}: corpus: {name}: no such file or folder")
        found += several
    return tuple(found), BucketSchema(**_taken(config.bucket, _SCHEMA))


def _check_held_out(config: Config) -> None:
    """Refuse a bucketed folder all of which trains."""
    made = None if config.bucketed is None else manifests.read(config.bucketed)
    if made is not None and not made.settings.get("test_share"):
        raise ValueError(f"{config.bucketed}: nothing in it is held out; polyalign bucket --test-share does that")


def _check_enough(config: Config) -> None:
    """Refuse so few prompts that surely nothing comes of them."""
    answered, need = config.generate.get("prompts"), 4 * CALIBRATING  # a quarter of the prompts calibrates
    if config.prefers and config.critic in rounds.OF_SAMPLES and answered is not None and answered < need:
        raise ValueError(
            f"{config.file}: generate.prompts is {answered}: critic {config.critic!r} learns from answers to them, and "
            f"keeps a quarter to calibrate by, {CALIBRATING} at least: give {need + CALIBRATING} or more, or take "
            "critic support"
        )
    looked_at, least = config.evaluate.get("prompts"), config.evaluate.get("min_count", 20)
    if looked_at is not None and looked_at < least:
        raise ValueError(
            f"{config.file}: evaluate.prompts is {looked_at}: a bucket needs {least} answered prompts to have numbers "
            "(evaluate.min_count)"
        )


def _check_pairs(config: Config, model: Model, sampling: Sampling) -> None:
    """Refuse a selection that takes more answers than there are, and rounds that are none."""
    if model.kind not in PREFERRED:
        return
    select = _select(config, model)
    if select.select in ("furthest", "divpo") and sampling.samples < 2:
        raise ValueError(
            f"{config.file}: {model.name}: select {select.select!r} chooses among several answers: generate.samples "
            "must be 2 or more"
        )
    if not isinstance(_rounds(config, model), int) or _rounds(config, model) < 1:
        raise ValueError(f"{config.file}: {model.name}: rounds is {_rounds(config, model)!r}: it must be 1 or more")


def _check_asked(config: Config, schema: BucketSchema | None) -> None:
    """Refuse what needs a chat template where there is none, of the models that are there before anything trains."""
    local = training_module("polyalign.generation._local")
    templates: dict[str, bool] = {}

    def has_template(name: str) -> bool:
        if name not in templates:
            where = rounds.base_of(name)
            templates[name] = bool(local.load_tokenizer(where, None, trust_remote_code=False).chat_template)
        return templates[name]

    for model in config.models:
        if model.kind in PREFERRED or model.kind in TRAINED:
            continue
        prompting = _prompting(model, schema)
        if prompting.think and not has_template(model.settings.get("model", config.model)):
            raise ValueError(
                f"{config.file}: {model.name} asks by a system message: it needs a chat template, and "
                f"{model.settings.get('model', config.model)} has none: leave {model.name} out"
            )
    for name in config.need():
        settings = _settings(config, config.of_sft(name))
        if not (settings.get("chat_template_path") or has_template(config.model)):
            raise ValueError(
                f"{config.file}: {config.model} has no chat template to train with: name one's tokenizer in sft "
                "(chat_template_path)"
            )


def _taken(given: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: given[name] for name in names if name in given}


def _settings(config: Config, model: Model) -> dict[str, Any]:
    """Return what a trained model is trained with: the section's, its kind's, its own."""
    section = config.sft if model.kind in TRAINED else config.hdpo
    own = {name: value for name, value in model.settings.items() if name not in ("select", "rounds")}
    return {**section, **_OF_KIND[model.kind], **own}


def _select(config: Config, model: Model) -> PairSelection:
    """Return which answers are a model's rejected responses."""
    default = "divpo" if model.kind == "divpo" else config.select
    chosen = model.settings.get("select", default)
    if chosen not in get_args(Select):
        raise ValueError(f"{config.file}: select is {chosen!r}: it must be one of {', '.join(get_args(Select))}")
    return PairSelection(chosen)


def _rounds(config: Config, model: Model) -> int:
    found: int = model.settings.get("rounds", config.rounds if model.kind == "hdpo" else 1)
    return found


def _prompting(model: Model, schema: BucketSchema | None) -> Prompting:
    """Return what a model is asked."""
    axes = axis_names(schema)
    kinds: dict[str, dict[str, Any]] = {
        "prompt": {"conditioning": _TOLD + ", ".join(f"{axis} {{{axis}}}" for axis in axes)},
        "cot": {"think": True},
        "oracle": {"conditioning": _SHOWN},
    }
    own = {name: value for name, value in model.settings.items() if name != "model"}
    return Prompting(**{**kinds.get(model.kind, {}), **(own if model.kind not in (*TRAINED, *PREFERRED) else {})})


def _evaluated_sampling(config: Config, sampling: Sampling) -> Sampling:
    """Return how the answers are drawn that are evaluated: as those that train, one to each, unless it is said."""
    own = {"samples": 1, "seed": 0, **_taken(config.evaluate, ("samples", "temperature", "max_new_tokens"))}
    return dataclasses.replace(sampling, **own)


def _told(report: Report) -> dict[str, Any]:
    """Return what a bucketing says of its rows."""
    held = report.held_out.rows if report.held_out else 0
    return {"rows": report.rows, "bucketed": report.bucketed, "rejected": report.rejected, "held_out": held}


def _steps(args: Any) -> Callable[[int], int]:
    """Return how many steps a training has, by its rows; on one device."""
    if args.max_steps > 0:
        most: int = args.max_steps
        return lambda rows: most
    together = args.per_device_train_batch_size * args.gradient_accumulation_steps
    return lambda rows: math.ceil(math.ceil(rows / together) * args.num_train_epochs)


# ------------------------------------------------------------------------------------------------ the stages


@dataclasses.dataclass(frozen=True)
class _Learnt:
    """What the models have in common that learn from pairs."""

    judge: Stage
    samples: Stage
    critic: Stage
    start: rounds.Model


class _Align:
    """A run; or, by stages that are planned alone, what it would be."""

    def __init__(self, config: Config, checked: _Checked, stages: Stages, *, engine: Any, progress: bool) -> None:
        self.config, self.checked, self.stages = config, checked, stages
        self.engine, self.progress = engine, progress
        #: What stages work on, by their folders.
        self.sizes: dict[str, str] = {}
        self.rows: Mapping[str, int] = {}
        self._pairs: dict[str, Stage] = {}
        self._known: dict[str, dict[str, Any]] = {}
        #: What models came to in tasks, by what reports call them.
        self.tasks: dict[str, Stage] = {}

    def run(self) -> Outcome | None:
        """Do all stages that are not done."""
        config = self.config
        bucketed, known_by = self._bucketed()
        parts = self._parted(bucketed, known_by)
        reference = self._reference(bucketed, known_by)
        work = rounds.Work(self._plan(parts), self.stages, progress=self.progress, records=parts.identity)
        self.sizes["held-out"] = f"{config.held_out_critic or config.held_out}, {counted(self.rows['train'], 'human')}"
        judge = work.held_out()
        # Before hours are spent: a task that is not there is seen now.
        if config.lm_eval:
            self._tasked(_BASE, _BASE, self._as_it_is(config.model))
        trained = {name: self._sft(work, parts, config.of_sft(name)) for name in config.need()}
        learnt = self._learnt(work, judge, trained) if config.prefers else None
        answers = {}
        where = {}
        for model in config.models:
            if model.kind in PREFERRED and learnt is not None:
                trained[model.name] = self._preferred(work, learnt, model, reference)
            made = trained.get(model.name) or self._as_it_is(model.settings.get("model", config.model))
            where[model.title] = made.name
            # Of several rounds the last one's has a name of its own: with more of them no stage is another.
            name = Path(made.name).parent.name if model.name in trained else model.name
            answers[model.title] = self._answers(work, parts, model, made, name)
            if config.lm_eval and model.name in trained:
                self._tasked(model.title, name, made)
        critics = {"held_out": judge} | ({} if learnt is None else {"trained": learnt.critic})
        return self._evaluated(parts, answers, reference, critics, where)

    # ----------------------------------------------------------------------------------------- the humans

    def _bucketed(self) -> tuple[Path, str]:
        """Return the bucketed corpus, and what it is known by."""
        config = self.config
        if config.bucketed is not None:
            made = json.loads((config.bucketed / "manifest.json").read_text("utf-8"))
            held = (made.get("counts") or {}).get("held_out") or {}
            self._count(made["counts"]["bucketed"], held.get("rows", 0), None)
            return config.bucketed, manifests.sha256(config.bucketed / "manifest.json")
        test, validation = (config.bucket.get(name, default) for name, default in SHARES.items())
        others = {name: config.bucket[name] for name in ("shape", "fields", "turns", "limit") if name in config.bucket}
        tokenizer = config.bucket.get("tokenizer")
        inputs = {
            "corpus": [
                {"file": Path(name).name, "sha256": manifests.sha256(Path(name))} for name in self.checked.inputs
            ],
            "schema": json.loads((self.checked.schema or BucketSchema()).to_json()),
            "tokenizer": tokenizer,
            "held_out": round(test + validation, 9),
            **others,
        }
        shaped = _taken(config.bucket, ("shape", "fields"))
        bucketer = Bucketer(self.checked.schema, tokenizer, **shaped)
        how: dict[str, Any] = {**_taken(config.bucket, ("turns", "limit")), "threads": config.threads}
        how["test_share"] = inputs["held_out"]

        def make(folder: Path) -> dict[str, Any]:
            output = folder / "bucketed"
            # What is unfinished goes on; what is finished, but was not said to be, is made anew.
            report = bucketer.bucket_files(
                self.checked.inputs, output, overwrite=output.exists(), progress=self.progress, **how
            )
            return _told(report)

        stage = self.stages.run("bucket", inputs, ["bucketed/manifest.json"], make)
        told = stage.told
        if not told:  # planned alone
            told = _told(bucketer.bucket_files(self.checked.inputs, None, **how))
        size = f"{counted(told['rows'], 'row')}, {told['rejected']:,} rejected"
        self.sizes["bucket"] = size
        if not stage.resumed:
            self.stages.say(f"  {size}")
        self._count(told["bucketed"], told["held_out"], test / (test + validation))
        return stage.folder / "bucketed", stage.identity

    def _count(self, bucketed: int, held_out: int, share: float | None) -> None:
        """Say how many rows each part will have, until it is known."""
        test = held_out if share is None else round(held_out * share)
        self.rows = {"train": bucketed - held_out, "validation": held_out - test, "test": test}

    def _parted(self, bucketed: Path, known_by: str) -> Stage:
        share = None
        if self.config.bucketed is None and self.config.bucket.get("validation_share", SHARES["validation_share"]):
            share = self.config.bucket.get("test_share", SHARES["test_share"])
        inputs = {"bucketed": known_by, "test_share": share}
        stage = self.stages.run(
            "parts", inputs, ["*/manifest.json"], lambda folder: part_files(bucketed, folder, share)
        )
        self.rows = stage.told or self.rows
        size = ", ".join(f"{rows:,} {part}" for part, rows in self.rows.items() if rows)
        self.sizes["parts"] = size if stage.told else f"about {size}"
        if not stage.resumed:
            self.stages.say(f"  {size}")
        return stage

    def _reference(self, bucketed: Path, known_by: str) -> Stage:
        from polyalign.reference import Reference

        def make(folder: Path) -> None:
            made = Reference.build(bucketed, threads=self.config.threads, progress=self.progress)
            made.save(folder / "human.safetensors")

        self.sizes["reference"] = counted(self.rows["train"], "human")
        return self.stages.run("reference", {"bucketed": known_by}, ["human.safetensors"], make)

    # ----------------------------------------------------------------------------------------- what trains

    def _plan(self, parts: Stage) -> rounds.Plan:
        """Return what rounds are made with."""
        config = self.config
        limit, chosen = config.generate.get("prompts"), _taken(config.generate, _SELECTION)
        longest, answered = config.generate.get("max_prompt_tokens"), config.evaluate.get("prompts")
        return rounds.Plan(
            records=parts.folder / "train",
            model=config.model,
            sampling=self.checked.sampling,
            selection=Selection(limit=limit, **chosen),
            looked_at=Selection(split="test", limit=answered, max_prompt_tokens=longest),
            select=PairSelection(config.select),  # type: ignore[arg-type]
            critic=config.critic,  # type: ignore[arg-type]
            critic_samples=config.critic_samples,  # type: ignore[arg-type]
            held_out=config.held_out,  # type: ignore[arg-type]
            held_out_critic=None if config.held_out_critic is None else Path(config.held_out_critic),
            encoder=config.encoder or rounds.base_of(config.model),
            hdpo=config.hdpo,
            launch=None if config.launch is None else shlex.split(config.launch),
            engine=self.engine or config.engine,
            threads=config.threads,
        )

    def _as_it_is(self, name: str) -> rounds.Model:
        """Return a model that is there before anything trains."""
        if name not in self._known:
            self._known[name] = rounds.weights(name)
        return rounds.Model(name, self._known[name])

    def _sft(self, work: rounds.Work, parts: Stage, model: Model) -> rounds.Model:
        settings, base = _settings(self.config, model), self._as_it_is(self.config.model)
        inputs = {"parts": parts.identity, "model": base.identity, "sft": settings}

        def make(folder: Path) -> None:
            work.trained("sft", folder, base.name, {**settings, "dataset_name": str(parts.folder / "train")})

        name, rows = f"models/{model.name}", self.rows["train"]
        self.sizes[name] = f"{counted(rows, 'row')}, {counted(self.checked.steps[model.name](rows), 'step')}"
        stage = self.stages.run(name, inputs, rounds.MODEL_FILES, make)
        return rounds.Model(str(stage.folder / "model"), {"name": model.name, "sha256": stage.identity})

    def _learnt(self, work: rounds.Work, judge: Stage, trained: Mapping[str, rounds.Model]) -> _Learnt:
        """Have the model answer that others begin with, and a critic learn from its answers."""
        start = trained.get(self.config.start) or self._as_it_is(self.config.model)
        self._size_round("round-1")
        samples = work.samples("round-1", 1, start)
        return _Learnt(judge, samples, work.critic("round-1", [samples], judge), start)

    def _prompts(self) -> int:
        """Return how many prompts are answered in a round, at the most."""
        most: int = self.config.generate.get("prompts", self.rows["train"])
        return min(self.rows["train"], most)

    def _size_round(self, folder: str) -> None:
        prompts, each = self._prompts(), self.checked.sampling.samples
        self.sizes[f"{folder}/samples"] = f"{counted(prompts, 'prompt')} × {counted(each, 'answer')}"
        self.sizes[f"{folder}/critic"] = self.config.critic

    def _size_pairs(self, folder: str, select: PairSelection) -> int:
        """Return how many pairs a round has at the most."""
        pairs = self._prompts() * (self.checked.sampling.samples if select.select in ("all", "divpo") else 1)
        self.sizes[f"{folder}/pairs"] = f"at most {counted(pairs, 'pair')}"
        return pairs

    def _preferred(self, work: rounds.Work, learnt: _Learnt, model: Model, reference: Stage) -> rounds.Model:
        """Train a model on pairs, round by round; the first has what all models have in common."""
        select, settings = _select(self.config, model), _settings(self.config, model)
        if settings.get("online", "critic") != "critic":
            settings["reference"] = str(reference.folder / "human.safetensors")
        current, heard, critic = learnt.start, [learnt.samples], learnt.critic
        for number in range(1, _rounds(self.config, model) + 1):
            folder, name = "round-1", f"models/{model.name}"
            if number > 1:
                name = f"models/{model.name}-round-{number}"
                folder = f"more/{model.name}/round-{number}"
                self._size_round(folder)
                heard.append(work.samples(folder, number, current))
                critic = work.critic(folder, heard, learnt.judge)
            by = folder if select.select == self.config.select else f"{folder}/{select.select}"
            most = self._size_pairs(by, select)
            if by not in self._pairs:
                self._pairs[by] = work.pairs(by, heard[-1], critic, select)
            pairs = self._pairs[by]
            known = int(pairs.told.get("pairs", most))
            steps = counted(self.checked.steps[model.name](known), "step")
            self.sizes[name] = f"{'' if pairs.told else 'at most '}{counted(known, 'pair')}, {steps}"
            current = work.train(name, current, pairs, (critic, learnt.judge), settings)
        return current

    # -------------------------------------------------------------------------------------------- the report

    def _tasked(self, title: str, name: str, made: rounds.Model) -> None:
        """Have a model do lm-eval's tasks."""
        config, stage = self.config, f"lm_eval/{name}"
        self.sizes[stage] = counted(len(config.lm_eval["tasks"]), "task")
        inputs = {"model": made.identity, "lm_eval": config.lm_eval}
        base = rounds.base_of(made.name)
        make = partial(_tasks.run, name=made.name, base=base, settings=config.lm_eval, engine=config.engine)
        self.tasks[title] = self.stages.run(stage, inputs, [_tasks.RESULTS], make)

    def _answers(self, work: rounds.Work, parts: Stage, model: Model, made: rounds.Model, name: str) -> Stage:
        """Have a model answer the held-out prompts: all models the same ones, with the same noise."""
        split, sampling = self.config.split, _evaluated_sampling(self.config, self.checked.sampling)
        stage = f"answers/{split}/{name}"
        most = self.rows[split]
        prompts = min(most, self.config.evaluate.get("prompts", most))
        self.sizes[stage] = f"{counted(prompts, 'prompt')} × {counted(sampling.samples, 'answer')}"
        return work.generated(
            stage,
            made,
            sampling,
            work.plan.looked_at,
            prompting=_prompting(model, self.checked.schema),
            records=(parts.folder / split, parts.identity),
        )

    def _evaluated(
        self,
        parts: Stage,
        answers: Mapping[str, Stage],
        reference: Stage,
        critics: Mapping[str, Stage],
        where: dict[str, str],
    ) -> Outcome | None:
        config, split = self.config, self.config.split
        settings = {"draws": 200, "min_count": 20, "seed": 0, **_taken(config.evaluate, ("draws", "min_count", "seed"))}
        inputs = {
            "parts": parts.identity,
            "answers": {title: stage.identity for title, stage in answers.items()},
            "reference": reference.identity,
            "critics": {name: stage.identity for name, stage in critics.items()},
            **({"lm_eval": {title: stage.identity for title, stage in self.tasks.items()}} if self.tasks else {}),
            **settings,
        }
        contenders = [model.title for model in config.models if model.kind != "oracle"]

        def make(folder: Path) -> dict[str, Any]:
            from polyalign.evaluation import evaluate
            from polyalign.evaluation._verdict import verdicts

            found = evaluate(
                {title: str(stage.folder / "samples.jsonl") for title, stage in answers.items()},
                str(parts.folder / split),
                reference=reference.folder / "human.safetensors",
                critics={name: stage.folder / "critic" for name, stage in critics.items()},
                page=True,
                threads=config.threads,
                **settings,
            )
            scores = {title: stage.told["scores"] for title, stage in self.tasks.items()}
            tax = _tasks.table(_BASE, scores) if scores else None
            found = dataclasses.replace(found, details={**found.details, "tasks": tax})
            found.to_html(folder / "report.html")
            (folder / "evaluation.json").write_text(f"{found.to_json()}\n", "utf-8", newline="\n")
            text = found.to_markdown() + (_tasks.markdown(tax) if tax else "")
            (folder / "report.md").write_text(text, "utf-8", newline="\n")
            said = [*verdicts(found)[: len(found.models)], *(_tasks.tax_lines(tax) if tax else ())]
            return {"verdicts": said, "verdict": verdict(found, contenders)}

        name = f"evaluation/{split}"
        self.sizes[name] = f"{counted(len(answers), 'model')}, {counted(len(critics), 'critic')}"
        # With one model more or less there is another report: nothing else goes on from it.
        kept, self.stages.overwrite = self.stages.overwrite, True
        try:
            stage = self.stages.run(name, inputs, ["evaluation.json", "report.md", "report.html"], make)
        finally:
            self.stages.overwrite = kept
        if not stage.told:
            return None
        return Outcome(
            output=str(config.out),
            split=split,
            verdicts=tuple(stage.told["verdicts"]),
            verdict=stage.told["verdict"],
            report=str(stage.folder / "report.html"),
            evaluation=str(stage.folder / "evaluation.json"),
            models=where,
        )
