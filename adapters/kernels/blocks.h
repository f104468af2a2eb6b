// Attention of a run: consecutive tokens of one text, whose queries meet its entries together.
//
// The queries of all its tokens, and of all heads that share a key head, are rows; ROWS of them lie side
// by side, a panel [size, ROWS]. Their scores are [entries, ROWS], so keys and values are read as they
// lie in the cache, and what is fetched serves a whole panel. A row sees all up to its own token's entry,
// and no value beyond comes to it. Each score and each number found has one accumulator and runs in one
// order: to the bit, no row depends on which others there are, nor on how many.

#pragma once

#include <algorithm>

#include "buffer.h"
#include "many.h"
#include "rows.h"

// Tokens from which on they are taken together: more than a longest draft and the token before it, so
// that an answer is the same with drafts and without.
constexpr int64_t RUN = 17;
constexpr int64_t ACROSS = 3;  // vectors of a panel's rows
constexpr int64_t ROWS = ACROSS * LANES_OF_FLOATS;
constexpr int64_t SUMS = VECTOR == 64 ? 24 : 12;  // vectors that there are registers for
constexpr int64_t NEAR = 64;                      // entries at a time, so that they stay near
static_assert(ROWS % HEIGHT == 0, "tiles of a panel's rows are whole");

// 2 to the power of x, which is not above 0, to about one in 10⁷; 0 where that is below all normal
// numbers. NaN stays NaN.
inline Floats power_of_two(Floats x) {
  const Floats low = Floats{} - 126.0f;
  const Floats shift = Floats{} + 12583039.0f;  // whose bits end in what an exponent is added to
  const Floats whole = x + shift, rest = x - (whole - shift);
  Floats sum = Floats{} + 1.326471512e-3f;  // of least relative error from -½ to ½
  for (const float next : {9.671512775e-3f, 5.550733773e-2f, 2.402224208e-1f, 6.931469776e-1f, 1.0f}) {
    Floats longer = Floats{} + next;
    add_product(longer, sum, rest);
    sum = longer;
  }
  return x < low ? Floats{} : sum * (Floats)((Bits)whole << 23);
}

// A run's queries for one key head, and where what they find goes: row `r` is head `r % group` of token
// `r / group`, whose numbers are `stride` behind those of the token before it.
template <class Number>
struct Queries {
  const Number *keys, *values;  // [entries, size]
  const float* queries;
  float* to;
  int64_t stride, group, size;
  int64_t place, tokens;  // the first token's place

  int64_t rows() const { return tokens * group; }
  int64_t panels() const { return (rows() + ROWS - 1) / ROWS; }
  int64_t at(int64_t row) const { return row / group * stride + row % group * size; }
  int64_t seen(int64_t row) const { return place + row / group + 1; }
};

// DOWN entries' scores for VECTORS vectors of rows.
template <int DOWN, int VECTORS>
inline void score(const float* keys, int64_t size, const float* panel, float* to) {
  Floats sums[DOWN][VECTORS] = {};
#pragma GCC unroll 2
  for (int64_t i = 0; i < size; i++) {
    Floats some[VECTORS];
    for (int j = 0; j < VECTORS; j++) some[j] = floats(panel + i * ROWS + j * LANES_OF_FLOATS);
    for (int entry = 0; entry < DOWN; entry++) {
      const Floats key = all(keys[entry * size + i]);
      for (int j = 0; j < VECTORS; j++) add_product(sums[entry][j], key, some[j]);
    }
  }
  for (int entry = 0; entry < DOWN; entry++)
    for (int j = 0; j < VECTORS; j++) put(sums[entry][j], to + entry * ROWS + j * LANES_OF_FLOATS);
}

// HEIGHT rows' share in VECTORS vectors of the values of some entries. Up to `together` all see them, of
// those behind each row as many as it `sees`.
template <int VECTORS>
inline void mix(const float* values, int64_t size, const float* weights, int64_t together,
                int64_t count, const int64_t* sees, float* found) {
  Floats sums[HEIGHT][VECTORS];
  for (int i = 0; i < HEIGHT; i++)
    for (int j = 0; j < VECTORS; j++) sums[i][j] = floats(found + i * size + j * LANES_OF_FLOATS);
  int64_t entry = 0;
#pragma GCC unroll 2
  for (; entry < together; entry++) {
    Floats some[VECTORS];
    for (int j = 0; j < VECTORS; j++) some[j] = floats(values + entry * size + j * LANES_OF_FLOATS);
    for (int i = 0; i < HEIGHT; i++) {
      const Floats weight = all(weights[entry * ROWS + i]);
      for (int j = 0; j < VECTORS; j++) add_product(sums[i][j], weight, some[j]);
    }
  }
  for (int i = 0; i < HEIGHT; i++)
    for (int j = 0; j < VECTORS; j++) put(sums[i][j], found + i * size + j * LANES_OF_FLOATS);
  for (; entry < count; entry++)
    for (int i = 0; i < HEIGHT; i++)
      if (entry < sees[i])
        for (int64_t at = 0; at < VECTORS * LANES_OF_FLOATS; at += LANES_OF_FLOATS) {
          Floats sum = floats(found + i * size + at);
          add_product(sum, all(weights[entry * ROWS + i]), floats(values + entry * size + at));
          put(sum, found + i * size + at);
        }
}

