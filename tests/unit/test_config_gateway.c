/* What a network's gateway becomes of its configuration: values, defaults by mode, what is equal,
 * what changed, and forwards that come and go. What is refused stands in tests/data/bad. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "vswitch/config_diff.h"
#include "vswitch/config_forward.h"
#include "vswitch/gateway_config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void parse(const char *text, struct config *config)
{
	struct error error = { "" };

	if (config_parse("f", text, strlen(text), config, &error) < 0)
		fail_msg("%s", error.text);
}

static void load(const char *name, struct config *config)
{
	struct error error = { "" };
	char path[4096];

	snprintf(path, sizeof(path), "%s/good/%s", getenv("WEFT_TEST_DATA"), name);
	if (config_load(path, config, &error) < 0)
		fail_msg("%s", error.text);
}

static struct gateway_config *gateway_of(const struct config *config, const char *name)
{
	const struct network_config *network = config_find_network(config, name);

	assert_non_null(network);
	return network->gateway;
}

static void assert_ip(const struct ip *ip, const char *wanted)
{
	char text[IP_TEXT_LENGTH];

	assert_string_equal(ip_to_text(ip, text), wanted);
}

static void assert_prefix(const struct ip_prefix *prefix, const char *wanted)
{
	char text[IP_PREFIX_TEXT_LENGTH];

	assert_string_equal(ip_prefix_to_text(prefix, text), wanted);
}

static void assert_range(const struct ip_range *range, const char *first, const char *last)
{
	assert_ip(&range->first, first);
	assert_ip(&range->last, last);
}

static void test_defaults_of_nat(void **state)
{
	const struct gateway_config *gateway;
	struct config config;

	parse("networks: { n: { mode: nat, ipv4: 10.1.0.5/24, ipv6: 'fd00::1/64' } }\n", &config);
	gateway = gateway_of(&config, "n");
	assert_non_null(gateway);
	assert_int_equal(gateway->address_count, 2);
	assert_prefix(&gateway->addresses[0], "10.1.0.5/24");
	assert_prefix(&gateway->addresses[1], "fd00::1/64");
	assert_int_equal(gateway->mac.bytes[0], 0x02);
	assert_int_equal(gateway->mtu, 1500);
	assert_true(gateway->antispoof);
	assert_false(gateway->mss_clamp);
	assert_true(gateway->dhcp.enabled);
	assert_int_equal(gateway->dhcp.lease_time, 12 * 3600);
	assert_int_equal(gateway->dhcp.range_count, 2);
	assert_range(&gateway->dhcp.ranges[0], "10.1.0.1", "10.1.0.4");
	assert_range(&gateway->dhcp.ranges[1], "10.1.0.6", "10.1.0.254");
	assert_false(gateway->dhcp.no_router);
	assert_int_equal(gateway->dhcp.mtu, 0);
	assert_int_equal(gateway->dhcp6.mode, DHCP6_STATELESS);
	assert_true(gateway->advertise.enabled);
	assert_int_equal(gateway->advertise.interval, 600);
	assert_int_equal(gateway->advertise.router_lifetime, 1800);
	assert_int_equal(gateway->advertise.preferred_lifetime, 604800);
	assert_int_equal(gateway->advertise.valid_lifetime, 2592000);
	assert_true(gateway->dns.enabled);
	assert_false(gateway->dns.no_forward);
	assert_int_equal(gateway->dns.cache_size, 1000);
	assert_true(gateway->nat.enabled);
	assert_int_equal(gateway->nat.filtering, NAT_FILTER_ADDRESS_AND_PORT);
	assert_int_equal(gateway->nat.session_limit, 1000000);
	assert_int_equal(gateway->nat.guest_session_limit, 65536);
	assert_false(gateway->uplink.present);
	config_clear(&config);
}

static void test_defaults_of_isolated(void **state)
{
	const struct gateway_config *gateway;
	struct config config;

	load("isolated.yaml", &config);
	assert_null(gateway_of(&config, "bare"));
	gateway = gateway_of(&config, "lab");
	assert_true(gateway->dhcp.enabled);
	assert_true(gateway->dhcp.no_router);
	assert_int_equal(gateway->dhcp.range_count, 1);
	assert_range(&gateway->dhcp.ranges[0], "10.1.0.2", "10.1.0.254");
	assert_true(gateway->advertise.enabled);
	assert_int_equal(gateway->advertise.router_lifetime, 0);
	assert_true(gateway->dns.enabled);
	assert_true(gateway->dns.no_forward);
	assert_false(gateway->nat.enabled);
	assert_true(gateway->antispoof);
	gateway = gateway_of(&config, "quiet");
	assert_false(gateway->dhcp.enabled);
	assert_false(gateway->dns.enabled);
	assert_true(gateway->antispoof);
	config_clear(&config);
}

static void test_routed(void **state)
{
	const struct gateway_config *gateway;
	struct config config;

	load("routed.yaml", &config);
	gateway = gateway_of(&config, "edge");
	assert_true(gateway->uplink.present);
	assert_false(gateway->uplink.dhcp || gateway->uplink.slaac);
	assert_prefix(&gateway->uplink.addresses[0], "10.255.0.2/29");
	assert_true(gateway->uplink.has_gateway4);
	assert_false(gateway->uplink.has_gateway6);
	assert_ip(&gateway->uplink.gateway4, "10.255.0.1");
	assert_false(gateway->nat.enabled);
	gateway = gateway_of(&config, "core");
	assert_int_equal(gateway->peer_count, 1);
	assert_string_equal(gateway->peers[0].name, "edge");
	assert_false(gateway->dhcp.enabled);
	gateway = gateway_of(&config, "vm-router");
	assert_true(gateway->uplink.dhcp && gateway->uplink.slaac);
	assert_int_equal(gateway->uplink.mtu, 9000);
	/* The router VM is told the MTU of its link. */
	assert_int_equal(config_find_port(&config, "vm-router.uplink")->options.vhost_user.mtu,
			 9000);
	assert_false(gateway->antispoof);
	gateway = gateway_of(&config, "stateful");
	assert_int_equal(gateway->dhcp6.mode, DHCP6_STATEFUL);
	assert_int_equal(gateway->dhcp6.range_count, 1);
	assert_range(&gateway->dhcp6.ranges[0], "fd00:10::2", "fd00:10::ff");
	assert_true(gateway->antispoof);
	config_clear(&config);
}

