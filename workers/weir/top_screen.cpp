#include "top_screen.hpp"

#include <algorithm>
#include <array>
#include <functional>
#include <limits>
#include <tuple>

#include "table.hpp"

namespace weir::cli {
namespace {

using Queue = v1::Queues::Queue;
using Worker = v1::Workers::Worker;

constexpr std::array<const char*, 7> queue_orders{"QUEUE", "READY", "DELAYED", "LEASED", "DEAD", "IN/S", "ACKED/S"};
constexpr std::array<const char*, 3> worker_orders{"WORKER", "HELD", "LAST SEEN"};

std::string name_of(const Worker& worker) {
  return worker.group() + "/" + worker.host() + "/" + std::to_string(worker.pid()) + "/" +
         std::to_string(worker.shard());
}

std::string rate(double a_second) { return grouped(static_cast<std::uint64_t>(std::max(0.0, a_second) + 0.5)); }

double value_of(const Queue& queue, const Rates& rates, std::size_t by) {
  switch (by) {
    case 1:
      return static_cast<double>(queue.ready());
    case 2:
      return static_cast<double>(queue.delayed());
    case 3:
      return static_cast<double>(queue.leased());
    case 4:
      return static_cast<double>(queue.dead());
    case 5:
      return rates.published;
    case 6:
      return rates.acked;
    default:
      return 0;
  }
}

std::string note_of(const Queue& queue) {
  if (!queue.in_file()) return "not in file";
  if (queue.damaged() > 0) return grouped(queue.damaged()) + " damaged";
  if (queue.suspects() > 0) return grouped(queue.suspects()) + " tried";
  if (queue.unknown() > 0) return grouped(queue.unknown()) + " of no known type";
  return queue.workers() == 0 && queue.ready() > 0 ? "no worker" : "";
}

/// Says what a worker does, or why it does nothing.
Cell state_of(const Worker& worker) {
  if (!worker.alive()) return {"not alive", Shade::bad};
  if (!worker.connected()) return {"not connected", Shade::bad};
  if (worker.stuck()) return {"stuck: " + worker.running(), Shade::bad};
  if (!worker.consuming()) return {"not consuming", Shade::bad};
  return {worker.running().empty() ? std::string("consuming") : worker.running(), Shade::plain};
}

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> lines;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    lines.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return lines;
}

}  // namespace

void Top::saw(Seen seen) {
  problem_.clear();
  std::map<std::string, Rates> rates;
  if (seen_ && seen.at > seen_->at) {
    std::map<std::string, const Queue*> before;
    for (const Queue& queue : seen_->queues) before.emplace(queue.name(), &queue);
    const double seconds = seen.at - seen_->at;
    for (const Queue& queue : seen.queues) {
      const auto was = before.find(queue.name());
      if (was == before.end()) continue;
      // After a kill -9 of the broker a total may be lower than it was.
      const auto a_second = [&](std::uint64_t now, std::uint64_t then) {
        return now < then ? 0.0 : static_cast<double>(now - then) / seconds;
      };
      rates[queue.name()] = {a_second(queue.published(), was->second->published()),
                             a_second(queue.acked(), was->second->acked())};
    }
  }
  rates_ = std::move(rates);
  seen_ = std::move(seen);
}

void Top::press(Key key) {
  switch (key) {
    case Key::tab:
      of_workers_ = !of_workers_;
      first_ = 0;
      break;
    case Key::sort:
      if (of_workers_) {
        workers_by_ = (workers_by_ + 1) % worker_orders.size();
      } else {
        queues_by_ = (queues_by_ + 1) % queue_orders.size();
      }
      first_ = 0;
      break;
    case Key::reverse:
      reversed_ = !reversed_;
      break;
    case Key::search:
      typing_ = true;
      search_.clear();
      first_ = 0;
      break;
    case Key::escape:
      typing_ = false;
      search_.clear();
      break;
    case Key::enter:
      typing_ = false;
      break;
    case Key::erase:
      while (!search_.empty() && (static_cast<unsigned char>(search_.back()) & 0xC0U) == 0x80U) search_.pop_back();
      if (!search_.empty()) search_.pop_back();
      break;
    case Key::up:
      first_ -= std::min<std::size_t>(first_, 1);
      break;
    case Key::down:
      ++first_;  // screen() bounds it by the last row
      break;
    case Key::page_up:
      first_ -= std::min(first_, page_);
      break;
    case Key::page_down:
      first_ += page_;
      break;
    case Key::home:
      first_ = 0;
      break;
    case Key::end:
      first_ = std::numeric_limits<std::size_t>::max() / 2;
      break;
  }
}

void Top::type(char character) {
  if (typing_) search_ += character;
  first_ = 0;
}

bool Top::is_wanted(const std::string& name) const { return name.find(search_) != std::string::npos; }

