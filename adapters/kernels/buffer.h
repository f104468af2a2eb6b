// Numbers that begin where a line of the cache does.

#pragma once

#include <cstdlib>
#include <memory>

#include "formats.h"

template <class Number>
class Buffer {
 public:
  explicit Buffer(int64_t count)
      : numbers_((Number*)aligned_alloc(LINE, (count * sizeof(Number) / LINE + 1) * LINE)) {}
  Number* at(int64_t place = 0) const { return numbers_.get() + place; }

 private:
  struct Free {
    void operator()(Number* numbers) const { free(numbers); }
  };
  std::unique_ptr<Number[], Free> numbers_;
};
