/* What must survive a restart and SIGKILL, and be whole after power loss: small records in one
 * SQLite file.
 *
 * A record has a table (a name of the caller's), a key unique in that table, and a value, both any
 * bytes. Only the thread that opened a store uses it (control). A writing call outside
 * store_begin() ... store_commit() is with the kernel when it returns, and so survives SIGKILL;
 * inside, when the commit returns, so that a batch is there as a whole or not at all. Power loss
 * takes back what the kernel had not yet written, usually the last half a minute: the latest
 * commits, each as a whole.
 *
 * Failing writes are logged here, once until a write succeeds again; callers go on without. */
#ifndef WEFT_BASE_STORE_H
#define WEFT_BASE_STORE_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

#define STORE_KEY_MAX	256u
#define STORE_VALUE_MAX 65536u

struct store;

/* Opens the file at `path`, or makes it (mode 0600), and locks it against other processes. A file
 * that is damaged, foreign or of a newer format is moved aside to PATH.broken, with a warning, and
 * a new one begun. 0; -EBUSY when another process has it open; else -errno: no such directory, no
 * permission, and so on. The caller owns *store. */
int store_open(const char *path, struct store **store, struct error *e);

/* Commits what is open and closes. */
void store_close(struct store *store);

/* Insert or replace. 0 or -errno (-ENOSPC: the disk is full; -EMSGSIZE: beyond the limits). */
int store_put(struct store *store, const char *table, const void *key, size_t key_length,
	      const void *value, size_t value_length);

/* 0, also when there is no such record; or -errno. */
int store_delete(struct store *store, const char *table, const void *key, size_t key_length);

/* Calls visit for each record of the table, in the order of the keys' bytes, until it returns
 * nonzero, which is then returned. The bytes are valid during the call only. Visit must not write
 * to the store. 0 or -errno. */
typedef int store_visit_fn(void *context, const uint8_t *key, size_t key_length,
			   const uint8_t *value, size_t value_length);
int store_visit(struct store *store, const char *table, store_visit_fn *visit, void *context);

/* Opens a batch; not nested. 0 or -errno. */
int store_begin(struct store *store);
/* With the kernel when it returns 0. After an error the batch is not there at all. */
int store_commit(struct store *store);

#endif
