#pragma once

/// Bytes that lie in a frame (or elsewhere), and keep it alive.

#include <memory>
#include <string>
#include <string_view>

namespace weir {

/// A view, and a share in what it looks into. The last slice frees the frame, on any thread.
struct Slice {
  std::shared_ptr<const void> owner;
  std::string_view bytes;

  [[nodiscard]] static Slice of(std::string text) {
    auto kept = std::make_shared<const std::string>(std::move(text));
    const std::string_view view = *kept;
    return {std::move(kept), view};
  }
  [[nodiscard]] Slice sub(std::size_t offset, std::size_t size) const { return {owner, bytes.substr(offset, size)}; }
};

}  // namespace weir
