// Operators that CANN knows by name: the few that torch_npu's collectives call past torch's dispatcher.
#include <acl/acl.h>
#include <acl/acl_op_compiler.h>
#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

#include <cstring>
#include <string>
#include <vector>

#include "recording.h"

using Sizes = std::vector<int64_t>;

struct aclTensorDesc { aclDataType type; Sizes sizes; };
struct aclDataBuffer { char* bytes; size_t size; };

using namespace npusim;

namespace {

struct Given {
  aclDataType type;
  Sizes sizes;
  char* bytes;

  int64_t count() const {
    int64_t product = 1;
    for (int64_t size : sizes) product *= size;
    return product;
  }
};

// `use` of the numbers, as what they are; false for a type that no collective has.
template <class Use>
bool as_numbers(const Given& x, Use use) {
  const auto of = [&](auto* bytes) { return use(bytes), true; };
  switch (x.type) {
    case ACL_BOOL: return of(reinterpret_cast<bool*>(x.bytes));
    case ACL_INT8: return of(reinterpret_cast<int8_t*>(x.bytes));
    case ACL_UINT8: return of(reinterpret_cast<uint8_t*>(x.bytes));
    case ACL_INT16: return of(reinterpret_cast<int16_t*>(x.bytes));
    case ACL_INT32: return of(reinterpret_cast<int32_t*>(x.bytes));
    case ACL_INT64: return of(reinterpret_cast<int64_t*>(x.bytes));
    case ACL_FLOAT: return of(reinterpret_cast<float*>(x.bytes));
    case ACL_FLOAT16: return of(reinterpret_cast<c10::Half*>(x.bytes));
    case ACL_BF16: return of(reinterpret_cast<c10::BFloat16*>(x.bytes));
    default: return false;
  }
}

// One that C++ knows, for the two formats that it does not.
template <class T> T plain(T x) { return x; }
float plain(c10::Half x) { return x; }
float plain(c10::BFloat16 x) { return x; }

bool cast(const Given& from, const Given& to) {
  return as_numbers(from, [&](auto* x) {
    as_numbers(to, [&](auto* y) { for (int64_t i = 0; i < to.count(); i++) y[i] = plain(x[i]); });
  });
}

void repeat(const char* item, size_t size, const Given& to) {
  for (int64_t i = 0; i < to.count(); i++) memcpy(to.bytes + i * size, item, size);
}

// `around`: how much `filler` comes before and behind the numbers, for each dimension.
void pad(const Given& from, const int32_t* around, const char* filler, size_t size, const Given& to) {
  repeat(filler, size, to);
  for (int64_t i = 0; i < from.count(); i++) {
    int64_t left = i, step = 1, place = 0;
    for (size_t axis = to.sizes.size(); axis--; left /= from.sizes[axis], step *= to.sizes[axis])
      place += (left % from.sizes[axis] + around[2 * axis]) * step;
    memcpy(to.bytes + place * size, from.bytes + i * size, size);
  }
}

bool computed(const std::string& name, const std::vector<Given>& in, const Given& out, size_t bytes) {
  const size_t size = out.count() ? bytes / out.count() : 0;
  if (name == "Cast") return cast(in[0], out);
  if (name == "Fill") return repeat(in[1].bytes, size, out), true;
  if (name != "PadV3") return false;
  return pad(in[0], reinterpret_cast<int32_t*>(in[1].bytes), in[2].bytes, size, out), true;
}

}  // namespace

aclTensorDesc* aclCreateTensorDesc(aclDataType type, int dims, const int64_t* sizes, aclFormat) {
  return new aclTensorDesc{type, Sizes(sizes, sizes + dims)};
}
void aclDestroyTensorDesc(const aclTensorDesc* desc) { delete desc; }
aclDataBuffer* aclCreateDataBuffer(void* bytes, size_t size) { return new aclDataBuffer{static_cast<char*>(bytes), size}; }
aclError aclDestroyDataBuffer(const aclDataBuffer* buffer) { delete buffer; return ACL_SUCCESS; }

aclError aclopCompileAndExecute(const char* name, int inputs, const aclTensorDesc* const descs[],
                                const aclDataBuffer* const buffers[], int, const aclTensorDesc* const out_descs[],
                                aclDataBuffer* const out_buffers[], const aclopAttr*, aclopEngineType, aclopCompileType,
                                const char*, aclrtStream stream) {
  if (int code = need("rtKernelLaunch")) return code;
  if (Recording* it = recording_on(stream)) return spoil(it, kUnsafe, "rtKernelLaunch");
  state().kernels++;
  std::vector<Given> in;
  for (int i = 0; i < inputs; i++) in.push_back({descs[i]->type, descs[i]->sizes, buffers[i]->bytes});
  const Given out{out_descs[0]->type, out_descs[0]->sizes, out_buffers[0]->bytes};
  if (computed(name, in, out, out_buffers[0]->size)) return ACL_SUCCESS;
  return fail_saying(ACL_ERROR_OP_NOT_FOUND, std::string("EZ3003: No supported Ops kernel and engine are found for [") +
                                                 name + "], optype [" + name + "].\n");
}
