// Products of few rows with a packed weight: y[m, n] = x[m, k] · w[n, k]ᵀ.

#pragma once

#include "formats.h"

#if INTEGERS
#if INTEGERS == BYTES
#include "packed_bytes.h"
#else
#include "packed_words.h"
#endif

// The columns from `first` up to `last`, which are whole blocks, on the calling thread. For weights of
// either kind, into float32 or bfloat16.
template <class Weight, class Number>
void multiply(const typename Weight::Rows& x, const Weight& w, const Result<Number>& y, int64_t first,
              int64_t last);
#endif
