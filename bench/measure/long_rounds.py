"""What bench/long-path measures of one profile on one path. Every group stands for itself and may fail alone.

A group is given `start`, which makes the path and starts the tunnel on it: start() is a context manager of a Tunnel,
whose place is a path.LongPath. Results are {key: number}; ROWS says what a key is.
"""

import contextlib
import dataclasses
import json
import random
import sys
import time

from measure import load, long_kafka
from measure.report import Row
from measure.system import Failed, Process, port_is_listening, wait_until

MESSAGE = {"size": 128, "interval_ms": 20}
SMALL_STREAMS = 7
SLOWER_MS = 150     # each way
CUT_EVERY_S = 2
DEAD_S = 3
ADMITTED = 2        # connections that the ingress lets a client have
UNLIMITED = 1 << 20
LONGEST_S = 3600    # of what is ended by a signal
SETTLE_S = 2        # between the last fault and the last look


@dataclasses.dataclass
class Settings:
    seconds: float
    warmup: float
    streams: list
    directions: list


def _load(tunnel, command, **options):
    with tunnel.place.near():
        return load.Load(tunnel.bench.build, command, tunnel.address, **options)


def _mbit(result):
    return result["gbit_per_s"] * 1000


def _keep_messages(result, key, results):
    for point in ("p50", "p90", "p99", "max"):
        if f"{point}_us" in result:
            results[f"{key}_{point}"] = result[f"{point}_us"] / 1000
    if result["missing"]:
        raise Failed(f"{result['missing']} messages did not come back")


def bulk(start, settings, results):
    with start() as tunnel:
        for streams in settings.streams:
            for direction in settings.directions:
                with _load(tunnel, f"bulk-{direction}", streams=streams, seconds=settings.seconds,
                           warmup=settings.warmup) as one:
                    one.line(settings.warmup)
                    results[f"{direction}{streams}"] = _mbit(one.line(settings.seconds))
                    # What is still under way may be long in coming; it belongs to no measurement.


def _beside_bulk(start, settings, results, key, streams, direction="up"):
    """Messages on some connections beside one bulk stream."""
    with start() as tunnel:
        with _load(tunnel, f"bulk-{direction}", seconds=LONGEST_S, warmup=settings.warmup) as one:
            one.line(settings.warmup)
            with _load(tunnel, "messages", seconds=settings.seconds, streams=streams, **MESSAGE) as messages:
                messages.line(0)
                result = messages.line(settings.seconds)
            one.ask_to_stop()
            results[f"{key}_bulk"] = _mbit(one.line(0))
        _keep_messages(result, key, results)


def messages(start, settings, results):
    with start() as tunnel:
        with _load(tunnel, "messages", seconds=settings.seconds, **MESSAGE) as alone:
            alone.line(0)
            _keep_messages(alone.line(settings.seconds), "alone", results)
    _beside_bulk(start, settings, results, "beside", 1)
    _beside_bulk(start, settings, results, "beside_down", 1, "down")


def mixed(start, settings, results):
    _beside_bulk(start, settings, results, "mixed", SMALL_STREAMS)


# -- faults ----------------------------------------------------------------------------------------


def _links(tunnel):
    """The client's connections to the server's end that still carry, the busiest first."""
    links = [one for one in tunnel.place.connections(tunnel.dialled_port) if one["treatment"] == "carried"]
    return sorted(links, key=lambda one: -one["up_bytes"] - one["down_bytes"])


def _fail_one_by_one(how):
    def during(tunnel, seconds):
        chosen = random.Random(1)
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            links = _links(tunnel)
            if links:
                getattr(tunnel.place, how)(chosen.choice(links)["near_port"])
            time.sleep(min(CUT_EVERY_S, left))
    return during


def _one_silent(tunnel, seconds):
    """The busiest of them, after a while."""
    time.sleep(seconds / 4)
    for link in _links(tunnel)[:1]:
        tunnel.place.cut(link["near_port"])
    time.sleep(seconds * 3 / 4)


def _one_slower(tunnel, seconds):
    for link in _links(tunnel)[:1]:
        tunnel.place.delay(link["near_port"], SLOWER_MS)
    time.sleep(seconds)


def _all_cut(tunnel, seconds):
    time.sleep(seconds / 4)
    for link in _links(tunnel):
        tunnel.place.reset(link["near_port"])
    time.sleep(seconds * 3 / 4)


def _dead_for_a_while(tunnel, seconds):
    time.sleep(seconds / 4)
    tunnel.place.cut()
    time.sleep(DEAD_S)
    tunnel.place.heal()
    time.sleep(seconds * 3 / 4)


def _nothing(_, seconds):
    time.sleep(seconds)


