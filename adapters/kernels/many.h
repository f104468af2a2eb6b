// Products of many rows with a dense weight: y[m, n] = x[m, k] · w[n, k]ᵀ + bias[n], row by row in memory.
//
// With many rows a product takes as long as its multiplications take, so numbers are laid out as these
// want them: of x HEIGHT rows side by side, column by column, in a `tile`; of the weight two vectors of
// rows, likewise, in a panel, which is made when it is needed and serves all of x. Each number of y has
// one accumulator of its own and runs over k in one order: to the bit, no row depends on how many
// others there are.

#pragma once

#include <algorithm>
#include <type_traits>

#include "formats.h"

constexpr int64_t HEIGHT = VECTOR == 64 ? 12 : 6;  // twice as many sums, and what is multiplied,
                                                   // are as many vectors as there are registers for
constexpr int64_t DEPTH = 512;    // columns of x at a time: of so many, the panels below stay near
constexpr int64_t PANELS = 4;     // that a tile is multiplied with while it is near
constexpr int64_t WIDTH = 2 * LANES_OF_FLOATS;  // columns of y in a panel

// Whether a format's numbers can be laid out so.
template <class Format>
constexpr bool MULTIPLIES_MANY = std::is_same_v<typename Format::Part, Floats>;

inline int64_t tiles(int64_t rows) { return (rows + HEIGHT - 1) / HEIGHT; }

// Row `row` of x, as `Format::take` makes it, goes to its place among the tiles.
inline void lay(const float* x, int64_t k, int64_t row, float* tiles) {
  float* to = tiles + row / HEIGHT * HEIGHT * k + row % HEIGHT;
  for (int64_t column = 0; column < k; column++) to[column * HEIGHT] = x[column];
}

// Where everything lies. There may be no bias. `onto`: y is added to.
template <class Format>
struct ManyRows {
  const float* tiles;
  const typename Format::Number *w, *bias;
  float* y;
  int64_t m, k;
  int64_t stride;  // from row to row of y
  bool onto;
};

// VECTORS vectors of rows of the weight, `depth` columns of each: [depth, VECTORS · lanes].
template <int VECTORS, class Format>
inline void make_panel(const typename Format::Number* w, int64_t k, int64_t depth, float* panel) {
  constexpr int64_t LANES = LANES_OF_FLOATS, ROW = VECTORS * LANES;
  float taken[LANES * LANES];
  for (int64_t first = 0; first < ROW; first += LANES)
    for (int64_t column = 0; column < depth; column += Format::STEP)
      for (int64_t part = 0; part < Format::PARTS; part++) {
        for (int64_t row = 0; row < LANES; row++)
          put(Format::part(w + (first + row) * k + column, part), taken + row * LANES);
        float* to = panel + (column + part * LANES) * ROW + first;
        for (int64_t lane = 0; lane < LANES; lane++) {
          Floats across;
          for (int64_t row = 0; row < LANES; row++) across[row] = taken[row * LANES + lane];
          put(across, to + lane * ROW);
        }
      }
}

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
      const Floats x = tile[column * HEIGHT + i] - Floats{};
      for (int j = 0; j < VECTORS; j++) add_product(sums[i][j], x, parts[j]);
    }
  }
  for (int i = 0; i < HEIGHT; i++)
    if (i < rows)
      for (int j = 0; j < VECTORS; j++) put(sums[i][j], y + i * stride + j * LANES);
}

// The columns from `first` on, `count` panels of VECTORS vectors, as far as `depth` columns of x go.
template <int VECTORS, class Format>
inline void panels_of(const ManyRows<Format>& p, int64_t first, int64_t count, int64_t column,
                      int64_t depth, float* panels) {
  constexpr int64_t LANES = LANES_OF_FLOATS, ROW = VECTORS * LANES;
  for (int64_t i = 0; i < count; i++)
    make_panel<VECTORS, Format>(p.w + (first + i * ROW) * p.k + column, p.k, depth,
                                panels + i * ROW * depth);
  for (int64_t tile = 0; tile < tiles(p.m); tile++)
    for (int64_t i = 0; i < count; i++) {
      const int64_t here = first + i * ROW;
      Floats begin[VECTORS] = {};
      if (p.bias && column == 0)
        for (int j = 0; j < VECTORS; j++) begin[j] = floats(p.bias + here + j * LANES);
      tile_with<VECTORS>(p.tiles + (tile * p.k + column) * HEIGHT, panels + i * ROW * depth, depth,
                         begin, p.y + tile * HEIGHT * p.stride + here, p.stride,
                         p.m - tile * HEIGHT, p.onto || column > 0);
    }
}

// The columns from `first` up to `last`, whole vectors, on the calling thread. `panels` has room for
// PANELS · WIDTH · DEPTH numbers.
template <class Format>
void multiply(const ManyRows<Format>& p, int64_t first, int64_t last, float* panels) {
  for (int64_t column = 0; column < p.k; column += DEPTH) {
    const int64_t depth = std::min(p.k - column, DEPTH);
    int64_t at = first;
    while (at + WIDTH <= last) {
      const int64_t count = std::min((last - at) / WIDTH, PANELS);
      panels_of<2>(p, at, count, column, depth, panels);
      at += count * WIDTH;
    }
    if (at < last) panels_of<1>(p, at, 1, column, depth, panels);
  }
}
