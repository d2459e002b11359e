module Arithmetic
  def self.add(a, b) = a + b
end
