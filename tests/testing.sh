# Building and running the tests, for ./dev, which reads this.
# shellcheck shell=bash disable=SC2154

# A command that Meson runs under, where one is needed.
test_runner=()

# test_targets <folder> <test names>: what ninja builds for these tests, one a line.
test_targets() {
  python3 - "$@" <<'PYTHON'
import json, os, sys

folder, *names = sys.argv[1:]
with open(folder + "/meson-info/intro-tests.json", encoding="utf-8") as file:
    needed = {target for test in json.load(file) if test["name"] in names for target in test["depends"]}
with open(folder + "/meson-info/intro-targets.json", encoding="utf-8") as file:
    for target in json.load(file):
        if target["id"] in needed:
            for output in target["filename"]:
                print(os.path.relpath(output, os.path.realpath(folder)))
PYTHON
}

# matching_tests <folder> [words]: the names of the tests that have one of the words in them, one a line.
matching_tests() {
  local folder=$1 name word
  shift
  meson test -C "$folder" --no-rebuild --list 2>/dev/null | sed 's,.* / ,,' | while IFS= read -r name; do
    [ $# -gt 0 ] || printf '%s\n' "$name"
    for word in "$@"; do
      if [[ $name == *"$word"* ]]; then
        printf '%s\n' "$name"
        break
      fi
    done
  done
}

# Prints what failed and "N passed, N failed" from Meson's log; status 1 unless something ran and nothing failed.
summarize() {
  python3 - "$1" <<'PYTHON'
import json, os, sys

log = sys.argv[1]
runs = []
if os.path.exists(log):
    with open(log, encoding="utf-8") as lines:
        runs = [json.loads(line) for line in lines]
passed = sum(run["result"] in ("OK", "EXPECTEDFAIL") for run in runs)
skipped = [run for run in runs if run["result"] in ("SKIP", "IGNORED")]
failed = [run for run in runs if run["result"] not in ("OK", "EXPECTEDFAIL", "SKIP", "IGNORED")]
print()
for run in skipped:
    print(f"skipped: {run['name']}")
for run in failed:
    print(f"failed: {run['name']} ({run['result']}, {run['duration']:.1f} s)")
if not passed + len(failed):
    print("no test ran")
print(f"{passed} passed, {len(failed)} failed", flush=True)
sys.exit(0 if passed and not failed else 1)
PYTHON
}

# test_in <folder> [words] -- [meson test arguments]: builds the folder and runs the tests that have a word in their names.
test_in() {
  local folder=$1 words=() names=() status=0
  shift
  while [ "$1" != -- ]; do
    words+=("$1")
    shift
  done
  shift
  mapfile -t names < <(matching_tests "$folder" "${words[@]}")
  if [ ${#names[@]} -eq 0 ]; then
    printf 'dev: no test has %s in its name; ./dev test --list names them\n' "${words[*]:-any word}" >&2
    printf '0 passed, 0 failed\n'
    return 1
  fi
  local targets=(all)
  if [ ${#words[@]} -gt 0 ]; then
    mapfile -t targets < <(test_targets "$folder" "${names[@]}")
  else
    names=()
  fi

  # Some tests need nothing that is built.
  if [ ${#targets[@]} -gt 0 ]; then build "$folder" "${targets[@]}"; fi
  local log=$folder/meson-logs/testlog.json
  rm -f "$log"
  say "Testing in $folder/"
  "${test_runner[@]}" meson test -C "$folder" --no-rebuild --print-errorlogs "$@" "${names[@]}" </dev/null || status=$?
  summarize "$log" || [ $status -ne 0 ] || status=1
  return $status
}

# need_number <option> <value>
need_number() {
  [[ ${2-} =~ ^[0-9]+$ ]] || die_usage "$1 needs a number, and got \"${2-}\""
}

# replay <line>: runs one schedule of the interleaving test programs; status 1 when it is not sound, or nobody has it.
replay() {
  local program programs output status=0
  mapfile -t programs < <(matching_tests "$kBuild" interleave)
  mapfile -t programs < <(test_targets "$kBuild" "${programs[@]}")
  build "$kBuild" "${programs[@]}"
  say "Replaying $1"
  for program in "${programs[@]}"; do
    output=$(COMMONHOLD_REPLAY=$1 "$kBuild/$program" </dev/null) || status=1
    grep -q '^replayed ' <<<"$output" || { status=0 && continue; }
    sed -n '/^replayed /,/^[^ ]/p' <<<"$output" | sed '2,$ { /^ /!d }'
    return $status
  done
  die "no test has \"${1% | *}\" with this seed; the line is \"NAME | SCHEDULE\", as the test printed it"
}

command_test() {
  local words=() meson_arguments=() list=no
  while [ $# -gt 0 ]; do
    case $1 in
      -h | --help) usage_of test && return 0 ;;
      --list) list=yes ;;
      -v | --verbose) meson_arguments+=(--verbose) ;;
      -r | --repeat) need_number "$1" "${2-}" && meson_arguments+=(--repeat "$2") && shift ;;
      -j | --jobs) need_number "$1" "${2-}" && meson_arguments+=(--num-processes "$2") && shift ;;
      -s | --seed) need_number "$1" "${2-}" && export COMMONHOLD_TEST_SEED=$2 && shift ;;
      --)
        shift
        if [ "${1-}" = --replay ]; then
          [ -n "${2-}" ] || die_usage "--replay needs a line, as a test printed it: NAME | SCHEDULE"
          prepare
          replay "$2"
          return
        fi
        meson_arguments+=("$@")
        break
        ;;
      -*) die_usage "./dev test has no option \"$1\"" ;;
      '') die_usage "./dev test got an empty word" ;;
      *) words+=("$1") ;;
    esac
    shift
  done

  prepare
  if [ $list = yes ]; then
    matching_tests "$kBuild" "${words[@]}"
  else
    test_in "$kBuild" "${words[@]}" -- "${meson_arguments[@]}"
  fi
}

