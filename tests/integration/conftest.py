# SPDX-License-Identifier: MIT
"""Fixtures. `room`: the whole, shared by the tests of a shape (each uses room names of its own); `fresh`: makes one for a
test that breaks it."""
import itertools
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from harness import Room  # noqa: E402

names = (f"own-{i}-" for i in itertools.count(1))  # with an end, so that name + "2" is nobody else's


@pytest.fixture(scope="session", params=["all", "split"])
def shape(request):
    return request.param


@pytest.fixture(scope="session")
def room(shape):
    with Room(shape) as r:
        yield r


@pytest.fixture
def name():
    """A room's name that no other test uses."""
    return next(names)


@pytest.fixture
def fresh(shape):
    """fresh(config=..., env=...) starts a whole for this test alone."""
    made = []

    def make(**kw):
        made.append(Room(kw.pop("shape", shape), **kw))
        return made[-1]

    yield make
    errors = []
    for r in made:
        try:
            r.stop()
        except AssertionError as e:
            errors.append(str(e))
    assert not errors, "\n".join(errors)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for r in Room.live:
            report.sections.append((f"logs of {r.shape}", r.logs()))


def pytest_runtest_logreport(report):
    """A failure is told when it happens: a run that is cut off later has said it."""
    if report.failed:
        sys.stderr.write(f"\n--- {report.nodeid} failed at {report.when} ---\n{report.longreprtext}\n")
        sys.stderr.flush()
