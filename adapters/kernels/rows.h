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

// ---- attention of one head to one token's entries ----

// The entries are rows of `size` numbers.
template <class Number>
struct Entries {
  const Number *keys, *values;
  int64_t count, size;
};

template <class Number>
inline Four score(const float* query, const Number* key, int64_t size) {
  Floats sum = {};
  for (int64_t i = 0; i < size; i += LANES_OF_FLOATS)
    add_product(sum, floats(query + i), floats(key + i));
  return folded(sum);
}

template <class Number>
inline void scores(const float* query, const Entries<Number>& entries, float scale, float* to) {
  const int64_t size = entries.size;
  int64_t entry = 0;
  for (; entry + 4 <= entries.count; entry += 4) {
    Floats sums[4] = {};
    for (int64_t i = 0; i < size; i += LANES_OF_FLOATS) {
      const Floats some = floats(query + i);
      for (int j = 0; j < 4; j++)
        add_product(sums[j], some, floats(entries.keys + (entry + j) * size + i));
    }
    const Four found = scale * totals(folded(sums[0]), folded(sums[1]), folded(sums[2]),
                                      folded(sums[3]));
    memcpy(to + entry, &found, sizeof found);
  }
  for (; entry < entries.count; entry++)
    to[entry] = scale * total(score(query, entries.keys + entry * size, size));
}

// Makes scores weights, which are yet to be divided by the sum that is returned. There is room for
// whole vectors.
inline float weighed(float* scores, int64_t count) {
  const int64_t whole = (count + LANES_OF_FLOATS - 1) / LANES_OF_FLOATS * LANES_OF_FLOATS;
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

// WIDTH vectors of each value, times its weight.
template <int WIDTH, class Number>
inline void mix(const Entries<Number>& entries, const float* weights, float sum, int64_t first,
                float* to) {
  Floats found[WIDTH] = {};
  for (int64_t entry = 0; entry < entries.count; entry++) {
    const Floats weight = Floats{} + weights[entry];
    const Number* value = entries.values + entry * entries.size + first;
    for (int j = 0; j < WIDTH; j++) add_product(found[j], weight, floats(value + j * LANES_OF_FLOATS));
  }
  for (int j = 0; j < WIDTH; j++) put(found[j] / sum, to + first + j * LANES_OF_FLOATS);
}

// `weights` has room for as many numbers as there are entries, in whole vectors.
template <class Number>
FOR_ALL_ROWS void attend(const float* query, const Entries<Number>& entries, float scale,
                         float* weights, float* to) {
  constexpr int64_t LANES = LANES_OF_FLOATS;
  scores(query, entries, scale, weights);
  const float sum = weighed(weights, entries.count);
  int64_t first = 0;
  for (; first + 8 * LANES <= entries.size; first += 8 * LANES)
    mix<8>(entries, weights, sum, first, to);
  for (; first + 4 * LANES <= entries.size; first += 4 * LANES)
    mix<4>(entries, weights, sum, first, to);
  for (; first < entries.size; first += LANES) mix<1>(entries, weights, sum, first, to);
}
