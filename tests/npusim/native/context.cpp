// Who is bound to which card. A thread without a context gets 107002, as from CANN.
#include "context.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

namespace npusim {
namespace {

constexpr int64_t kMemory = 64LL << 30;

thread_local int t_number = -1;       // the bound card, as the process numbers it
thread_local bool t_python = false;   // a thread of Python's
thread_local bool t_chosen = false;   // it bound itself; torch_npu's own binding is not that
thread_local char t_name[kName] = "";
thread_local Thread* t_self = nullptr;
thread_local std::string t_words;
thread_local int t_last = kOk;
bool g_default_device = false;

const char* variable(const char* name, const char* otherwise) {
  const char* value = getenv(name);
  return value && *value ? value : otherwise;
}

State* mapped() {
  int flags = MAP_SHARED | MAP_ANONYMOUS, file = -1;
  if (const char* directory = getenv("NPUSIM_STATE")) {
    std::string path = std::string(directory) + "/" + std::to_string(getpid());
    file = open(path.c_str(), O_RDWR | O_CREAT, 0600);
    if (file < 0 || ftruncate(file, sizeof(State))) { perror(path.c_str()); abort(); }
    flags = MAP_SHARED;
  }
  void* memory = mmap(nullptr, sizeof(State), PROT_READ | PROT_WRITE, flags, file, 0);
  if (memory == MAP_FAILED) { perror("npusim: mmap"); abort(); }
  return static_cast<State*>(memory);
}

// The generation before A2: no bfloat16, and each operator is compiled for each shape by default.
bool is_old() { return !strncmp(soc(), "Ascend310", 9) || !strcmp(soc(), "Ascend910A"); }

State* born() {
  State* s = mapped();
  s->strict = !strcmp(variable("NPUSIM_MODE", "strict"), "strict");
  s->cards = atoi(variable("NPUSIM_CARDS", "2"));
  s->bfloat16 = !is_old();
  s->jit = is_old();
  s->compile_us = atoll(variable("NPUSIM_COMPILE_US", "0"));
  const char* memory = getenv("NPUSIM_MEMORY");
  for (Card& card : s->card) {
    card.capacity = memory ? atoll(memory) : kMemory;
    card.refuse_in = card.lost_in = -1;
  }
  return s;
}

std::vector<int> seen() {
  std::vector<int> cards;
  const char* listed = getenv("ASCEND_RT_VISIBLE_DEVICES");
  for (int i = 0; !listed && i < state().cards; i++) cards.push_back(i);
  while (listed && *listed) {
    char* end;
    long card = strtol(listed, &end, 10);
    if (end == listed || card < 0 || card >= state().cards) break;  // CANN stops at the first wrong one
    cards.push_back(card);
    listed = *end == ',' ? end + 1 : end;
  }
  return cards;
}

const std::vector<int>& visible() {
  static const std::vector<int> cards = seen();
  return cards;
}

bool forbidden() { return state().strict && t_python && !t_chosen; }

std::string said(int code, const char* call) {
  const std::string where = std::string(": [PID: ") + std::to_string(getpid()) + "] ";
  if (code == kNoContext)
    return "EE1001" + where + "The argument is invalid.Reason: " + call +
           " execute failed, reason=[context pointer null]\n"
           "        Solution: 1.Check the input parameter range of the function. "
           "2.Check the function invocation relationship.\n"
           "        TraceBack (most recent call last):\n        ctx is NULL!\n";
  if (code == kOutOfMemory)
    return "EL0004" + where + "Failed to allocate memory.\n        Possible Cause: Available memory is "
           "insufficient.\n        Solution: Close applications not in use.\n";
  return "EE9999: Inner Error!\nEE9999" + where + call +
         " execute failed, runtime result = " + std::to_string(code) + "\n";
}

// The countdown of a fault that is to come; true once it has come.
bool is_lost(Card& card) {
  if (card.lost_in >= 0 && card.lost_in.fetch_sub(1) == 0) card.lost = 1;
  return card.lost;
}

}  // namespace

State& state() {
  static State* const it = born();
  return *it;
}

Thread& self() {
  if (t_self) return *t_self;
  int64_t place = state().threads.fetch_add(1);
  if (place >= kThreads) { fprintf(stderr, "npusim: more than %d threads\n", kThreads); abort(); }
  t_self = &state().thread[place];
  t_self->id = syscall(SYS_gettid);
  t_self->python = t_python;
  memcpy(t_self->name, t_name, kName);
  return *t_self;
}

const char* cann_version() { return variable("NPUSIM_CANN", "8.2.RC1"); }
const char* soc() { return variable("NPUSIM_SOC", "Ascend910B4"); }
int visible_count() { return visible().size(); }
int visible_card(int number) { return visible()[number]; }
void use_default_device() { g_default_device = true; }

int bind(int number) {
  if (number < 0 || number >= visible_count()) return fail(kBadDevice, "rtSetDevice");
  t_number = number;
  self().bound++;
  return kOk;
}

void unbind() { t_number = -1, t_chosen = false; }

int bound_number() {
  if (forbidden()) return -1;
  return t_number < 0 && g_default_device ? 0 : t_number;
}

int need(const char* call) {
  Thread& thread = self();
  thread.calls++;
  if (!forbidden() && t_number < 0 && g_default_device) thread.defaulted++, t_number = 0;
  if (forbidden() || t_number < 0) return thread.astray++, fail(kNoContext, call);
  thread.cards |= 1LL << current_index();
  return is_lost(current()) ? fail(current().error, call) : kOk;
}

int current_index() { return visible_card(t_number); }
Card& current() { return state().card[current_index()]; }

int fail(int code, const char* call) { return fail_saying(code, said(code, call)); }

int fail_saying(int code, const std::string& said) {
  t_words = said;
  return t_last = code;
}

const char* words() {
  static thread_local std::string out;
  out.swap(t_words);
  t_words.clear();
  return out.c_str();
}

int last_error() {
  int code = t_last;
  t_last = kOk;
  return code;
}

}  // namespace npusim

// What Python says of its threads (threads.py), and asks about the machine (machine.py).
extern "C" {
npusim::State* npusim_state() { return &npusim::state(); }

void npusim_python_thread(const char* name) {
  npusim::t_python = true;
  strncpy(npusim::t_name, name, npusim::kName - 1);
}

// The calling thread's choice of a card begins (1) or ends (0); returns what it was before.
int npusim_choose(int chosen) {
  int before = npusim::t_chosen;
  npusim::t_chosen = chosen;
  return before;
}

void npusim_pinned() { npusim::self().pinned++; }
void npusim_unbind() { npusim::unbind(); }
}
