// A frame's bytes, and what is inside a run: decoded, checked, cut up and put together again.
#include "weir/protocol/frame.hpp"

#include "input.hpp"
#include "targets.hpp"
#include "weir/protocol/names.hpp"

namespace weir::fuzz {
namespace {

constexpr Bytes message_most{1 << 20};

void read_bodies(const v1::Index& index, std::string_view run) {
  for (const std::uint32_t length : index.lengths()) {
    const std::string_view body = run.substr(0, length);
    run.remove_prefix(length);
    const auto view = protocol::decode_body(body);
    if (view.has_error()) continue;
    require(view->payload.size() + view->headers.size() <= body.size(), "a body's parts are larger than it");
    std::string again;
    if (view->payload.empty()) continue;  // may have been left out
    protocol::append_body(view->headers, view->payload, again);
    const auto twice = protocol::decode_body(again);
    require(twice && twice->payload == view->payload && twice->headers == view->headers, "a body changed on its way");
  }
}

void cut_and_join(const v1::Index& index) {
  const auto n = static_cast<std::uint32_t>(index.lengths_size());
  const bool named = protocol::check_names(index).has_value();
  for (const std::uint32_t at : {0U, 1U, n / 2, n}) {
    if (at > n) continue;
    v1::Index left;
    v1::Index right;
    protocol::slice(index, 0, at, left);
    protocol::slice(index, at, n - at, right);
    v1::Index whole;
    protocol::append(left, whole);
    protocol::append(right, whole);
    for (std::uint32_t i = 0; i < n; ++i) {
      const int column = static_cast<int>(i);
      const auto type = [&](const v1::Index& of) {
        return of.types(of.type_of().empty() ? 0 : static_cast<int>(of.type_of(column)));
      };
      require(whole.lengths(column) == index.lengths(column), "a length changed when a group was cut");
      require(type(whole) == type(index), "a type changed when a group was cut");
      require(index.key().empty() || whole.key(column) == index.key(column), "a key changed when a group was cut");
      require(index.delay_us().empty() || whole.delay_us(column) == index.delay_us(column),
              "a delay changed when a group was cut");
      require(!named || protocol::name_at(whole.names(), i) == protocol::name_at(index.names(), i),
              "a name changed when a group was cut");
    }
  }
}

void look_at(const v1::Index& index, std::string_view& run) {
  std::uint64_t bytes = 0;
  for (const std::uint32_t length : index.lengths()) bytes += length;
  const std::size_t size = std::min<std::uint64_t>(bytes, run.size());
  if (protocol::check(index, size, message_most).has_error()) return;
  require(bytes == size, "a group longer than its run was let through");
  cut_and_join(index);
  read_bodies(index, run.substr(0, size));
  run.remove_prefix(size);
}

}  // namespace

void frame(std::string_view bytes) {
  v1::Frame head;
  if (const auto run = protocol::decode(bytes, head)) {
    require(run->size() <= bytes.size(), "a run is larger than its frame");
    std::string_view rest = *run;
    for (const auto& group : head.publish().groups()) look_at(group.index(), rest);
    for (const auto& group : head.settle().outputs()) look_at(group.index(), rest);
    for (const auto& delivery : head.deliver().deliveries()) look_at(delivery.index(), rest);
    const std::string again = protocol::encode(head, *run);
    v1::Frame twice;
    const auto same = protocol::decode(again, twice);
    require(same && *same == *run && twice.body_case() == head.body_case() && twice.number() == head.number(),
            "a frame changed on its way");
  }
  v1::Index index;
  std::int64_t published_at_us = 0;
  if (const auto run = protocol::decode(bytes, index, published_at_us)) {
    std::string_view rest = *run;
    look_at(index, rest);
  }
}

}  // namespace weir::fuzz
