"""A run: rows become prompts, prompts answers, answers a file that appears whole."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from polyalign import _core
from polyalign._io import json_text
from polyalign._io.progress import row_bar
from polyalign._text.words import counted
from polyalign.generation._engine import Answer, Engine, Request, Unfit
from polyalign.generation._journal import Journal, beside, opened
from polyalign.generation._prompts import Asker, Prompt, messages_of, stops
from polyalign.generation._report import Report, Tally
from polyalign.generation._rows import Row, Source, choose, rank
from polyalign.generation._settings import Form, Prompting, Sampling, Selection

__all__ = ["FORMAT", "Samples", "generate", "generate_file", "settings_of", "sidecar"]

FORMAT = "polyalign samples"


class Samples(NamedTuple):
    """Samples in memory."""

    rows: list[dict[str, Any]]
    """A dict for each line that :func:`generate_file` would write."""
    report: Report
    """What was generated, what was not, and why."""


def generate(
    records: Any,
    engine: Engine,
    sampling: Sampling | None = None,
    *,
    prompting: Prompting | None = None,
    selection: Selection | None = None,
    progress: bool = False,
) -> Samples:
    """Answer the prompts of a bucketed set.

    Parameters
    ----------
    records : str, PathLike, list of them, Arrow table or datasets.Dataset
        With ``id``, ``bucket`` and ``prompt``: a folder that ``polyalign bucket`` made, Parquet, or a table that
        :meth:`Bucketer.assign` gave. Examples (`prompting`) need ``completion`` as well.
    engine : Engine
        What answers: :class:`TransformersEngine`, :class:`VLLMEngine`, :class:`OpenAIEngine`, or an object like them.
    sampling : Sampling, optional
        How answers are drawn. Default: one, from the model's own distribution.
    prompting : Prompting, optional
        What the model is asked. Default: the prompt, by its chat template.
    selection : Selection, optional
        Which rows are answered. Default: all of the split ``train``.
    progress : bool, default False
        Show a progress bar where standard error is a terminal.

    Returns
    -------
    Samples
        In the order of the records, the samples of one in theirs.

    Raises
    ------
    OSError
        A file can't be read, or a server does not answer.
    ValueError
        A column is missing, or nothing can be answered.
    """
    job = _Job(records, engine, sampling, prompting, selection, progress=progress)
    with opened(None, job.settings, begin_anew=True) as journal:
        job.answer(journal, progress)
        rows = list(job.lines(journal))
        return Samples(rows, job.report(journal, None))


def generate_file(
    records: Any,
    output: str | os.PathLike[str],
    engine: Engine | Callable[[], Engine],
    sampling: Sampling | None = None,
    *,
    prompting: Prompting | None = None,
    selection: Selection | None = None,
    overwrite: bool = False,
    progress: bool = False,
    say: Callable[[str], object] = lambda line: None,
) -> Report:
    """Write answers to the prompts of a bucketed set: JSON lines, as ``polyalign pairs`` and ``score`` read them.

    An interrupted run leaves what it has beside the output (``samples.jsonl.unfinished``); the same call goes on from
    there, and ends with the same rows. The output appears whole or not at all, with ``_samples.jsonl.json`` beside it,
    which says what it was made with.

    Parameters
    ----------
    output : str or PathLike
        The file to make.
    engine : Engine or callable
        What answers, or what makes it once the output is known to be possible.
    overwrite : bool, default False
        Replace an existing file, and what an interrupted run with other settings left.
    say : callable, optional
        Told what a user should know before the hours are spent, a line each.
    records, sampling, prompting, selection, progress
        As in :func:`generate`.

    Returns
    -------
    Report
        What was generated, what was not, and why.

    Raises
    ------
    FileExistsError
        The file exists already.
    OSError, ValueError
        As in :func:`generate`; an unfinished run of other settings; another process writes the same file.
    """
    from polyalign._io.output import check_folder, publishing
    from polyalign._io.sources import local_output

    target = Path(local_output(os.fspath(output)))
    check_folder(target, "to make it in")
    with publishing(target, overwrite=overwrite) as made, publishing(sidecar(target), overwrite=True) as about:
        job = _Job(records, engine, sampling, prompting, selection, progress=progress)
        for note in job.engine.notes():
            say(note)
        with opened(beside(target), job.settings, begin_anew=overwrite) as journal:
            try:
                job.answer(journal, progress)
            except OSError as error:  # a server that is gone, a device without memory
                if error.errno is not None:
                    raise
                kept = f"{len(journal.answers):,} of {counted(len(job.requests), 'sample')}"
                raise type(error)(f"{error}; {kept} are kept: the same command goes on from there") from None
            with Path(made.work).open("w", encoding="utf-8", newline="\n") as file:
                file.writelines(f"{json_text.one_line(line)}\n" for line in job.lines(journal))
            report = job.report(journal, os.fspath(output))
            about.write(_about(report).encode())
    journal.remove()
    return report


def sidecar(output: str | os.PathLike[str]) -> Path:
    """Return where the settings of a file of samples are.

    The name begins with ``_``, so that what reads a folder of samples passes it over.

    Examples
    --------
    >>> sidecar("out/samples.jsonl").as_posix()
    'out/_samples.jsonl.json'
    """
    path = Path(output)
    return path.with_name(f"_{path.name}.json")


def settings_of(samples: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Return what a file of samples says it was made with; `None`: it does not say.

    Raises
    ------
    ValueError
        What stands beside it is something else.
    """
    path = sidecar(samples)
    if not path.is_file():
        return None
    try:
        told = json.loads(path.read_text("utf-8"))
        if told["format"] != FORMAT:
            raise KeyError("format")
        return dict(told["settings"])
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{path}: does not say what samples were made with") from None


