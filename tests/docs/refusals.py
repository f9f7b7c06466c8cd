#!/usr/bin/env python3
"""What a compiler says to programs that guess wrong: a sentence that says what to write, in a few lines.

    tests/docs/refusals.py [--compiler "g++"] [--lines] FOLDER...     folders with the public headers

--lines prints how many lines each error takes, and ends.
"""
import argparse
import shlex
import subprocess
import sys

STORE = "values of this type cannot be stored in shared memory: specialise commonhold::Codec<T> for it"
# The program's main, what the compiler has to say, and how many lines that may take.
PROGRAMS = [
    ("a place as a variable", 'auto before = d["a"]; std::cout << before;', "a place: write its type, not auto", 12),
    ("a place as a value", 'auto before = d["a"]; int n = before; return n;', "a place: write its type, not auto", 12),
    ("find() as an iterator", 'auto it = d.find("a"); return it != d.end();', "find() gives an optional", 12),
    (
        "a pool's lambda with captures",
        "Pool pool(2); int n = 3; pool.map([&](int x) { return x * n; }, std::vector{1});",
        "a pool's workers cannot run this callable: it has captures or state",
        20,
    ),
    ("a struct with a text in a dict", "auto p = manager.dict<std::string, Plain>(); p[\"a\"] = {};", STORE, 20),
    ("the same in a list of vectors", "auto p = manager.list<std::vector<Plain>>(); p.push_back({});", STORE, 20),
    ("a pointer in a queue", "auto q = manager.queue<const char*>(); q.put(\"a\");", STORE, 20),
    ("a text in a value", "auto v = manager.value<std::string>(\"a\");", "put what has texts or containers in it into a Dict", 20),
    ("an unordered set as a key", "auto k = manager.dict<std::unordered_set<int>, int>();", "cannot be keys", 20),
    # g++ clears padding; a clang++ that cannot says so.
    ("a struct with padding as a key", "auto k = manager.dict<Padded, int>();", "cannot be a key with this compiler", 20),
    ("a struct with a text in a pipe", "Pipe p; p.first.send(Plain());", "specialisation of commonhold::Codec", 25),
    ("a struct with a text for a pool", "Pool(1).apply([](Plain) {}, Plain());", "the arguments need a stored form", 25),
]
START = """#include <commonhold/commonhold.h>
#include <iostream>
#include <unordered_set>
using namespace commonhold;
struct Plain { std::string text; };
struct Padded { char letter; int number; };
int main() {
  Manager manager;
  auto d = manager.dict<std::string, int>({{"a", 1}});
"""


def errors_of(command, program):
    return subprocess.run(command, input=program, capture_output=True, text=True).stderr


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--compiler", default="g++")
    parser.add_argument("--lines", action="store_true")
    parser.add_argument("folders", nargs="+")
    options = parser.parse_args()
    compiler = [*shlex.split(options.compiler), *(f"-I{folder}" for folder in options.folders), "-fsyntax-only"]
    compiler += ["-x", "c++", "-"]

    wrong = []
    # clang names every file on the way, and says more of each instantiation.
    longer = 2 if "clang" in options.compiler else 1
    warnings = "-std=c++20 -Wall -Wextra -Wshadow -Wpedantic".split()
    noisy = errors_of([*compiler, *warnings], f"{START}  auto l = manager.list({{1}}); l.pop_back(); Pool(2).apply([] {{}});\n}}\n")
    if noisy:
        wrong.append(f"the headers are not free of warnings:\n{noisy[:4000]}")
    older = "Commonhold needs C++20: compile with -std=c++20 or a later one"
    runs = [(f"C++17, {header}", "-std=c++17", f"#include <commonhold/{header}.h>\n", older, 14)
            for header in ("commonhold", "dict", "pool", "errors", "codec", "server")]
    runs += [(what, "-std=c++20", f"{START}  {code}\n}}\n", says, most) for what, code, says, most in PROGRAMS]
    for what, language, program, says, most in runs:
        text = errors_of([*compiler, language], program)
        lines = len(text.splitlines())
        if options.lines:
            print(f"{lines:5} {what}")
        elif "padding" in what and not text:
            continue
        elif says not in text:
            wrong.append(f"{what}: the compiler does not say \"{says}\", but:\n{text[:2000]}")
        elif text.count("error:") > (len(PROGRAMS) if "C++17" in what else 2):
            wrong.append(f"{what}: {text.count('error:')} errors for one mistake:\n{text[:4000]}")
        elif lines > most * longer:
            wrong.append(f"{what}: {lines} lines, more than {most * longer}:\n{text[:4000]}")
    if wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main()
