#!/usr/bin/env python3
"""How long a record takes from a producer to a consumer, and how far the consumer falls behind: through the tunnel, direct, side by side.

    latency.py --route tunnel=localhost:9092 --route direct=broker1:9092 [--rate 1000] [--seconds 10] [--plot latency.svg]

Needs confluent-kafka (pip install confluent-kafka) and nothing else. Each route is a pair of Kafka clients of its own on a topic of its
own, which is made and deleted. Routes are measured in turn, --rounds times, so that a busy minute of the machine does not hit one only.

A record is due at a fixed rate, whatever became of the one before it, and its latency counts from when it was due: a stall shows in all
the records that it delays, not in one of them. Producer and consumer are in one process, so that there is one clock.

Exit code 0; 1 when records were lost, or --max-p99 was exceeded; 2 for bad usage.
"""
import argparse
import json
import math
import re
import struct
import sys
import threading
import time
import uuid

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

HEAD = struct.Struct(">dq")  # due (seconds of the clock), number
LAG_EVERY_S = 0.1
PERCENTILES = (50, 95, 99)
COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf")


def percentile(ordered, wanted):
    """Nearest rank: a latency that was measured, not one between two."""
    return ordered[max(0, math.ceil(len(ordered) * wanted / 100) - 1)]


class Topic:
    """A topic for one route, while it is measured."""

    def __init__(self, settings, partitions, replication, patience):
        self.admin = AdminClient(settings)
        self.patience = patience
        self.name, self.partitions = f"latency-{uuid.uuid4().hex[:12]}", partitions
        self.new = NewTopic(self.name, partitions, replication)

    def __enter__(self):
        self.admin.create_topics([self.new], request_timeout=self.patience)[self.name].result()
        end = time.monotonic() + self.patience
        while time.monotonic() < end:
            found = self.admin.list_topics(self.name, timeout=self.patience).topics[self.name].partitions
            if len(found) == self.partitions and all(p.leader >= 0 for p in found.values()):
                return self
            time.sleep(0.05)
        raise TimeoutError(f"topic {self.name} has no leaders after {self.patience:g} s")

    def __exit__(self, *_):
        try:
            self.admin.delete_topics([self.name], request_timeout=self.patience)[self.name].result()
        except KafkaException as e:
            print(f"latency: the topic {self.name} could not be deleted: {e}", file=sys.stderr)


class Reader(threading.Thread):
    """Consumes, and notes for each record when it was due and when it was here."""

    def __init__(self, settings, topic):
        super().__init__(daemon=True)
        self.consumer = Consumer({**settings, "group.id": topic.name, "enable.auto.commit": False, "auto.offset.reset": "earliest"})
        self.consumer.assign([TopicPartition(topic.name, p, 0) for p in range(topic.partitions)])
        self.arrivals, self.numbers, self.primed, self.duplicates = [], set(), set(), 0
        self.failure, self.stopping = None, False

    def run(self):
        try:
            while not self.stopping:
                message = self.consumer.poll(0.1)
                if message is None:
                    continue
                if message.error():
                    # Another broker may not know a new topic yet; the client asks again.
                    if message.error().retriable() or message.error().code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                        continue
                    raise KafkaException(message.error())
                here = time.monotonic()
                due, number = HEAD.unpack_from(message.value())
                if number < 0:
                    self.primed.add(message.partition())
                    continue
                if number in self.numbers:
                    self.duplicates += 1
                    continue
                self.numbers.add(number)
                self.arrivals.append((due, here))
        except KafkaException as e:
            self.failure = e
        finally:
            self.consumer.close()


