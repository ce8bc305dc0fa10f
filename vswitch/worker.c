/* The worker thread: poll the active queues, run what they bring through the pipeline, let quiet
 * queues go to sleep on their wake-up fds, and sleep as a whole when none is left (design decision
 * 5).
 *
 * A queue is active (polled in each round) or quiet (waiting in the epoll set, edge triggered).
 * Only active ones cost anything, so a thousand quiet ports are free. A queue goes quiet when it
 * brought nothing for a while: it is armed (the guest is asked to kick), looked at once more, and
 * left out of the rounds until its fd fires or control calls attention to it.
 *
 * Functions named worker_* of worker.h are for the control thread; the rest runs in the thread. */
#include "vswitch/worker.h"

#include "base/clock.h"
#include "base/numa.h"
#include "base/vnet_header.h"
#include "vswitch/pipeline.h"
#include "vswitch/switch.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define EVENTS_MAX 64

/* How long a queue is still polled after it brought something, by poll mode. Adaptive: about the
 * time a guest takes to answer a frame, so that request and response traffic stays polled; busy:
 * long enough that only a port without traffic goes quiet. */
static const uint64_t active_us[] = {
	[CONFIG_POLL_ADAPTIVE] = 50,
	[CONFIG_POLL_BUSY] = 100000,
};
/* How long one is polled that was woken or has just started and brought nothing yet, in both modes:
 * a thousand ports that come up must not be polled for long. */
#define FIRST_LOOK_US 50
/* How often a worker that polls looks for wake-ups of its quiet queues; and with adaptive polling,
 * when the last round brought nothing. There one of two guests that ask and answer is quiet while
 * the other is still polled; with busy polling that takes silence of a tenth of a second, and no
 * frame is to wait for the look. */
#define LOOK_US	     50
#define LOOK_IDLE_US 5

static void queue_activate(struct worker_context *context, struct port_queue *queue, uint64_t now)
{
	if (!queue->active) {
		queue->active = true;
		context->plan->active[context->plan->active_count++] = queue;
		if (queue->port->type->disarm != NULL)
			queue->port->type->disarm(queue);
		counter_add(&context->worker->counters.wakes, 1);
	}
	if (queue->active_until < now + FIRST_LOOK_US * (clock_hz() / 1000000))
		queue->active_until = now + FIRST_LOOK_US * (clock_hz() / 1000000);
}

static bool queue_running(const struct port_queue *queue)
{
	/* acquire: pairs with the release in port_queue_start(). */
	return atomic_load_explicit(&queue->running, memory_order_acquire);
}

/* Fills the active list of a snapshot just adopted from the queues' own state. */
static void plan_adopt(struct worker_plan *plan)
{
	plan->active_count = 0;
	for (uint32_t i = 0; i < plan->count; i++) {
		if (plan->queues[i]->active)
			plan->active[plan->active_count++] = plan->queues[i];
	}
}

static void plan_look_for_attention(struct worker_context *context, uint64_t now)
{
	struct worker_plan *plan = context->plan;

	for (uint32_t i = 0; i < plan->count; i++) {
		struct port_queue *queue = plan->queues[i];

		/* relaxed: ordered by the acquire of `rescan`. */
		if (atomic_load_explicit(&queue->attention, memory_order_relaxed) &&
		    queue_running(queue)) {
			atomic_store_explicit(&queue->attention, false, memory_order_relaxed);
			queue_activate(context, queue, now);
		}
	}
}

static void injection_run(struct worker_context *context, const struct worker_injection *injection)
{
	const struct port_view *from = &context->snapshot->ports[injection->port];
	struct burst *burst = context->in;

	if (injection->port >= context->snapshot->port_limit || from->port == NULL ||
	    from->port->serial != injection->serial)
		return; /* the port is gone */
	/* relaxed: a bound, nothing hangs on it. */
	atomic_fetch_sub_explicit(&from->port->injected, 1, memory_order_relaxed);
	burst_reset(burst);
	burst->shallow = false;
	burst_lend(burst, injection->bytes, injection->length);
	pipeline_run(context, from, burst);
}

static void injections_run(struct worker_context *context)
{
	/* acquire: pairs with the release in worker_inject(). */
	struct worker_injection *injection =
	    atomic_exchange_explicit(&context->worker->injections, NULL, memory_order_acquire);

	while (injection != NULL) {
		struct worker_injection *next = injection->next;

		injection_run(context, injection);
		free(injection);
		injection = next;
	}
}

