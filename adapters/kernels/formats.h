// What all products share: vectors, number formats, and what one step along a sum of a dense weight
// does in each.
//
// A format has `STEP` columns, a line of the cache, that are multiplied in `PARTS`. `take` brings rows
// of x into the form that they are multiplied in; `taken` and `part` are a part of them and of a row
// of the weight; `add` adds the products of two parts to the lanes of a sum; `folded` are the four
// numbers that a sum's lanes amount to, and `total` is what these do.

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
#else
#define BF16 0
#endif
// How the processor multiplies integers: by its bytes, by its words of 16 bits, or in no good way.
#define BYTES 2
#define WORDS 1
#if BF16 && defined(__AVX512VNNI__)
#define INTEGERS BYTES
#elif defined(__AVX2__) && defined(__FMA__)
#define INTEGERS WORDS
#else
#define INTEGERS 0
#endif
#if defined(__SSE__)
#include <immintrin.h>
#endif

constexpr int64_t LINE = 64;                 // bytes of the cache that come at a time
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

// ---- vectors ----

typedef float Four __attribute__((vector_size(16)));
typedef float Floats __attribute__((vector_size(VECTOR)));
typedef float FloatsAnywhere __attribute__((vector_size(VECTOR), aligned(4), may_alias));
typedef uint32_t Bits __attribute__((vector_size(VECTOR)));
typedef uint32_t BitsAnywhere __attribute__((vector_size(VECTOR), aligned(2), may_alias));
typedef Half Halves __attribute__((vector_size(VECTOR / 2)));
typedef Half HalvesAnywhere __attribute__((vector_size(VECTOR / 2), aligned(2), may_alias));

constexpr int64_t LANES_OF_FLOATS = VECTOR / sizeof(float);

inline Floats floats(const float* from) { return *(const FloatsAnywhere*)from; }
inline Floats floats(const Half* from) {
#if VECTOR == 64  // GCC makes four instructions of a conversion that is one
  const Bits words = (Bits)_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)from));
#elif defined(__AVX2__)
  const Bits words = (Bits)_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i*)from));
#else
  const Bits words = __builtin_convertvector(*(const HalvesAnywhere*)from, Bits);
#endif
  return (Floats)(words << 16);
}
inline Floats all(float value) { return value - Floats{}; }  // a difference that is left out
inline void put(Floats values, float* to) { *(FloatsAnywhere*)to = values; }
inline void put(Floats values, Half* to) {
#if BF16
  const __m256bh halves = _mm512_cvtneps_pbh((__m512)values);
  memcpy(to, &halves, sizeof halves);
#else
  const Bits bits = (Bits)values, nearest = bits + 0x7fff + (bits >> 16 & 1);
  const Bits found = values != values ? bits | 0x400000 : nearest;
  *(HalvesAnywhere*)to = __builtin_convertvector(found >> 16, Halves);
#endif
}

// Rounded once, where the processor can. Left to the compiler, one tile is, and another one is not.
inline void add_product(Floats& sum, Floats a, Floats b) {
#if VECTOR == 64
  sum = _mm512_fmadd_ps(a, b, sum);
#elif defined(__FMA__)
  sum = _mm256_fmadd_ps(a, b, sum);
#else
  sum += a * b;
#endif
}

// The same in a tile that needs every register. Of AVX2's sixteen GCC keeps a few sums on the stack
// otherwise, and fetches what it has anew for each product: a tile of many rows takes half as long again.
inline void add_product_in_place(Floats& sum, Floats a, Floats b) {
#if VECTOR == 32 && defined(__FMA__)
  asm("vfmadd231ps %2, %1, %0" : "+x"(sum) : "x"(a), "x"(b));
#else
  add_product(sum, a, b);
#endif
}

// Lanes are added up by halves until four are left.
inline Four folded(Floats sum) {
#if VECTOR == 64
  const __m256d above = _mm512_extractf64x4_pd((__m512d)sum, 1);
  const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(sum), (__m256)above);
  return _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
