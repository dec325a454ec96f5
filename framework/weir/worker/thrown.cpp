#include "weir/worker/thrown.hpp"

#include <cxxabi.h>

#include <boost/asio/multiple_exceptions.hpp>
#include <cstdlib>
#include <exception>
#include <memory>
#include <typeinfo>

#include "weir/async/in_line.hpp"

namespace weir::worker {
namespace {

std::string type_name() {
  const std::type_info* const type = abi::__cxa_current_exception_type();
  if (type == nullptr) return "something that is no C++ exception";
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> name(abi::__cxa_demangle(type->name(), nullptr, nullptr, &status),
                                                    std::free);
  return name == nullptr ? type->name() : name.get();
}

}  // namespace

std::string thrown_text() {
  try {
    throw;
  } catch (const boost::asio::multiple_exceptions& several) {
    if (!several.first_exception()) return several.what();
    try {
      std::rethrow_exception(several.first_exception());
    } catch (...) {
      return thrown_text();
    }
  } catch (const std::exception& error) {
    const char* const text = error.what();
    if (text != nullptr && *text != '\0') return text;
    return "threw " + type_name() + ", which says nothing";
  } catch (...) {
    return "threw " + type_name() + ", which is no std::exception";
  }
}

End thrown_end() {
  try {
    throw;
  } catch (const EndedBy& ended) {
    return ended.end();
  } catch (const StillInLine& late) {
    return End(Outcome::defer, late.what());
  } catch (const boost::asio::multiple_exceptions& several) {
    if (!several.first_exception()) return retried(several.what());
    try {
      std::rethrow_exception(several.first_exception());
    } catch (...) {
      return thrown_end();
    }
  } catch (...) {
    return retried(thrown_text());
  }
}

}  // namespace weir::worker
