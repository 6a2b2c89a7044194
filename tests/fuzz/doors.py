"""Bad values for every door of the package: the command line, Python, files."""

from __future__ import annotations

import json
import struct
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

HUGE = "1" + "0" * 12
NUMBERS = ("", "abc", "-1", "nan", "inf", "1e12", HUGE, "1.5", "²", "[1]", "9" * 400, "☃", "None")
"""None of them is a count of anything."""

NAMES = ("", "☃", "a" * 5000, "../x", "nul\0", "{}")
PATHS = (
    "",
    "nowhere",
    "nowhere/below/it",
    "/dev/null",
    "s3://bucket/key",
    "http://localhost:1/x",
    "file://elsewhere/x",
    "~nobody-here/x",
    "a" * 5000,
    "nul\0",
    "☃",
    "BASE/binary",
    "BASE/text.txt",
    "BASE/folder",
    "BASE/empty",
    "BASE/bomb.yaml",
    "BASE",
)
"""No cube, no weights, no configuration lies there. BASE stands for the folder of inputs."""

OUTPUTS = (
    "",
    "nowhere/below/it",
    "BASE/text.txt",
    "s3://bucket/key",
    "nul\0",
    "a" * 5000,
    "x" * 300,
)
TIMES = ("", "soon", "0", "-5D", "1s", "P0D", "1M", "nan", "inf", "1e400", "☃", HUGE, "NaT", "[]")
DATES = (
    "",
    "soon",
    "2022",
    "2022-13-01",
    "2022-02-30",
    "NaT",
    "0",
    "1e12",
    "☃",
    "9999-12-31T23:59:59",
    "0001-01-01",
    "2022-01-01/2022-12-31/1s",
    "2022-01-01/2022-12-31/0D",
    "2022-01-01/2022-12-31/-1D",
    "2022-01-01/2022-12-31",
    "2022-01-01/",
    "////",
    "1700-01-01/2262-01-01/1D",
    "2022-01-01/2022-12-31/P1e12D",
    "2022-01-01/2022-12-31/" + "P" * 3000,
)
DEVICES = ("", "gpu", "cuda:x", "cuda:99", "tpu", "meta", "☃", "cpu:1e12")
OPTIONS = ("", "=", "x", "x=1", "=1", "x=[", "☃=2022-13-45", "x=!!python/name:os.system", "a.b=1")


@dataclass(frozen=True)
class Case:
    """One bad value at one door."""

    name: str
    call: Callable[[Path], Any]
    """Given the folder of inputs; the working folder is one of its own."""
    may_pass: bool = False
    """Whether the value may as well be taken."""
    may_leave: bool = False
    """Whether a job that a rerun goes on with may be left."""


def _based(word: str, base: Path) -> str:
    return word.replace("BASE", str(base))


def _cli(words: tuple[str, ...]) -> Case:
    may_pass = "nowhere/below/it" in words[1:3] or "nowhere/below/it" in words[3:4]

    def call(base: Path) -> Any:
        from tamrf_xr.cli import main

        return main([_based(word, base) for word in words])

    return Case("tamrf-xr " + " ".join(word[:60] for word in words), call, may_pass)


def _train(words: tuple[str, ...], *, may_pass: bool = False) -> Case:
    def call(base: Path) -> Any:
        from tamrf_xr.train import main

        return main([_based(word, base) for word in words])

    return Case("train " + " ".join(word[:60] for word in words), call, may_pass)


FUSE = ("BASE/scene.zarr", "out.zarr", "--dates", "2022-01-20", "--quiet")
LINEAR = ("--method", "linear")
EVALUATE = ("BASE/scene.zarr", "--task", "gap-filling", "--out", "report", "--margin", "0")


