"""Kafka's own tools and the end-to-end tests' brokers, for bench/kafka and bench/long-path."""

import os
import pathlib
import sys

from measure.system import Failed

END_TO_END = pathlib.Path(__file__).resolve().parents[2] / "tests/e2e"


def import_fixture():
    """The end-to-end tests' modules (kafka, process). They need Python packages that ./test keeps in its cache: where
    these are missing, the program starts afresh with that Python."""
    if str(END_TO_END) not in sys.path:
        sys.path.insert(0, str(END_TO_END))
    try:
        from harness import kafka, process  # pylint: disable=import-outside-toplevel
    except ModuleNotFoundError as missing:
        cache = pathlib.Path(os.environ.get("KAFKA_TUNNEL_CACHE") or
                             pathlib.Path.home() / ".cache/kafka-tunnel")
        ready = [path.parent / "bin/python" for path in cache.glob("venv-*/complete")]
        if not ready or "KAFKA_TUNNEL_BENCH_VENV" in os.environ:
            raise Failed(f"{missing}; run ./test e2e once: it installs what is needed") from None
        newest = max(ready, key=lambda path: path.stat().st_mtime)
        os.execve(newest, [str(newest), *sys.argv], {**os.environ, "KAFKA_TUNNEL_BENCH_VENV": "1"})
    # The tests want their JVMs to start quickly; here they are to get fast.
    kafka.JVM[:] = [flag for flag in kafka.JVM if flag != "-XX:TieredStopAtLevel=1"]
    return kafka, process
