/* Which of a worker's active queues are polled in a round.
 *
 * Those that fill their bursts take turns: only one of them is polled, for several bursts in a row,
 * and all others are. So what comes on a quiet queue waits for one burst of the full ones, however
 * many they are; and the frames of a full ring stay in the processor's cache from one use of a
 * buffer to the next, which those of many rings in turn would not.
 *
 * Nobody gets more than the others by that. In a lap each queue may bring the same number of
 * frames, in bursts of any length; one that has waits for the next lap, which begins when no full
 * one waits for its turn. A lap is of 32 bursts, or one of each full queue where they are more:
 * that is how long a full one waits.
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
	bool full;    /* it brought as much as a burst takes when it was polled last */
	uint32_t lap; /* the one it was looked at in last ... */
	uint32_t
	    frames; /* ... and what it brought in that, and in the one before above its share */
};

/* A worker's. All zero at first. */
struct turns {
	struct turn *holder; /* the full queue that is polled; NULL: whichever comes next */
	uint32_t lap;	     /* number of the current one */
	uint32_t share;	     /* frames a queue may bring in this lap; smaller when more are full */
	uint32_t last_share; /* of the lap before, as it was in the end */
	uint32_t waiting;    /* full ones passed over in this round */
	bool polled;	     /* a full one, in this round */
};

/* Queues may have gone to another worker, or be no more. Who had his share still has had it. */
static inline void turns_forget_holder(struct turns *turns)
{
	turns->holder = NULL;
}

/* Whether the queue is to be polled now. */
static inline bool turns_may_poll(struct turns *turns, struct turn *turn)
{
	if (turn->lap != turns->lap) {
		uint32_t above =
		    turn->frames > turns->last_share ? turn->frames - turns->last_share : 0;

		/* A share that became smaller in the middle of a lap is not held against it. */
		turn->frames = above < BURST_FRAMES ? above : BURST_FRAMES - 1;
		turn->lap = turns->lap;
	}
	if (turn->frames >= turns->share)
		return false;
	if (!turn->full || (turns->holder == NULL ? !turns->polled : turns->holder == turn))
		return true;
	turns->waiting++;
	return false;
}

/* The queue was polled and has brought `frames`. */
static inline void turns_took(struct turns *turns, struct turn *turn, uint32_t frames)
{
	turn->frames += frames;
	turn->full = frames >= BURST_FRAMES;
	turns->polled |= turn->full;
	if (turns->holder == NULL && turn->full)
		turns->holder = turn;
	if (turns->holder == turn && (!turn->full || turn->frames >= turns->share))
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
	if (turns->waiting > 0) {
		uint32_t bursts = TURNS_LAP / (turns->waiting + 1);
		uint32_t share = (bursts > 0 ? bursts : 1) * BURST_FRAMES;

		if (share < turns->share)
			turns->share = share;
		if (turns->holder != NULL && turns->holder->frames >= turns->share)
			turns->holder = NULL;
	} else if (turns->holder == NULL) {
		turns->last_share = turns->share;
		turns->share = TURNS_LAP * BURST_FRAMES;
		turns->lap++;
	}
	turns->waiting = 0;
	turns->polled = false;
}

#endif
