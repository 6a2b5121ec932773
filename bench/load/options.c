#define _GNU_SOURCE
#include "generator.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

struct options options = {
    .mode = MODE_STREAMS, .conns = 64, .events = 200, .seconds = 5, .warmup = 1, .ramp = .5,
    .stall = 5,
};

static const char USAGE[] =
    "usage: generator --target ADDRESS [--mode streams|requests|connects|idle] [--conns 64]\n"
    "  [--seconds 5] [--warmup 1] [--ramp 0.5] [--events 200] [--body BYTES] [--rate PER_SECOND]\n"
    "  [--lives N] [--usage 1] [--hold 1] [--stall 5] [--cpu-of PID,PID]\n"
    "  [--tls 1]\n"
    "Prints `open` and `closed` at the ends of the window, then the report as one line of JSON.\n"
    "--even 1: no shorter first exchanges, for proxies that do not pass x-events on.\n"
    "--leave N: callers hang up after N events of an exchange and come back on a new conn.\n"
    "--hold 1: the load goes on after the window until standard input ends.\n"
    "--lives N: no window; N exchanges per conn, at most --seconds.";

static double seconds_option(const char *text)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || !(value >= 0) || value > 86400)
        die("not a number of seconds: %s", text);
    return value;
}

static enum mode mode_option(const char *text)
{
    static const char *const names[] = {"streams", "requests", "connects", "idle"};
    for (unsigned mode = 0; mode < sizeof names / sizeof *names; mode++)
        if (!strcmp(text, names[mode]))
            return (enum mode)mode;
    die("unknown mode: %s", text);
}

static void pids_option(char *text)
{
    for (char *one = strtok(text, ","); one; one = strtok(NULL, ",")) {
        if (options.n_pids == PIDS_MAX)
            die("too many processes");
        options.pids[options.n_pids++] = (int)number_option(one);
    }
}

/* False: there is no such option. */
static int take_option(const char *name, char *value)
{
    if (!strcmp(name, "--target"))
        options.target = parse_address(value);
    else if (!strcmp(name, "--mode"))
        options.mode = mode_option(value);
    else if (!strcmp(name, "--conns"))
        options.conns = (uint32_t)number_option(value);
    else if (!strcmp(name, "--seconds"))
        options.seconds = seconds_option(value);
    else if (!strcmp(name, "--warmup"))
        options.warmup = seconds_option(value);
    else if (!strcmp(name, "--ramp"))
        options.ramp = seconds_option(value);
    else if (!strcmp(name, "--stall"))
        options.stall = seconds_option(value);
    else if (!strcmp(name, "--events"))
        options.events = (uint32_t)number_option(value);
    else if (!strcmp(name, "--even"))
        options.even = (int)number_option(value);
    else if (!strcmp(name, "--leave"))
        options.leave = (uint32_t)number_option(value);
    else if (!strcmp(name, "--body"))
        options.body = (size_t)number_option(value);
    else if (!strcmp(name, "--rate"))
        options.rate = number_option(value);
    else if (!strcmp(name, "--lives"))
        options.lives = number_option(value);
    else if (!strcmp(name, "--usage"))
        options.usage = (int)number_option(value);
    else if (!strcmp(name, "--tls"))
        options.tls = (int)number_option(value);
    else if (!strcmp(name, "--hold"))
        options.hold = (int)number_option(value);
    else if (!strcmp(name, "--cpu-of"))
        pids_option(value);
    else
        return 0;
    return 1;
}

void read_options(int argc, char **argv)
{
    for (int i = 1; i < argc; i += 2)
        if (i + 1 == argc || !take_option(argv[i], argv[i + 1]))
            die("what is %s?\n%s", argv[i], USAGE);
    if (!options.target.len || !options.conns || !options.events)
        die("%s", USAGE);
}

/* The CPU clock of another process, as clock_getcpuclockid(3) makes it. It is utime + stime of
 * /proc/PID/stat with the threads that ended, in nanoseconds instead of 10 ms ticks. */
uint64_t cpu_of(int pid)
{
    struct timespec t;
    clockid_t clock;
    if (clock_getcpuclockid(pid, &clock) || clock_gettime(clock, &t))
        return 0;
    return (uint64_t)t.tv_sec * SECOND_NS + (uint64_t)t.tv_nsec;
}

void print_report(const struct counts *c, const struct window *w)
{
    printf("{\"seconds\":%.6f,\"events\":%llu,\"requests\":%llu,\"bytes_in\":%llu,"
           "\"bytes_out\":%llu,\"conns_made\":%llu,\"not_answered\":%llu,\"warmup_failures\":%llu,"
           "\"own_cpu_ns\":%llu",
           (double)(w->to_ns - w->from_ns) / 1e9, (unsigned long long)c->events,
           (unsigned long long)c->requests, (unsigned long long)c->bytes_in,
           (unsigned long long)c->bytes_out, (unsigned long long)c->conns_made,
           (unsigned long long)w->not_answered, (unsigned long long)w->warmup_failures,
           (unsigned long long)w->own_cpu_ns);
    printf(",\"cpu_ns\":{");
    for (int i = 0; i < options.n_pids; i++)
        printf("%s\"%d\":%llu", i ? "," : "", options.pids[i], (unsigned long long)w->cpu_ns[i]);
    uint64_t failed = 0;
    printf("},\"failures_by_kind\":{");
    for (int kind = 1; kind < FAIL_COUNT; kind++)
        if (c->failures[kind]) {
            printf("%s\"%s\":%llu", failed ? "," : "", FAILURE_NAMES[kind],
                   (unsigned long long)c->failures[kind]);
            failed += c->failures[kind];
        }
    printf("},\"failures\":%llu,", (unsigned long long)failed);
    hist_print("first_event_us", &c->first_event);
    putchar(',');
    hist_print("answer_us", &c->answer);
    putchar(',');
    hist_print("delay_us", &c->delay);
    putchar(',');
    hist_print("gap_us", &c->gap);
    printf("}\n");
}
