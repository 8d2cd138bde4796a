# Sourced by dev: what the host must have, and how it gets it.

# Debian package, then what shows that it is there: a command, or a file by its absolute path or a pattern of one.
packages_of() {
    case $1 in
    build)
        [ "${VOLT_BUILD_NATIVE:-}" = 0 ] || echo "
            gcc:gcc
            libc6-dev:/usr/include/stdio.h
            libssl-dev:/usr/include/openssl/evp.h" ;;
    run) echo "proot:proot" ;;
    pull) echo "
            mmdebstrap:mmdebstrap
            debian-archive-keyring:/usr/share/keyrings/debian-archive-keyring.gpg
            uidmap:newuidmap" ;;
    host) echo "
            systemd-container:systemd-nspawn" ;;
    test) echo "
            acl:setfacl
            attr:setfattr
            borgbackup:borg
            bubblewrap:bwrap
            busybox-static:busybox
            casync:casync
            clang:clang
            debootstrap:debootstrap
            e2fsprogs:mkfs.ext4
            fakechroot:fakechroot
            fakeroot:fakeroot
            fish:fish
            git:git
            libcap2-bin:setcap
            libclang-rt-dev:/usr/lib/llvm-*/lib/clang/*/lib/*/libclang_rt.fuzzer*
            make:make
            ostree:ostree
            procps:ps
            qemu-system-x86:qemu-system-x86_64
            restic:restic
            rsync:rsync
            shellcheck:shellcheck
            strace:strace
            unzip:unzip
            xfsprogs:mkfs.xfs
            xz-utils:xz
            zip:zip
            zsh:zsh
            zstd:zstd"
        # In Debian 12 it comes with QEMU.
        grep -q '^VERSION_CODENAME=bookworm' /etc/os-release || echo virtiofsd:/usr/libexec/virtiofsd ;;
    esac
}

is_present() {
    case $1 in
    /*)
        # shellcheck disable=SC2086 # where nothing matches, the pattern stays: there is no such file
        set -- $1
        [ -e "$1" ] ;;
    *) command -v "$1" >/dev/null ;;
    esac
}

python=

# Sets $python to the first Python that is new enough: python3 as the caller has it, else the newest.
find_python() {
    for python in "${VOLT_PYTHON:-python3}" python3.14 python3.13 python3.12 python3.11; do
        if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            return 0
        fi
    done
    python=
    return 1
}

# Adds the packages without which $python makes no virtual environment and builds no extension to $missing.
find_python_packages() {
    if ! find_python; then
        missing="$missing python3 python3-venv"
        return
    fi
    # A Python that is not Debian's brings its own; a newer one beside Debian's python3 has packages of its own.
    debian=${python##*/}
    "$python" -c 'import ensurepip, venv' 2>/dev/null || missing="$missing $debian-venv"
    if [ "${VOLT_BUILD_NATIVE:-}" != 0 ]; then
        header='import os, sysconfig; os.stat(os.path.join(sysconfig.get_path("include"), "Python.h"))'
        "$python" -c "$header" 2>/dev/null || missing_optional="$missing_optional $debian-dev"
    fi
}

# need_packages GROUP...: installs what is missing of these groups, as root or by sudo, or ends with the one
# command that would. Groups named in $OPTIONAL are done without where it cannot be installed.
need_packages() {
    missing='' missing_optional=''
    for group; do
        case $group in
        python)
            # A finished .venv proves Python and the headers; asking Python again costs more than all the rest.
            venv_is_ready || find_python_packages
            continue ;;
        esac
        for entry in $(packages_of "$group"); do
            is_present "${entry#*:}" && continue
            case " ${OPTIONAL:-} " in
            *" $group "*) missing_optional="$missing_optional ${entry%%:*}" ;;
            *) missing="$missing ${entry%%:*}" ;;
            esac
        done
    done
    case " ${OPTIONAL:-} " in *" build "*) ;; *) missing="$missing$missing_optional" missing_optional= ;; esac
    [ -n "$missing$missing_optional" ] || return 0

    wanted="$missing$missing_optional"
    if ! command -v apt-get >/dev/null; then
        [ -n "$missing" ] || { note "going on without:$missing_optional"; return 0; }
        die "missing, by the names of Debian's packages:$wanted. Install them by this system's own means."
    fi
    if [ "$(id -u)" = 0 ]; then
        as_root=""
    elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
        as_root="sudo -n"
    elif command -v sudo >/dev/null && [ -t 0 ] && [ -t 2 ]; then
        as_root=sudo
    elif [ -z "$missing" ]; then
        note "going on without:$missing_optional (no root, no sudo)"
        return 0
    else
        die "missing:$wanted
There is neither root nor a usable sudo here. As root, type:

    apt-get update && apt-get install --no-install-recommends$wanted

and then run ./dev again.$(hint_without_root)"
    fi
    apt_install
}

# Said by demo alone: the way with an image of one's own, and which of the missing packages it needs.
hint_without_root() {
    [ "${command:-}" = demo ] || return 0
    needed=
    for package in $missing; do
        case $package in proot | *python*-venv) needed="$needed $package" ;; esac
    done
    echo "
With a root file system of your own, ./dev demo --image FILE.tar needs ${needed:+only}${needed:-none of them}."
}

apt_install() {
    step "installing with apt:$wanted"
    mkdir -p .cache
    start=$(now)
    log=.cache/apt.log
    # shellcheck disable=SC2086 # both are lists
    if ! { $as_root env DEBIAN_FRONTEND=noninteractive apt-get update -q &&
        $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $wanted; } \
        >"$log" 2>&1 </dev/null; then
        tail -n 15 "$log" >&2
        die "apt-get failed; all it said is in $ROOT/$log"
    fi
    note "$(seconds_since "$start") s"
}
