# SPDX-License-Identifier: MIT
"""examples/python/bot.py as it stands there, against services on TCP."""
import os
import re
import subprocess
import sys

from harness import ROOT, Room
from test_c_centrifuge import Json


def test_the_bot_greets_and_tells_the_time():
    with Room("split") as r:
        bot = subprocess.Popen([sys.executable, ROOT / "examples/python/bot.py", "bots"], stdout=subprocess.PIPE, text=True,
                               env=os.environ | r.env)
        try:
            assert bot.stdout.readline() == "the bot is in bots\n"
            with Json(r.gateways[0], connect_first=False) as ann:
                ann.command({"id": 1, "connect": {"data": {"name": "Ann"}}},
                            {"id": 2, "subscribe": {"channel": "bots", "join_leave": True}})
                ann.reply(2)

                def said():
                    while True:
                        while not ann.pushes:
                            ann.pump()
                        push = ann.pushes.pop(0)
                        data = push.get("pub", {}).get("data")
                        if isinstance(data, dict) and data.get("name") == "Bot":
                            return data["text"]

                assert said() == "Welcome, Ann!"
                ann.command({"id": 3, "publish": {"channel": "bots", "data": {"text": "!time", "name": "Ann"}}})
                assert re.fullmatch(r"It is \d\d:\d\d:\d\d\.", said())
                ann.command({"id": 4, "publish": {"channel": "bots", "data": [1, "not a chat line"]}},
                            {"id": 5, "publish": {"channel": "bots", "data": {"text": "!time"}}})
                assert re.fullmatch(r"It is \d\d:\d\d:\d\d\.", said())
            assert bot.poll() is None
        finally:
            bot.kill()
            bot.wait()
            bot.stdout.close()
