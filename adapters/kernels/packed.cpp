// Products of few rows with a weight of integers, y[m, n] = x[m, k] · w[n, k]ᵀ, activations in bfloat16.
//
// x's rows become integers, too: of 16 bits, in units of a row's largest number, kept as two planes of
// 8 bits, which the processor multiplies four at a time and adds up without rounding. An error is below
// that of a bfloat16's own rounding of the result, and no row depends on how many others there are.

#include "formats.h"

#if INTEGERS == BYTES
#include <vector>

namespace {

constexpr int64_t GROUP = 32;                // columns that share a scale and an offset, of 4 bits
constexpr int64_t LANES = 16;                // rows of a weight that lie side by side, of 4 bits
constexpr float LARGEST = 127 * 256;

// x's rows as integers, high · 256 + low each, and what they are in units of.
struct Planes {
  int64_t m, k;
  std::vector<int8_t> bytes;  // [m, 2, k]
  std::vector<float> units;   // [m]; no number where one of the row is none

  Planes(const Half* x, int64_t m, int64_t k) : m(m), k(k), bytes(2 * m * k), units(m) {
    for (int64_t row = 0; row < m; row++) {
      units[row] = unit_of(x + row * k);
      int8_t* to = bytes.data() + 2 * row * k;
      const __m512 fit = _mm512_set1_ps(units[row] > 0 ? 1 / units[row] : 0);
      for (int64_t column = 0; column < k; column += LANES)
        split(_mm512_cvtps_epi32(_mm512_mul_ps(floats(x + row * k + column), fit)), to + column,
              to + k + column);
    }
  }
  const int8_t* high(int64_t row) const { return bytes.data() + 2 * row * k; }
  const int8_t* low(int64_t row) const { return high(row) + k; }

 private:
  float unit_of(const Half* x) const {
    __m512i most = _mm512_setzero_si512();  // the bits of positive numbers are in their order
    for (int64_t column = 0; column < k; column += LANES)
      most = _mm512_max_epi32(most, (__m512i)_mm512_abs_ps(floats(x + column)));
    const int32_t bits = _mm512_reduce_max_epi32(most);
    float found;
    memcpy(&found, &bits, sizeof found);
    return bits < 0x7f800000 ? found / LARGEST : __builtin_nanf("");
  }
  // The lower byte counts from -128, so the upper one is that of the nearest multiple of 256.
  static void split(__m512i whole, int8_t* high, int8_t* low) {
    const __m512i above = _mm512_srai_epi32(_mm512_add_epi32(whole, _mm512_set1_epi32(128)), 8);
    _mm_storeu_si128((__m128i*)high, _mm512_cvtepi32_epi8(above));
    _mm_storeu_si128((__m128i*)low, _mm512_cvtepi32_epi8(whole));
  }
};

// ---- what lies where ----
//
// LANES rows of a weight lie side by side. Of 8 bits a vector of 64 bytes has four columns of each of
// them, as from 0 to 255. Of 4 bits, from 0 to 15, a GROUP of columns has four vectors: columns 4v to
// 4v + 3 in the lower halves of vector v, columns 16 + 4v and on in the upper ones. Scales of 8 bits
// are [n], scales and offsets of 4 bits [n / LANES, k / GROUP, LANES].

struct Int8 {
  const uint8_t* w;
  const Half* scales;
};

struct Int4 {
  const uint8_t* w;
  const Half *scales, *offsets;
};

// Of `width` of x's columns: what a sum begins with, since a weight's numbers are too high by `shift`,
// and the columns' own sum.
struct Start {
  int32_t high, low;
  float sum;
};

std::vector<Start> starts_of(const Planes& x, int64_t width, int32_t shift) {
  std::vector<Start> found(x.m * (x.k / width));
  for (int64_t row = 0, at = 0; row < x.m; row++)
    for (int64_t column = 0; column < x.k; column += width, at++) {
      int32_t high = 0, low = 0;
      for (int64_t i = column; i < column + width; i++)
        high += x.high(row)[i], low += x.low(row)[i];
      found[at] = {-shift * high, -shift * low, 256.0f * high + low};
    }
  return found;
}

inline void store(__m512 sums, float unit, Half* y) {
  const __m256bh found = _mm512_cvtneps_pbh(_mm512_mul_ps(sums, _mm512_set1_ps(unit)));
  _mm256_storeu_si256((__m256i*)y, (__m256i)found);
}

inline __m512i four(const int8_t* plane) {
  int32_t numbers;
  memcpy(&numbers, plane, sizeof numbers);
  return _mm512_set1_epi32(numbers);
}

template <int M>
inline void tile(const Planes& x, const Start* starts, int64_t first, const Int8& w, int64_t lanes,
                 Half* y, int64_t n) {
  const uint8_t* bytes = w.w + lanes * LANES * x.k;
  __m512i high[M], low[M];
  for (int i = 0; i < M; i++) {
    high[i] = _mm512_set1_epi32(starts[first + i].high);
    low[i] = _mm512_set1_epi32(starts[first + i].low);
  }
  for (int64_t column = 0; column < x.k; column += 4, bytes += 64) {
    const __m512i some = _mm512_loadu_si512(bytes);
    for (int i = 0; i < M; i++) {
      high[i] = _mm512_dpbusd_epi32(high[i], some, four(x.high(first + i) + column));
      low[i] = _mm512_dpbusd_epi32(low[i], some, four(x.low(first + i) + column));
    }
  }
  const __m512 scale = floats(w.scales + lanes * LANES), step = _mm512_set1_ps(256);
  for (int i = 0; i < M; i++) {
    const __m512 whole =
        _mm512_fmadd_ps(_mm512_cvtepi32_ps(high[i]), step, _mm512_cvtepi32_ps(low[i]));
    store(_mm512_mul_ps(whole, scale), x.units[first + i], y + (first + i) * n + lanes * LANES);
  }
}

template <int M>
inline void tile(const Planes& x, const Start* starts, int64_t first, const Int4& w, int64_t lanes,
                 Half* y, int64_t n) {
  const int64_t count = x.k / GROUP;
  const uint8_t* bytes = w.w + lanes * count * LANES * GROUP / 2;
  const Half *scales = w.scales + lanes * count * LANES, *offsets = w.offsets + lanes * count * LANES;
  const __m512i lower = _mm512_set1_epi8(15);
  __m512 sums[M] = {};
  for (int64_t group = 0; group < count; group++, bytes += 256, scales += LANES, offsets += LANES) {
    __m512i high[M], low[M];
    for (int i = 0; i < M; i++) {
      high[i] = _mm512_set1_epi32(starts[(first + i) * count + group].high);
      low[i] = _mm512_set1_epi32(starts[(first + i) * count + group].low);
    }
    for (int v = 0; v < 4; v++) {
      const __m512i both = _mm512_loadu_si512(bytes + 64 * v);
      const __m512i one = _mm512_and_si512(both, lower);
      const __m512i other = _mm512_and_si512(_mm512_srli_epi16(both, 4), lower);
      const int64_t column = group * GROUP + 4 * v;
      for (int i = 0; i < M; i++) {
        const int8_t *above = x.high(first + i) + column, *below = x.low(first + i) + column;
        high[i] = _mm512_dpbusd_epi32(high[i], one, four(above));
        low[i] = _mm512_dpbusd_epi32(low[i], one, four(below));
        high[i] = _mm512_dpbusd_epi32(high[i], other, four(above + 16));
        low[i] = _mm512_dpbusd_epi32(low[i], other, four(below + 16));
      }
    }
    const __m512 scale = floats(scales), offset = floats(offsets);
    for (int i = 0; i < M; i++) {
      const __m512i whole = _mm512_add_epi32(_mm512_slli_epi32(high[i], 8), low[i]);
      const __m512 sum = _mm512_set1_ps(starts[(first + i) * count + group].sum);
      sums[i] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(whole), scale, sums[i]);
      sums[i] = _mm512_fmadd_ps(sum, offset, sums[i]);
    }
  }
  for (int i = 0; i < M; i++) store(sums[i], x.units[first + i], y + (first + i) * n + lanes * LANES);
}

