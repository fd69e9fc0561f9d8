"""The image, for several platforms at once, as a tar file in OCI's layout: buildah, podman, skopeo and Docker 25 load it.

It has the two static programs and the certificates of public CAs, and nothing else: no shell, no libraries."""
import hashlib
import json
import time

import files
import project

USER = 65532
ARCHITECTURES = {"linux-amd64": "amd64", "linux-arm64": "arm64"}


def _layer(programs, certificates, licences, epoch):
    entries = [(f"usr/bin/{name}", 0o755, content) for name, content in programs.items()]
    entries += [
        ("etc/ssl/cert.pem", 0o644, certificates),
        ("etc/ssl/certs/ca-certificates.crt", 0o644, certificates),
        ("etc/passwd", 0o644, f"kafka-tunnel:x:{USER}:{USER}:kafka-tunnel:/:/sbin/nologin\n".encode()),
        ("etc/group", 0o644, f"kafka-tunnel:x:{USER}:\n".encode()),
        *((f"usr/share/doc/kafka-tunnel/{name}", 0o644, text.encode()) for name, text in licences),
    ]
    return files.tar_bytes(entries, epoch)


def build(images, version, revision, certificates, licences, epoch):
    """bytes of the layout. images: target -> {program: content}."""
    blobs = {}

    def blob(content, media_type, **more):
        digest = hashlib.sha256(content).hexdigest()
        blobs[digest] = content
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content), **more}

    def as_json(value):
        return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()

    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch))
    labels = {
        "org.opencontainers.image.title": project.FACTS["name"],
        "org.opencontainers.image.description": project.FACTS["summary"],
        "org.opencontainers.image.licenses": project.FACTS["licence"],
        "org.opencontainers.image.source": project.HOMEPAGE,
        "org.opencontainers.image.version": version,
        "org.opencontainers.image.revision": revision,
    }
    manifests = []
    for target, programs in sorted(images.items()):
        layer = _layer(programs, certificates, licences, epoch)
        config = {
            "architecture": ARCHITECTURES[target], "os": "linux", "created": created,
            "config": {"User": f"{USER}:{USER}", "WorkingDir": "/", "Cmd": ["tunnel-client", "--help"], "StopSignal": "SIGTERM",
                       "Env": ["PATH=/usr/bin", "TUNNEL_STATUS=127.0.0.1:9091"], "Labels": labels},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
            "history": [{"created": created, "created_by": "scripts/release"}],
        }
        manifest = {
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": blob(as_json(config), "application/vnd.oci.image.config.v1+json"),
            "layers": [blob(files.gzipped(layer), "application/vnd.oci.image.layer.v1.tar+gzip")],
            "annotations": labels,
        }
        manifests.append(blob(as_json(manifest), manifest["mediaType"],
                              platform={"os": "linux", "architecture": ARCHITECTURES[target]}))
    index_type = "application/vnd.oci.image.index.v1+json"
    index = as_json({"schemaVersion": 2, "mediaType": index_type, "manifests": manifests, "annotations": labels})
    top = {"schemaVersion": 2, "mediaType": index_type, "manifests": [
        blob(index, index_type, annotations={"org.opencontainers.image.ref.name": version})]}
    entries = [("oci-layout", 0o644, b'{"imageLayoutVersion":"1.0.0"}'), ("index.json", 0o644, as_json(top))]
    entries += [(f"blobs/sha256/{digest}", 0o644, content) for digest, content in blobs.items()]
    return files.tar_bytes(entries, epoch)
