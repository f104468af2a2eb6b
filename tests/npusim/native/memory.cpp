// libascendcl's C functions for memory: a card's bytes are the host's, counted and limited.
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>

#include "recording.h"

#define API extern "C" __attribute__((visibility("default")))
#define NEED(call) \
  if (int code_ = need(call)) return code_

using namespace npusim;

namespace {

struct Block { int64_t size; int card; };

std::mutex g_lock;  // guards both
std::map<void*, Block> g_blocks;
std::map<const void*, size_t> g_pinned;

// An injected refusal: the countdown has ended and refusals are left.
bool refused(Card& card) {
  if (card.refuse_in < 0) return false;
  if (card.refuse_in > 0) return card.refuse_in--, false;
  if (card.refusals.fetch_sub(1) > 1) return true;
  card.refuse_in = -1;
  return true;
}

int taken(void** pointer, size_t size) {
  NEED("rtMalloc");
  Card& card = current();
  card.mallocs++;
  const int64_t bytes = size;
  if (refused(card) || card.used + bytes > card.capacity) return fail(kOutOfMemory, "rtMalloc");
  if (posix_memalign(pointer, 512, size ? size : 1)) return fail(kOutOfMemory, "rtMalloc");
  const int64_t used = card.used += bytes;
  if (used > card.peak) card.peak = used;
  std::lock_guard<std::mutex> held(g_lock);
  g_blocks[*pointer] = {bytes, current_index()};
  return kOk;
}

int given_back(void* pointer) {
  std::lock_guard<std::mutex> held(g_lock);
  auto found = g_blocks.find(pointer);
  if (found == g_blocks.end()) return fail(kBadParameter, "rtFree");
  state().card[found->second.card].used -= found->second.size;
  g_blocks.erase(found);
  free(pointer);
  return kOk;
}

// Now, or recorded: a copy from or to the host, whose memory may then have moved, is neither.
int copied(void* to, const void* from, size_t size, void* stream) {
  for (const void* side : {static_cast<const void*>(to), from})
    if (!alive(side) && !pinned(side))
      if (int code = safe("rtMemcpyAsync")) return code;
  return note(stream, [=] { return memmove(to, from, size), kOk; });
}

}  // namespace

namespace npusim {

bool alive(const void* pointer) {
  std::lock_guard<std::mutex> held(g_lock);
  auto after = g_blocks.upper_bound(const_cast<void*>(pointer));
  if (after == g_blocks.begin()) return false;
  auto& [begin, block] = *--after;
  return static_cast<const char*>(pointer) < static_cast<char*>(begin) + block.size;
}

bool pinned(const void* pointer) {
  std::lock_guard<std::mutex> held(g_lock);
  auto after = g_pinned.upper_bound(pointer);
  if (after == g_pinned.begin()) return false;
  auto& [begin, size] = *--after;
  return static_cast<const char*>(pointer) < static_cast<const char*>(begin) + size;
}

}  // namespace npusim

API int aclrtMalloc(void** pointer, size_t size, int) { return taken(pointer, size); }
API int aclrtMallocAlign32(void** pointer, size_t size, int) { return taken(pointer, size); }
API int aclrtFree(void* pointer) { return given_back(pointer); }
API int aclrtGetMemInfo(int, size_t* free_bytes, size_t* total) {
  NEED("rtMemGetInfoEx");
  *total = current().capacity;
  *free_bytes = current().capacity - current().used;
  return kOk;
}
API int aclrtMallocHost(void** pointer, size_t size) {
  NEED("rtMallocHost");
  if (posix_memalign(pointer, 64, size ? size : 1)) return fail(kOutOfMemory, "rtMallocHost");
  std::lock_guard<std::mutex> held(g_lock);
  g_pinned[*pointer] = size;
  return kOk;
}
API int aclrtMallocHostWithCfg(void** pointer, uint64_t size, void*) { return aclrtMallocHost(pointer, size); }
API int aclrtFreeHost(void* pointer) {
  std::lock_guard<std::mutex> held(g_lock);
  g_pinned.erase(pointer);
  free(pointer);
  return kOk;
}
API int aclrtMemcpy(void* to, size_t, const void* from, size_t size, int) {
  NEED("rtMemcpy");
  if (int code = safe("rtMemcpy")) return code;
  memmove(to, from, size);
  return kOk;
}
API int aclrtMemcpyAsync(void* to, size_t, const void* from, size_t size, int, void* stream) {
  NEED("rtMemcpyAsync");
  return copied(to, from, size, stream);
}
API int aclrtMemset(void* to, size_t, int32_t value, size_t size) {
  NEED("rtMemset");
  if (int code = safe("rtMemset")) return code;
  memset(to, value, size);
  return kOk;
}
API int aclrtMemsetAsync(void* to, size_t, int32_t value, size_t size, void* stream) {
  NEED("rtMemsetAsync");
  return note(stream, [=] { return memset(to, value, size), kOk; });
}
