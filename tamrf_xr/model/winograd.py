"""3 x 3 convolutions in float32 on a CPU with half the products.

Winograd's F(4, 3) [1]_ down the rows of an image: four rows of output are made of six products
where twelve would do it plainly; the three columns of a kernel are added afterwards. Each of the
six is a matrix product with 3 C' rows, which BLAS computes at a higher rate than a convolution to
few channels. Numbers differ from those of a plain convolution by rounding, 1e-6 of the largest.

An array here is a plane: (4, C, (groups + 2) columns). A group is four rows of the image, of which
the first index tells one; a row has a column of zeros after its last pixel, which is the padding of
both its ends and of the next row's; before the first group and after the last one is of zeros.

C channels in, C' out, L latent, w columns of the image, n = groups x (w + 1) of a strip.

References
----------
.. [1] Lavin and Gray, "Fast algorithms for convolutional neural networks", CVPR 2016, section 4.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

from tamrf_xr.model.encoders import SLOPE

ROWS: Final = 4
"""Of a group."""

POINTS: Final = 6
"""Products that make them."""

INTO: Final = torch.tensor(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ],
    dtype=torch.float64,
)
"""Six rows of input, a group and its neighbours, to what is multiplied: at 0, 1, -1, 2, -2, inf."""

KERNEL: Final = torch.tensor(
    [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ],
    dtype=torch.float64,
)
"""Three rows of a kernel to what they are multiplied with."""

BACK: Final = torch.tensor(
    [
        [1, 1, 1, 1, 1, 0],
        [0, 1, -1, 2, -2, 0],
        [0, 1, 1, 4, 4, 0],
        [0, 1, -1, 8, -8, 1],
    ],
    dtype=torch.float64,
)
"""Six products to four rows of output."""

FLOATS: Final[dict[str, Any]] = {"dtype": torch.float32, "device": "cpu"}
"""Whatever the process takes by default."""

_GROUP: Final = INTO[:, 1:5].float().contiguous()
_BACK_OF_COLUMNS: Final = BACK.repeat_interleave(3, dim=1).float()

LENGTH: Final = 3
"""Strips that fit a window of a wave, beside the groups that are kept."""

_SPACE: Final = 3
"""Numbers between two products, so that each column of each kernel is a row of one matrix."""


@dataclass(frozen=True, slots=True)
class Grid:
    """How the rows and columns of an image lie in a plane."""

    height: int
    width: int

    start: int = 0
    """Rows of the first group that are above the image."""

    @property
    def groups(self) -> int:
        """Of four rows, the first and the last perhaps of fewer."""
        return -(-(self.start + self.height) // ROWS)

    @property
    def columns(self) -> int:
        """Of a row, with the one of zeros."""
        return self.width + 1

    def strips(self, groups: int) -> Iterator[tuple[int, int]]:
        """Cut the image into strips of so many groups."""
        return ((a, min(a + groups, self.groups)) for a in range(0, self.groups, groups))

    def at(self, a: int, b: int) -> slice:
        """Return where groups a to b are in a plane whose first group is number -1."""
        return slice((a + 1) * self.columns, (b + 1) * self.columns)

    def plane(self, channels: int) -> Tensor:
        """Return a plane of zeros."""
        return torch.zeros(ROWS, channels, (self.groups + 2) * self.columns, **FLOATS)

    def fill(self, plane: Tensor, image: Tensor) -> None:
        """Copy an image (C, h, w) into a plane."""
        rows = plane.unflatten(-1, (-1, self.columns))[..., 1:-1, : self.width]
        for index, groups, seen in self._rows(0, self.groups):
            rows[index, :, groups] = image[:, seen]

    def spread(self, rows: Tensor, at: tuple[int, int], out: Tensor) -> None:
        """Copy groups (4, C, n) into an image (h, w, C)."""
        groups_4gwC = rows.unflatten(-1, (-1, self.columns))[..., : self.width].permute(0, 2, 3, 1)
        for index, groups, seen in self._rows(*at):
            out[seen] = groups_4gwC[index, groups.start - at[0] : groups.stop - at[0]]

    def pad(self, rows: Tensor, at: tuple[int, int]) -> None:
        """Set what is not of the image to zero, of groups (4, C, n)."""
        rows.unflatten(-1, (-1, self.columns))[..., -1] = 0
        if at[0] == 0 and self.start:
            rows[: self.start, :, : self.columns] = 0
        if at[1] == self.groups and (stop := (self.start + self.height) % ROWS):
            rows[stop:, :, -self.columns :] = 0

    def _rows(self, a: int, b: int) -> Iterator[tuple[int, slice, slice]]:
        """Tell, of the first, second ... rows of groups a to b, which are of the image, and where.

        Yields
        ------
        tuple
            Which row of a group, groups, and rows of the image.
        """
        for index in range(ROWS):
            first = a if ROWS * a + index >= self.start else a + 1
            row = ROWS * first + index - self.start
            count = max(min(b - first, -(-(self.height - row) // ROWS)), 0)
            yield index, slice(first, first + count), slice(row, row + ROWS * count, ROWS)


class RowConvolution:
    """A 3 x 3 convolution of what `Window.transform` made."""

    def __init__(self, conv: nn.Conv2d) -> None:
        exact = conv.weight.detach().cpu().double()
        self.inputs, self.outputs = conv.in_channels, conv.out_channels
        by_column = torch.einsum("pr,oirk->pkoi", KERNEL, exact)
        self.weight = by_column.flatten(1, 2).float().contiguous()  # (6, 3 C', C)
        bias = torch.zeros(self.outputs, **FLOATS) if conv.bias is None else conv.bias.detach()
        self.bias = bias.cpu().float()[:, None].clone()

    def __call__(self, transformed: Tensor, scratch: Scratch) -> Tensor:
        """Convolve (6, C, n) into rows (4, C', n), whose columns beyond the image mean nothing."""
        n, count = transformed.shape[2], self.outputs
        flat, each = scratch.products, 3 * count * n
        products = flat.as_strided((POINTS, 3 * count, n), (each + _SPACE, n, 1), 1)
        torch.bmm(self.weight, transformed, out=products)
        products[1, count : 2 * count].add_(self.bias)  # enters all four rows once
        flat[0] = 0
        flat.as_strided((POINTS, _SPACE), (each + _SPACE, 1), 1 + each).zero_()
        # column k of product p, moved by k - 1 pixels, is row 3 p + k of this
        columns = flat.as_strided((3 * POINTS, count * n), (count * n + 1, 1), 0)
        rows = scratch.rows[: ROWS * count * n].view(ROWS, count * n)
        torch.mm(_BACK_OF_COLUMNS, columns, out=rows)
        return rows.view(ROWS, count, n)


@dataclass(frozen=True, slots=True)
class Scratch:
    """Memory of one convolution."""

    products: Tensor
    """Of the six products."""

    rows: Tensor
    """Of the four rows that come of them."""

    @classmethod
    def of(cls, outputs: int, n: int) -> Scratch:
        """Return as much as so many channels of so many pixels need."""
        products = torch.empty(1 + POINTS * (3 * outputs * n + _SPACE), **FLOATS)
        return cls(products, torch.empty(ROWS * outputs * n, **FLOATS))


def rectify(rows: Tensor, out: Tensor) -> None:
    """Write leaky ReLU of rows to `out`, which may be the same."""
    torch.ops.aten.leaky_relu.out(rows, SLOPE, out=out)


class Window:
    """What a wave of stages holds of an image: some groups of it, which move down.

    Stage i is i groups behind the first. What each adds is held for the groups that later stages
    have yet to see, as rows and transformed; then it is overwritten.
    """

    def __init__(self, grid: Grid, strip: int, channels: tuple[int, Sequence[int]]) -> None:
        given, grown = channels
        self.grid, self.strip = grid, strip
        self.kept = len(grown)  # by which the last stage lags behind the first
        beyond = max(LENGTH * strip, self.kept + 1) if grown else strip
        self.groups = min(self.kept + beyond, grid.groups)
        self.first = 0
        self.starts = [given + sum(grown[:stage]) for stage in range(len(grown))]
        size = (self.groups + 2) * grid.columns
        self.grown = [torch.zeros(ROWS, count, size, **FLOATS) for count in grown]
        pixels = self.groups * grid.columns
        self.transformed = torch.empty(POINTS, given + sum(grown), pixels, **FLOATS)

    def begin(self) -> None:
        """Go to the top of an image."""
        self.first = 0
        for plane in self.grown:
            plane[..., : self.grid.columns] = 0

    def reach(self, stop: int) -> None:
        """Move so that groups up to `stop` of the first stage fit."""
        if min(stop, self.grid.groups) - self.first <= self.groups:
            return
        first = stop - self.strip - self.kept
        was = (first - self.first) * self.grid.columns
        for array, groups in (
            (self.transformed, self.kept),
            *((p, self.kept + 1) for p in self.grown),
        ):
            size = groups * self.grid.columns
            array[..., :size] = array[..., was : was + size]
        self.first = first

    def transform(self, plane: Tensor, at: tuple[int, int], start: int, *, first: int = 0) -> None:
        """Transform groups of a plane whose group `first` is its second: channels from `start`."""
        (a, b), grid = at, self.grid
        into = self.transformed[:, start : start + plane.shape[1], self._at(a, b)]
        below, above = (plane[:, :, grid.at(a + k - first, b + k - first)] for k in (1, -1))
        group = plane[:, :, grid.at(a - first, b - first)].transpose(0, 1)
        torch.bmm(_GROUP.expand(plane.shape[1], -1, -1), group, out=into.transpose(0, 1))
        into[0].add_(above[ROWS - 1], alpha=float(INTO[0, 0]))
        into[-1].add_(below[0], alpha=float(INTO[-1, -1]))

    def transform_grown(self, stage: int, at: tuple[int, int]) -> None:
        """Transform what a stage added."""
        self.transform(self.grown[stage], at, self.starts[stage], first=self.first)

    def seen(self, channels: int, at: tuple[int, int]) -> Tensor:
        """Return what was transformed of the first channels."""
        return self.transformed[:, :channels, self._at(*at)]

    def grow(self, stage: int, rows: Tensor, at: tuple[int, int]) -> None:
        """Add rows of a stage, rectified."""
        a, b = at
        plane, grid = self.grown[stage], self.grid
        here = plane[:, :, grid.at(a - self.first, b - self.first)]
        rectify(rows, here)
        grid.pad(here, at)
        if b == grid.groups:
            plane[:, :, grid.at(b - self.first, b + 1 - self.first)] = 0

    def _at(self, a: int, b: int) -> slice:
        return slice((a - self.first) * self.grid.columns, (b - self.first) * self.grid.columns)


class Alone:
    """Memory of convolutions one by one, of at most so many channels in and out."""

    def __init__(self, grid: Grid, strip: int, channels: int) -> None:
        self.grid, self.window = grid, Window(grid, strip, (channels, []))
        self.scratch = Scratch.of(channels, strip * grid.columns)

    def __call__(
        self, conv: RowConvolution, plane: Tensor
    ) -> Iterator[tuple[tuple[int, int], Tensor]]:
        """Convolve a plane: groups, and rows (4, C', n) that are good until the next."""
        window = self.window
        window.begin()
        for at in self.grid.strips(window.strip):
            window.reach(at[1])
            window.transform(plane, at, 0)
            yield at, conv(window.seen(conv.inputs, at), self.scratch)
