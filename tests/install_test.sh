#!/usr/bin/env bash
# Installs into an empty folder, then builds and runs a program of somebody else with what `pkg-config` says, and nothing
# more: no header of a dependency, no path of this repository.
#
# And what `meson install` builds in a folder without options: neither tests nor examples nor benchmarks.
#
# usage: install_test.sh BUILD_FOLDER OUTSIDE_PROJECT_FOLDER
set -euo pipefail

build=$1
project=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
  printf 'install_test: %s\n' "$*" >&2
  exit 1
}

meson install -C "$build" --no-rebuild --destdir "$work/root" >"$work/install.log" || {
  cat "$work/install.log"
  fail "meson install failed"
}

description=$(find "$work/root" -name commonhold.pc)
[ -n "$description" ] || fail "no commonhold.pc was installed"
export PKG_CONFIG_PATH=${description%/*}
library_folder=$(pkg-config --variable=libdir commonhold)
prefix=$(pkg-config --variable=prefix commonhold)
[[ $(readlink -f "$library_folder") == "$work/root"/* ]] || fail "commonhold.pc points to $library_folder, outside its folder"

# Where Debian's linker and pkg-config look when the prefix is /usr/local, with dpkg-dev and without.
[ "$library_folder" -ef "$prefix/lib" ] || fail "the library is in $library_folder, not in $prefix/lib"

# The outside project is copied, so that a relative path cannot reach back.
cp -r "$project" "$work/project"
cd "$work/project"
read -ra flags < <(pkg-config --cflags --libs commonhold)
read -ra compiler <<<"${CXX:-c++}"  # may be two words, as in "ccache c++"
set -x
"${compiler[@]}" -O1 -Wall -Wextra -Werror main.cc -o main "${flags[@]}"
{ set +x; } 2>/dev/null

export LD_LIBRARY_PATH=$library_folder
./main
version=$("$prefix/bin/commonhold" --version)
[ "$version" = "commonhold $(pkg-config --modversion commonhold)" ] || fail "the installed command says: $version"
[ -f "$prefix/share/doc/commonhold/LICENSE" ] || fail "the license was not installed"

source=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/..
meson setup "$work/plain" "$source" >"$work/setup.log" || {
  cat "$work/setup.log"
  fail "a build folder without options could not be configured"
}
if unneeded=$(ninja -C "$work/plain" -n | grep -E '(tests|examples|bench)/'); then
  fail "meson install would build $(head -3 <<<"$unneeded")"
fi

if internal=$(find "$prefix/include" -type f ! -path '*/include/commonhold/*.h' | grep .); then
  fail "only commonhold/*.h may be installed, not $internal"
fi
