"""A remote file read in blocks over HTTP ranges, for HDF5 files of which a small part is wanted."""

from __future__ import annotations

import io
import re

from fsspec.caching import BlockCache

from aida_tools.cohort.web import Client, Transient
from aida_tools.core.errors import AidaError

BLOCK = 2**20
MAX_BLOCKS = 128


class NoRangesError(Exception):
    """The server sends whole files only."""


class RemoteFile(io.RawIOBase):
    """A read-only file on a web server, of which only the blocks that are touched travel.

    HDF5 reads small pieces from many places: whole blocks, kept in memory least recently used first out, make
    that few requests, and unlike a read-ahead they do not drag in the count matrix between the pieces.

    Parameters
    ----------
    url
        Address of the file.
    client
        The session; its counters tell what travelled.
    size
        Expected size in bytes, if known.
    block
        Bytes per request.
    max_blocks
        Blocks kept in memory: `block * max_blocks` bytes at most. Purely a memory setting.

    Raises
    ------
    NoRangesError
        If the server does not serve parts of the file.
    AidaError
        If the file is absent, or of another size.
    """

    def __init__(
        self, url: str, client: Client, *, size: int | None = None, block: int = BLOCK, max_blocks: int = MAX_BLOCKS
    ) -> None:
        self.url = url
        self.client = client
        self.etag: str | None = None
        self.failure: AidaError | None = None
        self._position = 0
        self.size = size or 0
        first = self._fetch(0, block)
        if size is not None and self.size != size:
            raise wrong_size(url, self.size, size)
        # The first block has just come: hand it out instead of asking for it again.
        self._cache = BlockCache(
            block, lambda start, end: first if start == 0 else self._fetch(start, end), self.size, max_blocks
        )

    def _fetch(self, start: int, end: int) -> bytes:
        """Fetch the bytes from `start` to before `end`, asking again when the connection fails."""

        def attempt() -> bytes:
            with self.client.get(self.url, {"Range": f"bytes={start}-{end - 1}"}) as response:
                if response.status_code == 200:
                    raise NoRangesError
                match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", response.headers.get("Content-Range", ""))
                if response.status_code != 206 or match is None or int(match[1]) != start:
                    raise refused(self.url, response.status_code, response.reason)
                self._check_unchanged(response.headers.get("ETag"))
                self.size = int(match[3])
                body = b"".join(self.client.chunks(response))
                if len(body) != min(end, self.size) - start:
                    raise Transient(f"{len(body)} bytes came instead of {min(end, self.size) - start}")
                return body

        return self.client.patiently(attempt, self.url, "Run the command again later.")

    def _check_unchanged(self, etag: str | None) -> None:
        if self.etag is not None and etag != self.etag:
            raise AidaError(f"{self.url}: the file changed while it was read. Run the command again.")
        self.etag = etag

    def readable(self) -> bool:
        """Whether the file can be read: yes."""
        return True

    def seekable(self) -> bool:
        """Whether the position can be moved: yes."""
        return True

    def tell(self) -> int:
        """Return the position in bytes."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move the position and return it."""
        self._position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill a buffer from the position on and return the number of bytes."""
        try:
            data = self._cache._fetch(self._position, min(self._position + len(buffer), self.size))
        except AidaError as failure:
            # HDF5 forgets why a read failed, so it is kept for the one who opened the file.
            self.failure = failure
            raise
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)


def refused(url: str, status: int, reason: str) -> AidaError:
    """Make the error for an answer that is no file."""
    return AidaError(
        f"{url}: the server answered {status} {reason} instead of the file. Look for a newer version of it."
    )


def wrong_size(url: str, found: int, expected: int) -> AidaError:
    """Make the error for a file that is not as long as announced."""
    return AidaError(
        f"{url}: the file has {found} bytes, but {expected} are announced for it. It is damaged or just being "
        "replaced: run the command again later, or pin another version under 'source.version_id'."
    )