class Run:
    """One measurement of one route."""

    def __init__(self, bootstrap, options):
        self.options = options
        self.settings = {"bootstrap.servers": bootstrap, **options.property}
        self.delivered = 0
        self.failures = []
        self.lags = []

    def _prime(self, producer, topic, reader):
        """A record through each partition before the clock starts: connections, leaders of a new topic, cold brokers."""
        for partition in range(topic.partitions):
            producer.produce(topic.name, HEAD.pack(0, -1), partition=partition)
        end = time.monotonic() + self.options.patience
        while len(reader.primed) < topic.partitions and not reader.failure:
            producer.poll(0.01)
            if time.monotonic() > end:
                raise TimeoutError(f"the first records did not arrive within {self.options.patience:g} s")

    def _delivered(self, error, _):
        if error:
            self.failures.append(str(error))
        else:
            self.delivered += 1

    def _produce(self, producer, topic, reader, begin):
        """Returns how many records were sent."""
        options, filler = self.options, bytes(self.options.size - HEAD.size)
        count, next_lag = int((options.warm_up + options.seconds) * options.rate), begin
        for number in range(count):
            due = begin + number / options.rate
            while (wait := due - time.monotonic()) > 0:
                producer.poll(min(wait, 0.01) if wait > 0.001 else 0)
            while True:
                try:
                    producer.produce(topic.name, HEAD.pack(due, number) + filler, partition=number % topic.partitions,
                                     on_delivery=self._delivered)
                    break
                except BufferError:
                    producer.poll(0.01)
            if due >= next_lag:
                producer.poll(0)
                self.lags.append((due - begin, max(0, self.delivered - len(reader.numbers))))
                next_lag += LAG_EVERY_S
            if reader.failure:
                raise reader.failure
        return count

    def measure(self):
        with Topic(self.settings, self.options.partitions, self.options.replication, self.options.patience) as topic:
            reader = Reader(self.settings, topic)
            # As Java's producer does: while five requests are under way, records wait for each other and share the next one.
            producer = Producer({"max.in.flight.requests.per.connection": 5, "acks": self.options.acks,
                                 "linger.ms": self.options.linger, **self.settings})
            reader.start()
            try:
                self._prime(producer, topic, reader)
                begin = time.monotonic() + 0.1
                sent = self._produce(producer, topic, reader, begin)
                left = producer.flush(self.options.patience)
                end = time.monotonic() + self.options.patience
                while len(reader.numbers) < sent - len(self.failures) - left and time.monotonic() < end and not reader.failure:
                    time.sleep(0.01)
            finally:
                reader.stopping = True
                reader.join(self.options.patience)
            if reader.failure:
                raise reader.failure
        first = begin + self.options.warm_up
        return {
            "latencies_ms": [(here - due) * 1000 for due, here in reader.arrivals if due >= first],
            "lags": [lag for at, lag in self.lags if at >= self.options.warm_up],
            "lost": sent - len(reader.numbers),
            "duplicates": reader.duplicates,
            "failures": self.failures[:5],
        }


def summary(name, bootstrap, runs):
    latencies = sorted(latency for run in runs for latency in run["latencies_ms"])
    lags = sorted(lag for run in runs for lag in run["lags"]) or [0]
    result = {"route": name, "bootstrap": bootstrap, "records": len(latencies), "lost": sum(run["lost"] for run in runs),
              "duplicates": sum(run["duplicates"] for run in runs), "failures": [f for run in runs for f in run["failures"]],
              "lag_p50": percentile(lags, 50), "lag_max": lags[-1]}
    if latencies:
        result.update({f"p{p}_ms": round(percentile(latencies, p), 3) for p in PERCENTILES}, max_ms=round(latencies[-1], 3),
                      mean_ms=round(sum(latencies) / len(latencies), 3))
    return result, latencies


def table(results):
    heads = ["route", "records", "p50 ms", "p95 ms", "p99 ms", "max ms", "lag p50", "lag max", "lost"]
    keys = ["route", "records", "p50_ms", "p95_ms", "p99_ms", "max_ms", "lag_p50", "lag_max", "lost"]
    rows = [[f"{r[k]:.2f}" if isinstance(r.get(k), float) else str(r.get(k, "-")) for k in keys] for r in results]
    widths = [max(len(row[i]) for row in [heads, *rows]) for i in range(len(heads))]
    for row in [heads, *rows]:
        yield "  ".join(cell.ljust(width) if i == 0 else cell.rjust(width) for i, (cell, width) in enumerate(zip(row, widths))).rstrip()


# -- the plot: latency by percentile, both logarithmic, as an SVG without a library ----------------------------------------------------

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 420, 70, 150, 40, 55
MARKS = (0, 50, 90, 99, 99.9, 99.99)


def escape(text):
    return text.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")


def plot(curves, title):
    """curves: [(name, sorted latencies)]"""
    low = min(c[1][0] for c in curves)
    high = max(c[1][-1] for c in curves)
    low, high = 10 ** math.floor(math.log10(max(low, 0.01))), 10 ** math.ceil(math.log10(max(high, 0.1)))
    if low == high:
        high *= 10
    most = max(len(c[1]) for c in curves)
    nines = max(2.0, math.log10(most))

    def x(share):  # 0 to 1 (excluded)
        return LEFT + (WIDTH - LEFT - RIGHT) * -math.log10(1 - share) / nines

    def y(ms):
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * math.log10(max(ms, low) / low) / math.log10(high / low)

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" '
           'font-family="sans-serif" font-size="12">', f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
           f'<text x="{LEFT}" y="22" font-size="15">{escape(title)}</text>']
    for mark in MARKS:
        if -math.log10(1 - mark / 100) <= nines:
            at = x(mark / 100)
            out.append(f'<path d="M{at:.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#ddd"/>'
                       f'<text x="{at:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{mark:g}</text>')
    for power in range(round(math.log10(low)), round(math.log10(high)) + 1):
        at = y(10 ** power)
        out.append(f'<path d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>'
                   f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{10 ** power:g}</text>')
    out.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 12}" text-anchor="middle">percentile</text>'
               f'<text x="18" y="{HEIGHT / 2}" transform="rotate(-90 18 {HEIGHT / 2})" text-anchor="middle">milliseconds, end to end</text>')
    for number, (name, ordered) in enumerate(curves):
        colour, steps = COLOURS[number % len(COLOURS)], 300
        shares = [1 - 10 ** (-math.log10(len(ordered)) * i / steps) for i in range(steps)]
        points = " ".join(f"{x(s):.1f},{y(percentile(ordered, s * 100)):.1f}" for s in shares if s < 1)
        out.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
                   f'<rect x="{WIDTH - RIGHT + 15}" y="{TOP + 20 * number}" width="12" height="12" fill="{colour}"/>'
                   f'<text x="{WIDTH - RIGHT + 33}" y="{TOP + 20 * number + 11}">{escape(name)}</text>')
    return "\n".join([*out, "</svg>"]) + "\n"


