# SPDX-License-Identifier: MIT
"""deploy/compose.yml, through its life: up, use, grow, shrink, crash, end. Every client comes in by nginx's port."""
import base64
import contextlib
import hashlib
import json
import os
import re
import resource
import signal
import socket
import subprocess
import time
from urllib.parse import urljoin, urlsplit

import pytest
import requests
from crowd import Crowd
from stack import ROOT, SERVICES, until
from tusclient import client as tus
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect as ws_connect

TUS = {"Tus-Resumable": "1.0.0"}


def metadata(**pairs):
    return ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in pairs.items())


def create_upload(stack, size, name="file.bin", **headers):
    answer = requests.post(f"{stack.http}/files/", timeout=30,
                           headers=TUS | {"Upload-Length": str(size), "Upload-Metadata": metadata(filename=name)} | headers)
    assert answer.status_code == 201, (answer.status_code, answer.text)
    return answer.headers["Location"]


def offset_of(url):
    answer = requests.head(url, headers=TUS, timeout=30)
    assert answer.status_code == 200, answer.status_code
    return int(answer.headers["Upload-Offset"])


def patch(url, offset, data):
    """A piece, on a connection of its own: nginx may choose another gateway each time."""
    return requests.patch(url, data=data, timeout=60, headers=TUS | {
        "Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream", "Connection": "close"})


@contextlib.contextmanager
def text_client(stack, room):
    """A client of /ws: lines in, lines out."""
    with ws_connect(f"{stack.ws}/ws?room={room}", compression=None, close_timeout=2) as ws:
        yield TextClient(ws)


class TextClient:
    def __init__(self, ws):
        self.ws = ws

    def hear(self, *lines, timeout=15):
        """Reads until each of these lines has come, in whatever order."""
        end, awaited = time.monotonic() + timeout, set(lines)
        while awaited:
            awaited -= set(self.ws.recv(timeout=max(0.01, end - time.monotonic())).split("\n"))

    def hears(self, line, timeout):
        with contextlib.suppress(TimeoutError):
            self.hear(line, timeout=timeout)
            return True
        return False


# ---- up ----

def test_up_builds_what_is_missing_and_brings_every_service_up_healthy(stack):
    """From nothing; the images' layers may be there, their names are not."""
    for image in ("WATCHROOM_IMAGE", "WATCHROOM_NGINX_IMAGE"):
        stack.docker("image", "rm", "--no-prune", os.environ[image])
    stack.compose("up", "-d", "--build", timeout=600)
    until(stack.answers, 60, "an answer of a gateway through nginx")
    for service in SERVICES:
        container, = stack.containers(service)
        until(lambda c=container: stack.is_healthy(c), 15, f"{service} is healthy")


def test_containers_have_no_more_rights_than_they_need(stack):
    for service in SERVICES:
        container, = stack.containers(service)
        host = container["HostConfig"]
        assert host["ReadonlyRootfs"] and host["CapDrop"] == ["ALL"] and not host["CapAdd"], service
        assert any(option.startswith("no-new-privileges") for option in host["SecurityOpt"]), service
        assert host["Memory"] > 0 and not host["Privileged"], service
        assert host["RestartPolicy"]["Name"] == "unless-stopped", service
        assert container["Config"]["User"].split(":")[0] not in ("", "0", "root"), service
        published = {key for key, bound in (host["PortBindings"] or {}).items() if bound}
        assert published == ({"8080/tcp"} if service == "nginx" else set()), service
    bindings = stack.containers("nginx")[0]["HostConfig"]["PortBindings"]["8080/tcp"]
    assert [b["HostIp"] for b in bindings] == ["127.0.0.1"]
    network = json.loads(stack.docker("network", "inspect", f"{os.environ['COMPOSE_PROJECT_NAME']}_bus"))[0]
    assert network["Internal"]


def test_image_is_small_in_tools_and_labelled(stack):
    image = json.loads(stack.docker("image", "inspect", os.environ["WATCHROOM_IMAGE"]))[0]
    labels = image["Config"]["Labels"]
    assert labels["org.opencontainers.image.licenses"] == "MIT" and labels["org.opencontainers.image.version"]
    assert image["Config"]["Healthcheck"]["Test"] == ["CMD", "watchroom", "health"]
    container, = stack.containers("gateway")
    for tool in ("gcc", "cmake", "node", "npm"):
        ran = subprocess.run(["docker", "exec", container["Id"], "sh", "-c", f"command -v {tool}"], capture_output=True)
        assert ran.returncode != 0, f"{tool} is in the image"


