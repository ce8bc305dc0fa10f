/* libslirp in a thread (user_stack.h). The thread waits in poll() for the ring of frames from the
 * guest, for the sockets libslirp has, and for control; where nothing is open, it sleeps until
 * something comes.
 *
 * libslirp keeps some things that all its instances share (the clock, the host's resolver), without
 * a lock of its own. So one lock of ours is held around every call of it, by all such threads and
 * by control; never while waiting. Callbacks run inside these calls. */
#include "vswitch/user_filter.h"
#include "vswitch/user_internal.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define MILLISECOND	 1000000LL
#define TAKE_MAX	 256u /* frames in one go, before sockets have their turn */
#define SOCKETS_MAX	 4096u
#define LINGER		 60000 /* ms after the last event: fragments have timed out by then */
#define POLL_RING	 0
#define POLL_CONTROL	 1
#define POLL_SOCKETS	 2 /* and all behind */
#define POLL_FLAGS_COUNT (sizeof(poll_flags) / sizeof(poll_flags[0]))

pthread_mutex_t user_slirp_lock = PTHREAD_MUTEX_INITIALIZER;

static const struct {
	int slirp;
	short system;
} poll_flags[] = {
	{ SLIRP_POLL_IN, POLLIN },   { SLIRP_POLL_OUT, POLLOUT }, { SLIRP_POLL_PRI, POLLPRI },
	{ SLIRP_POLL_ERR, POLLERR }, { SLIRP_POLL_HUP, POLLHUP },
};

static void count(_Atomic uint64_t *counter)
{
	counter_add(counter, 1);
}

static int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 * MILLISECOND + now.tv_nsec;
}

/* libslirp's callbacks, all with the lock held. */

static ssize_t on_send(const void *bytes, size_t length, void *context)
{
	struct user_stack *stack = context;
	const uint8_t *frame = bytes;

	if (length <= FRAME_LENGTH_MAX)
		frame = user_loopback_to_guest(stack->loopback, bytes, (uint32_t)length,
					       now_ns() / MILLISECOND);
	if (frame && (length > FRAME_LENGTH_MAX ||
		      !frame_ring_put_bytes(stack->to_guest, frame, (uint32_t)length, NULL, 0)))
		count(&stack->lost);
	return (ssize_t)length;
}

static void on_mistake(const char *text, void *context)
{
	count(&((struct user_stack *)context)->mistakes);
}

static int64_t on_clock(void *context)
{
	return now_ns();
}

static void *on_timer_new(SlirpTimerId id, void *timer_context, void *context)
{
	struct user_stack *stack = context;

	stack->timer_id = id;
	stack->timer_context = timer_context;
	return stack;
}

static void on_timer_free(void *timer, void *context)
{
	((struct user_stack *)context)->timer_due = INT64_MAX;
}

static void on_timer_change(void *timer, int64_t due, void *context)
{
	((struct user_stack *)context)->timer_due = due;
}

static void publish_count(struct user_stack *stack)
{
	atomic_store_explicit(&stack->sockets, user_flows_count(stack->flows),
			      memory_order_relaxed);
}

static void on_socket_opened(int fd, void *context)
{
	struct user_stack *stack = context;

	user_flows_opened(stack->flows, fd);
	publish_count(stack);
}

/* It says more often that one is gone than that it is there. */
static void on_socket_closed(int fd, void *context)
{
	struct user_stack *stack = context;

	user_flows_closed(stack->flows, fd);
	publish_count(stack);
}

/* The thread looks at everything again before it sleeps. */
static void on_notify(void *context)
{
}

static const SlirpCb callbacks = {
	.send_packet = on_send,
	.guest_error = on_mistake,
	.clock_get_ns = on_clock,
	.timer_free = on_timer_free,
	.timer_mod = on_timer_change,
	.register_poll_fd = on_socket_opened,
	.unregister_poll_fd = on_socket_closed,
	.notify = on_notify,
	.timer_new_opaque = on_timer_new,
};

