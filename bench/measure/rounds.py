"""What is measured of one profile in one round. Every group stands for itself and may fail alone."""

import itertools
import time

from measure import load
from measure.system import Failed
from measure.tunnel import Tunnel

DELAY_MS = 25        # each way
IDLE_CONNECTIONS = 1000
CHURN_WORKERS = 8
SMALL_BYTES = 128
SMALL_CONNECTIONS = (1, 16, 256, 1500)
SMALL_IN_FLIGHT = (1, 8)  # on each connection
SETTLE_SECONDS = 1   # between the last bulk byte and the look at the memory


class Settings:
    def __init__(self, seconds, warmup):
        self.seconds = seconds
        self.warmup = warmup


def _bulk(tunnel, settings, direction, streams, key, results, warmup_factor=1):
    """Gbit/s where the bytes arrive, and CPU seconds per 10^9 bytes over just that time."""
    build = tunnel.bench.build
    with load.Load(build, f"bulk-{direction}", tunnel.address, streams=streams,
                   seconds=settings.seconds, warmup=settings.warmup * warmup_factor) as bulk:
        bulk.line(settings.warmup * warmup_factor)
        before = tunnel.cpu_seconds()
        result = bulk.line(settings.seconds)
        after = tunnel.cpu_seconds()
        bulk.finish()
    results[key] = result["gbit_per_s"]
    if tunnel.ends and result["bytes"]:
        results[f"{key}_cpu_per_gb"] = (after - before) / (result["bytes"] / 1e9)


def _memory(tunnel, when, results):
    for end, megabytes in tunnel.resident_mb().items():
        results[f"rss_{when}_{end}"] = megabytes


def bulk(bench, profile, settings, results):
    with Tunnel(bench, profile) as tunnel:
        for streams in (1, 4):
            for direction in ("up", "down"):
                _bulk(tunnel, settings, direction, streams, f"{direction}{streams}", results)
        if tunnel.ends:
            time.sleep(SETTLE_SECONDS)
            _memory(tunnel, "after_bulk", results)


def small(bench, profile, settings, results):
    """Round trips a second, and CPU seconds per 10^6 of them over just that time."""
    with Tunnel(bench, profile) as tunnel:
        for connections, in_flight in itertools.product(SMALL_CONNECTIONS, SMALL_IN_FLIGHT):
            with load.Load(bench.build, "exchange", tunnel.address, streams=connections,
                           in_flight=in_flight, size=SMALL_BYTES, seconds=settings.seconds,
                           warmup=settings.warmup) as exchange:
                exchange.line(settings.warmup)
                before = tunnel.cpu_seconds()
                result = exchange.line(settings.seconds)
                after = tunnel.cpu_seconds()
                exchange.finish()
            key = f"small_{connections}_{in_flight}"
            results[key] = result["per_s"]
            if tunnel.ends and result["round_trips"]:
                results[f"{key}_cpu"] = (after - before) / (result["round_trips"] / 1e6)


def ping(bench, profile, settings, results):
    with Tunnel(bench, profile) as tunnel:
        idle = load.run(bench.build, "ping", tunnel.address, size=128, seconds=settings.seconds)
        for point in ("p50", "p99"):
            results[f"ping_{point}"] = idle[f"{point}_us"]
        with load.Load(bench.build, "bulk-up", tunnel.address, seconds=3600,
                       warmup=settings.warmup) as bulk_up:
            bulk_up.line(settings.warmup)
            busy = load.run(bench.build, "ping", tunnel.address, size=128,
                            seconds=settings.seconds)
            bulk_up.ask_to_stop()
            results["ping_bulk_rate"] = bulk_up.line(0)["gbit_per_s"]
            bulk_up.finish()
        for point in ("p50", "p99"):
            results[f"ping_bulk_{point}"] = busy[f"{point}_us"]


def delay(bench, profile, settings, results):
    with Tunnel(bench, profile, DELAY_MS) as tunnel:
        # Windows that grow need some round trips: the warm-up is longer here, for everybody.
        for direction in ("up", "down"):
            _bulk(tunnel, settings, direction, 1, f"delay_{direction}1", results, warmup_factor=2)


def connects(bench, profile, settings, results):
    with Tunnel(bench, profile) as tunnel:
        half = load.run(bench.build, "half-close", tunnel.address)
        results["half_close"] = 1 if half["half_close"] else 0
        before = tunnel.cpu_seconds()
        churn = load.run(bench.build, "churn", tunnel.address, streams=CHURN_WORKERS,
                         seconds=settings.seconds)
        results["connects"] = churn["per_s"]
        if tunnel.ends and churn["connections"]:
            results["connects_cpu"] = (tunnel.cpu_seconds() - before) * 1e6 / churn["connections"]


def memory(bench, profile, _settings, results):
    if profile.server is None:
        return
    with Tunnel(bench, profile) as tunnel:
        _memory(tunnel, "idle", results)
        with load.Load(bench.build, "hold", tunnel.address, streams=IDLE_CONNECTIONS) as hold:
            hold.line(0)
            _memory(tunnel, "1000", results)
            hold.ask_to_stop()
            hold.finish()


GROUPS = {"bulk": bulk, "small": small, "ping": ping, "delay": delay, "connects": connects, "memory": memory}


def measure(bench, profile, groups, settings, say):
    """One round of one profile: {"results": {key: number}, "failures": {group: reason}}."""
    results, failures = {}, {}
    for name in groups:
        try:
            GROUPS[name](bench, profile, settings, results)
        except Failed as failure:
            failures[name] = str(failure)
            say(f"{profile.name}: {name} failed: {failure}")
    return {"results": results, "failures": failures}
