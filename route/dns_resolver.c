/* Which resolvers are asked. Called by the forwarder, on the control thread.
 *
 * The host's resolvers stand in resolv.conf(5), which network managers replace as they see fit: it
 * is read again when its inode, size or time of change differ. */
#include "route/dns_resolver.h"

#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define LOOK_EVERY_MS 1000u
#define LINES_MAX     1000u /* of resolv.conf that are read */

struct dns_resolvers {
	const char *path; /* NULL: the configuration's */
	uint16_t port;
	uint64_t look_at; /* when the file is looked at again, ms */
	struct stat seen; /* as it was when it was read; zero: not there */
	uint32_t all_count, count;
	struct dns_resolver all[DHCP_LIST_MAX];	   /* as configured */
	struct dns_resolver usable[DHCP_LIST_MAX]; /* without our own */
	uint32_t own_count;
	struct ip *own;
};

static bool is_own(const struct dns_resolvers *resolvers, const struct ip *ip)
{
	for (uint32_t i = 0; i < resolvers->own_count; i++) {
		if (ip_equal(&resolvers->own[i], ip))
			return true;
	}
	return false;
}

static void choose_usable(struct dns_resolvers *resolvers)
{
	resolvers->count = 0;
	for (uint32_t i = 0; i < resolvers->all_count; i++) {
		if (!is_own(resolvers, &resolvers->all[i].ip))
			resolvers->usable[resolvers->count++] = resolvers->all[i];
	}
}

static void add(struct dns_resolvers *resolvers, const struct ip *ip, uint32_t scope)
{
	if (resolvers->all_count < DHCP_LIST_MAX && !ip_is_unspecified(ip) && !ip_is_multicast(ip))
		resolvers->all[resolvers->all_count++] =
		    (struct dns_resolver){ *ip, scope, resolvers->port };
}

/* "nameserver ADDRESS[%INTERFACE]"; anything else in the line is left alone, as by others. */
static void read_line(struct dns_resolvers *resolvers, const char *line)
{
	char text[IP_TEXT_LENGTH + IF_NAMESIZE + 1], *zone;
	uint32_t scope = 0;
	struct ip ip;

	if (sscanf(line, "nameserver %62s", text) != 1)
		return;
	zone = strchr(text, '%');
	if (zone != NULL) {
		*zone++ = '\0';
		scope = if_nametoindex(zone);
	}
	if (ip_from_text(text, &ip) == 0)
		add(resolvers, &ip, scope);
}

static void read_file(struct dns_resolvers *resolvers)
{
	FILE *file = fopen(resolvers->path, "re");
	char line[256];

	resolvers->all_count = 0;
	if (file == NULL)
		return;
	for (uint32_t i = 0; i < LINES_MAX && fgets(line, sizeof(line), file) != NULL; i++)
		read_line(resolvers, line);
	fclose(file);
}

static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
	       a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

struct dns_resolvers *dns_resolvers_create(const struct ip_list *forwarders, const char *path,
					   uint16_t port)
{
	struct dns_resolvers *resolvers = calloc(1, sizeof(*resolvers));

	if (resolvers == NULL)
		return NULL;
	resolvers->port = port;
	if (forwarders->count == 0)
		resolvers->path = path;
	for (uint32_t i = 0; i < forwarders->count && i < DHCP_LIST_MAX; i++)
		add(resolvers, &forwarders->ips[i], 0);
	choose_usable(resolvers);
	return resolvers;
}

void dns_resolvers_destroy(struct dns_resolvers *resolvers)
{
	if (resolvers == NULL)
		return;
	free(resolvers->own);
	free(resolvers);
}

int dns_resolvers_set_own(struct dns_resolvers *resolvers, const struct ip *ips, uint32_t count)
{
	struct ip *own = calloc((size_t)count + 1, sizeof(*own));

	if (own == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < count; i++)
		own[i] = ips[i];
	free(resolvers->own);
	resolvers->own = own;
	resolvers->own_count = count;
	choose_usable(resolvers);
	return 0;
}

uint32_t dns_resolvers_count(struct dns_resolvers *resolvers, uint64_t now)
{
	struct stat stat_now;

	if (resolvers->path == NULL || now < resolvers->look_at)
		return resolvers->count;
	resolvers->look_at = now + LOOK_EVERY_MS;
	if (stat(resolvers->path, &stat_now) < 0)
		memset(&stat_now, 0, sizeof(stat_now));
	if (!same_file(&stat_now, &resolvers->seen)) {
		/* Looked at before it is read: a change in between is seen next time. */
		resolvers->seen = stat_now;
		read_file(resolvers);
		choose_usable(resolvers);
	}
	return resolvers->count;
}

const struct dns_resolver *dns_resolvers_get(const struct dns_resolvers *resolvers, uint32_t index)
{
	return &resolvers->usable[index];
}