Top::Listed Top::listed_queues(Size size, bool colour) const {
  std::vector<std::pair<const Queue*, Rates>> shown;
  for (const Queue& queue : seen_->queues) {
    if (!is_wanted(queue.name())) continue;
    const auto rates = rates_.find(queue.name());
    shown.emplace_back(&queue, rates == rates_.end() ? Rates{} : rates->second);
  }
  // Numbers sort from the largest, names from A. Equal rows keep their order from look to look.
  std::ranges::sort(shown, [&](const auto& a, const auto& b) {
    const auto key = [&](const auto& one) {
      return std::tuple<double, const std::string&>(-value_of(*one.first, one.second, queues_by_), one.first->name());
    };
    return reversed_ ? key(b) < key(a) : key(a) < key(b);
  });
  std::vector<std::vector<Cell>> rows;
  for (const auto& [queue, rates] : shown) {
    rows.push_back({queue->name(),
                    queue->ready(),
                    queue->delayed(),
                    queue->leased(),
                    {queue->dead(), queue->dead() > 0 ? Shade::bad : Shade::plain},
                    rate(rates.published),
                    rate(rates.acked),
                    std::uint64_t{queue->workers()},
                    {note_of(*queue), Shade::bad}});
  }
  const std::size_t all = rows.size();
  return {split(render({{"QUEUE", Align::left, 0, 12},
                        {"READY", Align::right},
                        {"DELAYED", Align::right, 2},
                        {"LEASED", Align::right},
                        {"DEAD", Align::right},
                        {"IN/S", Align::right},
                        {"ACKED/S", Align::right},
                        {"SESSIONS", Align::right, 1},
                        {""}},
                       std::move(rows), colour, size.columns)),
          all};
}

Top::Listed Top::listed_workers(Size size, bool colour) const {
  std::vector<const Worker*> shown;
  for (const Worker& worker : seen_->workers) {
    if (is_wanted(name_of(worker))) shown.push_back(&worker);
  }
  std::ranges::sort(shown, [&](const Worker* a, const Worker* b) {
    const auto key = [&](const Worker* one) {
      const auto number = workers_by_ == 1 ? one->held_messages() : workers_by_ == 2 ? one->last_seen_us() : 0;
      return std::tuple(std::numeric_limits<std::uint64_t>::max() - number, one->group(), one->host(), one->pid(),
                        one->shard());
    };
    return reversed_ ? key(b) < key(a) : key(a) < key(b);
  });
  std::vector<std::vector<Cell>> rows;
  for (const Worker* worker : shown) {
    rows.push_back({name_of(*worker), grouped(worker->held_messages()) + "/" + grouped(worker->window_messages()),
                    time_of(worker->last_seen_us()), std::uint64_t(worker->queues_size()), state_of(*worker)});
  }
  const std::size_t all = rows.size();
  return {split(render({{"WORKER", Align::left, 0, 16},
                        {"HELD", Align::right},
                        {"LAST SEEN", Align::right},
                        {"QUEUES", Align::right, 1},
                        {"STATE"}},
                       std::move(rows), colour, size.columns)),
          all};
}

std::string Top::headline(double now) const {
  const auto many = [](std::size_t n, const char* what) { return grouped(n) + " " + what + (n == 1 ? "" : "s"); };
  std::string state = "asking …";
  if (!problem_.empty()) {
    state = problem_;
    if (seen_) state += "; as it was " + time_of(static_cast<std::uint64_t>((now - seen_->at) * 1e6)) + " ago";
  } else if (seen_) {
    state = many(seen_->queues.size(), "queue") + ", " + many(seen_->workers.size(), "session");
  }
  return "weir top  " + state + "  " + engine_;  // at the end, so that only a long URL is cut
}

std::string Top::totals() const {
  if (!seen_) return "";
  std::uint64_t ready = 0, delayed = 0, leased = 0, dead = 0;
  for (const Queue& queue : seen_->queues) {
    ready += queue.ready();
    delayed += queue.delayed();
    leased += queue.leased();
    dead += queue.dead();
  }
  Rates all;
  for (const auto& [name, rates] : rates_) {
    all.published += rates.published;
    all.acked += rates.acked;
  }
  return "ready " + grouped(ready) + "  delayed " + grouped(delayed) + "  leased " + grouped(leased) + "  dead " +
         grouped(dead) + "  in " + rate(all.published) + "/s  acked " + rate(all.acked) + "/s";
}

std::string Top::foot() const {
  if (typing_) return "/" + search_ + "▏  Enter keeps it, Esc ends it";
  const char* order = of_workers_ ? worker_orders[workers_by_] : queue_orders[queues_by_];
  return std::string("q quit  Tab ") + (of_workers_ ? "queues" : "workers") + "  s sort: " + order +
         (reversed_ ? " reversed" : "") + "  r reverse  / search" + (search_.empty() ? "" : ": " + search_);
}

std::vector<std::string> Top::screen(Size size, bool colour, double now) {
  constexpr std::size_t around = 5;  // headline, totals, a blank line, titles, foot
  const std::size_t rows = size.lines > around ? size.lines - around : 1;
  page_ = rows;
  std::vector<std::string> lines{cut(harmless(headline(now)), size.columns), cut(totals(), size.columns), ""};
  if (seen_) {
    Listed listed = of_workers_ ? listed_workers(size, colour) : listed_queues(size, colour);
    first_ = std::min(first_, listed.all - std::min(rows, listed.all));
    lines.push_back(listed.lines.front());
    for (std::size_t i = first_; i < std::min(first_ + rows, listed.all); ++i) lines.push_back(listed.lines[1 + i]);
    if (listed.all == 0) lines.emplace_back(search_.empty() ? "(none)" : "(none has this in its name)");
  }
  lines.resize(size.lines > 1 ? size.lines - 1 : 0);
  lines.push_back(cut(harmless(foot()), size.columns));
  return lines;
}

}  // namespace weir::cli
