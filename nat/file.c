/* Keeping sessions over a restart (file.h). Control at the start, and workers when the table grows.
 *
 * The slots of the file are the table itself. A slot holds a session when its check word is right,
 * and that word is stored last and cleared first, so a process that is killed leaves each session
 * whole or not at all; what changes later (state, time) changes one word at a time. Nothing that
 * stands in the file is used before nat_file_restore() has looked at it. */
#include "nat/file.h"

#include "base/log.h"
#include "nat/accounts.h"
#include "nat/session.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC	    "weftnat1"
#define HEADER_SIZE 20480u
#define CHUNK	    1024u /* slots that the file grows by */
#define SLOTS	    (NAT_SESSIONS_MAX + 1)
#define MAP_SIZE    (HEADER_SIZE + SLOTS * sizeof(struct nat_slot))
#define PORTS_SIZE  (NAT_SPACES * sizeof(struct nat_ports))

struct nat_file_header {
	char magic[8];
	uint32_t slot_size, shards;
	char boot[40]; /* times count from there */
	uint64_t key[2];
	uint64_t check; /* of all before */
	struct ip addresses[NAT_ADDRESSES_MAX];
};

_Static_assert(sizeof(struct nat_file_header) <= HEADER_SIZE, "the header has room");

/* A session of the file, to be taken over in the order of last use. */
struct found {
	uint32_t last_seen, slot;
};

static int file_get(struct nat *nat, const char *path, struct error *error);
static bool file_read_header(int fd, struct nat_file_header *header, bool *old);
static void header_make(struct nat_file_header *header);
static uint64_t header_check(const struct nat_file_header *header);
static void boot_id(char boot[40]);
static bool slot_valid(struct nat *nat, const struct nat_rules *rules, const struct nat_slot *slot,
		       uint32_t now);

int nat_file_open(struct nat *nat, const char *path, struct error *error)
{
	void *map = MAP_FAILED;
	int code;

	nat->fd = -1;
	if (path != NULL) {
		code = file_get(nat, path, error);
		if (code == -EBUSY)
			return code;
		if (code == 0)
			map = mmap(NULL, MAP_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, nat->fd, 0);
		if (map == MAP_FAILED)
			log_warning("%s: sessions will not outlive this process: %s", path,
				    strerror(code == 0 ? errno : -code));
	}
	if (map != MAP_FAILED) {
		nat->header = map;
		nat->slots = (struct nat_slot *)((uint8_t *)map + HEADER_SIZE);
		memcpy(nat->key, nat->header->key, sizeof(nat->key));
		for (uint16_t i = 0; i < NAT_ADDRESSES_MAX; i++) {
			if (!ip_is_host(&nat->header->addresses[i]))
				continue;
			code = nat_address_open(nat, i, &nat->header->addresses[i]);
			if (code != 0)
				return code;
		}
		return 0;
	}
	if (nat->fd >= 0)
		close(nat->fd);
	nat->fd = -1;
	nat->slots = nat_memory(SLOTS * sizeof(*nat->slots));
	if (nat->slots == NULL)
		return -ENOMEM;
	return getrandom(nat->key, sizeof(nat->key), 0) == sizeof(nat->key) ? 0 : -ENOMEM;
}

void nat_file_close(struct nat *nat)
{
	for (uint16_t i = 0; i < NAT_ADDRESSES_MAX; i++)
		nat_memory_free(nat->addresses[i].ports, PORTS_SIZE);
	if (nat->header != NULL)
		munmap(nat->header, MAP_SIZE);
	else
		nat_memory_free(nat->slots, SLOTS * sizeof(*nat->slots));
	if (nat->fd >= 0)
		close(nat->fd);
}

bool nat_file_extend(struct nat *nat)
{
	struct nat_accounts *accounts = &nat->accounts;
	uint32_t more = SLOTS - accounts->allocated;

	if (more > CHUNK)
		more = CHUNK;
	/* A hole would be filled at the first write, and when the file system is full that kills.
	 */
	if (more == 0 ||
	    (nat->fd >= 0 &&
	     posix_fallocate(nat->fd,
			     (off_t)(HEADER_SIZE + accounts->allocated * sizeof(struct nat_slot)),
			     (off_t)(more * sizeof(struct nat_slot))) != 0))
		return false;
	accounts->allocated += more;
	return true;
}

