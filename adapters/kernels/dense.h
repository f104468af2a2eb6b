// Products of few rows with a dense weight: y[m, n] = x[m, k] · w[n, k]ᵀ + bias[n], row by row in memory.
//
// With few rows a product takes as long as its weight takes to come from memory. So a weight is read
// once, in order, TILE_N rows at a time; while the rows of x are multiplied with these, the next ones
// are fetched. Each sum has one accumulator of its own and runs over k in one order, whatever m is: to
// the bit, no row of y depends on how many others there are.

#pragma once

#include "formats.h"

// A tile's sums, and what is multiplied, are as many vectors as the processor has registers for.
constexpr int64_t TILE_M = VECTOR == 64 ? 4 : 3, TILE_N = 4;
constexpr int64_t SHARE = 16;    // columns that a thread does at least: a line of float32, a packed block
constexpr int64_t BLOCK_M = 64;  // rows of x at most that stay near while a weight goes by

// Where everything lies. There may be no bias. `onto`: y is added to.
template <class Format, class Out>
struct Product {
  const typename Format::Taken* x;
  const typename Format::Number *w, *bias;
  Out* y;
  int64_t m, n, k;
  int64_t stride;  // from row to row of y
  bool onto;

  Product below(int64_t row) const {
    return {x + row * k, w, bias, y + row * stride, m - row, n, k, stride, onto};
  }
  Product first(int64_t rows) const { return {x, w, bias, y, rows, n, k, stride, onto}; }
  Product beside(int64_t column) const {
    const auto* its_bias = bias ? bias + column : nullptr;
    return {x, w + column * k, its_bias, y + column, m, n - column, k, stride, onto};
  }
};

// M rows of x with N of the weight; meanwhile those at `next` are fetched, NEXT of them.
template <int M, int N, int NEXT, class Format, class Out>
inline void tile(const Product<Format, Out>& p, const typename Format::Number* next) {
  typename Format::Sum sums[M][N] = {};
  for (int64_t column = 0; column < p.k; column += Format::STEP) {
    for (int j = 0; j < NEXT; j++) __builtin_prefetch(next + j * p.k + column);
#pragma GCC unroll 8
    for (int64_t number = 0; number < Format::PARTS; number++) {
      typename Format::Part xs[M];
      for (int i = 0; i < M; i++) xs[i] = Format::taken(p.x + i * p.k + column, number);
      for (int j = 0; j < N; j++) {
        const typename Format::Part part = Format::part(p.w + j * p.k + column, number);
        for (int i = 0; i < M; i++) Format::add(sums[i][j], xs[i], part);
      }
    }
  }
  for (int i = 0; i < M; i++) {
    Out* y = p.y + i * p.stride;
    float found[N];
    if constexpr (N == 4) {
      const auto& s = sums[i];
      const Four four = totals(Format::folded(s[0]), Format::folded(s[1]), Format::folded(s[2]),
                               Format::folded(s[3]));
      memcpy(found, &four, sizeof found);
    } else {
      for (int j = 0; j < N; j++) found[j] = total(Format::folded(sums[i][j]));
    }
    for (int j = 0; j < N; j++) {
      if (p.bias) found[j] += get(p.bias + j);
      if (p.onto) found[j] += get(y + j);
      put(found[j], y + j);
    }
  }
}

// All rows of x with N of the weight. Of the next N each tile fetches one, and a single tile all. The
// last two tiles share what is left, since one row alone is slow.
template <int N, class Format, class Out>
inline void band(const Product<Format, Out>& p) {
  switch (p.m) {
    case 3: return tile<3, N, N>(p, p.w + N * p.k);
    case 2: return tile<2, N, N>(p, p.w + N * p.k);
    case 1: return tile<1, N, N>(p, p.w + N * p.k);
  }
  for (int64_t row = 0, tiles = 0; row < p.m; tiles++) {
    const typename Format::Number* next = p.w + (N + tiles % N) * p.k;
    const int64_t left = p.m - row;
    const int64_t rows = left == TILE_M + 1 ? 2 : left < TILE_M ? left : TILE_M;
    switch (rows) {
      case 4: tile<TILE_M, N, 1>(p.below(row), next); break;
      case 3: tile<3, N, 1>(p.below(row), next); break;
      case 2: tile<2, N, 1>(p.below(row), next); break;
      case 1: tile<1, N, 1>(p.below(row), next); break;
    }
    row += rows;
  }
}

// The columns from `first` up to `last`, on the calling thread.
template <class Format, class Out>
void multiply(const Product<Format, Out>& whole, int64_t first, int64_t last) {
  const int64_t blocks = (whole.m + BLOCK_M - 1) / BLOCK_M;  // of much the same size
  for (int64_t block = 0; block < blocks; block++) {
    const int64_t row = whole.m * block / blocks, next = whole.m * (block + 1) / blocks;
    const Product<Format, Out> p = whole.below(row).first(next - row);
    int64_t column = first;
    for (; column + TILE_N <= last; column += TILE_N) band<TILE_N>(p.beside(column));
    for (; column < last; column++) band<1>(p.beside(column));
  }
}
