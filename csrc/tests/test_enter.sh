#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What enter does in a container made by unshare(1), in TAP. ENTER and CONFINED name the programs. Needs root.
set -u
# shellcheck source=csrc/tests/tap.sh
. "$(dirname "$0")/tap.sh"

: "${ENTER:?}" "${CONFINED:?}"
if [ "$(id -u)" != 0 ]; then
        echo '1..0 # SKIP needs root'
        exit 0
fi
# The leak check makes a helper process, which enter has in another pid namespace, and waits for it for ever.
export ASAN_OPTIONS="${ASAN_OPTIONS:-}:detect_leaks=0"
work=$(mktemp -d) || exit 2
notes=$work/err
chmod 1777 "$work"
# Where root of a user namespace gets to, too.
cp "$CONFINED" "$work/confined" && CONFINED=$work/confined
cgroups=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/self/mounts)
cgroup=$cgroups/volt-test-enter-$$
mkdir "$cgroup" 2>/dev/null || cgroup=
container=
leader=

remove_container() {
        [ -z "$container" ] || kill -KILL "$leader" "$container" 2>/dev/null
        [ -z "$container" ] || wait "$container" 2>/dev/null
        container=
}

clear_away() {
        remove_container
        if [ -n "$cgroup" ]; then
                for _ in 1 2 3 4 5 6 7 8 9 10; do
                        rmdir "$cgroup" 2>/dev/null && break
                        sleep 0.1
                done
        fi
        rm -rf "$work"
}
trap clear_away EXIT

# container [NAMESPACES...] -- [CONFINEMENT...]: a first process that has a mount and a host name of its own
container() {
        namespaces=
        while [ "$1" != -- ]; do
                namespaces="$namespaces $1"
                shift
        done
        shift
        remove_container
        rm -f "$work/ready"
        # shellcheck disable=SC2086
        unshare $namespaces --pid --fork --mount-proc --uts --ipc sh -c '
                while [ -z "$(cat /proc/self/gid_map)" ]; do sleep 0.02; done
                exec setpriv --reuid 0 --regid 0 --clear-groups --inh-caps=-all sh -c "$@"
        ' sh '
                work=$1 confined=$2
                shift 2
                mount -t tmpfs tmpfs /mnt && mkdir -m 777 /mnt/here && hostname inside
                exec "$confined" "$@" -- sh -c "echo >\"\$0/ready\"; exec sleep 1000" "$work"
        ' sh "$work" "$CONFINED" "$@" 2>"$work/container" &
        container=$!
        leader=
        while [ -z "$leader" ]; do
                check_container
                leader=$(tr -d ' ' <"/proc/$container/task/$container/children")
        done
        if [ "$(readlink "/proc/$leader/ns/user")" != "$(readlink /proc/self/ns/user)" ]; then
                echo 0 100000 65536 >"/proc/$leader/uid_map"
                echo 0 100000 65536 >"/proc/$leader/gid_map"
        fi
        while [ ! -s "$work/ready" ]; do
                check_container
        done
        ticks=$(started "$leader")
}

check_container() {
        kill -0 "$container" 2>/dev/null || { echo "Bail out! $(cat "$work/container")"; exit 2; }
        sleep 0.02
}

started() {
        sed 's/.*) //' "/proc/$1/stat" | cut -d ' ' -f 20
}


# enter ARGS...: leaves code, report and output
enter() {
        printf 'PATH=%s\0COLOR=red\0' "$PATH" >"$work/env"
        "$ENTER" --leader "$leader" --started "$ticks" --status-fd 8 --cgroup 9 --env-fd 7 "$@" \
                7<>"$work/env" 8>"$work/status" 9>"${cgroup:-$work}/cgroup.procs" >"$work/out" 2>"$work/err" </dev/null
        code=$?
        report=$(sed 's/^pid [0-9]*$/pid/' "$work/status" | tr '\n' ';')
        out=$(cat "$work/out")
}

fields='CapInh|CapPrm|CapEff|CapBnd|CapAmb|NoNewPrivs|Seccomp|Seccomp_filters'

# same_confinement NAME: the command has what the first process has
same_confinement() {
        enter -- cat /proc/self/status
        verdict "$1" "$(echo "$out" | grep -E "^($fields):")" "$(grep -E "^($fields):" "/proc/$leader/status")"
}

