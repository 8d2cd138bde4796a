# Sourced by dev: Volt for the whole system, in a virtual environment that does not need this tree.

# Where sudo and login shells look; another place serves tests and unusual systems.
LINK_DIR=${VOLT_LINK_DIR:-/usr/local/bin}
SHARE_DIR=${VOLT_SHARE_DIR:-/usr/local/share}
# Below the prefix: proof that install made it, and the list of what it put elsewhere.
RECORD=.volt-install

parse_prefix() {
    prefix=/opt/volt
    while [ $# -gt 0 ]; do
        case $1 in
        --prefix) [ $# -ge 2 ] || die_usage "--prefix needs a directory"; prefix=$2; shift ;;
        --prefix=*) prefix=${1#--prefix=} ;;
        *) die_usage "./dev $command does not know '$1'" ;;
        esac
        shift
    done
    prefix=${prefix%/}
    case $prefix in
    /*) ;;
    *) die_usage "the prefix must be an absolute path: '$prefix'" ;;
    esac
    [ "$(id -u)" = 0 ] || die "$command changes $prefix and $LINK_DIR, so it needs root: sudo ./dev $command"
}

is_empty_or_absent() { [ ! -e "$1" ] || { [ -d "$1" ] && [ -z "$(ls -A "$1")" ]; }; }

cmd_install() {
    parse_prefix "$@"
    if ! is_empty_or_absent "$prefix" && [ ! -f "$prefix/$RECORD" ]; then
        die "$prefix exists and was not made by ./dev install: choose another --prefix, or move it away"
    fi
    link=$LINK_DIR/volt
    if [ -e "$link" ] || [ -L "$link" ]; then
        [ "$(readlink "$link" || :)" = "$prefix/bin/volt" ] ||
            die "$link exists and does not belong to $prefix: remove it, or uninstall the other Volt first"
    fi

    # Not the caller's python: root's own builds often lie in a home that nobody else can read.
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
    missing='' missing_optional='' wanted=''
    find_python_packages
    need_packages build run pull
    [ -n "$python" ] || find_python || die "no Python 3.11 or newer found in /usr or /usr/local"

    start=$(now)
    umask 022
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    trap 'exit 130' INT TERM
    step "building the wheels of all five distributions"
    # Built from a copy: root leaves nothing in a tree that belongs to somebody else.
    sh tools/export-tree.sh "$scratch/tree"
    "$python" -m venv "$scratch/venv"
    logged "$scratch/venv/bin/pip" wheel --no-deps --wheel-dir "$scratch/wheels" \
        "$scratch/tree" "$scratch"/tree/plugins/*

    step "installing into $prefix"
    mkdir -p "$prefix" "$LINK_DIR"
    : >>"$prefix/$RECORD"
    [ -x "$prefix/bin/pip" ] || "$python" -m venv "$prefix"
    # The start scripts of older pips import re: a third of the time of volt --version.
    logged "$prefix/bin/python" -m pip install --upgrade 'pip>=25'
    logged "$prefix/bin/pip" install --upgrade "$scratch"/wheels/*.whl
    # The same version again is not the same code: pip would keep what is there.
    logged "$prefix/bin/pip" install --force-reinstall --no-deps "$scratch"/wheels/*.whl
    record "$link"
    ln -sfn "$prefix/bin/volt" "$link"
    install_completion
    note "$(seconds_since "$start") s"
    step "$("$link" --version) is at $link"
}

# logged CMD...: runs it quietly; what it said is shown only where it fails.
logged() {
    "$@" --disable-pip-version-check >"$scratch/log" 2>&1 </dev/null || { tail -n 20 "$scratch/log" >&2; die "failed: $*"; }
}

# Written before the thing itself, so that uninstall finds it after an interruption too.
record() { grep -qxF "$1" "$prefix/$RECORD" || printf '%s\n' "$1" >>"$prefix/$RECORD"; }

install_completion() {
    for shell in bash zsh fish; do
        case $shell in
        bash) target=$SHARE_DIR/bash-completion/completions/volt ;;
        zsh) target=$SHARE_DIR/zsh/site-functions/_volt ;;
        fish) target=$SHARE_DIR/fish/vendor_completions.d/volt.fish ;;
        esac
        text=$("$prefix/bin/volt" completion "$shell" 2>/dev/null) || continue
        [ -n "$text" ] || continue
        [ ! -e "$target" ] || grep -qxF "$target" "$prefix/$RECORD" || { note "$target is not ours, left alone"; continue; }
        record "$target"
        mkdir -p "${target%/*}"
        printf '%s\n' "$text" >"$target"
    done
}

cmd_uninstall() {
    parse_prefix "$@"
    [ -f "$prefix/$RECORD" ] || die "there is no Volt at $prefix that ./dev install made"
    while read -r path; do
        # A link that was turned to another Volt since then stays.
        if [ -L "$path" ] && [ "$(readlink "$path")" != "$prefix/bin/volt" ]; then
            note "$path points elsewhere now, left alone"
            continue
        fi
        rm -f "$path"
    done <"$prefix/$RECORD"
    rm -rf --one-file-system "$prefix"
    step "removed $prefix and its link in $LINK_DIR"
    note "kept: /etc/volt and /var/lib/volt, with every workload and image"
}