static int compare_found(const void *a, const void *b)
{
	const struct found *first = a, *second = b;

	if (first->last_seen != second->last_seen)
		return first->last_seen < second->last_seen ? -1 : 1;
	return first->slot < second->slot ? -1 : first->slot > second->slot;
}

int nat_file_restore(struct nat *nat, const struct nat_rules *rules, uint32_t now)
{
	struct nat_accounts *accounts = &nat->accounts;
	uint32_t count = 0, slots;
	struct found *found;
	struct stat status;

	if (nat->fd < 0)
		return 0;
	if (fstat(nat->fd, &status) != 0)
		return -errno;
	slots = (uint32_t)(((uint64_t)status.st_size - HEADER_SIZE) / sizeof(struct nat_slot));
	if (slots < 2)
		return 0;
	if (slots > SLOTS)
		slots = SLOTS;
	found = calloc(slots, sizeof(*found));
	if (found == NULL)
		return -ENOMEM;
	accounts->allocated = slots;
	atomic_store_explicit(&accounts->high, slots, memory_order_relaxed);
	for (uint32_t i = slots - 1; i > 0; i--) {
		struct nat_slot *slot = &nat->slots[i];

		atomic_store_explicit(&slot->shard, 0, memory_order_relaxed);
		if (slot_valid(nat, rules, slot, now)) {
			found[count++] = (struct found){ slot->last_seen, i };
			continue;
		}
		atomic_store_explicit(&slot->check, 0, memory_order_release);
		nat_accounts_free_slot(nat, i);
	}
	qsort(found, count, sizeof(*found), compare_found);
	for (uint32_t i = 0; i < count; i++) {
		if (nat_session_restore(nat, rules, found[i].slot))
			continue;
		atomic_store_explicit(&nat->slots[found[i].slot].check, 0, memory_order_release);
		nat_accounts_free_slot(nat, found[i].slot);
	}
	free(found);
	return 0;
}

int nat_address_open(struct nat *nat, uint16_t index, const struct ip *ip)
{
	struct nat_address *address = &nat->addresses[index];

	for (uint16_t i = 0; i < NAT_ADDRESSES_MAX; i++) {
		if (nat->addresses[i].used && ip_equal(&nat->addresses[i].ip, ip))
			return 0; /* twice in a file: the first counts */
	}
	address->ports = nat_memory(PORTS_SIZE);
	if (address->ports == NULL)
		return -ENOMEM;
	address->ip = *ip;
	address->used = true;
	if (nat->header != NULL)
		nat->header->addresses[index] = *ip;
	return 0;
}

void nat_address_close(struct nat *nat, uint16_t index)
{
	struct nat_address *address = &nat->addresses[index];

	nat_memory_free(address->ports, PORTS_SIZE);
	memset(address, 0, sizeof(*address));
	if (nat->header != NULL)
		memset(&nat->header->addresses[index], 0, sizeof(struct ip));
}

/* Opens and locks the file and makes its header good. */
static int file_get(struct nat *nat, const char *path, struct error *error)
{
	struct nat_file_header header;
	char aside[PATH_MAX];
	bool old = false;
	int code;

	for (int i = 0; i < 2; i++) {
		nat->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
		if (nat->fd < 0)
			return -errno;
		if (flock(nat->fd, LOCK_EX | LOCK_NB) != 0) {
			code = errno;
			close(nat->fd);
			nat->fd = -1;
			if (code == EWOULDBLOCK)
				return error_set(error, EBUSY, "%s: in use by another process",
						 path);
			return -code;
		}
		if (file_read_header(nat->fd, &header, &old))
			return 0;
		if (old)
			break;
		if (snprintf(aside, sizeof(aside), "%s.bad", path) >= (int)sizeof(aside))
			return -ENAMETOOLONG;
		log_warning("%s: not a table of sessions of this program, or damaged: "
			    "moved to %s",
			    path, aside);
		if (rename(path, aside) != 0)
			return -errno;
		close(nat->fd);
		nat->fd = -1;
	}
	if (nat->fd < 0)
		return -EINVAL;
	header_make(&header);
	if (ftruncate(nat->fd, 0) != 0 || posix_fallocate(nat->fd, 0, HEADER_SIZE) != 0)
		return -ENOSPC;
	return pwrite(nat->fd, &header, sizeof(header), 0) == sizeof(header) ? 0 : -EIO;
}