def command_line() -> Iterator[Case]:
    """Every option of every command."""
    yield from _of_fuse()
    yield from _of_coregister()
    yield from _of_alerts()
    yield from _inputs()
    yield from _outputs()
    yield from _of_simulate()
    yield from _numbers()
    yield from _of_evaluate()
    yield from _of_stac()
    yield from _of_export()
    yield from _of_others()
    for words in ((), ("☃",), ("fuse",), ("fuse", "--dates"), ("weights",), ("ingest", "x")):
        yield _cli(words)


def _of_fuse() -> Iterator[Case]:
    for option, values, more in (
        ("--dates", DATES, LINEAR),
        ("--window", TIMES[:8] + TIMES[9:], LINEAR),
        ("--same-day", [time for time in TIMES if time != "1s"], LINEAR),
        ("--latency", TIMES, LINEAR),
        ("--origin", DATES[:11], LINEAR),
        ("--tile", NUMBERS[:6] + NUMBERS[7:] + ("0", "True"), LINEAR),
        ("--workers", (*NUMBERS, "0"), LINEAR),
        ("--method", NAMES, ()),
        ("--sensors", NAMES, LINEAR),
        ("--bands", NAMES, LINEAR),
        ("--option", OPTIONS, LINEAR),
        ("--model", PATHS, ()),
        ("--device", DEVICES, ()),
        ("--precision", ("", "float8", "☃"), ()),
        ("--cluster", PATHS, LINEAR),
        ("--indices", NAMES, LINEAR),
        ("--statistics", NAMES, LINEAR),
        ("--period", NAMES, LINEAR),
    ):
        for value in values:
            yield _cli(("fuse", *FUSE, *more, f"{option}={value}"))


def _of_coregister() -> Iterator[Case]:
    for option, values in (
        ("--block", (*NUMBERS[:7], "0", "2 miles", "1m")),
        ("--most-px", (*NUMBERS, "0")),
        ("--bands", NAMES),
    ):
        for value in values:
            yield _cli(("coregister", "BASE/scene.zarr", "out.zarr", f"{option}={value}"))


def _of_alerts() -> Iterator[Case]:
    for option, values in (
        ("--since", (*DATES[:11], "1999-01-01", "2099-01-01")),
        ("--until", (*DATES[:11], "1999-01-01")),
        ("--threshold", ("", "abc", "-1", "0", "nan", "inf", "9" * 400, "☃")),
        ("--persistence", (*NUMBERS, "0")),
        ("--latency", (*TIMES, "1h")),
        ("--window", TIMES[:8]),
        ("--bands", NAMES),
        ("--model", PATHS),
        ("--device", DEVICES),
    ):
        more = () if option == "--since" else ("--since=2022-02-12",)
        more += () if option == "--latency" else ("--latency=5D",)
        for value in values:
            yield _cli(("alerts", "BASE/scene.zarr", "out.zarr", *more, f"{option}={value}"))


def _inputs() -> Iterator[Case]:
    for path in PATHS:
        yield _cli(("fuse", path, *FUSE[1:], *LINEAR))
        yield _cli(("info", path))
        yield _cli(("coregister", path, "out.zarr"))
        yield _cli(("alerts", path, "out.zarr", "--quiet"))
        yield _cli(("update", path, "--input", "BASE/scene.zarr", "--quiet"))
        yield _cli(("update", "BASE/scene.zarr", "--input", path, "--quiet"))
        yield _cli(("ingest", "ls2s2", path, "out.zarr", "--quiet"))
        yield _cli(("quicklook", path, "BASE/scene.zarr", "out.png"))
        yield _cli(("weights", "convert", path, "out.safetensors"))
        yield _cli(("weights", "convert", "BASE/small.ckpt", "out.safetensors", f"--config={path}"))
        yield _cli(("adapt", path, "out.safetensors", "--quiet"))
        yield _cli(("adapt", "BASE/scene.zarr", "out.safetensors", "--quiet", f"--model={path}"))
        yield _cli(("evaluate", path, *EVALUATE[1:], "--quiet"))


