"""Every rule of docs/semantics/ and every program of docs/textbooks.md names tests that exist, or says why it does not apply.

usage: semantics_test.py REPOSITORY
"""

import pathlib
import re
import sys


def test_names(repository: pathlib.Path) -> dict:
    """The files that have a test of each name."""
    names = {}
    for path in (repository / "tests").rglob("*.cc"):
        text = path.read_text(encoding="utf-8")
        for match in re.finditer(r'\bTEST_CASE\(\s*((?:"(?:[^"\\]|\\.)*"\s*)+)', text):
            name = "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', match.group(1)))
            names.setdefault(name, []).append(str(path.relative_to(repository)))
    return names


def rows(page: pathlib.Path):
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("|") and not re.match(r"^\|[-| ]+\|$", line) and not line.startswith("| row"):
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            yield number, cells


def problems(repository: pathlib.Path):
    known = test_names(repository)
    for name, paths in sorted(known.items()):
        if len(paths) > 1:
            yield f'the test name "{name}" stands in {" and in ".join(paths)}: a rule that names it is ambiguous'
    pages = sorted((repository / "docs" / "semantics").glob("*.md"))
    if not pages:
        yield "docs/semantics/ has no page"
    for page in [*pages, repository / "docs" / "textbooks.md"]:
        count = 0
        for number, cells in rows(page):
            count += 1
            where = f"{page.relative_to(repository)}:{number}"
            if len(cells) != 3:
                yield f"{where}: {len(cells)} cells, not 3"
                continue
            claims = re.findall(r'"([^"]+)"', cells[2])
            if not claims and not cells[1].startswith("not applicable"):
                yield f"{where}: no test, and it is not said to be not applicable"
            if not re.match(r"(same|better|not applicable)\b", cells[1]):
                yield f'{where}: "{cells[1]}" says neither same, nor better, nor not applicable'
            for claim in claims:
                if claim not in known:
                    yield f'{where}: there is no test "{claim}"'
        if count == 0:
            yield f"{page.relative_to(repository)}: no row"


def main() -> int:
    found = list(problems(pathlib.Path(sys.argv[1])))
    print("\n".join(found) if found else "every rule has its test")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
