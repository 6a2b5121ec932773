/* A histogram of durations: log-linear, 64 steps per power of two, hence within 1.6 % everywhere.
 * Values above 2^43 ns (2.4 hours) are counted in the last cell. */
#ifndef BENCH_HIST_H
#define BENCH_HIST_H

#include <stdint.h>
#include <stdio.h>

#define HIST_CELLS (64 * 38)

struct hist {
    uint64_t total, max;
    uint64_t cells[HIST_CELLS];
};

static inline unsigned hist_cell(uint64_t value)
{
    if (value < 64)
        return (unsigned)value;
    unsigned shift = 57u - (unsigned)__builtin_clzll(value); /* keeps the top 7 bits */
    unsigned cell = shift * 64 + (unsigned)(value >> shift); /* the top bit adds the next 64 */
    return cell < HIST_CELLS ? cell : HIST_CELLS - 1;
}

static inline uint64_t hist_value(unsigned cell) /* the middle of the cell */
{
    if (cell < 128)
        return cell;
    unsigned shift = cell / 64 - 1;
    return (((uint64_t)(cell % 64) + 64) << shift) + (1ull << (shift - 1));
}

static inline void hist_add(struct hist *hist, uint64_t value)
{
    hist->total++;
    if (value > hist->max)
        hist->max = value;
    hist->cells[hist_cell(value)]++;
}

static inline double hist_quantile_us(const struct hist *hist, double share)
{
    uint64_t want = (uint64_t)((double)hist->total * share), seen = 0;
    for (unsigned cell = 0; cell < HIST_CELLS; cell++) {
        seen += hist->cells[cell];
        if (seen > want)
            return (double)(hist_value(cell) < hist->max ? hist_value(cell) : hist->max) / 1e3;
    }
    return (double)hist->max / 1e3;
}

static inline void hist_print(const char *name, const struct hist *hist)
{
    printf("\"%s\":{\"count\":%llu,\"p50\":%.1f,\"p90\":%.1f,\"p99\":%.1f,\"p999\":%.1f,"
           "\"max\":%.1f}",
           name, (unsigned long long)hist->total, hist_quantile_us(hist, .5),
           hist_quantile_us(hist, .9), hist_quantile_us(hist, .99), hist_quantile_us(hist, .999),
           (double)hist->max / 1e3);
}

#endif
