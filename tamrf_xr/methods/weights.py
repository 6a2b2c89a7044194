"""Methods whose weights users bring: where these come from, their checks, plan and fuser."""

from __future__ import annotations

import hashlib
import os
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from tamrf_xr.errors import ModelError, OptionError, SourceNotFoundError
from tamrf_xr.fuser import Cost, FuserSpec, Pixels, Scene
from tamrf_xr.methods.daily import DailyFuser
from tamrf_xr.methods.pairing import check_needs, lacks_panchromatic
from tamrf_xr.methods.registry import Bands, Request
from tamrf_xr.model.device import DEVICE as DEVICE
from tamrf_xr.model.device import resolve_device
from tamrf_xr.paths import local_path

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module


@dataclass(frozen=True, slots=True)
class Brought:
    """A method whose weights users bring: what its plan needs to know of it."""

    method: str
    """Name in the registry."""

    published: str
    """Where its authors publish weights."""

    needs: Mapping[str, Sequence[str]]
    """Per sensor, bands; all of them are needed."""

    makes: Bands
    """Bands that come out."""

    panchromatic: bool = False
    """Whether it needs the panchromatic band."""

    def check(self, request: Request) -> None:
        """Check that a cube has what is needed, and that nothing but float32 is asked.

        Raises
        ------
        MethodError
            If a sensor, a band or the panchromatic one is missing.
        OptionError
            If another precision is asked.
        """
        check_needs(self.method, request, self.needs)
        if self.panchromatic and request.panchromatic is False:
            raise lacks_panchromatic(self.method)
        if request.precision not in ("auto", "float32"):
            raise OptionError(
                f"method {self.method!r} computes in float32 alone, got "
                f"precision={request.precision!r}; leave it out"
            )

    def path(self, weights: Any) -> str:
        """Return the path of a file of weights that is there.

        Raises
        ------
        ModelError
            If no path is given.
        SourceNotFoundError
            If there is no such file.
        """
        if not isinstance(weights, str | os.PathLike) or not str(weights):
            raise ModelError(
                f"method {self.method!r} needs weights, and no path of a file is given: none ship "
                f"with the package; {self._way_out()}"
            )
        path = local_path(weights, "weights")
        if not path.is_file():
            raise SourceNotFoundError(
                f"the weights of method {self.method!r} are not at {path}; {self._way_out()}"
            )
        return str(path.resolve())

    def _way_out(self) -> str:
        return (
            f"they are published at {self.published}; pass method_options={{'weights': PATH}} "
            "(--option weights=PATH)"
        )


