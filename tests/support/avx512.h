// What our kernels use of AVX-512, made of AVX2. It is included before all else, in place of the
// compiler's header.
//
// GCC makes two vectors of 32 bytes of one of 64, so most of it is arithmetic of vectors. It is as in
// Intel's manual: numbers of bfloat16 below the normal ones are zero, and products of them exact.

#pragma once

#define _IMMINTRIN_H_INCLUDED
#include <smmintrin.h>
#include <avxintrin.h>
#include <avx2intrin.h>
#include <fmaintrin.h>

#include <cstdint>
#include <cstring>

#undef __AVX512F__
#define __AVX512F__ 1
#undef __AVX512BW__
#define __AVX512BW__ 1
#undef __AVX512VL__
#define __AVX512VL__ 1
#undef __AVX512VNNI__
#define __AVX512VNNI__ 1
#undef __AVX512BF16__
#if MULTIPLIES_BFLOAT16
#define __AVX512BF16__ 1
#endif

typedef float __m512 __attribute__((vector_size(64), may_alias));
typedef double __m512d __attribute__((vector_size(64), may_alias));
typedef long long __m512i __attribute__((vector_size(64), may_alias));
typedef short __m512bh __attribute__((vector_size(64), may_alias));
typedef short __m256bh __attribute__((vector_size(32), may_alias));

namespace made {
typedef int32_t Ints __attribute__((vector_size(64)));
typedef uint32_t Words __attribute__((vector_size(64)));
typedef uint16_t Shorts __attribute__((vector_size(64)));
typedef uint16_t SixteenShorts __attribute__((vector_size(32)));
typedef int8_t SixteenBytes __attribute__((vector_size(16)));

template <class Half, class Whole>
inline Half half(Whole of, int number) {
  Half found;
  memcpy(&found, (const char*)&of + number * sizeof found, sizeof found);
  return found;
}

template <class Whole, class Half>
inline Whole whole(Half lower, Half upper) {
  const Half both[] = {lower, upper};
  Whole found;
  memcpy(&found, both, sizeof found);
  return found;
}

inline Words normal(Words bits) {
  return (bits & 0x7fffffff) < 0x00800000 ? bits & 0x80000000 : bits;
}
}  // namespace made

// ---- from memory, from one number, and back ----

inline __m512i _mm512_loadu_si512(const void* from) {
  __m512i found;
  memcpy(&found, from, sizeof found);
  return found;
}
inline __m512i _mm512_setzero_si512() { return __m512i{}; }
inline __m512 _mm512_set1_ps(float a) {
  return made::whole<__m512>(_mm256_set1_ps(a), _mm256_set1_ps(a));
}
inline __m512i _mm512_set1_epi32(int a) { return (__m512i)(made::Ints{} + a); }
inline __m512i _mm512_set1_epi8(char a) {
  return made::whole<__m512i>(_mm256_set1_epi8(a), _mm256_set1_epi8(a));
}
inline __m256 _mm512_castps512_ps256(__m512 a) { return made::half<__m256>(a, 0); }
inline __m256d _mm512_extractf64x4_pd(__m512d a, int number) { return made::half<__m256d>(a, number); }

// ---- float32 ----

inline __m512 _mm512_mul_ps(__m512 a, __m512 b) { return a * b; }
inline __m512 _mm512_fmadd_ps(__m512 a, __m512 b, __m512 c) {
  const auto one = [&](int n) {
    return _mm256_fmadd_ps(made::half<__m256>(a, n), made::half<__m256>(b, n), made::half<__m256>(c, n));
  };
  return made::whole<__m512>(one(0), one(1));
}
inline __m512 _mm512_abs_ps(__m512 a) { return (__m512)((made::Words)a & 0x7fffffff); }
inline __m512i _mm512_cvtps_epi32(__m512 a) {
  return made::whole<__m512i>(_mm256_cvtps_epi32(made::half<__m256>(a, 0)),
                              _mm256_cvtps_epi32(made::half<__m256>(a, 1)));
}
inline __m512 _mm512_cvtepi32_ps(__m512i a) { return __builtin_convertvector((made::Ints)a, __m512); }

// ---- integers ----

inline __m512i _mm512_cvtepu16_epi32(__m256i a) {
  return (__m512i)__builtin_convertvector((made::SixteenShorts)a, made::Words);
}
inline __m512i _mm512_and_si512(__m512i a, __m512i b) { return a & b; }
inline __m512i _mm512_add_epi32(__m512i a, __m512i b) {
  return (__m512i)((made::Words)a + (made::Words)b);
}
inline __m512i _mm512_slli_epi32(__m512i a, int count) { return (__m512i)((made::Words)a << count); }
inline __m512i _mm512_srai_epi32(__m512i a, int count) { return (__m512i)((made::Ints)a >> count); }
inline __m512i _mm512_srli_epi16(__m512i a, int count) { return (__m512i)((made::Shorts)a >> count); }
inline __m512i _mm512_max_epi32(__m512i a, __m512i b) {
  return (__m512i)((made::Ints)a > (made::Ints)b ? (made::Ints)a : (made::Ints)b);
}
inline int _mm512_reduce_max_epi32(__m512i a) {
  const made::Ints numbers = (made::Ints)a;
  int found = numbers[0];
  for (int i = 1; i < 16; i++) found = numbers[i] > found ? numbers[i] : found;
  return found;
}
inline __m128i _mm512_cvtepi32_epi8(__m512i a) {
  return (__m128i)__builtin_convertvector((made::Words)a, made::SixteenBytes);
}

// Bytes of `a` have no sign, those of `b` do.
inline __m512i _mm512_dpbusd_epi32(__m512i sum, __m512i a, __m512i b) {
  made::Ints found = (made::Ints)sum;
  for (int bits = 0; bits < 32; bits += 8)
    found += (made::Ints)((made::Words)a >> bits & 255) * ((made::Ints)((made::Words)b << (24 - bits)) >> 24);
  return (__m512i)found;
}

// ---- bfloat16 ----

inline __m512 _mm512_dpbf16_ps(__m512 sum, __m512bh a, __m512bh b) {
  using made::Words, made::normal;
  const Words x = (Words)a, y = (Words)b;
  const __m512 even = _mm512_fmadd_ps((__m512)normal(x << 16), (__m512)normal(y << 16), sum);
  return _mm512_fmadd_ps((__m512)normal(x & 0xffff0000), (__m512)normal(y & 0xffff0000), even);
}
inline __m256bh _mm512_cvtneps_pbh(__m512 a) {
  const made::Words bits = made::normal((made::Words)a);
  const made::Words nearest = bits + 0x7fff + (bits >> 16 & 1);
  const made::Words found = (bits & 0x7fffffff) > 0x7f800000 ? bits | 0x400000 : nearest;
  return (__m256bh)__builtin_convertvector(found >> 16, made::SixteenShorts);
}
