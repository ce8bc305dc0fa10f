/* A device and its smallest owner (device_harness.h). Control is the thread of the test. */
#include "tests/lib/device_harness.h"

#include <dirent.h>
#include <malloc.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

static int fault_fd = -1;

static bool kicked(const struct virtqueue *vq)
{
	struct pollfd pollfd = { .fd = vq->kick_fd, .events = POLLIN };
	uint64_t count;

	if (poll(&pollfd, 1, 0) <= 0)
		return false;
	if (read(vq->kick_fd, &count, sizeof(count)) < 0)
		return false;
	return true;
}

static void work_on_frames(struct harness *harness, uint32_t index)
{
	struct burst *burst = harness->burst;
	struct virtqueue *back = vhost_device_queue(harness->device, index - 1);
	struct frame *frames[BURST_FRAMES];

	for (uint32_t i = 0; i < burst->count; i++) {
		frames[i] = &burst->frames[i];
		if (harness->inspect != NULL)
			harness->inspect(frames[i]);
	}
	if (harness->work == HARNESS_SINK || burst->count == 0)
		return;
	if (atomic_load_explicit(&back->running, memory_order_acquire))
		virtqueue_to_guest(back, frames, burst->count, harness->counters);
	else
		counter_drop(harness->counters, DROP_PORT_DOWN, burst->count);
}

/* One look at a queue from the guest, as a worker in adaptive mode does it: asleep until kicked
 * once it found the queue empty. */
static void work_on_queue(struct harness *harness, uint32_t index)
{
	struct virtqueue *vq = vhost_device_queue(harness->device, index);
	uint32_t taken;

	if (!atomic_load_explicit(&vq->running, memory_order_acquire))
		return;
	/* Acquire: pairs with the release in on_queue_started(). */
	if (atomic_exchange_explicit(&harness->fresh[index], false, memory_order_acquire))
		harness->armed[index] = false;
	if (harness->armed[index] && vq->kick_fd >= 0) {
		if (!kicked(vq))
			return;
		virtqueue_disarm(vq);
		harness->armed[index] = false;
	}
	burst_reset(harness->burst);
	taken = virtqueue_from_guest(vq, harness->burst, harness->counters);
	if (taken == 0) {
		harness->armed[index] = virtqueue_arm(vq);
		return;
	}
	work_on_frames(harness, index);
	virtqueue_from_guest_done(vq);
}

static void work(struct harness *harness)
{
	uint32_t count = vhost_device_queue_count(harness->device);

	for (uint32_t i = 1; i < count; i += 2)
		work_on_queue(harness, i);
}

static void *worker_main(void *argument)
{
	struct harness *harness = argument;

	rcu_register(harness->rcu, 0);
	rcu_online(harness->rcu, 0);
	while (!atomic_load_explicit(&harness->stop, memory_order_acquire)) {
		work(harness);
		rcu_quiescent(harness->rcu, 0);
		sched_yield();
	}
	rcu_offline(harness->rcu, 0);
	rcu_unregister(harness->rcu, 0);
	return NULL;
}

static void on_grace_period(void *owner)
{
	struct harness *harness = owner;

	harness->grace_periods++;
	if (harness->mode == HARNESS_WORKER_THREAD)
		rcu_wait(harness->rcu);
}

static void on_queue_started(void *owner, struct virtqueue *vq)
{
	struct harness *harness = owner;

	harness->started++;
	atomic_store_explicit(&harness->fresh[vq->index], true, memory_order_release);
}

static void on_queue_stopping(void *owner, struct virtqueue *vq)
{
	struct harness *harness = owner;

	(void)vq;
	harness->stopping++;
}

static void on_link_changed(void *owner, bool up)
{
	struct harness *harness = owner;

	harness->link_changes++;
	harness->link = up;
}

static void on_announce(void *owner, struct mac mac)
{
	struct harness *harness = owner;

	harness->announces++;
	harness->announced = mac;
}

static const struct vhost_device_callbacks callbacks = {
	.grace_period = on_grace_period,
	.queue_started = on_queue_started,
	.queue_stopping = on_queue_stopping,
	.link_changed = on_link_changed,
	.announce = on_announce,
};

static void on_fault(evutil_socket_t fd, short what, void *context)
{
	struct harness *harness = context;
	uint64_t count;

	(void)what;
	if (read(fd, &count, sizeof(count)) == sizeof(count) && harness->device != NULL)
		vhost_device_check_faults(harness->device);
}

static void must(bool condition, const char *what)
{
	if (condition)
		return;
	perror(what);
	abort();
}

static void start_worker(struct harness *harness)
{
	atomic_store_explicit(&harness->stop, false, memory_order_release);
	must(pthread_create(&harness->thread, NULL, worker_main, harness) == 0, "pthread_create");
}

static void stop_worker(struct harness *harness)
{
	atomic_store_explicit(&harness->stop, true, memory_order_release);
	pthread_join(harness->thread, NULL);
}

static int create_device(struct harness *harness, const struct vhost_device_config *config,
			 struct error *error)
{
	struct vhost_device_config copy = *config;
	struct error ignored;
	int rc;

	if (copy.path == NULL)
		copy.path = harness->path;
	if (copy.state_directory == NULL)
		copy.state_directory = harness->state_directory;
	rc = vhost_device_create(harness->loop, &copy, &callbacks, harness, &harness->device,
				 error != NULL ? error : &ignored);
	if (rc == 0 && harness->mode == HARNESS_WORKER_THREAD)
		start_worker(harness);
	return rc;
}

