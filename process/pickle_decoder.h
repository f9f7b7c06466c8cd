// From a pickle's opcodes to its values (commonhold/detail/pickle.h). A stack, as the opcodes want it, and the memo.
//
// Whatever the bytes are: memory in proportion to them, no recursion, and a TypeMismatch that says what was met where.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <commonhold/detail/pickle.h>

namespace commonhold::detail {

class PickleDecoder {
 public:
  explicit PickleDecoder(Pickle& into) : into_(into), in_(into.message_) {}
  void decode();

 private:
  using Index = std::uint32_t;  // of a value
  using Kind = Pickle::Kind;

  // The bytes.
  unsigned char byte() { return static_cast<unsigned char>(take(1)[0]); }
  std::uint64_t number(int bytes);
  std::string_view take(std::uint64_t size);
  std::string_view line();

  // The stack. What is below the last mark is out of reach.
  void push(Index value) { stack_.push_back(value); }
  Index pop();
  Index top();
  Pickle::Value& top_of_kind(Kind kind);
  std::size_t take_mark();  // where what is above it begins

  Index make(Kind kind, std::uint64_t word = 0, std::uint64_t size = 0);
  void push_new(Kind kind, std::uint64_t word = 0, std::uint64_t size = 0) { push(make(kind, word, size)); }
  void push_container(Kind kind, std::size_t begin);  // of what is on the stack from there on
  void push_slice(Kind kind, std::uint64_t size);
  void push_long(std::uint64_t bytes);
  // What is on the stack from `begin` on goes into the container below it.
  void add_to(Kind kind, std::size_t begin);
  void memoize(std::uint64_t at);
  void recall(std::uint64_t at);

  bool step();  // false at the end
  bool step_value(unsigned char code);
  bool step_container(unsigned char code);
  bool step_memo(unsigned char code);

  [[noreturn]] void damaged(const std::string& what) const;
  [[noreturn]] void refuse_class(std::string_view module, std::string_view name) const;
  [[noreturn]] void refuse_opcode(unsigned char code);

  Pickle& into_;
  const std::string_view in_;
  std::size_t at_ = 0;
  std::vector<Index> stack_, memo_;
  std::vector<std::size_t> marks_;  // heights of the stack
};

}  // namespace commonhold::detail
