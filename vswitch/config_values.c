/* Reads addresses, times, names and bytes from a configuration's nodes (config_values.h). */
#include "vswitch/config_values.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define SHOWN	   80
#define SEARCH_MAX 16u

static const char *family_name(int family)
{
	return family == AF_INET ? "IPv4" : family == AF_INET6 ? "IPv6" : "IPv4 or IPv6";
}

static const char *text_of(const struct config_node *node)
{
	return node->kind == CONFIG_SCALAR ? node->scalar : "";
}

/* The address of a family; an IPv4 one is never written as an IPv6 one. */
static bool take_ip(const char *text, int family, struct ip *ip)
{
	bool colon = strchr(text, ':') != NULL;

	return ip_from_text(text, ip) == 0 && ip_is_v4(ip) != colon &&
	       (family == AF_UNSPEC || (family == AF_INET) != colon);
}

int config_value_ip(const char *file, const struct config_node *node, int family, struct ip *out,
		    struct error *error)
{
	struct ip ip;

	if (!take_ip(text_of(node), family, &ip) || !ip_is_host(&ip))
		return config_error(file, node, error,
				    "'%.*s' is no address of a host; allowed: an %s address", SHOWN,
				    text_of(node), family_name(family));
	*out = ip;
	return 0;
}

/* ADDRESS/LENGTH, of whatever kind. */
static int read_prefix(const char *file, const struct config_node *node, int family,
		       struct ip_prefix *out, struct error *error)
{
	const char *text = text_of(node), *slash = strchr(text, '/');
	char address[IP_TEXT_LENGTH] = "";
	const char *example = family == AF_INET6 ? "fd00:122::1/64" : "192.168.122.1/24";
	struct ip_prefix prefix;
	struct ip ip;

	if (slash == NULL && take_ip(text, family, &ip))
		return config_error(file, node, error,
				    "'%.*s' has no length of its prefix; allowed: ADDRESS/LENGTH, "
				    "such as %s",
				    SHOWN, text, example);
	if (slash != NULL && (size_t)(slash - text) < sizeof(address))
		memcpy(address, text, (size_t)(slash - text));
	if (!take_ip(address, family, &ip) || ip_prefix_from_text(text, &prefix) < 0)
		return config_error(file, node, error,
				    "'%.*s' is no %s prefix; allowed: ADDRESS/LENGTH, such as %s",
				    SHOWN, text, family_name(family), example);
	out->ip = prefix.ip;
	out->length = prefix.length;
	return 0;
}

int config_value_address(const char *file, const struct config_node *node, int family,
			 struct ip_prefix *out, struct error *error)
{
	struct ip_prefix prefix, network;
	struct ip last;
	bool v4, roomy;
	int rc = read_prefix(file, node, family, &prefix, error);

	if (rc < 0)
		return rc;
	network = ip_prefix_network(&prefix);
	last = ip_prefix_last(&prefix);
	v4 = ip_is_v4(&prefix.ip);
	roomy = prefix.length < 127; /* RFC 3021, RFC 6164: of two addresses both are hosts */
	if (!ip_is_host(&prefix.ip))
		return config_error(file, node, error,
				    "'%.*s' is no address of a host; allowed: one of the network's "
				    "hosts",
				    SHOWN, node->scalar);
	if (roomy && ip_equal(&prefix.ip, &network.ip))
		return config_error(file, node, error,
				    "'%.*s' is the address of the network itself; allowed: one of "
				    "its hosts",
				    SHOWN, node->scalar);
	if (roomy && v4 && ip_equal(&prefix.ip, &last))
		return config_error(
		    file, node, error,
		    "'%.*s' is the broadcast address; allowed: one of the network's "
		    "hosts",
		    SHOWN, node->scalar);
	out->ip = prefix.ip;
	out->length = prefix.length;
	return 0;
}

int config_value_network(const char *file, const struct config_node *node, struct ip_prefix *out,
			 struct error *error)
{
	char text[IP_PREFIX_TEXT_LENGTH];
	struct ip_prefix prefix, network;
	int rc = read_prefix(file, node, AF_UNSPEC, &prefix, error);