class BroughtFuser(DailyFuser):
    """Base of such methods: a method says what it is `of`, and writes `read` to `answer`."""

    of: ClassVar[Brought]

    @classmethod
    def plan(cls, request: Request) -> FuserSpec:
        """Return the recipe.

        Raises
        ------
        MethodError
            If a sensor, one of the bands or the panchromatic one is missing.
        ModelError, SourceNotFoundError
            If there are no weights, or they are of another network.
        OptionError
            If an option has no meaning, or something else than float32 is asked.
        """
        from tamrf_xr.model.foreign import settled

        cls.of.check(request)
        chosen = cls.chosen(request.options)
        brought = cls.files(request.options["weights"])
        paths = tuple(settled(path) for path in brought)
        halo, per_pixel = cls.measure(cls.networks_of(paths, named=brought))
        makes, digest = request.wanted(cls.of.makes), digest_of(*paths)
        options = {"weights": paths, "digest": digest, "device": request.device, **chosen}
        source = {"weights": os.pathsep.join(brought), "weights_sha256": digest_of(*brought)}
        return FuserSpec(
            method=cls.of.method,
            factory=f"{cls.__module__}:{cls.__qualname__}",
            makes=tuple(makes.items()),
            halo=tuple(halo.items()),
            options=tuple(options.items()),
            cost=Cost(
                fixed=1e8 + sum(Path(path).stat().st_size for path in paths),
                per_date={name: 4.0 * len(bands) for name, bands in request.given.items()},
                per_query=4.0 * sum(map(len, makes.values())),
                per_pixel=per_pixel,
            ),
            at_once=2,
            computing=1,  # the other reads
            panchromatic=cls.of.panchromatic,
            prepare="tamrf_xr.model.device:use_cores",
            provenance=(*source.items(), *chosen.items()),
        )

    @classmethod
    def files(cls, asked: Any) -> tuple[str, ...]:
        """Return the files of weights, each of one network."""
        return (cls.of.path(asked),)

    @classmethod
    def chosen(cls, options: Mapping[str, Any]) -> dict[str, str]:
        """Return what is chosen beside the weights: arguments of the class, and provenance."""
        del options
        return {}

    @staticmethod
    @abstractmethod
    def read(tensors: Mapping[str, Tensor], *, where: str) -> Any:
        """Build a network around tensors; ModelError, naming `where`, if they are of another."""

    @staticmethod
    @abstractmethod
    def measure(networks: Sequence[Any]) -> tuple[dict[str, int], float]:
        """Return halos per sensor, in its pixels, and the bytes that networks take a fine pixel."""

    def __init__(self, makes: Bands, *, weights: tuple[str, ...], digest: str, device: str) -> None:
        """Load the networks, checked to be those planned, onto a device."""
        super().__init__(makes)
        check_unchanged(weights, digest)
        self.device = resolve_device(device)
        self.networks = [network.to(self.device) for network in self.networks_of(weights)]

    @classmethod
    def networks_of(cls, paths: tuple[str, ...], named: tuple[str, ...] = ()) -> list[Any]:
        """Read one network per file, which messages call as it is `named`."""
        from tamrf_xr.model.foreign import read_tensors

        names = zip(paths, named or paths, strict=True)
        return [cls.read(read_tensors(path), where=name) for path, name in names]

    def sharp(self, landsat: Scene) -> Pixels:
        """Return the panchromatic image.

        Raises
        ------
        MethodError
            If there is none.
        """
        if landsat.panchromatic is None:
            raise lacks_panchromatic(self.of.method)
        return landsat.panchromatic

    def tensor(self, values: npt.NDArray[Any]) -> Tensor:
        """Bring an array to the device, zero where there is no data."""
        import torch

        return torch.from_numpy(np.nan_to_num(values, nan=0.0)).to(self.device)


def digest_of(*paths: str) -> str:
    """Return the SHA-256 of files, one after the other, in hexadecimal."""
    total = hashlib.sha256()
    for path in paths:
        with Path(path).open("rb") as file:
            while block := file.read(2**20):
                total.update(block)
    return total.hexdigest()


def check_unchanged(paths: tuple[str, ...], expected: str) -> None:
    """Check that files are those that were planned with.

    Raises
    ------
    ModelError
        If one is not there, or their content has another hash.
    """
    if missing := [path for path in paths if not Path(path).is_file()]:
        raise ModelError(
            f"weights that were planned with are not here: {', '.join(missing)}; where machines "
            "share no home, write them with tamrf_xr.model.foreign.convert(SOURCE, TARGET) to a "
            "place that all of them see, and pass that"
        )
    if (digest := digest_of(*paths)) != expected:
        raise ModelError(
            f"{', '.join(paths)} has changed since the product was planned: sha256 "
            f"{digest[:12]}..., expected {expected[:12]}...; plan it anew"
        )


def load(network: Callable[[], Module], tensors: Mapping[str, Tensor], *, where: str) -> Module:
    """Build a network around its state dict: for evaluation, float32, on the CPU.

    Raises
    ------
    ModelError
        If tensors are missing, of other shapes, not finite, or belong to nothing: which.
    """
    import torch

    from tamrf_xr.model.foreign import some
    from tamrf_xr.model.scrutiny import check_values

    with torch.device("meta"):
        built = network()
    expected = built.state_dict()
    if missing := [name for name in expected if name not in tensors]:
        raise ModelError(f"{where} lacks {some(missing)}: it is of another network")
    if foreign := [name for name in tensors if name not in expected]:
        raise ModelError(f"{where} has {some(foreign)} too: it is of another network")
    for name, like in expected.items():
        if tensors[name].shape != like.shape:
            raise ModelError(
                f"{where}: {name} has shape {tuple(tensors[name].shape)}, expected "
                f"{tuple(like.shape)}: it is of another network"
            )
    check_values({name: tensors[name] for name in expected}, where=where)
    built.load_state_dict({name: tensors[name].float() for name in expected}, assign=True)
    return built.eval().requires_grad_(False)
