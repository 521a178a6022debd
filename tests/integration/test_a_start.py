# SPDX-License-Identifier: MIT
"""The executable itself: starting, ending, and a sentence for whatever stands in the way."""
import concurrent.futures
import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import time

import pytest
import requests

import wsraw
from harness import BINARY, SLOW, Room, free_port_block, run, until

SPLIT_NAMES = ("hub", "filestore", "ingest", "gateway")


def test_help_and_version_answer():
    assert "watchroom serve" in run("help").stdout
    r = run("version")
    assert r.returncode == 0 and r.stdout.startswith("watchroom 0.")


def test_what_is_not_there_is_said():
    r = run("dance")
    assert r.returncode == 2 and 'no command "dance"' in r.stderr
    r = run("serve", "disco")
    assert r.returncode == 2 and "gateway, hub, ingest, filestore" in r.stderr
    r = run("serve", "--lisen", "x")
    assert r.returncode == 2 and "--lisen" in r.stderr
    r = run("serve", "--listen")
    assert r.returncode == 2 and "needs a value" in r.stderr
    r = run("serve", "hub", "--split")
    assert r.returncode == 2 and "--split" in r.stderr


def test_plugins_are_listed_and_all_fit():
    r = run("plugins")
    assert r.returncode == 0, r.stdout
    for kind, name in (("service", "gateway"), ("service", "hub"), ("service", "ingest"), ("service", "filestore"),
                       ("protocol", "text"), ("protocol", "centrifuge-json"), ("store", "sqlite"), ("muxer", "fmp4"),
                       ("muxer", "flv"), ("blob", "disk")):
        assert any(line.split()[:2] == [kind, name] for line in r.stdout.splitlines()), f"{kind} {name} in {r.stdout}"
    assert " 0 refused" in r.stdout


def test_a_file_that_is_no_plugin_is_refused_with_a_sentence(tmp_path):
    (tmp_path / "broken.so").write_bytes(b"\x7fELF not really")
    r = run("plugins", env={"WATCHROOM_PLUGIN_PATH": str(tmp_path)})
    assert r.returncode == 1 and "refused" in r.stdout and "broken.so" in r.stdout


def test_the_default_configuration_and_the_example_are_fine():
    r = run("check")
    assert r.returncode == 0 and "1 stream, 1 room" in r.stdout
    example = pathlib.Path(__file__).parents[2] / "examples/watchroom.yml"
    r = run("check", "--config", example)
    assert r.returncode == 0, r.stderr


@pytest.mark.parametrize("yaml, sentence", [
    ("gateway:\n  listne: 1\n", ":2: gateway.listne: no such key; did you mean listen?"),
    ("gateway:\n  http_threads: many\n", ':2: gateway.http_threads: "many" is not a number'),
    ("streams: [a\n", ":2: not valid YAML: did not find expected ',' or ']'"),
    ("rooms: { a: { stream: b } }\n", ':1: rooms.a.stream: no stream is named "b"'),
])
@pytest.mark.parametrize("command", ["check", "serve"])
def test_broken_yaml_names_file_line_and_key(tmp_path, command, yaml, sentence):
    file = tmp_path / "w.yml"
    file.write_text(yaml)
    r = run(command, "--config", file)
    assert r.returncode == 2
    assert f"watchroom: {file}:" in r.stderr and sentence in r.stderr


@pytest.mark.parametrize("store, sentence", [
    ("memory=most:5000", None),
    ("memory=most:many", 'hub.store: "most:many" is not most:N'),
    ("sqlite=fast", 'hub.store: sqlite takes no arguments, but was given "fast"'),
])
def test_a_stores_arguments_are_read_by_the_store(tmp_path, store, sentence):
    file = tmp_path / "w.yml"
    file.write_text(f"hub: {{ store: '{store}' }}\n")
    r = run("check", "--config", file)
    assert (r.returncode == 0) is (sentence is None), r.stderr
    assert sentence is None or sentence in r.stderr


def test_configuration_that_is_not_there():
    r = run("serve", "--config", "/nowhere/w.yml")
    assert r.returncode == 2 and "/nowhere/w.yml" in r.stderr and "--config" in r.stderr


def start_plain(tmp_path, *flags, base=None, env=None):
    """As a person starts it: no ready pipe, so that the greeting is printed."""
    base = base or free_port_block(10)
    clean = {k: v for k, v in os.environ.items() if not k.startswith("WATCHROOM_")} | (env or {})
    p = subprocess.Popen([BINARY, "serve", "--data", tmp_path / "data", "--health", f"127.0.0.1:{base + 1}", *flags],
                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=open(tmp_path / "log", "ab"), env=clean,
                         text=True, start_new_session=True)
    return p, base


