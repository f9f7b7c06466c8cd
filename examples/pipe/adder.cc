// A service at the other end of a pipe: it adds pairs of numbers until nobody can ask any more.
#include <commonhold/commonhold.h>

#include <iostream>
#include <utility>

using namespace commonhold;

int main() {
  Pipe pipe;
  Process adder([&] {
    pipe.first.close();  // else this process itself would keep the pipe open, and the end would never come
    int answered = 0;
    try {
      for (;;) {
        const auto [a, b] = pipe.second.recv<std::pair<int, int>>();
        pipe.second.send(a + b);
        ++answered;
      }
    } catch (const EndOfFile&) {
      std::cout << "the adder ends after " << answered << " answers" << std::endl;
    }
  });
  adder.start();
  pipe.second.close();

  for (const auto& [a, b] : {std::pair(10, 20), std::pair(1, 2), std::pair(-5, 5)}) {
    pipe.first.send(std::pair(a, b));
    std::cout << a << " + " << b << " = " << pipe.first.recv<int>() << '\n';
  }
  std::cout.flush();
  pipe.first.close();  // the last writer: the adder's recv ends
  adder.join();
  std::cout << "exit code " << adder.exitcode().value_or(-1) << '\n';
}
