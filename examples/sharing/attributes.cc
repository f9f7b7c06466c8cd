// A namespace: attributes that one process sets and others read, whatever their type.
// It teaches that an attribute is read and written like a variable, that adding to one is one step, and that an object
// among the attributes is the object itself and no copy.
#include <commonhold/commonhold.h>

#include <iostream>
#include <string>
#include <vector>

int main() {
  commonhold::Manager manager;
  auto shared = manager.ns({{"greeting", "nothing yet"}, {"visits", 0}});
  shared["guests"] = manager.list<std::string>();

  commonhold::Process setter([=] {
    shared["greeting"] = "hello from another process";
    shared["answer"] = 42;
  });
  setter.start();
  setter.join();

  std::vector<commonhold::Process> visitors;
  for (int i = 0; i < 4; ++i) {
    visitors.emplace_back([=] {
      shared["visits"] += 1;
      shared.get<commonhold::List<std::string>>("guests").append("guest " + std::to_string(i));
    });
  }
  for (auto& visitor : visitors) visitor.start();
  for (auto& visitor : visitors) visitor.join();

  std::cout << shared.get<std::string>("greeting") << '\n';
  std::cout << "answer " << shared.get<int>("answer") << ", visits " << shared.get<int>("visits") << ", guests "
            << shared.get<commonhold::List<std::string>>("guests").size() << '\n';
  if (!shared.has("farewell")) std::cout << "no farewell\n";
  shared.del("guests");
  std::cout << shared << '\n';
}
