/* The life of a gateway's configuration (gateway_config.h): made, shared, copied, compared by the
 * keys of the configuration file, freed. Tables say which bytes belong to which key and where
 * arrays hang. Control thread, weftd --check, fuzzer. */
#include "vswitch/gateway_config.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define OFFSET(member) offsetof(struct gateway_config, member)
#define SIZE(member)   sizeof(((struct gateway_config *)0)->member)

/* An array the object owns. Its pointer and its count are compared by what they stand for. */
struct array {
	const char *key;
	size_t pointer, count, size;
};

#define ARRAY(name, rows, number)                                                                  \
	{                                                                                          \
		.key = (name), .pointer = OFFSET(rows), .count = OFFSET(number),                   \
		.size = sizeof(*((struct gateway_config *)0)->rows)                                \
	}

static const struct array arrays[] = {
	ARRAY("dhcp", dhcp.ranges, dhcp.range_count),
	ARRAY("dhcp", dhcp.hosts, dhcp.host_count),
	ARRAY("dhcp", dhcp.search, dhcp.search_count),
	ARRAY("dhcp", dhcp.routes, dhcp.route_count),
	ARRAY("dhcp", dhcp.options, dhcp.option_count),
	ARRAY("dhcp6", dhcp6.ranges, dhcp6.range_count),
	ARRAY("dhcp6", dhcp6.search, dhcp6.search_count),
	ARRAY("ra", advertise.search, advertise.search_count),
	ARRAY("dns", dns.hosts, dns.host_count),
	ARRAY("forward", nat.forwards, nat.forward_count),
	ARRAY("routes", routes, route_count),
	ARRAY("peers", peers, peer_count),
	ARRAY("nat", nat.pool, nat.pool_count),
};

#define ARRAYS (sizeof(arrays) / sizeof(arrays[0]))

/* The bytes that belong to a key, arrays apart. The addresses have two keys. */
static const struct part {
	const char *key;
	size_t offset, size;
} parts[] = {
	{ "mac", OFFSET(mac), SIZE(mac) },
	{ "mtu", OFFSET(mtu), SIZE(mtu) },
	{ "dhcp", OFFSET(dhcp), SIZE(dhcp) },
	{ "dhcp6", OFFSET(dhcp6), SIZE(dhcp6) },
	{ "ra", OFFSET(advertise), SIZE(advertise) },
	{ "dns", OFFSET(dns), SIZE(dns) },
	{ "uplink", OFFSET(uplink), SIZE(uplink) },
	{ "forward", 0, 0 },
	{ "routes", 0, 0 },
	{ "peers", 0, 0 },
	{ "nat", OFFSET(nat), SIZE(nat) },
	{ "antispoof", OFFSET(antispoof), SIZE(antispoof) },
	{ "mss-clamp", OFFSET(mss_clamp), SIZE(mss_clamp) },
};

static void *get_pointer(const struct gateway_config *gateway, const struct array *array)
{
	void *pointer;

	memcpy(&pointer, (const char *)gateway + array->pointer, sizeof(pointer));
	return pointer;
}

static void set_pointer(struct gateway_config *gateway, const struct array *array, void *pointer)
{
	memcpy((char *)gateway + array->pointer, &pointer, sizeof(pointer));
}

static uint32_t get_count(const struct gateway_config *gateway, const struct array *array)
{
	uint32_t count;

	memcpy(&count, (const char *)gateway + array->count, sizeof(count));
	return count;
}

struct gateway_config *gateway_config_create(void)
{
	struct gateway_config *gateway = calloc(1, sizeof(*gateway));

	if (gateway != NULL)
		gateway->references = 1;
	return gateway;
}

struct gateway_config *gateway_config_ref(struct gateway_config *gateway)
{
	if (gateway != NULL)
		gateway->references++;
	return gateway;
}

void gateway_config_unref(struct gateway_config *gateway)
{
	if (gateway == NULL || --gateway->references > 0)
		return;
	for (size_t i = 0; i < ARRAYS; i++)
		free(get_pointer(gateway, &arrays[i]));
	free(gateway);
}

struct gateway_config *gateway_config_copy(const struct gateway_config *gateway)
{
	struct gateway_config *copy = malloc(sizeof(*copy));
	bool good = true;

