"""Kafka's messages, encoded and decoded by the published schemas (common/message/*.json in kafka-clients), and random ones of them.

This is the test's own reading of the protocol, independent of the product's. A message is a dict of field names; a tagged field
that is not there is absent; unknown tags are under TAGS as {number: bytes}.
"""

import json
import re
import struct
import zipfile

TAGS = "_tags"
FIXED = {"bool": ">?", "int8": ">b", "int16": ">h", "uint16": ">H", "int32": ">i", "uint32": ">I", "int64": ">q", "float64": ">d"}


def versions(text):
    """A range: "3-7", "4+", "5", "none"."""
    if text in (None, "none"):
        return range(0)
    first, plus, last = re.fullmatch(r"(\d+)(\+)?(?:-(\d+))?", text).groups()
    return range(int(first), 1 << 15 if plus else int(last or first) + 1)


class Field:
    def __init__(self, data, structs):
        self.name, self.type = data["name"], data["type"]
        self.versions = versions(data.get("versions"))
        self.nullable = versions(data.get("nullableVersions"))
        self.tag, self.tagged = data.get("tag"), versions(data.get("taggedVersions"))
        self.array = self.type.startswith("[]")
        self.element = self.type.removeprefix("[]")
        fields = data.get("fields") or structs.get(self.element)
        self.fields = [Field(f, structs) for f in fields] if fields else None
        self.initial = data.get("default")
        self.entity = data.get("entityType")

    def default(self, version):
        """A tag that says this is left out by most writers."""
        if self.initial == "null":
            return None
        if self.array:
            return []
        if self.fields:
            return {f.name: f.default(version) for f in self.fields if version in f.versions and version not in f.tagged}
        if self.element in ("string", "bytes", "records"):
            return (self.initial or "") if self.element == "string" else b""
        if self.element == "uuid":
            return bytes(16)
        if self.element == "bool":
            return self.initial in (True, "true")
        return int(str(self.initial or 0), 0)


class Message:
    def __init__(self, data):
        structs = {s["name"]: s["fields"] for s in data.get("commonStructs", [])}
        self.key, self.name = data["apiKey"], re.sub("(Request|Response)$", "", data["name"])
        self.valid, self.flexible = versions(data["validVersions"]), versions(data.get("flexibleVersions"))
        self.fields = [Field(f, structs) for f in data.get("fields", [])]
        self.listeners = data.get("listeners", [])

    def encode(self, value, version):
        return _Writer(version, version in self.flexible).struct(self.fields, value)

    def decode(self, data, version):
        """(message, how many bytes it takes)"""
        reader = _Reader(data, version, version in self.flexible)
        return reader.struct(self.fields), reader.at

    def without_defaults(self, value, version):
        """The same message, without the tags that say nothing new."""
        return _without_defaults(self.fields, value, version)

    def random(self, random, version, unknown_tags=True):
        return _Random(random, version, version in self.flexible and unknown_tags).struct(self.fields)


def responses(jar):
    """{api key: Message} of every response in kafka-clients' jar that has a version."""
    return messages(jar, "Response")


def messages(jar, kind):
    """{api key: Message} of every "Request" or "Response"."""
    found = {}
    with zipfile.ZipFile(jar) as archive:
        for name in archive.namelist():
            if re.fullmatch(rf"common/message/\w+{kind}\.json", name):
                text = re.sub(r"^\s*//.*$", "", archive.read(name).decode(), flags=re.MULTILINE)
                message = Message(json.loads(text))
                if message.valid:
                    found[message.key] = message
    return found


def uvarint(number):
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(out) + bytes([number])


def _without_defaults(fields, value, version):
    known = {f.name: f for f in fields}
    kept = {}
    for name, content in value.items():
        field = known.get(name)
        if field and field.fields and content is not None:
            if field.array:
                content = [_without_defaults(field.fields, one, version) for one in content]
            else:
                content = _without_defaults(field.fields, content, version)
        if field is None or version not in field.tagged or content != field.default(version):
            kept[name] = content
    return kept


class _Writer:
    def __init__(self, version, flexible):
        self.version, self.flexible = version, flexible

    def struct(self, fields, value):
        out, tagged = b"", dict(value.get(TAGS, {}))
        for field in fields:
            if self.version not in field.versions:
                continue
            if self.version in field.tagged:
                if field.name in value:
                    tagged[field.tag] = self.field(field, value[field.name])
            else:
                out += self.field(field, value[field.name])
        if self.flexible:
            out += uvarint(len(tagged))
            for number in sorted(tagged):
                out += uvarint(number) + uvarint(len(tagged[number])) + tagged[number]
        return out

    def field(self, field, value):
        if field.array:
            return self.length(value, "i") + b"".join(self.one(field, v) for v in value or ())
        if field.fields and self.version in field.nullable:
            return b"\xff" if value is None else b"\x01" + self.one(field, value)
        return self.one(field, value)

    def one(self, field, value):
        if field.fields:
            return self.struct(field.fields, value)
        if field.element in FIXED:
            return struct.pack(FIXED[field.element], value)
        if field.element == "uuid":
            return value
        if field.element == "string":
            return self.length(value if value is None else value.encode(), "h") + (value or "").encode()
        return self.length(value, "i") + (value or b"")

    def length(self, value, classic):
        if self.flexible:
            return uvarint(0 if value is None else len(value) + 1)
        return struct.pack(">" + classic, -1 if value is None else len(value))


