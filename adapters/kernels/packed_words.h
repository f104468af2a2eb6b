// Products with packed weights where a processor multiplies words of 16 bits, but no four bytes at once.
//
// Of 8 bits, x's rows are words, and a weight's bytes become words on their way. Pairs of products are
// added up in 32 bits, which whatever goes over comes back to: a sum of SPAN columns fits, and the sums
// of spans are added up in float32. Of 4 bits, x's rows are two planes of bytes, high · 256 + low:
// pairs of products with one plane are words, and those of a GROUP's columns add up to one.

#pragma once

#include "integers.h"

constexpr int64_t SPAN = 512;    // columns
constexpr int64_t QUARTERS = 4;  // of a block: a vector has two pairs of columns of each of its rows

inline __m256 eight(const Half* from) {
  const __m128i halves = _mm_loadu_si128((const __m128i*)from);
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16));
}
inline __m256 eight(const float* from) { return _mm256_loadu_ps(from); }

// 16 of x's columns.
template <class Number>
inline __m256i words_of(const Number* x, __m256 fit) {
  const __m256i one = _mm256_cvtps_epi32(_mm256_mul_ps(eight(x), fit));
  const __m256i other = _mm256_cvtps_epi32(_mm256_mul_ps(eight(x + 8), fit));
  return _mm256_permute4x64_epi64(_mm256_packs_epi32(one, other), 0xd8);
}

inline int32_t total(__m256i eight) {
  int32_t numbers[8];
  memcpy(numbers, &eight, sizeof numbers);
  int32_t sum = 0;
  for (const int32_t number : numbers) sum += number;
  return sum;
}

// Rows of words, and what each span's sums begin with, since a weight's numbers are too high.
struct Words {
  int64_t m = 0, k = 0;
  Buffer<int16_t> numbers;
  Buffer<float> units;
  Buffer<uint32_t> starts;

  Words(int64_t rows, int64_t columns)
      : numbers(rows * columns), units(rows), starts(rows * spans(columns)) {}

  template <class Number>
  void take(const Number* x, int64_t rows, int64_t columns) {
    m = rows, k = columns;
    for (int64_t row = 0; row < m; row++, x += k) {
      const Unit own(x, k);
      *units.at(row) = own.unit;
      for (int64_t span = 0; span < spans(k); span++)
        *starts.at(row * spans(k) + span) = -128 * take_span(x, own.fit, row, span);
    }
  }
  const int16_t* at(int64_t row) const { return numbers.at(row * k); }
  // The first pair's of each row of a weight.
  __m256i start(int64_t row, int64_t span) const {
    return _mm256_set1_epi64x(*starts.at(row * spans(k) + span));
  }
  int64_t end(int64_t span) const { return (span + 1) * SPAN < k ? (span + 1) * SPAN : k; }
  static int64_t spans(int64_t columns) { return (columns + SPAN - 1) / SPAN; }

 private:
  template <class Number>
  int32_t take_span(const Number* x, float fit, int64_t row, int64_t span) {
    __m256i sums = {};
    for (int64_t column = span * SPAN; column < end(span); column += 16) {
      const __m256i words = words_of(x + column, _mm256_set1_ps(fit));
      _mm256_storeu_si256((__m256i*)(numbers.at(row * k) + column), words);
      sums = _mm256_add_epi32(sums, _mm256_madd_epi16(words, _mm256_set1_epi16(1)));
    }
    return total(sums);
  }
};

// Rows of two planes, and for each group its own sum, and what the sums with it are too high by.
struct Planes {
  int64_t m = 0, k = 0;
  Buffer<int8_t> bytes;  // [m, 2, k]
  Buffer<float> units, sums;
  Buffer<int32_t> shifts;

  Planes(int64_t rows, int64_t columns)
      : bytes(2 * rows * columns),
        units(rows),
        sums(rows * columns / GROUP),
        shifts(rows * columns / GROUP) {}

  template <class Number>
  void take(const Number* x, int64_t rows, int64_t columns) {
    m = rows, k = columns;
    for (int64_t row = 0; row < m; row++, x += k) {
      const Unit own(x, k);
      *units.at(row) = own.unit;
      for (int64_t group = 0; group < k / GROUP; group++) {
        const int32_t sum = take_group(x + group * GROUP, own.fit, row, group);
        *sums.at(row * k / GROUP + group) = float(sum);
        *shifts.at(row * k / GROUP + group) = -8 * sum;
      }
    }
  }
  const int8_t* high(int64_t row) const { return bytes.at(2 * row * k); }

 private:
  template <class Number>
  int32_t take_group(const Number* x, float fit, int64_t row, int64_t group) {
    const __m256i one = words_of(x, _mm256_set1_ps(fit)), other = words_of(x + 16, _mm256_set1_ps(fit));
    int8_t* to = bytes.at(2 * row * k) + group * GROUP;
    _mm256_storeu_si256((__m256i*)to, in_order(_mm256_packs_epi16(above(one), above(other))));
    const __m256i lower = _mm256_set1_epi16(255);
    const __m256i low =
        _mm256_packus_epi16(_mm256_and_si256(one, lower), _mm256_and_si256(other, lower));
    _mm256_storeu_si256((__m256i*)(to + k), in_order(low));
    const __m256i ones = _mm256_set1_epi16(1);
    return total(_mm256_add_epi32(_mm256_madd_epi16(one, ones), _mm256_madd_epi16(other, ones)));
  }
  // The lower byte counts from -128, so the upper one is that of the nearest multiple of 256.
  static __m256i above(__m256i words) {
    return _mm256_srai_epi16(_mm256_add_epi16(words, _mm256_set1_epi16(128)), 8);
  }
  static __m256i in_order(__m256i packed) { return _mm256_permute4x64_epi64(packed, 0xd8); }
};

