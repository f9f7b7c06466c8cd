// A processor for a program that runs its processes by turns.
#pragma once

namespace commonhold::test {

// This process and those that it forks from now on stay on one processor, which no other program that called this has:
// to wake a process on another one takes longer than most steps that tests take. Where all are taken nothing happens.
void stay_on_one_processor();

}  // namespace commonhold::test