/* Takes up what control changed since the last round: the snapshot, queues that started, frames to
 * inject. The generation tells a new snapshot from an old one at the same address. */
static void context_adopt(struct worker_context *context, uint64_t now)
{
	struct worker *worker = context->worker;
	/* acquire: pairs with the release in vswitch_publish(). */
	struct snapshot *snapshot =
	    atomic_load_explicit(&worker->vswitch->snapshot, memory_order_acquire);
	bool rescan = false;

	if (snapshot->generation != context->generation) {
		context->snapshot = snapshot;
		context->generation = snapshot->generation;
		context->plan = &snapshot->plans[worker->id];
		turns_forget_holder(&context->turns);
		plan_adopt(context->plan);
		rescan = true;
	}
	/* The plain load keeps the usual round free of a locked instruction; acquire on the
	 * exchange pairs with the release in worker_wake(). */
	if (atomic_load_explicit(&worker->rescan, memory_order_relaxed) != 0)
		rescan |= atomic_exchange_explicit(&worker->rescan, 0, memory_order_acquire) != 0;
	if (rescan) {
		plan_look_for_attention(context, now);
		injections_run(context);
	}
}

/* NULL for WORKER_TOKEN_WAKE, too: what control wants, context_adopt() has seen to. */
static struct port_queue *queue_of_token(const struct worker_context *context, uint64_t token)
{
	uint64_t port_index = token >> 16;
	uint16_t queue_index = (uint16_t)token;
	struct port *port;

	if (port_index >= context->snapshot->port_limit)
		return NULL;
	port = context->snapshot->ports[port_index].port;
	if (port == NULL || queue_index >= port->receive_count ||
	    port->receive_queues[queue_index].worker != context->worker->id)
		return NULL;
	return &port->receive_queues[queue_index];
}

static void context_handle_events(struct worker_context *context, const struct epoll_event *events,
				  int count, uint64_t now)
{
	for (int i = 0; i < count; i++) {
		struct port_queue *queue = queue_of_token(context, events[i].data.u64);

		if (queue != NULL && queue_running(queue))
			queue_activate(context, queue, now);
	}
}

/* One burst from one queue, through to the other ports' buffers. Returns what receive() took. */
static uint32_t queue_poll(struct worker_context *context, struct port_queue *queue)
{
	const struct port_type *type = queue->port->type;
	const struct port_view *from = &context->snapshot->ports[queue->port->index];
	struct burst *burst = context->in;
	uint32_t taken;

	burst_reset(burst);
	burst->shallow = pipeline_is_shallow(from);
	pipeline_measure(context);
	taken = type->receive(queue, burst, &queue->port->counters[context->worker->id]);
	if (taken == 0)
		return 0;
	pipeline_stage_end(context, WORKER_RECEIVE);
	pipeline_run(context, from, burst);
	if (type->receive_done != NULL)
		type->receive_done(queue);
	pipeline_stage_end(context, WORKER_DONE);
	counter_add(&queue->cycles, pipeline_measured(context, burst->count));
	counter_add(&context->worker->counters.bursts, 1);
	counter_add(&context->worker->counters.frames, burst->count);
	return taken;
}

/* True when the queue may be left to its wake-up fd. One without an fd is always polled while it
 * runs. */
static bool queue_goes_quiet(struct port_queue *queue)
{
	/* relaxed: see port_queue_start() and port_queue_halt(). */
	if (atomic_load_explicit(&queue->wake_fd, memory_order_relaxed) < 0)
		return false;
	return queue->port->type->arm == NULL || queue->port->type->arm(queue);
}

static uint32_t context_poll(struct worker_context *context, uint64_t now)
{
	struct worker_plan *plan = context->plan;
	uint64_t stay = active_us[context->worker->poll] * (clock_hz() / 1000000);
	uint32_t taken = 0;

	for (uint32_t i = 0; i < plan->active_count;) {
		struct port_queue *queue = plan->active[i];
		uint32_t n = 0;

		if (queue_running(queue)) {
			if (!turns_may_poll(&context->turns, &queue->turn)) {
				i++;
				continue;
			}
			n = queue_poll(context, queue);
			turns_took(&context->turns, &queue->turn, n);
			if (n > 0) {
				taken += n;
				queue->active_until = now + stay;
			}
			if (n > 0 || now < queue->active_until || !queue_goes_quiet(queue)) {
				i++;
				continue;
			}
		}
		queue->active = false;
		turns_leave(&context->turns, &queue->turn);
		plan->active[i] = plan->active[--plan->active_count];
	}
	turns_end_round(&context->turns);
	return taken;
}

