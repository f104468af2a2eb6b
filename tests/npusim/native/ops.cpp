// Computes: each operator of torch_npu's, overridden by one kernel that runs the host's.
//
// While a stream records, operators are noted instead, with the addresses of what they are given: what
// they make holds no number until the recording is replayed.
// Allocation, storage and metadata stay torch_npu's own, and with them its caching allocator. Random
// numbers follow the card's generator (seed and offset), but are not the host's for that seed.
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/library.h>
#include <torch_npu/csrc/core/npu/NPUStream.h>

#include <functional>
#include <mutex>
#include <string_view>
#include <thread>
#include <unordered_set>

#include "arguments.h"
#include "state.h"

extern "C" int npusim_launch(void* stream);
extern "C" bool npusim_records(void* stream);
extern "C" int npusim_note(void* stream, std::function<int()>* task);
extern "C" int npusim_may_copy(const void* host);
extern "C" int npusim_may_wait(void* stream);
extern "C" bool npusim_alive(const void* pointer);
extern "C" int npusim_failed(const char* said);
extern "C" const char* npusim_words();
extern "C" const char* npusim_soc();
extern "C" npusim::State* npusim_state();

namespace npusim {
namespace {

using c10::DispatchKey;
using Names = std::unordered_set<std::string>;

std::mutex g_lock;  // guards generators and g_compiled
std::unordered_set<uint64_t> g_compiled;

void* stream_of(int index) { return c10_npu::getCurrentNPUStream(index).stream(); }

// As torch_npu reports what went wrong inside an operator.
void check(int code, const std::string& name) {
  TORCH_CHECK(!code, "The Inner error is reported as above. The process exits for this inner error, and the current working operator name is ",
              name, ".\n[ERROR] error code is ", code, "\n", npusim_words());
}

// The stream on which the operator is launched.
void* launch(int index, const std::string& name) {
  c10::OptionalDeviceGuard guard(card(index));
  void* stream = stream_of(index);
  check(npusim_launch(stream), name);
  return stream;
}

// Do it now, or with every replay.
void note(void* stream, const std::string& name, std::function<int()> task) { check(npusim_note(stream, &task), name); }

void check_format(const at::Tensor& x, const std::string& name) {
  TORCH_CHECK(npusim_state()->bfloat16 || !on_card(x) || x.scalar_type() != at::kBFloat16, "call ", name,
              " failed, detail:EZ1001: Tensor not implemented for DT_BFLOAT16, should be in dtype support list "
              "[DT_FLOAT,DT_FLOAT16,DT_INT64,DT_INT32,DT_BOOL] on ", npusim_soc(), ".\n[ERROR] error code is 161002");
}

// Counts, and takes the time of, the compilation of an operator for shapes not seen before.
void compile(const std::string& name, const Arguments& arguments) {
  State& state = *npusim_state();
  if (!state.jit) return;
  uint64_t hash = std::hash<std::string>()(name);
  auto mix = [&](uint64_t value) { hash ^= value + 0x9e3779b97f4a7c15ull + (hash << 6) + (hash >> 2); };
  for (auto& pair : arguments.pairs()) {
    mix(static_cast<uint64_t>(pair.original.scalar_type()));
    for (auto size : pair.original.sizes()) mix(size);
  }
  {
    std::lock_guard<std::mutex> held(g_lock);
    if (!g_compiled.insert(hash).second) return;
  }
  state.compiles++;
  std::this_thread::sleep_for(std::chrono::microseconds(state.compile_us));
}

// A generator of the host at the place where the card's stands; that one moves on.
at::Generator host_generator(const at::Generator& given, int index) {
  if (given.defined() && given.device().type() == c10::kCPU) return given;
  at::Generator source = given.defined() ? given : at::globalContext().defaultGenerator(card(index));
  std::lock_guard<std::mutex> held(g_lock);
  const uint64_t offset = source.get_offset();
  uint64_t hash = source.current_seed() + 0x9e3779b97f4a7c15ull * (offset + 1);
  source.set_offset(offset + 4);
  hash = (hash ^ (hash >> 30)) * 0xbf58476d1ce4e5b9ull;
  return at::detail::createCPUGenerator(hash ^ (hash >> 27));
}

template <class See>
void each_tensor(const c10::IValue& value, See see) {
  if (value.isTensor()) see(value.toTensor());
  if (value.isTensorList())
    for (const at::Tensor& x : value.toTensorList()) see(x);
  if (value.isOptionalTensorList())
    for (const std::optional<at::Tensor>& x : value.toOptionalTensorList())
      if (x) see(*x);
}

c10::IValue to_host(Arguments& arguments, const c10::Argument& argument, const c10::IValue& value) {
  const bool written = argument.alias_info() && argument.alias_info()->isWrite();
  if (value.isTensor()) return arguments.to_host(value.toTensor(), written);
  if (value.isTensorList()) {
    c10::List<at::Tensor> list;
    for (const at::Tensor& x : value.toTensorList()) list.push_back(arguments.to_host(x, written));
    return list;
  }
  if (value.isOptionalTensorList()) {
    c10::List<std::optional<at::Tensor>> list;
    for (const std::optional<at::Tensor>& x : value.toOptionalTensorList())
      list.push_back(x ? std::optional<at::Tensor>(arguments.to_host(*x, written)) : std::nullopt);
    return list;
  }
  if (value.isDevice() && value.toDevice().type() == kCard) return c10::Device(c10::kCPU);
  if (value.isGenerator()) return host_generator(value.toGenerator(), arguments.device);
  if (value.isNone() && argument.name() == "generator") return host_generator({}, arguments.device);
  return value;
}

c10::IValue to_card(const Arguments& arguments, const c10::IValue& value) {
  if (value.isTensor()) return arguments.to_card(value.toTensor());
  if (!value.isTensorList()) return value;
  c10::List<at::Tensor> list;
  for (const at::Tensor& x : value.toTensorList()) list.push_back(arguments.to_card(x));
  return list;
}

bool mixes(const std::string& name) {
  static const Names names{"aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_",
                           "aten::_unsafe_index", "aten::copy_", "aten::set_"};
  return names.count(name);
}

// What an operator that is only noted tells of the numbers in it would be wrong.
bool tells(const std::string& name) {
  static const Names names{"aten::nonzero", "aten::is_nonzero", "aten::equal", "aten::masked_select", "aten::_unique2",
                           "aten::unique_dim", "aten::unique_consecutive", "aten::repeat_interleave.Tensor"};
  return names.count(name);
}

// An index of truth values is as long as there are true ones.
bool tells(const c10::IValue& indices) {
  bool found = false;
  if (indices.isOptionalTensorList())
    each_tensor(indices, [&](const at::Tensor& x) { found |= x.scalar_type() == at::kBool || x.scalar_type() == at::kByte; });
  return found;
}

// Again, with what was given and what was made at recording, wherever these addresses lead now.
int again(const c10::OperatorHandle& op, const torch::jit::Stack& given, const std::vector<at::Tensor>& made,
          const std::vector<at::Tensor>& touched) {
  const std::string& name = op.schema().name();
  for (auto& x : touched)
    if (x.numel() && !npusim_alive(x.data_ptr())) return npusim_failed((name + ": DDR address of the MTE instruction is out of range\n").c_str());
  try {
    c10::InferenceMode mode;
    at::AutoDispatchBelowADInplaceOrView below;
    torch::jit::Stack stack = given;
    op.redispatchBoxed(c10::DispatchKeySet(DispatchKey::CPU), &stack);
    size_t next = 0;
    for (auto& value : stack)
      each_tensor(value, [&](const at::Tensor& x) {
        if (made[next].defined()) {
          TORCH_CHECK(made[next].sizes() == x.sizes(), "its result has another shape than at recording");
          made[next].copy_(x);
        }
        next++;
      });
  } catch (const std::exception& error) {
    return npusim_failed((name + ": aicore exception: " + error.what() + "\n").c_str());
  }
  npusim_state()->kernels++;
  return 0;
}

// Called in place of computing: runs on zeros to see what shapes come of it, and notes the rest.
void noted(const c10::OperatorHandle& op, torch::jit::Stack* stack, Arguments& arguments, void* stream) {
  const auto& schema = op.schema();
  const std::string& name = schema.name();
  const size_t count = schema.arguments().size(), first = stack->size() - count;
  if (tells(name)) check(npusim_may_wait(stream), name);
  torch::jit::Stack given;
  std::vector<at::Tensor> touched, made;
  Arguments addresses(mixes(name)), blank(mixes(name), true);
  addresses.device = blank.device = arguments.device;
  for (size_t i = 0; i < count; i++) {
    const c10::IValue& value = (*stack)[first + i];
    if (tells(value)) check(npusim_may_wait(stream), name);
    TORCH_CHECK(schema.arguments()[i].name() != "generator", "random numbers in a recording are not simulated: ", name);
    each_tensor(value, [&](const at::Tensor& x) { if (x.defined() && !on_card(x) && x.dim()) check(npusim_may_copy(x.data_ptr()), name); });
    given.push_back(to_host(addresses, schema.arguments()[i], value));
  }
  for (auto& pair : addresses.pairs()) touched.push_back(pair.alias);
  for (size_t i = 0; i < count; i++)
    (*stack)[first + i] = to_host(blank, schema.arguments()[i], (*stack)[first + i]);
  {
    at::AutoDispatchBelowADInplaceOrView below;
    op.redispatchBoxed(c10::DispatchKeySet(DispatchKey::CPU), stack);
  }
  for (auto& pair : blank.pairs())
    TORCH_CHECK(pair.alias.sizes() == pair.original.sizes(), "a change of size in a recording is not simulated: ", name);
  for (size_t i = stack->size() - schema.returns().size(); i < stack->size(); i++) {
    (*stack)[i] = to_card(blank, (*stack)[i]);
    each_tensor((*stack)[i], [&](const at::Tensor& x) {
      check_format(x, name);
      made.push_back(blank.is_new(x) ? host_alias(x) : at::Tensor());
    });
  }
  touched.insert(touched.end(), made.begin(), made.end());
  std::erase_if(touched, [](const at::Tensor& x) { return !x.defined(); });
  note(stream, name, [=] { return again(op, given, made, touched); });
}

// The kernel of every operator: check, run on aliases, bring the results home.
void computed(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  const auto& schema = op.schema();
  const std::string& name = schema.name();
  const size_t given = schema.arguments().size(), first = stack->size() - given;
  Arguments arguments(mixes(name));
  bool for_host = false;  // an explicit device argument that is not a card
  for (size_t i = first; i < stack->size(); i++) {
    const c10::IValue& value = (*stack)[i];
    each_tensor(value, [&](const at::Tensor& x) { arguments.see(x), check_format(x, name); });
    if (!value.isDevice()) continue;
    if (value.toDevice().type() != kCard) for_host = true;
    else if (arguments.device < 0) arguments.device = value.toDevice().index();
  }
  if (arguments.device < 0) arguments.device = c10::impl::getDeviceGuardImpl(kCard)->getDevice().index();
  c10::OptionalDeviceGuard guard(card(arguments.device));
  void* stream = launch(arguments.device, name);
  if (npusim_records(stream)) return noted(op, stack, arguments, stream);
  for (size_t i = 0; i < given; i++)
    (*stack)[first + i] = to_host(arguments, schema.arguments()[i], (*stack)[first + i]);
  compile(name, arguments);
  {
    at::AutoDispatchBelowADInplaceOrView below;
    op.redispatchBoxed(c10::DispatchKeySet(DispatchKey::CPU), stack);
  }
  arguments.write_back();
  for (size_t i = stack->size() - schema.returns().size(); !for_host && i < stack->size(); i++) {
    (*stack)[i] = to_card(arguments, (*stack)[i]);
    each_tensor((*stack)[i], [&](const at::Tensor& x) { check_format(x, name); });
  }
}

// What torch_npu overrides whole, so that autograd finds its parts again.
void in_parts(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  op.callBoxedForDispatchKey(DispatchKey::CompositeImplicitAutograd, *stack);
}

at::Tensor& copy_(at::Tensor& to, const at::Tensor& from, bool) {
  const std::string name = "aten::copy_";
  void* stream = nullptr;
  for (const at::Tensor* x : {static_cast<const at::Tensor*>(&to), &from})
    if (on_card(*x)) stream = launch(x->device().index(), name);
  for (const at::Tensor* x : {static_cast<const at::Tensor*>(&to), &from})
    if (!on_card(*x)) check(npusim_may_copy(x->data_ptr()), name);
  const at::Tensor there = on_card(to) ? host_alias(to) : to, here = on_card(from) ? host_alias(from) : from;
  note(stream, name, [=] {
    at::AutoDispatchBelowADInplaceOrView below;
    return there.copy_(here), 0;
  });
  return to;
}

at::Tensor copy_from(const at::Tensor& from, const at::Tensor& to, bool later) {
  return copy_(const_cast<at::Tensor&>(to), from, later);
}

at::Scalar item(const at::Tensor& x) {
  check(npusim_may_wait(launch(x.device().index(), "aten::_local_scalar_dense")), "aten::_local_scalar_dense");
  at::AutoDispatchBelowADInplaceOrView below;
  return at::_local_scalar_dense(host_alias(x));
}

// transformers counts a layer's experts so, in whole numbers wherever that is not the host, which
// counts none but fractions.
at::Tensor histc(const at::Tensor& x, int64_t bins, const at::Scalar& min, const at::Scalar& max) {
  check(npusim_may_wait(launch(x.device().index(), "aten::histc")), "aten::histc");
  at::AutoDispatchBelowADInplaceOrView below;
  return at::histc(host_alias(x).to(at::kFloat), bins, min, max).to(x.options());
}

// torch_npu's own: allocation, storage, metadata; and those that have a kernel of their own above.
bool stays(const std::string& name) {
  static const Names names{
      "aten::empty.memory_format", "aten::empty_strided", "aten::empty_like", "aten::set_.source_Storage_storage_offset",
      "aten::set_.source_Storage", "aten::set_.source_Tensor", "aten::set_", "aten::resize_", "aten::record_stream",
      "aten::is_pinned", "aten::_pin_memory", "aten::pin_memory", "aten::to.device", "aten::to.dtype", "aten::to.other",
      "aten::to.dtype_layout", "aten::_to_copy", "aten::contiguous", "aten::_has_compatible_shallow_copy_type",
      "aten::copy_", "aten::_copy_from", "aten::_copy_from_and_resize", "aten::_local_scalar_dense"};
  return names.count(name);
}

void replace(const c10::OperatorName& name, std::vector<c10::RegistrationHandleRAII>& made) {
  const std::string full = name.name + (name.overload_name.empty() ? "" : "." + name.overload_name);
  auto& dispatcher = c10::Dispatcher::singleton();
  auto op = dispatcher.findSchema(name);
  if (!full.starts_with("aten::") || stays(full) || !op) return;
  auto has = [&](DispatchKey key) { return op->hasKernelForDispatchKey(key); };
  auto put = [&](DispatchKey key, auto function) {
    made.push_back(dispatcher.registerImpl(name, key, std::move(function), std::nullopt, nullptr, "npusim"));
  };
  const bool on_host = has(DispatchKey::CPU), own = has(DispatchKey::PrivateUse1);
  const bool anywhere = has(DispatchKey::CompositeExplicitAutograd) || has(DispatchKey::CompositeExplicitAutogradNonFunctional);
  if (has(DispatchKey::CompositeImplicitAutograd) && !on_host) {
    for (auto key : {DispatchKey::PrivateUse1, DispatchKey::AutogradPrivateUse1})
      if (has(key)) put(key, c10::KernelFunction::makeFromBoxedFunction<&in_parts>());
  } else if ((own && (on_host || anywhere)) || (on_host && !anywhere)) {
    put(DispatchKey::PrivateUse1, c10::KernelFunction::makeFromBoxedFunction<&computed>());
  }
}

}  // namespace
}  // namespace npusim

extern "C" __attribute__((visibility("default"))) void npusim_compute() {
  static std::vector<c10::RegistrationHandleRAII> made;  // an override lasts as long as its handle
  for (auto& name : c10::Dispatcher::singleton().getAllOpNames()) npusim::replace(name, made);
  static torch::Library library(torch::Library::IMPL, "aten", c10::DispatchKey::PrivateUse1, __FILE__, __LINE__);
  library.impl("copy_", &npusim::copy_);
  library.impl("_copy_from", &npusim::copy_from);
  library.impl("_local_scalar_dense", &npusim::item);
  library.impl("histc", &npusim::histc);
}
