# SPDX-License-Identifier: MIT
"""What strangers see: the operator's words (paths, addresses, what to do) are in the log; who asks gets neutral ones. And what
strangers can make others see."""
import requests

from harness import SLOW, until
from test_c_centrifuge import Json


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
