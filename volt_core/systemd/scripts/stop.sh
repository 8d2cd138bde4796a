#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# ExecStop= of a container's unit where csrc/programs/init.c could not be built: sends the command its stop signal, and
# waits for the end of the main process.
#
#     stop.sh FOLDER SIGNAL
#
# nspawn's stub would add a SIGHUP, of which a command that only knows SIGTERM dies at once. That nspawn ends with 255
# then is told in `run`.
set -eu
# Unset where it has ended by itself.
[ -n "${MAINPID-}" ] || exit 0

first_child() {
    # The line has no end, which `read` takes for a failure.
    read -r child _ <"/proc/$1/task/$1/children" || [ -n "$child" ]
    echo "$child"
}

stub=$(first_child "$MAINPID")
payload=$(first_child "$stub")
printf 'stop %s\n' "$2" >>"$1/run"
kill "-$2" "$payload"
tail --pid="$MAINPID" --sleep-interval=0.05 -f /dev/null
