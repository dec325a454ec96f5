#include "weir/protocol/names.hpp"

#include <algorithm>
#include <cstring>

namespace weir::protocol {
namespace {

/// Appends the part of this run that is in [first, first + count). `first` and `count` then tell what is wanted of the
/// messages behind the run.
void cut(std::string_view publisher, std::uint64_t run_first, std::uint32_t run_count, std::uint32_t& first,
         std::uint32_t& count, Names& to) {
  if (first >= run_count) {
    first -= run_count;
    return;
  }
  const std::uint64_t from = run_first + first;
  const std::uint32_t n = std::min(count, run_count - first);
  first = 0;
  count -= n;
  if (!to.empty()) {
    v1::NameRun& last = to[to.size() - 1];
    if (last.first() + last.count() == from && last.publisher() == publisher) {
      last.set_count(last.count() + n);
      return;
    }
  }
  v1::NameRun& run = *to.Add();
  run.mutable_publisher()->assign(publisher);
  run.set_first(from);
  run.set_count(n);
}

}  // namespace

Result<void> check_names(const v1::Index& index) {
  const auto wrong = [](std::string what) { return ProtocolError{v1::Error::MALFORMED, std::move(what)}; };
  std::uint64_t named = 0;
  for (const auto& run : index.names()) {
    if (run.publisher().size() != 16) {
      return wrong("`names` has a publisher of " + std::to_string(run.publisher().size()) + " bytes, not 16");
    }
    if (run.count() == 0 || run.first() + run.count() < run.first()) return wrong("`names` has a run of no numbers");
    named += run.count();
  }
  if (named != static_cast<std::uint64_t>(index.lengths_size())) {
    return wrong("`names` names " + std::to_string(named) + " messages of " + std::to_string(index.lengths_size()));
  }
  return {};
}

NameRun name_run(const v1::NameRun& run) {
  NameRun out;
  std::memcpy(out.publisher.bytes.data(), run.publisher().data(),
              std::min(run.publisher().size(), out.publisher.bytes.size()));
  out.first = run.first();
  out.count = run.count();
  return out;
}

MessageName name_at(const Names& names, std::uint32_t at) {
  for (const auto& each : names) {
    if (at < each.count()) {
      const NameRun run = name_run(each);
      return {run.publisher, run.first + at};
    }
    at -= each.count();
  }
  return {};
}

MessageName name_at(std::span<const NameRun> names, std::uint32_t at) {
  for (const NameRun& run : names) {
    if (at < run.count) return {run.publisher, run.first + at};
    at -= run.count;
  }
  return {};
}

void slice_names(const Names& from, std::uint32_t first, std::uint32_t count, Names& to) {
  for (const auto& run : from) {
    if (count == 0) return;
    cut(run.publisher(), run.first(), run.count(), first, count, to);
  }
}

void slice_names(std::span<const NameRun> from, std::uint32_t first, std::uint32_t count, Names& to) {
  for (const NameRun& run : from) {
    if (count == 0) return;
    cut(run.publisher.view(), run.first, run.count, first, count, to);
  }
}

void put_name(const MessageName& name, std::string& to) {
  to.assign(name.publisher.view());
  for (int shift = 0; shift < 64; shift += 8) to.push_back(static_cast<char>(name.number >> shift));
}

std::optional<MessageName> read_name(std::string_view name) {
  constexpr std::size_t publisher_bytes = 16;
  if (name.size() != publisher_bytes + 8) return std::nullopt;
  MessageName out;
  std::memcpy(out.publisher.bytes.data(), name.data(), publisher_bytes);
  for (std::size_t i = name.size(); i-- > publisher_bytes;) {
    out.number = out.number << 8U | static_cast<unsigned char>(name[i]);
  }
  return out;
}

}  // namespace weir::protocol