def _outputs() -> Iterator[Case]:
    for path in OUTPUTS:
        yield _cli(("fuse", FUSE[0], path, *FUSE[2:], *LINEAR))
        if path != "BASE/text.txt":  # what exists is skipped, whatever it is
            yield _cli(("ingest", "ls2s2", "BASE/area", path, "--quiet"))
        yield _cli(("simulate", path, "--size", "30"))
        yield _cli(("coregister", "BASE/scene.zarr", path))
        yield _cli(("alerts", "BASE/scene.zarr", path, "--quiet"))
        yield _cli(("quicklook", "BASE/scene.zarr", "BASE/scene.zarr", path))
        yield _cli(("weights", "convert", "BASE/small.ckpt", path))
        yield _cli(("adapt", "BASE/scene.zarr", path, "--quiet"))
    for path in ("", "BASE/text.txt", "s3://bucket/key", "nul\0"):
        yield _cli(("evaluate", "BASE/scene.zarr", *EVALUATE[1:3], f"--out={path}", "--quiet"))


def _of_simulate() -> Iterator[Case]:
    for option in ("--size", "--year", "--seed"):
        values = NUMBERS if option != "--seed" else (*NUMBERS[:6], "1.5")
        for value in values:
            yield _cli(("simulate", "out.zarr", f"{option}={value}"))
    for option in ("--scenes", "--workers"):
        for value in ("", "-1", "nan", "abc", "0"):
            yield _cli(("simulate", "out", "--size", "30", "--scenes", "1", f"{option}={value}"))
    for value in ("", "tundra", "rice=", "rice=nan", "rice=-1", "rice=0", "=1"):
        yield _cli(("simulate", "out.zarr", "--size", "30", "--biome", value))
    for value in DATES[:11]:
        words = ("simulate", "out.zarr", "--size", "30", "--truth", "truth.zarr")
        yield _cli((*words, f"--dates={value}"))


def _numbers() -> Iterator[Case]:
    for value in (*NUMBERS, "0"):
        yield _cli(
            ("quicklook", "BASE/scene.zarr", "BASE/scene.zarr", "o.png", f"--columns={value}")
        )
        yield _cli(("adapt", "BASE/scene.zarr", "o.safetensors", f"--steps={value}"))
        if value not in ("1.5",):
            yield _cli(("adapt", "BASE/scene.zarr", "o.safetensors", f"--lr={value}"))
        if value not in ("0",):
            yield _cli(("evaluate", *EVALUATE, f"--viewer-dates={value}"))
            yield _cli(("evaluate", *EVALUATE[:-2], f"--margin={value}"))
        yield _cli(("evaluate", *EVALUATE, f"--gap-days={value}"))


def _of_evaluate() -> Iterator[Case]:
    for option, values in (
        ("--task", NAMES),
        ("--methods", NAMES[1:]),
        ("--metrics", NAMES[1:]),
        ("--strategy", NAMES),
        ("--option", OPTIONS),
        ("--window", [time for time in TIMES[:8] if time != "1s"]),
        ("--device", DEVICES),
        ("--pivot-day", NUMBERS[:2]),
        ("--seed", NUMBERS[:6]),
    ):
        more = ("--strategy", "RANDOM") if option == "--seed" else ()
        extra = ("--methods", "tamrf") if option == "--device" else ("--methods", "linear")
        words = EVALUATE if option == "--methods" else (*EVALUATE, *extra)
        for value in values:
            yield _cli(("evaluate", *words, *more, "--quiet", f"{option}={value}"))


STAC = ("ingest", "stac", "--catalog=earth-search", "--url=http://localhost:1", "--retries=0")
"""Nobody answers there."""


