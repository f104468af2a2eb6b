// Products of few rows with a dense weight: y[m, n] = x[m, k] · w[n, k]ᵀ + bias[n], row by row in memory.
//
// With few rows a product takes as long as its weight takes to come from memory. So a weight is read
// once, in order, TILE_N rows at a time; while the rows of x are multiplied with these, the next ones
// are fetched. Each sum has one accumulator of its own and runs over k in one order, whatever m is: to
// the bit, no row of y depends on how many others there are.

#include "formats.h"

namespace {

constexpr int64_t TILE_M = 4, TILE_N = 4;

// Where everything lies. There may be no bias.
template <class Number>
struct Product {
  const Number *x, *w, *bias;
  Number* y;
  int64_t m, n, k;

  Product below(int64_t row) const { return {x + row * k, w, bias, y + row * n, m - row, n, k}; }
  Product beside(int64_t column) const {
    return {x, w + column * k, bias ? bias + column : nullptr, y + column, m, n, k};
  }
};

// M rows of x with N of the weight; meanwhile the row at `next` is fetched.
template <class Format, int M, int N>
inline void tile(const Product<typename Format::Number>& p, const typename Format::Number* next) {
  typename Format::Sum sums[M][N] = {};
  for (int64_t column = 0; column < p.k; column += Format::STEP) {
    __builtin_prefetch(next + column);
    typename Format::Part xs[M];
    for (int i = 0; i < M; i++) xs[i] = Format::part(p.x + i * p.k + column);
    for (int j = 0; j < N; j++) {
      const typename Format::Part part = Format::part(p.w + j * p.k + column);
      for (int i = 0; i < M; i++) Format::add(sums[i][j], xs[i], part);
    }
  }
  for (int i = 0; i < M; i++)
    for (int j = 0; j < N; j++)
      put(Format::end(sums[i][j]) + (p.bias ? get(p.bias + j) : 0.0f), p.y + i * p.n + j);
}

// All rows of x with N of the weight. Of the next N each tile fetches one.
template <class Format, int N>
inline void band(const Product<typename Format::Number>& p) {
  int64_t row = 0;
  const auto next = [&] { return p.w + (N + row / TILE_M % N) * p.k; };
  for (; row + TILE_M <= p.m; row += TILE_M) tile<Format, TILE_M, N>(p.below(row), next());
  switch (p.m - row) {
    case 3: return tile<Format, 3, N>(p.below(row), next());
    case 2: return tile<Format, 2, N>(p.below(row), next());
    case 1: return tile<Format, 1, N>(p.below(row), next());
  }
}

template <class Format>
void multiply(const Product<typename Format::Number>& p, int threads) {
  if (p.m * p.n * p.k < WORTH_A_THREAD) threads = 1;
  const int64_t bands = (p.n + TILE_N - 1) / TILE_N;
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t number = 0; number < bands; number++) {
    const int64_t first = number * TILE_N;
    if (first + TILE_N <= p.n) {
      band<Format, TILE_N>(p.beside(first));
    } else {
      for (int64_t row = first; row < p.n; row++) band<Format, 1>(p.beside(row));
    }
  }
}

}  // namespace

extern "C" {

void danlu_float32(const float* x, const float* w, const float* bias, float* y, int64_t m, int64_t n,
                   int64_t k, int threads) {
  multiply<Float32>({x, w, bias, y, m, n, k}, threads);
}

int danlu_vector() { return VECTOR; }

int danlu_has_bfloat16() { return BF16; }

#if BF16
void danlu_bfloat16(const Half* x, const Half* w, const Half* bias, Half* y, int64_t m, int64_t n,
                    int64_t k, int threads) {
  multiply<BFloat16>({x, w, bias, y, m, n, k}, threads);
}
#endif
}
