/* The inner loops that gain from wide registers. `_kernels.h` includes this file once for each instruction set, with
 *
 *   LOOP(name)  the name with the instruction set's ending
 *   WIDTH       bytes of a register: 16, 32 or 64; 8 where the compiler has no vectors, and a "vector" is one number
 *
 * The vectors are the compilers' own (GCC and Clang: "vector extensions"): operators work on all lanes at once, a
 * comparison gives -1 in the lanes where it holds. Whatever the width, each lane does the same operations in the same
 * order, so that the answers do not depend on the instruction set (but for the last bits of a sum).
 */

#define WIDE (WIDTH / 8) /* numbers of 8 bytes in a register */

#if WIDTH > 8
typedef double LOOP(f64s) __attribute__((vector_size(WIDTH), aligned(8)));
typedef int64_t LOOP(i64s) __attribute__((vector_size(WIDTH), aligned(8)));
typedef uint64_t LOOP(u64s) __attribute__((vector_size(WIDTH), aligned(8)));
#define LANE(vector, lane) (vector)[lane]
#define MASK(condition) ((I64S)(condition))
#else
typedef double LOOP(f64s);
typedef int64_t LOOP(i64s);
typedef uint64_t LOOP(u64s);
#define LANE(vector, lane) (vector)
#define MASK(condition) (-(int64_t)(condition))
#endif
/* Products of numbers below 2^32 in the lanes: one instruction, where any 64 bits take three or more. */
#if WIDTH == 32
#define SMALL_PRODUCT(a, b) ((U64S)_mm256_mul_epu32((__m256i)(a), (__m256i)(b)))
#elif WIDTH == 64
#define SMALL_PRODUCT(a, b) ((U64S)_mm512_mul_epu32((__m512i)(a), (__m512i)(b)))
#endif
#define F64S LOOP(f64s)
#define I64S LOOP(i64s)
#define U64S LOOP(u64s)

/* Dot product: 32 sums side by side, since one sum alone waits for each addition before it can start the next. */
#define SUMS (32 / WIDE)

static double LOOP(dot)(const double *a, const double *b, int64_t n)
{
    F64S sum[SUMS];
    double total = 0.0;
    int64_t i = 0;
    int v, lane;
    /* up to where a register's worth does not straddle two cache lines; both are usually off by the same */
    for (; i < n && ((uintptr_t)(a + i) & 63); i++)
        total += a[i] * b[i];
    for (v = 0; v < SUMS; v++)
        sum[v] = (F64S){0};
    for (; i + 32 <= n; i += 32) {
        UNROLLED
        for (v = 0; v < SUMS; v++)
            sum[v] += *(const F64S *)(a + i + v * WIDE) * *(const F64S *)(b + i + v * WIDE);
    }
    for (; i < n; i++)
        total += a[i] * b[i];
    for (v = 0; v < SUMS; v++)
        for (lane = 0; lane < WIDE; lane++)
            total += LANE(sum[v], lane);
    return total;
}

#undef SUMS

/* Mandelbrot set: a bunch of neighbours is iterated until the last of them has escaped. Those that have already are
 * iterated along, to infinity, and no longer counted: that is cheaper than to look after each. */
#define BUNCH 4 /* registers at a time: one alone waits for its own multiplications */
#define BETWEEN_LOOKS 8

static int64_t LOOP(mandelbrot)(
    int32_t *out, int64_t rows, int64_t width, int64_t first_row, int64_t height, int32_t limit)
{
    int64_t row, column, k, total = 0;
    int v, lane;
    for (row = 0; row < rows; row++) {
        const double c_imag = -1.25 + 2.5 * ((double)(first_row + row) + 0.5) / (double)height;
        for (column = 0; column < width; column += BUNCH * WIDE) {
            F64S c_real[BUNCH], z_real[BUNCH], z_imag[BUNCH];
            I64S inside[BUNCH], steps[BUNCH];
            int32_t step = 0, until;
            for (v = 0; v < BUNCH; v++) {
                for (lane = 0; lane < WIDE; lane++)
                    LANE(c_real[v], lane) =
                        -2.0 + 2.5 * ((double)(column + v * WIDE + lane) + 0.5) / (double)width;
                z_real[v] = z_imag[v] = (F64S){0};
                steps[v] = (I64S){0};
                inside[v] = ~steps[v];
            }
            while (step < limit) {
                I64S any = (I64S){0};
                int64_t some = 0;
                until = limit - step < BETWEEN_LOOKS ? limit : step + BETWEEN_LOOKS;
                for (; step < until; step++) {
                    UNROLLED
                    for (v = 0; v < BUNCH; v++) {
                        F64S real_squared = z_real[v] * z_real[v];
                        F64S imag_squared = z_imag[v] * z_imag[v];
                        inside[v] &= MASK(real_squared + imag_squared <= 4.0);
                        steps[v] -= inside[v];
                        z_imag[v] = 2.0 * z_real[v] * z_imag[v] + c_imag;
                        z_real[v] = real_squared - imag_squared + c_real[v];
                    }
                }
                for (v = 0; v < BUNCH; v++)
                    any |= inside[v];
                for (lane = 0; lane < WIDE; lane++)
                    some |= LANE(any, lane);
                if (!some)
                    break;
            }
            for (k = 0; k < BUNCH * WIDE && column + k < width; k++) {
                const int32_t found = (int32_t)LANE(steps[k / WIDE], k % WIDE);
                out[row * width + column + k] = found;
                total += found;
            }
        }
    }
    return total;
}