def _of_stac() -> Iterator[Case]:
    for path in PATHS:
        yield _cli((*STAC, f"--aoi={path}", "--datetime=2022-01-01/2022-12-31", "out.zarr"))
    for path in OUTPUTS:
        yield _cli((*STAC, "--aoi=BASE/aoi.json", path))
    for option, values in (
        ("--catalog", NAMES),
        ("--collections", NAMES),
        ("--crs", NAMES),
        ("--datetime", DATES),
        ("--harmonized", NAMES),
        ("--max-cloud", NUMBERS),
        ("--retries", NUMBERS),
        ("--url", PATHS),
        ("--workers", (*NUMBERS, "0")),
    ):
        for value in values:
            yield _cli((*STAC, "--aoi=BASE/aoi.json", f"{option}={value}", "out.zarr"))


EXPORT = ("export", "cog", "BASE/scene.zarr", "cogs", "--quiet")


def _of_export() -> Iterator[Case]:
    for option, values in (
        ("--dates", (*DATES[:14], "2022-01-01/", "////", "2000-01-01/2000-02-01")),
        ("--bands", NAMES),
        ("--sensors", NAMES),
        ("--indices", (*NAMES, ",", "NDVI,x", "NIRvP")),
        ("--workers", (*NUMBERS[:6], "0")),
    ):
        for value in values:
            yield _cli((*EXPORT, f"{option}={value}"))
    for path in PATHS:
        yield _cli(("export", "cog", path, "cogs", "--quiet"))
        yield _cli(("export", "stac", path, "catalogue"))
    for path in (*OUTPUTS[:1], *OUTPUTS[2:], "BASE/scene.zarr"):
        yield _cli(("export", "cog", "BASE/scene.zarr", path, "--quiet"))
        yield _cli(("export", "stac", "BASE/scene.zarr", path))
    for name in NAMES:
        yield _cli(("export", "indices", name))


def _of_others() -> Iterator[Case]:
    for path in PATHS:
        yield _cli(("view", path))
        yield _cli(("view", "BASE/scene.zarr", "--cube", path))
        yield _cli(("ingest", "openeo", "areas", "--aoi", path, "--mode", "extract", "--quiet"))
    for port in (*NUMBERS[:6], "0", "65536", HUGE):
        yield _cli(("view", "BASE/scene.zarr", f"--port={port}"))
    for path in ("", "BASE/text.txt", "s3://bucket/key", "nul\0"):
        yield _cli(("get", "ls2s2", path, "--quiet"))


TRAIN = {
    "model.num_layers": (*NUMBERS, "-1", "10000000"),
    "model.num_blocks": ("-1", "10000000", "1.5"),
    "model.latent": ("0", "-1", HUGE, "1.5", "x"),
    "model.ratio": ("0", HUGE),
    "model.num_heads": ("0", "7"),
    "loss.perceptual": NAMES,
    "loss.margin": ("-3", "1", "1.5", HUGE, "nan"),
    "loss.beta": ("-1", "0", "nan", "inf", "x"),
    "loss.vgg16": PATHS[1:4] + PATHS[11:14],
    "data.cubes": ("", "nowhere/*.zarr", "BASE/*.txt", "s3://x/*.zarr", "☃"),
    "data.patch_m": (*NUMBERS, "31", "30"),
    "data.dates": NUMBERS,
    "data.slice_days": ("0", "-1", HUGE, "x"),
    "data.validation_share": ("-1", "1", "2", "nan", "inf", "x"),
    "data.threads": ("0", "-1", HUGE, "x"),
    "data.turn": ("2", "x", "1.5"),
    "data.statistics": NAMES[:2],
    "masking.strategies": NAMES[:2],
    "optim.steps": (*NUMBERS, "0"),
    "optim.batch": (*NUMBERS, "0"),
    "optim.lr": ("", "abc", "-1", "nan", "inf", "1e12", "0", "☃", "1e400"),
    "optim.warmup": ("-1", "x", "nan", HUGE),
    "optim.period": ("-5", "x", "1.5", HUGE),
    "optim.floor": ("-1", "nan", "inf", "x"),
    "optim.clip": ("0", "-1", "nan", "inf", "x"),
    "optim.dropout": ("-1", "1", "2", "nan", "x"),
    "optim.average": ("2", "1", "-1", "nan", "inf", "x"),
    "run.seed": ("-1", "x", "1.5", "9" * 30),
    "run.device": DEVICES,
    "run.precision": ("float8", "☃"),
    "run.validate_every": ("0", "-1", "x"),
    "run.validation_samples": ("0", HUGE, "x"),
    "run.keep": ("0", "-1", "x"),
    "run.start": PATHS[1:4] + PATHS[11:14],
    "nothing.there": ("1",),
    "optim": ("1", "[1]"),
    "": ("1",),
}


