/* DHCP messages (RFC 2131, 2132) taken apart and written, for the server and for an uplink's
 * client. Any thread, no state. What comes in is hostile: parsing refuses a message whose options
 * reach beyond its end, and hands out copies only. */
#ifndef WEFT_ROUTE_DHCP_MESSAGE_H
#define WEFT_ROUTE_DHCP_MESSAGE_H

#include "base/ip.h"
#include "base/mac.h"
#include "route/dhcp_config.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DHCP_SERVER_PORT 67
#define DHCP_CLIENT_PORT 68
#define DHCP_MESSAGE_MAX 4096u /* longer ones are refused */
#define DHCP_MESSAGE_PAD                                                                           \
	300u /* what is written is at least this long, as BOOTP was (RFC 1542, 2.1) */
#define DHCP_LIMIT_MIN	    548u /* every client takes that much: 576 less IP and UDP headers */
#define DHCP_FLAG_BROADCAST 0x8000

enum dhcp_op { DHCP_BOOTREQUEST = 1, DHCP_BOOTREPLY = 2 };

enum dhcp_type {
	DHCP_BOOTP = 0, /* no option 53 */
	DHCP_DISCOVER = 1,
	DHCP_OFFER = 2,
	DHCP_REQUEST = 3,
	DHCP_DECLINE = 4,
	DHCP_ACK = 5,
	DHCP_NAK = 6,
	DHCP_RELEASE = 7,
	DHCP_INFORM = 8,
};

enum dhcp_option_code {
	DHCP_OPTION_PAD = 0,
	DHCP_OPTION_MASK = 1,
	DHCP_OPTION_ROUTER = 3,
	DHCP_OPTION_DNS = 6,
	DHCP_OPTION_HOST_NAME = 12,
	DHCP_OPTION_DOMAIN = 15,
	DHCP_OPTION_MTU = 26,
	DHCP_OPTION_BROADCAST = 28,
	DHCP_OPTION_NTP = 42,
	DHCP_OPTION_VENDOR = 43,
	DHCP_OPTION_REQUESTED_IP = 50,
	DHCP_OPTION_LEASE_TIME = 51,
	DHCP_OPTION_OVERLOAD = 52,
	DHCP_OPTION_TYPE = 53,
	DHCP_OPTION_SERVER_ID = 54,
	DHCP_OPTION_PARAMETERS = 55,
	DHCP_OPTION_MESSAGE = 56,
	DHCP_OPTION_MAX_SIZE = 57,
	DHCP_OPTION_T1 = 58,
	DHCP_OPTION_T2 = 59,
	DHCP_OPTION_VENDOR_CLASS = 60,
	DHCP_OPTION_CLIENT_ID = 61,
	DHCP_OPTION_TFTP_SERVER = 66,
	DHCP_OPTION_BOOT_FILE = 67,
	DHCP_OPTION_FQDN = 81,	  /* RFC 4702 */
	DHCP_OPTION_RELAY = 82,	  /* RFC 3046 */
	DHCP_OPTION_SEARCH = 119, /* RFC 3397 */
	DHCP_OPTION_ROUTES = 121, /* RFC 3442 */
	DHCP_OPTION_END = 255,
};

/* The fixed fields. Addresses may be all zero; hardware is Ethernet. */
struct dhcp_header {
	uint8_t op; /* enum dhcp_op */
	uint8_t hops;
	uint32_t xid;
	uint16_t seconds, flags;
	struct ip ciaddr, yiaddr, siaddr, giaddr;
	struct mac chaddr;
	char sname[DHCP_SERVER_MAX + 1]; /* "" too when it holds options */
	char file[DHCP_FILE_MAX + 1];
};

struct dhcp_message {
	struct dhcp_header header;
	uint8_t type; /* enum dhcp_type, in that range */
	/* For dhcp_message_option() only. */
	uint16_t at[256], length[256];
	bool present[256];
	uint8_t bytes[DHCP_MESSAGE_MAX];
};

/* Takes UDP's data apart: pieces of an option put together (RFC 3396), also from `file` and `sname`
 * (option 52). 0; -EMSGSIZE when longer than DHCP_MESSAGE_MAX; -EINVAL when truncated, without
 * the magic cookie, not over Ethernet, with an option that reaches beyond its field, or with an
 * impossible type or op. */
