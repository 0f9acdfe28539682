"""The rounds, stage by stage."""

from __future__ import annotations

import dataclasses
import gc
import json
import os
import shlex
import shutil
import subprocess
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from polyalign._io import json_text, manifests
from polyalign._io.extras import training_module
from polyalign._io.models import is_adapter
from polyalign._io.output import check_run, publishing
from polyalign._io.stages import Stage, Stages
from polyalign._text.words import counted
from polyalign.critics import _saved, load
from polyalign.critics._given import is_part
from polyalign.generation import Prompting, Sampling, Selection, generate_file
from polyalign.pairs import pair_files
from polyalign.pairs._select import THRESHOLD, Select
from polyalign.pairs._select import Selection as PairSelection
from polyalign.rounds import _evaluate
from polyalign.rounds._report import Report, Round, doubts

if TYPE_CHECKING:
    from polyalign.critics._train import Kind
    from polyalign.generation import Engine

    MakeEngine = Callable[[str], Engine]

Path_ = str | os.PathLike[str]
CriticSamples = Literal["all", "last"]
#: What a stage says itself to HDPO.
_OURS = (
    "model_name_or_path",
    "dataset_name",
    "critic",
    "held_out_critic",
    "reference",
    "output_dir",
    "resume_from_checkpoint",
    "overwrite",
)
#: Of a trained model, by which those know it that go on from there.
MODEL_FILES = ("model/*.safetensors", "model/*.json")
_IN_ENSEMBLE = ("support", "lexical", "discriminative")
_OF_ENCODER = ("embedding", "neural")
OF_SAMPLES = ("discriminative", "neural", "ensemble")


@dataclasses.dataclass(frozen=True)
class Plan:
    """What all rounds are made with."""

    records: Path
    model: str
    sampling: Sampling
    selection: Selection
    looked_at: Selection
    """Whose answers are looked at."""
    select: PairSelection
    critic: Kind
    critic_samples: CriticSamples
    held_out: Kind
    held_out_critic: Path | None
    encoder: str
    hdpo: Mapping[str, Any]
    launch: Sequence[str] | None
    engine: Mapping[str, Any] | MakeEngine
    threads: int | None


