// What products with a weight of integers share on all processors that have them.
//
// x's rows become integers, too: of 16 bits, in units of a row's largest number, which are multiplied
// and added up without rounding. An error is below that of a bfloat16's own rounding of the result, and
// no row depends on how many others there are.
//
// A weight is a struct with a pointer to its numbers and those to what they are scaled by; `Rows` are
// x's rows as that weight is multiplied by them, TILE at a time. How they lie is in native.py.

#pragma once

#include "buffer.h"
#include "formats.h"

constexpr int64_t GROUP = 32;      // columns that share a scale and an offset, of 4 bits
constexpr int64_t LANES = 16;      // rows of a weight that lie side by side: a block
constexpr float LARGEST = 127 * 256;
constexpr int64_t AHEAD = 2048;    // bytes of a weight that are on their way

// Where the rows of a product go. `onto`: y is added to.
template <class Number>
struct Result {
  Number* y;
  int64_t stride;
  bool onto;

  // A row's sums with a block, in the row's units. They are added in one rounding, in every tile.
  void put(const float* sums, float unit, int64_t row, int64_t block) const {
    for (int64_t lane = 0; lane < LANES; lane += LANES_OF_FLOATS) {
      Number* to = y + row * stride + block * LANES + lane;
      Floats found = onto ? floats(to) : Floats{};
      add_product(found, floats(sums + lane), all(unit));
      ::put(found, to);
    }
  }
};

// What a row's integers are in units of, and what makes its numbers such.
struct Unit {
  float unit, fit;

  // No number where one of the row is none; where all are next to nothing, they become 0.
  template <class Number>
  Unit(const Number* x, int64_t k) {
    Bits most = {};  // the bits of positive numbers are in their order
    for (int64_t column = 0; column < k; column += LANES_OF_FLOATS) {
      const Bits bits = (Bits)floats(x + column) & 0x7fffffffu;
      most = bits > most ? bits : most;
    }
    uint32_t bits = 0;
    for (int64_t i = 0; i < LANES_OF_FLOATS; i++) bits = most[i] > bits ? most[i] : bits;
    float largest;
    memcpy(&largest, &bits, sizeof largest);
    unit = bits < 0x7f800000u ? largest / LARGEST : __builtin_nanf("");
    fit = unit >= __FLT_MIN__ ? 1 / unit : 0;
  }
};
