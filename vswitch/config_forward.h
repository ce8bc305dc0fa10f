/* Port forwards of a network by themselves: read from text, added to and removed from a
 * configuration. Control thread. */
#ifndef WEFT_VSWITCH_CONFIG_FORWARD_H
#define WEFT_VSWITCH_CONFIG_FORWARD_H

#include "base/error.h"
#include "nat/config.h"
#include "vswitch/config.h"

#include <stdint.h>

#define CONFIG_FORWARDS_MAX 1024u /* of one network */

/* "2222", "2000-2010", "192.0.2.1:2222", "[2001:db8::1]:2000-2010"; of the numbers of an ip:port.
 */
#define CONFIG_LISTEN_TEXT_LENGTH (IP_TEXT_LENGTH + 16)

/* Adds the forward that `text` is ("{proto: tcp, listen: 2222, to: 192.168.122.10:22}") to the
 * network `name` of *config, which is the caller's to edit (config_copy()). Whether it fits is
 * config_check()'s business. 0, -EINVAL, -ENOENT (no such network), -ENOMEM. */
int config_add_forward(struct config *config, const char *name, const char *text,
		       struct error *error);

/* Removes the forwards of the network that listen where `listen` says, word for word the same
 * address and ports; with `protocol` ("tcp", "udp", "both") not NULL only that one. Returns how
 * many, -EINVAL, -ENOENT (none, or no such network), -ENOMEM. */
int config_remove_forward(struct config *config, const char *name, const char *listen,
			  const char *protocol, struct error *error);

/* The word for a forward's protocol, and the texts of where it listens and of where it leads to (a
 * port, or the first of them); each returns its text. */
const char *config_forward_protocol(const struct nat_forward *forward);
char *config_forward_listen(const struct nat_forward *forward,
			    char text[CONFIG_LISTEN_TEXT_LENGTH]);
char *config_forward_to(const struct nat_forward *forward, char text[CONFIG_LISTEN_TEXT_LENGTH]);

#endif