#elif VECTOR == 32
  return _mm_add_ps(_mm256_castps256_ps128(sum), _mm256_extractf128_ps(sum, 1));
#else
  return sum;
#endif
}

inline float total(Four sum) { return (sum[0] + sum[1]) + (sum[2] + sum[3]); }

// The totals of four sums, to the bit as above.
inline Four totals(Four a, Four b, Four c, Four d) {
#if defined(__SSE__)
  _MM_TRANSPOSE4_PS(a, b, c, d);
  return (a + b) + (c + d);
#else
  return Four{total(a), total(b), total(c), total(d)};
#endif
}

// ---- formats ----

struct Float32 {
  using Number = float;
  using Taken = float;
  using Part = Floats;
  using Sum = Floats;
  static constexpr int64_t STEP = LINE / sizeof(float), PARTS = LINE / VECTOR;

  static void take(const float* x, int64_t count, Taken* to) { memcpy(to, x, count * sizeof *x); }
  static Part taken(const Taken* x, int64_t part) { return floats(x + part * LANES_OF_FLOATS); }
  static Part part(const Number* w, int64_t part) { return taken(w, part); }
  static void add(Sum& sum, Part x, Part w) { add_product_in_place(sum, x, w); }
  static Four folded(Sum sum) { return ::folded(sum); }
};

#if BF16
struct BFloat16 {
  using Number = Half;
  using Taken = Half;
  using Part = __m512bh;
  using Sum = __m512;
  static constexpr int64_t STEP = LINE / sizeof(Half), PARTS = 1;

  static void take(const Half* x, int64_t count, Taken* to) { memcpy(to, x, count * sizeof *x); }
  static void take(const float* x, int64_t count, Taken* to) {
    for (int64_t i = 0; i < count; i++) to[i] = rounded(x[i]);
  }
  static Part taken(const Taken* x, int64_t) { return (Part)_mm512_loadu_si512(x); }
  static Part part(const Number* w, int64_t) { return (Part)_mm512_loadu_si512(w); }
  static void add(Sum& sum, Part x, Part w) { sum = _mm512_dpbf16_ps(sum, x, w); }
  static Four folded(Sum sum) { return ::folded((Floats)sum); }
};
#else
// Where the processor multiplies none, they are made float32 on the way. Of each two of a row the
// lower half of a word is one, and the upper half the next one: a vector is two parts, the even
// columns and the odd ones, and so lie the numbers of x.
struct BFloat16 {
  using Number = Half;
  using Taken = float;
  using Part = Floats;
  using Sum = Floats;
  static constexpr int64_t STEP = LINE / sizeof(Half), PARTS = 2 * LINE / VECTOR;
  static constexpr int64_t BOTH = 2 * LANES_OF_FLOATS;

  template <class Given>
  static void take(const Given* x, int64_t count, Taken* to) {
    for (int64_t column = 0; column < count; column += BOTH)
      for (int64_t i = 0; i < LANES_OF_FLOATS; i++) {
        to[column + i] = halved(x[column + 2 * i]);
        to[column + LANES_OF_FLOATS + i] = halved(x[column + 2 * i + 1]);
      }
  }
  static Part taken(const Taken* x, int64_t part) { return floats(x + part * LANES_OF_FLOATS); }
  static Part part(const Number* w, int64_t part) {
    const Bits both = *(const BitsAnywhere*)(w + part / 2 * BOTH);
    return part % 2 ? (Floats)(both & 0xffff0000u) : (Floats)(both << 16);
  }
  static void add(Sum& sum, Part x, Part w) { add_product(sum, x, w); }
  static Four folded(Sum sum) { return ::folded(sum); }

 private:
  static float halved(Half value) { return wide(value); }
  static float halved(float value) { return wide(rounded(value)); }
};
#endif
