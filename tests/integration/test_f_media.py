# SPDX-License-Identifier: MIT
"""One media model: two gateways say the same, a door carries what it can and says what it cannot, streams come and go."""
import re
import struct

import pytest

from busclient import Bus, ingest_pb2
from harness import SLOW, Camera, Room, until
from media import boxes, decode, find, streams_of, trafs
from test_f_live import state_of, watch


class Reader:
    """A byte stream by HTTP, read as far as it is needed."""

    def __init__(self, gateway, path):
        self.socket = gateway.raw()
        self.socket.settimeout(15 * SLOW)
        self.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{gateway.port}\r\n\r\n".encode())
        self.bytes = b""
        while b"\r\n\r\n" not in self.bytes:
            self.more()
        head, self.bytes = self.bytes.split(b"\r\n\r\n", 1)
        assert head.startswith(b"HTTP/1.1 200"), head

    def more(self):
        got = self.socket.recv(1 << 16)
        assert got, "the stream ended"
        self.bytes += got

    def until(self, enough):
        while not enough(self.bytes):
            self.more()
        return self.bytes

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


def mp4_parts(data):
    """(init, [whole fragment, ...])"""
    at, init, fragments = 0, b"", []
    while at + 8 <= len(data):
        size, kind = struct.unpack(">I4s", data[at:at + 8])
        if at + size > len(data):
            break
        box = data[at:at + size]
        if kind in (b"ftyp", b"moov"):
            init += box
        elif kind == b"moof":
            fragments.append(box)
        else:
            fragments[-1] += box
        at += size
    if fragments and b"mdat" not in fragments[-1][100:112]:
        fragments.pop()
    return init, fragments


def flv_parts(data):
    """(header, metadata and configurations; [whole tag of a frame, ...])"""
    at, init, tags = 13, data[:13], []
    while at + 11 <= len(data):
        size = int.from_bytes(data[at + 1:at + 4]) + 15
        if at + size > len(data):
            break
        tag = data[at:at + size]
        enhanced = tag[0] == 9 and tag[11] & 0x80 or tag[0] == 8 and tag[11] >> 4 == 9
        if tag[0] == 18 or (tag[11] & 15 == 0 if enhanced else tag[12] == 0):
            init += tag
        else:
            tags.append(tag)
        at += size
    return init, tags


def mp4_key(fragment):
    return trafs(fragment[:104])[0][:2] == (1, True)


def flv_key(tag):
    return tag[0] == 9 and tag[11] >> 4 == 1


@pytest.mark.parametrize("kind, parts, is_key", [("mp4", mp4_parts, mp4_key), ("flv", flv_parts, flv_key)])
def test_two_gateways_write_the_same_bytes(kind, parts, is_key):
    """From a common group of pictures on, whoever came when, wherever: times, numbers, order, everything."""
    with Room("split") as r:
        one, two = r.gateways
        with Reader(one, f"/live/demo.{kind}") as a:
            keys = lambda data: sum(is_key(f) for f in parts(data)[1])
            a.until(lambda data: keys(data) >= 2)
            with Reader(two, f"/live/demo.{kind}") as b, Reader(one, f"/live/demo.{kind}") as late:
                for other in (b, late):
                    other.until(lambda data: keys(data) >= 3)
                    init, frames = parts(other.bytes)
                    assert is_key(frames[0])
                    a.until(lambda data: len(data) > len(other.bytes) and parts(data)[1][-1] > b"" and frames[-1] in data)
                    first_init, all_frames = parts(a.bytes)
                    assert init == first_init
                    at = all_frames.index(frames[0])
                    assert all_frames[at:at + len(frames)] == frames
                    assert {f[0] if kind == "flv" else trafs(f[:104])[0][0] for f in frames} == ({8, 9} if kind == "flv" else {1, 2})


