"""Medians over the rounds, and the Markdown tables made of them."""

import dataclasses
import statistics

from measure.profile import OURS

BASELINE = "stunnel"


@dataclasses.dataclass
class Target:
    kind: str   # "ratio": to a profile; "absolute"
    least: bool  # at least, or at most
    value: float
    text: str
    to: str = BASELINE  # with "ratio": that profile

    def met(self, ours, other):
        """True, False, or None when it cannot be told. other: the figure of the profile `to`."""
        if ours is None or (self.kind == "ratio" and not other):
            return None
        figure = ours / other if self.kind == "ratio" else ours
        return figure >= self.value if self.least else figure <= self.value


@dataclasses.dataclass
class Row:
    key: str
    title: str
    digits: int = 1
    target: Target | None = None
    ratio: bool = True  # has a line in the table of ratios


def _at_least(ratio):
    return Target("ratio", True, ratio, f">= {ratio}x {BASELINE}")


def _at_most(ratio, profile=BASELINE):
    return Target("ratio", False, ratio, f"<= {ratio}x {profile}", profile)


def _small(connections, in_flight, least=None):
    """The two rows of one count of connections."""
    title = f"128 bytes on {connections} connection{'s' if connections > 1 else ''}, {in_flight} in flight"
    most = Target("absolute", False, 8, "<= 8") if connections > 16 and in_flight == 1 else None
    return [Row(f"small_{connections}_{in_flight}", f"{title}, round trips per s", 0, least),
            Row(f"small_{connections}_{in_flight}_cpu", f"{title}, CPU s per million", 1, most)]


def _than(ratio, profile):
    return Target("ratio", True, ratio, f">= {ratio}x {profile}", profile)


ROWS = [
    # With OpenSSL 3.5; with 3.0, whose AES-GCM is slower, 0.9 of wstunnel's bytes are good.
    Row("up1", "1 stream up, Gbit/s", 2, _than(1.0, "wstunnel")),
    Row("down1", "1 stream down, Gbit/s", 2, _than(1.0, "wstunnel")),
    Row("up4", "4 streams up, Gbit/s", 2, _than(1.0, "wstunnel")),
    Row("down4", "4 streams down, Gbit/s", 2, _than(1.0, "wstunnel")),
    Row("up1_cpu_per_gb", "CPU s/GB, 1 stream up", 2, _at_most(1.0, "wstunnel")),
    Row("down1_cpu_per_gb", "CPU s/GB, 1 stream down", 2, _at_most(1.0, "wstunnel")),
    Row("up4_cpu_per_gb", "CPU s/GB, 4 streams up", 2, _at_most(1.0, "wstunnel")),
    Row("down4_cpu_per_gb", "CPU s/GB, 4 streams down", 2, _at_most(1.0, "wstunnel")),
    *_small(1, 1, _than(1.0, "wstunnel")),
    *_small(16, 1, _than(1.2, "wstunnel")),
    *_small(256, 1, _than(0.5, "direct")),
    *_small(1500, 1, _than(0.5, "direct")),
    *_small(1, 8),
    *_small(16, 8),
    *_small(256, 8),
    *_small(1500, 8),
    Row("ping_p50", "ping idle p50, us", 0, _at_most(1.0)),
    Row("ping_p99", "ping idle p99, us", 0),
    Row("ping_bulk_p50", "ping beside bulk up p50, us", 0, _at_most(2.0)),
    Row("ping_bulk_p99", "ping beside bulk up p99, us", 0, Target("absolute", False, 1000, "<= 1000")),
    Row("ping_bulk_rate", "the bulk stream beside ping, Gbit/s", 2),
    Row("delay_up1", "1 stream up over 50 ms, Gbit/s", 2, _at_least(1.8)),
    Row("delay_down1", "1 stream down over 50 ms, Gbit/s", 2, _at_least(1.8)),
    Row("connects", "connect+echo+close per s", 0, Target("absolute", True, 5000, ">= 5000")),
    Row("connects_cpu", "the same, CPU us for each", 0),
    Row("half_close", "answer after half-close arrives (1 = yes)", 0,
        Target("absolute", True, 1, "1"), ratio=False),
    Row("rss_idle_server", "RSS idle, server, MB", 1, Target("absolute", False, 12, "<= 12")),
    Row("rss_idle_client", "RSS idle, client, MB", 1, Target("absolute", False, 12, "<= 12")),
    Row("rss_after_bulk_server", "RSS after bulk, server, MB"),
    Row("rss_after_bulk_client", "RSS after bulk, client, MB"),
    Row("rss_1000_server", "RSS with 1000 idle connections, server, MB", 1,
        Target("absolute", False, 32, "<= 32")),
    Row("rss_1000_client", "RSS with 1000 idle connections, client, MB", 1,
        Target("absolute", False, 32, "<= 32")),
]

