/* Taking DHCP messages apart (dhcp_message.h). For the DHCPv4 server and an uplink's client, on the
 * control thread. */
#include "route/dhcp_message.h"

#include "base/parse.h"

#include <errno.h>

/* Where the fixed fields stand (RFC 2131, figure 1). */
#define AT_CIADDR 12u
#define AT_YIADDR 16u
#define AT_SIADDR 20u
#define AT_GIADDR 24u
#define AT_CHADDR 28u
#define AT_SNAME  44u
#define AT_FILE	  108u
#define AT_COOKIE 236u
#define AT_OPTION 240u

#define COOKIE	       0x63825363u
#define HTYPE_ETHERNET 1

#define OVERLOAD_FILE  1u
#define OVERLOAD_SNAME 2u

/* A part of the message that holds options. */
struct field {
	const uint8_t *bytes;
	size_t length;
};

static bool measure(const struct field *field, struct dhcp_message *message);
static void gather(const struct field *field, struct dhcp_message *message);
static uint8_t find_overload(const struct field *field);
static void read_header(const uint8_t *bytes, struct dhcp_header *header);
static void read_text(const uint8_t *bytes, size_t length, char *text);

int dhcp_message_parse(const uint8_t *bytes, size_t length, struct dhcp_message *message)
{
	/* In the order in which their options belong together (RFC 3396, 5). */
	struct field fields[3];
	unsigned count = 1;
	uint8_t overload;
	uint16_t at = 0;

	if (length > DHCP_MESSAGE_MAX)
		return -EMSGSIZE;
	if (length < AT_OPTION || read_be32(bytes + AT_COOKIE) != COOKIE ||
	    bytes[1] != HTYPE_ETHERNET || bytes[2] != MAC_LENGTH)
		return -EINVAL;
	read_header(bytes, &message->header);
	if (message->header.op != DHCP_BOOTREQUEST && message->header.op != DHCP_BOOTREPLY)
		return -EINVAL;
	fields[0] = (struct field){ bytes + AT_OPTION, length - AT_OPTION };
	overload = find_overload(&fields[0]);
	if (overload & OVERLOAD_FILE) {
		message->header.file[0] = '\0';
		fields[count++] = (struct field){ bytes + AT_FILE, AT_COOKIE - AT_FILE };
	}
	if (overload & OVERLOAD_SNAME) {
		message->header.sname[0] = '\0';
		fields[count++] = (struct field){ bytes + AT_SNAME, AT_FILE - AT_SNAME };
	}
	memset(message->length, 0, sizeof(message->length));
	memset(message->present, 0, sizeof(message->present));
	for (unsigned i = 0; i < count; i++)
		if (!measure(&fields[i], message))
			return -EINVAL;
	for (unsigned code = 0; code < 256; code++) {
		message->at[code] = at;
		at = (uint16_t)(at + message->length[code]);
		message->length[code] = 0; /* gather() counts again */
	}
	for (unsigned i = 0; i < count; i++)
		gather(&fields[i], message);
	message->type = DHCP_BOOTP;
	if (message->present[DHCP_OPTION_TYPE] &&
	    (!dhcp_message_u8(message, DHCP_OPTION_TYPE, &message->type) ||
	     message->type < DHCP_DISCOVER || message->type > DHCP_INFORM))
		return -EINVAL;
	return 0;
}

const uint8_t *dhcp_message_option(const struct dhcp_message *message, uint8_t code, size_t *length)
{
	if (!message->present[code])
		return NULL;
	*length = message->length[code];
	return message->bytes + message->at[code];
}

/* The option when it has exactly `length` bytes. */
static const uint8_t *sized_option(const struct dhcp_message *message, uint8_t code, size_t length)
{
	size_t actual;
	const uint8_t *bytes = dhcp_message_option(message, code, &actual);

	return bytes != NULL && actual == length ? bytes : NULL;
}

bool dhcp_message_u8(const struct dhcp_message *message, uint8_t code, uint8_t *value)
{
	const uint8_t *bytes = sized_option(message, code, 1);

	if (bytes != NULL)
		*value = bytes[0];
	return bytes != NULL;
}

bool dhcp_message_u16(const struct dhcp_message *message, uint8_t code, uint16_t *value)
{
	const uint8_t *bytes = sized_option(message, code, 2);

	if (bytes != NULL)
		*value = read_be16(bytes);
	return bytes != NULL;
}

bool dhcp_message_u32(const struct dhcp_message *message, uint8_t code, uint32_t *value)
{
	const uint8_t *bytes = sized_option(message, code, 4);

	if (bytes != NULL)
		*value = read_be32(bytes);
	return bytes != NULL;
}

bool dhcp_message_ip(const struct dhcp_message *message, uint8_t code, struct ip *ip)
{
	const uint8_t *bytes = sized_option(message, code, 4);

	if (bytes != NULL)
		*ip = ip_from_v4_bytes(bytes);
	return bytes != NULL;
}