def end(p):
    p.send_signal(signal.SIGTERM)
    p.communicate(timeout=15 * SLOW)
    return p.returncode


def test_the_greeting_comes_when_it_accepts(tmp_path):
    base = free_port_block(10)
    p, _ = start_plain(tmp_path, "--listen", f"127.0.0.1:{base}", base=base)
    try:
        first = p.stdout.readline()
        assert first == f"Watchroom is open: http://127.0.0.1:{base}/\n"
        assert requests.get(f"http://127.0.0.1:{base}/api/v1/rooms", timeout=10 * SLOW).status_code == 200
        assert p.stdout.readline() == f"Messages and files are in {tmp_path / 'data'}\n"
        assert "no tokens" in p.stdout.readline()
    finally:
        assert end(p) == 0


def test_a_new_data_folder_beside_one_with_messages_is_told(tmp_path):
    (tmp_path / "data/hub").mkdir(parents=True)
    (tmp_path / "data/hub/room.db").touch()
    (tmp_path / "below").mkdir()
    clean = {k: v for k, v in os.environ.items() if not k.startswith("WATCHROOM_")}
    base = free_port_block(10)
    p = subprocess.Popen([BINARY, "serve", "hub", "--listen", f"127.0.0.1:{base}"], cwd=tmp_path / "below", env=clean, text=True,
                         stderr=subprocess.PIPE, start_new_session=True)
    try:
        assert "./data is new and empty; there is a folder with messages at ../data: start with --data ../data" in p.stderr.readline()
        assert any("hub.start" in line for line in p.stderr)  # signals are taken in order from then on
    finally:
        assert end(p) == 0


def test_the_log_as_json_is_an_object_a_line_with_the_service(tmp_path):
    base = free_port_block(10)
    p, _ = start_plain(tmp_path, "hub", "--listen", f"127.0.0.1:{base}", "--health", "off", base=base, env={"WATCHROOM_LOG_FORMAT": "json"})
    log = tmp_path / "log"
    try:
        until(lambda: "hub.start" in log.read_text())
        assert pathlib.Path(f"/proc/{p.pid}/comm").read_text() == "wr-hub\n"
    finally:
        assert end(p) == 0
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert {"hub"} == {line["service"] for line in lines} and "hub.start" in [line["event"] for line in lines]


def test_listening_elsewhere_warns_aloud(tmp_path):
    base = free_port_block(10)
    p, _ = start_plain(tmp_path, "--listen", f"0.0.0.0:{base}", base=base)
    try:
        text = "".join(p.stdout.readline() for _ in range(4))
        assert f"http://127.0.0.1:{base}/" in text and "WARNING" in text and "EVERYBODY" in text
    finally:
        assert end(p) == 0


@pytest.mark.parametrize("flag, other", [("--listen", "--health"), ("--health", "--listen")])
def test_port_in_use_is_said_with_the_flag_that_changes_it(shape, tmp_path, flag, other):
    base = free_port_block(4)
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", base))
        taken.listen()
        service = [] if shape == "all" else ["gateway"]
        r = run("serve", *service, flag, f"127.0.0.1:{base}", other, f"127.0.0.1:{base + 1}", "--data",
                tmp_path / "data")
        assert r.returncode == 1 and f"another address with {flag}\n" in r.stderr, r.stderr
        last = [line for line in r.stderr.splitlines() if line.startswith("watchroom:")]
        assert len(last) == 1 and str(base) in last[0] and "gateway cannot start" in last[0], r.stderr
        assert "use" in last[0]


@pytest.mark.parametrize("service", ["hub", "ingest", "filestore"])
def test_bus_port_in_use_is_said(service, tmp_path):
    base = free_port_block(4)
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", base))
        taken.listen()
        r = run("serve", service, "--listen", f"127.0.0.1:{base}", "--data", tmp_path / "data")
        assert r.returncode == 1 and str(base) in r.stderr and f"{service} cannot start" in r.stderr, r.stderr


def test_data_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    r = run("serve", "--data", tmp_path / "file" / "data")
    assert r.returncode == 1 and "data folder" in r.stderr and "--data" in r.stderr


def test_data_folder_that_cannot_be_written(tmp_path):
    """Without what lets root write anywhere."""
    folder = tmp_path / "data"
    folder.mkdir(mode=0o555)
    r = run("serve", "--data", folder, prefix=["setpriv", "--bounding-set=-dac_override"] if os.getuid() == 0 else [])
    assert r.returncode == 1 and "cannot be written" in r.stderr and "Permission denied" in r.stderr, r.stderr


