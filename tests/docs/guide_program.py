#!/usr/bin/env python3
"""Makes one program of the C++ blocks of a page: each block becomes a function, run in turn.

Usage: guide_program.py PAGE.md OUTPUT.cc
Blocks that open with ```cpp norun are left out.
"""
import re
import sys

HEAD = """// Made from {page} by guide_program.py.
#undef NDEBUG
#include <commonhold/commonhold.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cassert>
#include <chrono>
#include <cstdio>
#include <map>
#include <mutex>
#include <shared_mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

using namespace commonhold;
using namespace std::chrono_literals;

"""


def main() -> int:
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    page, output = sys.argv[1:]
    with open(page, encoding="utf-8") as source:
        blocks = re.findall(r"^```cpp\n(.*?)^```$", source.read(), re.MULTILINE | re.DOTALL)
    if not blocks:
        print(f"{page}: no C++ blocks that can be run", file=sys.stderr)
        return 1
    with open(output, "w", encoding="utf-8") as program:
        program.write(HEAD.format(page=page.rsplit("/", 1)[-1]))
        for number, block in enumerate(blocks):
            program.write(f"static void block_{number}([[maybe_unused]] Manager& manager) {{\n{block}}}\n\n")
        program.write("int main() {\n  Manager manager;\n")
        for number in range(len(blocks)):
            program.write(f"  block_{number}(manager);\n")
        program.write(f'  std::printf("%d blocks ran\\n", {len(blocks)});\n}}\n')
    return 0


if __name__ == "__main__":
    sys.exit(main())
