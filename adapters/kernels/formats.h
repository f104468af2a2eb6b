// What all products share: number formats, and what one step along a sum of a dense weight does in
// each.
//
// A format has `STEP` columns that are multiplied at a time. `part` are so many numbers of a row;
// `add` adds the products of two parts to the lanes of a sum; `end` is what these amount to.

#pragma once

#include <cstdint>
#include <cstring>

#if defined(__AVX512F__)
#define VECTOR 64
#elif defined(__AVX__)
#define VECTOR 32
#else
#define VECTOR 16
#endif
#if defined(__AVX512BF16__) && defined(__AVX512BW__) && defined(__AVX512VL__)
#define BF16 1
#include <immintrin.h>
#else
#define BF16 0
#endif

constexpr int64_t WORTH_A_THREAD = 1 << 16;  // products that take longer than waking one

using Half = uint16_t;  // a bfloat16's bits

inline float wide(Half half) {
  const uint32_t bits = uint32_t(half) << 16;
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

// To the nearest, ties to even; a NaN stays one.
inline Half rounded(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  if (value != value) return Half(bits >> 16 | 0x40);
  return Half((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

inline void put(float value, float* to) { *to = value; }
inline void put(float value, Half* to) { *to = rounded(value); }
inline float get(const float* from) { return *from; }
inline float get(const Half* from) { return wide(*from); }

typedef float Floats __attribute__((vector_size(VECTOR)));
typedef float FloatsAnywhere __attribute__((vector_size(VECTOR), aligned(4), may_alias));

struct Float32 {
  using Number = float;
  using Part = Floats;
  using Sum = Floats;
  static constexpr int64_t STEP = VECTOR / sizeof(float);

  static Part part(const float* numbers) { return *(const FloatsAnywhere*)numbers; }
  static void add(Sum& sum, Part x, Part w) { sum += x * w; }
  static float end(Sum sum) {
    for (int64_t half = STEP / 2; half; half /= 2)
      for (int64_t i = 0; i < half; i++) sum[i] += sum[i + half];
    return sum[0];
  }
};

#if BF16
struct BFloat16 {
  using Number = Half;
  using Part = __m512bh;
  using Sum = __m512;
  static constexpr int64_t STEP = 32;

  static Part part(const Half* numbers) { return (Part)_mm512_loadu_si512(numbers); }
  static void add(Sum& sum, Part x, Part w) { sum = _mm512_dpbf16_ps(sum, x, w); }
  static float end(Sum sum) { return _mm512_reduce_add_ps(sum); }
};
#endif
