#!/usr/bin/env python3
"""Checks a model of what the product does where stores may pass later loads, exhaustively.

Usage: check_models.py [--states] MODEL.pml...   --states prints the number of states alone

The first comment of a model says what it stands for:

    // source: FILE FUNCTION        the function of that file, found by the beginning of its definition
    //   STATEMENT                  which is in it, behind the one before
    // must fail: NAME...           what the model can be run without (tso.inc)

The statements must be there in this order, the model must be free of errors in every state that it can reach, without
any of the names it must have one, and docs/memory_order.md must have a row for it. Programs: spin, and gcc for the
verifier that spin writes.
"""
import argparse
import os
import pathlib
import re
import subprocess
import sys
import tempfile

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent.parent
DEEPEST = 200000
MOST_MEGABYTES = 2000
SECONDS = 250


class Failure(Exception):
    pass


class Model:
    def __init__(self, path):
        self.path = path
        self.sources = []  # (file, function, statements)
        self.names = []
        for line in path.read_text(encoding="utf-8").splitlines():
            if not line.startswith("//"):
                break
            text = line[2:]
            if match := re.match(r" source: (\S+) (.+)", text):
                self.sources.append((match[1], match[2].strip(), []))
            elif match := re.match(r" must fail: (.+)", text):
                self.names += match[1].split()
            elif text.startswith("   ") and self.sources:
                self.sources[-1][2].append(text.strip())
        if not self.sources or not self.names:
            raise Failure("its first comment names no source, or nothing without which it must fail")


def squeezed(text):
    return " ".join(text.split())


def function_in(text, start):
    """From the line that has `start` until the brace that closes it, which is indented as that line is."""
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if start not in line or line.rstrip().endswith(";") and "{" not in line or line.lstrip().startswith("//"):
            continue
        indent = re.match(r" *", line)[0]
        if line.rstrip().endswith("}"):
            return line
        for end in range(number + 1, len(lines)):
            if lines[end].startswith(indent + "}"):
                return "\n".join(lines[number : end + 1])
    return None


def check_sources(model):
    for file, function, statements in model.sources:
        path = REPOSITORY / file
        if not path.is_file():
            raise Failure(f"{file} is not there")
        body = function_in(path.read_text(encoding="utf-8"), function)
        if body is None:
            raise Failure(f"{file} has no function {function}")
        body, at = squeezed(body), 0
        for statement in statements:
            found = body.find(squeezed(statement), at)
            if found < 0:
                raise Failure(f"{file}: in {function} there is no \"{statement}\", or not behind the one before")
            at = found + 1


def run(command, folder, **more):
    return subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
                          timeout=SECONDS, **more)


def build(model, folder):
    numbers = [f"-D{name}={number}" for number, name in enumerate(model.names, 1)]
    made = run(["spin", "-a", *numbers, str(model.path)], folder)
    if made.returncode != 0 or not (pathlib.Path(folder) / "pan.c").exists():
        raise Failure(f"spin does not take it:\n{made.stdout[-2000:]}")
    # Every state is kept whole: nothing is hashed together. Not optimized: that takes longer than most searches.
    made = run(["gcc", "-O0", "-w", "-DSAFETY", f"-DMEMLIM={MOST_MEGABYTES}", "-o", "pan", "pan.c"], folder)
    if made.returncode != 0:
        raise Failure(f"the verifier does not compile:\n{made.stdout[-2000:]}")


def search(folder, without):
    """How many errors there are (the search ends at the first), the number of states, and all that was said."""
    environment = dict(os.environ, MODEL_WITHOUT=str(without))
    done = run(["./pan", f"-m{DEEPEST}", "-w20"], folder, env=environment)
    errors = re.search(r"errors: (\d+)", done.stdout)
    states = re.search(r"(\d+) states, stored", done.stdout)
    if not errors or not states:
        raise Failure(f"the verifier broke off:\n{done.stdout[-2000:]}")
    return int(errors[1]), int(states[1]), done.stdout


def unreached(model, said):
    """Statements that the whole model never reaches. What is on a line with WITHOUT() may be for the other runs, and
    what is shared by several models need not be reached in each."""
    text = model.path.read_text(encoding="utf-8")
    if [pathlib.Path(name).name for name in re.findall(r'#include "(.*)"', text)] != ["tso.inc"]:
        return []
    lines = dict(enumerate(text.splitlines(), 1))
    found = re.findall(r"^\t(\S+\.pml):(\d+), state \d+, (\".*\")", said, re.MULTILINE)
    # Of steps of tso.inc it is not said where in the model they are.
    found = [one for one in found if one[2] != '"-end-"' and not one[2].startswith('"D_STEP')]
    return [f"{path}:{line} {what}" for path, line, what in found if "WITHOUT(" not in lines.get(int(line), "")]


def check_listed(model):
    page = REPOSITORY / "docs" / "memory_order.md"
    if f"| `{model.path.stem}` |" not in page.read_text(encoding="utf-8"):
        raise Failure(f"{page.name} has no row for it")


def check(model):
    check_sources(model)
    check_listed(model)
    with tempfile.TemporaryDirectory(prefix="commonhold-model-") as folder:
        build(model, folder)
        errors, states, said = search(folder, 0)
        if errors:
            trail = run(["./pan", "-r", f"{model.path.name}.trail"], folder)
            raise Failure(f"it has an error:\n{said[:300]}\n{trail.stdout[-6000:]}")
        for truncated in ("Search not completed", "search depth too small", "out of memory", "aborted"):
            if truncated in said:
                raise Failure(f"not every state was searched ({truncated}):\n{said[:600]}")
        if lines := unreached(model, said):
            raise Failure("nothing reaches " + "; ".join(lines))
        for number, name in enumerate(model.names, 1):
            errors, _, said = search(folder, number)
            if errors == 0:
                raise Failure(f"it has no error without {name}")
            if "pan: assertion violated (buffer" in said or "pan:1: assertion violated (buffer" in said:
                raise Failure(f"without {name} a store buffer overflows: STORES is too small")
    return states


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--states", action="store_true")
    parser.add_argument("models", nargs="+", type=pathlib.Path)
    arguments = parser.parse_args()
    failed = False
    for path in arguments.models:
        try:
            model = Model(path.resolve())
            states = check(model)
            names = ", ".join(model.names)
            print(states if arguments.states else f"{path.stem}: {states} states; fails without {names}")
        except (Failure, subprocess.TimeoutExpired) as failure:
            print(f"{path.stem}: {failure}", file=sys.stderr)
            failed = True
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
