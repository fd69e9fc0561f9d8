"""The archives to download: programs, manual pages, completion, licences."""
import gzip

import files


def build(name, built, program_names, licences, notes, epoch):
    """(file name, bytes). notes: [(file name, text)] for the top."""
    entries = [(f"bin/{program}", 0o755, built.programs[program]) for program in program_names]
    for path, content in built.texts.items():
        # Only what belongs to the programs in here.
        if any(program in path for program in program_names):
            # As the manual's readers expect them; gzip without a time.
            if path.startswith("man/"):
                path, content = f"{path}.gz", gzip.compress(content, 9, mtime=0)
            entries.append((f"share/{path}", 0o644, content))
    entries += [(f"licenses/{licence}", 0o644, text.encode()) for licence, text in licences if licence != "LICENSE"]
    entries += [(note, 0o644, text.encode()) for note, text in [*notes, *((one, text) for one, text in licences if one == "LICENSE")]]
    return f"{name}.tar.gz", files.gzipped(files.tar_bytes([(f"{name}/{path}", mode, content) for path, mode, content in entries], epoch))
