# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# A Docker engine for the tests, to be sourced: the one that runs, or one of our own with its own socket
# and its own data folder, started here and ended by engine_stop, which puts back what it did to the
# machine's network. Says why when a machine cannot run one.
#
#   engine_start    sets DOCKER_HOST
#   engine_base     prints the name of a Debian 13 image made by debootstrap; nothing is pulled
#   engine_images_rm BASE   removes BASE and all that was built on it
#   engine_stop

engine_dir=
engine_pid=

engine_start() {
    # The classic builder: it needs no plugin that Debian 12 has not got.
    export DOCKER_BUILDKIT=0 COMPOSE_DOCKER_CLI_BUILD=0
    if docker info >/dev/null 2>&1; then
        DOCKER_HOST=${DOCKER_HOST:-$(docker context inspect --format '{{.Endpoints.docker.Host}}')}
        [ "${DOCKER_HOST#unix://}" != "$DOCKER_HOST" ] ||
            root_die "the Docker engine at $DOCKER_HOST is not on this machine's own socket: the tests look into its containers"
        # /var/run is a link, which leads elsewhere in a root of our own.
        DOCKER_HOST=unix://$(realpath "${DOCKER_HOST#unix://}")
        export DOCKER_HOST
        echo "using the Docker engine at $DOCKER_HOST"
        return
    fi
    [ "$(id -u)" -eq 0 ] || root_die "no Docker engine answers, and only root can start one: run this with sudo"
    command -v dockerd >/dev/null ||
        root_die "no Docker engine answers and dockerd is not installed: scripts/deps tests installs it"
    engine_dir=$(mktemp -d /tmp/watchroom-engine.XXXXXX)
    iptables-save >"$engine_dir/iptables" 2>"$engine_dir/iptables.log" ||
        root_die "iptables does not work here, so no Docker engine can run: $(cat "$engine_dir/iptables.log")"
    cat /proc/sys/net/ipv4/ip_forward >"$engine_dir/ip_forward"
    ip -o link show type bridge | awk -F': ' '{ print $2 }' | sort >"$engine_dir/bridges"
    # Containers begin with 1024 descriptors, as newer engines start them.
    dockerd --host "unix://$engine_dir/docker.sock" --data-root "$root_cache/engine" --exec-root "$engine_dir/exec" \
        --pidfile "$engine_dir/dockerd.pid" --oom-score-adjust 0 \
        --default-ulimit "nofile=1024:$(ulimit -Hn)" >"$engine_dir/log" 2>&1 </dev/null &
    engine_pid=$!
    export DOCKER_HOST=unix://$engine_dir/docker.sock
    local tries=0
    until docker info >/dev/null 2>&1; do
        if ! kill -0 "$engine_pid" 2>/dev/null || [ $((tries += 1)) -gt 150 ]; then
            grep -E 'level=(error|fatal)|failed' "$engine_dir/log" | tail -n 5 >&2
            root_die "this machine cannot run a Docker engine; dockerd said the above"
        fi
        sleep 0.2
    done
    echo "started a Docker engine of our own, $(docker version --format '{{.Server.Version}}')"
}

engine_base() {
    local tar name options=()
    tar=$(root_base trixie)
    name=watchroom-test-base:$(stat -c %Y "$tar")
    if ! docker image inspect "$name" >/dev/null 2>&1; then
        if tar -tf "$tar" ./etc/ssl/certs/machine.crt >/dev/null 2>&1; then
            options=(--change "ENV NODE_EXTRA_CA_CERTS=/etc/ssl/certs/machine.crt")
        fi
        docker import "${options[@]}" "$tar" "$name" >/dev/null
    fi
    echo "$name"
}

engine_images_rm() {
    local layer
    layer=$(docker image inspect --format '{{index .RootFS.Layers 0}}' "$1")
    docker image ls -q --no-trunc | sort -u |
        xargs -r docker image inspect --format '{{.Id}} {{range .RootFS.Layers}}{{.}} {{end}}' |
        awk -v layer="$layer" '$2 == layer && $3 != "" { print $1 }' | xargs -r docker image rm -f >/dev/null
    docker image rm "$1" >/dev/null
}

engine_stop() {
    [ -n "$engine_pid" ] || return 0
    kill -TERM "$engine_pid" 2>/dev/null || true
    wait "$engine_pid" 2>/dev/null || true
    engine_pid=
    local bridge
    for bridge in $(ip -o link show type bridge | awk -F': ' '{ print $2 }'); do
        grep -qxF "$bridge" "$engine_dir/bridges" || ip link delete "$bridge" || true
    done
    # Restoring leaves alone the tables that did not exist before, so those are emptied.
    local table
    for table in filter nat; do
        grep -qx "\*$table" "$engine_dir/iptables" && continue
        iptables -t "$table" -F
        iptables -t "$table" -X
        [ "$table" != filter ] || iptables -P FORWARD ACCEPT
    done
    iptables-restore <"$engine_dir/iptables" || true
    cat "$engine_dir/ip_forward" >/proc/sys/net/ipv4/ip_forward || true
    umount -q "$engine_dir"/exec/netns/* 2>/dev/null || true
    rm -rf "$engine_dir"
}
