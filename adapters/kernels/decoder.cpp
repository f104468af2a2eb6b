// One step of a whole model: what torch does in a thousand small operations.
//
// The models are decoders of Llama's kind, whose layers are dense or packed each for itself, and
// decoder.py fills in the structs of step.h. Between products all numbers are float32. All threads go
// through all layers, each with its share of the heads and of the columns, and wait for each other
// where one needs what another has made. The norms of few tokens are short, and each thread makes them
// for itself; those of many are shared out. To the bit, nothing of a token depends on which others
// there are, nor on how many, among few or among many, in a run of its text or not.

#include <omp.h>

#include <algorithm>
#include <vector>

#include "blocks.h"
#include "many.h"
#include "rows.h"
#include "step.h"

namespace {

constexpr int64_t FEW = 128;    // tokens
constexpr int64_t PLENTY = 24;  // heads of all tokens, for each thread: from then on some are taken together

// One thread of a step.
template <class Format>
class Worker {
  using Number = typename Format::Number;

 public:
  Worker(const Model& model, const Step& step, const Shared& shared, bool many, int thread,
         int threads)
      : model_(model),
        step_(step),
        shared_(shared),
        many_(many),
        thread_(thread),
        threads_(threads),
        normed_(most_rows(step, many) * model.hidden),
        weights_(TOGETHER * room(longest(step))),
        block_(shared.parts.runs.empty() ? 0 : longest(step), model.size),
        few_rows_(most_rows(step, many), widest(model)),
        many_rows_(shared.tiles.at()) {}

  void run() {
    embed();
    wait();
    for (int64_t number = 0; number < model_.layers; number++) {
      const Layer& layer = model_.each[number];
      project(layer);
      wait();
      look(layer);
      wait();
      take(shared_.attended.at(), model_.heads * model_.size);
      columns(layer.attended, shared_.hidden.at(), model_.hidden, true);
      wait();
      think(layer);
      wait();
      take(shared_.gates.at(), model_.inner);
      columns(layer.down, shared_.hidden.at(), model_.hidden, true);
      wait();
    }
    say();
  }

 private:
  static void wait() {
#pragma omp barrier
  }
  Range mine(int64_t count) const { return Range(count, thread_, threads_); }

  void embed() {
    const Range tokens = mine(step_.tokens);
    const Number* from = (const Number*)step_.embedded;
    for (int64_t i = tokens.first * model_.hidden; i < tokens.last * model_.hidden; i++)
      shared_.hidden.at()[i] = get(from + i);
  }

  // Queries, keys and values of this thread's heads; keys and values go to their places.
  void project(const Layer& layer) {
    norm_all(layer.attention_norm);
    const int64_t heads = model_.heads, key_heads = model_.key_heads;
    const Range units = mine(heads + 2 * key_heads);
    for (int64_t unit = units.first; unit < units.last; unit++) {
      if (unit < heads) {
        head(layer.query, shared_.queries, unit, heads);
        turn(shared_.queries, layer.query_norm, unit, heads);
      } else if (unit < heads + key_heads) {
        head(layer.key, shared_.keys, unit - heads, key_heads);
        turn(shared_.keys, layer.key_norm, unit - heads, key_heads);
        keep(shared_.keys, layer.keys, unit - heads);
      } else {
        const int64_t number = unit - heads - key_heads;
        head(layer.value, shared_.values, number, key_heads);
        keep(shared_.values, layer.values, number);
      }
    }
  }

  // Tokens see more the later they are, so threads take turns.
  void look(const Layer& layer) {
    const int64_t taken = look_together(layer);
    const std::vector<int64_t>& tokens = shared_.parts.single;
    const int64_t group = model_.heads / model_.key_heads, count = tokens.size();
    const bool plenty = count * model_.heads >= PLENTY * threads_;
    const int64_t together = plenty ? TOGETHER : 1, parts = (group + together - 1) / together;
    const int64_t units = count * model_.key_heads * parts;
    const int64_t start = (thread_ + threads_ - taken % threads_) % threads_;
    for (int64_t unit = start; unit < units; unit += threads_) {
      const int64_t token = tokens[unit / parts / model_.key_heads];
      const int64_t key_head = unit / parts % model_.key_heads, first = unit % parts * together;
      look(layer, token, key_head, first, std::min(group - first, together));
    }
  }

  // Those of whole runs; how many turns that were.
  int64_t look_together(const Layer& layer) {
    int64_t turn = 0;
    for (const Run& run : shared_.parts.runs)
      for (int64_t key_head = 0; key_head < model_.key_heads; key_head++) {
        const Queries<Number> its = queries(layer, run, key_head);
        for (int64_t panel = 0; panel < its.panels(); panel++)
          if (turn++ % threads_ == thread_) block_.attend(its, panel, model_.scale);
      }
    return turn;
  }

  Queries<Number> queries(const Layer& layer, const Run& run, int64_t key_head) const {
    const int64_t size = model_.size, group = model_.heads / model_.key_heads;
    const int64_t entry = place(run.first, key_head) - step_.places[run.first] * size;
    const int64_t own = (run.first * model_.heads + key_head * group) * size;
    return {(const Number*)layer.keys + entry,
            (const Number*)layer.values + entry,
            shared_.queries.at(own),
            shared_.attended.at(own),
            model_.heads * size,
            group,
            size,
            step_.places[run.first],
            run.count};
  }