static void check_dhcp(const struct gateway_config *gateway)
{
	const struct dhcp_config *dhcp = &gateway->dhcp;

	assert_int_equal(dhcp->range_count, 2);
	assert_range(&dhcp->ranges[1], "192.168.122.210", "192.168.122.210");
	assert_int_equal(dhcp->lease_time, 1800);
	assert_int_equal(dhcp->host_count, 4);
	assert_string_equal(dhcp->hosts[0].name, "web");
	assert_true(dhcp->hosts[0].has_mac && dhcp->hosts[0].has_ip4 && dhcp->hosts[0].has_ip6);
	assert_ip(&dhcp->hosts[0].ip6, "fd00:122::10");
	assert_int_equal(dhcp->hosts[1].client_length, 7);
	assert_memory_equal(dhcp->hosts[1].client, "\x01\x52\x54\x00\x00\x00\x02", 7);
	assert_false(dhcp->hosts[2].has_mac);
	assert_int_equal(dhcp->hosts[3].client_length, 6);
	assert_int_equal(dhcp->routers.count, 1);
	assert_int_equal(dhcp->dns.count, 2);
	assert_ip(&dhcp->dns.ips[1], "192.0.2.53");
	assert_string_equal(dhcp->domain, "lab.internal");
	assert_int_equal(dhcp->search_count, 2);
	assert_string_equal(dhcp->search[1], "example.org");
	assert_int_equal(dhcp->mtu, 1400);
	assert_ip(&dhcp->ntp.ips[0], "192.0.2.123");
	assert_int_equal(dhcp->route_count, 1);
	assert_prefix(&dhcp->routes[0].to, "10.0.0.0/8");
	assert_true(dhcp->has_next_server);
	assert_string_equal(dhcp->boot_file, "boot/grubx64.efi");
	assert_string_equal(dhcp->server_name, "pxe");
	assert_int_equal(dhcp->option_count, 3);
	assert_int_equal(dhcp->options[0].code, 43);
	assert_int_equal(dhcp->options[0].length, 3);
	assert_memory_equal(dhcp->options[0].bytes, "\x0a\x0b\xff", 3);
	assert_memory_equal(dhcp->options[1].bytes, "PXEClient", 9);
	assert_int_equal(dhcp->options[2].length, 2);
}

