# SPDX-License-Identifier: MIT
"""The commands of README.md's first five minutes, as they stand there; only the ports are those of the test."""
import os
import re
import subprocess

from harness import NODE, ROOT, SLOW

README = (ROOT / "README.md").read_text()


def here(text, gateway):
    return text.replace("127.0.0.1:8000", f"127.0.0.1:{gateway.port}").replace("127.0.0.1:8001", f"127.0.0.1:{gateway.health}")


def test_the_file_goes_up_and_comes_back_and_the_lists_answer(room, tmp_path):
    commands = re.search(r"(# A file: .*?)```", README, re.S).group(1)
    (tmp_path / "photo.jpg").write_bytes(os.urandom(300_000))
    with room.gateway.text("demo") as ann:
        ran = subprocess.run(["bash", "-euo", "pipefail", "-c", here(commands, room.gateway)], cwd=tmp_path,
                             capture_output=True, text=True, timeout=60 * SLOW)
        assert "photo.jpg" in ann.line(), "the room is told"
    assert ran.returncode == 0 and not ran.stderr, ran.stdout + ran.stderr
    assert (tmp_path / "again.jpg").read_bytes() == (tmp_path / "photo.jpg").read_bytes()
    for word in ('"rooms":[', '"streams":[', '"services":[', "watchroom_http_requests_total"):
        assert word in ran.stdout, word


def test_the_javascript_talks(room):
    program = here(re.search(r"```js\n(.*?)```", README, re.S).group(1), room.gateway)
    # In the folder of the clients, which is where it finds its packages.
    talk = subprocess.Popen(["node", "--input-type=module", "-e", program], cwd=NODE, stdout=subprocess.PIPE, text=True)
    try:
        assert re.fullmatch(r"\d+ Ann hello\n", talk.stdout.readline())
    finally:
        talk.kill()
        talk.wait()
        talk.stdout.close()
