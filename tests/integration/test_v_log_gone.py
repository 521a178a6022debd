# SPDX-License-Identifier: MIT
"""The log's folder is taken away under a running hub."""
import shutil

from harness import Room, run, until
from test_c_centrifuge import Json
from test_d_recovery import fill


def test_nothing_is_acknowledged_into_a_folder_that_was_removed():
    with Room("split") as r:
        fill(r.gateway, "hall", ["kept"])
        where = {k: v for k, v in r.env.items() if k.startswith("WATCHROOM_BUS_")}
        assert run("health", "hub", env=where).returncode == 0
        shutil.rmtree(r.data / "hub")
        with Json(r.gateway) as c:
            for i in range(2, 5):
                c.command({"id": i, "publish": {"channel": "hall", "data": {"text": "nowhere to go"}}})
                assert c.reply(i)["error"]["code"]
        said = until(lambda: (h := run("health", "hub", env=where)).returncode and h, what="the hub's health")
        assert "removed, moved or replaced" in said.stderr
        assert "removed, moved or replaced" in r.process_of("hub").text()
        # Started anew it takes what comes; what was there is gone with the folder.
        r.process_of("hub").stop()
        r.process_of("hub").start()
        r.wait_healthy()
        fill(r.gateway, "hall", ["anew"])
        assert run("health", "hub", env=where).returncode == 0
