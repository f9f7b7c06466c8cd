"""Runs an example and checks what it printed.

usage: check_output.py PROGRAM [--runs=N] [REGULAR_EXPRESSION...]

Passes when the program ends with status 0 and each expression matches somewhere in its standard output, N times in a row.
"""

import re
import subprocess
import sys


def main() -> int:
    program, expressions = sys.argv[1], sys.argv[2:]
    runs = 1
    if expressions and expressions[0].startswith("--runs="):
        runs = int(expressions.pop(0).partition("=")[2])
    return max(check(program, expressions) for _ in range(runs))


def check(program: str, expressions: list) -> int:
    run = subprocess.run([program], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=False)
    print(run.stdout, end="")
    if run.returncode != 0:
        print(f"{program} ended with status {run.returncode}, not 0")
        return 1
    missing = [e for e in expressions if not re.search(e, run.stdout, re.MULTILINE)]
    for expression in missing:
        print(f"the output has no match for: {expression}")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
