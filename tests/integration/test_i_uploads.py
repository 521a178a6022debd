# SPDX-License-Identifier: MIT
"""What real tus clients, browsers and download programs insist on beside the text of the protocol, and what an upload
survives when its process dies at the worst moment."""
import contextlib
import hashlib
import os
import random
import re
import socket
import subprocess
import threading
import time

import pytest
import requests

from harness import SLOW, Room, until
from test_h_files import TUS, create, head, metadata, patch, upload, url_of

OFFSET = {"Content-Type": "application/offset+octet-stream"}


def path_of(gateway, url):
    return url[len(gateway.http):]


def request(method, path, body=b"", **headers):
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost"] + [f"{k}: {v}" for k, v in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def chunk(data):
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def read_head(s):
    """One head; whatever follows it is dropped."""
    got = b""
    while b"\r\n\r\n" not in got:
        more = s.recv(1)
        assert more, got
        got += more
    return got.decode()


def test_post_may_stand_for_patch_and_delete(room):
    """The Java client: POST with the method in a header, 100-continue, a chunked body; a file that ends on a full request
    is followed by an empty one at its end."""
    g = room.gateway
    url = url_of(g, create(g, 20))
    headers = TUS | OFFSET | {"X-HTTP-Method-Override": "PATCH", "Expect": "100-continue", "Transfer-Encoding": "chunked"}
    with g.raw() as s:
        for offset, data in ((0, b"0123456789"), (10, b"abcdefghij"), (20, b"")):
            s.sendall(request("POST", path_of(g, url), **headers, **{"Upload-Offset": offset}))
            assert read_head(s).startswith("HTTP/1.1 100 ")
            s.sendall((chunk(data) if data else b"") + b"0\r\n\r\n")
            answer = read_head(s)
            assert answer.startswith("HTTP/1.1 204 ") and f"Upload-Offset: {offset + len(data)}" in answer
    assert requests.get(url, timeout=10 * SLOW).content == b"0123456789abcdefghij"
    assert requests.post(url, headers=TUS | {"X-HTTP-Method-Override": "DELETE"}, timeout=10 * SLOW).status_code == 204
    assert head(url).status_code == 404


def test_a_refused_upload_can_read_why(room):
    """A browser sends all of a PATCH before it reads: the 409 must not be lost in a reset."""
    g = room.gateway
    url = url_of(g, create(g, 50_000_000))
    assert patch(url, 0, b"x" * 1000).status_code == 204
    with g.raw() as s:
        s.settimeout(20 * SLOW)
        s.sendall(request("PATCH", path_of(g, url), **TUS, **OFFSET, **{"Upload-Offset": 0, "Content-Length": 40_000_000}))
        block = b"x" * 1_000_000
        for _ in range(40):
            s.sendall(block)
        answer = read_head(s)
    assert answer.startswith("HTTP/1.1 409 ") and "Upload-Offset: 1000\r\n" in answer
    assert "Access-Control-Expose-Headers: " in answer


def test_who_waits_for_100_is_refused_without_it(room):
    g = room.gateway
    url = url_of(g, create(g, 10))
    with g.raw() as s:
        s.sendall(request("PATCH", path_of(g, url), **TUS, **OFFSET,
                          **{"Upload-Offset": 7, "Content-Length": 3, "Expect": "100-continue"}))
        assert read_head(s).startswith("HTTP/1.1 409 ")


@pytest.mark.parametrize("sent", [1, 5000, 70_001, 300_000])
def test_bytes_before_a_cut_are_kept_inside_a_chunk_too(room, sent):
    g = room.gateway
    data = os.urandom(400_000)
    url = url_of(g, create(g, len(data)))
    with g.raw() as s:
        s.sendall(request("PATCH", path_of(g, url), **TUS, **OFFSET, **{"Upload-Offset": 0, "Transfer-Encoding": "chunked"}))
        s.sendall(f"{len(data):x}\r\n".encode() + data[:sent])
    until(lambda: int(head(url).headers["Upload-Offset"]) == sent, 20, "all that came being kept")
    assert patch(url, sent, data[sent:]).status_code == 204
    assert requests.get(url, timeout=10 * SLOW).content == data


