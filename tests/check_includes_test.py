#!/usr/bin/env python3
"""Tests of check_includes.py: a small tree with each offence in it, which must be found, and clean ones, which must not."""

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

SCRIPT = Path(__file__).resolve().parent / "check_includes.py"

CLEAN = {
    "shm/word.h": "#include <cstdint>\n#include <boost/interprocess/mapped_region.hpp>\n",
    "shm/word.cc": '#include "shm/word.h"\n#include <sys/mman.h>\n',
    "rpc/address.h": '#include "shm/word.h"\n#include <kj/async.h>\n',
    "manager/server.cc": "#include <commonhold/server.h>\n"
    '#include "rpc/address.h"\n#include "rpc/protocol.capnp.h"\n#include <capnp/rpc.h>\n',
    "manager/include/commonhold/server.h": "#include <commonhold/dict.h>\n#include <memory>\n",
    "proxy/link.h": '#include "rpc/address.h"\n',
    "proxy/dict.cc": '#include <commonhold/dict.h>\n#include "proxy/link.h"\n#include <kj/async.h>\n#include <fmt/format.h>\n',
    "proxy/include/commonhold/dict.h": "#include <string>\n#include <commonhold/error.h>\n",
    "proxy/include/commonhold/error.h": "#include <stdexcept>\n",
    "process/include/commonhold/process.h": "#include <commonhold/dict.h>\n",
    "process/process.cc": "#include <commonhold/process.h>\n#include <unistd.h>\n",
    "cli/main.cc": '#include <commonhold/dict.h>\n#include "manager/x.h"\n#include <CLI/CLI.hpp>\n',
    "tests/any_test.cc": '#include "manager/x.h"\n#include <kj/async.h>\n',
}


class CheckIncludes(unittest.TestCase):
    def check(self, **changes: str) -> "tuple[int, str]":
        """Status and output for the clean tree with a line appended to files (`shm__word_h` stands for shm/word.h)."""
        with tempfile.TemporaryDirectory() as folder:
            tree = dict(CLEAN)
            for key, line in changes.items():
                name = key.replace("__", "/")
                name = name[: name.rindex("_")] + "." + name[name.rindex("_") + 1 :]
                tree[name] = tree.get(name, "") + line + "\n"
            for name, text in tree.items():
                file = Path(folder, name)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text, encoding="utf-8")
            run = subprocess.run([sys.executable, SCRIPT, folder], capture_output=True, text=True, check=False)
            return run.returncode, run.stdout + run.stderr

    def assert_caught(self, where: str, **changes: str) -> None:
        status, output = self.check(**changes)
        self.assertEqual(status, 1, output)
        self.assertIn(where, output)
        self.assertIn(", 1 offences", output)

    def test_a_clean_tree_passes(self):
        status, output = self.check()
        self.assertEqual(status, 0, output)
        self.assertIn("12 files, 0 offences", output)

    def test_an_include_against_the_arrows_is_caught(self):
        self.assert_caught("shm/word.h:3: arrows:", shm__word_h='#include "rpc/address.h"')
        self.assert_caught("rpc/address.h:3: arrows:", rpc__address_h='#include "manager/x.h"')
        self.assert_caught("proxy/dict.cc:5: arrows:", proxy__dict_cc='#include "manager/x.h"')
        self.assert_caught("manager/server.cc:5: arrows:", manager__server_cc='#include "proxy/link.h"')
        self.assert_caught("manager/server.cc:5: arrows:", manager__server_cc="#include <commonhold/dict.h>")
        self.assert_caught("process/process.cc:3: arrows:", process__process_cc='#include "shm/word.h"')
        self.assert_caught("process/process.cc:3: arrows:", process__process_cc='#include "proxy/link.h"')
        self.assert_caught("cli/main.cc:4: arrows:", cli__main_cc='#include "shm/word.h"')
        self.assert_caught("shm/word.cc:3: arrows:", shm__word_cc='#include "tests/support/x.h"')

    def test_a_public_header_that_lets_something_internal_out_is_caught(self):
        for line in (
            "#include <boost/version.hpp>",
            "#include <kj/async.h>",
            "#include <fmt/format.h>",
            "#include <sodium.h>",
            "#include <sys/mman.h>",
            "#include <unistd.h>",
            '#include "shm/word.h"',
            '#include "proxy/link.h"',
            "#include <commonhold/absent.h>",
        ):
            self.assert_caught("proxy/include/commonhold/dict.h:3: public:", proxy__include__commonhold__dict_h=line)
        self.assert_caught(
            "manager/include/commonhold/server.h:3: public:",
            manager__include__commonhold__server_h='#include "shm/word.h"',
        )

    def test_proxy_does_not_see_process_nor_the_manager_in_its_public_headers(self):
        for header in ("process", "server"):
            self.assert_caught(
                "proxy/include/commonhold/dict.h:3: arrows:",
                proxy__include__commonhold__dict_h=f"#include <commonhold/{header}.h>",
            )

    def test_libraries_outside_their_layers_are_caught(self):
        self.assert_caught("proxy/link.h:2: kj:", proxy__link_h="#include <kj/async.h>")
        self.assert_caught("proxy/link.h:2: kj:", proxy__link_h='#include "rpc/protocol.capnp.h"')
        self.assert_caught("shm/word.cc:3: kj:", shm__word_cc="#include <capnp/message.h>")
        self.assert_caught("proxy/dict.cc:5: boost:", proxy__dict_cc="#include <boost/version.hpp>")

    def test_an_include_by_a_relative_path_is_caught(self):
        self.assert_caught("shm/word.cc:3: paths:", shm__word_cc='#include "word.h"')
        self.assert_caught("shm/word.cc:3: paths:", shm__word_cc='#include "../shm/word.h"')

    def test_what_is_in_a_comment_is_no_include(self):
        status, output = self.check(shm__word_h='// #include "rpc/address.h"\n/*\n#include "rpc/address.h"\n*/')
        self.assertEqual(status, 0, output)

    def test_a_comment_does_not_shift_the_line_numbers(self):
        self.assert_caught("shm/word.h:5: arrows:", shm__word_h='/* two\nlines */\n#include "rpc/address.h"')

    def test_a_tree_without_files_fails(self):
        with tempfile.TemporaryDirectory() as folder:
            run = subprocess.run([sys.executable, SCRIPT, folder], capture_output=True, text=True, check=False)
        self.assertEqual(run.returncode, 1, run.stdout)


if __name__ == "__main__":
    unittest.main()