bool dhcp_message_ips(const struct dhcp_message *message, uint8_t code, struct ip_list *list)
{
	size_t length;
	const uint8_t *bytes = dhcp_message_option(message, code, &length);

	if (bytes == NULL || length == 0 || length % 4 != 0)
		return false;
	list->count = 0;
	for (size_t i = 0; i < length && list->count < DHCP_LIST_MAX; i += 4)
		list->ips[list->count++] = ip_from_v4_bytes(bytes + i);
	return true;
}

bool dhcp_message_text(const struct dhcp_message *message, uint8_t code, char *text, size_t size)
{
	size_t length;
	const uint8_t *bytes = dhcp_message_option(message, code, &length);

	if (bytes == NULL)
		return false;
	while (length > 0 && bytes[length - 1] == 0)
		length--;
	if (length >= size || memchr(bytes, 0, length) != NULL)
		return false;
	memcpy(text, bytes, length);
	text[length] = '\0';
	return true;
}

uint32_t dhcp_message_routes(const struct dhcp_message *message, struct dhcp_route *routes,
			     uint32_t max)
{
	size_t length, i = 0;
	const uint8_t *bytes = dhcp_message_option(message, DHCP_OPTION_ROUTES, &length);
	uint32_t count = 0;

	while (bytes != NULL && i < length) {
		uint8_t width = bytes[i++], destination[4] = { 0 };
		size_t significant = (width + 7u) / 8;

		if (width > 32 || length - i < significant + 4)
			return 0;
		memcpy(destination, bytes + i, significant);
		i += significant;
		if (count < max) {
			routes[count].to.ip = ip_from_v4_bytes(destination);
			routes[count].to.length = (uint8_t)(IP_V4_LENGTH + width);
			routes[count].to = ip_prefix_network(&routes[count].to);
			routes[count].via = ip_from_v4_bytes(bytes + i);
			count++;
		}
		i += 4;
	}
	return count;
}

static void read_header(const uint8_t *bytes, struct dhcp_header *header)
{
	*header = (struct dhcp_header){
		.op = bytes[0],
		.hops = bytes[3],
		.xid = read_be32(bytes + 4),
		.seconds = read_be16(bytes + 8),
		.flags = read_be16(bytes + 10),
		.ciaddr = ip_from_v4_bytes(bytes + AT_CIADDR),
		.yiaddr = ip_from_v4_bytes(bytes + AT_YIADDR),
		.siaddr = ip_from_v4_bytes(bytes + AT_SIADDR),
		.giaddr = ip_from_v4_bytes(bytes + AT_GIADDR),
	};
	memcpy(header->chaddr.bytes, bytes + AT_CHADDR, MAC_LENGTH);
	read_text(bytes + AT_SNAME, sizeof(header->sname), header->sname);
	read_text(bytes + AT_FILE, sizeof(header->file), header->file);
}

/* A field that should hold a NUL, but is cut where it does not. */
static void read_text(const uint8_t *bytes, size_t length, char *text)
{
	memcpy(text, bytes, length);
	text[length - 1] = '\0';
}

/* Steps over one option; *at stands behind it afterwards. False at the end of the field, and with
 * *at beyond the field's length when the option is truncated. */
static bool next_option(const struct field *field, size_t *at, uint8_t *code, const uint8_t **bytes,
			uint8_t *length)
{
	while (*at < field->length && field->bytes[*at] == DHCP_OPTION_PAD)
		++*at;
	if (*at >= field->length || field->bytes[*at] == DHCP_OPTION_END)
		return false;
	*code = field->bytes[*at];
	if (field->length - *at < 2 || field->length - *at - 2 < field->bytes[*at + 1]) {
		*at = field->length + 1;
		return false;
	}
	*length = field->bytes[*at + 1];
	*bytes = field->bytes + *at + 2;
	*at += 2u + *length;
	return true;
}

/* Sums the lengths of each option's pieces; false when one is truncated. */
static bool measure(const struct field *field, struct dhcp_message *message)
{
	const uint8_t *bytes;
	uint8_t code, length;
	size_t at = 0;

	while (next_option(field, &at, &code, &bytes, &length)) {
		message->present[code] = true;
		message->length[code] = (uint16_t)(message->length[code] + length);
	}
	return at <= field->length;
}

/* Copies each piece behind those that are there. The sum of all lengths is less than the message's
 * own length. */
static void gather(const struct field *field, struct dhcp_message *message)
{
	const uint8_t *bytes;
	uint8_t code, length;
	size_t at = 0;

	while (next_option(field, &at, &code, &bytes, &length)) {
		memcpy(message->bytes + message->at[code] + message->length[code], bytes, length);
		message->length[code] = (uint16_t)(message->length[code] + length);
	}
}

/* Option 52 counts in the main field alone (RFC 2132, 9.3). */
static uint8_t find_overload(const struct field *field)
{
	const uint8_t *bytes;
	uint8_t code, length;
	size_t at = 0;

	while (next_option(field, &at, &code, &bytes, &length))
		if (code == DHCP_OPTION_OVERLOAD && length == 1)
			return bytes[0];
	return 0;
}