def test_two_gateways_send_the_same_messages():
    """Also over WebSocket: the same frames share a message."""
    with Room("split") as r:
        with watch(r.gateways[0]) as a, watch(r.gateways[1]) as b:
            seen = {}
            for name, v in (("a", a), ("b", b)):
                mime, init = v.recv(15 * SLOW), v.recv(15 * SLOW)
                frames = []
                while sum(mp4_key(f) for f in frames) < 3:
                    frames.append(v.recv(15 * SLOW))
                seen[name] = (mime, init, frames)
            assert seen["a"][:2] == seen["b"][:2]
            fa, fb = seen["a"][2], seen["b"][2]
            common = next(f for f in fb if mp4_key(f) and f in fa)
            fa, fb = fa[fa.index(common):], fb[fb.index(common):]
            n = min(len(fa), len(fb))
            assert n >= 1 and fa[:n] == fb[:n]


def test_media_time_begins_near_0_and_goes_on_when_ingest_comes_back():
    """What a player gets counts from where the stream first ran, and never steps back."""
    with Room("split") as r:
        with watch(r.gateways[0]) as v:
            last = {}

            def played(n):
                """n video fragments; in whatever epoch they are, time grows."""
                while n:
                    m = v.recv(30 * SLOW)
                    for track, _, base, _ in trafs(m) if isinstance(m, bytes) else []:
                        assert base > last.get(track, -1), f"track {track} steps back from {last[track]} to {base}"
                        last[track] = base
                        n -= track == 1 and n > 0

            played(50)
            assert last[1] < 90000 * 60 * SLOW
            r.processes["ingest"].kill()
            r.processes["ingest"].start()
            played(50)


def test_sound_alone_can_be_had(room):
    url = f"{room.gateway.http}/live/demo"
    for kind in ("mp4", "flv"):
        assert set(streams_of(f"{url}.{kind}?tracks=audio")) == {"audio"}
    with watch(room.gateway, kind="mp4?tracks=audio") as v:
        assert re.fullmatch(r'video/mp4; codecs="mp4a\.40\.2"', v.recv(15 * SLOW))


def test_tracks_can_be_had_by_their_ids(room):
    with watch(room.gateway) as v:
        v.recv(15 * SLOW)
        tracks = until(lambda: len(t := state_of(room.gateway)["tracks"]) == 2 and t)
    assert [(t["kind"], t["codec"]) for t in tracks] == [("video", "H.264"), ("audio", "AAC")]
    video, audio = (t["id"] for t in tracks)
    url = f"{room.gateway.http}/live/demo.mp4?tracks="
    assert set(streams_of(f"{url}{audio}")) == {"audio"}
    assert set(streams_of(f"{url}{audio},{video}")) == {"video", "audio"}
    assert set(streams_of(f"{url}all")) == {"video", "audio"}
    with watch(room.gateway):  # while it plays, what there is is known
        until(lambda: state_of(room.gateway)["state"] == "live")
        r = room.gateway.get("/live/demo.mp4?tracks=77")
        assert r.status_code == 404 and "H.264" in r.json()["error"]["message"], r.text
        r = room.gateway.get("/live/demo.mp4?rendition=tiny")
        assert r.status_code == 404 and "demo" in r.json()["error"]["message"], r.text


def test_an_output_is_gone_with_its_last_viewer(room):
    metrics = lambda: room.gateway.metrics()["watchroom_live_outputs"]
    until(lambda: metrics() == 0)
    with watch(room.gateway) as a, watch(room.gateway) as b, watch(room.gateway, kind="mp4?tracks=video") as c:
        for v in (a, b, c):
            v.recv(15 * SLOW)
        assert metrics() == 2
    until(lambda: metrics() == 0)


