"""A held-out sample answered while a model trains, and what of it is human."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from accelerate.utils import broadcast_object_list
from transformers import Trainer, TrainerCallback

from polyalign._text.words import counted
from polyalign.evaluation import Evaluation
from polyalign.evaluation._evaluate import Known, evaluate, named_critics
from polyalign.generation import Prompting, Sampling, Selection, TransformersEngine, generate
from polyalign.generation._rows import Source, choose
from polyalign.reference import Reference
from polyalign.trainers._logs import get_logger
from polyalign.trainers._online import noise
from polyalign.trainers._processes import agreed
from polyalign.trainers._trl import DistributedBackend, unwrap_model_for_generation

if TYPE_CHECKING:
    from polyalign.critics import Critic

__all__ = ["EvaluationCallback"]

logger = get_logger(__name__)

_PREFIX = "eval_humans"
_TABLE = "eval/humans/answers"
_COLUMNS = ("step", "bucket", "prompt", "answer", "human")
#: Further humans of each bucket that are kept, to compare humans with humans.
_POOL = 200
#: What :func:`evaluate` needs of a bucket at least.
_LEAST = 5


class EvaluationCallback(TrainerCallback):
    """Answers the same held-out prompts every so often, and logs how human the answers are.

    It is given to a trainer once that is made, ``trainer.add_callback(EvaluationCallback(trainer, records))``: ours, or
    TRL's own. Before the first step, every `every` steps and after the last it logs ``eval_humans/<metric>``, the mean
    over buckets of each metric of :func:`polyalign.evaluation.evaluate`, and ``eval_humans/<metric>_floor``, what as
    many humans get; W&B and TensorBoard, where ``report_to`` has them, get a table of answers beside the humans'.

    Parameters
    ----------
    trainer : transformers.Trainer
        :class:`BucketSFT`, :class:`HDPO`, or one of TRL's, of a causal language model.
    records : str, PathLike, list of them, Arrow table or datasets.Dataset
        Humans' answers that the model does not train on, with ``id``, ``bucket``, ``prompt`` and ``completion``: a
        folder of ``polyalign bucket --test-share``, whose split ``test`` is taken, files or a table. Read once.
    every : int, default 100
        Optimizer steps from one evaluation to the next.
    prompts : int, default 20
        So many of each bucket are answered, always the same; 5 or more. A bucket with fewer than these, and than 20,
        has no numbers.
    shown : int, default 16
        Rows of the table.
    reference : Reference, str or PathLike, optional
        What `support` is told by. Default: one of the humans that are read.
    critics : Critic, str, PathLike, or sequence or mapping of them
        Each is asked too, as ``eval_humans/critic_<name>``.
    sampling : Sampling, optional
        How answers are drawn. Default: one of at most 256 tokens, from the model's own distribution.
    prompting : Prompting, optional
        What the model is asked. Default: the prompt, with the ``conditioning`` that the trainer's settings have.
    batch_tokens : int, default 16384
        At most so many tokens are computed together.

    Attributes
    ----------
    evaluations : dict of int to Evaluation
        By step, with every bucket's numbers; on the main process.

    Raises
    ------
    OSError
        A file can't be read.
    ValueError
        A number out of its range, a column is missing, or no bucket has enough prompts.

    Notes
    -----
    All processes answer all prompts, in step, as sharded models need it; the main one evaluates, and all log the same.
    Answers draw from a seed of their own, so the training is the same as without: weights, random numbers, what is
    logged.

    Examples
    --------
    >>> from polyalign.generation import Sampling
    >>> def watch(trainer):
    ...     sampling = Sampling(max_new_tokens=128)
    ...     trainer.add_callback(EvaluationCallback(trainer, "bucketed/", every=50, sampling=sampling))
    """

    def __init__(
        self,
        trainer: Any,
        records: Any,
        *,
        every: int = 100,
        prompts: int = 20,
        shown: int = 16,
        reference: Reference | str | os.PathLike[str] | None = None,
        critics: Critic | str | os.PathLike[str] | Sequence[Any] | dict[str, Any] = (),
        sampling: Sampling | None = None,
        prompting: Prompting | None = None,
        batch_tokens: int = 16384,
    ) -> None:
        for name, value, least in (("every", every, 1), ("prompts", prompts, _LEAST), ("shown", shown, 0)):
            if value < least:
                raise ValueError(f"{name} is {value}: it must be {least} or more")
        self.trainer, self.every, self.prompts, self.shown = trainer, every, prompts, shown
        self.sampling = sampling or Sampling(max_new_tokens=256)
        self.prompting = prompting or Prompting(conditioning=getattr(trainer.args, "conditioning", None))
        self.batch_tokens = batch_tokens
        self.evaluations: dict[int, Evaluation] = {}
        #: The last evaluation's, whose humans are not measured again.
        self._known = Known()
        self.humans, schema = _read(records, prompts)
        self._check_enough()
        self.critics = {name.removeprefix("critic_"): each for name, each in named_critics(critics).items()}
        if isinstance(reference, (str, os.PathLike)):
            reference = Reference.from_pretrained(reference)
        self.reference = reference or Reference.from_arrow(self.humans, schema=schema, sources=["humans"])

    @property
    def _enough(self) -> int:
        return min(self.prompts, 20)

    def _check_enough(self) -> None:
        found = self.humans["bucket"].value_counts().to_pylist()
        most = max((bucket["counts"] for bucket in found if bucket["values"] is not None), default=0)
        if most < self._enough:
            raise ValueError(
                f"no bucket of the records has {self._enough} prompts, the largest has {most}: give more records, or "
                f"lower prompts ({self.prompts}), which can be {_LEAST} at least"
            )

    # ------------------------------------------------------------------------------------------------------- when

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Evaluate the model before its first step; a resumed training has been there."""
        if state.global_step == 0:
            self._run(args, state, control)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Evaluate every so often, and after the last step."""
        if state.global_step % self.every == 0 or state.global_step >= state.max_steps:
            self._run(args, state, control)

    def _run(self, args: Any, state: Any, control: Any) -> None:
        with agreed():
            answers = self._answers(state.global_step)
            logs: list[Any] = [None]
            if state.is_world_process_zero:
                found = self._evaluation(answers)
                self.evaluations[state.global_step] = found
                logs = [_scalars(found)]
        broadcast_object_list(logs)
        # TRL's and our own `log` also end what is gathered for the next log of the training, and to log is to be done
        # with what is due at this step: both are left as they are.
        due = control.should_log
        Trainer.log(self.trainer, logs[0])
        control.should_log = due
        if state.is_world_process_zero and self.shown:
            self._show(args, state.global_step, answers)

    # ---------------------------------------------------------------------------------------------------- answers

    def _answers(self, step: int) -> list[dict[str, Any]]:
        """Return the model's answers, on every process."""
        with self._for_generation() as model:
            engine = _InTraining(model, self.trainer.processing_class, batch_tokens=self.batch_tokens)
            engine.step = step
            made = generate(
                self.humans, engine, self.sampling, prompting=self.prompting,
                selection=Selection(per_bucket=self.prompts),
            )  # fmt: skip
        if made.report.skipped:
            kinds = ", ".join(f"{count:,} {kind}" for kind, count in made.report.skipped_by_kind.items())
            logger.warning_once(f"{counted(made.report.skipped, 'held-out prompt')} can't be answered: {kinds}")
        return made.rows

    @contextmanager
    def _for_generation(self) -> Iterator[Any]:
        """Give the model whole and without wrappers; it trains on as if nothing had been generated."""
        trainer = self.trainer
        wrapped, accelerator = trainer.model_wrapped, trainer.accelerator
        checkpointing = trainer.args.gradient_checkpointing_kwargs
        with (
            noise(accelerator.device, (self.sampling.seed,)),
            unwrap_model_for_generation(wrapped, accelerator, gradient_checkpointing_kwargs=checkpointing) as model,
            DistributedBackend(accelerator).summon_full_params(wrapped, recurse=False),
        ):
            yield model

    def _evaluation(self, answers: list[dict[str, Any]]) -> Evaluation:
        columns = ("id", "sample", "response", "finish")
        table = pa.table({name: [answer[name] for answer in answers] for name in columns})
        with noise(self.trainer.accelerator.device, (self.sampling.seed,)):  # a critic may draw
            return evaluate(
                {"model": table}, self.humans, reference=self.reference, critics=self.critics, pool=_POOL,
                min_count=self._enough, page=False, known=self._known,
            )  # fmt: skip

    # ------------------------------------------------------------------------------------------------- the table

    def _show(self, args: Any, step: int, answers: list[dict[str, Any]]) -> None:
        """Send the first answers to some prompts of every bucket to the trackers that have tables."""
        rows = [[step, *row] for row in self._table(answers)]
        if "wandb" in (args.report_to or ()):
            import wandb  # type: ignore[import-not-found, unused-ignore]

            if wandb.run is not None:
                wandb.log({_TABLE: wandb.Table(columns=list(_COLUMNS), data=rows), "train/global_step": step})
        for callback in self.trainer.callback_handler.callbacks:
            writer = getattr(callback, "tb_writer", None)  # of transformers' TensorBoardCallback
            if writer is not None:
                writer.add_text(_TABLE, _markdown(rows), step)

    def _table(self, answers: list[dict[str, Any]]) -> list[list[str]]:
        """Return bucket, prompt, answer and human answer: of every bucket in turn, always the same prompts."""
        people = {str(row["id"]): row["completion"] for row in self.humans.to_pylist()}
        by_bucket: dict[str, list[list[str]]] = {}
        for answer in answers:
            if answer["sample"] == 0:
                asked, said = answer["prompt"][-1]["content"], _text(people[answer["id"]])
                row = [answer["bucket"], asked, answer["response"], said]
                by_bucket.setdefault(answer["bucket"], []).append(row)
        turns = sorted(
            (turn, bucket, row) for bucket, rows in sorted(by_bucket.items()) for turn, row in enumerate(rows)
        )
        return sorted(row for _, _, row in turns[: self.shown])


