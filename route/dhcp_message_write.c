/* Writing DHCP messages (dhcp_message.h). For the DHCPv4 server and an uplink's client, on the
 * control thread. Three bytes of the main field are kept for option 52 until the end. */
#include "route/dhcp_message.h"

#include "base/parse.h"

#include <string.h>

#define SNAME_AT	44u
#define SNAME_LENGTH	64u
#define FILE_AT		108u
#define FILE_LENGTH	128u
#define OPTIONS_AT	240u
#define END_LENGTH	1u
#define OVERLOAD_LENGTH 3u
#define LABEL_MAX	63u

static void append(uint8_t *field, size_t *used, uint8_t code, const uint8_t *bytes, size_t length);

void dhcp_write_start(struct dhcp_writer *writer, const struct dhcp_header *header,
		      enum dhcp_type type, size_t limit)
{
	uint8_t *p = writer->bytes;

	if (limit < DHCP_LIMIT_MIN)
		limit = DHCP_LIMIT_MIN;
	writer->limit = limit < DHCP_MESSAGE_MAX ? limit : DHCP_MESSAGE_MAX;
	writer->used = OPTIONS_AT;
	writer->file_used = writer->sname_used = 0;
	writer->file_free = header->file[0] == '\0';
	writer->sname_free = header->sname[0] == '\0';
	memset(p, 0, OPTIONS_AT);
	p[0] = header->op;
	p[1] = 1; /* Ethernet */
	p[2] = MAC_LENGTH;
	p[3] = header->hops;
	write_be32(p + 4, header->xid);
	write_be16(p + 8, header->seconds);
	write_be16(p + 10, header->flags);
	memcpy(p + 12, ip_v4_bytes(&header->ciaddr), 4);
	memcpy(p + 16, ip_v4_bytes(&header->yiaddr), 4);
	memcpy(p + 20, ip_v4_bytes(&header->siaddr), 4);
	memcpy(p + 24, ip_v4_bytes(&header->giaddr), 4);
	memcpy(p + 28, header->chaddr.bytes, MAC_LENGTH);
	memcpy(p + SNAME_AT, header->sname, strnlen(header->sname, SNAME_LENGTH - 1));
	memcpy(p + FILE_AT, header->file, strnlen(header->file, FILE_LENGTH - 1));
	write_be32(p + 236, 0x63825363);
	if (type != DHCP_BOOTP)
		dhcp_write_u8(writer, DHCP_OPTION_TYPE, (uint8_t)type);
}

bool dhcp_write_option(struct dhcp_writer *writer, uint8_t code, const void *bytes, size_t length)
{
	size_t pieces = length <= 255 ? 1 : (length + 254) / 255;
	size_t needed = length + 2 * pieces;

	if (length > DHCP_MESSAGE_MAX)
		return false;
	if (writer->used + needed + OVERLOAD_LENGTH + END_LENGTH <= writer->limit)
		append(writer->bytes, &writer->used, code, bytes, length);
	else if (writer->file_free && writer->file_used + needed + END_LENGTH <= FILE_LENGTH)
		append(writer->bytes + FILE_AT, &writer->file_used, code, bytes, length);
	else if (writer->sname_free && writer->sname_used + needed + END_LENGTH <= SNAME_LENGTH)
		append(writer->bytes + SNAME_AT, &writer->sname_used, code, bytes, length);
	else
		return false;
	return true;
}

bool dhcp_write_u8(struct dhcp_writer *writer, uint8_t code, uint8_t value)
{
	return dhcp_write_option(writer, code, &value, sizeof(value));
}

bool dhcp_write_u16(struct dhcp_writer *writer, uint8_t code, uint16_t value)
{
	uint8_t bytes[2];

	write_be16(bytes, value);
	return dhcp_write_option(writer, code, bytes, sizeof(bytes));
}

bool dhcp_write_u32(struct dhcp_writer *writer, uint8_t code, uint32_t value)
{
	uint8_t bytes[4];

	write_be32(bytes, value);
	return dhcp_write_option(writer, code, bytes, sizeof(bytes));
}

bool dhcp_write_ip(struct dhcp_writer *writer, uint8_t code, const struct ip *ip)
{
	return dhcp_write_option(writer, code, ip_v4_bytes(ip), 4);
}

bool dhcp_write_text(struct dhcp_writer *writer, uint8_t code, const char *text)
{
	return dhcp_write_option(writer, code, text, strlen(text));
}

