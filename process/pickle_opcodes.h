// The opcodes of Python's pickles (protocols 2 to 5) that this library knows: Python's pickletools describes each.
// Numbers are little-endian, but for a float's, and texts UTF-8.
#pragma once

namespace commonhold::detail::opcode {

inline constexpr unsigned char
    // The frame of a pickle.
    kProtocol = 0x80,  // one byte: the protocol
    kFrame = 0x95,     // 8 bytes: how many follow that are read at once
    kStop = '.',       // the value is the one on the stack
    // Values, put on the stack.
    kNone = 'N', kTrue = 0x88, kFalse = 0x89, kInt1 = 'K', kInt2 = 'M',
    kInt4 = 'J',                              // 1 or 2 bytes without a sign; 4 with one
    kLong1 = 0x8a, kLong4 = 0x8b,             // a length of 1 or 4 bytes, and a number of so many
    kFloat = 'G',                             // 8 bytes, big-endian
    kStr1 = 0x8c, kStr4 = 'X', kStr8 = 0x8d,  // a length of 1, 4 or 8 bytes, and the text
    kBytes1 = 'C', kBytes4 = 'B', kBytes8 = 0x8e, kByteArray8 = 0x96, kEmptyList = ']', kEmptyTuple = ')',
    kEmptyDict = '}', kEmptySet = 0x8f,
    // Containers of what is on the stack: of the topmost 1, 2 or 3, else of what is above the last mark.
    kMark = '(', kTuple1 = 0x85, kTuple2 = 0x86, kTuple3 = 0x87, kTuple = 't', kFrozenset = 0x91, kAppend = 'a',
    kAppends = 'e', kSetItem = 's', kSetItems = 'u', kAddItems = 0x90, kPop = '0', kPopMark = '1',
    // The memo: values that are mentioned again.
    kMemoize = 0x94, kPut1 = 'q', kPut4 = 'r', kGet1 = 'h', kGet4 = 'j',
    // Classes and the like; these are told apart to say what was met.
    kGlobal = 'c', kInst = 'i',  // two lines: module and name
    kStackGlobal = 0x93,         // of the topmost two texts
    kExtension1 = 0x82, kExtension2 = 0x83, kExtension4 = 0x84, kPersistentId = 'P', kBinaryPersistentId = 'Q',
    kNextBuffer = 0x97, kReadonlyBuffer = 0x98;

}  // namespace commonhold::detail::opcode
