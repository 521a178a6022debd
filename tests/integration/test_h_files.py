# SPDX-License-Identifier: MIT
"""/files/: uploads by tus clients that we did not write, downloads, and the entry in the room."""
import base64
import concurrent.futures
import hashlib
import os
import shutil
import subprocess
import time

import pytest
import requests
from tusclient import client as tusclient

from harness import SLOW, memory_kb, node, until
from test_c_centrifuge import Json

TUS = {"Tus-Resumable": "1.0.0"}


def metadata(**kw):
    return ",".join(f"{k} {base64.b64encode(v.encode()).decode()}" for k, v in kw.items())


def create(gateway, length, meta=None, body=None, **headers):
    h = TUS | {"Upload-Length": str(length)} | ({"Upload-Metadata": meta} if meta else {}) | headers
    if body is not None:
        h["Content-Type"] = "application/offset+octet-stream"
    return requests.post(f"{gateway.http}/files/", headers=h, data=body, timeout=30 * SLOW)


def url_of(gateway, r):
    assert r.status_code == 201, (r.status_code, r.text)
    location = r.headers["Location"]
    return location if location.startswith("http") else gateway.http + location


def patch(url, offset, data, **headers):
    return requests.patch(url, data=data, timeout=60 * SLOW, headers=TUS | {
        "Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream"} | headers)


def head(url):
    return requests.head(url, headers=TUS, timeout=30 * SLOW)


def upload(gateway, data, **meta):
    r = create(gateway, len(data), metadata(**meta) if meta else None)
    url = url_of(gateway, r)
    if data:
        p = patch(url, 0, data)
        assert p.status_code == 204 and p.headers["Upload-Offset"] == str(len(data)), (p.status_code, p.text)
    return url


def test_options_tell_what_is_offered(room):
    r = requests.options(f"{room.gateway.http}/files/", timeout=10 * SLOW)
    assert r.status_code in (200, 204) and r.headers["Tus-Resumable"] == "1.0.0" and "1.0.0" in r.headers["Tus-Version"]
    assert {"creation", "creation-with-upload", "termination"} <= set(r.headers["Tus-Extension"].split(","))


def test_tuspy_uploads_and_the_room_is_told(room, name, tmp_path):
    data = os.urandom(3_000_000)
    file = tmp_path / "holiday.bin"
    file.write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    with room.gateways[-1].text(name) as reader, Json(room.gateway) as c:
        c.command({"id": 2, "subscribe": {"channel": name}})
        c.reply(2)
        up = tusclient.TusClient(f"{room.gateway.http}/files/").uploader(
            str(file), chunk_size=700_000, metadata={"filename": "holiday.bin", "filetype": "application/zip", "room": name,
                                                     "name": "Ann"})
        up.upload()
        file_id = up.url.rsplit("/", 1)[1]
        assert reader.line() == f"Ann shared holiday.bin (2.9 MiB) /files/{file_id}" or \
            reader.frames[-1].startswith("Ann shared holiday.bin (") and reader.frames[-1].endswith(f") /files/{file_id}")
        while not c.pushes:
            c.pump()
        entry = c.pushes[0]["pub"]["data"]
        assert entry["type"] == "file" and entry["name"] == "Ann"
        f = entry["file"]
        assert f == {"id": file_id, "name": "holiday.bin", "size": len(data), "type": f["type"], "sha256": digest,
                     "url": f"/files/{file_id}"}
    r = requests.get(up.url, timeout=30 * SLOW)
    assert r.content == data and r.headers["ETag"].strip('"').startswith(digest[:16])
    assert "holiday.bin" in r.headers["Content-Disposition"] and r.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("chunk, pause", [(0, ""), (256 * 1024, ""), (256 * 1024, 1_000_000), (0, 1_500_000)])
def test_tus_js_client_uploads_pauses_and_resumes(room, name, tmp_path, chunk, pause):
    data = os.urandom(4_000_001)
    file = tmp_path / "f.bin"
    file.write_bytes(data)
    r = node("tus_upload.mjs", f"{room.gateway.http}/files/", file, name, chunk, pause)
    assert r["paused"] == bool(pause)
    assert requests.get(r["url"], timeout=30 * SLOW).content == data


