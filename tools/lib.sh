# Sourced by dev and the scripts beside this file: messages and time.

if [ -t 2 ] && [ -z "${NO_COLOR:-}" ]; then
    bold=$(printf '\033[1m') red=$(printf '\033[31m') plain=$(printf '\033[0m')
else
    bold='' red='' plain=''
fi

step() { printf '%s==> %s%s\n' "$bold" "$*" "$plain" >&2; }
note() { printf '    %s\n' "$*" >&2; }

die() {
    printf '%s./dev: %s%s\n' "$red" "$*" "$plain" >&2
    exit 1
}

die_usage() {
    printf '%s./dev: %s%s (./dev help)\n' "$red" "$*" "$plain" >&2
    exit 2
}

# Hundredths of a second since boot: setting the clock does not change it.
now() { sed 's/ .*//; s/\.//' /proc/uptime; }

# seconds_since START: the time gone since now() said START, as "1.23".
seconds_since() {
    hundredths=$(($(now) - $1))
    printf '%d.%02d' $((hundredths / 100)) $((hundredths % 100))
}
