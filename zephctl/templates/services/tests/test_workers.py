"""Tests of the services. Run them with: pip install 'zephserver[testing]' pytest && pytest"""

import pytest
import workers

from zephserver.testing import wait_until


@pytest.fixture
def zephserver_settings():
    """What the tests want to be different from zephsettings.py."""
    return {"LOG_LEVEL": "DEBUG"}


def test_both_services_are_ready(running_server):
    assert running_server.is_ready
    assert set(running_server.services.get_all_services()) == {"workers/Counter", "workers/Reporter"}


def test_the_counter_counts(running_server):
    counter = running_server.get_service("workers/Counter")

    wait_until(lambda: counter.count > 0, "the counter counts")


def test_the_counter_starts_again_where_it_is_told():
    counter = workers.Counter()

    assert counter.reset(100) == "the counter is at 100"
    assert counter.count == 100
