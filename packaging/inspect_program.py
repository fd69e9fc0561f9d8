#!/usr/bin/env python3
"""What a program's file says of what it needs: packaging/inspect_program.py FILE

For Linux (ELF): the processor, whether it is static and position-independent. For macOS (Mach-O): the processor, the first version of
macOS, the libraries, whether it is signed, without which Apple Silicon does not start it. No tool of either system is needed."""
import pathlib
import struct
import sys

ELF_MACHINES = {62: "amd64", 183: "arm64"}
MACHO_CPUS = {0x01000007: "amd64", 0x0100000C: "arm64"}
PT_DYNAMIC, PT_INTERP, ET_DYN, DT_NEEDED = 2, 3, 3, 1
LC_LOAD_DYLIB, LC_CODE_SIGNATURE, LC_VERSION_MIN_MACOSX, LC_BUILD_VERSION, LC_REQ_DYLD = 0xC, 0x1D, 0x24, 0x32, 0x80000000


def _elf(data):
    kind, machine = struct.unpack_from("<HH", data, 16)
    table, = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    segments = [struct.unpack_from("<IIQQQQ", data, table + i * size) for i in range(count)]
    needed = 0
    for segment, _, offset, _, _, length in segments:
        if segment == PT_DYNAMIC:
            needed += sum(struct.unpack_from("<q", data, at)[0] == DT_NEEDED for at in range(offset, offset + length, 16))
    return {"system": "linux", "cpu": ELF_MACHINES.get(machine, machine), "pie": kind == ET_DYN,
            "static": not needed and not any(segment[0] == PT_INTERP for segment in segments)}


def _version(number):
    return f"{number >> 16}.{number >> 8 & 255}"


def _macho(data):
    cpu, = struct.unpack_from("<I", data, 4)
    count, = struct.unpack_from("<I", data, 16)
    found = {"system": "macos", "cpu": MACHO_CPUS.get(cpu, cpu), "libraries": [], "signed": False}
    at = 32
    for _ in range(count):
        command, size = struct.unpack_from("<II", data, at)
        if command & ~LC_REQ_DYLD == LC_LOAD_DYLIB:
            start, = struct.unpack_from("<I", data, at + 8)
            found["libraries"].append(data[at + start:at + size].split(b"\0")[0].decode())
        elif command == LC_BUILD_VERSION:
            found["first_version"] = _version(struct.unpack_from("<I", data, at + 12)[0])
        elif command == LC_VERSION_MIN_MACOSX:
            found["first_version"] = _version(struct.unpack_from("<I", data, at + 8)[0])
        elif command == LC_CODE_SIGNATURE:
            found["signed"] = True
        at += size
    return found


def inspect(data):
    if data[:6] == b"\x7fELF\2\1":
        return _elf(data)
    if data[:4] == struct.pack("<I", 0xFEEDFACF):
        return _macho(data)
    raise ValueError("neither an ELF nor a Mach-O file for 64 bits")


if __name__ == "__main__":
    for fact, value in sorted(inspect(pathlib.Path(sys.argv[1]).read_bytes()).items()):
        print(f"{fact}={','.join(value) if isinstance(value, list) else str(value).lower()}")
