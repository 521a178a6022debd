# SPDX-License-Identifier: MIT
"""A disk that is full: refused in words, alive all the time, and working again once there is room."""
import os
import pathlib

import pytest
import requests

from harness import SLOW, Room, as_root, until
from test_c_centrifuge import Json
from test_h_files import TUS, create, head, metadata, patch, upload, url_of
from test_i_uploads import OFFSET, read_head, request as raw_request


@pytest.fixture(params=["1MiB", "0"])
def small_disk(shape, tmp_path, request):
    """The whole on a file system of 24 MB: refused at the floor, and by the disk itself."""
    disk = tmp_path / "disk"
    disk.mkdir()
    as_root("mount", "-t", "tmpfs", "-o", "size=24m,mode=1777", "tmpfs", str(disk))
    try:
        with Room(shape, config=f"filestore: {{ min_free_bytes: {request.param} }}\n", data=disk / "data") as r:
            yield r, disk
    finally:
        as_root("umount", str(disk))


def fill(disk, leave=0):
    """Takes all that is left, but for a few bytes."""
    with open(disk / "ballast", "wb") as f:
        while True:
            s = os.statvfs(disk)
            left = s.f_bavail * s.f_frsize - leave
            if left < 4096:
                break
            f.write(b"\0" * min(left, 1 << 20))
            f.flush()


def test_publish_is_refused_and_works_again(small_disk):
    r, disk = small_disk
    with Json(r.gateway) as c, r.gateways[-1].text("full") as reader:
        c.command({"id": 2, "publish": {"channel": "full", "data": {"text": "before"}}})
        assert c.reply(2)["publish"] == {}
        assert reader.line() == "before"
        fill(disk)
        refused = acked = 0
        for i in range(200):
            c.command({"id": 10 + i, "publish": {"channel": "full", "data": {"text": f"{i} " + "x" * 20000}}})
            answer = c.reply(10 + i)
            if "error" in answer:
                refused += 1
                assert answer["error"]["temporary"] is True and answer["error"]["message"], answer
            else:
                acked += 1
        assert refused > 100, (refused, acked)
        assert r.gateway.get("/api/v1/rooms").status_code == 200
        (disk / "ballast").unlink()

        def works():
            works.i += 1
            c.command({"id": works.i, "publish": {"channel": "full", "data": {"text": "after"}}})
            return "publish" in c.reply(works.i)

        works.i = 1000
        until(works, 20, "publishing again")
        c.command({"id": 5000, "history": {"channel": "full", "limit": -1}})
        h = c.reply(5000)["history"]["publications"]
        assert [p["offset"] for p in h] == list(range(1, len(h) + 1))
        assert len(h) == acked + 2, "what was refused is not there, what was acknowledged is"
        texts = reader.until("after", 20)
        assert len(texts) == acked + 1


def test_upload_is_refused_and_goes_on_where_it_stood(small_disk):
    r, disk = small_disk
    done = upload(r.gateway, os.urandom(100_000), filename="early")
    assert create(r.gateway, 1 << 40).status_code in (413, 507), "more than the disk ever has"
    data = os.urandom(6_000_000)
    url = url_of(r.gateway, create(r.gateway, len(data), metadata(filename="big", room="full")))
    assert patch(url, 0, data[:1_000_000]).status_code == 204
    fill(disk)
    answer = patch(url, 1_000_000, data[1_000_000:])
    assert answer.status_code == 507, answer.text
    assert answer.json()["error"]["message"]
    offset = int(head(url).headers["Upload-Offset"])
    assert 1_000_000 <= offset < len(data)
    assert create(r.gateway, 1000).status_code == 507
    assert requests.get(done, timeout=10 * SLOW).status_code == 200, "reading goes on"
    (disk / "ballast").unlink()
    offset = int(until(lambda: head(url).headers.get("Upload-Offset"), 10))
    assert until(lambda: patch(url, int(head(url).headers["Upload-Offset"]), data[int(head(url).headers["Upload-Offset"]):]).status_code == 204, 20)
    assert requests.get(url, timeout=10 * SLOW).content == data
    assert pathlib.Path(disk / "data").exists()


def test_first_bytes_that_find_no_room_leave_nothing(small_disk):
    r, disk = small_disk
    n = 4_000_000

    def left():
        return {p.name for p in disk.rglob("*") if p.is_file() and len(p.stem) == 26}

    with r.gateway.raw() as s:
        s.settimeout(30 * SLOW)
        s.sendall(raw_request("POST", "/files/", b"x" * 300_000, **TUS, **OFFSET, **{"Upload-Length": n, "Content-Length": n}))
        until(left, 10, "the upload being made")
        fill(disk)
        s.sendall(b"x" * (n - 300_000))
        answer = read_head(s)
    assert answer.startswith("HTTP/1.1 507") and "\nLocation:" not in answer, answer
    assert not left()


def test_it_starts_on_a_full_disk_and_reads(small_disk):
    r, disk = small_disk
    url = upload(r.gateway, b"kept", filename="k")
    with r.gateway.text("kept") as t:
        t.send("a line")
        t.line()
    fill(disk)
    for p in r.processes.values():
        p.kill()
    for p in r.processes.values():
        p.start()
    r.wait_healthy()
    assert requests.get(url, timeout=10 * SLOW).content == b"kept"
    assert [x["offset"] for x in r.gateway.api("rooms") if x["room"] == "kept"] == [1]
    (disk / "ballast").unlink()


def test_uploads_that_cannot_both_end_are_not_both_begun(small_disk):
    """Room for an announced length is kept: the second one hears it before it has sent anything, and when to ask again."""
    r, disk = small_disk
    g = r.gateway
    length = 14 << 20
    data = os.urandom(length)
    first = url_of(g, create(g, length))
    assert patch(first, 0, data[:5 << 20]).status_code == 204
    refused = create(g, length)
    assert refused.status_code == 507 and int(refused.headers["Retry-After"]) >= 30, (refused.status_code, refused.headers)
    assert create(g, 1 << 20).status_code == 201, "what fits is taken"
    assert patch(first, 5 << 20, data[5 << 20:]).status_code == 204
    assert requests.get(first, timeout=20 * SLOW).content == data
