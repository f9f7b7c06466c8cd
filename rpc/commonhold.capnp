@0x8a0737e3e982d06f;

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("commonhold::rpc::schema");

# The protocol between a Commonhold server and its clients. This file is the specification: another client can be
# written from it alone.
#
# Cap'n Proto RPC coordinates: who may come in, which objects exist, how they are called. On one machine it carries no
# data: an object's contents are in the shared-memory segment, whose place and format `SegmentInfo` names, and a client
# works there without the server. A server may therefore die and be restarted while clients go on; they connect again
# and find the same objects under the same ids.
#
# TRANSPORT. The standard two-party protocol (capnp/rpc-twoparty) over the Unix socket FOLDER/socket, whose other end is
# a process of the same user: the server asks the kernel (SO_PEERCRED) and closes the connection of anybody else before
# it reads a byte. A message has at most 4 MiB; a larger one, or bytes that are no message, close the connection. The
# bootstrap interface is `Door`. The protocol is written so that it can be served over TCP to remote clients too: these
# always answer the challenge, get no SegmentInfo, and their objects come with further capabilities.
#
# LIFETIMES
#   connection   From connect to close. Nothing in the segment belongs to a connection: that the socket closed proves
#                nothing about the process behind it, and changes nothing but the holds below.
#   client       A process that changes anything in the segment takes a session record there (shm/layout.h) and keeps
#                one byte of FOLDER/locks locked with fcntl. Its end is proven by the kernel, not by this protocol.
#   object       Lives while it has a name, or a client session refers to it (a cell in the session's reference pages),
#                or another object contains a reference to it, or a Hold on it is alive. When nothing is left of these
#                the server destroys it and gives its memory back.
#   object id    {index, generation}: names one object for ever, also after the server was restarted; it is never used
#                again. The id of an object that was destroyed gives `gone`.

struct ObjectId {
  index @0 :UInt32;       # of the object's record in the segment
  generation @1 :UInt32;  # of the record's use; never 0 for an object
}

# Numbered as in the segment. Later versions append; a client that gets a kind it does not know can still list it,
# remove it and pass its id on.
enum ObjectKind {
  none @0;
  dict @1;
  list @2;
  value @3;
  array @4;
  lock @5;
  rlock @6;
  semaphore @7;
  condition @8;
  event @9;
  barrier @10;
  rwlock @11;
  queue @12;
  priorityQueue @13;
  namespace @14;
  set @15;
  custom @16;
}

# Why a call failed. Failures that a caller can expect are replies; exceptions of the RPC layer are left for a
# connection that is gone and for messages that break the protocol.
struct Failure {
  code @0 :Code;
  message @1 :Text;  # one sentence or two for a person: the operands, what is wrong, what to do about it

  enum Code {
    internal @0;        # the server's own fault
    authentication @1;  # the answer to the challenge is wrong; the server closes the connection after this reply
    invalid @2;         # an argument that no server would accept: a name with a slash, an array of 0-byte elements
    notFound @3;        # no object has the name
    exists @4;          # an object has the name already
    typeMismatch @5;    # the object has another type; the message names both signatures
    gone @6;            # the id is of an object that was destroyed
    outOfMemory @7;     # the memory limit is reached or the file system is full; nothing was changed
    tooMany @8;         # no free object record
    tooLarge @9;        # a name of more than 95 bytes, a signature of more than 255
    shuttingDown @10;   # the server was asked to end
    unsupported @11;    # this server does not know the kind of object or the version of the protocol
    unknownType @12;    # no type of that name was registered in the server's program
    unknownMethod @13;  # the type has no such method
    otherOptions @14;   # the object was made with other options than the caller insists on; the message names both
  }
}

struct Outcome {
  union {
    ok @0 :Void;
    failure @1 :Failure;
  }
}

# ---- coming in ------------------------------------------------------------------------------------------------------

# What a stranger gets: nothing but the chance to prove that he knows the key. One Door per connection; it is good for
# one answer. A connection that has not answered within 10 seconds is closed.
#
# The two ends prove to each other that they know the authkey (FOLDER/authkey, mode 0600, or agreed upon otherwise)
# without sending it:
#
#   client                                        server
#   challenge()                              -->
#                                            <--  serverNonce (32 random bytes, good for this connection only)
#   clientNonce (32 random bytes),           -->
#   proof("client")                               checks it
#                                            <--  proof("server"), a Session
#   checks it before it uses the Session
#
#   proof(role) = HMAC-SHA512-256(authkey, "commonhold 1 " + role + "\0" + serverNonce + clientNonce), 32 bytes:
#   libsodium's crypto_auth_hmacsha512256. The role keeps one end from sending the other's proof back.
interface Door {
  challenge @0 () -> (serverNonce :Data, protocolVersion :UInt32);
  # A second call on one connection gives the same nonce. protocolVersion is 1.

