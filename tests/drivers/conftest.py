"""Fixtures: both clients of the MongoDB driver, a collection for each test, and one Redis cluster for all tests."""

from __future__ import annotations

import uuid

import pytest
import redis_setups
from pymongo import MongoClient

import servers


@pytest.fixture(params=["motor", pytest.param("pymongo", marks=pytest.mark.once)])
def api(request):
    return request.param


@pytest.fixture
def collection():
    with MongoClient(servers.mongo_url(), tz_aware=True) as client:
        name = f"t{uuid.uuid4().hex}"
        yield client.drivers[name]
        client.drivers.drop_collection(name)


@pytest.fixture(scope="session")
def cluster_ports():
    with redis_setups.cluster() as ports:
        yield ports
