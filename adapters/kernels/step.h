// A step of a whole model: what it is told, and the numbers that all its threads see.

#pragma once

#include <algorithm>
#include <vector>

#include "blocks.h"
#include "buffer.h"
#include "linear.h"
#include "many.h"

// There may be no norm of queries and keys. Keys and values are [slots, key heads, length, size].
struct Layer {
  const void *attention_norm, *query_norm, *key_norm, *mlp_norm;
  Linear query, key, value, attended, gate, up, down;
  void *keys, *values;
};

struct Model {
  int64_t layers, hidden, inner, heads, key_heads, size, vocabulary, length;
  int64_t rotated, interleaved;
  float epsilon, scale;
  const Layer* each;
  const void* norm;
  Linear output;
};

// Each token goes to its place in its slot, and sees all up to there. `embedded` are [tokens, hidden],
// `cosines` and `sines` [tokens, rotated]. `wanted` are the tokens that [wanted, vocabulary] logits are
// for.
struct Step {
  int64_t tokens, count;
  const int64_t *slots, *places, *wanted;
  const void *embedded, *cosines, *sines;
  float* logits;
};

// Which of `count` things are a thread's.
struct Range {
  int64_t first, last;
  Range(int64_t count, int thread, int threads)
      : first(count * thread / threads), last(count * (thread + 1) / threads) {}
};

// Tokens side by side in a step and in their slot.
struct Run {
  int64_t first, count;
};

// A step's runs of at least RUN tokens, and what is left, one by one.
struct Parts {
  std::vector<Run> runs;
  std::vector<int64_t> single;

  explicit Parts(const Step& step) {
    for (int64_t first = 0, next = 1; first < step.tokens; first = next++) {
      while (next < step.tokens && step.slots[next] == step.slots[first] &&
             step.places[next] == step.places[next - 1] + 1)
        next++;
      if (next - first >= RUN)
        runs.push_back({first, next - first});
      else
        for (int64_t token = first; token < next; token++) single.push_back(token);
    }
  }
};

inline int64_t longest(const Step& step) {
  int64_t found = 0;
  for (int64_t token = 0; token < step.tokens; token++)
    found = step.places[token] > found ? step.places[token] : found;
  return found + 1;
}

inline int64_t widest(const Model& model) {
  const int64_t heads = model.heads * model.size;
  const int64_t two = model.hidden > heads ? model.hidden : heads;
  return two > model.inner ? two : model.inner;
}

// Of few tokens, and of those that logits are wanted for, which may be more: one is wanted several times.
inline int64_t most_rows(const Step& step, bool many) {
  return many ? step.count : std::max(step.tokens, step.count);
}

// What all threads see; the last two where tokens are many.
struct Shared {
  const Parts parts;
  Buffer<float> hidden, queries, keys, values, attended, gates, ups, normed, tiles;

  Shared(const Model& model, const Step& step, bool many)
      : parts(step),
        hidden(step.tokens * model.hidden),
        queries(step.tokens * model.heads * model.size),
        keys(step.tokens * model.key_heads * model.size),
        values(step.tokens * model.key_heads * model.size),
        attended(step.tokens * model.heads * model.size),
        gates(step.tokens * model.inner),
        ups(step.tokens * model.inner),
        normed(many ? step.tokens * model.hidden : 0),
        tiles(many ? ::tiles(step.tokens) * HEIGHT * widest(model) : 0) {}
};
