/* Frames and streams of frames between fake guests on a switch, for cmocka tests.
 *
 * Nothing here waits for time to pass: a sender's buffers come back when every frame of the burst
 * has been delivered or dropped, so after traffic_settle() what a receiver has not got it will
 * never get. */
#ifndef WEFT_TESTS_LIB_SWITCH_TRAFFIC_H
#define WEFT_TESTS_LIB_SWITCH_TRAFFIC_H

#include "tests/lib/switch_fixture.h"

#include <pthread.h>
#include <stdatomic.h>

/* The address of guest number n. */
#define TRAFFIC_MAC(n)	  (UINT64_C(0x520000000000) + (n))
#define TRAFFIC_BROADCAST UINT64_C(0xffffffffffff)
#define TRAFFIC_NO_TAG	  UINT32_MAX
#define TRAFFIC_FRAME_MAX 2000u

struct traffic_frame {
	uint32_t length;
	uint8_t bytes[TRAFFIC_FRAME_MAX];
};

/* A frame of `length` bytes with a made-up type, `number` behind it, and a pattern of both. `tci`
 * is that of an 802.1Q tag (which is part of the length), or TRAFFIC_NO_TAG. */
struct traffic_frame traffic_build(uint64_t destination, uint64_t source, uint32_t tci,
				   uint32_t number, uint32_t length);

/* Sends on the first queue pair, with an empty virtio-net header. */
void traffic_send(struct fake_guest *from, const struct traffic_frame *frame);

/* Until the switch is done with all that the guest has sent. */
void traffic_settle(struct fake_guest *from);

/* The next frame the guest gets, on any of its queues, is this one, with an empty header. Its
 * buffer is posted again. */
void traffic_expect(struct fake_guest *to, const struct traffic_frame *frame);

/* Nothing more has arrived. Meaningful after traffic_settle() of those who sent. */
void traffic_expect_nothing(struct fake_guest *to);

/* traffic_send(), traffic_settle(), and what must have come of it: for each of the `count` guests,
 * wanted[i] says whether it gets the frame. */
void traffic_pass(struct fake_guest *from, const struct traffic_frame *frame,
		  struct fake_guest *const *guests, const bool *wanted, uint32_t count);

/* UDP flows from one guest to another, in a thread of its own, that never has more frames on their
 * way than the receiver has buffers: so none may be lost. Each flow uses one of the sender's queue
 * pairs, and must arrive in order, whole, and on one and the same queue. While the thread runs,
 * nobody else uses the two guests' rings; messages may be sent. */
#define STREAM_FLOWS_MAX 256u
struct stream {
	struct fake_guest *from, *to;
	uint64_t from_mac, to_mac;
	uint32_t flows;	 /* 0: 1 */
	uint32_t window; /* 0: 64 */
	pthread_t thread;
	_Atomic bool stop;
	_Atomic uint64_t received;
	/* The thread's own while it runs. */
	const char *failure;
	uint64_t sent;
	uint32_t flow; /* the next to send on */
	uint32_t next_sent[STREAM_FLOWS_MAX];
	uint32_t next_received[STREAM_FLOWS_MAX];
	uint32_t pairs[STREAM_FLOWS_MAX]; /* arrives on this one, plus 1 */
};

void stream_start(struct stream *stream);

/* Runs control until `more` frames have arrived from now on. */
void stream_wait(struct stream *stream, struct switch_fixture *fixture, uint64_t more);

/* Ends the thread and leaves what is on its way where it is; stream_start() goes on from there. */
void stream_stop(struct stream *stream);

/* Ends the thread, and fails the test unless every frame sent has arrived. */
void stream_finish(struct stream *stream);

#endif
