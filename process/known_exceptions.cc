#include "process/known_exceptions.h"

#include <cxxabi.h>

#include <algorithm>
#include <any>
#include <filesystem>
#include <functional>
#include <future>
#include <ios>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <regex>
#include <stdexcept>
#include <system_error>
#include <tuple>
#include <typeinfo>
#include <utility>
#include <variant>

#include <commonhold/current_process.h>
#include <commonhold/errors.h>

namespace commonhold::detail {

namespace {

// Whatever E makes of what it is given, what() says what it said in the worker.
template <typename E>
class Again final : public E, public TaskOrigin {
 public:
  template <typename... A>
  Again(const std::string& text, const TaskOrigin& origin, A&&... arguments)
      : E(std::forward<A>(arguments)...), TaskOrigin(origin), text_(text) {}
  const char* what() const noexcept override { return text_.c_str(); }

 private:
  std::string text_;
};

struct Known {
  ExceptionContent (*note)(const std::exception& caught);
  void (*throw_again)(const std::string& text, const ExceptionContent& content, const TaskOrigin& origin);
};

const std::error_category& category_of(const std::string& name) {
  if (name == std::iostream_category().name()) return std::iostream_category();
  if (name == std::future_category().name()) return std::future_category();
  return name == std::system_category().name() ? std::system_category() : std::generic_category();
}

class KnownExceptions {
 public:
  static const KnownExceptions& instance() {
    static const auto* all = new KnownExceptions;  // leaked: tasks may end after static destruction began
    return *all;
  }
  const Known* find(const std::string& type) const {
    const auto found = by_type_.find(type);
    return found != by_type_.end() ? &found->second : nullptr;
  }

 private:
  // note(exception) gives its content, arguments(text, content) those of its constructor.
  template <typename E, typename Note, typename Arguments>
  void add(Note, Arguments) {
    const auto note = [](const std::exception& caught) { return Note()(dynamic_cast<const E&>(caught)); };
    const auto throw_again = [](const std::string& text, const ExceptionContent& content, const TaskOrigin& origin) {
      std::apply([&](const auto&... each) { throw Again<E>(text, origin, each...); }, Arguments()(text, content));
    };
    by_type_.emplace(typeid(E).name(), Known{note, throw_again});
  }
  template <typename... E>
  void add_of_text() {
    (add<E>([](const E&) { return ExceptionContent(); },
            [](const std::string& text, const ExceptionContent&) { return std::tuple(text); }),
     ...);
  }
  template <typename... E>
  void add_of_nothing() {
    (add<E>([](const E&) { return ExceptionContent(); },
            [](const std::string&, const ExceptionContent&) { return std::tuple(); }),
     ...);
  }

