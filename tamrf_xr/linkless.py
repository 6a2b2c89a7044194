"""Zarr stores on file systems that may lack hard links, by which zarr makes groups."""

from __future__ import annotations

import errno

from zarr.core.buffer import Buffer
from zarr.storage import LocalStore


class FileStore(LocalStore):
    """A store in a folder of one writer, which needs no hard links to make metadata."""

    async def set_if_not_exists(self, key: str, value: Buffer) -> None:
        """Set a key that is not there: looked up first, where links are no way to find out."""
        try:
            await super().set_if_not_exists(key, value)
        except OSError as error:
            if error.errno not in {errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.EINVAL}:
                raise
            if not await self.exists(key):
                await self.set(key, value)