static bool is_listening(int fd)
{
	int listening = 0;
	socklen_t length = sizeof(listening);

	return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &length) == 0 && listening;
}

/* -1: the socket is not waited for in this round. As long as there are too many, connections from
 * the host wait in their backlog. */
static int add_poll(int fd, int events, void *context)
{
	struct user_stack *stack = context;
	struct pollfd *entry;

	if (!user_flows_has_room(stack->flows, USER_FLOWS_HOST) && is_listening(fd))
		return -1;
	if (stack->poll_count == stack->poll_room) {
		struct pollfd *more =
		    realloc(stack->polls, (size_t)stack->poll_room * 2 * sizeof(*more));

		if (!more)
			return -1;
		stack->polls = more;
		stack->poll_room *= 2;
	}
	entry = &stack->polls[stack->poll_count];
	*entry = (struct pollfd){ .fd = fd };
	for (unsigned i = 0; i < POLL_FLAGS_COUNT; i++) {
		if (events & poll_flags[i].slirp)
			entry->events |= poll_flags[i].system;
	}
	return (int)stack->poll_count++;
}

static int get_events(int index, void *context)
{
	const struct user_stack *stack = context;
	int events = 0;

	for (unsigned i = 0; i < POLL_FLAGS_COUNT; i++) {
		if (stack->polls[index].revents & poll_flags[i].system)
			events |= poll_flags[i].slirp;
	}
	return events;
}

static void take_frame(struct user_stack *stack, const struct frame_ring_entry *entry)
{
	uint16_t guest;
	struct user_end end;
	const uint8_t *frame = entry->bytes;
	enum user_verdict verdict = user_filter(&stack->addresses, frame, entry->length, &end);

	memcpy(&guest, entry->note, sizeof(guest));
	if (verdict != USER_DROP)
		frame = user_loopback_from_guest(stack->loopback, frame, entry->length,
						 now_ns() / MILLISECOND);
	if (verdict == USER_DROP || !frame) {
		count(&stack->filtered);
	} else if (verdict == USER_OPENS && !user_flows_has_room(stack->flows, guest) &&
		   !user_flows_knows(stack->flows, &end)) {
		count(&stack->refused);
	} else {
		user_flows_set_opener(stack->flows, guest, &end);
		slirp_input(stack->slirp, frame, (int)entry->length);
	}
}

/* Gives the frames that wait to libslirp; whether there were any. */
static bool take_frames(struct user_stack *stack)
{
	const struct frame_ring_entry *entry;
	uint32_t taken = 0;

	while (taken < TAKE_MAX && (entry = frame_ring_peek(stack->from_guest->ring)) != NULL) {
		take_frame(stack, entry);
		user_queue_pop(stack->from_guest);
		taken++;
	}
	user_flows_set_opener(stack->flows, USER_FLOWS_HOST, NULL);
	return taken > 0;
}

/* Before libslirp first waits for them. */
static void begin_forwards(struct user_stack *stack)
{
	for (; stack->forwards_begun < stack->forward_count; stack->forwards_begun++) {
		const struct user_forward *forward = &stack->forwards[stack->forwards_begun];
		uint8_t frame[128];

		if (forward->protocol == IPPROTO_UDP)
			slirp_input(stack->slirp, frame,
				    (int)user_loopback_opening(forward, frame, sizeof(frame)));
	}
}

static void run_timer(struct user_stack *stack, int64_t now)
{
	if (stack->timer_due > now)
		return;
	stack->timer_due = INT64_MAX;
	slirp_handle_timer(stack->slirp, stack->timer_id, stack->timer_context);
}

/* How long poll() may wait, in ms, when libslirp wants to be called after `wanted`. It asks for
 * half a second as long as there is a forward, and for one second without need. */
