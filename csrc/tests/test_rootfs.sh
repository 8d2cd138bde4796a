#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What rootfs prepares for systemd-nspawn, in TAP, with shells in nspawn's place. ROOTFS names the program. Needs root.
set -u
# shellcheck source=csrc/tests/tap.sh
. "$(dirname "$0")/tap.sh"

: "${ROOTFS:?}"
if [ "$(id -u)" != 0 ]; then
        echo '1..0 # SKIP needs root'
        exit 0
fi
if [ -z "${VOLT_TEST_NAMESPACE:-}" ]; then
        VOLT_TEST_NAMESPACE=1 exec unshare --mount --propagation private sh "$0"
fi
work=$(mktemp -d) || exit 2
notes=$work/err
trap 'umount -l "$work/layers" "$work/small" 2>/dev/null; rm -rf "$work"' EXIT
id=0123456789abcdef0123456789abcdef


# The upper layer on a file system that takes one: an overlay, on which the tests may run, does not.
mkdir "$work/lower" "$work/layers" "$work/small" "$work/outside"
chmod 755 "$work" "$work/lower"
mount -t tmpfs -o mode=755 tmpfs "$work/layers" || exit 2
mount -t tmpfs -o mode=755,size=64k tmpfs "$work/small" || exit 2
folder=$work/layers/web
lower=$work/lower
mkdir "$lower/etc" "$lower/real"
echo image >"$lower/etc/name"
chown 5:6 "$lower/etc/name"
ln -s real "$lower/inside"
ln -s "$work/outside" "$lower/absolute"
ln -s "../../../../../../../../../../../..$work/outside" "$lower/climbing"
ln -s . "$lower/dot"
ln -s loop "$lower/loop"
lower_before=$(find "$lower" -printf '%p %i %T@ %m %U\n' | sort)

# fresh: a container that was never started
fresh() {
        rm -rf "$folder"
        mkdir "$folder" "$folder/upper" "$folder/work" "$folder/rootfs"
}

# rootfs ARGS...: leaves code and output
rootfs() {
        INVOCATION_ID=$id "$ROOTFS" --folder "$folder" --lower "$lower" "$@" >"$work/out" 2>"$work/err" </dev/null
        code=$?
        out=$(cat "$work/out")
}

fresh
rootfs -- sh -c 'cat "$0/etc/name"; echo own >"$0/etc/name"; echo new >"$0/new"; rm -r "$0/real"; cat "$0/etc/name"' "$folder/rootfs"
verdict 'the image is seen and can be changed' "$code $out" '0 image
own'
verdict 'what changed is in the upper layer' "$(cat "$folder/upper/etc/name" "$folder/upper/new"; stat -c %t:%T "$folder/upper/real")" \
        'own
new
0:0'
verdict 'the image is as before' "$(find "$lower" -printf '%p %i %T@ %m %U\n' | sort)" "$lower_before"
rootfs -- sh -c 'cat "$0/etc/name"; ls "$0/real"' "$folder/rootfs"
verdict 'the next start sees it' "$out" own

fresh
before=$(cat /proc/self/mounts)
rootfs -- sh -c 'grep -c " $0/rootfs overlay" /proc/self/mounts; grep -c " $0/rootfs overlay" /proc/$PPID/mounts' "$folder"
verdict 'nobody else sees the mount' "$out" '1
0'
verdict 'and nothing is left of it' "$(cat /proc/self/mounts)" "$before"
verdict 'the rest of what is mounted stays visible' "$code $(ls -A "$folder/rootfs")" '1 '

fresh
chown 100000:100000 "$folder/upper"
rootfs --ids 100000:65536 -- sh -c 'stat -c %u:%g "$0" "$0/etc" "$0/etc/name"; chmod 600 "$0/etc/name"' "$folder/rootfs"
if grep -q 'Invalid argument' "$work/err"; then
        count=$((count + 1))
        echo "ok $count - shifted owners # SKIP this file system cannot map ids"
else
        verdict 'shifted owners' "$out" '100000:100000
100000:100000
100005:100006'
        verdict 'what is copied up keeps them' "$(stat -c %u:%g "$folder/upper/etc/name")" 100005:100006
        verdict 'those of the image stay' "$(stat -c %u:%g "$lower/etc/name")" 5:6
fi