# ---- use, with two gateways ----

def test_two_gateways_serve_and_nginx_uses_both(stack):
    stack.up(gateway=2)
    with contextlib.ExitStack() as open_ones:
        clients = [open_ones.enter_context(text_client(stack, "spread")) for _ in range(12)]
        until(lambda: all(stack.gateway_clients()), 10, "both gateways have clients")
        # A connection is open before it is in the room: a gateway that has just started finds its hub first.
        until(lambda: stack.members("spread") == len(clients), 15, "everybody is in the room")
        # Everybody hears everybody, wherever nginx put them.
        for i, client in enumerate(clients):
            client.ws.send(f"line {i}")
        for client in clients:
            client.hear(*(f"line {i}" for i in range(len(clients))))


def test_two_sdks_talk_across_gateways(stack):
    people = [subprocess.Popen(["node", ROOT / "tests/compose/talk.mjs", stack.centrifuge, "sdks", f"js{i}"],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1)
              for i in range(4)]

    def read_until(person, wanted):
        seen = []
        while True:
            line = person.stdout.readline()
            assert line, f"talk.mjs ended before {wanted!r}: {seen}"
            seen.append(line.rstrip("\n"))
            if seen[-1] == wanted:
                return
    try:
        for person in people:
            read_until(person, "ready")
        with Crowd(stack.centrifuge, "sdks", 8, every_s=1.0) as crowd:
            until(lambda: all(stack.gateway_clients()), 10, "both gateways have clients")
            for i, person in enumerate(people):
                person.stdin.write(f"hello of js{i}\n")
            for person in people:
                read_until(person, f"heard line {crowd.name}-0-1")
            said = {f"hello of js{i}" for i in range(len(people))}
            until(lambda: said <= set(texts_of_history(stack, "sdks")), 15, "the log has what was said in JavaScript")
            for i, listener in enumerate(crowd.people):
                until(lambda who=listener: said <= set(who.texts), 15, f"listener {i} hears what was said in JavaScript")
            acknowledged, lost, duplicated = crowd.settle()
            assert acknowledged and not lost and not duplicated, (acknowledged, lost, duplicated)
    finally:
        for person in people:
            person.kill()
            person.wait()


def texts_of_history(stack, room):
    """The room's log, by the Centrifuge protocol."""
    with ws_connect(stack.centrifuge, subprotocols=["centrifuge-json"], compression=None) as ws:
        replies = {}
        ws.send("\n".join(json.dumps(command) for command in (
            {"id": 1, "connect": {}}, {"id": 2, "subscribe": {"channel": room}},
            {"id": 3, "history": {"channel": room, "limit": 1000}})))
        while 3 not in replies:
            for line in ws.recv(timeout=15).split("\n"):
                reply = json.loads(line)
                if "id" in reply:
                    assert "error" not in reply, reply
                    replies[reply["id"]] = reply
        return [p["data"].get("text") for p in replies[3]["history"].get("publications", [])]


def ffprobe(url):
    out = subprocess.run(["ffprobe", "-v", "error", "-show_entries", "stream=codec_name", "-of", "json", url], timeout=40,
                         check=True, capture_output=True, text=True)
    return sorted({s["codec_name"] for s in json.loads(out.stdout)["streams"]})


@pytest.mark.parametrize("container", ["mp4", "flv"])
def test_live_stream_plays(stack, container):
    assert ffprobe(f"{stack.http}/live/demo.{container}") == ["aac", "h264"]


def test_ingest_encodes_once_for_viewers_of_two_gateways(stack):
    viewers = []
    with contextlib.ExitStack() as open_ones:
        def both_watch():
            if len(viewers) < 12:
                viewers.append(open_ones.enter_context(
                    ws_connect(f"{stack.ws}/live/demo.mp4", compression=None, max_size=None, close_timeout=2)))
                viewers[-1].recv(timeout=20)  # the MIME type: it is being served
            return all(stack.gateway_clients())
        until(both_watch, 40, "viewers on both gateways")
        ingest, = stack.containers("ingest")
        # Each gateway reads the stream once, from one socket, however many viewers it has.
        until(lambda: len(set(stack.connections(ingest, range(7210, 7300)))) == 2, 10, "both gateways read the stream")
        assert len(stack.connections(ingest, range(7210, 7300))) == 2
        for viewer in viewers:
            assert len(viewer.recv(timeout=20)) > 0


