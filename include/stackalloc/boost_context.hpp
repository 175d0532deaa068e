/* SPDX-License-Identifier: MIT */
/*
 * boost_context.hpp - stacks of libstackalloc for Boost.Context and what builds
 * on it (Boost.Coroutine2, Boost.Fiber): a StackAllocator.  Header only; the
 * program links libstackalloc and Boost.
 *
 *     boost::context::fiber f(std::allocator_arg, stackalloc::stack_allocator(65536), fn);
 *
 * Stacks are guarded, faulted in and reused whole; their tops are coloured
 * (stack_top()).  Copies of an allocator are alike, and all are MT-safe.
 */
#ifndef STACKALLOC_BOOST_CONTEXT_HPP
#define STACKALLOC_BOOST_CONTEXT_HPP

#include <stackalloc.h>

#include <boost/context/stack_context.hpp>
#include <cstddef>
#include <new>
#include <stdexcept>

namespace stackalloc {

class stack_allocator {
  public:
    static constexpr std::size_t minimum_size = 32 * 1024;
    static constexpr std::size_t maximum_size = 2 * 1024 * 1024;

    /* Stacks of the smallest size that holds so many bytes; std::length_error where none does. */
    explicit stack_allocator(std::size_t bytes = 128 * 1024) : size_(minimum_size)
    {
        if (bytes > maximum_size)
            throw std::length_error("stackalloc::stack_allocator: more than 2 MiB");
        while (size_ < bytes)
            size_ *= 2;
    }

    /* Throws std::bad_alloc. */
    boost::context::stack_context
    allocate()
    {
        void *base = stack_alloc(size_);
        if (base == nullptr)
            throw std::bad_alloc();
        boost::context::stack_context context;
        context.sp = stack_top(base, size_);
        context.size =
            static_cast<std::size_t>(static_cast<char *>(context.sp) - static_cast<char *>(base));
        return context;
    }

    void
    deallocate(boost::context::stack_context &context) noexcept
    {
        stack_free(static_cast<char *>(context.sp) - context.size, size_);
    }

  private:
    std::size_t size_;
};

} // namespace stackalloc

#endif
