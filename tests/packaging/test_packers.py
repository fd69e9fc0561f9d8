#!/usr/bin/env python3
"""The packers of packaging/, with a stand-in for the program: what pip, npm, OCI's tools and scanners read is right, and the same
input gives the same bytes."""
import base64
import csv
import gzip
import hashlib
import io
import json
import pathlib
import re
import struct
import sys
import tarfile
import time
import unittest
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "packaging"))

import archive            # noqa: E402
import files              # noqa: E402
import formula            # noqa: E402
import image              # noqa: E402
import inspect_program    # noqa: E402
import libraries          # noqa: E402
import npm                # noqa: E402
import programs           # noqa: E402
import project            # noqa: E402
import sbom               # noqa: E402
import sources            # noqa: E402
import wheel              # noqa: E402

EPOCH = 1764000000
PROGRAM = b"#!/bin/sh\necho tunnel-client 1.2.3\n"
LICENCES = [("LICENSE", "own\n"), ("openssl-LICENSE.txt", "OpenSSL's\n")]


def tar_members(content):
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        return {member.name: (member, tar.extractfile(member).read() if member.isfile() else None) for member in tar.getmembers()}


class Files(unittest.TestCase):
    def test_order_time_and_owner_do_not_depend_on_the_machine(self):
        entries = [("b/two", 0o755, b"2"), ("a", 0o644, b"1")]
        content = files.tar_bytes(entries, EPOCH)
        self.assertEqual(content, files.tar_bytes(entries[::-1], EPOCH))
        members = tar_members(content)
        self.assertEqual(list(members), ["a", "b", "b/two"])
        for member, _ in members.values():
            self.assertEqual((member.mtime, member.uid, member.gid, member.uname, member.gname), (EPOCH, 0, 0, "", ""))

    def test_gzip_has_no_time_and_no_name(self):
        packed = files.gzipped(b"content")
        self.assertEqual(packed[3:8], b"\0\0\0\0\0")
        self.assertEqual(gzip.decompress(packed), b"content")

    def test_zip_has_the_time_of_the_commit(self):
        with zipfile.ZipFile(io.BytesIO(files.zip_bytes([("a", 0o755, b"1")], EPOCH))) as file:
            info = file.getinfo("a")
            self.assertEqual(info.date_time, time.gmtime(EPOCH)[:6])
            self.assertEqual(info.external_attr >> 16, 0o100755)


