/* Which of a worker's active queues are polled in a round.
 *
 * A quiet one always is, so that what comes on it waits for one burst, however many others are
 * busy. Of those that fill their bursts only one is, for several bursts in a row: the frames of its
 * ring then stay in the processor's cache from one use of a buffer to the next, which those of many
 * rings in turn would not.
 *
 * Nobody gets more than the others by that. In a lap each queue may bring the same number of
 * frames, in bursts of any length; one that has waits for the next lap, which begins when all that
 * were full have had theirs. A lap has the same length however many they are: that is how long a
 * full one waits.
 *
 * Pure; the worker's thread. */
#ifndef WEFT_VSWITCH_TURNS_H
#define WEFT_VSWITCH_TURNS_H

#include "base/frame.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bursts of all full queues together. Of two, each goes round a ring of 1,024 four times. */
#define TURNS_LAP 32u

/* A queue's. All zero at first. */
struct turn {
	bool full;	/* it brought as much as a burst takes when it was polled last */
	bool held;	/* it has been the holder in this lap */
	uint32_t lap;	/* the one it was looked at in last */
	int32_t credit; /* frames it may still bring in that; below 0: it had too many */
};

/* A worker's. */
struct turns {
	struct turn *holder; /* the full queue that is polled; NULL: whichever comes next */
	uint32_t lap;	     /* number of the current one */
	uint32_t holders;    /* queues that have been it in this lap */
	int32_t share;	     /* frames a queue may bring in this lap */
	bool polled;	     /* a full one, in this round */
	bool waiting;	     /* a full one was passed over in this round */
};

/* With other queues than before. */
static inline void turns_reset(struct turns *turns)
{
	*turns = (struct turns){ .lap = turns->lap + 1, .share = TURNS_LAP * BURST_FRAMES };
}

/* Whether the queue is to be polled now. */
static inline bool turns_may_poll(struct turns *turns, struct turn *turn)
{
	if (turn->lap != turns->lap) {
		turn->lap = turns->lap;
		turn->held = false;
		turn->credit = turns->share + (turn->credit < 0 ? turn->credit : 0);
	}
	if (turn->credit <= 0)
		return false;
	if (!turn->full || (turns->holder == NULL ? !turns->polled : turns->holder == turn))
		return true;
	turns->waiting = true;
	return false;
}

/* The queue was polled and has brought `frames`. */
static inline void turns_took(struct turns *turns, struct turn *turn, uint32_t frames)
{
	turn->credit -= (int32_t)frames;
	turn->full = frames >= BURST_FRAMES;
	turns->polled |= turn->full;
	if (turns->holder == NULL && turn->full) {
		turns->holder = turn;
		turns->holders += !turn->held;
		turn->held = true;
	}
	if (turns->holder == turn && (!turn->full || turn->credit <= 0))
		turns->holder = NULL;
}

/* The queue is not polled any more. */
static inline void turns_leave(struct turns *turns, struct turn *turn)
{
	turn->full = false;
	if (turns->holder == turn)
		turns->holder = NULL;
}

/* All queues have been polled or passed over. */
static inline void turns_end_round(struct turns *turns)
{
	if (turns->holder == NULL && !turns->waiting) {
		uint32_t bursts = turns->holders > 1 ? TURNS_LAP / turns->holders : TURNS_LAP;

		turns->share = (int32_t)((bursts > 0 ? bursts : 1) * BURST_FRAMES);
		turns->holders = 0;
		turns->lap++;
	}
	turns->polled = turns->waiting = false;
}

#endif