static int time_to_sleep(const struct user_stack *stack, uint32_t wanted, int64_t now)
{
	int64_t left = stack->timer_due - now;
	bool quiet = now >= stack->busy_until &&
		     atomic_load_explicit(&stack->sockets, memory_order_relaxed) == 0;

	if (!quiet && left > wanted)
		left = wanted;
	if (left > INT32_MAX)
		return stack->timer_due == INT64_MAX ? -1 : INT32_MAX;
	return left < 0 ? 0 : (int)left;
}

/* One round: what came is worked on, then it waits for more. */
static void run_round(struct user_stack *stack)
{
	uint32_t wanted = UINT32_MAX;
	int64_t now = now_ns() / MILLISECOND;
	bool armed;
	uint64_t fired;
	int rc;

	pthread_mutex_lock(&user_slirp_lock);
	begin_forwards(stack);
	if (take_frames(stack))
		stack->busy_until = now + LINGER;
	run_timer(stack, now);
	stack->poll_count = POLL_SOCKETS;
	slirp_pollfds_fill(stack->slirp, &wanted, add_poll, stack);
	pthread_mutex_unlock(&user_slirp_lock);
	frame_ring_flush(stack->to_guest);

	stack->polls[POLL_RING] =
	    (struct pollfd){ .fd = frame_ring_fd(stack->from_guest->ring), .events = POLLIN };
	stack->polls[POLL_CONTROL] = (struct pollfd){ .fd = stack->control_fd, .events = POLLIN };
	armed = frame_ring_arm(stack->from_guest->ring);
	rc = poll(stack->polls, stack->poll_count, armed ? time_to_sleep(stack, wanted, now) : 0);
	if (armed)
		frame_ring_disarm(stack->from_guest->ring);
	if (rc > 0 && (stack->polls[POLL_CONTROL].revents & POLLIN) &&
	    read(stack->control_fd, &fired, sizeof(fired)) < 0)
		rc = -1; /* nobody else reads it */

	pthread_mutex_lock(&user_slirp_lock);
	stack->rounds++;
	pthread_cond_broadcast(&stack->round_ended);
	slirp_pollfds_poll(stack->slirp, rc < 0, get_events, stack);
	pthread_mutex_unlock(&user_slirp_lock);
	frame_ring_flush(stack->to_guest);
}

static void *run(void *context)
{
	struct user_stack *stack = context;

	/* acquire: pairs with the release in user_stack_stop(). */
	while (!atomic_load_explicit(&stack->stop, memory_order_acquire))
		run_round(stack);
	return NULL;
}