def test_upload_goes_on_at_another_gateway(stack):
    """In pieces until both gateways have had one; which has the next is nginx's throw of a coin."""
    data = os.urandom(1_500_000)
    url = urljoin(f"{stack.http}/files/", create_upload(stack, len(data), "pieces.bin"))
    line = rf'"PATCH {re.escape(urlsplit(url).path)} [^"]*" 204 .* from ([0-9.:]+)'
    nginx, = stack.containers("nginx")
    at, upstreams = 0, []
    while len(set(upstreams)) < 2:
        assert at < len(data) - 25_000, f"all pieces went through {upstreams}"
        answer = patch(url, at, data[at:at + 25_000])
        assert answer.status_code == 204, (answer.status_code, answer.text)
        at += 25_000
        upstreams = until(lambda n=at // 25_000: len(found := re.findall(line, stack.logs(nginx))) == n and found, 10,
                          "the piece's line in the log")
    assert patch(url, at, data[at:]).status_code == 204
    assert requests.get(url, timeout=30).content == data
    part = requests.get(url, headers={"Range": "bytes=1000-1999"}, timeout=30)
    assert part.status_code == 206 and part.content == data[1000:2000]
    assert part.headers["Content-Range"] == f"bytes 1000-1999/{len(data)}"


def test_tuspy_uploads(stack, tmp_path):
    path = tmp_path / "by-tuspy.bin"
    path.write_bytes(os.urandom(3_000_000))
    uploader = tus.TusClient(f"{stack.http}/files/").uploader(str(path), chunk_size=400_000, metadata={"filename": path.name})
    uploader.upload()
    assert requests.get(uploader.url, timeout=30).content == path.read_bytes()


def test_upload_is_passed_on_as_it_arrives(stack):
    """The sender vanishes in the middle of a body: what had come by then is on the disk, so nginx did not keep it back."""
    path = urlsplit(urljoin(f"{stack.http}/files/", create_upload(stack, 3_000_000))).path
    with socket.create_connection(("127.0.0.1", stack.port)) as sock:
        sock.sendall((f"PATCH {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\n"
                      "Content-Type: application/offset+octet-stream\r\nContent-Length: 3000000\r\n\r\n").encode())
        sock.sendall(bytes(1_500_000))
    until(lambda: offset_of(f"{stack.http}{path}") > 0, 20, "the part that arrived is kept")


def test_metadata_of_any_size_that_is_taken_passes(stack):
    """8 KB there in one line, and back in one."""
    name = "n" * 6000
    path = create_upload(stack, 10, name)
    answer = requests.head(urljoin(f"{stack.http}/files/", path), headers=TUS, timeout=30)
    assert answer.status_code == 200 and answer.headers["Upload-Metadata"] == metadata(filename=name)


