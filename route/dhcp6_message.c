/* DHCPv6 messages (dhcp6_message.h): one pass over the options, every length checked against what
 * is there. Control thread. */
#include "route/dhcp6_message.h"

#include "base/parse.h"

#include <ctype.h>
#include <errno.h>

#define OPTION_HEADER 4u

/* Bytes of an identity association and of an address before the options in them. */
#define IA_NA_LENGTH   12u
#define IA_TA_LENGTH   4u
#define ADDRESS_LENGTH 24u

/* Bytes still to be read. */
struct reader {
	const uint8_t *at;
	size_t left;
};

struct option {
	uint16_t code, length;
	const uint8_t *data;
};

typedef int option_reader(struct dhcp6_message *message, const struct option *option);

static int read_client(struct dhcp6_message *message, const struct option *option);
static int read_server(struct dhcp6_message *message, const struct option *option);
static int read_ia(struct dhcp6_message *message, const struct option *option);
static int read_requested(struct dhcp6_message *message, const struct option *option);
static int read_status(struct dhcp6_message *message, const struct option *option);
static int read_rapid_commit(struct dhcp6_message *message, const struct option *option);
static int read_name(struct dhcp6_message *message, const struct option *option);

/* What stands in a message itself; other options are passed over. */
static const struct {
	uint16_t code;
	uint16_t min, max;
	option_reader *read;
} options[] = {
	{ DHCP6_CLIENT_ID, DHCP6_DUID_MIN, DHCP6_DUID_MAX, read_client },
	{ DHCP6_SERVER_ID, DHCP6_DUID_MIN, DHCP6_DUID_MAX, read_server },
	{ DHCP6_IA_NA, IA_NA_LENGTH, UINT16_MAX, read_ia },
	{ DHCP6_IA_TA, IA_TA_LENGTH, UINT16_MAX, read_ia },
	{ DHCP6_IA_PD, IA_NA_LENGTH, UINT16_MAX, read_ia },
	{ DHCP6_OPTION_REQUEST, 0, UINT16_MAX, read_requested },
	{ DHCP6_STATUS_CODE, 2, UINT16_MAX, read_status },
	{ DHCP6_RAPID_COMMIT, 0, 0, read_rapid_commit },
	{ DHCP6_CLIENT_FQDN, 1, 256, read_name },
};

/* 1 with the next option, 0 at the end, -EBADMSG. */
static int next_option(struct reader *reader, struct option *option)
{
	if (reader->left == 0)
		return 0;
	if (reader->left < OPTION_HEADER)
		return -EBADMSG;
	option->code = read_be16(reader->at);
	option->length = read_be16(reader->at + 2);
	option->data = reader->at + OPTION_HEADER;
	if (option->length > reader->left - OPTION_HEADER)
		return -EBADMSG;
	reader->at += OPTION_HEADER + option->length;
	reader->left -= OPTION_HEADER + option->length;
	return 1;
}

static int read_option(struct dhcp6_message *message, const struct option *option)
{
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		if (options[i].code != option->code)
			continue;
		if (option->length < options[i].min || option->length > options[i].max)
			return -EBADMSG;
		return options[i].read(message, option);
	}
	return 0;
}

int dhcp6_message_parse(const uint8_t *bytes, size_t length, struct dhcp6_message *message)
{
	struct reader reader;
	struct option option;
	int result;

	*message = (struct dhcp6_message){ .status = DHCP6_NO_STATUS };
	if (length < DHCP6_HEADER_LENGTH)
		return -EBADMSG;
	message->type = bytes[0];
	if (message->type == DHCP6_RELAY_FORW || message->type == DHCP6_RELAY_REPL)
		return 0;
	message->transaction = read_be32(bytes) & 0xffffff;
	reader = (struct reader){ bytes + DHCP6_HEADER_LENGTH, length - DHCP6_HEADER_LENGTH };
	while ((result = next_option(&reader, &option)) > 0) {
		result = read_option(message, &option);
		if (result != 0)
			return result;
	}
	return result;
}