def test_tiny_chunks_are_put_together(room):
    g = room.gateway
    data = os.urandom(3000)
    url = url_of(g, create(g, len(data)))
    with g.raw() as s:
        s.sendall(request("PATCH", path_of(g, url), **TUS, **OFFSET, **{"Upload-Offset": 0, "Transfer-Encoding": "chunked"}))
        s.sendall(b"".join(chunk(data[i:i + 1]) for i in range(len(data))) + b"0\r\n\r\n")
        assert read_head(s).startswith("HTTP/1.1 204 ")
    assert requests.get(url, timeout=10 * SLOW).content == data


def test_broken_chunks_end_the_request_and_keep_what_came(room):
    g = room.gateway
    url = url_of(g, create(g, 10))
    with g.raw() as s:
        s.sendall(request("PATCH", path_of(g, url), b"3\r\nabc\r\nzz\r\n", **TUS, **OFFSET,
                          **{"Upload-Offset": 0, "Transfer-Encoding": "chunked"}))
        assert read_head(s).startswith("HTTP/1.1 400 ")
    assert head(url).headers["Upload-Offset"] == "3"


def test_who_made_an_upload_hears_where_it_is_whatever_came_of_its_bytes(room):
    with room.gateway.raw() as s:
        s.sendall(request("POST", "/files/", chunk(b"good") + b"zz\r\n", **TUS, **OFFSET,
                          **{"Upload-Length": 10, "Transfer-Encoding": "chunked"}))
        answer = read_head(s)
    assert answer.startswith("HTTP/1.1 400"), answer
    url = room.gateway.http + re.search(r"Location: (\S+)", answer)[1]
    assert re.search(r"Upload-Offset: (\d+)", answer)[1] == head(url).headers["Upload-Offset"] == "4"


def test_preflight_and_errors_can_be_read_by_pages_of_allowed_origins(fresh):
    page = "https://elsewhere.example"
    g = fresh(config=f"gateway: {{ origins: '{page}' }}\n").gateway
    origin = {"Origin": page}
    r = requests.options(f"{g.http}/files/", timeout=10 * SLOW, headers=origin | {
        "Access-Control-Request-Method": "PATCH",
        "Access-Control-Request-Headers": "content-type,tus-resumable,upload-offset"})
    assert r.status_code == 200 and r.headers["Access-Control-Allow-Origin"] == page
    assert "PATCH" in r.headers["Access-Control-Allow-Methods"] and int(r.headers["Access-Control-Max-Age"]) > 0
    assert {"tus-resumable", "upload-offset", "content-type", "upload-length", "upload-metadata"} <= \
        {h.strip().lower() for h in r.headers["Access-Control-Allow-Headers"].split(",")}
    url = upload(g, b"x")
    for answer in (requests.post(f"{g.http}/files/", headers=origin, timeout=10 * SLOW),
                   requests.head(url, headers=TUS | origin, timeout=10 * SLOW),
                   requests.head(g.http + "/files/" + "a" * 26, headers=TUS | origin, timeout=10 * SLOW),
                   requests.get(url, headers=origin, timeout=10 * SLOW),
                   patch(url, 5, b"x", **origin), create(g, 1, **origin)):
        assert answer.headers["Access-Control-Allow-Origin"] == page
        assert {"Location", "Upload-Offset", "Upload-Length"} <= \
            {h.strip() for h in answer.headers["Access-Control-Expose-Headers"].split(",")}


def test_an_id_that_is_none_is_answered_in_tus(room):
    for method in ("HEAD", "PATCH", "DELETE"):
        r = requests.request(method, f"{room.gateway.http}/files/NONE", headers=TUS, timeout=10 * SLOW)
        assert r.status_code == 404 and r.headers["Tus-Resumable"] == "1.0.0", method


def test_every_method_asks_for_the_version(room):
    g = room.gateway
    url = url_of(g, create(g, 1))
    for call in (requests.patch, requests.delete, requests.head):
        r = call(url, headers={"Tus-Resumable": "0.2.2"}, timeout=10 * SLOW)
        assert r.status_code == 412 and r.headers["Tus-Version"] == "1.0.0"
    assert requests.delete(url, timeout=10 * SLOW).status_code == 412
    assert head(url).status_code == 200


def test_first_bytes_of_another_type_are_415(room):
    g = room.gateway
    r = requests.post(f"{g.http}/files/", data=b"abc", timeout=10 * SLOW,
                      headers=TUS | {"Upload-Length": "3", "Content-Type": "text/plain"})
    assert r.status_code == 415
    r = create(g, 3, body=b"abc")
    assert r.status_code == 201 and r.headers["Upload-Offset"] == "3"
    r = create(g, 3, body=b"abcd")
    assert r.status_code == 413


