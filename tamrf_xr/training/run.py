"""A run in its folder: configuration, log, checkpoints; stopped by a signal, resumed by a rerun.

``FOLDER/config.yaml`` is what was asked, ``log.jsonl`` what happened, ``last.pt`` what a rerun goes
on from, ``best/STEP.safetensors`` the best weights, which `tamrf_xr.load_model` reads.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
import xarray as xr

from tamrf_xr.errors import JobError, ModelError, OptionError, SourceNotFoundError
from tamrf_xr.model.checkpoint import load_model, save_model
from tamrf_xr.model.device import resolve_device
from tamrf_xr.model.network import Tamrf
from tamrf_xr.model.scrutiny import UNREADABLE, why_unreadable
from tamrf_xr.paths import local_path
from tamrf_xr.replacing import fresh_file
from tamrf_xr.store import open_cube
from tamrf_xr.training.config import TrainConfig
from tamrf_xr.training.setting import as_tree, read_config, write_config
from tamrf_xr.training.statistics import statistics_of
from tamrf_xr.training.trainer import Partials, Trainer, World

CONFIG, LOG, LAST, BEST = "config.yaml", "log.jsonl", "last.pt", "best"
MAY_CHANGE = ("optim.steps", "run.device", "run.validate_every", "run.keep", "run.tensorboard")
"""What a resumed run may set anew."""


class Stopped(Exception):  # noqa: N818  (no error: the run can go on)
    """A signal asked the run to stop; its checkpoint is written."""


def train(config: TrainConfig, folder: str | Path, *, progress: bool = True) -> Path:
    """Train, or go on with a run that was stopped.

    Parameters
    ----------
    config
        The run.
    folder
        Where it is kept; what is there is gone on with if it asked the same.
    progress
        Show a bar.

    Returns
    -------
    pathlib.Path
        The best weights.

    Raises
    ------
    JobError
        If another run is in `folder`.
    SourceNotFoundError
        If no cube matches.
    Stopped
        If SIGTERM, SIGUSR1 or SIGINT came; a rerun goes on.
    """
    device = own_device(config.run.device)
    folder = local_path(folder, "folder of the run")
    with World.joined(device) as world:
        first = world.rank == 0
        trainer = _trainer(config, device, world)
        if first:
            _claim(folder, config)
        world.wait()
        if (folder / LAST).exists():
            _restore(trainer, folder / LAST)
        with contextlib.closing(Record(trainer, folder)) as record:
            _follow(trainer, record, progress=progress and first)
        return best_of(folder)


def _trainer(config: TrainConfig, device: torch.device, world: World) -> Trainer:
    found = [find_cubes([pattern]) for pattern in config.data.cubes] or [find_cubes(())]
    kinds = [kind for kind, paths in enumerate(found) for _ in paths] if config.data.mix else []
    cubes = [open_cube(path) for paths in found for path in paths]
    return Trainer(config, cubes, build(config, cubes, device), world, kinds=kinds)


def _restore(trainer: Trainer, path: Path) -> None:
    try:
        trainer.restore(torch.load(path, map_location="cpu", weights_only=True))
    except UNREADABLE as error:
        raise ModelError(
            f"{path} cannot be read, so the run cannot go on: {why_unreadable(error)}; start anew "
            f"in another folder, from the best weights: run.start={path.parent / BEST}/STEP..."
        ) from None


def find_cubes(patterns: Sequence[str]) -> list[Path]:
    """Return the stores that patterns match, in order.

    Raises
    ------
    SourceNotFoundError
        If one matches nothing.
    """
    if not patterns:
        raise SourceNotFoundError("no cubes named: set data=CUBES, such as data=cubes/*.zarr")
    cubes: list[Path] = []
    for pattern in patterns:
        path = local_path(pattern, "cube")
        anchor = Path(path.anchor or ".")
        matches = sorted(anchor.glob(str(path.relative_to(path.anchor) if path.anchor else path)))
        if not matches:
            raise SourceNotFoundError(f"no cube matches {pattern}; found nothing there")
        cubes += matches
    return cubes


def build(config: TrainConfig, cubes: Sequence[xr.DataTree], device: torch.device) -> Tamrf:
    """Return the network to train: from `config.run.start`, or new."""
    if config.run.start is not None:
        model = load_model(config.run.start)
    else:
        statistics = None if config.data.statistics == "published" else statistics_of(cubes)
        draw = torch.Generator().manual_seed(config.run.seed)
        model = Tamrf(config.model, statistics, generator=draw)
    return placed(model, device)


def placed(model: Tamrf, device: torch.device) -> Tamrf:
    """Return a network on a device, its weights laid out as convolutions are fastest."""
    return cast("Tamrf", model.to(device).to(memory_format=torch.channels_last))  # type: ignore[call-overload]


def own_device(asked: str) -> torch.device:
    """Return the device that is asked for; with torchrun, each process has a GPU of its own."""
    device = resolve_device(asked)
    own = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    return resolve_device(own) if device == torch.device("cuda") else device


def _claim(folder: Path, config: TrainConfig) -> None:
    """Keep the configuration, or check that the run that is there asked the same."""
    kept = folder / CONFIG
    if kept.exists():
        before, now = (_flat(tree) for tree in (read_config(kept, TrainConfig()), config))
        if changed := [name for name in now if now[name] != before[name]]:
            values = ", ".join(f"{n} ({before[n]} there, {now[n]} asked)" for n in changed)
            raise JobError(f"{folder} holds another run: {values}; name another folder")
    elif folder.exists() and any(folder.iterdir()):
        raise JobError(f"{folder} exists and holds no run; name another folder")
    folder.mkdir(parents=True, exist_ok=True)
    write_config(config, kept)
    (folder / BEST).mkdir(exist_ok=True)


def _flat(config: TrainConfig) -> dict[str, Any]:
    return {
        f"{section}.{key}": value
        for section, values in as_tree(config).items()
        for key, value in values.items()
        if f"{section}.{key}" not in MAY_CHANGE
    }


def _follow(trainer: Trainer, record: Record, *, progress: bool) -> None:
    """Step, validate, keep; stop where a signal came in any process."""
    every, last = trainer.config.run.validate_every, trainer.config.optim.steps
    with _signals() as signalled, step_bar(trainer, shown=progress) as bar:
        if trainer.step == 0:
            with bar.meanwhile("validating"):
                record.log("validation", trainer.validate())  # what learning starts from
        for losses in trainer.steps():
            bar.show(losses)
            record.log("train", losses)
            if trainer.step % every == 0 or trainer.step == last:
                with bar.meanwhile("validating"):
                    record.keep(trainer.validate())
            if trainer.world.agree(flag=bool(signalled)) and trainer.step < last:
                record.save()
                raise Stopped(f"stopped at step {trainer.step} of {last}; run again to go on")


class Record:
    """What is written of a run: by its first process, by no other."""

    def __init__(self, trainer: Trainer, folder: Path) -> None:
        """Open the log of a run that goes on: what a killed one wrote later is cut."""
        self._trainer, self._folder = trainer, folder
        self._file, self._board = None, None
        if trainer.world.rank:
            return
        if (folder / LOG).exists():
            with fresh_file(folder / LOG) as partial:
                partial.write_text("".join(_lines_until(trainer.step, folder / LOG)))
        self._file = (folder / LOG).open("a")
        self._board = _board(folder) if trainer.config.run.tensorboard else None

    def log(self, kind: str, losses: Mapping[str, float]) -> None:
        """Add the losses of a step, ``"train"``, or of a ``"validation"``."""
        if self._file is None:
            return
        step = self._trainer.step
        line = {"kind": kind, "step": step, "time": round(time.time(), 3), **losses}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        if self._board is not None:
            for name, value in losses.items():
                self._board.add_scalar(f"{kind}/{name}", value, step)

    def keep(self, losses: Partials) -> None:
        """Log a validation, keep its weights if they are among the best, write a checkpoint."""
        self.log("validation", losses)
        if self._file is None:
            return
        trainer = self._trainer
        save_model(
            trainer.best_model,
            self._folder / BEST / f"{trainer.step:07d}.safetensors",
            overwrite=True,
            metadata={
                "validation_loss": losses["total"],
                "step": trainer.step,
                "training": as_tree(trainer.config),
            },
        )
        for path in ranked(self._folder)[trainer.config.run.keep :]:
            path.unlink()
            path.with_suffix(".json").unlink()
        self.save()

    def save(self) -> None:
        """Write what a rerun goes on from, whole or not at all."""
        if self._file is not None:
            with fresh_file(self._folder / LAST) as partial:
                torch.save(self._trainer.state(), partial)

    def close(self) -> None:
        """Close the log."""
        for file in (self._file, self._board):
            if file is not None:
                file.close()


def _lines_until(reached: int, path: Path) -> Iterator[str]:
    for line in path.read_text().splitlines(keepends=True):
        with contextlib.suppress(json.JSONDecodeError):  # half a line
            if reached and json.loads(line)["step"] <= reached:
                yield line


def _board(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise OptionError(
            "run.tensorboard needs TensorBoard: pip install 'tamrf-xr[train]', or set it to false"
        ) from error
    return SummaryWriter(str(folder))


def ranked(folder: Path) -> list[Path]:
    """Return the weights kept of a run, best first."""

    def loss_of(path: Path) -> float:
        written = json.loads(path.with_suffix(".json").read_text())
        loss = float(written["metadata"]["validation_loss"])
        return math.inf if math.isnan(loss) else loss

    # Weights are written before the JSON beside them: those of a killed run may lack it.
    whole = [
        path for path in (folder / BEST).glob("*.safetensors") if path.with_suffix(".json").exists()
    ]
    return sorted(whole, key=loss_of)


def best_of(folder: Path) -> Path:
    """Return the best weights of a run.

    Raises
    ------
    SourceNotFoundError
        If there are none yet.
    """
    kept = ranked(folder)
    if not kept:
        raise SourceNotFoundError(f"no weights in {folder / BEST} yet: no validation was reached")
    return kept[0]


@contextlib.contextmanager
def _signals() -> Iterator[list[int]]:
    """Collect signals that ask to stop, instead of dying of them."""
    came: list[int] = []
    before = {
        sign: signal.signal(sign, lambda number, _: came.append(number))
        for sign in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
    }
    try:
        yield came
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler)


class StepBar:
    """Shows steps and their rate, without what is done between them."""

    def __init__(self, bar: Any) -> None:
        """Take a bar of tqdm."""
        self._bar = bar
        self._smooth: float | None = None

    def show(self, losses: Partials) -> None:
        """Count a step, and show its loss, smoothed."""
        total = losses["total"]
        self._smooth = total if self._smooth is None else 0.98 * self._smooth + 0.02 * total
        self._bar.set_postfix_str(f"loss {self._smooth:.4f}", refresh=False)
        self._bar.update()

    @contextlib.contextmanager
    def meanwhile(self, what: str) -> Iterator[None]:
        """Name what is done between steps, and keep its time out of theirs."""
        if self._bar.disable:
            yield
            return
        start = time.time()
        self._bar.set_description_str(what)
        yield
        # As tqdm's own `unpause`, which forgets the steps since it last printed, too.
        spent = time.time() - start
        self._bar.start_t += spent
        self._bar.last_print_t += spent
        self._bar.set_description_str("")


@contextlib.contextmanager
def step_bar(trainer: Trainer, *, shown: bool) -> Iterator[StepBar]:
    """Show a bar of the steps of a run."""
    from tqdm.auto import tqdm

    steps = trainer.config.optim.steps
    with tqdm(total=steps, initial=trainer.step, unit="step", disable=not shown) as bar:
        yield StepBar(bar)


def try_out(config: TrainConfig) -> str:
    """Take two steps, keep nothing, and tell shapes, memory and time of a step.

    Returns
    -------
    str
        Lines for a person to read.
    """
    device = own_device(config.run.device)
    trainer = _trainer(replace(config, optim=replace(config.optim, steps=2)), device, World())
    patches, cubes = trainer.patches[0].patches, find_cubes(config.data.cubes)
    lines = [
        f"{len(cubes)} cubes, {sum(p.numel() for p in trainer.model.parameters()):,} parameters",
        *(f"{name}: {tuple(p.pixels.shape)} (date, band, y, x)" for name, p in patches.items()),
    ]
    start = time.perf_counter()
    for losses in trainer.steps():
        values = ", ".join(f"{name} {value:.3g}" for name, value in losses.items())
        lines.append(f"step {trainer.step}, {time.perf_counter() - start:.2f} s: {values}")
        start = time.perf_counter()
    return "\n".join([*lines, f"memory: {_memory(device):.2f} GiB"])


def _memory(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
