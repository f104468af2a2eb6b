// libhccl's C functions: collectives of the processes of one machine, a star of sockets at rank 0.
//
// Everything is done when the call returns. Rank 0 takes what each rank brings, in the order of
// ranks, so results are the same to the bit each time, and gives each its part.
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>

#include "collective.h"
#include "context.h"
#include "sockets.h"
#include "third_party/hccl/inc/hccl/hccl.h"

using namespace npusim;

namespace {

// Rank 0's word before any data moves: whether all have come, and asked for the same.
struct Verdict {
  int64_t code = HCCL_SUCCESS, rank = 0;
  Call ours, theirs;
};

struct Communicator {
  int64_t rank, ranks, card;
  std::string name;
  std::vector<Socket> peers;  // at rank 0 each rank's, its own empty; at another one rank 0's alone
  Verdict broken;             // once it is, it stays so
  std::mutex lock;            // guards the two above: one collective at a time
};

std::mutex g_lock;  // guards g_roots
std::map<std::string, Socket> g_roots;
std::atomic<int> g_made{0};

int seconds(const char* variable, int otherwise) {
  const char* value = getenv(variable);
  return value && *value ? atoi(value) : otherwise;
}

// ---- what went wrong, in HCCL's words
std::string words_for(const Verdict& verdict) {
  const std::string rank = "rank " + std::to_string(verdict.rank);
  if (verdict.code == HCCL_E_PARA)
    return "EI0005: The arguments for collective communication are inconsistent between ranks: rank 0 calls " +
           verdict.ours.said() + ", " + rank + " calls " + verdict.theirs.said() + "\n";
  if (verdict.code == HCCL_E_TIMEOUT)
    return "EI0002: The wait execution of the Notify register times out. Reason: The Notify register has not "
           "received the Notify record from remote " + rank + ".\n";
  return "EI0006: Getting socket times out. Reason: Remote Rank did not send the data in time: " + rank + " is gone.\n";
}

HcclResult failed(const Verdict& verdict) {
  return static_cast<HcclResult>(fail_saying(verdict.code, words_for(verdict)));
}

// ---- the two sides of a collective; each throws a Verdict
void judge(const Communicator& comm, Verdict& verdict) {
  for (verdict.rank = 1; verdict.rank < comm.ranks; verdict.rank++) {
    try {
      comm.peers[verdict.rank].receive(&verdict.theirs, sizeof(Call));
    } catch (const PeerLost& lost) {
      verdict.code = lost.code;
    }
    if (!verdict.code && verdict.theirs != verdict.ours) verdict.code = HCCL_E_PARA;
    if (verdict.code) return;
  }
}

void tell_all(const Communicator& comm, const Verdict& verdict) {
  for (int64_t rank = 1; rank < comm.ranks; rank++) {
    try {
      comm.peers[rank].send(&verdict, sizeof verdict);
    } catch (const PeerLost&) {  // the one that the verdict is about; another one is missed soon
    }
  }
}

void lead(const Communicator& comm, const Call& call, const void* from, void* to) {
  Verdict verdict{HCCL_SUCCESS, 0, call};
  judge(comm, verdict);
  tell_all(comm, verdict);
  if (verdict.code) throw verdict;
  std::vector<Bytes> all(comm.ranks);
  for (int64_t rank = 0; rank < comm.ranks; rank++) {
    all[rank].resize(brought(call, rank, comm.ranks));
    if (rank) comm.peers[rank].receive(all[rank].data(), all[rank].size());
    else if (!all[0].empty()) memcpy(all[0].data(), from, all[0].size());
    if (rank && call.reduces()) fold(call, all[0], all[rank]);
  }
  for (int64_t rank = 0; rank < comm.ranks; rank++) {
    const Bytes theirs = answer(call, all, rank);
    if (rank) comm.peers[rank].send(theirs.data(), theirs.size());
    else if (!theirs.empty()) memcpy(to, theirs.data(), theirs.size());
  }
}

void follow(const Communicator& comm, const Call& call, const void* from, void* to) {
  const Socket& root = comm.peers[0];
  Verdict verdict;
  root.send(&call, sizeof call);
  root.receive(&verdict, sizeof verdict);
  if (verdict.code) throw verdict;
  root.send(from, brought(call, comm.rank, comm.ranks));
  root.receive(to, taken(call, comm.rank, comm.ranks));
}

HcclResult run(HcclComm handle, const Call& call, const void* from, void* to) {
  auto& comm = *static_cast<Communicator*>(handle);
  if (need("hcclLaunch")) return HCCL_E_RUNTIME;
  if (comm.card != current_index()) return static_cast<HcclResult>(fail(HCCL_E_PARA, "hcclLaunch on another card"));
  if (!call.possible()) return static_cast<HcclResult>(fail(HCCL_E_NOT_SUPPORT, call.said().c_str()));
  std::lock_guard<std::mutex> held(comm.lock);
  if (comm.broken.code) return failed(comm.broken);
  try {
    comm.rank ? follow(comm, call, from, to) : lead(comm, call, from, to);
    return HCCL_SUCCESS;
  } catch (const Verdict& verdict) {
    comm.broken = verdict;
  } catch (const PeerLost& lost) {  // amid the data: the star's other end
    comm.broken = {lost.code, comm.rank ? 0 : comm.ranks - 1};
  }
  comm.peers.clear();  // so all the others learn of it
  return failed(comm.broken);
}

// ---- communicators
void meet(Communicator& comm) {
  const int patience = seconds("HCCL_EXEC_TIMEOUT", 1836);
  if (comm.rank) {
    comm.peers.push_back(Socket::dialled(comm.name));
    comm.peers[0].send(&comm.rank, sizeof comm.rank);
  } else {
    std::lock_guard<std::mutex> held(g_lock);
    const Socket root = std::move(g_roots[comm.name]);
    root.wait_at_most(seconds("HCCL_CONNECT_TIMEOUT", 120));
    comm.peers.resize(comm.ranks);
    for (int64_t i = 1, rank; i < comm.ranks; i++) {
      Socket peer = root.accepted();
      peer.receive(&rank, sizeof rank);
      comm.peers[rank] = std::move(peer);
    }
  }
  for (const Socket& peer : comm.peers) peer.wait_at_most(patience);
}

}  // namespace

