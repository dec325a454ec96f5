#pragma once

/// The tools and libraries that a plugin was built with. Weir reads them from the file before any of the plugin's code
/// runs.
///
/// A check inside the plugin would come too late: dlopen itself aborts on an ASan plugin in a plain host, or fails with
/// a bare `undefined symbol`. So the plugin carries this struct in an ELF section of its own.

#include <google/protobuf/stubs/common.h>

#include <boost/version.hpp>
#include <cstdint>
#include <string>  // for _GLIBCXX_USE_CXX11_ABI

namespace weir::handler {

/// Raised with every change of code that a plugin compiles in: Context, Plugin, Handler, and the out-of-line part of
/// async/.
inline constexpr std::uint32_t abi_number = 6;
inline constexpr char abi_magic[8] = {'W', 'E', 'I', 'R', 'A', 'B', 'I', '\n'};

/// The sanitizer of the build. It changes the runtime that host and plugin must share.
#if defined(__SANITIZE_ADDRESS__)
inline constexpr std::uint32_t abi_sanitizer = 1;
#elif defined(__SANITIZE_THREAD__)
inline constexpr std::uint32_t abi_sanitizer = 2;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
inline constexpr std::uint32_t abi_sanitizer = 1;
#elif __has_feature(thread_sanitizer)
inline constexpr std::uint32_t abi_sanitizer = 2;
#else
inline constexpr std::uint32_t abi_sanitizer = 0;
#endif
#else
inline constexpr std::uint32_t abi_sanitizer = 0;
#endif

/// The major version of the clang whose plugins work in a host that g++ built. The tests show that the coroutines,
/// exceptions and libstdc++ of the two fit together.
inline constexpr std::uint32_t clang_beside_gnu = 16;

/// All fields have a fixed size, so that any build can read the struct of any other.
struct Abi {
  char magic[8];
  std::uint32_t size;  ///< of this struct; later versions may only append
  std::uint32_t number;
  std::uint32_t compiler;  ///< major version; clang calls itself g++ 4, hence `clang`
  std::uint32_t clang;     ///< its major version; 0: g++
  std::uint32_t cxx11_abi;
  std::uint32_t boost;
  std::uint32_t protobuf;
  std::uint32_t sanitizer;
  std::uint32_t library;  ///< libstdc++'s major version
};

inline constexpr Abi this_abi {
  {abi_magic[0], abi_magic[1], abi_magic[2], abi_magic[3], abi_magic[4], abi_magic[5], abi_magic[6], abi_magic[7]},
      sizeof(Abi), abi_number, __GNUC__,
#if defined(__clang__)
      __clang_major__,
#else
      0,
#endif
      _GLIBCXX_USE_CXX11_ABI, BOOST_VERSION, GOOGLE_PROTOBUF_VERSION, abi_sanitizer, _GLIBCXX_RELEASE
};

}  // namespace weir::handler
