// Manager: the server process that owns shared objects, as a program sees it.
//
//   commonhold::Manager manager;                             // starts an anonymous server of its own
//   auto other = commonhold::Manager::connect("stock");      // joins one that runs
//   auto third = commonhold::Manager::start({.name = "x"});  // starts one that others find, and that stays
//   auto either = commonhold::Manager::connect_or_start("y");
//
// Objects come in two kinds. Anonymous ones live as long as anybody refers to them:
//
//   auto counts = manager.dict<std::string, std::int64_t>({{"count", 100}});
//   auto lock = manager.lock();
//
// Named ones stay until they are removed, and other programs find them:
//
//   auto scores = manager.dict<std::string, int>("scores");                     // opened, or made; or named("scores")
//   auto created = manager.create<Dict<std::string, int>>("scores");            // NameError when the name is taken
//   auto opened = manager.open<Dict<std::string, int>>("scores");               // NameError when it is unknown
//
// create, open and open_or_create take every type. An object opened as another type than its own is a TypeMismatch
// that names both.
//
// A Manager is a reference to the server: copy it, capture it, use it after fork. An anonymous server ends,
// and leaves no file behind, when nobody has a Manager or an object of it any more; a forked child counts
// until it ends.
//
// The server is needed for making, opening, listing and removing. Everything else goes on while it is dead or
// restarts; these calls wait for a restart for a moment, then throw ServerGone. When a client dies its locks
// are freed and its references dropped.
//
// Thread safety: any thread. A Manager that was moved from is good for assignment and destruction, else UsageError. In a
// program with threads the server is the `commonhold` command, or this program's own image executed again; a small
// program with one thread forks it off.
#pragma once

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <ranges>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <commonhold/any.h>
#include <commonhold/array.h>
#include <commonhold/barrier.h>
#include <commonhold/condition.h>
#include <commonhold/custom.h>
#include <commonhold/detail/dict_literal.h>
#include <commonhold/detail/manager_calls.h>
#include <commonhold/detail/present.h>
#include <commonhold/dict.h>
#include <commonhold/event.h>
#include <commonhold/list.h>
#include <commonhold/lock.h>
#include <commonhold/name_space.h>
#include <commonhold/named.h>
#include <commonhold/priority_queue.h>
#include <commonhold/queue.h>
#include <commonhold/rlock.h>
#include <commonhold/rwlock.h>
#include <commonhold/semaphore.h>
#include <commonhold/set.h>
#include <commonhold/value.h>

namespace commonhold {

class Manager {
 public:
  // Starts an anonymous server and joins it. Throws ServerGone with what the server said when it does not come up.
  Manager() : Manager(StartOptions{}) {}

  // Starts a server. A named one is found by connect(name), goes on without this program, and adopts what an
  // earlier server of the name left; NameError when one runs already.
  static Manager start(const StartOptions& options) { return Manager(options); }

  // Joins a server: its name, or its folder (with a slash). ServerGone when nobody serves there, AuthenticationError.
  static Manager connect(std::string_view name_or_folder, const ConnectOptions& options = {}) {
    return Manager(detail::connect_manager(name_or_folder, options));
  }

  // Joins the server of that name, or starts it where nobody serves: whichever of several programs comes first starts it.
  // The options' memory limit is for the one who starts it.
  static Manager connect_or_start(std::string_view name, StartOptions options = {}) {
    options.name = name;
    return Manager(detail::connect_or_start_manager(options));
  }

  // ---- the types