def test_curl_uploads_by_hand_and_downloads(room, tmp_path):
    data = os.urandom(500_000)
    file = tmp_path / "c.bin"
    file.write_bytes(data)
    out = subprocess.run(["curl", "-sS", "-i", "-X", "POST", f"{room.gateway.http}/files/", "-H", "Tus-Resumable: 1.0.0",
                          "-H", f"Upload-Length: {len(data)}", "-H", "Content-Type: application/offset+octet-stream",
                          "-H", f"Upload-Metadata: {metadata(filename='c.bin')}", "--data-binary", f"@{file}"],
                         capture_output=True, text=True, timeout=60 * SLOW, check=True).stdout
    assert out.split()[1] in ("201", "100"), out
    location = [line.split(": ", 1)[1].strip() for line in out.splitlines() if line.lower().startswith("location:")][0]
    url = location if location.startswith("http") else room.gateway.http + location
    got = tmp_path / "got.bin"
    subprocess.run(["curl", "-sSf", "-o", got, "-r", "0-99999", url], check=True, timeout=60 * SLOW)
    subprocess.run(["curl", "-sSf", "-o", got, "-C", "100000", url], check=True, timeout=60 * SLOW)
    assert got.read_bytes() == data


def test_curl_with_expect_is_told_to_go_on(room, tmp_path):
    data = os.urandom(2_000_000)
    (tmp_path / "e.bin").write_bytes(data)
    url = url_of(room.gateway, create(room.gateway, len(data)))
    r = subprocess.run(["curl", "-sS", "-v", "-i", "-X", "PATCH", url, "--expect100-timeout", "30", "-H", "Expect: 100-continue",
                        "-H", "Tus-Resumable: 1.0.0", "-H", "Upload-Offset: 0", "-H",
                        "Content-Type: application/offset+octet-stream", "--data-binary", f"@{tmp_path / 'e.bin'}"],
                       capture_output=True, text=True, timeout=60 * SLOW, check=True)
    assert "100 Continue" in r.stdout and "204" in r.stdout
    assert "Done waiting for 100-continue" not in r.stderr, r.stderr


def test_a_new_upload_is_at_zero_and_keeps_its_metadata(room):
    meta = metadata(filename="ä ö.txt", filetype="text/plain", custom="x")
    url = url_of(room.gateway, create(room.gateway, 10, meta))
    r = head(url)
    assert r.status_code == 200 and r.headers["Upload-Offset"] == "0" and r.headers["Upload-Length"] == "10"
    assert set(r.headers["Upload-Metadata"].split(",")) == set(meta.split(",")) and "no-store" in r.headers["Cache-Control"]
    assert requests.get(url, timeout=10 * SLOW).status_code in (404, 409, 403)  # not finished: nothing to download


def test_an_empty_file_is_complete_at_once(room):
    url = upload(room.gateway, b"", filename="empty")
    for part in ({}, {"Range": "bytes=0-"}, {"Range": "bytes=0-99"}, {"Range": "bytes=-5"}):  # there is no part of nothing
        r = requests.get(url, headers=part, timeout=10 * SLOW)
        assert r.status_code == 200 and r.content == b"" and "Content-Range" not in r.headers, part


def test_wrong_offset_is_409_and_changes_nothing(room):
    url = url_of(room.gateway, create(room.gateway, 10))
    assert patch(url, 0, b"12345").status_code == 204
    for wrong in (0, 4, 6, 10):
        r = patch(url, wrong, b"abc")
        assert r.status_code == 409 and r.headers.get("Upload-Offset", "5") == "5", wrong
    assert head(url).headers["Upload-Offset"] == "5"
    assert patch(url, 5, b"67890").status_code == 204
    assert requests.get(url, timeout=10 * SLOW).content == b"1234567890"


@pytest.mark.parametrize("value", ["-1", "abc", "1e3", "0x10", "", "1 2", "99999999999999999999999", "1.5"])
def test_an_upload_length_that_is_none_is_refused(room, value):
    r = requests.post(f"{room.gateway.http}/files/", headers=TUS | {"Upload-Length": value}, timeout=10 * SLOW)
    assert r.status_code in (400, 413), (value, r.status_code)
    assert r.json()["error"]["message"]