bool dhcp6_message_requests(const struct dhcp6_message *message, uint16_t code)
{
	for (uint16_t i = 0; i + 1 < message->requested_length; i += 2) {
		if (read_be16(message->requested + i) == code)
			return true;
	}
	return false;
}

void dhcp6_message_label(const struct dhcp6_message *message, char label[DHCP6_LABEL_SIZE])
{
	const uint8_t *name = message->name;
	uint32_t length = name != NULL && message->name_length > 0 ? name[0] : 0;

	label[0] = '\0';
	if (length == 0 || length >= DHCP6_LABEL_SIZE || length >= message->name_length ||
	    name[1] == '-' || name[length] == '-')
		return;
	for (uint32_t i = 1; i <= length; i++) {
		if (name[i] >= 0x80 || (!isalnum(name[i]) && name[i] != '-'))
			return;
	}
	for (uint32_t i = 0; i < length; i++)
		label[i] = (char)tolower(name[1 + i]);
	label[length] = '\0';
}

static int read_client(struct dhcp6_message *message, const struct option *option)
{
	if (message->client != NULL)
		return -EBADMSG;
	message->client = option->data;
	message->client_length = option->length;
	return 0;
}

static int read_server(struct dhcp6_message *message, const struct option *option)
{
	if (message->server != NULL)
		return -EBADMSG;
	message->server = option->data;
	message->server_length = option->length;
	return 0;
}

static int read_requested(struct dhcp6_message *message, const struct option *option)
{
	if (message->requested != NULL || option->length % 2 != 0)
		return -EBADMSG;
	message->requested = option->data;
	message->requested_length = option->length;
	return 0;
}

static int read_status(struct dhcp6_message *message, const struct option *option)
{
	if (message->status != DHCP6_NO_STATUS)
		return -EBADMSG;
	message->status = read_be16(option->data);
	return 0;
}

static int read_rapid_commit(struct dhcp6_message *message, const struct option *option)
{
	if (message->rapid_commit)
		return -EBADMSG;
	message->rapid_commit = true;
	return 0;
}

static int read_name(struct dhcp6_message *message, const struct option *option)
{
	if (message->name != NULL)
		return -EBADMSG;
	message->name_flags = option->data[0];
	message->name = option->data + 1;
	message->name_length = option->length - 1;
	return 0;
}

/* RFC 8415, 21.6. */
static int read_address(struct dhcp6_ia *ia, const struct option *option)
{
	struct dhcp6_address *address = &ia->addresses[ia->address_count];
	struct reader reader;
	struct option inner;
	int result;

	if (option->length < ADDRESS_LENGTH)
		return -EBADMSG;
	reader = (struct reader){ option->data + ADDRESS_LENGTH, option->length - ADDRESS_LENGTH };
	while ((result = next_option(&reader, &inner)) > 0) {
		if (inner.code == DHCP6_STATUS_CODE && inner.length < 2)
			return -EBADMSG;
		if (inner.code == DHCP6_STATUS_CODE && ia->status == DHCP6_NO_STATUS)
			ia->status = read_be16(inner.data);
	}
	if (result != 0 || ia->address_count == DHCP6_ADDRESSES_MAX)
		return result;
	address->ip = ip_from_v6_bytes(option->data);
	address->preferred = read_be32(option->data + 16);
	address->valid = read_be32(option->data + 20);
	ia->address_count++;
	return 0;
}

