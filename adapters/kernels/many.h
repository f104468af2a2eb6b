// Products of many rows with a layer: y[m, n] = x[m, k] · w[n, k]ᵀ, row by row in memory.
//
// With many rows a product takes as long as its multiplications take, so numbers are laid out as these
// want them: of x HEIGHT rows side by side, column by column, in a tile; of the weight two vectors of
// rows, likewise, in a panel, which is made when it is needed, whatever the weight's kind, and serves
// all of x. Each number of y has one accumulator and runs over k in one order: to the bit, no row
// depends on how many others there are, as long as these are many.

#pragma once

#include <algorithm>

#include "linear.h"

// As many sums, of two vectors a row, as there are registers for, beside what is multiplied.
constexpr int64_t HEIGHT = VECTOR == 64 ? 12 : 6;
constexpr int64_t WIDTH = 2 * LANES_OF_FLOATS;  // columns of y in a panel
constexpr int64_t DEPTH = 512;                  // columns of x at a time, so that panels stay near
constexpr int64_t PANELS = 4;                   // that a tile meets while it is near itself

inline int64_t tiles(int64_t rows) { return (rows + HEIGHT - 1) / HEIGHT; }

// ---- weights, whose rows from `first` on become a panel: [depth, VECTORS · lanes] ----

template <class Format>
struct DenseRows {
  const typename Format::Number* numbers;
  int64_t k;

  template <int VECTORS>
  void panel(int64_t first, int64_t column, int64_t depth, float* to) const {
    constexpr int64_t LANES = LANES_OF_FLOATS, ROW = VECTORS * LANES;
    float some[LANES * LANES];
    for (int64_t across = 0; across < ROW; across += LANES)
      for (int64_t down = 0; down < depth; down += LANES) {
        for (int64_t row = 0; row < LANES; row++)
          put(floats(numbers + (first + across + row) * k + column + down), some + row * LANES);
        for (int64_t lane = 0; lane < LANES; lane++) {
          Floats turned;
          for (int64_t row = 0; row < LANES; row++) turned[row] = some[row * LANES + lane];
          put(turned, to + (down + lane) * ROW + across);
        }
      }
  }
};

#if INTEGERS
// How the numbers of packed weights lie is in native.py.
struct Int8Rows {
  Int8 w;
  int64_t k;

  template <int VECTORS>
  void panel(int64_t first, int64_t column, int64_t depth, float* to) const {
    constexpr int64_t ROW = VECTORS * LANES_OF_FLOATS;
    for (int64_t across = 0; across < ROW; across++) {
      const int64_t row = first + across;
      const float scale = get(w.scales + row);
      const uint8_t* numbers = w.numbers + row / LANES * LANES * k + column * LANES + row % LANES * 4;
      for (int64_t down = 0; down < depth; down++)
        to[down * ROW + across] = (numbers[down / 4 * LANES * 4 + down % 4] - 128) * scale;
    }
  }
};

struct Int4Rows {
  Int4 w;
  int64_t k;

  template <int VECTORS>
  void panel(int64_t first, int64_t column, int64_t depth, float* to) const {
    constexpr int64_t ROW = VECTORS * LANES_OF_FLOATS, HALF = GROUP / 2;
    for (int64_t across = 0; across < ROW; across++) {
      const int64_t row = first + across;
      for (int64_t down = 0; down < depth; down += GROUP) {
        const int64_t group = row / LANES * (k / GROUP) + (column + down) / GROUP;
        const int64_t at = group * LANES + row % LANES;
        const float scale = get(w.scales + at), offset = get(w.offsets + at);
        const uint8_t* pairs = w.numbers + group * HALF * LANES + row % LANES * 4;
        for (int64_t i = 0; i < HALF; i++) {
          const int pair = pairs[i / 4 * LANES * 4 + i % 4];
          to[(down + i) * ROW + across] = (pair % 16 - 8) * scale + offset;
          to[(down + HALF + i) * ROW + across] = (pair / 16 - 8) * scale + offset;
        }
      }
    }
  }
};
#endif

// ---- products ----

// Where a product goes. There may be no bias. `onto`: y is added to.
template <class Number>
struct Sums {
  float* y;
  int64_t m, stride;
  const Number* bias;
  bool onto;
};