KAFKA_ROWS = [
    Row("produce", "produce, MB/s", 1, Target("ratio", True, 0.8, ">= 0.8x direct", "direct")),
    Row("consume", "consume, MB/s", 1, Target("ratio", True, 0.6, ">= 0.6x direct", "direct")),
    Row("produce_cpu_per_gb", "tunnel's CPU s/GB, produce", 2, ratio=False),
    Row("consume_cpu_per_gb", "tunnel's CPU s/GB, consume", 2, ratio=False),
]

# What rules of --access cost: the server judges each request by them.
RULES_ROWS = [
    Row("produce", "produce, MB/s"),
    Row("consume", "consume, MB/s"),
    Row("small", "one record a request: requests per s", 0),
    Row("produce_server_cpu", "server's CPU s/GB, produce", 2),
    Row("consume_server_cpu", "server's CPU s/GB, consume", 2),
    Row("small_server_cpu", "server's CPU us for a request of one record", 1),
]


def medians(rounds):
    """rounds: [{profile: {"results": {key: number}}}] to {profile: {key: median}}."""
    collected = {}
    for one_round in rounds:
        for profile, measured in one_round.items():
            for key, value in measured["results"].items():
                collected.setdefault(profile, {}).setdefault(key, []).append(value)
    return {profile: {key: statistics.median(values) for key, values in keys.items()}
            for profile, keys in collected.items()}


def table(header, lines):
    yield "| " + " | ".join(header) + " |"
    yield "|" + "|".join(["---"] + ["---:"] * (len(header) - 1)) + "|"
    for line in lines:
        yield "| " + " | ".join(line) + " |"


def _verdict(row, figures):
    if row.target is None or OURS not in figures:
        return ""
    met = row.target.met(figures[OURS].get(row.key), figures.get(row.target.to, {}).get(row.key))
    return {True: " met", False: " **missed**", None: ""}[met]


def markdown(figures, profiles, rows=None, baseline=BASELINE):
    """Two tables: medians as they are, and as multiples of the baseline's."""
    rows = [row for row in rows or ROWS if any(row.key in figures.get(p, {}) for p in profiles)]
    absolute, ratios = [], []
    for row in rows:
        values = [figures.get(profile, {}).get(row.key) for profile in profiles]
        target = (row.target.text if row.target else "") + _verdict(row, figures)
        absolute.append([row.title, *("-" if v is None else f"{v:.{row.digits}f}" for v in values),
                         target])
        base = figures.get(baseline, {}).get(row.key)
        if row.ratio and base:
            is_ours = row.target and row.target.kind == "ratio" and row.target.to == baseline
            of_ratio = target if is_ours else ""
            ratios.append([row.title, *("-" if v is None else f"{v / base:.2f}" for v in values),
                           of_ratio])
    yield from table(["median", *profiles, "target"], absolute)
    if ratios:
        yield ""
        yield from table([f"multiple of {baseline}", *profiles, "target"], ratios)
