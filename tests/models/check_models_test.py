#!/usr/bin/env python3
"""check_models.py refuses a model that is wrong, that proves nothing, or that the source has left behind."""
import pathlib
import sys
import tempfile

import check_models

HERE = pathlib.Path(__file__).resolve().parent
GOOD = (HERE / "unname.pml").read_text(encoding="utf-8").replace('"tso.inc"', f'"{HERE}/tso.inc"')


def verdict(text):
    """"" for a model that is accepted, else why not."""
    with tempfile.TemporaryDirectory(prefix="commonhold-model-") as folder:
        path = pathlib.Path(folder) / "unname.pml"
        path.write_text(text, encoding="utf-8")
        try:
            check_models.check(check_models.Model(path))
        except check_models.Failure as failure:
            return str(failure)
    return ""


def changed(before, after):
    assert before in GOOD, before
    return GOOD.replace(before, after)


NOTE = "//   segment.note_garbage()\n"
CASES = [
    ("as it is", GOOD, ""),
    ("an assertion that fails", changed("assert(destroyed)", "assert(!destroyed)"), "it has an error"),
    ("an actor that waits for ever", changed("end_idle:", "idle:"), "it has an error"),
    ("a fence that is not needed", changed("must fail: ", "must fail: NO_FENCE "), "no error without NO_FENCE"),
    ("a statement that is gone", changed("load_word(record.name)", "load_word(record.nickname)"), "there is no"),
    (
        "statements in another order",
        changed(NOTE, "").replace("//   found->compare", NOTE + "//   found->compare"),
        "not behind the one before",
    ),
    ("a function that is gone", changed("unname_object(ThreadContext", "unname_thing("), "has no function"),
    (
        "a statement that nothing reaches",
        changed("     cell = 0\n", "     if\n     :: cell == 7 -> noted = true\n     :: else -> cell = 0\n     fi\n"),
        "nothing reaches",
    ),
    ("no source", "// must fail: X\n", "names no source"),
]


def main():
    failed = False
    for name, text, expected in CASES:
        said = verdict(text)
        if (expected == "") != (said == "") or expected not in said:
            print(f"{name}: expected \"{expected}\", got \"{said[:300]}\"", file=sys.stderr)
            failed = True
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
