"""Dates in one row, of one sample or of several: which are whose, and sums over those of each.

Shapes: T dates in the row, S samples, M dates of the longest of them; ... the rest of any shape.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor

from tamrf_xr.model.device import upload


class Alone:
    """All dates of the row are of one sample: nothing is padded, and what is summed is one number.

    `Together` is the same for several samples, a number each.
    """

    def owners(self, row: Tensor) -> Tensor:
        """Return (T,), on the CPU: the sample of each date of a row (T, ...)."""
        return torch.zeros(len(row), dtype=torch.long)

    def at(self, dates: Tensor) -> Alone:
        """Return the row of some dates, by their indices on the CPU."""
        del dates
        return self

    def of(self, owners: Tensor) -> Alone:
        """Return another row of the same samples, by the owners of its dates."""
        del owners
        return self

    def count(self, row: Tensor) -> int | Tensor:
        """Return how many dates a row (T, ...) has."""
        return len(row)

    def padded(self, values: Tensor) -> Tensor:
        """Turn (T, ...) into (S, M, ...), zeros where a sample has no more dates."""
        return values[None]

    def in_a_row(self, padded: Tensor) -> Tensor:
        """Turn (S, M, ...) into (T, ...)."""
        return padded.squeeze(0)  # a view backwards, too: no copy in another layout

    def absent(self) -> Tensor | None:
        """Return (S, M), True where `padded` pads; None where it does not."""
        return None

    def total(self, values: Tensor) -> Tensor:
        """Return the sum of (T, ...) over the dates of a sample."""
        return values.sum()

    def mean(self, each: Tensor, weight: Tensor) -> Tensor:
        """Return the weighted mean of (T, ...) over the dates of a sample; 0 without weight."""
        return self.total(each * weight) / self.total(weight).clamp(min=1)

    def average(self, each: Tensor) -> Tensor:
        """Return the mean of (T, ...) over the dates of a sample."""
        return each.mean()

    def present(self) -> bool | Tensor:
        """Tell whether a sample has a date."""
        return True

    def apply(self, call: Callable[[Tensor], Tensor], padded: Tensor) -> Tensor:
        """Call with the tokens (..., M, D) of a sample, without padding."""
        return call(padded)


ALONE: Final = Alone()
"""What dates are unless it is told."""


class Together(Alone):
    """The dates of several samples.

    Parameters
    ----------
    owners
        (T,), on the CPU: the sample of each date. Those of one keep their order.
    samples
        S; a sample may have no date.
    device
        Where values are.
    """

    def __init__(self, owners: Tensor, samples: int, device: torch.device) -> None:
        self._owners, self._samples, self._device = owners, samples, device
        self._lengths = torch.bincount(owners, minlength=samples)
        self._longest = int(self._lengths.max())
        order = owners.argsort(stable=True)
        place = torch.empty_like(owners)
        place[order] = torch.arange(len(owners))
        starts = self._lengths.cumsum(0) - self._lengths
        self._slots = upload(owners * self._longest + place - starts[owners], device)

    def owners(self, row: Tensor) -> Tensor:
        """Return (T,), on the CPU: the sample of each date."""
        del row
        return self._owners

    def at(self, dates: Tensor) -> Together:
        """Return the row of some dates, by their indices on the CPU."""
        return self.of(self._owners[dates])

    def of(self, owners: Tensor) -> Together:
        """Return another row of the same samples, by the owners of its dates."""
        return Together(owners, self._samples, self._device)

    def count(self, row: Tensor) -> Tensor:
        """Return how many dates each sample has, (S,), float32."""
        del row
        return upload(self._lengths.float(), self._device)

    def padded(self, values: Tensor) -> Tensor:
        """Turn (T, ...) into (S, M, ...), zeros where a sample has no more dates."""
        empty = values.new_zeros(self._samples * self._longest, *values.shape[1:])
        filled: Tensor = empty.index_copy(0, self._slots, values)
        return filled.view(self._samples, self._longest, *values.shape[1:])

    def in_a_row(self, padded: Tensor) -> Tensor:
        """Turn (S, M, ...) into (T, ...)."""
        return padded.flatten(0, 1).index_select(0, self._slots)

    def absent(self) -> Tensor | None:
        """Return (S, M), True where `padded` pads; None where it does not."""
        if bool((self._lengths == self._longest).all()):
            return None
        return upload(torch.arange(self._longest) >= self._lengths[:, None], self._device)

    def total(self, values: Tensor) -> Tensor:
        """Return the sums of (T, ...), (S,)."""
        return self.padded(values.flatten(1).sum(dim=1)).sum(dim=1)

    def average(self, each: Tensor) -> Tensor:
        """Return the means of (T, ...), (S,); 0 without a date."""
        return self.total(each) / (self.count(each) * each[0].numel()).clamp(min=1)

    def present(self) -> Tensor:
        """Tell whether each sample has a date, (S,)."""
        return upload(self._lengths > 0, self._device)

    def apply(self, call: Callable[[Tensor], Tensor], padded: Tensor) -> Tensor:
        """Call with the tokens (S, ..., M, D) of each sample, without padding; (S,)."""
        lengths = self._lengths.tolist()
        return torch.stack(
            [call(one[..., :length, :]) for one, length in zip(padded, lengths, strict=True)]
        )
