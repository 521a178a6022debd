# SPDX-License-Identifier: MIT
"""kill -9 of each process, twenty times (twice under a sanitizer), with load on: what was acknowledged is there, once;
everybody comes back by themselves."""
import hashlib
import json
import os
import threading
import time

import pytest
import requests

from busclient import Bus
from harness import NODE, SANITIZER, SLOW, Room, node_start, until
from test_c_centrifuge import Json
from test_f_live import watch
from test_h_files import create, head, metadata, patch, url_of

ROUNDS = int(os.environ.get("WATCHROOM_KILL_ROUNDS", "2" if SANITIZER else "20"))


class Talk:
    """People on the npm package; see node/load.mjs."""

    def __init__(self, room_name, clients, gateways):
        self.p = node_start("load.mjs", room_name, clients, *[g.centrifuge for g in gateways])

    def ask(self, word):
        self.p.stdin.write(word + "\n")
        self.p.stdin.flush()
        line = self.p.stdout.readline()
        assert line.startswith(("{", "[")), line + self.p.stdout.read()
        return json.loads(line)

    def everybody_goes_on(self):
        """Each one has something newly acknowledged and newly received."""
        before = self.ask("status")
        until(lambda: all(a > b for a, b in zip(self.ask("status")["acked"], before["acked"])) and
              all(a > b for a, b in zip(self.ask("status")["received"], before["received"])), 30, "all clients talking again")

    def stop(self):
        result = self.ask("stop")
        self.p.wait(20)
        return result


class Uploads(threading.Thread):
    """One file after the other, in pieces; each piece goes on at the offset that was told, which never goes back."""

    def __init__(self, gateways):
        super().__init__(daemon=True)
        self.gateways, self.stopping, self.done, self.wrong = gateways, False, [], []

    def run(self):
        n = 0
        while not self.stopping:
            data = os.urandom(1_500_000)
            try:
                self.one(self.gateways[n % len(self.gateways)], data)
            except AssertionError as e:
                self.wrong.append(str(e))
                return
            n += 1

    def retried(self, call):
        """A server that is not there, or says that it cannot now, is asked again; nothing else it says is only for now."""
        end = time.monotonic() + 60 * SLOW
        while True:
            try:
                r = call()
                if r.status_code not in (502, 503, 504):
                    return r
            except requests.RequestException as e:
                r = e
            assert time.monotonic() < end, f"the upload did not go on: {r}"
            time.sleep(0.02)  # a client's pause before it tries again

    def one(self, g, data):
        url = url_of(g, self.retried(lambda: create(g, len(data), metadata(filename="k.bin"))))
        told = 0
        while told < len(data):
            h = self.retried(lambda: head(url))
            assert h.status_code == 200, f"the upload is {h.status_code}"
            offset = int(h.headers["Upload-Offset"])
            assert offset >= told, f"told {told}, now {offset}"
            if offset == len(data):
                break
            try:
                r = patch(url, offset, data[offset:offset + 200_000])
                if r.status_code == 204:
                    told = int(r.headers["Upload-Offset"])
                    assert told == offset + min(200_000, len(data) - offset)
            except requests.RequestException:
                pass
        self.done.append((url, hashlib.sha256(data).hexdigest()))


class Viewer(threading.Thread):
    """Watches over WebSocket, and comes back when it is cut, as the page does."""

    def __init__(self, gateway):
        super().__init__(daemon=True)
        self.gateway, self.stopping, self.fragments = gateway, False, 0

    def run(self):
        while not self.stopping:
            try:
                with watch(self.gateway) as v:
                    while not self.stopping:
                        v.recv(5)
                        self.fragments += 1
            except Exception:  # noqa: BLE001  whatever ends it, it comes back
                if not self.stopping:
                    time.sleep(0.1)


def log_of(r, name):
    if r.shape == "split":
        with Bus(r.bus["hub"][0]) as bus:
            return [(p.offset, json.loads(p.data)["id"]) for p in bus.history(name)]
    with Json(r.gateway) as c:
        entries, since, i = [], {"offset": 0}, 2
        while True:
            i += 1
            c.command({"id": i, "history": {"channel": name, "limit": 300, "since": since}})
            h = c.reply(i)["history"]
            entries += [(p["offset"], p["data"]["id"]) for p in h["publications"]]
            if not h["publications"]:
                return entries
            since = {"offset": entries[-1][0], "epoch": h["epoch"]}