int dhcp_message_parse(const uint8_t *bytes, size_t length, struct dhcp_message *message);

/* The bytes of an option, valid as long as the message; NULL when it is not there. An option may be
 * there with no bytes. */
const uint8_t *dhcp_message_option(const struct dhcp_message *message, uint8_t code,
				   size_t *length);

/* Of options of exactly that size; false when absent or of another one. */
bool dhcp_message_u8(const struct dhcp_message *message, uint8_t code, uint8_t *value);
bool dhcp_message_u16(const struct dhcp_message *message, uint8_t code, uint16_t *value);
bool dhcp_message_u32(const struct dhcp_message *message, uint8_t code, uint32_t *value);
bool dhcp_message_ip(const struct dhcp_message *message, uint8_t code, struct ip *ip);

/* The first DHCP_LIST_MAX of a list of addresses; false when absent or not a list of them. */
bool dhcp_message_ips(const struct dhcp_message *message, uint8_t code, struct ip_list *list);

/* Text, without NULs at its end; false when absent, with a NUL inside, or not fitting in `size`. */
bool dhcp_message_text(const struct dhcp_message *message, uint8_t code, char *text, size_t size);

/* Classless routes (RFC 3442): the first `max` of them. Returns how many; 0 too when the option is
 * malformed. A gateway of 0.0.0.0 means: on the link. */
uint32_t dhcp_message_routes(const struct dhcp_message *message, struct dhcp_route *routes,
			     uint32_t max);

/* A message being written. Options that do not fit in the main field go to `file` and `sname` when
 * the header leaves those empty (option 52, written by itself). */
struct dhcp_writer {
	size_t limit, used;
	size_t file_used, sname_used;
	bool file_free, sname_free;
	uint8_t bytes[DHCP_MESSAGE_MAX];
};

/* Begins with the fixed fields, the cookie and option 53. `limit` is how long the message may get;
 * less than DHCP_LIMIT_MIN counts as that, more than DHCP_MESSAGE_MAX too. */
void dhcp_write_start(struct dhcp_writer *writer, const struct dhcp_header *header,
		      enum dhcp_type type, size_t limit);

/* Each returns false, and writes nothing, when there is no room left; what is longer than 255 bytes
 * is split (RFC 3396). Options end up in the order of the calls but for those in `file` and
 * `sname`.
 */
bool dhcp_write_option(struct dhcp_writer *writer, uint8_t code, const void *bytes, size_t length);
bool dhcp_write_u8(struct dhcp_writer *writer, uint8_t code, uint8_t value);
bool dhcp_write_u16(struct dhcp_writer *writer, uint8_t code, uint16_t value);
bool dhcp_write_u32(struct dhcp_writer *writer, uint8_t code, uint32_t value);
bool dhcp_write_ip(struct dhcp_writer *writer, uint8_t code, const struct ip *ip);
bool dhcp_write_text(struct dhcp_writer *writer, uint8_t code, const char *text);
/* IPv4 addresses of the list; nothing when there are none. */
bool dhcp_write_ips(struct dhcp_writer *writer, uint8_t code, const struct ip_list *list);
/* RFC 3397, without compression; nothing for no domains. */
bool dhcp_write_search(struct dhcp_writer *writer, uint32_t count,
		       char (*domains)[DHCP_DOMAIN_MAX + 1]);
/* RFC 3442; `more` routes follow the first. Nothing for none. */
bool dhcp_write_routes(struct dhcp_writer *writer, uint32_t count, const struct dhcp_route *routes,
		       uint32_t more_count, const struct dhcp_route *more);

/* Ends and pads it; returns its length. The message is in writer->bytes. */
size_t dhcp_write_finish(struct dhcp_writer *writer);
/* One more byte after that, without a meaning; false without room. */
bool dhcp_write_pad(struct dhcp_writer *writer);

/* A DNS name as labels (RFC 1035, 3.1), without compression; a dot at the end is allowed. Returns
 * the bytes used; 0 when it is no name (an empty or long label) or does not fit in `room`. */
size_t dhcp_name_encode(const char *name, uint8_t *out, size_t room);

#endif
