// A program that knows Commonhold only from its installed headers; tests/install_test.sh builds and runs it.
#include <commonhold/version.h>

#include <iostream>

int main() {
  std::cout << "runs with commonhold " << commonhold::version() << '\n';
  return commonhold::version().empty() ? 1 : 0;
}
