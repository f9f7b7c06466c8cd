#!/usr/bin/env python3
"""Fails when an #include goes against the arrows of the layers.

usage: check_includes.py [TREE]        (TREE: the repository, by default the one that holds this script)

The rules:
  arrows    a layer includes itself and the layers that its arrows name (ARROWS below), and nothing else of ours
  public    a header under */include/commonhold/ includes standard C++ headers and <commonhold/...> alone
  kj        kj and Cap'n Proto (generated headers too) appear in rpc/, manager/ and the .cc files of proxy/ alone
  boost     Boost appears in shm/ alone
  paths     our internal headers are included as "layer/name.h", from the root

Each offence is one line, `file:line: rule: sentence`; the status is 1 when there is one. Only what is written in a file is
judged, not what its includes include: the header that passes it on is judged itself.
"""

import re
import sys
from pathlib import Path
from typing import Iterator, NamedTuple, Optional

# Layer -> what it may include of ours. A layer's name is its internal headers, "layer/include" its public ones.
ARROWS = {
    "shm": {"shm"},
    "rpc": {"rpc", "shm"},
    "manager": {"manager", "manager/include", "rpc", "shm"},
    "proxy": {"proxy", "proxy/include", "rpc", "shm"},
    "process": {"process", "process/include", "proxy/include"},
    "cli": {"cli", "proxy", "proxy/include", "manager", "manager/include"},
    # Public headers see public headers.
    "proxy/include": {"proxy/include"},
    "process/include": {"process/include", "proxy/include"},
    "manager/include": {"manager/include", "proxy/include", "process/include"},
}
# Brings texts of objects to a program that has a formatting library.
FORMATS_PUBLIC = ("proxy/include/commonhold/format.h",)
# The one public header for programs that use kj themselves.
KJ_PUBLIC = ("manager/include/commonhold/server_on_loop.h",)
# Their files may include anything; they are listed because others may not include them.
FREE = ("examples", "bench", "tests", "docs")

STANDARD_HEADERS = frozenset(
    """
    algorithm any array atomic barrier bit bitset charconv chrono codecvt compare complex concepts condition_variable
    coroutine deque exception execution filesystem format forward_list fstream functional future initializer_list iomanip
    ios iosfwd iostream istream iterator latch limits list locale map memory memory_resource mutex new numbers numeric
    optional ostream queue random ranges ratio regex scoped_allocator semaphore set shared_mutex source_location span
    sstream stack stdexcept stop_token streambuf string string_view strstream syncstream system_error thread tuple
    type_traits typeindex typeinfo unordered_map unordered_set utility valarray variant vector version
    cassert cctype cerrno cfenv cfloat cinttypes climits clocale cmath csetjmp csignal cstdarg cstddef cstdint cstdio
    cstdlib cstring ctime cuchar cwchar cwctype
    """.split()
)

INCLUDE = re.compile(r'^\s*#\s*include(?:_next)?\s*([<"])([^>"]+)[>"]')
COMMENT_OR_TEXT = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"', re.DOTALL)


class Include(NamedTuple):
    line: int
    quoted: bool
    path: str


class Offence(NamedTuple):
    file: str
    line: int
    rule: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.rule}: {self.sentence}"


def without_comments(text: str) -> str:
    """The text with comments blanked, its lines kept; an include's "path" stays."""

    def blank(match: re.Match) -> str:
        found = match.group()
        return found if found.startswith('"') else "\n" * found.count("\n")

    return COMMENT_OR_TEXT.sub(blank, text)


def includes_of(file: Path) -> Iterator[Include]:
    text = without_comments(file.read_text(encoding="utf-8"))
    for number, line in enumerate(text.splitlines(), start=1):
        if match := INCLUDE.match(line):
            yield Include(number, match.group(1) == '"', match.group(2))


def part_of(path: str) -> Optional[str]:
    """The key of ARROWS, or the free folder, that a path from the root belongs to."""
    folders = path.split("/")[:-1]
    if not folders:
        return None
    if len(folders) > 1 and folders[1] == "include" and f"{folders[0]}/include" in ARROWS:
        return f"{folders[0]}/include"
    return folders[0] if folders[0] in ARROWS or folders[0] in FREE else None


def is_rpc_library(path: str) -> bool:
    return path.startswith(("kj/", "capnp/")) or path.endswith(".capnp.h")


class Checker:
    def __init__(self, tree: Path):
        self.tree = tree

    def target_of(self, include: Include) -> Optional[str]:
        """Which part of ours is included; None when it is not ours."""
        if include.path.startswith("commonhold/"):
            for part in ARROWS:
                if part.endswith("/include") and (self.tree / part / include.path).exists():
                    return part
            return None
        return part_of(include.path)

    def check_include(self, file: str, part: str, include: Include) -> Iterator[Offence]:
        def offence(rule: str, sentence: str) -> Offence:
            return Offence(file, include.line, rule, sentence)

        path = include.path
        target = self.target_of(include)

        if part.endswith("/include"):
            if path.startswith("commonhold/"):
                if target is None:
                    yield offence("public", f"there is no public header <{path}>")
                elif target not in ARROWS[part]:
                    yield offence("arrows", f"{part} may not include <{path}> of {target}")
            elif (
                path not in STANDARD_HEADERS
                and not (file in KJ_PUBLIC and is_rpc_library(path))
                and not (file in FORMATS_PUBLIC and path == "fmt/format.h")
            ):
                yield offence(
                    "public", f"a public header may include standard C++ and <commonhold/...> alone, not {path}"
                )
            return

        if include.quoted and "/" not in path and (self.tree / file).parent.joinpath(path).exists():
            yield offence("paths", f'include it from the root: "{Path(file).parent.as_posix()}/{path}"')
        if ".." in path.split("/"):
            yield offence("paths", f"include it from the root, not as {path}")
        if target is not None and target not in ARROWS[part]:
            yield offence("arrows", f"{part} may include {', '.join(sorted(ARROWS[part]))}, not {path} of {target}")
        if path.startswith("commonhold/") and target is None:
            yield offence("public", f"there is no public header <{path}>")
        if is_rpc_library(path) and not (part in ("rpc", "manager") or (part == "proxy" and file.endswith(".cc"))):
            yield offence("kj", f"{path} belongs in rpc/, manager/ and the .cc files of proxy/ alone")
        if path.startswith("boost/") and part != "shm":
            yield offence("boost", f"{path} belongs in shm/ alone")

    def offences(self) -> Iterator[Offence]:
        for file in self.files():
            name = file.relative_to(self.tree).as_posix()
            part = part_of(name)
            assert part is not None
            for include in includes_of(file):
                yield from self.check_include(name, part, include)

    def files(self) -> Iterator[Path]:
        """The C++ files of the layers."""
        for layer in sorted(part for part in ARROWS if "/" not in part):
            for file in sorted((self.tree / layer).rglob("*")):
                if file.suffix in (".h", ".cc", ".hpp", ".cpp") and file.is_file():
                    yield file


def main() -> int:
    tree = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent)
    checker = Checker(tree)
    count = sum(1 for _ in checker.files())
    if not count:
        print(f"no C++ file of a layer is in {tree}")
        return 1
    offences = list(checker.offences())
    for offence in offences:
        print(offence)
    print(f"{count} files, {len(offences)} offences")
    return 1 if offences else 0


if __name__ == "__main__":
    sys.exit(main())
