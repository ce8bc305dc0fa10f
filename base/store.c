/* The store (store.h): one SQLite file with one table. Control thread.
 *
 * The file is in WAL mode and synchronous=NORMAL: it is flushed to disk only when the log has
 * grown to a thousand pages. A flush for each commit would make all guests' ARP, DNS and DHCP wait
 * for a disk that others keep busy, for seconds. It is locked for as long as it is open, which also
 * does without the shared-memory file. Its application_id says that it is ours, its user_version
 * which format it has. */
#include "base/store.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define APPLICATION_ID 0x77656674 /* "weft" */
#define FORMAT	       1

enum statement { PUT, DELETE, VISIT, BEGIN, COMMIT, ROLLBACK, STATEMENT_COUNT };

static const char *const statement_text[STATEMENT_COUNT] = {
	[PUT] = "INSERT OR REPLACE INTO record (name, key, value) VALUES (?1, ?2, ?3)",
	[DELETE] = "DELETE FROM record WHERE name = ?1 AND key = ?2",
	[VISIT] = "SELECT key, value FROM record WHERE name = ?1 ORDER BY key",
	[BEGIN] = "BEGIN",
	[COMMIT] = "COMMIT",
	[ROLLBACK] = "ROLLBACK",
};

struct store {
	sqlite3 *db;
	sqlite3_stmt *statements[STATEMENT_COUNT];
	char *path;
	bool in_batch;
	bool failing; /* the last write failed, and that was logged */
};

/* What open_database() says of a file that is there but not usable: not an errno. */
#define BROKEN 1

static int open_database(struct store *store, struct error *e);
static void close_database(struct store *store);
static int move_aside(const char *path, const char *why, struct error *e);
static int errno_of(struct store *store, int code);
static int write_done(struct store *store, int code);
static bool batch_lost(struct store *store);
static int bind_blob(sqlite3_stmt *statement, int index, const void *bytes, size_t length);
static const uint8_t *column_blob(sqlite3_stmt *statement, int column, size_t *length);
static int step_once(sqlite3_stmt *statement);

int store_open(const char *path, struct store **result, struct error *e)
{
	struct store *store = calloc(1, sizeof(*store));
	struct error why = { 0 };
	int status;

	if (store == NULL || (store->path = strdup(path)) == NULL) {
		status = error_set(e, ENOMEM, "%s: out of memory", path);
		goto failed;
	}
	status = open_database(store, &why);
	if (status == BROKEN) {
		close_database(store);
		status = move_aside(path, why.text, e);
		if (status != 0)
			goto failed;
		status = open_database(store, &why);
		if (status == BROKEN)
			status = -EIO;
	}
	if (status != 0) {
		error_set(e, -status, "%s: %s", path, why.text);
		goto failed;
	}
	*result = store;
	return 0;
failed:
	store_close(store);
	return status;
}

void store_close(struct store *store)
{
	if (store == NULL)
		return;
	if (store->in_batch)
		store_commit(store);
	close_database(store);
	free(store->path);
	free(store);
}

int store_put(struct store *store, const char *table, const void *key, size_t key_length,
	      const void *value, size_t value_length)
{
	sqlite3_stmt *put = store->statements[PUT];
	int code;

	if (key_length > STORE_KEY_MAX || value_length > STORE_VALUE_MAX)
		return -EMSGSIZE;
	if (batch_lost(store))
		return -EIO;
	code = sqlite3_bind_text(put, 1, table, -1, SQLITE_STATIC);
	if (code == SQLITE_OK)
		code = bind_blob(put, 2, key, key_length);
	if (code == SQLITE_OK)
		code = bind_blob(put, 3, value, value_length);
	if (code == SQLITE_OK)
		code = step_once(put);
	sqlite3_clear_bindings(put);
	return write_done(store, code);
}

int store_delete(struct store *store, const char *table, const void *key, size_t key_length)
{
	sqlite3_stmt *delete = store->statements[DELETE];
	int code;

	if (key_length > STORE_KEY_MAX)
		return -EMSGSIZE;
	if (batch_lost(store))
		return -EIO;
	code = sqlite3_bind_text(delete, 1, table, -1, SQLITE_STATIC);
	if (code == SQLITE_OK)
		code = bind_blob(delete, 2, key, key_length);
	if (code == SQLITE_OK)
		code = step_once(delete);
	sqlite3_clear_bindings(delete);
	return write_done(store, code);
}