  template <typename K, typename V>
  Dict<K, V> dict() const {
    return anonymous<Dict<K, V>>();
  }
  template <typename K, typename V, detail::Contents Entries = std::initializer_list<std::pair<K, V>>>
  Dict<K, V> dict(const Entries& entries) const {
    return filled(anonymous<Dict<K, V>>(), entries);
  }
  // From a map, whose types it takes.
  template <typename Map>
  requires requires { typename Map::mapped_type; }
  Dict<typename Map::key_type, typename Map::mapped_type> dict(const Map& entries) const {
    return dict<typename Map::key_type, typename Map::mapped_type>(entries);
  }
  // dict({{"anna", 3}}): from texts or ints to bools, ints, longs, doubles or texts.
  auto dict(std::initializer_list<detail::LiteralEntry<std::string, bool>> entries) const {
    return of_literals(entries);
  }
  auto dict(std::initializer_list<detail::LiteralEntry<std::string, int>> entries) const {
    return of_literals(entries);
  }
  auto dict(std::initializer_list<detail::LiteralEntry<std::string, long>> entries) const {
    return of_literals(entries);
  }
  auto dict(std::initializer_list<detail::LiteralEntry<std::string, double>> entries) const {
    return of_literals(entries);
  }
  auto dict(std::initializer_list<detail::LiteralEntry<std::string, std::string>> entries) const {
    return of_literals(entries);
  }
  auto dict(std::initializer_list<detail::LiteralEntry<int, bool>> entries) const { return of_literals(entries); }
  auto dict(std::initializer_list<detail::LiteralEntry<int, int>> entries) const { return of_literals(entries); }
  auto dict(std::initializer_list<detail::LiteralEntry<int, long>> entries) const { return of_literals(entries); }
  auto dict(std::initializer_list<detail::LiteralEntry<int, double>> entries) const { return of_literals(entries); }
  auto dict(std::initializer_list<detail::LiteralEntry<int, std::string>> entries) const {
    return of_literals(entries);
  }
  template <typename K, typename V>
  Dict<K, V> dict(const detail::ObjectName auto& name) const {
    return open_or_create<Dict<K, V>>(detail::name_text(name));
  }
  // The entries are for the one who makes it, and are in it when it gets its name: the same for all below.
  template <typename K, typename V, detail::Contents Entries = std::initializer_list<std::pair<K, V>>>
  Dict<K, V> dict(const detail::ObjectName auto& name, const Entries& entries) const {
    return named_with<Dict<K, V>>(detail::name_text(name), entries);
  }

  template <typename T>
  List<T> list() const {
    return anonymous<List<T>>();
  }
  template <typename T, detail::Contents<T> Values = std::initializer_list<T>>
  List<T> list(const Values& values) const {
    return filled(anonymous<List<T>>(), values);
  }
  // Of what the range holds.
  template <detail::Contents Values>
  requires detail::Storable<std::ranges::range_value_t<Values>>
  auto list(const Values& values) const { return list<std::ranges::range_value_t<Values>>(values); }
  template <typename T>
  requires detail::Storable<T> List<T> list(std::initializer_list<T> values)
  const { return filled(anonymous<List<T>>(), values); }
  List<std::string> list(std::initializer_list<const char*> texts) const {
    return list<std::string>(std::vector<std::string>(texts.begin(), texts.end()));
  }
  template <typename T>
  List<T> list(const detail::ObjectName<T> auto& name) const {
    return open_or_create<List<T>>(detail::name_text(name));
  }
  template <typename T, detail::Contents<T> Values = std::initializer_list<T>>
  List<T> list(const detail::ObjectName<T> auto& name, const Values& values) const {
    return named_with<List<T>>(detail::name_text(name), values);
  }

  template <typename T>
  Set<T> set() const {
    return anonymous<Set<T>>();
  }
  template <typename T, detail::Contents<T> Elements = std::initializer_list<T>>
  Set<T> set(const Elements& elements) const {
    return filled(anonymous<Set<T>>(), elements);
  }
  template <detail::Contents Elements>
  requires detail::StorableKey<std::ranges::range_value_t<Elements>>
  auto set(const Elements& elements) const { return set<std::ranges::range_value_t<Elements>>(elements); }
  template <typename T>
  requires detail::StorableKey<T> Set<T> set(std::initializer_list<T> elements)
  const { return filled(anonymous<Set<T>>(), elements); }
  Set<std::string> set(std::initializer_list<const char*> texts) const {
    return set<std::string>(std::vector<std::string>(texts.begin(), texts.end()));
  }
  template <typename T>
  Set<T> set(const detail::ObjectName<T> auto& name) const {
    return open_or_create<Set<T>>(detail::name_text(name));
  }
  template <typename T, detail::Contents<T> Elements = std::initializer_list<T>>
  Set<T> set(const detail::ObjectName<T> auto& name, const Elements& elements) const {
    return named_with<Set<T>>(detail::name_text(name), elements);
  }

