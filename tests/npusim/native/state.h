// What a simulated machine shares with its tests: what threads did, what cards hold, what is to fail.
//
// One for each process, in a file of its own where $NPUSIM_STATE names a directory; `machine.py`
// reads and writes the same bytes, from inside or from another process. Every field is 8 bytes.
#pragma once
#include <atomic>
#include <cstdint>

namespace npusim {

using Number = std::atomic<int64_t>;

constexpr int kCards = 8;       // as many as a server has
constexpr int kThreads = 4096;  // that touched a card, in a process' life
constexpr int kName = 64;

struct Card {
  Number used;        // bytes
  Number peak;        // bytes
  Number capacity;    // bytes; a malloc beyond it is refused
  Number mallocs;     // asked for, refused ones included
  Number refuse_in;   // mallocs until some are refused; -1: never
  Number refusals;    // how many are refused then
  Number error;       // the code that every call gets once the card is lost
  Number lost_in;     // calls until it is lost; -1: never
  Number lost;        // 1 once it is
};

struct Thread {
  Number id;         // the kernel's
  Number python;     // 1: started by threading, or the main thread
  Number pinned;     // times that it bound itself: torch.npu.set_device, `with torch.npu.device(i)`
  Number bound;      // times that the driver was asked to bind it, torch_npu's own guards included
  Number calls;      // that need a context
  Number astray;     // those of them that had none, or (strict) none that the thread chose
  Number defaulted;  // those that fell on CANN's default device
  Number cards;      // bit i: something was done on card i
  char name[kName];  // Python's, cut
};

struct State {
  Number strict;      // 1: a Python thread that did not bind itself has no context
  Number cards;       // that are in the machine, visible or not
  Number threads;     // records in use
  Number kernels;     // run
  Number bfloat16;    // 1: operators take it
  Number jit;         // 1: each operator is compiled for each new shape
  Number compiles;    // done
  Number compile_us;  // that one takes
  Number recordings;  // of work, that came to their end
  Number replays;     // of any of them
  Card card[kCards];
  Thread thread[kThreads];
};

}  // namespace npusim
