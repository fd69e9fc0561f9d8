"""The Homebrew formula: examples/packaging/kafka-tunnel-client.rb, which builds from source, with this release's address and checksum."""
import hashlib
import re

import project


def build(version, source_name, source):
    """bytes of the formula."""
    text = (project.ROOT / "examples/packaging/kafka-tunnel-client.rb").read_text(encoding="utf-8")
    for pattern, new in (
            (r"\A(#[^\n]*\n)+", "# Homebrew formula for tunnel-client: the side of the Kafka clients. Not tried on a Mac; only its syntax is checked.\n"),
            (r'^  homepage ".*"', f'  homepage "{project.HOMEPAGE}"'),
            (r'^  url ".*"', f'  url "{project.download(source_name, version)}"'),
            (r'^  sha256 ".*"', f'  sha256 "{hashlib.sha256(source).hexdigest()}"')):
        text, count = re.subn(pattern, new, text, count=1, flags=re.MULTILINE)
        if count != 1:
            raise ValueError(f"the formula has no line for {pattern}")
    return text.encode()
