/* weftd: reads its configuration, opens the switch and the API socket, says that it is ready, and
 * runs the event loop until SIGTERM or SIGINT. SIGHUP reads the configuration file again. Control
 * thread. */
#include "base/clock.h"
#include "base/log.h"
#include "vswitch/api.h"
#include "vswitch/config.h"
#include "vswitch/gateway.h"
#include "vswitch/switch.h"

#include <errno.h>
#include <event2/event.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define DEFAULT_CONFIG "/etc/weft/weft.yaml"

enum exit_status { EXIT_DONE = 0, EXIT_REFUSED = 1, EXIT_USAGE = 2 };

struct options {
	const char *config; /* NULL: the default file where there is one */
	bool check;
};

struct daemon {
	struct event_base *loop;
	struct vswitch *vswitch;
	struct api *api;
	struct event *signals[3];
	const char *config_file; /* NULL: started without one */
	char socket[CONFIG_SOCKET_MAX + 1];
};

static const char usage_text[] =
    "usage: weftd [-c FILE] [--log-level LEVEL]\n"
    "       weftd --check FILE...\n"
    "\n"
    "  -c, --config FILE   the configuration (" DEFAULT_CONFIG " if that exists)\n"
    "      --check         check the files that follow, print what is wrong, and exit\n"
    "      --log-level L   error, warning, info (default) or debug\n"
    "  -h, --help          this text\n"
    "  -V, --version       the version\n"
    "\n"
    "Signals: SIGTERM and SIGINT stop it cleanly, SIGHUP applies the configuration file again.\n"
    "Exit status: 0 done, 1 refused or failed, 2 wrong usage.\n";

/* What the ports need of the machine: interfaces, places for sockets. */
static int check_machine(const char *file, const struct config *config)
{
	int status = EXIT_DONE;

	for (uint32_t i = 0; i < config->port_count; i++) {
		const struct port_config *port = &config->ports[i];
		struct error error;

		if (port->type->check == NULL || port->type->check(port, &error) == 0)
			continue;
		config_error_place(file, port, &error);
		fprintf(stderr, "%s\n", error.text);
		status = EXIT_REFUSED;
	}
	return status;
}

static int check_files(char **files)
{
	int status = EXIT_DONE;

	if (*files == NULL) {
		fprintf(stderr, "weftd: --check: no file given\n%s", usage_text);
		return EXIT_USAGE;
	}
	for (; *files != NULL; files++) {
		struct config config;
		struct error error;

		if (config_load(*files, &config, &error) != 0) {
			fprintf(stderr, "%s\n", error.text);
			status = EXIT_REFUSED;
			continue;
		}
		if (check_machine(*files, &config) == EXIT_DONE)
			printf("%s: ok\n", *files);
		else
			status = EXIT_REFUSED;
		config_clear(&config);
	}
	return status;
}

/* A thousand ports with several fds each are usual; the soft limit is often 1,024. */
static void raise_file_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
			log_warning("the limit of open files stays low: %s", strerror(errno));
	}
}

/* sd_notify(3)'s protocol: one datagram to the socket the service manager named. */
static void notify_manager(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	socklen_t length;
	int fd;

	if (path == NULL || (path[0] != '/' && path[0] != '@') ||
	    strlen(path) >= sizeof(address.sun_path))
		return;
	memcpy(address.sun_path, path, strlen(path));
	length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
	if (path[0] == '@')
		address.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	if (sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&address, length) < 0)
		log_warning("cannot notify the service manager: %s", strerror(errno));
	close(fd);
}

static void on_stop(evutil_socket_t number, short what, void *argument)
{
	struct daemon *daemon = argument;

	log_info("stopping");
	notify_manager("STOPPING=1");
	event_base_loopbreak(daemon->loop);
}

static void on_reload(evutil_socket_t number, short what, void *argument)
{
	struct daemon *daemon = argument;
	struct config config;
	struct error error;

	if (daemon->config_file == NULL) {
		log_warning("SIGHUP: weftd was started without a configuration file");
		return;
	}
	if (config_load(daemon->config_file, &config, &error) != 0) {
		log_error("%s", error.text);
		return;
	}
	if (vswitch_apply(daemon->vswitch, daemon->config_file, &config, &error) != 0)
		log_error("%s", error.text);
	else
		log_info("%s: applied", daemon->config_file);
	config_clear(&config);
}

static int add_signals(struct daemon *daemon)
{
	static const struct {
		int number;
		event_callback_fn handler;
	} table[] = { { SIGTERM, on_stop }, { SIGINT, on_stop }, { SIGHUP, on_reload } };

	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		daemon->signals[i] =
		    evsignal_new(daemon->loop, table[i].number, table[i].handler, daemon);
		if (daemon->signals[i] == NULL || event_add(daemon->signals[i], NULL) != 0)
			return -ENOMEM;
	}
	return 0;
}

