"""Marks tests by their folder, and skips what lacks a tool (in CI that is a failure)."""

from pathlib import Path

import pytest

from tests.needs import NEEDS, shared_folder, without

FOLDERS = ("pure", "hostc", "cross", "emu", "phone", "remote", "hil", "golden", "tidy")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        folder = item.path.relative_to(here).parts[0]
        if folder in FOLDERS:
            item.add_marker(getattr(pytest.mark, folder))


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker, tools in NEEDS.items():
        if item.get_closest_marker(marker):
            for tool in tools:
                without(tool)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of other people's models and data beside the checkout; absent: skipped."""
    return shared_folder()