  // Some of the heads that share a key head, from number `first` of them on.
  void look(const Layer& layer, int64_t token, int64_t key_head, int64_t first, int64_t heads) {
    const int64_t size = model_.size, group = model_.heads / model_.key_heads;
    const int64_t entry = place(token, key_head) - step_.places[token] * size;
    const Entries<Number> entries{(const Number*)layer.keys + entry,
                                  (const Number*)layer.values + entry, step_.places[token] + 1,
                                  size};
    const int64_t own = (token * model_.heads + key_head * group + first) * size;
    const float* queries = shared_.queries.at(own);
    float *weights = weights_.at(), *to = shared_.attended.at(own);
    switch (heads) {
      case 4: return attend<TOGETHER>(queries, entries, model_.scale, weights, to);
      case 3: return attend<3>(queries, entries, model_.scale, weights, to);
      case 2: return attend<2>(queries, entries, model_.scale, weights, to);
      case 1: return attend<1>(queries, entries, model_.scale, weights, to);
    }
  }

  void think(const Layer& layer) {
    norm_all(layer.mlp_norm);
    columns(layer.gate, shared_.gates.at(), model_.inner, false);
    columns(layer.up, shared_.ups.at(), model_.inner, false);
    const Range own = mine(model_.inner / SHARE);
    for (int64_t token = 0; token < step_.tokens; token++) {
      const int64_t first = token * model_.inner + own.first * SHARE;
      activate(shared_.gates.at(first), shared_.ups.at(first), (own.last - own.first) * SHARE);
    }
  }

  void say() {
    for (int64_t i = 0; i < step_.count; i++)
      norm(shared_.hidden.at(step_.wanted[i] * model_.hidden), (const Number*)model_.norm,
           model_.hidden, model_.epsilon, normed_.at(i * model_.hidden));
    few_rows_.set(normed_.at(), step_.count, model_.hidden);
    const Range own = shares(model_.vocabulary);
    few_rows_.multiply(model_.output, step_.logits, model_.vocabulary, false, own.first, own.last);
  }

  // ---- parts of these ----

  void norm_all(const void* weight) {
    const Range own = many_ ? laid() : Range(step_.tokens, 0, 1);
    float* normed = many_ ? shared_.normed.at() : normed_.at();
    for (int64_t token = own.first; token < own.last; token++)
      norm(shared_.hidden.at(token * model_.hidden), (const Number*)weight, model_.hidden,
           model_.epsilon, normed + token * model_.hidden);
    take(normed, model_.hidden);
  }

  // A row for each token, to be multiplied with layers; of many a thread has seen to those that are laid
  // by it.
  void take(const float* x, int64_t k) {
    if (!many_) return few_rows_.set(x, step_.tokens, k);
    const Range own = mine(tiles(step_.tokens));
    many_rows_.set(x, step_.tokens, k, own.first, own.last);
    wait();
  }
  Range laid() const {
    Range own = mine(tiles(step_.tokens));
    own.first *= HEIGHT;
    own.last = std::min(own.last * HEIGHT, step_.tokens);
    return own;
  }

  void multiply(const Linear& layer, float* y, int64_t n, bool onto, int64_t first, int64_t last) {
    if (many_)
      many_rows_.multiply(layer, y, n, onto, first, last);
    else
      few_rows_.multiply(layer, y, n, onto, first, last);
  }

  // This thread's columns of a product.
  void columns(const Linear& layer, float* y, int64_t n, bool onto) {
    const Range own = shares(n);
    multiply(layer, y, n, onto, own.first, own.last);
  }
  Range shares(int64_t n) const {
    Range own = mine((n + SHARE - 1) / SHARE);
    own.first *= SHARE;
    own.last = std::min(own.last * SHARE, n);
    return own;
  }

  // One head of a product.
  void head(const Linear& layer, const Buffer<float>& y, int64_t number, int64_t heads) {
    const int64_t size = model_.size;
    multiply(layer, y.at(), heads * size, false, number * size, (number + 1) * size);
  }

  void turn(const Buffer<float>& of, const void* weight, int64_t number, int64_t heads) {
    for (int64_t token = 0; token < step_.tokens; token++) {
      float* row = of.at((token * heads + number) * model_.size);
      if (weight) norm(row, (const Number*)weight, model_.size, model_.epsilon, row);
      const int64_t its = token * model_.rotated;
      rotate(row, (const Number*)step_.cosines + its, (const Number*)step_.sines + its,
             model_.rotated, model_.interleaved);
    }
  }

  void keep(const Buffer<float>& of, void* cache, int64_t number) {
    for (int64_t token = 0; token < step_.tokens; token++) {
      const float* row = of.at((token * model_.key_heads + number) * model_.size);
      Number* to = (Number*)cache + place(token, number);
      for (int64_t i = 0; i < model_.size; i++) put(row[i], to + i);
    }
  }

  // Where a token's own entry lies.
  int64_t place(int64_t token, int64_t key_head) const {
    const int64_t head = step_.slots[token] * model_.key_heads + key_head;
    return (head * model_.length + step_.places[token]) * model_.size;
  }

  const Model& model_;
  const Step& step_;
  const Shared& shared_;
  const bool many_;
  const int thread_, threads_;
  const Buffer<float> normed_, weights_;
  Block<Number> block_;
  FewRows<Format> few_rows_;
  ManyRows<Format> many_rows_;
};

template <class Format>
void run(const Model& model, const Step& step, int threads) {
  if (step.tokens * model.hidden * model.inner < WORTH_A_THREAD) threads = 1;
  const bool many = step.tokens > FEW;
  const Shared shared(model, step, many);
#pragma omp parallel num_threads(threads)
  Worker<Format>(model, step, shared, many, omp_get_thread_num(), omp_get_num_threads()).run();
}

}  // namespace

extern "C" {

int danlu_few() { return FEW; }

void danlu_step_float32(const Model* model, const Step* step, int threads) {
  run<Float32>(*model, *step, threads);
}

void danlu_step_bfloat16(const Model* model, const Step* step, int threads) {
  run<BFloat16>(*model, *step, threads);
}
}
