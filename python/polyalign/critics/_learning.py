"""How the neural critic's network learns, with its encoder or without: steps, processes, checkpoints."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState
from accelerate.utils import DistributedType, gather_object
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from polyalign._io.progress import row_bar
from polyalign.critics._encoder import HuggingFaceEncoder, mean_of_tokens
from polyalign.critics._network import BUCKET, HIDDEN, TENSORS
from polyalign.critics._vectors import Cache, scale_of

_DROPOUT, _MARGIN = 0.1, 0.1
_FILE = "training.safetensors"
_STATES = (AcceleratorState, GradientState)
#: From the numbers of rows to what the model reads of them.
_Reader = Callable[[torch.Tensor], Any]
#: From margins, shape [sides, k], and targets, shape [sides, k, …], to the loss of each.
_Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
_ALONE = (DistributedType.NO, DistributedType.MULTI_CPU, DistributedType.MULTI_GPU)


@dataclass(frozen=True)
class Settings:
    """How it is learnt."""

    epochs: int
    batch: int
    rate: float
    seed: int
    encoder_rate: float = 0.0
    layers: bool | int = False
    """What of the encoder learns: nothing, all of it, or so many of its last layers."""
    mixed_precision: str | None = None


@dataclass(frozen=True)
class Lessons:
    """What is learnt: `count` times of the rows `at`, `count + at`, … of the texts."""

    segments: list[list[str]]
    """What the encoder reads of each row: the response, and the prompt where there are prompts."""
    shares: npt.NDArray[np.float32]
    """The bucket of each row, as :func:`_network.shares` has it."""
    targets: npt.NDArray[np.float32]
    """What is to be learnt of each row."""
    count: int

    def digest(self) -> str:
        """Return a hash of all of it."""
        found = hashlib.blake2b(digest_size=16)
        for values in (self.shares, self.targets):
            found.update(np.ascontiguousarray(values).tobytes())
        for segment in self.segments:
            for text in segment:
                found.update(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest())
        return found.hexdigest()


def _classification(margins: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the cross-entropy of each example, shape [1, k], whose targets are its side and its weight."""
    sides, weights = targets.unbind(dim=2)
    return (weights * nn.functional.binary_cross_entropy_with_logits(margins, sides, reduction="none"))[0]