static void open_store(struct daemon *daemon, const struct config *config)
{
	char *directory = api_store_directory(config->api_socket);

	if (directory == NULL)
		log_warning("there is no directory for leases; they will not outlive weftd");
	else
		gateways_open_store(daemon->vswitch, directory);
	free(directory);
}

static int daemon_open(struct daemon *daemon, const struct config *config, struct error *error)
{
	int result;

	daemon->loop = event_base_new();
	if (daemon->loop == NULL || add_signals(daemon) != 0)
		return error_set(error, ENOMEM, "event loop: out of memory");
	result = vswitch_create(daemon->loop, &config->workers, &daemon->vswitch, error);
	if (result != 0) {
		if (config->workers_line != 0)
			error_prefix(error, "%s:%u: ", daemon->config_file, config->workers_line);
		return result;
	}
	daemon->vswitch->state_directory = api_state_directory(config->api_socket);
	/* The API first: a second weftd is refused before it touches a port of the first. */
	if (config->api_socket[0] != '\0') {
		memcpy(daemon->socket, config->api_socket, sizeof(daemon->socket));
	} else {
		result = api_default_path(daemon->socket, error);
		if (result != 0)
			return result;
	}
	result = api_create(daemon->loop, daemon->vswitch, daemon->socket, &daemon->api, error);
	if (result != 0)
		return result;
	memcpy(daemon->vswitch->config.api_socket, config->api_socket, sizeof(config->api_socket));
	open_store(daemon, config);
	return vswitch_apply(daemon->vswitch, daemon->config_file, config, error);
}

static void daemon_close(struct daemon *daemon)
{
	api_destroy(daemon->api);
	vswitch_destroy(daemon->vswitch);
	for (size_t i = 0; i < sizeof(daemon->signals) / sizeof(daemon->signals[0]); i++) {
		if (daemon->signals[i] != NULL)
			event_free(daemon->signals[i]);
	}
	if (daemon->loop != NULL)
		event_base_free(daemon->loop);
}

static int run(const char *file)
{
	struct daemon daemon = { .config_file = file };
	struct config config;
	struct error error;
	int status = EXIT_REFUSED;

	config_init(&config);
	if (file != NULL && config_load(file, &config, &error) != 0) {
		fprintf(stderr, "%s\n", error.text);
		return EXIT_REFUSED;
	}
	raise_file_limit();
	clock_init();
	if (daemon_open(&daemon, &config, &error) != 0) {
		log_error("%s", error.text);
		goto out;
	}
	log_info("ready: %u networks, %u ports, %u workers; API at %s", config.network_count,
		 config.port_count, config.workers.count, daemon.socket);
	notify_manager("READY=1");
	if (event_base_dispatch(daemon.loop) == 0)
		status = EXIT_DONE;
	else
		log_error("the event loop failed");
out:
	daemon_close(&daemon);
	config_clear(&config);
	return status;
}

static int parse_options(int argc, char **argv, struct options *options)
{
	static const struct option table[] = {
		{ "config", required_argument, NULL, 'c' },    { "check", no_argument, NULL, 'k' },
		{ "log-level", required_argument, NULL, 'l' }, { "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },	       { NULL, 0, NULL, 0 },
	};
	enum log_level level;
	int option;

	while ((option = getopt_long(argc, argv, "c:hV", table, NULL)) != -1) {
		switch (option) {
		case 'c':
			options->config = optarg;
			break;
		case 'k':
			options->check = true;
			break;
		case 'l':
			if (log_level_from_name(optarg, &level) != 0) {
				fprintf(stderr,
					"weftd: --log-level '%s': allowed: error, warning, info, "
					"debug\n",
					optarg);
				return EXIT_USAGE;
			}
			log_set_level(level);
			break;
		case 'h':
			fputs(usage_text, stdout);
			exit(EXIT_DONE);
		case 'V':
			puts("weftd " WEFT_VERSION);
			exit(EXIT_DONE);
		default:
			fputs(usage_text, stderr);
			return EXIT_USAGE;
		}
	}
	return EXIT_DONE;
}

int main(int argc, char **argv)
{
	struct options options = { 0 };
	int status = parse_options(argc, argv, &options);

	if (status != EXIT_DONE)
		return status;
	if (options.check)
		return check_files(argv + optind);
	if (optind < argc) {
		fprintf(stderr, "weftd: '%s': no arguments are allowed here\n%s", argv[optind],
			usage_text);
		return EXIT_USAGE;
	}
	if (options.config == NULL && access(DEFAULT_CONFIG, F_OK) == 0)
		options.config = DEFAULT_CONFIG;
	return run(options.config);
}