def test_data_folder_of_another_instance_is_refused(room, shape):
    """The data of the running whole: nobody else gets it, whatever the ports."""
    base = free_port_block(4)
    services = ["all"] if shape == "all" else ["hub", "filestore"]
    for s in services:
        args = ["serve"] if s == "all" else ["serve", s]
        r = run(*args, "--data", room.data, "--listen", f"127.0.0.1:{base}", "--health", "off")
        assert r.returncode == 1, r.stderr
        said = [line for line in r.stderr.splitlines() if line.startswith("watchroom:")]
        assert len(said) == 1 and "cannot start" in said[0] and str(room.data) in said[0], r.stderr


def test_health_asks_each_service_through_its_door(room, shape):
    env = dict(room.env)
    for g in room.gateways:
        r = run("health", "gateway", "--health", f"127.0.0.1:{g.health}", env=env)
        assert r.returncode == 0 and "well" in r.stdout, r.stderr
    for service in room.bus:
        r = run("health", service, env=env)
        assert r.returncode == 0 and f"{service} is well" in r.stdout, r.stderr
    closed = free_port_block(1)
    r = run("health", "--health", f"127.0.0.1:{closed}", env=env)
    assert r.returncode == 1 and str(closed) in r.stderr
    r = run("health", "hub", env=env | {"WATCHROOM_BUS_HUB_LISTEN": f"tcp://127.0.0.1:{closed}"})
    assert r.returncode == 1 and str(closed) in r.stderr


def test_sigterm_ends_it_cleanly_with_clients_on(fresh):
    r = fresh()
    with r.gateway.text("bye") as a:
        a.send("hello")
        assert a.line() == "hello"
        began = time.monotonic()
        r.stop()
        assert time.monotonic() - began < 10 * SLOW


def upload(gateway, data):
    """An uploaded file's path."""
    made = requests.post(f"{gateway.http}/files/", timeout=30 * SLOW, headers={
        "Tus-Resumable": "1.0.0", "Upload-Length": str(len(data)), "Upload-Metadata": "filename YQ=="})
    assert made.status_code == 201, made.text
    sent = requests.patch(gateway.http + made.headers["Location"], data=data, timeout=30 * SLOW, headers={
        "Tus-Resumable": "1.0.0", "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"})
    assert sent.status_code == 204, sent.text
    return made.headers["Location"]


def with_file_and_stream(r):
    """The path of a file that is no small one; the gateway knows the stream too."""
    until(lambda: r.gateway.api("streams"), what="the list of streams")
    return upload(r.gateway, bytes(1_000_000))


def assert_no_place(gateway, file, sentence):
    """Whoever wants a socket of the plane is told so by HTTP: a load balancer then asks another gateway."""
    for path in ("/ws", "/connection/websocket", "/live/demo.mp4"):
        with gateway.raw() as s:
            s.sendall(wsraw.request(path, gateway.port))
            answer = ""
            while not answer.endswith("}}\n") and (more := s.recv(65536)):
                answer += more.decode()
        assert answer.startswith("HTTP/1.1 503 ") and "\r\nRetry-After: " in answer and sentence in answer, (path, answer)
    for path in ("/live/demo.mp4", "/live/demo.flv", file):
        answer = gateway.get(path)
        assert answer.status_code == 503, (path, answer.status_code)
        assert answer.headers["Retry-After"], (path, answer.headers)


def test_a_gateway_that_is_full_says_so(fresh):
    places = 6
    r = fresh(env={"WATCHROOM_GATEWAY_MAX_CONNECTIONS": str(places)})
    file = with_file_and_stream(r)

    def taken(n):  # requests of before take their places with them a moment after their answers
        until(lambda: r.gateway.metrics()["watchroom_plane_connections"] == n, what=f"{n} places are taken")

    taken(0)
    with r.gateway.text("full") as a:
        with contextlib.ExitStack() as others:
            for _ in range(places - 1):
                others.enter_context(r.gateway.text("full"))
            assert_no_place(r.gateway, file, "as many connections as it may")
        taken(1)
        assert len(r.gateway.get(file).content) == 1_000_000
        a.send("still here")
        assert a.line() == "still here"


def test_a_gateway_that_shuts_down_says_so(fresh):
    """One client leaves its goodbye unanswered, so the gateway waits for it; others come meanwhile."""
    r = fresh()
    file = with_file_and_stream(r)
    with concurrent.futures.ThreadPoolExecutor(1) as beside, wsraw.RawWebSocket(r.gateway) as stays:
        stopped = beside.submit(r.stop)
        op, payload = stays.recv()
        assert op == wsraw.CLOSE and payload[:2] == (1001).to_bytes(2, "big")
        assert_no_place(r.gateway, file, "shutting down")
        stays.close()
        stopped.result()


