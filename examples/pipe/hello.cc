// A pipe between a program and its child: whole messages, both ways.
#include <commonhold/commonhold.h>

#include <iostream>
#include <map>
#include <string>
#include <vector>

using namespace commonhold;

int main() {
  Pipe pipe;
  Process child([&] {
    pipe.first.close();  // the parent's end
    std::cout << "child received: " << pipe.second.recv<std::string>() << std::endl;
    pipe.second.send("hello, parent");
    // Numbers, texts, containers, structs: whatever a shared object can hold.
    const auto stock = pipe.second.recv<std::map<std::string, int>>();
    std::vector<std::string> names;
    for (const auto& [name, count] : stock) names.push_back(name + " x" + std::to_string(count));
    pipe.second.send(names);
  });
  child.start();
  pipe.second.close();

  pipe.first.send("hello, child");
  std::cout << "parent received: " << pipe.first.recv<std::string>() << '\n';
  pipe.first.send(std::map<std::string, int>{{"apples", 3}, {"pears", 5}});
  for (const auto& line : pipe.first.recv<std::vector<std::string>>()) std::cout << "parent received: " << line << '\n';
  child.join();
}
