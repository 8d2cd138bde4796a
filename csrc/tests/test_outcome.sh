#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What outcome makes of a report and of systemd's words, in TAP. OUTCOME names the program.
set -u
# shellcheck source=csrc/tests/tap.sh
. "$(dirname "$0")/tap.sh"

: "${OUTCOME:?}"
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
id=0123456789abcdef0123456789abcdef


# check NAME REPORT JSON [VARIABLE=VALUE...]: the outcome, without its times
check() {
        name=$1 report=$2 json=$3
        shift 3
        rm -f "$work"/*
        [ "$report" = none ] || printf "$report" >"$work/run"
        env "INVOCATION_ID=$id" "$@" "$OUTCOME" --folder "$work" $boot 2>"$work/err"
        got=$(sed 's/,"started":[0-9]*,"finished":[0-9]*//' "$work/outcome.json" 2>&1)
        verdict "$name" "$got" "$json"
        [ ! -e "$work/run" ] || verdict "$name: the report is gone" there gone
}

boot=
begin="begin 7 $id\n"
tail=",\"invocation\":\"$id\"}"
check 'exit code' "${begin}pid 2\nexit 7\n" "{\"schema\":1,\"code\":7,\"result\":\"exited\"$tail"
check 'signal' "${begin}pid 2\nsignal 11 core\n" "{\"schema\":1,\"signal\":11,\"core_dumped\":true,\"result\":\"signaled\"$tail"
check 'not found' "${begin}fail 127 2 no: No such file\n" \
        "{\"schema\":1,\"code\":127,\"result\":\"not-started\",\"reason\":\"no: No such file\"$tail"
check 'a reason that needs escaping' "${begin}fail 126 13 a\"b\\\\\\\\c: x\n" \
        "{\"schema\":1,\"code\":126,\"result\":\"not-started\",\"reason\":\"a\\\"b\\\\\\\\c: x\"$tail"
check 'killed when its time was over' "${begin}pid 2\n" "{\"schema\":1,\"signal\":9,\"result\":\"signaled\"$tail" \
        SERVICE_RESULT=timeout EXIT_CODE=exited EXIT_STATUS=1
check 'out of memory' "${begin}pid 2\n" "{\"schema\":1,\"signal\":9,\"oom\":true,\"result\":\"signaled\"$tail" \
        SERVICE_RESULT=oom-kill EXIT_CODE=exited EXIT_STATUS=1
check 'nspawn killed' "${begin}pid 2\n" \
        "{\"schema\":1,\"signal\":9,\"result\":\"signaled\",\"reason\":\"systemd-nspawn was killed\"$tail" \
        SERVICE_RESULT=signal EXIT_CODE=killed EXIT_STATUS=KILL
check 'never begun' none \
        "{\"schema\":1,\"result\":\"not-started\",\"reason\":\"the unit failed: exit-code, exit status 203\"$tail" \
        SERVICE_RESULT=exit-code EXIT_CODE=exited EXIT_STATUS=203
check 'nspawn gave up before init' "$begin" \
        "{\"schema\":1,\"result\":\"not-started\",\"reason\":\"the unit failed: exit-code, exit status 1\"$tail" \
        SERVICE_RESULT=exit-code EXIT_CODE=exited EXIT_STATUS=1
check 'a report that ends in the middle' "${begin}pid 2\nexi" "{\"schema\":1,\"signal\":9,\"result\":\"signaled\"$tail" \
        SERVICE_RESULT=exit-code EXIT_CODE=exited EXIT_STATUS=1
boot=--boot
check 'a machine of its own' "$begin" "{\"schema\":1,\"code\":0,\"result\":\"exited\"$tail" \
        SERVICE_RESULT=success EXIT_CODE=exited EXIT_STATUS=0
boot=

rm -f "$work"/*
ln -s /etc/passwd "$work/run"
env "INVOCATION_ID=$id" SERVICE_RESULT=success "$OUTCOME" --folder "$work" 2>/dev/null
verdict 'a symlink is no report' "$(grep -c root "$work/outcome.json")" 0
"$OUTCOME" --folder "$work/none" 2>/dev/null
verdict 'a folder that is gone' $? 1
"$OUTCOME" 2>/dev/null
verdict 'usage' $? 2

tap_done
