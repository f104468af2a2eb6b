// Products with packed weights where a processor multiplies bytes, and adds up four products at a time.
//
// x's rows are two planes of bytes, high · 256 + low.

#pragma once

#include "integers.h"

struct Part {  // of x's columns: what a sum begins with, since a weight's numbers are too high
  int32_t high, low;
  float sum;  // the columns' own
};

// Rows of two planes, in parts of `width` columns; 0 is all of them.
template <int64_t WIDTH, int32_t SHIFT>
struct Planes {
  int64_t m = 0, k = 0;
  Buffer<int8_t> bytes;  // [m, 2, k]
  Buffer<float> units;
  Buffer<Part> parts;

  Planes(int64_t rows, int64_t columns)
      : bytes(2 * rows * columns), units(rows), parts(rows * (WIDTH ? columns / WIDTH : 1)) {}

  template <class Number>
  void take(const Number* x, int64_t rows, int64_t columns) {
    m = rows, k = columns;
    for (int64_t row = 0; row < m; row++, x += k) {
      const Unit own(x, k);
      *units.at(row) = own.unit;
      int8_t* to = bytes.at(2 * row * k);
      for (int64_t column = 0; column < k; column += LANES_OF_FLOATS)
        split(_mm512_cvtps_epi32(_mm512_mul_ps(floats(x + column), _mm512_set1_ps(own.fit))),
              to + column, to + k + column);
      for (int64_t number = 0; number < count(); number++) set(row, number);
    }
  }
  int64_t width() const { return WIDTH ? WIDTH : k; }
  int64_t count() const { return k / width(); }
  const int8_t* high(int64_t row) const { return bytes.at(2 * row * k); }
  const int8_t* low(int64_t row) const { return high(row) + k; }
  const Part& part(int64_t row, int64_t number) const { return *parts.at(row * count() + number); }

 private:
  // The lower byte counts from -128, so the upper one is that of the nearest multiple of 256.
  static void split(__m512i whole, int8_t* high, int8_t* low) {
    const __m512i above = _mm512_srai_epi32(_mm512_add_epi32(whole, _mm512_set1_epi32(128)), 8);
    _mm_storeu_si128((__m128i*)high, _mm512_cvtepi32_epi8(above));
    _mm_storeu_si128((__m128i*)low, _mm512_cvtepi32_epi8(whole));
  }
  void set(int64_t row, int64_t number) {
    int32_t above = 0, below = 0;
    for (int64_t i = number * width(); i < (number + 1) * width(); i++)
      above += high(row)[i], below += low(row)[i];
    *parts.at(row * count() + number) = {-SHIFT * above, -SHIFT * below, 256.0f * above + below};
  }
};

struct Int8 {
  using Rows = Planes<0, 128>;
  static constexpr int TILE = 4;
  const uint8_t* numbers;
  const Half* scales;
};

struct Int4 {
  using Rows = Planes<GROUP, 8>;
  static constexpr int TILE = 4;
  const uint8_t* numbers;
  const Half *scales, *offsets;
};

inline __m512i four(const int8_t* plane) {
  int32_t numbers;
  memcpy(&numbers, plane, sizeof numbers);
  return _mm512_set1_epi32(numbers);
}

template <int M, class Out>
inline void tile(const Int8::Rows& x, int64_t first, const Int8& w, int64_t block, const Out& out) {
  const uint8_t* bytes = w.numbers + block * LANES * x.k;
  __m512i high[M], low[M];
  for (int i = 0; i < M; i++) {
    const Part& part = x.part(first + i, 0);
    high[i] = _mm512_set1_epi32(part.high), low[i] = _mm512_set1_epi32(part.low);
  }
  for (int64_t column = 0; column < x.k; column += 4, bytes += 64) {
    const __m512i some = _mm512_loadu_si512(bytes);
    for (int i = 0; i < M; i++) {
      high[i] = _mm512_dpbusd_epi32(high[i], some, four(x.high(first + i) + column));
      low[i] = _mm512_dpbusd_epi32(low[i], some, four(x.low(first + i) + column));
    }
  }
  const __m512 scale = floats(w.scales + block * LANES), step = _mm512_set1_ps(256);
  for (int i = 0; i < M; i++) {
    const __m512 whole =
        _mm512_fmadd_ps(_mm512_cvtepi32_ps(high[i]), step, _mm512_cvtepi32_ps(low[i]));
    float found[LANES];
    put((Floats)_mm512_mul_ps(whole, scale), found);
    out.put(found, *x.units.at(first + i), first + i, block);
  }
}

template <int M, class Out>
inline void tile(const Int4::Rows& x, int64_t first, const Int4& w, int64_t block, const Out& out) {
  const int64_t count = x.count();
  const uint8_t* bytes = w.numbers + block * count * LANES * GROUP / 2;
  const Half *scales = w.scales + block * count * LANES, *offsets = w.offsets + block * count * LANES;
  const __m512i lower = _mm512_set1_epi8(15);
  __m512 sums[M] = {};
  for (int64_t group = 0; group < count; group++, bytes += 256, scales += LANES, offsets += LANES) {
    __m512i high[M], low[M];
    for (int i = 0; i < M; i++) {
      const Part& part = x.part(first + i, group);
      high[i] = _mm512_set1_epi32(part.high), low[i] = _mm512_set1_epi32(part.low);
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
      sums[i] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(whole), scale, sums[i]);
      sums[i] = _mm512_fmadd_ps(_mm512_set1_ps(x.part(first + i, group).sum), offset, sums[i]);
    }
  }
  for (int i = 0; i < M; i++) {
    float found[LANES];
    put((Floats)sums[i], found);
    out.put(found, *x.units.at(first + i), first + i, block);
  }
}
