#!/usr/bin/env python3
"""The inputs that fuzzing found, kept in one file a target: corpus/NAME.pack. Seeds with a name are files in corpus/NAME beside it.

  tests/fuzz/corpus.py unpack NAME DIRECTORY   writes them as files, one each, to fuzz or to look at
  tests/fuzz/corpus.py pack NAME DIRECTORY     adds the files of DIRECTORY, as libFuzzer leaves them
  tests/fuzz/corpus.py repack NAME DIRECTORY   the same, and forgets what is not in DIRECTORY

A pack is a row of inputs, each a size (u32, big-endian) and that many bytes, in ascending order and none twice.
"""

import hashlib
import pathlib
import struct
import sys

CORPUS = pathlib.Path(__file__).resolve().parent / "corpus"


def read(pack):
    content = pack.read_bytes() if pack.exists() else b""
    at, inputs = 0, set()
    while at < len(content):
        (size,) = struct.unpack_from(">I", content, at)
        inputs.add(content[at + 4:at + 4 + size])
        at += 4 + size
    assert at == len(content), f"{pack} is cut short"
    return inputs


def write(pack, inputs):
    pack.write_bytes(b"".join(struct.pack(">I", len(i)) + i for i in sorted(inputs)))


def main(what, name, directory):
    pack, directory = CORPUS / f"{name}.pack", pathlib.Path(directory)
    kept = read(pack)
    if what == "unpack":
        directory.mkdir(parents=True, exist_ok=True)
        for content in kept:
            (directory / hashlib.sha1(content).hexdigest()).write_bytes(content)
        print(f"{len(kept)} inputs in {directory}")
        return
    seeds = CORPUS / name
    named = {path.read_bytes() for path in seeds.iterdir()} if seeds.is_dir() else set()
    found = {path.read_bytes() for path in directory.iterdir() if path.is_file()} - named
    write(pack, found if what == "repack" else kept | found)
    print(f"{len(read(pack))} inputs in {pack}, {len(found - kept)} of them new")


if __name__ == "__main__":
    if len(sys.argv) != 4 or sys.argv[1] not in ("pack", "unpack", "repack"):
        sys.exit(__doc__)
    main(*sys.argv[1:])
