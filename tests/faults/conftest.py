"""Leases that expire soon, so that tests need not wait for those of processes that were killed."""

import pytest

from fiftyone_redis.engine.lifecycle import lease


@pytest.fixture
def short_leases(monkeypatch):
    """Has leases expire in less than half a second, here and in processes that are forked."""
    monkeypatch.setattr(lease, "EXPIRY", 0.4)
    monkeypatch.setattr(lease, "_RENEWAL", 0.05)
    monkeypatch.setattr(lease, "POLL", 0.01)