def judge(r, name, people, uploads):
    log = log_of(r, name)
    offsets, ids = [o for o, _ in log], [i for _, i in log]
    assert offsets == list(range(1, len(log) + 1)), "the log has holes"
    assert len(set(ids)) == len(ids), "a message is there twice"
    for n, person in enumerate(people):
        lost = set(person["acked"]) - set(ids)
        assert not lost, f"acknowledged to {n} and lost: {sorted(lost)[:5]}"
        assert person["notRecovered"] == 0, "a client could not be given what it missed"
        seen = [o for o, _ in person["seen"]]
        assert seen == list(range(seen[0], seen[0] + len(seen))), f"client {n} saw holes, doubles or another order"
        assert seen[-1] == len(log), f"client {n} stopped at {seen[-1]} of {len(log)}"
        assert dict(person["seen"]) == {o: i for o, i in log if o >= seen[0]}
    assert not uploads.wrong, uploads.wrong
    for url, digest in uploads.done:
        body = requests.get(url, timeout=30 * SLOW)
        assert body.status_code == 200 and hashlib.sha256(body.content).hexdigest() == digest


CASES = [("split", "hub"), ("split", "filestore"), ("split", "ingest"), ("split", "gateway0"), ("all", "all")]


@pytest.mark.timeout(400)
@pytest.mark.parametrize("form, victim", CASES, ids=[c[1] for c in CASES])
def test_kill_9_with_load_on(form, victim):
    assert (NODE / "node_modules").exists()
    with Room(form) as r:
        name = f"kill-{victim}"
        talk = Talk(name, 6, r.gateways)
        uploads, viewer = Uploads(r.gateways), Viewer(r.gateways[0])
        talk.everybody_goes_on()
        uploads.start()
        viewer.start()
        for i in range(ROUNDS):
            p = r.processes[victim]
            p.kill()
            p.start()
            talk.everybody_goes_on()
            if victim in ("filestore", "gateway0", "all"):
                n = len(uploads.done)
                until(lambda n=n: len(uploads.done) > n or uploads.wrong, 40, "an upload being finished")
            if victim in ("ingest", "gateway0", "all") and i % 4 == 0:
                n = viewer.fragments
                until(lambda n=n: viewer.fragments > n + 20, 40, "the picture coming back")
        uploads.stopping = viewer.stopping = True
        people = talk.stop()
        uploads.join(60 * SLOW)
        viewer.join(20 * SLOW)
        assert not uploads.is_alive() and not viewer.is_alive()
        assert uploads.done
        judge(r, name, people, uploads)


def test_an_upload_resumes_after_kill_9_at_the_told_offset_or_after(shape):
    with Room(shape) as r:
        data = os.urandom(3_000_000)
        url = url_of(r.gateway, create(r.gateway, len(data), metadata(filename="r", room="resume")))
        told = 0
        victims = ["all"] if shape == "all" else ["filestore", "gateway0"]
        for step in range(6):
            answer = patch(url, told, data[told:told + 500_000])
            assert answer.status_code == 204
            told = int(answer.headers["Upload-Offset"])
            if step == 5:
                break
            p = r.processes[victims[step % len(victims)]]
            p.kill()
            p.start()
            r.wait_healthy()
            now = int(until(lambda: head(url).headers.get("Upload-Offset"), 20))
            assert now >= told
            told = now
        assert requests.get(url, timeout=30 * SLOW).content == data
        with Json(r.gateway) as c:
            def entry():
                c.command({"id": 2, "history": {"channel": "resume", "limit": 10}})
                return c.reply(2)["history"]["publications"]
            entries = until(entry)
            assert len(entries) == 1 and entries[0]["data"]["file"]["sha256"] == hashlib.sha256(data).hexdigest()


def test_the_file_is_announced_once_though_its_services_died(shape):
    """Killed between the last byte and the room's entry: it comes, and comes once."""
    with Room(shape) as r:
        victims = ["all"] if shape == "all" else ["filestore", "hub"]
        ids = []
        for i in range(8):
            url = url_of(r.gateway, create(r.gateway, 5, metadata(filename=f"{i}.txt", room="announce")))
            assert patch(url, 0, b"hello").status_code == 204
            ids.append(url.rsplit("/", 1)[1])
            p = r.processes[victims[i % len(victims)]]
            p.kill()
            p.start()
            r.wait_healthy()
        with Json(r.gateway) as c:
            c.i = 1

            def announced():
                c.i += 1
                c.command({"id": c.i, "history": {"channel": "announce", "limit": 100}})
                got = [p["data"]["file"]["id"] for p in c.reply(c.i).get("history", {"publications": []})["publications"]]
                return got if len(got) >= 8 else None

            assert sorted(until(announced, 30, "all entries")) == sorted(ids)
