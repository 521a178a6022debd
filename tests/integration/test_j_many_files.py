# SPDX-License-Identifier: MIT
"""Many clients of /files/ at once, and slow ones: what they cost, whom they hold up (nobody), which way a file's bytes take,
and what becomes of them when the filestore dies in the middle."""
import contextlib
import hashlib
import os
import shutil
import socket
import time

import pytest
import requests

from harness import SANITIZER, SLOW, memory_kb, until
from test_h_files import TUS, create, head, patch, upload, url_of
from test_i_uploads import OFFSET, path_of, read_head, request

SPLIT_ALONE = pytest.mark.parametrize("shape", ["split"], indirect=True)  # a part must be able to freeze or die alone


def ask(g, held, *args, rcvbuf=None, **kw):
    """A connection that has sent a request and reads nothing yet."""
    s = held.enter_context(socket.socket())
    if rcvbuf:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
    s.settimeout(30 * SLOW)
    s.connect(("127.0.0.1", g.port))
    s.sendall(request(*args, **kw))
    return s


def read_all(s):
    """Head and body of an answer that ends with its connection or its length."""
    got = read_head(s)
    length = int(got.lower().split("content-length: ", 1)[1].split("\r\n", 1)[0])
    body = bytearray()
    while len(body) < length and (more := s.recv(1 << 20)):
        body += more
    return got, bytes(body)


def ways(g):
    return {k.split('"')[1]: v for k, v in g.metrics().items() if k.startswith("watchroom_files_downloads_total")}


def served_at_once(g):
    """Everybody else: the page, a REST call, a whole upload and its download."""
    began = time.monotonic()
    assert g.get("/api/v1/streams").status_code == 200 and g.get("/api/v1/rooms").status_code == 200
    data = os.urandom(100_000)
    assert requests.get(upload(g, data), timeout=20 * SLOW).content == data
    return time.monotonic() - began


def test_a_thousand_slow_uploads_cost_little_and_hold_nobody(fresh):
    r = fresh()
    g = r.gateway
    pid = r.process_of("gateway").pid
    count, size = 1000, 50_000
    with requests.Session() as http:
        def make():
            a = http.post(f"{g.http}/files/", headers=TUS | {"Upload-Length": str(size)}, timeout=20 * SLOW)
            return path_of(g, url_of(g, a))
        paths = [make() for _ in range(count)]
    served_at_once(g)
    before = memory_kb(pid)
    with contextlib.ExitStack() as held:
        socks = [ask(g, held, "PATCH", path, b"0123456789", **TUS, **OFFSET, **{"Upload-Offset": 0, "Content-Length": size})
                 for path in paths]
        until(lambda: g.metrics()["watchroom_files_uploads_active"] == count, 20, "all bodies under way")
        for _ in range(3):  # they go on, a few bytes at a time
            for s in socks:
                s.sendall(b"y" * 100)
        received = 310 * count
        until(lambda: g.metrics()["watchroom_files_received_bytes_total"] >= received, 20, "their bytes")
        grown = memory_kb(pid) - before
        assert served_at_once(g) < 3 * SLOW
        if not SANITIZER:
            assert grown < 14 * count, f"{grown} kB for {count} uploads"
        for s in socks[:50]:
            s.sendall(b"z" * (size - 310))
        for s in socks[:50]:
            answer = read_head(s)
            assert answer.startswith("HTTP/1.1 204 ") and f"Upload-Offset: {size}\r\n" in answer, answer
    until(lambda: g.metrics()["watchroom_files_uploads_active"] == 0, 20, "the others being let go")
    for path in paths[50:60]:  # what came is kept
        until(lambda p=path: head(g.http + p).headers["Upload-Offset"] == "310", 10, "the offset")


@SPLIT_ALONE
def test_many_that_wait_for_a_filestore_hold_nobody(fresh, shape):
    r = fresh()
    g = r.gateway
    data = os.urandom(1000)
    url = upload(g, data)
    path = path_of(g, url)
    store = r.process_of("filestore")
    with contextlib.ExitStack() as held:
        store.pause()
        held.callback(store.resume)
        gets = [ask(g, held, "GET", path) for _ in range(300)]
        heads = [ask(g, held, "HEAD", path, **TUS) for _ in range(300)]
        news = [ask(g, held, "POST", "/files/", **TUS, **{"Upload-Length": 10, "Content-Length": 0}) for _ in range(300)]
        began = time.monotonic()
        assert g.get("/api/v1/streams").status_code == 200 and g.get("/api/v1/rooms").status_code == 200
        took = time.monotonic() - began
        store.resume()
        assert took < 1 * SLOW
        for s in gets:
            answer, body = read_all(s)
            assert answer.startswith("HTTP/1.1 200 ") and body == data, answer
        assert all(read_head(s).startswith("HTTP/1.1 200 ") for s in heads)
        assert all(read_head(s).startswith("HTTP/1.1 201 ") for s in news)


