// Products of few rows with a dense weight, on all threads.

#include "dense.h"

#include <memory>
#include <type_traits>

namespace {

// The rows of x as they are multiplied: themselves, or a copy.
template <class Format>
class Rows {
  using Number = typename Format::Number;
  using Taken = typename Format::Taken;

 public:
  Rows(const Number* x, int64_t m, int64_t k) {
    if constexpr (std::is_same_v<Number, Taken>) {
      rows_ = x;
    } else {
      copy_.reset(new Taken[m * k]);
      for (int64_t row = 0; row < m; row++) Format::take(x + row * k, k, copy_.get() + row * k);
      rows_ = copy_.get();
    }
  }
  const Taken* get() const { return rows_; }

 private:
  std::unique_ptr<Taken[]> copy_;
  const Taken* rows_;
};

template <class Format>
void multiply(const typename Format::Number* x, const typename Format::Number* w,
              const typename Format::Number* bias, typename Format::Number* y, int64_t m, int64_t n,
              int64_t k, int threads) {
  if (m * n * k < WORTH_A_THREAD) threads = 1;
  const Rows<Format> rows(x, m, k);
  const Product<Format, typename Format::Number> p{rows.get(), w, bias, y, m, n, k, n, false};
  const int64_t shares = (n + SHARE - 1) / SHARE;
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t thread = 0; thread < threads; thread++) {
    const int64_t last = shares * (thread + 1) / threads * SHARE;
    multiply(p, shares * thread / threads * SHARE, last < n ? last : n);
  }
}

}  // namespace

extern "C" {

int danlu_vector() { return VECTOR; }

int danlu_multiplies_bfloat16() { return BF16; }

void danlu_float32(const float* x, const float* w, const float* bias, float* y, int64_t m, int64_t n,
                   int64_t k, int threads) {
  multiply<Float32>(x, w, bias, y, m, n, k, threads);
}

void danlu_bfloat16(const Half* x, const Half* w, const Half* bias, Half* y, int64_t m, int64_t n,
                    int64_t k, int threads) {
  multiply<BFloat16>(x, w, bias, y, m, n, k, threads);
}
}
