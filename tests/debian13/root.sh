# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# Debian roots for the tests, to be sourced: made by debootstrap, kept outside the tree, entered in
# namespaces of their own. Nothing has to be undone afterwards: the mounts and the processes of a root
# belong to its namespaces, and end with the command that entered it, however that ends.
#
#   root_become COMMAND...     runs a command as root, in place of this; returns when we are root
#   root_base RELEASE          prints a tar file of a minimal RELEASE (bookworm, trixie); makes it once
#   root_unpack TAR DIR        a root in DIR from it
#   root_run DIR COMMAND...    runs a command in it, with the machine's network (for apt)
#   root_run_alone DIR COMMAND...   the same with a network of its own: loopback only, every port free
#
# ROOT_BIND names paths of the machine that are to be seen in the root, at the same place; ROOT_ENV names
# variables that are to be passed into it; ROOT_CWD is the folder to be in.

root_cache=${XDG_CACHE_HOME:-$HOME/.cache}/watchroom

root_die() {
    echo "${0##*/}: $*" >&2
    exit 1
}

# A password is only asked for where somebody can give it: scripts/test, which starts us without a terminal, has asked.
root_become() {
    [ "$(id -u)" -ne 0 ] || return 0
    command -v sudo >/dev/null || root_die "only root can do this: run it as root, or install sudo"
    if [ -t 0 ]; then exec sudo -E "$@"; fi
    sudo -n true 2>/dev/null || root_die "only root can do this, and sudo wants a password: run 'sudo -v' first, or this as root"
    exec sudo -nE "$@"
}

# Where apt finds Debian here, and how it must speak to it, are the machine's matter: taken from it.
root_mirror() {
    local uri
    uri=$(apt-get indextargets --format '$(REPO_URI) $(CODENAME)' \
        'Created-By: Packages' 'Origin: Debian' 'Component: main' 2>/dev/null |
        awk '$2 ~ /^[a-z]+$/ { print $1; exit }')
    echo "${uri:-http://deb.debian.org/debian}"
}

# Certificates that this machine trusts beside the usual ones, if any.
root_certificates() { echo "${NODE_EXTRA_CA_CERTS:-${SSL_CERT_FILE:-}}"; }

root_base() {
    local release=$1 tar dir certificates
    tar=$root_cache/$release-$(dpkg --print-architecture).tar
    if [ -n "$(find "$tar" -mtime -30 2>/dev/null)" ]; then
        echo "$tar"
        return
    fi
    [ "$(id -u)" -eq 0 ] || root_die "a Debian root can only be made by root: run this with sudo"
    command -v debootstrap >/dev/null || root_die "debootstrap is missing: scripts/deps tests installs it"
    mkdir -p "$root_cache"
    dir=$(mktemp -d "$root_cache/making-$release.XXXXXX")
    chmod 755 "$dir" # it becomes /
    echo "making a root of Debian $release (debootstrap)" >&2
    if ! debootstrap --variant=minbase "$release" "$dir" "$(root_mirror)" >"$dir.log" 2>&1; then
        tail -n 20 "$dir.log" >&2
        rm -rf "$dir"
        root_die "debootstrap of $release failed; all of its output is in $dir.log"
    fi
    # Check-Date and the like, proxies: not the files of apt.conf.d, whose hooks may call programs of
    # the machine that the root has not got.
    apt-config dump | grep -E '^Acquire::([Hh]ttps?|Check|Retries|ForceIPv4)' >"$dir/etc/apt/apt.conf.d/90machine" || true
    certificates=$(root_certificates)
    if [ -f "$certificates" ]; then
        mkdir -p "$dir/etc/ssl/certs"
        cp "$certificates" "$dir/etc/ssl/certs/machine.crt"
    fi
    rm -rf "$dir"/var/cache/apt/archives/*.deb "$dir"/var/lib/apt/lists/* "$dir/etc/resolv.conf"
    tar -C "$dir" -cf "$tar.part" .
    mv "$tar.part" "$tar"
    rm -rf "$dir" "$dir.log"
    echo "$tar"
}

root_unpack() {
    mkdir -p "$2"
    tar -C "$2" -xpf "$1"
}

# root_enter "NAMESPACE OPTIONS" DIR COMMAND...
root_enter() {
    local options=$1 dir=$2 variable environment=()
    shift 2
    for variable in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY npm_config_registry CI ${ROOT_ENV:-}; do
        [ -z "${!variable:-}" ] || environment+=("$variable=${!variable}")
    done
    [ ! -f "$dir/etc/ssl/certs/machine.crt" ] || environment+=(NODE_EXTRA_CA_CERTS=/etc/ssl/certs/machine.crt)
    cp -L /etc/resolv.conf "$dir/etc/resolv.conf"
    # shellcheck disable=SC2086,SC2016
    unshare --mount --pid --fork --kill-child $options bash -euc '
        dir=$1
        shift
        mount -t proc proc "$dir/proc"
        mount --rbind /dev "$dir/dev"
        for path in ${ROOT_BIND:-}; do
            if [ -d "$path" ]; then mkdir -p "$dir$path"; else mkdir -p "$dir${path%/*}" && touch "$dir$path"; fi
            mount --bind "$path" "$dir$path"
        done
        ip link set lo up 2>/dev/null || true
        exec chroot "$dir" env --chdir="${ROOT_CWD:-/}" "$@"' - "$dir" \
        -i HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 \
        DEBIAN_FRONTEND=noninteractive "${environment[@]}" "$@"
}

root_run() { root_enter "" "$@"; }

root_run_alone() { root_enter "--net" "$@"; }