  // A Namespace: ns({{"count", 5}, {"name", "stock"}}).
  Namespace ns(std::initializer_list<std::pair<const std::string, Any>> attributes = {}) const {
    auto made = anonymous<Namespace>();
    made.update(attributes);
    return made;
  }
  Namespace ns(const detail::ObjectName auto& name) const { return open_or_create<Namespace>(detail::name_text(name)); }
  Namespace ns(const detail::ObjectName auto& name,
               std::initializer_list<std::pair<const std::string, Any>> attributes) const {
    return filled_then_named<Namespace>(detail::Opening::kOpenOrCreate, detail::name_text(name), Namespace::request(),
                                        [&](const Namespace& made) { made.update(attributes); });
  }

  template <typename T>
  Value<T> value(T initial = T()) const {
    return made<Value<T>>(detail::Opening::kAnonymous, {}, initial);
  }
  // `initial` is for the one who makes it, and is there with the name, whoever dies.
  template <typename T>
  Value<T> value(const detail::ObjectName auto& name, T initial = T()) const {
    return open_or_create<Value<T>>(detail::name_text(name), initial);
  }

  // Zeros; zero elements are allowed. ValueError for a negative count.
  template <typename T>
  Array<T> array(std::uint64_t count) const {
    return anonymous<Array<T>>(count);
  }
  template <typename T, detail::Contents<T> Values = std::initializer_list<T>>
  Array<T> array(const Values& values) const {
    const std::vector<T> all(std::ranges::begin(values), std::ranges::end(values));
    auto made = anonymous<Array<T>>(all.size());
    write_all(made, all);
    return made;
  }
  template <typename T>
  Array<T> array(const detail::ObjectName<T> auto& name, std::uint64_t count) const {
    return open_or_create<Array<T>>(detail::name_text(name), count);
  }
  template <typename T, detail::Contents<T> Values = std::initializer_list<T>>
  Array<T> array(const detail::ObjectName<T> auto& name, const Values& values) const {
    const std::vector<T> all(std::ranges::begin(values), std::ranges::end(values));
    return filled_then_named<Array<T>>(detail::Opening::kOpenOrCreate, detail::name_text(name),
                                       Array<T>::request(all.size()),
                                       [&](const Array<T>& made) { write_all(made, all); });
  }

  Lock lock(const LockOptions& options = {}) const { return anonymous<Lock>(options); }
  Lock lock(const detail::ObjectName auto& name) const { return open_or_create<Lock>(detail::name_text(name)); }
  Lock lock(const detail::ObjectName auto& name, const LockOptions& options) const {
    return open_or_create<Lock>(detail::name_text(name), options);
  }
  RLock rlock(const LockOptions& options = {}) const { return anonymous<RLock>(options); }
  RLock rlock(const detail::ObjectName auto& name) const { return open_or_create<RLock>(detail::name_text(name)); }
  RLock rlock(const detail::ObjectName auto& name, const LockOptions& options) const {
    return open_or_create<RLock>(detail::name_text(name), options);
  }

  // With an RLock of its own; with a Lock or RLock of this manager.
  Condition condition() const { return anonymous<Condition>(); }
  Condition condition(const Lock& lock) const { return anonymous<Condition>(own(lock)); }
  Condition condition(const RLock& lock) const { return anonymous<Condition>(own(lock)); }
  Condition condition(const detail::ObjectName auto& name) const {
    return open_or_create<Condition>(detail::name_text(name));
  }
  Condition condition(const detail::ObjectName auto& name, const Lock& lock) const {
    return open_or_create<Condition>(detail::name_text(name), own(lock));
  }
  Condition condition(const detail::ObjectName auto& name, const RLock& lock) const {
    return open_or_create<Condition>(detail::name_text(name), own(lock));
  }

  Event event() const { return anonymous<Event>(); }
  Event event(const detail::ObjectName auto& name) const { return open_or_create<Event>(detail::name_text(name)); }

  // At least one party, else ValueError.
  Barrier barrier(std::int64_t parties, const BarrierOptions& options = {}) const {
    return anonymous<Barrier>(parties, options).with_action(options.action);
  }
  Barrier barrier(const detail::ObjectName auto& name, std::int64_t parties, const BarrierOptions& options = {}) const {
    return open_or_create<Barrier>(detail::name_text(name), parties, options).with_action(options.action);
  }

