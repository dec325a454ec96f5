/// Delivers each message of queue `webhooks` to its subscriber by HTTP POST, signed.

#include <boost/system/system_error.hpp>
#include <charconv>
#include <unordered_map>
#include <weir/handler.hpp>

#include "answer.hpp"
#include "http_post.hpp"
#include "signature.hpp"
#include "webhooks/webhooks.pb.h"

using namespace std::chrono_literals;

namespace {

/// The options in `with:`.
struct Settings {
  std::string secret;
  weir::Duration timeout{};
  std::size_t in_flight_per_host{};
};

[[noreturn]] void refuse(std::string_view option, const std::string& value, std::string_view allowed) {
  throw weir::Error("webhooks: with." + std::string(option) + " is '" + value + "'; it must be " +
                    std::string(allowed));
}

weir::Duration duration_of(const std::string& text) {
  std::uint32_t number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const std::string_view unit = end;
  if (error != std::errc{} || number == 0 || (unit != "ms" && unit != "s")) {
    refuse("timeout", text, "a time above 0 such as 500ms or 10s");
  }
  return unit == "ms" ? weir::Duration(number * 1ms) : weir::Duration(number * 1s);
}

std::size_t count_of(const std::string& text) {
  std::size_t number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || *end != '\0' || number == 0 || number > 1000) {
    refuse("in_flight_per_host", text, "a number from 1 to 1000");
  }
  return number;
}

Settings settings_of(weir::Plugin& plugin) {
  Settings settings{.secret = plugin.option("secret", ""),
                    .timeout = duration_of(plugin.option("timeout", "10s")),
                    .in_flight_per_host = count_of(plugin.option("in_flight_per_host", "4"))};
  if (settings.secret.empty()) refuse("secret", "", "what the subscribers check the signature with");
  return settings;
}

/// One shard's deliveries. Shards share nothing, so the limit per host is also per shard.
class Webhooks {
 public:
  explicit Webhooks(Settings settings) : settings_(std::move(settings)) {}

  weir::task<> deliver(weir::Context& ctx, const webhooks::Delivery& delivery);

 private:
  /// Each delivery that is in flight to a host, or waits for it, shares the host's semaphore. The last one destroys it,
  /// so that hosts are kept only while there is work for them.
  std::shared_ptr<weir::Semaphore> in_flight_to(const std::string& host);

  Settings settings_;
  std::unordered_map<std::string, std::weak_ptr<weir::Semaphore>> hosts_;
};

std::shared_ptr<weir::Semaphore> Webhooks::in_flight_to(const std::string& host) {
  auto& known = hosts_[host];
  if (auto semaphore = known.lock()) return semaphore;
  const std::shared_ptr<weir::Semaphore> made(new weir::Semaphore(settings_.in_flight_per_host, host),
                                              [this, host](weir::Semaphore* semaphore) {
                                                hosts_.erase(host);
                                                delete semaphore;
                                              });
  known = made;
  return made;
}

weir::task<> Webhooks::deliver(weir::Context& ctx, const webhooks::Delivery& delivery) {
  webhooks::Target target;
  try {
    target = webhooks::target_of(delivery.url());
  } catch (const webhooks::BadUrl& why) {
    throw weir::Reject(why.what());
  }
  if (!webhooks::fits_header(delivery.event())) throw weir::Reject("bad event: it has control characters");
  if (!webhooks::fits_header(delivery.id())) throw weir::Reject("bad id: it has control characters");
  const std::vector<webhooks::Header> headers = {
      {"Content-Type", "application/json"},
      {"X-Weir-Event", delivery.event()},
      {"X-Weir-Delivery", ctx.name().text()},  // the same at every attempt: the subscriber deduplicates by it
      {"X-Weir-Id", delivery.id()},
      {"X-Weir-Attempt", std::to_string(ctx.attempt())},
      {"X-Weir-Signature-256", webhooks::signature_of(settings_.secret, delivery.body())},
  };

  // A slow host is not the message's fault. Time in line is not the handler's, and a message that finds no room comes
  // again later, without an attempt.
  const auto host = in_flight_to(target.authority);
  const weir::Semaphore::Permit permit = co_await host->acquire();

  webhooks::Answer answer;
  try {
    answer = co_await weir::timeout(settings_.timeout, webhooks::post(target, headers, delivery.body()));
  } catch (const boost::system::system_error& error) {
    if (error.code() == boost::asio::error::operation_aborted) throw;  // this handler is being cancelled
    throw weir::Retry("no answer: " + error.code().message());
  }  // weir::TimedOut is already a retry

  const webhooks::Verdict verdict =
      webhooks::verdict_of(answer.status, answer.retry_after, std::chrono::system_clock::now());
  if (verdict.what == webhooks::Verdict::What::reject) throw weir::Reject(verdict.why);
  if (verdict.what == webhooks::Verdict::What::retry) {
    if (verdict.after) throw weir::Retry(*verdict.after, verdict.why);
    throw weir::Retry(verdict.why);
  }
}

}  // namespace

WEIR_PLUGIN(plugin) {
  const auto shard = std::make_shared<Webhooks>(settings_of(plugin));  // the handler keeps it as long as the shard
                                                                       // lives
  plugin.on<webhooks::Delivery>("webhooks", [shard](weir::Context& ctx, const webhooks::Delivery& delivery) {
    return shard->deliver(ctx, delivery);
  });
}
