#include "answer.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "signature.hpp"

using namespace std::chrono_literals;

namespace webhooks {
namespace {

using What = Verdict::What;

// Wed, 21 Oct 2026 07:28:00 GMT
constexpr std::chrono::sys_seconds noon = std::chrono::sys_days(std::chrono::year(2026) / 10 / 21) + 7h + 28min;

TEST(WebhooksAnswer, TwoHundredsAreDone) {
  for (const unsigned status : {200U, 201U, 202U, 204U, 299U}) {
    EXPECT_EQ(verdict_of(status, "", noon).what, What::ack) << status;
  }
}

TEST(WebhooksAnswer, WhatMayWorkLaterIsRetried) {
  for (const unsigned status : {408U, 429U, 500U, 502U, 503U, 504U, 599U}) {
    const Verdict verdict = verdict_of(status, "", noon);
    EXPECT_EQ(verdict.what, What::retry) << status;
    EXPECT_EQ(verdict.why, "the subscriber answered " + std::to_string(status));
    EXPECT_FALSE(verdict.after) << "the queue's own backoff";
  }
}

TEST(WebhooksAnswer, WhatWillBeSaidAgainIsRejected) {
  EXPECT_EQ(verdict_of(404, "", noon).why, "the subscriber answered 404");
  EXPECT_EQ(verdict_of(301, "", noon).why, "the subscriber answered 301: redirects are not followed");
  for (const unsigned status : {101U, 301U, 304U, 400U, 401U, 404U, 410U, 422U}) {
    EXPECT_EQ(verdict_of(status, "5", noon).what, What::reject) << status;
  }
}

TEST(WebhooksAnswer, RetryAfterIsHonouredInSecondsAndAsADate) {
  EXPECT_EQ(verdict_of(503, "120", noon).after, 120s);
  EXPECT_EQ(wait_of("0", noon), 0s);
  EXPECT_EQ(wait_of("Wed, 21 Oct 2026 07:28:30 GMT", noon), 30s);
  EXPECT_EQ(wait_of("Wed, 21 Oct 2026 07:28:30 GMT", noon + 500ms), 30s) << "rounded up: never too early";
  EXPECT_EQ(wait_of("Thu, 22 Oct 2026 00:00:00 GMT", noon), 16h + 32min);
  EXPECT_EQ(wait_of("Wed, 21 Oct 2020 07:28:00 GMT", noon), 0s) << "past";
}

TEST(WebhooksAnswer, NoSubscriberPutsADeliveryOffForLongerThanADay) {
  EXPECT_EQ(wait_of("4000000", noon), 24h);
  EXPECT_EQ(wait_of("99999999999999999999", noon), 24h);
  EXPECT_EQ(wait_of("Sat, 01 Jan 2050 00:00:00 GMT", noon), 24h);
}

TEST(WebhooksAnswer, ARetryAfterThatIsNeitherIsIgnored) {
  for (const char* text : {"", " ", "soon", "-5", "1.5", "5 ", "21 Oct 2026", "Wed, 32 Oct 2026 07:28:00 GMT",
                           "Wed, 21 Okt 2026 07:28:00 GMT", "Wed, 21 Oct 2026 27:28:00 GMT",
                           "Wed, 21 Oct 2026 07:28:00 GMT+2", "Wed, 21 Oct 2026 07:28:00 CET"}) {
    EXPECT_FALSE(wait_of(text, noon)) << text;
  }
}

TEST(WebhooksSignature, IsThatOfGitHubsDocumentation) {
  // The example of docs.github.com, "Validating webhook deliveries".
  EXPECT_EQ(signature_of("It's a Secret to Everybody", "Hello, World!"),
            "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17");
  EXPECT_NE(signature_of("another", "Hello, World!"), signature_of("It's a Secret to Everybody", "Hello, World!"));
}

}  // namespace
}  // namespace webhooks
