/* MAC addresses as text (mac.h). Configuration and API use it, on the control thread. */
#include "base/mac.h"

#include <errno.h>

static int hex_digit(char c);

int mac_from_text(const char *text, struct mac *mac)
{
	struct mac read;

	if (strlen(text) != MAC_TEXT_LENGTH - 1 || (text[2] != ':' && text[2] != '-'))
		return -EINVAL;
	for (int i = 0; i < MAC_LENGTH; i++) {
		const char *p = text + 3 * i;
		int high = hex_digit(p[0]), low = hex_digit(p[1]);

		if (high < 0 || low < 0 || (i < MAC_LENGTH - 1 && p[2] != text[2]))
			return -EINVAL;
		read.bytes[i] = (uint8_t)(high << 4 | low);
	}
	*mac = read;
	return 0;
}

char *mac_to_text(struct mac mac, char text[MAC_TEXT_LENGTH])
{
	static const char digits[] = "0123456789abcdef";

	for (int i = 0; i < MAC_LENGTH; i++) {
		text[3 * i] = digits[mac.bytes[i] >> 4];
		text[3 * i + 1] = digits[mac.bytes[i] & 15];
		text[3 * i + 2] = ':';
	}
	text[MAC_TEXT_LENGTH - 1] = '\0';
	return text;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}