/* Whether the file can be used as it is; *old: it can be emptied and used, as there is nothing in
 * it, or only what was before the machine last started. */
static bool file_read_header(int fd, struct nat_file_header *header, bool *old)
{
	struct stat status;
	char boot[40];

	*old = false;
	if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode))
		return false;
	*old = status.st_size == 0;
	if (status.st_size < (off_t)(HEADER_SIZE + sizeof(struct nat_slot)) &&
	    status.st_size != HEADER_SIZE)
		return false;
	if (pread(fd, header, sizeof(*header), 0) != sizeof(*header) ||
	    memcmp(header->magic, MAGIC, sizeof(header->magic)) != 0 ||
	    header->slot_size != sizeof(struct nat_slot) || header->shards != NAT_SHARDS ||
	    header->check != header_check(header))
		return false;
	boot_id(boot);
	*old = memcmp(header->boot, boot, sizeof(boot)) != 0;
	return !*old;
}

static void header_make(struct nat_file_header *header)
{
	memset(header, 0, sizeof(*header));
	memcpy(header->magic, MAGIC, sizeof(header->magic));
	header->slot_size = sizeof(struct nat_slot);
	header->shards = NAT_SHARDS;
	boot_id(header->boot);
	if (getrandom(header->key, sizeof(header->key), 0) != sizeof(header->key))
		abort(); /* the kernel always has 16 bytes */
	header->check = header_check(header);
}

static uint64_t header_check(const struct nat_file_header *header)
{
	uint64_t check = 0x9e3779b97f4a7c15u;

	for (uint32_t i = 0; i < offsetof(struct nat_file_header, check) / 8; i++)
		check = nat_mix(check ^ nat_word(header, i), 0xd6e8feb86659fd93u) + i;
	return check;
}

static void boot_id(char boot[40])
{
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);

	memset(boot, 0, 40);
	if (fd < 0)
		return;
	if (read(fd, boot, 36) != 36)
		memset(boot, 0, 40);
	close(fd);
}

static bool ports_valid(const struct nat_slot *slot)
{
	enum nat_space space = nat_space_of(slot->protocol);

	if (space == NAT_SPACES)
		return !(slot->flags & NAT_SLOT_FORWARD) && slot->inside_port == 0 &&
		       slot->outside_port == 0 && slot->remote_port == 0;
	if (space == NAT_SPACE_ICMP) {
		if ((slot->flags & NAT_SLOT_FORWARD) || slot->remote_port != 0)
			return false;
	} else if (slot->inside_port == 0 || slot->outside_port == 0 || slot->remote_port == 0) {
		return false;
	}
	return (slot->flags & NAT_SLOT_FORWARD) ||
	       nat_port_shard(slot->inside_port) == nat_port_shard(slot->outside_port);
}

static bool slot_valid(struct nat *nat, const struct nat_rules *rules, const struct nat_slot *slot,
		       uint32_t now)
{
	bool v4 = ip_is_v4(&slot->inside);

	return slot->address < NAT_ADDRESSES_MAX && nat->addresses[slot->address].used &&
	       atomic_load_explicit(&slot->check, memory_order_acquire) ==
		   nat_session_check(nat, slot) &&
	       ip_is_host(&slot->inside) && ip_is_host(&slot->remote) &&
	       ip_is_v4(&slot->remote) == v4 && ip_is_v4(&nat->addresses[slot->address].ip) == v4 &&
	       slot->protocol != 0 && nat_state_valid(slot->protocol, slot->state) &&
	       ports_valid(slot) && (int32_t)(now - slot->last_seen) >= 0 &&
	       (int32_t)(slot->last_seen - slot->created) >= 0 && !nat_session_expired(slot, now) &&
	       nat_rules_fit(nat, rules, slot);
}
