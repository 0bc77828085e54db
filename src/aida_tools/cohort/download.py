"""Downloading a large file so that an interruption costs nothing."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import requests
from tqdm import tqdm

from aida_tools.cohort.remote import refused, wrong_size
from aida_tools.cohort.web import Client, Transient
from aida_tools.core.errors import AidaError
from aida_tools.core.files import sha256 as digest_of
from aida_tools.core.files import write_json


def download(client: Client, url: str, part: Path, *, size: int | None = None, sha256: str | None = None) -> str:
    """Download a file to `part`, going on from what is there already.

    A partial file continues only if the server says that it still holds the same content (`If-Range` with the
    entity tag kept in `<part>.json`); otherwise it starts anew. A connection that breaks or stalls is taken up
    again, without limit as long as every attempt brings something.

    Parameters
    ----------
    client
        The session.
    url
        Address of the file.
    part
        Where to write; never the final name, so that what is whole and what is not differ by name.
    size, sha256
        Expected size in bytes and SHA-256 digest, if known.

    Returns
    -------
    The SHA-256 digest. The file at `part` is complete and checked.

    Raises
    ------
    AidaError
        If the file cannot be had, is of another size or content, or does not fit on the disk.
    """
    transfer = _Transfer(client, url, part, size)
    fix = f"The part that has arrived is kept in {part}: run the same command again to continue."
    while not client.patiently(transfer.go_on, url, fix):
        pass
    if size is not None and part.stat().st_size != size:
        raise wrong_size(url, part.stat().st_size, size)
    found = digest_of(part)
    if sha256 is not None and found != sha256.casefold():
        part.unlink()
        raise AidaError(
            f"{url}: the SHA-256 of the download is {found}, but {sha256} was expected ('source.sha256'). The download "
            "was removed. Run the command again; if this happens twice, the cohort file means another file."
        )
    transfer.note.unlink(missing_ok=True)
    return found


class _Transfer:
    def __init__(self, client: Client, url: str, part: Path, size: int | None) -> None:
        self.client = client
        self.url = url
        self.part = part
        self.size = size
        self.note = part.with_name(part.name + ".json")

    def _tag(self) -> str | None:
        """Return what identifies the content of the partial file on the server, if it is known."""
        try:
            note = json.loads(self.note.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return note["tag"] if note.get("url") == self.url else None

    def go_on(self) -> bool:
        """Ask for what is missing and write it; True when the file is whole."""
        have = self.part.stat().st_size if self.part.exists() else 0
        tag = self._tag()
        headers = {"Range": f"bytes={have}-", "If-Range": tag} if have and tag else {}
        got = 0
        try:
            with self.client.get(self.url, headers) as response:
                if response.status_code == 416:
                    if response.headers.get("Content-Range") == f"bytes */{have}":
                        return True
                    self.part.unlink()
                    return False
                have, total = self._place(response, have)
                with (
                    self.part.open("ab" if have else "wb") as file,
                    tqdm(
                        desc="download", total=total, initial=have, unit="B", unit_scale=True, disable=None, leave=False
                    ) as bar,
                ):
                    for chunk in self.client.chunks(response):
                        file.write(chunk)
                        got += len(chunk)
                        bar.update(len(chunk))
            if total is not None and have + got < total:
                raise Transient(f"the connection ended after {have + got} of {total} bytes")
        except Transient:
            if not got:
                raise
            return False  # it brought something: go on at once, with all attempts anew
        return True

    def _place(self, response: requests.Response, have: int) -> tuple[int, int | None]:
        """Return from which byte on the answer goes and how long the whole file is."""
        headers = response.headers
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", headers.get("Content-Range", ""))
        if response.status_code == 206 and match is not None and int(match[1]) == have:
            total: int | None = int(match[2])
        elif response.status_code == 200:
            have = 0
            total = int(headers["Content-Length"]) if "Content-Length" in headers else None
        else:
            raise refused(self.url, response.status_code, response.reason)
        if self.size is not None and total is not None and total != self.size:
            raise wrong_size(self.url, total, self.size)
        free = shutil.disk_usage(self.part.parent).free
        if total is not None and total - have > free:
            raise AidaError(
                f"{self.part.parent}: {total - have} bytes are needed and {free} are free. Make room, or use --out."
            )
        # A weak tag (W/"...") may not be used to continue a file.
        strong = headers.get("ETag", "W/").startswith('"')
        tag = headers.get("ETag" if strong else "Last-Modified")
        write_json(self.note, {"url": self.url, "tag": tag})
        return have, total
