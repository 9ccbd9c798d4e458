# SPDX-License-Identifier: Apache-2.0
"""A server that misbehaves as told, and Berth's client of it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from berth.controller.api import ApiClient
from tests.support.fault_server import FaultServer, client_of, fault_server


@pytest.fixture
async def server() -> AsyncIterator[FaultServer]:
    async with fault_server() as server:
        yield server


@pytest.fixture
async def api(server: FaultServer) -> AsyncIterator[ApiClient]:
    async with client_of(server) as api:
        yield api
