# SPDX-License-Identifier: MIT
"""The synthetic stream through every door, for viewers that are early, late, slow and gone."""
import concurrent.futures
import re
import socket
import statistics
import subprocess
import time

import pytest
from websockets.sync.client import connect

from harness import SANITIZER, SLOW, until
from media import boxes, decode, find, streams_of, trafs
from wsraw import RawWebSocket


def watch(gateway, stream="demo", kind="mp4"):
    return connect(f"{gateway.ws}/live/{stream}.{kind}", open_timeout=15 * SLOW, close_timeout=1, max_size=None, max_queue=None,
                   compression=None, legacy=True)


def state_of(gateway, stream="demo"):
    return [s for s in gateway.api("streams") if s["stream"] == stream][0]


@pytest.mark.parametrize("kind", ["mp4", "flv"])
def test_ffprobe_sees_h264_and_aac_over_http(room, kind):
    s = streams_of(f"{room.gateway.http}/live/demo.{kind}")
    assert s["video"]["codec_name"] == "h264" and s["video"]["width"] >= 320
    assert s["audio"]["codec_name"] == "aac" and int(s["audio"]["sample_rate"]) >= 16000


@pytest.mark.parametrize("kind", ["mp4", "flv"])
def test_the_picture_can_be_had_without_the_sound(room, kind):
    url = f"{room.gateway.http}/live/demo.{kind}"
    assert list(streams_of(url + "?tracks=video")) == ["video"]
    assert decode(url + "?tracks=video", 2) >= 40
    assert set(streams_of(url)) == {"video", "audio"}, "the other door of the same stream is not touched"
    with connect(f"{room.gateway.ws}/live/demo.mp4?tracks=video", max_size=None) as v:
        mime = v.recv(15 * SLOW)
        assert mime.startswith('video/mp4; codecs="avc1.') and "mp4a" not in mime
        assert len(find(v.recv(15 * SLOW), "moov/trak")) == 1
        assert {track for _ in range(60) for track, *_ in trafs(v.recv(15 * SLOW))} == {1}


def test_tracks_that_are_not_offered_are_refused_in_words(room):
    r = room.gateway.get("/live/demo.mp4?tracks=smell")
    assert r.status_code == 400 and "smell" in r.text and "video" in r.text


@pytest.mark.parametrize("kind", ["mp4", "flv"])
def test_ffmpeg_decodes_it_without_a_complaint(room, kind):
    assert decode(f"{room.gateways[-1].http}/live/demo.{kind}", 3) >= 50


def test_http_answers_as_a_live_body(room):
    for kind, mime in (("mp4", "video/mp4"), ("flv", "video/x-flv")):
        with room.gateway.get(f"/live/demo.{kind}", stream=True) as r:
            assert r.status_code == 200 and r.headers["Content-Type"].startswith(mime)
            assert r.headers["Connection"].lower() == "close" and "no-" in r.headers["Cache-Control"]
            assert len(r.raw.read(20000)) == 20000


def test_an_extension_in_capitals_is_the_same(room):
    with room.gateway.get("/live/demo.FLV", stream=True) as r:
        assert r.status_code == 200 and r.raw.read(3) == b"FLV"


