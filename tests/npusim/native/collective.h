// What a collective is: what each rank brings and takes, in bytes. Knows no process.
#pragma once
#include <cstring>
#include <string>
#include <vector>

#include "reduce.h"

namespace npusim {

using Bytes = std::vector<char>;

enum Operation { kAllReduce, kBroadcast, kAllGather, kReduceScatter, kReduce, kScatter, kAlltoAll, kBarrier };

// What all ranks must ask for alike. `count` is of one part: what a rank sends to another one.
struct Call {
  int64_t operation = kBarrier, count = 0, type = HCCL_DATA_TYPE_INT8, reduction = HCCL_REDUCE_SUM, root = 0;

  bool operator!=(const Call& other) const { return memcmp(this, &other, sizeof *this); }
  size_t part() const { return count * bytes_of(type); }
  bool reduces() const { return operation == kAllReduce || operation == kReduceScatter || operation == kReduce; }
  bool possible() const { return bytes_of(type) && (!reduces() || fold_of(type)); }

  std::string said() const {
    static const char* const names[] = {"HcclAllReduce", "HcclBroadcast", "HcclAllGather", "HcclReduceScatter",
                                        "HcclReduce",    "HcclScatter",   "HcclAlltoAll",  "HcclBarrier"};
    const auto number = [](int64_t x) { return std::to_string(x); };
    return names[operation] + ("(count " + number(count)) + ", dataType " + number(type) + ", op " +
           number(reduction) + ", root " + number(root) + ")";
  }
};

inline size_t brought(const Call& call, int64_t rank, int64_t ranks) {
  switch (call.operation) {
    case kBroadcast: return rank == call.root ? call.part() : 0;
    case kScatter: return rank == call.root ? call.part() * ranks : 0;
    case kReduceScatter: case kAlltoAll: return call.part() * ranks;
    default: return call.part();
  }
}

inline size_t taken(const Call& call, int64_t rank, int64_t ranks) {
  switch (call.operation) {
    case kReduce: return rank == call.root ? call.part() : 0;
    case kAllGather: case kAlltoAll: return call.part() * ranks;
    default: return call.part();
  }
}

// Adds a rank's numbers to those of the ranks before it.
inline void fold(const Call& call, Bytes& into, const Bytes& more) {
  fold_of(call.type)(into.data(), more.data(), into.size() / bytes_of(call.type), call.reduction);
}

// What `rank` takes of what all brought; where the call reduces, the first has become all's.
inline Bytes answer(const Call& call, const std::vector<Bytes>& all, int64_t rank) {
  Bytes found;
  const auto add = [&](const Bytes& from, size_t index) {
    const auto begin = from.begin() + index * call.part();
    found.insert(found.end(), begin, begin + call.part());
  };
  switch (call.operation) {
    case kBroadcast: add(all[call.root], 0); break;
    case kScatter: add(all[call.root], rank); break;
    case kReduceScatter: add(all[0], rank); break;
    case kAllGather: for (const Bytes& each : all) add(each, 0); break;
    case kAlltoAll: for (const Bytes& each : all) add(each, rank); break;
    case kReduce: if (rank == call.root) add(all[0], 0); break;
    default: add(all[0], 0);
  }
  return found;
}

}  // namespace npusim