  KnownExceptions();
  std::map<std::string, Known> by_type_;
};

std::error_code code_from(const ExceptionContent& content) {
  return {content.numbers[0], category_of(content.bytes)};
}

KnownExceptions::KnownExceptions() {
  using Content = ExceptionContent;
  add_of_text<std::logic_error, std::invalid_argument, std::domain_error, std::length_error, std::out_of_range,
              std::runtime_error, std::range_error, std::overflow_error, std::underflow_error>();
  add_of_nothing<std::exception, std::bad_alloc, std::bad_any_cast, std::bad_array_new_length, std::bad_cast,
                 std::bad_exception, std::bad_function_call, std::bad_optional_access, std::bad_typeid,
                 std::bad_variant_access, std::bad_weak_ptr>();
  const auto code = [](const auto& error) {
    return Content{{error.code().value()}, error.code().category().name(), {}};
  };
  const auto of_code = [](const std::string&, const Content& content) { return std::tuple(code_from(content)); };
  const auto of_text_and_code = [](const std::string& text, const Content& content) {
    return std::tuple(text, code_from(content));
  };
  add<std::system_error>(code, of_code);
  add<std::ios_base::failure>(code, of_text_and_code);
  add<std::filesystem::filesystem_error>(
      [](const std::filesystem::filesystem_error& error) {
        return Content{{error.code().value()},
                       error.code().category().name(),
                       error.path1().native() + '\0' + error.path2().native()};
      },
      [](const std::string& text, const Content& content) {
        const std::size_t end = std::min(content.more.find('\0'), content.more.size());
        const std::string second = content.more.substr(std::min(end + 1, content.more.size()));
        return std::tuple(text, std::filesystem::path(content.more.substr(0, end)), std::filesystem::path(second),
                          code_from(content));
      });
  add<std::future_error>(code, [](const std::string&, const Content& content) {
    return std::tuple(static_cast<std::future_errc>(content.numbers[0]));
  });
  add<std::regex_error>(
      [](const std::regex_error& error) {
        return Content{{static_cast<int>(error.code())}, {}};
      },
      [](const std::string&, const Content& content) {
        return std::tuple(static_cast<std::regex_constants::error_type>(content.numbers[0]));
      });

  add_of_text<LookupError, RuntimeError, KeyError, AttributeError, BrokenBarrier, OptionsMismatch, Stopped, IndexError,
              ValueError, Full, Empty, Closed, TypeMismatch, ObjectGone, LockError, NotHeld, TimeoutError, OutOfMemory,
              LimitReached, ServerGone, AuthenticationError, UsageError, ProcessError, EndOfFile, TaskError,
              PoolTerminated, TaskCancelled, TaskTimeout, CorruptSegment>();
  const auto of_number_and_text = [](const std::string& text, const Content& content) {
    return std::tuple(content.numbers[0], text);
  };
  add<SystemError>([](const SystemError& error) { return Content{{error.code()}, {}, {}}; }, of_number_and_text);
  add<Poisoned>([](const Poisoned& error) { return Content{{error.died_pid()}, {}, {}}; }, of_number_and_text);
  add<NameError>(
      [](const NameError& error) {
        return Content{{static_cast<int>(error.reason())}, {}};
      },
      [](const std::string& text, const Content& content) {
        return std::tuple(static_cast<NameError::Reason>(content.numbers[0]), text);
      });
  add<RemoteError>(
      [](const RemoteError& error) {
        return Content{{}, error.type(), {}};
      },
      [](const std::string& text, const Content& content) { return std::tuple(text, content.bytes); });
  add<BufferTooShort>(
      [](const BufferTooShort& error) {
        return Content{{}, error.bytes(), {}};
      },
      [](const std::string& text, const Content& content) { return std::tuple(content.bytes, text); });
  add<WorkerDied>(
      [](const WorkerDied& error) {
        return Content{{error.pid(), error.signal(), error.status()}, {}};
      },
      [](const std::string& text, const Content& content) {
        return std::tuple(content.numbers[0], content.numbers[1], content.numbers[2], text);
      });
}

struct Registered {
  std::mutex mutex;
  std::map<std::string, Rethrow> by_type;
};

Registered& registered() {
  static auto* all = new Registered;
  return *all;
}

// The standard library throws some of its exceptions as types of its own that are derived from them.
template <typename... E>
void name_base(const std::exception& caught, std::string& type) {
  ((dynamic_cast<const E*>(&caught) != nullptr ? void(type = typeid(E).name()) : void()), ...);
}

}  // namespace

void enter_exception(const std::type_info& type, Rethrow rethrow) {
  std::scoped_lock guard(registered().mutex);
  registered().by_type[type.name()] = rethrow;
}

CaughtException caught_exception() {
  CaughtException caught;
  if (const std::type_info* type = abi::__cxa_current_exception_type()) caught.type = type->name();
  try {
    throw;
  } catch (const std::exception& error) {
    caught.text = error.what();
    const Known* known = KnownExceptions::instance().find(caught.type);
    if (constexpr std::string_view kNested = "St17_Nested_exceptionI"; caught.type.starts_with(kNested)) {
      caught.type = caught.type.substr(kNested.size(), caught.type.size() - kNested.size() - 1);  // throw_with_nested's
      known = KnownExceptions::instance().find(caught.type);
    }
    if (known == nullptr && caught.type.starts_with("St")) {
      name_base<std::ios_base::failure, std::filesystem::filesystem_error, std::bad_variant_access>(error, caught.type);
      known = KnownExceptions::instance().find(caught.type);
    }
    if (known != nullptr) caught.content = known->note(error);
  } catch (const std::string& text) {
    caught.text = text;
  } catch (const char* text) {
    caught.text = text;
  } catch (...) {
    caught.text = "an exception that is no std::exception";
  }
  return caught;
}

void throw_known(const std::string& type, const std::string& text, const ExceptionContent& content,
                 const TaskOrigin& origin) {
  Rethrow rethrow = nullptr;
  {
    std::scoped_lock guard(registered().mutex);
    const auto found = registered().by_type.find(type);
    if (found != registered().by_type.end()) rethrow = found->second;
  }
  if (rethrow != nullptr) rethrow(text, origin);
  if (const Known* known = KnownExceptions::instance().find(type)) known->throw_again(text, content, origin);
}

}  // namespace commonhold::detail
