# SPDX-License-Identifier: MIT
"""Servers of RTSP that log in otherwise, answer oddly, or lie: read where it can be, told in words and left where not."""
import os
import time

import pytest

from harness import SLOW, Room, until
from rtspserver import RtspServer
from test_f_live import state_of, watch
from test_g_camera import config


@pytest.fixture
def shape():
    return "all"  # what is tested lies between ingest and the camera


def plays(shape, cam, pictures=5):
    with Room(shape, config=config(cam.url)) as r, watch(r.gateway, "cam") as v:
        assert v.recv(15 * SLOW).startswith("video/mp4")
        for _ in range(pictures):
            v.recv(15 * SLOW)


@pytest.mark.parametrize("digest", ["plain", "qop"])
@pytest.mark.parametrize("one_time", [False, True], ids=["lasting", "one-time"])
def test_digest_logs_in_and_takes_each_new_nonce(shape, digest, one_time):
    with RtspServer(digest=digest, one_time=one_time) as cam:
        plays(shape, cam)
        assert cam.refused >= (3 if one_time else 1)


def test_a_keep_alive_whose_nonce_is_used_up_is_sent_again(shape):
    with RtspServer(digest="qop", one_time=True, session="abc;timeout=5") as cam, Room(shape, config=config(cam.url)) as r, \
            watch(r.gateway, "cam") as v:
        v.recv(15 * SLOW)
        cam.await_request("GET_PARAMETER", 2, 20 * SLOW)
        assert state_of(r.gateway, "cam")["state"] == "live"


@pytest.mark.parametrize("status", [454, 461])
def test_a_sound_track_that_is_refused_is_left_out_and_told(shape, status):
    with RtspServer(status={"SETUP audio": status}) as cam, Room(shape, config=config(cam.url)) as r, \
            watch(r.gateway, "cam") as v:
        assert v.recv(15 * SLOW).startswith("video/mp4")
        assert str(status) in until(lambda: state_of(r.gateway, "cam")["reason"])


def test_a_refused_picture_is_told(shape):
    with RtspServer(status={"SETUP video": 461}) as cam, Room(shape, config=config(cam.url)) as r:
        answer = r.gateway.get("/live/cam.mp4", timeout=30 * SLOW)
        assert answer.status_code == 503 and "461" in answer.json()["error"]["message"]


def test_without_a_session_it_plays_and_is_not_flooded(shape):
    with RtspServer(session=None) as cam:
        plays(shape, cam, 25)
        assert "GET_PARAMETER" not in cam.requests


@pytest.mark.parametrize("base", ["rtsp://elsewhere.invalid/odd/", "*", "not an address", "x" * 3000])
def test_an_odd_content_base_hurts_nobody(shape, base):
    """An address of another host is only a name in requests; what is no address is passed over."""
    with RtspServer(base=base) as cam:
        plays(shape, cam, 25)


def test_a_codec_of_a_static_type_is_named(shape):
    with RtspServer(media="v=0\r\nm=video 0 RTP/AVP 26\r\n") as cam, Room(shape, config=config(cam.url)) as r:
        answer = r.gateway.get("/live/cam.mp4", timeout=30 * SLOW)
        assert answer.status_code == 503 and "JPEG video" in answer.json()["error"]["message"]


@pytest.mark.parametrize("noise", [b"", b"\x80", b"\x00" * 40], ids=["empty", "cut", "of another version"])
def test_packets_that_are_none_are_counted_and_the_picture_plays(shape, noise):
    with RtspServer(noise=noise) as cam, Room(shape, config=config(cam.url)) as r, watch(r.gateway, "cam") as v:
        for _ in range(25):
            v.recv(15 * SLOW)
        assert r.gateway.metrics()["watchroom_ingest_rtp_bad_total"] >= 20


def test_garbage_instead_of_an_answer_is_told(shape):
    with RtspServer(greeting=os.urandom(4096) + b"\r\n\r\n") as cam, Room(shape, config=config(cam.url)) as r, \
            watch(r.gateway, "cam"):
        until(lambda: state_of(r.gateway, "cam")["state"] == "retrying", 15)


def flood(what):
    def send(sock):
        while True:
            sock.sendall(what)
    return send


@pytest.mark.parametrize("what", [b"RTSP/1.0 200 OK\r\nCSeq: 99\r\n\r\n" * 1000, b"$\7\0\4abcd" * 4000, b"\r\n" * 30000],
                         ids=["answers", "packets", "lines"])
def test_a_flood_without_an_end_holds_neither_the_stream_nor_the_end(shape, what):
    with RtspServer(tail=flood(what)) as cam, Room(shape, config=config(cam.url)) as r:
        with watch(r.gateway, "cam"):
            cam.await_request("PLAY", timeout=20 * SLOW)
            until(lambda: state_of(r.gateway, "cam")["state"] == "retrying" and state_of(r.gateway, "cam")["reason"], 20)
        at = time.monotonic()
        r.stop()
        assert time.monotonic() - at < 10 * SLOW
