/* DNS names on the wire of DHCPv6 and router advertisements (name_wire.h). Control thread. */
#include "route/name_wire.h"

#include <ctype.h>
#include <string.h>

#define LABEL_MAX     63u
#define NAME_MAX_WIRE 255u /* RFC 1035, 3.1 */

size_t name_wire_write(const char *name, uint8_t *out, size_t size)
{
	size_t at = 0;

	while (*name != '\0') {
		size_t label = strcspn(name, ".");

		if (label == 0 || label > LABEL_MAX || at + 1 + label + 1 > size ||
		    at + 1 + label + 1 > NAME_MAX_WIRE)
			return 0;
		out[at++] = (uint8_t)label;
		memcpy(out + at, name, label);
		at += label;
		name += label;
		if (*name == '.')
			name++;
	}
	if (at == 0)
		return 0;
	out[at++] = 0;
	return at;
}

size_t name_wire_first_label(const uint8_t *bytes, size_t length, char label[64])
{
	size_t count = length > 0 ? bytes[0] : 0;

	if (count == 0 || count > LABEL_MAX || count + 1 > length || bytes[1] == '-' ||
	    bytes[count] == '-')
		return 0;
	for (size_t i = 0; i < count; i++) {
		uint8_t c = bytes[1 + i];

		if (c >= 0x80 || (!isalnum(c) && c != '-'))
			return 0;
		label[i] = (char)tolower(c);
	}
	label[count] = '\0';
	return count;
}
