"""Read pickles that others wrote: they may name what is allowed here, and nothing that runs."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from typing import IO, Any


class Restricted(pickle.Unpickler):
    """An unpickler that looks names up in a table, and imports nothing.

    Parameters
    ----------
    stream
        The pickle.
    allowed
        What stands for a name, by module and name.
    otherwise
        What stands for every other name; None refuses the file.
    kind
        What `allowed` makes, for the message.

    Raises
    ------
    pickle.UnpicklingError
        When the file is read, for the first name that is refused.

    Examples
    --------
    >>> import io, json
    >>> hostile = io.BytesIO(pickle.dumps(json.loads))
    >>> Restricted(hostile, {}, kind="arrays").load()
    Traceback (most recent call last):
    ...
    _pickle.UnpicklingError: it asks for json.loads, arrays alone are allowed
    """

    def __init__(
        self,
        stream: IO[bytes],
        allowed: Mapping[tuple[str, str], Any],
        *,
        otherwise: Any = None,
        kind: str = "tensors",
    ) -> None:
        super().__init__(stream)
        self._allowed, self._otherwise, self._kind = allowed, otherwise, kind

    def find_class(self, module: str, name: str) -> Any:
        """Return what stands for a name."""
        stand_in = self._allowed.get((module, name), self._otherwise)
        if stand_in is None:
            raise pickle.UnpicklingError(
                f"it asks for {module}.{name}, {self._kind} alone are allowed"
            )
        return stand_in