static void check_ipv6_and_dns(const struct gateway_config *gateway)
{
	assert_int_equal(gateway->dhcp6.mode, DHCP6_STATEFUL);
	assert_int_equal(gateway->dhcp6.lease_time, 3600);
	assert_range(&gateway->dhcp6.ranges[0], "fd00:122::1000", "fd00:122::1fff");
	assert_string_equal(gateway->dhcp6.search[0], "lab.internal");
	assert_int_equal(gateway->advertise.interval, 200);
	assert_int_equal(gateway->advertise.router_lifetime, 1800);
	assert_int_equal(gateway->advertise.preferred_lifetime, 86400);
	assert_int_equal(gateway->advertise.valid_lifetime, 2 * 86400);
	assert_int_equal(gateway->advertise.mtu, 1400);
	assert_string_equal(gateway->dns.domain, "lab.internal");
	assert_int_equal(gateway->dns.host_count, 3);
	assert_string_equal(gateway->dns.hosts[1].name, "multi.example.org");
	assert_string_equal(gateway->dns.hosts[2].name, "multi.example.org");
	assert_ip(&gateway->dns.hosts[2].ip, "2001:db8::1");
	assert_int_equal(gateway->dns.forwarders.count, 2);
	assert_int_equal(gateway->dns.cache_size, 0);
}

static void check_nat(const struct gateway_config *gateway)
{
	const struct nat_config *nat = &gateway->nat;

	assert_int_equal(nat->filtering, NAT_FILTER_ENDPOINT_INDEPENDENT);
	assert_int_equal(nat->pool_count, 9);
	assert_ip(&nat->pool[3], "192.0.2.12");
	assert_ip(&nat->pool[5], "198.51.100.8");
	assert_ip(&nat->pool[8], "198.51.100.11");
	assert_int_equal(nat->session_limit, 5000);
	assert_int_equal(nat->guest_session_limit, 500);
	assert_int_equal(nat->forward_count, 8);
	assert_int_equal(nat->forwards[0].protocol, NAT_FORWARD_TCP);
	assert_int_equal(nat->forwards[0].to_first, 22);
	assert_int_equal(nat->forwards[1].protocol, NAT_FORWARD_UDP);
	assert_int_equal(nat->forwards[1].to_first, 2222);
	assert_int_equal(nat->forwards[2].listen_last, 3010);
	assert_true(nat->forwards[2].has_source);
	assert_prefix(&nat->forwards[2].source, "192.0.2.0/24");
	assert_true(nat->forwards[3].has_address);
	assert_ip(&nat->forwards[5].address, "2001:db8::5");
	assert_int_equal(nat->forwards[5].listen_first, 22);
	assert_int_equal(nat->forwards[7].listen_last, 5010);
	assert_int_equal(nat->forwards[7].to_first, 6000);
	assert_true(nat->forwards[0].line > 0);
}