/* Sleeps until an fd fires; offline, so that nobody waits for us. */
static int context_sleep(struct worker_context *context, struct epoll_event *events)
{
	struct worker *worker = context->worker;
	int count;

	counter_add(&worker->counters.sleeps, 1);
	rcu_offline(worker->vswitch->rcu, worker->id);
	count = epoll_wait(worker->epoll_fd, events, EVENTS_MAX, -1);
	rcu_online(worker->vswitch->rcu, worker->id);
	return count;
}

static void context_loop(struct worker_context *context)
{
	struct worker *worker = context->worker;
	uint64_t now = clock_cycles(), looked = now, hz = clock_hz(), second = 0;
	uint64_t look = LOOK_US * (hz / 1000000);
	uint64_t look_idle =
	    worker->poll == CONFIG_POLL_BUSY ? look : LOOK_IDLE_US * (hz / 1000000);
	struct epoll_event events[EVENTS_MAX];
	struct timespec boottime;
	bool sleep = false, quiet = false; /* no queue is active, not all are */
	uint32_t taken = 0;

	/* acquire: pairs with the release in worker_destroy(). */
	while (!atomic_load_explicit(&worker->stop, memory_order_acquire)) {
		int count = 0;
		uint64_t later;

		if (sleep) {
			count = context_sleep(context, events);
			now = clock_cycles();
		} else if (quiet && now - looked >= (taken > 0 ? look : look_idle)) {
			count = epoll_wait(worker->epoll_fd, events, EVENTS_MAX, 0);
			looked = now;
		}
		if (now >= second) {
			context->now = (uint32_t)(now / hz);
			second = ((uint64_t)context->now + 1) * hz;
			clock_gettime(CLOCK_BOOTTIME, &boottime);
			context->boottime = (uint32_t)boottime.tv_sec;
		}
		context_adopt(context, now);
		context_handle_events(context, events, count, now);
		taken = context_poll(context, now);
		sleep = worker->poll == CONFIG_POLL_ADAPTIVE && context->plan->active_count == 0;
		quiet = context->plan->active_count < context->plan->count;
		rcu_quiescent(worker->vswitch->rcu, worker->id);
		later = clock_cycles();
		counter_add(&worker->counters.polls, 1);
		if (taken > 0)
			counter_add(&worker->counters.busy_cycles, later - now);
		now = later;
	}
}

static void *worker_run(void *argument)
{
	struct worker *worker = argument;

	rcu_register(worker->vswitch->rcu, worker->id);
	rcu_online(worker->vswitch->rcu, worker->id);
	context_loop(worker->context);
	rcu_offline(worker->vswitch->rcu, worker->id);
	rcu_unregister(worker->vswitch->rcu, worker->id);
	return NULL;
}

static int worker_start_thread(struct worker *worker, struct error *error)
{
	char name[16];
	sigset_t all, before;
	int result;

	/* Signals to the process are control's; SIGBUS, which a thread causes itself, stays. */
	sigfillset(&all);
	sigdelset(&all, SIGBUS);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	result = pthread_create(&worker->thread, NULL, worker_run, worker);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (result != 0)
		return error_set(error, result, "worker %u: no thread: %s", worker->id,
				 strerror(result));
	snprintf(name, sizeof(name), "weft-worker%u", worker->id % 1000);
	pthread_setname_np(worker->thread, name);
	if (worker->cpu >= 0) {
		cpu_set_t set;

		CPU_ZERO(&set);
		CPU_SET((size_t)worker->cpu, &set);
		result = pthread_setaffinity_np(worker->thread, sizeof(set), &set);
		if (result != 0)
			return error_set(error, result, "workers.cpus: CPU %d cannot be used: %s",
					 worker->cpu, strerror(result));
	}
	return 0;
}

static int worker_open_fds(struct worker *worker)
{
	/* Edge triggered and never read: each write is an event of its own. To read it would be to
	 * lose a wake-up that came after context_adopt() had looked. */
	struct epoll_event event = { .events = EPOLLIN | EPOLLET, .data.u64 = WORKER_TOKEN_WAKE };

	worker->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	worker->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (worker->epoll_fd < 0 || worker->wake_fd < 0)
		return -errno;
	return epoll_ctl(worker->epoll_fd, EPOLL_CTL_ADD, worker->wake_fd, &event) != 0 ? -errno
											: 0;
}