def _paper(margins: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return of each human and sample, shape [2, k], how far scores are from distances, and that they are in order."""
    scores, distances = nn.functional.softplus(margins), targets[:, :, 0]
    apart = torch.where(distances.isnan(), 0.0, (scores - distances.nan_to_num()).abs())
    return apart.mean(dim=0) + (_MARGIN - scores[1] + scores[0]).clamp(min=0)


_LOSSES = {"classification": _classification, "paper": _paper}


class Critic(nn.Module):  # type: ignore[misc]
    """The network, above vectors or above an encoder that learns too."""

    def __init__(self, parts: int, width: int, random: torch.Generator, encoder: nn.Module | None) -> None:
        super().__init__()
        self.encoder = encoder
        self.parts = nn.Parameter(0.1 * torch.randn(parts, BUCKET, generator=random))
        self.hidden = nn.utils.skip_init(nn.Linear, width + BUCKET, HIDDEN)
        self.out = nn.utils.skip_init(nn.Linear, HIDDEN, 1)
        for layer in (self.hidden, self.out):
            layer.weight.data = torch.randn(layer.weight.shape, generator=random) / layer.weight.shape[1] ** 0.5
            layer.bias.data.zero_()

    def forward(self, read: Any, shares: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
        """Return margins, above 0 for the machine: of vectors, or of segments as tokens and which are not blank."""
        vectors = read if isinstance(read, torch.Tensor) else torch.cat([self._encoded(*of) for of in read], dim=1)
        whole = torch.cat([vectors, shares @ self.parts], dim=1)
        hidden = nn.functional.gelu(self.hidden(whole)) * kept / (1 - _DROPOUT)
        return self.out(hidden)[:, 0].float()

    def _encoded(self, tokens: Mapping[str, torch.Tensor], says: torch.Tensor) -> torch.Tensor:
        return nn.functional.normalize(mean_of_tokens(self.encoder, tokens), dim=1) * says


class Learner:
    """Trains the network, and the encoder where `settings.layers` say so, in one process or several.

    In several, each has its part of every batch, and all end with the same weights, as one process would but for how
    sums are rounded.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._random = torch.Generator().manual_seed(settings.seed)
        self._kept: list[dict[str, Any]] = []
        #: Mean and spread of each number of frozen vectors, by which it learns faster.
        self._scale: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]] | None = None

    def __enter__(self) -> Learner:
        # A process has one state of accelerate, which a trainer may have made and go on with.
        self._kept = [dict(state._shared_state) for state in _STATES]
        for state in _STATES:
            state._shared_state.clear()
        self.accelerator = Accelerator(mixed_precision=self._settings.mixed_precision)
        if self.accelerator.distributed_type not in _ALONE:
            kind = self.accelerator.distributed_type.value
            self.__exit__()
            raise ValueError(
                f"the critic can't be trained with {kind}: each process holds all of it (accelerate launch "
                "--multi_gpu, or one process)"
            )
        return self

    def __exit__(self, *_: object) -> None:
        for state, kept in zip(_STATES, self._kept, strict=True):
            state._shared_state.clear()
            state._shared_state.update(kept)

    def __call__(
        self,
        lessons: Lessons,
        encoder: Any,
        vectors: Cache,
        probe: npt.NDArray[np.float32],
        *,
        objective: str,
        schema: str,
        checkpoint: str | os.PathLike[str] | None,
        every: int,
        progress: bool,
    ) -> dict[str, npt.NDArray[np.float32]]:
        """Learn; return the network's tensors. What is learnt of the encoder is in the encoder.

        `vectors` are the encoder's of texts where it does not learn, `probe` what tells it from others.
        """
        settings, device = self._settings, self.accelerator.device
        learns = settings.layers is not False
        if learns:
            _choose(encoder, settings.layers)
        shown = progress and self.accelerator.is_main_process
        read = self._tokens(lessons, encoder) if learns else self._vectors(lessons, vectors, shown)
        width = len(lessons.segments) * len(probe)
        critic = Critic(lessons.shares.shape[1], width, self._random, encoder.model if learns else None)
        trained = {name: weight for name, weight in critic.named_parameters() if weight.requires_grad}
        own = [weight for name, weight in trained.items() if not name.startswith("encoder.")]
        groups: list[dict[str, Any]] = [{"params": own, "lr": settings.rate}]
        if learns:
            others = [weight for name, weight in trained.items() if name.startswith("encoder.")]
            groups.append({"params": others, "lr": settings.encoder_rate})
        adam = torch.optim.AdamW(groups)
        critic.eval()  # no dropout but the network's own, which is drawn here: the same in any number of processes
        model, optimizer = self.accelerator.prepare(critic, adam)
        saved = None
        if checkpoint is not None:
            told = {
                "schema": schema,
                "data": lessons.digest(),
                "encoder": hashlib.blake2b(probe.tobytes() + repr(encoder.limit).encode(), digest_size=16).hexdigest(),
                "settings": json.dumps({**vars(settings), "objective": objective}),
            }
            parts = {"optimizer": adam, "random": self._random, "accelerator": self.accelerator}
            saved = _Checkpoint(Path(checkpoint), told, trained, parts)
        learn = _Batch(lessons, read, _LOSSES[objective], device)
        step, order = (0, None) if saved is None else saved.load()
        per_epoch = -(-lessons.count // settings.batch)
        with row_bar(settings.epochs * lessons.count, shown, "network") as update:
            update(min(step, per_epoch * settings.epochs) * settings.batch)
            while step < settings.epochs * per_epoch:
                if step % per_epoch == 0 or order is None:
                    order = torch.randperm(lessons.count, generator=self._random)
                items = order[step % per_epoch * settings.batch :][: settings.batch]
                self._step(model, optimizer, learn, items)
                step += 1
                update(len(items))
                if saved is not None and (step % every == 0 or step == settings.epochs * per_epoch):
                    saved.save(step, order)
        network = {name: trained[name].detach().float().cpu().numpy() for name in TENSORS}
        return network if self._scale is None else _of_vectors(network, *self._scale)

    def _step(self, model: Any, optimizer: Any, learn: _Batch, items: torch.Tensor) -> None:
        """Learn of a batch: of this process's part of it."""
        world, rank = self.accelerator.num_processes, self.accelerator.process_index
        kept = torch.rand((len(items), learn.sides, HIDDEN), generator=self._random) >= _DROPOUT
        mine = torch.arange(rank, -(-len(items) // world) * world, world)
        # Each process has as many; what is one too many counts for nothing.
        real = (mine < len(items)).float().to(self.accelerator.device)
        mine = mine.clamp(max=len(items) - 1)
        each = learn(model, items[mine], kept[mine].transpose(0, 1).reshape(-1, HIDDEN))
        optimizer.zero_grad()
        self.accelerator.backward((each * real).sum() * world / len(items))
        self.accelerator.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    def _vectors(self, lessons: Lessons, vectors: Cache, shown: bool) -> _Reader:
        """Give rows as the vectors of their segments beside each other; each process makes its part of them."""
        world, rank, device = self.accelerator.num_processes, self.accelerator.process_index, self.accelerator.device
        found = []
        for texts in lessons.segments:
            bounds = [len(texts) * at // world for at in range(world + 1)]
            own = texts[bounds[rank] : bounds[rank + 1]]
            with row_bar(len(own), shown, "encoder") as update:
                part = vectors(own, update)
            found.append(part if world == 1 else np.concatenate(gather_object([part])))
        whole = np.concatenate(found, axis=1)
        self._scale = scale_of(whole)
        placed = torch.from_numpy((whole - self._scale[0]) / self._scale[1]).to(device)
        return lambda rows: placed[rows.to(device)]

    def _tokens(self, lessons: Lessons, encoder: HuggingFaceEncoder) -> _Reader:
        """Give rows as their segments' tokens, each with which of them say something."""
        device = self.accelerator.device

        def read(rows: torch.Tensor) -> list[Any]:
            found = []
            for segment in lessons.segments:
                texts = [segment[row] for row in rows.tolist()]
                says = torch.tensor([[float(bool(text.strip()))] for text in texts])
                tokens = encoder.tokens([text if text.strip() else "." for text in texts]).to(device)
                found.append((dict(tokens), says.to(device)))
            return found

        return read


def _of_vectors(
    network: dict[str, npt.NDArray[np.float32]], mean: npt.NDArray[np.float32], spread: npt.NDArray[np.float32]
) -> dict[str, npt.NDArray[np.float32]]:
    """Return a network of vectors as they are, of one that has learnt by their standard scores."""
    weight = network["hidden.weight"].copy()
    weight[:, : len(mean)] /= spread
    bias = network["hidden.bias"] - weight[:, : len(mean)] @ mean
    return {**network, "hidden.weight": weight, "hidden.bias": bias}


class _Batch:
    """What is learnt, by the numbers of its lessons."""

    def __init__(self, lessons: Lessons, read: _Reader, loss: _Loss, device: torch.device) -> None:
        self._count, self._read, self._loss, self._device = lessons.count, read, loss, device
        self._shares, self._targets = (
            torch.from_numpy(values).to(device) for values in (lessons.shares, lessons.targets)
        )
        self.sides = len(lessons.shares) // lessons.count

    def __call__(self, model: Any, items: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
        """Return the loss of each, shape [k]; `kept` are what dropout leaves, shape [sides · k, hidden]."""
        rows = torch.cat([items + side * self._count for side in range(self.sides)])
        placed = rows.to(self._device)
        margins = model(self._read(rows), self._shares[placed], kept.to(self._device))
        shape = (self.sides, len(items))
        return self._loss(margins.view(shape), self._targets[placed].view(*shape, -1))


def _choose(encoder: HuggingFaceEncoder, layers: bool | int) -> None:
    """Let all of an encoder learn, or its last layers and what is above them; never what its vectors don't need."""
    model = encoder.model
    weights = list(model.named_parameters())
    learns = True
    if layers is not True:
        stacks = [(name, part) for name, part in model.named_modules() if isinstance(part, nn.ModuleList)]
        many = [(name, part) for name, part in stacks if len(part) == model.config.num_hidden_layers]
        if not many or not 0 < layers <= len(many[0][1]):
            raise ValueError(
                f"train_encoder is {layers}: encoder {encoder!r} has "
                f"{len(many[0][1]) if many else 'no'} layers that can be told; True trains all of it"
            )
        first, learns = f"{many[0][0]}.{len(many[0][1]) - layers}.", False
    for name, weight in weights:
        learns = learns or (layers is not True and name.startswith(first))
        weight.requires_grad_(learns)
    # A pooler, say, is not asked.
    mean_of_tokens(model, encoder.tokens(["So."])).sum().backward()
    for _, weight in weights:
        weight.requires_grad_(weight.grad is not None)
        weight.grad = None


class _Checkpoint:
    """A training as one file, which appears whole; nothing in it is executed."""

    def __init__(
        self, folder: Path, told: Mapping[str, str], weights: Mapping[str, nn.Parameter], parts: Mapping[str, Any]
    ) -> None:
        self._path, self._told, self._weights = folder / _FILE, dict(told), weights
        self._optimizer, self._random, self._accelerator = parts["optimizer"], parts["random"], parts["accelerator"]

    def save(self, step: int, order: torch.Tensor) -> None:
        """Keep where the training is."""
        if not self._accelerator.is_main_process:
            return
        tensors = {"order": order, "random": self._random.get_state()}
        for name, weight in self._weights.items():
            tensors[f"weights/{name}"] = weight.detach()
            for of, values in self._optimizer.state.get(weight, {}).items():
                tensors[f"optimizer/{of}/{name}"] = values
        scaler = self._accelerator.scaler
        more = {"step": str(step), "scaler": json.dumps(scaler.state_dict() if scaler else None)}
        data = save({name: values.cpu().contiguous() for name, values in tensors.items()}, {**self._told, **more})
        self._path.parent.mkdir(parents=True, exist_ok=True)
        partial = self._path.with_suffix(".partial")
        partial.write_bytes(data)
        partial.replace(self._path)

    def load(self) -> tuple[int, torch.Tensor | None]:
        """Take what was kept, and return how many steps were done and the order of the epoch.

        Raises
        ------
        ValueError
            It is of another training, or damaged.
        """
        if not self._path.is_file():
            return 0, None
        try:
            with safe_open(self._path, framework="pt") as file:
                told = file.metadata() or {}
                others = [name for name, value in self._told.items() if told.get(name) != value]
                if others:
                    raise ValueError(
                        f"{self._path}: a training with another {', '.join(others)}: go on with the same, or name "
                        "another folder"
                    )
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it can't be iterated)
            for name, weight in self._weights.items():
                weight.data.copy_(tensors.pop(f"weights/{name}"))
            self._take(tensors)
            scaler = json.loads(told["scaler"])
            if scaler and self._accelerator.scaler:
                self._accelerator.scaler.load_state_dict(scaler)
            self._random.set_state(tensors["random"])
            return int(told["step"]), tensors["order"]
        except (SafetensorError, KeyError, RuntimeError, TypeError) as error:
            raise ValueError(f"{self._path}: damaged ({error}): remove it, or name another folder") from None

    def _take(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Put the optimizer's numbers beside their weights."""
        for key, values in tensors.items():
            head, _, rest = key.partition("/")
            if head == "optimizer":
                of, _, name = rest.partition("/")
                weight = self._weights[name]
                placed = values if of == "step" else values.to(weight.device)
                self._optimizer.state[weight][of] = placed
