"""A loopback server that speaks the CELLxGENE Discover API and serves files with HTTP ranges, and faults on demand."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

COLLECTION = "ced320a1-29f3-47c1-a735-513c7084d508"
DATASET = "c838aec3-03ef-4398-b882-0e3912abfff0"
NEW, OLD = "f89a12c2-7a3b-415b-ab87-bbc550fe17f4", "9deda9ad-6a71-401e-b909-5263919d85f9"


@dataclass
class Discover:
    """What is published, what goes wrong, and what was asked."""

    files: dict[str, Path]
    """Version id -> h5ad file, newest first."""
    n_cells: int | None = None
    withdrawn: str = ""
    """`status` answers 410 Gone, `flag` answers with `tombstone: true`."""
    omit: str = ""
    """A key that the API leaves out."""
    ranges: bool = True
    etags: bool = True
    announced_size: int | None = None
    faults: list[str] = field(default_factory=list)
    """One a file request, in order: `cut` or `cut:N` (after N bytes), `stall`, a status such as `503`, or `` (none)."""
    api_faults: list[str] = field(default_factory=list)
    stop_stalling: threading.Event = field(default_factory=threading.Event)
    log: list[tuple[str, str, int, int]] = field(default_factory=list)
    """Method and path, Range header, status, bytes of the body sent."""
    address: str = ""

    @property
    def api(self) -> str:
        return f"{self.address}/curation/v1"

    def file_requests(self) -> list[tuple[str, str, int, int]]:
        return [entry for entry in self.log if entry[0].endswith(".h5ad")]

    def bytes_sent(self) -> int:
        return sum(entry[3] for entry in self.file_requests())

    def record(self, version: str) -> dict[str, Any]:
        """One dataset (version) as the API gives it."""
        size = self.announced_size if self.announced_size is not None else self.files[version].stat().st_size
        record = {
            "assay": [{"label": "10x 5' v2", "ontology_term_id": "EFO:0009900"}],
            "assets": [
                {"filetype": "RDS", "filesize": 1, "url": f"{self.address}/{version}.rds"},
                {"filetype": "H5AD", "filesize": size, "url": f"{self.address}/{version}.h5ad"},
            ],
            "cell_count": self.n_cells,
            "citation": "SYNTHETIC",
            "collection_id": COLLECTION,
            "dataset_id": DATASET,
            "dataset_version_id": version,
            "organism": [{"label": "Homo sapiens", "ontology_term_id": "NCBITaxon:9606"}],
            "schema_version": "7.0.0",
            "title": "SYNTHETIC stand-in of AIDA v2",
            "tombstone": self.withdrawn == "flag",
        }
        record.pop(self.omit, None)
        return record


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    discover: Discover

    def log_message(self, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path.startswith("/curation/v1/"):
            self._api(path)
        else:
            self._file(path)

    def _send(self, body: bytes, status: int) -> None:
        # Logged first: the client may look at the log as soon as it has the last byte.
        self.discover.log.append((urlsplit(self.path).path, self.headers.get("Range", ""), status, len(body)))
        try:
            self.wfile.write(body)
            self.wfile.flush()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self._send(body, status)

    def _api(self, path: str) -> None:
        discover = self.discover
        if discover.api_faults:
            fault = discover.api_faults.pop(0)
            if fault.isdigit():
                return self._answer(int(fault), b"<html>out of order</html>", Retry_After="0")
        if discover.withdrawn == "status":
            return self._answer(410, b'{"detail": "tombstoned"}')
        newest = next(iter(discover.files))
        if path == f"/curation/v1/collections/{COLLECTION}/datasets/{DATASET}":
            answer: Any = discover.record(newest)
        elif path == f"/curation/v1/datasets/{DATASET}/versions":
            answer = [discover.record(version) for version in discover.files]
        else:
            return self._answer(404, b'{"detail": "not found"}')
        return self._answer(200, json.dumps(answer).encode(), Content_Type="application/json")

    def _file(self, path: str) -> None:
        discover = self.discover
        file = discover.files.get(path.removeprefix("/").removesuffix(".h5ad"))
        fault, _, limit = (discover.faults.pop(0) if discover.faults else "").partition(":")
        if file is None or fault.isdigit():
            return self._answer(int(fault or 404), b"no")
        stat = file.stat()
        size, etag = stat.st_size, f'"{stat.st_ino:x}-{stat.st_size:x}-{stat.st_mtime_ns:x}"'
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")) if discover.ranges else None
        if self.headers.get("If-Range", etag) != etag:
            wanted = None
        start, end = 0, size
        if wanted:
            start, end = int(wanted[1]), min(int(wanted[2] or size) + 1, size)
            if start >= size:
                return self._answer(416, Content_Range=f"bytes */{size}")
        with file.open("rb") as handle:
            handle.seek(start)
            body = handle.read(end - start)
        self.send_response(206 if wanted else 200)
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{size}")
        if discover.etags:
            self.send_header("ETag", etag)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if fault in ("cut", "stall"):
            body = body[: int(limit) if limit else len(body) // 2]
        self._send(body, 206 if wanted else 200)
        if fault == "stall":
            discover.stop_stalling.wait(20)
        if fault in ("cut", "stall"):
            self.close_connection = True


@contextmanager
def serve(discover: Discover) -> Iterator[Discover]:
    """Serve on a free port of 127.0.0.1 until the block ends."""
    handler = type("Handler", (_Handler,), {"discover": discover})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    discover.address = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield discover
    finally:
        discover.stop_stalling.set()
        server.shutdown()
        server.server_close()
        thread.join()
