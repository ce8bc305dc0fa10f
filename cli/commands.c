/* The table of commands (command.h). */
#include "cli/command.h"

#include <stddef.h>

#define SETTINGS                                                                                   \
	"KEY is a key of the configuration file, see weft.yaml(5); KEY=VALUE and\n"                \
	"--KEY=VALUE are the same as --KEY VALUE; --isolated and --transparent alone mean\n"       \
	"true, and --null needs no value.\n"

const struct command commands[] = {
	{ "show",
	  "networks|ports|macs|neighbours|routes|sessions|leases|drops|workers\n"
	  "            [NAME] [--network NETWORK] [--guest IP|MAC|PORT] [--protocol NAME]\n"
	  "            [--limit N] [--all] [--json]",
	  "show what the switch has and does",
	  "With a NAME, everything about that network or port, the drops of that port, or\n"
	  "the other lists of that network, for which --network NETWORK is the same.\n"
	  "neighbours, routes, sessions and leases can be cut down to a --guest, known by\n"
	  "address or port, and sessions to a --protocol (tcp, udp, icmp, icmpv6, or its\n"
	  "number). They show 1000 rows, or --limit N. `show drops --all` lists every\n"
	  "reason for which a frame can be dropped, counted or not.\n"
	  "--json prints what the API answers; docs/api.md explains each key.\n",
	  "networks ports macs neighbours routes sessions leases drops workers --network --guest "
	  "--protocol --limit --all --json",
	  command_show },
	{ "top", "[-n SECONDS] [--count N] [--once] [--json]",
	  "show live what ports and workers do",
	  "Packets, bits and drops a second of each port, the busiest first, both ways\n"
	  "(RECEIVED: from the port into the switch); of each worker how busy it is, frames\n"
	  "in a burst, and cycles a frame by stage. -n: how often, default every second.\n"
	  "q ends it, and so does --count N after N times; --once is --count 1. --json prints\n"
	  "one object on a line each time.\n",
	  "-n --count --once --json", command_top },
	{ "apply", "FILE [--json]", "make the switch equal to a configuration file",
	  "Changes only what differs and prints it: + added, - removed, ~ changed (keys).\n"
	  "Ports that stay the same are not touched. FILE - is the standard input.\n",
	  "--json", command_apply },
	{ "diff", "FILE [--json]", "show what apply would change",
	  "+ added, - removed, ~ changed (keys). FILE - is the standard input.\n", "--json",
	  command_diff },
	{ "check", "FILE...", "check configuration files, with no weftd running",
	  "Prints every error as FILE:LINE: KEY: what is wrong; what is allowed.\n", "",
	  command_check },
	{ "port add", "NAME --network NETWORK --TYPE VALUE [--KEY VALUE]...", "add a port",
	  "For example: weft port add vm1 --network lab --vhost-user /run/weft/vm1.sock\n" SETTINGS
	  "--tap-fd N passes the open tap device N to weftd, one for each queue.\n",
	  "--network --vhost-user --role --mode --group --queues --mtu --tap --tap-fd --pcap "
	  "--null --interface --driver --allow-default-route --user --subnet --subnet6 "
	  "--host-loopback --vlan "
	  "--vlans --native --isolated --antispoof --mac",
	  command_port_add },
	{ "port del", "NAME", "remove a port", "", "", command_port_del },
	{ "network add", "NAME --mode bridge|nat|routed|isolated [--KEY VALUE]...", "add a network",
	  "For example: weft network add lab --mode bridge --uplink '{tap: weft0}'\n"
	  "or: weft network add web --mode nat --ipv4 10.1.0.1/24 --uplink '{user: "
	  "true}'\n" SETTINGS,
	  "--mode --transparent --uplink --macs --ipv4 --ipv6 --mac --mtu --dhcp --dhcp6 --ra "
	  "--dns "
	  "--forward --routes --peers --nat --antispoof --mss-clamp",
	  command_network_add },
	{ "network del", "NAME", "remove a network that no port uses", "", "",
	  command_network_del },
	{ "forward add", "[--network] NETWORK FORWARD", "pass a port of the outside to a guest",
	  "FORWARD is '{proto: tcp, listen: 2222, to: 10.1.0.10:22}', or the same as settings:\n"
	  "weft forward add web --listen 2222 --to 10.1.0.10:22. proto is tcp (if not given),\n"
	  "udp or both; listen PORT, FIRST-LAST, IP:PORT or [IPV6]:PORT; source a prefix of\n"
	  "those who may use it. It lasts until weftd ends or applies a file.\n",
	  "--network --proto --listen --to --source", command_forward_add },
	{ "forward del", "[--network] NETWORK LISTEN[/PROTOCOL]", "end a forward",
	  "LISTEN is written as when it was added. Without PROTOCOL all that listen there end.\n",
	  "--network", command_forward_del },
	{ "lease release", "[[--network] NETWORK] IP", "take an address back from a guest",
	  "Without NETWORK of whichever has leased it. The guest is not told: where addresses\n"
	  "are guarded, what it sends from this one is dropped until it asks again.\n",
	  "--network", command_lease_release },
	{ "sessions flush", "[[--network] NETWORK] [--guest IP|MAC|PORT]",
	  "forget what is translated",
	  "Of all networks and guests, or of one. Says how many sessions were ended. Connections "
	  "that go on are translated anew,\n"
	  "and may break by that.\n",
	  "--network --guest", command_sessions_flush },
	{ "qemu-args", "PORT... [--memory SIZE] [--json]",
	  "print the QEMU arguments that plug a guest into ports",
	  "Ready for use: qemu-system-x86_64 $(weft qemu-args vm1 --memory 1G) ...\n"
	  "It includes -m and the shared memory weftd needs; SIZE is 512M if not given.\n",
	  "--memory --json", command_qemu_args },
	{ "completion", "", "print a completion script for bash",
	  "To use it: eval \"$(weft completion)\"\n", "", command_completion },
	{ NULL },
};