def training() -> Iterator[Case]:
    """Every setting of a run."""
    words = ("--config-name", "quick", "data=BASE/scene.zarr", "output=run")
    for name, values in TRAIN.items():
        more = ("loss.perceptual=lpips",) if name == "loss.vgg16" else ()
        for value in values:
            yield _train((*words, *more, f"{name}={value}"))
    for path in PATHS:
        yield _train((*words, f"--config={path}"))
    for path in ("", "BASE/text.txt", "s3://bucket/key", "nul\0", "a" * 5000):
        yield _train((*words[:3], f"output={path}"))
    for name in NAMES:
        yield _train((f"--config-name={name}", *words[2:]))
    for word in ("", "=", "x", "experiment=", "experiment=☃", "optim.lr=1=2"):
        yield _train((*words, word))


def _fusing(more: dict[str, Any], job: bool) -> Case:
    def call(base: Path) -> Any:
        import tamrf_xr

        cube = tamrf_xr.open_cube(base / "scene.zarr")
        asked = {"query_dates": "2022-01-20", "method": "linear", **more}
        if job:
            options = {"progress": False, "store": "out.zarr", **asked}
            return tamrf_xr.run_job(cube, **options)
        return tamrf_xr.fuse(cube, **asked)

    return Case(f"{'run_job' if job else 'fuse'} {str(more)[:90]}", call)


def python_doors() -> Iterator[Case]:
    """What is called from Python with values of other types."""
    nan = float("nan")
    for job in (False, True):
        for name, values in {
            "query_dates": (None, 0, 1.5, nan, [], [None], {}, object(), True, b"2022", [[]], "1s"),
            "tile": (True, 0, -1, 1.5, nan, "x", None, [], 1e12),
            "window": (True, -1, nan, float("inf"), [], {}, object(), "1x", 10**30),
            "same_day": (True, -1, nan, [], None, "25h"),
            "provenance": (None, 1, "x", []),
            "indices": (1, [], [1], "NDVO", {"mars": ["NDVI"]}, {1: 2}, object()),
            "statistics": (1, [], [1], "p0", "p100", ["max", "max"], {"max": 1}),
            "period": (None, 1, "week", [], object()),
            "causal": (None, 1, "x", [], nan),
            "latency": (True, -1, nan, [], "1x", "3D"),
            "origin": (0, nan, [], ["2022-01-01", "2022-01-02"], object(), "x"),
            "method": (None, 1, [], "", object()),
            "sensors": (1, [], [1], "mars", object(), {}),
            "bands": (1, [], [1], "B99", {"mars": ["B04"]}, {1: 2}, object()),
            "method_options": ({"x": 1}, [1], 1, "x", {1: 1}),
        }.items():
            for value in values:
                yield _fusing({name: value}, job)
        for value in (None, 1, b"x", [], object(), nan):
            yield _fusing({"method": "tamrf", "model": value}, job)
        for value in (1, None, "gpu", []):
            yield _fusing({"method": "tamrf", "device": value}, job)
            yield _fusing({"method": "tamrf", "precision": value}, job)
    for value in (0, -1, 1.5, "x", nan, True, []):
        yield _fusing({"workers": value}, True)
    for value in (1, [], object(), ""):
        yield _fusing({"store": value}, True)
        yield _fusing({"cluster": value}, True)
    yield from _clusters()
    yield from _cubes()
    yield from _models()