# -- command line ----------------------------------------------------------------------------------------------------------------------

def pair(text):
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise argparse.ArgumentTypeError(f"'{text}' is not NAME=VALUE")
    return name, value


def positive(text):
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"'{text}' is not above 0")
    return value


def arguments(argv):
    parser = argparse.ArgumentParser(formatter_class=argparse.RawDescriptionHelpFormatter, description=__doc__)
    add = parser.add_argument
    add("--route", metavar="NAME=HOST:PORT[,...]", type=pair, action="append", required=True, help="a bootstrap address to measure; may be given more than once")
    add("--rate", type=positive, default=1000, help="records per second (1000)")
    add("--size", type=int, default=1024, help="bytes per record (1024)")
    add("--seconds", type=positive, default=10, help="duration of each round (10)")
    add("--warm-up", type=float, default=2, help="seconds before each round that do not count (2)")
    add("--rounds", type=int, default=1, help="how often each route is measured (1)")
    add("--partitions", type=int, default=6, help="partitions of the topics that are made (6)")
    add("--replication", type=int, default=-1, help="replication factor of these topics (the brokers' default)")
    add("--acks", default="all", choices=["all", "1", "0"], help="what the producer waits for (all)")
    add("--linger", type=float, default=0, help="linger.ms of the producer (0: latency; 5 and more: throughput)")
    add("--patience", metavar="S", type=positive, default=30, help="how long to wait for a topic, and for the last records (30)")
    add("-X", dest="property", metavar="NAME=VALUE", type=pair, action="append", default=[], help="a property of librdkafka, for example for a login")
    add("--json", metavar="FILE", help="write the figures to FILE; - is standard output, instead of the table")
    add("--plot", metavar="FILE.svg", help="draw latency by percentile")
    add("--max-p99", metavar="MS", type=positive, help="exit with 1 if a route's p99 is higher")
    options = parser.parse_args(argv)
    options.property = dict(options.property)
    if options.size < HEAD.size:
        parser.error(f"--size {options.size}: a record holds {HEAD.size} bytes at least")
    if len({name for name, _ in options.route}) < len(options.route):
        parser.error("--route: a name is used twice")
    if options.rounds < 1 or options.partitions < 1 or options.warm_up < 0:
        parser.error("--rounds and --partitions are 1 at least, --warm-up is not negative")
    return options


def main(argv):
    options = arguments(argv)
    runs = {name: [] for name, _ in options.route}
    for number in range(options.rounds):
        for name, bootstrap in options.route:
            print(f"latency: round {number + 1} of {options.rounds}: {name} ({bootstrap})", file=sys.stderr)
            try:
                runs[name].append(Run(bootstrap, options).measure())
            except (KafkaException, TimeoutError) as e:
                print(f"latency: {name} ({bootstrap}): {re.sub(r'^KafkaError', '', str(e))}", file=sys.stderr)
                return 1
    results, curves = [], []
    for name, bootstrap in options.route:
        result, latencies = summary(name, bootstrap, runs[name])
        results.append(result)
        if latencies:
            curves.append((name, latencies))
    if options.json != "-":
        print("\n".join(table(results)))
    if options.json:
        settings = {k: getattr(options, k) for k in ("rate", "size", "seconds", "warm_up", "rounds", "partitions", "acks", "linger")}
        text = json.dumps({"settings": settings, "routes": results}, indent=2) + "\n"
        if options.json == "-":
            sys.stdout.write(text)
        else:
            with open(options.json, "w", encoding="utf-8") as file:
                file.write(text)
    if options.plot and curves:
        with open(options.plot, "w", encoding="utf-8") as file:
            file.write(plot(curves, f"{options.rate:g} records/s of {options.size} bytes, acks={options.acks}"))
    bad = [f"{r['route']}: {r['lost']} records lost {r['failures'] or ''}" for r in results if r["lost"]]
    if options.max_p99:
        bad += [f"{r['route']}: p99 is {r['p99_ms']} ms" for r in results if r.get("p99_ms", math.inf) > options.max_p99]
    for sentence in bad:
        print(f"latency: {sentence}", file=sys.stderr)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
