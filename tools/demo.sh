#!/bin/sh
# Volt's main job, step by step, on a real image: ./dev demo [--image FILE] [--clean]
# Keeps its state in a root of its own, so that it never meets the Volt of this host. VOLT names the command to show.
set -eu
cd "$(dirname "$0")/.."
. tools/lib.sh

export VOLT_ROOT="${XDG_CACHE_HOME:-$HOME/.cache}/volt-demo"
MARK=$VOLT_ROOT/.made-by-volt-demo
VOLT=${VOLT:-$PWD/.venv/bin/volt}
image_file='' clean='' number=0

while [ $# -gt 0 ]; do
    case $1 in
    --image) image_file=$2; shift ;;
    --clean) clean=yes ;;
    *) die_usage "demo does not know '$1'" ;;
    esac
    shift
done

# The lock is not handed down: a container outlives this script where the script is killed.
volt() { "$VOLT" "$@" 9>&-; }

# title TEXT: begins the next step. run ARGS...: shows the command line, runs it and says how long it took.
title() {
    number=$((number + 1))
    printf '\n%s==> %d. %s%s\n' "$bold" $number "$*" "$plain"
}
run() {
    printf '%s$ volt' "$bold"
    for word; do
        case $word in *[!A-Za-z0-9_.,:=/@+-]*) printf " '%s'" "$word" ;; *) printf ' %s' "$word" ;; esac
    done
    printf '%s\n' "$plain"
    begun=$(now)
    volt "$@" 2>&1
    printf '    (%s s)\n' "$(seconds_since "$begun")"
}

remove_containers() {
    [ -x "$VOLT" ] || return 0
    for name in $(volt ps --all --quiet 2>/dev/null); do
        volt container delete --force "$name" >/dev/null 2>&1 || echo "could not delete the container '$name'" >&2
    done
}

if [ -n "$clean" ] && [ ! -e "$MARK" ]; then
    echo "There is no demo to clean up: $VOLT_ROOT was not made by one."
    exit 0
fi
if [ -e "$VOLT_ROOT" ] && [ ! -e "$MARK" ]; then
    die "$VOLT_ROOT exists and was not made by the demo: move it away first"
fi
mkdir -p "$VOLT_ROOT"
: >"$MARK"
exec 9>"$VOLT_ROOT/.lock"
if ! flock -n 9; then
    echo "Another demo is running in $VOLT_ROOT: waiting for it."
    flock 9
fi
if [ -n "$clean" ]; then
    remove_containers
    rm -rf --one-file-system "$VOLT_ROOT"
    echo "Removed $VOLT_ROOT"
    exit 0
fi
demo_begun=$(now)

cat <<TEXT
Volt's main job: an image into the store, two containers from it.
Everything stays in $VOLT_ROOT (./dev demo --clean removes it).
TEXT
trap remove_containers EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
# Left over from a demo that was killed.
remove_containers

if [ -n "$image_file" ]; then
    image=demo:latest
    title "Import $image_file into the store"
    run image import "$image_file" "$image"
else
    image=debian:bookworm
    title "Pull Debian, straight into the store"
    run image pull "$image"
fi

title "Create two containers from one image"
# shellcheck disable=SC2016 # expanded in the container
run container create --name demo-web "$image" sh -c 'echo "web: ready"; echo "web: serving as $(id -un)"; exec sleep 600'
run container create --name demo-db "$image" sh -c 'echo "db: ready"; exec sleep 600'

title "Start both"
run container start demo-web demo-db

title "Run a command in one of them"
# shellcheck disable=SC2016 # expanded in the container
run exec demo-web sh -c '. /etc/os-release; echo "hello from $PRETTY_NAME"'

title "What runs here"
run ps

title "What it wrote"
run logs demo-web

if [ "$(volt info | sed -n 's/^backend: *//p')" = nspawn ]; then
    title "The two share each file, which the inode numbers show: nothing was copied"
    shared="/usr/bin/bash /usr/bin/dpkg /etc/debian_version"
    # shellcheck disable=SC2086 # a list
    run exec demo-web ls -i $shared
    # shellcheck disable=SC2086
    run exec demo-db ls -i $shared
fi

title "What the store holds: each file of the image once"
run cas status

title "Stop and delete them"
run container stop demo-web demo-db
run container delete demo-web demo-db
run ps --all

printf '\n%sDone in %s s.%s The image stays in %s for the next time.\n' \
    "$bold" "$(seconds_since "$demo_begun")" "$plain" "$VOLT_ROOT"
