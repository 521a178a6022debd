# SPDX-License-Identifier: MIT
"""A camera on RTSP: what real ones send, and what they do to those who trust them."""
import socket
import time

import pytest

from harness import SLOW, Camera, Room, until
from media import boxes, decode, streams_of, trafs
from rtspserver import RtspServer
from test_f_live import state_of, watch


def config(url, **kw):
    more = "".join(f", {k}: {v}" for k, v in kw.items())
    return f"streams: {{ cam: {{ url: '{url}', linger: 1s{more} }} }}\ningest: {{ no_packet_ms: 2s }}\n"


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_h264_and_aac_pass_untouched(shape, transport):
    with Camera("--gop", "25") as cam, Room(shape, config=config(cam.url, transport=transport)) as r:
        s = streams_of(f"{r.gateway.http}/live/cam.mp4")
        assert (s["video"]["codec_name"], s["video"]["width"], s["video"]["height"]) == ("h264", 640, 360)
        assert s["audio"]["codec_name"] == "aac"
        assert decode(f"{r.gateways[-1].http}/live/cam.flv", 3) >= 50


def test_g711_sound_becomes_aac(shape):
    with Camera("--gop", "25", "--audio", "pcma") as cam, Room(shape, config=config(cam.url)) as r:
        for kind in ("mp4", "flv"):
            s = streams_of(f"{r.gateway.http}/live/cam.{kind}")
            assert s["video"]["codec_name"] == "h264" and s["audio"]["codec_name"] == "aac"
        assert decode(f"{r.gateway.http}/live/cam.mp4", 3) >= 50


def test_a_camera_without_sound_is_a_picture(shape):
    with Camera("--gop", "25", "--audio", "none") as cam, Room(shape, config=config(cam.url)) as r:
        assert set(streams_of(f"{r.gateway.http}/live/cam.mp4")) == {"video"}
        assert state_of(r.gateway, "cam")["audio"] == ""


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_opus_passes_untouched(shape, transport):
    with Camera("--gop", "25", "--audio", "opus") as cam, Room(shape, config=config(cam.url, transport=transport)) as r:
        s = streams_of(f"{r.gateway.http}/live/cam.mp4")
        assert (s["video"]["codec_name"], s["audio"]["codec_name"], s["audio"]["sample_rate"]) == ("h264", "opus", "48000")
        assert decode(f"{r.gateways[-1].http}/live/cam.mp4", 3) >= 50


def test_sound_that_is_not_carried_is_named_and_the_picture_plays(shape):
    with RtspServer(audio=9) as cam, Room(shape, config=config(cam.url)) as r, watch(r.gateway, "cam") as v:
        assert v.recv(15 * SLOW).startswith('video/mp4; codecs="avc1.')
        s = until(lambda: (s := state_of(r.gateway, "cam"))["state"] == "live" and s)
        assert s["reason"].startswith("without sound: ") and "G722" in s["reason"] and s["audio"] == "", s
        assert set(streams_of(f"{r.gateway.http}/live/cam.mp4")) == {"video"}


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_h265_passes_untouched(shape, transport):
    with Camera("--gop", "25", "--codec", "h265") as cam, Room(shape, config=config(cam.url, transport=transport)) as r:
        s = streams_of(f"{r.gateway.http}/live/cam.mp4")
        assert (s["video"]["codec_name"], s["video"]["codec_tag_string"], s["video"]["width"]) == ("hevc", "hvc1", 640)
        assert s["audio"]["codec_name"] == "aac"
        assert decode(f"{r.gateways[-1].http}/live/cam.mp4", 3) >= 50


def test_a_player_waits_for_the_keyframe_of_a_long_group(shape):
    """Eight seconds between keyframes, in whose midst somebody comes: longer than a source that says nothing may take."""
    with Camera("--gop", "200") as cam, Room(shape, config=f"""
streams:
  first: {{ url: '{cam.url}', always: true }}
  cam: {{ url: '{cam.url}' }}
ingest: {{ no_packet_ms: 2s }}
""") as r:
        until(lambda: state_of(r.gateway, "first")["state"] == "live", 20, "the camera encodes")
        with r.gateway.get("/live/cam.flv", stream=True, timeout=30 * SLOW) as answer:
            assert answer.status_code == 200, answer.text
            waited = until(lambda: (s := state_of(r.gateway, "cam"))["state"] == "live" and s)
            assert waited["reason"] == ""