fresh
rootfs --directory /a/b --file /a/file --file /inside/new --directory /etc --directory /dot/dot/c -- true
verdict 'targets of mounts' "$code $(cd "$folder/upper" && find . -mindepth 1 -printf '%p %y %m\n' | sort | tr '\n' ';')" \
        '0 ./a d 755;./a/b d 755;./a/file f 644;./c d 755;./real d 755;./real/new f 644;./usr d 755;'
for link in absolute climbing loop; do
        for target in "--directory /$link" "--directory /$link/made" "--file /$link" "--file /$link/made" "--directory /real/../$link/made"; do
                fresh
                # shellcheck disable=SC2086
                rootfs $target -- sh -c 'echo started'
                verdict "$target leads nowhere" "$(ls -A "$work/outside") $([ "$code" = 0 ] || echo refused) $out" ' refused '
        done
done
verdict 'and the image is as before' "$(find "$lower" -printf '%p %i %T@ %m %U\n' | sort)" "$lower_before"

fresh
printf 'COLOR=red\0LD_PRELOAD=/evil.so\0LINES=a\nb\0' >"$folder/env"
rootfs --default PATH=/bin --default HOME=/root --tty -- sh -c 'tr "\0" ";" </proc/self/fd/4; echo; env | grep -c -e COLOR -e evil'
verdict 'the environment is handed over' "$out" 'attached=0 tty=1 size=0x0;PATH=/bin;HOME=/root;COLOR=red;LD_PRELOAD=/evil.so;LINES=a
b;
0'
rootfs -- sh -c 'echo $LISTEN_FDS; [ "$LISTEN_PID" = $$ ] && for fd in 3 4 5 6 7 8 9; do [ ! -e /proc/$$/fd/$fd ] || echo $fd; done'
verdict 'by socket activation, and no other descriptor is' "$out" '2
3
4'
rm "$folder/env"
rootfs -- sh -c 'tr "\0" ";" </proc/self/fd/4'
verdict 'no environment' "$code $out" '0 attached=0 tty=0 size=0x0;'
ln -s /etc/passwd "$folder/env"
rootfs -- true
verdict 'a symlink is no environment' "$code" 1
rm "$folder/env"

cat >"$work/stub" <<'STUB'
#!/bin/sh
echo "$@"
echo "$COLOR ${OTHER-}"
STUB
chmod 755 "$work/stub"
printf 'COLOR=red\0OTHER=withheld\0' >"$folder/env"
rootfs --boot -- "$work/stub" --setenv=COLOR --setenv=MISSING --boot
verdict 'an init of its own gets by nspawn what is named' "$out" '--setenv=COLOR --setenv=MISSING --boot
red '
printf 'COLOR=red' >"$folder/env"
rootfs --boot -- "$work/stub"
verdict 'half an environment is none' "$code $out" '1 '

fresh
rootfs -- sh -c 'echo exit 3 >&3'
verdict 'the report' "$(sed 's/^begin [0-9]* /begin /' "$folder/run")" "begin $id
exit 3"
rootfs -- true
verdict 'a new run has a new one' "$(wc -l <"$folder/run")" 1
ln -sf "$work/outside/run" "$folder/run"
rootfs -- true
verdict 'a symlink is no report' "$code $(ls -A "$work/outside")" '1 '

fresh
rootfs -- /no/such/nspawn
verdict 'nspawn is missing' "$code $(cat "$work/err")" '1 rootfs: /no/such/nspawn: No such file or directory'
rm -r "$folder/work"
rootfs -- sh -c 'echo started'
verdict 'a layer is missing' "$code $out$(cat "$work/err")" \
        "1 rootfs: cannot mount the container's root: No such file or directory"
verdict 'and the report has the beginning' "$(sed 's/ .*//' "$folder/run")" begin
fresh
lower=$work/none
rootfs -- sh -c 'echo started'
verdict 'the image is missing' "$code $out$(cat "$work/err")" \
        "1 rootfs: cannot mount the container's root: No such file or directory"
lower=$work/lower

folder=$work/small/web
fresh
dd if=/dev/zero of="$work/small/fill" 2>/dev/null
rootfs -- sh -c 'echo started'
verdict 'no space is left' "$code $out$(cat "$work/err")" "1 rootfs: cannot write 'run': No space left on device"

"$ROOTFS" --folder "$folder" -- true 2>/dev/null
verdict 'usage' $? 1
"$ROOTFS" --folder "$folder" --lower "$lower" --ids 5 -- true 2>/dev/null
verdict 'usage of --ids' $? 1

tap_done
