#include "shm/object_options.h"

#include <algorithm>
#include <iterator>

namespace commonhold::shm {

namespace {

// Sorted by kind. Signatures tell types apart (a bounded semaphore from another one, a stack from a queue); what is not
// here is of no concern to who opens an object: a dict's shards, a value's first contents.
constexpr ObjectOption kOptions[] = {
    {ObjectKind::kArray, 0, "size", OptionForm::kCount},
    {ObjectKind::kLock, 0, "poison", OptionForm::kFlag},
    {ObjectKind::kLock, 1, "handover", OptionForm::kFlag},
    {ObjectKind::kRLock, 0, "poison", OptionForm::kFlag},
    {ObjectKind::kSemaphore, 0, "initial value", OptionForm::kCount},
    {ObjectKind::kSemaphore, 2, "items", OptionForm::kFlag},
    {ObjectKind::kCondition, 0, "lock", OptionForm::kLock},
    {ObjectKind::kBarrier, 0, "parties", OptionForm::kCount},
    {ObjectKind::kBarrier, 1, "timeout", OptionForm::kTime},
    {ObjectKind::kQueue, 1, "maxsize", OptionForm::kLimit},
    {ObjectKind::kQueue, 3, "redeliver", OptionForm::kFlag},
    {ObjectKind::kPriorityQueue, 1, "maxsize", OptionForm::kLimit},
    {ObjectKind::kPriorityQueue, 3, "redeliver", OptionForm::kFlag},
};
static_assert(std::is_sorted(std::begin(kOptions), std::end(kOptions),
                             [](auto& a, auto& b) { return a.kind < b.kind; }));

std::string text_of(const ObjectOption& option, Word value) {
  const std::string name = option.name;
  const std::string number = std::to_string(value);
  switch (option.form) {
    case OptionForm::kCount:
      return name + " " + number;
    case OptionForm::kLimit:
      return value == 0 ? "no " + name : name + " " + number;
    case OptionForm::kFlag:
      return value != 0 ? name : "no " + name;
    case OptionForm::kTime:
      return value == static_cast<Word>(INT64_MAX) ? "no " + name : name + " " + number + " ns";
    case OptionForm::kLock: {
      const ObjectId id = ObjectId::from_word(value);
      return value == 0 ? "a " + name + " of its own"
                        : "the " + name + " " + std::to_string(id.index) + "." + std::to_string(id.generation);
    }
  }
  return name;
}

}  // namespace

std::span<const ObjectOption> options_of(ObjectKind kind) {
  const auto [first, last] =
      std::ranges::equal_range(kOptions, kind, {}, [](const ObjectOption& option) { return option.kind; });
  return {first, last};
}

bool options_differ(ObjectKind kind, const Word* have, const Word* want, std::uint32_t compared, std::string& have_text,
                    std::string& want_text) {
  bool differ = false;
  for (const ObjectOption& option : options_of(kind)) {
    const Word has = have[option.argument], wants = want[option.argument];
    if ((compared >> option.argument & 1) == 0 || has == wants) continue;
    if (differ) have_text += ", ", want_text += ", ";
    have_text += text_of(option, has);
    want_text += text_of(option, wants);
    differ = true;
  }
  return differ;
}

}  // namespace commonhold::shm
