#!/usr/bin/env python3
"""Runs the interleaving tests and writes their figures into the table of docs/reliability.md.

    tests/interleave/reliability_page.py build [--points N | --all] [--seed N] [--jobs N] [--anew]
                                         [--page docs/reliability.md]

Each program prints a line for each group of operations that it explores; a line of the page's table is one of them. Ends
with status 1, and leaves the page as it was, when a program fails. What has passed is kept beside the programs, pair by pair
with --all: a run that was interrupted goes on with the same command (--anew: from the beginning).
"""
import argparse
import concurrent.futures
import datetime
import hashlib
import json
import os
import pathlib
import random
import re
import subprocess
import sys
import threading
import time

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
LINE = re.compile(
    r"^(?P<what>.+): (?:(?P<operations>\d+) operations, )?(?:(?P<explored>\d+)(?: of (?P<all>\d+))? "
    r"(?P<unit>pairs?|triples?), )?(?P<schedules>\d+) schedules(?:, (?P<deaths>\d+) deaths)?(?:, (?P<seconds>[\d.]+) s)?$"
)


class Run:
    """What the programs have printed so far, and with which seed."""

    def __init__(self, kept, how, seed, anew, library):
        self.kept = kept
        self.how = how
        self.lock = threading.Lock()
        # What was found of another build of the library counts no more.
        self.library = hashlib.sha256(library.read_bytes()).hexdigest()
        known = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() and not anew else {}
        same = known.get("how") == how and seed in (None, known.get("seed")) and known.get("library") == self.library
        known = known if same else {}
        self.seed = known.get("seed") or seed or random.SystemRandom().randrange(1, 2**32)
        self.programs = known.get("programs", {})
        if not known:
            for log in kept.parent.glob("test_interleave_*.log"):
                log.unlink()
        self.keep()

    def keep(self):
        content = {"how": self.how, "seed": self.seed, "library": self.library, "programs": self.programs}
        self.kept.write_text(json.dumps(content, indent=1), encoding="utf-8")

    def run(self, program, environment):
        if program.name in self.programs:
            print(f"{program.name}: passed before", flush=True)
            return True
        start = time.monotonic()
        # With a line for each pair as it goes on; those of a former run are not explored again.
        path = self.kept.with_name(f"{program.name}.log")
        with open(path, "a", encoding="utf-8") as log:
            environment = dict(environment, COMMONHOLD_EXPLORED=str(path))
            done = subprocess.run(
                [program], env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True
            )
        seconds = time.monotonic() - start
        print(f"{program.name}: {'passed' if done.returncode == 0 else 'FAILED'} in {seconds:.0f} s", flush=True)
        if done.returncode != 0:
            print(done.stdout, flush=True)
            return False
        with self.lock:
            lines = [line for line in done.stdout.splitlines() if LINE.match(line)]
            self.programs[program.name] = {"seconds": seconds, "lines": lines}
            self.keep()
        return True

    def rows(self):
        return [LINE.match(line).groupdict() for one in self.programs.values() for line in one["lines"]]


def table(rows, how, seed, seconds):
    total = lambda name: sum(int(row[name] or 0) for row in rows)
    lines = [
        BEGIN,
        f"{how}, seed {seed}, {datetime.date.today().isoformat()}, {seconds / 60:.0f} minutes of one core:",
        "",
        "| explored | operations | pairs or triples | schedules | with a death | seconds |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for row in sorted(rows, key=lambda row: row["what"]):
        lines.append(
            f"| {row['what']} | {row['operations'] or ''} | {row['explored'] or ''} | {int(row['schedules']):,} "
            f"| {int(row['deaths'] or 0):,} | {float(row['seconds'] or 0):.0f} |"
        )
    lines.append(
        f"| all | | {total('explored'):,} | {total('schedules'):,} | {total('deaths'):,} "
        f"| {sum(float(row['seconds'] or 0) for row in rows):,.0f} |"
    )
    return "\n".join(lines + [END])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--points", type=int, default=60, help="places of each operation (60)")
    parser.add_argument("--all", action="store_true", help="as COMMONHOLD_SOAK=1; takes hours")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--seed", type=int)
    parser.add_argument("--anew", action="store_true", help="do not go on with what passed before")
    parser.add_argument("--page", type=pathlib.Path, default=pathlib.Path("docs/reliability.md"))
    options = parser.parse_args()

    programs = sorted(path for path in (options.build / "tests").glob("test_interleave_*") if path.is_file())
    if not programs:
        sys.exit(f"there are no interleaving tests in {options.build}/tests; ./dev test interleave builds them")
    how = "As thoroughly as with `COMMONHOLD_SOAK=1`" if options.all else f"{options.points} places of each operation"
    library = next(path for path in sorted(options.build.glob("libcommonhold.so.*.*.*")) if path.is_file())
    run = Run(options.build / "reliability.json", how, options.seed, options.anew, library)
    environment = dict(os.environ, COMMONHOLD_TEST_SEED=str(run.seed), COMMONHOLD_TEST_WATCHDOG_SECONDS="0")
    environment.pop("COMMONHOLD_POINTS", None)
    environment.pop("COMMONHOLD_SOAK", None)
    environment.update({"COMMONHOLD_SOAK": "1"} if options.all else {"COMMONHOLD_POINTS": str(options.points)})
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        passed = list(pool.map(lambda program: run.run(program.resolve(), environment), programs))
    if not all(passed):
        sys.exit("a program failed; the page is as it was")

    rows = run.rows()
    text = options.page.read_text(encoding="utf-8")
    begin, end = text.index(BEGIN), text.index(END) + len(END)
    figures = table(rows, how, run.seed, sum(one["seconds"] for one in run.programs.values()))
    options.page.write_text(text[:begin] + figures + text[end:], encoding="utf-8")
    print(f"{options.page}: {len(rows)} rows")


if __name__ == "__main__":
    main()
