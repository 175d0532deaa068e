// SPDX-License-Identifier: MIT
//
// C++ on top of malloc: every form of new and delete, sized and aligned,
// exceptions (which allocate), containers and thread_local destructors.

#include "check.h"

#include <map>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace
{

struct Small {
    int value[5];
};

struct alignas(256) Wide {
    char bytes[700];
};

// The compiler may leave out new expressions, but not calls of the operators.
void
plain()
{
    for (size_t n = 0; n < 300000; n = n * 3 / 2 + 1) {
        void *p = ::operator new(n);
        void *q = ::operator new[](n);
        NEED(p != nullptr && q != nullptr && p != q);
        memset(p, 1, n);
        memset(q, 2, n);
        ::operator delete(p);
        ::operator delete[](q);
    }
}

void
sized()
{
    for (size_t n = 0; n < 300000; n = n * 3 / 2 + 1) {
        void *p = ::operator new(n);
        void *q = ::operator new[](n);
        memset(p, 1, n);
        memset(q, 2, n);
        ::operator delete(p, n);
        ::operator delete[](q, n);
    }
}

void
aligned()
{
    for (size_t align = 16; align <= 65536; align *= 2) {
        for (size_t n = 1; n < 200000; n *= 3) {
            auto a = static_cast<std::align_val_t>(align);
            void *p = ::operator new(n, a);
            void *q = ::operator new[](n, a);
            CHECK((reinterpret_cast<uintptr_t>(p) & (align - 1)) == 0);
            CHECK((reinterpret_cast<uintptr_t>(q) & (align - 1)) == 0);
            memset(p, 1, n);
            memset(q, 2, n);
            ::operator delete(p, a);
            ::operator delete[](q, n, a);
        }
    }
}

void
expressions()
{
    for (int i = 0; i < 100; i++) {
        std::unique_ptr<Small> s(new Small());
        std::unique_ptr<Wide> w(new Wide());
        std::unique_ptr<Wide[]> many(new Wide[3]);
        CHECK((reinterpret_cast<uintptr_t>(w.get()) & 255) == 0);
        CHECK((reinterpret_cast<uintptr_t>(&many[2]) & 255) == 0);
        CHECK(s->value[4] == 0);
    }
}

void
out_of_memory()
{
    size_t too_much = opaque_size(static_cast<size_t>(1) << 62);
    bool thrown = false;
    try {
        ::operator delete(::operator new(too_much));
    } catch (const std::bad_alloc &) {
        thrown = true;
    }
    CHECK(thrown);
    CHECK(::operator new(too_much, std::nothrow) == nullptr);
    CHECK(::operator new(too_much, std::align_val_t(64), std::nothrow) == nullptr);
}

void
exceptions()
{
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; t++) {
        threads.emplace_back([] {
            for (int i = 0; i < 2000; i++) {
                try {
                    throw std::runtime_error(std::string(100, 'x') + std::to_string(i));
                } catch (const std::exception &e) {
                    CHECK(std::string(e.what()).substr(100) == std::to_string(i));
                }
            }
        });
    }
    for (auto &t : threads)
        t.join();
}

void
containers()
{
    std::map<std::string, std::vector<int>> all;
    for (int i = 0; i < 20000; i++)
        all["key" + std::to_string(i * 7919 % 5000)].push_back(i);
    size_t total = 0;
    for (auto &entry : all)
        total += entry.second.size();
    CHECK(all.size() == 5000 && total == 20000);
}

// Destroyed when its thread ends, when it frees and allocates once more.
struct Keeper {
    std::string text = std::string(1000, 'k');
    ~Keeper()
    {
        text += std::string(5000, 'l');
        CHECK(text.size() == 6000);
    }
};
thread_local Keeper keeper;

void
thread_local_destructors()
{
    for (int i = 0; i < 200; i++)
        std::thread([] { CHECK(keeper.text.size() == 1000); }).join();
}

const section sections[] = {
    {"plain", plain},
    {"sized", sized},
    {"aligned", aligned},
    {"expressions", expressions},
    {"out_of_memory", out_of_memory},
    {"exceptions", exceptions},
    {"containers", containers},
    {"thread_local_destructors", thread_local_destructors},
};

} // namespace

int
main(int argc, char **argv)
{
    return check_main(argc, argv, sections, sizeof(sections) / sizeof(sections[0]));
}
