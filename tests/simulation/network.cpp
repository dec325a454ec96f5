#include "network.hpp"

#include <utility>

namespace weir::simulation {

LineId Network::open(std::uint32_t endpoint, std::uint32_t life) {
  Line& line = lines_.emplace_back();
  line.endpoint = endpoint;
  line.life = life;
  return lines();
}

void Network::send(LineId id, bool up, std::string frame) {
  Line& one = line(id);
  if (up ? one.up_cut : one.down_cut) return;
  std::int64_t& last = up ? one.up_at_us : one.down_at_us;
  last = std::max(last, stage_.clock.now_us + within(random_, stage_.scenario.latency_us));
  stage_.agenda.add(last, up ? EventKind::frame_at_broker : EventKind::frame_at_client, id);
  (up ? one.up : one.down).push_back(std::move(frame));
}

void Network::send_up(LineId id, std::string frame) { send(id, true, std::move(frame)); }
void Network::send_down(LineId id, std::string frame) { send(id, false, std::move(frame)); }

bool Network::arrive(const Event& event, bool up, std::string& frame) {
  Line& one = line(event.a);
  auto& frames = up ? one.up : one.down;
  if (frames.empty()) return false;
  if (stage_.clock.now_us < one.stalled_until_us) {
    stage_.agenda.postpone(event, one.stalled_until_us);
    return false;
  }
  frame = std::move(frames.front());
  frames.pop_front();
  if (!up) one.read += frame.size();
  for (const char c : {frame.front(), frame.back(), static_cast<char>(frame.size())}) {
    stage_.fingerprint = (stage_.fingerprint ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  }
  stage_.fingerprint += static_cast<std::uint64_t>(stage_.clock.now_us);
  return true;
}

void Network::hang_up(LineId id) {
  Line& one = line(id);
  one.up_cut = one.down_cut = true;
  one.down.clear();
  one.reset = true;
}

void Network::lose(std::deque<std::string>& frames) { frames.resize(random_.below(frames.size() + 1)); }

void Network::cut(LineId id, bool silent) {
  Line& one = line(id);
  if (!one.up_cut) lose(one.up);
  if (!one.down_cut) lose(one.down);
  one.up_cut = one.down_cut = true;
  if (silent) return;
  one.reset = true;
  stage_.in(within(random_, stage_.scenario.latency_us), EventKind::line_ended, id);
}

void Network::cut_all(std::uint32_t life) {
  for (LineId id = 1; id <= lines(); ++id) {
    if (line(id).life == life && !line(id).down_cut) cut(id, random_.percent(5));
  }
}

void Network::stall(LineId id, std::int64_t for_us) { line(id).stalled_until_us = stage_.clock.now_us + for_us; }

bool Network::repeat(LineId id) {
  Line& one = line(id);
  const bool up = !one.up.empty();
  auto& frames = up ? one.up : one.down;
  if (frames.empty()) return false;
  const auto at = static_cast<std::ptrdiff_t>(random_.below(frames.size()));
  const std::string frame = frames[static_cast<std::size_t>(at)];
  frames.insert(frames.begin() + at, frame);
  stage_.agenda.add(up ? one.up_at_us : one.down_at_us, up ? EventKind::frame_at_broker : EventKind::frame_at_client,
                    id);
  return true;
}

void Network::heal() {
  for (LineId id = 1; id <= lines(); ++id) {
    Line& one = line(id);
    if (one.up_cut && !one.reset) cut(id, false);
    one.stalled_until_us = 0;
  }
}

}  // namespace weir::simulation