/* RFC 8415, 21.4, 21.5, 21.21. */
static int read_ia(struct dhcp6_message *message, const struct option *option)
{
	uint32_t fixed = option->code == DHCP6_IA_TA ? IA_TA_LENGTH : IA_NA_LENGTH;
	struct reader reader = { option->data + fixed, option->length - fixed };
	struct dhcp6_ia *ia = &message->ias[message->ia_count];
	struct option inner;
	int result;

	if (message->ia_count == DHCP6_IAS_MAX)
		return -EBADMSG;
	*ia = (struct dhcp6_ia){ .code = option->code,
				 .iaid = read_be32(option->data),
				 .status = DHCP6_NO_STATUS };
	for (uint32_t i = 0; i < message->ia_count; i++) {
		if (message->ias[i].code == ia->code && message->ias[i].iaid == ia->iaid)
			return -EBADMSG;
	}
	if (option->code != DHCP6_IA_TA) {
		ia->t1 = read_be32(option->data + 4);
		ia->t2 = read_be32(option->data + 8);
	}
	while ((result = next_option(&reader, &inner)) > 0) {
		if (inner.code == DHCP6_STATUS_CODE && inner.length < 2)
			return -EBADMSG;
		if (inner.code == DHCP6_STATUS_CODE)
			ia->status = read_be16(inner.data);
		else if (inner.code == DHCP6_IA_ADDRESS && ia->code != DHCP6_IA_PD)
			result = read_address(ia, &inner);
		if (result < 0)
			return result;
	}
	if (result == 0)
		message->ia_count++;
	return result;
}

void dhcp6_write_header(struct dhcp6_writer *writer, enum dhcp6_type type, uint32_t transaction)
{
	if (writer->size < DHCP6_HEADER_LENGTH) {
		writer->truncated = true;
		return;
	}
	write_be32(writer->bytes, transaction & 0xffffff);
	writer->bytes[0] = (uint8_t)type;
	writer->length = DHCP6_HEADER_LENGTH;
}

/* Room for an option's `length` bytes, its header written; NULL when there is none. */
static uint8_t *add_option(struct dhcp6_writer *writer, uint16_t code, size_t length)
{
	uint8_t *p = writer->bytes + writer->length;

	if (length > UINT16_MAX || OPTION_HEADER + length > writer->size - writer->length) {
		writer->truncated = true;
		return NULL;
	}
	write_be16(p, code);
	write_be16(p + 2, (uint16_t)length);
	writer->length += OPTION_HEADER + length;
	return p + OPTION_HEADER;
}

void dhcp6_write_option(struct dhcp6_writer *writer, uint16_t code, const void *data, size_t length)
{
	uint8_t *p = add_option(writer, code, length);

	if (p != NULL && length > 0)
		memcpy(p, data, length);
}

void dhcp6_write_option_u32(struct dhcp6_writer *writer, uint16_t code, uint32_t value)
{
	uint8_t *p = add_option(writer, code, 4);

	if (p != NULL)
		write_be32(p, value);
}

void dhcp6_write_status(struct dhcp6_writer *writer, enum dhcp6_status status, const char *text)
{
	size_t length = strlen(text);
	uint8_t *p = add_option(writer, DHCP6_STATUS_CODE, 2 + length);

	if (p == NULL)
		return;
	write_be16(p, (uint16_t)status);
	memcpy(p + 2, text, length);
}

void dhcp6_write_ia(struct dhcp6_writer *writer, const struct dhcp6_ia *ia)
{
	size_t fixed = ia->code == DHCP6_IA_TA ? IA_TA_LENGTH : IA_NA_LENGTH;
	size_t status = ia->status == DHCP6_NO_STATUS ? 0 : OPTION_HEADER + 2;
	size_t addresses = ia->address_count * (size_t)(OPTION_HEADER + ADDRESS_LENGTH);
	uint8_t *p = add_option(writer, ia->code, fixed + addresses + status);

	if (p == NULL)
		return;
	write_be32(p, ia->iaid);
	if (fixed == IA_NA_LENGTH) {
		write_be32(p + 4, ia->t1);
		write_be32(p + 8, ia->t2);
	}
	p += fixed;
	for (uint32_t i = 0; i < ia->address_count; i++, p += OPTION_HEADER + ADDRESS_LENGTH) {
		write_be16(p, DHCP6_IA_ADDRESS);
		write_be16(p + 2, ADDRESS_LENGTH);
		memcpy(p + 4, ia->addresses[i].ip.bytes, 16);
		write_be32(p + 20, ia->addresses[i].preferred);
		write_be32(p + 24, ia->addresses[i].valid);
	}
	if (status != 0) {
		write_be16(p, DHCP6_STATUS_CODE);
		write_be16(p + 2, 2);
		write_be16(p + 4, ia->status);
	}
}