static void test_values_arrive(void **state)
{
	const struct gateway_config *gateway;
	struct config config;

	load("nat.yaml", &config);
	gateway = gateway_of(&config, "default");
	assert_int_equal(gateway->mac.bytes[5], 0xcc);
	assert_int_equal(gateway->mtu, 1400);
	assert_false(gateway->antispoof);
	assert_true(gateway->mss_clamp);
	check_dhcp(gateway);
	check_ipv6_and_dns(gateway);
	check_nat(gateway);
	assert_int_equal(gateway->route_count, 3);
	assert_ip(&gateway->routes[2].via, "fe80::7");
	assert_int_equal(gateway->uplink.address_count, 2);
	assert_ip(&gateway->uplink.gateway6, "fd00:255::1");
	assert_true(gateway->uplink.has_mac);
	assert_int_equal(gateway->uplink.mtu, 1300);
	assert_int_equal(gateway->uplink.dns.count, 1);
	assert_false(config_find_port(&config, "vm1")->antispoof_off);
	assert_true(config_find_port(&config, "vm2")->antispoof_off);
	config_clear(&config);
}

/* The order of the keys does not matter: what depends on others is read after them. */
static void test_order_of_keys(void **state)
{
	struct config a, b;

	parse("networks: { n: { mode: nat, ipv4: 10.1.0.1/24, mtu: 9000, dns: { domain: x },\n"
	      "  uplink: { tap: t, address: 10.9.0.2/24 } } }\n",
	      &a);
	parse("networks: { n: { uplink: { address: 10.9.0.2/24, tap: t }, dns: { domain: x },\n"
	      "  mtu: 9000, ipv4: [10.1.0.1/24], mode: nat } }\n",
	      &b);
	assert_true(gateway_config_equal(gateway_of(&a, "n"), gateway_of(&b, "n")));
	assert_int_equal(gateway_of(&a, "n")->dhcp.mtu, 9000);
	assert_string_equal(gateway_of(&a, "n")->dhcp.domain, "x");
	config_clear(&a);
	config_clear(&b);
}

static void test_macs_follow_the_name(void **state)
{
	const char *text = "networks: { a: { mode: nat, ipv4: 10.1.0.1/24 }, b: { mode: nat, "
			   "ipv4: 10.2.0.1/24 } }\n";
	struct config x, y;

	parse(text, &x);
	parse(text, &y);
	assert_memory_equal(&gateway_of(&x, "a")->mac, &gateway_of(&y, "a")->mac, 6);
	assert_memory_not_equal(&gateway_of(&x, "a")->mac, &gateway_of(&x, "b")->mac, 6);
	config_clear(&x);
	config_clear(&y);
}

static void test_copies_share_and_outlive(void **state)
{
	struct network_config network;
	struct config config, copy;

	load("nat.yaml", &config);
	assert_int_equal(config_copy(&copy, &config), 0);
	assert_ptr_equal(gateway_of(&copy, "default"), gateway_of(&config, "default"));
	network_config_copy(&network, &copy.networks[0]);
	config_clear(&config);
	config_clear(&copy);
	check_dhcp(network.gateway);
	assert_int_equal(network.gateway->references, 1);
	network_config_clear(&network);
	assert_null(network.gateway);
	network_config_clear(&network);
}

static void test_a_copy_is_deep_and_equal(void **state)
{
	struct gateway_config *copy;
	struct config config;

	load("nat.yaml", &config);
	copy = gateway_config_copy(gateway_of(&config, "default"));
	assert_non_null(copy);
	assert_true(gateway_config_equal(copy, gateway_of(&config, "default")));
	copy->nat.forwards[1].line = 4000;
	copy->lines.uplink = 4000;
	assert_true(gateway_config_equal(copy, gateway_of(&config, "default")));
	copy->dhcp.hosts[3].ip6.bytes[15] ^= 1;
	assert_false(gateway_config_equal(copy, gateway_of(&config, "default")));
	assert_false(gateway_config_equal(copy, NULL));
	assert_true(gateway_config_equal(NULL, NULL));
	config_clear(&config);
	check_nat(copy);
	gateway_config_unref(copy);
}