def test_what_is_not_offered_is_refused_in_words(room):
    g = room.gateway
    for headers in ({"Upload-Concat": "partial", "Upload-Length": "1"}, {"Upload-Defer-Length": "1"}, {}):
        r = requests.post(f"{g.http}/files/", headers=TUS | headers, timeout=10 * SLOW)
        assert r.status_code == 400 and "pload-" in r.json()["error"]["message"]
    r = requests.put(f"{g.http}/files/", headers=TUS, timeout=10 * SLOW)
    assert r.status_code == 405 and "POST" in r.headers["Allow"]


def test_too_many_uploads_at_once_wait_their_turn(fresh):
    r = fresh(config="gateway: { max_uploads: 2 }\n")
    g = r.gateway
    with contextlib.ExitStack() as held:
        for _ in range(2):
            url = url_of(g, create(g, 1000))
            s = held.enter_context(g.raw())
            s.sendall(request("PATCH", path_of(g, url), b"x" * 10, **TUS, **OFFSET, **{"Upload-Offset": 0, "Content-Length": 1000}))
        last = url_of(g, create(g, 3))
        refused = until(lambda: [a for a in [patch(last, 0, b"abc")] if a.status_code == 503], 10, "the last being refused")
        assert int(refused[0].headers["Retry-After"]) > 0
    until(lambda: patch(last, 0, b"abc").status_code == 204, 10, "room for the last")


def test_wget_goes_on_where_it_was_cut(room, tmp_path):
    data = os.urandom(3_000_000)
    url = upload(room.gateway, data, filename="w.bin")
    (tmp_path / "w").write_bytes(data[:1_234_567])
    subprocess.run(["wget", "-q", "-c", "-O", tmp_path / "w", url], check=True, timeout=60 * SLOW)
    assert (tmp_path / "w").read_bytes() == data


def test_aria2_takes_a_file_in_pieces(room, tmp_path):
    data = os.urandom(12_000_000)
    url = upload(room.gateway, data, filename="a.bin")
    subprocess.run(["aria2c", "-q", "-x8", "-s8", "-k1M", "-d", tmp_path, "-o", "a", url], check=True, timeout=60 * SLOW)
    assert (tmp_path / "a").read_bytes() == data


def test_a_large_download_is_whole_and_a_slow_reader_holds_nobody(room):
    g = room.gateway
    data = os.urandom(1 << 20) * 24
    url = upload(g, data, filename="l.bin")
    with contextlib.ExitStack() as held:
        for _ in range(30):  # they ask and do not read
            s = held.enter_context(g.raw())
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            s.sendall(request("GET", path_of(g, url)))
        began = time.monotonic()
        assert hashlib.sha256(requests.get(url, timeout=30 * SLOW).content).digest() == hashlib.sha256(data).digest()
        assert time.monotonic() - began < 10 * SLOW
    r = requests.get(url, headers={"Range": "bytes=100-20000000"}, timeout=30 * SLOW)
    assert r.status_code == 206 and r.content == data[100:20000001]
    for part in ("bytes=100-200", "bytes=99000000-"):  # of a GET alone
        r = requests.head(url, headers={"Range": part}, timeout=10 * SLOW)
        assert r.status_code == 200 and r.headers["Content-Length"] == str(len(data)) and "Content-Range" not in r.headers


def test_a_reader_that_pauses_gets_the_end_too(room):
    """More than the kernel takes, less than that and the queue: all of it is asked for, and must not be lost at the end."""
    data = os.urandom(3 << 20)
    url = upload(room.gateway, data, filename="p.bin")
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.settimeout(30 * SLOW)
        s.connect(("127.0.0.1", room.gateway.port))
        s.sendall(request("GET", path_of(room.gateway, url), Connection="close"))
        time.sleep(8)  # a closing connection is given 5 s
        answer = b""
        while got := s.recv(65536):
            answer += got
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200") and len(body) == len(data) and body == data


def test_digest_and_validators_are_those_of_the_content(room):
    import base64
    data = os.urandom(1000)
    r = requests.get(upload(room.gateway, data, filename="d"), timeout=10 * SLOW)
    digest = hashlib.sha256(data)
    assert r.headers["Repr-Digest"] == f"sha-256=:{base64.b64encode(digest.digest()).decode()}:"
    assert r.headers["ETag"] == f'"{digest.hexdigest()}"'
    again = requests.get(r.url, headers={"If-Modified-Since": r.headers["Last-Modified"]}, timeout=10 * SLOW)
    assert again.status_code == 304 and not again.content
    assert requests.get(r.url, headers={"If-Match": '"other"'}, timeout=10 * SLOW).status_code == 412


