#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# ExecStart= of a container's unit where csrc/programs/rootfs.c could not be built: prepares what systemd-nspawn needs,
# and becomes it.
#
#     unshare --mount --propagation slave rootfs.sh FOLDER LOWER NSPAWN ARGS...
#
# The file `exports` in FOLDER, a script, sets the variables that nspawn passes on to the container.
set -eu
folder=$1 lower=$2
shift 2

cd "$folder"
printf 'begin %s %s\n' "$(date +%s%N)" "${INVOCATION_ID:--}" >run
# By descriptor, and relative to the folder: no byte of a path has to be escaped.
mount -t overlay -o lowerdir=/proc/self/fd/3,upperdir=upper,workdir=work volt rootfs 3<"$lower"
# Without it nspawn takes a tree for no operating system. No path of the image is followed here, on the host's root.
[ -e rootfs/usr ] || mkdir rootfs/usr
# Last: it is meant for the container.
# shellcheck source=/dev/null
. ./exports
exec "$@"
