/* What the compiled kernels need from C itself: the loops that are chosen at load time, and some builtins. */
#ifndef GILCMP_KERNELS_H
#define GILCMP_KERNELS_H

#include <stdint.h>
#include <string.h>

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

static inline int gilcmp_popcount(uint64_t word)
{
#if defined(__GNUC__) || defined(__clang__)
    return __builtin_popcountll(word);
#else
    int count = 0;
    for (; word; word &= word - 1)
        count++;
    return count;
#endif
}

/* ---- loops for each instruction set -----------------------------------------------------------------------------
 *
 * One wheel serves all CPUs of an architecture: these loops are compiled for each instruction set, and one is chosen
 * when the module is loaded. The attribute `target_clones` would do as much, but its choice cannot be pinned, and
 * machines are to be compared at the same level; nor does it exist outside glibc. */

struct gilcmp_loops {
    double (*dot)(const double *a, const double *b, int64_t n);
    int64_t (*mandelbrot)(
        int32_t *out, int64_t rows, int64_t width, int64_t first_row, int64_t height, int32_t limit);
    double (*blur)(
        const float *a, const float *b, const float *c, const float *d, const float *e, float *down, float *target,
        int64_t width);
    int64_t (*pi)(uint64_t start, uint64_t stop, uint64_t seed);
    int64_t (*count_bits)(const uint8_t *bytes, int64_t n);
};

#if defined(__GNUC__) && !defined(__clang__)
#define UNROLLED _Pragma("GCC unroll 16")
#else
#define UNROLLED
#endif

#define LOOP(name) gilcmp_baseline_##name
#if defined(__GNUC__) || defined(__clang__)
#define WIDTH 16
#else
#define WIDTH 8
#define restrict __restrict
#endif
#include "_kernels_loops.h"

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define GILCMP_X86 1
#include <immintrin.h>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,bmi,bmi2,popcnt"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,bmi,bmi2,popcnt")
#endif
#define LOOP(name) gilcmp_avx2_##name
#define WIDTH 32
#include "_kernels_loops.h"
#if defined(__clang__)
#pragma clang attribute pop
#pragma clang attribute push( \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,bmi,bmi2,popcnt"))), apply_to = function)
#else
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,bmi,bmi2,popcnt,prefer-vector-width=512")
#endif
#define LOOP(name) gilcmp_avx512_##name
#define WIDTH 64
#include "_kernels_loops.h"
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif /* x86-64 */

/* The one in use; every interpreter of the process shares it. */
static const struct gilcmp_loops *gilcmp_loops; /* NULL until an interpreter of this process has chosen */

/* Return the loops for an instruction set; NULL where this CPU lacks it, or this build has none for it. */
static const struct gilcmp_loops *gilcmp_loops_for(const char *isa)
{
    if (strcmp(isa, "baseline") == 0)
        return &gilcmp_baseline_loops;
#ifdef GILCMP_X86
    __builtin_cpu_init();
    if (strcmp(isa, "avx2") == 0 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2"))
        return &gilcmp_avx2_loops;
    if (strcmp(isa, "avx512") == 0 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("bmi2"))
        return &gilcmp_avx512_loops;
#endif
    return NULL;
}

static void gilcmp_use_loops(const struct gilcmp_loops *loops)
{
    gilcmp_loops = loops;
}

#endif
