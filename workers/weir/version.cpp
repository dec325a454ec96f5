#include <google/protobuf/stubs/common.h>

#include <boost/version.hpp>
#include <iostream>

#include "commands.hpp"
#include "weir/protocol/frame.hpp"

namespace weir::cli {

int version() {
  std::cout << "weir " << WEIR_VERSION << "\n"
            << "protocol " << protocol::version_lowest << " to " << protocol::version_highest << "\n"
            << "compiler "
            <<
#if defined(__clang__)
      "clang " << __clang_version__
#else
      "g++ " << __VERSION__
#endif
            << "\n"
            << "boost " << BOOST_VERSION / 100000 << "." << BOOST_VERSION / 100 % 1000 << ", protobuf "
            << google::protobuf::internal::VersionString(GOOGLE_PROTOBUF_VERSION) << "\n";
  return done;
}

}  // namespace weir::cli