def children_of(pid):
    found = {}
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            stat = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            if int(stat[1]) == pid and stat[0] != "Z":
                found[(entry / "cmdline").read_bytes().split(b"\0")[2].decode()] = int(entry.name)
        except (OSError, IndexError):
            continue
    return found


@pytest.fixture
def supervised(tmp_path):
    base = free_port_block(40)
    env = {"WATCHROOM_INGEST_STREAM_PORT": str(base + 20)}
    for i, s in enumerate(("HUB", "INGEST", "FILESTORE")):
        env |= {f"WATCHROOM_BUS_{s}": f"tcp://127.0.0.1:{base + 2 + 2 * i}",
                f"WATCHROOM_BUS_{s}_LISTEN": f"tcp://127.0.0.1:{base + 2 + 2 * i}",
                f"WATCHROOM_BUS_{s}_EVENTS": f"tcp://127.0.0.1:{base + 3 + 2 * i}"}
    p, _ = start_plain(tmp_path, "--split", "--listen", f"127.0.0.1:{base}", base=base, env=env)
    assert p.stdout.readline() == f"Watchroom is open: http://127.0.0.1:{base}/\n", (tmp_path / "log").read_text()
    yield p, base, tmp_path / "log"
    if p.poll() is None:
        end(p)


def test_split_runs_four_processes_and_ends_them_on_one_signal(supervised):
    p, base, log = supervised
    children = children_of(p.pid)
    assert sorted(children) == sorted(SPLIT_NAMES)
    until(lambda: requests.get(f"http://127.0.0.1:{base + 1}/healthz", timeout=5 * SLOW).status_code == 200)
    p.send_signal(signal.SIGINT)
    p.communicate(timeout=30 * SLOW)
    assert p.returncode == 0
    assert not [c for c in children.values() if pathlib.Path(f"/proc/{c}").exists()], log.read_text()


def test_split_starts_a_dead_child_again(supervised):
    p, base, log = supervised
    for service in SPLIT_NAMES:
        before = children_of(p.pid)
        os.kill(before[service], signal.SIGKILL)
        after = until(lambda: (now := children_of(p.pid)) and now.keys() == before.keys() and now[service] != before[service] and now,
                      what=f"{service} coming back")
        assert {n: c for n, c in after.items() if n != service} == {n: c for n, c in before.items() if n != service}
        until(lambda: f"{service} is up again" in log.read_text(), what=f"{service} ready")
    assert "signal 9" in log.read_text()
    until(lambda: requests.get(f"http://127.0.0.1:{base + 1}/healthz", timeout=5 * SLOW).status_code == 200)


def test_split_leaves_no_orphans_when_it_is_killed(supervised):
    p, _, _ = supervised
    children = children_of(p.pid)
    p.kill()
    p.communicate()
    until(lambda: not [c for c in children.values() if pathlib.Path(f"/proc/{c}/exe").exists()], 20, "the children's end")


def test_split_does_not_loop_when_a_port_is_taken(tmp_path):
    base = free_port_block(10)
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", base))
        taken.listen()
        env = {}
        for i, s in enumerate(("HUB", "INGEST", "FILESTORE")):
            env |= {f"WATCHROOM_BUS_{s}": f"tcp://127.0.0.1:{base + 2 + 2 * i}",
                    f"WATCHROOM_BUS_{s}_LISTEN": f"tcp://127.0.0.1:{base + 2 + 2 * i}",
                    f"WATCHROOM_BUS_{s}_EVENTS": f"tcp://127.0.0.1:{base + 3 + 2 * i}"}
        r = run("serve", "--split", "--listen", f"127.0.0.1:{base}", "--health", f"127.0.0.1:{base + 1}", "--data",
                tmp_path / "data", env=env)
        assert r.returncode == 1 and r.stderr.count("gateway cannot start") == 1 and str(base) in r.stderr


def test_data_is_there_after_kill_9_and_a_new_start(shape):
    with Room(shape) as r:
        with r.gateway.text("keep") as a:
            for i in range(50):
                a.send(f"line {i}")
            a.until("line 49")
        for p in r.processes.values():
            p.kill()
        for p in r.processes.values():
            p.start()
        r.wait_healthy()
        rooms = {x["room"]: x for x in r.gateway.api("rooms")}
        assert rooms["keep"]["offset"] == 50