  answer @1 (clientNonce :Data, proof :Data, client :ClientInfo) -> (result :Admission);
  # A wrong proof fails with `authentication`, and the connection is closed: another try needs another connection and
  # gets another nonce. Whatever is called after the first answer fails with `authentication` too.
}

struct ClientInfo {
  pid @0 :UInt32;             # as the client sees itself; for the server's log
  title @1 :Text;             # the program's name, for people
  libraryVersion @2 :Text;    # "0.1.0", for people
}

struct Admission {
  union {
    ok :group {
      proof @0 :Data;
      session @1 :Session;
      server @2 :ServerInfo;  # read it only after the proof was checked
    }
    failure @3 :Failure;
  }
}

struct ServerInfo {
  name @0 :Text;            # of the manager: "stock", or "anonymous-<pid>-<random>"
  pid @1 :UInt32;
  libraryVersion @2 :Text;
  anonymous @3 :Bool;       # ends with its last owner; otherwise it stays until `shutdown`
  starts @4 :UInt64;        # 1 for the first server of this segment, one more for each that adopted it
  segment @5 :SegmentInfo;  # null for a client of another machine
}

# Where the data is. The client maps FOLDER/segment, reads the header, and refuses with a sentence that names both
# values when one of these differs from the header or from what it was compiled for.
struct SegmentInfo {
  folder @0 :Text;            # absolute; holds segment, locks, bell, socket, authkey
  formatVersion @1 :UInt32;   # kFormatVersion of shm/layout.h; docs/segment_format.md describes the format
  layoutHash @2 :UInt32;      # of sizes, offsets, byte order and word size
  nonce @3 :UInt64;           # of the header: two segments of one name differ in it. A client whose server was replaced
                              # together with its segment learns here that its objects are gone for good
}

# ---- inside ---------------------------------------------------------------------------------------------------------

# What a client that knows the key may do. It lives as long as the connection; dropping it earlier does nothing but end
# its use. All methods may be called concurrently and are answered in any order; each is done as a whole or not at all.
# None of them waits for another client.
interface Session {
  create @0 (plan :ObjectPlan) -> (result :OpenResult);
  # Of kind custom: the constructor runs on a thread of its own, and what it throws is a failure `internal`.
  # Makes an object. `exists` when its name is taken. Without a name it is anonymous: it lives as long as it is
  # referred to.

  open @1 (name :Text, kind :ObjectKind, signature :Text, arguments :List(UInt64), compared :UInt32)
      -> (result :OpenResult);
  # The object of that name. `typeMismatch` unless its kind and signature are those given; `none` with an empty
  # signature accepts any; `custom` with the signature "custom" accepts every custom type. `otherOptions` as in ObjectPlan.

  openOrCreate @2 (plan :ObjectPlan) -> (result :OpenResult);
  # The object of the plan's name, made from the plan when there is none. Of several clients that call this at once
  # exactly one creates. `typeMismatch` as in open; `invalid` without a name; `otherOptions` when it was made
  # from other arguments than the plan's, of those that the plan compares.

  openById @3 (id :ObjectId, kind :ObjectKind, signature :Text) -> (result :OpenResult);
  # The object of that id, named or not: this is how a token that one client gave to another becomes an object.
  # `gone` when it was destroyed; kind and signature as in open.

  name @11 (object :ObjectId, name :Text, orOpen :Bool) -> (result :OpenResult);
  # Gives a name to an anonymous object, which the caller has filled meanwhile: so nobody sees a named object without its
  # first contents, whoever dies. When another object has the name: `exists`, or with orOpen the reply is that object,
  # which must have the same kind, signature and options. An object that has that very name already is the reply, so
  # that the call can be repeated. `invalid` when the object has, or had, another name; `gone` when it was destroyed.

  remove @4 (name :Text) -> (result :Outcome);
  # Takes the name off; `notFound` when no object has it. The name is free at once. Those who use the object go on
  # using it, and it ends with the last of them.

  list @5 (after :UInt32, limit :UInt32) -> (objects :List(ObjectInfo), next :UInt32);
  # Live objects with an index above `after` (0: from the start) in the order of their indexes, at most `limit` of them
  # (0, or above 1000: 1000). `next` is the `after` of the next call, 0 when there are no more.

  stats @6 () -> (stats :Stats);

  call @8 (object :ObjectId, method :Text, arguments :Data) -> (result :CallResult);
  # Calls a method of an object of kind custom: the one thing that lives in the server's process and not in the segment.
  # `arguments` is a MessagePack array; its references (extension 3) are to objects that the caller keeps until the
  # reply. The method runs on a thread of its own beside all other calls, so that it may take as long as it likes: a
  # call that waits holds up nobody else. When the connection closes the method runs on and its result is dropped.
  # `gone` when the object was destroyed, or ended with a server before this one; `unknownMethod`.