def test_h265_and_opus_play_as_fmp4_and_pass_as_flv(shape):
    with Camera("--codec", "h265", "--gop", "25", "--audio", "opus") as cam, \
            Room(shape, config=f"streams: {{ cam: {{ url: '{cam.url}', linger: 10s }} }}\n") as r:
        with watch(r.gateway, "cam") as v:
            mime = v.recv(20 * SLOW)
            while "opus" not in mime:  # the sound's first frame may come after the picture's
                mime = next(m for m in iter(lambda: v.recv(20 * SLOW), None) if isinstance(m, str) and m.startswith("video/"))
            assert re.fullmatch(r'video/mp4; codecs="hvc1\.[0-9A-F.L]+,opus"', mime), mime
            init = v.recv(10 * SLOW)
            kinds = [k for t in find(init, "moov/trak/mdia/minf/stbl/stsd") for k, _ in boxes(t[8:])]
            assert kinds == ["hvc1", "Opus"]
            url = f"{r.gateways[-1].http}/live/cam"
            s = streams_of(url + ".mp4")
            assert (s["video"]["codec_name"], s["audio"]["codec_name"]) == ("hevc", "opus"), s
            assert decode(url + ".mp4", 3) >= 50
            with Reader(r.gateways[-1], "/live/cam.flv") as flv:
                init, tags = flv_parts(flv.until(lambda data: data.count(b"hvc1") > 10 and data.count(b"Opus") > 10))
                assert b"\x90hvc1\x01" in init and b"\x90OpusOpusHead\x01" in init
                assert {t[12:16] for t in tags} == {b"hvc1", b"Opus"}
                assert tags[0][11] == 0x91


def test_a_door_that_cannot_carry_a_sound_leaves_it_out_or_says_so(shape):
    """G.711 has a rendition that every door carries; asked for by its id it has none."""
    with Camera("--gop", "25", "--audio", "pcma") as cam, \
            Room(shape, config=f"streams: {{ cam: {{ url: '{cam.url}', linger: 10s }} }}\n") as r:
        with watch(r.gateway, "cam"):
            tracks = until(lambda: len(t := state_of(r.gateway, "cam")["tracks"]) == 3 and t, 20)
            names = {t["codec"]: t for t in tracks}
            assert set(names) == {"H.264", "G.711 A-law", "AAC"} and names["AAC"]["rendition"], tracks
            assert set(streams_of(f"{r.gateway.http}/live/cam.mp4")) == {"video", "audio"}
            assert set(streams_of(f"{r.gateway.http}/live/cam.mp4?rendition={names['AAC']['rendition']}")) == {"video", "audio"}


def test_streams_come_and_go():
    with Room("split") as r, Bus(r.bus["ingest"][0]) as bus:
        add = lambda: bus.call("Ingest/AddStream", ingest_pb2.AddStreamRequest(stream="guest", url="synthetic:"), ingest_pb2.AddStreamResponse)
        remove = lambda: bus.call("Ingest/RemoveStream", ingest_pb2.RemoveStreamRequest(stream="guest"), ingest_pb2.RemoveStreamResponse)
        names = lambda g: {s["stream"] for s in g.api("streams")}
        until(lambda: r.gateway.get("/live/guest.mp4").status_code == 404, what="ingest telling of its streams")
        add()
        for g in r.gateways:
            until(lambda: "guest" in names(g))
        with watch(r.gateway, "guest") as v, Reader(r.gateway, "/live/guest.flv") as flv:
            v.recv(15 * SLOW), v.recv(15 * SLOW), v.recv(15 * SLOW)
            remove()
            told = next(m for m in iter(lambda: v.recv(15 * SLOW), None) if isinstance(m, str) and '"retrying"' in m)
            assert "guest" in told, told
            with pytest.raises(AssertionError, match="the stream ended"):
                flv.until(lambda data: False)
            assert state_of(r.gateway, "guest")["state"] == "retrying", "as long as somebody watches it is told of"
        for g in r.gateways:
            until(lambda: "guest" not in names(g))
            until(lambda: g.get("/live/guest.mp4").status_code == 404)
        add()
        with until(lambda: "guest" in names(r.gateway) and watch(r.gateway, "guest")) as v:
            v.recv(15 * SLOW), v.recv(15 * SLOW), v.recv(15 * SLOW)