// Room for one panel at a time; a thread's own.
template <class Number>
class Block {
 public:
  // For texts of so many entries.
  Block(int64_t entries, int64_t size)
      : panel_(size * ROWS), weights_(entries * ROWS), found_(ROWS * size), near_(NEAR * size) {
    std::fill(weights_.at(), weights_.at(entries * ROWS), 0.0f);
  }

  void attend(const Queries<Number>& of, int64_t panel, float scale) {
    const int64_t first = panel * ROWS, rows = std::min(of.rows() - first, ROWS);
    lay(of, first, rows, scale);
    switch ((rows + LANES_OF_FLOATS - 1) / LANES_OF_FLOATS) {
      case 3: weigh<3>(of, first, rows); break;
      case 2: weigh<2>(of, first, rows); break;
      case 1: weigh<1>(of, first, rows); break;
    }
    mix_all(of, first, rows);
    for (int64_t row = 0; row < rows; row++)
      for (int64_t i = 0; i < of.size; i += LANES_OF_FLOATS)
        put(floats(found_.at(row * of.size + i)) / sums_[row], of.to + of.at(first + row) + i);
  }

 private:
  // Scores are to be powers of two, not of e.
  void lay(const Queries<Number>& of, int64_t first, int64_t rows, float scale) {
    const float times = scale * 1.44269504f;
    for (int64_t row = 0; row < ROWS; row++) {
      const float* query = of.queries + of.at(first + std::min(row, rows - 1));
      for (int64_t i = 0; i < of.size; i++) *panel_.at(i * ROWS + row) = query[i] * times;
    }
  }

  // Weights, which are yet to be divided by their sums.
  template <int VECTORS>
  void weigh(const Queries<Number>& of, int64_t first, int64_t rows) {
    const int64_t count = of.seen(first + rows - 1);
    for (int64_t entry = 0; entry < count; entry += NEAR)
      scores<VECTORS>(of, entry, std::min(count - entry, NEAR));
    for (int64_t row = 0; row < VECTORS * LANES_OF_FLOATS; row++)
      for (int64_t entry = of.seen(first + std::min(row, rows - 1)); entry < count; entry++)
        *weights_.at(entry * ROWS + row) = -INFINITY;
    softmax<VECTORS>(count);
  }

  template <int VECTORS>
  FOR_ALL_ROWS void scores(const Queries<Number>& of, int64_t first, int64_t count) {
    constexpr int DOWN = SUMS / VECTORS;
    const float* keys = near(of.keys + first * of.size, count * of.size);
    int64_t entry = 0;
    for (; entry + DOWN <= count; entry += DOWN)
      score<DOWN, VECTORS>(keys + entry * of.size, of.size, panel_.at(),
                           weights_.at((first + entry) * ROWS));
    for (; entry < count; entry++)
      score<1, VECTORS>(keys + entry * of.size, of.size, panel_.at(),
                        weights_.at((first + entry) * ROWS));
  }

  template <int VECTORS>
  FOR_ALL_ROWS void softmax(int64_t count) {
    Floats peaks[VECTORS], sums[VECTORS] = {};
    for (Floats& peak : peaks) peak = Floats{} - INFINITY;
    for (int64_t entry = 0; entry < count; entry++)
      for (int j = 0; j < VECTORS; j++) {
        const Floats some = floats(weights_.at(entry * ROWS + j * LANES_OF_FLOATS));
        peaks[j] = some > peaks[j] ? some : peaks[j];
      }
    for (int64_t entry = 0; entry < count; entry++)
      for (int j = 0; j < VECTORS; j++) {
        float* at = weights_.at(entry * ROWS + j * LANES_OF_FLOATS);
        const Floats weights = power_of_two(floats(at) - peaks[j]);
        put(weights, at);
        sums[j] += weights;
      }
    for (int j = 0; j < VECTORS; j++) put(sums[j], sums_ + j * LANES_OF_FLOATS);
  }

  void mix_all(const Queries<Number>& of, int64_t first, int64_t rows) {
    const int64_t count = of.seen(first + rows - 1);
    std::fill(found_.at(), found_.at(ROWS * of.size), 0.0f);
    for (int64_t entry = 0; entry < count; entry += NEAR) {
      const int64_t some = std::min(count - entry, NEAR);
      const float* values = near(of.values + entry * of.size, some * of.size);
      for (int64_t row = 0; row < rows; row += HEIGHT) {
        int64_t sees[HEIGHT];
        for (int i = 0; i < HEIGHT; i++)
          sees[i] = of.seen(first + std::min(row + i, rows - 1)) - entry;
        mix_tiles(values, of.size, entry, row, some, sees);
      }
    }
  }

  FOR_ALL_ROWS void mix_tiles(const float* values, int64_t size, int64_t entry, int64_t row,
                              int64_t count, const int64_t* sees) {
    const float* weights = weights_.at(entry * ROWS + row);
    const int64_t together = std::max(std::min(sees[0], count), int64_t(0));
    int64_t column = 0;
    for (; column + WIDTH <= size; column += WIDTH)
      mix<2>(values + column, size, weights, together, count, sees, found_.at(row * size + column));
    if (column < size)
      mix<1>(values + column, size, weights, together, count, sees, found_.at(row * size + column));
  }

  // Numbers of the cache as float32.
  const float* near(const float* numbers, int64_t) const { return numbers; }
  const float* near(const Half* numbers, int64_t count) const {
    for (int64_t i = 0; i < count; i += LANES_OF_FLOATS) put(floats(numbers + i), near_.at(i));
    return near_.at();
  }

  const Buffer<float> panel_, weights_, found_, near_;
  float sums_[ROWS];
};