  // At most `maxsize` items; 0 or less: no limit.
  template <typename T>
  Queue<T> queue(std::int64_t maxsize = 0) const {
    return anonymous<Queue<T>>(QueueOptions{maxsize});
  }
  template <typename T>
  Queue<T> queue(const QueueOptions& options) const {
    return anonymous<Queue<T>>(options);
  }
  template <typename T>
  Queue<T> queue(const detail::ObjectName auto& name) const {
    return open_or_create<Queue<T>>(detail::name_text(name));
  }
  template <typename T>
  Queue<T> queue(const detail::ObjectName auto& name, const QueueOptions& options) const {
    return open_or_create<Queue<T>>(detail::name_text(name), options);
  }
  template <typename T>
  JoinableQueue<T> joinable_queue(std::int64_t maxsize = 0) const {
    return queue<T>(maxsize);
  }
  template <typename T>
  SimpleQueue<T> simple_queue() const {
    return anonymous<SimpleQueue<T>>();
  }

  template <typename T>
  SimpleQueue<T> simple_queue(const detail::ObjectName auto& name) const {
    return open_or_create<SimpleQueue<T>>(detail::name_text(name));
  }
  template <typename T>
  LifoQueue<T> lifo_queue(const QueueOptions& options = {}) const {
    return anonymous<LifoQueue<T>>(options);
  }
  template <typename T>
  LifoQueue<T> lifo_queue(const detail::ObjectName auto& name) const {
    return open_or_create<LifoQueue<T>>(detail::name_text(name));
  }
  template <typename T>
  LifoQueue<T> lifo_queue(const detail::ObjectName auto& name, const QueueOptions& options) const {
    return open_or_create<LifoQueue<T>>(detail::name_text(name), options);
  }
  template <typename T, detail::Priority P = std::int64_t>
  PriorityQueue<T, P> priority_queue(const QueueOptions& options = {}) const {
    return anonymous<PriorityQueue<T, P>>(options);
  }
  template <typename T, detail::Priority P = std::int64_t>
  PriorityQueue<T, P> priority_queue(const detail::ObjectName auto& name) const {
    return open_or_create<PriorityQueue<T, P>>(detail::name_text(name));
  }
  template <typename T, detail::Priority P = std::int64_t>
  PriorityQueue<T, P> priority_queue(const detail::ObjectName auto& name, const QueueOptions& options) const {
    return open_or_create<PriorityQueue<T, P>>(detail::name_text(name), options);
  }

  // `start` permits, 0 to 2^31 - 1, else ValueError.
  Semaphore semaphore(std::int64_t start = 1, const SemaphoreOptions& options = {}) const {
    return anonymous<Semaphore>(start, options);
  }
  Semaphore semaphore(const detail::ObjectName auto& name) const {
    return open_or_create<Semaphore>(detail::name_text(name));
  }
  Semaphore semaphore(const detail::ObjectName auto& name, std::int64_t start) const {
    return open_or_create<Semaphore>(detail::name_text(name), start);
  }
  Semaphore semaphore(const detail::ObjectName auto& name, std::int64_t start, const SemaphoreOptions& options) const {
    return open_or_create<Semaphore>(detail::name_text(name), start, options);
  }
  BoundedSemaphore bounded_semaphore(std::int64_t start = 1, const SemaphoreOptions& options = {}) const {
    return anonymous<BoundedSemaphore>(start, options);
  }
  BoundedSemaphore bounded_semaphore(const detail::ObjectName auto& name) const {
    return open_or_create<BoundedSemaphore>(detail::name_text(name));
  }
  BoundedSemaphore bounded_semaphore(const detail::ObjectName auto& name, std::int64_t start) const {
    return open_or_create<BoundedSemaphore>(detail::name_text(name), start);
  }
  BoundedSemaphore bounded_semaphore(const detail::ObjectName auto& name, std::int64_t start,
                                     const SemaphoreOptions& options) const {
    return open_or_create<BoundedSemaphore>(detail::name_text(name), start, options);
  }

  RWLock rwlock() const { return anonymous<RWLock>(); }
  RWLock rwlock(const detail::ObjectName auto& name) const { return open_or_create<RWLock>(detail::name_text(name)); }

