#!/usr/bin/env python3
"""Writes the seeds of the Kafka fuzz targets, from tests/vectors/kafka-responses.txt.

Run it in tests/fuzz when a vector was added: ./seed_kafka.py
"""
import os
import struct

KEYS = {"Produce": 0, "Fetch": 1, "Metadata": 3, "FindCoordinator": 10, "ApiVersions": 18,
        "DescribeCluster": 60, "ShareFetch": 78, "ShareAcknowledge": 79}
HERE = os.path.dirname(os.path.abspath(__file__))


def frame(body):
    return struct.pack(">i", len(body)) + body


def request(key, version, correlation_id, body=b"", client_id=b"seed"):
    return frame(struct.pack(">hhih", key, version, correlation_id, len(client_id)) + client_id + body)


def produce(version, correlation_id, acks):
    if version >= 9:
        body = b"\0\0"
    else:
        body = b"\xff\xff" if version >= 3 else b""
    return request(0, version, correlation_id, body + struct.pack(">hi", acks, 1000) + b"\0\0\0\0")


def any_request(key, version, correlation_id):
    if key == 0:
        return produce(version, correlation_id, -1)
    return request(key, version, correlation_id, b"body")


def pieces(direction, data):
    out = b""
    for at in range(0, len(data), 100):
        piece = data[at:at + 100]
        out += bytes([direction | len(piece)]) + piece
    return out


def up(data):
    return pieces(0, data)


def down(data):
    return pieces(0x80, data)


def write(target, name, data):
    directory = os.path.join(HERE, "corpus", target)
    os.makedirs(directory, exist_ok=True)
    with open(os.path.join(directory, name), "wb") as file:
        file.write(data)


def vectors():
    seen = set()
    with open(os.path.join(HERE, "..", "vectors", "kafka-responses.txt")) as file:
        for line in file:
            if line.startswith("#"):
                continue
            response, version, _, given, _ = line.split()
            api = response.removesuffix("Response")
            if (api, version) not in seen:
                seen.add((api, version))
                yield api, int(version), bytes.fromhex(given)


# One of each layout; neighbours with the same layout add nothing.
LAYOUTS = {"Produce": (0, 3, 9, 10, 13), "Fetch": (0, 4, 11, 12, 16, 18), "Metadata": (0, 1, 3, 9, 13),
           "FindCoordinator": (0, 1, 3, 4, 6), "DescribeCluster": (0, 1, 2), "ShareFetch": (0, 1),
           "ShareAcknowledge": (0, 2)}


def main():
    for api, version, given in vectors():
        if version not in LAYOUTS[api]:
            continue
        key = KEYS[api]
        name = "%s-%d" % (api, version)
        write("kafka_responses", name, bytes([1, key, version]) + given)
        write("kafka_pair", name, up(any_request(key, version, 42)) + down(given))
        write("kafka_requests", name, any_request(key, version, 42))

    for version in (1, 3, 8, 9, 13):
        write("kafka_requests", "acks0-%d" % version, produce(version, 7, 0) + any_request(3, 9, 8))
    handshake = request(17, 0, 1, b"\0\5PLAIN")
    accepted = frame(struct.pack(">ihi", 1, 0, 1) + b"\0\5PLAIN")
    token = frame(b"\0user\0secret")
    metadata = next(v for a, n, v in vectors() if a == "Metadata" and n == 9)
    write("kafka_pair", "sasl0-plain", up(handshake) + down(accepted) + up(token) + down(frame(b""))
          + up(any_request(3, 9, 42)) + down(metadata))
    gssapi = request(17, 0, 1, b"\0\6GSSAPI")
    write("kafka_pair", "sasl0-gssapi", up(gssapi) + down(accepted)
          + (up(frame(b"\x60token")) + down(frame(b"\x60token"))) * 2
          + up(frame(b"last") + any_request(3, 9, 42)) + down(metadata))
    write("kafka_requests", "sasl0", handshake + token + any_request(3, 9, 42))
    versions = struct.pack(">ih", 42, 0) + b"\x04" + b"".join(
        struct.pack(">hhhb", key, 0, top, 0) for key, top in ((0, 13), (1, 99), (3, 14)))
    write("kafka_responses", "ApiVersions-3", bytes([1, 18, 3]) + frame(versions + b"\0\0\0\0\0"))
    write("kafka_responses", "ApiVersions-35", bytes([1, 18, 4])
          + frame(struct.pack(">ihihhh", 42, 35, 1, 18, 0, 3)))
    write("kafka_pair", "optional", up(produce(3, 1, 0) + produce(3, 2, 0) + any_request(3, 9, 42))
          + down(metadata))
    write("kafka_requests", "tls", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")


main()
