"""A TCP proxy between tunnel-client and tunnel-server that does to links what networks do to them.

It runs in a thread of the tests. What is asked of it holds for links that are there and for those that come:

  drop("rst" | "fin")     ends all links now
  cut_after = N           a link is reset when N bytes have passed from the server: in the middle of a frame, as a rule
  stall(), wake()         nothing passes any more, nothing is closed: half-open links, of those that are there now; and the end of it
  inject(to, text)        writes text of its own between what passes, to the "client" or the "server"
  frame_max[from] = N     a link is reset where a WebSocket frame of more than N bytes begins, from the "client" or the "server", as
                          some ingresses do; for links without TLS. largest_frame[from] is the largest that was seen, or cut
  idle_cut = S            a link on which nothing passed for S seconds is reset
  delay = S               each way; what was sent arrives later, none of it is lost
  targets                 (host, port) pairs, taken in turn like a load balancer without stickiness
"""

import collections
import selectors
import socket
import struct
import threading
import time

CHUNK = 1 << 17
# What may wait for one side of a link.
QUEUE_MAX = 1 << 20


class Frames:
    """Finds the WebSocket frames in what one side sends after its HTTP head."""

    def __init__(self):
        self.head, self.buffer, self.skip = True, b"", 0

    def feed(self, data):
        """(offset in data, size of the whole frame) of each frame that begins here, as soon as its size is known."""
        at, before = 0, len(self.buffer)
        self.buffer += data
        while True:
            if self.skip:
                step = min(self.skip, len(self.buffer) - at)
                at, self.skip = at + step, self.skip - step
            rest = self.buffer[at:at + 10]
            if self.head:
                end = self.buffer.find(b"\r\n\r\n")
                if end < 0:
                    return
                self.head, self.skip = False, end + 4
                continue
            if self.skip or len(rest) < 2:
                break
            code, masked = rest[1] & 0x7F, rest[1] >> 7
            size = 2 + 4 * masked + {126: 2, 127: 8}.get(code, 0)
            if len(rest) < size - 4 * masked:
                break
            size += int.from_bytes(rest[2:4 if code == 126 else 10], "big") if code >= 126 else code
            yield max(0, at - before), size
            self.skip = size
        self.buffer = self.buffer[at:]


class Side:
    """One socket of a link, and what is to be written to it: (due, bytes)."""

    def __init__(self, link, sock):
        self.link, self.sock, self.other = link, sock, None
        self.frames = Frames()
        self.queue, self.queued = collections.deque(), 0
        self.ended = self.told = False  # it has sent its end of file; the other side knows
        self.events = 0


class Link:
    def __init__(self, proxy, inside, outside):
        self.client, self.server = Side(self, inside), Side(self, outside)
        self.client.other, self.server.other = self.server, self.client
        self.active = time.monotonic()
        self.from_server = 0
        self.stalled = False
        self.proxy = proxy

    def sides(self):
        return self.client, self.server