def test_slow_downloads_cost_little_and_hold_nobody(fresh):
    r = fresh()
    g = r.gateway
    data = os.urandom(1 << 20) * 30
    url = upload(g, data)
    assert requests.get(url, timeout=30 * SLOW).content == data
    pid = r.process_of("gateway").pid
    before, count = memory_kb(pid), 200
    with contextlib.ExitStack() as held:
        socks = [ask(g, held, "GET", path_of(g, url), rcvbuf=4096) for _ in range(count)]
        for s in socks:
            assert read_head(s).startswith("HTTP/1.1 200 ")
        assert served_at_once(g) < 3 * SLOW
        assert hashlib.sha256(requests.get(url, timeout=30 * SLOW).content).digest() == hashlib.sha256(data).digest()
        grown = memory_kb(pid) - before
        if not SANITIZER:
            assert grown < 20_000, f"{grown} kB for {count} downloads"  # of 30 MB each


def test_a_file_on_this_machine_goes_by_sendfile(fresh, shape):
    r = fresh()
    g = r.gateway
    data = os.urandom(3_000_000)
    url = upload(g, data, filename="s.bin")
    before = ways(g)
    assert requests.get(url, timeout=30 * SLOW).content == data
    part = requests.get(url, headers={"Range": "bytes=1000000-1999999"}, timeout=30 * SLOW)
    assert part.status_code == 206 and part.content == data[1_000_000:2_000_000]
    assert requests.head(url, timeout=10 * SLOW).headers["Content-Length"] == "3000000"
    way = "own" if shape == "all" else "passed"
    assert {k: v - before[k] for k, v in ways(g).items()} == {"own": 0, "passed": 0, "read": 0} | {way: 2}
    with requests.Session() as http:  # the connection goes on behind a file
        for _ in range(20):
            assert http.get(url, timeout=30 * SLOW).content == data
        assert http.head(url, timeout=10 * SLOW).status_code == 200


def test_a_store_without_files_sends_in_pieces(fresh):
    r = fresh(config="filestore: { blob: memory }\n")
    g = r.gateway
    data = os.urandom(5_000_000)
    url = upload(g, data)
    assert requests.get(url, timeout=30 * SLOW).content == data
    part = requests.get(url, headers={"Range": "bytes=1000001-4999998"}, timeout=30 * SLOW)
    assert part.status_code == 206 and part.content == data[1_000_001:4_999_999]
    assert ways(g) == {"own": 0, "passed": 0, "read": 2}


def test_a_file_that_is_removed_is_sent_to_its_end(room):
    data = os.urandom(1 << 20) * 20
    url = upload(room.gateway, data)
    with contextlib.ExitStack() as held:
        s = ask(room.gateway, held, "GET", path_of(room.gateway, url), rcvbuf=4096)
        first = s.recv(1000)
        assert requests.delete(url, headers=TUS, timeout=10 * SLOW).status_code == 204
        assert requests.get(url, timeout=10 * SLOW).status_code == 404
        answer = bytearray(first)
        while len(answer.partition(b"\r\n\r\n")[2]) < len(data) and (more := s.recv(1 << 20)):
            answer += more
    assert answer.partition(b"\r\n\r\n")[2] == data


@SPLIT_ALONE
@pytest.mark.parametrize("blob", ["disk", "memory"])
def test_a_filestore_that_dies_in_the_middle_of_a_download(fresh, shape, blob):
    """A file that was opened is sent to its end; one that comes in pieces ends early, so that the client knows."""
    r = fresh(config=f"filestore: {{ blob: {blob} }}\n")
    g = r.gateway
    data = os.urandom(1 << 20) * 20
    url = upload(g, data)
    with contextlib.ExitStack() as held:
        s = ask(g, held, "GET", path_of(g, url), rcvbuf=4096)
        first = s.recv(1000)
        r.process_of("filestore").kill()
        if blob == "memory":
            r.process_of("filestore").start()  # it knows nothing of the file
        began = time.monotonic()
        answer = bytearray(first)
        with contextlib.suppress(ConnectionResetError):
            s.settimeout(60 * SLOW)
            while len(answer.partition(b"\r\n\r\n")[2]) < len(data) and (more := s.recv(1 << 20)):
                answer += more
        body = answer.partition(b"\r\n\r\n")[2]
        assert answer.startswith(b"HTTP/1.1 200 ") and time.monotonic() - began < 50 * SLOW
        assert body == data if blob == "disk" else len(body) < len(data) and data.startswith(body)
    assert g.get("/api/v1/rooms").status_code == 200
    if blob == "disk":
        r.process_of("filestore").start()
        until(lambda: requests.get(url, timeout=30 * SLOW).content == data, 20, "the file being served again")


