"""The software bill of materials, CycloneDX 1.6: what is inside the artefacts, from sources.toml."""
import hashlib
import json
import time
import uuid

import project
import sources


def _component(entry):
    reference = f"{entry['name']}@{entry['version']}"
    component = {
        "type": "library", "bom-ref": reference, "name": entry["name"], "version": entry["version"],
        "licenses": [{"license": {"id": entry["licence"]}}],
        "purl": f"pkg:generic/{entry['name']}@{entry['version']}",
        "externalReferences": [{"type": "website", "url": entry["homepage"]}],
    }
    if "cpe" in entry:
        component["cpe"] = entry["cpe"]
    if "urls" in entry:
        digest = [{"alg": "SHA-256", "content": entry["sha256"]}]
        component["externalReferences"] += [{"type": "source-distribution", "url": url, "hashes": digest} for url in entry["urls"]]
    if "inside" in entry:
        component["properties"] = [{"name": "kafka-tunnel:taken-from", "value": entry["inside"]}]
    return component


def build(version, targets, artefacts, epoch):
    """bytes of the file. targets: those of libraries.py. artefacts: file name -> SHA-256."""
    entries = sources.load()
    inside = {name: entry for name, entry in entries.items() if not entry.get("tool")}
    systems = sorted({target.system for target in targets})
    programs = []
    for system in systems:
        for program in sorted({one for target in targets if target.system == system for one in target.programs}):
            parts = [f"{entry['name']}@{entry['version']}" for entry in sources.inside(program, system)]
            programs.append((f"{program}-{system}", program, system, sorted(parts)))
    root = f"{project.FACTS['name']}@{version}"
    components = [{"type": "application", "bom-ref": reference, "name": program, "version": version,
                   "description": f"{program} for {system}", "licenses": [{"license": {"id": project.FACTS["licence"]}}]}
                  for reference, program, system, _ in programs]
    components += [_component(entry) for entry in inside.values()]
    components += [{"type": "file", "bom-ref": f"file:{name}", "name": name, "hashes": [{"alg": "SHA-256", "content": digest}]}
                   for name, digest in sorted(artefacts.items())]
    in_image = [f"{entry['name']}@{entry['version']}" for entry in inside.values() if entry.get("image")]
    dependencies = [{"ref": root, "dependsOn": sorted([reference for reference, *_ in programs] + in_image)}]
    dependencies += [{"ref": reference, "dependsOn": parts} for reference, _, _, parts in programs]
    dependencies += [{"ref": f"{entry['name']}@{entry['version']}"} for entry in inside.values()]
    zig = entries["zig"]
    bom = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1,
        "metadata": {
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch)),
            "tools": {"components": [{"type": "application", "name": zig["name"], "version": zig["version"]}]},
            "component": {"type": "application", "bom-ref": root, "name": project.FACTS["name"], "version": version,
                          "licenses": [{"license": {"id": project.FACTS["licence"]}}],
                          "externalReferences": [{"type": "vcs", "url": project.HOMEPAGE}]},
        },
        "components": components,
        "dependencies": dependencies,
    }
    # A number of its own for each content, and the same for the same.
    content = json.dumps(bom, sort_keys=True).encode()
    bom["serialNumber"] = f"urn:uuid:{uuid.UUID(bytes=hashlib.sha256(content).digest()[:16], version=4)}"
    return (json.dumps(bom, indent=2, sort_keys=True) + "\n").encode()