bool dhcp_write_ips(struct dhcp_writer *writer, uint8_t code, const struct ip_list *list)
{
	uint8_t bytes[4 * DHCP_LIST_MAX];
	size_t length = 0;

	for (unsigned i = 0; i < list->count && i < DHCP_LIST_MAX; i++) {
		if (!ip_is_v4(&list->ips[i]))
			continue;
		memcpy(bytes + length, ip_v4_bytes(&list->ips[i]), 4);
		length += 4;
	}
	return length == 0 || dhcp_write_option(writer, code, bytes, length);
}

bool dhcp_write_search(struct dhcp_writer *writer, uint32_t count,
		       char (*domains)[DHCP_DOMAIN_MAX + 1])
{
	uint8_t bytes[DHCP_MESSAGE_MAX];
	size_t length = 0;

	for (uint32_t i = 0; i < count; i++) {
		size_t used = dhcp_name_encode(domains[i], bytes + length, sizeof(bytes) - length);

		if (used == 0)
			return false;
		length += used;
	}
	return length == 0 || dhcp_write_option(writer, DHCP_OPTION_SEARCH, bytes, length);
}

/* Appends a route to *length bytes; false without room. */
static bool encode_route(const struct dhcp_route *route, uint8_t *bytes, size_t *length)
{
	struct ip_prefix to = ip_prefix_network(&route->to);
	uint8_t width = (uint8_t)(to.length - IP_V4_LENGTH);
	size_t significant = (width + 7u) / 8;

	if (*length + 1 + significant + 4 > DHCP_MESSAGE_MAX)
		return false;
	bytes[(*length)++] = width;
	memcpy(bytes + *length, ip_v4_bytes(&to.ip), significant);
	*length += significant;
	memcpy(bytes + *length, ip_v4_bytes(&route->via), 4);
	*length += 4;
	return true;
}

bool dhcp_write_routes(struct dhcp_writer *writer, uint32_t count, const struct dhcp_route *routes,
		       uint32_t more_count, const struct dhcp_route *more)
{
	uint8_t bytes[DHCP_MESSAGE_MAX];
	size_t length = 0;

	for (uint32_t i = 0; i < count; i++)
		if (!encode_route(&routes[i], bytes, &length))
			return false;
	for (uint32_t i = 0; i < more_count; i++)
		if (!encode_route(&more[i], bytes, &length))
			return false;
	return length == 0 || dhcp_write_option(writer, DHCP_OPTION_ROUTES, bytes, length);
}

size_t dhcp_write_finish(struct dhcp_writer *writer)
{
	uint8_t overload =
	    (uint8_t)((writer->file_used > 0 ? 1 : 0) | (writer->sname_used > 0 ? 2 : 0));

	if (overload != 0)
		append(writer->bytes, &writer->used, DHCP_OPTION_OVERLOAD, &overload, 1);
	if (writer->file_used > 0)
		writer->bytes[FILE_AT + writer->file_used] = DHCP_OPTION_END;
	if (writer->sname_used > 0)
		writer->bytes[SNAME_AT + writer->sname_used] = DHCP_OPTION_END;
	writer->bytes[writer->used++] = DHCP_OPTION_END;
	while (writer->used < DHCP_MESSAGE_PAD)
		writer->bytes[writer->used++] = DHCP_OPTION_PAD;
	return writer->used;
}

bool dhcp_write_pad(struct dhcp_writer *writer)
{
	if (writer->used >= writer->limit)
		return false;
	writer->bytes[writer->used++] = DHCP_OPTION_PAD;
	return true;
}

size_t dhcp_name_encode(const char *name, uint8_t *out, size_t room)
{
	size_t used = 0;

	if (*name == '\0' || strlen(name) > DHCP_DOMAIN_MAX)
		return 0;
	while (*name != '\0') {
		size_t label = strcspn(name, ".");

		if (label == 0 || label > LABEL_MAX || room - used < label + 2)
			return 0;
		out[used++] = (uint8_t)label;
		memcpy(out + used, name, label);
		used += label;
		name += label;
		name += *name == '.';
	}
	out[used++] = 0;
	return used;
}

/* The caller has made sure of the room. */
static void append(uint8_t *field, size_t *used, uint8_t code, const uint8_t *bytes, size_t length)
{
	do {
		size_t piece = length < 255 ? length : 255;

		field[(*used)++] = code;
		field[(*used)++] = (uint8_t)piece;
		memcpy(field + *used, bytes, piece);
		*used += piece;
		bytes += piece;
		length -= piece;
	} while (length > 0);
}