@pytest.mark.parametrize("value", ["-1", "abc", "1e1", "", "99999999999999999999999"])
def test_an_upload_offset_that_is_none_is_refused(room, value):
    url = url_of(room.gateway, create(room.gateway, 10))
    r = patch(url, 0, b"abc", **{"Upload-Offset": value})
    assert r.status_code == 400 and "Upload-Offset" in r.json()["error"]["message"], (value, r.status_code, r.text)
    assert head(url).headers["Upload-Offset"] == "0"


def test_a_length_over_the_limit_is_413(fresh):
    r = fresh(config="gateway: { max_upload_bytes: 1000 }\n")
    assert create(r.gateway, 1001).status_code == 413
    assert create(r.gateway, 1000).status_code == 201
    o = requests.options(f"{r.gateway.http}/files/", timeout=10 * SLOW)
    assert o.headers["Tus-Max-Size"] == "1000"


def test_other_versions_and_types_are_refused(room):
    r = requests.post(f"{room.gateway.http}/files/", headers={"Upload-Length": "1", "Tus-Resumable": "0.2.2"}, timeout=10 * SLOW)
    assert r.status_code == 412 and "1.0.0" in r.headers["Tus-Version"]
    url = url_of(room.gateway, create(room.gateway, 10))
    assert patch(url, 0, b"abc", **{"Content-Type": "text/plain"}).status_code == 415
    assert patch(url, 0, b"abc", **{"Tus-Resumable": "2.0.0"}).status_code == 412


@pytest.mark.parametrize("meta", ["filename", "filename ***", "filename YQ==,filename YQ==", ",", "x y z,", "a b c", "é YQ==",
                                  "room " + base64.b64encode(b"../x").decode()])
def test_metadata_that_is_none_is_refused_or_harmless(room, meta):
    r = create(room.gateway, 3, meta.encode())
    assert r.status_code in (201, 400), (meta, r.status_code)
    if r.status_code == 201:
        assert meta in ("filename",)  # a key without a value is legal


@pytest.mark.parametrize("filename", ["../../etc/passwd", "/etc/passwd", "a\\b.txt", 'q"uote;.txt', "new\r\nline: x", "..",
                                      "\u202egnp.exe", "x" * 5000, "早上好.pdf", "\0"])
def test_no_name_leaves_the_header_or_the_folder(room, name, filename):
    r = create(room.gateway, 3, metadata(filename=filename, room=name))
    url = url_of(room.gateway, r)
    assert patch(url, 0, b"abc").status_code == 204
    got = requests.get(url, timeout=10 * SLOW)
    disposition = got.headers["Content-Disposition"]
    assert got.content == b"abc" and disposition.startswith("attachment")
    plain = disposition.split("filename*=")[0]
    assert "/" not in plain and "\\" not in plain and "\n" not in plain and plain.count('"') in (0, 2)
    assert "x" not in got.headers.get("x-line", "") and "line" not in got.headers
    names = {p.name for p in room.data.rglob("*")}
    assert not any("passwd" in n or n.endswith((".txt", ".pdf", ".exe")) for n in names)


def test_a_long_name_keeps_its_ending(room):
    url = upload(room.gateway, b"x", filename="\u6587" * 84 + ".pdf", filetype="application/pdf")
    assert requests.get(url, timeout=10 * SLOW).headers["Content-Disposition"].endswith("%E6%96%87.pdf")


def test_active_content_is_never_served_as_such(room):
    for filetype, body in (("text/html", b"<script>alert(1)</script>"), ("image/svg+xml", b"<svg onload='x()'/>"),
                           ("application/javascript", b"alert(1)"), ("text/html\r\nX: y", b"x")):
        r = create(room.gateway, len(body), metadata(filename="x", filetype=filetype))
        url = url_of(room.gateway, r)
        patch(url, 0, body)
        got = requests.get(url, timeout=10 * SLOW)
        assert got.headers["Content-Disposition"].startswith("attachment") and got.headers["X-Content-Type-Options"] == "nosniff"
        assert "sandbox" in got.headers.get("Content-Security-Policy", "")
        assert "html" not in got.headers["Content-Type"] and "svg" not in got.headers["Content-Type"]


