/* SPDX-License-Identifier: MIT */
/*
 * thread_async.cc - std::async, std::thread, exceptions across both.
 */
#include <future>
#include <iostream>
#include <numeric>
#include <stdexcept>
#include <thread>
#include <vector>

static long
work(long n)
{
    if (n % 7 == 3)
        throw std::runtime_error("seven");
    std::vector<long> v(1000 + n);
    std::iota(v.begin(), v.end(), n);
    return std::accumulate(v.begin(), v.end(), 0L);
}

int
main()
{
    long sum = 0, thrown = 0;
    for (int round = 0; round < 20; round++) {
        std::vector<std::future<long>> all;
        for (long i = 0; i < 50; i++)
            all.push_back(std::async(std::launch::async, work, i));
        for (auto &one : all)
            try {
                sum += one.get();
            } catch (const std::runtime_error &) {
                thrown++;
            }
    }
    std::promise<int> last;
    auto future = last.get_future();
    std::thread([&] { last.set_value_at_thread_exit(1); }).detach();
    std::thread one([&] { sum += 1; });
    one.join();
    std::cout << sum << " " << thrown << " " << future.get() << "\n";
}
