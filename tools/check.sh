#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# What a machine can say about the source without building it: format, and the mistakes that were
# pointed out twice. Says file, line and what to do; ends with 1 when there is anything.
#
#   tools/check.sh            check all tracked files
#   tools/check.sh --fix [PATH...]   format the C files (of those folders), then check
#   tools/check.sh --tidy DIR run clang-tidy over what build folder DIR compiled (tools/tidy.py: minutes, then seconds)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
format_version=14.0.6
bad=0

say() {
    printf '%s\n' "$*" >&2
    bad=1
}

files() { git ls-files --cached --others --exclude-standard -- "$@" | while read -r f; do [ -f "$f" ] && echo "$f"; done; }

# One version, everywhere: clang-format's output differs from release to release.
find_clang_format() {
    local tool
    for tool in clang-format-14 clang-format build/tools/bin/clang-format; do
        if [[ "$("$tool" --version 2>/dev/null)" == *"version $format_version"* ]]; then
            echo "$tool"
            return
        fi
    done
    mkdir -p build
    python3 -m venv build/tools >/dev/null
    build/tools/bin/pip install -q --disable-pip-version-check "clang-format==$format_version" >&2
    echo build/tools/bin/clang-format
}

# grep_bad WHAT-TO-DO PATTERN FILE-PATTERN...   (extended regular expression)
grep_bad() {
    local advice=$1 pattern=$2 hits
    shift 2
    hits=$(files "$@" | grep -vxF tools/check.sh | xargs -r -d '\n' grep -nE -e "$pattern" -- /dev/null || true)
    [ -z "$hits" ] || say "$hits"$'\n'"  -> $advice"$'\n'
}

check_format() {
    local tool hits
    tool=$(find_clang_format)
    if [ "${1:-}" = --fix ]; then
        shift
        files "${@:-.}" | grep -E '\.[ch]$' | xargs -r -d '\n' "$tool" -i
    fi
    hits=$(files '*.c' '*.h' | xargs -r -d '\n' "$tool" --dry-run --Werror 2>&1 |
        sed -nE 's/^([^:]+:[0-9]+):.*error: .*/\1: not formatted as .clang-format says/p' | sort -u -t: -k1,1) || true
    [ -z "$hits" ] || say "$hits"$'\n'"  -> tools/check.sh --fix formats them (one line a file is shown)"$'\n'
}

check_openings() {
    local f
    for f in $(files '*.c' '*.h' '*.py' '*.ts' '*.sh' 'scripts/*' '.ci/*' 'tests/*/run'); do
        [ -s "$f" ] || continue
        [[ "$f" == *.d.ts ]] && continue
        head -n 3 "$f" | grep -q 'SPDX-License-Identifier: MIT' ||
            say "$f:1: the first lines lack 'SPDX-License-Identifier: MIT'"
    done
    for f in $(files '*.h'); do
        grep -qE '^#ifndef [A-Z0-9_]+_H$' "$f" || say "$f:1: a header has a guard that follows its path (#ifndef WR_BUS_WR_BUS_H)"
    done
}

check_scripts() {
    local f
    for f in $(files); do
        case $(head -c 40 "$f" | tr -d '\0' | head -n 1) in
        '#!'*bash*) bash -n "$f" || say "$f: bash cannot parse it" ;;
        '#!'*) ;;
        *) continue ;;
        esac
        [ -x "$f" ] || say "$f: starts with #! but is not executable: chmod +x"
    done
    files '*.py' | xargs -r -d '\n' python3 -c '
import ast, sys
for name in sys.argv[1:]:
    ast.parse(open(name, encoding="utf-8").read(), name)' || say "  -> Python cannot parse it"
}

case ${1:-} in
--tidy)
    exec tools/tidy.py "${2:?the build folder}"
    ;;
esac

check_format "$@"
check_openings
check_scripts
grep_bad "trailing white space" '[[:blank:]]+$' '*.c' '*.h' '*.sh' '*.py' '*.ts' '*.css' '*.proto' '*.cmake' '*CMakeLists.txt'
grep_bad "no tabs: four spaces" $'\t' '*.c' '*.h' '*.proto'
grep_bad "a TODO names its issue: TODO(#12)" '\b(TODO|FIXME|XXX)\b($|[^(]|\([^#])' '*.c' '*.h' '*.py' '*.ts' '*.sh' '*.proto'
grep_bad "unbounded: snprintf" '\b(sprintf|vsprintf|gets)\(' '*.c' '*.h'
grep_bad "says nothing of what is not a number: strtol" '\b(atoi|atol|atoll)\(' '*.c' '*.h' ':!*_test.c' ':!*bench*'
grep_bad "a shell is not for servers: fork and exec, or do it here" '\bsystem\(' 'lib/*.c' 'host/*.c' 'services/*.c' \
    ':!*_test*.c' ':!*_conformance.c' ':!*_suite.c'
grep_bad "a test waits for the event, not the clock: look each millisecond, or say in a comment why the delay is the point" \
    '(sleep\([^)]*[02-9][^)]*[^0]\)|[^u]sleep\(|sleep\([02-9])[^/]*$' '*_test.c'
grep_bad "assert is for what cannot happen: no side effects in it" 'assert\([^)]*(\+\+|--|[^=!<>]=[^=])' '*.c' '*.h'
grep_bad "downloads are named by the package, not by the address somebody's mirror had" \
    '"resolved": "https?://' '*package-lock.json'
grep_bad "a merge conflict" '^(<<<<<<<|>>>>>>>) ' ':!*.md'

[ "$bad" -eq 0 ] || exit 1
