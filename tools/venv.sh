# Sourced by dev: .venv with all five distributions, editable.

STAMP=.venv/.volt-stamp

# What .venv was made from. Also the place and the interpreter, since a virtual environment survives no change of
# either, and whether a compiler is here, since the extension is built when one arrives.
stamp_text() {
    printf '%s\n' "$ROOT" "$(readlink -f .venv/bin/python)" "native ${VOLT_BUILD_NATIVE:-auto}"
    for file in /usr/include/stdio.h /usr/include/openssl/evp.h; do [ ! -e $file ] || echo "$file"; done
    command -v gcc || :
    # The sources alone: the build writes generated files beside them.
    find pyproject.toml setup.py MANIFEST.in csrc plugins/*/pyproject.toml -type f \
        \( -name '*.toml' -o -name '*.py' -o -name '*.in' -o -name '*.[ch]' -o -name Makefile \) \
        -exec sha256sum {} + 2>/dev/null | sort -k 2
}

venv_is_ready() {
    [ -x .venv/bin/python ] && [ -r $STAMP ] && [ "$(stamp_text)" = "$(cat $STAMP)" ]
}

make_venv() {
    ! venv_is_ready || return 0
    if [ -e .venv ] && ! [ -w .venv ]; then
        die "$ROOT/.venv is out of date and belongs to $(stat -c %U .venv). Remove it: sudo rm -r $ROOT/.venv"
    fi
    mkdir -p .cache
    # In a subshell, so that the lock is gone before anything that stays in the background is started.
    (
        exec 9>.cache/dev.lock
        if ! flock -n 9; then
            note "another ./dev is setting up, waiting for it"
            flock 9
        fi
        venv_is_ready || build_venv
    ) || exit 1
}

pip_install() { .venv/bin/python -m pip install --disable-pip-version-check --quiet "$@"; }

build_venv() {
    start=$(now)
    # The stamp is written last. Without one, .venv is half made or of other hands: it is made anew.
    if ! [ -e $STAMP ] || ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
        find_python || die "no Python 3.11 or newer found"
        step "making .venv with $("$python" --version)"
        "$python" -m venv --clear .venv || die "cannot make $ROOT/.venv with $python"
    fi
    rm -f $STAMP
    step "installing Volt and its tools into .venv"
    if ! {
        # The start scripts of older pips import re: a third of the time of volt --version.
        pip_install --upgrade 'pip>=25' &&
            pip_install -e '.[dev]' \
                -e plugins/volt_nspawn -e plugins/volt_proot -e plugins/volt_qemu -e plugins/volt_cas
    } >.cache/pip.log 2>&1 </dev/null; then
        tail -n 15 .cache/pip.log >&2
        die "pip failed; all it said is in $ROOT/.cache/pip.log"
    fi
    stamp_text >.venv/.volt-stamp.new
    mv .venv/.volt-stamp.new $STAMP
    note "$(seconds_since "$start") s"
}
