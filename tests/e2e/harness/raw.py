"""A raw TCP peer behind the tunnel, and what the tests do with it.

Run as a program it is the target (python -m harness.raw): each connection begins with one line that says what to do.

  echo             sends back what comes, until end of file; then ends too
  sink             reads to the end of file, then answers with {"bytes", "sha256"}: an answer after a half-close
  source N SEED    sends N bytes and its end of file, then still reads to the other's end of file
                   and keeps {"bytes", "sha256"} of it as the result of SEED
  result SEED      answers with that result
  both N SEED      sends N bytes while it reads to the end of file, then as `sink`: digest after exactly N bytes
  reset            ends with a TCP reset
  stall            reads nothing more, until the other side is gone
"""

import hashlib
import json
import os
import random
import resource
import select
import signal
import socket
import struct
import sys
import threading

CHUNK = 1 << 18


def block(seed):
    return bytearray(random.Random(seed).randbytes(CHUNK))


def chunks(count, seed):
    """`count` reproducible bytes; each chunk carries its own number, so that a lost or swapped one shows."""
    data, number = block(seed), 0
    while count > 0:
        struct.pack_into(">Q", data, 0, number)
        take = min(count, CHUNK)
        yield memoryview(data)[:take]
        count -= take
        number += 1


def digest_of(count, seed):
    digest = hashlib.sha256()
    for chunk in chunks(count, seed):
        digest.update(chunk)
    return digest.hexdigest()


def send_all(sock, count, seed):
    for chunk in chunks(count, seed):
        sock.sendall(chunk)


def receive(sock, limit=None):
    """Reads to the end of file or to `limit` bytes: {"bytes", "sha256"}."""
    digest, total, buffer = hashlib.sha256(), 0, memoryview(bytearray(CHUNK))
    while limit is None or total < limit:
        got = sock.recv_into(buffer if limit is None else buffer[:min(CHUNK, limit - total)])
        if got == 0:
            break
        digest.update(buffer[:got])
        total += got
    return {"bytes": total, "sha256": digest.hexdigest()}


def _line(sock):
    line = b""
    while not line.endswith(b"\n") and len(line) < 200:
        byte = sock.recv(1)
        if not byte:
            break
        line += byte
    return line.decode("ascii", "replace").split()


class Peer:
    def __init__(self):
        self.results = {}

    def serve(self, sock):
        try:
            words = _line(sock)
            if words:
                getattr(self, "do_" + words[0])(sock, *words[1:])
        except OSError:
            pass
        finally:
            sock.close()

    def do_echo(self, sock):
        while data := sock.recv(CHUNK):
            sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)

    def do_sink(self, sock):
        sock.sendall(json.dumps(receive(sock)).encode())

    def do_source(self, sock, count, seed):
        send_all(sock, int(count), seed)
        sock.shutdown(socket.SHUT_WR)
        self.results[seed] = receive(sock)

    def do_result(self, sock, seed):
        sock.sendall(json.dumps(self.results.get(seed)).encode())

    def do_both(self, sock, count, seed):
        sender = threading.Thread(target=send_all, args=(sock, int(count), seed))
        sender.start()
        got = receive(sock)
        sender.join()
        sock.sendall(json.dumps(got).encode())

    def do_reset(self, sock):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def do_stall(self, sock):
        poll = select.poll()
        poll.register(sock, select.POLLHUP | select.POLLERR | select.POLLRDHUP)
        poll.poll(120000)


def main():
    raise_descriptor_limit()
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    threading.stack_size(256 * 1024)
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((sys.argv[1], 0))
    listener.listen(4096)
    peer = Peer()
    print(json.dumps({"event": "ready", "port": listener.getsockname()[1]}), file=sys.stderr, flush=True)
    while True:
        sock, _ = listener.accept()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=peer.serve, args=(sock,), daemon=True).start()


def raise_descriptor_limit():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))


# -- the tests' side -------------------------------------------------------------------------------------------------


def start_peer(processes, host="127.0.0.2"):
    peer = processes.start([sys.executable, "-m", "harness.raw", host], "peer",
                           env={"PYTHONPATH": os.path.dirname(os.path.dirname(os.path.abspath(__file__)))})
    peer.host, peer.port = host, peer.wait_for("ready")["port"]
    return peer


def connect(port, command, host="127.0.0.1", timeout=60):
    sock = socket.create_connection((host, port), timeout=timeout)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if command is not None:
        sock.sendall(command.encode() + b"\n")
    return sock


def ask(port, command, timeout=60):
    """One command, its whole JSON answer."""
    with connect(port, command, timeout=timeout) as sock:
        return json.loads(read_rest(sock))


def read_rest(sock):
    data = b""
    while got := sock.recv(65536):
        data += got
    return data


def echo_once(port, data=b"ping", host="127.0.0.1", timeout=30):
    """A whole life of a connection: echo, half-close, end of file. Returns what came back."""
    with connect(port, "echo", host, timeout) as sock:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        return read_rest(sock)


def check_both(port, count, during=lambda: None, timeout=180):
    """`count` bytes each way at once, all of them checked; during() is called while they flow."""
    with connect(port, f"both {count} down", timeout=timeout) as sock:
        answer = {}

        def receive_all():
            answer["got"] = receive(sock, count)
            answer["rest"] = read_rest(sock)
        reader = threading.Thread(target=receive_all)
        reader.start()
        during()
        send_all(sock, count, "up")
        sock.shutdown(socket.SHUT_WR)
        reader.join(timeout)
        assert not reader.is_alive()
    assert answer["got"] == {"bytes": count, "sha256": digest_of(count, "down")}
    assert json.loads(answer["rest"]) == {"bytes": count, "sha256": digest_of(count, "up")}


if __name__ == "__main__":
    main()