template <class Weight>
inline void band(const Planes& x, const Start* starts, const Weight& w, int64_t lanes, Half* y,
                 int64_t n) {
  constexpr int M = 4;
  int64_t i = 0;
  for (; i + M <= x.m; i += M) tile<M>(x, starts, i, w, lanes, y, n);
  switch (x.m - i) {
    case 3: return tile<3>(x, starts, i, w, lanes, y, n);
    case 2: return tile<2>(x, starts, i, w, lanes, y, n);
    case 1: return tile<1>(x, starts, i, w, lanes, y, n);
  }
}

template <class Weight>
void multiply(const Planes& x, const std::vector<Start>& starts, const Weight& w, Half* y, int64_t n,
              int threads) {
  if (x.m * n * x.k < WORTH_A_THREAD) threads = 1;
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t lanes = 0; lanes < n / LANES; lanes++) band(x, starts.data(), w, lanes, y, n);
}

}  // namespace
#endif

extern "C" {

int danlu_has_integers() { return INTEGERS != 0; }

#if INTEGERS == BYTES  // n in steps of 16, k in steps of 32 and up to 65536
void danlu_int8(const Half* x, const uint8_t* w, const Half* scales, Half* y, int64_t m, int64_t n,
                int64_t k, int threads) {
  const Planes planes(x, m, k);
  multiply(planes, starts_of(planes, k, 128), Int8{w, scales}, y, n, threads);
}

void danlu_int4(const Half* x, const uint8_t* w, const Half* scales, const Half* offsets, Half* y,
                int64_t m, int64_t n, int64_t k, int threads) {
  const Planes planes(x, m, k);
  multiply(planes, starts_of(planes, GROUP, 8), Int4{w, scales, offsets}, y, n, threads);
}
#endif
}