def test_players_in_pages_of_allowed_origins_may_read_it(fresh):
    origin = {"Origin": "http://elsewhere.example"}
    room = fresh(config="gateway: { origins: [http://elsewhere.example] }\n")
    asks = room.gateway.request("OPTIONS", "/live/demo.flv", headers={
        "Origin": "http://elsewhere.example", "Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "range"})
    assert asks.status_code == 204 and "GET" in asks.headers["Access-Control-Allow-Methods"]
    assert "Range" in asks.headers["Access-Control-Allow-Headers"]
    with room.gateway.get("/live/demo.flv", stream=True, headers={"Origin": "http://elsewhere.example"}) as plays:
        for answer in (asks, plays, room.gateway.request("HEAD", "/live/demo.mp4", headers=origin),
                       room.gateway.get("/live/nothing.flv", headers=origin), room.gateway.get("/live/demo.avi", headers=origin)):
            assert answer.headers["Access-Control-Allow-Origin"] == origin["Origin"], answer.status_code


def test_mp4_over_websocket_is_mime_then_init_then_whole_fragments(room):
    with watch(room.gateway) as v:
        mime = v.recv(15 * SLOW)
        assert isinstance(mime, str) and mime.startswith('video/mp4; codecs="avc1.') and "mp4a.40.2" in mime
        init = v.recv(10 * SLOW)
        assert [k for k, _ in boxes(init)][:2] == ["ftyp", "moov"]
        assert len(find(init, "moov/trak")) == 2
        first = v.recv(10 * SLOW)
        video = [t for t in trafs(first) if t[0] == 1]
        assert video and video[0][1], "the first picture is a keyframe"
        last = {}
        for _ in range(60):
            for track, _, base, count in trafs(v.recv(10 * SLOW)):
                assert base > last.get(track, -1), "decode times grow"
                assert count >= 1
                last[track] = base
        assert set(last) == {1, 2}


def test_flv_over_websocket_is_flv(room):
    with watch(room.gateway, kind="flv") as v:
        data = b""
        while len(data) < 30000:
            m = v.recv(15 * SLOW)
            assert isinstance(m, bytes)
            data += m
    assert data[:4] == b"FLV\x01" and data[4] == 5
    at, seen = 13, set()
    while at + 11 <= len(data):
        size = int.from_bytes(data[at + 1:at + 4])
        if at + 15 + size > len(data):
            break
        assert int.from_bytes(data[at + 11 + size:at + 15 + size]) == 11 + size
        seen.add(data[at])
        at += 15 + size
    assert {8, 9} <= seen


def test_a_late_viewer_starts_at_a_keyframe_at_once(room):
    """While another watches, groups being 2 s long: joins, each as soon as the one before had its picture, take far less than
    a group."""
    joins = []
    with watch(room.gateway) as early:
        early.recv(15 * SLOW), early.recv(15 * SLOW), early.recv(15 * SLOW)
        for i in range(12):
            g = room.gateways[i % len(room.gateways)]
            began = time.monotonic()
            with watch(g) as late:
                late.recv(10 * SLOW), late.recv(10 * SLOW)
                first = late.recv(10 * SLOW)
                took = time.monotonic() - began
                assert [t for t in trafs(first) if t[0] == 1][0][1]
            if i >= len(room.gateways):  # a gateway's own first viewer asks ingest for the group
                joins.append(took)
    assert statistics.median(joins) < (1.5 if SANITIZER else 0.6), f"to the first picture, in s: {joins}"


def test_it_is_encoded_only_while_somebody_watches(fresh):
    r = fresh(config='streams: { cam: { url: "synthetic:", linger: 1s } }\n')
    assert state_of(r.gateway, "cam")["state"] == "idle"
    with watch(r.gateway, "cam") as v:
        v.recv(15 * SLOW), v.recv(15 * SLOW)
        s = until(lambda: (s := state_of(r.gateway, "cam"))["state"] == "live" and s["viewers"] >= 1 and s)
        assert s["video"].startswith("avc1.") and s["audio"] == "mp4a.40.2" and s["width"] > 0 and s["fps"] > 0
    left = time.monotonic()
    until(lambda: state_of(r.gateway, "cam")["state"] == "idle", 15, "the end of the linger")
    assert time.monotonic() - left > 0.5
    with watch(r.gateway, "cam") as v:  # and it starts again
        v.recv(15 * SLOW), v.recv(15 * SLOW), v.recv(15 * SLOW)


def test_a_viewer_within_the_linger_does_not_restart_it(fresh):
    r = fresh(config='streams: { cam: { url: "synthetic:", linger: 20s } }\n')
    inits = []
    for _ in range(3):
        with watch(r.gateway, "cam") as v:
            v.recv(15 * SLOW)
            inits.append(v.recv(15 * SLOW))
            # A stream that runs on gives each viewer its frames from the same clock, so this is reached sooner every time.
            until(lambda: max(t[2] for t in trafs(v.recv(15 * SLOW)) if t[0] == 1) > 90000, what="a second of pictures")
    assert inits[0] == inits[1] == inits[2]
    assert len(set(re.findall(r"ingest.live stream=cam epoch=(\d+)", r.logs(10000)))) == 1


def test_unknown_stream_is_404(room):
    for kind in ("mp4", "flv"):
        r = room.gateway.get(f"/live/nothing.{kind}")
        assert r.status_code == 404 and "nothing" in r.json()["error"]["message"]
    with pytest.raises(Exception) as e:
        watch(room.gateway, "nothing")
    assert "404" in str(e.value)


def test_a_source_that_is_down_is_503_with_reason_and_no_credentials(fresh):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        r = fresh(config=f"streams: {{ cam: 'rtsp://admin:hunter2@127.0.0.1:{port}/secret' }}\n")
        answer = r.gateway.get("/live/cam.mp4", timeout=30 * SLOW)
        assert answer.status_code == 503 and "Access-Control-Allow-Origin" not in answer.headers, answer.text
        s = until(lambda: (s := state_of(r.gateway, "cam"))["state"] == "retrying" and s)
        message = answer.json()["error"]["message"]
        assert "cam" in message and s["reason"] and s["reason"] in message, (message, s)
        everything = answer.text + str(s) + r.logs(10000) + r.gateway.get("/metrics").text
        assert "hunter2" not in everything and "admin:" not in everything


def test_a_slow_viewer_skips_to_a_keyframe_and_nobody_else_notices(fresh):
    r = fresh(config='gateway: { media_queue_ms: 500, media_queue_bytes: 256KiB }\n')
    with watch(r.gateway) as good:
        for _ in range(3):
            good.recv(15 * SLOW)
        with RawWebSocket(r.gateway, "/live/demo.mp4", rcvbuf=4096) as slow:
            began = time.monotonic()
            gaps, at, dropped = [], time.monotonic(), 0
            # Reads nothing until the gateway says that it dropped something for it.
            while time.monotonic() - began < 60 * SLOW:
                good.recv(10 * SLOW)
                now = time.monotonic()
                gaps.append(now - at)
                at = now
                if len(gaps) % 25 == 0:
                    dropped = sum(v for k, v in r.gateway.metrics().items() if "drop" in k and ("live" in k or "media" in k))
                    if dropped:
                        break
            assert dropped, "no drop was counted"
            assert max(gaps) < 1.5 * SLOW, f"the good viewer waited {max(gaps):.2f} s"
            # Now it reads again: whole messages, and after the hole a keyframe.
            last, step, key_after = None, None, None
            end = time.monotonic() + 20 * SLOW
            while key_after is None and time.monotonic() < end:
                op, payload = slow.recv()
                if op != 2:
                    continue
                for track, key, base, _ in trafs(payload) if payload[4:8] == b"moof" else []:
                    if track != 1:
                        continue
                    if step and base - last > step * 3:
                        key_after = key
                        break
                    if last is not None:
                        step = min(base - last, step or base)
                    last = base
            assert key_after is True, "what follows the hole begins with a keyframe"


def test_a_dead_viewer_is_closed(fresh):
    r = fresh(config='gateway: { media_queue_ms: 300, media_queue_bytes: 256KiB }\n')
    with RawWebSocket(r.gateway, "/live/demo.mp4", rcvbuf=4096):
        until(lambda: state_of(r.gateway)["viewers"] == 1)
        until(lambda: state_of(r.gateway)["viewers"] == 0, 60, "the viewer without progress being closed")


def test_1000_viewers_leave_at_once(room):
    """And the next one is served as the first was; no descriptor is left behind."""
    g = room.gateway
    pid = room.process_of("gateway").pid
    import os
    before = len(os.listdir(f"/proc/{pid}/fd"))
    sockets = []
    try:
        for _ in range(1000):
            s = socket.create_connection(("127.0.0.1", g.port), timeout=20 * SLOW)
            sockets.append(s)
            s.sendall(b"GET /live/demo.flv HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with concurrent.futures.ThreadPoolExecutor(32) as pool:
            firsts = list(pool.map(lambda s: s.recv(12), sockets))
        assert sum(f.startswith(b"HTTP/1.1 200") for f in firsts) == 1000
    finally:
        for s in sockets:
            s.close()
    with watch(g) as v:
        v.recv(15 * SLOW), v.recv(15 * SLOW), v.recv(15 * SLOW)
    until(lambda: state_of(g)["viewers"] == 0, 20, "viewers counted out")
    until(lambda: len(os.listdir(f"/proc/{pid}/fd")) <= before + 20, 30, "descriptors closed")


def test_ffplay_like_client_that_leaves_in_the_middle(room):
    for _ in range(5):
        p = subprocess.Popen(["ffmpeg", "-v", "quiet", "-nostdin", "-i", f"{room.gateway.http}/live/demo.mp4", "-f", "null", "-"])
        until(lambda: state_of(room.gateway)["viewers"] >= 1)
        p.kill()
        p.wait()
    until(lambda: state_of(room.gateway)["viewers"] == 0)
