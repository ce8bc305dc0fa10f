/* A real vhost-user device with the smallest owner it can have: an event loop, and a worker that
 * echoes or swallows what the guest sends. For the tests and the fuzzer, which drive it with the
 * fake guest.
 *
 * HARNESS_SAME_THREAD: harness_pump() lets control and worker do what there is to do, and returns.
 * HARNESS_WORKER_THREAD: the worker runs in a thread of its own under RCU, as in the daemon;
 * harness_pump() runs control only. */
#ifndef WEFT_TESTS_LIB_DEVICE_HARNESS_H
#define WEFT_TESTS_LIB_DEVICE_HARNESS_H

#include "base/rcu.h"
#include "vhost-user/device.h"

#include <event2/event.h>
#include <pthread.h>
#include <stdatomic.h>

enum harness_mode { HARNESS_SAME_THREAD, HARNESS_WORKER_THREAD };
enum harness_work { HARNESS_ECHO, HARNESS_SINK };

#define HARNESS_QUEUES_MAX (2 * VHOST_QUEUE_PAIRS_MAX)

struct harness {
	enum harness_mode mode;
	enum harness_work work;
	char directory[64];
	char path[96];
	char state_directory[96];
	struct event_base *loop;
	struct event *fault_event;
	struct vhost_device *device;
	struct burst *burst;
	struct port_counters *counters;
	bool armed[HARNESS_QUEUES_MAX];		    /* worker's: waits for a kick */
	_Atomic bool fresh[HARNESS_QUEUES_MAX];	    /* control -> worker: started anew */
	void (*inspect)(const struct frame *frame); /* each frame from the guest; NULL: none */
	struct rcu *rcu;
	pthread_t thread;
	_Atomic bool stop;
	/* What the callbacks saw. */
	unsigned grace_periods, started, stopping, link_changes, announces;
	bool link;
	struct mac announced;
};

/* Opens a device named `name` on a socket in a new directory. The caller may change `work` before
 * the first pump. Fails the process (abort) when the surroundings do not allow it; device errors
 * come back as -errno. harness->path is set even if *config has a path of its own. */
int harness_open(struct harness *harness, enum harness_mode mode,
		 const struct vhost_device_config *config, struct error *error);
void harness_close(struct harness *harness);

/* Destroys and creates the device anew on the same path: a restart of the daemon. */
int harness_restart(struct harness *harness, const struct vhost_device_config *config);

/* Signature of fake_guest_options.pump; context is the harness. */
void harness_pump(void *context);

uint64_t harness_drops(const struct harness *harness, enum drop_reason reason);
uint64_t harness_all_drops(const struct harness *harness);
uint64_t harness_received(const struct harness *harness);
struct vhost_device_status harness_status(const struct harness *harness);

/* What must stay flat: open file descriptors, mappings, and bytes allocated on the heap. */
struct footprint {
	unsigned fds, mappings;
	size_t heap;
};
struct footprint footprint_take(void);

/* Open file descriptors, counted again until there are no more than `fds` or it is clear that they
 * stay: the device has a thread that closes what might block. take_settled: all, after that. */
unsigned footprint_fds_settled(unsigned fds);
struct footprint footprint_take_settled(unsigned fds);

#endif