def test_one_range_is_served_exactly(room):
    data = bytes(range(256)) * 40
    url = upload(room.gateway, data)
    n = len(data)
    etag = requests.head(url, timeout=10 * SLOW).headers["ETag"]
    for header, want in (("bytes=0-9", (0, 9)), ("bytes=-5", (n - 5, n - 1)), (f"bytes={n - 3}-", (n - 3, n - 1)),
                         (f"bytes=5-{n + 100}", (5, n - 1)), ("bytes=-999999", (0, n - 1))):
        r = requests.get(url, headers={"Range": header}, timeout=10 * SLOW)
        assert r.status_code == 206 and r.headers["Content-Range"] == f"bytes {want[0]}-{want[1]}/{n}", header
        assert r.content == data[want[0]:want[1] + 1] and r.headers["Content-Length"] == str(len(r.content))
    for header in (f"bytes={n}-", "bytes=-0"):
        r = requests.get(url, headers={"Range": header}, timeout=10 * SLOW)
        assert r.status_code == 416 and r.headers["Content-Range"] == f"bytes */{n}", header
    for header in ("bytes=5-2", "items=0-1", "bytes=a-b", "bytes="):
        r = requests.get(url, headers={"Range": header}, timeout=10 * SLOW)
        assert r.status_code in (200, 416) and (r.status_code == 416 or r.content == data), header
    assert requests.get(url, headers={"Range": "bytes=0-9", "If-Range": '"other"'}, timeout=10 * SLOW).status_code == 200
    assert requests.get(url, headers={"Range": "bytes=0-9", "If-Range": etag}, timeout=10 * SLOW).status_code == 206
    for value in (etag, f'"x", {etag}', f"W/{etag}", "*"):
        assert requests.get(url, headers={"If-None-Match": value}, timeout=10 * SLOW).status_code == 304, value
    h = requests.head(url, timeout=10 * SLOW)
    assert h.status_code == 200 and h.headers["Content-Length"] == str(n) and h.headers["Accept-Ranges"] == "bytes"


def test_termination_removes_it(room):
    url = url_of(room.gateway, create(room.gateway, 10))
    assert requests.delete(url, headers=TUS, timeout=10 * SLOW).status_code == 204
    assert head(url).status_code in (404, 410)
    assert patch(url, 0, b"a").status_code in (404, 410)
    url = upload(room.gateway, b"whole")
    assert requests.delete(url, headers=TUS, timeout=10 * SLOW).status_code == 204
    assert requests.get(url, timeout=10 * SLOW).status_code in (404, 410)


def test_a_body_that_is_cut_is_kept_so_far_and_never_complete(room):
    data = os.urandom(400_000)
    url = url_of(room.gateway, create(room.gateway, len(data)))
    path = url[len(room.gateway.http):]
    with room.gateway.raw() as s:
        s.sendall((f"PATCH {path} HTTP/1.1\r\nHost: localhost\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\n"
                   f"Content-Type: application/offset+octet-stream\r\nContent-Length: {len(data)}\r\n\r\n").encode())
        s.sendall(data[:250_000])
    offset = until(lambda: int(head(url).headers["Upload-Offset"]), 30)
    offset = int(head(url).headers["Upload-Offset"])
    assert 0 < offset <= 250_000
    assert requests.get(url, timeout=10 * SLOW).status_code != 200
    assert patch(url, offset, data[offset:]).status_code == 204
    assert requests.get(url, timeout=10 * SLOW).content == data


def test_a_body_longer_than_what_is_left_is_refused(room):
    url = url_of(room.gateway, create(room.gateway, 10))
    r = patch(url, 0, b"x" * 11)
    assert r.status_code in (400, 413)
    offset = int(head(url).headers["Upload-Offset"])
    assert offset in (0, 10)
    chunks = iter([b"y" * 6, b"y" * 6])
    url = url_of(room.gateway, create(room.gateway, 10))
    try:
        r = requests.patch(url, data=chunks, timeout=20 * SLOW, headers=TUS | {
            "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"})
        assert r.status_code in (400, 413)
    except requests.ConnectionError:
        pass  # it may close on such a client without waiting for the rest
    assert int(head(url).headers["Upload-Offset"]) <= 10


def test_a_chunked_body_without_a_length_is_taken(room):
    data = os.urandom(300_000)
    url = url_of(room.gateway, create(room.gateway, len(data)))
    r = requests.patch(url, data=iter([data[:100_000], data[100_000:]]), timeout=20 * SLOW, headers=TUS | {
        "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"})
    assert r.status_code == 204 and r.headers["Upload-Offset"] == str(len(data))
    assert requests.get(url, timeout=10 * SLOW).content == data


