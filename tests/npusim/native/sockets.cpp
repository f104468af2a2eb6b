// Sockets of the kernel's own namespace: no file is left behind, whatever ends a process.
#include "sockets.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "third_party/hccl/inc/hccl/hccl_types.h"

namespace npusim {
namespace {

using Address = std::pair<sockaddr_un, socklen_t>;

Address address_of(const std::string& name) {
  sockaddr_un address{AF_UNIX, {}};  // a name that begins with a zero is no file's
  memcpy(address.sun_path + 1, name.data(), name.size());
  return {address, static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size())};
}

int opened() {
  const int file = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (file < 0) { perror("npusim: socket"); abort(); }
  return file;
}

// A closed socket is a dead peer's; one that stays silent is of a peer that does something else.
PeerLost why() {
  const bool silent = errno == EAGAIN || errno == EWOULDBLOCK;
  return {silent ? HCCL_E_TIMEOUT : HCCL_E_NOT_FOUND};
}

}  // namespace

Socket& Socket::operator=(Socket&& other) noexcept {
  std::swap(file_, other.file_);
  return *this;
}

Socket::~Socket() {
  if (file_ >= 0) close(file_);
}

Socket Socket::listening(const std::string& name) {
  Socket made(opened());
  const auto [address, size] = address_of(name);
  if (bind(made.file_, reinterpret_cast<const sockaddr*>(&address), size) || listen(made.file_, SOMAXCONN)) {
    perror("npusim: listen");
    abort();
  }
  return made;
}

Socket Socket::dialled(const std::string& name) {
  Socket made(opened());
  const auto [address, size] = address_of(name);
  if (connect(made.file_, reinterpret_cast<const sockaddr*>(&address), size)) throw why();
  return made;
}

Socket Socket::accepted() const {
  const int file = accept4(file_, nullptr, nullptr, SOCK_CLOEXEC);
  if (file < 0) throw why();
  return Socket(file);
}

void Socket::wait_at_most(int seconds) const {
  const timeval patience{seconds, 0};
  for (int way : {SO_RCVTIMEO, SO_SNDTIMEO}) setsockopt(file_, SOL_SOCKET, way, &patience, sizeof patience);
}

void Socket::send(const void* bytes, size_t size) const {
  const char* from = static_cast<const char*>(bytes);
  while (size) {
    const ssize_t sent = ::send(file_, from, size, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) throw why();
    from += sent, size -= sent;
  }
}

void Socket::receive(void* bytes, size_t size) const {
  char* to = static_cast<char*>(bytes);
  while (size) {
    const ssize_t got = recv(file_, to, size, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw why();
    if (!got) throw PeerLost{HCCL_E_NOT_FOUND};
    to += got, size -= got;
  }
}

}  // namespace npusim