container --mount --net --
enter -- true
verdict 'success' "$code $report" '0 pid;exit 0;'
enter -- sh -c 'exit 7'
verdict 'exit code' "$code $report" '7 pid;exit 7;'
enter -- sh -c 'kill -TERM $$'
verdict 'signal' "$code $report" '143 pid;signal 15 nocore;'
enter -- no-such-command
verdict 'not found' "$code $report" '127 fail 127 2 no-such-command: No such file or directory;'
enter --workdir /mnt/here -- sh -c 'pwd; hostname'
verdict 'mounts and host name' "$out" '/mnt/here
inside'
namespaces='mnt pid uts ipc net user'
enter -- sh -c "for name in $namespaces; do readlink /proc/self/ns/\$name; done"
verdict 'namespaces' "$out" "$(for name in $namespaces; do readlink "/proc/$leader/ns/$name"; done)"
enter -- env
verdict 'the environment' "$(echo "$out" | sort)" "COLOR=red
PATH=$PATH"
enter -- sh -c 'for fd in 3 4 6 7 8 9; do [ ! -e /proc/$$/fd/$fd ] || echo $fd; done'
verdict 'no descriptor but its own' "$out" ''
enter --user 1234:1235:5,6 -- sh -c 'id -u; id -g; id -G'
verdict 'another user' "$out" '1234
1235
1235 5 6'
enter --user 1234:1234 -- true
verdict 'a file keeps its owner' "$(stat -c %u "$work/out")" 0
enter_with_pipe() {
        "$ENTER" --leader "$leader" --started "$ticks" --status-fd 8 --cgroup 9 --user 1234:1234 "$@" \
                8>"$work/status" 9>"${cgroup:-$work}/cgroup.procs"
}
verdict 'a pipe becomes the user'"'"'s' "$(enter_with_pipe -- /bin/sh -c 'echo here >/dev/stdout' | cat)" here
verdict 'or stays as it is' "$(enter_with_pipe --own-streams -- stat -Lc %u /dev/fd/1 | cat)" 0
enter --tty 30x100 -- sh -c 'test -t 0 && test -t 2 && : </dev/tty && [ "$(stty size)" = "30 100" ]'
verdict 'a terminal' "$code" 0
if [ -n "$cgroup" ]; then
        enter -- cat /proc/self/cgroup
        verdict 'the cgroup' "$(echo "$out" | sed -n 's/^0:://p')" "${cgroup#"$cgroups"}"
fi
verdict 'the first process runs on' "$(sed -n 's/^State:\t\(.\).*/\1/p' "/proc/$leader/status")" S

same_confinement 'capabilities of root'
container --mount -- no-new-privs
same_confinement 'no new privileges'
container --mount -- no-new-privs permit-none
enter -- cat /proc/self/status
verdict 'what it could not gain it is not given' "$(echo "$out" | grep -E '^(CapPrm|CapEff):' | tr '\t\n' '  ')" \
        'CapPrm: 0000000000000000 CapEff: 0000000000000000 '
container --mount -- filters
same_confinement 'filters'
enter -- sh -c 'mkdir /mnt/here/made 2>&1'
verdict 'filters act' "$code" 1
verdict 'and the first process runs on' "$(sed -n 's/^State:\t\(.\).*/\1/p' "/proc/$leader/status")" S
container --mount -- filters drop=21 drop=8 drop=7 drop=6
same_confinement 'filters and few capabilities, not those to set filters, capabilities and users'
enter --user 1234:1234 -- cat /proc/self/status
verdict 'an ordinary user has none' "$(echo "$out" | grep -E '^(Uid|CapPrm|CapEff|Seccomp_filters):' | tr '\t\n' '  ')" \
        'Uid: 1234 1234 1234 1234 CapPrm: 0000000000000000 CapEff: 0000000000000000 Seccomp_filters: 2 '
container --mount -- filters no-new-privs drop=21
same_confinement 'filters, no new privileges and few capabilities'

# The network namespace is the host's: from within the user namespace it cannot be joined any more.
container --net unshare --user --keep-caps --mount -- filters
enter -- sh -c "for name in $namespaces; do readlink /proc/self/ns/\$name; done"
verdict 'a user namespace, and a network of the host' "$out" \
        "$(for name in $namespaces; do readlink "/proc/$leader/ns/$name"; done)"
enter -- sh -c 'id -u; id -G; touch /mnt/here/made && stat -c %u:%g /mnt/here/made'
verdict 'root in a user namespace' "$out" '0
0
0:0'
same_confinement 'a user namespace'

# As bwrap does it: the user that the command has is in a user namespace below the one that all else belongs to.
as_user="setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all --"
# shellcheck disable=SC2086
cp "$ENTER" "$work/enter"
if $as_user unshare --user true 2>/dev/null; then
        remove_container
        rm -f "$work/ready"
        $as_user unshare --user --map-root-user --mount --pid --fork --mount-proc --uts sh -c '
                mount -t tmpfs tmpfs /mnt && mkdir /mnt/here && hostname inside
                exec unshare --user --map-user=7 --map-group=8 sh -c "echo >\"\$0/ready\"; exec sleep 1000" "$0"
        ' "$work" 2>"$work/container" &
        container=$!
        while [ ! -s "$work/ready" ]; do
                check_container
        done
        leader=$(tr -d ' ' <"/proc/$container/task/$container/children")
        ticks=$(started "$leader")
        $as_user "$work/enter" --leader "$leader" --started "$ticks" --status-fd 8 --own-streams \
                --workdir /mnt/here -- sh -c 'id -u; id -g; hostname; pwd; exit 7' 8>"$work/status" >"$work/out" 2>"$work/err" </dev/null
        verdict 'an ordinary user enters what he made' "$? $(cat "$work/out")" '7 7
8
inside
/mnt/here'
else
        echo "# an ordinary user can have no user namespace here"
fi

ticks=$((ticks + 1))
enter -- true
verdict 'another process of that number' "$code $report" '125 fail 125 3 the container has ended: No such process;'
remove_container
enter -- true
verdict 'a process that has ended' "$code $report" '125 fail 125 3 the container has ended: No such process;'
"$ENTER" --leader 1 -- true 2>/dev/null
verdict 'usage' $? 125

tap_done
