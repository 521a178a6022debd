#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Run by tests/packages/try in a clean root in which the packages were just installed.
set -euo pipefail

say() { echo "$*"; }
wrong() {
    echo "tests/packages: $*" >&2
    exit 1
}

unit=/lib/systemd/system/watchroom.service
yml=/etc/watchroom/watchroom.yml

say "installed"
[ "$(stat -c '%U:%G %a' $yml)" = "root:watchroom 640" ] || wrong "$yml is $(stat -c '%U:%G %a' $yml)"
getent passwd watchroom | grep -q nologin || wrong "there is no user watchroom, or it can log in"
[ -z "$(find /etc/systemd -name 'watchroom*' 2>/dev/null)" ] || wrong "the package enabled its unit by itself"
! pgrep -x watchroom >/dev/null 2>&1 || wrong "the package started the server by itself"
[ -s /usr/share/watchroom/web/index.html ] || wrong "the page is not in the package"
watchroom version
watchroom plugins >/try/plugins.log
grep -q ' 0 refused ' /try/plugins.log || wrong "a plugin was refused: $(cat /try/plugins.log)"

say "the unit"
systemd-analyze verify --man=no watchroom.service
# 0 is locked up, 100 is bare.
systemd-analyze security --offline=true --threshold=25 $unit >/try/security.log ||
    wrong "the unit is more open than it was: $(cat /try/security.log)"
tail -n 1 /try/security.log

say "runs as the unit runs it"
mapfile -t environment < <(sed -n 's/^Environment=//p' $unit)
[ ${#environment[@]} -gt 0 ] || wrong "the unit says nothing of its environment"
folder=$(sed -n 's/^StateDirectory=/\/var\/lib\//p' $unit)
install -d -o watchroom -g watchroom -m 0750 "$folder"
cd "$folder"
setpriv --reuid watchroom --regid watchroom --clear-groups env "${environment[@]}" \
    watchroom check || wrong "the configuration that comes with it is refused"
setpriv --reuid watchroom --regid watchroom --clear-groups env "${environment[@]}" \
    $(sed -n 's/^ExecStart=//p' $unit) >/try/serve.log 2>&1 &
server=$!
get() { curl -fs --retry 100 --retry-delay 0 --retry-max-time 30 --retry-connrefused "$@"; }
get http://127.0.0.1:8001/healthz >/dev/null || wrong "it is not healthy: $(cat /try/serve.log)"
get http://127.0.0.1:8000/ | grep -qi '<html' || wrong "it serves no page"
# What the page needs is there too.
script=$(get http://127.0.0.1:8000/room/demo | grep -oE '/assets/[^"]+\.js' | head -n 1)
[ -n "$script" ] || wrong "the page of a room names no script"
get -o /dev/null "http://127.0.0.1:8000$script"
get http://127.0.0.1:8000/api/v1/rooms | grep -q '"demo"' || wrong "there is no room demo"
# It has no end: head takes what it wants, and curl is told so by a closed pipe.
get --max-time 20 http://127.0.0.1:8000/live/demo.mp4 2>/dev/null | head -c 20000 >/try/live.mp4 || true
grep -qa ftyp /try/live.mp4 || wrong "there is no picture"
[ -s "$folder/hub/room.db" ] || wrong "the log is not in $folder"
kill -TERM $server
wait $server || wrong "it did not end well: $(tail -n 20 /try/serve.log)"

say "installed again, a changed configuration stays"
echo '# mine' >>$yml
chmod 600 $yml
dpkg -i --force-confdef /try/watchroom_*.deb >/dev/null
grep -q '^# mine' $yml || wrong "an upgrade took the administrator's configuration away"
[ "$(stat -c %a $yml)" = 600 ] || wrong "an upgrade changed who may read $yml"

say "purged, what people wrote stays"
dpkg --purge watchroom-dev watchroom >/dev/null 2>&1 || wrong "it cannot be purged"
[ ! -e $yml ] || wrong "purge left $yml"
[ ! -e /usr/bin/watchroom ] && [ ! -e /usr/share/watchroom/web ] || wrong "purge left parts of it"
[ -s "$folder/hub/room.db" ] || wrong "purge took the rooms away"
