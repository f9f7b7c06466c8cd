// The making of a forked child's session, killed at every instruction on the side of the parent and of the child.
#include "shm/references.h"
#include "shm/sweep.h"
#include "support/link_ground.h"
#include "support/structure_kill.h"

using namespace commonhold;
using namespace commonhold::test;
using namespace commonhold::shm;

TEST_CASE("a child's session that was being made or taken over at a death leaves neither references nor pages",
          "[kill]") {
  TestSegment segment(8u << 20);
  const ObjectId object = make_object(segment, ObjectKind::kLock);
  REQUIRE(add_reference(*segment, object) == Status::kOk);
  const pid_t test = getpid();
  const std::uint32_t own = index_of(segment->session_index());
  auto audit = [&]() -> std::string {
    recover_all_dead(*segment, segment.me());
    if (count_references(*segment, object) != 1) return "a reference of a dead session is left";
    for (std::uint32_t i = 0; i < segment->header().sessions_used; ++i) {
      if (i != own && (segment->session(i).state & 0xff) != 0) return "a session is left";
      if (i != own && bytes_owned_by(*segment, reference_owner(SessionIndex{i}).object()) != 0) return "a page is left";
    }
    (void)sweep_unreferred_objects(segment.me());
    return is_alive(segment, object) ? "" : "an object was lost";
  };
  auto refer = [&](int count) {
    for (int i = 0; i < count; ++i) (void)add_reference(*segment, object);
  };
  for (int count : {1, 130}) {
    auto prepare = [&, count] {
      if (getpid() == test) return;
      refer(count);
      segment->reserve_for_child();
      segment->prepare_child();
    };
    kill_everywhere_in(segment, {"prepare " + std::to_string(count),
                                 [&] {
                                   prepare();
                                   segment->after_fork_in_parent();
                                 },
                                 []() -> std::string { return ""; }, audit, 64, 1});
    kill_everywhere_in(segment, {"become the child " + std::to_string(count),
                                 [&] {
                                   prepare();
                                   if (getpid() != test) (void)segment->after_fork_in_child();
                                 },
                                 []() -> std::string { return ""; }, audit, 64, 1});
  }
}
