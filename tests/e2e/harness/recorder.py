"""A TCP relay that reads along: which broker addresses pass in Kafka's responses, and which NodeEndpoints.

Where the way to brokers is recorded, the brokers' own addresses must be seen; where the way to Kafka clients is, none of them may.
"""

import asyncio
import collections
import re
import socket
import struct
import threading

from harness import endpoints

WINDOW = 16  # local ports next to each other: bootstrap and nodes

Announced = collections.namedtuple("Announced", "key size nodes")
"""A response that can carry NodeEndpoints: `key` (client id, API, version, correlation id) says which, on every hop;
`size` of its frame; `nodes` [(node, host, port)]."""


class Text:
    """Counts how often a text passes, also across the chunks that a stream comes in."""

    def __init__(self, text):
        self.text, self.carry, self.count = text, b"", 0

    def feed(self, data):
        data = self.carry + data
        self.count += data.count(self.text)
        self.carry = data[-(len(self.text) - 1):]


class Frames:
    """Kafka's frames out of a stream, without their length."""

    def __init__(self):
        self.buffer = bytearray()

    def feed(self, data):
        self.buffer += data
        at = 0
        while len(self.buffer) - at >= 4:
            size = int.from_bytes(self.buffer[at:at + 4], "big")
            if len(self.buffer) - at < 4 + size:
                break
            yield bytes(self.buffer[at + 4:at + 4 + size])
            at += 4 + size
        del self.buffer[:at]


class Conversation:
    """One connection of a Kafka client, both directions."""

    def __init__(self, findings):
        self.findings = findings
        self.texts = {host: Text(host.encode()) for host in findings.hosts}
        self.requests, self.responses = Frames(), Frames()
        self.asked = {}

    def request(self, data):
        for frame in self.requests.feed(data):
            api, version, correlation_id, size = struct.unpack_from(">hhih", frame)
            client_id = frame[10:10 + max(0, size)].decode()
            self.asked[correlation_id] = (client_id, api, version, correlation_id)

    def response(self, data):
        for host, text in self.texts.items():
            before = text.count
            text.feed(data)
            self.findings.texts[host] += text.count - before
        for frame in self.responses.feed(data):
            self._answer(self.asked.pop(struct.unpack_from(">i", frame)[0]), frame)

    def _answer(self, key, frame):
        _, api, version, _ = key
        name = endpoints.NAMES.get(api, f"API {api}")
        for host, pattern in self.findings.fields.items():
            for found in pattern.finditer(frame):
                self.findings.addresses[name, host, int.from_bytes(found.group(1), "big")] += 1
        if endpoints.carries(api, version):
            self.findings.responses[name] += 1
            nodes = endpoints.read(api, version, frame)
            self.findings.announced.append(Announced(key, len(frame), nodes))


class Findings:
    """What passed in responses. `hosts` are looked for:

    texts       {host: how often its text passed, anywhere in a response}
    addresses   {(API, host, port): how often as a string, of either encoding, and a port after it}
    responses   {API: responses that can carry NodeEndpoints}
    announced   [Announced] of each of these
    """

    def __init__(self, *hosts):
        self.hosts = hosts
        self.fields = {h: re.compile(b"(?:" + re.escape(struct.pack(">h", len(h))) + b"|" + re.escape(bytes([len(h) + 1])) + b")"
                                     + re.escape(h.encode()) + b"(.{4})", re.DOTALL) for h in hosts}
        self.texts, self.addresses, self.responses = collections.Counter(), collections.Counter(), collections.Counter()
        self.announced = []

    def endpoints(self, name):
        """How many NodeEndpoints passed in the responses of an API."""
        return sum(len(a.nodes) for a in self.announced if endpoints.NAMES[a.key[1]] == name)


class Recorder(Findings):
    """Relays, in a thread, and reads along. `failures` is what could not be read; it must stay empty."""

    def __init__(self, *hosts):
        super().__init__(*hosts)
        self.failures, self.servers = [], []
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        asyncio.run_coroutine_threadsafe(self._close(), self.loop).result(10)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        self.loop.close()

    async def _close(self):
        for server in self.servers:
            server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def serve(self, bound, target):
        """Relays what connects to the bound socket to the address `target`."""
        serve = asyncio.start_server(lambda r, w: self._serve(r, w, target), sock=bound, backlog=256)
        self.servers.append(asyncio.run_coroutine_threadsafe(serve, self.loop).result(10))

    def serve_window(self, host, target):
        """Relays WINDOW ports of `host` to the same ports of `target`; returns the first. Nobody listens on any of them."""
        sockets = bind_window(host)
        for bound in sockets:
            self.serve(bound, (target, bound.getsockname()[1]))
        return sockets[0].getsockname()[1]

    async def _serve(self, reader, writer, target):
        try:
            out_reader, out_writer = await asyncio.open_connection(*target)
        except OSError:
            _reset(writer)
            return
        conversation = Conversation(self)
        try:
            await asyncio.gather(self._pipe(reader, out_writer, conversation.request),
                                 self._pipe(out_reader, writer, conversation.response))
        finally:
            writer.close()
            out_writer.close()

    async def _pipe(self, reader, writer, see):
        """What ends here ends there, in the same way: after the last byte, or by a reset."""
        try:
            while data := await reader.read(1 << 16):
                try:
                    see(data)
                except Exception as failure:  # pylint: disable=broad-except
                    self.failures.append(repr(failure))
                writer.write(data)
                await writer.drain()
            writer.write_eof()
        except OSError:
            _reset(writer)


def _reset(writer):
    try:
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    except OSError:
        pass
    writer.transport.abort()


def bind_window(host):
    """WINDOW ports in a row, bound."""
    for _ in range(50):
        sockets = []
        try:
            for i in range(WINDOW):
                sockets.append(socket.socket())
                sockets[i].bind((host, sockets[0].getsockname()[1] + i if i else 0))
            return sockets
        except (OSError, OverflowError):
            for s in sockets:
                s.close()
    raise AssertionError(f"no {WINDOW} free ports in a row on {host}")
