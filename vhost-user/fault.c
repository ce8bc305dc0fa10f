/* What happens when a frontend truncates a file that weft has mapped (guest_memory.h).
 *
 * The first touch of a page that is gone raises SIGBUS in whichever thread touches it: a worker in
 * the middle of a burst, or control. The handler looks the address up in a table of all mappings of
 * foreign files, puts anonymous zero pages in the place of that whole mapping, sets its flag and
 * wakes control, which takes the port down; the interrupted access then succeeds and reads zeros.
 *
 * The table is written by control alone and read by the handler on any thread, at any moment, so it
 * has no lock: it grows by chunks that are never freed, and each slot carries a sequence number
 * that is odd while the slot changes. The handler may skip a slot that changes under it: a mapping
 * being added is not used yet, one being removed is not used any more. */
#include "vhost-user/guest_memory.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CHUNK_RANGES 256u

struct fault_range {
	_Atomic uint32_t sequence; /* odd: being changed */
	_Atomic uintptr_t address;
	_Atomic size_t length; /* 0: the slot is free */
	_Atomic(_Atomic bool *) faulted;
};

struct chunk {
	struct fault_range ranges[CHUNK_RANGES];
	_Atomic(struct chunk *) next; /* control: release; handler: acquire */
};

static struct chunk first_chunk;
static struct sigaction previous_action;
static _Atomic int notify = -1;

static void handle_sigbus(int signal_number, siginfo_t *info, void *context);
static void range_set(struct fault_range *range, uintptr_t address, size_t length,
		      _Atomic bool *faulted);

int guest_memory_handle_faults(int notify_fd)
{
	struct sigaction action = { .sa_sigaction = handle_sigbus, .sa_flags = SA_SIGINFO };
	struct sigaction current;

	/* The partner is the handler's load; no other data hangs on it. */
	atomic_store_explicit(&notify, notify_fd, memory_order_relaxed);
	if (sigaction(SIGBUS, NULL, &current) < 0)
		return -errno;
	if ((current.sa_flags & SA_SIGINFO) != 0 && current.sa_sigaction == handle_sigbus)
		return 0;
	previous_action = current;
	sigemptyset(&action.sa_mask);
	return sigaction(SIGBUS, &action, NULL) < 0 ? -errno : 0;
}

struct fault_range *fault_range_add(void *address, size_t length, _Atomic bool *faulted)
{
	struct chunk *chunk = &first_chunk, *next;

	for (;;) {
		for (uint32_t i = 0; i < CHUNK_RANGES; i++) {
			struct fault_range *range = &chunk->ranges[i];

			if (atomic_load_explicit(&range->length, memory_order_relaxed) == 0) {
				range_set(range, (uintptr_t)address, length, faulted);
				return range;
			}
		}
		next = atomic_load_explicit(&chunk->next, memory_order_relaxed);
		if (next == NULL) {
			next = calloc(1, sizeof(*next));
			if (next == NULL)
				return NULL;
			atomic_store_explicit(&chunk->next, next, memory_order_release);
		}
		chunk = next;
	}
}

void fault_range_remove(struct fault_range *range)
{
	if (range != NULL)
		range_set(range, 0, 0, NULL);
}

/* All accesses to a slot are sequentially consistent: this is rare, and easy to trust. */
static void range_set(struct fault_range *range, uintptr_t address, size_t length,
		      _Atomic bool *faulted)
{
	atomic_fetch_add(&range->sequence, 1);
	atomic_store(&range->address, address);
	atomic_store(&range->length, length);
	atomic_store(&range->faulted, faulted);
	atomic_fetch_add(&range->sequence, 1);
}

/* Replaces the mapping that holds `address`. Raw system calls: sanitizers intercept the library's,
 * and their interceptors are no place for a signal handler. */
static bool repair_range(struct fault_range *range, uintptr_t address)
{
	uint32_t sequence = atomic_load(&range->sequence);
	uintptr_t start = atomic_load(&range->address);
	size_t length = atomic_load(&range->length);
	_Atomic bool *faulted = atomic_load(&range->faulted);

	if ((sequence & 1) != 0 || atomic_load(&range->sequence) != sequence)
		return false;
	if (length == 0 || address - start >= length)
		return false;
	if (syscall(SYS_mmap, start, length, PROT_READ | PROT_WRITE,
		    MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) != (long)start)
		return false;
	/* Partner: guest_memory_faulted(), dirty_log_faulted(). */
	atomic_store_explicit(faulted, true, memory_order_release);
	return true;
}

static bool repair_address(uintptr_t address)
{
	struct chunk *chunk = &first_chunk;

	while (chunk != NULL) {
		for (uint32_t i = 0; i < CHUNK_RANGES; i++) {
			if (repair_range(&chunk->ranges[i], address))
				return true;
		}
		chunk = atomic_load_explicit(&chunk->next, memory_order_acquire);
	}
	return false;
}

static void handle_sigbus(int signal_number, siginfo_t *info, void *context)
{
	int saved_errno = errno;
	int fd = atomic_load_explicit(&notify, memory_order_relaxed);
	uint64_t one = 1;

	(void)context;
	/* A code above 0 is the kernel's own: a fault, whose instruction is run again on return. */
	if (info->si_code > 0 && repair_address((uintptr_t)info->si_addr)) {
		if (fd >= 0)
			(void)syscall(SYS_write, fd, &one, sizeof(one));
		errno = saved_errno;
		return;
	}
	/* Not ours: what would have happened without us happens now. */
	sigaction(signal_number, &previous_action, NULL);
	if (info->si_code <= 0)
		raise(signal_number);
	errno = saved_errno;
}
