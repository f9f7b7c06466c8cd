#!/usr/bin/env python3
"""The examples in the comments at the top of the public headers compile.

Usage: header_examples.py REPOSITORY COMPILER...   the compiler is told to look at the syntax alone

An example is an indented block of a header's first comment, unless it is a table: a table's lines have a "|" before any
";". A block that begins with a type, a template or a function stands at namespace scope, every other one in a function,
which has what SETTING gives the header. "..." stands for any code.
"""
import pathlib
import re
import subprocess
import sys

HEAD = """// Made by header_examples.py: the examples of the public headers. Compiled, never run.
#include <commonhold/commonhold.h>
#include <commonhold/server.h>
#include <commonhold/server_on_loop.h>
#include <kj/async-io.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <cassert>
#include <chrono>
#include <iostream>
#include <map>
#include <mutex>
#include <set>
#include <shared_mutex>
#include <stop_token>
#include <string>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <vector>

using namespace commonhold;
using namespace std::chrono_literals;
"""

MANAGER = "commonhold::Manager manager;"
COUNTS = MANAGER + ' auto counts = manager.dict<std::string, std::int64_t>({{"count", 100}});'
SQUARE = "auto square = [](int n) { return n * n; }; std::vector<int> numbers{1, 2, 3};"

# What the function with a header's examples begins with.
SETTING = {
    "array.h": MANAGER,
    "as_completed.h": "commonhold::Pool pool(4); using Page = std::string; std::vector<std::string> urls; "
    "auto fetch = [](std::string url) { return url; }; auto show = [](const std::string&) {}; "
    "auto quick = pool.apply_async([] {}), thorough = quick;",
    "attach.h": COUNTS,
    "barrier.h": MANAGER + " int round = 0;",
    "condition.h": MANAGER + " auto items = manager.list<int>();",
    "custom.h": MANAGER,
    "dict.h": MANAGER,
    "event.h": MANAGER,
    "file_descriptor.h": MANAGER + " commonhold::Pipe pipe; commonhold::Pool pool(1); int listening = 0;"
    " auto write_line = [](const commonhold::FileDescriptor&, std::string) {};"
    " auto sockets = manager.queue<commonhold::FileDescriptor>();",
    "list.h": MANAGER,
    "listener.h": 'std::string key = "secret";',
    "lock.h": MANAGER + " auto repair = [] {};",
    "any.h": MANAGER,
    "name_space.h": MANAGER,
    "pool.h": "auto render = [](int page, int width) { return page * width; }; int page = 1;",
    "pool_callables.h": COUNTS + " std::map<int, int> table; int factor = 2;" + SQUARE
    + " using Table = std::map<int, int>;",
    "pool_plan.h": "commonhold::Pool pool(4); auto render = [](int page) { return page; }; int page = 1;" + SQUARE,
    "priority_queue.h": MANAGER,
    "process.h": COUNTS,
    "queue.h": MANAGER,
    "rlock.h": MANAGER,
    "rwlock.h": MANAGER,
    "semaphore.h": MANAGER,
    "set.h": MANAGER + ' auto others = manager.set<std::string>({"b"});',
    "stop.h": MANAGER + " auto orders = manager.queue<int>(); auto handle = [](int) {};",
    "value.h": MANAGER,
    "wait.h": MANAGER + " auto stop_event = manager.event(); auto orders = manager.queue<int>(); commonhold::Pipe pipe; auto &first = pipe.first, &second = pipe.second; commonhold::Process worker([] {});",
    "watch.h": MANAGER + ' auto settings = manager.dict<std::string, std::string>(); auto use = [](std::string) {};'
    " auto reload = [] {}; int epoll = 0; epoll_event event{};",
}
# What stands before a header's examples at namespace scope.
BEFORE = {
    "custom.h": "struct Counter { explicit Counter(int) {} int add(int n) { return n; } };",
}
NAMESPACE_SCOPE = re.compile(r"(template|class|struct|void|int main)\b")


def first_comment(text: str):
    for line in text.splitlines():
        if not line.startswith("//"):
            return
        yield line[2:]


def examples(text: str):
    """The indented blocks of a header's first comment, tables left out."""
    block = []
    for line in [*first_comment(text), ""]:
        if line.startswith("   "):
            block.append(line[3:])
        elif block:
            yield block
            block = []


def is_table(block) -> bool:
    return all(re.match(r"[^;]*[|`]|- |  |[A-Z]\w+$", line) for line in block)


def code_of(block) -> str:
    lines = []
    for line in block:
        line = re.sub(r"(?<![.\w])\.\.\.(?=\s*(//|$))", "{}", line) if re.search(r"\)\s+\.\.\.", line) else line
        lines.append(line.replace("...", ""))
    return "\n".join(lines)


def program_of(path: pathlib.Path):
    """C++ for one header's examples, and how many there are."""
    outside, inside = [], []
    for block in examples(path.read_text(encoding="utf-8")):
        if is_table(block):
            continue
        where = outside if NAMESPACE_SCOPE.match(block[0]) else inside
        where.append(code_of(block).replace("int main()", "[[maybe_unused]] static void program()"))
    name = path.stem
    parts = [f"\n// ---- {path.name}"]
    specialised = [code for code in outside if code.startswith("template <>")]
    parts += [code for code in outside if code not in specialised and specialised]
    parts += specialised
    parts.append(f"namespace example_{name} {{\n{BEFORE.get(path.name, '')}")
    parts += [code for code in outside if not specialised]
    if inside:
        body = "\n{\n".join(inside) + "\n" + "}" * (len(inside) - 1)  # a name may be used again in a later block
        parts.append(f"[[maybe_unused]] static void example() {{\n{SETTING.get(path.name, '')}\n{body}\n}}")
    parts.append("}")
    return "\n".join(parts), len(outside) + len(inside)


def main() -> int:
    if len(sys.argv) < 3:
        print(__doc__, file=sys.stderr)
        return 2
    repository, compiler = pathlib.Path(sys.argv[1]), sys.argv[2:]
    folders = [repository / layer / "include" for layer in ("proxy", "process", "manager")]
    headers = sorted(header for folder in folders for header in (folder / "commonhold").glob("*.h"))
    text, total = HEAD, 0
    for header in headers:
        code, count = program_of(header)
        if count:
            text += code + "\n"
            total += count
    unused = sorted(set(SETTING) - {header.name for header in headers})
    if unused or not total:
        print(f"no header {unused}" if unused else "no example was found", file=sys.stderr)
        return 1
    command = [*compiler, *(f"-I{folder}" for folder in folders), "-std=c++20", "-fsyntax-only", "-x", "c++", "-"]
    if subprocess.run(command, input=text, encoding="utf-8", check=False).returncode != 0:
        numbered = "\n".join(f"{number:5} {line}" for number, line in enumerate(text.splitlines(), 1))
        print(f"an example of a public header does not compile; this was compiled:\n{numbered}")
        return 1
    print(f"{total} examples compile")
    return 0


if __name__ == "__main__":
    sys.exit(main())