def settings_hash(settings: dict[str, Any]) -> str:
    """Return what every line of samples says of its settings."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def _about(report: Report) -> str:
    """Return what stands beside the samples; it names no time, place or interruption: the same run, the same bytes."""
    from polyalign import __version__

    told = {name: value for name, value in report.to_dict().items() if name not in ("output", "resumed")}
    return json_text.indented({"format": FORMAT, "format_version": 1, "polyalign_version": __version__, **told}) + "\n"


@dataclass(frozen=True)
class _Asked:
    """A row that is answered."""

    at: int
    id: str
    bucket: str


class _Job:
    """One pass: what is asked is settled at once, so that what can't be is seen before a model is loaded."""

    def __init__(
        self,
        records: Any,
        engine: Engine | Callable[[], Engine],
        sampling: Sampling | None,
        prompting: Prompting | None,
        selection: Selection | None,
        *,
        progress: bool = False,
    ) -> None:
        self.sampling, self.selection = sampling or Sampling(), selection or Selection()
        self.prompting = prompting or Prompting()
        self.source = Source(records, self.selection.split)
        self.tally = Tally()
        self.chosen = choose(self.source, self.selection)
        self.engine: Engine = engine() if callable(engine) else engine
        self.form: Form = self.engine.form(self.prompting.form)
        if self.prompting.think and self.form != "chat":
            raise ValueError("think asks by a system message: it needs a chat template, and the model has none")
        # Examples are of rows that train, whichever are answered.
        shown = self.source if self.selection.split == "train" else None
        self.asker = Asker(self.source, self.prompting, self.form, lambda: shown or Source(records, "train"))
        self.stops = (*self.sampling.stop, *stops(self.form))
        self.requests: list[Request] = []
        self.asked: dict[int, _Asked] = {}
        self.prompts = 0
        digest = self._prepare(progress)
        if not self.requests:
            raise ValueError(f"no prompt to answer: {self.tally.why_none()}")
        self.engine.check()
        self.settings = self._settings(digest)
        self.settings_hash = settings_hash(self.settings)

    def _prepare(self, progress: bool) -> str:
        """Make the requests; return a hash of what is asked."""
        digest = hashlib.sha256()
        seen: set[str] = set()
        total = self.source.rows.count if self.chosen is None else len(self.chosen)
        with row_bar(total, progress) as on_rows:
            for row in self.source.read(self.chosen, self.asker.columns):
                self._prepare_row(row, seen, digest)
                on_rows(1)
        return digest.hexdigest()

    def _prepare_row(self, row: Row, seen: set[str], digest: Any) -> None:
        self.prompts += 1
        try:
            examples, prompt, ready = self._ready(row, seen)
        except Unfit as unfit:
            self.tally.skip(unfit.kind, unfit.reason, row.place)
            return
        self.tally.counts["fewer_examples"] += examples < self.asker.few_shot
        identity, bucket = str(row.id), str(row.bucket)
        seen.add(identity)
        self.asked[row.at] = _Asked(row.at, identity, bucket)
        told = [identity, bucket, prompt.messages, prompt.tools]
        digest.update(json.dumps(told, sort_keys=True, default=str).encode())
        for sample in range(self.sampling.samples):
            seed = rank(self.sampling.seed, identity, sample)
            self.requests.append(Request((row.at, sample), seed, ready))

    def _ready(self, row: Row, seen: set[str]) -> tuple[int, Prompt, Any]:
        """Return a row's prompt with as many examples as fit; `Unfit` if it has none that does."""
        if row.id is None:
            raise Unfit("no_id", "the row has no id, which samples are known by")
        if row.id in seen:
            raise Unfit("duplicate_id", "an earlier row has the same id: samples of both could not be told apart")
        if row.bucket is None:
            raise Unfit("no_bucket", "the row is in no bucket")
        messages = messages_of(row.prompt)
        if not messages:
            raise Unfit("no_prompt", "the prompt is empty")
        for examples, prompt in self.asker.prompts(row, messages):
            try:
                return examples, prompt, self._prepared(prompt)
            except Unfit:  # noqa: PERF203 - with fewer examples it may fit
                if not examples:
                    raise
        raise AssertionError("a prompt without examples is the last")

    def _prepared(self, prompt: Prompt) -> Any:
        return self.engine.prepare(prompt, self.form, self.sampling, self.selection.max_prompt_tokens)

    def _settings(self, digest: str) -> dict[str, Any]:
        return {
            **self.engine.settings(),
            "sampling": self.sampling.to_dict(),
            "prompting": {**self.prompting.to_dict(), "form": self.form, "few_shot": self.asker.few_shot},
            "selection": self.selection.to_dict(),
            "prompts_sha256": digest,
        }

    # ------------------------------------------------------------------------------------------------- answers

    def answer(self, journal: Journal, progress: bool) -> None:
        """Have everything answered that is not yet."""
        done = dict.fromkeys(journal.answers)
        if all(request.key in done for request in self.requests):
            return
        with _bar(len(self.requests), len(done), progress) as update:
            for answers in self.engine.answers(self.requests, self.sampling, self.stops, done):
                update(journal.add(answers))

    def lines(self, journal: Journal) -> Iterator[dict[str, Any]]:
        """Give what is written, in the order of the records."""
        for row in self.source.read(self.chosen):
            asked = self.asked.get(row.at)
            if asked is None:
                continue
            first = True
            for sample in range(self.sampling.samples):
                answer = journal.answers[row.at, sample]
                if answer.refused is not None:
                    self.tally.skip("refused", answer.refused, row.place)
                    continue
                line = self._line(asked, row, sample, answer)
                unthought = self.prompting.think and "thinking" not in line
                self.tally.add(asked.bucket, line, first=first, unthought=unthought)
                first = False
                yield line

    def _line(self, asked: _Asked, row: Row, sample: int, answer: Answer) -> dict[str, Any]:
        text = _core.answers([answer.text])[0].strip()
        thinking = answer.thinking
        if len(text) < len(answer.text):
            thinking = answer.text[: len(answer.text) - len(text)] if answer.text.endswith(text) else answer.text
        return {
            "id": asked.id,
            "bucket": asked.bucket,
            "sample": sample,
            "prompt": messages_of(row.prompt),
            "response": text,
            "finish": answer.finish,
            "tokens": answer.tokens,
            "prompt_tokens": answer.prompt_tokens,
            **({"thinking": thinking.strip()} if thinking and thinking.strip() else {}),
            "settings": self.settings_hash,
        }

    def report(self, journal: Journal, output: str | None) -> Report:
        """Return what came of it; once the lines have been given."""
        return self.tally.report(
            output=output,
            prompts=self.prompts,
            resumed=journal.resumed,
            settings_hash=self.settings_hash,
            settings=self.settings,
        )


@contextmanager
def _bar(total: int, done: int, shown: bool) -> Iterator[Callable[[Sequence[Answer]], object]]:
    """Show answers done of all, and tokens a second; on a terminal only."""
    if not shown:
        yield lambda answers: None
        return
    from tqdm import tqdm

    began, tokens = time.perf_counter(), 0
    with tqdm(total=total, initial=done, unit=" samples", dynamic_ncols=True, leave=False, disable=None) as bar:

        def update(answers: Sequence[Answer]) -> None:
            nonlocal tokens
            tokens += sum(answer.tokens or 0 for answer in answers)
            bar.set_postfix_str(f"{tokens / max(time.perf_counter() - began, 1e-3):,.0f} tokens/s", refresh=False)
            bar.update(len(answers))

        yield update
