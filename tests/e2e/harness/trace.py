"""Proof of where a client connects to: strace over its whole process tree."""

import re

ADDRESS = re.compile(r'inet_addr\("([^"]+)"\)|inet_pton\(AF_INET6, "([^"]+)"')
PORT = re.compile(r"sin6?_port=htons\((\d+)\)")
FAMILY = re.compile(r"connect\(\d+, \{sa_family=(AF_\w+)")


class Trace:
    def __init__(self, path):
        self.path = path

    def wrap(self, argv):
        return ["strace", "-f", "--seccomp-bpf", "-qq", "-e", "trace=connect", "-e", "signal=none", "-A", "-o", self.path, *argv]

    def connects(self):
        """Every (address, port) an IP socket was connected to.

        Left out: AF_UNIX and AF_NETLINK, port 53 (name service), and port 0, which connects nothing: getaddrinfo
        uses it on a datagram socket to learn the source address.
        """
        found = []
        with open(self.path, encoding="utf-8", errors="replace") as f:
            for line in f:
                family = FAMILY.search(line)
                if not family or family.group(1) not in ("AF_INET", "AF_INET6"):
                    continue
                address, port = ADDRESS.search(line), PORT.search(line)
                assert address and port, f"cannot read strace's line: {line}"
                host = (address.group(1) or address.group(2)).replace("::ffff:", "")
                if int(port.group(1)) not in (0, 53):
                    found.append((host, int(port.group(1))))
        return found


def only(connects, ports):
    """Fails if anything was dialled but the given ports on loopback; also if nothing was dialled at all."""
    assert connects, "strace saw no connect at all"
    strangers = {c for c in connects if c[0] not in ("127.0.0.1", "::1") or c[1] not in ports}
    assert not strangers, f"the client connected past the tunnel: {sorted(strangers)}; listeners are {sorted(ports)}"