// A tile with a panel, whose sums begin with `begin`. Of the tile's rows the first `rows` are anybody's.
template <int VECTORS>
inline void tile_with(const float* tile, const float* panel, int64_t depth, const Floats* begin,
                      float* y, int64_t stride, int64_t rows, bool onto) {
  constexpr int64_t LANES = LANES_OF_FLOATS, ROW = VECTORS * LANES;
  Floats sums[HEIGHT][VECTORS];
  for (int i = 0; i < HEIGHT; i++)
    for (int j = 0; j < VECTORS; j++) {
      sums[i][j] = begin[j];
      if (onto && i < rows) sums[i][j] += floats(y + i * stride + j * LANES);
    }
#pragma GCC unroll 2
  for (int64_t column = 0; column < depth; column++) {
    Floats parts[VECTORS];
    for (int j = 0; j < VECTORS; j++) parts[j] = floats(panel + column * ROW + j * LANES);
    for (int i = 0; i < HEIGHT; i++) {
      const Floats x = all(tile[column * HEIGHT + i]);
      for (int j = 0; j < VECTORS; j++) add_product(sums[i][j], x, parts[j]);
    }
  }
  for (int i = 0; i < HEIGHT; i++)
    if (i < rows)
      for (int j = 0; j < VECTORS; j++) put(sums[i][j], y + i * stride + j * LANES);
}

// Rows of x among the tiles that all threads see.
template <class Format>
class ManyRows {
  using Number = typename Format::Number;

 public:
  explicit ManyRows(float* tiles) : tiles_(tiles), panels_(PANELS * WIDTH * DEPTH) {}

  // Lays the rows of the tiles from `first` up to `last`; then others may be waited for.
  void set(const float* x, int64_t m, int64_t k, int64_t first, int64_t last) {
    m_ = m, k_ = k;
    for (int64_t row = first * HEIGHT; row < last * HEIGHT; row++) {
      float* to = tiles_ + row / HEIGHT * HEIGHT * k + row % HEIGHT;
      for (int64_t column = 0; column < k; column++)
        to[column * HEIGHT] = row < m ? x[row * k + column] : 0;
    }
  }

  // The columns of y [m, n] from `first` up to `last`, which are whole vectors.
  void multiply(const Linear& layer, float* y, int64_t n, bool onto, int64_t first, int64_t last) {
    const Sums<Number> sums{y, m_, n, (const Number*)layer.bias, onto};
    if (layer.kind == DENSE)
      return multiply(DenseRows<Format>{(const Number*)layer.weight, k_}, sums, first, last);
#if INTEGERS
    const uint8_t* numbers = (const uint8_t*)layer.weight;
    const Half *scales = (const Half*)layer.scales, *offsets = (const Half*)layer.offsets;
    if (layer.kind == INT8)
      multiply(Int8Rows{{numbers, scales}, k_}, sums, first, last);
    else
      multiply(Int4Rows{{numbers, scales, offsets}, k_}, sums, first, last);
#endif
  }

 private:
  template <class Weight>
  void multiply(const Weight& w, const Sums<Number>& sums, int64_t first, int64_t last) {
    for (int64_t column = 0; column < k_; column += DEPTH) {
      int64_t at = first;
      while (at + WIDTH <= last) {
        const int64_t count = std::min((last - at) / WIDTH, PANELS);
        panels<2>(w, sums, at, count, column);
        at += count * WIDTH;
      }
      if (at < last) panels<1>(w, sums, at, 1, column);
    }
  }

  // `count` panels, with as many columns of x as they are deep.
  template <int VECTORS, class Weight>
  void panels(const Weight& w, const Sums<Number>& sums, int64_t first, int64_t count,
              int64_t column) {
    constexpr int64_t LANES = LANES_OF_FLOATS, ROW = VECTORS * LANES;
    const int64_t depth = std::min(k_ - column, DEPTH);
    for (int64_t i = 0; i < count; i++)
      w.template panel<VECTORS>(first + i * ROW, column, depth, panels_.at(i * ROW * depth));
    for (int64_t tile = 0; tile < tiles(m_); tile++)
      for (int64_t i = 0; i < count; i++) {
        const int64_t here = first + i * ROW, row = tile * HEIGHT;
        Floats begin[VECTORS] = {};
        if (sums.bias && column == 0)
          for (int j = 0; j < VECTORS; j++) begin[j] = floats(sums.bias + here + j * LANES);
        tile_with<VECTORS>(tiles_ + row * k_ + column * HEIGHT, panels_.at(i * ROW * depth), depth,
                           begin, sums.y + row * sums.stride + here, sums.stride, m_ - row,
                           sums.onto || column > 0);
      }
  }

  float* tiles_;
  Buffer<float> panels_;
  int64_t m_ = 0, k_ = 0;
};
