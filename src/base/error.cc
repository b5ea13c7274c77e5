// The error ledger's text forms.
#include "base/error.h"

#include <utility>

#include "base/text.h"

namespace conpool {
namespace {

struct Unit {
  Nanos size;
  const char* name;
};

// The largest unit in which the duration is at least 1. Minutes begin at 1000 s: below, seconds
// read better.
Unit unit_of(Nanos duration) {
  if (duration < kMicrosecond) return {1, "ns"};
  if (duration < kMillisecond) return {kMicrosecond, "us"};
  if (duration < kSecond) return {kMillisecond, "ms"};
  if (duration < 1000 * kSecond) return {kSecond, "s"};
  if (duration < 1000 * kMinute) return {kMinute, "min"};
  return {kHour, "h"};
}

// `duration` rounded half up to a multiple of `step`.
Nanos rounded(Nanos duration, Nanos step) {
  Nanos rest = duration % step;
  Nanos below = duration - rest;
  return rest != 0 && rest >= step - rest && below <= kNever - step ? below + step : below;
}

// The place of the third significant digit, at most the unit itself.
Nanos third_digit(Nanos duration, Nanos unit) {
  if (duration >= 100 * unit) return unit;
  return duration >= 10 * unit ? unit / 10 : unit / 100;
}

std::string attempt_line(const Attempt& attempt) {
  std::string result = failure_text(attempt.failure);
  if (attempt.failure.status == Status::OK) {
    // A detail tells of a response that was not taken.
    const std::string& detail = attempt.failure.detail;
    result = detail.empty() ? std::string(status_text(Status::OK)) : without_control_bytes(detail);
  }
  return "round " + std::to_string(attempt.round) + ": " + without_control_bytes(attempt.target) +
         ": " + result + ", started at " + duration_text(attempt.started) + ", took " +
         duration_text(attempt.duration);
}

}  // namespace

std::string failure_text(const Failure& failure) {
  std::string text(status_text(failure.status));
  if (failure.os_error != 0) {
    std::string_view name = errno_name(failure.os_error);
    text += name.empty() ? " (errno " + std::to_string(failure.os_error) + ")"
                         : " (" + std::string(name) + ")";
  }
  if (!failure.detail.empty()) text += ": " + without_control_bytes(failure.detail);
  return text;
}

std::string duration_text(Nanos duration) {
  if (duration == kNever) return "for ever";
  if (duration < 0) {
    return duration == -kNever - 1 ? "-for ever" : "-" + duration_text(-duration);
  }
  if (duration == 0) return "0s";
  Unit unit = unit_of(duration);
  if (unit.size >= 100) {
    duration = rounded(duration, third_digit(duration, unit.size));
    Unit carried = unit_of(duration);  // 999.6us is 1ms
    if (carried.size != unit.size) {
      unit = carried;
      duration = rounded(duration, third_digit(duration, unit.size));
    }
  }
  std::string text = std::to_string(duration / unit.size);
  Nanos rest = duration % unit.size;
  if (rest != 0) {
    auto hundredths = static_cast<int>(rest / (unit.size / 100));
    text += "." + std::to_string(hundredths / 10);
    if (hundredths % 10 != 0) text += std::to_string(hundredths % 10);
  }
  return text + unit.name;
}

void Error::add_attempt(Attempt attempt) {
  if (attempts.size() >= kMaxAttempts) {
    ++attempts_dropped;
    return;
  }
  attempts.push_back(std::move(attempt));
}

std::string Error::line() const {
  std::string text = failure_text(cause);
  for (const std::string& entry : context)
    text += ", " + without_control_bytes(entry);
  return text;
}

std::string Error::report() const {
  std::string text = failure_text(cause);
  for (const std::string& entry : context)
    text += "\n  " + without_control_bytes(entry);
  if (attempts.empty() && attempts_dropped == 0) return text;
  text += "\n  attempts:";
  for (const Attempt& attempt : attempts)
    text += "\n    " + attempt_line(attempt);
  if (attempts_dropped != 0) {
    text += "\n    and " + std::to_string(attempts_dropped) + " more, not kept";
  }
  return text;
}

ErrorPtr make_error(Failure cause, Phase phase, std::vector<std::string> context) {
  auto error = std::make_shared<Error>();
  error->cause = std::move(cause);
  error->phase = phase;
  error->context = std::move(context);
  return error;
}

}  // namespace conpool
