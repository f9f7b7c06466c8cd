// The other program of token_test.cc: knows nothing but the tokens in its arguments.
#include <commonhold/commonhold.h>
#include <signal.h>

#include <iostream>
#include <mutex>

using namespace commonhold;

int main(int count, char** arguments) {
  try {
    auto counts = attach<Dict<std::string, std::int64_t>>(arguments[1]);
    auto list = attach<List<std::string>>(arguments[2]);
    auto value = attach<Value<double>>(arguments[3]);
    auto array = attach<Array<int>>(arguments[4]);
    auto lock = attach<Lock>(arguments[5]);
    std::scoped_lock guard(lock);
    if (count > 6) raise(SIGKILL);
    counts["a"] += 41;
    list.push_back("from the second program");
    value += 1;
    array[2] = 7;
    return 0;
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
}
