// Streams, and work that is recorded on one instead of being done (CANN's aclmdlRI). Knows no tensor.
//
// What CANN forbids while a thread records is an error and spoils the recording: waits for a stream,
// and copies that are the host's to do. Fork and join over several streams is not simulated.
#pragma once
#include <functional>
#include <vector>

#include "context.h"

namespace npusim {

enum RecordingCode {
  kNotSupported = 207000,
  kDependency = 107024,
  kStreamRecords = 107027,
  kEventRecorded = 107028,
  kNoRecording = 107029,
  kUnsafe = 107030,
  kWrongThread = 107038,
  kSpoiled = 507903,
  kTaskFailed = 507015,
};

using Task = std::function<int()>;  // gives a Code

struct Recording {
  int mode = 0;
  int thread = 0;
  bool spoiled = false;
  std::vector<Task> tasks;
};

struct Stream {
  int number = 0;
  Recording* recording = nullptr;
};

Recording* recording_on(void* stream);            // null where work is done at once
int spoil(Recording* it, int code, const char* call);  // the recording cannot be used; returns `code`
int note(void* stream, Task task);                // a Code: done now, or recorded for later
int may_wait(void* stream, const char* call);     // a Code: whether the host may wait for the stream
int may_wait_for_all(const char* call);           // for every stream of the calling thread
int safe(const char* call);                       // a Code: whether what is unsafe while recording may go on
bool alive(const void* pointer);                  // in a card's memory that was not given back
bool pinned(const void* pointer);                 // in memory of the host's that does not move

}  // namespace npusim
