/* SPDX-License-Identifier: MIT */
/*
 * stacks_boost.cc - a stack taken and given back, by Boost.Context's allocators.
 * benchlib/stacks.py compiles it where Boost is installed.
 *
 *   stacks_boost pooled|protected BYTES MS
 */
#include <boost/context/pooled_fixedsize_stack.hpp>
#include <boost/context/protected_fixedsize_stack.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>

template <class Allocator>
static double
pairs(Allocator allocator, long ms)
{
    using clock = std::chrono::steady_clock;
    long count = 0;
    auto start = clock::now(), now = start;
    while (now - start < std::chrono::milliseconds(ms)) {
        for (int i = 0; i < 64; i++) {
            auto context = allocator.allocate();
            allocator.deallocate(context);
        }
        count += 64;
        now = clock::now();
    }
    return std::chrono::duration<double, std::nano>(now - start).count() / count;
}

int
main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    std::size_t size = std::strtoul(argv[2], nullptr, 10);
    long ms = std::atol(argv[3]);
    if (std::strcmp(argv[1], "pooled") == 0)
        std::printf("ns %.2f\n", pairs(boost::context::pooled_fixedsize_stack(size), ms));
    else
        std::printf("ns %.2f\n", pairs(boost::context::protected_fixedsize_stack(size), ms));
}