CLUSTERS = (
    "",
    "- 1",
    "cluster: mars",
    "cluster: [local]",
    "cluster: local\naddress: x",
    "cluster: local\ncluster: local",
    "cluster: local\noptions: 3",
    "cluster: local\noptions: {n_workers: 0}",
    "cluster: local\noptions: {n_workers: -1}",
    "cluster: local\noptions: {n_workers: x}",
    "cluster: local\noptions: {threads_per_worker: 0}",
    "cluster: local\njobs: -1",
    "cluster: local\njobs: x",
    "cluster: local\ndask: 3",
    "cluster: local\nnothing: 1",
    "address: ''",
    "address: 3",
    "address: nonsense",
    "address: tcp://localhost:99999",
    "cluster: slurm\noptions: {cores: 0}",
    "cluster: slurm\noptions: {cores: x, memory: 1GB}",
    "cluster: slurm\noptions: {cores: 1, memory: nonsense}",
    "cluster: 2022-13-45",
    "a: &a [*a]",
)


def _clusters() -> Iterator[Case]:
    for text in CLUSTERS:

        def call(base: Path, text: str = text) -> Any:
            import tamrf_xr

            Path("cluster.yaml").write_text(text)
            cube = tamrf_xr.open_cube(base / "scene.zarr")
            return tamrf_xr.run_job(
                cube, "out.zarr", "2022-01-20", method="linear", cluster="cluster.yaml",
                progress=False,
            )  # fmt: skip

        yield Case(f"cluster.yaml {text!r}", call, may_leave=True)


def _cubes() -> Iterator[Case]:
    things: tuple[Any, ...] = (None, 1, "x", [], {}, np.zeros(3), np.zeros((2, 10, 4, 4)), object())
    for thing in things:
        yield Case(f"as_cube {thing!r:.40}", lambda base, t=thing: _xr().as_cube(sentinel2=t))
        yield Case(f"save_cube {thing!r:.40}", lambda base, t=thing: _xr().save_cube(t, "o.zarr"))
        yield Case(f"fuse cube {thing!r:.40}", lambda base, t=thing: _xr().fuse(t, "2022-01-20"))
        yield Case(
            f"evaluate {thing!r:.40}",
            lambda base, t=thing: _evaluate()(t, task="gap-filling", out="o", methods=["linear"]),
        )
        yield Case(f"open_cube {thing!r:.40}", lambda base, t=thing: _xr().open_cube(t))
        yield Case(f"load_model {thing!r:.40}", lambda base, t=thing: _load(t))
        if thing is not None:
            yield Case(f"clip {thing!r:.40}", lambda base, t=thing: _xr().clip(_scene(base), t))
    for box in (
        (0, 0, 0, 0),
        (float("nan"),) * 4,
        (float("inf"),) * 4,
        (1, 2, 3),
        "abcd",
        (500100, 4999900, 500000, 4999800),
        (1e12, 1e12, 2e12, 2e12),
        ("a", "b", "c", "d"),
    ):
        yield Case(f"clip {box!r:.60}", lambda base, b=box: _xr().clip(_scene(base), b))
    for name, values in {"chunk": (0, -3, 1, 1.5, "x", True, 10**12), "overwrite": ()}.items():
        for value in values:
            yield Case(
                f"save_cube {name}={value!r}",
                lambda base, n=name, v=value: _xr().save_cube(_scene(base), "o.zarr", **{n: v}),
            )