def rounds(
    bucketed: Path_,
    model: Path_,
    out: Path_,
    *,
    rounds: int = 2,
    hdpo: Path_ | Mapping[str, Any] | None = None,
    sampling: Sampling | None = None,
    prompts: int | None = None,
    max_prompt_tokens: int | None = None,
    select: Select = "furthest",
    threshold: tuple[float, float] = THRESHOLD,
    critic: Kind = "ensemble",
    critic_samples: CriticSamples = "all",
    held_out: Kind = "embedding",
    held_out_critic: Path_ | None = None,
    encoder: str | None = None,
    evaluate: int = 200,
    engine: Mapping[str, Any] | MakeEngine | None = None,
    launch: str | None = None,
    overwrite: bool = False,
    threads: int | None = None,
    progress: bool = False,
    say: Callable[[str], object] = lambda line: None,
) -> Report:
    """Let a model answer, train a critic, make pairs, train by HDPO; and again, with the model that comes out.

    Each stage has a folder of its own, with what it was made of in ``stage.json``. One that is done with the same
    inputs and settings is not done again: the same call goes on where an interrupted one was, and one with more rounds
    adds them. ``out/rounds.json`` is the report.

    Parameters
    ----------
    bucketed : str or PathLike
        The folder that ``polyalign bucket`` made. What is held out in it (``--test-share``) does not train: its prompts
        are answered after each round.
    model : str or PathLike
        The model that the first round begins with, as ``polyalign sft`` leaves it: a folder, or a name on the hub.
    out : str or PathLike
        The folder to make, or to go on in.
    rounds : int, default 2
        How many there are.
    hdpo : str, PathLike or mapping, optional
        Settings of HDPO, as ``polyalign hdpo --config`` has them: a YAML file, or a mapping. Model, data, critics and
        output are the stages' to say.
    sampling : Sampling, optional
        How answers are drawn. Default: four to each prompt. Each round has a seed of its own, made of this one.
    prompts : int, optional
        At most so many prompts a round, the same ones in each. Default: all that train.
    max_prompt_tokens : int, optional
        Leave out longer prompts.
    select, threshold
        Which answers are rejected responses, as in :func:`polyalign.pairs.from_samples`. The reference of ``divpo``
        and ``furthest`` is the critic.
    critic : {"ensemble", "support", "lexical", "discriminative", "embedding", "neural"}
        The kind of the critic that pairs are scored by, and HDPO trains against; made anew in each round.
    critic_samples : {"all", "last"}
        Whether it learns from the answers of all rounds so far (one for each prompt, drawn by a hash of its id), or of
        this round alone.
    held_out : str, default "embedding"
        The kind of the critic that nothing trains against. It is made once, of humans alone, and scores the answers
        after each round.
    held_out_critic : str or PathLike, optional
        One that exists, in its place.
    encoder : str, optional
        Of the kinds "embedding" and "neural": a folder, or a name on the hub. Default: `model`.
    evaluate : int, default 200
        So many prompts are answered after each round, always the same ones with the same noise: what changes is the
        model.
    engine : mapping or callable, optional
        Further arguments of :class:`~polyalign.generation.TransformersEngine`, as ``{"dtype": "bfloat16"}``; or what
        makes another engine of a model's name.
    launch : str, optional
        A command that trains on several devices, as ``"accelerate launch --config_file ddp.yaml"``. Default: HDPO
        trains in this process.
    overwrite : bool, default False
        Make anew what is there of other inputs or settings.
    threads : int, optional
        Default: ``POLYALIGN_NUM_THREADS``, else every core.
    progress : bool, default False
        Show progress bars where standard error is a terminal.
    say : callable, optional
        Told a line at each stage.

    Returns
    -------
    Report
        The answers of humans, the first model and that of each round, by both critics; their lengths and variety.

    Raises
    ------
    OSError, ValueError, ImportError
        What can't be is said before the first stage; what a stage raises; a stage of other inputs or settings.
    """
    plan = _plan(
        bucketed,
        model,
        rounds=rounds,
        hdpo=hdpo,
        sampling=sampling,
        prompts=prompts,
        max_prompt_tokens=max_prompt_tokens,
        select=PairSelection(select, threshold),
        kinds=(critic, held_out),
        critic_samples=critic_samples,
        held_out_critic=held_out_critic,
        encoder=encoder,
        evaluate=evaluate,
        engine=engine,
        launch=launch,
        threads=threads,
    )
    folder = Path(out)
    check_run(folder)
    _check_hdpo(plan, hdpo)
    folder.mkdir(exist_ok=True)
    with publishing(folder / "rounds.json", overwrite=True) as made:
        work = Work(plan, Stages(folder, overwrite=overwrite, say=say), progress=progress)
        report = _run(work, rounds)
        made.write(f"{report.to_json()}\n".encode())
    return report


def _plan(
    bucketed: Path_,
    model: Path_,
    *,
    rounds: int,
    hdpo: Path_ | Mapping[str, Any] | None,
    sampling: Sampling | None,
    prompts: int | None,
    max_prompt_tokens: int | None,
    select: PairSelection,
    kinds: tuple[Kind, Kind],
    critic_samples: CriticSamples,
    held_out_critic: Path_ | None,
    encoder: str | None,
    evaluate: int,
    engine: Mapping[str, Any] | MakeEngine | None,
    launch: str | None,
    threads: int | None,
) -> Plan:
    """Return what all rounds are made with; refuse what can't be."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ValueError("rounds run in one process: start them without a launcher, and name it (launch)")
    records = Path(bucketed)
    made = manifests.read(records)
    if made is None or made.settings.get("assignments_only"):
        raise ValueError(f"{records}: not a folder that polyalign bucket made, with its texts")
    for name, value in (("rounds", rounds), ("evaluate", evaluate)):
        if value < 1:
            raise ValueError(f"{name} is {value}: it must be 1 or more")
    check_critics(kinds, critic_samples, held_out_critic)
    if held_out_critic is not None:
        made.check_fits(_saved.read(held_out_critic))
    sampling = sampling or Sampling(samples=4)
    if select.select in ("furthest", "divpo") and sampling.samples < 2:
        raise ValueError(f"select {select.select!r} chooses among several answers: draw 2 or more to each prompt")
    split: Literal["test", "train"] = "test" if _evaluate.has_split(records, "test") else "train"
    return Plan(
        records=records,
        model=os.fspath(model),
        sampling=sampling,
        selection=Selection(limit=prompts, max_prompt_tokens=max_prompt_tokens),
        looked_at=Selection(split=split, limit=evaluate, max_prompt_tokens=max_prompt_tokens),
        select=select,
        critic=kinds[0],
        critic_samples=critic_samples,
        held_out=kinds[1],
        held_out_critic=None if held_out_critic is None else Path(held_out_critic),
        encoder=encoder or base_of(os.fspath(model)),
        hdpo=_settings(hdpo),
        launch=None if launch is None else shlex.split(launch),
        engine=engine or {},
        threads=threads,
    )


def check_critics(kinds: tuple[Kind, Kind], critic_samples: str, held_out_critic: Path_ | None) -> None:
    """Refuse a critic that trains, and one that judges, of which one can't be or is a part of the other."""
    from polyalign.critics._train import KINDS

    for name, kind in zip(("critic", "held_out"), kinds, strict=True):
        if kind not in KINDS:
            raise ValueError(f"{name} is {kind!r}: it must be one of {', '.join(KINDS)}")
    if critic_samples not in get_args(CriticSamples):
        raise ValueError(
            f"critic_samples is {critic_samples!r}: it must be one of {', '.join(get_args(CriticSamples))}"
        )
    trains, judges = kinds
    if held_out_critic is None and (trains == judges or (trains == "ensemble" and judges in _IN_ENSEMBLE)):
        raise ValueError(f"held_out is {judges!r}, which trains: nothing may train against it; take another kind")
    if held_out_critic is None and judges in OF_SAMPLES:
        raise ValueError(
            f"held_out is {judges!r}, which learns from samples: give one that exists (held_out_critic), or take "
            "support, lexical or embedding"
        )