def test_a_second_filestore_on_a_folder_is_refused_in_words(room):
    from harness import run
    r = run("serve", "filestore", "--data", room.data, env={
        "WATCHROOM_BUS_FILESTORE_LISTEN": "tcp://127.0.0.1:0", "WATCHROOM_BUS_FILESTORE_EVENTS": "tcp://127.0.0.1:0"})
    assert r.returncode != 0 and "in use" in r.stderr and "--data" in r.stderr, r.stderr


class Sender:
    """Sends one file in pieces, over a process that dies; never believes more than what it was told."""

    def __init__(self, r, data, rng):
        self.r, self.data, self.rng, self.told, self.url = r, data, rng, 0, None

    def step(self):
        """One request. True when all is there."""
        g = self.rng.choice(self.r.gateways)
        if not self.url:
            answer = create(g, len(self.data), metadata(filename="crash", room="crash"))
            self.url = answer.headers["Location"] if answer.status_code == 201 else None
            return False
        url = g.http + self.url
        h = head(url)
        if h.status_code != 200:
            assert h.status_code >= 500, f"a created upload answered {h.status_code}"
            return False
        offset = int(h.headers["Upload-Offset"])
        assert offset >= self.told, f"{self.told} was acknowledged, {offset} is there"
        self.told = offset
        if offset == len(self.data):
            return True
        n = self.rng.randrange(1, 300_000)
        answer = patch(url, offset, self.data[offset:offset + n])
        if answer.status_code == 204:
            self.told = int(answer.headers["Upload-Offset"])
        return False


def keep(victim, died):
    """Starts it again once it has died, as the supervisor does."""
    victim.popen.wait()
    victim.killed = True
    victim.env.pop("WATCHROOM_FAILPOINT", None)
    victim.start()
    died.set()


@pytest.mark.slow
@pytest.mark.parametrize("point", ["created", "write", "sync", "synced", "recorded"])
def test_death_at_every_step_loses_nothing_that_was_told(shape, point):
    """The filestore kills itself at a named point of its code, at the n-th passing; four rounds a point."""
    rng = random.Random(point)
    with Room(shape) as r:
        victim = r.process_of("filestore")
        for _ in range(4):
            data = rng.randbytes(1_500_000)
            sender = Sender(r, data, rng)
            victim.stop()
            victim.env["WATCHROOM_FAILPOINT"] = f"{point}:{1 if point == 'created' else rng.randrange(1, 8)}"
            victim.start()
            r.wait_healthy()
            died = threading.Event()
            keeper = threading.Thread(target=keep, args=(victim, died), daemon=True)
            keeper.start()
            finished = False
            end = time.monotonic() + 60 * SLOW
            while not finished or not died.is_set():
                assert time.monotonic() < end, f"the upload did not end (or {point} was not passed)"
                try:
                    finished = sender.step()
                except requests.RequestException:
                    pass
            keeper.join()
            got = requests.get(r.gateway.http + sender.url, timeout=30 * SLOW)
            assert got.content == data and got.headers["ETag"].strip('"') == hashlib.sha256(data).hexdigest()
        assert re.search("files.failpoint", victim.text())


@pytest.mark.slow
@pytest.mark.timeout(250)
def test_a_body_that_drips_is_let_go_and_kept(room):
    """One byte now and then holds a place for two minutes, not for ever."""
    g = room.gateway
    url = url_of(g, create(g, 1_000_000))
    with g.raw() as s:
        s.sendall(request("PATCH", path_of(g, url), **TUS, **OFFSET, **{"Upload-Offset": 0, "Content-Length": 1_000_000}))
        began = time.monotonic()
        sent = 0
        s.settimeout(4)  # the pace of the dripping
        answer = b""
        while time.monotonic() - began < 150 * SLOW and not answer:
            s.sendall(b"x")
            sent += 1
            with contextlib.suppress(TimeoutError):
                answer = s.recv(4096)
                break
        assert answer.startswith(b"HTTP/1.1 408 "), answer
    offset = int(head(url).headers["Upload-Offset"])
    assert 0 < offset <= sent and patch(url, offset, b"y" * 10).status_code == 204
