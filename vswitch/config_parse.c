/* Reads a whole configuration from its YAML tree: networks and ports by name, workers, and the
 * place of the API socket (config.h). Control thread, weftd --check, fuzzer. */
#include "vswitch/config_internal.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>

static const char *const poll_names[] = {
	[CONFIG_POLL_ADAPTIVE] = "adaptive",
	[CONFIG_POLL_BUSY] = "busy",
	NULL,
};

const char *config_poll_name(enum config_poll poll)
{
	return poll_names[poll];
}

static int read_cpus(const char *file, const struct config_node *value, void *out,
		     struct error *error)
{
	struct config *config = out;

	if (value->kind != CONFIG_SEQUENCE || value->count == 0 ||
	    value->count > CONFIG_WORKERS_MAX)
		return config_error(file, value, error,
				    "is no list of CPUs; allowed: [N, ...] with 1 to %u of them",
				    CONFIG_WORKERS_MAX);
	for (uint32_t i = 0; i < value->count; i++) {
		const struct config_node *node = &value->children[i];
		uint64_t cpu;
		int rc = config_node_number(file, node, 0, CPU_SETSIZE - 1, &cpu, error);

		if (rc < 0)
			return rc;
		for (uint32_t j = 0; j < i; j++)
			if (config->workers.cpus[j] == (int)cpu)
				return config_error(
				    file, node, error,
				    "CPU %d is in the list twice; allowed: each once", (int)cpu);
		config->workers.cpus[i] = (int)cpu;
	}
	config->workers.count = value->count;
	return 0;
}

static int read_count(const char *file, const struct config_node *value, void *out,
		      struct error *error)
{
	struct config *config = out;
	uint64_t n;
	int rc = config_node_number(file, value, 1, CONFIG_WORKERS_MAX, &n, error);

	if (rc < 0)
		return rc;
	if (config_node_get(value->parent, "cpus") != NULL)
		return config_error(file, value, error,
				    "given together with 'cpus'; allowed: one of the two");
	config->workers.count = (uint32_t)n;
	return 0;
}

static int read_poll(const char *file, const struct config_node *value, void *out,
		     struct error *error)
{
	struct config *config = out;
	unsigned word;
	int rc = config_node_word(file, value, poll_names, &word, error);

	if (rc == 0)
		config->workers.poll = (enum config_poll)word;
	return rc;
}

static int read_workers(const char *file, const struct config_node *value, void *out,
			struct error *error)
{
	static const struct config_key keys[] = {
		{ "cpus", read_cpus, false, "CPUs, one worker on each" },
		{ "count", read_count, false, "workers that are not pinned" },
		{ "poll", read_poll, false, "adaptive or busy" },
		{ NULL },
	};
	static const struct config_key *const tables[] = { keys };
	struct config *config = out;

	config->workers_line = value->line;
	return config_node_read(file, value, "'workers'", tables, 1, config, error);
}

static int read_socket(const char *file, const struct config_node *value, void *out,
		       struct error *error)
{
	struct config *config = out;

	config->api_line = value->line;
	return config_node_text(file, value, config->api_socket, sizeof(config->api_socket), error);
}

static int read_api(const char *file, const struct config_node *value, void *out,
		    struct error *error)
{
	static const struct config_key keys[] = {
		{ "socket", read_socket, false, "path of the Unix socket" },
		{ NULL },
	};
	static const struct config_key *const tables[] = { keys };

	return config_node_read(file, value, "'api'", tables, 1, out, error);
}

/* ---- the whole ---- */

/* Makes room for `more` rows of `size` bytes behind the `count` that are there. */
static int grow(void *rows, uint32_t count, uint32_t more, size_t size, struct error *error)
{
	void **array = rows;
	void *larger = reallocarray(*array, (size_t)count + more, size);

	if (larger == NULL)
		return error_set(error, ENOMEM, "out of memory");
	*array = larger;
	return 0;
}

static int check_names_mapping(const char *file, const struct config_node *value, const char *what,
			       struct error *error)
{
	if (value->kind != CONFIG_MAPPING && !config_node_is_empty(value))
		return config_error(file, value, error,
				    "is no mapping; allowed: %s by name, NAME: {KEY: VALUE, ...}",
				    what);
	if (value->count > CONFIG_PORTS_MAX)
		return config_error(file, value, error, "too many %s; allowed: at most %u", what,
				    CONFIG_PORTS_MAX);
	return 0;
}

static int read_networks(const char *file, const struct config_node *value, void *out,
			 struct error *error)
{
	struct config *config = out;
	struct error all = { "" };
	int result = 0, rc;

	rc = check_names_mapping(file, value, "networks", error);
	if (rc < 0 || value->count == 0)
		return rc;
	rc = grow(&config->networks, 0, value->count, sizeof(*config->networks), error);
	if (rc < 0)
		return rc;
	for (uint32_t i = 0; i < value->count && result != -ENOMEM; i++) {
		const struct config_node *node = &value->children[i];
		struct error one = { "" };
		struct port_config uplink;
		bool has_uplink;

		rc = config_read_network(file, node, node->key,
					 &config->networks[config->network_count], &uplink,
					 &has_uplink, &one);
		if (rc == 0)
			config->network_count++;
		if (rc == 0 && has_uplink)
			rc = grow(&config->ports, config->port_count, 1, sizeof(uplink), &one);
		if (rc == 0 && has_uplink)
			config->ports[config->port_count++] = uplink;
		if (rc < 0) {
			config_error_join(&all, &one);
			result = rc;
		}
	}
	if (result < 0 && error != NULL)
		*error = all;
	return result;
}

static int read_ports(const char *file, const struct config_node *value, void *out,
		      struct error *error)
{
	struct config *config = out;
	struct error all = { "" };
	int result = 0, rc;

	rc = check_names_mapping(file, value, "ports", error);
	if (rc < 0 || value->count == 0)
		return rc;
	rc = grow(&config->ports, config->port_count, value->count, sizeof(*config->ports), error);
	if (rc < 0)
		return rc;
	for (uint32_t i = 0; i < value->count && result != -ENOMEM; i++) {
		const struct config_node *node = &value->children[i];
		struct error one = { "" };

		rc = config_read_port(file, node, node->key, &config->ports[config->port_count],
				      &one);
		if (rc == 0) {
			config->port_count++;
		} else {
			config_error_join(&all, &one);
			result = rc;
		}
	}
	if (result < 0 && error != NULL)
		*error = all;
	return result;
}

int config_read(const char *file, const struct config_node *root, struct config *config,
		struct error *error)
{
	static const struct config_key keys[] = {
		{ "networks", read_networks, false, "networks by name" },
		{ "ports", read_ports, false, "ports by name" },
		{ "workers", read_workers, false, "threads and how they poll" },
		{ "api", read_api, false, "where weft talks to weftd" },
		{ NULL },
	};
	static const struct config_key *const tables[] = { keys };

	return config_node_read(file, root, "the configuration", tables, 1, config, error);
}