int store_visit(struct store *store, const char *table, store_visit_fn *visit, void *context)
{
	sqlite3_stmt *rows = store->statements[VISIT];
	int code, status = 0;

	code = sqlite3_bind_text(rows, 1, table, -1, SQLITE_STATIC);
	while (code == SQLITE_OK && status == 0) {
		const uint8_t *key, *value;
		size_t key_length, value_length;

		if (sqlite3_step(rows) != SQLITE_ROW)
			break;
		key = column_blob(rows, 0, &key_length);
		value = column_blob(rows, 1, &value_length);
		status = visit(context, key, key_length, value, value_length);
	}
	if (code == SQLITE_OK)
		code = sqlite3_reset(rows);
	sqlite3_clear_bindings(rows);
	if (status == 0 && code != SQLITE_OK) {
		log_warning("%s: cannot read all of it: %s", store->path, sqlite3_errstr(code));
		status = errno_of(store, code);
	}
	return status;
}

int store_begin(struct store *store)
{
	int status = write_done(store, step_once(store->statements[BEGIN]));

	store->in_batch = status == 0;
	return status;
}

int store_commit(struct store *store)
{
	int status;

	if (batch_lost(store)) {
		store->in_batch = false;
		return -EIO;
	}
	store->in_batch = false;
	status = write_done(store, step_once(store->statements[COMMIT]));
	if (status != 0 && !sqlite3_get_autocommit(store->db))
		step_once(store->statements[ROLLBACK]);
	return status;
}

/* Some errors (a full disk) make SQLite roll back by itself. The rest of the batch must not be
 * written one by one then. */
static bool batch_lost(struct store *store)
{
	return store->in_batch && sqlite3_get_autocommit(store->db);
}

static int bind_blob(sqlite3_stmt *statement, int index, const void *bytes, size_t length)
{
	return sqlite3_bind_blob(statement, index, length == 0 ? "" : bytes, (int)length,
				 SQLITE_STATIC);
}

static const uint8_t *column_blob(sqlite3_stmt *statement, int column, size_t *length)
{
	const void *bytes = sqlite3_column_blob(statement, column);

	*length = bytes == NULL ? 0 : (size_t)sqlite3_column_bytes(statement, column);
	return bytes == NULL ? (const uint8_t *)"" : bytes;
}

/* Runs a statement without rows; SQLITE_OK or an error. */
static int step_once(sqlite3_stmt *statement)
{
	sqlite3_step(statement);
	return sqlite3_reset(statement);
}

static int errno_of(struct store *store, int code)
{
	int number = store->db == NULL ? 0 : sqlite3_system_errno(store->db);

	switch (code & 0xff) {
	case SQLITE_OK:
		return 0;
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return -EBUSY;
	case SQLITE_PERM:
	case SQLITE_READONLY:
		return -EACCES;
	case SQLITE_TOOBIG:
		return -EMSGSIZE;
	case SQLITE_CANTOPEN:
	case SQLITE_IOERR:
		return number > 0 ? -number : -EIO;
	default:
		return -EIO;
	}
}

/* Says once when writing begins to fail, and once when it works again. */
static int write_done(struct store *store, int code)
{
	if (code != SQLITE_OK && !store->failing)
		log_error("%s: cannot write: %s; what is learnt from now on is lost at a restart",
			  store->path, sqlite3_errmsg(store->db));
	else if (code == SQLITE_OK && store->failing)
		log_info("%s: writing works again", store->path);
	store->failing = code != SQLITE_OK;
	return errno_of(store, code);
}

/* Puts the first column of the first row in *value: 0 or a code of SQLite. */
static int query_number(sqlite3 *db, const char *text, int64_t *value)
{
	sqlite3_stmt *statement;
	int code = sqlite3_prepare_v2(db, text, -1, &statement, NULL);

	if (code != SQLITE_OK)
		return code;
	*value = 0;
	if (sqlite3_step(statement) == SQLITE_ROW)
		*value = sqlite3_column_int64(statement, 0);
	return sqlite3_finalize(statement);
}

/* Whether a code means that the file's content is at fault, not the world around it. */
static bool is_damage(int code)
{
	code &= 0xff;
	return code == SQLITE_CORRUPT || code == SQLITE_NOTADB || code == SQLITE_ERROR ||
	       code == SQLITE_SCHEMA || code == SQLITE_FORMAT;
}

static int open_failed(struct store *store, int code, struct error *e)
{
	error_set(e, EIO, "%s", sqlite3_errmsg(store->db));
	if (is_damage(code))
		return BROKEN;
	if ((code & 0xff) == SQLITE_BUSY)
		error_set(e, EBUSY, "in use by another process");
	return errno_of(store, code);
}

