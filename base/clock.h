/* Time for the workers: the CPU's cycle counter, and seconds made of it. Any thread after
 * clock_init(). Reading it is some 10 ns and no system call. */
#ifndef WEFT_BASE_CLOCK_H
#define WEFT_BASE_CLOCK_H

#include <stdint.h>

/* Control, once at start-up: measures the counter against CLOCK_MONOTONIC for a millisecond (an
 * error of 0.1 % is nothing to time-outs). */
void clock_init(void);

uint64_t clock_cycles(void);

/* Cycles per second. */
uint64_t clock_hz(void);

/* Seconds since some fixed moment, never going back: the time base of MAC ageing. */
uint32_t clock_seconds(void);

#endif
