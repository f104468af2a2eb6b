// libascendcl's C functions for devices, streams and events, as far as torch_npu calls them.
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <unistd.h>

#include "recording.h"

#define API extern "C" __attribute__((visibility("default")))
#define NEED(call) \
  if (int code_ = need(call)) return code_

using namespace npusim;

namespace {

struct Event {
  double at = 0;  // milliseconds
  bool recorded = false;  // a part of a recording, which nobody can wait for
};

std::atomic<bool> g_ready{false};
std::atomic<int> g_streams{0};

double now() {
  using namespace std::chrono;
  return duration<double, std::milli>(steady_clock::now().time_since_epoch()).count();
}

bool names_default_device(const char* path) {
  std::ifstream file(path);
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  return text.find("\"defaultDevice\"") != std::string::npos;
}

}  // namespace

// ---- the library and its version
API int aclInit(const char* path) {
  if (g_ready.exchange(true)) return kRepeatedInit;
  if (path && strcmp(cann_version(), "8.3") >= 0 && names_default_device(path)) use_default_device();
  return kOk;
}
API int aclFinalize() { g_ready = false; return kOk; }
API const char* aclGetRecentErrMsg() { return words(); }
API const char* aclrtGetSocName() { return soc(); }
API int aclsysGetCANNVersion(int, char* version) { return snprintf(version, 128, "%s", cann_version()), kOk; }
API int aclsysGetVersionStr(char*, char* version) { return snprintf(version, 128, "%s", cann_version()), kOk; }
API void aclAppLog(int, const char*, const char*, uint32_t, const char*, ...) {}
API int aclGetDeviceCapability(uint32_t, int, int64_t* cores) { *cores = 24; return kOk; }
API int aclrtGetDeviceInfo(uint32_t, int, int64_t* cores) { *cores = 24; return kOk; }
API int aclGetCannAttribute(int, int32_t* value) { *value = 1; return kOk; }

// ---- compile options: one is simulated, whether operators are compiled for each shape
API size_t aclGetCompileoptSize(int) { return 128; }
API int aclGetCompileopt(int, char* value, size_t size) {
  return snprintf(value, size, "%s", state().jit ? "enable" : "disable"), kOk;
}
API int aclSetCompileopt(int option, const char* value) {
  constexpr int kJitCompile = 10;  // ACL_OP_JIT_COMPILE in acl_op_compiler.h
  if (option == kJitCompile) state().jit = !strcmp(value, "enable");
  return kOk;
}

// ---- devices and contexts. Binding to a lost card succeeds: torch_npu binds in noexcept guards.
API int aclrtGetDeviceCount(uint32_t* count) { *count = visible_count(); return kOk; }
API int aclrtSetDevice(int32_t number) { return bind(number); }
API int aclrtGetDevice(int32_t* number) {
  *number = bound_number();
  return *number < 0 ? fail(kNoContext, "rtGetDevice") : kOk;
}
API int aclrtResetDevice(int32_t number) {
  if (bound_number() == number) unbind();
  return kOk;
}
API int aclrtGetCurrentContext(void** context) {
  int number = bound_number();
  if (number < 0) return fail(kNoContext, "rtCtxGetCurrent");
  *context = &state().card[visible_card(number)];
  return kOk;
}
API int aclrtSetCurrentContext(void* context) {
  for (int i = 0; i < visible_count(); i++)
    if (context == &state().card[visible_card(i)]) return bind(i);
  return fail(kBadParameter, "rtCtxSetCurrent");
}
API int aclrtGetPrimaryCtxState(int32_t number, uint32_t*, int32_t* active) {
  *active = number < visible_count() && state().card[visible_card(number)].mallocs > 0;
  return kOk;
}
API int aclrtSetDeviceSatMode(int) { NEED("rtSetDeviceSatMode"); return kOk; }
API int aclrtSetOpExecuteTimeOut(uint32_t) { return kOk; }
API int aclrtSetOpWaitTimeout(uint32_t) { return kOk; }
API int aclrtCtxSetSysParamOpt(int, int64_t) { NEED("rtCtxSetSysParamOpt"); return kOk; }
API int aclrtCtxGetSysParamOpt(int, int64_t* value) { NEED("rtCtxGetSysParamOpt"); *value = 0; return kOk; }
API int aclrtSetSysParamOpt(int, int64_t) { return kOk; }
API int aclrtGetSysParamOpt(int, int64_t* value) { *value = 0; return kOk; }
API int aclrtDeviceCanAccessPeer(int32_t* can, int32_t, int32_t) { *can = 1; return kOk; }
API int aclrtDeviceEnablePeerAccess(int32_t, uint32_t) { return kOk; }
API int aclrtDeviceGetBareTgid(int32_t* pid) { *pid = getpid(); return kOk; }
API int aclrtSynchronizeDevice() { NEED("rtDeviceSynchronize"); return may_wait_for_all("rtDeviceSynchronize"); }
API int aclrtSynchronizeDeviceWithTimeout(int32_t) { return aclrtSynchronizeDevice(); }
API int aclrtPeekAtLastError(int) { return kOk; }
API int aclrtGetLastError(int) { return last_error(); }
API int aclrtGetDeviceUtilizationRate(int32_t, void*) { return kOk; }

