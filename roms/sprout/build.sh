#!/bin/sh
# Builds the cartridge: build.sh [OUTPUT.gb]. Needs sdcc 4.2 (apt-get install sdcc) and python3.
# The same sources give the same bytes, whatever the folder and the time.
set -eu
target=${1:-"$(cd "$(dirname "$0")/.." && pwd)/sprout.gb"}
case $target in /*) ;; *) target=$PWD/$target ;; esac
cd "$(dirname "$0")"
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
export PYTHONDONTWRITEBYTECODE=1
python3 generate.py "$build"
sdasgb -g -l -I"$build" -o "$build/start.rel" start.s
objects="$build/start.rel"
compile() { # file segment
    sdcc -msm83 --std-c11 --opt-code-size --disable-warning 218 -I. -I"$build" --codeseg "$2" --constseg "$2" -c "$1.c" -o "$build/$1.rel"
    objects="$objects $build/$1.rel"
}
for home in text menu list bag records tilesets party items; do compile $home CODE; done
for one in overworld scripts main; do compile $one CODE_1; done
for six in battle evolution; do compile $six CODE_6; done
for five in shop title; do compile $five CODE_5; done
# shellcheck disable=SC2086  # a list of files on purpose
sdcc -msm83 --no-std-crt0 --code-loc 0x0660 --data-loc 0xC010 -Wl-m -Wl-b_CODE_1=0x4000 -Wl-b_CODE_5=0x54000 -Wl-b_CODE_6=0x64000 $objects -o "$build/game.ihx"
python3 image.py "$build" "$target"
