/* A configuration's life: made, parsed, loaded from a file, copied, searched, compared, cleared
 * (config.h). Control thread, weftd --check, fuzzer. */
#include "vswitch/config.h"

#include "vswitch/config_internal.h"
#include "vswitch/gateway_config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX ((size_t)4 << 20)

void config_init(struct config *config)
{
	memset(config, 0, sizeof(*config));
	config->workers.count = 1;
	config->workers.poll = CONFIG_POLL_ADAPTIVE;
	for (unsigned i = 0; i < CONFIG_WORKERS_MAX; i++)
		config->workers.cpus[i] = -1;
}

void config_clear(struct config *config)
{
	for (uint32_t i = 0; i < config->network_count; i++)
		network_config_clear(&config->networks[i]);
	free(config->networks);
	free(config->ports);
	config_init(config);
}

int config_parse(const char *file, const char *text, size_t length, struct config *config,
		 struct error *error)
{
	struct config_node *root = NULL;
	int rc;

	config_init(config);
	if (length > FILE_MAX)
		return error_set(error, EINVAL, "%s: too large; allowed: at most 4 MiB",
				 file != NULL ? file : "configuration");
	rc = config_node_parse(file, text, length, &root, error);
	if (rc < 0)
		return rc;
	rc = config_read(file, root, config, error);
	if (rc == 0)
		rc = config_check(file, config, error);
	config_node_free(root);
	if (rc < 0)
		config_clear(config);
	return rc;
}

/* Reads `fd` whole into memory the caller frees; more than FILE_MAX bytes are refused. */
static int read_whole(int fd, const char *file, char **out, size_t *out_length, struct error *error)
{
	size_t length = 0;
	char *text = malloc(FILE_MAX + 1);

	if (text == NULL)
		return error_set(error, ENOMEM, "%s: out of memory", file);
	for (;;) {
		ssize_t n = read(fd, text + length, FILE_MAX + 1 - length);
		int code = errno;

		if (n == 0)
			break;
		if (n < 0 && code == EINTR)
			continue;
		if (n < 0) {
			free(text);
			return error_set(error, code, "%s: cannot read: %s", file, strerror(code));
		}
		length += (size_t)n;
		if (length > FILE_MAX) {
			free(text);
			return error_set(error, EINVAL, "%s: too large; allowed: at most 4 MiB",
					 file);
		}
	}
	*out = text;
	*out_length = length;
	return 0;
}

int config_load(const char *file, struct config *config, struct error *error)
{
	char *text = NULL;
	size_t length = 0;
	int fd, rc;

	config_init(config);
	fd = open(file, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		rc = errno;
		return error_set(error, rc, "%s: cannot open: %s", file, strerror(rc));
	}
	rc = read_whole(fd, file, &text, &length, error);
	close(fd);
	if (rc < 0)
		return rc;
	rc = config_parse(file, text, length, config, error);
	free(text);
	return rc;
}

/* Puts "WHAT NAME: " before each line. */
static void prefix_lines(struct error *error, const char *what, const char *name)
{
	struct error all = { "" }, one;

	if (error == NULL)
		return;
	for (char *line = error->text, *next; line != NULL; line = next) {
		next = strchr(line, '\n');
		if (next != NULL)
			*next++ = '\0';
		error_set(&one, EINVAL, "%s %.40s: %s", what, name, line);
		config_error_join(&all, &one);
	}
	*error = all;
}

/* It comes from no file. */
static void port_forget_lines(struct port_config *port)
{
	port->line = 0;
	memset(&port->lines, 0, sizeof(port->lines));
}

int config_parse_port(const char *name, const char *text, struct port_config *port,
		      struct error *error)
{
	struct config_node *root = NULL;
	int rc = config_node_parse(NULL, text, strlen(text), &root, error);

	if (rc == 0)
		rc = config_read_port(NULL, root, name, port, error);
	config_node_free(root);
	if (rc < 0) {
		prefix_lines(error, "port", name);
		return rc;
	}
	port_forget_lines(port);
	return 0;
}

int config_parse_network(const char *name, const char *text, struct network_config *network,
			 struct port_config *uplink, bool *has_uplink, struct error *error)
{
	struct config_node *root = NULL;
	int rc = config_node_parse(NULL, text, strlen(text), &root, error);

	if (rc == 0)
		rc = config_read_network(NULL, root, name, network, uplink, has_uplink, error);
	config_node_free(root);
	if (rc < 0) {
		prefix_lines(error, "network", name);
		return rc;
	}
	network->line = 0;
	if (*has_uplink)
		port_forget_lines(uplink);
	return 0;
}

static int copy_rows(void *to, const void *from, uint32_t count, size_t size)
{
	void *copy;

	if (count == 0)
		return 0;
	copy = calloc(count, size);
	if (copy == NULL)
		return -ENOMEM;
	memcpy(copy, from, count * size);
	*(void **)to = copy;
	return 0;
}

int config_copy(struct config *to, const struct config *from)
{
	*to = *from;
	to->networks = NULL;
	to->network_count = 0;
	to->ports = NULL;
	if (copy_rows(&to->networks, from->networks, from->network_count, sizeof(*from->networks)) <
		0 ||
	    copy_rows(&to->ports, from->ports, from->port_count, sizeof(*from->ports)) < 0) {
		config_clear(to);
		return -ENOMEM;
	}
	for (; to->network_count < from->network_count; to->network_count++)
		gateway_config_ref(to->networks[to->network_count].gateway);
	return 0;
}

void network_config_copy(struct network_config *to, const struct network_config *from)
{
	*to = *from;
	gateway_config_ref(to->gateway);
}

void network_config_clear(struct network_config *network)
{
	gateway_config_unref(network->gateway);
	network->gateway = NULL;
}

const struct network_config *config_find_network(const struct config *config, const char *name)
{
	for (uint32_t i = 0; i < config->network_count; i++)
		if (strcmp(config->networks[i].name, name) == 0)
			return &config->networks[i];
	return NULL;
}

const struct port_config *config_find_port(const struct config *config, const char *name)
{
	for (uint32_t i = 0; i < config->port_count; i++)
		if (strcmp(config->ports[i].name, name) == 0)
			return &config->ports[i];
	return NULL;
}

bool network_config_equal(const struct network_config *a, const struct network_config *b)
{
	return strcmp(a->name, b->name) == 0 && a->mode == b->mode &&
	       a->transparent == b->transparent && a->mac_limit == b->mac_limit &&
	       a->mac_quota == b->mac_quota && a->mac_age == b->mac_age &&
	       gateway_config_equal(a->gateway, b->gateway);
}

bool port_config_equal(const struct port_config *a, const struct port_config *b)
{
	/* Readers fill zeroed structs and pad texts with NUL, so bytes can be compared. */
	return strcmp(a->name, b->name) == 0 && strcmp(a->network, b->network) == 0 &&
	       a->type == b->type && a->isolated == b->isolated &&
	       a->antispoof_off == b->antispoof_off && a->uplink == b->uplink &&
	       a->has_mac == b->has_mac &&
	       memcmp(a->mac.bytes, b->mac.bytes, sizeof(a->mac.bytes)) == 0 &&
	       a->vlan.mode == b->vlan.mode && a->vlan.access == b->vlan.access &&
	       a->vlan.native == b->vlan.native &&
	       memcmp(a->vlan.allowed, b->vlan.allowed, sizeof(a->vlan.allowed)) == 0 &&
	       memcmp(&a->options, &b->options, sizeof(a->options)) == 0;
}