def test_a_wrong_password_is_told_without_it(shape):
    with Camera("--user", "admin", "--pass", "right") as cam:
        url = cam.url.replace("rtsp://", "rtsp://admin:wrongpass@")
        with Room(shape, config=config(url)) as r:
            answer = r.gateway.get("/live/cam.mp4", timeout=30 * SLOW)
            assert answer.status_code == 503
            assert "wrongpass" not in answer.text + r.logs(10000) + str(r.gateway.api("streams"))
            message = answer.json()["error"]["message"].lower()
            assert "401" in message or "authori" in message or "password" in message
        url = cam.url.replace("rtsp://", "rtsp://admin:right@")
        with Room(shape, config=config(url)) as r:
            assert streams_of(f"{r.gateway.http}/live/cam.mp4")["video"]["codec_name"] == "h264"
            assert "right@" not in r.logs(10000)


def test_viewers_stay_while_a_camera_dies_and_comes_back(shape):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    cam = Camera("--gop", "25", "--port", str(port))
    try:
        with Room(shape, config=config(cam.url)) as r, watch(r.gateway, "cam") as v:
            v.recv(15 * SLOW)
            init = v.recv(15 * SLOW)
            assert boxes(init)[0][0] == "ftyp"
            v.recv(15 * SLOW)
            cam.stop()
            s = until(lambda: (s := state_of(r.gateway, "cam"))["state"] == "retrying" and s, 20)
            assert s["reason"] and s["viewers"] == 1
            cam = Camera("--gop", "25", "--port", str(port))
            # The same socket goes on with a new MIME text, a new init segment, and a keyframe.
            end = time.monotonic() + 30 * SLOW
            # (Before them the state as JSON, for people who wait.)
            while not isinstance(m := v.recv(30 * SLOW), str) or m.startswith("{"):
                assert time.monotonic() < end
            assert m.startswith("video/mp4")
            assert boxes(v.recv(10 * SLOW))[0][0] == "ftyp"
            assert [t for t in trafs(v.recv(10 * SLOW)) if t[0] == 1][0][1]
            until(lambda: state_of(r.gateway, "cam")["state"] == "live")
    finally:
        cam.stop()


def test_a_camera_that_falls_silent_is_noticed(shape):
    with Camera("--gop", "25", "--silent-after", "2") as cam, Room(shape, config=config(cam.url)) as r, \
            watch(r.gateway, "cam") as v:
        v.recv(15 * SLOW)
        cam.await_line("silent")
        s = until(lambda: (s := state_of(r.gateway, "cam"))["state"] in ("retrying", "starting") and s, 15,
                  "the watchdog")
        assert s["state"] == "starting" or s["reason"]


def test_a_picture_that_changes_its_size_gets_a_new_init(shape):
    with Camera("--gop", "25", "--resize-after", "2") as cam, Room(shape, config=config(cam.url)) as r, \
            watch(r.gateway, "cam") as v:
        v.recv(15 * SLOW)
        first = v.recv(15 * SLOW)
        cam.await_line("resized")
        while not isinstance(m := v.recv(20 * SLOW), str) or m.startswith("{"):
            pass
        second = v.recv(10 * SLOW)
        assert boxes(second)[0][0] == "ftyp" and second != first


def test_one_bad_camera_does_not_touch_another_stream(shape):
    with Camera("--gop", "25", "--die-after", "2") as cam:
        text = config(cam.url) + ""
        text = text.replace("streams: {", "streams: { test: 'synthetic:',")
        with Room(shape, config=text) as r, watch(r.gateway, "cam") as bad, watch(r.gateway, "test") as good:
            bad.recv(15 * SLOW)
            good.recv(15 * SLOW)
            worst, at = 0.0, None
            end = time.monotonic() + 6
            while time.monotonic() < end:
                good.recv(10 * SLOW)
                now = time.monotonic()
                worst = max(worst, now - at) if at else 0.0
                at = now
            assert worst < 1.0 * SLOW
            until(lambda: state_of(r.gateway, "cam")["state"] == "retrying")
