/* What user_stack.c (the thread) and user_forward.c (control's forwards) share. */
#ifndef WEFT_VSWITCH_USER_INTERNAL_H
#define WEFT_VSWITCH_USER_INTERNAL_H

#include "vswitch/user_flows.h"
#include "vswitch/user_loopback.h"
#include "vswitch/user_stack.h"

#include <pthread.h>
#include <slirp/libslirp.h>

struct pollfd;

/* Held around every call of libslirp: see user_stack.c. */
extern pthread_mutex_t user_slirp_lock;

struct user_stack {
	Slirp *slirp; /* under the lock */
	struct port_user_addresses addresses;
	struct user_queue *from_guest;
	struct frame_ring *to_guest;
	pthread_t thread;
	bool started;
	int control_fd;	   /* eventfd: control changed something */
	_Atomic bool stop; /* control: release, thread: acquire */
	/* Control's, who changes them under the lock. */
	struct user_forward *forwards;
	uint32_t forward_count;
	/* The thread's. */
	struct pollfd *polls;
	uint32_t poll_count, poll_room;
	int64_t busy_until; /* ms */
	/* Under the lock. */
	struct user_flows *flows;
	struct user_loopback *loopback;
	uint32_t forwards_begun; /* of the forwards: the first so many */
	uint64_t rounds;	 /* waits that have ended */
	pthread_cond_t round_ended;
	/* The one timer there is, for advertisements. */
	int64_t timer_due; /* ms; INT64_MAX: not set */
	SlirpTimerId timer_id;
	void *timer_context;
	/* The thread writes, under the lock; control reads (relaxed). */
	_Atomic uint32_t sockets;
	_Atomic uint64_t refused, filtered, lost, mistakes;
};

/* Control. The thread looks at everything again, so it sees sockets that were added. */
void user_stack_wake(struct user_stack *stack);

/* Control, with the lock held. Returns when the thread has left the wait it may be in: what was
 * closed meanwhile is in nobody's use any more. */
void user_stack_end_round(struct user_stack *stack);

#endif
