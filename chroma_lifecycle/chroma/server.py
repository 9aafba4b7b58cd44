"""A Chroma server: found, spoken to, and its errors told as ours."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any, Self
from urllib.parse import urlsplit

import chromadb
import httpx  # what chromadb speaks to servers with, and raises through
from chromadb.config import Settings
from chromadb.errors import (
    AuthorizationError,
    ChromaAuthError,
    ChromaError,
    InternalError,
    NotFoundError,
    QuotaError,
    RateLimitError,
)

from chroma_lifecycle.chroma import systems
from chroma_lifecycle.chroma.client import CollectionSettings
from chroma_lifecycle.errors import BadInput, LifecycleError, StoreUnavailable

TIMEOUT_SECONDS = 60.0
_PROBE_SECONDS = 10.0
_REFUSES = (401, 403)
_LONGEST_ANSWER = 200
# An apostrophe within a word quotes nothing; what was cut off is quoted to its end.
_QUOTED = re.compile(r"""("(\\.|[^"])*("|$))|(`[^`]*(`|$))|((?<!\w)'.*?('(?!\w)|$))""")
_AGAIN = "run it again: what is there already is not sent again"


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """Where a server is, and who asks.

    Attributes:
        url: ``http://host:port`` or ``https://host``, perhaps with a path.
        token: Sent with every request, if the server wants one.
        header: The name of the header that carries it.
    """

    url: str
    tenant: str = "default_tenant"
    database: str = "default_database"
    token: str | None = None
    header: str = "Authorization"

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        try:
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            usable = False
        if not usable or parts.username or parts.query or parts.fragment:
            raise BadInput(f"{self.url!r} is no URL of a server", hint="write http://host:8000 or https://host")

    @property
    def headers(self) -> dict[str, str]:
        """What says who asks."""
        if not self.token:
            return {}
        return {self.header: f"Bearer {self.token}" if self.header == "Authorization" else self.token}


class ServerCollection:
    """One collection of a server: a target that plans can be applied to."""

    def __init__(self, address: ServerAddress, client: Any, collection: Any) -> None:
        self._address = address
        self._client = client
        self.collection = collection
        self.dimension: int | None = None

    @classmethod
    @contextmanager
    def open(cls, address: ServerAddress, name: str, settings: CollectionSettings) -> Iterator[Self]:
        """Give the collection of this name, which is made like *settings* if it is not there.

        Raises:
            BadInput: This is no Chroma server, it does not let us in, has no such tenant or database, or a
                collection of this name measures distances otherwise.
            StoreUnavailable: It does not answer.
        """
        _probe(address)
        with server_errors(f"opening {name}", address):
            client = chromadb.HttpClient(
                host=address.url.rstrip("/"),
                headers=address.headers,
                tenant=address.tenant,
                database=address.database,
                settings=Settings(anonymized_telemetry=False),
            )
        try:
            # Chroma itself waits for ever.
            systems.server_of(systems.system_of(client))._session.timeout = httpx.Timeout(TIMEOUT_SECONDS)  # noqa: SLF001
            with server_errors(f"opening {name}", address):
                found = client.get_or_create_collection(
                    name,
                    embedding_function=None,
                    metadata=dict(settings.metadata) or None,
                    configuration={"hnsw": {**settings.hnsw, "space": settings.space}},
                )
            _check_space(found, settings, address)
            yield cls(address, client, found)
        finally:
            systems.stop(systems.system_of(client))

    @property
    def max_batch(self) -> int:
        """The most records that the server takes in one call."""
        with self.errors("asking for the largest batch"):
            return int(self._client.get_max_batch_size())

    @contextmanager
    def errors(self, what: str) -> Iterator[None]:
        """Tell what is raised inside as an error of ours, about *what* on this server."""
        with server_errors(what, self._address):
            yield