class _InTraining(TransformersEngine):
    """An engine that tells a model by its step: to hash the weights each time takes as long as to save them."""

    step = 0

    def _weights(self) -> dict[str, Any]:
        return {"name": self._name, "step": self.step}


def _read(records: Any, prompts: int) -> tuple[pa.Table, Any]:
    """Return the humans that are needed, the same whatever the order of rows, and the schema of their buckets."""
    source = Source(records, "test")
    source.rows.require("records", "completion")
    chosen = choose(source, Selection(per_bucket=prompts + _POOL))
    # All columns: a conditioning may have fields of them, and a prompt tools.
    rows = [{**row.columns, "id": row.id} for row in source.read(chosen, source.rows.columns)]
    return pa.Table.from_pylist(rows), source.schema


def _scalars(found: Evaluation) -> dict[str, float]:
    """Return the metrics that apply, and what as many humans get."""
    logs: dict[str, float] = {}
    for name, number in found.models[0].overall.items():
        for key, value in ((name, number.value), (f"{name}_floor", number.floor)):
            if value is not None and math.isfinite(value):
                logs[f"{_PREFIX}/{key}"] = float(value)
    return logs


def _text(completion: Any) -> str:
    """Return an answer's text."""
    return str(completion if isinstance(completion, str) else completion[-1]["content"])


def _markdown(rows: list[list[Any]]) -> str:
    """Return rows as a Markdown table."""
    cells = [[str(cell).replace("|", "\\|").replace("\n", "<br>") for cell in row] for row in rows]
    lines = [" | ".join(row) for row in ([*_COLUMNS], ["---"] * len(_COLUMNS), *cells)]
    return "\n".join(f"| {line} |" for line in lines)
