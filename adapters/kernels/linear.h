// A model's linear layer, dense or packed, and its products with few rows of float32.

#pragma once

#include <type_traits>

#include "buffer.h"
#include "dense.h"
#include "packed.h"

enum Kind : int64_t { DENSE, INT8, INT4 };

// A dense weight is as nn.Linear has it, in the model's own numbers; a packed one is as in native.py.
// There may be no bias.
struct Linear {
  int64_t kind;
  const void *weight, *scales, *offsets, *bias;
};

// Few rows [m, k] that are multiplied with several layers. Into the form that a kind of layer takes them in
// they are brought when they meet the first one. Format is that of dense layers.
template <class Format>
class FewRows {
  using Number = typename Format::Number;
  using Taken = typename Format::Taken;

 public:
  // Room for so many.
  FewRows(int64_t m, int64_t k)
      : dense_(SAME ? 0 : m * k)
#if INTEGERS
        , int8_(m, k), int4_(m, k)
#endif
  {
  }

  // They stay where they are, and what they are, while they are multiplied.
  void set(const float* x, int64_t m, int64_t k) {
    x_ = x, m_ = m, k_ = k;
    for (bool& one : taken_) one = false;
  }

  // The columns of y [m, n] from `first` up to `last`, which are whole blocks where the layer is packed.
  // `onto`: y is added to.
  void multiply(const Linear& layer, float* y, int64_t n, bool onto, int64_t first, int64_t last) {
    const Number* bias = (const Number*)layer.bias;
    if (layer.kind == DENSE) {
      const Number* weight = (const Number*)layer.weight;
      const Product<Format, float> whole{dense(), weight, bias, y, m_, n, k_, n, onto};
      return ::multiply(whole, first, last);
    }
#if INTEGERS
    const uint8_t* numbers = (const uint8_t*)layer.weight;
    const Half *scales = (const Half*)layer.scales, *offsets = (const Half*)layer.offsets;
    if (bias) begin(y, n, bias, onto, first, last);
    const Result<float> result{y, n, onto || bias};
    if (layer.kind == INT8)
      ::multiply(taken(int8_, INT8), Int8{numbers, scales}, result, first, last);
    else
      ::multiply(taken(int4_, INT4), Int4{numbers, scales, offsets}, result, first, last);
#endif
  }

 private:
  static constexpr bool SAME = std::is_same_v<Taken, float> && std::is_same_v<Number, float>;

  // The bias, for a product to be added to.
  void begin(float* y, int64_t n, const Number* bias, bool onto, int64_t first, int64_t last) const {
    for (int64_t row = 0; row < m_; row++)
      for (int64_t column = first; column < last; column++)
        y[row * n + column] = get(bias + column) + (onto ? y[row * n + column] : 0);
  }
  const Taken* dense() {
    if constexpr (SAME) {
      return x_;
    } else {
      if (!taken_[DENSE])
        for (int64_t row = 0; row < m_; row++)
          Format::take(x_ + row * k_, k_, dense_.at(row * k_));
      taken_[DENSE] = true;
      return dense_.at();
    }
  }
  template <class Rows>
  const Rows& taken(Rows& rows, Kind kind) {
    if (!taken_[kind]) rows.take(x_, m_, k_);
    taken_[kind] = true;
    return rows;
  }

  const float* x_ = nullptr;
  int64_t m_ = 0, k_ = 0;
  bool taken_[3] = {};
  Buffer<Taken> dense_;
#if INTEGERS
  Int8::Rows int8_;
  Int4::Rows int4_;
#endif
};
