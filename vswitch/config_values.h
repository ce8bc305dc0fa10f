/* Values of the configuration that are more than a word or a number: addresses, prefixes, ranges,
 * times, names, bytes, and lists of them. Each reads one node into memory that is all zero before,
 * member by member, so that what it makes can be compared byte by byte; each sets the error itself.
 * 0, -EINVAL, -ENOMEM. Control thread, weftd --check, fuzzer. */
#ifndef WEFT_VSWITCH_CONFIG_VALUES_H
#define WEFT_VSWITCH_CONFIG_VALUES_H

#include "base/ip.h"
#include "base/mac.h"
#include "route/dhcp_config.h"
#include "vswitch/config_node.h"

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

/* A host's address; `family` is AF_INET, AF_INET6, or AF_UNSPEC for either. */
int config_value_ip(const char *file, const struct config_node *node, int family, struct ip *out,
		    struct error *error);

/* ADDRESS/LENGTH, where ADDRESS is a host's in that network. */
int config_value_address(const char *file, const struct config_node *node, int family,
			 struct ip_prefix *out, struct error *error);

/* ADDRESS/LENGTH of a network: no bits behind the length. */
int config_value_network(const char *file, const struct config_node *node, struct ip_prefix *out,
			 struct error *error);

/* FIRST-LAST, or one address. */
int config_value_range(const char *file, const struct config_node *node, int family,
		       struct ip_range *out, struct error *error);

/* Seconds, or a number with s, m, h or d behind it. */
int config_value_time(const char *file, const struct config_node *node, uint32_t low, uint32_t high,
		      uint32_t *out, struct error *error);

int config_value_mac(const char *file, const struct config_node *node, struct mac *out,
		     struct error *error);

/* The name of an interface as the kernel sees it (dev_valid_name), without any of the characters in
 * `refused`. */
int config_value_interface(const char *file, const struct config_node *node, const char *refused,
			   char out[IFNAMSIZ], struct error *error);

/* One DNS label, `text`, which stands at the node / a domain name without a dot at its end (RFC
 * 1123, 2.1; '_' is let through). */
int config_value_label(const char *file, const struct config_node *node, const char *text,
		       char out[DHCP_NAME_MAX + 1], struct error *error);
int config_value_domain(const char *file, const struct config_node *node,
			char out[DHCP_DOMAIN_MAX + 1], struct error *error);

/* 0xHEX is these bytes, HEX:HEX:... too; any other text is itself. 1 to `size` bytes. */
int config_value_bytes(const char *file, const struct config_node *node, uint8_t *out, uint8_t size,
		       uint8_t *length, struct error *error);

/* Any number from 0 to 65535 in range, as uint16_t. */
int config_value_u16(const char *file, const struct config_node *node, uint16_t low, uint16_t high,
		     uint16_t *out, struct error *error);
int config_value_u32(const char *file, const struct config_node *node, uint32_t low, uint32_t high,
		     uint32_t *out, struct error *error);

/* Calls `read` for a single value, or for each value of a list of 1 to `most`; `what` names them
 * ("addresses"). Every error is found. */
int config_value_each(const char *file, const struct config_node *node, const char *what,
		      uint32_t most,
		      int (*read)(const char *file, const struct config_node *node, void *out,
				  struct error *error),
		      void *out, struct error *error);

/* Calls `read` for each entry of a mapping, which may be empty; `what` says what is in it. Every
 * error is found. */
int config_value_each_entry(const char *file, const struct config_node *node, const char *what,
			    int (*read)(const char *file, const struct config_node *node, void *out,
					struct error *error),
			    void *out, struct error *error);

/* An address or a list of them. */
int config_value_ips(const char *file, const struct config_node *node, int family,
		     struct ip_list *out, struct error *error);

/* Names of the search list, one or several. */
struct config_search {
	char (**names)[DHCP_DOMAIN_MAX + 1];
	uint32_t *count;
};
int config_value_search(const char *file, const struct config_node *node,
			struct config_search search, struct error *error);

/* Makes room for one more row of `size` bytes in *(void **)rows, all zero, and counts it. NULL:
 * memory is short, and *error says so. */
void *config_value_append(void *rows, uint32_t *count, size_t size, struct error *error);

/* Whether the node is the word `word`. */
bool config_value_is(const struct config_node *node, const char *word);

#endif
