/* SPDX-License-Identifier: MIT */
/*
 * fiber_boost.cc - fibers of Boost.Context on stacks of the library: a
 * thousand, each on a stack that the one before left.
 */
#include <boost/context/fiber.hpp>
#include <iostream>
#include <stackalloc/boost_context.hpp>

namespace context = boost::context;

int
main()
{
    long sum = 0;
    for (int i = 0; i < 1000; i++) {
        context::fiber fiber(std::allocator_arg, stackalloc::stack_allocator(64 * 1024),
                             [&sum, i](context::fiber &&caller) {
                                 sum += i;
                                 caller = std::move(caller).resume();
                                 sum += i;
                                 return std::move(caller);
                             });
        fiber = std::move(fiber).resume();
        std::move(fiber).resume();
    }
    struct stack_stats stats;
    stack_stats(&stats, sizeof(stats));
    std::cout << "sum " << sum << ", stacks built: " << stats.stats_constructions << "\n";
    return stats.stats_used_bytes != 0;
}
