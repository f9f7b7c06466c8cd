#!/usr/bin/env python3
"""Makes one program of the C++ blocks of a page: each block becomes a function, run in turn, in an empty folder. Blocks with a
main() among them are one program as they stand.

Usage: guide_program.py PAGE.md OUTPUT.cc
Blocks that open with ```cpp norun are left out. A ```python block is run by python3 beside the C++ block after it, from its
beginning again as long as nobody listens at the address that it connects to.
"""
import re
import sys

HEAD = """// Made from {page} by guide_program.py.
#undef NDEBUG
#include <commonhold/commonhold.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cassert>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <map>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

using namespace commonhold;
using namespace std::chrono_literals;

// A Python program, which must end well.
struct PythonProgram {{
  explicit PythonProgram(const char* text) : pid(fork()) {{
    if (pid != 0) return;
    execl("{python}", "python3", "-c", R"--(
import sys, time
for _ in range(600):
    try:
        exec(sys.argv[1], {{}})
        break
    except (FileNotFoundError, ConnectionRefusedError):
        time.sleep(0.05)
else:
    sys.exit("nobody listened")
)--", text, nullptr);
    _exit(127);
  }}
  ~PythonProgram() {{
    int status = -1;
    assert(waitpid(pid, &status, 0) == pid && status == 0);
  }}
  const pid_t pid;
}};

"""


def main() -> int:
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    page, output = sys.argv[1:]
    with open(page, encoding="utf-8") as source:
        found = re.findall(r"^```(cpp|python)\n(.*?)^```$", source.read(), re.MULTILINE | re.DOTALL)
    blocks, python = [], ""
    for language, text in found:
        if language == "python":
            python += f'PythonProgram python_program(R"--({text})--");\n'
        else:
            blocks.append(python + text)
            python = ""
    if not blocks:
        print(f"{page}: no C++ blocks that can be run", file=sys.stderr)
        return 1
    with open(output, "w", encoding="utf-8") as program:
        program.write(HEAD.format(page=page.rsplit("/", 1)[-1], python=sys.executable))
        if any("int main(" in block for block in blocks):
            program.write("\n".join(blocks))
            return 0
        for number, block in enumerate(blocks):
            program.write(f"static void block_{number}([[maybe_unused]] Manager& manager) {{\n{block}}}\n\n")
        program.write("int main() {\n  Manager manager;\n  char folder[] = \"/tmp/commonhold-page-XXXXXX\";\n")
        program.write("  if (mkdtemp(folder) == nullptr || chdir(folder) != 0) return 1;\n")
        for number in range(len(blocks)):
            program.write(f"  block_{number}(manager);\n")
        program.write("  assert(rmdir(folder) == 0);\n")
        program.write(f'  std::printf("%d blocks ran\\n", {len(blocks)});\n}}\n')
    return 0


if __name__ == "__main__":
    sys.exit(main())