/* The changed keys of network n, with blanks between them. */
static void diff(const char *from, const char *to, const char *wanted)
{
	char texts[2][512], keys[512] = "";
	struct config_change *changes;
	struct config a, b;
	uint32_t count;

	snprintf(texts[0], sizeof(texts[0]), "networks:\n  n: { %s }\n", from);
	snprintf(texts[1], sizeof(texts[1]), "networks:\n\n  n: { %s }\n", to);
	parse(texts[0], &a);
	parse(texts[1], &b);
	assert_int_equal(config_diff(&a, &b, &changes, &count), 0);
	for (uint32_t i = 0; i < count; i++)
		for (uint32_t k = 0; changes[i].kind == CONFIG_NETWORK && k < changes[i].key_count;
		     k++) {
			strcat(keys, keys[0] != '\0' ? " " : "");
			strcat(keys, changes[i].keys[k]);
		}
	assert_string_equal(keys, wanted);
	assert_int_equal(count > 0, wanted[0] != '\0');
	free(changes);
	config_clear(&a);
	config_clear(&b);
}

static void test_diff_names_keys(void **state)
{
#define BASE "mode: nat, ipv4: 10.1.0.1/24, dhcp: false"
	diff(BASE, BASE, "");
	diff(BASE, BASE ", mtu: 1500, antispoof: false, nat: { sessions: 1000000 }", "");
	diff(BASE, BASE ", mtu: 9000", "mtu");
	diff(BASE, BASE ", mac: 52:54:00:00:00:01", "mac");
	diff(BASE, "mode: nat, ipv4: 10.1.0.1/24", "dhcp antispoof");
	diff(BASE, "mode: nat, ipv4: [10.1.0.1/24, 10.2.0.1/24], dhcp: false", "ipv4");
	diff(BASE, BASE ", ipv6: 'fd00::1/64', antispoof: false", "ipv6 dhcp6 ra");
	diff(BASE, BASE ", forward: [ { listen: 22, to: 10.1.0.5:22 } ]", "forward");
	diff(BASE ", forward: [ { listen: 22, to: 10.1.0.5:22 } ]",
	     BASE ", forward: [ { listen: 22, to: 10.1.0.6:22 } ]", "forward");
	diff(BASE, BASE ", nat: { pool: 192.0.2.1 }", "nat");
	diff(BASE, BASE ", nat: { filtering: address-dependent }", "nat");
	diff(BASE, BASE ", routes: [ { to: 10.9.0.0/16, via: 10.1.0.2 } ]", "routes");
	diff(BASE, BASE ", mss-clamp: true", "mss-clamp");
	diff(BASE, BASE ", dns: { hosts: { a: 10.1.0.9 } }", "dns");
	diff(BASE, "mode: routed, ipv4: 10.1.0.1/24, dhcp: false", "mode nat");
	diff(BASE ", uplink: { tap: t, address: 10.9.0.2/24 }",
	     BASE ", uplink: { tap: t, address: 10.9.0.3/24 }", "uplink");
	diff("mode: isolated", "mode: isolated, ipv4: 10.1.0.1/24, dhcp: false, dns: false",
	     "ipv4 mac mtu");
#undef BASE
}

static void add(struct config *config, const char *text, int wanted, const char *words)
{
	struct error error = { "" };
	int rc = config_add_forward(config, "n", text, &error);

	if (rc == 0)
		rc = config_check(NULL, config, &error);
	assert_int_equal(rc, wanted);
	if (words != NULL && strstr(error.text, words) == NULL)
		fail_msg("%s", error.text);
}

