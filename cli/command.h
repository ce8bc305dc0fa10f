/* The commands of `weft`: one table from which dispatch, help, completion come. Single-threaded.
 *
 * Exit status: 0 done, 1 refused or failed, 2 wrong usage. */
#ifndef WEFT_CLI_COMMAND_H
#define WEFT_CLI_COMMAND_H

enum status { STATUS_DONE = 0, STATUS_FAILED = 1, STATUS_USAGE = 2 };

struct command {
	const char *name;      /* one or two words: "port add" */
	const char *arguments; /* as in the usage line */
	const char *summary;   /* one line */
	const char *help;      /* the rest, lines of at most 80 columns; may be "" */
	const char *words;     /* what completion offers behind the name, blank-separated */
	/* argv[0..argc) is what follows the name. Returns an enum status; one that returns
	 * STATUS_USAGE has said on stderr what is wrong, and the caller adds the usage line. */
	int (*run)(const char *socket, int argc, char **argv);
};

/* Ends with a row whose name is NULL. */
extern const struct command commands[];

/* show.c, top.c, change.c, gateway.c, check.c, complete.c */
int command_show(const char *socket, int argc, char **argv);
int command_top(const char *socket, int argc, char **argv);
int command_apply(const char *socket, int argc, char **argv);
int command_diff(const char *socket, int argc, char **argv);
int command_check(const char *socket, int argc, char **argv);
int command_port_add(const char *socket, int argc, char **argv);
int command_port_del(const char *socket, int argc, char **argv);
int command_network_add(const char *socket, int argc, char **argv);
int command_network_del(const char *socket, int argc, char **argv);
int command_forward_add(const char *socket, int argc, char **argv);
int command_forward_del(const char *socket, int argc, char **argv);
int command_lease_release(const char *socket, int argc, char **argv);
int command_sessions_flush(const char *socket, int argc, char **argv);
int command_qemu_args(const char *socket, int argc, char **argv);
int command_completion(const char *socket, int argc, char **argv);

/* "weft: TEXT" on stderr, control characters made harmless; returns `status`. */
int command_fail(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