static void destroy_device(struct harness *harness)
{
	if (harness->device == NULL)
		return;
	if (harness->mode == HARNESS_WORKER_THREAD)
		stop_worker(harness);
	vhost_device_destroy(harness->device);
	harness->device = NULL;
}

int harness_open(struct harness *harness, enum harness_mode mode,
		 const struct vhost_device_config *config, struct error *error)
{
	int rc;

	memset(harness, 0, sizeof(*harness));
	harness->mode = mode;
	if (fault_fd < 0) {
		signal(SIGPIPE, SIG_IGN);
		fault_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		must(fault_fd >= 0, "eventfd");
	}
	/* Each time: cmocka puts handlers of its own in place around each test. */
	must(guest_memory_handle_faults(fault_fd) == 0, "guest_memory_handle_faults");
	strcpy(harness->directory, "/tmp/weft-test-XXXXXX");
	must(mkdtemp(harness->directory) != NULL, "mkdtemp");
	snprintf(harness->path, sizeof(harness->path), "%s/socket", harness->directory);
	snprintf(harness->state_directory, sizeof(harness->state_directory), "%s/state",
		 harness->directory);
	harness->loop = event_base_new();
	harness->burst = burst_create();
	harness->counters = aligned_alloc(64, sizeof(*harness->counters));
	must(harness->loop != NULL && harness->burst != NULL && harness->counters != NULL,
	     "memory");
	memset(harness->counters, 0, sizeof(*harness->counters));
	harness->fault_event =
	    event_new(harness->loop, fault_fd, EV_READ | EV_PERSIST, on_fault, harness);
	must(harness->fault_event != NULL && event_add(harness->fault_event, NULL) == 0, "event");
	if (mode == HARNESS_WORKER_THREAD) {
		harness->rcu = rcu_create(1);
		must(harness->rcu != NULL, "rcu_create");
	}
	rc = create_device(harness, config, error);
	if (rc != 0)
		harness_close(harness);
	return rc;
}

/* What packed rings leave behind. */
static void remove_state(const struct harness *harness)
{
	DIR *directory = opendir(harness->state_directory);
	struct dirent *entry;

	if (directory == NULL)
		return;
	while ((entry = readdir(directory)) != NULL)
		unlinkat(dirfd(directory), entry->d_name, 0);
	closedir(directory);
	rmdir(harness->state_directory);
}

void harness_close(struct harness *harness)
{
	destroy_device(harness);
	if (harness->fault_event != NULL)
		event_free(harness->fault_event);
	if (harness->loop != NULL)
		event_base_free(harness->loop);
	rcu_destroy(harness->rcu);
	burst_destroy(harness->burst);
	free(harness->counters);
	unlink(harness->path);
	remove_state(harness);
	rmdir(harness->directory);
	memset(harness, 0, sizeof(*harness));
}

int harness_restart(struct harness *harness, const struct vhost_device_config *config)
{
	destroy_device(harness);
	return create_device(harness, config, NULL);
}

void harness_pump(void *context)
{
	struct harness *harness = context;

	event_base_loop(harness->loop, EVLOOP_NONBLOCK);
	if (harness->device != NULL && harness->mode == HARNESS_SAME_THREAD)
		work(harness);
}

uint64_t harness_drops(const struct harness *harness, enum drop_reason reason)
{
	return atomic_load_explicit(&harness->counters->drops[reason], memory_order_relaxed);
}

uint64_t harness_all_drops(const struct harness *harness)
{
	uint64_t sum = 0;

	for (int i = 0; i < DROP_COUNT; i++)
		sum += harness_drops(harness, (enum drop_reason)i);
	return sum;
}

uint64_t harness_received(const struct harness *harness)
{
	return atomic_load_explicit(&harness->counters->receive_packets, memory_order_relaxed);
}

struct vhost_device_status harness_status(const struct harness *harness)
{
	struct vhost_device_status status;

	memset(&status, 0, sizeof(status));
	vhost_device_get_status(harness->device, &status);
	return status;
}

static unsigned count_fds(void)
{
	DIR *directory = opendir("/proc/self/fd");
	unsigned count = 0;

	must(directory != NULL, "/proc/self/fd");
	while (readdir(directory) != NULL)
		count++;
	closedir(directory);
	return count;
}

/* Mappings with a file behind them, a memfd's among them: those of the heap and of sanitizers come
 * and go by themselves. */
static unsigned count_mappings(void)
{
	FILE *file = fopen("/proc/self/maps", "re");
	char line[512];
	unsigned count = 0;

	must(file != NULL, "/proc/self/maps");
	while (fgets(line, sizeof(line), file) != NULL)
		count += strchr(line, '/') != NULL;
	fclose(file);
	return count;
}

unsigned footprint_fds_settled(unsigned fds)
{
	unsigned count = count_fds();

	for (uint32_t i = 0; i < 100000 && count > fds; i++) {
		sched_yield();
		count = count_fds();
	}
	return count;
}

struct footprint footprint_take_settled(unsigned fds)
{
	footprint_fds_settled(fds);
	return footprint_take();
}

struct footprint footprint_take(void)
{
	return (struct footprint){
		.fds = count_fds(),
		.mappings = count_mappings(),
		.heap = mallinfo2().uordblks,
	};
}