  methods @9 (object :ObjectId) -> (result :MethodsResult);
  # The names of the methods of a custom object, sorted.

  shutdown @7 () -> (result :Outcome);
  # Ends the server: new sessions are refused, the reply is sent, the folder's files are removed, the process ends
  # (an embedded server stops serving). Clients that have the segment mapped keep what they have mapped and lose it
  # when they end.

  detach @10 () -> (result :Outcome);
  # Ends the server and leaves the folder with all objects to the next server of the name; clients go on meanwhile.
  # `invalid` for an anonymous manager, which has no next one.
}

struct ObjectPlan {
  kind @0 :ObjectKind;
  name @1 :Text;       # at most 95 bytes, no null byte; empty: anonymous
  signature @2 :Text;  # of the element types, at most 255 bytes: "dict<text,int64>". The server compares it, no more
  arguments @3 :List(UInt64);
  # What the kind needs to be made; missing ones are 0.
  #   dict    [0] shards, 0: the server decides
  #   list    [0] 1: elements are boxes of any size, 0: words of one scalar kind
  #   value   [0] bytes, [1] the initial word when there are at most 8 of them
  #   array   [0] elements, [1] bytes of one
  #   lock    [0] 1, poison: when an owner dies, acquiring fails until the lock is marked consistent; [1] 1, handover:
  #           others release it, so an owner that acquires it again waits
  #   rlock   [0] as a lock's
  #   condition    [0] the ObjectId of its lock or rlock as generation << 32 | index, and [1] the segment's
  #                nonce; 0: an rlock of its own
  #   barrier      [0] parties, [1] nanoseconds that those wait who say nothing else; 2^63 - 1: for ever
  #   semaphore  [0] its start, [1] 1: it never rises above that, [2] 1: what the dead acquired does not come back
  #   rwlock  nothing
  #   custom  none; the signature is "custom<TYPE>", TYPE a name that was registered in the server's program

  compared @5 :UInt32;
  # Bit i: an object that has the name already must have been made with the same arguments[i], else `otherOptions`. Only
  # options are compared: poison, maxsize, redelivery, the size of an array, parties and timeout, a semaphore's start and
  # items, a condition's lock. A value's first contents and a dict's shards are the creator's business.

  data @4 :Data;       # custom: the constructor's arguments, a MessagePack array as in Session.call
}

struct OpenResult {
  union {
    ok @0 :OpenedObject;
    failure @1 :Failure;
  }
}

struct CallResult {
  union {
    ok :group {
      value @0 :Data;          # MessagePack; null where the method returns nothing
      holds @1 :List(Hold);    # keep the objects that `value` refers to until the caller noted its own references
    }
    failure @2 :Failure;       # the method was not called
    raised :group {            # the method, or what makes its arguments and result, threw
      type @3 :Text;           # of the exception, as its language writes it: "std::out_of_range"
      message @4 :Text;
    }
  }
}

struct MethodsResult {
  union {
    ok @0 :List(Text);
    failure @1 :Failure;
  }
}

struct OpenedObject {
  id @0 :ObjectId;
  kind @1 :ObjectKind;
  signature @2 :Text;
  control @3 :UInt64;  # offset of the control block in the segment, as in the object's record
  created @4 :Bool;    # this call made it

  hold @5 :Hold;
  # Keeps the object alive until the client has noted its own reference in the segment. The client stores that
  # reference first and drops the hold then. A client that dies in between leaves a hold that ends with the connection.
}

# Keeps one object alive, in the server's memory only. It ends when it is dropped or the connection ends, whichever is
# first; then the server looks whether anything else keeps the object. A hold does not survive the server: a client that
# loses the connection before it noted its reference must open the object again.
interface Hold {}

struct ObjectInfo {
  id @0 :ObjectId;
  kind @1 :ObjectKind;
  name @2 :Text;
  signature @3 :Text;
  bytes @4 :UInt64;         # of memory that the object owns
  sessions @5 :UInt32;      # client sessions that refer to it
  heldInside @6 :UInt64;    # references from other objects
  createdNs @7 :UInt64;     # since 1970, UTC
}

struct Stats {
  objects @0 :UInt32;
  sessions @1 :UInt32;         # live client sessions, the server's own not counted
  connections @2 :UInt32;
  usedBytes @3 :UInt64;        # of committedBytes, in extents that belong to objects; the rest is reusable
  committedBytes @4 :UInt64;   # of extents that are backed by memory
  limitBytes @5 :UInt64;       # the memory limit
  recoveredSessions @6 :UInt64;  # dead sessions that this server cleaned up
  destroyedObjects @7 :UInt64;   # unreferred objects that this server gave back
  uptimeNs @8 :UInt64;
}
