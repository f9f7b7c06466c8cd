// Tutorial 2: a server that starts a process for each client, and its client.
#include <commonhold/commonhold.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cctype>
#include <exception>
#include <functional>
#include <iostream>
#include <string>
#include <utility>

#include "support/tcp_socket.h"
#include "support/textbook_program.h"

using namespace commonhold;
using namespace commonhold::test;

namespace {

// Says everything back in capitals until its client has gone.
void talk(TcpSocket& client) {
  for (;;) {
    try {
      std::string words = client.recv();
      if (words.empty()) break;
      std::transform(words.begin(), words.end(), words.begin(), [](unsigned char c) { return std::toupper(c); });
      client.send(words);
    } catch (const std::exception&) {
      break;
    }
  }
}

void serve_for_ever(TcpSocket& server) {
  for (;;) {
    TcpSocket client = server.accept();
    Process process(talk, std::move(client));
    process.start();
  }
}

std::string answer_to(const std::string& words, const TcpSocket& connection) {
  connection.send(words);
  return connection.recv();
}

}  // namespace

TEST_CASE("a server that starts a process for each client and drops it answers the second beside the first") {
  const auto run = program([] {
    TcpSocket server = TcpSocket::listening();
    Process process(serve_for_ever, std::ref(server));
    process.start();
    {
      const TcpSocket first = TcpSocket::connected_to(server.port());
      say(answer_to("first", first));
      const TcpSocket second = TcpSocket::connected_to(server.port());
      say(answer_to("second", second));
      say(answer_to("first again", first));
    }
    say(answer_to("third", TcpSocket::connected_to(server.port())));
    process.terminate();
    process.join();
  });
  CHECK(run.ended_well());
  CHECK(run.output == "FIRST\nSECOND\nFIRST AGAIN\nTHIRD\n");
}

TEST_CASE("a client prints the server's answer to each line that is typed, and sends no empty ones") {
  const auto run = program({.input = "hello\n\nhow are you\n"}, [] {
    TcpSocket server = TcpSocket::listening();
    Process process(serve_for_ever, std::ref(server));
    process.start();
    {
      const TcpSocket client = TcpSocket::connected_to(server.port());
      for (std::string line; std::getline(std::cin, line);) {
        if (line.empty()) continue;
        say(answer_to(line, client));
      }
    }
    process.terminate();
    process.join();
  });
  CHECK(run.ended_well());
  CHECK(run.output == "HELLO\nHOW ARE YOU\n");
}
