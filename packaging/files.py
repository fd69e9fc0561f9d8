"""Archives with the same bytes each time: sorted, one time, no owner."""
import gzip
import io
import pathlib
import tarfile
import zipfile
import time


def tar_bytes(entries, epoch):
    """entries: (name, mode, bytes) of files, sorted here; directories above them are added."""
    out = io.BytesIO()
    names = {name for name, _, _ in entries}
    directories = {str(parent) for name in names for parent in pathlib.PurePosixPath(name).parents} - {"."}
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        def add(name, mode, content):
            member = tarfile.TarInfo(name)
            member.mtime = epoch
            member.mode = mode
            if content is None:
                member.type = tarfile.DIRTYPE
                tar.addfile(member)
            else:
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
        for name, mode, content in sorted([*entries, *((name, 0o755, None) for name in directories)]):
            add(name, mode, content)
    return out.getvalue()


def gzipped(content):
    out = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=out, mtime=0, compresslevel=9) as file:
        file.write(content)
    return out.getvalue()


def zip_bytes(entries, epoch):
    """entries: (name, mode, bytes), in this order. A zip file knows no time before 1980."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for name, mode, content in entries:
            info = zipfile.ZipInfo(name, time.gmtime(max(epoch, 315532800))[:6])
            info.compress_type = zipfile.ZIP_DEFLATED
            info.create_system = 3
            info.external_attr = (0o100000 | mode) << 16
            file.writestr(info, content, compresslevel=9)
    return out.getvalue()