def knock(host, port):
    """A WebSocket that never answers anything: its socket and the first line of what it was told."""
    s = socket.create_connection((host, port), timeout=30)
    s.sendall((f"GET /ws?room=knock HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\n"
               "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
               "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n").encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = s.recv(1)  # not one of what follows the head
        assert byte, head
        head += byte
    return s, head.split(b"\r\n")[0].decode()


def test_who_comes_while_a_gateway_shuts_down_gets_another(stack):
    with contextlib.ExitStack() as open_ones:
        def knock_once(host="127.0.0.1", port=stack.port):
            sock, said = knock(host, port)
            open_ones.enter_context(sock)
            assert said.startswith("HTTP/1.1 101 "), said
            return sock

        leaver = stack.containers("gateway")[1]
        silent = knock_once(leaver["NetworkSettings"]["Networks"][f"{os.environ['COMPOSE_PROJECT_NAME']}_web"]["IPAddress"], 8000)
        os.kill(leaver["State"]["Pid"], signal.SIGTERM)
        # This client does not answer its goodbye, so it waits; in this time the engine's DNS still names it.
        assert silent.recv(4) == b"\x88\x0f\x03\xe9", "close, 1001"
        for _ in range(20):
            knock_once()
        assert stack.inspect(leaver)["State"]["Pid"] == leaver["State"]["Pid"], "it was there all the time"
    until(lambda: stack.inspect(leaver)["RestartCount"] > leaver["RestartCount"] and stack.is_healthy(leaver), 40,
          "it is there again")


def test_nginx_holds_more_clients_than_a_container_has_descriptors_at_first(stack):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    with contextlib.ExitStack() as open_ones:
        for _ in range(1300):  # two descriptors each, in two workers
            sock, said = knock("127.0.0.1", stack.port)
            open_ones.enter_context(sock)
            assert said.startswith("HTTP/1.1 101 "), said
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_links_are_right_behind_any_name_and_claims_are_not_believed(stack):
    """A path without a host is right behind every name; a claimed name cannot get in."""
    for headers in ({"Host": "rooms.example:9443"}, {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil.example"}):
        assert re.fullmatch(r"/files/[\w-]+", create_upload(stack, 10, **headers))


def logged_address(stack, forwarded_for):
    """The client's address in nginx's line for a request that came with this X-Forwarded-For."""
    mark = os.urandom(8).hex()
    requests.get(f"{stack.http}/api/v1/rooms?{mark}", headers={"X-Forwarded-For": forwarded_for}, timeout=10)
    container, = stack.containers("nginx")
    line = until(lambda: next((x for x in stack.logs(container).splitlines() if mark in x), None), 10, "the line in the log")
    return line.split()[0]


def test_client_address_is_in_the_log_and_cannot_be_claimed(stack):
    address = logged_address(stack, "203.0.113.9")
    assert re.fullmatch(r"\d+\.\d+\.\d+\.\d+", address) and address != "203.0.113.9"


def test_behind_two_proxies_the_client_is_who_the_outer_one_saw(stack):
    """TRUSTED_PROXIES names both: the inner one is this machine as nginx sees it, the outer one is in the header alone."""
    inner, outer, client = logged_address(stack, "203.0.113.9"), "203.0.113.9", "198.51.100.7"
    assert inner != outer, "nobody is trusted yet"
    # What docs/operations.md says of a proxy on this machine.
    assert inner == stack.docker("network", "inspect", f"{os.environ['COMPOSE_PROJECT_NAME']}_web",
                                 "--format", "{{(index .IPAM.Config 0).Gateway}}").strip()
    try:
        stack.env["TRUSTED_PROXIES"] = f"{inner} {outer}/32"
        stack.compose("up", "-d", "--no-build", "--no-deps", "nginx")
        until(stack.answers, 60, "an answer through the new nginx")
        assert logged_address(stack, f"{client}, {outer}") == client
        # What the client claims itself stands in front of what the proxies say.
        assert logged_address(stack, f"192.0.2.66, {client}, {outer}") == client
    finally:
        stack.env.pop("TRUSTED_PROXIES", None)
        stack.compose("up", "-d", "--no-build", "--no-deps", "nginx")
        until(stack.answers, 60, "an answer through nginx as it was")


def test_metrics_are_not_for_the_public(stack):
    assert requests.get(f"{stack.http}/metrics", timeout=10).status_code == 404


def test_page_in_chromium(stack):
    ran = subprocess.run(["node", ROOT / "tests/compose/page.mjs", stack.http, "said in the page"], capture_output=True,
                         text=True, timeout=120)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    seen = json.loads(ran.stdout.strip().splitlines()[-1])
    assert seen["frames"] >= 25 and not seen["errors"], seen
    assert "said in the page" in texts_of_history(stack, "demo")


# ---- refusals ----

@pytest.mark.parametrize("service,volume", [("hub", "log"), ("filestore", "files")])
def test_second_owner_of_a_folder_is_refused_with_a_sentence(stack, service, volume):
    project = os.environ["COMPOSE_PROJECT_NAME"]
    ran = subprocess.run(["docker", "run", "--pull", "never", "--rm", "--network", f"{project}_bus", "--read-only",
                          "-v", f"{project}_{volume}:/data", os.environ["WATCHROOM_IMAGE"], "serve", service],
                         capture_output=True, text=True, timeout=30)
    assert ran.returncode != 0
    said = ran.stdout + ran.stderr
    assert "/data" in said and "a shared store" in said, said


def test_configuration_that_the_user_cannot_read_is_named(stack, tmp_path):
    mine = tmp_path / "my.yml"
    mine.write_text("rooms: {}\n")
    mine.chmod(0o600)
    ran = subprocess.run(["docker", "run", "--pull", "never", "--rm", "--read-only", "-v", f"{mine}:/etc/watchroom.yml:ro",
                          "-e", "WATCHROOM_CONFIG=/etc/watchroom.yml", os.environ["WATCHROOM_IMAGE"], "serve", "hub"],
                         capture_output=True, text=True, timeout=30)
    assert ran.returncode != 0
    assert "/etc/watchroom.yml: cannot be read (Permission denied)" in ran.stdout + ran.stderr


def begin_patch(url, offset, part, length):
    """A PATCH that has sent only a part of its body: the open socket."""
    where = urlsplit(url)
    s = socket.create_connection((where.hostname, where.port), timeout=30)
    head = [f"PATCH {where.path} HTTP/1.1", f"Host: {where.netloc}", "Tus-Resumable: 1.0.0", f"Upload-Offset: {offset}",
            "Content-Type: application/offset+octet-stream", f"Content-Length: {length - offset}", "", ""]
    s.sendall("\r\n".join(head).encode() + part)
    return s


# ---- grow, shrink, crash, end, while a hundred people talk ----

def test_grow_and_shrink_while_people_talk(stack):
    stack.up(gateway=1)
    until(lambda: len(stack.containers("gateway")) == 1, 30, "one gateway")
    with Crowd(stack.centrifuge, "scale", 100) as crowd:
        crowd.await_talk()
        stack.compose("up", "-d", "--no-build", "--no-recreate", "--scale", "gateway=3", timeout=120)
        until(lambda: len(stack.containers("gateway")) == 3, 30, "three gateways")
        new = stack.containers("gateway")[1:]
        until(lambda: all(stack.is_healthy(c) for c in new), 40, "the new gateways are healthy")
        healthy = time.monotonic()
        with contextlib.ExitStack() as knocks:
            while not all(stack.connections(c, {8000}) for c in new):
                assert time.monotonic() - healthy <= 5, f"new connections do not reach them: {stack.gateway_clients()}"
                knocks.enter_context(text_client(stack, "knock"))
        before = crowd.reconnects()
        assert max(before) == 0, "growing cost somebody a connection"
        # The crowd so far is on the first. New people come until each of the others has some: every worker of nginx looks up
        # the gateways for itself, and one may not have seen the new ones yet.
        with contextlib.ExitStack() as coming:
            groups = [crowd]
            while len(groups) < 3 or not all(stack.connections(c, {8000}) for c in new):
                assert len(groups) < 10, f"nobody gets to a new gateway: {stack.gateway_clients()}"
                groups.append(coming.enter_context(Crowd(stack.centrifuge, "scale", 10)))
                groups[-1].await_talk(5)
            stack.compose("up", "-d", "--no-build", "--no-recreate", "--scale", "gateway=2", timeout=120)
            until(lambda: len(stack.containers("gateway")) == 2, 40, "two gateways")
            for people in groups:
                people.await_connected()
                people.await_talk()
                assert max(people.reconnects()) <= 1, people.reconnects()
            assert sum(sum(people.reconnects()) for people in groups) > 0, "the gateway that went had nobody"
            for people in reversed(groups):
                acknowledged, lost, duplicated = people.settle()
                assert acknowledged and not lost and not duplicated, (acknowledged, lost, duplicated)


def test_kill_9_of_each_container_while_people_talk(stack):
    stack.up(gateway=2)
    data = os.urandom(2_000_000)
    url = urljoin(f"{stack.http}/files/", create_upload(stack, len(data), "through-a-crash.bin"))
    assert patch(url, 0, data[:700_000]).status_code == 204
    with Crowd(stack.centrifuge, "crash", 100) as crowd:
        crowd.await_talk()
        for service in SERVICES:
            for container in stack.containers(service):
                stack.kill(container)
                crowd.await_connected()
                crowd.await_talk()
        acknowledged, lost, duplicated = crowd.settle()
        assert acknowledged and not lost and not duplicated, (acknowledged, lost, duplicated)
    assert offset_of(url) == 700_000
    assert patch(url, 700_000, data[700_000:]).status_code == 204
    assert hashlib.sha256(requests.get(url, timeout=30).content).digest() == hashlib.sha256(data).digest()
    assert ffprobe(f"{stack.http}/live/demo.mp4") == ["aac", "h264"]


def test_restart_of_nginx_while_people_talk(stack):
    with Crowd(stack.centrifuge, "restart", 100) as crowd:
        crowd.await_talk()
        stack.compose("restart", "nginx")
        crowd.await_connected()
        crowd.await_talk()
        acknowledged, lost, duplicated = crowd.settle()
        assert acknowledged and not lost and not duplicated, (acknowledged, lost, duplicated)


def test_stop_is_clean_and_nothing_is_forgotten(stack):
    with text_client(stack, "goodbye") as person:
        person.ws.send("before the end")
        person.hear("before the end")
        data = os.urandom(600_000)
        upload = urljoin(f"{stack.http}/files/", create_upload(stack, len(data), "under-way.bin"))
        assert patch(upload, 0, data[:100_000]).status_code == 204
        under_way = begin_patch(upload, 100_000, data[100_000:400_000], len(data))
        stack.compose("stop")
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                person.ws.recv(timeout=20)
    assert closed.value.rcvd is not None and closed.value.rcvd.code == 1001, closed.value
    for service in SERVICES:
        for container in stack.containers(service, everything=True):
            assert container["State"]["Status"] == "exited" and container["State"]["ExitCode"] == 0, \
                (container["Name"], container["State"])
    stack.compose("start")
    until(stack.answers, 60, "an answer after the start")
    assert texts_of_history(stack, "goodbye") == ["before the end"]
    under_way.close()
    kept = offset_of(upload)
    assert 100_000 <= kept <= 400_000, f"{kept}: what was acknowledged is there, and nothing that was not sent"
    assert patch(upload, kept, data[kept:]).status_code == 204
    assert requests.get(upload, timeout=30).content == data


# ---- docs/operations.md ----

def as_the_docs_say(stack, what, folder):
    """Runs a block of the document as it stands there."""
    text = (ROOT / "docs/operations.md").read_text()
    script = re.search(rf"```sh {what}\n(.*?)```", text, re.S).group(1).replace(
        "docker compose -f deploy/compose.yml", f"'{os.environ['COMPOSE']}' -f '{ROOT}/deploy/compose.yml'")
    ran = subprocess.run(["bash", "-euxc", script], cwd=folder, env=stack.env, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_backup_while_running_comes_back_here_and_on_a_new_machine(stack, tmp_path):
    def say(text):
        with text_client(stack, "kept") as person:
            person.ws.send(text)
            person.hear(text)

    say("before the backup")
    file = urljoin(f"{stack.http}/files/", create_upload(stack, 5))
    sent = requests.patch(file, data=b"bytes", timeout=30, headers={
        "Tus-Resumable": "1.0.0", "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"})
    assert sent.status_code == 204, sent.text
    # A log that takes its time to copy, and a hub that has something to write all the time.
    with text_client(stack, "long") as person:
        for i in range(20):
            lines = [f"{i}.{k}".ljust(50_000, ".") for k in range(10)]
            for line in lines:
                person.ws.send(line)
            person.hear(*lines)
    with Crowd(stack.centrifuge, "busy", 4, every_s=0) as crowd:
        crowd.await_talk()
        as_the_docs_say(stack, "backup", tmp_path)
        crowd.await_talk()
    say("after the backup")
    as_the_docs_say(stack, "verify", tmp_path)

    # Here, with somebody who stays and has heard more than the backup holds.
    with text_client(stack, "kept") as stays:
        forgotten = [f"heard and forgotten {i}" for i in range(30)]
        for line in forgotten:
            stays.ws.send(line)
        stays.hear(*forgotten)
        as_the_docs_say(stack, "restore", tmp_path)
        until(lambda: texts_of_history(stack, "kept") == ["before the backup"], 60, "the log as it was")
        # Another gateway may take part a moment before ours hears the new hub's events. All that is said here has offsets
        # that the old log had given already: whoever holds on to them hears none of it.
        said = []

        def heard():
            said.append(f"once more {len(said)}")
            say(said[-1])
            return stays.hears(said[-1], 2)

        until(heard, 30, "somebody who stayed hears what is new")
        assert len(said) < len(forgotten)

    stack.compose("down", "-v")
    as_the_docs_say(stack, "restore", tmp_path)
    stack.up(gateway=1)
    until(stack.answers, 60, "an answer after the restore")
    assert texts_of_history(stack, "kept") == ["before the backup"]
    assert requests.get(file, timeout=30).content == b"bytes"
    say("after the restore")
    assert texts_of_history(stack, "kept") == ["before the backup", "after the restore"]
