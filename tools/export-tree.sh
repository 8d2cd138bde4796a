#!/bin/sh
# export-tree.sh DEST: copies the sources of this tree, as they are now, without anything generated.
set -eu
mkdir "$1"
tar -C "$(dirname "$0")/.." \
    --exclude='./.git' --exclude='./.venv' --exclude='./.cache' --exclude='./.[a-z]*_cache' \
    --exclude='./.hypothesis' --exclude='./.benchmarks' --exclude='./volt_core/_bin/[!R]*' \
    --exclude='__pycache__' --exclude='*.egg-info' --exclude='*.so' --exclude='./build' --exclude='./dist' \
    --exclude='./plugins/*/build' --exclude='./plugins/*/dist' \
    -cf - . | tar -C "$1" --no-same-owner -xf -
