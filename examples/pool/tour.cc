// What a pool can do: apply, apply_async, map, imap, callbacks, errors.
#include <commonhold/commonhold.h>
#include <unistd.h>

#include <iostream>
#include <numeric>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

using namespace commonhold;
using namespace std::chrono_literals;

namespace {

int square(int n) {
  return n * n;
}

int worker_after_a_while(int) {
  std::this_thread::sleep_for(2ms);
  return getpid();
}

int fail(int n) {
  throw std::invalid_argument("cannot work on " + std::to_string(n));
}

void print(const char* what, const std::vector<int>& values) {
  std::cout << what;
  for (const int value : values) std::cout << ' ' << value;
  std::cout << '\n';
}

}  // namespace

int main() {
  std::vector<int> numbers(10);
  std::iota(numbers.begin(), numbers.end(), 0);
  const int parent = getpid();
  Pool pool(5);

  std::vector<int> results;
  for (const int n : numbers) results.push_back(pool.apply(square, n));
  print("apply, one after the other:", results);

  std::vector<AsyncResult<int>> later;
  for (const int n : numbers) later.push_back(pool.apply_async(square, n));
  results.clear();
  for (auto& result : later) results.push_back(result.get());
  print("apply_async and get:", results);

  print("map:", pool.map(square, numbers));
  results.clear();
  for (const int value : pool.imap(square, numbers)) results.push_back(value);
  print("imap:", results);
  print("with a value of the program's:", pool.map(with_state(std::plus<int>(), 100), numbers));

  const auto pids = pool.map(worker_after_a_while, std::vector<int>(20), 1);
  const std::set<int> workers(pids.begin(), pids.end());
  std::cout << pids.size() << " tasks on at most 5 workers: " << std::boolalpha << (workers.size() <= 5)
            << ", none in the parent: " << !workers.contains(parent) << '\n';

  int called_in = 0, value = 0;
  pool.apply_async(then([&](int n) { called_in = getpid(), value = n; }), square, 9).wait();
  std::cout << "callback in the parent: " << (called_in == parent) << ", with " << value << '\n';

  std::string said;
  pool.apply_async(then([](int) {},
                        [&](std::exception_ptr error) {
                          try {
                            std::rethrow_exception(error);
                          } catch (const std::invalid_argument& refusal) {
                            said = refusal.what();
                          }
                        }),
                   fail, 13)
      .wait();
  std::cout << "error callback: " << said << '\n';

  try {
    pool.map(fail, numbers);
  } catch (const std::invalid_argument& error) {
    std::cout << "map throws what a task threw: " << error.what() << '\n';
  }
  pool.close();
  pool.join();
}
