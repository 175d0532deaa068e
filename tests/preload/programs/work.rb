# SPDX-License-Identifier: MIT
# Ruby at work: a collector that moves objects, threads, forks, large numbers.
#   work.rb SCALE

scale = ARGV[0].to_i
lists = {}
(40_000 * scale).times { |i| (lists["k#{i * 7919 % 3000}"] ||= []) << "v" * (i % 200) }
puts lists.size, lists.values.flatten.sum(&:size)
GC.start
GC.compact if GC.respond_to?(:compact)
sums = Array.new(4) { |t| Thread.new { (1..10_000 * scale).sum { |i| (i * t).to_s.size } } }
p sums.map(&:value)
children = Array.new(4) do |n|
  IO.popen("-") { |child| child ? child.read : print((1..2000 * scale).map(&:to_s).join.size + n) }
end
p children
p (1..300 * scale).reduce(:*).to_s.size
p Marshal.load(Marshal.dump(lists)) == lists
GC.stress = true
p Array.new(100) { |i| "x#{i}" }.join.size
GC.stress = false