// ---- streams: everything is done when the call returns
API int aclrtCreateStreamWithConfig(void** stream, uint32_t, uint32_t) {
  NEED("rtStreamCreate");
  *stream = new Stream{g_streams++};
  return kOk;
}
API int aclrtCreateStream(void** stream) { return aclrtCreateStreamWithConfig(stream, 0, 0); }
API int aclrtDestroyStream(void* stream) { delete static_cast<Stream*>(stream); return kOk; }
API int aclrtDestroyStreamForce(void* stream) { return aclrtDestroyStream(stream); }
API int aclrtSynchronizeStream(void* stream) {
  NEED("rtStreamSynchronize");
  return may_wait(stream, "rtStreamSynchronize");
}
API int aclrtSynchronizeStreamWithTimeout(void* stream, int32_t) { return aclrtSynchronizeStream(stream); }
API int aclrtStreamQuery(void* stream, int* done) { *done = 0; return may_wait(stream, "rtStreamQuery"); }
API int aclrtSetStreamFailureMode(void*, uint64_t) { return kOk; }
API int aclrtStreamGetId(void* stream, int32_t* id) {
  *id = stream ? static_cast<Stream*>(stream)->number : 0;
  return kOk;
}
API int aclrtStreamWaitEvent(void* stream, void* event) {
  NEED("rtStreamWaitEvent");
  Recording* it = recording_on(stream);
  const bool within = static_cast<Event*>(event)->recorded;
  return within == (it != nullptr) ? kOk : spoil(it, kDependency, "rtStreamWaitEvent");
}

// ---- events
API int aclrtCreateEventWithFlag(void** event, uint32_t) { NEED("rtEventCreate"); *event = new Event; return kOk; }
API int aclrtCreateEventExWithFlag(void** event, uint32_t flag) { return aclrtCreateEventWithFlag(event, flag); }
API int aclrtDestroyEvent(void* event) { delete static_cast<Event*>(event); return kOk; }
API int aclrtRecordEvent(void* event, void* stream) {
  NEED("rtEventRecord");
  auto* it = static_cast<Event*>(event);
  it->at = now();
  it->recorded = recording_on(stream);
  return kOk;
}
API int aclrtResetEvent(void*, void*) { return kOk; }
API int aclrtSynchronizeEvent(void* event) {
  NEED("rtEventSynchronize");
  return static_cast<Event*>(event)->recorded ? fail(kEventRecorded, "rtEventSynchronize") : kOk;
}
API int aclrtQueryEventStatus(void* event, int* done) {
  *done = 1;
  return static_cast<Event*>(event)->recorded ? fail(kEventRecorded, "rtEventQuery") : kOk;
}
API int aclrtQueryEventWaitStatus(void*, int* done) { *done = 0; return kOk; }
API int aclrtEventElapsedTime(float* milliseconds, void* from, void* to) {
  *milliseconds = static_cast<Event*>(to)->at - static_cast<Event*>(from)->at;
  return kOk;
}

// ---- what the kernels of ops.cpp ask before they run
API int npusim_launch(void* stream) {
  NEED("rtKernelLaunch");
  Recording* it = recording_on(stream);
  if (it) return it->spoiled ? fail(kSpoiled, "rtKernelLaunch") : kOk;
  state().kernels++;
  return kOk;
}
API const char* npusim_words() { return words(); }
API const char* npusim_soc() { return soc(); }

// ---- linked against, and never of use here
#define UNUSED(name) API int name() { return kOk; }
#include "unused.inc"
