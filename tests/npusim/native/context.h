// A thread's context, as CANN has it, and the ledger of who had one. Knows no tensor.
#pragma once
#include <string>

#include "state.h"

namespace npusim {

enum Code {
  kOk = 0,
  kRepeatedInit = 100002,
  kBadParameter = 107000,
  kBadDevice = 107001,
  kNoContext = 107002,
  kOutOfMemory = 207001,
};

State& state();
Thread& self();                // the calling thread's record
const char* cann_version();    // $NPUSIM_CANN
const char* soc();             // $NPUSIM_SOC
int visible_count();           // cards that $ASCEND_RT_VISIBLE_DEVICES leaves
int visible_card(int number);  // the card behind a visible one's number

void use_default_device();  // CANN >= 8.3 may give a thread without context the first visible card
int bind(int number);       // give the calling thread the context of a visible card; a Code
void unbind();              // take it away, and what is known of it being chosen
int bound_number();         // the visible number of the thread's card; -1: it has none
int need(const char* call);  // a Code: whether `call`, which needs a context, may go on
Card& current();             // the bound card; only after `need` was kOk
int current_index();

int fail(int code, const char* call);             // note CANN's words for it; returns `code`
int fail_saying(int code, const std::string& said);  // note these
const char* words();                   // of the thread's last error; read once
int last_error();                      // its code; read once

}  // namespace npusim
