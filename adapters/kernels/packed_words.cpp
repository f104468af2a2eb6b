// The products of packed.cpp where a processor multiplies words of 16 bits, but not bytes.
//
// x's rows become integers of 16 bits in units of a row's largest number, and a weight's bytes words on
// their way. Pairs of products are added up in 32 bits, which whatever goes over comes back to: a sum
// of SPAN columns fits, and the sums of spans are added up in float32.

#include "formats.h"

#if INTEGERS == WORDS
#include <vector>

namespace {

constexpr int64_t GROUP = 32;  // columns that share a scale and an offset, of 4 bits
constexpr int64_t LANES = 16;  // rows of a weight that lie side by side
constexpr int64_t SPAN = 512;  // columns
constexpr int64_t QUARTERS = 4;  // of the lanes: a vector has the two pairs of four columns of each
constexpr float LARGEST = 32512;

inline __m256 eight(const Half* from) {
  const __m128i halves = _mm_loadu_si128((const __m128i*)from);
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16));
}

// What the lanes of a sum over some of x's columns begin with, since a weight's numbers are too high
// by `shift`: of the first two of each four columns, and of the others. And the columns' own sum.
struct Start {
  int32_t pairs[2];
  float sum;

  __m256i lanes() const {
    int64_t both;
    memcpy(&both, pairs, sizeof both);
    return _mm256_set1_epi64x(both);
  }
};

// x's rows as words, what they are in units of, and a start for each `width` columns.
struct Words {
  int64_t m, k, parts;
  std::vector<int16_t> numbers;  // [m, k]
  std::vector<float> units;      // [m]; no number where one of the row is none
  std::vector<Start> starts;     // [m, parts]

  Words(const Half* x, int64_t m, int64_t k, int64_t width, int32_t shift)
      : m(m), k(k), parts((k + width - 1) / width), numbers(m * k), units(m), starts(m * parts) {
    for (int64_t row = 0; row < m; row++) {
      split(x + row * k, row);
      for (int64_t part = 0; part < parts; part++) {
        const int64_t last = (part + 1) * width < k ? (part + 1) * width : k;
        starts[row * parts + part] = start(at(row), part * width, last, shift);
      }
    }
  }
  const int16_t* at(int64_t row) const { return numbers.data() + row * k; }
  const Start& start(int64_t row, int64_t part) const { return starts[row * parts + part]; }

 private:
  void split(const Half* x, int64_t row) {
    uint32_t most = 0;  // the bits of positive numbers are in their order
    for (int64_t i = 0; i < k; i++) most = most > (x[i] & 0x7fffu) ? most : x[i] & 0x7fffu;
    const float largest = wide(Half(most));
    units[row] = most < 0x7f80 ? largest / LARGEST : __builtin_nanf("");
    const __m256 fit = _mm256_set1_ps(units[row] > 0 ? 1 / units[row] : 0);
    for (int64_t i = 0; i < k; i += 8) {
      const __m256i whole = _mm256_cvtps_epi32(_mm256_mul_ps(eight(x + i), fit));
      const __m128i words =
          _mm_packs_epi32(_mm256_castsi256_si128(whole), _mm256_extracti128_si256(whole, 1));
      _mm_storeu_si128((__m128i*)(numbers.data() + row * k + i), words);
    }
  }
  static Start start(const int16_t* x, int64_t first, int64_t last, int32_t shift) {
    int32_t pairs[2] = {};
    for (int64_t i = first; i < last; i++) pairs[(i - first) / 2 % 2] += x[i];
    return {{-shift * pairs[0], -shift * pairs[1]}, float(pairs[0] + pairs[1])};
  }
};

struct Int8 {
  const uint8_t* w;
  const Half* scales;
};

struct Int4 {
  const uint8_t* w;
  const Half *scales, *offsets;
};

inline __m256i four(const int16_t* x) {
  int64_t numbers;
  memcpy(&numbers, x, sizeof numbers);
  return _mm256_set1_epi64x(numbers);
}

inline __m256i words(const uint8_t* bytes) {
  return _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i*)bytes));
}

inline void add(__m256i& sum, __m256i w, __m256i x) {
  sum = _mm256_add_epi32(sum, _mm256_madd_epi16(w, x));
}

// Eight lanes of two quarters, whose pairs are added up.
inline __m256 lanes(__m256i lower, __m256i upper) {
  const __m256i mixed = _mm256_hadd_epi32(lower, upper);
  return _mm256_cvtepi32_ps(_mm256_permute4x64_epi64(mixed, 0xd8));
}

inline void store(__m256 sums, float unit, Half* y) {
  float found[8];
  _mm256_storeu_ps(found, _mm256_mul_ps(sums, _mm256_set1_ps(unit)));
  for (int i = 0; i < 8; i++) y[i] = rounded(found[i]);
}

