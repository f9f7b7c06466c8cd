// Nested objects and the deaths of servers, makers and movers; and random graphs against a model.
#include <catch2/catch.hpp>
#include <map>
#include <random>
#include <set>

#include <commonhold/manager.h>
#include <commonhold/process.h>

#include "support/manager_home.h"
#include "support/process_shared.h"
#include "support/server_ground.h"

using namespace commonhold;
using namespace commonhold::test;

namespace {

using Node = Dict<std::string, Any>;

bool comes_to(const Manager& manager, std::size_t objects) {
  return test::eventually([&] { return manager.objects().size() == objects; }, std::chrono::seconds(20));
}

void serve(const std::string& name) {
  auto result = run_command({"serve", "--name", name});
  INFO(result.err);
  REQUIRE(result.status == 0);
}

}  // namespace

TEST_CASE("a nested graph survives its server, and what was let go while none ran is freed by the next") {
  ServerGround ground;
  serve("stock");
  auto manager = Manager::connect("stock");
  auto root = manager.dict<std::string, Any>(named("root"));
  for (int i = 0; i < 20; ++i) {
    auto node = manager.dict<std::string, Any>();
    node["list"] = manager.list<int>({i});
    root[std::to_string(i)] = node;
  }
  REQUIRE(comes_to(manager, 41));
  for (int round = 0; round < 3; ++round) {
    kill_server(ground.address("stock"));
    // Clients go on without a server.
    root.erase(std::to_string(round));
    root.at("10").as<Node>().at("list").as<List<int>>().push_back(round);
    auto moved = root.pop("11");
    root["11"] = moved;
    serve("stock");
    REQUIRE(comes_to(manager, 41 - 2 * (round + 1)));
  }
  REQUIRE(root.at("10").as<Node>().at("list").as<List<int>>() == std::vector<int>{10, 0, 1, 2});
  for (int i = 3; i < 20; ++i) {
    REQUIRE(root.at(std::to_string(i)).as<Node>().at("list").as<List<int>>().at(0) == i);
  }
  manager.shutdown();
}

TEST_CASE("makers that are killed anywhere leave whole objects in the graph and none beside it") {
  INFO("seed " << Catch::rngSeed());
  std::mt19937 random(Catch::rngSeed());
  ManagerHome home;
  Manager manager;
  auto root = manager.list<Node>();
  for (int round = 0; round < 25; ++round) {
    pid_t maker = spawn([&] {
      for (int i = 0;; ++i) {
        auto node = manager.dict<std::string, Any>({{"id", i}});
        node["inner"] = manager.list<int>({i, i});
        root.push_back(node);
        if (root.size() > 50) root.erase_slice(0, 25);
      }
    });
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 20'000));
    ::kill(maker, SIGKILL);
    REQUIRE(wait_for(maker) == -SIGKILL);
    for (const Node& node : root) {
      REQUIRE(node.at("inner").as<List<int>>().size() == 2);
      REQUIRE(node.at("inner").as<List<int>>().at(0) == node.at("id").as<int>());
    }
  }
  REQUIRE(comes_to(manager, 1 + 2 * root.size()));
  root.clear();
  REQUIRE(comes_to(manager, 1));
}

// Nodes with named edges to each other, circles among them; the model says which can be reached.
TEST_CASE("random graphs keep what their roots reach and nothing else") {
  INFO("seed " << Catch::rngSeed());
  std::mt19937 random(Catch::rngSeed());
  ManagerHome home;
  Manager manager;
  struct Model {
    std::map<std::string, int> edges;
  };
  std::map<int, Model> model;
  int next = 1;
  auto root = manager.dict<std::string, Any>({{"id", 0}});
  model[0];
  // Walks from the root along random edges; what is found is in both.
  auto walk = [&](int& id) {
    Node at = root;
    id = 0;
    for (unsigned steps = random() % 6; steps > 0 && !model[id].edges.empty(); --steps) {
      auto edge = std::next(model[id].edges.begin(), static_cast<int>(random() % model[id].edges.size()));
      at = at.at(edge->first).as<Node>();
      id = edge->second;
      REQUIRE(at.at("id") == id);
    }
    return at;
  };
  for (int round = 0; round < 30; ++round) {
    for (int step = 0; step < 30; ++step) {
      int from = 0, to = 0;
      Node node = walk(from);
      const std::string edge(1, static_cast<char>('a' + random() % 5));
      switch (random() % 5) {
        case 0:
          REQUIRE(node.erase(edge) == model[from].edges.erase(edge));
          break;
        case 1: {
          Node other = walk(to);
          node[edge] = other;
          model[from].edges[edge] = to;
          break;
        }
        case 2: {
          auto popped = node.try_pop(edge);
          REQUIRE(popped.has_value() == (model[from].edges.count(edge) != 0));
          if (popped) {
            const std::string other(1, static_cast<char>('a' + random() % 5));
            const int id = model[from].edges.at(edge);
            model[from].edges.erase(edge);
            root[other] = *popped;
            model[0].edges[other] = id;
          }
          break;
        }
        default: {
          const int id = next++;
          node[edge] = manager.dict<std::string, Any>({{"id", id}});
          model[from].edges[edge] = id;
          model[id];
        }
      }
    }
    std::set<int> reached;
    std::vector<int> pending{0};
    while (!pending.empty()) {
      const int id = pending.back();
      pending.pop_back();
      if (!reached.insert(id).second) continue;
      for (const auto& [edge, to] : model[id].edges) pending.push_back(to);
    }
    std::erase_if(model, [&](const auto& entry) { return reached.count(entry.first) == 0; });
    INFO("round " << round << ", " << reached.size() << " to be reached, " << manager.objects().size() << " there");
    REQUIRE(comes_to(manager, reached.size()));
  }
}