struct Int8 {
  using Rows = Words;
  static constexpr int TILE = 2;
  const uint8_t* numbers;
  const Half* scales;
};

struct Int4 {
  using Rows = Planes;
  static constexpr int TILE = 4;
  const uint8_t* numbers;
  const Half *scales, *offsets;
};

// Four columns of a row, beside each other for each row of a weight.
inline __m256i four(const int16_t* x) {
  int64_t numbers;
  memcpy(&numbers, x, sizeof numbers);
  return _mm256_set1_epi64x(numbers);
}
inline __m256i four(const int8_t* x) {
  int32_t numbers;
  memcpy(&numbers, x, sizeof numbers);
  return _mm256_set1_epi32(numbers);
}

inline __m256i words(const uint8_t* bytes) {
  return _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i*)bytes));
}

inline void add_words(__m256i& sum, __m256i w, __m256i x) {
  sum = _mm256_add_epi32(sum, _mm256_madd_epi16(w, x));
}

// Bytes of `w` have no sign. Each product is added at once: left to itself, the compiler makes all of
// them first, and runs out of registers.
inline void add_bytes(__m256i& sum, __m256i w, __m256i x) {
  sum = _mm256_add_epi16(sum, _mm256_maddubs_epi16(w, x));
  asm("" : "+x"(sum));
}

// The sums of eight rows of a weight; two quarters have two pairs of each.
inline __m256 joined(__m256i lower, __m256i upper) {
  return _mm256_cvtepi32_ps(_mm256_permute4x64_epi64(_mm256_hadd_epi32(lower, upper), 0xd8));
}

template <int M, class Out>
inline void tile(const Words& x, int64_t first, const Int8& w, int64_t block, const Out& out) {
  const uint8_t* bytes = w.numbers + block * LANES * x.k;
  __m256 sums[M][2] = {};
  for (int64_t span = 0; span < Words::spans(x.k); span++) {
    __m256i found[M][QUARTERS];
    for (int i = 0; i < M; i++)
      for (int q = 0; q < QUARTERS; q++) found[i][q] = x.start(first + i, span);
    for (int64_t column = span * SPAN; column < x.end(span); column += 4, bytes += 64) {
      __builtin_prefetch(bytes + AHEAD);
      __m256i xs[M];
      for (int i = 0; i < M; i++) xs[i] = four(x.at(first + i) + column);
      for (int q = 0; q < QUARTERS; q++) {
        const __m256i some = words(bytes + 16 * q);
        for (int i = 0; i < M; i++) add_words(found[i][q], some, xs[i]);
      }
    }
    for (int i = 0; i < M; i++)
      for (int half = 0; half < 2; half++)
        sums[i][half] =
            _mm256_add_ps(sums[i][half], joined(found[i][2 * half], found[i][2 * half + 1]));
  }
  for (int i = 0; i < M; i++) {
    float found[LANES];
    for (int half = 0; half < 2; half++) {
      const __m256 scale = eight(w.scales + block * LANES + 8 * half);
      _mm256_storeu_ps(found + 8 * half, _mm256_mul_ps(sums[i][half], scale));
    }
    out.put(found, *x.units.at(first + i), first + i, block);
  }
}

template <int M, class Out>
inline void tile(const Planes& x, int64_t first, const Int4& w, int64_t block, const Out& out) {
  const int64_t count = x.k / GROUP;
  const uint8_t* bytes = w.numbers + block * count * LANES * GROUP / 2;
  const Half *scales = w.scales + block * count * LANES, *offsets = w.offsets + block * count * LANES;
  const __m256i lower = _mm256_set1_epi8(15);
  __m256 sums[M][2] = {};
  for (int64_t group = 0; group < count; group++, scales += LANES, offsets += LANES) {
    __m256i high[M][2] = {}, low[M][2] = {};
    for (int v = 0; v < 4; v++, bytes += 64) {
      const int64_t column = group * GROUP + 4 * v;
      __builtin_prefetch(bytes + AHEAD);
      __m256i one[2], other[2];
      for (int half = 0; half < 2; half++) {
        const __m256i both = _mm256_loadu_si256((const __m256i*)(bytes + 32 * half));
        one[half] = _mm256_and_si256(both, lower);
        other[half] = _mm256_and_si256(_mm256_srli_epi16(both, 4), lower);
      }
      for (int i = 0; i < M; i++) {
        const int8_t *above = x.high(first + i) + column, *below = above + x.k;
        for (int half = 0; half < 2; half++) {
          add_bytes(high[i][half], one[half], four(above));
          add_bytes(low[i][half], one[half], four(below));
          add_bytes(high[i][half], other[half], four(above + GROUP / 2));
          add_bytes(low[i][half], other[half], four(below + GROUP / 2));
        }
      }
    }
    for (int half = 0; half < 2; half++) {
      const __m256 scale = eight(scales + 8 * half), offset = eight(offsets + 8 * half);
      for (int i = 0; i < M; i++) {
        const int64_t at = (first + i) * count + group;
        __m256i whole = _mm256_add_epi32(_mm256_madd_epi16(high[i][half], _mm256_set1_epi16(256)),
                                         _mm256_set1_epi32(*x.shifts.at(at)));
        add_words(whole, low[i][half], _mm256_set1_epi16(1));
        __m256& sum = sums[i][half];
        sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(whole), scale, sum);
        sum = _mm256_fmadd_ps(_mm256_set1_ps(*x.sums.at(at)), offset, sum);
      }
    }
  }
  for (int i = 0; i < M; i++) {
    float found[LANES];
    for (int half = 0; half < 2; half++) _mm256_storeu_ps(found + 8 * half, sums[i][half]);
    out.put(found, *x.units.at(first + i), first + i, block);
  }
}