  // An object of a type that the server's program registered (type.h); the arguments are its constructor's.
  template <typename... Arguments>
  Custom custom(std::string_view type, const Arguments&... arguments) const {
    return Custom(detail::open_custom(shared_state(), detail::Opening::kAnonymous, {}, type,
                                      [&](detail::Packer& out) { detail::pack_arguments(out, arguments...); }));
  }
  template <typename... Arguments>
  Custom custom(const Named& name, std::string_view type, const Arguments&... arguments) const {
    return Custom(detail::open_custom(shared_state(), detail::Opening::kOpenOrCreate, name.name(), type,
                                      [&](detail::Packer& out) { detail::pack_arguments(out, arguments...); }));
  }
  // The same for a class that this program knows, and that it has registered too.
  template <typename T, typename... Arguments>
  requires std::is_class_v<T> Remote<T> make(const Arguments&... arguments)
  const { return Remote<T>(custom(detail::registered_name(typeid(T)), arguments...)); }
  // The manager of the server that runs the calling constructor or method. UsageError outside of these.
  static Manager serving() { return Manager(detail::serving_manager()); }

  // ---- names

  // Arguments are what the type needs to be made: Value an initial value, Array its size, Lock its options.
  template <typename Proxy, typename... Arguments>
  Proxy create(std::string_view name, const Arguments&... arguments) const {
    return made<Proxy>(detail::Opening::kCreate, name, arguments...);
  }
  template <typename Proxy>
  Proxy open(std::string_view name) const {
    return made<Proxy>(detail::Opening::kOpen, name);
  }
  template <typename Proxy, typename... Arguments>
  Proxy open_or_create(std::string_view name, const Arguments&... arguments) const {
    return made<Proxy>(detail::Opening::kOpenOrCreate, name, arguments...);
  }
  // Takes the name off its object, which lives on as long as somebody refers to it. NameError when it is unknown.
  void remove(std::string_view name) const { detail::remove_name(state(), name); }
  // Every live object, anonymous ones too.
  std::vector<ObjectInfo> objects() const { return detail::list_objects(state()); }

  // ---- the server

  // "stock", or "anonymous-<pid>-<random>".
  std::string name() const { return detail::manager_name(state()); }
  // Where its files are; connect() takes it.
  std::string folder() const { return detail::manager_folder(state()); }
  // Ends the manager: its server, its files and its objects. Programs that use objects of it keep them until they end.
  // The name is free when it returns; TimeoutError when the server does not end within ten seconds. Any thread, and
  // several at once.
  void shutdown() const { detail::shut_down(state()); }
  // Ends the server of a named manager alone. Its objects stay, those who use them go on, and the next server of the
  // name, which can start when this returns, adopts them. Errors as shutdown(); UsageError for an anonymous manager.
  void detach() const { detail::detach(state()); }

  friend bool operator==(const Manager& a, const Manager& b) { return a.state_ == b.state_; }

 private:
  explicit Manager(const StartOptions& options) : Manager(detail::start_manager(options)) {}
  explicit Manager(std::shared_ptr<detail::ManagerState> state) : state_(std::move(state)) {}
  detail::ManagerState& state() const { return detail::present(state_, "a Manager"); }
  const std::shared_ptr<detail::ManagerState>& shared_state() const {
    (void)state();
    return state_;
  }

  // manager_inline.h
  template <typename Proxy, typename... Arguments>
  Proxy anonymous(const Arguments&... arguments) const;
  template <typename Proxy, typename... Arguments>
  Proxy made(detail::Opening opening, std::string_view name, const Arguments&... arguments) const;
  template <typename Proxy, typename Fill>
  Proxy filled_then_named(detail::Opening opening, std::string_view name, const detail::ObjectRequest& request,
                          const Fill& fill) const;
  template <typename Proxy, typename Contents>
  Proxy named_with(std::string_view name, const Contents& contents) const;
  template <typename Proxy, typename Contents>
  static Proxy filled(Proxy proxy, const Contents& contents);
  template <typename K, typename V>
  Dict<K, V> of_literals(std::initializer_list<detail::LiteralEntry<K, V>> entries) const;
  template <typename T>
  static void write_all(const Array<T>& array, const std::vector<T>& values);
  template <typename AnyLock>
  const AnyLock& own(const AnyLock& lock) const;

  std::shared_ptr<detail::ManagerState> state_;
};

}  // namespace commonhold

#include <commonhold/detail/manager_inline.h>
