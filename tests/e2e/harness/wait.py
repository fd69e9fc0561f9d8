"""Waiting: always for a condition, always with a deadline, never for a fixed time."""

import random
import socket
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


def free_port(host="127.0.0.1"):
    """A port the kernel says is free. It may be lost before it is used: callers that bind it later must retry."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as s:
        s.bind((host, 0))
        return s.getsockname()[1]


def port_open(host, port):
    try:
        socket.create_connection((host, port), timeout=1).close()
        return True
    except OSError:
        return False


def quiet_ports(count):
    """The first of so many ports in a row that are free now, below those that the kernel gives out by itself."""
    for first in random.sample(range(10000, 32000 - count), 100):
        if all(_is_free(port) for port in range(first, first + count)):
            return first
    raise AssertionError(f"no {count} free ports in a row")


def _is_free(port):
    """On every IPv4 address; what listens on ::1 here also listens on 127.0.0.1."""
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("", port))
            return True
        except OSError:
            return False
