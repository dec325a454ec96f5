/// The plugin as a worker runs it, without a broker, against a real HTTP server.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <weir/testing.hpp>

#include "signature.hpp"
#include "subscriber.hpp"
#include "webhooks/webhooks.pb.h"

using namespace std::chrono_literals;

namespace webhooks {
namespace {

using testing::HasSubstr;
using weir::acked;
using weir::rejected;
using weir::retried;

Delivery to(const std::string& url) {
  Delivery delivery;
  delivery.set_url(url);
  delivery.set_event("push");
  delivery.set_id("7");
  delivery.set_body("{}");
  return delivery;
}

weir::testing::Ran run(const Delivery& delivery, const std::map<std::string, std::string>& with = {{"secret", "key"}},
                       weir::Duration timeout = 30s) {
  return weir::testing::run(weir_plugin_register, delivery, {.queue = "webhooks", .timeout = timeout}, with);
}

TEST(WebhooksPlugin, ADeliveryArrivesSigned) {
  Subscriber subscriber({Subscriber::answer("200 OK")});

  EXPECT_EQ(run(to(subscriber.url("/hook"))), acked());

  const std::string request = subscriber.requests().at(0);
  EXPECT_THAT(request, HasSubstr("\r\nX-Weir-Event: push\r\n"));
  EXPECT_THAT(request, HasSubstr("\r\nX-Weir-Id: 7\r\n"));
  EXPECT_THAT(request, HasSubstr("\r\nX-Weir-Attempt: 1\r\n"));
  EXPECT_THAT(request, HasSubstr("\r\nX-Weir-Signature-256: " + signature_of("key", "{}") + "\r\n"));
  EXPECT_TRUE(request.ends_with("\r\n\r\n{}"));
}

TEST(WebhooksPlugin, EveryAttemptSaysTheSameNameToDeduplicateBy) {
  Subscriber subscriber({Subscriber::answer("503 Busy"), Subscriber::answer("200 OK"), Subscriber::answer("200 OK")});
  const weir::MessageName name{*weir::PublisherId::from("0123456789abcdef"), 42};
  const auto once = [&](std::uint32_t attempt, const weir::MessageName& named) {
    (void)weir::testing::run(weir_plugin_register, to(subscriber.url()),
                             {.queue = "webhooks", .attempt = attempt, .name = named}, {{"secret", "key"}});
  };

  once(1, name);
  once(2, name);
  once(1, {name.publisher, 43});

  const std::string header = "\r\nX-Weir-Delivery: 30313233343536373839616263646566.";
  EXPECT_THAT(subscriber.requests().at(0), HasSubstr(header + "42\r\n"));
  EXPECT_THAT(subscriber.requests().at(1), HasSubstr(header + "42\r\n"));
  EXPECT_THAT(subscriber.requests().at(2), HasSubstr(header + "43\r\n"));
}

TEST(WebhooksPlugin, TheSubscribersAnswerIsTheOutcome) {
  Subscriber subscriber({Subscriber::answer("503 Busy", "Retry-After: 7\r\n"), Subscriber::answer("500 Oh"),
                         Subscriber::answer("410 Gone")});

  EXPECT_EQ(run(to(subscriber.url())), retried("the subscriber answered 503", 7s));
  EXPECT_EQ(run(to(subscriber.url())), retried("the subscriber answered 500"));
  EXPECT_EQ(run(to(subscriber.url())), rejected("the subscriber answered 410"));
}

TEST(WebhooksPlugin, WhatWasAcceptedIsDoneThoughTheRestComesTooLate) {
  Subscriber subscriber({"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nX: " + std::string(Subscriber::held_open)});

  EXPECT_EQ(run(to(subscriber.url()), {{"secret", "key"}, {"timeout", "300ms"}}), acked());
}

TEST(WebhooksPlugin, NoAnswerIsARetry) {
  std::string gone;
  {
    Subscriber subscriber({""});
    gone = subscriber.url();
    EXPECT_EQ(run(to(gone)), retried("no answer: end of stream"));
  }
  EXPECT_EQ(run(to(gone)), retried("no answer: Connection refused"));
}

TEST(WebhooksPlugin, ASubscriberThatSaysNothingTimesOut) {
  Subscriber subscriber({Subscriber::silent});
  EXPECT_EQ(run(to(subscriber.url()), {{"secret", "key"}, {"timeout", "50ms"}}), retried("timed out after 50ms"));
}

TEST(WebhooksPlugin, WhatCanNeverBeDeliveredIsADeadLetterThatSaysWhy) {
  EXPECT_EQ(run(to("https://example.org/")), rejected("bad url: https is not in this version; use http"));
  Delivery forged = to("http://127.0.0.1:1/");
  forged.set_event("push\r\nX-Weir-Signature-256: forged");
  EXPECT_EQ(run(forged), rejected("bad event: it has control characters"));
}

TEST(WebhooksPlugin, OptionsThatCannotBeMeantAreRefusedAtTheStart) {
  const auto why = [](const std::map<std::string, std::string>& with) -> std::string {
    try {
      (void)run(to("http://127.0.0.1:1/"), with);
      return "none";
    } catch (const std::exception& error) {
      return error.what();
    }
  };
  EXPECT_THAT(why({}), HasSubstr("with.secret is ''; it must be what the subscribers check the signature with"));
  EXPECT_THAT(why({{"secret", "key"}, {"timeout", "10"}}),
              HasSubstr("with.timeout is '10'; it must be a time above 0 such as 500ms or 10s"));
  EXPECT_THAT(why({{"secret", "key"}, {"in_flight_per_host", "0"}}),
              HasSubstr("with.in_flight_per_host is '0'; it must be a number from 1 to 1000"));
}

}  // namespace
}  // namespace webhooks
