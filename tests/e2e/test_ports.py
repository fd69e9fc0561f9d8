"""What harness/wait.py promises of the ports that tests choose: nobody else gets them, although they are opened later."""

import random
import subprocess
import sys

import pytest

from harness import cache, wait

pytestmark = pytest.mark.harness

HOLDS = "from harness import wait; print(wait.quiet_ports({count}), flush=True); input()"


@pytest.mark.parametrize("count", [2, 20])
def test_ports_of_another_run(count, monkeypatch):
    """Not even those beside the first one; when it has ended, they may be had again."""
    with subprocess.Popen([sys.executable, "-c", HOLDS.format(count=count)], cwd=cache.ROOT / "tests" / "e2e", text=True,
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        theirs = int(other.stdout.readline())
        behind = theirs + count
        monkeypatch.setattr(random, "sample", lambda *_: [theirs, behind - 1, behind])
        assert wait.quiet_ports(count) == behind
    monkeypatch.setattr(random, "sample", lambda *_: [theirs])
    assert wait.quiet_ports(count) == theirs


def test_ports_of_another_test(monkeypatch):
    """Many are given back at the end of a test, few at the end of the run."""
    few, many = wait.quiet_ports(2), wait.quiet_ports(20)
    monkeypatch.setattr(random, "sample", lambda among, _: [few + 1 if few in among else many])
    monkeypatch.setattr(wait, "until", lambda condition, *_: condition())
    assert not wait.quiet_ports(2) and not wait.quiet_ports(20)
    wait.release_ports()
    assert wait.quiet_ports(20) == many
    assert not wait.quiet_ports(2)