	if (rc < 0)
		return rc;
	network = ip_prefix_network(&prefix);
	if (!ip_equal(&network.ip, &prefix.ip))
		return config_error(file, node, error,
				    "'%.*s' has bits behind its length; allowed: %s", SHOWN,
				    node->scalar, ip_prefix_to_text(&network, text));
	out->ip = prefix.ip;
	out->length = prefix.length;
	return 0;
}

int config_value_range(const char *file, const struct config_node *node, int family,
		       struct ip_range *out, struct error *error)
{
	const char *text = text_of(node), *dash = strchr(text, '-');
	char first[IP_TEXT_LENGTH] = "";
	size_t length = dash != NULL ? (size_t)(dash - text) : strlen(text);
	struct ip_range range;

	if (length < sizeof(first))
		memcpy(first, text, length);
	if (!take_ip(first, family, &range.first) ||
	    !take_ip(dash != NULL ? dash + 1 : text, family, &range.last) ||
	    ip_is_v4(&range.first) != ip_is_v4(&range.last) || !ip_is_host(&range.first) ||
	    !ip_is_host(&range.last))
		return config_error(file, node, error,
				    "'%.*s' is no range of addresses; allowed: FIRST-LAST, two %s "
				    "addresses, or one",
				    SHOWN, text, family_name(family));
	if (ip_compare(&range.first, &range.last) > 0)
		return config_error(file, node, error,
				    "'%.*s' ends before it begins; allowed: FIRST-LAST with FIRST "
				    "the lower one",
				    SHOWN, text);
	out->first = range.first;
	out->last = range.last;
	return 0;
}

int config_value_time(const char *file, const struct config_node *node, uint32_t low, uint32_t high,
		      uint32_t *out, struct error *error)
{
	static const struct {
		char letter;
		uint32_t seconds;
	} units[] = { { '\0', 1 }, { 's', 1 }, { 'm', 60 }, { 'h', 3600 }, { 'd', 86400 } };
	const char *text = text_of(node);
	uint64_t n = 0, seconds = 0;
	size_t digits = strspn(text, "0123456789");

	for (size_t i = 0; i < digits && n <= UINT32_MAX; i++)
		n = n * 10 + (uint64_t)(text[i] - '0');
	for (size_t i = 0; digits > 0 && i < sizeof(units) / sizeof(units[0]); i++) {
		if (text[digits] != units[i].letter ||
		    (text[digits] != '\0' && text[digits + 1] != '\0'))
			continue;
		seconds = n * units[i].seconds;
		if (seconds < low || seconds > high)
			return config_error(file, node, error,
					    "%.*s is out of range; allowed: %u to %u seconds",
					    SHOWN, text, low, high);
		*out = (uint32_t)seconds;
		return 0;
	}
	return config_error(file, node, error,
			    "'%.*s' is no time; allowed: seconds, or a number with s, m, h or d "
			    "behind it, such as 12h",
			    SHOWN, text);
}

int config_value_interface(const char *file, const struct config_node *node, const char *refused,
			   char out[IFNAMSIZ], struct error *error)
{
	const char *name = node->kind == CONFIG_SCALAR ? node->scalar : "";
	size_t length = strlen(name);
	bool good =
	    length > 0 && length < IFNAMSIZ && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;

	for (size_t i = 0; i < length; i++)
		good = good && name[i] > ' ' && name[i] < 0x7f && strchr("/:", name[i]) == NULL &&
		       strchr(refused, name[i]) == NULL;
	if (!good)
		return config_error(file, node, error,
				    "not the name of an interface; allowed: 1 to %d characters "
				    "without space and any of '/:%s'",
				    IFNAMSIZ - 1, refused);
	memcpy(out, name, length + 1);
	return 0;
}

