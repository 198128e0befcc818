/*
 * How fast a machine reads memory: bandwidth MEBIBYTES THREADS PASSES
 *
 * Each thread sums the 64-bit words of its own part of one large buffer, all at a time; a pass
 * lasts from the first start to the last end, and the fastest pass counts. Writes
 * "bytes_per_s FIGURE". The same method as bandwidth.py, for machines without Python: linked
 * statically it needs nothing but a Linux kernel.
 */
#define _POSIX_C_SOURCE 200809L

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define THREADS_MAX 256
#define PASSES_MAX 64

typedef struct {
    uint64_t *words;
    size_t count;
    uint64_t sum;
    double start_s[PASSES_MAX];
    double end_s[PASSES_MAX];
} te_part;

static te_part parts[THREADS_MAX];
static pthread_barrier_t barrier;
static long passes;

static double now_s(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static uint64_t sum_of(const uint64_t *words, size_t count)
{
    uint64_t sum[8] = {0, 0, 0, 0, 0, 0, 0, 0};
    for (size_t i = 0; i + 8 <= count; i += 8) {
        for (size_t j = 0; j < 8; j++) {
            sum[j] += words[i + j];
        }
    }
    return sum[0] + sum[1] + sum[2] + sum[3] + sum[4] + sum[5] + sum[6] + sum[7];
}

static void *read_part(void *argument)
{
    te_part *part = argument;
    for (size_t i = 0; i < part->count; i++) {
        part->words[i] = i; /* its pages are there before the first pass */
    }
    for (long pass = 0; pass < passes; pass++) {
        (void)pthread_barrier_wait(&barrier);
        part->start_s[pass] = now_s();
        part->sum += sum_of(part->words, part->count);
        part->end_s[pass] = now_s();
    }
    return NULL;
}

static double fastest_s(long threads)
{
    double fastest = 1e9;
    for (long pass = 0; pass < passes; pass++) {
        double start = parts[0].start_s[pass];
        double end = parts[0].end_s[pass];
        for (long at = 1; at < threads; at++) {
            start = parts[at].start_s[pass] < start ? parts[at].start_s[pass] : start;
            end = parts[at].end_s[pass] > end ? parts[at].end_s[pass] : end;
        }
        fastest = end - start < fastest ? end - start : fastest;
    }
    return fastest;
}

static long number(const char *text, long most)
{
    char *end = NULL;
    errno = 0;
    const long value = strtol(text, &end, 10);
    return errno != 0 || *end != '\0' || value < 1 || value > most ? 0 : value;
}

static int failed(const char *what)
{
    (void)fprintf(stderr, "%s\n", what);
    return 1;
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        return failed("usage: bandwidth MEBIBYTES THREADS PASSES");
    }
    const long mebibytes = number(argv[1], 1 << 20);
    const long threads = number(argv[2], THREADS_MAX);
    passes = number(argv[3], PASSES_MAX);
    if (mebibytes == 0 || threads == 0 || passes == 0) {
        return failed("a number is out of range");
    }
    const size_t count = (size_t)mebibytes * (1024 * 1024 / 8) / (size_t)threads;
    pthread_t ids[THREADS_MAX];
    if (pthread_barrier_init(&barrier, NULL, (unsigned)threads) != 0) {
        return failed("no barrier");
    }
    for (long at = 0; at < threads; at++) {
        parts[at].count = count;
        parts[at].words = malloc(count * sizeof(uint64_t));
        if (parts[at].words == NULL) {
            return failed("out of memory");
        }
    }
    for (long at = 0; at < threads; at++) {
        if (pthread_create(&ids[at], NULL, read_part, &parts[at]) != 0) {
            return failed("no thread");
        }
    }
    uint64_t sum = 0;
    for (long at = 0; at < threads; at++) {
        (void)pthread_join(ids[at], NULL);
        sum += parts[at].sum;
    }
    const double bytes = (double)count * (double)sizeof(uint64_t) * (double)threads;
    /* the sum keeps a compiler from leaving the reading out */
    (void)printf("bytes_per_s %.6g\n", sum == 1 ? 0.0 : bytes / fastest_s(threads));
    return 0;
}
