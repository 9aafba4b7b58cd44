from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.s3 import FaultProxy, fault_proxy


@pytest.fixture(scope="session")
def _one_proxy() -> Iterator[FaultProxy]:
    with fault_proxy() as running:
        yield running


@pytest.fixture
def proxy(_one_proxy: FaultProxy) -> Iterator[FaultProxy]:
    """A proxy before the server, that does as it is told; always at the same port, so that clients can be kept."""
    yield _one_proxy
    _one_proxy.forget()


@pytest.fixture(autouse=True)
def _retry_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK's own retries happen as they do in life, without the pauses between them.

    Their quota (some hundred for each client, refilled by successes) is left out as well: the
    tests share clients, and have more faults behind them than a client has in its life.
    """
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda self, context: 0)
    monkeypatch.setattr("botocore.retries.quota.RetryQuota.acquire", lambda self, amount: True)
