#!/usr/bin/env bash
# What ./dev says to somebody who types something wrong or asks for help. Nothing is built and nothing is installed here.
#
# usage: dev_test.sh DEV
set -euo pipefail

dev=$1
failures=0

# expect <status> <text in the output> <arguments of dev>
expect() {
  local status=0 output
  local wanted=$1 text=$2
  shift 2
  output=$("$dev" "$@" 2>&1 </dev/null) || status=$?
  if [ $status -ne "$wanted" ] || [[ $output != *"$text"* ]]; then
    printf 'dev %s: status %s, expected %s with "%s" in:\n%s\n' "$*" $status "$wanted" "$text" "$output"
    failures=$((failures + 1))
  fi
}

expect 0 './dev demo'
expect 0 './dev demo' help
expect 0 './dev sanitize' --help
for command in demo test install bench format lint sanitize; do
  expect 0 "./dev $command" help $command
done
expect 0 '--repeat' test --help
expect 2 'there is no command "nonsense"' nonsense
expect 2 'there is no option "--nonsense"' --nonsense
expect 2 'there is no command "nonsense"' help nonsense
expect 2 './dev test has no option "--nonsense"' test --nonsense
expect 2 '--repeat needs a number, and got "many"' test --repeat many
expect 2 '--seed needs a number, and got ""' test --seed
expect 2 './dev sanitize has no option "-x"' sanitize -x
expect 2 './dev install has no option "--nonsense"' install --nonsense
expect 2 '--prefix needs a folder' install --prefix
expect 2 './dev demo takes no arguments, and got "x"' demo x
expect 2 './dev lint takes no arguments, and got "x"' lint x

[ $failures -eq 0 ] || exit 1
