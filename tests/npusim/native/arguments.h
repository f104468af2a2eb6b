// One operator call on a card, made a call on the host: zero-copy aliases in, results of the card out.
#pragma once
#include <ATen/ATen.h>
#include <ATen/core/stack.h>

#include <cstring>

namespace npusim {

constexpr auto kCard = c10::DeviceType::PrivateUse1;  // what torch_npu renamed "npu"

inline bool on_card(const at::Tensor& x) { return x.defined() && x.device().type() == kCard; }
inline c10::Device card(int index) { return c10::Device(kCard, static_cast<c10::DeviceIndex>(index)); }

// The same bytes as a tensor of the host; it owns nothing.
inline at::Tensor host_alias(const at::Tensor& x) {
  auto* storage = x.storage().unsafeGetStorageImpl();
  c10::DataPtr bytes(storage->mutable_data(), nullptr, [](void*) {}, c10::Device(c10::kCPU));
  auto copy = c10::make_intrusive<c10::StorageImpl>(c10::StorageImpl::use_byte_size_t(), storage->nbytes(),
                                                    std::move(bytes), c10::GetAllocator(c10::kCPU), true);
  auto alias = at::detail::make_tensor<c10::TensorImpl>(
      c10::Storage(std::move(copy)), c10::DispatchKeySet(c10::DispatchKey::CPU), x.dtype());
  auto* impl = alias.unsafeGetTensorImpl();
  impl->set_sizes_and_strides(x.sizes(), x.strides(), x.storage_offset());
  if (x.unsafeGetTensorImpl()->is_wrapped_number()) impl->set_wrapped_number(true);
  alias._set_conj(x.is_conj());
  alias._set_neg(x.is_neg());
  return alias;
}

// The same shape over bytes of the host's own, all of them 0.
inline at::Tensor blank_of(const at::Tensor& x) {
  auto bytes = at::zeros({static_cast<int64_t>(x.storage().nbytes())}, at::kByte);
  auto blank = at::detail::make_tensor<c10::TensorImpl>(c10::Storage(bytes.storage()), c10::DispatchKeySet(c10::DispatchKey::CPU),
                                                        x.dtype());
  blank.unsafeGetTensorImpl()->set_sizes_and_strides(x.sizes(), x.strides(), x.storage_offset());
  return blank;
}

class Arguments {
 public:
  struct Pair { at::Tensor original, alias; bool written; };

  // A mixing operator (indexing, copies) may take tensors of the host beside the card's.
  // `blank`: results are asked for their shapes, and arguments are left alone.
  explicit Arguments(bool mixing, bool blank = false) : mixing_(mixing), blank_(blank) {}

  int device = -1;  // of the tensors seen; -1: none yet

  void see(const at::Tensor& x) {
    if (!on_card(x)) return;
    const int index = x.device().index();
    if (device < 0) device = index;
    TORCH_CHECK(index == device || mixing_, "Expected all tensors to be on the same device, but found at least two devices, npu:",
                device, " and npu:", index, "!");
  }

  at::Tensor to_host(const at::Tensor& x, bool written) {
    if (!on_card(x)) {
      TORCH_CHECK(mixing_ || !x.defined() || x.dim() == 0 || x.device().type() != c10::kCPU,
                  "Expected all tensors to be on the same device. Expected NPU tensor, please check whether the input tensor device is correct.");
      return x;
    }
    for (auto& pair : pairs_)
      if (pair.original.is_same(x)) return pair.written |= written, pair.alias;
    pairs_.push_back({x, blank_ ? blank_of(x) : host_alias(x), written});
    return pairs_.back().alias;
  }

  // What was resized or moved in place over there is so here, too.
  void write_back() {
    for (auto& [original, alias, written] : pairs_) {
      if (!written) continue;
      const bool moved = alias.storage().data() != original.storage().data();
      if (!moved && alias.sizes() == original.sizes() && alias.strides() == original.strides()) continue;
      original.resize_(alias.sizes());
      if (!original.strides().equals(alias.strides()))
        original.unsafeGetTensorImpl()->set_sizes_and_strides(alias.sizes(), alias.strides(), original.storage_offset());
      if (moved && alias.numel()) host_alias(original).copy_(alias);
    }
  }

  // An argument itself, a view of one, or fresh bytes: those go into memory of torch_npu's allocator.
  at::Tensor to_card(const at::Tensor& result) const {
    if (!result.defined() || result.device().type() != c10::kCPU) return result;
    auto* storage = result.storage().unsafeGetStorageImpl();
    for (auto& pair : pairs_) {
      if (pair.alias.is_same(result)) return pair.original;
      if (pair.alias.storage().unsafeGetStorageImpl() != storage) continue;
      auto view = at::detail::make_tensor<c10::TensorImpl>(c10::TensorImpl::VIEW, c10::Storage(pair.original.storage()),
                                                           pair.original.key_set(), result.dtype());
      view.unsafeGetTensorImpl()->set_sizes_and_strides(result.sizes(), result.strides(), result.storage_offset());
      return view;
    }
    const bool dense = result.is_non_overlapping_and_dense() && !result.storage_offset();
    const at::Tensor whole = dense ? result : result.contiguous();
    auto fresh = at::empty_strided(whole.sizes(), whole.strides(), whole.options().device(card(device)));
    if (!whole.numel()) return fresh;
    if (blank_) std::memset(fresh.data_ptr(), 0xff, fresh.nbytes());
    else std::memcpy(fresh.data_ptr(), whole.data_ptr(), whole.nbytes());
    return fresh;
  }

  // Neither an argument nor a part of one.
  bool is_new(const at::Tensor& result) const {
    for (auto& pair : pairs_)
      if (pair.original.storage().unsafeGetStorageImpl() == result.storage().unsafeGetStorageImpl()) return false;
    return on_card(result);
  }

  const c10::SmallVector<Pair, 8>& pairs() const { return pairs_; }

 private:
  c10::SmallVector<Pair, 8> pairs_;
  bool mixing_, blank_;
};

}  // namespace npusim
