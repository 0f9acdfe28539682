"""What the two trainers share: global sums, buckets, what is logged, model cards."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from datasets import ClassLabel, Value
from torch import Tensor

from polyalign.trainers._logs import BucketFile, get_logger, shorten_console
from polyalign.trainers._metrics import BucketTable
from polyalign.trainers._prepare import preparing
from polyalign.trainers._prepare.ends import ResponseEnds
from polyalign.trainers._prepare.given import as_dataset
from polyalign.trainers._prepare.unfit import Unfit
from polyalign.trainers._processes import agree, agreed, main_first, released, tell
from polyalign.weights import BucketWeights

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "PAPER",
    "BucketTrainer",
    "card_table",
    "default_output",
    "refuse_sequence_parallelism",
    "refuse_vision",
]

logger = get_logger(__name__)

_ByBucket = dict[str, dict[int, float]]

PAPER = {
    "title": "PolyAlign: Conditional Human-Distribution Alignment",
    "id": "2606.13227",
}


def refuse_vision(name: str, processing_class: Any, columns: Sequence[str]) -> None:
    """Raise a ValueError for images."""
    from transformers import ProcessorMixin

    images = sorted({"image", "images"} & set(columns))
    if images or isinstance(processing_class, ProcessorMixin):
        what = f"the data set has a column {images[0]!r}" if images else "processing_class is a processor"
        raise ValueError(f"{name} trains on text, but {what}: humans' features are those of texts")


def refuse_sequence_parallelism(name: str, accelerator: Any) -> None:
    """Raise a ValueError where the tokens of a response are on several devices."""
    parallelism = accelerator.parallelism_config
    if parallelism is not None and (parallelism.cp_enabled or parallelism.sp_enabled):
        raise ValueError(f"{name} does not train with context or sequence parallelism: it needs all of a response")


def default_output(model: Any, suffix: str) -> str:
    """Return the output folder of a trainer without settings."""
    name = model if isinstance(model, str) else model.config.name_or_path or "model"
    return f"{name.rsplit('/', 1)[-1]}-{suffix}"


class BucketTrainer:
    """What is added to a TRL trainer, before it in the bases."""

    # The loss is a share of the global batch's.
    loss_is_scaled_for_ga = True

    #: Columns that the collator turns into tensors beside the model's inputs.
    _extra_columns: tuple[str, ...] = ()
    #: Keys of a batch that are not the model's.
    _extra_inputs: tuple[str, ...] = ()
    #: Further keys whose values are not the model's to round.
    _exact_inputs: tuple[str, ...] = ()
    #: Names of what is logged by bucket, under the prefix, and of TRL's own.
    _prefix = ""
    _bucket_metrics: tuple[str, ...] = ()
    _trl_metrics: tuple[str, ...] = ()
    #: What is gathered, but not logged.
    _hidden_metrics: tuple[str, ...] = ()

    if TYPE_CHECKING:
        accelerator: Any
        args: Any
        data_collator: Any
        model: Any
        state: Any
        callback_handler: Any
        _signature_columns: list[str] | None
        _total_train_tokens: int

        def get_tp_size(self) -> int: ...

        def add_callback(self, callback: Any) -> None: ...

    # ------------------------------------------------------------------------------------------------- buckets

    def _end_init(self) -> None:
        """Add what logs by bucket need, once the trainer is made."""
        shorten_console(self.callback_handler.callbacks)
        self._bucket_file = BucketFile(self.args.output_dir, self._bucket_metrics)
        self.add_callback(self._bucket_file)

    def _begin(
        self,
        model: Any,
        args: Any,
        config: Any,
        data: tuple[Any, Any],
        processing_class: Any,
        bucket_counts: Mapping[str, int] | BucketWeights | None,
    ) -> tuple[Any, Any, Any]:
        """Check what is given, and set what preparing data sets in TRL's __init__ needs.

        Return `args`, and the data sets that train and are evaluated.
        """
        name = type(self).__name__
        if args is None:
            args = config(default_output(model, name))
        if not isinstance(args, config):
            raise TypeError(f"args is a {config.__name__}, not {type(args).__name__}")
        # As TRL has it for streams that train; a stream that is evaluated would be read by one process, and its batches
        # cut for the others, by their first dimension, which not all tensors share.
        args.accelerator_config.dispatch_batches = False
        train, evaluation = as_dataset(data[0], "train_dataset"), as_dataset(data[1], "eval_dataset")
        if train is not None:
            refuse_vision(name, processing_class, preparing.columns_of(train))
        self._bucket_names: list[str] = []
        self._bucket_ids: dict[str, int] = {}
        self._prepared: set[str] = set()
        self._prepared_streams: weakref.WeakSet[Any] = weakref.WeakSet()
        self._tables: dict[str, BucketTable] = {}
        self._ends = ResponseEnds()
        self._counts_given = preparing.counts_given(bucket_counts)
        self._counts: dict[str, int] = {}
        self._is_weighed = False
        self.weight_mean = 1.0
        self._is_any_prepared = False
        return args, train, evaluation

    def _init_trl(self, *args: Any, **kwargs: Any) -> None:
        """Run TRL's __init__; an error before it waits for others is told to them."""
        try:
            super().__init__(*args, **kwargs)
        except Exception as error:
            if not self._is_any_prepared:
                tell(error)
            raise

    def _prepare_dataset(self, dataset: Any, *args: Any) -> Any:
        """Return a data set as the trainer takes it, unless it is one."""
        if self._is_prepared(dataset):
            return dataset
        agree()  # on the model
        with agreed():
            columns, skips = preparing.columns_of(dataset), preparing.Skips(dataset, args[-1])
            dataset = self._prepared_dataset(dataset, columns, skips, *args)
        self._is_any_prepared = True
        return self._remember(dataset)

    def _prepared_dataset(self, dataset: Any, columns: list[str], skips: preparing.Skips, *args: Any) -> Any:
        """Return a data set as the trainer takes it, given its columns and what TRL gives; its name is the last."""
        raise NotImplementedError

    def _prepared_by_trl(self, dataset: Any, unfit: Unfit | None, skips: preparing.Skips, *args: Any) -> Any:
        """Return a data set as TRL prepares it."""
        if getattr(dataset, "format", None) and dataset.format["type"] == "custom":
            raise ValueError(
                f"the {skips.dataset_name} data set is read through with_transform, which preparing it would bake in: "
                "use map"
            )
        try:
            with agreed(), released():
                return self._trl_prepare(dataset, *args)
        except Exception:
            if unfit is None or unfit.exact or preparing.is_streaming(dataset):
                raise
            # A template that objects to a text itself: each row is asked.
            unfit.exact = True
            with main_first():
                sifted = preparing.sift(dataset, unfit, unfit.columns, skips)
            if sifted is dataset:
                raise
        return self._prepared_by_trl(sifted, unfit, skips, *args)

    def _trl_prepare(self, dataset: Any, *args: Any) -> Any:
        return super()._prepare_dataset(dataset, *args)  # type: ignore[misc]

    def _register(self, buckets: Iterable[str]) -> None:
        for bucket in sorted(buckets):
            if bucket not in self._bucket_ids:
                self._bucket_ids[bucket] = len(self._bucket_names)
                self._bucket_names.append(bucket)

    def _register_all(self, dataset: Any) -> None:
        """Give every bucket of a data set a number; of a stream those that were not counted share one."""
        self._register([preparing.OTHER] if preparing.is_streaming(dataset) else preparing.buckets_of(dataset))

    def _attached(self, dataset: Any, attach: preparing.Attach) -> Any:
        """Give every row of a data set its bucket's number and its weight."""
        types = {"bucket": preparing.bucket_type(dataset, self._bucket_names), "weight": Value("float64")}
        return preparing.extended(dataset, attach, attach.columns, types)

    def _tell_own_weights(self) -> None:
        told = "bucket_counts are not used" if self._counts_given else "weights are not computed"
        logger.warning("the data set has a column 'weight': %s", told)

    def _is_prepared(self, dataset: Any) -> bool:
        """Whether a data set is one that was prepared here, or a part of one."""
        if preparing.is_streaming(dataset):
            return dataset in self._prepared_streams
        label = dataset.features.get("bucket")
        if isinstance(label, ClassLabel) and "response_tokens" in dataset.features:
            return label.names == self._bucket_names[: len(label.names)]
        return dataset._fingerprint in self._prepared

    def _remember(self, dataset: Any) -> Any:
        if preparing.is_streaming(dataset):
            self._prepared_streams.add(dataset)
        else:
            self._prepared.add(dataset._fingerprint)
        return dataset

    # ------------------------------------------------------------------------------------------- global batches

    def get_train_dataloader(self) -> Any:
        """Return the loader of training batches."""
        loader = super().get_train_dataloader()  # type: ignore[misc]
        # Of a process's share of the batches accelerate knows the epoch's draws by its own sampler alone: after a
        # resumption within a later epoch, ours would begin with those of the first.
        share = getattr(loader, "batch_sampler", None)
        drawn = getattr(share, "batch_sampler", None)
        sampler = drawn if hasattr(drawn, "set_epoch") else getattr(drawn, "sampler", None)
        if hasattr(sampler, "set_epoch"):
            share.sampler = sampler  # type: ignore[union-attr]
        return loader

    def _set_signature_columns_if_needed(self) -> None:
        if self._signature_columns is None:
            super()._set_signature_columns_if_needed()  # type: ignore[misc]
            assert self._signature_columns is not None
            self._signature_columns += [*self._extra_columns, self.args.length_column_name]

    def get_batch_samples(
        self, epoch_iterator: Iterator[dict[str, Any]], num_batches: int, device: torch.device
    ) -> tuple[list[dict[str, Any]], dict[str, Tensor] | None]:
        """Take the micro-batches of an optimizer step, and what losses divide by: sums over them and all processes."""
        batches = list(itertools.islice(epoch_iterator, num_batches))
        if not batches:
            return batches, None
        shares = self._step_shares(batches)
        sums = torch.stack([share.to(device, torch.float32).sum() for share in shares.values()])
        # Ranks of one tensor-parallel group see the same batch.
        sums = self.accelerator.reduce(sums, "sum") / self.get_tp_size()
        return batches, dict(zip(shares, sums.unbind(), strict=True))

    def _shares(self, batches: list[dict[str, Any]]) -> dict[str, Tensor]:
        """Return what losses divide by, of some batches of this process."""
        raise NotImplementedError

    def _step_shares(self, batches: list[dict[str, Any]]) -> dict[str, Tensor]:
        """Return the same, of the micro-batches of an optimizer step that is about to be made."""
        return self._shares(batches)

    @property
    def _data_parallel_size(self) -> int:
        """Processes over which gradients are averaged."""
        return int(self.accelerator.num_processes) // self.get_tp_size()

    @property
    def _data_parallel_rank(self) -> int:
        """Which of them this one is; those of one tensor-parallel group see the same batches, and are one."""
        return int(self.accelerator.process_index) // self.get_tp_size()

    def _prepare_inputs(self, inputs: dict[str, Any]) -> dict[str, Any]:
        # Beside the model's inputs: DeepSpeed rounds those to the model's dtype.
        exact = (*self._extra_inputs, *self._exact_inputs)
        extra = {name: inputs[name] for name in exact if name in inputs}
        rest = {name: value for name, value in inputs.items() if name not in extra}
        on_device = {
            name: value.to(self.args.device) if isinstance(value, Tensor) else value for name, value in extra.items()
        }
        return {**super()._prepare_inputs(rest), **on_device}  # type: ignore[misc]

    def _split(self, inputs: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Part the model's inputs from ours."""
        extra = {name: inputs[name] for name in self._extra_inputs if name in inputs}
        return {name: value for name, value in inputs.items() if name not in extra}, extra

    # ------------------------------------------------------------------------------------------------- logging

    @property
    def _mode(self) -> str:
        return "train" if self.model.training else "eval"

    def _table(self, mode: str, device: torch.device) -> BucketTable:
        if mode not in self._tables:
            names = (*self._bucket_metrics, *self._trl_metrics, *self._hidden_metrics)
            self._tables[mode] = BucketTable(names, len(self._bucket_names), device)
        return self._tables[mode]

    def _kept(self, rows: Tensor, num_rows: Tensor | int) -> Tensor | None:
        """Say which examples are no repetitions: those that even out an evaluation's last batch are not counted."""
        state = self.accelerator.gradient_state
        if self._mode == "train" or not state.end_of_dataloader or state.remainder <= 0:
            return None
        return self.accelerator.process_index * num_rows + rows < state.remainder

    def _means(self, mode: str, prefix: str = "") -> tuple[dict[str, float], dict[str, float], _ByBucket] | None:
        """Reduce a table over all processes; its means as they are logged, all of them overall, and by bucket."""
        table = self._tables.get(mode)
        if table is None:
            return None
        totals = table.totals(self.accelerator)
        overall, by_bucket = table.means(totals)
        shown, rest = self._shown_buckets()
        # All that are not shown, together.
        pooled, _ = table.means(totals[[at for at in rest if at < len(totals)]]) if shown else ({}, {})
        logs = {}
        for name in self._bucket_metrics:
            if name in overall:
                logs[f"{prefix}{self._prefix}/{name}"] = overall[name]
                for bucket in shown:
                    if bucket in by_bucket[name]:
                        logs[f"{prefix}{self._prefix}/{name}/{self._bucket_names[bucket]}"] = by_bucket[name][bucket]
                if name in pooled:
                    logs[f"{prefix}{self._prefix}/{name}/{preparing.OTHER}"] = pooled[name]
        self._write_buckets(prefix.removesuffix("_") or mode, by_bucket)
        logs.update({f"{prefix}{name}": overall[name] for name in self._trl_metrics if name in overall})
        if "num_tokens" in self._trl_metrics:
            if mode == "train":
                tokens = float(totals[:, table.names.index("num_tokens"), 0].sum())
                self._total_train_tokens += round(tokens / self.get_tp_size())
            logs[f"{prefix}num_tokens"] = self._total_train_tokens
        return logs, overall, by_bucket

    def _shown_buckets(self) -> tuple[list[int], list[int]]:
        """Return the numbers of the buckets that are logged by name, the largest, and of the rest."""
        names, counts = self._bucket_names, self._counts
        order = sorted(range(len(names)), key=lambda at: (names[at] == preparing.OTHER, -counts.get(names[at], 0), at))
        shown = [at for at in order[: self.args.log_buckets] if names[at] != preparing.OTHER]
        return sorted(shown), sorted(set(order) - set(shown))

    def _write_buckets(self, split: str, by_bucket: Mapping[str, Mapping[int, float]]) -> None:
        """Write what is logged of all buckets to the file."""
        if not self.accelerator.is_main_process:
            return
        means: dict[str, dict[str, float]] = {}
        for name in self._bucket_metrics:
            for bucket, mean in by_bucket.get(name, {}).items():
                means.setdefault(self._bucket_names[bucket], {})[name] = mean
        try:
            self._bucket_file.add(self.state, split, means)
        except OSError as error:  # no reason to stop a training
            logger.warning_once(f"{self._bucket_file.path}: buckets are not logged: {error}")

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log, with what was gathered since the last time; every process calls it."""
        # Also after an evaluation, which leaves the model in evaluation mode: at the end of an epoch.
        if "loss" in logs:
            found = self._means("train")
            logs.update(found[0] if found else {})
        super().log(logs, start_time)  # type: ignore[misc]

    def _after_evaluation(self, dataset: Any) -> None:
        """Add to what is logged of an evaluation."""

    def evaluation_loop(self, dataloader: Any, *args: Any, **kwargs: Any) -> Any:
        """Evaluate; the loss is that of the whole set, the same for any batch size and number of processes."""
        self._tables.pop("eval", None)
        prefix = kwargs.get("metric_key_prefix", "eval")
        output = super().evaluation_loop(dataloader, *args, **kwargs)  # type: ignore[misc]
        self._after_evaluation(dataloader.dataset)
        found = self._means("eval", f"{prefix}_")
        if found is not None:
            logs, overall, by_bucket = found
            output.metrics.update(logs)
            output.metrics[f"{prefix}_loss"] = self._evaluation_loss(overall, by_bucket)
        return output

    def _evaluation_loss(self, overall: Mapping[str, float], by_bucket: Mapping[str, Mapping[int, float]]) -> float:
        raise NotImplementedError

    # ---------------------------------------------------------------------------------------------- model card

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Write TRL's model card, and what the buckets were."""
        super().create_model_card(*args, **kwargs)  # type: ignore[misc]
        path = Path(self.args.output_dir) / "README.md"
        if self.accelerator.is_main_process and path.is_file():
            path.write_text(path.read_text(encoding="utf-8") + self._card(), encoding="utf-8")

    def _card(self) -> str:
        raise NotImplementedError


def card_table(counts: Mapping[str, int], weights: Callable[[str], float] | None, most: int = 30) -> str:
    """Return buckets and their counts as a Markdown table, the largest first."""
    head = ["bucket", "examples", *(["weight"] if weights else [])]
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    for bucket in sorted(counts, key=lambda bucket: (-counts[bucket], bucket))[:most]:
        cells = [
            "`" + bucket.replace("|", "\\|") + "`",
            f"{counts[bucket]:,}",
            *([f"{weights(bucket):.3g}"] if weights else []),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    if len(counts) > most:
        lines.append(f"\n… and {len(counts) - most:,} more buckets.")
    return "\n".join(lines)