/* Looks at the file before anything is written to it: 0, BROKEN when it is not ours or damaged. */
static int check_file(struct store *store, struct error *e)
{
	int64_t application, format, tables, sound;
	int code;

	code = query_number(store->db, "PRAGMA application_id", &application);
	if (code == SQLITE_OK)
		code = query_number(store->db, "PRAGMA user_version", &format);
	if (code == SQLITE_OK)
		code = query_number(store->db, "SELECT count(*) FROM sqlite_schema", &tables);
	if (code != SQLITE_OK)
		return open_failed(store, code, e);
	if (tables == 0)
		return 0;
	if (application != APPLICATION_ID) {
		error_set(e, EIO, "a database of another program");
		return BROKEN;
	}
	if (format != FORMAT) {
		error_set(e, EIO, "of format %lld, not %d", (long long)format, FORMAT);
		return BROKEN;
	}
	code =
	    query_number(store->db, "SELECT quick_check = 'ok' FROM pragma_quick_check(1)", &sound);
	if (code != SQLITE_OK)
		return open_failed(store, code, e);
	if (sound != 1) {
		error_set(e, EIO, "the database is damaged");
		return BROKEN;
	}
	return 0;
}

static int prepare(struct store *store, struct error *e)
{
	for (int i = 0; i < STATEMENT_COUNT; i++) {
		int code =
		    sqlite3_prepare_v3(store->db, statement_text[i], -1, SQLITE_PREPARE_PERSISTENT,
				       &store->statements[i], NULL);

		if (code != SQLITE_OK)
			return open_failed(store, code, e);
	}
	return 0;
}

/* Made here only when it is not there: closing a descriptor of a file that this process has open
 * in another store would take that store's lock away. */
static void create_private(const char *path)
{
	int fd = open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);

	if (fd >= 0)
		close(fd);
}

static int open_database(struct store *store, struct error *e)
{
	char text[512];
	int code, status;

	create_private(store->path);
	code = sqlite3_open_v2(store->path, &store->db,
			       SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
			       NULL);
	if (code != SQLITE_OK) {
		status = errno_of(store, code);
		return error_set(e, -status, "cannot open it: %s", strerror(-status));
	}
	if (sqlite3_db_readonly(store->db, "main") == 1)
		return error_set(e, EACCES, "no permission to write");
	code = sqlite3_exec(store->db, "PRAGMA locking_mode = EXCLUSIVE; PRAGMA trusted_schema = 0",
			    NULL, NULL, NULL);
	if (code != SQLITE_OK)
		return open_failed(store, code, e);
	status = check_file(store, e);
	if (status != 0)
		return status;
	snprintf(text, sizeof(text),
		 "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"
		 "PRAGMA journal_size_limit = 4194304; BEGIN IMMEDIATE;"
		 "CREATE TABLE IF NOT EXISTS record (name TEXT NOT NULL, key BLOB NOT NULL,"
		 " value BLOB NOT NULL, PRIMARY KEY (name, key)) WITHOUT ROWID;"
		 "PRAGMA application_id = %d; PRAGMA user_version = %d; COMMIT",
		 APPLICATION_ID, FORMAT);
	code = sqlite3_exec(store->db, text, NULL, NULL, NULL);
	if (code != SQLITE_OK)
		return open_failed(store, code, e);
	return prepare(store, e);
}

static void close_database(struct store *store)
{
	for (int i = 0; i < STATEMENT_COUNT; i++) {
		sqlite3_finalize(store->statements[i]);
		store->statements[i] = NULL;
	}
	sqlite3_close(store->db);
	store->db = NULL;
}

/* One broken file is kept for a person to look at; the next one takes its place. */
static int move_aside(const char *path, const char *why, struct error *e)
{
	static const char *const suffixes[] = { "-wal", "-journal", "" };
	char from[4096], to[4096];

	for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
		snprintf(from, sizeof(from), "%s%s", path, suffixes[i]);
		snprintf(to, sizeof(to), "%s.broken%s", path, suffixes[i]);
		if (rename(from, to) != 0 && (errno != ENOENT || suffixes[i][0] == '\0'))
			return error_set(e, errno, "%s: %s, and cannot be moved to %s: %s", path,
					 why, to, strerror(errno));
	}
	log_warning("%s: %s; moved to %s.broken, beginning a new one", path, why, path);
	return 0;
}