static void test_forwards_come_and_go(void **state)
{
	char text[CONFIG_LISTEN_TEXT_LENGTH];
	struct error error = { "" };
	struct nat_config *nat;
	struct config before, config;

	parse("networks: { n: { mode: nat, ipv4: 10.1.0.1/24, ipv6: 'fd00::1/64' },\n"
	      "  r: { mode: routed, ipv4: 10.2.0.1/24 } }\n",
	      &before);
	assert_int_equal(config_copy(&config, &before), 0);
	add(&config, "{proto: tcp, listen: 2222, to: 10.1.0.5:22}", 0, NULL);
	/* Others still have what they had. */
	assert_int_equal(gateway_of(&before, "n")->nat.forward_count, 0);
	add(&config, "{proto: udp, listen: 2222, to: 10.1.0.5:22}", 0, NULL);
	add(&config, "{listen: '[2001:db8::5]:80-81', to: '[fd00::5]:8080'}", 0, NULL);
	nat = &gateway_of(&config, "n")->nat;
	assert_int_equal(nat->forward_count, 3);
	assert_string_equal(config_forward_protocol(&nat->forwards[1]), "udp");
	assert_string_equal(config_forward_listen(&nat->forwards[0], text), "2222");
	assert_string_equal(config_forward_listen(&nat->forwards[2], text), "[2001:db8::5]:80-81");
	assert_string_equal(config_forward_to(&nat->forwards[2], text), "[fd00::5]:8080");
	assert_int_equal(config_remove_forward(&config, "n", "2222", "tcp", &error), 1);
	assert_int_equal(config_remove_forward(&config, "n", "2222", "tcp", &error), -ENOENT);
	assert_string_equal(error.text, "network 'n' has no forward that listens on 2222/tcp");
	add(&config, "{listen: 2222, to: 10.1.0.6:22}", 0, NULL);
	assert_int_equal(config_remove_forward(&config, "n", "2222", NULL, &error), 2);
	assert_int_equal(config_remove_forward(&config, "n", "[2001:db8::5]:80", NULL, &error),
			 -ENOENT);
	assert_int_equal(config_remove_forward(&config, "n", "[2001:db8::5]:80-81", NULL, &error),
			 1);
	assert_int_equal(config_remove_forward(&config, "n", "80/tcp", NULL, &error), -EINVAL);
	assert_int_equal(config_remove_forward(&config, "r", "80", NULL, &error), -EINVAL);
	assert_non_null(strstr(error.text, "does not translate"));
	assert_int_equal(config_remove_forward(&config, "x", "80", NULL, &error), -ENOENT);
	assert_true(network_config_equal(&config.networks[0], &before.networks[0]));
	config_clear(&config);
	config_clear(&before);
}

static void test_bad_forwards_are_refused(void **state)
{
	struct config config;

	parse("networks: { n: { mode: nat, ipv4: 10.1.0.1/24,\n"
	      "  forward: [ { listen: 2222, to: 10.1.0.5:22 } ] } }\n",
	      &config);
	add(&config, "{", -EINVAL, "not YAML");
	add(&config, "{listen: 1, to: 10.1.0.5:1, x: y}", -EINVAL, "x: unknown key of a forward");
	add(&config, "{listen: 1}", -EINVAL, "needs the key 'to'");
	config_clear(&config);
	parse("networks: { n: { mode: nat, ipv4: 10.1.0.1/24 } }\n", &config);
	add(&config, "{listen: 1, to: 10.2.0.5:1}", -EINVAL,
	    "networks.n.forward: leads to no guest: 10.2.0.5 is in none of");
	config_clear(&config);
	parse("networks: { n: { mode: nat, ipv4: 10.1.0.1/24,\n"
	      "  forward: [ { listen: 2222, to: 10.1.0.5:22 } ] } }\n",
	      &config);
	add(&config, "{listen: 2220-2230, to: 10.1.0.6:1}", -EINVAL, "listens on 2220-2230, where");
	config_clear(&config);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults_of_nat),
		cmocka_unit_test(test_defaults_of_isolated),
		cmocka_unit_test(test_routed),
		cmocka_unit_test(test_values_arrive),
		cmocka_unit_test(test_order_of_keys),
		cmocka_unit_test(test_macs_follow_the_name),
		cmocka_unit_test(test_copies_share_and_outlive),
		cmocka_unit_test(test_a_copy_is_deep_and_equal),
		cmocka_unit_test(test_diff_names_keys),
		cmocka_unit_test(test_forwards_come_and_go),
		cmocka_unit_test(test_bad_forwards_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