def base_of(model: str) -> str:
    """Return what an encoder is made of: a model itself, or what an adapter is put on."""
    if not is_adapter(model):
        return model
    return str(json.loads((Path(model) / "adapter_config.json").read_text("utf-8"))["base_model_name_or_path"])


def _settings(given: Path_ | Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the settings of HDPO; refuse those that are the stages' to say."""
    if given is None or isinstance(given, Mapping):
        where, found = "hdpo", dict(given or {})
    else:
        import yaml

        where = os.fspath(given)
        try:
            read = yaml.safe_load(Path(given).read_text("utf-8"))
        except yaml.YAMLError as error:
            raise ValueError(f"{where}: not YAML: {' '.join(str(error).split())}") from None
        found = {} if read is None else read
        if not isinstance(found, dict):
            raise ValueError(f"{where}: not a mapping of settings")
    for name in _OURS:
        if name in found:
            raise ValueError(f"{where}: {name} is for the rounds to say: leave it out")
    return found


def _check_hdpo(plan: Plan, given: Any) -> None:
    """Refuse settings that HDPO does not know, before anything is made."""
    file = None if given is None or isinstance(given, Mapping) else os.fspath(given)
    check_settings("hdpo", plan.hdpo, plan.model, plan.records, file)


def check_settings(
    command: Literal["sft", "hdpo"], settings: Mapping[str, Any], model: str, records: Path, file: str | None = None
) -> Any:
    """Return settings as the trainer takes them; `file`: where they are from.

    Raises
    ------
    ValueError
        One that the command does not know, or a value that it can't have.
    """
    import click

    training = training_module("polyalign.cli._training")
    flags = _flags(settings) if file is None else ["--config", file]
    try:
        parsed = training.parse(command, [*flags, "--model_name_or_path", model, "--dataset_name", str(records)])
    except click.UsageError as error:
        raise ValueError(f"{command}: {error.format_message()}") from None
    return parsed[1]


def _flags(settings: Mapping[str, Any]) -> list[str]:
    found: list[str] = []
    for name, value in settings.items():
        values = value if isinstance(value, (list, tuple)) else [value]
        found += [f"--{name}", *(json.dumps(each) if isinstance(each, dict) else str(each) for each in values)]
    return found


def _run(work: Work, count: int) -> Report:
    """Do all stages that are not done."""
    judge = work.held_out()
    model = Model(work.plan.model, weights(work.plan.model))
    before = _answers(work, "start", model)
    samples: list[Stage] = []
    told: list[tuple[Model, Mapping[str, Any]]] = [(model, {})]
    for number in range(1, count + 1):
        folder = f"round-{number}"
        samples.append(work.samples(folder, number, model))
        critic = work.critic(folder, samples, judge)
        pairs = work.pairs(folder, samples[-1], critic)
        model = work.train(f"{folder}/hdpo", model, pairs, (critic, judge))
        after = _answers(work, folder, model)
        told.append((model, _evaluated(work, folder, (before, after), (critic, judge)).told))
        before = after
    return _report(work, told)


def _answers(work: Work, folder: str, model: Model) -> Stage:
    """Have the prompts answered that are looked at; always with the same noise."""
    sampling = dataclasses.replace(work.plan.sampling, samples=1)
    return work.generated(f"{folder}/answers", model, sampling, work.plan.looked_at)


class Work:
    """The stages that rounds have, each done unless it is: what is in a folder of its own."""

    def __init__(self, plan: Plan, stages: Stages, *, progress: bool, records: str | None = None) -> None:
        self.plan, self.stages, self.progress = plan, stages, progress
        #: What the records are known by.
        self.records = records or manifests.sha256(plan.records / "manifest.json")

    def held_out(self) -> Stage:
        """Make the critic that nothing trains against."""
        plan, given = self.plan, self.plan.held_out_critic
        inputs: dict[str, Any] = {"records": self.records}
        if given is not None:
            inputs = {"critic": manifests.sha256(given / "manifest.json")}
        else:
            inputs |= {"kind": plan.held_out, **self._encoder(plan.held_out)}

        def make(folder: Path) -> None:
            if given is not None:
                shutil.copytree(given, folder / "critic", dirs_exist_ok=True)
                return
            self._made_critic(plan.held_out, None).save(folder / "critic", overwrite=True)

        return self.stages.run("held-out", inputs, ["critic/manifest.json"], make)

    def samples(self, folder: str, number: int, model: Model) -> Stage:
        """Have the prompts answered that train, with the noise of a round."""
        sampling = dataclasses.replace(self.plan.sampling, seed=self.plan.sampling.seed + number)
        return self.generated(f"{folder}/samples", model, sampling, self.plan.selection)

    def generated(
        self,
        name: str,
        model: Model,
        sampling: Sampling,
        selection: Selection,
        *,
        prompting: Prompting | None = None,
        records: tuple[Path, str] | None = None,
    ) -> Stage:
        """Have prompts answered; those of other records where these are given, with what they are known by."""
        source, known_by = records or (self.plan.records, self.records)
        inputs = {
            "records": known_by,
            "model": model.identity,
            "sampling": sampling.to_dict(),
            "selection": selection.to_dict(),
            "engine": dict(self.plan.engine) if isinstance(self.plan.engine, Mapping) else None,
            **({} if prompting is None else {"prompting": prompting.to_dict()}),
        }

        def engine() -> Engine:
            if callable(self.plan.engine):
                return self.plan.engine(model.name)
            kind = training_module("polyalign.generation._transformers").TransformersEngine
            made: Engine = kind(model.name, **self.plan.engine)
            return made

        def make(folder: Path) -> dict[str, Any]:
            report = generate_file(
                str(source),
                folder / "samples.jsonl",
                engine,
                sampling,
                prompting=prompting,
                selection=selection,
                overwrite=True,  # what an earlier attempt left is of the same inputs, and goes on
                progress=self.progress,
                say=lambda line: self.stages.say(f"warning: {line}"),
            )
            free()
            told = {"samples": report.samples, "empty": report.empty, "cut": report.cut}
            return {**told, "skipped": dict(report.skipped_by_kind)}

        stage = self.stages.run(name, inputs, ["samples.jsonl"], make)
        if not stage.resumed:
            told = stage.told
            left = _named(told["skipped"])
            self.stages.say(
                f"  {counted(told['samples'], 'answer')}, {told['empty']:,} empty, {told['cut']:,} cut{left}"
            )
        return stage

    def critic(self, folder: str, samples: Sequence[Stage], judge: Stage) -> Stage:
        """Train the critic that pairs are scored by, and that HDPO trains against."""
        plan = self.plan
        heard = list(samples) if plan.critic_samples == "all" else [samples[-1]]
        inputs = {
            "records": self.records,
            "samples": [stage.identity for stage in heard],
            "kind": plan.critic,
            "held_out": judge.identity,
            **self._encoder(plan.critic),
        }

        def make(folder: Path) -> Mapping[str, Any]:
            _mix([stage.folder / "samples.jsonl" for stage in heard], folder / "samples.jsonl")
            made, told = self._trained_critic(plan.critic, folder / "samples.jsonl")
            if is_part(load(judge.folder / "critic"), made):
                raise ValueError("the held-out critic is a part of the one that trains: give one of another kind")
            made.save(folder / "critic", overwrite=True)
            return told

        stage = self.stages.run(f"{folder}/critic", inputs, ["critic/manifest.json"], make)
        if not stage.resumed:
            rows = ", ".join(f"{rows:,} {use}" for use, rows in stage.told["rows"].items())
            self.stages.say(f"  {plan.critic}; rows: {rows}")
        return stage

    def _made_critic(self, kind: Kind, samples: Path | None) -> Any:
        return self._trained_critic(kind, samples)[0]

    def _trained_critic(self, kind: Kind, samples: Path | None) -> tuple[Any, dict[str, Any]]:
        from polyalign.critics._train import train

        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always", UserWarning)
            made = train(
                kind,
                str(self.plan.records),
                samples=None if samples is None or kind not in OF_SAMPLES else str(samples),
                encoder=self.plan.encoder if kind in _OF_ENCODER else None,
                threads=self.plan.threads,
                progress=self.progress,
            )
        for each in heard:
            if each.category is UserWarning:
                self.stages.say(f"  warning: {' '.join(str(each.message).split())}")
        free()
        return made

    def _encoder(self, kind: Kind) -> dict[str, Any]:
        return {"encoder": weights(self.plan.encoder)} if kind in _OF_ENCODER else {}

    def pairs(self, folder: str, samples: Stage, critic: Stage, select: PairSelection | None = None) -> Stage:
        """Make pairs of humans' responses and of samples, scored by the critic; `select`: otherwise than rounds."""
        plan, chosen = self.plan, select or self.plan.select
        inputs = {
            "records": self.records,
            "samples": samples.identity,
            "critic": critic.identity,
            "select": chosen.select,
            **({"threshold": list(chosen.threshold)} if chosen.select == "divpo" else {}),
        }

        def make(folder: Path) -> dict[str, Any]:
            report = pair_files(
                str(plan.records),
                folder / "pairs",
                samples=str(samples.folder / "samples.jsonl"),
                critic=critic.folder / "critic",
                select=chosen.select,
                threshold=chosen.threshold,
                overwrite=True,
                threads=plan.threads,
            )
            return {"pairs": report.pairs, "skipped": dict(report.skipped_by_kind)}

        stage = self.stages.run(f"{folder}/pairs", inputs, ["pairs/manifest.json"], make)
        if not stage.resumed:
            skipped = {kind: rows for kind, rows in stage.told["skipped"].items() if kind != "no_sample"}
            self.stages.say(f"  {counted(stage.told['pairs'], 'pair')}{_named(skipped)}")
        return stage

    def train(
        self,
        name: str,
        model: Model,
        pairs: Stage,
        critics: tuple[Stage, Stage],
        hdpo: Mapping[str, Any] | None = None,
    ) -> Model:
        """Train a model by HDPO against the first critic, judged by the second; `hdpo`: otherwise than rounds."""
        critic, judge = critics
        given = self.plan.hdpo if hdpo is None else hdpo
        inputs = {
            "model": model.identity,
            "pairs": pairs.identity,
            "critic": critic.identity,
            "held_out": judge.identity,
            "hdpo": dict(given),
        }

        def make(folder: Path) -> None:
            data = folder / "pairs.parquet"
            _without_scores(pairs.folder / "pairs" / "data", data)
            asked = {"critic": critic.folder / "critic"}
            args = check_settings("hdpo", given, model.name, data)
            if args.samples or args.eval_online_prompts:  # it scores samples alone
                asked["held_out_critic"] = judge.folder / "critic"
            self.trained("hdpo", folder, model.name, {**given, "dataset_name": str(data)}, asked)

        stage = self.stages.run(name, inputs, MODEL_FILES, make)
        return Model(str(stage.folder / "model"), {"name": name.removesuffix("/hdpo"), "sha256": stage.identity})

    def trained(
        self,
        command: Literal["sft", "hdpo"],
        folder: Path,
        model: str,
        settings: Mapping[str, Any],
        given: Mapping[str, Path] | None = None,
    ) -> None:
        """Train as a command does, with its settings in a file of the folder; the model is in ``model/`` there."""
        output = folder / "model"
        # What an earlier attempt left is of the same inputs.
        goes_on = any(output.glob("checkpoint-*/trainer_state.json"))
        said = {
            **settings,
            **({"use_peft": False} if is_adapter(model) else {}),
            "model_name_or_path": model,
            **{name: str(path) for name, path in (given or {}).items()},
            "output_dir": str(output),
            **({"resume_from_checkpoint": "true"} if goes_on else {"overwrite": True}),
        }
        file = folder / f"{command}.yaml"
        file.write_text(json_text.indented(said) + "\n", "utf-8")  # JSON is YAML
        self._trained(command, ["--config", str(file)])

    def _trained(self, name: str, arguments: list[str]) -> None:
        if self.plan.launch is None:
            training = training_module("polyalign.cli._training")
            (training.train_sft if name == "sft" else training.train_hdpo)(arguments)
            free()
            return
        command = [*self.plan.launch, "-m", "polyalign", name, *arguments]
        done = subprocess.run(command, check=False)
        if done.returncode:
            raise ChildProcessError(f"{shlex.join(command)}: exit code {done.returncode}")


def _evaluated(work: Work, folder: str, answers: tuple[Stage, Stage], critics: tuple[Stage, Stage]) -> Stage:
    """Score the answers before and after a round by its critic, and by the held-out one."""
    (before, after), (critic, judge) = answers, critics
    inputs = {
        "records": work.records,
        "before": before.identity,
        "after": after.identity,
        "critic": critic.identity,
        "held_out": judge.identity,
    }

    def make(_: Path) -> dict[str, Any]:
        asked = load(critic.folder / "critic"), load(judge.folder / "critic")
        was, now = (_evaluate.read_answers(stage.folder / "samples.jsonl") for stage in (before, after))
        humans = _evaluate.human_answers(work.plan.records, work.plan.looked_at.split, now)
        found = {"humans": humans, "before": was, "after": now}
        told = {name: _evaluate.measured(answers, *asked) for name, answers in found.items()}
        free()
        return told

    return work.stages.run(f"{folder}/evaluation", inputs, [], make)


def _report(work: Work, told: Sequence[tuple[Model, Mapping[str, Any]]]) -> Report:
    split = work.plan.looked_at.split
    later = [
        (Round("before", None, **row["before"]), Round(f"round {number}", model.name, **row["after"]))
        for number, (model, row) in enumerate(told[1:], start=1)
    ]
    rows = [
        Round("humans", None, **told[-1][1]["humans"]),
        Round("start", told[0][0].name, **told[1][1]["before"]),
        *(after for _, after in later),
    ]
    return Report(str(work.stages.out), split, tuple(rows), tuple(doubts(later, split)))


@dataclasses.dataclass(frozen=True)
class Model:
    """A model, and what it is known by."""

    name: str
    identity: Mapping[str, Any]


def weights(model: str) -> dict[str, Any]:
    """Return what a model is known by: its commit on the hub, or a hash of its weights."""
    local = training_module("polyalign.generation._local")
    folder = Path(model)
    config = None if folder.is_dir() else local.load_config(model, None, trust_remote_code=False)
    found: dict[str, Any] = local.weights(model, config)
    return found


def _mix(files: Sequence[Path], output: Path) -> None:
    """Write one answer to each prompt, drawn by the hash of its id among those of all files."""
    from polyalign.critics._train import share_of

    found: dict[str, list[dict[str, Any]]] = {}
    for file in files:
        for line in _evaluate.read_answers(file):
            if line["response"].strip():
                found.setdefault(line["id"], []).append(line)
    with output.open("w", encoding="utf-8", newline="\n") as lines:
        for identity, several in found.items():
            drawn = several[int(share_of(f"samples of {identity}") * len(several))]
            lines.write(json_text.one_line({name: drawn[name] for name in ("id", "response", "finish")}) + "\n")


def _without_scores(pairs: Path, output: Path) -> None:
    """Copy pairs without their scores, which count as they are: HDPO asks the critic itself, with its floor."""
    import pyarrow.parquet as pq

    shards = sorted(pairs.glob("*.parquet"))
    kept = [name for name in pq.read_schema(shards[0]).names if not name.endswith("_score")]
    with pq.ParquetWriter(output, pq.read_schema(shards[0]).empty_table().select(kept).schema) as writer:
        for shard in shards:
            with pq.ParquetFile(shard) as file:
                for batch in file.iter_batches(columns=kept):
                    writer.write_batch(batch)


def _named(kinds: Mapping[str, int]) -> str:
    """Say how many there are of each kind."""
    return "".join(f", {rows:,} {kind}" for kind, rows in kinds.items())


def free() -> None:
    """Give back what a model took: the next stage has one of its own."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
