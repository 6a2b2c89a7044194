"""What a training step of the paper's patches gains by not predicting the border no loss sees.

``python -m benchmarks.training_border`` takes minutes on two cores: steps with and without the
border in turn, on the same samples. Of 16 dates, not 50, which take more than 24 GiB with the
border; the perceptual loss is ``smooth_l1``, which needs no file.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from unittest import mock

import torch

import tamrf_xr
from benchmarks.harness import Row, finish, parse
from benchmarks.scenes import cloudless_cube
from tamrf_xr.training import trainer as loop
from tamrf_xr.training.data import Sample
from tamrf_xr.training.losses import spare_border
from tamrf_xr.training.recipes import recipe
from tamrf_xr.training.run import build
from tamrf_xr.training.setting import override


def main(arguments: list[str] | None = None) -> Row:
    """Measure, print, keep."""
    options = parse(__doc__, arguments, samples=(3, 1))
    words = ["loss.perceptual=smooth_l1", "data.dates=16"]
    if options.tiny:
        words += ["data.patch_m=600", "data.dates=4", "model.latent=8", "model.growth=4"]
    config = override(recipe("published"), words)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cube.zarr"
        tamrf_xr.save_cube(cloudless_cube((165, 165), hr=36, lr=24), path)
        cubes = [tamrf_xr.open_cube(path)]
        trainer = loop.Trainer(
            config, cubes, build(config, cubes, torch.device("cpu")), loop.World()
        )
        samples = [trainer.patches[number] for number in range(options.samples)]
    seconds = [(step(trainer, sample, whole=True), step(trainer, sample)) for sample in samples]
    whole, spared = (statistics.median(times) for times in zip(*seconds, strict=True))
    figures = {
        "patch_px": config.data.patch_m // 10,
        "spare_px": spare_border(config.loss, trainer.tools),
        "whole_s": whole,
        "spared_s": spared,
        "ratio": statistics.median(one / other for one, other in seconds),
    }
    print(
        f"a step of {figures['patch_px']} px: {whole:.1f} s with the border, {spared:.1f} s "
        f"without {figures['spare_px']} px of it, {figures['ratio']:.2f} times as fast"
    )
    return finish("training-border", figures, options)


def step(trainer: loop.Trainer, sample: Sample, *, whole: bool = False) -> float:
    """Return the seconds of one loss and its gradients."""
    spare = (lambda *_: 0) if whole else spare_border
    start = time.perf_counter()
    with mock.patch.object(loop, "spare_border", spare):
        trainer.loss(trainer.model.train(), sample)[0].backward()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