int config_value_mac(const char *file, const struct config_node *node, struct mac *out,
		     struct error *error)
{
	if (mac_from_text(text_of(node), out) < 0 || mac_is_multicast(out->bytes) ||
	    mac_is_zero(out->bytes))
		return config_error(file, node, error,
				    "'%.*s' is no address of one interface; allowed: a unicast MAC "
				    "as 52:54:00:00:00:01",
				    SHOWN, text_of(node));
	return 0;
}

/* How long the label at text is; 0: it is none. */
static size_t label_length(const char *text)
{
	size_t length = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				     "0123456789-_");

	if (length == 0 || length > DHCP_NAME_MAX || text[0] == '-' || text[length - 1] == '-')
		return 0;
	return length;
}

int config_value_label(const char *file, const struct config_node *node, const char *text,
		       char out[DHCP_NAME_MAX + 1], struct error *error)
{
	size_t length = label_length(text);

	if (length == 0 || text[length] != '\0')
		return config_error(file, node, error,
				    "'%.*s' is no name of a host; allowed: 1 to %u letters, digits "
				    "and '-', which does not stand at an end",
				    SHOWN, text, DHCP_NAME_MAX);
	memset(out, 0, DHCP_NAME_MAX + 1);
	memcpy(out, text, length);
	return 0;
}

