// Sockets between the processes of one machine, that wait only so long. Whoever dies closes its own.
#pragma once
#include <cstddef>
#include <string>

namespace npusim {

// What a peer did to us; `code` is libhccl's for it.
struct PeerLost { int code; };

class Socket {
 public:
  Socket() = default;
  explicit Socket(int file) : file_(file) {}
  Socket(Socket&& other) noexcept : file_(other.file_) { other.file_ = -1; }
  Socket& operator=(Socket&& other) noexcept;
  ~Socket();

  // Bound to a name that no other socket of this machine has; it ends with the socket.
  static Socket listening(const std::string& name);
  // To the socket that listens under this name. Throws PeerLost where none does.
  static Socket dialled(const std::string& name);
  Socket accepted() const;

  void wait_at_most(int seconds) const;
  void send(const void* bytes, size_t size) const;  // all of them; throws PeerLost
  void receive(void* bytes, size_t size) const;     // as many; throws PeerLost

 private:
  int file_ = -1;
};

}  // namespace npusim
