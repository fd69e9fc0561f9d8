"""Waiting: always for a condition, always with a deadline, never for a fixed time."""

import fcntl
import os
import random
import socket
import tempfile
import time


def until(condition, deadline, what, interval=0.02):
    """Returns the first true value of condition(); fails after `deadline` seconds, saying what was awaited."""
    end = time.monotonic() + deadline
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {deadline} s: {what() if callable(what) else what}")
        time.sleep(interval)


def free_port():
    """For a test to choose, on any address: nobody else gets it as long as this process lives."""
    return quiet_ports(1)


def port_open(host, port):
    try:
        socket.create_connection((host, port), timeout=1).close()
        return True
    except OSError:
        return False


# Below those that the kernel gives out by itself, and above what is in documents and is the programs' own. Long runs are taken from
# elsewhere than short ones, which would leave no room for them.
SHORT, LONG = range(10100, 16000), range(16000, 32000)
LONGER_THAN = 10


def quiet_ports(count):
    """The first of so many ports in a row that are free now, and that no other test gets, of this run or another one of this user's:
    most are opened seconds later, by a program that is not started yet. Theirs are the test's until release_ports(), if they are many;
    else this process'."""
    among = LONG if count > LONGER_THAN else SHORT
    return until(lambda: _take_ports(count, among), 60, f"{count} free ports in a row", 0.1)


def _take_ports(count, among):
    """The first one; None if there are none at present: other tests give theirs back."""
    for first in random.sample(among[:1 - count or None], min(1000, len(among) - count + 1)):
        ports = range(first, first + count)
        if not _reserve(ports):
            continue
        if all(_is_free(port) for port in ports):
            return first
        _give_back(ports)
    return None


def release_ports():
    """At the end of a test."""
    for ports in [ports for ports in _reserved if len(ports) > LONGER_THAN]:
        _give_back(ports)


# A lock on one byte for each port, of a file that all have in common; the kernel takes locks back when a process ends.
_reserved, _reservations = [], []


def _lock(ports, how):
    if not _reservations:
        path = os.path.join(tempfile.gettempdir(), f"kafka-tunnel-test-ports-{os.getuid()}")
        _reservations.append(open(path, "wb"))  # never closed: that would take all locks back
    fcntl.lockf(_reservations[0], how, len(ports), ports.start)


def _reserve(ports):
    # What this process has locked already, it could lock once more.
    if any(ports.start < other.stop and other.start < ports.stop for other in _reserved):
        return False
    try:
        _lock(ports, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    _reserved.append(ports)
    return True


def _give_back(ports):
    _reserved.remove(ports)
    _lock(ports, fcntl.LOCK_UN)


def _is_free(port):
    """On every IPv4 address; what listens on ::1 here also listens on 127.0.0.1."""
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("", port))
            return True
        except OSError:
            return False
