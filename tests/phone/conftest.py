"""One adb server for these tests, and a phone for each."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.adbd_double import Adbd
from tests.needs import package
from tests.phone_rig import Server, make_phone, plugged, start_server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    package("adbutils")
    made = start_server(tmp_path_factory.mktemp("adb"))
    yield made
    made.stop()


@pytest.fixture
def phone(server: Server, tmp_path: Path) -> Iterator[Adbd]:
    with plugged(server, make_phone(tmp_path / "device")) as daemon:
        yield daemon
