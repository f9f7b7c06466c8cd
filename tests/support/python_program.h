// A Python program beside a test, run by /usr/bin/python3.
#pragma once

#include <commonhold/connection.h>
#include <commonhold/listener.h>
#include <commonhold/process.h>
#include <unistd.h>

#include <initializer_list>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace commonhold::test {

// As a Python literal.
inline std::string python_text(const std::string& text) {
  std::string literal = "'";
  for (const char byte : text) literal += byte == '\0' ? std::string("\\0") : std::string(1, byte);
  return literal + "'";
}
inline std::string python_address(const Address& address) {
  if (!address.is_tcp()) return python_text(address.path());
  return std::string("('").append(address.host()).append("', ").append(std::to_string(address.port())).append(")");
}

// The program's text comes after these lines; `arguments` are literals, and become its argument[0] and so on.
inline constexpr const char* kPythonHead = R"(
import ast, sys
import multiprocessing.connection as connection
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Listener
argument = [ast.literal_eval(text) for text in sys.argv[1:]]
)";

class PythonProgram {
 public:
  explicit PythonProgram(const std::string& text, const std::vector<std::string>& arguments = {})
      : process_([program = kPythonHead + text, arguments] {
          std::vector<char*> words;
          const std::string python = "/usr/bin/python3", option = "-c";
          for (const std::string* word : {&python, &option, &program})
            words.push_back(const_cast<char*>(word->c_str()));
          for (const std::string& word : arguments) words.push_back(const_cast<char*>(word.c_str()));
          words.push_back(nullptr);
          execv(words[0], words.data());
        }) {
    process_.start();
  }
  ~PythonProgram() {
    process_.kill();
    process_.join();
  }
  PythonProgram(const PythonProgram&) = delete;
  PythonProgram& operator=(const PythonProgram&) = delete;

  // 0: every assertion held; 1: an exception ended it, and is on stderr.
  std::optional<int> status() {
    process_.join();
    return process_.exitcode();
  }

 private:
  Process process_;
};

// A Python program that has connected to the test: `peer` there is connected to peer() here.
class PythonPeer {
 public:
  explicit PythonPeer(const std::string& text, std::vector<std::string> arguments = {})
      : listener_({}, {.protocol = Protocol::kPython}),
        program_("peer = Client(argument.pop(0))\n" + text, with_address(std::move(arguments))),
        peer_(listener_.accept()) {}

  Connection& peer() { return peer_; }
  std::optional<int> status() { return program_.status(); }

 private:
  std::vector<std::string> with_address(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), python_address(listener_.address()));
    return arguments;
  }

  Listener listener_;
  PythonProgram program_;
  Connection peer_;
};

}  // namespace commonhold::test
