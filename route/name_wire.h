/* DNS names as DHCPv6 and router advertisements carry them (RFC 1035, 3.1; no compression): labels
 * with their lengths before, a zero at the end. Pure functions. */
#ifndef WEFT_ROUTE_NAME_WIRE_H
#define WEFT_ROUTE_NAME_WIRE_H

#include <stddef.h>
#include <stdint.h>

/* Writes a name in text ("lab.internal", a dot at the end or not). Returns the bytes written, or 0
 * when it is empty, has a label that is empty or beyond 63 bytes, or does not fit in `size`. */
size_t name_wire_write(const char *name, uint8_t *out, size_t size);

/* Reads the first label, which may stand alone or begin a name, in lower case. Returns its length,
 * or 0 when it is not made of letters, digits and inner hyphens (RFC 1123, 2.1) or is not whole.
 * label[] gets a NUL; it is 64 bytes. */
size_t name_wire_first_label(const uint8_t *bytes, size_t length, char label[64]);

#endif
