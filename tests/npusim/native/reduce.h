// How two ranks' numbers become one. Each step rounds to the format, as a card's does.
#pragma once
#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

#include <algorithm>
#include <cstdint>

#include "third_party/hccl/inc/hccl/hccl_types.h"

namespace npusim {

inline size_t bytes_of(int type) {
  switch (type) {
    case HCCL_DATA_TYPE_INT8: case HCCL_DATA_TYPE_UINT8: return 1;
    case HCCL_DATA_TYPE_INT16: case HCCL_DATA_TYPE_UINT16: case HCCL_DATA_TYPE_FP16: case HCCL_DATA_TYPE_BFP16: return 2;
    case HCCL_DATA_TYPE_INT32: case HCCL_DATA_TYPE_UINT32: case HCCL_DATA_TYPE_FP32: return 4;
    case HCCL_DATA_TYPE_INT64: case HCCL_DATA_TYPE_UINT64: case HCCL_DATA_TYPE_FP64: return 8;
    default: return 0;
  }
}

template <class T>
void fold(void* into, const void* more, size_t count, int how) {
  T* x = static_cast<T*>(into);
  const T* y = static_cast<const T*>(more);
  for (size_t i = 0; i < count; i++) {
    if (how == HCCL_REDUCE_SUM) x[i] = x[i] + y[i];
    else if (how == HCCL_REDUCE_PROD) x[i] = x[i] * y[i];
    else if (how == HCCL_REDUCE_MAX) x[i] = std::max<T>(x[i], y[i]);
    else x[i] = std::min<T>(x[i], y[i]);
  }
}

using Fold = void (*)(void* into, const void* more, size_t count, int how);

// For the types that HCCL reduces; null for the others, unsigned ones and float64 among them.
inline Fold fold_of(int type) {
  switch (type) {
    case HCCL_DATA_TYPE_INT8: return fold<int8_t>;
    case HCCL_DATA_TYPE_INT16: return fold<int16_t>;
    case HCCL_DATA_TYPE_INT32: return fold<int32_t>;
    case HCCL_DATA_TYPE_INT64: return fold<int64_t>;
    case HCCL_DATA_TYPE_FP16: return fold<c10::Half>;
    case HCCL_DATA_TYPE_BFP16: return fold<c10::BFloat16>;
    case HCCL_DATA_TYPE_FP32: return fold<float>;
    default: return nullptr;
  }
}

}  // namespace npusim
