// libascendcl's C functions for recorded work, as far as torch_npu's graphs call them.
#include "recording.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <set>

#define API extern "C" __attribute__((visibility("default")))
#define NEED(call) \
  if (int code_ = need(call)) return code_

using namespace npusim;

namespace {

enum Mode { kGlobal, kThreadLocal, kRelaxed };
enum Status { kNone, kActive, kInvalidated };

thread_local Mode t_mode = kGlobal;
thread_local std::set<Recording*> t_begun;  // by this thread, and not ended
std::atomic<int> g_global{0};                // that forbid other threads, too

int thread_id() { return syscall(SYS_gettid); }

// Old chips record nothing.
bool records() { return strncmp(soc(), "Ascend310", 9) && strcmp(soc(), "Ascend910A"); }

int run(Recording& it) {
  for (Task& task : it.tasks)
    if (int code = task()) return code;
  return kOk;
}

}  // namespace

namespace npusim {

Recording* recording_on(void* stream) { return stream ? static_cast<Stream*>(stream)->recording : nullptr; }

int spoil(Recording* it, int code, const char* call) {
  if (it) it->spoiled = true;
  return fail(code, call);
}

int note(void* stream, Task task) {
  Recording* it = recording_on(stream);
  if (!it) return task();
  if (it->spoiled) return fail(kSpoiled, "rtStreamCapture");
  it->tasks.push_back(std::move(task));
  return kOk;
}

int may_wait(void* stream, const char* call) {
  Recording* it = recording_on(stream);
  return it ? spoil(it, kStreamRecords, call) : kOk;
}

int may_wait_for_all(const char* call) { return t_begun.empty() ? kOk : spoil(*t_begun.begin(), kStreamRecords, call); }

int safe(const char* call) {
  if (t_mode == kRelaxed) return kOk;
  for (Recording* it : t_begun)
    if (it->mode != kRelaxed) return spoil(it, kUnsafe, call);
  return t_begun.empty() && g_global && t_mode == kGlobal ? fail(kUnsafe, call) : kOk;
}

}  // namespace npusim

API int aclmdlRICaptureBegin(void* stream, int mode) {
  NEED("rtStreamBeginCapture");
  if (!records()) return fail(kNotSupported, "rtStreamBeginCapture");
  if (!stream) return fail(kBadParameter, "rtStreamBeginCapture");
  if (recording_on(stream)) return fail(kStreamRecords, "rtStreamBeginCapture");
  auto* it = new Recording{mode, thread_id()};
  static_cast<Stream*>(stream)->recording = it;
  t_begun.insert(it);
  g_global += mode == kGlobal;
  return kOk;
}

API int aclmdlRICaptureGetInfo(void* stream, int* status, void** model) {
  Recording* it = recording_on(stream);
  *status = !it ? kNone : it->spoiled ? kInvalidated : kActive;
  if (model) *model = it;
  return kOk;
}

API int aclmdlRICaptureEnd(void* stream, void** model) {
  *model = nullptr;
  Recording* it = recording_on(stream);
  if (!it) return fail(kNoRecording, "rtStreamEndCapture");
  if (it->thread != thread_id()) return spoil(it, kWrongThread, "rtStreamEndCapture");
  static_cast<Stream*>(stream)->recording = nullptr;
  t_begun.erase(it);
  g_global -= it->mode == kGlobal;
  const int code = it->spoiled ? fail(kSpoiled, "rtStreamEndCapture") : need("rtStreamEndCapture");
  if (code) return delete it, code;
  state().recordings++;
  *model = it;
  return kOk;
}

API int aclmdlRIExecuteAsync(void* model, void* stream) {
  NEED("rtModelExecute");
  if (Recording* it = recording_on(stream)) return spoil(it, kStreamRecords, "rtModelExecute");
  state().replays++;
  return run(*static_cast<Recording*>(model));
}

API int aclmdlRIDestroy(void* model) {
  delete static_cast<Recording*>(model);
  return kOk;
}

API int aclmdlRICaptureThreadExchangeMode(int* mode) {
  Mode before = t_mode;
  t_mode = static_cast<Mode>(*mode);
  *mode = before;
  return kOk;
}

API int aclrtSetStreamAttribute(void*, int, void*) { return kOk; }

// ---- for the kernels of ops.cpp
API bool npusim_records(void* stream) { return recording_on(stream); }
API int npusim_note(void* stream, Task* task) { return note(stream, *task); }
API int npusim_may_copy(const void* host) { return pinned(host) ? kOk : safe("rtMemcpyAsync"); }
API int npusim_may_wait(void* stream) { return may_wait(stream, "rtStreamSynchronize"); }
API bool npusim_alive(const void* pointer) { return alive(pointer); }
API int npusim_failed(const char* said) { return fail_saying(kTaskFailed, said); }
