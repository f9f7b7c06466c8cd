// Objects inside of objects: a shop's shelves are a dict of lists of dicts, each of them shared.
// It teaches that what is read out of a container is the object itself, that a whole tree outlives the process that
// made it, that taking a branch out frees all of it, and that circles are no leak.
#include <commonhold/commonhold.h>

#include <chrono>
#include <iostream>
#include <string>
#include <thread>

using commonhold::Any;
using commonhold::Dict;
using commonhold::List;

namespace {

using Item = Dict<std::string, int>;
using Shelf = List<Item>;

// Waits until the manager has freed what nobody can reach.
std::size_t objects(const commonhold::Manager& manager, std::size_t expected) {
  for (int i = 0; i < 1000 && manager.objects().size() != expected; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return manager.objects().size();
}

}  // namespace

int main() {
  commonhold::Manager manager;
  auto shop = manager.dict<std::string, Shelf>();

  commonhold::Process stocker([=] {  // makes the tree, and ends
    for (std::string name : {"fruit", "tea"}) {
      auto shelf = manager.list<Item>();
      for (int price : {3, 5}) shelf.append(manager.dict<std::string, int>({{"price", price}, {"left", 10}}));
      shop.put(name, shelf);
    }
  });
  stocker.start();
  stocker.join();

  commonhold::Process seller([=] { shop.at("tea").at(0)["left"] -= 4; });
  seller.start();
  seller.join();

  std::cout << "tea: " << shop.at("tea") << '\n';
  std::cout << "objects: " << objects(manager, 7) << '\n';
  shop.erase("fruit");
  std::cout << "without fruit: " << objects(manager, 4) << '\n';

  auto graph = manager.dict<std::string, Any>();
  auto circle = manager.list<Any>({1, 2});
  circle.append(circle);  // it contains itself
  graph["circle"] = circle;
  std::cout << "inside itself: " << graph.at("circle").as<List<Any>>().at(2).as<List<Any>>().at(1) << '\n';
}
