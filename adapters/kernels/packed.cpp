// Products of few rows with a packed weight, and in bfloat16 on all threads.

#include "packed.h"

#if INTEGERS
namespace {

// All rows of x from `row` on with one block.
template <int M, class Weight, class Number>
inline void band(const typename Weight::Rows& x, int64_t row, const Weight& w, int64_t block,
                 const Result<Number>& y) {
  for (; row + M <= x.m; row += M) tile<M>(x, row, w, block, y);
  if constexpr (M > 1)
    if (row < x.m) band<M - 1>(x, row, w, block, y);
}

template <class Weight>
void multiply(const Half* x, const Weight& w, Half* y, int64_t m, int64_t n, int64_t k, int threads) {
  if (m * n * k < WORTH_A_THREAD) threads = 1;
  typename Weight::Rows rows(m, k);
  rows.take(x, m, k);
  const Result<Half> result{y, n, false};
  const int64_t blocks = n / LANES;
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t thread = 0; thread < threads; thread++)
    multiply(rows, w, result, blocks * thread / threads * LANES,
             blocks * (thread + 1) / threads * LANES);
}

}  // namespace

template <class Weight, class Number>
void multiply(const typename Weight::Rows& x, const Weight& w, const Result<Number>& y, int64_t first,
              int64_t last) {
  for (int64_t block = first / LANES; block < last / LANES; block++)
    band<Weight::TILE>(x, 0, w, block, y);
}

template void multiply(const Int8::Rows&, const Int8&, const Result<float>&, int64_t, int64_t);
template void multiply(const Int8::Rows&, const Int8&, const Result<Half>&, int64_t, int64_t);
template void multiply(const Int4::Rows&, const Int4&, const Result<float>&, int64_t, int64_t);
template void multiply(const Int4::Rows&, const Int4&, const Result<Half>&, int64_t, int64_t);
#endif

extern "C" {

int danlu_has_integers() { return INTEGERS != 0; }

#if INTEGERS  // n in steps of 16, k in steps of 32 and up to 65536
void danlu_int8(const Half* x, const uint8_t* w, const Half* scales, Half* y, int64_t m, int64_t n,
                int64_t k, int threads) {
  multiply(x, Int8{w, scales}, y, m, n, k, threads);
}

void danlu_int4(const Half* x, const uint8_t* w, const Half* scales, const Half* offsets, Half* y,
                int64_t m, int64_t n, int64_t k, int threads) {
  multiply(x, Int4{w, scales, offsets}, y, m, n, k, threads);
}
#endif
}