class Proxy:
    def __init__(self, targets, host="127.0.0.1"):
        self.targets, self.turn = list(targets), 0
        self.cut_after = self.idle_cut = None
        self.frame_max, self.largest_frame = {}, {"client": 0, "server": 0}
        self.delay = 0.0
        self.links, self.accepted, self.drops, self.idle_cuts, self.bytes = [], 0, 0, 0, 0
        self.listener = socket.socket()
        self.listener.bind((host, 0))
        self.listener.listen(4096)
        self.listener.setblocking(False)
        self.port = self.listener.getsockname()[1]
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.listener, selectors.EVENT_READ, None)
        self.lock = threading.RLock()
        self.running = True
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    # -- what tests ask for --------------------------------------------------------------------------------------

    def drop(self, how="rst"):
        """The time at which the links were gone."""
        with self.lock:
            for link in list(self.links):
                self._end(link, how)
            return time.time()

    def inject(self, to, text):
        with self.lock:
            for link in self.links:
                side = link.client if to == "client" else link.server
                side.queue.append((time.monotonic(), text))
                side.queued += len(text)

    def stall(self):
        with self.lock:
            for link in self.links:
                link.stalled = True

    def wake(self):
        """What was stalled goes on, as if nothing had been."""
        with self.lock:
            for link in self.links:
                link.stalled = False

    def count(self):
        with self.lock:
            return len(self.links)

    def close(self):
        self.running = False
        self.thread.join(10)
        self.drop()
        self.listener.close()

    # -- the loop ------------------------------------------------------------------------------------------------

    def _end(self, link, how="rst"):
        if link not in self.links:
            return
        self.links.remove(link)
        self.drops += 1
        for side in link.sides():
            if side.events:
                self.selector.unregister(side.sock)
            if how == "rst":
                side.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            side.sock.close()

    def _accept(self):
        inside, _ = self.listener.accept()
        self.accepted += 1
        for _ in self.targets:
            target = self.targets[self.turn % len(self.targets)]
            self.turn += 1
            try:
                outside = socket.create_connection(target, timeout=5)
                break
            except OSError:
                continue
        else:
            inside.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            inside.close()
            return
        for sock in (inside, outside):
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.links.append(Link(self, inside, outside))

    def _read(self, side):
        link = side.link
        try:
            data = side.sock.recv(CHUNK)
        except BlockingIOError:
            return
        if not data:
            side.ended = True
            return
        link.active = time.monotonic()
        self.bytes += len(data)
        if side is link.server:
            link.from_server += len(data)
            if self.cut_after is not None and link.from_server >= self.cut_after:
                keep = len(data) - (link.from_server - self.cut_after)
                if keep > 0:
                    try:
                        link.client.sock.send(data[:keep])
                    except OSError:
                        pass
                self._end(link)
                return
        if self.frame_max and self._is_cut(side, data):
            return
        side.other.queue.append((time.monotonic() + self.delay, data))
        side.other.queued += len(data)

    def _is_cut(self, side, data):
        name = "server" if side is side.link.server else "client"
        for offset, size in side.frames.feed(data):
            self.largest_frame[name] = max(self.largest_frame[name], size)
            if size > self.frame_max.get(name, size):
                try:
                    side.other.sock.send(data[:offset])
                except OSError:
                    pass
                self._end(side.link)
                return True
        return False

    def _write(self, side, now):
        while side.queue and side.queue[0][0] <= now:
            due, data = side.queue[0]
            try:
                sent = side.sock.send(data)
            except BlockingIOError:
                return
            side.queued -= sent
            if sent < len(data):
                side.queue[0] = (due, data[sent:])
                return
            side.queue.popleft()
        if side.other.ended and not side.queue and not side.told:
            side.told = True
            side.sock.shutdown(socket.SHUT_WR)

    def _wants(self, side, now):
        if side.link.stalled:
            return 0
        reads = not side.ended and side.other.queued < QUEUE_MAX
        writes = bool(side.queue) and side.queue[0][0] <= now
        return (selectors.EVENT_READ if reads else 0) | (selectors.EVENT_WRITE if writes else 0)

    def _watch(self, side, now):
        events = self._wants(side, now)
        if events == side.events:
            return
        if not events:
            self.selector.unregister(side.sock)
        elif side.events:
            self.selector.modify(side.sock, events, side)
        else:
            self.selector.register(side.sock, events, side)
        side.events = events

    def _tend(self, link, now):
        """What is due without an event; and what to wait for."""
        if self.idle_cut is not None and now - link.active > self.idle_cut:
            self.idle_cuts += 1
            self._end(link)
            return
        if link.stalled:
            for side in link.sides():
                self._watch(side, now)
            return
        for side in link.sides():
            if side.queue or (side.other.ended and not side.told):
                self._write(side, now)
        if all(side.ended and side.told for side in link.sides()):
            self._end(link, "fin")
            self.drops -= 1
            return
        for side in link.sides():
            self._watch(side, now)

    def _run(self):
        while self.running:
            with self.lock:
                busy = any(side.queue for link in self.links for side in link.sides())
            ready = self.selector.select(0.001 if busy and self.delay else 0.02)
            with self.lock:
                for key, events in ready:
                    side = key.data
                    try:
                        if side is None:
                            self._accept()
                        elif side.link in self.links and events & selectors.EVENT_READ:
                            self._read(side)
                    except OSError:
                        if side is not None:
                            self._end(side.link)
                now = time.monotonic()
                for link in list(self.links):
                    try:
                        self._tend(link, now)
                    except OSError:
                        self._end(link)
