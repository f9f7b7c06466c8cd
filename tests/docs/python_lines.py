#!/usr/bin/env python3
"""Compiles every C++ cell of the tables "Python -> C++" of examples/README.md, each in a block of its own, and looks for the
files that the page names.

    tests/docs/python_lines.py REPOSITORY COMPILER...
"""
import pathlib
import re
import subprocess
import sys

HEAD = """#include <commonhold/commonhold.h>
#include <iostream>
#include <map>
#include <mutex>
#include <span>
using namespace commonhold;
using namespace std::chrono_literals;
struct Counter { explicit Counter(int) {} int add(int n) { return n; } };
inline void f(int, const char*) {}
inline void f0() {}
inline int add(int a, int b) { return a + b; }
inline int square(int n) { return n * n; }
[[maybe_unused]] static void lines(
    Manager& manager, Process& p, Connection& c, Listener& listener, JoinableQueue<int>& q, Lock& lock, Semaphore& s, Event& e,
    Condition& cond, Barrier& b, Value<int>& v, Array<double>& a, Dict<std::string, int>& d, List<int>& l, Pool& pool,
    AsyncResult<int>& r, std::vector<AsyncResult<int>>& rs, std::vector<int>& xs,
    std::vector<std::pair<int, int>>& pairs, std::vector<char>& buffer) {
  auto on_value = [](int) {};
  auto on_error = [](std::exception_ptr) {};
"""
ROW = re.compile(r"^\| (.*\S) \| (.*\S) \|$")


def main():
    repository, compiler = pathlib.Path(sys.argv[1]), sys.argv[2:]
    page = repository / "examples/README.md"
    text = page.read_text(encoding="utf-8")
    missing = [name for name in re.findall(r"\]\(([^)#]+)\)", text) if not (page.parent / name).exists()]
    if missing:
        sys.exit(f"{page} names what is not there: {missing}")
    unnamed = [
        str(path.relative_to(page.parent))
        for path in page.parent.rglob("*.cc")
        if f"({path.relative_to(page.parent)})" not in text
    ]
    if unnamed:
        sys.exit(f"{page} does not name {unnamed}")
    program, cells = HEAD, 0
    begin = text.index("## From Python")
    for number, line in enumerate(text[begin:].splitlines(), text[:begin].count("\n") + 1):
        row = ROW.match(line)
        if not row or not row[2].startswith("`"):
            continue
        cells += 1
        program += f'{{\n#line {number} "examples/README.md"\n{row[2].strip("`")}\n}}\n'
    program += "}\n"
    folders = [f"-I{repository / layer / 'include'}" for layer in ("proxy", "process", "manager")]
    command = [*compiler, *folders, "-std=c++20", "-fsyntax-only", "-Wno-unused", "-x", "c++", "-"]
    if subprocess.run(command, input=program, encoding="utf-8", check=False).returncode != 0:
        sys.exit("a line of examples/README.md does not compile")
    print(f"{cells} lines compile")


if __name__ == "__main__":
    main()
