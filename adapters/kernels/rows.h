// What is done with one row of float32 at a time: norm, rotation, activation, attention.
//
// Rows are as long as whole vectors. Each function does the same to every row, to the bit.

#pragma once

#include <cmath>
#include <initializer_list>

#include "formats.h"

#define FOR_ALL_ROWS __attribute__((noinline))  // one and the same code

// e to the power of x, to about one in 10⁷; 0 where that is below all normal numbers. NaN stays NaN.
inline Floats exponential(Floats x) {
  const Floats low = Floats{} - 87.3f, high = Floats{} + 88.3f, shift = Floats{} + 12582912.0f;
  const Floats kept = x > high ? high : x;
  Floats whole = shift;  // added to so large a number, a quotient is rounded to a whole one
  add_product(whole, kept, Floats{} + 1.44269504f);
  const Floats times = whole - shift;
  Floats rest = kept;
  add_product(rest, times, Floats{} - 0.693359375f);
  add_product(rest, times, Floats{} + 2.12194440e-4f);
  Floats sum = Floats{} + 1.9875691500e-4f;  // the series of Cephes' expf
  for (const float next : {1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f, 1.6666665459e-1f,
                           5.0000001201e-1f}) {
    Floats longer = Floats{} + next;
    add_product(longer, sum, rest);
    sum = longer;
  }
  Floats found = rest + 1.0f;
  add_product(found, sum, rest * rest);
  const Floats power = (Floats)(((Bits)whole << 23) + (127u << 23));  // of two
  return x < low ? Floats{} : found * power;
}

// x · sigmoid(x)
inline Floats silu(Floats x) { return x / (1.0f + exponential(-x)); }

// `to` may be `x`.
template <class Number>
FOR_ALL_ROWS void norm(const float* x, const Number* weight, int64_t size, float epsilon, float* to) {
  Floats squares = {};
  for (int64_t i = 0; i < size; i += LANES_OF_FLOATS)
    add_product(squares, floats(x + i), floats(x + i));
  const float scale = 1 / sqrtf(total(folded(squares)) / size + epsilon);
  for (int64_t i = 0; i < size; i += LANES_OF_FLOATS)
    put(floats(x + i) * scale * floats(weight + i), to + i);
}

// Turns pairs of the first `rotated` numbers: those side by side where they are `interleaved`, else
// one of the first half and one of the second.
template <class Number>
FOR_ALL_ROWS void rotate(float* row, const Number* cosines, const Number* sines, int64_t rotated,
                         bool interleaved) {
  const int64_t half = rotated / 2, step = interleaved ? 2 : 1, apart = interleaved ? 1 : half;
  for (int64_t pair = 0; pair < half; pair++) {
    float *one = row + pair * step, *other = one + apart;
    const float cosine = get(cosines + pair), sine = get(sines + pair);
    const float turned = *one * cosine - *other * sine;
    *other = *other * cosine + *one * sine;
    *one = turned;
  }
}

FOR_ALL_ROWS inline void activate(float* gate, const float* up, int64_t size) {
  for (int64_t i = 0; i < size; i += LANES_OF_FLOATS)
    put(silu(floats(gate + i)) * floats(up + i), gate + i);
}

// ---- attention of some heads to one token's entries ----

// As many heads at a time as there are registers for their sums: what is fetched serves all of them.
constexpr int TOGETHER = VECTOR == 64 ? 4 : 3;

// The entries are rows of `size` numbers.
template <class Number>
struct Entries {
  const Number *keys, *values;
  int64_t count, size;
};

// Numbers that the weights of so many entries have room in: whole vectors.
inline int64_t room(int64_t entries) {
  return (entries + LANES_OF_FLOATS - 1) / LANES_OF_FLOATS * LANES_OF_FLOATS;
}

template <class Number>
inline Four score(const float* query, const Number* key, int64_t size) {
  Floats sum = {};
  for (int64_t i = 0; i < size; i += LANES_OF_FLOATS)
    add_product(sum, floats(query + i), floats(key + i));
  return folded(sum);
}