@SPLIT_ALONE
def test_a_filestore_that_dies_in_the_middle_of_uploads(fresh, shape):
    r = fresh()
    g = r.gateway
    data = os.urandom(300_000)
    urls = [url_of(g, create(g, len(data))) for _ in range(20)]
    with contextlib.ExitStack() as held:
        socks = [ask(g, held, "PATCH", path_of(g, url), data[:100_000], **TUS, **OFFSET,
                     **{"Upload-Offset": 0, "Content-Length": len(data)}) for url in urls]
        until(lambda: g.metrics()["watchroom_files_received_bytes_total"] >= 100_000 * len(urls), 20, "the first bytes")
        r.process_of("filestore").kill()
        r.process_of("filestore").start()
        for s in socks:
            s.sendall(data[100_000:])
        for s in socks:  # the new one does not know who wrote: they are told where to go on, or what to do
            assert int(read_head(s).split()[1]) in (204, 409, 503, 504)
    for url in urls:
        h = until(lambda u=url: [a for a in [head(u)] if a.status_code == 200], 20, "the upload")[0]
        at = int(h.headers["Upload-Offset"])
        assert at == len(data) or patch(url, at, data[at:]).status_code == 204
        assert requests.get(url, timeout=30 * SLOW).content == data


def kept_by(urls, want):
    """Where an upload stands, asked at each gateway until it says so."""
    def all_say():
        offsets = [int(head(u).headers["Upload-Offset"]) for u in urls]
        return offsets if min(offsets) >= want else None
    return until(all_say, 10, f"{want} bytes are kept")


def test_what_a_silent_link_brought_is_kept(room):
    """A link that dies without a word: who comes back on another one finds all that had arrived, and goes on from there."""
    g = room.gateway
    data = os.urandom(1_200_000)
    url = url_of(g, create(g, len(data)))
    path = path_of(g, url)
    with contextlib.ExitStack() as held:
        offset = 0
        while offset < len(data):
            part = data[offset:offset + 400_000]
            ask(g, held, "PATCH", path, part, **TUS, **OFFSET,
                **{"Upload-Offset": offset, "Content-Length": len(data) - offset})
            # Of this gateway it is asked while the bytes are on their way, of another one after a pause.
            offset = kept_by([url], offset + len(part))[0]
    assert requests.get(url, timeout=10 * SLOW).content == data


def test_what_came_before_a_pause_is_written_without_being_asked_for(room):
    """The gateway that has the bytes may be killed, or the client may come back to another gateway."""
    g = room.gateway
    data = os.urandom(300_000)
    url = url_of(g, create(g, 2 * len(data)))
    other = room.gateways[-1]
    count = "watchroom_files_written_bytes_total"  # the only gateway is not asked: it would hand over what it has
    before = g.metrics()[count] if other is g else 0
    with contextlib.ExitStack() as held:
        ask(g, held, "PATCH", path_of(g, url), data, **TUS, **OFFSET,
            **{"Upload-Offset": 0, "Content-Length": 2 * len(data)})
        if other is g:
            until(lambda: g.metrics()[count] >= before + len(data), 10, "the bytes are written")
        kept_by([other.http + path_of(g, url)], len(data))


def test_a_folder_that_is_removed_under_it_is_noticed(fresh, shape):
    """rm -r of the files under a running filestore: nothing is acknowledged any more, and everybody is told in the right words."""
    r = fresh()
    g = r.gateway
    data = os.urandom(300_000)
    done, half = upload(g, data), url_of(g, create(g, len(data)))
    assert patch(half, 0, data[:100_000]).status_code == 204
    shutil.rmtree(r.data / "files")
    answer = patch(half, 100_000, data[100_000:])
    assert answer.status_code in (410, 503), answer.text  # 410: send it anew
    lost = requests.get(done, timeout=20 * SLOW)
    assert lost.status_code in (500, 503), lost.text

    def health():
        return requests.get(f"http://127.0.0.1:{g.health}/healthz", timeout=10 * SLOW)

    until(lambda: "degraded: filestore" in health().text, 20, "the health says so")
    assert health().status_code == 200 and str(r.data) not in health().text
    (r.data / "files").mkdir()  # another folder is not that one
    refused = create(g, 1000)
    assert refused.status_code == 503, refused.text
    assert "files.unwell" in (r.dir / f"{'all' if shape == 'all' else 'filestore'}.log").read_text()
    with g.text("goes-on") as talk:
        talk.send("on")
        assert talk.line() == "on"
