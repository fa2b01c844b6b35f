/* What the compiled kernels need from C itself. */
#ifndef GILCMP_KERNELS_H
#define GILCMP_KERNELS_H

#include <stdint.h>

#ifndef GILCMP_FLAGS
#define GILCMP_FLAGS "unknown"
#endif

#define GILCMP_TEXT_(x) #x
#define GILCMP_TEXT(x) GILCMP_TEXT_(x)
#if defined(__clang__)
#define GILCMP_COMPILER "Clang " __clang_version__
#elif defined(__GNUC__)
#define GILCMP_COMPILER "GCC " __VERSION__
#elif defined(_MSC_VER)
#define GILCMP_COMPILER "MSVC " GILCMP_TEXT(_MSC_VER)
#else
#define GILCMP_COMPILER "unknown"
#endif

/* The value must be in a register here and may have changed: without this, a compiler replaces the loops of
 * `count` and `range_sum` by their closed form, and there would be nothing left to measure. MSVC has no inline
 * assembly on 64 bits; a volatile access says the same at the price of a trip through the cache. */
static inline uint64_t gilcmp_opaque(uint64_t value)
{
#if defined(__GNUC__) || defined(__clang__)
    __asm__ volatile("" : "+r"(value));
    return value;
#else
    volatile uint64_t hidden = value;
    return hidden;
#endif
}

#endif
