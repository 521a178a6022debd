# SPDX-License-Identifier: MIT
"""Reads what the live doors send, with ffprobe and by hand."""
import json
import struct
import subprocess

from harness import SLOW


def ffprobe(url, *options, timeout=30, data=None):
    r = subprocess.run(["ffprobe", "-v", "error", "-of", "json", *options, url], capture_output=True, input=data,
                       timeout=timeout * SLOW)
    assert r.returncode == 0, r.stderr.decode()
    return json.loads(r.stdout)


def streams_of(url, **kw):
    return {s["codec_type"]: s for s in ffprobe(url, "-show_streams", "-analyzeduration", "1500000", **kw)["streams"]}


def decode(url, seconds, timeout=60, args=()):
    """Decodes; whatever ffmpeg finds wrong fails. Returns the number of video frames."""
    r = subprocess.run(["ffmpeg", "-v", "error", "-xerror", "-nostdin", *args, "-i", url, "-t", str(seconds), "-f", "null",
                        "-progress", "pipe:1", "-"], capture_output=True, text=True, timeout=timeout * SLOW)
    assert r.returncode == 0 and not r.stderr.strip(), r.stderr
    return int([line for line in r.stdout.splitlines() if line.startswith("frame=")][-1].split("=")[1])


def boxes(data):
    """[(type, body)] of whole boxes; says when they are not whole."""
    found, at = [], 0
    while at < len(data):
        assert len(data) - at >= 8, "a torn box header"
        size, kind = struct.unpack(">I4s", data[at:at + 8])
        assert 8 <= size <= len(data) - at, f"a torn {kind} box: {size} of {len(data) - at} bytes"
        found.append((kind.decode(), data[at + 8:at + size]))
        at += size
    return found


def find(data, path):
    """The bodies of the boxes at moof/traf/..."""
    first, _, rest = path.partition("/")
    bodies = [body for kind, body in boxes(data) if kind == first]
    return bodies if not rest else [x for body in bodies for x in find(body, rest)]


def trafs(fragment):
    """[(track, first sample is a keyframe, base decode time, number of samples)] of the moofs of a message."""
    out = []
    for traf in find(fragment, "moof/traf"):
        inner = dict(boxes(traf))
        flags, track = struct.unpack(">II", inner["tfhd"][:8])
        default = None
        at = 8
        for bit, size in ((0x1, 8), (0x2, 4), (0x8, 4), (0x10, 4)):
            if flags & bit:
                at += size
        if flags & 0x20:
            default = struct.unpack(">I", inner["tfhd"][at:at + 4])[0]
        version = inner["tfdt"][0]
        base = struct.unpack(">Q", inner["tfdt"][4:12])[0] if version else struct.unpack(">I", inner["tfdt"][4:8])[0]
        tr_flags, count = struct.unpack(">II", inner["trun"][:8])
        tr_flags &= 0xFFFFFF
        at = 8 + (4 if tr_flags & 0x1 else 0)
        first = default
        if tr_flags & 0x4:
            first = struct.unpack(">I", inner["trun"][at:at + 4])[0]
            at += 4
        elif tr_flags & 0x400:
            at += (4 if tr_flags & 0x100 else 0) + (4 if tr_flags & 0x200 else 0)
            first = struct.unpack(">I", inner["trun"][at:at + 4])[0]
        out.append((track, first is not None and not first & 0x10000, base, count))
    return out