command_sanitize() {
  local word status=0
  for word in "$@"; do
    case $word in
      -h | --help) usage_of sanitize && return 0 ;;
      -*) die_usage "./dev sanitize has no option \"$word\"" ;;
    esac
  done
  need_packages "${kPackages[@]}"

  # Everything is some five times slower here.
  export COMMONHOLD_TEST_WATCHDOG_SECONDS=${COMMONHOLD_TEST_WATCHDOG_SECONDS:-3000}
  export ASAN_OPTIONS=${ASAN_OPTIONS:-abort_on_error=1:detect_stack_use_after_return=1}
  export UBSAN_OPTIONS=${UBSAN_OPTIONS:-halt_on_error=1:print_stacktrace=1}
  export TSAN_OPTIONS=${TSAN_OPTIONS:-halt_on_error=1:second_deadlock_stack=1:die_after_fork=0}

  # The other suites are not about the sanitized code.
  local options=(--no-suite install --no-suite repository --no-suite models --timeout-multiplier 5)
  configure build-asan --buildtype=debugoptimized "${kEverything[@]}" -Db_ndebug=false -Db_sanitize=address,undefined
  test_in build-asan "$@" -- "${options[@]}" || status=1

  configure build-tsan --buildtype=debugoptimized "${kEverything[@]}" -Db_ndebug=false -Db_sanitize=thread
  # GCC 12's ThreadSanitizer does not know the address layout of kernels with 32 random bits.
  if setarch "$(uname -m)" -R true 2>/dev/null; then test_runner=(setarch "$(uname -m)" -R); fi
  test_in build-tsan "$@" -- "${options[@]}" || status=1
  [ $status -eq 0 ] || printf 'dev: a sanitized run failed; the logs are in build-asan/meson-logs/ and build-tsan/meson-logs/\n' >&2
  return $status
}

command_reliability() {
  case ${1-} in -h | --help) usage_of reliability && return 0 ;; esac
  local programs
  prepare
  mapfile -t programs < <(matching_tests "$kBuild" interleave)
  mapfile -t programs < <(test_targets "$kBuild" "${programs[@]}")
  build "$kBuild" "${programs[@]}"
  say "Running ${#programs[@]} programs"
  python3 tests/interleave/reliability_page.py "$kBuild" "$@"
}
