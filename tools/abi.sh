#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# The plugin ABI: what lies in a struct that the core and a plugin share may not change while the version of wr_plugin.h
# stays, since plugins are built elsewhere and at other times.
#
#   tools/abi.sh           compares the headers with tests/abi/plugin-<major>.<minor>.abi; ends with 1 when they differ
#   tools/abi.sh renew     writes that file from the headers, for a version that was not released yet
#
# Every struct and enum of lib/plugin/wr_*.h, and what these refer to, is compiled into an object; abidw (libabigail, the
# Debian package abigail-tools) reads its layout out of the debug information, abidiff compares two. One file a version is kept:
# after a bump, `renew` makes the new one, and the old one stays as the record of what was.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
made=build/abi
for tool in abidw abidiff; do
    command -v "$tool" >/dev/null || {
        echo "tools/abi.sh: $tool is missing: scripts/deps tests installs it (abigail-tools)" >&2
        exit 2
    }
done

number() { sed -nE "s/^#define WR_PLUGIN_ABI_$1 ([0-9]+)u$/\1/p" lib/plugin/wr_plugin.h; }
version=$(number MAJOR).$(number MINOR)
[[ $version =~ ^[0-9]+\.[0-9]+$ ]] || {
    echo "tools/abi.sh: lib/plugin/wr_plugin.h does not say the version ('$version')" >&2
    exit 2
}
kept=tests/abi/plugin-$version.abi

# Only what plugins see: the loader's own headers are not theirs.
headers=()
for header in lib/plugin/wr_*.h; do
    case $header in *_kinds.h | *_plugins.h) ;; *) headers+=("$header") ;; esac
done
mkdir -p "$made"
{
    for header in "${headers[@]}"; do echo "#include \"$(basename "$header")\""; done
    # A variable of each type, so that the compiler writes the type down.
    cat "${headers[@]}" | sed -nE 's/^(struct|enum) (wr_[a-z0-9_]+) \{.*/extern \1 \2 abi_\1_\2;\n\1 \2 abi_\1_\2;/p'
} >"$made/plugin.c"
includes=()
for folder in lib/*/; do includes+=("-I${folder%/}"); done
"${CC:-cc}" -std=c17 -D_GNU_SOURCE -g -O0 -shared -fPIC "${includes[@]}" "$made/plugin.c" -o "$made/plugin.so"
# Places in files and folders of a machine are none of the ABI.
abidw --no-show-locs --no-corpus-path --no-comp-dir-path --no-architecture "$made/plugin.so" >"$made/plugin.abi"

if [ "${1:-}" = renew ]; then
    mkdir -p tests/abi
    cp "$made/plugin.abi" "$kept"
    echo "tools/abi.sh: $kept is what the headers say now"
    exit
fi
[ -f "$kept" ] || {
    echo "tools/abi.sh: there is no $kept: after a new version, 'tools/abi.sh renew' makes it" >&2
    exit 1
}
if ! abidiff --no-architecture --no-show-locs "$kept" "$made/plugin.abi" >"$made/difference" 2>&1; then
    cat "$made/difference" >&2
    cat >&2 <<EOT

tools/abi.sh: the plugin ABI is not that of $version any more (above: what changed).
  A slot at the end of a kind's table: a new WR_PLUGIN_ABI_MINOR. Anything else: a new WR_PLUGIN_ABI_MAJOR, minor 0. Both in
  lib/plugin/wr_plugin.h, with a sentence in its list of changes; then 'tools/abi.sh renew'.
  If $version was in no release yet, 'tools/abi.sh renew' is enough.
EOT
    exit 1
fi