/* The worker and its memory, without its thread. */
static int worker_allocate(struct vswitch *vswitch, uint32_t id, struct worker **out,
			   struct error *error)
{
	struct worker *worker = calloc(1, sizeof(*worker));

	*out = worker;
	if (worker == NULL)
		return error_set(error, ENOMEM, "worker %u: out of memory", id);
	worker->id = id;
	worker->vswitch = vswitch;
	worker->epoll_fd = worker->wake_fd = -1;
	worker->started = clock_cycles();
	worker->context = calloc(1, sizeof(*worker->context));
	if (worker->context == NULL)
		return error_set(error, ENOMEM, "worker %u: out of memory", id);
	worker->context->worker = worker;
	worker->context->in = burst_create();
	worker->context->edge = burst_create();
	worker->context->memo = bridge_memo_create();
	if (worker->context->in == NULL || worker->context->edge == NULL ||
	    worker->context->memo == NULL)
		return error_set(error, ENOMEM, "worker %u: out of memory", id);
	return 0;
}

int worker_create(struct vswitch *vswitch, uint32_t id, int cpu, enum config_poll poll,
		  struct worker **out, struct error *error)
{
	int result, node = numa_node_of_cpu(cpu);
	struct worker *worker;

	numa_prefer(node);
	result = worker_allocate(vswitch, id, &worker, error);
	numa_prefer(NUMA_NONE);
	if (result != 0)
		goto fail;
	worker->cpu = cpu;
	worker->node = node;
	worker->poll = poll;
	result = worker_open_fds(worker);
	if (result != 0) {
		error_set(error, -result, "worker %u: %s", id, strerror(-result));
		goto fail;
	}
	result = worker_start_thread(worker, error);
	if (result != 0)
		goto fail;
	*out = worker;
	return 0;
fail:
	worker_destroy(worker);
	return result;
}

void worker_destroy(struct worker *worker)
{
	struct worker_injection *injection, *next;

	if (worker == NULL)
		return;
	if (worker->thread != 0) {
		atomic_store_explicit(&worker->stop, true, memory_order_release);
		worker_wake(worker);
		pthread_join(worker->thread, NULL);
	}
	for (injection = atomic_load_explicit(&worker->injections, memory_order_acquire);
	     injection != NULL; injection = next) {
		next = injection->next;
		free(injection);
	}
	if (worker->context != NULL) {
		for (uint32_t i = 0; i < CONFIG_PORTS_MAX; i++)
			free(worker->context->batches[i]);
		burst_destroy(worker->context->in);
		burst_destroy(worker->context->edge);
		bridge_memo_destroy(worker->context->memo);
		free(worker->context);
	}
	if (worker->epoll_fd >= 0)
		close(worker->epoll_fd);
	if (worker->wake_fd >= 0)
		close(worker->wake_fd);
	free(worker);
}

int worker_reserve(struct worker *worker, const struct snapshot *snapshot)
{
	int result = 0;

	numa_prefer(worker->node);
	for (uint16_t i = 0; result == 0 && i < snapshot->port_limit; i++) {
		struct transmit_batch **batch = &worker->context->batches[i];

		if (snapshot->ports[i].port == NULL || *batch != NULL)
			continue;
		*batch = calloc(1, sizeof(**batch));
		if (*batch == NULL)
			result = -ENOMEM;
	}
	numa_prefer(NUMA_NONE);
	return result;
}

void worker_inject(struct worker *worker, struct worker_injection *injection)
{
	struct worker_injection *first =
	    atomic_load_explicit(&worker->injections, memory_order_relaxed);

	do {
		injection->next = first;
		/* release: pairs with the acquire in injections_run(). */
	} while (!atomic_compare_exchange_weak_explicit(
	    &worker->injections, &first, injection, memory_order_release, memory_order_relaxed));
	worker_wake(worker);
}

void worker_wake(struct worker *worker)
{
	uint64_t one = 1;

	/* release: pairs with the acquire of the exchange in context_adopt(). */
	atomic_store_explicit(&worker->rescan, 1, memory_order_release);
	if (write(worker->wake_fd, &one, sizeof(one)) < 0)
		return; /* EAGAIN after 2^64 of them */
}
