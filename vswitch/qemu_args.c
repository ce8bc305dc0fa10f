/* The QEMU arguments for vhost-user ports (qemu_args.h): what has to fit together between QEMU and
 * weftd - shared memory, roles of the socket, queues, MAC, MTU - is said here once. Called by the
 * API's method of that name. Control thread. */
#include "vswitch/qemu_args.h"

#include "vswitch/port.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void add(json_t *args, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void add(json_t *args, const char *format, ...)
{
	va_list list;
	char *text = NULL;

	va_start(list, format);
	if (vasprintf(&text, format, list) < 0)
		text = NULL;
	va_end(list);
	if (text != NULL)
		json_array_append_new(args, json_string(text));
	free(text);
}

struct mac qemu_args_mac(const struct port_config *port)
{
	struct mac mac = { { 0x52, 0x54, 0x00 } };
	uint32_t hash = 2166136261u; /* FNV-1a */

	if (port->has_mac)
		return port->mac;
	for (const char *p = port->name; *p != '\0'; p++)
		hash = (hash ^ (uint8_t)*p) * 16777619u;
	hash ^= hash >> 24; /* the byte that is left out has its say */
	mac.bytes[3] = (uint8_t)(hash >> 16);
	mac.bytes[4] = (uint8_t)(hash >> 8);
	mac.bytes[5] = (uint8_t)hash;
	return mac;
}

/* QEMU runs in a directory of its own, and reads ",," as a comma within a value. */
static void socket_path(const char *path, char *out, size_t size)
{
	char directory[CONFIG_PATH_MAX] = "";
	size_t used = 0;

	if (path[0] != '/' && getcwd(directory, sizeof(directory) - 1) != NULL &&
	    strlen(directory) + 1 + strlen(path) <= CONFIG_SOCKET_MAX)
		strcat(directory, "/");
	else
		directory[0] = '\0';
	for (unsigned part = 0; part < 2; part++) {
		for (const char *p = part == 0 ? directory : path; *p != '\0'; p++) {
			if (used + 3 > size)
				break;
			if (*p == ',')
				out[used++] = ',';
			out[used++] = *p;
		}
	}
	out[used] = '\0';
}

static void add_port(json_t *args, const struct port_config *port)
{
	const struct vhost_user_options *options = &port->options.vhost_user;
	char path[2 * (CONFIG_SOCKET_MAX + 1)], mac[MAC_TEXT_LENGTH];
	char queues[64] = "", mtu[32] = "";

	socket_path(options->path, path, sizeof(path));
	if (options->queues > 1)
		snprintf(queues, sizeof(queues), ",mq=on,vectors=%u", 2u * options->queues + 2);
	if (options->mtu != 0)
		snprintf(mtu, sizeof(mtu), ",host_mtu=%u", options->mtu);
	add(args, "-chardev");
	add(args, "socket,id=weft-chardev-%s,path=%s,%s", port->name, path,
	    options->role == VHOST_ROLE_SERVER ? "reconnect=1" : "server=on");
	add(args, "-netdev");
	add(args, "vhost-user,id=weft-net-%s,chardev=weft-chardev-%s,queues=%u", port->name,
	    port->name, options->queues);
	add(args, "-device");
	add(args,
	    "virtio-net-pci,netdev=weft-net-%s,mac=%s,rx_queue_size=1024,tx_queue_size=1024%s%s",
	    port->name, mac_to_text(qemu_args_mac(port), mac), queues, mtu);
}

/* "512M", "2G", a number of MiB. */
static bool is_memory_size(const char *text)
{
	size_t digits = strspn(text, "0123456789");

	return digits >= 1 && digits <= 9 && text[0] != '0' &&
	       (text[digits] == '\0' ||
		(strchr("MGT", text[digits]) != NULL && text[digits + 1] == '\0'));
}

json_t *qemu_args(const struct port_config *const *ports, uint32_t count, const char *memory,
		  struct error *error)
{
	const char *unit;
	json_t *args;

	if (!is_memory_size(memory)) {
		error_set(
		    error, EINVAL,
		    "memory '%.40s' is no size; allowed: a number and M, G or T, such as 512M",
		    memory);
		return NULL;
	}
	for (uint32_t i = 0; i < count; i++) {
		if (strcmp(ports[i]->type->name, "vhost-user") != 0) {
			error_set(error, EINVAL, "port %s is a %s port; allowed: vhost-user ports",
				  ports[i]->name, ports[i]->type->name);
			return NULL;
		}
	}
	args = json_array();
	if (args == NULL) {
		error_set(error, ENOMEM, "out of memory");
		return NULL;
	}
	unit = isdigit((unsigned char)memory[strlen(memory) - 1]) ? "M" : "";
	add(args, "-m");
	add(args, "%s%s", memory, unit);
	add(args, "-object");
	add(args, "memory-backend-memfd,id=weft-memory,size=%s%s,share=on", memory, unit);
	add(args, "-machine");
	add(args, "memory-backend=weft-memory");
	for (uint32_t i = 0; i < count; i++)
		add_port(args, ports[i]);
	return args;
}