#undef BUNCH
#undef BETWEEN_LOOKS

/* One row of the blurred image, from the five rows around it; returns the sum of its pixels. The filter is separable:
 * `down`, which holds 4 pixels more than a row, takes the sums down the columns, then they are summed across. */
static double LOOP(blur)(
    const float *a, const float *b, const float *c, const float *d, const float *e, float *restrict down,
    float *restrict target, int64_t width)
{
    const float four = 4.0f, six = 6.0f, share = 1.0f / 256.0f;
    double sum[16] = {0};
    double total = 0.0;
    int64_t x;
    int lane;
    for (x = 0; x < width; x++)
        down[x + 2] = a[x] + four * b[x] + six * c[x] + four * d[x] + e[x];
    down[0] = down[1] = down[2];
    down[width + 3] = down[width + 2] = down[width + 1];
    for (x = 0; x < width; x++)
        target[x] = share * (down[x] + four * down[x + 1] + six * down[x + 2] + four * down[x + 3] + down[x + 4]);
    for (x = 0; x + 16 <= width; x += 16)
        for (lane = 0; lane < 16; lane++)
            sum[lane] += target[x + lane];
    for (; x < width; x++)
        total += target[x];
    for (lane = 0; lane < 16; lane++)
        total += sum[lane];
    return total;
}

/* Points inside the quarter circle, from SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number
 * generators, OOPSLA 2014). Its last step, z ^ z >> 31, is folded into taking x and y out of it. */
static int64_t LOOP(pi)(uint64_t start, uint64_t stop, uint64_t seed)
{
    const uint64_t golden = 0x9E3779B97F4A7C15u, coordinate = 0x7FFFFFFF;
    uint64_t i = start;
    int64_t outside = 0;
#if WIDTH > 16 /* two lanes are slower than one: without AVX no product of 64 bits is done in one go */
    U64S key, sum = (U64S){0};
    int lane;
    for (lane = 0; lane < WIDE; lane++)
        LANE(key, lane) = seed + (start + lane + 1) * golden;
    for (; i + WIDE <= stop; i += WIDE) {
        U64S z = key, x, y;
        key += golden * WIDE;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
        x = z >> 33;
        y = ((z >> 2) ^ x) & coordinate;
        sum += (SMALL_PRODUCT(x, x) + SMALL_PRODUCT(y, y)) >> 62;
    }
    for (lane = 0; lane < WIDE; lane++)
        outside += (int64_t)LANE(sum, lane);
#endif
    for (; i < stop; i++) {
        uint64_t z = seed + (i + 1) * golden, x, y;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
        x = z >> 33;
        y = ((z >> 2) ^ x) & coordinate;
        outside += (int64_t)((x * x + y * y) >> 62);
    }
    return (int64_t)(stop - start) - outside;
}

/* How many bits are set in n bytes. */
static int64_t LOOP(count_bits)(const uint8_t *bytes, int64_t n)
{
    int64_t i, total = 0;
    for (i = 0; i + 8 <= n; i += 8) {
        uint64_t word;
        memcpy(&word, bytes + i, 8);
        total += gilcmp_popcount(word);
    }
    for (; i < n; i++)
        total += gilcmp_popcount(bytes[i]);
    return total;
}

static const struct gilcmp_loops LOOP(loops) = {
    LOOP(dot), LOOP(mandelbrot), LOOP(blur), LOOP(pi), LOOP(count_bits),
};

#undef WIDE
#undef SMALL_PRODUCT
#undef LANE
#undef MASK
#undef F64S
#undef I64S
#undef U64S
#undef LOOP
#undef WIDTH
