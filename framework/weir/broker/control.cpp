#include "weir/broker/control.hpp"

#include <algorithm>

#include "weir/broker/store/layout.hpp"
#include "weir/protocol/frame.hpp"
#include "weir/protocol/names.hpp"

namespace weir::broker {
namespace {

constexpr std::uint32_t listed_usual = 100;
constexpr std::uint32_t listed_most = 1000;
/// The most dead letters of one request by id, and of one commit for `all`.
constexpr std::size_t page_most = 1000;
/// A page of a list ends once it is longer than this, whatever the errors in it.
constexpr std::size_t list_bytes_most = 1024 * 1024;
/// The most bytes of headers that are shown; more would take long to parse.
constexpr std::size_t headers_shown_most = 64 * 1024;

/// Shown as the last error of a dead letter that is not as it was written.
constexpr const char* damaged_in_store = "damaged in the store: it is not as it was written, and stays there as it is";

std::string why_not_there(core::Snapshot& snapshot, const Place& place, const std::string& id,
                          const std::string& queue) {
  if (snapshot.has_dead(place)) return "dead letter " + id + " of queue '" + queue + "' is " + damaged_in_store;
  return "no dead letter " + id + " in queue '" + queue + "': it was replayed, purged, or never dead";
}

void summarize(const std::string& queue, const Place& place, const v1::Record& record, std::size_t bytes,
               v1::DeadSummary& out) {
  out.set_id(print_id(queue, place.segment, place.index));
  out.set_type(record.type());
  out.set_attempts(record.attempts());
  if (record.history_size() > 0) out.set_last_error(record.history(record.history_size() - 1).error());
  out.set_dead_since_us(record.dead_since_us());
  out.set_bytes(bytes);
  if (const auto name = protocol::read_name(record.name())) out.set_name(name->text());
}

}  // namespace

void Control::ask(Now now, core::Connection from, const Peer& peer, const v1::ControlRequest& request,
                  core::Actions& actions) {
  Reply reply;
  reply.set_id(request.id());
  const Right right = right_for(request);
  if (!may(peer, right)) {
    reply.set_error("not allowed: this needs the right '" + std::string(word(right)) + "'");
    return core_.reply(from, std::move(reply), actions);
  }
  switch (request.what_case()) {
    case v1::ControlRequest::kListQueues:
      core_.list_queues(request.list_queues(), *reply.mutable_queues());
      break;
    case v1::ControlRequest::kListWorkers:
      core_.list_workers(now, request.list_workers(), *reply.mutable_workers());
      break;
    case v1::ControlRequest::kListDead:
      list_dead(request.list_dead(), reply);
      break;
    case v1::ControlRequest::kShowDead:
      show_dead(request.show_dead(), reply);
      break;
    case v1::ControlRequest::kReplayDead:
      return change_dead(now, from, request.replay_dead(), true, reply, actions);
    case v1::ControlRequest::kPurgeDead:
      return change_dead(now, from, request.purge_dead(), false, reply, actions);
    default:
      reply.set_error("this broker does not know that request; it is of another version than its client");
  }
  core_.reply(from, std::move(reply), actions);
}

std::optional<QueueId> Control::find_queue(const std::string& name, Reply& reply) const {
  if (const auto id = core_.queue_id(name)) return id;
  std::string known;
  for (const std::string& one : core_.queue_names()) known += (known.empty() ? "" : ", ") + one;
  reply.set_error("unknown queue '" + name + "'; this broker has " + (known.empty() ? "none" : known));
  return std::nullopt;
}

std::optional<Place> Control::find_place(const std::string& queue_name, QueueId queue, const std::string& id,
                                         Reply& reply) const {
  const auto parsed = parse_id(id);
  if (!parsed) {
    reply.set_error("'" + id + "' is no message id; one looks like " + queue_name + "/4f2a1.17");
    return std::nullopt;
  }
  if (!parsed->queue.empty() && parsed->queue != queue_name) {
    reply.set_error("message " + id + " is of queue '" + parsed->queue + "', not of '" + queue_name + "'");
    return std::nullopt;
  }
  return Place{queue, parsed->segment, parsed->index};
}

void Control::list_dead(const v1::ListDead& wanted, Reply& reply) {
  const auto queue = find_queue(wanted.queue(), reply);
  if (!queue) return;
  std::optional<Place> after;
  if (!wanted.after().empty()) {
    after = find_place(wanted.queue(), *queue, wanted.after(), reply);
    if (!after) return;
  }
  const std::uint32_t most = std::min(wanted.most() == 0 ? listed_usual : wanted.most(), listed_most);
  std::vector<Place> places;
  const auto snapshot = store_.snapshot();
  snapshot->dead_after(*queue, after, most + 1, places);
  v1::DeadList& list = *reply.mutable_dead_list();
  v1::Record record;
  std::size_t bytes = 0;  // of the page, and of the histories that were read for it
  for (const Place& place : places) {
    if (static_cast<std::uint32_t>(list.dead_size()) == most || bytes > list_bytes_most) {
      list.set_next(list.dead(list.dead_size() - 1).id());  // there are more
      return;
    }
    v1::DeadSummary& summary = *list.add_dead();
    if (const auto stored = snapshot->dead(place)) {
      const std::string_view body = layout::read_record(*stored, place, record);
      bytes += stored->size() - body.size();
      summarize(wanted.queue(), place, record, body.size(), summary);
    } else {
      summary.set_id(print_id(wanted.queue(), place.segment, place.index));
      summary.set_last_error(damaged_in_store);
    }
    bytes += summary.ByteSizeLong();
  }
}

void Control::show_dead(const v1::ShowDead& wanted, Reply& reply) {
  const auto queue = find_queue(wanted.queue(), reply);
  if (!queue) return;
  const auto place = find_place(wanted.queue(), *queue, wanted.id(), reply);
  if (!place) return;
  const auto snapshot = store_.snapshot();
  const auto stored = snapshot->dead(*place);
  if (!stored) {
    reply.set_error(why_not_there(*snapshot, *place, wanted.id(), wanted.queue()));
    return;
  }
  v1::Record record;
  const std::string_view body = layout::read_record(*stored, *place, record);
  v1::DeadLetter& letter = *reply.mutable_dead_letter();
  summarize(wanted.queue(), *place, record, body.size(), *letter.mutable_summary());
  *letter.mutable_history() = record.history();
  letter.set_key(record.key());
  letter.set_priority(record.priority());
  letter.set_published_at_us(record.published_at_us());
  const auto parts = protocol::decode_body(body);
  if (parts && parts->headers.size() > headers_shown_most) {
    reply.set_error("dead letter " + wanted.id() + " has " + std::to_string(parts->headers.size()) +
                    " bytes of headers; those of at most " + std::to_string(headers_shown_most) + " are shown");
    return;
  }
  v1::Body headers;
  if (!parts || !headers.ParseFromArray(parts->headers.data(), static_cast<int>(parts->headers.size()))) {
    return;  // its publisher sent bytes that are no Body: there is nothing more to show
  }
  *letter.mutable_headers() = headers.headers();
  if (wanted.with_payload()) letter.set_payload(std::string(parts->payload));
}

template <class Wanted>
void Control::change_dead(Now now, core::Connection from, const Wanted& wanted, bool replay, Reply& reply,
                          core::Actions& actions) {
  const auto queue = find_queue(wanted.queue(), reply);
  if (!queue) return core_.reply(from, std::move(reply), actions);
  if (wanted.all()) {
    jobs_.push_back({from, reply.id(), *queue, replay, std::nullopt, 0, false});
    if (jobs_.size() == 1) advance(now, actions);
    return;
  }
  if (wanted.ids_size() > static_cast<int>(page_most)) {
    reply.set_error(std::to_string(wanted.ids_size()) + " ids; at most " + std::to_string(page_most) +
                    " in one request: ask in several");
    return core_.reply(from, std::move(reply), actions);
  }
  if (wanted.ids().empty()) {
    reply.set_error("neither ids nor `all`: name the dead letters of queue '" + wanted.queue() + "'");
    return core_.reply(from, std::move(reply), actions);
  }
  std::vector<Place> places;
  {
    const auto snapshot = store_.snapshot();
    for (const std::string& id : wanted.ids()) {
      const auto place = find_place(wanted.queue(), *queue, id, reply);
      if (place && !snapshot->dead(*place) && (replay || !snapshot->has_dead(*place))) {
        reply.set_error(why_not_there(*snapshot, *place, id, wanted.queue()) + "; nothing was done");
      }
      if (!reply.error().empty()) return core_.reply(from, std::move(reply), actions);
      places.push_back(*place);
    }
  }
  if (replay) {
    core_.replay_dead(now, from, reply.id(), places, actions);
  } else {
    core_.purge_dead(now, from, reply.id(), places, actions);
  }
}

void Control::advance(Now now, core::Actions& actions) {
  while (!jobs_.empty()) {
    Job& job = jobs_.front();
    std::vector<Place> places;
    store_.snapshot()->dead_after(job.queue, job.after, page_most, places);
    if (places.empty()) {
      // All dead letters that were taken are on disk: each page waited for its commit.
      Reply reply;
      reply.set_id(job.request);
      reply.mutable_count()->set_messages(job.total);
      core_.reply(job.from, std::move(reply), actions);
      jobs_.pop_front();
      continue;
    }
    job.after = places.back();
    const std::uint64_t taken =
        job.replay ? core_.replay_dead(now, 0, 0, places, actions) : core_.purge_dead(now, 0, 0, places, actions);
    job.total += taken;
    job.sealed = false;
    if (taken > 0) return;
  }
}

void Control::sealed() {
  if (!jobs_.empty()) jobs_.front().sealed = true;
}

void Control::committed(Now now, core::Actions& actions) {
  if (!jobs_.empty() && jobs_.front().sealed) advance(now, actions);
}

}  // namespace weir::broker