def _check_space(found: Any, settings: CollectionSettings, address: ServerAddress) -> None:
    configuration: Mapping[str, Any] = found.configuration
    index = configuration.get("hnsw") or configuration.get("spann") or {}
    if (space := index.get("space")) != settings.space:
        raise BadInput(
            f"collection {found.name} on {address.url} has the space {space}, and the records {settings.space}",
            hint="take another --name, or delete that collection first",
        )


def _probe(address: ServerAddress) -> None:
    """Ask what is there before Chroma's client does, which says of every failure that it could not connect."""
    for path in ("version", "auth/identity"):
        url = f"{address.url.rstrip('/')}/api/v2/{path}"
        request = urllib.request.Request(url, headers=address.headers)  # noqa: S310 - http or https, checked
        try:
            with urllib.request.urlopen(request, timeout=_PROBE_SECONDS) as answer:  # noqa: S310
                json.loads(answer.read(1 << 20))
        except urllib.error.HTTPError as problem:
            raise _status(problem.code, address) from problem
        except (ValueError, HTTPException) as problem:
            raise _no_chroma(address, "its answer is no JSON") from problem
        except OSError as problem:
            raise _away(address, getattr(problem, "reason", problem)) from problem


def _status(code: int, address: ServerAddress) -> LifecycleError:
    if code in _REFUSES:
        return _refused(address, f"status {code}")
    if code >= 500:
        return _away(address, f"status {code}")
    return _no_chroma(address, f"status {code}")


def _no_chroma(address: ServerAddress, why: str) -> BadInput:
    return BadInput(
        f"what answers at {address.url} is no Chroma server with the API v2 ({why})",
        hint="check the URL and its port; servers older than 1.0 speak another API: upgrade them",
    )


def _refused(address: ServerAddress, why: str) -> BadInput:
    return BadInput(
        f"{address.url} does not let us in ({why})",
        hint="give --token (CHROMA_LIFECYCLE_TOKEN), and --token-header if the server reads it from another",
    )


def _away(address: ServerAddress, why: object) -> StoreUnavailable:
    return StoreUnavailable(
        f"no Chroma server answers at {address.url} ({why})",
        hint="start it (`chroma run`), or check the URL and the network; then run it again",
    )


@contextmanager
def server_errors(what: str, address: ServerAddress) -> Iterator[None]:
    """Tell what Chroma's client raises inside as an error of ours, about *what* on the server.

    Raises:
        BadInput: The server does not let us in, or refuses what it is given.
        StoreUnavailable: It does not answer, or has a fault of its own.
    """
    where = f"{what} on {address.url}"
    try:
        yield
    except (ChromaAuthError, AuthorizationError) as problem:
        raise _refused(address, type(problem).__name__) from problem
    except (InternalError, RateLimitError, QuotaError) as problem:
        raise StoreUnavailable(f"{where}: the server said: {_said(problem)}", hint=_AGAIN) from None
    except NotFoundError as problem:
        raise BadInput(f"{where}: {_said(problem)}", hint="check --tenant, --database and --name") from None
    except ChromaError as problem:
        raise BadInput(
            f"{where}: Chroma refused it: {_said(problem)}", hint="mend the data; a retry cannot help"
        ) from None
    except httpx.TransportError as problem:
        raise _away(address, type(problem).__name__) from problem
    except (ValueError, TypeError) as problem:
        raise BadInput(
            f"{where}: Chroma refused it ({type(problem).__name__}; its text is left out, since it quotes the data)",
            hint="check --tenant, --database and --name; or mend the data",
        ) from None
    except Exception as problem:
        # What the client has no name for is raised bare, with the server's answer as its text.
        if type(problem) is not Exception:
            raise
        raise StoreUnavailable(f"{where}: the server said: {_said(problem)}", hint=_AGAIN) from None


def _said(problem: Exception) -> str:
    """Return the first line of what a server said, without what it quotes: that may be of a record."""
    return _QUOTED.sub("…", str(problem).partition("\n")[0])[:_LONGEST_ANSWER]
