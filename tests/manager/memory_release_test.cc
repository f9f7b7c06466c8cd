// A server gives memory back to the system that serves nobody.
#include <commonhold/commonhold.h>
#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <string>

#include "support/manager_home.h"

using namespace commonhold;
using namespace commonhold::test;

namespace {

constexpr std::uint64_t kMiB = 1u << 20;

std::uint64_t backed_bytes(const Manager& manager) {
  struct stat status {};
  REQUIRE(stat((manager.folder() + "/segment").c_str(), &status) == 0);
  return static_cast<std::uint64_t>(status.st_blocks) * 512;
}

}  // namespace

TEST_CASE("the memory of an array, of an erased value and of taken items goes back to the system while programs run") {
  ManagerHome home;
  Manager manager;
  const std::uint64_t least = 160 * kMiB;  // what a server keeps ready, and some more
  const auto shrinks = [&] { return eventually([&] { return backed_bytes(manager) < least; }); };
  {
    auto array = manager.array<char>(300 * kMiB);
    array[300 * kMiB - 1] = 'x';
    REQUIRE(backed_bytes(manager) > 300 * kMiB);
  }
  CHECK(shrinks());
  auto texts = manager.dict<std::string, std::string>();
  texts["large"] = std::string(300 * kMiB, 'y');
  REQUIRE(backed_bytes(manager) > 300 * kMiB);
  CHECK(texts.at("large").size() == 300 * kMiB);
  texts.erase("large");
  CHECK(shrinks());
  {
    auto queue = manager.queue<std::string>();
    auto ordered = manager.priority_queue<std::string>();
    for (int i = 0; i < 3; ++i) {
      queue.put(std::string(100 * kMiB, 'q'));
      ordered.put(i, std::string(50 * kMiB, 'p'));
    }
    for (int i = 0; i < 3; ++i) {
      CHECK(queue.get().size() == 100 * kMiB);
      CHECK(ordered.get().value.size() == 50 * kMiB);
    }
    CHECK(shrinks());
  }
  // And is there again when it is needed.
  texts["again"] = std::string(250 * kMiB, 'z');
  CHECK(texts.at("again") == std::string(250 * kMiB, 'z'));
}

TEST_CASE("an object goes soon after its last reference, however long it was in the making") {
  ManagerHome home;
  Manager manager;
  { const auto large = manager.array<char>(900 * kMiB); }
  // Not after twenty times as long as the array was made, for which the sweep was held up.
  CHECK(eventually([&] { return manager.objects().empty(); }, std::chrono::seconds(5)));
}