int config_value_domain(const char *file, const struct config_node *node,
			char out[DHCP_DOMAIN_MAX + 1], struct error *error)
{
	const char *text = text_of(node), *p = text;
	bool good = strlen(text) <= DHCP_DOMAIN_MAX;

	while (good) {
		size_t length = label_length(p);

		good = length > 0;
		p += length;
		if (*p != '.')
			break;
		p++;
	}
	if (!good || *p != '\0')
		return config_error(file, node, error,
				    "'%.*s' is no domain name; allowed: labels of letters, digits "
				    "and '-' with dots between them, at most %u characters",
				    SHOWN, text, DHCP_DOMAIN_MAX);
	memset(out, 0, DHCP_DOMAIN_MAX + 1);
	memcpy(out, text, (size_t)(p - text));
	return 0;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Pairs of digits with `between` (or nothing) between them. False: the text is something else. */
static bool take_hex(const char *text, const char *between, uint8_t *out, uint8_t size,
		     size_t *length)
{
	size_t n = 0, skip = strlen(between);

	while (hex_digit(text[0]) >= 0 && hex_digit(text[1]) >= 0) {
		if (n < size)
			out[n] = (uint8_t)(hex_digit(text[0]) << 4 | hex_digit(text[1]));
		n++;
		text += 2;
		if (*text == '\0')
			break;
		if (strncmp(text, between, skip) != 0)
			return false;
		text += skip;
	}
	*length = n;
	return n > 0 && *text == '\0';
}

int config_value_bytes(const char *file, const struct config_node *node, uint8_t *out, uint8_t size,
		       uint8_t *length, struct error *error)
{
	const char *text = text_of(node);
	size_t n = 0;

	memset(out, 0, size);
	if (strncmp(text, "0x", 2) == 0) {
		if (!take_hex(text + 2, "", out, size, &n))
			return config_error(file, node, error,
					    "'%.*s' is no bytes; allowed: 0x and pairs of "
					    "hexadecimal digits",
					    SHOWN, text);
	} else if (strchr(text, ':') == NULL || !take_hex(text, ":", out, size, &n)) {
		n = strlen(text);
		memset(out, 0, size);
		memcpy(out, text, n < size ? n : size);
	}
	if (node->kind != CONFIG_SCALAR || n == 0 || n > size)
		return config_error(file, node, error,
				    "must be a text, or bytes as 0xHEX or HEX:HEX:...; allowed: 1 "
				    "to %u bytes",
				    size);
	*length = (uint8_t)n;
	return 0;
}

int config_value_u16(const char *file, const struct config_node *node, uint16_t low, uint16_t high,
		     uint16_t *out, struct error *error)
{
	uint64_t n;
	int rc = config_node_number(file, node, low, high, &n, error);

	if (rc == 0)
		*out = (uint16_t)n;
	return rc;
}

int config_value_u32(const char *file, const struct config_node *node, uint32_t low, uint32_t high,
		     uint32_t *out, struct error *error)
{
	uint64_t n;
	int rc = config_node_number(file, node, low, high, &n, error);

	if (rc == 0)
		*out = (uint32_t)n;
	return rc;
}

/* Every child, whatever is wrong with those before. */
static int read_children(const char *file, const struct config_node *node,
			 int (*read)(const char *file, const struct config_node *node, void *out,
				     struct error *error),
			 void *out, struct error *error)
{
	struct error all = { "" };
	int result = 0;

	for (uint32_t i = 0; i < node->count && result != -ENOMEM; i++) {
		struct error one = { "" };
		int rc = read(file, &node->children[i], out, &one);

		if (rc < 0) {
			config_error_join(&all, &one);
			result = rc;
		}
	}
	if (result < 0 && error != NULL)
		*error = all;
	return result;
}

int config_value_each(const char *file, const struct config_node *node, const char *what,
		      uint32_t most,
		      int (*read)(const char *file, const struct config_node *node, void *out,
				  struct error *error),
		      void *out, struct error *error)
{
	if (node->kind == CONFIG_SCALAR && node->scalar[0] != '\0')
		return read(file, node, out, error);
	if (node->kind != CONFIG_SEQUENCE || node->count == 0 || node->count > most)
		return config_error(file, node, error,
				    "must be one value or a list; allowed: 1 to %u %s", most, what);
	return read_children(file, node, read, out, error);
}

int config_value_each_entry(const char *file, const struct config_node *node, const char *what,
			    int (*read)(const char *file, const struct config_node *node, void *out,
					struct error *error),
			    void *out, struct error *error)
{
	if (node->kind != CONFIG_MAPPING && !config_node_is_empty(node))
		return config_error(file, node, error, "is no mapping; allowed: %s", what);
	return read_children(file, node, read, out, error);
}

struct ips {
	struct ip_list *list;
	int family;
};

static int read_ips(const char *file, const struct config_node *node, void *out,
		    struct error *error)
{
	struct ips *ips = out;
	struct ip ip;
	int rc = config_value_ip(file, node, ips->family, &ip, error);

	if (rc < 0)
		return rc;
	for (uint8_t i = 0; i < ips->list->count; i++)
		if (ip_equal(&ips->list->ips[i], &ip))
			return config_error(file, node, error,
					    "is in the list twice; allowed: each once");
	ips->list->ips[ips->list->count++] = ip;
	return 0;
}

int config_value_ips(const char *file, const struct config_node *node, int family,
		     struct ip_list *out, struct error *error)
{
	struct ips ips = { out, family };

	return config_value_each(file, node, "addresses", DHCP_LIST_MAX, read_ips, &ips, error);
}

static int read_search(const char *file, const struct config_node *node, void *out,
		       struct error *error)
{
	struct config_search *search = out;
	char(*name)[DHCP_DOMAIN_MAX + 1] =
	    config_value_append(search->names, search->count, sizeof(*name), error);

	return name == NULL ? -ENOMEM : config_value_domain(file, node, *name, error);
}

int config_value_search(const char *file, const struct config_node *node,
			struct config_search search, struct error *error)
{
	return config_value_each(file, node, "domain names", SEARCH_MAX, read_search, &search,
				 error);
}

void *config_value_append(void *rows, uint32_t *count, size_t size, struct error *error)
{
	void **array = rows;
	char *larger = reallocarray(*array, (size_t)*count + 1, size);

	if (larger == NULL) {
		error_set(error, ENOMEM, "out of memory");
		return NULL;
	}
	*array = larger;
	memset(larger + *count * size, 0, size);
	return larger + (*count)++ * size;
}

bool config_value_is(const struct config_node *node, const char *word)
{
	return node->kind == CONFIG_SCALAR && strcmp(node->scalar, word) == 0;
}
