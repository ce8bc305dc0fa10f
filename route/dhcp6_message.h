/* DHCPv6 messages between clients and servers (RFC 8415, 8 and 21): taken apart, and written.
 * Pure functions on the caller's bytes; control thread, tests, fuzzers. */
#ifndef WEFT_ROUTE_DHCP6_MESSAGE_H
#define WEFT_ROUTE_DHCP6_MESSAGE_H

#include "base/ip.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DHCP6_HEADER_LENGTH 4u
#define DHCP6_DUID_MIN	    3u	 /* a type and a byte */
#define DHCP6_DUID_MAX	    130u /* RFC 8415, 11.1 */
#define DHCP6_IAS_MAX	    8u	 /* identity associations of one message; more are malformed */
#define DHCP6_ADDRESSES_MAX 4u	 /* looked at in one of them; the rest is passed over */
#define DHCP6_FOREVER	    UINT32_MAX

enum dhcp6_type { /* RFC 8415, 7.3 */
		  DHCP6_SOLICIT = 1,
		  DHCP6_ADVERTISE,
		  DHCP6_REQUEST,
		  DHCP6_CONFIRM,
		  DHCP6_RENEW,
		  DHCP6_REBIND,
		  DHCP6_REPLY,
		  DHCP6_RELEASE,
		  DHCP6_DECLINE,
		  DHCP6_RECONFIGURE,
		  DHCP6_INFORMATION_REQUEST,
		  DHCP6_RELAY_FORW,
		  DHCP6_RELAY_REPL,
};

enum dhcp6_code {
	DHCP6_CLIENT_ID = 1,
	DHCP6_SERVER_ID = 2,
	DHCP6_IA_NA = 3,
	DHCP6_IA_TA = 4,
	DHCP6_IA_ADDRESS = 5,
	DHCP6_OPTION_REQUEST = 6,
	DHCP6_STATUS_CODE = 13,
	DHCP6_RAPID_COMMIT = 14,
	DHCP6_DNS_SERVERS = 23, /* RFC 3646 */
	DHCP6_DOMAIN_LIST = 24,
	DHCP6_IA_PD = 25,
	DHCP6_INFORMATION_REFRESH = 32,
	DHCP6_CLIENT_FQDN = 39, /* RFC 4704 */
	DHCP6_NTP_SERVER = 56,	/* RFC 5908 */
};

enum dhcp6_status { /* RFC 8415, 21.13 */
		    DHCP6_SUCCESS = 0,
		    DHCP6_NO_ADDRS_AVAIL = 2,
		    DHCP6_NO_BINDING = 3,
		    DHCP6_NOT_ON_LINK = 4,
		    DHCP6_USE_MULTICAST = 5,
		    DHCP6_NO_PREFIX_AVAIL = 6,
		    DHCP6_NO_STATUS = 0xffff, /* ours: the option was not there */
};

struct dhcp6_address {
	struct ip ip;
	uint32_t preferred, valid; /* seconds */
};

/* IA_NA, or IA_TA and IA_PD without what is in them. */
struct dhcp6_ia {
	uint16_t code;
	uint32_t iaid;
	uint32_t t1, t2; /* seconds; 0 in IA_TA */
	uint16_t status; /* enum dhcp6_status; inside the IA or, without one, inside an address */
	uint32_t address_count;
	struct dhcp6_address addresses[DHCP6_ADDRESSES_MAX];
};

struct dhcp6_message {
	uint8_t type;
	uint32_t transaction; /* 24 bits */
	/* Lead into the message; NULL when not there. */
	const uint8_t *client, *server;
	uint16_t client_length, server_length;
	const uint8_t *name; /* option 39 after its flags: a name or a part of one (RFC 4704) */
	uint16_t name_length;
	uint8_t name_flags;
	bool rapid_commit;
	uint16_t status; /* enum dhcp6_status */
	uint32_t ia_count;
	struct dhcp6_ia ias[DHCP6_IAS_MAX];
	const uint8_t *requested; /* option 6: codes of two bytes */
	uint16_t requested_length;
};

/* Takes a message apart. Returns 0; -EBADMSG when it is shorter than it says, has an option twice
 * that may stand once, more than DHCP6_IAS_MAX identity associations or two of one code and IAID,
 * or an option of an impossible length. Of a relay's message only the type is read: its header is
 * another. */
int dhcp6_message_parse(const uint8_t *bytes, size_t length, struct dhcp6_message *message);

/* Whether option 6 names the code. */
bool dhcp6_message_requests(const struct dhcp6_message *message, uint16_t code);

#define DHCP6_LABEL_SIZE 64u

/* The first label of the name in option 39, in lower case, whether more follow or not; "" when
 * there is none that is made of letters, digits and inner hyphens (RFC 1123, 2.1). */
void dhcp6_message_label(const struct dhcp6_message *message, char label[DHCP6_LABEL_SIZE]);

/* A message being written into `bytes`. An option that does not fit is left out whole, and
 * `truncated` is set. */
struct dhcp6_writer {
	uint8_t *bytes;
	size_t length, size;
	bool truncated;
};

void dhcp6_write_header(struct dhcp6_writer *writer, enum dhcp6_type type, uint32_t transaction);

/* Appends an option and copies `length` bytes into it. */
void dhcp6_write_option(struct dhcp6_writer *writer, uint16_t code, const void *data,
			size_t length);
/* One with a single number in it. */
void dhcp6_write_option_u32(struct dhcp6_writer *writer, uint16_t code, uint32_t value);
void dhcp6_write_status(struct dhcp6_writer *writer, enum dhcp6_status status, const char *text);

/* Appends an identity association with its addresses, and its status unless that is
 * DHCP6_NO_STATUS (RFC 8415, 21.4 to 21.6, 21.21). */
void dhcp6_write_ia(struct dhcp6_writer *writer, const struct dhcp6_ia *ia);

#endif