// Those of each of the heads' queries go to a row of their own.
template <int HEADS, class Number>
inline void scores(const float* queries, const Entries<Number>& entries, float scale, float* to) {
  const int64_t size = entries.size, row = room(entries.count);
  int64_t entry = 0;
  for (; entry + 4 <= entries.count; entry += 4) {
    Floats sums[HEADS][4] = {};
    for (int64_t i = 0; i < size; i += LANES_OF_FLOATS) {
      Floats some[HEADS];
      for (int head = 0; head < HEADS; head++) some[head] = floats(queries + head * size + i);
      for (int j = 0; j < 4; j++) {
        const Floats key = floats(entries.keys + (entry + j) * size + i);
        for (int head = 0; head < HEADS; head++) add_product(sums[head][j], some[head], key);
      }
    }
    for (int head = 0; head < HEADS; head++) {
      const auto& s = sums[head];
      const Four found = scale * totals(folded(s[0]), folded(s[1]), folded(s[2]), folded(s[3]));
      memcpy(to + head * row + entry, &found, sizeof found);
    }
  }
  for (; entry < entries.count; entry++)
    for (int head = 0; head < HEADS; head++)
      to[head * row + entry] =
          scale * total(score(queries + head * size, entries.keys + entry * size, size));
}

// Makes scores weights, which are yet to be divided by the sum that is returned.
FOR_ALL_ROWS inline float weighed(float* scores, int64_t count) {
  const int64_t whole = room(count);
  for (int64_t i = count; i < whole; i++) scores[i] = -INFINITY;
  Floats highest = Floats{} - INFINITY;
  for (int64_t i = 0; i < whole; i += LANES_OF_FLOATS) {
    const Floats some = floats(scores + i);
    highest = some > highest ? some : highest;
  }
  float peak = highest[0];
  for (int64_t i = 1; i < LANES_OF_FLOATS; i++) peak = highest[i] > peak ? highest[i] : peak;
  Floats sum = {};
  for (int64_t i = 0; i < whole; i += LANES_OF_FLOATS) {
    const Floats weights = exponential(floats(scores + i) - peak);
    put(weights, scores + i);
    sum += weights;
  }
  return total(folded(sum));
}

// VECTORS vectors of each value, times its weight, for each of the heads.
template <int HEADS, int VECTORS, class Number>
inline void mix(const Entries<Number>& entries, const float* weights, const float* sums, int64_t first,
                float* to) {
  const int64_t row = room(entries.count);
  Floats found[HEADS][VECTORS] = {};
  for (int64_t entry = 0; entry < entries.count; entry++) {
    const Number* value = entries.values + entry * entries.size + first;
    Floats weight[HEADS];
    for (int head = 0; head < HEADS; head++) weight[head] = all(weights[head * row + entry]);
    for (int j = 0; j < VECTORS; j++) {
      const Floats some = floats(value + j * LANES_OF_FLOATS);
      for (int head = 0; head < HEADS; head++) add_product(found[head][j], weight[head], some);
    }
  }
  for (int head = 0; head < HEADS; head++)
    for (int j = 0; j < VECTORS; j++)
      put(found[head][j] / sums[head], to + head * entries.size + first + j * LANES_OF_FLOATS);
}

// Queries, and what is found, are one row a head. `weights` has `room` for
// each head's.
template <int HEADS, class Number>
FOR_ALL_ROWS void attend(const float* queries, const Entries<Number>& entries, float scale,
                         float* weights, float* to) {
  constexpr int64_t LANES = LANES_OF_FLOATS, MOST = HEADS == 1 ? 8 : 4;
  scores<HEADS>(queries, entries, scale, weights);
  float sums[HEADS];
  for (int head = 0; head < HEADS; head++)
    sums[head] = weighed(weights + head * room(entries.count), entries.count);
  int64_t first = 0;
  for (; first + MOST * LANES <= entries.size; first += MOST * LANES)
    mix<HEADS, MOST>(entries, weights, sums, first, to);
  for (; first < entries.size; first += LANES) mix<HEADS, 1>(entries, weights, sums, first, to);
}