class Ingress:
    """At the far end, before the tunnel's server: TCP ends in it. refuse: what a client's third connection gets, None:
    it may have as many as it likes. Called as Tunnel's in_front; counts() afterwards."""

    def __init__(self, refuse=None):
        self._refuse, self._process = refuse, None

    def __call__(self, tunnel, address):
        bench = tunnel.bench
        port = bench.ports.take()
        program = __file__.replace("long_rounds.py", "ingress.py")
        self._process = Process(
            [sys.executable, program, "--listen", f"{tunnel.place.far_address}:{port}", "--target", address,
             *(["--most", ADMITTED, "--refuse", self._refuse] if self._refuse else ["--most", UNLIMITED]),
             "--cert", bench.certificates["cert"],
             "--key", bench.certificates["key"]], bench.new_directory("ingress") / "log", "ingress")
        wait_until(lambda: port_is_listening(port), 10, "the ingress listens")
        return f"{tunnel.place.far_address}:{port}"

    def counts(self):
        self._process.stop()
        return json.loads(self._process.log.read_text(encoding="utf-8").splitlines()[-1])

    def stop(self):
        if self._process is not None:
            self._process.stop()


@dataclasses.dataclass
class Fault:
    title: str
    during: object = _nothing
    refuse: str | None = None


FAULTS = {
    "none": Fault("no fault"),
    "resets": Fault(f"a link is reset every {CUT_EVERY_S} s", _fail_one_by_one("reset")),
    "silences": Fault(f"a link goes silent every {CUT_EVERY_S} s", _fail_one_by_one("cut")),
    "silent": Fault("the busiest link goes silent", _one_silent),
    "slower": Fault(f"one link is {2 * SLOWER_MS} ms slower", _one_slower),
    "all-cut": Fault("all links are reset at once", _all_cut),
    "dead": Fault(f"the path is dead for {DEAD_S} s", _dead_for_a_while),
    "two-only": Fault("an ingress resets the third connection", refuse="reset"),
    "429": Fault("an ingress answers the third with 429", refuse="429"),
    "503": Fault("an ingress answers the third with 503", refuse="503"),
}


def _under_fault(name):
    """Messages, one bulk stream up and one down, all bytes compared, while the fault does its work."""
    fault = FAULTS[name]

    def measure(start, settings, results):
        ingress = Ingress(fault.refuse) if fault.refuse else None
        with contextlib.ExitStack() as stack:
            if ingress:
                stack.callback(ingress.stop)
            tunnel = stack.enter_context(start(in_front=ingress) if ingress else start())
            loads = {direction: stack.enter_context(
                _load(tunnel, f"bulk-{direction}", seconds=LONGEST_S, warmup=settings.warmup, check=True))
                for direction in ("up", "down")}
            for one in loads.values():
                one.line(settings.warmup)
            talk = stack.enter_context(_load(tunnel, "messages", seconds=LONGEST_S, **MESSAGE))
            talk.line(0)
            fault.during(tunnel, settings.seconds)
            time.sleep(SETTLE_S)
            for direction, one in loads.items():
                one.ask_to_stop()
                result = one.line(0)
                results[f"{name}_{direction}"] = _mbit(result)
                results[f"{name}_{direction}_pause"] = result["longest_pause_ms"]
            talk.ask_to_stop()
            result = talk.line(0)
            results[f"{name}_dials"] = tunnel.place.counts()["connections"]
            if ingress:
                results[f"{name}_refused"] = ingress.counts()["refused"]
            _keep_messages(result, name, results)
    return measure


GROUPS = {"bulk": bulk, "messages": messages, "mixed": mixed}
FAULT_GROUPS = {name: _under_fault(name) for name in FAULTS}


def rows(groups, settings):
    """[[Row]]: what each table has, in order; the faults share one."""
    tables, of_faults = [], []
    for name in groups:
        if name == "bulk":
            listed = [Row(f"{d}{n}", f"{n} stream{'s' * (n > 1)} {d}, Mbit/s") for n in settings.streams
                      for d in settings.directions]
        elif name == "messages":
            listed = [Row(f"{key}_{point}", f"message {text}, {point}, ms")
                      for key, text in (("alone", "alone"), ("beside", "beside a bulk upload"),
                                        ("beside_down", "beside a bulk download"))
                      for point in ("p50", "p90", "p99", "max")]
            listed += [Row("beside_bulk", "the bulk upload, Mbit/s"),
                       Row("beside_down_bulk", "the bulk download, Mbit/s")]
        elif name == "mixed":
            listed = [Row(f"mixed_{point}", f"one of {SMALL_STREAMS} small streams beside bulk, {point}, ms")
                      for point in ("p50", "p90", "p99", "max")]
            listed.append(Row("mixed_bulk", "the bulk upload, Mbit/s"))
        elif name in long_kafka.KAFKA_GROUPS:
            listed = long_kafka.rows(name)
        else:
            title = FAULTS[name].title
            listed = [Row(f"{name}_{key}", f"{title}: {text}", digits) for key, text, digits in (
                ("p50", "message p50, ms", 1), ("p99", "message p99, ms", 1), ("max", "message max, ms", 1),
                ("up", "bulk up, Mbit/s", 1), ("down", "bulk down, Mbit/s", 1),
                ("up_pause", "longest pause up, ms", 0), ("down_pause", "longest pause down, ms", 0),
                ("dials", "TCP connections on the path", 0), ("refused", "of them refused", 0))]
        if name in FAULTS:
            of_faults += listed
        else:
            tables.append(listed)
    return [*tables, of_faults]
