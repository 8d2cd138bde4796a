#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# ExecStopPost= of a container's unit where csrc/programs/outcome.c could not be built: makes `outcome.json` of what
# systemd says of the main process in SERVICE_RESULT, EXIT_CODE and EXIT_STATUS, then removes `run`.
#
#     outcome.sh FOLDER
#
# Nobody reports a signal that the payload died of: nspawn ends with 255 then. That of a stop is in `run`, by stop.sh.
set -eu
cd "$1"
finished=$(date +%s%N)
begun='' started=$finished invocation=${INVOCATION_ID-}
if [ -r run ] && read -r begun started invocation <run; then
    [ "$invocation" != - ] || invocation=''
fi

number_of() {
    case $1 in
    HUP) echo 1 ;;
    INT) echo 2 ;;
    QUIT) echo 3 ;;
    ABRT) echo 6 ;;
    SEGV) echo 11 ;;
    TERM) echo 15 ;;
    *) echo 9 ;;
    esac
}

# Of a unit with Delegate= systemd does not say what the kernel killed for want of memory. It runs this in a cgroup below
# the unit's.
unit=$(sed -n 's|^0::\(/.*\)/\.control$|\1|p' /proc/self/cgroup)
oom=''
if [ "${SERVICE_RESULT-}" = oom-kill ] || { [ -n "$unit" ] && grep -qs '^oom_kill [1-9]' "/sys/fs/cgroup$unit/memory.events"; }; then
    oom=',"oom":true'
fi

case ${SERVICE_RESULT-}:${EXIT_CODE-} in
oom-kill:* | timeout:* | watchdog:*) end='"signal":9,"result":"signaled"' ;;
*:killed | *:dumped)
    end="\"signal\":$(number_of "${EXIT_STATUS-}"),\"result\":\"signaled\",\"reason\":\"systemd-nspawn was killed\""
    ;;
*)
    asked=$(sed -n 's/^stop //p' run 2>/dev/null | tail -n 1)
    if [ -n "$asked" ] && [ "${EXIT_STATUS-}" = 255 ]; then
        end="\"signal\":$asked,\"result\":\"signaled\""
    elif [ -n "$begun" ] && [ "${EXIT_CODE-}" = exited ]; then
        end="\"code\":$EXIT_STATUS,\"result\":\"exited\""
    else
        why="the unit failed: ${SERVICE_RESULT-unknown}, exit status ${EXIT_STATUS-unknown}"
        end="\"result\":\"not-started\",\"reason\":\"$why\""
    fi
    ;;
esac

printf '{"schema":1,%s%s,"started":%s,"finished":%s,"invocation":"%s"}\n' \
    "$end" "$oom" "$started" "$finished" "$invocation" >.outcome.json.new
sync .outcome.json.new
mv .outcome.json.new outcome.json
sync .
rm -f run
