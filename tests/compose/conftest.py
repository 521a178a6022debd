# SPDX-License-Identifier: MIT
"""One composition for all tests of a run, which go through its life in the order in which they stand."""
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from stack import Stack  # noqa: E402

running = []


@pytest.fixture(scope="session")
def stack():
    made = Stack()
    running.append(made)
    yield made
    running.clear()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.failed and running:
        report.sections.append(("containers", running[0].dump()))