void user_stack_wake(struct user_stack *stack)
{
	uint64_t one = 1;

	while (write(stack->control_fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

void user_stack_end_round(struct user_stack *stack)
{
	uint64_t round = stack->rounds;

	user_stack_wake(stack);
	while (stack->rounds == round)
		pthread_cond_wait(&stack->round_ended, &user_slirp_lock);
}

static struct in_addr v4_of(const struct ip *ip)
{
	struct in_addr address;

	memcpy(&address, ip_v4_bytes(ip), sizeof(address));
	return address;
}

static struct in6_addr v6_of(const struct ip *ip)
{
	struct in6_addr address;

	memcpy(&address, ip->bytes, sizeof(address));
	return address;
}

static Slirp *open_slirp(struct user_stack *stack, bool host_loopback)
{
	const struct port_user_addresses *addresses = &stack->addresses;
	struct ip_prefix net = ip_prefix_network(&addresses->guest);
	struct ip_prefix net6 = ip_prefix_network(&addresses->guest6);
	uint32_t bits = net.length - IP_V4_LENGTH;
	SlirpConfig config = {
		.version = 4,
		.in_enabled = true,
		.vnetwork = v4_of(&net.ip),
		.vnetmask.s_addr = htonl(bits == 0 ? 0 : UINT32_MAX << (32 - bits)),
		.vhost = v4_of(&addresses->gateway),
		.in6_enabled = true,
		.vprefix_addr6 = v6_of(&net6.ip),
		.vprefix_len = net6.length,
		.vhost6 = v6_of(&addresses->gateway6),
		.vdhcp_start = v4_of(&addresses->guest.ip),
		.vnameserver = v4_of(&addresses->dns),
		.vnameserver6 = v6_of(&addresses->dns6),
		.if_mtu = addresses->mtu,
		.if_mru = addresses->mtu,
		.disable_host_loopback = !host_loopback,
	};
	Slirp *slirp;

	pthread_mutex_lock(&user_slirp_lock);
	slirp = slirp_new(&config, &callbacks, stack);
	pthread_mutex_unlock(&user_slirp_lock);
	return slirp;
}

static int start_thread(struct user_stack *stack, struct error *error)
{
	sigset_t all, before;
	int rc;

	/* Signals to the process are control's. SIGPIPE is one of this thread's own, and blocked
	 * as well: libslirp looks at what send() returns. */
	sigfillset(&all);
	sigdelset(&all, SIGBUS);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = pthread_create(&stack->thread, NULL, run, stack);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (rc != 0)
		return error_set(error, rc, "no thread: %s", strerror(rc));
	stack->started = true;
	pthread_setname_np(stack->thread, "weft-user");
	return 0;
}

/* Most of the descriptors are for others. */
static uint32_t limit_sockets(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur / 4 >= SOCKETS_MAX)
		return SOCKETS_MAX;
	return (uint32_t)(limit.rlim_cur / 4);
}

int user_stack_start(const struct port_user_addresses *addresses, bool host_loopback,
		     struct user_queue *from_guest, struct frame_ring *to_guest,
		     struct user_stack **out, struct error *error)
{
	struct user_stack *stack = calloc(1, sizeof(*stack));
	int rc;

	if (!stack)
		return error_set(error, ENOMEM, "out of memory");
	pthread_cond_init(&stack->round_ended, NULL);
	stack->addresses = *addresses;
	stack->from_guest = from_guest;
	stack->to_guest = to_guest;
	stack->timer_due = INT64_MAX;
	stack->flows = user_flows_create(limit_sockets());
	stack->loopback = user_loopback_create(addresses, host_loopback);
	stack->poll_room = 64;
	stack->polls = calloc(stack->poll_room, sizeof(*stack->polls));
	stack->control_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (stack->control_fd < 0) {
		rc = error_set(error, errno, "no eventfd: %s", strerror(errno));
		goto fail;
	}
	if (stack->polls && stack->flows && stack->loopback)
		stack->slirp = open_slirp(stack, host_loopback);
	if (!stack->slirp) {
		rc = error_set(error, ENOMEM, "libslirp cannot be started: out of memory");
		goto fail;
	}
	rc = start_thread(stack, error);
	if (rc != 0)
		goto fail;
	*out = stack;
	return 0;
fail:
	user_stack_stop(stack);
	return rc;
}

void user_stack_stop(struct user_stack *stack)
{
	if (!stack)
		return;
	if (stack->started) {
		atomic_store_explicit(&stack->stop, true, memory_order_release);
		user_stack_wake(stack);
		pthread_join(stack->thread, NULL);
	}
	if (stack->slirp) {
		pthread_mutex_lock(&user_slirp_lock);
		slirp_cleanup(stack->slirp);
		pthread_mutex_unlock(&user_slirp_lock);
	}
	if (stack->control_fd >= 0)
		close(stack->control_fd);
	pthread_cond_destroy(&stack->round_ended);
	free(stack->forwards);
	free(stack->polls);
	user_flows_destroy(stack->flows);
	user_loopback_destroy(stack->loopback);
	free(stack);
}

void user_stack_get_status(const struct user_stack *stack, struct user_status *status)
{
	status->sockets = atomic_load_explicit(&stack->sockets, memory_order_relaxed);
	status->refused = atomic_load_explicit(&stack->refused, memory_order_relaxed);
	status->filtered = atomic_load_explicit(&stack->filtered, memory_order_relaxed);
	status->lost = atomic_load_explicit(&stack->lost, memory_order_relaxed);
	status->mistakes = atomic_load_explicit(&stack->mistakes, memory_order_relaxed);
}
