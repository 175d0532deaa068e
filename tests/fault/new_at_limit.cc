// SPDX-License-Identifier: MIT
//
// C++ at the limit of RLIMIT_AS: new throws bad_alloc, for which the exception
// itself needs memory, the handler of new is asked first, and all goes on.

#include "check.h"

#include <memory>
#include <new>
#include <string>
#include <sys/resource.h>
#include <thread>
#include <vector>

namespace
{

constexpr rlim_t room = 96 << 20;

void
limit_here()
{
    unsigned long pages = 0;
    rlimit limit{};
    FILE *f = fopen("/proc/self/statm", "r");
    if (f == nullptr || fscanf(f, "%lu", &pages) != 1)
        abort();
    fclose(f);
    getrlimit(RLIMIT_AS, &limit);
    limit.rlim_cur = pages * 4096 + room;
    if (setrlimit(RLIMIT_AS, &limit) != 0)
        abort();
}

struct Link {
    std::unique_ptr<Link> next;
    char bytes[1000];
};

// Links until bad_alloc; how many there are.
size_t
fill(std::unique_ptr<Link> &first)
{
    size_t count = 0;
    try {
        for (;; count++) {
            auto link = std::make_unique<Link>();
            link->next = std::move(first);
            first = std::move(link);
        }
    } catch (const std::bad_alloc &) {
        return count;
    }
}

void
drop(std::unique_ptr<Link> &first)
{
    while (first) // not by recursion
        first = std::move(first->next);
}

void
throws_and_goes_on()
{
    std::unique_ptr<Link> first;
    limit_here();
    size_t count = fill(first);
    CHECK(count > room / sizeof(Link) / 4);
    for (int i = 0; i < 5; i++) {
        CHECK(fill(first) < 100);
        CHECK(::operator new(room, std::nothrow) == nullptr);
        CHECK(::operator new[](room, std::align_val_t(4096), std::nothrow) == nullptr);
    }
    for (int i = 0; i < 3; i++) {
        drop(first);
        size_t again = fill(first);
        CHECK(again >= count / 100 * 95);
    }
    drop(first);
}

// Every form throws; a container that could not grow is as it was.
void
every_form()
{
    std::unique_ptr<Link> first;
    std::vector<int> numbers(1000, 7);
    std::string text(1000, 'x');
    int caught = 0;
    limit_here();
    fill(first);
    auto refused = [&caught](auto &&act) {
        try {
            act();
        } catch (const std::bad_alloc &) {
            caught++;
        }
    };
    refused([] { opaque(::operator new(room)); });
    refused([] { opaque(::operator new[](room)); });
    refused([] { opaque(::operator new(room, std::align_val_t(64))); });
    refused([&numbers] { numbers.resize(room); });
    refused([&text] { text.append(room, 'y'); });
    CHECK(caught == 5);
    CHECK(numbers.size() == 1000 && numbers[999] == 7);
    CHECK(text.size() == 1000 && text.find_first_not_of('x') == std::string::npos);
    drop(first);
    numbers.resize(1 << 20);
    CHECK(numbers[999] == 7);
}

std::unique_ptr<Link> reserve;
int calls;

// What the handler frees serves the allocation that called it.
void
handler()
{
    calls++;
    if (!reserve)
        throw std::bad_alloc();
    drop(reserve);
}

void
new_handler()
{
    limit_here();
    fill(reserve);
    std::set_new_handler(handler);
    calls = 0;
    char *p = new char[room / 4];
    CHECK(calls == 1);
    p[0] = p[room / 4 - 1] = 1;
    delete[] p;
    bool caught = false;
    try {
        opaque(::operator new(room * 4));
    } catch (const std::bad_alloc &) {
        caught = true;
    }
    CHECK(caught && calls == 2);
    std::set_new_handler(nullptr);
}

void
in_threads()
{
    std::vector<std::thread> threads;
    std::atomic<bool> limited{false};
    for (int i = 0; i < 4; i++)
        threads.emplace_back([&limited] {
            while (!limited)
                std::this_thread::yield();
            for (int round = 0; round < 5; round++) {
                std::unique_ptr<Link> first;
                fill(first);
                drop(first);
            }
        });
    limit_here();
    limited = true;
    for (auto &thread : threads)
        thread.join();
    std::unique_ptr<Link> first;
    CHECK(fill(first) > room / sizeof(Link) / 4);
    drop(first);
}

const section sections[] = {
    {"throws_and_goes_on", throws_and_goes_on},
    {"every_form", every_form},
    {"new_handler", new_handler},
    {"in_threads", in_threads},
};

} // namespace

int
main(int argc, char **argv)
{
    return check_main(argc, argv, sections, sizeof(sections) / sizeof(sections[0]));
}
