"""Runs an example and checks what it printed and what it left behind.

usage: check_output.py [--runs=N] [--partner=PROGRAM] PROGRAM [REGULAR_EXPRESSION...]

Passes when, N times in a row (20 unless told), the program ends with status 0, each expression matches somewhere in its
standard output, and no process, file or socket of it is left. A partner is started twice once the program has printed its
first line; its output counts too.
"""

import ctypes
import os
import re
import subprocess
import sys
import tempfile
import time

PR_SET_CHILD_SUBREAPER = 36
PATIENCE = 20  # seconds for a server to notice that its last owner is gone


def main() -> int:
    runs, partner, words = 20, None, sys.argv[1:]
    while words and words[0].startswith("--"):
        option, _, value = words.pop(0).partition("=")
        if option == "--runs":
            runs = int(value)
        elif option == "--partner":
            partner = value
        else:
            sys.exit(f"unknown option {option}\n{__doc__}")
    # Processes that the example leaves become children of this one.
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    return max(check(words[0], partner, words[1:], run) for run in range(runs))


def check(program: str, partner: str, expressions: list, run: int) -> int:
    folder = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryDirectory(prefix="commonhold-example-", dir=folder) as root:
        environment = dict(os.environ, COMMONHOLD_HOME=root)
        arguments = [f"example-{os.getpid()}-{run}"] if partner else []
        with subprocess.Popen(
            [program] + arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, env=environment
        ) as process:
            output = ""
            if partner:
                output += process.stdout.readline()
                for _ in range(2):
                    output += subprocess.run(
                        [partner] + arguments, stdout=subprocess.PIPE, text=True, env=environment, check=False
                    ).stdout
            output += process.stdout.read()
        print(output, end="")
        if process.returncode != 0:
            print(f"{program} ended with status {process.returncode}, not 0")
            return 1
        missing = [e for e in expressions if not re.search(e, output, re.MULTILINE)]
        for expression in missing:
            print(f"the output has no match for: {expression}")
        left = leftovers(root)
        if left:
            print(f"left behind: {', '.join(left)}")
        return 1 if missing or left else 0


def leftovers(root: str) -> list:
    deadline = time.monotonic() + PATIENCE
    while True:
        left = [os.path.join(folder, name) for folder, _, names in os.walk(root) for name in names]
        left += [f"process {pid}" for pid in children()]
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.001)


def children() -> list:
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return []
        if pid == 0:
            break
    with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as file:
        return file.read().split()


if __name__ == "__main__":
    sys.exit(main())