	if (copy == NULL)
		return NULL;
	memcpy(copy, gateway, sizeof(*copy));
	copy->references = 1;
	for (size_t i = 0; i < ARRAYS; i++) {
		size_t size = get_count(gateway, &arrays[i]) * arrays[i].size;
		void *rows = size > 0 ? malloc(size) : NULL;

		if (rows != NULL)
			memcpy(rows, get_pointer(gateway, &arrays[i]), size);
		good = good && (rows != NULL || size == 0);
		set_pointer(copy, &arrays[i], rows);
	}
	if (!good) {
		gateway_config_unref(copy);
		copy = NULL;
	}
	return copy;
}

/* A copy of the struct alone in which nothing stands that depends on where and when it was made. */
static void make_plain(const struct gateway_config *gateway, struct gateway_config *plain)
{
	memcpy(plain, gateway, sizeof(*plain));
	for (size_t i = 0; i < ARRAYS; i++) {
		set_pointer(plain, &arrays[i], NULL);
		memset((char *)plain + arrays[i].count, 0, sizeof(uint32_t));
	}
}

static bool same_forwards(const struct nat_config *a, const struct nat_config *b)
{
	for (uint32_t i = 0; i < a->forward_count; i++) {
		struct nat_forward x, y;

		memcpy(&x, &a->forwards[i], sizeof(x));
		memcpy(&y, &b->forwards[i], sizeof(y));
		x.line = y.line = 0;
		if (memcmp(&x, &y, sizeof(x)) != 0)
			return false;
	}
	return true;
}

static bool same_array(const struct gateway_config *a, const struct gateway_config *b,
		       const struct array *array)
{
	uint32_t count = get_count(a, array);

	if (count != get_count(b, array))
		return false;
	if (array->pointer == OFFSET(nat.forwards))
		return same_forwards(&a->nat, &b->nat);
	return count == 0 ||
	       memcmp(get_pointer(a, array), get_pointer(b, array), count * array->size) == 0;
}

/* The addresses of one family stand together: [*first, *end). */
static void family_range(const struct gateway_config *gateway, bool v4, uint8_t *first,
			 uint8_t *end)
{
	uint8_t v4_end = 0;

	while (v4_end < gateway->address_count && ip_is_v4(&gateway->addresses[v4_end].ip))
		v4_end++;
	*first = v4 ? 0 : v4_end;
	*end = v4 ? v4_end : gateway->address_count;
}

static bool same_addresses(const struct gateway_config *a, const struct gateway_config *b, bool v4)
{
	uint8_t a_first, a_end, b_first, b_end;

	family_range(a, v4, &a_first, &a_end);
	family_range(b, v4, &b_first, &b_end);
	return a_end - a_first == b_end - b_first &&
	       memcmp(&a->addresses[a_first], &b->addresses[b_first],
		      (size_t)(a_end - a_first) * sizeof(a->addresses[0])) == 0;
}

void gateway_config_compare(const struct gateway_config *a, const struct gateway_config *b,
			    void (*found)(void *context, const char *key), void *context)
{
	static const struct gateway_config none;
	struct gateway_config x, y;

	a = a != NULL ? a : &none;
	b = b != NULL ? b : &none;
	if (a == b)
		return;
	if (!same_addresses(a, b, true))
		found(context, "ipv4");
	if (!same_addresses(a, b, false))
		found(context, "ipv6");
	make_plain(a, &x);
	make_plain(b, &y);
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		const struct part *part = &parts[i];
		bool same = memcmp((const char *)&x + part->offset, (const char *)&y + part->offset,
				   part->size) == 0;

		for (size_t j = 0; j < ARRAYS && same; j++)
			same =
			    strcmp(arrays[j].key, part->key) != 0 || same_array(a, b, &arrays[j]);
		if (!same)
			found(context, part->key);
	}
}

static void note(void *context, const char *key)
{
	*(bool *)context = true;
}

bool gateway_config_equal(const struct gateway_config *a, const struct gateway_config *b)
{
	bool different = (a == NULL) != (b == NULL);

	gateway_config_compare(a, b, note, &different);
	return !different;
}

const struct ip_prefix *gateway_config_find_prefix(const struct gateway_config *gateway,
						   const struct ip *ip)
{
	for (uint8_t i = 0; i < gateway->address_count; i++)
		if (ip_prefix_contains(&gateway->addresses[i], ip))
			return &gateway->addresses[i];
	return NULL;
}

bool gateway_config_has_ipv4(const struct gateway_config *gateway)
{
	return gateway->address_count > 0 && ip_is_v4(&gateway->addresses[0].ip);
}

bool gateway_config_has_ipv6(const struct gateway_config *gateway)
{
	return gateway->address_count > 0 &&
	       !ip_is_v4(&gateway->addresses[gateway->address_count - 1].ip);
}
