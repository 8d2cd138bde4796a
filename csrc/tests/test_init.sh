#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What init reports and returns, in TAP. INIT names the program; tests/unit/test_programs.py has what needs a terminal.
set -u
# shellcheck source=csrc/tests/tap.sh
. "$(dirname "$0")/tap.sh"

: "${INIT:?}"
work=$(mktemp -d) || exit 2
trap 'chmod 700 "$work/shut"; rm -rf "$work"' EXIT

# check NAME CODE REPORT -- ARGS...: the exit code of init, and what it reports once the pid is masked
check() {
        name=$1 code=$2 report=$3
        shift 4
        "$INIT" --status-fd 3 "$@" 3>"$work/status" >"$work/out" 2>&1
        got=$?
        lines=$(sed 's/^pid [0-9]*$/pid/' "$work/status" | tr '\n' ';')
        verdict "$name" "code $got, report $lines" "code $code, report $report"
}

printf 'neither script nor binary\n' >"$work/text"
printf '#!/bin/sh\nexit 9\n' >"$work/script"
cp "$work/script" "$work/locked"
chmod 755 "$work/text" "$work/script"
chmod 644 "$work/locked"
mkdir "$work/elsewhere" "$work/shut" "$work/shut/script"
chmod 0 "$work/shut"
missing='No such file or directory'

check 'success' 0 'pid;exit 0;' -- -- true
check 'exit code' 7 'pid;exit 7;' -- -- sh -c 'exit 7'
check 'signal' 143 'pid;signal 15 nocore;' -- -- sh -c 'kill -TERM $$'
check 'an exit code that looks like a signal' 143 'pid;exit 143;' -- -- sh -c 'exit 143'
check 'an exit code that looks like a failure' 127 'pid;exit 127;' -- -- sh -c 'exit 127'
check 'not found in PATH' 127 "fail 127 2 no-such-command: $missing;" -- -- no-such-command
check 'not found by path' 127 "fail 127 2 /no/such: $missing;" -- -- /no/such
check 'an empty name' 127 "fail 127 2 : $missing;" -- -- ''
check 'not executable' 126 "fail 126 13 $work/locked: Permission denied;" -- -- "$work/locked"
check 'a directory' 126 "fail 126 13 $work: Permission denied;" -- -- "$work"
check 'bad format' 126 "fail 126 8 $work/text: Exec format error;" -- -- "$work/text"
check 'a line feed in the name' 127 "fail 127 2 /a?b: $missing;" -- -- '/a
b'
check 'workdir' 0 'pid;exit 0;' -- --workdir "$work/elsewhere" -- sh -c "[ \"\$(pwd)\" = '$work/elsewhere' ]"
check 'a workdir that is missing' 126 "fail 126 2 working directory '/no/such': $missing;" -- --workdir /no/such -- true
check 'variables' 0 'pid;exit 0;' -- --env VOLT_A=b=c --env HOME -- sh -c '[ "$VOLT_A${HOME-gone}" = b=cgone ]'
check 'no terminal to control' 125 'fail 125 25 controlling terminal: Inappropriate ioctl for device;' -- \
        --setsid-tty -- true </dev/null

saved=$PATH
PATH=$work/elsewhere:$work/shut:$work:$saved
check 'found further on in PATH' 9 'pid;exit 9;' -- -- script
check 'found but not executable' 126 'fail 126 13 locked: Permission denied;' -- -- locked
check 'not found beside a directory that may not be searched' 127 "fail 127 2 no-such-command: $missing;" -- \
        -- no-such-command
PATH=$saved

check 'no command' 125 '' -- --
check 'an unknown option' 125 '' -- --no-such-option -- true
"$INIT" --status-fd 2 -- true 2>/dev/null
verdict 'a status descriptor that the command needs' $? 125

tap_done
