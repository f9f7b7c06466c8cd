// The other program of token_test.cc: knows nothing but the tokens in its arguments. Without arguments, the program of
// manager_test.cc that has no `commonhold` command.
#include <commonhold/commonhold.h>
#include <signal.h>

#include <iostream>
#include <mutex>

using namespace commonhold;

namespace {

// Makes managers where no `commonhold` command is to be found.
int stand_alone() {
  Manager manager;
  auto counts = manager.dict<std::string, std::int64_t>({{"a", 1}});
  counts["a"] += 41;
  auto stock = Manager::start({.name = "stock"});
  stock.list<int>(named("list")).push_back(7);
  const bool found = Manager::connect("stock").open<List<int>>("list").at(0) == 7;
  stock.shutdown();
  return found && counts.at("a") == 42 ? 0 : 1;
}

}  // namespace

int main(int count, char** arguments) {
  try {
    if (count == 1) return stand_alone();
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
