"""Wheels with tunnel-client inside: pip puts the program itself into bin/, without a Python program in front of it."""
import base64
import hashlib

import files
import project

# The platform tags of PEP 425, 600 and 656. A static program needs no libc, so it runs wherever either kind of wheel does.
TAGS = {
    "linux-amd64": "manylinux_2_5_x86_64.manylinux1_x86_64.musllinux_1_1_x86_64",
    "linux-arm64": "manylinux_2_17_aarch64.manylinux2014_aarch64.musllinux_1_1_aarch64",
    "macos-arm64": "macosx_11_0_arm64",
    "macos-amd64": "macosx_11_0_x86_64",
}


def _digest(content):
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def build(target, version, program, licences, readme, epoch):
    """(file name, bytes). licences: [(name, text)]."""
    name = project.FACTS["name"].replace("-", "_")
    info = f"{name}-{version}.dist-info"
    metadata = "\n".join([
        "Metadata-Version: 2.4",
        f"Name: {project.FACTS['name']}",
        f"Version: {version}",
        f"Summary: {project.FACTS['summary']}",
        f"Project-URL: Homepage, {project.HOMEPAGE}",
        f"License-Expression: {project.FACTS['licence']}",
        *(f"License-File: {licence}" for licence, _ in licences),
        "Keywords: kafka,tunnel,proxy,websocket",
        "Classifier: Environment :: Console",
        f"Classifier: Operating System :: {'MacOS' if target.startswith('macos') else 'POSIX :: Linux'}",
        "Classifier: Topic :: System :: Networking",
        "Requires-Python: >=3.7",
        "Description-Content-Type: text/markdown",
        "", readme])
    tags = [f"Tag: py3-none-{tag}" for tag in TAGS[target].split(".")]
    wheel = "\n".join(["Wheel-Version: 1.0", "Generator: kafka-tunnel scripts/release", "Root-Is-Purelib: false", *tags, ""])
    entries = [
        (f"{name}-{version}.data/scripts/tunnel-client", 0o755, program),
        *((f"{info}/licenses/{licence}", 0o644, text.encode()) for licence, text in licences),
        (f"{info}/METADATA", 0o644, metadata.encode()),
        (f"{info}/WHEEL", 0o644, wheel.encode()),
    ]
    record = [f"{path},{_digest(content)},{len(content)}" for path, _, content in entries]
    record += [f"{info}/RECORD,,", ""]
    entries.append((f"{info}/RECORD", 0o644, "\n".join(record).encode()))
    return f"{name}-{version}-py3-none-{TAGS[target]}.whl", files.zip_bytes(entries, epoch)
