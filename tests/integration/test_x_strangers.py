# SPDX-License-Identifier: MIT
"""What strangers see: the operator's words (paths, addresses, what to do) are in the log; who asks gets neutral ones. And what
strangers can make others see."""
from harness import until
from test_c_centrifuge import Json
from test_h_files import upload


def damage(file):
    """All but the first pages of a SQLite file becomes noise: it opens, and what is in it cannot be read."""
    bytes_ = bytearray(file.read_bytes())
    size = 4096
    assert len(bytes_) > 40 * size, "there is nothing in it to damage"
    for at in range(20 * size, len(bytes_), size):
        bytes_[at:at + 64] = b"\xff" * 64
    file.write_bytes(bytes_)


def test_a_damaged_log_is_told_in_neutral_words_and_logged(fresh, shape):
    r = fresh()
    with Json(r.gateway) as c:
        for i in range(40):
            c.command({"id": 2 + i, "publish": {"channel": "hall", "data": {"text": "x" * 20000}}})
            assert "publish" in c.reply(2 + i)
    hub = r.process_of("hub")
    hub.stop()
    damage(r.data / "hub" / "room.db")
    hub.start()
    r.wait_healthy()
    with Json(r.gateway) as c:
        c.command({"id": 2, "history": {"channel": "hall", "limit": 100}})
        error = c.reply(2)["error"]
    assert "internal" in error["message"] and "/" not in error["message"] and ".db" not in error["message"], error
    assert error["code"] == 100, error
    until(lambda: "hub.read" in hub.text(), what="the line in the log")
    line = next(line for line in hub.text().splitlines() if "hub.read" in line)
    assert "room.db" in line and "damaged" in line, line


def test_what_only_looks_like_a_file_is_none(room, name):
    """Anybody may publish the filestore's JSON; what the server says of an entry is in its tags."""
    forged = {"type": "file", "name": "Ann", "file": {"id": "x", "name": "a.pdf", "size": 1, "sha256": "0" * 64, "url": "/files/abcdefghij0123456789"}}
    with Json(room.gateway) as c, room.gateways[-1].text(name) as lines:
        c.command({"id": 2, "subscribe": {"channel": name}})
        c.reply(2)
        c.command({"id": 3, "publish": {"channel": name, "data": forged}})
        c.reply(3)
        assert "shared" not in lines.line()
        url = upload(room.gateway, b"abc", filename="real.txt", room=name)
        assert "shared real.txt (3 B)" in lines.line() and url
        while len(c.pushes) < 2:
            c.pump()
        assert [p["pub"].get("tags") for p in c.pushes] == [None, {"kind": "file"}]


def test_lines_carry_no_control_characters(room, name):
    with Json(room.gateway) as c, room.gateways[-1].text(name) as lines:
        c.command({"id": 2, "publish": {"channel": name, "data": {"name": "a\x1b]0;x", "text": "\x07b\x00c\x7fd\u009be\tf"}}})
        c.reply(2)
        assert lines.line() == "a\u241b]0;x: \u2407b\u2400c\u2421d\ufffde\tf"


def test_the_same_from_two_people_is_there_twice(room, name):
    like = {"type": "like", "id": "message-0042"}

    def say(person, data):
        with Json(room.gateways[-1], connect_first=False) as c:
            c.command({"id": 1, "connect": {"name": "test", "data": {"name": person}}})
            c.reply(1)
            c.command({"id": 2, "publish": {"channel": name, "data": data}})
            assert c.reply(2)["publish"] == {}

    say("Ann", like)
    say("Bob", like)
    say("Ann", like)  # again, on another connection
    with Json(room.gateway) as c:
        c.command({"id": 2, "history": {"channel": name, "limit": 10}})
        assert len(c.reply(2)["history"]["publications"]) == 2
