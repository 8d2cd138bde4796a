# shellcheck shell=sh
# SPDX-License-Identifier: Apache-2.0
# Sourced by the tests of programs: as much of the Test Anything Protocol as they need. The plan is printed last.
count=0
failed=0

# verdict NAME GOT WANTED: what stands in $notes is shown if they differ
verdict() {
        count=$((count + 1))
        if [ "$2" = "$3" ]; then
                echo "ok $count - $1"
        else
                echo "not ok $count - $1"
                echo "# wanted $3"
                echo "# got    $2"
                [ ! -e "${notes:-/nowhere}" ] || sed 's/^/# /' "$notes"
                failed=1
        fi
}

tap_done() {
        echo "1..$count"
        exit "$failed"
}