class Wheels(unittest.TestCase):
    def build(self, target="linux-amd64"):
        return wheel.build(target, "1.2.3", PROGRAM, LICENCES, "# About\n", EPOCH)

    def test_every_target_has_a_tag(self):
        self.assertEqual(set(wheel.TAGS), set(libraries.TARGETS))

    def test_record_is_right(self):
        _, content = self.build()
        with zipfile.ZipFile(io.BytesIO(content)) as file:
            names = file.namelist()
            record = "kafka_tunnel-1.2.3.dist-info/RECORD"
            rows = list(csv.reader(io.StringIO(file.read(record).decode())))
            self.assertEqual({row[0] for row in rows}, set(names))
            for name, digest, size in rows:
                if name == record:
                    self.assertEqual((digest, size), ("", ""))
                    continue
                data = file.read(name)
                self.assertEqual(digest, "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode())
                self.assertEqual(int(size), len(data))

    def test_tags_are_those_of_the_name(self):
        for target in wheel.TAGS:
            name, content = self.build(target)
            with zipfile.ZipFile(io.BytesIO(content)) as file:
                told = re.findall("^Tag: (.*)$", file.read("kafka_tunnel-1.2.3.dist-info/WHEEL").decode(), re.MULTILINE)
            platforms = re.fullmatch(r"kafka_tunnel-1\.2\.3-py3-none-(.*)\.whl", name)[1].split(".")
            self.assertEqual(told, [f"py3-none-{platform}" for platform in platforms])

    def test_program_can_be_run(self):
        _, content = self.build()
        with zipfile.ZipFile(io.BytesIO(content)) as file:
            info = file.getinfo("kafka_tunnel-1.2.3.data/scripts/tunnel-client")
            self.assertEqual(info.external_attr >> 16 & 0o777, 0o755)
            self.assertEqual(file.read(info), PROGRAM)

    def test_metadata_names_the_licence_files_that_are_there(self):
        _, content = self.build()
        with zipfile.ZipFile(io.BytesIO(content)) as file:
            metadata = file.read("kafka_tunnel-1.2.3.dist-info/METADATA").decode()
            for name in re.findall("^License-File: (.*)$", metadata, re.MULTILINE):
                self.assertIn(f"kafka_tunnel-1.2.3.dist-info/licenses/{name}", file.namelist())
        self.assertTrue(metadata.endswith("\n\n# About\n"))

    def test_same_bytes(self):
        self.assertEqual(self.build(), self.build())


class Npm(unittest.TestCase):
    def package(self, packed):
        name, content = packed
        members = tar_members(gzip.decompress(content))
        return name, json.loads(members["package/package.json"][1]), members

    def test_main_package_asks_for_those_that_there_are(self):
        _, main, members = self.package(npm.build_main(list(npm.PLATFORMS), "1.2.3", LICENCES, "about", EPOCH))
        there = {}
        for target in npm.PLATFORMS:
            name, package, _ = self.package(npm.build_platform(target, "1.2.3", PROGRAM, LICENCES, EPOCH))
            there[package["name"]] = package["version"]
            self.assertEqual(name, f"{package['name'][1:].replace('/', '-')}-1.2.3.tgz")
            self.assertEqual((package["os"], package["cpu"]), tuple([part] for part in npm.PLATFORMS[target]))
        self.assertEqual(main["optionalDependencies"], there)
        self.assertEqual(main["bin"], {"tunnel-client": "tunnel-client.js"})
        starter, text = members["package/tunnel-client.js"]
        self.assertEqual(starter.mode, 0o755)
        self.assertIn(f"`{project.FACTS['npm_scope']}/client-${{process.platform}}-${{process.arch}}`".encode(), text)
        self.assertNotIn(b"@SCOPE@", text)

    def test_program_is_in_its_package(self):
        _, _, members = self.package(npm.build_platform("linux-arm64", "1.2.3", PROGRAM, LICENCES, EPOCH))
        member, content = members["package/bin/tunnel-client"]
        self.assertEqual((member.mode, content), (0o755, PROGRAM))

    def test_same_bytes(self):
        self.assertEqual(npm.build_platform("macos-arm64", "1", PROGRAM, LICENCES, EPOCH),
                         npm.build_platform("macos-arm64", "1", PROGRAM, LICENCES, EPOCH))


class Images(unittest.TestCase):
    def build(self):
        pair = {"tunnel-client": PROGRAM, "tunnel-server": PROGRAM + b"#\n"}
        return image.build({"linux-amd64": pair, "linux-arm64": pair}, "1.2.3", "f" * 40, b"-----BEGIN CERTIFICATE-----\n", LICENCES, EPOCH)

    def test_digests_and_sizes_lead_from_the_index_to_the_layers(self):
        members = tar_members(self.build())
        used = set()

        def blob(descriptor):
            path = "blobs/" + descriptor["digest"].replace(":", "/")
            content = members[path][1]
            used.add(path)
            self.assertEqual(hashlib.sha256(content).hexdigest(), path.rpartition("/")[2])
            self.assertEqual(descriptor["size"], len(content))
            return content

        self.assertEqual(json.loads(members["oci-layout"][1]), {"imageLayoutVersion": "1.0.0"})
        top = json.loads(members["index.json"][1])
        index = json.loads(blob(top["manifests"][0]))
        self.assertEqual([entry["platform"]["architecture"] for entry in index["manifests"]], ["amd64", "arm64"])
        for entry in index["manifests"]:
            manifest = json.loads(blob(entry))
            config = json.loads(blob(manifest["config"]))
            self.assertEqual(config["architecture"], entry["platform"]["architecture"])
            self.assertEqual(config["config"]["User"], "65532:65532")
            layer = gzip.decompress(blob(manifest["layers"][0]))
            self.assertEqual(config["rootfs"]["diff_ids"], [f"sha256:{hashlib.sha256(layer).hexdigest()}"])
            inside = tar_members(layer)
            programs_inside = [name for name, (member, _) in inside.items() if member.isfile() and member.mode & 0o111]
            self.assertEqual(programs_inside, ["usr/bin/tunnel-client", "usr/bin/tunnel-server"])
            self.assertIn("etc/ssl/cert.pem", inside)
        self.assertEqual(used, {name for name in members if name.startswith("blobs/sha256/")})

    def test_same_bytes(self):
        self.assertEqual(self.build(), self.build())


class Sbom(unittest.TestCase):
    def test_has_all_that_is_pinned(self):
        bom = json.loads(sbom.build("1.2.3", list(libraries.TARGETS.values()), {"a.whl": "0" * 64}, EPOCH))
        self.assertEqual((bom["bomFormat"], bom["specVersion"]), ("CycloneDX", "1.6"))
        components = {component["name"]: component for component in bom["components"] if component["type"] == "library"}
        pinned = {name: entry for name, entry in sources.load().items() if not entry.get("tool")}
        self.assertEqual(set(components), set(pinned))
        for name, entry in pinned.items():
            self.assertEqual(components[name]["version"], entry["version"])
            self.assertEqual(components[name]["licenses"], [{"license": {"id": entry["licence"]}}])
        references = {component["bom-ref"] for component in bom["components"]} | {bom["metadata"]["component"]["bom-ref"]}
        for dependency in bom["dependencies"]:
            self.assertLessEqual({dependency["ref"], *dependency.get("dependsOn", [])}, references)
        files_told = [component for component in bom["components"] if component["type"] == "file"]
        self.assertEqual([file["name"] for file in files_told], ["a.whl"])

    def test_a_mac_has_no_musl(self):
        self.assertEqual({entry["name"] for entry in sources.inside("tunnel-server", "linux")},
                         {"openssl", "libevent", "jansson", "musl", "compiler-rt"})
        self.assertEqual({entry["name"] for entry in sources.inside("tunnel-client", "macos")}, {"openssl", "libevent", "jansson", "compiler-rt"})

    def test_same_bytes(self):
        arguments = "1.2.3", list(libraries.TARGETS.values()), {}, EPOCH
        self.assertEqual(sbom.build(*arguments), sbom.build(*arguments))


class Others(unittest.TestCase):
    def test_every_source_is_pinned(self):
        for name, entry in sources.load().items():
            for pin in entry.get("machines", {"": entry}).values():
                if entry.get("inside"):
                    self.assertIn(entry["inside"], sources.load())
                    continue
                self.assertRegex(pin["sha256"], "^[0-9a-f]{64}$", name)
                self.assertTrue(all(url.startswith("https://") for url in pin["urls"]), name)

    def test_formula_has_the_address_and_checksum(self):
        text = formula.build("1.2.3", "kafka-tunnel-1.2.3.tar.gz", b"source").decode()
        self.assertIn(f'url "{project.HOMEPAGE}/releases/download/v1.2.3/kafka-tunnel-1.2.3.tar.gz"', text)
        self.assertIn(f'sha256 "{hashlib.sha256(b"source").hexdigest()}"', text)
        self.assertNotIn("example.com", text)

    def test_archive_has_only_what_belongs_to_its_programs(self):
        built = programs.Built({"tunnel-client": PROGRAM}, {"man/man1/tunnel-client.1": b"c", "man/man1/tunnel-server.1": b"s"})
        name, content = archive.build("tunnel-client-1.2.3-macos-arm64", built, ("tunnel-client",), LICENCES, [("README.md", "about")], EPOCH)
        self.assertEqual(name, "tunnel-client-1.2.3-macos-arm64.tar.gz")
        members = [path for path, (member, _) in tar_members(gzip.decompress(content)).items() if member.isfile()]
        self.assertEqual([path.partition("/")[2] for path in members],
                         ["LICENSE", "README.md", "bin/tunnel-client", "licenses/openssl-LICENSE.txt", "share/man/man1/tunnel-client.1.gz"])

    def test_recipe_is_part_of_the_key_in_the_cache(self):
        target = libraries.TARGETS["linux-amd64"]
        before = libraries.key("openssl", target)
        self.assertNotEqual(before, libraries.key("openssl", libraries.TARGETS["linux-arm64"]))
        self.assertNotEqual(before, libraries.key("libevent", target))
        libraries.OPENSSL_OPTIONS.append("no-something")
        try:
            self.assertNotEqual(before, libraries.key("openssl", target))
        finally:
            libraries.OPENSSL_OPTIONS.pop()

    def test_mach_o_is_read(self):
        name = b"/usr/lib/libSystem.B.dylib".ljust(32, b"\0")
        commands = struct.pack("<IIIIIII", 0xC, 24 + len(name), 24, 0, 0, 0, 0)[:24] + name
        commands += struct.pack("<IIIIII", 0x32, 24, 1, 11 << 16, 0, 0) + struct.pack("<IIII", 0x1D, 16, 0, 0)
        header = struct.pack("<IIIIIIII", 0xFEEDFACF, 0x0100000C, 0, 2, 3, len(commands), 0, 0)
        self.assertEqual(inspect_program.inspect(header + commands),
                         {"system": "macos", "cpu": "arm64", "libraries": ["/usr/lib/libSystem.B.dylib"], "first_version": "11.0", "signed": True})
        with self.assertRaises(ValueError):
            inspect_program.inspect(b"#!/bin/sh")


if __name__ == "__main__":
    unittest.main()
