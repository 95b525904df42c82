// How long a line of a cache takes from core 0 to core 1 and back, in nanoseconds: two threads take
// turns at writing one number. See docs/performance.md, "Cores that share no cache".
//
//     cc -O2 -pthread docs/cores.c -o cores && ./cores          (Linux)
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

enum { WARM = 1000, TURNS = 200000 };
static _Atomic long ball __attribute__((aligned(128)));

static void stay_on(int core) {
    cpu_set_t cores;
    CPU_ZERO(&cores);
    CPU_SET(core, &cores);
    pthread_setaffinity_np(pthread_self(), sizeof cores, &cores);
}

static void *returning(void *unused) {
    stay_on(1);
    for (long i = 0; i < TURNS; i++) {
        while (atomic_load(&ball) != 2 * i + 1) {}
        atomic_store(&ball, 2 * i + 2);
    }
    return unused;
}

int main(void) {
    struct timespec began, ended;
    pthread_t other;
    stay_on(0);
    pthread_create(&other, NULL, returning, NULL);
    for (long i = 0; i < TURNS; i++) {
        if (i == WARM) clock_gettime(CLOCK_MONOTONIC, &began);
        atomic_store(&ball, 2 * i + 1);
        while (atomic_load(&ball) != 2 * i + 2) {}
    }
    clock_gettime(CLOCK_MONOTONIC, &ended);
    pthread_join(other, NULL);
    double taken = (ended.tv_sec - began.tv_sec) * 1e9 + ended.tv_nsec - began.tv_nsec;
    printf("%.0f ns\n", taken / (TURNS - WARM));
}
