// What this process and its children write to a descriptor while something runs.
#pragma once

#include <unistd.h>

#include <cstdio>
#include <iostream>
#include <string>

namespace commonhold::test {

template <typename Body>
std::string output_of(int descriptor, Body&& body) {
  std::cout.flush();
  std::fflush(nullptr);
  std::FILE* file = std::tmpfile();
  const int saved = dup(descriptor);
  dup2(fileno(file), descriptor);
  body();
  std::cout.flush();
  std::fflush(nullptr);
  dup2(saved, descriptor);
  close(saved);
  std::string text;
  std::rewind(file);
  for (int c; (c = std::fgetc(file)) != EOF;) text += static_cast<char>(c);
  std::fclose(file);
  return text;
}

}  // namespace commonhold::test