def _models() -> Iterator[Case]:
    for name in ("layers", "deep", "long", "empty", "none", "list", "nan", "zip"):
        yield Case(
            f"load_model {name}.safetensors", lambda base, n=name: _load(base / f"{n}.safetensors")
        )
        yield Case(f"load_model {name}.ckpt", lambda base, n=name: _load(base / f"{n}.ckpt"))
    for text in ("", "- 1", "a: 1\na: 2", "[" * 2000, "x: 2022-13-45", "training_module: 3"):

        def call(base: Path, text: str = text) -> Any:
            Path("c.yaml").write_text(text)
            return _load(base / "small.ckpt", "c.yaml")

        yield Case(f"load_model config {text[:30]!r}", call, may_pass=text.startswith("training"))
    for value in (1, [], object(), "nowhere.yaml", {1: 2}):
        yield Case(
            f"load_model config {value!r:.30}",
            lambda base, v=value: _load(base / "small.ckpt", v),
            may_pass=isinstance(value, dict),
        )


def _xr() -> Any:
    import tamrf_xr

    return tamrf_xr


def _evaluate() -> Any:
    from tamrf_xr.evaluation.protocol import evaluate

    return evaluate


def _scene(base: Path) -> Any:
    return _xr().open_cube(base / "scene.zarr")


def _load(*words: Any) -> Any:
    from tamrf_xr.model.checkpoint import load_model

    return load_model(*words)


def every_case() -> list[Case]:
    """Return all, in an order that does not change."""
    return [*command_line(), *training(), *python_doors()]


def write_inputs(base: Path) -> None:
    """Write what cases refer to as BASE."""
    import shutil

    import tamrf_xr
    from tests.scenes import random_cube

    tamrf_xr.save_cube(random_cube((36, 45), hr=8, lr=8), base / "scene.zarr")
    small = Path(__file__).resolve().parents[1] / "data" / "oracle_small" / "checkpoint.ckpt"
    shutil.copy(small, base / "small.ckpt")
    (base / "binary").write_bytes(bytes(range(256)) * 100)
    (base / "text.txt").write_text("just text\n")
    (base / "empty").write_bytes(b"")
    aoi = {"aoi": [0, 45, 0.1, 45.1], "start_date": "2022-01-01", "end_date": "2022-12-31"}
    (base / "aoi.json").write_text(json.dumps(aoi))
    for folder in ("folder", "area/sentinel2"):
        (base / folder).mkdir(parents=True)
    (base / "area/sentinel2/index.csv").write_bytes(bytes(range(256)))
    levels = "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12))
    (base / "bomb.yaml").write_text(f"a0: &a0 [x]\n{levels}optim: *a11\ncluster: *a11\n")
    _write_models(base)


def _write_models(base: Path) -> None:
    sizes = {
        "hr_bands": 10, "lr_bands": 8, "latent": 16, "growth": 8, "num_blocks": 1,
        "positional": 16, "sensor_token": 4, "num_heads": 2, "decoder_heads": 2,
        "num_layers": 10**7, "feedforward": 48, "decoder_feedforward": 256, "ratio": 3,
    }  # fmt: skip
    headers: dict[str, bytes] = {
        "layers": _header({"format": 1, "config": sizes, "metadata": {}}),
        "deep": _header("[" * 50_000),
        "empty": b"",
        "none": b"{}",
        "list": b"[1, 2]",
        "nan": b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, NaN]}}',
    }
    for name, header in headers.items():
        data = struct.pack("<Q", len(header)) + header
        (base / f"{name}.safetensors").write_bytes(data)
        (base / f"{name}.ckpt").write_bytes(data)
    (base / "long.safetensors").write_bytes(struct.pack("<Q", 2**63) + b"{}")
    (base / "long.ckpt").write_bytes(b"PK\x03\x04" + b"\0" * 100)
    for path in (base / "zip.safetensors", base / "zip.ckpt"):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a/data.pkl", b"\x80\x02cos\nsystem\n.")


def _header(ours: Any) -> bytes:
    text = ours if isinstance(ours, str) else json.dumps(ours)
    return json.dumps({"__metadata__": {"tamrf_xr": text}}).encode()