def test_a_half_open_upload_is_taken_over(room):
    """The client lost its connection and the server does not know yet: HEAD answers at once, the next PATCH goes on."""
    data = os.urandom(200_000)
    url = url_of(room.gateway, create(room.gateway, len(data)))
    path = url[len(room.gateway.http):]
    with room.gateway.raw() as s:
        s.sendall((f"PATCH {path} HTTP/1.1\r\nHost: localhost\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\n"
                   f"Content-Type: application/offset+octet-stream\r\nContent-Length: {len(data)}\r\n\r\n").encode())
        s.sendall(data[:90_000])
        began = time.monotonic()
        offset = int(head(url).headers["Upload-Offset"])
        assert time.monotonic() - began < 3 * SLOW
        # What is still on its way on the old connection may come first: 409 then, and the client asks again.
        answer = patch(url, offset, data[offset:])
        while answer.status_code == 409 and time.monotonic() - began < 10 * SLOW:
            offset = int(head(url).headers["Upload-Offset"])
            answer = patch(url, offset, data[offset:])
        assert answer.status_code == 204
    assert requests.get(url, timeout=10 * SLOW).content == data


def test_two_that_send_the_same_upload_do_not_mix(room):
    data = os.urandom(2_000_000)
    url = url_of(room.gateway, create(room.gateway, len(data)))
    urls = [g.http + url[len(room.gateway.http):] for g in room.gateways] * 2

    def push(u):
        for _ in range(60):
            h = head(u)
            offset = int(h.headers["Upload-Offset"])
            if offset == len(data):
                return True
            try:
                patch(u, offset, data[offset:offset + 300_000])
            except requests.RequestException:
                pass
        return False

    with concurrent.futures.ThreadPoolExecutor() as pool:
        assert all(pool.map(push, urls))
    assert requests.get(url, timeout=10 * SLOW).content == data


@pytest.mark.parametrize("path", ["/files/../hub/room.db", "/files/..%2fhub%2froom.db", "/files/%2e%2e/hub/room.db",
                                  "/files/%00", "/files/a%00b", "/assets/../../../../etc/passwd",
                                  "/assets/%2e%2e/%2e%2e/%2e%2e/etc/passwd", "/assets/..%5c..%5cetc", "//etc/passwd",
                                  "/../../etc/passwd", "/live/../../etc/passwd.mp4", "/live/%2e%2e%2fx.mp4"])
def test_no_path_leads_out(room, path):
    with room.gateway.raw() as s:
        s.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while chunk := s.recv(65536):
            answer += chunk
    status = int(answer.split()[1])
    assert 300 < status < 500, answer[:200]
    assert b"root:" not in answer and b"SQLite" not in answer
    if status < 400:
        location = [line for line in answer.split(b"\r\n") if line.lower().startswith(b"location:")][0]
        assert b"//" not in location.split(b":", 1)[1]


@pytest.mark.slow
def test_ten_large_uploads_stay_below_64_mb_of_memory(shape, fresh):
    """Ten at once, from memory that they share: what grows is the disk, not the processes."""
    r = fresh()
    size = 200_000_000 if shape == "all" else 1_000_000_000
    free = shutil.disk_usage(r.dir).free
    assert free >= 11 * size, f"ten files of {size} bytes need a disk with more than {free} bytes free at {r.dir}"
    block = os.urandom(1 << 20)
    pids = {r.process_of("gateway").pid, r.process_of("filestore").pid}
    before = sum(memory_kb(p) for p in pids)
    peak = 0

    def send(_):
        left = size
        url = url_of(r.gateway, create(r.gateway, size))

        def body():
            nonlocal left
            while left:
                piece = block[:min(left, len(block))]
                left -= len(piece)
                yield piece

        return patch(url, 0, body()).status_code

    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        results = [pool.submit(send, i) for i in range(10)]
        while not all(f.done() for f in results):
            peak = max(peak, sum(memory_kb(p) for p in pids))
            concurrent.futures.wait(results, timeout=0.05)
    assert [f.result() for f in results] == [204] * 10
    assert peak < 64 * 1024 + (before if shape == "all" else 0), f"{peak} kB at the peak, {before} kB before"
