"""tests/vectors/kafka-responses.txt is what Kafka's own classes make, of every version: tests/vectors/Vectors.java prints it."""

import pytest

from harness import cache, process

pytestmark = [pytest.mark.java, pytest.mark.records, pytest.mark.timeout(900)]

VECTORS = cache.ROOT / "tests" / "vectors"
# Kafka 3 has the oldest versions, the newest line the newest.
LINES = ["pom-3.xml", "pom.xml", "pom-4.4.xml"]


@pytest.fixture(scope="module")
def kept():
    lines = (VECTORS / "kafka-responses.txt").read_text(encoding="ascii").splitlines()
    return [line for line in lines if not line.startswith("#")]


@pytest.fixture(scope="module")
def made():
    """{pom: the lines that its kafka-clients make}"""
    return {pom: process.run(["java", "-Xmx128m", "-cp", f"{cache.kafka_jars(pom)}/*", VECTORS / "Vectors.java"], 280).stdout.splitlines()
            for pom in LINES}


def named(line):
    """API, version and kind."""
    return tuple(line.split()[:3])


@pytest.mark.parametrize("pom", LINES)
def test_kafka_makes_the_same_frames(pom, made, kept):
    there = {named(line): line for line in kept}
    assert len(made[pom]) >= 60
    # A version that the file does not have yet is one to let through: see CONTRIBUTING.md.
    assert [named(line) for line in made[pom] if there.get(named(line), line) != line] == []


def test_every_frame_is_one_of_kafkas(made, kept):
    assert [named(line) for line in kept if line not in {line for lines in made.values() for line in lines}] == []