template <int M>
inline void tile(const Words& x, int64_t first, const Int8& w, int64_t block, Half* y, int64_t n) {
  const uint8_t* bytes = w.w + block * LANES * x.k;
  __m256 sums[M][2] = {};
  for (int64_t part = 0; part < x.parts; part++) {
    const int64_t last = (part + 1) * SPAN < x.k ? (part + 1) * SPAN : x.k;
    __m256i found[M][QUARTERS];
    for (int i = 0; i < M; i++)
      for (int q = 0; q < QUARTERS; q++) found[i][q] = x.start(first + i, part).lanes();
    for (int64_t column = part * SPAN; column < last; column += 4, bytes += 64) {
      __builtin_prefetch(bytes + 1024);
      __m256i xs[M];
      for (int i = 0; i < M; i++) xs[i] = four(x.at(first + i) + column);
      for (int q = 0; q < QUARTERS; q++) {
        const __m256i some = words(bytes + 16 * q);
        for (int i = 0; i < M; i++) add(found[i][q], some, xs[i]);
      }
    }
    for (int i = 0; i < M; i++)
      for (int half = 0; half < 2; half++)
        sums[i][half] = _mm256_add_ps(sums[i][half], lanes(found[i][2 * half], found[i][2 * half + 1]));
  }
  for (int i = 0; i < M; i++)
    for (int half = 0; half < 2; half++) {
      const int64_t row = block * LANES + 8 * half;
      const __m256 scaled = _mm256_mul_ps(sums[i][half], eight(w.scales + row));
      store(scaled, x.units[first + i], y + (first + i) * n + row);
    }
}

template <int M>
inline void tile(const Words& x, int64_t first, const Int4& w, int64_t block, Half* y, int64_t n) {
  const uint8_t* bytes = w.w + block * x.parts * LANES * GROUP / 2;
  const Half *scales = w.scales + block * x.parts * LANES, *offsets = w.offsets + block * x.parts * LANES;
  const __m256i lower = _mm256_set1_epi16(15);
  __m256 sums[M][2] = {};
  for (int64_t group = 0; group < x.parts; group++, scales += LANES, offsets += LANES) {
    __m256i found[M][QUARTERS];
    for (int i = 0; i < M; i++)
      for (int q = 0; q < QUARTERS; q++) found[i][q] = x.start(first + i, group).lanes();
    for (int64_t column = group * GROUP; column < group * GROUP + GROUP / 2; column += 4, bytes += 64) {
      __builtin_prefetch(bytes + 1024);
      __m256i above[M], below[M];
      for (int i = 0; i < M; i++) {
        above[i] = four(x.at(first + i) + column);
        below[i] = four(x.at(first + i) + column + GROUP / 2);
      }
      for (int q = 0; q < QUARTERS; q++) {
        const __m256i both = words(bytes + 16 * q);
        const __m256i one = _mm256_and_si256(both, lower), other = _mm256_srli_epi16(both, 4);
        for (int i = 0; i < M; i++) {
          add(found[i][q], one, above[i]);
          add(found[i][q], other, below[i]);
        }
      }
    }
    for (int half = 0; half < 2; half++) {
      const __m256 scale = eight(scales + 8 * half), offset = eight(offsets + 8 * half);
      for (int i = 0; i < M; i++) {
        __m256& sum = sums[i][half];
        sum = _mm256_fmadd_ps(lanes(found[i][2 * half], found[i][2 * half + 1]), scale, sum);
        sum = _mm256_fmadd_ps(_mm256_set1_ps(x.start(first + i, group).sum), offset, sum);
      }
    }
  }
  for (int i = 0; i < M; i++)
    for (int half = 0; half < 2; half++)
      store(sums[i][half], x.units[first + i], y + (first + i) * n + block * LANES + 8 * half);
}

template <class Weight>
void multiply(const Words& x, const Weight& w, Half* y, int64_t n, int threads) {
  if (x.m * n * x.k < WORTH_A_THREAD) threads = 1;
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t block = 0; block < n / LANES; block++) {
    int64_t row = 0;
    for (; row + 2 <= x.m; row += 2) tile<2>(x, row, w, block, y, n);
    if (row < x.m) tile<1>(x, row, w, block, y, n);
  }
}

}  // namespace

extern "C" {

void danlu_int8(const Half* x, const uint8_t* w, const Half* scales, Half* y, int64_t m, int64_t n,
                int64_t k, int threads) {
  multiply(Words(x, m, k, SPAN, 128), Int8{w, scales}, y, n, threads);
}

void danlu_int4(const Half* x, const uint8_t* w, const Half* scales, const Half* offsets, Half* y,
                int64_t m, int64_t n, int64_t k, int threads) {
  multiply(Words(x, m, k, GROUP, 8), Int4{w, scales, offsets}, y, n, threads);
}
}
#endif
