"""HTTP with patience: time-outs, retries and a count of what was asked and got."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import requests
import tenacity
import urllib3

from aida_tools import __version__
from aida_tools.core.errors import AidaError

_TRY_AGAIN = (429, 500, 502, 503, 504)


@dataclass(frozen=True)
class Patience:
    """How long to wait for a server and how often to ask again."""

    connect: float = 10.0
    """Seconds to wait for a connection."""
    read: float = 60.0
    """Seconds without a byte after which a connection counts as stalled."""
    attempts: int = 6
    """Attempts in a row without progress before giving up."""
    wait: float = 1.0
    """Seconds before the second attempt; doubled each time, up to a minute, with random variation."""


class Transient(Exception):
    """A fault that may pass: a cut or stalled connection, or a server that asks to come again."""

    def __init__(self, reason: str, after: float = 0.0) -> None:
        super().__init__(reason)
        self.after = after


class Client:
    """A session that retries.

    Attributes
    ----------
    n_requests
        Requests made so far, failed ones included.
    n_bytes
        Bytes of content received so far.
    """

    def __init__(self, patience: Patience | None = None) -> None:
        self.patience = patience or Patience()
        self.session = requests.Session()
        # Identity: lengths and ranges count the bytes of the file, not of a compressed transfer.
        self.session.headers.update({"User-Agent": f"aida-tools/{__version__}", "Accept-Encoding": "identity"})
        self.n_requests = 0
        self.n_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.session.close()

    @contextmanager
    def get(self, url: str, headers: Mapping[str, str] | None = None) -> Iterator[requests.Response]:
        """Ask once and give the answer, whose body is not yet read.

        Raises
        ------
        Transient
            For faults that may pass, also those in the middle of the body.
        """
        self.n_requests += 1
        timeout = (self.patience.connect, self.patience.read)
        try:
            with self.session.get(url, headers=dict(headers or {}), stream=True, timeout=timeout) as response:
                if response.status_code in _TRY_AGAIN:
                    after = response.headers.get("Retry-After", "")
                    reason = f"the server answered {response.status_code} {response.reason}"
                    raise Transient(reason, float(after) if after.isdigit() else 0.0)
                yield response
        except (requests.exceptions.Timeout, urllib3.exceptions.TimeoutError) as error:
            raise Transient(f"no data arrived for {self.patience.read:g} s") from error
        except (requests.exceptions.ConnectionError, urllib3.exceptions.HTTPError) as error:
            raise Transient(f"the connection broke ({error})") from error
        except requests.exceptions.RequestException as error:
            raise AidaError(f"{url}: cannot be requested ({error}). Check the address.") from error

    def chunks(self, response: requests.Response, size: int = 2**18) -> Iterator[bytes]:
        """Read the body of an answer as it comes, at most `size` bytes at a time.

        Unlike `iter_content`, this keeps what came before a connection broke.
        """
        while chunk := response.raw.read1(size, decode_content=True):
            self.n_bytes += len(chunk)
            yield chunk

    def patiently[T](self, attempt: Callable[[], T], url: str, fix: str) -> T:
        """Call until there is no transient fault.

        Raises
        ------
        AidaError
            After the last attempt, with the last fault and the advice `fix`.
        """
        backoff = tenacity.wait_random_exponential(multiplier=self.patience.wait, max=60)

        def wait(state: tenacity.RetryCallState) -> float:
            fault = state.outcome.exception() if state.outcome else None
            return max(backoff(state), min(getattr(fault, "after", 0.0), 600.0))

        retrying = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(self.patience.attempts),
            wait=wait,
            retry=tenacity.retry_if_exception_type(Transient),
            reraise=True,
        )
        try:
            return retrying(attempt)
        except Transient as fault:
            raise AidaError(f"{url}: gave up after {self.patience.attempts} attempts: {fault}. {fix}") from fault
