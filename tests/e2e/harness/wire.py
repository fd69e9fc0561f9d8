"""Kafka's bytes, as far as fake brokers and raw clients need them: Metadata v1, DescribeCluster v1."""

import socket
import struct

METADATA, API_VERSIONS, DESCRIBE_CLUSTER = 3, 18, 60
SASL_HANDSHAKE, SASL_AUTHENTICATE = 17, 36
BROKERS, CONTROLLERS = 1, 2
CHECK = 0x7FFF  # the version of ApiVersions that the server asks each new connection for: there is none


def frame(body):
    return struct.pack(">i", len(body)) + body


def metadata_request(correlation_id=7, client_id="test"):
    """Of no topic."""
    name = client_id.encode()
    return frame(struct.pack(">hhih", METADATA, 1, correlation_id, len(name)) + name + struct.pack(">i", 0))


def api_versions_response(correlation_id=7, apis=((METADATA, 0, 1), (API_VERSIONS, 0, 0))):
    """v0, of a broker that has these APIs: (key, lowest version, highest version)."""
    return frame(struct.pack(">ihi", correlation_id, 0, len(apis)) + b"".join(struct.pack(">hhh", *api) for api in apis))


def is_check(request):
    """Whether a frame's body is the server's question whether Kafka is spoken here."""
    return request is not None and struct.unpack_from(">hh", request) == (API_VERSIONS, CHECK)


def check_response(request):
    """As brokers answer it: version 0, UNSUPPORTED_VERSION, and the versions that there are."""
    return frame(request[4:8] + struct.pack(">hi", 35, 1) + struct.pack(">hhh", API_VERSIONS, 0, 0))


def answer_check(sock):
    """For fake brokers: what comes first is the server's question. False: the connection has ended instead."""
    request = read_frame(sock)
    if request is not None:
        assert is_check(request), request
        sock.sendall(check_response(request))
    return request is not None


def metadata_response(brokers, count=None, correlation_id=7):
    """brokers: (node id, host, port); `count` may lie about their number."""
    body = struct.pack(">ii", correlation_id, len(brokers) if count is None else count)
    for node, host, port in brokers:
        name = host.encode()
        body += struct.pack(">ih", node, len(name)) + name + struct.pack(">ih", port, -1)
    return frame(body + struct.pack(">ii", 1, 0))


def describe_cluster_request(endpoint_type=CONTROLLERS, correlation_id=7, client_id="test"):
    name = client_id.encode()
    return frame(struct.pack(">hhih", DESCRIBE_CLUSTER, 1, correlation_id, len(name)) + name
                 + struct.pack(">BBBB", 0, 0, endpoint_type, 0))


def describe_cluster_response(nodes, endpoint_type=CONTROLLERS, correlation_id=7):
    """Strings and numbers small enough that a length is one byte."""
    body = struct.pack(">iBihBBB", correlation_id, 0, 0, 0, 0, endpoint_type, 1)
    body += struct.pack(">iB", nodes[0][0] if nodes else -1, len(nodes) + 1)
    for node, host, port in nodes:
        name = host.encode()
        body += struct.pack(">iB", node, len(name) + 1) + name + struct.pack(">iBB", port, 0, 0)
    return frame(body + struct.pack(">iB", -2147483648, 0))


def read_frame(sock):
    """The body of the next frame; None: the other side has ended."""
    head = _exactly(sock, 4)
    return head and _exactly(sock, struct.unpack(">i", head)[0])


def _exactly(sock, size):
    data = b""
    while len(data) < size:
        got = sock.recv(size - len(data))
        if not got:
            return None
        data += got
    return data


def _ask(address, request, timeout):
    with socket.create_connection(address, timeout) as sock:
        sock.sendall(request)
        body = read_frame(sock)
    assert body, f"{address} ended the connection instead of answering"
    return body


def ask_metadata(port, client_id="test", host="127.0.0.1", timeout=30):
    """{node id: (host, port)} as the brokers' side tells a client of that port."""
    body = _ask((host, port), metadata_request(client_id=client_id), timeout)
    count, at, found = struct.unpack_from(">i", body, 4)[0], 8, {}
    for _ in range(count):
        node, size = struct.unpack_from(">ih", body, at)
        name = body[at + 6:at + 6 + size].decode()
        found[node] = name, struct.unpack_from(">i", body, at + 6 + size)[0]
        at += 6 + size + 4
        at += 2 + max(0, struct.unpack_from(">h", body, at)[0])
    assert len(found) == count
    return found


def ask_controllers(port, client_id="test", host="127.0.0.1", timeout=30):
    """{node id: (host, port)} of the controllers."""
    body = _ask((host, port), describe_cluster_request(client_id=client_id), timeout)
    at, found = 4 + 1 + 4, {}
    assert struct.unpack_from(">h", body, at)[0] == 0, body
    at += 2
    at += max(1, body[at])  # ErrorMessage
    assert body[at] == CONTROLLERS
    at += 1
    at += max(1, body[at])  # ClusterId
    count = body[at + 4] - 1
    at += 5
    for _ in range(count):
        node, size = struct.unpack_from(">iB", body, at)
        at += 5
        name = body[at:at + size - 1].decode()
        at += size - 1
        found[node] = name, struct.unpack_from(">i", body, at)[0]
        at += 4
        at += max(1, body[at]) + 1  # Rack, tags
    return found
