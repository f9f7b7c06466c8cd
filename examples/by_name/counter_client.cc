// The second program: it joins by name and counts in the dict that it finds there.
#include <commonhold/commonhold.h>

#include <iostream>
#include <string>

int main(int argc, char** argv) {
  auto manager = commonhold::Manager::connect(argc > 1 ? argv[1] : "visits");
  auto counts = manager.open<commonhold::Dict<std::string, std::int64_t>>("counts");
  for (int i = 0; i < 5; ++i) counts["visits"] += 1;
  std::cout << "the client sees " << counts << '\n';
}
