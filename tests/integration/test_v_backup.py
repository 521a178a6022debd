# SPDX-License-Identifier: MIT
"""A backup of the log: taken while people talk, put back where it was and on a new machine."""
import itertools

import pytest

from harness import Process, run, until
from test_c_centrifuge import Json
from test_d_recovery import fill, subscribe


def history(gateway, name):
    with Json(gateway) as c:
        c.command({"id": 2, "history": {"channel": name, "limit": -1}})
        reply = c.reply(2)
        return reply.get("history") or reply


def backup(room, file):
    done = run("backup", "--data", room.data, file)
    assert done.returncode == 0, done.stderr
    return done.stderr


def hub_again(room, work):
    """Ends the hub's process, works on the folder, starts it anew."""
    p = room.process_of("hub")
    p.stop()
    work()
    Process.start(p)
    room.wait_healthy()


def test_a_backup_put_back_is_another_log(fresh, tmp_path):
    r, file = fresh(), tmp_path / "log.backup"
    fill(r.gateway, "hall", [f"kept {i}" for i in range(5)])
    fill(r.gateway, "other", ["other"])
    epoch = history(r.gateway, "hall")["epoch"]
    assert "6 messages of 2 rooms" in backup(r, file)
    assert "6 messages of 2 rooms" in run("verify", file).stderr
    fill(r.gateway, "hall", [f"forgotten {i}" for i in range(10)])
    fill(r.gateway, "after", ["a room that the backup does not have"])
    after = history(r.gateway, "after")["epoch"]

    def restore():
        done = run("restore", "--data", r.data, file)
        assert done.returncode == 0 and "6 messages of 2 rooms" in done.stderr, done.stderr

    refused = run("restore", "--data", r.data, file)
    assert refused.returncode == 1 and "the log is as it was" in refused.stderr
    hub_again(r, restore)
    # A gateway of its own process may still say for a moment what the old hub told it.
    now = until(lambda: (h := history(r.gateway, "hall")).get("epoch") not in (None, epoch) and h, what="the log that was put back")
    assert [p["data"]["text"] for p in now["publications"]] == [f"kept {i}" for i in range(5)]
    assert now["offset"] == 5
    with Json(r.gateway) as c:
        # Who heard more than the backup has, or talked where it has nothing, is told that this is another log: at once, or as
        # soon as a gateway that had the room has asked the new hub.
        numbers = itertools.count(10)

        def come_back(name, offset, of):
            s = subscribe(c, next(numbers), name, recover=True, offset=offset, epoch=of)
            i = next(numbers)
            c.command({"id": i, "unsubscribe": {"channel": name}})
            c.reply(i)
            return s["epoch"] != of and s

        for name, offset, of in (("hall", 15, epoch), ("hall", 3, epoch), ("after", 1, after)):
            s = until(lambda n=name, o=offset, e=of: come_back(n, o, e), what="the new log's epoch")
            assert s["was_recovering"] and not s.get("recovered") and not s.get("publications")
        s = subscribe(c, next(numbers), "hall", recover=True, offset=3, epoch=now["epoch"])
        assert s["recovered"] and [p["offset"] for p in s["publications"]] == [4, 5]
    fill(r.gateway, "hall", ["goes on"])
    assert history(r.gateway, "hall")["offset"] == 6


def test_a_broken_backup_leaves_the_log_as_it_was(fresh, tmp_path):
    r, file = fresh(), tmp_path / "log.backup"
    fill(r.gateway, "hall", [f"m{i}" for i in range(50)])
    before = history(r.gateway, "hall")
    backup(r, file)
    whole = file.read_bytes()

    def try_all():
        for broken in (b"", whole[:-1], whole[:len(whole) // 2], whole[:200] + b"?" + whole[201:], whole + b"\n", b"SQLite format 3\0"):
            file.write_bytes(broken)
            assert "it is no whole backup" in run("verify", file).stderr
            done = run("restore", "--data", r.data, file)
            assert done.returncode == 1 and "it is no whole backup" in done.stderr and "the log is as it was" in done.stderr

    hub_again(r, try_all)
    assert until(lambda: history(r.gateway, "hall") == before, what="the log as it was")
    assert sorted(p.name for p in (r.data / "hub").iterdir() if "restore" in p.name) == []


@pytest.mark.parametrize("args, words", [
    (["backup", "x.backup"], "there is no log here"),
    (["backup", "--set", "hub.store=memory", "x.backup"], "nothing that outlives its process"),
    (["restore", "nowhere.backup"], "No such file"),
    (["verify", "nowhere.backup"], "No such file"),
    (["verify", "a", "b"], "one file too many"),
])
def test_what_cannot_be_done_is_said(tmp_path, args, words):
    done = run(*args, "--data", tmp_path / "data", cwd=tmp_path)
    assert done.returncode != 0 and words in done.stderr
    assert not (tmp_path / "x.backup").exists()