class _Reader:
    def __init__(self, data, version, flexible):
        self.data, self.version, self.flexible, self.at = data, version, flexible, 0

    def take(self, size):
        assert 0 <= size <= len(self.data) - self.at, f"{size} bytes at {self.at} of {len(self.data)}"
        self.at += size
        return self.data[self.at - size:self.at]

    def uvarint(self):
        number = shift = 0
        while True:
            byte = self.take(1)[0]
            number |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return number

    def struct(self, fields):
        value = {f.name: self.field(f) for f in fields if self.version in f.versions and self.version not in f.tagged}
        if not self.flexible:
            return value
        known = {f.tag: f for f in fields if self.version in f.tagged}
        for _ in range(self.uvarint()):
            number, size = self.uvarint(), self.uvarint()
            end = self.at + size
            if number in known:
                value[known[number].name] = self.field(known[number])
                assert self.at == end, f"tag {number} has {size} bytes, its field another number"
            else:
                value.setdefault(TAGS, {})[number] = self.take(size)
        return value

    def field(self, field):
        if field.array:
            count = self.length("i")
            return None if count is None else [self.one(field) for _ in range(count)]
        if field.fields and self.version in field.nullable and self.take(1) == b"\xff":
            return None
        return self.one(field)

    def one(self, field):
        if field.fields:
            return self.struct(field.fields)
        if field.element in FIXED:
            return struct.unpack(FIXED[field.element], self.take(struct.calcsize(FIXED[field.element])))[0]
        if field.element == "uuid":
            return self.take(16)
        size = self.length("h" if field.element == "string" else "i")
        data = None if size is None else self.take(size)
        return data.decode() if field.element == "string" and data is not None else data

    def length(self, classic):
        if self.flexible:
            coded = self.uvarint()
            return None if coded == 0 else coded - 1
        size = struct.unpack(">" + classic, self.take(struct.calcsize(classic)))[0]
        return None if size == -1 else size


class _Random:
    """Values at the edges as often as between them; small in all, so that many fit into a second."""

    NUMBERS = {"int8": 7, "int16": 15, "int32": 31, "int64": 63, "uint16": 16, "uint32": 32}

    def __init__(self, random, version, unknown_tags):
        self.random, self.version, self.unknown_tags = random, version, unknown_tags
        self.budget = 120  # structs

    def struct(self, fields):
        self.budget -= 1
        value = {}
        for field in fields:
            if self.version in field.versions and (self.version not in field.tagged or self.random.random() < 0.6):
                value[field.name] = self.field(field)
        if self.unknown_tags and self.random.random() < 0.1:
            value[TAGS] = {self.random.choice((50, 127, 128, 200, 16384)): self.random.randbytes(self.random.choice((0, 1, 130)))
                           for _ in range(self.random.randint(1, 3))}
        return value

    def field(self, field):
        if self.version in field.nullable and self.random.random() < 0.2:
            return None
        if field.array:
            most = 3 if self.budget > 0 else 0
            if not field.fields and self.random.random() < 0.05:
                most = 200
            return [self.one(field) for _ in range(self.random.randint(0, most))]
        return self.one(field)

    def one(self, field):
        if field.fields:
            return self.struct(field.fields)
        if field.element in self.NUMBERS:
            return self.number(field)
        if field.element == "bool":
            return self.random.random() < 0.5
        if field.element == "float64":
            return float(self.random.randint(-1000, 1000))
        if field.element == "uuid":
            return self.random.randbytes(16)
        size = self.random.choice((0, 1, 5, 13, 126, 127, 128, 300))
        if field.element == "string":
            letters = "abcdefghij.-é" if self.random.random() < 0.3 else "abcdefghij.-"  # no host has an é
            return "".join(self.random.choice(letters) for _ in range(size))
        return self.random.randbytes(self.random.choice((size, 20_000)) if self.random.random() < 0.2 else size)

    def number(self, field):
        bits = self.NUMBERS[field.element]
        signed = field.element.startswith("i")
        if field.name == "Port" and self.random.random() < 0.9:
            return self.random.randint(1, min(65535, (1 << bits) - 1))
        if field.name in ("NodeId", "BrokerId") and self.random.random() < 0.9:
            return self.random.choice((0, 1, 2, 1000, (1 << 31) - 1))
        edge = self.random.choice((0, 1, (1 << bits) - 1, -(1 << bits) if signed else 0, -1 if signed else 0))
        return edge if self.random.random() < 0.5 else self.random.randint(-(1 << bits) if signed else 0, (1 << bits) - 1)