HcclResult HcclGetRootInfo(HcclRootInfo* info) {
  const std::string name = "npusim-hccl-" + std::to_string(getpid()) + "-" + std::to_string(g_made++);
  std::lock_guard<std::mutex> held(g_lock);
  g_roots[name] = Socket::listening(name);
  snprintf(info->internal, sizeof info->internal, "%s", name.c_str());
  return HCCL_SUCCESS;
}

HcclResult HcclCommInitRootInfo(uint32_t ranks, const HcclRootInfo* info, uint32_t rank, HcclComm* made) {
  if (need("hcclCommInitRootInfo")) return HCCL_E_RUNTIME;
  auto* comm = new Communicator{rank, ranks, current_index(), info->internal};
  try {
    meet(*comm);
  } catch (const PeerLost&) {
    delete comm;
    return failed({HCCL_E_NOT_FOUND, rank ? 0 : ranks - 1});
  }
  *made = comm;
  return HCCL_SUCCESS;
}

HcclResult HcclCommInitRootInfoConfig(uint32_t ranks, const HcclRootInfo* info, uint32_t rank,
                                      const HcclCommConfig*, HcclComm* made) {
  return HcclCommInitRootInfo(ranks, info, rank, made);
}

uint32_t HcclGetCommConfigCapability() { return HCCL_COMM_CONFIG_RESERVED; }
HcclResult HcclSetConfig(HcclConfig, HcclConfigValue) { return HCCL_SUCCESS; }
HcclResult HcclCommDestroy(HcclComm comm) { delete static_cast<Communicator*>(comm); return HCCL_SUCCESS; }
const char* HcclGetErrorString(HcclResult code) { return code ? "HCCL error" : "no error"; }
HcclResult HcclGetCommName(HcclComm comm, char* name) {
  return snprintf(name, COMM_NAME_MAX_LENGTH, "%s", static_cast<Communicator*>(comm)->name.c_str()), HCCL_SUCCESS;
}
// An error is the call's own here; none comes later.
HcclResult HcclGetCommAsyncError(HcclComm, HcclResult* error) { *error = HCCL_SUCCESS; return HCCL_SUCCESS; }

// ---- collectives
HcclResult HcclAllReduce(void* from, void* to, uint64_t count, HcclDataType type, HcclReduceOp op, HcclComm comm, aclrtStream) {
  return run(comm, {kAllReduce, static_cast<int64_t>(count), type, op}, from, to);
}
HcclResult HcclBroadcast(void* bytes, uint64_t count, HcclDataType type, uint32_t root, HcclComm comm, aclrtStream) {
  return run(comm, {kBroadcast, static_cast<int64_t>(count), type, 0, root}, bytes, bytes);
}
HcclResult HcclAllGather(void* from, void* to, uint64_t count, HcclDataType type, HcclComm comm, aclrtStream) {
  return run(comm, {kAllGather, static_cast<int64_t>(count), type}, from, to);
}
HcclResult HcclReduceScatter(void* from, void* to, uint64_t count, HcclDataType type, HcclReduceOp op, HcclComm comm, aclrtStream) {
  return run(comm, {kReduceScatter, static_cast<int64_t>(count), type, op}, from, to);
}
HcclResult HcclReduce(void* from, void* to, uint64_t count, HcclDataType type, HcclReduceOp op, uint32_t root, HcclComm comm, aclrtStream) {
  return run(comm, {kReduce, static_cast<int64_t>(count), type, op, root}, from, to);
}
HcclResult HcclScatter(void* from, void* to, uint64_t count, HcclDataType type, uint32_t root, HcclComm comm, aclrtStream) {
  return run(comm, {kScatter, static_cast<int64_t>(count), type, 0, root}, from, to);
}
HcclResult HcclAlltoAll(const void* from, uint64_t count, HcclDataType type, const void* to, uint64_t, HcclDataType, HcclComm comm, aclrtStream) {
  return run(comm, {kAlltoAll, static_cast<int64_t>(count), type}, from, const_cast<void*>(to));
}
HcclResult HcclBarrier(HcclComm comm, aclrtStream) { return run(comm, {}, nullptr, nullptr); }
