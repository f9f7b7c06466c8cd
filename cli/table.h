// A table for a terminal: a head, rows, columns as wide as their widest cell.
#pragma once

#include <string>
#include <vector>

namespace commonhold::cli {

class Table {
 public:
  explicit Table(std::vector<std::string> head) : rows_{std::move(head)} {}
  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  bool empty() const { return rows_.size() == 1; }
  // Columns in `right` are aligned to the right (numbers).
  void print(const std::vector<std::size_t>& right = {}) const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace commonhold::cli
